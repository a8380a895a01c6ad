/*-------------------------------------------------------------------------
 *
 * ks_shmem.h
 *	  The one shared-memory area.  Each room that needs a part of it gives
 *	  its size and initialises it; this room sums, requests and attaches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SHMEM_H
#define KS_SHMEM_H

#include "keystone.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

/* Locks of the "keystone" tranche. */
typedef enum KsLock
{
	KS_LOCK_KEYRING = 0,
	KS_LOCK_DATABASES,
	KS_LOCK_JWKS,
	KS_LOCK_LOCKOUT,
	KS_LOCK_NEAR,
	KS_LOCK_KEYCOUNT,
	KS_LOCK_KMS,
	KS_LOCK_COUNT				/* from here on one for each ring:
								 * KS_LOCK_COUNT + slot */
} KsLock;

typedef struct KsShmemPart
{
	const char *name;
	Size		(*size) (void);
	void		(*init) (void *area, bool found);	/* attach; initialise
													 * unless found */
} KsShmemPart;

/* Installs the request and startup hooks.  parts is static, ended by a NULL name. */
extern void ks_shmem_init(const KsShmemPart *parts);

/* True when the library was preloaded and the area is attached. */
extern bool ks_shmem_attached(void);

extern LWLock *ks_lock(KsLock lock);

/*
 * Waits, interruptibly and without a lock, until the launcher has published
 * something for the first time: until generation is not 0.  Up to 5 seconds
 * from the first call on; *deadline is static and 0 at first.
 */
extern void ks_shmem_await(pg_atomic_uint64 *generation, ConditionVariable *published,
						   TimestampTz *deadline);

#endif							/* KS_SHMEM_H */
