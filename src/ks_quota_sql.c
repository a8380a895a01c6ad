/*-------------------------------------------------------------------------
 *
 * ks_quota_sql.c
 *	  Quotas and plans as SQL functions.  set_plan() is in ks_lifecycle_sql.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ks_error.h"
#include "ks_plan.h"
#include "ks_quota.h"
#include "ks_text.h"
#include "ks_vault_args.h"

/* (allowed, used, included, overage, cost_micros, reservation) */
static Datum
make_row(FunctionCallInfo fcinfo, const KsQuotaAnswer *answer)
{
	Datum		values[6];
	bool		nulls[6] = {false, false, !answer->limited, false, false, !answer->reserved};

	values[0] = BoolGetDatum(answer->allowed);
	values[1] = Int64GetDatum(answer->used);
	values[2] = Int64GetDatum(answer->included);
	values[3] = Int64GetDatum(answer->overage);
	values[4] = Int64GetDatum(answer->cost_micros);
	values[5] = answer->reserved ? ks_uuid_datum(answer->reservation) : (Datum) 0;
	return ks_row_result(fcinfo, values, nulls);
}

static void
get_ask(FunctionCallInfo fcinfo, KsQuotaAsk *ask)
{
	text	   *key = ks_arg_get_text_or_null(fcinfo, 3);

	ask->meter = ks_text_name("meter", ks_arg_get_text(fcinfo, 1, "meter"), KS_KIND_MAX);
	if (PG_ARGISNULL(2))
		ks_error_null("quantity");
	ask->quantity = PG_GETARG_INT64(2);
	if (ask->quantity < 1 || ask->quantity > KS_QUOTA_QUANTITY_MAX)
		ks_error_invalid("quantity", psprintf("1 to " INT64_FORMAT, KS_QUOTA_QUANTITY_MAX), NULL);
	if (key != NULL)
		ask->idempotency_key = ks_text_name("idempotency_key", key, KS_NAME_MAX);
	ask->principal = ks_arg_get_uuid_or_null(fcinfo, 4);
}

/*
 * What is used is paid for, so who only looks uses nothing: rotations take the
 * permission to rotate, all else that or the one to reveal.
 */
static void
require_use(const KsMembership *member, bool of_rotations)
{
	if (of_rotations)
		ks_require(member, KS_PERM_ROTATE);
	else
		ks_require_any(member, KS_PERM_REVEAL | KS_PERM_ROTATE);
}

static Datum
ask_quota(FunctionCallInfo fcinfo, KsVerb *verb, bool reserve)
{
	KsQuotaAsk	ask = {.reserve = reserve};
	KsQuotaAnswer answer;
	KsMembership member;

	ks_verb_enter_known(verb, KS_PROFILE_WORKER);
	get_ask(fcinfo, &ask);
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	memcpy(ask.workspace, member.workspace, KS_ID_LEN);
	require_use(&member, strcmp(ask.meter, KS_METER_ROTATIONS) == 0);
	ks_require_usable(&member);
	ks_quota_ask(&ask, &answer);
	return make_row(fcinfo, &answer);
}

static Datum
quota_consume(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return ask_quota(fcinfo, verb, false);
}

PG_FUNCTION_INFO_V1(ks_fn_quota_consume);
/* quota_consume(workspace, meter, quantity, idempotency_key, principal) returns record */
Datum
ks_fn_quota_consume(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_QUOTA_CONSUME, quota_consume);
}

static Datum
quota_reserve(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return ask_quota(fcinfo, verb, true);
}

PG_FUNCTION_INFO_V1(ks_fn_quota_reserve);
/* quota_reserve(workspace, meter, quantity, idempotency_key, principal) returns record */
Datum
ks_fn_quota_reserve(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_QUOTA_CONSUME, quota_reserve);
}

/*
 * Ends a reservation.  A suspended workspace's, too: what is reserved may have
 * been done already.
 */
static Datum
end_reservation(FunctionCallInfo fcinfo, KsVerb *verb,
				bool (*end) (const KsReservation *, KsQuotaAnswer *))
{
	const uint8 *id = ks_arg_get_uuid(fcinfo, 0, "reservation");
	KsReservation reservation;
	KsQuotaAnswer answer;
	KsMembership member;

	ks_verb_enter_known(verb, KS_PROFILE_WORKER);
	memcpy(verb->object, id, KS_ID_LEN);
	ks_begin_change();
	if (!ks_quota_find(id, &reservation) ||
		!ks_membership_of(&verb->call, reservation.workspace, &member))
		ks_error_not_found(NULL);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	require_use(&member, reservation.of_rotations);
	if (!end(&reservation, &answer))
		ks_error_not_found("The reservation has ended.");
	return make_row(fcinfo, &answer);
}

static Datum
quota_commit(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return end_reservation(fcinfo, verb, ks_quota_commit);
}

PG_FUNCTION_INFO_V1(ks_fn_quota_commit);
/* quota_commit(reservation) returns record */
Datum
ks_fn_quota_commit(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_QUOTA_CONSUME, quota_commit);
}

static Datum
quota_release(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return end_reservation(fcinfo, verb, ks_quota_release);
}

PG_FUNCTION_INFO_V1(ks_fn_quota_release);
/* quota_release(reservation) returns record */
Datum
ks_fn_quota_release(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_QUOTA_CONSUME, quota_release);
}

/* The workspace that is argument 0, for a member with view or the admin profile. */
static void
find_workspace(FunctionCallInfo fcinfo, const KsCall *call, uint8 id[KS_ID_LEN])
{
	const text *workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	KsMembership member;

	if (call->profiles & KS_PROFILE_ADMIN)
	{
		if (!ks_tenant_find_workspace(workspace, id))
			ks_error_not_found(NULL);
		return;
	}
	ks_membership(call, workspace, &member);
	ks_require(&member, KS_PERM_VIEW);
	memcpy(id, member.workspace, KS_ID_LEN);
}

PG_FUNCTION_INFO_V1(ks_fn_plan_allows);
/* plan_allows(workspace, feature) returns boolean */
Datum
ks_fn_plan_allows(PG_FUNCTION_ARGS)
{
	KsCall		call;
	uint8		workspace[KS_ID_LEN];
	char	   *feature = text_to_cstring(ks_arg_get_text(fcinfo, 1, "feature"));

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	find_workspace(fcinfo, &call, workspace);
	if (!ks_plan_knows(feature))
		ks_error_invalid("feature", "one of the features in keystone.plans", NULL);
	PG_RETURN_BOOL(ks_plan_has(ks_plan_of(workspace), feature));
}
