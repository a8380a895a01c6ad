-- part: once
-- Row-level security of plans and quotas; 60_policies.sql has enabled it.
-- Events of quotas have no policy: nobody sees them.

CREATE POLICY profiles_see ON keystone.plans FOR SELECT
	USING ((SELECT keystone_private.has_profile('client') OR keystone_private.has_profile('worker')
				   OR keystone_private.has_profile('auditor') OR keystone_private.has_profile('admin')
				   OR keystone_private.has_profile('monitor')));
COMMENT ON POLICY profiles_see ON keystone.plans IS 'everybody with a profile';

CREATE POLICY members_see ON keystone.quotas FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
COMMENT ON POLICY members_see ON keystone.quotas IS 'members with view';
