/*-------------------------------------------------------------------------
 *
 * ks_appender.c
 *	  The appender: the background process that alone writes a database's
 *	  audit log.
 *
 * Each round is one transaction with everything that has arrived: while it is
 * flushed, the next one collects.  What must always hold:
 *
 *	- an event is acknowledged only after its transaction is durable, and
 *	  replicated as far as the server is configured to wait for it;
 *	- a transaction that did not commit fails all events in flight; nothing is
 *	  tried again, since the caller may have been told;
 *	- between rounds the process waits for its latch only; within one for the
 *	  disk, a standby, and for no lock longer than lock_timeout.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sched.h>

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "ks_action.h"
#include "ks_append.h"
#include "ks_appender.h"
#include "ks_audit.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_session.h"

#define BATCH_MAX			512
#define OUTBOX_MAX			2048	/* rows of the outbox in one transaction */
#define OUTBOX_PAUSE_MS		50	/* between rounds that only move the outbox */
#define OUTBOX_POLL_MS		200 /* COMMIT PREPARED wakes nobody */
#define IDLE_MS				10000
#define NOT_BEGUN_MS		500
#define FAILURES_MAX		5	/* in a row */
#define FAILURE_PAUSE_MS	100
#define LINGER_YIELDS		20
#define DENIALS_MS			1000	/* between looks for closed minutes */

static int	slot;
static KsBatch batch;
static MemoryContext round_context;
static KsLogState state = KS_LOG_NONE;
static bool outbox_waiting = false; /* there may be rows */
static TimestampTz outbox_moved_at = 0;
static TimestampTz denials_at = 0;
static int	failures = 0;
static bool was_busy = false;	/* the last round had events */

static TimestampTz
in_ms(TimestampTz from, int ms)
{
	return TimestampTzPlusMilliseconds(from, ms);
}

static int
outbox_poll_ms(void)
{
	return max_prepared_xacts > 0 ? OUTBOX_POLL_MS : IDLE_MS;
}

/* Denials of minutes that are over: the exact number. */
static void
append_denials(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint8		caller[KS_ID_LEN];
	TimestampTz minute;
	int			count;

	if (!TimestampDifferenceExceeds(denials_at, now, DENIALS_MS))
		return;
	denials_at = now;
	while (ks_event_next_denials(caller, &count, &minute))
	{
		KsDetail	detail = {0};
		pg_uuid_t	id;

		memcpy(id.data, caller, KS_ID_LEN);
		ks_detail_add(&detail, "caller", DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id))));
		ks_detail_add(&detail, "count", psprintf("%d", count));
		ks_detail_add(&detail, "minute", psprintf(INT64_FORMAT, (int64) (minute + KS_UNIX_EPOCH_OFFSET) / USECS_PER_SEC));
		ks_append_own(KS_ACTION_DENIALS, &detail);
	}
}

/* An idle log says that it is alive. */
static void
append_tick(void)
{
	KsDetail	detail = {0};
	XLogRecPtr	lsn = GetXLogInsertRecPtr();

	ks_detail_add(&detail, "lsn", psprintf("%X/%X", LSN_FORMAT_ARGS(lsn)));
	ks_detail_add(&detail, "timeline", psprintf("%d", (int) GetWALInsertionTimeLine()));
	ks_append_own(KS_ACTION_LOG_TICK, &detail);
}

static bool
tick_is_due(void)
{
	return state == KS_LOG_BEGUN &&
		TimestampDifferenceExceeds(ks_append_last_at(), GetCurrentTimestamp(), ks_audit_heartbeat * 1000);
}

/* Appends the batch; returns whether somebody asked for a checkpoint. */
static bool
append_batch(void)
{
	bool		checkpoint = false;

	for (int i = 0; i < batch.n; i++)
	{
		KsEvent		event;

		if (!ks_event_unpack(batch.buf + batch.starts[i], batch.starts[i + 1] - batch.starts[i], &event))
			elog(ERROR, "an event in shared memory is damaged");
		batch.verdicts[i] = ks_append_event(&event);
		checkpoint |= (event.flags & KS_EVENT_CHECKPOINT) != 0;
	}
	return checkpoint;
}

/*
 * What is visible of the outbox goes first: whoever put an event has seen it,
 * so that the log has a change before the reveals that came after it.
 */
static void
write_round(void)
{
	bool		tick = tick_is_due();
	bool		checkpoint;

	if (outbox_waiting)
	{
		ks_event_clear_outbox_flag();
		outbox_waiting = ks_append_outbox(OUTBOX_MAX) == OUTBOX_MAX;
	}
	checkpoint = append_batch();
	append_denials();
	if (tick)
		append_tick();
	ks_append_checkpoint(checkpoint || tick);
	ks_append_close();
}

static void
finish_if_gone(void)
{
	bool		present;

	StartTransactionCommand();
	present = OidIsValid(get_extension_oid("keystone", true));
	CommitTransactionCommand();
	if (present)
		return;
	ks_event_slot_set_state(slot, KS_DATABASE_ABSENT);
	ks_event_detach("the extension is not installed in this database");
	proc_exit(1);
}

/*
 * Commits; without waiting for the disk when nobody waits for us.  If changes
 * are lost with their entries, they are in the outbox again.
 */
static void
commit_round(void)
{
	int			before = synchronous_commit;

	if (batch.n == 0 && !ks_append_must_flush())
		synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	PG_TRY();
	{
		ks_session_commit();
	}
	PG_FINALLY();
	{
		synchronous_commit = before;
	}
	PG_END_TRY();
}

static void
report_not_begun(void)
{
	KsLogStatus status = {.state = state};

	ks_event_set_log_status(&status);
}

/*
 * One transaction.  A commit that was waiting for a standby when we were told
 * to end may not be replicated: it is not acknowledged.
 */
static void
run_round(void)
{
	KsLogState	before = state;

	ks_session_begin();
	state = ks_append_open();
	if (state == KS_LOG_BEGUN)
		write_round();
	commit_round();

	if (ProcDiePending)
	{
		/* It is committed here, whatever the standby has. */
		if (state == KS_LOG_BEGUN)
			ks_append_committed();
		ks_event_fail("the appender was ended while it waited for a standby");
		return;
	}
	outbox_moved_at = GetCurrentTimestamp();
	if (state != before)
		outbox_waiting = state == KS_LOG_BEGUN;
	else if (state != KS_LOG_BEGUN)
	{
		/* Rows are looked for when it begins. */
		outbox_waiting = false;
		ks_event_clear_outbox_flag();
	}
	if (state == KS_LOG_BEGUN)
	{
		ks_append_committed();
		ks_event_done(&batch);
	}
	else
		report_not_begun();
	failures = 0;
	ks_event_worker_ok(slot, KS_APPENDER);
}

static void
recover(void)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(round_context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	ks_append_aborted();
	ks_event_fail(error->message);
	MemoryContextSwitchTo(round_context);
	MemoryContextReset(round_context);
	outbox_waiting = true;
	RESUME_INTERRUPTS();

	finish_if_gone();
	if (++failures >= FAILURES_MAX)
		proc_exit(1);
	(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) FAILURE_PAUSE_MS * failures, PG_WAIT_EXTENSION);
}

/* When there is something to do without being woken. */
static TimestampTz
next_due(TimestampTz now)
{
	TimestampTz due;
	TimestampTz checkpoint;

	if (state != KS_LOG_BEGUN)
		return in_ms(outbox_moved_at, NOT_BEGUN_MS);
	due = in_ms(outbox_moved_at, outbox_waiting ? OUTBOX_PAUSE_MS : outbox_poll_ms());
	due = Min(due, in_ms(ks_append_last_at(), ks_audit_heartbeat * 1000));
	checkpoint = ks_append_checkpoint_due();
	if (checkpoint != 0)
		due = Min(due, checkpoint);
	return Min(due, in_ms(now, IDLE_MS));
}

/*
 * Takes what is in the ring.  Whoever put an event may have committed a change
 * just before: the flag is asked for after the events.
 */
static bool
take_events(void)
{
	if (state != KS_LOG_BEGUN || ks_event_take(&batch, BATCH_MAX) == 0)
		return false;
	if (ks_event_outbox_flag())
		outbox_waiting = true;
	return true;
}

/*
 * Right after a batch the next events are likely to be on their way: giving
 * way to whoever makes them is cheaper than going to sleep and being woken.
 * True when something has arrived.
 */
static bool
linger(void)
{
	if (!was_busy)
		return false;
	was_busy = false;
	for (int i = 0; i < LINGER_YIELDS; i++)
	{
		if (ks_event_arrived())
			return true;
		(void) sched_yield();
	}
	return false;
}

static void
one_round(void)
{
	TimestampTz now;
	TimestampTz due;

	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		ks_session_force();
	}

	/*
	 * The flag stays set while the rows wait for their turn, so that the
	 * commits that follow wake nobody.
	 */
	if (!outbox_waiting && ks_event_outbox_flag())
		outbox_waiting = true;

	/* An event waits for nothing, except that the log is begun. */
	now = GetCurrentTimestamp();
	due = next_due(now);
	if (take_events() || due <= now || (state != KS_LOG_BEGUN && outbox_waiting))
	{
		if (due <= now)
			outbox_waiting = true;
		was_busy = batch.n > 0;
		run_round();
		MemoryContextReset(round_context);
		batch.n = 0;
		return;
	}
	if (linger())
		return;
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(TimestampDifferenceMilliseconds(now, due), 1), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	pgstat_report_activity(STATE_RUNNING, "writing the audit log");
}

/*
 * Entry point; main_arg is the slot.  The launcher starts it also to find out
 * whether a database has the extension.  It is never restarted by the
 * postmaster, so that its exit status says nothing.
 */
void
ks_appender_main(Datum main_arg)
{
	KsSlotStatus status;

	slot = DatumGetInt32(main_arg);
	ks_session_signals();
	BackgroundWorkerUnblockSignals();
	ks_event_slot_status(slot, &status);
	BackgroundWorkerInitializeConnectionByOid(status.database, InvalidOid, 0);
	if (!ks_event_worker_started(slot, KS_APPENDER))
		proc_exit(1);
	ks_session_force();
	finish_if_gone();
	if (!ks_event_attach(slot))
		proc_exit(1);
	ks_event_slot_set_state(slot, KS_DATABASE_PRESENT);
	ks_event_wake_launcher();

	MemoryContextSwitchTo(TopMemoryContext);
	ks_event_batch_init(&batch, BATCH_MAX);
	round_context = AllocSetContextCreate(TopMemoryContext, "keystone appender", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		MemoryContextSwitchTo(round_context);
		PG_TRY();
		{
			one_round();
		}
		PG_CATCH();
		{
			recover();
		}
		PG_END_TRY();
	}
}
