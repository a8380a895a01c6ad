/*-------------------------------------------------------------------------
 *
 * ks_text.c
 *	  Names and other text that callers give.
 *
 * Two names that a reader cannot tell apart must not be two credentials:
 * names are stored in NFC, compared by their NFKC form in lower case, and may
 * not hold characters that do not show.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "ks_error.h"
#include "ks_text.h"

typedef struct CodeRange
{
	pg_wchar	first;
	pg_wchar	last;
} CodeRange;

/*
 * Unicode general categories Cc (control), Cf (format), Zl and Zp, from the
 * Unicode Character Database, version 15.
 */
static const CodeRange invisible[] = {
	{0x0000, 0x001F}, {0x007F, 0x009F}, {0x00AD, 0x00AD}, {0x0600, 0x0605},
	{0x061C, 0x061C}, {0x06DD, 0x06DD}, {0x070F, 0x070F}, {0x0890, 0x0891},
	{0x08E2, 0x08E2}, {0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E},
	{0x2060, 0x2064}, {0x2066, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB},
	{0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F},
	{0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
	/* and Default_Ignorable_Code_Point, also where nothing is assigned yet */
	{0x034F, 0x034F}, {0x115F, 0x1160}, {0x17B4, 0x17B5}, {0x180B, 0x180F},
	{0x2065, 0x2065}, {0x3164, 0x3164}, {0xFE00, 0xFE0F}, {0xFFA0, 0xFFA0},
	{0xFFF0, 0xFFF8}, {0xE0000, 0xE0FFF},
};

static bool
is_invisible(pg_wchar c)
{
	for (size_t i = 0; i < lengthof(invisible); i++)
	{
		if (c >= invisible[i].first && c <= invisible[i].last)
			return true;
	}
	return false;
}

static bool
is_space(pg_wchar c)
{
	return c == ' ' || c == 0x00A0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool
is_all_ascii(const char *word)
{
	for (; *word != '\0'; word++)
	{
		if ((unsigned char) *word >= 0x80)
			return false;
	}
	return true;
}

/* Code points of UTF-8 text, ended by 0; palloc'd. */
static pg_wchar *
to_code_points(const char *word, size_t *count)
{
	size_t		len = strlen(word);
	pg_wchar   *codes = palloc((len + 1) * sizeof(pg_wchar));
	size_t		n = 0;

	for (const unsigned char *p = (const unsigned char *) word; *p != '\0'; p += pg_utf_mblen(p))
		codes[n++] = utf8_to_unicode(p);
	codes[n] = 0;
	*count = n;
	return codes;
}

static char *
normalize(const char *word, UnicodeNormalizationForm form)
{
	size_t		n;
	pg_wchar   *codes;
	char	   *result;
	char	   *out;

	if (is_all_ascii(word))
		return pstrdup(word);

	codes = unicode_normalize(form, to_code_points(word, &n));
	for (n = 0; codes[n] != 0; n++)
		;
	result = out = palloc(n * MAX_UNICODE_EQUIVALENT_STRING + 1);
	for (size_t i = 0; i < n; i++)
	{
		unicode_to_utf8(codes[i], (unsigned char *) out);
		out += pg_utf_mblen((unsigned char *) out);
	}
	*out = '\0';
	return result;
}

bool
ks_text_is_nfc(const char *word)
{
	return is_all_ascii(word) || strcmp(normalize(word, UNICODE_NFC), word) == 0;
}

char *
ks_text_name(const char *parameter, const text *value, int max)
{
	char	   *word = text_to_cstring(value);
	size_t		n;
	pg_wchar   *codes;

	if (word[0] == '\0' || VARSIZE_ANY_EXHDR(value) > (size_t) max)
		ks_error_invalid(parameter, psprintf("1 to %d bytes long", max), NULL);

	word = normalize(word, UNICODE_NFC);
	if (strlen(word) > (size_t) max)
		ks_error_invalid(parameter, psprintf("1 to %d bytes long", max), NULL);

	codes = to_code_points(word, &n);
	for (size_t i = 0; i < n; i++)
	{
		if (is_invisible(codes[i]))
			ks_error_invalid(parameter, "free of control and format characters", NULL);
	}
	if (is_space(codes[0]) || is_space(codes[n - 1]))
		ks_error_invalid(parameter, "without white space at its ends", NULL);
	return word;
}

char *
ks_text_fold(const char *name)
{
	char	   *folded = normalize(name, UNICODE_NFKC);

	for (char *p = folded; *p != '\0'; p++)
	{
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	}
	return folded;
}

char *
ks_text_free(const char *parameter, const text *value, int max)
{
	if (VARSIZE_ANY_EXHDR(value) > (size_t) max)
		ks_error_invalid(parameter, psprintf("at most %d bytes long", max), NULL);
	return text_to_cstring(value);
}

bool
ks_text_has_space(const char *word)
{
	size_t		n;
	pg_wchar   *codes = to_code_points(word, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (is_space(codes[i]))
			return true;
	}
	return false;
}

bool
ks_text_is_blank(const char *word)
{
	size_t		n;
	pg_wchar   *codes = to_code_points(word, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (!is_space(codes[i]) && !is_invisible(codes[i]))
			return false;
	}
	return true;
}

bool
ks_text_is_slug(const char *word)
{
	size_t		len = strlen(word);
	uint8		uuid[KS_ID_LEN];

	if (len == 0 || len > KS_SLUG_MAX || word[0] == '-' || word[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char		c = word[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			  (c == '-' && word[i + 1] != '-')))
			return false;
	}
	return !ks_text_uuid(word, uuid);
}

bool
ks_text_uuid(const char *word, uint8 uuid[KS_ID_LEN])
{
	int			n = 0;

	if (strlen(word) != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		char		c = word[i];
		int			digit;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		if (n % 2 == 0)
			uuid[n / 2] = (uint8) (digit << 4);
		else
			uuid[n / 2] |= (uint8) digit;
		n++;
	}
	return true;
}

void
ks_text_from_uuid(const uint8 uuid[KS_ID_LEN], char word[37])
{
	static const char digits[] = "0123456789abcdef";
	char	   *out = word;

	for (int i = 0; i < KS_ID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[uuid[i] >> 4];
		*out++ = digits[uuid[i] & 0x0F];
	}
	*out = '\0';
}
