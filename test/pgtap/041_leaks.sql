-- I4: what somebody's own functions and operators are shown while a query of
-- a relation of the API runs, before its rows are chosen: each value, of each
-- column, is one that the caller sees.
BEGIN;
SET LOCAL jit = off;	-- compiling thousands of queries would take minutes
\ir lib/tenants.sql
\ir lib/access.sql
\ir lib/metering.sql
\o /dev/null

-- Reveals, as the log would count them.
INSERT INTO keystone_private.credential_usage (workspace_id, credential_id, usage_count, last_used_at)
SELECT workspace_id, id, 4711 + row_number() OVER (), '2001-01-01'::timestamptz + row_number() OVER () * interval '1 day' FROM keystone_private.credentials
ON CONFLICT (workspace_id, credential_id) DO UPDATE SET usage_count = excluded.usage_count, last_used_at = excluded.last_used_at;
INSERT INTO keystone_private.principal_usage SELECT id, '2002-01-01'::timestamptz + row_number() OVER () * interval '1 day' FROM keystone_private.api_keys;
-- What is projected of a spending changes by the second, of none it does not.
UPDATE keystone.budget_spending SET spent_micros = 0;

-- A caller's cheap function and operator that write down what they are asked.
CREATE SCHEMA ks_evil;
GRANT ALL ON SCHEMA ks_evil TO PUBLIC;
CREATE FUNCTION ks_evil.leak(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	PERFORM set_config('ks_evil.seen', current_setting('ks_evil.seen', true) || E'\x01' || coalesce(what, '(null)'), false);
	RETURN true;
END
$$;
-- A strict one can be asked before an outer join.
CREATE FUNCTION ks_evil.leak_strictly(what text) RETURNS boolean LANGUAGE plpgsql STRICT COST 0.0000001 AS $$
BEGIN
	RETURN ks_evil.leak(what);
END
$$;
CREATE FUNCTION ks_evil.leak(what text, other text) RETURNS boolean LANGUAGE sql COST 0.0000001 AS 'SELECT ks_evil.leak(what)';
CREATE OPERATOR ks_evil.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = ks_evil.leak);

-- What one is shown beyond what one sees there, slugs of one's own workspaces
-- aside, of a column ("r" for the whole row).
CREATE FUNCTION pg_temp.leaked(who text, relation text, col text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	shown text;
BEGIN
	BEGIN
		PERFORM pg_temp.become(who);
		PERFORM set_config('ks_evil.seen', '', false);
		EXECUTE format(query, relation, col);
		-- and with the plan that shows most rows
		SET LOCAL enable_nestloop = off;
		SET LOCAL enable_indexscan = off;
		SET LOCAL enable_bitmapscan = off;
		SET LOCAL enable_indexonlyscan = off;
		EXECUTE format(query, relation, col);
		EXECUTE format('SELECT string_agg(DISTINCT s, '', '') FROM unnest(string_to_array(substr(current_setting(''ks_evil.seen''), 2), E''\x01'')) s
			WHERE s NOT IN (SELECT coalesce(%2$s::text, ''(null)'') FROM keystone.%1$I r)
			AND s NOT IN (SELECT w.slug FROM keystone.workspaces w)', relation, col) INTO shown;
		RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = coalesce(shown, 'nothing');
	EXCEPTION
		WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
		WHEN insufficient_privilege OR object_not_in_prerequisite_state THEN RETURN 'nothing';
	END;
END
$$;
CREATE TEMP TABLE ways (way text, query text);
INSERT INTO ways VALUES
	('a function', 'SELECT FROM keystone.%1$I r WHERE ks_evil.leak(%2$s::text)'),
	('a strict function', 'SELECT FROM keystone.%1$I r WHERE ks_evil.leak_strictly(%2$s::text)'),
	('an operator', 'SELECT FROM keystone.%1$I r WHERE %2$s::text OPERATOR(ks_evil.<<<) ''x'''),
	('a subquery', 'SELECT FROM (SELECT * FROM keystone.%1$I OFFSET 0) r WHERE ks_evil.leak(%2$s::text)'),
	('a join', 'SELECT FROM keystone.%1$I r JOIN generate_series(1, 2) g ON ks_evil.leak(%2$s::text)'),
	('an aggregate', 'SELECT count(*) FILTER (WHERE ks_evil.leak(%2$s::text)) FROM keystone.%1$I r'),
	('an order', 'SELECT FROM keystone.%1$I r ORDER BY ks_evil.leak(%2$s::text) LIMIT 1'),
	('an update', 'UPDATE keystone.%1$I r SET %3$s = r.%3$s WHERE ks_evil.leak(%2$s::text)');
CREATE TEMP TABLE leaks AS
	SELECT w.way, c.relname, a.col, r.who, pg_temp.leaked(r.who, c.relname, a.col, replace(w.query, '%3$s', (SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum = 1))) AS leaked
	FROM ways w CROSS JOIN pg_class c
	CROSS JOIN LATERAL (SELECT 'r' AS col UNION ALL SELECT 'r.' || quote_ident(attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) a
	CROSS JOIN unnest(ARRAY['ks_admin', 'ks_viewer', 'ks_auditor', 'ks_stranger', 'ks_grantee', 'ks_anonymous', 'key_service', 'key_limited', 'key_stranger']) r (who)
	WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname NOT IN ('health', 'settings', 'seal_status', 'providers', 'audit_log', 'plans', 'metrics', 'limit_stats')
	AND (w.way IN ('a function', 'a strict function', 'an operator') OR a.col = 'r');
\o

SELECT plan(4 + (SELECT count(DISTINCT relname)::int FROM leaks));
SELECT cmp_ok((SELECT count(*) FROM leaks), '>', 1000::bigint, 'each column of each relation, by many');
SELECT is((SELECT string_agg(DISTINCT format('%s.%s by %s to %s: %s', relname, col, way, who, leaked), '; ') FROM leaks WHERE leaked <> 'nothing' AND relname = c.relname), NULL,
		  'I4 nothing of ' || c.relname || ' is shown that is not seen')
FROM pg_class c WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname NOT IN ('health', 'settings', 'seal_status', 'providers', 'audit_log', 'plans', 'metrics', 'limit_stats')
ORDER BY c.relname;

-- That it would be found, if it were.
SELECT matches(pg_temp.leaked('postgres', 'credentials', 'r.name', 'SELECT FROM keystone.%1$I r WHERE ks_evil.leak(%2$s::text || ''?'')'), 'operators-own\?', 'the test finds what is shown');

-- Without being a superuser nobody makes a function that goes first.
SELECT is(pg_temp.as_role('ks_owner', $$CREATE FUNCTION ks_evil.trusted(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'$$), '42501', 'I4 clients make no leakproof function');
SELECT is((SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p WHERE p.proleakproof AND p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)),
		  NULL, 'and none of the vault''s claims to be one');
SELECT * FROM finish();
ROLLBACK;
