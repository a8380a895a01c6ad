-- part: replay
-- ENABLE ALWAYS: session_replication_role does not switch them off.
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['keystone.principals', 'keystone.workspaces', 'keystone.members', 'keystone_private.profile_grants'] LOOP
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
END
$$;
