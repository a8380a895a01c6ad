/*-------------------------------------------------------------------------
 *
 * ks_supervise.c
 *	  The launcher's supervision of databases, their workers and the runner.
 *
 * The launcher cannot see which databases have the extension.  It gives one
 * after the other a slot in which the state is not known and starts an
 * appender there, which finds out and says so.  A database without the
 * extension loses its slot again, and is left alone until one of its sessions
 * asks.  One with it keeps an appender and a housekeeper running.
 *
 * What must always hold:
 *
 *	- nothing here blocks.  In particular no database is connected to: its row
 *	  may be locked for as long as a CREATE DATABASE takes;
 *	- nothing happens during recovery;
 *	- no worker is started in a database that was not in pg_database just
 *	  before, nor in one that is held (ks_event_worker_starting() sees to it);
 *	- no worker is asked for as long as the postmaster has not reaped the last
 *	  one of its kind, which still takes one of max_worker_processes.
 *
 * What is known is in the slots, which outlive the launcher.  A launcher that
 * follows another has no handles for workers that it did not start: it takes
 * their word, and gives those that do not report ADOPT_PATIENCE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ks_event.h"
#include "ks_guc.h"
#include "ks_supervise.h"

/* All in milliseconds. */
#define SCAN_INTERVAL		60000	/* between two looks at pg_database */
#define SCAN_INTERVAL_MIN	200 /* the same, when woken again and again */
#define RECOVERY_INTERVAL	1000	/* between two looks whether it is over */
#define PROBE_INTERVAL		50	/* an appender does not wake us by what it
								 * says */
#define PROBE_PATIENCE		5000	/* after that the next database is probed */
#define PROBE_AGAIN			60000	/* after a database could not be connected
									 * to */
#define ADOPT_PATIENCE		10000
#define BACKOFF_MIN			100
#define BACKOFF_MAX			5000
#define RUNNER_INTERVAL		1000	/* between two starts of the runner */
#define REGISTER_AGAIN		5000	/* when there were too few processes */
#define FAILURE_PAUSE		1000

/* So many ends of an appender without a word: no connection is possible. */
#define PROBE_FAILURES		5

/* What we keep of a worker besides its status in the slot. */
typedef struct Started
{
	BackgroundWorkerHandle *handle; /* NULL: not started by us, or reaped */
	TimestampTz at;				/* when it was started */
	TimestampTz give_up_at;		/* 0, or when one without a handle that is
								 * starting is not waited for any more */
} Started;

/* A database that was found not to have the extension. */
typedef struct Probed
{
	Oid			database;
	TimestampTz until;			/* when to look again, DT_NOEND: when asked */
} Probed;

static const char *const worker_names[KS_WORKER_KINDS] = {
	[KS_APPENDER] = "keystone appender",
	[KS_HOUSEKEEPER] = "keystone housekeeper",
};

static const char *const worker_functions[KS_WORKER_KINDS] = {
	[KS_APPENDER] = "ks_appender_main",
	[KS_HOUSEKEEPER] = "ks_housekeeper_main",
};

static MemoryContext supervise_context = NULL;	/* lives as long as we do */
static MemoryContext scan_context = NULL;	/* what the last scan found */
static Started (*workers)[KS_WORKER_KINDS] = NULL;	/* one for each slot */
static Started runner = {0};
static List *probed = NIL;		/* Probed *, in supervise_context */

static List *databases = NIL;	/* oids of what can have workers */
static TimestampTz scanned_at = DT_NOBEGIN;
static bool scan_wanted = true;

static TimestampTz paused_until = DT_NOBEGIN;	/* after an error */
static TimestampTz register_at = DT_NOBEGIN;	/* not before, after a failure */
static bool too_few_workers = false;
static bool registered = false; /* the last attempt to start one succeeded */
static int	probe_slot = -1;	/* the database that is being probed */
static TimestampTz probe_until; /* when it is not waited for any more */

/* Of the round that is going on. */
static TimestampTz round_at;
static TimestampTz next_at;		/* the next one is due then */
static bool all_running;		/* what is to run does, or is being started */
static bool all_present;		/* no slot is free, or will be */


/*-------------------------------------------------------------------------
 * Time
 *-------------------------------------------------------------------------
 */

static TimestampTz
after(TimestampTz moment, int ms)
{
	return TIMESTAMP_NOT_FINITE(moment) ? moment : TimestampTzPlusMilliseconds(moment, ms);
}

/*
 * Whether the moment has come; if not, the next round is not later than that.
 */
static bool
is_due(TimestampTz moment)
{
	if (moment <= round_at)
		return true;
	next_at = Min(next_at, moment);
	return false;
}

/*
 * When a worker that ended may be started again: at once the first time.
 */
static TimestampTz
restart_at(const KsWorkerStatus *worker)
{
	int			doublings = Min(worker->failures - 2, 16);

	if (doublings < 0)
		return DT_NOBEGIN;
	return after(worker->ended_at, Min(BACKOFF_MIN << doublings, BACKOFF_MAX));
}


/*-------------------------------------------------------------------------
 * pg_database
 *-------------------------------------------------------------------------
 */

/*
 * Reads which databases can have workers.  A transaction of its own.
 */
static void
scan_databases(void)
{
	MemoryContext before = CurrentMemoryContext;
	Relation	catalog;
	TableScanDesc scan;
	HeapTuple	tuple;

	scan_wanted = false;
	scanned_at = round_at;
	databases = NIL;
	MemoryContextReset(scan_context);

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		/* a drop that was interrupted leaves a limit of -2 */
		if (!database->datallowconn || database->datistemplate || database->datconnlimit < -1)
			continue;
		MemoryContextSwitchTo(scan_context);
		databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(before);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(before);
}

/*
 * Whether a database can have workers, as of this round.
 */
static bool
can_have_workers(Oid database)
{
	if (scanned_at < round_at)
		scan_databases();
	return list_member_oid(databases, database);
}


/*-------------------------------------------------------------------------
 * What was found out about databases without a slot
 *-------------------------------------------------------------------------
 */

static Probed *
find_probed(Oid database)
{
	ListCell   *cell;

	foreach(cell, probed)
	{
		Probed	   *p = lfirst(cell);

		if (p->database == database)
			return p;
	}
	return NULL;
}

static void
remember_probed(Oid database, TimestampTz until)
{
	Probed	   *p = find_probed(database);
	MemoryContext before = MemoryContextSwitchTo(supervise_context);

	if (p == NULL)
	{
		p = palloc0(sizeof(Probed));
		p->database = database;
		probed = lappend(probed, p);
	}
	p->until = until;
	MemoryContextSwitchTo(before);
}

/*
 * The oid of a database that is gone may come back.
 */
static void
forget_dropped(void)
{
	ListCell   *cell;

	foreach(cell, probed)
	{
		Probed	   *p = lfirst(cell);

		if (!list_member_oid(databases, p->database))
		{
			probed = foreach_delete_current(probed, cell);
			pfree(p);
		}
	}
}


/*-------------------------------------------------------------------------
 * Processes
 *-------------------------------------------------------------------------
 */

/*
 * Whether a process that we started is there, or will be.  Forgets its handle
 * once it is reaped.
 */
static bool
is_alive(Started *started)
{
	pid_t		pid;

	if (started->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(started->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(started->handle);
	started->handle = NULL;
	return false;
}

/*
 * Asks the postmaster for a process.  False when max_worker_processes does not
 * allow it.
 */
static bool
start_process(Started *started, const char *name, const char *function, int flags, Datum arg)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | flags,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "keystone",
		.bgw_main_arg = arg,
		.bgw_notify_pid = MyProcPid,
	};
	MemoryContext before;
	bool		ok;

	if (!is_due(register_at))
	{
		all_running = false;
		return false;
	}

	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	before = MemoryContextSwitchTo(supervise_context);
	ok = RegisterDynamicBackgroundWorker(&worker, &started->handle);
	MemoryContextSwitchTo(before);

	registered = ok;
	if (ok)
	{
		started->at = round_at;
		started->give_up_at = DT_NOBEGIN;
		return true;
	}
	all_running = false;
	started->handle = NULL;
	if (!too_few_workers)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("keystone: no background process is free for \"%s\"", name),
				 errhint("Raise max_worker_processes.")));
	too_few_workers = true;
	register_at = after(round_at, REGISTER_AGAIN);
	(void) is_due(register_at);
	return false;
}

/*
 * What the slot says of a worker that is starting may be out of date: when it
 * ended before it said anything.
 */
static void
watch_start(int slot, KsWorkerKind kind, bool held)
{
	Started    *started = &workers[slot][kind];

	if (is_alive(started))
	{
		/* it may wait for a lock that whoever holds the database has */
		if (held)
			TerminateBackgroundWorker(started->handle);
		return;
	}
	if (started->give_up_at == 0)
		started->give_up_at = after(round_at, ADOPT_PATIENCE);
	if (is_due(started->give_up_at))
	{
		started->give_up_at = 0;
		ks_event_worker_not_started(slot, kind);
		next_at = round_at;
	}
}

/*
 * Keeps a worker running.
 */
static void
keep_worker(int slot, KsWorkerKind kind, const KsSlotStatus *status)
{
	const KsWorkerStatus *worker = &status->workers[kind];
	Started    *started = &workers[slot][kind];

	if (worker->pid != 0)
		return;
	if (worker->starting)
	{
		watch_start(slot, kind, status->held_by != 0);
		return;
	}
	if (is_alive(started) || !is_due(restart_at(worker)))
	{
		all_running = false;
		return;
	}
	if (can_have_workers(status->database) && ks_event_worker_starting(slot, kind) &&
		!start_process(started, worker_names[kind], worker_functions[kind],
					   BGWORKER_BACKEND_DATABASE_CONNECTION, Int32GetDatum(slot)))
		ks_event_worker_not_started(slot, kind);
}

static void
end_worker(int slot, KsWorkerKind kind, const KsSlotStatus *status)
{
	if (status->workers[kind].pid != 0)
		kill(status->workers[kind].pid, SIGTERM);
	else if (status->workers[kind].starting)
		watch_start(slot, kind, true);
}

/*
 * The cluster's one runner.
 */
static void
keep_runner(void)
{
	KsAnchorStatus unused;
	pid_t		pid;

	if (is_alive(&runner) || (ks_audit_anchor_command[0] == '\0' && ks_kms_command[0] == '\0'))
		return;
	ks_event_anchor_status(InvalidOid, &unused, &pid);
	if (pid != 0)
		(void) is_due(after(round_at, ADOPT_PATIENCE));
	else if (runner.at != 0 && !is_due(after(runner.at, RUNNER_INTERVAL)))
		all_running = false;
	else
		(void) start_process(&runner, "keystone runner", "ks_runner_main", 0, (Datum) 0);
}


/*-------------------------------------------------------------------------
 * Slots
 *-------------------------------------------------------------------------
 */

static void
free_slot(int slot)
{
	ks_event_slot_free(slot);
	if (probe_slot == slot)
		probe_slot = -1;
}

/*
 * Nothing is known of the database: its appender is to find out.
 */
static void
probe(int slot, const KsSlotStatus *status)
{
	const KsWorkerStatus *appender = &status->workers[KS_APPENDER];

	if (appender->pid == 0 && !appender->starting)
	{
		if (appender->failures >= PROBE_FAILURES)
		{
			remember_probed(status->database, after(round_at, PROBE_AGAIN));
			free_slot(slot);
			return;
		}
		if (probe_slot >= 0 && probe_slot != slot && !is_due(probe_until))
			return;
		if (probe_slot != slot)
			probe_until = after(round_at, PROBE_PATIENCE);
		probe_slot = slot;
	}
	keep_worker(slot, KS_APPENDER, status);
	(void) is_due(after(round_at, PROBE_INTERVAL));
}

static void
supervise_slot(int slot)
{
	KsSlotStatus status;

	ks_event_slot_status(slot, &status);
	if (slot == probe_slot &&
		(!OidIsValid(status.database) || status.held_by != 0 || status.state != KS_DATABASE_UNKNOWN))
		probe_slot = -1;
	if (!OidIsValid(status.database) || status.state != KS_DATABASE_PRESENT)
		all_present = false;
	if (!OidIsValid(status.database))
		return;

	if (!list_member_oid(databases, status.database) && !can_have_workers(status.database))
	{
		/* dropped, or made a template */
		for (int kind = 0; kind < KS_WORKER_KINDS; kind++)
			end_worker(slot, kind, &status);
		free_slot(slot);
		return;
	}
	switch (status.state)
	{
		case KS_DATABASE_UNKNOWN:
			probe(slot, &status);
			break;
		case KS_DATABASE_ABSENT:
			/* the appender that said so is about to end */
			end_worker(slot, KS_HOUSEKEEPER, &status);
			remember_probed(status.database, DT_NOEND);
			free_slot(slot);
			break;
		case KS_DATABASE_PRESENT:
			for (int kind = 0; kind < KS_WORKER_KINDS; kind++)
				keep_worker(slot, kind, &status);
			break;
	}
}

/*
 * Gives a slot to the next database of which nothing is known, unless one is
 * being probed.  Returns whether there is one, and no slot for it.
 */
static bool
claim_slot(void)
{
	ListCell   *cell;

	if (probe_slot >= 0)
		return false;
	foreach(cell, databases)
	{
		Probed	   *p = find_probed(lfirst_oid(cell));

		if (ks_event_slot_of(lfirst_oid(cell), false) >= 0 || (p != NULL && !is_due(p->until)))
			continue;
		if (ks_event_slot_of(lfirst_oid(cell), true) < 0)
			return true;
		next_at = round_at;
		return false;
	}
	return false;
}

/*
 * Says what health() is to show.  A session may have said before us that there
 * was no slot for it; that is so as long as none is free.
 */
static void
report(bool no_slot)
{
	pid_t		pid;
	bool		workers_before;
	bool		slots_before;

	if (all_running && registered)
		too_few_workers = false;
	ks_event_launcher_status(&pid, &workers_before, &slots_before);
	ks_event_launcher_report(too_few_workers, all_present && (no_slot || slots_before));
}


/*-------------------------------------------------------------------------
 * Rounds
 *-------------------------------------------------------------------------
 */

TimestampTz
ks_supervise(bool woken)
{
	bool		no_slot;

	round_at = GetCurrentTimestamp();
	next_at = DT_NOEND;
	all_running = all_present = true;

	if (woken)
		scan_wanted = true;
	if (!is_due(paused_until))
		return next_at;
	if (RecoveryInProgress())
		return after(round_at, RECOVERY_INTERVAL);

	if (is_due(after(scanned_at, scan_wanted ? SCAN_INTERVAL_MIN : SCAN_INTERVAL)))
	{
		scan_databases();
		forget_dropped();
		(void) is_due(after(round_at, SCAN_INTERVAL));
	}
	for (int slot = 0; slot < ks_event_slots(); slot++)
		supervise_slot(slot);
	no_slot = claim_slot();

	/* What a reveal needs comes first. */
	if (all_running && probe_slot < 0 && next_at > round_at)
		keep_runner();
	report(no_slot);
	return next_at;
}

void
ks_supervise_fail(void)
{
	AbortOutOfAnyTransaction();
	scan_wanted = true;
	paused_until = after(GetCurrentTimestamp(), FAILURE_PAUSE);
}

void
ks_supervise_init(void)
{
	supervise_context = AllocSetContextCreate(TopMemoryContext, "keystone supervision",
											  ALLOCSET_SMALL_SIZES);
	scan_context = AllocSetContextCreate(supervise_context, "keystone databases",
										 ALLOCSET_SMALL_SIZES);
	workers = MemoryContextAllocZero(supervise_context, ks_event_slots() * sizeof(*workers));
	ks_event_set_launcher();
}
