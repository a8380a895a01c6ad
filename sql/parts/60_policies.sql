-- part: once
-- Row-level security.  No policy allows a write: clients write through
-- functions.  Each set-returning call is an uncorrelated sub-select, so that
-- it runs once a statement and the comparison can use an index; so is what an
-- API key is limited to, which is NULL for everybody else.

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

-- Where a profile sees all, that alternative can use an index, too: else every
-- member would read the whole table.  It is a range with ends that the planner
-- does not know, which it takes for a small one, and without a beginning for
-- those who have no such profile.
CREATE POLICY members_see ON keystone.workspaces FOR SELECT
	USING (id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
		   OR (id OPERATOR(pg_catalog.>=) (SELECT CASE WHEN keystone_private.has_profile('admin') OR keystone_private.has_profile('auditor')
												  THEN '00000000-0000-0000-0000-000000000000'::uuid END)
			   AND id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)));
COMMENT ON POLICY members_see ON keystone.workspaces IS 'members, the admin profile, and the auditor profile for the slugs in the audit log';

CREATE POLICY members_see ON keystone.members FOR SELECT
	USING ((removed_at IS NULL
			AND (principal_id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				 OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))))
		   OR (workspace_id OPERATOR(pg_catalog.>=) (SELECT CASE WHEN keystone_private.has_profile('admin')
															THEN '00000000-0000-0000-0000-000000000000'::uuid END)
			   AND workspace_id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)));
COMMENT ON POLICY members_see ON keystone.members IS 'oneself, members of workspaces where one has view, and all for the admin profile';

CREATE POLICY members_see ON keystone.principals FOR SELECT
	USING (id OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
		   OR id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT m.principal_id FROM keystone.members m))
		   OR (id OPERATOR(pg_catalog.>=) (SELECT CASE WHEN keystone_private.has_profile('admin')
												  THEN '00000000-0000-0000-0000-000000000000'::uuid END)
			   AND id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)));
COMMENT ON POLICY members_see ON keystone.principals IS 'oneself, those whose membership one sees, and all for the admin profile';

CREATE POLICY members_see ON keystone.provider_configs FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND ((SELECT keystone_private.key_providers()) IS NULL
				OR provider OPERATOR(pg_catalog.=) ANY ((SELECT keystone_private.key_providers())::pg_catalog.text[])));
COMMENT ON POLICY members_see ON keystone.provider_configs IS 'members with view; an API key within its limits';

-- Without statistics the planner takes ten workspaces for a twentieth of the
-- table, which would have it start parallel workers and compile.  The range is
-- all there is, and makes it expect few rows.
CREATE POLICY members_see ON keystone_private.credentials FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND workspace_id OPERATOR(pg_catalog.>=) (SELECT '00000000-0000-0000-0000-000000000000'::uuid)
		   AND workspace_id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
		   AND (owner IS NULL
				OR owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))
				OR id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone_private.shared_credentials())))
		   AND ((SELECT keystone_private.key_environments() IS NULL)
				OR environment OPERATOR(pg_catalog.=) ANY ((SELECT keystone_private.key_environments())::pg_catalog.text[]))
		   AND ((SELECT keystone_private.key_providers() IS NULL)
				OR provider OPERATOR(pg_catalog.=) ANY ((SELECT keystone_private.key_providers())::pg_catalog.text[])));
COMMENT ON POLICY members_see ON keystone_private.credentials IS 'members with view; personal ones only their owner, those it shares them with, and holders of workspace; an API key within its limits';

-- A sub-select on credentials runs only for an API key that is limited.
CREATE POLICY members_see ON keystone.credential_versions FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND workspace_id OPERATOR(pg_catalog.>=) (SELECT '00000000-0000-0000-0000-000000000000'::uuid)
		   AND workspace_id OPERATOR(pg_catalog.<=) (SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
		   AND (owner IS NULL
				OR owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))
				OR credential_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone_private.shared_credentials())))
		   AND ((SELECT keystone_private.key_environments() IS NULL AND keystone_private.key_providers() IS NULL)
				OR EXISTS (SELECT FROM keystone_private.credentials c
						   WHERE c.workspace_id OPERATOR(pg_catalog.=) credential_versions.workspace_id
						   AND c.id OPERATOR(pg_catalog.=) credential_versions.credential_id)));
COMMENT ON POLICY members_see ON keystone.credential_versions IS 'as the credential';

-- Nobody but the view of credentials reads these rows, beside those that their
-- policy shows: its other conditions here would be planned for every list.
-- IS TRUE leaves the index to the join: it would be searched for each
-- workspace else.
CREATE POLICY members_see ON keystone_private.credential_usage FOR SELECT
	USING ((workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))) IS TRUE);
COMMENT ON POLICY members_see ON keystone_private.credential_usage IS 'members with view; read only beside a visible credential';

CREATE POLICY members_see ON keystone.credential_shares FOR SELECT
	USING (revoked_at IS NULL
		   AND workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('view')))
		   AND (owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR grantee OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('workspace')))));
COMMENT ON POLICY members_see ON keystone.credential_shares IS 'owner and grantee, as long as they have view, and holders of workspace';

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

-- The planner's estimates see through row-level security: with statistics they
-- would tell which values other tenants' rows have, and how many rows a tenant
-- has.  So there are none of any table that clients see in part.  Entries of
-- the audit log are shown by a function, and only by their number otherwise.
DO $$
DECLARE
	c record;
BEGIN
	FOR c IN
		SELECT a.attrelid::regclass AS of, a.attname FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
		WHERE t.relkind = 'r' AND a.attnum > 0
		AND (t.relnamespace = 'keystone'::regnamespace
			 OR t.oid IN ('keystone_private.credentials'::regclass, 'keystone_private.credential_usage'::regclass,
						  'keystone_private.api_keys'::regclass, 'keystone_private.principal_usage'::regclass))
	LOOP
		EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', c.of, c.attname);
	END LOOP;
END
$$;
ALTER INDEX keystone_private.credentials_name_key ALTER COLUMN 4 SET STATISTICS 0;
