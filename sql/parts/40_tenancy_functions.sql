-- part: replay
-- Identity, workspaces, members, profiles.  Each function checks for itself
-- who calls it; the grants in 90_grants.sql are a second fence, not the first.

CREATE OR REPLACE FUNCTION keystone.version() RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ks_fn_version';
COMMENT ON FUNCTION keystone.version() IS 'Version of the loaded library and of the installed SQL objects';

CREATE OR REPLACE FUNCTION keystone.current_principal() RETURNS uuid
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_current_principal';
COMMENT ON FUNCTION keystone.current_principal() IS 'The calling principal; NULL when anonymous';

CREATE OR REPLACE FUNCTION keystone.authenticate(token text) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_authenticate';
COMMENT ON FUNCTION keystone.authenticate(text) IS 'Proves who the caller is by an API key or a JSON Web Token, for the rest of the transaction, and returns the principal; 42501 for a token that proves nothing or another identity than one proved before, PT429 after too many of them';

CREATE OR REPLACE FUNCTION keystone.pre_request() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_pre_request';
COMMENT ON FUNCTION keystone.pre_request() IS 'For PostgREST''s db-pre-request: takes the identity of the request before anything else runs, so that nothing later in the transaction can replace it; raises nothing for an anonymous one';

CREATE OR REPLACE FUNCTION keystone.whoami(
	OUT principal uuid, OUT source text, OUT display_name text, OUT reason text, OUT workspaces jsonb) RETURNS record
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_whoami';
COMMENT ON FUNCTION keystone.whoami() IS 'Who the caller is, how that is known (source api_key, jwt, claims, db_role or anonymous), why anonymous, and the workspaces with role and permissions; writes nothing';

CREATE OR REPLACE FUNCTION keystone.has_permission(workspace text, permission text) RETURNS boolean
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_has_permission';
COMMENT ON FUNCTION keystone.has_permission(text, text) IS 'Whether the caller has a permission (view, reveal, store, rotate, approve, audit, policy, workspace, billing; member for any role) in a workspace (slug or uuid); never NULL; 22023 for another word';

CREATE OR REPLACE FUNCTION keystone.permitted_workspaces(permission text) RETURNS SETOF uuid
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_permitted_workspaces';
COMMENT ON FUNCTION keystone.permitted_workspaces(text) IS 'Workspaces in which the caller has a permission, for policies such as workspace_id = ANY (ARRAY(SELECT keystone.permitted_workspaces(''view'')))';

CREATE OR REPLACE FUNCTION keystone.register_principal(display_name text, kind text DEFAULT 'user', id uuid DEFAULT NULL,
	db_role name DEFAULT NULL, external_id text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_register_principal';
COMMENT ON FUNCTION keystone.register_principal(text, text, uuid, name, text) IS 'Makes a principal of kind user or service, optionally bound to a login role; admin profile, or for a service without id and role a holder of workspace; 23505 when the id, role or external id is taken';

CREATE OR REPLACE FUNCTION keystone.create_workspace(slug text, display_name text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_create_workspace';
COMMENT ON FUNCTION keystone.create_workspace(text, text) IS 'Makes a workspace with its first key and the caller as owner; a login role without a principal gets one; 23505 when the slug is taken';

CREATE OR REPLACE FUNCTION keystone.personal_workspace() RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_personal_workspace';
COMMENT ON FUNCTION keystone.personal_workspace() IS 'The caller''s own workspace, made on first use';

CREATE OR REPLACE FUNCTION keystone.add_member(workspace text, principal uuid, role text, extra_permissions text[] DEFAULT '{}',
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_add_member';
COMMENT ON FUNCTION keystone.add_member(text, uuid, text, text[], uuid, text, jsonb) IS 'Adds a principal with a role (owner, admin, operator, viewer, auditor, service); needs workspace, and every permission that is given; 23505 when it is a member already';

CREATE OR REPLACE FUNCTION keystone.set_member_role(workspace text, principal uuid, role text, extra_permissions text[] DEFAULT '{}',
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_set_member_role';
COMMENT ON FUNCTION keystone.set_member_role(text, uuid, text, text[], uuid, text, jsonb) IS 'Changes a member''s role and extra permissions; needs workspace, and every permission that is given; the last owner stays owner';

CREATE OR REPLACE FUNCTION keystone.remove_member(workspace text, principal uuid,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_remove_member';
COMMENT ON FUNCTION keystone.remove_member(text, uuid, uuid, text, jsonb) IS 'Removes a member, or the caller itself; needs workspace or the admin profile; the last owner cannot leave';

CREATE OR REPLACE FUNCTION keystone.transfer_ownership(workspace text, principal uuid,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_transfer_ownership';
COMMENT ON FUNCTION keystone.transfer_ownership(text, uuid, uuid, text, jsonb) IS 'Makes another member the owner and the caller an admin; only for an owner';

CREATE OR REPLACE FUNCTION keystone.grant_access(role name, profile text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_grant_access';
COMMENT ON FUNCTION keystone.grant_access(name, text) IS 'Gives an existing database role a profile: client, worker, auditor, admin or monitor; admin profile';

CREATE OR REPLACE FUNCTION keystone.revoke_access(role name, profile text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_revoke_access';
COMMENT ON FUNCTION keystone.revoke_access(name, text) IS 'Takes a profile from a database role; PT404 when it has none; admin profile';

CREATE OR REPLACE FUNCTION keystone.provider_define(name text, category text, label text DEFAULT NULL, default_kind text DEFAULT NULL,
	value_pattern text DEFAULT NULL, limits text DEFAULT NULL, cost_micros bigint DEFAULT NULL, enabled boolean DEFAULT true) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_provider_define';
COMMENT ON FUNCTION keystone.provider_define(text, text, text, text, text, text, bigint, boolean) IS 'Defines a provider or replaces the definition of one; category no_auth, shared_key or oauth; cost in millionths of the currency unit; admin profile';

CREATE OR REPLACE FUNCTION keystone.provider_configure(workspace text, provider text, mode text DEFAULT 'hosted',
	config jsonb DEFAULT '{}', enabled boolean DEFAULT true) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_provider_configure';
COMMENT ON FUNCTION keystone.provider_configure(text, text, text, jsonb, boolean) IS 'Sets how a workspace uses a provider; mode hosted; needs workspace';

CREATE OR REPLACE FUNCTION keystone_private.has_profile(profile text) RETURNS boolean
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_has_profile';
COMMENT ON FUNCTION keystone_private.has_profile(text) IS 'Whether the current role has a profile';

CREATE OR REPLACE FUNCTION keystone_private.invalidate() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_invalidate';
COMMENT ON FUNCTION keystone_private.invalidate() IS 'Makes every backend read the rows that give rights again; statement trigger on the tables that hold them';

CREATE OR REPLACE FUNCTION keystone_private.refuse_truncate() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_refuse_truncate';
COMMENT ON FUNCTION keystone_private.refuse_truncate() IS 'Refuses TRUNCATE, which row-level security does not stop; trigger on every table';
