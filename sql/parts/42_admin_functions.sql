-- part: replay
-- What the views of 70_views.sql stand on.

CREATE OR REPLACE FUNCTION keystone_private.seal_state(
	OUT sealed boolean, OUT current_root_key text, OUT reason text, OUT generation bigint) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_seal_state';
COMMENT ON FUNCTION keystone_private.seal_state() IS 'Whether values can be opened in this database; key id and reason only for the monitor and admin profiles';

CREATE OR REPLACE FUNCTION keystone_private.pending_rewraps() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_pending_rewraps';
COMMENT ON FUNCTION keystone_private.pending_rewraps() IS 'How many keys are still wrapped by another root key than the first of the keyring; NULL when sealed or without the monitor or admin profile';

CREATE OR REPLACE FUNCTION keystone_private.health_checks(
	OUT check_name text, OUT ok boolean, OUT detail text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_health_checks';
COMMENT ON FUNCTION keystone_private.health_checks() IS 'One row a check; monitor or admin profile';

CREATE OR REPLACE FUNCTION keystone_private.json_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT CASE
		WHEN jsonb_typeof(patch) <> 'object' THEN patch
		ELSE (
			SELECT coalesce(jsonb_object_agg(coalesce(t.key, p.key),
					CASE WHEN p.key IS NULL THEN t.value
						 ELSE keystone_private.json_merge_patch(t.value, p.value) END), '{}'::jsonb)
			FROM jsonb_each(CASE WHEN jsonb_typeof(target) = 'object' THEN target ELSE '{}'::jsonb END) t
			FULL JOIN jsonb_each(patch) p ON p.key = t.key
			WHERE p.key IS NULL OR jsonb_typeof(p.value) <> 'null')
		END
	$$;
COMMENT ON FUNCTION keystone_private.json_merge_patch(jsonb, jsonb) IS 'JSON merge patch, RFC 7396';
