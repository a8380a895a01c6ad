-- Members: what each role may do, and who may give what to whom.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE ROLE regress_keystone_members_dba;
SELECT keystone.grant_access('regress_keystone_members_dba', 'admin');
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_members_' || name);
	PERFORM keystone.grant_access(('regress_keystone_members_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_members_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('auditor') AS auditor \gset
SELECT pg_temp.person('service') AS service \gset
SELECT pg_temp.person('stranger') AS stranger \gset
-- the members that a superuser sees, for what a step changed
CREATE FUNCTION pg_temp.members() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', p.display_name, m.role, nullif(m.extra_permissions::text, '{}'), CASE WHEN m.removed_at IS NOT NULL THEN 'removed' END)
	FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id JOIN keystone.workspaces w ON w.id = m.workspace_id
	WHERE w.slug = 'members' ORDER BY p.display_name COLLATE "C" $$;

SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.create_workspace('members') AS ws \gset
SELECT keystone.add_member('members', :'admin', 'admin');
SELECT keystone.add_member('members', :'operator', 'operator');
SELECT keystone.add_member(:'ws', :'viewer', 'viewer');
SELECT keystone.add_member('members', :'auditor', 'auditor');
SELECT keystone.add_member('members', :'service', 'service', reason => 'nightly job', context => '{"workflow": "w"}');

-- The role matrix of DESIGN 5, by has_permission() of each
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE matrix (role text, permission text, has boolean);
GRANT ALL ON matrix TO PUBLIC;
SELECT format('SET SESSION AUTHORIZATION regress_keystone_members_%s; INSERT INTO matrix SELECT %L, p, keystone.has_permission(''members'', p)
	FROM unnest(''{view,reveal,store,rotate,approve,audit,policy,workspace,billing,member}''::text[]) p; RESET SESSION AUTHORIZATION', r, r)
FROM unnest('{owner,admin,operator,viewer,auditor,service,stranger}'::text[]) r \gexec
SELECT role, string_agg(permission, ' ' ORDER BY array_position('{view,reveal,store,rotate,approve,audit,policy,workspace,billing,member}', permission))
	FILTER (WHERE has) AS has, count(*) FILTER (WHERE has IS NULL) AS nulls
FROM matrix GROUP BY role ORDER BY array_position('{owner,admin,operator,viewer,auditor,service,stranger}', role);

-- Who sees whom: members with view see all members; the auditor itself; a stranger nobody.
SELECT format('SET SESSION AUTHORIZATION regress_keystone_members_%s; SELECT %L AS who, (SELECT count(*) FROM keystone.members) AS members,
	(SELECT count(*) FROM keystone.principals) AS principals, (SELECT count(*) FROM keystone.workspaces) AS workspaces; RESET SESSION AUTHORIZATION', r, r)
FROM unnest('{owner,viewer,auditor,service,stranger}'::text[]) r \gexec

-- Members change by holders of workspace only.
SET SESSION AUTHORIZATION regress_keystone_members_operator;
SELECT keystone.add_member('members', :'stranger', 'viewer');
SELECT keystone.set_member_role('members', :'viewer', 'operator');
SELECT keystone.remove_member('members', :'viewer');
SELECT keystone.set_member_role('members', :'operator', 'admin');
SET SESSION AUTHORIZATION regress_keystone_members_auditor;
SELECT keystone.add_member('members', :'stranger', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_members_stranger;
SELECT keystone.add_member('members', :'stranger', 'viewer');
SELECT keystone.remove_member('members', :'viewer');
SELECT keystone.transfer_ownership('members', :'stranger');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- Nobody gives more than they have: an admin makes no owner and gives no billing.
SET SESSION AUTHORIZATION regress_keystone_members_admin;
SELECT keystone.add_member('members', :'stranger', 'owner');
SELECT keystone.add_member('members', :'stranger', 'viewer', '{billing}');
SELECT keystone.set_member_role('members', :'viewer', 'owner');
SELECT keystone.set_member_role('members', :'admin', 'owner');
SELECT keystone.set_member_role('members', :'viewer', 'viewer', '{billing}');
SELECT keystone.set_member_role('members', :'owner', 'viewer');
SELECT keystone.remove_member('members', :'owner');
SELECT keystone.transfer_ownership('members', :'admin');
SELECT keystone.set_member_role('members', :'viewer', 'viewer', '{workspace,audit,audit}');
SELECT keystone.set_member_role('members', :'operator', 'admin');
SELECT keystone.set_member_role('members', :'operator', 'operator');
-- a viewer with workspace gives what it has: view and audit, no rotate, no reveal
SET SESSION AUTHORIZATION regress_keystone_members_viewer;
SELECT array_agg(p) FILTER (WHERE keystone.has_permission('members', p)) AS has
FROM unnest('{view,reveal,store,rotate,approve,audit,policy,workspace,billing,member}'::text[]) p;
SELECT keystone.add_member('members', :'stranger', 'operator');
SELECT keystone.add_member('members', :'stranger', 'service');
SELECT keystone.add_member('members', :'stranger', 'viewer', '{reveal}');
SELECT keystone.set_member_role('members', :'viewer', 'viewer', '{workspace,audit,reveal}');
SELECT keystone.add_member('members', :'stranger', 'auditor', '{view}');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- I12
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.add_member('members', :'stranger', 'viewer');
SELECT keystone.add_member('members', '00000000-0000-4000-8000-000000000000', 'viewer');
SELECT keystone.set_member_role('members', '00000000-0000-4000-8000-000000000000', 'viewer');
SELECT keystone.remove_member('members', '00000000-0000-4000-8000-000000000000');
SELECT keystone.transfer_ownership('members', '00000000-0000-4000-8000-000000000000');
SELECT keystone.set_member_role('members', :'stranger', 'boss');
SELECT keystone.set_member_role('members', :'stranger', 'api_key');
SELECT keystone.set_member_role('members', :'stranger', 'viewer', '{everything}');
SELECT keystone.set_member_role('members', :'stranger', 'viewer', '{member}');
SELECT keystone.set_member_role('members', :'stranger', 'viewer', '{NULL}');
SELECT keystone.set_member_role('members', :'stranger', 'viewer', '{{audit}}');
SELECT keystone.set_member_role('members', :'stranger', 'viewer', NULL);
SELECT keystone.set_member_role('missing', :'stranger', 'viewer');

-- The last owner stays; with a second one, it may go.
SELECT keystone.remove_member('members', :'owner');
SELECT keystone.set_member_role('members', :'owner', 'admin');
SELECT keystone.set_member_role('members', :'owner', 'owner');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_keystone_members_dba;
SELECT keystone.remove_member('members', :'owner');
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.set_member_role('members', :'admin', 'owner');
SET SESSION AUTHORIZATION regress_keystone_members_admin;
SELECT keystone.has_permission('members', 'billing');
SELECT keystone.set_member_role('members', :'owner', 'operator', '{billing}');
SELECT keystone.remove_member('members', :'admin');
SELECT keystone.transfer_ownership('members', :'admin');
SELECT keystone.transfer_ownership('members', :'owner');
SELECT keystone.transfer_ownership('members', :'owner');
SELECT keystone.has_permission('members', 'billing');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- An owner who is disabled stays an owner: only an owner changes that, and one
-- who is not disabled stays.
SELECT keystone.disable_principal(:'owner');
SET SESSION AUTHORIZATION regress_keystone_members_admin;
SELECT keystone.remove_member('members', :'owner');
SELECT keystone.set_member_role('members', :'owner', 'viewer');
SELECT keystone.add_member('members', :'owner', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_members_dba;
SELECT keystone.remove_member('members', :'owner');
RESET SESSION AUTHORIZATION;
SELECT keystone.enable_principal(:'owner');
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.set_member_role('members', :'admin', 'owner');
RESET SESSION AUTHORIZATION;
SELECT keystone.disable_principal(:'admin');
-- the last one who is enabled, beside a disabled one
SET SESSION AUTHORIZATION regress_keystone_members_dba;
SELECT keystone.remove_member('members', :'owner');
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.remove_member('members', :'owner');
SELECT keystone.set_member_role('members', :'owner', 'admin');
-- the disabled one goes, by an owner or the admin profile
BEGIN;
SELECT keystone.remove_member('members', :'admin');
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_members_dba;
BEGIN;
SELECT keystone.remove_member('members', :'admin');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT keystone.enable_principal(:'admin');
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.set_member_role('members', :'admin', 'admin');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- Leaving, a tombstone, coming back with a new role and nothing of the old
SET SESSION AUTHORIZATION regress_keystone_members_viewer;
SELECT keystone.remove_member('members', :'viewer');
SELECT keystone.has_permission('members', 'member'), (SELECT count(*) FROM keystone.members) AS members, (SELECT count(*) FROM keystone.workspaces) AS workspaces;
SELECT keystone.remove_member('members', :'viewer');
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.set_member_role('members', :'viewer', 'viewer');
SELECT count(*) FROM keystone.members WHERE principal_id = :'viewer';
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.add_member('members', :'viewer', 'operator');
SET SESSION AUTHORIZATION regress_keystone_members_viewer;
SELECT array_agg(p) FILTER (WHERE keystone.has_permission('members', p)) AS has
FROM unnest('{view,reveal,store,rotate,approve,audit,policy,workspace,billing,member}'::text[]) p;

-- The admin profile without membership removes, and does nothing else.
SET SESSION AUTHORIZATION regress_keystone_members_dba;
SELECT keystone.remove_member('members', :'stranger');
SELECT keystone.remove_member('members', :'stranger');
SELECT keystone.remove_member('missing', :'stranger');
SELECT keystone.add_member('members', :'stranger', 'viewer');
RESET SESSION AUTHORIZATION;
-- ... also when it is a client as well, with a principal
SELECT keystone.grant_access('regress_keystone_members_dba', 'client');
SELECT keystone.register_principal('Dba', db_role => 'regress_keystone_members_dba') AS dba \gset
SET SESSION AUTHORIZATION regress_keystone_members_dba;
SELECT keystone.add_member('members', :'dba', 'viewer');
SELECT keystone.set_member_role('members', :'viewer', 'viewer');
SELECT keystone.transfer_ownership('members', :'dba');
SELECT keystone.remove_member('members', :'service');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();
SELECT p.display_name, b.display_name AS added_by FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id
LEFT JOIN keystone.principals b ON b.id = m.added_by
WHERE m.workspace_id = :'ws' AND m.removed_at IS NOT NULL ORDER BY 1;

-- Services: a holder of workspace registers one that nobody is yet, others none.
SET SESSION AUTHORIZATION regress_keystone_members_admin;
SELECT keystone.register_principal('Nightly', 'service') AS nightly \gset
SELECT keystone.register_principal('Nightly', 'service', id => :'ws');
SELECT keystone.register_principal('Nightly', 'service', db_role => 'regress_keystone_members_dba');
SELECT keystone.register_principal('Nightly', 'service', external_id => 'x');
SELECT keystone.register_principal('Nightly', 'user');
SELECT keystone.add_member('members', :'nightly', 'service');
SET SESSION AUTHORIZATION regress_keystone_members_operator;
SELECT keystone.register_principal('Nightly', 'service');
RESET SESSION AUTHORIZATION;

-- I4: a member made or changed by hand has nothing; so has one taken from its grave.
INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac)
SELECT workspace_id, :'dba', 'owner', row_mac FROM keystone.members WHERE workspace_id = :'ws' AND principal_id = :'owner';
UPDATE keystone.members SET role = 'owner' WHERE workspace_id = :'ws' AND principal_id = :'operator';
UPDATE keystone.members SET extra_permissions = '{reveal}' WHERE workspace_id = :'ws' AND principal_id = :'auditor';
UPDATE keystone.members SET removed_at = NULL WHERE workspace_id = :'ws' AND principal_id = :'stranger';
TRUNCATE matrix;
SELECT format('SET SESSION AUTHORIZATION regress_keystone_members_%s; INSERT INTO matrix SELECT %L, ''member'', keystone.has_permission(''members'', ''member''); RESET SESSION AUTHORIZATION', r, r)
FROM unnest('{dba,operator,auditor,stranger,owner}'::text[]) r \gexec
SELECT role, has FROM matrix ORDER BY role;
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
-- A forged row is no member: adding or removing it repairs.
SET SESSION AUTHORIZATION regress_keystone_members_owner;
SELECT keystone.add_member('members', :'auditor', 'auditor');
SELECT keystone.add_member('members', :'operator', 'operator');
SELECT keystone.remove_member('members', :'dba');
SELECT keystone.remove_member('members', :'stranger');
SET SESSION AUTHORIZATION regress_keystone_members_operator;
SELECT keystone.has_permission('members', 'rotate');
RESET SESSION AUTHORIZATION;
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
SELECT * FROM pg_temp.members();

SELECT keystone.revoke_access(('regress_keystone_members_' || r)::name, 'client')
FROM unnest('{owner,admin,operator,viewer,auditor,service,stranger,dba}'::text[]) r;
SELECT keystone.revoke_access('regress_keystone_members_dba', 'admin');
DROP ROLE regress_keystone_members_owner, regress_keystone_members_admin, regress_keystone_members_operator, regress_keystone_members_viewer,
	regress_keystone_members_auditor, regress_keystone_members_service, regress_keystone_members_stranger, regress_keystone_members_dba;
