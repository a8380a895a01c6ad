/*-------------------------------------------------------------------------
 *
 * ks_lifecycle_sql.c
 *	  What becomes of workspaces and principals, as SQL functions: changing,
 *	  suspending and offboarding the one and setting its plan, disabling the
 *	  other.
 *
 * Who changes a workspace takes its lock first and checks everything after it.
 * A row whose HMAC is not valid is never written here: that would put a valid
 * one on what somebody has forged.
 *
 * A member undoes what a member did, but not what an administrator did: a
 * status that no member may end has status_set_by NULL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_apikey.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_invitation.h"
#include "ks_plan.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define PURGE_YEARS_MAX		10

/* The table whose deleted rows disable principals, see link_auth_users(). */
#define AUTH_SCHEMA			"auth"
#define AUTH_TABLE			"users"
#define AUTH_TRIGGER		"keystone_user_deleted"
#define AUTH_GUARD			"keystone_no_truncate"

/* Workspaces */

static bool
is_admin(const KsVerb *verb)
{
	return (verb->call.profiles & KS_PROFILE_ADMIN) != 0;
}

KS_NORETURN static void refuse_forged(void) KS_NORETURN_END;

static void
refuse_forged(void)
{
	ks_error_denied("the row was changed by hand and gives nothing",
					"The check \"row macs\" of keystone.health names such rows.");
}

/*
 * Locks a workspace and reads its row, for a member or the admin profile.  me
 * is all zeros for an administrator who is no member.
 */
static void
lock_workspace(KsVerb *verb, const text *workspace, KsMembership *me, KsWorkspaceRow *row)
{
	memset(me, 0, sizeof(*me));
	if (is_admin(verb))
	{
		uint8		id[KS_ID_LEN];

		if (!ks_tenant_find_workspace(workspace, id))
			ks_error_not_found(NULL);
		memcpy(verb->workspace, id, KS_ID_LEN);
		ks_tenant_lock(id);
		(void) ks_membership_of(&verb->call, id, me);
	}
	else
		ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, me);
	memcpy(verb->object, verb->workspace, KS_ID_LEN);
	if (!ks_tenant_read_workspace(verb->workspace, row))
		refuse_forged();
}

/*
 * Sets a status.  by is the member who does, NULL for an administrator.  It is
 * a member's to undo only if what was before was: else an owner would end a
 * suspension by offboarding and taking that back, and a trial likewise.
 */
static void
set_status(KsWorkspaceRow *row, const char *status, const uint8 *by)
{
	row->set_by_member = by != NULL && (strcmp(row->status, "active") == 0 || row->set_by_member);
	if (row->set_by_member)
		memcpy(row->status_set_by, by, KS_ID_LEN);
	row->status = status;
}

/* The principal whose doing a change of status is, NULL for an administrator. */
static const uint8 *
who_sets(const KsVerb *verb)
{
	return is_admin(verb) ? NULL : verb->call.actor.principal;
}

/* What update_workspace() is to change; NULL stays. */
typedef struct Changes
{
	const char *slug;
	const char *status;
	KsWorkspaceTexts texts;
} Changes;

/* A string of the changes, NULL for JSON null. */
static text *
get_change(const JsonbValue *value, const char *parameter)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		ks_error_invalid(parameter, "a string", NULL);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static text *
get_required_change(const JsonbValue *value, const char *parameter)
{
	text	   *word = get_change(value, parameter);

	if (word == NULL)
		ks_error_invalid(parameter, "a string", NULL);
	return word;
}

static void
apply_change(Changes *changes, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "display_name") == 0)
		changes->texts.display_name = ks_text_name("changes.display_name",
												   get_required_change(value, "changes.display_name"),
												   KS_DISPLAY_NAME_MAX);
	else if (strcmp(key, "contact") == 0)
	{
		text	   *contact = get_change(value, "changes.contact");

		changes->texts.set_contact = true;
		changes->texts.contact = contact != NULL ?
			ks_text_name("changes.contact", contact, KS_DISPLAY_NAME_MAX) : NULL;
	}
	else if (strcmp(key, "slug") == 0)
	{
		changes->slug = text_to_cstring(get_required_change(value, "changes.slug"));
		ks_tenant_check_slug("changes.slug", changes->slug);
	}
	else if (strcmp(key, "status") == 0)
	{
		changes->status = text_to_cstring(get_required_change(value, "changes.status"));
		if (strcmp(changes->status, "active") != 0 && strcmp(changes->status, "trial") != 0 &&
			strcmp(changes->status, "suspended") != 0 && strcmp(changes->status, "cancelled") != 0)
			ks_error_invalid("changes.status", "active, trial, suspended or cancelled", NULL);
	}
	else
		ks_error_invalid("changes", "an object with the keys display_name, slug, contact, status", NULL);
}

static void
get_changes(FunctionCallInfo fcinfo, int n, Changes *changes)
{
	Jsonb	   *given = ks_arg_get_jsonb(fcinfo, n, "changes");
	JsonbIterator *iterator;
	JsonbValue	item;
	JsonbIteratorToken token;
	char	   *key = NULL;

	memset(changes, 0, sizeof(*changes));
	if (!JB_ROOT_IS_OBJECT(given))
		ks_error_invalid("changes", "a JSON object", NULL);
	iterator = JsonbIteratorInit(&given->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
			apply_change(changes, key, &item);
	}
}

static void
change_slug(KsWorkspaceRow *row, const char *slug)
{
	if (row->personal)
		ks_error_denied("a personal workspace keeps its slug", NULL);
	row->slug = slug;
}

/* An owner suspends, and ends what a member has suspended.  False when that is
 * no change. */
static bool
change_status(const KsVerb *verb, const KsMembership *me, KsWorkspaceRow *row, const char *status)
{
	if (row->offboarded)
		ks_error_denied("an offboarded workspace keeps its status", "See keystone.cancel_offboarding().");
	if (!is_admin(verb))
	{
		if (!me->owner)
			ks_error_denied("permission denied", "Only an owner or the profile admin sets the status.");
		if (strcmp(status, row->status) == 0)
			return false;
		if (!(strcmp(status, "suspended") == 0 && ks_tenant_is_usable(row)) &&
			!(strcmp(status, "active") == 0 && strcmp(row->status, "suspended") == 0 && row->set_by_member))
			ks_error_denied("permission denied",
							"An owner may suspend a workspace, and end what a member has suspended; the rest needs the profile admin.");
	}
	set_status(row, status, who_sets(verb));
	return true;
}

static Datum
update_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Changes		changes;
	KsMembership me;
	KsWorkspaceRow row;
	bool		changed;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	get_changes(fcinfo, 1, &changes);
	ks_begin_change();
	lock_workspace(verb, ks_arg_get_text(fcinfo, 0, "workspace"), &me, &row);
	changed = changes.slug != NULL || changes.texts.display_name != NULL || changes.texts.set_contact;
	if (changed || changes.status == NULL)
		ks_require(&me, KS_PERM_WORKSPACE);
	if (changes.slug != NULL)
		change_slug(&row, changes.slug);
	if (changes.status != NULL && change_status(verb, &me, &row, changes.status))
		changed = true;
	if (changed)
		ks_tenant_write_workspace(&row, &changes.texts);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_update_workspace);
/* update_workspace(workspace, changes jsonb) returns void */
Datum
ks_fn_update_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_UPDATE, update_workspace);
}

/*
 * Who holds billing chooses freely where everybody has the greatest plan
 * anyway.  Where plans are sold that would be a present: there it may only
 * choose one that gives less.
 */
static void
check_may_set_plan(const KsVerb *verb, const KsMembership *me, const char *from, const char *to)
{
	int			rank = ks_plan_or_default(from)->rank;

	if (is_admin(verb))
		return;
	ks_require(me, KS_PERM_BILLING);
	if (ks_plan_find(to)->rank > rank && strcmp(ks_default_plan, "enterprise") != 0)
		ks_error_denied("permission denied", "Only the profile admin gives a workspace a plan that includes more.");
}

static Datum
set_plan(FunctionCallInfo fcinfo, KsVerb *verb)
{
	char	   *plan = text_to_cstring(ks_arg_get_text(fcinfo, 1, "plan"));
	KsMembership me;
	KsWorkspaceRow row;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	if (ks_plan_find(plan) == NULL)
		ks_error_invalid("plan", "one of keystone.plans", NULL);
	ks_begin_change();
	lock_workspace(verb, ks_arg_get_text(fcinfo, 0, "workspace"), &me, &row);
	check_may_set_plan(verb, &me, row.plan, plan);
	if (row.plan == NULL || strcmp(row.plan, plan) != 0)
	{
		row.plan = plan;
		ks_tenant_write_workspace(&row, NULL);
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_set_plan);
/* set_plan(workspace, plan) returns void */
Datum
ks_fn_set_plan(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PLAN_CHANGE, set_plan);
}

/* Offboarding */

/*
 * When a time from now is over.  Intervals of wildly different size are
 * refused before anything is computed, which could overflow.
 */
static TimestampTz
get_purge_after(FunctionCallInfo fcinfo, int n)
{
	Interval	most = {.month = PURGE_YEARS_MAX * MONTHS_PER_YEAR};
	Interval	near_most = {.month = (PURGE_YEARS_MAX + 1) * MONTHS_PER_YEAR};
	Interval	near_least = {.month = -(PURGE_YEARS_MAX + 1) * MONTHS_PER_YEAR};
	Datum		now = TimestampTzGetDatum(GetCurrentTimestamp());
	Datum		given;
	TimestampTz end = 0;
	TimestampTz last;
	bool		near_enough;

	if (PG_ARGISNULL(n))
		ks_error_null("purge_after");
	given = PG_GETARG_DATUM(n);
	near_enough = DatumGetBool(DirectFunctionCall2(interval_le, given, IntervalPGetDatum(&near_most))) &&
		DatumGetBool(DirectFunctionCall2(interval_ge, given, IntervalPGetDatum(&near_least)));
	last = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, now, IntervalPGetDatum(&most)));
	if (near_enough)
		end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, now, given));
	if (!near_enough || end < DatumGetTimestampTz(now) || end > last)
		ks_error_invalid("purge_after", psprintf("zero to %d years", PURGE_YEARS_MAX), NULL);
	return end;
}

static void
require_owner_or_admin(const KsVerb *verb, const KsMembership *me)
{
	if (!me->owner && !is_admin(verb))
		ks_error_denied("permission denied", "This needs an owner of the workspace, or the profile admin.");
}

static void
check_confirmed(FunctionCallInfo fcinfo, int n, const char *slug)
{
	text	   *confirm = ks_arg_get_text_or_null(fcinfo, n);

	if (confirm == NULL || strcmp(text_to_cstring(confirm), slug) != 0)
		ks_error_invalid("confirm", "the slug of the workspace",
						 "Repeat the slug: all that the workspace holds is destroyed when the time is over.");
}

static Datum
offboard_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsWorkspaceRow row;
	TimestampTz purge_after;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	purge_after = get_purge_after(fcinfo, 1);
	ks_begin_change();
	lock_workspace(verb, ks_arg_get_text(fcinfo, 0, "workspace"), &me, &row);
	require_owner_or_admin(verb, &me);
	if (row.offboarded)
		ks_error_denied("the workspace is offboarded already",
						"For another date cancel that first: keystone.cancel_offboarding().");
	if (row.personal && !is_admin(verb))
		ks_error_denied("a personal workspace is not offboarded", NULL);
	check_confirmed(fcinfo, 2, row.slug);

	set_status(&row, "cancelled", who_sets(verb));
	row.offboarded = true;
	row.purge_after = purge_after;
	ks_tenant_write_workspace(&row, NULL);
	(void) ks_apikey_revoke_all(row.id, NULL);
	(void) ks_invitation_cancel(row.id, NULL, NULL);
	PG_RETURN_TIMESTAMPTZ(purge_after);
}

PG_FUNCTION_INFO_V1(ks_fn_offboard_workspace);
/* offboard_workspace(workspace, purge_after interval, confirm) returns timestamptz */
Datum
ks_fn_offboard_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_OFFBOARD, offboard_workspace);
}

/*
 * Not once the time is over: the purge goes by the same clock, and may have
 * destroyed a part already.
 */
static Datum
cancel_offboarding(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership me;
	KsWorkspaceRow row;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	ks_begin_change();
	lock_workspace(verb, ks_arg_get_text(fcinfo, 0, "workspace"), &me, &row);
	require_owner_or_admin(verb, &me);
	if (!row.offboarded || row.purged || row.purge_after <= GetCurrentTimestamp())
		ks_error_not_found("The workspace is not offboarded, or its time is over.");
	if (!is_admin(verb) && !row.set_by_member)
		ks_error_denied("permission denied",
						"The workspace was offboarded by an administrator, or from a status that only an administrator changes.");

	set_status(&row, "active", who_sets(verb));
	row.offboarded = false;
	ks_tenant_write_workspace(&row, NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_cancel_offboarding);
/* cancel_offboarding(workspace) returns void */
Datum
ks_fn_cancel_offboarding(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_WORKSPACE_OFFBOARD, cancel_offboarding);
}

/* Principals */

static void
set_disabled(FunctionCallInfo fcinfo, KsVerb *verb, bool disabled)
{
	const uint8 *principal = ks_arg_get_uuid(fcinfo, 0, "principal");

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	memcpy(verb->object, principal, KS_ID_LEN);
	ks_begin_change();
	switch (ks_tenant_set_disabled(principal, disabled))
	{
		case KS_PRINCIPAL_ABSENT:
			ks_error_not_found(NULL);
			break;
		case KS_PRINCIPAL_FORGED:
			refuse_forged();
			break;
		case KS_PRINCIPAL_GOOD:
		case KS_PRINCIPAL_DISABLED:
			break;
	}
}

static Datum
disable_principal(FunctionCallInfo fcinfo, KsVerb *verb)
{
	set_disabled(fcinfo, verb, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_disable_principal);
/* disable_principal(principal) returns void */
Datum
ks_fn_disable_principal(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PRINCIPAL_DISABLE, disable_principal);
}

static Datum
enable_principal(FunctionCallInfo fcinfo, KsVerb *verb)
{
	set_disabled(fcinfo, verb, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_enable_principal);
/* enable_principal(principal) returns void */
Datum
ks_fn_enable_principal(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PRINCIPAL_ENABLE, enable_principal);
}

/* Users of another system */

static void
require_auth_users(void)
{
	Oid			schema = get_namespace_oid(AUTH_SCHEMA, true);
	Oid			table = OidIsValid(schema) ? get_relname_relid(AUTH_TABLE, schema) : InvalidOid;
	AttrNumber	column = OidIsValid(table) ? get_attnum(table, "id") : InvalidAttrNumber;

	if (column == InvalidAttrNumber || get_rel_relkind(table) != RELKIND_RELATION ||
		get_atttype(table, column) != UUIDOID)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("there is no table auth.users with a column id of type uuid"),
				errhint("This is for databases with Supabase's table of users; elsewhere call keystone.disable_principal()."));
}

/*
 * Makes a trigger on the table of users, which goes with the extension, and
 * fires also where session_replication_role would switch it off.
 */
static void
make_auth_trigger(const char *name, const char *what)
{
	const char *table = AUTH_SCHEMA "." AUTH_TABLE;

	ks_spi_utility(psprintf("CREATE OR REPLACE TRIGGER %s %s", name, what));
	ks_spi_utility(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name));
	ks_spi_utility(psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION keystone", name, table));
}

/* TRUNCATE would delete users without a trigger for each of them. */
static Datum
link_auth_users(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsSpi		spi;

	(void) fcinfo;
	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	require_auth_users();
	ks_spi_begin_write(&spi);
	make_auth_trigger(AUTH_TRIGGER, "AFTER DELETE ON " AUTH_SCHEMA "." AUTH_TABLE
					  " FOR EACH ROW EXECUTE FUNCTION keystone_private.auth_user_deleted()");
	make_auth_trigger(AUTH_GUARD, "BEFORE TRUNCATE ON " AUTH_SCHEMA "." AUTH_TABLE
					  " FOR EACH STATEMENT EXECUTE FUNCTION keystone_private.refuse_truncate()");
	ks_spi_end(&spi);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_link_auth_users);
/* link_auth_users() returns void */
Datum
ks_fn_link_auth_users(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PRINCIPAL_DISABLE, link_auth_users);
}

/* The id of the user that was deleted; false when there is none. */
static bool
get_deleted_user(FunctionCallInfo fcinfo, uint8 id[KS_ID_LEN])
{
	static const uint8 nil[KS_ID_LEN] = {0};
	const TriggerData *data;
	AttrNumber	column;
	Datum		value;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function was not called by a trigger"));
	data = (const TriggerData *) fcinfo->context;
	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		!TRIGGER_FIRED_BY_DELETE(data->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function must be fired after each row that is deleted"));
	if (strcmp(RelationGetRelationName(data->tg_relation), AUTH_TABLE) != 0 ||
		RelationGetNamespace(data->tg_relation) != get_namespace_oid(AUTH_SCHEMA, true))
		ks_error_denied("this trigger function is for the table auth.users only", NULL);

	/* The table may have another column of that name by now. */
	require_auth_users();
	column = get_attnum(RelationGetRelid(data->tg_relation), "id");
	value = heap_getattr(data->tg_trigtuple, column, RelationGetDescr(data->tg_relation), &isnull);
	if (isnull)
		return false;
	memcpy(id, DatumGetUUIDP(value)->data, KS_ID_LEN);
	return memcmp(id, nil, KS_ID_LEN) != 0;
}

/*
 * Whoever deletes a user need not have anything to do with Keystone.  If the
 * principal cannot be disabled, as in a sealed vault, the user stays: somebody
 * who is gone must not go on by a token.
 */
static Datum
auth_user_deleted(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint8		user[KS_ID_LEN];

	if (!get_deleted_user(fcinfo, user))
		return PointerGetDatum(NULL);
	ks_identity_actor(&verb->call.actor);
	verb->entered = true;
	memcpy(verb->object, user, KS_ID_LEN);
	ks_begin_change();
	if (ks_tenant_bury_principal(user) == KS_PRINCIPAL_FORGED)
		refuse_forged();
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_auth_user_deleted);
/* keystone_private.auth_user_deleted() returns trigger: AFTER DELETE, row, on auth.users */
Datum
ks_fn_auth_user_deleted(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_PRINCIPAL_DISABLE, auth_user_deleted);
}
