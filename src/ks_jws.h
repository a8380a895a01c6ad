/*-------------------------------------------------------------------------
 *
 * ks_jws.h
 *	  Signatures of JSON Web Signature (RFC 7515, RFC 7518, RFC 8037), from
 *	  libcrypto.
 *
 * Pure: no server is needed.  A key is for the algorithms of its type only, so
 * that a public key is never taken for the secret of an HMAC.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JWS_H
#define KS_JWS_H

#include "ks_crypto.h"

typedef enum KsJwsAlgorithm
{
	KS_JWS_UNKNOWN = 0,			/* "none" among them */
	KS_JWS_HS256,
	KS_JWS_RS256,
	KS_JWS_PS256,
	KS_JWS_ES256,
	KS_JWS_EDDSA
} KsJwsAlgorithm;

typedef enum KsJwsKeyType
{
	KS_JWS_OCT = 1,				/* HS256; at least 32 bytes */
	KS_JWS_RSA,					/* RS256, PS256; at least 2048 bits */
	KS_JWS_EC_P256,				/* ES256 */
	KS_JWS_ED25519				/* EdDSA */
} KsJwsKeyType;

#define KS_JWS_SECRET_MAX	1024	/* bytes of an HMAC secret */
#define KS_JWS_KID_MAX		255

/* A key; pkey is libcrypto's and owned: whoever makes one must clear it. */
typedef struct KsJwsKey
{
	KsJwsKeyType type;
	KsJwsAlgorithm algorithm;	/* the only one it is for; KS_JWS_UNKNOWN: any
								 * of its type */
	char		kid[KS_JWS_KID_MAX + 1];	/* empty when it has none */
	void	   *pkey;			/* EVP_PKEY; NULL for OCT */
	uint8		secret[KS_JWS_SECRET_MAX];	/* OCT */
	size_t		secret_len;
} KsJwsKey;

/* The algorithm of a name such as "RS256", exactly. */
extern KsJwsAlgorithm ks_jws_algorithm(const char *name);

/* Whether the key may verify the algorithm. */
extern bool ks_jws_key_fits(const KsJwsKey *key, KsJwsAlgorithm algorithm);

/*
 * Makes a key of its numbers, big-endian (x and y of 32 bytes).  NULL, or a
 * constant phrase that says what is wrong.
 */
extern const char *ks_jws_key_oct(KsJwsKey *key, const uint8 *secret, size_t len);
extern const char *ks_jws_key_rsa(KsJwsKey *key, const uint8 *n, size_t n_len, const uint8 *e, size_t e_len);
extern const char *ks_jws_key_p256(KsJwsKey *key, const uint8 *x, const uint8 *y);
extern const char *ks_jws_key_ed25519(KsJwsKey *key, const uint8 *x);
extern void ks_jws_key_clear(KsJwsKey *key);	/* wipes and frees; idempotent */

/* KS_CRYPTO_FORGED for a signature that is not the key's, of another length,
 * or of an algorithm that the key is not for. */
extern KsCryptoResult ks_jws_verify(const KsJwsKey *key, KsJwsAlgorithm algorithm,
									const void *data, size_t len,
									const uint8 *signature, size_t signature_len);

/*
 * Decodes base64url without padding (RFC 7515 section 2), strictly: no other
 * characters, no bits left over.  out has room for 3 bytes for each 4
 * characters.  False when it is none.
 */
extern bool ks_base64url_decode(const char *text, size_t len, uint8 *out, size_t *out_len);

#endif							/* KS_JWS_H */
