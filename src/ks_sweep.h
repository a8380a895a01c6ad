/*-------------------------------------------------------------------------
 *
 * ks_sweep.h
 *	  The comparison of all rows with the audit log that goes on all the time:
 *	  the housekeeper's part, and what health shows of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SWEEP_H
#define KS_SWEEP_H

#include "keystone.h"

/* A slice of work, in a transaction, and what follows its commit. */
extern bool ks_sweep(void);
extern void ks_sweep_committed(void);

/* Milliseconds until the next slice. */
extern int	ks_sweep_pause;

/* What a row of health says; palloc'd. */
extern char *ks_sweep_health(bool *ok);

#endif							/* KS_SWEEP_H */
