/*-------------------------------------------------------------------------
 *
 * ks_vault_sql.c
 *	  The verbs of the vault as SQL functions: arguments, order of checks,
 *	  results.
 *
 * A function that takes a secret marks its statement first of all, so that
 * what follows, an error about another argument included, is logged redacted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_args.h"
#include "ks_dotenv.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_hooks.h"
#include "ks_http.h"
#include "ks_keys.h"
#include "ks_mem.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_tenant.h"
#include "ks_vault.h"

#define VERIFY_BATCH	100
#define STORE_ROUNDS	10		/* look-ups of a name that others keep
								 * changing */

static char *
get_environment(FunctionCallInfo fcinfo, int n)
{
	return ks_text_name("environment", ks_arg_get_text(fcinfo, n, "environment"), KS_ENVIRONMENT_MAX);
}

/*
 * Before a value is given out: the vault is open, and this is no standby (a
 * reveal must be recorded, which a standby cannot).
 */
static void
begin_reveal(void)
{
	if (RecoveryInProgress())
		ks_error_read_only();
	ks_keyring_require_open();
	ks_http_no_store();
}

/* A value's checks that need no key: its size, and its provider's pattern. */
static void
check_value(const KsSecretArg *value, const KsProvider *provider)
{
	if (value->len == 0 || value->len > (size_t) ks_max_value_size)
		ks_error_invalid("value", psprintf("1 to %d bytes long", ks_max_value_size), NULL);
	if (provider != NULL && provider->value_pattern != NULL &&
		!ks_value_matches(value->data, value->len, provider->value_pattern))
		ks_error_invalid("value", "what the provider gives out",
						 "keystone.providers has the pattern that values of this provider match.");
}

/* Finds a provider that may be stored for. */
static void
get_provider(const KsMembership *member, const char *name, KsProvider *provider)
{
	if (!ks_tenant_provider(member->workspace, name, provider))
		ks_error_invalid("provider", "one of keystone.providers", NULL);
	if (!provider->enabled)
		ks_error_denied("the provider is not enabled", NULL);
}

/*
 * Finds a credential by id, checks access, and locks its row.  The workspace
 * must be usable: nothing changes in a suspended one.
 */
static void
lock_credential(const KsCall *call, const uint8 *id, KsAccess access, KsCredential *credential)
{
	KsMembership member;
	KsProblem	problem = {0};

	if (!ks_store_find_id(id, 0, credential, NULL))
		ks_error_not_found(NULL);
	if (!ks_vault_may(call, credential, access, &member, &problem))
		ks_vault_raise(&problem);
	if (!ks_store_lock(credential))
		ks_error_not_found(NULL);

	/* The wait for the lock may have been long enough to lose the right. */
	if (!ks_vault_may(call, credential, access, &member, &problem))
		ks_vault_raise(&problem);
	ks_require_usable(&member);
}

/* The same for what must not be deleted. */
static void
lock_live_credential(const KsCall *call, const uint8 *id, KsAccess access, KsCredential *credential)
{
	lock_credential(call, id, access, credential);
	if (credential->deleted)
		ks_error_not_found(NULL);
}

static void
check_expected(const KsCredential *credential, bool given, int32 expected)
{
	if (given && expected < 0)
		ks_error_invalid("expected_version", "0 or greater", NULL);
	if (given && expected != credential->current_version)
		ks_error_conflict(expected, credential->current_version);
}

/* store() */

typedef struct StoreRequest
{
	KsMembership member;
	KsCredential row;			/* as it is to become */
	KsSecretArg value;
	bool		current;		/* not pending */
	bool		has_expected;
	int32		expected;
	bool		has_expiry;
	bool		has_tags;
	bool		has_metadata;
} StoreRequest;

static Datum
empty_text_array(void)
{
	return PointerGetDatum(construct_empty_array(TEXTOID));
}

static Jsonb *
empty_object(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

static void
check_tags(Datum tags)
{
	Datum	   *elements;
	int			n = ks_arg_get_array(tags, TEXTOID, "tags", &elements);

	if (n > KS_TAGS_MAX)
		ks_error_invalid("tags", psprintf("at most %d tags", KS_TAGS_MAX), NULL);
	for (int i = 0; i < n; i++)
		(void) ks_text_name("tags", DatumGetTextPP(elements[i]), KS_TAG_MAX);
}

static void
check_metadata(const Jsonb *metadata)
{
	StringInfoData json;

	if (!JB_ROOT_IS_OBJECT(metadata))
		ks_error_invalid("metadata", "a JSON object", NULL);
	initStringInfo(&json);
	(void) JsonbToCString(&json, (JsonbContainer *) & metadata->root, VARSIZE(metadata));
	if (json.len > KS_METADATA_MAX)
		ks_error_invalid("metadata", psprintf("at most %d bytes long", KS_METADATA_MAX), NULL);
	pfree(json.data);
}

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
		row->kind = pstrdup(provider != NULL ? provider->default_kind : "api_key");
	if (!request->has_tags)
		row->tags = empty_text_array();
	if (!request->has_metadata)
		row->metadata = empty_object();
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
 * Stores a value.  Returns what it did.  The loop is for the case that
 * somebody else inserts, renames or deletes between a look-up and what
 * follows it.
 */
static const char *
store_value(const KsCall *call, StoreRequest *request, int32 *version)
{
	KsCredential *row = &request->row;
	KsName		name = {
		.workspace = request->member.workspace,
		.environment = row->environment,
		.folded_name = row->folded_name,
		.owner = call->actor.principal,
		.own = row->personal,
		.shared = !row->personal,
	};
	KsCredential there;
	KsProvider	provider;
	KsValue		value = {(char *) request->value.data, request->value.len};
	char	   *kind = row->kind;
	bool		found;

	if (row->provider != NULL)
		get_provider(&request->member, row->provider, &provider);

	for (int round = 1;; round++)
	{
		if (round > STORE_ROUNDS)
			ereport(ERROR,
					errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not store the value because of concurrent changes"));
		found = ks_store_find(&name, 0, &there, NULL);
		if (found && ks_store_lock(&there) && is_still(&there, &name))
			break;
		if (found)
			continue;
		check_value(&request->value, row->provider != NULL ? &provider : NULL);
		if (request->has_expected && request->expected != 0)
			ks_error_conflict(request->expected, 0);
		fill_defaults(request, row->provider != NULL ? &provider : NULL);
		if (ks_store_insert(row, call->actor.principal))
			break;
		row->kind = kind;		/* NULL again: keeps what the other one has */
		CHECK_FOR_INTERRUPTS();
	}

	if (found)
	{
		check_expected(&there, request->has_expected, request->expected);
		keep_what_is_null(request, &there);
		if (row->provider != NULL)
			get_provider(&request->member, row->provider, &provider);
		check_value(&request->value, row->provider != NULL ? &provider : NULL);
		ks_vault_change(&there, row, request->current ? 0 : there.current_version);
	}
	*version = ks_vault_put(row, &value, request->current, 0, call->actor.principal);
	if (!found)
		return "created";
	return request->current ? "rotated" : "pending";
}

static void
get_store_request(FunctionCallInfo fcinfo, StoreRequest *request)
{
	KsCredential *row = &request->row;
	text	   *given;
	char	   *state;

	row->name = ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX);
	row->folded_name = ks_text_fold(row->name);
	ks_arg_get_secret(fcinfo, 2, "value", &request->value);
	row->environment = get_environment(fcinfo, 3);
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
		check_tags(row->tags = PG_GETARG_DATUM(9));
	request->has_metadata = !PG_ARGISNULL(10);
	if (request->has_metadata)
		check_metadata(row->metadata = PG_GETARG_JSONB_P(10));
	request->has_expected = !PG_ARGISNULL(11);
	if (request->has_expected)
		request->expected = PG_GETARG_INT32(11);
	if (request->expected < 0)
		ks_error_invalid("expected_version", "0 or greater", NULL);
	state = text_to_cstring(ks_arg_get_text(fcinfo, 12, "state"));
	if (strcmp(state, "current") != 0 && strcmp(state, "pending") != 0)
		ks_error_invalid("state", "current or pending", NULL);
	request->current = strcmp(state, "current") == 0;
	ks_check_extra_args(fcinfo, 13);
}

PG_FUNCTION_INFO_V1(ks_fn_store);
/* store(workspace, name, value, environment, provider, kind, personal, expires_at, description,
 * tags, metadata, expected_version, state, approval, reason, context) returns record */
Datum
ks_fn_store(PG_FUNCTION_ARGS)
{
	StoreRequest request = {0};
	KsCall		call;
	int32		version;
	const char *action;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	ks_hooks_mark_secret("store");
	ks_enter_known(&call, KS_PROFILE_CLIENT);
	get_store_request(fcinfo, &request);
	ks_keys_prepare();
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &request.member);
	ks_require(&request.member, request.row.personal ? KS_PERM_VIEW : KS_PERM_STORE);
	ks_require_usable(&request.member);
	memcpy(request.row.workspace, request.member.workspace, KS_ID_LEN);
	if (request.row.personal)
		memcpy(request.row.owner, call.actor.principal, KS_ID_LEN);

	action = store_value(&call, &request, &version);
	values[0] = ks_uuid_datum(request.row.id);
	values[1] = Int32GetDatum(version);
	values[2] = CStringGetTextDatum(action);
	return ks_row_result(fcinfo, values, nulls);
}

/* reveal() and its kin */

/* A value, or a field of it, as the result of a function; the buffer is wiped. */
static Datum
value_result(KsValue *value, text *field)
{
	Datum		result;

	if (field == NULL)
		result = PointerGetDatum(cstring_to_text_with_len(value->data, (int) value->len));
	else
	{
		char	   *part;
		size_t		len;

		switch (ks_value_field(value->data, value->len, text_to_cstring(field), &part, &len))
		{
			case KS_FIELD_FOUND:
				result = PointerGetDatum(cstring_to_text_with_len(part, (int) len));
				ks_secret_wipe(part);
				break;
			case KS_FIELD_MISSING:
				ks_error_not_found("The value has no such field.");
			default:
				ks_error_invalid("field", "NULL for a value that is no JSON object", NULL);
		}
	}
	ks_secret_wipe(value->data);
	return result;
}

/* Where a name is looked for: own, shared or any. */
static void
get_scope(FunctionCallInfo fcinfo, int n, KsName *name)
{
	char	   *scope = text_to_cstring(ks_arg_get_text(fcinfo, n, "scope"));
	bool		any = strcmp(scope, "any") == 0;

	name->own = any || strcmp(scope, "own") == 0;
	name->shared = any || strcmp(scope, "shared") == 0;
	if (!name->own && !name->shared)
		ks_error_invalid("scope", "own, shared or any", NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_reveal);
/* reveal(workspace, name, environment, version, field, owner, scope, approval, reason, context) returns text */
Datum
ks_fn_reveal(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsName		name = {0};
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem = {0};
	const uint8 *owner = ks_arg_get_uuid_or_null(fcinfo, 5);
	int32		version = ks_arg_get_version(fcinfo, 3, "version");
	char	   *given;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	given = ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX);
	name.folded_name = ks_text_fold(given);
	name.environment = get_environment(fcinfo, 2);
	get_scope(fcinfo, 6, &name);
	ks_check_extra_args(fcinfo, 7);
	begin_reveal();
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);

	/*
	 * Somebody else's personal credential is looked up like one's own, so
	 * that "none" and "not yours" take the same path; it is not given.
	 */
	name.workspace = member.workspace;
	name.owner = owner != NULL ? owner : call.actor.principal;
	if (owner != NULL)
	{
		name.own = true;
		name.shared = false;
	}
	if (!ks_store_find(&name, version, &credential, &sealed) ||
		(owner != NULL && memcmp(owner, call.actor.principal, KS_ID_LEN) != 0))
		ks_error_not_found(NULL);
	if (!ks_vault_reveal(&call, &credential, &sealed, &value, &problem))
		ks_vault_raise(&problem);
	return value_result(&value, ks_arg_get_text_or_null(fcinfo, 4));
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_by_id);
/* reveal_by_id(credential, version, field, approval, reason, context) returns text */
Datum
ks_fn_reveal_by_id(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem = {0};
	int32		version = ks_arg_get_version(fcinfo, 1, "version");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_check_extra_args(fcinfo, 3);
	begin_reveal();
	if (!ks_store_find_id(ks_arg_get_uuid(fcinfo, 0, "credential"), version, &credential, &sealed))
		ks_error_not_found(NULL);
	if (!ks_vault_reveal(&call, &credential, &sealed, &value, &problem))
		ks_vault_raise(&problem);
	return value_result(&value, ks_arg_get_text_or_null(fcinfo, 2));
}

/* One row of reveal_many() or reveal_env(). */
static void
add_revealed(const KsCall *call, KsSetResult *set, const uint8 *id)
{
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem = {0};
	Datum		values[5] = {0};
	bool		nulls[5] = {false, true, true, true, true};

	values[0] = ks_uuid_datum(id);
	if (!ks_store_find_id(id, 0, &credential, &sealed))
	{
		problem.sqlstate = KS_ERRCODE_NOT_FOUND;
		problem.message = "no such object";
	}
	else if (ks_vault_reveal(call, &credential, &sealed, &value, &problem))
	{
		values[3] = PointerGetDatum(cstring_to_text_with_len(value.data, (int) value.len));
		nulls[3] = false;
		ks_secret_wipe(value.data);
	}

	/* Who may not see the credential has PT404, and no name. */
	if (problem.sqlstate != KS_ERRCODE_NOT_FOUND)
	{
		values[1] = CStringGetTextDatum(credential.name);
		values[2] = Int32GetDatum(sealed.version);
		nulls[1] = nulls[2] = false;
	}
	if (problem.sqlstate != 0)
	{
		values[4] = CStringGetTextDatum(psprintf("%s %s", unpack_sql_state(problem.sqlstate), problem.message));
		nulls[4] = false;
		if (problem.reason != NULL)
			ereport(LOG,
					errcode(problem.sqlstate),
					errmsg("a credential could not be revealed: %s", problem.message),
					errdetail_log("%s", problem.reason),
					errhidestmt(true));
	}
	ks_set_add(set, values, nulls);
	if (!nulls[3])
		ks_wipe(VARDATA_ANY(DatumGetPointer(values[3])), VARSIZE_ANY_EXHDR(DatumGetPointer(values[3])));
}

static void
add_all_revealed(const KsCall *call, KsSetResult *set, const uint8 (*ids)[KS_ID_LEN], int n)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone reveal",
											   ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		add_revealed(call, set, ids[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(work);
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_many);
/* reveal_many(credentials uuid[], reason, context) returns setof record */
Datum
ks_fn_reveal_many(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSetResult set;
	Datum	   *elements;
	uint8		(*ids)[KS_ID_LEN];
	int			n;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(0))
		ks_error_null("credentials");
	n = ks_arg_get_array(PG_GETARG_DATUM(0), UUIDOID, "credentials", &elements);
	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("credentials", psprintf("at most %d", KS_REVEAL_MANY_MAX), NULL);
	ks_check_extra(false, ks_arg_get_text_or_null(fcinfo, 1), ks_arg_get_jsonb(fcinfo, 2, "context"));
	begin_reveal();

	ids = palloc(Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		memcpy(ids[i], DatumGetUUIDP(elements[i])->data, KS_ID_LEN);
	ks_set_begin(fcinfo, true, &set);
	add_all_revealed(&call, &set, (const uint8 (*)[KS_ID_LEN]) ids, n);
	return (Datum) 0;
}

/* A row of reveal_env() for a name that is not there. */
static void
add_missing(KsSetResult *set, const char *name)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {true, false, true, true, false};

	values[1] = CStringGetTextDatum(name);
	values[4] = CStringGetTextDatum("PT404 no such object");
	ks_set_add(set, values, nulls);
}

/* The named part of an environment, in the order asked. */
static void
add_named(const KsCall *call, const KsMembership *member, const char *environment, Datum names,
		  KsSetResult *set)
{
	Datum	   *elements;
	int			n = ks_arg_get_array(names, TEXTOID, "names", &elements);

	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("names", psprintf("at most %d", KS_REVEAL_MANY_MAX), NULL);
	for (int i = 0; i < n; i++)
	{
		char	   *given = ks_text_name("names", DatumGetTextPP(elements[i]), KS_NAME_MAX);
		KsName		name = {
			.workspace = member->workspace,
			.environment = environment,
			.folded_name = ks_text_fold(given),
			.owner = call->actor.principal,
			.own = true,
			.shared = true,
		};
		KsCredential credential;

		if (ks_store_find(&name, 0, &credential, NULL))
			add_all_revealed(call, set, (const uint8 (*)[KS_ID_LEN]) &credential.id, 1);
		else
			add_missing(set, given);
	}
}

/* What a whole environment consists of for the caller. */
static int
list_environment(const KsCall *call, const KsMembership *member, const char *environment,
				 uint8 (**ids)[KS_ID_LEN])
{
	int			n = ks_store_list(member->workspace, environment, call->actor.principal, ids);

	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("environment",
						 psprintf("one of at most %d credentials when it is taken as a whole", KS_REVEAL_MANY_MAX), NULL);
	return n;
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_env);
/* reveal_env(workspace, environment, names text[], reason, context) returns setof record */
Datum
ks_fn_reveal_env(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsSetResult set;
	char	   *environment;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	environment = get_environment(fcinfo, 1);
	ks_check_extra(false, ks_arg_get_text_or_null(fcinfo, 3), ks_arg_get_jsonb(fcinfo, 4, "context"));
	begin_reveal();
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_VIEW);

	ks_set_begin(fcinfo, true, &set);
	if (!PG_ARGISNULL(2))
		add_named(&call, &member, environment, PG_GETARG_DATUM(2), &set);
	else
	{
		uint8		(*ids)[KS_ID_LEN];
		int			n = list_environment(&call, &member, environment, &ids);

		add_all_revealed(&call, &set, (const uint8 (*)[KS_ID_LEN]) ids, n);
	}
	return (Datum) 0;
}

/* export_env() and import_env() */

/* Whether a name can stand before the '=' of a dotenv line. */
static bool
is_dotenv_name(const char *name)
{
	KsDotenv	reader;
	KsDotenvEntry entry;
	char	   *line = psprintf("%s=", name);
	char	   *value = palloc(strlen(line) + 1);

	ks_dotenv_begin(&reader, line, strlen(line));
	return ks_dotenv_next(&reader, &entry, value) == KS_DOTENV_ENTRY &&
		entry.name_len == strlen(name);
}

/* Lines of an exported environment: values are written into a secret buffer. */
typedef struct ExportedLine
{
	char	   *name;
	KsValue		value;			/* data NULL: not exported */
	const char *why;
} ExportedLine;

static void
read_exported(const KsCall *call, const uint8 *id, ExportedLine *line)
{
	KsCredential credential;
	KsSealed	sealed;
	KsProblem	problem = {0};

	if (!ks_store_find_id(id, 0, &credential, &sealed))
		return;
	line->name = credential.name;
	if (!is_dotenv_name(credential.name))
		line->why = "the name does not fit dotenv";
	else if (!ks_vault_reveal(call, &credential, &sealed, &line->value, &problem))
	{
		line->why = psprintf("%s %s", unpack_sql_state(problem.sqlstate), problem.message);
		line->value.data = NULL;
	}
}

static Datum
write_exported(ExportedLine *lines, int n)
{
	size_t		size = 1;
	char	   *out;
	char	   *at;
	Datum		result;

	for (int i = 0; i < n; i++)
	{
		if (lines[i].value.data != NULL)
			size += ks_dotenv_size(strlen(lines[i].name), lines[i].value.len);
		else if (lines[i].name != NULL)
			size += strlen(lines[i].name) + strlen(lines[i].why) + 32;
	}
	if (size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("the environment is too large to export"));
	out = at = ks_secret_alloc(CurrentMemoryContext, size);
	for (int i = 0; i < n; i++)
	{
		if (lines[i].value.data != NULL)
		{
			at += ks_dotenv_write(at, lines[i].name, strlen(lines[i].name),
								  lines[i].value.data, lines[i].value.len);
			ks_secret_wipe(lines[i].value.data);
		}
		else if (lines[i].name != NULL)
			at += snprintf(at, size - (at - out), "# %s is not exported: %s\n", lines[i].name, lines[i].why);
	}
	result = PointerGetDatum(cstring_to_text_with_len(out, (int) (at - out)));
	ks_secret_wipe(out);
	return result;
}

PG_FUNCTION_INFO_V1(ks_fn_export_env);
/* export_env(workspace, environment, reason) returns "text/plain" */
Datum
ks_fn_export_env(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	char	   *environment;
	uint8		(*ids)[KS_ID_LEN];
	ExportedLine *lines;
	int			n;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	environment = get_environment(fcinfo, 1);
	ks_check_extra(false, ks_arg_get_text_or_null(fcinfo, 2), empty_object());
	begin_reveal();
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_REVEAL);

	n = list_environment(&call, &member, environment, &ids);
	lines = palloc0(Max(n, 1) * sizeof(ExportedLine));
	for (int i = 0; i < n; i++)
	{
		read_exported(&call, ids[i], &lines[i]);
		CHECK_FOR_INTERRUPTS();
	}
	return write_exported(lines, n);
}

/* Whether the current value of what is stored under a name is this one. */
static bool
is_unchanged(const KsCall *call, const StoreRequest *request)
{
	KsName		name = {
		.workspace = request->member.workspace,
		.environment = request->row.environment,
		.folded_name = request->row.folded_name,
		.shared = true,
	};
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem;
	bool		same;

	if (!ks_store_find(&name, 0, &credential, &sealed) ||
		!ks_vault_reveal(call, &credential, &sealed, &value, &problem))
		return false;
	same = value.len == request->value.len &&
		ks_equal(value.data, request->value.data, value.len);
	ks_secret_wipe(value.data);
	return same;
}

static const char *
import_entry(const KsCall *call, const KsMembership *member, const char *environment,
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
	if ((member->permissions & KS_PERM_REVEAL) && is_unchanged(call, &request))
		return "unchanged";
	return store_value(call, &request, &version);
}

PG_FUNCTION_INFO_V1(ks_fn_import_env);
/* import_env(workspace, content, environment) returns setof (name, action) */
Datum
ks_fn_import_env(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsSecretArg content;
	KsDotenv	reader;
	KsDotenvEntry entry;
	KsDotenvResult result;
	KsSetResult set;
	char	   *environment;
	char	   *value;

	ks_hooks_mark_secret("import_env");
	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_arg_get_secret(fcinfo, 1, "content", &content);
	environment = get_environment(fcinfo, 2);
	ks_keys_prepare();
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_STORE);
	ks_require_usable(&member);

	value = ks_secret_alloc(CurrentMemoryContext, content.len + 1);
	ks_set_begin(fcinfo, false, &set);
	ks_dotenv_begin(&reader, content.data, content.len);
	while ((result = ks_dotenv_next(&reader, &entry, value)) == KS_DOTENV_ENTRY)
	{
		char	   *name;
		const char *action = import_entry(&call, &member, environment, &entry, reader.line, value, &name);
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

/* Looking up */

PG_FUNCTION_INFO_V1(ks_fn_resolve);
/* resolve(workspace, provider, kind, environment) returns record */
Datum
ks_fn_resolve(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsCredential credential;
	KsProvider	provider;
	text	   *kind = ks_arg_get_text_or_null(fcinfo, 2);
	char	   *provider_name;
	char	   *environment;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	provider_name = ks_text_name("provider", ks_arg_get_text(fcinfo, 1, "provider"), KS_PROVIDER_MAX);
	environment = get_environment(fcinfo, 3);
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_VIEW);
	if (!ks_store_resolve(member.workspace, environment, provider_name,
						  kind != NULL ? text_to_cstring(kind) : NULL, call.actor.principal, &credential))
		ks_error_not_found(NULL);

	values[0] = ks_uuid_datum(credential.id);
	values[1] = CStringGetTextDatum(credential.name);
	values[2] = Int32GetDatum(credential.current_version);
	values[3] = BoolGetDatum(credential.personal);
	values[4] = CStringGetTextDatum(ks_tenant_provider(member.workspace, provider_name, &provider) ?
									provider.mode : "hosted");
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_credential_id);
/* credential_id(workspace, name, environment, personal) returns uuid */
Datum
ks_fn_credential_id(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsName		name = {0};
	KsCredential credential;
	bool		personal = ks_arg_get_bool(fcinfo, 3, "personal");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	name.folded_name = ks_text_fold(ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX));
	name.environment = get_environment(fcinfo, 2);
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_VIEW);
	name.workspace = member.workspace;
	name.owner = call.actor.principal;
	name.own = personal;
	name.shared = !personal;
	if (!ks_store_find(&name, 0, &credential, NULL))
		ks_error_not_found(NULL);
	return ks_uuid_datum(credential.id);
}

/* Versions */

PG_FUNCTION_INFO_V1(ks_fn_rotate);
/* rotate(credential, value, expected_version, dry_run, approval, reason, context) returns (version, previous) */
Datum
ks_fn_rotate(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member = {0};
	KsCredential credential;
	KsProvider	provider;
	KsSecretArg secret;
	KsValue		value;
	int32		previous;
	int32		version;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	ks_hooks_mark_secret("rotate");
	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_arg_get_secret(fcinfo, 1, "value", &secret);
	ks_check_extra_args(fcinfo, 4);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	check_expected(&credential, !PG_ARGISNULL(2), PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	memcpy(member.workspace, credential.workspace, KS_ID_LEN);
	if (credential.provider != NULL)
		get_provider(&member, credential.provider, &provider);
	check_value(&secret, credential.provider != NULL ? &provider : NULL);

	previous = credential.current_version;
	value.data = (char *) secret.data;
	value.len = secret.len;
	if (ks_arg_get_bool(fcinfo, 3, "dry_run"))
		version = credential.last_version + 1;
	else
		version = ks_vault_put(&credential, &value, true, 0, call.actor.principal);
	values[0] = Int32GetDatum(version);
	values[1] = Int32GetDatum(previous);
	nulls[1] = previous == 0;
	return ks_row_result(fcinfo, values, nulls);
}

/* Reads a version of a locked credential and opens it. */
static void
open_version(const KsCredential *credential, int32 version, KsSealed *sealed, KsValue *value)
{
	KsCredential row;
	KsProblem	problem = {0};

	if (!ks_store_find_id(credential->id, version, &row, sealed) || sealed->version == 0 ||
		strcmp(sealed->state, "destroyed") == 0)
		ks_error_not_found(NULL);
	if (!ks_vault_open(credential, sealed, value, &problem))
		ks_vault_raise(&problem);
}

PG_FUNCTION_INFO_V1(ks_fn_promote);
/* promote(credential, version, approval, reason, context) returns int */
Datum
ks_fn_promote(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_check_extra_args(fcinfo, 2);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	open_version(&credential, version, &sealed, &value);
	if (strcmp(sealed.state, "pending") != 0)
		ks_error_invalid("version", "the number of a pending version",
						 "rollback_to() gives an earlier version's value to a new version.");
	credential.hint = ks_hints ? ks_value_hint(credential.kind, value.data, value.len) : NULL;
	ks_secret_wipe(value.data);
	ks_store_set_current(&credential, version);
	PG_RETURN_INT32(version);
}

PG_FUNCTION_INFO_V1(ks_fn_rollback_to);
/* rollback_to(credential, version, approval, reason, context) returns int */
Datum
ks_fn_rollback_to(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");
	int32		made;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_check_extra_args(fcinfo, 2);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	open_version(&credential, version, &sealed, &value);
	if (strcmp(sealed.state, "previous") != 0)
		ks_error_invalid("version", "the number of a previous version", NULL);
	made = ks_vault_put(&credential, &value, true, version, call.actor.principal);
	ks_secret_wipe(value.data);
	PG_RETURN_INT32(made);
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

PG_FUNCTION_INFO_V1(ks_fn_rename);
/* rename(credential, changes jsonb, approval, reason, context) returns void */
Datum
ks_fn_rename(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member = {0};
	KsCredential before;
	KsCredential after;
	KsProvider	provider;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_check_extra_args(fcinfo, 2);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &before);
	after = before;
	for_each_change(ks_arg_get_jsonb(fcinfo, 1, "changes"), &after, apply_rename,
					"name, environment, provider, kind");
	memcpy(member.workspace, before.workspace, KS_ID_LEN);
	if (after.provider != NULL && after.provider != before.provider)
		get_provider(&member, after.provider, &provider);
	ks_vault_change(&before, &after, before.current_version);
	PG_RETURN_VOID();
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
	check_tags(row->tags);
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
			row->tags = empty_text_array();
		else
			return apply_tags(row, value);
	}
	else if (strcmp(key, "metadata") == 0)
	{
		if (value->type == jbvNull)
			row->metadata = empty_object();
		else if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
			row->metadata = ks_store_merge(row->metadata, JsonbValueToJsonb((JsonbValue *) value));
		else
			ks_error_invalid("changes.metadata", "a JSON object", NULL);
		check_metadata(row->metadata);
	}
	else
		return false;
	return true;
}

PG_FUNCTION_INFO_V1(ks_fn_update_metadata);
/* update_metadata(credential, changes jsonb) returns void */
Datum
ks_fn_update_metadata(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential before;
	KsCredential after;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &before);
	after = before;
	for_each_change(ks_arg_get_jsonb(fcinfo, 1, "changes"), &after, apply_metadata,
					"description, tags, metadata, expires_at");
	ks_vault_change(&before, &after, before.current_version);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_set_active);
/* set_active(credential, active) returns void */
Datum
ks_fn_set_active(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	bool		active = ks_arg_get_bool(fcinfo, 1, "active");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), active ? KS_ACCESS_STORE : KS_ACCESS_STOP, &credential);
	ks_store_set_active(&credential, active);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_mark_verified);
/* mark_verified(credential, ok, version, detail) returns void */
Datum
ks_fn_mark_verified(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	KsCredential row;
	KsSealed	sealed;
	bool		ok = ks_arg_get_bool(fcinfo, 1, "ok");
	int32		version = ks_arg_get_version(fcinfo, 2, "version");
	text	   *detail = ks_arg_get_text_or_null(fcinfo, 3);

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	if (!ks_store_find_id(credential.id, version, &row, &sealed) || sealed.version == 0 ||
		strcmp(sealed.state, "destroyed") == 0)
		ks_error_not_found(NULL);
	ks_store_mark_verified(&credential, sealed.version, ok,
						   detail != NULL ? ks_text_free("detail", detail, KS_REASON_MAX) : NULL);
	PG_RETURN_VOID();
}

/* Deleting and destroying */

PG_FUNCTION_INFO_V1(ks_fn_delete_credential);
/* delete_credential(credential, recovery interval, approval, reason, context) returns void */
Datum
ks_fn_delete_credential(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz destroy_after;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(1))
		ks_error_null("recovery");
	destroy_after = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															TimestampTzGetDatum(now),
															IntervalPGetDatum(PG_GETARG_INTERVAL_P(1))));
	if (destroy_after < now)
		ks_error_invalid("recovery", "zero or longer", NULL);
	ks_check_extra_args(fcinfo, 2);
	ks_keys_prepare();
	lock_live_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STOP, &credential);
	ks_store_delete(&credential, destroy_after);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_restore_credential);
/* restore_credential(credential) returns void */
Datum
ks_fn_restore_credential(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_keys_prepare();
	lock_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_STORE, &credential);
	if (!credential.deleted)
		PG_RETURN_VOID();
	if (!credential.recoverable)
		ks_error_not_found("The recovery time is over.");
	if (!ks_store_restore(&credential))
		ks_error_duplicate("a credential of that name already exists", NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_destroy_credential);
/* destroy_credential(credential, approval, reason, context) returns void */
Datum
ks_fn_destroy_credential(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	ks_check_extra_args(fcinfo, 1);
	ks_keys_prepare();
	lock_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_DESTROY, &credential);
	ks_store_destroy(&credential, 0);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_destroy_version);
/* destroy_version(credential, version, approval, reason, context) returns void */
Datum
ks_fn_destroy_version(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsCredential credential;
	KsCredential row;
	KsSealed	sealed;
	int32		version = ks_arg_get_version(fcinfo, 1, "version");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	if (version == 0)
		ks_error_null("version");
	ks_check_extra_args(fcinfo, 2);
	ks_keys_prepare();
	lock_credential(&call, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_DESTROY, &credential);
	if (!ks_store_find_id(credential.id, version, &row, &sealed) || sealed.version == 0)
		ks_error_not_found(NULL);
	if (strcmp(sealed.state, "current") == 0)
		ks_error_invalid("version", "the number of a version that is not current",
						 "Rotate first, or destroy the whole credential.");
	ks_store_destroy(&credential, version);
	PG_RETURN_VOID();
}

/* verify_all() */

static void
add_verified(KsSetResult *set, const KsCursor *at)
{
	KsCredential credential;
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem = {0};
	Datum		values[4] = {0};
	bool		nulls[4] = {false, false, false, true};

	if (!ks_store_find_id(at->credential, at->version, &credential, &sealed) ||
		sealed.version == 0 || strcmp(sealed.state, "destroyed") == 0)
		return;					/* destroyed meanwhile */
	values[0] = ks_uuid_datum(at->credential);
	values[1] = Int32GetDatum(at->version);
	values[2] = BoolGetDatum(ks_vault_open(&credential, &sealed, &value, &problem));
	if (problem.sqlstate != 0)
	{
		values[3] = CStringGetTextDatum(problem.reason);
		nulls[3] = false;
	}
	else
		ks_secret_wipe(value.data);
	ks_set_add(set, values, nulls);
}

/* All versions of a workspace, or of all when it is NULL. */
static void
verify_workspace(KsSetResult *set, const uint8 *workspace)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone verify",
											   ALLOCSET_DEFAULT_SIZES);
	KsCursor	after = {0};
	KsCursor	batch[VERIFY_BATCH];
	int			n;

	while ((n = ks_store_next(workspace, &after, VERIFY_BATCH, batch)) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		for (int i = 0; i < n; i++)
		{
			add_verified(set, &batch[i]);
			CHECK_FOR_INTERRUPTS();
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}

PG_FUNCTION_INFO_V1(ks_fn_verify_all);
/* verify_all(workspace) returns setof (credential, version, ok, problem) */
Datum
ks_fn_verify_all(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSetResult set;
	KsMembership *members;
	KsMembership member;
	uint8		id[KS_ID_LEN];
	int			n;

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	ks_keyring_require_open();
	if (PG_ARGISNULL(0) && (call.profiles & KS_PROFILE_ADMIN))
	{
		ks_set_begin(fcinfo, false, &set);
		verify_workspace(&set, NULL);
	}
	else if (PG_ARGISNULL(0))
	{
		if (call.actor.source == KS_SOURCE_ANONYMOUS)
			ks_error_anonymous(call.actor.why);
		n = ks_memberships(&call, &members);
		ks_set_begin(fcinfo, false, &set);
		for (int i = 0; i < n; i++)
		{
			if (members[i].permissions & (KS_PERM_AUDIT | KS_PERM_WORKSPACE))
				verify_workspace(&set, members[i].workspace);
		}
	}
	else
	{
		if (call.profiles & KS_PROFILE_ADMIN)
		{
			if (!ks_tenant_find_workspace(PG_GETARG_TEXT_PP(0), id))
				ks_error_not_found(NULL);
		}
		else
		{
			ks_membership(&call, PG_GETARG_TEXT_PP(0), &member);
			if (!(member.permissions & (KS_PERM_AUDIT | KS_PERM_WORKSPACE)))
				ks_require(&member, KS_PERM_AUDIT);
			memcpy(id, member.workspace, KS_ID_LEN);
		}
		ks_set_begin(fcinfo, false, &set);
		verify_workspace(&set, id);
	}
	return (Datum) 0;
}
