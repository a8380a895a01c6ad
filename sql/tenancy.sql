-- Principals and workspaces: who one is, what one's workspaces are.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE ROLE regress_keystone_tenancy_admin;
CREATE ROLE regress_keystone_tenancy_alice;
CREATE ROLE regress_keystone_tenancy_bob;
CREATE ROLE regress_keystone_tenancy_carol;
SELECT keystone.grant_access('regress_keystone_tenancy_admin', 'admin');
SELECT keystone.grant_access(('regress_keystone_tenancy_' || r)::name, 'client') FROM unnest('{alice,bob,carol}'::text[]) r;

-- Principals
SELECT keystone.register_principal('Alice', db_role => 'regress_keystone_tenancy_alice', external_id => 'alice@example.com') AS alice \gset
SELECT keystone.register_principal('Robot', 'service', id => '00000000-0000-4000-8000-00000000001a') AS robot \gset
SELECT display_name, kind, db_role, disabled_at FROM keystone.principals WHERE id IN (:'alice', :'robot') ORDER BY display_name;
SELECT :'robot' = '00000000-0000-4000-8000-00000000001a' AS id_is_kept;
-- taken: id, role, external id
SELECT keystone.register_principal('Tenancy other', id => :'robot');
SELECT keystone.register_principal('Tenancy other', db_role => 'regress_keystone_tenancy_alice');
SELECT keystone.register_principal('Tenancy other', external_id => 'alice@example.com');
-- I12
SELECT keystone.register_principal('');
SELECT keystone.register_principal(NULL);
SELECT keystone.register_principal('Tenancy other', NULL);
SELECT keystone.register_principal('Tenancy other', 'api_key');
SELECT keystone.register_principal('Tenancy other', 'admin');
SELECT keystone.register_principal('Tenancy other', db_role => 'regress_keystone_tenancy_missing');
SELECT keystone.register_principal('Tenancy other', external_id => '');
SELECT keystone.register_principal(E'Tenancy\nother');
SELECT keystone.register_principal(repeat('x', 256));
SELECT keystone.register_principal(repeat('x', 255)) IS NOT NULL AS longest_name;
SELECT count(*) AS others FROM keystone.principals WHERE display_name LIKE 'Tenancy%';
-- an administrator that is no superuser, and none; anonymous callers
SET SESSION AUTHORIZATION regress_keystone_tenancy_admin;
SELECT keystone.register_principal('Made by admin') IS NOT NULL AS made;
SET SESSION AUTHORIZATION regress_keystone_tenancy_bob;
SELECT keystone.register_principal('Bob', db_role => 'regress_keystone_tenancy_bob');
SELECT keystone.register_principal('Bob''s robot', 'service');
SELECT principal, source, display_name, reason, workspaces FROM keystone.whoami();
SELECT keystone.current_principal();
SELECT keystone.has_permission('tenancy-alice', 'view');
SELECT * FROM keystone.permitted_workspaces('member');
SELECT keystone.store('tenancy-alice', 'a', 'b');

-- Workspaces
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT keystone.current_principal() = :'alice' AS is_alice;
SELECT keystone.create_workspace('tenancy-alice', 'Alice & Co') AS ws \gset
SELECT principal = :'alice' AS is_alice, source, display_name, reason,
	   jsonb_path_query_array(workspaces, '$[*].slug') AS slugs, workspaces -> 0 ->> 'role' AS role,
	   workspaces -> 0 -> 'permissions' AS permissions, workspaces -> 0 ->> 'id' = :'ws' AS is_id
FROM keystone.whoami();
SELECT slug, display_name, status, personal_of, created_by = :'alice' AS by_alice FROM keystone.workspaces;
SELECT keystone.create_workspace('tenancy-2') IS NOT NULL AS created;
SELECT slug, display_name FROM keystone.workspaces ORDER BY slug;
-- slug or uuid, and nothing else, finds it
SELECT keystone.has_permission('tenancy-alice', 'billing') AS slug, keystone.has_permission(:'ws', 'billing') AS uuid,
	   keystone.has_permission(upper(:'ws'), 'billing') AS upper_uuid, keystone.has_permission('TENANCY-ALICE', 'billing') AS upper_slug,
	   keystone.has_permission('', 'billing') AS empty, keystone.has_permission('nope', 'billing') AS missing;
SELECT keystone.has_permission(NULL, 'view');
SELECT keystone.has_permission('tenancy-alice', NULL);
SELECT keystone.has_permission('tenancy-alice', 'owner');
SELECT * FROM keystone.permitted_workspaces(NULL);
SELECT * FROM keystone.permitted_workspaces('everything');
SELECT array_agg(w.slug ORDER BY w.slug) FROM keystone.permitted_workspaces('billing') p JOIN keystone.workspaces w ON w.id = p;
-- taken, by whomever
SELECT keystone.create_workspace('tenancy-alice');
SET SESSION AUTHORIZATION regress_keystone_tenancy_bob;
SELECT keystone.create_workspace('tenancy-alice');
-- I12: the failed call made no principal for bob either
SELECT source FROM keystone.whoami();
-- slugs
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT keystone.create_workspace(s) FROM unnest(ARRAY['']) s;
SELECT keystone.create_workspace('Upper');
SELECT keystone.create_workspace('with space');
SELECT keystone.create_workspace('under_score');
SELECT keystone.create_workspace('-first');
SELECT keystone.create_workspace('last-');
SELECT keystone.create_workspace('two--hyphens');
SELECT keystone.create_workspace('dot.dot');
SELECT keystone.create_workspace('ümlaut');
SELECT keystone.create_workspace(repeat('a', 64));
SELECT keystone.create_workspace('00000000-0000-4000-8000-000000000000');
SELECT keystone.create_workspace(NULL);
SELECT keystone.create_workspace('tenancy-3', '');
SELECT keystone.create_workspace('tenancy-3', E'a\tb');
SELECT keystone.create_workspace(s) IS NOT NULL AS created FROM unnest(ARRAY['0', 'a-b-c-1', repeat('a', 63)]) s;
SELECT count(*) AS workspaces FROM keystone.workspaces;
-- a login role without a principal gets one
SET SESSION AUTHORIZATION regress_keystone_tenancy_bob;
SELECT keystone.create_workspace('tenancy-bob') IS NOT NULL AS created;
SELECT source, display_name FROM keystone.whoami();
SELECT keystone.current_principal() AS bob \gset

-- The personal workspace: one, of its own, found again
SELECT keystone.personal_workspace() AS personal \gset
SELECT keystone.personal_workspace() = :'personal' AS same;
SELECT slug = 'personal-' || :'bob' AS slug, display_name, personal_of = :'bob' AS of_bob FROM keystone.workspaces WHERE id = :'personal';
SELECT keystone.has_permission(:'personal', 'billing');
SET SESSION AUTHORIZATION regress_keystone_tenancy_carol;
SELECT source FROM keystone.whoami();
SELECT keystone.personal_workspace() <> :'personal' AS another;
SELECT source, display_name, jsonb_array_length(workspaces) AS workspaces FROM keystone.whoami();

-- I4: nobody sees another's workspaces, members, principals; "none" and "not yours" are one answer.
SELECT (SELECT count(*) FROM keystone.workspaces) AS workspaces, (SELECT count(*) FROM keystone.members) AS members,
	   (SELECT array_agg(display_name) FROM keystone.principals) AS principals;
SELECT keystone.has_permission(:'ws', 'member');
SELECT keystone.has_permission('tenancy-alice', 'member');
SELECT keystone.store(:'ws', 'a', 'b');
SELECT keystone.store('tenancy-alice', 'a', 'b');
SELECT keystone.store('tenancy-missing', 'a', 'b');
SELECT keystone.store('00000000-0000-4000-8000-000000000000', 'a', 'b');
-- Rows are read only.
UPDATE keystone.workspaces SET slug = 'x';
DELETE FROM keystone.members;
INSERT INTO keystone.principals (id, display_name, kind, row_mac) VALUES (:'ws', 'x', 'user', '');
RESET SESSION AUTHORIZATION;
-- The admin profile sees what there is, and is a member of nothing.
SET SESSION AUTHORIZATION regress_keystone_tenancy_admin;
SELECT array_agg(slug ORDER BY slug) FROM keystone.workspaces WHERE slug LIKE 'tenancy-%';
SELECT display_name FROM keystone.principals WHERE db_role LIKE 'regress\_keystone\_tenancy\_%' ORDER BY 1;
SELECT keystone.has_permission('tenancy-alice', 'member');
SELECT * FROM keystone_private.external_ids;
RESET SESSION AUTHORIZATION;

-- No identity inside a SECURITY DEFINER function whose owner is not trusted,
-- nor in a security-restricted operation: the session's user is not the author.
CREATE FUNCTION pg_temp.definer(OUT principal uuid, OUT reason text) LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp AS 'SELECT principal, reason FROM keystone.whoami()';
CREATE FUNCTION pg_temp.definer_creates() RETURNS uuid LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp AS $$ SELECT keystone.create_workspace('tenancy-definer') $$;
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT * FROM pg_temp.definer();
SELECT pg_temp.definer_creates();
RESET SESSION AUTHORIZATION;
CREATE MATERIALIZED VIEW regress_keystone_tenancy_view AS SELECT principal, source, reason FROM keystone.whoami() WITH NO DATA;
REFRESH MATERIALIZED VIEW regress_keystone_tenancy_view;
SELECT * FROM regress_keystone_tenancy_view;
DROP MATERIALIZED VIEW regress_keystone_tenancy_view;

-- Parallel workers and cursors know the caller; identity is that of the session, not of SET ROLE.
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
BEGIN;
DECLARE c CURSOR FOR SELECT keystone.current_principal() = :'alice' AS is_alice;
FETCH c;
COMMIT;
RESET SESSION AUTHORIZATION;
GRANT regress_keystone_tenancy_bob TO regress_keystone_tenancy_alice;
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SET ROLE regress_keystone_tenancy_bob;
SELECT keystone.current_principal() = :'alice' AS still_alice;
RESET SESSION AUTHORIZATION;

-- A read-only transaction: reading goes, writing is 25006.
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
BEGIN READ ONLY;
SELECT keystone.has_permission('tenancy-alice', 'view');
SAVEPOINT s;
SELECT keystone.create_workspace('tenancy-read-only');
ROLLBACK TO s;
SELECT keystone.personal_workspace();
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- I4: a row without a valid MAC gives nothing.  A principal bound by hand is nobody.
BEGIN;
UPDATE keystone.principals SET db_role = NULL WHERE id = :'alice';
UPDATE keystone.principals SET db_role = 'regress_keystone_tenancy_alice' WHERE id = :'bob';
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT principal, source FROM keystone.whoami();
SELECT keystone.has_permission('tenancy-bob', 'member');
ROLLBACK;
-- disabled by hand: the MAC does not fit, and it is disabled
BEGIN;
UPDATE keystone.principals SET disabled_at = now() WHERE id = :'alice';
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT source FROM keystone.whoami();
ROLLBACK;
-- a workspace whose slug or status was changed by hand is nobody's
BEGIN;
UPDATE keystone.workspaces SET slug = 'tenancy-stolen' WHERE id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT keystone.has_permission('tenancy-stolen', 'member'), keystone.has_permission(:'ws', 'member');
ROLLBACK;
BEGIN;
UPDATE keystone.workspaces SET status = 'trial' WHERE id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT keystone.has_permission(:'ws', 'member');
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_tenancy_alice;
SELECT keystone.has_permission(:'ws', 'member');
RESET SESSION AUTHORIZATION;

SELECT keystone.revoke_access('regress_keystone_tenancy_admin', 'admin');
SELECT keystone.revoke_access(('regress_keystone_tenancy_' || r)::name, 'client') FROM unnest('{alice,bob,carol}'::text[]) r;
DROP ROLE regress_keystone_tenancy_admin, regress_keystone_tenancy_alice, regress_keystone_tenancy_bob, regress_keystone_tenancy_carol;
