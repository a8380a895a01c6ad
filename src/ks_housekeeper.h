/*-------------------------------------------------------------------------
 *
 * ks_housekeeper.h
 *	  The background process that does for a database what can be done later.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_HOUSEKEEPER_H
#define KS_HOUSEKEEPER_H

#include "keystone.h"

/* Entry point of the background worker; the argument is the slot's number. */
extern PGDLLEXPORT void ks_housekeeper_main(Datum main_arg);

#endif							/* KS_HOUSEKEEPER_H */
