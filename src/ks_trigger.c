/*-------------------------------------------------------------------------
 *
 * ks_trigger.c
 *	  Triggers on Keystone's own tables, and what belongs to the audit log's
 *	  tables: accept_restore() and audit_flush().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ks_args.h"
#include "ks_change.h"
#include "ks_draft.h"
#include "ks_error.h"
#include "ks_rights.h"
#include "ks_text.h"

#define FLUSH_ROUNDS	100		/* of a batch of the appender's each */

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function was not called by a trigger"));
	return (TriggerData *) fcinfo->context;
}

/*
 * Whoever may execute a trigger function can attach it to a table of his own,
 * with columns of the same names: that would make entries about things that
 * did not happen, of bytes that are not what they are taken for.
 */
static void
require_own_table(Relation rel)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));

	if (schema == NULL || (strcmp(schema, "keystone") != 0 && strcmp(schema, "keystone_private") != 0) ||
		!OidIsValid(getExtensionOfObject(RelationRelationId, RelationGetRelid(rel))))
		ks_error_denied("this trigger function is for the tables of Keystone only", NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_invalidate);
/* keystone_private.invalidate() returns trigger: AFTER, statement, on tables that give rights */
Datum
ks_fn_invalidate(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	require_own_table(data->tg_relation);
	ks_rights_changed(RelationGetRelid(data->tg_relation));
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_refuse_truncate);
/* keystone_private.refuse_truncate() returns trigger: BEFORE TRUNCATE, on every table */
Datum
ks_fn_refuse_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	ks_error_denied(psprintf("table \"%s\" cannot be truncated", RelationGetRelationName(data->tg_relation)),
					NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_row);
/* keystone_private.audit_row() returns trigger: AFTER, row, on the vault's tables */
Datum
ks_fn_audit_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || !TRIGGER_FIRED_AFTER(data->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function must be fired after each row"));
	require_own_table(data->tg_relation);
	ks_change_row(data);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_guard);
/* keystone_private.audit_guard() returns trigger: BEFORE, row, on the audit log's tables */
Datum
ks_fn_audit_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	/* A dump is restored before there is an instance row. */
	if (!ks_change_guard_open() &&
		!(TRIGGER_FIRED_BY_INSERT(data->tg_event) && !ks_change_has_instance()))
		ks_error_denied(psprintf("table \"%s\" is written by Keystone only",
								 RelationGetRelationName(data->tg_relation)), NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple);
}

/* A column of a row as text, palloc'd; NULL for NULL, or when there is none. */
static char *
column_of(HeapTuple tuple, TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Datum		value;
		Oid			output;
		bool		is_varlena;
		bool		isnull;

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		value = heap_getattr(tuple, i + 1, desc, &isnull);
		getTypeOutputInfo(att->atttypid, &output, &is_varlena);
		return isnull ? NULL : OidOutputFunctionCall(output, value);
	}
	return NULL;
}

static bool
is_kept(const TriggerData *data, const char *name)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	char	   *before = column_of(data->tg_trigtuple, desc, name);
	char	   *after = column_of(data->tg_newtuple, desc, name);

	return before == NULL || after == NULL ? before == after : strcmp(before, after) == 0;
}

/* States of a request that may follow one another; what has none here is over. */
static const struct
{
	const char *from;
	const char *to;
}			transitions[] = {
	{"pending", "approved"}, {"pending", "rejected"}, {"pending", "cancelled"}, {"pending", "expired"},
	{"pending", "superseded"}, {"approved", "rejected"}, {"approved", "cancelled"}, {"approved", "expired"},
	{"approved", "superseded"}, {"approved", "claimed"}, {"approved", "executed"}, {"approved", "failed"},
	{"claimed", "executed"}, {"claimed", "failed"}
};

/* What is frozen when a request is made. */
static const char *const frozen[] = {
	"workspace_id", "id", "requester", "action", "resource", "parameters", "reason", "request_hash", "need",
	"break_glass", "created_at"
};

static bool
may_follow(const TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	char	   *from = column_of(data->tg_trigtuple, desc, "state");
	char	   *to = column_of(data->tg_newtuple, desc, "state");

	for (size_t i = 0; i < lengthof(frozen); i++)
	{
		if (!is_kept(data, frozen[i]))
			return false;
	}
	for (size_t i = 0; i < lengthof(transitions); i++)
	{
		if (strcmp(from, transitions[i].from) == 0 && strcmp(to, transitions[i].to) == 0)
			return true;
	}
	return strcmp(from, to) == 0 && (strcmp(from, "pending") == 0 || is_kept(data, "level"));
}

/* A vote is changed from approve to reject only. */
static bool
may_change(const TriggerData *data)
{
	const char *table = RelationGetRelationName(data->tg_relation);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);

	if (strcmp(table, "approval_requests") == 0)
		return may_follow(data);
	return strcmp(table, "approval_votes") == 0 && is_kept(data, "voter") && is_kept(data, "request_id") &&
		strcmp(column_of(data->tg_newtuple, desc, "vote"), "reject") == 0;
}

PG_FUNCTION_INFO_V1(ks_fn_approval_guard);
/* keystone_private.approval_guard() returns trigger: BEFORE, row, on approvals */
Datum
ks_fn_approval_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	require_own_table(data->tg_relation);

	/* A dump is restored before there is an instance row. */
	if (!ks_change_guard_open() &&
		!(TRIGGER_FIRED_BY_INSERT(data->tg_event) && !ks_change_has_instance()))
		ks_error_denied(psprintf("table \"%s\" is written by Keystone only",
								 RelationGetRelationName(data->tg_relation)), NULL);
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) ||
		(TRIGGER_FIRED_BY_UPDATE(data->tg_event) && !may_change(data)))
		ks_error_denied(psprintf("a row of table \"%s\" does not change so",
								 RelationGetRelationName(data->tg_relation)), NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple);
}

static Datum
accept_restore(FunctionCallInfo fcinfo, KsVerb *verb)
{
	char	   *reason;
	KsDraft		draft;

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	reason = ks_text_name("reason", ks_arg_get_text(fcinfo, 0, "reason"), KS_REASON_MAX);
	if (!ks_change_accept(reason))
	{
		ereport(NOTICE,
				errmsg("there is nothing to accept: this database is the one that its log belongs to"));
		PG_RETURN_VOID();
	}
	ks_draft_begin(&draft, KS_ACTION_AUDIT_RESTORE, &verb->call.actor);
	ks_draft_why(&draft, reason, NULL);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_accept_restore);
/* accept_restore(reason) returns void */
Datum
ks_fn_accept_restore(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_AUDIT_RESTORE, accept_restore);
}

static Datum
claim_request(FunctionCallInfo fcinfo, KsVerb *verb)
{
	const uint8 *request = ks_arg_get_uuid(fcinfo, 0, "request");
	KsDraft		draft;
	KsTicket	ticket;

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	ks_change_require();
	ks_draft_begin(&draft, KS_ACTION_APPROVAL_CLAIM, &verb->call.actor);
	draft.event.flags = KS_EVENT_CLAIM;
	memcpy(draft.event.claim, request, KS_ID_LEN);
	memcpy(draft.event.object, request, KS_ID_LEN);
	ks_draft_finish(&draft);
	ks_event_put(&draft.event, &ticket);
	PG_RETURN_BOOL(ks_event_wait(&ticket) == KS_VERDICT_DONE);
}

PG_FUNCTION_INFO_V1(ks_fn_claim_request);
/* keystone_private.claim_request(request) returns boolean: whether it won */
Datum
ks_fn_claim_request(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_CLAIM, claim_request);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_flush);
/*
 * keystone_private.audit_flush() returns void: waits until all that is
 * committed now stands in the log
 */
Datum
ks_fn_audit_flush(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsDraft		draft;
	KsTicket	ticket;

	(void) fcinfo;
	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_WORKER | KS_PROFILE_AUDITOR | KS_PROFILE_ADMIN |
			 KS_PROFILE_MONITOR);
	ks_change_require();
	for (int round = 0; round < FLUSH_ROUNDS; round++)
	{
		ks_draft_begin(&draft, 0, &call.actor);
		draft.event.flags = KS_EVENT_FLUSH;
		ks_draft_finish(&draft);
		ks_event_put(&draft.event, &ticket);
		(void) ks_event_wait(&ticket);
		if (!ks_change_outbox_has_rows())
			break;
		ks_event_outbox_written();
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_VOID();
}
