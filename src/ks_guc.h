/*-------------------------------------------------------------------------
 *
 * ks_guc.h
 *	  Every setting of Keystone.  docs/configuration.md is checked against
 *	  the server by a test.
 *
 * All of them are PGC_SIGHUP: what guards secrets is set in the server's
 * configuration, not by a session, and not by whoever was granted SET on a
 * parameter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_GUC_H
#define KS_GUC_H

#include "keystone.h"

extern char *ks_root_key_file;	/* path, empty when unset */
extern char *ks_root_key_command;	/* shell command, empty when unset */
extern int	ks_root_key_timeout;	/* seconds for the command */
extern int	ks_key_cache_ttl;	/* seconds, 0 keeps no key */
extern bool ks_hints;
extern int	ks_max_value_size;	/* bytes (shown in kB) */
extern char *ks_authenticators; /* comma-separated role names */
extern char *ks_trusted_definers;	/* comma-separated role names */

/* Defines the settings.  Call it once, from _PG_init(). */
extern void ks_guc_init(void);

#endif							/* KS_GUC_H */
