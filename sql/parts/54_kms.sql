-- part: replay
-- Keys that customers hold in a key management service of their own.

CREATE OR REPLACE FUNCTION keystone.set_workspace_kms(workspace text, key_uri text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_set_workspace_kms';
COMMENT ON FUNCTION keystone.set_workspace_kms(text, text) IS
	'Has the customer''s key wrap every version of the workspace''s key, or wrap it anew; owners only; needs the plan''s feature customer_keys; values are not encrypted again; PT423 when the key management service does not answer, 40001, PT404, 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.clear_workspace_kms(workspace text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_clear_workspace_kms';
COMMENT ON FUNCTION keystone.clear_workspace_kms(text) IS
	'Back to keys that only the root key wraps, for which the key management service is needed once more; owners only; PT423, 40001, PT404, 42501';

CREATE OR REPLACE FUNCTION keystone_private.kms_states(
	OUT workspace_id uuid, OUT key_uri text, OUT keys bigint, OUT state text, OUT failures int, OUT last_success_at timestamptz,
	OUT last_failure_at timestamptz, OUT last_problem text, OUT retry_at timestamptz, OUT cached_until timestamptz) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_kms_states';
COMMENT ON FUNCTION keystone_private.kms_states() IS
	'Customers'' keys and what became of the last calls to them; holders of workspace see their own, the profiles admin and monitor all';

CREATE OR REPLACE VIEW keystone.kms_status WITH (security_invoker = true) AS
	SELECT w.slug AS workspace, s.workspace_id, s.key_uri, s.keys, s.state, s.failures, s.last_success_at, s.last_failure_at,
		   s.last_problem, s.retry_at, s.cached_until
	FROM keystone_private.kms_states() s
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) s.workspace_id;
COMMENT ON VIEW keystone.kms_status IS 'Workspaces with a customer''s key, and whether it is available';
