/*-------------------------------------------------------------------------
 *
 * ks_tzwindow.h
 *	  Maintenance windows: spans of time that come again by the calendar of a
 *	  time zone.
 *
 * A window opens on the days that its rule picks, at its local time of day,
 * and is open for its duration: from its first moment, without its last.  The
 * rule is a subset of RFC 5545: FREQ=DAILY, WEEKLY or MONTHLY with INTERVAL,
 * BYDAY (MONTHLY: with a number, such as 2TU or -1FR), BYMONTHDAY and UNTIL.
 *
 * Each opening is made from the local date by itself, never from the one
 * before.  Where clocks go forward over the opening, it is later by as much as
 * they went; where they go back over it, it is the first of the two.  How long
 * a window is open is a matter of dst: "elapsed" is so many hours and minutes
 * that pass; "wall" is until the clock on the wall shows what it showed at the
 * opening plus the duration, or first shows more.  A date that a zone has
 * skipped has no opening.
 *
 * Nothing here writes, or depends on when it is asked: a look at the local
 * dates around a time answers for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_TZWINDOW_H
#define KS_TZWINDOW_H

#include "ks_compat.h"

#include "datatype/timestamp.h"
#include "pgtime.h"

#define KS_TZWINDOW_DURATION_MAX	(7 * USECS_PER_DAY)
#define KS_TZWINDOW_INTERVAL_MAX	100
#define KS_TZWINDOW_EXCLUDES_MAX	64

typedef enum KsFrequency
{
	KS_DAILY,
	KS_WEEKLY,
	KS_MONTHLY
} KsFrequency;

/* Local dates, as Julian day numbers, both of which belong to it. */
typedef struct KsDateRange
{
	int32		first;
	int32		last;
} KsDateRange;

typedef struct KsTzWindow
{
	pg_tz	   *zone;
	KsFrequency frequency;
	int			interval;		/* every so many days, weeks, months */
	int32		from;			/* Julian day before which there is none, and
								 * from which intervals count; 0: none */
	bool		has_until;
	bool		until_is_time;	/* until_time, else until */
	int32		until;			/* last Julian day of an opening */
	TimestampTz until_time;		/* the last moment of an opening */
	uint8		weekdays;		/* bit 0 Sunday: any such day of the period */
	uint8		nth[7][2];		/* MONTHLY, by weekday: bit n - 1 for the nth,
								 * and for the nth last, of the month */
	bool		has_nth;
	uint32		monthdays;		/* bit n - 1: the nth of the month */
	uint32		monthdays_last; /* bit n - 1: the nth last */
	int32		start;			/* local time of day, in seconds */
	int64		duration;		/* microseconds, 1 minute to 7 days */
	bool		elapsed;		/* else wall */
	int			n_excludes;
	KsDateRange *excludes;		/* dates of openings that do not happen */
} KsTzWindow;

/*
 * Reads a rule into a window, in which from must be set and all else may be.
 * NULL, or a constant phrase that completes "must ...".
 */
extern const char *ks_tzwindow_rule(KsTzWindow *window, const char *rule);

/* Dates such as 2026-12-24, and spans 2026-12-24/2026-12-27 with both ends;
 * a time of day such as 22:00 or 22:00:30.  False when it is none. */
extern bool ks_tzwindow_date(const char *word, int32 *julian);
extern bool ks_tzwindow_dates(const char *word, KsDateRange *range);
extern bool ks_tzwindow_time(const char *word, int32 *seconds);

/* Whether it is open at a time; *closes (may be NULL) receives when what is
 * open ends. */
extern bool ks_tzwindow_contains(const KsTzWindow *window, TimestampTz at, TimestampTz *closes);

/*
 * When it opens next, strictly after a time.  False when it does not within
 * KS_TZWINDOW_HORIZON days.
 */
#define KS_TZWINDOW_HORIZON		3660

extern bool ks_tzwindow_next(const KsTzWindow *window, TimestampTz after, TimestampTz *opens);

#endif							/* KS_TZWINDOW_H */
