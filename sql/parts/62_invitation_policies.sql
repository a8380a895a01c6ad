-- part: once
CREATE POLICY members_see ON keystone.invitations FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace'))));
COMMENT ON POLICY members_see ON keystone.invitations IS 'holders of workspace';
