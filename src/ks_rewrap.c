/*-------------------------------------------------------------------------
 *
 * ks_rewrap.c
 *	  Wrapping all keys of a database under another root key.
 *
 * The time goes with the number of keys, of which each workspace has a few;
 * no value is touched.  What must always hold:
 *
 *	- a key's row has the new wrap and the former one in the same version of
 *	  the row, so that at any moment, in any backup, whoever has one of the two
 *	  root keys opens it;
 *	- no caller is waited for.  Sealing holds a key's row FOR KEY SHARE, which
 *	  does not conflict; rows that are held for destroying are passed over;
 *	- the check value of the new root key is written in the same transaction,
 *	  before the first key.
 *
 * The log gets one entry for the whole, not one for each key: keys are bound
 * by their wraps to workspace, version and id, which stay what they were.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "ks_args.h"
#include "ks_bulk.h"
#include "ks_error.h"
#include "ks_keys.h"
#include "ks_rewrap.h"

#define BATCH		1000		/* keys that are read and written at a time */
#define WRITTEN		6			/* columns that a row is found by, and written */

/* A table of keys, and the statements on it.  What names a row there is a
 * workspace, or a purpose, which the first column has. */
typedef struct KeyTable
{
	const char *purpose;
	KsPlan		lock;			/* $1: the root key that wraps now, $2 and $3:
								 * after which row, $4: how many */
	KsPlan		lock_former;	/* $1: ids of the keyring, $2: how many */
	KsPlan		write;			/* arrays: $1 and $2 rows, $3 to $6 wraps */
} KeyTable;

static KeyTable key_tables[] = {
	{
		.purpose = KS_PURPOSE_WORKSPACE_KEY,
		.lock = {.sql =
			"SELECT workspace_id, " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys"
			" WHERE root_key <> $1 AND (workspace_id, version) > ($2, $3)"
			" ORDER BY workspace_id, version LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED"
		},
		.lock_former = {.sql =
			"SELECT workspace_id, " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys"
			" WHERE previous_root_key IS NOT NULL AND previous_root_key <> ALL ($1) AND root_key = ANY ($1)"
			" LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
		},
		.write = {.sql =
			"UPDATE keystone_private.workspace_keys k SET root_key = f.root_key, wrapped = f.wrapped,"
			" previous_root_key = f.previous_root_key, previous_wrapped = f.previous_wrapped"
			" FROM unnest($1, $2, $3, $4, $5, $6)"
			" AS f (id, version, root_key, wrapped, previous_root_key, previous_wrapped)"
			" WHERE k.workspace_id = f.id AND k.version = f.version"
		},
	},
	{
		.purpose = KS_PURPOSE_SYSTEM_KEY,
		.lock = {.sql =
			"SELECT purpose, " KS_SYSTEM_WRAPPED_COLUMNS " FROM keystone_private.system_keys"
			" WHERE root_key <> $1 AND (purpose, version) > ($2, $3)"
			" ORDER BY purpose, version LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED"
		},
		.lock_former = {.sql =
			"SELECT purpose, " KS_SYSTEM_WRAPPED_COLUMNS " FROM keystone_private.system_keys"
			" WHERE previous_root_key IS NOT NULL AND previous_root_key <> ALL ($1) AND root_key = ANY ($1)"
			" LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
		},
		.write = {.sql =
			"UPDATE keystone_private.system_keys k SET root_key = f.root_key, wrapped = f.wrapped,"
			" previous_root_key = f.previous_root_key, previous_wrapped = f.previous_wrapped"
			" FROM unnest($1, $2, $3, $4, $5, $6)"
			" AS f (id, version, root_key, wrapped, previous_root_key, previous_wrapped)"
			" WHERE k.purpose = f.id AND k.version = f.version"
		},
	},
};

static bool
is_system(const KeyTable *table)
{
	return strcmp(table->purpose, KS_PURPOSE_SYSTEM_KEY) == 0;
}

/* A row, and how it is named. */
typedef struct KeyRow
{
	KsWrappedKey key;
	char	   *system;			/* what a system key is for; NULL for a
								 * workspace's */
} KeyRow;

/* What came of a run. */
typedef struct Outcome
{
	int64		wrapped;
	int64		without_root;	/* the keyring lacks their root keys */
	int64		damaged;
	char		root_key[KS_ROOT_KEY_ID_MAX + 1];	/* the last one written */
	StringInfoData former;		/* ids of those that wrapped before */
} Outcome;

/* What is to be written of some rows: elements of arrays. */
typedef struct Writing
{
	int			n;
	bool		system;
	Datum	   *columns[WRITTEN];
	bool	   *nulls[WRITTEN];
} Writing;

static void
begin_writing(Writing *writing, const KeyTable *table, int max)
{
	writing->n = 0;
	writing->system = is_system(table);
	for (int i = 0; i < WRITTEN; i++)
	{
		writing->columns[i] = palloc0(Max(max, 1) * sizeof(Datum));
		writing->nulls[i] = palloc0(Max(max, 1) * sizeof(bool));
	}
}

static Datum
make_bytea(const uint8 *data, size_t len)
{
	bytea	   *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	return PointerGetDatum(bytes);
}

static void
add_writing(Writing *writing, const KeyRow *row, const KsWrappedKey *fresh)
{
	int			i = writing->n++;
	bool		former = fresh->previous_root_key[0] != '\0';

	writing->columns[0][i] = writing->system ? CStringGetTextDatum(row->system) : ks_uuid_datum(row->key.workspace);
	writing->columns[1][i] = Int32GetDatum((int32) row->key.version);
	writing->columns[2][i] = CStringGetTextDatum(fresh->root_key);
	writing->columns[3][i] = make_bytea(fresh->wrapped, fresh->wrapped_len);
	writing->nulls[4][i] = writing->nulls[5][i] = !former;
	if (former)
	{
		writing->columns[4][i] = CStringGetTextDatum(fresh->previous_root_key);
		writing->columns[5][i] = make_bytea(fresh->previous_wrapped, fresh->previous_wrapped_len);
	}
}

/* In one statement, after which others read the table's rows anew. */
static void
end_writing(Writing *writing, KeyTable *table)
{
	const struct
	{
		Oid			type;
		Oid			array;
		int16		len;
		bool		by_value;
		char		align;
	}			types[WRITTEN] = {
		{writing->system ? TEXTOID : UUIDOID, writing->system ? TEXTARRAYOID : UUIDARRAYOID,
		writing->system ? -1 : UUID_LEN, false, writing->system ? TYPALIGN_INT : TYPALIGN_CHAR},
		{INT4OID, INT4ARRAYOID, sizeof(int32), true, TYPALIGN_INT},
		{TEXTOID, TEXTARRAYOID, -1, false, TYPALIGN_INT},
		{BYTEAOID, BYTEAARRAYOID, -1, false, TYPALIGN_INT},
		{TEXTOID, TEXTARRAYOID, -1, false, TYPALIGN_INT},
		{BYTEAOID, BYTEAARRAYOID, -1, false, TYPALIGN_INT},
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			lower = 1;

	if (writing->n == 0)
		return;
	for (int i = 0; i < WRITTEN; i++)
		ks_arg_datum(&args, true, types[i].array,
					 PointerGetDatum(construct_md_array(writing->columns[i], writing->nulls[i], 1, &writing->n, &lower,
														types[i].type, types[i].len, types[i].by_value,
														types[i].align)));
	ks_spi_begin_write(&spi);
	(void) ks_spi_write(&table->write, &args);
	ks_spi_end(&spi);
}

/* Locks rows and reads them; *rows is palloc'd.  Returns how many. */
static int
lock_rows(const KeyTable *table, KsPlan *plan, const KsArgs *args, KeyRow **rows)
{
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	n = (int) ks_spi_write(plan, args);
	*rows = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KeyRow));
	for (int i = 0; i < n; i++)
	{
		KeyRow	   *row = &(*rows)[i];

		row->key.purpose = table->purpose;
		if (is_system(table))
			row->system = ks_col_text(&spi, i, 1);
		else
			(void) ks_col_uuid(i, 1, row->key.workspace);
		ks_keys_read(&spi, i, 2, &row->key);
	}
	ks_spi_end(&spi);
	return n;
}

/* The list is short: a keyring has few keys. */
static void
note_former(Outcome *outcome, const char *id)
{
	size_t		len = strlen(id);

	for (const char *at = outcome->former.data; (at = strstr(at, id)) != NULL; at += len)
	{
		if ((at == outcome->former.data || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return;
	}
	appendStringInfo(&outcome->former, "%s%s", outcome->former.len > 0 ? "," : "", id);
}

static void
rewrap_row(const KeyRow *row, Writing *writing, Outcome *outcome)
{
	KsWrappedKey fresh;

	switch (ks_keyring_rewrap(&row->key, &fresh))
	{
		case KS_UNWRAP_OK:
			break;
		case KS_UNWRAP_NO_ROOT_KEY:
			outcome->without_root++;
			return;
		default:
			outcome->damaged++;
			return;
	}

	/* A reload may have made another root key the first one meanwhile. */
	if (strcmp(outcome->root_key, fresh.root_key) != 0)
		ks_keys_remember_root(&fresh);
	strlcpy(outcome->root_key, fresh.root_key, sizeof(outcome->root_key));
	note_former(outcome, row->key.root_key);
	add_writing(writing, row, &fresh);
	outcome->wrapped++;
}

/* Rewraps at most BATCH rows after *last, which it moves on.  Returns how many
 * there were. */
static int
rewrap_batch(KeyTable *table, const char *root_key, KeyRow *last, Outcome *outcome)
{
	KsArgs		args = {0};
	Writing		writing;
	KeyRow	   *rows;
	int			n;

	ks_arg_text(&args, root_key);
	if (is_system(table))
		ks_arg_text(&args, last->system);
	else
		ks_arg_uuid(&args, last->key.workspace);
	ks_arg_int(&args, true, (int32) last->key.version);
	ks_arg_int(&args, true, BATCH);
	n = lock_rows(table, &table->lock, &args, &rows);
	begin_writing(&writing, table, n);
	for (int i = 0; i < n; i++)
	{
		rewrap_row(&rows[i], &writing, outcome);
		CHECK_FOR_INTERRUPTS();
	}
	end_writing(&writing, table);
	if (n > 0)
	{
		memcpy(last->key.workspace, rows[n - 1].key.workspace, KS_ID_LEN);
		last->key.version = rows[n - 1].key.version;
		if (last->system != NULL)
			last->system = MemoryContextStrdup(CurTransactionContext, rows[n - 1].system);
	}
	return n;
}

static void
rewrap_table(KeyTable *table, const char *root_key, Outcome *outcome)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone rewrap", ALLOCSET_DEFAULT_SIZES);
	KeyRow		last = {.system = is_system(table) ? "" : NULL};
	int			n;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		n = rewrap_batch(table, root_key, &last, outcome);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	} while (n == BATCH);
	MemoryContextDelete(work);
}

static void
warn_of_left(const Outcome *outcome)
{
	if (outcome->without_root > 0)
		ereport(WARNING,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg(INT64_FORMAT " keys were left: the keyring lacks the root keys that wrap them", outcome->without_root),
				errhint("keystone.seal_status names these root keys."));
	if (outcome->damaged > 0)
		ereport(WARNING,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg(INT64_FORMAT " keys were left: they do not unwrap", outcome->damaged),
				errhint("keystone.verify_all() names the values that need them."));
}

int64
ks_rewrap_all(KsVerb *verb)
{
	KsRootCheck current;
	Outcome		outcome = {0};

	initStringInfo(&outcome.former);

	/* Excludes others who do the same, and nobody who makes or uses a key. */
	LockRelationOid(ks_bulk_table("root_keys"), ShareUpdateExclusiveLock);
	ks_keyring_current_root(&current);
	ks_change_begin(verb);
	for (size_t i = 0; i < lengthof(key_tables); i++)
		rewrap_table(&key_tables[i], current.id, &outcome);
	if (outcome.wrapped > 0)
	{
		ks_detail_add(&verb->detail, "root_key", outcome.root_key);
		ks_detail_add(&verb->detail, "former_root_keys", outcome.former.data);
		ks_detail_add(&verb->detail, "keys", psprintf(INT64_FORMAT, outcome.wrapped));
	}
	ks_change_end_summary(verb);
	warn_of_left(&outcome);
	return outcome.wrapped;
}

static int
drop_former_of(KeyTable *table, int limit)
{
	KsArgs		args = {0};
	Writing		writing;
	KeyRow	   *rows;
	int			n;

	ks_arg_datum(&args, true, TEXTARRAYOID, ks_keys_root_ids());
	ks_arg_int(&args, true, limit);
	n = lock_rows(table, &table->lock_former, &args, &rows);
	begin_writing(&writing, table, n);
	for (int i = 0; i < n; i++)
	{
		KsWrappedKey fresh = rows[i].key;

		if (!ks_keyring_needs_no_previous(&rows[i].key))
			continue;
		fresh.previous_root_key[0] = '\0';
		add_writing(&writing, &rows[i], &fresh);
	}
	end_writing(&writing, table);
	return writing.n;
}

int
ks_rewrap_drop_former(KsVerb *verb, int limit)
{
	int			dropped = 0;

	ks_change_begin(verb);
	for (size_t i = 0; i < lengthof(key_tables); i++)
		dropped += drop_former_of(&key_tables[i], limit);
	if (dropped > 0)
	{
		ks_detail_add(&verb->detail, "former_dropped", psprintf("%d", dropped));
		ks_detail_add(&verb->detail, "source", "housekeeper");
	}
	ks_change_end_summary(verb);
	return dropped;
}
