/*-------------------------------------------------------------------------
 *
 * ks_siphash.h
 *	  SipHash-2-4 with a result of 128 bits: a short, fast hash that nobody
 *	  can find collisions of without its key.
 *
 * For places in tables, where HMAC would cost ten times as much; nothing is
 * authenticated with it.  After J.-P. Aumasson and D. J. Bernstein, "SipHash:
 * a fast short-input PRF", and the authors' reference code.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SIPHASH_H
#define KS_SIPHASH_H

#include "keystone.h"

#define KS_SIPHASH_LEN	16		/* bytes of a key, and of a result */

extern void ks_siphash(const uint8 key[KS_SIPHASH_LEN], const void *data, size_t len,
					   uint8 hash[KS_SIPHASH_LEN]);

#endif							/* KS_SIPHASH_H */
