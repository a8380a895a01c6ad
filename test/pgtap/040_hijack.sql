-- I4: what a caller puts in the way of Keystone's names, and code that runs
-- with somebody's session but was not asked for by that somebody.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\o /dev/null

-- A schema that everybody's path begins with: operators and functions named
-- as those of pg_catalog, which say yes to everything and leave a trace, and
-- tables named as Keystone's and the catalog's.
CREATE SCHEMA ks_evil;
GRANT ALL ON SCHEMA ks_evil TO PUBLIC;
CREATE SEQUENCE ks_evil.traces;
CREATE FUNCTION ks_evil.trace() RETURNS boolean LANGUAGE sql AS $$SELECT nextval('ks_evil.traces') > 0$$;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['uuid', 'text', 'name', 'int', 'timestamptz', 'boolean', 'bytea', 'xid', 'oid', 'regnamespace'] LOOP
		EXECUTE format('CREATE FUNCTION ks_evil.yes(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT ks_evil.trace()''', t);
		EXECUTE format('CREATE OPERATOR ks_evil.= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = ks_evil.yes)', t);
		EXECUTE format('CREATE OPERATOR ks_evil.<> (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = ks_evil.yes)', t);
		EXECUTE format('CREATE OPERATOR ks_evil.> (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = ks_evil.yes)', t);
		EXECUTE format('CREATE OPERATOR ks_evil.>= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = ks_evil.yes)', t);
		EXECUTE format('CREATE OPERATOR ks_evil.<= (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = ks_evil.yes)', t);
	END LOOP;
END
$$;
CREATE FUNCTION ks_evil.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT CASE WHEN ks_evil.trace() THEN 'epoch'::timestamptz END$$;
CREATE FUNCTION ks_evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT CASE WHEN ks_evil.trace() THEN 'epoch'::timestamptz END$$;
CREATE FUNCTION ks_evil.coalesce(text, text) RETURNS text LANGUAGE sql AS $$SELECT CASE WHEN ks_evil.trace() THEN $1 END$$;
CREATE FUNCTION ks_evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$SELECT CASE WHEN ks_evil.trace() THEN 'object' END$$;
CREATE FUNCTION ks_evil.jsonb_each(jsonb) RETURNS TABLE (key text, value jsonb) LANGUAGE sql AS $$SELECT 'x', 'true'::jsonb WHERE ks_evil.trace()$$;
CREATE AGGREGATE ks_evil.count(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '1000');
CREATE TABLE ks_evil.pg_extension (extname name, extversion text);
CREATE TABLE ks_evil.pg_trigger (tgname name);
CREATE VIEW ks_evil.pg_settings AS SELECT 'keystone.hints' AS name, 'evil' AS setting;
CREATE TYPE ks_evil.text AS (x int);
CREATE DOMAIN ks_evil.uuid AS pg_catalog.text;
GRANT ALL ON ALL TABLES IN SCHEMA ks_evil TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA ks_evil TO PUBLIC;

-- Every verb once, in one go: path is what the callers' search_path is.
CREATE FUNCTION pg_temp.everything(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	BEGIN
		PERFORM set_config('search_path', path, true);
		-- what is joined gives nothing before the transaction commits
		PERFORM pg_temp.do_as('ks_owner', 'SELECT keystone.create_workspace(''joined'')');
		result := pg_catalog.concat_ws(' ',
			pg_temp.do_as('ks_owner', 'SELECT action FROM keystone.store(''acme'', ''new'', ''{"a": "first"}'', provider => ''aws'', metadata => ''{"a": {"b": 1}}'')'),
			pg_temp.do_as('ks_owner', 'SELECT action FROM keystone.store(''acme'', ''NEW'', ''{"a": "second"}'')'),
			pg_temp.do_as('ks_operator', 'SELECT version FROM keystone.rotate(keystone.credential_id(''acme'', ''new''), ''{"a": "third"}'', 2)'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.rollback_to(keystone.credential_id(''acme'', ''new''), 1)'),
			pg_temp.do_as('ks_service', 'SELECT keystone.reveal(''acme'', ''new'', field => ''a'')'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.update_metadata(keystone.credential_id(''acme'', ''new''), ''{"metadata": {"a": {"c": 2}}}'')::pg_catalog.text'),
			pg_temp.do_as('ks_owner', 'SELECT metadata FROM keystone.credentials WHERE name OPERATOR(pg_catalog.=) ''new'''),
			pg_temp.do_as('ks_owner', 'SELECT name FROM keystone.resolve(''acme'', ''aws'')'),
			pg_temp.do_as('ks_viewer', 'SELECT pg_catalog.count(*) FROM keystone.credentials'),
			pg_temp.do_as('ks_viewer', 'SELECT pg_catalog.string_agg(credentials::pg_catalog.text, '','' ORDER BY provider) FROM keystone.credential_summary'),
			pg_temp.do_as('ks_stranger', 'SELECT pg_catalog.count(*) FROM keystone.members'),
			pg_temp.value_as('ks_stranger', 'SELECT keystone.reveal(''acme'', ''new'')'),
			pg_temp.value_as('ks_viewer', 'SELECT keystone.reveal(''acme'', ''new'')'),
			pg_temp.value_as('ks_anonymous', 'SELECT keystone.current_principal()::pg_catalog.text'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.delete_credential(keystone.credential_id(''acme'', ''new''))::pg_catalog.text'),
			pg_temp.do_as('ks_owner', 'SELECT prefix IS NOT NULL FROM keystone.create_api_key(''acme'', ''new'', ''viewer'', environments => ''{prod}'')'),
			pg_temp.do_as('ks_owner', 'SELECT prefix IS NOT NULL FROM keystone.rotate_api_key(''acme'', ''new'')'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.revoke_api_key(''acme'', ''new'')::pg_catalog.text'),
			pg_temp.do_as('ks_owner', 'SELECT pg_catalog.count(*) FROM keystone.api_keys'),
			pg_temp.value_as('key_limited', 'SELECT pg_catalog.string_agg(name, '','') FROM keystone.credentials'),
			pg_temp.value_as('key_limited', 'SELECT keystone.reveal(''acme'', ''acme-shared'')'),
			pg_temp.value_as('key_limited', 'SELECT keystone.reveal(''acme'', ''prod-cohere'', ''prod'')'),
			pg_temp.value_as('key_stranger', 'SELECT keystone.reveal(''acme'', ''prod-cohere'', ''prod'')'),
			pg_temp.value_as('ks_grantee', pg_catalog.format('SELECT keystone.reveal_by_id(%L)', pg_temp.credential('operators-own'))),
			pg_temp.do_as('ks_viewer', pg_catalog.format('SELECT keystone.share_credential(%L, %L)::pg_catalog.text', pg_temp.credential('viewers-own'), pg_temp.principal('ks_grantee'))),
			pg_temp.value_as('ks_grantee', pg_catalog.format('SELECT keystone.reveal_by_id(%L)', pg_temp.credential('viewers-own'))),
			pg_temp.do_as('ks_viewer', pg_catalog.format('SELECT keystone.unshare_credential(%L, %L)::pg_catalog.text', pg_temp.credential('viewers-own'), pg_temp.principal('ks_grantee'))),
			pg_temp.value_as('ks_grantee', pg_catalog.format('SELECT keystone.reveal_by_id(%L)', pg_temp.credential('viewers-own'))),
			pg_temp.do_as('ks_grantee', 'SELECT pg_catalog.count(*) FROM keystone.credential_shares'),
			pg_temp.do_as('ks_worker', pg_catalog.format('SELECT keystone.accept_invitation(%L) IS NOT NULL', pg_temp.do_as('ks_owner', 'SELECT keystone.invite_member(''joined'', ''worker@example.com'', ''operator'')'))),
			pg_temp.do_as('ks_admin', 'SELECT pg_catalog.count(*) FROM keystone.invitations'),
			pg_temp.do_as('ks_worker', 'SELECT pg_catalog.count(*) FROM keystone.members'),
			pg_temp.do_as('ks_dba', pg_catalog.format('SELECT keystone.disable_principal(%L)::pg_catalog.text', pg_temp.principal('ks_worker'))),
			pg_temp.value_as('ks_worker', 'SELECT keystone.reveal(''acme'', ''acme-shared'')'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.update_workspace(''acme'', ''{"status": "suspended"}'')::pg_catalog.text'),
			pg_temp.value_as('key_admin', 'SELECT keystone.reveal(''acme'', ''acme-shared'')'),
			pg_temp.do_as('ks_owner', 'SELECT keystone.update_workspace(''acme'', ''{"status": "active"}'')::pg_catalog.text'),
			pg_temp.do_as('ks_dba', 'SELECT pg_catalog.string_agg(ok::pg_catalog.text, '','') FROM keystone.health WHERE check_name OPERATOR(pg_catalog.~) ''^(row macs|guards|seal)$'''),
			pg_temp.do_as('ks_monitor', 'SELECT value FROM keystone.settings WHERE name OPERATOR(pg_catalog.=) ''keystone.hints'''),
			pg_temp.do_as('ks_owner', 'SELECT pg_catalog.count(*) FROM keystone.verify_all(''acme'') WHERE ok'));
		RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = result;
	EXCEPTION WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
	END;
END
$$;
CREATE TEMP TABLE plain AS SELECT pg_temp.everything('pg_catalog') AS result;
\o

SELECT plan(27);

SELECT is((SELECT result FROM plain),
	'created rotated 3 4 first  {"a": {"b": 1, "c": 2}} new 4 1,1,2 2 PT404 42501 <null>  true true  7 prod-cohere PT404 value of prod-cohere, which is long PT404 value of operators-own, which is long  value of viewers-own, which is long  PT404 1 true 1 1  42501  42501  true,true,true on 8',
	'what all that gives under a plain search_path');
SELECT is(pg_temp.everything('ks_evil, pg_catalog, public'), (SELECT result FROM plain), 'I4 operators, functions and types before pg_catalog change nothing');
SELECT is(pg_temp.everything('ks_evil, public, pg_catalog'), (SELECT result FROM plain), 'I4 nor with pg_catalog last');
SELECT is(pg_temp.everything('ks_evil'), (SELECT result FROM plain), 'I4 nor alone');
SELECT is(pg_temp.everything(''), (SELECT result FROM plain), 'an empty search_path is no problem');
SELECT is((SELECT is_called FROM ks_evil.traces), false, 'I4 and none of it has run');

-- Tables of the caller that are called as those of Keystone or the catalog.
\o /dev/null
CREATE TEMP TABLE pg_extension (extname name, extversion text);
CREATE TEMP TABLE pg_trigger (tgname name, tgrelid oid, tgfoid oid, tgisinternal boolean);
CREATE TEMP TABLE members AS SELECT * FROM keystone.members WHERE false;
CREATE TEMP TABLE workspaces AS SELECT * FROM keystone.workspaces WHERE false;
CREATE TEMP TABLE credentials AS SELECT * FROM keystone_private.credentials WHERE false;
CREATE TEMP TABLE principals AS SELECT * FROM keystone.principals WHERE false;
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'epoch'::timestamptz$$;
CREATE FUNCTION pg_temp.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$SELECT 'x'::text$$;
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC;
\o
SELECT is(pg_temp.everything('pg_temp, pg_catalog'), (SELECT result FROM plain), 'I4 temporary tables and functions change nothing');
\o /dev/null
DROP TABLE pg_temp.pg_extension, pg_temp.pg_trigger, pg_temp.members, pg_temp.workspaces, pg_temp.credentials, pg_temp.principals;
\o

-- SECURITY DEFINER: the session's user did not write that statement.
\o /dev/null
GRANT USAGE ON SCHEMA keystone TO ks_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA keystone TO ks_nobody;
GRANT CREATE ON SCHEMA ks_evil TO ks_stranger;
SET LOCAL SESSION AUTHORIZATION ks_stranger;
CREATE FUNCTION ks_evil.asks() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT keystone.reveal('acme', 'acme-shared')$$;
CREATE FUNCTION ks_evil.asks_who() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$SELECT keystone.current_principal()$$;
CREATE FUNCTION ks_evil.asks_why() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT reason FROM keystone.whoami()$$;
CREATE FUNCTION ks_evil.makes() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT keystone.create_workspace('made-by-trick')$$;
CREATE FUNCTION ks_evil.makes_personal() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT keystone.personal_workspace()$$;
CREATE FUNCTION ks_evil.counts() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$SELECT count(*) FROM keystone.credentials$$;
CREATE FUNCTION ks_evil.nested() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN keystone.reveal('acme', 'acme-shared'); END$$;
CREATE FUNCTION ks_evil.asks_deep() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN RETURN ks_evil.nested(); EXCEPTION WHEN division_by_zero THEN RETURN NULL; END$$;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION ks_evil.superusers() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT keystone.reveal('acme', 'acme-shared')$$;
\o
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.nested()'), 'value of acme-shared, which is long', 'a function with the caller''s rights has the caller''s identity');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.asks()'), '42501', 'I4 a SECURITY DEFINER function of somebody else has not');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.asks_deep()'), '42501', 'I4 nor what it calls');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.asks_who()'), '<null>', 'I4 there one is nobody');
SELECT matches(pg_temp.value_as('ks_owner', 'SELECT ks_evil.asks_why()'), 'trusted_definers', 'and whoami() says why');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.counts()'), '0', 'I4 and sees no row');
SELECT is(pg_temp.value_as('ks_owner', 'SELECT ks_evil.superusers()'), '42501', 'I4 a superuser''s is not trusted by itself');
SELECT is(pg_temp.value_as('ks_stranger', 'SELECT ks_evil.asks_who()'), '<null>', 'I4 nor the caller''s own');
SELECT is(pg_temp.value_as('ks_anonymous', 'SELECT ks_evil.makes()'), '42501', 'I4 nobody is made a principal there');
SELECT is(pg_temp.value_as('ks_anonymous', 'SELECT ks_evil.makes_personal()'), '42501', 'I4 by personal_workspace() neither');
SELECT throws_ok('SET keystone.trusted_definers = ''ks_stranger''', '55P02', NULL, 'I4 trusted definers are no setting of a session');
SELECT throws_ok('ALTER ROLE ks_owner SET keystone.trusted_definers = ''ks_stranger''', '55P02', NULL, 'I4 nor of a role');
SELECT throws_ok('GRANT SET ON PARAMETER keystone.trusted_definers TO ks_stranger; SET LOCAL SESSION AUTHORIZATION ks_stranger; SET keystone.trusted_definers = ''ks_stranger''',
	'55P02', NULL, 'I4 and cannot be delegated');

-- Security-restricted operations: what a table's owner planted runs when a
-- superuser refreshes, analyzes or reindexes.
\o /dev/null
SELECT keystone.create_workspace('roots');		-- the superuser is somebody too
SELECT keystone.store('roots', 'secret', 'the value of the superuser');
GRANT CREATE, USAGE ON SCHEMA ks_evil TO ks_stranger;
SET LOCAL SESSION AUTHORIZATION ks_stranger;
CREATE TABLE ks_evil.loot (x text);
CREATE FUNCTION ks_evil.grab() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce(keystone.reveal('roots', 'secret'), 'nothing');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION ks_evil.grab(anything text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN ks_evil.grab();
END
$$;
CREATE FUNCTION ks_evil.who(anything text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN coalesce(keystone.current_principal()::text, 'nobody');
END
$$;
CREATE MATERIALIZED VIEW ks_evil.view AS SELECT ks_evil.grab() AS got, ks_evil.who('') AS who, (SELECT count(*) FROM keystone.credentials) AS n WITH NO DATA;
INSERT INTO ks_evil.loot VALUES ('a'), ('a');
CREATE INDEX loot_idx ON ks_evil.loot (ks_evil.who(x));
RESET SESSION AUTHORIZATION;
SELECT keystone.grant_access('ks_stranger', 'client');
\o
SELECT is(ks_evil.grab(), 'the value of the superuser', 'called directly, that function gets the value');
REFRESH MATERIALIZED VIEW ks_evil.view;
SELECT is((SELECT (got, who, n)::text FROM ks_evil.view), '(42501,nobody,0)', 'I4 REFRESH by a superuser has no identity');
REINDEX INDEX ks_evil.loot_idx;
\o /dev/null
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
\o
SELECT is((SELECT count(*)::int FROM ks_evil.loot WHERE ks_evil.who(x) = 'nobody'), 2, 'I4 nor has REINDEX');
RESET enable_seqscan;
RESET enable_bitmapscan;
ANALYZE ks_evil.loot;
SELECT is((SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'loot_idx'), '{nobody}', 'I4 nor has ANALYZE');

-- Parallel workers: what is marked restricted runs in the leader.
\o /dev/null
CREATE TABLE ks_evil.many AS SELECT w.id AS workspace_id, n FROM keystone.workspaces w, generate_series(1, 20000) n;
GRANT SELECT ON ks_evil.many TO PUBLIC;
ANALYZE ks_evil.many;
CREATE FUNCTION ks_evil.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	RETURN plan;
END
$$;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
\o
SELECT matches(pg_temp.value_as('ks_viewer', $q$SELECT ks_evil.plan_of($$SELECT count(*) FROM ks_evil.many WHERE workspace_id = ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))$$)$q$),
	'Gather', 'an app''s policy with permitted_workspaces() leaves a parallel plan');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT count(*) FROM ks_evil.many WHERE workspace_id = ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))$$),
	'20000', 'I4 and gives the caller''s rows');
SELECT doesnt_match(pg_temp.value_as('ks_viewer', $q$SELECT ks_evil.plan_of($$SELECT max(n) FROM ks_evil.many WHERE keystone.credential_id('acme', 'acme-shared') IS NOT NULL AND n > 0$$)$q$),
	'Gather', 'what reads the vault keeps a plan serial');
\o /dev/null
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
\o
SELECT * FROM finish();
ROLLBACK;
