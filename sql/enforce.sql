-- Limits that reveal() and rotate() apply by themselves: of the credential's
-- provider, and those that somebody defined with "enforce".
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text, kind text DEFAULT 'user') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_enforce_' || name);
	PERFORM keystone.grant_access(('regress_keystone_enforce_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), kind, db_role => ('regress_keystone_enforce_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT keystone.grant_access('regress_keystone_enforce_owner', 'worker');
SELECT pg_temp.person('ann') AS ann \gset
SELECT pg_temp.person('bob') AS bob \gset
SELECT pg_temp.person('cyd') AS cyd \gset
SELECT pg_temp.person('dan') AS dan \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('stranger') AS stranger \gset
SELECT pg_temp.person('robot', 'service') AS robot \gset
CREATE ROLE regress_keystone_enforce_app;
SELECT keystone.grant_access('regress_keystone_enforce_app', 'client');
CREATE ROLE regress_keystone_enforce_dba;
SELECT keystone.grant_access('regress_keystone_enforce_dba', 'admin');

-- Runs a query so many times, each in a subtransaction that is rolled back when
-- it fails: what came of it, in order, with the number of times.
CREATE FUNCTION enforce_try(query text, times int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	outcomes text[];
	outcome text;
BEGIN
	FOR i IN 1 .. times LOOP
		BEGIN
			EXECUTE query INTO outcome;
		EXCEPTION WHEN OTHERS THEN
			outcome := sqlstate;
		END;
		outcomes := outcomes || outcome;
	END LOOP;
	RETURN (SELECT string_agg(o || ' x ' || n, ', ' ORDER BY first)
			FROM (SELECT o, count(*) AS n, min(i) AS first FROM unnest(outcomes) WITH ORDINALITY u (o, i) GROUP BY o) t);
END $$;
-- Its error: message, the constant parts of DETAIL, hint.
CREATE FUNCTION enforce_error(query text, OUT state text, OUT message text, OUT detail jsonb, OUT retry_after text, OUT reset_at text, OUT hint text)
LANGUAGE plpgsql AS $$
DECLARE
	whole jsonb;
	seconds int;
	word text;
BEGIN
	EXECUTE query;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, word = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	state := sqlstate;
	IF word LIKE '{%' THEN
		whole := word;
		detail := whole - 'retry_after' - 'reset_at';
		seconds := whole ->> 'retry_after';
		retry_after := CASE WHEN seconds BETWEEN 1 AND 3720 THEN 'within the hour' ELSE seconds::text END;
		reset_at := CASE WHEN (whole ->> 'reset_at')::timestamptz BETWEEN now() AND now() + interval '63 min' THEN 'within the hour' ELSE whole ->> 'reset_at' END;
		hint := replace(hint, seconds::text, 'N');
	END IF;
END $$;

SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.create_workspace('enforce') AS ws \gset
SELECT count(keystone.add_member('enforce', p, r)) FROM (VALUES (:'ann'::uuid, 'admin'), (:'bob', 'admin'), (:'cyd', 'admin'), (:'dan', 'admin'),
	(:'operator', 'operator'), (:'robot', 'service')) m (p, r);
SELECT credential AS openai FROM keystone.store('enforce', 'OPENAI', 'sk-FAKEfakeFAKEfakeFAKE', provider => 'openai') \gset
SELECT credential AS openai2 FROM keystone.store('enforce', 'OPENAI2', 'sk-FAKEfakeFAKEfakeFAKE2', provider => 'openai') \gset
SELECT credential AS cohere FROM keystone.store('enforce', 'COHERE', 'cohere', provider => 'cohere') \gset
SELECT credential AS sendgrid FROM keystone.store('enforce', 'SENDGRID', 'SG.FAKEfakeFAKEfakeFAKE', provider => 'sendgrid') \gset
SELECT credential AS plain FROM keystone.store('enforce', 'PLAIN', 'plain') \gset
SELECT api_key AS key FROM keystone.create_api_key('enforce', 'program', 'service') \gset

-- A provider's windows, for each user: 10 an hour, of any of its credentials
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 9);
SELECT enforce_try(format('SELECT left(keystone.reveal_by_id(%L), 3)', :'openai2'), 3);
SELECT * FROM enforce_error($$SELECT keystone.reveal('enforce', 'OPENAI')$$) \gx
SELECT * FROM enforce_error(format('SELECT keystone.reveal_by_id(%L)', :'openai')) \gx
SELECT name, version, value, regexp_replace(problem, '\d+ seconds', 'N seconds') AS problem
FROM keystone.reveal_many(ARRAY[:'openai', :'cohere', :'openai2', :'plain']::uuid[]);
SELECT name, value IS NULL AS refused, regexp_replace(problem, '\d+ seconds', 'N seconds') AS problem FROM keystone.reveal_env('enforce') ORDER BY name;
SELECT name, value IS NULL AS refused, left(problem, 5) AS problem FROM keystone.reveal_env('enforce', names => '{OPENAI,PLAIN}');
SELECT regexp_replace(keystone.export_env('enforce'), '\d+ seconds', 'N seconds', 'g') AS exported;
-- ... not another user, nor another provider, nor what has none
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 30), enforce_try($$SELECT keystone.reveal('enforce', 'COHERE')$$, 3);
SET SESSION AUTHORIZATION regress_keystone_enforce_bob;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 1);
-- ... nor services and API keys
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 25);
SET SESSION AUTHORIZATION regress_keystone_enforce_app;
BEGIN;
SELECT FROM keystone.authenticate(:'key');
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 25);
COMMIT;
-- what the log has of it
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'sqlstate' AS sqlstate, detail ->> 'limit' AS "limit", detail ->> 'window' AS window,
	   (detail ->> 'retry_after')::int BETWEEN 1 AND 3720 AS soon, detail ->> 'name' AS name, count(*) > 1 AS many
FROM keystone.audit_log WHERE actor = :'ann' AND outcome = 'denied' GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY name;

-- An attempt stays counted when what it was for is undone
SET SESSION AUTHORIZATION regress_keystone_enforce_bob;
BEGIN;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 4);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 4);
ROLLBACK TO s;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 4);
COMMIT;
-- many at once: each for itself
SET SESSION AUTHORIZATION regress_keystone_enforce_cyd;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 9);
SELECT name, left(value, 3) AS value, left(problem, 5) AS problem
FROM keystone.reveal_many(ARRAY[:'plain', :'openai', :'openai2', :'cohere', :'openai', :'plain']::uuid[]);

-- What is refused for another reason counts nothing: the ninth and tenth are
-- still there.  Nor does a look-up, nor metadata.
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT version FROM keystone.store('enforce', 'INACTIVE', 'sk-FAKEfakeFAKEfakeFAKE3', provider => 'openai');
SELECT keystone.set_active(keystone.credential_id('enforce', 'INACTIVE'), false);
SET SESSION AUTHORIZATION regress_keystone_enforce_dan;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 8);
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'INACTIVE')$$, 3), enforce_try($$SELECT keystone.reveal('enforce', 'none')$$, 3),
	   enforce_try($$SELECT keystone.reveal('enforce', 'OPENAI', version => 7)$$, 3), enforce_try($$SELECT keystone.reveal('enforce', 'OPENAI', scope => 'own')$$, 3),
	   enforce_try($$SELECT keystone.credential_id('enforce', 'OPENAI') IS NOT NULL$$, 3), enforce_try($$SELECT keystone.rotate(keystone.credential_id('enforce', 'OPENAI'), 'sk-FAKEfakeFAKEfakeFAKE4', dry_run => true) IS NOT NULL$$, 12);
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'OPENAI'), 3)$$, 3);

-- A limit of the workspace binds all members together, services too, of all
-- credentials.  Who may not reveal does not drain it.
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('all reveals', '6/hour', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["workspace"]}');
SET SESSION AUTHORIZATION regress_keystone_enforce_stranger;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 20), enforce_try(format('SELECT keystone.reveal_by_id(%L)', :'plain'), 20);
SET SESSION AUTHORIZATION regress_keystone_enforce_operator;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 20);
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT allowed, remaining FROM keystone.limit_peek('all reveals', :'ws', 'enforce');
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT allowed, remaining FROM keystone.limit_peek('all reveals', :'ws', 'enforce');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
SELECT * FROM enforce_error($$SELECT keystone.reveal('enforce', 'PLAIN')$$) \gx
SET SESSION AUTHORIZATION regress_keystone_enforce_bob;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'COHERE')$$, 25), enforce_try($$SELECT keystone.reveal('enforce', 'OPENAI')$$, 2);
-- defined anew, what was consumed counts on
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('all reveals', '8/hour', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["workspace"]}');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
-- a shadow refuses nothing, and one that is dropped is gone
SELECT keystone.limit_define('all reveals', '8/hour', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["workspace"], "shadow": true}');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
SELECT keystone.limit_define('all reveals', '1/hour', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["workspace"]}');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
SELECT keystone.limit_drop('all reveals', 'enforce');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
-- what the workspace's limit refused has taken nothing from the user's own: 20
-- of cohere are left
SET SESSION AUTHORIZATION regress_keystone_enforce_bob;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'COHERE')$$, 25);

-- One for a provider, by credential; and blocked by hand
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('each cohere', '2/hour', 'enforce', '{"enforce": {"action": "reveal", "provider": "cohere"}, "key": ["credential"]}');
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'COHERE')$$, 4), enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 4);
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('each member', '1000/hour', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["principal"]}');
SELECT keystone.limit_block('each member', :'robot', now() + interval '30 min', 'a test', 'enforce');
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2);
SELECT * FROM enforce_error($$SELECT keystone.reveal('enforce', 'PLAIN')$$) \gx
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2);
SELECT keystone.limit_unblock('each member', :'robot', 'enforce');
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2);

-- One of the database binds every workspace
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.limit_define('enforce everywhere', '3/hour', options => '{"enforce": {"action": "reveal", "provider": "sendgrid"}, "key": ["provider"]}');
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.create_workspace('enforce-two') AS two \gset
SELECT version FROM keystone.store('enforce-two', 'SENDGRID', 'SG.FAKEfakeFAKEfakeFAKE', provider => 'sendgrid');
SELECT enforce_try($$SELECT left(keystone.reveal('enforce-two', 'SENDGRID'), 3)$$, 2), enforce_try($$SELECT left(keystone.reveal('enforce', 'SENDGRID'), 3)$$, 2);
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'SENDGRID'), 3)$$, 2), enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2);
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.limit_drop('enforce everywhere');
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT left(keystone.reveal('enforce', 'SENDGRID'), 3)$$, 2);

-- rotate, and what else makes a version the current one; each user and provider
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT enforce_try(format('SELECT (keystone.rotate(%L, ''SG.FAKEfakeFAKEfakeFAKE'')).version IS NOT NULL', :'sendgrid'), 5);
SELECT * FROM enforce_error(format('SELECT keystone.rotate(%L, ''SG.FAKEfakeFAKEfakeFAKE'')', :'sendgrid')) \gx
SELECT enforce_try($$SELECT action FROM keystone.store('enforce', 'SENDGRID', 'SG.FAKEfakeFAKEfakeFAKE')$$, 2),
	   enforce_try($$SELECT action FROM keystone.store('enforce', 'SENDGRID', 'SG.FAKEfakeFAKEfakeFAKE', provider => 'cohere')$$, 2),
	   enforce_try($$SELECT action FROM keystone.store('enforce', 'SENDGRID', 'SG.FAKEfakeFAKEfakeFAKE', state => 'pending')$$, 2),
	   enforce_try($$SELECT action FROM keystone.store('enforce', 'SENDGRID3', 'SG.FAKEfakeFAKEfakeFAKE', provider => 'sendgrid')$$, 1);
SELECT enforce_try(format('SELECT keystone.promote(%L, 8)', :'sendgrid')), enforce_try(format('SELECT keystone.promote(%L, 2)', :'sendgrid')),
	   enforce_try(format('SELECT keystone.rollback_to(%L, 1)', :'sendgrid')), enforce_try(format('SELECT keystone.rollback_to(%L, 6)', :'sendgrid'));
SELECT current_version FROM keystone.credentials WHERE id = :'sendgrid';
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try(format('SELECT keystone.promote(%L, 8)', :'sendgrid')), enforce_try(format('SELECT keystone.rollback_to(%L, 1)', :'sendgrid')),
	   enforce_try(format('SELECT (keystone.rotate(%L, ''SG.FAKEfakeFAKEfakeFAKE'', expected_version => 1)).version', :'sendgrid'), 9);
SELECT enforce_try(format('SELECT (keystone.rotate(%L, ''SG.FAKEfakeFAKEfakeFAKE'')).version IS NOT NULL', :'sendgrid'), 4);
-- ... and a limit of the workspace on rotations, which reveals do not count for
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('all rotations', '2/day', 'enforce', '{"enforce": {"action": "rotate"}, "key": ["workspace"]}');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 3),
	   enforce_try(format('SELECT (keystone.rotate(%L, ''plain'')).version IS NOT NULL', :'plain'), 3);
SET SESSION AUTHORIZATION regress_keystone_enforce_operator;
SELECT enforce_try(format('SELECT (keystone.rotate(%L, ''plain'')).version IS NOT NULL', :'plain'), 1);
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'limit' AS "limit", detail ->> 'window' AS window, detail ->> 'name' AS name
FROM keystone.audit_log WHERE actor = :'operator' AND detail ->> 'sqlstate' = 'PT429' ORDER BY seq;

-- A provider's windows changed by an administrator hold at once, and what was
-- consumed counts on; without windows it has no limits
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '20/hour, 30/day');
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT version FROM keystone.store('enforce', 'DEFINED', 'defined', provider => 'regress-enforce');
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'DEFINED')$$, 10);
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '12/hour');
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'DEFINED')$$, 4);
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => NULL);
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'DEFINED')$$, 25);
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '12/hour, 30/day');
SET SESSION AUTHORIZATION regress_keystone_enforce_ann;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'DEFINED')$$, 2);

-- What cannot be read is refused where it is written, not by each reveal
SET SESSION AUTHORIZATION regress_keystone_enforce_dba;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '12 an hour');
RESET SESSION AUTHORIZATION;
ALTER SYSTEM SET keystone.reveal_limit = '12 an hour';
ALTER SYSTEM SET keystone.workspace_reveal_limit = '12/hour, 13/60 minutes';
SELECT name, limits FROM keystone.providers WHERE name = 'regress-enforce';

-- A limit is not loosened for the rest of a transaction, which could be rolled
-- back and leave no entry; one without enforce is nothing to the vault
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT keystone.limit_define('plain', '1/day', 'enforce', '{"enforce": {"action": "reveal"}, "key": ["credential"]}');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2);
BEGIN;
SELECT keystone.limit_drop('plain', 'enforce');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 2),
	   enforce_try(format('SELECT (keystone.rotate(%L, ''plain'')).version IS NOT NULL', :'plain'), 1);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT keystone.limit_define('plain', '100/day', 'enforce', '{"key": ["credential"], "enforce": {"action": "reveal"}}');
ROLLBACK TO s;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 1);
COMMIT;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 1);
SELECT keystone.limit_drop('plain', 'enforce');
BEGIN;
SELECT keystone.limit_define('mails', '1/day', 'enforce');
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$, 1);
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- No key of rate_limit() is one of the vault's, not even for the principal whose
-- bytes are the tag of the vault's keys
CREATE ROLE regress_keystone_enforce_tag;
CREATE ROLE regress_keystone_enforce_letters;
SELECT count(keystone.grant_access(r::name, p)) FROM (VALUES ('regress_keystone_enforce_tag', 'worker'), ('regress_keystone_enforce_letters', 'client')) v (r, p);
SELECT count(keystone.register_principal('Odd', 'user', i, r)) FROM (VALUES ('72657665-616c-2070-726f-766964657200'::uuid, 'regress_keystone_enforce_tag'::name),
	('41414141-4141-4141-4141-414141414141', 'regress_keystone_enforce_letters')) v (i, r);
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT count(keystone.create_workspace('enforce-odd'));
SELECT version FROM keystone.store('enforce-odd', 'COHERE', 'cohere', provider => 'cohere');
SELECT keystone.add_member('enforce-odd', '41414141-4141-4141-4141-414141414141', 'service');
SET SESSION AUTHORIZATION regress_keystone_enforce_tag;
SELECT allowed FROM keystone.rate_limit(repeat('A', 16) || 'cohere', '20/hour, 200/day, 5000/month', 20);
SET SESSION AUTHORIZATION regress_keystone_enforce_letters;
SELECT enforce_try($$SELECT keystone.reveal('enforce-odd', 'COHERE')$$, 1);
RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(r::name, p)) FROM (VALUES ('regress_keystone_enforce_tag', 'worker'), ('regress_keystone_enforce_letters', 'client')) v (r, p);
DROP ROLE regress_keystone_enforce_tag, regress_keystone_enforce_letters;

-- Importing what is there already is no reveal: nothing is given
SET SESSION AUTHORIZATION regress_keystone_enforce_cyd;
SELECT name, action FROM keystone.import_env('enforce', 'OPENAI=sk-FAKEfakeFAKEfakeFAKE');

-- Windows of a provider that somebody has written by hand and that cannot be
-- read: they refuse whom they bind, and health names the provider
RESET SESSION AUTHORIZATION;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '9/hour');
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT credential AS odd FROM keystone.store('enforce', 'ODD', 'odd', provider => 'regress-enforce') \gset
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'ODD')$$, 1);
RESET SESSION AUTHORIZATION;
SELECT ok, detail FROM keystone.health WHERE check_name = 'provider limits';
UPDATE keystone_private.provider_definitions SET limits = '9 an hour' WHERE name = 'regress-enforce';
SELECT ok, detail FROM keystone.health WHERE check_name = 'provider limits';
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT state, message, hint FROM enforce_error($$SELECT keystone.reveal('enforce', 'ODD')$$);
SELECT enforce_try(format('SELECT keystone.rotate(%L, ''odd'')', :'odd')) AS rotate, enforce_try($$SELECT keystone.reveal('enforce', 'PLAIN')$$) AS another;
SET SESSION AUTHORIZATION regress_keystone_enforce_robot;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'ODD')$$) AS not_bound;
RESET SESSION AUTHORIZATION;
SELECT keystone.provider_define('regress-enforce', 'shared_key', limits => '9/hour');
SET SESSION AUTHORIZATION regress_keystone_enforce_owner;
SELECT enforce_try($$SELECT keystone.reveal('enforce', 'ODD')$$, 1);

RESET SESSION AUTHORIZATION;
DROP FUNCTION enforce_try(text, int), enforce_error(text);
SELECT keystone.revoke_access('regress_keystone_enforce_dba', 'admin'), keystone.revoke_access('regress_keystone_enforce_owner', 'worker');
SELECT count(keystone.revoke_access(('regress_keystone_enforce_' || r)::name, 'client')) AS revoked FROM unnest('{owner,ann,bob,cyd,dan,operator,stranger,robot,app}'::text[]) r;
DROP ROLE regress_keystone_enforce_owner, regress_keystone_enforce_ann, regress_keystone_enforce_bob, regress_keystone_enforce_cyd, regress_keystone_enforce_dan,
	regress_keystone_enforce_operator, regress_keystone_enforce_stranger, regress_keystone_enforce_robot, regress_keystone_enforce_app, regress_keystone_enforce_dba;
