-- Installation: what CREATE EXTENSION leaves behind, and who gets nothing.
-- Runs in a database of its own.  (That the library must be preloaded cannot
-- be shown here: test/tap does.)
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE regress_keystone_install ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE regress_keystone_latin1 ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';

-- I12: a name has no normal form in another encoding
\c regress_keystone_latin1
CREATE EXTENSION keystone;
SELECT count(*) FROM pg_namespace WHERE nspname IN ('keystone', 'keystone_private');

\c regress_keystone_install
CREATE ROLE regress_keystone_install_nobody;
CREATE ROLE regress_keystone_install_client;
-- Supabase does this for its API roles: the install script takes it back.
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_keystone_install_nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO regress_keystone_install_nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_keystone_install_nobody;
CREATE EXTENSION keystone;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_keystone_install_nobody;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON ROUTINES FROM regress_keystone_install_nobody;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_keystone_install_nobody;

SELECT keystone.version() = format('keystone %s (SQL %s)', extversion, extversion) AS version_matches,
	   extrelocatable, extnamespace::regnamespace
FROM pg_extension WHERE extname = 'keystone';

-- I4: nobody has anything that only the owner should have
SELECT r.rolname, s.nspname, has_schema_privilege(r.rolname, s.nspname, 'USAGE') OR has_schema_privilege(r.rolname, s.nspname, 'CREATE') AS gets_in
FROM (VALUES ('regress_keystone_install_nobody'), ('regress_keystone_install_client')) r (rolname)
CROSS JOIN (VALUES ('keystone'), ('keystone_private')) s (nspname) ORDER BY 1, 2;
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND c.relkind IN ('r', 'v', 'p', 'm', 'S')
AND has_table_privilege('regress_keystone_install_nobody', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
AND has_function_privilege('regress_keystone_install_nobody', p.oid, 'EXECUTE');

-- Everything has a comment, every table row-level security.
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND c.relkind = 'r'
AND (NOT c.relrowsecurity OR obj_description(c.oid, 'pg_class') IS NULL);
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
AND (obj_description(p.oid, 'pg_proc') IS NULL OR 0 < (SELECT count(*) FROM unnest(p.proargnames) n WHERE n = ''));
-- No overloads in the API, and no SECURITY DEFINER without a pinned path
SELECT proname FROM pg_proc WHERE pronamespace = 'keystone'::regnamespace GROUP BY proname HAVING count(*) > 1;
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
AND p.prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false);

-- Open, and nothing is there yet: the first write makes the keys.
SELECT sealed, current_root_key IS NOT NULL AS has_root_key, reason, pending_rewraps FROM keystone.seal_status;
SELECT check_name, ok FROM keystone.health ORDER BY check_name;
SELECT count(*) AS root_keys, (SELECT count(*) FROM keystone_private.system_keys) AS system_keys FROM keystone_private.root_keys;
SELECT keystone.create_workspace('first') IS NOT NULL AS created;
SELECT count(*) AS root_keys, (SELECT count(*) FROM keystone_private.system_keys) AS system_keys FROM keystone_private.root_keys;
SELECT check_name, ok FROM keystone.health ORDER BY check_name;
-- I6: keys lie wrapped, 32 bytes and the envelope's 46; each has a nonce of its own
SELECT length(wrapped) AS len, get_byte(wrapped, 0) AS format FROM keystone_private.system_keys
UNION ALL SELECT length(wrapped), get_byte(wrapped, 0) FROM keystone_private.workspace_keys;
SELECT substr(s.wrapped, 7, 24) <> substr(w.wrapped, 7, 24) AS nonces_differ FROM keystone_private.system_keys s, keystone_private.workspace_keys w;

-- What administrators see is not for others.
SELECT keystone.grant_access('regress_keystone_install_client', 'client');
SET ROLE regress_keystone_install_client;
SELECT sealed, current_root_key, reason, pending_rewraps FROM keystone.seal_status;
SELECT count(*) FROM keystone.health;
SELECT count(*) FROM keystone.settings;
SET ROLE regress_keystone_install_nobody;
SELECT sealed FROM keystone.seal_status;
SELECT keystone.version();
RESET ROLE;

-- I4: also after somebody runs Supabase's recipe the functions check for themselves ...
GRANT USAGE ON SCHEMA keystone, keystone_private TO regress_keystone_install_nobody;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO regress_keystone_install_nobody;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone, keystone_private TO regress_keystone_install_nobody;
SET SESSION AUTHORIZATION regress_keystone_install_nobody;
SELECT keystone.create_workspace('mine');
SELECT keystone.grant_access('regress_keystone_install_nobody', 'admin');
SELECT keystone.verify_all();
SELECT * FROM keystone_private.health_checks();
-- ... rows are neither seen nor written ...
SELECT (SELECT count(*) FROM keystone.workspaces) AS workspaces, (SELECT count(*) FROM keystone.principals) AS principals,
	   (SELECT count(*) FROM keystone.members) AS members, (SELECT count(*) FROM keystone_private.workspace_keys) AS keys,
	   (SELECT count(*) FROM keystone_private.system_keys) AS system_keys, (SELECT count(*) FROM keystone_private.profile_grants) AS grants;
INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac)
VALUES ('regress_keystone_install_nobody', 'admin', 'me', '\x00');
WITH d AS (DELETE FROM keystone_private.workspace_keys RETURNING 1) SELECT count(*) FROM d;
WITH u AS (UPDATE keystone.workspaces SET status = 'cancelled' RETURNING 1) SELECT count(*) FROM u;
-- ... TRUNCATE is guarded ...
TRUNCATE keystone_private.system_keys;
SET client_min_messages = warning;
TRUNCATE keystone_private.credentials CASCADE;
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
TRUNCATE keystone_private.ciphertext;
RESET session_replication_role;
-- ... only a superuser can attach a trigger, and that stops writing: it would run as the owner
GRANT CREATE ON SCHEMA public TO regress_keystone_install_nobody;
SET ROLE regress_keystone_install_nobody;
CREATE FUNCTION public.steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$;
CREATE TRIGGER steal BEFORE INSERT ON keystone.workspaces FOR EACH ROW EXECUTE FUNCTION public.steal();
RESET ROLE;
CREATE TRIGGER steal BEFORE INSERT ON keystone.workspaces FOR EACH ROW EXECUTE FUNCTION public.steal();
SELECT keystone.create_workspace('second');
DROP TRIGGER steal ON keystone.workspaces;
SELECT keystone.create_workspace('second') IS NOT NULL AS created;

-- It goes as it came, and comes again: a session that knew the keys of the
-- former installation writes none of the new one's rows with them.
DROP FUNCTION public.steal();
REVOKE CREATE ON SCHEMA public FROM regress_keystone_install_nobody;
SELECT action FROM keystone.store('first', 'token', 'a value');
DROP EXTENSION keystone;
SELECT count(*) FROM pg_namespace WHERE nspname IN ('keystone', 'keystone_private');
CREATE EXTENSION keystone;
SELECT keystone.create_workspace('again') IS NOT NULL AS created;
SELECT action FROM keystone.store('again', 'token', 'another value');
SELECT count(*) AS root_keys, (SELECT count(*) FROM keystone_private.system_keys) AS system_keys FROM keystone_private.root_keys;
\c regress_keystone_install
SELECT keystone.reveal('again', 'token');
SELECT check_name, ok FROM keystone.health WHERE NOT ok;

\c :home
DROP DATABASE regress_keystone_install;
DROP DATABASE regress_keystone_latin1;
DROP ROLE regress_keystone_install_nobody, regress_keystone_install_client;
