/*-------------------------------------------------------------------------
 *
 * ks_spi.c
 *	  Saved plans, run as the extension's owner under a pinned search_path.
 *
 * The owner is a superuser, so what runs here must be Keystone's own: names
 * are found in pg_catalog whatever the caller's search_path is, and a table
 * with somebody else's trigger, or with a foreign key that cascades, is not
 * written (GRANT ALL ON ALL TABLES gives the right to make them).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "ks_error.h"
#include "ks_inval.h"
#include "ks_spi.h"

/*
 * Counts invalidations, and tells at which count nothing foreign was seen.  A
 * look that ends in an error leaves the second as it was.
 */
static uint64 invalidations = 1;
static uint64 clean_at = 0;

static Oid
extension_owner(void)
{
	Oid			namespace = get_namespace_oid("keystone_private", true);
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("extension keystone is not installed in this database"),
				errhint("Run CREATE EXTENSION keystone."));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Names without a schema are found in pg_catalog only.  After an error the end
 * of the (sub)transaction takes it back.
 */
#ifdef KS_OVERRIDE_SEARCH_PATH

static void
pin_search_path(KsSpi *spi)
{
	OverrideSearchPath path = {.schemas = NIL, .addCatalog = true, .addTemp = false};

	(void) spi;
	PushOverrideSearchPath(&path);
}

static void
unpin_search_path(KsSpi *spi)
{
	(void) spi;
	PopOverrideSearchPath();
}

#else

static void
pin_search_path(KsSpi *spi)
{
	spi->guc_level = NewGUCNestLevel();
	set_local("search_path", "pg_catalog, pg_temp");
}

static void
unpin_search_path(KsSpi *spi)
{
	AtEOXact_GUC(true, spi->guc_level);
}

#endif

void
ks_spi_begin(KsSpi *spi)
{
	Oid			owner = extension_owner();

	spi->caller = CurrentMemoryContext;
	GetUserIdAndSecContext(&spi->user, &spi->sec_context);
	SetUserIdAndSecContext(owner, spi->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	pin_search_path(spi);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
ks_spi_end(KsSpi *spi)
{
	SPI_finish();
	unpin_search_path(spi);
	SetUserIdAndSecContext(spi->user, spi->sec_context);
}

static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	(void) relid;
	invalidations++;
}

/*
 * The first thing that somebody else has attached to a table of Keystone and
 * that would run as the owner: a trigger, or a foreign key that makes our
 * changes cascade to a table with triggers.  One to the ciphertext would keep
 * it from being destroyed.  palloc'd; NULL when there is none.
 */
char *
ks_spi_foreign_object(void)
{
	static KsPlan plan = {.sql =
		"SELECT format('trigger %I of table %s', t.tgname, t.tgrelid::regclass)"
		" FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
		" WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)"
		" AND NOT t.tgisinternal AND p.pronamespace <> 'keystone_private'::regnamespace"
		" UNION ALL "
		"SELECT format('foreign key %I of table %s', k.conname, k.conrelid::regclass)"
		" FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid JOIN pg_class c ON c.oid = k.conrelid"
		" WHERE k.contype = 'f'"
		" AND r.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)"
		" AND c.relnamespace NOT IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)"
		" AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')"
		"  OR r.oid = 'keystone_private.ciphertext'::regclass)"
		" LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *found = NULL;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) > 0)
		found = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	return found;
}

/*
 * Called with the lock on the table that is about to be written: that lock
 * excludes CREATE TRIGGER and ADD FOREIGN KEY until the transaction ends, and
 * with it came the invalidation of those that were committed before.
 */
static void
refuse_foreign_objects(void)
{
	static bool registered = false;
	uint64		seen;
	char	   *found;

	if (!registered)
	{
		ks_inval_register(relcache_changed);
		registered = true;
	}
	if (clean_at == invalidations)
		return;

	/* Noted before looking: an invalidation that arrives meanwhile counts. */
	seen = invalidations;
	found = ks_spi_foreign_object();
	if (found != NULL)
		ks_error_denied("a table of Keystone has a trigger or foreign key that is not its own",
						psprintf("Drop the %s: what it does would run with the rights of the extension's owner.", found));
	clean_at = seen;
}

void
ks_spi_begin_write(KsSpi *spi)
{
	if (XactReadOnly || RecoveryInProgress())
		ks_error_read_only();
	ks_spi_begin(spi);
}

static void
add_arg(KsArgs *args, bool present, Oid type, Datum value)
{
	if (args->n >= KS_ARGS_MAX)
		elog(ERROR, "too many arguments for a plan");
	args->types[args->n] = type;
	args->values[args->n] = value;
	args->nulls[args->n] = present ? ' ' : 'n';
	args->n++;
}

void
ks_arg_uuid(KsArgs *args, const uint8 *uuid)
{
	pg_uuid_t  *copy = NULL;

	if (uuid != NULL)
	{
		copy = palloc(sizeof(pg_uuid_t));
		memcpy(copy->data, uuid, UUID_LEN);
	}
	add_arg(args, copy != NULL, UUIDOID, PointerGetDatum(copy));
}

void
ks_arg_text(KsArgs *args, const char *text)
{
	add_arg(args, text != NULL, TEXTOID,
			text != NULL ? CStringGetTextDatum(text) : (Datum) 0);
}

void
ks_arg_name(KsArgs *args, const char *name)
{
	Name		copy = NULL;

	if (name != NULL)
	{
		copy = palloc0(sizeof(NameData));
		namestrcpy(copy, name);
	}
	add_arg(args, copy != NULL, NAMEOID, copy != NULL ? NameGetDatum(copy) : (Datum) 0);
}

void
ks_arg_bytes(KsArgs *args, const void *data, size_t len)
{
	bytea	   *copy = NULL;

	if (data != NULL)
	{
		copy = palloc(VARHDRSZ + len);
		SET_VARSIZE(copy, VARHDRSZ + len);
		memcpy(VARDATA(copy), data, len);
	}
	add_arg(args, copy != NULL, BYTEAOID, PointerGetDatum(copy));
}

void
ks_arg_int(KsArgs *args, bool present, int32 value)
{
	add_arg(args, present, INT4OID, Int32GetDatum(value));
}

void
ks_arg_bigint(KsArgs *args, bool present, int64 value)
{
	add_arg(args, present, INT8OID, Int64GetDatum(value));
}

void
ks_arg_bool(KsArgs *args, bool present, bool value)
{
	add_arg(args, present, BOOLOID, BoolGetDatum(value));
}

void
ks_arg_time(KsArgs *args, bool present, TimestampTz value)
{
	add_arg(args, present, TIMESTAMPTZOID, TimestampTzGetDatum(value));
}

void
ks_arg_datum(KsArgs *args, bool present, Oid type, Datum value)
{
	add_arg(args, present, type, value);
}

/*
 * Plans are generic and avoid sequential scans: they are often made while the
 * tables are still empty, and are kept while the tables grow.
 */
static void
make_plan(KsPlan *plan, const KsArgs *args)
{
	Oid			types[KS_ARGS_MAX];

	memcpy(types, args->types, sizeof(types));
	plan->plan = SPI_prepare_cursor(plan->sql, args->n, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan->plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan->plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
}

/* Takes the locks of a plan's tables: they are held until the transaction ends. */
static void
lock_tables(KsPlan *plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan->plan);

	if (cached == NULL)
		elog(ERROR, "plan has more than one statement");
	ReleaseCachedPlan(cached, CurrentResourceOwner);
}

/*
 * What is committed at this moment.  In parallel mode GetLatestSnapshot()
 * refuses; a snapshot for a catalog without invalidation messages of its own
 * is always taken anew.
 */
static Snapshot
latest_snapshot(void)
{
	return IsInParallelMode() ? GetCatalogSnapshot(TriggerRelationId) : GetLatestSnapshot();
}

/* snapshot NULL: the latest. */
static uint64
run(KsPlan *plan, const KsArgs *args, Snapshot snapshot, bool read_only)
{
	Datum		values[KS_ARGS_MAX];
	int			guc_level = -1;
	int			result;

	memcpy(values, args->values, sizeof(values));
	if (plan->plan == NULL || !SPI_plan_is_valid(plan->plan))
	{
		guc_level = NewGUCNestLevel();
		set_local("enable_seqscan", "off");
		set_local("enable_bitmapscan", "off");
		set_local("jit", "off");
		if (plan->plan == NULL)
			make_plan(plan, args);
	}
	if (!read_only)
	{
		lock_tables(plan);
		refuse_foreign_objects();
	}

	if (snapshot == NULL)
		snapshot = latest_snapshot();
	result = SPI_execute_snapshot(plan->plan, values, args->nulls, snapshot,
								  InvalidSnapshot, read_only, true, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	if (guc_level >= 0)
		AtEOXact_GUC(true, guc_level);
	return SPI_processed;
}

uint64
ks_spi_read(KsPlan *plan, const KsArgs *args)
{
	return run(plan, args, NULL, true);
}

Snapshot
ks_spi_take_snapshot(void)
{
	return RegisterSnapshot(latest_snapshot());
}

void
ks_spi_drop_snapshot(Snapshot snapshot)
{
	UnregisterSnapshot(snapshot);
}

uint64
ks_spi_read_at(KsPlan *plan, const KsArgs *args, Snapshot snapshot)
{
	return run(plan, args, snapshot, true);
}

uint64
ks_spi_write(KsPlan *plan, const KsArgs *args)
{
	uint64		rows = run(plan, args, NULL, false);

	/* So that the next read of this call sees it. */
	CommandCounterIncrement();
	return rows;
}

void
ks_spi_utility(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

void
ks_spi_begin_procedure(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* Values that lie elsewhere are read with a snapshot, which the statement's
 * was until now. */
void
ks_spi_commit(void)
{
	SPI_commit();
	EnsurePortalSnapshotExists();
}

void
ks_spi_end_procedure(void)
{
	SPI_finish();
}

static Datum
column(uint64 row, int number, bool *isnull)
{
	Assert(row < SPI_processed);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

HeapTuple
ks_spi_row(uint64 row, TupleDesc *desc)
{
	Assert(row < SPI_processed);
	*desc = SPI_tuptable->tupdesc;
	return SPI_tuptable->vals[row];
}

bool
ks_col_uuid(uint64 row, int number, uint8 uuid[KS_ID_LEN])
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	if (!isnull)
		memcpy(uuid, DatumGetUUIDP(value)->data, KS_ID_LEN);
	return !isnull;
}

char *
ks_col_text(const KsSpi *spi, uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	MemoryContext old;
	char	   *result;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(spi->caller);
	result = TextDatumGetCString(value);
	MemoryContextSwitchTo(old);
	return result;
}

uint8 *
ks_col_bytes(const KsSpi *spi, uint64 row, int number, size_t *len)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	bytea	   *bytes;
	uint8	   *result;

	if (isnull)
		return NULL;
	bytes = DatumGetByteaPP(value);
	*len = VARSIZE_ANY_EXHDR(bytes);
	result = MemoryContextAlloc(spi->caller, Max(*len, 1));
	memcpy(result, VARDATA_ANY(bytes), *len);
	return result;
}

bool
ks_col_int(uint64 row, int number, int32 *result)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	*result = isnull ? 0 : DatumGetInt32(value);
	return !isnull;
}

bool
ks_col_bigint(uint64 row, int number, int64 *result)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	*result = isnull ? 0 : DatumGetInt64(value);
	return !isnull;
}

bool
ks_col_double(uint64 row, int number, double *result)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	*result = isnull ? 0 : DatumGetFloat8(value);
	return !isnull;
}

bool
ks_col_bool(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return !isnull && DatumGetBool(value);
}

bool
ks_col_time(uint64 row, int number, TimestampTz *result)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	*result = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

Jsonb *
ks_col_jsonb(const KsSpi *spi, uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	MemoryContext old;
	Jsonb	   *result;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(spi->caller);
	result = DatumGetJsonbPCopy(value);
	MemoryContextSwitchTo(old);
	return result;
}

Datum
ks_col_array(const KsSpi *spi, uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	MemoryContext old;
	Datum		result;

	if (isnull)
		return (Datum) 0;
	old = MemoryContextSwitchTo(spi->caller);
	result = PointerGetDatum(DatumGetArrayTypePCopy(value));
	MemoryContextSwitchTo(old);
	return result;
}

bool
ks_col_own_xmin(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return !isnull && TransactionIdIsCurrentTransactionId(DatumGetTransactionId(value));
}
