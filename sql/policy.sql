-- Policies: policy_put(), policy_get(), policy_drop(), policy_evaluate(), policy_allowed(), policy_explain(),
-- policy_who_can(), policy_lint(), policy_simulate(), their views.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
CREATE FUNCTION pg_temp.person(name text, profile text, kind text DEFAULT 'user') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_policy_' || name);
	PERFORM keystone.grant_access(('regress_keystone_policy_' || name)::name, profile);
	RETURN keystone.register_principal('Policy ' || name, kind, db_role => ('regress_keystone_policy_' || name)::name);
END $$;
SELECT pg_temp.person('owner', 'client') AS owner, pg_temp.person('admin', 'client') AS admin, pg_temp.person('operator', 'client') AS operator,
	   pg_temp.person('service', 'client', 'service') AS service, pg_temp.person('auditor', 'client') AS auditor,
	   pg_temp.person('other', 'client') AS other, pg_temp.person('dba', 'admin') AS dba \gset
-- A document of rules
CREATE FUNCTION pg_temp.doc(id text, rules jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', id, 'scope', '{"level": "workspace"}'::jsonb, 'rules', rules) || more $$;
-- A decision in short
CREATE FUNCTION pg_temp.shown(d keystone.decision) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', d.decision,
		(SELECT string_agg(concat_ws('/', r ->> 'policy', r ->> 'rule', r ->> 'code'), ' ') FROM jsonb_array_elements(d.reasons) r),
		nullif(d.obligations, '[]'), nullif(d.errors, '[]'), CASE WHEN d.not_before IS NOT NULL THEN 'later' END) $$;
CREATE FUNCTION pg_temp.ask(action text, resource jsonb DEFAULT '{}', context jsonb DEFAULT '{}', principal uuid DEFAULT NULL) RETURNS text
	LANGUAGE sql AS $$ SELECT pg_temp.shown(keystone.policy_evaluate('policy-a', action, resource, context, principal)) $$;
CREATE FUNCTION pg_temp.refusal(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SET SESSION AUTHORIZATION regress_keystone_policy_other;
SELECT count(keystone.create_workspace('policy-b'));
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT keystone.create_workspace('policy-a') AS ws \gset
SELECT count(keystone.add_member('policy-a', p, r))
FROM (VALUES (:'admin'::uuid, 'admin'), (:'operator', 'operator'), (:'service', 'service'), (:'auditor', 'auditor')) m (p, r);
SELECT credential AS prod FROM keystone.store('policy-a', 'db/main', 'one', 'prod', tags => '{pci}') \gset
SELECT credential AS dev FROM keystone.store('policy-a', 'db/main', 'two', 'dev') \gset
SELECT credential AS mine FROM keystone.store('policy-a', 'mine', 'three', 'prod', personal => true) \gset

SELECT jsonb_build_object('credential', :'prod'::uuid) AS prod_r, jsonb_build_object('credential', :'dev'::uuid) AS dev_r \gset

-- Without a document the role decides
SELECT a, pg_temp.ask(a, :'prod_r') FROM unnest('{reveal,rotate,store,destroy_credential}'::text[]) a;
SELECT a, pg_temp.ask(a) FROM unnest('{add_member,shred_workspace,encrypt,policy_put}'::text[]) a;
SET SESSION AUTHORIZATION regress_keystone_policy_operator;
SELECT a, pg_temp.ask(a, :'prod_r') FROM unnest('{reveal,rotate,store,destroy_credential}'::text[]) a;
SELECT keystone.policy_allowed('policy-a', 'rotate', :'prod_r'), keystone.policy_allowed('policy-a', 'reveal', :'prod_r');
SET SESSION AUTHORIZATION regress_keystone_policy_owner;

-- NULL and wrong arguments
SELECT keystone.policy_put('policy-a', NULL);
SELECT keystone.policy_get('policy-a', NULL);
SELECT keystone.policy_drop('policy-a', NULL);
SELECT keystone.policy_evaluate(NULL, 'rotate');
SELECT keystone.policy_evaluate('policy-a', NULL);
SELECT keystone.policy_evaluate('policy-a', 'rotate', NULL);
SELECT keystone.policy_evaluate('policy-a', 'rotate', '{}', NULL);
SELECT keystone.policy_allowed(NULL, 'rotate');
SELECT keystone.policy_allowed('policy-a', NULL);
SELECT keystone.policy_allowed('policy-a', 'rotate', NULL);
SELECT keystone.policy_allowed('policy-a', 'rotate', '{}', NULL);
SELECT keystone.policy_who_can('policy-a', NULL);
SELECT keystone.policy_lint(NULL);
SELECT keystone.policy_simulate('policy-a', NULL);
SELECT keystone.policy_simulate('policy-a', '{}', NULL);
\set VERBOSITY default
SELECT replace(r, :'prod', '(prod)') AS r, pg_temp.refusal(format('SELECT keystone.policy_evaluate(''policy-a'', ''rotate'', %L)', r)) AS refusal
FROM unnest(ARRAY['[]', '1', '{"secret": "x"}', '{"credential": "x"}', '{"credential": 1}', '{"version": 0}', '{"version": 1.5}', '{"name": ""}', '{"tags": "a"}',
	'{"tags": [1]}', '{"personal": "yes"}', '{"type": "secret"}', '{"type": "member", "name": "x"}', '{"type": "member", "environment": "prod"}',
	'{"credential": "00000000-0000-0000-0000-000000000001"}', format('{"credential": "%s", "environment": "prod"}', :'prod')]) r;
SELECT pg_temp.refusal($$SELECT keystone.policy_evaluate('policy-a', 'deploy')$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_evaluate('policy-a', 'rotate', '{}', '[]')$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_evaluate('policy-b', 'rotate')$$);
SELECT pg_temp.refusal(format($$SELECT keystone.policy_evaluate('policy-a', 'rotate', '{}', '{}', %L)$$, :'other'));

-- Putting, versions, expected versions
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', '{"id": "x"}')$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('x', '[]', '{"scope": {"level": "system"}}'))$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('x', '[]', '{"scope": {"level": "workspace", "id": "policy-b"}}'))$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_put(NULL, pg_temp.doc('x', '[]'))$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('x', '[]'), 1)$$);
SELECT id, version FROM keystone.policy_put('policy-a', pg_temp.doc('freeze',
	'[{"id": "prod", "effect": "forbid", "match": {"actions": ["rotate"], "env": ["prod*"]}, "reason": "change freeze"}]',
	'{"scope": {"level": "workspace", "id": "policy-a"}}'), 0);
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('freeze', '[]'), 0)$$);
SELECT pg_temp.ask('rotate', :'prod_r'), pg_temp.ask('rotate', :'dev_r'), pg_temp.ask('reveal', :'prod_r');
SELECT pg_temp.ask('rotate', '{"environment": "production"}'), pg_temp.ask('rotate', '{"environment": "dev"}'), pg_temp.ask('rotate');
SELECT reasons, obligations, errors, not_before, octet_length(request_hash) FROM keystone.policy_evaluate('policy-a', 'rotate', :'prod_r');
SELECT id, version FROM keystone.policy_put('policy-a', pg_temp.doc('freeze', '[]'), 1);
SELECT pg_temp.ask('rotate', :'prod_r');
SELECT keystone.policy_get('policy-a', 'freeze') -> 'rules' AS rules;
SELECT id, version, level, enforcement, workspace, updated_by = :'owner' AS mine FROM keystone.policies WHERE workspace_id = :'ws';
SELECT keystone.policy_drop('policy-a', 'freeze');
SELECT pg_temp.refusal($$SELECT keystone.policy_drop('policy-a', 'freeze')$$), pg_temp.refusal($$SELECT keystone.policy_get('policy-a', 'freeze')$$);
SELECT count(*) FROM keystone.policies WHERE workspace_id = :'ws';
-- numbers go on, and every version stays
SELECT id, version FROM keystone.policy_put('policy-a', pg_temp.doc('freeze', '[]'), 0);
SELECT version, document IS NULL AS dropped FROM keystone.policy_versions WHERE workspace_id = :'ws' AND id = 'freeze' ORDER BY version;
SELECT keystone.policy_drop('policy-a', 'freeze');

-- Effects, conditions and errors
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('rules', ('[
	{"id": "forbid", "effect": "forbid", "match": {"actions": ["promote"]}, "when": "resource.tags.contains(\"pci\")"},
	{"id": "unless", "effect": "forbid", "match": {"actions": ["rename"]}, "unless": "principal.role == \"owner\""},
	{"id": "broken", "effect": "forbid", "match": {"actions": ["delete_credential"]}, "when": "context.claimed.freeze"},
	{"id": "duties", "effect": "oblige", "match": {"actions": ["rollback_to"]}, "when": "context.claimed.freeze", "obligations": [{"type": "require_reason"}]},
	{"id": "lost", "effect": "permit", "match": {"actions": ["rollback_to"]}, "when": "context.claimed.freeze", "obligations": [{"type": "require_preview"}]},
	{"id": "personal", "effect": "forbid", "match": {"actions": ["set_active"]}, "when": "resource.personal && resource.owner == principal"},
	{"id": "facts", "effect": "forbid", "match": {"actions": ["update_metadata"]},
	 "when": "resource.created_by == principal && resource.last_rotated_at < context.now && resource.version == 1 && resource in Keystone::Workspace::\"'
	|| :'ws' || '\" && context.workspace == \"policy-a\" && principal.permissions.contains(\"policy\") && action == Keystone::Action::\"update_metadata\""}]')::jsonb));
SELECT pg_temp.ask('promote', :'prod_r'), pg_temp.ask('promote', :'dev_r'), pg_temp.ask('promote', '{"tags": ["a", "pci"]}');
SELECT pg_temp.ask('rename', :'prod_r'), pg_temp.ask('rename', :'prod_r', '{}', :'admin');
SELECT pg_temp.ask('delete_credential', :'prod_r'), pg_temp.ask('delete_credential', :'prod_r', '{"freeze": false}'),
	   pg_temp.ask('delete_credential', :'prod_r', '{"freeze": true}'), pg_temp.ask('delete_credential', :'prod_r', '{"freeze": "no"}');
SELECT pg_temp.ask('rollback_to', :'prod_r'), pg_temp.ask('rollback_to', :'prod_r', '{"freeze": false}'), pg_temp.ask('rollback_to', :'prod_r', '{"freeze": true}');
SELECT pg_temp.ask('set_active', jsonb_build_object('credential', :'mine'::uuid)), pg_temp.ask('set_active', :'prod_r');
SELECT pg_temp.ask('update_metadata', :'prod_r'), pg_temp.ask('update_metadata', :'dev_r', '{}', :'admin');
SELECT keystone.policy_drop('policy-a', 'rules');

-- Duties are joined: the same factor wants more, another one, too; time is the least
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('a', '[{"id": "one", "effect": "oblige", "match": {"actions": ["rotate"]}, "obligations": [
	{"type": "require_approval", "factors": [{"role": "admin", "count": 1}], "timeout": "PT4H", "valid_for": "PT30M"}, {"type": "require_mfa", "max_age": "PT15M"}]}]'));
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('b', '[{"id": "two", "effect": "permit", "match": {"actions": ["rot*"]}, "obligations": [
	{"type": "require_approval", "factors": [{"role": "admin", "count": 2}, {"permission": "approve", "count": 1}], "timeout": "PT2H", "valid_for": "PT1H"},
	{"type": "require_mfa", "max_age": "PT10M"}, {"type": "require_preview", "max_age": "PT1H"}]}]', '{"settings": {"approvals": 2}}'));
SELECT decision, jsonb_pretty(obligations) AS obligations FROM keystone.policy_evaluate('policy-a', 'rotate', :'prod_r');
-- Who changes a policy needs the approval that it asks for
SELECT pg_temp.ask('policy_drop', '{"type": "policy", "name": "a"}');
SELECT pg_temp.ask('policy_put', '{"type": "policy", "name": "b"}'), pg_temp.ask('policy_put', '{"type": "policy", "name": "c"}');
\set VERBOSITY sqlstate
SELECT keystone.policy_drop('policy-a', 'a');
SELECT keystone.policy_put('policy-a', pg_temp.doc('a', '[]'));
\set VERBOSITY default
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET dropped_at = now() WHERE workspace_id = :'ws';
DELETE FROM keystone_private.policy_versions WHERE workspace_id = :'ws';
DELETE FROM keystone_private.policies WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_policy_owner;

-- Windows: outside of them it is deferred, and denied when they never open
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('windows', '[
	{"id": "never", "effect": "oblige", "match": {"actions": ["rotate"]}, "windows": {"allow": ["past"]}, "obligations": [{"type": "require_reason"}]},
	{"id": "later", "effect": "permit", "match": {"actions": ["promote"]}, "windows": {"deny": ["today"]}},
	{"id": "now", "effect": "permit", "match": {"actions": ["rename"]}, "windows": {"allow": ["today"]}},
	{"id": "freeze", "effect": "forbid", "match": {"actions": ["store"]}, "windows": {"deny": ["today"]}},
	{"id": "open", "effect": "forbid", "match": {"actions": ["reveal"]}, "windows": {"allow": ["today"]}}]',
	jsonb_build_object('windows', jsonb_build_object(
		'past', '{"tz": "UTC", "rrule": "FREQ=DAILY;UNTIL=20200101", "start": "00:00", "duration": "PT1H"}'::jsonb,
		'today', jsonb_build_object('tz', 'UTC', 'rrule', format('FREQ=DAILY;UNTIL=%s', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD')),
			'from', to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day', 'YYYY-MM-DD'), 'start', '00:00', 'duration', 'P2D', 'dst', 'elapsed')))));
SELECT a, pg_temp.ask(a, :'prod_r') FROM unnest('{rotate,promote,rename,store,reveal}'::text[]) a;
SELECT not_before > clock_timestamp() AND not_before <= clock_timestamp() + interval '2 days' AS soon FROM keystone.policy_evaluate('policy-a', 'store', :'prod_r');
SELECT keystone.policy_drop('policy-a', 'windows');

-- Levels
SELECT count(*) FROM (VALUES ('p', '{"scope": {"level": "provider", "id": "openai"}}'::jsonb), ('s', '{"scope": {"level": "secret", "id": "db/*"}}'),
	('c', jsonb_build_object('scope', jsonb_build_object('level', 'secret', 'id', :'dev')))) v (i, s),
	keystone.policy_put('policy-a', pg_temp.doc(i, '[{"id": "no", "effect": "forbid", "match": {"actions": ["rotate"]}}]', s));
SELECT pg_temp.ask('rotate', '{"provider": "openai"}'), pg_temp.ask('rotate', '{"provider": "cohere"}'), pg_temp.ask('rotate', :'prod_r'),
	   pg_temp.ask('rotate', :'dev_r'), pg_temp.ask('rotate', '{"name": "db/x/y"}'), pg_temp.ask('rotate');
SELECT count(keystone.policy_drop('policy-a', i)) FROM unnest('{p,s,c}'::text[]) i;

-- Settings: the strictest holds, but for what is delegated
SELECT count(*) FROM (VALUES
	('a', '{"settings": {"soft_limit": 80, "hard_limit": 90, "auto_redeploy": true, "max_secret_age": "P90D"}, "delegates": ["soft_limit"]}'::jsonb),
	('b', '{"settings": {"hard_limit": 95, "auto_redeploy": true, "max_secret_age": "P30D"}}'),
	('c', '{"scope": {"level": "provider", "id": "openai"}, "settings": {"soft_limit": 99, "hard_limit": 99, "auto_redeploy": false}}')) v (i, s), keystone.policy_put('policy-a', pg_temp.doc(i, '[]', s));
SELECT keystone.policy_explain('policy-a', 'rotate', '{"provider": "openai"}') -> 'settings' AS openai,
	   keystone.policy_explain('policy-a', 'rotate', '{"provider": "cohere"}') -> 'settings' AS cohere;
SELECT count(keystone.policy_drop('policy-a', i)) FROM unnest('{a,b,c}'::text[]) i;
SELECT keystone.policy_explain('policy-a', 'rotate') -> 'settings' AS none;

-- Shadow policies decide nothing, and are told
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('dark', '[{"id": "no", "effect": "forbid", "match": {"actions": ["rotate"]}}]', '{"enforcement": "shadow"}'));
SELECT pg_temp.ask('rotate', :'prod_r');
SELECT keystone.policy_explain('policy-a', 'rotate', :'prod_r') -> 'shadow' AS shadow;
SELECT keystone.policy_drop('policy-a', 'dark');

-- Policies of the database
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_keystone_policy_dba;
-- one that asks for approval does not stay for ever
SELECT version FROM keystone.policy_put(NULL, pg_temp.doc('policy-test-own', '[{"id": "two", "effect": "oblige", "match": {"actions": ["policy_put", "policy_drop"], "secret": ["none"]}, "obligations": [{"type": "require_approval"}]}]', '{"scope": {"level": "system"}}'));
SELECT pg_temp.refusal($$SELECT keystone.policy_drop(NULL, 'policy-test-own', approval => gen_random_uuid())$$);
SELECT keystone.policy_drop(NULL, 'policy-test-own');
SELECT id, version FROM keystone.policy_put(NULL, pg_temp.doc('policy-test-all', '[{"id": "no", "effect": "forbid", "match": {"actions": ["rotate"], "secret": ["db/main"], "env": ["dev"]}}]', '{"scope": {"level": "system"}}'));
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('x', '[]'))$$);
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT pg_temp.ask('rotate', :'dev_r'), pg_temp.ask('rotate', :'prod_r');
SELECT pg_temp.refusal($$SELECT keystone.policy_drop(NULL, 'policy-test-all')$$), pg_temp.refusal($$SELECT keystone.policy_get(NULL, 'policy-test-all')$$);
SELECT count(*) FROM keystone.policies WHERE id = 'policy-test-all';
SET SESSION AUTHORIZATION regress_keystone_policy_dba;
SELECT level, workspace FROM keystone.policies WHERE id = 'policy-test-all';
SELECT keystone.policy_drop(NULL, 'policy-test-all');

-- Who may ask and change
SET SESSION AUTHORIZATION regress_keystone_policy_operator;
SELECT pg_temp.refusal($$SELECT keystone.policy_put('policy-a', pg_temp.doc('x', '[]'))$$), pg_temp.refusal($$SELECT keystone.policy_explain('policy-a', 'rotate')$$);
SELECT pg_temp.refusal($$SELECT keystone.policy_who_can('policy-a', 'rotate')$$), pg_temp.refusal($$SELECT * FROM keystone.policy_lint('policy-a')$$);
SELECT pg_temp.refusal(format($$SELECT keystone.policy_evaluate('policy-a', 'rotate', principal => %L)$$, :'owner')),
	   pg_temp.refusal(format($$SELECT keystone.policy_evaluate('policy-a', 'rotate', principal => %L)$$, :'operator'));
SELECT pg_temp.refusal(format($$SELECT keystone.policy_evaluate('policy-a', 'rotate', '{"credential": %s}')$$, to_jsonb(:'mine'::text)));
SELECT pg_temp.refusal($$SELECT * FROM keystone.policy_simulate('policy-a', pg_temp.doc('x', '[]'))$$), pg_temp.refusal($$SELECT keystone.policy_get('policy-a', 'x')$$);

-- Who can; explain; lint
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('lint', '[
	{"id": "all", "effect": "forbid", "match": {"actions": ["rotate"], "env": ["prod"], "roles": ["operator"]}},
	{"id": "inside", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["prod"], "secret": ["db/main"], "roles": ["operator"]}, "obligations": [{"type": "require_reason"}]},
	{"id": "nothing", "effect": "forbid", "match": {"actions": ["rotate"], "env": ["staging"]}},
	{"id": "nobody", "effect": "forbid", "match": {"actions": ["promote"], "roles": ["viewer"]}},
	{"id": "stranger", "effect": "forbid", "match": {"actions": ["promote"], "principals": ["00000000-0000-0000-0000-00000000000a"]}},
	{"id": "never", "effect": "forbid", "match": {"actions": ["promote"]}, "when": "false"},
	{"id": "idle", "effect": "permit", "match": {"actions": ["promote"]}},
	{"id": "loses", "effect": "permit", "match": {"actions": ["promote"]}, "when": "context.claimed.x", "obligations": [{"type": "require_reason"}]}]'));
SELECT p.display_name FROM keystone.policy_who_can('policy-a', 'rotate', :'prod_r') w JOIN keystone.principals p ON p.id = w ORDER BY 1;
SELECT p.display_name FROM keystone.policy_who_can('policy-a', 'rotate', :'dev_r') w JOIN keystone.principals p ON p.id = w ORDER BY 1;
SELECT * FROM keystone.policy_lint('policy-a');
SELECT r ->> 'rule' AS rule, r ->> 'matched' AS matched, r ->> 'unmatched' AS unmatched, r ->> 'outcome' AS outcome, r ->> 'error' AS error
FROM jsonb_array_elements(keystone.policy_explain('policy-a', 'promote', :'prod_r') -> 'rules') r;
SELECT jsonb_object_keys(keystone.policy_explain('policy-a', 'promote', :'prod_r')) AS key ORDER BY 1;
SELECT keystone.policy_drop('policy-a', 'lint');

-- Simulation over the log
SELECT count(*) FROM keystone.reveal_by_id(:'prod');
SELECT count(*) FROM keystone.reveal_by_id(:'dev');
SELECT count(keystone.export_bundle('policy-a', decode(repeat('09', 32), 'hex')));
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT before, after, changed_by, count(*) FROM keystone.policy_simulate('policy-a',
	pg_temp.doc('try', '[{"id": "no", "effect": "forbid", "match": {"actions": ["reveal"], "env": ["prod"]}}]'))
WHERE changed_by IS NOT NULL GROUP BY 1, 2, 3;
SELECT before, after, changed_by, count(*) FROM keystone.policy_simulate('policy-a',
	pg_temp.doc('try', '[{"id": "no", "effect": "forbid", "match": {"actions": ["export_bundle"]}}]'))
WHERE changed_by IS NOT NULL GROUP BY 1, 2, 3;
SELECT count(*) > 1 AS others FROM keystone.policy_simulate('policy-a',
	pg_temp.doc('try', '[{"id": "no", "effect": "forbid", "match": {"actions": ["reveal"], "env": ["prod"]}}]')) WHERE before = 'permit' AND after = before;
SELECT count(*) FROM keystone.policy_simulate('policy-a', pg_temp.doc('try', '[]'), '0 seconds');
SELECT pg_temp.refusal($$SELECT * FROM keystone.policy_simulate('policy-a', '{}')$$);

-- The hash: of the exact request, in whatever order and form its parts come
SELECT a.request_hash = b.request_hash AS same FROM keystone.policy_evaluate('policy-a', 'rotate', :'prod_r') a,
	keystone.policy_evaluate('policy-a', 'rotate', :'prod_r', '{"ticket": 1}') b;
SELECT count(DISTINCT request_hash) AS distinct_hashes FROM (VALUES ('rotate', '{"environment": "prod", "name": "x"}'), ('rotate', '{"environment": "dev", "name": "x"}'),
	('rotate', '{"environment": "prod", "name": "y"}'), ('promote', '{"environment": "prod", "name": "x"}'), ('rotate', '{"environment": "prod", "name": "x", "version": 2}'), ('rotate', '{}')) v (a, r),
	keystone.policy_evaluate('policy-a', a, r::jsonb);

-- A row that was changed by hand denies all, but can be replaced, with another one who holds policy
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('forged', '[]'));
RESET SESSION AUTHORIZATION;
UPDATE keystone_private.policies SET document = document || '{"description": "by hand"}' WHERE workspace_id = :'ws' AND id = 'forged';
SELECT ok, detail ~ 'policies .*/forged' AS named FROM keystone.health WHERE check_name = 'row macs';
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT pg_temp.ask('rotate', :'prod_r'), pg_temp.ask('reveal', '{}');
SELECT reasons FROM keystone.policy_evaluate('policy-a', 'rotate');
SELECT keystone.request_approval('policy-a', 'policy_put', '{"type": "policy", "name": "forged"}', jsonb_build_object('document', pg_temp.doc('forged', '[]'))) AS repair \gset
SET SESSION AUTHORIZATION regress_keystone_policy_admin;
SELECT keystone.approve(:'repair');
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT id, version FROM keystone.policy_put('policy-a', pg_temp.doc('forged', '[]'), approval => :'repair');
SELECT pg_temp.ask('rotate', :'prod_r');
SELECT keystone.policy_drop('policy-a', 'forged');

-- The caller's own change holds at once, and is undone with it
BEGIN;
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('own', '[{"id": "no", "effect": "forbid", "match": {"actions": ["*"]}}]'));
SELECT pg_temp.ask('rotate', :'prod_r');
ROLLBACK;
SELECT pg_temp.ask('rotate', :'prod_r');
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('own', '[{"id": "no", "effect": "forbid", "match": {"actions": ["rotate"]}}]'));
ROLLBACK TO s;
SELECT pg_temp.ask('rotate', :'prod_r');
COMMIT;

-- What the server counts: context.counts.
CREATE FUNCTION pg_temp.counted(name text, most int, resource jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 0 .. most LOOP
		PERFORM keystone.policy_put('policy-a', pg_temp.doc('counts', jsonb_build_array(jsonb_build_object('id', 'is', 'effect', 'forbid',
			'match', '{"actions": ["reveal", "add_member"]}'::jsonb, 'when', format('context.counts.%I == %s', name, n)))));
		IF EXISTS (SELECT FROM keystone.policy_evaluate('policy-a', CASE WHEN resource ? 'type' THEN 'add_member' ELSE 'reveal' END, resource) d
			WHERE d.decision = 'deny' AND d.errors = '[]') THEN
			RETURN n;
		END IF;
	END LOOP;
	RETURN 'none';
END $$;
CREATE FUNCTION pg_temp.counts(resource jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n || ' ' || pg_temp.counted(n, 8, resource), ', ') FROM unnest('{versions,reveals,open_requests,members}'::text[]) n $$;
SELECT pg_temp.counts(:'dev_r') AS dev, pg_temp.counts('{"name": "new"}') AS "no credential yet", pg_temp.counts('{"type": "member"}') AS member;
SELECT count(keystone.policy_drop('policy-a', 'counts'));
SELECT version FROM keystone.rotate(:'dev', 'next');
SELECT version FROM keystone.store('policy-a', 'db/main', 'later', 'dev', state => 'pending');
SET SESSION AUTHORIZATION regress_keystone_policy_dba;
SELECT version FROM keystone.policy_put(NULL, pg_temp.doc('policy-test-asks', '[{"id": "two", "effect": "oblige", "match": {"actions": ["destroy_credential"], "secret": ["db/main"]},
	"obligations": [{"type": "require_approval"}]}]', '{"scope": {"level": "system"}}'));
SET SESSION AUTHORIZATION regress_keystone_policy_admin;
SELECT count(keystone.request_approval('policy-a', 'destroy_credential', :'prod_r'));
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT keystone.request_approval('policy-a', 'destroy_credential', :'dev_r') AS request \gset
SELECT count(keystone.request_approval('policy-a', 'destroy_credential', :'prod_r'));
RESET SESSION AUTHORIZATION;
INSERT INTO keystone_private.credential_usage AS u (workspace_id, credential_id, usage_count) VALUES (:'ws', :'dev', 4)
	ON CONFLICT (workspace_id, credential_id) DO UPDATE SET usage_count = excluded.usage_count;
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT pg_temp.counts(:'dev_r') AS dev, usage_count FROM keystone.credentials WHERE id = :'dev';
SELECT keystone.remove_member('policy-a', :'service'), keystone.cancel_request(:'request');
SELECT keystone.destroy_version(:'dev', 1);
SELECT pg_temp.counts(:'dev_r') AS dev;
-- of the principal that is asked about, until they expire; disabled members are none
SELECT decision FROM keystone.policy_evaluate('policy-a', 'destroy_credential', :'dev_r');
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('counts', '[{"id": "is", "effect": "forbid", "match": {"actions": ["rotate"]}, "when": "context.counts.open_requests == 0"}]'));
SELECT pg_temp.ask('rotate', :'dev_r') AS mine, pg_temp.ask('rotate', :'dev_r', principal => :'admin') AS "the admin's", pg_temp.ask('rotate', :'dev_r', principal => :'operator') AS "the operator's";
RESET SESSION AUTHORIZATION;
BEGIN;
ALTER TABLE keystone.approval_requests DISABLE TRIGGER USER;
UPDATE keystone.approval_requests SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT pg_temp.ask('rotate', :'dev_r') AS expired;
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_policy_dba;
SELECT keystone.policy_drop(NULL, 'policy-test-asks');
SELECT keystone.disable_principal(:'auditor');
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
SELECT pg_temp.counted('members', 8, '{}') AS members;
SET SESSION AUTHORIZATION regress_keystone_policy_dba;
SELECT keystone.enable_principal(:'auditor');
SET SESSION AUTHORIZATION regress_keystone_policy_owner;
-- in the log's past there are none
SELECT count(*) FROM keystone.policy_put('policy-a', pg_temp.doc('counts', '[]'));
SELECT DISTINCT w AS "when", s.after FROM unnest(ARRAY['context.counts.members == 0', 'context has counts', '!(context has counts)']) w,
	keystone.policy_simulate('policy-a', pg_temp.doc('counts', jsonb_build_array(jsonb_build_object('id', 'is', 'effect', 'forbid',
		'match', '{"actions": ["rotate"], "env": ["dev"]}'::jsonb, 'when', w)))) s
	WHERE s.before <> 'deny' AND (s.after = 'deny' OR w = 'context has counts') ORDER BY 1, 2;
-- They are read only for a rule that names them, and matches otherwise.
CREATE FUNCTION pg_temp.looks(condition text, action text DEFAULT 'rotate') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
	after bigint;
	result text;
BEGIN
	PERFORM keystone.policy_put('policy-a', pg_temp.doc('counts', jsonb_build_array(jsonb_build_object('id', 'is', 'effect', 'forbid',
		'match', '{"actions": ["rotate"]}'::jsonb, 'when', condition))));
	SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) INTO before FROM pg_stat_xact_all_tables WHERE schemaname = 'keystone' AND relname = 'approval_requests';
	result := pg_temp.ask(action, '{"environment": "dev"}');
	SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) INTO after FROM pg_stat_xact_all_tables WHERE schemaname = 'keystone' AND relname = 'approval_requests';
	RETURN (after - before) || ' ' || result;
END $$;
SELECT c AS "when", pg_temp.looks(c) FROM unnest(ARRAY['context.now > datetime("2000-01-01")', 'context has claimed.counts', 'resource has counts',
	'context has plan', 'context.counts.members > 99', 'context["counts"]["members"] > 99', 'context has counts.reveals', '!(context has counts)',
	'[context].isEmpty()', '(if true then context else {}) has counts']) c;
SELECT pg_temp.looks('context has counts', 'promote') AS "another action";
SELECT keystone.policy_drop('policy-a', 'counts');

-- The log
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, version, detail ->> 'policy' AS policy, length(detail ->> 'document_sha256') AS digest, count(*) FROM keystone.audit_log
WHERE workspace_id = :'ws' AND action IN ('policy.put', 'policy.drop') AND detail ->> 'policy' IN ('freeze', 'forged') GROUP BY 1, 2, 3, 4, 5 ORDER BY min(seq);
