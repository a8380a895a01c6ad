-- Read by tests with \ir after access.sql: what limits, quotas and budgets show.
--
-- ks_agent and ks_foreman are workers, and admins of acme and globex.  Each
-- workspace has a limit, used and reserved quota, a budget, usage and an alert.
\o /dev/null
CREATE ROLE ks_agent LOGIN;			-- profile worker, an admin of acme
CREATE ROLE ks_foreman LOGIN;		-- profile worker, an admin of globex
SELECT keystone.grant_access(r, 'worker'), keystone.register_principal(r, db_role => r::name) FROM unnest(ARRAY['ks_agent', 'ks_foreman']) r;
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'acme', pg_temp.principal('ks_agent'), 'admin'));
SELECT pg_temp.do_as('ks_stranger', format('SELECT keystone.add_member(%L, %L, %L)', 'globex', pg_temp.principal('ks_foreman'), 'admin'));
SELECT pg_temp.do_as('ks_dba', $$SELECT keystone.limit_define('everyones-limit', '1000000/hour')$$);
SELECT pg_temp.do_as('ks_dba', $$SELECT keystone.policy_put(NULL, '{"apiVersion": "keystone.policy/v1", "id": "everyones-policy", "scope": {"level": "system"}, "rules": []}')$$);
SELECT pg_temp.do_as(a.who, format('SELECT keystone.policy_put(%L, %L)', a.workspace,
	'{"apiVersion": "keystone.policy/v1", "id": "the-policy", "scope": {"level": "workspace"}, "rules": []}'))
FROM (VALUES ('ks_owner', 'acme'), ('ks_stranger', 'globex')) a (who, workspace);
SELECT pg_temp.do_as(a.owner, format('SELECT keystone.budget_set(%L, 1000000000, 2000000000)', a.workspace)),
	   pg_temp.do_as(a.worker, format('SELECT keystone.limit_define(%L, %L, %L, %L)', 'the-limit', '1000000/hour', a.workspace, '{"refund": true}')),
	   pg_temp.do_as(a.worker, format('SELECT keystone.quota_consume(%L, %L)', a.workspace, 'rotations')),
	   pg_temp.do_as(a.worker, format('SELECT keystone.quota_reserve(%L, %L)', a.workspace, 'rotations')),
	   pg_temp.do_as(a.worker, format('SELECT keystone.usage_record(%L, %L, cost_micros => 7, context => %L)', a.workspace, 'openai', '{"workflow": "nightly"}'))
FROM (VALUES ('acme', 'ks_owner', 'ks_agent'), ('globex', 'ks_stranger', 'ks_foreman')) a (workspace, owner, worker);
SELECT pg_temp.do_as('ks_agent', $$SELECT keystone.usage_record('acme', 'cohere', cost_micros => 7)$$);
INSERT INTO keystone_private.alerts (workspace_id, kind, subject, period_start, threshold, used, allowed, created_at)
SELECT w.id, 'limit', 'the-limit hour', '2001-02-03', 80, 8, 10, '2001-02-03' FROM keystone.workspaces w WHERE w.slug IN ('acme', 'globex')
UNION ALL VALUES ('00000000-0000-0000-0000-000000000000'::uuid, 'limit', 'everyones-limit hour', '2001-02-03'::timestamptz, 80, 8, 10, '2001-02-03'::timestamptz);
CREATE TEMP TABLE refunds AS
SELECT pg_temp.do_as('ks_agent', $$SELECT token FROM keystone.limit_consume('the-limit', 'refunded', workspace => 'acme')$$) AS token;
-- Each has a request for approval, and a vote on it, of what is nowhere.
SELECT pg_temp.do_as(a.owner, format('SELECT keystone.policy_put(%L, %L)', a.workspace,
	'{"apiVersion": "keystone.policy/v1", "id": "the-approval", "scope": {"level": "workspace"}, "rules": [{"id": "r", "effect": "oblige",
	  "match": {"actions": ["store"], "env": ["nowhere"]}, "obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 1}]}]}]}'))
FROM (VALUES ('acme', 'ks_owner'), ('globex', 'ks_stranger')) a (workspace, owner);
CREATE TEMP TABLE approvals AS
SELECT a.voter, pg_temp.do_as(a.asker, format('SELECT keystone.request_approval(%L, %L, %L)', a.workspace, 'store',
	'{"environment": "nowhere", "name": "nothing"}')) AS request
FROM (VALUES ('acme', 'ks_admin', 'ks_owner'), ('globex', 'ks_stranger', 'ks_foreman')) a (workspace, asker, voter);
SELECT pg_temp.do_as(voter, format('SELECT keystone.approve(%L)', request)) FROM approvals;
\o
