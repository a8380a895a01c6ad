-- part: replay
-- The vault's verbs.  A value enters and leaves as a bind parameter or result
-- of these C functions and nowhere else.

CREATE OR REPLACE FUNCTION keystone.store(workspace text, name text, value text, environment text DEFAULT 'default',
	provider text DEFAULT NULL, kind text DEFAULT NULL, personal boolean DEFAULT false, expires_at timestamptz DEFAULT NULL,
	description text DEFAULT NULL, tags text[] DEFAULT NULL, metadata jsonb DEFAULT NULL, expected_version int DEFAULT NULL,
	state text DEFAULT 'current', approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}',
	OUT credential uuid, OUT version int, OUT action text) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_store';
COMMENT ON FUNCTION keystone.store(text, text, text, text, text, text, boolean, timestamptz, text, text[], jsonb, int, text, uuid, text, jsonb) IS
	'Encrypts and stores a value under a name; action is created, rotated, or pending for a pending version of what is there; a new version keeps what is NULL; expected_version 0: must not exist; state pending waits for promote(); needs store, or view for one''s own personal credential; PT409, 23505, 22023, PT423';

CREATE OR REPLACE FUNCTION keystone.reveal(workspace text, name text, environment text DEFAULT 'default', version int DEFAULT NULL,
	field text DEFAULT NULL, owner uuid DEFAULT NULL, scope text DEFAULT 'any',
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_reveal';
COMMENT ON FUNCTION keystone.reveal(text, text, text, int, text, uuid, text, uuid, text, jsonb) IS
	'The value of a credential; scope own, shared or any (own first); version NULL is the current one; field of a JSON value; needs reveal, or view for one''s own personal credential; PT404, 42501, PT423, XX001';

CREATE OR REPLACE FUNCTION keystone.reveal_by_id(credential uuid, version int DEFAULT NULL, field text DEFAULT NULL,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_reveal_by_id';
COMMENT ON FUNCTION keystone.reveal_by_id(uuid, int, text, uuid, text, jsonb) IS 'As reveal(), by the credential''s id';

CREATE OR REPLACE FUNCTION keystone.reveal_many(credentials uuid[], reason text DEFAULT NULL, context jsonb DEFAULT '{}',
	OUT credential uuid, OUT name text, OUT version int, OUT value text, OUT problem text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100 AS 'MODULE_PATHNAME', 'ks_fn_reveal_many';
COMMENT ON FUNCTION keystone.reveal_many(uuid[], text, jsonb) IS 'Current values of up to 10,000 credentials, one row each in the order asked; what cannot be revealed has a NULL value and its SQLSTATE and message in problem';

CREATE OR REPLACE FUNCTION keystone.reveal_env(workspace text, environment text DEFAULT 'default', names text[] DEFAULT NULL,
	reason text DEFAULT NULL, context jsonb DEFAULT '{}',
	OUT credential uuid, OUT name text, OUT version int, OUT value text, OUT problem text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100 AS 'MODULE_PATHNAME', 'ks_fn_reveal_env';
COMMENT ON FUNCTION keystone.reveal_env(text, text, text[], text, jsonb) IS 'A whole environment, or the named part of it: own credentials before shared ones of the same name; a name that is not there has problem PT404';

CREATE OR REPLACE FUNCTION keystone.export_env(workspace text, environment text DEFAULT 'default', reason text DEFAULT NULL) RETURNS keystone."text/plain"
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 AS 'MODULE_PATHNAME', 'ks_fn_export_env';
COMMENT ON FUNCTION keystone.export_env(text, text, text) IS 'A whole environment as dotenv text; what cannot be revealed stands as a comment line with its SQLSTATE; needs reveal';

CREATE OR REPLACE FUNCTION keystone.import_env(workspace text, content text, environment text DEFAULT 'default',
	OUT name text, OUT action text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 20 AS 'MODULE_PATHNAME', 'ks_fn_import_env';
COMMENT ON FUNCTION keystone.import_env(text, text, text) IS 'Stores each entry of a dotenv text as a shared credential; action is created, rotated, skipped for an empty value or, for callers who may reveal, unchanged; all or nothing; needs store';

CREATE OR REPLACE FUNCTION keystone.resolve(workspace text, provider text, kind text DEFAULT NULL, environment text DEFAULT 'default',
	OUT credential uuid, OUT name text, OUT version int, OUT personal boolean, OUT mode text) RETURNS record
	LANGUAGE C STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_resolve';
COMMENT ON FUNCTION keystone.resolve(text, text, text, text) IS 'The credential that a caller would use for a provider: own before shared, then the one rotated last; no value; PT404 when there is none; needs view';

CREATE OR REPLACE FUNCTION keystone.credential_id(workspace text, name text, environment text DEFAULT 'default', personal boolean DEFAULT false) RETURNS uuid
	LANGUAGE C STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_credential_id';
COMMENT ON FUNCTION keystone.credential_id(text, text, text, boolean) IS 'Id of a shared credential, or of the caller''s own personal one; PT404 when there is none; needs view';

CREATE OR REPLACE FUNCTION keystone.rotate(credential uuid, value text, expected_version int DEFAULT NULL, dry_run boolean DEFAULT false,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}',
	OUT version int, OUT previous int) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rotate';
COMMENT ON FUNCTION keystone.rotate(uuid, text, int, boolean, uuid, text, jsonb) IS 'Stores a new current value; the old one stays as previous; dry_run checks everything and changes nothing; needs rotate; PT409 when expected_version is not the current one';

CREATE OR REPLACE FUNCTION keystone.promote(credential uuid, version int,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_promote';
COMMENT ON FUNCTION keystone.promote(uuid, int, uuid, text, jsonb) IS 'Makes a pending version the current one and returns its number; needs rotate';

CREATE OR REPLACE FUNCTION keystone.rollback_to(credential uuid, version int,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rollback_to';
COMMENT ON FUNCTION keystone.rollback_to(uuid, int, uuid, text, jsonb) IS 'Makes a new current version with the value of an earlier one and returns its number; needs rotate';

CREATE OR REPLACE FUNCTION keystone.rename(credential uuid, changes jsonb,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_rename';
COMMENT ON FUNCTION keystone.rename(uuid, jsonb, uuid, text, jsonb) IS 'Changes name, environment, provider or kind and seals every version again; needs store; 23505 when the new name is taken';

CREATE OR REPLACE FUNCTION keystone.update_metadata(credential uuid, changes jsonb) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_update_metadata';
COMMENT ON FUNCTION keystone.update_metadata(uuid, jsonb) IS 'Merge patch (RFC 7396) of description, tags, metadata, expires_at; a present null clears; needs store';

CREATE OR REPLACE FUNCTION keystone.set_active(credential uuid, active boolean) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_set_active';
COMMENT ON FUNCTION keystone.set_active(uuid, boolean) IS 'Switches a credential off (not revealed) or on; needs store; a personal one only its owner switches on, holders of workspace may switch it off';

CREATE OR REPLACE FUNCTION keystone.delete_credential(credential uuid, recovery interval DEFAULT '30 days',
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_delete_credential';
COMMENT ON FUNCTION keystone.delete_credential(uuid, interval, uuid, text, jsonb) IS 'Deletes a credential so that it can be restored for the recovery time; needs store, or workspace for somebody''s personal credential';

CREATE OR REPLACE FUNCTION keystone.restore_credential(credential uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_restore_credential';
COMMENT ON FUNCTION keystone.restore_credential(uuid) IS 'Takes back a deletion; 23505 when the name has been taken since; needs store, or to own a personal credential';

CREATE OR REPLACE FUNCTION keystone.destroy_credential(credential uuid,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_destroy_credential';
COMMENT ON FUNCTION keystone.destroy_credential(uuid, uuid, text, jsonb) IS 'Removes the ciphertext of all versions for good; needs workspace, or to own a personal credential';

CREATE OR REPLACE FUNCTION keystone.destroy_version(credential uuid, version int,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_destroy_version';
COMMENT ON FUNCTION keystone.destroy_version(uuid, int, uuid, text, jsonb) IS 'Removes the ciphertext of one version that is not the current one, for good; needs workspace, or to own a personal credential';

CREATE OR REPLACE FUNCTION keystone.mark_verified(credential uuid, ok boolean, version int DEFAULT NULL, detail text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_mark_verified';
COMMENT ON FUNCTION keystone.mark_verified(uuid, boolean, int, text) IS 'Records whether a version (NULL is the current one) worked when tried; needs rotate';

CREATE OR REPLACE FUNCTION keystone.verify_all(workspace text DEFAULT NULL,
	OUT credential uuid, OUT version int, OUT ok boolean, OUT problem text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000 AS 'MODULE_PATHNAME', 'ks_fn_verify_all';
COMMENT ON FUNCTION keystone.verify_all(text) IS 'Opens each version, shows none, and says which do not open and why; holders of audit or workspace, or the admin profile (NULL: all workspaces of the caller, or all for admin)';
