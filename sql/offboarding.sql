-- What becomes of a workspace: update_workspace(), offboarding and taking that
-- back.  Destroying what it holds is the housekeeper's.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_offboarding_' || name);
	PERFORM keystone.grant_access(('regress_keystone_offboarding_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_offboarding_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('admin') AS admin \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('stranger') AS stranger \gset
CREATE ROLE regress_keystone_offboarding_dba;
SELECT keystone.grant_access('regress_keystone_offboarding_dba', 'admin');
CREATE FUNCTION pg_temp.refused(changes jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keystone.update_workspace('offboarding', changes);
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', slug, status, 'by ' || (SELECT display_name FROM keystone.principals WHERE id = status_set_by),
		CASE WHEN purge_after IS NOT NULL THEN 'to be purged' END)
	FROM keystone.workspaces WHERE display_name = 'Offboarding' $$;
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.create_workspace('offboarding', 'Offboarding') AS ws \gset
SELECT keystone.add_member('offboarding', :'admin', 'admin');
SELECT keystone.add_member('offboarding', :'viewer', 'viewer');
SELECT credential AS c FROM keystone.store('offboarding', 'token', 'the value') \gset

-- Names: holders of workspace
SET SESSION AUTHORIZATION regress_keystone_offboarding_admin;
SELECT keystone.update_workspace('offboarding', '{"contact": "ops@example.com"}');
SELECT keystone.update_workspace(:'ws', '{"slug": "renamed", "display_name": "Renamed"}');
SELECT slug, display_name, contact, status FROM keystone.workspaces WHERE id = :'ws';
SELECT keystone.reveal('renamed', 'token');
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.update_workspace('renamed', '{"slug": "offboarding", "display_name": "Offboarding", "contact": null}');
SELECT slug, display_name, contact, status FROM keystone.workspaces WHERE id = :'ws';
SELECT keystone.update_workspace('offboarding', '{}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_viewer;
SELECT keystone.update_workspace('offboarding', '{"display_name": "Mine"}');
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.update_workspace('offboarding', '{}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_stranger;
SELECT keystone.update_workspace('offboarding', '{"display_name": "Mine"}');
SELECT keystone.update_workspace('missing', '{"display_name": "Mine"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"display_name": "Mine"}');
SELECT keystone.update_workspace('offboarding', '{"status": "active", "contact": null}');
SELECT keystone.update_workspace('offboarding', '{}');
SELECT keystone.update_workspace('missing', '{"status": "active"}');
SELECT keystone.update_workspace('00000000-0000-4000-8000-000000000000', '{"status": "active"}');

-- What is no change
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT changes, keystone.update_workspace('offboarding', changes) FROM (VALUES ('{"personal_of": null}'::jsonb)) v (changes);
SELECT changes, pg_temp.refused(changes) FROM unnest(ARRAY['[]', '"x"', 'null', NULL, '{"purge_after": null}', '{"row_mac": ""}', '{"display_name": null}',
	'{"display_name": ""}', '{"display_name": 1}', '{"display_name": {}}', '{"slug": null}', '{"slug": ""}', '{"slug": "Upper"}', '{"slug": "a--b"}', '{"slug": 1}',
	'{"slug": "personal-x"}', '{"slug": "12345678-1234-4234-8234-123456789012"}', '{"contact": ""}', '{"contact": ["a"]}', '{"status": null}',
	'{"status": "closed"}', '{"status": ""}']::jsonb[]) changes;
SELECT pg_temp.refused(jsonb_build_object('contact', repeat('x', 256))) AS long_contact, pg_temp.refused(jsonb_build_object('slug', repeat('x', 64))) AS long_slug;
SELECT keystone.create_workspace('offboarding-taken') IS NOT NULL AS made;
SELECT keystone.update_workspace('offboarding', '{"slug": "offboarding-taken"}');
SELECT keystone.update_workspace('offboarding', '{"slug": "offboarding"}');
SELECT keystone.personal_workspace() AS personal \gset
SELECT keystone.update_workspace(:'personal', '{"slug": "mine"}');
SELECT keystone.update_workspace(:'personal', '{"display_name": "Mine"}');
-- ... and stays; an administrator may end it
SELECT slug FROM keystone.workspaces WHERE id = :'personal' \gset personal_
SELECT keystone.offboard_workspace(:'personal', confirm => :'personal_slug');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
BEGIN;
SELECT keystone.offboard_workspace(:'personal', confirm => :'personal_slug') IS NOT NULL AS offboarded;
ROLLBACK;
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;

-- Status: an owner suspends, and ends what a member has suspended.
SET SESSION AUTHORIZATION regress_keystone_offboarding_admin;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "trial"}');
SELECT keystone.update_workspace('offboarding', '{"status": "cancelled"}');
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.store('offboarding', 'other', 'x');
SELECT count(*) FROM keystone.credentials;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.reveal('offboarding', 'token');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
-- ... what an administrator has suspended, only that ends
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.reveal('offboarding', 'token');
-- ... not by way of offboarding either
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding') IS NOT NULL AS offboarded;
SELECT keystone.cancel_offboarding('offboarding');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.cancel_offboarding('offboarding');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
-- ... nor does an owner end a trial
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "trial"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "cancelled"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.cancel_offboarding('offboarding');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
-- a member's suspension that an administrator makes its own
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');

-- Offboarding: an owner, who repeats the slug
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT api_key AS key FROM keystone.create_api_key('offboarding', 'job', 'service') \gset
SELECT keystone.invite_member('offboarding', 'guest@example.com', 'viewer') AS token \gset
SET SESSION AUTHORIZATION regress_keystone_offboarding_admin;
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding');
SELECT keystone.cancel_offboarding('offboarding');
SET SESSION AUTHORIZATION regress_keystone_offboarding_stranger;
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding');
SELECT keystone.cancel_offboarding('offboarding');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.cancel_offboarding('offboarding');
SELECT keystone.offboard_workspace('offboarding');
SELECT keystone.offboard_workspace('offboarding', confirm => 'Offboarding');
SELECT keystone.offboard_workspace(:'ws', confirm => :'ws');
SELECT keystone.offboard_workspace('offboarding', NULL, 'offboarding');
SELECT keystone.offboard_workspace('offboarding', '-1 second', 'offboarding');
SELECT keystone.offboard_workspace('offboarding', '10 years 1 day', 'offboarding');
SELECT keystone.offboard_workspace('offboarding', '100000000 years', 'offboarding');
SELECT keystone.offboard_workspace('offboarding', '-100000000 years', 'offboarding');
SELECT keystone.offboard_workspace('offboarding', '-1000 years 12000 months -1 hour', 'offboarding');
SELECT keystone.offboard_workspace(NULL, confirm => 'offboarding');
\set VERBOSITY default
SELECT keystone.offboard_workspace('offboarding', confirm => 'something else');
\set VERBOSITY sqlstate
BEGIN;
SELECT keystone.offboard_workspace('offboarding', '10 years', 'offboarding') - (now() + interval '10 years') < interval '1 minute' AS ten_years;
SELECT keystone.has_permission('offboarding', 'member') AS member;
ROLLBACK;
SELECT at - now() BETWEEN interval '23:59' AND interval '24:01' AS day FROM keystone.offboard_workspace('offboarding', '1 day', 'offboarding') at;
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
SELECT revoked_at IS NOT NULL AS revoked FROM keystone_private.api_keys WHERE workspace_id = :'ws';
SELECT email, cancelled_at IS NOT NULL AS cancelled FROM keystone.invitations WHERE workspace_id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_offboarding_stranger;
SELECT keystone.authenticate(:'key');
SELECT keystone.accept_invitation(:'token');
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.rotate(:'c', 'x');
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding');
SELECT slug, status FROM keystone.workspaces WHERE id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "active"}');
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding');
-- ... and back: values again, keys not
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.cancel_offboarding('offboarding');
SELECT keystone.cancel_offboarding('offboarding');
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.authenticate(:'key');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.state();
-- By an administrator: the owner cannot take it back.
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.offboard_workspace('missing', confirm => 'missing');
SELECT keystone.offboard_workspace('offboarding', confirm => 'x');
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding') IS NOT NULL AS offboarded;
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.cancel_offboarding('offboarding');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.cancel_offboarding('offboarding');

-- I4: a status, a date, a slug by hand; and no valid MAC for them here.
RESET SESSION AUTHORIZATION;
UPDATE keystone.workspaces SET status_set_by = :'owner' WHERE id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.reveal('offboarding', 'token');
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SET SESSION AUTHORIZATION regress_keystone_offboarding_dba;
SELECT keystone.update_workspace('offboarding', '{"status": "suspended"}');
SELECT keystone.offboard_workspace('offboarding', confirm => 'offboarding');
SELECT keystone.cancel_offboarding('offboarding');
RESET SESSION AUTHORIZATION;
UPDATE keystone.workspaces SET status_set_by = NULL, status = 'cancelled', purge_after = now() - interval '1 day' WHERE id = :'ws';
SELECT keystone.cancel_offboarding('offboarding');
UPDATE keystone.workspaces SET status = 'active', purge_after = NULL WHERE id = :'ws';
SET SESSION AUTHORIZATION regress_keystone_offboarding_owner;
SELECT keystone.reveal('offboarding', 'token');

-- Once the time is over there is no way back.
SELECT keystone.offboard_workspace('offboarding', '0', 'offboarding') <= clock_timestamp() AS over;
SELECT keystone.cancel_offboarding('offboarding');
RESET SESSION AUTHORIZATION;
SELECT keystone.cancel_offboarding('offboarding');

-- The log
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail ->> 'status' AS status, detail ->> 'changed' AS changed, detail ? 'purge_after' AS purge_after, count(*)
FROM keystone.audit_log WHERE object = :'ws' AND action ~ '^workspace' AND action <> 'workspace.purge' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;

SELECT keystone.revoke_access(('regress_keystone_offboarding_' || r)::name, 'client')
FROM unnest('{owner,admin,viewer,stranger}'::text[]) r;
SELECT keystone.revoke_access('regress_keystone_offboarding_dba', 'admin');
DROP ROLE regress_keystone_offboarding_owner, regress_keystone_offboarding_admin, regress_keystone_offboarding_viewer,
	regress_keystone_offboarding_stranger, regress_keystone_offboarding_dba;
