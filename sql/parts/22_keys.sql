-- part: once
-- Keys lie here wrapped; the root key that wraps them is never in the database.

CREATE TABLE keystone_private.root_keys (
	id				text NOT NULL,
	check_value		bytea NOT NULL,
	first_used_at	timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT root_keys_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE keystone_private.root_keys IS 'Root keys that this database has been used with, so that a wrong one is recognised';
COMMENT ON COLUMN keystone_private.root_keys.id IS 'id of the root key in the keyring';
COMMENT ON COLUMN keystone_private.root_keys.check_value IS 'HMAC-SHA-256 of the id under a key derived from the root key';
COMMENT ON COLUMN keystone_private.root_keys.first_used_at IS 'when this database first wrapped a key with it';

CREATE TABLE keystone_private.system_keys (
	purpose			text NOT NULL,
	version			int NOT NULL,
	key_id			uuid NOT NULL,
	root_key		text NOT NULL,
	wrapped			bytea NOT NULL,
	previous_root_key	text,
	previous_wrapped	bytea,
	created_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT system_keys_previous_check CHECK ((previous_root_key IS NULL) = (previous_wrapped IS NULL)),
	CONSTRAINT system_keys_pkey PRIMARY KEY (purpose, version),
	CONSTRAINT system_keys_purpose_check CHECK (purpose IN ('row_mac')),
	CONSTRAINT system_keys_root_key_fkey FOREIGN KEY (root_key) REFERENCES keystone_private.root_keys (id)
);
COMMENT ON TABLE keystone_private.system_keys IS 'Keys of the database itself, wrapped under a root key';
COMMENT ON COLUMN keystone_private.system_keys.purpose IS 'row_mac: authenticates rows that give rights';
COMMENT ON COLUMN keystone_private.system_keys.version IS 'version of the key, from 1';
COMMENT ON COLUMN keystone_private.system_keys.key_id IS 'random id of the key';
COMMENT ON COLUMN keystone_private.system_keys.root_key IS 'id of the root key that wraps it';
COMMENT ON COLUMN keystone_private.system_keys.wrapped IS 'envelope (XAES-256-GCM) of the key';
COMMENT ON COLUMN keystone_private.system_keys.previous_root_key IS 'id of the root key that wrapped it before, while the keyring still has that one';
COMMENT ON COLUMN keystone_private.system_keys.previous_wrapped IS 'envelope of the key under the previous root key';
COMMENT ON COLUMN keystone_private.system_keys.created_at IS 'when it was made';

CREATE TABLE keystone_private.workspace_keys (
	workspace_id	uuid NOT NULL,
	version			int NOT NULL,
	key_id			uuid NOT NULL,
	root_key		text NOT NULL,
	wrapped			bytea NOT NULL,
	previous_root_key	text,
	previous_wrapped	bytea,
	kms_uri			text,
	created_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT workspace_keys_previous_check CHECK ((previous_root_key IS NULL) = (previous_wrapped IS NULL)),
	CONSTRAINT workspace_keys_pkey PRIMARY KEY (workspace_id, version),
	CONSTRAINT workspace_keys_version_check CHECK (version > 0),
	CONSTRAINT workspace_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT workspace_keys_root_key_fkey FOREIGN KEY (root_key) REFERENCES keystone_private.root_keys (id)
);
CREATE INDEX workspace_keys_root_key_idx ON keystone_private.workspace_keys (root_key);
CREATE INDEX workspace_keys_kms_uri_idx ON keystone_private.workspace_keys (workspace_id, kms_uri) WHERE kms_uri IS NOT NULL;
COMMENT ON TABLE keystone_private.workspace_keys IS 'The keys that encrypt a workspace''s values, wrapped under a root key; the highest version encrypts';
COMMENT ON COLUMN keystone_private.workspace_keys.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.workspace_keys.version IS 'version of the key, from 1';
COMMENT ON COLUMN keystone_private.workspace_keys.key_id IS 'random id of the key';
COMMENT ON COLUMN keystone_private.workspace_keys.root_key IS 'id of the root key that wraps it';
COMMENT ON COLUMN keystone_private.workspace_keys.wrapped IS 'envelope (XAES-256-GCM) of the key';
COMMENT ON COLUMN keystone_private.workspace_keys.previous_root_key IS 'id of the root key that wrapped it before, while the keyring still has that one';
COMMENT ON COLUMN keystone_private.workspace_keys.previous_wrapped IS 'envelope of the key under the previous root key';
COMMENT ON COLUMN keystone_private.workspace_keys.kms_uri IS 'URI of the customer''s key that wraps it additionally, inside the root key''s envelope; NULL when none does';
COMMENT ON COLUMN keystone_private.workspace_keys.created_at IS 'when it was made';

SELECT pg_extension_config_dump('keystone_private.root_keys', '');
SELECT pg_extension_config_dump('keystone_private.system_keys', '');
SELECT pg_extension_config_dump('keystone_private.workspace_keys', '');
