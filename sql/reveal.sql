-- reveal() and its kin: which credential, which part, and who gets it.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_reveal_' || name);
	PERFORM keystone.grant_access(('regress_keystone_reveal_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_reveal_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('service') AS service \gset
SELECT pg_temp.person('auditor') AS auditor \gset
SELECT pg_temp.person('stranger') AS stranger \gset
SET SESSION AUTHORIZATION regress_keystone_reveal_owner;
SELECT keystone.create_workspace('reveal') AS ws \gset
SELECT count(keystone.add_member('reveal', p, r)) FROM (VALUES (:'viewer'::uuid, 'viewer'), (:'operator', 'operator'), (:'service', 'service'), (:'auditor', 'auditor')) m (p, r);
SELECT credential AS shared FROM keystone.store('reveal', 'token', 'shared v1') \gset
SELECT version FROM keystone.store('reveal', 'token', 'shared v2');
SELECT version FROM keystone.store('reveal', 'token', 'shared v3', state => 'pending');
SELECT credential AS own FROM keystone.store('reveal', 'token', 'own', personal => true) \gset
SELECT credential AS only FROM keystone.store('reveal', 'only shared', 'os') \gset
SELECT credential AS json FROM keystone.store('reveal', 'pair', '{"id": "AKIA", "secret": "s\u00fc\"x\n", "n": 12.50, "t": true, "none": null, "o": {"id": [1, {"a": "b"}]}, "id": "last wins", "": "empty name"}') \gset
SELECT credential AS expired FROM keystone.store('reveal', 'expired', 'e', expires_at => '2000-01-01 00:00:00+00') \gset
SELECT credential AS inactive FROM keystone.store('reveal', 'inactive', 'i') \gset
SELECT keystone.set_active(:'inactive', false);
SELECT credential AS deleted FROM keystone.store('reveal', 'deleted', 'd') \gset
SELECT keystone.delete_credential(:'deleted');
SELECT credential AS destroyed FROM keystone.store('reveal', 'destroyed', 'x') \gset
SELECT keystone.destroy_credential(:'destroyed');
SELECT credential AS waiting FROM keystone.store('reveal', 'waiting', 'w', state => 'pending') \gset

-- scope: own, shared, any (own first)
SELECT keystone.reveal('reveal', 'token') AS any, keystone.reveal('reveal', 'token', scope => 'any') AS any2,
	   keystone.reveal('reveal', 'token', scope => 'own') AS own, keystone.reveal('reveal', 'token', scope => 'shared') AS shared,
	   keystone.reveal('reveal', 'only shared') AS only_shared;
SELECT keystone.reveal('reveal', 'only shared', scope => 'own');
SELECT keystone.reveal('reveal', 'token', scope => 'mine');
SELECT keystone.reveal('reveal', 'token', scope => '');
-- version: NULL is the current one
SELECT v, keystone.reveal('reveal', 'token', version => v, scope => 'shared'), keystone.reveal_by_id(:'shared', v) FROM unnest('{NULL,1,2,3}'::int[]) v;
SELECT keystone.reveal('reveal', 'token', version => 4, scope => 'shared');
SELECT keystone.reveal('reveal', 'token', version => 0);
SELECT keystone.reveal('reveal', 'token', version => -1);
SELECT keystone.reveal_by_id(:'shared', 4);
SELECT keystone.reveal_by_id(:'shared', 0);
-- field of a JSON value: strings as text, others as JSON; missing and null are PT404
SELECT f, keystone.reveal('reveal', 'pair', field => f), keystone.reveal_by_id(:'json', field => f) = keystone.reveal('reveal', 'pair', field => f) AS same
FROM unnest('{id,secret,n,t,o,""}'::text[]) f;
SELECT keystone.reveal('reveal', 'pair', field => 'none');
SELECT keystone.reveal('reveal', 'pair', field => 'missing');
SELECT keystone.reveal('reveal', 'pair', field => 'o.id');
SELECT keystone.reveal('reveal', 'only shared', field => 'id');
SELECT keystone.reveal('reveal', 'only shared', field => '');
-- owner: one's own; somebody else's is not given before it is shared
SELECT keystone.reveal('reveal', 'token', owner => :'owner');
SELECT keystone.reveal('reveal', 'only shared', owner => :'owner');
SELECT keystone.reveal('reveal', 'token', owner => :'viewer');
-- environment
SELECT keystone.reveal('reveal', 'token', 'prod');
SELECT keystone.reveal('reveal', 'token', 'Default');

-- Not revealed, and why: 42501 for what one sees, PT404 for what is no more
SELECT keystone.reveal('reveal', 'expired');
SELECT keystone.reveal('reveal', 'inactive');
SELECT keystone.reveal('reveal', 'inactive', version => 1);
SELECT keystone.reveal('reveal', 'deleted');
SELECT keystone.reveal('reveal', 'destroyed');
SELECT keystone.reveal('reveal', 'waiting');
SELECT keystone.reveal('reveal', 'waiting', version => 1);
SELECT keystone.reveal_by_id(:'expired');
SELECT keystone.reveal_by_id(:'inactive');
SELECT keystone.reveal_by_id(:'deleted');
SELECT keystone.reveal_by_id(:'deleted', 1);
SELECT keystone.reveal_by_id(:'destroyed');
SELECT keystone.reveal_by_id(:'waiting');
SELECT keystone.reveal_by_id('00000000-0000-4000-8000-000000000000');
SELECT keystone.update_metadata(:'expired', '{"expires_at": null}');
SELECT keystone.set_active(:'inactive', true);
SELECT keystone.reveal('reveal', 'expired') AS no_longer, keystone.reveal('reveal', 'inactive') AS active_again;
SELECT keystone.update_metadata(:'expired', '{"expires_at": "2000-01-01T00:00:00Z"}');
SELECT keystone.set_active(:'inactive', false);

-- I4: who: by role, for a shared, another's personal, an unknown credential
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text; message text; detail text; hint text;
BEGIN
	EXECUTE sql INTO result;
	RETURN result;
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN rtrim(format('%s %s; %s; %s', sqlstate, message, detail, hint), '; ');
END $$;
CREATE TEMP TABLE seen (who text, shared text, shared_id text, personal_id text, missing text, missing_id text);
GRANT ALL ON seen TO PUBLIC;
\set quiet_echo :ECHO
\set ECHO none
SELECT format('SET SESSION AUTHORIZATION regress_keystone_reveal_%s; INSERT INTO seen SELECT %L, pg_temp.try(%L), pg_temp.try(%L), pg_temp.try(%L), pg_temp.try(%L), pg_temp.try(%L); RESET SESSION AUTHORIZATION',
	r, r, 'SELECT keystone.reveal(''reveal'', ''only shared'')', format('SELECT keystone.reveal_by_id(%L)', :'only'), format('SELECT keystone.reveal_by_id(%L)', :'own'),
	'SELECT keystone.reveal(''reveal'', ''missing'')', 'SELECT keystone.reveal_by_id(''00000000-0000-4000-8000-000000000000'')')
FROM unnest('{owner,viewer,operator,service,auditor,stranger}'::text[]) r \gexec
\set ECHO :quiet_echo
SELECT who, shared, shared_id FROM seen ORDER BY array_position('{owner,viewer,operator,service,auditor,stranger}', who);
SELECT who, personal_id, missing, missing_id FROM seen ORDER BY array_position('{owner,viewer,operator,service,auditor,stranger}', who);
DROP TABLE seen;

-- reveal_many(): one row each in the order asked, with what is wrong beside it (I11)
SET SESSION AUTHORIZATION regress_keystone_reveal_owner;
SELECT name, version, value, problem, credential IS NOT NULL AS id FROM keystone.reveal_many(ARRAY[:'json', :'shared', :'own', :'expired', :'inactive', :'deleted', :'destroyed', :'waiting',
	'00000000-0000-4000-8000-000000000000', :'shared']::uuid[]) WITH ORDINALITY ORDER BY ordinality;
SELECT count(*) FROM keystone.reveal_many('{}');
SELECT keystone.reveal_many(NULL);
SELECT keystone.reveal_many(ARRAY[NULL]::uuid[]);
SELECT keystone.reveal_many(ARRAY[[:'own'], [:'own']]::uuid[]);
SELECT keystone.reveal_many(array_fill(:'own'::uuid, '{10001}'));
SELECT count(*) AS rows, count(value) AS values FROM keystone.reveal_many(array_fill(:'own'::uuid, '{10000}'));
SET SESSION AUTHORIZATION regress_keystone_reveal_viewer;
SELECT name, version, value, problem FROM keystone.reveal_many(ARRAY[:'shared', :'own']::uuid[]);
SET SESSION AUTHORIZATION regress_keystone_reveal_stranger;
SELECT name, version, value, problem FROM keystone.reveal_many(ARRAY[:'shared', :'own']::uuid[]);

-- reveal_env(): own before shared of the same name, sorted; a part of it in the order asked
SET SESSION AUTHORIZATION regress_keystone_reveal_owner;
SELECT count(keystone.store('reveal', n, 'prod ' || n, 'prod')) FROM unnest('{B,a,C}'::text[]) n;
SELECT action FROM keystone.store('reveal', 'A', 'my prod a', 'prod', personal => true);
SELECT name, version, value, problem, credential IS NOT NULL AS id FROM keystone.reveal_env('reveal', 'prod') WITH ORDINALITY ORDER BY ordinality;
SELECT name, version, value, problem, credential IS NOT NULL AS id FROM keystone.reveal_env('reveal', 'prod', '{c,nope,A}') WITH ORDINALITY ORDER BY ordinality;
SELECT name, version, value, problem FROM keystone.reveal_env('reveal') WHERE name IN ('expired', 'inactive', 'only shared', 'deleted') ORDER BY name;
SELECT count(*) FROM keystone.reveal_env('reveal', 'nothing');
SELECT count(*) FROM keystone.reveal_env('reveal', 'prod', '{}');
SELECT keystone.reveal_env('reveal', 'prod', '{NULL}');
SET SESSION AUTHORIZATION regress_keystone_reveal_viewer;
SELECT name, version, value, problem FROM keystone.reveal_env('reveal', 'prod') WITH ORDINALITY ORDER BY ordinality;
SET SESSION AUTHORIZATION regress_keystone_reveal_service;
SELECT name, value FROM keystone.reveal_env('reveal', 'prod') WITH ORDINALITY ORDER BY ordinality;
SET SESSION AUTHORIZATION regress_keystone_reveal_auditor;
SELECT keystone.reveal_env('reveal', 'prod');
SET SESSION AUTHORIZATION regress_keystone_reveal_stranger;
SELECT keystone.reveal_env('reveal', 'prod');

-- An explicit read-only transaction is fine; over HTTP nothing is to be kept by caches.
SET SESSION AUTHORIZATION regress_keystone_reveal_owner;
BEGIN READ ONLY;
SELECT keystone.reveal('reveal', 'only shared');
SELECT current_setting('response.headers', true) AS headers;
COMMIT;
BEGIN;
SET LOCAL request.method = 'POST';
SET LOCAL response.headers = '[{"X-A": "b"}]';
SELECT keystone.reveal('reveal', 'only shared');
SELECT value FROM keystone.reveal_many(ARRAY[:'only']::uuid[]);
SELECT current_setting('response.headers') AS headers;
COMMIT;
SELECT current_setting('response.headers', true) AS headers;
-- what the members lose they lose at once
SELECT keystone.set_member_role('reveal', :'service', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_reveal_service;
SELECT keystone.reveal('reveal', 'only shared');

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_reveal_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,operator,service,auditor,stranger}'::text[]) r;
DROP ROLE regress_keystone_reveal_owner, regress_keystone_reveal_viewer, regress_keystone_reveal_operator, regress_keystone_reveal_service, regress_keystone_reveal_auditor, regress_keystone_reveal_stranger;
