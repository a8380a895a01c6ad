/*-------------------------------------------------------------------------
 *
 * ks_utility.h
 *	  Keeps Keystone's workers out of the way of statements about whole
 *	  databases, and keeps others from dropping the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_UTILITY_H
#define KS_UTILITY_H

#include "keystone.h"

/* Installs the hooks.  Call it from _PG_init(). */
extern void ks_utility_init(void);

#endif							/* KS_UTILITY_H */
