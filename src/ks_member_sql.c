/*-------------------------------------------------------------------------
 *
 * ks_member_sql.c
 *	  Members and invitations as SQL functions.
 *
 * Who changes members takes the workspace's lock first and checks its own
 * rights after it: of two administrators who remove each other, one succeeds,
 * and of two who accept one invitation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_apikey.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_hooks.h"
#include "ks_http.h"
#include "ks_invitation.h"
#include "ks_mem.h"
#include "ks_plan.h"
#include "ks_share.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define EMAIL_MAX			254 /* bytes, as SMTP has it (RFC 5321) */
#define INVITATION_DAYS		7
#define INVITATION_DAYS_MAX 90

/* Members */

static uint32
get_extra_permissions(FunctionCallInfo fcinfo, int n)
{
	Datum	   *elements;
	uint32		bits = 0;
	int			count;

	if (PG_ARGISNULL(n))
		ks_error_null("extra_permissions");
	count = ks_arg_get_array(PG_GETARG_DATUM(n), TEXTOID, "extra_permissions", &elements);
	for (int i = 0; i < count; i++)
	{
		uint32		bit = ks_permission_bit(TextDatumGetCString(elements[i]));

		if (bit == 0 || bit == KS_PERM_MEMBER)
			ks_error_invalid("extra_permissions",
							 "an array of view, reveal, store, rotate, approve, audit, policy, workspace, billing", NULL);
		bits |= bit;
	}
	return bits;
}

static void
check_not_personal(const KsMembership *me)
{
	if (me->personal)
		ks_error_denied("a personal workspace keeps its owner", NULL);
}

/* What a key gave would outlive it. */
static void
check_no_key(const KsMembership *giver)
{
	if (giver->key)
		ks_error_denied("permission denied", "An API key gives nobody rights.");
}

/* The role and permissions to give, none of which the giver lacks. */
static const char *
get_role(FunctionCallInfo fcinfo, const KsMembership *giver, uint32 *extra)
{
	char	   *role = text_to_cstring(ks_arg_get_text(fcinfo, 2, "role"));
	uint32		given = ks_role_permissions(role);

	*extra = get_extra_permissions(fcinfo, 3);
	if (given == 0)
		ks_error_invalid("role", "one of owner, admin, operator, viewer, auditor, service", NULL);
	if (strcmp(role, "owner") == 0)
		check_not_personal(giver);
	given |= *extra;
	if ((given & ~giver->permissions) != 0 || (strcmp(role, "owner") == 0 && !giver->owner))
		ks_error_denied("permission denied", "Nobody gives more than they have.");
	return role;
}

/* Asks policy about a member; role NULL: it gets none. */
static void
ask_policy(KsVerb *verb, const KsMembership *me, const char *action, const uint8 *principal,
		   const char *role, uint32 extra)
{
	Jsonb	   *parameters = NULL;
	char		id[37];

	if (ks_gate_is_silent(verb, me->workspace, action))
		return;
	ks_text_from_uuid(principal, id);
	if (role != NULL)
	{
		parameters = ks_gate_text_parameter(NULL, "role", role);
		parameters = ks_gate_texts_parameter(parameters, "extra_permissions", ks_permission_names(extra));
	}
	ks_gate_object(verb, me, action, "member", id, parameters);
}

/* Who becomes an owner has a plan, too, which includes so many workspaces. */
static void
check_room_of_owner(const KsMembership *me, const uint8 principal[KS_ID_LEN], const KsMember *row)
{
	if (!row->valid || strcmp(row->role, "owner") != 0)
		ks_plan_check_ownership(me->workspace, principal);
}

static Datum
add_member(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsMember	row;
	const uint8 *principal = ks_arg_get_uuid(fcinfo, 1, "principal");
	const char *role;
	const char *kind;
	uint32		extra;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	memcpy(verb->object, principal, KS_ID_LEN);
	ks_verb_extra(verb, fcinfo, 4);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	check_no_key(&me);
	role = get_role(fcinfo, &me, &extra);
	if (ks_principal_state(principal, &kind) != KS_PRINCIPAL_GOOD)
		ks_error_not_found(NULL);
	if (strcmp(kind, "api_key") == 0)
		ks_error_invalid("principal", "a user or a service", "What an API key may do is said when it is made: keystone.create_api_key().");
	ks_tenant_get_member(me.workspace, principal, &row);
	if (row.counts)
		ks_error_duplicate("the principal is a member already", NULL);
	ks_plan_check_members(me.workspace, principal);
	if (strcmp(role, "owner") == 0)
		check_room_of_owner(&me, principal, &row);
	ask_policy(verb, &me, "add_member", principal, role, extra);
	ks_tenant_put_member(me.workspace, principal, role, extra, verb->call.actor.principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_add_member);
/* add_member(workspace, principal, role, extra_permissions, approval, reason, context) returns void */
Datum
ks_fn_add_member(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_ADD, add_member);
}

/* Whether the member may be changed by somebody: an owner only by an owner. */
static void
check_may_change(const KsMembership *me, const KsMember *row)
{
	if (row->valid && strcmp(row->role, "owner") == 0 && !me->owner)
		ks_error_denied("permission denied", "Only an owner changes an owner.");
}

/* One of them stays who is not disabled: only an owner makes another one. */
static void
check_last_owner(const KsMember *row)
{
	int			others = row->owners - (row->counts ? 1 : 0);

	if (row->valid && strcmp(row->role, "owner") == 0 && others <= 0)
		ks_error_denied("the last owner stays owner",
						"Make another member the owner first: keystone.transfer_ownership().");
}

static Datum
set_member_role(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsMember	row;
	const uint8 *principal = ks_arg_get_uuid(fcinfo, 1, "principal");
	const char *role;
	uint32		extra;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	memcpy(verb->object, principal, KS_ID_LEN);
	ks_verb_extra(verb, fcinfo, 4);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	check_no_key(&me);
	role = get_role(fcinfo, &me, &extra);
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.counts)
		ks_error_not_found(NULL);
	check_may_change(&me, &row);
	if (strcmp(role, "owner") == 0)
		check_room_of_owner(&me, principal, &row);
	else
		check_last_owner(&row);
	ask_policy(verb, &me, "set_member_role", principal, role, extra);
	ks_tenant_put_member(me.workspace, principal, role, extra, verb->call.actor.principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_set_member_role);
/* set_member_role(workspace, principal, role, extra_permissions, approval, reason, context) returns void */
Datum
ks_fn_set_member_role(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_ROLE, set_member_role);
}

/*
 * Ends what a member has made or been given in a workspace, so that it does not
 * come back with the member.
 */
static void
end_rights_of(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN])
{
	(void) ks_apikey_revoke_all(workspace, principal);
	(void) ks_invitation_cancel(workspace, NULL, principal);
	ks_share_end_all(workspace, principal);
}

static Datum
remove_member(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me = {0};
	KsMember	row;
	const uint8 *principal = ks_arg_get_uuid(fcinfo, 1, "principal");
	const text *workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	bool		admin;
	bool		self;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	memcpy(verb->object, principal, KS_ID_LEN);
	admin = (verb->call.profiles & KS_PROFILE_ADMIN) != 0;
	self = verb->call.actor.source != KS_SOURCE_ANONYMOUS &&
		memcmp(principal, verb->call.actor.principal, KS_ID_LEN) == 0;
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	if (admin)
	{
		if (!ks_tenant_find_workspace(workspace, me.workspace))
			ks_error_not_found(NULL);
		memcpy(verb->workspace, me.workspace, KS_ID_LEN);
		ks_tenant_lock(me.workspace);
	}
	else
	{
		/*
		 * Who leaves, and is no owner, holds no lock that others wait for
		 * until the transaction ends.
		 */
		ks_membership(&verb->call, workspace, &me);
		memcpy(verb->workspace, me.workspace, KS_ID_LEN);
		if (self && !me.owner)
		{
			/* Meanwhile it may have been made the owner, or removed. */
			ks_tenant_lock_member(me.workspace, principal, true);
			if (!ks_membership_of(&verb->call, me.workspace, &me))
				ks_error_not_found(NULL);
		}
		if (!self || me.owner)
			ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &me);
		if (!self)
			ks_require(&me, KS_PERM_WORKSPACE);
	}
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.present)
		ks_error_not_found(NULL);
	if (!admin)
		check_may_change(&me, &row);
	check_last_owner(&row);

	/* Nobody is kept in a workspace, and an administrator is no member. */
	if (!admin && !self)
		ask_policy(verb, &me, "remove_member", principal, NULL, 0);
	ks_tenant_put_member(me.workspace, principal, NULL, 0,
						 verb->call.actor.source != KS_SOURCE_ANONYMOUS ? verb->call.actor.principal : NULL);
	end_rights_of(me.workspace, principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_remove_member);
/* remove_member(workspace, principal, approval, reason, context) returns void */
Datum
ks_fn_remove_member(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_REMOVE, remove_member);
}

static Datum
transfer_ownership(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsMember	row;
	const uint8 *principal = ks_arg_get_uuid(fcinfo, 1, "principal");

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	memcpy(verb->object, principal, KS_ID_LEN);
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &me);
	if (!me.owner || me.key)
		ks_error_denied("permission denied", "Only an owner transfers the ownership.");
	check_not_personal(&me);
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.counts)
		ks_error_not_found(NULL);
	if (memcmp(principal, verb->call.actor.principal, KS_ID_LEN) == 0)
		PG_RETURN_VOID();
	check_room_of_owner(&me, principal, &row);
	ask_policy(verb, &me, "transfer_ownership", principal, NULL, 0);
	ks_tenant_put_member(me.workspace, principal, "owner", 0, verb->call.actor.principal);
	ks_tenant_put_member(me.workspace, verb->call.actor.principal, "admin", 0, verb->call.actor.principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_transfer_ownership);
/* transfer_ownership(workspace, principal, approval, reason, context) returns void */
Datum
ks_fn_transfer_ownership(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_ROLE, transfer_ownership);
}

/* Invitations */

/*
 * An address: its form is checked as far as it must be to be shown, compared
 * and sent to; whether it is somebody's is for the application to find out.
 */
static char *
get_email(FunctionCallInfo fcinfo, int n)
{
	char	   *word = text_to_cstring(ks_arg_get_text(fcinfo, n, "email"));
	size_t		len;
	char	   *at;

	word += strspn(word, " \t\r\n");
	len = strlen(word);
	while (len > 0 && strchr(" \t\r\n", word[len - 1]) != NULL)
		len--;
	word = ks_text_name("email", cstring_to_text_with_len(word, (int) len), EMAIL_MAX);
	at = strchr(word, '@');
	if (ks_text_has_space(word) || at == NULL || at == word || at[1] == '\0' || strchr(at + 1, '@') != NULL)
		ks_error_invalid("email", "an e-mail address", NULL);
	return word;
}

static const char *
get_invited_role(FunctionCallInfo fcinfo, const KsMembership *inviter)
{
	char	   *role = text_to_cstring(ks_arg_get_text(fcinfo, 2, "role"));
	uint32		given = ks_role_permissions(role);

	if (given == 0 || strcmp(role, "owner") == 0)
		ks_error_invalid("role", "one of admin, operator, viewer, auditor, service",
						 "Nobody is invited as an owner: keystone.transfer_ownership() makes a member one.");
	if ((given & ~inviter->permissions) != 0)
		ks_error_denied("permission denied", "Nobody gives more than they have.");
	return role;
}

static TimestampTz
get_end_of_invitation(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(n))
		return now + INVITATION_DAYS * USECS_PER_DAY;
	end = PG_GETARG_TIMESTAMPTZ(n);
	if (end <= now || end > now + INVITATION_DAYS_MAX * USECS_PER_DAY)
		ks_error_invalid("expires_at", psprintf("in the future, and at most %d days from now", INVITATION_DAYS_MAX), NULL);
	return end;
}

/* The caller as one who may invite, after the workspace's lock was taken. */
static void
lock_for_invitations(FunctionCallInfo fcinfo, KsVerb *verb, KsMembership *me)
{
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, me);
	ks_require(me, KS_PERM_WORKSPACE);
}

static Datum
invite_member(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsNewInvitation invitation;
	KsMembership me;
	char		token[KS_INVITATION_TOKEN_LEN + 1];
	text	   *result;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	invitation.email = get_email(fcinfo, 1);
	invitation.expires_at = get_end_of_invitation(fcinfo, 3);
	ks_begin_change();
	lock_for_invitations(fcinfo, verb, &me);
	ks_require_usable(&me);
	check_no_key(&me);
	if (me.personal)
		ks_error_denied("nobody is invited into a personal workspace", NULL);
	invitation.role = get_invited_role(fcinfo, &me);
	ks_gate_object(verb, &me, "add_member", "member", NULL,
				   ks_gate_text_parameter(NULL, "role", invitation.role));
	invitation.workspace = me.workspace;
	invitation.invited_by = verb->call.actor.principal;

	(void) ks_invitation_cancel(me.workspace, invitation.email, NULL);
	ks_invitation_add(&invitation, token);
	ks_http_no_store();
	result = cstring_to_text_with_len(token, KS_INVITATION_TOKEN_LEN);
	ks_wipe(token, sizeof(token));
	PG_RETURN_TEXT_P(result);
}

PG_FUNCTION_INFO_V1(ks_fn_invite_member);
/* invite_member(workspace, email, role, expires_at) returns text: the token */
Datum
ks_fn_invite_member(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_INVITE, invite_member);
}

static Datum
cancel_invitation(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	char	   *email;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	email = get_email(fcinfo, 1);
	ks_begin_change();
	lock_for_invitations(fcinfo, verb, &me);
	if (ks_invitation_cancel(me.workspace, email, NULL) == 0)
		ks_error_not_found(NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_cancel_invitation);
/* cancel_invitation(workspace, email) returns void */
Datum
ks_fn_cancel_invitation(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_UNINVITE, cancel_invitation);
}

/*
 * Whether who invited could still give the role, and there is something to
 * join.
 */
static bool
holds_good(const KsInvitationRow *invitation)
{
	KsWorkspaceRow workspace;
	uint32		needed = KS_PERM_WORKSPACE | ks_role_permissions(invitation->role);

	return ks_tenant_read_workspace(invitation->workspace, &workspace) && ks_tenant_is_usable(&workspace) &&
		(ks_permissions_of(invitation->invited_by, invitation->workspace) & needed) == needed;
}

/*
 * The invitation of the token that is argument 0.  Whatever is wrong with it,
 * the answer is the same.
 */
static void
find_invitation(FunctionCallInfo fcinfo, KsInvitationRow *invitation)
{
	KsSecretArg token;

	ks_arg_get_secret(fcinfo, 0, "token", &token);
	if (!ks_invitation_find(token.data, token.len, invitation) || !holds_good(invitation))
		ks_error_not_found(NULL);
}

static Datum
accept_invitation(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsInvitationRow invitation;
	KsMember	row;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_tenant_refuse_api_key(&verb->call);
	ks_begin_change();
	find_invitation(fcinfo, &invitation);
	memcpy(verb->workspace, invitation.workspace, KS_ID_LEN);
	memcpy(verb->object, verb->call.actor.principal, KS_ID_LEN);
	ks_tenant_lock(invitation.workspace);
	find_invitation(fcinfo, &invitation);
	ks_tenant_get_member(invitation.workspace, verb->call.actor.principal, &row);
	if (row.counts)
		ks_error_duplicate("the principal is a member already", NULL);
	ks_plan_check_members(invitation.workspace, verb->call.actor.principal);

	ks_tenant_ensure_principal(&verb->call);
	ks_invitation_accept(&invitation, verb->call.actor.principal);
	ks_tenant_put_member(invitation.workspace, verb->call.actor.principal, invitation.role, 0,
						 invitation.invited_by);

	/*
	 * Else who rolls back would have had the rights, and have the token
	 * still.
	 */
	ks_rights_defer(invitation.workspace);
	return ks_uuid_datum(invitation.workspace);
}

PG_FUNCTION_INFO_V1(ks_fn_accept_invitation);
/* accept_invitation(token) returns uuid: the workspace */
Datum
ks_fn_accept_invitation(PG_FUNCTION_ARGS)
{
	ks_hooks_mark_secret("accept_invitation");
	return ks_verb_run(fcinfo, KS_ACTION_MEMBER_ADD, accept_invitation);
}
