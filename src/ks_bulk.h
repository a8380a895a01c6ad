/*-------------------------------------------------------------------------
 *
 * ks_bulk.h
 *	  Rows into and out of Keystone's own tables without the executor.
 *
 * For the tables of the log: neither triggers nor rules nor policies take
 * part, so nothing of somebody else's runs, and the guards that refuse every
 * SQL statement do not stand in the way.  A table with an expression index, a
 * partial index or a generated column is refused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_BULK_H
#define KS_BULK_H

#include "keystone.h"

#include "access/tableam.h"
#include "executor/executor.h"

#define KS_BULK_ROWS	512		/* rows that are collected before they are
								 * written */

typedef struct KsBulk
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot **slots;
	int			n;				/* rows collected */
	int			made;			/* slots that exist */
} KsBulk;

/* Opens keystone_private.<table> for inserting; RowExclusiveLock until the
 * transaction ends. */
extern void ks_bulk_begin(KsBulk *bulk, const char *table);

/* Collects a row; values must stay valid until it is written: ks_bulk_end(),
 * or when KS_BULK_ROWS are together.  23505 on a duplicate. */
extern void ks_bulk_add(KsBulk *bulk, const Datum *values, const bool *nulls);
extern void ks_bulk_end(KsBulk *bulk);

/* One row. */
extern void ks_bulk_insert(const char *table, const Datum *values, const bool *nulls);

/* Oid of a table of keystone_private. */
extern Oid	ks_bulk_table(const char *table);

#endif							/* KS_BULK_H */
