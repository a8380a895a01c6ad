/*-------------------------------------------------------------------------
 *
 * ks_keycount.h
 *	  How often each version of a workspace's key has encrypted, since that
 *	  was saved last: counters in shared memory.
 *
 * The housekeeper reads them, saves them in a table, and takes off what it has
 * saved once that is committed.  A crash forgets what was not saved.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KEYCOUNT_H
#define KS_KEYCOUNT_H

#include "ks_shmem.h"

#define KS_KEYCOUNT_MAX		1024	/* versions that are counted at a time, in
									 * all databases */

/* Encryptions of one version in this database. */
typedef struct KsKeyCount
{
	uint8		workspace[KS_ID_LEN];
	uint32		version;
	uint64		n;
} KsKeyCount;

extern Size ks_keycount_shmem_size(void);
extern void ks_keycount_shmem_init(void *area, bool found);

/*
 * Counts n encryptions, whatever becomes of the transaction.  When all places
 * are taken they go uncounted, which ks_keycount_missed() says.
 */
extern void ks_keycount_add(const uint8 workspace[KS_ID_LEN], uint32 key_version, uint64 n);

/* The counts of this database, KS_KEYCOUNT_MAX at most.  Returns how many. */
extern int	ks_keycount_read(KsKeyCount *counts);

/* Takes off what was read and is saved now. */
extern void ks_keycount_saved(const KsKeyCount *counts, int n);

/* How many went uncounted since the server started, in all databases. */
extern uint64 ks_keycount_missed(void);

#endif							/* KS_KEYCOUNT_H */
