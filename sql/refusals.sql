-- What is not there, what is somebody else's and what one may not see are refused alike, in the answer and in the log that
-- the caller reads.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_refusals_' || name);
	PERFORM keystone.grant_access(('regress_keystone_refusals_' || name)::name, 'client');
	RETURN keystone.register_principal('Refusals ' || name, db_role => ('regress_keystone_refusals_' || name)::name);
END $$;
-- everything that an error says, or that there is none
CREATE FUNCTION pg_temp.outcome(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN 'ok ' || coalesce(result, '(null)');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('victim') AS victim, pg_temp.person('other') AS other,
	   pg_temp.person('a') AS a, pg_temp.person('b') AS b, pg_temp.person('c') AS c, pg_temp.person('d') AS d \gset
SET SESSION AUTHORIZATION regress_keystone_refusals_other;
SELECT keystone.create_workspace('refusals-other') AS other_ws \gset
SELECT credential AS foreign_shared FROM keystone.store('refusals-other', 'foreign name', 'v', 'prod', 'gemini', metadata => jsonb_build_object('long', repeat('x', 9000))) \gset
SELECT credential AS foreign_personal FROM keystone.store('refusals-other', 'foreign own', 'v', personal => true) \gset
SET SESSION AUTHORIZATION regress_keystone_refusals_owner;
SELECT keystone.create_workspace('refusals') AS ws \gset
SELECT count(keystone.add_member('refusals', p, 'operator', '{reveal,store}')) FROM unnest(ARRAY[:'victim', :'a', :'b', :'c', :'d']::uuid[]) p;
SET SESSION AUTHORIZATION regress_keystone_refusals_victim;
SELECT credential AS invisible FROM keystone.store('refusals', 'victim''s own', 'v', 'prod', 'gemini', personal => true) \gset
RESET SESSION AUTHORIZATION;

-- Four who may the same try the same, each with one kind of credential
CREATE TEMP TABLE kinds (who text, kind text, id uuid);
INSERT INTO kinds VALUES ('a', 'missing', '00000000-0000-4000-8000-00000000f00d'), ('b', 'foreign', :'foreign_shared'),
	('c', 'foreign personal', :'foreign_personal'), ('d', 'invisible', :'invisible');
CREATE TEMP TABLE calls (n int GENERATED ALWAYS AS IDENTITY, verb text, call text);
INSERT INTO calls (verb, call) VALUES
	('reveal_by_id', 'SELECT keystone.reveal_by_id(%L)'),
	('reveal_by_id, version', 'SELECT keystone.reveal_by_id(%L, 1)'),
	('reveal_by_id, no such version', 'SELECT keystone.reveal_by_id(%L, 99, reason => ''because'')'),
	('reveal_by_id, field', 'SELECT keystone.reveal_by_id(%L, field => ''a'')'),
	('reveal_many', 'SELECT row_to_json(r)::jsonb - ''credential'' FROM keystone.reveal_many(ARRAY[%L]::uuid[]) r'),
	('rotate', 'SELECT keystone.rotate(%L, ''new'')'),
	('rotate, expected', 'SELECT keystone.rotate(%L, ''new'', expected_version => 77)'),
	('rotate, dry run', 'SELECT keystone.rotate(%L, ''new'', dry_run => true)'),
	('promote', 'SELECT keystone.promote(%L, 1)'),
	('rollback_to', 'SELECT keystone.rollback_to(%L, 1)'),
	('mark_verified', 'SELECT keystone.mark_verified(%L, true)'),
	('rename', 'SELECT keystone.rename(%L, ''{"name": "x"}'')'),
	('rename, no such key', 'SELECT keystone.rename(%L, ''{"nome": "x"}'')'),
	('update_metadata', 'SELECT keystone.update_metadata(%L, ''{"description": "x"}'')'),
	('set_active, off', 'SELECT keystone.set_active(%L, false)'),
	('set_active, on', 'SELECT keystone.set_active(%L, true)'),
	('delete_credential', 'SELECT keystone.delete_credential(%L)'),
	('restore_credential', 'SELECT keystone.restore_credential(%L)'),
	('destroy_credential', 'SELECT keystone.destroy_credential(%L)'),
	('destroy_version', 'SELECT keystone.destroy_version(%L, 1)'),
	('share_credential', format('SELECT keystone.share_credential(%%L, %L)', :'victim')),
	('unshare_credential', format('SELECT keystone.unshare_credential(%%L, %L)', :'victim')),
	-- what is wrong with the call itself is said first
	('reveal_by_id, version 0', 'SELECT keystone.reveal_by_id(%L, 0)'),
	('promote, version 0', 'SELECT keystone.promote(%L, 0)'),
	('promote, no version', 'SELECT keystone.promote(%L, NULL)'),
	('destroy_version, version -1', 'SELECT keystone.destroy_version(%L, -1)'),
	('mark_verified, version 0', 'SELECT keystone.mark_verified(%L, true, 0)'),
	('rotate, no value', 'SELECT keystone.rotate(%L, NULL)'),
	('delete_credential, recovery in the past', 'SELECT keystone.delete_credential(%L, ''-1 day'')'),
	('share_credential, until in the past', format('SELECT keystone.share_credential(%%L, %L, ''-infinity'')', :'victim')),
	('reveal_by_id, long reason', 'SELECT keystone.reveal_by_id(%L, reason => repeat(''x'', 1025))');
CREATE TEMP TABLE outcomes (n int, kind text, outcome text);
GRANT SELECT ON kinds, calls TO PUBLIC;
GRANT INSERT ON outcomes TO PUBLIC;
SET SESSION AUTHORIZATION regress_keystone_refusals_a;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'a' ORDER BY n) x;
SET SESSION AUTHORIZATION regress_keystone_refusals_b;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'b' ORDER BY n) x;
SET SESSION AUTHORIZATION regress_keystone_refusals_c;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'c' ORDER BY n) x;
SET SESSION AUTHORIZATION regress_keystone_refusals_d;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'd' ORDER BY n) x;
RESET SESSION AUTHORIZATION;
SELECT verb, count(*) AS kinds, string_agg(DISTINCT outcome, ' AND ') AS outcome FROM calls JOIN outcomes USING (n) GROUP BY n, verb ORDER BY n;

-- Each reads its own entries: they are the same but for the id that was asked for
SELECT keystone_private.audit_flush();
CREATE TEMP TABLE entries (who text, n bigint, entry jsonb, object_is_asked boolean);
GRANT INSERT, SELECT ON entries TO PUBLIC;
CREATE VIEW pg_temp.own_entries AS
	SELECT row_number() OVER (ORDER BY seq) AS n,
		   to_jsonb(l) - '{seq,at,actor,db_role,object,epoch}'::text[] || jsonb_build_object('detail', detail - 'session_user') AS entry, object
	FROM keystone.audit_log l WHERE actor = keystone.current_principal()::text AND outcome <> 'ok';
ALTER VIEW pg_temp.own_entries SET (security_invoker = true);
GRANT SELECT ON pg_temp.own_entries TO PUBLIC;
SET SESSION AUTHORIZATION regress_keystone_refusals_a;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'a';
SET SESSION AUTHORIZATION regress_keystone_refusals_b;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'b';
SET SESSION AUTHORIZATION regress_keystone_refusals_c;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'c';
SET SESSION AUTHORIZATION regress_keystone_refusals_d;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'd';
RESET SESSION AUTHORIZATION;
SELECT count(DISTINCT who) AS callers, count(*) AS entries, bool_and(object_is_asked) AS object_is_asked FROM entries;
SELECT n, count(*), count(DISTINCT entry) AS different FROM entries GROUP BY n HAVING count(*) <> 4 OR count(DISTINCT entry) <> 1;
SELECT jsonb_path_query_array(jsonb_agg(DISTINCT jsonb_strip_nulls(entry - 'detail')), '$[*].action') AS actions FROM entries;
SELECT DISTINCT jsonb_strip_nulls(entry - 'client_addr' - 'application_name') - 'action' - 'detail' AS entry,
	   array(SELECT jsonb_object_keys(entry -> 'detail') EXCEPT SELECT unnest('{client_addr,application_name}'::text[]) ORDER BY 1) AS detail FROM entries ORDER BY 2;
-- and say nothing to whoever reads the log of the workspace either, which was not named
SELECT count(*) FROM keystone.audit_log WHERE workspace_id IN (:'ws', :'other_ws') AND outcome <> 'ok';

-- By name: no such name, somebody's own; no such workspace, somebody else's
CREATE TEMP TABLE named (n int GENERATED ALWAYS AS IDENTITY, kind text, call text);
INSERT INTO named (kind, call) VALUES
	('missing', format('SELECT keystone.reveal(''refusals'', ''nothing'', ''prod'', owner => %L)', :'victim')),
	('missing', format('SELECT keystone.reveal(''refusals'', ''nothing'', ''prod'', owner => %L)', :'other')),
	('missing', format('SELECT keystone.reveal(''refusals'', ''nothing'', ''prod'', owner => %L)', '00000000-0000-4000-8000-00000000f00d')),
	('invisible', format('SELECT keystone.reveal(''refusals'', ''victim''''s own'', ''prod'', owner => %L)', :'victim')),
	('missing', 'SELECT keystone.reveal(''refusals'', ''nothing'', ''prod'')'),
	('invisible', 'SELECT keystone.reveal(''refusals'', ''victim''''s own'', ''prod'')'),
	('missing', 'SELECT keystone.reveal(''refusals'', ''nothing'', ''prod'', version => 1)'),
	('invisible', 'SELECT keystone.reveal(''refusals'', ''victim''''s own'', ''prod'', version => 1)'),
	('no workspace', 'SELECT keystone.reveal(''refusals-none'', ''foreign name'', ''prod'')'),
	('foreign', 'SELECT keystone.reveal(''refusals-other'', ''foreign name'', ''prod'')'),
	('no workspace', 'SELECT keystone.reveal(''00000000-0000-4000-8000-00000000f00d'', ''foreign name'', ''prod'')'),
	('foreign', format('SELECT keystone.reveal(%L, ''foreign name'', ''prod'')', :'other_ws')),
	('no workspace', 'SELECT keystone.store(''refusals-none'', ''foreign name'', ''x'', ''prod'')'),
	('foreign', 'SELECT keystone.store(''refusals-other'', ''foreign name'', ''x'', ''prod'')'),
	('no workspace', 'SELECT keystone.export_env(''refusals-none'')'),
	('foreign', 'SELECT keystone.export_env(''refusals-other'')'),
	('no workspace', 'SELECT problem FROM keystone.reveal_env(''refusals-none'', ''prod'', ''{foreign name}'')'),
	('foreign', 'SELECT problem FROM keystone.reveal_env(''refusals-other'', ''prod'', ''{foreign name}'')'),
	('missing', 'SELECT concat_ws(''|'', credential IS NULL, name, version, value, problem) FROM keystone.reveal_env(''refusals'', ''prod'', ''{nothing}'')'),
	('invisible', 'SELECT concat_ws(''|'', credential IS NULL, replace(name, ''victim''''s own'', ''nothing''), version, value, problem) FROM keystone.reveal_env(''refusals'', ''prod'', ''{victim''''s own}'')'),
	('no workspace', 'SELECT keystone.resolve(''refusals-none'', ''gemini'', environment => ''prod'')'),
	('foreign', 'SELECT keystone.resolve(''refusals-other'', ''gemini'', environment => ''prod'')'),
	('missing', 'SELECT keystone.resolve(''refusals'', ''cohere'', environment => ''prod'')'),
	('invisible', 'SELECT keystone.resolve(''refusals'', ''gemini'', environment => ''prod'')'),
	('missing', 'SELECT keystone.credential_id(''refusals'', ''nothing'', ''prod'', true)'),
	('invisible', 'SELECT keystone.credential_id(''refusals'', ''victim''''s own'', ''prod'', true)'),
	('no workspace', 'SELECT count(*) FROM keystone.verify_all(''refusals-none'')'),
	('foreign', 'SELECT count(*) FROM keystone.verify_all(''refusals-other'')');
GRANT SELECT ON named TO PUBLIC;
SELECT coalesce(max(seq), 0) AS before FROM keystone.audit_log \gset
SET SESSION AUTHORIZATION regress_keystone_refusals_a;
SELECT kind, regexp_replace(call, '[0-9a-f]{8}-[-0-9a-f]{27}', 'id') AS call, pg_temp.outcome(call) AS outcome FROM named ORDER BY n;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_refusals_a;
SELECT DISTINCT workspace, entry ->> 'action' AS action, entry ->> 'object' AS object, entry ->> 'version' AS version,
	   array(SELECT jsonb_object_keys(entry -> 'detail') EXCEPT SELECT unnest('{client_addr,application_name}'::text[]) ORDER BY 1) AS detail, count(*)
FROM (SELECT workspace, seq, to_jsonb(l) AS entry FROM keystone.audit_log l WHERE actor = :'a' AND outcome <> 'ok' AND seq > :before) x
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2;

-- Outside of what an API key is limited to: as if it were not there
SET SESSION AUTHORIZATION regress_keystone_refusals_owner;
SELECT credential AS outside FROM keystone.store('refusals', 'out of reach', 'v', 'dev', 'gemini') \gset
SELECT api_key AS key_1, id AS key_1_id FROM keystone.create_api_key('refusals', 'one', 'admin', environments => '{prod}') \gset
SELECT api_key AS key_2, id AS key_2_id FROM keystone.create_api_key('refusals', 'two', 'admin', environments => '{prod}') \gset
RESET SESSION AUTHORIZATION;
CREATE ROLE regress_keystone_refusals_app;
SELECT keystone.grant_access('regress_keystone_refusals_app', 'client');
TRUNCATE outcomes, entries;
UPDATE kinds SET id = :'outside', who = 'key_2', kind = 'outside' WHERE who = 'b';
UPDATE kinds SET who = 'key_1' WHERE who = 'a';
SET SESSION AUTHORIZATION regress_keystone_refusals_app;
BEGIN;
SELECT keystone.authenticate(:'key_1') = :'key_1_id' AS is_key;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'key_1' ORDER BY n) x;
COMMIT;
BEGIN;
SELECT keystone.authenticate(:'key_2') = :'key_2_id' AS is_key;
INSERT INTO outcomes SELECT n, kind, pg_temp.outcome(format(call, id)) FROM (SELECT * FROM calls, kinds WHERE who = 'key_2' ORDER BY n) x;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT count(*) AS outcomes, count(DISTINCT kind) AS kinds FROM outcomes;
SELECT verb, string_agg(DISTINCT outcome, ' AND ') AS outcome FROM calls JOIN outcomes USING (n) GROUP BY n, verb HAVING count(DISTINCT outcome) <> 1 ORDER BY n;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_refusals_app;
BEGIN;
SELECT keystone.authenticate(:'key_1') IS NOT NULL AS is_key;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'key_1';
COMMIT;
BEGIN;
SELECT keystone.authenticate(:'key_2') IS NOT NULL AS is_key;
INSERT INTO entries SELECT who, n, entry, object = id FROM pg_temp.own_entries, kinds WHERE who = 'key_2';
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT count(DISTINCT who) AS callers, count(*) AS entries, bool_and(object_is_asked) AS object_is_asked FROM entries;
SELECT n, count(*), count(DISTINCT entry) AS different FROM entries GROUP BY n HAVING count(*) <> 2 OR count(DISTINCT entry) <> 1;
