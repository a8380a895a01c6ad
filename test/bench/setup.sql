-- One workspace with a thousand credentials, and an application that owns it.
CREATE ROLE bench_app LOGIN;
SELECT keystone.grant_access('bench_app', 'client');
\connect - bench_app
SELECT keystone.create_workspace('bench');
SELECT count(*) FROM (
	SELECT keystone.store('bench', 'credential ' || i, md5(i::text) || md5((-i)::text)) FROM generate_series(1, 1000) AS g(i)
) AS stored;
