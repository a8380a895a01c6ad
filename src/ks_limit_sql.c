/*-------------------------------------------------------------------------
 *
 * ks_limit_sql.c
 *	  Limits as SQL functions: using them.  Defining them is in
 *	  ks_limit_define_sql.c.
 *
 * Whose counter a call reaches:
 *
 *	- rate_limit(): the caller's principal is part of the key;
 *	- a workspace's definition: that workspace's;
 *	- the database's definition, used for a workspace: one of that workspace;
 *	  without a workspace: one that all share;
 *	- a definition that a verb applies by itself: the verb's, which callers may
 *	  look at and block, not consume.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_limits.h"
#include "ks_near.h"
#include "ks_note.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define REQUESTS_MAX		16	/* of limit_consume_many() */
#define FALLBACK			"default"
#define ADHOC_NAME			"rate_limit"

#define TOKEN_MARK			"kr_"
#define TOKEN_FORMAT		1
#define TOKEN_BODY_MAX		(128 + KS_WINDOWSPEC_MAX * 8 + KS_NAME_MAX)

/* The columns of keystone.limit_result. */
enum
{
	R_ALLOWED, R_LIMIT, R_WINDOW, R_VALUE, R_REMAINING, R_RETRY, R_RESET, R_NEAR, R_TOKEN, R_COLUMNS
};

/* A limit and key that a call names. */
typedef struct Target
{
	const KsLimitDef *def;
	const char *name;			/* as it is shown */
	uint8		workspace[KS_ID_LEN];	/* for which; nil: none */
	KsLimitShare share;			/* what policy leaves of it there */
	KsMembership member;		/* when there is one */
	uint8		hash[KS_LIMIT_HASH_LEN];	/* of the key */
	int			n;				/* its asks */
	KsLimitAsk *asks;
} Target;

/* What is shown of it. */
typedef struct Shown
{
	bool		allowed;
	const char *limit_name;
	const char *window_name;
	int64		limit_value;
	int64		remaining;
	int32		retry_after;	/* -1: NULL */
	TimestampTz reset_at;
	bool		near;
	char	   *token;			/* may be NULL */
	int64		period;			/* of the window, in seconds */
} Shown;

static bool
is_nil(const uint8 *id)
{
	static const uint8 nil[KS_ID_LEN] = {0};

	return memcmp(id, nil, KS_ID_LEN) == 0;
}


/*-------------------------------------------------------------------------
 * What a call names
 *-------------------------------------------------------------------------
 */

/*
 * A name in its normal form.  Nearly all are plain ASCII already.
 */
static const char *
read_name(const char *parameter, const text *given, char buf[KS_NAME_MAX + 1])
{
	size_t		len = VARSIZE_ANY_EXHDR(given);
	const char *data = VARDATA_ANY(given);

	if (len == 0 || len > KS_NAME_MAX)
		ks_error_invalid(parameter, "1 to 255 bytes long", NULL);
	for (size_t i = 0; i < len; i++)
	{
		if (data[i] <= ' ' || data[i] >= 0x7f)
			return ks_text_name(parameter, given, KS_NAME_MAX);
	}
	memcpy(buf, data, len);
	buf[len] = '\0';
	return buf;
}

static void
check_key(const text *key)
{
	size_t		len = VARSIZE_ANY_EXHDR(key);

	if (len == 0 || len > KS_LIMITS_KEY_MAX)
		ks_error_invalid("key", "1 to 1024 bytes long", NULL);
}

static void
find_workspace(KsVerb *verb, const text *workspace, uint32 permission, Target *target)
{
	if (verb->call.actor.source == KS_SOURCE_ANONYMOUS)
		ks_error_anonymous(verb->call.actor.why);
	ks_membership(&verb->call, workspace, &target->member);
	memcpy(target->workspace, target->member.workspace, KS_ID_LEN);
	memcpy(verb->workspace, target->workspace, KS_ID_LEN);
	ks_require(&target->member, permission);
}

/* The definition, or the one named default; what was asked for then belongs to
 * the key, and *fallback is it. */
static void
find_definition(Target *target, const char *name, const char **fallback)
{
	*fallback = "";
	target->def = ks_limits_find(target->workspace, name);
	if (target->def == NULL)
	{
		*fallback = name;
		target->def = ks_limits_find(target->workspace, FALLBACK);
	}
	if (target->def == NULL)
		ks_error_not_found("There is no limit of that name, nor one named default.");
	target->name = target->def->name;
}

/* A verb's own key is the key alone: it says by itself whose it is. */
static void
hash_key(Target *target, const char *fallback, const text *key)
{
	char		bytes[KS_ID_LEN + KS_NAME_MAX + 1 + KS_LIMITS_KEY_MAX];
	size_t		len = 0;

	if (target->def->enforce_action == NULL)
	{
		memcpy(bytes, target->workspace, KS_ID_LEN);
		len = KS_ID_LEN + strlcpy(bytes + KS_ID_LEN, fallback, KS_NAME_MAX + 1) + 1;
	}
	memcpy(bytes + len, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	len += VARSIZE_ANY_EXHDR(key);
	ks_limits_key_hash(target->def, bytes, len, target->hash);
}

/* workspace may be NULL. */
static void
find_target(KsVerb *verb, const text *name, const text *key, const text *workspace, uint32 permission,
			Target *target)
{
	char		buf[KS_NAME_MAX + 1];
	const char *fallback;
	const char *wanted = read_name("name", name, buf);

	memset(target, 0, offsetof(Target, member));
	check_key(key);
	if (workspace != NULL)
		find_workspace(verb, workspace, permission, target);
	find_definition(target, wanted, &fallback);
	hash_key(target, fallback, key);
}

/* The room that counters take is of the workspace for which they count; its
 * policies lower them. */
static void
fill_asks(Target *target, int64 cost, TimestampTz now, KsLimitAsk *asks)
{
	target->asks = asks;
	target->n = ks_limits_ask_hash(target->def, target->hash, cost, now, asks);
	if (is_nil(target->workspace))
		return;
	for (int i = 0; i < target->n; i++)
		memcpy(asks[i].workspace, target->workspace, KS_ID_LEN);
	ks_limits_lower(&target->share, asks, target->n);
}

/* What is done for a workspace obeys its policies. */
static void
find_share(Target *target)
{
	if (!is_nil(target->workspace))
		ks_enforce_share(target->workspace, NULL, &target->share);
}

/* Counters of one principal: their room and sink are its own, too, so that it
 * is nobody else's loss when there are many. */
static void
fill_adhoc_asks(const KsCall *call, const text *windows, const text *key, int64 cost, TimestampTz now,
				Target *target, KsLimitAsk *asks)
{
	char		bytes[KS_ID_LEN + KS_LIMITS_KEY_MAX];

	memset(target, 0, offsetof(Target, member));
	target->name = ADHOC_NAME;
	target->asks = asks;
	target->def = ks_limits_adhoc(text_to_cstring(windows));
	memcpy(bytes, call->actor.principal, KS_ID_LEN);
	memcpy(bytes + KS_ID_LEN, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	target->n = ks_limits_ask(target->def, bytes, KS_ID_LEN + VARSIZE_ANY_EXHDR(key), cost, now, asks);
	for (int i = 0; i < target->n; i++)
	{
		memcpy(asks[i].workspace, call->actor.principal, KS_ID_LEN);
		for (int j = 0; j < KS_ID_LEN; j++)
			asks[i].sink[j] ^= call->actor.principal[j];
	}
}

static int64
get_cost(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ks_error_null("cost");
	if (PG_GETARG_INT32(n) < 0)
		ks_error_invalid("cost", "0 or greater", NULL);
	return PG_GETARG_INT32(n);
}


/*-------------------------------------------------------------------------
 * Results
 *-------------------------------------------------------------------------
 */

/* Whether a share of a window is used from which on it is near its end. */
static bool
is_near(const KsLimitAsk *ask, int64 remaining, int percent)
{
	int64		most = ks_window_most(&ask->window);

	return !ask->answer.allowed || (most - remaining) * 100 >= most * percent;
}

/* When nothing counts any more, the attempt that was just charged included,
 * which the answer is from before. */
static TimestampTz
reset_after(const KsLimitAsk *ask, TimestampTz now)
{
	const KsWindow *window = &ask->window;
	TimestampTz reset_at = Max(ask->answer.reset_at, now);

	switch (window->algorithm)
	{
		case KS_WINDOW_CALENDAR:
			return window->end;
		case KS_WINDOW_GCRA:
			/* what a shadow counts beyond the number is over after a period */
			return Min(reset_at + window->period / window->n * Min(ask->cost, window->n), now + window->period);
		case KS_WINDOW_LOG:
			return now + window->period;
		case KS_WINDOW_SLIDING:
			return now + window->period + window->period / (KS_WINDOW_PIECES - 1);
	}
	return reset_at;
}

/*
 * Shows a target's answers.  looked: they are those of an attempt of one that
 * was not made, so that one more remains.
 */
static void
describe(const Target *target, bool allowed, bool looked, TimestampTz now, Shown *result)
{
	int			tightest = ks_limits_tightest(target->asks, target->n);
	const KsLimitAsk *ask = &target->asks[tightest];
	int			near_percent = ks_limits_near(&target->share, target->def->near_percent);

	memset(result, 0, sizeof(*result));
	result->retry_after = -1;
	for (int i = 0; i < target->n; i++)
	{
		const KsLimitAsk *each = &target->asks[i];
		int64		remaining = Max(each->answer.remaining, 0) + (looked && each->answer.allowed ? 1 : 0);

		/* a shadow has counted what it would have refused */
		if (allowed && !looked && each->shadow && !each->answer.allowed)
			remaining = 0;
		if (i == tightest)
			result->remaining = Min(remaining, each->window.n);
		result->near |= is_near(each, remaining, near_percent);
		if (!looked && target->def->name[0] != '\0')
			ks_near_check(target->def->workspace, target->def->name, target->def->windows[i].name, near_percent, each,
						  now);
	}
	result->allowed = allowed;
	result->limit_name = target->name;
	result->window_name = target->def->windows[tightest].name;
	result->limit_value = ask->window.n;
	if (!allowed)
		result->retry_after = ks_limits_seconds_until(Max(ask->answer.retry_at, ask->blocked_until), now);
	if (allowed && !looked && ask->cost > 0)
		result->reset_at = reset_after(ask, now);
	else
		result->reset_at = Max(Max(ask->answer.reset_at, ask->blocked_until), now);
	result->period = (ask->window.algorithm == KS_WINDOW_CALENDAR ? ask->window.end - ask->window.start :
					  ask->window.period) / USECS_PER_SEC;
}

static void
set_columns(const Shown *result, Datum values[R_COLUMNS], bool nulls[R_COLUMNS])
{
	memset(nulls, 0, R_COLUMNS * sizeof(bool));
	values[R_ALLOWED] = BoolGetDatum(result->allowed);
	values[R_LIMIT] = CStringGetTextDatum(result->limit_name);
	values[R_WINDOW] = CStringGetTextDatum(result->window_name);
	values[R_VALUE] = Int64GetDatum(result->limit_value);
	values[R_REMAINING] = Int64GetDatum(result->remaining);
	values[R_RETRY] = Int32GetDatum(result->retry_after);
	nulls[R_RETRY] = result->retry_after < 0;
	values[R_RESET] = TimestampTzGetDatum(result->reset_at);
	values[R_NEAR] = BoolGetDatum(result->near);
	values[R_TOKEN] = (Datum) 0;
	nulls[R_TOKEN] = result->token == NULL;
	if (result->token != NULL)
		values[R_TOKEN] = CStringGetTextDatum(result->token);
}

/* The result type is looked up once for each function and installation. */
static Datum
result_datum(FunctionCallInfo fcinfo, const Shown *result)
{
	static Oid	function = InvalidOid;
	static Oid	type = InvalidOid;
	Datum		values[R_COLUMNS];
	bool		nulls[R_COLUMNS];
	TupleDesc	desc;
	HeapTuple	tuple;

	if (function != fcinfo->flinfo->fn_oid)
	{
		type = get_func_rettype(fcinfo->flinfo->fn_oid);
		function = fcinfo->flinfo->fn_oid;
	}
	set_columns(result, values, nulls);
	desc = lookup_rowtype_tupdesc(type, -1);
	if (desc->natts != R_COLUMNS)
		elog(ERROR, "type keystone.limit_result has another number of columns");
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}


/*-------------------------------------------------------------------------
 * Tokens
 *-------------------------------------------------------------------------
 */

/* What a token says. */
typedef struct Token
{
	uint8		workspace[KS_ID_LEN];	/* of Target */
	uint8		def_workspace[KS_ID_LEN];
	uint8		windows[KS_LIMIT_HASH_LEN]; /* of which windows the definition
											 * was */
	uint8		hash[KS_LIMIT_HASH_LEN];	/* of the key */
	int64		cost;
	int64		nonce;			/* no two are alike */
	uint8		n;
	uint8		overflowed;		/* bits */
	TimestampTz charged_at[KS_WINDOWSPEC_MAX];
	char		name[KS_NAME_MAX + 1];	/* of the definition */
	uint8		mac[KS_DIGEST_LEN];
} Token;

static void
hash_windows(const KsLimitDef *def, uint8 hash[KS_LIMIT_HASH_LEN])
{
	ks_limits_hash("limit windows", def->masks, def->n * KS_LIMIT_HASH_LEN, hash);
}

/* The bytes of a token, without its HMAC: of this server alone, so in its own
 * byte order. */
static size_t
write_body(const Token *token, uint8 body[TOKEN_BODY_MAX])
{
	size_t		len = 0;
	size_t		name_len = strlen(token->name);

#define PUT(data, size) (memcpy(body + len, (data), (size)), len += (size))
	body[len++] = TOKEN_FORMAT;
	body[len++] = token->n;
	body[len++] = token->overflowed;
	body[len++] = (uint8) name_len;
	PUT(token->workspace, KS_ID_LEN);
	PUT(token->def_workspace, KS_ID_LEN);
	PUT(token->windows, KS_LIMIT_HASH_LEN);
	PUT(token->hash, KS_LIMIT_HASH_LEN);
	PUT(&token->cost, sizeof(int64));
	PUT(&token->nonce, sizeof(int64));
	PUT(token->charged_at, token->n * sizeof(TimestampTz));
	PUT(token->name, name_len);
#undef PUT
	return len;
}

/* False when the bytes are no token.  Its HMAC follows the body. */
static bool
read_body(const uint8 *data, size_t len, Token *token)
{
	size_t		at = 4;
	size_t		name_len;

	*token = (Token) {0};
	if (len < 4 || data[0] != TOKEN_FORMAT || data[1] < 1 || data[1] > KS_WINDOWSPEC_MAX)
		return false;
	token->n = data[1];
	token->overflowed = data[2];
	name_len = data[3];
	if (len != 4 + 2 * KS_ID_LEN + 2 * KS_LIMIT_HASH_LEN + 2 * sizeof(int64) +
		token->n * sizeof(TimestampTz) + name_len + KS_DIGEST_LEN)
		return false;
#define GET(data_, size) (memcpy((data_), data + at, (size)), at += (size))
	GET(token->workspace, KS_ID_LEN);
	GET(token->def_workspace, KS_ID_LEN);
	GET(token->windows, KS_LIMIT_HASH_LEN);
	GET(token->hash, KS_LIMIT_HASH_LEN);
	GET(&token->cost, sizeof(int64));
	GET(&token->nonce, sizeof(int64));
	GET(token->charged_at, token->n * sizeof(TimestampTz));
	GET(token->name, name_len);
	GET(token->mac, KS_DIGEST_LEN);
#undef GET
	return true;
}

/* A token is its principal's. */
static void
token_mac(const KsCall *call, const uint8 *body, size_t len, uint8 mac[KS_DIGEST_LEN])
{
	uint8		bytes[KS_ID_LEN + TOKEN_BODY_MAX];

	memcpy(bytes, call->actor.principal, KS_ID_LEN);
	memcpy(bytes + KS_ID_LEN, body, len);
	ks_secret_mac(KS_SECRET_REFUND, bytes, KS_ID_LEN + len, mac);
}

static char *
make_token(const KsCall *call, const Target *target, int64 cost)
{
	static uint32 tokens = 0;
	uint8		body[TOKEN_BODY_MAX + KS_DIGEST_LEN];
	size_t		size = sizeof(body) * 2;
	size_t		len;
	char	   *text = palloc(size);
	Token		token = {0};

	memcpy(token.workspace, target->workspace, KS_ID_LEN);
	memcpy(token.def_workspace, target->def->workspace, KS_ID_LEN);
	hash_windows(target->def, token.windows);
	memcpy(token.hash, target->hash, KS_LIMIT_HASH_LEN);
	token.cost = cost;
	token.nonce = ((int64) MyProcPid << 32) | tokens++;
	token.n = (uint8) target->n;
	for (int i = 0; i < target->n; i++)
	{
		token.charged_at[i] = target->asks[i].charged_at;
		token.overflowed |= (uint8) (target->asks[i].overflowed << i);
	}
	strlcpy(token.name, target->def->name, sizeof(token.name));
	len = write_body(&token, body);
	token_mac(call, body, len, body + len);
	len += KS_DIGEST_LEN;

	memcpy(text, TOKEN_MARK, sizeof(TOKEN_MARK) - 1);
	if (ks_base64_encode(body, len, text + sizeof(TOKEN_MARK) - 1, size - sizeof(TOKEN_MARK)) == 0)
		elog(ERROR, "a token does not fit");
	return text;
}

/* Reads a token that is the caller's; 22023 for all else, which is one answer. */
static void
read_token(const KsCall *call, const text *given, Token *token)
{
	uint8		body[TOKEN_BODY_MAX + KS_DIGEST_LEN];
	uint8		mac[KS_DIGEST_LEN];
	size_t		mark = sizeof(TOKEN_MARK) - 1;
	size_t		given_len = VARSIZE_ANY_EXHDR(given);
	int			len = -1;

	if (given_len > mark && given_len < 2 * sizeof(body) && memcmp(VARDATA_ANY(given), TOKEN_MARK, mark) == 0)
		len = ks_base64_decode(VARDATA_ANY(given) + mark, given_len - mark, body, sizeof(body));
	if (len > KS_DIGEST_LEN && read_body(body, (size_t) len, token))
	{
		token_mac(call, body, (size_t) len - KS_DIGEST_LEN, mac);
		if (ks_equal(mac, token->mac, KS_DIGEST_LEN))
			return;
	}
	ks_error_invalid("token", "one that a limit gave to the caller", NULL);
}

/* Until when what was charged then counts. */
static TimestampTz
counts_until(const KsLimitAsk *ask, TimestampTz charged_at)
{
	if (ask->window.algorithm == KS_WINDOW_CALENDAR)
		return charged_at >= ask->window.start ? ask->window.end : charged_at;

	/* a window slides by pieces, of which it counts one more */
	return charged_at + ask->window.period + ask->window.period / 16 + USECS_PER_SEC;
}

/*
 * Marks a token as used, by a counter of one that lasts as long as there is
 * something to give back.  False when it was used before, or is over.
 */
static bool
use_token(const Token *token, const KsLimitAsk *asks, TimestampTz now)
{
	KsLimitAsk	mark;
	TimestampTz end = now;

	for (int i = 0; i < token->n; i++)
		end = Max(end, counts_until(&asks[i], token->charged_at[i]));
	if (end <= now)
		return false;
	memset(&mark, 0, sizeof(mark));
	ks_limits_hash("limit refund", token->mac, KS_DIGEST_LEN, mark.hash);
	ks_limits_hash("limit refund sink", token->def_workspace, KS_ID_LEN, mark.sink);
	memcpy(mark.workspace, token->workspace, KS_ID_LEN);
	mark.window.algorithm = KS_WINDOW_CALENDAR;
	mark.window.n = 1;
	mark.window.start = token->charged_at[0];
	mark.window.end = end;
	mark.window.period = end - mark.window.start;
	mark.cost = 1;
	mark.protect = true;

	/*
	 * A sink forgets whose mark it is: when there is room again, the token
	 * would pass a second time.
	 */
	return ks_limit_consume(&mark, 1, now) && !mark.overflowed;
}

/*
 * Giving back is for holders of workspace and services; of the database's
 * limits, without a workspace, for services and the profile admin.
 */
static void
require_refund(KsVerb *verb, const Token *token)
{
	KsMembership member;
	const char *kind;

	if (is_nil(token->workspace))
	{
		(void) ks_principal_state(verb->call.actor.principal, &kind);
		if ((verb->call.profiles & KS_PROFILE_ADMIN) || (kind != NULL && strcmp(kind, "service") == 0))
			return;
		ks_error_denied("permission denied", "Only a service or the profile admin gives back what a limit of the database counted.");
	}
	memcpy(verb->workspace, token->workspace, KS_ID_LEN);
	if (!ks_membership_of(&verb->call, token->workspace, &member))
		ks_error_not_found(NULL);
	if (!(member.permissions & KS_PERM_WORKSPACE) && strcmp(member.role, "service") != 0)
		ks_error_denied("permission denied", "Only a service or a holder of workspace gives back what a limit counted.");
}

static Datum
limit_refund(FunctionCallInfo fcinfo, KsVerb *verb)
{
	TimestampTz now = GetCurrentTimestamp();
	KsLimitAsk	asks[KS_WINDOWSPEC_MAX];
	uint8		windows[KS_LIMIT_HASH_LEN];
	const KsLimitDef *def;
	text	   *given = ks_arg_get_text(fcinfo, 0, "token");
	Token		token;
	bool		refunded = false;

	ks_verb_enter_known(verb, KS_PROFILE_WORKER);
	read_token(&verb->call, given, &token);
	require_refund(verb, &token);
	ks_limits_prepare();

	/* Defined anew with other windows, its counters are others. */
	def = ks_limits_own(token.def_workspace, token.name);
	if (def == NULL)
		PG_RETURN_BOOL(false);
	hash_windows(def, windows);
	if (def->n != token.n || memcmp(windows, token.windows, KS_LIMIT_HASH_LEN) != 0)
		PG_RETURN_BOOL(false);
	(void) ks_limits_ask_hash(def, token.hash, token.cost, now, asks);
	if (!use_token(&token, asks, now))
		PG_RETURN_BOOL(false);
	for (int i = 0; i < token.n; i++)
	{
		asks[i].overflowed = (token.overflowed >> i) & 1;
		refunded |= ks_limit_refund(&asks[i], 1, token.charged_at[i], now);
	}
	PG_RETURN_BOOL(refunded);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_refund);
/* limit_refund(token) returns boolean */
Datum
ks_fn_limit_refund(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_REFUND, limit_refund);
}


/*-------------------------------------------------------------------------
 * Consuming
 *-------------------------------------------------------------------------
 */

/* What a verb counts by itself is not for callers to use up. */
static void
require_consumable(const Target *target, int64 cost)
{
	if (cost > 0 && target->def->enforce_action != NULL)
		ks_error_denied("the limit is applied by the vault itself",
						"keystone.limit_peek() shows what is left of it.");
}

/* Whether a key that a verb has made is the caller's: its principal, or
 * without one the workspace, comes first in it. */
static bool
is_own_key(const KsCall *call, const KsLimitDef *def, const text *key)
{
	char		id[37] = "";
	uint8		workspace[KS_ID_LEN];
	KsMembership member;
	size_t		len = VARSIZE_ANY_EXHDR(key);

	if (call->actor.source == KS_SOURCE_ANONYMOUS || len < 36 || (len > 36 && VARDATA_ANY(key)[36] != '/'))
		return false;
	if (def->key_by & KS_LIMIT_BY_PRINCIPAL)
	{
		ks_text_from_uuid(call->actor.principal, id);
		return memcmp(id, VARDATA_ANY(key), 36) == 0;
	}
	memcpy(id, VARDATA_ANY(key), 36);
	return (def->key_by & KS_LIMIT_BY_WORKSPACE) && ks_text_uuid(id, workspace) &&
		ks_membership_of(call, workspace, &member) && (member.permissions & KS_PERM_VIEW);
}

/* What a verb counts for the whole database shows what others do: each sees
 * their own. */
static void
require_visible(const KsVerb *verb, const Target *target, const text *key)
{
	if (target->def->enforce_action != NULL && is_nil(target->def->workspace) &&
		!(verb->call.profiles & (KS_PROFILE_ADMIN | KS_PROFILE_MONITOR)) &&
		!is_own_key(&verb->call, target->def, key))
		ks_error_denied("permission denied", "Another's key of a limit of the database needs the profile admin or monitor.");
}

/* Asks for one target, or looks when the cost is 0. */
static void
ask_one(const KsCall *call, Target *target, int64 cost, TimestampTz now, Shown *result)
{
	bool		allowed;

	ks_limits_prepare();
	if (cost > 0)
		allowed = ks_limit_consume(target->asks, target->n, now);
	else
	{
		ks_limit_look(target->asks, target->n, now);
		allowed = true;
		for (int i = 0; i < target->n; i++)
			allowed &= target->asks[i].answer.allowed || target->asks[i].shadow;
	}
	describe(target, allowed, cost == 0, now, result);
	if (target->def->refundable && allowed && cost > 0 && call->actor.source != KS_SOURCE_ANONYMOUS)
		result->token = make_token(call, target, cost);
}

/* A look is the answer to an attempt of one that is not made. */
static void
consume_named(FunctionCallInfo fcinfo, KsVerb *verb, uint32 profiles, int64 cost, int workspace, Shown *result)
{
	TimestampTz now = GetCurrentTimestamp();
	text	   *name = ks_arg_get_text(fcinfo, 0, "name");
	text	   *key = ks_arg_get_text(fcinfo, 1, "key");
	KsLimitAsk	asks[KS_WINDOWSPEC_MAX];
	Target		target;

	ks_verb_enter(verb, profiles);
	find_target(verb, name, key, ks_arg_get_text_or_null(fcinfo, workspace), KS_PERM_VIEW, &target);
	require_consumable(&target, cost);
	require_visible(verb, &target, key);
	find_share(&target);
	fill_asks(&target, Max(cost, 1), now, asks);
	ask_one(&verb->call, &target, cost, now, result);
}

static Datum
limit_consume(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Shown		result;

	consume_named(fcinfo, verb, KS_PROFILE_WORKER, get_cost(fcinfo, 2), 3, &result);
	return result_datum(fcinfo, &result);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_consume);
/* limit_consume(name, key, cost, workspace) returns limit_result */
Datum
ks_fn_limit_consume(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_CONSUME, limit_consume);
}

static Datum
limit_require(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Shown		result;

	consume_named(fcinfo, verb, KS_PROFILE_WORKER, get_cost(fcinfo, 2), 3, &result);
	if (!result.allowed)
	{
		KsLimited	limited = {
			.limit = result.limit_name,
			.window = result.window_name,
			.period = result.period,
			.limit_value = result.limit_value,
			.remaining = result.remaining,
			.retry_after = result.retry_after,
			.reset_at = result.reset_at
		};

		ks_error_limited(&limited, ks_identity_over_http());
	}
	return result_datum(fcinfo, &result);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_require);
/* limit_require(name, key, cost, workspace) returns limit_result */
Datum
ks_fn_limit_require(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_CONSUME, limit_require);
}

static Datum
limit_peek(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Shown		result;

	consume_named(fcinfo, verb, KS_PROFILE_WORKER | KS_PROFILE_ADMIN | KS_PROFILE_MONITOR, 0, 2, &result);
	return result_datum(fcinfo, &result);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_peek);
/* limit_peek(name, key, workspace) returns limit_result */
Datum
ks_fn_limit_peek(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_CONSUME, limit_peek);
}

static Datum
rate_limit(FunctionCallInfo fcinfo, KsVerb *verb)
{
	TimestampTz now = GetCurrentTimestamp();
	text	   *key = ks_arg_get_text(fcinfo, 0, "key");
	text	   *windows = ks_arg_get_text(fcinfo, 1, "windows");
	int64		cost = get_cost(fcinfo, 2);
	KsLimitAsk	asks[KS_WINDOWSPEC_MAX];
	Target		target;
	Shown		result;

	ks_verb_enter_known(verb, KS_PROFILE_WORKER);
	check_key(key);
	fill_adhoc_asks(&verb->call, windows, key, Max(cost, 1), now, &target, asks);
	ask_one(&verb->call, &target, cost, now, &result);
	return result_datum(fcinfo, &result);
}

PG_FUNCTION_INFO_V1(ks_fn_rate_limit);
/* rate_limit(key, windows, cost) returns limit_result */
Datum
ks_fn_rate_limit(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_CONSUME, rate_limit);
}


/*-------------------------------------------------------------------------
 * Several at once
 *-------------------------------------------------------------------------
 */

/* One request; NULL where it says nothing. */
typedef struct Request
{
	text	   *name;
	text	   *key;
	text	   *workspace;
	int64		cost;
} Request;

static text *
get_string(const JsonbValue *value, const char *parameter)
{
	if (value->type != jbvString)
		ks_error_invalid(parameter, "a string", NULL);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static int64
get_number(const JsonbValue *value, const char *parameter)
{
	bool		is_whole = false;
	int64		number = 0;

	if (value->type == jbvNumeric)
	{
		Datum		given = NumericGetDatum(value->val.numeric);

		/* Beyond int4 or no whole number: 22023, not what the cast says. */
		if (DatumGetBool(DirectFunctionCall2(numeric_ge, given, DirectFunctionCall1(int4_numeric, Int32GetDatum(0)))) &&
			DatumGetBool(DirectFunctionCall2(numeric_le, given,
											 DirectFunctionCall1(int4_numeric, Int32GetDatum(PG_INT32_MAX)))))
		{
			number = DatumGetInt32(DirectFunctionCall1(numeric_int4, given));
			is_whole = DatumGetBool(DirectFunctionCall2(numeric_eq, given,
														DirectFunctionCall1(int4_numeric, Int32GetDatum((int32) number))));
		}
	}
	if (!is_whole)
		ks_error_invalid(parameter, "a whole number of 0 to 2147483647", NULL);
	return number;
}

static void
read_member(Request *request, const JsonbValue *key, const JsonbValue *value)
{
	const char *word = key->val.string.val;
	size_t		len = (size_t) key->val.string.len;

#define IS(name) (len == strlen(name) && memcmp(word, name, len) == 0)
	if (IS("name"))
		request->name = get_string(value, "requests.name");
	else if (IS("key"))
		request->key = get_string(value, "requests.key");
	else if (IS("cost"))
		request->cost = get_number(value, "requests.cost");
	else if (IS("workspace"))
		request->workspace = value->type == jbvNull ? NULL : get_string(value, "requests.workspace");
	else
		ks_error_invalid("requests", "objects with name, key, cost and workspace only", NULL);
#undef IS
}

static void
read_request(const JsonbValue *element, Request *request)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key = {0};
	JsonbValue	value;

	memset(request, 0, sizeof(*request));
	request->cost = 1;
	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		ks_error_invalid("requests", "an array of objects", NULL);
	iterator = JsonbIteratorInit(element->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value;
		else if (token == WJB_VALUE)
			read_member(request, &key, &value);
	}
	if (request->name == NULL || request->key == NULL)
		ks_error_invalid("requests", "objects that have a name and a key", NULL);
}

static int
read_requests(Jsonb *given, Request requests[REQUESTS_MAX])
{
	int			n = JB_ROOT_IS_ARRAY(given) && !JB_ROOT_IS_SCALAR(given) ? (int) JB_ROOT_COUNT(given) : 0;

	if (n < 1 || n > REQUESTS_MAX)
		ks_error_invalid("requests", "an array of 1 to 16 objects", NULL);
	for (int i = 0; i < n; i++)
		read_request(getIthJsonbValueFromContainer(&given->root, (uint32) i), &requests[i]);
	return n;
}

/* A definition is good until the cache was dropped twice, and between the first
 * request and the last that can happen as often as somebody defines limits. */
static void
keep_definition(Target *target)
{
	KsLimitDef *def = palloc(sizeof(KsLimitDef));

	*def = *target->def;
	def->name = target->name = pstrdup(def->name);
	target->def = def;
}

/* Whether a target's windows still fit into the call. */
static void
check_asks(int asks, const Target *target)
{
	if (asks + target->def->n > KS_LIMIT_ASKS_MAX)
		ks_error_invalid("requests", "of limits with at most 64 windows together", NULL);
}

/*
 * The results: each limit's own window, and what became of the whole.  A
 * request of cost 0 looks.
 */
static void
return_results(FunctionCallInfo fcinfo, const KsCall *call, const Request *requests, const Target *targets,
			   int n, bool allowed, TimestampTz now)
{
	KsSetResult set;
	Shown		results[REQUESTS_MAX];
	int32		retry_after = 0;

	for (int i = 0; i < n; i++)
	{
		const KsLimitAsk *ask = &targets[i].asks[ks_limits_tightest(targets[i].asks, targets[i].n)];

		describe(&targets[i], allowed, false, now, &results[i]);
		if (ask->answer.allowed || ask->shadow)
			continue;
		if (results[i].retry_after < 0 || retry_after < 0)
			retry_after = -1;
		else
			retry_after = Max(retry_after, results[i].retry_after);
	}
	ks_set_begin(fcinfo, false, &set);
	for (int i = 0; i < n; i++)
	{
		Datum		values[R_COLUMNS];
		bool		nulls[R_COLUMNS];

		results[i].retry_after = allowed ? -1 : retry_after;
		if (allowed && requests[i].cost > 0 && targets[i].def->refundable &&
			call->actor.source != KS_SOURCE_ANONYMOUS)
			results[i].token = make_token(call, &targets[i], requests[i].cost);
		set_columns(&results[i], values, nulls);
		ks_set_add(&set, values, nulls);
	}
}

static Datum
limit_consume_many(FunctionCallInfo fcinfo, KsVerb *verb)
{
	TimestampTz now = GetCurrentTimestamp();
	Jsonb	   *given = ks_arg_get_jsonb(fcinfo, 0, "requests");
	Request		requests[REQUESTS_MAX];
	Target		targets[REQUESTS_MAX];
	KsLimitAsk	asks[KS_LIMIT_ASKS_MAX];
	int			n = read_requests(given, requests);
	int			n_asks = 0;
	bool		allowed;

	ks_verb_enter(verb, KS_PROFILE_WORKER);
	for (int i = 0; i < n; i++)
	{
		find_target(verb, requests[i].name, requests[i].key, requests[i].workspace, KS_PERM_VIEW, &targets[i]);
		require_consumable(&targets[i], requests[i].cost);
		require_visible(verb, &targets[i], requests[i].key);
		find_share(&targets[i]);
		keep_definition(&targets[i]);
		check_asks(n_asks, &targets[i]);
		fill_asks(&targets[i], requests[i].cost, now, &asks[n_asks]);
		n_asks += targets[i].n;
	}
	ks_limits_prepare();
	allowed = ks_limit_consume(asks, n_asks, now);
	return_results(fcinfo, &verb->call, requests, targets, n, allowed, now);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_limit_consume_many);
/* limit_consume_many(requests) returns setof limit_result */
Datum
ks_fn_limit_consume_many(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_CONSUME, limit_consume_many);
}


/*-------------------------------------------------------------------------
 * Blocking
 *-------------------------------------------------------------------------
 */

/* Finds what is to be blocked, by whoever may; the lane has to record it. */
static void
find_to_block(FunctionCallInfo fcinfo, KsVerb *verb, int workspace, Target *target, KsLimitAsk *asks)
{
	text	   *name = ks_arg_get_text(fcinfo, 0, "name");
	text	   *key = ks_arg_get_text(fcinfo, 1, "key");
	text	   *given = ks_arg_get_text_or_null(fcinfo, workspace);
	char	   *counter = palloc(2 * KS_LIMIT_HASH_LEN + 1);	/* also for the entry of
																 * an error */

	ks_verb_enter(verb, KS_PROFILE_WORKER | KS_PROFILE_ADMIN);
	if (given == NULL && !(verb->call.profiles & KS_PROFILE_ADMIN))
		ks_error_denied("permission denied", "A limit of the database needs the profile admin.");
	find_target(verb, name, key, given, KS_PERM_WORKSPACE, target);

	/* What a verb counts for the whole database is no workspace's to block. */
	if (target->def->enforce_action != NULL && is_nil(target->def->workspace) &&
		!(verb->call.profiles & KS_PROFILE_ADMIN))
		ks_error_denied("permission denied", "A limit of the database needs the profile admin.");
	ks_change_require();
	ks_limits_prepare();
	fill_asks(target, 0, GetCurrentTimestamp(), asks);

	/* The key itself may be anything: the entry has its hash. */
	ks_detail_add(&verb->detail, "limit", pstrdup(target->name));
	counter[hex_encode((const char *) target->hash, KS_LIMIT_HASH_LEN, counter)] = '\0';
	ks_detail_add(&verb->detail, "counter", counter);
}

/* All windows or none: what was blocked before stays so. */
static bool
block_all(const Target *target, TimestampTz until)
{
	ks_limit_look(target->asks, target->n, GetCurrentTimestamp());
	for (int i = 0; i < target->n; i++)
	{
		if (ks_limit_block(&target->asks[i], until))
			continue;
		while (--i >= 0)
			(void) ks_limit_block(&target->asks[i], target->asks[i].blocked_until);
		return false;
	}
	return true;
}

static Datum
limit_block(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsLimitAsk	asks[KS_WINDOWSPEC_MAX];
	Target		target;
	TimestampTz until;
	char	   *word = palloc(MAXDATELEN + 1);
	const int	utc = 0;
	bool		blocked;

	find_to_block(fcinfo, verb, 4, &target, asks);
	if (PG_ARGISNULL(2))
		ks_error_null("until");
	until = PG_GETARG_TIMESTAMPTZ(2);
	if (until <= GetCurrentTimestamp())
		ks_error_invalid("until", "a time to come", NULL);
	ks_verb_why(verb, ks_arg_get_text(fcinfo, 3, "reason"), ks_empty_object());
	(void) JsonEncodeDateTime(word, TimestampTzGetDatum(until), TIMESTAMPTZOID, &utc);
	ks_detail_add(&verb->detail, "until", word);
	blocked = block_all(&target, until);
	if (blocked)
		ks_verb_record(verb, KS_OUTCOME_OK, NULL, NULL);
	PG_RETURN_BOOL(blocked);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_block);
/* limit_block(name, key, until, reason, workspace) returns boolean */
Datum
ks_fn_limit_block(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_BLOCK, limit_block);
}

static Datum
limit_unblock(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsLimitAsk	asks[KS_WINDOWSPEC_MAX];
	Target		target;
	bool		blocked = false;

	find_to_block(fcinfo, verb, 2, &target, asks);
	ks_limit_look(asks, target.n, GetCurrentTimestamp());
	for (int i = 0; i < target.n; i++)
		blocked |= asks[i].blocked_until != 0;
	if (!blocked)
		PG_RETURN_BOOL(false);

	/* What gives somebody more is recorded first. */
	ks_verb_record(verb, KS_OUTCOME_OK, NULL, NULL);
	for (int i = 0; i < target.n; i++)
		(void) ks_limit_block(&asks[i], 0);
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_unblock);
/* limit_unblock(name, key, workspace) returns boolean */
Datum
ks_fn_limit_unblock(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_UNBLOCK, limit_unblock);
}


/*-------------------------------------------------------------------------
 * Headers
 *-------------------------------------------------------------------------
 */

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, char *word)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = word;
	value.val.string.len = (int) strlen(word);
	(void) pushJsonbValue(state, token, &value);
}

static void
push_header(JsonbParseState **state, const char *name, int64 number)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, pstrdup(name));
	push_string(state, WJB_VALUE, psprintf(INT64_FORMAT, number));
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_headers);
/* limit_headers(result limit_result) returns jsonb */
Datum
ks_fn_limit_headers(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row;
	JsonbParseState *state = NULL;
	KsCall		call;
	Datum		value;
	bool		is_null;

	ks_enter(&call, KS_PROFILE_WORKER);
	if (PG_ARGISNULL(0))
		ks_error_null("result");
	row = PG_GETARG_HEAPTUPLEHEADER(0);
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	value = GetAttributeByName(row, "limit_value", &is_null);
	if (!is_null)
		push_header(&state, "RateLimit-Limit", DatumGetInt64(value));
	value = GetAttributeByName(row, "remaining", &is_null);
	if (!is_null)
		push_header(&state, "RateLimit-Remaining", DatumGetInt64(value));
	value = GetAttributeByName(row, "reset_at", &is_null);
	if (!is_null && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz reset_at = DatumGetTimestampTz(value);

		push_header(&state, "RateLimit-Reset", reset_at > now ? ks_limits_seconds_until(reset_at, now) : 0);
	}
	value = GetAttributeByName(row, "retry_after", &is_null);
	if (!is_null)
		push_header(&state, "Retry-After", DatumGetInt32(value));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}
