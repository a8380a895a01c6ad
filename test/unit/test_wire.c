/*-------------------------------------------------------------------------
 *
 * test_wire.c
 *	  Tests of ks_wire: envelopes, fields, addresses and padding.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "ks_wire.h"

#define PLAIN_LEN		64
#define ENVELOPE_LEN	(KS_ENVELOPE_OVERHEAD + PLAIN_LEN)

static const uint8 key_id[KS_ID_LEN] = {1, 2, 3};
static const uint8 workspace[KS_ID_LEN] = {4, 5, 6};
static const uint8 credential[KS_ID_LEN] = {7, 8, 9};
static const uint8 owner[KS_ID_LEN] = {10, 11, 12};
static const uint8 zero_id[KS_ID_LEN] = {0};

static KsAddress
make_address(void)
{
	KsAddress	address = {
		.key_id = key_id, .workspace = workspace, .credential = credential, .version = 7,
		.environment = "production", .owner = owner, .name = "billing key",
		.kind = "api_key", .provider = "openai", .has_expiry = true, .expires_at = 123456789
	};

	memset(address.metadata_digest, 0x5a, KS_DIGEST_LEN);
	return address;
}

/*
 * An envelope as the vault makes it: the address is its AAD.
 */
static void
make_envelope(const KsAead *aead, uint8 envelope[ENVELOPE_LEN])
{
	KsAddress	address = make_address();
	uint8		aad[KS_AAD_MAX];
	uint8		plain[PLAIN_LEN];
	size_t		aad_len;

	memset(plain, 'k', sizeof(plain));
	ks_pad(plain, 40);
	ks_envelope_header(envelope, 0x01020304);
	aad_len = ks_address_aad(&address, envelope, aad);
	for (size_t i = 0; i < KS_NONCE_LEN; i++)
		envelope[KS_ENVELOPE_HEADER_LEN + i] = (uint8) unit_random();
	CHECK(ks_aead_seal(aead, envelope + KS_ENVELOPE_HEADER_LEN, aad, aad_len, plain, PLAIN_LEN,
					   envelope + KS_ENVELOPE_HEADER_LEN + KS_NONCE_LEN) == KS_CRYPTO_OK, "seal");
}

/*
 * True if len bytes are an envelope, and it opens.
 */
static bool
opens(const KsAead *aead, const uint8 *bytes, size_t len)
{
	KsAddress	address = make_address();
	KsEnvelope	envelope;
	uint8		aad[KS_AAD_MAX];
	uint8		plain[PLAIN_LEN];
	size_t		value_len;

	if (!ks_envelope_parse(bytes, len, &envelope) || envelope.sealed_len > PLAIN_LEN + KS_TAG_LEN)
		return false;
	if (ks_aead_open(aead, envelope.nonce, aad, ks_address_aad(&address, envelope.header, aad),
					 envelope.sealed, envelope.sealed_len, plain) != KS_CRYPTO_OK)
		return false;
	return ks_unpad(plain, envelope.sealed_len - KS_TAG_LEN, &value_len) && value_len == 40;
}

static void
envelope_layout(void)
{
	uint8		bytes[ENVELOPE_LEN] = {0};
	KsEnvelope	envelope;

	ks_envelope_header(bytes, 0x01020304);
	CHECK(unit_equals_hex(bytes, KS_ENVELOPE_HEADER_LEN, "010101020304"), "header");
	CHECK(ks_envelope_parse(bytes, sizeof(bytes), &envelope), "parse");
	CHECK(envelope.algorithm == KS_ALG_XAES_256_GCM, "algorithm");
	CHECK(envelope.key_version == 0x01020304, "key version %u", envelope.key_version);
	CHECK(envelope.header == bytes && envelope.nonce == bytes + 6 &&
		  envelope.sealed == bytes + 30 && envelope.sealed_len == sizeof(bytes) - 30, "pointers");

	ks_envelope_header(bytes, 0xfffefdfc);
	CHECK(ks_envelope_parse(bytes, sizeof(bytes), &envelope) &&
		  envelope.key_version == 0xfffefdfc, "large key version");

	/* no other format or algorithm is known */
	for (int value = 0; value < 256; value++)
	{
		bytes[0] = (uint8) value;
		CHECK(ks_envelope_parse(bytes, sizeof(bytes), &envelope) == (value == 1),
			  "format %d", value);
		bytes[0] = 1;
		bytes[1] = (uint8) value;
		CHECK(ks_envelope_parse(bytes, sizeof(bytes), &envelope) == (value == 1),
			  "algorithm %d", value);
		bytes[1] = 1;
	}
	CHECK(!ks_envelope_parse(NULL, 0, &envelope), "nothing");
}

static void
envelope_truncated(void)
{
	KsAead		aead;
	uint8		key[KS_KEY_LEN] = {42};
	uint8		bytes[ENVELOPE_LEN];

	CHECK(ks_aead_init(&aead, key) == KS_CRYPTO_OK, "init");
	make_envelope(&aead, bytes);
	CHECK(opens(&aead, bytes, sizeof(bytes)), "does not open");

	for (size_t n = 0; n < sizeof(bytes); n++)
	{
		uint8	   *copy = unit_copy(bytes, n);
		KsEnvelope	envelope;
		bool		parsed = ks_envelope_parse(copy, n, &envelope);

		CHECK(parsed == (n >= KS_ENVELOPE_OVERHEAD), "%zu bytes", n);
		if (parsed)
			CHECK(envelope.sealed_len == n - 30, "%zu bytes: %zu sealed", n, envelope.sealed_len);
		else
			CHECK(unit_is_zero(&envelope, sizeof(envelope)), "%zu bytes: not zeroed", n);
		CHECK(!opens(&aead, copy, n), "%zu bytes: opens", n);
		free(copy);
	}
	ks_aead_clear(&aead);
}

static void
envelope_flipped(void)
{
	KsAead		aead;
	uint8		key[KS_KEY_LEN] = {42};
	uint8		bytes[ENVELOPE_LEN];

	CHECK(ks_aead_init(&aead, key) == KS_CRYPTO_OK, "init");
	make_envelope(&aead, bytes);
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++)
	{
		bytes[bit / 8] ^= (uint8) (1 << bit % 8);
		CHECK(!opens(&aead, bytes, sizeof(bytes)), "bit %zu", bit);
		bytes[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	CHECK(opens(&aead, bytes, sizeof(bytes)), "does not open");
	ks_aead_clear(&aead);
}

/* One field of each kind. */
static void
put_all_kinds(KsFields *f)
{
	ks_fields_text(f, "ab");
	ks_fields_text(f, NULL);
	ks_fields_text(f, "");
	ks_fields_uuid(f, key_id);
	ks_fields_uuid(f, NULL);
	ks_fields_u32(f, 0x01020304);
	ks_fields_i64(f, -2);
	ks_fields_bytes(f, NULL, 0);
	ks_fields_absent(f);
}

static const char all_kinds[] =
"0100000001" "70"
"0100000002" "6162"
"00"
"0100000000"
"0100000010" "01020300000000000000000000000000"
"00"
"0100000004" "01020304"
"0100000008" "fffffffffffffffe"
"0100000000"
"00";

static void
fields_layout(void)
{
	uint8		buf[200];
	KsFields	f;

	ks_fields_begin(&f, buf, sizeof(buf), "p");
	put_all_kinds(&f);
	CHECK(!f.full, "full");
	CHECK(unit_equals_hex(f.buf, f.len, all_kinds), "bytes differ");
}

static void
fields_bounded(void)
{
	const size_t needed = strlen(all_kinds) / 2;
	uint8		huge = 0;
	KsFields	f;

	for (size_t size = 0; size <= needed + 1; size++)
	{
		uint8	   *buf = malloc(size > 0 ? size : 1);
		size_t		len;

		if (buf == NULL)
			abort();
		ks_fields_begin(&f, buf, size, "p");
		put_all_kinds(&f);
		CHECK(f.full == (size < needed), "size %zu", size);
		CHECK(f.len <= size, "size %zu: length %zu", size, f.len);

		/* once full, also what would fit is not written */
		len = f.len;
		if (f.full)
		{
			ks_fields_absent(&f);
			ks_fields_bytes(&f, NULL, 0);
			CHECK(f.full && f.len == len, "size %zu: not sticky", size);
		}
		free(buf);
	}

	/* a length that must not wrap around in the comparison */
	ks_fields_begin(&f, &huge, 1, NULL);
	ks_fields_bytes(&f, &huge, SIZE_MAX);
	CHECK(f.full && f.len == 1, "a length of SIZE_MAX");
}

/*
 * The fields of an address, in the order that is the format: a change of it
 * makes all that is stored unreadable.
 */
static void
address_layout(void)
{
	KsAddress	address = make_address();
	uint8		header[KS_ENVELOPE_HEADER_LEN];
	uint8		aad[KS_AAD_MAX];
	uint8		expected[KS_AAD_MAX];
	size_t		len;
	KsFields	f;

	ks_envelope_header(header, 3);
	len = ks_address_aad(&address, header, aad);

	ks_fields_begin(&f, expected, sizeof(expected), "keystone credential v1");
	ks_fields_bytes(&f, header, sizeof(header));
	ks_fields_uuid(&f, key_id);
	ks_fields_uuid(&f, workspace);
	ks_fields_uuid(&f, credential);
	ks_fields_u32(&f, 7);
	ks_fields_text(&f, "production");
	ks_fields_uuid(&f, owner);
	ks_fields_text(&f, "billing key");
	ks_fields_text(&f, "api_key");
	ks_fields_text(&f, "openai");
	ks_fields_i64(&f, 123456789);
	ks_fields_bytes(&f, address.metadata_digest, KS_DIGEST_LEN);
	CHECK(len == f.len && memcmp(aad, expected, len) == 0, "bytes differ");
}

/* Addresses whose bytes were made so far, and what they are. */
#define ADDRESSES_MAX	40

typedef struct Seen
{
	int			count;
	const char *what[ADDRESSES_MAX];
	size_t		len[ADDRESSES_MAX];
	uint8		aad[ADDRESSES_MAX][KS_AAD_MAX];
} Seen;

static void
expect_new(Seen *seen, const char *what, const KsAddress *address, uint32 key_version)
{
	uint8		header[KS_ENVELOPE_HEADER_LEN];
	int			n = seen->count++;

	if (n >= ADDRESSES_MAX)
		abort();
	ks_envelope_header(header, key_version);
	seen->what[n] = what;
	seen->len[n] = ks_address_aad(address, header, seen->aad[n]);
	CHECK(seen->len[n] > 0, "%s: does not fit", what);
	for (int i = 0; i < n; i++)
		CHECK(seen->len[i] != seen->len[n] ||
			  memcmp(seen->aad[i], seen->aad[n], seen->len[n]) != 0,
			  "%s: the same bytes as %s", what, seen->what[i]);
}

static void
address_injective(void)
{
	static Seen seen;
	KsAddress	address = make_address();

	seen.count = 0;
	expect_new(&seen, "the address", &address, 3);
	expect_new(&seen, "another key version", &address, 4);

#define EXPECT_NEW(what, ...) \
	do { \
		KsAddress	changed = make_address(); \
		\
		__VA_ARGS__; \
		expect_new(&seen, what, &changed, 3); \
	} while (0)

	/* one field changed */
	EXPECT_NEW("another key", changed.key_id = zero_id);
	EXPECT_NEW("another workspace", changed.workspace = zero_id);
	EXPECT_NEW("another credential", changed.credential = zero_id);
	EXPECT_NEW("key and workspace swapped",
			   changed.key_id = workspace, changed.workspace = key_id);
	EXPECT_NEW("workspace and credential swapped",
			   changed.workspace = credential, changed.credential = workspace);
	EXPECT_NEW("another version", changed.version = 8);
	EXPECT_NEW("another environment", changed.environment = "staging");
	EXPECT_NEW("no environment", changed.environment = NULL);
	EXPECT_NEW("an empty environment", changed.environment = "");
	EXPECT_NEW("another owner", changed.owner = workspace);
	EXPECT_NEW("no owner", changed.owner = NULL);
	EXPECT_NEW("a zero owner", changed.owner = zero_id);
	EXPECT_NEW("another name", changed.name = "billing kez");
	EXPECT_NEW("a longer name", changed.name = "billing key ");
	EXPECT_NEW("another kind", changed.kind = "password");
	EXPECT_NEW("another provider", changed.provider = "openaj");
	EXPECT_NEW("no provider", changed.provider = NULL);
	EXPECT_NEW("an empty provider", changed.provider = "");
	EXPECT_NEW("another expiry", changed.expires_at++);
	EXPECT_NEW("a negative expiry", changed.expires_at = -changed.expires_at);
	EXPECT_NEW("an expiry of zero", changed.expires_at = 0);
	EXPECT_NEW("no expiry", changed.has_expiry = false);
	EXPECT_NEW("other metadata", changed.metadata_digest[31] ^= 1);

	/* a byte moved from one text to its neighbour */
	EXPECT_NEW("name to kind", changed.name = "billing ke", changed.kind = "yapi_key");
	EXPECT_NEW("kind to name", changed.name = "billing keya", changed.kind = "pi_key");
	EXPECT_NEW("kind to provider", changed.kind = "api_ke", changed.provider = "yopenai");
	EXPECT_NEW("provider to kind", changed.kind = "api_keyo", changed.provider = "penai");
	EXPECT_NEW("all of provider to kind", changed.kind = "api_keyopenai", changed.provider = "");
	EXPECT_NEW("name and kind swapped", changed.name = "api_key", changed.kind = "billing key");
	EXPECT_NEW("environment to name", changed.owner = NULL,
			   changed.environment = "productio", changed.name = "nbilling key");
	EXPECT_NEW("name to environment", changed.owner = NULL,
			   changed.environment = "productionb", changed.name = "illing key");
#undef EXPECT_NEW

	/* the number without effect when there is no expiry */
	{
		KsAddress	changed = make_address();
		uint8		header[KS_ENVELOPE_HEADER_LEN] = {0};
		uint8		one[KS_AAD_MAX];
		uint8		other[KS_AAD_MAX];
		size_t		len;

		changed.has_expiry = false;
		len = ks_address_aad(&changed, header, one);
		changed.expires_at = 99;
		CHECK(len == ks_address_aad(&changed, header, other) && memcmp(one, other, len) == 0,
			  "an expiry that is not there changes the bytes");
	}
}

static void
address_limits(void)
{
	char		text[KS_NAME_MAX + 2];
	uint8		header[KS_ENVELOPE_HEADER_LEN];
	uint8	   *aad = malloc(KS_AAD_MAX);
	KsAddress	address = make_address();

	if (aad == NULL)
		abort();
	memset(text, 'x', sizeof(text));
	text[KS_NAME_MAX + 1] = '\0';
	ks_envelope_header(header, 1);

	/* text + n is a text of KS_NAME_MAX + 1 - n bytes */
#define TEXT_OF(n)	(text + KS_NAME_MAX + 1 - (n))
	address.name = TEXT_OF(KS_NAME_MAX);
	address.environment = TEXT_OF(KS_ENVIRONMENT_MAX);
	address.kind = TEXT_OF(KS_KIND_MAX);
	address.provider = TEXT_OF(KS_PROVIDER_MAX);
	CHECK(ks_address_aad(&address, header, aad) > 0, "the largest address does not fit");

	address.name = TEXT_OF(KS_NAME_MAX + 1);
	CHECK(ks_address_aad(&address, header, aad) == 0, "a name over its limit");
	address.name = "n";
	address.environment = TEXT_OF(KS_ENVIRONMENT_MAX + 1);
	CHECK(ks_address_aad(&address, header, aad) == 0, "an environment over its limit");
	address.environment = "e";
	address.kind = TEXT_OF(KS_KIND_MAX + 1);
	CHECK(ks_address_aad(&address, header, aad) == 0, "a kind over its limit");
	address.kind = "k";
	address.provider = TEXT_OF(KS_PROVIDER_MAX + 1);
	CHECK(ks_address_aad(&address, header, aad) == 0, "a provider over its limit");
	address.provider = "p";
	CHECK(ks_address_aad(&address, header, aad) > 0, "a small address");
#undef TEXT_OF
	free(aad);
}

static void
padding_round_trip(void)
{
	for (size_t len = 0; len <= 200; len++)
	{
		size_t		padded_len = ks_padded_len(len);
		uint8	   *buf = malloc(padded_len);
		size_t		found = 999;

		if (buf == NULL)
			abort();
		CHECK(padded_len % KS_PAD_BLOCK == 0 && padded_len > len &&
			  padded_len - len <= KS_PAD_BLOCK, "length %zu: padded to %zu", len, padded_len);

		/* values that look like padding themselves must come back too */
		for (int filler = 0; filler < 3; filler++)
		{
			static const uint8 fillers[] = {0x00, 0x80, 0x41};
			bool		intact = true;

			memset(buf, 0xee, padded_len);
			memset(buf, fillers[filler], len);
			ks_pad(buf, len);
			for (size_t i = 0; i < len; i++)
				intact &= buf[i] == fillers[filler];
			CHECK(intact, "length %zu: the value changed", len);
			CHECK(ks_unpad(buf, padded_len, &found), "length %zu: not padded", len);
			CHECK(found == len, "length %zu: came back as %zu", len, found);
		}
		free(buf);
	}
}

static void
padding_refused(void)
{
	uint8		buf[96];
	size_t		len = 999;

	memset(buf, 'x', sizeof(buf));
	ks_pad(buf, 40);			/* 64 bytes in all */

	CHECK(ks_unpad(buf, 64, &len) && len == 40, "is padded");
	CHECK(!ks_unpad(buf, 0, &len) && len == 0, "nothing");
	CHECK(!ks_unpad(NULL, 0, &len), "NULL");
	for (size_t n = 1; n < 64; n++)
		CHECK(!ks_unpad(buf, n, &len) && len == 0, "cut to %zu bytes", n);

	/* each other value of each padding byte */
	for (size_t at = 40; at < 64; at++)
	{
		uint8		saved = buf[at];

		for (int value = 0; value < 256; value++)
		{
			/* a mark further on stands for a longer value: that is padding */
			if (value == saved || (value == 0x80 && at > 40))
				continue;
			buf[at] = (uint8) value;
			CHECK(!ks_unpad(buf, 64, &len) && len == 0, "byte %zu is %d", at, value);
		}
		buf[at] = saved;
	}

	/* a block too many: the mark does not lie in the last one */
	memset(buf, 0, sizeof(buf));
	buf[31] = 0x80;
	CHECK(!ks_unpad(buf, 64, &len) && len == 0, "a block of zeros after the mark's");
	CHECK(ks_unpad(buf, 32, &len) && len == 31, "the mark at the end of the block");
	memset(buf, 0, sizeof(buf));
	CHECK(!ks_unpad(buf, 96, &len), "zeros only");
	buf[64] = 0x80;
	CHECK(ks_unpad(buf, 96, &len) && len == 64, "a block of padding only");
}

const UnitTest wire_tests[] = {
	{"an envelope has the documented layout", envelope_layout},
	{"an envelope cut at any length is refused", envelope_truncated},
	{"an envelope with any bit flipped is refused", envelope_flipped},
	{"fields have the documented layout", fields_layout},
	{"fields stay within their buffer, and full is sticky", fields_bounded},
	{"an address has the documented fields in order", address_layout},
	{"no two addresses have the same bytes", address_injective},
	{"an address within its limits fits, another does not", address_limits},
	{"padding comes off as it went on", padding_round_trip},
	{"malformed padding is refused", padding_refused},
	{NULL, NULL}
};
