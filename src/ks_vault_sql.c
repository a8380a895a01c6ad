/*-------------------------------------------------------------------------
 *
 * ks_vault_sql.c
 *	  The verbs that change a credential that is there.
 *
 * A function that takes a secret marks its statement first of all, so that
 * what follows, an error about another argument included, is logged redacted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_guc.h"
#include "ks_hooks.h"
#include "ks_mem.h"
#include "ks_quota.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"

/* What most verbs here ask about: the credential as it is. */
static void
ask_policy(KsVerb *verb, const char *action, const KsCredential *credential, const Jsonb *parameters)
{
	ks_gate_credential(verb, NULL, action, credential, credential->current_version, parameters);
}

/* An argument that is JSON, as a member of what an approval is bound to. */
static Jsonb *
json_parameter(const char *key, Jsonb *argument)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = &argument->root;
	value.val.binary.len = (int) (VARSIZE(argument) - VARHDRSZ);
	return ks_gate_parameter(NULL, key, &value);
}

/* Versions */

static Datum
rotate(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsProvider	provider;
	KsSecretArg secret;
	KsValue		value;
	int32		previous;
	int32		version;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	ks_hooks_mark_secret("rotate");
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_arg_get_secret(fcinfo, 1, "value", &secret);
	ks_verb_extra(verb, fcinfo, 4);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	ks_check_expected(&credential, !PG_ARGISNULL(2), PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	if (credential.provider != NULL)
		ks_get_provider(credential.workspace, credential.provider, &provider);
	ks_check_value(&secret, credential.provider != NULL ? &provider : NULL);

	previous = credential.current_version;
	value.data = (char *) secret.data;
	value.len = secret.len;
	verb->dry_run = ks_arg_get_bool(fcinfo, 3, "dry_run");
	ask_policy(verb, "rotate", &credential, NULL);
	if (verb->dry_run)
		version = credential.last_version + 1;
	else
	{
		ks_enforce_change(&verb->call, &credential);
		ks_change_begin(verb);
		version = ks_vault_put(&credential, &value, true, 0, verb->call.actor.principal);
		ks_change_end(verb, &credential, version);
		ks_quota_use(verb, credential.workspace, KS_METER_ROTATIONS, 1);
	}
	values[0] = Int32GetDatum(version);
	values[1] = Int32GetDatum(previous);
	nulls[1] = previous == 0;
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_rotate);
/* rotate(credential, value, expected_version, dry_run, approval, reason, context) returns (version, previous) */
Datum
ks_fn_rotate(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_ROTATE, rotate);
}

/* Reads a version of a locked credential, which is to become current. */
static void
read_version(const KsCredential *credential, int32 version, KsSealed *sealed)
{
	KsCredential row;

	if (!ks_store_find_id(credential->id, version, &row, sealed) || sealed->version == 0 ||
		strcmp(sealed->state, "destroyed") == 0)
		ks_error_not_found(NULL);
}

/* Opens it, if the limits allow the attempt. */
static void
open_version(const KsVerb *verb, const KsCredential *credential, const KsSealed *sealed, KsValue *value)
{
	KsProblem	problem = {0};

	ks_enforce_change(&verb->call, credential);
	if (!ks_vault_open(credential, sealed, value, &problem))
		ks_vault_raise(&problem);
}

static Datum
promote(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	read_version(&credential, version, &sealed);
	if (strcmp(sealed.state, "pending") != 0)
		ks_error_invalid("version", "the number of a pending version",
						 "rollback_to() gives an earlier version's value to a new version.");
	ks_gate_credential(verb, NULL, "promote", &credential, version, NULL);
	open_version(verb, &credential, &sealed, &value);
	credential.hint = ks_hints ? ks_value_hint(credential.kind, value.data, value.len) : NULL;
	ks_secret_wipe(value.data);
	ks_change_begin(verb);
	ks_store_set_current(&credential, version);
	ks_change_end(verb, &credential, version);
	ks_quota_use(verb, credential.workspace, KS_METER_ROTATIONS, 1);
	PG_RETURN_INT32(version);
}

PG_FUNCTION_INFO_V1(ks_fn_promote);
/* promote(credential, version, approval, reason, context) returns int */
Datum
ks_fn_promote(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_PROMOTE, promote);
}

static Datum
rollback_to(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");
	int32		made;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	read_version(&credential, version, &sealed);
	if (strcmp(sealed.state, "previous") != 0)
		ks_error_invalid("version", "the number of a previous version", NULL);
	ks_gate_credential(verb, NULL, "rollback_to", &credential, version, NULL);
	open_version(verb, &credential, &sealed, &value);
	ks_change_begin(verb);
	made = ks_vault_put(&credential, &value, true, version, verb->call.actor.principal);
	ks_secret_wipe(value.data);
	ks_detail_add(&verb->detail, "source_version", psprintf("%d", version));
	ks_change_end(verb, &credential, made);
	ks_quota_use(verb, credential.workspace, KS_METER_ROTATIONS, 1);
	PG_RETURN_INT32(made);
}

PG_FUNCTION_INFO_V1(ks_fn_rollback_to);
/* rollback_to(credential, version, approval, reason, context) returns int */
Datum
ks_fn_rollback_to(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_ROLLBACK, rollback_to);
}

/* Metadata */

/* A change's value as text; NULL for JSON null.  22023 for another type. */
static char *
change_text(const JsonbValue *value, const char *key)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		ks_error_invalid(psprintf("changes.%s", key), "a string", NULL);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static text *
change_required(const JsonbValue *value, const char *key)
{
	char	   *word = change_text(value, key);

	if (word == NULL)
		ks_error_invalid(psprintf("changes.%s", key), "a string", NULL);
	return cstring_to_text(word);
}

/* Calls apply for each key of the changes. */
static void
for_each_change(Jsonb *changes, KsCredential *row,
				bool (*apply) (KsCredential *row, const char *key, const JsonbValue *value),
				const char *known)
{
	JsonbIterator *iterator;
	JsonbValue	item;
	JsonbIteratorToken token;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(changes))
		ks_error_invalid("changes", "a JSON object", NULL);
	iterator = JsonbIteratorInit(&changes->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE && !apply(row, key, &item))
			ks_error_invalid("changes", psprintf("an object with the keys %s", known), NULL);
	}
}

static bool
apply_rename(KsCredential *row, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "name") == 0)
	{
		row->name = ks_text_name("changes.name", change_required(value, key), KS_NAME_MAX);
		row->folded_name = ks_text_fold(row->name);
	}
	else if (strcmp(key, "environment") == 0)
		row->environment = ks_text_name("changes.environment", change_required(value, key), KS_ENVIRONMENT_MAX);
	else if (strcmp(key, "kind") == 0)
		row->kind = ks_text_name("changes.kind", change_required(value, key), KS_KIND_MAX);
	else if (strcmp(key, "provider") == 0)
		row->provider = value->type == jbvNull ? NULL :
			ks_text_name("changes.provider", change_required(value, key), KS_PROVIDER_MAX);
	else
		return false;
	return true;
}

static Datum
rename_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential before;
	KsCredential after;
	KsMembership member;
	KsProvider	provider;
	Jsonb	   *changes;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &before);
	after = before;
	changes = ks_arg_get_jsonb(fcinfo, 1, "changes");
	for_each_change(changes, &after, apply_rename, "name, environment, provider, kind");
	if (!ks_membership_of(&verb->call, before.workspace, &member))
		ks_error_not_found(NULL);
	ks_require_within(&member, after.environment, after.provider);
	if (after.provider != NULL && after.provider != before.provider)
		ks_get_provider(before.workspace, after.provider, &provider);
	ks_gate_change(verb, "rename", &before, &after, json_parameter("changes", changes));
	ks_change_begin(verb);
	ks_vault_change(&before, &after, before.current_version);
	if (strcmp(before.name, after.name) != 0)
		ks_detail_add(&verb->detail, "previous_name", before.name);
	ks_change_end(verb, &after, before.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_rename);
/* rename(credential, changes jsonb, approval, reason, context) returns void */
Datum
ks_fn_rename(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_RENAME, rename_credential);
}

static bool
apply_tags(KsCredential *row, const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbValue	item;
	JsonbIteratorToken token;
	Datum		tags[KS_TAGS_MAX];
	int			n = 0;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		ks_error_invalid("changes.tags", "an array of strings", NULL);
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (item.type != jbvString)
			ks_error_invalid("changes.tags", "an array of strings", NULL);
		if (n >= KS_TAGS_MAX)
			ks_error_invalid("changes.tags", psprintf("at most %d tags", KS_TAGS_MAX), NULL);
		tags[n++] = PointerGetDatum(cstring_to_text_with_len(item.val.string.val, item.val.string.len));
	}
	row->tags = PointerGetDatum(construct_array(tags, n, TEXTOID, -1, false, TYPALIGN_INT));
	ks_check_tags(row->tags);
	return true;
}

static bool
apply_metadata(KsCredential *row, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "description") == 0)
	{
		row->description = change_text(value, key);
		if (row->description != NULL)
			(void) ks_text_free("changes.description", cstring_to_text(row->description), KS_DESCRIPTION_MAX);
	}
	else if (strcmp(key, "expires_at") == 0)
	{
		char	   *time = change_text(value, key);

		row->has_expiry = time != NULL;
		if (row->has_expiry)
			row->expires_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(time),
																	  ObjectIdGetDatum(InvalidOid),
																	  Int32GetDatum(-1)));
	}
	else if (strcmp(key, "tags") == 0)
	{
		if (value->type == jbvNull)
			row->tags = ks_empty_text_array();
		else
			return apply_tags(row, value);
	}
	else if (strcmp(key, "metadata") == 0)
	{
		if (value->type == jbvNull)
			row->metadata = ks_empty_object();
		else if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
			row->metadata = ks_store_merge(row->metadata, JsonbValueToJsonb((JsonbValue *) value));
		else
			ks_error_invalid("changes.metadata", "a JSON object", NULL);
		ks_check_metadata(row->metadata);
	}
	else
		return false;
	return true;
}

static Datum
update_metadata(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential before;
	KsCredential after;
	Jsonb	   *changes;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &before);
	after = before;
	changes = ks_arg_get_jsonb(fcinfo, 1, "changes");
	for_each_change(changes, &after, apply_metadata, "description, tags, metadata, expires_at");
	ask_policy(verb, "update_metadata", &before, json_parameter("changes", changes));
	ks_change_begin(verb);
	ks_vault_change(&before, &after, before.current_version);
	ks_change_end(verb, &after, before.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_update_metadata);
/* update_metadata(credential, changes jsonb) returns void */
Datum
ks_fn_update_metadata(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_UPDATE, update_metadata);
}

static Datum
set_active(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	bool		active = ks_arg_get_bool(fcinfo, 1, "active");

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), active ? KS_ACCESS_STORE : KS_ACCESS_STOP, &credential);
	ask_policy(verb, "set_active", &credential, NULL);
	ks_change_begin(verb);
	ks_store_set_active(&credential, active);
	ks_detail_add(&verb->detail, "active", active ? "true" : "false");
	ks_change_end(verb, &credential, credential.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_set_active);
/* set_active(credential, active) returns void */
Datum
ks_fn_set_active(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_UPDATE, set_active);
}

static Datum
mark_verified(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsCredential row;
	KsSealed	sealed;
	bool		ok = ks_arg_get_bool(fcinfo, 1, "ok");
	int32		version = ks_arg_get_version(fcinfo, 2, "version");
	text	   *detail = ks_arg_get_text_or_null(fcinfo, 3);

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	if (!ks_store_find_id(credential.id, version, &row, &sealed) || sealed.version == 0 ||
		strcmp(sealed.state, "destroyed") == 0)
		ks_error_not_found(NULL);
	ks_change_begin(verb);
	ks_store_mark_verified(&credential, sealed.version, ok,
						   detail != NULL ? ks_text_free("detail", detail, KS_REASON_MAX) : NULL);
	ks_detail_add(&verb->detail, "verified", ok ? "true" : "false");
	ks_change_end(verb, &credential, sealed.version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_mark_verified);
/* mark_verified(credential, ok, version, detail) returns void */
Datum
ks_fn_mark_verified(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_VERIFY, mark_verified);
}

/* Deleting and destroying */

static Datum
delete_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz destroy_after;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(1))
		ks_error_null("recovery");
	destroy_after = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															TimestampTzGetDatum(now),
															IntervalPGetDatum(PG_GETARG_INTERVAL_P(1))));
	if (destroy_after < now)
		ks_error_invalid("recovery", "zero or longer", NULL);
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STOP, &credential);
	ask_policy(verb, "delete_credential", &credential,
			   ks_gate_text_parameter(NULL, "recovery", ks_interval_text(PG_GETARG_INTERVAL_P(1))));
	ks_change_begin(verb);
	ks_store_delete(&credential, destroy_after);
	ks_change_end(verb, &credential, credential.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_delete_credential);
/* delete_credential(credential, recovery interval, approval, reason, context) returns void */
Datum
ks_fn_delete_credential(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_DELETE, delete_credential);
}

static Datum
restore_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_begin_change();
	ks_lock_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &credential);
	if (!credential.deleted)
		PG_RETURN_VOID();
	if (!credential.recoverable)
		ks_error_not_found("The recovery time is over.");
	ask_policy(verb, "restore_credential", &credential, NULL);
	ks_change_begin(verb);
	if (!ks_store_restore(&credential))
		ks_error_duplicate("a credential of that name already exists", NULL);
	ks_change_end(verb, &credential, credential.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_restore_credential);
/* restore_credential(credential) returns void */
Datum
ks_fn_restore_credential(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_RESTORE, restore_credential);
}

static Datum
destroy_credential(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_verb_extra(verb, fcinfo, 1);
	ks_begin_change();
	ks_lock_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_DESTROY, &credential);
	ask_policy(verb, "destroy_credential", &credential, NULL);
	ks_change_begin(verb);
	ks_store_destroy(&credential, 0);
	ks_change_end(verb, &credential, credential.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_destroy_credential);
/* destroy_credential(credential, approval, reason, context) returns void */
Datum
ks_fn_destroy_credential(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_DESTROY, destroy_credential);
}

static Datum
destroy_version(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsCredential credential;
	KsCredential row;
	KsSealed	sealed;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_lock_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_DESTROY, &credential);
	if (!ks_store_find_id(credential.id, version, &row, &sealed) || sealed.version == 0)
		ks_error_not_found(NULL);
	if (strcmp(sealed.state, "current") == 0)
		ks_error_invalid("version", "the number of a version that is not current",
						 "Rotate first, or destroy the whole credential.");
	ks_gate_credential(verb, NULL, "destroy_version", &credential, version, NULL);
	ks_change_begin(verb);
	ks_store_destroy(&credential, version);
	ks_change_end(verb, &credential, version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_destroy_version);
/* destroy_version(credential, version, approval, reason, context) returns void */
Datum
ks_fn_destroy_version(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_DESTROY_VERSION, destroy_version);
}
