/*-------------------------------------------------------------------------
 *
 * ks_latency.c
 *	  How long reveals take, and how many calls there were.
 *
 * Each database counts in the place of its slot.  A slot that changed hands
 * still has the counts of the database before: whoever counts first for the
 * new one claims the place and sets them to 0.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_latency.h"
#include "ks_slot.h"

typedef struct Place
{
	pg_atomic_uint32 database;	/* whose counts they are; InvalidOid: nobody's */
	pg_atomic_uint64 buckets[KS_LATENCY_BUCKETS];
	pg_atomic_uint64 sum_us;
	pg_atomic_uint64 reveals;
	pg_atomic_uint64 denials[KS_DENIAL_KINDS];
} Place;

static Place *places = NULL;	/* keystone.max_databases of them */
static Place *mine = NULL;		/* of this process's database, once found */

/* In microseconds, so that a duration is compared as an integer. */
static const uint64 bounds_us[KS_LATENCY_BUCKETS - 1] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000
};

static const int sqlstates[KS_DENIAL_KINDS] = {
	[KS_DENIAL_PERMISSION] = ERRCODE_INSUFFICIENT_PRIVILEGE,
	[KS_DENIAL_NOT_FOUND] = KS_ERRCODE_NOT_FOUND,
	[KS_DENIAL_CONFLICT] = KS_ERRCODE_CONFLICT,
	[KS_DENIAL_SEALED] = KS_ERRCODE_SEALED,
	[KS_DENIAL_PRECONDITION] = KS_ERRCODE_PRECONDITION,
	[KS_DENIAL_LIMITED] = KS_ERRCODE_LIMITED,
	[KS_DENIAL_DAMAGED] = ERRCODE_DATA_CORRUPTED,
};

Size
ks_latency_shmem_size(void)
{
	return mul_size(ks_max_databases, sizeof(Place));
}

static void
for_each_counter(Place *place, void (*visit) (pg_atomic_uint64 *counter))
{
	for (int i = 0; i < KS_LATENCY_BUCKETS; i++)
		visit(&place->buckets[i]);
	visit(&place->sum_us);
	visit(&place->reveals);
	for (int i = 0; i < KS_DENIAL_KINDS; i++)
		visit(&place->denials[i]);
}

static void
init_counter(pg_atomic_uint64 *counter)
{
	pg_atomic_init_u64(counter, 0);
}

static void
clear_counter(pg_atomic_uint64 *counter)
{
	pg_atomic_write_u64(counter, 0);
}

void
ks_latency_shmem_init(void *area, bool found)
{
	places = area;
	mine = NULL;
	for (int i = 0; !found && i < ks_max_databases; i++)
	{
		pg_atomic_init_u32(&places[i].database, InvalidOid);
		for_each_counter(&places[i], init_counter);
	}
}

/* The place of this database; NULL while it has no slot. */
static Place *
my_place(void)
{
	uint32		before;
	int			slot;

	if (mine != NULL && pg_atomic_read_u32(&mine->database) == MyDatabaseId)
		return mine;
	slot = ks_shmem_attached() && OidIsValid(MyDatabaseId) ? ks_event_slot_of(MyDatabaseId, false) : -1;
	if (slot < 0)
		return NULL;

	mine = &places[slot];
	before = pg_atomic_read_u32(&mine->database);
	if (before != MyDatabaseId && pg_atomic_compare_exchange_u32(&mine->database, &before, MyDatabaseId))
		for_each_counter(mine, clear_counter);
	return mine;
}

void
ks_latency_begin(instr_time *start)
{
	INSTR_TIME_SET_CURRENT(*start);
}

void
ks_latency_end(const instr_time *start)
{
	Place	   *place = my_place();
	instr_time	duration;
	uint64		us;
	int			bucket = 0;

	if (place == NULL)
		return;
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, *start);
	us = INSTR_TIME_GET_MICROSEC(duration);
	while (bucket < KS_LATENCY_BUCKETS - 1 && us > bounds_us[bucket])
		bucket++;
	pg_atomic_fetch_add_u64(&place->buckets[bucket], 1);
	pg_atomic_fetch_add_u64(&place->sum_us, (int64) us);
}

void
ks_latency_revealed(void)
{
	Place	   *place = my_place();

	if (place != NULL)
		pg_atomic_fetch_add_u64(&place->reveals, 1);
}

void
ks_latency_denied(int sqlstate)
{
	for (int kind = 0; kind < KS_DENIAL_KINDS; kind++)
	{
		Place	   *place = sqlstates[kind] == sqlstate ? my_place() : NULL;

		if (place != NULL)
			pg_atomic_fetch_add_u64(&place->denials[kind], 1);
	}
}

void
ks_latency_get(KsLatencyCounts *counts)
{
	Place	   *place = my_place();

	memset(counts, 0, sizeof(*counts));
	if (place == NULL)
		return;
	for (int i = 0; i < KS_LATENCY_BUCKETS; i++)
		counts->buckets[i] = pg_atomic_read_u64(&place->buckets[i]);
	counts->sum_us = pg_atomic_read_u64(&place->sum_us);
	counts->reveals = pg_atomic_read_u64(&place->reveals);
	for (int i = 0; i < KS_DENIAL_KINDS; i++)
		counts->denials[i] = pg_atomic_read_u64(&place->denials[i]);
}

double
ks_latency_bound(int bucket)
{
	return (double) bounds_us[bucket] / USECS_PER_SEC;
}

const char *
ks_latency_sqlstate(KsDenialKind kind)
{
	return unpack_sql_state(sqlstates[kind]);
}
