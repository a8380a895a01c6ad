/*-------------------------------------------------------------------------
 *
 * ks_jwks.c
 *	  The keys that verify JSON Web Tokens.
 *
 * The shared part belongs to the launcher, which replaces it as a whole and
 * counts generations.  A backend prepares the keys of a generation at its
 * first use.  What must always hold:
 *
 *	- a text that is wrong anywhere gives no keys at all.  Keys that are for
 *	  something else are no mistake, and are passed over;
 *	- what anybody may know is never taken for a secret: see looks_public();
 *	- copies of the text are wiped, and so are keys of an old generation.
 *
 * Lock: KS_LOCK_JWKS protects the shared part, but for its condition variable,
 * which protects itself.  Nothing is parsed under it.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_jwks.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_guc.h"
#include "ks_json.h"
#include "ks_mem.h"


typedef struct JwksShared
{
	ConditionVariable published;	/* somebody may wait for the first load */

	/* The lock protects what follows; the generation may be read without. */
	pg_atomic_uint64 generation;	/* 0 until the first load */
	char		problem[KS_JWKS_PROBLEM_MAX];	/* why there are no keys */
	int			nkeys;			/* that the text has */
	size_t		len;
	char		text[KS_JWKS_BYTES_MAX];
} JwksShared;

/* Members of a JWK whose values are text. */
typedef enum Member
{
	MEMBER_KTY = 0,
	MEMBER_KID,
	MEMBER_USE,
	MEMBER_ALG,
	MEMBER_N,
	MEMBER_E,
	MEMBER_CRV,
	MEMBER_X,
	MEMBER_Y,
	MEMBER_K,
	MEMBER_COUNT
} Member;

static const char *const member_names[MEMBER_COUNT] = {
	"kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "k"
};

/* A JWK as it is read; what it points to lies in the parse's context. */
typedef struct Jwk
{
	bool		begun;
	char	   *members[MEMBER_COUNT];	/* secret buffers, NULL when missing */
	bool		twice;			/* a member comes twice */
	bool		mistyped;		/* a member is no text */
	bool		is_private;
	bool		has_key_ops;
	bool		may_verify;		/* key_ops has it */
} Jwk;

/* Keys, each in memory of its own, so that none is copied. */
typedef struct KeySet
{
	int			n;
	KsJwsKey   *keys[KS_JWKS_KEYS_MAX];
} KeySet;

typedef struct Parse
{
	KeySet	   *set;
	Jwk			whole;			/* the text as a single key */
	Jwk			element;		/* the last one begun in "keys" */
	bool		is_object;
	int			key_lists;		/* members "keys" */
	const char *problem;		/* the first */
} Parse;

static JwksShared *shared = NULL;

/* This backend's keys, and the generation that they are of. */
static KeySet prepared;
static uint64 prepared_generation = 0;


/*-------------------------------------------------------------------------
 * Keys
 *-------------------------------------------------------------------------
 */

static void
clear_keys(KeySet *set)
{
	while (set->n > 0)
	{
		KsJwsKey   *key = set->keys[--set->n];

		ks_jws_key_clear(key);
		pfree(key);
	}
}

/* A key that is the set's from now on, NULL when there are too many. */
static KsJwsKey *
add_key(KeySet *set)
{
	if (set->n == KS_JWKS_KEYS_MAX)
		return NULL;
	set->keys[set->n] = MemoryContextAllocZero(TopMemoryContext, sizeof(KsJwsKey));
	return set->keys[set->n++];
}

/* A phrase of ks_jws in a sentence. */
static const char *
unusable(const char *phrase)
{
	static char problem[KS_JWKS_PROBLEM_MAX];

	if (phrase == NULL)
		return NULL;
	snprintf(problem, sizeof(problem), "has a key that cannot be used: %s", phrase);
	return problem;
}

/*
 * The bytes of a member, in a secret buffer; NULL when it is missing, empty or
 * no base64url.
 */
static uint8 *
decode_member(const Jwk *jwk, Member member, size_t *len)
{
	const char *text = jwk->members[member];
	uint8	   *bytes;

	if (text == NULL)
		return NULL;
	bytes = ks_secret_alloc(CurrentMemoryContext, strlen(text) + 1);
	return ks_base64url_decode(text, strlen(text), bytes, len) && *len > 0 ? bytes : NULL;
}

static const char *
make_oct(const Jwk *jwk, KsJwsKey *key)
{
	size_t		len;
	uint8	   *secret = decode_member(jwk, MEMBER_K, &len);

	return secret == NULL ? "its \"k\" is no base64url" : ks_jws_key_oct(key, secret, len);
}

static const char *
make_rsa(const Jwk *jwk, KsJwsKey *key)
{
	size_t		n_len;
	size_t		e_len;
	uint8	   *n = decode_member(jwk, MEMBER_N, &n_len);
	uint8	   *e = decode_member(jwk, MEMBER_E, &e_len);

	if (n == NULL || e == NULL)
		return "its \"n\" or \"e\" is no base64url";
	return ks_jws_key_rsa(key, n, n_len, e, e_len);
}

static const char *
make_p256(const Jwk *jwk, KsJwsKey *key)
{
	size_t		x_len;
	size_t		y_len;
	uint8	   *x = decode_member(jwk, MEMBER_X, &x_len);
	uint8	   *y = decode_member(jwk, MEMBER_Y, &y_len);

	if (x == NULL || y == NULL || x_len != 32 || y_len != 32)
		return "its \"x\" or \"y\" is not 32 bytes of base64url";
	return ks_jws_key_p256(key, x, y);
}

static const char *
make_ed25519(const Jwk *jwk, KsJwsKey *key)
{
	size_t		len;
	uint8	   *x = decode_member(jwk, MEMBER_X, &len);

	return x == NULL || len != 32 ? "its \"x\" is not 32 bytes of base64url" : ks_jws_key_ed25519(key, x);
}

/* What a key can be: RFC 7518, section 6, and RFC 8037, section 2. */
static const struct
{
	const char *kty;
	const char *crv;			/* NULL: the type has none */
	const char *(*make) (const Jwk *jwk, KsJwsKey *key);
}			kinds[] = {
	{"oct", NULL, make_oct},
	{"RSA", NULL, make_rsa},
	{"EC", "P-256", make_p256},
	{"OKP", "Ed25519", make_ed25519},
};

/*
 * The kind of a key, -1 for one that is not known, and then *problem is NULL
 * unless it is a mistake.
 */
static int
find_kind(const Jwk *jwk, const char **problem)
{
	const char *kty = jwk->members[MEMBER_KTY];
	const char *crv = jwk->members[MEMBER_CRV];
	bool		known = false;

	*problem = NULL;
	if (kty == NULL)
		*problem = "has a key without \"kty\"";
	for (int i = 0; kty != NULL && i < (int) lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].kty, kty) != 0)
			continue;
		known = true;
		if (kinds[i].crv == NULL || (crv != NULL && strcmp(kinds[i].crv, crv) == 0))
			return i;
	}
	if (known && crv == NULL)
		*problem = "has a key without \"crv\"";
	return -1;
}

/* Whether a key of a known kind is for something else than verifying tokens. */
static bool
is_for_others(const Jwk *jwk)
{
	const char *use = jwk->members[MEMBER_USE];
	const char *alg = jwk->members[MEMBER_ALG];

	return jwk->is_private ||
		(use != NULL && strcmp(use, "sig") != 0) ||
		(jwk->has_key_ops && !jwk->may_verify) ||
		(alg != NULL && ks_jws_algorithm(alg) == KS_JWS_UNKNOWN);
}

/*
 * Makes a key of a JWK, unless it is none of ours.  What is wrong, or NULL.
 */
static const char *
take_jwk(const Jwk *jwk, KeySet *set)
{
	const char *problem;
	const char *kid = jwk->members[MEMBER_KID];
	const char *alg = jwk->members[MEMBER_ALG];
	int			kind;
	KsJwsKey   *key;

	if (jwk->twice)
		return "has a key with a member that comes twice";
	kind = find_kind(jwk, &problem);
	if (kind < 0)
		return problem;
	if (jwk->mistyped)
		return "has a key with a member of a wrong type";
	if (is_for_others(jwk))
		return NULL;
	if (kid != NULL && strlen(kid) > KS_JWS_KID_MAX)
		return "has a key with a \"kid\" of more than 255 bytes";

	key = add_key(set);
	if (key == NULL)
		return "has more than 64 keys";
	problem = kinds[kind].make(jwk, key);
	if (problem != NULL)
		return unusable(problem);
	if (kid != NULL)
		strlcpy(key->kid, kid, sizeof(key->kid));
	if (alg != NULL && !ks_jws_key_fits(key, ks_jws_algorithm(alg)))
		return "has a key with an \"alg\" of another type of key";
	if (alg != NULL)
		key->algorithm = ks_jws_algorithm(alg);
	return NULL;
}


/*-------------------------------------------------------------------------
 * JWK Sets
 *-------------------------------------------------------------------------
 */

static void
visit_member(Jwk *jwk, const char *name, KsJsonType type, const char *text)
{
	if (strcmp(name, "d") == 0)
		jwk->is_private = true;
	if (strcmp(name, "key_ops") == 0)
	{
		jwk->twice |= jwk->has_key_ops;
		jwk->has_key_ops = true;
		jwk->mistyped |= type != KS_JSON_ARRAY;
	}
	for (int i = 0; i < MEMBER_COUNT; i++)
	{
		if (strcmp(member_names[i], name) != 0)
			continue;
		jwk->twice |= jwk->members[i] != NULL;
		jwk->mistyped |= type != KS_JSON_STRING;
		jwk->members[i] = ks_secret_alloc(CurrentMemoryContext, strlen(text) + 1);
		strlcpy(jwk->members[i], text, strlen(text) + 1);
	}
}

/* What lies in a JWK that begins at this depth. */
static void
visit_jwk(Jwk *jwk, int depth, const KsJsonPath *path, KsJsonType type, const char *text)
{
	const KsJsonStep *steps = &path->steps[depth];

	if (path->depth == depth + 1 && steps[0].key != NULL)
		visit_member(jwk, steps[0].key, type, text);
	else if (path->depth == depth + 2 && steps[0].key != NULL && strcmp(steps[0].key, "key_ops") == 0 &&
			 type == KS_JSON_STRING && strcmp(text, "verify") == 0)
		jwk->may_verify = true;
}

static void
note_problem(Parse *parse, const char *problem)
{
	if (parse->problem == NULL)
		parse->problem = problem;
}

static void
end_element(Parse *parse)
{
	if (parse->element.begun && parse->problem == NULL)
		note_problem(parse, take_jwk(&parse->element, parse->set));
	memset(&parse->element, 0, sizeof(Jwk));
}

static void
visit(void *arg, const KsJsonPath *path, KsJsonType type, const char *text)
{
	Parse	   *parse = arg;
	bool		in_keys = path->depth > 0 && path->steps[0].key != NULL && strcmp(path->steps[0].key, "keys") == 0;

	if (path->depth == 0)
		parse->is_object = type == KS_JSON_OBJECT;
	else if (!in_keys)
		visit_jwk(&parse->whole, 0, path, type, text);
	else if (path->depth == 1)
	{
		parse->key_lists++;
		if (type != KS_JSON_ARRAY)
			note_problem(parse, "has \"keys\" that are no array");
	}
	else if (path->depth == 2)
	{
		end_element(parse);
		parse->element.begun = true;
		if (type != KS_JSON_OBJECT)
			note_problem(parse, "has a key that is no object");
	}
	else
		visit_jwk(&parse->element, 2, path, type, text);
}

static const char *
parse_json(const char *text, size_t len, KeySet *set)
{
	Parse		parse = {.set = set};
	const char *problem = ks_json_read(text, len, visit, &parse);

	if (problem != NULL)
		return problem;
	if (!parse.is_object)
		return "is no JSON object";
	if (parse.key_lists > 1)
		return "has \"keys\" twice";
	end_element(&parse);
	if (parse.key_lists == 0)
		note_problem(&parse, take_jwk(&parse.whole, set));
	if (parse.problem == NULL && set->n == 0)
		return "has no key that verifies tokens";
	return parse.problem;
}


/*-------------------------------------------------------------------------
 * The text
 *-------------------------------------------------------------------------
 */

/*
 * Whether a line begins as what is public does: PEM and DER of keys and
 * certificates, keys of SSH, documents, addresses.  If one of them was taken
 * for a secret, anybody could sign.
 */
static bool
looks_public(const char *line, size_t len)
{
	/* PEM; DER of keys and certificates, PEM, JSON in base64; SSH; places */
	static const char *const beginnings[] = {
		"-----", "----", "MII", "MIG", "MIH", "MFkw", "MHYw", "MCow", "MEMw", "MDMw", "LS0t", "eyJ",
		"AAAA", "ssh-", "ecdsa-", "sk-ssh", "http://", "https://", "file:", "#", "//", "[", "<"
	};

	for (size_t i = 0; i < lengthof(beginnings); i++)
	{
		if (len >= strlen(beginnings[i]) && memcmp(line, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	}

	/* Printable, without blanks, and no piece of JSON or of a configuration. */
	for (size_t i = 0; i < len; i++)
	{
		if (line[i] < 0x21 || line[i] > 0x7e || strchr("{}\"'", line[i]) != NULL)
			return true;
	}
	return false;
}

/*
 * The text as a secret: one line, printable, without blanks.  Other bytes can
 * be given as a JWK of type oct.
 */
static const char *
parse_secret(const char *text, size_t len, KeySet *set)
{
	const char *newline = memchr(text, '\n', len);
	size_t		line_len = newline != NULL ? (size_t) (newline - text) : len;
	KsJwsKey   *key;

	if (line_len > 0 && text[line_len - 1] == '\r')
		line_len--;
	if (line_len == 0)
		return "begins with an empty line";
	if (looks_public(text, line_len))
		return "is neither a JWK Set nor a secret";
	for (size_t i = line_len; i < len; i++)
	{
		if (strchr("\r\n", text[i]) == NULL || text[i] == '\0')
			return "has more than one line, and is no JWK Set";
	}
	key = add_key(set);
	return unusable(ks_jws_key_oct(key, (const uint8 *) text, line_len));
}

/*
 * Makes the keys of a text.  What is wrong, and then the set is empty, or
 * NULL.  What lies in the memory context is for the caller to drop.
 */
static const char *
parse_text(const char *text, size_t len, KeySet *set)
{
	size_t		blank = 0;
	const char *problem;

	clear_keys(set);
	while (blank < len && strchr(" \t\r\n", text[blank]) != NULL)
		blank++;
	if (blank < len && text[blank] == '{')
		problem = parse_json(text, len, set);
	else
		problem = parse_secret(text, len, set);
	if (problem != NULL)
		clear_keys(set);
	return problem;
}


/*-------------------------------------------------------------------------
 * Shared memory, and the launcher's side
 *-------------------------------------------------------------------------
 */

Size
ks_jwks_shmem_size(void)
{
	return sizeof(JwksShared);
}

/*
 * Attaches to the area; unless it was found, it begins without keys.
 */
void
ks_jwks_shmem_init(void *area, bool found)
{
	shared = area;
	if (found)
		return;

	memset(shared, 0, sizeof(*shared));
	ConditionVariableInit(&shared->published);
	pg_atomic_init_u64(&shared->generation, 0);
}

/*
 * Replaces all of the shared part.
 */
static void
replace(const char *problem, const char *text, size_t len, int nkeys)
{
	LWLockAcquire(ks_lock(KS_LOCK_JWKS), LW_EXCLUSIVE);
	ks_wipe(shared->text, sizeof(shared->text));
	if (len > 0)
		memcpy(shared->text, text, len);
	shared->len = len;
	shared->nkeys = nkeys;
	strlcpy(shared->problem, problem != NULL ? problem : "", sizeof(shared->problem));
	pg_atomic_write_u64(&shared->generation, pg_atomic_read_u64(&shared->generation) + 1);
	LWLockRelease(ks_lock(KS_LOCK_JWKS));

	ConditionVariableBroadcast(&shared->published);
}

const char *
ks_jwks_publish(const char *text, size_t len, int *nkeys)
{
	const char *problem = len > KS_JWKS_BYTES_MAX ? "is too long" : parse_text(text, len, &prepared);

	*nkeys = prepared.n;
	clear_keys(&prepared);
	if (problem != NULL)
		ks_jwks_withdraw(problem);
	else
		replace(NULL, text, len, *nkeys);
	return problem;
}

void
ks_jwks_withdraw(const char *problem)
{
	replace(problem, NULL, 0, 0);
}


/*-------------------------------------------------------------------------
 * Backends
 *-------------------------------------------------------------------------
 */

static void
forget_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	clear_keys(&prepared);
}

/*
 * Waits for the launcher's first load; not more than once for the whole time
 * in one backend.
 */
static void
wait_for_first_load(void)
{
	static TimestampTz deadline = 0;

	ks_shmem_await(&shared->generation, &shared->published, &deadline);
}

/*
 * Copies the shared text to room for KS_JWKS_BYTES_MAX bytes.  Returns its
 * generation.
 */
static uint64
copy_text(char *text, size_t *len)
{
	uint64		generation;

	LWLockAcquire(ks_lock(KS_LOCK_JWKS), LW_SHARED);
	generation = pg_atomic_read_u64(&shared->generation);
	*len = shared->len;
	memcpy(text, shared->text, shared->len);
	LWLockRelease(ks_lock(KS_LOCK_JWKS));
	return generation;
}

/*
 * Prepares the keys of the current generation, if that was not done.  An error
 * of memory leaves no keys, and the next call tries again.
 */
static void
prepare_keys(void)
{
	static bool registered = false;
	MemoryContext work;
	MemoryContext before;
	char	   *text;
	size_t		len;
	uint64		generation;

	if (pg_atomic_read_u64(&shared->generation) == prepared_generation)
		return;
	if (!registered)
	{
		before_shmem_exit(forget_at_exit, (Datum) 0);
		registered = true;
	}
	prepared_generation = 0;
	clear_keys(&prepared);

	work = AllocSetContextCreate(CurrentMemoryContext, "keystone jwks", ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(work);
	text = ks_secret_alloc(work, KS_JWKS_BYTES_MAX);
	generation = copy_text(text, &len);
	/* what can be wrong the launcher has said */
	if (len > 0)
		(void) parse_text(text, len, &prepared);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	prepared_generation = generation;
}

int
ks_jwks_find(KsJwsAlgorithm algorithm, const char *kid, const KsJwsKey **found, int max)
{
	int			n = 0;

	if (shared == NULL || !ks_shmem_attached())
		return 0;
	if (pg_atomic_read_u64(&shared->generation) == 0 && ks_jwt_keys_file[0] != '\0')
		wait_for_first_load();
	prepare_keys();
	for (int i = 0; i < prepared.n && n < max; i++)
	{
		const KsJwsKey *key = prepared.keys[i];

		if (ks_jws_key_fits(key, algorithm) &&
			(kid == NULL || key->kid[0] == '\0' || strcmp(key->kid, kid) == 0))
			found[n++] = key;
	}
	return n;
}

int
ks_jwks_status(const char **problem)
{
	static char copy[KS_JWKS_PROBLEM_MAX];
	int			nkeys;

	*problem = NULL;
	if (shared == NULL || !ks_shmem_attached())
		return 0;
	LWLockAcquire(ks_lock(KS_LOCK_JWKS), LW_SHARED);
	nkeys = shared->nkeys;
	strlcpy(copy, shared->problem, sizeof(copy));
	if (pg_atomic_read_u64(&shared->generation) == 0 && ks_jwt_keys_file[0] != '\0')
		strlcpy(copy, "was not read yet", sizeof(copy));
	LWLockRelease(ks_lock(KS_LOCK_JWKS));
	if (copy[0] != '\0')
		*problem = copy;
	return nkeys;
}
