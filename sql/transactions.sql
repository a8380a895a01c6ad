-- Keys, rights and values made in a transaction that does not commit: I8 (undone
-- work is undone), DESIGN 6 (a key made in a transaction is cached only when it
-- commits).  In a database of its own, where the very first keys are made so.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SELECT current_database() AS home \gset
CREATE DATABASE regress_keystone_transactions ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_keystone_transactions
CREATE EXTENSION keystone;
CREATE ROLE regress_keystone_transactions_alice;
CREATE FUNCTION pg_temp.counts() RETURNS text LANGUAGE sql AS $$
	SELECT format('root %s system %s workspace keys %s, principals %s members %s, credentials %s ciphertext %s',
		(SELECT count(*) FROM keystone_private.root_keys), (SELECT count(*) FROM keystone_private.system_keys), (SELECT count(*) FROM keystone_private.workspace_keys),
		(SELECT count(*) FROM keystone.principals), (SELECT count(*) FROM keystone.members),
		(SELECT count(*) FROM keystone_private.credentials), (SELECT count(*) FROM keystone_private.ciphertext)) $$;

-- The first keys, three times in one transaction, then not at all
BEGIN;
SELECT keystone.create_workspace('first') IS NOT NULL AS created;
SELECT action FROM keystone.store('first', 'token', 'of the first');
SELECT keystone.reveal('first', 'token');
SELECT pg_temp.counts();
ROLLBACK;
SELECT pg_temp.counts();
SELECT source FROM keystone.whoami();
SELECT keystone.has_permission('first', 'member');
BEGIN;
SAVEPOINT s;
SELECT keystone.create_workspace('first') IS NOT NULL AS created;
SELECT action FROM keystone.store('first', 'token', 'of the second');
SELECT keystone.reveal('first', 'token');
ROLLBACK TO s;
SELECT pg_temp.counts();
SELECT source FROM keystone.whoami();
SAVEPOINT inner_fails;
SELECT keystone.reveal('first', 'token');
ROLLBACK TO inner_fails;
SELECT keystone.create_workspace('first') IS NOT NULL AS created;
SELECT action FROM keystone.store('first', 'token', 'of the third');
SELECT keystone.reveal('first', 'token');
COMMIT;
SELECT pg_temp.counts();
SELECT keystone.reveal('first', 'token');
SELECT ok FROM keystone.health WHERE check_name = 'row macs';
SELECT bool_and(ok) AS ok FROM keystone.verify_all();
-- another session reads what this one wrote
\c regress_keystone_transactions
SELECT keystone.reveal('first', 'token');
SELECT bool_and(ok) AS ok FROM keystone.verify_all();
CREATE FUNCTION pg_temp.states(name text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(v.version || ' ' || v.state, ', ' ORDER BY v.version) FROM keystone.credential_versions v
	JOIN keystone.credentials c ON c.id = v.credential_id WHERE c.name = $1 AND c.workspace = 'first' $$;

-- A workspace's key in an aborted subtransaction, its slug again in the same transaction
BEGIN;
SAVEPOINT s;
SELECT keystone.create_workspace('second') IS NOT NULL AS created;
SELECT action FROM keystone.store('second', 'token', 'undone');
ROLLBACK TO s;
SELECT keystone.has_permission('second', 'member');
SELECT keystone.create_workspace('second') IS NOT NULL AS created;
SELECT action FROM keystone.store('second', 'token', 'done');
SELECT keystone.reveal('second', 'token');
RELEASE s;
COMMIT;
SELECT keystone.reveal('second', 'token');
-- the same within exception blocks
DO $$
DECLARE
	v text;
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			PERFORM keystone.create_workspace('third');
			PERFORM keystone.store('third', 'token', 'try ' || i);
			v := keystone.reveal('third', 'token');
			IF v <> 'try ' || i THEN
				RAISE EXCEPTION 'got %', v;
			END IF;
			IF i < 3 THEN
				RAISE SQLSTATE 'UNDO0';
			END IF;
		EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
			IF keystone.has_permission('third', 'member') THEN
				RAISE EXCEPTION 'still a member';
			END IF;
		END;
	END LOOP;
END $$;
SELECT keystone.reveal('third', 'token');

-- I8: no version, no number, no name, no mark is left of undone work
BEGIN;
SELECT version FROM keystone.store('first', 'token', 'undone', metadata => '{"a": 1}', description => 'undone');
SAVEPOINT s;
SELECT version FROM keystone.store('first', 'token', 'undone too');
SELECT keystone.rename(keystone.credential_id('first', 'token'), '{"name": "renamed"}');
SELECT keystone.reveal('first', 'renamed');
ROLLBACK TO s;
SELECT keystone.reveal('first', 'token'), pg_temp.states('token');
ROLLBACK;
SELECT keystone.reveal('first', 'token'), metadata, description FROM keystone.credentials WHERE workspace = 'first';
SELECT version FROM keystone.store('first', 'token', 'the second version');
BEGIN;
SELECT keystone.destroy_credential(keystone.credential_id('first', 'token'));
SELECT keystone.create_workspace('fourth') IS NOT NULL AS created;
ROLLBACK;
SELECT keystone.reveal('first', 'token');
SELECT keystone.create_workspace('fourth') IS NOT NULL AS created;

-- Rights that are undone are gone at once; rights that were taken and given back are there.
SELECT keystone.grant_access('regress_keystone_transactions_alice', 'client');
SELECT keystone.register_principal('Alice', db_role => 'regress_keystone_transactions_alice') AS alice \gset
CREATE FUNCTION pg_temp.may() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN keystone.reveal('first', 'token');
EXCEPTION WHEN others THEN
	RETURN sqlstate;
END $$;
BEGIN;
SAVEPOINT s;
SELECT keystone.add_member('first', :'alice', 'service');
SET LOCAL SESSION AUTHORIZATION regress_keystone_transactions_alice;
SELECT pg_temp.may();
ROLLBACK TO s;
SET LOCAL SESSION AUTHORIZATION regress_keystone_transactions_alice;
SELECT pg_temp.may();
RESET SESSION AUTHORIZATION;
SELECT keystone.add_member('first', :'alice', 'service');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT keystone.remove_member('first', :'alice');
SET LOCAL SESSION AUTHORIZATION regress_keystone_transactions_alice;
SELECT pg_temp.may();
ROLLBACK TO s;
SET LOCAL SESSION AUTHORIZATION regress_keystone_transactions_alice;
SELECT pg_temp.may();
COMMIT;

-- An older snapshot sees the latest rights and values, not its own (DESIGN 5).
RESET SESSION AUTHORIZATION;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT keystone.reveal('first', 'token');
SELECT version FROM keystone.store('first', 'token', 'in repeatable read');
SELECT keystone.reveal('first', 'token');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT version FROM keystone.store('first', 'token', 'in serializable');
SELECT keystone.reveal('first', 'token');
COMMIT;
-- several writes of one statement build on each other
SELECT array_agg(v ORDER BY v) FROM (SELECT (keystone.store('first', 'many', 'n ' || n)).version AS v FROM generate_series(1, 3) n) x;
SELECT keystone.reveal('first', 'many') LIKE 'n _' AS one_of_them, pg_temp.states('many');
-- a cursor that is held gives what it read
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT keystone.reveal('first', 'token');
COMMIT;
FETCH c;
CLOSE c;
\c :home
DROP DATABASE regress_keystone_transactions;
DROP ROLE regress_keystone_transactions_alice;
