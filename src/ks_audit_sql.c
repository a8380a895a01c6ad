/*-------------------------------------------------------------------------
 *
 * ks_audit_sql.c
 *	  Functions that read the audit log: what the view audit_log stands on,
 *	  verification, checkpoints, proofs, keys.
 *
 * What a reader is shown comes from the bytes of an entry, never from the
 * columns beside them.  Bytes that are no entry show nothing, and raise no
 * error: one bad row stays one bad row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_action.h"
#include "ks_args.h"
#include "ks_audit.h"
#include "ks_change.h"
#include "ks_error.h"
#include "ks_readlog.h"
#include "ks_verify.h"

/* Columns of audit_decode(). */
enum
{
	OUT_AT, OUT_WORKSPACE, OUT_ACTOR, OUT_ON_BEHALF_OF, OUT_ROLE, OUT_ACTION, OUT_OBJECT,
	OUT_VERSION, OUT_OUTCOME, OUT_CLIENT_ADDR, OUT_CLAIMED_ADDR, OUT_USER_AGENT,
	OUT_APPLICATION_NAME,
	OUT_WORKFLOW, OUT_NODE, OUT_RUN, OUT_REQUEST_ID, OUT_REASON, OUT_EPOCH, OUT_DETAIL,
	OUT_COLUMNS
};

/* Keys of the detail that have a column of their own. */
static const struct
{
	const char *key;
	int			column;
}			detail_columns[] = {
	{"on_behalf_of", OUT_ON_BEHALF_OF},
	{"client_addr", OUT_CLIENT_ADDR},
	{"claimed_addr", OUT_CLAIMED_ADDR},
	{"claimed_user_agent", OUT_USER_AGENT},
	{"application_name", OUT_APPLICATION_NAME},
	{"workflow", OUT_WORKFLOW},
	{"node", OUT_NODE},
	{"run", OUT_RUN},
	{"request_id", OUT_REQUEST_ID},
	{"reason", OUT_REASON},
};

typedef struct Shown
{
	Datum		values[OUT_COLUMNS];
	bool		nulls[OUT_COLUMNS];
} Shown;

/* A text that is not UTF-8 is not shown. */
static bool
is_text(const char *data, size_t len)
{
	return pg_verify_mbstr(PG_UTF8, data, (int) len, true);
}

static void
show(Shown *shown, int column, Datum value)
{
	shown->values[column] = value;
	shown->nulls[column] = false;
}

static void
show_text(Shown *shown, int column, const char *data, size_t len)
{
	if (is_text(data, len))
		show(shown, column, PointerGetDatum(cstring_to_text_with_len(data, (int) len)));
}

static void
show_id(Shown *shown, int column, const uint8 *id)
{
	static const uint8 nil[KS_ID_LEN];

	if (memcmp(id, nil, KS_ID_LEN) != 0)
		show(shown, column, ks_uuid_datum(id));
}

static void
show_entry(Shown *shown, const KsEntry *entry)
{
	TimestampTz at = entry->time - KS_UNIX_EPOCH_OFFSET;

	/* Bytes that somebody edited may say anything. */
	if (IS_VALID_TIMESTAMP(at))
		show(shown, OUT_AT, TimestampTzGetDatum(at));
	show_id(shown, OUT_WORKSPACE, entry->workspace);
	show_text(shown, OUT_ACTOR, entry->actor, entry->actor_len);
	show_text(shown, OUT_ROLE, entry->role, entry->role_len);
	show(shown, OUT_ACTION, CStringGetTextDatum(ks_readlog_action(entry->kind)));
	show_id(shown, OUT_OBJECT, entry->object);
	if (entry->version != 0)
		show(shown, OUT_VERSION, Int64GetDatum((int64) entry->version));
	show(shown, OUT_OUTCOME, CStringGetTextDatum(ks_readlog_outcome(entry->outcome)));
	show(shown, OUT_EPOCH, Int32GetDatum((int32) entry->epoch));
}

static void
set_string(JsonbValue *value, const char *data, size_t len)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, data);
	value->val.string.len = (int) len;
}

static bool
is_key(const KsDetailReader *reader, const char *key)
{
	return reader->key_len == strlen(key) && memcmp(reader->key, key, reader->key_len) == 0;
}

/* Digests of rows, of the entry itself or of one that it has erased. */
static bool
is_of_rows(const KsDetailReader *reader)
{
	static const char erased[] = KS_ROWS_KEY ".";

	return is_key(reader, KS_ROWS_KEY) ||
		(reader->key_len >= strlen(erased) && memcmp(reader->key, erased, strlen(erased)) == 0);
}

/* The detail as an object, and some of its keys as columns.  Digests of rows
 * are for audit_reconcile(), and left out. */
static void
show_detail(Shown *shown, const bytea *detail)
{
	JsonbParseState *state = NULL;
	JsonbValue	item;
	KsDetailReader reader;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	ks_detail_read(&reader, VARDATA_ANY(detail), VARSIZE_ANY_EXHDR(detail));
	while (ks_detail_next(&reader))
	{
		if (!is_text(reader.key, reader.key_len) || !is_text(reader.value, reader.value_len) ||
			is_of_rows(&reader))
			continue;
		set_string(&item, reader.key, reader.key_len);
		(void) pushJsonbValue(&state, WJB_KEY, &item);
		set_string(&item, reader.value, reader.value_len);
		(void) pushJsonbValue(&state, WJB_VALUE, &item);
		for (size_t i = 0; i < lengthof(detail_columns); i++)
		{
			if (is_key(&reader, detail_columns[i].key))
				show_text(shown, detail_columns[i].column, reader.value, reader.value_len);
		}
	}
	show(shown, OUT_DETAIL, JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL))));
}

/* The description of the result, looked up once a query. */
static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc	desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != OUT_COLUMNS)
			elog(ERROR, "function does not return the row that is expected");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	return fcinfo->flinfo->fn_extra;
}

PG_FUNCTION_INFO_V1(ks_fn_audit_decode);
/* keystone_private.audit_decode(entry bytea, detail bytea) returns record */
Datum
ks_fn_audit_decode(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo);
	Shown		shown = {{0}, {false}};
	KsEntry		entry;

	memset(shown.nulls, true, sizeof(shown.nulls));
	if (!PG_ARGISNULL(0))
	{
		const bytea *bytes = PG_GETARG_BYTEA_PP(0);

		if (ks_entry_decode(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &entry))
			show_entry(&shown, &entry);
	}
	if (!PG_ARGISNULL(1))
		show_detail(&shown, PG_GETARG_BYTEA_PP(1));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, shown.values, shown.nulls)));
}

PG_FUNCTION_INFO_V1(ks_fn_auditor_sees_from);
/*
 * keystone_private.auditor_sees_from() returns bigint
 *
 * A policy may ask for each row: the answer is kept for the execution of a
 * query, as for a stable function it may be.
 */
Datum
ks_fn_auditor_sees_from(PG_FUNCTION_ARGS)
{
	static const bool yes = true;
	static const bool no = false;
	const bool *known = fcinfo->flinfo->fn_extra;

	if (known == NULL)
	{
		KsCall		call;

		ks_enter(&call, 0);
		known = (call.profiles & KS_PROFILE_AUDITOR) ? &yes : &no;
		fcinfo->flinfo->fn_extra = unconstify(bool *, known);
	}
	if (!*known)
		PG_RETURN_NULL();
	PG_RETURN_INT64(0);
}

/* Verification. */

static Datum
audit_verify(FunctionCallInfo fcinfo, KsVerb *verb)
{
	int64		from;
	int64		to;
	KsVerification found;
	Datum		values[5] = {0};
	bool		nulls[5] = {false};

	ks_verb_enter(verb, KS_READLOG_PROFILES);
	ks_readlog_require(&verb->call);
	from = ks_arg_get_seq(fcinfo, 0, "from_seq", 0);
	to = ks_arg_get_seq(fcinfo, 1, "to_seq", PG_INT64_MAX);
	if (from > to)
		ks_error_invalid("to_seq", "from_seq or greater", NULL);

	ks_verify(from, to, &found);
	ks_detail_add(&verb->detail, "checked", psprintf(INT64_FORMAT, found.checked));
	ks_detail_add(&verb->detail, "problem", found.problem);
	ks_readlog_record(verb, 0);

	values[0] = BoolGetDatum(found.problem == NULL);
	values[1] = Int64GetDatum(found.checked);
	values[2] = Int64GetDatum(found.first_bad);
	nulls[2] = nulls[3] = found.problem == NULL;
	if (found.problem != NULL)
		values[3] = CStringGetTextDatum(found.problem);
	values[4] = CStringGetTextDatum(found.problem != NULL ? "broken" : found.empty ? "empty" : "self-consistent");
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_verify);
/* audit_verify(from_seq, to_seq) returns (ok, checked, first_bad, problem, verdict) */
Datum
ks_fn_audit_verify(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_AUDIT_VERIFY, audit_verify);
}

/* Checkpoints and proofs. */

static Datum
audit_checkpoint(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsEpoch		epoch;
	char	   *note;
	int64		last;

	(void) fcinfo;
	ks_verb_enter(verb, KS_READLOG_PROFILES);
	ks_readlog_require(&verb->call);
	last = ks_audit_last_seq();
	ks_readlog_checkpoint(&verb->call);
	if (!ks_audit_epoch(&epoch) ||
		epoch.first_seq + (int64) ks_readlog_newest_note(&epoch, &note) - 1 <= last)
		ks_readlog_error_unsigned();
	PG_RETURN_TEXT_P(cstring_to_text(note));
}

PG_FUNCTION_INFO_V1(ks_fn_audit_checkpoint);
/* audit_checkpoint() returns "text/plain" */
Datum
ks_fn_audit_checkpoint(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_AUDIT_CHECKPOINT, audit_checkpoint);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_inclusion);
/* audit_inclusion(seq) returns "text/plain" */
Datum
ks_fn_audit_inclusion(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsEpoch		epoch;
	KsProver   *prover;
	int64		seq;
	char	   *note;
	uint64		size;

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_AUDITOR);
	if (PG_ARGISNULL(0))
		ks_error_null("seq");
	seq = PG_GETARG_INT64(0);
	if (!ks_readlog_may_see(&call, seq) || !ks_readlog_epoch_of(seq, &epoch))
		ks_error_not_found(NULL);

	size = ks_readlog_newest_note(&epoch, &note);
	if (epoch.first_seq + (int64) size <= seq)
	{
		ks_readlog_checkpoint(&call);
		size = ks_readlog_newest_note(&epoch, &note);
		if (epoch.first_seq + (int64) size <= seq)
			ks_readlog_error_unsigned();
	}
	prover = ks_prover_make(&epoch, size, note, NULL);
	PG_RETURN_TEXT_P(cstring_to_text(ks_prover_inclusion(prover, (uint64) (seq - epoch.first_seq))));
}

PG_FUNCTION_INFO_V1(ks_fn_audit_consistency);
/* audit_consistency(old_size, new_size) returns "text/plain" */
Datum
ks_fn_audit_consistency(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsEpoch		epoch;
	KsProver   *prover;
	int64		size = 0;

	ks_enter(&call, KS_READLOG_PROFILES);
	ks_readlog_require(&call);
	if (PG_ARGISNULL(0))
		ks_error_null("old_size");
	if (PG_ARGISNULL(1))
		ks_error_null("new_size");
	if (ks_audit_epoch(&epoch))
		size = ks_audit_last_seq() - epoch.first_seq + 1;
	if (PG_GETARG_INT64(1) < 0 || PG_GETARG_INT64(1) > size)
		ks_error_invalid("new_size", "a size that the current epoch's tree has or had", NULL);
	if (PG_GETARG_INT64(0) < 0 || PG_GETARG_INT64(0) > PG_GETARG_INT64(1))
		ks_error_invalid("old_size", "at least 0, and not greater than new_size", NULL);
	size = PG_GETARG_INT64(1);
	prover = ks_prover_make(&epoch, (uint64) size, ks_readlog_note(&epoch, (uint64) size), NULL);
	PG_RETURN_TEXT_P(cstring_to_text(ks_prover_consistency(prover, (uint64) PG_GETARG_INT64(0))));
}

PG_FUNCTION_INFO_V1(ks_fn_audit_public_keys);
/* audit_public_keys() returns setof (key_id, vkey, valid_from, valid_to) */
Datum
ks_fn_audit_public_keys(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsPublicKey *keys;
	KsSetResult set;
	int			n;

	ks_enter(&call, KS_READLOG_PROFILES);
	n = ks_readlog_keys(NULL, &keys);
	ks_set_begin(fcinfo, false, &set);
	for (int i = 0; i < n; i++)
	{
		Datum		values[4] = {0};
		bool		nulls[4] = {keys[i].key_id[0] == '\0', keys[i].vkey == NULL, false, keys[i].valid_to == 0};

		values[0] = CStringGetTextDatum(keys[i].key_id);
		if (!nulls[1])
			values[1] = CStringGetTextDatum(keys[i].vkey);
		values[2] = Int64GetDatum(keys[i].valid_from);
		values[3] = Int64GetDatum(keys[i].valid_to);
		ks_set_add(&set, values, nulls);
	}
	return (Datum) 0;
}
