/*-------------------------------------------------------------------------
 *
 * ks_guard.h
 *	  Keeps others from attaching triggers to Keystone's tables, and from
 *	  truncating them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_GUARD_H
#define KS_GUARD_H

#include "keystone.h"

/* Installs the hook.  Call it from _PG_init(). */
extern void ks_guard_init(void);

#endif							/* KS_GUARD_H */
