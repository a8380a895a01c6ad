-- One line for each object of the extension, without what is a number of this
-- database alone: a database that was upgraded has the same lines as one in
-- which the extension was just created.
SELECT pg_catalog.set_config('search_path', 'pg_catalog', false) \g /dev/null
CREATE TEMP VIEW relations AS
	SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('keystone', 'keystone_private');
-- An ACL in an order of its own; NULL is what an owner has anyway.
CREATE FUNCTION pg_temp.acl(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || '=' || a.privilege_type
		|| CASE WHEN a.is_grantable THEN '*' ELSE '' END, ' ' ORDER BY a.grantee::regrole::text, a.privilege_type)
	FROM aclexplode(coalesce(acl, acldefault(kind, owner))) a
$$;

WITH members AS (
	SELECT d.classid, d.objid, i.type, i.identity
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'keystone'
), lines AS (
	SELECT 'member ' || type || ' ' || identity AS line FROM members
	UNION ALL
	SELECT 'extension ' || extversion || ' ' || extnamespace::regnamespace || ' ' || extowner::regrole || ' ' || extrelocatable FROM pg_extension WHERE extname = 'keystone'
	UNION ALL
	SELECT 'dumped ' || r::regclass || ' ' || f FROM pg_extension CROSS JOIN LATERAL unnest(extconfig, extcondition) x (r, f) WHERE extname = 'keystone'
	UNION ALL
	SELECT 'schema ' || nspname || ' ' || nspowner::regrole || ' ' || pg_temp.acl(nspacl, 'n', nspowner) FROM pg_namespace WHERE nspname IN ('keystone', 'keystone_private')
	UNION ALL
	SELECT 'function ' || regexp_replace(pg_get_functiondef(p.oid), '\s+', ' ', 'g') || ' ' || p.proowner::regrole || ' ' || pg_temp.acl(p.proacl, 'f', p.proowner)
	FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
	UNION ALL
	SELECT format('relation %s %s %s %s rls %s %s %s %s access %s identity %s', c.oid::regclass, c.relkind, c.relpersistence, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity,
		c.reloptions, pg_temp.acl(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner), (SELECT amname FROM pg_am WHERE oid = c.relam), c.relreplident)
	FROM pg_temp.relations c WHERE c.relkind NOT IN ('i', 't')
	UNION ALL
	SELECT format('column %s %s %s %s not null %s default %s statistics %s storage %s compression %s collation %s identity %s generated %s acl %s', c.oid::regclass, a.attnum, quote_ident(a.attname),
		format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), nullif(a.attstattarget, -1), a.attstorage, a.attcompression, a.attcollation::regcollation,
		a.attidentity, a.attgenerated, a.attacl)
	FROM pg_temp.relations c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
	WHERE c.relkind NOT IN ('i', 't')
	UNION ALL
	SELECT format('constraint %s %s %s validated %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
	FROM pg_constraint WHERE connamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	UNION ALL
	SELECT format('index %s valid %s clustered %s identity %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident)
	FROM pg_index i JOIN pg_temp.relations c ON c.oid = i.indrelid WHERE c.relkind = 'r'
	UNION ALL
	SELECT 'trigger ' || pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text FROM pg_trigger t JOIN pg_temp.relations c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
	UNION ALL
	SELECT format('policy %s %s %s %s %s %s check %s', p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive, (SELECT array_agg(r::regrole) FROM unnest(p.polroles) r),
		-- parsing it again gives the columns of sub-selects other aliases
		regexp_replace(pg_get_expr(p.polqual, p.polrelid), ' AS \w+', '', 'g'), pg_get_expr(p.polwithcheck, p.polrelid))
	FROM pg_policy p JOIN pg_temp.relations c ON c.oid = p.polrelid
	UNION ALL
	SELECT 'rule ' || c.oid::regclass || ' ' || w.ev_enabled::text || ' ' || regexp_replace(pg_get_ruledef(w.oid), '\s+', ' ', 'g') FROM pg_rewrite w JOIN pg_temp.relations c ON c.oid = w.ev_class
	UNION ALL
	SELECT format('type %s %s %s %s %s', t.oid::regtype, t.typtype, t.typowner::regrole, pg_temp.acl(t.typacl, 'T', t.typowner), format_type(t.typbasetype, t.typtypmod))
	FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
	UNION ALL
	SELECT 'sequence ' || s.seqrelid::regclass || ' ' || s.seqtypid::regtype || ' ' || concat_ws(' ', s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)
	FROM pg_sequence s JOIN pg_temp.relations c ON c.oid = s.seqrelid
	UNION ALL
	SELECT 'default privileges ' || d.defaclnamespace::regnamespace || ' ' || d.defaclobjtype::text || ' ' || d.defaclrole::regrole || ' ' || pg_temp.acl(d.defaclacl, d.defaclobjtype, d.defaclrole)
	FROM pg_default_acl d WHERE d.defaclnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	UNION ALL
	-- Initial privileges that an object has anyway are not kept by pg_upgrade.
	SELECT 'initial privileges ' || type || ' ' || identity || ' ' || acl FROM (
		SELECT i.type, i.identity, k.kind, e.extowner, pg_temp.acl(p.initprivs, k.kind, e.extowner) AS acl
		FROM pg_init_privs p JOIN members m ON p.classoid = m.classid AND p.objoid = m.objid JOIN pg_extension e ON e.extname = 'keystone'
		CROSS JOIN LATERAL pg_identify_object(p.classoid, p.objoid, p.objsubid) i
		CROSS JOIN LATERAL (SELECT CASE WHEN p.objsubid > 0 THEN 'c' WHEN i.type = 'schema' THEN 'n' WHEN i.type = 'type' THEN 'T' WHEN i.type = 'sequence' THEN 's'
			WHEN p.classoid = 'pg_proc'::regclass THEN 'f' ELSE 'r' END::"char" AS kind) k) x
	WHERE acl IS DISTINCT FROM pg_temp.acl(NULL, kind, extowner)
	UNION ALL
	SELECT format('comment %s %s %s', i.type, i.identity, d.description)
	FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
	WHERE i.schema IN ('keystone', 'keystone_private') OR i.identity ~ '(keystone|keystone_private)($|\.)'
	UNION ALL
	SELECT 'event trigger ' || evtname || ' ' || evtevent || ' ' || evtenabled::text || ' ' || evtfoid::regproc FROM pg_event_trigger
)
SELECT regexp_replace(line, '\s+', ' ', 'g') FROM lines ORDER BY line COLLATE "C";
