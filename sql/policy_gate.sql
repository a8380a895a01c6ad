-- Verbs obey policy: what each function of the API does under documents that
-- forbid, defer, require and permit.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_gate_' || name);
	PERFORM keystone.grant_access(('regress_keystone_gate_' || name)::name, 'client');
	RETURN keystone.register_principal('Gate ' || name, db_role => ('regress_keystone_gate_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('ann') AS ann, pg_temp.person('ben') AS ben, pg_temp.person('cyd') AS cyd,
	pg_temp.person('dan') AS dan \gset
SELECT keystone.grant_access('regress_keystone_gate_owner', 'worker'), keystone.grant_access('regress_keystone_gate_cyd', 'admin');

-- What a query comes to.  What it does is undone; an approval is not.
CREATE FUNCTION gate_try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION
	WHEN SQLSTATE 'ZZ000' THEN
		RETURN CASE WHEN result ~ '^(42501|PT428)' THEN 'row ' || left(result, 5) ELSE 'done' END;
	WHEN OTHERS THEN
		RETURN sqlstate;
END $$;
-- The parts of its error; of times, whether they are to come.
CREATE FUNCTION gate_error(query text, OUT state text, OUT message text, OUT detail jsonb, OUT hint text) LANGUAGE plpgsql AS $$
DECLARE
	word text;
BEGIN
	EXECUTE query;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, word = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	state := sqlstate;
	IF word LIKE '{%' THEN
		detail := word;
		IF detail ? 'not_before' THEN
			detail := jsonb_set(detail, '{not_before}', to_jsonb((detail ->> 'not_before')::timestamptz > now()));
		END IF;
	END IF;
END $$;
CREATE FUNCTION gate_document(rule jsonb, id text DEFAULT 'matrix') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', id, 'scope', '{"level": "workspace"}'::jsonb,
		'rules', jsonb_build_array('{"id": "r"}'::jsonb || rule),
		'windows', CASE WHEN rule ? 'windows' THEN jsonb_build_object('later', jsonb_build_object('tz', 'UTC', 'start', '00:00', 'duration', 'PT1H',
			'rrule', 'FREQ=WEEKLY;BYDAY=' || upper(left(to_char(now() AT TIME ZONE 'UTC' + interval '3 days', 'DY'), 2)))) ELSE '{}' END);
$$;

CREATE TABLE gate_verbs (place int GENERATED ALWAYS AS IDENTITY, verb text, action text, query text, has_reason boolean DEFAULT true);
GRANT ALL ON gate_verbs TO PUBLIC;
-- Puts a rule about an action, tries the function, and drops the rule; all of
-- it is undone, so that a rule about policies does not stay.
CREATE FUNCTION gate_under(verb gate_verbs, rule jsonb, more text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	IF rule IS NOT NULL THEN
		PERFORM keystone.policy_put('gate', gate_document(rule || jsonb_build_object('match', jsonb_build_object('actions', jsonb_build_array(verb.action)))));
	END IF;
	result := gate_try('SELECT ' || verb.query || CASE WHEN verb.has_reason THEN more ELSE '' END || ')' ||
		CASE WHEN verb.query LIKE '(%' THEN ')::text' ELSE '::text' END);
	RAISE EXCEPTION USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	RETURN result;
END $$;

SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.create_workspace('gate', 'Gate') AS ws \gset
SELECT count(keystone.add_member('gate', m, r)) FROM (VALUES (:'ann'::uuid, 'admin'), (:'ben', 'admin')) v (m, r);
SELECT credential AS id FROM keystone.store('gate', 'token', 'value 1', 'prod') \gset
SELECT version FROM keystone.rotate(:'id', 'value 2');
SELECT version FROM keystone.store('gate', 'token', 'value 3', 'prod', state => 'pending');
SELECT credential AS gone FROM keystone.store('gate', 'gone', 'deleted') \gset
SELECT keystone.delete_credential(:'gone');
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rotate"], "env": ["nowhere"]}}', 'other'));

-- Every function that takes an approval, and those that obey without one.
INSERT INTO gate_verbs (verb, action, query) VALUES
	('reveal', 'reveal', 'keystone.reveal(''gate'', ''token'', ''prod'''),
	('reveal_by_id', 'reveal', 'keystone.reveal_by_id({id}'),
	('store', 'store', 'keystone.store(''gate'', ''new'', ''value'''),
	('store', 'rotate', 'keystone.store(''gate'', ''token'', ''value 4'', ''prod'''),
	('store', 'store', 'keystone.store(''gate'', ''token'', ''value 4'', ''prod'', state => ''pending'''),
	('rotate', 'rotate', 'keystone.rotate({id}, ''value 4'''),
	('promote', 'promote', 'keystone.promote({id}, 3'),
	('rollback_to', 'rollback_to', 'keystone.rollback_to({id}, 1'),
	('rename', 'rename', 'keystone.rename({id}, ''{"name": "renamed"}'''),
	('delete_credential', 'delete_credential', 'keystone.delete_credential({id}'),
	('destroy_credential', 'destroy_credential', 'keystone.destroy_credential({id}'),
	('destroy_version', 'destroy_version', 'keystone.destroy_version({id}, 1'),
	('rotate_workspace_key', 'rotate_workspace_key', 'keystone.rotate_workspace_key(''gate'''),
	('shred_workspace', 'shred_workspace', 'keystone.shred_workspace(''gate'', ''gate'''),
	('add_member', 'add_member', 'keystone.add_member(''gate'', {dan}, ''viewer'', ''{audit}'''),
	('set_member_role', 'set_member_role', 'keystone.set_member_role(''gate'', {ann}, ''viewer'''),
	('remove_member', 'remove_member', 'keystone.remove_member(''gate'', {ann}'),
	('transfer_ownership', 'transfer_ownership', 'keystone.transfer_ownership(''gate'', {ben}'),
	('policy_put', 'policy_put', 'keystone.policy_put(''gate'', gate_document(''{"effect": "forbid", "match": {"actions": ["rotate"], "env": ["nowhere"]}}'', ''another'')'),
	('policy_drop', 'policy_drop', 'keystone.policy_drop(''gate'', ''other''');
INSERT INTO gate_verbs (verb, action, query) VALUES
	('reveal_many', 'reveal', '(SELECT problem FROM keystone.reveal_many(ARRAY[{id}]::uuid[]'),
	('reveal_env', 'reveal', '(SELECT problem FROM keystone.reveal_env(''gate'', ''prod'''),
	('export_env', 'reveal', '(SELECT substring(export_env::text FROM ''not exported: (\w*)'') FROM keystone.export_env(''gate'', ''prod''');
INSERT INTO gate_verbs (verb, action, query, has_reason) VALUES
	('import_env', 'store', 'keystone.import_env(''gate'', ''NEW=value''', false),
	('import_env', 'rotate', 'keystone.import_env(''gate'', ''token=value'', ''prod''', false),
	('update_metadata', 'update_metadata', 'keystone.update_metadata({id}, ''{"description": "d"}''', false),
	('set_active', 'set_active', 'keystone.set_active({id}, false', false),
	('restore_credential', 'restore_credential', 'keystone.restore_credential({gone}', false),
	('encrypt', 'encrypt', 'keystone.encrypt(''gate'', ''plain''', false),
	('encrypt_text', 'encrypt', 'keystone.encrypt_text(''gate'', ''plain''', false),
	('decrypt', 'decrypt', 'keystone.decrypt(''gate'', {sealed}', false),
	('decrypt_text', 'decrypt', 'keystone.decrypt_text(''gate'', {sealed_text}', false),
	('export_bundle', 'export_bundle', 'keystone.export_bundle(''gate'', ''\x8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a''', false),
	('invite_member', 'add_member', 'keystone.invite_member(''gate'', ''dan@example.com'', ''viewer''', false);
UPDATE gate_verbs SET query = replace(replace(replace(replace(replace(replace(query, '{id}', quote_literal(:'id')), '{gone}', quote_literal(:'gone')),
	'{ann}', quote_literal(:'ann')), '{ben}', quote_literal(:'ben')), '{dan}', quote_literal(:'dan')), '{sealed}', quote_literal(keystone.encrypt('gate', 'plain')));
UPDATE gate_verbs SET query = replace(query, '{sealed_text}', quote_literal(keystone.encrypt_text('gate', 'plain')));
-- a function that takes an approval and is not here would be forgotten; audit_erase.sql has its own
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'keystone'::regnamespace AND 'approval' = ANY (p.proargnames)
	AND p.proname NOT IN (SELECT verb FROM gate_verbs) AND p.proname <> 'audit_erase' ORDER BY 1;

SELECT verb, action, gate_under(v, NULL) AS "no rule",
	gate_under(v, '{"effect": "permit"}') AS permit,
	gate_under(v, '{"effect": "forbid"}') AS forbid,
	gate_under(v, '{"effect": "oblige", "windows": {"allow": ["later"]}}') AS closed,
	gate_under(v, '{"effect": "oblige", "obligations": [{"type": "require_approval"}]}') AS approval,
	gate_under(v, '{"effect": "oblige", "obligations": [{"type": "require_reason"}]}') AS "no reason",
	gate_under(v, '{"effect": "oblige", "obligations": [{"type": "require_reason"}]}', ', reason => ''why''') AS reason,
	gate_under(v, '{"effect": "oblige", "obligations": [{"type": "require_mfa", "max_age": "PT15M"}]}') AS mfa,
	gate_under(v, '{"effect": "oblige", "obligations": [{"type": "notify", "channel": "ops"}]}') AS notify
FROM gate_verbs v ORDER BY place;

-- Two people for production: what the caller is told, and the call that it is
-- told to make.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "oblige", "match": {"actions": ["rotate", "reveal", "rename", "add_member"]},
	"reason": "two people for production", "obligations": [{"type": "require_approval", "timeout": "PT4H", "valid_for": "PT30M"}, {"type": "require_reason"}, {"type": "notify", "channel": "ops"}]}', 'two'));
SELECT gate.state, gate.message, replace(jsonb_pretty(replace(replace(detail::text, :'id', '<id>'), :'ws', '<ws>')::jsonb), E'\n', ' ') AS detail, replace(replace(hint, :'id', '<id>'), :'ws', '<ws>') AS hint
	FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'')', :'id')) gate;
SELECT hint ~ '^SELECT keystone.request_approval\(''[-0-9a-f]{36}'', ''rotate'', ''{"credential": "[-0-9a-f]{36}"}'', ''{}''\);$' AS ready, hint AS ask FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', reason => ''why'')', :'id')) \gset
\echo :ready
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
SELECT replace(rtrim(:'ask', ';'), '''{}'')', '''{}'', reason => ''monthly'') AS request') AS ask \gset
:ask \gset
-- not approved yet; somebody else's; of another call; nobody's
SELECT detail ->> 'approval' AS approval, hint IS NOT NULL AS hint FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', approval => %L, reason => ''why'')', :'id', :'request'));
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', approval => %L, reason => ''why'')', :'id', :'request'));
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.reveal(''gate'', ''token'', ''prod'', approval => %L, reason => ''why'')', :'request'));
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', approval => gen_random_uuid(), reason => ''why'')', :'id'));
-- another duty comes before the claim; a dry run claims nothing
SELECT state, detail -> 'obligations' AS obligations, hint FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', approval => %L)', :'id', :'request'));
SELECT state, jsonb_array_length(detail -> 'obligations') FROM gate_error(format('SELECT keystone.rotate(%L, ''value 4'', dry_run => true)', :'id'));
SELECT * FROM keystone.rotate(:'id', 'value 4', dry_run => true, approval => :'request', reason => 'why');
SELECT state FROM keystone.approval_requests WHERE id = :'request';
-- it claims and completes by itself, once
SELECT * FROM keystone.rotate(:'id', 'value 4', approval => :'request', reason => 'monthly');
SELECT state FROM keystone.approval_requests WHERE id = :'request';
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.rotate(%L, ''value 5'', approval => %L, reason => ''why'')', :'id', :'request'));
-- a store that makes a new current version is the same call
SELECT keystone.request_approval('gate', 'rotate', jsonb_build_object('credential', :'id')) AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
SELECT gate_try(format('SELECT keystone.store(''gate'', ''token'', ''value 5'', ''prod'', provider => ''openai'', approval => %L, reason => ''why'')', :'request')) AS "with a provider, too";
SELECT version, action FROM keystone.store('gate', 'token', 'value 5', 'prod', approval => :'request', reason => 'why');
-- what is undone has spent it all the same
SELECT keystone.request_approval('gate', 'rotate', jsonb_build_object('credential', :'id')) AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
BEGIN;
SELECT version FROM keystone.rotate(:'id', 'value 6', approval => :'request', reason => 'why');
ROLLBACK;
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.rotate(%L, ''value 6'', approval => %L, reason => ''why'')', :'id', :'request'));
-- values and members, by the call that the hint has
SELECT hint AS ask FROM gate_error('SELECT keystone.reveal(''gate'', ''token'', ''prod'', version => 2, reason => ''why'')') \gset
SELECT replace(:'ask', ');', ') AS request') AS ask \gset
:ask \gset
SELECT replace(:'ask', :'id', '<id>') ~ '''{"credential": "<id>", "version": 2}''' AS "with the version";
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SELECT hint AS ask FROM gate_error(format('SELECT keystone.add_member(''gate'', %L, ''viewer'', ''{audit}'', reason => ''why'')', :'dan')) \gset
SELECT replace(:'ask', ');', ') AS member') AS ask \gset
:ask \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
SELECT gate_try(format('SELECT keystone.reveal(''gate'', ''token'', ''prod'', approval => %L, reason => ''why'')', :'request')) AS "another version";
SELECT keystone.reveal('gate', 'token', 'prod', version => 2, approval => :'request', reason => 'why');
SELECT problem LIKE 'PT428 policy requires more first: {%"require_approval"%' AS problem, value FROM keystone.reveal_many(ARRAY[:'id']::uuid[], reason => 'why');
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.approve(:'member');
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT gate_try(format('SELECT keystone.add_member(''gate'', %L, ''operator'', approval => %L, reason => ''why'')', :'dan', :'member')) AS "another role";
SELECT keystone.add_member('gate', :'dan', 'viewer', '{audit}', approval => :'member', reason => 'why');

-- An approval that is given is used, or refused, whatever policy wants.
SELECT state, detail ->> 'approval' AS approval FROM gate_error(format('SELECT keystone.rotate_workspace_key(''gate'', approval => %L)', :'member'));

-- A credential that becomes another one must be permitted as that, too.
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT gate_try('SELECT keystone.policy_drop(''gate'', ''two'')') AS "the rule guards itself";
SELECT keystone.request_approval('gate', 'policy_drop', '{"type": "policy", "name": "two"}') AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.policy_drop('gate', 'two', approval => :'request');
SELECT credential AS dev FROM keystone.store('gate', 'dev', 'value', 'dev') \gset
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rename"], "env": ["prod"]}}', 'frozen'));
SELECT gate_try(format('SELECT keystone.rename(%L, ''{"environment": "prod"}'')', :'dev')) AS "to prod",
	gate_try(format('SELECT keystone.rename(%L, ''{"environment": "prod"}'')', :'id')) AS "from prod",
	gate_try(format('SELECT keystone.rename(%L, ''{"environment": "stage"}'')', :'dev')) AS "to stage";
SELECT keystone.policy_drop('gate', 'frozen');
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "oblige", "match": {"actions": ["rename"], "env": ["prod"]}, "obligations": [{"type": "require_approval"}]}', 'frozen'));
SELECT state, hint FROM gate_error(format('SELECT keystone.rename(%L, ''{"environment": "prod"}'')', :'dev'));

-- A preview must have been recorded, of what there is now.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "oblige", "match": {"actions": ["rotate"]}, "obligations": [{"type": "require_preview", "max_age": "PT1H"}]}', 'preview'));
SELECT state, detail -> 'obligations' AS obligations, replace(hint, :'dev', '<id>') AS hint FROM gate_error(format('SELECT keystone.rotate(%L, ''value'')', :'dev'));
SELECT count(keystone.record_preview(:'dev', '{"effect": "none"}'));
SELECT version FROM keystone.rotate(:'dev', 'value');
SELECT gate_try(format('SELECT keystone.rotate(%L, ''value'')', :'dev')) AS again;
SELECT keystone.policy_drop('gate', 'preview');
-- A reason can be read.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "oblige", "match": {"actions": ["reveal"], "env": ["dev"]}, "obligations": [{"type": "require_reason"}]}', 'why'));
SELECT what, gate_try(format('SELECT keystone.reveal(''gate'', ''dev'', ''dev'', reason => %L)', reason)) FROM (VALUES
	('empty', ''), ('ASCII', E' \t\r\n\x0b\x0c\x7f'), ('next line', E'\u0085'), ('no-break space', E'\u00a0'), ('soft hyphen', E'\u00ad'),
	('grapheme joiner', E'\u034f'), ('ogham space', E'\u1680'), ('em space', E'\u2003'), ('zero width space', E'\u200b'), ('line separator', E'\u2028'),
	('isolate', E'\u2067'), ('not assigned', E'\u2065\ufff5'), ('ideographic space', E'\u3000'), ('Hangul filler', E'\u3164'),
	('variation selector', E'\ufe0f'), ('byte order mark', E'\ufeff'), ('tag', E'\U000e0041'), ('plane 14', E'\U000e0fff'),
	('mixed', E' \u200b\u3000\t'), ('a letter', E'\u3000\u200bx'), ('another', E'\u200b\u7530'), ('a full stop', '.')) v (what, reason);
SELECT keystone.policy_drop('gate', 'why');
-- Time must pass between asking and using.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "oblige", "match": {"actions": ["rotate"]}, "obligations": [{"type": "wait", "duration": "PT1H"}]}', 'wait'));
SELECT keystone.request_approval('gate', 'rotate', jsonb_build_object('credential', :'dev')) AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT state, detail ->> 'approval' AS approval, detail -> 'not_before' AS "not before" FROM gate_error(format('SELECT keystone.rotate(%L, ''value'', approval => %L)', :'dev', :'request'));
SELECT keystone.policy_drop('gate', 'wait');  -- nobody frees himself of waiting, either
SELECT keystone.request_approval('gate', 'policy_drop', '{"type": "policy", "name": "wait"}') AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.policy_drop('gate', 'wait', approval => :'request');

-- A place that decrypts again and again hears of a policy that is put meanwhile.
DO $$
DECLARE
	sealed bytea := keystone.encrypt('gate', 'plain');
	plain bytea;
BEGIN
	FOR i IN 1 .. 2 LOOP
		plain := keystone.decrypt('gate', sealed);
		PERFORM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["decrypt"]}}', 'meanwhile'));
	END LOOP;
END $$;

-- A shadow policy stands in the log, and no more.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["reveal"]}}', 'shade') || '{"enforcement": "shadow"}');
SELECT keystone.reveal('gate', 'dev', 'dev') = 'value' AS revealed;
SELECT keystone.policy_drop('gate', 'shade');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT outcome, detail ->> 'shadow' AS shadow FROM keystone.audit_log WHERE workspace = 'gate' AND action = 'credential.reveal' AND object = :'dev' ORDER BY seq DESC LIMIT 1;
SET SESSION AUTHORIZATION regress_keystone_gate_owner;

-- A value that may not be revealed is not compared either.
SELECT * FROM keystone.import_env('gate', 'dev=value', 'dev');
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["reveal"]}}', 'closed'));
SELECT * FROM keystone.import_env('gate', 'dev=value', 'dev');

-- Personal credentials are under the workspace's policy.
SET SESSION AUTHORIZATION regress_keystone_gate_ann;
SELECT version FROM keystone.store('gate', 'mine', 'value', personal => true);
SELECT gate_try('SELECT keystone.reveal(''gate'', ''mine'')') AS mine;
-- the reasons of a rule
SELECT gate.state, gate.message, detail, hint FROM gate_error('SELECT keystone.reveal(''gate'', ''mine'')') gate;
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.policy_drop('gate', 'closed');

-- Who loosens a policy sees nothing until that is committed, and in the log.
SELECT keystone.encrypt('gate', 'plain') AS sealed \gset
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["reveal", "decrypt"]}}', 'shut'));
BEGIN;
SELECT keystone.policy_drop('gate', 'shut');
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS reveal, gate_try('SELECT count(*) FROM keystone.reveal_env(''gate'', ''dev'')') AS env,
	gate_try(format('SELECT keystone.decrypt(''gate'', %L)', :'sealed')) AS decrypt, gate_try('SELECT keystone.encrypt(''gate'', ''plain'')') AS encrypt,
	gate_try(format('SELECT keystone.rotate(%L, ''new'', dry_run => true)', (SELECT id FROM keystone.credentials WHERE workspace = 'gate' AND name = 'dev'))) AS rotate;
SELECT message, hint FROM gate_error('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')');
ROLLBACK;
BEGIN;
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rotate"]}}', 'shut'));
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS replaced;
ROLLBACK;
BEGIN;
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rotate"]}}', 'fresh') || '{"settings": {"hard_limit": 90}}');
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS settings;
ROLLBACK;
SELECT keystone.policy_drop('gate', 'shut');
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS committed;

-- Who leaves is not kept, nor does an administrator need a permit.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["*_member"]}}', 'members'));
SELECT gate_try(format('SELECT keystone.remove_member(''gate'', %L)', :'dan')) AS removed;
SET SESSION AUTHORIZATION regress_keystone_gate_dan;
SELECT gate_try(format('SELECT keystone.remove_member(''gate'', %L)', :'dan')) AS leaves;
SET SESSION AUTHORIZATION regress_keystone_gate_cyd;
SELECT gate_try(format('SELECT keystone.remove_member(''gate'', %L)', :'dan')) AS administrator;
RESET SESSION AUTHORIZATION;

-- The log: what decided, which approval, who was told.
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'policies' AS policies, detail ->> 'decision' AS decision, detail ->> 'notify' AS notify, detail ? 'approval' AS approval, count(*)
FROM keystone.audit_log WHERE workspace = 'gate' AND (detail ? 'policies' OR detail ? 'approval') AND action IN ('credential.rotate', 'credential.reveal', 'member.add', 'credential.rename')
	AND detail ->> 'policies' NOT LIKE 'matrix%' AND actor::text IN (:'ann', :'ben')
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 6;
-- and the metrics count them
SELECT value > 0 AS counted FROM keystone.metrics WHERE name = 'keystone_denials_total' AND labels ->> 'sqlstate' = 'PT428';

-- A policy that was changed by hand closes its workspace, and no other.
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT count(keystone.create_workspace('gate-two'));
SELECT version FROM keystone.store('gate-two', 'key', 'value');
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET document = document || '{"rules": []}' WHERE workspace_id = :'ws' AND id = 'members';
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT state, detail -> 'reasons' AS reasons FROM gate_error('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')');
SELECT gate_try('SELECT keystone.encrypt(''gate'', ''plain'')') AS encrypt, gate_try('SELECT keystone.reveal(''gate-two'', ''key'')') AS "another workspace";
-- nor does it open when it is said to be dropped
BEGIN;
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET dropped_at = now() WHERE workspace_id = :'ws' AND id = 'members';
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS "edited and dropped";
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
-- nobody can say what it asked for: who drops or replaces it needs another one who holds policy
SELECT state, detail -> 'reasons' AS reasons, detail -> 'obligations' AS obligations FROM gate_error('SELECT keystone.policy_drop(''gate'', ''members'')');
SELECT gate_try(format('SELECT keystone.policy_put(''gate'', %L)', gate_document('{"effect": "permit", "match": {"actions": ["rotate"]}}', 'members'))) AS replaced;
SELECT gate_try(format('SELECT keystone.policy_put(''gate'', %L)', gate_document('{"effect": "permit", "match": {"actions": ["rotate"]}}', 'sound'))) AS "another one";
SELECT keystone.request_approval('gate', 'policy_drop', '{"type": "policy", "name": "members"}') AS request \gset
SET SESSION AUTHORIZATION regress_keystone_gate_ben;
SELECT keystone.approve(:'request');
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.policy_drop('gate', 'members', approval => :'request');
SELECT gate_try('SELECT keystone.reveal(''gate'', ''dev'', ''dev'')') AS repaired;
-- of one member nobody else can agree; the profile admin drops it alone, a sound one it does not
SELECT version FROM keystone.policy_put('gate-two', gate_document('{"effect": "oblige", "match": {"actions": ["rotate"]}, "obligations": [{"type": "require_approval"}]}', 'mine'));
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET document = document || '{"rules": []}' WHERE id = 'mine';
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT keystone.policy_drop('gate-two', 'mine');
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rotate"], "env": ["nowhere"]}}', 'broken'));
SET SESSION AUTHORIZATION regress_keystone_gate_cyd;
SELECT gate_try('SELECT keystone.policy_drop(''gate'', ''broken'')') AS sound;
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET document = document || '{"rules": []}' WHERE id = 'broken';
SET SESSION AUTHORIZATION regress_keystone_gate_cyd;
SELECT gate_try('SELECT keystone.policy_put(''gate'', gate_document(''{"effect": "permit", "match": {"actions": ["rotate"]}}'', ''broken''))') AS puts,
	gate_try('SELECT keystone.policy_drop(''gate'', ''broken'', approval => gen_random_uuid())') AS approval;
SELECT keystone.policy_drop('gate', 'broken');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'damaged' AS damaged, detail ? 'approval' AS approval, actor::text = :'owner' AS owner FROM keystone.audit_log WHERE workspace = 'gate' AND action = 'policy.drop' ORDER BY seq DESC LIMIT 2;
RESET SESSION AUTHORIZATION;

-- A tombstone must be true: a policy that is said to be dropped by hand closes
-- its workspace, until it is dropped as a damaged one.
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT version FROM keystone.policy_put('gate-two', gate_document('{"effect": "forbid", "match": {"actions": ["reveal"]}}', 'buried'));
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET dropped_at = now() WHERE id = 'buried';
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT state, detail -> 'reasons' AS reasons FROM gate_error('SELECT keystone.encrypt(''gate-two'', ''plain'')');
SELECT gate_try('SELECT keystone.reveal(''gate-two'', ''key'')') AS reveal, gate_try('SELECT keystone.encrypt(''gate'', ''plain'')') AS "another workspace";
SELECT gate_try(format('SELECT keystone.policy_put(''gate-two'', %L, 1)', gate_document('{"effect": "permit", "match": {"actions": ["reveal"]}}', 'buried'))) AS replaced;
SELECT keystone.policy_drop('gate-two', 'buried');
SELECT gate_try('SELECT keystone.encrypt(''gate-two'', ''plain'')') AS repaired;
-- nor is a true one that was changed
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET dropped_at = dropped_at - interval '1 second' WHERE id = 'buried';
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT gate_try('SELECT keystone.encrypt(''gate-two'', ''plain'')') AS "changed tombstone";
SELECT keystone.policy_drop('gate-two', 'buried');
SELECT gate_try('SELECT keystone.encrypt(''gate-two'', ''plain'')') AS repaired;
-- One that is moved closes the workspace that it comes into.
SELECT version FROM keystone.policy_put('gate', gate_document('{"effect": "forbid", "match": {"actions": ["rotate"], "env": ["nowhere"]}}', 'moved'));
RESET SESSION AUTHORIZATION;
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE keystone_private.policies SET workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'gate-two') WHERE workspace_id = :'ws' AND id = 'moved';
COMMIT;
SET SESSION AUTHORIZATION regress_keystone_gate_owner;
SELECT gate_try('SELECT keystone.encrypt(''gate-two'', ''plain'')') AS "moved into", gate_try('SELECT keystone.encrypt(''gate'', ''plain'')') AS "moved out of";
SELECT keystone.policy_drop('gate-two', 'moved');
SELECT gate_try('SELECT keystone.encrypt(''gate-two'', ''plain'')') AS repaired;
RESET SESSION AUTHORIZATION;
