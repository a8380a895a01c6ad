-- What stands in the audit log: I2 (reveals and refusals, whatever becomes of
-- the transaction), I3 (changes, by the API and by hand), one entry for each
-- verb; the log's own tables take no statement; audit_table().
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_changes_' || name);
	PERFORM keystone.grant_access(('regress_keystone_changes_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_changes_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
CREATE ROLE regress_keystone_changes_nobody;
GRANT USAGE ON SCHEMA keystone TO regress_keystone_changes_nobody;
GRANT EXECUTE ON FUNCTION keystone.reveal TO regress_keystone_changes_nobody;

-- Entries since the last look, with names for ids, after what is committed got there.
CREATE TEMP TABLE seen AS SELECT 0::bigint AS seq;
CREATE FUNCTION pg_temp.name_of(actor text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT display_name FROM keystone.principals WHERE id::text = actor), replace(actor, session_user, 'superuser')) $$;
CREATE FUNCTION pg_temp.news(OUT actor text, OUT action text, OUT version bigint, OUT outcome text, OUT object text, OUT detail jsonb)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keystone_private.audit_flush();
	RETURN QUERY SELECT pg_temp.name_of(l.actor), l.action, l.version, l.outcome,
		CASE WHEN c.id IS NOT NULL THEN 'credential' WHEN p.id IS NOT NULL THEN p.display_name END,
		l.detail - ARRAY['client_addr', 'application_name', 'session_user', 'owner', 'principal', 'salt', 'table_id', 'previous_name']
			- ARRAY(SELECT k FROM jsonb_object_keys(l.detail) k WHERE k ~ '^digest\.')
	FROM keystone.audit_log l LEFT JOIN keystone_private.credentials c ON c.id = l.object LEFT JOIN keystone.principals p ON p.id = l.object
	WHERE l.seq > (SELECT s.seq FROM seen s) AND l.action !~ '^log\.' ORDER BY l.seq;
	UPDATE seen SET seq = (SELECT max(l.seq) FROM keystone.audit_log l);
END $$;
SELECT count(*) > 0 AS begun FROM pg_temp.news();

-- a workspace: its principal was there, so three entries
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
SELECT keystone.create_workspace('changes') AS ws \gset
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();

-- each verb gives one entry
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
SELECT keystone.add_member('changes', :'viewer', 'viewer', reason => 'a new colleague');
SELECT keystone.set_member_role('changes', :'viewer', 'operator');
SELECT keystone.remove_member('changes', :'viewer');
SELECT keystone.add_member('changes', :'viewer', 'viewer');
SELECT keystone.provider_configure('changes', 'openai', enabled => false);
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
SELECT credential AS c FROM keystone.store('changes', 'token', 'of the first', reason => 'needed', context => '{"workflow": "w", "node": "n", "run": "r", "request_id": "q", "more": 1}') \gset
SELECT action FROM keystone.store('changes', 'token', 'of the second', description => 'a token');
SELECT action FROM keystone.store('changes', 'token', 'of the third', state => 'pending');
SELECT keystone.promote(:'c', 3);
SELECT keystone.rollback_to(:'c', 1);
SELECT version FROM keystone.rotate(:'c', 'of the fifth');
SELECT version FROM keystone.rotate(:'c', 'of nobody', dry_run => true);
SELECT keystone.rename(:'c', '{"name": "key", "environment": "prod"}');
SELECT keystone.rename(:'c', '{}');
SELECT keystone.update_metadata(:'c', '{"tags": ["x"]}');
SELECT keystone.set_active(:'c', false);
SELECT keystone.set_active(:'c', true);
SELECT keystone.mark_verified(:'c', true);
SELECT keystone.destroy_version(:'c', 1);
SELECT keystone.delete_credential(:'c');
SELECT keystone.restore_credential(:'c');
SELECT keystone.reveal('changes', 'key', 'prod', reason => 'to use it');
SELECT length(keystone.reveal_by_id(:'c', 4));
SELECT action FROM keystone.store('changes', 'mine', 'personal', personal => true);
SELECT name, action FROM keystone.import_env('changes', E'A=1\nB=2\n');
SELECT name, action FROM keystone.import_env('changes', E'A=1\nB=3\n');
SELECT count(value) FROM keystone.reveal_env('changes');
SELECT count(value), count(problem) FROM keystone.reveal_many(ARRAY[:'c', '00000000-0000-4000-8000-000000000000']::uuid[]);
SELECT length(keystone.export_env('changes', reason => 'to a file')) > 0 AS exported;
SELECT keystone.destroy_credential(:'c');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();
-- what one verb sealed anew is there by its digest, and entry and row agree
SELECT count(*) FROM keystone.audit_log, jsonb_object_keys(detail) k WHERE action = 'credential.rename' AND object = :'c' AND k ~ '^digest\.';

-- I2: a refusal stands in the log; a name that nothing has does not
SET SESSION AUTHORIZATION regress_keystone_changes_viewer;
SELECT keystone.reveal('changes', 'sk-a-secret-in-the-wrong-place');
SELECT keystone.reveal('changes', 'a');
SELECT keystone.reveal('changes', 'mine');
SELECT keystone.store('changes', 'new', 'x');
SELECT keystone.store('nowhere', 'new', 'x');
SELECT keystone.create_workspace('Not a slug');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_keystone_changes_nobody;
SELECT keystone.reveal('changes', 'a');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();
SELECT count(*) FROM keystone_private.audit_entries WHERE position('in-the-wrong-place'::bytea IN detail) > 0;

-- I2: a reveal stays, a change does not, when the transaction is undone
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
BEGIN;
SELECT action FROM keystone.store('changes', 'undone', 'x');
SELECT keystone.reveal('changes', 'undone');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT action FROM keystone.store('changes', 'undone', 'x');
ROLLBACK TO s;
SELECT action FROM keystone.store('changes', 'done', 'x');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();

-- I3: by hand, and with triggers off in the usual way
SET session_replication_role = replica;
UPDATE keystone_private.credentials SET description = 'by hand' WHERE workspace_id = :'ws' AND name = 'A';
UPDATE keystone.members SET role = 'owner' WHERE workspace_id = :'ws' AND principal_id = :'viewer';
UPDATE keystone_private.ciphertext t SET envelope = envelope FROM keystone_private.credentials c WHERE c.id = t.credential_id AND c.workspace_id = :'ws' AND c.name = 'A';
DELETE FROM keystone.members WHERE workspace_id = :'ws' AND principal_id = :'viewer';
RESET session_replication_role;
SELECT * FROM pg_temp.news();

-- the log's tables
UPDATE keystone_private.audit_entries SET detail = NULL;
DELETE FROM keystone_private.audit_entries;
INSERT INTO keystone_private.audit_entries (seq, epoch, at, kind, entry) VALUES (0, 1, now(), 1, '');
TRUNCATE keystone_private.audit_entries;
DELETE FROM keystone_private.audit_epochs;
INSERT INTO keystone_private.audit_tiles VALUES (1, 0, 0, '');
INSERT INTO keystone_private.audit_checkpoints VALUES (1, 0, '', '', now());
INSERT INTO keystone_private.audit_keys VALUES (1, 1, '', NULL);
INSERT INTO keystone_private.approval_claims VALUES (gen_random_uuid(), 1, '', now());
INSERT INTO keystone_private.audit_outbox (xid, body) VALUES ('1', '');
DELETE FROM keystone_private.instance;
TRUNCATE keystone_private.instance;
SET session_replication_role = replica;
DELETE FROM keystone_private.instance;
RESET session_replication_role;
SELECT keystone.accept_restore('nothing happened');

-- audit_table(): which columns, digests, and values only where it was asked for
CREATE SCHEMA regress_keystone_changes AUTHORIZATION regress_keystone_changes_owner;
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
CREATE TABLE regress_keystone_changes."T" (id uuid PRIMARY KEY, public text, secret text, gone int, at timestamptz);
ALTER TABLE regress_keystone_changes."T" DROP COLUMN gone;
SELECT keystone.audit_table('regress_keystone_changes."T"', '{public}');
INSERT INTO regress_keystone_changes."T" VALUES ('d0000000-0000-4000-8000-000000000000', 'p', 's', '2026-01-01 00:00:00+00');
UPDATE regress_keystone_changes."T" SET public = 'q', secret = 's';
UPDATE regress_keystone_changes."T" SET secret = 't';
UPDATE regress_keystone_changes."T" SET secret = NULL, at = NULL;
UPDATE regress_keystone_changes."T" SET secret = NULL;
DELETE FROM regress_keystone_changes."T";
TRUNCATE regress_keystone_changes."T";
BEGIN;
INSERT INTO regress_keystone_changes."T" VALUES (gen_random_uuid());
ROLLBACK;
SELECT keystone.audit_table('regress_keystone_changes."T"');
INSERT INTO regress_keystone_changes."T" VALUES ('d0000000-0000-4000-8000-000000000000', 'p');
SELECT keystone.audit_untable('regress_keystone_changes."T"');
DELETE FROM regress_keystone_changes."T";
RESET SESSION AUTHORIZATION;
SELECT seq AS before FROM seen \gset
SELECT actor, action, outcome, (SELECT jsonb_object_agg(key, CASE WHEN value #>> '{}' ~ '^[0-9a-f]{32}$' THEN '"digest"' ELSE value END) FROM jsonb_each(detail)) AS detail
FROM pg_temp.news();
-- the digest is that of salt and text, whatever the session's settings
SELECT DISTINCT key, left(encode(sha256(decode(detail ->> 'salt', 'hex') || convert_to(text, 'UTF8')), 'hex'), 32) = value AS same
FROM keystone.audit_log, jsonb_each_text(detail), (VALUES ('new.secret', 's'), ('new.at', '2026-01-01T00:00:00+00:00'), ('key.id', 'd0000000-0000-4000-8000-000000000000')) v (column_name, text)
WHERE seq > :before AND action = 'table.insert' AND key = column_name ORDER BY key;
SELECT DISTINCT object FROM keystone.audit_log WHERE seq > :before AND action = 'table.insert';
-- it fires whatever session_replication_role says
SELECT DISTINCT tgenabled FROM pg_trigger WHERE tgname ~ '^keystone_audit';
-- in partitions, too
SET SESSION AUTHORIZATION regress_keystone_changes_owner;
CREATE TABLE regress_keystone_changes.parted (id int PRIMARY KEY, v int) PARTITION BY LIST (id);
CREATE TABLE regress_keystone_changes.part_1 PARTITION OF regress_keystone_changes.parted FOR VALUES IN (1);
SELECT keystone.audit_table('regress_keystone_changes.parted', '{id,v}');
CREATE TABLE regress_keystone_changes.part_2 PARTITION OF regress_keystone_changes.parted FOR VALUES IN (2);
INSERT INTO regress_keystone_changes.parted VALUES (1, 1), (2, 2);
RESET SESSION AUTHORIZATION;
SELECT action, detail FROM pg_temp.news();
SELECT DISTINCT tgenabled FROM pg_trigger WHERE tgname ~ '^keystone_audit';
-- errors
SET SESSION AUTHORIZATION regress_keystone_changes_viewer;
SELECT keystone.audit_table('pg_temp.seen');
SELECT keystone.audit_table('pg_class');
SELECT keystone.audit_table('keystone.principals');
RESET SESSION AUTHORIZATION;
SELECT keystone.audit_table('pg_class');
SELECT keystone.audit_table('keystone.principals');
SELECT keystone.audit_table('keystone.credentials');
SELECT keystone.audit_table(NULL);
SELECT keystone.audit_table('seen', NULL);
SELECT keystone.audit_table('seen', '{nothing}');
SELECT keystone.audit_table('seen', '{ctid}');
SELECT keystone.audit_table('seen', ARRAY[NULL]::name[]);
SELECT keystone.audit_table(0);
SELECT keystone.audit_untable('seen');
SELECT action, outcome, detail FROM pg_temp.news();
-- lastval() is the user's own
CREATE TABLE regress_keystone_changes.numbered (id serial, v int);
SELECT keystone.audit_table('regress_keystone_changes.numbered');
INSERT INTO regress_keystone_changes.numbered (v) VALUES (1);
SELECT lastval();

DROP SCHEMA regress_keystone_changes CASCADE;
DROP OWNED BY regress_keystone_changes_owner, regress_keystone_changes_viewer, regress_keystone_changes_nobody;
DROP ROLE regress_keystone_changes_owner, regress_keystone_changes_viewer, regress_keystone_changes_nobody;
