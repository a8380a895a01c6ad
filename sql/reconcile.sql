-- I3, I5: rows against the audit log.  What every verb leaves agrees
-- with it; what was put back, edited, inserted or deleted with the triggers off
-- is named; who may ask.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_reconcile_' || name);
	PERFORM keystone.grant_access(('regress_keystone_reconcile_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_reconcile_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('member') AS member \gset
SELECT pg_temp.person('inspector') AS inspector \gset
CREATE ROLE regress_keystone_reconcile_auditor;
SELECT keystone.grant_access('regress_keystone_reconcile_auditor', 'auditor');
CREATE ROLE regress_keystone_reconcile_admin;
SELECT keystone.grant_access('regress_keystone_reconcile_admin', 'admin');
CREATE ROLE regress_keystone_reconcile_nobody;

-- Not while the housekeeper begins: it says what it finds, and that is no news then.
DO $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		EXIT WHEN EXISTS (SELECT FROM keystone.health WHERE check_name = 'reconcile' AND detail ~ 'the last round ended');
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;

-- Each table with the audit trigger has its rows in the log.
SELECT count(*) AS audited FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgname = 'audit' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace);

-- What is found in a workspace or in all of the database, without ids and
-- numbers, and the credential by its name.
CREATE FUNCTION pg_temp.found(workspace text DEFAULT NULL) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT coalesce(c.name, '-') || ': ' || regexp_replace(regexp_replace(regexp_replace(f.problem,
		'[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g'), 'entry [0-9]+', 'entry N'), 'secrets [^/]*ID/[0-9a-f]{12}', 'secrets ID/PREFIX')
	FROM keystone.audit_reconcile(workspace) f LEFT JOIN keystone_private.credentials c ON c.id = f.credential ORDER BY 1 $$;
CREATE FUNCTION pg_temp.id(name text) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$
	SELECT c.id FROM keystone_private.credentials c WHERE c.name = $1 ORDER BY c.created_at DESC LIMIT 1 $$;

-- Every kind of change, by the API.
SET SESSION AUTHORIZATION regress_keystone_reconcile_owner;
SELECT keystone.create_workspace('reconcile') AS w \gset
SELECT keystone.add_member('reconcile', :'member', 'operator');
SELECT keystone.add_member('reconcile', :'inspector', 'auditor');
SELECT keystone.set_member_role('reconcile', :'member', 'admin');
SELECT count(keystone.store('reconcile', n, 'the first value of ' || n)) FROM unnest('{one,two,three,four,five,six,seven}'::text[]) n;
SELECT version FROM keystone.rotate(pg_temp.id('one'), 'the second value');
SELECT version FROM keystone.store('reconcile', 'one', 'the third value', state => 'pending');
SELECT keystone.promote(pg_temp.id('one'), 3);
SELECT keystone.rollback_to(pg_temp.id('one'), 1);
SELECT keystone.rename(pg_temp.id('two'), '{"name": "second"}');
SELECT keystone.update_metadata(pg_temp.id('three'), '{"tags": ["a", "b\"c"], "metadata": {"n": 1.50, "list": [1, {"x": null}]}, "description": "äöü"}');
SELECT keystone.mark_verified(pg_temp.id('three'), true);
SELECT keystone.set_active(pg_temp.id('four'), false);
SELECT keystone.delete_credential(pg_temp.id('five'));
SELECT keystone.delete_credential(pg_temp.id('six'));
SELECT keystone.destroy_credential(pg_temp.id('six'));
SELECT keystone.destroy_version(pg_temp.id('one'), 2);
SELECT count(*) FROM generate_series(1, 25) g, LATERAL keystone.rotate(pg_temp.id('seven'), 'value number ' || g);
SELECT keystone.rename(pg_temp.id('seven'), '{"environment": "prod"}');
SELECT action FROM keystone.store('reconcile', 'mine', 'a value of mine', personal => true);
SELECT keystone.share_credential(pg_temp.id('mine'), :'member');
SELECT keystone.unshare_credential(pg_temp.id('mine'), :'member');
SELECT keystone.share_credential(pg_temp.id('mine'), :'member', until => 'infinity');
SELECT count(id) FROM keystone.create_api_key('reconcile', 'robot', 'service', environments => '{dev,prod}');
SELECT count(r.id) FROM generate_series(1, 15) g, LATERAL keystone.rotate_api_key('reconcile', 'robot', overlap => g * interval '1 hour') r;
SELECT count(id) FROM keystone.create_api_key('reconcile', 'other', 'viewer');
SELECT keystone.revoke_api_key('reconcile', 'robot');
SELECT count(id) FROM keystone.rotate_api_key('reconcile', 'other');
SELECT count(keystone.invite_member('reconcile', 'somebody@example.com', 'viewer'));
SELECT keystone.provider_configure('reconcile', 'openai', config => '{"a": "b"}');
SELECT keystone.budget_set('reconcile', 1000, 2000, 'day');
SELECT keystone.remove_member('reconcile', :'member');
SELECT keystone.add_member('reconcile', :'member', 'operator');
SELECT name, action FROM keystone.import_env('reconcile', E'A=1\nB=2\n');
SELECT length(keystone.reveal('reconcile', 'one'));
RESET SESSION AUTHORIZATION;
SELECT keystone.provider_define('regress-reconcile', 'shared_key', label => 'A service', cost_micros => 7);
SELECT keystone.update_workspace('reconcile', '{"status": "suspended"}');
SELECT keystone.update_workspace('reconcile', '{"status": "active"}');
SELECT keystone.disable_principal(:'inspector');
SELECT keystone.enable_principal(:'inspector');
-- before it is in the log, and afterwards
SELECT * FROM pg_temp.found('reconcile');
SELECT keystone_private.audit_flush();
SELECT * FROM pg_temp.found('reconcile');
-- changes by hand are changes
UPDATE keystone_private.credentials SET description = 'by hand' WHERE id = pg_temp.id('four');
UPDATE keystone.provider_configs SET provider = 'anthropic' WHERE workspace_id = :'w';
SELECT * FROM pg_temp.found('reconcile');
SELECT keystone_private.audit_flush();
SELECT * FROM pg_temp.found('reconcile');
-- in the same transaction, and taken back
BEGIN;
SAVEPOINT s;
UPDATE keystone_private.credentials SET description = 'not for long' WHERE id = pg_temp.id('four');
SELECT * FROM pg_temp.found('reconcile');
ROLLBACK TO s;
SELECT * FROM pg_temp.found('reconcile');
COMMIT;

-- With the triggers off.  Each attack in a transaction of its own.
CREATE FUNCTION pg_temp.off(target regclass, statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', target);
	EXECUTE statement;
	EXECUTE format('ALTER TABLE %s ENABLE TRIGGER ALL', target);
	EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit', target);
END $$;
CREATE TEMP TABLE attacks (n int GENERATED ALWAYS AS IDENTITY, target regclass, statement text);
INSERT INTO attacks (target, statement) VALUES
	('keystone_private.credentials', $$UPDATE keystone_private.credentials SET expires_at = NULL, description = 'edited' WHERE id = pg_temp.id('one')$$),
	('keystone.workspaces', $$UPDATE keystone.workspaces SET plan = 'enterprise' WHERE slug = 'reconcile'$$),
	('keystone.budgets', $$UPDATE keystone.budgets SET hard_micros = NULL WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'reconcile')$$),
	('keystone_private.credentials', $$UPDATE keystone_private.credentials SET current_version = 3 WHERE id = pg_temp.id('one')$$),
	('keystone.credential_versions', $$UPDATE keystone.credential_versions SET state = 'previous' WHERE credential_id = pg_temp.id('one') AND version = 4$$),
	('keystone.credential_versions', $$DELETE FROM keystone.credential_versions WHERE credential_id = pg_temp.id('one') AND version = 4$$),
	('keystone_private.ciphertext', $$UPDATE keystone_private.ciphertext t SET envelope = s.envelope, aad_digest = s.aad_digest FROM keystone_private.ciphertext s
		WHERE t.credential_id = pg_temp.id('one') AND t.version = 4 AND s.credential_id = t.credential_id AND s.version = 1$$),
	('keystone_private.ciphertext', $$DELETE FROM keystone_private.ciphertext WHERE credential_id = pg_temp.id('four')$$),
	('keystone_private.ciphertext', $$INSERT INTO keystone_private.ciphertext SELECT workspace_id, pg_temp.id('six'), version, key_version, envelope, aad_digest
		FROM keystone_private.ciphertext WHERE credential_id = pg_temp.id('four')$$),
	('keystone_private.credentials', $$UPDATE keystone_private.credentials SET deleted_at = NULL, destroy_after = NULL WHERE id = pg_temp.id('five')$$),
	('keystone.members', $$UPDATE keystone.members SET role = 'owner' WHERE principal_id = (SELECT id FROM keystone.principals WHERE display_name = 'Member')$$),
	('keystone.members', $$DELETE FROM keystone.members WHERE principal_id = (SELECT id FROM keystone.principals WHERE display_name = 'Member')$$),
	('keystone.members', $$INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) SELECT m.workspace_id, gen_random_uuid(), 'owner', m.row_mac FROM keystone.members m
		JOIN keystone.workspaces w ON w.id = m.workspace_id WHERE w.slug = 'reconcile' AND m.role = 'owner'$$),
	('keystone.credential_shares', $$UPDATE keystone.credential_shares SET until = NULL WHERE credential_id = pg_temp.id('mine')$$),
	('keystone_private.api_keys', $$UPDATE keystone_private.api_keys SET revoked_at = NULL WHERE name = 'robot'$$),
	('keystone_private.api_key_secrets', $$UPDATE keystone_private.api_key_secrets SET valid_until = NULL WHERE valid_until IS NOT NULL
		AND key_id = (SELECT k.id FROM keystone_private.api_keys k JOIN keystone.workspaces w ON w.id = k.workspace_id WHERE k.name = 'other' AND w.slug = 'reconcile')$$),
	('keystone.invitations', $$UPDATE keystone.invitations SET role = 'admin' WHERE email = 'somebody@example.com'$$),
	('keystone.workspaces', $$UPDATE keystone.workspaces SET plan = 'enterprise' WHERE slug = 'reconcile'$$),
	('keystone.provider_configs', $$UPDATE keystone.provider_configs SET enabled = NOT enabled WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'reconcile')$$),
	('keystone.budgets', $$UPDATE keystone.budgets SET hard_micros = NULL WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'reconcile')$$);
CREATE TEMP TABLE results (n int, found text);
DO $$
DECLARE
	attack record;
	all_found text;
BEGIN
	FOR attack IN SELECT * FROM attacks ORDER BY n LOOP
		BEGIN
			PERFORM pg_temp.off(attack.target, attack.statement);
			SELECT string_agg(f, E'\n\t') INTO all_found FROM pg_temp.found('reconcile') f;
			RAISE EXCEPTION USING errcode = 'KS000';
		EXCEPTION WHEN SQLSTATE 'KS000' THEN
			INSERT INTO results VALUES (attack.n, all_found);
		END;
	END LOOP;
END $$;
SELECT n, split_part(target::text, '.', 2) || E':\n\t' || coalesce(found, 'NOTHING') AS found FROM attacks LEFT JOIN results USING (n) ORDER BY n;
-- rows of the whole database
TRUNCATE attacks RESTART IDENTITY;
TRUNCATE results;
INSERT INTO attacks (target, statement) VALUES
	('keystone.principals', $$UPDATE keystone.principals SET db_role = NULL WHERE display_name = 'Inspector' AND db_role ~ 'reconcile'$$),
	('keystone.principals', $$DELETE FROM keystone.principals WHERE display_name = 'Inspector' AND db_role ~ 'reconcile'$$),
	('keystone_private.profile_grants', $$UPDATE keystone_private.profile_grants SET profile = 'admin' WHERE role_name = 'regress_keystone_reconcile_auditor'$$),
	('keystone_private.provider_definitions', $$DELETE FROM keystone_private.provider_definitions WHERE name = 'regress-reconcile'$$),
	('keystone_private.provider_prices', $$UPDATE keystone_private.provider_prices SET cost_micros = 1 WHERE provider = 'regress-reconcile'$$),
	('keystone_private.provider_prices', $$DELETE FROM keystone_private.provider_prices WHERE provider = 'regress-reconcile'$$),
	('keystone_private.root_keys', $$UPDATE keystone_private.root_keys SET first_used_at = first_used_at - interval '1 s'$$),
	('keystone_private.system_keys', $$UPDATE keystone_private.system_keys SET created_at = created_at - interval '1 s'$$),
	('keystone_private.workspace_keys', $$UPDATE keystone_private.workspace_keys SET created_at = created_at + interval '1 s' WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'reconcile')$$);
CREATE TEMP TABLE before AS SELECT problem FROM keystone.audit_reconcile();
DO $$
DECLARE
	attack record;
	all_found text;
BEGIN
	FOR attack IN SELECT * FROM attacks ORDER BY n LOOP
		BEGIN
			PERFORM pg_temp.off(attack.target, attack.statement);
			SELECT string_agg(p, E'\n\t' ORDER BY p) INTO all_found FROM (SELECT regexp_replace(regexp_replace(problem, '[0-9a-f]{8}-[0-9a-f-]{27}|/20[0-9]{2}-[-0-9 :.]+[0-9]', 'ID'), 'entry [0-9]+', 'entry N') AS p
				FROM (SELECT problem FROM keystone.audit_reconcile() EXCEPT SELECT problem FROM before) f) f;
			RAISE EXCEPTION USING errcode = 'KS000';
		EXCEPTION WHEN SQLSTATE 'KS000' THEN
			INSERT INTO results VALUES (attack.n, all_found);
		END;
	END LOOP;
END $$;
SELECT n, split_part(target::text, '.', 2) || E':\n\t' || coalesce(found, 'NOTHING') AS found FROM attacks LEFT JOIN results USING (n) ORDER BY n;

-- A whole credential as it was: row, version, ciphertext (I5).
BEGIN;
CREATE TEMP TABLE old_c AS SELECT * FROM keystone_private.credentials WHERE id = pg_temp.id('second');
CREATE TEMP TABLE old_v AS SELECT * FROM keystone.credential_versions WHERE credential_id = pg_temp.id('second');
CREATE TEMP TABLE old_t AS SELECT * FROM keystone_private.ciphertext WHERE credential_id = pg_temp.id('second');
COMMIT;
SET SESSION AUTHORIZATION regress_keystone_reconcile_owner;
SELECT version FROM keystone.rotate(pg_temp.id('second'), 'a newer value');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
BEGIN;
SELECT pg_temp.off('keystone_private.ciphertext', 'DELETE FROM keystone_private.ciphertext WHERE credential_id = (SELECT id FROM old_c)');
SELECT pg_temp.off('keystone.credential_versions', 'DELETE FROM keystone.credential_versions WHERE credential_id = (SELECT id FROM old_c)');
SELECT pg_temp.off('keystone_private.credentials', 'DELETE FROM keystone_private.credentials WHERE id = (SELECT id FROM old_c)');
SELECT pg_temp.off('keystone_private.credentials', 'INSERT INTO keystone_private.credentials SELECT * FROM old_c');
SELECT pg_temp.off('keystone.credential_versions', 'INSERT INTO keystone.credential_versions SELECT * FROM old_v');
SELECT pg_temp.off('keystone_private.ciphertext', 'INSERT INTO keystone_private.ciphertext SELECT * FROM old_t');
SELECT * FROM pg_temp.found('reconcile');
ROLLBACK;

-- An edit that a later change by the API takes over is still told.
BEGIN;
SELECT pg_temp.off('keystone_private.credentials', $$UPDATE keystone_private.credentials SET description = 'smuggled in' WHERE id = pg_temp.id('second')$$);
COMMIT;
SET SESSION AUTHORIZATION regress_keystone_reconcile_owner;
SELECT keystone.update_metadata(pg_temp.id('second'), '{"tags": ["x"]}');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT * FROM pg_temp.found('reconcile');

-- A row whose last change is not in the log yet: it is missing all the same.
BEGIN;
SET LOCAL SESSION AUTHORIZATION regress_keystone_reconcile_owner;
SELECT keystone.update_metadata(pg_temp.id('three'), '{"tags": ["y"]}');
SELECT action FROM keystone.store('reconcile', 'newest', 'a value');
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE gone AS SELECT pg_temp.id('three') AS three, pg_temp.id('newest') AS newest;
SELECT problem FROM keystone.audit_reconcile('reconcile') f, gone WHERE f.credential IN (gone.three, gone.newest);
SELECT pg_temp.off('keystone_private.ciphertext', 'DELETE FROM keystone_private.ciphertext WHERE credential_id IN (SELECT newest FROM gone)');
SELECT pg_temp.off('keystone.credential_versions', 'DELETE FROM keystone.credential_versions WHERE credential_id IN (SELECT newest FROM gone)');
SELECT pg_temp.off('keystone_private.credentials', 'DELETE FROM keystone_private.credentials WHERE id IN (SELECT three FROM gone UNION SELECT newest FROM gone)');
SELECT CASE f.credential WHEN gone.three THEN 'three' ELSE 'newest' END AS credential,
	regexp_replace(problem, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS problem
FROM keystone.audit_reconcile('reconcile') f, gone WHERE f.credential IN (gone.three, gone.newest) ORDER BY 1, 2;
ROLLBACK;

-- Who may ask: auditor and admin for all, holders of audit for their workspace.
SELECT format('SET SESSION AUTHORIZATION regress_keystone_reconcile_%s', r), format('SELECT %L AS who, count(*) > 0 AS of_all FROM keystone.audit_reconcile()', r),
	format('SELECT %L AS who, count(*) AS of_workspace FROM keystone.audit_reconcile(''reconcile'')', r)
FROM unnest('{owner,member,inspector,auditor,admin,nobody}'::text[]) r \gexec
SET SESSION AUTHORIZATION regress_keystone_reconcile_auditor;
SELECT * FROM keystone.audit_reconcile('no-such-workspace');
RESET SESSION AUTHORIZATION;
-- and it is recorded
SELECT keystone_private.audit_flush();
SELECT action, outcome, (detail ->> 'checked')::int > 50 AS checked, detail ->> 'problem' AS problem, detail ->> 'sqlstate' AS sqlstate FROM keystone.audit_log
WHERE action = 'audit.reconcile' AND db_role IN ('regress_keystone_reconcile_owner', 'regress_keystone_reconcile_member', 'regress_keystone_reconcile_auditor') ORDER BY seq;
-- health says whether rows agree; the housekeeper's table is nobody's
SELECT count(*) FROM keystone.health WHERE check_name = 'reconcile';
SELECT has_table_privilege('regress_keystone_reconcile_admin', 'keystone_private.reconcile_findings', 'SELECT');
-- the log's digests of rows are not for the view
SELECT count(*) FROM keystone.audit_log WHERE detail ? 'rows';
