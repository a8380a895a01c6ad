-- I4: the planner's estimates do not see through row-level security.  For each
-- column of each table and view that clients read, a client asks EXPLAIN for a
-- value that many rows of another tenant have, and for one that none has: both
-- answers are the same, to the last digit.
BEGIN;
\ir lib/tenants.sql

-- Globex is much larger than acme, and all of its rows are alike.
\o /dev/null
INSERT INTO keystone_private.credentials (workspace_id, id, name, folded_name, environment, owner, provider, kind, current_version, last_version,
	hint, description, tags, metadata, is_active, is_verified, verified_at, verified_detail, expires_at, created_by, created_at, updated_at,
	last_rotated_at, deleted_at, destroy_after)
SELECT w.id, gen_random_uuid(), 'launch codes', 'launch codes', 'bunker', p.id, 'nuclear', 'secret kind', 7, 9, '****code', 'about the launch', '{launch}',
	   '{"launch": 1}', false, false, '2001-02-03', 'did not launch', '2031-02-03', p.id, '2001-02-03', '2001-02-03', '2001-02-03', '2001-02-03', '2031-02-03'
FROM keystone.workspaces w, keystone.principals p, generate_series(1, 2000)
WHERE w.slug = 'globex' AND p.db_role = 'ks_stranger';
INSERT INTO keystone.credential_versions (workspace_id, credential_id, version, owner, state, source_version, created_by, created_at, verified_at, destroyed_at)
SELECT workspace_id, id, v, owner, 'destroyed', 1, created_by, created_at, created_at, created_at
FROM keystone_private.credentials, generate_series(1, 2) v WHERE name = 'launch codes';
INSERT INTO keystone_private.credential_usage (workspace_id, credential_id, usage_count, last_used_at)
SELECT workspace_id, id, 4711, '2001-02-03' FROM keystone_private.credentials WHERE name = 'launch codes';
INSERT INTO keystone.credential_shares (workspace_id, credential_id, grantee, owner, until, created_at, updated_at, row_mac)
SELECT c.workspace_id, c.id, p.id, c.owner, '2031-02-03', '2001-02-03', '2001-02-03', '\x4711'
FROM keystone_private.credentials c, keystone.principals p WHERE c.name = 'launch codes' AND p.db_role = 'ks_viewer';
INSERT INTO keystone.principals (id, display_name, kind, created_at, disabled_at, row_mac)
SELECT gen_random_uuid(), 'Dr. Launch', 'service', '2001-02-03', '2001-02-03', '\x4711' FROM generate_series(1, 2000);
UPDATE keystone.principals SET registered_by = (SELECT id FROM keystone.principals WHERE db_role = 'ks_stranger') WHERE display_name = 'Dr. Launch';
INSERT INTO keystone.members (workspace_id, principal_id, role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac)
SELECT w.id, p.id, 'service', '{audit}', w.created_by, '2001-02-03', '2001-02-03', '2001-02-03', '\x4711'
FROM keystone.workspaces w, keystone.principals p WHERE w.slug = 'globex' AND p.display_name = 'Dr. Launch';
INSERT INTO keystone.workspaces (id, slug, display_name, contact, plan, status, status_set_by, purge_after, purged_at, created_by, created_at, updated_at, row_mac)
SELECT gen_random_uuid(), 'launch-' || n, 'Launch site', 'doctor@launch.example', 'pro', 'cancelled', p.id, '2001-02-03', '2001-02-03', p.id, '2001-02-03', '2001-02-03', '\x4711'
FROM keystone.principals p, generate_series(1, 2000) n WHERE p.db_role = 'ks_stranger';
INSERT INTO keystone.provider_configs (workspace_id, provider, mode, config, enabled, updated_by, updated_at)
SELECT w.id, c.provider, c.mode, c.config, c.enabled, c.updated_by, c.updated_at
FROM keystone.provider_configs c, keystone.workspaces w WHERE c.workspace_id = pg_temp.workspace('globex') AND w.slug ~ '^launch-';
INSERT INTO keystone_private.api_keys (workspace_id, id, name, prefix, role, environments, providers, created_by, created_at, updated_at, expires_at, revoked_at, row_mac)
SELECT w.id, p.id, 'launch key', '0123456789ab', 'service', '{bunker}', '{nuclear}', w.created_by, '2001-02-03', '2001-02-03', '2031-02-03', '2001-02-03', '\x4711'
FROM keystone.workspaces w, keystone.principals p WHERE w.slug = 'globex' AND p.display_name = 'Dr. Launch';
INSERT INTO keystone_private.principal_usage SELECT id, '2001-02-03' FROM keystone.principals WHERE display_name = 'Dr. Launch';
INSERT INTO keystone.invitations (workspace_id, id, email, role, token_mac, invited_by, created_at, expires_at, accepted_at, accepted_by, cancelled_at, row_mac)
SELECT w.id, gen_random_uuid(), 'doctor@launch.example', 'service', sha256(n::text::bytea), w.created_by, '2001-02-03', '2031-02-03', '2001-02-03', w.created_by, '2001-02-03', '\x4711'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone.quotas (workspace_id, meter, period_start, period_end, used, reserved, overage, cost_micros, closed_at)
SELECT w.id, 'launches', '2001-02-03'::timestamptz + n * interval '1 day', '2001-02-03', 4711, 4712, 4713, 4714, '2001-02-03'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone.usage_events (workspace_id, id, provider, principal_id, quantity, cost_micros, workflow, context, idempotency_key, created_at)
SELECT w.id, gen_random_uuid(), 'nuclear', w.created_by, 4711, 4712, 'launching', '{"launch": 1}', 'launch ' || n, '2001-02-03'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone.budgets (workspace_id, period, soft_micros, hard_micros, updated_by, updated_at)
SELECT id, 'month', 4711, 4712, created_by, '2001-02-03' FROM keystone.workspaces WHERE slug = 'globex' OR slug ~ '^launch-';
INSERT INTO keystone.budget_spending (workspace_id, period, period_start, period_end, spent_micros)
SELECT workspace_id, period, '2001-02-03', '2001-03-03', 4711 FROM keystone.budgets;
INSERT INTO keystone_private.alerts (workspace_id, kind, subject, period_start, threshold, used, allowed, created_at)
SELECT w.id, 'quota', 'launches', '2001-02-03'::timestamptz + n * interval '1 day', 80, 4711, 4712, '2001-02-03'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone_private.limits (workspace_id, name, windows, algorithm, timezone, class, shadow, key_by, near_percent, refundable, created_by, created_at, updated_at, row_mac)
SELECT w.id, 'launches ' || n, '4711/day', 'calendar', 'Antarctica/Vostok', 'protect', false, '', 47, false, 'Dr. Launch', '2001-02-03', '2001-02-03', '\x4711'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone_private.policies (workspace_id, id, version, level, enforcement, document, created_by, created_at, updated_by, updated_at, row_mac)
SELECT w.id, 'launches-' || n, 47, 'secret', 'shadow', '{"launch": 1}', w.created_by, '2001-02-03', w.created_by, '2001-02-03', '\x4711'
FROM keystone.workspaces w, generate_series(1, 2000) n WHERE w.slug = 'globex';
INSERT INTO keystone_private.policy_versions (workspace_id, id, version, document, created_by, created_at)
SELECT workspace_id, id, version, document, created_by, created_at FROM keystone_private.policies WHERE id ~ '^launches-';
ALTER TABLE keystone.approval_requests DISABLE TRIGGER approval_guard;
ALTER TABLE keystone.approval_votes DISABLE TRIGGER approval_guard;
INSERT INTO keystone.approval_requests (workspace_id, id, requester, action, resource, parameters, reason, request_hash, need, break_glass, state, level,
	created_at, expires_at, decided_at, claimed_at, completed_at, detail, reviewed_by, reviewed_at, row_mac)
SELECT w.id, gen_random_uuid(), w.created_by, 'launch', '{"launch": 1}', '{"launch": 2}', 'about to launch', '\x4711', '{"launch": 3}', true, 'executed', 47,
	'2001-02-03', '2031-02-03', '2001-02-03', '2001-02-03', '2001-02-03', 'launched', p.id, '2001-02-03', '\x4711'
FROM keystone.workspaces w, keystone.principals p, generate_series(1, 2000) n WHERE w.slug = 'globex' AND p.db_role = 'ks_viewer';
INSERT INTO keystone.approval_votes (workspace_id, request_id, voter, vote, comment, request_hash, voted_at, row_mac)
SELECT workspace_id, id, reviewed_by, 'approve', 'launch it', request_hash, '2001-02-03', row_mac FROM keystone.approval_requests WHERE action = 'launch';
\o

SELECT format('ANALYZE %s', string_agg(oid::regclass::text, ', ')) FROM pg_class
WHERE relkind = 'r' AND relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) \gexec

-- What clients read of other tenants: not the catalogue, which is public, nor what each sees its own;
-- of kms_status and key_progress the planner has no statistics, as functions give their rows.
CREATE TEMP VIEW readable AS
	SELECT c.oid::regclass AS object, c.relname, a.attname, a.atttypid::regtype AS type
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
	AND has_column_privilege('ks_operator', c.oid, a.attnum, 'SELECT') AND c.relname NOT IN ('providers', 'seal_status', 'plans', 'kms_status', 'key_progress');

-- The value of a column that most rows have: those of other tenants.
CREATE FUNCTION pg_temp.common(object regclass, attname name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	IF object = 'keystone.budget_status'::regclass THEN	-- which shows all of them to nobody
		RETURN nullif(pg_temp.value_as('ks_stranger', format('SELECT %I FROM keystone.budget_status', attname)), '<null>');
	END IF;
	EXECUTE format('SELECT %2$I::text FROM %1$s WHERE %2$I IS NOT NULL GROUP BY %2$I ORDER BY count(*) DESC LIMIT 1', object, attname) INTO result;
	RETURN result;
END
$$;

-- One that none has.
CREATE FUNCTION pg_temp.absent(type regtype) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN type = 'uuid'::regtype THEN gen_random_uuid()::text
		WHEN type IN ('int'::regtype, 'bigint'::regtype, 'numeric'::regtype) THEN '987654'
		WHEN type = 'timestamptz'::regtype THEN '1999-09-09 00:00:00+00'
		WHEN type = 'date'::regtype THEN '1999-09-09'
		WHEN type = 'boolean'::regtype THEN 'true'
		WHEN type = 'bytea'::regtype THEN '\xabcdef'
		WHEN type = 'jsonb'::regtype THEN '{"absent": true}'
		WHEN type = 'text[]'::regtype THEN '{absent}'
		ELSE 'absent' END
$$;

-- What EXPLAIN tells an operator of acme, without the value itself.
CREATE FUNCTION pg_temp.estimate(object regclass, condition text, value text, type regtype) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	PERFORM set_config('session_authorization', 'ks_operator', true);
	EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM %s WHERE %s', object, format(condition, format('%L::%s', value, type))) INTO plan;
	RESET SESSION AUTHORIZATION;
	RETURN jsonb_path_query_array(plan, '$.**."Plan Rows"') || jsonb_path_query_array(plan, '$.**."Total Cost"') || jsonb_path_query_array(plan, '$.**."Node Type"');
END
$$;

CREATE TEMP TABLE probes AS
	SELECT r.object, r.relname || '.' || attname || ' ' || o.operator AS name, format('%I %s %%s', attname, o.operator) AS condition, r.type,
		   pg_temp.common(r.object, r.attname) AS common
	FROM readable r CROSS JOIN (VALUES ('='), ('<'), ('>=')) o (operator)
	WHERE r.relname <> 'audit_log' OR o.operator = '=';
INSERT INTO probes SELECT 'keystone.credentials', 'credentials, owner of a name', $$COALESCE(owner, '00000000-0000-0000-0000-000000000000'::uuid) = %s$$, 'uuid',
	pg_temp.common('keystone.credentials', 'owner');

SELECT plan((SELECT count(*) FROM probes WHERE common IS NOT NULL)::int + 4);

SELECT cmp_ok((SELECT count(*)::int FROM probes WHERE common IS NOT NULL), '>', 200, 'the probes are many');
SELECT is((SELECT string_agg(name, ', ') FROM probes WHERE common IS NULL AND name !~ '^(audit_log|credential_summary)\.'
		   AND name !~ '^(workspaces.personal_of|credentials.destroyed_at|credential_shares.revoked_at|principals.db_role) '), NULL, 'each column has a value in another tenant''s rows');
SELECT is(pg_temp.estimate(object, condition, common, type), pg_temp.estimate(object, condition, pg_temp.absent(type), type),
		  'I4 estimates: ' || name)
FROM probes WHERE common IS NOT NULL ORDER BY name;

-- Statistics are what would tell; there are none, neither of columns nor of an index's expressions.
SELECT is((SELECT string_agg(DISTINCT s.starelid::regclass::text, ', ') FROM pg_statistic s LEFT JOIN pg_index i ON i.indexrelid = s.starelid
		   WHERE coalesce(i.indrelid, s.starelid) IN (
			SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND has_table_privilege('ks_operator', c.oid, 'SELECT')
			AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
			AND c.relname NOT IN ('provider_catalogue', 'provider_definitions', 'audit_entries', 'plans'))), NULL, 'no statistics of what clients read in part');
SELECT set_eq(
	$$SELECT s.stxname FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid
	  WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)$$,
	ARRAY[]::name[], 'nor extended ones');
SELECT * FROM finish();
ROLLBACK;
