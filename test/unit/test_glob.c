/*-------------------------------------------------------------------------
 *
 * test_glob.c
 *	  Tests of ks_glob against a matcher that tries everything.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ks_glob.h"

#define ROUNDS		400000
#define ROUNDS_SOAK 40000000

/* The definition, word for word: a star and a shorter text, or no star. */
static bool
naive(const char *p, const char *s)
{
	if (*p == '\0')
		return *s == '\0';
	if (p[0] == '*' && p[1] == '*')
		return naive(p + 2, s) || (*s != '\0' && naive(p, s + 1));
	if (*p == '*')
		return naive(p + 1, s) || (*s != '\0' && *s != '/' && naive(p, s + 1));
	return *p == *s && naive(p + 1, s + 1);
}

static bool
match(const char *pattern, const char *string)
{
	KsGlob		glob;

	ks_glob_read(pattern, &glob);
	return ks_glob_match(&glob, string, strlen(string));
}

static void
test_examples(void)
{
	static const struct
	{
		const char *pattern;
		const char *string;
		bool		matches;
	}			cases[] = {
		{"prod", "prod", true},
		{"prod", "production", false},
		{"prod*", "production", true},
		{"prod*", "prod", true},
		{"prod*", "prod/eu", false},
		{"prod**", "prod/eu", true},
		{"*", "", true},
		{"*", "a/b", false},
		{"**", "a/b/c", true},
		{"a/*/c", "a/b/c", true},
		{"a/*/c", "a/b/b/c", false},
		{"a/**/c", "a/b/b/c", true},
		{"a/**/c", "a/c", false},
		{"*_key", "stripe_key", true},
		{"*_key", "db/stripe_key", false},
		{"**_key", "db/stripe_key", true},
		{"Prod", "prod", false},
		{"[ab]?", "a1", false},
		{"[ab]?", "[ab]?", true},
		{"\\*", "*", false},
		{"\\*", "\\x", true},
		{"\xc3\xa9*", "\xc3\xa9t\xc3\xa9", true},
		{"**a*b/**", "a/ab/c", true},
		{"***", "a/b", true},
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		CHECK(match(cases[i].pattern, cases[i].string) == cases[i].matches, "\"%s\" and \"%s\"",
			  cases[i].pattern, cases[i].string);
}

static void
random_word(char *word, size_t max, const char *alphabet)
{
	size_t		len = unit_random() % (max + 1);

	for (size_t i = 0; i < len; i++)
		word[i] = alphabet[unit_random() % strlen(alphabet)];
	word[len] = '\0';
}

static void
test_random(void)
{
	long		rounds = unit_soak ? ROUNDS_SOAK : ROUNDS;
	long		matched = 0;

	for (long i = 0; i < rounds; i++)
	{
		char		pattern[11];
		char		string[13];
		bool		expected;

		random_word(pattern, sizeof(pattern) - 1, "ab/***");
		random_word(string, sizeof(string) - 1, i % 2 ? "ab/" : "aab");
		expected = naive(pattern, string);
		matched += expected;
		if (!CHECK(match(pattern, string) == expected, "\"%s\" and \"%s\"", pattern, string))
			return;
	}
	CHECK(matched > rounds / 20 && matched < rounds * 19 / 20, "%ld of %ld matched", matched, rounds);
}

/* What makes a matcher that goes back too far hang. */
static void
test_hostile(void)
{
	static const char *const units[] = {"a*", "aa*", "a**", "*a", "a*/", "**a*", "aaaaaaab*", "a/*", "**/a*a"};
	static const char *const texts[] = {"a", "aa/", "a/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/", "/"};
	clock_t		start = clock();

	for (size_t i = 0; i < lengthof(units); i++)
	{
		for (size_t j = 0; j < lengthof(texts); j++)
		{
			char		pattern[KS_GLOB_MAX + 1] = "**";
			char		string[256] = "";

			while (strlen(pattern) + strlen(units[i]) + 1 < sizeof(pattern))
				strcat(pattern, units[i]);
			pattern[strlen(pattern) - 1] = 'z';
			while (strlen(string) + strlen(texts[j]) < sizeof(string))
				strcat(string, texts[j]);
			CHECK(!match(pattern, string), "\"%s\" and \"%s\"", pattern, string);
		}
	}
	CHECK(clock() - start < CLOCKS_PER_SEC, "45 matches took more than a second");
}

static void
test_lists(void)
{
	KsGlob		globs[2];
	KsGlobList	list = {0, globs};

	CHECK(ks_glob_list_match(&list, "x") && ks_glob_list_match(&list, NULL), "of an empty list");
	ks_glob_read("prod", &globs[0]);
	ks_glob_read("s*", &globs[1]);
	list.n = 2;
	CHECK(ks_glob_list_match(&list, "staging") && ks_glob_list_match(&list, "prod"), "one matches");
	CHECK(!ks_glob_list_match(&list, "dev") && !ks_glob_list_match(&list, NULL), "none matches");
	ks_glob_read("**", &globs[1]);
	CHECK(ks_glob_list_match(&list, NULL), "anything is also nothing");
	CHECK(globs[0].literal && !globs[1].literal && globs[1].any && !globs[0].any, "kinds of patterns");
}

const UnitTest glob_tests[] = {
	{"glob: a star stays in its segment, two cross it, all else is literal", test_examples},
	{"glob: random patterns match as the definition says", test_random},
	{"glob: no pattern takes long", test_hostile},
	{"glob: lists", test_lists},
	{NULL, NULL}
};
