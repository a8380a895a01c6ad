/*-------------------------------------------------------------------------
 *
 * ks_supervise.h
 *	  The launcher's supervision of databases, their workers and the runner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SUPERVISE_H
#define KS_SUPERVISE_H

#include "keystone.h"

#include "datatype/timestamp.h"

/* Prepares the launcher, which is connected to shared catalogs. */
extern void ks_supervise_init(void);

/*
 * Does what is due, without blocking; woken says that something may have
 * changed.  Returns when there is something to do again.  May raise errors,
 * after which ks_supervise_fail() must be called.
 */
extern TimestampTz ks_supervise(bool woken);

/* Cleans up, and puts supervision off for a moment. */
extern void ks_supervise_fail(void);

#endif							/* KS_SUPERVISE_H */
