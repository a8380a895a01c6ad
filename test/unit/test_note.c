/*-------------------------------------------------------------------------
 *
 * test_note.c
 *	  Tests of ks_note and of the Ed25519 of ks_crypto, against published
 *	  vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "ks_note.h"

#define ORIGIN "keystone.example/log/000102030405060708090a0b0c0d0e0f/e1"
#define VKEY ORIGIN "+27d7bf6f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
#define ROOT "lItplYh2n/oOtztWskUD60wK6M/3wLsHFIjGEmwBVpc="
#define TEXT ORIGIN "\n2\n" ROOT "\n"
#define DASH "\xe2\x80\x94 "
#define SIGNATURE DASH ORIGIN " J9e/b22+9fGruco5xxtMDbt/u28PHGf893E3J4xOahQR8e/" \
	"upkJtGtpYjoXhUbtgyc4qazsskIXX577OY1IJjEDvugg=\n"
#define NOTE TEXT "\n" SIGNATURE

/* A signature of a key that nobody knows, of no certain length. */
#define FOREIGN DASH "witness.example AAAAAQIDBA==\n"

static KsNoteSigner
make_signer(const char *name, uint8 first)
{
	KsNoteSigner signer;
	uint8		seed[KS_ED25519_SEED_LEN];

	for (int i = 0; i < KS_ED25519_SEED_LEN; i++)
		seed[i] = (uint8) (first + i);
	CHECK(ks_note_signer_init(&signer, name, seed), "signer %s", name);
	return signer;
}

static KsCheckpoint
make_checkpoint(void)
{
	KsCheckpoint checkpoint = {.size = 2};

	memcpy(checkpoint.origin, ORIGIN, sizeof(ORIGIN));
	CHECK(ks_base64_decode(ROOT, strlen(ROOT), checkpoint.root.bytes, KS_DIGEST_LEN) == KS_DIGEST_LEN, "root");
	return checkpoint;
}

/*
 * RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc).
 */
static void
ed25519_vectors(void)
{
	static const struct
	{
		const char *seed;
		const char *public_key;
		const char *message;
		const char *signature;
	}			vectors[] = {
		{
			"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
			"",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
			"fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
		},
		{
			"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			"72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da0"
			"85ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
		},
		{
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
			"af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac1"
			"8ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
		},
		{
			"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
			"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
			"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2"
			"192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
			"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b5890"
			"9351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
		}
	};

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		uint8		seed[32];
		uint8		public_key[32];
		uint8		message[64];
		uint8		signature[64];
		size_t		len = strlen(vectors[i].message) / 2;

		unit_unhex(vectors[i].seed, seed, sizeof(seed));
		unit_unhex(vectors[i].message, message, len);
		CHECK(ks_ed25519_public(seed, public_key) == KS_CRYPTO_OK &&
			  unit_equals_hex(public_key, sizeof(public_key), vectors[i].public_key),
			  "vector %zu: public key", i);
		CHECK(ks_ed25519_sign(seed, message, len, signature) == KS_CRYPTO_OK &&
			  unit_equals_hex(signature, sizeof(signature), vectors[i].signature),
			  "vector %zu: signature", i);
		CHECK(ks_ed25519_verify(public_key, message, len, signature) == KS_CRYPTO_OK,
			  "vector %zu: does not verify", i);
	}
}

static void
ed25519_refused(void)
{
	/* the order of the group, little-endian: RFC 8032, section 5.1 */
	static const char order[] = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
	KsNoteSigner signer = make_signer("a", 7);
	uint8		message[] = "message";
	uint8		signature[64];
	uint8		public_key[32];
	uint8		l[32];
	uint32		carry = 0;

	CHECK(ks_note_sign_bytes(&signer, message, sizeof(message), signature), "sign");
	CHECK(ks_note_verify_bytes(&signer.key, message, sizeof(message), signature), "verify");
	for (size_t bit = 0; bit < 8 * sizeof(signature); bit++)
	{
		signature[bit / 8] ^= (uint8) (1 << bit % 8);
		CHECK(ks_ed25519_verify(signer.key.public_key, message, sizeof(message), signature) == KS_CRYPTO_FORGED,
			  "bit %zu of the signature", bit);
		signature[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(message); bit++)
	{
		message[bit / 8] ^= (uint8) (1 << bit % 8);
		CHECK(!ks_note_verify_bytes(&signer.key, message, sizeof(message), signature), "bit %zu of the message", bit);
		message[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(public_key); bit++)
	{
		memcpy(public_key, signer.key.public_key, sizeof(public_key));
		public_key[bit / 8] ^= (uint8) (1 << bit % 8);
		CHECK(ks_ed25519_verify(public_key, message, sizeof(message), signature) == KS_CRYPTO_FORGED,
			  "bit %zu of the public key", bit);
	}
	CHECK(!ks_note_verify_bytes(&signer.key, message, sizeof(message) - 1, signature), "a shorter message");

	/* there is one signature only: the order added to its second half is none */
	unit_unhex(order, l, sizeof(l));
	for (int i = 0; i < 32; i++)
	{
		carry += (uint32) signature[32 + i] + l[i];
		signature[32 + i] = (uint8) carry;
		carry >>= 8;
	}
	CHECK(!ks_note_verify_bytes(&signer.key, message, sizeof(message), signature), "malleable");
	CHECK(ERR_peek_error() == 0, "libcrypto's error queue is not empty");
}

static void
names(void)
{
	static const char *const bad[] = {
		"", " ", "a b", "a\tb", "a\n", "\na", "a+b", "+", "a\x7f", "a\x01", "caf\xc3\xa9", "a\xc2\xa0z"
	};
	char		longest[KS_ORIGIN_MAX + 2];
	uint8		seed[KS_ED25519_SEED_LEN] = {1};
	KsNoteSigner signer;

	for (size_t i = 0; i < lengthof(bad); i++)
	{
		CHECK(!ks_note_valid_name(bad[i]), "name %zu", i);
		CHECK(!ks_note_signer_init(&signer, bad[i], seed), "signer %zu", i);
		CHECK(unit_is_zero(&signer, sizeof(signer)), "signer %zu: not wiped", i);
	}
	CHECK(ks_note_valid_name(ORIGIN) && ks_note_valid_name("a") && ks_note_valid_name("!~"), "good names");

	memset(longest, 'n', sizeof(longest));
	longest[KS_ORIGIN_MAX + 1] = '\0';
	CHECK(!ks_note_valid_name(longest), "a name over the limit");
	longest[KS_ORIGIN_MAX] = '\0';
	CHECK(ks_note_valid_name(longest), "the longest name");
}

static void
vkey_vector(void)
{
	KsNoteSigner signer = make_signer(ORIGIN, 0);
	KsNoteKey	key;
	char		vkey[KS_VKEY_MAX];

	CHECK(ks_vkey_format(&signer.key, vkey, sizeof(vkey)) == strlen(VKEY) && strcmp(vkey, VKEY) == 0,
		  "vkey differs: %s", vkey);
	CHECK(ks_vkey_parse(VKEY, &key), "does not parse");
	CHECK(memcmp(&key, &signer.key, sizeof(key)) == 0, "key differs");
	for (size_t size = 0; size <= strlen(VKEY); size++)
	{
		char	   *exact = malloc(size + 1);

		if (exact == NULL)
			abort();
		exact[size] = 'x';
		CHECK(ks_vkey_format(&signer.key, exact, size) == 0 && exact[size] == 'x', "size %zu", size);
		free(exact);
	}

	/* the longest name fits KS_VKEY_MAX */
	{
		char		name[KS_ORIGIN_MAX + 1];

		memset(name, 'n', KS_ORIGIN_MAX);
		name[KS_ORIGIN_MAX] = '\0';
		signer = make_signer(name, 1);
		CHECK(ks_vkey_format(&signer.key, vkey, sizeof(vkey)) > 0 && ks_vkey_parse(vkey, &key), "the longest key");
	}
}

static void
vkey_refused(void)
{
	static const char *const bad[] = {
		"", "+", "++", "a", "a+27d7bf6f", "a+27d7bf6f+", "+27d7bf6f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
		/* upper case, an id too long, another type, a byte too many */
		ORIGIN "+27D7BF6F+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
		ORIGIN "+027d7bf6f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
		ORIGIN "+27d7bf6f+AgOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
		ORIGIN "+27d7bf6f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4AA==",
		VKEY "\n", " " VKEY, VKEY "+"
	};
	char		vkey[sizeof(VKEY)] = VKEY;
	KsNoteKey	key;

	for (size_t i = 0; i < lengthof(bad); i++)
		CHECK(!ks_vkey_parse(bad[i], &key) && unit_is_zero(&key, sizeof(key)), "text %zu", i);

	/* the key id binds name and key */
	for (size_t at = 0; at < strlen(VKEY); at++)
	{
		for (int value = 1; value < 256; value++)
		{
			if ((uint8) vkey[at] == value)
				continue;
			vkey[at] = (char) value;
			CHECK(!ks_vkey_parse(vkey, &key), "byte %zu is %d", at, value);
			vkey[at] = VKEY[at];
		}
		vkey[at] = '\0';
		CHECK(!ks_vkey_parse(vkey, &key), "cut to %zu bytes", at);
		vkey[at] = VKEY[at];
	}
}

static void
note_vector(void)
{
	const KsNoteSigner signer = make_signer(ORIGIN, 0);
	const KsNoteSigner *signers[] = {&signer};
	const KsCheckpoint checkpoint = make_checkpoint();
	KsCheckpoint parsed;
	char		note[KS_NOTE_MAX + 1];
	size_t		len;

	len = ks_checkpoint_format(&checkpoint, signers, 1, note, sizeof(note));
	CHECK(len == strlen(NOTE) && strcmp(note, NOTE) == 0, "note differs:\n%s", note);
	CHECK(ks_checkpoint_parse(NOTE, strlen(NOTE), &parsed), "does not parse");
	CHECK(memcmp(&parsed, &checkpoint, sizeof(parsed)) == 0, "checkpoint differs");
	CHECK(ks_note_verify(NOTE, strlen(NOTE), &signer.key), "does not verify");
	for (size_t size = 0; size <= len; size++)
	{
		char	   *exact = malloc(size > 0 ? size : 1);

		if (exact == NULL)
			abort();
		CHECK(ks_checkpoint_format(&checkpoint, signers, 1, exact, size) == 0 && (size == 0 || *exact == '\0'),
			  "size %zu", size);
		free(exact);
	}
	CHECK(ks_checkpoint_format(&checkpoint, signers, 1, note, len + 1) == len, "exact size");
}

/*
 * The example of c2sp.org/signed-note: a note that is no checkpoint.
 */
static void
foreign_note(void)
{
	static const char vkey[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
	static const char note[] = "This is an example message.\n\n" DASH
	"example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
	KsNoteKey	key;
	KsCheckpoint checkpoint;

	CHECK(ks_vkey_parse(vkey, &key), "vkey");
	CHECK(ks_note_verify(note, strlen(note), &key), "does not verify");
	CHECK(!ks_checkpoint_parse(note, strlen(note), &checkpoint), "is no checkpoint");
}

static void
note_mutated(void)
{
	const KsNoteSigner signer = make_signer(ORIGIN, 0);
	const KsNoteSigner *signers[] = {&signer};
	const size_t text_len = strlen(TEXT);
	char		note[sizeof(NOTE)] = NOTE;
	char		again[KS_NOTE_MAX];
	KsCheckpoint checkpoint;

	for (size_t at = 0; at < strlen(NOTE); at++)
	{
		char	   *copy = unit_copy(note, at);

		CHECK(!ks_note_verify(copy, at, &signer.key), "cut to %zu bytes: verifies", at);
		CHECK(!ks_checkpoint_parse(copy, at, &checkpoint), "cut to %zu bytes: parses", at);
		free(copy);

		for (int bit = 0; bit < 8; bit++)
		{
			note[at] = (char) (NOTE[at] ^ (1 << bit));
			CHECK(!ks_note_verify(note, strlen(NOTE), &signer.key), "byte %zu, bit %d: verifies", at, bit);
			if (ks_checkpoint_parse(note, strlen(NOTE), &checkpoint))
				CHECK(ks_checkpoint_format(&checkpoint, signers, 1, again, sizeof(again)) > 0 &&
					  memcmp(note, again, text_len) == 0, "byte %zu, bit %d: reads as another", at, bit);
			else
				CHECK(unit_is_zero(&checkpoint, sizeof(checkpoint)), "byte %zu, bit %d: not zeroed", at, bit);
		}
		note[at] = NOTE[at];
	}
	CHECK(!ks_note_verify(NOTE "\n", strlen(NOTE) + 1, &signer.key), "an empty line behind");
	CHECK(!ks_note_verify("\n" NOTE, strlen(NOTE) + 1, &signer.key), "an empty line in front");
}

static bool
parses(const char *text)
{
	KsCheckpoint checkpoint;
	char	   *copy = unit_copy(text, strlen(text));
	bool		ok = ks_checkpoint_parse(copy, strlen(text), &checkpoint);

	CHECK(ok || unit_is_zero(&checkpoint, sizeof(checkpoint)), "not zeroed");
	free(copy);
	return ok;
}

static void
checkpoint_strict(void)
{
	static const char *const good[] = {
		"o\n0\n" ROOT "\n\n" FOREIGN,
		"o\n1\n" ROOT "\n\n" FOREIGN,
		"o\n9223372036854775807\n" ROOT "\n\n" FOREIGN,
	};
	static const char *const bad[] = {
		"", "\n", "\n\n", "\n\n\n", "\n\n\n\n", TEXT, TEXT "\n", TEXT FOREIGN,
		/* sizes */
		"o\n01\n" ROOT "\n\n" FOREIGN, "o\n00\n" ROOT "\n\n" FOREIGN, "o\n+1\n" ROOT "\n\n" FOREIGN,
		"o\n-1\n" ROOT "\n\n" FOREIGN, "o\n 1\n" ROOT "\n\n" FOREIGN, "o\n1 \n" ROOT "\n\n" FOREIGN,
		"o\n\n" ROOT "\n\n" FOREIGN, "o\n1a\n" ROOT "\n\n" FOREIGN, "o\n0x1\n" ROOT "\n\n" FOREIGN,
		"o\n9223372036854775808\n" ROOT "\n\n" FOREIGN,
		"o\n18446744073709551617\n" ROOT "\n\n" FOREIGN,
		"o\n99999999999999999999\n" ROOT "\n\n" FOREIGN,
		/* origins */
		"\n1\n" ROOT "\n\n" FOREIGN, "o p\n1\n" ROOT "\n\n" FOREIGN, "o+p\n1\n" ROOT "\n\n" FOREIGN,
		/* roots: short, long, spare bits, no padding */
		"o\n1\nlItplYh2n/oOtztWskUD60wK6M/3wLsHFIjGEmwBVg==\n\n" FOREIGN,
		"o\n1\nlItplYh2n/oOtztWskUD60wK6M/3wLsHFIjGEmwBVpeX\n\n" FOREIGN,
		"o\n1\nlItplYh2n/oOtztWskUD60wK6M/3wLsHFIjGEmwBVpd=\n\n" FOREIGN,
		"o\n1\nlItplYh2n/oOtztWskUD60wK6M/3wLsHFIjGEmwBVpc\n\n" FOREIGN,
		"o\n1\n\n\n" FOREIGN,
		/* lines: an extension, an empty one, none, CR LF, no end */
		"o\n1\n" ROOT "\nextension\n\n" FOREIGN, "o\n1\n" ROOT "\n\n\n" FOREIGN,
		"o\n1\n\n" FOREIGN, "o\r\n1\r\n" ROOT "\r\n\r\n" FOREIGN, "o\n1\n" ROOT "\n\n" DASH "w AAAAAQID",
		/* two notes in one */
		"o\n1\n" ROOT "\n\n" FOREIGN "\n" FOREIGN
	};
	const KsNoteSigner signer = make_signer("a", 1);
	const KsNoteSigner *signers[KS_NOTE_SIGNATURES_MAX + 1];
	KsCheckpoint checkpoint = {.origin = "o", .size = 1};
	char		buf[KS_NOTE_MAX + 1];

	for (size_t i = 0; i < lengthof(good); i++)
		CHECK(parses(good[i]), "good %zu", i);
	for (size_t i = 0; i < lengthof(bad); i++)
		CHECK(!parses(bad[i]), "bad %zu", i);

	/* what would not be read is not written */
	for (size_t i = 0; i < lengthof(signers); i++)
		signers[i] = &signer;
	CHECK(ks_checkpoint_format(&checkpoint, signers, KS_NOTE_SIGNATURES_MAX, buf, sizeof(buf)) > 0 &&
		  parses(buf), "as many signers as may be");
	CHECK(ks_checkpoint_format(&checkpoint, signers, KS_NOTE_SIGNATURES_MAX + 1, buf, sizeof(buf)) == 0,
		  "a signer too many");
	CHECK(ks_checkpoint_format(&checkpoint, signers, 0, buf, sizeof(buf)) == 0, "no signer");
	checkpoint.size = UINT64_C(1) << 63;
	CHECK(ks_checkpoint_format(&checkpoint, signers, 1, buf, sizeof(buf)) == 0, "2^63 leaves");
	checkpoint.size = 1;
	checkpoint.origin[0] = ' ';
	CHECK(ks_checkpoint_format(&checkpoint, signers, 1, buf, sizeof(buf)) == 0, "no origin");
}

static bool
verifies(const char *note, const KsNoteKey *key)
{
	char	   *copy = unit_copy(note, strlen(note));
	bool		ok = ks_note_verify(copy, strlen(note), key);

	free(copy);
	return ok;
}

/*
 * The vector with n foreign signatures in front of its own.
 */
static bool
verifies_behind(int n, const KsNoteKey *key)
{
	char		note[KS_NOTE_MAX];
	int			len = snprintf(note, sizeof(note), "%s\n", TEXT);

	for (int i = 0; i < n; i++)
		len += snprintf(note + len, sizeof(note) - (size_t) len, "%s", FOREIGN);
	snprintf(note + len, sizeof(note) - (size_t) len, "%s", SIGNATURE);
	return verifies(note, key);
}

static void
note_signatures(void)
{
	static const char *const broken[] = {
		"- w AAAAAQIDBA==\n", DASH "AAAAAQIDBA==\n", DASH " AAAAAQIDBA==\n", DASH "w+w AAAAAQIDBA==\n",
		DASH "w AAAAAQ==\n", DASH "w\n", DASH "w \n", DASH "w AAAAAQIDBA\n", DASH "w AAAAAQIDBB==\n",
		DASH "w AAAAAQIDBA== \n", DASH "w  AAAAAQIDBA==\n", DASH "\n", "\n", "x\n", DASH "w AAAA\tAQIDBA==\n"
	};
	const KsNoteSigner signer = make_signer(ORIGIN, 0);
	const KsNoteSigner next = make_signer(ORIGIN, 1);
	const KsNoteSigner *signers[] = {&signer, &next};
	const KsCheckpoint checkpoint = make_checkpoint();
	char		note[KS_NOTE_MAX + 1];
	char		large[KS_NOTE_MAX + 5000];
	char		digits[4001];
	KsNoteKey	key;

	/* one key succeeds another */
	CHECK(ks_checkpoint_format(&checkpoint, signers, 2, note, sizeof(note)) > 0, "two signers");
	CHECK(verifies(note, &signer.key) && verifies(note, &next.key), "both sign");
	CHECK(!verifies(NOTE, &next.key), "a key of the same name that did not sign");

	/* the same key id under another name, the same name with another id */
	key = signer.key;
	key.name[0] = 'x';
	CHECK(!verifies(NOTE, &key), "another name");
	key = signer.key;
	key.key_id[0] ^= 1;
	CHECK(!verifies(NOTE, &key), "another key id");
	key = signer.key;
	key.public_key[0] ^= 1;
	CHECK(!verifies(NOTE, &key), "another key");

	/* other signatures are passed over, but not what is none */
	CHECK(verifies(TEXT "\n" FOREIGN SIGNATURE FOREIGN, &signer.key), "among others");
	CHECK(verifies(TEXT "\n" DASH ORIGIN " AAAAAQIDBA==\n" SIGNATURE, &signer.key), "of the same name");
	CHECK(verifies(TEXT "\n" SIGNATURE SIGNATURE, &signer.key), "twice");
	memset(digits, 'A', 4000);
	digits[4000] = '\0';
	snprintf(large, sizeof(large), "%s\n%s%s %s\n%s", TEXT, DASH, "w", digits, SIGNATURE);
	CHECK(verifies(large, &signer.key), "behind a long one");
	for (size_t i = 0; i < lengthof(broken); i++)
	{
		snprintf(note, sizeof(note), "%s\n%s%s", TEXT, broken[i], SIGNATURE);
		CHECK(!verifies(note, &signer.key), "behind broken line %zu", i);
		snprintf(note, sizeof(note), "%s\n%s%s", TEXT, SIGNATURE, broken[i]);
		CHECK(!verifies(note, &signer.key), "before broken line %zu", i);
	}

	/* a false one of the key refuses the note, a right one beside it or not */
	snprintf(note, sizeof(note), "%s\n%s%s", TEXT, SIGNATURE, SIGNATURE);
	note[strlen(TEXT) + 1 + strlen(SIGNATURE) - 10] ^= 1;
	CHECK(!verifies(note, &signer.key), "beside a false one");
	CHECK(!verifies(TEXT "\n" DASH ORIGIN " J9e/bwA=\n" SIGNATURE, &signer.key), "beside a short one");

	/* c2sp.org/signed-note: at least 16 are read */
	CHECK(verifies_behind(KS_NOTE_SIGNATURES_MAX - 1, &signer.key), "the last that is read");
	CHECK(!verifies_behind(KS_NOTE_SIGNATURES_MAX, &signer.key), "the first that is not");

	/* control characters have no place in a note */
	CHECK(!verifies("a\tb\n\n" FOREIGN, &signer.key), "a tab");
	CHECK(!ks_note_verify(NOTE, strlen(NOTE) + 1, &signer.key), "a NUL");
}

static void
proof_texts(void)
{
	KsHash		path[KS_TREE_DEPTH_MAX + 1] = {0};
	char		buf[KS_NOTE_MAX];
	size_t		len;
	static const char inclusion[] = "c2sp.org/tlog-proof@v1\nindex 1\n" ROOT "\n\n" NOTE;
	static const char consistency[] = "old 18446744073709551615\n" ROOT "\n\n" NOTE;

	path[0] = make_checkpoint().root;
	len = ks_inclusion_format(1, path, 1, NOTE, buf, sizeof(buf));
	CHECK(len == strlen(inclusion) && strcmp(buf, inclusion) == 0, "inclusion:\n%s", buf);
	CHECK(ks_inclusion_format(1, path, 1, NOTE, buf, len + 1) == len, "exact size");
	CHECK(ks_inclusion_format(1, path, 1, NOTE, buf, len) == 0 && buf[0] == '\0', "one byte less");

	len = ks_consistency_format(UINT64_MAX, path, 1, NOTE, buf, sizeof(buf));
	CHECK(len == strlen(consistency) && strcmp(buf, consistency) == 0, "consistency:\n%s", buf);
	CHECK(ks_consistency_format(0, NULL, 0, NULL, buf, sizeof(buf)) > 0 && strcmp(buf, "old 0\n\n") == 0,
		  "no path, no note");
	CHECK(ks_consistency_format(0, NULL, 0, "", buf, sizeof(buf)) > 0 && strcmp(buf, "old 0\n\n") == 0,
		  "an empty note");
	CHECK(ks_inclusion_format(0, NULL, 0, "", buf, 0) == 0, "no buffer");

	CHECK(ks_inclusion_format(0, path, KS_TREE_DEPTH_MAX, NOTE, buf, sizeof(buf)) > 0, "63 hashes");
	CHECK(ks_inclusion_format(0, path, KS_TREE_DEPTH_MAX + 1, NOTE, buf, sizeof(buf)) == 0, "64 hashes");
	CHECK(ks_consistency_format(0, path, KS_TREE_DEPTH_MAX + 1, NOTE, buf, sizeof(buf)) == 0, "64 hashes");
	CHECK(ks_consistency_format(0, path, -1, NOTE, buf, sizeof(buf)) == 0, "a proof that failed");
}

/*
 * RFC 4648, section 10.
 */
static void
base64_vectors(void)
{
	static const char *const vectors[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}
	};

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		const char *plain = vectors[i][0];
		const char *text = vectors[i][1];
		char		buf[16];

		CHECK(ks_base64_encode(plain, strlen(plain), buf, strlen(text) + 1) == strlen(text) &&
			  strcmp(buf, text) == 0, "vector %zu", i);
		CHECK(ks_base64_encode(plain, strlen(plain), buf, strlen(text)) == 0, "vector %zu: no room", i);
		CHECK(ks_base64_decode(text, strlen(text), buf, strlen(plain)) == (int) strlen(plain) &&
			  memcmp(buf, plain, strlen(plain)) == 0, "vector %zu: decoded", i);
		CHECK(ks_base64_decode(text, strlen(text), NULL, SIZE_MAX) == (int) strlen(plain),
			  "vector %zu: checked", i);
		if (plain[0] != '\0')
			CHECK(ks_base64_decode(text, strlen(text), buf, strlen(plain) - 1) == -1,
				  "vector %zu: no room for the bytes", i);
	}
}

static void
base64_strict(void)
{
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "=", "Zg==Zg==", "Zm8=Zm8=", "Z=g=",
		"Zm9v\n", "Zm 9", " Zg=", "Zm9-", "Zm9_", "Zm9v Zm9v", "Zm\xc3\xa9"
	};
	static const char characters[] = "AQgwZ059+/==\n-";

	for (size_t i = 0; i < lengthof(bad); i++)
	{
		uint8		buf[16];
		char	   *copy = unit_copy(bad[i], strlen(bad[i]));

		CHECK(ks_base64_decode(copy, strlen(bad[i]), buf, sizeof(buf)) == -1, "text %zu", i);
		free(copy);
	}

	/* what decodes is what encodes */
	for (int round = 0; round < 100000; round++)
	{
		char		text[8];
		uint8		bytes[6];
		char		again[9];
		int			n;

		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = characters[unit_random() % (sizeof(characters) - 1)];
		n = ks_base64_decode(text, sizeof(text), bytes, sizeof(bytes));
		CHECK(n == -1 || (ks_base64_encode(bytes, (size_t) n, again, sizeof(again)) == sizeof(text) &&
						  memcmp(text, again, sizeof(text)) == 0), "%.8s", text);
	}

	for (size_t len = 1; len <= 200; len++)
	{
		uint8		bytes[200];
		uint8		decoded[200];
		char		text[300];
		size_t		text_len;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8) unit_random();
		text_len = ks_base64_encode(bytes, len, text, sizeof(text));
		CHECK(text_len == (len + 2) / 3 * 4, "length %zu", len);
		CHECK(ks_base64_decode(text, text_len, decoded, sizeof(decoded)) == (int) len &&
			  memcmp(bytes, decoded, len) == 0, "length %zu: differs", len);
	}
}

const UnitTest note_tests[] = {
	{"Ed25519 has the published keys and signatures", ed25519_vectors},
	{"an Ed25519 signature with any bit flipped is refused", ed25519_refused},
	{"a key's name is printable and not too long", names},
	{"the published verifier key is written and read", vkey_vector},
	{"what is not exactly a verifier key is refused", vkey_refused},
	{"the published checkpoint is written, read and verified", note_vector},
	{"the example of the specification verifies", foreign_note},
	{"a checkpoint with any byte changed does not verify", note_mutated},
	{"what is not exactly a checkpoint is refused", checkpoint_strict},
	{"a note is verified among other signatures, and none that is broken", note_signatures},
	{"proofs are written as specified, of 63 hashes at most", proof_texts},
	{"base64 has the published vectors", base64_vectors},
	{"base64 that would not be written is not read", base64_strict},
	{NULL, NULL}
};
