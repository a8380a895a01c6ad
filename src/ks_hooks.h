/*-------------------------------------------------------------------------
 *
 * ks_hooks.h
 *	  Keeps secrets that stand in a statement out of the server log and of
 *	  pg_stat_activity.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_HOOKS_H
#define KS_HOOKS_H

#include "keystone.h"

/* Installs the hooks.  Call it from _PG_init(). */
extern void ks_hooks_init(void);

/*
 * Says that the statement that runs now holds a secret: each function that
 * takes one calls it first, with its own name ("store").  What the server
 * logs about this statement is redacted from then on, up to the client's next
 * message, and pg_stat_activity shows the function's name instead of the
 * statement.  Costs nothing when repeated.  Raises nothing.
 */
extern void ks_hooks_mark_secret(const char *function);

#endif							/* KS_HOOKS_H */
