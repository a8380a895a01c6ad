/*-------------------------------------------------------------------------
 *
 * ks_jwks.h
 *	  The keys that verify JSON Web Tokens: keystone.jwt_keys_file as the
 *	  launcher read it last, in fixed shared memory, and the prepared keys of
 *	  this backend.
 *
 * The file is a JWK Set or a JWK (RFC 7517), or else its first line is the
 * secret of HS256.
 *
 * Lock: KS_LOCK_JWKS protects the shared text; its generation may be read
 * without.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JWKS_H
#define KS_JWKS_H

#include "ks_jws.h"
#include "ks_shmem.h"

#define KS_JWKS_BYTES_MAX	65536	/* of the file */
#define KS_JWKS_KEYS_MAX	64
#define KS_JWKS_PROBLEM_MAX 128

/* Shared memory (see ks_shmem.h). */
extern Size ks_jwks_shmem_size(void);
extern void ks_jwks_shmem_init(void *area, bool found);

/*
 * The launcher's side: the file's text, of which it keeps no keys itself.
 * NULL, or what is wrong with the text, and then there are no keys; it
 * completes a sentence that begins with the name of the setting, and is good
 * until the next call.
 */
extern const char *ks_jwks_publish(const char *text, size_t len, int *nkeys);

/* The same when there is no text: why (NULL when the setting is empty). */
extern void ks_jwks_withdraw(const char *problem);

/*
 * The keys that fit an algorithm and, unless it is NULL, a kid; a key that
 * has none itself fits any.  Returns how many; found points into this room
 * and is good until its next call.  Waits, interruptibly, for the first load.
 */
extern int	ks_jwks_find(KsJwsAlgorithm algorithm, const char *kid, const KsJwsKey **found, int max);

/* How many keys there are, for health(); *problem is NULL or says why there
 * are none, as above. */
extern int	ks_jwks_status(const char **problem);

#endif							/* KS_JWKS_H */
