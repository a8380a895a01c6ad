/*-------------------------------------------------------------------------
 *
 * ks_lockout.h
 *	  Failed authentications, counted in shared memory by what was tried: an
 *	  API key's prefix, a client's address.
 *
 * A fixed table; an entry that is a minute old is free.  When the table is
 * full the failure counts against a sink that all share.
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
 * Counts a failure for a subject (kind: "prefix" or "address", of this
 * database).  Returns 0, or the seconds after which the next failure will be
 * answered by itself again when there were more than
 * keystone.auth_failures_per_minute.
 */
extern int	ks_lockout_failed(const char *kind, const char *subject, TimestampTz now);

#endif							/* KS_LOCKOUT_H */
