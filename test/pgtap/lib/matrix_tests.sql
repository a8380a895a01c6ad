-- Read by tests with \ir after matrix.sql and plan(): the whole matrix, all
-- callers in one test, which names those who got something else.
SELECT set_eq(
	$$SELECT DISTINCT object FROM expected_rows$$,
	$$SELECT relname::text FROM pg_class WHERE relnamespace = 'keystone'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S')$$,
	'each table and view of the API is in the matrix');
SELECT set_eq(
	$$SELECT DISTINCT name FROM functions$$,
	$$SELECT proname::text FROM pg_proc WHERE pronamespace = 'keystone'::regnamespace AND prokind = 'f'$$,
	'each function of the API is in the matrix');
SELECT is((SELECT count(*) FROM matrix WHERE who IS NULL OR query IS NULL OR query ~ '[{}]')
		  + (SELECT count(*) FROM calls WHERE statement IS NULL OR expected IS NULL OR statement ~ '\{[a-z]'), 0::bigint, 'no query of it is cut');
SELECT is((SELECT count(*) FROM matrix), (SELECT count(*) FROM expected_rows) * (SELECT count(*) FROM callers), 'and each caller makes it');

-- I4 is what the rows of the matrix are about.
SELECT is(string_agg(CASE WHEN (r.result = ANY (m.expected)) IS NOT TRUE THEN format('%s: %s, not %s', m.who, r.result, m.expected) END, '; '), NULL,
		  format('I4 SELECT from %s: %s', m.object, m.scope))
FROM matrix m CROSS JOIN LATERAL (SELECT pg_temp.as_role(m.who, m.query) AS result OFFSET 0) r
GROUP BY m.object, m.scope ORDER BY m.object, m.scope;

-- COPY gives what SELECT gives.
SELECT is(string_agg(CASE WHEN r.copied <> r.selected OR r.copied_table <> r.selected THEN format('%s: %s and %s, not %s', w.who, r.copied, r.copied_table, r.selected) END, '; '), NULL,
		  format('I4 COPY TO from %s', w.object))
FROM writes w CROSS JOIN LATERAL (
	SELECT pg_temp.as_role(w.who, format('SELECT FROM keystone.%I', w.object)) AS selected,
		   pg_temp.as_role(w.who, format('COPY (SELECT * FROM keystone.%I) TO ''/dev/null''', w.object)) AS copied,
		   CASE WHEN NOT w.as_view THEN pg_temp.as_role(w.who, format('COPY keystone.%I TO ''/dev/null''', w.object)) END AS copied_table OFFSET 0) r
WHERE w.verb = 'COPY FROM' AND w.object <> 'audit_log' GROUP BY w.object ORDER BY w.object;

SELECT is(string_agg(CASE WHEN (r.result = ANY (w.expected)) IS NOT TRUE
						  AND NOT (w.as_view AND w.verb LIKE 'SELECT%' AND r.result = pg_temp.as_role(w.who, format('SELECT FROM keystone.%I', w.object)))
					 THEN format('%s: %s, not %s', w.who, r.result, w.expected) END, '; '), NULL,
		  format('I4 %s on %s', w.verb, w.object))
FROM writes w CROSS JOIN LATERAL (SELECT pg_temp.as_role(w.who, w.statement) AS result OFFSET 0) r
GROUP BY w.object, w.verb ORDER BY w.object, w.verb;

SELECT is(string_agg(CASE WHEN CASE WHEN length(r.result) < 5 THEN 'ok' ELSE r.result END IS DISTINCT FROM c.expected THEN format('%s: %s, not %s', c.who, r.result, c.expected) END, '; '), NULL,
		  format('I4 %s(%s): %s', c.name, regexp_replace(c.args, 'k[sr]_[0-9A-Za-z_-]{20,}', 'token'), c.scope))
FROM calls c CROSS JOIN LATERAL (SELECT pg_temp.as_role(c.who, c.statement) AS result OFFSET 0) r
GROUP BY c.name, c.args, c.scope ORDER BY c.name, c.args, c.scope;

SELECT is(pg_temp.contents(), (SELECT contents FROM contents_before), 'I4 nothing has changed');
