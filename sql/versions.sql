-- Versions: rotate(), promote(), rollback_to(), destroy_version(), mark_verified().
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_versions_' || name);
	PERFORM keystone.grant_access(('regress_keystone_versions_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_versions_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('service') AS service \gset
SET SESSION AUTHORIZATION regress_keystone_versions_owner;
SELECT keystone.create_workspace('versions') AS ws \gset
SELECT count(keystone.add_member('versions', p, r)) FROM (VALUES (:'operator'::uuid, 'operator'), (:'viewer', 'viewer'), (:'service', 'service')) m (p, r);
SELECT credential AS c FROM keystone.store('versions', 'token', 'value number one 00000001') \gset
SELECT credential AS mine FROM keystone.store('versions', 'mine', 'own', personal => true) \gset
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.states(credential uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', version, state, 'from ' || source_version, CASE WHEN verified_at IS NOT NULL THEN 'verified' END), ', ' ORDER BY version)
	FROM keystone.credential_versions WHERE credential_id = credential $$;

-- rotate: the old one stays as previous; an operator may, without seeing either value
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT version, previous FROM keystone.rotate(:'c', 'value number two 00000002');
SELECT keystone.reveal_by_id(:'c');
SELECT keystone.store('versions', 'token', 'x');
SELECT pg_temp.states(:'c'), current_version, hint FROM keystone.credentials WHERE id = :'c';
SELECT version, previous FROM keystone.rotate(:'c', 'value number three 0000003', expected_version => 2);
SELECT version, previous FROM keystone.rotate(:'c', 'x', expected_version => 2);
SELECT version, previous FROM keystone.rotate(:'c', 'x', expected_version => 0);
-- dry_run checks all of it and changes nothing
SELECT version, previous FROM keystone.rotate(:'c', 'value number four 0000004', dry_run => true);
SELECT version, previous FROM keystone.rotate(:'c', 'x', expected_version => 2, dry_run => true);
SELECT version, previous FROM keystone.rotate(:'c', '', dry_run => true);
SELECT version, previous FROM keystone.rotate(:'c', repeat('x', 65537));
SELECT pg_temp.states(:'c'), current_version, hint FROM keystone.credentials WHERE id = :'c';
-- who may not
SET SESSION AUTHORIZATION regress_keystone_versions_viewer;
SELECT keystone.rotate(:'c', 'x');
SELECT keystone.rotate(:'c', 'x', dry_run => true);
SELECT keystone.rotate(:'mine', 'x');
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT keystone.rotate(:'mine', 'x');
SELECT keystone.rotate('00000000-0000-4000-8000-000000000000', 'x');
SET SESSION AUTHORIZATION regress_keystone_versions_owner;
SELECT version, previous FROM keystone.rotate(:'mine', 'own two');
SELECT keystone.reveal('versions', 'mine');

-- promote: a pending version, once, in any order; others are refused
SELECT version FROM keystone.store('versions', 'token', 'value number four 0000004', state => 'pending');
SELECT version FROM keystone.store('versions', 'token', 'value number five 0000005', state => 'pending');
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT keystone.promote(:'c', 5);
SELECT pg_temp.states(:'c'), current_version, hint FROM keystone.credentials WHERE id = :'c';
SELECT keystone.promote(:'c', 5);
SELECT keystone.promote(:'c', 1);
SELECT keystone.promote(:'c', 6);
SELECT keystone.promote(:'c', 0);
SELECT keystone.promote(:'c', 4);
SELECT pg_temp.states(:'c'), current_version, hint FROM keystone.credentials WHERE id = :'c';
SET SESSION AUTHORIZATION regress_keystone_versions_service;
SELECT keystone.promote(:'c', 4);
SELECT keystone.reveal_by_id(:'c');

-- rollback_to: a new version with the old value
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT keystone.rollback_to(:'c', 1);
SELECT pg_temp.states(:'c'), current_version, hint FROM keystone.credentials WHERE id = :'c';
SELECT keystone.rollback_to(:'c', 6);
SELECT keystone.rollback_to(:'c', 7);
SELECT keystone.rollback_to(:'c', -1);
SET SESSION AUTHORIZATION regress_keystone_versions_owner;
SELECT v, keystone.reveal_by_id(:'c', v) FROM unnest('{NULL,1,2,3,4,5,6}'::int[]) v;
SELECT version FROM keystone.store('versions', 'token', 'value number seven 000007', state => 'pending');
SELECT keystone.rollback_to(:'c', 7);

-- mark_verified: of the current version it shows in the list, of a pending one once that is current
SELECT keystone.mark_verified(:'c', false, detail => '401 from upstream');
SELECT is_verified, verified_at IS NOT NULL AS at, verified_detail FROM keystone.credentials WHERE id = :'c';
SELECT failing FROM keystone.credential_summary WHERE workspace = 'versions';
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT keystone.mark_verified(:'c', true);
SELECT is_verified, verified_at IS NOT NULL AS at, verified_detail FROM keystone.credentials WHERE id = :'c';
SELECT keystone.mark_verified(:'c', false, 5);
SELECT is_verified FROM keystone.credentials WHERE id = :'c';
SELECT keystone.mark_verified(:'c', true, 7);
SELECT pg_temp.states(:'c');
SELECT keystone.promote(:'c', 7);
SELECT is_verified FROM keystone.credentials WHERE id = :'c';
SELECT version FROM keystone.rotate(:'c', 'value number eight 000008');
SELECT is_verified, verified_at, verified_detail FROM keystone.credentials WHERE id = :'c';
SELECT keystone.mark_verified(:'c', true, 9);
SELECT keystone.mark_verified(:'c', true, 0);
SELECT keystone.mark_verified(:'c', true, detail => repeat('x', 1025));
SELECT keystone.mark_verified('00000000-0000-4000-8000-000000000000', true);
SET SESSION AUTHORIZATION regress_keystone_versions_viewer;
SELECT keystone.mark_verified(:'c', true);
SELECT keystone.mark_verified(:'mine', true);

-- destroy_version: for good, not the current one, by holders of workspace
SET SESSION AUTHORIZATION regress_keystone_versions_operator;
SELECT keystone.destroy_version(:'c', 2);
SET SESSION AUTHORIZATION regress_keystone_versions_owner;
SELECT keystone.destroy_version(:'c', 8);
SELECT keystone.destroy_version(:'c', 9);
SELECT keystone.destroy_version(:'c', 2);
SELECT keystone.destroy_version(:'c', 2);
SELECT pg_temp.states(:'c');
SELECT keystone.reveal_by_id(:'c', 2);
SELECT keystone.rollback_to(:'c', 2);
SELECT keystone.promote(:'c', 2);
SELECT keystone.mark_verified(:'c', true, 2);
SELECT keystone.reveal_by_id(:'c');
RESET SESSION AUTHORIZATION;
SELECT array_agg(version ORDER BY version) AS ciphertext FROM keystone_private.ciphertext WHERE credential_id = :'c';
-- a number is never given out twice
SET SESSION AUTHORIZATION regress_keystone_versions_owner;
SELECT version FROM keystone.store('versions', 'token', 'value number nine 0000009', state => 'pending');
SELECT keystone.destroy_version(:'c', 9);
SELECT version FROM keystone.rotate(:'c', 'value number ten 00000010');
SELECT count(*) AS versions, bool_and(ok) AS ok FROM keystone.verify_all('versions');

-- Not in a read-only transaction, and undone with its transaction (I8)
BEGIN READ ONLY;
SELECT keystone.rotate(:'c', 'x');
ROLLBACK;
BEGIN;
SELECT version FROM keystone.rotate(:'c', 'undone');
SELECT keystone.reveal_by_id(:'c');
ROLLBACK;
SELECT keystone.reveal_by_id(:'c'), pg_temp.states(:'c');

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_versions_' || r)::name, 'client')) AS revoked FROM unnest('{owner,operator,viewer,service}'::text[]) r;
DROP ROLE regress_keystone_versions_owner, regress_keystone_versions_operator, regress_keystone_versions_viewer, regress_keystone_versions_service;
