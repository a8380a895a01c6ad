-- part: once
-- Row-level security of usage, budgets and alerts; 60_policies.sql has enabled
-- it, and says why conditions look as they do.  Prices have no policy: what
-- they were at a time stands in the events.

-- The range of all times makes the planner take the index on time.
CREATE POLICY members_see ON keystone.usage_events FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND created_at OPERATOR(pg_catalog.>=) (SELECT '-infinity'::timestamptz)
		   AND created_at OPERATOR(pg_catalog.<=) (SELECT 'infinity'::timestamptz)
		   AND ((SELECT keystone_private.key_providers() IS NULL)
				OR provider OPERATOR(pg_catalog.=) ANY ((SELECT keystone_private.key_providers())::pg_catalog.text[])));
COMMENT ON POLICY members_see ON keystone.usage_events IS 'members with view; an API key within its limits';

CREATE POLICY members_see ON keystone.budgets FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
COMMENT ON POLICY members_see ON keystone.budgets IS 'members with view';

CREATE POLICY members_see ON keystone.budget_spending FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
COMMENT ON POLICY members_see ON keystone.budget_spending IS 'members with view';

CREATE POLICY members_see ON keystone_private.alerts FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   OR workspace_id OPERATOR(pg_catalog.=) (SELECT CASE WHEN keystone_private.has_profile('admin') OR keystone_private.has_profile('monitor')
														  THEN '00000000-0000-0000-0000-000000000000'::uuid END));
COMMENT ON POLICY members_see ON keystone_private.alerts IS 'members with view; those of the whole database the admin and monitor profiles';

DO $$
DECLARE
	c name;
BEGIN
	FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'keystone_private.alerts'::regclass AND attnum > 0 LOOP
		EXECUTE format('ALTER TABLE keystone_private.alerts ALTER COLUMN %I SET STATISTICS 0', c);
	END LOOP;
END
$$;
