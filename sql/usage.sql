-- Usage of providers and what it costs, budgets, the views on both, metrics.
-- The alerts, which the housekeeper writes, are in test/tap/023_usage.pl.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text, profile text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_usage_' || name);
	PERFORM keystone.grant_access(('regress_keystone_usage_' || name)::name, profile);
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_usage_' || name)::name);
END $$;
CREATE FUNCTION pg_temp.try(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'ok';
EXCEPTION WHEN others THEN
	RETURN sqlstate;
END $$;
SELECT pg_temp.person('owner', 'worker') AS owner \gset
SELECT pg_temp.person('service', 'worker') AS service \gset
SELECT pg_temp.person('viewer', 'client') AS viewer \gset
SELECT pg_temp.person('stranger', 'worker') AS stranger \gset
CREATE ROLE regress_keystone_usage_dba;
SELECT keystone.grant_access('regress_keystone_usage_dba', 'admin');
CREATE ROLE regress_keystone_usage_monitor;
SELECT keystone.grant_access('regress_keystone_usage_monitor', 'monitor');
SET SESSION AUTHORIZATION regress_keystone_usage_dba;
SELECT keystone.provider_define('regress-usage', 'shared_key', cost_micros => 5);
SELECT keystone.provider_define('regress-usage-free', 'no_auth');
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT keystone.create_workspace('usage') AS ws \gset
SELECT keystone.create_workspace('usage-other') AS other \gset
SELECT keystone.add_member('usage', :'service', 'service'), keystone.add_member('usage', :'viewer', 'viewer');

-- what is recorded
SET SESSION AUTHORIZATION regress_keystone_usage_service;
SELECT keystone.usage_record('usage', 'regress-usage') AS first \gset
SELECT keystone.usage_record('usage', 'regress-usage', 10, context => '{"workflow": "invoices", "node": "n"}') AS ten \gset
SELECT keystone.usage_record(:'ws', 'regress-usage', 3, 1000, :'viewer') AS given \gset
SELECT keystone.usage_record('usage', 'regress-usage-free', 7) AS free \gset
SELECT provider, principal_id = :'service' AS mine, principal_id = :'viewer' AS viewers, quantity, cost_micros, workflow, context, idempotency_key,
	   created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS now
FROM keystone.usage_events WHERE workspace_id = :'ws' ORDER BY created_at;
-- a new price holds for what comes after it; a definition that keeps it adds none
SET SESSION AUTHORIZATION regress_keystone_usage_dba;
SELECT keystone.provider_define('regress-usage', 'shared_key', label => 'Regress', cost_micros => 5);
SELECT keystone.provider_define('regress-usage', 'shared_key', cost_micros => 7);
SET SESSION AUTHORIZATION regress_keystone_usage_service;
SELECT keystone.usage_record('usage', 'regress-usage', 2) AS seven \gset
SELECT cost_micros FROM keystone.usage_events WHERE id IN (:'ten', :'seven') ORDER BY created_at;
SET SESSION AUTHORIZATION regress_keystone_usage_dba;
SELECT keystone.provider_define('regress-usage', 'shared_key');
SET SESSION AUTHORIZATION regress_keystone_usage_service;
SELECT keystone.usage_record('usage', 'regress-usage', 2) AS none \gset
SELECT cost_micros FROM keystone.usage_events WHERE id = :'none';
RESET SESSION AUTHORIZATION;
SELECT cost_micros FROM keystone_private.provider_prices WHERE provider LIKE 'regress-usage%' ORDER BY valid_from;
SET SESSION AUTHORIZATION regress_keystone_usage_dba;
SELECT keystone.provider_define('regress-usage', 'shared_key', cost_micros => 7);

-- an idempotency key counts once, for each workspace and provider
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT keystone.usage_record('usage', 'regress-usage', 4, idempotency_key => 'k1') AS k1 \gset
SELECT keystone.usage_record('usage', 'regress-usage', 5, idempotency_key => 'k1') = :'k1' AS same;
SELECT keystone.usage_record('usage', 'regress-usage-free', 5, idempotency_key => 'k1') <> :'k1' AS another;
SELECT keystone.usage_record('usage-other', 'regress-usage', 5, idempotency_key => 'k1') <> :'k1' AS another;
SELECT count(*), sum(quantity) FROM keystone.usage_events WHERE idempotency_key = 'k1';
-- what is rolled back was not used, and its key is free
BEGIN;
SELECT count(keystone.usage_record('usage', 'regress-usage', 100, idempotency_key => 'k2'));
ROLLBACK;
SELECT count(*) FROM keystone.usage_events WHERE idempotency_key = 'k2';
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, idempotency_key => 'k2'));

-- corrections: they need billing, and name an event; by default they give back what that one cost
SELECT keystone.usage_record('usage', 'regress-usage', -6, context => jsonb_build_object('corrects', :'ten')) AS back \gset
SELECT quantity, cost_micros FROM keystone.usage_events WHERE id = :'back';
SELECT keystone.usage_record('usage', 'regress-usage', -1, -3, context => jsonb_build_object('corrects', :'ten'), idempotency_key => 'back2') AS back2 \gset
SELECT quantity, cost_micros FROM keystone.usage_events WHERE id = :'back2';
-- all together give back no more than there was, in quantity and cost; a key that comes again, and a rollback, take nothing
SELECT keystone.usage_record('usage', 'regress-usage', -4, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -4, 0, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -1, -18, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -11, 0, context => jsonb_build_object('corrects', :'first'));
SELECT keystone.usage_record('usage', 'regress-usage', -9223372036854775808, 0, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -1, -9223372036854775808, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -1, -3, context => jsonb_build_object('corrects', :'ten'), idempotency_key => 'back2') = :'back2' AS same;
BEGIN;
SELECT count(keystone.usage_record('usage', 'regress-usage', -3, -17, context => jsonb_build_object('corrects', :'ten')));
ROLLBACK;
SELECT count(keystone.usage_record('usage', 'regress-usage', -3, -17, context => jsonb_build_object('corrects', :'ten')));
SELECT keystone.usage_record('usage', 'regress-usage', -1, 0, context => jsonb_build_object('corrects', :'ten'));
-- a correction is not corrected
SELECT keystone.usage_record('usage', 'regress-usage', -1, 0, context => jsonb_build_object('corrects', :'back'));
SELECT keystone.usage_record('usage', 'regress-usage', -1);
SELECT keystone.usage_record('usage', 'regress-usage', -1, context => '{"corrects": 5}');
SELECT keystone.usage_record('usage', 'regress-usage', -1, context => '{"corrects": "that"}');
SELECT keystone.usage_record('usage', 'regress-usage', -1, context => jsonb_build_object('corrects', gen_random_uuid()));
SELECT keystone.usage_record('usage', 'regress-usage-free', -1, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage-other', 'regress-usage', -1, context => jsonb_build_object('corrects', :'ten'));
SELECT keystone.usage_record('usage', 'regress-usage', -1, 1, context => jsonb_build_object('corrects', :'ten'));
SET SESSION AUTHORIZATION regress_keystone_usage_service;
SELECT keystone.usage_record('usage', 'regress-usage', -1, context => jsonb_build_object('corrects', :'ten'));

-- I12: wrong arguments
SELECT keystone.usage_record('usage', 'regress-usage', 0);
SELECT keystone.usage_record('usage', 'regress-usage', 1, -1);
SELECT keystone.usage_record('usage', 'missing');
SELECT keystone.usage_record('usage', '');
SELECT keystone.usage_record('usage', 'regress-usage', NULL);
SELECT keystone.usage_record('usage', NULL);
SELECT keystone.usage_record(NULL, 'regress-usage');
SELECT keystone.usage_record('usage', 'regress-usage', context => NULL);
SELECT keystone.usage_record('usage', 'regress-usage', context => '[]');
SELECT keystone.usage_record('usage', 'regress-usage', context => jsonb_build_object('k', repeat('x', 5000)));
SELECT keystone.usage_record('usage', 'regress-usage', idempotency_key => '');
SELECT keystone.usage_record('usage', 'regress-usage', idempotency_key => repeat('k', 256));
SELECT keystone.usage_record('usage', 'regress-usage', 9223372036854775807);
\set VERBOSITY default
SELECT keystone.usage_record('usage', 'regress-usage', 1317624576693539402);
\set VERBOSITY sqlstate
-- who may: the worker profile, members with reveal or rotate in a usable workspace; on whose account: a member's
SELECT keystone.usage_record('usage', 'regress-usage', principal => :'stranger');
SELECT keystone.usage_record('usage', 'regress-usage', principal => gen_random_uuid());
SET SESSION AUTHORIZATION regress_keystone_usage_stranger;
SELECT keystone.usage_record('usage', 'regress-usage');
SELECT keystone.usage_record('missing', 'regress-usage');
-- each role, with the profile
RESET SESSION AUTHORIZATION;
SELECT pg_temp.person('role', 'worker') AS role \gset
CREATE TEMP TABLE roles (role text);
INSERT INTO roles VALUES ('admin'), ('operator'), ('viewer'), ('auditor'), ('service');
SELECT set_config('regress.role', :'role', false) IS NOT NULL AS set;
CREATE FUNCTION pg_temp.as_role(role text, extra text[], query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SET SESSION AUTHORIZATION regress_keystone_usage_owner;
	PERFORM keystone.add_member('usage', current_setting('regress.role')::uuid, role, extra);
	SET SESSION AUTHORIZATION regress_keystone_usage_role;
	result := pg_temp.try(query);
	SET SESSION AUTHORIZATION regress_keystone_usage_owner;
	PERFORM keystone.remove_member('usage', current_setting('regress.role')::uuid);
	RESET SESSION AUTHORIZATION;
	RETURN result;
END $$;
SELECT role, pg_temp.as_role(role, '{}', $$SELECT keystone.usage_record('usage', 'regress-usage-free', 1, 0)$$) AS record,
	   pg_temp.as_role(role, '{}', $$SELECT keystone.quota_consume('usage', 'rotations')$$) AS rotations,
	   pg_temp.as_role(role, '{}', $$SELECT keystone.quota_reserve('usage', 'rotations')$$) AS reserve,
	   pg_temp.as_role(role, '{}', $$SELECT keystone.quota_consume('usage', 'mails')$$) AS other
FROM roles;
SELECT pg_temp.as_role('viewer', '{rotate}', $$SELECT keystone.quota_consume('usage', 'rotations')$$) AS with_rotate,
	   pg_temp.as_role('viewer', '{store}', $$SELECT keystone.usage_record('usage', 'regress-usage-free', 1, 0)$$) AS with_store;
-- who may not use ends no reservation
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT r.reservation AS rotations, m.reservation AS mails FROM keystone.quota_reserve('usage', 'rotations') r, keystone.quota_reserve('usage', 'mails') m \gset
RESET SESSION AUTHORIZATION;
SELECT role, pg_temp.as_role(role, '{}', format('SELECT keystone.quota_commit(%L)', :'rotations')) AS commit,
	   pg_temp.as_role(role, '{}', format('SELECT keystone.quota_release(%L)', :'mails')) AS release
FROM roles WHERE role IN ('viewer', 'service', 'operator');
SET SESSION AUTHORIZATION regress_keystone_usage_viewer;
SELECT keystone.usage_record('usage', 'regress-usage');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA keystone TO regress_keystone_usage_viewer;
SET SESSION AUTHORIZATION regress_keystone_usage_viewer;
SELECT keystone.usage_record('usage', 'regress-usage');
SELECT keystone.metrics_text();
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON ROUTINE keystone.usage_record, keystone.metrics_text FROM regress_keystone_usage_viewer;
-- read only
SET SESSION AUTHORIZATION regress_keystone_usage_service;
BEGIN READ ONLY;
SELECT keystone.usage_record('usage', 'regress-usage');
ROLLBACK;
-- events are only added, whoever it is and however it is tried
RESET SESSION AUTHORIZATION;
UPDATE keystone.usage_events SET cost_micros = 0 WHERE id = :'ten';
DELETE FROM keystone.usage_events WHERE id = :'ten';
SET session_replication_role = replica;
UPDATE keystone.usage_events SET cost_micros = 0 WHERE id = :'ten';
DELETE FROM keystone.usage_events WHERE id = :'ten';
RESET session_replication_role;
TRUNCATE keystone.usage_events;

-- the summary
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT workspace, CASE principal_id WHEN :'owner' THEN 'owner' WHEN :'service' THEN 'service' WHEN :'viewer' THEN 'viewer' END AS principal, provider, workflow,
	   sum(operations) AS operations, sum(cost_micros) AS cost_micros, sum(events) AS events
FROM keystone.usage_summary GROUP BY 1, 2, 3, 4 ORDER BY workspace, principal, provider, workflow;
SELECT count(*) FROM keystone.usage_summary WHERE day NOT BETWEEN (now() AT TIME ZONE 'UTC')::date - 1 AND (now() AT TIME ZONE 'UTC')::date OR month <> date_trunc('month', day)::date;
SELECT sum(s.cost_micros) = (SELECT sum(e.cost_micros) FROM keystone.usage_events e WHERE e.workspace_id = :'ws') AS equal
FROM keystone.usage_summary s WHERE s.workspace = 'usage';
-- others see their own workspaces
SET SESSION AUTHORIZATION regress_keystone_usage_viewer;
SELECT DISTINCT workspace FROM keystone.usage_summary;
SET SESSION AUTHORIZATION regress_keystone_usage_stranger;
SELECT count(*) FROM keystone.usage_summary;
SELECT count(*) FROM keystone.usage_events;
-- by the index on workspace and time, when there are more
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.indexes(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'usage_events' THEN
			RETURN NEXT substring(line FROM 'usage_events_\w+');
		END IF;
	END LOOP;
END $$;
BEGIN;
INSERT INTO keystone.usage_events (workspace_id, id, provider, quantity, cost_micros, created_at)
SELECT :'ws', gen_random_uuid(), 'regress-usage', 1, 1, now() - i * interval '1 minute' FROM generate_series(1, 20000) i;
SET LOCAL SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT DISTINCT * FROM pg_temp.indexes('SELECT * FROM keystone.usage_summary') i WHERE i IS NOT NULL;
SELECT DISTINCT * FROM pg_temp.indexes('SELECT * FROM keystone.usage_summary WHERE workspace = ''usage''') i WHERE i IS NOT NULL;
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_usage_owner;

-- budgets: what the running period has spent already counts
SELECT keystone.budget_set('usage', 1000, 1500);
SELECT workspace, period, period_end > now() AS runs, spent_micros, soft_micros, hard_micros, projected_micros > spent_micros AS projected, state
FROM keystone.budget_status ORDER BY workspace, period;
SELECT sum(cost_micros) FROM keystone.usage_events WHERE workspace_id = :'ws';
SELECT keystone.budget_set('usage', NULL, 2000, 'day'), keystone.budget_set('usage', 10, NULL, 'week');
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, 100));
SELECT period, spent_micros, soft_micros, hard_micros, state FROM keystone.budget_status WHERE workspace = 'usage' ORDER BY period;
-- what is projected for the end is what is spent, times the whole period by what has passed of it, at
-- least a second
SELECT b.period, b.projected_micros BETWEEN floor(b.spent_micros * extract(epoch FROM b.period_end - b.period_start) / greatest(extract(epoch FROM clock_timestamp() - b.period_start), 1))
	AND ceil(b.spent_micros * extract(epoch FROM b.period_end - b.period_start) / greatest(extract(epoch FROM t.before - b.period_start), 1)) AS projected
FROM (SELECT clock_timestamp() AS before OFFSET 0) t CROSS JOIN LATERAL (SELECT s.* FROM keystone.budget_status s WHERE s.workspace = 'usage' AND t.before IS NOT NULL OFFSET 0) b ORDER BY b.period;
-- beyond a hard one nothing is recorded, in none of them; up to it is
SELECT 1500 - spent_micros AS left FROM keystone.budget_status WHERE workspace = 'usage' AND period = 'month' \gset
SELECT keystone.usage_record('usage', 'regress-usage', 1, :left + 1);
SELECT keystone.usage_record('usage', 'regress-usage', 1, :left) AS filler \gset
SELECT keystone.usage_record('usage', 'regress-usage', 1, 1, idempotency_key => 'beyond');
SELECT count(*) FROM keystone.usage_events WHERE idempotency_key = 'beyond';
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, 0));
SELECT keystone.usage_record('usage', 'regress-usage', 4, 0, idempotency_key => 'k1') = :'k1' AS same;
SELECT period, spent_micros, state FROM keystone.budget_status WHERE workspace = 'usage' ORDER BY period;
CREATE FUNCTION pg_temp.refusal(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE query;
	RETURN NULL;
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN detail::jsonb || jsonb_build_object('message', message, 'sqlstate', sqlstate);
END $$;
SELECT d - 'reset_at' - 'retry_after' AS detail, (d ->> 'reset_at')::timestamptz = b.period_end AS reset, (d ->> 'retry_after')::int > 0 AS retry
FROM pg_temp.refusal($$SELECT keystone.usage_record('usage', 'regress-usage', 1, 1)$$) d, keystone.budget_status b WHERE b.workspace = 'usage' AND b.period = 'month';
SELECT d ->> 'limit_value' AS hard, d ->> 'remaining' AS remaining, d -> 'retry_after' AS retry
FROM pg_temp.refusal($$SELECT keystone.usage_record('usage', 'regress-usage', 1, 2001)$$) d;
-- a correction makes room, whatever was spent
SELECT count(keystone.usage_record('usage', 'regress-usage', -1, -50, context => jsonb_build_object('corrects', :'filler')));
SELECT keystone.usage_record('usage', 'regress-usage', 1, 50) AS fifty \gset
-- a rollback undoes both
BEGIN;
SELECT count(keystone.usage_record('usage', 'regress-usage', -1, -50, context => jsonb_build_object('corrects', :'fifty')));
SAVEPOINT s;
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, 20));
ROLLBACK TO s;
SELECT spent_micros FROM keystone.budget_status WHERE workspace = 'usage' AND period = 'month';
ROLLBACK;
SELECT b.period, b.spent_micros = (SELECT sum(e.cost_micros) FROM keystone.usage_events e WHERE e.workspace_id = b.workspace_id) AS equal
FROM keystone.budget_status b WHERE workspace = 'usage' ORDER BY period;
-- another hard one holds at once; NULLs clear
SELECT keystone.budget_set('usage', 1500, 1600);
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, 1));
SELECT keystone.budget_set('usage', NULL, NULL), keystone.budget_set('usage', NULL, NULL, 'day'), keystone.budget_set('usage', NULL, NULL, 'week');
SELECT count(keystone.usage_record('usage', 'regress-usage', 1, 10000));
SELECT period, soft_micros, hard_micros, state FROM keystone.budget_status WHERE workspace = 'usage' ORDER BY period;
SELECT keystone.budget_set('usage-other', NULL, NULL, 'week');
SELECT period FROM keystone.budgets WHERE workspace_id = :'other';
-- what was spent while it was cleared counts when it is set again
SELECT keystone.budget_set('usage', NULL, 100000);
SELECT b.spent_micros = (SELECT sum(e.cost_micros) FROM keystone.usage_events e WHERE e.workspace_id = b.workspace_id) AS equal FROM keystone.budget_status b
WHERE workspace = 'usage' AND period = 'month';
-- a sum that leaves the range
SELECT keystone.budget_set('usage-other', 1, NULL);
SELECT count(keystone.usage_record('usage-other', 'regress-usage', 1, 9223372036854775000));
\set VERBOSITY default
SELECT keystone.usage_record('usage-other', 'regress-usage', 1, 1000);
\set VERBOSITY sqlstate
SELECT projected_micros FROM keystone.budget_status WHERE workspace = 'usage-other' AND period = 'month';
-- nor does one keep a budget from being set
SELECT count(keystone.create_workspace('usage-vast'));
SELECT spent_micros, projected_micros, state FROM keystone.budget_status WHERE workspace = 'usage-vast';
SELECT count(keystone.usage_record('usage-vast', 'regress-usage', 1, 9223372036854775807)),
	   count(keystone.usage_record('usage-vast', 'regress-usage', 1, 9223372036854775807));
SELECT keystone.budget_set('usage-vast', NULL, 1000);
SELECT spent_micros, state FROM keystone.budget_status WHERE workspace = 'usage-vast';
SELECT keystone.usage_record('usage-vast', 'regress-usage', 1, 1);
-- I12
SELECT keystone.budget_set('usage', 2, 1);
SELECT keystone.budget_set('usage', -1, 1);
SELECT keystone.budget_set('usage', 1, -1);
SELECT keystone.budget_set('usage', 1, 1, 'year');
SELECT keystone.budget_set('usage', 1, 1, NULL);
SELECT keystone.budget_set(NULL, 1, 1);
SELECT keystone.budget_set('missing', 1, 1);
-- who may
SET SESSION AUTHORIZATION regress_keystone_usage_service;
SELECT keystone.budget_set('usage', 1, 1);
SELECT workspace, hard_micros FROM keystone.budget_status;
SET SESSION AUTHORIZATION regress_keystone_usage_stranger;
SELECT keystone.budget_set('usage', 1, 1);
SELECT count(*) FROM keystone.budget_status;
SELECT count(*) FROM keystone.budgets;
SELECT count(*) FROM keystone.budget_spending;
-- an API key within its providers
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT api_key FROM keystone.create_api_key('usage', 'limited', 'service', environments => '{prod}', providers => '{regress-usage-free}') \gset
BEGIN;
SELECT keystone.authenticate(:'api_key') IS NOT NULL AS known;
SELECT count(keystone.usage_record('usage', 'regress-usage-free'));
SELECT DISTINCT provider FROM keystone.usage_summary;
SELECT keystone.usage_record('usage', 'regress-usage');
ROLLBACK;
-- a suspended workspace
SELECT keystone.update_workspace('usage', '{"status": "suspended"}');
SELECT keystone.usage_record('usage', 'regress-usage');
SELECT keystone.budget_set('usage', 1, 1);
SELECT keystone.update_workspace('usage', '{"status": "active"}');

-- the log: budgets, and refusals; an event of usage is its own record
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT action, outcome, detail ->> 'period' AS period, detail ->> 'soft_micros' AS soft, detail ->> 'hard_micros' AS hard, detail ->> 'changed' AS changed
FROM keystone.audit_log WHERE workspace = 'usage' AND action = 'budget.set' AND outcome = 'ok' ORDER BY seq;
SELECT action, outcome, detail ->> 'limit' AS "limit", detail ->> 'window' AS window, count(*)
FROM keystone.audit_log WHERE workspace = 'usage' AND action IN ('usage.record', 'budget.set') AND outcome <> 'ok' AND detail ->> 'sqlstate' = 'PT429'
GROUP BY 1, 2, 3, 4;
SELECT count(*) FROM keystone.audit_log WHERE action = 'usage.record' AND outcome = 'ok';

-- metrics
SELECT count(keystone.store('usage', 'n', 'v'));
SELECT count(keystone.rotate(keystone.credential_id('usage', 'n'), 'w'));
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT count(*) FROM keystone.metrics;
SELECT keystone.metrics_text();
SET SESSION AUTHORIZATION regress_keystone_usage_monitor;
SELECT name, string_agg(DISTINCT k, ' ') AS labels, kind FROM keystone.metrics LEFT JOIN LATERAL jsonb_object_keys(labels) k ON true GROUP BY name, kind ORDER BY name COLLATE "C";
SELECT count(*) FROM keystone.metrics WHERE help = '' OR value IS NULL OR value < 0;
SELECT value > 0 AS some FROM keystone.metrics WHERE name IN ('keystone_credentials', 'keystone_audit_entries_total', 'keystone_active_principals') ORDER BY name;
SELECT value > 10000 AS some FROM keystone.metrics WHERE name = 'keystone_usage_cost_micros_total' AND labels = '{"provider": "regress-usage"}';
SELECT value FROM keystone.metrics WHERE name IN ('keystone_usage_corrected_micros_total', 'keystone_usage_operations_total') AND labels = '{"provider": "regress-usage"}' ORDER BY name;
-- a reveal and a denial are counted, and timed
CREATE FUNCTION pg_temp.metric(text, text DEFAULT '{}') RETURNS double precision LANGUAGE sql AS
	'SELECT value FROM keystone.metrics WHERE name = $1 AND labels = $2::jsonb';
SELECT pg_temp.metric('keystone_reveals_total') AS reveals, pg_temp.metric('keystone_reveal_duration_seconds_count') AS calls,
	   pg_temp.metric('keystone_denials_total', '{"sqlstate": "PT404"}') AS denials \gset
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT keystone.reveal('usage', 'n');
SELECT count(*) FROM keystone.reveal_many(ARRAY[keystone.credential_id('usage', 'n'), keystone.credential_id('usage', 'n')]);
SELECT keystone.reveal('usage', 'missing');
SET SESSION AUTHORIZATION regress_keystone_usage_monitor;
SELECT pg_temp.metric('keystone_reveals_total') - :reveals AS reveals, pg_temp.metric('keystone_reveal_duration_seconds_count') - :calls AS calls,
	   pg_temp.metric('keystone_denials_total', '{"sqlstate": "PT404"}') - :denials AS denials;
SELECT pg_temp.metric('keystone_reveal_duration_seconds_sum') > 0 AS sum, pg_temp.metric('keystone_reveal_duration_seconds_bucket', '{"le": "+Inf"}') =
	   pg_temp.metric('keystone_reveal_duration_seconds_count') AS count;
SELECT bool_and(value >= before) AS ascend FROM (SELECT value, lag(value) OVER (ORDER BY replace(labels ->> 'le', '+Inf', 'Infinity')::float8) AS before
	FROM keystone.metrics WHERE name = 'keystone_reveal_duration_seconds_bucket') b;
-- attempts that a limit allows and refuses, in all windows or none
SELECT pg_temp.metric('keystone_limit_hits_total') AS hits, pg_temp.metric('keystone_limit_allowed_total') AS allowed \gset
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT count(*) FILTER (WHERE r.allowed) AS allowed, count(*) FILTER (WHERE NOT r.allowed) AS refused FROM generate_series(1, 7) i, keystone.rate_limit('metrics' || left(i::text, 0), '3/hour, 100/day') r;
SET SESSION AUTHORIZATION regress_keystone_usage_monitor;
SELECT pg_temp.metric('keystone_limit_hits_total') - :hits >= 4 AS hits, pg_temp.metric('keystone_limit_allowed_total') - :allowed >= 3 AS allowed,
	   pg_temp.metric('keystone_limit_hits_total') - :hits < 7 AS not_all;
-- callers name meters: all but the one that plans know are one label
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT count(*) FROM generate_series(1, 3) i, keystone.quota_consume('usage', 'regress meter ' || i);
SET SESSION AUTHORIZATION regress_keystone_usage_monitor;
SELECT DISTINCT labels ->> 'meter' AS meter FROM keystone.metrics WHERE name = 'keystone_quota_used' AND labels ->> 'meter' <> 'rotations';
-- as text: one HELP and TYPE for each name, and the label's value escaped
SET SESSION AUTHORIZATION regress_keystone_usage_dba;
SELECT keystone.provider_define(E'regress-usage "\\', 'oauth', cost_micros => 1);
SET SESSION AUTHORIZATION regress_keystone_usage_owner;
SELECT count(keystone.usage_record('usage', E'regress-usage "\\'));
SET SESSION AUTHORIZATION regress_keystone_usage_monitor;
SELECT line FROM regexp_split_to_table(keystone.metrics_text(), '\n') line WHERE line ~ 'keystone_usage_operations_total.*"\\' OR line ~ '^# .*_(duration_seconds|sealed) ';
SELECT right(keystone.metrics_text(), 1) = E'\n' AS ends, count(*) = count(DISTINCT line) AS once
FROM regexp_split_to_table(keystone.metrics_text(), '\n') line WHERE line LIKE '# TYPE %';
RESET SESSION AUTHORIZATION;

DROP FUNCTION pg_temp.indexes, pg_temp.refusal, pg_temp.metric;
DELETE FROM keystone_private.provider_definitions WHERE name LIKE 'regress-usage%';
SELECT count(keystone.revoke_access(('regress_keystone_usage_' || r)::name, p)) AS revoked
FROM (VALUES ('owner', 'worker'), ('service', 'worker'), ('stranger', 'worker'), ('role', 'worker'), ('viewer', 'client'), ('dba', 'admin'), ('monitor', 'monitor')) v (r, p);
DROP OWNED BY regress_keystone_usage_viewer;
DROP ROLE regress_keystone_usage_owner, regress_keystone_usage_service, regress_keystone_usage_stranger, regress_keystone_usage_viewer, regress_keystone_usage_dba,
	regress_keystone_usage_monitor, regress_keystone_usage_role;
