/*-------------------------------------------------------------------------
 *
 * jws.c
 *	  Fuzzes ks_jws: base64url that decodes is what would be written for the
 *	  bytes, any bytes make a key or none, and no bytes are a signature of it.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include <openssl/err.h>

#include "ks_jws.h"

#define DATA "eyJhbGciOiJFUzI1NiJ9.e30"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const KsJwsAlgorithm algorithms[] = {
	KS_JWS_UNKNOWN, KS_JWS_HS256, KS_JWS_RS256, KS_JWS_PS256, KS_JWS_ES256, KS_JWS_EDDSA
};

/* The character that stands for six bits at a place in the bytes. */
static char
encoded(const uint8 *bytes, size_t len, size_t at)
{
	uint32		bits = 0;

	for (size_t i = 0; i < 3; i++)
	{
		size_t		byte = at / 4 * 3 + i;

		bits = bits << 8 | (byte < len ? bytes[byte] : 0);
	}
	return alphabet[bits >> (18 - 6 * (at % 4)) & 0x3f];
}

static void
check_base64url(const char *text, size_t size)
{
	uint8	   *bytes = fuzz_copy(NULL, size * 3 / 4);
	size_t		len;
	bool		ok = ks_base64url_decode(text, size, bytes, &len);

	REQUIRE(ok ? len == size * 3 / 4 : len == 0);
	for (size_t i = 0; ok && i < size; i++)
		REQUIRE(encoded(bytes, len, i) == text[i]);
	free(bytes);
}

/* The key that the first bytes choose and make, if they do. */
static bool
make_key(const uint8 *data, size_t size, KsJwsKey *key)
{
	static const uint8 exponent[] = {1, 0, 1};
	const char *problem = "none";

	memset(key, 0, sizeof(*key));
	if (size > 0 && data[0] % 4 == 0)
		problem = ks_jws_key_oct(key, data + 1, size - 1);
	else if (size > 0 && data[0] % 4 == 1)
		problem = ks_jws_key_rsa(key, data + 1, size - 1, exponent, sizeof(exponent));
	else if (size > 64 && data[0] % 4 == 2)
		problem = ks_jws_key_p256(key, data + 1, data + 33);
	else if (size > 32 && data[0] % 4 == 3)
		problem = ks_jws_key_ed25519(key, data + 1);
	if (problem != NULL)
		REQUIRE(fuzz_is_zero(key, sizeof(*key)));
	return problem == NULL;
}

static void
check_signature(const KsJwsKey *key, const uint8 *signature, size_t size)
{
	uint8	   *copy = fuzz_copy(signature, size);

	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
	{
		KsCryptoResult result = ks_jws_verify(key, algorithms[i], DATA, strlen(DATA), copy, size);

		/* some points of Ed25519 have signatures of everything */
		REQUIRE(result == KS_CRYPTO_FORGED || (key->type == KS_JWS_ED25519 && result == KS_CRYPTO_OK));
		REQUIRE(result == KS_CRYPTO_FORGED || ks_jws_key_fits(key, algorithms[i]));
		REQUIRE(ERR_peek_error() == 0);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8	   *copy = fuzz_copy(data, size);
	KsJwsKey	key;

	check_base64url((const char *) copy, size);
	if (size <= 4096 && make_key(copy, size, &key))
	{
		/* a signature of any length that the input has, and the usual ones */
		check_signature(&key, copy, size);
		check_signature(&key, copy, size < 64 ? size : 64);
		check_signature(&key, copy, size - 1);
		ks_jws_key_clear(&key);
		REQUIRE(fuzz_is_zero(&key, sizeof(key)));
	}
	free(copy);
	return 0;
}
