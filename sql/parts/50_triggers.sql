-- part: replay
-- ENABLE ALWAYS: session_replication_role does not switch them off.
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['keystone.principals', 'keystone.workspaces', 'keystone.members', 'keystone_private.profile_grants',
		'keystone_private.external_ids', 'keystone_private.api_keys', 'keystone.credential_shares', 'keystone_private.limits',
		'keystone_private.provider_catalogue', 'keystone_private.provider_definitions', 'keystone_private.provider_prices',
		'keystone.plans', 'keystone_private.workspace_keys', 'keystone_private.policies'] LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.invalidate()', t);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER invalidate', t);
		EXECUTE format('COMMENT ON TRIGGER invalidate ON %s IS %L', t, 'drops cached rights in every backend');
	END LOOP;
	FOR t IN
		SELECT c.oid::regclass::text FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()', t);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_truncate', t);
		EXECUTE format('COMMENT ON TRIGGER refuse_truncate ON %s IS %L', t, 'row-level security does not stop TRUNCATE');
	END LOOP;
	FOREACH t IN ARRAY ARRAY['keystone_private.credentials', 'keystone.credential_versions', 'keystone_private.ciphertext',
		'keystone.principals', 'keystone_private.external_ids', 'keystone.workspaces', 'keystone.members',
		'keystone_private.profile_grants', 'keystone_private.api_keys', 'keystone_private.api_key_secrets', 'keystone.invitations',
		'keystone.credential_shares', 'keystone_private.limits', 'keystone.budgets', 'keystone_private.policies',
		'keystone.approval_requests', 'keystone.approval_votes', 'keystone_private.previews',
		'keystone_private.provider_definitions', 'keystone_private.provider_prices', 'keystone.provider_configs',
		'keystone_private.workspace_keys', 'keystone_private.system_keys', 'keystone_private.root_keys'] LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_row()', t);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit', t);
		EXECUTE format('COMMENT ON TRIGGER audit ON %s IS %L', t, 'writes each change to the outbox of the audit log');
	END LOOP;
	FOREACH t IN ARRAY ARRAY['keystone_private.instance', 'keystone_private.audit_epochs', 'keystone_private.audit_entries',
		'keystone_private.audit_tiles', 'keystone_private.audit_checkpoints', 'keystone_private.audit_keys',
		'keystone_private.approval_claims', 'keystone_private.audit_outbox'] LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_guard()', t);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_guard', t);
		EXECUTE format('COMMENT ON TRIGGER audit_guard ON %s IS %L', t, 'no statement writes the audit log');
	END LOOP;
	FOREACH t IN ARRAY ARRAY['keystone.approval_requests', 'keystone.approval_votes', 'keystone_private.previews'] LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER approval_guard BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION keystone_private.approval_guard()', t);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER approval_guard', t);
		EXECUTE format('COMMENT ON TRIGGER approval_guard ON %s IS %L', t, 'no statement writes approvals; what is over stays over');
	END LOOP;
END
$$;
