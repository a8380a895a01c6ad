-- Read by tests with \ir after metering.sql: what each caller should see of each
-- relation, and get from each verb and each function.  :granted says whether
-- somebody has run GRANT ALL: then a privilege that is not there is not what
-- refuses, and nobody may get more than no row.
--
-- Workspace acme is "own" for its members and their keys; "personal" are
-- acme's personal credentials; "foreign" is globex.
\o /dev/null

CREATE FUNCTION pg_temp.granted() RETURNS boolean LANGUAGE sql RETURN :'granted'::boolean;

-- Each caller: the profile that it has, whether it has an identity, and its
-- permissions in both workspaces.
CREATE TEMP TABLE callers (place int GENERATED ALWAYS AS IDENTITY, who text, profile text, known boolean, acme text[], globex text[]);
INSERT INTO callers (who, profile, known, acme, globex) VALUES
	('ks_owner',		'client',	true,	'{view,reveal,store,rotate,audit,policy,workspace,billing,owner}', '{}'),
	('ks_admin',		'client',	true,	'{view,reveal,store,rotate,audit,policy,workspace}', '{}'),
	('ks_operator',		'client',	true,	'{view,rotate}', '{}'),
	('ks_viewer',		'client',	true,	'{view}', '{}'),
	('ks_auditor',		'client',	true,	'{audit}', '{}'),
	('ks_service',		'client',	true,	'{view,reveal}', '{}'),
	('ks_grantee',		'client',	true,	'{view}', '{}'),
	('ks_stranger',		'client',	true,	'{}', '{view,reveal,store,rotate,audit,policy,workspace,billing,owner}'),
	('ks_anonymous',	'client',	false,	'{}', '{}'),
	('ks_nobody',		'none',		false,	'{}', '{}'),
	('ks_worker',		'worker',	true,	'{}', '{}'),
	('ks_logs',			'auditor',	false,	'{}', '{}'),
	('ks_dba',			'admin',	false,	'{}', '{}'),
	('ks_monitor',		'monitor',	false,	'{}', '{}'),
	('key_admin',		'client',	true,	'{view,reveal,store,rotate,audit,policy,workspace}', '{}'),
	('key_operator',	'client',	true,	'{view,rotate}', '{}'),
	('key_viewer',		'client',	true,	'{view}', '{}'),
	('key_auditor',		'client',	true,	'{audit}', '{}'),
	('key_service',		'client',	true,	'{view,reveal}', '{}'),
	('key_limited',		'client',	true,	'{view,reveal,store,rotate}', '{}'),
	('key_stranger',	'client',	true,	'{}', '{view,reveal,store,rotate,audit,policy,workspace}'),
	('ks_agent',		'worker',	true,	'{view,reveal,store,rotate,audit,policy,workspace}', '{}');
-- For COPY, which needs these before it looks at any table.
GRANT pg_read_server_files, pg_write_server_files TO ks_owner, ks_admin, ks_operator, ks_viewer, ks_auditor, ks_service, ks_grantee,
	ks_stranger, ks_anonymous, ks_nobody, ks_worker, ks_logs, ks_dba, ks_monitor, ks_agent;

-- {acme} and {globex} in a text are the workspaces, {name} is the credential
-- of that name, or the principal of that role.
CREATE FUNCTION pg_temp.filled_in(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	named record;
BEGIN
	FOR named IN SELECT slug AS name, id FROM keystone.workspaces UNION ALL SELECT name, id FROM keystone_private.credentials
		UNION ALL SELECT db_role, id FROM keystone.principals WHERE db_role IS NOT NULL
	LOOP
		what := replace(what, '{' || named.name || '}', named.id::text);
	END LOOP;
	RETURN what;
END
$$;

-- What was done in this transaction is not in the log yet, but reveals are.
SELECT pg_temp.value_as(r.who, format('SELECT keystone.reveal_by_id(%L)', pg_temp.credential(r.name)))
FROM (VALUES ('ks_service', 'acme-shared'), ('ks_operator', 'operators-own'), ('ks_stranger', 'globex-shared')) r (who, name);

-- What a query of each scope should find, in the order of callers.  X is
-- 42501; P is, too, but one row once the privilege is there: all may know it.
CREATE TEMP TABLE expected_rows (object text, scope text, query text, expected text);
INSERT INTO expected_rows VALUES
	--															own adm opr vwr aud svc gra str ano nob wrk log dba mon kad kop kvw kau ksv kli kst agt
	('workspaces', 'own', $$slug = 'acme'$$,					'1   1   1   1   1   1   1   0   0   X   0   1   1   0   1   1   1   1   1   1   0   1'),
	('workspaces', 'foreign', $$slug = 'globex'$$,				'0   0   0   0   0   0   0   1   0   X   0   1   1   0   0   0   0   0   0   0   1   0'),
	('members', 'own', $$workspace_id = '{acme}'$$,				'8   8   8   8   1   8   8   0   0   X   0   X   8   X   8   8   8   0   8   8   0   8'),
	('members', 'foreign', $$workspace_id = '{globex}'$$,		'0   0   0   0   0   0   0   3   0   X   0   X   3   X   0   0   0   0   0   0   3   0'),
	('principals', 'own', $$db_role IN ('ks_owner', 'ks_admin', 'ks_operator', 'ks_viewer', 'ks_auditor', 'ks_service', 'ks_grantee')$$,
																'7   7   7   7   1   7   7   0   0   X   0   X   7   X   7   7   7   0   7   7   0   7'),
	('principals', 'foreign', $$db_role = 'ks_stranger'$$,		'0   0   0   0   0   0   0   1   0   X   0   X   1   X   0   0   0   0   0   0   1   0'),
	('principals', 'keys', $$kind = 'api_key'$$,				'0   0   0   0   0   0   0   0   0   X   0   X   7   X   1   1   1   1   1   1   1   0'),
	('providers', 'own', $$name = 'openai'$$,					'1   1   1   1   1   1   1   1   1   P   1   P   1   P   1   1   1   1   1   1   1   1'),
	('provider_configs', 'own', $$workspace_id = '{acme}'$$,	'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   0   0   1'),
	('provider_configs', 'foreign', $$workspace_id = '{globex}'$$, '0 0  0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('credentials', 'own', $$name = 'acme-shared'$$,			'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   0   0   1'),
	('credentials', 'within limits', $$name = 'prod-cohere'$$,	'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('credentials', 'personal', $$name = 'operators-own'$$,		'1   1   1   0   0   0   1   0   0   X   0   X   X   X   1   0   0   0   0   0   0   1'),
	('credentials', 'personal, not shared', $$name = 'viewers-own'$$, '1 1 0 1   0   0   0   0   0   X   0   X   X   X   1   0   0   0   0   0   0   1'),
	('credentials', 'foreign', $$name IN ('globex-shared', 'strangers-own')$$, '0 0 0 0 0 0  0   2   0   X   0   X   X   X   0   0   0   0   0   0   2   0'),
	('credential_versions', 'own', $$credential_id = '{acme-shared}'$$, '1 1 1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   0   0   1'),
	('credential_versions', 'within limits', $$credential_id = '{prod-cohere}'$$, '1 1 1 1 0 1 1 0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('credential_versions', 'personal', $$credential_id = '{operators-own}'$$, '1 1 1 0  0   0   1   0   0   X   0   X   X   X   1   0   0   0   0   0   0   1'),
	('credential_versions', 'foreign', $$credential_id IN ('{globex-shared}', '{strangers-own}')$$, '0 0 0 0 0 0 0 2 0 X 0 X   X   X   0   0   0   0   0   0   2   0'),
	('credential_summary', 'own', $$workspace = 'acme'$$,		'2   2   2   2   0   2   2   0   0   X   0   X   X   X   2   2   2   0   2   1   0   2'),
	('credential_summary', 'foreign', $$workspace = 'globex'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('credential_shares', 'own', $$credential_id = '{operators-own}'$$, '1 1 1   0   0   0   1   0   0   X   0   X   X   X   1   0   0   0   0   0   0   1'),
	('credential_shares', 'foreign', $$credential_id = '{strangers-own}'$$, '0 0 0 0 0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('api_keys', 'own', $$workspace_id = '{acme}'$$,			'6   6   0   0   0   0   0   0   0   X   0   X   X   X   6   1   1   1   1   1   0   6'),
	('api_keys', 'foreign', $$workspace_id = '{globex}'$$,		'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('invitations', 'own', $$workspace_id = '{acme}'$$,			'1   1   0   0   0   0   0   0   0   X   0   X   X   X   1   0   0   0   0   0   0   1'),
	('invitations', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('audit_log', 'own', $$object = '{acme-shared}'$$,			'1   1   0   0   1   1   0   0   0   X   0   1   X   X   1   0   0   1   0   0   0   1'),
	('audit_log', 'personal', $$object = '{operators-own}'$$,	'1   1   1   0   1   0   0   0   0   X   0   1   X   X   1   0   0   1   0   0   0   1'),
	('audit_log', 'foreign', $$object = '{globex-shared}'$$,	'0   0   0   0   0   0   0   1   0   X   0   1   X   X   0   0   0   0   0   0   1   0'),
	-- limits, quotas, usage and budgets; a key limited to a provider sees that one's usage
	('plans', 'own', $$name = 'pro'$$,						'1   1   1   1   1   1   1   1   1   X   1   1   1   1   1   1   1   1   1   1   1   1'),
	('quotas', 'own', $$workspace_id = '{acme}'$$,			'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('quotas', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('usage_events', 'own', $$workspace_id = '{acme}' AND provider = 'openai'$$,
															'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   0   0   1'),
	('usage_events', 'within limits', $$workspace_id = '{acme}' AND provider = 'cohere'$$,
															'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('usage_events', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('usage_summary', 'own', $$workspace_id = '{acme}' AND provider = 'openai'$$,
															'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   0   0   1'),
	('usage_summary', 'within limits', $$workspace_id = '{acme}' AND provider = 'cohere'$$,
															'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('usage_summary', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('budgets', 'own', $$workspace_id = '{acme}'$$,			'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('budgets', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('budget_spending', 'own', $$workspace_id = '{acme}'$$,	'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('budget_spending', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('budget_status', 'own', $$workspace_id = '{acme}'$$,	'1   1   1   1   0   1   1   0   0   X   0   X   X   X   1   1   1   0   1   1   0   1'),
	('budget_status', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('alerts', 'own', $$workspace_id = '{acme}'$$,			'1   1   1   1   0   1   1   0   0   X   0   X   0   0   1   1   1   0   1   1   0   1'),
	('alerts', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   0   0   0   0   0   0   0   0   1   0'),
	('alerts', 'of the database', $$workspace_id = '00000000-0000-0000-0000-000000000000'$$,
															'0   0   0   0   0   0   0   0   0   X   0   X   1   1   0   0   0   0   0   0   0   0'),
	-- approvals: who asked, holders of approve or audit
	('approval_requests', 'own', $$workspace_id = '{acme}'$$,	'1   1   0   0   1   0   0   0   0   X   0   X   X   X   1   0   0   1   0   0   0   1'),
	('approval_requests', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('approval_votes', 'own', $$workspace_id = '{acme}'$$,	'1   1   0   0   1   0   0   0   0   X   0   X   X   X   1   0   0   1   0   0   0   1'),
	('approval_votes', 'foreign', $$workspace_id = '{globex}'$$,
															'0   0   0   0   0   0   0   1   0   X   0   X   X   X   0   0   0   0   0   0   1   0'),
	('limits', 'own', $$workspace_id = '{acme}' AND name = 'the-limit'$$,
															'1   1   1   1   0   1   1   0   0   X   0   X   1   X   1   1   1   0   1   1   0   1'),
	('limits', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   1   X   0   0   0   0   0   0   1   0'),
	('limits', 'of the database', $$workspace_id = '00000000-0000-0000-0000-000000000000' AND name = 'everyones-limit'$$,
															'1   1   1   1   1   1   1   1   1   X   1   X   1   X   1   1   1   1   1   1   1   1'),
	('policies', 'own', $$workspace_id = '{acme}' AND id = 'the-policy'$$,
															'1   1   0   0   1   0   0   0   0   X   0   1   1   X   1   0   0   1   0   0   0   1'),
	('policies', 'foreign', $$workspace_id = '{globex}' AND id = 'the-policy'$$,	'0   0   0   0   0   0   0   1   0   X   0   1   1   X   0   0   0   0   0   0   1   0'),
	('policies', 'of the database', $$workspace_id = '00000000-0000-0000-0000-000000000000' AND id = 'everyones-policy'$$,
															'0   0   0   0   0   0   0   0   0   X   0   1   1   X   0   0   0   0   0   0   0   0'),
	('policy_versions', 'own', $$workspace_id = '{acme}' AND id = 'the-policy'$$,
															'1   1   0   0   1   0   0   0   0   X   0   1   1   X   1   0   0   1   0   0   0   1'),
	('policy_versions', 'foreign', $$workspace_id = '{globex}' AND id = 'the-policy'$$,
															'0   0   0   0   0   0   0   1   0   X   0   1   1   X   0   0   0   0   0   0   1   0'),
	('limit_stats', 'own', $$entries >= 0$$,				'X   X   X   X   X   X   X   X   X   X   X   X   1   1   X   X   X   X   X   X   X   X'),
	('metrics', 'own', $$name = 'keystone_sealed'$$,		'X   X   X   X   X   X   X   X   X   X   X   X   1   1   X   X   X   X   X   X   X   X'),
	('seal_status', 'own', $$NOT sealed$$,						'1   1   1   1   1   1   1   1   1   P   1   1   1   1   1   1   1   1   1   1   1   1'),
	('seal_status', 'reason', $$current_root_key IS NOT NULL OR reason IS NOT NULL OR pending_rewraps IS NOT NULL$$,
																'0   0   0   0   0   0   0   0   0   X   0   0   1   1   0   0   0   0   0   0   0   0'),
	-- no workspace of these has a customer's key
	('kms_status', 'own', $$workspace_id = '{acme}'$$,		'0   0   0   0   0   0   0   0   0   X   0   X   0   0   0   0   0   0   0   0   0   0'),
	('key_progress', 'own', $$workspace_id = '{acme}'$$,		'1   1   0   0   0   0   0   0   0   X   0   X   1   1   1   0   0   0   0   0   0   1'),
	('key_progress', 'foreign', $$workspace_id = '{globex}'$$,	'0   0   0   0   0   0   0   1   0   X   0   X   1   1   0   0   0   0   0   0   1   0'),
	('health', 'own', $$check_name = 'seal'$$,					'X   X   X   X   X   X   X   X   X   X   X   X   1   1   X   X   X   X   X   X   X   X'),
	('settings', 'own', $$name = 'keystone.hints'$$,			'X   X   X   X   X   X   X   X   X   X   X   X   1   1   X   X   X   X   X   X   X   X');

CREATE TEMP TABLE matrix AS
	SELECT c.who, e.object, e.scope, format('SELECT FROM keystone.%I WHERE %s', e.object, pg_temp.filled_in(e.query)) AS query,
		   CASE WHEN x.word !~ '[XP]' THEN ARRAY[x.word]
				ELSE '{42501}' || CASE WHEN pg_temp.granted() THEN ARRAY[CASE x.word WHEN 'P' THEN '1' ELSE '0' END] END END AS expected
	FROM expected_rows e
	CROSS JOIN LATERAL regexp_split_to_table(e.expected, ' +') WITH ORDINALITY x (word, place)
	LEFT JOIN callers c USING (place);

-- Whatever the row, writes are refused to all: clients write through
-- functions.  With all privileges UPDATE, DELETE and locks find no row of a
-- table; 55P02 is what the server says to an UPDATE of a view of its settings.
CREATE TEMP TABLE writes AS
	SELECT r.who, o.relname AS object, v.verb, v.statement,
		   o.relkind = 'v' AS as_view,	-- one that locks nothing may be read as without
		   (v.refused || CASE WHEN o.relkind = 'v' THEN '{55000,42809,0A000,55P02}' END::text[] || CASE WHEN pg_temp.granted() THEN v.granted END) AS expected
	FROM callers r
	CROSS JOIN (SELECT c.relname, c.relkind, quote_ident(a.attname) AS attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
				WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')) o
	CROSS JOIN LATERAL (VALUES
		('INSERT', format('INSERT INTO keystone.%I DEFAULT VALUES', o.relname), '{42501}'::text[], '{}'::text[]),
		('UPDATE', format('UPDATE keystone.%I SET %s = %2$s', o.relname, o.attname), '{42501}', '{0}'),
		('DELETE', format('DELETE FROM keystone.%I', o.relname), '{42501}', '{0}'),
		('TRUNCATE', format('TRUNCATE keystone.%I CASCADE', o.relname), '{42501}', '{}'),
		('MERGE INSERT', format('MERGE INTO keystone.%I t USING (VALUES (1)) s (x) ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES', o.relname), '{42501}', '{}'),
		('MERGE UPDATE', format('MERGE INTO keystone.%I t USING (VALUES (1)) s (x) ON true WHEN MATCHED THEN UPDATE SET %s = t.%2$s', o.relname, o.attname), '{42501}', '{0}'),
		('MERGE DELETE', format('MERGE INTO keystone.%I t USING (VALUES (1)) s (x) ON true WHEN MATCHED THEN DELETE', o.relname), '{42501}', '{0}'),
		('COPY FROM', format('COPY keystone.%I FROM ''/dev/null''', o.relname), '{42501}', '{0A000}'),
		('SELECT FOR UPDATE', format('SELECT FROM keystone.%I FOR UPDATE', o.relname), '{42501}', '{0}'),
		('SELECT FOR KEY SHARE', format('SELECT FROM keystone.%I FOR KEY SHARE', o.relname), '{42501}', '{0}'))
		v (verb, statement, refused, granted);

-- Refusals are recorded, and the housekeeper reads what was; both go on meanwhile.
CREATE FUNCTION pg_temp.contents() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(table_to_xml(c.oid::regclass, true, false, '')::text, '' ORDER BY c.relname))
	FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	AND c.relname !~ '^audit_' AND c.relname NOT IN ('housekeeping', 'credential_usage', 'principal_usage', 'limit_state', 'key_usage')
$$;
CREATE TEMP TABLE contents_before AS SELECT pg_temp.contents();

-- Each function, and what it needs: see outcome().  In its arguments {w} is the
-- workspace, {c} a credential, {m} a member, {k} an API key of a viewer (the
-- only one of globex), {g} the one with whom the personal credential is
-- shared, {n} a principal who is no member, {r} a reservation.  allowed is what who may call it
-- gets, instead of a result; odd, what some callers get whatever the rule says.
CREATE TEMP TABLE functions (name text, args text, needs text, profiles text[], allowed text DEFAULT 'ok', odd jsonb DEFAULT '{}');
INSERT INTO functions (name, args, needs, profiles) VALUES
	-- Who one is may be asked by anybody: the answer is "nobody".
	('version', '', 'nothing', '{client,auditor,admin,monitor,any}'),
	('current_principal', '', 'nothing', '{client,auditor,admin,monitor,any}'),
	('whoami', '', 'nothing', '{client,auditor,admin,monitor,any}'),
	('pre_request', '', 'nothing', '{client,auditor,admin,monitor,any}'),
	('has_permission', $$'{w}', 'view'$$, 'nothing', '{client,auditor,admin,monitor,any}'),
	('permitted_workspaces', $$'view'$$, 'nothing', '{client,auditor,admin,monitor,any}'),
	('audit_public_keys', '', 'nothing', '{client,auditor,admin}'),
	('cedar_authorize', $$'', '[]', '{"principal": "U::\"a\"", "action": "Action::\"a\"", "resource": "R::\"a\"", "context": {}}'$$, 'nothing', '{client,auditor,admin,monitor,any}'),
	('policy_validate', $$'{}'$$, 'nothing', '{client,auditor,admin,monitor,any}'),
	('policy_schema', '', 'nothing', '{client,auditor,admin,monitor,any}'),
	-- members, invitations, keys, providers
	('cancel_invitation', $$'{w}', 'guest@example.com'$$, 'workspace', '{client}'),
	('update_workspace', $$'{w}', '{"display_name": "x"}'$$, 'workspace', '{client}'),
	('update_workspace', $$'{w}', '{"status": "suspended"}'$$, 'owner', '{client,admin}'),
	('transfer_ownership', $$'{w}', '{m}'$$, 'owner', '{client}'),
	('clear_workspace_kms', $$'{w}'$$, 'owner', '{client}'),
	('offboard_workspace', $$'{w}', confirm => '{w}'$$, 'owner', '{client,admin}'),
	('rotate_workspace_key', $$'{w}'$$, 'workspace', '{client}'),
	('reencrypt', $$'{w}'$$, 'workspace', '{client,admin}'),
	('shred_workspace', $$'{w}', '{w}'$$, 'owner', '{client}'),
	('rotate_root_key', '', 'nobody', '{admin}'),
	('provider_configure', $$'{w}', 'cohere'$$, 'workspace', '{client}'),
	('revoke_api_key', $$'{w}', '{k}'$$, 'workspace', '{client}'),
	-- credentials
	('store', $$'{w}', 'new', 'value'$$, 'store', '{client}'),
	('import_env', $$'{w}', 'A=b'$$, 'store', '{client}'),
	('reveal_by_id', $$'{c}'$$, 'reveal', '{client}'),
	('reveal_many', $$ARRAY['{c}']::uuid[]$$, 'reveal', '{client}'),
	('export_env', $$'{w}'$$, 'reveal', '{client}'),
	('export_bundle', $$'{w}', '\x8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'$$, 'owner', '{client}'),
	('rotate', $$'{c}', 'new value'$$, 'rotate', '{client}'),
	('mark_verified', $$'{c}', true$$, 'rotate', '{client}'),
	('rename', $$'{c}', '{"name": "other"}'$$, 'store', '{client}'),
	('update_metadata', $$'{c}', '{}'$$, 'store', '{client}'),
	('set_active', $$'{c}', false$$, 'stop', '{client}'),
	('set_active', $$'{c}', true$$, 'store', '{client}'),
	('delete_credential', $$'{c}'$$, 'stop', '{client}'),
	('restore_credential', $$'{c}'$$, 'store', '{client}'),
	('destroy_credential', $$'{c}'$$, 'workspace', '{client}'),
	('unshare_credential', $$'{c}', '{g}'$$, 'share', '{client}'),
	-- the administrator's
	('register_principal', $$'somebody'$$, 'nobody', '{admin}'),
	('disable_principal', $$'{m}'$$, 'nobody', '{admin}'),
	('enable_principal', $$'{m}'$$, 'nobody', '{admin}'),
	('grant_access', $$'ks_viewer', 'monitor'$$, 'nobody', '{admin}'),
	('revoke_access', $$'ks_viewer', 'client'$$, 'nobody', '{admin}'),
	('provider_define', $$'new', 'no_auth'$$, 'nobody', '{admin}'),
	('accept_restore', $$'why'$$, 'nobody', '{admin}'),
	('metrics_text', '', 'nobody', '{admin,monitor}'),
	-- policies of the database; asking
	('policy_put', $$NULL, '{"apiVersion": "keystone.policy/v1", "id": "new", "scope": {"level": "system"}, "rules": []}'$$, 'nobody', '{client,admin}'),
	('policy_drop', $$NULL, 'everyones-policy'$$, 'nobody', '{client,admin}'),
	('policy_get', $$NULL, 'everyones-policy'$$, 'nobody', '{client,auditor,admin}'),
	('policy_evaluate', $$'{w}', 'rotate'$$, 'view', '{client}'),
	('policy_allowed', $$'{w}', 'rotate'$$, 'view', '{client}'),
	('policy_explain', $$'{w}', 'rotate'$$, 'policy', '{client}'),
	('policy_who_can', $$'{w}', 'rotate'$$, 'policy', '{client}'),
	('policy_lint', $$'{w}'$$, 'policy', '{client}'),
	('policy_simulate', $$'{w}', '{"apiVersion": "keystone.policy/v1", "id": "new", "scope": {"level": "workspace"}, "rules": []}'$$, 'policy', '{client}'),
	-- limits: of the workspace, and of the database
	('limit_define', $$'new', '1000/hour'$$, 'nobody', '{worker,admin}'),
	('limit_drop', $$'everyones-limit'$$, 'nobody', '{worker,admin}'),
	('limit_block', $$'everyones-limit', 'blocked', '2099-01-01', 'why'$$, 'nobody', '{worker,admin}'),
	('limit_unblock', $$'everyones-limit', 'blocked'$$, 'nobody', '{worker,admin}'),
	('rate_limit', $$'k', '1000/hour'$$, 'known', '{worker}'),
	('limit_consume', $$'everyones-limit', 'k'$$, 'known', '{worker}'),
	('limit_consume', $$'the-limit', 'k', workspace => '{w}'$$, 'view', '{worker}'),
	('limit_consume_many', $$'[{"name": "the-limit", "key": "k", "workspace": "{w}"}]'$$, 'view', '{worker}'),
	('limit_require', $$'the-limit', 'k', workspace => '{w}'$$, 'view', '{worker}'),
	-- plans, quotas, usage, budgets
	('set_plan', $$'{w}', 'enterprise'$$, 'billing', '{client,admin}'),
	('plan_allows', $$'{w}', 'approvals'$$, 'view', '{client,admin}'),
	('quota_consume', $$'{w}', 'rotations'$$, 'rotate', '{worker}'),
	('quota_consume', $$'{w}', 'mails'$$, 'reveal', '{worker}'),
	('quota_reserve', $$'{w}', 'rotations'$$, 'rotate', '{worker}'),
	('quota_commit', $$'{r}'$$, 'rotate', '{worker}'),
	('quota_release', $$'{r}'$$, 'rotate', '{worker}'),
	('usage_record', $$'{w}', 'openai'$$, 'reveal', '{worker}'),
	('usage_record', $$'{w}', 'openai', -1, context => '{"corrects": "00000000-0000-0000-0000-000000000000"}'$$, 'billing', '{worker}'),
	('budget_set', $$'{w}', 1000000, 2000000$$, 'billing', '{client}'),
	-- the log
	('audit_export', '', 'nobody', '{auditor}'),
	('audit_export', $$workspace => '{w}'$$, 'audit', '{client,auditor}'),
	('audit_verify', '', 'audit anywhere', '{client,auditor,admin}'),
	('audit_reconcile', '', 'nobody', '{auditor,admin}'),
	('audit_reconcile', $$'{w}'$$, 'audit', '{client,auditor,admin}'),
	('audit_consistency', '1, 1', 'audit anywhere', '{client,auditor,admin}');
INSERT INTO functions (name, args, needs, profiles, allowed, odd) VALUES
	-- An API key that is limited to environments has none of these; the bytes are no ciphertext.
	('encrypt', $$'{w}', 'plain'$$, 'store', '{client}', 'ok', '{"key_limited": "42501"}'),
	('encrypt_text', $$'{w}', 'plain'$$, 'store', '{client}', 'ok', '{"key_limited": "42501"}'),
	('blind_index', $$'{w}', 'plain'$$, 'store', '{client}', 'ok', '{"key_limited": "42501"}'),
	('decrypt', $$'{w}', 'sealed'$$, 'reveal', '{worker}', '22023', '{"key_limited": "42501"}'),
	('decrypt_text', $$'{w}', 'sealed'$$, 'reveal', '{worker}', '22023', '{"key_limited": "42501"}'),
	-- No policy wants an approval; there is no such request.
	('request_approval', $$'{w}', 'rotate_workspace_key', '{}'$$, 'workspace', '{client}', '22023', '{}'),
	('break_glass', $$'{w}', 'rotate_workspace_key', '{}', reason => 'fire'$$, 'workspace', '{client}', '22023', '{}'),
	('approve', $$'00000000-0000-4000-8000-000000000000'$$, 'known', '{client}', 'PT404', '{}'),
	('reject', $$'00000000-0000-4000-8000-000000000000'$$, 'known', '{client}', 'PT404', '{}'),
	('cancel_request', $$'00000000-0000-4000-8000-000000000000'$$, 'known', '{client}', 'PT404', '{}'),
	('claim_approval', $$'00000000-0000-4000-8000-000000000000'$$, 'known', '{client}', 'PT404', '{}'),
	('complete_approval', $$'00000000-0000-4000-8000-000000000000', true$$, 'known', '{client}', 'PT404', '{}'),
	('review_break_glass', $$'00000000-0000-4000-8000-000000000000', 'looked at'$$, 'known', '{client}', 'PT404', '{}'),
	('record_preview', $$'{c}', '{}'$$, 'rotate', '{client}', 'ok', '{}'),
	-- There is no keystone.kms_command.
	('set_workspace_kms', $$'{w}', 'test://key'$$, 'owner', '{client}', 'PT423', '{}'),
	-- A second, different proof is refused.
	('authenticate', (SELECT quote_literal(token) FROM pg_temp.tokens WHERE who = 'key_viewer'), 'known', '{client}', 'ok',
	 '{"ks_anonymous": "ok", "key_admin": "42501", "key_operator": "42501", "key_auditor": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	-- A login role gets a principal by these; an API key has a workspace.
	('create_workspace', $$'new-workspace'$$, 'known', '{client}', 'ok',
	 '{"ks_anonymous": "ok", "key_admin": "42501", "key_operator": "42501", "key_viewer": "42501", "key_auditor": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	('personal_workspace', '', 'known', '{client}', 'ok',
	 '{"ks_anonymous": "ok", "key_admin": "42501", "key_operator": "42501", "key_viewer": "42501", "key_auditor": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	-- There is no key for bundles.
	('import_bundle', $$'\x00'$$, 'known', '{client}', '55000',
	 '{"ks_anonymous": "55000", "key_admin": "42501", "key_operator": "42501", "key_viewer": "42501", "key_auditor": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	('accept_invitation', $$'ki_000000000000000000000000'$$, 'known', '{client}', 'PT404',
	 '{"key_admin": "42501", "key_operator": "42501", "key_viewer": "42501", "key_auditor": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	('register_principal', $$'somebody', 'service'$$, 'workspace anywhere', '{client,admin}', 'ok', '{}'),
	-- Everybody may leave.
	('remove_member', $$'{w}', '{m}'$$, 'workspace', '{client,admin}', 'ok', '{"ks_viewer": "ok"}'),
	('cancel_offboarding', $$'{w}'$$, 'owner', '{client,admin}', 'PT404', '{}'),
	-- A key gives nobody rights.
	('add_member', $$'{w}', '{n}', 'viewer'$$, 'workspace', '{client}', 'ok', '{"key_admin": "42501"}'),
	('set_member_role', $$'{w}', '{m}', 'service'$$, 'workspace', '{client}', 'ok', '{"key_admin": "42501"}'),
	('invite_member', $$'{w}', 'another@example.com', 'viewer'$$, 'workspace', '{client}', 'ok', '{"key_admin": "42501"}'),
	-- It makes none; it rotates itself, whatever its role.
	('create_api_key', $$'{w}', 'new', 'viewer'$$, 'workspace', '{client}', 'ok', '{"key_admin": "42501"}'),
	('rotate_api_key', $$'{w}', '{k}'$$, 'workspace', '{client}', 'ok', '{"key_admin": "42501", "key_viewer": "ok", "key_stranger": "ok"}'),
	-- One's own personal credential takes view; an API key owns none.
	('store', $$'{w}', 'new', 'value', personal => true$$, 'view', '{client}', 'ok',
	 '{"key_admin": "42501", "key_operator": "42501", "key_viewer": "42501", "key_service": "42501", "key_limited": "42501", "key_stranger": "42501"}'),
	('reveal', $$'{w}', '{name}', owner => {owner}$$, 'reveal', '{client}', 'ok', '{}'),
	('reveal', $$'acme', 'prod-cohere', 'prod'$$, 'reveal anyhow', '{client}', 'ok', '{"ks_auditor": "PT404", "key_auditor": "PT404"}'),
	-- Of an environment one gets what one may have of it, at least one's own.
	('reveal_env', $$'{w}'$$, 'view', '{client}', 'ok', '{}'),
	('resolve', $$'acme', 'cohere', environment => 'prod'$$, 'view anyhow', '{client}', 'ok', '{}'),
	('credential_id', $$'acme', 'prod-cohere', environment => 'prod'$$, 'view anyhow', '{client}', 'ok', '{}'),
	('credential_id', $$'acme', 'acme-shared'$$, 'view anyhow', '{client}', 'ok', '{"key_limited": "PT404"}'),
	-- There is one version, which is the current one.
	('promote', $$'{c}', 1$$, 'rotate', '{client}', '22023', '{}'),
	('rollback_to', $$'{c}', 1$$, 'rotate', '{client}', '22023', '{}'),
	('destroy_version', $$'{c}', 1$$, 'workspace', '{client}', '22023', '{}'),
	('share_credential', $$'{c}', '{m}'$$, 'share', '{client}', 'ok', '{"ks_viewer": "22023"}'),
	('verify_all', $$'{w}'$$, 'workspace', '{client,admin}', 'ok', '{"ks_auditor": "ok", "key_auditor": "ok"}'),
	('verify_all', '', 'known', '{client,admin}', 'ok', '{}'),
	('link_auth_users', '', 'nobody', '{admin}', '55000', '{}'),
	-- The profile admin has the database's policies only.
	('policy_put', $$'{w}', '{"apiVersion": "keystone.policy/v1", "id": "new", "scope": {"level": "workspace"}, "rules": []}'$$, 'policy', '{client,admin}', 'ok', '{"ks_dba": "42501"}'),
	('policy_drop', $$'{w}', 'the-policy'$$, 'policy', '{client,admin}', 'ok', '{"ks_dba": "42501"}'),
	('policy_get', $$'{w}', 'the-policy'$$, 'policy', '{client,auditor,admin}', 'ok',
	 '{"ks_dba": "42501", "ks_logs": "42501", "ks_auditor": "ok", "key_auditor": "ok"}'),
	-- The profile admin has the database's limits only.
	('limit_define', $$'new', '1000/hour', '{w}'$$, 'workspace', '{worker,admin}', 'ok', '{"ks_dba": "42501"}'),
	('limit_drop', $$'the-limit', '{w}'$$, 'workspace', '{worker,admin}', 'ok', '{"ks_dba": "42501"}'),
	('limit_block', $$'the-limit', 'blocked', '2099-01-01', 'why', '{w}'$$, 'workspace', '{worker,admin}', 'ok', '{"ks_dba": "42501"}'),
	('limit_unblock', $$'the-limit', 'blocked', '{w}'$$, 'workspace', '{worker,admin}', 'ok', '{"ks_dba": "42501"}'),
	('limit_peek', $$'the-limit', 'k', workspace => '{w}'$$, 'view', '{worker,admin,monitor}', 'ok', '{"ks_dba": "42501", "ks_monitor": "42501"}'),
	('limit_peek', $$'everyones-limit', 'k'$$, 'known', '{worker,admin,monitor}', 'ok', '{}'),
	('limit_headers', 'NULL', 'nothing', '{worker}', '22004', '{}'),
	-- A token is the one's who consumed.
	('limit_refund', (SELECT quote_literal(token) FROM pg_temp.refunds), 'known', '{worker}', '22023', '{"ks_agent": "ok"}'),
	('audit_erase', $$'{}', 'on no basis'$$, 'nobody', '{admin}', 'ok', '{}'),
	('audit_table', $$'pg_catalog.pg_class'$$, 'nobody', '{}', 'ok', '{}'),
	('audit_untable', $$'pg_catalog.pg_class'$$, 'nobody', '{}', 'ok', '{}'),
	-- Nothing is signed here.
	('audit_checkpoint', '', 'audit anywhere', '{client,auditor,admin}', '55000', '{}'),
	-- An entry that one does not see does not exist.
	('audit_inclusion', '1', 'audit anywhere', '{client,auditor}', 'PT404',
	 '{"ks_logs": "55000", "ks_anonymous": "PT404", "ks_operator": "PT404", "ks_viewer": "PT404", "ks_service": "PT404", "ks_grantee": "PT404", "ks_worker": "PT404",
	   "key_operator": "PT404", "key_viewer": "PT404", "key_service": "PT404", "key_limited": "PT404"}');

-- What the rule of API.md says: the profile, then the identity, then the
-- workspace, which for who is no member does not exist, then the permission.
-- A credential that one does not see does not exist either.
CREATE FUNCTION pg_temp.outcome(c callers, f functions, scope text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	abroad boolean := scope LIKE 'foreign%';
	perms text[] := CASE WHEN abroad THEN c.globex ELSE c.acme END;
	needs text := split_part(f.needs, ' ', 1);
	is_owner boolean := c.who = CASE WHEN abroad THEN 'ks_stranger' ELSE 'ks_operator' END;
BEGIN
	IF needs = 'nothing' AND c.profile = 'none' THEN
		RETURN CASE WHEN 'any' = ANY (f.profiles) AND pg_temp.granted() THEN f.allowed ELSE '42501' END;
	ELSIF NOT (c.profile = ANY (f.profiles) OR (c.profile = 'worker' AND 'client' = ANY (f.profiles))) THEN
		RETURN '42501';
	ELSIF needs = 'nothing' OR c.profile IN ('admin', 'auditor', 'monitor') THEN
		RETURN CASE WHEN f.odd ? c.who THEN f.odd ->> c.who ELSE f.allowed END;
	ELSIF f.odd ? c.who AND abroad = (f.args ~ '[{]' AND c.who = 'key_stranger') THEN
		RETURN f.odd ->> c.who;
	ELSIF abroad AND c.who = 'key_stranger' AND f.odd ? 'key_admin' THEN
		RETURN f.odd ->> 'key_admin';
	ELSIF NOT c.known OR needs = 'nobody' THEN
		RETURN '42501';
	ELSIF needs = 'known' THEN
		RETURN f.allowed;
	ELSIF f.needs LIKE '% anywhere' THEN
		RETURN CASE WHEN needs = ANY (c.acme || c.globex) THEN f.allowed ELSE '42501' END;
	ELSIF f.args !~ '\{(c|name)\}' THEN
		RETURN CASE WHEN perms = '{}' THEN 'PT404'
					WHEN NOT needs = ANY (perms) THEN '42501'
					-- what it would store is outside its limits
					WHEN c.who = 'key_limited' AND needs = 'store' THEN '42501'
					ELSE f.allowed END;
	ELSIF NOT 'view' = ANY (perms) OR c.who = 'key_limited' THEN
		RETURN 'PT404';
	ELSIF scope LIKE '%personal' THEN
		RETURN CASE WHEN is_owner THEN f.allowed
					WHEN c.who = 'ks_grantee' AND NOT abroad THEN CASE needs WHEN 'reveal' THEN f.allowed ELSE '42501' END
					WHEN 'workspace' = ANY (perms) THEN CASE needs WHEN 'stop' THEN f.allowed ELSE '42501' END
					ELSE 'PT404' END;
	ELSE
		RETURN CASE WHEN CASE needs WHEN 'stop' THEN 'store' ELSE needs END = ANY (perms) THEN f.allowed ELSE '42501' END;
	END IF;
END
$$;
-- An error that comes as a row.
CREATE FUNCTION pg_temp.raised(problem text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF problem IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = pg_catalog.left(problem, 5), MESSAGE = problem; END IF;
	RETURN problem;
END
$$;
CREATE TEMP TABLE calls AS
	SELECT c.who, f.name, s.scope, f.args,
		   format('SELECT %s FROM keystone.%I(%s) x', CASE f.name WHEN 'reveal_many' THEN 'pg_temp.raised(problem)' END, f.name,
			   pg_temp.filled_in(replace(replace(replace(replace(replace(replace(replace(replace(replace(f.args,
				   '{w}', s.workspace), '{c}', '{' || s.credential || '}'), '{name}', s.credential),
				   '{owner}', coalesce(quote_literal('{' || s.owner || '}'), 'NULL')),
				   '{m}', '{' || s.member || '}'), '{k}', s.key), '{g}', '{' || s.grantee || '}'), '{n}', '{ks_worker}'), '{r}', (SELECT e.id::text FROM keystone_private.quota_events e
				   WHERE e.state = 'reserved' AND e.workspace_id = pg_temp.workspace(s.workspace))))) AS statement,
		   pg_temp.outcome(c, f, s.scope) AS expected
	FROM functions f CROSS JOIN callers c
	JOIN (VALUES
		('own', 'acme', 'acme-shared', NULL, 'ks_viewer', 'the viewer', 'ks_grantee'),
		('personal', 'acme', 'operators-own', 'ks_operator', 'ks_viewer', 'the viewer', 'ks_grantee'),
		('foreign', 'globex', 'globex-shared', NULL, 'ks_helper', 'the foreign', 'ks_helper'),
		('foreign personal', 'globex', 'strangers-own', 'ks_stranger', 'ks_helper', 'the foreign', 'ks_helper'))
		s (scope, workspace, credential, owner, member, key, grantee)
		ON s.scope = 'own' OR f.args ~ '\{(c|name)\}' OR (s.scope = 'foreign' AND f.args ~ '\{[wmr]\}');

-- How many tests there are in matrix_tests.sql.
CREATE FUNCTION pg_temp.matrix_tests() RETURNS int LANGUAGE sql AS $$
	SELECT ((SELECT count(DISTINCT (object, scope)) FROM matrix) + (SELECT count(DISTINCT (object, verb)) FROM writes)
		+ (SELECT count(DISTINCT object) FROM writes WHERE object <> 'audit_log') + (SELECT count(DISTINCT (name, args, scope)) FROM calls) + 5)::int
$$;
\o
