/*-------------------------------------------------------------------------
 *
 * ks_jws.c
 *	  Signatures of JSON Web Signature, from libcrypto.
 *
 * What must always hold, besides what ks_crypto.c says of libcrypto's calls
 * and error queue:
 *
 *	- the key decides which algorithms are possible, the token only which of
 *	  them it is: RS256 is never checked with bytes that came as a secret, nor
 *	  HS256 with those of a public key;
 *	- a key was checked when it was made, so that what is left to be wrong in
 *	  a verification is the signature.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_jws.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include "ks_mem.h"

#define SECRET_MIN			32	/* bytes: the size of the digest, RFC 7518,
								 * section 3.2 */
#define RSA_BITS_MIN		2048	/* section 3.3 */
#define RSA_BITS_MAX		16384	/* what libcrypto takes */
#define EXPONENT_BITS_MAX	64	/* what it takes for long keys */
#define COORDINATE_LEN		32	/* P-256 */
#define ED25519_LEN			32
#define ED25519_SIGNATURE_LEN 64
#define ECDSA_DER_MAX		80	/* two integers of 33 bytes, and headers */

static const struct
{
	const char *name;
	KsJwsAlgorithm algorithm;
	KsJwsKeyType type;
}			algorithms[] = {
	{"HS256", KS_JWS_HS256, KS_JWS_OCT},
	{"RS256", KS_JWS_RS256, KS_JWS_RSA},
	{"PS256", KS_JWS_PS256, KS_JWS_RSA},
	{"ES256", KS_JWS_ES256, KS_JWS_EC_P256},
	{"EdDSA", KS_JWS_EDDSA, KS_JWS_ED25519},
};

KsJwsAlgorithm
ks_jws_algorithm(const char *name)
{
	for (size_t i = 0; i < lengthof(algorithms); i++)
	{
		if (strcmp(algorithms[i].name, name) == 0)
			return algorithms[i].algorithm;
	}
	return KS_JWS_UNKNOWN;
}

bool
ks_jws_key_fits(const KsJwsKey *key, KsJwsAlgorithm algorithm)
{
	if (key->algorithm != KS_JWS_UNKNOWN && key->algorithm != algorithm)
		return false;
	for (size_t i = 0; i < lengthof(algorithms); i++)
	{
		if (algorithms[i].algorithm == algorithm)
			return algorithms[i].type == key->type;
	}
	return false;
}


/*-------------------------------------------------------------------------
 * Keys
 *-------------------------------------------------------------------------
 */

const char *
ks_jws_key_oct(KsJwsKey *key, const uint8 *secret, size_t len)
{
	ks_wipe(key, sizeof(*key));
	if (len < SECRET_MIN)
		return "a secret needs at least 32 bytes";
	if (len > KS_JWS_SECRET_MAX)
		return "a secret has at most 1024 bytes";
	key->type = KS_JWS_OCT;
	memcpy(key->secret, secret, len);
	key->secret_len = len;
	return NULL;
}

/*
 * Gives the key what libcrypto makes of the parameters.
 */
static bool
make_pkey(KsJwsKey *key, KsJwsKeyType type, const char *libcrypto_type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, libcrypto_type, NULL);
	EVP_PKEY   *pkey = NULL;
	bool		ok;

	ok = context != NULL && params != NULL &&
		EVP_PKEY_fromdata_init(context) > 0 &&
		EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) > 0;
	if (ok)
	{
		key->type = type;
		key->pkey = pkey;
	}
	else
		EVP_PKEY_free(pkey);
	EVP_PKEY_CTX_free(context);
	return ok;
}

static const char *
check_rsa(const BIGNUM *n, const BIGNUM *e)
{
	if (BN_num_bits(n) < RSA_BITS_MIN)
		return "an RSA key needs at least 2048 bits";
	if (BN_num_bits(n) > RSA_BITS_MAX)
		return "an RSA key has at most 16384 bits";
	if (!BN_is_odd(n))
		return "the modulus of an RSA key is odd";
	if (!BN_is_odd(e) || BN_is_one(e))
		return "the exponent of an RSA key is odd, and more than 1";
	if (BN_num_bits(e) > EXPONENT_BITS_MAX)
		return "the exponent of an RSA key has at most 64 bits";
	return NULL;
}

const char *
ks_jws_key_rsa(KsJwsKey *key, const uint8 *n, size_t n_len, const uint8 *e, size_t e_len)
{
	const char *problem = "libcrypto does not take an RSA key";
	BIGNUM	   *modulus = NULL;
	BIGNUM	   *exponent = NULL;
	OSSL_PARAM_BLD *builder = NULL;
	OSSL_PARAM *params = NULL;

	ks_wipe(key, sizeof(*key));
	/* leading zeros are allowed, but not without end */
	if (n_len > RSA_BITS_MAX / 4 || e_len > RSA_BITS_MAX / 4)
		return "an RSA key has at most 16384 bits";

	modulus = BN_bin2bn(n, (int) n_len, NULL);
	exponent = BN_bin2bn(e, (int) e_len, NULL);
	if (modulus == NULL || exponent == NULL)
		goto done;
	problem = check_rsa(modulus, exponent);
	if (problem != NULL)
		goto done;

	problem = "libcrypto does not take an RSA key";
	builder = OSSL_PARAM_BLD_new();
	if (builder == NULL ||
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) <= 0 ||
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) <= 0)
		goto done;
	params = OSSL_PARAM_BLD_to_param(builder);
	if (make_pkey(key, KS_JWS_RSA, "RSA", params))
		problem = NULL;

done:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	ERR_clear_error();
	return problem;
}

/*
 * Whether the point lies on the curve, which EVP_PKEY_fromdata() is not
 * documented to look at.
 */
static bool
is_on_curve(const KsJwsKey *key)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	bool		ok = context != NULL && EVP_PKEY_public_check(context) > 0;

	EVP_PKEY_CTX_free(context);
	return ok;
}

const char *
ks_jws_key_p256(KsJwsKey *key, const uint8 *x, const uint8 *y)
{
	uint8		point[1 + 2 * COORDINATE_LEN] = {0x04}; /* uncompressed */
	char		group[] = "prime256v1";
	OSSL_PARAM	params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
		OSSL_PARAM_construct_end()
	};
	const char *problem = NULL;

	ks_wipe(key, sizeof(*key));
	memcpy(point + 1, x, COORDINATE_LEN);
	memcpy(point + 1 + COORDINATE_LEN, y, COORDINATE_LEN);
	if (!make_pkey(key, KS_JWS_EC_P256, "EC", params) || !is_on_curve(key))
	{
		ks_jws_key_clear(key);
		problem = "a P-256 key is no point of the curve";
	}
	ERR_clear_error();
	return problem;
}

const char *
ks_jws_key_ed25519(KsJwsKey *key, const uint8 *x)
{
	EVP_PKEY   *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x, ED25519_LEN);

	ks_wipe(key, sizeof(*key));
	ERR_clear_error();
	if (pkey == NULL)
		return "libcrypto does not take an Ed25519 key";
	key->type = KS_JWS_ED25519;
	key->pkey = pkey;
	return NULL;
}

void
ks_jws_key_clear(KsJwsKey *key)
{
	EVP_PKEY_free(key->pkey);
	ks_wipe(key, sizeof(*key));
}


/*-------------------------------------------------------------------------
 * Signatures
 *-------------------------------------------------------------------------
 */

static KsCryptoResult
verify_hmac(const KsJwsKey *key, const void *data, size_t len, const uint8 *signature, size_t signature_len)
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	uint8		mac[KS_DIGEST_LEN];
	size_t		n = 0;

	if (signature_len != KS_DIGEST_LEN)
		return KS_CRYPTO_FORGED;
	if (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->secret, key->secret_len, data, len,
				  mac, sizeof(mac), &n) != NULL && n == sizeof(mac))
		result = ks_equal(mac, signature, sizeof(mac)) ? KS_CRYPTO_OK : KS_CRYPTO_FORGED;
	ks_wipe(mac, sizeof(mac));
	return result;
}

/*
 * The signature of a public key, in the form that libcrypto has it in.
 * digest is NULL for algorithms that have none beside them, params for those
 * without parameters.
 */
static KsCryptoResult
verify_public(const KsJwsKey *key, const char *digest, const OSSL_PARAM *params,
			  const void *data, size_t len, const uint8 *signature, size_t signature_len)
{
	KsCryptoResult result = KS_CRYPTO_FAILED;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context != NULL &&
		EVP_DigestVerifyInit_ex(context, NULL, digest, NULL, NULL, key->pkey, params) > 0)
	{
		/* below zero, too: some of what is wrong with a signature is an error */
		if (EVP_DigestVerify(context, signature, signature_len, data, len) == 1)
			result = KS_CRYPTO_OK;
		else
			result = KS_CRYPTO_FORGED;
	}
	EVP_MD_CTX_free(context);
	return result;
}

static KsCryptoResult
verify_rsa(const KsJwsKey *key, bool pss, const void *data, size_t len,
		   const uint8 *signature, size_t signature_len)
{
	char		mode[] = "pss";
	char		salt[] = "digest";	/* RFC 7518, section 3.5 */
	char		mgf1[] = "SHA256";
	OSSL_PARAM	params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, mode, 0),
		OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, salt, 0),
		OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, mgf1, 0),
		OSSL_PARAM_construct_end()
	};

	if (signature_len != (size_t) EVP_PKEY_get_size(key->pkey))
		return KS_CRYPTO_FORGED;
	return verify_public(key, "SHA256", pss ? params : NULL, data, len, signature, signature_len);
}

/*
 * Two big-endian integers of 32 bytes (RFC 7518, section 3.4) as DER, in
 * room for ECDSA_DER_MAX bytes.  Zero when libcrypto fails.
 */
static size_t
ecdsa_der(const uint8 *signature, uint8 *der)
{
	ECDSA_SIG  *sig = ECDSA_SIG_new();
	BIGNUM	   *r = BN_bin2bn(signature, COORDINATE_LEN, NULL);
	BIGNUM	   *s = BN_bin2bn(signature + COORDINATE_LEN, COORDINATE_LEN, NULL);
	int			n = 0;

	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) > 0)
	{
		r = s = NULL;			/* are the signature's */
		n = i2d_ECDSA_SIG(sig, NULL);
		if (n > 0 && n <= ECDSA_DER_MAX)
			n = i2d_ECDSA_SIG(sig, &der);
		else
			n = 0;
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n > 0 ? (size_t) n : 0;
}

static KsCryptoResult
verify_ecdsa(const KsJwsKey *key, const void *data, size_t len, const uint8 *signature, size_t signature_len)
{
	uint8		der[ECDSA_DER_MAX];
	size_t		der_len;

	if (signature_len != 2 * COORDINATE_LEN)
		return KS_CRYPTO_FORGED;
	der_len = ecdsa_der(signature, der);
	if (der_len == 0)
		return KS_CRYPTO_FAILED;
	return verify_public(key, "SHA256", NULL, data, len, der, der_len);
}

KsCryptoResult
ks_jws_verify(const KsJwsKey *key, KsJwsAlgorithm algorithm, const void *data, size_t len,
			  const uint8 *signature, size_t signature_len)
{
	KsCryptoResult result = KS_CRYPTO_FORGED;

	if (!ks_jws_key_fits(key, algorithm))
		return result;
	switch (algorithm)
	{
		case KS_JWS_UNKNOWN:
			break;
		case KS_JWS_HS256:
			result = verify_hmac(key, data, len, signature, signature_len);
			break;
		case KS_JWS_RS256:
		case KS_JWS_PS256:
			result = verify_rsa(key, algorithm == KS_JWS_PS256, data, len, signature, signature_len);
			break;
		case KS_JWS_ES256:
			result = verify_ecdsa(key, data, len, signature, signature_len);
			break;
		case KS_JWS_EDDSA:
			if (signature_len == ED25519_SIGNATURE_LEN)
				result = verify_public(key, NULL, NULL, data, len, signature, signature_len);
			break;
	}
	ERR_clear_error();
	return result;
}


/*-------------------------------------------------------------------------
 * base64url
 *-------------------------------------------------------------------------
 */

/* The six bits of a character, -1 when it has none. */
static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

bool
ks_base64url_decode(const char *text, size_t len, uint8 *out, size_t *out_len)
{
	uint32		bits = 0;
	int			nbits = 0;		/* that are in bits, and not out yet */
	size_t		n = 0;

	*out_len = 0;
	if (len % 4 == 1)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int			value = sextet(text[i]);

		if (value < 0)
			return false;
		bits = (bits << 6 | (uint32) value) & 0xfff;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			out[n++] = (uint8) (bits >> nbits);
		}
	}
	/* another text would decode to the same bytes */
	if ((bits & ((1U << nbits) - 1)) != 0)
		return false;
	*out_len = n;
	return true;
}
