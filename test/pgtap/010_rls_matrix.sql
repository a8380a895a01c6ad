-- I4: who sees and touches which rows, and who may call what: every role of a
-- workspace and every kind of caller, each table and view with each verb, each
-- function, in the own workspace, in somebody else's, and for somebody else's
-- personal credential.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\ir lib/metering.sql
\set granted false
\ir lib/matrix.sql
\o /dev/null

-- Which value it is: P is PT404, X is 42501.
CREATE TEMP TABLE expected_values (credential text, expected text);
INSERT INTO expected_values VALUES
	--					own adm opr vwr aud svc gra str ano nob wrk log dba mon kad kop kvw kau ksv kli kst agt
	('acme-shared',		'1   1   X   X   P   1   X   P   X   X   P   X   X   X   1   X   X   P   1   P   P   1'),
	('prod-cohere',		'1   1   X   X   P   1   X   P   X   X   P   X   X   X   1   X   X   P   1   1   P   1'),
	('operators-own',	'X   X   1   P   P   P   1   P   X   X   P   X   X   X   X   P   P   P   P   P   P   X'),
	('viewers-own',		'X   X   P   1   P   P   P   P   X   X   P   X   X   X   X   P   P   P   P   P   P   X'),
	('globex-shared',	'P   P   P   P   P   P   P   1   X   X   P   X   X   X   P   P   P   P   P   P   1   P'),
	('strangers-own',	'P   P   P   P   P   P   P   1   X   X   P   X   X   X   P   P   P   P   P   P   X   P');
CREATE TEMP TABLE reveals AS
	SELECT c.who, e.credential, pg_temp.credential(e.credential) AS id,
		   CASE x.word WHEN 'X' THEN '42501' WHEN 'P' THEN 'PT404' ELSE 'value of ' || e.credential || ', which is long' END AS expected
	FROM expected_values e
	CROSS JOIN LATERAL regexp_split_to_table(e.expected, ' +') WITH ORDINALITY x (word, place)
	LEFT JOIN callers c USING (place);
\o

SELECT plan(pg_temp.matrix_tests() + (SELECT count(DISTINCT credential)::int FROM reveals) + 10);

\ir lib/matrix_tests.sql

SELECT is((SELECT count(*) FROM reveals), 6 * (SELECT count(*) FROM callers), 'each caller asks for each value');
SELECT is(string_agg(CASE WHEN v.value IS DISTINCT FROM r.expected THEN format('%s: %s', r.who, v.value) END, '; '), NULL, 'I4 the value of ' || r.credential)
FROM reveals r CROSS JOIN LATERAL (SELECT pg_temp.value_as(r.who, format('SELECT keystone.reveal_by_id(%L)', r.id)) AS value OFFSET 0) v
GROUP BY r.credential ORDER BY r.credential;

-- The hint, a piece of a value, of a personal credential is its owner's.
SELECT is(pg_temp.value_as('ks_operator', $$SELECT hint FROM keystone.credentials WHERE name = 'operators-own'$$), '****long', 'I1 a hint for the owner');
SELECT is(pg_temp.value_as('ks_owner', $$SELECT hint FROM keystone.credentials WHERE name = 'operators-own'$$), '<null>', 'I1 no hint of a personal credential for an administrator');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT hint FROM keystone.credentials WHERE name = 'acme-shared'$$), '****long', 'a hint of a shared one for members');

-- The private schema is closed, for the profiles too.
SELECT is(
	(SELECT count(*)::int FROM pg_class c, pg_roles r
	 WHERE c.relnamespace = 'keystone_private'::regnamespace AND c.relkind = 'r' AND r.rolname ~ '^ks_'
	 AND pg_temp.as_role(r.rolname, format('SELECT FROM keystone_private.%I', c.relname)) <> '42501'),
	0, 'I4 no client reads a table of keystone_private by name');
SELECT is(
	(SELECT array_agg(DISTINCT c.relname::text) FROM pg_class c, pg_roles r
	 WHERE c.relname IN ('ciphertext', 'root_keys', 'system_keys', 'workspace_keys', 'external_ids', 'profile_grants')
	 AND c.relnamespace = 'keystone_private'::regnamespace AND r.rolname ~ '^ks_'
	 AND has_any_column_privilege(r.rolname, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')),
	NULL, 'I4 no profile has a right on ciphertext, keys, external ids and grants');

-- row_security = off must not open anything.
SELECT set_config('row_security', 'off', true) IS NULL AS ignored \gset
SELECT is(pg_temp.as_role('ks_viewer', 'SELECT FROM keystone.members'), '42501', 'I4 row_security = off is an error, not a way around');
SELECT set_config('row_security', 'on', true) IS NULL AS ignored \gset

-- The current role gives profiles, the session gives the identity.
SELECT is(pg_temp.value_as('postgres', $$SELECT count(*) FROM keystone.credentials$$), '6', 'the superuser reads tables past row-level security');
GRANT ks_stranger TO ks_viewer;
SELECT is(pg_temp.as_role('ks_viewer', $$SELECT set_config('role', 'ks_stranger', true)$$), '1', 'a member of a role may SET ROLE');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT set_config('role', 'ks_stranger', true) || keystone.current_principal()$$),
		  'ks_stranger' || pg_temp.principal('ks_viewer'), 'I4 SET ROLE does not change who is calling');

SELECT * FROM finish();
ROLLBACK;
