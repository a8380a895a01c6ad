/*-------------------------------------------------------------------------
 *
 * test_bundle.c
 *	  Tests of ks_bundlewire: bundles are read as they were written, and only
 *	  so.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdlib.h>

#include "ks_bundlewire.h"

static const uint8 recipient_key[KS_X25519_LEN] = {7, 7, 7};

#define BYTES(text) {text, sizeof(text) - 1}

/* One record of each kind, in the order of a bundle. */
static const KsBundleRecord samples[] = {
	{.kind = KS_BUNDLE_WORKSPACE, .id = {1, 2, 3}, .name = BYTES("acme"), .display_name = BYTES("Acme"),
	.contact = BYTES("")},
	{.kind = KS_BUNDLE_PROVIDER, .name = BYTES("openai"), .mode = BYTES("hosted"), .json = BYTES("{}"), .enabled = true},
	{.kind = KS_BUNDLE_CREDENTIAL, .name = BYTES("token"), .environment = BYTES("prod"), .personal = true,
		.type = BYTES("api_key"), .json = BYTES("{\"a\": 1}"), .has_expiry = true, .expires_at = -2, .enabled = true,
	.n_tags = 2, .tags = {BYTES("one"), BYTES("")}, .current = 3, .last = 4, .n_versions = 1},
	{.kind = KS_BUNDLE_VERSION, .version = 4, .state = BYTES("pending"), .value = BYTES("the value")},
	{.kind = KS_BUNDLE_END, .n_providers = 1, .n_credentials = 1, .n_versions = 1},
};

#define BUNDLE_MAX 4096

/* Writes the samples; returns the length. */
static size_t
write_bundle(uint8 out[BUNDLE_MAX])
{
	uint8		recipient[KS_X25519_LEN];
	uint8		plain[512];
	KsBundle	bundle;
	size_t		len = KS_BUNDLE_HEADER_LEN;

	CHECK(ks_x25519_public(recipient_key, recipient) == KS_CRYPTO_OK, "public key");
	CHECK(ks_bundle_begin(&bundle, recipient) == KS_CRYPTO_OK, "begin");
	memcpy(out, bundle.header, KS_BUNDLE_HEADER_LEN);
	for (size_t i = 0; i < lengthof(samples); i++)
	{
		CHECK(ks_bundle_write(&bundle, (uint32) i + 1, &samples[i], plain, out + len) == KS_CRYPTO_OK, "record %zu", i);
		len += ks_bundle_record_len(&samples[i]);
	}
	ks_bundle_clear(&bundle);
	return len;
}

/* How many records open; -1 when the bundle cannot be begun. */
static int
read_bundle(const uint8 *data, size_t len, bool *complete)
{
	KsBundle	bundle;
	KsBundleRecord record = {0};
	KsEnvelope	envelope;
	uint8		plain[512];
	size_t		at = KS_BUNDLE_HEADER_LEN;
	int			n = 0;

	*complete = false;
	if (ks_bundle_begin_read(&bundle, data, len, recipient_key) != KS_CRYPTO_OK)
	{
		ks_bundle_clear(&bundle);
		return -1;
	}
	while (ks_bundle_next(data, len, &at, &envelope) && envelope.sealed_len <= sizeof(plain) &&
		   ks_bundle_open_record(&bundle, &envelope, plain, &record) == KS_CRYPTO_OK)
		n++;
	*complete = record.kind == KS_BUNDLE_END && at == len;
	ks_bundle_clear(&bundle);
	return n;
}

static void
bundle_round_trip(void)
{
	uint8		data[BUNDLE_MAX];
	size_t		len = write_bundle(data);
	bool		complete;

	CHECK(memcmp(data, "KSBUNDLE\x01\x01\x00\x00", 12) == 0, "the bundle begins otherwise");
	CHECK(read_bundle(data, len, &complete) == (int) lengthof(samples) && complete, "what was written is read");

	for (size_t i = 0; i < lengthof(samples); i++)
	{
		uint8		plain[512];
		uint8		again[512];
		KsBundleRecord record;
		size_t		plain_len = ks_bundle_plain_len(&samples[i]);

		ks_bundle_format(&samples[i], plain);
		CHECK(ks_bundle_parse(plain, plain_len, &record), "sample %zu", i);
		CHECK(record.kind == samples[i].kind && ks_bundle_plain_len(&record) == plain_len, "sample %zu differs", i);
		ks_bundle_format(&record, again);
		CHECK(memcmp(plain, again, plain_len) == 0, "sample %zu is not the same again", i);
		for (size_t cut = 0; cut < plain_len; cut++)
			CHECK(!ks_bundle_parse(plain, cut, &record), "sample %zu, cut at %zu", i, cut);
		plain[plain_len] = 0;
		CHECK(!ks_bundle_parse(plain, plain_len + 1, &record), "sample %zu, a byte too many", i);
	}
}

static void
bundle_every_byte(void)
{
	uint8		data[BUNDLE_MAX];
	size_t		len = write_bundle(data);
	bool		complete;

	for (size_t i = 0; i < len; i++)
	{
		data[i] ^= (uint8) (1 << i % 8);
		(void) read_bundle(data, len, &complete);
		CHECK(!complete, "byte %zu does not count", i);
		data[i] ^= (uint8) (1 << i % 8);
		(void) read_bundle(data, i, &complete);
		CHECK(!complete, "cut at %zu it is complete", i);
	}
	data[len] = 0;
	(void) read_bundle(data, len + 1, &complete);
	CHECK(!complete, "with a byte more it is complete");
}

/* The first two records exchanged, one left out, one twice. */
static void
bundle_order(void)
{
	uint8		data[BUNDLE_MAX];
	uint8		other[BUNDLE_MAX];
	size_t		len = write_bundle(data);
	size_t		first = ks_bundle_record_len(&samples[0]);
	size_t		second = ks_bundle_record_len(&samples[1]);
	uint8	   *at = other + KS_BUNDLE_HEADER_LEN;
	const uint8 *from = data + KS_BUNDLE_HEADER_LEN;
	bool		complete;

	memcpy(other, data, len);
	memcpy(at, from + first, second);
	memcpy(at + second, from, first);
	CHECK(read_bundle(other, len, &complete) == 0, "exchanged records open");
	memcpy(at, from + first, len - KS_BUNDLE_HEADER_LEN - first);
	CHECK(read_bundle(other, len - first, &complete) == 0, "without its first record it opens");
	memcpy(at, from, first);
	memcpy(at + first, from, len - KS_BUNDLE_HEADER_LEN);
	CHECK(read_bundle(other, len + first, &complete) == 1, "a record opens twice");
}

const UnitTest bundle_tests[] = {
	{"bundles are read as they were written", bundle_round_trip},
	{"every byte of a bundle counts", bundle_every_byte},
	{"records of a bundle keep their order", bundle_order},
	{NULL, NULL}
};
