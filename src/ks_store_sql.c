/*-------------------------------------------------------------------------
 *
 * ks_store_sql.c
 *	  store() and import_env().
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
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_dotenv.h"
#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_guc.h"
#include "ks_hooks.h"
#include "ks_keys.h"
#include "ks_mem.h"
#include "ks_quota.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"

#define STORE_ROUNDS	10		/* look-ups of a name that others keep
								 * changing */

typedef struct StoreRequest
{
	KsMembership member;
	KsCredential row;			/* as it is to become */
	KsCredential given;			/* what of it was given */
	KsSecretArg value;
	bool		current;		/* not pending */
	bool		has_expected;
	int32		expected;
	bool		has_expiry;
	bool		has_tags;
	bool		has_metadata;
} StoreRequest;

/* What a stored version takes over from the row that is there. */
static void
keep_what_is_null(StoreRequest *request, const KsCredential *there)
{
	KsCredential *row = &request->row;

	memcpy(row->id, there->id, KS_ID_LEN);
	row->name = there->name;
	row->current_version = there->current_version;
	row->last_version = there->last_version;
	row->hint = there->hint;
	row->is_active = there->is_active;
	if (row->provider == NULL)
		row->provider = there->provider;
	if (row->kind == NULL)
		row->kind = there->kind;
	if (row->description == NULL)
		row->description = there->description;
	if (!request->has_tags)
		row->tags = there->tags;
	if (!request->has_metadata)
		row->metadata = there->metadata;
	if (!request->has_expiry)
	{
		row->has_expiry = there->has_expiry;
		row->expires_at = there->expires_at;
	}
}

/* What a new credential has where the caller gave nothing. */
static void
fill_defaults(StoreRequest *request, const KsProvider *provider)
{
	KsCredential *row = &request->row;

	if (ks_random_uuid(row->id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	if (row->kind == NULL)
		row->kind = pstrdup(provider != NULL ? provider->default_kind : KS_DEFAULT_KIND);
	if (!request->has_tags)
		row->tags = ks_empty_text_array();
	if (!request->has_metadata)
		row->metadata = ks_empty_object();
	row->is_active = true;
}

/* Whether a row that had to be waited for is still what was looked up. */
static bool
is_still(const KsCredential *row, const KsName *name)
{
	CHECK_FOR_INTERRUPTS();
	return !row->deleted && strcmp(row->environment, name->environment) == 0 &&
		strcmp(row->folded_name, name->folded_name) == 0;
}

/*
 * What a limited API key stores must lie within its limits, and so must what
 * has the name (NULL: nothing), which it could not see otherwise.
 */
static void
require_within(const StoreRequest *request, const KsCredential *there)
{
	const char *provider = request->row.provider;

	if (there != NULL)
	{
		ks_require_within(&request->member, there->environment, there->provider);
		if (provider == NULL)
			provider = there->provider;
	}
	ks_require_within(&request->member, request->row.environment, provider);
}

/* What an approval is bound to beside the credential: all that was given but
 * the value. */
static Jsonb *
policy_parameters(const StoreRequest *request)
{
	const KsCredential *given = &request->given;
	JsonbValue	value;
	Jsonb	   *result = NULL;

	if (given->provider != NULL)
		result = ks_gate_text_parameter(result, "provider", given->provider);
	if (given->kind != NULL)
		result = ks_gate_text_parameter(result, "kind", given->kind);
	if (given->description != NULL)
		result = ks_gate_text_parameter(result, "description", given->description);
	if (request->has_expiry)
	{
		value.type = jbvDatetime;
		value.val.datetime.value = TimestampTzGetDatum(given->expires_at);
		value.val.datetime.typid = TIMESTAMPTZOID;
		value.val.datetime.typmod = -1;
		value.val.datetime.tz = 0;
		result = ks_gate_parameter(result, "expires_at", &value);
	}
	if (request->has_tags)
		result = ks_gate_texts_parameter(result, "tags", given->tags);
	if (request->has_metadata)
	{
		value.type = jbvBinary;
		value.val.binary.data = &given->metadata->root;
		value.val.binary.len = VARSIZE(given->metadata) - VARHDRSZ;
		result = ks_gate_parameter(result, "metadata", &value);
	}
	if (given->personal)
	{
		value.type = jbvBool;
		value.val.boolean = true;
		result = ks_gate_parameter(result, "personal", &value);
	}
	return request->current ? result : ks_gate_text_parameter(result, "state", "pending");
}

/* Asks policy about a value for a credential that is there, or is not (NULL). */
static void
ask_policy(KsVerb *verb, const StoreRequest *request, const KsCredential *there)
{
	const char *action = there != NULL && request->current ? "rotate" : "store";
	KsCredential new = request->row;

	if (ks_gate_is_silent(verb, request->member.workspace, action))
		return;

	/* An earlier round may have asked about another one. */
	verb->detail.n = 0;
	verb->detail.len = 0;
	if (there != NULL)
		ks_gate_change(verb, action, there, &request->row, policy_parameters(request));
	else
	{
		memset(new.id, 0, KS_ID_LEN);
		ks_gate_credential(verb, &request->member, action, &new, 0, policy_parameters(request));
	}
}

/*
 * Stores a value.  Returns what it did.  The loop is for the case that
 * somebody else inserts, renames or deletes between a look-up and what
 * follows it.
 */
static const char *
store_value(KsVerb *verb, StoreRequest *request, int32 *version)
{
	const uint8 *by = verb->call.actor.principal;
	KsCredential *row = &request->row;
	KsName		name = {
		.workspace = request->member.workspace,
		.environment = row->environment,
		.folded_name = row->folded_name,
		.owner = by,
		.own = row->personal,
		.shared = !row->personal,
	};
	KsCredential there;
	KsProvider	provider;
	KsValue		value = {(char *) request->value.data, request->value.len};
	char	   *kind = row->kind;
	bool		found;

	request->given = *row;
	if (row->provider != NULL)
		ks_get_provider(request->member.workspace, row->provider, &provider);

	verb->has_credential = false;
	ks_change_begin(verb);
	for (int round = 1;; round++)
	{
		if (round > STORE_ROUNDS)
			ereport(ERROR,
					errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not store the value because of concurrent changes"));
		found = ks_store_find(&name, 0, &there, NULL);
		require_within(request, found ? &there : NULL);
		if (found && ks_store_lock(&there) && is_still(&there, &name))
			break;
		if (found)
			continue;
		ks_check_value(&request->value, row->provider != NULL ? &provider : NULL);
		if (request->has_expected && request->expected != 0)
			ks_error_conflict(request->expected, 0);
		fill_defaults(request, row->provider != NULL ? &provider : NULL);
		ask_policy(verb, request, NULL);
		if (ks_store_insert(row, by))
			break;
		row->kind = kind;		/* NULL again: keeps what the other one has */
		CHECK_FOR_INTERRUPTS();
	}

	verb->action = found ? KS_ACTION_CREDENTIAL_ROTATE : KS_ACTION_CREDENTIAL_CREATE;
	if (found)
	{
		require_within(request, &there);
		ks_verb_credential(verb, &there, 0);
		ks_check_expected(&there, request->has_expected, request->expected);
		keep_what_is_null(request, &there);
		if (row->provider != NULL)
			ks_get_provider(request->member.workspace, row->provider, &provider);
		ks_check_value(&request->value, row->provider != NULL ? &provider : NULL);
		ask_policy(verb, request, &there);
		if (request->current)
			ks_enforce_change(&verb->call, there.provider != NULL ? &there : row);
		ks_vault_change(&there, row, request->current ? 0 : there.current_version);
	}
	*version = ks_vault_put(row, &value, request->current, 0, by);
	if (!request->current)
		ks_detail_add(&verb->detail, "state", "pending");
	ks_change_end(verb, row, *version);
	if (!found)
		return "created";
	if (!request->current)
		return "pending";
	ks_quota_use(verb, request->member.workspace, KS_METER_ROTATIONS, 1);
	return "rotated";
}

static void
get_store_request(FunctionCallInfo fcinfo, KsVerb *verb, StoreRequest *request)
{
	KsCredential *row = &request->row;
	text	   *given;
	char	   *state;

	row->name = ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX);
	row->folded_name = ks_text_fold(row->name);
	ks_arg_get_secret(fcinfo, 2, "value", &request->value);
	row->environment = ks_get_environment(fcinfo, 3);
	if ((given = ks_arg_get_text_or_null(fcinfo, 4)) != NULL)
		row->provider = ks_text_name("provider", given, KS_PROVIDER_MAX);
	if ((given = ks_arg_get_text_or_null(fcinfo, 5)) != NULL)
		row->kind = ks_text_name("kind", given, KS_KIND_MAX);
	row->personal = ks_arg_get_bool(fcinfo, 6, "personal");
	request->has_expiry = row->has_expiry = !PG_ARGISNULL(7);
	if (row->has_expiry)
		row->expires_at = PG_GETARG_TIMESTAMPTZ(7);
	if ((given = ks_arg_get_text_or_null(fcinfo, 8)) != NULL)
		row->description = ks_text_free("description", given, KS_DESCRIPTION_MAX);
	request->has_tags = !PG_ARGISNULL(9);
	if (request->has_tags)
		ks_check_tags(row->tags = PG_GETARG_DATUM(9));
	request->has_metadata = !PG_ARGISNULL(10);
	if (request->has_metadata)
		ks_check_metadata(row->metadata = PG_GETARG_JSONB_P(10));
	request->has_expected = !PG_ARGISNULL(11);
	if (request->has_expected)
		request->expected = PG_GETARG_INT32(11);
	if (request->expected < 0)
		ks_error_invalid("expected_version", "0 or greater", NULL);
	state = text_to_cstring(ks_arg_get_text(fcinfo, 12, "state"));
	if (strcmp(state, "current") != 0 && strcmp(state, "pending") != 0)
		ks_error_invalid("state", "current or pending", NULL);
	request->current = strcmp(state, "current") == 0;
	ks_verb_extra(verb, fcinfo, 13);
}

static Datum
store(FunctionCallInfo fcinfo, KsVerb *verb)
{
	StoreRequest request = {0};
	int32		version;
	const char *action;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	ks_hooks_mark_secret("store");
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	get_store_request(fcinfo, verb, &request);
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &request.member);
	memcpy(verb->workspace, request.member.workspace, KS_ID_LEN);
	ks_require(&request.member, request.row.personal ? KS_PERM_VIEW : KS_PERM_STORE);
	if (request.row.personal && verb->call.actor.source == KS_SOURCE_API_KEY)
		ks_error_denied("permission denied", "An API key is nobody's owner: it stores shared credentials only.");
	ks_require_usable(&request.member);
	memcpy(request.row.workspace, request.member.workspace, KS_ID_LEN);
	if (request.row.personal)
		memcpy(request.row.owner, verb->call.actor.principal, KS_ID_LEN);

	action = store_value(verb, &request, &version);
	values[0] = ks_uuid_datum(request.row.id);
	values[1] = Int32GetDatum(version);
	values[2] = CStringGetTextDatum(action);
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_store);
/* store(workspace, name, value, environment, provider, kind, personal, expires_at, description,
 * tags, metadata, expected_version, state, approval, reason, context) returns record */
Datum
ks_fn_store(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_CREATE, store);
}

/* Whether the current value of what is stored under a name is this one; not
 * told to whom policy does not reveal it. */
static bool
is_unchanged(KsVerb *verb, const StoreRequest *request)
{
	KsProblem	problem = {0};
	int			pairs = verb->detail.n;
	size_t		len = verb->detail.len;
	bool		may;
	KsReveal	reveal = {
		.name = {
			.workspace = request->member.workspace,
			.environment = request->row.environment,
			.folded_name = request->row.folded_name,
			.shared = true,
		},
		.internal = true,
	};
	bool		same;

	if (!ks_vault_find(&verb->call, &reveal))
		return false;
	may = ks_gate_row(verb, &reveal.credential, reveal.sealed.version, &problem);
	verb->detail.n = pairs;
	verb->detail.len = len;
	if (!may || !ks_vault_take(&verb->call, &reveal))
		return false;
	same = reveal.value.len == request->value.len &&
		ks_equal(reveal.value.data, request->value.data, reveal.value.len);
	ks_secret_wipe(reveal.value.data);
	return same;
}

static const char *
import_entry(KsVerb *verb, const KsMembership *member, const char *environment,
			 const KsDotenvEntry *entry, int line, const char *value, char **name)
{
	StoreRequest request = {.member = *member, .current = true};
	int32		version;

	request.row.name = *name = ks_text_name("content", cstring_to_text_with_len(entry->name, (int) entry->name_len),
											KS_NAME_MAX);
	request.row.folded_name = ks_text_fold(request.row.name);
	request.row.environment = (char *) environment;
	request.value.data = value;
	request.value.len = entry->value_len;
	memcpy(request.row.workspace, member->workspace, KS_ID_LEN);
	if (entry->value_len == 0)
		return "skipped";
	if (entry->value_len > (size_t) ks_max_value_size)
		ks_error_invalid("content", psprintf("dotenv text with values of at most %d bytes: line %d",
											 ks_max_value_size, line), NULL);
	if ((member->permissions & KS_PERM_REVEAL) && is_unchanged(verb, &request))
		return "unchanged";
	return store_value(verb, &request, &version);
}

static Datum
import_env(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsSecretArg content;
	KsDotenv	reader;
	KsDotenvEntry entry;
	KsDotenvResult result;
	KsSetResult set;
	char	   *environment;
	char	   *value;

	ks_hooks_mark_secret("import_env");
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_arg_get_secret(fcinfo, 1, "content", &content);
	environment = ks_get_environment(fcinfo, 2);
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_STORE);
	ks_require_usable(&member);

	value = ks_secret_alloc(CurrentMemoryContext, content.len + 1);
	ks_set_begin(fcinfo, false, &set);
	ks_dotenv_begin(&reader, content.data, content.len);
	while ((result = ks_dotenv_next(&reader, &entry, value)) == KS_DOTENV_ENTRY)
	{
		char	   *name;
		const char *action = import_entry(verb, &member, environment, &entry, reader.line, value, &name);
		Datum		values[2] = {CStringGetTextDatum(name), CStringGetTextDatum(action)};
		bool		nulls[2] = {false, false};

		ks_set_add(&set, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
	if (result == KS_DOTENV_ERROR)
		ks_error_invalid("content", psprintf("dotenv text: line %d: %s", reader.line, reader.problem), NULL);
	ks_secret_wipe(value);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_import_env);
/* import_env(workspace, content, environment) returns setof (name, action) */
Datum
ks_fn_import_env(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_CREATE, import_env);
}
