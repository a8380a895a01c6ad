/*-------------------------------------------------------------------------
 *
 * ks_cedar_lex.c
 *	  Tokens of Cedar's text.
 *
 * The whole text was found to be UTF-8 before the first token is read, so that
 * what follows may take characters apart without care.  No byte outside of the
 * text is read.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_cedar_lex.h"

#define BAD_ESCAPE	"the escape is not valid"

/* Characters that Unicode has as white space beyond ASCII. */
static const struct
{
	uint32		first;
	uint32		last;
}			spaces[] = {
	{0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A},
	{0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

/* The bytes that a character has, by its first one; 0: there is none such. */
static size_t
measure_character(uint8 first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xC0 || first >= 0xF8)
		return 0;
	return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/*
 * Reads a character of at most len bytes (1 at least).  Returns the bytes that
 * it has, 0 when they are not UTF-8 (RFC 3629).
 */
static size_t
read_character(const char *text, size_t len, uint32 *character)
{
	static const uint32 smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8 *bytes = (const uint8 *) text;
	size_t		n = measure_character(bytes[0]);

	if (n == 0 || n > len)
		return 0;
	*character = n == 1 ? bytes[0] : bytes[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++)
	{
		if ((bytes[i] & 0xC0) != 0x80)
			return 0;
		*character = *character << 6 | (bytes[i] & 0x3F);
	}
	if (*character < smallest[n] || *character > 0x10FFFF ||
		(*character >= 0xD800 && *character <= 0xDFFF))
		return 0;
	return n;
}

static size_t
write_character(char *out, uint32 character)
{
	if (character < 0x80)
	{
		out[0] = (char) character;
		return 1;
	}
	if (character < 0x800)
	{
		out[0] = (char) (0xC0 | character >> 6);
		out[1] = (char) (0x80 | (character & 0x3F));
		return 2;
	}
	if (character < 0x10000)
	{
		out[0] = (char) (0xE0 | character >> 12);
		out[1] = (char) (0x80 | (character >> 6 & 0x3F));
		out[2] = (char) (0x80 | (character & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | character >> 18);
	out[1] = (char) (0x80 | (character >> 12 & 0x3F));
	out[2] = (char) (0x80 | (character >> 6 & 0x3F));
	out[3] = (char) (0x80 | (character & 0x3F));
	return 4;
}

bool
ks_cedar_lex_begin(KsCedarLexer *lexer, const char *text, size_t len, KsCedarError *error)
{
	size_t		n;
	uint32		character;

	lexer->text = text;
	lexer->text_len = len;
	lexer->error = error;
	lexer->start = 0;
	lexer->len = 0;
	if (len > KS_CEDAR_TEXT_MAX)
		return ks_cedar_fail(error, "the text is too long", 0) != NULL;
	for (size_t i = 0; i < len; i += n)
	{
		n = read_character(text + i, len - i, &character);
		if (n == 0)
			return ks_cedar_fail(error, "the text is not UTF-8", (int) i) != NULL;
	}
	return ks_cedar_lex_next(lexer);
}

/* How many bytes of white space begin here; a character's at most. */
static size_t
measure_space(const KsCedarLexer *lexer, size_t at)
{
	uint32		character;
	size_t		n;

	if (lexer->text[at] == ' ' || (lexer->text[at] >= '\t' && lexer->text[at] <= '\r'))
		return 1;
	n = read_character(lexer->text + at, lexer->text_len - at, &character);
	for (size_t i = 0; n > 1 && i < lengthof(spaces); i++)
	{
		if (character >= spaces[i].first && character <= spaces[i].last)
			return n;
	}
	return 0;
}

/* The place behind white space and comments. */
static size_t
skip_space(const KsCedarLexer *lexer, size_t at)
{
	while (at < lexer->text_len)
	{
		size_t		n = measure_space(lexer, at);

		if (n > 0)
			at += n;
		else if (lexer->text_len - at >= 2 && memcmp(lexer->text + at, "//", 2) == 0)
		{
			while (at < lexer->text_len && lexer->text[at] != '\n' && lexer->text[at] != '\r')
				at++;
		}
		else
			break;
	}
	return at;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Finds the end of a string. */
static bool
lex_string_token(KsCedarLexer *lexer)
{
	size_t		at = lexer->start + 1;

	for (; at < lexer->text_len && lexer->text[at] != '"'; at++)
	{
		if (lexer->text[at] == '\\')
			at++;
	}
	if (at >= lexer->text_len)
		return ks_cedar_lex_fail(lexer, "the string is not closed") != NULL;
	lexer->token = KS_TOKEN_STRING;
	lexer->len = at + 1 - lexer->start;
	return true;
}

static bool
lex_symbol(KsCedarLexer *lexer, const char *at, size_t left)
{
	static const char *const pairs[] = {"==", "!=", "<=", ">=", "&&", "||", "::"};
	static const char *const slots[] = {"?principal", "?resource"};

	for (size_t i = 0; i < lengthof(slots); i++)
	{
		size_t		len = strlen(slots[i]);

		if (left >= len && memcmp(at, slots[i], len) == 0)
		{
			lexer->token = KS_TOKEN_SLOT;
			lexer->len = len;
			return true;
		}
	}
	lexer->token = KS_TOKEN_SYMBOL;
	for (size_t i = 0; i < lengthof(pairs); i++)
	{
		if (left >= 2 && memcmp(at, pairs[i], 2) == 0)
		{
			lexer->len = 2;
			return true;
		}
	}
	lexer->len = 1;
	if (*at == '\0' || strchr("@.,;:(){}[]<>+-*!", *at) == NULL)
		return ks_cedar_lex_fail(lexer, "the character is not expected") != NULL;
	return true;
}

bool
ks_cedar_lex_next(KsCedarLexer *lexer)
{
	const char *at;
	size_t		left;

	lexer->start = skip_space(lexer, lexer->start + lexer->len);
	lexer->len = 0;
	lexer->token = KS_TOKEN_END;
	left = lexer->text_len - lexer->start;
	if (left == 0)
		return true;

	at = lexer->text + lexer->start;
	if (is_letter(*at))
	{
		lexer->token = KS_TOKEN_WORD;
		while (lexer->len < left && (is_letter(at[lexer->len]) || is_digit(at[lexer->len])))
			lexer->len++;
		return true;
	}
	if (is_digit(*at))
	{
		lexer->token = KS_TOKEN_NUMBER;
		while (lexer->len < left && is_digit(at[lexer->len]))
			lexer->len++;
		return true;
	}
	if (*at == '"')
		return lex_string_token(lexer);
	return lex_symbol(lexer, at, left);
}

bool
ks_cedar_lex_is(const KsCedarLexer *lexer, const char *symbol_or_word)
{
	return (lexer->token == KS_TOKEN_WORD || lexer->token == KS_TOKEN_SYMBOL) &&
		lexer->len == strlen(symbol_or_word) &&
		memcmp(lexer->text + lexer->start, symbol_or_word, lexer->len) == 0;
}

KsCedarString
ks_cedar_lex_text(const KsCedarLexer *lexer)
{
	KsCedarString text = {lexer->text + lexer->start, lexer->len};

	return text;
}

void *
ks_cedar_lex_fail(KsCedarLexer *lexer, const char *problem)
{
	return ks_cedar_fail(lexer->error, problem, (int) lexer->start);
}

bool
ks_cedar_lex_number(KsCedarLexer *lexer, uint64 *value)
{
	*value = 0;
	for (size_t i = 0; i < lexer->len; i++)
	{
		uint64		digit = (uint64) (lexer->text[lexer->start + i] - '0');

		if (*value > (UINT64_MAX - digit) / 10)
			return ks_cedar_lex_fail(lexer, "the integer is out of range") != NULL;
		*value = *value * 10 + digit;
	}
	return true;
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * Reads \u{1F511}: up to six digits, with "_" between and behind them.  at is
 * behind the "u"; returns the place behind, or NULL.  The string's closing
 * quote stops it.
 */
static const char *
read_unicode_escape(const char *at, uint32 *character)
{
	int			digits = 0;

	*character = 0;
	if (*at++ != '{' || *at == '_')
		return NULL;
	for (; *at != '}'; at++)
	{
		if (*at == '_')
			continue;
		if (hex_value(*at) < 0 || ++digits > 6)
			return NULL;
		*character = *character << 4 | (uint32) hex_value(*at);
	}
	if (digits == 0 || *character > 0x10FFFF || (*character >= 0xD800 && *character <= 0xDFFF))
		return NULL;
	return at + 1;
}

/*
 * Reads the escape behind a backslash.  Returns the place behind it, or NULL.
 */
static const char *
read_escape(const char *at, uint32 *character)
{
	static const char letters[] = "nrt\\0'\"";
	static const char meanings[] = "\n\r\t\\\0'\"";
	const char *letter = *at != '\0' ? strchr(letters, *at) : NULL;

	if (letter != NULL)
	{
		*character = (uint8) meanings[letter - letters];
		return at + 1;
	}
	if (*at == 'u')
		return read_unicode_escape(at + 1, character);
	if (*at == 'x' && at[1] >= '0' && at[1] <= '7' && hex_value(at[2]) >= 0)
	{
		*character = (uint32) (hex_value(at[1]) << 4 | hex_value(at[2]));
		return at + 3;
	}
	return NULL;
}

/* What a string's content is written to. */
typedef struct Content
{
	bool		pattern;
	char	   *out;			/* room for the rest of the token */
	int			nlist;
	KsCedarString *list;		/* of a pattern */
} Content;

/*
 * In a pattern, a "*" is a wildcard however it is written, unless it is \*
 * (literal).
 */
static void
add_character(Content *content, uint32 character, bool literal)
{
	size_t		n;

	if (content->pattern && character == '*' && !literal)
	{
		*content->out++ = '\0';
		content->list[content->nlist].data = content->out;
		content->list[content->nlist++].len = 0;
		return;
	}
	n = write_character(content->out, character);
	content->out += n;
	content->list[content->nlist - 1].len += n;
}

/* Reads what is within the quotes. */
static bool
read_content(KsCedarLexer *lexer, Content *content)
{
	const char *text = lexer->text;
	const char *at = text + lexer->start + 1;
	const char *end = text + lexer->start + lexer->len - 1;

	while (at < end)
	{
		const char *behind;
		uint32		character;
		bool		literal = false;

		if (*at == '\r')
			behind = NULL;
		else if (*at != '\\')
			behind = at + read_character(at, (size_t) (end - at), &character);
		else if (content->pattern && at[1] == '*')
		{
			character = '*';
			literal = true;
			behind = at + 2;
		}
		else
			behind = read_escape(at + 1, &character);

		if (behind == NULL)
			return ks_cedar_fail(lexer->error, BAD_ESCAPE, (int) (at - text)) != NULL;
		add_character(content, character, literal);
		at = behind;
	}
	*content->out = '\0';
	return true;
}

bool
ks_cedar_lex_string(KsCedarLexer *lexer, KsCedarString *value)
{
	char	   *out = ks_cedar_alloc(lexer->len);
	Content		content = {false, out, 1, NULL};

	value->data = out;
	value->len = 0;
	content.list = value;
	return read_content(lexer, &content);
}

bool
ks_cedar_lex_pattern(KsCedarLexer *lexer, int *nlist, KsCedarString **list)
{
	char	   *out = ks_cedar_alloc(lexer->len);
	Content		content = {true, out, 1, NULL};
	size_t		most = 1;

	/* a wildcard is written as itself or as an escape */
	for (size_t i = 0; i < lexer->len; i++)
		most += lexer->text[lexer->start + i] == '*' || lexer->text[lexer->start + i] == '\\';
	content.list = ks_cedar_alloc(most * sizeof(KsCedarString));
	content.list[0].data = out;
	if (!read_content(lexer, &content))
		return false;
	*nlist = content.nlist;
	*list = content.list;
	return true;
}
