/*-------------------------------------------------------------------------
 *
 * ks_jwt.c
 *	  JSON Web Tokens.
 *
 * What must always hold:
 *
 *	- nothing of the payload is looked at before the signature was found to be
 *	  that of a key of ours;
 *	- the header chooses among our keys, and brings none: jku, jwk, x5u and x5c
 *	  are not read;
 *	- a token is refused for a reason that is a constant, since the reason is
 *	  shown and logged and the token is a secret.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/cryptohash.h"
#include "common/sha1.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "ks_entry.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_json.h"
#include "ks_jwks.h"
#include "ks_jwt.h"
#include "ks_mem.h"
#include "ks_text.h"

#define MAX_SECONDS		INT64CONST(253402300800)	/* the year 10000 */

/* Of the principals that are made of issuer and subject; never to be changed. */
static const uint8 principal_namespace[KS_ID_LEN] = {
	0x71, 0xc2, 0xb3, 0xf7, 0x10, 0x93, 0x44, 0xc9, 0x91, 0xd6, 0x83, 0x09, 0x09, 0x9f, 0x8b, 0xd2
};

/* A part of a token, between its dots. */
typedef struct Part
{
	const char *text;
	size_t		len;
} Part;

typedef struct Token
{
	Part		header;
	Part		payload;
	Part		signature;
	Part		signed_text;	/* header, dot, payload */
} Token;

typedef struct Header
{
	const char *problem;		/* the first */
	bool		is_object;
	bool		has_typ;
	KsJwsAlgorithm algorithm;
	bool		has_alg;
	char	   *kid;			/* NULL when there is none */
} Header;

/* Claims as they are read. */
typedef struct Reader
{
	const char *problem;		/* the first */
	bool		is_object;
	uint32		seen;			/* claims by their place in the table below */
	KsClaims   *claims;
	const char *full_name;		/* of user_metadata */
	const char *other_name;
	bool		has_audience;	/* the one that is configured */
	bool		has_exp;
	double		exp;			/* seconds since 1970 */
	double		nbf;
	double		auth_time;		/* 0: none */
	bool		has_mfa;		/* amr says so; or, */
	double		factor_time;	/* when the last second factor was used */
	int			method;			/* index in amr of the object that is read, */
	bool		is_second;		/* whether it is of a second factor, */
	double		method_time;	/* and when it was used */
} Reader;


/*-------------------------------------------------------------------------
 * The form
 *-------------------------------------------------------------------------
 */

static Part
make_part(const char *from, const char *to)
{
	Part		part;

	part.text = from;
	part.len = (size_t) (to - from);
	return part;
}

static bool
split(const char *text, size_t len, Token *token)
{
	const char *end = text + len;
	const char *first = memchr(text, '.', len);
	const char *second = first != NULL ? memchr(first + 1, '.', (size_t) (end - first - 1)) : NULL;

	if (second == NULL || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
		return false;
	token->header = make_part(text, first);
	token->payload = make_part(first + 1, second);
	token->signature = make_part(second + 1, end);
	token->signed_text = make_part(text, second);
	return true;
}

/* The bytes of a part in a secret buffer, NULL when it is no base64url. */
static uint8 *
decode(Part part, size_t *len)
{
	uint8	   *bytes = ks_secret_alloc(CurrentMemoryContext, part.len + 1);

	return ks_base64url_decode(part.text, part.len, bytes, len) ? bytes : NULL;
}


/*-------------------------------------------------------------------------
 * The header
 *-------------------------------------------------------------------------
 */

static void
note_header_problem(Header *header, const char *problem)
{
	if (header->problem == NULL)
		header->problem = problem;
}

/* RFC 7515, section 4.1.9, and RFC 9068, section 2.1. */
static bool
is_token_type(const char *typ)
{
	static const char prefix[] = "application/";

	if (pg_strncasecmp(typ, prefix, strlen(prefix)) == 0)
		typ += strlen(prefix);
	return pg_strcasecmp(typ, "JWT") == 0 || pg_strcasecmp(typ, "at+jwt") == 0;
}

static void
visit_header(void *arg, const KsJsonPath *path, KsJsonType type, const char *text)
{
	Header	   *header = arg;
	const char *name = path->depth == 1 ? path->steps[0].key : NULL;

	if (path->depth == 0)
		header->is_object = type == KS_JSON_OBJECT;
	if (name == NULL)
		return;
	if (strcmp(name, "alg") == 0)
	{
		if (header->has_alg)
			note_header_problem(header, "the token's header has a name twice");
		header->has_alg = true;
		if (type == KS_JSON_STRING)
			header->algorithm = ks_jws_algorithm(text);
	}
	else if (strcmp(name, "typ") == 0)
	{
		if (header->has_typ)
			note_header_problem(header, "the token's header has a name twice");
		header->has_typ = true;
		if (type != KS_JSON_STRING || !is_token_type(text))
			note_header_problem(header, "the token is of another type than JWT");
	}
	else if (strcmp(name, "kid") == 0)
	{
		if (header->kid != NULL)
			note_header_problem(header, "the token's header has a name twice");
		if (type != KS_JSON_STRING || text[0] == '\0')
			note_header_problem(header, "the token's kid is no text");
		header->kid = pstrdup(text);
	}
	else if (strcmp(name, "crit") == 0 || strcmp(name, "b64") == 0)
		note_header_problem(header, "the token has extensions that are not supported");
}

static const char *
read_header(Part part, Header *header)
{
	size_t		len;
	uint8	   *json = decode(part, &len);

	if (json == NULL)
		return "the token's header is no base64url";
	if (ks_json_read((const char *) json, len, visit_header, header) != NULL || !header->is_object)
		return "the token's header is no JSON object";
	if (header->problem == NULL && header->algorithm == KS_JWS_UNKNOWN)
		return "the token's algorithm is not accepted";
	return header->problem;
}


/*-------------------------------------------------------------------------
 * The signature
 *-------------------------------------------------------------------------
 */

static const char *
verify_signature(const Token *token, const Header *header)
{
	const KsJwsKey *keys[KS_JWKS_KEYS_MAX];
	int			n = ks_jwks_find(header->algorithm, header->kid, keys, KS_JWKS_KEYS_MAX);
	const char *unused;
	size_t		len;
	uint8	   *signature = decode(token->signature, &len);

	if (n == 0)
		return ks_jwks_status(&unused) == 0 ? "no keys for tokens are configured" :
			"no key fits the token's algorithm and kid";
	if (signature == NULL)
		return "the token's signature is no base64url";
	for (int i = 0; i < n; i++)
	{
		if (ks_jws_verify(keys[i], header->algorithm, token->signed_text.text, token->signed_text.len,
						  signature, len) == KS_CRYPTO_OK)
			return NULL;
	}
	return "the token's signature is not that of a key";
}


/*-------------------------------------------------------------------------
 * Claims
 *-------------------------------------------------------------------------
 */

static void
note_problem(Reader *reader, const char *problem)
{
	if (reader->problem == NULL)
		reader->problem = problem;
}

/* A claim that is text; an empty one is none. */
static const char *
copy_text(const char *text)
{
	return text[0] != '\0' ? pstrdup(text) : NULL;
}

static void
read_issuer(Reader *reader, const char *text)
{
	reader->claims->issuer = copy_text(text);
}

static void
read_subject(Reader *reader, const char *text)
{
	reader->claims->subject = copy_text(text);
}

static void
read_audience(Reader *reader, const char *text)
{
	if (strcmp(text, ks_jwt_audience) == 0)
		reader->has_audience = true;
}

/*
 * A NumericDate (RFC 7519, section 2), which may have a fraction.  What JSON
 * allows is a number of C as well.
 */
static double
read_seconds(Reader *reader, const char *text)
{
	double		seconds = strtod(text, NULL);

	if (!isfinite(seconds))
		note_problem(reader, "a time in the token is out of range");
	return seconds;
}

static void
read_exp(Reader *reader, const char *text)
{
	reader->has_exp = true;
	reader->exp = read_seconds(reader, text);
}

static void
read_nbf(Reader *reader, const char *text)
{
	reader->nbf = read_seconds(reader, text);
}

static void
read_role(Reader *reader, const char *text)
{
	reader->claims->role = copy_text(text);
}

static void
read_name(Reader *reader, const char *text)
{
	reader->claims->name = copy_text(text);
}

static void
read_email(Reader *reader, const char *text)
{
	reader->claims->email = copy_text(text);
}

/* A time that is wrong is none. */
static double
read_past(const char *text)
{
	double		seconds = strtod(text, NULL);

	return isfinite(seconds) && seconds > 0 && seconds < (double) MAX_SECONDS ? seconds : 0;
}

static void
read_auth_time(Reader *reader, const char *text)
{
	reader->auth_time = read_past(text);
}

static bool
is_second_factor(const char *method)
{
	return strcmp(method, "totp") == 0 || strcmp(method, "mfa/phone") == 0 ||
		strcmp(method, "mfa/webauthn") == 0;
}

/* A value of an object in amr, whose members come in any order. */
static void
read_method(Reader *reader, int index, const char *key, KsJsonType type, const char *text)
{
	if (reader->method != index)
	{
		reader->method = index;
		reader->is_second = false;
		reader->method_time = 0;
	}
	if (strcmp(key, "method") == 0 && type == KS_JSON_STRING)
		reader->is_second = is_second_factor(text);
	else if (strcmp(key, "timestamp") == 0 && type == KS_JSON_NUMBER)
		reader->method_time = read_past(text);
	if (reader->is_second && reader->method_time > reader->factor_time)
		reader->factor_time = reader->method_time;
}

/* What is below amr. */
static void
visit_methods(Reader *reader, const KsJsonPath *path, KsJsonType type, const char *text)
{
	const KsJsonStep *steps = path->steps;

	if (path->depth == 2 && steps[1].key == NULL && type == KS_JSON_STRING && strcmp(text, "mfa") == 0)
		reader->has_mfa = true;
	else if (path->depth == 3 && steps[1].key == NULL && steps[2].key != NULL)
		read_method(reader, steps[1].index, steps[2].key, type, text);
}

/* When a second factor was proved, 0 when it was not. */
static TimestampTz
mfa_time(const Reader *reader)
{
	double		seconds = reader->has_mfa ? Max(reader->factor_time, reader->auth_time) : reader->factor_time;

	return seconds > 0 ? (TimestampTz) (seconds * USECS_PER_SEC) - KS_UNIX_EPOCH_OFFSET : 0;
}

static void
read_nothing(Reader *reader pg_attribute_unused(), const char *text pg_attribute_unused())
{
}

static const struct
{
	const char *name;
	KsJsonType	type;
	bool		strict;			/* refused when it is of another type */
	void		(*read) (Reader *reader, const char *text);
}			known_claims[] = {
	{"iss", KS_JSON_STRING, true, read_issuer},
	{"sub", KS_JSON_STRING, true, read_subject},
	{"aud", KS_JSON_STRING, false, read_audience},	/* or an array, below */
	{"exp", KS_JSON_NUMBER, true, read_exp},
	{"nbf", KS_JSON_NUMBER, true, read_nbf},
	{"role", KS_JSON_STRING, false, read_role},
	{"name", KS_JSON_STRING, false, read_name},
	{"email", KS_JSON_STRING, false, read_email},
	{"user_metadata", KS_JSON_OBJECT, false, read_nothing},
	{"auth_time", KS_JSON_NUMBER, false, read_auth_time},
	{"amr", KS_JSON_ARRAY, false, read_nothing},
};

static void
visit_claim(Reader *reader, const char *name, KsJsonType type, const char *text)
{
	for (size_t i = 0; i < lengthof(known_claims); i++)
	{
		if (strcmp(known_claims[i].name, name) != 0)
			continue;
		if (reader->seen & (1U << i))
			note_problem(reader, "the token has a claim twice");
		reader->seen |= 1U << i;
		if (type == known_claims[i].type)
			known_claims[i].read(reader, text);
		else if (known_claims[i].strict)
			note_problem(reader, "a claim of the token is of a wrong type");
	}
	if (strcmp(name, "aud") == 0 && type != KS_JSON_STRING && type != KS_JSON_ARRAY)
		note_problem(reader, "a claim of the token is of a wrong type");
}

static void
visit_claims(void *arg, const KsJsonPath *path, KsJsonType type, const char *text)
{
	Reader	   *reader = arg;
	const KsJsonStep *steps = path->steps;

	if (path->depth == 0)
		reader->is_object = type == KS_JSON_OBJECT;
	else if (path->depth == 1 && steps[0].key != NULL)
		visit_claim(reader, steps[0].key, type, text);
	else if (path->depth == 2 && steps[0].key != NULL && strcmp(steps[0].key, "aud") == 0)
	{
		if (type == KS_JSON_STRING)
			read_audience(reader, text);
		else
			note_problem(reader, "a claim of the token is of a wrong type");
	}
	else if (path->depth >= 2 && steps[0].key != NULL && strcmp(steps[0].key, "amr") == 0)
		visit_methods(reader, path, type, text);
	else if (path->depth == 2 && steps[0].key != NULL && strcmp(steps[0].key, "user_metadata") == 0 &&
			 steps[1].key != NULL && type == KS_JSON_STRING)
	{
		if (strcmp(steps[1].key, "full_name") == 0)
			reader->full_name = copy_text(text);
		else if (strcmp(steps[1].key, "name") == 0)
			reader->other_name = copy_text(text);
	}
}

/*
 * Reads claims, and checks those that do not depend on the time.
 */
static const char *
read_claims(const char *json, size_t len, Reader *reader)
{
	KsClaims   *claims = reader->claims;

	if (ks_json_read(json, len, visit_claims, reader) != NULL || !reader->is_object)
		return "the token's claims are no JSON object";
	if (reader->problem != NULL)
		return reader->problem;
	if (ks_jwt_issuer[0] != '\0' && (claims->issuer == NULL || strcmp(claims->issuer, ks_jwt_issuer) != 0))
		return "the token is from another issuer";
	if (ks_jwt_audience[0] != '\0' && !reader->has_audience)
		return "the token is for another audience";
	if (claims->name == NULL)
		claims->name = reader->full_name != NULL ? reader->full_name : reader->other_name;
	claims->mfa_at = mfa_time(reader);
	return NULL;
}

static const char *
check_time(const Reader *reader, TimestampTz now)
{
	double		seconds = (double) (now + KS_UNIX_EPOCH_OFFSET) / USECS_PER_SEC;

	/* one that is good for ever is a mistake */
	if (!reader->has_exp)
		return "the token has no time of expiry";
	if (seconds >= reader->exp + KS_JWT_LEEWAY_S)
		return "the token is expired";
	if (seconds < reader->nbf - KS_JWT_LEEWAY_S)
		return "the token is not valid yet";
	return NULL;
}


/*-------------------------------------------------------------------------
 * Tokens
 *-------------------------------------------------------------------------
 */

/*
 * What ks_jwt_verify() does, in memory that is dropped then; the claims lie
 * there.
 */
static const char *
verify(const char *text, size_t len, TimestampTz now, KsClaims *claims)
{
	Token		token;
	Header		header = {0};
	Reader		reader = {.claims = claims, .nbf = -HUGE_VAL};
	const char *problem;
	uint8	   *payload;
	size_t		payload_len;

	if (len > KS_JWT_MAX)
		return "the token is too long";
	if (!split(text, len, &token))
		return "the token does not have three parts";

	/* By this a token is known in a statement that must not be logged. */
	if (strncmp(text, "eyJ", 3) != 0)
		return "the token's header does not begin with a name";
	problem = read_header(token.header, &header);
	if (problem == NULL)
		problem = verify_signature(&token, &header);
	if (problem != NULL)
		return problem;

	payload = decode(token.payload, &payload_len);
	if (payload == NULL)
		return "the token's claims are no base64url";
	problem = read_claims((const char *) payload, payload_len, &reader);
	return problem != NULL ? problem : check_time(&reader, now);
}

static const char *
copy_or_null(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

const char *
ks_jwt_verify(const char *token, size_t len, TimestampTz now, KsClaims *claims)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone jwt", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	KsClaims	found = {0};
	const char *problem = verify(token, len, now, &found);

	MemoryContextSwitchTo(before);
	memset(claims, 0, sizeof(*claims));
	if (problem == NULL)
	{
		claims->issuer = copy_or_null(found.issuer);
		claims->subject = copy_or_null(found.subject);
		claims->role = copy_or_null(found.role);
		claims->name = copy_or_null(found.name);
		claims->email = copy_or_null(found.email);
		claims->mfa_at = found.mfa_at;
	}
	MemoryContextDelete(work);
	return problem;
}

const char *
ks_jwt_read_claims(const char *json, size_t len, KsClaims *claims)
{
	Reader		reader = {.claims = claims};
	const char *problem;

	memset(claims, 0, sizeof(*claims));
	problem = read_claims(json, len, &reader);
	if (problem != NULL)
		memset(claims, 0, sizeof(*claims));
	return problem;
}


/*-------------------------------------------------------------------------
 * Principals
 *-------------------------------------------------------------------------
 */

static bool
add_text(pg_cryptohash_ctx *hash, const char *text)
{
	size_t		len = strlen(text);
	uint32		prefix = pg_hton32((uint32) len);

	return pg_cryptohash_update(hash, (const uint8 *) &prefix, sizeof(prefix)) >= 0 &&
		pg_cryptohash_update(hash, (const uint8 *) text, len) >= 0;
}

/*
 * The name within the namespace is issuer and subject, each behind its length
 * in bytes as a big-endian number of 32 bits.
 */
static void
name_based_principal(const KsClaims *claims, uint8 principal[KS_ID_LEN])
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA1);
	uint8		digest[SHA1_DIGEST_LENGTH];
	bool		ok;

	ok = hash != NULL && pg_cryptohash_init(hash) >= 0 &&
		pg_cryptohash_update(hash, principal_namespace, KS_ID_LEN) >= 0 &&
		add_text(hash, claims->issuer != NULL ? claims->issuer : "") &&
		add_text(hash, claims->subject) &&
		pg_cryptohash_final(hash, digest, sizeof(digest)) >= 0;
	pg_cryptohash_free(hash);
	if (!ok)
		ks_error_crypto("derive the principal of a token");

	memcpy(principal, digest, KS_ID_LEN);
	principal[6] = (uint8) ((principal[6] & 0x0f) | 0x50);	/* version 5 */
	principal[8] = (uint8) ((principal[8] & 0x3f) | 0x80);	/* variant 10 */
}

void
ks_jwt_principal(const KsClaims *claims, uint8 principal[KS_ID_LEN])
{
	static const uint8 nil[KS_ID_LEN] = {0};

	if (!ks_text_uuid(claims->subject, principal) || memcmp(principal, nil, KS_ID_LEN) == 0)
		name_based_principal(claims, principal);
}
