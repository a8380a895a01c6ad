/*-------------------------------------------------------------------------
 *
 * ks_note.h
 *	  Signed notes, checkpoints and proofs as text.
 *
 * Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint (no extension
 * lines), c2sp.org/tlog-proof@v1.  Signatures are Ed25519 (type 0x01):
 * key id = SHA-256(name | "\n" | 0x01 | public key)[:4], vkey = name+hex(key
 * id)+base64(0x01 | public key), signature line = "\u2014 name
 * base64(key id | signature)".
 *
 * Pure functions that write into buffers of the caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_NOTE_H
#define KS_NOTE_H

#include "ks_merkle.h"

#define KS_ORIGIN_MAX			200 /* bytes of an origin, a key's name */
#define KS_NOTE_MAX				4096	/* bytes of a signed checkpoint */
#define KS_NOTE_SIGNATURES_MAX	16	/* more are not read: c2sp.org/signed-note */
#define KS_NOTE_KEY_ID_LEN		4
#define KS_VKEY_MAX				(KS_ORIGIN_MAX + 64)
#define KS_ED25519_SEED_LEN		32
#define KS_ED25519_KEY_LEN		32
#define KS_ED25519_SIGNATURE_LEN 64

typedef struct KsNoteKey
{
	char		name[KS_ORIGIN_MAX + 1];
	uint8		key_id[KS_NOTE_KEY_ID_LEN];
	uint8		public_key[KS_ED25519_KEY_LEN];
} KsNoteKey;

/* A signing key; seed is secret. */
typedef struct KsNoteSigner
{
	KsNoteKey	key;
	uint8		seed[KS_ED25519_SEED_LEN];
} KsNoteSigner;

/* A name: not empty, printable ASCII, no space, no plus sign, at most
 * KS_ORIGIN_MAX bytes.  Names of other keys on a note may be different. */
extern bool ks_note_valid_name(const char *name);

/* Computes public key and key id.  False when the name is not valid.  The
 * caller wipes *signer. */
extern bool ks_note_signer_init(KsNoteSigner *signer, const char *name, const uint8 seed[KS_ED25519_SEED_LEN]);

/* Return the length without the terminator, 0 when it does not fit. */
extern size_t ks_vkey_format(const KsNoteKey *key, char *buf, size_t size);
extern bool ks_vkey_parse(const char *vkey, KsNoteKey *key);

typedef struct KsCheckpoint
{
	char		origin[KS_ORIGIN_MAX + 1];
	uint64		size;
	KsHash		root;
} KsCheckpoint;

/* The text of a checkpoint with one signature line for each signer, of which
 * there is at least one; at most KS_NOTE_MAX bytes.  0 when something fails. */
extern size_t ks_checkpoint_format(const KsCheckpoint *checkpoint, const KsNoteSigner *const *signers,
								   int nsigners, char *buf, size_t size);

/* Reads a checkpoint of at most 2^63 - 1 leaves; strict.  Signatures are not
 * looked at. */
extern bool ks_checkpoint_parse(const char *note, size_t len, KsCheckpoint *checkpoint);

/* Whether the note carries a valid signature of the key, and no false one.
 * Signatures of other keys are passed over. */
extern bool ks_note_verify(const char *note, size_t len, const KsNoteKey *key);

/* Sign and verify bytes that are no note: a key's signature of its successor.
 * The bytes begin with something that no checkpoint begins with. */
extern bool ks_note_sign_bytes(const KsNoteSigner *signer, const void *data, size_t len,
							   uint8 signature[KS_ED25519_SIGNATURE_LEN]);
extern bool ks_note_verify_bytes(const KsNoteKey *key, const void *data, size_t len,
								 const uint8 signature[KS_ED25519_SIGNATURE_LEN]);

/* c2sp.org/tlog-proof@v1: index, path and a checkpoint. */
extern size_t ks_inclusion_format(uint64 index, const KsHash *path, int npath, const char *note,
								  char *buf, size_t size);

/* The body of c2sp.org/tlog-witness add-checkpoint: "old N", path, blank line,
 * note (which may be empty). */
extern size_t ks_consistency_format(uint64 old_size, const KsHash *path, int npath, const char *note,
									char *buf, size_t size);

/* Base64 of RFC 4648 section 4.  Return the length, 0 / -1 when it does not
 * fit or is not exactly what the encoder would write.  The text that is
 * written is terminated; buf may be NULL when reading, to only check it. */
extern size_t ks_base64_encode(const void *data, size_t len, char *buf, size_t size);
extern int	ks_base64_decode(const char *text, size_t len, void *buf, size_t size);

#endif							/* KS_NOTE_H */
