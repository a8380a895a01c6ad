/*-------------------------------------------------------------------------
 *
 * ks_near.h
 *	  Limits that are nearly used up, and quotas and budgets that have refused,
 *	  on their way from those who use them to the housekeeper, which makes
 *	  alerts of them.
 *
 * Who uses a limit writes no table, and who is refused writes none that lasts:
 * it leaves a note in shared memory, once for each limit, window, period and
 * threshold.  A note may be lost, when there is no room or the server crashes;
 * the next use leaves it again.
 *
 * Lock: KS_LOCK_NEAR protects the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_NEAR_H
#define KS_NEAR_H

#include "ks_limit.h"

#define KS_NEAR_MAX			64	/* notes that are taken at once */
#define KS_NEAR_WINDOW_MAX	31

typedef enum KsNearKind
{
	KS_NEAR_LIMIT,
	KS_NEAR_QUOTA,
	KS_NEAR_BUDGET
} KsNearKind;

/* A threshold that was reached; no bytes between that are not set. */
typedef struct KsNear
{
	KsNearKind	kind;
	uint8		workspace[KS_ID_LEN];	/* of the definition; nil: the
										 * database's */
	char		limit[KS_NAME_MAX + 1]; /* or meter, or period of a budget */
	char		window[KS_NEAR_WINDOW_MAX + 1]; /* of a limit */
	TimestampTz period_start;
	int64		threshold;		/* in per cent */
	int64		used;
	int64		allowed;
} KsNear;

extern Size ks_near_shmem_size(void);
extern void ks_near_shmem_init(void *area, bool found);

/*
 * Leaves a note when the answer to an ask says that a share of the window is
 * used, in per cent, and another one when all of it is.  limit is the
 * definition's name.
 */
extern void ks_near_check(const uint8 workspace[KS_ID_LEN], const char *limit, const char *window,
						  int percent, const KsLimitAsk *ask, TimestampTz now);

/* Leaves a note that a quota or budget has refused somebody: all of it is told
 * as used, though what was asked for was only more than is left. */
extern void ks_near_refused(KsNearKind kind, const uint8 workspace[KS_ID_LEN], const char *subject,
							TimestampTz period_start, int64 used, int64 allowed);

/* The housekeeper's side: notes of this database, at most KS_NEAR_MAX, which
 * stay until they are given up.  Returns how many. */
extern int	ks_near_take(KsNear *notes);
extern void ks_near_give_up(const KsNear *notes, int n);

#endif							/* KS_NEAR_H */
