/*-------------------------------------------------------------------------
 *
 * ks_append.h
 *	  Writing the audit log.  For the appender alone: one process for each
 *	  database, which holds what it needs of the log in memory.
 *
 * A batch is one transaction: ks_append_open(), then events, outbox and
 * checkpoint, then ks_append_close(); after the commit ks_append_committed(),
 * after an abort ks_append_aborted().
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_APPEND_H
#define KS_APPEND_H

#include "ks_event.h"

/*
 * Reads the log's end at the first call, and after an abort; begins the log,
 * or another epoch, when it is time.  Only with KS_LOG_BEGUN may the others be
 * called.
 */
extern KsLogState ks_append_open(void);

extern KsVerdict ks_append_event(const KsEvent *event);

/* Moves at most max rows of the outbox, in the order of their ids.  Returns
 * how many. */
extern int	ks_append_outbox(int max);

/* An entry of the log's own. */
extern void ks_append_own(uint16 kind, KsDetail *detail);

/* Signs, if there is a key, and something new, and it is time, or force. */
extern void ks_append_checkpoint(bool force);

extern void ks_append_close(void);
extern void ks_append_committed(void);
extern void ks_append_aborted(void);

/* Whether the transaction must be flushed before anybody can see it: it has a
 * checkpoint, which may leave the machine, or a key. */
extern bool ks_append_must_flush(void);

/* When ks_append_checkpoint() has something to do next; 0 when nothing. */
extern TimestampTz ks_append_checkpoint_due(void);

/* When the last entry was written. */
extern TimestampTz ks_append_last_at(void);

#endif							/* KS_APPEND_H */
