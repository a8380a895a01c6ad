/*-------------------------------------------------------------------------
 *
 * ks_begin.h
 *	  Beginning the audit log of a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_BEGIN_H
#define KS_BEGIN_H

#include "keystone.h"

/*
 * Has the instance row written in a transaction of its own, and waits for it.
 * May leave it unwritten, when no process could be started, or when the
 * extension itself is not committed yet.
 */
extern void ks_begin_log(void);

extern PGDLLEXPORT void ks_begin_main(Datum database);

#endif							/* KS_BEGIN_H */
