/*-------------------------------------------------------------------------
 *
 * ks_dotenv.c
 *	  Reader and writer of dotenv text, the format of .env files.
 *
 * Pure, and allocates nothing.  What must always hold:
 *
 *	- no byte outside of the text is read; a value is never longer than the
 *	  text that it comes from;
 *	- what ks_dotenv_write() writes, ks_dotenv_next() reads back as the same
 *	  bytes, if the name is one that the reader accepts;
 *	- after an error the caller's buffer holds no part of the value, and the
 *	  reader stays at the error.
 *
 * While reading, reader->text moves along: it is the start of the line on
 * which the last entry began, reader->line is that line's number, and
 * reader->at counts from there.  So lines are counted in one pass over the
 * text, although values span lines.
 *
 * Line ends are LF or CR LF.  Within quotes they belong to the value, as they
 * stand.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_dotenv.h"

#include "ks_mem.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		char		c = name[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_')
			continue;
		/* a shell knows neither "." nor "-" in a name, other readers do */
		if (i > 0 && ((c >= '0' && c <= '9') || c == '.' || c == '-'))
			continue;
		return false;
	}
	return len > 0;
}

/*
 * Starts to read len bytes of text, which stay the caller's.  A UTF-8 byte
 * order mark at the start is skipped.
 */
void
ks_dotenv_begin(KsDotenv *reader, const char *text, size_t len)
{
	reader->text = text;
	reader->len = len;
	reader->at = 0;
	reader->line = 1;
	reader->problem = NULL;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		reader->at = 3;
}

/*
 * Moves text to the start of a line, given by its distance, and counts the
 * lines that it passes.
 */
static void
move_to_line(KsDotenv *reader, size_t start)
{
	for (size_t i = 0; i < start; i++)
	{
		if (reader->text[i] == '\n')
			reader->line++;
	}
	reader->text += start;
	reader->len -= start;
	reader->at -= start;
}

/*
 * End of the line that position is on: of its LF, its CR LF, or the text.
 */
static size_t
line_end(const KsDotenv *reader, size_t position)
{
	const char *end = NULL;
	size_t		n = reader->len;

	if (position < reader->len)
		end = memchr(reader->text + position, '\n', reader->len - position);
	if (end != NULL)
		n = (size_t) (end - reader->text);
	if (n > position && reader->text[n - 1] == '\r')
		n--;
	return n;
}

/*
 * Start of the line after the one that ends at end.
 */
static size_t
after_line(const KsDotenv *reader, size_t end)
{
	if (end < reader->len && reader->text[end] == '\r')
		end++;
	if (end < reader->len)
		end++;
	return end;
}

static size_t
skip_blanks(const KsDotenv *reader, size_t position, size_t end)
{
	while (position < end && is_blank(reader->text[position]))
		position++;
	return position;
}

/*
 * Reads a quoted value; at stands on the opening quote, and moves to the start
 * of the line after the value.
 */
static const char *
read_quoted(KsDotenv *reader, char *value, size_t *value_len)
{
	const char *text = reader->text;
	char		quote = text[reader->at];
	size_t		i = reader->at + 1;
	size_t		end;

	for (;; i++)
	{
		char		c;

		if (i >= reader->len)
			return "the quote is not closed";

		c = text[i];
		if (c == quote)
			break;
		if (c == '\\' && quote == '"' && i + 1 < reader->len)
		{
			static const char escapes[] = "nrt\"\\$";
			static const char meanings[] = "\n\r\t\"\\$";
			const char *escape = memchr(escapes, text[i + 1], sizeof(escapes) - 1);

			/* a backslash before anything else is a backslash */
			if (escape != NULL)
			{
				c = meanings[escape - escapes];
				i++;
			}
		}
		value[(*value_len)++] = c;
	}

	end = line_end(reader, i + 1);
	i = skip_blanks(reader, i + 1, end);
	if (i < end && text[i] != '#')
		return "there is text after the closing quote";

	reader->at = after_line(reader, end);
	return NULL;
}

/*
 * Reads a value without quotes; at stands behind the '=', and moves to the
 * start of the next line.
 */
static void
read_unquoted(KsDotenv *reader, size_t end, char *value, size_t *value_len)
{
	const char *text = reader->text;
	size_t		start = reader->at;
	size_t		stop = start;

	/* only a '#' after a blank begins a comment: "a#b" is a value */
	while (stop < end && !(text[stop] == '#' && is_blank(text[stop - 1])))
		stop++;
	start = skip_blanks(reader, start, stop);
	while (stop > start && is_blank(text[stop - 1]))
		stop--;

	if (stop > start)
		memcpy(value, text + start, stop - start);
	*value_len = stop - start;
	reader->at = after_line(reader, end);
}

/*
 * Reads the entry on the line that text begins with, which ends at end.
 */
static const char *
read_entry(KsDotenv *reader, size_t end, KsDotenvEntry *entry, char *value)
{
	static const char export[] = "export";
	const size_t export_len = sizeof(export) - 1;
	const char *text = reader->text;
	size_t		start = reader->at;
	size_t		equals;
	size_t		stop;
	const char *sign = memchr(text + start, '=', end - start);

	if (sign == NULL)
		return "the line has no \"=\"";
	equals = (size_t) (sign - text);

	/* "export NAME=", but "export=" and "export =" set a variable so named */
	if (equals - start > export_len && memcmp(text + start, export, export_len) == 0 &&
		is_blank(text[start + export_len]))
	{
		size_t		name = skip_blanks(reader, start + export_len, equals);

		if (name < equals)
			start = name;
	}

	stop = equals;
	while (stop > start && is_blank(text[stop - 1]))
		stop--;
	if (!is_name(text + start, stop - start))
		return "the name before \"=\" is not letters, digits and \"_\"";
	entry->name = text + start;
	entry->name_len = stop - start;

	reader->at = skip_blanks(reader, equals + 1, end);
	if (reader->at < end && (text[reader->at] == '\'' || text[reader->at] == '"'))
		return read_quoted(reader, value, &entry->value_len);

	reader->at = equals + 1;
	read_unquoted(reader, end, value, &entry->value_len);
	return NULL;
}

/*
 * Reads the next entry.  value belongs to the caller and has room for as many
 * bytes as the text has; it gets no terminator.  entry->name points into the
 * text.  After KS_DOTENV_ERROR, reader->problem says what is wrong on line
 * reader->line (for a quote that is not closed, the line where it began), and
 * further calls say the same.
 */
KsDotenvResult
ks_dotenv_next(KsDotenv *reader, KsDotenvEntry *entry, char *value)
{
	memset(entry, 0, sizeof(*entry));

	while (reader->problem == NULL && reader->at < reader->len)
	{
		size_t		line = reader->at;
		size_t		end = line_end(reader, line);
		size_t		first = skip_blanks(reader, line, end);

		if (first == end || reader->text[first] == '#')
		{
			reader->at = after_line(reader, end);
			continue;
		}

		reader->at = first;
		move_to_line(reader, line);
		reader->problem = read_entry(reader, end - line, entry, value);
		if (reader->problem == NULL)
			return KS_DOTENV_ENTRY;

		ks_wipe(value, entry->value_len);
		memset(entry, 0, sizeof(*entry));
	}

	return reader->problem != NULL ? KS_DOTENV_ERROR : KS_DOTENV_END;
}

/*
 * Bytes that ks_dotenv_write() needs at most.
 */
size_t
ks_dotenv_size(size_t name_len, size_t len)
{
	/* each byte may need a backslash; '=', two quotes, a newline */
	return name_len + 2 * len + 4;
}

/*
 * Writes one entry on one line.  out has room for ks_dotenv_size() bytes and
 * gets no terminator.  The name is written as it is.
 */
size_t
ks_dotenv_write(char *out, const char *name, size_t name_len,
				const char *value, size_t len)
{
	char	   *p = out;

	memcpy(p, name, name_len);
	p += name_len;
	*p++ = '=';
	*p++ = '"';
	for (size_t i = 0; i < len; i++)
	{
		char		c = value[i];

		switch (c)
		{
			case '\n':
				c = 'n';
				*p++ = '\\';
				break;
			case '\r':
				c = 'r';
				*p++ = '\\';
				break;
			case '"':
			case '\\':
			case '$':
				*p++ = '\\';
				break;
			default:
				break;
		}
		*p++ = c;
	}
	*p++ = '"';
	*p++ = '\n';
	return (size_t) (p - out);
}
