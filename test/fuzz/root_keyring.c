/*-------------------------------------------------------------------------
 *
 * root_keyring.c
 *	  Fuzzes ks_root_keyring_parse().
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_wire.h"

static int
count_lines(const char *text, size_t len)
{
	int			lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return lines;
}

static void
check_keys(const KsRootKey *keys, int nkeys)
{
	REQUIRE(nkeys >= 1 && nkeys <= KS_ROOT_KEYS_MAX);
	for (int i = 0; i < nkeys; i++)
	{
		size_t		len = strnlen(keys[i].id, sizeof(keys[i].id));

		REQUIRE(len >= 1 && len <= KS_ROOT_KEY_ID_MAX);
		REQUIRE(strspn(keys[i].id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					   "0123456789._-") == len);
		/* a pattern of the coarsest kind that is refused */
		REQUIRE(memcmp(keys[i].key, keys[i].key + 16, 16) != 0);
		for (int j = 0; j < i; j++)
		{
			REQUIRE(strcmp(keys[i].id, keys[j].id) != 0);
			REQUIRE(memcmp(keys[i].key, keys[j].key, KS_KEY_LEN) != 0);
		}
	}
	REQUIRE(fuzz_is_zero(keys + nkeys, sizeof(KsRootKey) * (size_t) (KS_ROOT_KEYS_MAX - nkeys)));
}

/*
 * The keys, written in the plainest form, are read back the same.
 */
static void
check_again(const KsRootKey *keys, int nkeys)
{
	char		text[KS_ROOT_KEYS_MAX * (KS_ROOT_KEY_ID_MAX + 1 + 2 * KS_KEY_LEN + 1) + 1];
	KsRootKey	again[KS_ROOT_KEYS_MAX];
	size_t		len = 0;
	int			nagain;
	int			line;

	for (int i = 0; i < nkeys; i++)
	{
		len += (size_t) snprintf(text + len, sizeof(text) - len, "%s ", keys[i].id);
		for (int j = 0; j < KS_KEY_LEN; j++)
			len += (size_t) snprintf(text + len, sizeof(text) - len, "%02x", keys[i].key[j]);
		text[len++] = '\n';
	}
	REQUIRE(ks_root_keyring_parse(text, len, again, &nagain, &line) == NULL);
	REQUIRE(nagain == nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		REQUIRE(strcmp(again[i].id, keys[i].id) == 0);
		REQUIRE(memcmp(again[i].key, keys[i].key, KS_KEY_LEN) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = fuzz_copy(data, size);
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	int			nkeys = -1;
	int			line = -1;
	const char *problem;

	memset(keys, 0xee, sizeof(keys));
	problem = ks_root_keyring_parse(text, size, keys, &nkeys, &line);
	if (problem == NULL)
	{
		check_keys(keys, nkeys);
		check_again(keys, nkeys);
	}
	else
	{
		REQUIRE(strlen(problem) > 0);
		REQUIRE(nkeys == 0);
		REQUIRE(line >= 0 && line <= count_lines(text, size));
		REQUIRE(fuzz_is_zero(keys, sizeof(keys)));
	}
	REQUIRE(size == 0 || memcmp(text, data, size) == 0);
	free(text);
	return 0;
}
