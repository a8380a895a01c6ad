-- Attacks on the audit log by roles with more privileges than a client.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null '(null)'
SET client_min_messages = warning;
CREATE ROLE regress_keystone_attacks_dba LOGIN;
CREATE ROLE regress_keystone_attacks_ana LOGIN;
CREATE ROLE regress_keystone_attacks_ben LOGIN;
SELECT keystone.grant_access(r, 'client') FROM unnest('{regress_keystone_attacks_ana,regress_keystone_attacks_ben}'::name[]) r;
CREATE SCHEMA regress_keystone_attacks;
GRANT ALL ON SCHEMA regress_keystone_attacks TO PUBLIC;
GRANT USAGE ON SCHEMA keystone, keystone_private TO regress_keystone_attacks_dba;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO regress_keystone_attacks_dba;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone, keystone_private TO regress_keystone_attacks_dba;

--- I3: the trigger function of the vault's tables works on no other table
SET SESSION AUTHORIZATION regress_keystone_attacks_dba;
CREATE TABLE regress_keystone_attacks.ciphertext (workspace_id uuid, credential_id uuid, version int, key_version int, aad_digest int8, envelope int8);
CREATE TRIGGER x AFTER INSERT ON regress_keystone_attacks.ciphertext FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row();
INSERT INTO regress_keystone_attacks.ciphertext VALUES (gen_random_uuid(), gen_random_uuid(), 1, 1, 81985529216486895, 4096);
CREATE TABLE regress_keystone_attacks.members (workspace_id uuid, principal_id uuid, role text, extra_permissions text[], removed_at timestamptz);
CREATE TRIGGER x AFTER INSERT ON regress_keystone_attacks.members FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row();
INSERT INTO regress_keystone_attacks.members VALUES (gen_random_uuid(), gen_random_uuid(), 'owner');
CREATE TRIGGER y AFTER INSERT ON regress_keystone_attacks.members FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate();
ALTER TABLE regress_keystone_attacks.members DISABLE TRIGGER x;
INSERT INTO regress_keystone_attacks.members VALUES (gen_random_uuid(), gen_random_uuid(), 'owner');
RESET SESSION AUTHORIZATION;
DROP TABLE regress_keystone_attacks.ciphertext, regress_keystone_attacks.members;

--- the privilege TRIGGER does not replace the audit triggers of somebody's table
SET SESSION AUTHORIZATION regress_keystone_attacks_ana;
CREATE TABLE regress_keystone_attacks.pay (id int PRIMARY KEY, amount int);
SELECT keystone.audit_table('regress_keystone_attacks.pay', '{amount}');
GRANT ALL ON regress_keystone_attacks.pay TO regress_keystone_attacks_ben;
SET SESSION AUTHORIZATION regress_keystone_attacks_ben;
CREATE FUNCTION regress_keystone_attacks.noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER keystone_audit AFTER INSERT OR UPDATE OR DELETE ON regress_keystone_attacks.pay FOR EACH ROW EXECUTE FUNCTION regress_keystone_attacks.noop();
CREATE OR REPLACE TRIGGER keystone_audit_truncate AFTER TRUNCATE ON regress_keystone_attacks.pay FOR EACH STATEMENT EXECUTE FUNCTION regress_keystone_attacks.noop();
INSERT INTO regress_keystone_attacks.pay VALUES (1, 1000000);
TRUNCATE regress_keystone_attacks.pay;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, db_role, detail ->> 'new.amount' AS amount FROM keystone.audit_log WHERE detail ->> 'table' = 'regress_keystone_attacks.pay' ORDER BY seq;

--- a table that takes over a name sees nothing of the one that had it
SET SESSION AUTHORIZATION regress_keystone_attacks_ana;
SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'table' = 'regress_keystone_attacks.pay' AND db_role <> 'regress_keystone_attacks_ana';
ALTER TABLE regress_keystone_attacks.pay RENAME TO paid;
SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'table' = 'regress_keystone_attacks.pay' AND db_role <> 'regress_keystone_attacks_ana';
SET SESSION AUTHORIZATION regress_keystone_attacks_ben;
CREATE TABLE regress_keystone_attacks.pay ();
SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'table' = 'regress_keystone_attacks.pay' AND action = 'table.audit';

--- tables whose changes would be missed are refused; partitions are not missed
SET SESSION AUTHORIZATION regress_keystone_attacks_ana;
CREATE TEMP TABLE scratch (i int);
SELECT keystone.audit_table('scratch');
CREATE TABLE regress_keystone_attacks.parent (i int);
CREATE TABLE regress_keystone_attacks.child () INHERITS (regress_keystone_attacks.parent);
SELECT keystone.audit_table('regress_keystone_attacks.parent');
CREATE TABLE regress_keystone_attacks.parts (i int) PARTITION BY RANGE (i);
CREATE TABLE regress_keystone_attacks.part1 PARTITION OF regress_keystone_attacks.parts FOR VALUES FROM (0) TO (10);
SELECT keystone.audit_table('regress_keystone_attacks.parts');
INSERT INTO regress_keystone_attacks.parts VALUES (1);
TRUNCATE regress_keystone_attacks.part1;
SELECT keystone.audit_untable('regress_keystone_attacks.parts');
TRUNCATE regress_keystone_attacks.part1;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT action, detail ->> 'table' AS "table" FROM keystone.audit_log WHERE detail ->> 'table' ~ 'regress_keystone_attacks.part' ORDER BY seq;

--- guards that are switched off are reported
BEGIN;
ALTER TABLE keystone_private.audit_entries DISABLE TRIGGER audit_guard;
SELECT check_name, detail FROM keystone.health WHERE NOT ok;
ROLLBACK;
SELECT ok, problem FROM keystone.audit_verify();

DROP SCHEMA regress_keystone_attacks CASCADE;
DROP OWNED BY regress_keystone_attacks_dba, regress_keystone_attacks_ana, regress_keystone_attacks_ben;
