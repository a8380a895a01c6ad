-- part: replay
CREATE OR REPLACE FUNCTION keystone.audit_reconcile(workspace text DEFAULT NULL,
	OUT credential uuid, OUT problem text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_audit_reconcile';
COMMENT ON FUNCTION keystone.audit_reconcile(text) IS 'Rows that differ from what the audit log says of them, of a workspace or all; auditor or admin profile, or audit in the workspace';
