/*-------------------------------------------------------------------------
 *
 * tz_window.c
 *	  Functions in SQL for ks_tzwindow, which Keystone itself has no function
 *	  for.
 *
 * It is made of the room's source, and is for tests only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_tzwindow.h"

PG_MODULE_MAGIC;

extern Datum ks_fn_tz_window_runs(PG_FUNCTION_ARGS);
extern Datum ks_fn_tz_window_wrong_at(PG_FUNCTION_ARGS);

/* A window of the first arguments: zone, rule, start, duration in seconds,
 * elapsed, from (may be NULL), excludes. */
static void
get_window(FunctionCallInfo fcinfo, KsTzWindow *window)
{
	const char *problem;
	Datum	   *excludes;
	int			n;

	memset(window, 0, sizeof(KsTzWindow));
	window->zone = pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (window->zone == NULL)
		elog(ERROR, "no such zone");
	if (!ks_tzwindow_time(text_to_cstring(PG_GETARG_TEXT_PP(2)), &window->start))
		elog(ERROR, "no such time");
	window->duration = PG_GETARG_INT64(3) * USECS_PER_SEC;
	window->elapsed = PG_GETARG_BOOL(4);
	if (!PG_ARGISNULL(5) && !ks_tzwindow_date(text_to_cstring(PG_GETARG_TEXT_PP(5)), &window->from))
		elog(ERROR, "no such date");
	problem = ks_tzwindow_rule(window, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (problem != NULL)
		elog(ERROR, "a rule %s", problem);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(6), TEXTOID, -1, false, TYPALIGN_INT, &excludes, NULL, &n);
	window->n_excludes = n;
	window->excludes = palloc((n + 1) * sizeof(KsDateRange));
	for (int i = 0; i < n; i++)
	{
		if (!ks_tzwindow_dates(TextDatumGetCString(excludes[i]), &window->excludes[i]))
			elog(ERROR, "no such dates");
	}
}

static TimestampTz
of_unix(int64 time)
{
	return (time - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400)) * USECS_PER_SEC;
}

static int64
to_unix(TimestampTz time)
{
	return time / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400);
}

/*
 * tz_window_runs(..., begin bigint, finish bigint) RETURNS bigint[]: when it
 * opens and closes, in turn, in seconds since 1970, as what says when it opens
 * next has it.
 */
PG_FUNCTION_INFO_V1(ks_fn_tz_window_runs);
Datum
ks_fn_tz_window_runs(PG_FUNCTION_ARGS)
{
	TimestampTz at = of_unix(PG_GETARG_INT64(7));
	TimestampTz finish = of_unix(PG_GETARG_INT64(8));
	int			n = 0;
	Datum	   *runs = palloc(40000 * sizeof(Datum));
	KsTzWindow	window;

	get_window(fcinfo, &window);
	while (n < 40000 && ks_tzwindow_next(&window, at, &at) && at < finish)
	{
		TimestampTz closes = at;

		runs[n++] = Int64GetDatum(to_unix(at));
		while (ks_tzwindow_contains(&window, closes, &closes) && closes < finish)
			;
		runs[n++] = Int64GetDatum(to_unix(closes));
		if (closes <= at)
			elog(ERROR, "a window is not open when it opens");
		at = closes - 1;
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(runs, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * tz_window_wrong_at(..., begin bigint, finish bigint, runs bigint[]) RETURNS
 * timestamptz: the first minute of which runs says something else than whether
 * it is open; NULL when there is none.
 */
PG_FUNCTION_INFO_V1(ks_fn_tz_window_wrong_at);
Datum
ks_fn_tz_window_wrong_at(PG_FUNCTION_ARGS)
{
	int64		finish = PG_GETARG_INT64(8);
	Datum	   *runs;
	int			n;
	int			i = 0;
	KsTzWindow	window;

	get_window(fcinfo, &window);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(9), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &runs, NULL, &n);
	for (int64 at = PG_GETARG_INT64(7); at < finish; at += SECS_PER_MINUTE)
	{
		while (i < n && DatumGetInt64(runs[i]) <= at)
			i++;
		if (ks_tzwindow_contains(&window, of_unix(at), NULL) != (i % 2 == 1))
			PG_RETURN_TIMESTAMPTZ(of_unix(at));
		if (at % SECS_PER_DAY == 0)
			CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_NULL();
}
