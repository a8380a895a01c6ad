/*-------------------------------------------------------------------------
 *
 * ks_identity.c
 *	  Who is calling.
 *
 * There is no identity in background processes, in security-restricted
 * operations (ANALYZE, REFRESH, index expressions run by somebody else), nor
 * inside a SECURITY DEFINER function whose owner is not trusted: there, the
 * session's user is not the author of the statement.
 *
 * Elsewhere, what was proved by a token holds until the transaction, or the
 * subtransaction in which it was proved, ends, and nothing replaces it.  In
 * the sessions of an authenticator the token of the request is looked for at
 * the first call; a token that proves nothing makes the caller anonymous, it
 * is not passed over for something weaker.  The settings that PostgREST makes
 * count only while they are local to the transaction: what a pooled
 * connection has left from before is nobody's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_identity.h"
#include "ks_jwks.h"
#include "ks_jwt.h"
#include "ks_lockout.h"
#include "ks_request.h"

#define BEARER			"Bearer "
#define ROLE_PREFIX		"role:"

KsIdentityLoader ks_identity_loader;

/* What was proved, and in which subtransaction. */
static struct
{
	bool		valid;
	SubTransactionId subid;
	KsProof		proof;
	uint64		changes;		/* how often that became something else */
}			proved;

/* That the request proves nothing, taken by pre_request(). */
static struct
{
	bool		valid;
	SubTransactionId subid;
	const char *why;
}			pinned;

/* The request's token that proved nothing, in this transaction. */
static struct
{
	bool		valid;
	const char *why;
	uint8		digest[KS_DIGEST_LEN];
}			failed;


/*-------------------------------------------------------------------------
 * Roles
 *-------------------------------------------------------------------------
 */

/* Whether a role stands in a list, as found last. */
typedef struct Listed
{
	Oid			role;
	uint64		generation;		/* of the lists of roles */
	bool		is;
} Listed;

static Listed authenticator;
static Listed definer;
static Oid	named_role = InvalidOid;
static NameData role_name;

static void
forget_roles(Datum arg, int cacheid, uint32 hash)
{
	(void) arg;
	(void) cacheid;
	(void) hash;
	authenticator.role = definer.role = named_role = InvalidOid;
}

static void
watch_roles(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterSyscacheCallback(AUTHOID, forget_roles, (Datum) 0);
	registered = true;
}

/* The name of a role, good until the next call; NULL when it was dropped. */
static const char *
name_of_role(Oid role)
{
	watch_roles();
	if (named_role != role)
	{
		char	   *name = GetUserNameFromId(role, true);

		if (name == NULL)
			return NULL;
		namestrcpy(&role_name, name);
		pfree(name);
		named_role = role;
	}
	return NameStr(role_name);
}

/* Whether a role's name stands in a setting that is a list of names. */
static bool
find_in_list(Oid role, const char *list)
{
	const char *name;
	char	   *setting;
	List	   *names = NIL;
	ListCell   *cell;
	bool		found = false;

	if (list[0] == '\0')
		return false;
	name = name_of_role(role);
	setting = pstrdup(list);
	if (name != NULL && SplitIdentifierString(setting, ',', &names))
	{
		foreach(cell, names)
		{
			if (strcmp(lfirst(cell), name) == 0)
				found = true;
		}
	}
	list_free(names);
	pfree(setting);
	return found;
}

static bool
is_listed(Listed *last, Oid role, const char *list)
{
	watch_roles();
	if (last->role != role || last->generation != ks_role_lists_generation)
	{
		last->is = find_in_list(role, list);
		last->generation = ks_role_lists_generation;
		last->role = role;
	}
	return last->is;
}

bool
ks_identity_is_authenticator(void)
{
	return is_listed(&authenticator, GetSessionUserId(), ks_authenticators);
}

bool
ks_identity_over_http(void)
{
	return ks_identity_is_authenticator() && ks_request_setting("request.method") != NULL;
}

Oid
ks_identity_current_role(void)
{
	return GetUserId();
}

/* Where nobody has an identity, whatever they prove. */
static bool
is_out_of_reach(const char **why)
{
	*why = NULL;
	if (MyBackendType != B_BACKEND)
		*why = "background processes have no identity";
	else if (InSecurityRestrictedOperation())
		*why = "there is no identity in a security-restricted operation";
	else if (InLocalUserIdChange() && !is_listed(&definer, GetUserId(), ks_trusted_definers))
		*why = "the owner of the SECURITY DEFINER function is not in keystone.trusted_definers";
	return *why != NULL;
}

/*
 * Where PostgREST has set these, many share the login role, whatever the list
 * of authenticators says.
 */
static bool
serves_requests(void)
{
	return ks_request_setting("request.jwt.claims") != NULL || ks_request_setting("request.headers") != NULL;
}

bool
ks_identity_withheld(const char **why)
{
	if (is_out_of_reach(why))
		return true;
	if (ks_identity_is_authenticator())
		*why = "the login role is in keystone.authenticators";
	else if (serves_requests())
		*why = "the login role is not in keystone.authenticators, and the session serves requests";
	return *why != NULL;
}


/*-------------------------------------------------------------------------
 * Proofs
 *-------------------------------------------------------------------------
 */

/* The value of a lower-case hexadecimal digit, -1 for another character. */
static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Splits "ks_<prefix>_<secret>", of which the mark is known; false when the
 * token is none. */
static bool
split_api_key(const char *token, size_t len, char prefix[KS_API_KEY_PREFIX_LEN + 1],
			  uint8 secret[KS_API_KEY_SECRET_LEN])
{
	const size_t mark = sizeof(KS_API_KEY_MARK) - 1;
	const char *digits = token + mark + KS_API_KEY_PREFIX_LEN + 1;

	if (len != mark + KS_API_KEY_PREFIX_LEN + 1 + 2 * KS_API_KEY_SECRET_LEN || digits[-1] != '_')
		return false;
	for (int i = 0; i < KS_API_KEY_PREFIX_LEN; i++)
	{
		if (digit_value(token[mark + i]) < 0)
			return false;
	}
	for (int i = 0; i < KS_API_KEY_SECRET_LEN; i++)
	{
		int			high = digit_value(digits[2 * i]);
		int			low = digit_value(digits[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		secret[i] = (uint8) (high << 4 | low);
	}
	memcpy(prefix, token + mark, KS_API_KEY_PREFIX_LEN);
	prefix[KS_API_KEY_PREFIX_LEN] = '\0';
	return true;
}

static bool
is_api_key(const char *token, size_t len)
{
	return len >= sizeof(KS_API_KEY_MARK) - 1 &&
		strncmp(token, KS_API_KEY_MARK, sizeof(KS_API_KEY_MARK) - 1) == 0;
}

/* NULL, or why claims prove nothing; *is_failure is false when it is no fault
 * of theirs. */
static const char *
prove_claims(const KsClaims *claims, KsSource source, KsProof *proof, bool *is_failure)
{
	const char *name = claims->name;	/* not the address: co-members see it */

	*is_failure = false;
	memset(proof, 0, sizeof(*proof));
	proof->source = source;
	if (claims->subject != NULL && claims->subject[0] != '\0')
		ks_jwt_principal(claims, proof->principal);
	else if (claims->role == NULL)
		return "the token has neither a subject nor a role";
	else if (!ks_identity_loader.principal_of_external(psprintf(ROLE_PREFIX "%s", claims->role), proof->principal))
		return "the token has no subject, and no principal is registered under role:<its role>";
	proof->mfa_at = claims->mfa_at;
	if (name != NULL)
		strlcpy(proof->display_name, name, sizeof(proof->display_name));
	return NULL;
}

/*
 * NULL, or why a token proves nothing.  prefix receives that of an API key,
 * and is empty otherwise.
 */
static const char *
prove(const char *token, size_t len, KsProof *proof, char prefix[KS_API_KEY_PREFIX_LEN + 1],
	  bool *is_failure)
{
	uint8		secret[KS_API_KEY_SECRET_LEN];
	KsClaims	claims;
	const char *why;
	bool		valid;

	*is_failure = true;
	prefix[0] = '\0';
	memset(proof, 0, sizeof(*proof));
	if (is_api_key(token, len))
	{
		if (!split_api_key(token, len, prefix, secret))
			return "the API key is not valid";
		valid = ks_identity_loader.check_api_key(prefix, secret, proof);
		explicit_bzero(secret, sizeof(secret));
		proof->source = KS_SOURCE_API_KEY;
		return valid ? NULL : "the API key is not valid";
	}
	why = ks_jwt_verify(token, len, GetCurrentTimestamp(), &claims);
	if (why != NULL)
		return why;
	return prove_claims(&claims, KS_SOURCE_JWT, proof, is_failure);
}

/*
 * Counts and records a failure, of which the log has a bounded number one by
 * one, and the others by their number.  Returns 0, or the seconds to wait when
 * there were too many.
 */
static int
note_failure(const char *why, const char *token, size_t len, const char *prefix)
{
	KsAuthFailure failure = {
		.why = why,
		.kind = is_api_key(token, len) ? KS_SOURCE_API_KEY : KS_SOURCE_JWT,
		.prefix = prefix[0] != '\0' ? prefix : NULL,
	};
	KsRequest	request;
	const char *address = ks_request_client_address();
	TimestampTz now = GetCurrentTimestamp();
	int			wait;

	if (ks_identity_is_authenticator() && ks_request_headers(&request) && request.forwarded_for != NULL)
		address = request.forwarded_for;
	wait = ks_lockout_failed("address", address != NULL ? address : "", now);
	if (failure.prefix != NULL)
	{
		int			of_prefix = ks_lockout_failed("prefix", failure.prefix, now);

		wait = Max(wait, of_prefix);
	}
	ks_identity_loader.record_failure(&failure);
	return wait;
}

KS_NORETURN static void raise_locked(int wait) KS_NORETURN_END;

static void
raise_locked(int wait)
{
	KsLimited	limited = {
		.limit = "authentication",
		.window = "minute",
		.period = 60,
		.limit_value = ks_auth_failures_per_minute,
		.retry_after = wait,
		.reset_at = GetCurrentTimestamp() + wait * USECS_PER_SEC,
	};

	ks_error_limited(&limited, ks_identity_over_http());
}

/* Holds what was proved, until the subtransaction ends in which it was. */
static void
latch(const KsProof *proof)
{
	proved.proof = *proof;
	proved.subid = GetCurrentSubTransactionId();
	proved.valid = true;
	proved.changes++;
}

void
ks_identity_authenticate(const char *token, size_t len)
{
	KsProof		proof;
	char		prefix[KS_API_KEY_PREFIX_LEN + 1];
	bool		is_failure;
	const char *why;

	if (is_out_of_reach(&why))
		ks_error_denied("no identity can be proved here", why);
	why = prove(token, len, &proof, prefix, &is_failure);
	if (why != NULL && is_failure)
	{
		int			wait = note_failure(why, token, len, prefix);

		if (wait > 0)
			raise_locked(wait);
	}
	if (why != NULL)
		ks_error_denied("authentication failed", why);

	why = ks_identity_loader.refuse_principal(&proof);
	if (why == NULL && proved.valid && memcmp(proved.proof.principal, proof.principal, KS_ID_LEN) != 0)
		why = "another identity was proved in this transaction";
	if (why != NULL)
	{
		KsAuthFailure failure = {
			.why = why,
			.kind = proof.source,
			.prefix = prefix[0] != '\0' ? prefix : NULL,
		};

		ks_identity_loader.record_failure(&failure);
		ks_error_denied("authentication failed", why);
	}
	if (!proved.valid)
		latch(&proof);
}


/*-------------------------------------------------------------------------
 * Requests of an authenticator
 *-------------------------------------------------------------------------
 */

/* A token of the request: one that proved nothing is not tried again. */
static const char *
take_token(const char *token)
{
	KsProof		proof;
	char		prefix[KS_API_KEY_PREFIX_LEN + 1];
	uint8		digest[KS_DIGEST_LEN];
	size_t		len = strlen(token);
	bool		is_failure;
	const char *why;

	if (ks_sha256(token, len, digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	if (failed.valid && memcmp(failed.digest, digest, KS_DIGEST_LEN) == 0)
		return failed.why;

	why = prove(token, len, &proof, prefix, &is_failure);
	if (why == NULL)
	{
		latch(&proof);
		return NULL;
	}

	/* before it is recorded, which asks who is calling */
	memcpy(failed.digest, digest, KS_DIGEST_LEN);
	failed.why = why;
	failed.valid = true;
	if (is_failure)
	{
		if (note_failure(why, token, len, prefix) > 0)
			failed.why = why = "there were too many failed authentications; the token is not valid";
	}
	return why;
}

/* What PostgREST says of a token that it has verified. */
static const char *
take_claims(void)
{
	const char *json = ks_request_setting("request.jwt.claims");
	KsClaims	claims;
	KsProof		proof;
	bool		is_failure;
	const char *problem;
	const char *why;

	if (json == NULL)
		return "the request has no token";
	if (!ks_trust_claims)
		return ks_jwks_status(&problem) > 0 || problem != NULL ? "the request has no token" :
			"the request's token was not proved here: keystone.jwt_keys_file is not set";
	if (!ks_request_is_local("request.jwt.claims"))
		return "request.jwt.claims is not local to the transaction";
	why = ks_jwt_read_claims(json, strlen(json), &claims);
	if (why == NULL)
		why = prove_claims(&claims, KS_SOURCE_CLAIMS, &proof, &is_failure);
	if (why == NULL)
		latch(&proof);
	return why;
}

/* Looks for a proof in the request.  NULL when there is one now, or why not. */
static const char *
take_request(void)
{
	KsRequest	request;
	const char *problem;

	if (ks_request_setting("request.headers") != NULL)
	{
		if (!ks_request_is_local("request.headers"))
			return "request.headers is not local to the transaction";
		if (!ks_request_headers(&request))
			return "request.headers is no JSON object of strings";
		if (request.api_key != NULL)
			return take_token(request.api_key);
		if (request.authorization != NULL &&
			pg_strncasecmp(request.authorization, BEARER, strlen(BEARER)) == 0)
		{
			const char *token = request.authorization + strlen(BEARER);

			token += strspn(token, " ");
			if (is_api_key(token, strlen(token)) || ks_jwks_status(&problem) > 0 || problem != NULL)
				return take_token(token);
		}
	}
	return take_claims();
}

void
ks_identity_pin(void)
{
	const char *why;

	if (proved.valid || pinned.valid || is_out_of_reach(&why) || !ks_identity_is_authenticator())
		return;
	why = take_request();
	if (why != NULL)
	{
		pinned.why = why;
		pinned.subid = GetCurrentSubTransactionId();
		pinned.valid = true;
	}
}


/*-------------------------------------------------------------------------
 * The actor
 *-------------------------------------------------------------------------
 */

/* The actor of what was proved, unless it may not act any more. */
static void
set_proved(KsActor *actor)
{
	actor->why = ks_identity_loader.refuse_principal(&proved.proof);
	if (actor->why != NULL)
		return;
	actor->source = proved.proof.source;
	memcpy(actor->principal, proved.proof.principal, KS_ID_LEN);
	actor->mfa_at = proved.proof.mfa_at;
	actor->delegated = actor->source == KS_SOURCE_API_KEY;
	actor->outgoing = actor->delegated && proved.proof.ends;
	if (actor->delegated)
		memcpy(actor->on_behalf_of, proved.proof.creator, KS_ID_LEN);
}

/* The actor of a session that is its login role's. */
static void
set_login(KsActor *actor)
{
	const char *name;

	if (ks_identity_withheld(&actor->why))
		return;
	name = name_of_role(actor->session_role);
	if (name != NULL && ks_identity_loader.principal_of_role(name, actor->principal))
		actor->source = KS_SOURCE_DB_ROLE;
	else
		actor->why = "no principal is bound to the login role";
}

void
ks_identity_actor(KsActor *actor)
{
	memset(actor, 0, sizeof(*actor));
	actor->role = GetUserId();
	actor->session_role = GetSessionUserId();

	if (is_out_of_reach(&actor->why))
		return;
	if (!proved.valid && ks_identity_is_authenticator())
		actor->why = pinned.valid ? pinned.why : take_request();
	if (proved.valid)
		set_proved(actor);
	else if (actor->why == NULL)
		set_login(actor);
}

/*
 * Settings are not asked: those that say who calls are latched in a request,
 * and elsewhere one that is set within a statement takes from its caller only.
 */
void
ks_identity_mark(KsIdentityMark *mark)
{
	memset(mark, 0, sizeof(*mark));
	GetUserIdAndSecContext(&mark->role, &mark->sec_context);
	mark->session_role = GetSessionUserId();
	mark->proofs = proved.changes;
}

const char *
ks_identity_display_name(void)
{
	return proved.valid && proved.proof.display_name[0] != '\0' ? proved.proof.display_name : NULL;
}

const char *
ks_source_name(KsSource source)
{
	static const char *const names[] = {
		[KS_SOURCE_ANONYMOUS] = "anonymous",
		[KS_SOURCE_DB_ROLE] = "db_role",
		[KS_SOURCE_CLAIMS] = "claims",
		[KS_SOURCE_JWT] = "jwt",
		[KS_SOURCE_API_KEY] = "api_key",
	};

	return names[source];
}


/*-------------------------------------------------------------------------
 * The end of what was proved
 *-------------------------------------------------------------------------
 */

static void
transaction_ends(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			proved.valid = pinned.valid = failed.valid = false;
			proved.changes++;
			ks_request_forget();
			break;
		default:
			break;
	}
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (proved.valid && proved.subid == mine)
			proved.subid = parent;
		if (pinned.valid && pinned.subid == mine)
			pinned.subid = parent;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		if (proved.valid && proved.subid == mine)
		{
			proved.valid = false;
			proved.changes++;
		}
		if (pinned.valid && pinned.subid == mine)
			pinned.valid = false;
	}
}

/* Registers what ends a proof, in each process for itself. */
void
ks_identity_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}
