-- part: replay
CREATE OR REPLACE FUNCTION keystone.create_api_key(workspace text, name text, role text DEFAULT 'service', expires_at timestamptz DEFAULT NULL,
	environments text[] DEFAULT NULL, providers text[] DEFAULT NULL,
	OUT api_key text, OUT id uuid, OUT prefix text, OUT expires_at timestamptz) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_create_api_key';
COMMENT ON FUNCTION keystone.create_api_key(text, text, text, timestamptz, text[], text[]) IS
	'Makes an API key, which is shown this once; role is admin, operator, viewer, auditor or service, cut to what its creator has; environments and providers limit it, NULL does not; needs workspace and all permissions of the role; an API key makes none; 23505, 22023';

CREATE OR REPLACE FUNCTION keystone.revoke_api_key(workspace text, name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_revoke_api_key';
COMMENT ON FUNCTION keystone.revoke_api_key(text, text) IS 'From now on the API key is worth nothing, and its name is free; needs workspace; PT404';

CREATE OR REPLACE FUNCTION keystone.rotate_api_key(workspace text, name text, overlap interval DEFAULT '1 hour',
	OUT api_key text, OUT id uuid, OUT prefix text, OUT expires_at timestamptz) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rotate_api_key';
COMMENT ON FUNCTION keystone.rotate_api_key(text, text, interval) IS
	'Gives an API key a new secret, which is shown this once; older ones work for the overlap of at most 30 days; needs workspace and all permissions of the key''s role, or to be the key; PT404, 22023';
