/*-------------------------------------------------------------------------
 *
 * ks_shmem.c
 *	  The one shared-memory area and its locks.
 *
 * Each part gets an area of its own, known to the server by the part's name.
 * Sizes are fixed when the server starts.  After a crash of one process the
 * server makes all shared memory anew, and the startup hook runs again: no
 * part may assume that what its area held before is still there.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_guc.h"
#include "ks_shmem.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define TRANCHE		"keystone"
#define FIRST_LOAD_WAIT_MS	5000

static const KsShmemPart *parts = NULL;
static LWLockPadded *locks = NULL;	/* NULL until attached */

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
request_areas(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	for (const KsShmemPart *part = parts; part->name != NULL; part++)
		RequestAddinShmemSpace(MAXALIGN(part->size()));
	RequestNamedLWLockTranche(TRANCHE, KS_LOCK_COUNT + ks_max_databases);
}

static void
attach_areas(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	/* in case this is a restart within the postmaster */
	locks = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (const KsShmemPart *part = parts; part->name != NULL; part++)
	{
		bool		found;
		void	   *area = ShmemInitStruct(part->name, part->size(), &found);

		part->init(area, found);
	}
	locks = GetNamedLWLockTranche(TRANCHE);
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Sees to it that each part has its area before the first backend starts.
 * Call it from _PG_init() while shared_preload_libraries is processed.
 * shmem_parts is static.
 */
void
ks_shmem_init(const KsShmemPart *shmem_parts)
{
	parts = shmem_parts;

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_areas;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_areas;
}

/*
 * False in a server that did not preload the library.
 */
bool
ks_shmem_attached(void)
{
	return locks != NULL;
}

/*
 * The lock, in shared memory.  Only when attached.
 */
LWLock *
ks_lock(KsLock lock)
{
	Assert(locks != NULL && lock < KS_LOCK_COUNT + (unsigned) ks_max_databases);
	return &locks[lock].lock;
}

void
ks_shmem_await(pg_atomic_uint64 *generation, ConditionVariable *published, TimestampTz *deadline)
{
	if (*deadline == 0)
		*deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FIRST_LOAD_WAIT_MS);

	ConditionVariablePrepareToSleep(published);
	while (pg_atomic_read_u64(generation) == 0)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), *deadline);

		if (left <= 0)
			break;
		ConditionVariableTimedSleep(published, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}
