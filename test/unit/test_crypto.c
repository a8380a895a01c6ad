/*-------------------------------------------------------------------------
 *
 * test_crypto.c
 *	  Tests of ks_crypto against published vectors, and of what it promises
 *	  when something is wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ks_crypto.h"

/*
 * c2sp.org/XAES-256-GCM, "Test vectors".
 */
static void
xaes_vectors(void)
{
	static const struct
	{
		uint8		key_byte;
		const char *aad;
		const char *sealed;
	}			vectors[] = {
		{0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	};
	static const char plain[] = "XAES-256-GCM";
	static const char nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX";
	const size_t len = strlen(plain);

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		KsAead		aead;
		uint8		key[KS_KEY_LEN];
		uint8		sealed[sizeof(plain) + KS_TAG_LEN];
		uint8		opened[sizeof(plain)];
		const char *aad = vectors[i].aad;

		memset(key, vectors[i].key_byte, sizeof(key));
		CHECK(ks_aead_init(&aead, key) == KS_CRYPTO_OK, "vector %zu: init", i);
		CHECK(ks_aead_seal(&aead, (const uint8 *) nonce, aad, strlen(aad), plain, len,
						   sealed) == KS_CRYPTO_OK, "vector %zu: seal", i);
		CHECK(unit_equals_hex(sealed, len + KS_TAG_LEN, vectors[i].sealed),
			  "vector %zu: ciphertext differs", i);
		CHECK(ks_aead_open(&aead, (const uint8 *) nonce, aad, strlen(aad), sealed,
						   len + KS_TAG_LEN, opened) == KS_CRYPTO_OK, "vector %zu: open", i);
		CHECK(memcmp(opened, plain, len) == 0, "vector %zu: plaintext differs", i);
		ks_aead_clear(&aead);
	}
}

#define ROUND_BYTES_MAX (KS_KEY_LEN + KS_NONCE_LEN + 1 + 255 + 1 + 255)

/*
 * One round of the accumulated test: takes its input off *in, and adds the
 * ciphertext to out.
 */
static bool
accumulate(const uint8 **in, EVP_MD_CTX *out)
{
	KsAead		aead;
	uint8		sealed[255 + KS_TAG_LEN];
	uint8		opened[255];
	const uint8 *key = *in;
	const uint8 *nonce = key + KS_KEY_LEN;
	size_t		len = nonce[KS_NONCE_LEN];
	const uint8 *plain = nonce + KS_NONCE_LEN + 1;
	size_t		aad_len = plain[len];
	const uint8 *aad = plain + len + 1;
	bool		ok;

	*in = aad + aad_len;

	ok = ks_aead_init(&aead, key) == KS_CRYPTO_OK &&
		ks_aead_seal(&aead, nonce, aad, aad_len, plain, len, sealed) == KS_CRYPTO_OK &&
		ks_aead_open(&aead, nonce, aad, aad_len, sealed, len + KS_TAG_LEN,
					 opened) == KS_CRYPTO_OK &&
		memcmp(opened, plain, len) == 0 &&
		EVP_DigestUpdate(out, sealed, len + KS_TAG_LEN) > 0;
	ks_aead_clear(&aead);
	return ok;
}

/*
 * c2sp.org/XAES-256-GCM, "Accumulated randomized tests".  The input is drawn
 * at once, since libcrypto 3.0 cannot draw from an XOF in pieces.
 */
static void
xaes_accumulated(void)
{
	const int	rounds = unit_soak ? 1000000 : 10000;
	const char *expected = unit_soak ?
	"2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15" :
	"e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
	size_t		size = (size_t) rounds * ROUND_BYTES_MAX;
	uint8	   *input = malloc(size);
	EVP_MD_CTX *in = EVP_MD_CTX_new();
	EVP_MD_CTX *out = EVP_MD_CTX_new();
	uint8		digest[32];

	if (!CHECK(input != NULL && in != NULL && out != NULL, "out of memory") ||
		!CHECK(EVP_DigestInit_ex(in, EVP_shake128(), NULL) > 0 &&
			   EVP_DigestFinalXOF(in, input, size) > 0 &&
			   EVP_DigestInit_ex(out, EVP_shake128(), NULL) > 0, "SHAKE128"))
		goto done;

	{
		const uint8 *next = input;

		for (int i = 0; i < rounds; i++)
		{
			if (!CHECK(accumulate(&next, out), "round %d", i))
				goto done;
		}
	}
	CHECK(EVP_DigestFinalXOF(out, digest, sizeof(digest)) > 0, "SHAKE128");
	CHECK(unit_equals_hex(digest, sizeof(digest), expected), "accumulated hash differs");

done:
	EVP_MD_CTX_free(in);
	EVP_MD_CTX_free(out);
	free(input);
}

/* What the tests below seal. */
typedef struct Message
{
	KsAead		aead;
	uint8		nonce[KS_NONCE_LEN];
	uint8		aad[37];
	uint8		plain[64];
	uint8		sealed[64 + KS_TAG_LEN];
} Message;

static void
make_message(Message *m)
{
	uint8		key[KS_KEY_LEN];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8) unit_random();
	for (size_t i = 0; i < sizeof(m->nonce); i++)
		m->nonce[i] = (uint8) unit_random();
	for (size_t i = 0; i < sizeof(m->aad); i++)
		m->aad[i] = (uint8) unit_random();
	for (size_t i = 0; i < sizeof(m->plain); i++)
		m->plain[i] = (uint8) unit_random();
	CHECK(ks_aead_init(&m->aead, key) == KS_CRYPTO_OK, "init");
	CHECK(ks_aead_seal(&m->aead, m->nonce, m->aad, sizeof(m->aad), m->plain, sizeof(m->plain),
					   m->sealed) == KS_CRYPTO_OK, "seal");
}

/*
 * Opens the message as it stands, which must fail and leave nothing.
 */
static void
expect_forged(const Message *m, size_t aad_len, size_t sealed_len, const char *what, size_t at)
{
	uint8		opened[sizeof(m->plain)];
	size_t		len = sealed_len < KS_TAG_LEN ? 0 : sealed_len - KS_TAG_LEN;
	uint8	   *aad = unit_copy(m->aad, aad_len);
	uint8	   *sealed = unit_copy(m->sealed, sealed_len);

	memset(opened, 0xee, sizeof(opened));
	CHECK(ks_aead_open(&m->aead, m->nonce, aad, aad_len, sealed, sealed_len,
					   opened) == KS_CRYPTO_FORGED, "%s, %zu: opened", what, at);
	CHECK(unit_is_zero(opened, len), "%s, %zu: the output is not wiped", what, at);
	CHECK(ERR_peek_error() == 0, "%s, %zu: libcrypto's queue is not empty", what, at);
	free(aad);
	free(sealed);
}

static void
every_bit_counts(void)
{
	Message		m;
	uint8		opened[sizeof(m.plain)];

	make_message(&m);

	for (size_t bit = 0; bit < 8 * sizeof(m.sealed); bit++)
	{
		m.sealed[bit / 8] ^= (uint8) (1 << bit % 8);
		expect_forged(&m, sizeof(m.aad), sizeof(m.sealed), "bit of the ciphertext or tag", bit);
		m.sealed[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(m.nonce); bit++)
	{
		m.nonce[bit / 8] ^= (uint8) (1 << bit % 8);
		expect_forged(&m, sizeof(m.aad), sizeof(m.sealed), "bit of the nonce", bit);
		m.nonce[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(m.aad); bit++)
	{
		m.aad[bit / 8] ^= (uint8) (1 << bit % 8);
		expect_forged(&m, sizeof(m.aad), sizeof(m.sealed), "bit of the AAD", bit);
		m.aad[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	for (size_t n = 0; n < sizeof(m.sealed); n++)
		expect_forged(&m, sizeof(m.aad), n, "truncated ciphertext", n);
	for (size_t n = 0; n < sizeof(m.aad); n++)
		expect_forged(&m, n, sizeof(m.sealed), "truncated AAD", n);

	/* all was put back: it opens */
	CHECK(ks_aead_open(&m.aead, m.nonce, m.aad, sizeof(m.aad), m.sealed, sizeof(m.sealed),
					   opened) == KS_CRYPTO_OK &&
		  memcmp(opened, m.plain, sizeof(opened)) == 0, "does not open");
	ks_aead_clear(&m.aead);
}

static void
other_key_refused(void)
{
	Message		m;
	Message		other;

	make_message(&m);
	make_message(&other);
	memcpy(other.nonce, m.nonce, sizeof(m.nonce));
	memcpy(other.aad, m.aad, sizeof(m.aad));
	memcpy(other.sealed, m.sealed, sizeof(m.sealed));
	expect_forged(&other, sizeof(m.aad), sizeof(m.sealed), "another key", 0);
	ks_aead_clear(&m.aead);
	ks_aead_clear(&other.aead);
}

/*
 * All lengths around the block size, without and with AAD, in place and not.
 */
static void
round_trips(void)
{
	Message		m;

	make_message(&m);
	for (size_t len = 0; len <= 100; len++)
	{
		size_t		aad_len = len % 3 == 0 ? 0 : len % sizeof(m.aad);
		const void *aad = aad_len == 0 ? NULL : m.aad;
		uint8	   *plain = malloc(len + 1);
		uint8	   *sealed = malloc(len + KS_TAG_LEN);
		uint8	   *in_place = malloc(len + KS_TAG_LEN);
		uint8	   *opened = malloc(len + 1);

		if (plain == NULL || sealed == NULL || in_place == NULL || opened == NULL)
			abort();
		for (size_t i = 0; i < len; i++)
			plain[i] = (uint8) unit_random();
		plain[len] = opened[len] = 0xee;
		memcpy(in_place, plain, len);

		CHECK(ks_aead_seal(&m.aead, m.nonce, aad, aad_len, len == 0 ? NULL : plain, len,
						   sealed) == KS_CRYPTO_OK, "length %zu: seal", len);
		CHECK(ks_aead_seal(&m.aead, m.nonce, aad, aad_len, in_place, len,
						   in_place) == KS_CRYPTO_OK, "length %zu: seal in place", len);
		CHECK(memcmp(sealed, in_place, len + KS_TAG_LEN) == 0, "length %zu: in place differs", len);
		CHECK(ks_aead_open(&m.aead, m.nonce, aad, aad_len, sealed, len + KS_TAG_LEN,
						   len == 0 ? NULL : opened) == KS_CRYPTO_OK, "length %zu: open", len);
		CHECK(memcmp(opened, plain, len) == 0, "length %zu: plaintext differs", len);
		CHECK(opened[len] == 0xee, "length %zu: written past the end", len);
		CHECK(ks_aead_open(&m.aead, m.nonce, aad, aad_len, in_place, len + KS_TAG_LEN,
						   in_place) == KS_CRYPTO_OK, "length %zu: open in place", len);
		CHECK(memcmp(in_place, plain, len) == 0, "length %zu: in place, plaintext differs", len);

		free(plain);
		free(sealed);
		free(in_place);
		free(opened);
	}
	ks_aead_clear(&m.aead);
}

static void
misuse_refused(void)
{
	const size_t too_long = (size_t) INT_MAX + 1;
	Message		m;
	uint8		out[64 + KS_TAG_LEN];

	make_message(&m);

	/* refused before anything is read: the buffers are far too small */
	CHECK(ks_aead_seal(&m.aead, m.nonce, NULL, 0, m.plain, too_long,
					   out) == KS_CRYPTO_TOO_LONG, "seal");
	CHECK(ks_aead_seal(&m.aead, m.nonce, NULL, 0, m.plain, (size_t) INT_MAX - KS_TAG_LEN + 1,
					   out) == KS_CRYPTO_TOO_LONG, "seal, with the tag");
	CHECK(ks_aead_seal(&m.aead, m.nonce, m.aad, too_long, m.plain, 64,
					   out) == KS_CRYPTO_TOO_LONG, "seal, AAD");
	CHECK(ks_aead_seal(&m.aead, m.nonce, NULL, 0, m.plain, SIZE_MAX,
					   out) == KS_CRYPTO_TOO_LONG, "seal, SIZE_MAX");
	CHECK(ks_aead_open(&m.aead, m.nonce, NULL, 0, m.sealed, too_long,
					   out) == KS_CRYPTO_TOO_LONG, "open");
	CHECK(ks_aead_open(&m.aead, m.nonce, m.aad, too_long, m.sealed, sizeof(m.sealed),
					   out) == KS_CRYPTO_TOO_LONG, "open, AAD");
	CHECK(ks_random(out, too_long) == KS_CRYPTO_TOO_LONG, "random");

	/* a key that was cleared is no key */
	ks_aead_clear(&m.aead);
	ks_aead_clear(&m.aead);
	CHECK(unit_is_zero(&m.aead, sizeof(m.aead)), "a cleared key is not wiped");
	CHECK(ks_aead_seal(&m.aead, m.nonce, m.aad, sizeof(m.aad), m.plain, 64,
					   out) == KS_CRYPTO_FAILED, "seal with a cleared key");
	memset(out, 0xee, sizeof(out));
	CHECK(ks_aead_open(&m.aead, m.nonce, m.aad, sizeof(m.aad), m.sealed, sizeof(m.sealed),
					   out) == KS_CRYPTO_FAILED, "open with a cleared key");
	CHECK(unit_is_zero(out, 64), "the output is not wiped");
	CHECK(strncmp(ks_crypto_reason(), "could not decrypt", 17) == 0,
		  "reason: %s", ks_crypto_reason());
}

static void
reason_empties_queue(void)
{
	ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);
	CHECK(ERR_peek_error() != 0, "nothing was queued");
	CHECK(ks_crypto_reason() != NULL, "no reason");
	CHECK(ERR_peek_error() == 0, "the queue is not empty");
	CHECK(ks_crypto_init() && ks_crypto_init(), "init is not idempotent");
}

/*
 * FIPS 180-4, example values of SHA-256.
 */
static void
sha256_vectors(void)
{
	static const struct
	{
		const char *data;
		const char *digest;
	}			vectors[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	const size_t million = 1000000;
	uint8		digest[KS_DIGEST_LEN];
	uint8	   *a = malloc(million);

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		CHECK(ks_sha256(vectors[i].data, strlen(vectors[i].data), digest) == KS_CRYPTO_OK,
			  "vector %zu", i);
		CHECK(unit_equals_hex(digest, sizeof(digest), vectors[i].digest),
			  "vector %zu: digest differs", i);
	}
	CHECK(ks_sha256(NULL, 0, digest) == KS_CRYPTO_OK &&
		  unit_equals_hex(digest, sizeof(digest), vectors[0].digest), "no bytes at all");

	if (CHECK(a != NULL, "out of memory"))
	{
		memset(a, 'a', million);
		CHECK(ks_sha256(a, million, digest) == KS_CRYPTO_OK, "a million bytes");
		CHECK(unit_equals_hex(digest, sizeof(digest),
							  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
			  "a million bytes: digest differs");
	}
	free(a);
}

/*
 * RFC 4231, cases 1 to 4: their keys are shorter than 32 bytes, and HMAC pads
 * a key with zeros anyway.
 */
static void
hmac_vectors(void)
{
	static const struct
	{
		const char *key;
		const char *data;
		const char *mac;
	}			vectors[] = {
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"dddddddddddddddddddddddddddddddddddddddddddddddddd"
			"dddddddddddddddddddddddddddddddddddddddddddddddddd",
		"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{"0102030405060708090a0b0c0d0e0f10111213141516171819",
			"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
			"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
		"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	};

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		uint8		key[KS_KEY_LEN] = {0};
		uint8		data[64];
		uint8		mac[KS_DIGEST_LEN];
		size_t		len = strlen(vectors[i].data) / 2;

		unit_unhex(vectors[i].key, key, strlen(vectors[i].key) / 2);
		unit_unhex(vectors[i].data, data, len);

		/* however it is cut into pieces, some of them empty */
		for (size_t cut = 0; cut <= len; cut++)
		{
			KsBytes		pieces[] = {{data, cut}, {NULL, 0}, {data + cut, len - cut}};

			CHECK(ks_hmac_sha256(key, pieces, lengthof(pieces), mac) == KS_CRYPTO_OK,
				  "vector %zu", i);
			CHECK(unit_equals_hex(mac, sizeof(mac), vectors[i].mac),
				  "vector %zu, cut at %zu: MAC differs", i, cut);
		}
	}
}

/*
 * HKDF-SHA-256 as RFC 5869 writes it, without salt; at most 64 bytes out.
 */
static void
reference_hkdf(const uint8 *key, size_t key_len, const char *info, uint8 *out, size_t out_len)
{
	const uint8 salt[32] = {0};
	uint8		prk[32];
	uint8		input[32 + 100 + 1];
	uint8		t[64];
	size_t		info_len = strlen(info);

	HMAC(EVP_sha256(), salt, sizeof(salt), key, key_len, prk, NULL);
	memcpy(input, info, info_len);
	input[info_len] = 1;
	HMAC(EVP_sha256(), prk, sizeof(prk), input, info_len + 1, t, NULL);
	memcpy(input, t, 32);
	memcpy(input + 32, info, info_len);
	input[32 + info_len] = 2;
	HMAC(EVP_sha256(), prk, sizeof(prk), input, 32 + info_len + 1, t + 32, NULL);
	memcpy(out, t, out_len);
}

/*
 * RFC 5869's case without salt has a key of 22 bytes, and ours have 32: so the
 * case tests the reference, and the reference tests the function.
 */
static void
hkdf_reference(void)
{
	static const char *const labels[] = {"", "k", "keystone wrap v1", "keystone check v1"};
	uint8		key[KS_KEY_LEN];
	uint8		expected[42];
	uint8		derived[KS_KEY_LEN];

	memset(key, 0x0b, sizeof(key));
	reference_hkdf(key, 22, "", expected, 42);
	CHECK(unit_equals_hex(expected, 42, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec345"
						  "4e5f3c738d2d9d201395faa4b61a96c8"), "the reference differs from RFC 5869");

	for (size_t i = 0; i < lengthof(labels); i++)
	{
		for (size_t j = 0; j < sizeof(key); j++)
			key[j] = (uint8) unit_random();
		reference_hkdf(key, sizeof(key), labels[i], expected, sizeof(derived));
		CHECK(ks_derive_key(key, labels[i], derived) == KS_CRYPTO_OK, "label \"%s\"", labels[i]);
		CHECK(memcmp(derived, expected, sizeof(derived)) == 0,
			  "label \"%s\": key differs", labels[i]);
	}
}

/*
 * RFC 5869, appendix A, test cases 1 to 3.
 */
static void
hkdf_vectors(void)
{
	static const struct
	{
		int			key_first;	/* the bytes count up from here; -1: all 0x0b */
		size_t		key_len;
		int			salt_first;
		size_t		salt_len;
		int			info_first;
		size_t		info_len;
		size_t		len;
		const char *derived;
	}			vectors[] = {
		{-1, 22, 0x00, 13, 0xf0, 10, 42,
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
		{0x00, 80, 0x60, 80, 0xb0, 80, 82,
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
		"da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
		{-1, 22, 0x00, 0, 0x00, 0, 42,
		"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
	};

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		uint8		bytes[3][80];
		uint8		derived[82];
		KsBytes		key = {bytes[0], vectors[i].key_len};
		KsBytes		salt = {bytes[1], vectors[i].salt_len};
		KsBytes		info = {bytes[2], vectors[i].info_len};

		for (int j = 0; j < 80; j++)
		{
			bytes[0][j] = (uint8) (vectors[i].key_first < 0 ? 0x0b : vectors[i].key_first + j);
			bytes[1][j] = (uint8) (vectors[i].salt_first + j);
			bytes[2][j] = (uint8) (vectors[i].info_first + j);
		}
		CHECK(ks_hkdf_sha256(&key, &salt, &info, derived, vectors[i].len) == KS_CRYPTO_OK, "case %zu", i + 1);
		CHECK(unit_equals_hex(derived, vectors[i].len, vectors[i].derived), "case %zu differs", i + 1);
	}
}

/*
 * RFC 7748, sections 5.2 and 6.1, and a point of low order.
 */
static void
x25519_vectors(void)
{
	static const char *const alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
	static const char *const alice_public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
	static const char *const bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
	static const char *const bob_public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
	static const char *const both = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
	uint8		a[KS_X25519_LEN];
	uint8		b[KS_X25519_LEN];
	uint8		result[KS_X25519_LEN];

	unit_unhex(alice, a, sizeof(a));
	CHECK(ks_x25519_public(a, result) == KS_CRYPTO_OK, "Alice");
	CHECK(unit_equals_hex(result, sizeof(result), alice_public), "Alice's public key differs");
	unit_unhex(bob_public, b, sizeof(b));
	CHECK(ks_x25519_shared(a, b, result) == KS_CRYPTO_OK, "Alice with Bob");
	CHECK(unit_equals_hex(result, sizeof(result), both), "the secret differs for Alice");

	unit_unhex(bob, b, sizeof(b));
	CHECK(ks_x25519_public(b, result) == KS_CRYPTO_OK, "Bob");
	CHECK(unit_equals_hex(result, sizeof(result), bob_public), "Bob's public key differs");
	unit_unhex(alice_public, a, sizeof(a));
	CHECK(ks_x25519_shared(b, a, result) == KS_CRYPTO_OK, "Bob with Alice");
	CHECK(unit_equals_hex(result, sizeof(result), both), "the secret differs for Bob");

	unit_unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", a, sizeof(a));
	unit_unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", b, sizeof(b));
	CHECK(ks_x25519_shared(a, b, result) == KS_CRYPTO_OK, "section 5.2");
	CHECK(unit_equals_hex(result, sizeof(result), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
		  "section 5.2 differs");

	memset(b, 0, sizeof(b));
	CHECK(ks_x25519_shared(a, b, result) == KS_CRYPTO_FORGED, "zeros are a public key");
	b[0] = 1;
	CHECK(ks_x25519_shared(a, b, result) == KS_CRYPTO_FORGED, "a point of low order is a public key");
}

/*
 * The key of RFC 7748 as openssl writes it; whatever else is refused, without
 * a question at the terminal.
 */
static void
x25519_pem(void)
{
	static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n"
	"-----END PRIVATE KEY-----\n";
	static const char ed25519[] = "-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n"
	"-----END PRIVATE KEY-----\n";
	static const char encrypted[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	"MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAg0wIJNrh01xAIBATAM\n"
	"BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQTwXsM5UWWzIIv5vsnI5yKQRA1Gx9\n"
	"zF5p05BhdbiVW4N86dC6ZasUugwGeGVr/H56wOkTB16aPzH57iL9o6THEHm3GKVu\n"
	"LuR7vqt0X/YzgCkn7g==\n"
	"-----END ENCRYPTED PRIVATE KEY-----\n";
	uint8		key[KS_X25519_LEN];

	CHECK(ks_x25519_from_pem(pem, strlen(pem), key) == KS_CRYPTO_OK, "a key");
	CHECK(unit_equals_hex(key, sizeof(key), "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
		  "the key differs");
	CHECK(ks_x25519_from_pem(ed25519, strlen(ed25519), key) == KS_CRYPTO_FORGED, "a key of another kind");
	CHECK(ks_x25519_from_pem(encrypted, strlen(encrypted), key) == KS_CRYPTO_FORGED, "an encrypted key");
	CHECK(ks_x25519_from_pem("", 0, key) == KS_CRYPTO_FORGED, "nothing");
	for (size_t cut = 0; cut < strlen(pem) - 30; cut++)
		CHECK(ks_x25519_from_pem(pem, cut, key) == KS_CRYPTO_FORGED, "cut at %zu", cut);
	CHECK(ERR_peek_error() == 0, "libcrypto's error queue is not empty");
}

#define DRAWS	100000

static size_t compared_len;		/* of the elements that qsort() sorts */

static int
compare_bytes(const void *a, const void *b)
{
	return memcmp(a, b, compared_len);
}

static void
expect_distinct(uint8 *draws, size_t len, const char *what)
{
	compared_len = len;
	qsort(draws, DRAWS, len, compare_bytes);
	for (size_t i = 1; i < DRAWS; i++)
	{
		if (!CHECK(memcmp(draws + (i - 1) * len, draws + i * len, len) != 0, "%s repeats", what))
			return;
	}
}

static void
random_is_unique(void)
{
	uint8	   *draws = malloc((size_t) DRAWS * KS_NONCE_LEN);
	int			ones[8 * KS_NONCE_LEN] = {0};

	if (!CHECK(draws != NULL, "out of memory"))
		return;

	for (size_t i = 0; i < DRAWS; i++)
	{
		uint8	   *nonce = draws + i * KS_NONCE_LEN;

		CHECK(ks_random(nonce, KS_NONCE_LEN) == KS_CRYPTO_OK, "random");
		for (size_t bit = 0; bit < lengthof(ones); bit++)
			ones[bit] += nonce[bit / 8] >> bit % 8 & 1;
	}
	/* six standard deviations (158 each) are exceeded once in 10^9 draws */
	for (size_t bit = 0; bit < lengthof(ones); bit++)
		CHECK(abs(ones[bit] - DRAWS / 2) < 1000, "bit %zu is set %d times", bit, ones[bit]);
	expect_distinct(draws, KS_NONCE_LEN, "a nonce");

	for (size_t i = 0; i < DRAWS; i++)
	{
		uint8	   *uuid = draws + i * KS_ID_LEN;

		CHECK(ks_random_uuid(uuid) == KS_CRYPTO_OK, "uuid");
		CHECK(uuid[6] >> 4 == 4 && uuid[8] >> 6 == 2, "a uuid is not version 4");
	}
	expect_distinct(draws, KS_ID_LEN, "a uuid");
	free(draws);

	CHECK(ks_random(NULL, 0) == KS_CRYPTO_OK, "no bytes");
}

static void
equal_compares_all(void)
{
	uint8		a[40];
	uint8		b[40];

	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = b[i] = (uint8) unit_random();

	CHECK(ks_equal(a, b, sizeof(a)), "the same");
	CHECK(ks_equal(a, b, 0), "nothing");
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++)
	{
		b[bit / 8] ^= (uint8) (1 << bit % 8);
		CHECK(!ks_equal(a, b, sizeof(a)), "bit %zu", bit);
		CHECK(ks_equal(a, b, bit / 8), "before bit %zu", bit);
		b[bit / 8] ^= (uint8) (1 << bit % 8);
	}
}

/* By openssl mac, AES-256-CMAC over 00 01 'K' 00 and the label, and 00 02 ... */
static void
aead_derives(void)
{
	KsAead		aead;
	uint8		key[KS_KEY_LEN];
	uint8		derived[KS_KEY_LEN];
	uint8		again[KS_KEY_LEN];

	for (int i = 0; i < KS_KEY_LEN; i++)
		key[i] = (uint8) i;
	CHECK(ks_aead_init(&aead, key) == KS_CRYPTO_OK, "init");
	CHECK(ks_aead_derive(&aead, "blind_index1", derived) == KS_CRYPTO_OK, "derive");
	CHECK(unit_equals_hex(derived, KS_KEY_LEN, "c42a887e8d2cc4a18e9d0c32b3a0785003caba363169ef0a99505022142dca17"), "value");
	CHECK(ks_aead_derive(&aead, "blind_index2", again) == KS_CRYPTO_OK, "derive by another label");
	CHECK(!ks_equal(derived, again, KS_KEY_LEN), "labels differ");
	ks_aead_clear(&aead);
	CHECK(ks_aead_derive(&aead, "blind_index1", derived) == KS_CRYPTO_FAILED, "without a key");
	CHECK(unit_is_zero(derived, KS_KEY_LEN), "wiped");
}

/* No nonce of the stock comes twice, within one and from one to the next. */
static void
nonces_from_stock(void)
{
	enum
	{
		DRAWN = 1000
	};
	static uint8 nonces[DRAWN][KS_NONCE_LEN];

	for (int i = 0; i < DRAWN; i++)
	{
		CHECK(ks_random_nonce(nonces[i]) == KS_CRYPTO_OK, "nonce %d", i);
		for (int j = 0; j < i; j++)
			CHECK(memcmp(nonces[i], nonces[j], 8) != 0, "nonces %d and %d", i, j);
	}
}

const UnitTest crypto_tests[] = {
	{"XAES-256-GCM gives the published vectors", xaes_vectors},
	{"XAES-256-GCM gives the published accumulated hash", xaes_accumulated},
	{"every bit of ciphertext, tag, nonce and AAD counts", every_bit_counts},
	{"another key does not open", other_key_refused},
	{"seal and open round trip at all lengths, in place too", round_trips},
	{"lengths beyond an int and cleared keys are refused", misuse_refused},
	{"the reason empties libcrypto's error queue", reason_empties_queue},
	{"SHA-256 gives the values of FIPS 180", sha256_vectors},
	{"HMAC-SHA-256 gives the values of RFC 4231, in any pieces", hmac_vectors},
	{"derived keys are those of RFC 5869", hkdf_reference},
	{"HKDF-SHA-256 gives the values of RFC 5869", hkdf_vectors},
	{"X25519 gives the values of RFC 7748, and refuses points of low order", x25519_vectors},
	{"an X25519 key is read from PEM", x25519_pem},
	{"nonces and uuids do not repeat", random_is_unique},
	{"ks_equal sees each bit", equal_compares_all},
	{"a key that is derived from a prepared one is that of SP 800-108", aead_derives},
	{"nonces from the stock do not repeat", nonces_from_stock},
	{NULL, NULL}
};
