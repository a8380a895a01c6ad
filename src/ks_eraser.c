/*-------------------------------------------------------------------------
 *
 * ks_eraser.c
 *	  Removing details from the audit log.
 *
 * The removal is part of the transaction that appends the entry log.erase, so
 * that neither is there without the other.
 *
 * Whoever asked has looked at the entries.  Here they are looked at once more:
 * what is erased can never be compared with its commitment again, so that a
 * detail that somebody has changed must not go, nor what must stay of it be
 * replaced by something else.
 *
 * A row is updated past the executor, like all that is written here: no
 * trigger or rule takes part.  ks_bulk has refused indexes that run somebody's
 * code.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ks_erase.h"
#include "ks_eraser.h"
#include "ks_logrow.h"

/* Whether the event keeps of a detail what must stay, and nothing else. */
static bool
keeps_what_stays(const KsEvent *event, const KsLogRow *row)
{
	for (int i = 0; i < KS_KEPT_KEYS; i++)
	{
		char		key[KS_KEPT_KEY_MAX];
		size_t		len;
		size_t		kept_len;
		const char *value = ks_erase_kept(&row->entry, !row->nulls[KS_LOG_ACTOR], row->detail, row->detail_len,
										  ks_kept_keys[i], &len);
		const char *kept;

		ks_erase_key(key, ks_kept_keys[i], row->seq);
		kept = ks_detail_find(event->detail, event->detail_len, key, &kept_len);
		if ((value == NULL) != (kept == NULL) ||
			(value != NULL && (len != kept_len || memcmp(value, kept, len) != 0)))
			return false;
	}
	return true;
}

/* Whether a row may be erased, or is already. */
static bool
is_erasable(const KsEvent *event, KsScan *scan, Snapshot snapshot, int64 seq)
{
	KsFinding	finding = {.problem = NULL};
	KsLogRow	row;
	bool		erasable;

	erasable = ks_logrow_fetch(scan, snapshot, seq, &row) && ks_logrow_decode(&finding, &row) &&
		ks_erase_may(row.entry.kind) && row.entry.has_commitment;
	if (erasable && row.detail == NULL)
		erasable = !row.nulls[KS_LOG_ERASED_IN];
	else if (erasable)
		erasable = ks_logrow_detail(&finding, &row) && keeps_what_stays(event, &row);
	ks_scan_end(scan);
	return erasable;
}

/* Whether all that an event names may be. */
static bool
are_erasable(const KsEvent *event, KsScan *scan, Snapshot snapshot)
{
	KsSeqReader reader;
	int64		seq;

	ks_erase_read(&reader, event->detail, event->detail_len);
	while (ks_erase_next(&reader, &seq))
	{
		if (!is_erasable(event, scan, snapshot, seq))
			return false;
	}
	return !reader.broken;
}

static void
erase_row(Relation rel, KsScan *scan, Snapshot snapshot, int64 seq, int64 erased_in)
{
	Datum		values[KS_LOG_COLUMNS] = {0};
	bool		nulls[KS_LOG_COLUMNS] = {false};
	bool		replaces[KS_LOG_COLUMNS] = {false};
	KsLogRow	row;

	if (ks_logrow_fetch(scan, snapshot, seq, &row) && row.detail != NULL)
	{
		HeapTuple	erased;

		nulls[KS_LOG_SALT] = nulls[KS_LOG_DETAIL] = true;
		values[KS_LOG_ERASED_IN] = Int64GetDatum(erased_in);
		replaces[KS_LOG_SALT] = replaces[KS_LOG_DETAIL] = replaces[KS_LOG_ERASED_IN] = true;
		erased = heap_modify_tuple(scan->tuple, RelationGetDescr(rel), values, nulls, replaces);
		CatalogTupleUpdate(rel, &scan->tuple->t_self, erased);
		heap_freetuple(erased);
	}
	ks_scan_end(scan);
}

bool
ks_eraser_run(const KsEvent *event, int64 erased_in)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	KsSeqReader reader;
	KsScan		scan;
	Relation	rel;
	int64		seq;
	bool		erasable = ks_scan_open(&scan, "audit_entries", KS_LOG_COLUMN_NAMES) &&
	are_erasable(event, &scan, snapshot);

	if (erasable)
	{
		rel = table_open(RelationGetRelid(scan.rel), RowExclusiveLock);
		ks_erase_read(&reader, event->detail, event->detail_len);
		while (ks_erase_next(&reader, &seq))
			erase_row(rel, &scan, snapshot, seq, erased_in);
		table_close(rel, NoLock);
		/* the next event may name the same entries */
		CommandCounterIncrement();
	}
	else
		ereport(LOG,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("keystone: details of the audit log were not erased: an entry is not what it was"),
				errhint("Run keystone.audit_verify()."));
	ks_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	return erasable;
}
