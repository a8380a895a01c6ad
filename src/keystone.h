/*-------------------------------------------------------------------------
 *
 * keystone.h
 *	  Limits and types that every room knows.
 *
 * Lock order, from first to last taken: table locks, row locks, then one
 * LWLock.  Nothing waits, allocates or reports while it holds an LWLock, nor
 * takes a second one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KEYSTONE_H
#define KEYSTONE_H

#include "ks_compat.h"

#define KS_KEY_LEN				32	/* bytes of every symmetric key */
#define KS_ID_LEN				16	/* bytes of a uuid */
#define KS_DIGEST_LEN			32	/* bytes of a SHA-256 digest or MAC */

/* Sizes of text arguments, in bytes without the terminator. */
#define KS_SLUG_MAX				63
#define KS_NAME_MAX				255
#define KS_ENVIRONMENT_MAX		63
#define KS_PROVIDER_MAX			63
#define KS_KIND_MAX				63
#define KS_DISPLAY_NAME_MAX		255
#define KS_DESCRIPTION_MAX		4096
#define KS_METADATA_MAX			16384	/* as jsonb text */
#define KS_TAG_MAX				100
#define KS_TAGS_MAX				50	/* tags of one credential */
#define KS_REASON_MAX			1024
#define KS_CONTEXT_MAX			4096	/* as jsonb text */

#define KS_REVEAL_MANY_MAX		10000	/* credentials in one reveal_many() */

#define KS_ROOT_KEYS_MAX		16	/* keys in a root keyring */
#define KS_ROOT_KEY_ID_MAX		63	/* bytes of a root key's id */
#define KS_ROOT_KEYRING_BYTES_MAX 8192	/* of the key file or the command's
										 * output */

#endif							/* KEYSTONE_H */
