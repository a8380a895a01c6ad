/*-------------------------------------------------------------------------
 *
 * ks_windowspec.h
 *	  How limits are written: '10/hour, 100/day, 5/90 seconds'.
 *
 * One to eight windows with commas between; each is a number, a slash and a
 * unit (second, minute, hour, day, week, month) or an interval without months.
 * Blanks do not matter.  No two may have the same period.
 *
 * A month is 30 days where the algorithm wants a period; calendar uses the
 * calendar's days, weeks (from Monday) and months in its time zone, with days
 * of 23 and 25 hours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_WINDOWSPEC_H
#define KS_WINDOWSPEC_H

#include "ks_window.h"

#include "datatype/timestamp.h"
#include "pgtime.h"

#define KS_WINDOWSPEC_MAX		8	/* windows of one limit */
#define KS_WINDOWSPEC_NAME_MAX	31	/* bytes of a window's name */
#define KS_WINDOWSPEC_TEXT_MAX	255 /* bytes of the text */

typedef enum KsWindowUnit
{
	KS_UNIT_INTERVAL = 0,
	KS_UNIT_SECOND,
	KS_UNIT_MINUTE,
	KS_UNIT_HOUR,
	KS_UNIT_DAY,
	KS_UNIT_WEEK,
	KS_UNIT_MONTH
} KsWindowUnit;

typedef struct KsWindowSpec
{
	KsWindow	window;			/* start and end are zero */
	KsWindowUnit unit;
	char		name[KS_WINDOWSPEC_NAME_MAX + 1];	/* hour, or 90 seconds */
} KsWindowSpec;

/* The algorithm's name; 0 when there is none of that name. */
extern KsWindowAlgorithm ks_windowspec_algorithm(const char *name);

/*
 * Reads windows; *n receives how many.  NULL, or the constant phrase that
 * completes "must be ...".  Sliding windows of at most KS_WINDOW_LOG_MAX become
 * logs.
 */
extern const char *ks_windowspec_read(const char *text, KsWindowAlgorithm algorithm,
									  KsWindowSpec specs[KS_WINDOWSPEC_MAX], int *n);

/* The same; returns how many.  22023; the text is not echoed. */
extern int	ks_windowspec_parse(const char *parameter, const char *text, KsWindowAlgorithm algorithm,
								KsWindowSpec specs[KS_WINDOWSPEC_MAX]);

/* The unit of that name, such as hour, into a spec's unit, period and name;
 * false when there is none. */
extern bool ks_windowspec_unit(const char *name, KsWindowSpec *spec);

/* A time zone by its name; NULL when there is none. */
extern pg_tz *ks_windowspec_zone(const char *name);

/* Sets start and end of a calendar window: the period that a time is in. */
extern void ks_windowspec_period(KsWindow *window, KsWindowUnit unit, pg_tz *zone, TimestampTz now);

#endif							/* KS_WINDOWSPEC_H */
