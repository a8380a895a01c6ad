-- part: once
-- Row-level security.  No policy allows a write: clients write through
-- functions.  Each set-returning call is an uncorrelated sub-select, so that
-- it runs once a statement and the comparison can use an index.

DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN
		SELECT c.oid FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
	END LOOP;
END
$$;

CREATE POLICY members_see ON keystone.workspaces FOR SELECT
	USING (id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
		   OR (SELECT keystone_private.has_profile('admin')));
COMMENT ON POLICY members_see ON keystone.workspaces IS 'members, and the admin profile';

CREATE POLICY auditors_see ON keystone.workspaces FOR SELECT
	USING ((SELECT keystone_private.has_profile('auditor')));
COMMENT ON POLICY auditors_see ON keystone.workspaces IS 'the auditor profile, for the slugs in the audit log';

CREATE POLICY members_see ON keystone.members FOR SELECT
	USING ((removed_at IS NULL
			AND (principal_id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				 OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))))
		   OR (SELECT keystone_private.has_profile('admin')));
COMMENT ON POLICY members_see ON keystone.members IS 'oneself, members of workspaces where one has view, and all for the admin profile';

CREATE POLICY members_see ON keystone.principals FOR SELECT
	USING (id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
		   OR id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT m.principal_id FROM keystone.members m))
		   OR (SELECT keystone_private.has_profile('admin')));
COMMENT ON POLICY members_see ON keystone.principals IS 'oneself, those whose membership one sees, and all for the admin profile';

CREATE POLICY members_see ON keystone.provider_configs FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
COMMENT ON POLICY members_see ON keystone.provider_configs IS 'members with view';

CREATE POLICY members_see ON keystone_private.credentials FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND (owner IS NULL
				OR owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))));
COMMENT ON POLICY members_see ON keystone_private.credentials IS 'members with view; personal ones only their owner and holders of workspace';

CREATE POLICY members_see ON keystone.credential_versions FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND (owner IS NULL
				OR owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))));
COMMENT ON POLICY members_see ON keystone.credential_versions IS 'as the credential';

CREATE POLICY members_see ON keystone_private.credential_usage FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
COMMENT ON POLICY members_see ON keystone_private.credential_usage IS 'members with view; read only beside a visible credential';

CREATE POLICY everyone_sees ON keystone_private.provider_catalogue FOR SELECT USING (true);
COMMENT ON POLICY everyone_sees ON keystone_private.provider_catalogue IS 'the catalogue is public to clients';

CREATE POLICY everyone_sees ON keystone_private.provider_definitions FOR SELECT USING (true);
COMMENT ON POLICY everyone_sees ON keystone_private.provider_definitions IS 'the catalogue is public to clients';

-- Each alternative can use an index, whoever asks: what does not apply is
-- compared with an empty array or with NULL.  The planner must not take NULL
-- for a third of the table: it knows the value of a stable function that is
-- not in a sub-select, and takes a range of unknown ends for a small one.
CREATE POLICY readers_see ON keystone_private.audit_entries FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('audit')))
		   OR actor_id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
		   OR (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
			   AND owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal()))
		   OR seq OPERATOR(pg_catalog.>=) keystone_private.auditor_sees_from()
		   OR (workspace_id IS NULL
			   AND seq OPERATOR(pg_catalog.>=) (SELECT keystone_private.owner_sees_from())
			   AND seq OPERATOR(pg_catalog.<=) (SELECT 9223372036854775807)
			   AND relation OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone_private.owned_relations()))));
COMMENT ON POLICY readers_see ON keystone_private.audit_entries IS 'holders of audit; own actions; own personal credentials in workspaces of which one is a member; all for the auditor profile; audited tables for their owners';
