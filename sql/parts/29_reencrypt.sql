-- part: once
-- What is remembered of keys while they are replaced.

CREATE TABLE keystone_private.reencrypt_failures (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	version			int NOT NULL,
	noticed_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	tried_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT reencrypt_failures_pkey PRIMARY KEY (workspace_id, credential_id, version)
);
COMMENT ON TABLE keystone_private.reencrypt_failures IS 'Values that did not open when they were to be encrypted again';
COMMENT ON COLUMN keystone_private.reencrypt_failures.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.reencrypt_failures.credential_id IS 'the credential';
COMMENT ON COLUMN keystone_private.reencrypt_failures.version IS 'the version';
COMMENT ON COLUMN keystone_private.reencrypt_failures.noticed_at IS 'when that was noticed first';
COMMENT ON COLUMN keystone_private.reencrypt_failures.tried_at IS 'when it was tried last';

-- Written by a background process: no foreign key, which would have it wait.
CREATE TABLE keystone_private.key_usage (
	workspace_id	uuid NOT NULL,
	version			int NOT NULL,
	encryptions		bigint NOT NULL,
	CONSTRAINT key_usage_pkey PRIMARY KEY (workspace_id, version)
);
COMMENT ON TABLE keystone_private.key_usage IS 'How often each version of a workspace''s key has encrypted, about';
COMMENT ON COLUMN keystone_private.key_usage.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.key_usage.version IS 'version of the key';
COMMENT ON COLUMN keystone_private.key_usage.encryptions IS 'how often it has encrypted';

-- What an older key has sealed, and what still has a former wrap.
CREATE INDEX ciphertext_key_version_idx ON keystone_private.ciphertext (workspace_id, key_version);
CREATE INDEX workspace_keys_previous_idx ON keystone_private.workspace_keys (previous_root_key)
	WHERE previous_root_key IS NOT NULL;

SELECT pg_extension_config_dump('keystone_private.reencrypt_failures', '');
SELECT pg_extension_config_dump('keystone_private.key_usage', '');
