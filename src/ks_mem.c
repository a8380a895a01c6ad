/*-------------------------------------------------------------------------
 *
 * ks_mem.c
 *	  Buffers for secrets that wipe themselves.
 *
 * A secret buffer is one chunk of its memory context: a header, which the
 * context's reset callback finds again, and the caller's bytes behind it.
 * What must always hold:
 *
 *	- a buffer keeps its size and place until its context is reset; it must
 *	  never be handed to repalloc() or pfree(), which know nothing of the
 *	  callback;
 *	- the callback runs before the context gives its memory back, and raises
 *	  nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_mem.h"

#include <openssl/crypto.h>

#ifndef KS_FRONTEND
#include "utils/memutils.h"
#include "utils/palloc.h"
#endif

/*
 * Overwrites n bytes at data with zeros.  The compiler cannot prove that the
 * library call has no other effect, and so keeps it.  Never fails.
 */
void
ks_wipe(void *data, size_t n)
{
	if (data != NULL && n > 0)
		OPENSSL_cleanse(data, n);
}

#ifndef KS_FRONTEND

/* What stands in front of the caller's bytes. */
typedef struct SecretHeader
{
	MemoryContextCallback callback; /* its arg points back to this header */
	Size		size;			/* of the caller's bytes */
} SecretHeader;

/* The caller's bytes are aligned as those of any palloc(). */
#define SECRET_HEADER_LEN	MAXALIGN(sizeof(SecretHeader))

static void
wipe_secret(void *arg)
{
	SecretHeader *header = arg;

	ks_wipe((char *) header + SECRET_HEADER_LEN, header->size);
}

/*
 * Returns n bytes, not initialised, that belong to context and are wiped when
 * it is reset or deleted.  Raises what MemoryContextAlloc() raises.
 */
void *
ks_secret_alloc(MemoryContext context, size_t n)
{
	SecretHeader *header;

	/* A size that is refused anyway must not wrap around in the sum. */
	if (n > MaxAllocSize - SECRET_HEADER_LEN)
		n = MaxAllocSize;

	header = MemoryContextAlloc(context, SECRET_HEADER_LEN + n);
	header->size = n;
	header->callback.func = wipe_secret;
	header->callback.arg = header;
	MemoryContextRegisterResetCallback(context, &header->callback);

	return (char *) header + SECRET_HEADER_LEN;
}

/*
 * Wipes a buffer of ks_secret_alloc() before its context is reset.  May be
 * called again; NULL is allowed.  Raises nothing.
 */
void
ks_secret_wipe(void *secret)
{
	SecretHeader *header;

	if (secret == NULL)
		return;

	header = (SecretHeader *) ((char *) secret - SECRET_HEADER_LEN);
	Assert(header->callback.func == wipe_secret && header->callback.arg == header);
	wipe_secret(header);
}

#endif							/* KS_FRONTEND */
