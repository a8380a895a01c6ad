/*-------------------------------------------------------------------------
 *
 * ks_export_sql.c
 *	  audit_export(): the audit log as lines of text, for somebody who trusts
 *	  neither this server nor its administrators.
 *
 * A line is a JSON object as ks_jsonl.h has it.  All of them are of one
 * snapshot.
 *
 * What "decoded" says is read from the bytes of the entry, for people; a
 * verifier reads the bytes itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_jsonl.h"
#include "ks_readlog.h"
#include "ks_tenant.h"

#define EXPORT_BATCH	500		/* rows read at once */

/* What is asked for. */
typedef struct Selection
{
	bool		has_workspace;
	uint8		workspace[KS_ID_LEN];
	int64		from;
	int64		to;
	TimestampTz since;			/* included */
	TimestampTz until;			/* not included */
} Selection;

typedef struct Export
{
	Selection	selection;
	Snapshot	snapshot;
	Tuplestorestate *lines;
	TupleDesc	desc;
	MemoryContext work;			/* reset after each batch */
	int			nepochs;
	KsEpoch    *epochs;
	KsProver  **provers;		/* of each epoch, NULL where there is no
								 * checkpoint */
	uint64	   *covered;		/* size of the last checkpoint */
	int64		last;			/* seq */
	int64		entries;
	int64		checkpoints;
} Export;

/* A row of audit_entries. */
typedef struct ExportRow
{
	int64		seq;
	int32		epoch;
	const uint8 *entry;
	size_t		entry_len;
	const uint8 *salt;			/* may be NULL */
	size_t		salt_len;
	const uint8 *detail;		/* may be NULL */
	size_t		detail_len;
	int64		erased_in;		/* 0: it was not erased */
	bool		decoded;
	KsEntry		fields;
} ExportRow;

static void
add_line(Export *export, StringInfo line, Tuplestorestate *store)
{
	Datum		value = PointerGetDatum(cstring_to_text_with_len(line->data, line->len));
	bool		isnull = false;

	tuplestore_putvalues(store, export->desc, &value, &isnull);
}

/* Lines. */

static void
put_detail(StringInfo line, const ExportRow *row)
{
	KsDetailReader reader;
	const char *separator = "";

	appendStringInfoChar(line, '{');
	ks_detail_read(&reader, row->detail, row->detail != NULL ? row->detail_len : 0);
	while (ks_detail_next(&reader))
	{
		appendStringInfoString(line, separator);
		ks_jsonl_text(line, reader.key, reader.key_len);
		appendStringInfoChar(line, ':');
		ks_jsonl_text(line, reader.value, reader.value_len);
		separator = ",";
	}
	appendStringInfoChar(line, '}');
}

static void
put_decoded(StringInfo line, const ExportRow *row)
{
	const KsEntry *entry = &row->fields;

	appendStringInfoString(line, "{\"at\":");
	ks_jsonl_time(line, entry->time - KS_UNIX_EPOCH_OFFSET);
	appendStringInfoString(line, ",\"action\":");
	ks_jsonl_cstring(line, ks_readlog_action(entry->kind));
	appendStringInfo(line, ",\"outcome\":\"%s\",\"actor\":", ks_readlog_outcome(entry->outcome));
	ks_jsonl_text(line, entry->actor, entry->actor_len);
	appendStringInfoString(line, ",\"db_role\":");
	ks_jsonl_text(line, entry->role, entry->role_len);
	appendStringInfoString(line, ",\"workspace\":");
	ks_jsonl_id(line, entry->workspace);
	appendStringInfo(line, ",\"workspace_seq\":" UINT64_FORMAT ",\"object\":", entry->workspace_seq);
	ks_jsonl_id(line, entry->object);
	appendStringInfo(line, ",\"version\":" UINT64_FORMAT ",\"detail\":", entry->version);
	put_detail(line, row);
	appendStringInfoChar(line, '}');
}

/* Index of an entry's epoch, by where it stands; -1: none. */
static int
epoch_index(const Export *export, int64 seq)
{
	int			i = export->nepochs - 1;

	while (i >= 0 && export->epochs[i].first_seq > seq)
		i--;
	return i;
}

/* The inclusion proof; null where no checkpoint covers the entry. */
static void
put_proof(Export *export, StringInfo line, int epoch, int64 index)
{
	char	   *proof;

	appendStringInfoString(line, ",\"proof\":");
	if (epoch < 0 || export->provers[epoch] == NULL || (uint64) index >= export->covered[epoch])
	{
		appendStringInfoString(line, "null");
		return;
	}
	proof = ks_prover_inclusion(export->provers[epoch], (uint64) index);
	ks_jsonl_base64(line, proof, strlen(proof));
}

static void
add_entry(Export *export, const ExportRow *row)
{
	StringInfoData line;
	KsHash		leaf;
	int			epoch = epoch_index(export, row->seq);
	int64		index = epoch >= 0 ? row->seq - export->epochs[epoch].first_seq : -1;

	if (row->entry == NULL || ks_leaf_hash(row->entry, row->entry_len, &leaf) != KS_CRYPTO_OK)
		return;
	initStringInfo(&line);
	appendStringInfo(&line, "{\"seq\":" INT64_FORMAT ",\"epoch\":%d,\"index\":" INT64_FORMAT ",\"entry\":",
					 row->seq, row->epoch, index);
	ks_jsonl_base64(&line, row->entry, row->entry_len);
	appendStringInfoString(&line, ",\"salt\":");
	ks_jsonl_base64(&line, row->salt, row->salt_len);
	appendStringInfoString(&line, ",\"detail\":");
	ks_jsonl_base64(&line, row->detail, row->detail_len);
	if (row->erased_in != 0)
		appendStringInfo(&line, ",\"erased_in\":" INT64_FORMAT, row->erased_in);
	appendStringInfoString(&line, ",\"leaf\":");
	ks_jsonl_hex(&line, leaf.bytes, KS_DIGEST_LEN);
	if (export->selection.has_workspace)
		put_proof(export, &line, epoch, index);
	appendStringInfoString(&line, ",\"decoded\":");
	if (row->decoded)
		put_decoded(&line, row);
	else
		appendStringInfoString(&line, "null");
	appendStringInfoChar(&line, '}');
	add_line(export, &line, export->lines);
	export->entries++;
}

static void
add_checkpoint(Export *export, int32 epoch, int64 size, const char *note)
{
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(&line, "{\"checkpoint\":{\"epoch\":%d,\"size\":" INT64_FORMAT ",\"note\":", epoch, size);
	ks_jsonl_base64(&line, note, strlen(note));
	appendStringInfoString(&line, "}}");
	add_line(export, &line, export->lines);
	export->checkpoints++;
}

static void
add_key(Export *export, const KsPublicKey *key)
{
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfo(&line, "{\"key\":{\"epoch\":%d,\"valid_from\":" INT64_FORMAT ",\"vkey\":",
					 key->epoch, key->valid_from);
	ks_jsonl_cstring(&line, key->vkey != NULL ? key->vkey : "");
	appendStringInfoString(&line, ",\"signature\":");
	ks_jsonl_base64(&line, key->signature, key->signature_len);
	appendStringInfoString(&line, "}}");
	add_line(export, &line, export->lines);
}

static void
put_epoch(const Export *export, StringInfo line, int i)
{
	const KsEpoch *epoch = &export->epochs[i];
	int64		end = i + 1 < export->nepochs ? export->epochs[i + 1].first_seq : export->last + 1;

	appendStringInfo(line, "%s{\"epoch\":%d,\"log_id\":", i > 0 ? "," : "", epoch->epoch);
	ks_jsonl_id(line, epoch->log_id);
	appendStringInfoString(line, ",\"origin\":");
	ks_jsonl_cstring(line, epoch->origin);
	appendStringInfo(line, ",\"first_seq\":" INT64_FORMAT ",\"size\":" INT64_FORMAT
					 ",\"previous_size\":" UINT64_FORMAT ",\"previous_root\":",
					 epoch->first_seq, end - epoch->first_seq, epoch->previous_size);
	ks_jsonl_hex(line, epoch->previous_root.bytes, KS_DIGEST_LEN);
	appendStringInfoChar(line, '}');
}

static void
add_manifest(Export *export, int nkeys, Tuplestorestate *store)
{
	const Selection *selection = &export->selection;
	StringInfoData line;

	initStringInfo(&line);
	appendStringInfoString(&line, "{\"keystone_audit_export\":1,\"origin\":");
	ks_jsonl_cstring(&line, export->nepochs > 0 ? export->epochs[export->nepochs - 1].origin : "");
	appendStringInfoString(&line, ",\"workspace\":");
	ks_jsonl_id(&line, selection->workspace);
	appendStringInfo(&line, ",\"from_seq\":" INT64_FORMAT ",\"to_seq\":" INT64_FORMAT ",\"since\":",
					 selection->from, Min(selection->to, export->last));
	ks_jsonl_time(&line, selection->since);
	appendStringInfoString(&line, ",\"until\":");
	ks_jsonl_time(&line, selection->until);
	appendStringInfo(&line, ",\"entries\":" INT64_FORMAT ",\"checkpoints\":" INT64_FORMAT ",\"keys\":%d,\"epochs\":[",
					 export->entries, export->checkpoints, nkeys);
	for (int i = 0; i < export->nepochs; i++)
		put_epoch(export, &line, i);
	appendStringInfoString(&line, "]}");
	add_line(export, &line, store);
}

/* Reading. */

/*
 * Whether an entry is asked for, as its bytes say; the columns by which it was
 * found may have been edited.  One that cannot be read is no workspace's.
 */
static bool
is_selected(const Selection *selection, const ExportRow *row)
{
	TimestampTz at;

	if (!row->decoded)
		return !selection->has_workspace;
	at = row->fields.time - KS_UNIX_EPOCH_OFFSET;
	if (at < selection->since || at >= selection->until)
		return false;
	return !selection->has_workspace ||
		memcmp(row->fields.workspace, selection->workspace, KS_ID_LEN) == 0;
}

static void
read_row(const KsSpi *spi, uint64 i, ExportRow *row)
{
	memset(row, 0, sizeof(*row));
	(void) ks_col_bigint(i, 1, &row->seq);
	(void) ks_col_int(i, 2, &row->epoch);
	row->entry = ks_col_bytes(spi, i, 3, &row->entry_len);
	row->salt = ks_col_bytes(spi, i, 4, &row->salt_len);
	row->detail = ks_col_bytes(spi, i, 5, &row->detail_len);
	(void) ks_col_bigint(i, 6, &row->erased_in);
	row->decoded = row->entry != NULL && ks_entry_decode(row->entry, row->entry_len, &row->fields);
}

/* The next rows from a seq on, palloc'd; returns how many. */
static int
read_batch(const Export *export, int64 from, ExportRow **rows)
{
	static KsPlan all = {.sql =
		"SELECT seq, epoch, entry, salt, detail, erased_in FROM keystone_private.audit_entries"
		" WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT $3"
	};
	static KsPlan of_workspace = {.sql =
		"SELECT seq, epoch, entry, salt, detail, erased_in FROM keystone_private.audit_entries"
		" WHERE seq >= $1 AND seq <= $2 AND workspace_id = $4 ORDER BY workspace_id, seq LIMIT $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, from);
	ks_arg_bigint(&args, true, export->selection.to);
	ks_arg_bigint(&args, true, EXPORT_BATCH);
	if (export->selection.has_workspace)
		ks_arg_uuid(&args, export->selection.workspace);
	n = (int) ks_spi_read_at(export->selection.has_workspace ? &of_workspace : &all, &args, export->snapshot);
	*rows = MemoryContextAlloc(spi.caller, Max(n, 1) * sizeof(ExportRow));
	for (int i = 0; i < n; i++)
		read_row(&spi, i, &(*rows)[i]);
	ks_spi_end(&spi);
	return n;
}

static void
export_entries(Export *export)
{
	int64		from = export->selection.from;
	ExportRow  *rows;
	int			n;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(export->work);

		n = read_batch(export, from, &rows);
		for (int i = 0; i < n; i++)
		{
			if (is_selected(&export->selection, &rows[i]))
				add_entry(export, &rows[i]);
			from = rows[i].seq + 1;
			CHECK_FOR_INTERRUPTS();
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(export->work);
	} while (n == EXPORT_BATCH);
}

/* All checkpoints over the entries asked for, after an epoch and size. */
static int
read_checkpoints(Export *export, int32 *epoch, int64 *size)
{
	static KsPlan plan = {.sql =
		"SELECT c.epoch, c.size, c.note FROM keystone_private.audit_checkpoints c"
		" JOIN keystone_private.audit_epochs e ON e.epoch = c.epoch"
		" WHERE (c.epoch, c.size) > ($1, $2) AND e.first_seq + c.size > $3 AND e.first_seq + c.size - 1 <= $4"
		" ORDER BY c.epoch, c.size LIMIT $5"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_int(&args, true, *epoch);
	ks_arg_bigint(&args, true, *size);
	ks_arg_bigint(&args, true, export->selection.from);
	ks_arg_bigint(&args, true, export->selection.to);
	ks_arg_bigint(&args, true, EXPORT_BATCH);
	n = (int) ks_spi_read_at(&plan, &args, export->snapshot);
	for (int i = 0; i < n; i++)
	{
		(void) ks_col_int(i, 1, epoch);
		(void) ks_col_bigint(i, 2, size);
		add_checkpoint(export, *epoch, *size, ks_col_text(&spi, i, 3));
	}
	ks_spi_end(&spi);
	return n;
}

static void
export_checkpoints(Export *export)
{
	int32		epoch = 0;
	int64		size = 0;
	int			n;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(export->work);

		n = read_checkpoints(export, &epoch, &size);
		MemoryContextSwitchTo(old);
		MemoryContextReset(export->work);
		CHECK_FOR_INTERRUPTS();
	} while (n == EXPORT_BATCH);
}

/* The last checkpoint of each epoch, under which a workspace's proofs stand. */
static void
prepare_proofs(Export *export)
{
	static KsPlan plan = {.sql =
		"SELECT size, note FROM keystone_private.audit_checkpoints WHERE epoch = $1"
		" ORDER BY epoch DESC, size DESC LIMIT 1"
	};

	for (int i = 0; i < export->nepochs; i++)
	{
		KsArgs		args = {0};
		KsSpi		spi;
		int64		size = 0;
		char	   *note = NULL;

		ks_spi_begin(&spi);
		ks_arg_int(&args, true, export->epochs[i].epoch);
		if (ks_spi_read_at(&plan, &args, export->snapshot) == 1)
		{
			(void) ks_col_bigint(0, 1, &size);
			note = ks_col_text(&spi, 0, 2);
		}
		ks_spi_end(&spi);
		if (note == NULL)
			continue;
		export->covered[i] = (uint64) size;
		export->provers[i] = ks_prover_make(&export->epochs[i], (uint64) size, note, export->snapshot);
	}
}

static int64
last_seq(Snapshot snapshot)
{
	static KsPlan plan = {.sql = "SELECT seq FROM keystone_private.audit_entries ORDER BY seq DESC LIMIT 1"};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		seq = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read_at(&plan, &args, snapshot) == 1)
		(void) ks_col_bigint(0, 1, &seq);
	ks_spi_end(&spi);
	return seq;
}

static void
begin_export(Export *export, TupleDesc desc)
{
	export->desc = desc;
	export->snapshot = ks_spi_take_snapshot();
	export->work = AllocSetContextCreate(CurrentMemoryContext, "keystone audit export", ALLOCSET_DEFAULT_SIZES);
	export->lines = tuplestore_begin_heap(false, false, work_mem);
	export->last = last_seq(export->snapshot);
	export->nepochs = ks_audit_epochs(&export->epochs);
	while (export->nepochs > 0 && export->epochs[export->nepochs - 1].first_seq > export->last)
		export->nepochs--;		/* began after the snapshot */
	export->provers = palloc0(Max(export->nepochs, 1) * sizeof(KsProver *));
	export->covered = palloc0(Max(export->nepochs, 1) * sizeof(uint64));
	if (export->selection.has_workspace)
		prepare_proofs(export);
}

/* The lines that were collected, behind the manifest that counts them. */
static void
copy_lines(Export *export, Tuplestorestate *store)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(export->desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(export->lines, true, false, slot))
	{
		tuplestore_puttupleslot(store, slot);
		CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(export->lines);
}

static void
run_export(const Selection *selection, KsSetResult *set)
{
	Export	   *export = palloc0(sizeof(Export));
	KsPublicKey *keys;
	int			nkeys;

	export->selection = *selection;
	begin_export(export, set->desc);
	export_entries(export);
	for (int i = 0; selection->has_workspace && i < export->nepochs; i++)
	{
		if (export->provers[i] != NULL)
			add_checkpoint(export, export->epochs[i].epoch, (int64) export->covered[i],
						   ks_readlog_note(&export->epochs[i], export->covered[i]));
	}
	if (!selection->has_workspace)
		export_checkpoints(export);
	nkeys = ks_readlog_keys(export->snapshot, &keys);
	for (int i = 0; i < nkeys; i++)
		add_key(export, &keys[i]);
	add_manifest(export, nkeys, set->store);
	copy_lines(export, set->store);
	ks_spi_drop_snapshot(export->snapshot);
	MemoryContextDelete(export->work);
}

/* The function. */

/* Which workspace, and whether the caller may: PT404, 42501. */
static void
select_workspace(KsVerb *verb, const text *workspace, Selection *selection)
{
	KsMembership member;

	if (workspace == NULL)
	{
		if (!(verb->call.profiles & KS_PROFILE_AUDITOR))
			ks_error_denied("permission denied",
							"The whole log needs the profile auditor; name a workspace in which you have the permission \"audit\".");
		return;
	}
	selection->has_workspace = true;
	if (verb->call.profiles & KS_PROFILE_AUDITOR)
	{
		if (!ks_tenant_find_workspace(workspace, selection->workspace))
			ks_error_not_found(NULL);
	}
	else
	{
		ks_membership(&verb->call, workspace, &member);
		memcpy(verb->workspace, member.workspace, KS_ID_LEN);
		if (!(member.permissions & KS_PERM_AUDIT))
			ks_require(&member, KS_PERM_AUDIT);
		memcpy(selection->workspace, member.workspace, KS_ID_LEN);
	}
	memcpy(verb->workspace, selection->workspace, KS_ID_LEN);
}

static void
get_selection(FunctionCallInfo fcinfo, KsVerb *verb, Selection *selection)
{
	char	   *format = text_to_cstring(ks_arg_get_text(fcinfo, 0, "format"));

	memset(selection, 0, sizeof(*selection));
	if (strcmp(format, "jsonl") != 0)
		ks_error_invalid("format", "jsonl", NULL);
	selection->since = PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2);
	selection->until = PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3);
	if (selection->since > selection->until)
		ks_error_invalid("until", "a time after since", NULL);
	selection->from = ks_arg_get_seq(fcinfo, 4, "from_seq", 1);
	selection->to = ks_arg_get_seq(fcinfo, 5, "to_seq", PG_INT64_MAX);
	if (selection->from > selection->to)
		ks_error_invalid("to_seq", "from_seq or greater", NULL);
	select_workspace(verb, ks_arg_get_text_or_null(fcinfo, 1), selection);
}

static Datum
audit_export(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Selection	selection;
	KsSetResult set;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_AUDITOR);
	get_selection(fcinfo, verb, &selection);
	ks_set_begin(fcinfo, false, &set);

	/* Before reading: the export has its own entry, and a checkpoint over it. */
	ks_detail_add(&verb->detail, "from_seq", psprintf(INT64_FORMAT, selection.from));
	if (selection.to != PG_INT64_MAX)
		ks_detail_add(&verb->detail, "to_seq", psprintf(INT64_FORMAT, selection.to));
	ks_readlog_record(verb, KS_EVENT_CHECKPOINT);
	run_export(&selection, &set);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_audit_export);
/* audit_export(format, workspace, since, until, from_seq, to_seq) returns setof text */
Datum
ks_fn_audit_export(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_AUDIT_EXPORT, audit_export);
}
