/*-------------------------------------------------------------------------
 *
 * ks_crypto.h
 *	  The cryptography of Keystone, all of it from libcrypto.
 *
 * XAES-256-GCM is the construction of the C2SP specification
 * (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that is derived from the
 * key and the first half of a 192-bit random nonce.  A derived key is used
 * for one message, so the number of messages under one key is not limited by
 * the birthday bound of 96-bit nonces.
 *
 * The functions report by their result, never by ereport(), allocate nothing
 * that outlives them except in a KsAead, and keep no reference to arguments.
 * In a server, call ks_crypto_init() after the fork, once per process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CRYPTO_H
#define KS_CRYPTO_H

#include "keystone.h"

#define KS_NONCE_LEN	24		/* XAES-256-GCM nonce */
#define KS_TAG_LEN		16		/* GCM tag */

typedef enum KsCryptoResult
{
	KS_CRYPTO_OK = 0,
	KS_CRYPTO_FORGED,			/* the tag does not match */
	KS_CRYPTO_TOO_LONG,			/* a length does not fit libcrypto's int */
	KS_CRYPTO_FAILED			/* libcrypto refused: see ks_crypto_reason() */
} KsCryptoResult;

/*
 * A key prepared for use: the expanded AES schedule and XAES's subkey K1.
 * Owns libcrypto memory: whoever initialises one must clear it.
 */
typedef struct KsAead
{
	void	   *schedule;		/* EVP_CIPHER_CTX for AES-256-ECB */
	void	   *message;		/* EVP_CIPHER_CTX for AES-256-GCM: of one
								 * message after another */
	uint8		k1[16];
} KsAead;

#define KS_LABEL_LEN	12		/* of a key that is derived from a KsAead */

/* A piece of input to a digest or MAC. */
typedef struct KsBytes
{
	const void *data;
	size_t		len;
} KsBytes;

/* Fetches the algorithms.  Idempotent.  False if libcrypto lacks one. */
extern bool ks_crypto_init(void);

/* Reason of the last KS_CRYPTO_FAILED, for a server log; never NULL.  Also
 * empties libcrypto's error queue, which the server's TLS code shares. */
extern const char *ks_crypto_reason(void);

extern KsCryptoResult ks_aead_init(KsAead *aead, const uint8 key[KS_KEY_LEN]);
extern void ks_aead_clear(KsAead *aead);	/* wipes and frees; idempotent */

/*
 * Encrypts len bytes of plain; out receives len + KS_TAG_LEN bytes
 * (ciphertext, then tag).  out may be plain.
 */
extern KsCryptoResult ks_aead_seal(const KsAead *aead, const uint8 nonce[KS_NONCE_LEN],
								   const void *aad, size_t aad_len,
								   const void *plain, size_t len, uint8 *out);

/*
 * Decrypts sealed_len bytes (ciphertext and tag); out receives sealed_len -
 * KS_TAG_LEN bytes, and is wiped if the tag does not match.
 */
extern KsCryptoResult ks_aead_open(const KsAead *aead, const uint8 nonce[KS_NONCE_LEN],
								   const void *aad, size_t aad_len,
								   const uint8 *sealed, size_t sealed_len, void *out);

/*
 * Another 32-byte key from the same key: the counter-mode KDF by which XAES
 * derives keys of messages, under a label that XAES never uses.  The caller
 * wipes it.
 */
extern KsCryptoResult ks_aead_derive(const KsAead *aead, const char label[KS_LABEL_LEN],
									 uint8 derived[KS_KEY_LEN]);

extern KsCryptoResult ks_sha256(const void *data, size_t len, uint8 digest[KS_DIGEST_LEN]);

/* SHA-256 over the concatenation of the pieces. */
extern KsCryptoResult ks_sha256_pieces(const KsBytes *pieces, int npieces, uint8 digest[KS_DIGEST_LEN]);

/* Ed25519 (RFC 8032); a private key is its 32-byte seed.  verify returns
 * KS_CRYPTO_FORGED for a signature that is not the key's. */
extern KsCryptoResult ks_ed25519_public(const uint8 seed[32], uint8 public_key[32]);
extern KsCryptoResult ks_ed25519_sign(const uint8 seed[32], const void *data, size_t len, uint8 signature[64]);
extern KsCryptoResult ks_ed25519_verify(const uint8 public_key[32], const void *data, size_t len,
										const uint8 signature[64]);

/* HMAC-SHA-256 (RFC 2104) over the concatenation of the pieces. */
extern KsCryptoResult ks_hmac_sha256(const uint8 key[KS_KEY_LEN], const KsBytes *pieces,
									 int npieces, uint8 mac[KS_DIGEST_LEN]);

/* HKDF-SHA-256 (RFC 5869) without salt: label is "info".  32 bytes out. */
extern KsCryptoResult ks_derive_key(const uint8 key[KS_KEY_LEN], const char *label,
									uint8 derived[KS_KEY_LEN]);

/* HKDF-SHA-256 (RFC 5869): len bytes out, which the caller wipes. */
extern KsCryptoResult ks_hkdf_sha256(const KsBytes *key, const KsBytes *salt, const KsBytes *info,
									 uint8 *derived, size_t len);

/*
 * X25519 (RFC 7748).  shared is KS_CRYPTO_FORGED for a public key of low
 * order, for which every private key gives zeros.  The caller wipes the shared
 * secret.
 */
#define KS_X25519_LEN	32

extern KsCryptoResult ks_x25519_public(const uint8 private_key[KS_X25519_LEN], uint8 public_key[KS_X25519_LEN]);
extern KsCryptoResult ks_x25519_shared(const uint8 private_key[KS_X25519_LEN], const uint8 public_key[KS_X25519_LEN],
									   uint8 shared[KS_X25519_LEN]);

/* The private key of a PEM text that is not encrypted; KS_CRYPTO_FORGED when
 * there is none, or one of another kind. */
extern KsCryptoResult ks_x25519_from_pem(const char *pem, size_t len, uint8 private_key[KS_X25519_LEN]);

/* n random bytes fit for keys. */
extern KsCryptoResult ks_random(void *out, size_t n);

/* A random nonce, from a stock that is drawn for many: nonces are no secrets. */
extern KsCryptoResult ks_random_nonce(uint8 nonce[KS_NONCE_LEN]);

/* A random (version 4) uuid, RFC 9562. */
extern KsCryptoResult ks_random_uuid(uint8 uuid[KS_ID_LEN]);

/* Compares in constant time. */
extern bool ks_equal(const void *a, const void *b, size_t n);

#endif							/* KS_CRYPTO_H */
