-- part: replay
CREATE OR REPLACE VIEW keystone.policies WITH (security_invoker = true) AS
	SELECT p.workspace_id, w.slug AS workspace, p.id, p.version, p.level, p.enforcement, p.document,
		   p.created_by, p.created_at, p.updated_by, p.updated_at
	FROM keystone_private.policies p
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) p.workspace_id
	WHERE p.dropped_at IS NULL;
COMMENT ON VIEW keystone.policies IS 'Policies that hold and that the caller may see: of workspaces, and of the whole database';

CREATE OR REPLACE VIEW keystone.policy_versions WITH (security_invoker = true) AS
	SELECT v.workspace_id, w.slug AS workspace, v.id, v.version, v.document, v.created_by, v.created_at
	FROM keystone_private.policy_versions v
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) v.workspace_id;
COMMENT ON VIEW keystone.policy_versions IS 'Every version that the policies which the caller may see ever had';
