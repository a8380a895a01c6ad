/*-------------------------------------------------------------------------
 *
 * ks_appender.h
 *	  The background process that alone writes a database's audit log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_APPENDER_H
#define KS_APPENDER_H

#include "keystone.h"

/* Entry point of the background worker; the argument is the slot's number. */
extern PGDLLEXPORT void ks_appender_main(Datum slot);

#endif							/* KS_APPENDER_H */
