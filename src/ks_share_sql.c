/*-------------------------------------------------------------------------
 *
 * ks_share_sql.c
 *	  Sharing of personal credentials, and what row-level security asks about
 *	  the caller beyond its memberships.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_share.h"
#include "ks_vault_args.h"

static Datum
share_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	const uint8 *grantee;
	bool		ends = !PG_ARGISNULL(2);
	TimestampTz until = ends ? PG_GETARG_TIMESTAMPTZ(2) : 0;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	grantee = ks_arg_get_uuid(fcinfo, 1, "grantee");
	if (memcmp(grantee, verb->call.actor.principal, KS_ID_LEN) == 0)
		ks_error_invalid("grantee", "somebody else", NULL);
	if (ends && until <= GetCurrentTimestamp())
		ks_error_invalid("until", "in the future, or NULL", NULL);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_SHARE, &credential);
	if (!(ks_permissions_of(grantee, credential.workspace) & KS_PERM_VIEW))
		ks_error_not_found("The grantee is no member of the workspace.");
	ks_share_put(&credential, grantee, ends, until);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_share_credential);
/* share_credential(credential, grantee, until) returns void */
Datum
ks_fn_share_credential(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_SHARE, share_credential);
}

/* Also in a suspended workspace, and of a deleted credential: it takes a right
 * away. */
static Datum
unshare_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsMembership member;
	const uint8 *grantee;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	grantee = ks_arg_get_uuid(fcinfo, 1, "grantee");
	ks_begin_change();
	ks_lock_any_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_SHARE,
						   &credential, &member);
	if (!ks_share_end(&credential, grantee))
		ks_error_not_found("The credential is not shared with the grantee.");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_unshare_credential);
/* unshare_credential(credential, grantee) returns void */
Datum
ks_fn_unshare_credential(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_UNSHARE, unshare_credential);
}

PG_FUNCTION_INFO_V1(ks_fn_shared_credentials);
/* shared_credentials() returns setof uuid */
Datum
ks_fn_shared_credentials(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsShare    *shares;
	KsSetResult set;
	int			n;

	ks_enter(&call, 0);
	n = ks_shares(&call, &shares);
	ks_set_begin(fcinfo, false, &set);
	for (int i = 0; i < n; i++)
	{
		Datum		value = ks_uuid_datum(shares[i].credential);
		bool		isnull = false;

		/* The owner may have lost its place meanwhile. */
		if (ks_is_shared(&call, &shares[i]))
			ks_set_add(&set, &value, &isnull);
	}
	return (Datum) 0;
}

/*
 * What the caller's API key is limited to.  Without a key, or without a limit,
 * NULL; with a key that is good for nothing, an empty list.
 */
static Datum
limits_of_key(FunctionCallInfo fcinfo, bool providers)
{
	static const KsNameList nothing = {.present = true};
	KsCall		call;
	KsMembership *members;
	const KsNameList *limits = &nothing;

	ks_enter(&call, 0);
	if (call.actor.source != KS_SOURCE_API_KEY)
		PG_RETURN_NULL();
	if (ks_memberships(&call, &members) == 1)
		limits = providers ? members[0].providers : members[0].environments;
	if (limits == NULL)
		PG_RETURN_NULL();
	return ks_name_list_datum(limits);
}

PG_FUNCTION_INFO_V1(ks_fn_key_environments);
/* key_environments() returns text[] */
Datum
ks_fn_key_environments(PG_FUNCTION_ARGS)
{
	return limits_of_key(fcinfo, false);
}

PG_FUNCTION_INFO_V1(ks_fn_key_providers);
/* key_providers() returns text[] */
Datum
ks_fn_key_providers(PG_FUNCTION_ARGS)
{
	return limits_of_key(fcinfo, true);
}
