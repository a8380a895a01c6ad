-- part: replay
-- Reading the audit log, and erasing details of it.  Each function checks for
-- itself who calls it.

CREATE OR REPLACE FUNCTION keystone_private.audit_decode(entry bytea, detail bytea,
	OUT at timestamptz, OUT workspace_id uuid, OUT actor text, OUT on_behalf_of text, OUT db_role text, OUT action text,
	OUT object uuid, OUT version bigint, OUT outcome text, OUT client_addr text, OUT claimed_addr text, OUT user_agent text,
	OUT application_name text, OUT workflow text, OUT node text, OUT run text, OUT request_id text, OUT reason text,
	OUT epoch int, OUT details jsonb) RETURNS record
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'ks_fn_audit_decode';
COMMENT ON FUNCTION keystone_private.audit_decode(bytea, bytea) IS 'What the bytes of an entry and its detail say; NULLs for bytes that are none';

-- For the policy of audit_entries: comparisons with what these return can use
-- an index, and with NULL find nothing at once.
CREATE OR REPLACE FUNCTION keystone_private.auditor_sees_from() RETURNS bigint
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_auditor_sees_from';
COMMENT ON FUNCTION keystone_private.auditor_sees_from() IS 'The least seq for the auditor profile, NULL for others';

CREATE OR REPLACE FUNCTION keystone_private.owner_sees_from() RETURNS bigint
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS $$SELECT CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE')) THEN 0::bigint END$$;
COMMENT ON FUNCTION keystone_private.owner_sees_from() IS 'The least seq for a role that owns a table, NULL for others';

CREATE OR REPLACE FUNCTION keystone_private.owned_relations() RETURNS SETOF text
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT format('%s:%s:%s', s.system_identifier, d.oid, c.oid) FROM pg_class c, pg_database d, pg_control_system() s
	WHERE d.datname = current_database() AND c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE')
	$$;
COMMENT ON FUNCTION keystone_private.owned_relations() IS 'Tables that the current role owns: cluster, database and oid, as entries have them';

CREATE OR REPLACE FUNCTION keystone.audit_verify(from_seq bigint DEFAULT NULL, to_seq bigint DEFAULT NULL,
	OUT ok boolean, OUT checked bigint, OUT first_bad bigint, OUT problem text, OUT verdict text) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_verify';
COMMENT ON FUNCTION keystone.audit_verify(bigint, bigint) IS 'Verifies the audit log against itself: verdict self-consistent, broken or empty, and the first entry that is wrong; auditor or admin profile, or audit in a workspace';

CREATE OR REPLACE FUNCTION keystone.audit_erase(seqs bigint[], basis text,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_erase';
COMMENT ON FUNCTION keystone.audit_erase(bigint[], text, uuid, text, jsonb) IS 'Removes details of entries of the audit log for good, and returns of how many; the entries stay; admin profile';

CREATE OR REPLACE FUNCTION keystone.audit_checkpoint() RETURNS keystone."text/plain"
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_checkpoint';
COMMENT ON FUNCTION keystone.audit_checkpoint() IS 'Makes a signed checkpoint of the audit log and returns it; auditor or admin profile, or audit in a workspace; 55000 when nothing is signed';

CREATE OR REPLACE FUNCTION keystone.audit_inclusion(seq bigint) RETURNS keystone."text/plain"
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_inclusion';
COMMENT ON FUNCTION keystone.audit_inclusion(bigint) IS 'Proof that an entry is in the audit log, with the checkpoint under which it stands; for whoever sees the entry';

CREATE OR REPLACE FUNCTION keystone.audit_consistency(old_size bigint, new_size bigint) RETURNS keystone."text/plain"
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_consistency';
COMMENT ON FUNCTION keystone.audit_consistency(bigint, bigint) IS 'Proof that the tree of the current epoch with new_size entries begins with that of old_size; auditor or admin profile, or audit in a workspace';

CREATE OR REPLACE FUNCTION keystone.audit_public_keys(
	OUT key_id text, OUT vkey text, OUT valid_from bigint, OUT valid_to bigint) RETURNS SETOF record
	LANGUAGE C STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_audit_public_keys';
COMMENT ON FUNCTION keystone.audit_public_keys() IS 'Keys that checkpoints were signed with, oldest first, and the entries from and to which each is valid';

CREATE OR REPLACE FUNCTION keystone.audit_export(format text DEFAULT 'jsonl', workspace text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, from_seq bigint DEFAULT NULL, to_seq bigint DEFAULT NULL) RETURNS SETOF text
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10000 AS 'MODULE_PATHNAME', 'ks_fn_audit_export';
COMMENT ON FUNCTION keystone.audit_export(text, text, timestamptz, timestamptz, bigint, bigint) IS 'The audit log as lines of JSON for an auditor, that of a workspace with proofs; auditor profile, or audit in the workspace';
