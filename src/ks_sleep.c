/*-------------------------------------------------------------------------
 *
 * ks_sleep.c
 *	  Sleeping until another process wakes one.
 *
 * Semaphores belong to proc numbers, not to processes: a wake-up that comes too
 * late wakes the number's next owner early, which is harmless.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <semaphore.h>
#include <time.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#include "ks_sleep.h"

#ifdef USE_UNNAMED_POSIX_SEMAPHORES

/* A clock that is set back must not make a sleep longer. */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 30)
#define KS_SLEEP_CLOCK	CLOCK_MONOTONIC
#define ks_sem_wait(semaphore, until) sem_clockwait(semaphore, CLOCK_MONOTONIC, until)
#else
#define KS_SLEEP_CLOCK	CLOCK_REALTIME
#define ks_sem_wait(semaphore, until) sem_timedwait(semaphore, until)
#endif

static sem_t *semaphores = NULL;	/* one for each process */

Size
ks_sleep_size(int procs)
{
	return procs * sizeof(sem_t);
}

void
ks_sleep_init(void *area, int procs, bool found)
{
	semaphores = area;
	for (int i = 0; !found && i < procs; i++)
	{
		if (sem_init(&semaphores[i], 1, 0) != 0)
			ereport(FATAL,
					errcode_for_file_access(),
					errmsg("could not create semaphores: %m"));
	}
}

void
ks_sleep_forget(void)
{
	while (sem_trywait(&semaphores[KS_MY_PROC_NUMBER]) == 0)
		;
}

/* The result is of no interest: woken, time over or interrupted. */
void
ks_sleep(long ms)
{
	struct timespec until;

	clock_gettime(KS_SLEEP_CLOCK, &until);
	until.tv_nsec += Min(ms, KS_SLEEP_MS) * 1000000;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	(void) ks_sem_wait(&semaphores[KS_MY_PROC_NUMBER], &until);
	pgstat_report_wait_end();
	if (!PostmasterIsAlive())
		proc_exit(1);
}

void
ks_sleep_wake(int proc)
{
	(void) sem_post(&semaphores[proc]);
}

#else							/* latches */

Size
ks_sleep_size(int procs)
{
	(void) procs;
	return 0;
}

void
ks_sleep_init(void *area, int procs, bool found)
{
	(void) area;
	(void) procs;
	(void) found;
}

void
ks_sleep_forget(void)
{
}

void
ks_sleep(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(ms, KS_SLEEP_MS),
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

void
ks_sleep_wake(int proc)
{
	SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

#endif
