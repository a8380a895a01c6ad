/*-------------------------------------------------------------------------
 *
 * ks_verb.c
 *	  A call of a function of the API, as the audit log sees it.
 *
 * The verbs that run are a list through their stack frames.  A frame leaves
 * the list before it ends, also when an error passes through it.
 *
 * A refusal is recorded while the error waits: nothing is aborted yet, but
 * the current user may be the extension's owner still, and the error may have
 * come at any place.  So no table is read then but through the catalog's
 * caches, and the user is put back first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "ks_args.h"
#include "ks_change.h"
#include "ks_error.h"
#include "ks_latency.h"

static KsVerb *current = NULL;

KsVerb *
ks_verb_current(void)
{
	return current;
}

/* Whether an error is a refusal that stands in the log, and with what outcome. */
static bool
is_recorded(int sqlstate, KsOutcome *outcome)
{
	switch (sqlstate)
	{
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
		case KS_ERRCODE_NOT_FOUND:
		case KS_ERRCODE_CONFLICT:
		case KS_ERRCODE_SEALED:
		case KS_ERRCODE_PRECONDITION:
		case KS_ERRCODE_LIMITED:
			*outcome = KS_OUTCOME_DENIED;
			return true;
		case ERRCODE_DATA_CORRUPTED:
			*outcome = KS_OUTCOME_ERROR;
			return true;
		default:
			return false;
	}
}

/* The event of a verb, not finished. */
static void
draft_verb(KsDraft *draft, const KsVerb *verb, uint16 kind, const KsCredential *credential)
{
	ks_draft_begin(draft, kind, OidIsValid(verb->call.actor.role) ? &verb->call.actor : NULL);
	memcpy(draft->event.workspace, verb->workspace, KS_ID_LEN);
	if (credential != NULL)
		ks_draft_credential(draft, credential);
	else
		memcpy(draft->event.object, verb->object, KS_ID_LEN);
	draft->event.version = verb->version;
	for (int i = 0; i < verb->detail.n; i++)
		ks_detail_add_bytes(&draft->detail, verb->detail.pairs[i].key, verb->detail.pairs[i].value,
							verb->detail.pairs[i].value_len);
}

/* Unless the verb has said something under the same key. */
static void
add_once(KsDetail *detail, const char *key, const char *value)
{
	for (int i = 0; i < detail->n; i++)
	{
		if (strcmp(detail->pairs[i].key, key) == 0)
			return;
	}
	ks_detail_add(detail, key, value);
}

/* Which limit refused. */
static void
add_limited(KsDetail *detail, const KsLimited *limited)
{
	add_once(detail, "limit", limited->limit);
	add_once(detail, "window", limited->window);
	if (limited->retry_after >= 0)
		add_once(detail, "retry_after", psprintf(INT64_FORMAT, limited->retry_after));
}

/* Sends it on its way. */
static void
put_draft(KsDraft *draft, const KsVerb *verb, KsTicket *ticket)
{
	ks_draft_why(draft, verb->reason, verb->context);
	ks_draft_finish(draft);
	ks_event_put(&draft->event, ticket);
}

/*
 * Records a refusal, or the number of them that it belongs to.  An entry of
 * its own is not waited for; a number is, since it covers the next ones.
 * True when there is an entry of its own.
 */
static bool
put_refusal(KsVerb *verb, KsOutcome outcome, int sqlstate, const KsLimited *limited,
			const KsCredential *credential, KsTicket *ticket)
{
	KsDraft		draft;
	uint8		caller[KS_ID_LEN];
	int			up_to;

	draft_verb(&draft, verb, verb->action, credential);
	ks_draft_caller(&verb->call.actor, caller);
	up_to = ks_event_count_denial(caller);
	if (up_to < 0)
		return false;

	draft.event.outcome = outcome;
	if (up_to == 0)
	{
		ks_detail_add(&draft.detail, "sqlstate", unpack_sql_state(sqlstate));
		if (limited != NULL)
			add_limited(&draft.detail, limited);
		put_draft(&draft, verb, ticket);
		return true;
	}
	ks_draft_begin(&draft, KS_ACTION_DENIALS, &verb->call.actor);
	draft.event.outcome = KS_OUTCOME_DENIED;
	ks_detail_add(&draft.detail, "action", ks_action_name(verb->action));
	ks_detail_add(&draft.detail, "up_to", psprintf("%d", up_to));
	ks_draft_finish(&draft);
	ks_event_put(&draft.event, ticket);
	(void) ks_event_wait(ticket);
	ks_event_denials_covered(caller, up_to);
	return false;
}

bool
ks_verb_put_refusal(KsVerb *verb, int sqlstate, const KsLimited *limited,
					const KsCredential *credential, const uint8 *object, KsTicket *ticket)
{
	KsOutcome	outcome;
	bool		put;

	ks_latency_denied(sqlstate);
	if (!is_recorded(sqlstate, &outcome) || !ks_change_can_record())
		return false;
	if (object != NULL)
		memcpy(verb->object, object, KS_ID_LEN);
	put = put_refusal(verb, outcome, sqlstate, limited, credential, ticket);
	memset(verb->object, 0, KS_ID_LEN);
	return put;
}

static void
record_refusal(KsVerb *verb, int sqlstate)
{
	const KsLimited *limited = NULL;
	KsOutcome	outcome;
	KsTicket	ticket;

	/* Over HTTP PT429 has this form, and nothing else has. */
	if (sqlstate == KS_SQLSTATE_PGRST)
		sqlstate = KS_ERRCODE_LIMITED;
	if (sqlstate == KS_ERRCODE_LIMITED)
		limited = ks_error_take_limited();
	if (verb->outer == NULL)
		ks_latency_denied(sqlstate);
	if (!is_recorded(sqlstate, &outcome) || !ks_change_can_record())
		return;
	if (!OidIsValid(verb->call.actor.role))
		ks_identity_actor(&verb->call.actor);
	if (put_refusal(verb, outcome, sqlstate, limited, verb->has_credential ? &verb->credential : NULL, &ticket))
		(void) ks_event_wait(&ticket);
}

/* Loader for ks_identity: a token that proves nothing.  Never the token. */
static void
record_failure(const KsAuthFailure *failure)
{
	KsVerb		verb;
	KsTicket	ticket;

	if (!ks_change_can_record())
		return;
	memset(&verb, 0, sizeof(verb));
	verb.action = KS_ACTION_AUTH_FAIL;
	ks_identity_actor(&verb.call.actor);
	ks_detail_add(&verb.detail, "token", ks_source_name(failure->kind));
	ks_detail_add(&verb.detail, "key_prefix", failure->prefix);
	ks_detail_add(&verb.detail, "why", failure->why);
	if (put_refusal(&verb, KS_OUTCOME_DENIED, ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, NULL, &ticket))
		(void) ks_event_wait(&ticket);
}

void
ks_verb_init(void)
{
	ks_identity_loader.record_failure = record_failure;
}

Datum
ks_verb_run(FunctionCallInfo fcinfo, KsAction action, KsVerbBody body)
{
	MemoryContext context = CurrentMemoryContext;
	KsVerb		verb;
	Datum		result;
	Oid			user;
	int			sec_context;

	memset(&verb, 0, offsetof(KsVerb, detail));
	memset((char *) &verb + offsetof(KsVerb, outer), 0, sizeof(verb) - offsetof(KsVerb, outer));
	verb.detail.n = 0;
	verb.detail.len = 0;
	verb.detail.full = false;
	verb.action = action;
	verb.outer = current;
	GetUserIdAndSecContext(&user, &sec_context);

	current = &verb;
	PG_TRY();
	{
		result = body(fcinfo, &verb);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		current = verb.outer;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		SetUserIdAndSecContext(user, sec_context);
		verb.changing = false;
		record_refusal(&verb, error->sqlerrcode);
		ReThrowError(error);
	}
	PG_END_TRY();
	current = verb.outer;
	return result;
}

void
ks_verb_enter(KsVerb *verb, uint32 profiles)
{
	ks_enter(&verb->call, profiles);
	verb->entered = true;
}

void
ks_verb_enter_known(KsVerb *verb, uint32 profiles)
{
	ks_enter_known(&verb->call, profiles);
	verb->entered = true;
}

void
ks_verb_enter_own(KsVerb *verb)
{
	ks_identity_actor(&verb->call.actor);
	verb->entered = true;
}

void
ks_verb_why(KsVerb *verb, const text *reason, const Jsonb *context)
{
	ks_check_extra(reason, context);
	verb->takes_reason = true;
	verb->reason = reason != NULL ? text_to_cstring(reason) : NULL;
	verb->context = context;
}

void
ks_verb_extra(KsVerb *verb, FunctionCallInfo fcinfo, int n)
{
	const uint8 *approval = ks_arg_get_uuid_or_null(fcinfo, n);

	ks_check_extra_args(fcinfo, n);
	verb->takes_approval = verb->takes_reason = true;
	verb->has_approval = approval != NULL;
	if (approval != NULL)
		memcpy(verb->approval, approval, KS_ID_LEN);
	verb->reason = PG_ARGISNULL(n + 1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n + 1));
	verb->context = PG_GETARG_JSONB_P(n + 2);
}

void
ks_verb_credential(KsVerb *verb, const KsCredential *credential, int32 version)
{
	memcpy(verb->workspace, credential->workspace, KS_ID_LEN);
	memcpy(verb->object, credential->id, KS_ID_LEN);
	verb->credential = *credential;
	verb->has_credential = true;
	verb->version = version;
}

void
ks_verb_put(KsVerb *verb, KsOutcome outcome, const KsCredential *credential, const KsSealed *sealed,
			KsTicket *ticket)
{
	KsDraft		draft;

	if (verb->action == KS_ACTION_CREDENTIAL_REVEAL && outcome == KS_OUTCOME_OK)
		ks_latency_revealed();
	draft_verb(&draft, verb, verb->action, credential);
	draft.event.outcome = outcome;
	ks_detail_add(&draft.detail, KS_UNCOMMITTED_KEY, ks_change_uncommitted());
	if (sealed != NULL)
	{
		draft.event.version = sealed->version;
		draft.event.has_digest = true;
		ks_change_digest(sealed->aad_digest, sealed->envelope, sealed->envelope_len, sealed->key.key_id,
						 draft.event.digest);
	}
	put_draft(&draft, verb, ticket);
}

void
ks_verb_record(KsVerb *verb, KsOutcome outcome, const KsCredential *credential, const KsSealed *sealed)
{
	KsTicket	ticket;

	ks_verb_put(verb, outcome, credential, sealed, &ticket);
	(void) ks_event_wait(&ticket);
}
