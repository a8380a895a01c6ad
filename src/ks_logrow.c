/*-------------------------------------------------------------------------
 *
 * ks_logrow.c
 *	  Tables of the audit log read row by row, without SQL, and what a row of
 *	  audit_entries says against its bytes.
 *
 * Rows are read through the primary keys.  Neither privileges nor policies
 * take part: the caller has settled who may see what.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_action.h"
#include "ks_logrow.h"
#include "ks_text.h"

#define UUID_TEXT_LEN	36

bool
ks_finding(KsFinding *finding, int64 seq, const char *format,...)
{
	StringInfoData text;

	if (finding->problem != NULL)
		return false;
	initStringInfo(&text);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	finding->seq = seq;
	finding->problem = text.data;
	return false;
}

/* Scans. */

static bool
has_columns(Relation rel, const char *columns)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(rel), i);

		appendStringInfo(&names, "%s%s", i > 0 ? "," : "", NameStr(column->attname));
	}
	return strcmp(names.data, columns) == 0;
}

bool
ks_scan_open(KsScan *scan, const char *table, const char *columns)
{
	Oid			namespace = get_namespace_oid("keystone_private", true);
	Oid			oid = get_relname_relid(table, namespace);
	Oid			index = get_relname_relid(psprintf("%s_pkey", table), namespace);

	memset(scan, 0, sizeof(*scan));
	if (!OidIsValid(oid) || !OidIsValid(index) || get_rel_relkind(index) != RELKIND_INDEX ||
		get_rel_relkind(oid) != RELKIND_RELATION)
		return false;
	scan->rel = table_open(oid, AccessShareLock);
	scan->index = index_open(index, AccessShareLock);
	return has_columns(scan->rel, columns) && scan->index->rd_index->indisvalid &&
		scan->index->rd_index->indrelid == oid;
}

void
ks_scan_end(KsScan *scan)
{
	if (scan->scan != NULL)
		systable_endscan_ordered(scan->scan);
	scan->scan = NULL;
}

void
ks_scan_close(KsScan *scan)
{
	ks_scan_end(scan);
	if (scan->index != NULL)
		index_close(scan->index, AccessShareLock);
	if (scan->rel != NULL)
		table_close(scan->rel, AccessShareLock);
	scan->index = NULL;
	scan->rel = NULL;
}

void
ks_scan_begin(KsScan *scan, Snapshot snapshot, ScanKey keys, int nkeys)
{
	ks_scan_end(scan);
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index, snapshot, nkeys, keys);
}

bool
ks_scan_next(KsScan *scan, Datum *values, bool *nulls)
{
	HeapTuple	tuple = scan->scan != NULL ?
	systable_getnext_ordered(scan->scan, ForwardScanDirection) : NULL;

	scan->tuple = tuple;
	if (!HeapTupleIsValid(tuple))
		return false;
	heap_deform_tuple(tuple, RelationGetDescr(scan->rel), values, nulls);
	return true;
}

const uint8 *
ks_scan_bytes(const Datum *values, const bool *nulls, int column, int len, size_t *got)
{
	bytea	   *bytes;

	if (nulls[column])
		return NULL;
	bytes = DatumGetByteaPP(values[column]);
	*got = VARSIZE_ANY_EXHDR(bytes);
	return len < 0 || *got == (size_t) len ? (const uint8 *) VARDATA_ANY(bytes) : NULL;
}

/* Rows of audit_entries. */

bool
ks_logrow_next(KsScan *scan, KsLogRow *row)
{
	if (!ks_scan_next(scan, row->values, row->nulls))
		return false;
	row->seq = row->nulls[KS_LOG_SEQ] ? 0 : DatumGetInt64(row->values[KS_LOG_SEQ]);
	row->bytes = ks_scan_bytes(row->values, row->nulls, KS_LOG_ENTRY, -1, &row->len);
	row->detail = ks_scan_bytes(row->values, row->nulls, KS_LOG_DETAIL, -1, &row->detail_len);
	row->erasure = NULL;
	row->erasure_len = 0;
	return true;
}

bool
ks_logrow_fetch(KsScan *scan, Snapshot snapshot, int64 seq, KsLogRow *row)
{
	ScanKeyData key;

	ScanKeyInit(&key, KS_LOG_SEQ + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	ks_scan_begin(scan, snapshot, &key, 1);
	return ks_logrow_next(scan, row);
}

bool
ks_logrow_decode(KsFinding *finding, KsLogRow *row)
{
	if (row->bytes == NULL || !ks_entry_decode(row->bytes, row->len, &row->entry))
		return ks_finding(finding, row->seq, "the entry is not in the format");
	if (ks_leaf_hash(row->bytes, row->len, &row->leaf) != KS_CRYPTO_OK)
		return ks_finding(finding, row->seq, "a hash could not be computed");
	return true;
}

static bool
equals_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* NULL stands for the nil uuid. */
static bool
equals_id(const KsLogRow *row, int column, const uint8 *id)
{
	static const uint8 nil[KS_ID_LEN];

	if (row->nulls[column])
		return memcmp(id, nil, KS_ID_LEN) == 0;
	return memcmp(DatumGetUUIDP(row->values[column])->data, id, KS_ID_LEN) == 0 &&
		memcmp(id, nil, KS_ID_LEN) != 0;
}

/* Whether a column has the uuid that a text is; NULL where it is none. */
static bool
equals_uuid_text(const KsLogRow *row, int column, const char *text, size_t len)
{
	char		uuid[UUID_TEXT_LEN + 1];
	uint8		id[KS_ID_LEN];

	if (row->nulls[column])
	{
		if (len != UUID_TEXT_LEN)
			return true;
		memcpy(uuid, text, len);
		uuid[len] = '\0';
		return !ks_text_uuid(uuid, id);
	}
	ks_text_from_uuid(DatumGetUUIDP(row->values[column])->data, uuid);
	return equals_text(uuid, UUID_TEXT_LEN, text, len);
}

static bool
equals_column_text(const KsLogRow *row, int column, const char *text, size_t len)
{
	struct varlena *value;

	if (row->nulls[column])
		return false;
	value = PG_DETOAST_DATUM_PACKED(row->values[column]);
	return equals_text(text, len, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

const char *
ks_logrow_find(const KsLogRow *row, const char *key, size_t *len)
{
	char		kept[KS_KEPT_KEY_MAX];

	*len = 0;
	if (row->detail != NULL)
		return ks_detail_find(row->detail, row->detail_len, key, len);
	if (row->erasure == NULL)
		return NULL;
	ks_erase_key(kept, key, row->seq);
	return ks_detail_find(row->erasure, row->erasure_len, kept, len);
}

bool
ks_logrow_says(const KsLogRow *row, const char *key, const char *value)
{
	size_t		len;
	const char *found = ks_logrow_find(row, key, &len);

	return found != NULL && equals_text(found, len, value, strlen(value));
}

bool
ks_logrow_says_number(const KsLogRow *row, const char *key, int64 value)
{
	char		text[32];

	snprintf(text, sizeof(text), INT64_FORMAT, value);
	if (ks_logrow_says(row, key, text))
		return true;
	snprintf(text, sizeof(text), UINT64_FORMAT, (uint64) value);
	return ks_logrow_says(row, key, text);
}

/* A role may have a name that looks like a principal's id; the detail says so. */
static bool
names_actor(const KsLogRow *row)
{
	const char *role;
	size_t		len;

	if (equals_uuid_text(row, KS_LOG_ACTOR, row->entry.actor, row->entry.actor_len))
		return true;
	role = ks_logrow_find(row, "session_user", &len);
	return row->nulls[KS_LOG_ACTOR] && role != NULL &&
		equals_text(role, len, row->entry.actor, row->entry.actor_len);
}

/* Entries about audited tables; others may name a table of Keystone's. */
static bool
is_of_table(uint16 kind)
{
	return kind >= KS_ACTION_TABLE_INSERT && kind <= KS_ACTION_TABLE_UNAUDIT;
}

bool
ks_logrow_lookups(KsFinding *finding, const KsLogRow *row)
{
	const KsEntry *entry = &row->entry;
	const char *text;
	size_t		len;

	if (row->nulls[KS_LOG_AT] ||
		DatumGetTimestampTz(row->values[KS_LOG_AT]) != entry->time - KS_UNIX_EPOCH_OFFSET)
		return ks_finding(finding, row->seq, "column at differs from the entry");
	if (row->nulls[KS_LOG_KIND] || DatumGetInt32(row->values[KS_LOG_KIND]) != entry->kind)
		return ks_finding(finding, row->seq, "column kind differs from the entry");
	if (!equals_id(row, KS_LOG_WORKSPACE, entry->workspace))
		return ks_finding(finding, row->seq, "column workspace_id differs from the entry");
	if (!equals_id(row, KS_LOG_OBJECT, entry->object))
		return ks_finding(finding, row->seq, "column object_id differs from the entry");
	if (!names_actor(row))
		return ks_finding(finding, row->seq, "column actor_id differs from the entry");
	text = ks_logrow_find(row, "owner", &len);
	if (text == NULL ? !row->nulls[KS_LOG_OWNER] : !equals_uuid_text(row, KS_LOG_OWNER, text, len))
		return ks_finding(finding, row->seq, "column owner differs from the detail");
	text = is_of_table(entry->kind) ? ks_logrow_find(row, "table_id", &len) : NULL;
	if (text == NULL ? !row->nulls[KS_LOG_RELATION] : !equals_column_text(row, KS_LOG_RELATION, text, len))
		return ks_finding(finding, row->seq, "column relation differs from the detail");
	return true;
}

bool
ks_logrow_detail(KsFinding *finding, const KsLogRow *row)
{
	KsDetailReader reader;
	uint8		commitment[KS_DIGEST_LEN];
	size_t		len;
	const uint8 *salt = ks_scan_bytes(row->values, row->nulls, KS_LOG_SALT, KS_SALT_LEN, &len);

	if (!row->entry.has_commitment)
	{
		if (row->detail != NULL || !row->nulls[KS_LOG_SALT] || !row->nulls[KS_LOG_ERASED_IN])
			return ks_finding(finding, row->seq, "there is a detail to which the entry does not commit");
		return true;
	}
	if (row->erasure != NULL)
		return true;
	if (row->detail == NULL)
		return ks_finding(finding, row->seq, "the detail is missing");
	if (salt == NULL)
		return ks_finding(finding, row->seq, "the salt of the detail is missing");
	if (!row->nulls[KS_LOG_ERASED_IN])
		return ks_finding(finding, row->seq, "the detail is there, but marked as erased");
	if (ks_detail_commitment(salt, row->detail, row->detail_len, commitment) != KS_CRYPTO_OK ||
		memcmp(commitment, row->entry.commitment, KS_DIGEST_LEN) != 0)
		return ks_finding(finding, row->seq, "the detail or its salt differs from what the entry commits to");
	ks_detail_read(&reader, row->detail, row->detail_len);
	while (ks_detail_next(&reader))
		;
	if (reader.broken)
		return ks_finding(finding, row->seq, "the detail is not in the format");
	return true;
}

/* Erased details. */

void
ks_erasures_begin(KsErasures *erasures, Snapshot snapshot)
{
	memset(erasures, 0, offsetof(KsErasures, detail));
	erasures->snapshot = snapshot;
}

void
ks_erasures_end(KsErasures *erasures)
{
	ks_scan_close(&erasures->scan);
	erasures->opened = false;
}

/* Where entries are looked up; false when the table was altered. */
static bool
open_erasures(KsErasures *erasures)
{
	if (erasures->opened)
		return true;
	erasures->opened = ks_scan_open(&erasures->scan, "audit_entries", KS_LOG_COLUMN_NAMES);
	if (!erasures->opened)
		ks_scan_close(&erasures->scan);
	return erasures->opened;
}

bool
ks_erasures_is_one(const KsLogRow *row)
{
	return row->entry.kind == KS_ACTION_LOG_ERASE && row->entry.outcome == KS_OUTCOME_OK;
}

/* Looks up the entry that has erased something. */
static void
load_erasure(KsErasures *erasures, int64 seq)
{
	KsFinding	ignored = {.problem = NULL};
	KsLogRow	row;

	if (erasures->seq == seq)
		return;
	erasures->seq = seq;
	erasures->found = ks_logrow_fetch(&erasures->scan, erasures->snapshot, seq, &row) &&
		ks_logrow_decode(&ignored, &row) && ks_erasures_is_one(&row) &&
		ks_logrow_detail(&ignored, &row) && row.detail != NULL;
	if (erasures->found)
	{
		erasures->len = row.detail_len;
		memcpy(erasures->detail, row.detail, row.detail_len);
	}
	ks_scan_end(&erasures->scan);
}

bool
ks_erasures_find(KsErasures *erasures, KsFinding *finding, KsLogRow *row)
{
	int64		seq = row->nulls[KS_LOG_ERASED_IN] ? 0 : DatumGetInt64(row->values[KS_LOG_ERASED_IN]);

	if (seq == 0)
		return ks_finding(finding, row->seq, "the detail is missing");
	if (!row->nulls[KS_LOG_SALT])
		return ks_finding(finding, row->seq, "the detail was erased, and its salt was not");
	if (seq <= row->seq || !ks_erase_may(row->entry.kind) || !open_erasures(erasures))
		return ks_finding(finding, row->seq, "the detail is missing, and was not erased");
	load_erasure(erasures, seq);
	if (!erasures->found || !ks_erase_names(erasures->detail, erasures->len, row->seq))
		return ks_finding(finding, row->seq, "the detail is missing: entry " INT64_FORMAT " has not erased it", seq);
	row->erasure = erasures->detail;
	row->erasure_len = erasures->len;
	return true;
}

bool
ks_erasures_judge(KsErasures *erasures, KsFinding *finding, const KsLogRow *row)
{
	KsSeqReader reader;
	KsLogRow	erased;
	int64		seq;
	bool		gone = true;

	if (!open_erasures(erasures))
		return ks_finding(finding, row->seq, "table audit_entries was altered");
	ks_erase_read(&reader, row->detail, row->detail_len);
	while (gone && ks_erase_next(&reader, &seq))
	{
		/* One that is missing is found where it should be. */
		gone = !ks_logrow_fetch(&erasures->scan, erasures->snapshot, seq, &erased) || erased.detail == NULL;
		ks_scan_end(&erasures->scan);
	}
	if (!gone)
		return ks_finding(finding, seq, "the detail is there again, which entry " INT64_FORMAT " has erased", row->seq);
	if (reader.broken || row->detail == NULL)
		return ks_finding(finding, row->seq, "the entry does not say whose details it has erased");
	return true;
}
