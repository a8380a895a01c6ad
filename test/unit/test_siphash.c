/*-------------------------------------------------------------------------
 *
 * test_siphash.c
 *	  Tests of ks_siphash against the published vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdlib.h>

#include "ks_siphash.h"

/*
 * The authors' vectors for SipHash-2-4 with 128 bits: the key is 00 01 ... 0f,
 * the input of length n is 00 01 ... n - 1.
 */
static void
published_vectors(void)
{
	static const struct
	{
		size_t		len;
		const char *hash;
	}			vectors[] = {
		{0, "a3817f04ba25a8e66df67214c7550293"},
		{1, "da87c1d86b99af44347659119b22fc45"},
		{2, "8177228da4a45dc7fca38bdef60affe4"},
		{3, "9c70b60c5267a94e5f33b6b02985ed51"},
		{4, "f88164c12d9c8faf7d0f6e7c7bcd5579"},
		{5, "1368875980776f8854527a07690e9627"},
		{6, "14eeca338b208613485ea0308fd7a15e"},
		{7, "a1f1ebbed8dbc153c0b84aa61ff08239"},
		{8, "3b62a9ba6258f5610f83e264f31497b4"},
		{9, "264499060ad9baabc47f8b02bb6d71ed"},
		{10, "00110dc378146956c95447d3f3d0fbba"},
		{11, "0151c568386b6677a2b4dc6f81e5dc18"},
		{12, "d626b266905ef35882634df68532c125"},
		{13, "9869e247e9c08b10d029934fc4b952f7"},
		{14, "31fcefac66d7de9c7ec7485fe4494902"},
		{15, "5493e99933b0a8117e08ec0f97cfc3d9"},
	};
	uint8		key[KS_SIPHASH_LEN];

	for (int i = 0; i < KS_SIPHASH_LEN; i++)
		key[i] = (uint8) i;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		uint8		hash[KS_SIPHASH_LEN];
		uint8	   *data = unit_copy(key, vectors[i].len);

		ks_siphash(key, data, vectors[i].len, hash);
		CHECK(unit_equals_hex(hash, sizeof(hash), vectors[i].hash), "of %zu bytes", vectors[i].len);
		free(data);
	}
}

const UnitTest siphash_tests[] = {
	{"SipHash-2-4-128 gives the published hashes", published_vectors},
	{NULL, NULL}
};
