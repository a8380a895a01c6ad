/*-------------------------------------------------------------------------
 *
 * ks_lookup.c
 *	  Rows of Keystone's own tables by an index, without the executor.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "ks_error.h"
#include "ks_inval.h"
#include "ks_lookup.h"

/* Counts invalidations. */
static uint64 invalidations = 1;

static Oid
find_relation(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			oid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;

	if (!OidIsValid(oid))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("relation %s.%s does not exist", schema, name),
				errhint("Extension keystone is not installed in this database, or damaged."));
	return oid;
}

static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	(void) relid;
	invalidations++;
}

uint64
ks_lookup_invalidations(void)
{
	static bool registered = false;

	if (!registered)
	{
		ks_inval_register(relcache_changed);
		registered = true;
	}
	return invalidations;
}

/* Looks the names up once, and again after anything was changed. */
static void
find_index(KsIndex *index)
{
	/* Noted before looking: an invalidation that arrives meanwhile counts. */
	uint64		seen = ks_lookup_invalidations();

	if (index->found_at == seen)
		return;
	index->table_oid = find_relation(index->schema, index->table);
	index->index_oid = find_relation(index->schema, index->index);
	index->found_at = seen;
}

void
ks_lookup_begin(KsLookup *lookup, KsIndex *index, Snapshot snapshot)
{
	AcceptInvalidationMessages();
	find_index(index);
	lookup->rel = table_open(index->table_oid, AccessShareLock);
	lookup->index = index->index_oid;
	lookup->snapshot = snapshot;
	lookup->scan = NULL;
	lookup->nkeys = 0;
	if (RelationGetDescr(lookup->rel)->natts > KS_LOOKUP_COLUMNS)
		elog(ERROR, "a table of Keystone has too many columns");
}

static void
add_key(KsLookup *lookup, int column, RegProcedure equal, Datum value)
{
	Assert(lookup->nkeys < KS_LOOKUP_KEYS);
	ScanKeyEntryInitialize(&lookup->keys[lookup->nkeys++], 0, (AttrNumber) column, BTEqualStrategyNumber,
						   InvalidOid, TupleDescAttr(RelationGetDescr(lookup->rel), column - 1)->attcollation,
						   equal, value);
}

void
ks_lookup_by_uuid(KsLookup *lookup, int column, const uint8 uuid[KS_ID_LEN])
{
	pg_uuid_t  *copy = palloc(sizeof(pg_uuid_t));

	memcpy(copy->data, uuid, KS_ID_LEN);
	add_key(lookup, column, F_UUID_EQ, UUIDPGetDatum(copy));
}

void
ks_lookup_by_int(KsLookup *lookup, int column, int32 value)
{
	add_key(lookup, column, F_INT4EQ, Int32GetDatum(value));
}

void
ks_lookup_by_text(KsLookup *lookup, int column, const char *text)
{
	add_key(lookup, column, F_TEXTEQ, CStringGetTextDatum(text));
}

bool
ks_lookup_next(KsLookup *lookup)
{
	if (lookup->scan == NULL)
		lookup->scan = systable_beginscan(lookup->rel, lookup->index, true, lookup->snapshot,
										  lookup->nkeys, lookup->keys);
	lookup->tuple = systable_getnext(lookup->scan);
	if (!HeapTupleIsValid(lookup->tuple))
		return false;
	heap_deform_tuple(lookup->tuple, RelationGetDescr(lookup->rel), lookup->values, lookup->nulls);
	return true;
}

void
ks_lookup_end(KsLookup *lookup)
{
	if (lookup->scan != NULL)
		systable_endscan(lookup->scan);
	table_close(lookup->rel, NoLock);
}

bool
ks_lookup_uuid(const KsLookup *lookup, int column, uint8 uuid[KS_ID_LEN])
{
	if (lookup->nulls[column - 1])
		return false;
	memcpy(uuid, DatumGetUUIDP(lookup->values[column - 1])->data, KS_ID_LEN);
	return true;
}

bool
ks_lookup_int(const KsLookup *lookup, int column, int32 *value)
{
	*value = lookup->nulls[column - 1] ? 0 : DatumGetInt32(lookup->values[column - 1]);
	return !lookup->nulls[column - 1];
}

bool
ks_lookup_bigint(const KsLookup *lookup, int column, int64 *value)
{
	*value = lookup->nulls[column - 1] ? 0 : DatumGetInt64(lookup->values[column - 1]);
	return !lookup->nulls[column - 1];
}

bool
ks_lookup_time(const KsLookup *lookup, int column, TimestampTz *value)
{
	*value = lookup->nulls[column - 1] ? 0 : DatumGetTimestampTz(lookup->values[column - 1]);
	return !lookup->nulls[column - 1];
}

bool
ks_lookup_bool(const KsLookup *lookup, int column)
{
	return !lookup->nulls[column - 1] && DatumGetBool(lookup->values[column - 1]);
}

char *
ks_lookup_text(const KsLookup *lookup, int column)
{
	return lookup->nulls[column - 1] ? NULL : TextDatumGetCString(lookup->values[column - 1]);
}

uint8 *
ks_lookup_bytes(const KsLookup *lookup, int column, size_t *len)
{
	bytea	   *bytes;
	uint8	   *copy;

	if (lookup->nulls[column - 1])
		return NULL;
	bytes = DatumGetByteaPP(lookup->values[column - 1]);
	*len = VARSIZE_ANY_EXHDR(bytes);
	copy = palloc(Max(*len, 1));
	memcpy(copy, VARDATA_ANY(bytes), *len);
	return copy;
}

bool
ks_lookup_own(const KsLookup *lookup)
{
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(lookup->tuple->t_data));
}
