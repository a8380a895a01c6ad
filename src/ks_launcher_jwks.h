/*-------------------------------------------------------------------------
 *
 * ks_launcher_jwks.h
 *	  The launcher's loading of keystone.jwt_keys_file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LAUNCHER_JWKS_H
#define KS_LAUNCHER_JWKS_H

#include "keystone.h"

/* Prepares the launcher to load; a load is wanted from the start. */
extern void ks_launcher_jwks_init(void);

/* Settings were reloaded: a load is wanted. */
extern void ks_launcher_jwks_reload(void);

/* Does what is due.  May raise errors, after which ks_launcher_jwks_fail()
 * must be called. */
extern void ks_launcher_jwks_run(void);

/* Gives the load up: there are no keys. */
extern void ks_launcher_jwks_fail(void);

#endif							/* KS_LAUNCHER_JWKS_H */
