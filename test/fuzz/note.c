/*-------------------------------------------------------------------------
 *
 * note.c
 *	  Fuzzes the readers of ks_note: what one of them accepts is written as
 *	  the same text.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_note.h"

/* The signer of the corpus. */
#define NAME "keystone.example/log/000102030405060708090a0b0c0d0e0f/e1"

static KsNoteSigner signer;

static void
make_signer(void)
{
	uint8		seed[KS_ED25519_SEED_LEN];

	if (signer.key.name[0] != '\0')
		return;
	for (int i = 0; i < KS_ED25519_SEED_LEN; i++)
		seed[i] = (uint8) i;
	REQUIRE(ks_crypto_init());
	REQUIRE(ks_note_signer_init(&signer, NAME, seed));
}

/*
 * A checkpoint is read as what would be written for it; one that verifies was
 * made by the signer, who has signed no other text.
 */
static void
check_note(const char *note, size_t size)
{
	const KsNoteSigner *signers[] = {&signer};
	KsCheckpoint checkpoint;
	char		again[KS_NOTE_MAX + 1];
	bool		parses = ks_checkpoint_parse(note, size, &checkpoint);

	if (parses)
	{
		const char *end;

		REQUIRE(ks_note_valid_name(checkpoint.origin) && checkpoint.size <= INT64_MAX);
		REQUIRE(ks_checkpoint_format(&checkpoint, signers, 1, again, sizeof(again)) > 0);
		end = strstr(again, "\n\n");
		REQUIRE(end != NULL && size > (size_t) (end + 2 - again));
		REQUIRE(memcmp(note, again, (size_t) (end + 2 - again)) == 0);
	}
	else
		REQUIRE(fuzz_is_zero(&checkpoint, sizeof(checkpoint)));

	if (ks_note_verify(note, size, &signer.key))
		REQUIRE(parses && strcmp(checkpoint.origin, NAME) == 0 && checkpoint.size == 2);
}

static void
check_vkey(const char *text, size_t size)
{
	char	   *vkey = fuzz_copy(NULL, size + 1);
	char		again[KS_VKEY_MAX];
	KsNoteKey	key;

	if (size > 0)
		memcpy(vkey, text, size);
	vkey[size] = '\0';
	if (ks_vkey_parse(vkey, &key))
	{
		REQUIRE(ks_note_valid_name(key.name));
		REQUIRE(ks_vkey_format(&key, again, sizeof(again)) == strlen(vkey));
		REQUIRE(strcmp(again, vkey) == 0);
	}
	else
		REQUIRE(fuzz_is_zero(&key, sizeof(key)));
	free(vkey);
}

static void
check_base64(const char *text, size_t size)
{
	uint8	   *bytes = fuzz_copy(NULL, size);
	char	   *again = fuzz_copy(NULL, size / 3 * 4 + 5);
	char	   *read = fuzz_copy(NULL, size);
	int			n = ks_base64_decode(text, size, bytes, size);
	size_t		len;

	REQUIRE(ks_base64_decode(text, size, NULL, SIZE_MAX) == n);
	if (n >= 0)
	{
		REQUIRE(ks_base64_encode(bytes, (size_t) n, again, size + 1) == size);
		REQUIRE(size == 0 || memcmp(again, text, size) == 0);
	}

	/* any bytes come back */
	len = ks_base64_encode(text, size, again, size / 3 * 4 + 5);
	REQUIRE(len == (size + 2) / 3 * 4 && again[len] == '\0');
	REQUIRE(ks_base64_decode(again, len, read, size) == (int) size);
	REQUIRE(size == 0 || memcmp(read, text, size) == 0);

	free(bytes);
	free(again);
	free(read);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = fuzz_copy(data, size);

	make_signer();
	check_note(text, size);
	check_vkey(text, size);
	check_base64(text, size);
	REQUIRE(size == 0 || memcmp(text, data, size) == 0);
	free(text);
	return 0;
}
