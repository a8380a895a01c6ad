-- store(): creating, rotating, what a new version keeps, who may.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_store_' || name);
	PERFORM keystone.grant_access(('regress_keystone_store_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_store_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('service') AS service \gset
SELECT pg_temp.person('stranger') AS stranger \gset
-- A row as a client sees it, without uuids and times
CREATE FUNCTION pg_temp.show(credential uuid) RETURNS TABLE (name text, environment text, provider text, kind text, personal boolean, current int,
	hint text, description text, tags text[], metadata jsonb, active boolean, verified boolean, expires timestamptz)
LANGUAGE sql AS 'SELECT name, environment, provider, kind, personal, current_version, hint, description, tags, metadata, is_active, is_verified, expires_at
	FROM keystone.credentials WHERE id = credential';
SET TimeZone = 'UTC';

SET SESSION AUTHORIZATION regress_keystone_store_owner;
SELECT keystone.create_workspace('store') AS ws \gset
SELECT keystone.add_member('store', :'viewer', 'viewer');
SELECT keystone.add_member('store', :'service', 'service');

-- The least that it takes, and the defaults
SELECT credential AS a, version, action FROM keystone.store('store', 'plain', 'one') \gset
SELECT :version AS version, :'action' AS action;
SELECT * FROM pg_temp.show(:'a');
SELECT workspace, workspace_id = :'ws' AS ws, owner, created_by = :'owner' AS by_owner, usage_count, last_used_at, deleted_at, destroyed_at,
	   created_at <= last_rotated_at AS rotated, verified_at FROM keystone.credentials WHERE id = :'a';
SELECT version, owner, state, source_version, created_by = :'owner' AS by_owner, verified_at, destroyed_at FROM keystone.credential_versions WHERE credential_id = :'a';
-- All parameters
SELECT credential AS b, version, action FROM keystone.store(workspace => 'store', name => 'full', value => 'sk-0123456789abcdefWXYZ', environment => 'prod',
	provider => 'openai', kind => 'bot_token', personal => false, expires_at => '2100-01-01 00:00:00+00', description => 'a description',
	tags => '{red,green}', metadata => '{"a": {"b": 1}}', expected_version => 0, state => 'current',
	approval => NULL, reason => 'why', context => '{"workflow": "w", "node": "n", "run": "r", "request_id": "i"}') \gset
SELECT :version AS version, :'action' AS action;
SELECT * FROM pg_temp.show(:'b');
SELECT keystone.reveal(workspace => 'store', name => 'full', environment => 'prod');
-- The workspace's uuid does as well.
SELECT version, action, credential = :'a' AS same FROM keystone.store(:'ws', 'plain', 'two');
SELECT keystone.reveal('store', 'plain');
-- A new version keeps what is NULL ...
SELECT version, action, credential = :'b' AS same FROM keystone.store('store', 'full', 'sk-1123456789abcdefVVVV', 'prod');
SELECT * FROM pg_temp.show(:'b');
SELECT keystone.reveal('store', 'full', 'prod'), keystone.reveal('store', 'full', 'prod', version => 1) AS previous;
SELECT version, state FROM keystone.credential_versions WHERE credential_id = :'b' ORDER BY version;
-- ... and replaces what is not, an empty array and object too; both versions open under the new row (I5: they were sealed again)
SELECT version, action FROM keystone.store('store', 'full', 'sk-ant-0123456789abcdef', 'prod', provider => 'anthropic', kind => 'api_key',
	expires_at => '2101-01-01 00:00:00+00', description => '', tags => '{}', metadata => '{}');
SELECT * FROM pg_temp.show(:'b');
SELECT keystone.reveal('store', 'full', 'prod', v) FROM generate_series(1, 3) v;
SELECT count(*) AS versions, bool_and(ok) AS ok FROM keystone.verify_all('store');
-- it stays switched off
SELECT keystone.set_active(:'b', false);
SELECT version, action FROM keystone.store('store', 'full', 'sk-ant-1123456789abcdef', 'prod');
SELECT active, current FROM pg_temp.show(:'b');
-- a change of the value ends what was known about it
SELECT keystone.mark_verified(:'a', true, detail => 'worked');
SELECT verified, current FROM pg_temp.show(:'a');
SELECT version FROM keystone.store('store', 'plain', 'three');
SELECT verified, current FROM pg_temp.show(:'a');

-- expected_version: PT409 and nothing changed (I12)
SELECT keystone.store('store', 'plain', 'x', expected_version => 2);
SELECT keystone.store('store', 'plain', 'x', expected_version => 4, description => 'changed', metadata => '{"c": 1}');
SELECT keystone.store('store', 'plain', 'x', expected_version => 0);
SELECT keystone.store('store', 'new', 'x', expected_version => 1);
SELECT keystone.store('store', 'plain', 'x', expected_version => -1);
SELECT current, description, metadata FROM pg_temp.show(:'a');
SELECT count(*) AS new FROM keystone.credentials WHERE name = 'new';
SELECT version, action FROM keystone.store('store', 'plain', 'four', expected_version => 3);
SELECT version, action FROM keystone.store('store', 'new', 'n', expected_version => 0);

-- pending: waits for promote(); the current value stays
SELECT version FROM keystone.store('store', 'plain', 'five', state => 'pending');
SELECT keystone.reveal('store', 'plain'), current FROM pg_temp.show(:'a');
SELECT version, state FROM keystone.credential_versions WHERE credential_id = :'a' ORDER BY version;
SELECT credential AS p, version, action FROM keystone.store('store', 'pending', 'a value of some length 1234', state => 'pending') \gset
SELECT :version AS version, :'action' AS action;
SELECT current, hint FROM pg_temp.show(:'p');
SELECT keystone.reveal('store', 'pending');
SELECT keystone.promote(:'p', 1);
SELECT keystone.reveal('store', 'pending');
SELECT current, hint FROM pg_temp.show(:'p');
SELECT keystone.store('store', 'plain', 'x', state => 'previous');
SELECT keystone.store('store', 'plain', 'x', state => '');

-- I12: sizes, empty, shapes; nothing changed
SELECT keystone.store('store', 'size', '');
SELECT keystone.store('store', 'size', repeat('x', 65537));
SELECT keystone.store('store', 'size', 'v', environment => '');
SELECT keystone.store('store', 'size', 'v', environment => repeat('e', 64));
SELECT keystone.store('store', 'size', 'v', kind => '');
SELECT keystone.store('store', 'size', 'v', kind => repeat('k', 64));
SELECT keystone.store('store', 'size', 'v', provider => 'no-such-provider');
SELECT keystone.store('store', 'size', 'v', description => repeat('d', 4097));
SELECT keystone.store('store', 'size', 'v', tags => '{NULL}');
SELECT keystone.store('store', 'size', 'v', tags => '{{a},{b}}');
SELECT keystone.store('store', 'size', 'v', tags => ARRAY['']);
SELECT keystone.store('store', 'size', 'v', tags => ARRAY[repeat('t', 101)]);
SELECT keystone.store('store', 'size', 'v', tags => array_fill('t'::text, '{51}'));
SELECT keystone.store('store', 'size', 'v', metadata => '[]');
SELECT keystone.store('store', 'size', 'v', metadata => '"text"');
SELECT keystone.store('store', 'size', 'v', metadata => 'null');
SELECT keystone.store('store', 'size', 'v', metadata => jsonb_build_object('k', repeat('m', 16384)));
SELECT count(*) AS stored FROM keystone.credentials WHERE name = 'size';
SELECT version FROM keystone.store('store', 'size', repeat('x', 65536), environment => repeat('e', 63), kind => repeat('k', 63),
	description => repeat('d', 4096), tags => array_fill(repeat('t', 100), '{50}'), metadata => jsonb_build_object('k', repeat('m', 16300)));
SELECT keystone.reveal('store', 'size', repeat('e', 63)) = repeat('x', 65536) AS same;
-- any text is a value: other alphabets, quotes, line ends; one character more does not show in the length (padding to 32 bytes)
SELECT version FROM keystone.store('store', 'odd', E'Zürich \u20ac "x" ''y'' \\ \n\t\u0001');
SELECT keystone.reveal('store', 'odd') = E'Zürich \u20ac "x" ''y'' \\ \n\t\u0001' AS same;
SELECT count(keystone.store('store', 'length ' || n, repeat('x', n))) FROM unnest('{1,2,31,32,33}'::int[]) n;
RESET SESSION AUTHORIZATION;
SELECT c.name, length(t.envelope) - 46 AS padded FROM keystone_private.credentials c
JOIN keystone_private.ciphertext t ON t.workspace_id = c.workspace_id AND t.credential_id = c.id
WHERE c.workspace_id = :'ws' AND c.name LIKE 'length %' ORDER BY c.name COLLATE "C";
-- I1: the same value twice gives other ciphertext, and no plaintext lies in a table
SELECT count(*) AS rows, count(DISTINCT envelope) AS envelopes, count(DISTINCT substr(envelope, 7, 24)) AS nonces FROM keystone_private.ciphertext WHERE workspace_id = :'ws';
SELECT count(*) AS plain FROM keystone_private.ciphertext WHERE position('123456789abcdef'::bytea IN envelope) > 0 OR position('xxxxxxxx'::bytea IN envelope) > 0;

-- Who may: view suffices for one's own personal credential, and for nothing shared.
SET SESSION AUTHORIZATION regress_keystone_store_viewer;
SELECT keystone.store('store', 'viewer', 'v');
SELECT keystone.store('store', 'plain', 'v');
SELECT action FROM keystone.store('store', 'plain', 'the viewer''s', personal => true);
SELECT name, personal, owner = :'viewer' AS own FROM keystone.credentials WHERE name = 'plain' ORDER BY personal;
SELECT keystone.reveal('store', 'plain');
SELECT keystone.reveal('store', 'plain', scope => 'shared');
SET SESSION AUTHORIZATION regress_keystone_store_service;
SELECT keystone.store('store', 'service', 'v');
SELECT action FROM keystone.store('store', 'plain', 'the service''s', personal => true);
SELECT action FROM keystone.store('store', 'plain', 'the service''s second', personal => true);
SELECT keystone.reveal('store', 'plain'), keystone.reveal('store', 'plain', scope => 'shared') AS shared;
-- I4
SET SESSION AUTHORIZATION regress_keystone_store_stranger;
SELECT keystone.store('store', 'plain', 'v');
SELECT keystone.store('store', 'plain', 'v', personal => true);
-- I4: neither writes the other's row, nor sees it; owners see metadata of personal ones, without the hint
SET SESSION AUTHORIZATION regress_keystone_store_owner;
SELECT count(keystone.store('store', 'hint', 'a value of some length ' || p, personal => p = 'mine')) FROM unnest('{mine,ours}'::text[]) p;
SELECT name, personal, owner = :'owner' AS own, hint FROM keystone.credentials WHERE name IN ('hint', 'plain') ORDER BY name, personal, hint, owner = :'service';
SELECT keystone.reveal('store', 'plain');
SET SESSION AUTHORIZATION regress_keystone_store_service;
SELECT name, personal, hint FROM keystone.credentials WHERE name IN ('hint', 'plain') ORDER BY name, personal;
SELECT count(*) AS versions, count(v.owner) AS own FROM keystone.credential_versions v JOIN keystone.credentials c ON c.id = v.credential_id WHERE c.name = 'plain';
-- hints by kind: not of short values, the key id of an AWS pair, the host of a connection string, never a part of a password
SET SESSION AUTHORIZATION regress_keystone_store_owner;
CREATE TEMP TABLE h (n int, kind text, value text);
INSERT INTO h VALUES
	(1, 'api_key', 'exactly-twenty-three-ch'), (2, 'api_key', 'exactly-twenty-four-char'), (3, 'api_key', E'-----BEGIN KEY-----\nabcdefghijklmnop'),
	(4, 'api_key', repeat('ä', 30)), (5, 'access_key', '{"access_key_id": "AKIA1234", "secret_access_key": "secretsecretsecretsecret"}'),
	(6, 'access_key', '{"secret_access_key": "secretsecretsecretsecret"}'), (7, 'access_key', 'AKIA1234:secretsecretsecretsecret'),
	(8, 'connection_string', 'postgres://user:password@db.example.com:5432/app'), (9, 'connection_string', 'postgres://user:pass@word@db.example.com/app'),
	(10, 'connection_string', 'postgres://user:pass/word@db.example.com/app'), (11, 'connection_string', 'host=db.example.com password=secret user=x'),
	(12, 'service_account', '{"type": "service_account", "private_key": "secretsecretsecret"}');
SELECT count(keystone.store('store', 'hint ' || n, value, kind => kind)) FROM h;
SELECT h.n, h.kind, c.hint FROM h JOIN keystone.credentials c ON c.name = 'hint ' || h.n ORDER BY h.n;
DROP TABLE h;
SELECT environment, provider, credentials, personal, inactive, expired, failing FROM keystone.credential_summary WHERE workspace = 'store'
ORDER BY environment COLLATE "C", provider;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_store_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,service,stranger}'::text[]) r;
DROP ROLE regress_keystone_store_owner, regress_keystone_store_viewer, regress_keystone_store_service, regress_keystone_store_stranger;
