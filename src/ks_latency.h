/*-------------------------------------------------------------------------
 *
 * ks_latency.h
 *	  How long reveals take, and how many calls there were: counters of each
 *	  database in shared memory, for the metrics.
 *
 * All are atomic and only grow; they begin at 0 with the server.  Whoever
 * reads them while others count may see some of what one call counts and not
 * yet the rest.  Nothing here waits or raises an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LATENCY_H
#define KS_LATENCY_H

#include "ks_shmem.h"

#include "portability/instr_time.h"

#define KS_LATENCY_BUCKETS	17	/* the last one has no upper end */

/* Refusals, told apart by what the caller got. */
typedef enum KsDenialKind
{
	KS_DENIAL_PERMISSION = 0,	/* 42501 */
	KS_DENIAL_NOT_FOUND,		/* PT404 */
	KS_DENIAL_CONFLICT,			/* PT409 */
	KS_DENIAL_SEALED,			/* PT423 */
	KS_DENIAL_PRECONDITION,		/* PT428 */
	KS_DENIAL_LIMITED,			/* PT429 */
	KS_DENIAL_DAMAGED,			/* XX001 */
	KS_DENIAL_KINDS
} KsDenialKind;

typedef struct KsLatencyCounts
{
	uint64		buckets[KS_LATENCY_BUCKETS];	/* calls, each in one bucket */
	uint64		sum_us;			/* of their durations, in microseconds */
	uint64		reveals;		/* values that were given out */
	uint64		denials[KS_DENIAL_KINDS];
} KsLatencyCounts;

extern Size ks_latency_shmem_size(void);
extern void ks_latency_shmem_init(void *area, bool found);

/* Around a call that gives values out; an error between them counts none. */
extern void ks_latency_begin(instr_time *start);
extern void ks_latency_end(const instr_time *start);

/* Counts a value that was given out, and a refusal by its SQLSTATE; one that
 * is no refusal is not counted. */
extern void ks_latency_revealed(void);
extern void ks_latency_denied(int sqlstate);

/* The counters of this database. */
extern void ks_latency_get(KsLatencyCounts *counts);

/* Upper end of a bucket but the last one, in seconds; they ascend. */
extern double ks_latency_bound(int bucket);

/* SQLSTATE of a kind of refusal; good until the next call. */
extern const char *ks_latency_sqlstate(KsDenialKind kind);

#endif							/* KS_LATENCY_H */
