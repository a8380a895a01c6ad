/*-------------------------------------------------------------------------
 *
 * ks_reveal_sql.c
 *	  Verbs that give values, and those that look up or verify.
 *
 * No value leaves before its entry in the audit log is durable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_dotenv.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_keys.h"
#include "ks_latency.h"
#include "ks_mem.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"

#define VERIFY_BATCH	100

/* Runs a verb that gives values out; its time is one of the metrics. */
static Datum
run_reveal(FunctionCallInfo fcinfo, KsVerbBody body)
{
	instr_time	start;
	Datum		result;

	ks_latency_begin(&start);
	result = ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_REVEAL, body);
	ks_latency_end(&start);
	return result;
}

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

/*
 * Both names stand in the log when somebody uses what its owner shared: the
 * caller as the actor, and for whom.
 */
static void
add_owner(KsDetail *detail, const KsReveal *wanted, char owner[37])
{
	if (!wanted->shared)
		return;
	ks_text_from_uuid(wanted->credential.owner, owner);
	ks_detail_add(detail, "on_behalf_of", owner);
}

/* The value that is wanted, or a field of it, recorded; or the refusal. */
static Datum
give(KsVerb *verb, KsReveal *wanted, text *field)
{
	bool		found = ks_vault_find(&verb->call, wanted);
	char	   *owner = palloc(37); /* also for the entry of an error */

	if (wanted->seen)
		ks_verb_credential(verb, &wanted->credential, wanted->sealed.version);
	add_owner(&verb->detail, wanted, owner);
	if (!found)
		ks_vault_raise(&wanted->problem);
	ks_gate_credential(verb, NULL, "reveal", &wanted->credential, wanted->sealed.version, NULL);
	if (!ks_vault_take(&verb->call, wanted))
		ks_vault_raise(&wanted->problem);
	ks_verb_record(verb, KS_OUTCOME_OK, &wanted->credential, &wanted->sealed);
	return value_result(&wanted->value, field);
}

static Datum
reveal(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsReveal	wanted = {0};
	KsName	   *name = &wanted.name;
	const uint8 *owner = ks_arg_get_uuid_or_null(fcinfo, 5);

	wanted.version = ks_arg_get_version(fcinfo, 3, "version");
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	name->folded_name = ks_text_fold(ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX));
	name->environment = ks_get_environment(fcinfo, 2);
	get_scope(fcinfo, 6, name);
	ks_verb_extra(verb, fcinfo, 7);
	ks_begin_reveal();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	name->workspace = member.workspace;
	name->owner = owner != NULL ? owner : verb->call.actor.principal;
	if (owner != NULL)
	{
		name->own = true;
		name->shared = false;
	}
	return give(verb, &wanted, ks_arg_get_text_or_null(fcinfo, 4));
}

PG_FUNCTION_INFO_V1(ks_fn_reveal);
/* reveal(workspace, name, environment, version, field, owner, scope, approval, reason, context) returns text */
Datum
ks_fn_reveal(PG_FUNCTION_ARGS)
{
	return run_reveal(fcinfo, reveal);
}

static Datum
reveal_by_id(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsReveal	wanted = {0};

	wanted.version = ks_arg_get_version(fcinfo, 1, "version");
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_verb_extra(verb, fcinfo, 3);
	ks_begin_reveal();
	wanted.id = ks_arg_get_uuid(fcinfo, 0, "credential");
	memcpy(verb->object, wanted.id, KS_ID_LEN);
	return give(verb, &wanted, ks_arg_get_text_or_null(fcinfo, 2));
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_by_id);
/* reveal_by_id(credential, version, field, approval, reason, context) returns text */
Datum
ks_fn_reveal_by_id(PG_FUNCTION_ARGS)
{
	return run_reveal(fcinfo, reveal_by_id);
}

/* Many reveals: their entries are put one by one, and waited for together. */
typedef struct Batch
{
	KsVerb	   *verb;
	KsSetResult set;			/* not of export_env() */
	bool		waiting;
	KsTicket	ticket;			/* of the last entry */
	int			pairs;			/* of the verb's detail, and its length, that */
	size_t		len;			/* are not of one reveal */
} Batch;

/* One of them; false with a problem. */
static bool
reveal_one(Batch *batch, KsReveal *wanted)
{
	KsVerb	   *verb = batch->verb;

	batch->pairs = verb->detail.n;
	batch->len = verb->detail.len;
	return ks_vault_find(&verb->call, wanted) &&
		ks_gate_row(verb, &wanted->credential, wanted->sealed.version, &wanted->problem) &&
		ks_vault_take(&verb->call, wanted);
}

/* Puts the entry of one reveal.  The ticket of a refusal that is only counted
 * is not waited for. */
static void
put_revealed(Batch *batch, const KsReveal *wanted)
{
	KsVerb	   *verb = batch->verb;
	char		owner[37];

	add_owner(&verb->detail, wanted, owner);
	if (wanted->problem.sqlstate == 0)
	{
		ks_verb_put(verb, KS_OUTCOME_OK, &wanted->credential, &wanted->sealed, &batch->ticket);
		batch->waiting = true;
	}
	else if (ks_verb_put_refusal(verb, wanted->problem.sqlstate,
								 wanted->problem.sqlstate == KS_ERRCODE_LIMITED ? &wanted->problem.limited : NULL,
								 wanted->seen ? &wanted->credential : NULL, wanted->id, &batch->ticket))
		batch->waiting = true;
	verb->detail.n = batch->pairs;
	verb->detail.len = batch->len;
}

/* Before anything is given out: what was put last is durable, and so is all
 * before it. */
static void
wait_for_batch(Batch *batch)
{
	if (batch->waiting)
		(void) ks_event_wait(&batch->ticket);
}

/* Why one value among many is not given, for the caller and for the server log. */
static char *
describe_problem(const KsProblem *problem)
{
	if (problem->sqlstate == KS_ERRCODE_LIMITED)
		return psprintf("%s %s, try again in " INT64_FORMAT " seconds", unpack_sql_state(problem->sqlstate),
						problem->message, problem->limited.retry_after);
	if (problem->reason != NULL)
		ereport(LOG,
				errcode(problem->sqlstate),
				errmsg("a credential could not be revealed: %s", problem->message),
				errdetail_log("%s", problem->reason),
				errhidestmt(true));
	if (problem->policy)
		return psprintf("%s %s: %s", unpack_sql_state(problem->sqlstate), problem->message, problem->detail);
	return psprintf("%s %s", unpack_sql_state(problem->sqlstate), problem->message);
}

/*
 * One row of reveal_many() or reveal_env().  name is what was asked for when
 * that was no id: then a credential that the caller may not see is no more
 * than that name.
 */
static void
add_revealed(Batch *batch, KsReveal *wanted, const char *name)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {true, true, true, true, true};

	if (reveal_one(batch, wanted))
	{
		values[3] = PointerGetDatum(cstring_to_text_with_len(wanted->value.data, (int) wanted->value.len));
		nulls[3] = false;
		ks_secret_wipe(wanted->value.data);
	}
	put_revealed(batch, wanted);

	if (wanted->seen || wanted->id != NULL)
	{
		values[0] = ks_uuid_datum(wanted->seen ? wanted->credential.id : wanted->id);
		nulls[0] = false;
	}
	else
	{
		values[1] = CStringGetTextDatum(name);
		nulls[1] = false;
	}
	if (wanted->problem.sqlstate != KS_ERRCODE_NOT_FOUND)
	{
		values[1] = CStringGetTextDatum(wanted->credential.name);
		values[2] = Int32GetDatum(wanted->sealed.version);
		nulls[1] = nulls[2] = false;
	}
	if (wanted->problem.sqlstate != 0)
	{
		values[4] = CStringGetTextDatum(describe_problem(&wanted->problem));
		nulls[4] = false;
	}
	ks_set_add(&batch->set, values, nulls);
	if (!nulls[3])
		ks_wipe(VARDATA_ANY(DatumGetPointer(values[3])), VARSIZE_ANY_EXHDR(DatumGetPointer(values[3])));
}

static void
add_all_revealed(Batch *batch, const uint8 (*ids)[KS_ID_LEN], int n)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone reveal",
											   ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		KsReveal	wanted = {.id = ids[i]};

		add_revealed(batch, &wanted, NULL);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(work);
}

static Datum
reveal_many(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Batch		batch = {.verb = verb};
	Datum	   *elements;
	uint8		(*ids)[KS_ID_LEN];
	int			n;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(0))
		ks_error_null("credentials");
	n = ks_arg_get_array(PG_GETARG_DATUM(0), UUIDOID, "credentials", &elements);
	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("credentials", psprintf("at most %d", KS_REVEAL_MANY_MAX), NULL);
	ks_verb_why(verb, ks_arg_get_text_or_null(fcinfo, 1), ks_arg_get_jsonb(fcinfo, 2, "context"));
	ks_begin_reveal();

	ids = palloc(Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		memcpy(ids[i], DatumGetUUIDP(elements[i])->data, KS_ID_LEN);
	ks_set_begin(fcinfo, true, &batch.set);
	add_all_revealed(&batch, (const uint8 (*)[KS_ID_LEN]) ids, n);
	wait_for_batch(&batch);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_many);
/* reveal_many(credentials uuid[], reason, context) returns setof record */
Datum
ks_fn_reveal_many(PG_FUNCTION_ARGS)
{
	return run_reveal(fcinfo, reveal_many);
}

/* The named part of an environment, in the order asked. */
static void
add_named(Batch *batch, const KsMembership *member, const char *environment, Datum names)
{
	Datum	   *elements;
	int			n = ks_arg_get_array(names, TEXTOID, "names", &elements);

	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("names", psprintf("at most %d", KS_REVEAL_MANY_MAX), NULL);
	for (int i = 0; i < n; i++)
	{
		char	   *given = ks_text_name("names", DatumGetTextPP(elements[i]), KS_NAME_MAX);
		KsReveal	wanted = {
			.name = {
				.workspace = member->workspace,
				.environment = environment,
				.folded_name = ks_text_fold(given),
				.owner = batch->verb->call.actor.principal,
				.own = true,
				.shared = true,
			},
		};

		add_revealed(batch, &wanted, given);
		CHECK_FOR_INTERRUPTS();
	}
}

/* What a whole environment consists of for the caller. */
static int
list_environment(const KsCall *call, const KsMembership *member, const char *environment,
				 uint8 (**ids)[KS_ID_LEN])
{
	KsMembership any_provider = *member;
	Datum		providers = (Datum) 0;
	int			n;

	*ids = NULL;
	any_provider.providers = NULL;
	if (!ks_within_limits(&any_provider, environment, NULL))
		return 0;
	if (member->providers != NULL)
		providers = ks_name_list_datum(member->providers);
	n = ks_store_list(member->workspace, environment, call->actor.principal, providers, ids);
	if (n > KS_REVEAL_MANY_MAX)
		ks_error_invalid("environment",
						 psprintf("one of at most %d credentials when it is taken as a whole", KS_REVEAL_MANY_MAX), NULL);
	return n;
}

static Datum
reveal_env(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	Batch		batch = {.verb = verb};
	char	   *environment;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	environment = ks_get_environment(fcinfo, 1);
	ks_verb_why(verb, ks_arg_get_text_or_null(fcinfo, 3), ks_arg_get_jsonb(fcinfo, 4, "context"));
	ks_begin_reveal();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_VIEW);

	ks_set_begin(fcinfo, true, &batch.set);
	if (!PG_ARGISNULL(2))
		add_named(&batch, &member, environment, PG_GETARG_DATUM(2));
	else
	{
		uint8		(*ids)[KS_ID_LEN];
		int			n = list_environment(&verb->call, &member, environment, &ids);

		add_all_revealed(&batch, (const uint8 (*)[KS_ID_LEN]) ids, n);
	}
	wait_for_batch(&batch);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_reveal_env);
/* reveal_env(workspace, environment, names text[], reason, context) returns setof record */
Datum
ks_fn_reveal_env(PG_FUNCTION_ARGS)
{
	return run_reveal(fcinfo, reveal_env);
}

/* export_env() */

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
read_exported(Batch *batch, const uint8 *id, ExportedLine *line)
{
	KsReveal	wanted = {.id = id};
	KsCredential named;

	/* The name comes first: a value that has no line is not revealed. */
	if (!ks_store_find_id(id, 0, &named, NULL))
		return;
	line->name = named.name;
	if (!is_dotenv_name(named.name))
	{
		line->why = "the name does not fit dotenv";
		return;
	}
	if (reveal_one(batch, &wanted))
		line->value = wanted.value;
	else
		line->why = describe_problem(&wanted.problem);
	put_revealed(batch, &wanted);
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

static Datum
export_env(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	char	   *environment;
	uint8		(*ids)[KS_ID_LEN];
	ExportedLine *lines;
	Batch		batch = {.verb = verb};
	int			n;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	environment = ks_get_environment(fcinfo, 1);
	ks_verb_why(verb, ks_arg_get_text_or_null(fcinfo, 2), ks_empty_object());
	ks_begin_reveal();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_REVEAL);

	n = list_environment(&verb->call, &member, environment, &ids);
	lines = palloc0(Max(n, 1) * sizeof(ExportedLine));
	for (int i = 0; i < n; i++)
	{
		read_exported(&batch, ids[i], &lines[i]);
		CHECK_FOR_INTERRUPTS();
	}
	wait_for_batch(&batch);
	return write_exported(lines, n);
}

PG_FUNCTION_INFO_V1(ks_fn_export_env);
/* export_env(workspace, environment, reason) returns "text/plain" */
Datum
ks_fn_export_env(PG_FUNCTION_ARGS)
{
	return run_reveal(fcinfo, export_env);
}

/* Looking up */

/* Ids of the personal credentials of a workspace that are shared with the caller, as uuid[]. */
static Datum
shared_with(const KsCall *call, const uint8 workspace[KS_ID_LEN])
{
	KsShare    *shares;
	int			n = ks_shares(call, &shares);
	Datum	   *ids = palloc_extended(Max(n, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (memcmp(shares[i].workspace, workspace, KS_ID_LEN) == 0 && ks_is_shared(call, &shares[i]))
			ids[kept++] = ks_uuid_datum(shares[i].credential);
	}
	return PointerGetDatum(construct_array(ids, kept, UUIDOID, KS_ID_LEN, false, TYPALIGN_CHAR));
}

PG_FUNCTION_INFO_V1(ks_fn_resolve);
/* resolve(workspace, provider, kind, environment) returns record */
Datum
ks_fn_resolve(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsMembership member;
	KsCredential credential;
	KsProblem	problem;
	KsProvider	provider;
	KsResolve	wanted = {0};
	text	   *kind = ks_arg_get_text_or_null(fcinfo, 2);
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	wanted.provider = ks_text_name("provider", ks_arg_get_text(fcinfo, 1, "provider"), KS_PROVIDER_MAX);
	wanted.environment = ks_get_environment(fcinfo, 3);
	wanted.kind = kind != NULL ? text_to_cstring(kind) : NULL;
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_VIEW);
	wanted.workspace = member.workspace;
	wanted.owner = call.actor.principal;
	wanted.others = shared_with(&call, member.workspace);
	if (!ks_store_resolve(&wanted, &credential) ||
		!ks_vault_may(&call, &credential, KS_ACCESS_SEE, &member, &problem))
		ks_error_not_found(NULL);

	values[0] = ks_uuid_datum(credential.id);
	values[1] = CStringGetTextDatum(credential.name);
	values[2] = Int32GetDatum(credential.current_version);
	values[3] = BoolGetDatum(credential.personal);
	values[4] = CStringGetTextDatum(ks_tenant_provider(member.workspace, wanted.provider, &provider) ?
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
	KsProblem	problem;
	bool		personal = ks_arg_get_bool(fcinfo, 3, "personal");

	ks_enter_known(&call, KS_PROFILE_CLIENT);
	name.folded_name = ks_text_fold(ks_text_name("name", ks_arg_get_text(fcinfo, 1, "name"), KS_NAME_MAX));
	name.environment = ks_get_environment(fcinfo, 2);
	ks_membership(&call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	ks_require(&member, KS_PERM_VIEW);
	name.workspace = member.workspace;
	name.owner = call.actor.principal;
	name.own = personal;
	name.shared = !personal;
	if (!ks_store_find(&name, 0, &credential, NULL) ||
		!ks_vault_may(&call, &credential, KS_ACCESS_SEE, &member, &problem))
		ks_error_not_found(NULL);
	return ks_uuid_datum(credential.id);
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

/* A key that does not unwrap may have encrypted nothing yet. */
static void
add_damaged_keys(KsSetResult *set, const uint8 *workspace)
{
	KsDamagedKey *keys;
	int			n = ks_keys_damaged(workspace, &keys);

	for (int i = 0; i < n; i++)
	{
		Datum		values[4] = {0};
		bool		nulls[4] = {true, true, false, false};

		values[2] = BoolGetDatum(false);
		values[3] = CStringGetTextDatum(ks_keys_damage_text(&keys[i]));
		ks_set_add(set, values, nulls);
	}
}

/* All keys and versions of a workspace, or of all when it is NULL. */
static void
verify_workspace(KsSetResult *set, const uint8 *workspace)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone verify",
											   ALLOCSET_DEFAULT_SIZES);
	KsCursor	after = {0};
	KsCursor	batch[VERIFY_BATCH];
	int			n;

	add_damaged_keys(set, workspace);
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
