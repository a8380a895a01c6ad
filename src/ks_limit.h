/*-------------------------------------------------------------------------
 *
 * ks_limit.h
 *	  Counters of limits, in one fixed table in shared memory.
 *
 * A counter is found by a keyed hash of database, limit, key and window.  One
 * call asks for several, and gets all or nothing: a refused call changes none.
 * Nothing here rolls back.  The table never grows; a counter that restrains
 * somebody is not evicted, and when there is no room an attempt counts against
 * a sink that all of its limit share.
 *
 * Room is divided: a workspace has at most keystone.limit_workspace_share per
 * cent of the table, all workspaces together three fifths, so that whoever has
 * several leaves room for what is nobody's, as the vault's own limits are; a
 * database has three quarters while another one has counters.
 *
 * Locks: one LWLock for each partition, taken in ascending order, the sinks'
 * last; under them plain memory work only.
 *
 * At a clean shutdown the table goes to a file (in the postmaster's exit), and
 * comes back from it.  After a crash each database's counters come back from
 * its table, as saved last, before the first attempt is answered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LIMIT_H
#define KS_LIMIT_H

#include "ks_shmem.h"
#include "ks_window.h"

#define KS_LIMIT_HASH_LEN	16
#define KS_LIMIT_ASKS_MAX	64	/* counters in one call */

extern Size ks_limit_shmem_size(void);
extern void ks_limit_shmem_init(void *area, bool found);

typedef struct KsLimitAsk
{
	uint8		hash[KS_LIMIT_HASH_LEN];
	uint8		sink[KS_LIMIT_HASH_LEN];	/* of the limit and window alone */
	uint8		workspace[KS_ID_LEN];	/* whose share of the table it takes;
										 * nil: the database's */
	KsWindow	window;
	int64		cost;			/* 0: looks only */
	bool		protect;		/* without room to count: refuse */
	bool		shadow;			/* never refuses, always counts */
	uint32		label;			/* the limit's number in this backend's
								 * definitions, for who reads the answer */

	/* answers */
	KsWindowAnswer answer;
	int64		blocked_until;	/* 0: not blocked */
	TimestampTz charged_at;		/* what ks_limit_refund() needs: now, or a
								 * little later */
	bool		overflowed;		/* counted by the sink; ks_limit_refund()
								 * needs it */
} KsLimitAsk;

/*
 * Asks for all: true when all are allowed, and charged; false when one is
 * refused: nothing is charged then.  Each gets its answer.  A backward step of
 * the clock neither gives back nor freezes.
 */
extern bool ks_limit_consume(KsLimitAsk *asks, int n, TimestampTz now);

/* The answers of a consumption without one; makes no counter. */
extern void ks_limit_look(KsLimitAsk *asks, int n, TimestampTz now);

/* Gives back; returns whether anything was given back.  That nobody gives back
 * the same twice is the caller's business. */
extern bool ks_limit_refund(const KsLimitAsk *asks, int n, TimestampTz charged_at, TimestampTz now);

/* Blocks a key until a time, or unblocks it (until 0).  False: no room, or
 * (unblock) not blocked. */
extern bool ks_limit_block(const KsLimitAsk *ask, TimestampTz until);

/* Whether this database's counters are there; if not, load them and say so. */
extern bool ks_limit_is_loaded(void);
extern void ks_limit_set_loaded(void);

/* Saving: the next counters of this database that changed since they were
 * saved, at most max; states are opaque, KS_LIMIT_STATE_LEN bytes each.  Fewer
 * than max: that was all, and the next call begins again.  When they cannot be
 * saved after all, ks_limit_not_saved() has all saved anew. */
#define KS_LIMIT_STATE_LEN	256
typedef struct KsLimitSaved
{
	uint8		hash[KS_LIMIT_HASH_LEN];
	uint8		state[KS_LIMIT_STATE_LEN];
} KsLimitSaved;

extern int	ks_limit_next_dirty(KsLimitSaved *saved, int max);
extern void ks_limit_not_saved(void);

/* Brings a saved counter back, unless it is there.  False: damaged, of another
 * version or database. */
extern bool ks_limit_restore(const KsLimitSaved *saved);

/* Whether a saved counter restrains nobody any more, or is damaged. */
extern bool ks_limit_saved_is_over(const KsLimitSaved *saved, TimestampTz now);

/* Frees the counters of a database that is dropped, or whose extension is. */
extern void ks_limit_forget_database(Oid database);

typedef struct KsLimitStats
{
	int64		entries;		/* in use, all databases */
	int64		capacity;
	int64		mine;			/* of this database */
	int64		blocked;
	int64		allowed;		/* attempts since the server started */
	int64		denied;
	int64		overflowed;
	int64		dirty;			/* not saved yet */
} KsLimitStats;

extern void ks_limit_get_stats(KsLimitStats *stats);

#endif							/* KS_LIMIT_H */
