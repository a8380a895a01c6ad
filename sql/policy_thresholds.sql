-- The settings soft_limit and hard_limit of policies: what is left of limits in
-- a workspace, for limit_consume() and its like and for what the verbs apply.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_thresholds_' || name);
	PERFORM keystone.grant_access(('regress_keystone_thresholds_' || name)::name, 'worker');
	RETURN keystone.register_principal('Thresholds ' || name, db_role => ('regress_keystone_thresholds_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('ann') AS ann, pg_temp.person('ben') AS ben, pg_temp.person('cyd') AS cyd \gset
CREATE ROLE regress_keystone_thresholds_dba;
SELECT keystone.grant_access('regress_keystone_thresholds_dba', 'admin');
-- What a limit answers, without times.
CREATE FUNCTION pg_temp.shown(r keystone.limit_result) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN r.allowed THEN 'allowed' ELSE 'refused' END, r.limit_name, r.window_name, r.remaining || '/' || r.limit_value,
		CASE WHEN r.near THEN 'near' END, CASE WHEN r.retry_after IS NOT NULL THEN 'retry' END) $$;
-- Consumes so often; each answer that differs from the one before but in what is left.
CREATE FUNCTION pg_temp.used(name text, key text, times int, workspace text DEFAULT 'thresholds') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r keystone.limit_result;
	allowed int := 0;
BEGIN
	FOR i IN 1 .. times LOOP
		r := keystone.limit_consume(name, key, workspace => workspace);
		allowed := allowed + r.allowed::int;
	END LOOP;
	RETURN allowed || ' of ' || times || ', then ' || pg_temp.shown(r);
END $$;
-- The outcomes of a query, each undone when it fails, with how often they came.
CREATE FUNCTION pg_temp.tried(query text, times int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	outcomes text[];
	outcome text;
BEGIN
	FOR i IN 1 .. times LOOP
		BEGIN
			EXECUTE query INTO outcome;
			outcome := 'ok';
		EXCEPTION WHEN OTHERS THEN
			outcome := sqlstate;
		END;
		outcomes := outcomes || outcome;
	END LOOP;
	RETURN (SELECT string_agg(o || ' x ' || n, ', ' ORDER BY first)
			FROM (SELECT o, count(*) AS n, min(i) AS first FROM unnest(outcomes) WITH ORDINALITY u (o, i) GROUP BY o) t);
END $$;
-- Its refusal: message and DETAIL without times; the hint says how long.
CREATE FUNCTION pg_temp.refusal(query text, OUT state text, OUT message text, OUT detail jsonb, OUT hint text) LANGUAGE plpgsql AS $$
DECLARE
	word text;
BEGIN
	EXECUTE query;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, word = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	state := sqlstate;
	detail := word::jsonb - 'retry_after' - 'reset_at';
	hint := regexp_replace(hint, '\d+', 'N');
END $$;
-- Puts a policy that sets something; drops one.
CREATE FUNCTION pg_temp.settings(id text, settings jsonb, more jsonb DEFAULT '{}', workspace text DEFAULT 'thresholds') RETURNS void LANGUAGE sql AS $$
	SELECT keystone.policy_put(workspace, jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', id, 'scope', '{"level": "workspace"}'::jsonb,
		'rules', '[]'::jsonb, 'settings', settings) || more) $$;
CREATE FUNCTION pg_temp.unset(VARIADIC ids text[]) RETURNS void LANGUAGE sql AS $$
	SELECT count(keystone.policy_drop('thresholds', i)) FROM unnest(ids) i $$;

SELECT keystone.limit_define('regress thresholds shared', '20/hour');
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT keystone.create_workspace('thresholds') AS ws \gset
SELECT count(keystone.create_workspace('thresholds-b'));
SELECT count(keystone.add_member(w, p, 'admin')) FROM (VALUES (:'ann'::uuid), (:'ben'), (:'cyd')) m (p), unnest('{thresholds,thresholds-b}'::text[]) w;
SELECT keystone.limit_define('api', '10/hour, 100/day', 'thresholds'),
	   keystone.limit_define('many', '100/hour', 'thresholds'),
	   keystone.limit_define('three', '3/hour', 'thresholds'),
	   keystone.limit_define('one', '1/hour', 'thresholds'),
	   keystone.limit_define('log', '16/day', 'thresholds', '{"algorithm": "log"}'),
	   keystone.limit_define('calendar', '200/month', 'thresholds', '{"algorithm": "calendar"}'),
	   keystone.limit_define('gcra', '100/month', 'thresholds', '{"algorithm": "gcra"}'),
	   keystone.limit_define('shadow', '10/hour', 'thresholds', '{"shadow": true}'),
	   keystone.limit_define('jobs', '10/hour', 'thresholds', '{"refund": true}'),
	   keystone.limit_define('jobs evenly', '200/month', 'thresholds', '{"refund": true, "algorithm": "gcra"}');

-- A hard limit: the number is another one, and what is counted is exact
SELECT pg_temp.settings('half', '{"hard_limit": 50}');
SELECT pg_temp.shown(keystone.limit_peek('api', 'k', 'thresholds'));
SELECT pg_temp.used('api', 'k', 4);
SELECT pg_temp.shown(keystone.limit_consume('api', 'k', 2, 'thresholds')) AS more_than_is_left;
SELECT pg_temp.shown(keystone.limit_consume('api', 'k', 6, 'thresholds')) AS more_than_it_allows;
SELECT pg_temp.used('api', 'k', 5), pg_temp.shown(keystone.limit_peek('api', 'k', 'thresholds'));
SELECT pg_temp.used('many', 'k', 60), pg_temp.used('log', 'k', 20), pg_temp.used('calendar', 'k', 120), pg_temp.used('gcra', 'k', 20), pg_temp.used('shadow', 'k', 7) \gx
SELECT * FROM pg_temp.refusal($$SELECT keystone.limit_require('api', 'k', 1, 'thresholds')$$) \gx
SELECT string_agg(k || ' ' || CASE WHEN k IN ('RateLimit-Reset', 'Retry-After') THEN 'N' ELSE v END, ', ')
FROM keystone.limit_consume('api', 'k', 1, 'thresholds') r, jsonb_array_elements(keystone.limit_headers(r)) h, jsonb_each_text(h) e (k, v);
SELECT pg_temp.shown(r) FROM keystone.limit_consume_many('[{"name": "api", "key": "k", "workspace": "thresholds"}, {"name": "many", "key": "other", "workspace": "thresholds"},
	{"name": "regress thresholds shared", "key": "k"}]') r;
SELECT pg_temp.shown(keystone.limit_peek('many', 'other', 'thresholds'));
-- of the database's limits, when they are used for the workspace; not what is
-- nobody's, nor another workspace's
SELECT pg_temp.used('regress thresholds shared', 'k', 11), pg_temp.used('regress thresholds shared', 'k', 21, 'thresholds-b'), pg_temp.used('regress thresholds shared', 'k', 21, NULL) \gx
SELECT count(*) FILTER (WHERE r.allowed), min(r.limit_value) FROM generate_series(1, 11) i, keystone.rate_limit('thresholds', '10/hour') r;
-- a number of some per cent, at least 1
SELECT pg_temp.settings('half', '{"hard_limit": 99}');
SELECT pg_temp.shown(keystone.limit_peek(n, 'part', 'thresholds')) FROM unnest('{api,three,one,many,gcra}'::text[]) n;
SELECT pg_temp.settings('half', '{"hard_limit": 1}');
SELECT pg_temp.shown(keystone.limit_peek(n, 'part', 'thresholds')) FROM unnest('{api,three,one,many,gcra}'::text[]) n;
SELECT pg_temp.settings('half', '{"hard_limit": 100}');
SELECT pg_temp.shown(keystone.limit_peek(n, 'part', 'thresholds')) FROM unnest('{api,three,one,many,gcra}'::text[]) n;
-- dropped, the whole limit is there again, and nothing is forgotten
SELECT pg_temp.unset('half');
SELECT pg_temp.shown(keystone.limit_peek(n, 'k', 'thresholds')) FROM unnest('{api,many,log,calendar,regress thresholds shared}'::text[]) n;
SELECT pg_temp.used('api', 'k', 7), pg_temp.used('many', 'k', 60), pg_temp.used('log', 'k', 20), pg_temp.used('calendar', 'k', 120) \gx
-- put again, more is used than is allowed
SELECT pg_temp.settings('half', '{"hard_limit": 50}');
SELECT pg_temp.shown(keystone.limit_peek(n, 'k', 'thresholds')) FROM unnest('{api,many,log,calendar}'::text[]) n;

-- What was given back counts no more, whatever the policy was meanwhile
SELECT token AS token1 FROM keystone.limit_consume('jobs', 'k', 3, 'thresholds') \gset
SELECT token AS token2 FROM keystone.limit_consume('jobs evenly', 'k', 8, 'thresholds') \gset
SELECT pg_temp.unset('half');
SELECT token AS token3 FROM keystone.limit_consume('jobs', 'k', 4, 'thresholds') \gset
SELECT keystone.limit_refund(:'token1'), keystone.limit_refund(:'token2'), keystone.limit_refund(:'token2');
SELECT pg_temp.settings('half', '{"hard_limit": 50}');
SELECT keystone.limit_refund(:'token3');
SELECT pg_temp.shown(keystone.limit_peek('jobs', 'k', 'thresholds')), pg_temp.shown(keystone.limit_peek('jobs evenly', 'k', 'thresholds'));
SELECT pg_temp.unset('half');

-- A soft limit: from where on an answer says so; of the lowered number
SELECT pg_temp.settings('soft', '{"soft_limit": 40}');
SELECT pg_temp.shown(r) FROM generate_series(1, 5) i, keystone.limit_consume('api', 'soft ' || i, i, 'thresholds') r;
SELECT pg_temp.settings('hard', '{"hard_limit": 50}');
SELECT pg_temp.shown(r) FROM generate_series(1, 5) i, keystone.limit_consume('api', 'both ' || i, i, 'thresholds') r;
-- the limit's own, when that is lower
SELECT pg_temp.settings('soft', '{"soft_limit": 100}');
SELECT pg_temp.shown(r) FROM generate_series(1, 5) i, keystone.limit_consume('api', 'own ' || i, i, 'thresholds') r;
SELECT pg_temp.unset('soft', 'hard');

-- The strictest of all documents that are about everything there
SET SESSION AUTHORIZATION regress_keystone_thresholds_dba;
SELECT pg_temp.settings('regress-thresholds', '{"hard_limit": 80, "soft_limit": 50}', '{"scope": {"level": "system"}}', NULL);
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.shown(keystone.limit_consume('api', 'system', 4, 'thresholds')), pg_temp.shown(keystone.limit_consume('regress thresholds shared', 'system', 1));
SELECT pg_temp.settings('a', '{"hard_limit": 60}'), pg_temp.settings('b', '{"hard_limit": 70}'), pg_temp.settings('c', '{"hard_limit": 10}', '{"enforcement": "shadow"}'),
	   pg_temp.settings('d', '{"hard_limit": 20}', '{"scope": {"level": "provider", "id": "openai"}}'), pg_temp.settings('e', '{"hard_limit": 30}', '{"scope": {"level": "secret", "id": "**"}}');
SELECT pg_temp.shown(keystone.limit_peek('api', 'system', 'thresholds'));
SELECT pg_temp.unset('a', 'b', 'c', 'd', 'e');
SET SESSION AUTHORIZATION regress_keystone_thresholds_dba;
SELECT pg_temp.settings('regress-thresholds', '{"hard_limit": 80}', '{"scope": {"level": "system"}, "delegates": ["hard_limit"]}', NULL);
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.settings('a', '{"hard_limit": 90}');
SELECT pg_temp.shown(keystone.limit_peek('api', 'system', 'thresholds')) AS delegated, pg_temp.shown(keystone.limit_peek('regress thresholds shared', 'system', 'thresholds-b')) AS elsewhere;
SELECT pg_temp.unset('a');
SET SESSION AUTHORIZATION regress_keystone_thresholds_dba;
SELECT keystone.policy_drop(NULL, 'regress-thresholds') IS NOT NULL AS dropped;

-- Verbs: the windows of providers, and the definitions that they apply; what is
-- set for the credential holds, as policy_explain() shows it
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT credential AS openai FROM keystone.store('thresholds', 'OPENAI', 'sk-FAKEfakeFAKEfakeFAKE', provider => 'openai') \gset
SELECT credential AS other FROM keystone.store('thresholds', 'OTHER', 'sk-FAKEfakeFAKEfakeFAKE2', provider => 'openai') \gset
SELECT credential AS plain FROM keystone.store('thresholds', 'PLAIN', 'plain') \gset
SELECT credential AS elsewhere FROM keystone.store('thresholds-b', 'OPENAI', 'sk-FAKEfakeFAKEfakeFAKE3', provider => 'openai') \gset
SELECT pg_temp.settings('openai', '{"hard_limit": 40}', '{"scope": {"level": "provider", "id": "openai"}, "delegates": ["hard_limit"]}');
SELECT pg_temp.settings('loose', '{"hard_limit": 60}', jsonb_build_object('scope', jsonb_build_object('level', 'secret', 'id', :'other')));
SELECT keystone.policy_explain('thresholds', 'reveal', jsonb_build_object('credential', c)) -> 'settings' ->> 'hard_limit'
FROM unnest(ARRAY[:'openai', :'other', :'plain']::uuid[]) c;
SET SESSION AUTHORIZATION regress_keystone_thresholds_ann;
SELECT pg_temp.tried($$SELECT keystone.reveal('thresholds', 'OPENAI')$$, 6);
SELECT * FROM pg_temp.refusal($$SELECT keystone.reveal('thresholds', 'OPENAI')$$) \gx
SELECT name, left(problem, 5) AS problem FROM keystone.reveal_many(ARRAY[:'openai', :'other', :'plain', :'other', :'other']::uuid[]);
-- the counter is the user's, and goes on where nothing is set
SELECT pg_temp.tried($$SELECT keystone.reveal('thresholds-b', 'OPENAI')$$, 6), pg_temp.tried($$SELECT keystone.reveal('thresholds', 'PLAIN')$$, 12);
SET SESSION AUTHORIZATION regress_keystone_thresholds_ben;
SELECT pg_temp.tried($$SELECT keystone.reveal('thresholds-b', 'OPENAI')$$, 5), pg_temp.tried($$SELECT keystone.reveal('thresholds', 'OPENAI')$$, 2),
	   pg_temp.tried($$SELECT keystone.reveal('thresholds', 'OTHER')$$, 2), pg_temp.tried($$SELECT keystone.reveal('thresholds-b', 'OPENAI')$$, 5);
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.unset('openai', 'loose');
SELECT keystone.limit_define('reveals', '10/hour', 'thresholds', '{"enforce": {"action": "reveal"}, "key": ["principal", "credential"]}'),
	   keystone.limit_define('rotations', '4/hour', 'thresholds', '{"enforce": {"action": "rotate"}, "key": ["credential"]}');
SELECT pg_temp.settings('plain', '{"hard_limit": 50, "soft_limit": 40}', '{"scope": {"level": "secret", "id": "PLAIN"}}');
SET SESSION AUTHORIZATION regress_keystone_thresholds_cyd;
SELECT pg_temp.tried($$SELECT keystone.reveal('thresholds', 'PLAIN')$$, 7), pg_temp.tried(format('SELECT keystone.rotate(%L, ''plain'')', :'plain'), 4),
	   pg_temp.tried($$SELECT keystone.store('thresholds', 'PLAIN', 'plain')$$, 1), pg_temp.tried(format('SELECT keystone.rollback_to(%L, 1)', :'plain'), 1),
	   pg_temp.tried(format('SELECT keystone.rotate(%L, ''sk-FAKEfakeFAKEfakeFAKE4'')', :'other'), 5) \gx
SELECT * FROM pg_temp.refusal(format('SELECT keystone.rotate(%L, ''plain'')', :'plain')) \gx
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.unset('plain');
SET SESSION AUTHORIZATION regress_keystone_thresholds_cyd;
SELECT pg_temp.tried($$SELECT keystone.reveal('thresholds', 'PLAIN')$$, 7), pg_temp.tried(format('SELECT keystone.rotate(%L, ''plain'')', :'plain'), 4);
-- what is looked at is what would be left without a credential
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.settings('half', '{"hard_limit": 50}');
SELECT pg_temp.shown(keystone.limit_peek('rotations', :'openai', 'thresholds'));

-- A damaged policy could have said anything
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone_private.policies DISABLE TRIGGER USER;
UPDATE keystone_private.policies SET document = document || '{"settings": {}}' WHERE workspace_id = :'ws' AND id = 'half';
ALTER TABLE keystone_private.policies ENABLE TRIGGER USER;
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT * FROM pg_temp.refusal($$SELECT keystone.limit_consume('api', 'damaged', 1, 'thresholds')$$) \gx
SELECT pg_temp.tried($$SELECT keystone.limit_peek('api', 'damaged', 'thresholds')$$, 1), pg_temp.tried($$SELECT keystone.limit_consume_many('[{"name": "api", "key": "damaged", "workspace": "thresholds"}]')$$, 1),
	   pg_temp.tried($$SELECT keystone.limit_consume('regress thresholds shared', 'damaged', 1)$$, 1), pg_temp.tried($$SELECT keystone.limit_block('api', 'damaged', now() + '1 hour', 'so', 'thresholds')$$, 1);
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone_private.policies DISABLE TRIGGER USER;
UPDATE keystone_private.policies SET document = document || '{"settings": {"hard_limit": 50}}' WHERE workspace_id = :'ws' AND id = 'half';
ALTER TABLE keystone_private.policies ENABLE TRIGGER USER;
SET SESSION AUTHORIZATION regress_keystone_thresholds_owner;
SELECT pg_temp.shown(keystone.limit_peek('api', 'repaired', 'thresholds'));
SELECT pg_temp.unset('half');

-- A change that is rolled back is none; one holds in its own transaction
BEGIN;
SELECT pg_temp.settings('half', '{"hard_limit": 50}');
SELECT pg_temp.shown(keystone.limit_peek('api', 'within', 'thresholds'));
ROLLBACK;
SELECT pg_temp.shown(keystone.limit_peek('api', 'within', 'thresholds'));

RESET SESSION AUTHORIZATION;
SELECT keystone.limit_drop('regress thresholds shared');
