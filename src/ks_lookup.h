/*-------------------------------------------------------------------------
 *
 * ks_lookup.h
 *	  Rows of Keystone's own tables by an index, without the executor.
 *
 * For what every reveal does: starting and ending a query costs several times
 * as much as what it looks up.  No privileges and no policies take part, as
 * for a query that runs as the owner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LOOKUP_H
#define KS_LOOKUP_H

#include "keystone.h"

#include "access/genam.h"
#include "access/skey.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define KS_LOOKUP_KEYS		4
#define KS_LOOKUP_COLUMNS	32

/* A table and one of its indexes; declare it static. */
typedef struct KsIndex
{
	const char *schema;
	const char *table;
	const char *index;
	Oid			table_oid;		/* as found last */
	Oid			index_oid;
	uint64		found_at;		/* count of invalidations then */
} KsIndex;

typedef struct KsLookup
{
	Relation	rel;
	Oid			index;
	Snapshot	snapshot;
	SysScanDesc scan;			/* NULL until the first row is asked for */
	int			nkeys;
	ScanKeyData keys[KS_LOOKUP_KEYS];
	HeapTuple	tuple;			/* the row */
	Datum		values[KS_LOOKUP_COLUMNS];
	bool		nulls[KS_LOOKUP_COLUMNS];
} KsLookup;

/* Begins a look-up in a table by one of its indexes; AccessShareLock until
 * the transaction ends. */
extern void ks_lookup_begin(KsLookup *lookup, KsIndex *index, Snapshot snapshot);

/* Add what a column, by its number, must equal: leading columns of the index. */
extern void ks_lookup_by_uuid(KsLookup *lookup, int column, const uint8 uuid[KS_ID_LEN]);
extern void ks_lookup_by_int(KsLookup *lookup, int column, int32 value);
extern void ks_lookup_by_text(KsLookup *lookup, int column, const char *text);

/* How many invalidations of relations this backend has seen, for caches of
 * what is cheap to read again: a backend can have ten callbacks in all. */
extern uint64 ks_lookup_invalidations(void);

extern bool ks_lookup_next(KsLookup *lookup);
extern void ks_lookup_end(KsLookup *lookup);

/* Columns of the row.  Pointers are palloc'd copies; NULL or false for NULL. */
extern bool ks_lookup_uuid(const KsLookup *lookup, int column, uint8 uuid[KS_ID_LEN]);
extern bool ks_lookup_int(const KsLookup *lookup, int column, int32 *value);
extern bool ks_lookup_bigint(const KsLookup *lookup, int column, int64 *value);
extern bool ks_lookup_time(const KsLookup *lookup, int column, TimestampTz *value);
extern bool ks_lookup_bool(const KsLookup *lookup, int column);
extern char *ks_lookup_text(const KsLookup *lookup, int column);
extern uint8 *ks_lookup_bytes(const KsLookup *lookup, int column, size_t *len);

/* Whether this transaction wrote the row. */
extern bool ks_lookup_own(const KsLookup *lookup);

#endif							/* KS_LOOKUP_H */
