-- part: once
-- ALTER DEFAULT PRIVILEGES may have given others rights on what was just made
-- (Supabase does this for its API roles): take them back.
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN
		SELECT 'SCHEMA' AS kind, quote_ident(n.nspname) AS name, a.grantee
		FROM pg_namespace n, aclexplode(n.nspacl) a
		WHERE n.nspname IN ('keystone', 'keystone_private') AND a.grantee NOT IN (n.nspowner, 0)
		UNION
		SELECT 'TABLE', c.oid::regclass::text, a.grantee
		FROM pg_class c, aclexplode(c.relacl) a
		WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND a.grantee NOT IN (c.relowner, 0)
		UNION
		SELECT 'ROUTINE', p.oid::regprocedure::text, a.grantee
		FROM pg_proc p, aclexplode(p.proacl) a
		WHERE p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND a.grantee NOT IN (p.proowner, 0)
		UNION
		SELECT 'TYPE', format_type(t.oid, NULL), a.grantee
		FROM pg_type t, aclexplode(t.typacl) a
		WHERE t.typnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND a.grantee NOT IN (t.typowner, 0)
		AND (t.typtype = 'd' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
	LOOP
		EXECUTE format('REVOKE ALL ON %s %s FROM %I CASCADE', r.kind, r.name, (SELECT rolname FROM pg_roles WHERE oid = r.grantee));
	END LOOP;
END
$$;
