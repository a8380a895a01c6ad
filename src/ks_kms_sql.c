/*-------------------------------------------------------------------------
 *
 * ks_kms_sql.c
 *	  Keys that customers hold, as SQL functions.
 *
 * A service is asked before any row is locked: its answer may take as long as
 * keystone.kms_timeout.  What was read before is therefore compared with what
 * is there once the rows are locked; what changed meanwhile is 40001.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_keys.h"
#include "ks_kms.h"
#include "ks_plan.h"
#include "ks_spi.h"
#include "ks_vault_args.h"

#define FEATURE		"customer_keys"
#define MANAGERS	(KS_PROFILE_ADMIN | KS_PROFILE_MONITOR)


/*-------------------------------------------------------------------------
 * Changing the customer's key
 *-------------------------------------------------------------------------
 */

static void
require_owner(const KsMembership *member)
{
	if (!member->owner)
		ks_error_denied("permission denied", "Only an owner of the workspace chooses its customer's key.");
	ks_require_usable(member);
}

static bool
same_key(const KsWrappedKey *a, const KsWrappedKey *b)
{
	return a->version == b->version && memcmp(a->key_id, b->key_id, KS_ID_LEN) == 0 &&
		a->wrapped_len == b->wrapped_len && memcmp(a->wrapped, b->wrapped, a->wrapped_len) == 0;
}

/* Locks the keys, which must be what they were. */
static void
lock_same(const uint8 workspace[KS_ID_LEN], const KsWrappedKey *keys, int n)
{
	KsWrappedKey *now;
	bool		same;

	ks_keys_lock(workspace);
	same = ks_keys_list(workspace, &now) == n;
	for (int i = 0; same && i < n; i++)
		same = same_key(&keys[i], &now[i]);
	if (!same)
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("the workspace's keys were changed meanwhile"),
				errhint("Try again."));
}

/* Wraps all keys of the workspace for a customer's key, or for none. */
static void
change_keys(KsVerb *verb, const text *workspace, const char *uri)
{
	KsMembership member;
	KsWrappedKey *keys;
	KsWrappedKey *fresh;
	int			n = ks_keys_list(verb->workspace, &keys);

	if (n == 0)
		ks_error_shredded(NULL);
	fresh = palloc(n * sizeof(KsWrappedKey));
	for (int i = 0; i < n; i++)
		ks_keyring_change_customer_key(&keys[i], uri, &fresh[i]);

	ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &member);
	require_owner(&member);
	lock_same(verb->workspace, keys, n);
	for (int i = 0; i < n; i++)
		ks_keys_replace(&fresh[i]);
	/* What was there before another URI has been replaced already. */
	if (uri == NULL)
		ks_kms_forget(verb->workspace);
}

/* The caller must be an owner of the workspace. */
static void
enter_workspace(KsVerb *verb, const text *workspace, KsMembership *member)
{
	ks_membership(&verb->call, workspace, member);
	memcpy(verb->workspace, member->workspace, KS_ID_LEN);
	require_owner(member);
}

static Datum
set_workspace_kms(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	text	   *workspace;
	char	   *uri;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	uri = text_to_cstring(ks_arg_get_text(fcinfo, 1, "key_uri"));
	if (!ks_kms_is_uri(uri))
		ks_error_invalid("key_uri", psprintf("scheme://name in at most %d letters, digits and characters of +.-_:/@=,%%",
											 KS_KMS_URI_MAX), "No part between slashes begins with a dash or is only dots.");
	enter_workspace(verb, workspace, &member);
	ks_plan_check_feature(member.workspace, FEATURE);
	ks_begin_change();
	change_keys(verb, workspace, uri);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_set_workspace_kms);
/* set_workspace_kms(workspace, key_uri) returns void */
Datum
ks_fn_set_workspace_kms(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KMS_SET, set_workspace_kms);
}

static Datum
clear_workspace_kms(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	text	   *workspace;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	enter_workspace(verb, workspace, &member);
	ks_begin_change();
	if (ks_keys_have_customer(verb->workspace))
		change_keys(verb, workspace, NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_clear_workspace_kms);
/* clear_workspace_kms(workspace) returns void */
Datum
ks_fn_clear_workspace_kms(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KMS_CLEAR, clear_workspace_kms);
}


/*-------------------------------------------------------------------------
 * Their state
 *-------------------------------------------------------------------------
 */

static Datum
time_or_null(TimestampTz time, bool *isnull)
{
	*isnull = time == 0;
	return TimestampTzGetDatum(time);
}

/* What became of the calls to a key URI. */
static void
fill_state(const uint8 workspace[KS_ID_LEN], const char *uri, Datum *values, bool *nulls)
{
	static const char *const names[] = {
		[KS_KMS_UNKNOWN] = "unknown",
		[KS_KMS_CLOSED] = "closed",
		[KS_KMS_OPEN] = "open",
		[KS_KMS_HALF_OPEN] = "half-open",
	};
	KsKmsStatus status;

	ks_kms_status(workspace, uri, &status);
	values[0] = CStringGetTextDatum(names[status.state]);
	values[1] = Int32GetDatum(status.failures);
	values[2] = time_or_null(status.succeeded_at, &nulls[2]);
	values[3] = time_or_null(status.failed_at, &nulls[3]);
	nulls[4] = status.problem[0] == '\0';
	values[4] = nulls[4] ? (Datum) 0 : CStringGetTextDatum(psprintf("keystone.kms_command %s", status.problem));
	values[5] = time_or_null(status.retry_at, &nulls[5]);
	values[6] = time_or_null(status.cached_until, &nulls[6]);
}

static bool
may_see(const KsCall *call, const KsMembership *members, int n, const uint8 workspace[KS_ID_LEN])
{
	if (call->profiles & MANAGERS)
		return true;
	for (int i = 0; i < n; i++)
	{
		if (memcmp(members[i].workspace, workspace, KS_ID_LEN) == 0)
			return (members[i].permissions & KS_PERM_WORKSPACE) != 0;
	}
	return false;
}

PG_FUNCTION_INFO_V1(ks_fn_kms_states);
/* keystone_private.kms_states() returns setof (workspace_id, key_uri, keys, state, ...) */
Datum
ks_fn_kms_states(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership *members = NULL;
	KsCustomerKey *keys;
	KsSetResult set;
	int			n_members = 0;
	int			n;

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_WORKER | MANAGERS);
	ks_set_begin(fcinfo, false, &set);
	if (!(call.profiles & MANAGERS))
		n_members = ks_memberships(&call, &members);
	n = ks_keys_customers(&keys);
	for (int i = 0; i < n; i++)
	{
		Datum		values[10];
		bool		nulls[10] = {false};

		if (!may_see(&call, members, n_members, keys[i].workspace))
			continue;
		values[0] = ks_uuid_datum(keys[i].workspace);
		values[1] = CStringGetTextDatum(keys[i].uri);
		values[2] = Int64GetDatum(keys[i].versions);
		fill_state(keys[i].workspace, keys[i].uri, values + 3, nulls + 3);
		ks_set_add(&set, values, nulls);
	}
	return (Datum) 0;
}
