/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  Fuzzes ks_envelope_parse(), ks_unpad() and the writer of fields.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_wire.h"

/*
 * What parses has its parts in the input, in order and without a gap, and its
 * header is the one that would be written.
 */
static void
check_envelope(const uint8 *bytes, size_t size)
{
	KsEnvelope	envelope;
	uint8		header[KS_ENVELOPE_HEADER_LEN];

	if (!ks_envelope_parse(bytes, size, &envelope))
	{
		REQUIRE(size < KS_ENVELOPE_OVERHEAD || bytes[0] != KS_ENVELOPE_FORMAT ||
				bytes[1] != KS_ALG_XAES_256_GCM);
		REQUIRE(fuzz_is_zero(&envelope, sizeof(envelope)));
		return;
	}
	REQUIRE(envelope.header == bytes);
	REQUIRE(envelope.nonce == bytes + KS_ENVELOPE_HEADER_LEN);
	REQUIRE(envelope.sealed == envelope.nonce + KS_NONCE_LEN);
	REQUIRE(envelope.sealed + envelope.sealed_len == bytes + size);
	REQUIRE(envelope.sealed_len >= KS_TAG_LEN);

	ks_envelope_header(header, envelope.key_version);
	REQUIRE(memcmp(header, bytes, sizeof(header)) == 0);
	REQUIRE(envelope.algorithm == header[1]);
}

/*
 * What unpads is what padding the result gives, and nothing else unpads.
 */
static void
check_padding(const uint8 *bytes, size_t size)
{
	size_t		len;
	bool		padded = ks_unpad(bytes, size, &len);
	bool		expected = false;

	for (size_t zeros = 0; zeros < KS_PAD_BLOCK && zeros < size; zeros++)
	{
		if (size % KS_PAD_BLOCK == 0 && bytes[size - 1 - zeros] == 0x80 &&
			fuzz_is_zero(bytes + size - zeros, zeros))
			expected = true;
	}
	REQUIRE(padded == expected);

	if (padded)
	{
		uint8	   *again = fuzz_copy(bytes, size);

		REQUIRE(ks_padded_len(len) == size);
		memset(again + len, 0xee, size - len);
		ks_pad(again, len);
		REQUIRE(memcmp(again, bytes, size) == 0);
		free(again);
	}
	else
		REQUIRE(len == 0);
}

static void
check_any_padded(const uint8 *bytes, size_t size)
{
	uint8	   *padded = fuzz_copy(NULL, ks_padded_len(size));
	size_t		len;

	if (size > 0)
		memcpy(padded, bytes, size);
	ks_pad(padded, size);
	REQUIRE(ks_unpad(padded, ks_padded_len(size), &len) && len == size);
	free(padded);
}

/*
 * Fields that the input chooses, written to a buffer that may be too small,
 * are read back one by one.
 */
static void
check_fields(const uint8 *bytes, size_t size)
{
	size_t		room = size > 0 ? bytes[0] * 2 : 0;
	uint8	   *buf = fuzz_copy(NULL, room);
	size_t		needed = 1 + 4 + 7;
	KsFields	f;

	ks_fields_begin(&f, buf, room, "purpose");
	for (size_t i = 1; i < size;)
	{
		size_t		len = bytes[i] & 0x7f;

		if (bytes[i++] & 0x80)
		{
			ks_fields_absent(&f);
			needed += 1;
			continue;
		}
		if (len > size - i)
			len = size - i;
		ks_fields_bytes(&f, bytes + i, len);
		needed += 5 + len;
		i += len;
	}
	REQUIRE(f.len <= room);
	REQUIRE(f.full == (needed > room));

	if (!f.full)
	{
		size_t		at = 1 + 4 + 7;

		REQUIRE(f.len == needed && memcmp(buf, "\1\0\0\0\7purpose", at) == 0);
		for (size_t i = 1; i < size;)
		{
			size_t		len = bytes[i] & 0x7f;

			if (bytes[i++] & 0x80)
			{
				REQUIRE(buf[at++] == 0);
				continue;
			}
			if (len > size - i)
				len = size - i;
			REQUIRE(buf[at] == 1 && fuzz_is_zero(buf + at + 1, 3) && buf[at + 4] == len);
			REQUIRE(len == 0 || memcmp(buf + at + 5, bytes + i, len) == 0);
			at += 5 + len;
			i += len;
		}
		REQUIRE(at == f.len);
	}
	free(buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8	   *bytes = fuzz_copy(data, size);

	check_envelope(bytes, size);
	check_padding(bytes, size);
	check_any_padded(bytes, size);
	check_fields(bytes, size);
	REQUIRE(size == 0 || memcmp(bytes, data, size) == 0);
	free(bytes);
	return 0;
}
