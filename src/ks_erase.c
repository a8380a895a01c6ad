/*-------------------------------------------------------------------------
 *
 * ks_erase.c
 *	  What an entry log.erase says: whose details are removed, and what of
 *	  them stays.
 *
 * Few values of a detail must stay, or else an erasure would hide what was
 * done past the log: digests of rows and what reconciling found, which are
 * read again whenever the log is; the columns by which entries are searched,
 * which verification compares with the detail; and that a row was changed by
 * hand, after which versions need not follow each other.  No name is among
 * them, but that of a role which looks like a principal's id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "lib/stringinfo.h"

#include "ks_action.h"
#include "ks_erase.h"
#include "ks_rowdigest.h"
#include "ks_text.h"

#define SESSION_KEY		"session_user"
#define UUID_TEXT_LEN	36

const char *const ks_kept_keys[KS_KEPT_KEYS] = {
	KS_ROWS_KEY, KS_RECONCILE_FOUND_KEY, "owner", "table_id", "source", SESSION_KEY
};

bool
ks_erase_may(uint16 kind)
{
	return kind >= KS_ACTION_CREDENTIAL_CREATE;
}

void
ks_erase_key(char buf[KS_KEPT_KEY_MAX], const char *key, int64 seq)
{
	snprintf(buf, KS_KEPT_KEY_MAX, "%s." INT64_FORMAT, key, seq);
}

/* Whether the actor is a role that has a name like a principal's id: then the
 * session's role tells them apart. */
static bool
is_role_like_principal(const KsEntry *entry, bool has_actor)
{
	char		word[UUID_TEXT_LEN + 1];
	uint8		id[KS_ID_LEN];

	if (has_actor || entry->actor_len != UUID_TEXT_LEN)
		return false;
	memcpy(word, entry->actor, UUID_TEXT_LEN);
	word[UUID_TEXT_LEN] = '\0';
	return ks_text_uuid(word, id);
}

const char *
ks_erase_kept(const KsEntry *entry, bool has_actor, const void *detail, size_t len,
			  const char *key, size_t *value_len)
{
	*value_len = 0;
	if (strcmp(key, SESSION_KEY) == 0 && !is_role_like_principal(entry, has_actor))
		return NULL;
	return ks_detail_find(detail, len, key, value_len);
}

char *
ks_erase_write_seqs(const int64 *seqs, int n)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < n; i++)
	{
		int			first = i;

		while (i + 1 < n && seqs[i + 1] == seqs[i] + 1)
			i++;
		appendStringInfo(&text, "%s" INT64_FORMAT, first > 0 ? "," : "", seqs[first]);
		if (i > first)
			appendStringInfo(&text, "-" INT64_FORMAT, seqs[i]);
	}
	return text.data;
}

/* A number without a sign and without zeros before it. */
static bool
read_number(KsSeqReader *reader, int64 *number)
{
	const char *from = reader->at;

	*number = 0;
	while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
	{
		if (pg_mul_s64_overflow(*number, 10, number) || pg_add_s64_overflow(*number, *reader->at - '0', number))
			return false;
		reader->at++;
	}
	return reader->at > from && *from != '0';
}

/* Takes a character, if it is the next one. */
static bool
take(KsSeqReader *reader, char c)
{
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

void
ks_erase_read(KsSeqReader *reader, const void *detail, size_t len)
{
	size_t		text_len;

	memset(reader, 0, sizeof(*reader));
	reader->at = ks_detail_find(detail, len, KS_ERASE_SEQS_KEY, &text_len);
	reader->broken = reader->at == NULL;
	reader->end = reader->broken ? NULL : reader->at + text_len;
}

/* Reads "14" or "14-20" into last, which is the one before, and to. */
static bool
read_range(KsSeqReader *reader)
{
	int64		from;
	int64		to;

	if ((reader->n > 0 && !take(reader, ',')) || !read_number(reader, &from) || from <= reader->to)
		return false;
	to = from;
	if (take(reader, '-') && (!read_number(reader, &to) || to <= from))
		return false;
	reader->last = from - 1;
	reader->to = to;
	return true;
}

bool
ks_erase_next(KsSeqReader *reader, int64 *seq)
{
	if (reader->broken || (reader->last == reader->to && reader->at == reader->end))
		return false;
	if ((reader->last == reader->to && !read_range(reader)) || reader->n == KS_ERASE_SEQS_MAX)
	{
		reader->broken = true;
		return false;
	}
	*seq = ++reader->last;
	reader->n++;
	return true;
}

bool
ks_erase_names(const void *detail, size_t len, int64 seq)
{
	KsSeqReader reader;
	int64		named;

	ks_erase_read(&reader, detail, len);
	while (ks_erase_next(&reader, &named))
	{
		if (named == seq)
			return true;
	}
	return false;
}
