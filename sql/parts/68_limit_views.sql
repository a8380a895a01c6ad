-- part: replay
CREATE OR REPLACE VIEW keystone.limits WITH (security_invoker = true) AS
	SELECT l.workspace_id, w.slug AS workspace, l.name, l.windows,
		   pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
			   'algorithm', l.algorithm,
			   'timezone', CASE WHEN l.algorithm OPERATOR(pg_catalog.=) 'calendar' THEN l.timezone END,
			   'class', l.class, 'shadow', l.shadow, 'near', l.near_percent, 'refund', l.refundable,
			   'enforce', CASE WHEN l.enforce_action IS NOT NULL
						  THEN pg_catalog.jsonb_build_object('action', l.enforce_action, 'provider', l.enforce_provider) END,
			   'key', CASE WHEN l.enforce_action IS NOT NULL THEN pg_catalog.string_to_array(l.key_by, ',') END)) AS options,
		   l.created_by, l.created_at, l.updated_at
	FROM keystone_private.limits l
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) l.workspace_id
	WHERE l.dropped_at IS NULL;
COMMENT ON VIEW keystone.limits IS 'Limits that the caller may see: of workspaces, and of the whole database';

CREATE OR REPLACE VIEW keystone.limit_stats AS
	SELECT s.entries, s.capacity, s.in_database, s.blocked, s.allowed, s.denied, s.overflowed, s.dirty
	FROM keystone_private.limit_stats() s;
COMMENT ON VIEW keystone.limit_stats IS 'How full the table of counters is, and what it answered';
