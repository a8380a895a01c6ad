-- part: replay
CREATE OR REPLACE VIEW keystone.api_keys WITH (security_invoker = true) AS
	SELECT k.id, k.workspace_id, w.slug AS workspace, k.name, k.prefix, k.role, k.environments, k.providers,
		   k.created_by, k.created_at, k.expires_at, k.revoked_at, u.last_used_at
	FROM keystone_private.api_keys k
	JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) k.workspace_id
	LEFT JOIN keystone_private.principal_usage u ON u.principal_id OPERATOR(pg_catalog.=) k.id;
COMMENT ON VIEW keystone.api_keys IS 'API keys that the caller may see, without their secrets';
