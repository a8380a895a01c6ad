-- I4: who sees and touches which rows: every role of a workspace and every
-- kind of caller, each table and view, each verb, in the own workspace, in
-- somebody else's, and for somebody else's personal credential.
BEGIN;
\ir lib/tenants.sql

-- What was done in this transaction is not in the log yet, but reveals are.
CREATE TEMP TABLE revealed AS SELECT pg_temp.value_as(r.who, format('SELECT keystone.reveal_by_id(%L)', pg_temp.credential(r.name)))
FROM (VALUES ('ks_service', 'acme-shared'), ('ks_operator', 'operators-own'), ('ks_stranger', 'globex-shared')) r (who, name);

-- What a query of each scope should find.  "own" is acme, of which all roles
-- of a workspace are members; "personal" are acme's personal credentials of
-- others; "foreign" is globex.  X is 42501, - is "no such scope".
CREATE TEMP TABLE expected_rows (object text, scope text, query text, owner text, admin text, operator text, viewer text,
	auditor text, service text, stranger text, anonymous text, nobody text, dba text, monitor text);
INSERT INTO expected_rows VALUES
	--                                                                                             own adm opr vwr aud svc str ano nob dba mon
	('workspaces', 'own', $$slug = 'acme'$$,													'1','1','1','1','1','1','0','0','X','1','X'),
	('workspaces', 'foreign', $$slug = 'globex'$$,												'0','0','0','0','0','0','1','0','X','1','X'),
	('members', 'own', $$workspace_id = '{acme}'$$,												'6','6','6','6','1','6','0','0','X','6','X'),
	('members', 'foreign', $$workspace_id = '{globex}'$$,										'0','0','0','0','0','0','1','0','X','1','X'),
	('principals', 'own', $$db_role IN ('ks_owner', 'ks_admin', 'ks_operator', 'ks_viewer', 'ks_auditor', 'ks_service')$$,
																								'6','6','6','6','1','6','0','0','X','6','X'),
	('principals', 'foreign', $$db_role = 'ks_stranger'$$,										'0','0','0','0','0','0','1','0','X','1','X'),
	('providers', 'own', $$name = 'openai'$$,													'1','1','1','1','1','1','1','1','X','1','X'),
	('provider_configs', 'own', $$workspace_id = '{acme}'$$,									'1','1','1','1','0','1','0','0','X','X','X'),
	('provider_configs', 'foreign', $$workspace_id = '{globex}'$$,								'0','0','0','0','0','0','1','0','X','X','X'),
	('credentials', 'own', $$name = 'acme-shared'$$,											'1','1','1','1','0','1','0','0','X','X','X'),
	('credentials', 'personal', $$name IN ('operators-own', 'viewers-own')$$,					'2','2','1','1','0','0','0','0','X','X','X'),
	('credentials', 'foreign', $$name IN ('globex-shared', 'strangers-own')$$,					'0','0','0','0','0','0','2','0','X','X','X'),
	('credential_versions', 'own', $$credential_id = '{acme-shared}'$$,							'1','1','1','1','0','1','0','0','X','X','X'),
	('credential_versions', 'personal', $$credential_id IN ('{operators-own}', '{viewers-own}')$$, '2','2','1','1','0','0','0','0','X','X','X'),
	('credential_versions', 'foreign', $$credential_id IN ('{globex-shared}', '{strangers-own}')$$, '0','0','0','0','0','0','2','0','X','X','X'),
	('credential_summary', 'own', $$workspace = 'acme'$$,										'1','1','1','1','0','1','0','0','X','X','X'),
	('credential_summary', 'foreign', $$workspace = 'globex'$$,									'0','0','0','0','0','0','1','0','X','X','X'),
	('audit_log', 'own', $$workspace_id = '{acme}' AND object = '{acme-shared}'$$,				'1','1','0','0','1','1','0','0','X','X','X'),
	('audit_log', 'personal', $$workspace_id = '{acme}' AND object = '{operators-own}'$$,		'1','1','1','0','1','0','0','0','X','X','X'),
	('audit_log', 'foreign', $$workspace_id = '{globex}' AND object = '{globex-shared}'$$,		'0','0','0','0','0','0','1','0','X','X','X'),
	('seal_status', 'own', $$NOT sealed$$,														'1','1','1','1','1','1','1','1','X','1','1'),
	('seal_status', 'reason', $$current_root_key IS NOT NULL OR reason IS NOT NULL OR pending_rewraps IS NOT NULL$$,
																								'0','0','0','0','0','0','0','0','X','1','1'),
	('health', 'own', $$check_name = 'seal'$$,													'X','X','X','X','X','X','X','X','X','1','1'),
	('settings', 'own', $$name = 'keystone.hints'$$,											'X','X','X','X','X','X','X','X','X','1','1');
UPDATE expected_rows SET query = replace(replace(query, '{acme}', pg_temp.workspace('acme')::text), '{globex}', pg_temp.workspace('globex')::text);
UPDATE expected_rows SET query = replace(query, '{' || c.name || '}', c.id::text) FROM keystone_private.credentials c WHERE query ~ ('\{' || c.name || '\}');
UPDATE expected_rows SET query = replace(query, '{' || c.name || '}', c.id::text) FROM keystone_private.credentials c WHERE query ~ ('\{' || c.name || '\}');

CREATE TEMP VIEW matrix AS
	SELECT r.key AS role, e.object, e.scope, e.query, CASE r.value WHEN 'X' THEN '42501' ELSE r.value END AS expected
	FROM expected_rows e CROSS JOIN LATERAL jsonb_each_text(to_jsonb(e) - '{object,scope,query}'::text[]) r;

-- Writes are refused for all, whatever the row: clients write through functions.
CREATE TEMP VIEW writes AS
	SELECT r.role, o.object, v.verb, v.statement, CASE WHEN c.relkind = 'r' THEN '{42501}' ELSE '{42501,55000,42809}' END::text[] AS expected
	FROM unnest(ARRAY['owner', 'admin', 'operator', 'viewer', 'auditor', 'service', 'stranger', 'anonymous', 'nobody', 'dba', 'monitor']) r (role)
	CROSS JOIN (SELECT DISTINCT object FROM expected_rows) o
	JOIN pg_class c ON c.oid = ('keystone.' || o.object)::regclass
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
	CROSS JOIN LATERAL (VALUES
		('INSERT', format('INSERT INTO keystone.%I DEFAULT VALUES', o.object)),
		('UPDATE', format('UPDATE keystone.%I SET %2$I = %2$I', o.object, a.attname)),
		('DELETE', format('DELETE FROM keystone.%I', o.object)),
		('TRUNCATE', format('TRUNCATE keystone.%I', o.object))) v (verb, statement);

-- Values: the verbs that give one, for each role.  P is PT404.
CREATE TEMP TABLE expected_values (credential text, workspace text, owner text, admin text, operator text, viewer text,
	auditor text, service text, stranger text, anonymous text, nobody text, dba text, monitor text);
INSERT INTO expected_values VALUES
	--							 own adm opr vwr aud svc str ano nob dba mon
	('acme-shared', 'acme',		'1','1','X','X','P','1','P','X','X','X','X'),
	('operators-own', 'acme',	'X','X','1','P','P','P','P','X','X','X','X'),
	('viewers-own', 'acme',		'X','X','P','1','P','P','P','X','X','X','X'),
	('globex-shared', 'globex',	'P','P','P','P','P','P','1','X','X','X','X'),
	('strangers-own', 'globex',	'P','P','P','P','P','P','1','X','X','X','X');
CREATE TEMP VIEW reveals AS
	SELECT r.key AS role, e.credential, pg_temp.credential(e.credential) AS id,
		   CASE r.value WHEN 'X' THEN '42501' WHEN 'P' THEN 'PT404' ELSE 'value of ' || e.credential || ', which is long' END AS expected
	FROM expected_values e CROSS JOIN LATERAL jsonb_each_text(to_jsonb(e) - '{credential,workspace}'::text[]) r;

-- Refusals are recorded, and the housekeeper reads what was; both go on meanwhile.
CREATE FUNCTION pg_temp.contents() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(table_to_xml(c.oid::regclass, true, false, '')::text, '' ORDER BY c.relname))
	FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	AND c.relname !~ '^audit_' AND c.relname NOT IN ('housekeeping', 'credential_usage')
$$;
CREATE TEMP TABLE contents_before AS SELECT pg_temp.contents();

SELECT plan((SELECT count(*) FROM matrix)::int + (SELECT count(*) FROM writes)::int + (SELECT count(*) FROM reveals)::int + 13);

SELECT is((SELECT count(*)::int FROM matrix), 24 * 11, 'the matrix is whole');
SELECT is((SELECT count(*)::int FROM writes), 11 * 12 * 4, 'so is that of writes');
SELECT set_eq(
	$$SELECT DISTINCT object FROM expected_rows$$,
	$$SELECT relname::text FROM pg_class WHERE relnamespace = 'keystone'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')$$,
	'each table and view of the API is in the matrix');

-- I4 is what the rows of the matrix are about.
SELECT is(pg_temp.as_role('ks_' || role, format('SELECT FROM keystone.%I WHERE %s', object, query)), expected,
		  format('I4 SELECT %s by %s: %s', object, role, scope))
FROM matrix WHERE object <> 'settings' OR role <> 'dba' ORDER BY object, scope, role;
SELECT is(pg_temp.as_role('ks_dba', 'SELECT FROM keystone.settings WHERE ' || query), expected, 'SELECT settings by dba: own')
FROM matrix WHERE object = 'settings' AND role = 'dba';

SELECT ok(pg_temp.as_role('ks_' || role, statement) = ANY (expected), format('I4 %s %s by %s', verb, object, role))
FROM writes ORDER BY object, verb, role;

SELECT is(pg_temp.value_as('ks_' || role, format('SELECT keystone.reveal_by_id(%L)', id)), expected,
		  format('I4 reveal %s by %s', credential, role))
FROM reveals ORDER BY credential, role;

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
SELECT is(pg_temp.value_as('postgres', $$SELECT count(*) FROM keystone.credentials$$), '5', 'the superuser reads tables past row-level security');
GRANT ks_stranger TO ks_viewer;
SELECT is(pg_temp.as_role('ks_viewer', $$SELECT set_config('role', 'ks_stranger', true)$$), '1', 'a member of a role may SET ROLE');
SELECT is(pg_temp.value_as('ks_viewer', $$SELECT set_config('role', 'ks_stranger', true) || keystone.current_principal()$$),
		  'ks_stranger' || pg_temp.principal('ks_viewer'), 'I4 SET ROLE does not change who is calling');

SELECT is(pg_temp.contents(), (SELECT contents FROM contents_before), 'nothing has changed');
SELECT * FROM finish();
ROLLBACK;
