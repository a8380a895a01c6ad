/*-------------------------------------------------------------------------
 *
 * ks_mem.h
 *	  Buffers for secrets that wipe themselves.
 *
 * A secret buffer has a fixed size: it never grows, so that no copy is left
 * behind.  In the server it is tied to a memory context by a reset callback,
 * and is wiped when the context is reset or deleted, after an error too;
 * ks_secret_wipe() wipes it earlier.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_MEM_H
#define KS_MEM_H

#include "ks_compat.h"

/* Overwrites n bytes in a way that the compiler does not remove. */
extern void ks_wipe(void *data, size_t n);

#ifndef KS_FRONTEND

/*
 * Returns n bytes in context that are wiped when the context is reset.
 * The caller need not free them.
 */
extern void *ks_secret_alloc(MemoryContext context, size_t n);

/*
 * Wipes a buffer from ks_secret_alloc() now.  It stays allocated until its
 * context is reset.  NULL is allowed.
 */
extern void ks_secret_wipe(void *secret);

#endif							/* KS_FRONTEND */

#endif							/* KS_MEM_H */
