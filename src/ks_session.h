/*-------------------------------------------------------------------------
 *
 * ks_session.h
 *	  What the background processes that are connected to a database have in
 *	  common: signals, forced settings, transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SESSION_H
#define KS_SESSION_H

#include "keystone.h"

/*
 * Installs the signal handlers: SIGTERM ends the process at the next
 * CHECK_FOR_INTERRUPTS(), also within a wait for a standby; SIGHUP sets
 * ConfigReloadPending; SIGINT cancels when a lock timeout has raised it, and
 * does nothing for pg_cancel_backend().  Call it before
 * BackgroundWorkerUnblockSignals().
 */
extern void ks_session_signals(void);

/*
 * Forces the settings on which a process depends, whatever ALTER DATABASE or
 * the configuration say, and prepares libcrypto.  Call it once, after
 * connecting; no reload changes the settings afterwards.
 */
extern void ks_session_force(void);

/* Whether this process is one of these. */
extern bool ks_session_is_worker(void);

/*
 * Begin and commit a transaction with a snapshot, in which what runs as the
 * superuser that the process is cannot change the session
 * (SECURITY_RESTRICTED_OPERATION).  After an error AbortCurrentTransaction()
 * is enough.
 */
extern void ks_session_begin(void);
extern void ks_session_commit(void);

#endif							/* KS_SESSION_H */
