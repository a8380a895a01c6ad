-- part: once
-- Row-level security of API keys; 60_policies.sql has enabled it.  What a key
-- is recognised by (api_key_secrets) has no policy: nobody sees it.

CREATE POLICY members_see ON keystone_private.api_keys FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))
		   OR (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
			   AND (created_by OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
					OR id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal()))));
COMMENT ON POLICY members_see ON keystone_private.api_keys IS 'holders of workspace; members their own, and the key itself';

CREATE POLICY members_see ON keystone_private.principal_usage FOR SELECT
	USING (principal_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT k.id FROM keystone_private.api_keys k)));
COMMENT ON POLICY members_see ON keystone_private.principal_usage IS 'as the API key';
