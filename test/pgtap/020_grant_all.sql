-- I4: Supabase's recipe for a schema that its API exposes: USAGE on it and all
-- rights on all that is in it to anon.  anon gets nothing by that; and what it
-- can now do as a neighbour (triggers, foreign keys) does not run as the owner.
BEGIN;
\ir lib/tenants.sql
\o /dev/null
CREATE ROLE ks_anon LOGIN;
GRANT USAGE ON SCHEMA keystone TO ks_anon;
GRANT ALL ON ALL TABLES IN SCHEMA keystone TO ks_anon;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone TO ks_anon;
GRANT ALL ON ALL SEQUENCES IN SCHEMA keystone TO ks_anon;
CREATE SCHEMA ks_anon AUTHORIZATION ks_anon;

-- Refusals are recorded, and the housekeeper reads what was; both go on meanwhile.
CREATE FUNCTION pg_temp.contents() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(table_to_xml(c.oid::regclass, true, false, '')::text, '' ORDER BY c.relname))
	FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	AND c.relname !~ '^audit_' AND c.relname NOT IN ('housekeeping', 'credential_usage')
$$;
CREATE TEMP TABLE contents_before AS SELECT pg_temp.contents();

-- Each verb of each relation.  What is refused is refused; UPDATE and DELETE
-- find no row.
CREATE TEMP VIEW statements AS
	SELECT c.relname, v.verb, v.statement,
		   CASE WHEN v.verb = 'SELECT' THEN '{0,42501}' WHEN v.verb IN ('UPDATE', 'DELETE') THEN '{0,42501,55000}'
				ELSE '{42501,55000,42809}' END::text[] AS expected
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
	CROSS JOIN LATERAL (VALUES
		('SELECT', format('SELECT * FROM keystone.%I', c.relname)),
		('INSERT', format('INSERT INTO keystone.%I DEFAULT VALUES', c.relname)),
		('UPDATE', format('UPDATE keystone.%I SET %2$I = %2$I', c.relname, a.attname)),
		('DELETE', format('DELETE FROM keystone.%I', c.relname)),
		('TRUNCATE', format('TRUNCATE keystone.%I CASCADE', c.relname))) v (verb, statement)
	WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f');

-- Each function, with plausible arguments: the acme workspace, an existing
-- credential, a member.
CREATE TEMP VIEW calls AS
	SELECT p.oid::regproc::text AS name, format('SELECT * FROM %s(%s)', p.oid::regproc,
		(SELECT string_agg(format('%I => %s', p.proargnames[i],
			CASE WHEN p.proargnames[i] = 'workspace' THEN quote_literal('acme')
				 WHEN p.proargnames[i] IN ('name', 'names') THEN quote_literal('acme-shared')
				 WHEN p.proargnames[i] = 'credential' THEN quote_literal(pg_temp.credential('acme-shared')) || '::uuid'
				 WHEN p.proargnames[i] = 'credentials' THEN format('ARRAY[%L]::uuid[]', pg_temp.credential('acme-shared'))
				 WHEN p.proargnames[i] = 'principal' THEN quote_literal(pg_temp.principal('ks_viewer')) || '::uuid'
				 WHEN p.proargnames[i] = 'permission' THEN quote_literal('view')
				 WHEN p.proargnames[i] = 'profile' THEN quote_literal('client')
				 WHEN p.proargnames[i] = 'role' AND p.proargtypes[i - 1] = 'name'::regtype THEN quote_literal('ks_anon')
				 WHEN p.proargnames[i] = 'role' THEN quote_literal('viewer')
				 WHEN p.proargnames[i] = 'category' THEN quote_literal('no_auth')
				 WHEN p.proargnames[i] = 'provider' THEN quote_literal('openai')
				 WHEN p.proargnames[i] = 'slug' THEN quote_literal('anons')
				 WHEN p.proargtypes[i - 1] = 'regclass'::regtype THEN quote_literal('pg_catalog.pg_class')
				 WHEN p.proargtypes[i - 1] IN ('integer'::regtype, 'bigint'::regtype) THEN '1'
				 WHEN p.proargtypes[i - 1] = 'boolean'::regtype THEN 'true'
				 WHEN p.proargtypes[i - 1] = 'jsonb'::regtype THEN quote_literal('{}')
				 ELSE quote_literal('A=b') END, ', '), ', ')
		 FROM generate_series(1, p.pronargs - p.pronargdefaults) i)) AS statement
	FROM pg_proc p WHERE p.pronamespace = 'keystone'::regnamespace;

\o

SELECT plan((SELECT count(*) FROM statements)::int + (SELECT count(*) FROM calls)::int + 17);

SELECT ok(pg_temp.as_role('ks_anon', statement) = ANY (expected), format('I4 anon: %s %s', verb, relname)) FROM statements ORDER BY relname, verb;

-- Who one is may be asked by anybody: the answer is "nobody".
SELECT is(pg_temp.as_role('ks_anon', statement), '42501', 'I4 anon: ' || name) FROM calls
WHERE name NOT IN ('keystone.version', 'keystone.current_principal', 'keystone.whoami', 'keystone.has_permission', 'keystone.permitted_workspaces')
ORDER BY name;
SELECT is(pg_temp.value_as('ks_anon', 'SELECT keystone.current_principal()'), '<null>', 'I4 anon: current_principal');
SELECT is(pg_temp.value_as('ks_anon', 'SELECT (w.principal, w.source, w.display_name, w.workspaces) FROM keystone.whoami() w'), '(,anonymous,,[])', 'I4 anon: whoami');
SELECT is(pg_temp.value_as('ks_anon', $$SELECT keystone.has_permission('acme', 'member')$$), 'false', 'I4 anon: has_permission');
SELECT is(pg_temp.as_role('ks_anon', $$SELECT keystone.permitted_workspaces('member')$$), '0', 'I4 anon: permitted_workspaces');
SELECT matches(pg_temp.value_as('ks_anon', 'SELECT keystone.version()'), '^keystone ', 'anon: version');
SELECT is((SELECT count(*)::int FROM calls WHERE statement IS NULL), 0, 'the calls are whole');
SELECT is(pg_temp.contents(), (SELECT contents FROM contents_before), 'I4 anon changed nothing');

-- The superuser cannot truncate either, not even as a replica.
SELECT throws_ok('TRUNCATE keystone.members', '42501', NULL, 'I4 TRUNCATE is refused to the owner');
SET LOCAL session_replication_role = replica;
SELECT throws_ok('TRUNCATE keystone_private.ciphertext', '42501', NULL, 'I4 also with session_replication_role = replica');
RESET session_replication_role;

SET LOCAL SESSION AUTHORIZATION ks_anon;
CREATE FUNCTION ks_anon.spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER ROLE ks_anon CONNECTION LIMIT 7');	-- which anon may not
	RETURN coalesce(new, old);
END
$$;
GRANT USAGE ON SCHEMA ks_anon TO PUBLIC;
RESET SESSION AUTHORIZATION;
SELECT is(pg_temp.as_role('ks_anon', 'CREATE TRIGGER spy BEFORE INSERT ON keystone.members FOR EACH ROW EXECUTE FUNCTION ks_anon.spy()'), '42501', 'I4 anon makes no trigger');
SELECT is(pg_temp.as_role('ks_anon', 'CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON keystone.members FOR EACH STATEMENT EXECUTE FUNCTION ks_anon.spy()'), '42501', 'I4 nor replaces one');
SELECT is(pg_temp.as_role('ks_anon', 'TRUNCATE keystone.members'), '42501', 'I4 nor truncates');
-- What a superuser attaches for it all the same does not run.
CREATE TRIGGER spy BEFORE INSERT OR UPDATE OR DELETE ON keystone.members FOR EACH ROW EXECUTE FUNCTION ks_anon.spy();
RESET SESSION AUTHORIZATION;
SELECT is(pg_temp.as_role('ks_owner', format($$SELECT keystone.remove_member('acme', %L)$$, pg_temp.principal('ks_viewer'))), '42501', 'I4 a member is not removed past a foreign trigger');
SELECT is(pg_temp.as_role('ks_owner', $$SELECT keystone.store('acme', 'other', 'value')$$), '42501', 'I4 nor is anything else written');
SELECT is(pg_temp.as_role('postgres', $$SELECT keystone.grant_access('ks_nobody', 'client')$$), '42501', 'I4 nor by the superuser');
SELECT is(pg_temp.value_as('ks_owner', $$SELECT keystone.reveal('acme', 'acme-shared')$$), 'value of acme-shared, which is long', 'reading needs no write');
SELECT is((SELECT rolconnlimit FROM pg_roles WHERE rolname = 'ks_anon'), -1, 'I4 the trigger''s function did not run');
DROP TRIGGER spy ON keystone.members;
SELECT is(pg_temp.as_role('ks_owner', $$SELECT keystone.store('acme', 'other', 'value')$$), '1', 'without the trigger writing works again');

-- Triggers of the server's own functions are foreign as well.
CREATE TRIGGER quiet BEFORE UPDATE ON keystone.credential_versions FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
RESET SESSION AUTHORIZATION;
SELECT is(pg_temp.as_role('ks_owner', $$SELECT keystone.store('acme', 'other', 'value')$$), '42501', 'I4 a trigger with a function of pg_catalog is refused too');
DROP TRIGGER quiet ON keystone.credential_versions;

-- Rules, policies and indexes are for the owner of a table.
SELECT is(pg_temp.as_role('ks_anon', 'CREATE RULE r AS ON INSERT TO keystone.members DO ALSO NOTIFY x'), '42501', 'I4 anon makes no rule');
SELECT is(pg_temp.as_role('ks_anon', 'CREATE POLICY p ON keystone.members USING (true)'), '42501', 'I4 anon makes no policy');
SELECT is(pg_temp.as_role('ks_anon', 'CREATE INDEX ON keystone.members ((ks_anon.f(role)))'), '42501', 'I4 anon makes no index');

SELECT * FROM finish();
ROLLBACK;
