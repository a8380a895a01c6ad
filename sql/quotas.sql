-- Plans and quotas: set_plan(), plan_allows(), what plans limit, quota_consume() and reservations.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE FUNCTION pg_temp.person(name text, profile name DEFAULT 'client') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_quotas_' || name);
	PERFORM keystone.grant_access(('regress_keystone_quotas_' || name)::name, profile);
	RETURN keystone.register_principal('Quotas ' || name, db_role => ('regress_keystone_quotas_' || name)::name);
END $$;
-- the one value of a query, or its SQLSTATE, and DETAIL where that is JSON
CREATE FUNCTION pg_temp.attempt(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, '(null)');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || CASE WHEN detail LIKE '{%' THEN ' ' || (detail::jsonb - 'retry_after' - 'reset_at')::text ELSE '' END;
END $$;
-- the same in a session of somebody
CREATE FUNCTION pg_temp.as_somebody(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', 'regress_keystone_quotas_' || who, true);
	result := pg_temp.attempt(query);
	RESET SESSION AUTHORIZATION;
	RETURN result;
END $$;
-- an answer without the id of a reservation
CREATE FUNCTION pg_temp.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT concat_ws('' '', allowed::text, used, ''of '' || coalesce(included::text, ''any''), ''overage '' || overage, ''cost '' || cost_micros, CASE WHEN reservation IS NOT NULL THEN ''reserved'' END) FROM keystone.%s', call) INTO result;
	RETURN result;
END $$;
SELECT pg_temp.person('owner', 'worker') AS owner, pg_temp.person('viewer', 'worker') AS viewer, pg_temp.person('auditor', 'worker') AS auditor,
	   pg_temp.person('plain') AS plain, pg_temp.person('stranger', 'worker') AS stranger, pg_temp.person('guest') AS guest \gset
CREATE ROLE regress_keystone_quotas_dba;
SELECT keystone.grant_access('regress_keystone_quotas_dba', 'admin');
CREATE ROLE regress_keystone_quotas_nobody;
SET SESSION AUTHORIZATION regress_keystone_quotas_stranger;
SELECT keystone.create_workspace('quotas-other') AS other \gset
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT keystone.create_workspace('quotas') AS ws, keystone.create_workspace('quotas-stop') AS stop, keystone.create_workspace('quotas-held') AS held,
	keystone.create_workspace('quotas-verbs') AS verbs \gset
SELECT count(keystone.add_member('quotas', p, r)) FROM (VALUES (:'viewer'::uuid, 'viewer'), (:'auditor', 'auditor'), (:'plain', 'admin')) m (p, r);

-- The plans: everybody with a profile
SELECT * FROM keystone.plans ORDER BY rotations NULLS LAST;
RESET SESSION AUTHORIZATION;
SELECT who, pg_temp.as_somebody(who, 'SELECT count(*) FROM keystone.plans') FROM unnest('{plain,stranger,dba,nobody}'::text[]) who;
BEGIN;
GRANT USAGE ON SCHEMA keystone, keystone_private TO regress_keystone_quotas_nobody;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO regress_keystone_quotas_nobody;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone, keystone_private TO regress_keystone_quotas_nobody;
SELECT pg_temp.as_somebody('nobody', q) FROM unnest(ARRAY['SELECT count(*) FROM keystone.plans', 'SELECT count(*) FROM keystone.quotas',
	'SELECT count(*) FROM keystone_private.quota_events', 'SELECT keystone.plan_allows(''quotas'', ''approvals'')',
	'SELECT keystone.set_plan(''quotas'', ''free'')', 'SELECT allowed FROM keystone.quota_consume(''quotas'', ''x'')',
	'SELECT allowed FROM keystone.quota_commit(''00000000-0000-4000-8000-000000000000'')']) q;
ROLLBACK;

-- plan_allows()
SELECT feature, string_agg(p.name, ' ' ORDER BY p.rotations NULLS LAST) FROM keystone.plans p, unnest(features) feature GROUP BY feature ORDER BY count(*) DESC, feature COLLATE "C";
SELECT who, pg_temp.as_somebody(who, format('SELECT keystone.plan_allows(''quotas'', %L)', feature)), feature
FROM unnest('{owner,viewer,auditor,plain,stranger,dba,nobody}'::text[]) who, unnest('{customer_keys,nothing}'::text[]) feature;
SELECT pg_temp.as_somebody('owner', q) FROM unnest(ARRAY['SELECT keystone.plan_allows(''missing'', ''approvals'')', 'SELECT keystone.plan_allows(NULL, ''approvals'')',
	'SELECT keystone.plan_allows(''quotas'', NULL)', 'SELECT keystone.plan_allows(''quotas'', '''')', 'SELECT keystone.plan_allows(''quotas'', ''APPROVALS'')']) q;

-- set_plan(): the admin profile, and holders of billing
SELECT who, pg_temp.as_somebody(who, 'SELECT keystone.set_plan(''quotas'', ''pro'')') FROM unnest('{viewer,auditor,plain,stranger,nobody}'::text[]) who;
SELECT pg_temp.as_somebody(who, q) FROM unnest('{owner,dba}'::text[]) who, unnest(ARRAY['SELECT keystone.set_plan(''quotas'', ''gold'')', 'SELECT keystone.set_plan(''quotas'', NULL)',
	'SELECT keystone.set_plan(NULL, ''free'')', 'SELECT keystone.set_plan(''missing'', ''free'')', 'SELECT keystone.set_plan(''quotas'', ''Pro'')']) q;
SELECT plan FROM keystone.workspaces WHERE id = :'ws';
SELECT pg_temp.as_somebody('dba', 'SELECT keystone.set_plan(''quotas'', ''pro'')');
SELECT feature, pg_temp.as_somebody('owner', format('SELECT keystone.plan_allows(''quotas'', %L)', feature)) FROM unnest('{approvals,customer_keys}'::text[]) feature;
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.set_plan(''quotas'', ''starter'')');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.set_plan(''quotas'', ''starter'')');
SELECT plan FROM keystone.workspaces WHERE id = :'ws';
SELECT keystone_private.audit_flush();
SELECT outcome, detail ->> 'session_user' AS by, detail ->> 'plan' AS plan, detail ->> 'previous_plan' AS previous_plan, detail ->> 'changed' AS changed
FROM keystone.audit_log WHERE workspace_id = :'ws' AND action = 'plan.change' ORDER BY seq;
-- as soon as it is committed, and rolled back with the transaction
BEGIN;
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.set_plan(''quotas'', ''free'')');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.plan_allows(''quotas'', ''maintenance_windows'')');
ROLLBACK;
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.plan_allows(''quotas'', ''maintenance_windows'')');
-- a plan by hand gives nothing
BEGIN;
UPDATE keystone.workspaces SET plan = 'enterprise' WHERE id = :'ws';
SELECT who, pg_temp.as_somebody(who, 'SELECT keystone.plan_allows(''quotas'', ''customer_keys'')') FROM unnest('{owner,dba}'::text[]) who;
ROLLBACK;

-- quota_consume(): the worker profile, members with reveal or rotate
SELECT who, pg_temp.as_somebody(who, 'SELECT allowed FROM keystone.quota_consume(''quotas'', ''calls'')') FROM unnest('{owner,viewer,auditor,plain,stranger,dba,nobody}'::text[]) who;
SELECT pg_temp.as_somebody('owner', format('SELECT allowed FROM keystone.quota_consume(%s)', a)) AS consume, pg_temp.as_somebody('owner', format('SELECT allowed FROM keystone.quota_reserve(%s)', a)) AS reserve, a
FROM unnest(ARRAY['''missing'', ''calls''', 'NULL, ''calls''', '''quotas'', NULL', '''quotas'', ''''', '''quotas'', '' calls''', '''quotas'', repeat(''x'', 64)',
	'''quotas'', ''calls'', NULL', '''quotas'', ''calls'', 0', '''quotas'', ''calls'', -1', '''quotas'', ''calls'', 1000000000001', '''quotas'', ''calls'', 9223372036854775807',
	'''quotas'', ''calls'', 1, ''''', '''quotas'', ''calls'', 1, repeat(''x'', 256)', '''quotas-other'', ''calls''']) a;
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 10)');
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 1000000000000)');
SELECT meter, used, reserved, overage, cost_micros, closed_at FROM keystone.quotas WHERE workspace_id = :'ws' ORDER BY meter COLLATE "C";
RESET SESSION AUTHORIZATION;
SELECT who, pg_temp.as_somebody(who, 'SELECT count(*) FROM keystone.quotas') FROM unnest('{owner,plain,auditor,stranger}'::text[]) who;
-- the period is a month from the workspace's anchor
SELECT q.period_start <= now() AND now() < q.period_end AS now, q.period_start = w.period_anchor AS first, q.period_end = w.period_anchor + interval '1 month' AS month
FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.id = :'ws';

-- Beyond what is included each one has its price
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'', 998)');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'', 5)');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'')');
SELECT used, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'ws' AND meter = 'rotations';
-- another plan changes nothing of what was counted
SELECT keystone.set_plan('quotas', 'pro');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'')');
SELECT used, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'ws' AND meter = 'rotations';
SELECT keystone.set_plan('quotas', 'enterprise');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'', 1000000)');
SELECT keystone.set_plan('quotas', 'starter');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'', 2)');
SELECT used, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'ws' AND meter = 'rotations';
-- under one that has no more, nothing more
SELECT keystone.set_plan('quotas', 'free');
SELECT pg_temp.answer('quota_consume(''quotas'', ''rotations'')');
SELECT pg_temp.answer('quota_reserve(''quotas'', ''rotations'')');
SELECT used, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'ws' AND meter = 'rotations';

-- The hard stop, in a workspace where nothing was used yet
SELECT keystone.set_plan('quotas-stop', 'free');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 101)');
SELECT count(*) FROM keystone.quotas WHERE workspace_id = :'stop';
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 99)');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 2)');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 1)');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 1)');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''other'', 1)');

-- What is rolled back was not used
BEGIN;
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 5)');
SAVEPOINT s;
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 7)');
ROLLBACK TO s;
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 1)');
ROLLBACK;
SELECT pg_temp.answer('quota_consume(''quotas'', ''calls'', 1)');

-- An idempotency key counts once, and has one answer; each meter has its own
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 5, ''a key'')');
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 1)');
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 5, ''a key'')');
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 7, ''a key'')');
SELECT pg_temp.answer('quota_reserve(''quotas'', ''mails'', 7, ''a key'')');
SELECT pg_temp.answer('quota_consume(''quotas'', ''faxes'', 2, ''a key'')');
SELECT meter, used, reserved FROM keystone.quotas WHERE workspace_id = :'ws' AND meter IN ('mails', 'faxes') ORDER BY meter COLLATE "C";
-- what was refused can be tried again under its key
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 5, ''later'')');
SELECT keystone.set_plan('quotas-stop', 'starter');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 5, ''later'')');
SELECT pg_temp.answer('quota_consume(''quotas-stop'', ''rotations'', 5, ''later'', ''00000000-0000-4000-8000-000000000000'')');
SELECT used FROM keystone.quotas WHERE workspace_id = :'stop' AND meter = 'rotations';
SELECT keystone.set_plan('quotas-stop', 'free');
-- not kept when the transaction is rolled back
BEGIN;
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 3, ''undone'')');
ROLLBACK;
SELECT pg_temp.answer('quota_consume(''quotas'', ''mails'', 4, ''undone'')');
-- in whatever period that was
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.quota_events SET period_start = period_start - interval '1 month' WHERE workspace_id = :'ws' AND idempotency_key = 'undone';
SELECT pg_temp.as_somebody('owner', 'SELECT used FROM keystone.quota_consume(''quotas'', ''mails'', 4, ''undone'')');
SELECT used FROM keystone.quotas WHERE workspace_id = :'ws' AND meter = 'mails';

-- Reservations
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT keystone.set_plan('quotas-held', 'free');
SELECT * FROM keystone.quota_reserve('quotas-held', 'rotations', 60, 'job 1') \gset one_
SELECT :'one_allowed' AS allowed, :one_used AS used, :one_included AS included, :one_overage AS overage;
SELECT reservation = :'one_reservation' AS same, used FROM keystone.quota_reserve('quotas-held', 'rotations', 60, 'job 1');
SELECT reservation AS two FROM keystone.quota_reserve('quotas-held', 'rotations', 30) \gset
SELECT pg_temp.answer('quota_reserve(''quotas-held'', ''rotations'', 11)');
SELECT pg_temp.answer('quota_consume(''quotas-held'', ''rotations'', 11)');
SELECT pg_temp.answer('quota_consume(''quotas-held'', ''rotations'', 10)');
SELECT used, reserved FROM keystone.quotas WHERE workspace_id = :'held';
SELECT pg_temp.answer(format('quota_release(%L)', :'two'));
SELECT pg_temp.answer(format('quota_release(%L)', :'two'));
SELECT pg_temp.attempt(format('SELECT allowed FROM keystone.quota_commit(%L)', :'two')) AS released;
SELECT used, reserved FROM keystone.quotas WHERE workspace_id = :'held';
SELECT pg_temp.answer(format('quota_commit(%L)', :'one_reservation'));
SELECT pg_temp.answer(format('quota_commit(%L)', :'one_reservation'));
SELECT pg_temp.attempt(format('SELECT allowed FROM keystone.quota_release(%L)', :'one_reservation')) AS committed;
SELECT used, reserved FROM keystone.quotas WHERE workspace_id = :'held';
-- what was released counts nothing: its key is free, and counts when it is used
SELECT reservation AS freed FROM keystone.quota_reserve('quotas-held', 'rotations', 20, 'job 2') \gset
SELECT pg_temp.answer(format('quota_release(%L)', :'freed'));
SELECT pg_temp.answer('quota_consume(''quotas-held'', ''rotations'', 31, ''job 2'')');
SELECT pg_temp.answer(format('quota_release(%L)', :'freed'));
SELECT reservation AS again, reservation <> :'freed' AS new FROM keystone.quota_reserve('quotas-held', 'rotations', 20, 'job 2') \gset
SELECT :'new' AS new;
SELECT used, reserved FROM keystone.quotas WHERE workspace_id = :'held';
SELECT pg_temp.answer(format('quota_release(%L)', :'again'));
-- a smaller plan takes no reservation back
SELECT keystone.set_plan('quotas-held', 'starter');
SELECT reservation AS three FROM keystone.quota_reserve('quotas-held', 'rotations', 1000) \gset
SELECT pg_temp.answer('quota_reserve(''quotas-held'', ''rotations'', 1)');
SELECT keystone.set_plan('quotas-held', 'free');
SELECT pg_temp.answer(format('quota_commit(%L)', :'three'));
SELECT used, reserved, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'held';
-- overage is what is beyond when it is committed
SELECT keystone.set_plan('quotas-held', 'starter');
SELECT reservation AS four FROM keystone.quota_reserve('quotas-held', 'rotations', 10) \gset
SELECT pg_temp.answer(format('quota_commit(%L)', :'four'));
SELECT used, reserved, overage, cost_micros FROM keystone.quotas WHERE workspace_id = :'held';
-- expired ones end by themselves
SELECT reservation AS late FROM keystone.quota_reserve('quotas-held', 'other', 10, 'late') \gset
SELECT reservation AS undone FROM keystone.quota_reserve('quotas-held', 'other', 10) \gset
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT bool_and(expires_at - created_at = interval '1 day') FROM keystone_private.quota_events WHERE state = 'reserved' AND workspace_id = :'held';
UPDATE keystone_private.quota_events SET expires_at = clock_timestamp() WHERE id = :'late';
SELECT pg_temp.as_somebody('owner', format('SELECT allowed FROM keystone.quota_commit(%L)', :'late')) AS commit, pg_temp.as_somebody('owner', format('SELECT allowed FROM keystone.quota_release(%L)', :'late')) AS release;
ROLLBACK;
-- somebody else's are not there
SELECT who, pg_temp.as_somebody(who, format('SELECT allowed FROM keystone.quota_commit(%L)', :'undone')) AS commit, pg_temp.as_somebody(who, format('SELECT allowed FROM keystone.quota_release(%L)', :'undone')) AS release
FROM unnest('{viewer,auditor,plain,stranger,dba}'::text[]) who;
SELECT pg_temp.as_somebody('owner', 'SELECT allowed FROM keystone.quota_commit(NULL)'), pg_temp.as_somebody('owner', 'SELECT allowed FROM keystone.quota_release(NULL)'),
	pg_temp.as_somebody('owner', 'SELECT allowed FROM keystone.quota_commit(''00000000-0000-4000-8000-000000000000'')');
-- an event that is no reservation cannot be ended
SELECT id AS used_event FROM keystone_private.quota_events WHERE workspace_id = :'ws' AND idempotency_key = 'a key' AND meter = 'mails' \gset
SELECT pg_temp.as_somebody('owner', format('SELECT allowed FROM keystone.quota_release(%L)', :'used_event'));
-- in a suspended workspace nothing is used, but what is reserved can be ended
SELECT pg_temp.as_somebody('dba', 'SELECT keystone.update_workspace(''quotas-held'', ''{"status": "suspended"}'')');
SELECT pg_temp.as_somebody('owner', 'SELECT allowed FROM keystone.quota_consume(''quotas-held'', ''other'')') AS consume,
	pg_temp.as_somebody('owner', format('SELECT used FROM keystone.quota_release(%L)', :'undone')) AS release;

-- Verbs count by themselves, at their end: rotations that succeed
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT keystone.set_plan('quotas-verbs', 'free');
CREATE FUNCTION pg_temp.rotations() RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce(sum(q.used), 0)::bigint FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.slug = 'quotas-verbs' AND q.meter = 'rotations' $$;
SELECT credential AS c FROM keystone.store('quotas-verbs', 'token', 'first') \gset
SELECT pg_temp.rotations() AS after_create;
SELECT version FROM keystone.rotate(:'c', 'second');
SELECT pg_temp.rotations() AS after_rotate;
SELECT version FROM keystone.rotate(:'c', 'dry', dry_run => true);
SELECT version FROM keystone.rotate(:'c', 'unexpected', expected_version => 7);
SELECT version FROM keystone.rotate(:'c', '');
SELECT pg_temp.rotations() AS after_none;
SELECT action FROM keystone.store('quotas-verbs', 'token', 'third');
SELECT pg_temp.rotations() AS after_store;
SELECT action, version FROM keystone.store('quotas-verbs', 'token', 'fourth', state => 'pending');
SELECT pg_temp.rotations() AS after_pending;
SELECT keystone.promote(:'c', 4);
SELECT pg_temp.rotations() AS after_promote;
SELECT keystone.rollback_to(:'c', 3);
SELECT pg_temp.rotations() AS after_rollback_to;
SELECT name, action FROM keystone.import_env('quotas-verbs', E'token=fifth\nnew=one');
SELECT pg_temp.rotations() AS after_import;
BEGIN;
SELECT version FROM keystone.rotate(:'c', 'undone');
ROLLBACK;
SELECT pg_temp.rotations() AS after_rolled_back;
-- the hard stop refuses the verb, with all that it did
SELECT pg_temp.answer('quota_consume(''quotas-verbs'', ''rotations'', 94)');
SELECT version FROM keystone.rotate(:'c', 'the last one');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.as_somebody('owner', q) FROM unnest(ARRAY[
	format('SELECT version FROM keystone.rotate(%L, ''too many'')', :'c'),
	format('SELECT version FROM keystone.rotate(%L, ''dry'', dry_run => true)', :'c'),
	'SELECT version FROM keystone.store(''quotas-verbs'', ''token'', ''too many'')',
	'SELECT version FROM keystone.store(''quotas-verbs'', ''another'', ''not rotated'')',
	format('SELECT keystone.rollback_to(%L, 3)', :'c'),
	'SELECT count(*) FROM keystone.import_env(''quotas-verbs'', ''token=too many'')',
	'SELECT keystone.reveal(''quotas-verbs'', ''token'')']) q;
SELECT pg_temp.as_somebody('owner', 'SELECT pg_temp.rotations()');
CREATE FUNCTION pg_temp.reset_at(c uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
	message text;
BEGIN
	PERFORM keystone.rotate(c, 'too many');
	RETURN 'rotated';
EXCEPTION WHEN SQLSTATE 'PT429' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, message = MESSAGE_TEXT;
	RETURN format('%s; %s; %s; %s', message, hint,
		(detail::jsonb ->> 'reset_at')::timestamptz = (SELECT period_end FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.slug = 'quotas-verbs'),
		(detail::jsonb ->> 'retry_after')::int BETWEEN 27 * 86400 AND 31 * 86400);
END $$;
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT pg_temp.reset_at(:'c');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, count(*) FROM keystone.audit_log WHERE workspace_id = :'verbs' AND outcome = 'denied' AND detail ->> 'sqlstate' = 'PT429' GROUP BY 1, 2 ORDER BY 1;

-- Members: users and services; what is removed and an API key are none
SET SESSION AUTHORIZATION regress_keystone_quotas_owner;
SELECT keystone.invite_member('quotas-verbs', 'guest@example.com', 'viewer') AS token \gset
SELECT prefix IS NOT NULL AS made FROM keystone.create_api_key('quotas-verbs', 'key', 'viewer');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.add_member(''quotas-verbs'', %L, ''viewer'')', :'viewer'));
SELECT pg_temp.as_somebody('guest', format('SELECT keystone.accept_invitation(%L)', :'token'));
SELECT pg_temp.as_somebody('dba', 'SELECT keystone.set_plan(''quotas-verbs'', ''starter'')');
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.add_member(''quotas-verbs'', %L, ''viewer'')', p)) FROM unnest(ARRAY[:'viewer'::uuid, :'auditor', :'plain']) p;
SELECT pg_temp.as_somebody('guest', format('SELECT keystone.accept_invitation(%L) IS NOT NULL', :'token'));
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.add_member(''quotas-verbs'', %L, ''viewer'')', :'stranger'));
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.remove_member(''quotas-verbs'', %L)', :'viewer'));
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.add_member(''quotas-verbs'', %L, ''viewer'')', :'stranger'));
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.add_member(''quotas-verbs'', %L, ''viewer'')', :'viewer'));
-- a smaller plan removes nobody, and roles still change
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.set_plan(''quotas-verbs'', ''free'')');
SELECT count(*) FROM keystone.members WHERE workspace_id = :'verbs' AND removed_at IS NULL;
SELECT pg_temp.as_somebody('owner', format('SELECT keystone.set_member_role(''quotas-verbs'', %L, ''operator'')', :'plain'));

-- Providers of mode hosted
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.provider_configure(''quotas-verbs'', ''openai'')');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.provider_configure(''quotas-verbs'', ''openai'', enabled => false)');
SELECT pg_temp.as_somebody('owner', 'SELECT version FROM keystone.store(''quotas-verbs'', ''of a provider'', ''value'', provider => ''gemini'')');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.set_plan(''quotas-verbs'', ''starter'')');
SELECT p, pg_temp.as_somebody('owner', format('SELECT keystone.provider_configure(''quotas-verbs'', %L)', p)) FROM unnest('{openai,gemini,openai,github}'::text[]) p;
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.provider_configure(''quotas-verbs'', ''openai'', enabled => false)');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.provider_configure(''quotas-verbs'', ''github'')');
SELECT pg_temp.as_somebody('owner', 'SELECT keystone.provider_configure(''quotas-verbs'', ''openai'')');

-- Workspaces that somebody owns; the personal one is not counted
SET SESSION AUTHORIZATION regress_keystone_quotas_guest;
SELECT keystone.personal_workspace() IS NOT NULL AS personal;
SELECT keystone.create_workspace('quotas-guest') AS guest_ws \gset
SELECT keystone.set_plan('quotas-guest', 'free');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.create_workspace(''quotas-guest-2'')');
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.set_plan(''quotas-guest'', ''pro'')');
SELECT n, pg_temp.as_somebody('guest', format('SELECT keystone.create_workspace(%L) IS NOT NULL', 'quotas-guest-' || n)), pg_temp.as_somebody('guest', format('SELECT keystone.set_plan(%L, ''free'')', 'quotas-guest-' || n))
FROM generate_series(2, 4) n;
-- the plan that includes most counts
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.set_plan(''quotas-guest'', ''starter'')');
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.create_workspace(''quotas-guest-4'')');
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.set_plan(''quotas-guest-3'', ''enterprise'')');
SELECT pg_temp.as_somebody('guest', 'SELECT keystone.create_workspace(''quotas-guest-4'') IS NOT NULL');

-- Who becomes an owner has a plan, too: by add_member(), set_member_role() and
-- transfer_ownership(), counting all that it owns
SELECT pg_temp.person('giver') AS giver, pg_temp.person('heir') AS heir, pg_temp.person('asked') AS asked \gset
CREATE TEMP TABLE calls (place int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO calls (call) VALUES ($$add_member('quotas-gift', %L, 'owner')$$), ($$add_member('quotas-gift', %L, 'admin')$$), ($$set_member_role('quotas-gift', %L, 'owner')$$),
	($$transfer_ownership('quotas-gift', %L)$$), ($$set_member_role('quotas-gift', %L, 'viewer')$$);
SELECT pg_temp.as_somebody('giver', q) FROM unnest(ARRAY['SELECT keystone.create_workspace(''quotas-gift'') IS NOT NULL', 'SELECT keystone.set_plan(''quotas-gift'', ''starter'')']) q;
SELECT pg_temp.as_somebody('heir', q) FROM unnest(ARRAY['SELECT keystone.create_workspace(''quotas-heir'') IS NOT NULL', 'SELECT keystone.set_plan(''quotas-heir'', ''starter'')']) q;
SELECT split_part(call, '(', 1) AS call, pg_temp.as_somebody('giver', 'SELECT keystone.' || format(call, :'heir')) FROM calls ORDER BY place;
-- the plan of what is given counts as well
SELECT pg_temp.as_somebody('giver', 'SELECT keystone.set_plan(''quotas-gift'', ''pro'')');
SELECT pg_temp.as_somebody('giver', format('SELECT keystone.set_member_role(''quotas-gift'', %L, ''owner'')', :'heir'));
-- one who is an owner stays one
SELECT pg_temp.as_somebody('heir', 'SELECT keystone.set_plan(''quotas-gift'', ''starter'')');
SELECT pg_temp.as_somebody('giver', format('SELECT keystone.set_member_role(''quotas-gift'', %L, ''owner'')', :'heir')),
	pg_temp.as_somebody('giver', format('SELECT keystone.transfer_ownership(''quotas-gift'', %L)', :'heir'));
SELECT p.display_name, m.role FROM keystone.members m JOIN keystone.workspaces w ON w.id = m.workspace_id JOIN keystone.principals p ON p.id = m.principal_id
WHERE w.slug = 'quotas-gift' AND m.removed_at IS NULL ORDER BY 1;
-- what others give uses up nothing of what one may make
SELECT pg_temp.as_somebody('giver', 'SELECT keystone.create_workspace(''quotas-gift-2'') IS NOT NULL') AS made, pg_temp.as_somebody('giver', 'SELECT keystone.set_plan(''quotas-gift-2'', ''starter'')') AS starter,
	pg_temp.as_somebody('giver', format('SELECT keystone.add_member(''quotas-gift-2'', %L, ''owner'')', :'asked')) AS given;
SELECT pg_temp.as_somebody('asked', q) FROM unnest(ARRAY['SELECT keystone.create_workspace(''quotas-asked'') IS NOT NULL', 'SELECT keystone.set_plan(''quotas-asked'', ''starter'')',
	'SELECT keystone.create_workspace(''quotas-asked-2'')']) q;
-- nor does what one has given away
SELECT pg_temp.as_somebody('giver', q) FROM unnest(ARRAY[format('SELECT keystone.transfer_ownership(''quotas-gift-2'', %L)', :'asked'), 'SELECT keystone.create_workspace(''quotas-giver'') IS NOT NULL']) q;

-- Periods begin on the anchor's day, or on the month's last one
SELECT keystone_private.period_at(p, '2024-01-31 10:20:30+00', t) FROM (VALUES ('month', '2024-02-15 00:00+00'::timestamptz), ('month', '2024-02-29 10:20:30+00'), ('month', '2024-03-31 10:20:29.999999+00'),
	('month', '2025-02-28 10:20:30+00'), ('month', '2024-01-31 10:20:30+00'), ('month', '2024-01-31 10:20:29+00'), ('week', '2024-03-04 10:20:29+00'), ('week', '2024-03-04 10:20:30+00'), ('day', '2024-03-01 10:20:29+00')) v (p, t);
SELECT pg_temp.attempt(format('SELECT keystone_private.period_at(''month'', %L, %L)', a, t)) FROM (VALUES ('infinity', '2024-01-01'), ('2024-01-01', '-infinity'), ('2024-01-01', '4714-11-24 00:00+00 BC'), ('2024-01-01', '294276-12-31 23:59+00')) v (a, t);
-- against arithmetic on dates, in all months of eight centuries
CREATE FUNCTION pg_temp.begins(anchor timestamp, month timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
	SELECT date_trunc('month', month) + (least(extract(day FROM anchor), extract(day FROM date_trunc('month', month) + interval '1 month - 1 day'))::int - 1) * interval '1 day' + anchor::time $$;
SELECT setseed(0.5);
WITH s AS MATERIALIZED (
	SELECT timestamp '1650-01-01' + random() * interval '290000 days' AS anchor, timestamp '1650-01-01' + random() * interval '290000 days' AS t FROM generate_series(1, 5000)
), edge AS MATERIALIZED (
	SELECT anchor, pg_temp.begins(anchor, t) + d * interval '1 microsecond' AS t FROM s, generate_series(-1, 1) d
	UNION ALL SELECT * FROM s
), p AS MATERIALIZED (
	SELECT e.anchor, e.t, k, (keystone_private.period_at(k, e.anchor AT TIME ZONE 'UTC', e.t AT TIME ZONE 'UTC')).* FROM edge e, unnest('{day,week,month}'::text[]) k
), q AS (
	SELECT k, anchor, t, period_start AT TIME ZONE 'UTC' AS b, period_end AT TIME ZONE 'UTC' AS e FROM p
)
SELECT k, count(*),
	count(*) FILTER (WHERE b <= t AND t < e) AS inside,
	count(*) FILTER (WHERE b::time = anchor::time AND e::time = anchor::time) AS time_of_day,
	count(*) FILTER (WHERE CASE k WHEN 'day' THEN e - b = interval '1 day'
		WHEN 'week' THEN e - b = interval '7 days' AND extract(isodow FROM b) = 1
		ELSE b = pg_temp.begins(anchor, b) AND e = pg_temp.begins(anchor, date_trunc('month', b) + interval '1 month') END) AS bounds
FROM q GROUP BY k ORDER BY k;
