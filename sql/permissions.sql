-- I4: which function takes which permission: each function called by each role.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_permissions_' || name);
	PERFORM keystone.grant_access(('regress_keystone_permissions_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_permissions_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('auditor') AS auditor \gset
SELECT pg_temp.person('service') AS service \gset
SELECT pg_temp.person('person') AS person \gset
-- One good call of each function, parameters as SQL expressions; the loops
-- below take each parameter from the catalog and undo what they call.
CREATE TEMP TABLE calls (function text PRIMARY KEY, args jsonb NOT NULL);
INSERT INTO calls VALUES
	('has_permission', '{"workspace": "''permissions''", "permission": "''view''"}'),
	('permitted_workspaces', '{"permission": "''view''"}'),
	('create_workspace', '{"slug": "''permissions-new''"}'),
	('personal_workspace', '{}'),
	('register_principal', '{"display_name": "''Robot''", "kind": "''service''"}'),
	('add_member', '{"workspace": "''permissions''", "principal": ":person", "role": "''viewer''"}'),
	('set_member_role', '{"workspace": "''permissions''", "principal": ":viewer", "role": "''service''"}'),
	('remove_member', '{"workspace": "''permissions''", "principal": ":viewer"}'),
	('transfer_ownership', '{"workspace": "''permissions''", "principal": ":viewer"}'),
	('provider_configure', '{"workspace": "''permissions''", "provider": "''openai''"}'),
	('store', '{"workspace": "''permissions''", "name": "''token''", "value": "''other''"}'),
	('reveal', '{"workspace": "''permissions''", "name": "''token''"}'),
	('reveal_by_id', '{"credential": ":c"}'),
	('reveal_many', '{"credentials": "ARRAY[:c]"}'),
	('reveal_env', '{"workspace": "''permissions''"}'),
	('export_env', '{"workspace": "''permissions''"}'),
	('import_env', '{"workspace": "''permissions''", "content": "''A=b''"}'),
	('resolve', '{"workspace": "''permissions''", "provider": "''stripe''"}'),
	('credential_id', '{"workspace": "''permissions''", "name": "''token''"}'),
	('rotate', '{"credential": ":c", "value": "''other''"}'),
	('promote', '{"credential": ":c", "version": "3"}'),
	('rollback_to', '{"credential": ":c", "version": "1"}'),
	('rename', '{"credential": ":c", "changes": "''{\"name\": \"other\"}''"}'),
	('update_metadata', '{"credential": ":c", "changes": "''{\"description\": \"other\"}''"}'),
	('set_active', '{"credential": ":c", "active": "false"}'),
	('delete_credential', '{"credential": ":c"}'),
	('restore_credential', '{"credential": ":deleted"}'),
	('destroy_credential', '{"credential": ":c"}'),
	('destroy_version', '{"credential": ":c", "version": "1"}'),
	('mark_verified', '{"credential": ":c", "ok": "true"}'),
	('verify_all', '{"workspace": "''permissions''"}');
SET SESSION AUTHORIZATION regress_keystone_permissions_owner;
SELECT keystone.create_workspace('permissions') AS ws \gset
SELECT keystone.add_member('permissions', :'viewer', 'viewer');
SELECT credential AS c FROM keystone.store('permissions', 'token', 'v1') \gset
SELECT array_agg(version) FROM (SELECT (keystone.store('permissions', 'token', 'v' || n, state => CASE n WHEN 3 THEN 'pending' ELSE 'current' END)).version FROM generate_series(2, 3) n) v;
SELECT credential AS deleted FROM keystone.store('permissions', 'deleted', 'd') \gset
SELECT keystone.delete_credential(:'deleted');
SELECT action FROM keystone.store('permissions', 'stripe', 'sk_live_0123456789abcdef', provider => 'stripe');
RESET SESSION AUTHORIZATION;
UPDATE calls SET args = replace(replace(replace(replace(replace(args::text, ':person', quote_literal(:'person')), ':viewer', quote_literal(:'viewer')),
	':c"', quote_literal(:'c') || '"'), ':c]', quote_literal(:'c') || '::uuid]'), ':deleted', quote_literal(:'deleted'))::jsonb;
-- The outcome of a call with one argument replaced: ok, or what was raised.  Always undone.
CREATE FUNCTION pg_temp.call(f text, args jsonb, parameter text DEFAULT NULL, expression text DEFAULT NULL,
	OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	IF parameter IS NOT NULL THEN
		args := args || jsonb_build_object(parameter, expression);
	END IF;
	EXECUTE format('SELECT count(*) FROM keystone.%I(%s) x', f,
		(SELECT string_agg(format('%I => %s', key, value), ', ') FROM jsonb_each_text(args)));
	RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	IF state = 'UNDO0' THEN
		state := 'ok';
		message := NULL;
	END IF;
END $$;
CREATE ROLE regress_keystone_permissions_anonymous;
CREATE ROLE regress_keystone_permissions_dba;
CREATE ROLE regress_keystone_permissions_monitor;
SELECT keystone.grant_access('regress_keystone_permissions_anonymous', 'client');
SELECT keystone.grant_access('regress_keystone_permissions_dba', 'admin');
SELECT keystone.grant_access('regress_keystone_permissions_monitor', 'monitor');
SET SESSION AUTHORIZATION regress_keystone_permissions_owner;
SELECT count(keystone.add_member('permissions', p, r)) FROM (VALUES (:'admin'::uuid, 'admin'), (:'operator', 'operator'), (:'auditor', 'auditor'), (:'service', 'service')) m (p, r);
RESET SESSION AUTHORIZATION;
-- the roles of a workspace, somebody who is no member (person), who has no principal, who has other profiles
CREATE TEMP TABLE outcome (who text, function text, state text);
GRANT SELECT ON calls TO PUBLIC;
GRANT INSERT ON outcome TO PUBLIC;
SELECT format('SET SESSION AUTHORIZATION regress_keystone_permissions_%s', who),
	   format('INSERT INTO outcome SELECT %L, c.function, r.state FROM calls c, pg_temp.call(c.function, c.args) r', who), 'RESET SESSION AUTHORIZATION'
FROM unnest('{owner,admin,operator,viewer,auditor,service,person,anonymous,dba,monitor}'::text[]) who \gexec
SELECT function, max(state) FILTER (WHERE who = 'owner') AS owner, max(state) FILTER (WHERE who = 'admin') AS admin, max(state) FILTER (WHERE who = 'operator') AS operator,
	   max(state) FILTER (WHERE who = 'viewer') AS viewer, max(state) FILTER (WHERE who = 'auditor') AS auditor, max(state) FILTER (WHERE who = 'service') AS service,
	   max(state) FILTER (WHERE who = 'person') AS person, max(state) FILTER (WHERE who = 'anonymous') AS anonymous, max(state) FILTER (WHERE who = 'dba') AS dba,
	   max(state) FILTER (WHERE who = 'monitor') AS monitor
FROM outcome GROUP BY function ORDER BY function;
DROP TABLE calls, outcome;
SELECT keystone.revoke_access('regress_keystone_permissions_anonymous', 'client');
SELECT keystone.revoke_access('regress_keystone_permissions_dba', 'admin');
SELECT keystone.revoke_access('regress_keystone_permissions_monitor', 'monitor');
DROP ROLE regress_keystone_permissions_anonymous, regress_keystone_permissions_dba, regress_keystone_permissions_monitor;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_permissions_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,admin,operator,auditor,service,person}'::text[]) r;
DROP ROLE regress_keystone_permissions_owner, regress_keystone_permissions_viewer, regress_keystone_permissions_admin, regress_keystone_permissions_operator, regress_keystone_permissions_auditor, regress_keystone_permissions_service, regress_keystone_permissions_person;
