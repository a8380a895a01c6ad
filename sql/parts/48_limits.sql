-- part: replay
CREATE OR REPLACE FUNCTION keystone.rate_limit(key text, windows text, cost int DEFAULT 1) RETURNS keystone.limit_result
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_rate_limit';
COMMENT ON FUNCTION keystone.rate_limit(text, text, int) IS
	'Counts an attempt against windows such as 10/hour, 100/day; the key is the caller''s own; survives ROLLBACK; cost 0 looks; 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.limit_define(name text, windows text, workspace text DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_define';
COMMENT ON FUNCTION keystone.limit_define(text, text, text, jsonb) IS
	'Defines a limit of a workspace, or of the database, or defines it anew, which keeps what was counted in windows of the same period; options: algorithm (sliding, log, calendar, gcra), timezone, class (protect, fair), shadow, near (per cent), refund, enforce ({"action", "provider"}), key; needs workspace, or the profile admin; a workspace defines none that the database has; 22023, 23505, 54000';

CREATE OR REPLACE FUNCTION keystone.limit_drop(name text, workspace text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_drop';
COMMENT ON FUNCTION keystone.limit_drop(text, text) IS 'Drops a limit; needs workspace, or the profile admin for one of the database; PT404';

CREATE OR REPLACE FUNCTION keystone.limit_consume(name text, key text, cost int DEFAULT 1, workspace text DEFAULT NULL) RETURNS keystone.limit_result
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_limit_consume';
COMMENT ON FUNCTION keystone.limit_consume(text, text, int, text) IS
	'Counts an attempt against a limit, all windows or none; survives ROLLBACK; a workspace''s limit needs view; without one of that name the limit named default counts; call it in FROM; cost 0 looks; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.limit_require(name text, key text, cost int DEFAULT 1, workspace text DEFAULT NULL) RETURNS keystone.limit_result
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_limit_require';
COMMENT ON FUNCTION keystone.limit_require(text, text, int, text) IS 'As limit_consume(), and PT429 when the limit refuses';

CREATE OR REPLACE FUNCTION keystone.limit_peek(name text, key text, workspace text DEFAULT NULL) RETURNS keystone.limit_result
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_limit_peek';
COMMENT ON FUNCTION keystone.limit_peek(text, text, text) IS 'What limit_consume() would answer to an attempt of 1, which is not made; remaining is what is left now; of a limit with enforce of the database only the caller''s own key, unless the caller has the profile admin or monitor; PT404, 42501';

CREATE OR REPLACE FUNCTION keystone.limit_consume_many(requests jsonb) RETURNS SETOF keystone.limit_result
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 4 AS 'MODULE_PATHNAME', 'ks_fn_limit_consume_many';
COMMENT ON FUNCTION keystone.limit_consume_many(jsonb) IS
	'limit_consume() for 1 to 16 requests {"name", "key", "cost", "workspace"} at once, all or nothing: allowed and retry_after are those of the whole; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.limit_refund(token text) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_refund';
COMMENT ON FUNCTION keystone.limit_refund(text) IS
	'Gives back, once, what the caller consumed of a limit with the option refund, as far as it still counts; for holders of workspace and services; whether anything was given back; 22023';

CREATE OR REPLACE FUNCTION keystone.limit_block(name text, key text, until timestamptz, reason text, workspace text DEFAULT NULL) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_block';
COMMENT ON FUNCTION keystone.limit_block(text, text, timestamptz, text, text) IS
	'Has a limit refuse a key until a time; false when there is no room for that; needs workspace, or the profile admin; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.limit_unblock(name text, key text, workspace text DEFAULT NULL) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_unblock';
COMMENT ON FUNCTION keystone.limit_unblock(text, text, text) IS 'Ends a block; false when there was none; needs workspace, or the profile admin; PT404';

CREATE OR REPLACE FUNCTION keystone.limit_headers(result keystone.limit_result) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_headers';
COMMENT ON FUNCTION keystone.limit_headers(keystone.limit_result) IS
	'RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset and Retry-After as PostgREST wants them in response.headers';

CREATE OR REPLACE FUNCTION keystone_private.limit_stats(
	OUT entries bigint, OUT capacity bigint, OUT in_database bigint, OUT blocked bigint,
	OUT allowed bigint, OUT denied bigint, OUT overflowed bigint, OUT dirty bigint) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_limit_stats';
COMMENT ON FUNCTION keystone_private.limit_stats() IS 'How full the table of counters is; monitor or admin profile';

CREATE OR REPLACE FUNCTION keystone_private.calendar_period(unit text, timezone text, at timestamptz,
	OUT starts timestamptz, OUT ends timestamptz) RETURNS record
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_calendar_period';
COMMENT ON FUNCTION keystone_private.calendar_period(text, text, timestamptz) IS
	'When a calendar window of a time begins and ends in a time zone; unit second, minute, hour, day, week or month; monitor or admin profile; 22023';
