/*-------------------------------------------------------------------------
 *
 * ks_slot.h
 *	  The directory of databases with Keystone: their workers, who holds them,
 *	  checkpoints to be anchored, and where each has its ring.
 *
 * Locks: KS_LOCK_DATABASES protects the directory, the lock of its own each
 * ring (see ks_event.h).  Nobody holds both.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SLOT_H
#define KS_SLOT_H

#include "ks_shmem.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"

extern Size ks_event_shmem_size(void);
extern void ks_event_shmem_init(void *area, bool found);

/* What the appender shows: health() and triggers read it. */
typedef enum KsLogState
{
	KS_LOG_NONE = 0,			/* not begun: there is no instance row */
	KS_LOG_BEGUN,
	KS_LOG_FOREIGN				/* a copy of another database's log, not
								 * accepted yet */
} KsLogState;

typedef struct KsLogStatus
{
	KsLogState	state;
	uint64		entries;		/* seq of the last entry */
	uint64		checkpoint_size;	/* leaves under the last checkpoint */
	TimestampTz checkpoint_at;	/* 0: none */
	TimestampTz committed_at;	/* of the last batch */
	uint64		batches;
	uint64		failures;		/* batches */
	char		key_problem[128];	/* why nothing is signed; empty when it is */
} KsLogStatus;

/*-------------------------------------------------------------------------
 * Slots: the launcher's side, workers, and health()
 *-------------------------------------------------------------------------
 */

typedef enum KsWorkerKind
{
	KS_APPENDER = 0,
	KS_HOUSEKEEPER,
	KS_WORKER_KINDS
} KsWorkerKind;

/* What is known of a slot's database. */
typedef enum KsDatabaseState
{
	KS_DATABASE_UNKNOWN = 0,	/* to be probed: an appender finds out */
	KS_DATABASE_PRESENT,		/* has the extension */
	KS_DATABASE_ABSENT			/* has not, or cannot be connected to */
} KsDatabaseState;

typedef struct KsWorkerStatus
{
	pid_t		pid;			/* 0: not running */
	bool		starting;		/* the launcher has asked for it */
	int			failures;		/* ends in a row without a success */
	TimestampTz ended_at;
} KsWorkerStatus;

typedef struct KsSlotStatus
{
	Oid			database;		/* InvalidOid: the slot is free */
	KsDatabaseState state;
	pid_t		held_by;		/* session whose statement keeps workers out,
								 * 0 for none */
	KsWorkerStatus workers[KS_WORKER_KINDS];
	KsLogStatus log;
	char		problem[128];	/* why the appender ended, empty */
	uint64		in_flight;		/* bytes in the ring */
	uint64		ring_size;
} KsSlotStatus;

/* Number of slots (keystone.max_databases), and a copy of one. */
extern int	ks_event_slots(void);
extern void ks_event_slot_status(int slot, KsSlotStatus *status);

/* The slot of a database; -1 when it has none.  With make: makes one, -1 when
 * all are taken. */
extern int	ks_event_slot_of(Oid database, bool make);

/* Asks for the appender of this database to be started if there is none, and
 * never was one; wakes the launcher.  Cheap when there is one. */
extern void ks_event_request(void);

/* Frees a slot whose workers have ended and that is not held. */
extern void ks_event_slot_free(int slot);

extern void ks_event_slot_set_state(int slot, KsDatabaseState state);

/*
 * A worker's life.  starting: by the launcher before it registers the worker,
 * false when it is held or there is one already.  started: by the worker once
 * it is connected, false when it must exit at once; also installs an exit
 * callback that says it ended.  not_started: by the launcher when the worker
 * could not be registered or ended before it said anything.  ok: by the worker
 * after something succeeded; resets the failures.
 */
extern bool ks_event_worker_starting(int slot, KsWorkerKind kind);
extern bool ks_event_worker_started(int slot, KsWorkerKind kind);
extern void ks_event_worker_not_started(int slot, KsWorkerKind kind);
extern void ks_event_worker_ok(int slot, KsWorkerKind kind);

/*
 * Holds a database: no worker starts in it until it is released, or the
 * holder's process has ended.  Returns false when somebody else holds it.
 * The caller then ends the workers (pids in the status) and waits until none
 * is running or starting.  A database without a slot gets one if there is one.
 */
extern bool ks_event_hold(Oid database);
extern void ks_event_release(Oid database);

/* The launcher's latch: its process says where it is; others wake it. */
extern void ks_event_set_launcher(void);
extern void ks_event_wake_launcher(void);

/* Counters that tell health() what the launcher could not do. */
extern void ks_event_launcher_report(bool too_few_workers, bool too_few_slots);
extern void ks_event_launcher_status(pid_t *pid, bool *too_few_workers, bool *too_few_slots);


/*-------------------------------------------------------------------------
 * Commands for the runner
 *-------------------------------------------------------------------------
 */

#define KS_COMMAND_INPUT_MAX	4096

/* A request to run keystone.audit_anchor_command with a checkpoint on its
 * standard input.  A newer request of the same database replaces one that has
 * not begun.  False when the table is full. */
extern bool ks_event_request_anchor(Oid database, const char *note, uint64 size);

/* The runner's side: the next request; false when there is none. */
typedef struct KsAnchorRequest
{
	Oid			database;
	uint64		size;
	char		note[KS_COMMAND_INPUT_MAX];
} KsAnchorRequest;

extern bool ks_event_next_anchor(KsAnchorRequest *request);
extern void ks_event_anchor_done(Oid database, uint64 size, bool ok, const char *problem);
extern void ks_event_set_runner(bool running);

typedef struct KsAnchorStatus
{
	uint64		size;			/* of the last checkpoint that was anchored */
	TimestampTz at;				/* 0: never */
	uint64		failures;		/* in a row */
	char		problem[128];
} KsAnchorStatus;

extern void ks_event_anchor_status(Oid database, KsAnchorStatus *status, pid_t *runner);


/*-------------------------------------------------------------------------
 * The rings, for ks_event.c
 *-------------------------------------------------------------------------
 */

#define KS_RING_SHARE		4	/* a caller may fill 1/4 of the ring */
#define KS_RING_SHARES		64
#define KS_RING_DENIALS		1024

/* A caller's denials; protected by the ring's lock. */
typedef struct KsDenial
{
	uint8		caller[KS_ID_LEN];
	int64		minute;			/* since 2000-01-01; 0: not in use */
	int			count;			/* in that minute */
	int			covered;		/* a durable entry says "up to so many" */
	int			past_count;		/* of minutes that are over, not written yet */
	int64		past_minute;
} KsDenial;

/* One database's ring; the lock protects what is not atomic. */
typedef struct KsRing
{
	LWLock	   *lock;
	int			appender;		/* its proc number, -1 when there is none */
	uint64		size;
	uint64		head;			/* end of what was put */
	uint64		taken;			/* end of what the appender took */
	uint64		failed_from;	/* the last failure failed all behind this */
	pg_atomic_uint64 durable;
	pg_atomic_uint64 generation;	/* goes up with each failure */
	pg_atomic_uint32 outbox_written;
	pg_atomic_uint32 begun;		/* copy of log.state; outlives the appender */
	KsLogStatus log;
	char		problem[128];	/* of the last failure */
	ConditionVariable room;		/* also: the appender has begun */
	uint64		shares[KS_RING_SHARES]; /* bytes in flight */
	KsDenial	denials[KS_RING_DENIALS];
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} KsRing;

extern KsRing *ks_slot_ring(int slot);

/* The ring of this process's database, NULL when it has none. */
extern KsRing *ks_slot_my_ring(void);

/* A claim that was lost, left for a process; taking it clears it. */
extern void ks_slot_set_lost_claim(const KsRing *ring, int proc, uint64 position);
extern bool ks_slot_take_lost_claim(uint64 position);

#endif							/* KS_SLOT_H */
