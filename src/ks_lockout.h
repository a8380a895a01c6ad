/*-------------------------------------------------------------------------
 *
 * ks_lockout.h
 *	  Failed authentications, counted in shared memory by what was tried: an
 *	  API key's prefix, a client's address.
 *
 * Who fails too often in a minute is locked: further failures are only counted
 * until the lock ends, which lasts longer each time.  A fixed table; an entry
 * that is forgotten is free.  When the table is full the failure counts against
 * a sink that all share.  Nothing here keeps a valid token out.
 *
 * Lock: KS_LOCK_LOCKOUT protects the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LOCKOUT_H
#define KS_LOCKOUT_H

#include "ks_shmem.h"

#include "datatype/timestamp.h"

extern Size ks_lockout_shmem_size(void);
extern void ks_lockout_shmem_init(void *area, bool found);

/*
 * Counts a failure of a subject (kind: "prefix" or "address", of this
 * database).  Returns 0, or when the subject is locked, perhaps by this very
 * failure, the seconds until the lock ends.
 */
extern int	ks_lockout_failed(const char *kind, const char *subject, TimestampTz now);

#endif							/* KS_LOCKOUT_H */
