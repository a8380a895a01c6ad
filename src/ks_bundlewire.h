/*-------------------------------------------------------------------------
 *
 * ks_bundlewire.h
 *	  The bytes of a bundle: a workspace on its way to another server.
 *
 * All integers are big-endian.  A bundle is a header and records:
 *
 *	 "KSBUNDLE" | 0x01 | suite 0x01 | 0x0000 | recipient 32 | ephemeral 32
 *	 length u32 | envelope		(each record)
 *
 * recipient and ephemeral are X25519 public keys.  The bundle's key is
 * HKDF-SHA-256 of their shared secret, with the header as salt and the purpose
 * as info.  A record is an envelope (see ks_wire.h) whose key version is the
 * number of the record, from 1; its authenticated data are the fields purpose,
 * header, envelope header.  What it seals is padded as a value is, and is a
 * sequence of fields of which the first names its kind; ks_bundle_open_record()
 * lists them.  The last record, and no other, is of the kind "end".
 *
 * Whoever has the recipient's public key can make a bundle, so nothing in one
 * is believed because it opens.
 *
 * Pure functions with bounds checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_BUNDLEWIRE_H
#define KS_BUNDLEWIRE_H

#include "ks_wire.h"

#define KS_PURPOSE_BUNDLE			"keystone bundle v1"

#define KS_BUNDLE_RECIPIENT_AT		12
#define KS_BUNDLE_EPHEMERAL_AT		(KS_BUNDLE_RECIPIENT_AT + KS_X25519_LEN)
#define KS_BUNDLE_HEADER_LEN		(KS_BUNDLE_EPHEMERAL_AT + KS_X25519_LEN)
#define KS_BUNDLE_LENGTH_LEN		4	/* in front of each record */
#define KS_BUNDLE_TAGS_MAX			KS_TAGS_MAX

/* A field's overhead, for whoever sizes a record. */
#define KS_BUNDLE_FIELD_OVERHEAD	5

typedef enum KsBundleKind
{
	KS_BUNDLE_NONE,
	KS_BUNDLE_WORKSPACE,
	KS_BUNDLE_PROVIDER,
	KS_BUNDLE_CREDENTIAL,
	KS_BUNDLE_VERSION,
	KS_BUNDLE_END
} KsBundleKind;

/*
 * The fields of a record.  A text is not terminated; data is NULL when it is
 * absent.  Which of them a kind has is said beside them; all are of the record
 * last written or read.
 */
typedef struct KsBundleRecord
{
	KsBundleKind kind;
	uint8		id[KS_ID_LEN];	/* workspace: where it comes from */
	KsBytes		name;			/* workspace: slug; provider, credential */
	KsBytes		display_name;	/* workspace */
	KsBytes		contact;		/* workspace; may be absent */
	KsBytes		mode;			/* provider */
	KsBytes		json;			/* provider: config; credential: metadata */
	bool		enabled;		/* provider; credential: is_active */
	KsBytes		environment;	/* credential, and so the next ones */
	bool		personal;		/* the exporter's own */
	KsBytes		provider;		/* may be absent */
	KsBytes		type;			/* the credential's kind */
	KsBytes		description;	/* may be absent */
	bool		has_expiry;
	int64		expires_at;		/* microseconds since 2000-01-01 UTC */
	uint32		n_tags;
	KsBytes		tags[KS_BUNDLE_TAGS_MAX];
	uint32		current;		/* number of the current version, 0: none */
	uint32		last;			/* the greatest number of a version */
	uint32		n_versions;		/* records that follow; end: of all */
	uint32		version;		/* version: its number */
	KsBytes		state;			/* version: current, previous, pending */
	KsBytes		value;			/* version */
	uint32		n_providers;	/* end */
	uint32		n_credentials;	/* end */
} KsBundleRecord;

/* The key of a bundle and where it stands. */
typedef struct KsBundle
{
	uint8		header[KS_BUNDLE_HEADER_LEN];
	KsAead		aead;			/* to be cleared by whoever made it */
	uint32		number;			/* of the last record */
} KsBundle;

/*
 * Begins a bundle for a recipient: draws an ephemeral key and writes the
 * header.  KS_CRYPTO_FORGED when the recipient's is no usable public key.
 */
extern KsCryptoResult ks_bundle_begin(KsBundle *bundle, const uint8 recipient[KS_X25519_LEN]);

/*
 * Begins to read one: KS_CRYPTO_FORGED when the bytes do not begin with a
 * header that is known, or the bundle is for another recipient.
 */
extern KsCryptoResult ks_bundle_begin_read(KsBundle *bundle, const void *data, size_t len,
										   const uint8 private_key[KS_X25519_LEN]);

/* Wipes the key; idempotent. */
extern void ks_bundle_clear(KsBundle *bundle);

/* Length of a record's fields, and of the record with its length in front. */
extern size_t ks_bundle_plain_len(const KsBundleRecord *record);
extern size_t ks_bundle_record_len(const KsBundleRecord *record);

/*
 * Writes record number "number" to out, ks_bundle_record_len() bytes.  plain is
 * room for ks_padded_len(ks_bundle_plain_len()) bytes, to be wiped by the
 * caller.
 */
extern KsCryptoResult ks_bundle_write(KsBundle *bundle, uint32 number, const KsBundleRecord *record,
									  uint8 *plain, uint8 *out);

/*
 * The next record's envelope: points into data, of which *at is the first byte
 * that was not read, and moves.  False at anything that is no record.
 */
extern bool ks_bundle_next(const uint8 *data, size_t len, size_t *at, KsEnvelope *envelope);

/*
 * Opens a record into plain, room for envelope->sealed_len bytes that the
 * caller wipes; *record points into it.  KS_CRYPTO_FORGED unless it is the next
 * one and what it seals is well-formed.
 */
extern KsCryptoResult ks_bundle_open_record(KsBundle *bundle, const KsEnvelope *envelope,
											uint8 *plain, KsBundleRecord *record);

/* Reads the fields of a record, len bytes; false, with *record zeroed, unless
 * they are exactly those of a kind. */
extern bool ks_bundle_parse(const uint8 *plain, size_t len, KsBundleRecord *record);

/* Writes them, ks_bundle_plain_len() bytes. */
extern void ks_bundle_format(const KsBundleRecord *record, uint8 *plain);

#endif							/* KS_BUNDLEWIRE_H */
