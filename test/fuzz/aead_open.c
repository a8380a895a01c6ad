/*-------------------------------------------------------------------------
 *
 * aead_open.c
 *	  Fuzzes ks_aead_open(): nothing that was not sealed opens, and nothing
 *	  that was sealed opens when it was changed.
 *
 * Input: a selector byte (what is changed), a byte with the AAD's length, a
 * nonce, the AAD, and the rest: first taken as ciphertext, then as plaintext.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_crypto.h"

#define FIXED_LEN	(1 + 1 + KS_NONCE_LEN)

static KsAead aead;

/*
 * Nobody has the key: what opens all the same must at least be what sealing
 * gives.
 */
static void
check_foreign(const uint8 *nonce, const uint8 *aad, size_t aad_len,
			  const uint8 *bytes, size_t len)
{
	size_t		plain_len = len > KS_TAG_LEN ? len - KS_TAG_LEN : 0;
	uint8	   *sealed = fuzz_copy(bytes, len);
	uint8	   *plain = fuzz_copy(NULL, plain_len);
	KsCryptoResult result;

	memset(plain, 0xee, plain_len);
	result = ks_aead_open(&aead, nonce, aad, aad_len, sealed, len, plain);
	REQUIRE(result == KS_CRYPTO_OK || result == KS_CRYPTO_FORGED);
	if (result == KS_CRYPTO_OK)
	{
		uint8	   *again = fuzz_copy(NULL, len);

		REQUIRE(ks_aead_seal(&aead, nonce, aad, aad_len, plain, plain_len, again) == KS_CRYPTO_OK);
		REQUIRE(memcmp(again, sealed, len) == 0);
		free(again);
	}
	else
		REQUIRE(fuzz_is_zero(plain, plain_len));
	free(sealed);
	free(plain);
}

/*
 * Seals the bytes, opens them, and flips one bit of what the selector says.
 */
static void
check_own(const uint8 *nonce, const uint8 *aad, size_t aad_len,
		  const uint8 *plain, size_t len, uint8 selector)
{
	size_t		sealed_len = len + KS_TAG_LEN;
	uint8	   *sealed = fuzz_copy(NULL, sealed_len);
	uint8	   *opened = fuzz_copy(NULL, len);
	uint8	   *changed_nonce = fuzz_copy(nonce, KS_NONCE_LEN);
	uint8	   *changed_aad = fuzz_copy(aad, aad_len);
	uint8	   *target;
	size_t		target_len;

	REQUIRE(ks_aead_seal(&aead, nonce, aad, aad_len, plain, len, sealed) == KS_CRYPTO_OK);
	REQUIRE(ks_aead_open(&aead, nonce, aad, aad_len, sealed, sealed_len, opened) == KS_CRYPTO_OK);
	REQUIRE(len == 0 || memcmp(opened, plain, len) == 0);

	switch (selector & 3)
	{
		case 0:
			target = changed_nonce;
			target_len = KS_NONCE_LEN;
			break;
		case 1:
			target = changed_aad;
			target_len = aad_len;
			break;
		default:
			target = sealed;
			target_len = sealed_len;
			break;
	}
	if (target_len > 0)
	{
		target[(selector >> 2) * 7 % target_len] ^= (uint8) (1 << (selector >> 2) % 8);
		REQUIRE(ks_aead_open(&aead, changed_nonce, changed_aad, aad_len, sealed, sealed_len,
							 opened) == KS_CRYPTO_FORGED);
		REQUIRE(fuzz_is_zero(opened, len));
	}

	free(sealed);
	free(opened);
	free(changed_nonce);
	free(changed_aad);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8	   *nonce;
	uint8	   *aad;
	uint8	   *rest;
	size_t		aad_len;
	size_t		rest_len;

	if (size < FIXED_LEN)
		return 0;

	if (aead.schedule == NULL)
	{
		const uint8 key[KS_KEY_LEN] = {0x6b, 0x65, 0x79};

		REQUIRE(ks_crypto_init());
		REQUIRE(ks_aead_init(&aead, key) == KS_CRYPTO_OK);
	}

	aad_len = data[1];
	if (aad_len > size - FIXED_LEN)
		aad_len = size - FIXED_LEN;
	rest_len = size - FIXED_LEN - aad_len;
	nonce = fuzz_copy(data + 2, KS_NONCE_LEN);
	aad = fuzz_copy(data + FIXED_LEN, aad_len);
	rest = fuzz_copy(data + FIXED_LEN + aad_len, rest_len);

	check_foreign(nonce, aad, aad_len, rest, rest_len);
	check_own(nonce, aad, aad_len, rest, rest_len, data[0]);

	free(nonce);
	free(aad);
	free(rest);
	return 0;
}
