-- part: replay
-- What each profile may use.  grant_access() gives these to a role; PUBLIC
-- gets nothing.  The functions check the profile for themselves as well.
CREATE OR REPLACE FUNCTION keystone_private.profile_privileges(
	OUT profile text, OUT object_kind text, OUT object_name text, OUT privilege text) RETURNS SETOF record
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS $$
SELECT p.profile, o.kind, o.name, o.privilege
FROM (VALUES ('client'), ('worker'), ('auditor'), ('admin'), ('monitor')) p (profile)
CROSS JOIN LATERAL (
	SELECT 'SCHEMA' AS kind, 'keystone' AS name, 'USAGE' AS privilege
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.version', 'keystone.pre_request', 'keystone.current_principal', 'keystone.whoami', 'keystone.has_permission',
		'keystone.permitted_workspaces', 'keystone.cedar_authorize', 'keystone.policy_validate', 'keystone.policy_schema', 'keystone_private.has_profile', 'keystone_private.seal_state',
		'keystone_private.pending_rewraps', 'keystone_private.audit_flush']) f
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.seal_status', 'keystone.plans']) t
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.authenticate', 'keystone.create_workspace', 'keystone.personal_workspace', 'keystone.register_principal',
		'keystone.add_member', 'keystone.set_member_role', 'keystone.remove_member', 'keystone.transfer_ownership',
		'keystone.invite_member', 'keystone.accept_invitation', 'keystone.cancel_invitation',
		'keystone.update_workspace', 'keystone.offboard_workspace', 'keystone.cancel_offboarding',
		'keystone.set_workspace_kms', 'keystone.clear_workspace_kms',
		'keystone.provider_configure',
		'keystone.create_api_key', 'keystone.revoke_api_key', 'keystone.rotate_api_key',
		'keystone.store', 'keystone.reveal', 'keystone.reveal_by_id', 'keystone.reveal_many', 'keystone.reveal_env',
		'keystone.export_env', 'keystone.import_env', 'keystone.export_bundle', 'keystone.import_bundle', 'keystone.resolve', 'keystone.credential_id', 'keystone.rotate',
		'keystone.promote', 'keystone.rollback_to', 'keystone.rename', 'keystone.update_metadata', 'keystone.set_active',
		'keystone.delete_credential', 'keystone.restore_credential', 'keystone.destroy_credential',
		'keystone.destroy_version', 'keystone.mark_verified', 'keystone.verify_all',
		'keystone.share_credential', 'keystone.unshare_credential', 'keystone_private.shared_credentials',
		'keystone.set_plan', 'keystone.plan_allows', 'keystone.budget_set', 'keystone_private.period_at',
		'keystone_private.key_environments', 'keystone_private.key_providers',
		'keystone.encrypt', 'keystone.encrypt_text', 'keystone.blind_index',
		'keystone.rotate_workspace_key', 'keystone.shred_workspace',
		'keystone.request_approval', 'keystone.approve', 'keystone.reject', 'keystone.cancel_request',
		'keystone.claim_approval', 'keystone.complete_approval', 'keystone.break_glass', 'keystone.review_break_glass',
		'keystone.record_preview',
		'keystone.audit_table', 'keystone.audit_untable', 'keystone_private.audit_user_row']) f
	WHERE p.profile IN ('client', 'worker')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY['keystone.reencrypt', 'keystone.reencrypt_all']) f
	WHERE p.profile IN ('client', 'worker', 'admin')
	UNION ALL
	SELECT 'ROUTINE', 'keystone.rotate_root_key', 'EXECUTE' WHERE p.profile = 'admin'
	UNION ALL
	SELECT 'ROUTINE', 'keystone_private.key_progress', 'EXECUTE' WHERE p.profile IN ('client', 'worker', 'admin', 'monitor')
	UNION ALL
	SELECT 'TABLE', 'keystone.key_progress', 'SELECT' WHERE p.profile IN ('client', 'worker', 'admin', 'monitor')
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY[
		'keystone.workspaces', 'keystone.members', 'keystone.principals', 'keystone.invitations', 'keystone.providers', 'keystone.provider_configs',
		'keystone.credentials', 'keystone.credential_versions', 'keystone.credential_summary', 'keystone.credential_shares',
		'keystone.api_keys', 'keystone_private.api_keys', 'keystone_private.principal_usage',
		'keystone_private.credentials', 'keystone_private.credential_usage',
		'keystone_private.provider_catalogue', 'keystone_private.provider_definitions',
		'keystone.quotas', 'keystone.usage_events', 'keystone.usage_summary', 'keystone.budgets', 'keystone.budget_spending',
		'keystone.budget_status', 'keystone.approval_requests', 'keystone.approval_votes']) t
	WHERE p.profile IN ('client', 'worker')
	UNION ALL
	SELECT 'TABLE', 'keystone.kms_status', 'SELECT' WHERE p.profile IN ('client', 'worker', 'admin', 'monitor')
	UNION ALL
	SELECT 'ROUTINE', 'keystone_private.kms_states', 'EXECUTE' WHERE p.profile IN ('client', 'worker', 'admin', 'monitor')
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.alerts', 'keystone_private.alerts']) t
	WHERE p.profile IN ('client', 'worker', 'admin', 'monitor')
	UNION ALL
	SELECT 'TABLE', 'keystone.workspaces', 'SELECT' WHERE p.profile = 'monitor'
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.decrypt', 'keystone.decrypt_text', 'keystone.usage_record', 'keystone.quota_consume', 'keystone.quota_reserve', 'keystone.quota_commit', 'keystone.quota_release']) f
	WHERE p.profile = 'worker'
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.rate_limit', 'keystone.limit_consume', 'keystone.limit_require', 'keystone.limit_peek',
		'keystone.limit_consume_many', 'keystone.limit_refund', 'keystone.limit_headers']) f
	WHERE p.profile = 'worker'
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.limit_define', 'keystone.limit_drop', 'keystone.limit_block', 'keystone.limit_unblock']) f
	WHERE p.profile IN ('worker', 'admin')
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.limits', 'keystone_private.limits']) t
	WHERE p.profile IN ('client', 'worker', 'admin')
	UNION ALL
	SELECT 'TABLE', 'keystone.limit_stats', 'SELECT' WHERE p.profile IN ('admin', 'monitor')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY['keystone.policy_evaluate', 'keystone.policy_allowed', 'keystone.policy_explain',
		'keystone.policy_who_can', 'keystone.policy_lint', 'keystone.policy_simulate']) f
	WHERE p.profile IN ('client', 'worker')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY['keystone.policy_put', 'keystone.policy_drop']) f
	WHERE p.profile IN ('client', 'worker', 'admin')
	UNION ALL
	SELECT 'ROUTINE', 'keystone.policy_get', 'EXECUTE' WHERE p.profile IN ('client', 'worker', 'admin', 'auditor')
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.policies', 'keystone_private.policies', 'keystone.policy_versions',
		'keystone_private.policy_versions']) t
	WHERE p.profile IN ('client', 'worker', 'admin', 'auditor')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.limit_peek', 'keystone_private.limit_stats', 'keystone_private.calendar_period']) f
	WHERE p.profile IN ('admin', 'monitor')
	UNION ALL
	SELECT 'TABLE', 'keystone.metrics', 'SELECT' WHERE p.profile IN ('admin', 'monitor')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY['keystone.metrics_text', 'keystone_private.metric_samples']) f
	WHERE p.profile IN ('admin', 'monitor')
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.register_principal', 'keystone.remove_member', 'keystone.grant_access', 'keystone.revoke_access',
		'keystone.update_workspace', 'keystone.offboard_workspace', 'keystone.cancel_offboarding',
		'keystone.disable_principal', 'keystone.enable_principal', 'keystone.link_auth_users',
		'keystone.provider_define', 'keystone.set_plan', 'keystone.plan_allows', 'keystone.verify_all', 'keystone_private.health_checks',
		'keystone.accept_restore', 'keystone.audit_erase', 'keystone.audit_table', 'keystone.audit_untable', 'keystone_private.audit_user_row']) f
	WHERE p.profile = 'admin'
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY[
		'keystone.workspaces', 'keystone.members', 'keystone.principals', 'keystone.providers',
		'keystone_private.provider_catalogue', 'keystone_private.provider_definitions',
		'keystone.health', 'keystone.settings']) t
	WHERE p.profile = 'admin'
	UNION ALL
	SELECT 'ROUTINE', 'keystone_private.health_checks', 'EXECUTE' WHERE p.profile = 'monitor'
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.health', 'keystone.settings']) t WHERE p.profile = 'monitor'
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.audit_verify', 'keystone.audit_checkpoint', 'keystone.audit_inclusion', 'keystone.audit_consistency',
		'keystone.audit_public_keys', 'keystone.audit_export', 'keystone.audit_reconcile', 'keystone_private.audit_decode',
		'keystone_private.auditor_sees_from', 'keystone_private.owner_sees_from', 'keystone_private.owned_relations']) f
	WHERE p.profile IN ('client', 'worker', 'auditor')
	UNION ALL
	SELECT 'TABLE', t, 'SELECT' FROM unnest(ARRAY['keystone.audit_log', 'keystone_private.audit_entries']) t
	WHERE p.profile IN ('client', 'worker', 'auditor')
	UNION ALL
	SELECT 'TABLE', 'keystone.workspaces', 'SELECT' WHERE p.profile = 'auditor'
	UNION ALL
	SELECT 'ROUTINE', f, 'EXECUTE' FROM unnest(ARRAY[
		'keystone.audit_verify', 'keystone.audit_checkpoint', 'keystone.audit_consistency', 'keystone.audit_public_keys',
		'keystone.audit_reconcile']) f
	WHERE p.profile = 'admin'
) o
	$$;
COMMENT ON FUNCTION keystone_private.profile_privileges() IS 'SQL privileges that belong to each profile; a function, since a table could be edited by somebody who is no superuser';

REVOKE ALL ON SCHEMA keystone, keystone_private FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA keystone, keystone_private FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA keystone, keystone_private FROM PUBLIC;
REVOKE ALL ON TYPE keystone."text/plain" FROM PUBLIC;
GRANT USAGE ON TYPE keystone."text/plain" TO PUBLIC;
