/*-------------------------------------------------------------------------
 *
 * ks_tenant_sql.c
 *	  Principals, workspaces, profiles and providers as SQL functions: making
 *	  them.  What becomes of them later is in ks_lifecycle_sql.c and
 *	  ks_member_sql.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "ks_error.h"
#include "ks_keys.h"
#include "ks_limits.h"
#include "ks_plan.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"
#include "ks_windowspec.h"

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
	if (id != NULL && (principal.db_role != NULL || external_id != NULL) && !superuser_arg(verb->call.actor.role))
		ks_error_denied("permission denied", "Only a superuser binds a database role or an external id to an id of its choice.");
	if (principal.db_role != NULL)
		check_role_exists("db_role", principal.db_role);
	if (id != NULL && is_nil(id))
		ks_error_invalid("id", "another uuid than the nil one", NULL);

	ks_begin_change();
	if (id != NULL)
		memcpy(principal.id, id, KS_ID_LEN);
	else if (ks_random_uuid(principal.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	if (verb->call.actor.source != KS_SOURCE_ANONYMOUS)
		principal.registered_by = verb->call.actor.principal;
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
	ks_tenant_add_platform_service(id, call->actor.principal);
	return ks_uuid_datum(id);
}

static Datum
create_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	text	   *given = ks_arg_get_text(fcinfo, 0, "slug");
	text	   *display_name = ks_arg_get_text_or_null(fcinfo, 1);
	char	   *slug = text_to_cstring(given);

	ks_verb_enter(verb, KS_PROFILE_CLIENT);
	ks_tenant_check_slug("slug", slug);
	ks_tenant_refuse_api_key(&verb->call);
	ks_begin_change();
	ks_tenant_ensure_principal(&verb->call);
	ks_plan_check_workspaces(verb->call.actor.principal);
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

	ks_tenant_refuse_api_key(&verb->call);

	/* The bootstrap superuser becomes a principal by create_workspace() only. */
	if (verb->call.actor.source == KS_SOURCE_ANONYMOUS && verb->call.actor.session_role == BOOTSTRAP_SUPERUSERID)
		ks_error_anonymous(verb->call.actor.why);
	if (verb->call.actor.source != KS_SOURCE_ANONYMOUS && ks_tenant_personal(verb->call.actor.principal, id))
		return ks_uuid_datum(id);
	ks_begin_change();
	ks_tenant_ensure_principal(&verb->call);
	ks_text_from_uuid(verb->call.actor.principal, word);
	slug = psprintf(KS_PERSONAL_PREFIX "%s", word);
	return make_workspace(&verb->call, slug, "Personal workspace", true);
}

PG_FUNCTION_INFO_V1(ks_fn_personal_workspace);
/* personal_workspace() returns uuid */
Datum
ks_fn_personal_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_CREATE, personal_workspace);
}

/* Profiles */

static uint32
get_profile(FunctionCallInfo fcinfo, int n)
{
	uint32		bit = ks_profile_bit(text_to_cstring(ks_arg_get_text(fcinfo, n, "profile")));

	if (bit == 0)
		ks_error_invalid("profile", "one of client, worker, auditor, admin, monitor", NULL);
	return bit;
}

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

/* Whether other limits than before bind the uses of a provider that is there
 * already. */
static bool
is_loosened(const KsProvider *provider)
{
	static const uint8 nil[KS_ID_LEN] = {0};
	const char *limits = provider->limits != NULL ? provider->limits : "";
	KsProvider	before;

	return ks_tenant_provider(nil, provider->name, &before) && before.limits != NULL &&
		strcmp(before.limits, limits) != 0;
}

static Datum
provider_define(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsProvider	provider = {0};
	KsWindowSpec specs[KS_WINDOWSPEC_MAX];

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
	if (provider.limits != NULL)
		(void) ks_windowspec_parse("limits", provider.limits, KS_WINDOW_SLIDING, specs);
	provider.has_cost = !PG_ARGISNULL(6);
	if (provider.has_cost)
		provider.cost_micros = PG_GETARG_INT64(6);
	if (provider.cost_micros < 0)
		ks_error_invalid("cost_micros", "0 or greater", NULL);
	provider.enabled = ks_arg_get_bool(fcinfo, 7, "enabled");
	ks_begin_change();
	if (is_loosened(&provider))
		ks_limits_note_change();
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
	bool		enabled;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	name = ks_text_name("provider", ks_arg_get_text(fcinfo, 1, "provider"), KS_PROVIDER_MAX);
	mode = text_to_cstring(ks_arg_get_text(fcinfo, 2, "mode"));
	if (strcmp(mode, "hosted") != 0)
		ks_error_invalid("mode", "hosted", NULL);
	config = ks_arg_get_jsonb(fcinfo, 3, "config");
	if (!JB_ROOT_IS_OBJECT(config) || VARSIZE_ANY_EXHDR(config) > KS_METADATA_MAX)
		ks_error_invalid("config", psprintf("a JSON object of at most %d bytes", KS_METADATA_MAX), NULL);
	enabled = ks_arg_get_bool(fcinfo, 4, "enabled");
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), verb->workspace, &member);
	ks_require(&member, KS_PERM_WORKSPACE);
	if (!ks_tenant_provider(member.workspace, name, &provider))
		ks_error_invalid("provider", "one of keystone.providers", NULL);
	if (enabled)
		ks_plan_check_providers(member.workspace, name);
	ks_tenant_configure_provider(member.workspace, name, mode, JsonbPGetDatum(config), enabled,
								 verb->call.actor.principal);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_provider_configure);
/* provider_configure(workspace, provider, mode, config, enabled) returns void */
Datum
ks_fn_provider_configure(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PROVIDER_CONFIGURE, provider_configure);
}
