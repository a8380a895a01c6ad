-- I9, I12: NULL for a parameter that needs a value is 22004, for one that does
-- not it is the absence; never a silent pass.  All functions and parameters of
-- the API, in turn.
BEGIN;
\ir lib/tenants.sql
\o /dev/null
SELECT keystone.grant_access('ks_owner', 'worker');
SELECT pg_temp.do_as('ks_dba', $$SELECT keystone.limit_define('logins', '10/hour')$$);

-- Parameters for which NULL means something.
CREATE TEMP TABLE optional (function text, parameter text);
INSERT INTO optional SELECT f, unnest(p::text[]) FROM (VALUES
	('register_principal', '{id,db_role,external_id}'), ('create_workspace', '{display_name}'),
	('add_member', '{approval,reason}'), ('set_member_role', '{approval,reason}'), ('remove_member', '{approval,reason}'), ('transfer_ownership', '{approval,reason}'),
	('invite_member', '{expires_at}'), ('create_api_key', '{expires_at,environments,providers}'), ('offboard_workspace', '{confirm}'),
	('provider_define', '{label,default_kind,value_pattern,limits,cost_micros}'),
	('store', '{provider,kind,expires_at,description,tags,metadata,expected_version,approval,reason}'),
	('reveal', '{version,field,owner,approval,reason}'), ('reveal_by_id', '{version,field,approval,reason}'), ('reveal_many', '{reason}'),
	('reveal_env', '{names,reason}'), ('export_env', '{reason}'), ('import_bundle', '{slug}'), ('resolve', '{kind}'), ('rotate', '{expected_version,approval,reason}'),
	('promote', '{approval,reason}'), ('rollback_to', '{approval,reason}'), ('rename', '{approval,reason}'), ('delete_credential', '{approval,reason}'),
	('rotate_workspace_key', '{approval,reason}'), ('shred_workspace', '{approval,reason}'),
	('request_approval', '{reason}'), ('approve', '{comment,request_hash}'), ('reject', '{comment,request_hash}'), ('complete_approval', '{detail}'),
	('share_credential', '{until}'), ('destroy_credential', '{approval,reason}'), ('destroy_version', '{approval,reason}'), ('mark_verified', '{version,detail}'), ('verify_all', '{workspace}'),
	('policy_put', '{workspace,expected_version,approval,reason}'), ('policy_get', '{workspace}'), ('policy_drop', '{workspace,approval,reason}'),
	('policy_evaluate', '{principal}'), ('policy_explain', '{principal}'),
	('limit_define', '{workspace}'), ('limit_drop', '{workspace}'), ('limit_consume', '{workspace}'), ('limit_require', '{workspace}'),
	('limit_peek', '{workspace}'), ('limit_block', '{workspace}'), ('limit_unblock', '{workspace}'),
	('quota_consume', '{idempotency_key,principal}'), ('quota_reserve', '{idempotency_key,principal}'),
	('usage_record', '{cost_micros,principal,idempotency_key}'), ('budget_set', '{soft_micros,hard_micros}'),
	('audit_erase', '{approval,reason}'), ('audit_verify', '{from_seq,to_seq}'), ('audit_reconcile', '{workspace}'), ('audit_export', '{workspace,since,until,from_seq,to_seq}')) v (f, p);

-- What is given for the others; a call with these alone succeeds, or fails for
-- a reason that is not NULL.
CREATE TEMP VIEW parameters AS
	SELECT p.proname::text AS function, a.n, p.proargnames[a.n] AS parameter, p.proargtypes[a.n - 1] AS type, a.n > p.pronargs - p.pronargdefaults AS has_default,
		CASE WHEN p.proargnames[a.n] = 'workspace' THEN quote_literal('acme')
			 WHEN p.proargnames[a.n] = 'id' AND p.proargtypes[a.n - 1] = 'text'::regtype THEN quote_literal('the-policy')
			 WHEN p.proargnames[a.n] = 'action' THEN quote_literal('rotate')
			 WHEN p.proargnames[a.n] IN ('credential', 'id') THEN quote_literal(pg_temp.credential('acme-shared')) || '::uuid'
			 WHEN p.proargnames[a.n] = 'credentials' THEN format('ARRAY[%L]::uuid[]', pg_temp.credential('acme-shared'))
			 WHEN p.proargnames[a.n] IN ('principal', 'grantee') THEN quote_literal(pg_temp.principal('ks_viewer')) || '::uuid'
			 WHEN p.proargnames[a.n] = 'request' AND p.proargtypes[a.n - 1] = 'uuid'::regtype THEN quote_literal(pg_temp.credential('acme-shared')) || '::uuid'
			 WHEN p.proargnames[a.n] = 'action' THEN quote_literal('rotate')
			 WHEN p.proargnames[a.n] = 'permission' THEN quote_literal('view')
			 WHEN p.proargnames[a.n] = 'profile' THEN quote_literal('client')
			 WHEN p.proargnames[a.n] = 'role' AND p.proargtypes[a.n - 1] = 'name'::regtype THEN quote_literal('ks_anonymous')
			 WHEN p.proargnames[a.n] = 'role' THEN quote_literal('viewer')
			 WHEN p.proargnames[a.n] = 'category' THEN quote_literal('no_auth')
			 WHEN p.proargnames[a.n] = 'provider' THEN quote_literal('openai')
			 WHEN p.proargnames[a.n] = 'email' THEN quote_literal('guest@example.com')
			 WHEN p.proargnames[a.n] = 'slug' THEN quote_literal('another')
			 WHEN p.proargnames[a.n] = 'content' THEN quote_literal('A=b')
			 WHEN p.proargnames[a.n] = 'format' THEN quote_literal('jsonl')
			 WHEN p.proargnames[a.n] = 'name' AND p.proname ~ '^limit_' THEN quote_literal('logins')
			 WHEN p.proargnames[a.n] = 'windows' THEN quote_literal('10/hour')
			 WHEN p.proargnames[a.n] = 'requests' THEN quote_literal('[{"name": "logins", "key": "somebody"}]')
			 WHEN p.proargnames[a.n] = 'until' THEN quote_literal('infinity')
			 WHEN p.proargnames[a.n] = 'meter' THEN quote_literal('rotations')
			 WHEN p.proargnames[a.n] = 'plan' THEN quote_literal('free')
			 WHEN p.proargnames[a.n] = 'seqs' THEN quote_literal('{}')
			 WHEN p.proargnames[a.n] = 'recipient' THEN quote_literal('\x8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a') || '::bytea'
			 WHEN p.proargtypes[a.n - 1] = 'regclass'::regtype THEN quote_literal('pg_catalog.pg_class')
			 WHEN p.proargtypes[a.n - 1] IN ('integer'::regtype, 'bigint'::regtype) THEN '1'
			 WHEN p.proargtypes[a.n - 1] = 'boolean'::regtype THEN 'true'
			 WHEN p.proargtypes[a.n - 1] = 'jsonb'::regtype THEN quote_literal('{}')
			 ELSE quote_literal('acme-shared') END AS good
	FROM pg_proc p CROSS JOIN LATERAL generate_series(1, p.pronargs) a (n)
	WHERE p.pronamespace = 'keystone'::regnamespace AND p.prokind = 'f';
CREATE TEMP VIEW calls AS
	SELECT t.function, t.parameter, t.has_default, o.parameter IS NOT NULL AS optional,
		format('SELECT * FROM keystone.%I(%s)', t.function, (
			SELECT string_agg(format('%I => %s', u.parameter, CASE WHEN u.parameter = t.parameter THEN 'NULL' ELSE u.good END), ', ' ORDER BY u.n)
			FROM parameters u WHERE u.function = t.function AND (NOT u.has_default OR u.parameter = t.parameter))) AS statement,
		CASE WHEN t.function IN ('grant_access', 'revoke_access', 'provider_define', 'register_principal', 'accept_restore', 'audit_erase', 'disable_principal', 'enable_principal',
			'limit_define', 'limit_drop', 'limit_block', 'limit_unblock') THEN 'ks_dba' ELSE 'ks_owner' END AS caller
	FROM parameters t LEFT JOIN optional o USING (function, parameter);
\o

SELECT plan((SELECT count(*) FROM calls)::int + 6);
SELECT is_empty('SELECT function, parameter FROM optional EXCEPT SELECT function, parameter FROM parameters', 'the list of optional parameters is of parameters');
SELECT is_empty($$SELECT function, parameter FROM optional JOIN parameters USING (function, parameter) WHERE NOT has_default AND function NOT IN ('budget_set', 'policy_put', 'policy_get', 'policy_drop')$$,
	'they have defaults, but for the sums of budget_set(), and the workspace of policies');
SELECT cmp_ok((SELECT count(*) FROM calls)::int, '>', 100, 'there are calls');
SELECT CASE WHEN optional THEN isnt(pg_temp.as_role(caller, statement), '22004', format('I12 %s takes NULL for %s', function, parameter))
			ELSE is(pg_temp.as_role(caller, statement), '22004', format('I9 %s refuses NULL for %s', function, parameter)) END
FROM calls ORDER BY function, parameter;
SELECT throws_ok(statement, '22004', NULL, format('I9 %s', statement)) FROM (VALUES
	($$SELECT keystone_private.period_at(NULL, now(), now())$$),
	($$SELECT keystone_private.period_at('month', NULL, now())$$),
	($$SELECT keystone_private.period_at('month', now(), NULL)$$)) v (statement);
SELECT * FROM finish();
ROLLBACK;
