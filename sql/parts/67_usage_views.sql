-- part: replay
-- 70_views.sql has the comments of their columns.

CREATE OR REPLACE VIEW keystone.usage_summary WITH (security_invoker = true) AS
	SELECT w.slug AS workspace, e.workspace_id, e.principal_id, e.provider, e.workflow, e.day,
		   date_trunc('month', e.day::timestamp)::date AS month,
		   sum(e.quantity) AS operations, sum(e.cost_micros) AS cost_micros, count(*) AS events
	FROM (SELECT u.workspace_id, u.principal_id, u.provider, u.workflow, u.quantity, u.cost_micros,
				 (u.created_at AT TIME ZONE 'UTC')::date AS day
		  FROM keystone.usage_events u) e
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) e.workspace_id
	GROUP BY w.slug, e.workspace_id, e.principal_id, e.provider, e.workflow, e.day;
COMMENT ON VIEW keystone.usage_summary IS 'Usage and what it cost, by workspace, principal, provider, workflow and day';

-- What a budget has spent is counted as it is spent; where there is none, the
-- events of the month are summed up: once, which OFFSET is for.
CREATE OR REPLACE VIEW keystone.budget_status WITH (security_invoker = true) AS
	SELECT s.workspace, s.workspace_id, s.period, s.period_start, s.period_end, s.spent_micros, s.soft_micros, s.hard_micros,
		   greatest(least(round(s.spent_micros::numeric
								OPERATOR(pg_catalog.*) extract(epoch FROM s.period_end OPERATOR(pg_catalog.-) s.period_start)
								OPERATOR(pg_catalog./) greatest(extract(epoch FROM clock_timestamp() OPERATOR(pg_catalog.-) s.period_start), 1)),
						  9223372036854775807), -9223372036854775807)::bigint AS projected_micros,
		   CASE WHEN s.spent_micros OPERATOR(pg_catalog.>=) s.hard_micros THEN 'hard'
				WHEN s.spent_micros OPERATOR(pg_catalog.>=) s.soft_micros THEN 'soft'
				ELSE 'ok' END AS state
	FROM (SELECT w.slug AS workspace, w.id AS workspace_id, k.period, p.period_start, p.period_end, b.soft_micros, b.hard_micros,
				 coalesce((SELECT x.spent_micros FROM keystone.budget_spending x
						   WHERE x.workspace_id OPERATOR(pg_catalog.=) w.id AND x.period OPERATOR(pg_catalog.=) k.period
						   AND x.period_start OPERATOR(pg_catalog.=) p.period_start),
						  (SELECT least(greatest(coalesce(sum(e.cost_micros), 0), -9223372036854775807), 9223372036854775807)::bigint FROM keystone.usage_events e
						   WHERE e.workspace_id OPERATOR(pg_catalog.=) w.id AND e.created_at OPERATOR(pg_catalog.>=) p.period_start
						   AND e.created_at OPERATOR(pg_catalog.<) p.period_end)) AS spent_micros
		  FROM keystone.workspaces w
		  CROSS JOIN (VALUES ('day'), ('week'), ('month')) k (period)
		  CROSS JOIN LATERAL keystone_private.period_at(k.period, w.period_anchor, clock_timestamp()) p
		  LEFT JOIN keystone.budgets b ON b.workspace_id OPERATOR(pg_catalog.=) w.id AND b.period OPERATOR(pg_catalog.=) k.period
		  WHERE w.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		  AND (k.period OPERATOR(pg_catalog.=) 'month' OR b.soft_micros IS NOT NULL OR b.hard_micros IS NOT NULL)
		  OFFSET 0) s;
COMMENT ON VIEW keystone.budget_status IS 'What each workspace spends in the running month, and in the period of each budget, next to its budgets';

CREATE OR REPLACE VIEW keystone.alerts WITH (security_invoker = true) AS
	SELECT w.slug AS workspace, a.workspace_id, a.kind, a.subject, a.period_start, a.threshold, a.used, a.allowed, a.created_at
	FROM keystone_private.alerts a
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) a.workspace_id;
COMMENT ON VIEW keystone.alerts IS 'Thresholds of limits, quotas and budgets that were reached, each once in a period';

CREATE OR REPLACE VIEW keystone.metrics AS
	SELECT s.name, s.labels, s.value, s.kind, s.help FROM keystone_private.metric_samples() s;
COMMENT ON VIEW keystone.metrics IS 'Samples for Prometheus; keystone.metrics_text() has them as text';
