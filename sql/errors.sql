-- I12: bad input gets a clear error with a documented SQLSTATE, and nothing
-- changed; I9: NULL is an error, never a silent pass.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_errors_' || name);
	PERFORM keystone.grant_access(('regress_keystone_errors_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_errors_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('person') AS person \gset
-- One good call of each function, parameters as SQL expressions; the loops
-- below take each parameter from the catalog and undo what they call.
CREATE TEMP TABLE calls (function text PRIMARY KEY, args jsonb NOT NULL);
INSERT INTO calls VALUES
	('has_permission', '{"workspace": "''errors''", "permission": "''view''"}'),
	('permitted_workspaces', '{"permission": "''view''"}'),
	('create_workspace', '{"slug": "''errors-new''"}'),
	('personal_workspace', '{}'),
	('register_principal', '{"display_name": "''Robot''", "kind": "''service''"}'),
	('add_member', '{"workspace": "''errors''", "principal": ":person", "role": "''viewer''"}'),
	('set_member_role', '{"workspace": "''errors''", "principal": ":viewer", "role": "''service''"}'),
	('remove_member', '{"workspace": "''errors''", "principal": ":viewer"}'),
	('transfer_ownership', '{"workspace": "''errors''", "principal": ":viewer"}'),
	('provider_configure', '{"workspace": "''errors''", "provider": "''openai''"}'),
	('store', '{"workspace": "''errors''", "name": "''token''", "value": "''other''"}'),
	('reveal', '{"workspace": "''errors''", "name": "''token''"}'),
	('reveal_by_id', '{"credential": ":c"}'),
	('reveal_many', '{"credentials": "ARRAY[:c]"}'),
	('reveal_env', '{"workspace": "''errors''"}'),
	('export_env', '{"workspace": "''errors''"}'),
	('import_env', '{"workspace": "''errors''", "content": "''A=b''"}'),
	('resolve', '{"workspace": "''errors''", "provider": "''stripe''"}'),
	('credential_id', '{"workspace": "''errors''", "name": "''token''"}'),
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
	('verify_all', '{"workspace": "''errors''"}');
SET SESSION AUTHORIZATION regress_keystone_errors_owner;
SELECT keystone.create_workspace('errors') AS ws \gset
SELECT keystone.add_member('errors', :'viewer', 'viewer');
SELECT credential AS c FROM keystone.store('errors', 'token', 'v1') \gset
SELECT array_agg(version) FROM (SELECT (keystone.store('errors', 'token', 'v' || n, state => CASE n WHEN 3 THEN 'pending' ELSE 'current' END)).version FROM generate_series(2, 3) n) v;
SELECT credential AS deleted FROM keystone.store('errors', 'deleted', 'd') \gset
SELECT keystone.delete_credential(:'deleted');
SELECT action FROM keystone.store('errors', 'stripe', 'sk_live_0123456789abcdef', provider => 'stripe');
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
-- A view in a temporary schema: the functions' parameters, as the catalog has them
CREATE TEMP VIEW parameters AS
	SELECT c.function, c.args, n.name, n.ordinality AS position, format_type(t.type, NULL) AS type
	FROM calls c JOIN pg_proc p ON p.proname = c.function AND p.pronamespace = 'keystone'::regnamespace,
	unnest(p.proargnames) WITH ORDINALITY n (name, ordinality) JOIN unnest(p.proargtypes) WITH ORDINALITY t (type, ordinality) USING (ordinality);
GRANT SELECT ON calls, parameters TO PUBLIC;
SET SESSION AUTHORIZATION regress_keystone_errors_owner;
-- every call is good as it stands
SELECT c.function, r.* FROM calls c, pg_temp.call(c.function, c.args) r WHERE r.state <> 'ok' ORDER BY 1;
-- NULL for each parameter: an error for what needs a value, the rest may be left out
SELECT function, string_agg(name, ' ' ORDER BY position) FILTER (WHERE r.state = '22004') AS "22004",
	   string_agg(name, ' ' ORDER BY position) FILTER (WHERE r.state = 'ok') AS ok,
	   string_agg(name || ' ' || r.state, ' ' ORDER BY position) FILTER (WHERE r.state NOT IN ('ok', '22004')) AS others
FROM parameters, pg_temp.call(function, args, name, 'NULL') r GROUP BY function ORDER BY function;
-- ... which names the parameter
SELECT function, name, r.message FROM parameters, pg_temp.call(function, args, name, 'NULL') r
WHERE r.state = '22004' AND r.message <> format('parameter "%s" must not be null', name) ORDER BY 1, 2;
-- approval that is nobody's; reason of at most 1 kB; context: an object of at most 4 kB
SELECT v.what, r.state, string_agg(function, ' ' ORDER BY function) AS functions
FROM (VALUES (1, 'approval', 'given', quote_literal(:'c')), (2, 'reason', '1024 bytes', 'repeat(''x'', 1024)'), (3, 'reason', '1025 bytes', 'repeat(''x'', 1025)'),
	(4, 'reason', '513 letters of 2 bytes', 'repeat(U&''\00E9'', 513)'), (5, 'context', 'array', '''[]'''), (6, 'context', 'string', '''"x"'''), (7, 'context', 'null', '''null'''),
	(8, 'context', '4000 bytes', 'jsonb_build_object(''run'', repeat(''x'', 4000))'), (9, 'context', '4100 bytes', 'jsonb_build_object(''run'', repeat(''x'', 4100))')) v (n, name, what, expression)
JOIN parameters p ON p.name = v.name, pg_temp.call(p.function, p.args, p.name, v.expression) r
GROUP BY v.n, v.what, r.state ORDER BY v.n, r.state;
-- The workspace: what is neither slug nor uuid is 22023, what is not there PT404
SELECT v.workspace, r.state, r.message, r.detail, r.hint, count(*) AS functions
FROM (VALUES (''), ('My Secret Value'), ('sk-live_0123456789'), (repeat('x', 64)), ('my-secret-value'), ('00000000-0000-4000-8000-000000000000'), ('ERRORS')) v (workspace)
JOIN parameters p ON p.name = 'workspace' AND p.function <> 'has_permission', pg_temp.call(p.function, p.args, p.name, quote_literal(v.workspace)) r
GROUP BY 1, 2, 3, 4, 5 ORDER BY v.workspace COLLATE "C", 2;
-- ... and no error echoes it, nor any other argument (I1): a secret may stand in the wrong place
SELECT p.function, p.name, v.canary, r.* FROM parameters p, (VALUES ('Canary 4711!'), ('canary-4711'), (E'canary-4711\n'), ('canary-4711' || repeat('x', 70000))) v (canary),
pg_temp.call(p.function, p.args, p.name, quote_literal(v.canary)) r
WHERE p.type IN ('text', 'name') AND strpos(lower(concat(r.message, r.detail, r.hint)), 'canary') > 0 ORDER BY 1, 2;
SELECT r.state, string_agg(DISTINCT p.name, ' ') AS parameters FROM parameters p, pg_temp.call(p.function, p.args, p.name, quote_literal('Canary 4711! ')) r
WHERE p.type = 'text' GROUP BY 1 ORDER BY 1;
-- The messages of PT errors are constants (they become HTTP reason phrases), details are one line
SELECT DISTINCT r.state, r.message, r.detail, r.hint FROM (VALUES
	(1, 'store', '{"workspace": "''missing''", "name": "''x''", "value": "''y''"}'::jsonb), (2, 'store', '{"workspace": "''errors''", "name": "''token''", "value": "''y''", "expected_version": "7"}'),
	(3, 'reveal', '{"workspace": "''errors''", "name": "''a\u0007b''"}'), (4, 'reveal', '{"workspace": "''errors''", "name": "''missing''"}'),
	(5, 'reveal', '{"workspace": "''errors''", "name": "''token''", "field": "''x''"}')) v (n, function, args), pg_temp.call(v.function, v.args) r ORDER BY 1, 2, 3;
-- What is taken: 23505, and which of the names it is
SELECT v.function, r.state, r.message, r.detail, r.hint FROM (VALUES
	(1, 'create_workspace', '{"slug": "''errors''"}'::jsonb),
	(2, 'add_member', '{"workspace": "''errors''", "principal": ":viewer", "role": "''viewer''"}'),
	(3, 'rename', '{"credential": ":c", "changes": "''{\"name\": \"Stripe\"}''"}')) v (n, function, args),
	pg_temp.call(v.function, replace(replace(v.args::text, ':viewer', quote_literal(:'viewer')), ':c', quote_literal(:'c'))::jsonb) r ORDER BY v.n;
-- None of all this changed anything.
SELECT name, current_version, description, is_active, deleted_at IS NOT NULL AS deleted FROM keystone.credentials WHERE workspace = 'errors' ORDER BY name;
SELECT count(*) AS members, count(*) FILTER (WHERE role = 'owner') AS owners FROM keystone.members;
SELECT count(*) AS workspaces FROM keystone.workspaces;
RESET SESSION AUTHORIZATION;
DROP VIEW parameters;
DROP TABLE calls;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_errors_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,person}'::text[]) r;
DROP ROLE regress_keystone_errors_owner, regress_keystone_errors_viewer, regress_keystone_errors_person;
