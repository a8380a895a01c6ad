-- What a rollback does not take back, a use of a value or of an approval, does
-- not rest on what it does: not on votes or limits that nobody can find
-- afterwards.  Where it rests on something else, the entry says so.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_unc_' || name);
	PERFORM keystone.grant_access(('regress_keystone_unc_' || name)::name, 'worker');
	RETURN keystone.register_principal('Unc ' || name, db_role => ('regress_keystone_unc_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('ann') AS ann, pg_temp.person('ben') AS ben, pg_temp.person('dba') AS dba \gset
SELECT keystone.grant_access('regress_keystone_unc_dba', 'admin');
-- an answer, or the refusal
CREATE FUNCTION public.unc_try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN '42501' THEN SQLERRM ELSE SQLSTATE END;
END $$;
SET SESSION AUTHORIZATION regress_keystone_unc_dba;
SELECT keystone.provider_define('regress-unc', 'shared_key', limits => '1/day');
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
SELECT count(keystone.create_workspace('unc'));
SELECT keystone.add_member('unc', :'ann', 'admin'), keystone.add_member('unc', :'ben', 'admin');
SELECT (SELECT credential FROM keystone.store('unc', 'live', 'live value', 'prod')) AS live, (SELECT credential FROM keystone.store('unc', 'test', 'test value', 'dev')) AS test,
	   (SELECT credential FROM keystone.store('unc', 'bound', 'bound value', 'dev', provider => 'regress-unc')) AS bound \gset
\set on_live '{"credential": "' :live '"}'
SELECT version FROM keystone.policy_put('unc', '{"apiVersion": "keystone.policy/v1", "id": "two", "scope": {"level": "workspace"},
	"rules": [{"id": "r", "effect": "oblige", "match": {"actions": ["reveal"], "env": ["prod"]}, "obligations": [{"type": "require_approval", "factors": [{"role": "admin", "count": 1}]}]}]}');

-- I2, A8: a vote that could be rolled back is none yet
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT keystone.request_approval('unc', 'reveal', :'on_live') AS req \gset
BEGIN;
SET SESSION AUTHORIZATION regress_keystone_unc_ben;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT unc_try(format('SELECT keystone.reveal(''unc'', ''live'', ''prod'', approval => %L)', :'req')) AS reveal, unc_try(format('SELECT keystone.claim_approval(%L)', :'req')) AS claim;
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT state FROM keystone.approval_requests WHERE id = :'req';
SET SESSION AUTHORIZATION regress_keystone_unc_ben;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT unc_try(format('SELECT keystone.reveal(''unc'', ''live'', ''prod'', approval => %L)', :'req')) AS committed;

RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ? 'uncommitted' AS uncommitted FROM keystone.audit_log WHERE workspace = 'unc' AND detail ->> 'approval' = :'req' ORDER BY seq;

-- I2, A13: nor is an emergency that nobody is to review
RESET SESSION AUTHORIZATION;
ALTER SYSTEM SET keystone.break_glass_roles = 'owner';
SELECT pg_reload_conf();
SELECT pg_sleep(2);
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
BEGIN;
SELECT keystone.break_glass('unc', 'reveal', :'on_live', reason => 'fire') AS fire \gset
SELECT unc_try(format('SELECT keystone.reveal(''unc'', ''live'', ''prod'', approval => %L)', :'fire')) AS emergency;
ROLLBACK;
SELECT keystone.break_glass('unc', 'reveal', :'on_live', reason => 'fire') AS fire \gset
SELECT unc_try(format('SELECT keystone.reveal(''unc'', ''live'', ''prod'', approval => %L)', :'fire')) AS emergency;
RESET SESSION AUTHORIZATION;
ALTER SYSTEM RESET keystone.break_glass_roles;
SELECT pg_reload_conf();

-- I2: work elsewhere is not begun under a policy that could come back
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT keystone.request_approval('unc', 'reveal', :'on_live') AS req \gset
SET SESSION AUTHORIZATION regress_keystone_unc_ben;
SELECT keystone.approve(:'req');
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
SELECT version FROM keystone.policy_put('unc', '{"apiVersion": "keystone.policy/v1", "id": "shut", "scope": {"level": "workspace"}, "rules": [{"id": "r", "effect": "forbid", "match": {"actions": ["reveal"], "env": ["none"]}}]}');
BEGIN;
SELECT keystone.policy_drop('unc', 'shut');
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT unc_try(format('SELECT keystone.claim_approval(%L)', :'req')) AS loosened;
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_unc_ann;
SELECT unc_try(format('SELECT keystone.claim_approval(%L)', :'req')) AS claimed;

SET SESSION AUTHORIZATION regress_keystone_unc_owner;
-- I2, I8: nor with other limits of its provider
SELECT unc_try('SELECT keystone.reveal(''unc'', ''bound'', ''dev'')') AS once, unc_try('SELECT keystone.reveal(''unc'', ''bound'', ''dev'')') AS twice;
BEGIN;
SET SESSION AUTHORIZATION regress_keystone_unc_dba;
SELECT keystone.provider_define('regress-unc', 'shared_key', limits => NULL);
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
SELECT unc_try('SELECT keystone.reveal(''unc'', ''bound'', ''dev'')') AS unbound;
ROLLBACK;
BEGIN;
SET SESSION AUTHORIZATION regress_keystone_unc_dba;
SELECT keystone.provider_define('regress-unc', 'shared_key', label => 'The same', limits => '1/day');
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
SELECT unc_try('SELECT keystone.reveal(''unc'', ''bound'', ''dev'')') AS "another label";
ROLLBACK;

-- I2: what else it rests on stands in its entry
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT coalesce(max(seq), 0) AS before FROM keystone.audit_log \gset
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
SELECT keystone.set_active(:'test', false);
BEGIN;
SELECT keystone.set_active(:'test', true);
SELECT keystone.reveal('unc', 'test', 'dev');
ROLLBACK;
SELECT keystone.set_active(:'test', true);
BEGIN;
SELECT keystone.rename(:'live', '{"environment": "dev"}');
SELECT value FROM keystone.reveal_many(ARRAY[:'live']::uuid[]);
ROLLBACK;
SELECT keystone.encrypt('unc', 'plain') AS sealed \gset
BEGIN;
SELECT api_key AS key FROM keystone.create_api_key('unc', 'short', 'service') \gset
SELECT count(keystone.authenticate(:'key'));
SELECT keystone.reveal('unc', 'test', 'dev'), convert_from(keystone.decrypt('unc', :'sealed'), 'UTF8');
ROLLBACK;
RESET SESSION AUTHORIZATION;
CREATE TABLE public.unc_rows (n int);
SELECT keystone.audit_table('public.unc_rows');
GRANT INSERT ON public.unc_rows TO regress_keystone_unc_owner;
SET SESSION AUTHORIZATION regress_keystone_unc_owner;
BEGIN;
INSERT INTO public.unc_rows VALUES (1);
SELECT keystone.reveal('unc', 'test', 'dev');
COMMIT;
SELECT keystone.reveal('unc', 'test', 'dev');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'uncommitted' AS uncommitted FROM keystone.audit_log
WHERE seq > :before AND action IN ('credential.reveal', 'decrypt') AND NOT detail ? 'decrypted' ORDER BY seq;
SELECT ok FROM keystone.audit_verify();

SELECT keystone.audit_untable('public.unc_rows');
DROP TABLE public.unc_rows;
DROP FUNCTION public.unc_try(text);
SELECT count(keystone.revoke_access(('regress_keystone_unc_' || n)::name, p)) FROM (VALUES ('owner', 'worker'), ('ann', 'worker'), ('ben', 'worker'), ('dba', 'worker'), ('dba', 'admin')) v (n, p);
DROP ROLE regress_keystone_unc_owner, regress_keystone_unc_ann, regress_keystone_unc_ben, regress_keystone_unc_dba;
