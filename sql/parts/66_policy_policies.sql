-- part: once
-- Row-level security of policies; 60_policies.sql has enabled it.

DO $$
DECLARE
	t text;
	c name;
BEGIN
	FOREACH t IN ARRAY ARRAY['policies', 'policy_versions'] LOOP
		EXECUTE format($f$
			CREATE POLICY members_see ON keystone_private.%I FOR SELECT
				USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('policy')))
					   OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('audit')))
					   OR (workspace_id OPERATOR(pg_catalog.>=) (SELECT CASE WHEN keystone_private.has_profile('admin')
																			   OR keystone_private.has_profile('auditor')
																		THEN '00000000-0000-0000-0000-000000000000'::uuid END)
						   AND workspace_id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)))$f$, t);
		EXECUTE format('COMMENT ON POLICY members_see ON keystone_private.%I IS %L', t,
			'holders of policy or audit; all for the profiles admin and auditor');
		-- As of all tables that clients see in part.
		FOR c IN
			SELECT attname FROM pg_attribute
			WHERE attrelid = format('keystone_private.%I', t)::regclass AND attnum > 0
		LOOP
			EXECUTE format('ALTER TABLE keystone_private.%I ALTER COLUMN %I SET STATISTICS 0', t, c);
		END LOOP;
	END LOOP;
END
$$;
