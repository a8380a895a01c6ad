-- part: once
-- Row-level security of limits; 60_policies.sql has enabled it.  What they
-- counted, and the seed of its hashes, have no policy: nobody sees them.

CREATE POLICY members_see ON keystone_private.limits FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   OR workspace_id OPERATOR(pg_catalog.=) (SELECT CASE WHEN keystone_private.has_profile('client') OR keystone_private.has_profile('worker')
														  THEN '00000000-0000-0000-0000-000000000000'::uuid END)
		   OR (workspace_id OPERATOR(pg_catalog.>=) (SELECT CASE WHEN keystone_private.has_profile('admin')
															THEN '00000000-0000-0000-0000-000000000000'::uuid END)
			   AND workspace_id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)));
COMMENT ON POLICY members_see ON keystone_private.limits IS 'members with view; the database''s own, which clients may use; all for the admin profile';

-- As of all tables that clients see in part.
DO $$
DECLARE
	c name;
BEGIN
	FOR c IN
		SELECT attname FROM pg_attribute WHERE attrelid = 'keystone_private.limits'::regclass AND attnum > 0
	LOOP
		EXECUTE format('ALTER TABLE keystone_private.limits ALTER COLUMN %I SET STATISTICS 0', c);
	END LOOP;
END
$$;
