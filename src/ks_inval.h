/*-------------------------------------------------------------------------
 *
 * ks_inval.h
 *	  News that a relation has changed, for every room that caches something.
 *
 * The server has ten places for such callbacks in a process, for itself and
 * all extensions together.  Keystone takes one of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_INVAL_H
#define KS_INVAL_H

#include "keystone.h"

#include "utils/inval.h"

/*
 * Has a function called with (Datum) 0 and the oid of each relation that
 * changes, InvalidOid for all of them, from now on.  It must not look into the
 * catalog, raise anything, or register another one.
 */
extern void ks_inval_register(RelcacheCallbackFunction callback);

#endif							/* KS_INVAL_H */
