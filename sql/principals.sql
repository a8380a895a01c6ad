-- disable_principal() ends all that a principal may do, and what it gave;
-- link_auth_users() does so when a user is deleted.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_principals_' || name);
	PERFORM keystone.grant_access(('regress_keystone_principals_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_principals_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('worker') AS worker \gset
CREATE ROLE regress_keystone_principals_dba;
SELECT keystone.grant_access('regress_keystone_principals_dba', 'admin');
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.create_workspace('principals') AS ws \gset
SELECT keystone.add_member('principals', :'admin', 'admin');
SELECT keystone.add_member('principals', :'worker', 'service');
SELECT keystone.store('principals', 'token', 'the value') IS NOT NULL AS stored;
SET SESSION AUTHORIZATION regress_keystone_principals_admin;
SELECT api_key AS key, id AS key_id FROM keystone.create_api_key('principals', 'job', 'service') \gset
SELECT credential AS own FROM keystone.store('principals', 'own', 'my value', personal => true) \gset
SELECT keystone.share_credential(:'own', :'worker');
SET SESSION AUTHORIZATION regress_keystone_principals_worker;
SELECT keystone.reveal('principals', 'own', owner => :'admin');

-- For the admin profile only
SELECT keystone.disable_principal(:'owner');
SELECT keystone.enable_principal(:'owner');
SELECT keystone.link_auth_users();
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.disable_principal(:'worker');
SET SESSION AUTHORIZATION regress_keystone_principals_dba;
SELECT keystone.disable_principal('00000000-0000-4000-8000-000000000000');
SELECT keystone.enable_principal('00000000-0000-4000-8000-000000000000');
SELECT keystone.disable_principal(NULL);
SELECT keystone.enable_principal(NULL);
-- an id of one's choice with an external id would take over whom a token names
SELECT keystone.register_principal('Taken', id => 'e0000000-0000-4000-8000-000000000000', external_id => 'role:taken');
SELECT keystone.register_principal('Taken', id => 'e0000000-0000-4000-8000-000000000000', db_role => 'regress_keystone_principals_dba');
SELECT keystone.register_principal('Taken', external_id => 'role:taken') IS NOT NULL AS registered;
RESET SESSION AUTHORIZATION;
SELECT keystone.register_principal('Free', 'service', id => 'e0000000-0000-4000-8000-000000000000', external_id => 'role:free');
SET SESSION AUTHORIZATION regress_keystone_principals_dba;

-- Everything ends, and comes back.
SELECT keystone.disable_principal(:'admin');
SELECT keystone.disable_principal(:'admin');
SELECT disabled_at IS NOT NULL AS disabled FROM keystone.principals WHERE id = :'admin';
SET SESSION AUTHORIZATION regress_keystone_principals_admin;
SELECT source, principal, workspaces FROM keystone.whoami();
SELECT keystone.reveal('principals', 'token');
SELECT keystone.reveal('principals', 'own');
SELECT keystone.create_workspace('principals-again');
SELECT keystone.personal_workspace();
SELECT keystone.has_permission('principals', 'member') AS member, (SELECT count(*) FROM keystone.credentials) AS credentials;
SET SESSION AUTHORIZATION regress_keystone_principals_worker;
SELECT keystone.authenticate(:'key');
SELECT keystone.reveal('principals', 'own', owner => :'admin');
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.transfer_ownership('principals', :'admin');
SELECT keystone.set_member_role('principals', :'admin', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_principals_dba;
SELECT keystone.enable_principal(:'admin');
SELECT keystone.enable_principal(:'admin');
SET SESSION AUTHORIZATION regress_keystone_principals_admin;
SELECT keystone.reveal('principals', 'token');
SELECT keystone.reveal('principals', 'own');
SET SESSION AUTHORIZATION regress_keystone_principals_worker;
SELECT keystone.authenticate(:'key') = :'key_id' AS key;
SELECT keystone.reveal('principals', 'own', owner => :'admin');
-- A key is a principal, too.
SET SESSION AUTHORIZATION regress_keystone_principals_dba;
SELECT keystone.disable_principal(:'key_id');
SET SESSION AUTHORIZATION regress_keystone_principals_worker;
SELECT keystone.authenticate(:'key');
RESET SESSION AUTHORIZATION;

-- I4: no valid MAC for what was changed by hand; taking the date away is not enough
UPDATE keystone.principals SET db_role = 'regress_keystone_principals_dba' WHERE id = :'worker';
SELECT keystone.disable_principal(:'worker');
SELECT keystone.enable_principal(:'worker');
UPDATE keystone.principals SET db_role = 'regress_keystone_principals_worker' WHERE id = :'worker';
SELECT keystone.disable_principal(:'worker');
UPDATE keystone.principals SET disabled_at = NULL WHERE id = :'worker';
SET SESSION AUTHORIZATION regress_keystone_principals_worker;
SELECT keystone.reveal('principals', 'token');
RESET SESSION AUTHORIZATION;
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
-- what follows is without a forged row
DELETE FROM keystone.members WHERE principal_id = :'worker';
DELETE FROM keystone.credential_shares WHERE grantee = :'worker';
DELETE FROM keystone.principals WHERE id = :'worker';

-- Users of another system: nothing without the table, or with another one
SELECT keystone.link_auth_users();
CREATE SCHEMA auth;
SELECT keystone.link_auth_users();
CREATE TABLE auth.users (id int);
SELECT keystone.link_auth_users();
DROP TABLE auth.users;
CREATE VIEW auth.users AS SELECT gen_random_uuid() AS id;
SELECT keystone.link_auth_users();
DROP VIEW auth.users;
CREATE TABLE auth.users (email text, id uuid);
INSERT INTO auth.users VALUES ('admin', :'admin'), ('unlinked', :'owner');
DELETE FROM auth.users WHERE email = 'unlinked';
SET SESSION AUTHORIZATION regress_keystone_principals_dba;
SELECT keystone.link_auth_users();
RESET SESSION AUTHORIZATION;
SELECT keystone.link_auth_users();
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass ORDER BY tgname;
SELECT keystone.reveal('principals', 'token');
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.reveal('principals', 'token');
RESET SESSION AUTHORIZATION;
-- whoever deletes: nobody of Keystone's
CREATE ROLE regress_keystone_principals_auth;
GRANT USAGE ON SCHEMA auth TO regress_keystone_principals_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO regress_keystone_principals_auth;
SET SESSION AUTHORIZATION regress_keystone_principals_auth;
DELETE FROM auth.users WHERE email = 'admin';
RESET SESSION AUTHORIZATION;
SELECT display_name, kind, db_role, disabled_at IS NOT NULL AS disabled FROM keystone.principals WHERE id = :'admin';
SET SESSION AUTHORIZATION regress_keystone_principals_admin;
SELECT keystone.reveal('principals', 'token');
-- one that has no principal yet gets one that is worth nothing
SET SESSION AUTHORIZATION regress_keystone_principals_auth;
INSERT INTO auth.users VALUES ('new', 'a0000000-0000-4000-8000-000000000000'), ('none', NULL), ('nil', '00000000-0000-0000-0000-000000000000');
DELETE FROM auth.users;
INSERT INTO auth.users VALUES ('new', 'a0000000-0000-4000-8000-000000000000');
DELETE FROM auth.users;
RESET SESSION AUTHORIZATION;
SELECT display_name, kind, db_role, disabled_at IS NOT NULL AS disabled FROM keystone.principals WHERE id = 'a0000000-0000-4000-8000-000000000000';
SELECT keystone.register_principal('Again', id => 'a0000000-0000-4000-8000-000000000000');
-- one whose uuid is a service's or an API key's changes nothing of these
SELECT keystone.register_principal('Nightly', 'service') AS nightly \gset
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT api_key AS other, id AS other_id FROM keystone.create_api_key('principals', 'other', 'service') \gset
RESET SESSION AUTHORIZATION;
INSERT INTO auth.users VALUES ('service', :'nightly'), ('key', :'other_id');
SET SESSION AUTHORIZATION regress_keystone_principals_auth;
DELETE FROM auth.users;
RESET SESSION AUTHORIZATION;
SELECT display_name, kind, disabled_at FROM keystone.principals WHERE id IN (:'nightly', :'other_id') ORDER BY kind;
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
-- TRUNCATE would delete users without a word
TRUNCATE auth.users;
BEGIN;
SET LOCAL session_replication_role = replica;
TRUNCATE auth.users CASCADE;
ROLLBACK;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass AND NOT tgisinternal ORDER BY tgname;
-- health sees them while there are any, and whether they are as they were made
CREATE FUNCTION pg_temp.auth_health() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT ok || ' ' || detail FROM keystone.health WHERE check_name = 'auth users'), 'no row') $$;
SELECT pg_temp.auth_health();
BEGIN;
ALTER TABLE auth.users ENABLE TRIGGER keystone_user_deleted;
SELECT pg_temp.auth_health();
ROLLBACK;
BEGIN;
ALTER TABLE auth.users DISABLE TRIGGER keystone_no_truncate;
SELECT pg_temp.auth_health();
SELECT keystone.link_auth_users();
SELECT pg_temp.auth_health();
ROLLBACK;
BEGIN;
DROP TRIGGER keystone_user_deleted ON auth.users;
SELECT pg_temp.auth_health();
DROP TRIGGER keystone_no_truncate ON auth.users;
SELECT pg_temp.auth_health();
ROLLBACK;
-- rolled back with the deletion; also where triggers are switched off
INSERT INTO auth.users VALUES ('owner', :'owner');
BEGIN;
DELETE FROM auth.users;
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.reveal('principals', 'token');
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.reveal('principals', 'token');
RESET SESSION AUTHORIZATION;
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM auth.users;
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
SELECT keystone.reveal('principals', 'token');
ROLLBACK;
-- who would disable others by a table of his own
CREATE TABLE public.users (id uuid);
CREATE TRIGGER t AFTER DELETE ON public.users FOR EACH ROW EXECUTE FUNCTION keystone_private.auth_user_deleted();
INSERT INTO public.users VALUES (:'owner');
DELETE FROM public.users;
DROP TABLE public.users;
CREATE TRIGGER t AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION keystone_private.auth_user_deleted();
INSERT INTO auth.users VALUES ('x', :'owner');
DROP TRIGGER t ON auth.users;
CREATE TRIGGER t AFTER DELETE ON auth.users FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.auth_user_deleted();
DELETE FROM auth.users WHERE false;
DROP TRIGGER t ON auth.users;
SELECT keystone_private.auth_user_deleted();
SET SESSION AUTHORIZATION regress_keystone_principals_owner;
CREATE TEMP TABLE users (id uuid);
CREATE TRIGGER t AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION keystone_private.auth_user_deleted();
DROP TABLE users;
RESET SESSION AUTHORIZATION;
-- a principal that was forged stays one, and the user, too
INSERT INTO auth.users VALUES ('owner', :'owner');
UPDATE keystone.principals SET kind = 'service' WHERE id = :'owner';
DELETE FROM auth.users WHERE email = 'owner';
UPDATE keystone.principals SET kind = 'user' WHERE id = :'owner';
SELECT ok FROM keystone.health WHERE check_name = 'row macs';

-- The log: who was disabled, and by whom
SELECT keystone_private.audit_flush();
SELECT action, outcome, db_role, object = :'admin' AS admin, detail ->> 'display_name' AS name, count(*) FROM keystone.audit_log
WHERE action IN ('principal.disable', 'principal.enable')
AND (db_role ~ '^regress_keystone_principals' OR object IN (:'admin', :'owner', :'worker')) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;
-- The trigger goes with the extension.
BEGIN;
DROP EXTENSION keystone;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass;
ROLLBACK;
DROP SCHEMA auth CASCADE;

SELECT keystone.revoke_access(('regress_keystone_principals_' || r)::name, 'client')
FROM unnest('{owner,admin,worker}'::text[]) r;
SELECT keystone.revoke_access('regress_keystone_principals_dba', 'admin');
DROP ROLE regress_keystone_principals_owner, regress_keystone_principals_admin, regress_keystone_principals_worker,
	regress_keystone_principals_dba, regress_keystone_principals_auth;
