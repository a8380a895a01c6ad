/*-------------------------------------------------------------------------
 *
 * ks_period.c
 *	  Periods of quotas and budgets: days, weeks and months from an anchor.
 *
 * Times are counted in days from 2000-01-01, 00:00 UTC.  Where a month begins
 * is computed from the anchor each time, never from where another one began:
 * after a February the 31st is the 31st again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_period.h"

#define FIRST_MONDAY	2		/* 2000-01-03, in days */
#define WEEK_DAYS		7

/* By KsPeriodKind. */
static const char *const names[] = {"day", "week", "month"};

bool
ks_period_kind(const char *name, KsPeriodKind *kind)
{
	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
		{
			*kind = (KsPeriodKind) i;
			return true;
		}
	}
	return false;
}

const char *
ks_period_name(KsPeriodKind kind)
{
	return names[kind];
}

/* Rounded down, for a divisor above zero. */
static int64
floor_div(int64 number, int64 divisor)
{
	int64		quotient = number / divisor;

	return number % divisor < 0 ? quotient - 1 : quotient;
}

/* The day on which the period of a month begins; months are counted from year 0. */
static int64
first_day(int64 month, int anchor_day)
{
	int			year = (int) floor_div(month, MONTHS_PER_YEAR);
	int			of_year = (int) (month - (int64) year * MONTHS_PER_YEAR);
	int			last = day_tab[isleap(year)][of_year];

	return date2j(year, of_year + 1, Min(anchor_day, last)) - POSTGRES_EPOCH_JDATE;
}

static void
month_at(TimestampTz anchor, int64 of_day, TimestampTz at, KsPeriod *period)
{
	int			year;
	int			month;
	int			day;
	int			anchor_day;
	int64		number;

	j2date((int) floor_div(anchor, USECS_PER_DAY) + POSTGRES_EPOCH_JDATE, &year, &month, &anchor_day);
	j2date((int) floor_div(at, USECS_PER_DAY) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	number = (int64) year * MONTHS_PER_YEAR + month - 1;
	if (first_day(number, anchor_day) * USECS_PER_DAY + of_day > at)
		number--;
	period->start = first_day(number, anchor_day) * USECS_PER_DAY + of_day;
	period->end = first_day(number + 1, anchor_day) * USECS_PER_DAY + of_day;
}

void
ks_period_at(KsPeriodKind kind, TimestampTz anchor, TimestampTz at, KsPeriod *period)
{
	int64		of_day;
	int64		day;
	bool		finite = !TIMESTAMP_NOT_FINITE(anchor) && !TIMESTAMP_NOT_FINITE(at);

	if (finite)
	{
		of_day = anchor - floor_div(anchor, USECS_PER_DAY) * USECS_PER_DAY;
		day = floor_div(at - of_day, USECS_PER_DAY);
		switch (kind)
		{
			case KS_PERIOD_DAY:
				period->start = day * USECS_PER_DAY + of_day;
				period->end = period->start + USECS_PER_DAY;
				break;
			case KS_PERIOD_WEEK:
				day = floor_div(day - FIRST_MONDAY, WEEK_DAYS) * WEEK_DAYS + FIRST_MONDAY;
				period->start = day * USECS_PER_DAY + of_day;
				period->end = period->start + WEEK_DAYS * USECS_PER_DAY;
				break;
			case KS_PERIOD_MONTH:
				month_at(anchor, of_day, at, period);
				break;
		}
	}
	if (!finite || !IS_VALID_TIMESTAMP(period->start) || !IS_VALID_TIMESTAMP(period->end))
		ks_error_invalid("moment", "a time whose period has a beginning and an end", NULL);
}
