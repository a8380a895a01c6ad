-- I4: Supabase's recipe for a schema that its API exposes: USAGE on it and all
-- rights on all that is in it to anon, authenticated and, worse, PUBLIC.  All
-- is as it was: nobody gets more by that than no row; and what anon can now do
-- as a neighbour (triggers, foreign keys) does not run as the owner.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\ir lib/metering.sql
\o /dev/null
CREATE ROLE ks_anon LOGIN;
CREATE ROLE ks_authenticated;
GRANT USAGE ON SCHEMA keystone, keystone_private TO ks_anon, ks_authenticated, PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA keystone TO ks_anon, ks_authenticated, PUBLIC;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone TO ks_anon, ks_authenticated, PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA keystone TO ks_anon, ks_authenticated, PUBLIC;
CREATE SCHEMA ks_anon AUTHORIZATION ks_anon;
\set granted true
\ir lib/matrix.sql

SELECT plan(pg_temp.matrix_tests() + 20);

\ir lib/matrix_tests.sql

-- What may be asked by anybody.
SELECT is(pg_temp.value_as('ks_anon', 'SELECT keystone.current_principal()'), '<null>', 'I4 anon: current_principal');
SELECT is(pg_temp.value_as('ks_anon', 'SELECT (w.principal, w.source, w.display_name, w.workspaces) FROM keystone.whoami() w'), '(,anonymous,,[])', 'I4 anon: whoami');
SELECT is(pg_temp.value_as('ks_anon', $$SELECT keystone.has_permission('acme', 'member')$$), 'false', 'I4 anon: has_permission');
SELECT is(pg_temp.as_role('ks_anon', $$SELECT keystone.permitted_workspaces('member')$$), '0', 'I4 anon: permitted_workspaces');
SELECT matches(pg_temp.value_as('ks_anon', 'SELECT keystone.version()'), '^keystone ', 'anon: version');

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
