-- export_bundle() and import_bundle().
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_bundle_' || name);
	PERFORM keystone.grant_access(('regress_keystone_bundle_' || name)::name, 'client');
	RETURN keystone.register_principal('Bundle ' || name, db_role => ('regress_keystone_bundle_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('admin') AS admin, pg_temp.person('taker') AS taker \gset
-- The private key of RFC 7748, section 6.1, beside the data directory; its public key, and another's.
\set public '\\x8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'
\set another '\\xde9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'
COPY (SELECT '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a') TO PROGRAM 'umask 077; cat > ../keystone_bundle_key';

SET SESSION AUTHORIZATION regress_keystone_bundle_owner;
SELECT keystone.create_workspace('bundle', 'Das Bündel') AS ws \gset
SELECT keystone.update_workspace('bundle', '{"contact": "ops@example.com"}');
SELECT count(keystone.add_member('bundle', :'admin', 'admin'));
SELECT keystone.provider_configure('bundle', 'cohere', config => '{"region": "eu"}');
SELECT credential AS token FROM keystone.store('bundle', 'token', 'value 1', 'prod', description => E'two\nlines', tags => '{a,"b c"}', metadata => '{"é": [1, 1.0]}', expires_at => '2099-01-01') \gset
SELECT version FROM keystone.rotate(:'token', 'value 2');
SELECT version FROM keystone.rotate(:'token', 'value 3');
SELECT keystone.destroy_version(:'token', 2);
SELECT version FROM keystone.store('bundle', 'token', 'value 4', 'prod', state => 'pending');
SELECT version FROM keystone.store('bundle', 'Ключ', 'значение', provider => 'cohere', kind => 'secret');
SELECT version FROM keystone.store('bundle', 'only pending', 'not yet', state => 'pending');
SELECT credential AS off FROM keystone.store('bundle', 'off', 'switched off') \gset
SELECT keystone.set_active(:'off', false);
SELECT version FROM keystone.store('bundle', 'mine', 'the owner''s own', personal => true);
SELECT version FROM keystone.store('bundle', 'with hint', 'sk-0123456789abcdefghijklmnop');
SELECT count(*) FROM (SELECT keystone.store('bundle', 'often', 'value ' || i) FROM generate_series(1, 40) i) s;
SELECT credential AS gone FROM keystone.store('bundle', 'gone', 'deleted') \gset
SELECT keystone.delete_credential(:'gone');
SET SESSION AUTHORIZATION regress_keystone_bundle_admin;
SELECT version FROM keystone.store('bundle', 'mine', 'the admin''s own', personal => true);

-- Only an owner exports, for a key that is one.
SELECT keystone.export_bundle('bundle', :'public');
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.export_bundle('bundle', :'public');
SET SESSION AUTHORIZATION regress_keystone_bundle_owner;
SELECT keystone.export_bundle('bundle', '\x00');
SELECT keystone.export_bundle('bundle', decode(repeat('00', 32), 'hex'));
SELECT keystone.export_bundle('bundle', decode('01' || repeat('00', 31), 'hex'));
SELECT keystone.export_bundle('bundle', NULL);
\set VERBOSITY default
SELECT keystone.export_bundle('bundle', :'public') AS bundle \gset
\set VERBOSITY sqlstate
SELECT keystone.export_bundle('bundle', :'another') AS for_another \gset
SELECT substr(:'bundle'::bytea, 1, 12) AS begins, substr(:'bundle'::bytea, 13, 32) = :'public' AS recipient,
	   position('value'::bytea IN :'bundle'::bytea) + position('token'::bytea IN :'bundle'::bytea) AS found;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_bundle_owner;
SELECT action, outcome, detail ->> 'credentials' AS credentials, detail ->> 'versions' AS versions, detail ->> 'left_out' AS left_out,
	   detail ->> 'damaged' AS damaged, substr(detail ->> 'recipient', 1, 8) AS recipient
FROM keystone.audit_log WHERE workspace = 'bundle' AND action = 'key.export' ORDER BY seq;

-- I2 The entry stays when the caller rolls back; a suspended workspace gives nothing.
BEGIN;
SELECT length(keystone.export_bundle('bundle', :'public')) > 1000 AS exported;
ROLLBACK;
SELECT count(*) FROM keystone.audit_log WHERE workspace = 'bundle' AND action = 'key.export' AND outcome = 'ok';
SELECT keystone.update_workspace('bundle', '{"status": "suspended"}');
SELECT keystone.export_bundle('bundle', :'public');
SELECT keystone.update_workspace('bundle', '{"status": "active"}');

-- Limits take an export for one reveal, and it has some of its own; not those of a provider.
RESET SESSION AUTHORIZATION;
SELECT keystone.grant_access('regress_keystone_bundle_owner', 'worker');
SET SESSION AUTHORIZATION regress_keystone_bundle_owner;
SET client_min_messages = warning;
SELECT keystone.limit_define('exports', '1/day', 'bundle', '{"enforce": {"action": "export_bundle", "provider": "cohere"}}');
SELECT keystone.limit_define('exports', '1/day', 'bundle', '{"enforce": {"action": "export"}}');
SELECT keystone.limit_define('exports', '2/day', 'bundle', '{"enforce": {"action": "export_bundle"}}');
SELECT length(keystone.export_bundle('bundle', :'public')) > 1000 AS exported FROM generate_series(1, 2);
SELECT keystone.export_bundle('bundle', :'public');
SELECT keystone.limit_drop('exports', 'bundle');
SELECT keystone.limit_define('reveals', '2/day', 'bundle', '{"enforce": {"action": "reveal"}}');
SELECT length(keystone.reveal('bundle', 'mine', scope => 'own')) AS len;
SELECT length(keystone.export_bundle('bundle', :'public')) > 1000 AS exported;
SELECT length(keystone.reveal('bundle', 'mine', scope => 'own')) AS len;
SELECT keystone.export_bundle('bundle', :'public');
SELECT keystone.limit_drop('reveals', 'bundle');
RESET client_min_messages;
RESET SESSION AUTHORIZATION;
SELECT keystone.revoke_access('regress_keystone_bundle_owner', 'worker');
SET SESSION AUTHORIZATION regress_keystone_bundle_owner;

-- No key for it.
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
\set VERBOSITY default
SELECT keystone.import_bundle(:'bundle', 'taken');
\set VERBOSITY sqlstate
RESET SESSION AUTHORIZATION;
ALTER SYSTEM SET keystone.import_key_file = '../keystone_bundle_key';
SELECT pg_reload_conf();
SELECT pg_sleep(0.5);
\c -
\pset null (null)
\pset footer off
\pset format unaligned
\set VERBOSITY default
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.import_bundle(:'for_another', 'taken');
\set VERBOSITY sqlstate
SELECT keystone.import_bundle(NULL);
SELECT keystone.import_bundle('\x', 'taken');
SELECT keystone.import_bundle(:'bundle', 'personal-one');
SELECT keystone.import_bundle(:'bundle', 'Not a slug');
SELECT keystone.import_bundle(:'bundle');
SELECT keystone.import_bundle(:'bundle', 'taken') AS new \gset
SELECT keystone.import_bundle(:'bundle', 'taken');
SELECT keystone.import_bundle(:'bundle', 'taken-2') <> :'new' AS another_one;

-- What came of it.
SELECT w.slug, w.display_name, w.contact, w.status, m.role, w.id <> :'ws' AS new_id
FROM keystone.workspaces w JOIN keystone.members m ON m.workspace_id = w.id WHERE w.slug = 'taken';
SELECT provider, mode, config, enabled FROM keystone.provider_configs WHERE workspace_id = :'new';
RESET SESSION AUTHORIZATION;
SELECT name, environment, provider, kind, current_version, last_version, hint, description, tags, metadata, is_active, expires_at = '2099-01-01' AS expires,
	   owner = :'taker' AS own
FROM keystone_private.credentials WHERE workspace_id = :'new' ORDER BY name COLLATE "C";
SELECT c.name, string_agg(version || ' ' || state, ', ' ORDER BY version) FILTER (WHERE name <> 'often') AS versions, count(*)
FROM keystone.credential_versions v JOIN keystone_private.credentials c ON c.id = v.credential_id
WHERE v.workspace_id = :'new' GROUP BY name ORDER BY name COLLATE "C";
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT name, version, value, problem FROM keystone.reveal_env('taken') ORDER BY name COLLATE "C";
SELECT keystone.reveal('taken', 'token', 'prod', v) FROM unnest('{1,3,4}'::int[]) v;
SELECT keystone.reveal('taken', 'often', version => 17);
SELECT count(*), count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all('taken');
SELECT version FROM keystone.rotate(keystone.credential_id('taken', 'token', 'prod'), 'value 5');
SELECT version FROM keystone.rotate(keystone.credential_id('taken', 'often'), 'value 41');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT action, count(*), count(*) FILTER (WHERE detail ->> 'imported_from' = :'ws') AS said
FROM keystone.audit_log WHERE workspace = 'taken' AND outcome = 'ok' AND action NOT IN ('credential.reveal', 'credential.update') GROUP BY action ORDER BY action;
RESET SESSION AUTHORIZATION;
SELECT ok, problem FROM keystone.audit_verify();

-- Any byte of it counts, and nothing changes.
CREATE FUNCTION pg_temp.attempt(bundle bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keystone.import_bundle(bundle, 'never');
	RETURN 'imported';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT count(*) AS before FROM keystone_private.credentials \gset
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT pg_temp.attempt(set_byte(:'bundle'::bytea, i, get_byte(:'bundle'::bytea, i) # (1 << (i % 8)))) AS flipped, count(*) > 100 AS many
FROM generate_series(0, length(:'bundle'::bytea) - 1, 13) i GROUP BY 1;
SELECT pg_temp.attempt(substr(:'bundle'::bytea, 1, i)) AS cut, count(*) > 100 AS many
FROM generate_series(0, length(:'bundle'::bytea) - 1, 13) i GROUP BY 1;
SELECT pg_temp.attempt(:'bundle'::bytea || '\x00') AS longer, pg_temp.attempt(substr(:'bundle'::bytea, 1, 44) || substr(:'for_another'::bytea, 45)) AS mixed;
RESET SESSION AUTHORIZATION;
SELECT count(*) = :before AS unchanged FROM keystone_private.credentials;
SELECT count(*) FROM keystone.workspaces WHERE slug = 'never';

-- What does not open is left out, and named to the administrator.
UPDATE keystone_private.ciphertext SET aad_digest = aad_digest, envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1)
WHERE credential_id = :'token' AND version = 3;
SET SESSION AUTHORIZATION regress_keystone_bundle_owner;
\set VERBOSITY default
SELECT keystone.export_bundle('bundle', :'public') AS bundle \gset
\set VERBOSITY sqlstate
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.import_bundle(:'bundle', 'damaged') IS NOT NULL AS imported;
RESET SESSION AUTHORIZATION;
SELECT version, v.state, current_version FROM keystone.credential_versions v JOIN keystone_private.credentials c ON c.id = v.credential_id
JOIN keystone.workspaces w ON w.id = v.workspace_id WHERE w.slug = 'damaged' AND c.name = 'token' ORDER BY version;

-- A key file that does not serve.
COPY (SELECT 'no key') TO PROGRAM 'umask 077; cat > ../keystone_bundle_key';
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.import_bundle(:'bundle', 'never');
RESET SESSION AUTHORIZATION;
COPY (SELECT '') TO PROGRAM 'printf "%s\n" "-----BEGIN PRIVATE KEY-----" MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq "-----END PRIVATE KEY-----" > ../keystone_bundle_key; chmod 640 ../keystone_bundle_key';
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.import_bundle(:'bundle', 'never');
RESET SESSION AUTHORIZATION;
COPY (SELECT '') TO PROGRAM 'chmod 600 ../keystone_bundle_key';
SET SESSION AUTHORIZATION regress_keystone_bundle_taker;
SELECT keystone.import_bundle(:'bundle', 'from-pem') IS NOT NULL AS imported;
RESET SESSION AUTHORIZATION;
COPY (SELECT '') TO PROGRAM 'rm ../keystone_bundle_key';
ALTER SYSTEM RESET keystone.import_key_file;
SELECT pg_reload_conf();
