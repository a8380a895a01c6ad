-- A workspace, its owner with a login role of its own, and a user who comes
-- through an authenticator.  Shows the user's id.
CREATE ROLE bench_app LOGIN;
CREATE ROLE bench_web LOGIN;
SELECT keystone.grant_access('bench_app', 'client'), keystone.grant_access('bench_web', 'client');
SELECT keystone.register_principal('user') AS user_id \gset
\connect - bench_app
SELECT keystone.create_workspace('bench');
SELECT keystone.add_member('bench', :'user_id', 'viewer');
-- And some more, as members have them.
SELECT keystone.create_workspace('bench-' || i), keystone.add_member('bench-' || i, :'user_id', 'viewer')
FROM generate_series(1, 19) AS g(i);
SELECT :'user_id';
