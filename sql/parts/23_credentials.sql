-- part: once
-- Credentials: metadata under row-level security, ciphertext where no client
-- can reach.  A value exists in these tables only inside an envelope.

CREATE TABLE keystone_private.credentials (
	workspace_id	uuid NOT NULL,
	id				uuid NOT NULL,
	name			text NOT NULL,
	folded_name		text NOT NULL,
	environment		text NOT NULL,
	owner			uuid,
	provider		text,
	kind			text NOT NULL,
	current_version	int,
	last_version	int NOT NULL,
	hint			text,
	description		text,
	tags			text[] NOT NULL DEFAULT '{}',
	metadata		jsonb NOT NULL DEFAULT '{}',
	is_active		boolean NOT NULL DEFAULT true,
	is_verified		boolean,
	verified_at		timestamptz,
	verified_detail	text,
	expires_at		timestamptz,
	created_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT now(),
	updated_at		timestamptz NOT NULL DEFAULT now(),
	last_rotated_at	timestamptz NOT NULL DEFAULT now(),
	deleted_at		timestamptz,
	destroy_after	timestamptz,
	destroyed_at	timestamptz,
	-- with what row-level security looks at, so that it can be counted there
	CONSTRAINT credentials_pkey PRIMARY KEY (workspace_id, id) INCLUDE (owner, environment, provider),
	CONSTRAINT credentials_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
	CONSTRAINT credentials_deleted_check CHECK ((deleted_at IS NULL) = (destroy_after IS NULL)),
	CONSTRAINT credentials_destroyed_check CHECK (destroyed_at IS NULL OR deleted_at IS NOT NULL),
	CONSTRAINT credentials_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT credentials_owner_fkey FOREIGN KEY (owner) REFERENCES keystone.principals (id)
);
CREATE INDEX credentials_id_idx ON keystone_private.credentials (id);
-- Unique among what is not deleted.  The all-zero uuid stands for "shared".
CREATE UNIQUE INDEX credentials_name_key ON keystone_private.credentials
	(workspace_id, environment, folded_name, (COALESCE(owner, '00000000-0000-0000-0000-000000000000'::uuid)))
	WHERE deleted_at IS NULL;
ALTER TABLE keystone_private.credentials
	ALTER COLUMN name SET STATISTICS 0,
	ALTER COLUMN folded_name SET STATISTICS 0,
	ALTER COLUMN environment SET STATISTICS 0,
	ALTER COLUMN provider SET STATISTICS 0,
	ALTER COLUMN kind SET STATISTICS 0,
	ALTER COLUMN hint SET STATISTICS 0,
	ALTER COLUMN description SET STATISTICS 0,
	ALTER COLUMN tags SET STATISTICS 0,
	ALTER COLUMN metadata SET STATISTICS 0,
	ALTER COLUMN verified_detail SET STATISTICS 0;
COMMENT ON TABLE keystone_private.credentials IS 'What is known of each credential but its value; clients read the view keystone.credentials';
COMMENT ON COLUMN keystone_private.credentials.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.credentials.id IS 'the credential';
COMMENT ON COLUMN keystone_private.credentials.name IS 'name, in Unicode normalisation form NFC';
COMMENT ON COLUMN keystone_private.credentials.folded_name IS 'name folded for comparison: NFKC and ASCII lower case';
COMMENT ON COLUMN keystone_private.credentials.environment IS 'environment, such as prod';
COMMENT ON COLUMN keystone_private.credentials.owner IS 'the principal whose personal credential this is; NULL when shared';
COMMENT ON COLUMN keystone_private.credentials.provider IS 'name of the provider';
COMMENT ON COLUMN keystone_private.credentials.kind IS 'what the value is, such as api_key';
COMMENT ON COLUMN keystone_private.credentials.current_version IS 'the version that reveal gives; NULL while none was promoted or all are destroyed';
COMMENT ON COLUMN keystone_private.credentials.last_version IS 'the highest version number given out';
COMMENT ON COLUMN keystone_private.credentials.hint IS 'the part of the current value that is kept in the clear';
COMMENT ON COLUMN keystone_private.credentials.description IS 'free text';
COMMENT ON COLUMN keystone_private.credentials.tags IS 'free labels';
COMMENT ON COLUMN keystone_private.credentials.metadata IS 'free JSON object; authenticated with the value';
COMMENT ON COLUMN keystone_private.credentials.is_active IS 'false: not revealed';
COMMENT ON COLUMN keystone_private.credentials.is_verified IS 'whether the current value worked when last tried; NULL when never tried';
COMMENT ON COLUMN keystone_private.credentials.verified_at IS 'when it was last tried';
COMMENT ON COLUMN keystone_private.credentials.verified_detail IS 'what was found';
COMMENT ON COLUMN keystone_private.credentials.expires_at IS 'from then on not revealed; authenticated with the value';
COMMENT ON COLUMN keystone_private.credentials.created_by IS 'the principal who stored it first';
COMMENT ON COLUMN keystone_private.credentials.created_at IS 'when it was stored first';
COMMENT ON COLUMN keystone_private.credentials.updated_at IS 'when the row was changed last';
COMMENT ON COLUMN keystone_private.credentials.last_rotated_at IS 'when it got its current value';
COMMENT ON COLUMN keystone_private.credentials.deleted_at IS 'when it was deleted; NULL while it is not';
COMMENT ON COLUMN keystone_private.credentials.destroy_after IS 'until then a deleted credential can be restored';
COMMENT ON COLUMN keystone_private.credentials.destroyed_at IS 'when its ciphertext was removed for good';

CREATE TABLE keystone.credential_versions (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	version			int NOT NULL,
	owner			uuid,
	state			text NOT NULL,
	source_version	int,
	created_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT now(),
	verified_at		timestamptz,
	destroyed_at	timestamptz,
	CONSTRAINT credential_versions_pkey PRIMARY KEY (workspace_id, credential_id, version),
	CONSTRAINT credential_versions_version_check CHECK (version > 0),
	CONSTRAINT credential_versions_state_check CHECK (state IN ('current', 'previous', 'pending', 'destroyed')),
	CONSTRAINT credential_versions_destroyed_check CHECK ((state = 'destroyed') = (destroyed_at IS NOT NULL)),
	CONSTRAINT credential_versions_credential_id_fkey FOREIGN KEY (workspace_id, credential_id)
		REFERENCES keystone_private.credentials (workspace_id, id)
);
CREATE UNIQUE INDEX credential_versions_current_key ON keystone.credential_versions (workspace_id, credential_id)
	WHERE state = 'current';
COMMENT ON TABLE keystone.credential_versions IS 'Versions of each credential, without their values';
COMMENT ON COLUMN keystone.credential_versions.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.credential_versions.credential_id IS 'the credential';
COMMENT ON COLUMN keystone.credential_versions.version IS 'number of the version, from 1';
COMMENT ON COLUMN keystone.credential_versions.owner IS 'owner of a personal credential, as in credentials';
COMMENT ON COLUMN keystone.credential_versions.state IS 'current, previous, pending or destroyed';
COMMENT ON COLUMN keystone.credential_versions.source_version IS 'the version whose value rollback_to() put back';
COMMENT ON COLUMN keystone.credential_versions.created_by IS 'the principal who stored it';
COMMENT ON COLUMN keystone.credential_versions.created_at IS 'when it was stored';
COMMENT ON COLUMN keystone.credential_versions.verified_at IS 'when it was last found to work';
COMMENT ON COLUMN keystone.credential_versions.destroyed_at IS 'when its ciphertext was removed';

CREATE TABLE keystone_private.ciphertext (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	version			int NOT NULL,
	key_version		int NOT NULL,
	envelope		bytea NOT NULL,
	aad_digest		bytea NOT NULL,
	CONSTRAINT ciphertext_pkey PRIMARY KEY (workspace_id, credential_id, version),
	CONSTRAINT ciphertext_version_fkey FOREIGN KEY (workspace_id, credential_id, version)
		REFERENCES keystone.credential_versions (workspace_id, credential_id, version)
);
ALTER TABLE keystone_private.ciphertext
	ALTER COLUMN envelope SET STORAGE EXTERNAL,
	ALTER COLUMN envelope SET STATISTICS 0,
	ALTER COLUMN aad_digest SET STATISTICS 0;
COMMENT ON TABLE keystone_private.ciphertext IS 'The encrypted values';
COMMENT ON COLUMN keystone_private.ciphertext.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.ciphertext.credential_id IS 'the credential';
COMMENT ON COLUMN keystone_private.ciphertext.version IS 'the version';
COMMENT ON COLUMN keystone_private.ciphertext.key_version IS 'version of the workspace key, as in the envelope';
COMMENT ON COLUMN keystone_private.ciphertext.envelope IS 'format 1, algorithm, key version, nonce, ciphertext of the padded value, tag';
COMMENT ON COLUMN keystone_private.ciphertext.aad_digest IS 'SHA-256 of the authenticated data, to tell moved ciphertext from damaged';

-- Filled from the audit log by a background process, never by a caller.  No
-- foreign key: it would have that process wait for rows that callers hold.
CREATE TABLE keystone_private.credential_usage (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	usage_count		bigint NOT NULL DEFAULT 0,
	last_used_at	timestamptz,
	expiry_noticed	timestamptz,
	CONSTRAINT credential_usage_pkey PRIMARY KEY (workspace_id, credential_id)
);
COMMENT ON TABLE keystone_private.credential_usage IS 'How often and when each credential was revealed, as the audit log has it, and which expiry is in it';
COMMENT ON COLUMN keystone_private.credential_usage.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.credential_usage.credential_id IS 'the credential';
COMMENT ON COLUMN keystone_private.credential_usage.usage_count IS 'number of reveals';
COMMENT ON COLUMN keystone_private.credential_usage.last_used_at IS 'when it was last revealed; NULL when it never was';
COMMENT ON COLUMN keystone_private.credential_usage.expiry_noticed IS 'the expires_at that stands in the audit log as passed';

SELECT pg_extension_config_dump('keystone_private.credentials', '');
SELECT pg_extension_config_dump('keystone.credential_versions', '');
SELECT pg_extension_config_dump('keystone_private.ciphertext', '');
SELECT pg_extension_config_dump('keystone_private.credential_usage', '');
