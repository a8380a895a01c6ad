/*-------------------------------------------------------------------------
 *
 * ks_identity_sql.c
 *	  Who is calling and what they may do, as SQL functions.
 *
 * Row-level security asks these for each statement: none of them raises an
 * error for an anonymous caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_hooks.h"
#include "ks_tenant.h"
#include "ks_text.h"

PG_FUNCTION_INFO_V1(ks_fn_authenticate);
/* authenticate(token) returns uuid */
Datum
ks_fn_authenticate(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSecretArg token;

	ks_hooks_mark_secret("authenticate");
	ks_enter(&call, KS_PROFILE_CLIENT);
	ks_arg_get_secret(fcinfo, 0, "token", &token);
	ks_identity_authenticate(token.data, token.len);
	ks_enter(&call, 0);
	return ks_uuid_datum(call.actor.principal);
}

PG_FUNCTION_INFO_V1(ks_fn_pre_request);
/* pre_request() returns void */
Datum
ks_fn_pre_request(PG_FUNCTION_ARGS)
{
	KsCall		call;

	(void) fcinfo;
	ks_enter(&call, 0);
	ks_identity_pin();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_current_principal);
/* current_principal() returns uuid */
Datum
ks_fn_current_principal(PG_FUNCTION_ARGS)
{
	KsCall		call;

	ks_enter(&call, 0);
	if (call.actor.source == KS_SOURCE_ANONYMOUS)
		PG_RETURN_NULL();
	return ks_uuid_datum(call.actor.principal);
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *word)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) word;
	value.val.string.len = (int) strlen(word);
	(void) pushJsonbValue(state, token, &value);
}

static const char *const permission_names[] = {
	"view", "reveal", "store", "rotate", "approve", "audit", "policy", "workspace", "billing"
};

/* [{"id":…,"slug":…,"role":…,"permissions":[…]}, …] */
static Jsonb *
workspaces_json(const KsMembership *members, int n)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		char		id[37];

		ks_text_from_uuid(members[i].workspace, id);
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_text(&state, WJB_KEY, "id");
		push_text(&state, WJB_VALUE, pstrdup(id));	/* kept until the whole is
													 * made */
		push_text(&state, WJB_KEY, "slug");
		push_text(&state, WJB_VALUE, members[i].slug);
		push_text(&state, WJB_KEY, "role");
		push_text(&state, WJB_VALUE, members[i].role);
		push_text(&state, WJB_KEY, "permissions");
		(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		for (size_t j = 0; j < lengthof(permission_names); j++)
		{
			if (members[i].permissions & ks_permission_bit(permission_names[j]))
				push_text(&state, WJB_ELEM, permission_names[j]);
		}
		(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

PG_FUNCTION_INFO_V1(ks_fn_whoami);
/* whoami() returns (principal, source, display_name, reason, workspaces) */
Datum
ks_fn_whoami(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership *members;
	int			n;
	Datum		values[5] = {0};
	bool		nulls[5] = {true, false, true, true, false};

	ks_enter(&call, 0);
	values[1] = CStringGetTextDatum(ks_source_name(call.actor.source));
	if (call.actor.source == KS_SOURCE_ANONYMOUS)
	{
		values[3] = CStringGetTextDatum(call.actor.why);
		nulls[3] = false;
	}
	else
	{
		const char *name = ks_tenant_display_name(call.actor.principal);

		if (name == NULL)
			name = ks_identity_display_name();
		values[0] = ks_uuid_datum(call.actor.principal);
		nulls[0] = false;
		if (name != NULL)
		{
			values[2] = CStringGetTextDatum(name);
			nulls[2] = false;
		}
	}
	n = ks_memberships(&call, &members);
	values[4] = JsonbPGetDatum(workspaces_json(members, n));
	return ks_row_result(fcinfo, values, nulls);
}

static uint32
get_permission(FunctionCallInfo fcinfo, int n)
{
	uint32		bit = ks_permission_bit(text_to_cstring(ks_arg_get_text(fcinfo, n, "permission")));

	if (bit == 0)
		ks_error_invalid("permission",
						 "one of view, reveal, store, rotate, approve, audit, policy, workspace, billing, member",
						 NULL);
	return bit;
}

PG_FUNCTION_INFO_V1(ks_fn_has_permission);
/* has_permission(workspace, permission) returns boolean */
Datum
ks_fn_has_permission(PG_FUNCTION_ARGS)
{
	KsCall		call;
	uint32		permission = get_permission(fcinfo, 1);
	text	   *workspace = ks_arg_get_text(fcinfo, 0, "workspace");

	/* A workspace that is not there, or no word for one, is no error. */
	ks_enter(&call, 0);
	PG_RETURN_BOOL((ks_permissions(&call, VARDATA_ANY(workspace), VARSIZE_ANY_EXHDR(workspace)) & permission) != 0);
}

PG_FUNCTION_INFO_V1(ks_fn_permitted_workspaces);
/* permitted_workspaces(permission) returns setof uuid */
Datum
ks_fn_permitted_workspaces(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership *members;
	uint32		permission = get_permission(fcinfo, 0);
	KsSetResult set;
	int			n;

	ks_enter(&call, 0);
	n = ks_memberships(&call, &members);
	ks_set_begin(fcinfo, false, &set);
	for (int i = 0; i < n; i++)
	{
		if (members[i].permissions & permission)
		{
			Datum		value = ks_uuid_datum(members[i].workspace);
			bool		isnull = false;

			ks_set_add(&set, &value, &isnull);
		}
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_has_profile);
/* keystone_private.has_profile(profile) returns boolean */
Datum
ks_fn_has_profile(PG_FUNCTION_ARGS)
{
	KsCall		call;
	uint32		profile = ks_profile_bit(text_to_cstring(ks_arg_get_text(fcinfo, 0, "profile")));

	if (profile == 0)
		ks_error_invalid("profile", "one of client, worker, auditor, admin, monitor", NULL);
	ks_enter(&call, 0);
	PG_RETURN_BOOL((call.profiles & profile) != 0);
}
