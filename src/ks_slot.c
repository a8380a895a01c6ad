/*-------------------------------------------------------------------------
 *
 * ks_slot.c
 *	  The directory of databases with Keystone: their workers, who holds them,
 *	  checkpoints to be anchored.
 *
 * A slot is made when the launcher looks into a database or a session asks
 * for it, and is freed when the database turns out not to have the extension,
 * or to be gone.  KS_LOCK_DATABASES protects everything here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "ks_guc.h"
#include "ks_sleep.h"
#include "ks_slot.h"

/* A worker of a slot. */
typedef struct Worker
{
	pid_t		pid;			/* 0: not running */
	int			proc;			/* its proc number, when running */
	bool		starting;
	int			failures;
	TimestampTz ended_at;
} Worker;

typedef struct Slot
{
	Oid			database;		/* InvalidOid: free */
	KsDatabaseState state;
	pid_t		held_by;
	Worker		workers[KS_WORKER_KINDS];
} Slot;

typedef struct Anchor
{
	Oid			database;		/* InvalidOid: free */
	bool		pending;
	uint64		size;
	char		note[KS_COMMAND_INPUT_MAX];
	KsAnchorStatus status;
} Anchor;

typedef struct Directory
{
	pid_t		launcher;
	int			launcher_proc;
	pid_t		runner;
	int			runner_proc;
	bool		too_few_workers;
	bool		too_few_slots;
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Directory;

static Directory *directory = NULL;
static Anchor *anchors = NULL;	/* one for each slot */
static pg_atomic_uint64 *lost_claims = NULL;	/* one for each process */
static char *rings = NULL;

static int	my_slot = -1;		/* of this process's database, once found */


/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

static Size
ring_stride(void)
{
	return MAXALIGN(offsetof(KsRing, bytes) + (Size) ks_audit_ring_size * 1024);
}

static int
count_procs(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
directory_size(void)
{
	return MAXALIGN(offsetof(Directory, slots) + ks_max_databases * sizeof(Slot));
}

Size
ks_event_shmem_size(void)
{
	Size		size = directory_size();

	size = add_size(size, MAXALIGN(mul_size(ks_max_databases, sizeof(Anchor))));
	size = add_size(size, MAXALIGN(mul_size(count_procs(), sizeof(pg_atomic_uint64))));
	size = add_size(size, MAXALIGN(ks_sleep_size(count_procs())));
	return add_size(size, mul_size(ks_max_databases, ring_stride()));
}

static void
init_ring(int slot)
{
	KsRing	   *ring = ks_slot_ring(slot);

	memset(ring, 0, offsetof(KsRing, bytes));
	ring->appender = -1;
	ring->size = (uint64) ks_audit_ring_size * 1024;
	pg_atomic_init_u64(&ring->durable, 0);
	pg_atomic_init_u64(&ring->generation, 0);
	pg_atomic_init_u32(&ring->outbox_written, 0);
	pg_atomic_init_u32(&ring->begun, KS_LOG_NONE);
	ConditionVariableInit(&ring->room);
}

void
ks_event_shmem_init(void *area, bool found)
{
	char	   *at = area;

	my_slot = -1;
	directory = (Directory *) at;
	at += directory_size();
	anchors = (Anchor *) at;
	at += MAXALIGN(ks_max_databases * sizeof(Anchor));
	lost_claims = (pg_atomic_uint64 *) at;
	at += MAXALIGN(count_procs() * sizeof(pg_atomic_uint64));
	ks_sleep_init(at, count_procs(), found);
	if (found)
	{
		rings = at + MAXALIGN(ks_sleep_size(count_procs()));
		return;
	}

	memset(area, 0, at - (char *) area);
	rings = at + MAXALIGN(ks_sleep_size(count_procs()));
	directory->launcher_proc = directory->runner_proc = -1;
	for (int i = 0; i < count_procs(); i++)
		pg_atomic_init_u64(&lost_claims[i], 0);
	for (int i = 0; i < ks_max_databases; i++)
		init_ring(i);
}

KsRing *
ks_slot_ring(int slot)
{
	return (KsRing *) (rings + slot * ring_stride());
}

KsRing *
ks_slot_my_ring(void)
{
	KsRing	   *ring;

	if (directory == NULL)
		return NULL;
	if (my_slot < 0 || directory->slots[my_slot].database != MyDatabaseId)
		my_slot = ks_event_slot_of(MyDatabaseId, false);
	if (my_slot < 0)
		return NULL;
	ring = ks_slot_ring(my_slot);
	/* Only here are the locks attached for certain. */
	if (ring->lock == NULL)
		ring->lock = ks_lock(KS_LOCK_COUNT + my_slot);
	return ring;
}

/* Positions of all rings, told apart: no ring ever gets that far. */
static uint64
claim_mark(int slot, uint64 position)
{
	return position | ((uint64) (slot + 1) << 52);
}

void
ks_slot_set_lost_claim(const KsRing *ring, int proc, uint64 position)
{
	int			slot = (int) (((const char *) ring - rings) / ring_stride());

	pg_atomic_write_u64(&lost_claims[proc], claim_mark(slot, position));
}

bool
ks_slot_take_lost_claim(uint64 position)
{
	pg_atomic_uint64 *mine = &lost_claims[KS_MY_PROC_NUMBER];

	if (my_slot < 0 || pg_atomic_read_u64(mine) != claim_mark(my_slot, position))
		return false;
	pg_atomic_write_u64(mine, 0);
	return true;
}

static void
lock_directory(void)
{
	LWLockAcquire(ks_lock(KS_LOCK_DATABASES), LW_EXCLUSIVE);
}

static void
unlock_directory(void)
{
	LWLockRelease(ks_lock(KS_LOCK_DATABASES));
}


/*-------------------------------------------------------------------------
 * Slots
 *-------------------------------------------------------------------------
 */

int
ks_event_slots(void)
{
	return directory == NULL ? 0 : ks_max_databases;
}

static void
copy_worker(const Worker *worker, KsWorkerStatus *status)
{
	status->pid = worker->pid;
	status->starting = worker->starting;
	status->failures = worker->failures;
	status->ended_at = worker->ended_at;
}

void
ks_event_slot_status(int slot, KsSlotStatus *status)
{
	const Slot *s = &directory->slots[slot];
	KsRing	   *ring = ks_slot_ring(slot);

	memset(status, 0, sizeof(*status));
	lock_directory();
	status->database = s->database;
	status->state = s->state;
	status->held_by = s->held_by;
	for (int kind = 0; kind < KS_WORKER_KINDS; kind++)
		copy_worker(&s->workers[kind], &status->workers[kind]);
	if (ring->lock == NULL)
		ring->lock = ks_lock(KS_LOCK_COUNT + slot);
	unlock_directory();

	LWLockAcquire(ring->lock, LW_SHARED);
	status->log = ring->log;
	strlcpy(status->problem, ring->problem, sizeof(status->problem));
	status->in_flight = ring->head - pg_atomic_read_u64(&ring->durable);
	status->ring_size = ring->size;
	LWLockRelease(ring->lock);
}

static int
find_slot(Oid database)
{
	for (int i = 0; i < ks_max_databases; i++)
	{
		if (directory->slots[i].database == database)
			return i;
	}
	return -1;
}

/* A slot for a database, made if there is room.  Under the lock. */
static int
make_slot(Oid database)
{
	int			slot = find_slot(database);
	KsRing	   *ring;

	if (slot >= 0)
		return slot;
	slot = find_slot(InvalidOid);
	if (slot < 0)
		return -1;

	memset(&directory->slots[slot], 0, sizeof(Slot));
	memset(&anchors[slot], 0, sizeof(Anchor));
	ring = ks_slot_ring(slot);
	ring->lock = ks_lock(KS_LOCK_COUNT + slot);

	/*
	 * Nobody uses the ring of a free slot.  Its positions and generation go
	 * on, so that a ticket of the slot's last database is never taken for one
	 * of this.
	 */
	memset(&ring->log, 0, sizeof(ring->log));
	memset(ring->denials, 0, sizeof(ring->denials));
	ring->problem[0] = '\0';
	pg_atomic_fetch_add_u64(&ring->generation, 2);
	pg_atomic_write_u32(&ring->begun, KS_LOG_NONE);
	pg_atomic_write_u32(&ring->outbox_written, 0);
	directory->slots[slot].database = database;
	return slot;
}

int
ks_event_slot_of(Oid database, bool make)
{
	int			slot;

	lock_directory();
	slot = make ? make_slot(database) : find_slot(database);
	unlock_directory();
	return slot;
}

static bool
is_idle(const Slot *slot)
{
	for (int kind = 0; kind < KS_WORKER_KINDS; kind++)
	{
		if (slot->workers[kind].pid != 0 || slot->workers[kind].starting)
			return false;
	}
	return true;
}

void
ks_event_slot_free(int slot)
{
	lock_directory();
	if (is_idle(&directory->slots[slot]) && directory->slots[slot].held_by == 0)
		directory->slots[slot].database = InvalidOid;

	unlock_directory();
}

void
ks_event_slot_set_state(int slot, KsDatabaseState state)
{
	lock_directory();
	directory->slots[slot].state = state;
	unlock_directory();
}

void
ks_event_request(void)
{
	bool		wanted = false;
	int			slot;

	if (directory == NULL || !OidIsValid(MyDatabaseId))
		return;
	lock_directory();
	slot = make_slot(MyDatabaseId);
	if (slot >= 0 && directory->slots[slot].state != KS_DATABASE_PRESENT)
	{
		directory->slots[slot].state = KS_DATABASE_UNKNOWN;
		wanted = true;
	}
	else if (slot >= 0)
		wanted = directory->slots[slot].workers[KS_APPENDER].pid == 0;
	unlock_directory();
	if (wanted)
		ks_event_wake_launcher();
}


/*-------------------------------------------------------------------------
 * Workers
 *-------------------------------------------------------------------------
 */

/* Whether a process that holds a database is still there. */
static bool
is_held(Slot *slot)
{
	if (slot->held_by != 0 && kill(slot->held_by, 0) != 0 && errno == ESRCH)
		slot->held_by = 0;
	return slot->held_by != 0;
}

bool
ks_event_worker_starting(int slot, KsWorkerKind kind)
{
	Slot	   *s = &directory->slots[slot];
	bool		may;

	lock_directory();
	may = OidIsValid(s->database) && !is_held(s) && s->workers[kind].pid == 0 && !s->workers[kind].starting;
	if (may)
		s->workers[kind].starting = true;
	unlock_directory();
	return may;
}

void
ks_event_worker_not_started(int slot, KsWorkerKind kind)
{
	Worker	   *worker = &directory->slots[slot].workers[kind];

	lock_directory();
	if (worker->starting)
	{
		worker->starting = false;
		worker->failures++;
		worker->ended_at = GetCurrentTimestamp();
	}
	unlock_directory();
}

static void
worker_ended(int code, Datum arg)
{
	int			slot = DatumGetInt32(arg) / KS_WORKER_KINDS;
	Worker	   *worker = &directory->slots[slot].workers[DatumGetInt32(arg) % KS_WORKER_KINDS];

	(void) code;
	lock_directory();
	if (worker->pid == MyProcPid)
	{
		worker->pid = 0;
		worker->failures++;
		worker->ended_at = GetCurrentTimestamp();
	}
	unlock_directory();
	ks_event_wake_launcher();
}

bool
ks_event_worker_started(int slot, KsWorkerKind kind)
{
	Slot	   *s = &directory->slots[slot];
	Worker	   *worker = &s->workers[kind];
	bool		may;

	lock_directory();
	may = s->database == MyDatabaseId && !is_held(s) && worker->pid == 0;
	worker->starting = false;
	if (may)
	{
		worker->pid = MyProcPid;
		worker->proc = KS_MY_PROC_NUMBER;
	}
	unlock_directory();
	if (may)
		before_shmem_exit(worker_ended, Int32GetDatum(slot * KS_WORKER_KINDS + (int) kind));
	return may;
}

void
ks_event_worker_ok(int slot, KsWorkerKind kind)
{
	lock_directory();
	directory->slots[slot].workers[kind].failures = 0;
	unlock_directory();
}

bool
ks_event_hold(Oid database)
{
	bool		mine = true;
	int			slot;

	lock_directory();
	slot = make_slot(database);
	if (slot >= 0)
	{
		mine = !is_held(&directory->slots[slot]) || directory->slots[slot].held_by == MyProcPid;
		if (mine)
			directory->slots[slot].held_by = MyProcPid;
	}
	unlock_directory();
	return mine;
}

void
ks_event_release(Oid database)
{
	int			slot;

	lock_directory();
	slot = find_slot(database);
	if (slot >= 0 && directory->slots[slot].held_by == MyProcPid)
		directory->slots[slot].held_by = 0;
	unlock_directory();
	ks_event_wake_launcher();
}

static void
launcher_ended(int code, Datum arg)
{
	(void) code;
	(void) arg;
	lock_directory();
	directory->launcher = 0;
	directory->launcher_proc = -1;
	unlock_directory();
}

void
ks_event_set_launcher(void)
{
	lock_directory();
	directory->launcher = MyProcPid;
	directory->launcher_proc = KS_MY_PROC_NUMBER;
	unlock_directory();
	before_shmem_exit(launcher_ended, (Datum) 0);
}

void
ks_event_wake_launcher(void)
{
	int			proc;

	if (directory == NULL)
		return;
	proc = directory->launcher_proc;
	if (proc >= 0)
		SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

void
ks_event_launcher_report(bool too_few_workers, bool too_few_slots)
{
	lock_directory();
	directory->too_few_workers = too_few_workers;
	directory->too_few_slots = too_few_slots;
	unlock_directory();
}

void
ks_event_launcher_status(pid_t *pid, bool *too_few_workers, bool *too_few_slots)
{
	lock_directory();
	*pid = directory->launcher;
	*too_few_workers = directory->too_few_workers;
	*too_few_slots = directory->too_few_slots;
	unlock_directory();
}


/*-------------------------------------------------------------------------
 * Checkpoints for the runner
 *-------------------------------------------------------------------------
 */

static void
wake_runner(void)
{
	int			proc = directory->runner_proc;

	if (proc >= 0)
		SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

bool
ks_event_request_anchor(Oid database, const char *note, uint64 size)
{
	int			slot;

	if (strlen(note) >= KS_COMMAND_INPUT_MAX)
		return false;
	lock_directory();
	slot = find_slot(database);
	if (slot >= 0)
	{
		anchors[slot].database = database;
		anchors[slot].pending = true;
		anchors[slot].size = size;
		strlcpy(anchors[slot].note, note, KS_COMMAND_INPUT_MAX);
	}
	unlock_directory();
	wake_runner();
	return slot >= 0;
}

bool
ks_event_next_anchor(KsAnchorRequest *request)
{
	bool		found = false;

	lock_directory();
	for (int i = 0; i < ks_max_databases && !found; i++)
	{
		if (!anchors[i].pending)
			continue;
		anchors[i].pending = false;
		request->database = anchors[i].database;
		request->size = anchors[i].size;
		memcpy(request->note, anchors[i].note, KS_COMMAND_INPUT_MAX);
		found = true;
	}
	unlock_directory();
	return found;
}

static Anchor *
find_anchor(Oid database)
{
	int			slot = find_slot(database);

	return slot >= 0 && anchors[slot].database == database ? &anchors[slot] : NULL;
}

/* The same, made if the database has a slot. */
static Anchor *
make_anchor(Oid database)
{
	int			slot = find_slot(database);

	if (slot < 0)
		return NULL;
	anchors[slot].database = database;
	return &anchors[slot];
}

void
ks_event_anchor_done(Oid database, uint64 size, bool ok, const char *problem)
{
	Anchor	   *anchor;

	lock_directory();
	anchor = make_anchor(database);
	if (anchor != NULL && ok)
	{
		anchor->status.size = size;
		anchor->status.at = GetCurrentTimestamp();
		anchor->status.failures = 0;
		anchor->status.problem[0] = '\0';
	}
	else if (anchor != NULL)
	{
		anchor->status.failures++;
		strlcpy(anchor->status.problem, problem, sizeof(anchor->status.problem));
	}
	unlock_directory();
}

static void
runner_ended(int code, Datum arg)
{
	(void) code;
	(void) arg;
	ks_event_set_runner(false);
}

void
ks_event_set_runner(bool running)
{
	lock_directory();
	directory->runner = running ? MyProcPid : 0;
	directory->runner_proc = running ? KS_MY_PROC_NUMBER : -1;
	unlock_directory();
	if (running)
		before_shmem_exit(runner_ended, (Datum) 0);
}

void
ks_event_anchor_status(Oid database, KsAnchorStatus *status, pid_t *runner)
{
	const Anchor *anchor;

	memset(status, 0, sizeof(*status));
	lock_directory();
	*runner = directory->runner;
	anchor = find_anchor(database);
	if (anchor != NULL)
		*status = anchor->status;
	unlock_directory();
}
