/*-------------------------------------------------------------------------
 *
 * ks_jsonl.c
 *	  JSON lines without backslashes and control characters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "ks_jsonl.h"
#include "ks_note.h"
#include "ks_text.h"

void
ks_jsonl_text(StringInfo line, const char *data, size_t len)
{
	if (!pg_verify_mbstr(PG_UTF8, data, (int) len, true))
	{
		appendStringInfoString(line, "null");
		return;
	}
	appendStringInfoChar(line, '"');
	for (size_t i = 0; i < len; i++)
	{
		uint8		c = (uint8) data[i];

		/* U+0080 to U+009F are control characters, too. */
		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c == '%')
			appendStringInfo(line, "%%%02X", c);
		else if (c == 0xc2 && i + 1 < len && (uint8) data[i + 1] < 0xa0)
			appendStringInfo(line, "%%C2%%%02X", (uint8) data[++i]);
		else
			appendStringInfoChar(line, (char) c);
	}
	appendStringInfoChar(line, '"');
}

void
ks_jsonl_cstring(StringInfo line, const char *text)
{
	ks_jsonl_text(line, text, strlen(text));
}

void
ks_jsonl_base64(StringInfo line, const void *data, size_t len)
{
	size_t		size = (len + 2) / 3 * 4 + 1;

	if (data == NULL)
	{
		appendStringInfoString(line, "null");
		return;
	}
	appendStringInfoChar(line, '"');
	enlargeStringInfo(line, (int) size);
	line->len += (int) ks_base64_encode(data, len, line->data + line->len, size);
	appendStringInfoChar(line, '"');
}

void
ks_jsonl_hex(StringInfo line, const void *data, size_t len)
{
	appendStringInfoChar(line, '"');
	enlargeStringInfo(line, (int) (2 * len + 1));
	line->len += (int) hex_encode(data, len, line->data + line->len);
	appendStringInfoChar(line, '"');
}

void
ks_jsonl_id(StringInfo line, const uint8 *id)
{
	static const uint8 nil[KS_ID_LEN];
	char		word[37];

	if (memcmp(id, nil, KS_ID_LEN) == 0)
		appendStringInfoString(line, "null");
	else
	{
		ks_text_from_uuid(id, word);
		appendStringInfo(line, "\"%s\"", word);
	}
}

/* A time in UTC, since 2000; null for the infinities. */
void
ks_jsonl_time(StringInfo line, TimestampTz time)
{
	char		buf[MAXDATELEN + 1];
	const int	utc = 0;

	if (TIMESTAMP_NOT_FINITE(time) || !IS_VALID_TIMESTAMP(time))
		appendStringInfoString(line, "null");
	else
		appendStringInfo(line, "\"%s\"",
						 JsonEncodeDateTime(buf, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc));
}
