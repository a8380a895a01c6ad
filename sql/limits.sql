-- Limits: rate_limit(), limit_define(), limit_drop(), limit_consume(), limit_require(), limit_peek(),
-- limit_consume_many(), limit_refund(), limit_block(), limit_unblock(), limit_headers(), their views.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
CREATE FUNCTION pg_temp.person(name text, profile text, kind text DEFAULT 'user') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_limits_' || name);
	PERFORM keystone.grant_access(('regress_keystone_limits_' || name)::name, profile);
	RETURN keystone.register_principal('Limits ' || name, kind, db_role => ('regress_keystone_limits_' || name)::name);
END $$;
SELECT pg_temp.person('owner', 'worker') AS owner, pg_temp.person('viewer', 'worker') AS viewer,
	   pg_temp.person('service', 'worker', 'service') AS service, pg_temp.person('other', 'worker') AS other,
	   pg_temp.person('client', 'client') AS client, pg_temp.person('monitor', 'monitor') AS monitor,
	   pg_temp.person('auditor', 'worker') AS auditor \gset
CREATE ROLE regress_keystone_limits_nobody;
SELECT keystone.grant_access('regress_keystone_limits_nobody', 'worker');
-- what a limit answers, without times
CREATE FUNCTION pg_temp.shown(r keystone.limit_result) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN r.allowed THEN 'allowed' ELSE 'refused' END, r.limit_name, r.window_name, r.remaining || '/' || r.limit_value,
		CASE WHEN r.near THEN 'near' END, CASE WHEN r.token IS NOT NULL THEN 'token' END,
		CASE WHEN r.retry_after IS NOT NULL THEN 'retry' END) $$;
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT count(keystone.create_workspace('limits-b'));
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.create_workspace('limits-a') AS ws \gset
SELECT count(keystone.add_member('limits-a', p, r))
FROM (VALUES (:'viewer'::uuid, 'viewer'), (:'service', 'service'), (:'client', 'admin'), (:'auditor', 'auditor')) m (p, r);

-- Windows: up to 8, blanks are free, units and intervals
SELECT keystone.rate_limit(w, w)::text LIKE '(t,rate_limit,%' AS ok
FROM unnest(ARRAY['1/second', ' 10 / minute ', '10/HOUR,100/day', '1/week', '4000000000/month', '5/90 seconds', '5/15 minutes, 6/1 day 02:00',
	'1/second,2/minute,3/hour,4/day,5/week,6/month,7/2 days,8/3 days']) w;
CREATE FUNCTION pg_temp.refusal(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END $$;
SELECT w, pg_temp.refusal(format('SELECT keystone.rate_limit(''w'', %L)', w)) AS refusal
FROM unnest(ARRAY['', '10', '/hour', '10/', '0/hour', '-1/hour', '4000000001/hour', '1e3/hour', '10/fortnight', '10/1 month', '10/1 year', '10/0.5 seconds',
	'10/-1 hour', '10/367 days', '10/infinity', '10/hour,', '10/hour, 20/60 minutes', '10/@ 1 hour ago', '1/hour;2/day']) w;
SELECT pg_temp.refusal('SELECT keystone.rate_limit(''w'', ''1/1 s,1/2 s,1/3 s,1/4 s,1/5 s,1/6 s,1/7 s,1/8 s,1/9 s'')');
SELECT pg_temp.refusal(format('SELECT keystone.rate_limit(''w'', %L)', '10/hour' || repeat(' ', 250)));

-- NULL
SELECT keystone.rate_limit(NULL, '1/hour');
SELECT keystone.rate_limit('k', NULL);
SELECT keystone.rate_limit('k', '1/hour', NULL);
SELECT keystone.limit_define(NULL, '1/hour', 'limits-a');
SELECT keystone.limit_define('n', NULL, 'limits-a');
SELECT keystone.limit_define('n', '1/hour', 'limits-a', NULL);
SELECT keystone.limit_drop(NULL, 'limits-a');
SELECT keystone.limit_consume(NULL, 'k');
SELECT keystone.limit_consume('n', NULL);
SELECT keystone.limit_consume('n', 'k', NULL);
SELECT keystone.limit_require('n', 'k', NULL);
SELECT keystone.limit_peek(NULL, 'k');
SELECT keystone.limit_consume_many(NULL);
SELECT keystone.limit_refund(NULL);
SELECT keystone.limit_block(NULL, 'k', now() + interval '1 day', 'r', 'limits-a');
SELECT keystone.limit_unblock('n', NULL, 'limits-a');
SELECT keystone.limit_headers(NULL);

-- Ad hoc: the key is the caller's own
SELECT pg_temp.shown(keystone.rate_limit('mail', '2/hour, 100/day')) FROM generate_series(1, 3);
SET SESSION AUTHORIZATION regress_keystone_limits_viewer;
SELECT pg_temp.shown(keystone.rate_limit('mail', '2/hour, 100/day'));
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT pg_temp.shown(keystone.rate_limit('mail', '2/hour, 100/day', 0));
SELECT pg_temp.shown(keystone.rate_limit('other mail', '2/hour, 100/day'));
-- another number of the same period goes on with what was counted
SELECT pg_temp.shown(keystone.rate_limit('mail', '5/hour'));
-- keys of 1 to 1024 bytes
SELECT keystone.rate_limit('', '1/hour');
SELECT pg_temp.shown(keystone.rate_limit(repeat('k', 1024), '1/hour'));
SELECT keystone.rate_limit(repeat('k', 1025), '1/hour');
SELECT keystone.rate_limit('k', '1/hour', -1);
SET SESSION AUTHORIZATION regress_keystone_limits_nobody;
SELECT keystone.rate_limit('k', '1/hour');
SET SESSION AUTHORIZATION regress_keystone_limits_client;
SELECT keystone.rate_limit('k', '1/hour');
SELECT keystone.limit_consume('n', 'k', workspace => 'limits-a');
RESET SESSION AUTHORIZATION;

-- Who defines
SELECT keystone.limit_define('api', '5/hour, 8/day', options => '{"near": 60}');
SET SESSION AUTHORIZATION regress_keystone_limits_viewer;
SELECT keystone.limit_define('api', '5/hour', 'limits-a');
SELECT keystone.limit_define('api', '5/hour');
SELECT keystone.limit_drop('api');
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT keystone.limit_define('api', '5/hour', 'limits-a');
SELECT keystone.limit_define('own', '3/hour', 'limits-b');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_define('own', '3/hour', 'limits-a');

-- Options
SELECT o, pg_temp.refusal(format('SELECT keystone.limit_define(''o'', ''20/day'', ''limits-a'', %L)', o)) AS refusal
FROM unnest(ARRAY['[]', '1', '{"speed": 1}', '{"algorithm": "bucket"}', '{"algorithm": 1}', '{"algorithm": "log"}', '{"timezone": "Europe/Paris"}',
	'{"algorithm": "calendar", "timezone": "Europe/Nowhere"}', '{"class": "soft"}', '{"shadow": "yes"}', '{"near": 0}', '{"near": 100}', '{"near": 1.5}', '{"near": "80"}',
	'{"refund": 1}', '{"key": ["principal"]}', '{"enforce": "reveal"}', '{"enforce": {}}', '{"enforce": {"action": "store"}}', '{"enforce": {"action": "reveal", "user": "x"}}',
	'{"enforce": {"action": "reveal", "provider": "no such"}}', '{"enforce": {"action": "reveal"}, "key": []}', '{"enforce": {"action": "reveal"}, "key": "principal"}',
	'{"enforce": {"action": "reveal"}, "key": ["user"]}', '{"enforce": {"action": "reveal"}, "refund": true}']) o;
SELECT pg_temp.refusal('SELECT keystone.limit_define(''o'', ''2/90 seconds'', ''limits-a'', ''{"algorithm": "calendar"}'')');
SELECT keystone.limit_define('', '1/hour', 'limits-a');
SELECT keystone.limit_define(repeat('n', 256), '1/hour', 'limits-a');

-- Undefined is PT404; two workspaces do not touch each other, nor the database's
SELECT keystone.limit_consume('unknown', 'k', workspace => 'limits-a');
SELECT keystone.limit_consume('unknown', 'k');
SELECT keystone.limit_peek('unknown', 'k');
SELECT keystone.limit_drop('unknown', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('own', 'k', 2, 'limits-a'));
SELECT pg_temp.shown(keystone.limit_consume('api', 'k', 2, 'limits-a'));
SELECT pg_temp.shown(keystone.limit_peek('api', 'k'));
SELECT keystone.limit_consume('own', 'k', workspace => 'limits-b');
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT pg_temp.shown(keystone.limit_peek('own', 'k', 'limits-b'));
SELECT keystone.limit_drop('own', 'limits-b');
SELECT keystone.limit_peek('own', 'k', 'limits-b');
-- the database's counts for each workspace apart
SELECT pg_temp.shown(keystone.limit_peek('api', 'k', 'limits-b'));
SELECT pg_temp.shown(keystone.limit_consume('api', 'k', 3, 'limits-b'));
SELECT pg_temp.shown(keystone.limit_peek('api', 'k'));
SET SESSION AUTHORIZATION regress_keystone_limits_auditor;
SELECT keystone.limit_consume('api', 'k', workspace => 'limits-a');
-- without identity the database's only
SET SESSION AUTHORIZATION regress_keystone_limits_nobody;
SELECT pg_temp.shown(keystone.limit_consume('api', 'address'));
SELECT keystone.limit_consume('api', 'k', workspace => 'limits-a');

-- A name that the database has is no workspace's to define; one that a
-- workspace had before counts no more, until the database's is dropped
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_define('api', '1000/hour', 'limits-a');
SELECT keystone.limit_define('first', '1000/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('first', 'k', 500, 'limits-a'));
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_define('first', '2/hour');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT pg_temp.shown(keystone.limit_consume('first', 'k', c, 'limits-a')) FROM unnest('{2,1}'::int[]) c;
SELECT keystone.limit_define('first', '1000/hour', 'limits-a');
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_drop('first');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT pg_temp.shown(keystone.limit_consume('first', 'k', 100, 'limits-a'));
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_define('first', '2/hour');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_drop('first', 'limits-a');
SELECT pg_temp.shown(keystone.limit_peek('first', 'k', 'limits-a'));
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_drop('first');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_peek('first', 'k', 'limits-a');
SELECT keystone.limit_define('default', '1/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_peek('first', 'k', 'limits-a'));
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_define('default', '2/hour');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT pg_temp.shown(keystone.limit_peek('first', 'k', 'limits-a'));
SELECT keystone.limit_drop('default', 'limits-a');
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_drop('default');

-- All or nothing: after a refusal all is as before
SET SESSION AUTHORIZATION regress_keystone_limits_viewer;
SELECT pg_temp.shown(keystone.limit_consume('api', 'all', 4));
CREATE TEMP TABLE before AS SELECT p.* FROM keystone.limit_peek('api', 'all') p;
SELECT pg_temp.shown(keystone.limit_consume('api', 'all', 2));
SELECT pg_temp.shown(keystone.limit_consume('api', 'all', 6));
SELECT p IS NOT DISTINCT FROM b AS unchanged FROM keystone.limit_peek('api', 'all') p, before b;
-- more than the limit is never allowed: retry_after is NULL
SELECT allowed, retry_after FROM keystone.limit_consume('api', 'all', 6);
SELECT allowed, retry_after BETWEEN 3599 AND 3600 AS hour FROM keystone.limit_consume('api', 'all', 2);
SELECT keystone.limit_consume('api', 'all', -1);
SELECT pg_temp.shown(keystone.limit_consume('api', 'all', 0));
SELECT pg_temp.shown(keystone.limit_consume('api', 'all'));
SELECT pg_temp.shown(keystone.limit_consume('api', 'all', 0));
-- when nothing counts any more
SELECT reset_at - now() BETWEEN interval '59 minutes' AND interval '63 minutes' AS reset FROM keystone.limit_peek('api', 'all');

-- What was attempted stays attempted
BEGIN;
SELECT pg_temp.shown(keystone.limit_consume('api', 'rollback'));
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT pg_temp.shown(keystone.limit_consume('api', 'rollback'));
ROLLBACK TO s;
COMMIT;
DO $$
BEGIN
	PERFORM keystone.limit_consume('api', 'rollback');
	RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN
	NULL;
END $$;
SELECT pg_temp.shown(keystone.limit_peek('api', 'rollback'));
-- (f()).* calls once for each column, FROM once
SELECT count(*) FROM (SELECT (keystone.limit_consume('api', 'star')).*) s;
SELECT remaining FROM keystone.limit_peek('api', 'star');
SELECT count(*) FROM keystone.limit_consume('api', 'from');
SELECT remaining FROM keystone.limit_peek('api', 'from');

-- limit_require()
\set VERBOSITY default
SELECT pg_temp.shown(keystone.limit_require('api', 'require', 5));
SELECT pg_temp.refusal($$SELECT keystone.limit_require('api', 'require')$$) ~ '^PT429 \| too many attempts \| Try again in (3599|3600) seconds.$' AS refused;
SELECT pg_temp.refusal($$SELECT keystone.limit_require('api', 'require', 9)$$);
DO $$
DECLARE
	detail jsonb;
BEGIN
	PERFORM keystone.limit_require('api', 'require');
EXCEPTION WHEN SQLSTATE 'PT429' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', detail - 'retry_after' - 'reset_at';
	RAISE NOTICE '%', (detail ->> 'retry_after')::int BETWEEN 3590 AND 3600 AND (detail ->> 'reset_at')::timestamptz > now();
END $$;
\set VERBOSITY sqlstate

-- Several at once
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "api", "key": "m1"}, {"name": "api", "key": "m2", "cost": 5}, {"name": "api", "key": "m1", "workspace": "limits-a"}]') r;
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "api", "key": "m1"}, {"name": "api", "key": "m2"}, {"name": "api", "key": "m1", "workspace": "limits-a"}]') r;
SELECT pg_temp.shown(keystone.limit_peek('api', 'm1')), pg_temp.shown(keystone.limit_peek('api', 'm1', 'limits-a'));
-- the same key twice: costs add up
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "api", "key": "twice", "cost": 3}, {"name": "api", "key": "twice", "cost": 3}]') r;
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "api", "key": "twice", "cost": 3}, {"name": "api", "key": "twice", "cost": 2}]') r;
SELECT pg_temp.shown(keystone.limit_peek('api', 'twice'));
SELECT count(*) FROM keystone.limit_consume_many((SELECT jsonb_agg(jsonb_build_object('name', 'api', 'key', 'bulk ' || i)) FROM generate_series(1, 16) i));
SELECT keystone.limit_consume_many((SELECT jsonb_agg(jsonb_build_object('name', 'api', 'key', 'bulk ' || i)) FROM generate_series(1, 17) i));
SELECT r, pg_temp.refusal(format('SELECT keystone.limit_consume_many(%L)', r)) AS refusal
FROM unnest(ARRAY['[]', '{}', '1', '[1]', '[[]]', '[{"name": "api"}]', '[{"key": "k"}]', '[{"name": "api", "key": 1}]', '[{"name": "api", "key": "k", "cost": -1}]',
	'[{"name": "api", "key": "k", "cost": 1.5}]', '[{"name": "api", "key": "k", "cost": 2147483648}]', '[{"name": "api", "key": "k", "cost": "1"}]', '[{"name": "api", "key": "k", "price": 1}]',
	'[{"name": "unknown", "key": "k"}]', '[{"name": "api", "key": "k", "workspace": "limits-b"}]', '[{"name": "api", "key": ""}]']) r;
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_define('wide', '1/1 s,1/2 s,1/3 s,1/4 s,1/5 s,1/6 s,1/7 s,1/8 s');
SELECT pg_temp.refusal($$SELECT keystone.limit_consume_many((SELECT jsonb_agg(jsonb_build_object('name', 'wide', 'key', i::text)) FROM generate_series(1, 9) i))$$);
SELECT keystone.limit_drop('wide');
SELECT keystone.limit_consume('wide', 'k');

-- Refunds: of limits that say so, to whom consumed, once
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_define('jobs', '5/hour, 100/day', 'limits-a', '{"refund": true}');
SELECT token AS token1 FROM keystone.limit_consume('jobs', 'k', 2, 'limits-a') \gset
SELECT token AS token2 FROM keystone.limit_consume('jobs', 'k', 2, 'limits-a') \gset
SELECT :'token1' <> :'token2' AS differ, :'token1' LIKE 'kr\_%' AS marked;
SELECT token FROM keystone.limit_consume('jobs', 'k', 2, 'limits-a');
SELECT token FROM keystone.limit_peek('jobs', 'k', 'limits-a');
SELECT keystone.limit_refund(:'token1'), keystone.limit_refund(:'token1');
SELECT pg_temp.shown(keystone.limit_peek('jobs', 'k', 'limits-a'));
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "jobs", "key": "many", "workspace": "limits-a"}]') r;
-- not somebody else's, nor changed ones
SET SESSION AUTHORIZATION regress_keystone_limits_service;
SELECT keystone.limit_refund(:'token2');
SELECT keystone.limit_refund(token) FROM keystone.limit_consume('jobs', 'k', 1, 'limits-a');
SELECT keystone.limit_refund('');
SELECT keystone.limit_refund('kr_');
SELECT keystone.limit_refund('kr_' || repeat('A', 100));
SELECT keystone.limit_refund('kr_' || repeat('A', 100000));
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_refund(overlay(:'token2' placing CASE substr(:'token2', 60, 1) WHEN 'A' THEN 'B' ELSE 'A' END from 60 for 1));
-- a viewer consumes, and has no right to give back
SET SESSION AUTHORIZATION regress_keystone_limits_viewer;
SELECT keystone.limit_refund(token) FROM keystone.limit_consume('jobs', 'viewer', 1, 'limits-a');
-- defined anew with other windows: there is nothing to give back
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_define('jobs', '5/hour, 100/week', 'limits-a', '{"refund": true}');
SELECT keystone.limit_refund(:'token2');
SELECT pg_temp.shown(keystone.limit_peek('jobs', 'k', 'limits-a'));
SELECT keystone.limit_define('jobs', '5/hour, 100/day', 'limits-a', '{"refund": true}');
SELECT keystone.limit_refund(:'token2'), keystone.limit_refund(:'token2');
-- of the database's limits: services and the profile admin
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_define('global', '5/hour', options => '{"refund": true}');
SET SESSION AUTHORIZATION regress_keystone_limits_service;
SELECT keystone.limit_refund(token) FROM keystone.limit_consume('global', 'k');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_refund(token) FROM keystone.limit_consume('global', 'k');
SET SESSION AUTHORIZATION regress_keystone_limits_nobody;
SELECT pg_temp.shown(keystone.limit_consume('global', 'k'));

-- Blocks
SET SESSION AUTHORIZATION regress_keystone_limits_viewer;
SELECT keystone.limit_block('api', 'bad', now() + interval '1 day', 'abuse', 'limits-a');
SELECT keystone.limit_block('api', 'bad', now() + interval '1 day', 'abuse');
SELECT keystone.limit_unblock('api', 'bad', 'limits-a');
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_block('api', 'bad', now() - interval '1 second', 'abuse', 'limits-a');
SELECT keystone.limit_block('api', 'bad', NULL, 'abuse', 'limits-a');
SELECT keystone.limit_block('api', 'bad', now() + interval '1 day', NULL, 'limits-a');
SELECT keystone.limit_block('unknown', 'bad', now() + interval '1 day', 'abuse', 'limits-a');
SELECT keystone.limit_block('api', 'bad', now() + interval '1 day', 'abuse', 'limits-a');
SELECT pg_temp.shown(r), r.retry_after BETWEEN 86000 AND 86400 AS day FROM keystone.limit_consume('api', 'bad', 1, 'limits-a') r;
SELECT pg_temp.shown(keystone.limit_peek('api', 'bad', 'limits-a'));
SELECT pg_temp.shown(keystone.limit_consume('api', 'good', 1, 'limits-a'));
SELECT keystone.limit_unblock('api', 'bad', 'limits-a'), keystone.limit_unblock('api', 'bad', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('api', 'bad', 1, 'limits-a'));
SELECT keystone.limit_block('api', 'ever', 'infinity', 'abuse', 'limits-a');
SELECT allowed, retry_after FROM keystone.limit_peek('api', 'ever', 'limits-a');
SELECT keystone.limit_unblock('api', 'ever', 'limits-a');

-- Shadow counts and refuses nothing
SELECT keystone.limit_define('trial', '2/hour', 'limits-a', '{"shadow": true}');
SELECT pg_temp.shown(keystone.limit_consume('trial', 'k', 1, 'limits-a')) FROM generate_series(1, 3);
SELECT keystone.limit_define('trial', '2/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('trial', 'k', 1, 'limits-a'));
-- Near
SELECT keystone.limit_define('soon', '10/hour', 'limits-a', '{"near": 50}');
SELECT near FROM keystone.limit_consume('soon', 'k', 4, 'limits-a');
SELECT near FROM keystone.limit_consume('soon', 'k', 1, 'limits-a');

-- Defined anew: what was counted stays where the period is the same
SELECT keystone.limit_define('anew', '100/hour, 1000/day', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('anew', 'k', 40, 'limits-a'));
SELECT keystone.limit_define('anew', '50/60 minutes, 30/2 days', 'limits-a');
SELECT pg_temp.shown(keystone.limit_peek('anew', 'k', 'limits-a'));
SELECT keystone.limit_define('anew', '30/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_peek('anew', 'k', 'limits-a'));
SELECT keystone.limit_drop('anew', 'limits-a');
SELECT keystone.limit_consume('anew', 'k', 1, 'limits-a');
SELECT keystone.limit_drop('anew', 'limits-a');
-- in a transaction of its own that ends otherwise
BEGIN;
SELECT keystone.limit_define('passing', '1/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('passing', 'k', 1, 'limits-a'));
ROLLBACK;
SELECT keystone.limit_consume('passing', 'k', 1, 'limits-a');

-- The limit named default stands for those that are not defined, each name for itself
SELECT keystone.limit_define('default', '2/hour', 'limits-a');
SELECT pg_temp.shown(keystone.limit_consume('whatever', 'k', 1, 'limits-a')) FROM generate_series(1, 3);
SELECT pg_temp.shown(keystone.limit_consume('something', 'k', 1, 'limits-a'));
SELECT pg_temp.shown(keystone.limit_peek('default', 'k', 'limits-a'));
SELECT keystone.limit_consume('whatever', 'k');
SELECT keystone.limit_drop('default', 'limits-a');

-- Calendar and gcra
SELECT keystone.limit_define('bill', '100/month, 50/week, 20/day', 'limits-a', '{"algorithm": "calendar", "timezone": "asia/tokyo"}');
SELECT pg_temp.shown(keystone.limit_consume('bill', 'k', 5, 'limits-a'));
SELECT reset_at AT TIME ZONE 'Asia/Tokyo' = date_trunc('day', clock_timestamp() AT TIME ZONE 'Asia/Tokyo') + interval '1 day' AS midnight
FROM keystone.limit_consume('bill', 'k', 5, 'limits-a');
SELECT keystone.limit_define('bill', '7/month', 'limits-a', '{"algorithm": "calendar", "timezone": "Asia/Tokyo"}');
SELECT pg_temp.shown(r), r.reset_at AT TIME ZONE 'Asia/Tokyo' = date_trunc('month', clock_timestamp() AT TIME ZONE 'Asia/Tokyo') + interval '1 month' AS month
FROM keystone.limit_consume('bill', 'k', 1, 'limits-a') r;
SELECT keystone.limit_define('smooth', '100/hour', 'limits-a', '{"algorithm": "gcra"}');
SELECT sum(r.allowed::int) AS burst FROM generate_series(1, 20), keystone.limit_consume('smooth', 'k' || (0 * generate_series), 1, 'limits-a') r;

-- What verbs apply by themselves: callers look at and block
SELECT keystone.limit_define('vault', '100/hour', 'limits-a', '{"enforce": {"action": "reveal", "provider": "openai"}, "key": ["provider", "principal"], "class": "fair"}');
SELECT keystone.limit_consume('vault', :'owner' || '/openai', 1, 'limits-a');
SELECT pg_temp.shown(keystone.limit_peek('vault', :'owner' || '/openai', 'limits-a'));
SELECT count(keystone.limit_define('vault ' || i, '1/1 s,1/2 s,1/3 s,1/4 s,1/5 s,1/6 s,1/7 s', 'limits-a', '{"enforce": {"action": "rotate"}}')) FROM generate_series(1, 2) i;
SELECT keystone.limit_define('vault 3', '1/1 s,1/2 s,1/3 s,1/4 s,1/5 s,1/6 s,1/7 s', 'limits-a', '{"enforce": {"action": "rotate"}}');
SELECT keystone.limit_define('vault 1', '1/1 s', 'limits-a', '{"enforce": {"action": "rotate"}}');
SELECT keystone.limit_define('vault 3', '1/1 s,1/2 s,1/3 s,1/4 s,1/5 s,1/6 s,1/7 s', 'limits-a', '{"enforce": {"action": "rotate"}}');

-- Headers
SELECT keystone.limit_headers(ROW(false, 'l', 'hour', 10, 0, 5, 'infinity', true, NULL)::keystone.limit_result);
SELECT jsonb_path_query_array(keystone.limit_headers(r), '$[*].keyvalue().key') AS names, keystone.limit_headers(r) -> 0 AS first
FROM keystone.limit_peek('api', 'h', 'limits-a') r;

-- Views
SELECT workspace, name, windows, options FROM keystone.limits WHERE workspace IS NOT NULL ORDER BY name COLLATE "C";
SELECT count(*) FROM keystone.limits WHERE workspace IS NULL AND name IN ('api', 'global');
SELECT count(*) FROM keystone.limit_stats;
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT count(*) FROM keystone.limits WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_limits_auditor;
SELECT count(*) FROM keystone.limits WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_limits_client;
SELECT count(*) > 0 AS members_see FROM keystone.limits WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_limits_monitor;
SELECT entries > 0 AND capacity >= entries AND in_database BETWEEN 1 AND entries AND allowed > 0 AND denied > 0 AS ok FROM keystone.limit_stats;
RESET SESSION AUTHORIZATION;

-- The log
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'limit' AS limit, detail ? 'counter' AS counter, detail ->> 'sqlstate' AS sqlstate, reason, count(*)
FROM keystone.audit_log
WHERE workspace_id = :'ws' AND action IN ('limit.block', 'limit.unblock', 'limit.refund') GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6;
SELECT detail ->> 'limit' AS limit, detail ->> 'windows' AS windows FROM keystone.audit_log
WHERE workspace_id = :'ws' AND action = 'limit.define' AND outcome = 'ok' AND detail ->> 'limit' IN ('anew', 'trial') ORDER BY seq;

-- What the vault counts for the whole database is not a workspace's to block,
-- nor to set free
SELECT keystone.limit_define('platform', '7/hour', NULL, '{"enforce": {"action": "reveal", "provider": "cohere"}}');
SELECT keystone.limit_block('platform', :'other', now() + interval '1 hour', 'abuse') AS blocked;
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT keystone.limit_block('platform', :'owner', 'infinity', 'mischief', 'limits-b');
SELECT keystone.limit_unblock('platform', :'other', 'limits-b');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.shown(keystone.limit_peek('platform', :'owner')) AS owner, pg_temp.shown(keystone.limit_peek('platform', :'other')) AS other;
SELECT keystone.limit_unblock('platform', :'other') AS unblocked;
-- each sees there what is left to them, as the caller or as a member; the
-- profiles admin and monitor see all
SELECT keystone.limit_define('platform provider', '7/hour', NULL, '{"enforce": {"action": "reveal"}, "key": ["principal", "provider"]}'),
	   keystone.limit_define('platform workspace', '7/hour', NULL, '{"enforce": {"action": "reveal"}, "key": ["workspace", "provider"]}'),
	   keystone.limit_define('platform all', '7/hour', NULL, '{"enforce": {"action": "reveal"}, "key": ["provider"]}');
CREATE FUNCTION pg_temp.peek(who text, name text, key text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('session_authorization', 'regress_keystone_limits_' || who, true);
	RETURN (SELECT 'remaining ' || remaining FROM keystone.limit_peek(name, key));
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TEMP TABLE peeks (name text, key text, whose text);
INSERT INTO peeks VALUES ('platform', :'owner', 'owner'), ('platform', :'other', 'other'), ('platform', left(:'other', 35), 'cut'),
	('platform', :'other' || 'x', 'longer'), ('platform provider', :'other' || '/openai', 'other'), ('platform workspace', :'ws' || '/openai', 'limits-a'),
	('platform workspace', 'not a uuid of thirty-six characters!', 'none'), ('platform all', 'openai', 'all');
SELECT name, whose, (SELECT string_agg(who || ' ' || pg_temp.peek(who, name, key), ', ') FROM unnest('{owner,viewer,auditor,other,nobody,monitor,client}'::text[]) who) AS answers
FROM peeks ORDER BY name, whose;
SET SESSION AUTHORIZATION regress_keystone_limits_other;
SELECT keystone.limit_consume('platform', :'owner', 0);
SELECT keystone.limit_consume_many(format('[{"name": "platform", "key": "%s", "cost": 0}]', :'owner')::jsonb);
SELECT remaining FROM keystone.limit_consume('platform', :'other', 0);
RESET SESSION AUTHORIZATION;
SELECT keystone.limit_drop(name) FROM (SELECT DISTINCT name FROM peeks) p;

-- gcra is near its end when its burst is; a shadow has counted what it would
-- have refused, and is over after its period whatever it has counted
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_define('even', '100/day', 'limits-a', '{"algorithm": "gcra"}'),
	   keystone.limit_define('dim', '1/366 days', 'limits-a', '{"algorithm": "gcra", "shadow": true}');
SELECT pg_temp.shown(r) FROM keystone.limit_consume('even', 'k', 7, 'limits-a') r;
SELECT pg_temp.shown(r) FROM keystone.limit_consume('even', 'k', 1, 'limits-a') r;
SELECT pg_temp.shown(r), r.reset_at <= now() + interval '367 days' AS over FROM keystone.limit_consume('dim', 'k', 2147483647, 'limits-a') r;
RESET SESSION AUTHORIZATION;

-- A row that was changed by hand is no limit
UPDATE keystone_private.limits SET windows = '1000000/hour' WHERE workspace_id = :'ws' AND name = 'soon';
SET SESSION AUTHORIZATION regress_keystone_limits_owner;
SELECT keystone.limit_consume('soon', 'k', 1, 'limits-a');
RESET SESSION AUTHORIZATION;
SELECT ok, detail ~ 'limits .*/soon' AS named FROM keystone.health WHERE check_name = 'row macs';
SELECT count(keystone.limit_drop('soon', 'limits-a')) FROM (SELECT set_config('session_authorization', 'regress_keystone_limits_owner', false)) s;
RESET SESSION AUTHORIZATION;

-- What was counted is saved
SELECT keystone.limit_drop('api'), keystone.limit_drop('global');
DO $$
BEGIN
	FOR i IN 1..100 LOOP
		EXIT WHEN EXISTS (SELECT FROM keystone_private.limit_state);
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT count(*) > 0 AS saved, bool_and(octet_length(hash) = 16) AS hashes FROM keystone_private.limit_state;
