/*-------------------------------------------------------------------------
 *
 * ks_limit.c
 *	  Counters of limits, in one fixed table in shared memory.
 *
 * The table is cut into partitions.  A counter's hash says in which one it
 * lies, and in which slots of that it may: PROBES of them.  All of these are
 * looked at in every search, so that a slot can be freed without regard to
 * others.  The last partition has the sinks.  What must always hold:
 *
 *	- a slot is freed only when its counter restrains nobody any more and is not
 *	  blocked; and, when that is so because something was given back or
 *	  unblocked, not before that was saved ("lifted"): else what was saved
 *	  before would come back after a crash;
 *	- nobody changes a slot before the whole call is known to be allowed, but
 *	  for making an empty one, which is freed again when it is not, and for
 *	  telling one that the clock was set back;
 *	- each slot in use is counted in its partition, in its database's and, when
 *	  it is a workspace's, in an account.
 *
 * Accounts are found by a hash of database and workspace, and two workspaces
 * may share one: then together they have one's share.  So an account never has
 * fewer than a workspace has counters, and nobody has more than his share.
 *
 * Freed slots are found by sweeping: whoever makes a counter looks at some more
 * slots of its partition.
 *
 * The directory of databases has a lock of its own, which nobody takes while
 * holding another one, nor the other way around.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "ks_guc.h"
#include "ks_limit.h"

#define SLOT_SIZE			256
#define PARTITIONS_MAX		128
#define PARTITION_SLOTS_MIN	256 /* with fewer, some are full long before all */
#define SINK_SHARE			64	/* a sink for so many slots */
#define PROBES				32
#define SWEEP				8	/* slots, when a counter is made */
#define SWEEP_FOR_ROOM		64	/* when there is no room for it */
#define ACCOUNTS			8192	/* a power of two */
#define DATABASE_SHARE		75	/* per cent, while others have counters */
#define ACCOUNTS_SHARE		60	/* per cent, of all workspaces together: who
								 * has several leaves room for what the vault
								 * counts by itself */

/* Without room for a protective limit: when to try again. */
#define NO_ROOM_RETRY		USECS_PER_SEC

/*
 * A changed counter is saved at the next pass when this share of its limit was
 * used since it was saved, or less of it was lifted; otherwise at one of so
 * many passes.  So a crash forgets little, and a hundred thousand counters in
 * use do not keep the housekeeper busy with each attempt.
 */
#define SAVE_SHARE			64
#define SAVE_PASSES			32

#define SAVED_MAGIC			0x4b534c31	/* "KSL1": the version is in there */
#define FILE_MAGIC			0x4b534631
#define FILE_NAME			PGSTAT_STAT_PERMANENT_DIRECTORY "/keystone_limits"
#define FILE_NAME_NEW		FILE_NAME ".tmp"

#define TRANCHE				"keystone limits"

/* Protected by its partition's lock. */
typedef struct Slot
{
	uint8		hash[KS_LIMIT_HASH_LEN];
	Oid			database;		/* InvalidOid: free */
	uint16		owner;			/* its place in the directory */
	uint8		algorithm;
	bool		taken;			/* by who holds the lock: it is not freed */
	bool		dirty;			/* changed since it was saved */
	bool		lifted;			/* was given back or unblocked since then */
	uint8		workspace[KS_ID_LEN];
	int64		n;
	int64		period;
	int64		unsaved;		/* what was charged since it was saved */
	TimestampTz blocked_until;	/* 0: not blocked */
	KsWindowState state;
} Slot;

typedef union PaddedSlot
{
	Slot		slot;
	char		padding[SLOT_SIZE];
} PaddedSlot;

StaticAssertDecl(sizeof(PaddedSlot) == SLOT_SIZE, "slot is too large");

typedef struct Partition
{
	LWLock		lock;			/* protects the rest, and the slots */
	uint32		size;			/* slots; never changes */
	uint32		hand;			/* where sweeping goes on */
	uint32		used;			/* slots in use */
	uint32		dirty;			/* of them, those to be saved */
	int64		allowed;		/* calls whose first counter is here */
	int64		denied;
	int64		overflowed;		/* sinks: attempts that they counted */
	PaddedSlot *slots;			/* never changes; at the same address in each
								 * process, as all of the main shared memory */
} Partition;

typedef union PaddedPartition
{
	Partition	partition;
	char		padding[2 * PG_CACHE_LINE_SIZE];
} PaddedPartition;

/* A database that ever had a counter, or was loaded. */
typedef struct Database
{
	Oid			oid;			/* InvalidOid: free; protected by the
								 * directory's lock */
	pg_atomic_uint32 loaded;	/* 1: its counters are there */
	pg_atomic_uint32 used;		/* keys' slots in use */
} Database;

typedef struct Table
{
	LWLockPadded directory_lock;
	uint64		seed;			/* of the accounts' hashes; never changes */
	uint32		capacity;		/* slots for keys; never changes */
	int			partitions;		/* without the sinks'; never changes */
	pg_atomic_uint32 used;		/* keys' slots in use */
	pg_atomic_uint32 accounted; /* those of them that are a workspace's */
	pg_atomic_uint32 accounts[2][ACCOUNTS]; /* slots in use: of keys, sinks */
	Database	databases[FLEXIBLE_ARRAY_MEMBER];	/* ks_max_databases, and
													 * one that the others
													 * share */
} Table;

static Table *table = NULL;
static PaddedPartition *partitions = NULL;

/* This database's place in the directory, or -1 before it was looked up. */
static int	my_owner = -1;


/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

static int
count_partitions(void)
{
	int			n = PARTITIONS_MAX;

	while (ks_limit_max_keys / n < PARTITION_SLOTS_MIN)
		n /= 2;
	return n;
}

static uint32
slots_of_partition(void)
{
	return (uint32) ((ks_limit_max_keys + count_partitions() - 1) / count_partitions());
}

static uint32
count_sinks(void)
{
	return (uint32) Max(ks_limit_max_keys / SINK_SHARE, PARTITION_SLOTS_MIN);
}

static Size
table_size(void)
{
	return CACHELINEALIGN(offsetof(Table, databases) + (ks_max_databases + 1) * sizeof(Database));
}

Size
ks_limit_shmem_size(void)
{
	Size		size = table_size();

	size = add_size(size, mul_size(count_partitions() + 1, sizeof(PaddedPartition)));
	size = add_size(size, mul_size(mul_size(count_partitions(), slots_of_partition()), SLOT_SIZE));
	return add_size(size, mul_size(count_sinks(), SLOT_SIZE));
}

/*
 * An empty table.
 */
static void
init_table(int tranche)
{
	PaddedSlot *slots = (PaddedSlot *) (partitions + count_partitions() + 1);

	memset(table, 0, ks_limit_shmem_size());
	LWLockInitialize(&table->directory_lock.lock, tranche);
	table->partitions = count_partitions();
	table->capacity = (uint32) table->partitions * slots_of_partition();
	pg_atomic_init_u32(&table->used, 0);
	pg_atomic_init_u32(&table->accounted, 0);
	for (int i = 0; i < ACCOUNTS; i++)
	{
		pg_atomic_init_u32(&table->accounts[0][i], 0);
		pg_atomic_init_u32(&table->accounts[1][i], 0);
	}
	for (int i = 0; i <= ks_max_databases; i++)
	{
		pg_atomic_init_u32(&table->databases[i].loaded, 0);
		pg_atomic_init_u32(&table->databases[i].used, 0);
	}
	for (int i = 0; i <= table->partitions; i++)
	{
		Partition  *partition = &partitions[i].partition;

		LWLockInitialize(&partition->lock, tranche);
		partition->size = i < table->partitions ? slots_of_partition() : count_sinks();
		partition->slots = slots;
		slots += partition->size;
	}
	if (!pg_strong_random(&table->seed, sizeof(table->seed)))
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not draw random bytes"));
}

static void read_file(void);
static void write_file(int code, Datum arg);

/*
 * The postmaster starts with what its predecessor left, if that ended well;
 * after a crash of one of its processes there is no file, and it will write
 * one when it ends itself.
 */
void
ks_limit_shmem_init(void *area, bool found)
{
	int			tranche;

	table = area;
	partitions = (PaddedPartition *) ((char *) area + table_size());
	my_owner = -1;
	if (found)
	{
		LWLockRegisterTranche(table->directory_lock.lock.tranche, TRANCHE);
		return;
	}
	tranche = LWLockNewTrancheId();
	LWLockRegisterTranche(tranche, TRANCHE);
	init_table(tranche);
	read_file();
	if (!IsUnderPostmaster)
		on_shmem_exit(write_file, (Datum) 0);
}

static inline bool
is_sinks(const Partition *partition)
{
	return partition == &partitions[table->partitions].partition;
}


/*-------------------------------------------------------------------------
 * Databases
 *-------------------------------------------------------------------------
 */

/*
 * A database's place in the directory, which it gets if it has none; the
 * shared one when there is no room.  The caller holds the directory's lock.
 */
static int
owner_of(Oid database)
{
	int			free_place = ks_max_databases;

	for (int i = ks_max_databases - 1; i >= 0; i--)
	{
		if (table->databases[i].oid == database)
			return i;
		if (!OidIsValid(table->databases[i].oid))
			free_place = i;
	}
	if (free_place < ks_max_databases)
		table->databases[free_place].oid = database;
	return free_place;
}

/*
 * A place is freed when the database is dropped, and then nobody is in there:
 * once found, it can be remembered.
 */
static int
owner_of_mine(void)
{
	if (my_owner < 0)
	{
		LWLockAcquire(&table->directory_lock.lock, LW_EXCLUSIVE);
		my_owner = owner_of(MyDatabaseId);
		LWLockRelease(&table->directory_lock.lock);
	}
	return my_owner;
}

bool
ks_limit_is_loaded(void)
{
	return pg_atomic_read_u32(&table->databases[owner_of_mine()].loaded) != 0;
}

/*
 * Databases that share a place are never loaded: each call loads them once
 * more, which changes nothing.
 */
void
ks_limit_set_loaded(void)
{
	int			owner = owner_of_mine();

	if (owner < ks_max_databases)
		pg_atomic_write_u32(&table->databases[owner].loaded, 1);
}


/*-------------------------------------------------------------------------
 * Room
 *-------------------------------------------------------------------------
 */

/* Whose counter it is. */
typedef struct Whose
{
	int			owner;			/* the database's place in the directory */
	Oid			database;
	const uint8 *workspace;
} Whose;

/* NULL for the database's own counters, which have no account. */
static pg_atomic_uint32 *
account_of(bool sinks, Oid database, const uint8 workspace[KS_ID_LEN])
{
	static const uint8 nil[KS_ID_LEN] = {0};
	uint64		hash;

	if (memcmp(workspace, nil, KS_ID_LEN) == 0)
		return NULL;
	hash = hash_bytes_extended(workspace, KS_ID_LEN, table->seed ^ database);
	return &table->accounts[sinks ? 1 : 0][hash % ACCOUNTS];
}

static uint32
account_limit(const Partition *partition)
{
	uint64		capacity = is_sinks(partition) ? partition->size : table->capacity;

	return (uint32) Max(capacity * (uint64) ks_limit_workspace_share / 100, 1);
}

/*
 * Whether a database may have one more key.
 */
static bool
database_has_room(int owner)
{
	uint32		mine = pg_atomic_read_u32(&table->databases[owner].used);

	return mine < (uint64) table->capacity * DATABASE_SHARE / 100 ||
		mine >= pg_atomic_read_u32(&table->used);
}

/*
 * Whether there may be one more key that is, or is not, a workspace's.
 */
static bool
table_has_room(int owner, bool accounted)
{
	return database_has_room(owner) &&
		(!accounted || pg_atomic_read_u32(&table->accounted) < (uint64) table->capacity * ACCOUNTS_SHARE / 100);
}

static bool
has_budget(const Partition *partition, const Whose *whose)
{
	pg_atomic_uint32 *account = account_of(is_sinks(partition), whose->database, whose->workspace);

	return (is_sinks(partition) || table_has_room(whose->owner, account != NULL)) &&
		(account == NULL || pg_atomic_read_u32(account) < account_limit(partition));
}

/*
 * Takes room for one slot out of the budgets, if there is any; by force also
 * when there is none.
 */
static bool
take_budget(const Partition *partition, const Whose *whose, bool force)
{
	pg_atomic_uint32 *account = account_of(is_sinks(partition), whose->database, whose->workspace);

	if (!is_sinks(partition) && !force && !table_has_room(whose->owner, account != NULL))
		return false;
	if (account != NULL && pg_atomic_fetch_add_u32(account, 1) >= account_limit(partition) && !force)
	{
		pg_atomic_fetch_sub_u32(account, 1);
		return false;
	}
	if (!is_sinks(partition))
	{
		pg_atomic_fetch_add_u32(&table->databases[whose->owner].used, 1);
		pg_atomic_fetch_add_u32(&table->used, 1);
		if (account != NULL)
			pg_atomic_fetch_add_u32(&table->accounted, 1);
	}
	return true;
}

static void
set_dirty(Partition *partition, Slot *slot, bool dirty)
{
	if (dirty && !slot->dirty)
		partition->dirty++;
	else if (!dirty && slot->dirty)
		partition->dirty--;
	slot->dirty = dirty;
	if (!dirty)
		slot->unsaved = 0;
}

/* Somebody was blocked, or something lifted: the next pass saves it. */
static void
set_urgent(Partition *partition, Slot *slot)
{
	set_dirty(partition, slot, true);
	slot->unsaved = slot->n;
}

static void
free_slot(Partition *partition, Slot *slot)
{
	pg_atomic_uint32 *account = account_of(is_sinks(partition), slot->database, slot->workspace);

	if (account != NULL)
		pg_atomic_fetch_sub_u32(account, 1);
	if (!is_sinks(partition))
	{
		pg_atomic_fetch_sub_u32(&table->databases[slot->owner].used, 1);
		pg_atomic_fetch_sub_u32(&table->used, 1);
		if (account != NULL)
			pg_atomic_fetch_sub_u32(&table->accounted, 1);
	}
	set_dirty(partition, slot, false);
	partition->used--;
	slot->database = InvalidOid;
}

static KsWindow
window_of(const Slot *slot)
{
	KsWindow	window = {.algorithm = slot->algorithm, .n = slot->n, .period = slot->period};

	return window;
}

/* Restrains nobody any more, and nothing saved says otherwise. */
static bool
is_over(const Slot *slot, TimestampTz now)
{
	KsWindow	window = window_of(slot);

	return !slot->lifted && slot->blocked_until <= now &&
		ks_window_is_fresh(&window, &slot->state, now);
}

/* In use, and may be freed. */
static bool
is_garbage(const Slot *slot, TimestampTz now)
{
	return OidIsValid(slot->database) && !slot->taken && is_over(slot, now);
}

static void
sweep(Partition *partition, uint32 slots, TimestampTz now)
{
	for (uint32 i = Min(slots, partition->size); i > 0; i--)
	{
		Slot	   *slot = &partition->slots[partition->hand].slot;

		if (is_garbage(slot, now))
			free_slot(partition, slot);
		partition->hand = (partition->hand + 1) % partition->size;
	}
}


/*-------------------------------------------------------------------------
 * Finding a counter
 *-------------------------------------------------------------------------
 */

/* The number of the partition that a hash belongs to. */
static inline int
partition_of(const uint8 hash[KS_LIMIT_HASH_LEN])
{
	uint32		bits;

	memcpy(&bits, hash, sizeof(bits));
	return (int) (bits % (uint32) table->partitions);
}

/* The i-th of the slots in which a hash may be: double hashing, because runs
 * of neighbours would be full long before the partition is. */
static inline Slot *
probe(const Partition *partition, const uint8 hash[KS_LIMIT_HASH_LEN], int i)
{
	uint32		bits[2];
	uint32		step;

	memcpy(bits, hash + sizeof(uint32), sizeof(bits));
	step = bits[1] % PARTITION_SLOTS_MIN | 1;
	return &partition->slots[(bits[0] % partition->size + (uint32) i * step) % partition->size].slot;
}

static Slot *
find_slot(const Partition *partition, const uint8 hash[KS_LIMIT_HASH_LEN], Oid database)
{
	for (int i = 0; i < PROBES; i++)
	{
		Slot	   *slot = probe(partition, hash, i);

		if (slot->database == database && memcmp(slot->hash, hash, KS_LIMIT_HASH_LEN) == 0)
			return slot;
	}
	return NULL;
}

/*
 * A slot in which a hash may be, and which is free or could be freed.
 */
static Slot *
find_room(const Partition *partition, const uint8 hash[KS_LIMIT_HASH_LEN], TimestampTz now)
{
	for (int i = 0; i < PROBES; i++)
	{
		Slot	   *slot = probe(partition, hash, i);

		if (!OidIsValid(slot->database) || is_garbage(slot, now))
			return slot;
	}
	return NULL;
}

/*
 * A new counter in a slot from find_room(), which may be NULL.  NULL without
 * room.
 */
static Slot *
make_slot(Partition *partition, Slot *slot, const uint8 hash[KS_LIMIT_HASH_LEN], const Whose *whose,
		  const KsWindow *window, bool force, TimestampTz now)
{
	if (slot == NULL)
		return NULL;
	if (OidIsValid(slot->database))
		free_slot(partition, slot);
	sweep(partition, SWEEP, now);
	if (!take_budget(partition, whose, force))
	{
		sweep(partition, SWEEP_FOR_ROOM, now);
		if (!take_budget(partition, whose, force))
			return NULL;
	}

	memset(slot, 0, sizeof(Slot));
	memcpy(slot->hash, hash, KS_LIMIT_HASH_LEN);
	memcpy(slot->workspace, whose->workspace, KS_ID_LEN);
	slot->database = whose->database;
	slot->owner = (uint16) whose->owner;
	slot->algorithm = (uint8) window->algorithm;
	slot->n = window->n;
	slot->period = window->period;
	partition->used++;
	return slot;
}


/*-------------------------------------------------------------------------
 * A call
 *-------------------------------------------------------------------------
 */

/* What a call found for one of its asks. */
typedef struct Found
{
	Partition  *partition;		/* where it is looked for */
	Slot	   *slot;			/* NULL: counted nowhere */
	bool		made;			/* by this call */
	bool		refused;		/* for want of room */
	int64		before;			/* what earlier asks of the call want of it */
} Found;

typedef struct Call
{
	KsLimitAsk *asks;
	int			n;
	int			owner;
	TimestampTz now;
	LWLockMode	mode;
	uint64		locked[PARTITIONS_MAX / 64];	/* a bit for each partition */
	bool		sinks_locked;
	Found		found[KS_LIMIT_ASKS_MAX];
} Call;

/*
 * Locks the partitions of all asks, each once, in ascending order.
 */
static void
begin_call(Call *call, KsLimitAsk *asks, int n, LWLockMode mode, TimestampTz now)
{
	Assert(n >= 1 && n <= KS_LIMIT_ASKS_MAX);

	call->asks = asks;
	call->n = n;
	call->owner = owner_of_mine();
	call->now = now;
	call->mode = mode;
	memset(call->locked, 0, sizeof(call->locked));
	call->sinks_locked = false;

	for (int i = 0; i < n; i++)
	{
		int			number = partition_of(asks[i].hash);

		call->locked[number / 64] |= UINT64_C(1) << (number % 64);
		call->found[i] = (Found) {0};
		call->found[i].partition = &partitions[number].partition;
	}
	for (int i = 0; i < PARTITIONS_MAX / 64; i++)
	{
		for (uint64 bits = call->locked[i]; bits != 0; bits &= bits - 1)
			LWLockAcquire(&partitions[i * 64 + pg_rightmost_one_pos64(bits)].partition.lock, mode);
	}
}

/* The sinks' partition is the last. */
static Partition *
lock_sinks(Call *call)
{
	Partition  *sinks = &partitions[table->partitions].partition;

	if (!call->sinks_locked)
	{
		LWLockAcquire(&sinks->lock, call->mode);
		call->sinks_locked = true;
	}
	return sinks;
}

static void
end_call(Call *call)
{
	if (call->mode == LW_EXCLUSIVE)
	{
		for (int i = 0; i < call->n; i++)
		{
			if (call->found[i].slot != NULL)
				call->found[i].slot->taken = false;
		}
	}
	if (call->sinks_locked)
		LWLockRelease(&partitions[table->partitions].partition.lock);
	for (int i = PARTITIONS_MAX / 64 - 1; i >= 0; i--)
	{
		for (uint64 bits = call->locked[i]; bits != 0; bits &= ~(UINT64_C(1) << pg_leftmost_one_pos64(bits)))
			LWLockRelease(&partitions[i * 64 + pg_leftmost_one_pos64(bits)].partition.lock);
	}
}

/*
 * Finds a counter.  With make it is made, and *room says whether it could be;
 * without, whether it could be if there is none.
 */
static Slot *
find(const Call *call, Found *found, const uint8 hash[KS_LIMIT_HASH_LEN], const KsLimitAsk *ask,
	 bool make, bool *room)
{
	const Whose whose = {.owner = call->owner, .database = MyDatabaseId, .workspace = ask->workspace};
	Slot	   *slot = find_slot(found->partition, hash, MyDatabaseId);

	*room = true;
	if (slot != NULL)
		return slot;
	slot = find_room(found->partition, hash, call->now);
	if (!make)
	{
		*room = slot != NULL && has_budget(found->partition, &whose);
		return NULL;
	}
	slot = make_slot(found->partition, slot, hash, &whose, &ask->window, false, call->now);
	*room = found->made = slot != NULL;
	return slot;
}

/*
 * Finds the counter of an ask, which may be its sink.
 */
static void
find_counter(Call *call, int i, bool make)
{
	KsLimitAsk *ask = &call->asks[i];
	Found	   *found = &call->found[i];
	bool		room;

	found->slot = find(call, found, ask->hash, ask, make, &room);
	ask->overflowed = !room;
	if (!room)
	{
		found->partition = lock_sinks(call);
		found->slot = find(call, found, ask->sink, ask, make, &room);
		found->refused = !room && ask->protect;
	}

	/* what makes room for later asks leaves this one alone */
	if (found->slot != NULL && call->mode == LW_EXCLUSIVE)
		found->slot->taken = true;
}

/*
 * Tells counters that the clock was set back, even when nothing will be
 * charged.
 */
static void
set_back(Call *call)
{
	for (int i = 0; i < call->n; i++)
	{
		Found	   *found = &call->found[i];

		if (found->slot != NULL && found->slot->state.last > call->now)
		{
			KsWindow	window = window_of(found->slot);

			ks_window_set_back(&window, &found->slot->state, call->now);
			set_dirty(found->partition, found->slot, true);
		}
	}
}

/*
 * Finds all.  Who waited for a lock may come after somebody who read the clock
 * later: then it is read again.  What is still ahead of it shows that the
 * clock was set back.
 */
static void
find_all(Call *call, bool make)
{
	bool		late = false;

	for (int i = 0; i < call->n; i++)
	{
		Found	   *found = &call->found[i];

		find_counter(call, i, make && call->asks[i].cost > 0);
		for (int j = 0; j < i && found->slot != NULL; j++)
		{
			if (call->found[j].slot == found->slot && call->asks[j].cost > 0)
				found->before += Min(call->asks[j].cost, PG_INT64_MAX - found->before);
		}
		late = late || (found->slot != NULL && found->slot->state.last > call->now);
	}
	if (late)
	{
		call->now = Max(call->now, GetCurrentTimestamp());
		if (call->mode == LW_EXCLUSIVE)
			set_back(call);
	}
}

static bool
same_window(const Slot *slot, const KsWindow *window)
{
	return slot->algorithm == window->algorithm && slot->period == window->period && slot->n == window->n;
}

/*
 * The state of a counter for an ask's window, which may need to be converted;
 * into *converted then.
 */
static const KsWindowState *
state_for(const Slot *slot, const KsWindow *window, KsWindowState *converted)
{
	KsWindow	before = window_of(slot);

	if (same_window(slot, window))
		return &slot->state;
	*converted = slot->state;
	ks_window_convert(&before, window, converted);
	return converted;
}

static void
answer(const Call *call, int i)
{
	static const KsWindowState fresh = {0};
	KsLimitAsk *ask = &call->asks[i];
	const Found *found = &call->found[i];
	const KsWindowState *state = &fresh;
	KsWindowState converted;

	if (found->slot != NULL)
		state = state_for(found->slot, &ask->window, &converted);

	/* the charges of earlier asks are not made yet */
	ks_window_look(&ask->window, state, call->now,
				   ask->cost + Min(found->before, PG_INT64_MAX - ask->cost), &ask->answer);
	ask->charged_at = call->now;
	ask->blocked_until = 0;
	if (found->refused)
	{
		ask->answer.allowed = false;
		ask->answer.remaining = 0;
		ask->answer.retry_at = Max(ask->answer.retry_at, call->now + NO_ROOM_RETRY);
	}
	if (found->slot != NULL && found->slot->blocked_until > call->now)
	{
		ask->blocked_until = found->slot->blocked_until;
		ask->answer.allowed = false;
		ask->answer.retry_at = Max(ask->answer.retry_at, ask->blocked_until);
		ask->answer.reset_at = Max(ask->answer.reset_at, ask->blocked_until);
	}
}

/*
 * Answers all; whether all are allowed.
 */
static bool
answer_all(const Call *call)
{
	bool		allowed = true;

	for (int i = 0; i < call->n; i++)
	{
		const KsLimitAsk *ask = &call->asks[i];

		answer(call, i);
		if (ask->cost > 0 && !ask->shadow && !ask->answer.allowed)
			allowed = false;
	}
	return allowed;
}

static void
use_window(Slot *slot, const KsWindow *window)
{
	KsWindow	before = window_of(slot);

	ks_window_convert(&before, window, &slot->state);
	slot->algorithm = (uint8) window->algorithm;
	slot->n = window->n;
	slot->period = window->period;
}

static void
charge_all(const Call *call)
{
	for (int i = 0; i < call->n; i++)
	{
		const KsLimitAsk *ask = &call->asks[i];
		const Found *found = &call->found[i];

		if (found->slot == NULL || ask->cost == 0)
			continue;
		if (!same_window(found->slot, &ask->window))
			use_window(found->slot, &ask->window);
		ks_window_charge(&ask->window, &found->slot->state, call->now, ask->cost);
		set_dirty(found->partition, found->slot, true);
		found->slot->unsaved += ask->cost;
		if (ask->overflowed)
			found->partition->overflowed++;
	}
}

/*
 * Nothing was charged: what an allowed ask would have left is still there, and
 * so is the room of new counters.
 */
static void
charge_none(const Call *call)
{
	for (int i = 0; i < call->n; i++)
	{
		KsLimitAsk *ask = &call->asks[i];

		if (ask->answer.allowed)
			ask->answer.remaining += ask->cost + call->found[i].before;
		if (call->found[i].made)
			free_slot(call->found[i].partition, call->found[i].slot);
	}
}

bool
ks_limit_consume(KsLimitAsk *asks, int n, TimestampTz now)
{
	Call		call;
	bool		allowed;

	begin_call(&call, asks, n, LW_EXCLUSIVE, now);
	find_all(&call, true);
	allowed = answer_all(&call);
	if (allowed)
	{
		charge_all(&call);
		partitions[partition_of(asks[0].hash)].partition.allowed++;
	}
	else
	{
		charge_none(&call);
		partitions[partition_of(asks[0].hash)].partition.denied++;
	}
	end_call(&call);
	return allowed;
}

void
ks_limit_look(KsLimitAsk *asks, int n, TimestampTz now)
{
	Call		call;

	begin_call(&call, asks, n, LW_SHARED, now);
	find_all(&call, false);
	(void) answer_all(&call);
	end_call(&call);
}

/* Gives back by the number that the counter has, which may be another one than
 * the ask's: policy lowers it. */
static bool
refund_slot(Slot *slot, const KsLimitAsk *ask, TimestampTz charged_at, TimestampTz now)
{
	KsWindow	window = ask->window;

	window.n = slot->n;
	return same_window(slot, &window) &&
		ks_window_refund(&window, &slot->state, Max(now, slot->state.last), charged_at, ask->cost) > 0;
}

bool
ks_limit_refund(const KsLimitAsk *asks, int n, TimestampTz charged_at, TimestampTz now)
{
	bool		any = false;

	for (int i = 0; i < n; i++)
	{
		const KsLimitAsk *ask = &asks[i];
		const uint8 *hash = ask->overflowed ? ask->sink : ask->hash;
		int			number = ask->overflowed ? table->partitions : partition_of(hash);
		Partition  *partition = &partitions[number].partition;
		Slot	   *slot;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		slot = find_slot(partition, hash, MyDatabaseId);
		if (slot != NULL && refund_slot(slot, ask, charged_at, now))
		{
			set_urgent(partition, slot);
			slot->lifted = true;
			any = true;
		}
		LWLockRelease(&partition->lock);
	}
	return any;
}

bool
ks_limit_block(const KsLimitAsk *ask, TimestampTz until)
{
	const Whose whose = {.owner = owner_of_mine(), .database = MyDatabaseId, .workspace = ask->workspace};
	Partition  *partition = &partitions[partition_of(ask->hash)].partition;
	TimestampTz now = GetCurrentTimestamp();
	Slot	   *slot;
	bool		done = false;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	slot = find_slot(partition, ask->hash, MyDatabaseId);
	if (until > now)
	{
		if (slot == NULL)
			slot = make_slot(partition, find_room(partition, ask->hash, now), ask->hash, &whose,
							 &ask->window, false, now);
		done = slot != NULL;
	}
	else
		done = slot != NULL && slot->blocked_until > now;
	if (done)
	{
		/* a shorter block than before lifts some of it */
		if (until < slot->blocked_until)
			slot->lifted = true;
		slot->blocked_until = until > now ? until : 0;
		set_urgent(partition, slot);
	}
	LWLockRelease(&partition->lock);
	return done;
}


/*-------------------------------------------------------------------------
 * Saving
 *-------------------------------------------------------------------------
 */

#define FLAG_SINK			0x01
#define FLAG_DIRTY			0x02
#define FLAG_LIFTED			0x04

/* The bytes of KsLimitSaved.state. */
typedef struct Saved
{
	uint32		magic;
	pg_crc32c	crc;			/* of the hash and what follows */
	Oid			database;
	uint8		algorithm;
	uint8		place;			/* which of the slots from the hash on */
	uint8		flags;
	uint8		unused;
	uint8		workspace[KS_ID_LEN];
	int64		n;
	int64		period;
	TimestampTz blocked_until;
	KsWindowState state;
} Saved;

StaticAssertDecl(sizeof(Saved) <= KS_LIMIT_STATE_LEN, "state does not fit");

static pg_crc32c
saved_crc(const uint8 hash[KS_LIMIT_HASH_LEN], const Saved *saved)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, hash, KS_LIMIT_HASH_LEN);
	COMP_CRC32C(crc, (const char *) saved + offsetof(Saved, database), sizeof(Saved) - offsetof(Saved, database));
	FIN_CRC32C(crc);
	return crc;
}

static void
encode(const Partition *partition, const Slot *slot, KsLimitSaved *result)
{
	Saved		saved = {
		.magic = SAVED_MAGIC, .database = slot->database, .algorithm = slot->algorithm,
		.n = slot->n, .period = slot->period, .blocked_until = slot->blocked_until,
		.state = slot->state
	};

	while (probe(partition, slot->hash, saved.place) != slot)
		saved.place++;
	saved.flags = (is_sinks(partition) ? FLAG_SINK : 0) | (slot->dirty ? FLAG_DIRTY : 0) |
		(slot->lifted ? FLAG_LIFTED : 0);
	memcpy(saved.workspace, slot->workspace, KS_ID_LEN);
	saved.crc = saved_crc(slot->hash, &saved);
	memset(result, 0, sizeof(KsLimitSaved));
	memcpy(result->hash, slot->hash, KS_LIMIT_HASH_LEN);
	memcpy(result->state, &saved, sizeof(saved));
}

static bool
decode(const KsLimitSaved *from, Saved *saved)
{
	memcpy(saved, from->state, sizeof(Saved));
	return saved->magic == SAVED_MAGIC && saved->crc == saved_crc(from->hash, saved) &&
		saved->algorithm >= KS_WINDOW_SLIDING && saved->algorithm <= KS_WINDOW_GCRA &&
		saved->place < PROBES && saved->n >= 1 && saved->n <= KS_WINDOW_N_MAX &&
		(saved->period >= 1 || saved->algorithm == KS_WINDOW_CALENDAR) && OidIsValid(saved->database);
}

static Partition *
partition_of_saved(const KsLimitSaved *from, const Saved *saved)
{
	if (saved->flags & FLAG_SINK)
		return &partitions[table->partitions].partition;
	return &partitions[partition_of(from->hash)].partition;
}

static bool
saved_is_over(const Saved *saved, TimestampTz now)
{
	KsWindow	window = {.algorithm = saved->algorithm, .n = saved->n, .period = saved->period};

	return saved->blocked_until <= now && ks_window_is_fresh(&window, &saved->state, now);
}

/*
 * Puts a saved counter into the table, unless it is there or over.  It had
 * room once, so it gets it again, and in its place if that is free: then all
 * fit that fitted before.  False: it does not fit.  The caller holds the
 * partition's lock, or is alone.
 */
static bool
put(Partition *partition, int owner, const KsLimitSaved *from, const Saved *saved, TimestampTz now)
{
	const Whose whose = {.owner = owner, .database = saved->database, .workspace = saved->workspace};
	KsWindow	window = {.algorithm = saved->algorithm, .n = saved->n, .period = saved->period};
	Slot	   *slot;

	if (find_slot(partition, from->hash, saved->database) != NULL)
		return true;
	if (!(saved->flags & FLAG_LIFTED) && saved_is_over(saved, now))
		return true;

	slot = probe(partition, from->hash, saved->place);
	if (OidIsValid(slot->database))
		slot = find_room(partition, from->hash, now);
	slot = make_slot(partition, slot, from->hash, &whose, &window, true, now);
	if (slot == NULL)
		return false;
	slot->blocked_until = saved->blocked_until;
	slot->state = saved->state;
	slot->lifted = (saved->flags & FLAG_LIFTED) != 0;
	set_dirty(partition, slot, (saved->flags & FLAG_DIRTY) != 0);
	return true;
}

/*
 * Where ks_limit_next_dirty() goes on, in this process.
 */
static int	next_partition = 0;
static uint32 next_slot = 0;
static uint32 passes = 0;

/* Each pass saves all that changed in some of the partitions. */
static bool
is_due(const Slot *slot)
{
	return slot->unsaved >= slot->n / SAVE_SHARE || (next_partition + passes) % SAVE_PASSES == 0;
}

int
ks_limit_next_dirty(KsLimitSaved *saved, int max)
{
	int			n = 0;

	if (next_partition == 0 && next_slot == 0)
		passes++;

	for (; next_partition <= table->partitions; next_partition++, next_slot = 0)
	{
		Partition  *partition = &partitions[next_partition].partition;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		if (partition->dirty == 0)
			next_slot = partition->size;
		for (; next_slot < partition->size && n < max; next_slot++)
		{
			Slot	   *slot = &partition->slots[next_slot].slot;

			if (!slot->dirty || slot->database != MyDatabaseId || !is_due(slot))
				continue;
			set_dirty(partition, slot, false);
			slot->lifted = false;
			encode(partition, slot, &saved[n++]);
		}
		LWLockRelease(&partition->lock);
		if (n == max)
			return n;
	}
	next_partition = 0;
	return n;
}

void
ks_limit_not_saved(void)
{
	for (int i = 0; i <= table->partitions; i++)
	{
		Partition  *partition = &partitions[i].partition;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		for (uint32 j = 0; j < partition->size; j++)
		{
			if (partition->slots[j].slot.database == MyDatabaseId)
				set_urgent(partition, &partition->slots[j].slot);
		}
		LWLockRelease(&partition->lock);
	}
	next_partition = 0;
	next_slot = 0;
}

bool
ks_limit_restore(const KsLimitSaved *from)
{
	int			owner = owner_of_mine();
	TimestampTz now = GetCurrentTimestamp();
	Saved		saved;
	Partition  *partition;

	if (!decode(from, &saved) || saved.database != MyDatabaseId)
		return false;
	partition = partition_of_saved(from, &saved);
	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	(void) put(partition, owner, from, &saved, now);
	LWLockRelease(&partition->lock);
	return true;
}

bool
ks_limit_saved_is_over(const KsLimitSaved *from, TimestampTz now)
{
	Saved		saved;

	return !decode(from, &saved) || saved.database != MyDatabaseId || saved_is_over(&saved, now);
}


/*-------------------------------------------------------------------------
 * The file: a FileHeader, the databases that are loaded, the counters, and a
 * checksum over all of it.  Numbers are in the machine's order: only this
 * server reads it.
 *-------------------------------------------------------------------------
 */

typedef struct FileHeader
{
	uint32		magic;
	uint32		databases;
	uint64		slots;
} FileHeader;

typedef struct CheckedFile
{
	FILE	   *file;
	pg_crc32c	crc;			/* of what was read or written */
	bool		failed;
} CheckedFile;

static void
write_checked(CheckedFile *out, const void *data, size_t len)
{
	COMP_CRC32C(out->crc, data, len);
	if (!out->failed && fwrite(data, len, 1, out->file) != 1)
		out->failed = true;
}

static bool
read_checked(CheckedFile *in, void *data, size_t len)
{
	if (in->failed || fread(data, len, 1, in->file) != 1)
	{
		in->failed = true;
		return false;
	}
	COMP_CRC32C(in->crc, data, len);
	return true;
}

/* Alone in the server, without locks. */
static void
write_content(CheckedFile *out)
{
	TimestampTz now = GetCurrentTimestamp();
	FileHeader	header = {.magic = FILE_MAGIC};
	pg_crc32c	crc;

	for (int i = 0; i < ks_max_databases; i++)
		header.databases += pg_atomic_read_u32(&table->databases[i].loaded);
	for (int pass = 0; pass < 2; pass++)
	{
		/* counts first */
		if (pass == 1)
		{
			write_checked(out, &header, sizeof(header));
			for (int i = 0; i < ks_max_databases; i++)
			{
				if (pg_atomic_read_u32(&table->databases[i].loaded))
					write_checked(out, &table->databases[i].oid, sizeof(Oid));
			}
		}
		for (int i = 0; i <= table->partitions; i++)
		{
			const Partition *partition = &partitions[i].partition;

			for (uint32 j = 0; j < partition->size; j++)
			{
				const Slot *slot = &partition->slots[j].slot;
				KsLimitSaved saved;

				if (!OidIsValid(slot->database) || is_over(slot, now))
					continue;
				if (pass == 0)
				{
					header.slots++;
					continue;
				}
				encode(partition, slot, &saved);
				write_checked(out, &saved, sizeof(saved));
			}
		}
	}
	crc = out->crc;
	FIN_CRC32C(crc);
	write_checked(out, &crc, sizeof(crc));
}

/*
 * Whether a process ended, at once, while it changed a counter.
 */
static bool
any_locked(void)
{
	for (int i = 0; i <= table->partitions; i++)
	{
		if (!LWLockConditionalAcquire(&partitions[i].partition.lock, LW_SHARED))
			return true;
		LWLockRelease(&partitions[i].partition.lock);
	}
	return false;
}

/*
 * In the postmaster, when all its processes have ended: on_shmem_exit.  Not
 * when something crashed, for then the table may be half changed.
 */
static void
write_file(int code, Datum arg pg_attribute_unused())
{
	CheckedFile out = {0};

	if (code != 0 || table == NULL || any_locked())
		return;
	out.file = AllocateFile(FILE_NAME_NEW, PG_BINARY_W);
	if (out.file != NULL)
	{
		INIT_CRC32C(out.crc);
		write_content(&out);
		if (FreeFile(out.file) == 0 && !out.failed)
		{
			(void) durable_rename(FILE_NAME_NEW, FILE_NAME, LOG);
			return;
		}
	}
	ereport(LOG,
			errcode_for_file_access(),
			errmsg("could not write file \"%s\": %m", FILE_NAME_NEW));
	unlink(FILE_NAME_NEW);
}

static bool
read_databases(CheckedFile *in, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		Oid			oid;
		int			owner;

		if (!read_checked(in, &oid, sizeof(oid)) || !OidIsValid(oid))
			return false;
		owner = owner_of(oid);
		if (owner < ks_max_databases)
			pg_atomic_write_u32(&table->databases[owner].loaded, 1);
	}
	return true;
}

static bool
read_slots(CheckedFile *in, uint64 n)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		lost = 0;

	for (uint64 i = 0; i < n; i++)
	{
		KsLimitSaved record;
		Saved		saved;

		if (!read_checked(in, &record, sizeof(record)) || !decode(&record, &saved))
			return false;
		if (!put(partition_of_saved(&record, &saved), owner_of(saved.database), &record, &saved, now))
			lost++;
	}
	if (lost > 0)
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("keystone.limit_max_keys has no room for " UINT64_FORMAT " counters of limits", lost));
	return true;
}

static bool
read_content(CheckedFile *in)
{
	FileHeader	header;
	pg_crc32c	expected;
	pg_crc32c	crc;

	if (!read_checked(in, &header, sizeof(header)) || header.magic != FILE_MAGIC ||
		!read_databases(in, header.databases) || !read_slots(in, header.slots))
		return false;
	expected = in->crc;
	FIN_CRC32C(expected);
	return read_checked(in, &crc, sizeof(crc)) && EQ_CRC32C(crc, expected) && fgetc(in->file) == EOF;
}

/*
 * In the postmaster, before it has any processes.  The file goes at once, so
 * that it does not come back after a crash, when it is old.
 */
static void
read_file(void)
{
	CheckedFile in = {0};

	in.file = AllocateFile(FILE_NAME, PG_BINARY_R);
	if (in.file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					errcode_for_file_access(),
					errmsg("could not read file \"%s\": %m", FILE_NAME));
		return;
	}
	INIT_CRC32C(in.crc);
	if (!read_content(&in))
	{
		ereport(LOG,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("ignoring damaged file \"%s\"", FILE_NAME),
				errdetail("Limits count from what was saved in the databases."));
		init_table(table->directory_lock.lock.tranche);
	}
	FreeFile(in.file);
	(void) durable_unlink(FILE_NAME, LOG);
}


/*-------------------------------------------------------------------------
 * Others
 *-------------------------------------------------------------------------
 */

void
ks_limit_forget_database(Oid database)
{
	for (int i = 0; i <= table->partitions; i++)
	{
		Partition  *partition = &partitions[i].partition;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		for (uint32 j = 0; j < partition->size; j++)
		{
			if (partition->slots[j].slot.database == database)
				free_slot(partition, &partition->slots[j].slot);
		}
		LWLockRelease(&partition->lock);
	}

	/* sessions of this database remember its place */
	LWLockAcquire(&table->directory_lock.lock, LW_EXCLUSIVE);
	for (int i = 0; i < ks_max_databases; i++)
	{
		if (table->databases[i].oid != database)
			continue;
		pg_atomic_write_u32(&table->databases[i].loaded, 0);
		if (database != MyDatabaseId)
			table->databases[i].oid = InvalidOid;
	}
	LWLockRelease(&table->directory_lock.lock);
}

void
ks_limit_get_stats(KsLimitStats *stats)
{
	TimestampTz now = GetCurrentTimestamp();

	memset(stats, 0, sizeof(KsLimitStats));
	stats->capacity = table->capacity;
	stats->entries = pg_atomic_read_u32(&table->used);
	for (int i = 0; i <= table->partitions; i++)
	{
		Partition  *partition = &partitions[i].partition;

		LWLockAcquire(&partition->lock, LW_SHARED);
		stats->allowed += partition->allowed;
		stats->denied += partition->denied;
		stats->overflowed += partition->overflowed;
		stats->dirty += partition->dirty;
		for (uint32 j = 0; j < partition->size; j++)
		{
			const Slot *slot = &partition->slots[j].slot;

			if (!OidIsValid(slot->database))
				continue;
			if (slot->database == MyDatabaseId && !is_sinks(partition))
				stats->mine++;
			if (slot->blocked_until > now)
				stats->blocked++;
		}
		LWLockRelease(&partition->lock);
	}
}
