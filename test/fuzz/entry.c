/*-------------------------------------------------------------------------
 *
 * entry.c
 *	  Fuzzes the readers of ks_entry: what one of them accepts is written as
 *	  the same bytes, and what lies in it lies within the input.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_action.h"
#include "ks_entry.h"

static bool
within(const void *part, size_t part_len, const uint8 *bytes, size_t size)
{
	const uint8 *start = part;

	return start >= bytes && start + part_len <= bytes + size;
}

static void
check_entry(const uint8 *bytes, size_t size)
{
	KsEntry		entry;
	uint8		again[KS_ENTRY_MAX];

	if (!ks_entry_decode(bytes, size, &entry))
	{
		REQUIRE(fuzz_is_zero(&entry, sizeof(entry)));
		return;
	}
	REQUIRE(within(entry.actor, entry.actor_len, bytes, size));
	REQUIRE(within(entry.role, entry.role_len, bytes, size));
	REQUIRE(size + KS_DETAIL_MAX <= KS_ENTRY_MAX);
	REQUIRE(ks_entry_encode(&entry, again, sizeof(again)) == size);
	REQUIRE(memcmp(again, bytes, size) == 0);
	(void) ks_action_name(entry.kind);
}

static void
check_detail(const uint8 *bytes, size_t size)
{
	static char keys[KS_DETAIL_MAX];
	char	   *key = keys;
	KsDetail	detail = {0};
	KsDetailReader reader;
	uint8		again[KS_DETAIL_MAX];
	size_t		value_len;

	ks_detail_read(&reader, bytes, size);
	while (ks_detail_next(&reader))
	{
		REQUIRE(within(reader.key, reader.key_len, bytes, size));
		REQUIRE(within(reader.value, reader.value_len, bytes, size));
		REQUIRE(key + reader.key_len < keys + sizeof(keys));

		memcpy(key, reader.key, reader.key_len);
		key[reader.key_len] = '\0';
		ks_detail_add_bytes(&detail, key, reader.value, reader.value_len);
		key += reader.key_len + 1;
	}
	if (reader.broken)
	{
		REQUIRE(ks_detail_find(bytes, size, "", &value_len) == NULL && value_len == 0);
		return;
	}
	REQUIRE(!detail.full && detail.n == reader.n);
	for (int i = 0; i < detail.n; i++)
		REQUIRE(ks_detail_find(bytes, size, detail.pairs[i].key, &value_len) == detail.pairs[i].value &&
				value_len == detail.pairs[i].value_len);
	REQUIRE(ks_detail_encode(&detail, again, sizeof(again)) == size);
	REQUIRE(size == 0 || memcmp(again, bytes, size) == 0);
}

static void
check_event(const uint8 *bytes, size_t size)
{
	KsEvent		event;
	uint8		again[KS_EVENT_PACKED_MAX];

	if (!ks_event_unpack(bytes, size, &event))
	{
		REQUIRE(fuzz_is_zero(&event, sizeof(event)));
		return;
	}
	REQUIRE(within(event.actor, strlen(event.actor) + 1, bytes, size));
	REQUIRE(within(event.role, strlen(event.role) + 1, bytes, size));
	REQUIRE(within(event.relation, strlen(event.relation) + 1, bytes, size));
	REQUIRE(within(event.detail, event.detail_len, bytes, size));
	REQUIRE(ks_event_pack(&event, again, sizeof(again)) == size);
	REQUIRE(memcmp(again, bytes, size) == 0);

	/* what packs makes an entry */
	{
		KsEntry		entry = {
			.kind = event.kind, .outcome = event.outcome, .version = event.version,
			.actor = event.actor, .actor_len = strlen(event.actor),
			.role = event.role, .role_len = strlen(event.role),
			.has_digest = event.has_digest, .has_context = true, .context = event.context
		};

		REQUIRE(ks_entry_encode(&entry, again, sizeof(again)) > 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8	   *bytes = fuzz_copy(data, size);

	check_entry(bytes, size);
	check_detail(bytes, size);
	check_event(bytes, size);
	REQUIRE(size == 0 || memcmp(bytes, data, size) == 0);
	free(bytes);
	return 0;
}
