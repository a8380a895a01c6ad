/*-------------------------------------------------------------------------
 *
 * ks_event.c
 *	  The ring through which events reach the appender of a database.
 *
 * A record in the ring is a RecordHeader and the packed event, rounded up to
 * 8 bytes; it may wrap around the end.  Producers copy it in under the ring's
 * lock and set the appender's latch; the appender copies a batch out, makes it
 * durable, moves "durable" past it and wakes each waiter (ks_sleep.h).  Nobody
 * else is woken: with many sessions, waking all for each batch would cost more
 * than the batch.
 *
 * A caller's events may fill a share of the ring only, so that one cannot keep
 * the others out.  Callers are told apart by a hash: two of them may have to
 * divide a share.
 *
 * The directory of slots is in ks_slot.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ks_error.h"
#include "ks_event.h"
#include "ks_guc.h"
#include "ks_sleep.h"

#define RECORD_ALIGN	8
#define DENIAL_PROBES	16
#define DENIAL_GROWTH	4		/* each durable upper bound is so many times
								 * the last */

typedef struct RecordHeader
{
	uint32		len;			/* of the event */
	int32		proc;			/* who waits */
	int32		share;
	int32		unused;
} RecordHeader;

static KsRing *attached = NULL; /* in an appender: its ring */


/*-------------------------------------------------------------------------
 * The ring as bytes
 *-------------------------------------------------------------------------
 */

static void
copy_in(KsRing *ring, uint64 position, const void *data, size_t len)
{
	size_t		at = position % ring->size;
	size_t		first = Min(len, ring->size - at);

	memcpy(ring->bytes + at, data, first);
	memcpy(ring->bytes, (const char *) data + first, len - first);
}

static void
copy_out(const KsRing *ring, uint64 position, void *data, size_t len)
{
	size_t		at = position % ring->size;
	size_t		first = Min(len, ring->size - at);

	memcpy(data, ring->bytes + at, first);
	memcpy((char *) data + first, ring->bytes, len - first);
}

static uint64
record_size(size_t len)
{
	return TYPEALIGN64(RECORD_ALIGN, sizeof(RecordHeader) + len);
}

/* Calls for room are answered when something has become durable or failed. */
static void
wake_producers(KsRing *ring)
{
	ConditionVariableBroadcast(&ring->room);
}

static void
wake_proc(int proc)
{
	SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}


/*-------------------------------------------------------------------------
 * The caller's side
 *-------------------------------------------------------------------------
 */

/* Why an event cannot be put now. */
typedef enum Refusal
{
	REFUSED_NOT,
	REFUSED_NO_APPENDER,
	REFUSED_NOT_BEGUN,
	REFUSED_FOREIGN,
	REFUSED_FULL,
	REFUSED_SHARE
} Refusal;

static Refusal
try_put(KsRing *ring, const uint8 *data, size_t len, int share, KsTicket *ticket)
{
	RecordHeader header = {.len = (uint32) len, .proc = KS_MY_PROC_NUMBER, .share = share};
	uint64		size = record_size(len);
	Refusal		refusal = REFUSED_NOT;
	int			appender;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	appender = ring->appender;
	if (appender < 0)
		refusal = REFUSED_NO_APPENDER;
	else if (ring->log.state == KS_LOG_FOREIGN)
		refusal = REFUSED_FOREIGN;
	else if (ring->log.state != KS_LOG_BEGUN)
		refusal = REFUSED_NOT_BEGUN;
	else if (ring->shares[share] + size > ring->size / KS_RING_SHARE)
		refusal = REFUSED_SHARE;
	else if (ring->head + size - pg_atomic_read_u64(&ring->durable) > ring->size)
		refusal = REFUSED_FULL;
	else
	{
		copy_in(ring, ring->head, &header, sizeof(header));
		copy_in(ring, ring->head + sizeof(header), data, len);
		ring->head += size;
		ring->shares[share] += size;
		ticket->position = ring->head;
		ticket->generation = pg_atomic_read_u64(&ring->generation);
	}
	LWLockRelease(ring->lock);

	if (refusal == REFUSED_NOT)
		wake_proc(appender);
	return refusal;
}

KS_NORETURN static void raise_refusal(Refusal refusal) KS_NORETURN_END;

static void
raise_refusal(Refusal refusal)
{
	switch (refusal)
	{
		case REFUSED_FOREIGN:
			ks_error_sealed("the database is a copy whose restore was not accepted");
		case REFUSED_NO_APPENDER:
			ks_error_no_log("The process that writes the log does not run.",
							"keystone.health says why.");
		case REFUSED_NOT_BEGUN:
			ks_error_no_log("The log is not begun.", "keystone.health says why.");
		case REFUSED_SHARE:
			ks_error_no_log("Too many events of this caller are waiting.", NULL);
		default:
			ks_error_no_log("Too many events are waiting.", NULL);
	}
}

/* Milliseconds until a moment, at least 1 while it is ahead, 0 afterwards. */
static long
milliseconds_until(TimestampTz moment)
{
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), moment);
}

/*
 * This database's ring.  Without one the launcher is asked for it, and we
 * wait.
 */
static KsRing *
find_ring(TimestampTz deadline)
{
	KsRing	   *ring;

	while ((ring = ks_slot_my_ring()) == NULL)
	{
		long		left = milliseconds_until(deadline);

		ks_event_request();
		ring = ks_slot_my_ring();
		if (ring != NULL)
			break;
		if (left <= 0)
			ks_error_no_log("There is no room for another database with Keystone.",
							"Raise keystone.max_databases.");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, 100), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return ring;
}

/* Whose share of the ring an event takes. */
static int
share_of(const KsEvent *event)
{
	static const uint8 nobody[KS_ID_LEN] = {0};

	if (memcmp(event->principal, nobody, KS_ID_LEN) != 0)
		return hash_bytes(event->principal, KS_ID_LEN) % KS_RING_SHARES;
	return hash_bytes((const unsigned char *) event->actor, (int) strlen(event->actor)) % KS_RING_SHARES;
}

void
ks_event_put(const KsEvent *event, KsTicket *ticket)
{
	uint8		packed[KS_EVENT_PACKED_MAX];
	size_t		len = ks_event_pack(event, packed, sizeof(packed));
	int			share = share_of(event);
	Refusal		refusal;
	KsRing	   *ring;

	if (len == 0)
		elog(ERROR, "an event is too long");
	ticket->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ks_audit_timeout);
	ring = find_ring(ticket->deadline);
	ks_sleep_forget();

	refusal = try_put(ring, packed, len, share, ticket);
	if (refusal == REFUSED_NOT)
		return;

	if (refusal == REFUSED_NO_APPENDER)
		ks_event_request();
	ConditionVariablePrepareToSleep(&ring->room);
	while ((refusal = try_put(ring, packed, len, share, ticket)) != REFUSED_NOT)
	{
		long		left = milliseconds_until(ticket->deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&ring->room, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	if (refusal != REFUSED_NOT)
		raise_refusal(refusal);
}

bool
ks_event_try_put(const KsEvent *event)
{
	uint8		packed[KS_EVENT_PACKED_MAX];
	size_t		len = ks_event_pack(event, packed, sizeof(packed));
	KsRing	   *ring = ks_slot_my_ring();
	KsTicket	ticket;

	return len > 0 && ring != NULL && try_put(ring, packed, len, share_of(event), &ticket) == REFUSED_NOT;
}

/*
 * Whether a ticket's event is durable.  Raises PT424 when it failed.  durable
 * is read before the generation: as long as that has not changed, no later
 * generation can have moved durable past an event that failed.
 */
static bool
is_durable(KsRing *ring, const KsTicket *ticket)
{
	uint64		durable = pg_atomic_read_u64(&ring->durable);
	uint64		generation;
	bool		failed;

	pg_read_barrier();
	generation = pg_atomic_read_u64(&ring->generation);
	if (generation == ticket->generation)
		return durable >= ticket->position;

	LWLockAcquire(ring->lock, LW_SHARED);
	generation = pg_atomic_read_u64(&ring->generation);
	failed = generation != ticket->generation + 1 || ticket->position > ring->failed_from;
	LWLockRelease(ring->lock);
	if (failed)
		ks_error_no_log("The entry could not be written.", "The server log says why. Nothing was revealed.");
	return true;
}

KsVerdict
ks_event_wait(const KsTicket *ticket)
{
	KsRing	   *ring = ks_slot_my_ring();

	if (ring == NULL)
		ks_error_no_log("The database's place in shared memory is gone.", NULL);
	while (!is_durable(ring, ticket))
	{
		long		left = milliseconds_until(ticket->deadline);

		if (left <= 0)
			ks_error_no_log("The entry was not written in time.", "keystone.health shows what the log is doing.");
		ks_sleep(left);
		CHECK_FOR_INTERRUPTS();
	}
	return ks_slot_take_lost_claim(ticket->position) ? KS_VERDICT_LOST : KS_VERDICT_DONE;
}

/*
 * Event ids are unique, not secret: a random start for each session, then a
 * counter.
 */
void
ks_event_context(KsEntryContext *context)
{
	static uint8 prefix[KS_ID_LEN / 2];
	static int	prefix_of = 0;	/* the process that drew it */
	static uint64 count = 0;
	FullTransactionId xid = GetTopFullTransactionIdIfAny();
	uint64		number;

	if (prefix_of != MyProcPid)
	{
		if (ks_random(prefix, sizeof(prefix)) != KS_CRYPTO_OK)
			ks_error_crypto("draw random bytes");
		prefix_of = MyProcPid;
	}
	number = ++count;
	context->event_time = GetCurrentTimestamp() + KS_UNIX_EPOCH_OFFSET;
	context->xid = U64FromFullTransactionId(xid);
	context->pid = (uint32) MyProcPid;
	context->session_start = MyStartTimestamp + KS_UNIX_EPOCH_OFFSET;
	memcpy(context->event_id, prefix, sizeof(prefix));
	memcpy(context->event_id + sizeof(prefix), &number, sizeof(number));
}

bool
ks_event_log_begun(void)
{
	KsRing	   *ring = ks_slot_my_ring();

	return ring != NULL && pg_atomic_read_u32(&ring->begun) == KS_LOG_BEGUN;
}

void
ks_event_outbox_written(void)
{
	KsRing	   *ring = ks_slot_my_ring();
	int			appender;

	if (ring == NULL)
	{
		ks_event_request();
		return;
	}

	/* One wake-up is enough for all that commit before it is answered. */
	if (pg_atomic_exchange_u32(&ring->outbox_written, 1) == 1)
		return;
	appender = ring->appender;
	if (appender >= 0)
		wake_proc(appender);
}


/*-------------------------------------------------------------------------
 * Denials
 *-------------------------------------------------------------------------
 */

static int64
minute_now(void)
{
	return GetCurrentTimestamp() / USECS_PER_MINUTE;
}

/* What was counted in a minute that is over waits to be written. */
static void
close_minute(KsDenial *denial, int64 minute)
{
	if (denial->minute == minute)
		return;
	if (denial->count > ks_denials_per_minute)
	{
		denial->past_count += denial->count;
		denial->past_minute = denial->minute;
	}
	denial->minute = minute;
	denial->count = 0;
	denial->covered = 0;
}

/*
 * The counter of a caller.  When all that it could have are taken in this
 * minute, the last one counts for several callers.
 */
static KsDenial *
find_denial(KsRing *ring, const uint8 *caller, int64 minute)
{
	uint32		hash = hash_bytes(caller, KS_ID_LEN);
	KsDenial   *free_one = NULL;

	for (int i = 0; i < DENIAL_PROBES; i++)
	{
		KsDenial   *denial = &ring->denials[(hash + i) % (KS_RING_DENIALS - 1)];

		if (memcmp(denial->caller, caller, KS_ID_LEN) == 0)
			return denial;
		if (free_one == NULL && denial->past_count == 0 &&
			(denial->minute < minute - 1 ||
			 (denial->minute < minute && denial->count <= ks_denials_per_minute)))
			free_one = denial;
	}
	if (free_one == NULL)
		return &ring->denials[KS_RING_DENIALS - 1];
	memset(free_one, 0, sizeof(*free_one));
	memcpy(free_one->caller, caller, KS_ID_LEN);
	return free_one;
}

int
ks_event_count_denial(const uint8 caller[KS_ID_LEN])
{
	KsRing	   *ring = ks_slot_my_ring();
	int64		minute = minute_now();
	KsDenial   *denial;
	int			result = 0;

	if (ring == NULL)
		return 0;
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	denial = find_denial(ring, caller, minute);
	close_minute(denial, minute);
	if (denial->count < PG_INT32_MAX / DENIAL_GROWTH)
		denial->count++;
	if (denial->count > ks_denials_per_minute)
	{
		int			over = 1;

		while (over < denial->count - ks_denials_per_minute)
			over *= DENIAL_GROWTH;
		result = denial->count <= denial->covered ? -1 : ks_denials_per_minute + over;
	}
	LWLockRelease(ring->lock);
	return result;
}

void
ks_event_denials_covered(const uint8 caller[KS_ID_LEN], int up_to)
{
	KsRing	   *ring = ks_slot_my_ring();
	KsDenial   *denial;

	if (ring == NULL)
		return;
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	denial = find_denial(ring, caller, minute_now());
	if (denial->minute == minute_now())
		denial->covered = Max(denial->covered, up_to);
	LWLockRelease(ring->lock);
}

bool
ks_event_next_denials(uint8 caller[KS_ID_LEN], int *count, TimestampTz *minute)
{
	int64		now = minute_now();
	bool		found = false;

	Assert(attached != NULL);
	LWLockAcquire(attached->lock, LW_EXCLUSIVE);
	for (int i = 0; i < KS_RING_DENIALS && !found; i++)
	{
		KsDenial   *denial = &attached->denials[i];

		if (denial->minute != 0 && denial->minute < now)
			close_minute(denial, now);
		if (denial->past_count == 0)
			continue;
		memcpy(caller, denial->caller, KS_ID_LEN);
		*count = denial->past_count;
		*minute = denial->past_minute * USECS_PER_MINUTE;
		denial->past_count = 0;
		found = true;
	}
	LWLockRelease(attached->lock);
	return found;
}


/*-------------------------------------------------------------------------
 * The appender's side
 *-------------------------------------------------------------------------
 */

/*
 * All that is in flight fails.  Under the lock; returns who waits, for
 * wake_failed() after it is released.
 */
static int
fail_in_flight(KsRing *ring, int *procs, int max)
{
	uint64		at = pg_atomic_read_u64(&ring->durable);
	int			n = 0;

	ring->failed_from = at;
	while (at < ring->head)
	{
		RecordHeader header;

		copy_out(ring, at, &header, sizeof(header));
		if (n < max)
			procs[n++] = header.proc;
		at += record_size(header.len);
	}
	memset(ring->shares, 0, sizeof(ring->shares));
	ring->taken = ring->head;
	pg_atomic_fetch_add_u64(&ring->generation, 1);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->durable, ring->head);
	return n;
}

/* Sets the latches of those who waited; whoever is missed looks again at its
 * deadline at the latest. */
static void
wake_failed(KsRing *ring, const int *procs, int n)
{
	for (int i = 0; i < n; i++)
		ks_sleep_wake(procs[i]);
	wake_producers(ring);
}

#define WAKE_MAX	4096

static void
detach_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	ks_event_detach(NULL);
}

bool
ks_event_attach(int slot)
{
	KsRing	   *ring = ks_slot_ring(slot);
	bool		free_place;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	free_place = ring->appender < 0;
	if (free_place)
	{
		ring->appender = KS_MY_PROC_NUMBER;
		ring->log.state = KS_LOG_NONE;
	}
	LWLockRelease(ring->lock);
	if (!free_place)
		return false;
	attached = ring;
	before_shmem_exit(detach_at_exit, (Datum) 0);
	return true;
}

void
ks_event_detach(const char *problem)
{
	static int	procs[WAKE_MAX];
	KsRing	   *ring = attached;
	int			n;

	if (ring == NULL)
		return;
	attached = NULL;
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	ring->appender = -1;
	if (problem != NULL)
		strlcpy(ring->problem, problem, sizeof(ring->problem));
	n = fail_in_flight(ring, procs, WAKE_MAX);
	LWLockRelease(ring->lock);
	wake_failed(ring, procs, n);
}

void
ks_event_batch_init(KsBatch *batch, int max)
{
	batch->n = 0;
	batch->size = Max((size_t) max * 512, 4 * KS_EVENT_PACKED_MAX);
	batch->buf = palloc(batch->size);
	batch->starts = palloc((max + 1) * sizeof(uint32));
	batch->procs = palloc(max * sizeof(int));
	batch->ends = palloc(max * sizeof(uint64));
	batch->shares = palloc(max * sizeof(int));
	batch->verdicts = palloc(max * sizeof(KsVerdict));
}

int
ks_event_take(KsBatch *batch, int max)
{
	KsRing	   *ring = attached;
	size_t		used = 0;

	batch->n = 0;
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	while (batch->n < max && ring->taken < ring->head)
	{
		RecordHeader header;
		int			i = batch->n;

		copy_out(ring, ring->taken, &header, sizeof(header));
		if (used + header.len > batch->size)
			break;
		copy_out(ring, ring->taken + sizeof(header), batch->buf + used, header.len);
		batch->starts[i] = (uint32) used;
		used += header.len;
		ring->taken += record_size(header.len);
		batch->procs[i] = header.proc;
		batch->shares[i] = header.share;
		batch->ends[i] = ring->taken;
		batch->verdicts[i] = KS_VERDICT_DONE;
		batch->n++;
	}
	LWLockRelease(ring->lock);
	batch->starts[batch->n] = (uint32) used;
	return batch->n;
}

void
ks_event_done(const KsBatch *batch)
{
	KsRing	   *ring = attached;
	uint64		begin;

	if (batch->n == 0)
		return;
	for (int i = 0; i < batch->n; i++)
	{
		if (batch->verdicts[i] == KS_VERDICT_LOST)
			ks_slot_set_lost_claim(ring, batch->procs[i], batch->ends[i]);
	}
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	begin = pg_atomic_read_u64(&ring->durable);
	for (int i = 0; i < batch->n; i++)
	{
		ring->shares[batch->shares[i]] -= batch->ends[i] - begin;
		begin = batch->ends[i];
	}
	pg_atomic_write_u64(&ring->durable, begin);
	LWLockRelease(ring->lock);

	for (int i = 0; i < batch->n; i++)
		ks_sleep_wake(batch->procs[i]);
	wake_producers(ring);
}

void
ks_event_fail(const char *problem)
{
	static int	procs[WAKE_MAX];
	KsRing	   *ring = attached;
	int			n;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	strlcpy(ring->problem, problem, sizeof(ring->problem));
	ring->log.failures++;
	n = fail_in_flight(ring, procs, WAKE_MAX);
	LWLockRelease(ring->lock);
	wake_failed(ring, procs, n);
}

/* Without the lock: what is missed now is seen at the next look. */
bool
ks_event_arrived(void)
{
	return *(volatile uint64 *) &attached->head != attached->taken;
}

bool
ks_event_outbox_flag(void)
{
	return pg_atomic_read_u32(&attached->outbox_written) == 1;
}

void
ks_event_clear_outbox_flag(void)
{
	(void) pg_atomic_exchange_u32(&attached->outbox_written, 0);
}

void
ks_event_set_log_status(const KsLogStatus *status)
{
	uint64		failures;
	bool		begun;

	LWLockAcquire(attached->lock, LW_EXCLUSIVE);
	failures = attached->log.failures;
	begun = attached->log.state != status->state;
	attached->log = *status;
	attached->log.failures = failures;
	attached->problem[0] = '\0';
	LWLockRelease(attached->lock);
	pg_atomic_write_u32(&attached->begun, status->state);
	if (begun)
		wake_producers(attached);
}
