-- part: replay
-- The vault does not half-work: without the library in memory from the start
-- there is no root key, and without UTF8 a name has no normal form.
DO $$
BEGIN
	IF current_setting('server_version_num')::int < 150000 THEN
		RAISE EXCEPTION 'keystone needs PostgreSQL 15 or later'
			USING ERRCODE = 'feature_not_supported';
	END IF;
	IF getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'keystone needs a database with encoding UTF8, not %', getdatabaseencoding()
			USING ERRCODE = 'feature_not_supported';
	END IF;
	IF current_setting('keystone.max_value_size', true) IS NULL THEN
		RAISE EXCEPTION 'keystone is not in shared_preload_libraries'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Add keystone at the end of shared_preload_libraries in postgresql.conf and restart the server.';
	END IF;
END
$$;
