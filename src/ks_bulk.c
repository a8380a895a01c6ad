/*-------------------------------------------------------------------------
 *
 * ks_bulk.c
 *	  Rows into Keystone's own tables without the executor.
 *
 * What COPY does, without triggers, rules, policies, constraints other than
 * unique ones, and privileges: whoever calls has settled what may be written.
 * A column that is NOT NULL is the caller's to fill.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ks_bulk.h"
#include "ks_error.h"

Oid
ks_bulk_table(const char *table)
{
	Oid			namespace = get_namespace_oid("keystone_private", true);
	Oid			oid = OidIsValid(namespace) ? get_relname_relid(table, namespace) : InvalidOid;

	if (!OidIsValid(oid))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table keystone_private.%s does not exist", table),
				errhint("Extension keystone is not installed in this database, or damaged."));
	return oid;
}

/*
 * An index on an expression, or with a predicate, runs whatever somebody put
 * there.
 */
static void
refuse_foreign_code(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		const IndexInfo *info = result->ri_IndexRelationInfo[i];

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL || info->ii_ExclusionOps != NULL)
			ks_error_denied("a table of Keystone has an index that is not its own",
							psprintf("Drop index \"%s\".",
									 RelationGetRelationName(result->ri_IndexRelationDescs[i])));
	}
}

void
ks_bulk_begin(KsBulk *bulk, const char *table)
{
	memset(bulk, 0, sizeof(*bulk));
	bulk->rel = table_open(ks_bulk_table(table), RowExclusiveLock);
	if (bulk->rel->rd_rel->relkind != RELKIND_RELATION || bulk->rel->rd_tableam != GetHeapamTableAmRoutine())
		elog(ERROR, "a table of Keystone is no heap");
	bulk->estate = CreateExecutorState();
	bulk->result = makeNode(ResultRelInfo);
	InitResultRelInfo(bulk->result, bulk->rel, 1, NULL, 0);
	ExecOpenIndices(bulk->result, false);
	refuse_foreign_code(bulk->result);
	bulk->slots = palloc(KS_BULK_ROWS * sizeof(TupleTableSlot *));
}

static void
flush(KsBulk *bulk)
{
	if (bulk->n == 0)
		return;
	table_multi_insert(bulk->rel, bulk->slots, bulk->n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < bulk->n; i++)
	{
		if (bulk->result->ri_NumIndices > 0)
			list_free(ks_insert_index_tuples(bulk->result, bulk->slots[i], bulk->estate));
		ExecClearTuple(bulk->slots[i]);
		ResetPerTupleExprContext(bulk->estate);
	}
	bulk->n = 0;
}

void
ks_bulk_add(KsBulk *bulk, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot;

	if (bulk->n == bulk->made)
		bulk->slots[bulk->made++] = table_slot_create(bulk->rel, NULL);
	slot = bulk->slots[bulk->n++];
	memcpy(slot->tts_values, values, RelationGetDescr(bulk->rel)->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, RelationGetDescr(bulk->rel)->natts * sizeof(bool));
	slot->tts_tableOid = RelationGetRelid(bulk->rel);
	ExecStoreVirtualTuple(slot);
	if (bulk->n == KS_BULK_ROWS)
		flush(bulk);
}

void
ks_bulk_end(KsBulk *bulk)
{
	flush(bulk);
	for (int i = 0; i < bulk->made; i++)
		ExecDropSingleTupleTableSlot(bulk->slots[i]);
	pfree(bulk->slots);
	ExecCloseIndices(bulk->result);
	FreeExecutorState(bulk->estate);
	/* the lock stays until the transaction ends */
	table_close(bulk->rel, NoLock);
}

/* One row needs none of the buffers of many. */
void
ks_bulk_insert(const char *table, const Datum *values, const bool *nulls)
{
	KsBulk		bulk;

	ks_bulk_begin(&bulk, table);
	ks_bulk_add(&bulk, values, nulls);
	ks_bulk_end(&bulk);
}
