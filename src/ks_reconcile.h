/*-------------------------------------------------------------------------
 *
 * ks_reconcile.h
 *	  Rows of Keystone's tables against the audit log.
 *
 * Entries say by digests which rows each change found and left (see
 * ks_rowdigest.h).  What the last one of each row says is kept in memory,
 * and rows are compared with it.
 *
 * The rows, the log and the outbox are read with one snapshot at a time: the
 * appender moves changes from the outbox to the log in one transaction, so
 * that each change is seen once, and with the row that it left.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_RECONCILE_H
#define KS_RECONCILE_H

#include "ks_change.h"

#include "utils/snapshot.h"

/* What is wrong. */
typedef enum KsDiscrepancyKind
{
	KS_ROW_DIFFERS = 0,			/* the row is another one, or is there, or is
								 * not */
	KS_ROW_BYPASSED,			/* a change found another row than the one
								 * before it left */
	KS_LOG_BROKEN				/* the log itself */
} KsDiscrepancyKind;

typedef struct KsDiscrepancy
{
	KsDiscrepancyKind kind;
	uint8		table;			/* code; 0 for KS_LOG_BROKEN */
	uint8		key[KS_ROW_KEY_LEN];
	uint8		found[KS_ROW_BEFORE_LEN];	/* beginning of its digest; zeros
											 * when it is missing */
	bool		has_workspace;
	uint8		workspace[KS_ID_LEN];
	bool		has_credential;
	uint8		credential[KS_ID_LEN];
	char	   *problem;		/* valid during the call */
} KsDiscrepancy;

typedef struct KsReconcile KsReconcile;

/* What finds things out is told of them.  settled: a row agrees again that did
 * not.  A reported one stands in the log as an entry audit.reconcile. */
typedef struct KsReconcileObserver
{
	void		(*found) (void *arg, const KsDiscrepancy *discrepancy, bool reported);
	void		(*settled) (void *arg, const KsDiscrepancy *discrepancy, bool reported);
	void	   *arg;
} KsReconcileObserver;

/*
 * Makes one, in a memory context of its own below the current one.  workspace:
 * only its rows, or all of them when it is NULL.
 */
extern KsReconcile *ks_reconcile_make(const uint8 *workspace, const KsReconcileObserver *observer);
extern void ks_reconcile_free(KsReconcile *reconcile);

/* Whether it still is about the log that is there: the extension may have been
 * made anew. */
extern bool ks_reconcile_is_current(const KsReconcile *reconcile);

/*
 * Reads at most so many further entries of the log, and when none is left the
 * outbox.  Returns true then: with the same snapshot, rows can be compared.
 * False also when the outbox is too long: the appender comes first.  INT_MAX:
 * all there is.
 */
extern bool ks_reconcile_follow(KsReconcile *reconcile, Snapshot snapshot, int max);

/* Begins a round over all rows. */
extern void ks_reconcile_begin_round(KsReconcile *reconcile);

/*
 * Compares some hundred further rows.  Returns true when the round is over;
 * rows that are missing are found at its end.
 */
extern bool ks_reconcile_compare(KsReconcile *reconcile, Snapshot snapshot);

/* Rows compared in this round; rows of which the log says nothing, because its
 * beginning was pruned. */
extern int64 ks_reconcile_compared(const KsReconcile *reconcile);
extern int64 ks_reconcile_uncovered(const KsReconcile *reconcile);

/* Seq of the last entry that was read. */
extern int64 ks_reconcile_position(const KsReconcile *reconcile);

/* The value of KS_RECONCILE_FOUND_KEY. */
extern char *ks_reconcile_mark(const KsDiscrepancy *discrepancy);

#endif							/* KS_RECONCILE_H */
