/*-------------------------------------------------------------------------
 *
 * ks_crypto.c
 *	  The cryptography of Keystone, all of it from libcrypto.
 *
 * This is the only file that names libcrypto's EVP interface.  What must
 * always hold:
 *
 *	- every call's result is tested, and every function has one exit, where
 *	  what it holds of libcrypto is given back and derived keys are wiped;
 *	- a failure is noted, and libcrypto's error queue emptied, before the
 *	  function returns: the server's TLS code reads the same queue;
 *	- between calls the contexts that live as long as the process hold nothing
 *	  of what went through them: no key but an all-zero one, no digest.  Those
 *	  of a KsAead hold its key, and that of the last message, which follows
 *	  from it, until it is cleared.
 *
 * The functions are not reentrant: those contexts, and those within a KsAead,
 * serve one call at a time.  A backend has one thread, and no signal
 * handler may come here.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_crypto.h"

#include <limits.h>
#include <stdio.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "ks_mem.h"

#define AES_BLOCK_LEN		16
#define XAES_PREFIX_LEN		12	/* bytes of the nonce that choose the key */
#define LABEL_MESSAGE		'X' /* of a message's key, by XAES */
#define LABEL_DERIVED		'K' /* of ks_aead_derive() */
#define NONCES				64	/* are drawn together */

/* The algorithms, fetched once per process and never given back. */
static EVP_CIPHER *aes_256_ecb = NULL;
static EVP_CIPHER *aes_256_gcm = NULL;
static EVP_MD *sha256 = NULL;
static EVP_MAC *hmac = NULL;
static EVP_KDF *hkdf = NULL;

/*
 * Kept, since making one searches the providers for the digest.  Each use ends
 * by putting an all-zero key into it; if that fails, the context is freed,
 * which wipes it, and the next use makes a new one.
 */
static EVP_MAC_CTX *hmac_context = NULL;

/*
 * Kept likewise, for the audit log hashes millions of leaves and nodes, and
 * making a context costs more than a short digest.  It is always ready for the
 * next message; one that cannot be made so is freed.
 */
static EVP_MD_CTX *sha256_context = NULL;

static const uint8 zero_key[KS_KEY_LEN] = {0};

/* What ks_crypto_reason() gives back. */
static char failure_reason[256] = "none";

/*
 * Notes what failed, with libcrypto's newest error, and empties its queue.
 * operation is a constant phrase.
 */
static void
note_failure(const char *operation)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = NULL;

	if (code != 0)
		reason = ERR_reason_error_string(code);

	snprintf(failure_reason, sizeof(failure_reason), "%s: %s", operation,
			 reason != NULL ? reason : "no reason given");
	ERR_clear_error();
}

/*
 * Fetches the algorithms, so that no later call has to search the providers.
 * May be called again, and then fetches what failed before.
 */
bool
ks_crypto_init(void)
{
	if (aes_256_ecb == NULL)
		aes_256_ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	if (aes_256_gcm == NULL)
		aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (hmac == NULL)
		hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (hkdf == NULL)
		hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);

	if (aes_256_ecb == NULL || aes_256_gcm == NULL || sha256 == NULL ||
		hmac == NULL || hkdf == NULL)
	{
		note_failure("could not fetch the algorithms");
		return false;
	}
	return true;
}

/*
 * The reason of the last KS_CRYPTO_FAILED, in a static buffer: for the server
 * log, never for a client.
 */
const char *
ks_crypto_reason(void)
{
	ERR_clear_error();
	return failure_reason;
}

/*
 * Prepares a key: expands it for the derivation of message keys, and computes
 * K1, the CMAC subkey (NIST SP 800-38B, section 6.1, step 2).  On failure
 * *aead holds nothing.
 */
KsCryptoResult
ks_aead_init(KsAead *aead, const uint8 key[KS_KEY_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_CIPHER_CTX *schedule;
	EVP_CIPHER_CTX *message = NULL;
	uint8		l[AES_BLOCK_LEN] = {0};
	int			n;
	uint8		carry;

	memset(aead, 0, sizeof(*aead));

	schedule = EVP_CIPHER_CTX_new();
	if (schedule == NULL)
		goto done;
	if (EVP_EncryptInit_ex2(schedule, aes_256_ecb, key, NULL, NULL) <= 0 ||
		EVP_CIPHER_CTX_set_padding(schedule, 0) <= 0)
		goto done;
	message = EVP_CIPHER_CTX_new();
	if (message == NULL ||
		EVP_CipherInit_ex2(message, aes_256_gcm, NULL, NULL, 1, NULL) <= 0)
		goto done;

	/* L = AES(0), in place; K1 = L doubled in GF(2^128). */
	if (EVP_EncryptUpdate(schedule, l, &n, l, sizeof(l)) <= 0 || n != (int) sizeof(l))
		goto done;
	carry = (uint8) (l[0] >> 7);
	for (int i = 0; i < AES_BLOCK_LEN - 1; i++)
		aead->k1[i] = (uint8) ((l[i] << 1) | (l[i + 1] >> 7));
	/* without a branch: the carry is a bit of the key's output */
	aead->k1[AES_BLOCK_LEN - 1] = (uint8) ((l[AES_BLOCK_LEN - 1] << 1) ^ (0x87 * carry));

	aead->schedule = schedule;
	aead->message = message;
	schedule = message = NULL;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
		note_failure("could not prepare a key");
	EVP_CIPHER_CTX_free(schedule);
	EVP_CIPHER_CTX_free(message);
	ks_wipe(l, sizeof(l));
	return result;
}

/*
 * Wipes and frees a prepared key.  May be called again.
 */
void
ks_aead_clear(KsAead *aead)
{
	/* libcrypto wipes the expanded keys when it frees the contexts */
	EVP_CIPHER_CTX_free(aead->schedule);
	EVP_CIPHER_CTX_free(aead->message);
	ks_wipe(aead, sizeof(*aead));
}

/*
 * Two blocks of the counter-mode KDF of NIST SP 800-108r1 over CMAC, as
 * c2sp.org/XAES-256-GCM writes it out: the label is one letter, the context
 * XAES_PREFIX_LEN bytes.  The caller wipes the key.
 */
static bool
derive_key(const KsAead *aead, char label, const void *kdf_context, uint8 key[KS_KEY_LEN])
{
	uint8		m[2 * AES_BLOCK_LEN] = {0x00, 0x01, (uint8) label, 0x00};
	int			n = 0;
	bool		ok;

	if (aead->schedule == NULL)
		return false;

	memcpy(m + 4, kdf_context, XAES_PREFIX_LEN);
	memcpy(m + AES_BLOCK_LEN, m, AES_BLOCK_LEN);
	m[AES_BLOCK_LEN + 1] = 0x02;
	for (int i = 0; i < AES_BLOCK_LEN; i++)
	{
		m[i] ^= aead->k1[i];
		m[AES_BLOCK_LEN + i] ^= aead->k1[i];
	}

	ok = EVP_EncryptUpdate(aead->schedule, key, &n, m, sizeof(m)) > 0 && n == KS_KEY_LEN;
	ks_wipe(m, sizeof(m));
	return ok;
}

KsCryptoResult
ks_aead_derive(const KsAead *aead, const char label[KS_LABEL_LEN], uint8 derived[KS_KEY_LEN])
{
	if (derive_key(aead, LABEL_DERIVED, label, derived))
		return KS_CRYPTO_OK;
	note_failure("could not derive a key");
	ks_wipe(derived, KS_KEY_LEN);
	return KS_CRYPTO_FAILED;
}

/*
 * The key's context, ready for one message, or NULL.  The same one for all its
 * messages, with the cipher that it has: making one takes as long as a short
 * message.
 */
static EVP_CIPHER_CTX *
begin_gcm(const KsAead *aead, const uint8 nonce[KS_NONCE_LEN], bool encrypt)
{
	EVP_CIPHER_CTX *context = aead->message;
	uint8		key[KS_KEY_LEN];

	if (!derive_key(aead, LABEL_MESSAGE, nonce, key) ||
		EVP_CipherInit_ex2(context, NULL, key, nonce + XAES_PREFIX_LEN, encrypt, NULL) <= 0)
		context = NULL;
	ks_wipe(key, sizeof(key));
	return context;
}

/*
 * XAES-256-GCM encryption.  nonce must be random, and new for each message.
 * KS_CRYPTO_TOO_LONG if a length exceeds what libcrypto's int counts.
 */
KsCryptoResult
ks_aead_seal(const KsAead *aead, const uint8 nonce[KS_NONCE_LEN],
			 const void *aad, size_t aad_len,
			 const void *plain, size_t len, uint8 *out)
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_CIPHER_CTX *context;
	int			n;

	if (aad_len > INT_MAX || len > INT_MAX - KS_TAG_LEN)
		return KS_CRYPTO_TOO_LONG;

	context = begin_gcm(aead, nonce, true);
	if (context == NULL)
		goto done;
	if (aad_len > 0 &&
		EVP_EncryptUpdate(context, NULL, &n, aad, (int) aad_len) <= 0)
		goto done;
	if (len > 0 &&
		(EVP_EncryptUpdate(context, out, &n, plain, (int) len) <= 0 || n != (int) len))
		goto done;
	if (EVP_EncryptFinal_ex(context, out + len, &n) <= 0 || n != 0)
		goto done;
	if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, KS_TAG_LEN, out + len) <= 0)
		goto done;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
		note_failure("could not encrypt");
	return result;
}

/*
 * XAES-256-GCM decryption.  libcrypto writes what it decrypts before it knows
 * whether the tag matches; out is therefore wiped unless it does.
 */
KsCryptoResult
ks_aead_open(const KsAead *aead, const uint8 nonce[KS_NONCE_LEN],
			 const void *aad, size_t aad_len,
			 const uint8 *sealed, size_t sealed_len, void *out)
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_CIPHER_CTX *context;
	uint8		tag[KS_TAG_LEN];
	size_t		len;
	int			n;

	if (aad_len > INT_MAX || sealed_len > INT_MAX)
		return KS_CRYPTO_TOO_LONG;
	if (sealed_len < KS_TAG_LEN)
		return KS_CRYPTO_FORGED;

	len = sealed_len - KS_TAG_LEN;
	/* a copy, since libcrypto wants to be allowed to write to it */
	memcpy(tag, sealed + len, KS_TAG_LEN);

	context = begin_gcm(aead, nonce, false);
	if (context == NULL)
		goto done;
	if (aad_len > 0 &&
		EVP_DecryptUpdate(context, NULL, &n, aad, (int) aad_len) <= 0)
		goto done;
	if (len > 0 &&
		(EVP_DecryptUpdate(context, out, &n, sealed, (int) len) <= 0 || n != (int) len))
		goto done;
	if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, KS_TAG_LEN, tag) <= 0)
		goto done;

	/*
	 * The tag is all that can be wrong here; nothing is written to the
	 * buffer.
	 */
	if (EVP_DecryptFinal_ex(context, tag, &n) <= 0)
		result = KS_CRYPTO_FORGED;
	else
		result = KS_CRYPTO_OK;

done:
	if (result == KS_CRYPTO_FAILED)
		note_failure("could not decrypt");
	else if (result == KS_CRYPTO_FORGED)
		ERR_clear_error();
	if (result != KS_CRYPTO_OK)
		ks_wipe(out, len);
	return result;
}

/*
 * SHA-256 (FIPS 180-4) of len bytes.
 */
KsCryptoResult
ks_sha256(const void *data, size_t len, uint8 digest[KS_DIGEST_LEN])
{
	KsBytes		piece = {data, len};

	return ks_sha256_pieces(&piece, 1, digest);
}

/*
 * SHA-256 over the concatenation of npieces pieces, which are not told apart.
 * digest may be one of the pieces.
 */
KsCryptoResult
ks_sha256_pieces(const KsBytes *pieces, int npieces, uint8 digest[KS_DIGEST_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	unsigned int n = 0;

	if (sha256_context == NULL)
	{
		if (sha256 == NULL && !ks_crypto_init())
			goto done;
		sha256_context = EVP_MD_CTX_new();
		if (sha256_context == NULL ||
			EVP_DigestInit_ex2(sha256_context, sha256, NULL) <= 0)
			goto done;
	}

	for (int i = 0; i < npieces; i++)
	{
		if (pieces[i].len > 0 &&
			EVP_DigestUpdate(sha256_context, pieces[i].data, pieces[i].len) <= 0)
			goto done;
	}
	if (EVP_DigestFinal_ex(sha256_context, digest, &n) <= 0 || n != KS_DIGEST_LEN)
		goto done;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
		note_failure("could not compute a digest");
	/* without a digest's name, which keeps what was prepared for it */
	if (sha256_context != NULL &&
		(result != KS_CRYPTO_OK ||
		 EVP_DigestInit_ex2(sha256_context, NULL, NULL) <= 0))
	{
		EVP_MD_CTX_free(sha256_context);
		sha256_context = NULL;
		ERR_clear_error();
	}
	return result;
}

/*
 * The public key that belongs to a seed (RFC 8032, section 5.1.5).
 */
KsCryptoResult
ks_ed25519_public(const uint8 seed[32], uint8 public_key[32])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_PKEY   *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed, 32);
	size_t		n = 32;

	if (key != NULL &&
		EVP_PKEY_get_raw_public_key(key, public_key, &n) > 0 && n == 32)
		result = KS_CRYPTO_OK;
	else
		note_failure("could not compute a public key");
	/* libcrypto wipes its copy of the seed when it frees the key */
	EVP_PKEY_free(key);
	return result;
}

/*
 * Signs len bytes (RFC 8032, section 5.1.6).  On failure signature is zeros.
 */
KsCryptoResult
ks_ed25519_sign(const uint8 seed[32], const void *data, size_t len, uint8 signature[64])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_PKEY   *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed, 32);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t		n = 64;

	if (key == NULL || context == NULL ||
		EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, key, NULL) <= 0 ||
		EVP_DigestSign(context, signature, &n, data, len) <= 0 || n != 64)
		goto done;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
	{
		note_failure("could not sign");
		memset(signature, 0, 64);
	}
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return result;
}

/*
 * Verifies a signature (RFC 8032, section 5.1.7).  A public key that is no
 * point of the curve has no signatures: it gives KS_CRYPTO_FORGED too.
 */
KsCryptoResult
ks_ed25519_verify(const uint8 public_key[32], const void *data, size_t len,
				  const uint8 signature[64])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_PKEY   *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, public_key, 32);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int			verdict;

	if (key == NULL || context == NULL ||
		EVP_DigestVerifyInit_ex(context, NULL, NULL, NULL, NULL, key, NULL) <= 0)
		goto done;

	verdict = EVP_DigestVerify(context, signature, 64, data, len);
	if (verdict == 1)
		result = KS_CRYPTO_OK;
	else if (verdict == 0)
		result = KS_CRYPTO_FORGED;

done:
	if (result == KS_CRYPTO_FAILED)
		note_failure("could not verify a signature");
	else if (result == KS_CRYPTO_FORGED)
		ERR_clear_error();
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return result;
}

/*
 * HMAC-SHA-256 over the concatenation of npieces pieces.  The pieces are not
 * told apart: a caller that needs that puts lengths into them (KsFields).
 */
KsCryptoResult
ks_hmac_sha256(const uint8 key[KS_KEY_LEN], const KsBytes *pieces,
			   int npieces, uint8 mac[KS_DIGEST_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	size_t		n = 0;

	if (hmac_context == NULL)
	{
		char		digest[] = "SHA256";
		OSSL_PARAM	params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
			OSSL_PARAM_construct_end()
		};

		/* EVP_MAC_CTX_new() does not look whether it was given a MAC */
		if (hmac == NULL)
			goto done;
		hmac_context = EVP_MAC_CTX_new(hmac);
		if (hmac_context == NULL ||
			EVP_MAC_CTX_set_params(hmac_context, params) <= 0)
			goto done;
	}

	if (EVP_MAC_init(hmac_context, key, KS_KEY_LEN, NULL) <= 0)
		goto done;
	for (int i = 0; i < npieces; i++)
	{
		if (pieces[i].len > 0 &&
			EVP_MAC_update(hmac_context, pieces[i].data, pieces[i].len) <= 0)
			goto done;
	}
	if (EVP_MAC_final(hmac_context, mac, &n, KS_DIGEST_LEN) <= 0 || n != KS_DIGEST_LEN)
		goto done;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
		note_failure("could not compute a message authentication code");
	if (hmac_context != NULL &&
		(result != KS_CRYPTO_OK ||
		 EVP_MAC_init(hmac_context, zero_key, KS_KEY_LEN, NULL) <= 0))
	{
		EVP_MAC_CTX_free(hmac_context);
		hmac_context = NULL;
		ERR_clear_error();
	}
	return result;
}

/*
 * HKDF-SHA-256 (RFC 5869) of key; salt and info may be of length 0, as RFC
 * 5869 has it.
 */
KsCryptoResult
ks_hkdf_sha256(const KsBytes *key, const KsBytes *salt, const KsBytes *info, uint8 *derived, size_t len)
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_KDF_CTX *context;
	char		digest[] = "SHA256";
	OSSL_PARAM	params[5];
	int			n = 0;

	params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[n++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) key->data, key->len);
	if (salt->len > 0)
		params[n++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) salt->data, salt->len);
	params[n++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info->data, info->len);
	params[n] = OSSL_PARAM_construct_end();

	context = EVP_KDF_CTX_new(hkdf);
	if (context == NULL ||
		EVP_KDF_derive(context, derived, len, params) <= 0)
		goto done;
	result = KS_CRYPTO_OK;

done:
	if (result != KS_CRYPTO_OK)
	{
		note_failure("could not derive a key");
		ks_wipe(derived, len);
	}
	/* libcrypto wipes its copy of the key when it frees the context */
	EVP_KDF_CTX_free(context);
	return result;
}

/*
 * HKDF-SHA-256 of key, without salt, with label as "info": 32 bytes, which
 * the caller wipes.
 */
KsCryptoResult
ks_derive_key(const uint8 key[KS_KEY_LEN], const char *label,
			  uint8 derived[KS_KEY_LEN])
{
	KsBytes		input = {key, KS_KEY_LEN};
	KsBytes		salt = {NULL, 0};
	KsBytes		info = {label, strlen(label)};

	return ks_hkdf_sha256(&input, &salt, &info, derived, KS_KEY_LEN);
}

/*
 * The public key that belongs to a private one (RFC 7748, section 6.1).
 */
KsCryptoResult
ks_x25519_public(const uint8 private_key[KS_X25519_LEN], uint8 public_key[KS_X25519_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_PKEY   *key = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private_key, KS_X25519_LEN);
	size_t		n = KS_X25519_LEN;

	if (key != NULL &&
		EVP_PKEY_get_raw_public_key(key, public_key, &n) > 0 && n == KS_X25519_LEN)
		result = KS_CRYPTO_OK;
	else
		note_failure("could not compute a public key");
	/* libcrypto wipes its copy of the private key when it frees the key */
	EVP_PKEY_free(key);
	return result;
}

/*
 * The secret that two keys share (RFC 7748, section 6.1).  That libcrypto
 * derives none is a matter of the other's key: it refuses zeros.
 */
KsCryptoResult
ks_x25519_shared(const uint8 private_key[KS_X25519_LEN], const uint8 public_key[KS_X25519_LEN],
				 uint8 shared[KS_X25519_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_PKEY   *own = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private_key, KS_X25519_LEN);
	EVP_PKEY   *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, public_key, KS_X25519_LEN);
	EVP_PKEY_CTX *context = NULL;
	size_t		n = KS_X25519_LEN;

	if (own == NULL || peer == NULL)
		goto done;
	context = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
	if (context == NULL || EVP_PKEY_derive_init(context) <= 0 ||
		EVP_PKEY_derive_set_peer(context, peer) <= 0)
		goto done;
	if (EVP_PKEY_derive(context, shared, &n) > 0 && n == KS_X25519_LEN)
		result = KS_CRYPTO_OK;
	else
		result = KS_CRYPTO_FORGED;

done:
	if (result == KS_CRYPTO_FAILED)
		note_failure("could not derive a shared secret");
	else if (result == KS_CRYPTO_FORGED)
		ERR_clear_error();
	if (result != KS_CRYPTO_OK)
		ks_wipe(shared, KS_X25519_LEN);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(own);
	return result;
}

/* Instead of the question at the terminal: there is no passphrase. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void) buf;
	(void) size;
	(void) writing;
	(void) arg;
	return -1;
}

/*
 * Reads a PEM text (RFC 7468, PKCS #8) with an X25519 key (RFC 8410).
 */
KsCryptoResult
ks_x25519_from_pem(const char *pem, size_t len, uint8 private_key[KS_X25519_LEN])
{
	KsCryptoResult result = KS_CRYPTO_FORGED;
	EVP_PKEY   *key = NULL;
	BIO		   *bio;
	size_t		n = KS_X25519_LEN;

	if (len > INT_MAX)
		return KS_CRYPTO_TOO_LONG;
	bio = BIO_new_mem_buf(pem, (int) len);
	if (bio == NULL)
	{
		note_failure("could not read a key");
		return KS_CRYPTO_FAILED;
	}
	key = PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, NULL, NULL, NULL);
	if (key != NULL && EVP_PKEY_is_a(key, "X25519") &&
		EVP_PKEY_get_raw_private_key(key, private_key, &n) > 0 && n == KS_X25519_LEN)
		result = KS_CRYPTO_OK;
	else
		ks_wipe(private_key, KS_X25519_LEN);
	ERR_clear_error();
	EVP_PKEY_free(key);
	BIO_free(bio);
	return result;
}

/*
 * Fills out with n random bytes, from the generator that libcrypto keeps for
 * private values.
 */
KsCryptoResult
ks_random(void *out, size_t n)
{
	if (n > INT_MAX)
		return KS_CRYPTO_TOO_LONG;
	if (RAND_priv_bytes(out, (int) n) <= 0)
	{
		note_failure("could not get random bytes");
		return KS_CRYPTO_FAILED;
	}
	return KS_CRYPTO_OK;
}

/*
 * A nonce is shown, and used once.  Drawing 24 bytes takes as long as drawing
 * a thousand, and longer than encrypting a short message.  No process that
 * others are forked from draws any.
 */
KsCryptoResult
ks_random_nonce(uint8 nonce[KS_NONCE_LEN])
{
	static uint8 stock[NONCES * KS_NONCE_LEN];
	static int	left = 0;

	if (left == 0)
	{
		if (RAND_bytes(stock, sizeof(stock)) <= 0)
		{
			note_failure("could not get random bytes");
			return KS_CRYPTO_FAILED;
		}
		left = NONCES;
	}
	left--;
	memcpy(nonce, stock + left * KS_NONCE_LEN, KS_NONCE_LEN);
	return KS_CRYPTO_OK;
}

/*
 * A uuid of 122 random bits (RFC 9562, section 5.4).
 */
KsCryptoResult
ks_random_uuid(uint8 uuid[KS_ID_LEN])
{
	/* uuids are shown: they come from the generator for public values */
	if (RAND_bytes(uuid, KS_ID_LEN) <= 0)
	{
		note_failure("could not get random bytes");
		return KS_CRYPTO_FAILED;
	}
	uuid[6] = (uint8) ((uuid[6] & 0x0f) | 0x40);	/* version 4 */
	uuid[8] = (uint8) ((uuid[8] & 0x3f) | 0x80);	/* variant 10 */
	return KS_CRYPTO_OK;
}

/*
 * True if n bytes are the same, in a time that depends on n only.
 */
bool
ks_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
