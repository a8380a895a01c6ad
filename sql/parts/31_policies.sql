-- part: once
-- Policies: versioned documents that tighten what roles permit.

CREATE TABLE keystone_private.policies (
	workspace_id	uuid NOT NULL,
	id				text NOT NULL,
	version			int NOT NULL,
	level			text NOT NULL,
	enforcement		text NOT NULL,
	document		jsonb NOT NULL,
	created_by		uuid,
	created_at		timestamptz NOT NULL DEFAULT now(),
	updated_by		uuid,
	updated_at		timestamptz NOT NULL,
	dropped_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT policies_pkey PRIMARY KEY (workspace_id, id),
	CONSTRAINT policies_version_check CHECK (version > 0),
	CONSTRAINT policies_level_check CHECK (level IN ('system', 'workspace', 'provider', 'secret')),
	CONSTRAINT policies_enforcement_check CHECK (enforcement IN ('enforce', 'shadow'))
);
COMMENT ON TABLE keystone_private.policies IS 'The policies that hold; clients read the view keystone.policies';
COMMENT ON COLUMN keystone_private.policies.workspace_id IS 'the workspace; the nil uuid for a policy of the whole database';
COMMENT ON COLUMN keystone_private.policies.id IS 'name of the policy, as in the document';
COMMENT ON COLUMN keystone_private.policies.version IS 'number of the version, from 1';
COMMENT ON COLUMN keystone_private.policies.level IS 'system, workspace, provider or secret';
COMMENT ON COLUMN keystone_private.policies.enforcement IS 'enforce; shadow: evaluated and reported, not obeyed';
COMMENT ON COLUMN keystone_private.policies.document IS 'the document, as policy_put() got it';
COMMENT ON COLUMN keystone_private.policies.created_by IS 'the principal who put version 1; NULL for a role without one';
COMMENT ON COLUMN keystone_private.policies.created_at IS 'when version 1 was put';
COMMENT ON COLUMN keystone_private.policies.updated_by IS 'the principal who put this version; NULL for a role without one';
COMMENT ON COLUMN keystone_private.policies.updated_at IS 'when this version was put';
COMMENT ON COLUMN keystone_private.policies.dropped_at IS 'when it was dropped; the row stays as a tombstone';
COMMENT ON COLUMN keystone_private.policies.row_mac IS 'HMAC-SHA-256 over all columns but created_by and created_at';

CREATE TABLE keystone_private.policy_versions (
	workspace_id	uuid NOT NULL,
	id				text NOT NULL,
	version			int NOT NULL,
	document		jsonb,
	created_by		uuid,
	created_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT policy_versions_pkey PRIMARY KEY (workspace_id, id, version),
	CONSTRAINT policy_versions_id_fkey FOREIGN KEY (workspace_id, id) REFERENCES keystone_private.policies (workspace_id, id)
);
COMMENT ON TABLE keystone_private.policy_versions IS 'Every version that each policy ever had; clients read the view keystone.policy_versions';
COMMENT ON COLUMN keystone_private.policy_versions.workspace_id IS 'the workspace; the nil uuid for a policy of the whole database';
COMMENT ON COLUMN keystone_private.policy_versions.id IS 'name of the policy';
COMMENT ON COLUMN keystone_private.policy_versions.version IS 'number of the version';
COMMENT ON COLUMN keystone_private.policy_versions.document IS 'the document; NULL for the version that dropped it';
COMMENT ON COLUMN keystone_private.policy_versions.created_by IS 'the principal who put it; NULL for a role without one';
COMMENT ON COLUMN keystone_private.policy_versions.created_at IS 'when it was put';

SELECT pg_extension_config_dump('keystone_private.policies', '');
SELECT pg_extension_config_dump('keystone_private.policy_versions', '');
