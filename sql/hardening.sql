-- What a client with more SQL than it should have, or a DBA with rights on the
-- tables but no superuser, tries against the vault.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
SET client_min_messages = warning;
CREATE ROLE regress_keystone_hardening_alice LOGIN;
CREATE ROLE regress_keystone_hardening_bob LOGIN;
CREATE ROLE regress_keystone_hardening_dba LOGIN BYPASSRLS;
CREATE ROLE regress_keystone_hardening_gone LOGIN;
SELECT keystone.grant_access(('regress_keystone_hardening_' || r)::name, 'client') FROM unnest('{alice,bob,dba}'::text[]) r;
SELECT keystone.register_principal('Alice', db_role => 'regress_keystone_hardening_alice') AS alice,
       keystone.register_principal('Bob', db_role => 'regress_keystone_hardening_bob') AS bob \gset
GRANT USAGE ON SCHEMA keystone_private TO regress_keystone_hardening_dba;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO regress_keystone_hardening_dba;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone TO regress_keystone_hardening_dba;

SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT keystone.create_workspace('hardening') IS NOT NULL AS made;
SELECT credential AS prod FROM keystone.store('hardening', 'Prod', 'prod value', metadata => '{"a": 1}') \gset
SELECT credential AS test FROM keystone.store('hardening', 'Test', 'test value') \gset
SELECT credential AS mine FROM keystone.store('hardening', 'mine', 'alice''s own', personal => true) \gset

-- I4: while the vault is open, nothing is believed that cannot be verified.
SET SESSION AUTHORIZATION regress_keystone_hardening_dba;
BEGIN;
DELETE FROM keystone_private.system_keys;
UPDATE keystone.principals SET db_role = 'regress_keystone_hardening_dba' WHERE display_name = 'Alice';
SELECT keystone.reveal('hardening', 'mine');
ROLLBACK;
\c -
SET SESSION AUTHORIZATION regress_keystone_hardening_dba;
BEGIN;
DELETE FROM keystone_private.system_keys;
UPDATE keystone.principals SET db_role = 'regress_keystone_hardening_dba' WHERE display_name = 'Alice';
SELECT source, workspaces FROM keystone.whoami();
SELECT keystone.create_workspace('hardening-two');
ROLLBACK;
-- Nor is what was read while sealed used when open again.
BEGIN;
UPDATE keystone_private.root_keys SET check_value = '\x00';
UPDATE keystone.principals SET db_role = 'regress_keystone_hardening_dba' WHERE display_name = 'Alice';
INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac) VALUES ('regress_keystone_hardening_dba', 'admin', 'me', '\x00');
SELECT sealed FROM keystone.seal_status;
SELECT source, jsonb_array_length(workspaces) AS visible FROM keystone.whoami();
SELECT keystone.reveal('hardening', 'mine');
ROLLBACK;
SELECT source FROM keystone.whoami();
SELECT keystone.grant_access('regress_keystone_hardening_dba', 'admin');

-- I5: names are looked up by a column that is held against the name.
RESET SESSION AUTHORIZATION;
BEGIN;
UPDATE keystone_private.credentials SET folded_name = 'swap' WHERE id = :'prod';
UPDATE keystone_private.credentials SET folded_name = 'prod' WHERE id = :'test';
UPDATE keystone_private.credentials SET folded_name = 'test' WHERE id = :'prod';
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SAVEPOINT s;
SELECT keystone.reveal('hardening', 'prod');
ROLLBACK TO s;
SELECT ok, count(*) FROM keystone.verify_all('hardening') GROUP BY ok ORDER BY ok;
ROLLBACK;
-- The current version is the one that says so of itself.
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT version FROM keystone.rotate(:'prod', 'prod value 2');
RESET SESSION AUTHORIZATION;
BEGIN;
UPDATE keystone_private.credentials SET current_version = 1 WHERE id = :'prod';
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SAVEPOINT s;
SELECT keystone.reveal('hardening', 'prod');
ROLLBACK TO s;
SELECT version, ok FROM keystone.verify_all('hardening') WHERE credential = :'prod' ORDER BY version;
ROLLBACK;
-- I11: a row that is too long for its address is one bad row.
RESET SESSION AUTHORIZATION;
BEGIN;
UPDATE keystone_private.credentials SET name = repeat('x', 2000), folded_name = repeat('x', 2000) WHERE id = :'test';
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT ok, count(*) FROM keystone.verify_all('hardening') GROUP BY ok ORDER BY ok;
SELECT value, problem FROM keystone.reveal_env('hardening') ORDER BY value;
ROLLBACK;
-- Numbers that are equal but written differently are different data.
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT version, action FROM keystone.store('hardening', 'prod', 'prod value 3', metadata => '{"a": 1.0}');
SELECT keystone.update_metadata(:'prod', '{"metadata": {"a": 1.00}, "description": "x"}');
SELECT bool_and(ok) FROM keystone.verify_all('hardening');
SELECT keystone.reveal('hardening', 'prod'), keystone.reveal('hardening', 'prod', version => 1);

-- Each workspace has its own id in whoami().
BEGIN;
SELECT keystone.create_workspace('hardening-two') IS NOT NULL AS made;
SELECT count(DISTINCT w ->> 'id') AS ids, count(*) AS workspaces FROM keystone.whoami(), jsonb_array_elements(workspaces) w;
ROLLBACK;

-- Nobody takes the slug of another's personal workspace, and it stays its owner's.
SELECT keystone.create_workspace('personal-' || :'bob');
SET SESSION AUTHORIZATION regress_keystone_hardening_bob;
SELECT keystone.personal_workspace() AS personal \gset
SELECT keystone.add_member(:'personal', :'alice', 'admin');
SELECT keystone.set_member_role(:'personal', :'alice', 'owner');
SELECT keystone.transfer_ownership(:'personal', :'alice');
SELECT keystone.remove_member(:'personal', :'bob');
SELECT keystone.has_permission(:'personal', 'billing');

-- The requests of a PostgREST share a login role, which is nobody then.
BEGIN;
SET LOCAL request.jwt.claims = '{"sub": "somebody"}';
SELECT source, reason FROM keystone.whoami();
SELECT keystone.personal_workspace();
ROLLBACK;

-- Principals.
RESET SESSION AUTHORIZATION;
SELECT keystone.register_principal('Nil', id => '00000000-0000-0000-0000-000000000000');
SELECT keystone.grant_access('regress_keystone_hardening_bob', 'admin');
SET SESSION AUTHORIZATION regress_keystone_hardening_bob;
SELECT keystone.register_principal('Early', id => '11111111-1111-4111-8111-111111111111', db_role => 'regress_keystone_hardening_gone');
RESET SESSION AUTHORIZATION;

-- A profile can be taken from a role that was dropped.
SELECT keystone.grant_access('regress_keystone_hardening_gone', 'admin');
DROP OWNED BY regress_keystone_hardening_gone;
DROP ROLE regress_keystone_hardening_gone;
SELECT keystone.revoke_access('regress_keystone_hardening_gone', 'admin');
CREATE ROLE regress_keystone_hardening_gone LOGIN;
SET SESSION AUTHORIZATION regress_keystone_hardening_gone;
SELECT keystone.provider_define('x', 'no_auth');
RESET SESSION AUTHORIZATION;

-- A look for foreign triggers that is cut short counts for nothing.
CREATE FUNCTION public.regress_keystone_hardening_ran() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran' USING ERRCODE = 'XX999'; END $$;
CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON keystone_private.credentials FOR EACH ROW EXECUTE FUNCTION public.regress_keystone_hardening_ran();
CREATE FUNCTION public.regress_keystone_hardening_cut() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keystone.store('hardening', 'cut', 'value');
EXCEPTION WHEN query_canceled OR insufficient_privilege THEN NULL;
END $$;
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT keystone.has_permission('hardening', 'store');
-- once without, so that the time is not spent on compiling the function
SELECT public.regress_keystone_hardening_cut();
SET statement_timeout = 1;
SELECT public.regress_keystone_hardening_cut();
SET statement_timeout = 2;
SELECT public.regress_keystone_hardening_cut();
SET statement_timeout = 3;
SELECT public.regress_keystone_hardening_cut();
RESET statement_timeout;
SELECT keystone.store('hardening', 'cut', 'value');
RESET SESSION AUTHORIZATION;
DROP TRIGGER evil ON keystone_private.credentials;
DROP FUNCTION public.regress_keystone_hardening_ran(), public.regress_keystone_hardening_cut();

-- A named version is the caller's own rather than the shared one's.
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT action FROM keystone.store('hardening', 'both', 'shared');
SELECT action FROM keystone.store('hardening', 'both', 'own', personal => true, state => 'pending');
SELECT keystone.reveal('hardening', 'both'), keystone.reveal('hardening', 'both', version => 1);
RESET SESSION AUTHORIZATION;

-- A foreign key that would let a change of ours run somebody's trigger as the
-- owner, or that would keep a ciphertext from being destroyed.
\c -
CREATE SCHEMA regress_keystone_hardening AUTHORIZATION regress_keystone_hardening_dba;
SET SESSION AUTHORIZATION regress_keystone_hardening_dba;
CREATE TABLE regress_keystone_hardening.cascade_to (w uuid, c uuid, v int, FOREIGN KEY (w, c, v) REFERENCES keystone_private.ciphertext ON DELETE CASCADE);
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT keystone.destroy_version(:'prod', 1);
RESET SESSION AUTHORIZATION;
SELECT ok FROM keystone.health WHERE check_name = 'foreign objects';
ALTER TABLE regress_keystone_hardening.cascade_to DROP CONSTRAINT cascade_to_w_c_v_fkey, ADD FOREIGN KEY (w, c, v) REFERENCES keystone_private.ciphertext;
SELECT ok FROM keystone.health WHERE check_name = 'foreign objects';
DROP TABLE regress_keystone_hardening.cascade_to;
SET SESSION AUTHORIZATION regress_keystone_hardening_alice;
SELECT keystone.destroy_version(:'prod', 1);
RESET SESSION AUTHORIZATION;

SELECT keystone.revoke_access(('regress_keystone_hardening_' || r)::name, 'client') FROM unnest('{alice,bob,dba}'::text[]) r;
SELECT keystone.revoke_access('regress_keystone_hardening_bob', 'admin');
DROP SCHEMA regress_keystone_hardening;
DROP OWNED BY regress_keystone_hardening_dba;
DROP ROLE regress_keystone_hardening_alice, regress_keystone_hardening_bob, regress_keystone_hardening_dba, regress_keystone_hardening_gone;
