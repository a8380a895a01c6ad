/*-------------------------------------------------------------------------
 *
 * test_keyring.c
 *	  Tests of the parser of root keyrings in ks_wire.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "ks_wire.h"

/* SHA-256 of "a", "b" and "c": keys that nobody uses, without a pattern. */
#define KEY_A	"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define KEY_B	"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
#define KEY_C	"2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"
#define KEY_A_UPPER "CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB"

#define ID_63	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char *
parse(const char *text, size_t len, KsRootKey keys[KS_ROOT_KEYS_MAX], int *nkeys, int *line)
{
	char	   *copy = unit_copy(text, len);
	const char *problem;

	/* what was in the caller's memory must not matter, nor stay */
	memset(keys, 0xee, sizeof(KsRootKey) * KS_ROOT_KEYS_MAX);
	problem = ks_root_keyring_parse(copy, len, keys, nkeys, line);
	free(copy);
	return problem;
}

static void
expect_keys(const char *text, int expected)
{
	static const char *const hex[] = {KEY_A, KEY_B, KEY_C};
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	int			nkeys;
	int			line;
	const char *problem = parse(text, strlen(text), keys, &nkeys, &line);

	CHECK(problem == NULL, "\"%s\": %s", text, problem);
	if (!CHECK(nkeys == expected, "\"%s\": %d keys", text, nkeys))
		return;
	for (int i = 0; i < nkeys; i++)
	{
		CHECK(strlen(keys[i].id) == 2 && keys[i].id[0] == 'k' && keys[i].id[1] == '1' + i,
			  "\"%s\": id %d is \"%s\"", text, i, keys[i].id);
		CHECK(unit_equals_hex(keys[i].key, KS_KEY_LEN, hex[i]), "\"%s\": key %d", text, i);
	}
	CHECK(unit_is_zero(keys + nkeys, sizeof(KsRootKey) * (size_t) (KS_ROOT_KEYS_MAX - nkeys)),
		  "\"%s\": the rest is not zero", text);
}

static void
expect_problem_in(const char *text, size_t len, const char *expected, int expected_line)
{
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	int			nkeys;
	int			line;
	const char *problem = parse(text, len, keys, &nkeys, &line);

	if (!CHECK(problem != NULL, "\"%.100s\": accepted", text))
		return;
	CHECK(strcmp(problem, expected) == 0, "\"%.100s\": %s", text, problem);
	CHECK(line == expected_line, "\"%.100s\": line %d", text, line);
	CHECK(nkeys == 0, "\"%.100s\": %d keys", text, nkeys);
	CHECK(unit_is_zero(keys, sizeof(keys)), "\"%.100s\": the keys are not wiped", text);
}

static void
expect_problem(const char *text, const char *expected, int expected_line)
{
	expect_problem_in(text, strlen(text), expected, expected_line);
}

static void
keyrings_accepted(void)
{
	expect_keys("k1 " KEY_A, 1);
	expect_keys("k1 " KEY_A "\n", 1);
	expect_keys("k1 " KEY_A "\r\n", 1);
	expect_keys("k1 " KEY_A_UPPER "\n", 1);
	expect_keys("k1 " KEY_A "\nk2 " KEY_B "\n", 2);
	expect_keys("k1 " KEY_A "\nk2 " KEY_B "\nk3 " KEY_C, 3);
	expect_keys("k1 " KEY_A "\r\nk2 " KEY_B "\r\nk3 " KEY_C "\r\n", 3);
	expect_keys("# the keys\n\n   \n\t\r\nk1 " KEY_A "\n#k9 " KEY_C "\n\nk2 " KEY_B "\n\n", 2);
	expect_keys("k1\t" KEY_A "\nk2 \t  " KEY_B "  \n", 2);
	expect_keys("  k1 " KEY_A " \r\n  # indented\n", 1);
}

static void
ids_accepted(void)
{
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	const char *text = ID_63 " " KEY_A "\nRoot-2026_01.b " KEY_B "\n- " KEY_C "\n";
	int			nkeys;
	int			line;

	CHECK(parse(text, strlen(text), keys, &nkeys, &line) == NULL && nkeys == 3, "refused");
	CHECK(strcmp(keys[0].id, ID_63) == 0, "the longest id");
	CHECK(strcmp(keys[1].id, "Root-2026_01.b") == 0, "all kinds of characters");
	CHECK(strcmp(keys[2].id, "-") == 0, "the shortest id");
}

static void
keyrings_refused(void)
{
	static const char no_key[] = "the keyring has no key";
	static const char no_second[] = "the line has no key after the id";
	static const char bad_id[] =
	"the id on the line has characters other than letters, digits, \".\", \"_\" and \"-\"";
	static const char bad_digit[] =
	"the key on the line has characters other than hexadecimal digits";
	static const char short_key[] = "the key on the line is shorter than 64 hexadecimal digits";
	static const char long_key[] = "the key on the line is longer than 64 hexadecimal digits";

	expect_problem("", no_key, 0);
	expect_problem("\n\n  \r\n", no_key, 0);
	expect_problem("# only a comment", no_key, 0);

	expect_problem("k1", no_second, 1);
	expect_problem("k1 " KEY_A "\nk2 \nk3 " KEY_C, no_second, 2);
	expect_problem("# c\r\n\r\nk1\r\n", no_second, 3);

	expect_problem("k/1 " KEY_A, bad_id, 1);
	expect_problem("k\xc3\xa9 " KEY_A, bad_id, 1);
	expect_problem("\xef\xbb\xbfk1 " KEY_A, bad_id, 1);
	expect_problem("k1:" KEY_A, bad_id, 1);
	expect_problem("k1=" KEY_A, bad_id, 1);
	expect_problem_in("k\0x " KEY_A, 4 + 64, bad_id, 1);
	expect_problem(ID_63 "a " KEY_A, "the id on the line is longer than 63 characters", 1);
	expect_problem(KEY_A, "the id on the line is longer than 63 characters", 1);

	expect_problem("k1 " KEY_A "\nk2 abcdef", short_key, 2);
	expect_problem("k1 1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcde",
				   short_key, 1);
	expect_problem("k1 " KEY_A "0", long_key, 1);
	expect_problem("k1 " KEY_A KEY_B, long_key, 1);
	expect_problem("k1 0x" KEY_A, bad_digit, 1);
	expect_problem("k1 ga978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
				   bad_digit, 1);
	expect_problem("k1 \xff" KEY_A, bad_digit, 1);
	expect_problem_in("k1 " KEY_A "\0", 3 + 64 + 1, bad_digit, 1);
	expect_problem("k1 " KEY_A "\rk2 " KEY_B, bad_digit, 1);
	expect_problem("k1 " KEY_A " # a comment", "the line has text after the key", 1);
	expect_problem("k1 " KEY_A " " KEY_B, "the line has text after the key", 1);

	expect_problem("k1 " KEY_A "\n\nk1 " KEY_B, "the id on the line is on an earlier line too", 3);
	expect_problem("k1 " KEY_A "\nk2 " KEY_A, "the key on the line is on an earlier line too", 2);
	expect_problem("k1 " KEY_A "\nk2 " KEY_A_UPPER,
				   "the key on the line is on an earlier line too", 2);
	expect_problem("k1 " KEY_A "\nk2 " KEY_B "\nk3 " KEY_A,
				   "the key on the line is on an earlier line too", 3);
}

static void
cut_anywhere(void)
{
	const char *text = "k1 " KEY_A "\r\nk2 " KEY_B;
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	int			nkeys;
	int			line;

	for (size_t n = 0; n < strlen(text); n++)
	{
		const char *problem = parse(text, n, keys, &nkeys, &line);
		bool		first_only = n >= 3 + 64 && n <= 3 + 64 + 2;

		CHECK((problem == NULL) == first_only, "%zu bytes: %s", n,
			  problem != NULL ? problem : "accepted");
		CHECK(problem == NULL || unit_is_zero(keys, sizeof(keys)), "%zu bytes: not wiped", n);
	}
}

static void
too_many_refused(void)
{
	char		text[KS_ROOT_KEYRING_BYTES_MAX + 2];
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	size_t		len = 0;
	int			nkeys;
	int			line;

	for (int i = 0; i <= KS_ROOT_KEYS_MAX; i++)
	{
		uint8		digest[KS_DIGEST_LEN];

		CHECK(ks_sha256(&i, sizeof(i), digest) == KS_CRYPTO_OK, "digest");
		len += (size_t) snprintf(text + len, sizeof(text) - len, "key-%d ", i);
		for (int j = 0; j < KS_DIGEST_LEN; j++)
			len += (size_t) snprintf(text + len, sizeof(text) - len, "%02x", digest[j]);
		text[len++] = '\n';
		if (i == KS_ROOT_KEYS_MAX - 1)
		{
			CHECK(parse(text, len, keys, &nkeys, &line) == NULL && nkeys == KS_ROOT_KEYS_MAX,
				  "as many as allowed are refused");
			CHECK(strcmp(keys[15].id, "key-15") == 0, "the last id is \"%s\"", keys[15].id);
		}
	}
	expect_problem_in(text, len, "the keyring has more than 16 keys", 17);

	/* blank lines count for the size only */
	memset(text + len, '\n', sizeof(text) - len);
	len = strlen("key-0 ") + 64;
	memset(text + len, '\n', sizeof(text) - len);
	CHECK(parse(text, KS_ROOT_KEYRING_BYTES_MAX, keys, &nkeys, &line) == NULL && nkeys == 1,
		  "as long as allowed is refused");
	expect_problem_in(text, KS_ROOT_KEYRING_BYTES_MAX + 1, "the keyring is longer than 8192 bytes", 0);
}

static const char *
parse_bytes(const uint8 key[KS_KEY_LEN])
{
	char		text[3 + 2 * KS_KEY_LEN + 1];
	KsRootKey	keys[KS_ROOT_KEYS_MAX];
	int			nkeys;
	int			line;

	memcpy(text, "k1 ", 3);
	for (int i = 0; i < KS_KEY_LEN; i++)
		snprintf(text + 3 + 2 * i, 3, "%02x", key[i]);
	return parse(text, strlen(text), keys, &nkeys, &line);
}

static void
expect_pattern(const uint8 key[KS_KEY_LEN], const char *what, int number)
{
	static const char pattern[] = "the key on the line is a pattern, not random";
	const char *problem = parse_bytes(key);
	uint8		changed[KS_KEY_LEN];

	CHECK(problem != NULL && strcmp(problem, pattern) == 0, "%s %d: %s", what, number,
		  problem != NULL ? problem : "accepted");

	/* no byte is left out of the comparison */
	for (int i = 0; i < KS_KEY_LEN; i++)
	{
		memcpy(changed, key, KS_KEY_LEN);
		changed[i] ^= 0x10;
		problem = parse_bytes(changed);
		CHECK(problem == NULL, "%s %d, byte %d changed: %s", what, number, i, problem);
	}
}

static void
patterns_refused(void)
{
	static const int periods[] = {1, 2, 4, 8, 16};
	uint8		key[KS_KEY_LEN];

	for (size_t p = 0; p < lengthof(periods); p++)
	{
		for (int round = 0; round < 20; round++)
		{
			for (int i = 0; i < KS_KEY_LEN; i++)
				key[i] = i < periods[p] ? (uint8) unit_random() : key[i - periods[p]];
			expect_pattern(key, "period", periods[p]);
		}
	}
	for (int step = 0; step < 256; step++)
	{
		for (int i = 0; i < KS_KEY_LEN; i++)
			key[i] = (uint8) (7 + i * step);
		expect_pattern(key, "step", step);
	}
	memset(key, 0, sizeof(key));
	expect_pattern(key, "zeros", 0);
	memset(key, 0xff, sizeof(key));
	expect_pattern(key, "ones", 0);

	/* no random key is refused */
	for (int round = 0; round < 10000; round++)
	{
		CHECK(ks_random(key, sizeof(key)) == KS_CRYPTO_OK, "random");
		CHECK(parse_bytes(key) == NULL, "a random key is refused");
	}
}

const UnitTest keyring_tests[] = {
	{"a root keyring is read, with any line ends, blanks and comments", keyrings_accepted},
	{"a root key's id may have all its characters and lengths", ids_accepted},
	{"a bad root keyring is refused with its reason and line, and wiped", keyrings_refused},
	{"a root keyring cut anywhere is never half a key", cut_anywhere},
	{"too many root keys, or too long a text, are refused", too_many_refused},
	{"patterned root keys are refused, random ones never", patterns_refused},
	{NULL, NULL}
};
