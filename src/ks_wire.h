/*-------------------------------------------------------------------------
 *
 * ks_wire.h
 *	  Byte formats: the envelope, the additional authenticated data, padding,
 *	  and the text of a root keyring.  Pure functions with bounds checks.
 *
 * Envelope (all integers big-endian):
 *
 *	 0x01 | algorithm u8 | workspace key version u32 | nonce 24 | ciphertext | tag 16
 *
 * Authenticated data and MAC input are sequences of fields; a field is
 * 0x00 (absent) or 0x01, length u32, bytes.  The first field is a purpose, so
 * that bytes made for one purpose never serve another.
 *
 * Padding (ISO/IEC 7816-4): 0x80, then zeros up to a multiple of 32.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_WIRE_H
#define KS_WIRE_H

#include "ks_crypto.h"

#define KS_ENVELOPE_FORMAT			0x01
#define KS_ALG_XAES_256_GCM			0x01
#define KS_ENVELOPE_HEADER_LEN		6
#define KS_ENVELOPE_OVERHEAD		(KS_ENVELOPE_HEADER_LEN + KS_NONCE_LEN + KS_TAG_LEN)
#define KS_PAD_BLOCK				32

/* Purposes: the first field of authenticated data and MAC input. */
#define KS_PURPOSE_CREDENTIAL		"keystone credential v1"
#define KS_PURPOSE_WORKSPACE_KEY	"keystone workspace key v1"
#define KS_PURPOSE_SYSTEM_KEY		"keystone system key v1"
#define KS_PURPOSE_COLUMN			"keystone column v1"
#define KS_PURPOSE_BLIND_INDEX		"keystone blind index v1"
#define KS_PURPOSE_CUSTOMER_KEY		"keystone customer-wrapped key v1"

typedef struct KsEnvelope
{
	uint8		algorithm;
	uint32		key_version;
	const uint8 *header;		/* KS_ENVELOPE_HEADER_LEN bytes */
	const uint8 *nonce;			/* KS_NONCE_LEN bytes */
	const uint8 *sealed;		/* ciphertext and tag */
	size_t		sealed_len;
} KsEnvelope;

/* Splits an envelope; the result points into data.  False if it is none. */
extern bool ks_envelope_parse(const void *data, size_t len, KsEnvelope *envelope);

extern void ks_envelope_header(uint8 header[KS_ENVELOPE_HEADER_LEN], uint32 key_version);

/* Length of a padded value: the next multiple of KS_PAD_BLOCK above len. */
extern size_t ks_padded_len(size_t len);

/* Fills buf[len .. ks_padded_len(len)) with padding. */
extern void ks_pad(uint8 *buf, size_t len);

/* Finds the length of the value in padded bytes; false if they are not padded. */
extern bool ks_unpad(const uint8 *buf, size_t padded_len, size_t *len);

/* Writes fields into a buffer of fixed size; full is sticky. */
typedef struct KsFields
{
	uint8	   *buf;
	size_t		len;
	size_t		size;
	bool		full;			/* something did not fit: do not use buf */
} KsFields;

extern void ks_fields_begin(KsFields *f, void *buf, size_t size, const char *purpose);
extern void ks_fields_bytes(KsFields *f, const void *data, size_t len);
extern void ks_fields_text(KsFields *f, const char *text);	/* NULL is absent */
extern void ks_fields_uuid(KsFields *f, const uint8 *uuid); /* NULL is absent */
extern void ks_fields_u32(KsFields *f, uint32 value);
extern void ks_fields_i64(KsFields *f, int64 value);
extern void ks_fields_absent(KsFields *f);

/* What a credential version's ciphertext is bound to. */
typedef struct KsAddress
{
	const uint8 *key_id;		/* uuid of the workspace key */
	const uint8 *workspace;		/* uuid */
	const uint8 *credential;	/* uuid */
	uint32		version;
	const char *environment;
	const uint8 *owner;			/* uuid, or NULL when shared */
	const char *name;
	const char *kind;
	const char *provider;		/* may be NULL */
	bool		has_expiry;
	int64		expires_at;		/* microseconds since 2000-01-01 UTC */
	uint8		metadata_digest[KS_DIGEST_LEN]; /* SHA-256 of the jsonb's text */
} KsAddress;

#define KS_AAD_MAX		1024	/* an address always fits */

/* Authenticated data of a credential version.  Returns its length, 0 if it
 * does not fit (a name over its limit). */
extern size_t ks_address_aad(const KsAddress *address,
							 const uint8 header[KS_ENVELOPE_HEADER_LEN],
							 uint8 aad[KS_AAD_MAX]);

/* One line of a root keyring: "<id> <64 hex digits>". */
typedef struct KsRootKey
{
	char		id[KS_ROOT_KEY_ID_MAX + 1];
	uint8		key[KS_KEY_LEN];
} KsRootKey;

/*
 * Parses a root keyring: one key a line, blank lines and lines that begin
 * with '#' are skipped; an id is [A-Za-z0-9._-]+.  Returns NULL and sets
 * *nkeys, or a constant phrase that says what is wrong ("the key on line is
 * shorter than 64 hexadecimal digits"); *line is then the line's number, 0
 * when it concerns the whole.  Refuses: nothing but blank, more than
 * KS_ROOT_KEYS_MAX, a bad id, a key of wrong length or with other
 * characters, a patterned key, a duplicate id, a duplicate key.
 */
extern const char *ks_root_keyring_parse(const char *text, size_t len,
										 KsRootKey keys[KS_ROOT_KEYS_MAX],
										 int *nkeys, int *line);

#endif							/* KS_WIRE_H */
