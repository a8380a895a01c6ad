/*-------------------------------------------------------------------------
 *
 * unit.c
 *	  Runs the unit tests: TAP on standard output, exit status 1 if one
 *	  failed.
 *
 *	unit			all tests
 *	unit --soak		the same, with as many rounds as the specifications have
 *	unit --bench	no tests: one line of JSON for each figure
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ks_crypto.h"

#define DIAGNOSTICS_MAX 10		/* of one test */

static const UnitTest *const suites[] = {
	mem_tests, crypto_tests, wire_tests, keyring_tests, dotenv_tests,
	merkle_tests, entry_tests, note_tests, jws_tests, window_tests, siphash_tests,
	bundle_tests, cedar_tests, glob_tests
};

bool		unit_soak = false;

static int	failures;			/* of the running test */

bool
unit_check(bool condition, const char *file, int line, const char *format,...)
{
	va_list		args;

	if (condition)
		return true;

	if (failures++ < DIAGNOSTICS_MAX)
	{
		printf("# %s:%d: ", file, line);
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		printf("\n");
	}
	return false;
}

static uint8
hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *digit = c != '\0' ? strchr(digits, c) : NULL;

	if (digit == NULL)
		abort();
	return (uint8) (digit - digits);
}

void
unit_unhex(const char *hex, uint8 *bytes, size_t n)
{
	if (strlen(hex) != 2 * n)
		abort();
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8) (hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
}

bool
unit_equals_hex(const uint8 *bytes, size_t n, const char *hex)
{
	if (strlen(hex) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (bytes[i] != (hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1])))
			return false;
	}
	return true;
}

void *
unit_copy(const void *data, size_t n)
{
	void	   *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		abort();
	if (n > 0)
		memcpy(copy, data, n);
	return copy;
}

uint32
unit_random(void)
{
	static uint64 state = 0x9e3779b97f4a7c15;

	/* xorshift64* (Vigna, 2016) */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32) ((state * 0x2545f4914f6cdd1d) >> 32);
}

bool
unit_is_zero(const void *data, size_t n)
{
	const uint8 *bytes = data;

	for (size_t i = 0; i < n; i++)
	{
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

static int
run_tests(void)
{
	int			number = 0;
	int			failed = 0;

	for (size_t i = 0; i < lengthof(suites); i++)
	{
		for (const UnitTest *test = suites[i]; test->name != NULL; test++)
		{
			failures = 0;
			test->run();
			if (failures > 0)
				failed++;
			printf("%s %d - %s\n", failures == 0 ? "ok" : "not ok", ++number, test->name);
			fflush(stdout);
		}
	}
	printf("1..%d\n", number);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	bool		bench = false;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--soak") == 0)
			unit_soak = true;
		else if (strcmp(argv[i], "--bench") == 0)
			bench = true;
		else
		{
			fprintf(stderr, "usage: %s [--soak | --bench]\n", argv[0]);
			return 2;
		}
	}

	if (!ks_crypto_init())
	{
		printf("Bail out! %s\n", ks_crypto_reason());
		return EXIT_FAILURE;
	}
	return bench ? unit_bench() : run_tests();
}
