-- 10,000 workspaces with 1,000,000 credentials.  An application is owner of
-- 10 of them and viewer in 10: those are made through the API.  The others
-- only have to be there: their rows are written by hand, without HMACs.
CREATE ROLE bench_app LOGIN;
CREATE ROLE bench_other LOGIN;
SELECT keystone.grant_access('bench_app', 'client'), keystone.grant_access('bench_other', 'client');
\connect - bench_app
SELECT keystone.create_workspace('own-' || i) FROM generate_series(1, 10) AS g(i);
\connect - bench_other
SELECT keystone.create_workspace('other-' || i) FROM generate_series(1, 10) AS g(i);
\connect - postgres
SELECT id AS app FROM keystone.principals WHERE db_role = 'bench_app' \gset
\connect - bench_other
SELECT keystone.add_member('other-' || i, :'app', 'viewer') FROM generate_series(1, 10) AS g(i);
\connect - postgres

-- Neither entries of the log nor checks of foreign keys for all these rows.
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE keystone.principals DISABLE TRIGGER USER;
ALTER TABLE keystone.workspaces DISABLE TRIGGER USER;
ALTER TABLE keystone.members DISABLE TRIGGER USER;
ALTER TABLE keystone_private.credentials DISABLE TRIGGER USER;
INSERT INTO keystone.principals (id, kind, display_name, row_mac)
SELECT md5('principal ' || i)::uuid, 'user', 'principal ' || i, '' FROM generate_series(0, 9999) AS g(i);
INSERT INTO keystone.workspaces (id, slug, display_name, created_by, row_mac)
SELECT md5('workspace ' || i)::uuid, 'workspace-' || i, 'workspace ' || i, md5('principal ' || i)::uuid, ''
FROM generate_series(1, 10000 - 20) AS g(i);
INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac)
SELECT md5('workspace ' || i)::uuid, md5('principal ' || (i + j) % 10000)::uuid, CASE j WHEN 0 THEN 'owner' ELSE 'viewer' END, ''
FROM generate_series(1, 10000 - 20) AS g(i), generate_series(0, 4) AS h(j);

-- Credentials of a workspace do not lie together.  One of ten is personal;
-- those of the workspaces in which the application is only viewer are its own.
CREATE TEMPORARY TABLE numbered AS
	SELECT row_number() OVER (ORDER BY id) - 1 AS number, id, slug LIKE 'other-%' AS viewed FROM keystone.workspaces;
INSERT INTO keystone_private.credentials (workspace_id, id, name, folded_name, environment, owner, provider, kind,
	current_version, last_version, hint, created_by)
SELECT n.id, gen_random_uuid(), 'credential ' || i, 'credential ' || i, CASE i / 10000 % 2 WHEN 0 THEN 'prod' ELSE 'default' END,
	CASE WHEN i / 10000 % 10 <> 0 THEN NULL WHEN n.viewed THEN :'app'::uuid ELSE md5('principal ' || i % 10000)::uuid END,
	'openai', 'api_key', 1, 1, 'sk-…' || i % 10000, md5('principal ' || i % 10000)::uuid
FROM generate_series(0, 999999) AS g(i) JOIN numbered n ON n.number = i % 10000
ORDER BY i;
INSERT INTO keystone_private.credential_usage (workspace_id, credential_id, usage_count, last_used_at)
SELECT workspace_id, id, 1, now() FROM keystone_private.credentials WHERE random() < 0.5;
COMMIT;
VACUUM (FREEZE, ANALYZE);
