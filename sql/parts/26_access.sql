-- part: once
-- API keys, invitations, and personal credentials that their owners share.
-- Rows here give rights, so each carries an HMAC (row_mac); what ends leaves
-- its row as a tombstone.

CREATE TABLE keystone_private.api_keys (
	workspace_id	uuid NOT NULL,
	id				uuid NOT NULL,
	name			text NOT NULL,
	prefix			text NOT NULL,
	role			text NOT NULL,
	environments	text[],
	providers		text[],
	created_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL,
	updated_at		timestamptz NOT NULL,
	expires_at		timestamptz,
	revoked_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT api_keys_pkey PRIMARY KEY (workspace_id, id),
	CONSTRAINT api_keys_role_check CHECK (role IN ('admin', 'operator', 'viewer', 'auditor', 'service')),
	CONSTRAINT api_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT api_keys_id_fkey FOREIGN KEY (id) REFERENCES keystone.principals (id),
	CONSTRAINT api_keys_created_by_fkey FOREIGN KEY (created_by) REFERENCES keystone.principals (id)
);
CREATE INDEX api_keys_id_idx ON keystone_private.api_keys (id);
CREATE UNIQUE INDEX api_keys_name_key ON keystone_private.api_keys (workspace_id, name) WHERE revoked_at IS NULL;
ALTER TABLE keystone_private.api_keys
	ALTER COLUMN name SET STATISTICS 0,
	ALTER COLUMN prefix SET STATISTICS 0,
	ALTER COLUMN environments SET STATISTICS 0,
	ALTER COLUMN providers SET STATISTICS 0;
COMMENT ON TABLE keystone_private.api_keys IS 'API keys: each is a principal of its own, on behalf of who made it; clients read the view keystone.api_keys';
COMMENT ON COLUMN keystone_private.api_keys.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.api_keys.id IS 'the principal that the key is';
COMMENT ON COLUMN keystone_private.api_keys.name IS 'its name, unique among the workspace''s keys that are not revoked';
COMMENT ON COLUMN keystone_private.api_keys.prefix IS 'the public part of the newest secret';
COMMENT ON COLUMN keystone_private.api_keys.role IS 'admin, operator, viewer, auditor or service; cut to what its creator has';
COMMENT ON COLUMN keystone_private.api_keys.environments IS 'the environments that it is limited to; NULL for all';
COMMENT ON COLUMN keystone_private.api_keys.providers IS 'the providers that it is limited to; NULL for all';
COMMENT ON COLUMN keystone_private.api_keys.created_by IS 'the principal who made it, and without whose membership it is worth nothing';
COMMENT ON COLUMN keystone_private.api_keys.created_at IS 'when it was made';
COMMENT ON COLUMN keystone_private.api_keys.updated_at IS 'when it was changed last';
COMMENT ON COLUMN keystone_private.api_keys.expires_at IS 'from then on it is worth nothing; NULL for never';
COMMENT ON COLUMN keystone_private.api_keys.revoked_at IS 'when it was revoked; the row stays as a tombstone';
COMMENT ON COLUMN keystone_private.api_keys.row_mac IS 'HMAC-SHA-256 over workspace_id, id, name, prefix, role, environments, providers, created_by, updated_at, expires_at and revoked_at';

CREATE TABLE keystone_private.api_key_secrets (
	workspace_id	uuid NOT NULL,
	prefix			text NOT NULL,
	key_id			uuid NOT NULL,
	secret_mac		bytea NOT NULL,
	created_at		timestamptz NOT NULL,
	valid_until		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT api_key_secrets_pkey PRIMARY KEY (workspace_id, prefix),
	CONSTRAINT api_key_secrets_key_id_fkey FOREIGN KEY (workspace_id, key_id) REFERENCES keystone_private.api_keys (workspace_id, id)
);
CREATE INDEX api_key_secrets_prefix_idx ON keystone_private.api_key_secrets (prefix);
CREATE INDEX api_key_secrets_key_id_idx ON keystone_private.api_key_secrets (workspace_id, key_id);
ALTER TABLE keystone_private.api_key_secrets ALTER COLUMN prefix SET STATISTICS 0, ALTER COLUMN secret_mac SET STATISTICS 0;
COMMENT ON TABLE keystone_private.api_key_secrets IS 'What an API key is recognised by; a key that is rotated has two for a while';
COMMENT ON COLUMN keystone_private.api_key_secrets.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.api_key_secrets.prefix IS 'the public part of the key: 12 hexadecimal digits';
COMMENT ON COLUMN keystone_private.api_key_secrets.key_id IS 'the API key';
COMMENT ON COLUMN keystone_private.api_key_secrets.secret_mac IS 'HMAC-SHA-256 of the secret part under a key of the database';
COMMENT ON COLUMN keystone_private.api_key_secrets.created_at IS 'when it was made';
COMMENT ON COLUMN keystone_private.api_key_secrets.valid_until IS 'from then on it proves nothing; NULL while it is the newest';
COMMENT ON COLUMN keystone_private.api_key_secrets.row_mac IS 'HMAC-SHA-256 over workspace_id, prefix, key_id, secret_mac, created_at and valid_until';

CREATE TABLE keystone.invitations (
	workspace_id	uuid NOT NULL,
	id				uuid NOT NULL,
	email			text NOT NULL,
	role			text NOT NULL,
	token_mac		bytea NOT NULL,
	invited_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	accepted_at		timestamptz,
	accepted_by		uuid,
	cancelled_at	timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT invitations_pkey PRIMARY KEY (workspace_id, id),
	CONSTRAINT invitations_role_check CHECK (role IN ('admin', 'operator', 'viewer', 'auditor', 'service')),
	CONSTRAINT invitations_accepted_check CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
	CONSTRAINT invitations_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT invitations_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES keystone.principals (id),
	CONSTRAINT invitations_accepted_by_fkey FOREIGN KEY (accepted_by) REFERENCES keystone.principals (id)
);
CREATE INDEX invitations_token_mac_idx ON keystone.invitations (token_mac);
ALTER TABLE keystone.invitations ALTER COLUMN email SET STATISTICS 0, ALTER COLUMN token_mac SET STATISTICS 0;
COMMENT ON TABLE keystone.invitations IS 'Who was invited into a workspace; holders of workspace see them';
COMMENT ON COLUMN keystone.invitations.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.invitations.id IS 'the invitation';
COMMENT ON COLUMN keystone.invitations.email IS 'whom it is for; the token is sent there by the application';
COMMENT ON COLUMN keystone.invitations.role IS 'the role that who accepts it gets';
COMMENT ON COLUMN keystone.invitations.token_mac IS 'HMAC-SHA-256 of the token under a key of the database';
COMMENT ON COLUMN keystone.invitations.invited_by IS 'the principal who invited; the invitation is worth nothing once that one could not give the role';
COMMENT ON COLUMN keystone.invitations.created_at IS 'when it was made';
COMMENT ON COLUMN keystone.invitations.expires_at IS 'until then it can be accepted';
COMMENT ON COLUMN keystone.invitations.accepted_at IS 'when it was accepted; it can be once';
COMMENT ON COLUMN keystone.invitations.accepted_by IS 'the principal who accepted it';
COMMENT ON COLUMN keystone.invitations.cancelled_at IS 'when it was taken back';
COMMENT ON COLUMN keystone.invitations.row_mac IS 'HMAC-SHA-256 over workspace_id, id, email, role, token_mac, invited_by, expires_at, accepted_at, accepted_by and cancelled_at';

CREATE TABLE keystone.credential_shares (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	grantee			uuid NOT NULL,
	owner			uuid NOT NULL,
	until			timestamptz,
	created_at		timestamptz NOT NULL,
	updated_at		timestamptz NOT NULL,
	revoked_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT credential_shares_pkey PRIMARY KEY (workspace_id, credential_id, grantee),
	CONSTRAINT credential_shares_grantee_check CHECK (grantee <> owner),
	CONSTRAINT credential_shares_credential_id_fkey FOREIGN KEY (workspace_id, credential_id)
		REFERENCES keystone_private.credentials (workspace_id, id),
	CONSTRAINT credential_shares_grantee_fkey FOREIGN KEY (grantee) REFERENCES keystone.principals (id),
	CONSTRAINT credential_shares_owner_fkey FOREIGN KEY (owner) REFERENCES keystone.principals (id)
);
CREATE INDEX credential_shares_grantee_idx ON keystone.credential_shares (grantee);
COMMENT ON TABLE keystone.credential_shares IS 'Personal credentials that their owners let another principal use; both see the row';
COMMENT ON COLUMN keystone.credential_shares.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.credential_shares.credential_id IS 'the personal credential';
COMMENT ON COLUMN keystone.credential_shares.grantee IS 'who may use it';
COMMENT ON COLUMN keystone.credential_shares.owner IS 'its owner, who shared it';
COMMENT ON COLUMN keystone.credential_shares.until IS 'until when; NULL for as long as it is not taken back';
COMMENT ON COLUMN keystone.credential_shares.created_at IS 'when it was first shared';
COMMENT ON COLUMN keystone.credential_shares.updated_at IS 'when the row was changed last';
COMMENT ON COLUMN keystone.credential_shares.revoked_at IS 'when it was taken back; the row stays as a tombstone';
COMMENT ON COLUMN keystone.credential_shares.row_mac IS 'HMAC-SHA-256 over workspace_id, credential_id, grantee, owner, until, updated_at and revoked_at';

-- Filled from the audit log by a background process, never by a caller.
CREATE TABLE keystone_private.principal_usage (
	principal_id	uuid NOT NULL,
	last_used_at	timestamptz NOT NULL,
	CONSTRAINT principal_usage_pkey PRIMARY KEY (principal_id)
);
COMMENT ON TABLE keystone_private.principal_usage IS 'When each API key was used last, as the audit log has it';
COMMENT ON COLUMN keystone_private.principal_usage.principal_id IS 'the API key';
COMMENT ON COLUMN keystone_private.principal_usage.last_used_at IS 'time of its last entry in the audit log';

SELECT pg_extension_config_dump('keystone_private.api_keys', '');
SELECT pg_extension_config_dump('keystone_private.api_key_secrets', '');
SELECT pg_extension_config_dump('keystone.invitations', '');
SELECT pg_extension_config_dump('keystone.credential_shares', '');
SELECT pg_extension_config_dump('keystone_private.principal_usage', '');
