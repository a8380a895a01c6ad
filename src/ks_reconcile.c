/*-------------------------------------------------------------------------
 *
 * ks_reconcile.c
 *	  Rows of Keystone's tables against the audit log.
 *
 * The log is read once, in the order of seq, and then followed.  Each entry is
 * checked as far as it counts here: that none is missing, that each follows
 * the one before, and that a detail is the one to which its entry commits.
 * What the last change of each row left is kept: some 60 bytes a row.
 *
 * Rows are read in the order of their primary keys, a slice at a time, each
 * slice with a snapshot of its own.  A row that is there all the time is met
 * once in a round.  One that was not met is missing, unless it came after the
 * round had begun.
 *
 * Also the outbox counts: what has been committed and is not in the log yet
 * lies there.  It is read anew with each slice, so that what is known of its
 * rows is known of that slice, and of the whole round only when the round has
 * one snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_action.h"
#include "ks_error.h"
#include "ks_logrow.h"
#include "ks_reconcile.h"
#include "ks_text.h"

#define ROWS_OF_SLICE		500
#define ROWS_OF_SLICE_TEXT	"500"
#define OUTBOX_MAX			20000	/* with more rows, the appender comes
									 * first */
#define ITEMS_MAX			64	/* in one entry */
#define MISSING_NAMED		100 /* of a round by what their entries say */
#define NTABLES_MAX			64
#define INTERRUPT_EVERY		1024

typedef struct RowKey
{
	uint8		bytes[KS_ROW_KEY_LEN];
} RowKey;

/* What the log says of a row. */
typedef struct RowState
{
	RowKey		key;
	uint8		digest[KS_ROW_BEFORE_LEN];	/* zeros: it is gone; in the
											 * outbox's table only */
	int64		seq;			/* of the entry; negated, the id of a row of
								 * the outbox */
	uint32		born;			/* round in which it came; in the outbox's
								 * table 0 also when it only changed */
	uint32		seen;			/* round in which its row was met last */
	uint8		table;
	char		status;
} RowState;

static inline uint32
hash_key(RowKey key)
{
	uint32		hash;

	memcpy(&hash, key.bytes, sizeof(hash));
	return hash;
}

#define SH_PREFIX		rows
#define SH_ELEMENT_TYPE	RowState
#define SH_KEY_TYPE		RowKey
#define SH_KEY			key
#define SH_HASH_KEY(tb, key)	hash_key(key)
#define SH_EQUAL(tb, a, b)		(memcmp((a).bytes, (b).bytes, KS_ROW_KEY_LEN) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A discrepancy that is known. */
typedef struct MarkKey
{
	uint8		bytes[KS_ROW_KEY_LEN + 1];	/* kind behind it */
} MarkKey;

typedef struct Mark
{
	MarkKey		key;
	uint8		found[KS_ROW_BEFORE_LEN];
	uint8		table;
	bool		told;			/* was found by us, not only read in the log */
	bool		reported;		/* stands in the log */
	uint32		round;			/* in which it was found last */
	char		status;
} Mark;

static inline uint32
hash_mark(MarkKey key)
{
	uint32		hash;

	memcpy(&hash, key.bytes, sizeof(hash));
	return hash;
}

#define SH_PREFIX		marks
#define SH_ELEMENT_TYPE	Mark
#define SH_KEY_TYPE		MarkKey
#define SH_KEY			key
#define SH_HASH_KEY(tb, key)	hash_mark(key)
#define SH_EQUAL(tb, a, b)		(memcmp((a).bytes, (b).bytes, KS_ROW_KEY_LEN + 1) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct KsReconcile
{
	MemoryContext context;
	MemoryContext row_context;	/* of one row or entry */
	KsReconcileObserver observer;
	bool		of_workspace;
	uint8		workspace[KS_ID_LEN];
	Oid			log;			/* oid of audit_entries */
	rows_hash  *rows;			/* what the log says */
	rows_hash  *pending;		/* what the outbox says: NULL until needed */
	marks_hash *marks;

	/* reading the log */
	int64		position;		/* seq of the last entry */
	uint64		counter;		/* the workspace's, of that entry */
	KsHash		leaf;			/* of that entry */
	KsErasures	erasures;		/* while it is read */
	bool		pruned;			/* its beginning is missing */
	char	   *broken;			/* what is wrong with it, NULL: nothing */
	int64		broken_at;		/* in this entry */

	/* comparing */
	uint32		round;
	int			table;			/* index of the table at hand */
	bool		begun;			/* last has a row of it */
	int			nlast;
	Datum		last[KS_ROW_KEYS_MAX];
	Oid			last_types[KS_ROW_KEYS_MAX];
	bool		last_byval[KS_ROW_KEYS_MAX];
	int64		compared;
	int64		uncovered;
};

static const uint8 nothing[KS_DIGEST_LEN];

KsReconcile *
ks_reconcile_make(const uint8 *workspace, const KsReconcileObserver *observer)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "keystone reconcile",
												  ALLOCSET_DEFAULT_SIZES);
	KsReconcile *reconcile = MemoryContextAllocZero(context, sizeof(KsReconcile));

	reconcile->context = context;
	reconcile->row_context = AllocSetContextCreate(context, "keystone reconcile row", ALLOCSET_DEFAULT_SIZES);
	reconcile->observer = *observer;
	reconcile->of_workspace = workspace != NULL;
	if (workspace != NULL)
		memcpy(reconcile->workspace, workspace, KS_ID_LEN);
	reconcile->log = get_relname_relid("audit_entries", get_namespace_oid("keystone_private", true));
	reconcile->rows = rows_create(context, 1024, NULL);
	reconcile->marks = marks_create(context, 16, NULL);
	return reconcile;
}

void
ks_reconcile_free(KsReconcile *reconcile)
{
	MemoryContextDelete(reconcile->context);
}

bool
ks_reconcile_is_current(const KsReconcile *reconcile)
{
	return reconcile->log == get_relname_relid("audit_entries", get_namespace_oid("keystone_private", true));
}

int64
ks_reconcile_compared(const KsReconcile *reconcile)
{
	return reconcile->compared;
}

int64
ks_reconcile_uncovered(const KsReconcile *reconcile)
{
	return reconcile->uncovered;
}

int64
ks_reconcile_position(const KsReconcile *reconcile)
{
	return reconcile->position;
}


/*-------------------------------------------------------------------------
 * Discrepancies
 *-------------------------------------------------------------------------
 */

static MarkKey
mark_key(const uint8 key[KS_ROW_KEY_LEN], KsDiscrepancyKind kind)
{
	MarkKey		result;

	memcpy(result.bytes, key, KS_ROW_KEY_LEN);
	result.bytes[KS_ROW_KEY_LEN] = (uint8) kind;
	return result;
}

/* An item like those of rows, with the kind where the new digest stands. */
char *
ks_reconcile_mark(const KsDiscrepancy *discrepancy)
{
	KsRowItem	item = {.table = discrepancy->table};

	memcpy(item.key, discrepancy->key, KS_ROW_KEY_LEN);
	memcpy(item.before, discrepancy->found, KS_ROW_BEFORE_LEN);
	item.after[0] = (uint8) discrepancy->kind;
	return ks_row_encode(&item, 1);
}

static void
tell(KsReconcile *r, const KsDiscrepancy *discrepancy)
{
	bool		known;
	Mark	   *mark = marks_insert(r->marks, mark_key(discrepancy->key, discrepancy->kind), &known);

	if (!known || memcmp(mark->found, discrepancy->found, KS_ROW_BEFORE_LEN) != 0)
		mark->reported = false;
	memcpy(mark->found, discrepancy->found, KS_ROW_BEFORE_LEN);
	mark->table = discrepancy->table;
	mark->told = true;
	mark->round = r->round;
	r->observer.found(r->observer.arg, discrepancy, mark->reported);
}

/* A round is over: rows that were not found to differ in it agree again, or
 * are gone as they should be. */
static void
settle_others(KsReconcile *r)
{
	marks_iterator iterator;
	Mark	   *mark;

	marks_start_iterate(r->marks, &iterator);
	while ((mark = marks_iterate(r->marks, &iterator)) != NULL)
	{
		KsDiscrepancy discrepancy = {.kind = KS_ROW_DIFFERS, .table = mark->table};
		bool		reported = mark->reported;

		if (mark->key.bytes[KS_ROW_KEY_LEN] != KS_ROW_DIFFERS || mark->round == r->round)
			continue;
		memcpy(discrepancy.key, mark->key.bytes, KS_ROW_KEY_LEN);
		memcpy(discrepancy.found, mark->found, KS_ROW_BEFORE_LEN);
		marks_delete_item(r->marks, mark);
		r->observer.settled(r->observer.arg, &discrepancy, reported);
	}
}

/* An entry of ours that says what was found, or that it is settled. */
static void
note_report(KsReconcile *r, const KsLogRow *row)
{
	size_t		len = 0;
	const char *text = ks_logrow_find(row, KS_RECONCILE_FOUND_KEY, &len);
	KsRowItem	item;
	MarkKey		id;
	Mark	   *mark;
	bool		known;

	if (text == NULL || ks_row_decode(text, len, &item, 1) != 1)
		return;
	id = mark_key(item.key, (KsDiscrepancyKind) item.after[0]);
	if (row->entry.outcome == KS_OUTCOME_OK)
	{
		mark = marks_lookup(r->marks, id);
		if (mark != NULL && !mark->told)
			(void) marks_delete(r->marks, id);
		return;
	}
	mark = marks_insert(r->marks, id, &known);
	if (!known)
	{
		mark->told = false;
		mark->round = 0;
	}
	else if (mark->told && memcmp(mark->found, item.before, KS_ROW_BEFORE_LEN) != 0)
		return;
	mark->table = item.table;
	memcpy(mark->found, item.before, KS_ROW_BEFORE_LEN);
	mark->reported = true;

	/* What happened once is over when it has been said. */
	if (item.after[0] != KS_ROW_DIFFERS)
	{
		KsDiscrepancy discrepancy = {.kind = (KsDiscrepancyKind) item.after[0], .table = item.table};

		memcpy(discrepancy.key, item.key, KS_ROW_KEY_LEN);
		memcpy(discrepancy.found, item.before, KS_ROW_BEFORE_LEN);
		r->observer.settled(r->observer.arg, &discrepancy, true);
	}
}

/* Whether rows of a table are looked at. */
static bool
is_covered(const KsReconcile *r, const KsRowTable *table)
{
	return table != NULL && (!r->of_workspace || table->workspace != NULL);
}

static bool
is_nil(const uint8 *id)
{
	return memcmp(id, nothing, KS_ID_LEN) == 0;
}

/* Workspace and credential as an entry has them, and its table's name. */
static const char *
fill_from_entry(KsDiscrepancy *discrepancy, const uint8 *workspace, const uint8 *object)
{
	const KsRowTable *table = ks_row_table_of(discrepancy->table);
	char		uuid[37];

	discrepancy->has_workspace = !is_nil(workspace);
	memcpy(discrepancy->workspace, workspace, KS_ID_LEN);
	discrepancy->has_credential = table != NULL && table->credential != NULL && !is_nil(object);
	memcpy(discrepancy->credential, object, KS_ID_LEN);
	if (is_nil(object))
		return table != NULL ? table->name : "unknown table";
	ks_text_from_uuid(object, uuid);
	return psprintf("%s %s", table != NULL ? table->name : "unknown table", uuid);
}


/*-------------------------------------------------------------------------
 * The log
 *-------------------------------------------------------------------------
 */

/* It stays broken: each round says it again. */
static void
tell_still_broken(KsReconcile *r)
{
	KsDiscrepancy discrepancy = {.kind = KS_LOG_BROKEN, .problem = r->broken};

	if (r->broken == NULL)
		return;
	memcpy(discrepancy.key, &r->broken_at, sizeof(r->broken_at));
	tell(r, &discrepancy);
}

static void
tell_broken(KsReconcile *r, int64 seq, const char *problem)
{
	MemoryContext old;

	/* The first one only: others may follow from it. */
	if (r->broken != NULL)
		return;
	old = MemoryContextSwitchTo(r->context);
	r->broken = psprintf("audit log, entry " INT64_FORMAT ": %s", seq, problem);
	r->broken_at = seq;
	MemoryContextSwitchTo(old);
	tell_still_broken(r);
}

/* A change found another row than the one before it left. */
static void
tell_bypassed(KsReconcile *r, const KsRowItem *item, const KsLogRow *row)
{
	KsDiscrepancy discrepancy = {.kind = KS_ROW_BYPASSED, .table = item->table};
	const char *name = fill_from_entry(&discrepancy, row->entry.workspace, row->entry.object);

	memcpy(discrepancy.key, item->key, KS_ROW_KEY_LEN);
	memcpy(discrepancy.found, item->before, KS_ROW_BEFORE_LEN);
	discrepancy.problem = psprintf("%s: the row was changed past the log, before entry " INT64_FORMAT, name, row->seq);
	tell(r, &discrepancy);
}

static void
apply_item(KsReconcile *r, const KsRowItem *item, const KsLogRow *row)
{
	RowKey		key;
	RowState   *state;
	bool		known;

	/* Of rows that are not all a workspace's, its entries say but a part. */
	if (!is_covered(r, ks_row_table_of(item->table)))
		return;
	memcpy(key.bytes, item->key, KS_ROW_KEY_LEN);
	state = rows_lookup(r->rows, key);
	if ((state != NULL || !r->pruned) &&
		memcmp(item->before, state != NULL ? state->digest : nothing, KS_ROW_BEFORE_LEN) != 0)
		tell_bypassed(r, item, row);
	if (memcmp(item->after, nothing, KS_DIGEST_LEN) == 0)
	{
		if (state != NULL)
			rows_delete_item(r->rows, state);
		return;
	}
	state = rows_insert(r->rows, key, &known);
	if (!known)
	{
		state->born = r->round;
		state->seen = 0;
	}
	memcpy(state->digest, item->after, KS_ROW_BEFORE_LEN);
	state->seq = row->seq;
	state->table = item->table;
}

/*
 * The entry before, of the log or the workspace.  Nothing takes entries from
 * the beginning of the log: where they are missing, rows that were put back are
 * not told from those that came before.
 */
static void
check_place(KsReconcile *r, const KsLogRow *row)
{
	const KsEntry *entry = &row->entry;
	bool		first = r->position == 0;

	if (r->of_workspace)
	{
		if (first)
		{
			r->pruned = entry->workspace_seq != 1;
			if (r->pruned)
				tell_broken(r, row->seq, "the workspace's entries before it are missing");
		}
		else if (entry->workspace_seq != r->counter + 1)
			tell_broken(r, row->seq, "an entry of the workspace before it is missing");
		else if (memcmp(entry->workspace_previous.bytes, r->leaf.bytes, KS_DIGEST_LEN) != 0)
			tell_broken(r, row->seq, "it does not follow the one before of its workspace");
		return;
	}
	if (first)
	{
		r->pruned = row->seq != 1;
		if (r->pruned)
			tell_broken(r, row->seq, "the entries before it are missing");
	}
	else if (row->seq != r->position + 1)
		tell_broken(r, row->seq, "the entry before it is missing");
	else if (entry->index > 0 && memcmp(entry->previous.bytes, r->leaf.bytes, KS_DIGEST_LEN) != 0)
		tell_broken(r, row->seq, "it does not follow the one before");
}

/* What an entry says of rows, or said, if its detail was erased. */
static void
apply_detail(KsReconcile *r, const KsLogRow *row)
{
	KsFinding	finding = {.problem = NULL};
	KsRowItem	items[ITEMS_MAX];
	size_t		len = 0;
	const char *text = ks_logrow_find(row, KS_ROWS_KEY, &len);
	int			n;

	if (text == NULL && row->entry.kind != KS_ACTION_AUDIT_RECONCILE)
		return;
	if (!ks_logrow_detail(&finding, row))
	{
		tell_broken(r, row->seq, finding.problem);
		return;
	}
	if (row->entry.kind == KS_ACTION_AUDIT_RECONCILE)
		note_report(r, row);
	n = text != NULL ? ks_row_decode(text, len, items, ITEMS_MAX) : 0;
	for (int i = 0; i < n; i++)
		apply_item(r, &items[i], row);
}

static void
read_entry(KsReconcile *r, KsLogRow *row)
{
	KsFinding	finding = {.problem = NULL};

	if (!ks_logrow_decode(&finding, row))
	{
		tell_broken(r, row->seq, finding.problem);
		r->position = row->seq;
		return;
	}
	check_place(r, row);
	if (row->detail == NULL && row->entry.has_commitment && !ks_erasures_find(&r->erasures, &finding, row))
		tell_broken(r, row->seq, finding.problem);
	else
		apply_detail(r, row);
	r->position = row->seq;
	r->counter = row->entry.workspace_seq;
	r->leaf = row->leaf;
}

/* By seq, or those of the workspace in the same order. */
static bool
open_log(const KsReconcile *r, KsScan *scan)
{
	Oid			index;

	if (!ks_scan_open(scan, "audit_entries", KS_LOG_COLUMN_NAMES))
		return false;
	if (!r->of_workspace)
		return true;
	index = get_relname_relid("audit_entries_workspace_id_idx", RelationGetNamespace(scan->rel));
	if (!OidIsValid(index) || get_rel_relkind(index) != RELKIND_INDEX)
		return false;
	index_close(scan->index, NoLock);
	scan->index = index_open(index, AccessShareLock);
	return scan->index->rd_index->indrelid == RelationGetRelid(scan->rel);
}

static void
begin_scan(const KsReconcile *r, KsScan *scan, Snapshot snapshot, ScanKeyData keys[2])
{
	int			n = 0;

	if (r->of_workspace)
		ScanKeyInit(&keys[n++], KS_LOG_WORKSPACE + 1, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum((pg_uuid_t *) r->workspace));
	ScanKeyInit(&keys[n++], KS_LOG_SEQ + 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(r->position));
	ks_scan_begin(scan, snapshot, keys, n);
}

/* Returns whether all entries that the snapshot sees have been read. */
static bool
follow_log(KsReconcile *r, Snapshot snapshot, int max)
{
	ScanKeyData keys[2];
	KsScan		scan;
	KsLogRow	row;
	int			n = 0;

	if (!open_log(r, &scan))
	{
		tell_broken(r, 0, "table audit_entries was altered");
		ks_scan_close(&scan);
		return true;
	}
	begin_scan(r, &scan, snapshot, keys);
	ks_erasures_begin(&r->erasures, snapshot);
	while (n < max && ks_logrow_next(&scan, &row))
	{
		MemoryContext old = MemoryContextSwitchTo(r->row_context);

		read_entry(r, &row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(r->row_context);
		if (++n % INTERRUPT_EVERY == 0)
			CHECK_FOR_INTERRUPTS();
	}
	ks_erasures_end(&r->erasures);
	ks_scan_close(&scan);
	return n < max;
}

/* What one change in the outbox says of a row. */
static void
apply_pending_item(KsReconcile *r, const KsRowItem *item, int64 id)
{
	RowKey		key;
	RowState   *state;
	bool		known;

	memcpy(key.bytes, item->key, KS_ROW_KEY_LEN);
	state = rows_insert(r->pending, key, &known);
	if (!known)
	{
		state->born = rows_lookup(r->rows, key) == NULL ? r->round : 0;
		state->seen = 0;
	}
	if (memcmp(item->before, nothing, KS_ROW_BEFORE_LEN) == 0)
		state->born = r->round;
	memcpy(state->digest, item->after, KS_ROW_BEFORE_LEN);
	state->table = item->table;
	state->seq = -id;
}

/* What an event of the outbox says, whose bytes these are. */
static void
apply_pending(KsReconcile *r, int64 id, const uint8 *bytes, size_t len)
{
	KsEvent		event;
	KsRowItem	items[ITEMS_MAX];
	size_t		text_len = 0;
	const char *text;
	int			n;

	if (!ks_event_unpack(bytes, len, &event) ||
		(r->of_workspace && memcmp(event.workspace, r->workspace, KS_ID_LEN) != 0))
		return;
	text = ks_detail_find(event.detail, event.detail_len, KS_ROWS_KEY, &text_len);
	n = text != NULL ? ks_row_decode(text, text_len, items, ITEMS_MAX) : 0;
	for (int i = 0; i < n; i++)
		apply_pending_item(r, &items[i], id);
}

/* Returns false when there are more than so many rows. */
static bool
read_outbox(KsReconcile *r, Snapshot snapshot, int max)
{
	static KsPlan plan = {.sql =
		"SELECT body, id FROM keystone_private.audit_outbox ORDER BY id LIMIT $1"
	};
	MemoryContext old;
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		n;

	if (r->pending != NULL)
		rows_destroy(r->pending);
	r->pending = NULL;
	r->pending = rows_create(r->context, 16, NULL);
	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, (int64) max + 1);
	n = ks_spi_read_at(&plan, &args, snapshot);
	old = MemoryContextSwitchTo(r->row_context);
	for (uint64 i = 0; i < n && n <= (uint64) max; i++)
	{
		TupleDesc	desc;
		HeapTuple	row = ks_spi_row(i, &desc);
		bool		isnull;
		Datum		body = heap_getattr(row, 1, desc, &isnull);
		bytea	   *bytes = isnull ? NULL : DatumGetByteaPP(body);
		int64		id = 0;

		(void) ks_col_bigint(i, 2, &id);
		if (bytes != NULL)
			apply_pending(r, id, (const uint8 *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
		MemoryContextReset(r->row_context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	ks_spi_end(&spi);
	return n <= (uint64) max;
}

bool
ks_reconcile_follow(KsReconcile *r, Snapshot snapshot, int max)
{
	return follow_log(r, snapshot, max) && read_outbox(r, snapshot, Max(max, OUTBOX_MAX));
}


/*-------------------------------------------------------------------------
 * Rows
 *-------------------------------------------------------------------------
 */

/* The statement that reads the first or the next rows of a table. */
static KsPlan *
plan_of(const KsReconcile *r, int index, bool next)
{
	static KsPlan plans[NTABLES_MAX][2][2];
	int			ntables;
	const KsRowTable *table = &ks_row_tables(&ntables)[index];
	KsPlan	   *plan = &plans[index][next][r->of_workspace];
	StringInfoData keys;
	StringInfoData places;
	StringInfoData sql;
	int			n = 0;

	Assert(ntables <= NTABLES_MAX);
	if (plan->sql != NULL)
		return plan;
	initStringInfo(&keys);
	initStringInfo(&places);
	for (; table->keys[n] != NULL; n++)
	{
		appendStringInfo(&keys, "%st.%s", n > 0 ? ", " : "", table->keys[n]);
		appendStringInfo(&places, "%s$%d", n > 0 ? ", " : "", n + 1);
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t.* FROM %s.%s t WHERE true", table->schema, table->name);
	if (next)
		appendStringInfo(&sql, " AND (%s) > (%s)", keys.data, places.data);
	if (r->of_workspace)
		appendStringInfo(&sql, " AND t.%s = $%d", table->workspace, next ? n + 1 : 1);
	appendStringInfo(&sql, " ORDER BY %s LIMIT " ROWS_OF_SLICE_TEXT, keys.data);
	plan->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	return plan;
}

static uint64
read_slice(const KsReconcile *r, Snapshot snapshot)
{
	KsArgs		args = {0};

	for (int i = 0; r->begun && i < r->nlast; i++)
		ks_arg_datum(&args, true, r->last_types[i], r->last[i]);
	if (r->of_workspace)
		ks_arg_uuid(&args, r->workspace);
	return ks_spi_read_at(plan_of(r, r->table, r->begun), &args, snapshot);
}

/* Remembers where the slice ends. */
static void
set_last(KsReconcile *r, const KsRowTable *table, TupleDesc desc, HeapTuple row)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	for (int i = 0; r->begun && i < r->nlast; i++)
	{
		if (!r->last_byval[i])
			pfree(DatumGetPointer(r->last[i]));
	}
	r->begun = false;
	for (r->nlast = 0; table->keys[r->nlast] != NULL; r->nlast++)
	{
		int			column = ks_row_column(desc, table->keys[r->nlast]);
		Form_pg_attribute att = TupleDescAttr(desc, column - 1);
		bool		isnull;
		Datum		value = heap_getattr(row, column, desc, &isnull);

		r->last[r->nlast] = datumCopy(value, att->attbyval, att->attlen);
		r->last_types[r->nlast] = att->atttypid;
		r->last_byval[r->nlast] = att->attbyval;
	}
	r->begun = true;
	MemoryContextSwitchTo(old);
}

/* A value of a type that keys have; no function of another one runs. */
static void
append_value(StringInfo to, TupleDesc desc, HeapTuple row, int column)
{
	char		uuid[37];
	bool		isnull;
	Datum		value = heap_getattr(row, column, desc, &isnull);

	switch (isnull ? InvalidOid : TupleDescAttr(desc, column - 1)->atttypid)
	{
		case UUIDOID:
			ks_text_from_uuid(DatumGetUUIDP(value)->data, uuid);
			appendStringInfoString(to, uuid);
			break;
		case TEXTOID:
			appendStringInfoString(to, TextDatumGetCString(value));
			break;
		case NAMEOID:
			appendStringInfoString(to, NameStr(*DatumGetName(value)));
			break;
		case INT4OID:
			appendStringInfo(to, "%d", DatumGetInt32(value));
			break;
		case TIMESTAMPTZOID:
			appendStringInfoString(to, timestamptz_to_str(DatumGetTimestampTz(value)));
			break;
		default:
			break;
	}
}

/* Table and primary key, for people. */
static const char *
name_of(const KsRowTable *table, TupleDesc desc, HeapTuple row)
{
	StringInfoData name;

	initStringInfo(&name);
	appendStringInfoString(&name, table->name);
	for (int i = 0; table->keys[i] != NULL; i++)
	{
		appendStringInfoChar(&name, i > 0 ? '/' : ' ');
		append_value(&name, desc, row, ks_row_column(desc, table->keys[i]));
	}
	return name.data;
}

static bool
get_id(TupleDesc desc, HeapTuple row, const char *name, uint8 id[KS_ID_LEN])
{
	int			column = name != NULL ? ks_row_column(desc, name) : 0;
	bool		isnull = true;
	Datum		value = column > 0 ? heap_getattr(row, column, desc, &isnull) : (Datum) 0;

	if (!isnull)
		memcpy(id, DatumGetUUIDP(value)->data, KS_ID_LEN);
	return !isnull;
}

/* Errors that say something of a row, not of the moment. */
static bool
is_damage(int sqlstate)
{
	return sqlstate == ERRCODE_DATA_CORRUPTED || sqlstate == ERRCODE_INDEX_CORRUPTED ||
		sqlstate == ERRCODE_UNDEFINED_FILE || sqlstate == ERRCODE_IO_ERROR || sqlstate == ERRCODE_INTERNAL_ERROR;
}

/*
 * The digest of a row; zeros when its values out of line cannot be read: one
 * bad row stays one bad row.
 */
static void
digest_row(const KsReconcile *r, const KsRowTable *table, TupleDesc desc, HeapTuple row, uint8 digest[KS_DIGEST_LEN])
{
	ResourceOwner owner = CurrentResourceOwner;

	if (!HeapTupleHasExternal(row))
	{
		ks_row_digest(table, desc, row, digest);
		return;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(r->row_context);
	PG_TRY();
	{
		ks_row_digest(table, desc, row, digest);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(r->row_context);
		if (!is_damage(geterrcode()))
			PG_RE_THROW();
		RollbackAndReleaseCurrentSubTransaction();
		FlushErrorState();
		memset(digest, 0, KS_DIGEST_LEN);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(r->row_context);
	CurrentResourceOwner = owner;
}

static const char *
describe(const RowState *expected, const uint8 digest[KS_DIGEST_LEN])
{
	if (memcmp(digest, nothing, KS_DIGEST_LEN) == 0)
		return "the row cannot be read";
	if (expected == NULL)
		return "no entry of the log says that the row is there";
	if (memcmp(expected->digest, nothing, KS_ROW_BEFORE_LEN) == 0)
		return "the row is there, and the log says that it is gone";
	if (expected->seq < 0)
		return "the row is not the one that the last change left";
	return psprintf("the row is not the one that entry " INT64_FORMAT " left", expected->seq);
}

static void
compare_row(KsReconcile *r, const KsRowTable *table, TupleDesc desc, HeapTuple row)
{
	KsDiscrepancy discrepancy = {.kind = KS_ROW_DIFFERS, .table = table->code};
	uint8		digest[KS_DIGEST_LEN];
	RowKey		key;
	RowState   *state;
	RowState   *pending;
	const RowState *expected;

	ks_row_key(table, desc, row, key.bytes);
	digest_row(r, table, desc, row, digest);
	state = rows_lookup(r->rows, key);
	if (state != NULL)
		state->seen = r->round;
	pending = rows_lookup(r->pending, key);
	if (pending != NULL)
		pending->seen = r->round;
	expected = pending != NULL ? pending : state;
	r->compared++;
	if (expected == NULL && r->pruned)
	{
		r->uncovered++;
		return;
	}
	if (expected != NULL && memcmp(expected->digest, digest, KS_ROW_BEFORE_LEN) == 0)
		return;
	memcpy(discrepancy.key, key.bytes, KS_ROW_KEY_LEN);
	memcpy(discrepancy.found, digest, KS_ROW_BEFORE_LEN);
	discrepancy.has_workspace = get_id(desc, row, table->workspace, discrepancy.workspace);
	discrepancy.has_credential = get_id(desc, row, table->credential, discrepancy.credential);
	discrepancy.problem = psprintf("%s: %s", name_of(table, desc, row), describe(expected, digest));
	tell(r, &discrepancy);
}

/* Returns whether the table is over. */
static bool
compare_slice(KsReconcile *r, const KsRowTable *table, Snapshot snapshot)
{
	TupleDesc	desc = NULL;
	HeapTuple	row = NULL;
	KsSpi		spi;
	uint64		n;

	ks_spi_begin(&spi);
	n = read_slice(r, snapshot);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(r->row_context);

		row = ks_spi_row(i, &desc);
		compare_row(r, table, desc, row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(r->row_context);
		CHECK_FOR_INTERRUPTS();
	}
	if (n > 0)
		set_last(r, table, desc, row);
	ks_spi_end(&spi);
	return n < ROWS_OF_SLICE;
}

/* Workspace and object of the entry or the row of the outbox that a state is
 * of; zeros when it cannot be read. */
static void
read_ids(const RowState *state, Snapshot snapshot, uint8 workspace[KS_ID_LEN], uint8 object[KS_ID_LEN])
{
	static KsPlan logged = {.sql = "SELECT entry FROM keystone_private.audit_entries WHERE seq = $1"};
	static KsPlan pending = {.sql = "SELECT body FROM keystone_private.audit_outbox WHERE id = $1"};
	bool		is_logged = state->seq >= 0;
	KsArgs		args = {0};
	KsSpi		spi;
	KsEntry		entry;
	KsEvent		event;
	size_t		len = 0;
	uint8	   *bytes = NULL;

	memset(workspace, 0, KS_ID_LEN);
	memset(object, 0, KS_ID_LEN);
	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, is_logged ? state->seq : -state->seq);
	if (ks_spi_read_at(is_logged ? &logged : &pending, &args, snapshot) == 1)
		bytes = ks_col_bytes(&spi, 0, 1, &len);
	if (bytes != NULL && is_logged && ks_entry_decode(bytes, len, &entry))
	{
		memcpy(workspace, entry.workspace, KS_ID_LEN);
		memcpy(object, entry.object, KS_ID_LEN);
	}
	else if (bytes != NULL && !is_logged && ks_event_unpack(bytes, len, &event))
	{
		memcpy(workspace, event.workspace, KS_ID_LEN);
		memcpy(object, event.object, KS_ID_LEN);
	}
	ks_spi_end(&spi);
}

static void
tell_missing(KsReconcile *r, const RowState *state, Snapshot snapshot, bool named)
{
	KsDiscrepancy discrepancy = {.kind = KS_ROW_DIFFERS, .table = state->table};
	uint8		workspace[KS_ID_LEN] = {0};
	uint8		object[KS_ID_LEN] = {0};
	const char *name;

	if (named)
		read_ids(state, snapshot, workspace, object);
	memcpy(discrepancy.key, state->key.bytes, KS_ROW_KEY_LEN);
	name = fill_from_entry(&discrepancy, workspace, object);
	discrepancy.problem = state->seq < 0 ? psprintf("%s: the row that the last change left is missing", name) :
		psprintf("%s: the row that entry " INT64_FORMAT " left is missing", name, state->seq);
	tell(r, &discrepancy);
}

/* Whether a state is of a row that the round should have met, and has not. */
static bool
is_missing(const KsReconcile *r, const RowState *state)
{
	return state->seen != r->round && state->born != r->round &&
		memcmp(state->digest, nothing, KS_ROW_BEFORE_LEN) != 0 && is_covered(r, ks_row_table_of(state->table));
}

/*
 * Those of one table: the log's without what the outbox knows better, or the
 * outbox's.  A row of which both speak was met, and came, when either says so.
 */
static void
find_missing_of(KsReconcile *r, Snapshot snapshot, rows_hash * table, int *n)
{
	rows_hash  *other = table == r->rows ? r->pending : r->rows;
	rows_iterator iterator;
	RowState   *state;
	int			met = 0;

	rows_start_iterate(table, &iterator);
	while ((state = rows_iterate(table, &iterator)) != NULL)
	{
		const RowState *also = rows_lookup(other, state->key);

		if (++met % INTERRUPT_EVERY == 0)
			CHECK_FOR_INTERRUPTS();
		if (!is_missing(r, state) ||
			(also != NULL && (table == r->rows || !is_missing(r, also))))
			continue;
		tell_missing(r, state, snapshot, r->of_workspace || *n < MISSING_NAMED);
		MemoryContextReset(r->row_context);
		(*n)++;
	}
}

/* Rows that the log or the outbox has and that the round has not met. */
static void
find_missing(KsReconcile *r, Snapshot snapshot)
{
	MemoryContext old = MemoryContextSwitchTo(r->row_context);
	int			n = 0;

	find_missing_of(r, snapshot, r->rows, &n);
	find_missing_of(r, snapshot, r->pending, &n);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
}

/* Before an update of the extension a table may not be there yet.  One that was
 * dropped is all missing rows. */
static bool
is_there(const KsRowTable *table)
{
	return OidIsValid(get_relname_relid(table->name, get_namespace_oid(table->schema, true)));
}

void
ks_reconcile_begin_round(KsReconcile *r)
{
	r->round++;
	r->table = 0;
	r->begun = false;
	r->compared = r->uncovered = 0;
	tell_still_broken(r);
}

bool
ks_reconcile_compare(KsReconcile *r, Snapshot snapshot)
{
	int			ntables;
	const KsRowTable *tables = ks_row_tables(&ntables);

	while (r->table < ntables && (!is_covered(r, &tables[r->table]) || !is_there(&tables[r->table])))
		r->table++;
	if (r->table == ntables)
	{
		find_missing(r, snapshot);
		settle_others(r);
		return true;
	}
	if (compare_slice(r, &tables[r->table], snapshot))
	{
		r->table++;
		r->begun = false;
	}
	return false;
}
