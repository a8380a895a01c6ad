/*-------------------------------------------------------------------------
 *
 * test_entry.c
 *	  Tests of ks_entry and ks_action: entries, details, events, and the names
 *	  of actions.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdlib.h>

#include "ks_action.h"
#include "ks_entry.h"

static void
make_vector_detail(uint8 commitment[KS_DIGEST_LEN])
{
	KsDetail	detail = {0};
	uint8		salt[KS_SALT_LEN];
	uint8		bytes[64];
	size_t		len;

	memset(salt, 0x11, sizeof(salt));
	ks_detail_add(&detail, "reason", "deploy");
	len = ks_detail_encode(&detail, bytes, sizeof(bytes));
	CHECK(unit_equals_hex(bytes, len, "0100000006726561736f6e" "02000000066465706c6f79"),
		  "detail differs");
	CHECK(ks_detail_commitment(salt, bytes, len, commitment) == KS_CRYPTO_OK, "commitment");
}

/*
 * The two entries of the published vector; the second needs the hash of the
 * first.
 */
static KsEntry
make_vector(int index, const KsHash *previous)
{
	KsEntry		entry = {
		.epoch = 1, .index = (uint64) index, .kind = KS_ACTION_LOG_EPOCH,
		.time = INT64_C(1767225600000000) + index * INT64_C(1000000),
		.actor = "system", .actor_len = 6, .role = "app_rw", .role_len = 6,
		.has_commitment = true
	};

	for (int i = 0; i < KS_ID_LEN; i++)
		entry.log_id[i] = (uint8) i;
	make_vector_detail(entry.commitment);
	if (index == 1)
	{
		entry.previous = *previous;
		entry.kind = KS_ACTION_CREDENTIAL_REVEAL;
		memset(entry.workspace, 0xaa, KS_ID_LEN);
		entry.workspace_seq = 1;
		entry.actor = "alice";
		entry.actor_len = 5;
		memset(entry.object, 0xcc, KS_ID_LEN);
		entry.version = 3;
		entry.has_digest = true;
		CHECK(ks_sha256("cipher", 6, entry.digest) == KS_CRYPTO_OK, "digest");
	}
	return entry;
}

static void
published_entries(void)
{
	uint8		commitment[KS_DIGEST_LEN];
	uint8		buf[KS_ENTRY_MAX];
	KsEntry		entry;
	KsHash		leaves[2];
	KsHash		root;
	KsFrontier	frontier = {0};
	size_t		len;

	make_vector_detail(commitment);
	CHECK(unit_equals_hex(commitment, sizeof(commitment),
						  "931b7ba2bac21bb0c448c80618de87d68be205c81e2cddbed036635c0e50444c"),
		  "commitment differs");

	entry = make_vector(0, NULL);
	len = ks_entry_encode(&entry, buf, sizeof(buf));
	CHECK(len == 285, "first entry: %zu bytes", len);
	CHECK(ks_leaf_hash(buf, len, &leaves[0]) == KS_CRYPTO_OK &&
		  unit_equals_hex(leaves[0].bytes, KS_DIGEST_LEN,
						  "7c95c5f17c2b923dc2a25c944a1af56f7f8a1f0e52750e11096cfdb30ffea27c"),
		  "first leaf differs");

	entry = make_vector(1, &leaves[0]);
	len = ks_entry_encode(&entry, buf, sizeof(buf));
	CHECK(len == 316, "second entry: %zu bytes", len);
	CHECK(ks_leaf_hash(buf, len, &leaves[1]) == KS_CRYPTO_OK &&
		  unit_equals_hex(leaves[1].bytes, KS_DIGEST_LEN,
						  "73ccd108b6572199a13e1a1282f5cb1739430bb8cbd7778f823af7b8e43009ec"),
		  "second leaf differs");

	CHECK(ks_frontier_push(&frontier, &leaves[0]) == KS_CRYPTO_OK &&
		  ks_frontier_push(&frontier, &leaves[1]) == KS_CRYPTO_OK &&
		  ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK &&
		  unit_equals_hex(root.bytes, KS_DIGEST_LEN,
						  "948b699588769ffa0eb73b56b24503eb4c0ae8cff7c0bb071488c6126c015697"),
		  "root differs");
}

static void
randomize(void *data, size_t n)
{
	uint8	   *bytes = data;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8) unit_random();
}

static KsEntryContext
make_context(void)
{
	KsEntryContext context = {.event_time = -2, .xid = UINT64_MAX, .pid = 0x89abcdef, .session_start = INT64_MIN};

	randomize(context.event_id, KS_ID_LEN);
	return context;
}

/*
 * An entry in which all fields are there.
 */
static KsEntry
make_full_entry(const char *actor, const char *role)
{
	KsEntry		entry = {
		.epoch = 0xfedcba98, .index = UINT64_MAX, .time = INT64_MIN, .kind = 0xffff,
		.workspace_seq = UINT64_MAX, .actor = actor, .actor_len = strlen(actor),
		.role = role, .role_len = strlen(role), .version = UINT64_MAX,
		.has_digest = true, .outcome = KS_OUTCOME_ERROR,
		.has_context = true, .has_commitment = true
	};

	randomize(entry.log_id, KS_ID_LEN);
	randomize(entry.previous.bytes, KS_DIGEST_LEN);
	randomize(entry.workspace, KS_ID_LEN);
	randomize(entry.workspace_previous.bytes, KS_DIGEST_LEN);
	randomize(entry.object, KS_ID_LEN);
	randomize(entry.digest, KS_DIGEST_LEN);
	randomize(entry.commitment, KS_DIGEST_LEN);
	entry.context = make_context();
	return entry;
}

static bool
same_context(const KsEntryContext *a, const KsEntryContext *b)
{
	return a->event_time == b->event_time && a->xid == b->xid && a->pid == b->pid &&
		a->session_start == b->session_start && memcmp(a->event_id, b->event_id, KS_ID_LEN) == 0;
}

static bool
same_entry(const KsEntry *a, const KsEntry *b)
{
	return memcmp(a->log_id, b->log_id, KS_ID_LEN) == 0 && a->epoch == b->epoch &&
		a->index == b->index && memcmp(&a->previous, &b->previous, sizeof(KsHash)) == 0 &&
		a->time == b->time && a->kind == b->kind &&
		memcmp(a->workspace, b->workspace, KS_ID_LEN) == 0 && a->workspace_seq == b->workspace_seq &&
		memcmp(&a->workspace_previous, &b->workspace_previous, sizeof(KsHash)) == 0 &&
		a->actor_len == b->actor_len && memcmp(a->actor, b->actor, a->actor_len) == 0 &&
		a->role_len == b->role_len && memcmp(a->role, b->role, a->role_len) == 0 &&
		memcmp(a->object, b->object, KS_ID_LEN) == 0 && a->version == b->version &&
		a->has_digest == b->has_digest && memcmp(a->digest, b->digest, KS_DIGEST_LEN) == 0 &&
		a->outcome == b->outcome && a->has_context == b->has_context &&
		same_context(&a->context, &b->context) && a->has_commitment == b->has_commitment &&
		memcmp(a->commitment, b->commitment, KS_DIGEST_LEN) == 0;
}

static void
entry_round_trip(void)
{
	/* with and without each of the fields that may be empty */
	for (int without = 0; without < 32; without++)
	{
		KsEntry		entry = make_full_entry(without & 1 ? "" : "alice", without & 2 ? "" : "app_rw");
		KsEntry		decoded;
		uint8		buf[KS_ENTRY_MAX];
		uint8	   *copy;
		size_t		len;

		if (without & 4)
		{
			entry.has_digest = false;
			memset(entry.digest, 0, KS_DIGEST_LEN);
		}
		if (without & 8)
		{
			entry.has_context = false;
			memset(&entry.context, 0, sizeof(entry.context));
		}
		if (without & 16)
		{
			entry.has_commitment = false;
			memset(entry.commitment, 0, KS_DIGEST_LEN);
		}

		len = ks_entry_encode(&entry, buf, sizeof(buf));
		CHECK(len > 0, "%d: does not encode", without);
		copy = unit_copy(buf, len);
		CHECK(ks_entry_decode(copy, len, &decoded), "%d: does not decode", without);
		CHECK(same_entry(&entry, &decoded), "%d: differs", without);
		free(copy);
	}
}

static void
entry_limits(void)
{
	char		text[KS_ACTOR_MAX + 2];
	KsEntry		entry;
	KsEntry		decoded;
	uint8		buf[KS_ENTRY_MAX];
	size_t		len;

	memset(text, 'x', sizeof(text));
	text[KS_ACTOR_MAX + 1] = '\0';

	/* text + n is a text of KS_ACTOR_MAX + 1 - n bytes */
	entry = make_full_entry(text + 1, text + 1);
	len = ks_entry_encode(&entry, buf, sizeof(buf));
	CHECK(len > 0 && len + KS_DETAIL_MAX <= KS_ENTRY_MAX, "the largest entry: %zu bytes", len);
	CHECK(ks_entry_decode(buf, len, &decoded), "the largest entry does not decode");

	for (size_t size = 0; size <= len; size++)
	{
		uint8	   *exact = malloc(size > 0 ? size : 1);

		if (exact == NULL)
			abort();
		CHECK(ks_entry_encode(&entry, exact, size) == (size == len ? len : 0), "size %zu", size);
		free(exact);
	}

	entry = make_full_entry(text, "r");
	CHECK(ks_entry_encode(&entry, buf, sizeof(buf)) == 0, "an actor over its limit");
	entry = make_full_entry("a", text);
	CHECK(ks_entry_encode(&entry, buf, sizeof(buf)) == 0, "a role over its limit");
	entry = make_full_entry("a", "r");
	entry.outcome = 3;
	CHECK(ks_entry_encode(&entry, buf, sizeof(buf)) == 0, "an outcome that is none");
	entry.outcome = 2;
	entry.actor_len = SIZE_MAX;
	CHECK(ks_entry_encode(&entry, buf, sizeof(buf)) == 0, "a length of SIZE_MAX");
}

/*
 * Refuses bytes, or reads them as what is written as the same bytes.
 */
static bool
entry_is_strict(const uint8 *bytes, size_t len)
{
	uint8	   *copy = unit_copy(bytes, len);
	uint8		again[KS_ENTRY_MAX];
	KsEntry		entry;
	bool		strict;

	if (ks_entry_decode(copy, len, &entry))
		strict = ks_entry_encode(&entry, again, sizeof(again)) == len && memcmp(copy, again, len) == 0;
	else
		strict = unit_is_zero(&entry, sizeof(entry));
	free(copy);
	return strict;
}

static void
entry_mutated(void)
{
	static const uint8 values[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x20, 0x2c, 0x7f, 0x80, 0xff};
	KsEntry		entries[2] = {make_full_entry("alice", "app_rw"), make_vector(0, NULL)};

	for (size_t which = 0; which < lengthof(entries); which++)
	{
		uint8		buf[KS_ENTRY_MAX];
		KsEntry		decoded;
		size_t		len = ks_entry_encode(&entries[which], buf, sizeof(buf));

		for (size_t at = 0; at < len; at++)
		{
			uint8		saved = buf[at];

			for (int bit = 0; bit < 8; bit++)
			{
				buf[at] = (uint8) (saved ^ (1 << bit));
				CHECK(entry_is_strict(buf, len), "byte %zu, bit %d", at, bit);
			}
			for (size_t i = 0; i < lengthof(values); i++)
			{
				buf[at] = values[i];
				CHECK(entry_is_strict(buf, len), "byte %zu is %d", at, values[i]);
			}
			buf[at] = saved;
		}

		/* headers of fields admit no change at all */
		for (size_t at = 0; at < 5 + 5; at++)
		{
			buf[at] ^= 1;
			CHECK(!ks_entry_decode(buf, len, &decoded), "byte %zu of the start", at);
			buf[at] ^= 1;
		}
		for (size_t n = 0; n < len; n++)
		{
			uint8	   *copy = unit_copy(buf, n);

			CHECK(!ks_entry_decode(copy, n, &decoded), "cut to %zu bytes", n);
			free(copy);
		}
		buf[len] = 0;
		CHECK(!ks_entry_decode(buf, len + 1, &decoded), "a byte behind");
		CHECK(ks_entry_decode(buf, len, &decoded), "the entry itself");
	}
}

/*
 * A reader that holds a length back to what is there, and no more.
 */
static void
entry_lengths(void)
{
	KsEntry		entry = make_full_entry("alice", "app_rw");
	KsEntry		decoded;
	uint8		buf[KS_ENTRY_MAX];
	size_t		len = ks_entry_encode(&entry, buf, sizeof(buf));
	const size_t at = 177;		/* where the length of the actor stands */

	CHECK(unit_equals_hex(buf + at - 1, 10, "0a" "00000005" "616c696365"), "no actor there");
	for (int shift = 24; shift >= 0; shift -= 8)
	{
		uint32		huge = UINT32_C(0xff) << shift;

		buf[at] = (uint8) (huge >> 24);
		buf[at + 1] = (uint8) (huge >> 16);
		buf[at + 2] = (uint8) (huge >> 8);
		buf[at + 3] = (uint8) huge;
		CHECK(!ks_entry_decode(buf, len, &decoded), "an actor of %u bytes", huge);
	}
}

static void
detail_sorted(void)
{
	KsDetail	detail = {0};
	KsDetailReader reader;
	uint8		buf[KS_DETAIL_MAX];
	static const char *const keys[] = {"", "B", "a", "aa", "ab", "b", "\xc3\xa4"};
	size_t		len;

	/* 3 has no divisor in common with 7 */
	for (size_t i = 0; i < lengthof(keys); i++)
		ks_detail_add(&detail, keys[i * 3 % lengthof(keys)], "value");
	len = ks_detail_encode(&detail, buf, sizeof(buf));
	CHECK(len == detail.len && !detail.full, "%zu bytes", len);

	ks_detail_read(&reader, buf, len);
	for (size_t i = 0; i < lengthof(keys); i++)
	{
		if (!CHECK(ks_detail_next(&reader), "pair %zu is missing", i))
			return;
		CHECK(reader.key_len == strlen(keys[i]) && memcmp(reader.key, keys[i], reader.key_len) == 0,
			  "pair %zu has another key", i);
		CHECK(reader.value_len == 5 && memcmp(reader.value, "value", 5) == 0, "pair %zu", i);
	}
	CHECK(!ks_detail_next(&reader) && !reader.broken && reader.key == NULL, "the end");
	CHECK(!ks_detail_next(&reader) && !reader.broken, "behind the end");
}

static void
detail_left_out(void)
{
	KsDetail	detail = {0};
	char		text[KS_DETAIL_MAX + 1];
	uint8	   *buf = malloc(KS_DETAIL_MAX);
	size_t		value_len;
	const char *value;

	if (buf == NULL)
		abort();
	memset(text, 'x', sizeof(text));
	text[KS_DETAIL_MAX] = '\0';

	CHECK(ks_detail_encode(&detail, buf, KS_DETAIL_MAX) == 0, "nothing");
	ks_detail_add(&detail, "null", NULL);
	ks_detail_add(&detail, "empty", "");
	ks_detail_add_bytes(&detail, "none", text, 0);
	ks_detail_add_bytes(&detail, "null", NULL, 3);
	CHECK(detail.n == 0 && !detail.full && detail.len == 0, "an empty value is left out");

	/* a pair has a header of ten bytes */
	ks_detail_add_bytes(&detail, "k", text, KS_DETAIL_MAX - 10);
	ks_detail_add_bytes(&detail, "k", text, SIZE_MAX);
	CHECK(detail.n == 0 && detail.full, "a value over the limit");
	detail.full = false;
	ks_detail_add_bytes(&detail, "k", text, KS_DETAIL_MAX - 11);
	CHECK(detail.n == 1 && !detail.full, "a value at the limit");
	ks_detail_add(&detail, "l", "1");
	CHECK(detail.n == 1 && detail.full, "no room for another");
	CHECK(ks_detail_encode(&detail, buf, KS_DETAIL_MAX) == KS_DETAIL_MAX, "the largest detail");
	CHECK(ks_detail_encode(&detail, buf, KS_DETAIL_MAX - 1) == 0, "one byte less");
	value = ks_detail_find(buf, KS_DETAIL_MAX, "k", &value_len);
	CHECK(value != NULL && value_len == KS_DETAIL_MAX - 11, "the largest value");

	/* twice the same key */
	memset(&detail, 0, sizeof(detail));
	ks_detail_add(&detail, "b", "1");
	ks_detail_add(&detail, "a", "2");
	ks_detail_add(&detail, "b", "3");
	CHECK(ks_detail_encode(&detail, buf, KS_DETAIL_MAX) == 0, "a key that occurs twice");
	free(buf);
}

static void
detail_most_pairs(void)
{
	char		keys[KS_DETAIL_PAIRS_MAX + 1][4];
	KsDetail	detail = {0};
	KsDetailReader reader;
	uint8		buf[KS_DETAIL_MAX];
	size_t		len;

	for (int i = 0; i <= KS_DETAIL_PAIRS_MAX; i++)
	{
		keys[i][0] = 'k';
		keys[i][1] = (char) ('0' + i / 10);
		keys[i][2] = (char) ('0' + i % 10);
		keys[i][3] = '\0';
		ks_detail_add(&detail, keys[i], "v");
		CHECK(detail.full == (i == KS_DETAIL_PAIRS_MAX), "pair %d", i);
	}
	len = ks_detail_encode(&detail, buf, sizeof(buf));
	ks_detail_read(&reader, buf, len);
	while (ks_detail_next(&reader))
		;
	CHECK(!reader.broken && reader.n == KS_DETAIL_PAIRS_MAX, "%d pairs read", reader.n);

	/* one more than is ever written */
	memcpy(buf + len, "\1\0\0\0\3k64\2\0\0\0\1v", 14);
	ks_detail_read(&reader, buf, len + 14);
	while (ks_detail_next(&reader))
		;
	CHECK(reader.broken, "a pair too many");
}

/* Whether bytes are read to their end as a detail. */
static bool
is_detail(const uint8 *bytes, size_t len)
{
	uint8	   *copy = unit_copy(bytes, len);
	KsDetailReader reader;
	size_t		value_len = 99;
	bool		broken;

	ks_detail_read(&reader, copy, len);
	while (ks_detail_next(&reader))
		;
	broken = reader.broken;
	CHECK(!ks_detail_next(&reader) && reader.broken == broken, "not sticky");
	if (broken)
		CHECK(ks_detail_find(copy, len, "a", &value_len) == NULL && value_len == 0,
			  "a value is found in what is broken");
	free(copy);
	return !broken;
}

static void
detail_refused(void)
{
#define IS_DETAIL(literal) is_detail((const uint8 *) (literal), sizeof(literal) - 1)
#define PAIR_A "\1\0\0\0\1a\2\0\0\0\1x"
#define PAIR_B "\1\0\0\0\1b\2\0\0\0\1y"
	uint8		large[KS_DETAIL_MAX + 1] = {1, 0, 0, 0, 1, 'a', 2, 0, 0, (KS_DETAIL_MAX - 10) >> 8, (KS_DETAIL_MAX - 10) & 0xff};

	CHECK(IS_DETAIL(""), "nothing is a detail");
	CHECK(IS_DETAIL(PAIR_A PAIR_B), "two pairs");
	CHECK(!IS_DETAIL(PAIR_B PAIR_A), "not in order");
	CHECK(!IS_DETAIL(PAIR_A PAIR_A), "a key twice");
	CHECK(!IS_DETAIL(PAIR_A "\1\0\0\0\1b"), "no value");
	CHECK(!IS_DETAIL(PAIR_A "\1\0\0\0\1b\2\0\0\0\0"), "an empty value");
	CHECK(!IS_DETAIL(PAIR_A "\1\0\0\0\2b\0\2\0\0\0\1y"), "a NUL in a key");
	CHECK(IS_DETAIL("\1\0\0\0\0\2\0\0\0\1x" PAIR_A), "an empty key comes first");
	CHECK(!IS_DETAIL("\2\0\0\0\1a\1\0\0\0\1x"), "value before key");
	CHECK(!IS_DETAIL("\1\377\377\377\377a\2\0\0\0\1x"), "a long key");
	CHECK(!IS_DETAIL("\1\0\0\0\1a\2\377\377\377\377x"), "a long value");
	for (size_t n = 1; n < 24; n++)
		CHECK(is_detail((const uint8 *) (PAIR_A PAIR_B), n) == (n == 12), "cut to %zu bytes", n);
	CHECK(!is_detail(large, sizeof(large)), "longer than a detail may be");
#undef IS_DETAIL
#undef PAIR_A
#undef PAIR_B
}

static void
detail_found(void)
{
	KsDetail	detail = {0};
	uint8		buf[100];
	size_t		len;
	size_t		value_len;
	const char *value;

	ks_detail_add_bytes(&detail, "abc", "1\0002", 3);
	ks_detail_add(&detail, "ab", "2");
	ks_detail_add(&detail, "b", "3");
	len = ks_detail_encode(&detail, buf, sizeof(buf));
	value = ks_detail_find(buf, len, "abc", &value_len);
	CHECK(value != NULL && value_len == 3 && memcmp(value, "1\0002", 3) == 0, "abc");
	value = ks_detail_find(buf, len, "ab", &value_len);
	CHECK(value != NULL && value_len == 1 && *value == '2', "ab");
	CHECK(ks_detail_find(buf, len, "a", &value_len) == NULL && value_len == 0, "a");
	CHECK(ks_detail_find(buf, len, "abcd", &value_len) == NULL, "abcd");
	CHECK(ks_detail_find(NULL, 0, "a", &value_len) == NULL, "nothing");
}

static KsEvent
make_event(void)
{
	KsEvent		event = {
		.kind = 0xfedc, .outcome = KS_OUTCOME_DENIED, .flags = KS_EVENT_CLAIM | KS_EVENT_CHECKPOINT,
		.version = UINT64_MAX, .has_digest = true, .actor = "alice", .role = "app_rw",
		.relation = "public.t", .detail = (const uint8 *) "detail", .detail_len = 6
	};

	randomize(event.workspace, KS_ID_LEN);
	randomize(event.object, KS_ID_LEN);
	randomize(event.digest, KS_DIGEST_LEN);
	randomize(event.owner, KS_ID_LEN);
	randomize(event.principal, KS_ID_LEN);
	randomize(event.claim, KS_ID_LEN);
	event.context = make_context();
	return event;
}

static bool
same_event(const KsEvent *a, const KsEvent *b)
{
	return a->kind == b->kind && a->outcome == b->outcome && a->flags == b->flags &&
		memcmp(a->workspace, b->workspace, KS_ID_LEN) == 0 &&
		memcmp(a->object, b->object, KS_ID_LEN) == 0 && a->version == b->version &&
		a->has_digest == b->has_digest && memcmp(a->digest, b->digest, KS_DIGEST_LEN) == 0 &&
		memcmp(a->owner, b->owner, KS_ID_LEN) == 0 &&
		memcmp(a->principal, b->principal, KS_ID_LEN) == 0 &&
		memcmp(a->claim, b->claim, KS_ID_LEN) == 0 && same_context(&a->context, &b->context) &&
		strcmp(a->actor, b->actor) == 0 && strcmp(a->role, b->role) == 0 &&
		strcmp(a->relation, b->relation) == 0 && a->detail_len == b->detail_len &&
		memcmp(a->detail, b->detail, a->detail_len) == 0;
}

static void
event_round_trip(void)
{
	KsEvent		event = make_event();
	KsEvent		empty = {0};
	KsEvent		unpacked;
	uint8		buf[KS_EVENT_PACKED_MAX];
	uint8	   *copy;
	size_t		len;

	len = ks_event_pack(&event, buf, sizeof(buf));
	copy = unit_copy(buf, len);
	CHECK(ks_event_unpack(copy, len, &unpacked) && same_event(&event, &unpacked), "differs");
	for (size_t size = 0; size < len; size++)
		CHECK(ks_event_pack(&event, buf, size) == 0, "size %zu", size);
	CHECK(ks_event_pack(&event, buf, len) == len, "size %zu", len);
	free(copy);

	len = ks_event_pack(&empty, buf, sizeof(buf));
	copy = unit_copy(buf, len);
	CHECK(ks_event_unpack(copy, len, &unpacked), "an event of nothing");
	CHECK(unpacked.actor != NULL && unpacked.actor[0] == '\0' && unpacked.role[0] == '\0' &&
		  unpacked.relation[0] == '\0' && unpacked.detail_len == 0, "texts of nothing");
	free(copy);
}

static void
event_limits(void)
{
	char		text[KS_ACTOR_MAX + 2];
	uint8		detail[KS_DETAIL_MAX + 1] = {0};
	uint8		buf[KS_EVENT_PACKED_MAX + 100];
	KsEvent		event = make_event();
	KsEvent		unpacked;
	size_t		len;

	memset(text, 'x', sizeof(text));
	text[KS_ACTOR_MAX + 1] = '\0';

	/* text + n is a text of KS_ACTOR_MAX + 1 - n bytes */
	event.actor = event.role = text + 1;
	event.relation = text + KS_ACTOR_MAX + 1 - 200;
	event.detail = detail;
	event.detail_len = KS_DETAIL_MAX;
	len = ks_event_pack(&event, buf, sizeof(buf));
	CHECK(len > 0 && len <= KS_EVENT_PACKED_MAX, "the largest event: %zu bytes", len);
	CHECK(ks_event_unpack(buf, len, &unpacked) && same_event(&event, &unpacked), "differs");
	event.relation = text;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "larger than a packed event may be");
	event.relation = "";

	event.detail_len = KS_DETAIL_MAX + 1;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "a detail over its limit");
	event.detail_len = 0;
	event.actor = text;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "an actor over its limit");
	event.actor = "";
	event.role = text;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "a role over its limit");
	event.role = "";
	event.outcome = 3;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "an outcome that is none");
	event.outcome = 0;
	event.flags = 0x08;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) == 0, "a flag that is none");
	event.flags = KS_EVENT_FLAGS;
	CHECK(ks_event_pack(&event, buf, sizeof(buf)) > 0, "all flags");
}

static void
event_mutated(void)
{
	KsEvent		event = make_event();
	uint8		buf[KS_EVENT_PACKED_MAX];
	uint8		again[KS_EVENT_PACKED_MAX];
	KsEvent		unpacked;
	size_t		len = ks_event_pack(&event, buf, sizeof(buf));

	for (size_t at = 0; at < len; at++)
	{
		uint8		saved = buf[at];

		for (int value = 0; value < 256; value++)
		{
			uint8	   *copy;

			buf[at] = (uint8) value;
			copy = unit_copy(buf, len);
			if (ks_event_unpack(copy, len, &unpacked))
				CHECK(ks_event_pack(&unpacked, again, sizeof(again)) == len &&
					  memcmp(copy, again, len) == 0, "byte %zu is %d", at, value);
			else
				CHECK(unit_is_zero(&unpacked, sizeof(unpacked)), "byte %zu is %d: not zeroed", at, value);
			free(copy);
		}
		buf[at] = saved;
	}
	for (size_t n = 0; n < len; n++)
	{
		uint8	   *copy = unit_copy(buf, n);

		CHECK(!ks_event_unpack(copy, n, &unpacked), "cut to %zu bytes", n);
		free(copy);
	}
	buf[len] = 0;
	CHECK(!ks_event_unpack(buf, len + 1, &unpacked), "a byte behind");
	buf[0] = 2;
	CHECK(!ks_event_unpack(buf, len, &unpacked), "another format");
}

static void
action_names(void)
{
	static const struct
	{
		uint16		kind;
		const char *name;
	}			actions[] = {
#define ACTION_ROW(number, cname, text) {number, text},
		KS_ACTIONS(ACTION_ROW)
#undef ACTION_ROW
	};
	size_t		known = 0;

	for (uint32 kind = 0; kind <= UINT16_MAX; kind++)
		known += ks_action_name((uint16) kind) != NULL;
	CHECK(known == lengthof(actions), "%zu kinds have a name, not %zu", known, lengthof(actions));
	CHECK(ks_action_name(0) == NULL, "kind 0");

	for (size_t i = 0; i < lengthof(actions); i++)
	{
		const char *name = ks_action_name(actions[i].kind);

		CHECK(name != NULL && strcmp(name, actions[i].name) == 0, "kind %d", actions[i].kind);
		for (size_t j = 0; j < i; j++)
			CHECK(actions[i].kind != actions[j].kind && strcmp(actions[i].name, actions[j].name) != 0,
				  "%s and %s", actions[i].name, actions[j].name);
	}

	/* these are in logs that exist */
	CHECK(strcmp(ks_action_name(0x0020), "credential.reveal") == 0, "0x0020");
	CHECK(strcmp(ks_action_name(0x0001), "log.epoch") == 0, "0x0001");
}

static void
action_versions(void)
{
	int			n = 0;

	for (uint32 kind = 0; kind <= UINT16_MAX; kind++)
		n += ks_action_makes_version((uint16) kind);
	CHECK(n == 3 && ks_action_makes_version(KS_ACTION_CREDENTIAL_CREATE) &&
		  ks_action_makes_version(KS_ACTION_CREDENTIAL_ROTATE) &&
		  ks_action_makes_version(KS_ACTION_CREDENTIAL_ROLLBACK), "%d kinds make a version", n);
}

const UnitTest entry_tests[] = {
	{"the published entries have their bytes and hashes", published_entries},
	{"an entry comes back as it went in", entry_round_trip},
	{"an entry within its limits fits, another does not", entry_limits},
	{"an entry with any byte changed is refused or another entry", entry_mutated},
	{"an entry whose text has a false length is refused", entry_lengths},
	{"a detail is sorted by the bytes of its keys", detail_sorted},
	{"a detail leaves out what is empty or does not fit", detail_left_out},
	{"a detail has as many pairs as it may have", detail_most_pairs},
	{"what is not exactly a detail is refused", detail_refused},
	{"a value is found by its whole key", detail_found},
	{"an event comes back as it went in", event_round_trip},
	{"an event that packs is one whose entry fits", event_limits},
	{"an event with any byte changed is refused or another event", event_mutated},
	{"each action has one number and one name", action_names},
	{"only actions that store a value make a version", action_versions},
	{NULL, NULL}
};
