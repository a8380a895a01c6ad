/*-------------------------------------------------------------------------
 *
 * ks_verify.c
 *	  Verifies the audit log against itself.
 *
 * Entries are read once, in the order of seq, under one snapshot.  The stored
 * bytes are the truth; every other column, table and counter is compared with
 * them.  Verification ends at the first finding.
 *
 * An entry names the hash of the one before.  When that does not fit, one of
 * the two was changed; a third one tells which: the entry behind them, or a
 * checkpoint over both.
 *
 * It costs a few microseconds an entry, which are those of SHA-256: memory is
 * taken for ids that are seen for the first time only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "ks_action.h"
#include "ks_logrow.h"
#include "ks_treecheck.h"
#include "ks_verify.h"

#define INTERRUPT_EVERY		1024	/* entries */
#define STATUS_TRIES		20	/* times 100 ms */

/* Microseconds between the start of an epoch and its first entry. */
#define EPOCH_START_TOLERANCE	INT64_C(60000000)

typedef struct Id
{
	uint8		bytes[KS_ID_LEN];
} Id;

/* What is known of a workspace or an object. */
typedef struct IdState
{
	Id			id;
	char		status;
	bool		known;			/* counter holds */
	uint64		counter;		/* the workspace's, or the object's version */
	KsHash		leaf;			/* the workspace's last */
} IdState;

#define SH_PREFIX		ids
#define SH_ELEMENT_TYPE	IdState
#define SH_KEY_TYPE		Id
#define SH_KEY			id
#define SH_HASH_KEY(tb, key)	hash_bytes((key).bytes, KS_ID_LEN)
#define SH_EQUAL(tb, a, b)		(memcmp((a).bytes, (b).bytes, KS_ID_LEN) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Verifier
{
	KsFinding	finding;
	KsTreeCheck tree;
	KsScan		entries;
	KsErasures	erasures;
	int64		from;
	int64		to;
	int			current;		/* index of the epoch, -1 before the first */
	int64		next;			/* the seq that must come */
	int64		checked;
	bool		whole;			/* from the first entry on: nothing is taken
								 * for granted */
	bool		chained;		/* leaf and time are those of the entry before */
	KsHash		leaf;
	int64		time;
	ids_hash   *workspaces;
	ids_hash   *objects;
} Verifier;

static const uint8 zeros[KS_DIGEST_LEN];

/*
 * Epochs are numbered from 1, and each begins behind the one before.  The end
 * of the last one is set when it is found.
 */
static bool
check_epochs(Verifier *v)
{
	for (int i = 0; i < v->tree.nepochs; i++)
	{
		KsEpochRow *row = &v->tree.epochs[i];
		int64		before = i > 0 ? v->tree.epochs[i - 1].epoch.first_seq : 0;

		if (row->epoch.epoch != i + 1)
			return ks_finding(&v->finding, before + 1, "epoch %d is missing", i + 1);
		if (i == 0 ? row->epoch.first_seq != 1 : row->epoch.first_seq <= before)
			return ks_finding(&v->finding, Max(before + 1, 1), "epoch %d begins at a wrong entry", i + 1);
		if (row->origin == NULL || row->reason == NULL || row->previous_root_len != KS_DIGEST_LEN ||
			strcmp(row->origin, row->epoch.origin) != 0)
			return ks_finding(&v->finding, row->epoch.first_seq, "the row of epoch %d is damaged", i + 1);
		row->end = PG_INT64_MAX;
		if (i > 0)
			v->tree.epochs[i - 1].end = row->epoch.first_seq;
	}
	return true;
}

/*
 * The entry does not name the hash of the one before.  It is to blame, unless
 * somebody vouches for it; the row is gone afterwards.
 */
static bool
blame(Verifier *v, KsLogRow *row)
{
	const KsHash named = row->entry.previous;
	const KsHash leaf = row->leaf;
	int64		seq = row->seq;
	bool		more = ks_logrow_next(&v->entries, row) && row->bytes != NULL &&
	ks_entry_decode(row->bytes, row->len, &row->entry);
	bool		vouched;

	if (more)
		vouched = memcmp(row->entry.previous.bytes, leaf.bytes, KS_DIGEST_LEN) == 0;
	else
		vouched = !v->tree.more_checkpoints || ks_treecheck_confirms(&v->tree, &named, &leaf);
	if (vouched)
		return ks_finding(&v->finding, seq - 1, "the entry is not the one that the next entry follows");
	return ks_finding(&v->finding, seq, "the entry does not follow the one before");
}

static IdState *
state_of(ids_hash * table, const uint8 *bytes)
{
	Id			id;
	bool		found;
	IdState    *state;

	memcpy(id.bytes, bytes, KS_ID_LEN);
	state = ids_insert(table, id, &found);
	if (!found)
		state->known = false;
	return state;
}

/* The workspace's counter and the object's version. */
static bool
check_counters(Verifier *v, const KsLogRow *row)
{
	const KsEntry *entry = &row->entry;
	IdState    *state;

	if (memcmp(entry->workspace, zeros, KS_ID_LEN) == 0)
	{
		if (entry->workspace_seq != 0 || memcmp(entry->workspace_previous.bytes, zeros, KS_DIGEST_LEN) != 0)
			return ks_finding(&v->finding, row->seq, "the entry counts for no workspace");
	}
	else
	{
		state = state_of(v->workspaces, entry->workspace);
		if (!state->known && v->whole)
		{
			state->counter = 0;
			memset(&state->leaf, 0, sizeof(KsHash));
			state->known = true;
		}
		if (state->known && entry->workspace_seq != state->counter + 1)
			return ks_finding(&v->finding, row->seq, "the counter of the workspace is " UINT64_FORMAT
							  ", not " UINT64_FORMAT, entry->workspace_seq, state->counter + 1);
		if (state->known && memcmp(entry->workspace_previous.bytes, state->leaf.bytes, KS_DIGEST_LEN) != 0)
			return ks_finding(&v->finding, row->seq, "the entry does not follow the one before of its workspace");
		state->known = true;
		state->counter = entry->workspace_seq;
		state->leaf = row->leaf;
	}

	if (!ks_action_makes_version(entry->kind) || entry->outcome != KS_OUTCOME_OK)
		return true;
	state = state_of(v->objects, entry->object);
	/* Rows that were changed by hand may have any number. */
	if (ks_logrow_says(row, "source", "direct"))
		state->known = false;
	else
	{
		if (state->known && entry->version != state->counter + 1)
			return ks_finding(&v->finding, row->seq, "the version of the object is " UINT64_FORMAT
							  ", not " UINT64_FORMAT, entry->version, state->counter + 1);
		state->known = true;
		state->counter = entry->version;
	}
	return true;
}

/* Special entries. */

static const KsKeyRow *
key_before(const Verifier *v, const KsKeyRow *key)
{
	return key > v->tree.keys ? key - 1 : NULL;
}

/*
 * The key that an entry announces must be in audit_keys, and signed by the one
 * before, of whatever epoch that is.
 */
static bool
check_key(Verifier *v, const KsLogRow *row)
{
	KsKeyRow   *key = NULL;
	const KsKeyRow *before;
	char		signature[2 * KS_ED25519_SIGNATURE_LEN];
	size_t		len;

	for (int i = 0; i < v->tree.nkeys; i++)
	{
		if (v->tree.keys[i].valid_from == row->seq)
			key = &v->tree.keys[i];
	}
	if (key == NULL || key->epoch != v->tree.epoch->epoch.epoch)
		return ks_finding(&v->finding, row->seq, "the key that the entry announces is missing");
	key->announced = true;
	if (!key->usable || !ks_logrow_says(row, "vkey", key->vkey) ||
		strcmp(key->key.name, v->tree.epoch->epoch.origin) != 0)
		return ks_finding(&v->finding, row->seq, "the key is another one than the entry announces");
	before = key_before(v, key);
	if (key->signature == NULL && (before == NULL || before->epoch != key->epoch))
	{
		/* The first of an epoch may have lost the one before. */
		if (ks_detail_find(row->detail, row->detail_len, "signature", &len) != NULL)
			return ks_finding(&v->finding, row->seq, "the signature of the key is missing");
		return true;
	}
	if (key->signature == NULL || key->signature_len != KS_ED25519_SIGNATURE_LEN ||
		ks_base64_encode(key->signature, key->signature_len, signature, sizeof(signature)) == 0 ||
		!ks_logrow_says(row, "signature", signature) || before == NULL || !before->usable ||
		!ks_note_verify_bytes(&before->key, key->vkey, strlen(key->vkey), key->signature))
		return ks_finding(&v->finding, row->seq, "the key is not signed by the one before");
	return true;
}

/* Whether a row's time, since 2000, is not that of an entry, since 1970. */
static bool
is_far(TimestampTz row_time, int64 entry_time)
{
	int64		apart;

	return pg_sub_s64_overflow(entry_time, row_time, &apart) ||
		pg_sub_s64_overflow(apart, KS_UNIX_EPOCH_OFFSET, &apart) ||
		apart > EPOCH_START_TOLERANCE || apart < -EPOCH_START_TOLERANCE;
}

/*
 * The first entry of an epoch says all that its row says.  ended: root of the
 * epoch before, as it was computed; NULL when that was not.
 */
static bool
check_epoch_entry(Verifier *v, const KsLogRow *row, const KsHash *ended)
{
	const KsEpochRow *epoch = v->tree.epoch;
	const KsEpochRow *before = v->current > 0 ? epoch - 1 : NULL;
	char		root[2 * KS_DIGEST_LEN + 1];

	(void) hex_encode((const char *) epoch->previous_root, KS_DIGEST_LEN, root);
	root[2 * KS_DIGEST_LEN] = '\0';
	if (!ks_logrow_says(row, "origin", epoch->origin) || !ks_logrow_says(row, "reason", epoch->reason) ||
		!ks_logrow_says_number(row, "timeline", epoch->epoch.timeline) ||
		!ks_logrow_says_number(row, "system_id", epoch->epoch.system_id) ||
		!ks_logrow_says_number(row, "database", epoch->epoch.database))
		return ks_finding(&v->finding, row->seq, "the row of epoch %d differs from its entry", epoch->epoch.epoch);
	if (is_far(epoch->started_at, row->entry.context.event_time))
		return ks_finding(&v->finding, row->seq, "the row of epoch %d differs from its entry in started_at",
						  epoch->epoch.epoch);
	if (before == NULL)
		return true;
	if (!ks_logrow_says(row, "previous_origin", before->origin) || !ks_logrow_says(row, "previous_root", root) ||
		!ks_logrow_says_number(row, "previous_size", (int64) epoch->epoch.previous_size))
		return ks_finding(&v->finding, row->seq, "the row of epoch %d differs from its entry", epoch->epoch.epoch);
	if ((int64) epoch->epoch.previous_size != epoch->epoch.first_seq - before->epoch.first_seq)
		return ks_finding(&v->finding, row->seq, "the epoch does not commit to all entries of the one before");
	/* The last one is to blame: the others have one that follows them. */
	if (ended != NULL && memcmp(ended->bytes, epoch->previous_root, KS_DIGEST_LEN) != 0)
		return ks_finding(&v->finding, row->seq - 1, "the next epoch commits to another entry");
	return true;
}

/* The walk. */

/* Ends the epoch at hand, and begins the next one at this row. */
static bool
begin_epoch(Verifier *v, const KsLogRow *row)
{
	bool		had_one = v->current >= 0 && v->tree.size > 0;
	KsHash		root;

	if (had_one && (!ks_treecheck_root(&v->tree, &root) || !ks_treecheck_end(&v->tree)))
		return ks_finding(&v->finding, row->seq, "a hash could not be computed");
	v->current++;
	v->chained = false;
	return ks_treecheck_begin(&v->tree, &v->tree.epochs[v->current], 0) &&
		check_epoch_entry(v, row, had_one ? &root : NULL);
}

/* What the bytes say about where the entry stands. */
static bool
check_place(Verifier *v, KsLogRow *row)
{
	const KsEntry *entry = &row->entry;
	bool		first;

	first = v->current + 1 < v->tree.nepochs && v->tree.epochs[v->current + 1].epoch.first_seq == row->seq;
	if (first && !begin_epoch(v, row))
		return false;
	if (v->current < 0)
		return ks_finding(&v->finding, row->seq, "the epoch of the entry is missing");
	if (memcmp(entry->log_id, v->tree.epoch->epoch.log_id, KS_ID_LEN) != 0)
		return ks_finding(&v->finding, row->seq, "the entry has another log id than its epoch");
	if (entry->epoch != (uint32) v->tree.epoch->epoch.epoch || row->nulls[KS_LOG_EPOCH] ||
		DatumGetInt32(row->values[KS_LOG_EPOCH]) != v->tree.epoch->epoch.epoch)
		return ks_finding(&v->finding, row->seq, "the entry belongs to another epoch");
	if (entry->index != v->tree.size)
		return ks_finding(&v->finding, row->seq, "the entry has index " UINT64_FORMAT ", not " UINT64_FORMAT,
						  entry->index, v->tree.size);
	if ((entry->kind == KS_ACTION_LOG_EPOCH) != (entry->index == 0))
		return ks_finding(&v->finding, row->seq, "an epoch begins with an entry log.epoch, and has no other");
	return true;
}

/* The entry before, in the same epoch. */
static bool
check_chain(Verifier *v, KsLogRow *row)
{
	const KsEntry *entry = &row->entry;

	if (entry->index == 0)
	{
		if (memcmp(entry->previous.bytes, zeros, KS_DIGEST_LEN) != 0)
			return ks_finding(&v->finding, row->seq, "the first entry of an epoch follows another one");
		return true;
	}
	if (v->chained && memcmp(entry->previous.bytes, v->leaf.bytes, KS_DIGEST_LEN) != 0)
		return blame(v, row);
	if (v->chained && entry->time < v->time)
		return ks_finding(&v->finding, row->seq, "the entry is older than the one before");
	return true;
}

/* The detail is the one to which the entry commits, or was erased. */
static bool
check_detail(Verifier *v, KsLogRow *row)
{
	if (row->detail == NULL && row->entry.has_commitment && !ks_erasures_find(&v->erasures, &v->finding, row))
		return false;
	return ks_logrow_detail(&v->finding, row);
}

static bool
check_row(Verifier *v, KsLogRow *row)
{
	if (row->seq != v->next)
		return row->seq > v->next ?
			ks_finding(&v->finding, v->next, "the entry is missing") :
			ks_finding(&v->finding, row->seq, "the entry is there twice");
	if (!ks_logrow_decode(&v->finding, row) || !check_detail(v, row) ||
		!check_place(v, row) || !check_chain(v, row) || !ks_logrow_lookups(&v->finding, row) || !check_counters(v, row))
		return false;
	if (row->entry.kind == KS_ACTION_LOG_KEY && !check_key(v, row))
		return false;
	if (ks_erasures_is_one(row) && !ks_erasures_judge(&v->erasures, &v->finding, row))
		return false;
	v->leaf = row->leaf;
	v->time = row->entry.time;
	v->chained = true;
	return ks_treecheck_push(&v->tree, &row->leaf, true);
}

/* Entries before the first one to be checked, for the tree and the chain. */
static bool
skip_row(Verifier *v, KsLogRow *row, bool push)
{
	if (row->seq != v->next)
		return ks_finding(&v->finding, v->next, "the entry is missing");
	if (!ks_logrow_decode(&v->finding, row))
		return false;
	v->leaf = row->leaf;
	v->time = row->entry.time;
	v->chained = true;
	return !push || ks_treecheck_push(&v->tree, &v->leaf, false);
}

/*
 * Makes ready for the first entry to be checked: in the middle of an epoch the
 * tree is read up to its last full tile, and from there on built from entries.
 * Returns the seq to begin reading at, 0 when there is a finding.
 */
static int64
begin_within(Verifier *v, int64 *push_from)
{
	uint64		size;

	while (v->current + 1 < v->tree.nepochs && v->tree.epochs[v->current + 1].epoch.first_seq < v->from)
		v->current++;
	*push_from = v->from;
	if (v->current < 0)
		return v->from;
	size = (uint64) (v->from - v->tree.epochs[v->current].epoch.first_seq);
	if (v->current + 1 < v->tree.nepochs && v->tree.epochs[v->current + 1].epoch.first_seq == v->from)
		return v->from;			/* the epoch before is not looked at */
	size -= size % KS_TILE_WIDTH;
	if (!ks_treecheck_begin(&v->tree, &v->tree.epochs[v->current], size))
		return 0;
	*push_from = v->tree.epochs[v->current].epoch.first_seq + (int64) size;
	return size > 0 ? *push_from - 1 : *push_from;
}

static bool
walk(Verifier *v)
{
	ScanKeyData keys[2];
	KsLogRow	row;
	int64		push_from;
	int64		start = begin_within(v, &push_from);

	if (start == 0)
		return false;
	v->next = start;
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(v->whole ? PG_INT64_MIN : start));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(v->to));
	ks_scan_begin(&v->entries, v->tree.snapshot, keys, lengthof(keys));
	while (ks_logrow_next(&v->entries, &row))
	{
		if (v->next < v->from)
		{
			if (!skip_row(v, &row, v->next >= push_from))
				return false;
		}
		else
		{
			if (!check_row(v, &row))
				return false;
			v->checked++;
		}
		v->next++;
		if (v->next % INTERRUPT_EVERY == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* What the appender says of itself: the slot of this database, if it runs. */
static bool
appender_status(KsLogStatus *log)
{
	KsSlotStatus status;
	int			slot = ks_event_slot_of(MyDatabaseId, false);

	memset(log, 0, sizeof(*log));
	if (slot < 0)
		return false;
	ks_event_slot_status(slot, &status);
	*log = status.log;
	return status.workers[KS_APPENDER].pid != 0 && status.log.state == KS_LOG_BEGUN;
}

/*
 * The end of the log: before is what the appender had written before the
 * snapshot.  Entries behind its last one are not its own; it says a little
 * late what it has just committed.
 */
static bool
check_end(Verifier *v, const KsLogStatus *before, bool appending)
{
	int64		last = v->next - 1;
	KsLogStatus now;

	if (v->current + 1 < v->tree.nepochs)
		return ks_finding(&v->finding, v->next, "the entry is missing: epoch %d begins later", v->current + 2);
	if (appending && before->entries > (uint64) last)
		return ks_finding(&v->finding, v->next, "the entry is missing: the appender has written it");
	if (appending && v->current >= 0 && (int64) before->entries >= v->tree.epoch->epoch.first_seq &&
		(int64) before->checkpoint_size > v->tree.last_checkpoint)
		return ks_finding(&v->finding, v->tree.epoch->epoch.first_seq + (int64) before->checkpoint_size - 1,
						  "a checkpoint over the entry is missing: the appender has made it");
	for (int i = 0; appending && appender_status(&now) && now.entries < (uint64) last; i++)
	{
		if (i == STATUS_TRIES)
			return ks_finding(&v->finding, (int64) now.entries + 1, "the entry was not written by the appender");
		pg_usleep(100000L);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Rows of other tables that no entry stands for. */
static bool
check_leftovers(Verifier *v)
{
	if (v->current >= 0)
		v->tree.epochs[v->current].end = v->next;
	if (v->current >= 0 && !ks_treecheck_end(&v->tree))
		return false;
	for (int i = 0; i < v->tree.nkeys; i++)
	{
		if (!v->tree.keys[i].announced && (v->whole || v->tree.keys[i].valid_from >= v->from))
			return ks_finding(&v->finding, Max(v->tree.keys[i].valid_from, 1), "no entry announces the key");
	}
	return !v->whole || ks_treecheck_surplus(&v->tree);
}

static int64
last_seq(const Verifier *v)
{
	static KsPlan plan = {.sql = "SELECT seq FROM keystone_private.audit_entries ORDER BY seq DESC LIMIT 1"};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		seq = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read_at(&plan, &args, v->tree.snapshot) == 1)
		(void) ks_col_bigint(0, 1, &seq);
	ks_spi_end(&spi);
	return seq;
}

static bool
run(Verifier *v, const KsLogStatus *before, bool appending)
{
	ks_treecheck_load(&v->tree);
	if (!v->whole && v->from > last_seq(v))
		return ks_finding(&v->finding, last_seq(v) + 1, "the entry is missing: the log ends before it");
	if (!ks_scan_open(&v->entries, "audit_entries", KS_LOG_COLUMN_NAMES))
		return ks_finding(&v->finding, 1, "table audit_entries was altered");
	if (!ks_treecheck_open(&v->tree) || !check_epochs(v) || !walk(v))
		return false;
	if (v->to < PG_INT64_MAX)
		return v->next > v->to ||
			ks_finding(&v->finding, v->next, "the entry is missing: the log ends before it");
	return check_end(v, before, appending) && check_leftovers(v);
}

void
ks_verify(int64 from, int64 to, KsVerification *result)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone audit verify",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	Verifier   *v = palloc0(sizeof(Verifier));
	KsLogStatus before;
	bool		appending = appender_status(&before);

	v->tree.finding = &v->finding;
	v->tree.snapshot = ks_spi_take_snapshot();
	v->from = Max(from, 1);
	v->to = to;
	v->whole = v->from == 1;
	v->current = -1;
	v->workspaces = ids_create(work, 256, NULL);
	v->objects = ids_create(work, 256, NULL);

	ks_erasures_begin(&v->erasures, v->tree.snapshot);
	(void) run(v, &before, appending);
	ks_erasures_end(&v->erasures);
	ks_treecheck_close(&v->tree);
	ks_scan_close(&v->entries);
	ks_spi_drop_snapshot(v->tree.snapshot);

	MemoryContextSwitchTo(old);
	result->checked = v->checked;
	result->first_bad = v->finding.seq;
	result->problem = v->finding.problem != NULL ? pstrdup(v->finding.problem) : NULL;
	result->empty = v->finding.problem == NULL && v->tree.nepochs == 0 && v->checked == 0;
	MemoryContextDelete(work);
}
