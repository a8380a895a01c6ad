/*-------------------------------------------------------------------------
 *
 * ks_apikey_sql.c
 *	  API keys as SQL functions.
 *
 * A key's text leaves through the result of the call that made it, and
 * nothing else has it.  Who changes keys takes the workspace's lock first and
 * checks its own rights after it, as for members.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_apikey.h"
#include "ks_error.h"
#include "ks_http.h"
#include "ks_mem.h"
#include "ks_share.h"
#include "ks_text.h"
#include "ks_vault_args.h"

static char *
get_name(FunctionCallInfo fcinfo)
{
	return ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX);
}

static const char *
get_role(FunctionCallInfo fcinfo)
{
	char	   *role = text_to_cstring(ks_arg_get_text(fcinfo, 2, "role"));

	if (ks_role_permissions(role) == 0 || strcmp(role, "owner") == 0)
		ks_error_invalid("role", "one of admin, operator, viewer, auditor, service", NULL);
	return role;
}

/* The names that a key is limited to; NULL limits nothing. */
static void
get_name_list(FunctionCallInfo fcinfo, int n, const char *parameter, int max, KsNameList *list)
{
	Datum	   *elements;

	if (PG_ARGISNULL(n))
		return;
	list->n = ks_arg_get_array(PG_GETARG_DATUM(n), TEXTOID, parameter, &elements);
	if (list->n < 1 || list->n > KS_NAME_LIST_MAX)
		ks_error_invalid(parameter, psprintf("an array of 1 to %d names", KS_NAME_LIST_MAX),
						 "NULL is no limit.");
	list->present = true;
	list->names = palloc(list->n * sizeof(char *));
	for (int i = 0; i < list->n; i++)
		list->names[i] = ks_text_name(parameter, DatumGetTextPP(elements[i]), max);
}

static void
get_expiry(FunctionCallInfo fcinfo, int n, KsApiKeyRow *row)
{
	row->expires = !PG_ARGISNULL(n);
	if (!row->expires)
		return;
	row->expires_at = PG_GETARG_TIMESTAMPTZ(n);
	if (row->expires_at <= GetCurrentTimestamp())
		ks_error_invalid("expires_at", "in the future", NULL);
}

/* The time for which older secrets live on, in microseconds. */
static int64
get_overlap(FunctionCallInfo fcinfo, int n)
{
	const Interval longest = {.day = KS_API_KEY_OVERLAP_MAX};
	Datum		now = TimestampTzGetDatum(GetCurrentTimestamp());
	TimestampTz end;
	TimestampTz latest;

	if (PG_ARGISNULL(n))
		ks_error_null("overlap");
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, now,
												  IntervalPGetDatum(PG_GETARG_INTERVAL_P(n))));
	latest = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, now, IntervalPGetDatum(&longest)));
	if (end < DatumGetTimestampTz(now) || end > latest)
		ks_error_invalid("overlap", psprintf("from zero to %d days", KS_API_KEY_OVERLAP_MAX), NULL);
	return end - DatumGetTimestampTz(now);
}

/* A buffer for the result's text: it is wiped, the result is the caller's. */
static text *
alloc_key_text(void)
{
	text	   *result = ks_secret_alloc(CurrentMemoryContext, VARHDRSZ + KS_API_KEY_LEN);

	SET_VARSIZE(result, VARHDRSZ + KS_API_KEY_LEN);
	return result;
}

/* (api_key text, id uuid, prefix text, expires_at timestamptz) */
static Datum
key_result(FunctionCallInfo fcinfo, const KsApiKey *key, text *key_text)
{
	Datum		values[4];
	bool		nulls[4] = {false, false, false, !key->row.expires};
	Datum		result;

	ks_http_no_store();
	values[0] = PointerGetDatum(key_text);
	values[1] = ks_uuid_datum(key->row.id);
	values[2] = CStringGetTextDatum(key->row.prefix);
	values[3] = TimestampTzGetDatum(key->row.expires_at);
	result = ks_row_result(fcinfo, values, nulls);
	ks_secret_wipe(key_text);
	return result;
}

static void
add_principal(const KsApiKey *key)
{
	KsNewPrincipal principal = {.kind = "api_key", .display_name = key->row.name};

	memcpy(principal.id, key->row.id, KS_ID_LEN);
	ks_tenant_add_principal(&principal);
}

static void
check_gives_no_more(const KsMembership *me, const char *role)
{
	if ((ks_role_permissions(role) & ~me->permissions) != 0)
		ks_error_denied("permission denied", "Nobody gives more than they have.");
}

static Datum
create_api_key(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsApiKey	key = {0};
	text	   *key_text;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	key.row.name = get_name(fcinfo);
	key.row.role = get_role(fcinfo);
	get_expiry(fcinfo, 3, &key.row);
	get_name_list(fcinfo, 4, "environments", KS_ENVIRONMENT_MAX, &key.row.environments);
	get_name_list(fcinfo, 5, "providers", KS_PROVIDER_MAX, &key.row.providers);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	if (me.key)
		ks_error_denied("permission denied", "An API key makes no API key.");
	ks_require_usable(&me);
	check_gives_no_more(&me, key.row.role);

	if (ks_random_uuid(key.row.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	memcpy(key.row.workspace, me.workspace, KS_ID_LEN);
	memcpy(key.row.creator, verb->call.actor.principal, KS_ID_LEN);
	memcpy(verb->object, key.row.id, KS_ID_LEN);
	key_text = alloc_key_text();
	add_principal(&key);
	if (!ks_apikey_add(&key, VARDATA(key_text)))
		ks_error_duplicate("the name of the API key is taken", NULL);
	return key_result(fcinfo, &key, key_text);
}

PG_FUNCTION_INFO_V1(ks_fn_create_api_key);
/* create_api_key(workspace, name, role, expires_at, environments, providers)
 * returns (api_key, id, prefix, expires_at) */
Datum
ks_fn_create_api_key(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APIKEY_CREATE, create_api_key);
}

static Datum
revoke_api_key(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsApiKey	key;
	char	   *name;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	name = get_name(fcinfo);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	if (!ks_apikey_find(me.workspace, name, &key))
		ks_error_not_found(NULL);
	memcpy(verb->object, key.row.id, KS_ID_LEN);
	ks_apikey_revoke(&key);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_revoke_api_key);
/* revoke_api_key(workspace, name) returns void */
Datum
ks_fn_revoke_api_key(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APIKEY_REVOKE, revoke_api_key);
}

/*
 * Who may not rotate learns nothing of whether there is such a key, nor does
 * the entry of the refusal say it.
 */
static void
check_may_rotate(KsVerb *verb, const KsMembership *me, bool good, const KsApiKey *key)
{
	bool		self = good && me->key &&
	memcmp(verb->call.actor.principal, key->row.id, KS_ID_LEN) == 0;

	/* Who has an old secret, perhaps stolen, does not get a new one. */
	if (self && verb->call.actor.outgoing)
		ks_error_denied("permission denied", "An API key rotates itself by its newest secret.");
	if (!self)
	{
		ks_require(me, KS_PERM_WORKSPACE);
		if (me->key)
			ks_error_denied("permission denied", "An API key rotates only itself.");
	}
	ks_require_usable(me);
	if (!good)
		ks_error_not_found(NULL);
	memcpy(verb->object, key->row.id, KS_ID_LEN);
	if (!self)
		check_gives_no_more(me, key->row.role);
}

static Datum
rotate_api_key(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsApiKey	key;
	char	   *name;
	int64		overlap;
	bool		good;
	text	   *key_text;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	name = get_name(fcinfo);
	overlap = get_overlap(fcinfo, 2);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	good = ks_apikey_find(me.workspace, name, &key) && ks_apikey_is_good(&key, GetCurrentTimestamp());
	check_may_rotate(verb, &me, good, &key);

	/*
	 * What others shared with the key, they shared with who has it: not with
	 * whom an administrator gives it, and on whose behalf it acts from then
	 * on.
	 */
	if (memcmp(verb->call.actor.principal, key.row.id, KS_ID_LEN) != 0 &&
		memcmp(verb->call.actor.principal, key.row.creator, KS_ID_LEN) != 0)
	{
		ks_share_end_all(me.workspace, key.row.id);
		memcpy(key.row.creator, verb->call.actor.principal, KS_ID_LEN);
	}
	key_text = alloc_key_text();
	ks_apikey_rotate(&key, overlap, VARDATA(key_text));
	return key_result(fcinfo, &key, key_text);
}

PG_FUNCTION_INFO_V1(ks_fn_rotate_api_key);
/* rotate_api_key(workspace, name, overlap) returns (api_key, id, prefix, expires_at) */
Datum
ks_fn_rotate_api_key(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APIKEY_ROTATE, rotate_api_key);
}
