-- I4: the owner of a SECURITY DEFINER function is trusted by a setting of the
-- server's only.  The setting cannot be made in a transaction.
\o /dev/null
ALTER SYSTEM SET keystone.trusted_definers = 'other, "ks_admin"';
SELECT pg_reload_conf();
SELECT pg_sleep(0.2);
\o
BEGIN;
\ir lib/tenants.sql
\o /dev/null
CREATE SCHEMA ks_functions;
GRANT ALL ON SCHEMA ks_functions TO PUBLIC;
CREATE FUNCTION ks_functions.trusted() RETURNS text LANGUAGE sql SECURITY DEFINER AS
	$$SELECT keystone.current_principal() || ' ' || current_user$$;
CREATE FUNCTION ks_functions.untrusted() RETURNS text LANGUAGE sql SECURITY DEFINER AS
	$$SELECT keystone.current_principal() || ' ' || current_user$$;
CREATE FUNCTION ks_functions.reveals() RETURNS text LANGUAGE sql SECURITY DEFINER AS
	$$SELECT keystone.reveal('acme', 'acme-shared')$$;
ALTER FUNCTION ks_functions.trusted OWNER TO ks_admin;
ALTER FUNCTION ks_functions.reveals OWNER TO ks_admin;
ALTER FUNCTION ks_functions.untrusted OWNER TO ks_stranger;
\o
SELECT plan(7);
SELECT is(current_setting('keystone.trusted_definers'), 'other, "ks_admin"', 'the setting has arrived');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_functions.trusted()'), pg_temp.principal('ks_owner') || ' ks_admin', 'in a trusted owner''s function the session has its identity');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_functions.untrusted()'), '<null>', 'I4 in another''s it has none');
SELECT is(pg_temp.value_as('ks_stranger', 'SELECT ks_functions.reveals()'), 'PT404', 'I4 the owner''s identity is not lent to the caller');
SELECT is(pg_temp.value_as('ks_viewer', 'SELECT ks_functions.reveals()'), '42501', 'I4 nor its rights');
SELECT is(pg_temp.value_as('ks_service', 'SELECT ks_functions.reveals()'), 'value of acme-shared, which is long', 'the caller''s own rights are in force');
GRANT USAGE ON SCHEMA keystone TO ks_nobody;
SELECT is(pg_temp.value_as('ks_nobody', 'SELECT ks_functions.reveals()'), '42501', 'I4 without a principal there is nothing to lend to');
SELECT * FROM finish();
ROLLBACK;
\o /dev/null
ALTER SYSTEM RESET keystone.trusted_definers;
SELECT pg_reload_conf();
