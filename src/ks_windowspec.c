/*-------------------------------------------------------------------------
 *
 * ks_windowspec.c
 *	  How limits are written, and when calendar windows begin and end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_windowspec.h"

#define PERIOD_MIN		USECS_PER_SEC
#define PERIOD_MAX		(INT64CONST(366) * USECS_PER_DAY)
#define MONTH_PERIOD	(INT64CONST(30) * USECS_PER_DAY)

#define EXPECTED_WINDOWS	"windows such as 10/hour, 100/day, 5/90 seconds"

static const struct
{
	const char *name;
	KsWindowAlgorithm algorithm;
}			algorithms[] = {
	{"sliding", KS_WINDOW_SLIDING}, {"log", KS_WINDOW_LOG},
	{"calendar", KS_WINDOW_CALENDAR}, {"gcra", KS_WINDOW_GCRA},
};

static const struct
{
	const char *name;
	KsWindowUnit unit;
	int64		period;
}			units[] = {
	{"second", KS_UNIT_SECOND, USECS_PER_SEC}, {"minute", KS_UNIT_MINUTE, USECS_PER_MINUTE},
	{"hour", KS_UNIT_HOUR, USECS_PER_HOUR}, {"day", KS_UNIT_DAY, USECS_PER_DAY},
	{"week", KS_UNIT_WEEK, 7 * USECS_PER_DAY}, {"month", KS_UNIT_MONTH, MONTH_PERIOD},
};

KsWindowAlgorithm
ks_windowspec_algorithm(const char *name)
{
	for (size_t i = 0; i < lengthof(algorithms); i++)
	{
		if (strcmp(algorithms[i].name, name) == 0)
			return algorithms[i].algorithm;
	}
	return (KsWindowAlgorithm) 0;
}

/* Cuts blanks off both ends of a text of its own. */
static char *
trim(char *text)
{
	size_t		len;

	while (isspace((unsigned char) *text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* A number of digits only; false when it is none, or out of range. */
static bool
read_number(const char *text, int64 *n)
{
	*n = 0;
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++)
	{
		if (*text < '0' || *text > '9')
			return false;
		*n = *n * 10 + (*text - '0');
		if (*n > KS_WINDOW_N_MAX)
			return false;
	}
	return *n >= 1;
}

bool
ks_windowspec_unit(const char *name, KsWindowSpec *spec)
{
	for (size_t i = 0; i < lengthof(units); i++)
	{
		if (pg_strcasecmp(units[i].name, name) != 0)
			continue;
		spec->unit = units[i].unit;
		spec->window.period = units[i].period;
		strlcpy(spec->name, units[i].name, sizeof(spec->name));
		return true;
	}
	return false;
}

/*
 * An interval as the server reads it, by the parts of interval_in() that raise
 * no error, whose text would show what was given.
 */
static bool
read_interval(const char *text, KsWindowSpec *spec)
{
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;
	int			kind;
	struct pg_itm_in found;

	if (strlcpy(spec->name, text, sizeof(spec->name)) >= sizeof(spec->name) ||
		ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &n) != 0 ||
		DecodeInterval(fields, types, n, INTERVAL_FULL_RANGE, &kind, &found) != 0 || kind != DTK_DELTA)
		return false;
	if (found.tm_year != 0 || found.tm_mon != 0 || found.tm_mday < 0 || found.tm_mday > 366 ||
		found.tm_usec < 0 || found.tm_usec > PERIOD_MAX)
		return false;
	spec->unit = KS_UNIT_INTERVAL;
	spec->window.period = found.tm_mday * USECS_PER_DAY + found.tm_usec;
	return spec->window.period >= PERIOD_MIN && spec->window.period <= PERIOD_MAX;
}

/* One window, in a text of its own that is cut up. */
static const char *
read_window(char *text, KsWindowAlgorithm algorithm, KsWindowSpec *spec)
{
	char	   *slash = strchr(text, '/');
	KsWindow   *window = &spec->window;

	memset(spec, 0, sizeof(*spec));
	if (slash == NULL)
		return EXPECTED_WINDOWS;
	*slash++ = '\0';
	if (!read_number(trim(text), &window->n))
		return "windows whose numbers are 1 to 4000000000";
	slash = trim(slash);
	if (!ks_windowspec_unit(slash, spec) && !read_interval(slash, spec))
		return "windows of a second, minute, hour, day, week, month, or an interval of 1 second to 366 days without months";

	window->algorithm = algorithm;
	if (algorithm == KS_WINDOW_LOG && window->n > KS_WINDOW_LOG_MAX)
		return "windows whose numbers are 1 to 16 for the algorithm log";
	if (algorithm == KS_WINDOW_CALENDAR && spec->unit == KS_UNIT_INTERVAL)
		return "windows of a second, minute, hour, day, week or month for the algorithm calendar";

	/* exact, and cheaper */
	if (algorithm == KS_WINDOW_SLIDING && window->n <= KS_WINDOW_LOG_MAX)
		window->algorithm = KS_WINDOW_LOG;
	return NULL;
}

static bool
is_repeated(const KsWindowSpec *specs, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (specs[i].window.period == specs[n].window.period)
			return true;
	}
	return false;
}

const char *
ks_windowspec_read(const char *text, KsWindowAlgorithm algorithm,
				   KsWindowSpec specs[KS_WINDOWSPEC_MAX], int *n)
{
	char		copy[KS_WINDOWSPEC_TEXT_MAX + 1];
	char	   *rest = copy;

	*n = 0;
	if (strlcpy(copy, text, sizeof(copy)) >= sizeof(copy))
		return "at most 255 bytes long";
	while (rest != NULL)
	{
		char	   *one = rest;
		const char *expected;

		rest = strchr(one, ',');
		if (rest != NULL)
			*rest++ = '\0';
		if (*n == KS_WINDOWSPEC_MAX)
			return "at most 8 windows";
		expected = read_window(one, algorithm, &specs[*n]);
		if (expected != NULL)
			return expected;
		if (is_repeated(specs, *n))
			return "windows of different periods";
		(*n)++;
	}
	return NULL;
}

int
ks_windowspec_parse(const char *parameter, const char *text, KsWindowAlgorithm algorithm,
					KsWindowSpec specs[KS_WINDOWSPEC_MAX])
{
	int			n;
	const char *expected = ks_windowspec_read(text, algorithm, specs, &n);

	if (expected != NULL)
		ks_error_invalid(parameter, expected, NULL);
	return n;
}

pg_tz *
ks_windowspec_zone(const char *name)
{
	pg_tz	   *zone = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : NULL;

	return zone != NULL && pg_tz_acceptable(zone) ? zone : NULL;
}

/* Midnight at the beginning of a day, given by its Julian number. */
static TimestampTz
midnight(int julian, pg_tz *zone)
{
	struct pg_tm tm = {0};
	TimestampTz result;
	int			offset;

	j2date(julian, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	offset = DetermineTimeZoneOffset(&tm, zone);
	if (tm2timestamp(&tm, 0, &offset, &result) != 0)
		elog(ERROR, "a day is out of range");
	return result;
}

/* The first day of the unit that begins so many units after the one with a day. */
static int
first_day(const struct pg_tm *tm, KsWindowUnit unit, int later)
{
	int			julian = date2j(tm->tm_year, tm->tm_mon, tm->tm_mday);
	int			calendar_months;

	switch (unit)
	{
		case KS_UNIT_WEEK:
			return julian - (j2day(julian) + 6) % 7 + 7 * later;
		case KS_UNIT_MONTH:
			calendar_months = tm->tm_year * 12 + tm->tm_mon - 1 + later;
			return date2j(calendar_months / 12, calendar_months % 12 + 1, 1);
		default:
			return julian + later;
	}
}

/*
 * Days begin at midnight, wherever that is: a midnight that comes twice begins
 * the day the second time, and until then it is the day before.  Shorter
 * windows are all of one length, from the full hour by the zone's present
 * offset.
 */
void
ks_windowspec_period(KsWindow *window, KsWindowUnit unit, pg_tz *zone, TimestampTz now)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	int			later = 0;

	if (timestamp2tm(now, &offset, &tm, &fsec, NULL, zone) != 0)
		elog(ERROR, "the time is out of range");
	if (unit == KS_UNIT_DAY || unit == KS_UNIT_WEEK || unit == KS_UNIT_MONTH)
	{
		if (midnight(first_day(&tm, unit, 0), zone) > now)
			later = -1;
		window->start = midnight(first_day(&tm, unit, later), zone);
		window->end = midnight(first_day(&tm, unit, later + 1), zone);
	}
	else
	{
		int64		local = now - offset * USECS_PER_SEC;

		window->start = now - (local % window->period + window->period) % window->period;
		window->end = window->start + window->period;
	}
}
