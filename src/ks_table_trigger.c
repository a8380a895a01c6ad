/*-------------------------------------------------------------------------
 *
 * ks_table_trigger.c
 *	  audit_table(): the trail of a user's table.
 *
 * The trigger itself is the only state: its arguments are the columns whose
 * values may stand in the log.  Of the others the entry has SHA-256(salt |
 * text), cut to 128 bits, with a salt of its own: whoever knows or guesses a
 * value can check it.
 *
 * What is needed of a table is kept per backend until the table, or a schema,
 * changes.  A row costs a comparison of its columns, the output functions and
 * digests of those that changed, and one row of the outbox; no SQL runs.
 * Output functions run as the user whose statement fired the trigger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "ks_args.h"
#include "ks_bulk.h"
#include "ks_change.h"
#include "ks_error.h"
#include "ks_inval.h"

#define ROW_TRIGGER			"keystone_audit"
#define TRUNCATE_TRIGGER	"keystone_audit_truncate"

#define SALT_LEN			16
#define DIGEST_HEX_LEN		32	/* hex digits of a digest that are kept */
#define SALTS_AT_ONCE		64	/* random bytes are drawn for so many */

/* Room in the detail that columns leave to what is added after them. */
#define DETAIL_RESERVE		256

/* A column of an audited table. */
typedef struct Column
{
	bool		skipped;		/* dropped */
	bool		is_key;
	bool		is_kept;		/* its values stand in the log */
	bool		formatted;		/* its text depends on settings */
	Oid			time_type;		/* of a date or time, else InvalidOid */
	const char *old_key;		/* "old.name" */
	const char *new_key;
	const char *key_key;
	FmgrInfo	output;
} Column;

/* What is known of an audited table. */
typedef struct Table
{
	Oid			oid;			/* hash key */
	Oid			trigger;		/* whose arguments these are */
	bool		valid;
	MemoryContext context;		/* of all below */
	char	   *name;			/* qualified and quoted */
	char	   *id;				/* see table_id() */
	int			natts;
	Column	   *columns;
	int			uuid_key;		/* number of the only key column when it is a
								 * uuid, else 0 */
} Table;

static HTAB *known_tables = NULL;

/*
 * What tells a table apart from one that later takes over its name, or its oid
 * in a copy of the database: owned_relations() makes the same.
 */
static char *
table_id(Oid table)
{
	return psprintf(INT64_FORMAT ":%u:%u", (int64) GetSystemIdentifier(), MyDatabaseId, table);
}

static void
forget_table(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Table	   *table;

	(void) arg;
	if (OidIsValid(relid))
	{
		table = hash_search(known_tables, &relid, HASH_FIND, NULL);
		if (table != NULL)
			table->valid = false;
		return;
	}
	hash_seq_init(&status, known_tables);
	while ((table = hash_seq_search(&status)) != NULL)
		table->valid = false;
}

/* A schema or a type was changed. */
static void
forget_all_tables(Datum arg, int cacheid, uint32 hash)
{
	(void) cacheid;
	(void) hash;
	forget_table(arg, InvalidOid);
}

static void
make_cache(void)
{
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(Table)};

	known_tables = hash_create("keystone audited tables", 32, &control, HASH_ELEM | HASH_BLOBS);
	ks_inval_register(forget_table);
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_all_tables, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, forget_all_tables, (Datum) 0);
}

/* A date or time: its text is ISO 8601 in UTC, whatever the settings. */
static bool
is_time(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID || type == TIMESTAMPOID ||
		type == TIMESTAMPTZOID;
}

/* Whether a type's text depends on DateStyle, TimeZone and the like. */
static bool
is_formatted(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case OIDOID:
			return false;
		default:
			return true;
	}
}

static void
load_column(Column *column, Form_pg_attribute att, const Trigger *trigger)
{
	Oid			output;
	bool		is_varlena;
	char	   *name = NameStr(att->attname);

	column->skipped = att->attisdropped;
	if (column->skipped)
		return;
	for (int i = 0; i < trigger->tgnargs; i++)
		column->is_kept |= strcmp(trigger->tgargs[i], name) == 0;
	column->time_type = getBaseType(att->atttypid);
	column->formatted = !is_time(column->time_type) && is_formatted(column->time_type);
	if (!is_time(column->time_type))
		column->time_type = InvalidOid;

	column->old_key = psprintf("old.%s", name);
	column->new_key = psprintf("new.%s", name);
	column->key_key = psprintf("key.%s", name);
	getTypeOutputInfo(att->atttypid, &output, &is_varlena);
	fmgr_info_cxt(output, &column->output, CurrentMemoryContext);
}

static void
load_table(Table *table, Relation rel, const Trigger *trigger)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	MemoryContext old;
	int			n_keys = bms_num_members(keys);

	if (table->context != NULL)
		MemoryContextDelete(table->context);
	table->context = AllocSetContextCreate(CacheMemoryContext, "keystone audited table", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->context);

	/* First, so that a change that arrives meanwhile is not missed. */
	table->valid = true;
	table->trigger = trigger->tgoid;
	table->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
											 RelationGetRelationName(rel));
	table->id = table_id(table->oid);
	table->natts = desc->natts;
	table->columns = palloc0(Max(desc->natts, 1) * sizeof(Column));
	table->uuid_key = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		load_column(&table->columns[i], att, trigger);
		table->columns[i].is_key = bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, keys);
		if (table->columns[i].is_key && n_keys == 1 && att->atttypid == UUIDOID)
			table->uuid_key = att->attnum;
	}
	MemoryContextSwitchTo(old);
	bms_free(keys);
}

static Table *
find_table(Relation rel, const Trigger *trigger)
{
	Oid			oid = RelationGetRelid(rel);
	Table	   *table;
	bool		found;

	if (known_tables == NULL)
		make_cache();
	table = hash_search(known_tables, &oid, HASH_ENTER, &found);
	if (!found)
	{
		table->valid = false;
		table->context = NULL;
	}
	if (!table->valid || table->trigger != trigger->tgoid)
	{
		table->valid = false;
		load_table(table, rel, trigger);
	}
	return table;
}


/*-------------------------------------------------------------------------
 * One row
 *-------------------------------------------------------------------------
 */

/* An entry while it is made. */
typedef struct TableEntry
{
	KsDraft		draft;
	const Table *table;
	uint8		salt[SALT_LEN];
	char		salt_hex[2 * SALT_LEN + 1];
	int			omitted;		/* columns that did not fit */
	int			guc_level;		/* of settings for texts, -1: as they were */
	StringInfoData changed;
} TableEntry;

static void
draw_salt(TableEntry *entry)
{
	static uint8 drawn[SALTS_AT_ONCE][SALT_LEN];
	static int	left = 0;

	if (left == 0)
	{
		if (ks_random(drawn, sizeof(drawn)) != KS_CRYPTO_OK)
			ks_error_crypto("draw random bytes");
		left = SALTS_AT_ONCE;
	}
	memcpy(entry->salt, drawn[--left], SALT_LEN);
	(void) hex_encode((const char *) entry->salt, SALT_LEN, entry->salt_hex);
	entry->salt_hex[2 * SALT_LEN] = '\0';
}

/* Makes texts those that every session would write. */
static void
fix_formats(TableEntry *entry)
{
	static const char *const formats[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "1"},
		{"bytea_output", "hex"}, {"timezone", "UTC"}, {"lc_monetary", "C"},
	};

	if (entry->guc_level >= 0)
		return;
	entry->guc_level = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(formats); i++)
	{
		const char *now = GetConfigOption(formats[i][0], true, false);

		if (now == NULL || strcmp(now, formats[i][1]) != 0)
			(void) set_config_option(formats[i][0], formats[i][1], PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}

/* Adds a column's value, or its digest, under a key. */
static void
add_value(TableEntry *entry, Column *column, const char *key, Datum value)
{
	KsDetail   *detail = &entry->draft.detail;
	char	   *text;
	size_t		len;
	char	   *shown;

	if (column->formatted)
		fix_formats(entry);
	if (OidIsValid(column->time_type))
	{
		static const int utc = 0;

		text = JsonEncodeDateTime(palloc(MAXDATELEN + 1), value, column->time_type, &utc);
	}
	else
		text = OutputFunctionCall(&column->output, value);
	len = strlen(text);
	if (column->is_kept)
		shown = ks_draft_cut(text, (int) len);
	else
	{
		KsBytes		pieces[] = {{entry->salt, SALT_LEN}, {text, len}};
		uint8		digest[KS_DIGEST_LEN];

		if (ks_sha256_pieces(pieces, lengthof(pieces), digest) != KS_CRYPTO_OK)
			ks_error_crypto("compute a digest");
		shown = palloc(DIGEST_HEX_LEN + 1);
		(void) hex_encode((const char *) digest, DIGEST_HEX_LEN / 2, shown);
		shown[DIGEST_HEX_LEN] = '\0';
	}
	pfree(text);
	if (detail->n >= KS_DETAIL_PAIRS_MAX - 12 ||
		detail->len + strlen(key) + strlen(shown) + DETAIL_RESERVE > KS_DETAIL_MAX)
		entry->omitted++;
	else
		ks_detail_add(detail, key, shown);
}

/*
 * Whether two values are the same bytes.  Those of another length, or that are
 * the same piece of a TOAST table, are not fetched to tell.
 */
static bool
is_same(Form_pg_attribute att, Datum a, Datum b)
{
	if (att->attlen == -1)
	{
		void	   *x = DatumGetPointer(a);
		void	   *y = DatumGetPointer(b);

		if (VARSIZE_ANY(x) == VARSIZE_ANY(y) && memcmp(x, y, VARSIZE_ANY(x)) == 0)
			return true;
		if (!VARATT_IS_EXTENDED(x) && !VARATT_IS_EXTENDED(y))
			return false;
	}
	return datum_image_eq(a, b, att->attbyval, att->attlen);
}

/* Adds the columns of a row: keys always, others when they changed. */
static void
add_columns(TableEntry *entry, TupleDesc desc, HeapTuple old, HeapTuple new)
{
	int			natts = desc->natts;
	Datum	   *old_values = palloc(2 * natts * sizeof(Datum));
	Datum	   *new_values = old_values + natts;
	bool	   *old_nulls = palloc(2 * natts * sizeof(bool));
	bool	   *new_nulls = old_nulls + natts;

	memset(old_nulls, true, 2 * natts * sizeof(bool));
	if (old != NULL)
		heap_deform_tuple(old, desc, old_values, old_nulls);
	if (new != NULL)
		heap_deform_tuple(new, desc, new_values, new_nulls);

	for (int i = 0; i < natts; i++)
	{
		Column	   *column = &entry->table->columns[i];
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (column->skipped)
			continue;
		if (column->is_key)
			add_value(entry, column, column->key_key, new != NULL ? new_values[i] : old_values[i]);
		if (old_nulls[i] && new_nulls[i])
			continue;
		if (old != NULL && new != NULL)
		{
			if (!old_nulls[i] && !new_nulls[i] && is_same(att, old_values[i], new_values[i]))
				continue;
			if (entry->changed.len > 0)
				appendStringInfoChar(&entry->changed, ',');
			appendStringInfoString(&entry->changed, NameStr(att->attname));
		}
		else if (column->is_key)
			continue;
		if (!new_nulls[i])
			add_value(entry, column, column->new_key, new_values[i]);
		if (!old_nulls[i])
			add_value(entry, column, column->old_key, old_values[i]);
	}
	if (entry->table->uuid_key > 0)
	{
		int			i = entry->table->uuid_key - 1;
		Datum		id = new != NULL ? new_values[i] : old_values[i];

		memcpy(entry->draft.event.object, DatumGetUUIDP(id)->data, KS_ID_LEN);
	}
}

/* Names of what changed, cut between two when there are many. */
static void
add_changed(TableEntry *entry)
{
	char	   *names = entry->changed.data;

	if (entry->changed.len > KS_TEXT_MAX)
	{
		int			len = KS_TEXT_MAX;

		while (len > 0 && names[len] != ',')
			len--;
		names[len] = '\0';
	}
	ks_detail_add(&entry->draft.detail, "changed", names);
}

static void
record_row(TriggerData *data, const Table *table, uint16 kind)
{
	TableEntry	entry;
	HeapTuple	old = data->tg_trigtuple;
	HeapTuple	new = NULL;

	if (kind == KS_ACTION_TABLE_UPDATE)
		new = data->tg_newtuple;
	else if (kind == KS_ACTION_TABLE_INSERT)
	{
		new = old;
		old = NULL;
	}
	ks_draft_begin(&entry.draft, kind, NULL);
	entry.draft.event.relation = table->id;
	entry.table = table;
	entry.omitted = 0;
	entry.guc_level = -1;
	initStringInfo(&entry.changed);
	ks_detail_add(&entry.draft.detail, "table", table->name);
	ks_detail_add(&entry.draft.detail, "table_id", table->id);
	if (kind != KS_ACTION_TABLE_TRUNCATE)
	{
		draw_salt(&entry);
		ks_detail_add(&entry.draft.detail, "salt", entry.salt_hex);
		add_columns(&entry, RelationGetDescr(data->tg_relation), old, new);
		if (entry.guc_level >= 0)
			AtEOXact_GUC(true, entry.guc_level);
		add_changed(&entry);
	}
	if (entry.omitted > 0)
		ks_detail_add(&entry.draft.detail, "omitted", psprintf("%d", entry.omitted));
	ks_draft_finish(&entry.draft);
	ks_change_write(&entry.draft.event, !RelationIsPermanent(data->tg_relation));
}

PG_FUNCTION_INFO_V1(ks_fn_audit_user_row);
/*
 * keystone_private.audit_user_row() returns trigger: AFTER, row or TRUNCATE, on
 * users' tables; its arguments are columns
 */
Datum
ks_fn_audit_user_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	uint16		kind;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) != TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function must be fired by a trigger after each row, or after TRUNCATE"),
				errhint("Use keystone.audit_table()."));
	if (!ks_shmem_attached())
		ks_error_not_preloaded();
	if (!ks_change_log_on())
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		kind = KS_ACTION_TABLE_INSERT;
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		kind = KS_ACTION_TABLE_UPDATE;
	else
		kind = TRIGGER_FIRED_BY_DELETE(data->tg_event) ? KS_ACTION_TABLE_DELETE : KS_ACTION_TABLE_TRUNCATE;
	record_row(data, find_table(data->tg_relation, data->tg_trigger), kind);
	return PointerGetDatum(NULL);
}


/*-------------------------------------------------------------------------
 * Attaching and detaching
 *-------------------------------------------------------------------------
 */

static void
check_target(Oid target, Oid role)
{
	char		kind = get_rel_relkind(target);
	char	   *schema = kind != '\0' ? get_namespace_name(get_rel_namespace(target)) : NULL;

	if (schema == NULL || (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE))
		ks_error_invalid("target", "a table", NULL);
	if (!ks_table_ownercheck(target, role))
		ks_error_denied("permission denied", "Only the owner of the table may do this.");
	if (target < FirstNormalObjectId || strcmp(schema, "keystone") == 0 || strcmp(schema, "keystone_private") == 0)
		ks_error_invalid("target", "a table that is neither the system's nor Keystone's", NULL);
	if (get_rel_persistence(target) == RELPERSISTENCE_TEMP)
		ks_error_invalid("target", "a table that is not temporary", NULL);
	if (kind == RELKIND_RELATION && has_subclass(target))
		ks_error_invalid("target", "a table without children", "Rows of children are changed without its triggers.");
}

/* Locks the table that is argument 0, which the caller owns.  Its name. */
static char *
get_target(FunctionCallInfo fcinfo, const KsVerb *verb, Oid *target)
{
	if (PG_ARGISNULL(0))
		ks_error_null("target");
	*target = PG_GETARG_OID(0);
	check_target(*target, verb->call.actor.role);
	LockRelationOid(*target, ShareRowExclusiveLock);

	/* It may have become another's while the lock was waited for. */
	check_target(*target, verb->call.actor.role);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(*target)), get_rel_name(*target));
}

/* Names of columns as a list: for people, or as arguments of the trigger. */
static char *
get_columns(FunctionCallInfo fcinfo, Oid target, bool as_arguments)
{
	StringInfoData list;
	Datum	   *names;
	ArrayType  *array;
	int			n;

	array = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ks_error_invalid("keep_values", "an array of one dimension without NULLs", NULL);
	deconstruct_array(array, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, NULL, &n);
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
	{
		const char *name = NameStr(*DatumGetName(names[i]));

		if (get_attnum(target, name) <= 0)
			ks_error_invalid("keep_values", "columns of the table", NULL);
		appendStringInfo(&list, "%s%s", i > 0 ? (as_arguments ? ", " : ",") : "",
						 as_arguments ? quote_literal_cstr(name) : name);
	}
	return list.data;
}

/* Says in the log that a table is audited, or no longer. */
static void
record_table(const KsVerb *verb, Oid target, const char *table, const char *columns)
{
	KsDraft		draft;
	char	   *id = table_id(target);

	ks_draft_begin(&draft, verb->action, &verb->call.actor);
	draft.event.relation = id;
	ks_detail_add(&draft.detail, "table", table);
	ks_detail_add(&draft.detail, "table_id", id);
	if (columns != NULL)
		ks_detail_add(&draft.detail, "keep_values", ks_draft_cut(columns, (int) strlen(columns)));
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

/*
 * Makes or drops the trigger of TRUNCATE, which partitions do not get from
 * their parent as they get that of rows.
 */
static void
for_each_truncate(Oid target, const char *before, const char *behind)
{
	List	   *tables = find_all_inheritors(target, ShareRowExclusiveLock, NULL);
	ListCell   *cell;

	foreach(cell, tables)
	{
		Oid			oid = lfirst_oid(cell);

		if (get_rel_relkind(oid) == RELKIND_RELATION || oid == target)
			ks_spi_utility(psprintf("%s %s %s", before,
									quote_qualified_identifier(get_namespace_name(get_rel_namespace(oid)),
															   get_rel_name(oid)), behind));
	}
}

/*
 * The triggers are made as the extension's owner, who may use their function;
 * the caller owns the table.
 */
static Datum
audit_table(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Oid			target;
	char	   *table;
	char	   *arguments;
	char	   *columns;
	KsSpi		spi;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	if (PG_ARGISNULL(1))
		ks_error_null("keep_values");
	table = get_target(fcinfo, verb, &target);
	arguments = get_columns(fcinfo, target, true);
	columns = get_columns(fcinfo, target, false);
	ks_change_prepare();
	ks_spi_begin_write(&spi);
	ks_spi_utility(psprintf("CREATE OR REPLACE TRIGGER " ROW_TRIGGER " AFTER INSERT OR UPDATE OR DELETE ON %s"
							" FOR EACH ROW EXECUTE FUNCTION keystone_private.audit_user_row(%s)", table, arguments));
	ks_spi_utility(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " ROW_TRIGGER, table));
	for_each_truncate(target, "CREATE OR REPLACE TRIGGER " TRUNCATE_TRIGGER " AFTER TRUNCATE ON",
					  "FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.audit_user_row()");
	for_each_truncate(target, "ALTER TABLE", "ENABLE ALWAYS TRIGGER " TRUNCATE_TRIGGER);
	ks_spi_end(&spi);
	record_table(verb, target, table, columns);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_audit_table);
/* audit_table(target regclass, keep_values name[]) returns void */
Datum
ks_fn_audit_table(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_TABLE_AUDIT, audit_table);
}

static Datum
audit_untable(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Oid			target;
	char	   *table;
	KsSpi		spi;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	table = get_target(fcinfo, verb, &target);
	if (!OidIsValid(get_trigger_oid(target, ROW_TRIGGER, true)))
		ks_error_invalid("target", "an audited table", NULL);
	ks_change_prepare();
	ks_spi_begin_write(&spi);
	ks_spi_utility(psprintf("DROP TRIGGER " ROW_TRIGGER " ON %s", table));
	for_each_truncate(target, "DROP TRIGGER IF EXISTS " TRUNCATE_TRIGGER " ON", "");
	ks_spi_end(&spi);
	record_table(verb, target, table, NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_audit_untable);
/* audit_untable(target regclass) returns void */
Datum
ks_fn_audit_untable(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_TABLE_UNAUDIT, audit_untable);
}
