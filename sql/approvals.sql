-- Approvals: request_approval(), approve(), reject(), cancel_request(), claim_approval(), complete_approval(),
-- break_glass(), review_break_glass(), record_preview().  The numbers are those of the state machine's invariants.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.person(name text, kind text DEFAULT 'user') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_app_' || name);
	PERFORM keystone.grant_access(('regress_keystone_app_' || name)::name, 'client');
	RETURN keystone.register_principal('App ' || name, kind, db_role => ('regress_keystone_app_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('admin') AS admin, pg_temp.person('second') AS second,
	   pg_temp.person('operator') AS operator, pg_temp.person('viewer') AS viewer, pg_temp.person('auditor') AS auditor,
	   pg_temp.person('robot', 'service') AS robot, pg_temp.person('stranger') AS stranger, pg_temp.person('late') AS late,
	   pg_temp.person('grouped') AS grouped \gset
-- a question's answer, or its refusal
CREATE FUNCTION public.app_try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, nullif(regexp_replace(hint, '^SELECT keystone.request_approval.*', 'request_approval'), ''));
END $$;
-- what became of a request, for the superuser
CREATE FUNCTION public.app_state(request uuid) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, CASE WHEN decided_at IS NOT NULL THEN 'decided' END, CASE WHEN claimed_at IS NOT NULL THEN 'claimed' END,
		CASE WHEN completed_at IS NOT NULL THEN 'completed' END, detail) FROM keystone.approval_requests WHERE id = request $$;
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.create_workspace('approvals') AS ws \gset
SELECT count(keystone.add_member('approvals', p, r, x::text[]))
FROM (VALUES (:'admin'::uuid, 'admin', '{}'), (:'second', 'admin', '{}'), (:'operator', 'operator', '{}'), (:'viewer', 'viewer', '{}'),
	(:'auditor', 'auditor', '{}'), (:'robot', 'service', '{approve,rotate}'), (:'grouped', 'viewer', '{}')) m (p, r, x);
SELECT (SELECT credential FROM keystone.store('approvals', 'pw', 'secret-1', 'prod')) AS cred, (SELECT credential FROM keystone.store('approvals', 'other', 'secret-2', 'prod')) AS other,
	   (SELECT credential FROM keystone.store('approvals', 'free', 'secret-3', 'dev')) AS free \gset
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "two", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["prod"]},
			   "obligations": [{"type": "require_approval", "factors": [{"role": "admin", "count": 1}, {"permission": "approve", "count": 1}], "timeout": "PT4H", "valid_for": "PT30M"}]}]}');
SELECT version FROM keystone.policy_put('approvals', jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', 'rest', 'scope', '{"level": "workspace"}'::jsonb,
	'groups', jsonb_build_object('security', jsonb_build_array(:'grouped')),
	'rules', '[{"id": "g", "effect": "oblige", "match": {"actions": ["promote"], "env": ["prod"]},
				"obligations": [{"type": "require_approval", "factors": [{"group": "security", "count": 1}]}]},
			   {"id": "many", "effect": "oblige", "match": {"actions": ["destroy_credential"]},
				"obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 9}]}]},
			   {"id": "never", "effect": "forbid", "match": {"actions": ["rollback_to"], "env": ["prod"]}, "reason": "no way back"}]'::jsonb));
\set on_pw '{"credential": "' :cred '"}'
\set on_free '{"credential": "' :free '"}'

-- NULL
SELECT keystone.request_approval(NULL, 'rotate', :'on_pw');
SELECT keystone.request_approval('approvals', NULL, :'on_pw');
SELECT keystone.request_approval('approvals', 'rotate', NULL);
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw', NULL);
SELECT keystone.approve(NULL);
SELECT keystone.reject(NULL);
SELECT keystone.cancel_request(NULL);
SELECT keystone.claim_approval(NULL);
SELECT keystone.complete_approval(NULL, true);
SELECT keystone.complete_approval(:'ws', NULL);
SELECT keystone.break_glass('approvals', 'rotate', :'on_pw');
SELECT keystone.record_preview(:'cred', NULL);

-- What cannot be asked for
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.request_approval(%L, %L, %L, %L)', w, a, r, p)) FROM (VALUES
	('approvals', 'fly', :'on_pw', '{}'),							-- no action
	('approvals', 'rotate', '{"credential": 7}', '{}'),
	('approvals', 'rotate', :'on_pw', '[]'),
	('approvals', 'rotate', :'on_pw', '{"value": "s"}'),			-- never a value
	('approvals', 'rotate', :'on_pw', '{"Password": "s"}'),
	('approvals', 'rotate', :'on_free', '{}'),						-- needs none
	('approvals', 'rollback_to', :'on_pw', '{}'),					-- forbidden
	('approvals', 'reveal', :'on_pw', '{}'),						-- not this role's
	('approvals', 'rotate', '{"credential": "00000000-0000-4000-8000-000000000001"}', '{}'),
	('elsewhere', 'rotate', :'on_pw', '{}')) v (w, a, r, p);
-- A14: what nobody could approve
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT app_try(format('SELECT keystone.request_approval(%L, %L, %L)', 'approvals', 'destroy_credential', :'on_pw'));
SELECT warnings FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "unsat", "scope": {"level": "workspace"}, "enforcement": "shadow",
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rename"]}, "obligations": [{"type": "require_approval", "factors": [{"role": "admin", "count": 3}]}]}]}');
-- and of a workspace of one person
SELECT keystone.create_workspace('approvals-solo') IS NOT NULL AS made;
SELECT jsonb_array_length(warnings) AS warnings FROM keystone.policy_put('approvals-solo', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rename"]}, "obligations": [{"type": "require_approval"}]}]}');

-- The usual course
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw', reason => 'leaked') AS req \gset
SELECT action, resource - 'credential' AS resource, parameters, reason, break_glass, state, level, expires_at - created_at AS time, need - 'escalations' AS need
FROM keystone.approval_requests WHERE id = :'req';
-- A1: not by who made it, nor services; nor by who has nothing to do with it
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_robot;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_viewer;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SELECT count(*) AS viewer_sees FROM keystone.approval_requests;
SET SESSION AUTHORIZATION regress_keystone_app_stranger;
SELECT app_try(format('SELECT keystone.reject(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_auditor;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SELECT count(*) AS auditor_sees FROM keystone.approval_requests;
-- not yet
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1b', :'req'));
-- A2, A15: one vote of each; the same again is the same
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req', 'go ahead'), keystone.approve(:'req', 'again');
SELECT vote, comment FROM keystone.approval_votes WHERE request_id = :'req';
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT count(*) AS votes FROM keystone.approval_votes WHERE request_id = :'req';
-- A6: another call is not it
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'other', 'secret-1b', :'req'));
SELECT app_try(format('SELECT keystone.claim_approval(%L, %L)', :'req', '{"x": 1}'));
-- nor is it anybody else's
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1b', :'req'));
SELECT app_try(format('SELECT keystone.cancel_request(%L)', :'req'));
-- used once, by the verb itself
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT version FROM keystone.rotate(:'cred', 'secret-1b', approval => :'req');
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1c', :'req'));
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.cancel_request(:'req'), keystone.complete_approval(:'req', false);
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.reject(:'req');
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');

-- A5: a vote is for what the voter was shown; with another hash it is refused, and nothing changes
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req, keystone.request_approval('approvals', 'rotate', :'on_pw', reason => 'another') AS req2 \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT request_hash AS shown FROM keystone.approval_requests WHERE id = :'req' \gset
SELECT app_try(format('SELECT keystone.%s(%L, request_hash => %L)', f, :'req', h)) FROM (VALUES ('approve', sha256('x')), ('reject', sha256('x')), ('approve', '\x00'), ('reject', '')) v (f, h);
SELECT state, (SELECT count(*) FROM keystone.approval_votes WHERE request_id = :'req') AS votes FROM keystone.approval_requests WHERE id = :'req';
SELECT keystone.approve(:'req', request_hash => :'shown'), keystone.approve(:'req2', 'no reject', :'shown'), keystone.reject(:'req2', 'of the same call', :'shown');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.approve(:'req', request_hash => :'shown');
RESET SESSION AUTHORIZATION;
SELECT voter = :'admin' AS admin, vote, request_hash = :'shown' AS shown FROM keystone.approval_votes WHERE request_id = :'req' ORDER BY 1;
-- and a vote with another hash counts for nothing
ALTER TABLE keystone.approval_votes DISABLE TRIGGER approval_guard;
UPDATE keystone.approval_votes SET request_hash = sha256('x') WHERE request_id = :'req' AND voter = :'admin';
ALTER TABLE keystone.approval_votes ENABLE ALWAYS TRIGGER approval_guard;
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone.approval_votes DISABLE TRIGGER approval_guard;
UPDATE keystone.approval_votes SET request_hash = :'shown' WHERE request_id = :'req' AND voter = :'admin';
ALTER TABLE keystone.approval_votes ENABLE ALWAYS TRIGGER approval_guard;
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.claim_approval(:'req'), keystone.complete_approval(:'req', true);
RESET SESSION AUTHORIZATION;

-- A9: a claim is burnt, whatever becomes of the transaction: ROLLBACK, ROLLBACK TO, an exception block
CREATE FUNCTION public.app_approved() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	r uuid;
BEGIN
	SET LOCAL SESSION AUTHORIZATION regress_keystone_app_operator;
	r := keystone.request_approval('approvals', 'rotate', (SELECT jsonb_build_object('credential', id) FROM keystone.credentials WHERE name = 'pw'));
	SET LOCAL SESSION AUTHORIZATION regress_keystone_app_admin;
	PERFORM keystone.approve(r);
	SET LOCAL SESSION AUTHORIZATION regress_keystone_app_second;
	PERFORM keystone.approve(r);
	RESET SESSION AUTHORIZATION;
	RETURN r;
END $$;
SELECT app_approved() AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_operator;
BEGIN;
SELECT keystone.claim_approval(:'req');
ROLLBACK;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.complete_approval(:'req', true);
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');
SELECT app_approved() AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_operator;
BEGIN;
SAVEPOINT s;
SELECT count(keystone.rotate(:'cred', 'secret-1c', approval => :'req')) AS rotated;
ROLLBACK TO s;
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1c', :'req'));
COMMIT;
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1c', :'req'));
SELECT keystone.cancel_request(:'req');

-- Work outside: claim, act, report
RESET SESSION AUTHORIZATION;
SELECT app_approved() AS req, app_approved() AS req2 \gset
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.complete_approval(%L, true)', :'req'));
SELECT keystone.claim_approval(:'req');
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.complete_approval(:'req', true, 'done at 10:00'), keystone.complete_approval(:'req', false, 'no');
SELECT keystone.claim_approval(:'req2'), keystone.complete_approval(:'req2', false, 'the provider was down'), keystone.complete_approval(:'req2', true);
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req2'));
-- A6: not when another version is current by then
RESET SESSION AUTHORIZATION;
SELECT app_approved() AS req, app_approved() AS req2 \gset
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT count(keystone.rotate(:'cred', 'secret-1d', approval => :'req2')) AS rotated;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.cancel_request(:'req');
-- nor when the requester could not make the call any more
BEGIN;
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT count(keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "own", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["reveal"], "secret": ["own"]}, "obligations": [{"type": "require_approval"}]}]}')) AS put;
SELECT credential AS own FROM keystone.store('approvals', 'own', 'secret-4', personal => true) \gset
SELECT keystone.share_credential(:'own', :'second');
SET SESSION AUTHORIZATION regress_keystone_app_second;
SELECT keystone.request_approval('approvals', 'reveal', jsonb_build_object('credential', :'own')) AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.unshare_credential(:'own', :'second');
SET SESSION AUTHORIZATION regress_keystone_app_second;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
ROLLBACK;

-- A11: one reject ends it, also after approval
RESET SESSION AUTHORIZATION;
SELECT app_approved() AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.reject(:'req', 'on second thoughts'), keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));

-- cancelled
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SELECT keystone.cancel_request(:'req'), keystone.cancel_request(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');

-- A3: votes of whom lost the right count no longer, and do not again when it comes back
RESET SESSION AUTHORIZATION;
SELECT app_approved() AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.set_member_role('approvals', :'second', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.set_member_role('approvals', :'second', 'admin');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
-- another vote makes good for it
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.claim_approval(:'req'), keystone.complete_approval(:'req', true);
-- who came later does not vote on it
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.add_member('approvals', :'late', 'admin');
SET SESSION AUTHORIZATION regress_keystone_app_late;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
-- disabled
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.approve(:'req');
RESET SESSION AUTHORIZATION;
SELECT keystone.disable_principal(:'admin');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.cancel_request(:'req');
RESET SESSION AUTHORIZATION;
SELECT keystone.enable_principal(:'admin');

-- Distinct: one person does not fill two places
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT keystone.cancel_request(:'req');
-- A group of the document; its members see the request
SELECT keystone.request_approval('approvals', 'promote', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_grouped;
SELECT count(*) FROM keystone.approval_requests;
SELECT keystone.approve(:'req');

-- A1: an API key's request is not approved by who made the key; keys do not vote
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT api_key AS key FROM keystone.create_api_key('approvals', 'ci', 'admin') \gset
BEGIN;
SELECT keystone.authenticate(:'key') IS NOT NULL AS in;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
COMMIT;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req2 \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
BEGIN;
SELECT keystone.authenticate(:'key') IS NOT NULL AS in;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req2'));
COMMIT;
-- nor by whom the requester registered
RESET SESSION AUTHORIZATION;
SELECT keystone.grant_access('regress_keystone_app_owner', 'admin');
CREATE ROLE regress_keystone_app_made;
SELECT keystone.grant_access('regress_keystone_app_made', 'client');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.register_principal('Made', 'user', db_role => 'regress_keystone_app_made') AS made \gset
SELECT keystone.add_member('approvals', :'made', 'admin');
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_made;
SELECT app_try(format('SELECT keystone.approve(%L)', :'req'));
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.cancel_request(:'req'), keystone.remove_member('approvals', :'made');

-- A4: what was asked stays as it was asked; loosening does not help, tightening supersedes
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_owner;
\set looser '{"apiVersion": "keystone.policy/v1", "id": "two", "scope": {"level": "workspace"}, "rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["prod"]}, "obligations": [{"type": "require_approval"}]}]}'
-- (to change what wants approval wants it, too)
SELECT app_try(format('SELECT version FROM keystone.policy_put(%L, %L)', 'approvals', :'looser'));
SELECT keystone.request_approval('approvals', 'policy_put', '{"type": "policy", "name": "two"}', jsonb_build_object('document', :'looser'::jsonb)) AS put \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'put');
SET SESSION AUTHORIZATION regress_keystone_app_second;
SELECT keystone.approve(:'put');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT app_try(format('SELECT version FROM keystone.policy_put(%L, %L, approval => %L)', 'approvals', replace(:'looser', 'prod', 'prod*'), :'put'));
SELECT version FROM keystone.policy_put('approvals', :'looser', approval => :'put');
SELECT keystone.approve(:'req');
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "three", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["prod"]},
			   "obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 2}]}]}]}');
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');

-- and what has nothing to do with it leaves it open, also when policy cannot be asked for its requester as well as he
-- could himself: his session is not here
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "session", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "forbid", "match": {"actions": ["rotate"], "env": ["prod"]}, "unless": "principal has db_role"}]}');
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "unrelated", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["dev"]}, "obligations": [{"type": "require_reason"}]}]}');
SELECT keystone.policy_drop('approvals', 'unrelated');
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "less", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["prod"]}, "obligations": [{"type": "require_approval"}]}]}');
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.policy_drop('approvals', 'session');
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT version FROM keystone.policy_put('approvals', '{"apiVersion": "keystone.policy/v1", "id": "never", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "forbid", "match": {"actions": ["rotate"], "env": ["prod"]}}]}');
SELECT keystone.policy_drop('approvals', 'never');
RESET SESSION AUTHORIZATION;
SELECT app_state(:'req');

-- A13: an emergency: nobody may, unless the setting says so; what is forbidden stays so
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT app_try(format('SELECT keystone.break_glass(%L, %L, %L, reason => %L)', 'approvals', 'rotate', :'on_pw', 'fire'));
RESET SESSION AUTHORIZATION;
ALTER SYSTEM SET keystone.break_glass_roles = 'owner';
SELECT pg_reload_conf();
SELECT pg_sleep(2);
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT app_try(format('SELECT keystone.break_glass(%L, %L, %L, reason => %L)', 'approvals', 'rotate', :'on_pw', 'fire'));
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT app_try(format('SELECT keystone.break_glass(%L, %L, %L, reason => %L)', 'approvals', 'rotate', :'on_pw', ' '));
SELECT app_try(format('SELECT keystone.break_glass(%L, %L, %L, reason => %L)', 'approvals', 'rotate', :'on_pw', r)) FROM unnest(ARRAY['', E'\u3000', E'\u200b', E'\ufeff', E'\u00a0\u00ad']) r;
SELECT app_try(format('SELECT keystone.break_glass(%L, %L, %L)', 'approvals', 'rotate', :'on_pw'));
SELECT keystone.break_glass('approvals', 'rotate', :'on_pw', reason => 'the provider is on fire') AS req \gset
SELECT state, break_glass, expires_at - created_at AS time FROM keystone.approval_requests WHERE id = :'req';
SELECT kind, subject = :'req' AS of_it FROM keystone.alerts WHERE kind = 'break_glass';
SELECT count(keystone.rotate(:'cred', 'secret-1d', approval => :'req')) AS rotated;
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1e', :'req'));
-- looked at by somebody else
SELECT app_try(format('SELECT keystone.review_break_glass(%L, %L)', :'req', 'fine'));
SET SESSION AUTHORIZATION regress_keystone_app_viewer;
SELECT app_try(format('SELECT keystone.review_break_glass(%L, %L)', :'req', 'fine'));
SET SESSION AUTHORIZATION regress_keystone_app_auditor;
SELECT app_try(format('SELECT keystone.review_break_glass(%L, %L)', :'req', NULL));
SELECT app_try(format('SELECT keystone.review_break_glass(%L, %L)', :'req2', 'it is none'));
SELECT keystone.review_break_glass(:'req', 'the fire was real');
RESET SESSION AUTHORIZATION;
SELECT state, reviewed_by = :'auditor' AS reviewed, detail FROM keystone.approval_requests WHERE id = :'req';
ALTER SYSTEM RESET keystone.break_glass_roles;
SELECT pg_reload_conf();

-- A10, A16: no statement writes them, whoever runs it
UPDATE keystone.approval_requests SET state = 'approved' WHERE id = :'req';
DELETE FROM keystone.approval_requests;
DELETE FROM keystone.approval_votes;
UPDATE keystone.approval_votes SET vote = 'approve';
INSERT INTO keystone.approval_votes SELECT workspace_id, request_id, gen_random_uuid(), 'approve', NULL, request_hash, now(), row_mac FROM keystone.approval_votes LIMIT 1;
TRUNCATE keystone.approval_requests CASCADE;
-- A vote that was written behind its back does not count
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.request_approval('approvals', 'rotate', :'on_pw') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT keystone.approve(:'req');
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone.approval_votes DISABLE TRIGGER approval_guard;
INSERT INTO keystone.approval_votes SELECT workspace_id, request_id, :'owner', 'approve', NULL, request_hash, now(), row_mac FROM keystone.approval_votes WHERE request_id = :'req';
ALTER TABLE keystone.approval_votes ENABLE ALWAYS TRIGGER approval_guard;
SELECT ok, detail LIKE '%approval_votes %' AS named FROM keystone.health WHERE check_name = 'row macs';
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone.approval_requests DISABLE TRIGGER approval_guard;
UPDATE keystone.approval_requests SET state = 'approved', decided_at = now() WHERE id = :'req';
ALTER TABLE keystone.approval_requests ENABLE ALWAYS TRIGGER approval_guard;
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L)', :'req'));
SELECT app_try(format('SELECT keystone.rotate(%L, %L, approval => %L)', :'cred', 'secret-1f', :'req'));
-- (as they were)
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone.approval_requests DISABLE TRIGGER approval_guard;
ALTER TABLE keystone.approval_votes DISABLE TRIGGER approval_guard;
UPDATE keystone.approval_requests SET state = 'pending', decided_at = NULL WHERE id = :'req';
DELETE FROM keystone.approval_votes WHERE request_id = :'req' AND voter = :'owner';
ALTER TABLE keystone.approval_requests ENABLE ALWAYS TRIGGER approval_guard;
ALTER TABLE keystone.approval_votes ENABLE ALWAYS TRIGGER approval_guard;
SELECT ok FROM keystone.health WHERE check_name = 'row macs';

-- What voters read is what the verb would ask about.  Each verb's own PT428 has it ready ...
CREATE FUNCTION public.app_ask(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	word text;
	ask jsonb;
BEGIN
	EXECUTE query;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	IF sqlstate <> 'PT428' THEN
		RETURN 'not PT428: ' || sqlstate;
	END IF;
	GET STACKED DIAGNOSTICS word = PG_EXCEPTION_DETAIL;
	ask := word::jsonb -> 'request_approval';
	RETURN app_try(format('SELECT ''asked'' FROM keystone.cancel_request(keystone.request_approval(%L, %L, %L, %L))', ask ->> 'workspace', ask ->> 'action', ask ->> 'resource', ask ->> 'parameters'));
END $$;
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT keystone.create_workspace('approvals-args') AS args \gset
SELECT keystone.add_member('approvals-args', :'admin', 'admin'), keystone.add_member('approvals-args', :'viewer', 'viewer');
SELECT credential AS shared FROM keystone.store('approvals-args', 'shared', 'sk-FAKEfakeFAKEfakeFAKE0001', 'prod', provider => 'openai') \gset
SELECT credential AS mine FROM keystone.store('approvals-args', 'mine', 'secret-1', personal => true) \gset
SELECT count(*) FROM keystone.rotate(:'shared', 'sk-FAKEfakeFAKEfakeFAKE0002'), keystone.store('approvals-args', 'shared', 'sk-FAKEfakeFAKEfakeFAKE0003', 'prod', state => 'pending');
SELECT version FROM keystone.policy_put('approvals-args', '{"apiVersion": "keystone.policy/v1", "id": "all", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["*"]}, "obligations": [{"type": "require_approval"}]}]}');
SELECT call, app_ask(format('SELECT ' || replace(replace(call, '{c}', quote_literal(:'shared')), '{m}', quote_literal(:'viewer')))) AS asked FROM unnest(ARRAY[
	$$keystone.reveal('approvals-args', 'shared', 'prod')$$, $$keystone.reveal('approvals-args', 'shared', 'prod', version => 1)$$,
	$$keystone.store('approvals-args', 'new', 'secret-1', 'prod')$$, $$keystone.store('approvals-args', 'new', 'secret-1', state => 'pending')$$,
	$$keystone.store('approvals-args', 'new', 'sk-FAKEfakeFAKEfakeFAKE0001', 'prod', 'openai', 'token', expires_at => '2031-02-03 04:05:06.7+02', description => 'd', tags => '{b,a}', metadata => '{"a": [1.50, null]}')$$,
	$$keystone.store('approvals-args', 'new', 'sk-FAKEfakeFAKEfakeFAKE0001', provider => 'openai')$$, $$keystone.store('approvals-args', 'new', 'secret-1', personal => true, tags => '{}')$$,
	$$keystone.store('approvals-args', 'shared', 'sk-FAKEfakeFAKEfakeFAKE0001', 'prod', 'openai', expires_at => 'infinity')$$, $$keystone.store('approvals-args', 'shared', 'sk-FAKEfakeFAKEfakeFAKE0001', 'prod', state => 'pending')$$,
	$$keystone.store('approvals-args', 'mine', 'secret-1', personal => true)$$,
	$$keystone.rotate({c}, 'sk-FAKEfakeFAKEfakeFAKE0001')$$, $$keystone.promote({c}, 3)$$, $$keystone.rollback_to({c}, 1)$$, $$keystone.rename({c}, '{"name": "other", "provider": null}')$$,
	$$keystone.delete_credential({c})$$, $$keystone.delete_credential({c}, '1 mon 2 days 03:00')$$, $$keystone.destroy_credential({c})$$, $$keystone.destroy_version({c}, 1)$$,
	$$keystone.rotate_workspace_key('approvals-args')$$, $$keystone.shred_workspace('approvals-args', 'approvals-args')$$,
	$$keystone.set_member_role('approvals-args', {m}, 'viewer', '{rotate,audit}')$$, $$keystone.transfer_ownership('approvals-args', {m})$$,
	$$keystone.policy_put('approvals-args', '{"apiVersion": "keystone.policy/v1", "id": "more", "scope": {"level": "workspace"}, "rules": [{"id": "r", "effect": "forbid", "match": {"actions": ["rename"]}, "when": {"Value": false}}]}')$$,
	$$keystone.policy_drop('approvals-args', 'all')$$]) call;
SET SESSION AUTHORIZATION regress_keystone_app_admin;
SELECT app_ask(format('SELECT keystone.add_member(%L, %L, %L)', 'approvals-args', :'operator', 'operator')) AS "add_member",
	app_ask(format('SELECT keystone.remove_member(%L, %L)', 'approvals-args', :'viewer')) AS "remove_member";
SET SESSION AUTHORIZATION regress_keystone_app_owner;
-- ... and what it could not make is refused
SELECT a, r, p, app_try(format('SELECT keystone.cancel_request(keystone.request_approval(%L, %L, %L, %L))', 'approvals-args', a, replace(replace(r, '{c}', :'shared'), '{m}', :'mine'), p)) AS asked FROM (VALUES
	('rotate', '{"credential": "{c}"}', '{"x": 1}'),
	('rotate', '{"credential": "{c}"}', '{"state": "pending"}'),				-- that is a store
	('rotate', '{"credential": "{c}", "version": 1}', '{}'),
	('rotate', '{"name": "shared", "environment": "prod"}', '{}'),
	('rotate', '{}', '{}'),
	('rotate', '{"credential": "{c}"}', '{"personal": true}'),
	('rotate', '{"credential": "{m}"}', '{"description": "d"}'),
	('rotate', '{"credential": "{m}"}', '{"description": "d", "personal": true}'),
	('store', '{"credential": "{c}"}', '{}'),									-- that is a rotate
	('store', '{"credential": "{c}"}', '{"state": "current"}'),
	('reveal', '{"credential": "{c}"}', '{"version": 2}'),
	('store', '{"name": "new", "environment": "prod", "provider": "openai"}', '{"provider": "github"}'),
	('store', '{"name": "new", "environment": "prod", "provider": "openai"}', '{}'),
	('store', '{"name": "new", "environment": "prod"}', '{"provider": "openai"}'),
	('store', '{"name": "new", "environment": "prod"}', '{"provider": "of-nobody"}'),
	('store', '{"name": "new", "environment": "prod", "kind": "token"}', '{"kind": "api_key"}'),
	('store', '{"name": "new", "environment": "prod", "kind": "token"}', '{}'),
	('store', '{"name": "new", "environment": "prod", "personal": true}', '{}'),
	('store', '{"name": "new", "environment": "prod", "personal": false}', '{"personal": true}'),
	('store', '{"name": "new", "environment": "prod"}', '{"personal": false}'),
	('store', '{"name": "new", "environment": "prod", "tags": ["a"]}', '{"tags": ["b"]}'),
	('store', '{"name": "new", "environment": "prod", "version": 3}', '{}'),
	('store', '{"name": "new"}', '{}'),
	('store', '{"environment": "prod"}', '{}'),
	('store', '{"name": "new", "environment": "prod"}', '{"tags": "a"}'),
	('store', '{"name": "new", "environment": "prod"}', '{"metadata": []}'),
	('store', '{"name": "new", "environment": "prod"}', '{"kind": 7}'),
	('store', '{"name": "new", "environment": "prod"}', '{"expires_at": "2031-02-03"}'),
	('store', '{"name": "new", "environment": "prod"}', '{"expires_at": "tomorrow"}'),
	('rename', '{"credential": "{c}"}', '{}'),
	('rename', '{"credential": "{c}"}', '{"changes": {"id": 1}}'),
	('rename', '{"credential": "{c}"}', '{"changes": {"name": "a"}, "name": "b"}'),
	('delete_credential', '{"credential": "{c}"}', '{}'),
	('delete_credential', '{"credential": "{c}"}', '{"recovery": "30 days"}'),
	('add_member', '{"type": "member", "name": "nobody"}', '{"role": "admin", "extra_permissions": []}'),
	('add_member', '{"type": "member"}', '{"role": "admin", "extra_permissions": []}'),
	('add_member', '{"type": "member", "name": "00000000-0000-4000-8000-000000000001"}', '{"role": "admin"}'),
	('add_member', '{"type": "member", "name": "00000000-0000-4000-8000-000000000001"}', '{"role": "king", "extra_permissions": []}'),
	('add_member', '{"type": "member", "name": "00000000-0000-4000-8000-000000000001"}', '{"role": "viewer", "extra_permissions": ["rotate", "fly"]}'),
	('add_member', '{"type": "member", "name": "00000000-0000-4000-8000-000000000001"}', '{"role": "viewer", "extra_permissions": ["audit", "rotate"]}'),
	('remove_member', '{"type": "member", "name": "00000000-0000-4000-8000-000000000001"}', '{"role": "viewer"}'),
	('rotate_workspace_key', '{"type": "key", "name": "x"}', '{}'),
	('policy_drop', '{"type": "policy"}', '{}'),
	('policy_put', '{"type": "policy", "name": "all"}', '{}'),
	('policy_put', '{"type": "policy", "name": "all"}', '{"document": {"apiVersion": "keystone.policy/v1", "id": "other", "scope": {"level": "workspace"}, "rules": []}}'),
	('policy_put', '{"type": "policy", "name": "all"}', '{"document": {"id": "all"}}'),
	-- no secrets, however deep; a document's literals are none
	('store', '{"name": "new", "environment": "prod"}', '{"metadata": {"login": {"Password": "s"}}}'),
	('store', '{"name": "new", "environment": "prod"}', '{"metadata": {"list": [[{"token": "s"}]]}}'),
	('rename', '{"credential": "{c}"}', '{"changes": {"secret": "s"}}'),
	('rotate', '{"credential": "{c}"}', '{"document": {"value": "s"}}'),
	('policy_put', '{"type": "policy", "name": "all"}', '{"document": {}, "more": {"value": "s"}}')) v (a, r, p);
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT app_try(format('SELECT keystone.claim_approval(%L, %L)', :'req2', '{"a": {"value": "s"}}'));

-- So many open requests: of one, and of a workspace.
SET SESSION AUTHORIZATION regress_keystone_app_owner;
\set many :shared
SELECT count(keystone.request_approval('approvals-args', 'rotate', jsonb_build_object('credential', :'many'))) FROM generate_series(1, 100);
SELECT app_try(format('SELECT keystone.request_approval(%L, %L, %L)', 'approvals-args', 'rotate', jsonb_build_object('credential', :'many')));
\set VERBOSITY default
SELECT keystone.request_approval('approvals-args', 'rotate', jsonb_build_object('credential', :'many'));
\set VERBOSITY sqlstate
SELECT keystone.cancel_request(id) FROM keystone.approval_requests WHERE workspace_id = :'args' AND state = 'pending' LIMIT 1;
SELECT app_try(format('SELECT %L FROM keystone.request_approval(%L, %L, %L)', 'asked', 'approvals-args', 'rotate', jsonb_build_object('credential', :'many')));
SELECT app_try(format('SELECT keystone.request_approval(%L, %L, %L)', 'approvals-args', 'rotate', jsonb_build_object('credential', :'many')));
-- what is over is not open
RESET SESSION AUTHORIZATION;
ALTER TABLE keystone.approval_requests DISABLE TRIGGER approval_guard;
CREATE TABLE public.app_kept AS SELECT id, expires_at, created_at FROM keystone.approval_requests WHERE workspace_id = :'args' AND state = 'pending' LIMIT 1;
UPDATE keystone.approval_requests SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE id IN (SELECT id FROM public.app_kept);
SET SESSION AUTHORIZATION regress_keystone_app_owner;
SELECT app_try(format('SELECT %L FROM keystone.request_approval(%L, %L, %L)', 'asked', 'approvals-args', 'rotate', jsonb_build_object('credential', :'many')));
-- a workspace's
RESET SESSION AUTHORIZATION;
INSERT INTO keystone.approval_requests (workspace_id, id, requester, action, resource, parameters, request_hash, need, state, created_at, expires_at, row_mac)
	SELECT :'args', gen_random_uuid(), :'second', 'rotate', '{}', '{}', '\x00', '{}', 'pending', now(), now() + interval '1 day', '\x00' FROM generate_series(1, 900);
SET SESSION AUTHORIZATION regress_keystone_app_admin;
\set VERBOSITY default
SELECT keystone.request_approval('approvals-args', 'rotate', jsonb_build_object('credential', :'many'));
\set VERBOSITY sqlstate
SELECT app_try(format('SELECT keystone.request_approval(%L, %L, %L)', 'approvals', 'rotate', :'on_pw')) ~ '^[-0-9a-f]{36}$' AS "another workspace";
RESET SESSION AUTHORIZATION;
DELETE FROM keystone.approval_requests WHERE workspace_id = :'args' AND row_mac = '\x00';
UPDATE keystone.approval_requests q SET created_at = k.created_at, expires_at = k.expires_at FROM public.app_kept k WHERE k.id = q.id;
ALTER TABLE keystone.approval_requests ENABLE ALWAYS TRIGGER approval_guard;
DROP TABLE public.app_kept;

-- Previews
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.record_preview(:'cred', '{"deploys": 3}') IS NOT NULL AS recorded;
RESET SESSION AUTHORIZATION;
DELETE FROM keystone_private.previews;
SET SESSION AUTHORIZATION regress_keystone_app_operator;
SELECT keystone.record_preview(:'cred', '[]');
SET SESSION AUTHORIZATION regress_keystone_app_viewer;
SELECT keystone.record_preview(:'cred', '{}');
SET SESSION AUTHORIZATION regress_keystone_app_stranger;
SELECT keystone.record_preview(:'cred', '{}');

-- The log has it all, once each, and no value
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, count(*) FROM keystone.audit_log WHERE action ~ '^(approval|credential.preview)' AND outcome = 'ok'
	AND workspace_id = :'ws' GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) AS leaks FROM keystone.audit_log WHERE detail::text ~ 'secret-1';
\set VERBOSITY default
DROP FUNCTION public.app_try, public.app_state, public.app_approved, public.app_ask;
