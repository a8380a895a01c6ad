/*-------------------------------------------------------------------------
 *
 * ks_bundlewire.c
 *	  The bytes of a bundle: a workspace on its way to another server.
 *
 * Everything here is pure and allocates nothing but a KsAead.  What must
 * always hold:
 *
 *	- no byte outside of the lengths given is read or written, whatever the
 *	  input: a bundle may come from anybody;
 *	- writing what was read gives the same bytes;
 *	- keys and shared secrets are wiped before a function returns.
 *
 * ks_bundlewire.h has the format.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_bundlewire.h"

#include "ks_mem.h"

#define FIELD_ABSENT	0x00
#define FIELD_PRESENT	0x01

/* Magic, format, suite X25519 with HKDF-SHA-256 and XAES-256-GCM, zeros. */
#define HEADER_BEGIN	"KSBUNDLE\x01\x01\x00\x00"

/* Names of the kinds, as the first field of a record has them. */
static const char *const kinds[] = {
	[KS_BUNDLE_WORKSPACE] = "workspace",
	[KS_BUNDLE_PROVIDER] = "provider",
	[KS_BUNDLE_CREDENTIAL] = "credential",
	[KS_BUNDLE_VERSION] = "version",
	[KS_BUNDLE_END] = "end",
};

static uint32
get_u32(const uint8 *buf)
{
	return ((uint32) buf[0] << 24) | ((uint32) buf[1] << 16) |
		((uint32) buf[2] << 8) | (uint32) buf[3];
}

static void
put_u32(uint8 *buf, uint32 value)
{
	buf[0] = (uint8) (value >> 24);
	buf[1] = (uint8) (value >> 16);
	buf[2] = (uint8) (value >> 8);
	buf[3] = (uint8) value;
}


/*-------------------------------------------------------------------------
 * Fields: one walk serves to count, to write and to read
 *-------------------------------------------------------------------------
 */

typedef enum WalkMode
{
	WALK_COUNT,
	WALK_WRITE,
	WALK_READ
} WalkMode;

typedef struct Walk
{
	WalkMode	mode;
	uint8	   *out;			/* WALK_WRITE */
	const uint8 *in;			/* WALK_READ */
	size_t		at;
	size_t		len;			/* of in */
	bool		bad;			/* what is read is not well-formed */
} Walk;

static void
put_field(Walk *walk, const KsBytes *field)
{
	size_t		len = field->data != NULL ? field->len : 0;

	if (walk->mode == WALK_WRITE)
	{
		walk->out[walk->at] = field->data != NULL ? FIELD_PRESENT : FIELD_ABSENT;
		if (field->data != NULL)
		{
			put_u32(walk->out + walk->at + 1, (uint32) len);
			memcpy(walk->out + walk->at + KS_BUNDLE_FIELD_OVERHEAD, field->data, len);
		}
	}
	walk->at += field->data != NULL ? KS_BUNDLE_FIELD_OVERHEAD + len : 1;
}

static void
get_field(Walk *walk, KsBytes *field)
{
	size_t		room = walk->len - walk->at;
	uint32		len;

	field->data = NULL;
	field->len = 0;
	if (walk->bad || room < 1 || walk->in[walk->at] > FIELD_PRESENT)
	{
		walk->bad = true;
		return;
	}
	if (walk->in[walk->at] == FIELD_ABSENT)
	{
		walk->at++;
		return;
	}
	if (room < KS_BUNDLE_FIELD_OVERHEAD ||
		(len = get_u32(walk->in + walk->at + 1)) > room - KS_BUNDLE_FIELD_OVERHEAD)
	{
		walk->bad = true;
		return;
	}
	field->data = walk->in + walk->at + KS_BUNDLE_FIELD_OVERHEAD;
	field->len = len;
	walk->at += KS_BUNDLE_FIELD_OVERHEAD + len;
}

/* A field that may be absent. */
static void
walk_optional(Walk *walk, KsBytes *field)
{
	if (walk->mode == WALK_READ)
		get_field(walk, field);
	else
		put_field(walk, field);
}

static void
walk_bytes(Walk *walk, KsBytes *field)
{
	walk_optional(walk, field);
	if (walk->mode == WALK_READ && field->data == NULL)
		walk->bad = true;
}

static void
walk_u32(Walk *walk, uint32 *value)
{
	uint8		bytes[4];
	KsBytes		field = {bytes, sizeof(bytes)};

	put_u32(bytes, *value);
	walk_bytes(walk, &field);
	if (walk->mode != WALK_READ)
		return;
	if (walk->bad || field.len != sizeof(bytes))
		walk->bad = true;
	else
		*value = get_u32(field.data);
}

/* 0 or 1. */
static void
walk_bool(Walk *walk, bool *value)
{
	uint32		number = *value ? 1 : 0;

	walk_u32(walk, &number);
	if (walk->mode != WALK_READ)
		return;
	if (number > 1)
		walk->bad = true;
	*value = number == 1;
}

static void
walk_id(Walk *walk, uint8 id[KS_ID_LEN])
{
	KsBytes		field = {id, KS_ID_LEN};

	walk_bytes(walk, &field);
	if (walk->mode != WALK_READ)
		return;
	if (walk->bad || field.len != KS_ID_LEN)
		walk->bad = true;
	else
		memcpy(id, field.data, KS_ID_LEN);
}

/* A time, absent when there is none. */
static void
walk_time(Walk *walk, bool *present, int64 *time)
{
	uint8		bytes[8];
	KsBytes		field = {*present ? bytes : NULL, sizeof(bytes)};

	put_u32(bytes, (uint32) ((uint64) *time >> 32));
	put_u32(bytes + 4, (uint32) (uint64) *time);
	walk_optional(walk, &field);
	if (walk->mode != WALK_READ)
		return;
	if (walk->bad || (field.data != NULL && field.len != sizeof(bytes)))
	{
		walk->bad = true;
		return;
	}
	*present = field.data != NULL;
	if (*present)
		*time = (int64) (((uint64) get_u32(field.data) << 32) | get_u32((const uint8 *) field.data + 4));
}

static void
walk_tags(Walk *walk, KsBundleRecord *record)
{
	walk_u32(walk, &record->n_tags);
	if (record->n_tags > KS_BUNDLE_TAGS_MAX)
	{
		walk->bad = true;
		return;
	}
	for (uint32 i = 0; i < record->n_tags && !walk->bad; i++)
		walk_bytes(walk, &record->tags[i]);
}

static void
walk_credential(Walk *walk, KsBundleRecord *record)
{
	walk_bytes(walk, &record->name);
	walk_bytes(walk, &record->environment);
	walk_bool(walk, &record->personal);
	walk_optional(walk, &record->provider);
	walk_bytes(walk, &record->type);
	walk_optional(walk, &record->description);
	walk_bytes(walk, &record->json);
	walk_time(walk, &record->has_expiry, &record->expires_at);
	walk_bool(walk, &record->enabled);
	walk_tags(walk, record);
	walk_u32(walk, &record->current);
	walk_u32(walk, &record->last);
	walk_u32(walk, &record->n_versions);
}

/* The kind's name, then its fields. */
static void
walk_record(Walk *walk, KsBundleRecord *record)
{
	KsBytes		name = {NULL, 0};

	if (walk->mode != WALK_READ)
	{
		name.data = kinds[record->kind];
		name.len = strlen(kinds[record->kind]);
	}
	walk_bytes(walk, &name);
	for (int kind = KS_BUNDLE_WORKSPACE; walk->mode == WALK_READ && !walk->bad && kind <= KS_BUNDLE_END; kind++)
	{
		if (name.len == strlen(kinds[kind]) && memcmp(name.data, kinds[kind], name.len) == 0)
			record->kind = (KsBundleKind) kind;
	}
	switch (record->kind)
	{
		case KS_BUNDLE_NONE:
			walk->bad = true;
			break;
		case KS_BUNDLE_WORKSPACE:
			walk_id(walk, record->id);
			walk_bytes(walk, &record->name);
			walk_bytes(walk, &record->display_name);
			walk_optional(walk, &record->contact);
			break;
		case KS_BUNDLE_PROVIDER:
			walk_bytes(walk, &record->name);
			walk_bytes(walk, &record->mode);
			walk_bytes(walk, &record->json);
			walk_bool(walk, &record->enabled);
			break;
		case KS_BUNDLE_CREDENTIAL:
			walk_credential(walk, record);
			break;
		case KS_BUNDLE_VERSION:
			walk_u32(walk, &record->version);
			walk_bytes(walk, &record->state);
			walk_bytes(walk, &record->value);
			break;
		case KS_BUNDLE_END:
			walk_u32(walk, &record->n_providers);
			walk_u32(walk, &record->n_credentials);
			walk_u32(walk, &record->n_versions);
			break;
	}
}

size_t
ks_bundle_plain_len(const KsBundleRecord *record)
{
	Walk		walk = {.mode = WALK_COUNT};

	/* only WALK_READ writes to it */
	walk_record(&walk, (KsBundleRecord *) record);
	return walk.at;
}

void
ks_bundle_format(const KsBundleRecord *record, uint8 *plain)
{
	Walk		walk = {.mode = WALK_WRITE, .out = plain};

	walk_record(&walk, (KsBundleRecord *) record);
}

bool
ks_bundle_parse(const uint8 *plain, size_t len, KsBundleRecord *record)
{
	Walk		walk = {.mode = WALK_READ, .in = plain, .len = len};

	memset(record, 0, sizeof(*record));
	walk_record(&walk, record);
	if (!walk.bad && walk.at == len)
		return true;
	memset(record, 0, sizeof(*record));
	return false;
}


/*-------------------------------------------------------------------------
 * Header and key
 *-------------------------------------------------------------------------
 */

/* The bundle's key from either side's private key and the other's public one. */
static KsCryptoResult
derive_bundle_key(KsBundle *bundle, const uint8 *private_key, const uint8 *public_key)
{
	uint8		shared[KS_X25519_LEN];
	uint8		key[KS_KEY_LEN];
	KsBytes		input = {shared, sizeof(shared)};
	KsBytes		salt = {bundle->header, KS_BUNDLE_HEADER_LEN};
	KsBytes		info = {KS_PURPOSE_BUNDLE, strlen(KS_PURPOSE_BUNDLE)};
	KsCryptoResult result = ks_x25519_shared(private_key, public_key, shared);

	if (result == KS_CRYPTO_OK)
		result = ks_hkdf_sha256(&input, &salt, &info, key, sizeof(key));
	if (result == KS_CRYPTO_OK)
		result = ks_aead_init(&bundle->aead, key);
	ks_wipe(shared, sizeof(shared));
	ks_wipe(key, sizeof(key));
	return result;
}

KsCryptoResult
ks_bundle_begin(KsBundle *bundle, const uint8 recipient[KS_X25519_LEN])
{
	uint8		ephemeral[KS_X25519_LEN];
	KsCryptoResult result;

	memset(bundle, 0, sizeof(*bundle));
	memcpy(bundle->header, HEADER_BEGIN, KS_BUNDLE_RECIPIENT_AT);
	memcpy(bundle->header + KS_BUNDLE_RECIPIENT_AT, recipient, KS_X25519_LEN);
	result = ks_random(ephemeral, sizeof(ephemeral));
	if (result == KS_CRYPTO_OK)
		result = ks_x25519_public(ephemeral, bundle->header + KS_BUNDLE_EPHEMERAL_AT);
	if (result == KS_CRYPTO_OK)
		result = derive_bundle_key(bundle, ephemeral, recipient);
	ks_wipe(ephemeral, sizeof(ephemeral));
	return result;
}

KsCryptoResult
ks_bundle_begin_read(KsBundle *bundle, const void *data, size_t len, const uint8 private_key[KS_X25519_LEN])
{
	uint8		recipient[KS_X25519_LEN];
	KsCryptoResult result;

	memset(bundle, 0, sizeof(*bundle));
	if (len < KS_BUNDLE_HEADER_LEN || memcmp(data, HEADER_BEGIN, KS_BUNDLE_RECIPIENT_AT) != 0)
		return KS_CRYPTO_FORGED;
	memcpy(bundle->header, data, KS_BUNDLE_HEADER_LEN);
	result = ks_x25519_public(private_key, recipient);
	if (result != KS_CRYPTO_OK)
		return result;
	if (memcmp(recipient, bundle->header + KS_BUNDLE_RECIPIENT_AT, KS_X25519_LEN) != 0)
		return KS_CRYPTO_FORGED;
	return derive_bundle_key(bundle, private_key, bundle->header + KS_BUNDLE_EPHEMERAL_AT);
}

void
ks_bundle_clear(KsBundle *bundle)
{
	ks_aead_clear(&bundle->aead);
}


/*-------------------------------------------------------------------------
 * Records
 *-------------------------------------------------------------------------
 */

#define RECORD_AAD_MAX	(3 * KS_BUNDLE_FIELD_OVERHEAD + sizeof(KS_PURPOSE_BUNDLE) + \
						 KS_BUNDLE_HEADER_LEN + KS_ENVELOPE_HEADER_LEN)

static size_t
record_aad(const KsBundle *bundle, const uint8 *envelope_header, uint8 aad[RECORD_AAD_MAX])
{
	KsFields	fields;

	ks_fields_begin(&fields, aad, RECORD_AAD_MAX, KS_PURPOSE_BUNDLE);
	ks_fields_bytes(&fields, bundle->header, KS_BUNDLE_HEADER_LEN);
	ks_fields_bytes(&fields, envelope_header, KS_ENVELOPE_HEADER_LEN);
	return fields.len;
}

size_t
ks_bundle_record_len(const KsBundleRecord *record)
{
	return KS_BUNDLE_LENGTH_LEN + KS_ENVELOPE_OVERHEAD + ks_padded_len(ks_bundle_plain_len(record));
}

KsCryptoResult
ks_bundle_write(KsBundle *bundle, uint32 number, const KsBundleRecord *record, uint8 *plain, uint8 *out)
{
	size_t		len = ks_bundle_plain_len(record);
	size_t		padded = ks_padded_len(len);
	uint8	   *envelope = out + KS_BUNDLE_LENGTH_LEN;
	uint8	   *nonce = envelope + KS_ENVELOPE_HEADER_LEN;
	uint8		aad[RECORD_AAD_MAX];
	KsCryptoResult result;

	put_u32(out, (uint32) (KS_ENVELOPE_OVERHEAD + padded));
	ks_envelope_header(envelope, number);
	result = ks_random(nonce, KS_NONCE_LEN);
	if (result != KS_CRYPTO_OK)
		return result;
	ks_bundle_format(record, plain);
	ks_pad(plain, len);
	return ks_aead_seal(&bundle->aead, nonce, aad, record_aad(bundle, envelope, aad),
						plain, padded, nonce + KS_NONCE_LEN);
}

bool
ks_bundle_next(const uint8 *data, size_t len, size_t *at, KsEnvelope *envelope)
{
	uint32		record_len;

	memset(envelope, 0, sizeof(*envelope));
	if (len < *at || len - *at < KS_BUNDLE_LENGTH_LEN)
		return false;
	record_len = get_u32(data + *at);
	if (record_len > len - *at - KS_BUNDLE_LENGTH_LEN ||
		!ks_envelope_parse(data + *at + KS_BUNDLE_LENGTH_LEN, record_len, envelope))
		return false;
	*at += KS_BUNDLE_LENGTH_LEN + record_len;
	return true;
}

KsCryptoResult
ks_bundle_open_record(KsBundle *bundle, const KsEnvelope *envelope, uint8 *plain, KsBundleRecord *record)
{
	uint8		aad[RECORD_AAD_MAX];
	size_t		len;
	KsCryptoResult result;

	memset(record, 0, sizeof(*record));
	if (envelope->key_version != bundle->number + 1)
		return KS_CRYPTO_FORGED;
	result = ks_aead_open(&bundle->aead, envelope->nonce, aad, record_aad(bundle, envelope->header, aad),
						  envelope->sealed, envelope->sealed_len, plain);
	if (result != KS_CRYPTO_OK)
		return result;
	if (!ks_unpad(plain, envelope->sealed_len - KS_TAG_LEN, &len) || !ks_bundle_parse(plain, len, record))
		return KS_CRYPTO_FORGED;
	bundle->number++;
	return KS_CRYPTO_OK;
}
