/*-------------------------------------------------------------------------
 *
 * bundle.c
 *	  Fuzzes the readers of ks_bundlewire: the records of a bundle, and what
 *	  they seal, which whoever knows a public key can choose.
 *
 * What is read lies within the input, and writes as the same bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_bundlewire.h"

static void
check_within(const KsBytes *field, const uint8 *bytes, size_t size)
{
	const uint8 *data = field->data;

	REQUIRE(data != NULL || field->len == 0);
	REQUIRE(data == NULL || (data >= bytes && field->len <= size && data + field->len <= bytes + size));
}

static void
check_fields(const uint8 *bytes, size_t size)
{
	KsBundleRecord record;
	uint8	   *again;

	if (!ks_bundle_parse(bytes, size, &record))
	{
		REQUIRE(fuzz_is_zero(&record, sizeof(record)));
		return;
	}
	check_within(&record.name, bytes, size);
	check_within(&record.display_name, bytes, size);
	check_within(&record.contact, bytes, size);
	check_within(&record.mode, bytes, size);
	check_within(&record.json, bytes, size);
	check_within(&record.environment, bytes, size);
	check_within(&record.provider, bytes, size);
	check_within(&record.type, bytes, size);
	check_within(&record.description, bytes, size);
	check_within(&record.state, bytes, size);
	check_within(&record.value, bytes, size);
	REQUIRE(record.n_tags <= KS_BUNDLE_TAGS_MAX);
	for (uint32 i = 0; i < record.n_tags; i++)
		check_within(&record.tags[i], bytes, size);

	REQUIRE(ks_bundle_plain_len(&record) == size);
	again = fuzz_copy(NULL, size);
	ks_bundle_format(&record, again);
	REQUIRE(memcmp(again, bytes, size) == 0);
	free(again);
}

/* Records follow each other without a gap, and end at the end of the input. */
static void
check_records(const uint8 *bytes, size_t size)
{
	KsEnvelope	envelope;
	size_t		at = 0;
	size_t		before = 0;

	while (ks_bundle_next(bytes, size, &at, &envelope))
	{
		REQUIRE(at > before && at <= size);
		REQUIRE(envelope.header == bytes + before + KS_BUNDLE_LENGTH_LEN);
		REQUIRE(envelope.sealed + envelope.sealed_len == bytes + at);
		before = at;
	}
	REQUIRE(at == before);
}

/* As a bundle for a key that everybody knows. */
static void
check_bundle(const uint8 *bytes, size_t size)
{
	static const uint8 private_key[KS_X25519_LEN] = {1};
	KsBundle	bundle;
	KsBundleRecord record;
	KsEnvelope	envelope;
	size_t		at = KS_BUNDLE_HEADER_LEN;

	if (ks_bundle_begin_read(&bundle, bytes, size, private_key) == KS_CRYPTO_OK)
	{
		while (ks_bundle_next(bytes, size, &at, &envelope))
		{
			uint8	   *plain = fuzz_copy(NULL, envelope.sealed_len);
			KsCryptoResult result = ks_bundle_open_record(&bundle, &envelope, plain, &record);

			free(plain);
			if (result != KS_CRYPTO_OK)
				break;
		}
	}
	ks_bundle_clear(&bundle);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready = false;
	uint8	   *bytes = fuzz_copy(data, size);

	if (!ready)
		REQUIRE(ks_crypto_init());
	ready = true;
	check_fields(bytes, size);
	check_records(bytes, size);
	check_bundle(bytes, size);
	REQUIRE(size == 0 || memcmp(bytes, data, size) == 0);
	free(bytes);
	return 0;
}
