/*-------------------------------------------------------------------------
 *
 * ks_tenant_sql.c
 *	  Identity, workspaces, members, profiles and providers as SQL functions.
 *
 * Who changes members takes the workspace's lock first and checks its own
 * rights after it: of two administrators who remove each other, one succeeds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "ks_error.h"
#include "ks_keys.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"

/* Slugs of personal workspaces begin with it, and no others. */
#define PERSONAL_PREFIX		"personal-"

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
		char	   *name = ks_tenant_display_name(call.actor.principal);

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
	KsMembership *members;
	uint32		permission = get_permission(fcinfo, 1);
	char	   *word = text_to_cstring(ks_arg_get_text(fcinfo, 0, "workspace"));
	uint8		id[KS_ID_LEN];
	bool		is_id = ks_text_uuid(word, id);
	int			n;

	/* Not ks_membership(): a workspace that is not there is no error. */
	ks_enter(&call, 0);
	n = ks_memberships(&call, &members);
	for (int i = 0; i < n; i++)
	{
		if (is_id ? memcmp(members[i].workspace, id, KS_ID_LEN) == 0 : strcmp(members[i].slug, word) == 0)
			PG_RETURN_BOOL((members[i].permissions & permission) != 0);
	}
	PG_RETURN_BOOL(false);
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

static uint32
get_profile(FunctionCallInfo fcinfo, int n)
{
	uint32		bit = ks_profile_bit(text_to_cstring(ks_arg_get_text(fcinfo, n, "profile")));

	if (bit == 0)
		ks_error_invalid("profile", "one of client, worker, auditor, admin, monitor", NULL);
	return bit;
}

PG_FUNCTION_INFO_V1(ks_fn_has_profile);
/* keystone_private.has_profile(profile) returns boolean */
Datum
ks_fn_has_profile(PG_FUNCTION_ARGS)
{
	KsCall		call;
	uint32		profile = get_profile(fcinfo, 0);

	ks_enter(&call, 0);
	PG_RETURN_BOOL((call.profiles & profile) != 0);
}

/* Principals and workspaces */

/* 22023 unless there is a role of that name that can be bound or granted to. */
static void
check_role_exists(const char *parameter, const char *role)
{
	if (!OidIsValid(get_role_oid(role, true)))
		ks_error_invalid(parameter, "the name of an existing database role", NULL);
}

/* The nil uuid stands for "shared" in an index. */
static bool
is_nil(const uint8 *id)
{
	static const uint8 nil[KS_ID_LEN] = {0};

	return memcmp(id, nil, KS_ID_LEN) == 0;
}

static bool
holds_workspace_somewhere(const KsCall *call)
{
	KsMembership *members;
	int			n = ks_memberships(call, &members);

	for (int i = 0; i < n; i++)
	{
		if ((members[i].permissions & KS_PERM_WORKSPACE) && members[i].usable)
			return true;
	}
	return false;
}

static Datum
register_principal(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsNewPrincipal principal = {0};
	const uint8 *id = ks_arg_get_uuid_or_null(fcinfo, 2);
	text	   *external_id = ks_arg_get_text_or_null(fcinfo, 4);
	char	   *kind;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	principal.display_name = ks_text_name("display_name", ks_arg_get_text(fcinfo, 0, "display_name"),
										  KS_DISPLAY_NAME_MAX);
	kind = text_to_cstring(ks_arg_get_text(fcinfo, 1, "kind"));
	if (strcmp(kind, "user") != 0 && strcmp(kind, "service") != 0)
		ks_error_invalid("kind", "user or service", NULL);
	principal.kind = kind;
	if (!PG_ARGISNULL(3))
		principal.db_role = NameStr(*PG_GETARG_NAME(3));
	if (external_id != NULL)
		principal.external_id = ks_text_name("external_id", external_id, KS_NAME_MAX);

	/* Who is no administrator may only make a service that nobody is yet. */
	if (!(verb->call.profiles & KS_PROFILE_ADMIN) &&
		(strcmp(kind, "service") != 0 || id != NULL || principal.db_role != NULL ||
		 external_id != NULL || !holds_workspace_somewhere(&verb->call)))
		ks_error_denied("permission denied",
						"This needs the profile admin; holders of workspace may register a service without id, role and external id.");
	/* The id of a token's principal can be computed before it first appears. */
	if (id != NULL && principal.db_role != NULL && !superuser_arg(verb->call.actor.role))
		ks_error_denied("permission denied", "Only a superuser binds a database role to an id of its choice.");
	if (principal.db_role != NULL)
		check_role_exists("db_role", principal.db_role);
	if (id != NULL && is_nil(id))
		ks_error_invalid("id", "another uuid than the nil one", NULL);

	ks_begin_change();
	if (id != NULL)
		memcpy(principal.id, id, KS_ID_LEN);
	else if (ks_random_uuid(principal.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	ks_tenant_add_principal(&principal);
	return ks_uuid_datum(principal.id);
}

PG_FUNCTION_INFO_V1(ks_fn_register_principal);
/* register_principal(display_name, kind, id, db_role, external_id) returns uuid */
Datum
ks_fn_register_principal(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PRINCIPAL_CREATE, register_principal);
}

/*
 * The caller's principal; a login role that has none gets one.  Not where an
 * identity is withheld: then the session's user did not ask.
 */
static void
get_or_make_principal(KsCall *call)
{
	KsNewPrincipal principal = {.kind = "user"};
	const char *why;
	char	   *role;

	if (call->actor.source != KS_SOURCE_ANONYMOUS)
		return;
	if (ks_identity_withheld(&why))
		ks_error_anonymous(why);
	role = GetUserNameFromId(call->actor.session_role, false);
	principal.display_name = role;
	principal.db_role = role;
	if (ks_random_uuid(principal.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	ks_tenant_add_principal(&principal);
	memcpy(call->actor.principal, principal.id, KS_ID_LEN);
	call->actor.source = KS_SOURCE_DB_ROLE;
}

static Datum
make_workspace(const KsCall *call, const char *slug, const char *display_name, bool personal)
{
	uint8		id[KS_ID_LEN];

	if (ks_random_uuid(id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	if (!ks_tenant_add_workspace(id, slug, display_name, call->actor.principal, personal))
	{
		/* Somebody was faster: for a personal one that is as good. */
		if (personal && ks_tenant_personal(call->actor.principal, id))
			return ks_uuid_datum(id);
		ks_error_duplicate("the slug is taken", NULL);
	}
	ks_keys_create(id);
	return ks_uuid_datum(id);
}

static Datum
create_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	text	   *given = ks_arg_get_text(fcinfo, 0, "slug");
	text	   *display_name = ks_arg_get_text_or_null(fcinfo, 1);
	char	   *slug = text_to_cstring(given);

	ks_verb_enter(verb, KS_PROFILE_CLIENT);
	if (!ks_text_is_slug(slug) || strncmp(slug, PERSONAL_PREFIX, strlen(PERSONAL_PREFIX)) == 0)
		ks_error_invalid("slug",
						 "1 to 63 lower-case letters, digits and single hyphens between them, not shaped like a uuid, and not beginning with personal-",
						 NULL);
	ks_begin_change();
	get_or_make_principal(&verb->call);
	return make_workspace(&verb->call, slug,
						  display_name != NULL ?
						  ks_text_name("display_name", display_name, KS_DISPLAY_NAME_MAX) : slug,
						  false);
}

PG_FUNCTION_INFO_V1(ks_fn_create_workspace);
/* create_workspace(slug, display_name) returns uuid */
Datum
ks_fn_create_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_CREATE, create_workspace);
}

static Datum
personal_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint8		id[KS_ID_LEN];
	char		word[37];
	char	   *slug;

	(void) fcinfo;
	ks_verb_enter(verb, KS_PROFILE_CLIENT);

	/* The bootstrap superuser becomes a principal by create_workspace() only. */
	if (verb->call.actor.source == KS_SOURCE_ANONYMOUS && verb->call.actor.session_role == BOOTSTRAP_SUPERUSERID)
		ks_error_anonymous(verb->call.actor.why);
	if (verb->call.actor.source != KS_SOURCE_ANONYMOUS && ks_tenant_personal(verb->call.actor.principal, id))
		return ks_uuid_datum(id);
	ks_begin_change();
	get_or_make_principal(&verb->call);
	ks_text_from_uuid(verb->call.actor.principal, word);
	slug = psprintf(PERSONAL_PREFIX "%s", word);
	return make_workspace(&verb->call, slug, "Personal workspace", true);
}

PG_FUNCTION_INFO_V1(ks_fn_personal_workspace);
/* personal_workspace() returns uuid */
Datum
ks_fn_personal_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_CREATE, personal_workspace);
}

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

/* The caller's membership after the workspace's lock was taken. */
static void
lock_workspace(KsVerb *verb, const text *workspace, KsMembership *member)
{
	ks_membership(&verb->call, workspace, member);
	memcpy(verb->workspace, member->workspace, KS_ID_LEN);
	ks_tenant_lock(member->workspace);
	if (!ks_membership_of(&verb->call, member->workspace, member))
		ks_error_not_found(NULL);
}

static void
check_not_personal(const KsMembership *me)
{
	if (me->personal)
		ks_error_denied("a personal workspace keeps its owner", NULL);
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

static Datum
add_member(FunctionCallInfo fcinfo, KsVerb *verb)
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
	lock_workspace(verb, ks_arg_get_text_or_null(fcinfo, 0), &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	role = get_role(fcinfo, &me, &extra);
	if (!ks_tenant_principal_exists(principal))
		ks_error_not_found(NULL);
	ks_tenant_get_member(me.workspace, principal, &row);
	if (row.counts)
		ks_error_duplicate("the principal is a member already", NULL);
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
	if (row->counts && strcmp(row->role, "owner") == 0 && !me->owner)
		ks_error_denied("permission denied", "Only an owner changes an owner.");
}

static void
check_last_owner(const KsMember *row)
{
	if (row->counts && strcmp(row->role, "owner") == 0 && row->owners <= 1)
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
	lock_workspace(verb, ks_arg_get_text_or_null(fcinfo, 0), &me);
	ks_require(&me, KS_PERM_WORKSPACE);
	role = get_role(fcinfo, &me, &extra);
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.counts)
		ks_error_not_found(NULL);
	check_may_change(&me, &row);
	if (strcmp(role, "owner") != 0)
		check_last_owner(&row);
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
		lock_workspace(verb, workspace, &me);
		if (!self)
			ks_require(&me, KS_PERM_WORKSPACE);
	}
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.present)
		ks_error_not_found(NULL);
	if (!admin)
		check_may_change(&me, &row);
	check_last_owner(&row);
	ks_tenant_put_member(me.workspace, principal, NULL, 0,
						 verb->call.actor.source != KS_SOURCE_ANONYMOUS ? verb->call.actor.principal : NULL);
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
	lock_workspace(verb, ks_arg_get_text_or_null(fcinfo, 0), &me);
	if (!me.owner)
		ks_error_denied("permission denied", "Only an owner transfers the ownership.");
	check_not_personal(&me);
	ks_tenant_get_member(me.workspace, principal, &row);
	if (!row.counts)
		ks_error_not_found(NULL);
	if (memcmp(principal, verb->call.actor.principal, KS_ID_LEN) == 0)
		PG_RETURN_VOID();
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

/* Profiles */

static Datum
grant_access(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint32		profile;
	char	   *role;

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	if (PG_ARGISNULL(0))
		ks_error_null("role");
	role = NameStr(*PG_GETARG_NAME(0));
	profile = get_profile(fcinfo, 1);
	check_role_exists("role", role);
	ks_begin_change();
	ks_tenant_grant(role, profile, GetUserNameFromId(verb->call.actor.session_role, false));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_grant_access);
/* grant_access(role name, profile) returns void */
Datum
ks_fn_grant_access(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_GRANT_ADD, grant_access);
}

static Datum
revoke_access(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint32		profile;

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	if (PG_ARGISNULL(0))
		ks_error_null("role");
	profile = get_profile(fcinfo, 1);
	ks_begin_change();
	if (!ks_tenant_revoke(NameStr(*PG_GETARG_NAME(0)), profile,
						  GetUserNameFromId(verb->call.actor.session_role, false)))
		ks_error_not_found("The role does not have the profile.");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_revoke_access);
/* revoke_access(role name, profile) returns void */
Datum
ks_fn_revoke_access(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_GRANT_REVOKE, revoke_access);
}

/* Providers */

static char *
get_optional_name(FunctionCallInfo fcinfo, int n, const char *parameter, int max)
{
	text	   *given = ks_arg_get_text_or_null(fcinfo, n);

	return given != NULL ? ks_text_name(parameter, given, max) : NULL;
}

static Datum
provider_define(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsProvider	provider = {0};

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	provider.name = ks_text_name("name", ks_arg_get_text(fcinfo, 0, "name"), KS_PROVIDER_MAX);
	provider.category = text_to_cstring(ks_arg_get_text(fcinfo, 1, "category"));
	if (strcmp(provider.category, "no_auth") != 0 && strcmp(provider.category, "shared_key") != 0 &&
		strcmp(provider.category, "oauth") != 0)
		ks_error_invalid("category", "no_auth, shared_key or oauth", NULL);
	provider.label = get_optional_name(fcinfo, 2, "label", KS_DISPLAY_NAME_MAX);
	if (provider.label == NULL)
		provider.label = provider.name;
	provider.default_kind = get_optional_name(fcinfo, 3, "default_kind", KS_KIND_MAX);
	if (provider.default_kind == NULL)
		provider.default_kind = "api_key";
	provider.value_pattern = get_optional_name(fcinfo, 4, "value_pattern", KS_DESCRIPTION_MAX);
	if (provider.value_pattern != NULL)
		(void) ks_value_matches("", 0, provider.value_pattern); /* 2201B unless it
																 * compiles */
	provider.limits = get_optional_name(fcinfo, 5, "limits", KS_NAME_MAX);
	provider.has_cost = !PG_ARGISNULL(6);
	if (provider.has_cost)
		provider.cost_micros = PG_GETARG_INT64(6);
	if (provider.cost_micros < 0)
		ks_error_invalid("cost_micros", "0 or greater", NULL);
	provider.enabled = ks_arg_get_bool(fcinfo, 7, "enabled");
	ks_begin_change();
	ks_tenant_define_provider(&provider, GetUserNameFromId(verb->call.actor.session_role, false));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_provider_define);
/* provider_define(name, category, label, default_kind, value_pattern, limits, cost_micros, enabled) returns void */
Datum
ks_fn_provider_define(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PROVIDER_DEFINE, provider_define);
}

static Datum
provider_configure(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsProvider	provider;
	char	   *name;
	char	   *mode;
	Jsonb	   *config;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	name = ks_text_name("provider", ks_arg_get_text(fcinfo, 1, "provider"), KS_PROVIDER_MAX);
	mode = text_to_cstring(ks_arg_get_text(fcinfo, 2, "mode"));
	if (strcmp(mode, "hosted") != 0)
		ks_error_invalid("mode", "hosted", NULL);
	config = ks_arg_get_jsonb(fcinfo, 3, "config");
	if (!JB_ROOT_IS_OBJECT(config) || VARSIZE_ANY_EXHDR(config) > KS_METADATA_MAX)
		ks_error_invalid("config", psprintf("a JSON object of at most %d bytes", KS_METADATA_MAX), NULL);
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_WORKSPACE);
	if (!ks_tenant_provider(member.workspace, name, &provider))
		ks_error_invalid("provider", "one of keystone.providers", NULL);
	ks_tenant_configure_provider(member.workspace, name, mode, JsonbPGetDatum(config),
								 ks_arg_get_bool(fcinfo, 4, "enabled"), verb->call.actor.principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_provider_configure);
/* provider_configure(workspace, provider, mode, config, enabled) returns void */
Datum
ks_fn_provider_configure(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PROVIDER_CONFIGURE, provider_configure);
}
