/*-------------------------------------------------------------------------
 *
 * test_dotenv.c
 *	  Tests of ks_dotenv.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "ks_dotenv.h"

#define NOT_CLOSED	"the quote is not closed"
#define NO_EQUALS	"the line has no \"=\""
#define BAD_NAME	"the name before \"=\" is not letters, digits and \"_\""
#define AFTER_QUOTE "there is text after the closing quote"

/*
 * What the reader makes of a text: each entry as <line:name=value>, then the
 * problem, if any, as <line!problem>.
 */
static const struct
{
	const char *text;
	const char *expected;
}			cases[] = {

	/* nothing */
	{"", ""},
	{"\n", ""},
	{"\r\n \t\r\n", ""},
	{"# a comment", ""},
	{"  # a comment\n#\n#A=1\n", ""},
	{"\xef\xbb\xbf", ""},

	/* unquoted */
	{"A=1", "<1:A=1>"},
	{"A=1\n", "<1:A=1>"},
	{"A=1\r\n", "<1:A=1>"},
	{"A=1\r", "<1:A=1>"},
	{"A=1\nB=2\n", "<1:A=1><2:B=2>"},
	{"A=1\r\nB=2\r\n\r\nC=3", "<1:A=1><2:B=2><4:C=3>"},
	{"\xef\xbb\xbf" "A=1\nB=2", "<1:A=1><2:B=2>"},
	{"\n\n# c\nA=1", "<4:A=1>"},
	{"A=1\nA=2", "<1:A=1><2:A=2>"},
	{"A= two words \t", "<1:A=two words>"},
	{"  A  =  1  ", "<1:A=1>"},
	{"\tA\t=\t1", "<1:A=1>"},
	{"_a9.b-c=x", "<1:_a9.b-c=x>"},
	{"A=b=c==", "<1:A=b=c==>"},
	{"A=$HOME/${X}", "<1:A=$HOME/${X}>"},
	{"A=a\\nb", "<1:A=a\\nb>"},
	{"A=it's \"so\"", "<1:A=it's \"so\">"},
	{"A=`date`", "<1:A=`date`>"},
	{"A=sch\xc3\xb6n", "<1:A=sch\xc3\xb6n>"},

	/* empty */
	{"A=", "<1:A=>"},
	{"A=\nB=", "<1:A=><2:B=>"},
	{"A=  \r\n", "<1:A=>"},
	{"A=\"\"", "<1:A=>"},
	{"A=''\nB=2", "<1:A=><2:B=2>"},

	/* comments behind a value */
	{"A=1 # one", "<1:A=1>"},
	{"A=1\t# one\nB=2", "<1:A=1><2:B=2>"},
	{"A=a#b", "<1:A=a#b>"},
	{"A=a#b #c", "<1:A=a#b>"},
	{"A=#a", "<1:A=#a>"},
	{"A= #a", "<1:A=>"},
	{"A= # 'a'\nB=2", "<1:A=><2:B=2>"},
	{"A=\"1\" # one", "<1:A=1>"},
	{"A='1'# one", "<1:A=1>"},

	/* export */
	{"export A=1", "<1:A=1>"},
	{"  export \t A = 1", "<1:A=1>"},
	{"export A='x y'", "<1:A=x y>"},
	{"export=1", "<1:export=1>"},
	{"export =1", "<1:export=1>"},
	{"exported=1", "<1:exported=1>"},
	{"export export=1", "<1:export=1>"},

	/* single quotes */
	{"A='a b'", "<1:A=a b>"},
	{"A=' a '", "<1:A= a >"},
	{"A='a # b'", "<1:A=a # b>"},
	{"A='a\\n\"$\\\\'", "<1:A=a\\n\"$\\\\>"},
	{"A = 'a'  ", "<1:A=a>"},
	{"A='a\nb'\nB=2", "<1:A=a\nb><3:B=2>"},
	{"A='a\r\nb'\r\nB=2", "<1:A=a\r\nb><3:B=2>"},

	/* double quotes */
	{"A=\"a b\"", "<1:A=a b>"},
	{"A=\"a\\nb\\r\\t\\\"\\\\\\$\"", "<1:A=a\nb\r\t\"\\$>"},
	{"A=\"\\\\n\"", "<1:A=\\n>"},
	{"A=\"\\a\\'\\x\"", "<1:A=\\a\\'\\x>"},
	{"A=\"it's # fine\"", "<1:A=it's # fine>"},
	{"A=\"a\nb\n\nc\"\n\nB=2", "<1:A=a\nb\n\nc><6:B=2>"},
	{"A=\"-----BEGIN KEY-----\nAB==\n-----END KEY-----\n\" # pem\nB=2",
	"<1:A=-----BEGIN KEY-----\nAB==\n-----END KEY-----\n><5:B=2>"},
	{"A=\"\nB=2\n\"\nC=3", "<1:A=\nB=2\n><4:C=3>"},
	{"A=\"a\\\nb\"", "<1:A=a\\\nb>"},
	{"A=\"$HOME\"", "<1:A=$HOME>"},

	/* errors */
	{"A", "<1!" NO_EQUALS ">"},
	{"export A", "<1!" NO_EQUALS ">"},
	{"A=1\n\nB\nC=3", "<1:A=1><3!" NO_EQUALS ">"},
	{"A=\"x\ny\"\nB", "<1:A=x\ny><3!" NO_EQUALS ">"},
	{"A # =", "<1!" BAD_NAME ">"},
	{"=1", "<1!" BAD_NAME ">"},
	{" = ", "<1!" BAD_NAME ">"},
	{"1A=1", "<1!" BAD_NAME ">"},
	{"A B=1", "<1!" BAD_NAME ">"},
	{"export A B=1", "<1!" BAD_NAME ">"},
	{"set A=1", "<1!" BAD_NAME ">"},
	{"A:1=2", "<1!" BAD_NAME ">"},
	{"\"A\"=1", "<1!" BAD_NAME ">"},
	{"\xc3\x84=1", "<1!" BAD_NAME ">"},
	{"A=1\n\xef\xbb\xbf" "B=2", "<1:A=1><2!" BAD_NAME ">"},
	{"A='", "<1!" NOT_CLOSED ">"},
	{"A=\"", "<1!" NOT_CLOSED ">"},
	{"A=1\nB='x\nC=3\n", "<1:A=1><2!" NOT_CLOSED ">"},
	{"A=\"x\\\"", "<1!" NOT_CLOSED ">"},
	{"A=\"x\\", "<1!" NOT_CLOSED ">"},
	{"A='x\"", "<1!" NOT_CLOSED ">"},
	{"A='x\\''", "<1!" AFTER_QUOTE ">"},
	{"A='x'y", "<1!" AFTER_QUOTE ">"},
	{"A=\"x\" y\nB=2", "<1!" AFTER_QUOTE ">"},
	{"A=\"x\"\"y\"", "<1!" AFTER_QUOTE ">"},
};

/*
 * Reads len bytes from memory of exactly that size, and writes down what comes
 * of it.
 */
static void
describe(const char *text, size_t len, char *out, size_t out_size)
{
	char	   *copy = unit_copy(text, len);
	char	   *value = malloc(len > 0 ? len : 1);
	KsDotenv	reader;
	KsDotenvEntry entry;
	KsDotenvResult result;
	size_t		n = 0;

	if (value == NULL)
		abort();
	out[0] = '\0';
	memset(value, 0, len);
	ks_dotenv_begin(&reader, copy, len);
	while ((result = ks_dotenv_next(&reader, &entry, value)) == KS_DOTENV_ENTRY)
		n += (size_t) snprintf(out + n, out_size - n, "<%d:%.*s=%.*s>", reader.line,
							   (int) entry.name_len, entry.name, (int) entry.value_len, value);
	if (result == KS_DOTENV_ERROR)
		snprintf(out + n, out_size - n, "<%d!%s>", reader.line, reader.problem);

	/* whoever asks again gets the same answer */
	CHECK(ks_dotenv_next(&reader, &entry, value) == result && entry.value_len == 0,
		  "\"%s\": the end is not the end", text);
	free(copy);
	free(value);
}

static void
table_of_cases(void)
{
	char		out[1000];

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		describe(cases[i].text, strlen(cases[i].text), out, sizeof(out));
		CHECK(strcmp(out, cases[i].expected) == 0, "\"%s\": %s", cases[i].text, out);
	}
}

static void
cut_anywhere(void)
{
	char		out[1000];

	/* the sanitizers and valgrind say what is wrong */
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		for (size_t n = 0; n < strlen(cases[i].text); n++)
			describe(cases[i].text, n, out, sizeof(out));
	}
	CHECK(true, "reached");
}

static void
errors_wipe(void)
{
	const char *text = "A=\"secret";
	char		value[9];
	KsDotenv	reader;
	KsDotenvEntry entry;

	memset(value, 0, sizeof(value));
	ks_dotenv_begin(&reader, text, strlen(text));
	CHECK(ks_dotenv_next(&reader, &entry, value) == KS_DOTENV_ERROR, "no error");
	CHECK(unit_is_zero(value, sizeof(value)), "the value is not wiped");
	CHECK(unit_is_zero(&entry, sizeof(entry)), "the entry is not empty");
}

static void
written_form(void)
{
	static const char value[] = "a\nb\r\"\\$'#\t\xc3\xb6 ";
	static const char expected[] = "NAME=\"a\\nb\\r\\\"\\\\\\$'#\t\xc3\xb6 \"\n";
	char		out[100];
	size_t		n = ks_dotenv_write(out, "NAME", 4, value, strlen(value));

	CHECK(n == strlen(expected) && memcmp(out, expected, n) == 0, "\"%.*s\"", (int) n, out);
	CHECK(ks_dotenv_size(4, 0) >= ks_dotenv_write(out, "NAME", 4, "", 0), "an empty value");
}

#define ENTRIES_MAX		8
#define VALUE_MAX		60

/*
 * A value of what is likely to be mistaken for syntax.
 */
static size_t
random_value(char *value)
{
	static const char *const parts[] = {
		"\"", "'", "\\", "\n", "\r", "\r\n", "$", "#", " #", " ", "\t", "=", "A=1\n", "n", "r", "t",
		"x", "\\n", "\\\"", "${A}", "`", "export ", "\xc3\xb6", "\xe2\x82\xac", "\xf0\x9f\x94\x91",
		"\xef\xbb\xbf", "\x7f", "\x01", "\xff",
	};
	size_t		len = 0;
	size_t		wanted = unit_random() % VALUE_MAX;

	for (;;)
	{
		const char *part = parts[unit_random() % lengthof(parts)];
		size_t		part_len = strlen(part);

		if (part_len > wanted - len)
			return len;
		memcpy(value + len, part, part_len);
		len += part_len;
	}
}

/*
 * One text of several entries, with comments and blank lines between them,
 * comes back as what went in.
 */
static void
round_trip(int round)
{
	static const char *const between[] = {"", "\n", "# A=\"\n", "\r\n", "  \t\n", "export "};
	char		names[ENTRIES_MAX][8];
	char		values[ENTRIES_MAX][VALUE_MAX];
	size_t		lens[ENTRIES_MAX];
	int			lines[ENTRIES_MAX];
	char		text[ENTRIES_MAX * (2 * VALUE_MAX + 50)];
	char		read[sizeof(text)];
	size_t		len = 0;
	int			line = 1;
	int			count = (int) (unit_random() % (ENTRIES_MAX + 1));
	char	   *copy;
	KsDotenv	reader;
	KsDotenvEntry entry;

	for (int i = 0; i < count; i++)
	{
		const char *gap = between[unit_random() % lengthof(between)];
		size_t		name_len = (size_t) snprintf(names[i], sizeof(names[i]), "N_%d", i);
		size_t		n;

		memcpy(text + len, gap, strlen(gap));
		len += strlen(gap);
		if (strchr(gap, '\n') != NULL)
			line++;
		lines[i] = line++;

		lens[i] = random_value(values[i]);
		n = ks_dotenv_write(text + len, names[i], name_len, values[i], lens[i]);
		CHECK(n <= ks_dotenv_size(name_len, lens[i]), "round %d: more than its size", round);
		len += n;
	}

	copy = unit_copy(text, len);
	ks_dotenv_begin(&reader, copy, len);
	for (int i = 0; i < count; i++)
	{
		if (!CHECK(ks_dotenv_next(&reader, &entry, read) == KS_DOTENV_ENTRY,
				   "round %d, entry %d: %s", round, i, reader.problem))
			break;
		CHECK(entry.name_len == strlen(names[i]) &&
			  memcmp(entry.name, names[i], entry.name_len) == 0, "round %d, entry %d: name", round, i);
		CHECK(entry.value_len == lens[i] && memcmp(read, values[i], lens[i]) == 0,
			  "round %d, entry %d: value", round, i);
		CHECK(reader.line == lines[i], "round %d, entry %d: line %d", round, i, reader.line);
	}
	CHECK(ks_dotenv_next(&reader, &entry, read) == KS_DOTENV_END, "round %d: no end", round);
	free(copy);
}

static void
round_trips(void)
{
	int			rounds = unit_soak ? 1000000 : 20000;

	for (int i = 0; i < rounds; i++)
		round_trip(i);
}

const UnitTest dotenv_tests[] = {
	{"dotenv text is read as documented", table_of_cases},
	{"dotenv text cut anywhere is read within its bounds", cut_anywhere},
	{"a value that ends in an error is wiped", errors_wipe},
	{"an entry is written on one line, escaped", written_form},
	{"what is written as dotenv is read back the same", round_trips},
	{NULL, NULL}
};
