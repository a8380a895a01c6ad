-- Keys of workspaces: rotate_workspace_key(), reencrypt(), reencrypt_all(), shred_workspace(), rotate_root_key(), key_progress.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_keylife_' || name);
	PERFORM keystone.grant_access(('regress_keystone_keylife_' || name)::name, 'client');
	RETURN keystone.register_principal('Keylife ' || name, db_role => ('regress_keystone_keylife_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('stranger') AS stranger \gset
CREATE ROLE regress_keystone_keylife_dba;
SELECT keystone.grant_access('regress_keystone_keylife_dba', 'admin');
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.create_workspace('keylife') AS ws \gset
SELECT keystone.create_workspace('keylife-other') AS other \gset
SELECT keystone.add_member('keylife', :'admin', 'admin'), keystone.add_member('keylife', :'viewer', 'viewer');
SELECT count(keystone.store('keylife', 'name-' || n, 'value of ' || n)) FROM generate_series(1, 8) n;
SELECT version FROM keystone.store('keylife', 'name-1', 'second value of 1');
SELECT version FROM keystone.store('keylife', 'name-2', 'pending value of 2', state => 'pending');
SELECT credential AS personal FROM keystone.store('keylife', 'mine', 'a personal value', personal => true) \gset
SELECT keystone.delete_credential(keystone.credential_id('keylife', 'name-8'));
SELECT keystone.destroy_credential(keystone.credential_id('keylife', 'name-7'));
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE ids AS SELECT id, name FROM keystone_private.credentials WHERE workspace_id = :'ws';
CREATE TEMP VIEW under AS SELECT x.key_version, count(*) FROM keystone_private.ciphertext x WHERE workspace_id = :'ws' GROUP BY 1 ORDER BY 1;
GRANT SELECT ON ids, under TO PUBLIC;

-- Who may
SET SESSION AUTHORIZATION regress_keystone_keylife_viewer;
SELECT keystone.rotate_workspace_key('keylife');
SELECT keystone.reencrypt('keylife');
CALL keystone.reencrypt_all('keylife');
CALL keystone.reencrypt_all();
SELECT keystone.shred_workspace('keylife', 'keylife');
SELECT keystone.rotate_root_key();
SELECT count(*) FROM keystone.key_progress;
SET SESSION AUTHORIZATION regress_keystone_keylife_stranger;
SELECT keystone.rotate_workspace_key('keylife');
SELECT keystone.reencrypt('keylife');
CALL keystone.reencrypt_all('keylife');
SELECT keystone.shred_workspace('keylife', 'keylife');
SET SESSION AUTHORIZATION regress_keystone_keylife_admin;
SELECT keystone.shred_workspace('keylife', 'keylife');
SELECT keystone.rotate_root_key();
-- the administrator of the database looks after keys, and does not make or destroy any
SET SESSION AUTHORIZATION regress_keystone_keylife_dba;
SELECT keystone.rotate_workspace_key('keylife');
SELECT keystone.shred_workspace('keylife', 'keylife');
SELECT keystone.rotate_root_key() >= 0 AS ok;
SELECT keystone.rotate_root_key();

-- Bad arguments
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.rotate_workspace_key(NULL);
SELECT keystone.rotate_workspace_key('keylife', context => NULL);
SELECT keystone.rotate_workspace_key('keylife', approval => gen_random_uuid());
SELECT keystone.reencrypt(NULL);
SELECT keystone.reencrypt('keylife', NULL);
SELECT keystone.reencrypt('keylife', 0);
CALL keystone.reencrypt_all('keylife', 100001);
SELECT keystone.shred_workspace('keylife', NULL);
SELECT keystone.shred_workspace('keylife', 'other');
SELECT keystone.shred_workspace('keylife', :'ws');

-- A new version encrypts at once, older ones still open
SET SESSION AUTHORIZATION regress_keystone_keylife_admin;
SELECT keystone.rotate_workspace_key('keylife', reason => 'it is time', context => '{"run": "r1"}');
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.reveal('keylife', 'name-3');
SELECT version FROM keystone.rotate(keystone.credential_id('keylife', 'name-3'), 'newer value of 3');
SELECT keystone.reveal('keylife', 'name-3');
SELECT * FROM under;
SELECT workspace, key_version, key_versions, oldest_in_use, values_total, values_current, values_pending, values_failed, encryptions > 0 AS counted
FROM keystone.key_progress ORDER BY 1;

-- Within one transaction: the new version is used, and forgotten when it is rolled back
BEGIN;
SELECT keystone.rotate_workspace_key('keylife');
SELECT keystone.reencrypt('keylife', 2);
SELECT * FROM under;
SELECT keystone.reveal('keylife', 'name-4');
CALL keystone.reencrypt_all('keylife');
ROLLBACK;
SELECT * FROM under;
SELECT keystone.rotate_workspace_key('keylife');
SELECT count(*) AS opened FROM keystone.verify_all('keylife') WHERE ok;

-- In batches, of deleted and personal ones, too
SELECT keystone.reencrypt('keylife', 4);
SELECT * FROM under;
CALL keystone.reencrypt_all('keylife', 3);
SELECT * FROM under;
SELECT keystone.reencrypt('keylife');
SELECT keystone.reveal('keylife', 'name-1'), keystone.reveal('keylife', 'name-1', version => 1), keystone.reveal('keylife', 'mine');
SELECT keystone.restore_credential((SELECT id FROM ids WHERE name = 'name-8'));
SELECT keystone.reveal('keylife', 'name-8');
SELECT keystone.promote(keystone.credential_id('keylife', 'name-2'), 2);
SELECT keystone.reveal('keylife', 'name-2');
SELECT version, ok, problem FROM keystone.verify_all('keylife') WHERE NOT ok;

-- What the log has
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, version, reason, run, count(*) FROM keystone.audit_log
WHERE workspace_id = :'ws' AND action ~ '^key' AND outcome = 'ok' AND action <> 'key.reencrypt' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 3;
SELECT count(*), count(DISTINCT (object, version)) AS versions FROM keystone.audit_log WHERE workspace_id = :'ws' AND action = 'key.reencrypt' AND outcome = 'ok';
SELECT action, detail ->> 'sqlstate' AS sqlstate, count(*) FROM keystone.audit_log
WHERE workspace_id = :'ws' AND action ~ '^key' AND outcome = 'denied' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT ok FROM keystone.audit_verify();

-- I11: a damaged one stays as it is, is named, and does not keep the others
UPDATE keystone_private.ciphertext SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1)
WHERE credential_id = (SELECT id FROM ids WHERE name = 'name-4');
UPDATE keystone_private.credentials SET kind = 'other' WHERE id = (SELECT id FROM ids WHERE name = 'name-5');
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.rotate_workspace_key('keylife');
CALL keystone.reencrypt_all('keylife', 1);
SELECT * FROM under;
SELECT keystone.reencrypt('keylife');
SELECT values_total, values_current, values_pending, values_failed, oldest_in_use FROM keystone.key_progress WHERE workspace = 'keylife';
SELECT i.name, v.problem FROM keystone.verify_all('keylife') v JOIN ids i ON i.id = v.credential WHERE NOT v.ok ORDER BY 1;
-- one that is repaired is found again
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.credentials SET kind = 'api_key' WHERE id = (SELECT id FROM ids WHERE name = 'name-5');
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.reencrypt('keylife');
SELECT keystone.reveal('keylife', 'name-5');
SELECT values_total, values_current, values_pending, values_failed FROM keystone.key_progress WHERE workspace = 'keylife';
-- also behind one that is not, by reencrypt_all() as by single ones
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE sound AS SELECT x.* FROM keystone_private.ciphertext x JOIN ids i ON i.id = x.credential_id
WHERE i.name IN ('name-1', 'name-2', 'name-3') AND x.version = 1;
UPDATE keystone_private.ciphertext x SET envelope = set_byte(x.envelope, 40, get_byte(x.envelope, 40) # 1)
FROM sound s WHERE s.credential_id = x.credential_id AND s.version = x.version;
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.rotate_workspace_key('keylife');
CALL keystone.reencrypt_all('keylife');
SELECT values_pending, values_failed FROM keystone.key_progress WHERE workspace = 'keylife';
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.ciphertext x SET envelope = s.envelope FROM sound s, keystone_private.reencrypt_failures f
WHERE s.credential_id = x.credential_id AND s.version = x.version AND f.credential_id = x.credential_id AND f.version = x.version
AND f.tried_at > (SELECT min(tried_at) FROM keystone_private.reencrypt_failures WHERE credential_id IN (SELECT credential_id FROM sound));
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
CALL keystone.reencrypt_all('keylife');
SELECT values_pending, values_failed FROM keystone.key_progress WHERE workspace = 'keylife';
SELECT count(*) FROM keystone.verify_all('keylife') WHERE NOT ok;
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.ciphertext x SET envelope = s.envelope FROM sound s
WHERE s.credential_id = x.credential_id AND s.version = x.version AND s.envelope <> x.envelope AND s.key_version = x.key_version;
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.reencrypt('keylife', 1);
SELECT keystone.reencrypt('keylife', 1);
-- and one that is replaced or destroyed is none any more
SELECT keystone.destroy_version(keystone.credential_id('keylife', 'name-4'), 1) FROM keystone.store('keylife', 'name-4', 'value of 4 again');
SELECT values_total, values_current, values_pending, values_failed FROM keystone.key_progress WHERE workspace = 'keylife';

-- Each failure by its name (the client gets XX001 or PT423 alike)
RESET SESSION AUTHORIZATION;
BEGIN;
DELETE FROM keystone_private.workspace_keys WHERE workspace_id = :'ws' AND version = 5;
SELECT DISTINCT problem FROM keystone.verify_all('keylife') WHERE NOT ok;
ROLLBACK;

-- The administrator of the database may encrypt any workspace again
SET SESSION AUTHORIZATION regress_keystone_keylife_dba;
CALL keystone.reencrypt_all('keylife');
-- and what he has set for his transaction ends with it
DO $$ BEGIN SET LOCAL synchronous_commit = local; CALL keystone.reencrypt_all('keylife'); END $$;
SHOW synchronous_commit;
SELECT workspace, key_version FROM keystone.key_progress WHERE workspace LIKE 'keylife%' ORDER BY 1;

-- Destroyed keys: nothing opens, in no version, and nothing new is made
SET SESSION AUTHORIZATION regress_keystone_keylife_owner;
SELECT keystone.store('keylife-other', 'kept', 'a value of the other workspace') IS NOT NULL AS stored;
SELECT keystone.reveal('keylife', 'name-1');
BEGIN;
SELECT keystone.shred_workspace('keylife', 'keylife', reason => 'they left');
SAVEPOINT s;
SELECT keystone.reveal('keylife', 'name-1');
ROLLBACK TO s;
SELECT keystone.store('keylife', 'name-1', 'third');
ROLLBACK;
SELECT keystone.reveal('keylife', 'name-1');
SELECT keystone.shred_workspace('keylife', 'keylife', reason => 'they left');
SELECT keystone.reveal('keylife', 'name-1');
SELECT keystone.reveal('keylife', 'name-1', version => 1);
SELECT keystone.store('keylife', 'name-1', 'third');
SELECT keystone.store('keylife', 'new', 'third');
SELECT keystone.rotate_workspace_key('keylife');
SELECT keystone.reencrypt('keylife');
CALL keystone.reencrypt_all('keylife');
SELECT keystone.shred_workspace('keylife', 'keylife');
SELECT count(*) > 0 AS listed FROM keystone.credentials WHERE workspace = 'keylife';
SELECT DISTINCT ok, problem FROM keystone.verify_all('keylife') ORDER BY 2;
SELECT workspace, key_version, key_versions, values_total > 0 AS has_values, values_current, values_pending FROM keystone.key_progress ORDER BY 1;
SELECT keystone.reveal('keylife-other', 'kept');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, version, reason FROM keystone.audit_log WHERE workspace_id = :'ws' AND action = 'key.shred' AND outcome = 'ok' ORDER BY version;
SELECT ok FROM keystone.audit_verify();
DROP VIEW under;
DROP TABLE ids;
