-- I4: rows that give rights, made or edited by hand by somebody with all
-- rights on the tables, give nothing, and keystone.health counts them.
BEGIN;
\ir lib/tenants.sql
\o /dev/null

-- What a role gets of acme: its permissions, a shared value, a list.
CREATE FUNCTION pg_temp.gets(who text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ',
		coalesce(nullif(pg_temp.value_as(who, 'SELECT string_agg(p.p, '','') FROM (VALUES (''view''), (''reveal''), (''store''), (''rotate''), (''workspace''), (''billing'')) p (p) WHERE keystone.has_permission(''acme'', p.p)'), '<null>'), 'none'),
		pg_temp.value_as(who, 'SELECT keystone.reveal(''acme'', ''acme-shared'')'),
		pg_temp.as_role(who, 'SELECT FROM keystone.credentials WHERE workspace = ''acme'''))
$$;
-- Tampering: forged rows before and after it, and what it gives to who.
CREATE FUNCTION pg_temp.tamper(statement text, who text, gives text, forged int, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	counted int;
	got text;
BEGIN
	BEGIN
		EXECUTE statement;
		GET DIAGNOSTICS counted = ROW_COUNT;
		IF counted = 0 THEN RAISE EXCEPTION 'nothing was tampered with: %', statement; END IF;
		got := pg_temp.gets(who);
		counted := pg_temp.forged();
		RAISE EXCEPTION USING ERRCODE = 'KSOUT';
	EXCEPTION WHEN SQLSTATE 'KSOUT' THEN NULL;
	END;
	RETURN NEXT is(got, gives, 'I4 ' || what || ' gives nothing');
	RETURN NEXT is(counted, forged, 'I4 health counts it: ' || what);
END
$$;
\o

SELECT plan(51);

SELECT is(pg_temp.forged(), 0, 'to begin with, no row is forged');
SELECT is(pg_temp.gets('ks_viewer'), 'view 42501 2', 'what the viewer has');
SELECT is(pg_temp.gets('ks_stranger'), 'none PT404 0', 'what the stranger has');
SELECT is(pg_temp.gets('ks_admin'), 'view,reveal,store,rotate,workspace value of acme-shared, which is long 3', 'what the admin has');

-- Members
SELECT pg_temp.tamper(format($$INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) VALUES (%L, %L, 'owner', '\x00')$$,
	pg_temp.workspace('acme'), pg_temp.principal('ks_stranger')), 'ks_stranger', 'none PT404 0', 1, 'an inserted membership');
SELECT pg_temp.tamper(format($$INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) VALUES (%L, %L, 'owner', decode(repeat('00', 32), 'hex'))$$,
	pg_temp.workspace('acme'), pg_temp.principal('ks_stranger')), 'ks_stranger', 'none PT404 0', 1, 'a membership with a MAC of zeros');
SELECT pg_temp.tamper(format($$INSERT INTO keystone.members SELECT workspace_id, %L, role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac
	FROM keystone.members WHERE principal_id = %L$$, pg_temp.principal('ks_stranger'), pg_temp.principal('ks_admin')), 'ks_stranger', 'none PT404 0', 1, 'a membership copied to another principal');
SELECT pg_temp.tamper(format($$INSERT INTO keystone.members SELECT %L, principal_id, role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac
	FROM keystone.members WHERE principal_id = %L$$, pg_temp.workspace('acme'), pg_temp.principal('ks_stranger')), 'ks_stranger', 'none PT404 0', 1, 'a membership copied to another workspace');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET role = 'owner' WHERE principal_id = %L$$, pg_temp.principal('ks_viewer')), 'ks_viewer', 'none PT404 0', 1, 'an edited role');
SELECT pg_temp.tamper(format($$UPDATE keystone.members m SET role = o.role, extra_permissions = o.extra_permissions, updated_at = o.updated_at, row_mac = o.row_mac
	FROM keystone.members o WHERE m.principal_id = %L AND o.principal_id = %L$$, pg_temp.principal('ks_viewer'), pg_temp.principal('ks_admin')), 'ks_viewer', 'none PT404 0', 1, 'another member''s role together with its MAC');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET extra_permissions = '{reveal}' WHERE principal_id = %L$$, pg_temp.principal('ks_viewer')), 'ks_viewer', 'none PT404 0', 1, 'edited extra permissions');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET extra_permissions = '{nonsense}' WHERE principal_id = %L$$, pg_temp.principal('ks_viewer')), 'ks_viewer', 'view 42501 2', 0, 'a permission that does not exist');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET updated_at = updated_at + '1 us' WHERE principal_id = %L$$, pg_temp.principal('ks_viewer')), 'ks_viewer', 'none PT404 0', 1, 'an edited time of change');

-- A tombstone taken back, with the MAC that it has and with the one it had.
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.remove_member(%L, %L)::text', 'acme', pg_temp.principal('ks_service'))) IS NULL AS ignored \gset
SELECT is(pg_temp.gets('ks_service'), 'none PT404 0', 'a removed member has nothing');
SELECT is(pg_temp.forged(), 0, 'a tombstone is not forged');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET removed_at = NULL WHERE principal_id = %L$$, pg_temp.principal('ks_service')), 'ks_service', 'none PT404 0', 1, 'a tombstone taken back');
SELECT pg_temp.tamper(format($$UPDATE keystone.members SET removed_at = NULL, role = 'service' WHERE principal_id = %L$$, pg_temp.principal('ks_service')), 'ks_service', 'none PT404 0', 1, 'a tombstone taken back with its role');

-- Who is no owner by a valid row does not make the last owner one of two.
SAVEPOINT s;
INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) VALUES (pg_temp.workspace('acme'), pg_temp.principal('ks_stranger'), 'owner', '\x00');
SELECT is(pg_temp.as_role('ks_owner', format('SELECT keystone.remove_member(%L, %L)', 'acme', pg_temp.principal('ks_owner'))), '42501', 'I4 a forged owner does not let the last owner leave');
ROLLBACK TO s;

-- Principals
SELECT pg_temp.tamper(format($$UPDATE keystone.principals SET db_role = 'ks_anonymous' WHERE id = %L$$, pg_temp.principal('ks_owner')), 'ks_anonymous', 'none 42501 0', 1, 'an edited login role');
SELECT pg_temp.tamper(format($$UPDATE keystone.principals SET kind = 'service' WHERE id = %L$$, pg_temp.principal('ks_admin')), 'ks_admin', 'none 42501 0', 1, 'an edited kind of principal');
SELECT pg_temp.tamper($$INSERT INTO keystone.principals (id, display_name, kind, db_role, row_mac) VALUES (gen_random_uuid(), 'x', 'user', 'ks_anonymous', decode(repeat('00', 32), 'hex'))$$, 'ks_anonymous', 'none 42501 0', 1, 'an inserted principal');
SELECT pg_temp.tamper($$UPDATE keystone.principals SET disabled_at = now() WHERE db_role = 'ks_admin'$$, 'ks_admin', 'none 42501 0', 1, 'a principal disabled by hand');

-- Workspaces
SELECT pg_temp.tamper($$UPDATE keystone.workspaces SET status = 'trial' WHERE slug = 'acme'$$, 'ks_admin', 'none PT404 0', 1, 'an edited status of a workspace');
SELECT pg_temp.tamper($$UPDATE keystone.workspaces SET slug = 'acme2' WHERE slug = 'acme'; UPDATE keystone.workspaces SET slug = 'acme' WHERE slug = 'globex'$$, 'ks_stranger', 'none PT404 0', 2, 'a swapped slug');

-- Profiles
SELECT is(pg_temp.as_role('ks_nobody', 'SELECT FROM keystone_private.has_profile(''admin'')'), '42501', 'ks_nobody has no profile');
GRANT USAGE ON SCHEMA keystone, keystone_private TO ks_nobody;
GRANT EXECUTE ON FUNCTION keystone_private.has_profile, keystone.grant_access, keystone.reveal TO ks_nobody;
INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac) VALUES ('ks_nobody', 'admin', 'postgres', decode(repeat('00', 32), 'hex'));
SELECT is(pg_temp.value_as('ks_nobody', 'SELECT keystone_private.has_profile(''admin'')'), 'false', 'I4 an inserted grant of a profile gives none');
SELECT is(pg_temp.as_role('ks_nobody', $$SELECT keystone.grant_access('ks_nobody', 'admin')$$), '42501', 'I4 nor does it make others');
SELECT is(pg_temp.forged(), 1, 'I4 health counts it');
UPDATE keystone_private.profile_grants g SET granted_at = o.granted_at, row_mac = o.row_mac FROM keystone_private.profile_grants o WHERE g.role_name = 'ks_nobody' AND o.role_name = 'ks_dba';
SELECT is(pg_temp.value_as('ks_nobody', 'SELECT keystone_private.has_profile(''admin'')'), 'false', 'I4 a grant copied to another role gives none');
DELETE FROM keystone_private.profile_grants WHERE role_name = 'ks_nobody';

-- Without the key that authenticates rows nobody can tell a forged one: then
-- nobody has rights either.  The vault is open: it is not the sealed server's
-- case, in which rows are believed so that metadata can be read.
SAVEPOINT s;
DELETE FROM keystone_private.system_keys;
UPDATE keystone.principals SET db_role = NULL WHERE db_role = 'ks_operator' RETURNING id AS operator \gset
UPDATE keystone.principals SET db_role = 'ks_anonymous' WHERE id = :'operator';
INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac) VALUES ('ks_nobody', 'admin', 'postgres', '\x00');
SELECT is(pg_temp.value_as('ks_anonymous', $$SELECT keystone.reveal('acme', 'operators-own')$$), '42501', 'I4 with the system key deleted, an edited login role reveals nothing');
SELECT is(pg_temp.value_as('ks_nobody', $$SELECT keystone_private.has_profile('admin')$$), 'false', 'I4 nor is an inserted profile one');
SELECT is(pg_temp.as_role('ks_nobody', $$SELECT keystone.grant_access('ks_nobody', 'admin')$$), '42501', 'I4 which does not become a real one');
ROLLBACK TO s;

-- A credential's row gives access as well: owner and workspace are in what
-- the value is bound to (I5).
UPDATE keystone_private.credentials SET owner = pg_temp.principal('ks_viewer') WHERE name = 'operators-own';
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT keystone.reveal('acme', 'operators-own')$$), 'XX001', 'I4 I5 another owner by hand does not open the value');
UPDATE keystone_private.credentials SET owner = NULL WHERE name = 'operators-own';
SELECT is(pg_temp.value_as('ks_owner', $$SELECT keystone.reveal('acme', 'operators-own')$$), 'XX001', 'I4 I5 nor does making it a shared one');
SELECT * FROM finish();
ROLLBACK;
