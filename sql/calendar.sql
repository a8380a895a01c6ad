-- When calendar windows begin and end, over transitions of time zones, against
-- the server's own arithmetic of time zones.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE FUNCTION pg_temp.calendar(unit text, zone text, at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT starts || ' to ' || ends || CASE WHEN NOT (starts <= at AND at < ends) THEN ' without ' || at ELSE '' END
	FROM keystone_private.calendar_period(unit, zone, at) $$;

-- Known ones: days of 23, 25, 23.5 and 24.5 hours; a day that begins at one;
-- midnight twice; a day that there was not, in the day before, its week and month
SELECT unit, zone, at, pg_temp.calendar(unit, zone, at) AS window
FROM (VALUES ('day', 'Europe/Berlin', timestamptz '2024-03-31 12:00+00'), ('day', 'Europe/Berlin', '2024-10-27 00:30+00'), ('week', 'Europe/Berlin', '2024-03-31 21:59:59.999999+00'),
	('month', 'Europe/Berlin', '2024-10-31 22:59:59+00'), ('month', 'Europe/Berlin', '2024-10-31 23:00+00'), ('hour', 'Europe/Berlin', '2024-10-27 00:59+00'), ('hour', 'Europe/Berlin', '2024-10-27 01:00+00'),
	('day', 'America/New_York', '2024-03-10 07:00+00'), ('day', 'America/New_York', '2024-11-03 05:59+00'), ('month', 'America/New_York', '2024-03-01 04:59+00'),
	('day', 'Australia/Lord_Howe', '2024-10-05 15:29+00'), ('day', 'Australia/Lord_Howe', '2024-04-06 15:15+00'), ('hour', 'Australia/Lord_Howe', '2024-04-06 15:15+00'), ('hour', 'Asia/Kathmandu', '2024-01-01 00:20+00'),
	('day', 'America/Santiago', '2024-09-08 03:59:59+00'), ('day', 'America/Santiago', '2024-09-08 04:00+00'), ('day', 'America/Santiago', '2024-04-07 03:30+00'), ('week', 'America/Santiago', '2024-09-08 05:00+00'),
	('day', 'Africa/Cairo', '2024-04-25 21:59:59+00'), ('day', 'Africa/Cairo', '2024-04-25 22:00+00'), ('day', 'America/Havana', '2024-11-03 04:30+00'), ('day', 'America/Havana', '2024-11-03 05:00+00'),
	('day', 'Pacific/Apia', '2011-12-30 09:59:59+00'), ('day', 'Pacific/Apia', '2011-12-30 10:00+00'), ('week', 'Pacific/Apia', '2011-12-30 10:00+00'), ('month', 'Pacific/Apia', '2011-12-30 09:00+00'),
	('day', 'UTC', '2024-02-29 23:59:59+00'), ('month', 'UTC', '2024-02-29 12:00+00'), ('month', 'UTC', '1999-12-31 12:00+00'), ('week', 'UTC', '2023-01-01 12:00+00'), ('second', 'UTC', '2024-01-01 00:00:00.5+00'),
	('minute', 'Europe/Berlin', '2024-01-01 00:00:59.999999+00')) v (unit, zone, at);

-- The days around each transition of some years.  A day, week or month
-- begins when the first of its midnights is that the clock does not see again,
-- so that windows are what lies between two of these.
CREATE TEMP TABLE zones AS SELECT zone FROM unnest(ARRAY['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Santiago', 'Africa/Cairo', 'Pacific/Apia', 'UTC',
	'America/Havana', 'America/St_Johns', 'Asia/Beirut']) zone;
CREATE TEMP TABLE transitions AS
	SELECT zone, day AS near FROM zones, generate_series(timestamptz '2010-01-01 00:00+00', '2024-12-31 00:00+00', '1 day') day
	WHERE extract(year FROM day) IN (2010, 2011, 2024) AND (day AT TIME ZONE zone - (day - interval '1 day') AT TIME ZONE zone <> interval '1 day' OR zone = 'UTC' AND extract(day FROM day) = 1 AND extract(month FROM day) = 3);
SELECT zone, count(*) > 0 AS some FROM zones LEFT JOIN transitions USING (zone) GROUP BY zone HAVING count(near) = 0;
CREATE TEMP TABLE midnights AS
	SELECT DISTINCT zone, unit, date AT TIME ZONE zone AS midnight
	FROM zones, generate_series(timestamp '2009-11-01', '2025-03-01', '1 day') date, unnest('{day,week,month}'::text[]) unit
	WHERE date = date_trunc(unit, date);
CREATE INDEX ON midnights (zone, unit, midnight);
CREATE TEMP TABLE moments AS
	SELECT zone, near + minutes * interval '1 minute' + micros * interval '1 microsecond' AS at FROM transitions, generate_series(-2880, 1440, 180) minutes, generate_series(-1, 0) micros
	UNION SELECT t.zone, m.midnight + micros * interval '1 microsecond' FROM transitions t JOIN midnights m ON m.zone = t.zone AND m.midnight BETWEEN t.near - interval '2 days' AND t.near + interval '2 days',
		generate_series(-1, 1) micros;
SELECT unit, count(*) > 2000 AS many, count(*) FILTER (WHERE p.starts IS DISTINCT FROM s.midnight) AS wrong_start, count(*) FILTER (WHERE p.ends IS DISTINCT FROM e.midnight) AS wrong_end,
	count(*) FILTER (WHERE NOT (p.starts <= at AND at < p.ends)) AS outside
FROM moments m CROSS JOIN unnest('{day,week,month}'::text[]) unit
CROSS JOIN LATERAL keystone_private.calendar_period(unit, m.zone, m.at) p
CROSS JOIN LATERAL (SELECT max(n.midnight) AS midnight FROM midnights n WHERE n.zone = m.zone AND n.unit = unit.unit AND n.midnight <= m.at) s
CROSS JOIN LATERAL (SELECT min(n.midnight) AS midnight FROM midnights n WHERE n.zone = m.zone AND n.unit = unit.unit AND n.midnight > m.at) e
GROUP BY unit ORDER BY unit;
-- date_trunc() says the same but for midnights that come twice
SELECT unit, count(*) FILTER (WHERE p.starts <> date_trunc(unit, m.at, m.zone) AND m.zone NOT IN ('America/Havana', 'America/St_Johns')) AS differ
FROM moments m CROSS JOIN unnest('{second,minute,hour,day,week,month}'::text[]) unit
CROSS JOIN LATERAL keystone_private.calendar_period(unit, m.zone, m.at) p
GROUP BY unit ORDER BY unit;
SELECT unit, count(*) FILTER (WHERE p.ends - p.starts <> ('1 ' || unit)::interval) AS of_another_length
FROM moments m CROSS JOIN unnest('{second,minute,hour}'::text[]) unit
CROSS JOIN LATERAL keystone_private.calendar_period(unit, m.zone, m.at) p
GROUP BY unit ORDER BY unit;

-- It is what limits count by
CREATE ROLE regress_keystone_calendar_owner;
SELECT keystone.grant_access('regress_keystone_calendar_owner', 'worker');
SELECT keystone.register_principal('Calendar owner', db_role => 'regress_keystone_calendar_owner') AS owner \gset
GRANT SELECT ON zones TO regress_keystone_calendar_owner;
SET SESSION AUTHORIZATION regress_keystone_calendar_owner;
SELECT count(keystone.create_workspace('calendar'));
SELECT count(keystone.limit_define(zone || ' ' || unit, '3/' || unit, 'calendar', jsonb_build_object('algorithm', 'calendar', 'timezone', zone))) FROM zones, unnest('{day,week,month}'::text[]) unit;
CREATE TEMP TABLE counted AS
	SELECT zone, unit, clock_timestamp() AS before, r.reset_at FROM zones, unnest('{day,week,month}'::text[]) unit, keystone.limit_consume(zone || ' ' || unit, 'k', 1, 'calendar') r;
SELECT keystone_private.calendar_period('day', 'UTC', now());
RESET SESSION AUTHORIZATION;
SELECT count(*), count(*) FILTER (WHERE reset_at NOT IN ((SELECT ends FROM keystone_private.calendar_period(unit, zone, before)), (SELECT ends FROM keystone_private.calendar_period(unit, zone, clock_timestamp())))) AS wrong
FROM counted;

-- I12: wrong arguments, and who may
CREATE FUNCTION pg_temp.attempt(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT a, pg_temp.attempt(format('SELECT keystone_private.calendar_period(%s)', a)) FROM unnest(ARRAY['''fortnight'', ''UTC'', now()', '''90 seconds'', ''UTC'', now()', ''''', ''UTC'', now()', '''day'', ''Nowhere'', now()',
	'''day'', '''', now()', 'NULL, ''UTC'', now()', '''day'', NULL, now()', '''day'', ''UTC'', NULL', '''day'', ''UTC'', ''infinity''', '''day'', ''UTC'', ''-infinity''', '''day'', ''UTC'', ''1899-12-31 23:59:59+00''',
	'''month'', ''UTC'', ''1900-01-01 00:00+00''', '''month'', ''UTC'', ''9999-12-31 23:59:59+00''', '''month'', ''UTC'', ''10000-01-01 00:00+00''', '''DAY'', ''europe/berlin'', now()']) a;
CREATE ROLE regress_keystone_calendar_monitor;
SELECT keystone.grant_access('regress_keystone_calendar_monitor', 'monitor');
GRANT USAGE ON SCHEMA keystone_private TO regress_keystone_calendar_monitor, regress_keystone_calendar_owner;
GRANT EXECUTE ON FUNCTION keystone_private.calendar_period TO regress_keystone_calendar_owner;
SET SESSION AUTHORIZATION regress_keystone_calendar_monitor;
SELECT pg_temp.attempt('SELECT keystone_private.calendar_period(''day'', ''UTC'', now())') AS monitor;
SET SESSION AUTHORIZATION regress_keystone_calendar_owner;
SELECT pg_temp.attempt('SELECT keystone_private.calendar_period(''day'', ''UTC'', now())') AS worker;
RESET SESSION AUTHORIZATION;
REVOKE USAGE ON SCHEMA keystone_private FROM regress_keystone_calendar_monitor, regress_keystone_calendar_owner;
REVOKE EXECUTE ON FUNCTION keystone_private.calendar_period FROM regress_keystone_calendar_owner;
DROP TABLE zones;
SELECT keystone.revoke_access('regress_keystone_calendar_owner', 'worker'), keystone.revoke_access('regress_keystone_calendar_monitor', 'monitor');
DROP ROLE regress_keystone_calendar_owner, regress_keystone_calendar_monitor;
