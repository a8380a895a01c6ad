-- part: replay
-- Sharing of personal credentials, and what row-level security asks about the
-- caller beyond its memberships.

CREATE OR REPLACE FUNCTION keystone.share_credential(credential uuid, grantee uuid, until timestamptz DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_share_credential';
COMMENT ON FUNCTION keystone.share_credential(uuid, uuid, timestamptz) IS
	'Lets a member of the workspace see and reveal one''s own personal credential, until a time or until it is taken back; again changes the time; only its owner; PT404, 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.unshare_credential(credential uuid, grantee uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_unshare_credential';
COMMENT ON FUNCTION keystone.unshare_credential(uuid, uuid) IS
	'Takes back a share_credential(), also in a suspended workspace; only the credential''s owner; PT404 when it is not shared, 42501';

CREATE OR REPLACE FUNCTION keystone_private.shared_credentials() RETURNS SETOF uuid
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_shared_credentials';
COMMENT ON FUNCTION keystone_private.shared_credentials() IS 'Personal credentials of others that are shared with the caller now';

CREATE OR REPLACE FUNCTION keystone_private.key_environments() RETURNS text[]
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_key_environments';
COMMENT ON FUNCTION keystone_private.key_environments() IS 'The environments that the caller''s API key is limited to; NULL when to none';

CREATE OR REPLACE FUNCTION keystone_private.key_providers() RETURNS text[]
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_key_providers';
COMMENT ON FUNCTION keystone_private.key_providers() IS 'The providers that the caller''s API key is limited to; NULL when to none';
