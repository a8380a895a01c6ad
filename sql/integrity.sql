-- I5, I11: ciphertext that was damaged, moved, swapped or relabelled does not
-- open; the bad row is named, stays one bad row, and can be repaired.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_integrity_' || name);
	PERFORM keystone.grant_access(('regress_keystone_integrity_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_integrity_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('auditor') AS auditor \gset
SELECT pg_temp.person('viewer') AS viewer \gset
CREATE ROLE regress_keystone_integrity_dba;
SELECT keystone.grant_access('regress_keystone_integrity_dba', 'admin');
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT keystone.create_workspace('integrity') AS ws \gset
SELECT keystone.create_workspace('integrity-2') AS ws2 \gset
SELECT keystone.add_member('integrity', :'auditor', 'auditor');
SELECT keystone.add_member('integrity', :'viewer', 'viewer');
SELECT count(keystone.store('integrity', n, 'value of ' || n, expires_at => '2100-01-01')) FROM unnest('{bit,cut,empty,moved,swap-a,swap-b,name,kind,owner,expiry,metadata,digest,keyver,format,gone,good,versions}'::text[]) n;
SELECT version FROM keystone.store('integrity', 'versions', 'second value');
SELECT credential AS other FROM keystone.store('integrity-2', 'good', 'of the other workspace') \gset
RESET SESSION AUTHORIZATION;
-- names instead of uuids
CREATE TEMP TABLE ids AS SELECT c.id, c.name FROM keystone_private.credentials c WHERE c.workspace_id = :'ws';
GRANT SELECT ON ids TO PUBLIC;
CREATE FUNCTION pg_temp.id(name text) RETURNS uuid LANGUAGE sql AS 'SELECT id FROM ids i WHERE i.name = $1';
CREATE FUNCTION pg_temp.checked() RETURNS TABLE (name text, version int, ok boolean, problem text, revealed text) LANGUAGE sql AS $$
	SELECT i.name, v.version, v.ok, v.problem, coalesce(r.value, r.problem)
	FROM keystone.verify_all('integrity') v JOIN ids i ON i.id = v.credential
	LEFT JOIN keystone.reveal_many(ARRAY(SELECT id FROM ids)) r ON r.credential = v.credential
	ORDER BY i.name COLLATE "C", v.version $$;
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT count(*) AS versions, bool_and(ok) AS ok, count(problem) AS problems FROM pg_temp.checked();

-- What a superuser does by hand, one kind of harm each
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.ciphertext SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1) WHERE credential_id = pg_temp.id('bit');
UPDATE keystone_private.ciphertext SET envelope = substr(envelope, 1, length(envelope) - 1) WHERE credential_id = pg_temp.id('cut');
UPDATE keystone_private.ciphertext SET envelope = '' WHERE credential_id = pg_temp.id('empty');
UPDATE keystone_private.ciphertext SET envelope = set_byte(envelope, 0, 2) WHERE credential_id = pg_temp.id('format');
UPDATE keystone_private.ciphertext t SET envelope = s.envelope FROM keystone_private.ciphertext s
WHERE t.credential_id = pg_temp.id('moved') AND s.credential_id = :'other';
UPDATE keystone_private.ciphertext t SET envelope = s.envelope, aad_digest = s.aad_digest FROM keystone_private.ciphertext s
WHERE (t.credential_id, s.credential_id) IN ((pg_temp.id('swap-a'), pg_temp.id('swap-b')), (pg_temp.id('swap-b'), pg_temp.id('swap-a')));
-- versions of one credential, swapped
UPDATE keystone_private.ciphertext t SET envelope = s.envelope, aad_digest = s.aad_digest FROM keystone_private.ciphertext s
WHERE t.credential_id = pg_temp.id('versions') AND s.credential_id = t.credential_id AND s.version <> t.version;
UPDATE keystone_private.credentials SET name = 'renamed', folded_name = 'renamed' WHERE id = pg_temp.id('name');
UPDATE keystone_private.credentials SET kind = 'other' WHERE id = pg_temp.id('kind');
UPDATE keystone_private.credentials SET owner = :'owner' WHERE id = pg_temp.id('owner');
UPDATE keystone_private.credentials SET expires_at = expires_at + interval '1 year' WHERE id = pg_temp.id('expiry');
UPDATE keystone_private.credentials SET metadata = '{"a": 1}' WHERE id = pg_temp.id('metadata');
-- the digest is for diagnosis only: without it the value opens
UPDATE keystone_private.ciphertext SET aad_digest = '\x00' WHERE credential_id = pg_temp.id('digest');
UPDATE keystone_private.ciphertext SET key_version = 2 WHERE credential_id = pg_temp.id('keyver');
DELETE FROM keystone_private.ciphertext WHERE credential_id = pg_temp.id('gone');

SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT * FROM pg_temp.checked();
-- the client learns no more than XX001
\set VERBOSITY terse
SELECT keystone.reveal('integrity', 'bit');
SELECT keystone.reveal('integrity', 'moved');
SELECT keystone.reveal_by_id(pg_temp.id('name'));
\set VERBOSITY sqlstate
SELECT keystone.reveal('integrity', 'bit');
SELECT keystone.reveal('integrity', 'renamed');
SELECT keystone.reveal('integrity', 'versions', version => 1);
SELECT keystone.reveal_by_id(pg_temp.id('owner'));
-- I11: the others list, reveal, export and verify
SELECT keystone.reveal('integrity', 'good');
SELECT count(*) FROM keystone.credentials WHERE workspace = 'integrity';
SELECT count(*) AS rows, count(value) AS values FROM keystone.reveal_env('integrity');
SELECT keystone.export_env('integrity');
SELECT keystone.reveal('integrity-2', 'good');

-- who may verify: audit, workspace, or the admin profile; others 42501 or PT404
SELECT count(*) AS versions, count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all();
SET SESSION AUTHORIZATION regress_keystone_integrity_auditor;
SELECT count(*) AS versions, count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all('integrity');
SELECT count(*) AS versions FROM keystone.verify_all();
SELECT keystone.verify_all('integrity-2');
SET SESSION AUTHORIZATION regress_keystone_integrity_viewer;
SELECT keystone.verify_all('integrity');
SELECT count(*) AS versions FROM keystone.verify_all();
SET SESSION AUTHORIZATION regress_keystone_integrity_dba;
SELECT count(*) AS versions, count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all(:'ws');
SELECT count(*) AS versions, count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all('integrity-2');
SELECT count(*) FILTER (WHERE NOT ok) >= 14 AS bad FROM keystone.verify_all();
SELECT keystone.verify_all('missing');

-- Repair: a new value over the damaged one, and the damaged version destroyed
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT action, version FROM keystone.store('integrity', 'bit', 'a new value');
SELECT keystone.reveal('integrity', 'bit');
SELECT keystone.rollback_to(pg_temp.id('bit'), 1);
-- a damaged previous version stops no change of the row, and stays one bad row
SELECT keystone.rename(pg_temp.id('bit'), '{"kind": "k"}');
SELECT keystone.update_metadata(pg_temp.id('bit'), '{"metadata": {"a": "b"}}');
SELECT name, version, ok, revealed FROM pg_temp.checked() WHERE name = 'bit';
SELECT keystone.destroy_version(pg_temp.id('bit'), 1);
SELECT name, version, ok, revealed FROM pg_temp.checked() WHERE name = 'bit';
-- a damaged current one does: sealed again it would hide what happened
SELECT keystone.rename(pg_temp.id('cut'), '{"kind": "k"}');
SELECT keystone.update_metadata(pg_temp.id('cut'), '{"metadata": {"a": "b"}}');
SELECT keystone.update_metadata(pg_temp.id('cut'), '{"description": "damaged"}');
SELECT kind, metadata, description FROM keystone.credentials WHERE id = pg_temp.id('cut');
SELECT version, previous FROM keystone.rotate(pg_temp.id('name'), 'a new value');
SELECT keystone.reveal('integrity', 'renamed');
-- what was moved and comes back to its place opens again
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.credentials SET kind = 'api_key' WHERE id = pg_temp.id('kind');
UPDATE keystone_private.ciphertext t SET envelope = s.envelope, aad_digest = s.aad_digest FROM keystone_private.ciphertext s
WHERE (t.credential_id, s.credential_id) IN ((pg_temp.id('swap-a'), pg_temp.id('swap-b')), (pg_temp.id('swap-b'), pg_temp.id('swap-a')));
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT name, version, ok, revealed FROM pg_temp.checked() WHERE name IN ('kind', 'swap-a', 'swap-b', 'bit');

-- The workspace's key: another workspace's in its place does not unwrap, nor does it seal anything new
RESET SESSION AUTHORIZATION;
BEGIN;
UPDATE keystone_private.workspace_keys t SET wrapped = s.wrapped FROM keystone_private.workspace_keys s WHERE t.workspace_id = :'ws' AND s.workspace_id = :'ws2';
UPDATE keystone_private.workspace_keys SET key_id = '00000000-0000-4000-8000-000000000000' WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SAVEPOINT s;
SELECT keystone.reveal('integrity', 'good');
ROLLBACK TO s;
SELECT keystone.store('integrity', 'new', 'v');
ROLLBACK TO s;
SELECT DISTINCT ok, regexp_replace(problem, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS problem FROM keystone.verify_all('integrity') WHERE problem LIKE '%key%';
ROLLBACK;
-- without its key a workspace is shredded: PT423 for it, and for it alone
BEGIN;
DELETE FROM keystone_private.workspace_keys WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SAVEPOINT s;
SELECT keystone.reveal('integrity', 'good');
ROLLBACK TO s;
SELECT keystone.store('integrity', 'good', 'v');
ROLLBACK TO s;
SELECT keystone.reveal('integrity-2', 'good');
SELECT count(*) FROM keystone.credentials WHERE workspace = 'integrity';
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_integrity_owner;
SELECT keystone.reveal('integrity', 'good');
RESET SESSION AUTHORIZATION;
DROP TABLE ids;
SELECT keystone.revoke_access('regress_keystone_integrity_dba', 'admin');
DROP ROLE regress_keystone_integrity_dba;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_integrity_' || r)::name, 'client')) AS revoked FROM unnest('{owner,auditor,viewer}'::text[]) r;
DROP ROLE regress_keystone_integrity_owner, regress_keystone_integrity_auditor, regress_keystone_integrity_viewer;
