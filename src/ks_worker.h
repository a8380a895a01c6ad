/*-------------------------------------------------------------------------
 *
 * ks_worker.h
 *	  The launcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_WORKER_H
#define KS_WORKER_H

#include "keystone.h"

/* Registers the launcher.  Call it from _PG_init(). */
extern void ks_worker_init(void);

/* Entry point of the launcher, named in its registration. */
extern PGDLLEXPORT void ks_launcher_main(Datum arg);

#endif							/* KS_WORKER_H */
