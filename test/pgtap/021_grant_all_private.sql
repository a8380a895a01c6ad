-- I4: the worst recipe: all rights on all that is in the private schema, too,
-- to PUBLIC.  All is as it was.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\ir lib/metering.sql
\o /dev/null
GRANT ALL ON SCHEMA keystone, keystone_private TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO PUBLIC;
GRANT ALL ON ALL ROUTINES IN SCHEMA keystone, keystone_private TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA keystone, keystone_private TO PUBLIC;
\set granted true
\ir lib/matrix.sql
\o /dev/null

-- Each verb of each table of the private schema: clients may see of it what
-- the views show, and nobody writes.
CREATE TEMP TABLE private_writes AS
	SELECT c.who, t.relname, v.verb, pg_temp.as_role(c.who, v.statement) AS result
	FROM callers c
	CROSS JOIN (SELECT t.relname, quote_ident(a.attname) AS attname FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = 1
				WHERE t.relnamespace = 'keystone_private'::regnamespace AND t.relkind = 'r') t
	CROSS JOIN LATERAL (VALUES
		('INSERT', format('INSERT INTO keystone_private.%I DEFAULT VALUES', t.relname)),
		('UPDATE', format('UPDATE keystone_private.%I SET %s = %2$s', t.relname, t.attname)),
		('DELETE', format('DELETE FROM keystone_private.%I', t.relname)),
		('TRUNCATE', format('TRUNCATE keystone_private.%I CASCADE', t.relname)),
		('SELECT FOR UPDATE', format('SELECT FROM keystone_private.%I FOR UPDATE', t.relname))) v (verb, statement);
CREATE TEMP TABLE private_reads AS
	SELECT c.who, t.relname, pg_temp.as_role(c.who, format('SELECT FROM keystone_private.%I', t.relname)) AS result
	FROM callers c CROSS JOIN pg_class t WHERE t.relnamespace = 'keystone_private'::regnamespace AND t.relkind = 'r';

-- Each function of the private schema, without arguments: how many rows, and
-- the first one.
CREATE TEMP TABLE private_calls AS
	SELECT p.proname, CASE WHEN r.n IN ('0', '1') THEN pg_temp.value_as('ks_nobody', replace(p.call, '*', 'f::text')) ELSE r.n END AS result
	FROM (SELECT p.proname, format('SELECT * FROM %s(%s) f', p.oid::regproc,
			(SELECT string_agg(format('NULL::%s', format_type(p.proargtypes[i - 1], NULL)), ', ') FROM generate_series(1, p.pronargs) i)) AS call
		  FROM pg_proc p WHERE p.pronamespace = 'keystone_private'::regnamespace AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype) p
	CROSS JOIN LATERAL (SELECT pg_temp.as_role('ks_nobody', p.call) AS n OFFSET 0) r;
\o

SELECT plan(pg_temp.matrix_tests() + 6);

\ir lib/matrix_tests.sql

SELECT is((SELECT string_agg(DISTINCT relname || ' ' || verb || ' ' || who || ': ' || result, '; ') FROM private_writes
		   WHERE result NOT IN ('42501') AND NOT (verb IN ('UPDATE', 'DELETE', 'SELECT FOR UPDATE') AND result = '0')), NULL, 'I4 nobody writes or locks a row of the private schema');
SELECT is((SELECT string_agg(DISTINCT relname, ', ') FROM private_reads WHERE result NOT IN ('0', '42501') AND who = 'ks_nobody'), 'provider_catalogue',
		  'I4 who has no profile reads nothing of it but the catalogue');
SELECT is((SELECT string_agg(DISTINCT relname, ', ' ORDER BY relname) FROM private_reads WHERE result NOT IN ('0', '42501')),
		  'alerts, api_keys, audit_entries, credentials, limits, policies, policy_versions, provider_catalogue', 'I4 clients read what the views show');
SELECT is((SELECT string_agg(r.relname || ' ' || r.who || ': ' || r.result || ', not ' || v.result, '; ')
		   FROM private_reads r CROSS JOIN LATERAL (SELECT pg_temp.as_role(r.who, format('SELECT FROM keystone.%I', r.relname)) AS result OFFSET 0) v
		   WHERE r.relname IN ('credentials', 'api_keys', 'limits', 'alerts', 'policies', 'policy_versions') AND r.result <> v.result), NULL, 'I4 and no more than they show');
SELECT is((SELECT string_agg(proname || ' ' || result, '; ' ORDER BY proname) FROM private_calls WHERE result NOT IN ('42501', '22004', '<null>') AND proname <> 'profile_privileges'),
	'audit_decode (,,,,,,,,,,,,,,,,,,,); json_merge_patch {}; seal_state (f,,,)', 'I4 functions of it tell somebody without a profile nothing');
SELECT is(pg_temp.contents(), (SELECT contents FROM contents_before), 'I4 and all is as it was');
SELECT * FROM finish();
ROLLBACK;
