-- Invitations: made by holders of workspace, accepted once, worth nothing once
-- their inviter could not give the role any more.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_invitations_' || name);
	PERFORM keystone.grant_access(('regress_keystone_invitations_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_invitations_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('guest') AS guest \gset
SELECT pg_temp.person('other') AS other \gset
CREATE ROLE regress_keystone_invitations_nobody;
SELECT keystone.grant_access('regress_keystone_invitations_nobody', 'client');
CREATE FUNCTION pg_temp.members() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', p.display_name, m.role, b.display_name, CASE WHEN m.removed_at IS NOT NULL THEN 'removed' END)
	FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id JOIN keystone.workspaces w ON w.id = m.workspace_id
	LEFT JOIN keystone.principals b ON b.id = m.added_by
	WHERE w.slug = 'invitations' ORDER BY p.display_name COLLATE "C" $$;

SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.create_workspace('invitations') AS ws \gset
SELECT keystone.add_member('invitations', :'admin', 'admin');
SELECT keystone.add_member('invitations', :'viewer', 'viewer');
SELECT action FROM keystone.store('invitations', 'secret', 'the value');

-- A token, of which the table has nothing
SELECT keystone.invite_member('invitations', 'Guest@Example.com', 'operator') AS token \gset
SELECT :'token' ~ '^ksi_[0-9a-f]{64}$' AS shape;
RESET SESSION AUTHORIZATION;
SELECT email, role, expires_at - created_at BETWEEN interval '6 days 23:59' AND interval '7 days' AS week, accepted_at, cancelled_at,
	octet_length(token_mac) AS mac, position(substr(:'token', 5)::bytea in token_mac) AS plain, position(decode(substr(:'token', 5), 'hex') in token_mac) AS binary
FROM keystone.invitations WHERE workspace_id = :'ws';

-- Who sees it: holders of workspace
SELECT format('SET SESSION AUTHORIZATION regress_keystone_invitations_%s; SELECT %L AS who, count(*) FROM keystone.invitations; RESET SESSION AUTHORIZATION', r, r)
FROM unnest('{owner,admin,viewer,guest}'::text[]) r \gexec

-- Accepting: once, by anybody who has the token; it gives nothing before the
-- transaction commits, since it need not commit.
SET SESSION AUTHORIZATION regress_keystone_invitations_guest;
BEGIN;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined;
SELECT keystone.has_permission('invitations', 'view') AS view, (SELECT workspaces FROM keystone.whoami()), (SELECT count(*) FROM keystone.workspaces) AS workspaces,
	(SELECT count(*) FROM keystone.permitted_workspaces('view')) AS permitted, (SELECT count(*) FROM keystone.credentials) AS credentials;
SAVEPOINT s;
SELECT keystone.reveal('invitations', 'secret');
ROLLBACK TO s;
SELECT keystone.store('invitations', 'mine', 'x', personal => true);
ROLLBACK TO s;
SELECT keystone.remove_member('invitations', :'guest');
ROLLBACK;
SELECT keystone.has_permission('invitations', 'view') AS view;
-- ... nor when another invitation is accepted behind it
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.create_workspace('invitations-other') IS NOT NULL AS made;
SELECT keystone.invite_member('invitations-other', 'guest@example.com', 'viewer') AS second \gset
SET SESSION AUTHORIZATION regress_keystone_invitations_guest;
BEGIN;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined, keystone.accept_invitation(:'second') IS NOT NULL AS another;
SELECT keystone.has_permission('invitations', 'view') AS view, keystone.has_permission('invitations-other', 'view') AS other, workspaces FROM keystone.whoami();
ROLLBACK;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined;
SELECT jsonb_array_length(workspaces) AS workspaces, (SELECT count(*) FROM keystone.workspaces) AS listed, (SELECT count(*) FROM keystone.permitted_workspaces('view')) AS permitted,
	(SELECT count(*) FROM keystone.credentials) AS credentials
FROM keystone.whoami();
SELECT keystone.has_permission('invitations', 'rotate') AS rotate, keystone.has_permission('invitations', 'reveal') AS reveal;
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();
SELECT email, accepted_by = :'guest' AS by_guest, accepted_at IS NOT NULL AS accepted, cancelled_at FROM keystone.invitations WHERE workspace_id = :'ws';

-- A member keeps the token for somebody else.
SET SESSION AUTHORIZATION regress_keystone_invitations_admin;
SELECT keystone.invite_member('invitations', 'other@example.com', 'viewer') AS token \gset
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined;
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- Tokens that are none, all with one answer
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.remove_member('invitations', :'other');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(t) FROM unnest(ARRAY['', 'ksi_']) t;
SELECT keystone.accept_invitation('ksi_' || repeat('0', 64));
SELECT keystone.accept_invitation('ksi_' || repeat('g', 64));
SELECT keystone.accept_invitation('ksx_' || repeat('0', 64));
SELECT keystone.accept_invitation(upper(:'token'));
SELECT keystone.accept_invitation(:'token' || '0');
SELECT keystone.accept_invitation(left(:'token', -1));
SELECT keystone.accept_invitation(repeat('x', 100000));
SELECT keystone.accept_invitation(NULL);
\set VERBOSITY default
SELECT keystone.accept_invitation(:'token');
SELECT keystone.accept_invitation('ksi_' || repeat('0', 64));
\set VERBOSITY sqlstate
SET SESSION AUTHORIZATION regress_keystone_invitations_nobody;
SELECT keystone.accept_invitation(:'token');
RESET SESSION AUTHORIZATION;

-- Who may invite, and to what
SET SESSION AUTHORIZATION regress_keystone_invitations_viewer;
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer');
SELECT keystone.cancel_invitation('invitations', 'x@example.com');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer');
SELECT keystone.cancel_invitation('invitations', 'x@example.com');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.invite_member('invitations', 'x@example.com', 'owner');
SELECT keystone.invite_member('invitations', 'x@example.com', 'boss');
SELECT keystone.invite_member('invitations', 'x@example.com', NULL);
SELECT keystone.invite_member(NULL, 'x@example.com', 'viewer');
SELECT keystone.invite_member('missing', 'x@example.com', 'viewer');
SELECT keystone.set_member_role('invitations', :'viewer', 'viewer', '{workspace}');
SET SESSION AUTHORIZATION regress_keystone_invitations_viewer;
SELECT keystone.invite_member('invitations', 'x@example.com', 'operator');
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer') IS NOT NULL AS invited;
SELECT keystone.cancel_invitation('invitations', 'x@example.com');
SELECT keystone.personal_workspace() AS personal \gset
SELECT keystone.invite_member(:'personal', 'x@example.com', 'viewer');

-- Addresses
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.invite_member('invitations', NULL, 'viewer');
SELECT keystone.invite_member('invitations', '', 'viewer');
SELECT keystone.invite_member('invitations', '  ', 'viewer');
SELECT keystone.invite_member('invitations', 'example.com', 'viewer');
SELECT keystone.invite_member('invitations', '@example.com', 'viewer');
SELECT keystone.invite_member('invitations', 'x@', 'viewer');
SELECT keystone.invite_member('invitations', 'x@y@z', 'viewer');
SELECT keystone.invite_member('invitations', 'x y@example.com', 'viewer');
SELECT keystone.invite_member('invitations', E'x\u00a0y@example.com', 'viewer');
SELECT keystone.invite_member('invitations', E'x\ny@example.com', 'viewer');
SELECT keystone.invite_member('invitations', E'x\u200by@example.com', 'viewer');
SELECT keystone.invite_member('invitations', repeat('x', 243) || '@example.com', 'viewer');
SELECT keystone.invite_member('invitations', repeat('x', 242) || '@example.com', 'viewer') IS NOT NULL AS invited;
SELECT keystone.cancel_invitation('invitations', repeat('X', 242) || '@example.com');
SELECT keystone.invite_member('invitations', E' \tx@example.com\n', 'viewer') IS NOT NULL AS invited;
SELECT email FROM keystone.invitations WHERE accepted_at IS NULL AND cancelled_at IS NULL;

-- Times
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer', now() - interval '1 second');
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer', now() + interval '91 days');
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer', 'infinity');
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer', '-infinity');
SELECT keystone.invite_member('invitations', 'x@example.com', 'viewer', now() + interval '89 days') AS long \gset
SELECT keystone.invite_member('invitations', 'soon@example.com', 'viewer', clock_timestamp() + interval '100 ms') AS soon \gset
SELECT FROM pg_sleep(0.2);
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'soon');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.cancel_invitation('invitations', 'soon@example.com');

-- A new one replaces the one before, whatever the case; others stay.
SELECT keystone.invite_member('invitations', 'X@Example.Com', 'operator') AS newer \gset
SELECT keystone.invite_member('invitations', 'y@example.com', 'operator') AS kept \gset
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'long');
SELECT keystone.accept_invitation(:'newer') = :'ws' AS joined;
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.remove_member('invitations', :'other');

-- Taken back
SELECT keystone.cancel_invitation('invitations', 'X@EXAMPLE.COM');
SELECT keystone.cancel_invitation('invitations', ' Y@example.com ');
SELECT keystone.cancel_invitation('invitations', 'y@example.com');
SELECT keystone.cancel_invitation('invitations', 'not an address');
SELECT keystone.cancel_invitation('invitations', NULL);
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'kept');

-- Void once the inviter is not what it was: it has less, is disabled
SET SESSION AUTHORIZATION regress_keystone_invitations_admin;
SELECT keystone.invite_member('invitations', 'x@example.com', 'operator') AS token \gset
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.set_member_role('invitations', :'admin', 'operator');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.set_member_role('invitations', :'admin', 'viewer', '{workspace}');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.set_member_role('invitations', :'admin', 'admin');
RESET SESSION AUTHORIZATION;
SELECT keystone.disable_principal(:'admin');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
RESET SESSION AUTHORIZATION;
SELECT keystone.enable_principal(:'admin');
-- ... and while there is nothing to join
SELECT keystone.update_workspace('invitations', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.invite_member('invitations', 'z@example.com', 'viewer');
RESET SESSION AUTHORIZATION;
SELECT keystone.update_workspace('invitations', '{"status": "active"}');
-- rolled back, it is not used up
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
BEGIN;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined;
ROLLBACK;
SELECT keystone.has_permission('invitations', 'member') AS member;
SELECT keystone.accept_invitation(:'token') = :'ws' AS joined;
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();
-- Who is removed, or leaves, leaves no invitation behind, also not for later.
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.remove_member('invitations', :'other');
SELECT keystone.invite_member('invitations', 'owners@example.com', 'viewer') AS owners \gset
SET SESSION AUTHORIZATION regress_keystone_invitations_admin;
SELECT keystone.invite_member('invitations', 'admins@example.com', 'operator') AS token \gset
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.remove_member('invitations', :'admin');
SELECT email, cancelled_at IS NOT NULL AS cancelled FROM keystone.invitations WHERE email IN ('owners@example.com', 'admins@example.com') ORDER BY email;
SELECT keystone.add_member('invitations', :'admin', 'admin');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_invitations_admin;
SELECT keystone.invite_member('invitations', 'admins@example.com', 'operator') AS token \gset
SELECT keystone.remove_member('invitations', :'admin');
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.add_member('invitations', :'admin', 'admin');
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
SELECT keystone.accept_invitation(:'owners') = :'ws' AS joined;
RESET SESSION AUTHORIZATION;

-- Over HTTP nobody is to keep the token.
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
BEGIN;
SET LOCAL "request.method" = 'POST';
SELECT keystone.invite_member('invitations', 'http@example.com', 'viewer') IS NOT NULL AS invited;
SELECT current_setting('response.headers') AS headers;
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- I4: one that was made, revived or changed by hand is worth nothing.
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT keystone.remove_member('invitations', :'other');
SELECT keystone.invite_member('invitations', 'forged@example.com', 'viewer') AS forged \gset
RESET SESSION AUTHORIZATION;
UPDATE keystone.invitations SET role = 'admin' WHERE email = 'forged@example.com';
UPDATE keystone.invitations SET accepted_at = NULL, accepted_by = NULL WHERE accepted_at IS NOT NULL;
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'forged');
SELECT keystone.accept_invitation(:'token');
RESET SESSION AUTHORIZATION;
UPDATE keystone.invitations SET role = 'viewer', cancelled_at = now() WHERE email = 'forged@example.com';
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'forged');
INSERT INTO keystone.invitations SELECT * FROM keystone.invitations;
UPDATE keystone.invitations SET role = 'admin';
DELETE FROM keystone.invitations;
RESET SESSION AUTHORIZATION;
UPDATE keystone.invitations SET cancelled_at = NULL WHERE email = 'forged@example.com';

-- API keys: they give nobody rights, which would outlive them; they join
-- nothing, and are no members.
SET SESSION AUTHORIZATION regress_keystone_invitations_owner;
SELECT api_key AS key, id AS key_id FROM keystone.create_api_key('invitations', 'inviter', 'admin') \gset
SELECT keystone.add_member('invitations', :'key_id', 'viewer');
SELECT keystone.invite_member('invitations', 'key@example.com', 'viewer') AS token \gset
BEGIN;
SELECT keystone.authenticate(:'key') = :'key_id' AS key;
SAVEPOINT s;
SELECT keystone.invite_member('invitations', 'keyed@example.com', 'viewer');
ROLLBACK TO s;
SELECT keystone.add_member('invitations', :'other', 'viewer');
ROLLBACK TO s;
SELECT keystone.accept_invitation(:'token');
ROLLBACK TO s;
SELECT keystone.create_workspace('keyed');
ROLLBACK TO s;
SELECT keystone.personal_workspace();
ROLLBACK TO s;
SELECT keystone.transfer_ownership('invitations', :'guest');
ROLLBACK TO s;
SELECT keystone.set_member_role('invitations', :'guest', 'viewer');
ROLLBACK TO s;
-- what takes rights away it may
SELECT keystone.cancel_invitation('invitations', 'key@example.com');
SELECT keystone.remove_member('invitations', :'guest');
COMMIT;
SET SESSION AUTHORIZATION regress_keystone_invitations_other;
SELECT keystone.accept_invitation(:'token');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.members();

-- What the log says: no token
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'email' AS email, detail ->> 'member_role' AS role, detail ->> 'changed' AS changed, count(*)
FROM keystone.audit_log WHERE workspace = 'invitations' AND action IN ('member.invite', 'member.accept', 'member.uninvite')
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, min(seq);
SELECT count(*) FROM keystone.audit_log WHERE detail::text LIKE '%ksi\_%' OR detail::text LIKE '%' || substr(:'token', 5) || '%';

-- no forged row stays
DELETE FROM keystone.invitations WHERE workspace_id = :'ws';
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
SELECT keystone.revoke_access(('regress_keystone_invitations_' || r)::name, 'client')
FROM unnest('{owner,admin,viewer,guest,other,nobody}'::text[]) r;
DROP ROLE regress_keystone_invitations_owner, regress_keystone_invitations_admin, regress_keystone_invitations_viewer,
	regress_keystone_invitations_guest, regress_keystone_invitations_other, regress_keystone_invitations_nobody;
