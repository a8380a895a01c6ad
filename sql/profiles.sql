-- Profiles of database roles: grant_access(), revoke_access().
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE ROLE regress_keystone_profiles_app;
CREATE ROLE regress_keystone_profiles_child IN ROLE regress_keystone_profiles_app;
CREATE ROLE regress_keystone_profiles_child_no NOINHERIT IN ROLE regress_keystone_profiles_app;
CREATE ROLE regress_keystone_profiles_admin;
CREATE ROLE regress_keystone_profiles_monitor;
CREATE ROLE regress_keystone_profiles_auditor;
CREATE ROLE "regress_keystone_profiles Odd""Name";

-- What each role gets from what was granted to whom, function and SQL privilege.
CREATE FUNCTION pg_temp.profiles() RETURNS TABLE (role text, profiles text, may_store boolean, may_define boolean, sees_health boolean)
LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'regress\_keystone\_profiles%' ORDER BY rolname COLLATE "C" LOOP
		role := substr(r.rolname, 27);
		may_store := has_function_privilege(r.rolname, 'keystone.store(text,text,text,text,text,text,boolean,timestamptz,text,text[],jsonb,int,text,uuid,text,jsonb)', 'EXECUTE');
		may_define := has_function_privilege(r.rolname, 'keystone.provider_define(text,text,text,text,text,text,bigint,boolean)', 'EXECUTE');
		sees_health := has_table_privilege(r.rolname, 'keystone.health', 'SELECT');
		profiles := NULL;
		IF has_function_privilege(r.rolname, 'keystone_private.has_profile(text)', 'EXECUTE') THEN
			-- the function's name is resolved here, so that the role needs no USAGE
			PERFORM set_config('role', r.rolname, true);
			SELECT string_agg(p, ' ' ORDER BY n) INTO profiles
			FROM unnest('{client,worker,auditor,admin,monitor}'::text[]) WITH ORDINALITY AS x (p, n)
			WHERE (SELECT pg_temp.has_profile(p));
			PERFORM set_config('role', 'none', true);
		END IF;
		RETURN NEXT;
	END LOOP;
END $$;
-- Bound when it is made: a role without USAGE on keystone_private can call it.
CREATE FUNCTION pg_temp.has_profile(profile text) RETURNS boolean LANGUAGE sql
	BEGIN ATOMIC SELECT keystone_private.has_profile(profile); END;

SELECT * FROM pg_temp.profiles();

SELECT keystone.grant_access('regress_keystone_profiles_app', 'client');
SELECT keystone.grant_access('regress_keystone_profiles_admin', 'admin');
SELECT keystone.grant_access('regress_keystone_profiles_monitor', 'monitor');
SELECT keystone.grant_access('regress_keystone_profiles_auditor', 'auditor');
SELECT keystone.grant_access('regress_keystone_profiles Odd"Name', 'worker');
-- again: no error, no change
SELECT keystone.grant_access('regress_keystone_profiles_app', 'client');
SELECT * FROM pg_temp.profiles();

-- I12
SELECT keystone.grant_access('regress_keystone_profiles_app', 'root');
SELECT keystone.grant_access('regress_keystone_profiles_app', 'Client');
SELECT keystone.grant_access('regress_keystone_profiles_missing', 'client');
SELECT keystone.grant_access('public', 'client');
SELECT keystone.grant_access(NULL, 'client');
SELECT keystone.grant_access('regress_keystone_profiles_app', NULL);
SELECT keystone.revoke_access(NULL, 'client');
SELECT keystone.revoke_access('regress_keystone_profiles_app', NULL);
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'root');
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'worker');
SELECT keystone.revoke_access('regress_keystone_profiles_child', 'client');

-- I4: nobody but the admin profile gives or takes, not even by the grant on the function.
SET SESSION AUTHORIZATION regress_keystone_profiles_app;
SELECT keystone.grant_access('regress_keystone_profiles_app', 'admin');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA keystone TO regress_keystone_profiles_monitor, regress_keystone_profiles_app;
SET SESSION AUTHORIZATION regress_keystone_profiles_app;
SELECT keystone.grant_access('regress_keystone_profiles_app', 'admin');
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'client');
SET SESSION AUTHORIZATION regress_keystone_profiles_monitor;
SELECT keystone.create_workspace('profiles-monitor');
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'client');
RESET SESSION AUTHORIZATION;
SELECT slug FROM keystone.workspaces WHERE slug = 'profiles-monitor';

-- The profile is that of the current role, the identity that of the session.
SET SESSION AUTHORIZATION regress_keystone_profiles_child_no;
SELECT keystone.create_workspace('profiles-no-inherit');
SET ROLE regress_keystone_profiles_app;
SELECT keystone.create_workspace('profiles-set-role') IS NOT NULL AS created;
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT w.slug, p.db_role, m.role FROM keystone.workspaces w JOIN keystone.members m ON m.workspace_id = w.id
JOIN keystone.principals p ON p.id = m.principal_id WHERE w.slug LIKE 'profiles-%';

-- An administrator that is no superuser: grants, sees metadata, has no values.
SET SESSION AUTHORIZATION regress_keystone_profiles_admin;
SELECT keystone.grant_access('regress_keystone_profiles_auditor', 'client');
SELECT keystone.revoke_access('regress_keystone_profiles_auditor', 'client');
SELECT slug FROM keystone.workspaces WHERE slug LIKE 'profiles-%';
SELECT keystone.create_workspace('profiles-admin');
SELECT keystone.store('profiles-set-role', 'a', 'b');
SELECT keystone.reveal('profiles-set-role', 'a');
SELECT count(*) FROM keystone.credentials;
RESET SESSION AUTHORIZATION;

-- A profile given to a member of the role is given at once, and taken at once.
GRANT regress_keystone_profiles_monitor TO regress_keystone_profiles_child;
SELECT * FROM pg_temp.profiles() WHERE role = 'child';
REVOKE regress_keystone_profiles_monitor FROM regress_keystone_profiles_child;
SELECT * FROM pg_temp.profiles() WHERE role = 'child';

-- What two profiles both give stays when one goes.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA keystone FROM regress_keystone_profiles_monitor, regress_keystone_profiles_app;
SELECT keystone.grant_access('regress_keystone_profiles_app', 'client');
SELECT keystone.grant_access('regress_keystone_profiles_app', 'monitor');
SELECT keystone.grant_access('regress_keystone_profiles_app', 'worker');
SELECT * FROM pg_temp.profiles() WHERE role = 'app';
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'client');
SELECT * FROM pg_temp.profiles() WHERE role = 'app';
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'worker');
SELECT * FROM pg_temp.profiles() WHERE role = 'app';
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'worker');
-- a grant that is rolled back gave nothing
BEGIN;
SELECT keystone.grant_access('regress_keystone_profiles_app', 'admin');
SELECT profiles FROM pg_temp.profiles() WHERE role = 'app';
ROLLBACK;
SELECT profiles FROM pg_temp.profiles() WHERE role = 'app';

-- I4: a row without a valid MAC gives no profile: inserted, changed, taken out of its grave.
INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac)
SELECT 'regress_keystone_profiles_app', 'admin', 'me', row_mac FROM keystone_private.profile_grants WHERE profile = 'admin' LIMIT 1;
UPDATE keystone_private.profile_grants SET profile = 'auditor' WHERE role_name = 'regress_keystone_profiles_app' AND profile = 'monitor';
UPDATE keystone_private.profile_grants SET revoked_at = NULL WHERE role_name = 'regress_keystone_profiles_app' AND profile IN ('client', 'worker');
SELECT profiles FROM pg_temp.profiles() WHERE role = 'app';
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
-- Granting again, or taking away, repairs.
UPDATE keystone_private.profile_grants SET profile = 'monitor' WHERE role_name = 'regress_keystone_profiles_app' AND profile = 'auditor';
SELECT keystone.revoke_access('regress_keystone_profiles_app', p) FROM unnest('{client,worker,admin}'::text[]) p;
SELECT profiles FROM pg_temp.profiles() WHERE role = 'app';
SELECT ok FROM keystone.health WHERE check_name = 'row macs';

-- The row stays as a tombstone; the role has nothing that keeps it from going.
SELECT keystone.revoke_access('regress_keystone_profiles_app', 'monitor');
SELECT keystone.revoke_access('regress_keystone_profiles_admin', 'admin');
SELECT keystone.revoke_access('regress_keystone_profiles_monitor', 'monitor');
SELECT keystone.revoke_access('regress_keystone_profiles_auditor', 'auditor');
SELECT keystone.revoke_access('regress_keystone_profiles Odd"Name', 'worker');
SELECT substr(role_name, 27) AS role, profile, revoked_at IS NOT NULL AS revoked FROM keystone_private.profile_grants
WHERE role_name LIKE 'regress\_keystone\_profiles%' ORDER BY role_name COLLATE "C", profile;
SELECT * FROM pg_temp.profiles();
DROP ROLE regress_keystone_profiles_app, regress_keystone_profiles_child, regress_keystone_profiles_child_no,
	regress_keystone_profiles_admin, regress_keystone_profiles_monitor, regress_keystone_profiles_auditor,
	"regress_keystone_profiles Odd""Name";
