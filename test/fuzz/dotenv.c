/*-------------------------------------------------------------------------
 *
 * dotenv.c
 *	  Fuzzes ks_dotenv: whatever is read can be written and is then read
 *	  back the same, and any bytes make a value that comes back.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_dotenv.h"

/*
 * Writes one entry, and reads it.
 */
static void
check_round_trip(const char *name, size_t name_len, const char *value, size_t value_len)
{
	size_t		size = ks_dotenv_size(name_len, value_len);
	char	   *text = fuzz_copy(NULL, size);
	size_t		len = ks_dotenv_write(text, name, name_len, value, value_len);
	char	   *exact;
	char	   *read;
	KsDotenv	reader;
	KsDotenvEntry entry;

	REQUIRE(len <= size);
	REQUIRE(len > 0 && memchr(text, '\n', len) == text + len - 1);

	exact = fuzz_copy(text, len);
	read = fuzz_copy(NULL, len);
	ks_dotenv_begin(&reader, exact, len);
	REQUIRE(ks_dotenv_next(&reader, &entry, read) == KS_DOTENV_ENTRY);
	REQUIRE(reader.line == 1);
	REQUIRE(entry.name_len == name_len && memcmp(entry.name, name, name_len) == 0);
	REQUIRE(entry.value_len == value_len);
	REQUIRE(value_len == 0 || memcmp(read, value, value_len) == 0);
	REQUIRE(ks_dotenv_next(&reader, &entry, read) == KS_DOTENV_END);

	free(text);
	free(exact);
	free(read);
}

static int
count_lines(const char *text, const char *end)
{
	int			lines = 1;

	for (; text < end; text++)
		lines += *text == '\n';
	return lines;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = fuzz_copy(data, size);
	char	   *value = fuzz_copy(NULL, size);
	const char *after = text;	/* no entry begins before this */
	KsDotenv	reader;
	KsDotenvEntry entry;
	KsDotenvResult result;

	memset(value, 0, size);
	ks_dotenv_begin(&reader, text, size);
	while ((result = ks_dotenv_next(&reader, &entry, value)) == KS_DOTENV_ENTRY)
	{
		REQUIRE(entry.name >= after && entry.name + entry.name_len < text + size);
		REQUIRE(entry.name_len > 0);
		REQUIRE(entry.value_len <= (size_t) (text + size - entry.name));
		REQUIRE(reader.line == count_lines(text, entry.name));
		REQUIRE(reader.problem == NULL);
		after = entry.name + entry.name_len;

		check_round_trip(entry.name, entry.name_len, value, entry.value_len);
		memset(value, 0, size);
	}

	REQUIRE((result == KS_DOTENV_ERROR) == (reader.problem != NULL));
	REQUIRE(entry.name == NULL && entry.value_len == 0);
	REQUIRE(fuzz_is_zero(value, size));
	if (result == KS_DOTENV_ERROR)
		REQUIRE(reader.line >= 1 && reader.line <= count_lines(text, text + size));
	REQUIRE(ks_dotenv_next(&reader, &entry, value) == result);

	check_round_trip("NAME", 4, text, size);

	REQUIRE(size == 0 || memcmp(text, data, size) == 0);
	free(text);
	free(value);
	return 0;
}
