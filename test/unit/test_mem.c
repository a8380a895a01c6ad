/*-------------------------------------------------------------------------
 *
 * test_mem.c
 *	  Tests of ks_mem, as far as it goes without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include "ks_mem.h"

static void
wipe_is_exact(void)
{
	uint8		bytes[64];

	for (size_t n = 0; n <= 32; n++)
	{
		memset(bytes, 0xee, sizeof(bytes));
		ks_wipe(bytes + 16, n);
		for (size_t i = 0; i < sizeof(bytes); i++)
		{
			bool		inside = i >= 16 && i < 16 + n;

			CHECK(bytes[i] == (inside ? 0 : 0xee), "%zu bytes wiped, byte %zu is wrong", n, i);
		}
	}
	ks_wipe(NULL, 0);
}

const UnitTest mem_tests[] = {
	{"ks_wipe zeroes what it is given and nothing beside it", wipe_is_exact},
	{NULL, NULL}
};
