-- part: once
-- Principals, workspaces, members, profiles.  Rows here give rights, so each
-- carries an HMAC (row_mac) over the columns that matter; without a valid one
-- a row gives nothing.  Row-level security is in 60_policies.sql.

CREATE TABLE keystone.principals (
	id				uuid NOT NULL,
	display_name	text NOT NULL,
	kind			text NOT NULL,
	db_role			name,
	created_at		timestamptz NOT NULL DEFAULT now(),
	registered_by	uuid,
	disabled_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT principals_pkey PRIMARY KEY (id),
	CONSTRAINT principals_id_check CHECK (id <> '00000000-0000-0000-0000-000000000000'),
	CONSTRAINT principals_kind_check CHECK (kind IN ('user', 'service', 'api_key')),
	CONSTRAINT principals_db_role_key UNIQUE (db_role)
);
ALTER TABLE keystone.principals ALTER COLUMN display_name SET STATISTICS 0, ALTER COLUMN db_role SET STATISTICS 0;
COMMENT ON TABLE keystone.principals IS 'Who can be a member of a workspace: people, services, API keys';
COMMENT ON COLUMN keystone.principals.id IS 'the principal';
COMMENT ON COLUMN keystone.principals.display_name IS 'a name for people; visible to co-members';
COMMENT ON COLUMN keystone.principals.kind IS 'user, service or api_key';
COMMENT ON COLUMN keystone.principals.db_role IS 'login role whose sessions act as this principal';
COMMENT ON COLUMN keystone.principals.created_at IS 'when the principal was registered';
COMMENT ON COLUMN keystone.principals.registered_by IS 'the principal who registered it, and whose requests it does not approve; NULL when it came by itself, or by a role';
COMMENT ON COLUMN keystone.principals.disabled_at IS 'since when the principal may do nothing; NULL while it may';
COMMENT ON COLUMN keystone.principals.row_mac IS 'HMAC-SHA-256 over id, kind, db_role and disabled_at';

CREATE TABLE keystone_private.external_ids (
	principal_id	uuid NOT NULL,
	external_id		text NOT NULL,
	row_mac			bytea NOT NULL,
	CONSTRAINT external_ids_pkey PRIMARY KEY (principal_id),
	CONSTRAINT external_ids_external_id_key UNIQUE (external_id),
	CONSTRAINT external_ids_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES keystone.principals (id)
);
ALTER TABLE keystone_private.external_ids ALTER COLUMN external_id SET STATISTICS 0;
COMMENT ON TABLE keystone_private.external_ids IS 'The name of a principal in another system, such as an e-mail address; not shown to co-members';
COMMENT ON COLUMN keystone_private.external_ids.principal_id IS 'the principal';
COMMENT ON COLUMN keystone_private.external_ids.external_id IS 'its name elsewhere; role:<name> for the tokens that have that role and no subject';
COMMENT ON COLUMN keystone_private.external_ids.row_mac IS 'HMAC-SHA-256 over principal_id and external_id';

CREATE TABLE keystone.workspaces (
	id				uuid NOT NULL,
	slug			text NOT NULL,
	display_name	text NOT NULL,
	contact			text,
	status			text NOT NULL DEFAULT 'active',
	status_set_by	uuid,
	purge_after		timestamptz,
	purged_at		timestamptz,
	plan			text,
	period_anchor	timestamptz NOT NULL DEFAULT now(),
	personal_of		uuid,
	created_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT now(),
	updated_at		timestamptz NOT NULL DEFAULT now(),
	row_mac			bytea NOT NULL,
	CONSTRAINT workspaces_pkey PRIMARY KEY (id),
	CONSTRAINT workspaces_slug_key UNIQUE (slug),
	CONSTRAINT workspaces_personal_of_key UNIQUE (personal_of),
	CONSTRAINT workspaces_status_check CHECK (status IN ('active', 'trial', 'suspended', 'cancelled')),
	CONSTRAINT workspaces_plan_check CHECK (plan IN ('free', 'starter', 'pro', 'enterprise')),
	CONSTRAINT workspaces_purge_check CHECK (purge_after IS NULL OR status = 'cancelled'),
	CONSTRAINT workspaces_personal_of_fkey FOREIGN KEY (personal_of) REFERENCES keystone.principals (id),
	CONSTRAINT workspaces_created_by_fkey FOREIGN KEY (created_by) REFERENCES keystone.principals (id)
);
ALTER TABLE keystone.workspaces ALTER COLUMN slug SET STATISTICS 0;
ALTER TABLE keystone.workspaces ALTER COLUMN display_name SET STATISTICS 0;
ALTER TABLE keystone.workspaces ALTER COLUMN contact SET STATISTICS 0;
-- For the purge of what was offboarded.
CREATE INDEX workspaces_purge_idx ON keystone.workspaces (purge_after) WHERE purge_after IS NOT NULL AND purged_at IS NULL;
COMMENT ON TABLE keystone.workspaces IS 'Tenants: each has members, keys and credentials of its own';
COMMENT ON COLUMN keystone.workspaces.id IS 'the workspace';
COMMENT ON COLUMN keystone.workspaces.slug IS 'unique short name: lower-case letters, digits and hyphens, at most 63 bytes';
COMMENT ON COLUMN keystone.workspaces.display_name IS 'a name for people';
COMMENT ON COLUMN keystone.workspaces.status IS 'active, trial, suspended or cancelled; the last two give no value';
COMMENT ON COLUMN keystone.workspaces.contact IS 'whom to write to, such as an e-mail address';
COMMENT ON COLUMN keystone.workspaces.status_set_by IS 'the member who set the status; NULL when it is as made, or a database administrator set it, which no member can undo';
COMMENT ON COLUMN keystone.workspaces.purge_after IS 'from then on what an offboarded workspace holds is destroyed; NULL unless it is offboarded';
COMMENT ON COLUMN keystone.workspaces.purged_at IS 'when its keys and ciphertext were destroyed';
COMMENT ON COLUMN keystone.workspaces.plan IS 'free, starter, pro or enterprise; NULL for keystone.default_plan';
COMMENT ON COLUMN keystone.workspaces.period_anchor IS 'day of the month and time of day at which its months of quotas and budgets begin, in UTC';
COMMENT ON COLUMN keystone.workspaces.personal_of IS 'the principal whose personal workspace this is; NULL for a team''s';
COMMENT ON COLUMN keystone.workspaces.created_by IS 'the principal who made it';
COMMENT ON COLUMN keystone.workspaces.created_at IS 'when it was made';
COMMENT ON COLUMN keystone.workspaces.updated_at IS 'when it was changed last';
COMMENT ON COLUMN keystone.workspaces.row_mac IS 'HMAC-SHA-256 over id, slug, status, status_set_by, purge_after, purged_at, plan, period_anchor, personal_of and updated_at';

CREATE TABLE keystone.members (
	workspace_id		uuid NOT NULL,
	principal_id		uuid NOT NULL,
	role				text NOT NULL,
	extra_permissions	text[] NOT NULL DEFAULT '{}',
	added_by			uuid,
	created_at			timestamptz NOT NULL DEFAULT now(),
	updated_at			timestamptz NOT NULL DEFAULT now(),
	removed_at			timestamptz,
	row_mac				bytea NOT NULL,
	CONSTRAINT members_pkey PRIMARY KEY (workspace_id, principal_id),
	CONSTRAINT members_role_check CHECK (role IN ('owner', 'admin', 'operator', 'viewer', 'auditor', 'service')),
	CONSTRAINT members_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT members_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES keystone.principals (id)
);
CREATE INDEX members_principal_id_idx ON keystone.members (principal_id);
ALTER TABLE keystone.members ALTER COLUMN extra_permissions SET STATISTICS 0;
COMMENT ON TABLE keystone.members IS 'Which principal has which role in which workspace';
COMMENT ON COLUMN keystone.members.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.members.principal_id IS 'the member';
COMMENT ON COLUMN keystone.members.role IS 'owner, admin, operator, viewer, auditor or service';
COMMENT ON COLUMN keystone.members.extra_permissions IS 'permissions beyond those of the role';
COMMENT ON COLUMN keystone.members.added_by IS 'the principal who added the member or changed its role last; NULL when a database administrator did';
COMMENT ON COLUMN keystone.members.created_at IS 'when the member was first added';
COMMENT ON COLUMN keystone.members.updated_at IS 'when the row was changed last';
COMMENT ON COLUMN keystone.members.removed_at IS 'when the member was removed; the row stays as a tombstone';
COMMENT ON COLUMN keystone.members.row_mac IS 'HMAC-SHA-256 over workspace_id, principal_id, role, extra_permissions, updated_at and removed_at';

CREATE TABLE keystone_private.profile_grants (
	role_name		name NOT NULL,
	profile			text NOT NULL,
	granted_by		name NOT NULL,
	granted_at		timestamptz NOT NULL DEFAULT now(),
	revoked_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT profile_grants_pkey PRIMARY KEY (role_name, profile),
	CONSTRAINT profile_grants_profile_check CHECK (profile IN ('client', 'worker', 'auditor', 'admin', 'monitor'))
);
COMMENT ON TABLE keystone_private.profile_grants IS 'Which database role has which profile; written by grant_access()';
COMMENT ON COLUMN keystone_private.profile_grants.role_name IS 'the database role';
COMMENT ON COLUMN keystone_private.profile_grants.profile IS 'client, worker, auditor, admin or monitor';
COMMENT ON COLUMN keystone_private.profile_grants.granted_by IS 'session user who granted it';
COMMENT ON COLUMN keystone_private.profile_grants.granted_at IS 'when it was granted';
COMMENT ON COLUMN keystone_private.profile_grants.revoked_at IS 'when it was revoked; the row stays as a tombstone';
COMMENT ON COLUMN keystone_private.profile_grants.row_mac IS 'HMAC-SHA-256 over role_name, profile, granted_at and revoked_at';

SELECT pg_extension_config_dump('keystone.principals', '');
SELECT pg_extension_config_dump('keystone_private.external_ids', '');
SELECT pg_extension_config_dump('keystone.workspaces', '');
SELECT pg_extension_config_dump('keystone.members', '');
SELECT pg_extension_config_dump('keystone_private.profile_grants', '');
