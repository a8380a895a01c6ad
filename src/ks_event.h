/*-------------------------------------------------------------------------
 *
 * ks_event.h
 *	  The lane to the appender: a ring in shared memory through which events
 *	  reach it.
 *
 * A caller puts an event, gets a ticket, and waits until the appender has
 * committed and flushed the entry that was made of it.  A waiter holds
 * nothing but its ticket, a position in the ring: whether it is cancelled or
 * dies, nothing has to be cleaned up, and the entry stays.
 *
 * Positions count bytes and only grow.  What lies between durable and head is
 * in flight.  When a batch fails, or the appender ends, all that is in flight
 * fails: the generation goes up, its waiters get PT424, nothing is replayed.
 *
 * A slot's own lock protects its ring; durable and generation are atomic and
 * may be read without.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_EVENT_H
#define KS_EVENT_H

#include "ks_entry.h"
#include "ks_slot.h"

/*-------------------------------------------------------------------------
 * The caller's side
 *-------------------------------------------------------------------------
 */

typedef enum KsVerdict
{
	KS_VERDICT_DONE = 1,		/* the entry is durable */
	KS_VERDICT_LOST				/* somebody else has claimed it before; the
								 * refusal is durable */
} KsVerdict;

typedef struct KsTicket
{
	uint64		position;		/* end of the event in the ring */
	uint64		generation;
	TimestampTz deadline;
} KsTicket;

/*
 * Puts an event into this database's ring, waiting for room, interruptibly,
 * until keystone.audit_timeout is over.  PT424 when there is no appender, or
 * no room in time; PT423 when the database is a copy that was not accepted.
 * KS_ENTRY_MAX: an event that is longer is a bug.
 */
extern void ks_event_put(const KsEvent *event, KsTicket *ticket);

/* As ks_event_put() for what need not be waited for: false when it cannot be
 * put at once. */
extern bool ks_event_try_put(const KsEvent *event);

/* Waits for a ticket, interruptibly.  PT424 past the deadline or when the
 * appender failed.  Afterwards everything put before it is durable, too. */
extern KsVerdict ks_event_wait(const KsTicket *ticket);

/* Fills pid, session start, event id, event time and xid. */
extern void ks_event_context(KsEntryContext *context);

/* Whether the appender of this database has said that the log is begun: then
 * triggers write to the outbox without looking for themselves. */
extern bool ks_event_log_begun(void);

/* Tells the appender that the outbox has rows; called after commit. */
extern void ks_event_outbox_written(void);

/*
 * Counts a denial of a caller (16 bytes: principal, or digest of a role's
 * name) in this minute.  up_to is 0 when it is to be recorded as an entry of
 * its own; -1 when a durable count covers it already; otherwise an entry
 * "denials up to so many" must be made durable, then ks_event_denials_covered()
 * called.
 */
extern int	ks_event_count_denial(const uint8 caller[KS_ID_LEN]);
extern void ks_event_denials_covered(const uint8 caller[KS_ID_LEN], int up_to);


/*-------------------------------------------------------------------------
 * The appender's side
 *-------------------------------------------------------------------------
 */

/* Puts this process at the end of a slot's ring.  False when somebody else is
 * there, or the slot is held: then exit. */
extern bool ks_event_attach(int slot);

/* Leaves it; what is in flight fails with this reason.  Idempotent; also runs
 * when the process exits. */
extern void ks_event_detach(const char *problem);

/*
 * Takes the next events that are in the ring, in order, at most max, packed,
 * copied to buf of size bytes.  Returns how many; starts[i] is where event i
 * begins in buf, and its length is starts[i + 1] - starts[i].
 */
typedef struct KsBatch
{
	int			n;
	uint8	   *buf;
	size_t		size;
	uint32	   *starts;			/* max + 1 */
	int		   *procs;			/* who waits for each */
	uint64	   *ends;			/* position at the end of each */
	int		   *shares;			/* whose share of the ring each takes */
	KsVerdict  *verdicts;		/* to be filled; KS_VERDICT_DONE at first */
} KsBatch;

/* Memory for a batch in the current context. */
extern void ks_event_batch_init(KsBatch *batch, int max);
extern int	ks_event_take(KsBatch *batch, int max);

/* The batch is durable: wakes its waiters. */
extern void ks_event_done(const KsBatch *batch);

/* It is not and never will be: fails all that is in flight. */
extern void ks_event_fail(const char *problem);

/* Whether something is in the ring. */
extern bool ks_event_arrived(void);

/* Whether the outbox was written since the flag was cleared, which is to be
 * done before the outbox is read. */
extern bool ks_event_outbox_flag(void);
extern void ks_event_clear_outbox_flag(void);

extern void ks_event_set_log_status(const KsLogStatus *status);

/* The next caller whose denials of a past minute went uncounted: its exact
 * number.  False when there is none. */
extern bool ks_event_next_denials(uint8 caller[KS_ID_LEN], int *count, TimestampTz *minute);


#endif							/* KS_EVENT_H */
