/*-------------------------------------------------------------------------
 *
 * bench.c
 *	  Figures of the rooms that build without a server: one line of JSON
 *	  each, nanoseconds per call, median of five batches.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ks_window.h"
#include "ks_wire.h"

#define BATCHES			5
#define BATCH_NS		2e8		/* a batch takes about so long */

/* What the calls that are measured work on. */
static KsAead aead;
static uint8 key[KS_KEY_LEN];
static uint8 nonce[KS_NONCE_LEN];
static uint8 aad[KS_AAD_MAX];
static size_t aad_len;
static uint8 plain[64];
static uint8 sealed[64 + KS_TAG_LEN];
static uint8 sealed_aad[64 + KS_TAG_LEN];
static uint8 out[64 + KS_TAG_LEN];

static bool
seal_64(void)
{
	return ks_aead_seal(&aead, nonce, NULL, 0, plain, 64, out) == KS_CRYPTO_OK;
}

static bool
open_64(void)
{
	return ks_aead_open(&aead, nonce, NULL, 0, sealed, sizeof(sealed), out) == KS_CRYPTO_OK;
}

static bool
seal_64_address(void)
{
	return ks_aead_seal(&aead, nonce, aad, aad_len, plain, 64, out) == KS_CRYPTO_OK;
}

static bool
open_64_address(void)
{
	return ks_aead_open(&aead, nonce, aad, aad_len, sealed_aad, sizeof(sealed_aad),
						out) == KS_CRYPTO_OK;
}

static bool
prepare_key(void)
{
	KsAead		prepared;
	bool		ok = ks_aead_init(&prepared, key) == KS_CRYPTO_OK;

	ks_aead_clear(&prepared);
	return ok;
}

static bool
hmac_64(void)
{
	KsBytes		piece = {plain, sizeof(plain)};

	return ks_hmac_sha256(key, &piece, 1, out) == KS_CRYPTO_OK;
}

static bool
sha256_64(void)
{
	return ks_sha256(plain, sizeof(plain), out) == KS_CRYPTO_OK;
}

static bool
random_24(void)
{
	return ks_random(out, KS_NONCE_LEN) == KS_CRYPTO_OK;
}

static bool
make_address(void)
{
	uint8		header[KS_ENVELOPE_HEADER_LEN];
	KsAddress	address = {
		.key_id = key, .workspace = key, .credential = key, .version = 1,
		.environment = "production", .owner = NULL, .name = "OpenAI production key",
		.kind = "api_key", .provider = "openai", .has_expiry = true, .expires_at = 1
	};

	ks_envelope_header(header, 1);
	aad_len = ks_address_aad(&address, header, aad);
	return aad_len > 0;
}

/* An attempt in three windows, without the search for them. */
static bool
windows_3(void)
{
	static const KsWindow windows[] = {
		{.algorithm = KS_WINDOW_SLIDING, .n = KS_WINDOW_N_MAX, .period = INT64_C(3600000000)},
		{.algorithm = KS_WINDOW_SLIDING, .n = KS_WINDOW_N_MAX, .period = INT64_C(86400000000)},
		{.algorithm = KS_WINDOW_SLIDING, .n = KS_WINDOW_N_MAX, .period = INT64_C(2592000000000)}
	};
	static KsWindowState states[lengthof(windows)];
	static int64 now = INT64_C(820454400000000);
	bool		allowed = true;

	now++;
	for (size_t i = 0; i < lengthof(windows); i++)
	{
		KsWindowAnswer answer;

		ks_window_look(&windows[i], &states[i], now, 1, &answer);
		allowed = allowed && answer.allowed;
	}
	for (size_t i = 0; allowed && i < lengthof(windows); i++)
		ks_window_charge(&windows[i], &states[i], now, 1);
	return allowed;
}

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static double
batch_ns(bool (*call) (void), long calls)
{
	double		start = now_ns();

	for (long i = 0; i < calls; i++)
	{
		if (!call())
			abort();
	}
	return now_ns() - start;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
measure(const char *name, bool (*call) (void))
{
	double		ns[BATCHES];
	long		calls = 1000;

	/* this also warms it up */
	while (batch_ns(call, calls) < BATCH_NS / 4)
		calls *= 2;
	calls *= 4;

	for (int i = 0; i < BATCHES; i++)
		ns[i] = batch_ns(call, calls) / (double) calls;
	qsort(ns, BATCHES, sizeof(double), compare_doubles);
	printf("{\"name\":\"%s\",\"ns\":%.1f}\n", name, ns[BATCHES / 2]);
	fflush(stdout);
}

int
unit_bench(void)
{
	if (ks_random(key, sizeof(key)) != KS_CRYPTO_OK ||
		ks_random(nonce, sizeof(nonce)) != KS_CRYPTO_OK ||
		ks_aead_init(&aead, key) != KS_CRYPTO_OK ||
		!make_address())
		return EXIT_FAILURE;

	/* 40 bytes, as an API key has, and padding */
	memset(plain, 'k', 40);
	ks_pad(plain, 40);
	if (ks_aead_seal(&aead, nonce, NULL, 0, plain, 64, sealed) != KS_CRYPTO_OK ||
		ks_aead_seal(&aead, nonce, aad, aad_len, plain, 64, sealed_aad) != KS_CRYPTO_OK)
		return EXIT_FAILURE;

	measure("xaes_seal_64", seal_64);
	measure("xaes_open_64", open_64);
	measure("xaes_seal_64_address", seal_64_address);
	measure("xaes_open_64_address", open_64_address);
	measure("address_aad", make_address);
	measure("aead_init_clear", prepare_key);
	measure("hmac_sha256_64", hmac_64);
	measure("sha256_64", sha256_64);
	measure("random_24", random_24);
	measure("windows_3", windows_3);

	ks_aead_clear(&aead);
	return EXIT_SUCCESS;
}
