/*-------------------------------------------------------------------------
 *
 * test_jws.c
 *	  Tests of ks_jws against the tokens of RFC 7515, RFC 7520 and RFC 8037,
 *	  and of what it refuses.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "ks_jws.h"

/* RFC 7515, appendix A: the payload of all of them. */
#define PAYLOAD \
	".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."

/* A.1 */
#define A1_K \
	"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define A1 \
	"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" PAYLOAD "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

/* A.2 */
#define A2_N \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql" \
	"L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs" \
	"LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud" \
	"F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define A2 \
	"eyJhbGciOiJSUzI1NiJ9" PAYLOAD \
	"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG" \
	"bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K" \
	"0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6" \
	"LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

/* A.3 */
#define A3_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define A3_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define A3 \
	"eyJhbGciOiJFUzI1NiJ9" PAYLOAD \
	"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

/* RFC 7520, sections 4.1 and 4.2: RS256, and PS384 with the same key. */
#define RFC7520_N \
	"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMa" \
	"JMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c" \
	"S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwd" \
	"q_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
#define RFC7520_D \
	"bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3X" \
	"TGgdrhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe" \
	"04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07" \
	"lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ"
#define RFC7520_PAYLOAD \
	".SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0" \
	"aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91" \
	"IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4."
#define RFC7520_RS256 \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9" RFC7520_PAYLOAD \
	"MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7P" \
	"NDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9e" \
	"Ro4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4" \
	"uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
#define RFC7520_PS384 \
	"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9" RFC7520_PAYLOAD \
	"cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dD" \
	"DItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ij" \
	"Q7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAj" \
	"VKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"

/* RFC 7520, section 4.4: HS256. */
#define RFC7520_K "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"
#define RFC7520_HS256 \
	"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9" RFC7520_PAYLOAD \
	"s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"

/* RFC 8037, appendix A.4. */
#define RFC8037_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define RFC8037 \
	"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." \
	"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#define DECODED_MAX 1024

typedef struct Decoded
{
	uint8		bytes[DECODED_MAX];
	size_t		len;
} Decoded;

static const uint8 exponent[] = {1, 0, 1};

static Decoded
decode(const char *text)
{
	Decoded		decoded = {0};

	if (strlen(text) > DECODED_MAX || !ks_base64url_decode(text, strlen(text), decoded.bytes, &decoded.len))
		abort();
	return decoded;
}

static KsJwsKey
make_oct(const char *k)
{
	Decoded		secret = decode(k);
	KsJwsKey	key = {0};

	CHECK(ks_jws_key_oct(&key, secret.bytes, secret.len) == NULL, "secret");
	return key;
}

static KsJwsKey
make_rsa(const char *text)
{
	Decoded		n = decode(text);
	KsJwsKey	key = {0};

	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, exponent, sizeof(exponent)) == NULL, "RSA key");
	return key;
}

static KsJwsKey
make_p256(void)
{
	KsJwsKey	key = {0};

	CHECK(ks_jws_key_p256(&key, decode(A3_X).bytes, decode(A3_Y).bytes) == NULL, "P-256 key");
	return key;
}

static KsJwsKey
make_ed25519(void)
{
	KsJwsKey	key = {0};

	CHECK(ks_jws_key_ed25519(&key, decode(RFC8037_X).bytes) == NULL, "Ed25519 key");
	return key;
}

/* A token with its key, and the algorithm that its header names. */
typedef struct Vector
{
	const char *token;
	KsJwsAlgorithm algorithm;
	KsJwsKey	key;
} Vector;

#define VECTORS 6

static void
make_vectors(Vector vectors[VECTORS])
{
	const Vector made[VECTORS] = {
		{A1, KS_JWS_HS256, make_oct(A1_K)},
		{A2, KS_JWS_RS256, make_rsa(A2_N)},
		{A3, KS_JWS_ES256, make_p256()},
		{RFC7520_RS256, KS_JWS_RS256, make_rsa(RFC7520_N)},
		{RFC7520_HS256, KS_JWS_HS256, make_oct(RFC7520_K)},
		{RFC8037, KS_JWS_EDDSA, make_ed25519()},
	};

	memcpy(vectors, made, sizeof(made));
}

static void
clear_vectors(Vector vectors[VECTORS])
{
	for (int i = 0; i < VECTORS; i++)
		ks_jws_key_clear(&vectors[i].key);
}

static size_t
signed_len(const char *token)
{
	return (size_t) (strrchr(token, '.') - token);
}

static Decoded
signature_of(const char *token)
{
	return decode(strrchr(token, '.') + 1);
}

static KsCryptoResult
verify(const KsJwsKey *key, KsJwsAlgorithm algorithm, const char *token)
{
	Decoded		signature = signature_of(token);
	size_t		len = signed_len(token);
	char	   *data = unit_copy(token, len);
	uint8	   *copy = unit_copy(signature.bytes, signature.len);
	KsCryptoResult result = ks_jws_verify(key, algorithm, data, len, copy, signature.len);

	CHECK(ERR_peek_error() == 0, "libcrypto's error queue");
	free(data);
	free(copy);
	return result;
}

static void
published_tokens(void)
{
	Vector		vectors[VECTORS];

	make_vectors(vectors);
	for (int i = 0; i < VECTORS; i++)
		CHECK(verify(&vectors[i].key, vectors[i].algorithm, vectors[i].token) == KS_CRYPTO_OK, "vector %d", i);
	clear_vectors(vectors);
}

static void
forged_tokens(void)
{
	Vector		vectors[VECTORS];

	make_vectors(vectors);
	for (int i = 0; i < VECTORS; i++)
	{
		const Vector *v = &vectors[i];
		size_t		len = signed_len(v->token);
		Decoded		signature = signature_of(v->token);
		char	   *data = unit_copy(v->token, len);

		for (size_t bit = 0; bit < 8 * signature.len; bit += i == 1 || i == 3 ? 61 : 1)
		{
			Decoded		other = signature;

			other.bytes[bit / 8] ^= (uint8) (1 << bit % 8);
			CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, other.bytes, other.len) == KS_CRYPTO_FORGED,
				  "vector %d: bit %zu of the signature", i, bit);
		}
		for (size_t at = 0; at < len; at += 7)
		{
			data[at] ^= 1;
			CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, signature.bytes, signature.len) == KS_CRYPTO_FORGED,
				  "vector %d: byte %zu of the text", i, at);
			data[at] ^= 1;
		}
		for (size_t cut = 0; cut < signature.len; cut++)
			CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, signature.bytes, cut) == KS_CRYPTO_FORGED,
				  "vector %d: %zu bytes of the signature", i, cut);
		CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, signature.bytes, signature.len + 1) == KS_CRYPTO_FORGED,
			  "vector %d: a byte too many", i);
		CHECK(ks_jws_verify(&v->key, v->algorithm, data, len - 1, signature.bytes, signature.len) == KS_CRYPTO_FORGED,
			  "vector %d: a shorter text", i);
		memset(signature.bytes, 0, signature.len);
		CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, signature.bytes, signature.len) == KS_CRYPTO_FORGED,
			  "vector %d: zeros", i);
		memset(signature.bytes, 0xff, signature.len);
		CHECK(ks_jws_verify(&v->key, v->algorithm, data, len, signature.bytes, signature.len) == KS_CRYPTO_FORGED,
			  "vector %d: ones", i);
		CHECK(ERR_peek_error() == 0, "libcrypto's error queue");
		free(data);
	}
	clear_vectors(vectors);
}

/*
 * The signature of ES256 as DER, which is how libcrypto has it, is none in a
 * token.
 */
static void
ecdsa_form(void)
{
	KsJwsKey	key = make_p256();
	Decoded		raw = signature_of(A3);
	uint8		der[72] = {0x30, 69, 0x02, 32};
	size_t		len = 4;

	memcpy(der + len, raw.bytes, 32);
	len += 32;
	der[len++] = 0x02;
	der[len++] = 33;
	der[len++] = 0;
	memcpy(der + len, raw.bytes + 32, 32);
	len += 32;
	CHECK(ks_jws_verify(&key, KS_JWS_ES256, A3, signed_len(A3), der, len) == KS_CRYPTO_FORGED, "DER");
	ks_jws_key_clear(&key);
}

static void
algorithms_of_keys(void)
{
	static const KsJwsAlgorithm all[] = {
		KS_JWS_UNKNOWN, KS_JWS_HS256, KS_JWS_RS256, KS_JWS_PS256, KS_JWS_ES256, KS_JWS_EDDSA
	};
	Vector		vectors[VECTORS];

	make_vectors(vectors);
	for (int i = 0; i < VECTORS; i++)
	{
		Vector	   *v = &vectors[i];

		for (size_t a = 0; a < lengthof(all); a++)
		{
			bool		is_rsa = v->key.type == KS_JWS_RSA && (all[a] == KS_JWS_RS256 || all[a] == KS_JWS_PS256);

			CHECK(ks_jws_key_fits(&v->key, all[a]) == (is_rsa || all[a] == v->algorithm),
				  "vector %d: fits %zu", i, a);
			if (all[a] != v->algorithm)
				CHECK(verify(&v->key, all[a], v->token) == KS_CRYPTO_FORGED, "vector %d: as %zu", i, a);
		}
		v->key.algorithm = v->algorithm;
		CHECK(verify(&v->key, v->algorithm, v->token) == KS_CRYPTO_OK, "vector %d: bound to its own", i);
		v->key.algorithm = v->algorithm == KS_JWS_RS256 ? KS_JWS_PS256 : KS_JWS_RS256;
		CHECK(verify(&v->key, v->algorithm, v->token) == KS_CRYPTO_FORGED, "vector %d: bound to another", i);
	}
	clear_vectors(vectors);
}

static void
algorithm_names(void)
{
	static const char *const unknown[] = {
		"none", "None", "", "HS384", "HS512", "RS384", "PS384", "ES256K", "ES384", "EdDSA ", "eddsa",
		"hs256", "Ed448", "RS2566", "HS25"
	};

	CHECK(ks_jws_algorithm("HS256") == KS_JWS_HS256 && ks_jws_algorithm("RS256") == KS_JWS_RS256 &&
		  ks_jws_algorithm("PS256") == KS_JWS_PS256 && ks_jws_algorithm("ES256") == KS_JWS_ES256 &&
		  ks_jws_algorithm("EdDSA") == KS_JWS_EDDSA, "the five");
	for (size_t i = 0; i < lengthof(unknown); i++)
		CHECK(ks_jws_algorithm(unknown[i]) == KS_JWS_UNKNOWN, "\"%s\"", unknown[i]);
}

/*
 * HS256 with what everybody knows of an RSA key as the secret.
 */
static void
confused_algorithm(void)
{
	KsJwsKey	rsa = make_rsa(RFC7520_N);
	Decoded		n = decode(RFC7520_N);
	KsJwsKey	oct;
	uint8		mac[KS_DIGEST_LEN];

	CHECK(ks_jws_key_oct(&oct, n.bytes, n.len) == NULL, "the modulus is as long as a secret");
	CHECK(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, n.bytes, n.len, (const uint8 *) RFC7520_RS256,
					signed_len(RFC7520_RS256), mac, sizeof(mac), NULL) != NULL, "mac");
	CHECK(ks_jws_verify(&oct, KS_JWS_HS256, RFC7520_RS256, signed_len(RFC7520_RS256), mac, sizeof(mac)) == KS_CRYPTO_OK,
		  "it would be a secret");
	CHECK(ks_jws_verify(&rsa, KS_JWS_HS256, RFC7520_RS256, signed_len(RFC7520_RS256), mac, sizeof(mac)) == KS_CRYPTO_FORGED,
		  "an RSA key is none");
	ks_jws_key_clear(&oct);
	ks_jws_key_clear(&rsa);
}

/*
 * A signature of RSASSA-PSS with the key of RFC 7520.
 */
static Decoded
sign_pss(const char *data, size_t len, const char *digest, const char *mgf1, int salt_len)
{
	Decoded		n = decode(RFC7520_N);
	Decoded		d = decode(RFC7520_D);
	Decoded		signature = {.len = DECODED_MAX};
	BIGNUM	   *bn_n = BN_bin2bn(n.bytes, (int) n.len, NULL);
	BIGNUM	   *bn_d = BN_bin2bn(d.bytes, (int) d.len, NULL);
	BIGNUM	   *bn_e = BN_bin2bn(exponent, sizeof(exponent), NULL);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY   *key = NULL;
	EVP_PKEY_CTX *inner = NULL;
	OSSL_PARAM *params;

	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, bn_n);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, bn_e);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_D, bn_d);
	params = OSSL_PARAM_BLD_to_param(builder);
	CHECK(EVP_PKEY_fromdata_init(maker) > 0 &&
		  EVP_PKEY_fromdata(maker, &key, EVP_PKEY_KEYPAIR, params) > 0 &&
		  EVP_DigestSignInit_ex(context, &inner, digest, NULL, NULL, key, NULL) > 0 &&
		  EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING) > 0 &&
		  EVP_PKEY_CTX_set_rsa_mgf1_md_name(inner, mgf1, NULL) > 0 &&
		  EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, salt_len) > 0 &&
		  EVP_DigestSign(context, signature.bytes, &signature.len, (const uint8 *) data, len) > 0,
		  "signing with %s, %s, %d", digest, mgf1, salt_len);

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(maker);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_free(bn_n);
	BN_free(bn_d);
	BN_free(bn_e);
	return signature;
}

/*
 * RFC 7518, section 3.5: SHA-256 in both places, salt as long as the digest.
 */
static void
pss(void)
{
	static const struct
	{
		const char *digest;
		const char *mgf1;
		int			salt_len;
		KsCryptoResult result;
	}			cases[] = {
		{"SHA256", "SHA256", 32, KS_CRYPTO_OK},
		{"SHA256", "SHA256", 0, KS_CRYPTO_FORGED},
		{"SHA256", "SHA256", 20, KS_CRYPTO_FORGED},
		{"SHA256", "SHA256", 222, KS_CRYPTO_FORGED},
		{"SHA256", "SHA1", 32, KS_CRYPTO_FORGED},
		{"SHA384", "SHA384", 48, KS_CRYPTO_FORGED},
		{"SHA512", "SHA256", 32, KS_CRYPTO_FORGED},
	};
	static const char data[] = "eyJhbGciOiJQUzI1NiJ9.e30";
	KsJwsKey	key = make_rsa(RFC7520_N);

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		Decoded		signature = sign_pss(data, strlen(data), cases[i].digest, cases[i].mgf1, cases[i].salt_len);

		CHECK(ks_jws_verify(&key, KS_JWS_PS256, data, strlen(data), signature.bytes, signature.len) == cases[i].result,
			  "case %zu", i);
		CHECK(ks_jws_verify(&key, KS_JWS_RS256, data, strlen(data), signature.bytes, signature.len) == KS_CRYPTO_FORGED,
			  "case %zu as RS256", i);
	}
	CHECK(verify(&key, KS_JWS_PS256, RFC7520_PS384) == KS_CRYPTO_FORGED, "PS384");
	CHECK(verify(&key, KS_JWS_PS256, RFC7520_RS256) == KS_CRYPTO_FORGED, "RS256 as PS256");
	ks_jws_key_clear(&key);
}

static void
rsa_keys(void)
{
	Decoded		n = decode(RFC7520_N);
	uint8		wide[2 + DECODED_MAX] = {0};
	static const uint8 one[] = {1};
	static const uint8 two[] = {2};
	static const uint8 three[] = {0, 0, 3};
	static const uint8 long_one[] = {1, 0, 0, 0, 0, 0, 0, 0, 1};
	KsJwsKey	key;

	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, three, sizeof(three)) == NULL, "an exponent of 3");
	ks_jws_key_clear(&key);
	ks_jws_key_clear(&key);
	CHECK(unit_is_zero(&key, sizeof(key)), "cleared");
	memcpy(wide + 2, n.bytes, n.len);
	CHECK(ks_jws_key_rsa(&key, wide, n.len + 2, exponent, sizeof(exponent)) == NULL, "leading zeros");
	CHECK(verify(&key, KS_JWS_RS256, RFC7520_RS256) == KS_CRYPTO_OK, "leading zeros: verifies");
	ks_jws_key_clear(&key);

	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, one, sizeof(one)) != NULL, "an exponent of 1");
	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, two, sizeof(two)) != NULL, "an even exponent");
	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, long_one, sizeof(long_one)) != NULL, "an exponent of 65 bits");
	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, NULL, 0) != NULL, "no exponent");
	CHECK(ks_jws_key_rsa(&key, NULL, 0, exponent, sizeof(exponent)) != NULL, "no modulus");
	CHECK(ks_jws_key_rsa(&key, n.bytes, 128, exponent, sizeof(exponent)) != NULL, "1024 bits");
	n.bytes[0] = 0x7f;
	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, exponent, sizeof(exponent)) != NULL, "2047 bits");
	n.bytes[0] = 0x80;
	n.bytes[n.len - 1] &= 0xfe;
	CHECK(ks_jws_key_rsa(&key, n.bytes, n.len, exponent, sizeof(exponent)) != NULL, "an even modulus");
	CHECK(unit_is_zero(&key, sizeof(key)) && ERR_peek_error() == 0, "nothing is left");
}

static void
other_keys(void)
{
	Decoded		x = decode(A3_X);
	Decoded		y = decode(A3_Y);
	uint8		secret[KS_JWS_SECRET_MAX + 1] = {0};
	uint8		wide[32];
	KsJwsKey	key;

	/* the point at infinity has no such form; p is no coordinate */
	y.bytes[31] ^= 1;
	CHECK(ks_jws_key_p256(&key, x.bytes, y.bytes) != NULL, "not on the curve");
	memset(wide, 0, sizeof(wide));
	CHECK(ks_jws_key_p256(&key, wide, wide) != NULL, "zero");
	memset(wide, 0xff, sizeof(wide));
	CHECK(ks_jws_key_p256(&key, wide, y.bytes) != NULL, "beyond the field");
	CHECK(unit_is_zero(&key, sizeof(key)) && ERR_peek_error() == 0, "nothing is left");

	CHECK(ks_jws_key_oct(&key, secret, 31) != NULL, "31 bytes");
	CHECK(ks_jws_key_oct(&key, secret, sizeof(secret)) != NULL, "1025 bytes");
	CHECK(ks_jws_key_oct(&key, secret, 32) == NULL && key.secret_len == 32, "32 bytes");
	CHECK(ks_jws_key_oct(&key, secret, 1024) == NULL && key.secret_len == 1024, "1024 bytes");

	/* a key that is no point of the curve verifies nothing */
	memset(wide, 0, sizeof(wide));
	wide[0] = 2;
	if (ks_jws_key_ed25519(&key, wide) == NULL)
		CHECK(verify(&key, KS_JWS_EDDSA, RFC8037) == KS_CRYPTO_FORGED, "no point of Ed25519");
	ks_jws_key_clear(&key);
}

static void
base64url(void)
{
	static const char *const good[][2] = {
		{"", ""}, {"Zg", "66"}, {"Zm8", "666f"}, {"Zm9v", "666f6f"}, {"Zm9vYg", "666f6f62"},
		{"-_-_", "fbffbf"}, {"_w", "ff"}, {"AAA", "0000"}
	};
	static const char *const bad[] = {
		"Z", "Zm9vY", "Zg==", "Zm8=", "Zh", "Zm9", "+/+/", "Zm 8", "Zm8\n", "\nZm8", "Zm9v.", "Zm\xc3\xa9v", "Z\x01Zg",
		"_x"
	};
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t i = 0; i < lengthof(good); i++)
	{
		Decoded		decoded = decode(good[i][0]);

		CHECK(unit_equals_hex(decoded.bytes, decoded.len, good[i][1]), "good %zu", i);
	}
	for (size_t i = 0; i < lengthof(bad); i++)
	{
		char	   *copy = unit_copy(bad[i], strlen(bad[i]));
		uint8	   *out = malloc(strlen(bad[i]) / 4 * 3 + 3);
		size_t		len = 1;

		CHECK(out != NULL && !ks_base64url_decode(copy, strlen(bad[i]), out, &len) && len == 0, "bad %zu", i);
		free(out);
		free(copy);
	}

	/* each character alone has its value, and no other character has one */
	for (int c = 0; c < 256; c++)
	{
		char		text[4] = {(char) c, 'A', 'A', 'A'};
		uint8		out[3];
		size_t		len;
		const char *at = c != 0 ? strchr(alphabet, c) : NULL;

		CHECK(ks_base64url_decode(text, 4, out, &len) == (at != NULL), "character %d", c);
		if (at != NULL)
			CHECK(len == 3 && out[0] >> 2 == at - alphabet, "value of character %d", c);
	}
}

const UnitTest jws_tests[] = {
	{"the published tokens verify", published_tokens},
	{"a token with anything changed does not verify", forged_tokens},
	{"an ECDSA signature has one form", ecdsa_form},
	{"a key is for the algorithms of its type, or its own", algorithms_of_keys},
	{"an algorithm has exactly one name", algorithm_names},
	{"a public key is no secret", confused_algorithm},
	{"PS256 has one digest and one length of salt", pss},
	{"weak RSA keys are refused", rsa_keys},
	{"weak secrets and points off the curve are refused", other_keys},
	{"base64url is decoded strictly", base64url},
	{NULL, NULL}
};
