/*-------------------------------------------------------------------------
 *
 * ks_guc.h
 *	  Every setting of Keystone.  docs/configuration.md is checked against
 *	  the server by a test.
 *
 * All of them are PGC_SIGHUP, or PGC_POSTMASTER for sizes: what guards secrets is set in the server's
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
extern char *ks_jwt_keys_file;	/* path, empty when unset */
extern char *ks_jwt_issuer;		/* empty: any */
extern char *ks_jwt_audience;	/* empty: any */
extern bool ks_trust_claims;
extern char *ks_platform_service;	/* a principal's uuid, empty when unset */
extern int	ks_auth_failures_per_minute;

extern int	ks_key_max_age;		/* days, 0: no limit */
extern int	ks_key_max_encryptions; /* millions, 0: no limit */
extern char *ks_kms_command;	/* shell command, empty when unset */
extern int	ks_kms_timeout;		/* seconds for one call of it */
extern int	ks_kms_cache_ttl;	/* seconds */
extern int	ks_kms_cache_size;	/* keys, and circuits */
extern char *ks_import_key_file;	/* path, empty when unset */
extern int	ks_reconcile_interval;	/* seconds, 0: never */

extern int	ks_limit_max_keys;	/* entries of the table of limits */
extern int	ks_limit_workspace_share;	/* per cent of it that one workspace
										 * may take */
extern int	ks_limit_flush_interval;	/* milliseconds */
extern char *ks_reveal_limit;	/* windows, for each principal; empty: none */
extern char *ks_workspace_reveal_limit; /* windows, for each workspace */
extern char *ks_default_plan;
extern int	ks_near_soft;		/* per cent of a limit, quota or budget */

/* Counts up whenever one of the two windows above is set. */
extern uint64 ks_limit_settings_generation;

/* Counts up whenever one of the two lists of roles is set. */
extern uint64 ks_role_lists_generation;

extern int	ks_max_databases;
extern int	ks_audit_ring_size; /* kB */
extern int	ks_audit_timeout;	/* milliseconds */
extern char *ks_audit_origin;
extern char *ks_audit_key_dir;	/* path, empty when unset */
extern int	ks_audit_key_period;	/* seconds, 0: for ever */
extern char *ks_audit_anchor_dir;	/* path, empty when unset */
extern char *ks_audit_anchor_command;	/* shell command, empty when unset */
extern int	ks_audit_anchor_timeout;	/* seconds */
extern int	ks_audit_checkpoint_interval;	/* milliseconds */
extern int	ks_audit_heartbeat; /* seconds */
extern int	ks_denials_per_minute;
extern int	ks_housekeeper_interval;	/* milliseconds */
extern char *ks_break_glass_roles;
extern int	ks_break_glass_time;	/* seconds */

/* Defines the settings.  Call it once, from _PG_init(). */
extern void ks_guc_init(void);

#endif							/* KS_GUC_H */
