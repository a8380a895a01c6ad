/*-------------------------------------------------------------------------
 *
 * ks_policy_ask.c
 *	  Questions about policy that somebody asks by an SQL function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_policy_ask.h"

#define CONTEXT_MAX		4096	/* bytes, as of the parameter of the verbs */

/* The access that an action on a credential needs. */
static KsAccess
access_of(const KsPolicyAction *action)
{
	if (strcmp(action->name, "delete_credential") == 0 || strcmp(action->name, "set_active") == 0)
		return KS_ACCESS_STOP;
	switch (action->permission)
	{
		case KS_PERM_REVEAL:
			return KS_ACCESS_REVEAL;
		case KS_PERM_ROTATE:
			return KS_ACCESS_ROTATE;
		case KS_PERM_WORKSPACE:
			return KS_ACCESS_DESTROY;
		default:
			return KS_ACCESS_STORE;
	}
}

static bool
is_stored(const KsCredential *credential)
{
	static const uint8 nil[KS_ID_LEN] = {0};

	return credential != NULL && memcmp(credential->id, nil, KS_ID_LEN) != 0;
}

const char *
ks_policy_ask_refuses(const KsPolicyAsk *ask)
{
	const KsMembership *member = &ask->member;
	const KsCredential *credential = ask->request.credential;
	KsProblem	problem = {0};
	KsMembership again;

	if (!member->usable)
		return "the workspace is not active";
	if (is_stored(credential))
		return ks_vault_may(&ask->call, credential, access_of(ask->action), &again, &problem) ? NULL :
			"the role does not permit it";
	if (credential != NULL && credential->personal && (member->permissions & KS_PERM_VIEW))
		return NULL;
	if (strcmp(ask->action->resource_type, "log") == 0)
		return (ask->call.profiles & KS_PROFILE_ADMIN) ? NULL : "it takes the profile admin";
	if (ask->action->permission != 0 ? (member->permissions & ask->action->permission) == 0 : !member->owner)
		return "the role does not permit it";
	if (credential != NULL && !ks_within_limits(member, credential->environment, credential->provider))
		return "the API key does not reach it";
	return NULL;
}

bool
ks_policy_ask_about(KsPolicyAsk *ask, const uint8 principal[KS_ID_LEN])
{
	memset(&ask->call.actor, 0, sizeof(ask->call.actor));
	ask->call.actor.source = KS_SOURCE_DB_ROLE;
	memcpy(ask->call.actor.principal, principal, KS_ID_LEN);
	ask->call.profiles = 0;
	ask->call.verified = ask->caller.verified;
	if (!ks_membership_of(&ask->call, ks_policy_request_workspace(&ask->request), &ask->member))
		return false;
	ask->refused = ks_policy_ask_refuses(ask);
	return true;
}

/* The resource, if the caller may see it. */
static void
get_resource(FunctionCallInfo fcinfo, KsPolicyAsk *ask)
{
	const Jsonb *resource = ks_arg_get_jsonb(fcinfo, 2, "resource");
	KsProblem	problem = {0};
	KsMembership member;

	ks_policy_request_resource(resource, &ask->request);
	if (is_stored(ask->request.credential) &&
		!ks_vault_may(&ask->caller, ask->request.credential, KS_ACCESS_SEE, &member, &problem))
		ks_vault_raise(&problem);
	if (strcmp(ask->request.resource_type, ask->action->resource_type) != 0)
		ks_error_invalid("resource", psprintf("a %s for this action", ask->action->resource_type), NULL);
}

static char *
actions_hint(void)
{
	StringInfoData hint;

	initStringInfo(&hint);
	for (int i = 0; ks_policy_actions[i] != NULL; i++)
		appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "One of ", ks_policy_actions[i]);
	appendStringInfoChar(&hint, '.');
	return hint.data;
}

void
ks_policy_ask_args(FunctionCallInfo fcinfo, KsPolicyAsk *ask, const uint8 *principal, bool privileged)
{
	text	   *workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	char	   *action = text_to_cstring(ks_arg_get_text(fcinfo, 1, "action"));
	const Jsonb *context = PG_NARGS() > 3 ? ks_arg_get_jsonb(fcinfo, 3, "context") : NULL;

	memset(ask, 0, sizeof(*ask));
	ks_enter_known(&ask->caller, KS_PROFILE_CLIENT);
	ask->action = ks_policy_action(action);
	if (ask->action == NULL)
		ks_error_invalid("action", "the name of a function that policy binds", actions_hint());
	if (context != NULL && (!JB_ROOT_IS_OBJECT(context) || VARSIZE(context) > CONTEXT_MAX))
		ks_error_invalid("context", psprintf("a JSON object of at most %d bytes", CONTEXT_MAX), NULL);
	ks_membership(&ask->caller, workspace, &ask->member);
	ks_require(&ask->member, KS_PERM_VIEW);
	if (privileged || (principal != NULL && memcmp(principal, ask->caller.actor.principal, KS_ID_LEN) != 0))
		ks_require(&ask->member, KS_PERM_POLICY);
	ask->call = ask->caller;
	ask->request.call = &ask->call;
	ask->request.member = &ask->member;
	ask->request.action = ask->action->name;
	ask->request.resource_type = ask->action->resource_type;
	ask->request.claimed = context;
	ask->request.now = GetCurrentTimestamp();
	get_resource(fcinfo, ask);
	if (principal == NULL || memcmp(principal, ask->caller.actor.principal, KS_ID_LEN) == 0)
		ask->refused = ks_policy_ask_refuses(ask);
	else if (!ks_policy_ask_about(ask, principal))
		ks_error_not_found("The principal is no member of the workspace.");
}

void
ks_policy_ask_decide(const KsPolicyAsk *ask, const KsPolicyRules *rules, KsDecision *decision)
{
	if (ask->refused != NULL)
		ks_policy_deny(&ask->request, "rbac", ask->refused, decision);
	else if (rules != NULL)
		ks_policy_evaluate_rules(&ask->request, rules, decision);
	else
		ks_policy_evaluate(&ask->request, decision);
}
