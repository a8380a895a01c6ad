-- The whole surface, one line an object, so that every change of it has to be
-- made here as well.  Owner and ACL are shown by what they should be: the
-- owner is that of the schemas, nobody else has any right (I4).
--
-- To acknowledge a change: the failing test prints the lines that are extra
-- and those that are missing; edit the list of them below.
BEGIN;
\o /dev/null
SET client_min_messages = warning;
CREATE TEMP VIEW rooms AS
	SELECT oid, nspname, nspowner FROM pg_namespace WHERE nspname IN ('keystone', 'keystone_private');

-- "" when only the owner has rights, else the ACL.
CREATE FUNCTION pg_temp.foreign_acl(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(' acl ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || '=' || a.privilege_type, '' ORDER BY a.grantee, a.privilege_type), '')
	FROM aclexplode(coalesce(acl, acldefault(kind, owner))) a WHERE a.grantee <> owner
$$;
CREATE FUNCTION pg_temp.foreign_owner(owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN owner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'keystone') THEN '' ELSE ' owner=' || owner::regrole END
$$;

CREATE TEMP VIEW functions AS
	SELECT p.oid::regproc || '(' || pg_get_function_arguments(p.oid) || ') -> ' || pg_get_function_result(p.oid)
		|| CASE p.prokind WHEN 'f' THEN '' ELSE ' kind ' || p.prokind::text END
		|| ' | ' || l.lanname
		|| CASE p.provolatile WHEN 'i' THEN ' immutable' WHEN 's' THEN ' stable' ELSE ' volatile' END
		|| CASE p.proparallel WHEN 's' THEN ' safe' WHEN 'r' THEN ' restricted' ELSE ' unsafe' END
		|| CASE WHEN p.proisstrict THEN ' strict' ELSE '' END
		|| CASE WHEN p.prosecdef THEN ' definer' ELSE '' END
		|| CASE WHEN p.proleakproof THEN ' leakproof' ELSE '' END
		|| coalesce(' ' || array_to_string(p.proconfig, ' '), '')
		|| pg_temp.foreign_owner(p.proowner) || pg_temp.foreign_acl(p.proacl, 'f', p.proowner)
		|| CASE WHEN obj_description(p.oid, 'pg_proc') ~ '\w' THEN '' ELSE ' no comment' END AS line
	FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang;

CREATE TEMP VIEW relations AS
	SELECT c.oid::regclass
		|| CASE c.relkind WHEN 'r' THEN ' table' WHEN 'v' THEN ' view' WHEN 'S' THEN ' sequence' ELSE ' kind ' || c.relkind::text END
		|| CASE WHEN c.relkind = 'r' THEN CASE WHEN c.relrowsecurity THEN ' rls' ELSE ' no rls' END || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END ELSE '' END
		|| CASE c.relpersistence WHEN 'p' THEN '' ELSE ' persistence ' || c.relpersistence::text END
		|| coalesce(' ' || array_to_string(c.reloptions, ' '), '')
		|| pg_temp.foreign_owner(c.relowner) || pg_temp.foreign_acl(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
		|| CASE WHEN obj_description(c.oid, 'pg_class') ~ '\w' THEN '' ELSE ' no comment' END AS line
	FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace
	WHERE c.relkind NOT IN ('i', 'I', 't', 'c');

-- Statistics "0" where it is set, since estimates see through row-level security.
CREATE TEMP VIEW columns AS
	SELECT c.oid::regclass || '.' || quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
		|| CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
		|| coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
		|| CASE WHEN a.attstattarget = 0 THEN ' statistics 0' ELSE '' END
		|| CASE WHEN a.attstorage <> t.typstorage THEN ' storage ' || a.attstorage::text ELSE '' END
		|| pg_temp.foreign_acl(a.attacl, 'c', c.relowner)
		|| CASE WHEN col_description(c.oid, a.attnum) ~ '\w' THEN '' ELSE ' no comment' END AS line
	FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	JOIN pg_type t ON t.oid = a.atttypid
	LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
	WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f');

-- A = always: session_replication_role does not switch it off.
CREATE TEMP VIEW triggers AS
	SELECT t.tgrelid::regclass || ' ' || t.tgname || ' ' || t.tgenabled::text || ' '
		|| regexp_replace(pg_get_triggerdef(t.oid), '^CREATE TRIGGER \w+ (.*) ON \S+ (.*)$', '\1 \2')
		|| CASE WHEN obj_description(t.oid, 'pg_trigger') ~ '\w' THEN '' ELSE ' no comment' END AS line
	FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN rooms r ON r.oid = c.relnamespace
	WHERE NOT t.tgisinternal;

-- Versions differ in the aliases that they show for sub-selects.
CREATE TEMP VIEW policies AS
	SELECT p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text || CASE WHEN p.polpermissive THEN '' ELSE ' restrictive' END
		|| CASE WHEN p.polroles = '{0}' THEN '' ELSE ' roles' END || ' '
		|| regexp_replace(regexp_replace(coalesce(pg_get_expr(p.polqual, p.polrelid), ''), ' AS \w+', '', 'g'), '\s+', ' ', 'g')
		|| coalesce(' CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid), '')
		|| CASE WHEN obj_description(p.oid, 'pg_policy') ~ '\w' THEN '' ELSE ' no comment' END AS line
	FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN rooms r ON r.oid = c.relnamespace;

CREATE TEMP VIEW others AS
	SELECT 'schema ' || r.nspname || pg_temp.foreign_owner(r.nspowner) || pg_temp.foreign_acl(n.nspacl, 'n', r.nspowner) AS line
	FROM rooms r JOIN pg_namespace n ON n.oid = r.oid
	UNION ALL
	SELECT 'type ' || t.oid::regtype || ' ' || t.typtype::text || pg_temp.foreign_owner(t.typowner) || pg_temp.foreign_acl(t.typacl, 'T', t.typowner)
	FROM pg_type t JOIN rooms r ON r.oid = t.typnamespace
	WHERE t.typtype <> 'b' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltype = t.oid AND c.relkind <> 'c')
	UNION ALL
	SELECT 'operator ' || o.oid::regoperator FROM pg_operator o JOIN rooms r ON r.oid = o.oprnamespace
	UNION ALL
	SELECT 'dumped ' || d::regclass || coalesce(' ' || nullif(f, ''), '')
	FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) x (d, f) WHERE e.extname = 'keystone'
	UNION ALL
	SELECT 'extension ' || e.extname || CASE WHEN e.extrelocatable THEN ' relocatable' ELSE '' END FROM pg_extension e WHERE e.extname = 'keystone'
	UNION ALL
	SELECT 'rule ' || w.rulename || ' ' || w.ev_class::regclass FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN rooms r ON r.oid = c.relnamespace
	WHERE w.rulename <> '_RETURN';

CREATE TEMP VIEW surface AS
	SELECT 'function' AS kind, line FROM pg_temp.functions
	UNION ALL SELECT 'relation', line FROM pg_temp.relations
	UNION ALL SELECT 'column', line FROM pg_temp.columns
	UNION ALL SELECT 'trigger', line FROM pg_temp.triggers
	UNION ALL SELECT 'policy', line FROM pg_temp.policies
	UNION ALL SELECT 'other', line FROM pg_temp.others;

CREATE TEMP TABLE expected (kind text, line text);
INSERT INTO expected VALUES
	-- other
	('other', 'dumped keystone.budget_spending'),
	('other', 'dumped keystone.budgets'),
	('other', 'dumped keystone.credential_shares'),
	('other', 'dumped keystone.credential_versions'),
	('other', 'dumped keystone.invitations'),
	('other', 'dumped keystone.members'),
	('other', 'dumped keystone.principals'),
	('other', 'dumped keystone.provider_configs'),
	('other', 'dumped keystone.quotas'),
	('other', 'dumped keystone.usage_events'),
	('other', 'dumped keystone.workspaces'),
	('other', 'dumped keystone_private.alerts'),
	('other', 'dumped keystone_private.api_key_secrets'),
	('other', 'dumped keystone_private.api_keys'),
	('other', 'dumped keystone_private.approval_claims'),
	('other', 'dumped keystone_private.audit_checkpoints'),
	('other', 'dumped keystone_private.audit_entries'),
	('other', 'dumped keystone_private.audit_epochs'),
	('other', 'dumped keystone_private.audit_keys'),
	('other', 'dumped keystone_private.audit_outbox'),
	('other', 'dumped keystone_private.audit_tiles'),
	('other', 'dumped keystone_private.ciphertext'),
	('other', 'dumped keystone_private.credential_usage'),
	('other', 'dumped keystone_private.credentials'),
	('other', 'dumped keystone_private.external_ids'),
	('other', 'dumped keystone_private.housekeeping'),
	('other', 'dumped keystone_private.limits'),
	('other', 'dumped keystone_private.principal_usage'),
	('other', 'dumped keystone_private.profile_grants'),
	('other', 'dumped keystone_private.provider_definitions'),
	('other', 'dumped keystone_private.provider_prices'),
	('other', 'dumped keystone_private.quota_events'),
	('other', 'dumped keystone_private.root_keys'),
	('other', 'dumped keystone_private.system_keys'),
	('other', 'dumped keystone_private.usage_corrections'),
	('other', 'dumped keystone_private.workspace_keys'),
	('other', 'extension keystone'),
	('other', 'schema keystone'),
	('other', 'schema keystone_private'),
	('other', 'type keystone."text/plain" d acl PUBLIC=USAGE'),
	('other', 'type keystone.limit_result c'),
	-- function
	('function', 'keystone.accept_invitation(token text) -> uuid | c volatile unsafe'),
	('function', 'keystone.accept_restore(reason text) -> void | c volatile unsafe'),
	('function', 'keystone.add_member(workspace text, principal uuid, role text, extra_permissions text[] DEFAULT ''{}''::text[], approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.audit_checkpoint() -> keystone."text/plain" | c volatile unsafe'),
	('function', 'keystone.audit_consistency(old_size bigint, new_size bigint) -> keystone."text/plain" | c volatile unsafe'),
	('function', 'keystone.audit_export(format text DEFAULT ''jsonl''::text, workspace text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, from_seq bigint DEFAULT NULL::bigint, to_seq bigint DEFAULT NULL::bigint) -> SETOF text | c volatile unsafe'),
	('function', 'keystone.audit_inclusion(seq bigint) -> keystone."text/plain" | c volatile unsafe'),
	('function', 'keystone.audit_public_keys(OUT key_id text, OUT vkey text, OUT valid_from bigint, OUT valid_to bigint) -> SETOF record | c stable unsafe'),
	('function', 'keystone.audit_table(target regclass, keep_values name[] DEFAULT ''{}''::name[]) -> void | c volatile unsafe'),
	('function', 'keystone.audit_untable(target regclass) -> void | c volatile unsafe'),
	('function', 'keystone.audit_verify(from_seq bigint DEFAULT NULL::bigint, to_seq bigint DEFAULT NULL::bigint, OUT ok boolean, OUT checked bigint, OUT first_bad bigint, OUT problem text, OUT verdict text) -> record | c volatile unsafe'),
	('function', 'keystone.authenticate(token text) -> uuid | c volatile unsafe'),
	('function', 'keystone.budget_set(workspace text, soft_micros bigint, hard_micros bigint, period text DEFAULT ''month''::text) -> void | c volatile unsafe'),
	('function', 'keystone.cancel_invitation(workspace text, email text) -> void | c volatile unsafe'),
	('function', 'keystone.cancel_offboarding(workspace text) -> void | c volatile unsafe'),
	('function', 'keystone.create_api_key(workspace text, name text, role text DEFAULT ''service''::text, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, environments text[] DEFAULT NULL::text[], providers text[] DEFAULT NULL::text[], OUT api_key text, OUT id uuid, OUT prefix text, OUT expires_at timestamp with time zone) -> record | c volatile unsafe'),
	('function', 'keystone.create_workspace(slug text, display_name text DEFAULT NULL::text) -> uuid | c volatile unsafe'),
	('function', 'keystone.credential_id(workspace text, name text, environment text DEFAULT ''default''::text, personal boolean DEFAULT false) -> uuid | c stable unsafe'),
	('function', 'keystone.current_principal() -> uuid | c stable restricted'),
	('function', 'keystone.delete_credential(credential uuid, recovery interval DEFAULT ''30 days''::interval, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.destroy_credential(credential uuid, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.destroy_version(credential uuid, version integer, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.disable_principal(principal uuid) -> void | c volatile unsafe'),
	('function', 'keystone.enable_principal(principal uuid) -> void | c volatile unsafe'),
	('function', 'keystone.export_env(workspace text, environment text DEFAULT ''default''::text, reason text DEFAULT NULL::text) -> keystone."text/plain" | c volatile unsafe'),
	('function', 'keystone.grant_access(role name, profile text) -> void | c volatile unsafe'),
	('function', 'keystone.has_permission(workspace text, permission text) -> boolean | c stable restricted'),
	('function', 'keystone.import_env(workspace text, content text, environment text DEFAULT ''default''::text, OUT name text, OUT action text) -> SETOF record | c volatile unsafe'),
	('function', 'keystone.invite_member(workspace text, email text, role text, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone) -> text | c volatile unsafe'),
	('function', 'keystone.limit_block(name text, key text, until timestamp with time zone, reason text, workspace text DEFAULT NULL::text) -> boolean | c volatile unsafe'),
	('function', 'keystone.limit_consume(name text, key text, cost integer DEFAULT 1, workspace text DEFAULT NULL::text) -> keystone.limit_result | c volatile unsafe'),
	('function', 'keystone.limit_consume_many(requests jsonb) -> SETOF keystone.limit_result | c volatile unsafe'),
	('function', 'keystone.limit_define(name text, windows text, workspace text DEFAULT NULL::text, options jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.limit_drop(name text, workspace text DEFAULT NULL::text) -> void | c volatile unsafe'),
	('function', 'keystone.limit_headers(result keystone.limit_result) -> jsonb | c volatile unsafe'),
	('function', 'keystone.limit_peek(name text, key text, workspace text DEFAULT NULL::text) -> keystone.limit_result | c volatile unsafe'),
	('function', 'keystone.limit_refund(token text) -> boolean | c volatile unsafe'),
	('function', 'keystone.limit_require(name text, key text, cost integer DEFAULT 1, workspace text DEFAULT NULL::text) -> keystone.limit_result | c volatile unsafe'),
	('function', 'keystone.limit_unblock(name text, key text, workspace text DEFAULT NULL::text) -> boolean | c volatile unsafe'),
	('function', 'keystone.link_auth_users() -> void | c volatile unsafe'),
	('function', 'keystone.mark_verified(credential uuid, ok boolean, version integer DEFAULT NULL::integer, detail text DEFAULT NULL::text) -> void | c volatile unsafe'),
	('function', 'keystone.metrics_text() -> keystone."text/plain" | c stable restricted'),
	('function', 'keystone.offboard_workspace(workspace text, purge_after interval DEFAULT ''30 days''::interval, confirm text DEFAULT NULL::text) -> timestamp with time zone | c volatile unsafe'),
	('function', 'keystone.permitted_workspaces(permission text) -> SETOF uuid | c stable restricted'),
	('function', 'keystone.personal_workspace() -> uuid | c volatile unsafe'),
	('function', 'keystone.plan_allows(workspace text, feature text) -> boolean | c stable restricted'),
	('function', 'keystone.pre_request() -> void | c volatile unsafe'),
	('function', 'keystone.promote(credential uuid, version integer, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> integer | c volatile unsafe'),
	('function', 'keystone.provider_configure(workspace text, provider text, mode text DEFAULT ''hosted''::text, config jsonb DEFAULT ''{}''::jsonb, enabled boolean DEFAULT true) -> void | c volatile unsafe'),
	('function', 'keystone.provider_define(name text, category text, label text DEFAULT NULL::text, default_kind text DEFAULT NULL::text, value_pattern text DEFAULT NULL::text, limits text DEFAULT NULL::text, cost_micros bigint DEFAULT NULL::bigint, enabled boolean DEFAULT true) -> void | c volatile unsafe'),
	('function', 'keystone.quota_commit(reservation uuid, OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) -> record | c volatile unsafe'),
	('function', 'keystone.quota_consume(workspace text, meter text, quantity bigint DEFAULT 1, idempotency_key text DEFAULT NULL::text, principal uuid DEFAULT NULL::uuid, OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) -> record | c volatile unsafe'),
	('function', 'keystone.quota_release(reservation uuid, OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) -> record | c volatile unsafe'),
	('function', 'keystone.quota_reserve(workspace text, meter text, quantity bigint DEFAULT 1, idempotency_key text DEFAULT NULL::text, principal uuid DEFAULT NULL::uuid, OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) -> record | c volatile unsafe'),
	('function', 'keystone.rate_limit(key text, windows text, cost integer DEFAULT 1) -> keystone.limit_result | c volatile unsafe'),
	('function', 'keystone.register_principal(display_name text, kind text DEFAULT ''user''::text, id uuid DEFAULT NULL::uuid, db_role name DEFAULT NULL::name, external_id text DEFAULT NULL::text) -> uuid | c volatile unsafe'),
	('function', 'keystone.remove_member(workspace text, principal uuid, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.rename(credential uuid, changes jsonb, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.resolve(workspace text, provider text, kind text DEFAULT NULL::text, environment text DEFAULT ''default''::text, OUT credential uuid, OUT name text, OUT version integer, OUT personal boolean, OUT mode text) -> record | c stable unsafe'),
	('function', 'keystone.restore_credential(credential uuid) -> void | c volatile unsafe'),
	('function', 'keystone.reveal(workspace text, name text, environment text DEFAULT ''default''::text, version integer DEFAULT NULL::integer, field text DEFAULT NULL::text, owner uuid DEFAULT NULL::uuid, scope text DEFAULT ''any''::text, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> text | c volatile unsafe'),
	('function', 'keystone.reveal_by_id(credential uuid, version integer DEFAULT NULL::integer, field text DEFAULT NULL::text, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> text | c volatile unsafe'),
	('function', 'keystone.reveal_env(workspace text, environment text DEFAULT ''default''::text, names text[] DEFAULT NULL::text[], reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb, OUT credential uuid, OUT name text, OUT version integer, OUT value text, OUT problem text) -> SETOF record | c volatile unsafe'),
	('function', 'keystone.reveal_many(credentials uuid[], reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb, OUT credential uuid, OUT name text, OUT version integer, OUT value text, OUT problem text) -> SETOF record | c volatile unsafe'),
	('function', 'keystone.revoke_access(role name, profile text) -> void | c volatile unsafe'),
	('function', 'keystone.revoke_api_key(workspace text, name text) -> void | c volatile unsafe'),
	('function', 'keystone.rollback_to(credential uuid, version integer, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> integer | c volatile unsafe'),
	('function', 'keystone.rotate(credential uuid, value text, expected_version integer DEFAULT NULL::integer, dry_run boolean DEFAULT false, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb, OUT version integer, OUT previous integer) -> record | c volatile unsafe'),
	('function', 'keystone.rotate_api_key(workspace text, name text, overlap interval DEFAULT ''01:00:00''::interval, OUT api_key text, OUT id uuid, OUT prefix text, OUT expires_at timestamp with time zone) -> record | c volatile unsafe'),
	('function', 'keystone.set_active(credential uuid, active boolean) -> void | c volatile unsafe'),
	('function', 'keystone.set_member_role(workspace text, principal uuid, role text, extra_permissions text[] DEFAULT ''{}''::text[], approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.set_plan(workspace text, plan text) -> void | c volatile unsafe'),
	('function', 'keystone.share_credential(credential uuid, grantee uuid, until timestamp with time zone DEFAULT NULL::timestamp with time zone) -> void | c volatile unsafe'),
	('function', 'keystone.store(workspace text, name text, value text, environment text DEFAULT ''default''::text, provider text DEFAULT NULL::text, kind text DEFAULT NULL::text, personal boolean DEFAULT false, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, description text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], metadata jsonb DEFAULT NULL::jsonb, expected_version integer DEFAULT NULL::integer, state text DEFAULT ''current''::text, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb, OUT credential uuid, OUT version integer, OUT action text) -> record | c volatile unsafe'),
	('function', 'keystone.transfer_ownership(workspace text, principal uuid, approval uuid DEFAULT NULL::uuid, reason text DEFAULT NULL::text, context jsonb DEFAULT ''{}''::jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.unshare_credential(credential uuid, grantee uuid) -> void | c volatile unsafe'),
	('function', 'keystone.update_metadata(credential uuid, changes jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.update_workspace(workspace text, changes jsonb) -> void | c volatile unsafe'),
	('function', 'keystone.usage_record(workspace text, provider text, quantity bigint DEFAULT 1, cost_micros bigint DEFAULT NULL::bigint, principal uuid DEFAULT NULL::uuid, context jsonb DEFAULT ''{}''::jsonb, idempotency_key text DEFAULT NULL::text) -> uuid | c volatile unsafe'),
	('function', 'keystone.verify_all(workspace text DEFAULT NULL::text, OUT credential uuid, OUT version integer, OUT ok boolean, OUT problem text) -> SETOF record | c volatile unsafe'),
	('function', 'keystone.version() -> text | c stable safe'),
	('function', 'keystone.whoami(OUT principal uuid, OUT source text, OUT display_name text, OUT reason text, OUT workspaces jsonb) -> record | c stable restricted'),
	('function', 'keystone_private.audit_decode(entry bytea, detail bytea, OUT at timestamp with time zone, OUT workspace_id uuid, OUT actor text, OUT on_behalf_of text, OUT db_role text, OUT action text, OUT object uuid, OUT version bigint, OUT outcome text, OUT client_addr text, OUT claimed_addr text, OUT user_agent text, OUT application_name text, OUT workflow text, OUT node text, OUT run text, OUT request_id text, OUT reason text, OUT epoch integer, OUT details jsonb) -> record | c immutable safe'),
	('function', 'keystone_private.audit_flush() -> void | c volatile unsafe'),
	('function', 'keystone_private.audit_guard() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.audit_row() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.audit_user_row() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.auditor_sees_from() -> bigint | c stable restricted'),
	('function', 'keystone_private.auth_user_deleted() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.calendar_period(unit text, timezone text, at timestamp with time zone, OUT starts timestamp with time zone, OUT ends timestamp with time zone) -> record | c stable restricted'),
	('function', 'keystone_private.claim_request(request uuid) -> boolean | c volatile unsafe'),
	('function', 'keystone_private.has_profile(profile text) -> boolean | c stable restricted'),
	('function', 'keystone_private.health_checks(OUT check_name text, OUT ok boolean, OUT detail text) -> SETOF record | c volatile unsafe'),
	('function', 'keystone_private.invalidate() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.json_merge_patch(target jsonb, patch jsonb) -> jsonb | sql immutable safe search_path=pg_catalog, pg_temp'),
	('function', 'keystone_private.key_environments() -> text[] | c stable restricted'),
	('function', 'keystone_private.key_providers() -> text[] | c stable restricted'),
	('function', 'keystone_private.limit_stats(OUT entries bigint, OUT capacity bigint, OUT in_database bigint, OUT blocked bigint, OUT allowed bigint, OUT denied bigint, OUT overflowed bigint, OUT dirty bigint) -> record | c volatile unsafe'),
	('function', 'keystone_private.metric_samples(OUT name text, OUT labels jsonb, OUT value double precision, OUT kind text, OUT help text) -> SETOF record | c stable restricted'),
	('function', 'keystone_private.owned_relations() -> SETOF text | sql stable safe search_path=pg_catalog, pg_temp'),
	('function', 'keystone_private.owner_sees_from() -> bigint | sql stable safe search_path=pg_catalog, pg_temp'),
	('function', 'keystone_private.pending_rewraps() -> bigint | c volatile unsafe'),
	('function', 'keystone_private.period_at(period text, anchor timestamp with time zone, moment timestamp with time zone, OUT period_start timestamp with time zone, OUT period_end timestamp with time zone) -> record | c immutable safe'),
	('function', 'keystone_private.profile_privileges(OUT profile text, OUT object_kind text, OUT object_name text, OUT privilege text) -> SETOF record | sql immutable safe search_path=pg_catalog, pg_temp'),
	('function', 'keystone_private.refuse_truncate() -> trigger | c volatile unsafe'),
	('function', 'keystone_private.seal_state(OUT sealed boolean, OUT current_root_key text, OUT reason text, OUT generation bigint) -> record | c volatile unsafe'),
	('function', 'keystone_private.shared_credentials() -> SETOF uuid | c stable restricted'),
	('function', 'keystone_private.usage_guard() -> trigger | c volatile unsafe'),
	-- relation
	('relation', 'keystone.alerts view security_invoker=true'),
	('relation', 'keystone.api_keys view security_invoker=true'),
	('relation', 'keystone.audit_log view security_invoker=true'),
	('relation', 'keystone.budget_spending table rls'),
	('relation', 'keystone.budget_status view security_invoker=true'),
	('relation', 'keystone.budgets table rls'),
	('relation', 'keystone.credential_shares table rls'),
	('relation', 'keystone.credential_summary view security_invoker=true'),
	('relation', 'keystone.credential_versions table rls'),
	('relation', 'keystone.credentials view security_invoker=true'),
	('relation', 'keystone.health view'),
	('relation', 'keystone.invitations table rls'),
	('relation', 'keystone.limit_stats view'),
	('relation', 'keystone.limits view security_invoker=true'),
	('relation', 'keystone.members table rls'),
	('relation', 'keystone.metrics view'),
	('relation', 'keystone.plans table rls'),
	('relation', 'keystone.principals table rls'),
	('relation', 'keystone.provider_configs table rls'),
	('relation', 'keystone.providers view security_invoker=true'),
	('relation', 'keystone.quotas table rls'),
	('relation', 'keystone.seal_status view'),
	('relation', 'keystone.settings view'),
	('relation', 'keystone.usage_events table rls'),
	('relation', 'keystone.usage_summary view security_invoker=true'),
	('relation', 'keystone.workspaces table rls'),
	('relation', 'keystone_private.alerts table rls'),
	('relation', 'keystone_private.api_key_secrets table rls'),
	('relation', 'keystone_private.api_keys table rls'),
	('relation', 'keystone_private.approval_claims table rls'),
	('relation', 'keystone_private.audit_checkpoints table rls'),
	('relation', 'keystone_private.audit_entries table rls'),
	('relation', 'keystone_private.audit_epochs table rls'),
	('relation', 'keystone_private.audit_keys table rls'),
	('relation', 'keystone_private.audit_outbox table rls autovacuum_vacuum_scale_factor=0 autovacuum_vacuum_threshold=1000 autovacuum_vacuum_insert_threshold=-1 autovacuum_analyze_threshold=2000000000'),
	('relation', 'keystone_private.audit_tiles table rls'),
	('relation', 'keystone_private.ciphertext table rls'),
	('relation', 'keystone_private.credential_usage table rls'),
	('relation', 'keystone_private.credentials table rls'),
	('relation', 'keystone_private.external_ids table rls'),
	('relation', 'keystone_private.housekeeping table rls'),
	('relation', 'keystone_private.instance table rls'),
	('relation', 'keystone_private.limit_seed table rls'),
	('relation', 'keystone_private.limit_state table rls'),
	('relation', 'keystone_private.limits table rls'),
	('relation', 'keystone_private.principal_usage table rls'),
	('relation', 'keystone_private.profile_grants table rls'),
	('relation', 'keystone_private.provider_catalogue table rls'),
	('relation', 'keystone_private.provider_definitions table rls'),
	('relation', 'keystone_private.provider_prices table rls'),
	('relation', 'keystone_private.quota_events table rls'),
	('relation', 'keystone_private.root_keys table rls'),
	('relation', 'keystone_private.system_keys table rls'),
	('relation', 'keystone_private.usage_corrections table rls'),
	('relation', 'keystone_private.workspace_keys table rls'),
	-- column
	('column', 'keystone.alerts.allowed bigint'),
	('column', 'keystone.alerts.created_at timestamp with time zone'),
	('column', 'keystone.alerts.kind text'),
	('column', 'keystone.alerts.period_start timestamp with time zone'),
	('column', 'keystone.alerts.subject text'),
	('column', 'keystone.alerts.threshold integer'),
	('column', 'keystone.alerts.used bigint'),
	('column', 'keystone.alerts.workspace text'),
	('column', 'keystone.alerts.workspace_id uuid'),
	('column', 'keystone.api_keys.created_at timestamp with time zone'),
	('column', 'keystone.api_keys.created_by uuid'),
	('column', 'keystone.api_keys.environments text[]'),
	('column', 'keystone.api_keys.expires_at timestamp with time zone'),
	('column', 'keystone.api_keys.id uuid'),
	('column', 'keystone.api_keys.last_used_at timestamp with time zone'),
	('column', 'keystone.api_keys.name text'),
	('column', 'keystone.api_keys.prefix text'),
	('column', 'keystone.api_keys.providers text[]'),
	('column', 'keystone.api_keys.revoked_at timestamp with time zone'),
	('column', 'keystone.api_keys.role text'),
	('column', 'keystone.api_keys.workspace text'),
	('column', 'keystone.api_keys.workspace_id uuid'),
	('column', 'keystone.audit_log.action text'),
	('column', 'keystone.audit_log.actor text'),
	('column', 'keystone.audit_log.application_name text'),
	('column', 'keystone.audit_log.at timestamp with time zone'),
	('column', 'keystone.audit_log.claimed_addr text'),
	('column', 'keystone.audit_log.client_addr text'),
	('column', 'keystone.audit_log.db_role text'),
	('column', 'keystone.audit_log.detail jsonb'),
	('column', 'keystone.audit_log.epoch integer'),
	('column', 'keystone.audit_log.node text'),
	('column', 'keystone.audit_log.object uuid'),
	('column', 'keystone.audit_log.on_behalf_of text'),
	('column', 'keystone.audit_log.outcome text'),
	('column', 'keystone.audit_log.reason text'),
	('column', 'keystone.audit_log.request_id text'),
	('column', 'keystone.audit_log.run text'),
	('column', 'keystone.audit_log.seq bigint'),
	('column', 'keystone.audit_log.user_agent text'),
	('column', 'keystone.audit_log.version bigint'),
	('column', 'keystone.audit_log.workflow text'),
	('column', 'keystone.audit_log.workspace text'),
	('column', 'keystone.audit_log.workspace_id uuid'),
	('column', 'keystone.budget_spending.period text not null statistics 0'),
	('column', 'keystone.budget_spending.period_end timestamp with time zone not null statistics 0'),
	('column', 'keystone.budget_spending.period_start timestamp with time zone not null statistics 0'),
	('column', 'keystone.budget_spending.spent_micros bigint not null default 0 statistics 0'),
	('column', 'keystone.budget_spending.workspace_id uuid not null statistics 0'),
	('column', 'keystone.budget_status.hard_micros bigint'),
	('column', 'keystone.budget_status.period text'),
	('column', 'keystone.budget_status.period_end timestamp with time zone'),
	('column', 'keystone.budget_status.period_start timestamp with time zone'),
	('column', 'keystone.budget_status.projected_micros bigint'),
	('column', 'keystone.budget_status.soft_micros bigint'),
	('column', 'keystone.budget_status.spent_micros bigint'),
	('column', 'keystone.budget_status.state text'),
	('column', 'keystone.budget_status.workspace text'),
	('column', 'keystone.budget_status.workspace_id uuid'),
	('column', 'keystone.budgets.hard_micros bigint statistics 0'),
	('column', 'keystone.budgets.period text not null statistics 0'),
	('column', 'keystone.budgets.soft_micros bigint statistics 0'),
	('column', 'keystone.budgets.updated_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.budgets.updated_by uuid not null statistics 0'),
	('column', 'keystone.budgets.workspace_id uuid not null statistics 0'),
	('column', 'keystone.credential_shares.created_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.credential_shares.credential_id uuid not null statistics 0'),
	('column', 'keystone.credential_shares.grantee uuid not null statistics 0'),
	('column', 'keystone.credential_shares.owner uuid not null statistics 0'),
	('column', 'keystone.credential_shares.revoked_at timestamp with time zone statistics 0'),
	('column', 'keystone.credential_shares.row_mac bytea not null statistics 0'),
	('column', 'keystone.credential_shares.until timestamp with time zone statistics 0'),
	('column', 'keystone.credential_shares.updated_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.credential_shares.workspace_id uuid not null statistics 0'),
	('column', 'keystone.credential_summary.credentials bigint'),
	('column', 'keystone.credential_summary.environment text'),
	('column', 'keystone.credential_summary.expired bigint'),
	('column', 'keystone.credential_summary.failing bigint'),
	('column', 'keystone.credential_summary.inactive bigint'),
	('column', 'keystone.credential_summary.next_expiry timestamp with time zone'),
	('column', 'keystone.credential_summary.oldest_rotation timestamp with time zone'),
	('column', 'keystone.credential_summary.personal bigint'),
	('column', 'keystone.credential_summary.provider text'),
	('column', 'keystone.credential_summary.workspace text'),
	('column', 'keystone.credential_summary.workspace_id uuid'),
	('column', 'keystone.credential_versions.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.credential_versions.created_by uuid not null statistics 0'),
	('column', 'keystone.credential_versions.credential_id uuid not null statistics 0'),
	('column', 'keystone.credential_versions.destroyed_at timestamp with time zone statistics 0'),
	('column', 'keystone.credential_versions.owner uuid statistics 0'),
	('column', 'keystone.credential_versions.source_version integer statistics 0'),
	('column', 'keystone.credential_versions.state text not null statistics 0'),
	('column', 'keystone.credential_versions.verified_at timestamp with time zone statistics 0'),
	('column', 'keystone.credential_versions.version integer not null statistics 0'),
	('column', 'keystone.credential_versions.workspace_id uuid not null statistics 0'),
	('column', 'keystone.credentials.created_at timestamp with time zone'),
	('column', 'keystone.credentials.created_by uuid'),
	('column', 'keystone.credentials.current_version integer'),
	('column', 'keystone.credentials.deleted_at timestamp with time zone'),
	('column', 'keystone.credentials.description text'),
	('column', 'keystone.credentials.destroy_after timestamp with time zone'),
	('column', 'keystone.credentials.destroyed_at timestamp with time zone'),
	('column', 'keystone.credentials.environment text'),
	('column', 'keystone.credentials.expires_at timestamp with time zone'),
	('column', 'keystone.credentials.hint text'),
	('column', 'keystone.credentials.id uuid'),
	('column', 'keystone.credentials.is_active boolean'),
	('column', 'keystone.credentials.is_verified boolean'),
	('column', 'keystone.credentials.kind text'),
	('column', 'keystone.credentials.last_rotated_at timestamp with time zone'),
	('column', 'keystone.credentials.last_used_at timestamp with time zone'),
	('column', 'keystone.credentials.metadata jsonb'),
	('column', 'keystone.credentials.name text'),
	('column', 'keystone.credentials.owner uuid'),
	('column', 'keystone.credentials.personal boolean'),
	('column', 'keystone.credentials.provider text'),
	('column', 'keystone.credentials.tags text[]'),
	('column', 'keystone.credentials.updated_at timestamp with time zone'),
	('column', 'keystone.credentials.usage_count bigint'),
	('column', 'keystone.credentials.verified_at timestamp with time zone'),
	('column', 'keystone.credentials.verified_detail text'),
	('column', 'keystone.credentials.workspace text'),
	('column', 'keystone.credentials.workspace_id uuid'),
	('column', 'keystone.health.check_name text'),
	('column', 'keystone.health.detail text'),
	('column', 'keystone.health.ok boolean'),
	('column', 'keystone.invitations.accepted_at timestamp with time zone statistics 0'),
	('column', 'keystone.invitations.accepted_by uuid statistics 0'),
	('column', 'keystone.invitations.cancelled_at timestamp with time zone statistics 0'),
	('column', 'keystone.invitations.created_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.invitations.email text not null statistics 0'),
	('column', 'keystone.invitations.expires_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.invitations.id uuid not null statistics 0'),
	('column', 'keystone.invitations.invited_by uuid not null statistics 0'),
	('column', 'keystone.invitations.role text not null statistics 0'),
	('column', 'keystone.invitations.row_mac bytea not null statistics 0'),
	('column', 'keystone.invitations.token_mac bytea not null statistics 0'),
	('column', 'keystone.invitations.workspace_id uuid not null statistics 0'),
	('column', 'keystone.limit_stats.allowed bigint'),
	('column', 'keystone.limit_stats.blocked bigint'),
	('column', 'keystone.limit_stats.capacity bigint'),
	('column', 'keystone.limit_stats.denied bigint'),
	('column', 'keystone.limit_stats.dirty bigint'),
	('column', 'keystone.limit_stats.entries bigint'),
	('column', 'keystone.limit_stats.in_database bigint'),
	('column', 'keystone.limit_stats.overflowed bigint'),
	('column', 'keystone.limits.created_at timestamp with time zone'),
	('column', 'keystone.limits.created_by text'),
	('column', 'keystone.limits.name text'),
	('column', 'keystone.limits.options jsonb'),
	('column', 'keystone.limits.updated_at timestamp with time zone'),
	('column', 'keystone.limits.windows text'),
	('column', 'keystone.limits.workspace text'),
	('column', 'keystone.limits.workspace_id uuid'),
	('column', 'keystone.members.added_by uuid statistics 0'),
	('column', 'keystone.members.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.members.extra_permissions text[] not null default ''{}''::text[] statistics 0'),
	('column', 'keystone.members.principal_id uuid not null statistics 0'),
	('column', 'keystone.members.removed_at timestamp with time zone statistics 0'),
	('column', 'keystone.members.role text not null statistics 0'),
	('column', 'keystone.members.row_mac bytea not null statistics 0'),
	('column', 'keystone.members.updated_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.members.workspace_id uuid not null statistics 0'),
	('column', 'keystone.metrics.help text'),
	('column', 'keystone.metrics.kind text'),
	('column', 'keystone.metrics.labels jsonb'),
	('column', 'keystone.metrics.name text'),
	('column', 'keystone.metrics.value double precision'),
	('column', 'keystone.plans.features text[] not null statistics 0'),
	('column', 'keystone.plans.hosted_providers bigint statistics 0'),
	('column', 'keystone.plans.members bigint statistics 0'),
	('column', 'keystone.plans.name text not null statistics 0'),
	('column', 'keystone.plans.overage_micros bigint statistics 0'),
	('column', 'keystone.plans.rotations bigint statistics 0'),
	('column', 'keystone.plans.workspaces bigint statistics 0'),
	('column', 'keystone.principals.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.principals.db_role name statistics 0'),
	('column', 'keystone.principals.disabled_at timestamp with time zone statistics 0'),
	('column', 'keystone.principals.display_name text not null statistics 0'),
	('column', 'keystone.principals.id uuid not null statistics 0'),
	('column', 'keystone.principals.kind text not null statistics 0'),
	('column', 'keystone.principals.row_mac bytea not null statistics 0'),
	('column', 'keystone.provider_configs.config jsonb not null default ''{}''::jsonb statistics 0'),
	('column', 'keystone.provider_configs.enabled boolean not null default true statistics 0'),
	('column', 'keystone.provider_configs.mode text not null default ''hosted''::text statistics 0'),
	('column', 'keystone.provider_configs.provider text not null statistics 0'),
	('column', 'keystone.provider_configs.updated_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.provider_configs.updated_by uuid not null statistics 0'),
	('column', 'keystone.provider_configs.workspace_id uuid not null statistics 0'),
	('column', 'keystone.providers.category text'),
	('column', 'keystone.providers.cost_micros bigint'),
	('column', 'keystone.providers.default_kind text'),
	('column', 'keystone.providers.enabled boolean'),
	('column', 'keystone.providers.is_builtin boolean'),
	('column', 'keystone.providers.label text'),
	('column', 'keystone.providers.limits text'),
	('column', 'keystone.providers.name text'),
	('column', 'keystone.providers.value_pattern text'),
	('column', 'keystone.quotas.closed_at timestamp with time zone statistics 0'),
	('column', 'keystone.quotas.cost_micros bigint not null default 0 statistics 0'),
	('column', 'keystone.quotas.meter text not null statistics 0'),
	('column', 'keystone.quotas.overage bigint not null default 0 statistics 0'),
	('column', 'keystone.quotas.period_end timestamp with time zone not null statistics 0'),
	('column', 'keystone.quotas.period_start timestamp with time zone not null statistics 0'),
	('column', 'keystone.quotas.reserved bigint not null default 0 statistics 0'),
	('column', 'keystone.quotas.used bigint not null statistics 0'),
	('column', 'keystone.quotas.workspace_id uuid not null statistics 0'),
	('column', 'keystone.seal_status.current_root_key text'),
	('column', 'keystone.seal_status.pending_rewraps bigint'),
	('column', 'keystone.seal_status.reason text'),
	('column', 'keystone.seal_status.sealed boolean'),
	('column', 'keystone.settings.context text'),
	('column', 'keystone.settings.default_value text'),
	('column', 'keystone.settings.meaning text'),
	('column', 'keystone.settings.name text'),
	('column', 'keystone.settings.unit text'),
	('column', 'keystone.settings.value text'),
	('column', 'keystone.usage_events.context jsonb not null default ''{}''::jsonb statistics 0'),
	('column', 'keystone.usage_events.cost_micros bigint not null statistics 0'),
	('column', 'keystone.usage_events.created_at timestamp with time zone not null statistics 0'),
	('column', 'keystone.usage_events.id uuid not null statistics 0'),
	('column', 'keystone.usage_events.idempotency_key text statistics 0'),
	('column', 'keystone.usage_events.principal_id uuid statistics 0'),
	('column', 'keystone.usage_events.provider text not null statistics 0'),
	('column', 'keystone.usage_events.quantity bigint not null statistics 0'),
	('column', 'keystone.usage_events.workflow text statistics 0'),
	('column', 'keystone.usage_events.workspace_id uuid not null statistics 0'),
	('column', 'keystone.usage_summary.cost_micros numeric'),
	('column', 'keystone.usage_summary.day date'),
	('column', 'keystone.usage_summary.events bigint'),
	('column', 'keystone.usage_summary.month date'),
	('column', 'keystone.usage_summary.operations numeric'),
	('column', 'keystone.usage_summary.principal_id uuid'),
	('column', 'keystone.usage_summary.provider text'),
	('column', 'keystone.usage_summary.workflow text'),
	('column', 'keystone.usage_summary.workspace text'),
	('column', 'keystone.usage_summary.workspace_id uuid'),
	('column', 'keystone.workspaces.contact text statistics 0'),
	('column', 'keystone.workspaces.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.workspaces.created_by uuid not null statistics 0'),
	('column', 'keystone.workspaces.display_name text not null statistics 0'),
	('column', 'keystone.workspaces.id uuid not null statistics 0'),
	('column', 'keystone.workspaces.period_anchor timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone.workspaces.personal_of uuid statistics 0'),
	('column', 'keystone.workspaces.plan text statistics 0'),
	('column', 'keystone.workspaces.purge_after timestamp with time zone statistics 0'),
	('column', 'keystone.workspaces.purged_at timestamp with time zone statistics 0'),
	('column', 'keystone.workspaces.row_mac bytea not null statistics 0'),
	('column', 'keystone.workspaces.slug text not null statistics 0'),
	('column', 'keystone.workspaces.status text not null default ''active''::text statistics 0'),
	('column', 'keystone.workspaces.status_set_by uuid statistics 0'),
	('column', 'keystone.workspaces.updated_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone_private.alerts.allowed bigint not null statistics 0'),
	('column', 'keystone_private.alerts.created_at timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.alerts.kind text not null statistics 0'),
	('column', 'keystone_private.alerts.period_start timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.alerts.subject text not null statistics 0'),
	('column', 'keystone_private.alerts.threshold integer not null statistics 0'),
	('column', 'keystone_private.alerts.used bigint not null statistics 0'),
	('column', 'keystone_private.alerts.workspace_id uuid not null statistics 0'),
	('column', 'keystone_private.api_key_secrets.created_at timestamp with time zone not null'),
	('column', 'keystone_private.api_key_secrets.key_id uuid not null'),
	('column', 'keystone_private.api_key_secrets.prefix text not null statistics 0'),
	('column', 'keystone_private.api_key_secrets.row_mac bytea not null'),
	('column', 'keystone_private.api_key_secrets.secret_mac bytea not null statistics 0'),
	('column', 'keystone_private.api_key_secrets.valid_until timestamp with time zone'),
	('column', 'keystone_private.api_key_secrets.workspace_id uuid not null'),
	('column', 'keystone_private.api_keys.created_at timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.api_keys.created_by uuid not null statistics 0'),
	('column', 'keystone_private.api_keys.environments text[] statistics 0'),
	('column', 'keystone_private.api_keys.expires_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.api_keys.id uuid not null statistics 0'),
	('column', 'keystone_private.api_keys.name text not null statistics 0'),
	('column', 'keystone_private.api_keys.prefix text not null statistics 0'),
	('column', 'keystone_private.api_keys.providers text[] statistics 0'),
	('column', 'keystone_private.api_keys.revoked_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.api_keys.role text not null statistics 0'),
	('column', 'keystone_private.api_keys.row_mac bytea not null statistics 0'),
	('column', 'keystone_private.api_keys.updated_at timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.api_keys.workspace_id uuid not null statistics 0'),
	('column', 'keystone_private.approval_claims.claimed_at timestamp with time zone not null'),
	('column', 'keystone_private.approval_claims.claimed_by text not null'),
	('column', 'keystone_private.approval_claims.request uuid not null'),
	('column', 'keystone_private.approval_claims.seq bigint not null'),
	('column', 'keystone_private.audit_checkpoints.epoch integer not null'),
	('column', 'keystone_private.audit_checkpoints.made_at timestamp with time zone not null'),
	('column', 'keystone_private.audit_checkpoints.note text not null statistics 0 storage p'),
	('column', 'keystone_private.audit_checkpoints.root bytea not null'),
	('column', 'keystone_private.audit_checkpoints.size bigint not null'),
	('column', 'keystone_private.audit_entries.actor_id uuid'),
	('column', 'keystone_private.audit_entries.at timestamp with time zone not null'),
	('column', 'keystone_private.audit_entries.detail bytea statistics 0 storage p'),
	('column', 'keystone_private.audit_entries.entry bytea not null statistics 0 storage p'),
	('column', 'keystone_private.audit_entries.epoch integer not null'),
	('column', 'keystone_private.audit_entries.kind integer not null'),
	('column', 'keystone_private.audit_entries.object_id uuid'),
	('column', 'keystone_private.audit_entries.owner uuid'),
	('column', 'keystone_private.audit_entries.relation text statistics 0 storage p'),
	('column', 'keystone_private.audit_entries.salt bytea statistics 0 storage p'),
	('column', 'keystone_private.audit_entries.seq bigint not null'),
	('column', 'keystone_private.audit_entries.workspace_id uuid'),
	('column', 'keystone_private.audit_epochs.database bigint not null'),
	('column', 'keystone_private.audit_epochs.epoch integer not null'),
	('column', 'keystone_private.audit_epochs.first_seq bigint not null'),
	('column', 'keystone_private.audit_epochs.log_id uuid not null'),
	('column', 'keystone_private.audit_epochs.origin text not null'),
	('column', 'keystone_private.audit_epochs.previous_root bytea not null'),
	('column', 'keystone_private.audit_epochs.previous_size bigint not null'),
	('column', 'keystone_private.audit_epochs.reason text not null'),
	('column', 'keystone_private.audit_epochs.started_at timestamp with time zone not null'),
	('column', 'keystone_private.audit_epochs.system_id bigint not null'),
	('column', 'keystone_private.audit_epochs.timeline integer not null'),
	('column', 'keystone_private.audit_keys.epoch integer not null'),
	('column', 'keystone_private.audit_keys.signature bytea'),
	('column', 'keystone_private.audit_keys.valid_from bigint not null'),
	('column', 'keystone_private.audit_keys.vkey text not null'),
	('column', 'keystone_private.audit_outbox.body bytea not null statistics 0 storage p'),
	('column', 'keystone_private.audit_outbox.id bigint not null'),
	('column', 'keystone_private.audit_outbox.xid xid8 not null'),
	('column', 'keystone_private.audit_tiles.epoch integer not null'),
	('column', 'keystone_private.audit_tiles.hashes bytea not null statistics 0 storage e'),
	('column', 'keystone_private.audit_tiles.level integer not null'),
	('column', 'keystone_private.audit_tiles.n bigint not null'),
	('column', 'keystone_private.ciphertext.aad_digest bytea not null statistics 0'),
	('column', 'keystone_private.ciphertext.credential_id uuid not null'),
	('column', 'keystone_private.ciphertext.envelope bytea not null statistics 0 storage e'),
	('column', 'keystone_private.ciphertext.key_version integer not null'),
	('column', 'keystone_private.ciphertext.version integer not null'),
	('column', 'keystone_private.ciphertext.workspace_id uuid not null'),
	('column', 'keystone_private.credential_usage.credential_id uuid not null statistics 0'),
	('column', 'keystone_private.credential_usage.expiry_noticed timestamp with time zone statistics 0'),
	('column', 'keystone_private.credential_usage.last_used_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.credential_usage.usage_count bigint not null default 0 statistics 0'),
	('column', 'keystone_private.credential_usage.workspace_id uuid not null statistics 0'),
	('column', 'keystone_private.credentials.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone_private.credentials.created_by uuid not null statistics 0'),
	('column', 'keystone_private.credentials.current_version integer statistics 0'),
	('column', 'keystone_private.credentials.deleted_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.credentials.description text statistics 0'),
	('column', 'keystone_private.credentials.destroy_after timestamp with time zone statistics 0'),
	('column', 'keystone_private.credentials.destroyed_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.credentials.environment text not null statistics 0'),
	('column', 'keystone_private.credentials.expires_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.credentials.folded_name text not null statistics 0'),
	('column', 'keystone_private.credentials.hint text statistics 0'),
	('column', 'keystone_private.credentials.id uuid not null statistics 0'),
	('column', 'keystone_private.credentials.is_active boolean not null default true statistics 0'),
	('column', 'keystone_private.credentials.is_verified boolean statistics 0'),
	('column', 'keystone_private.credentials.kind text not null statistics 0'),
	('column', 'keystone_private.credentials.last_rotated_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone_private.credentials.last_version integer not null statistics 0'),
	('column', 'keystone_private.credentials.metadata jsonb not null default ''{}''::jsonb statistics 0'),
	('column', 'keystone_private.credentials.name text not null statistics 0'),
	('column', 'keystone_private.credentials.owner uuid statistics 0'),
	('column', 'keystone_private.credentials.provider text statistics 0'),
	('column', 'keystone_private.credentials.tags text[] not null default ''{}''::text[] statistics 0'),
	('column', 'keystone_private.credentials.updated_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone_private.credentials.verified_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.credentials.verified_detail text statistics 0'),
	('column', 'keystone_private.credentials.workspace_id uuid not null statistics 0'),
	('column', 'keystone_private.external_ids.external_id text not null statistics 0'),
	('column', 'keystone_private.external_ids.principal_id uuid not null'),
	('column', 'keystone_private.external_ids.row_mac bytea not null'),
	('column', 'keystone_private.housekeeping."position" bigint not null'),
	('column', 'keystone_private.housekeeping.done_at timestamp with time zone'),
	('column', 'keystone_private.housekeeping.task text not null'),
	('column', 'keystone_private.instance.accepted_reason text'),
	('column', 'keystone_private.instance.database bigint not null'),
	('column', 'keystone_private.instance.only_row boolean not null default true'),
	('column', 'keystone_private.instance.system_id bigint not null'),
	('column', 'keystone_private.instance.written_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.limit_seed.seed bytea not null'),
	('column', 'keystone_private.limit_state.hash bytea not null'),
	('column', 'keystone_private.limit_state.saved_at timestamp with time zone not null'),
	('column', 'keystone_private.limit_state.state bytea not null'),
	('column', 'keystone_private.limits.algorithm text not null statistics 0'),
	('column', 'keystone_private.limits.class text not null statistics 0'),
	('column', 'keystone_private.limits.created_at timestamp with time zone not null default now() statistics 0'),
	('column', 'keystone_private.limits.created_by text not null statistics 0'),
	('column', 'keystone_private.limits.dropped_at timestamp with time zone statistics 0'),
	('column', 'keystone_private.limits.enforce_action text statistics 0'),
	('column', 'keystone_private.limits.enforce_provider text statistics 0'),
	('column', 'keystone_private.limits.key_by text not null statistics 0'),
	('column', 'keystone_private.limits.name text not null statistics 0'),
	('column', 'keystone_private.limits.near_percent integer not null statistics 0'),
	('column', 'keystone_private.limits.refundable boolean not null statistics 0'),
	('column', 'keystone_private.limits.row_mac bytea not null statistics 0'),
	('column', 'keystone_private.limits.shadow boolean not null statistics 0'),
	('column', 'keystone_private.limits.timezone text not null statistics 0'),
	('column', 'keystone_private.limits.updated_at timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.limits.windows text not null statistics 0'),
	('column', 'keystone_private.limits.workspace_id uuid not null statistics 0'),
	('column', 'keystone_private.principal_usage.last_used_at timestamp with time zone not null statistics 0'),
	('column', 'keystone_private.principal_usage.principal_id uuid not null statistics 0'),
	('column', 'keystone_private.profile_grants.granted_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.profile_grants.granted_by name not null'),
	('column', 'keystone_private.profile_grants.profile text not null'),
	('column', 'keystone_private.profile_grants.revoked_at timestamp with time zone'),
	('column', 'keystone_private.profile_grants.role_name name not null'),
	('column', 'keystone_private.profile_grants.row_mac bytea not null'),
	('column', 'keystone_private.provider_catalogue.category text not null'),
	('column', 'keystone_private.provider_catalogue.cost_micros bigint'),
	('column', 'keystone_private.provider_catalogue.default_kind text not null'),
	('column', 'keystone_private.provider_catalogue.enabled boolean not null default true'),
	('column', 'keystone_private.provider_catalogue.label text not null'),
	('column', 'keystone_private.provider_catalogue.limits text'),
	('column', 'keystone_private.provider_catalogue.name text not null'),
	('column', 'keystone_private.provider_catalogue.value_pattern text'),
	('column', 'keystone_private.provider_definitions.category text not null'),
	('column', 'keystone_private.provider_definitions.cost_micros bigint'),
	('column', 'keystone_private.provider_definitions.default_kind text not null'),
	('column', 'keystone_private.provider_definitions.enabled boolean not null default true'),
	('column', 'keystone_private.provider_definitions.label text not null'),
	('column', 'keystone_private.provider_definitions.limits text'),
	('column', 'keystone_private.provider_definitions.name text not null'),
	('column', 'keystone_private.provider_definitions.updated_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.provider_definitions.updated_by name not null'),
	('column', 'keystone_private.provider_definitions.value_pattern text'),
	('column', 'keystone_private.provider_prices.cost_micros bigint not null'),
	('column', 'keystone_private.provider_prices.provider text not null'),
	('column', 'keystone_private.provider_prices.valid_from timestamp with time zone not null'),
	('column', 'keystone_private.quota_events.cost_micros bigint not null default 0'),
	('column', 'keystone_private.quota_events.created_at timestamp with time zone not null'),
	('column', 'keystone_private.quota_events.expires_at timestamp with time zone'),
	('column', 'keystone_private.quota_events.id uuid not null'),
	('column', 'keystone_private.quota_events.idempotency_key text'),
	('column', 'keystone_private.quota_events.included bigint'),
	('column', 'keystone_private.quota_events.meter text not null'),
	('column', 'keystone_private.quota_events.overage bigint not null default 0'),
	('column', 'keystone_private.quota_events.period_start timestamp with time zone not null'),
	('column', 'keystone_private.quota_events.principal_id uuid'),
	('column', 'keystone_private.quota_events.quantity bigint not null'),
	('column', 'keystone_private.quota_events.state text not null'),
	('column', 'keystone_private.quota_events.used bigint not null'),
	('column', 'keystone_private.quota_events.workspace_id uuid not null'),
	('column', 'keystone_private.root_keys.check_value bytea not null'),
	('column', 'keystone_private.root_keys.first_used_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.root_keys.id text not null'),
	('column', 'keystone_private.system_keys.created_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.system_keys.key_id uuid not null'),
	('column', 'keystone_private.system_keys.purpose text not null'),
	('column', 'keystone_private.system_keys.root_key text not null'),
	('column', 'keystone_private.system_keys.version integer not null'),
	('column', 'keystone_private.system_keys.wrapped bytea not null'),
	('column', 'keystone_private.usage_corrections.cost_micros bigint not null'),
	('column', 'keystone_private.usage_corrections.event_id uuid not null'),
	('column', 'keystone_private.usage_corrections.quantity bigint not null'),
	('column', 'keystone_private.usage_corrections.workspace_id uuid not null'),
	('column', 'keystone_private.workspace_keys.created_at timestamp with time zone not null default now()'),
	('column', 'keystone_private.workspace_keys.key_id uuid not null'),
	('column', 'keystone_private.workspace_keys.root_key text not null'),
	('column', 'keystone_private.workspace_keys.version integer not null'),
	('column', 'keystone_private.workspace_keys.workspace_id uuid not null'),
	('column', 'keystone_private.workspace_keys.wrapped bytea not null'),
	-- trigger
	('trigger', 'keystone.budget_spending refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.budgets audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.budgets refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.credential_shares audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.credential_shares invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone.credential_shares refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.credential_versions audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.credential_versions refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.invitations audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.invitations refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.members audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.members invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone.members refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.plans invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone.plans refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.principals audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.principals invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone.principals refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.provider_configs audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.provider_configs refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.quotas refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.usage_events refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone.usage_events usage_guard A BEFORE DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.usage_guard()'),
	('trigger', 'keystone.workspaces audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone.workspaces invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone.workspaces refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.alerts refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.api_key_secrets audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.api_key_secrets refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.api_keys audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.api_keys invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.api_keys refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.approval_claims audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.approval_claims refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_checkpoints audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_checkpoints refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_entries audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_entries refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_epochs audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_epochs refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_keys audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_keys refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_outbox audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_outbox refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.audit_tiles audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.audit_tiles refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.ciphertext audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.ciphertext refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.credential_usage refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.credentials audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.credentials refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.external_ids audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.external_ids invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.external_ids refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.housekeeping refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.instance audit_guard A BEFORE INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()'),
	('trigger', 'keystone_private.instance refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.limit_seed refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.limit_state refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.limits audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.limits invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.limits refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.principal_usage refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.profile_grants audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.profile_grants invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.profile_grants refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.provider_catalogue invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.provider_catalogue refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.provider_definitions audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.provider_definitions invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.provider_definitions refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.provider_prices invalidate A AFTER INSERT OR DELETE OR UPDATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()'),
	('trigger', 'keystone_private.provider_prices refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.quota_events refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.root_keys audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.root_keys refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.system_keys audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.system_keys refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.usage_corrections refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	('trigger', 'keystone_private.workspace_keys audit A AFTER INSERT OR DELETE OR UPDATE FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()'),
	('trigger', 'keystone_private.workspace_keys refuse_truncate A BEFORE TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()'),
	-- policy
	('policy', 'keystone.budget_spending members_see r (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text))))'),
	('policy', 'keystone.budgets members_see r (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text))))'),
	('policy', 'keystone.credential_shares members_see r ((revoked_at IS NULL) AND (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) AND ((owner = ( SELECT keystone.current_principal())) OR (grantee = ( SELECT keystone.current_principal())) OR (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''workspace''::text))))))'),
	('policy', 'keystone.credential_versions members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) AND (workspace_id >= ( SELECT ''00000000-0000-0000-0000-000000000000''::uuid)) AND (workspace_id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)) AND ((owner IS NULL) OR (owner = ( SELECT keystone.current_principal())) OR (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''workspace''::text)))) OR (credential_id = ANY (ARRAY( SELECT keystone_private.shared_credentials())))) AND (( SELECT ((keystone_private.key_environments() IS NULL) AND (keystone_private.key_providers() IS NULL))) OR (EXISTS ( SELECT FROM keystone_private.credentials c WHERE ((c.workspace_id = credential_versions.workspace_id) AND (c.id = credential_versions.credential_id))))))'),
	('policy', 'keystone.invitations members_see r (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''workspace''::text))))'),
	('policy', 'keystone.members members_see r (((removed_at IS NULL) AND ((principal_id = ( SELECT keystone.current_principal())) OR (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))))) OR ((workspace_id >= ( SELECT CASE WHEN keystone_private.has_profile(''admin''::text) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")) AND (workspace_id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))))'),
	('policy', 'keystone.plans profiles_see r ( SELECT (keystone_private.has_profile(''client''::text) OR keystone_private.has_profile(''worker''::text) OR keystone_private.has_profile(''auditor''::text) OR keystone_private.has_profile(''admin''::text) OR keystone_private.has_profile(''monitor''::text)))'),
	('policy', 'keystone.principals members_see r ((id = ( SELECT keystone.current_principal())) OR (id = ANY (ARRAY( SELECT m.principal_id FROM keystone.members m))) OR ((id >= ( SELECT CASE WHEN keystone_private.has_profile(''admin''::text) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")) AND (id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))))'),
	('policy', 'keystone.provider_configs members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) AND ((( SELECT keystone_private.key_providers()) IS NULL) OR (provider = ANY (( SELECT keystone_private.key_providers())::text[]))))'),
	('policy', 'keystone.quotas members_see r (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text))))'),
	('policy', 'keystone.usage_events members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) AND (created_at >= ( SELECT ''-infinity''::timestamp with time zone)) AND (created_at <= ( SELECT ''infinity''::timestamp with time zone)) AND (( SELECT (keystone_private.key_providers() IS NULL)) OR (provider = ANY (( SELECT keystone_private.key_providers())::text[]))))'),
	('policy', 'keystone.workspaces members_see r ((id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''member''::text)))) OR ((id >= ( SELECT CASE WHEN (keystone_private.has_profile(''admin''::text) OR keystone_private.has_profile(''auditor''::text)) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")) AND (id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))))'),
	('policy', 'keystone_private.alerts members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) OR (workspace_id = ( SELECT CASE WHEN (keystone_private.has_profile(''admin''::text) OR keystone_private.has_profile(''monitor''::text)) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")))'),
	('policy', 'keystone_private.api_keys members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''workspace''::text)))) OR ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''member''::text)))) AND ((created_by = ( SELECT keystone.current_principal())) OR (id = ( SELECT keystone.current_principal())))))'),
	('policy', 'keystone_private.audit_entries readers_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''audit''::text)))) OR (actor_id = ( SELECT keystone.current_principal())) OR ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''member''::text)))) AND (owner = ( SELECT keystone.current_principal()))) OR (seq >= keystone_private.auditor_sees_from()) OR ((workspace_id IS NULL) AND (seq >= ( SELECT keystone_private.owner_sees_from())) AND (seq <= ( SELECT ''9223372036854775807''::bigint)) AND (relation = ANY (ARRAY( SELECT keystone_private.owned_relations())))))'),
	('policy', 'keystone_private.credential_usage members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) IS TRUE)'),
	('policy', 'keystone_private.credentials members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) AND (workspace_id >= ( SELECT ''00000000-0000-0000-0000-000000000000''::uuid)) AND (workspace_id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)) AND ((owner IS NULL) OR (owner = ( SELECT keystone.current_principal())) OR (workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''workspace''::text)))) OR (id = ANY (ARRAY( SELECT keystone_private.shared_credentials())))) AND (( SELECT (keystone_private.key_environments() IS NULL)) OR (environment = ANY (( SELECT keystone_private.key_environments())::text[]))) AND (( SELECT (keystone_private.key_providers() IS NULL)) OR (provider = ANY (( SELECT keystone_private.key_providers())::text[]))))'),
	('policy', 'keystone_private.limits members_see r ((workspace_id = ANY (ARRAY( SELECT keystone.permitted_workspaces(''view''::text)))) OR (workspace_id = ( SELECT CASE WHEN (keystone_private.has_profile(''client''::text) OR keystone_private.has_profile(''worker''::text)) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")) OR ((workspace_id >= ( SELECT CASE WHEN keystone_private.has_profile(''admin''::text) THEN ''00000000-0000-0000-0000-000000000000''::uuid ELSE NULL::uuid END AS "case")) AND (workspace_id <= ( SELECT ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))))'),
	('policy', 'keystone_private.principal_usage members_see r (principal_id = ANY (ARRAY( SELECT k.id FROM keystone_private.api_keys k)))'),
	('policy', 'keystone_private.provider_catalogue everyone_sees r true'),
	('policy', 'keystone_private.provider_definitions everyone_sees r true');

-- Names are shown with their schema when the path holds pg_catalog only.
CREATE TEMP TABLE found (kind text, line text);
SET LOCAL search_path = pg_catalog;
INSERT INTO pg_temp.found SELECT * FROM pg_temp.surface;
RESET search_path;
\o

SELECT plan(26);

SELECT set_eq($$SELECT line FROM found WHERE kind = 'other'$$, $$SELECT line FROM expected WHERE kind = 'other'$$, 'I4 I10 schemas, types, and the tables that a dump holds');
SELECT set_eq($$SELECT line FROM found WHERE kind = 'function'$$, $$SELECT line FROM expected WHERE kind = 'function'$$, 'I4 functions');
SELECT set_eq($$SELECT line FROM found WHERE kind = 'relation'$$, $$SELECT line FROM expected WHERE kind = 'relation'$$, 'I4 tables and views');
SELECT set_eq($$SELECT line FROM found WHERE kind = 'column'$$, $$SELECT line FROM expected WHERE kind = 'column'$$, 'I4 columns');
SELECT set_eq($$SELECT line FROM found WHERE kind = 'trigger'$$, $$SELECT line FROM expected WHERE kind = 'trigger'$$, 'I4 triggers');
SELECT set_eq($$SELECT line FROM found WHERE kind = 'policy'$$, $$SELECT line FROM expected WHERE kind = 'policy'$$, 'I4 policies');

-- Rules that hold for whatever is added to the lists.
SELECT is_empty($$SELECT line FROM found WHERE line ~ ' (acl [^ ]+|owner)=' AND line <> 'type keystone."text/plain" d acl PUBLIC=USAGE'$$,
	'I4 everything is the extension owner''s, and nobody else has any right after CREATE EXTENSION');
SELECT is_empty($$SELECT line FROM found WHERE line ~ 'no comment$'$$, 'everything has a comment');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace WHERE has_function_privilege('public', p.oid, 'EXECUTE')$$,
	'I4 PUBLIC may execute nothing');
SELECT is_empty($$SELECT pronamespace::regnamespace, proname FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace GROUP BY 1, 2 HAVING count(*) > 1$$,
	'no function is overloaded');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace
	WHERE cardinality(coalesce(p.proallargtypes, p.proargtypes::oid[])) <> coalesce(cardinality(array_remove(p.proargnames, '')), 0)$$,
	'every parameter has a name');
SELECT is_empty($$SELECT p.oid::regprocedure, t.oid::regtype FROM pg_proc p
	CROSS JOIN LATERAL unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) a (type) JOIN pg_type t ON t.oid = a.type
	WHERE p.pronamespace = 'keystone'::regnamespace
	AND NOT (t.typnamespace = 'pg_catalog'::regnamespace AND (t.typtype = 'b' OR t.typname IN ('record', 'void')))
	AND NOT (t.typnamespace = 'keystone'::regnamespace AND (t.typtype = 'c' OR (t.typtype = 'd' AND t.oid = p.prorettype AND t.typname ~ '/')))$$,
	'public signatures have base types and composites; domains are media types of results');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace
	WHERE p.prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)$$,
	'I4 what is SECURITY DEFINER pins its search_path');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
	WHERE l.lanname <> 'c' AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)$$,
	'I4 so does what is not C');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace WHERE p.proleakproof$$,
	'I4 nothing is leakproof: the planner would run it before row-level security');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace WHERE p.proisstrict$$,
	'I9 nothing is STRICT: NULL is an error, never a silent pass');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN rooms r ON r.oid = p.pronamespace
	WHERE p.proparallel <> 'u' AND (p.provolatile = 'v' OR p.proname ~ '^(store|reveal|rotate|export|import|resolve|verify)')$$,
	'what writes or reads values is PARALLEL UNSAFE');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace WHERE c.relkind = 'r' AND NOT c.relrowsecurity$$,
	'I4 row-level security is on for every table');
SELECT is_empty($$SELECT polrelid::regclass FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN rooms r ON r.oid = c.relnamespace WHERE p.polcmd <> 'r'$$,
	'I4 no policy allows a write');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace
	WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'refuse_truncate' AND t.tgenabled = 'A')$$,
	'I4 TRUNCATE is refused by every table, whatever session_replication_role is');

-- Tenant tables are those with a workspace_id.  The order of the audit log is
-- that of all workspaces.
CREATE TEMP VIEW tenant_tables AS
	SELECT c.oid, a.attnum FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' WHERE c.relkind = 'r' AND c.relname <> 'audit_entries';
SELECT is_empty($$SELECT t.oid::regclass FROM tenant_tables t
	WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'p' AND k.conkey[1] = t.attnum)$$,
	'I4 primary keys of tenant tables lead with workspace_id');
SELECT is_empty($$SELECT k.conname FROM pg_constraint k JOIN tenant_tables f ON f.oid = k.conrelid JOIN tenant_tables t ON t.oid = k.confrelid
	WHERE k.contype = 'f' AND (k.conkey[1] <> f.attnum OR k.confkey[1] <> t.attnum)$$,
	'I4 foreign keys between tenant tables lead with workspace_id: no row refers across workspaces');
SELECT is_empty($$SELECT x.indexrelid::regclass FROM pg_index x JOIN tenant_tables t ON t.oid = x.indrelid WHERE x.indisunique AND x.indkey[0] <> t.attnum$$,
	'I4 so do unique indexes of tenant tables');

-- Row estimates see through row-level security where an operator is leakproof.
-- What is left out has few values that everybody knows, or is no tenant's.
CREATE TEMP VIEW estimated AS
	SELECT c.oid::regclass || '.' || a.attname AS name FROM pg_class c JOIN rooms r ON r.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relkind = 'r' AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND pg_get_expr(p.polqual, p.polrelid) <> 'true')
	AND a.atttypid IN ('text'::regtype, 'name'::regtype, 'jsonb'::regtype, 'text[]'::regtype) AND a.attstattarget IS DISTINCT FROM 0
	AND (c.relname, a.attname) NOT IN (('workspaces', 'status'), ('members', 'role'), ('principals', 'kind'), ('provider_configs', 'mode'), ('credential_versions', 'state'));
SELECT is_empty('SELECT * FROM estimated', 'I4 no statistics are kept of text in tenants'' metadata');
SELECT is_empty($$SELECT * FROM estimated WHERE name !~ '^keystone\.(provider_configs|principals)\.'$$, 'I4 nor, in particular, of that of credentials');

-- Supabase's default privileges, and worse ones, give nothing on what a
-- CREATE EXTENSION makes.
\o /dev/null
CREATE ROLE ks_default;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO ks_default, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO ks_default WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO ks_default, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO ks_default, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO ks_default, PUBLIC;
DROP EXTENSION keystone;
CREATE EXTENSION keystone;
DELETE FROM found;
SET LOCAL search_path = pg_catalog;
INSERT INTO pg_temp.found SELECT * FROM pg_temp.surface;
RESET search_path;
\o
SELECT set_eq('SELECT * FROM found', 'SELECT * FROM expected', 'I4 default privileges change nothing of all that');
SELECT * FROM finish();
ROLLBACK;
