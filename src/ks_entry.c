/*-------------------------------------------------------------------------
 *
 * ks_entry.c
 *	  Byte formats of the audit log: the entry, its detail, and the event
 *	  from which an entry is made.
 *
 * Everything here is pure and allocates nothing.  What must always hold:
 *
 *	- no byte outside of the lengths given is read or written, whatever the
 *	  input: a verifier reads bytes that somebody may have forged;
 *	- what a reader accepts, the writer writes as the same bytes: there is one
 *	  encoding of each entry, detail and event, and so one hash;
 *	- an event that packs is one whose entry encodes: what a producer may send
 *	  must not stop the worker.
 *
 * Texts are UTF-8 by the producer's care; only a NUL is looked for here.
 *
 * ks_entry.h has the formats.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_entry.h"

static const uint8 entry_magic[] = {'K', 'S', 'A', 'E', 0x01};

/* Tags of an entry's fields. */
#define TAG_LOG_ID				0x01
#define TAG_EPOCH				0x02
#define TAG_INDEX				0x03
#define TAG_PREVIOUS			0x04
#define TAG_TIME				0x05
#define TAG_KIND				0x06
#define TAG_WORKSPACE			0x07
#define TAG_WORKSPACE_SEQ		0x08
#define TAG_WORKSPACE_PREVIOUS	0x09
#define TAG_ACTOR				0x0a
#define TAG_ROLE				0x0b
#define TAG_OBJECT				0x0c
#define TAG_VERSION				0x0d
#define TAG_DIGEST				0x0e
#define TAG_OUTCOME				0x0f
#define TAG_CONTEXT				0x10
#define TAG_COMMITMENT			0x11

/* Tags of a detail's fields. */
#define TAG_KEY					0x01
#define TAG_VALUE				0x02

#define FIELD_HEADER_LEN		5	/* tag and length */

#define EVENT_FORMAT			0x01

/* Writes into a buffer of fixed size; full is sticky. */
typedef struct Writer
{
	uint8	   *buf;
	size_t		size;
	size_t		len;
	bool		full;			/* something did not fit: do not use buf */
} Writer;

/* Takes bytes off the front of others; broken is sticky. */
typedef struct Reader
{
	const uint8 *data;
	size_t		left;
	bool		broken;
} Reader;

static void
put_bytes(Writer *w, const void *data, size_t len)
{
	if (w->full || len > w->size - w->len)
	{
		w->full = true;
		return;
	}
	if (len > 0)
		memcpy(w->buf + w->len, data, len);
	w->len += len;
}

/* An integer as n bytes, big-endian; a negative one in two's complement. */
static void
put_number(Writer *w, uint64 value, int n)
{
	uint8		bytes[sizeof(value)];

	for (int i = 0; i < n; i++)
		bytes[i] = (uint8) (value >> (8 * (n - 1 - i)));
	put_bytes(w, bytes, (size_t) n);
}

static void
put_field(Writer *w, uint8 tag, const void *data, size_t len)
{
	if (len > UINT32_MAX)
	{
		w->full = true;
		return;
	}
	put_number(w, tag, 1);
	put_number(w, len, 4);
	put_bytes(w, data, len);
}

static void
put_number_field(Writer *w, uint8 tag, uint64 value, int n)
{
	put_number(w, tag, 1);
	put_number(w, (uint64) n, 4);
	put_number(w, value, n);
}

/*
 * Takes len bytes; NULL when there are fewer, or were before.
 */
static const uint8 *
take_bytes(Reader *r, size_t len)
{
	const uint8 *taken = r->data;

	if (r->broken || len > r->left)
	{
		r->broken = true;
		return NULL;
	}
	r->data += len;
	r->left -= len;
	return taken;
}

static uint64
take_number(Reader *r, int n)
{
	const uint8 *bytes = take_bytes(r, (size_t) n);
	uint64		value = 0;

	for (int i = 0; bytes != NULL && i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* Takes len bytes to a place of that size, which else keeps what it has. */
static void
take_copy(Reader *r, void *to, size_t len)
{
	const uint8 *bytes = take_bytes(r, len);

	if (bytes != NULL)
		memcpy(to, bytes, len);
}

/*
 * Takes the header of the field that must come next; returns its length, of
 * which the caller takes as many bytes.
 */
static size_t
take_header(Reader *r, uint8 tag)
{
	if (take_number(r, 1) != tag)
		r->broken = true;
	return (size_t) take_number(r, 4);
}

/* Takes a field that is not of variable length. */
static void
take_field(Reader *r, uint8 tag, void *to, size_t len)
{
	if (take_header(r, tag) != len)
		r->broken = true;
	take_copy(r, to, len);
}

static uint64
take_number_field(Reader *r, uint8 tag, int n)
{
	if (take_header(r, tag) != (size_t) n)
		r->broken = true;
	return take_number(r, n);
}

/* Takes the header of a field that is empty or has len bytes: whether it has. */
static bool
take_optional(Reader *r, uint8 tag, size_t len)
{
	size_t		found = take_header(r, tag);

	if (found != 0 && found != len)
		r->broken = true;
	return found != 0 && !r->broken;
}

static const char *
take_name(Reader *r, uint8 tag, size_t *len)
{
	*len = take_header(r, tag);
	if (*len > KS_ACTOR_MAX)
		r->broken = true;
	return (const char *) take_bytes(r, *len);
}

static void
put_context(Writer *w, const KsEntryContext *context)
{
	put_number(w, (uint64) context->event_time, 8);
	put_number(w, context->xid, 8);
	put_number(w, context->pid, 4);
	put_number(w, (uint64) context->session_start, 8);
	put_bytes(w, context->event_id, KS_ID_LEN);
}

static void
take_context(Reader *r, KsEntryContext *context)
{
	context->event_time = (int64) take_number(r, 8);
	context->xid = take_number(r, 8);
	context->pid = (uint32) take_number(r, 4);
	context->session_start = (int64) take_number(r, 8);
	take_copy(r, context->event_id, KS_ID_LEN);
}

/*
 * Writes an entry.  Returns its length; 0 when it does not fit, actor or role
 * is longer than KS_ACTOR_MAX, or the outcome is none.
 */
size_t
ks_entry_encode(const KsEntry *entry, uint8 *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size};

	if (entry->actor_len > KS_ACTOR_MAX || entry->role_len > KS_ACTOR_MAX ||
		entry->outcome > KS_OUTCOME_ERROR)
		return 0;

	put_bytes(&w, entry_magic, sizeof(entry_magic));
	put_field(&w, TAG_LOG_ID, entry->log_id, KS_ID_LEN);
	put_number_field(&w, TAG_EPOCH, entry->epoch, 4);
	put_number_field(&w, TAG_INDEX, entry->index, 8);
	put_field(&w, TAG_PREVIOUS, entry->previous.bytes, KS_DIGEST_LEN);
	put_number_field(&w, TAG_TIME, (uint64) entry->time, 8);
	put_number_field(&w, TAG_KIND, entry->kind, 2);
	put_field(&w, TAG_WORKSPACE, entry->workspace, KS_ID_LEN);
	put_number_field(&w, TAG_WORKSPACE_SEQ, entry->workspace_seq, 8);
	put_field(&w, TAG_WORKSPACE_PREVIOUS, entry->workspace_previous.bytes, KS_DIGEST_LEN);
	put_field(&w, TAG_ACTOR, entry->actor, entry->actor_len);
	put_field(&w, TAG_ROLE, entry->role, entry->role_len);
	put_field(&w, TAG_OBJECT, entry->object, KS_ID_LEN);
	put_number_field(&w, TAG_VERSION, entry->version, 8);
	put_field(&w, TAG_DIGEST, entry->digest, entry->has_digest ? KS_DIGEST_LEN : 0);
	put_number_field(&w, TAG_OUTCOME, entry->outcome, 1);
	put_number(&w, TAG_CONTEXT, 1);
	put_number(&w, entry->has_context ? KS_CONTEXT_LEN : 0, 4);
	if (entry->has_context)
		put_context(&w, &entry->context);
	put_field(&w, TAG_COMMITMENT, entry->commitment, entry->has_commitment ? KS_DIGEST_LEN : 0);

	return w.full ? 0 : w.len;
}

/*
 * Reads an entry, which actor and role point into.  Accepts what
 * ks_entry_encode() writes, and nothing else; kinds need not be known.  False,
 * with *entry zeroed, for other bytes.
 */
bool
ks_entry_decode(const void *data, size_t len, KsEntry *entry)
{
	Reader		r = {.data = data, .left = len};
	const uint8 *magic = take_bytes(&r, sizeof(entry_magic));

	memset(entry, 0, sizeof(*entry));
	if (magic == NULL || memcmp(magic, entry_magic, sizeof(entry_magic)) != 0)
		return false;

	take_field(&r, TAG_LOG_ID, entry->log_id, KS_ID_LEN);
	entry->epoch = (uint32) take_number_field(&r, TAG_EPOCH, 4);
	entry->index = take_number_field(&r, TAG_INDEX, 8);
	take_field(&r, TAG_PREVIOUS, entry->previous.bytes, KS_DIGEST_LEN);
	entry->time = (int64) take_number_field(&r, TAG_TIME, 8);
	entry->kind = (uint16) take_number_field(&r, TAG_KIND, 2);
	take_field(&r, TAG_WORKSPACE, entry->workspace, KS_ID_LEN);
	entry->workspace_seq = take_number_field(&r, TAG_WORKSPACE_SEQ, 8);
	take_field(&r, TAG_WORKSPACE_PREVIOUS, entry->workspace_previous.bytes, KS_DIGEST_LEN);
	entry->actor = take_name(&r, TAG_ACTOR, &entry->actor_len);
	entry->role = take_name(&r, TAG_ROLE, &entry->role_len);
	take_field(&r, TAG_OBJECT, entry->object, KS_ID_LEN);
	entry->version = take_number_field(&r, TAG_VERSION, 8);
	entry->has_digest = take_optional(&r, TAG_DIGEST, KS_DIGEST_LEN);
	if (entry->has_digest)
		take_copy(&r, entry->digest, KS_DIGEST_LEN);
	entry->outcome = (uint8) take_number_field(&r, TAG_OUTCOME, 1);
	entry->has_context = take_optional(&r, TAG_CONTEXT, KS_CONTEXT_LEN);
	if (entry->has_context)
		take_context(&r, &entry->context);
	entry->has_commitment = take_optional(&r, TAG_COMMITMENT, KS_DIGEST_LEN);
	if (entry->has_commitment)
		take_copy(&r, entry->commitment, KS_DIGEST_LEN);

	if (r.broken || r.left != 0 || entry->outcome > KS_OUTCOME_ERROR)
	{
		memset(entry, 0, sizeof(*entry));
		return false;
	}
	return true;
}

/*
 * Adds a pair whose value is a text; see ks_detail_add_bytes().
 */
void
ks_detail_add(KsDetail *detail, const char *key, const char *value)
{
	if (value != NULL)
		ks_detail_add_bytes(detail, key, value, strlen(value));
}

/*
 * Adds a pair to *detail, which was zeroed before the first.  Key and value
 * stay the caller's and must live until the detail is encoded.  An empty value
 * is left out; so is what does not fit, and then full is set.
 */
void
ks_detail_add_bytes(KsDetail *detail, const char *key, const char *value, size_t len)
{
	size_t		room = KS_DETAIL_MAX - detail->len;
	size_t		key_len = strlen(key);

	if (value == NULL || len == 0)
		return;
	if (detail->n == KS_DETAIL_PAIRS_MAX || room < 2 * FIELD_HEADER_LEN ||
		room - 2 * FIELD_HEADER_LEN < key_len ||
		room - 2 * FIELD_HEADER_LEN - key_len < len)
	{
		detail->full = true;
		return;
	}

	detail->pairs[detail->n].key = key;
	detail->pairs[detail->n].value = value;
	detail->pairs[detail->n].value_len = len;
	detail->n++;
	detail->len += 2 * FIELD_HEADER_LEN + key_len + len;
}

/* By insertion: qsort() may allocate, and there are few. */
static void
sort_pairs(KsDetail *detail)
{
	for (int i = 1; i < detail->n; i++)
	{
		for (int j = i; j > 0; j--)
		{
			KsDetailPair *pair = &detail->pairs[j];
			KsDetailPair other = *pair;

			if (strcmp(pair[-1].key, pair->key) <= 0)
				break;
			*pair = pair[-1];
			pair[-1] = other;
		}
	}
}

/*
 * Sorts the pairs by the bytes of their keys, and writes them.  Returns the
 * length, at most KS_DETAIL_MAX; 0 when there are none, a key occurs twice, or
 * they do not fit.
 */
size_t
ks_detail_encode(KsDetail *detail, uint8 *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size};

	/* strcmp() compares bytes without sign, and no key has a NUL in it */
	sort_pairs(detail);
	for (int i = 0; i < detail->n; i++)
	{
		const KsDetailPair *pair = &detail->pairs[i];

		if (i > 0 && strcmp(pair[-1].key, pair->key) == 0)
			return 0;
		put_field(&w, TAG_KEY, pair->key, strlen(pair->key));
		put_field(&w, TAG_VALUE, pair->value, pair->value_len);
	}
	return w.full ? 0 : w.len;
}

/*
 * Starts to read len bytes of a detail, which stay the caller's.
 */
void
ks_detail_read(KsDetailReader *reader, const void *data, size_t len)
{
	memset(reader, 0, sizeof(*reader));
	reader->data = data;
	reader->len = len;
	reader->broken = len > KS_DETAIL_MAX;
}

/* Whether key a comes before key b. */
static bool
key_before(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int			order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order < 0 || (order == 0 && a_len < b_len);
}

/*
 * Reads the next pair, which key and value then point to.  False at the end,
 * and from where the bytes are not what ks_detail_encode() writes; broken
 * tells them apart.
 */
bool
ks_detail_next(KsDetailReader *reader)
{
	Reader		r = {.data = reader->data, .broken = reader->broken};
	const char *key = NULL;
	const char *value = NULL;
	size_t		key_len = 0;
	size_t		value_len = 0;

	if (!reader->broken && reader->at < reader->len)
	{
		r.data += reader->at;
		r.left = reader->len - reader->at;
		key_len = take_header(&r, TAG_KEY);
		key = (const char *) take_bytes(&r, key_len);
		value_len = take_header(&r, TAG_VALUE);
		value = (const char *) take_bytes(&r, value_len);

		reader->broken = r.broken || value_len == 0 || reader->n == KS_DETAIL_PAIRS_MAX ||
			memchr(key, '\0', key_len) != NULL ||
			(reader->n > 0 && !key_before(reader->key, reader->key_len, key, key_len));
	}
	if (reader->broken || value == NULL)
	{
		reader->key = reader->value = NULL;
		reader->key_len = reader->value_len = 0;
		return false;
	}

	reader->at = reader->len - r.left;
	reader->n++;
	reader->key = key;
	reader->key_len = key_len;
	reader->value = value;
	reader->value_len = value_len;
	return true;
}

/*
 * Value of a key in len bytes of a detail; NULL when it is not there, or the
 * bytes are no detail.
 */
const char *
ks_detail_find(const void *data, size_t len, const char *key, size_t *value_len)
{
	KsDetailReader reader;
	const char *value = NULL;
	size_t		key_len = strlen(key);

	*value_len = 0;
	ks_detail_read(&reader, data, len);
	while (ks_detail_next(&reader))
	{
		if (reader.key_len == key_len && memcmp(reader.key, key, key_len) == 0)
		{
			value = reader.value;
			*value_len = reader.value_len;
		}
	}
	if (reader.broken)
	{
		*value_len = 0;
		return NULL;
	}
	return value;
}

/*
 * What an entry says of its detail.  The salt, erased with the detail, keeps
 * the commitment from confirming a guess of it.
 */
KsCryptoResult
ks_detail_commitment(const uint8 salt[KS_SALT_LEN], const void *detail, size_t len,
					 uint8 commitment[KS_DIGEST_LEN])
{
	KsBytes		pieces[] = {
		{KS_ENTRY_DETAIL_PREFIX, sizeof(KS_ENTRY_DETAIL_PREFIX)},
		{salt, KS_SALT_LEN},
		{detail, len}
	};

	return ks_sha256_pieces(pieces, lengthof(pieces), commitment);
}

/*
 * A text with a length before it and a NUL behind; NULL is an empty one.
 */
static void
put_text(Writer *w, const char *text, size_t max)
{
	size_t		len = text != NULL ? strlen(text) : 0;

	if (len > max)
	{
		w->full = true;
		return;
	}
	put_number(w, len, 2);
	put_bytes(w, text, len);
	put_number(w, 0, 1);
}

static const char *
take_text(Reader *r, size_t max)
{
	size_t		len = (size_t) take_number(r, 2);
	const char *text = (const char *) take_bytes(r, len + 1);

	if (len > max || text == NULL || memchr(text, '\0', len + 1) != text + len)
	{
		r->broken = true;
		return NULL;
	}
	return text;
}

/*
 * Packs an event.  Returns the length, 0 when it does not fit, or when its
 * entry or detail would be longer than may be.
 */
size_t
ks_event_pack(const KsEvent *event, uint8 *buf, size_t size)
{
	Writer		w = {.buf = buf, .size = size < KS_EVENT_PACKED_MAX ? size : KS_EVENT_PACKED_MAX};

	if (event->outcome > KS_OUTCOME_ERROR || (event->flags & ~KS_EVENT_FLAGS) != 0 ||
		event->detail_len > KS_DETAIL_MAX)
		return 0;

	put_number(&w, EVENT_FORMAT, 1);
	put_number(&w, event->kind, 2);
	put_number(&w, event->outcome, 1);
	put_number(&w, event->flags, 1);
	put_bytes(&w, event->workspace, KS_ID_LEN);
	put_bytes(&w, event->object, KS_ID_LEN);
	put_number(&w, event->version, 8);
	put_number(&w, event->has_digest, 1);
	put_bytes(&w, event->digest, event->has_digest ? KS_DIGEST_LEN : 0);
	put_bytes(&w, event->owner, KS_ID_LEN);
	put_bytes(&w, event->principal, KS_ID_LEN);
	put_bytes(&w, event->claim, KS_ID_LEN);
	put_context(&w, &event->context);
	put_text(&w, event->actor, KS_ACTOR_MAX);
	put_text(&w, event->role, KS_ACTOR_MAX);
	put_text(&w, event->relation, UINT16_MAX);
	put_number(&w, event->detail_len, 4);
	put_bytes(&w, event->detail, event->detail_len);

	return w.full ? 0 : w.len;
}

/*
 * Unpacks an event; its texts, never NULL, and its detail point into data.
 * The detail's own format is not looked at.  False, with *event zeroed, for
 * bytes that ks_event_pack() does not write.
 */
bool
ks_event_unpack(const void *data, size_t len, KsEvent *event)
{
	Reader		r = {.data = data, .left = len, .broken = len > KS_EVENT_PACKED_MAX};
	uint8		format = (uint8) take_number(&r, 1);
	uint8		has_digest;

	memset(event, 0, sizeof(*event));
	event->kind = (uint16) take_number(&r, 2);
	event->outcome = (uint8) take_number(&r, 1);
	event->flags = (uint8) take_number(&r, 1);
	take_copy(&r, event->workspace, KS_ID_LEN);
	take_copy(&r, event->object, KS_ID_LEN);
	event->version = take_number(&r, 8);
	has_digest = (uint8) take_number(&r, 1);
	event->has_digest = has_digest == 1;
	if (event->has_digest)
		take_copy(&r, event->digest, KS_DIGEST_LEN);
	take_copy(&r, event->owner, KS_ID_LEN);
	take_copy(&r, event->principal, KS_ID_LEN);
	take_copy(&r, event->claim, KS_ID_LEN);
	take_context(&r, &event->context);
	event->actor = take_text(&r, KS_ACTOR_MAX);
	event->role = take_text(&r, KS_ACTOR_MAX);
	event->relation = take_text(&r, UINT16_MAX);
	event->detail_len = (size_t) take_number(&r, 4);
	event->detail = take_bytes(&r, event->detail_len);

	if (r.broken || r.left != 0 || format != EVENT_FORMAT || has_digest > 1 ||
		event->outcome > KS_OUTCOME_ERROR || (event->flags & ~KS_EVENT_FLAGS) != 0 ||
		event->detail_len > KS_DETAIL_MAX)
	{
		memset(event, 0, sizeof(*event));
		return false;
	}
	return true;
}
