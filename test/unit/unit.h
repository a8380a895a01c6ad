/*-------------------------------------------------------------------------
 *
 * unit.h
 *	  The unit tests of the rooms that build without a server.
 *
 * A test is a function that makes checks; it is one line of TAP output.  A
 * check that fails prints a diagnostic and fails its test, which goes on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef UNIT_H
#define UNIT_H

#include "ks_compat.h"

typedef struct UnitTest
{
	const char *name;			/* the promise that it tests */
	void		(*run) (void);
} UnitTest;

/* Each file's tests, ended by a NULL name. */
extern const UnitTest mem_tests[];
extern const UnitTest crypto_tests[];
extern const UnitTest wire_tests[];
extern const UnitTest keyring_tests[];
extern const UnitTest dotenv_tests[];
extern const UnitTest merkle_tests[];
extern const UnitTest entry_tests[];
extern const UnitTest note_tests[];
extern const UnitTest jws_tests[];
extern const UnitTest window_tests[];
extern const UnitTest siphash_tests[];
extern const UnitTest bundle_tests[];
extern const UnitTest cedar_tests[];
extern const UnitTest glob_tests[];

/* With --soak, tests that can do more rounds do. */
extern bool unit_soak;

#define CHECK(condition, ...) \
	unit_check((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Returns condition, so that a test can stop where it makes no sense to go on. */
extern bool unit_check(bool condition, const char *file, int line, const char *format,...)
			__attribute__((format(printf, 4, 5)));

/* Bytes of a hexadecimal text, which is a constant of the test. */
extern void unit_unhex(const char *hex, uint8 *bytes, size_t n);
extern bool unit_equals_hex(const uint8 *bytes, size_t n, const char *hex);

/* A copy in memory of exactly that size, so that a sanitizer sees a read past
 * its end.  The caller frees it. */
extern void *unit_copy(const void *data, size_t n);

/* Pseudo-random, the same in each run. */
extern uint32 unit_random(void);

extern bool unit_is_zero(const void *data, size_t n);

extern int	unit_bench(void);

#endif							/* UNIT_H */
