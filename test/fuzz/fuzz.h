/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What the libFuzzer targets share.
 *
 * A target copies its input, and each part of it that a parser gets, into
 * memory of exactly that size, so that the address sanitizer sees a read past
 * the end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "ks_compat.h"

#include <stdio.h>
#include <stdlib.h>

/* A property that must hold for every input. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* n bytes that the caller frees; NULL data leaves them as they are. */
static inline void *
fuzz_copy(const void *data, size_t n)
{
	void	   *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		abort();
	if (data != NULL && n > 0)
		memcpy(copy, data, n);
	return copy;
}

static inline bool
fuzz_is_zero(const void *data, size_t n)
{
	const uint8 *bytes = data;

	for (size_t i = 0; i < n; i++)
	{
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

#endif							/* FUZZ_H */
