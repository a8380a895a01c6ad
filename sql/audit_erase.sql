-- I3: details of the audit log that are erased are gone for good, and the log
-- says so: it verifies, reconciles and exports as before; one that was removed
-- by hand, or put back, is found.
\set VERBOSITY terse
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text, profile text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_erase_' || name);
	PERFORM keystone.grant_access(('regress_keystone_erase_' || name)::name, profile);
	RETURN keystone.register_principal('Erase ' || name, db_role => ('regress_keystone_erase_' || name)::name);
END $$;
SELECT pg_temp.person('owner', 'client') AS owner, pg_temp.person('ben', 'client') AS ben, pg_temp.person('auditor', 'auditor') AS auditor, pg_temp.person('admin', 'admin') AS admin \gset
SELECT keystone.grant_access('regress_keystone_erase_admin', 'client');

-- seqs by what the entries say
CREATE FUNCTION erase_seqs(word text) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT array_agg(seq ORDER BY seq) FROM keystone.audit_log WHERE detail::text ~ word AND action !~ '^log'
$$;
CREATE VIEW erase_verdict AS SELECT ok, problem, verdict FROM keystone.audit_verify();
CREATE VIEW erase_rows AS SELECT w AS workspace, (SELECT count(*) FROM keystone.audit_reconcile(w)) AS discrepancies
	FROM (VALUES ('erase-one'), ('erase-two')) w (w);

SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT keystone.create_workspace('erase-one') AS one \gset
SELECT keystone.create_workspace('erase-two') AS two \gset
SELECT count(keystone.add_member(w, p, 'admin')) FROM (VALUES ('erase-one'), ('erase-two')) w (w), (VALUES (:'ben'::uuid), (:'admin')) p (p);
SELECT credential AS id FROM keystone.store('erase-one', 'jane doe', 'value 1 of this') \gset
SELECT version FROM keystone.rotate(:'id', 'value 2 of this', reason => 'jane doe has left');
SELECT keystone.reveal('erase-one', 'jane doe', reason => 'jane doe asked for it') IS NOT NULL AS revealed;
SELECT credential AS own FROM keystone.store('erase-one', 'jane doe', 'value 3 of this', personal => true) \gset
SELECT version FROM keystone.store('erase-two', 'jane doe', 'value 4 of this');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT erase_seqs('jane doe') AS seqs \gset
SELECT seq AS first FROM keystone.audit_log ORDER BY seq LIMIT 1 \gset
SELECT array_length(:'seqs'::bigint[], 1) AS entries;
CREATE TABLE erase_before AS SELECT seq, epoch, at, kind, workspace_id, object_id, actor_id, owner, relation, entry FROM keystone_private.audit_entries;

-- What is refused, and changes nothing.
SELECT keystone.audit_erase(NULL, 'basis');
SELECT keystone.audit_erase(ARRAY[1, NULL]::bigint[], 'basis');
SELECT keystone.audit_erase(:'seqs', NULL);
SELECT keystone.audit_erase(:'seqs', 'basis', context => NULL);
SELECT keystone.audit_erase('{{1},{2}}', 'basis');
SELECT keystone.audit_erase(ARRAY(SELECT generate_series(1, 1001)), 'basis');
SELECT keystone.audit_erase(:'seqs', '');
SELECT keystone.audit_erase(:'seqs', '   ');
SELECT keystone.audit_erase(:'seqs', E'two\nlines');
SELECT keystone.audit_erase(:'seqs', repeat('b', 1025));
SELECT keystone.audit_erase('{0}', 'basis');
SELECT keystone.audit_erase(:'seqs'::bigint[] || 9223372036854775807, 'basis');
SELECT keystone.audit_erase(:'seqs'::bigint[] || :first::bigint, 'basis');
SELECT keystone.audit_erase('{}', 'basis') AS none;
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT keystone.audit_erase(:'seqs', 'basis');
SET SESSION AUTHORIZATION regress_keystone_erase_auditor;
SELECT keystone.audit_erase(:'seqs', 'basis');
SET SESSION AUTHORIZATION regress_keystone_erase_admin;
BEGIN READ ONLY;
SELECT keystone.audit_erase(:'seqs', 'basis');
ROLLBACK;
-- undone
BEGIN;
SELECT keystone.audit_erase(:'seqs', 'taken back') AS erased;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT keystone.audit_erase(:'seqs', 'taken back') AS erased;
ROLLBACK TO s;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT count(*) AS there FROM keystone_private.audit_entries WHERE seq = ANY (:'seqs') AND detail IS NOT NULL AND salt IS NOT NULL AND erased_in IS NULL;
SELECT count(*) AS said FROM keystone.audit_log WHERE action = 'log.erase' AND outcome = 'ok';

-- Erased.  Twice the same entries, and once more, are as good as once.
SET SESSION AUTHORIZATION regress_keystone_erase_admin;
SELECT keystone.audit_erase(:'seqs'::bigint[] || :'seqs'::bigint[], 'GDPR article 17, request 4711', reason => 'ticket 12', context => '{"run": "r-1"}') AS erased;
SELECT keystone.audit_erase(:'seqs', 'at the same time') BETWEEN 0 AND 5 AS erased;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT keystone.audit_erase(:'seqs', 'once more') AS erased;
SELECT * FROM erase_verdict;
SELECT * FROM erase_rows;
SELECT count(*) AS gone FROM keystone_private.audit_entries WHERE seq = ANY (:'seqs') AND detail IS NULL AND salt IS NULL AND erased_in IS NOT NULL;
SELECT count(*) AS found FROM keystone_private.audit_entries WHERE detail IS NOT NULL AND position('jane doe'::bytea IN detail) > 0;
-- the entries are what they were
SELECT count(*) AS changed FROM (SELECT * FROM erase_before EXCEPT SELECT seq, epoch, at, kind, workspace_id, object_id, actor_id, owner, relation, entry FROM keystone_private.audit_entries) e;
-- what the log shows of them
SELECT action, outcome, actor = :'owner' AS by_owner, object = :'id' AS of_it, version, reason, detail, erased_in > seq AS erased
	FROM keystone.audit_log WHERE seq = ANY (:'seqs') AND workspace = 'erase-one' ORDER BY seq;
-- what says so, a workspace at a time
SELECT workspace, outcome, actor = :'admin' AS by_admin, reason, run, detail ->> 'basis' AS basis, detail ->> 'seqs' ~ '^[0-9]+([-,][0-9]+)*$' AS seqs,
	(SELECT string_agg(DISTINCT split_part(k, '.', 1), ' ') FROM jsonb_object_keys(detail) k WHERE k LIKE '%.%') AS kept
	FROM keystone.audit_log WHERE action = 'log.erase' AND outcome = 'ok' AND detail ->> 'basis' LIKE 'GDPR%' ORDER BY seq;
-- who could see an entry sees it still
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT count(*) AS owners FROM keystone.audit_log WHERE object = :'own' AND erased_in IS NOT NULL;
RESET SESSION AUTHORIZATION;
-- a workspace's export has both; digests of the rows are in it, names are not
SELECT count(*) FILTER (WHERE line ? 'erased_in' AND line -> 'detail' = 'null' AND line -> 'salt' = 'null') AS erased,
	count(*) FILTER (WHERE line #>> '{decoded,action}' = 'log.erase' AND line #>> '{decoded,detail,seqs}' IS NOT NULL) AS said,
	count(*) FILTER (WHERE line::text ~ 'jane doe') AS found
	FROM (SELECT replace(l, '%', '')::jsonb FROM keystone.audit_export(workspace => 'erase-one') l) x (line);

-- The entry that says so stays, and with it why.
SELECT keystone.audit_erase(ARRAY(SELECT seq FROM keystone.audit_log WHERE action = 'log.erase'), 'hide it');

-- Reconciling knows rows by what was kept: a change by hand is found as before.
BEGIN;
ALTER TABLE keystone_private.credentials DISABLE TRIGGER audit;
UPDATE keystone_private.credentials SET is_active = false WHERE id = :'id';
SELECT count(*) AS found, min(problem) ~ 'the row is not the one that entry [0-9]+ left' AS named FROM keystone.audit_reconcile('erase-one');
SELECT count(*) AS found FROM keystone.audit_reconcile() WHERE credential = :'id';
ROLLBACK;

-- What is done by hand, with the guards off, is found.
CREATE FUNCTION erase_tamper(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v record;
	n bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS n = ROW_COUNT;
	SELECT * INTO v FROM keystone.audit_verify();
	RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = format('%s %s: %s%s', v.verdict, CASE WHEN v.first_bad = ANY (erase_named()) THEN 'there' ELSE v.first_bad::text END,
		regexp_replace(v.problem, 'entry [0-9]+', 'entry N'), CASE WHEN n = 0 THEN ', NOTHING DONE' END);
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	RETURN SQLERRM;
END $$;
SELECT (:'seqs'::bigint[])[1] AS one_of, :'seqs'::bigint[] AS all_of \gset
CREATE TABLE erase_names AS SELECT :'seqs'::bigint[] AS seqs, (SELECT seq FROM keystone.audit_log WHERE action = 'workspace.create' AND workspace = 'erase-one') AS other,
	(SELECT min(seq) FROM keystone.audit_log WHERE action = 'log.erase' AND outcome = 'ok') AS by, (SELECT min(seq) FROM keystone.audit_log WHERE action = 'log.erase' AND outcome = 'denied') AS refused;
INSERT INTO erase_names SELECT ARRAY[other, by], NULL, NULL FROM erase_names;
CREATE FUNCTION erase_named() RETURNS bigint[] LANGUAGE sql AS 'SELECT array_agg(s) FROM erase_names, unnest(seqs) s';
SELECT other, by, refused FROM erase_names LIMIT 1 \gset
ALTER TABLE keystone_private.audit_entries DISABLE TRIGGER audit_guard;
SELECT what, erase_tamper('UPDATE keystone_private.audit_entries e SET ' || change) FROM (VALUES
	('detail and salt by hand', format('detail = NULL, salt = NULL WHERE seq = %s', :other)),
	('the same, said to be erased', format('detail = NULL, salt = NULL, erased_in = %s WHERE seq = %s', :by, :other)),
	('by a refusal', format('erased_in = %s WHERE seq = %s', :refused, :one_of)),
	('by an entry that is not there', format('erased_in = 9000000 WHERE seq = %s', :one_of)),
	('by itself', format('erased_in = seq WHERE seq = %s', :one_of)),
	('by nothing', format('erased_in = NULL WHERE seq = %s', :one_of)),
	('the salt is back', format('salt = sha256(''x'') WHERE seq = %s', :one_of)),
	('a detail is back', format('detail = ''x'', salt = sha256(''x''), erased_in = NULL WHERE seq = %s', :one_of)),
	('marked, and there', format('erased_in = %s WHERE seq = %s', :by, :other)),
	('whose personal credential', format('owner = NULL WHERE seq = ANY (%L) AND owner IS NOT NULL', :'all_of')),
	('the erasure itself', format('detail = NULL, salt = NULL WHERE seq = %s', :by)),
	('the erasure, erased', format('detail = NULL, salt = NULL, erased_in = seq + 1 WHERE seq = %s', :by))) t (what, change);
-- the row as it was before
CREATE TABLE erase_kept AS SELECT * FROM keystone_private.audit_entries WHERE seq = :other;
SELECT keystone.audit_erase(ARRAY[:other], 'to be put back') AS erased;
SELECT keystone_private.audit_flush();
UPDATE erase_names SET seqs = seqs || :other::bigint;
SELECT * FROM erase_verdict;
SELECT 'an old row' AS what, erase_tamper('UPDATE keystone_private.audit_entries e SET (detail, salt, erased_in) = (SELECT k.detail, k.salt, k.erased_in FROM erase_kept k) WHERE seq = ' || :other);
ALTER TABLE keystone_private.audit_entries ENABLE ALWAYS TRIGGER audit_guard;
-- Policy: of each workspace about its entries.
CREATE FUNCTION erase_error(query text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	state := sqlstate;
END $$;
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT version FROM keystone.store('erase-one', 'john roe', 'value 5 of this');
SELECT version FROM keystone.store('erase-two', 'john roe', 'value 6 of this');
SELECT keystone.policy_put('erase-one', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [
	{"id": "two", "effect": "oblige", "match": {"actions": ["audit_erase"]}, "obligations": [{"type": "require_approval"}]}]}') IS NOT NULL AS put;
SELECT keystone.policy_put('erase-two', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [
	{"id": "never", "effect": "forbid", "match": {"actions": ["audit_erase"]}}]}') IS NOT NULL AS put;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT erase_seqs('john roe') AS both, (erase_seqs('john roe'))[1] AS first_of, (erase_seqs('john roe'))[2] AS second_of \gset
SET SESSION AUTHORIZATION regress_keystone_erase_admin;
SELECT state, message FROM erase_error(format('SELECT keystone.audit_erase(%L, ''why'')', ARRAY[:second_of]::bigint[]));
SELECT state, message FROM erase_error(format('SELECT keystone.audit_erase(%L, ''why'')', :'both'));
SELECT state, message, replace(replace(hint, :'one', '<one>'), :'first_of', '<seq>') AS hint, hint AS ask FROM erase_error(format('SELECT keystone.audit_erase(%L, ''why'')', ARRAY[:first_of]::bigint[])) \gset told_
\echo :told_state :told_message :told_hint
SELECT rtrim(:'told_ask', ';') || ' AS request' AS ask \gset
:ask \gset
SET SESSION AUTHORIZATION regress_keystone_erase_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_erase_admin;
SELECT state FROM erase_error(format('SELECT keystone.audit_erase(%L, ''another basis'', approval => %L)', ARRAY[:first_of]::bigint[], :'request'));
SELECT state, message, hint FROM erase_error(format('SELECT keystone.audit_erase(%L, ''why'', approval => %L)', :'both', :'request'));
SELECT keystone.audit_erase(ARRAY[:first_of]::bigint[], 'why', approval => :'request') AS erased;
SELECT state FROM keystone.approval_requests WHERE id = :'request';
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT seq = :first_of AS first, erased_in IS NOT NULL AS erased FROM keystone.audit_log WHERE seq = ANY (:'both') ORDER BY seq;
SELECT detail ->> 'approval' = :'request' AS approval FROM keystone.audit_log WHERE action = 'log.erase' AND outcome = 'ok' AND detail ->> 'basis' = 'why';
-- who is no administrator cannot ask for it; policy binds one who is no member
SET SESSION AUTHORIZATION regress_keystone_erase_ben;
SELECT state, message FROM erase_error(:'told_ask');
SELECT keystone.policy_allowed('erase-one', 'audit_erase', '{}') AS ben;
SET SESSION AUTHORIZATION regress_keystone_erase_admin;
SELECT decision AS admin FROM keystone.policy_evaluate('erase-one', 'audit_erase', '{}');
RESET SESSION AUTHORIZATION;
SELECT state, message FROM erase_error(format('SELECT keystone.audit_erase(%L, ''why'')', ARRAY[:first_of]::bigint[]));

-- What else a rule may want of it, by a workspace's owner who has the profile.
CREATE FUNCTION erase_under(rule jsonb, more text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM keystone.policy_put('erase-three', jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', 'p', 'scope', '{"level": "workspace"}'::jsonb,
		'rules', jsonb_build_array('{"id": "r", "match": {"actions": ["audit_erase"]}}'::jsonb || rule), 'windows', jsonb_build_object('later', jsonb_build_object(
		'tz', 'UTC', 'start', '00:00', 'duration', 'PT1H', 'rrule', 'FREQ=WEEKLY;BYDAY=' || upper(left(to_char(now() AT TIME ZONE 'UTC' + interval '3 days', 'DY'), 2))))));
	EXECUTE format('SELECT keystone.audit_erase(ARRAY[%s]::bigint[], ''why''%s)', current_setting('erase.seq'), more) INTO n;
	RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = n;
EXCEPTION WHEN OTHERS THEN
	RETURN CASE sqlstate WHEN 'ZZ001' THEN 'done' ELSE sqlstate END;
END $$;
SELECT keystone.grant_access('regress_keystone_erase_owner', 'admin');
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT keystone.create_workspace('erase-three') AS three \gset
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT set_config('erase.seq', min(seq)::text, false) > '0' AS seq FROM keystone.audit_log WHERE workspace = 'erase-three';
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT rule, erase_under(rule::jsonb, more) FROM (VALUES
	('{"effect": "permit"}', ''), ('{"effect": "forbid"}', ''), ('{"effect": "oblige", "windows": {"allow": ["later"]}}', ''),
	('{"effect": "oblige", "obligations": [{"type": "require_approval"}]}', ''), ('{"effect": "oblige", "obligations": [{"type": "require_reason"}]}', ''),
	('{"effect": "oblige", "obligations": [{"type": "require_reason"}]}', ', reason => ''why'''),
	('{"effect": "oblige", "obligations": [{"type": "require_mfa", "max_age": "PT15M"}]}', ''),
	('{"effect": "oblige", "obligations": [{"type": "notify", "channel": "ops"}]}', '')) v (rule, more);
-- each workspace is asked about its own; what its policy said stands in its entry
SELECT keystone.create_workspace('erase-four') AS four \gset
SELECT count(keystone.policy_put(w, jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', w, 'scope', '{"level": "workspace"}'::jsonb,
	'rules', '[{"id": "r", "effect": "oblige", "match": {"actions": ["audit_erase"]}, "obligations": [{"type": "notify", "channel": "ops"}]}]'::jsonb)))
	AS put FROM (VALUES ('erase-three'), ('erase-four')) w (w);
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT keystone.audit_erase(ARRAY(SELECT seq FROM keystone.audit_log WHERE workspace IN ('erase-three', 'erase-four') AND action = 'policy.put' AND outcome = 'ok'), 'of two') AS erased;
SELECT keystone_private.audit_flush();
SELECT workspace, detail ->> 'policies' AS policies FROM keystone.audit_log WHERE action = 'log.erase' AND detail ->> 'basis' = 'of two' ORDER BY workspace;
-- entries of no workspace: policies of the database
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT keystone.policy_put(NULL, '{"apiVersion": "keystone.policy/v1", "id": "erase", "scope": {"level": "system"}, "rules": [
	{"id": "never", "effect": "forbid", "match": {"actions": ["audit_erase"]}}]}') IS NOT NULL AS put;
SELECT min(seq) AS outside FROM keystone.audit_log WHERE workspace_id IS NULL AND action = 'grant.add' \gset
SELECT state, message FROM erase_error(format('SELECT keystone.audit_erase(ARRAY[%s]::bigint[], ''why'')', :outside));
ROLLBACK;

-- Many at once share entries, as many as they need; long words find their room.
SET SESSION AUTHORIZATION regress_keystone_erase_owner;
SELECT count(keystone.store('erase-three', 'many ' || i, 'value of many ' || i)) AS stored FROM generate_series(1, 30) i;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT keystone.audit_erase(erase_seqs('many [0-9]'), repeat('b', 1024), reason => repeat('r', 1024), context => jsonb_build_object('workflow', repeat('w', 900))) AS erased;
SELECT keystone_private.audit_flush();
SELECT count(*) > 3 AS entries, bool_and(coalesce(detail ->> 'reason_omitted', length(reason)::text) = '1024') AS reasons, bool_and(length(detail ->> 'basis') = 1024) AS bases
	FROM keystone.audit_log WHERE action = 'log.erase' AND detail ->> 'basis' ~ '^bb';
SELECT * FROM erase_verdict;
SELECT * FROM erase_rows;
SELECT ok FROM keystone.audit_verify((SELECT max(erased_in) FROM keystone.audit_log));

DROP TABLE erase_before, erase_names, erase_kept;
DROP VIEW erase_verdict, erase_rows;
DROP FUNCTION erase_seqs, erase_tamper, erase_named, erase_error, erase_under;
