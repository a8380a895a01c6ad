/*-------------------------------------------------------------------------
 *
 * ks_launcher_keys.h
 *	  The launcher's loading of the root keyring.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LAUNCHER_KEYS_H
#define KS_LAUNCHER_KEYS_H

#include "ks_command.h"

/* Prepares the launcher to load; a load is wanted from the start. */
extern void ks_launcher_keys_init(void);

/* Settings were reloaded: a load is wanted. */
extern void ks_launcher_keys_reload(void);

/* Does what is due, without blocking.  May raise errors, after which
 * ks_launcher_keys_fail() must be called. */
extern void ks_launcher_keys_run(void);

/* Gives the load up, and seals. */
extern void ks_launcher_keys_fail(void);

/* The key command that may be running, for ks_command_wait(). */
extern const KsCommand *ks_launcher_keys_command(void);

#endif							/* KS_LAUNCHER_KEYS_H */
