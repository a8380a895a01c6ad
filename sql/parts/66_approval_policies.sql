-- part: once
-- Row-level security of approvals; 60_policies.sql has enabled it.  What was
-- previewed has no policy: the entry in the log says that it was.

CREATE POLICY members_see ON keystone.approval_requests FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
		   AND (requester OPERATOR(pg_catalog.=) (SELECT keystone.current_principal())
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('approve')))
				OR workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('audit')))
				OR need OPERATOR(pg_catalog.@>) (SELECT pg_catalog.jsonb_build_object('factors', pg_catalog.jsonb_build_array(
						pg_catalog.jsonb_build_object('members', pg_catalog.jsonb_build_array(keystone.current_principal())))))));
COMMENT ON POLICY members_see ON keystone.approval_requests IS 'who made it, holders of approve or audit, and whom it names';

CREATE POLICY members_see ON keystone.approval_votes FOR SELECT
	USING (workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keystone.permitted_workspaces('member')))
		   AND request_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT r.id FROM keystone.approval_requests r)));
COMMENT ON POLICY members_see ON keystone.approval_votes IS 'who sees the request';

-- As of all tables that clients see in part.
DO $$
DECLARE
	c record;
BEGIN
	FOR c IN
		SELECT attrelid::regclass AS t, attname FROM pg_attribute
		WHERE attrelid IN ('keystone.approval_requests'::regclass, 'keystone.approval_votes'::regclass) AND attnum > 0
	LOOP
		EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', c.t, c.attname);
	END LOOP;
END
$$;
