/*-------------------------------------------------------------------------
 *
 * ks_sleep.h
 *	  Sleeping until another process wakes one, for less than a latch costs.
 *
 * Every durable reveal sleeps once and is woken once.  Where the server's own
 * semaphores are unnamed POSIX ones, such a semaphore costs a fraction of a
 * latch's signal; elsewhere it is the latch.  A semaphore does not notice
 * interrupts: nobody sleeps on it for longer than KS_SLEEP_MS at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SLEEP_H
#define KS_SLEEP_H

#include "keystone.h"

#define KS_SLEEP_MS		10

extern Size ks_sleep_size(int procs);
extern void ks_sleep_init(void *area, int procs, bool found);

/* Forgets wake-ups that were meant for an earlier sleep. */
extern void ks_sleep_forget(void);

/* Sleeps until woken, at most ms and at most KS_SLEEP_MS.  May return early:
 * the caller looks at what it waits for, and at interrupts. */
extern void ks_sleep(long ms);

/* Wakes a process, by its proc number. */
extern void ks_sleep_wake(int proc);

#endif							/* KS_SLEEP_H */
