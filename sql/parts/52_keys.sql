-- part: replay
-- Replacing and destroying keys.

CREATE OR REPLACE FUNCTION keystone.rotate_workspace_key(workspace text, approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rotate_workspace_key';
COMMENT ON FUNCTION keystone.rotate_workspace_key(text, uuid, text, jsonb) IS 'Makes the next version of a workspace''s key, which encrypts from now on, and returns its number; what older ones have encrypted still opens; needs workspace';

CREATE OR REPLACE FUNCTION keystone.reencrypt(workspace text, batch int DEFAULT 1000) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_reencrypt';
COMMENT ON FUNCTION keystone.reencrypt(text, int) IS 'Encrypts at most so many values of a workspace again under the newest key, and returns how many it were: 0 when nothing is left that can be; needs workspace, or the admin profile';

CREATE OR REPLACE PROCEDURE keystone.reencrypt_all(workspace text DEFAULT NULL, batch int DEFAULT 1000)
	LANGUAGE C AS 'MODULE_PATHNAME', 'ks_fn_reencrypt_all';
COMMENT ON PROCEDURE keystone.reencrypt_all(text, int) IS 'Encrypts all values of a workspace again under its newest key, those of all workspaces for NULL, each in a transaction of its own; needs workspace, or the admin profile';

CREATE OR REPLACE FUNCTION keystone.rotate_root_key() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rotate_root_key';
COMMENT ON FUNCTION keystone.rotate_root_key() IS 'Wraps each key that another root key wraps under the first of the keyring, and returns how many it were; the former wrap stays while the keyring has its root key; admin profile';

CREATE OR REPLACE FUNCTION keystone.shred_workspace(workspace text, confirm text, approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_shred_workspace';
COMMENT ON FUNCTION keystone.shred_workspace(text, text, uuid, text, jsonb) IS 'Destroys all keys of a workspace: nothing of it can be opened ever after (PT423); only for an owner, who repeats the slug';

CREATE OR REPLACE FUNCTION keystone_private.key_progress(
	OUT workspace_id uuid, OUT workspace text, OUT key_version int, OUT key_versions bigint, OUT key_created_at timestamptz,
	OUT encryptions bigint, OUT oldest_in_use bigint, OUT values_total bigint, OUT values_current bigint,
	OUT values_pending bigint, OUT values_failed bigint) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'ks_fn_key_progress';
COMMENT ON FUNCTION keystone_private.key_progress() IS 'The keys of each workspace, and how far its values are encrypted by the newest: of workspaces in which the caller holds workspace, of all for the admin and monitor profiles';
