/*-------------------------------------------------------------------------
 *
 * ks_tzwindow.c
 *	  Maintenance windows.
 *
 * A local time is a number of seconds since 2000-01-01 00:00 on the wall; it is
 * turned into a time by walking over the offsets that the zone has around it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ks_tzwindow.h"

#define WEEKDAYS	7

/* Words of a rule. */

static const char *const weekday_names[WEEKDAYS] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};

/* As many digits as there are, at most max, and nothing else before end. */
static bool
read_digits(const char *word, const char *end, int max, int *number)
{
	if (word == end || end - word > max)
		return false;
	*number = 0;
	for (; word < end; word++)
	{
		if (*word < '0' || *word > '9')
			return false;
		*number = *number * 10 + (*word - '0');
	}
	return true;
}

static bool
make_julian(int year, int month, int day, int32 *julian)
{
	if (year < 1900 || year > 9999 || month < 1 || month > MONTHS_PER_YEAR ||
		day < 1 || day > day_tab[isleap(year)][month - 1])
		return false;
	*julian = date2j(year, month, day);
	return true;
}

bool
ks_tzwindow_date(const char *word, int32 *julian)
{
	int			year;
	int			month;
	int			day;

	return strlen(word) == 10 && word[4] == '-' && word[7] == '-' &&
		read_digits(word, word + 4, 4, &year) && read_digits(word + 5, word + 7, 2, &month) &&
		read_digits(word + 8, word + 10, 2, &day) && make_julian(year, month, day, julian);
}

bool
ks_tzwindow_dates(const char *word, KsDateRange *range)
{
	char		first[11];

	if (strlen(word) != 21 || word[10] != '/')
	{
		if (!ks_tzwindow_date(word, &range->first))
			return false;
		range->last = range->first;
		return true;
	}
	strlcpy(first, word, sizeof(first));
	return ks_tzwindow_date(first, &range->first) && ks_tzwindow_date(word + 11, &range->last) &&
		range->first <= range->last;
}

bool
ks_tzwindow_time(const char *word, int32 *seconds)
{
	size_t		len = strlen(word);
	int			hour;
	int			minute;
	int			second = 0;

	if ((len != 5 && len != 8) || word[2] != ':' || (len == 8 && word[5] != ':') ||
		!read_digits(word, word + 2, 2, &hour) || !read_digits(word + 3, word + 5, 2, &minute) ||
		(len == 8 && !read_digits(word + 6, word + 8, 2, &second)) ||
		hour >= HOURS_PER_DAY || minute >= MINS_PER_HOUR || second >= SECS_PER_MINUTE)
		return false;
	*seconds = (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second;
	return true;
}

/* 20301231 or 20301231T220000Z */
static bool
read_until(KsTzWindow *window, const char *word, const char *end)
{
	int			year;
	int			month;
	int			day;
	int			time = 0;
	bool		is_time = end - word == 16;

	if ((end - word != 8 && !is_time) || !read_digits(word, word + 4, 4, &year) ||
		!read_digits(word + 4, word + 6, 2, &month) || !read_digits(word + 6, word + 8, 2, &day) ||
		!make_julian(year, month, day, &window->until) ||
		(is_time && (word[8] != 'T' || word[15] != 'Z' || !read_digits(word + 9, word + 15, 6, &time))) ||
		time / 10000 >= HOURS_PER_DAY || time / 100 % 100 >= MINS_PER_HOUR || time % 100 >= SECS_PER_MINUTE)
		return false;
	window->has_until = true;
	window->until_is_time = is_time;
	window->until_time = (window->until - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		(time / 10000 * INT64CONST(3600) + time / 100 % 100 * 60 + time % 100) * USECS_PER_SEC;
	return true;
}

/* A number that counts from the beginning or, below zero, from the end. */
static bool
read_place(const char *word, const char *end, int max, int *place)
{
	bool		last = word < end && *word == '-';

	if (word < end && (*word == '-' || *word == '+'))
		word++;
	if (!read_digits(word, end, 2, place) || *place < 1 || *place > max)
		return false;
	if (last)
		*place = -*place;
	return true;
}

/* MO, or 2TU or -1FR of a month */
static bool
read_weekday(KsTzWindow *window, const char *word, const char *end)
{
	int			place;

	for (int day = 0; end - word >= 2 && day < WEEKDAYS; day++)
	{
		if (memcmp(end - 2, weekday_names[day], 2) != 0)
			continue;
		if (end - word == 2)
		{
			window->weekdays |= 1 << day;
			return true;
		}
		if (!read_place(word, end - 2, 5, &place))
			return false;
		window->has_nth = true;
		window->nth[day][place < 0] |= 1 << (abs(place) - 1);
		return true;
	}
	return false;
}

static bool
read_monthday(KsTzWindow *window, const char *word, const char *end)
{
	int			place;
	uint32		bit;

	if (!read_place(word, end, 31, &place))
		return false;
	bit = (uint32) 1 << (abs(place) - 1);
	if (place < 0)
		window->monthdays_last |= bit;
	else
		window->monthdays |= bit;
	return true;
}

static bool
read_frequency(KsTzWindow *window, const char *word, const char *end)
{
	static const char *const names[] = {"DAILY", "WEEKLY", "MONTHLY"};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (end - word == (int) strlen(names[i]) && memcmp(word, names[i], strlen(names[i])) == 0)
		{
			window->frequency = (KsFrequency) i;
			return true;
		}
	}
	return false;
}

static bool
read_list(KsTzWindow *window, const char *word, const char *end,
		  bool (*read) (KsTzWindow *, const char *, const char *))
{
	for (;;)
	{
		const char *comma = memchr(word, ',', (size_t) (end - word));

		if (!read(window, word, comma != NULL ? comma : end))
			return false;
		if (comma == NULL)
			return true;
		word = comma + 1;
	}
}

enum
{
	PART_FREQ = 1 << 0,
	PART_INTERVAL = 1 << 1,
	PART_BYDAY = 1 << 2,
	PART_BYMONTHDAY = 1 << 3,
	PART_UNTIL = 1 << 4
};

static int
find_part(const char *name, size_t len)
{
	static const char *const names[] = {"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "UNTIL"};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return 1 << i;
	}
	return 0;
}

static const char *
read_part(KsTzWindow *window, int part, const char *word, const char *end)
{
	switch (part)
	{
		case PART_FREQ:
			return read_frequency(window, word, end) ? NULL :
				"must have FREQ=DAILY, FREQ=WEEKLY or FREQ=MONTHLY";
		case PART_INTERVAL:
			return read_digits(word, end, 3, &window->interval) && window->interval >= 1 &&
				window->interval <= KS_TZWINDOW_INTERVAL_MAX ? NULL : "must have an INTERVAL between 1 and 100";
		case PART_BYDAY:
			return read_list(window, word, end, read_weekday) ? NULL :
				"must have days such as MO, or 2TU or -1FR, in BYDAY";
		case PART_BYMONTHDAY:
			return read_list(window, word, end, read_monthday) ? NULL :
				"must have days between 1 and 31, or -31 and -1, in BYMONTHDAY";
		case PART_UNTIL:
			return read_until(window, word, end) ? NULL :
				"must have a date such as 20301231, or a time such as 20301231T220000Z, in UNTIL";
		default:
			return "must have no parts but FREQ, INTERVAL, BYDAY, BYMONTHDAY and UNTIL";
	}
}

static const char *
check_rule(const KsTzWindow *window, int parts)
{
	if (!(parts & PART_FREQ))
		return "must have FREQ=DAILY, FREQ=WEEKLY or FREQ=MONTHLY";
	if (window->interval > 1 && window->from == 0)
		return "must have no INTERVAL unless the window says from when it counts, with \"from\"";
	if (window->frequency == KS_WEEKLY && (!(parts & PART_BYDAY) || (parts & PART_BYMONTHDAY)))
		return "must have BYDAY, and no BYMONTHDAY, with FREQ=WEEKLY";
	if (window->frequency == KS_MONTHLY && !(parts & (PART_BYDAY | PART_BYMONTHDAY)))
		return "must have BYDAY or BYMONTHDAY with FREQ=MONTHLY";
	if (window->frequency != KS_MONTHLY && window->has_nth)
		return "must have no numbers in BYDAY unless it has FREQ=MONTHLY";
	return NULL;
}

const char *
ks_tzwindow_rule(KsTzWindow *window, const char *rule)
{
	int			parts = 0;

	window->interval = 1;
	for (;;)
	{
		const char *end = rule + strcspn(rule, ";");
		const char *equals = memchr(rule, '=', (size_t) (end - rule));
		int			part = equals != NULL ? find_part(rule, (size_t) (equals - rule)) : 0;
		const char *problem;

		if (parts & part)
			return "must have each part once";
		parts |= part;
		problem = read_part(window, part, equals != NULL ? equals + 1 : end, end);
		if (problem != NULL)
			return problem;
		if (*end == '\0')
			return check_rule(window, parts);
		rule = end + 1;
	}
}

/* Which days a rule picks. */

/* Whether a day's number from the beginning, or from the end, is wanted. */
static bool
has_monthday(const KsTzWindow *window, int day, int month_days)
{
	return (window->monthdays >> (day - 1) & 1) != 0 || (window->monthdays_last >> (month_days - day) & 1) != 0;
}

static bool
has_weekday(const KsTzWindow *window, int weekday, int day, int month_days)
{
	return (window->weekdays >> weekday & 1) != 0 ||
		(window->nth[weekday][0] >> (day - 1) / WEEKDAYS & 1) != 0 ||
		(window->nth[weekday][1] >> (month_days - day) / WEEKDAYS & 1) != 0;
}

/* Weeks begin on Monday, as those of RFC 5545 do. */
static int
week_of(int32 julian)
{
	return julian / WEEKDAYS;
}

static bool
is_interval(const KsTzWindow *window, int32 julian, int year, int month)
{
	int			from_year;
	int			from_month;
	int			from_day;

	if (window->interval == 1)
		return true;
	switch (window->frequency)
	{
		case KS_DAILY:
			return (julian - window->from) % window->interval == 0;
		case KS_WEEKLY:
			return (week_of(julian) - week_of(window->from)) % window->interval == 0;
		case KS_MONTHLY:
			j2date(window->from, &from_year, &from_month, &from_day);
			return ((year - from_year) * MONTHS_PER_YEAR + month - from_month) % window->interval == 0;
	}
	return false;
}

static bool
is_excluded(const KsTzWindow *window, int32 julian)
{
	for (int i = 0; i < window->n_excludes; i++)
	{
		if (julian >= window->excludes[i].first && julian <= window->excludes[i].last)
			return true;
	}
	return false;
}

static bool
is_picked(const KsTzWindow *window, int32 julian)
{
	int			year;
	int			month;
	int			day;
	int			month_days;

	if (julian < window->from || (window->has_until && !window->until_is_time && julian > window->until))
		return false;
	/* most days end here, cheaply */
	if (window->weekdays != 0 && !window->has_nth && (window->weekdays >> j2day(julian) & 1) == 0)
		return false;
	j2date(julian, &year, &month, &day);
	month_days = day_tab[isleap(year)][month - 1];
	if ((window->monthdays | window->monthdays_last) != 0 && !has_monthday(window, day, month_days))
		return false;
	if ((window->weekdays != 0 || window->has_nth) && !has_weekday(window, j2day(julian), day, month_days))
		return false;
	return is_interval(window, julian, year, month) && !is_excluded(window, julian);
}

/* From local times to times. */

/* What a local time is in a zone. */
typedef struct Moment
{
	pg_time_t	time;			/* the first of the two where it comes twice;
								 * by the offset before where it is skipped */
	int64		gap;			/* seconds that are skipped with it; else 0 */
	pg_time_t	edge;			/* when the gap is, else time */
} Moment;

static pg_time_t
unix_of_local(int64 local)
{
	return local + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400);
}

/*
 * Walks over the stretches of one offset each, from a day before, which is
 * before all times that could be it.  In the one where it lies, it lies before
 * the end; if it lies before the beginning, too, it was skipped there.
 */
static void
find_moment(int64 local, pg_tz *zone, Moment *moment)
{
	pg_time_t	wanted = unix_of_local(local);
	pg_time_t	begin = wanted - SECS_PER_DAY;
	pg_time_t	end;
	long		offset = 0;
	long		offset_before = 0;
	long		offset_after;
	int			isdst;
	int			isdst_after;

	while (pg_next_dst_boundary(&begin, &offset, &isdst, &end, &offset_after, &isdst_after, zone) > 0 &&
		   wanted - offset >= end)
	{
		begin = end;
		offset_before = offset;
	}
	moment->time = wanted - offset;
	moment->edge = moment->time;
	moment->gap = 0;
	if (moment->time < begin)
	{
		moment->time = wanted - offset_before;
		moment->edge = begin;
		moment->gap = offset - offset_before;
	}
}

static TimestampTz
to_timestamp(pg_time_t time)
{
	return (time - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400)) * USECS_PER_SEC;
}

/* One opening. */
typedef struct Opening
{
	TimestampTz opens;
	TimestampTz closes;
} Opening;

static bool
make_opening(const KsTzWindow *window, int32 julian, Opening *opening)
{
	int64		local = (julian - POSTGRES_EPOCH_JDATE) * INT64CONST(86400) + window->start;
	Moment		moment;

	find_moment(local, window->zone, &moment);
	if (moment.gap >= SECS_PER_DAY)
		return false;			/* there was no such day */
	opening->opens = to_timestamp(moment.time);
	if (window->until_is_time && opening->opens > window->until_time)
		return false;
	if (window->elapsed)
		opening->closes = opening->opens + window->duration;
	else
	{
		find_moment(local + moment.gap + window->duration / USECS_PER_SEC, window->zone, &moment);
		opening->closes = to_timestamp(moment.edge);
	}
	return true;
}

/* The local date of a time; false when there is none. */
static bool
local_date(const KsTzWindow *window, TimestampTz at, int32 *julian)
{
	pg_time_t	time = timestamptz_to_time_t(at);
	struct pg_tm *tm;

	if (TIMESTAMP_NOT_FINITE(at) || (tm = pg_localtime(&time, window->zone)) == NULL)
		return false;
	*julian = date2j(tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);
	return true;
}

/*
 * What is open now opened so many days before, or a day more: the end of a
 * "wall" one is not so many hours later, and an opening that was moved may
 * belong to the day before.
 */
bool
ks_tzwindow_contains(const KsTzWindow *window, TimestampTz at, TimestampTz *closes)
{
	int			back = (int) (window->duration / USECS_PER_DAY) + 2;
	bool		open = false;
	int32		today;

	if (!local_date(window, at, &today))
		return false;
	for (int32 julian = today - back; julian <= today + 1; julian++)
	{
		Opening		opening;

		if (!is_picked(window, julian) || !make_opening(window, julian, &opening) ||
			at < opening.opens || at >= opening.closes)
			continue;
		if (closes != NULL && (!open || opening.closes > *closes))
			*closes = opening.closes;
		open = true;
	}
	return open;
}

bool
ks_tzwindow_next(const KsTzWindow *window, TimestampTz after, TimestampTz *opens)
{
	int32		today;

	if (!local_date(window, after, &today))
		return false;
	for (int32 julian = Max(today - 2, window->from); julian <= today + KS_TZWINDOW_HORIZON; julian++)
	{
		Opening		opening;

		if (!is_picked(window, julian) || !make_opening(window, julian, &opening) || opening.opens <= after)
			continue;
		*opens = opening.opens;
		return true;
	}
	return false;
}
