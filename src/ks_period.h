/*-------------------------------------------------------------------------
 *
 * ks_period.h
 *	  Periods of quotas and budgets: days, weeks and months from an anchor.
 *
 * All of it is in UTC, where each day has 24 hours.  A day begins at the
 * anchor's time of day; a week on Monday at that time; a month on the anchor's
 * day of the month at that time.  In a month that has no such day it begins on
 * the last one; the next one begins on the anchor's day again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_PERIOD_H
#define KS_PERIOD_H

#include "keystone.h"

#include "datatype/timestamp.h"

typedef enum KsPeriodKind
{
	KS_PERIOD_DAY,
	KS_PERIOD_WEEK,
	KS_PERIOD_MONTH
} KsPeriodKind;

typedef struct KsPeriod
{
	TimestampTz start;			/* the first moment that belongs to it */
	TimestampTz end;			/* the first one that does not */
} KsPeriod;

/* Reads day, week or month; false for any other word. */
extern bool ks_period_kind(const char *name, KsPeriodKind *kind);

extern const char *ks_period_name(KsPeriodKind kind);

/* The period that a time lies in.  22023 when one of the two is infinite, or the
 * bounds are no timestamps. */
extern void ks_period_at(KsPeriodKind kind, TimestampTz anchor, TimestampTz at, KsPeriod *period);

#endif							/* KS_PERIOD_H */
