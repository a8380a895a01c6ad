-- I4: one session, several identities: what was prepared, planned, opened or
-- made by one is run by another as that other.  And objects that stand between
-- a caller and the vault: views, functions, rules, foreign keys of others.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\o /dev/null
CREATE SCHEMA ks_app;
GRANT ALL ON SCHEMA ks_app TO PUBLIC;

-- Made by the owner of acme, an administrator of the database, and a superuser.
SET LOCAL SESSION AUTHORIZATION ks_owner;
CREATE VIEW ks_app.owners AS SELECT workspace, name, hint FROM keystone.credentials;
CREATE VIEW ks_app.owners_invoker WITH (security_invoker) AS SELECT workspace, name, hint FROM keystone.credentials;
CREATE VIEW ks_app.owners_barrier WITH (security_barrier) AS SELECT workspace, name, hint FROM keystone.credentials;
CREATE VIEW ks_app.owners_value AS SELECT keystone.reveal('acme', 'acme-shared') AS value;
CREATE FUNCTION ks_app.inlined() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT workspace || ''/'' || name FROM keystone.credentials';
CREATE FUNCTION ks_app.planned() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(workspace || '/' || name, ' ' ORDER BY name) INTO result FROM keystone.credentials;
	RETURN coalesce(result, 'none');
END
$$;
CREATE FUNCTION ks_app.static() RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC SELECT string_agg(workspace || '/' || name, ' ' ORDER BY name) FROM keystone.credentials; END;
CREATE FUNCTION ks_app.constant() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT keystone.current_principal()::text';
CREATE FUNCTION ks_app.unsafe(text) RETURNS text LANGUAGE sql PARALLEL SAFE AS 'SELECT keystone.current_principal()::text || $1';
CREATE TABLE ks_app.rules (x text);
CREATE TABLE ks_app.ruled (x text);
CREATE RULE instead AS ON INSERT TO ks_app.rules DO ALSO INSERT INTO ks_app.ruled SELECT keystone.reveal('acme', 'acme-shared') WHERE new.x = 'ask';
CREATE TABLE ks_app.policed (x text);
ALTER TABLE ks_app.policed ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON ks_app.policed USING (x = keystone.current_principal()::text OR x = keystone.reveal('acme', 'acme-shared'));
CREATE TABLE ks_app.defaults (x text DEFAULT keystone.current_principal()::text, y text GENERATED ALWAYS AS ('x') STORED);
GRANT ALL ON ALL TABLES IN SCHEMA ks_app TO PUBLIC;
RESET SESSION AUTHORIZATION;
SET LOCAL SESSION AUTHORIZATION ks_dba;
CREATE VIEW ks_app.dbas AS SELECT slug FROM keystone.workspaces;
GRANT SELECT ON ks_app.dbas TO PUBLIC;
RESET SESSION AUTHORIZATION;
CREATE VIEW ks_app.roots AS SELECT workspace, name FROM keystone.credentials;
CREATE VIEW ks_app.roots_log AS SELECT seq FROM keystone.audit_log;
GRANT SELECT ON ks_app.roots, ks_app.roots_log TO PUBLIC;

-- The credentials that each caller sees, and the ways to ask for them.
CREATE FUNCTION pg_temp.list(relation text) RETURNS text LANGUAGE sql AS
	$$SELECT format('SELECT coalesce(string_agg(workspace || ''/'' || name, '' '' ORDER BY name), ''none'') FROM %s', relation)$$;
CREATE TEMP TABLE who AS SELECT * FROM unnest(ARRAY['ks_owner', 'ks_operator', 'ks_viewer', 'ks_stranger', 'ks_auditor', 'ks_anonymous', 'key_admin', 'key_limited', 'key_stranger', 'key_auditor']) WITH ORDINALITY w (who, place);
CREATE TEMP TABLE sees AS SELECT who, place, pg_temp.value_as(who, pg_temp.list('keystone.credentials')) AS list FROM who;
CREATE FUNCTION pg_temp.differ(query text) RETURNS text LANGUAGE sql AS $$
	-- twice: the second time by plans of others
	SELECT string_agg(format('%s: %s', s.who, v.list), '; ') FROM (SELECT * FROM sees, generate_series(1, 6) ORDER BY generate_series, place) s
	CROSS JOIN LATERAL (SELECT pg_temp.value_as(s.who, query) AS list OFFSET 0) v WHERE v.list <> s.list
$$;
\o

SELECT plan(40);
SELECT is((SELECT count(DISTINCT list) FROM sees), 6::bigint, 'callers see different things');
SELECT is((SELECT list FROM sees WHERE who = 'key_limited'), 'acme/prod-cohere', 'such as this one');

SELECT is(pg_temp.differ(pg_temp.list('keystone.credentials')), NULL, 'I4 a cached plan gives each caller its own rows');
PREPARE list AS SELECT coalesce(string_agg(workspace || '/' || name, ' ' ORDER BY name), 'none') FROM keystone.credentials;
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT is(pg_temp.differ('EXECUTE list'), NULL, 'I4 a prepared statement as well');
SELECT is(pg_temp.differ(pg_temp.list('keystone.credentials')), NULL, 'I4 and generic plans');
RESET plan_cache_mode;
SELECT is(pg_temp.differ('SELECT ks_app.planned()'), NULL, 'I4 in a function of somebody else');
SELECT is(pg_temp.differ('SELECT coalesce(ks_app.static(), ''none'')'), NULL, 'I4 in one whose body was parsed when it was made');
SELECT is(pg_temp.differ('SELECT coalesce(string_agg(x, '' '' ORDER BY split_part(x, ''/'', 2)), ''none'') FROM ks_app.inlined() x'), NULL, 'I4 in one that is inlined');
SELECT is(pg_temp.differ(pg_temp.list('ks_app.owners_invoker')), NULL, 'I4 through a view with the invoker''s rights');

-- A view of somebody: the owner's privileges, the session's identity.
SELECT is(pg_temp.differ(pg_temp.list('ks_app.owners')), NULL, 'I4 a view of somebody else has the caller''s identity');
SELECT is(pg_temp.differ(pg_temp.list('ks_app.owners_barrier')), NULL, 'I4 one with a barrier too');
SELECT is(pg_temp.value_as('ks_stranger', 'SELECT value FROM ks_app.owners_value'), 'PT404', 'I4 reveals as the caller');
SELECT is(pg_temp.value_as('ks_viewer', 'SELECT count(*) FROM ks_app.owners WHERE hint IS NOT NULL AND name = ''operators-own'''), '0', 'I4 I1 shows no hint of another''s');
SELECT is(pg_temp.value_as('ks_viewer', 'SELECT count(*) FROM ks_app.dbas'), '1', 'I4 an administrator''s view lends no profile');
SELECT is(pg_temp.value_as('ks_dba', 'SELECT count(*) FROM ks_app.dbas'), '2', 'which the administrator has');
SELECT is(pg_temp.differ(pg_temp.list('ks_app.roots')), NULL, 'I4 a superuser''s view has the caller''s identity and rights');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT string_agg(keystone.reveal(workspace, name), ',') FROM ks_app.roots WHERE name = 'acme-shared'$$), '42501', 'I4 and lends no value');

-- Functions that claim what they are not.
SELECT is((SELECT string_agg(w, ', ') FROM who, unnest(ARRAY[who]) w WHERE pg_temp.value_as(who, 'SELECT ks_app.constant()') IS DISTINCT FROM pg_temp.value_as(who, 'SELECT keystone.current_principal()::text')), NULL, 'I4 an immutable function is asked for each caller');
PREPARE constant AS SELECT ks_app.constant();
SELECT is(pg_temp.value_as('ks_owner', 'EXECUTE constant'), pg_temp.principal('ks_owner')::text, 'the plan of one caller');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT keystone.reveal('acme', 'operators-own', owner => ks_app.constant()::uuid)$$), 'PT404', 'I4 gives no value to another');

-- Cursors: the rows of the one who opened it are in its plan, values are not.
\o /dev/null
CREATE FUNCTION pg_temp.cursor_of(one text, other text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	row text;
	result text := '';
BEGIN
	BEGIN
		PERFORM pg_temp.become(one);
		OPEN c NO SCROLL FOR EXECUTE query;
		FETCH c INTO row;
		result := result || coalesce(row, '');
		PERFORM set_config('session_authorization', other, true);
		FETCH c INTO row;
		result := result || ' then ' || coalesce(row, '');
		RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = result;
	EXCEPTION
		WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
		WHEN OTHERS THEN RETURN result || ' then ' || SQLSTATE;
	END;
END
$$;
\o
SELECT is(pg_temp.cursor_of('ks_owner', 'ks_owner', $$SELECT keystone.reveal('acme', 'acme-shared') FROM generate_series(1, 3)$$),
	'value of acme-shared, which is long then value of acme-shared, which is long', 'a cursor gives its owner a value a row');
SELECT is(pg_temp.cursor_of('ks_owner', 'ks_stranger', $$SELECT keystone.reveal('acme', 'acme-shared') FROM generate_series(1, 3)$$),
	'value of acme-shared, which is long then PT404', 'I4 and the next session user none');
SELECT is(pg_temp.cursor_of('ks_owner', 'ks_anonymous', $$SELECT keystone.reveal('acme', 'acme-shared') FROM generate_series(1, 3)$$),
	'value of acme-shared, which is long then 42501', 'I4 nor one that is nobody');
SELECT is(pg_temp.cursor_of('key_admin', 'ks_stranger', $$SELECT keystone.current_principal() IS NOT NULL FROM generate_series(1, 3)$$), 'true then true', 'a proof is stronger than the session''s user');

-- Rules, policies and defaults of others.
SELECT is(pg_temp.as_role('ks_stranger', $$INSERT INTO ks_app.rules VALUES ('ask')$$), 'PT404', 'I4 a rule runs as who sets it off');
SELECT is(pg_temp.as_role('ks_owner', $$INSERT INTO ks_app.rules VALUES ('ask')$$), '1', 'also as that one''s identity');
\o /dev/null
INSERT INTO ks_app.policed VALUES ('x'), (pg_temp.principal('ks_viewer')::text);
\o
SELECT is(pg_temp.as_role('ks_stranger', 'SELECT * FROM ks_app.policed'), 'PT404', 'I4 a policy asks as the caller');
SELECT is(pg_temp.value_as('ks_viewer', 'INSERT INTO ks_app.defaults DEFAULT VALUES RETURNING x'), pg_temp.principal('ks_viewer')::text, 'a default is the caller''s');

-- Foreign keys and what else a neighbour may attach.
SELECT is(pg_temp.as_role('ks_owner', format('CREATE TABLE ks_app.refers (x uuid REFERENCES keystone.%I)', r)), '42501', 'I4 clients refer to no row of ' || r)
FROM unnest(ARRAY['members', 'workspaces', 'principals', 'credential_versions', 'credential_shares', 'invitations']) r;
\o /dev/null
GRANT REFERENCES ON ALL TABLES IN SCHEMA keystone TO ks_viewer;
\o
-- Who may all the same learns from it which ids there are, and no more: they
-- are random.  But nothing is written past it.
SELECT is(pg_temp.as_role('ks_viewer', format($q$DO $d$ BEGIN CREATE TABLE ks_app.refers (x uuid REFERENCES keystone.principals); INSERT INTO ks_app.refers VALUES (%L); END $d$ $q$, gen_random_uuid())), '23503', 'a reference to a row that is not there');
SELECT is(pg_temp.as_role('ks_viewer', 'CREATE TABLE ks_app.refers (x text REFERENCES keystone.workspaces (slug))'), '0', 'a table that refers by name');
SELECT is(pg_temp.as_role('ks_viewer', 'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ks_app.planned()'), '42501', 'I4 clients make no event trigger');
SELECT is(pg_temp.as_role('ks_viewer', 'SET ROLE ks_owner'), '42501', 'I4 nor become another role');

-- Plans with workers.
\o /dev/null
SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode');
\o
SELECT is(pg_temp.differ(pg_temp.list('keystone.credentials')), NULL, 'I4 parallel plans give the same rows');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT count(*) FROM keystone.members WHERE ks_app.unsafe('') IS NOT NULL$$), '7', 'I4 a function that is wrongly marked as safe');
SELECT * FROM finish();
ROLLBACK;
