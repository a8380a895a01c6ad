/*-------------------------------------------------------------------------
 *
 * ks_limit_define_sql.c
 *	  Limits as SQL functions: defining and dropping them, and how full their
 *	  table is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_limits.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define UTC		"UTC"
#define ACTION_EXPORT	"export_bundle"

/* A definition as its options say it. */
typedef struct Options
{
	const char *algorithm;
	const char *timezone;		/* NULL: not given */
	const char *limit_class;	/* NULL: not given */
	bool		shadow;
	bool		refundable;
	int32		near_percent;
	const char *action;			/* NULL: not enforced */
	const char *provider;
	const char *key_by;			/* NULL: not given */
} Options;

/* Calls a function for each member of an object. */
typedef void (*ReadMember) (void *arg, const char *key, const JsonbValue *value);

static void
read_members(JsonbContainer *object, ReadMember read, void *arg)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			read(arg, key, &value);
	}
}

static char *
get_string(const JsonbValue *value, const char *parameter)
{
	if (value->type != jbvString)
		ks_error_invalid(parameter, "a string", NULL);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static bool
get_bool(const JsonbValue *value, const char *parameter)
{
	if (value->type != jbvBool)
		ks_error_invalid(parameter, "true or false", NULL);
	return value->val.boolean;
}

/* A whole number of 1 to 99. */
static int32
get_percent(const JsonbValue *value, const char *parameter)
{
	if (value->type == jbvNumeric)
	{
		char	   *word = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));

		if (strlen(word) <= 2 && strspn(word, "0123456789") == strlen(word) && atoi(word) > 0)
			return atoi(word);
	}
	ks_error_invalid(parameter, "a whole number of 1 to 99", NULL);
	return 0;
}

static char *
get_word(const JsonbValue *value, const char *parameter, const char *a, const char *b)
{
	char	   *word = get_string(value, parameter);

	if (strcmp(word, a) != 0 && strcmp(word, b) != 0)
		ks_error_invalid(parameter, psprintf("%s or %s", a, b), NULL);
	return word;
}

/* A verb that applies limits by itself (see ks_enforce.h). */
static char *
get_action(const JsonbValue *value)
{
	char	   *word = get_string(value, "options.enforce.action");

	if (strcmp(word, "reveal") != 0 && strcmp(word, "rotate") != 0 && strcmp(word, ACTION_EXPORT) != 0)
		ks_error_invalid("options.enforce.action", "reveal, rotate or " ACTION_EXPORT, NULL);
	return word;
}

static void
read_enforce(void *arg, const char *key, const JsonbValue *value)
{
	Options    *options = arg;

	if (strcmp(key, "action") == 0)
		options->action = get_action(value);
	else if (strcmp(key, "provider") == 0)
		options->provider = value->type == jbvNull ? NULL : get_string(value, "options.enforce.provider");
	else
		ks_error_invalid("options.enforce", "an object with action and provider only", NULL);
}

/* The words of key, in their fixed order; each at most once counts. */
static const char *
get_key_by(const JsonbValue *value)
{
	static const char *const words[] = {"principal", "workspace", "credential", "provider"};
	bool		given[lengthof(words)] = {false};
	StringInfoData list;
	int			n = value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) ?
	(int) JsonContainerSize(value->val.binary.data) : 0;

	for (int i = 0; i < n; i++)
	{
		const JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, (uint32) i);
		bool		known = false;

		for (size_t j = 0; j < lengthof(words) && element->type == jbvString; j++)
		{
			if ((size_t) element->val.string.len == strlen(words[j]) &&
				memcmp(element->val.string.val, words[j], strlen(words[j])) == 0)
				known = given[j] = true;
		}
		if (!known)
			n = 0;
	}
	if (n == 0)
		ks_error_invalid("options.key", "an array of principal, workspace, credential, provider", NULL);
	initStringInfo(&list);
	for (size_t j = 0; j < lengthof(words); j++)
	{
		if (given[j])
			appendStringInfo(&list, "%s%s", list.len > 0 ? "," : "", words[j]);
	}
	return list.data;
}

static void
read_option(void *arg, const char *key, const JsonbValue *value)
{
	Options    *options = arg;

	if (strcmp(key, "algorithm") == 0)
		options->algorithm = get_string(value, "options.algorithm");
	else if (strcmp(key, "timezone") == 0)
		options->timezone = get_string(value, "options.timezone");
	else if (strcmp(key, "class") == 0)
		options->limit_class = get_word(value, "options.class", "protect", "fair");
	else if (strcmp(key, "shadow") == 0)
		options->shadow = get_bool(value, "options.shadow");
	else if (strcmp(key, "refund") == 0)
		options->refundable = get_bool(value, "options.refund");
	else if (strcmp(key, "near") == 0)
		options->near_percent = get_percent(value, "options.near");
	else if (strcmp(key, "key") == 0)
		options->key_by = get_key_by(value);
	else if (strcmp(key, "enforce") == 0)
	{
		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			ks_error_invalid("options.enforce", "an object", NULL);
		read_members(value->val.binary.data, read_enforce, options);
		if (options->action == NULL)
			ks_error_invalid("options.enforce", "an object with an action", NULL);
	}
	else
		ks_error_invalid("options", "an object with algorithm, timezone, class, shadow, near, refund, enforce and key only",
						 NULL);
}

static void
check_zone(Options *options)
{
	pg_tz	   *zone;

	if (options->timezone == NULL)
	{
		options->timezone = UTC;
		return;
	}
	if (strcmp(options->algorithm, "calendar") != 0)
		ks_error_invalid("options.timezone", "given with the algorithm calendar only", NULL);
	zone = ks_windowspec_zone(options->timezone);
	if (zone == NULL)
		ks_error_invalid("options.timezone", "the name of a time zone", "pg_timezone_names lists them.");
	options->timezone = pg_get_timezone_name(zone);
}

/* Options that only a limit has which verbs apply by themselves. */
static void
check_enforce(Options *options, const uint8 *workspace)
{
	KsProvider	provider;

	if (options->action == NULL)
	{
		if (options->key_by != NULL)
			ks_error_invalid("options.key", "given with enforce only", NULL);
		options->key_by = "";
		return;
	}
	if (options->refundable)
		ks_error_invalid("options.refund", "false for a limit with enforce", NULL);
	if (options->key_by == NULL)
		options->key_by = "principal";
	if (options->provider != NULL && strcmp(options->action, ACTION_EXPORT) == 0)
		ks_error_invalid("options.enforce.provider", "left out with the action " ACTION_EXPORT, NULL);
	if (options->provider != NULL && !ks_tenant_provider(workspace, options->provider, &provider))
		ks_error_invalid("options.enforce.provider", "one of keystone.providers", NULL);
}

static void
get_options(Jsonb *given, Options *options)
{
	memset(options, 0, sizeof(*options));
	options->algorithm = "sliding";
	options->near_percent = ks_near_soft;
	if (!JB_ROOT_IS_OBJECT(given))
		ks_error_invalid("options", "a JSON object", NULL);
	read_members(&given->root, read_option, options);
	if (ks_windowspec_algorithm(options->algorithm) == 0)
		ks_error_invalid("options.algorithm", "sliding, log, calendar or gcra", NULL);
	check_zone(options);
	if (options->limit_class == NULL)
		options->limit_class = options->action != NULL ? "protect" : "fair";
}

/*
 * Whose limits a call changes: a workspace's, for holders of workspace; the
 * database's (the nil uuid), for the profile admin.
 */
static void
get_owner(KsVerb *verb, const text *workspace, uint8 id[KS_ID_LEN])
{
	KsMembership member;

	memset(id, 0, KS_ID_LEN);
	if (workspace == NULL)
	{
		if (!(verb->call.profiles & KS_PROFILE_ADMIN))
			ks_error_denied("permission denied", "A limit of the database needs the profile admin.");
		return;
	}
	ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &member);
	ks_require(&member, KS_PERM_WORKSPACE);
	ks_require_usable(&member);
	memcpy(id, member.workspace, KS_ID_LEN);
}

static char *
who_defines(const KsCall *call)
{
	char	   *word = palloc(37);

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return GetUserNameFromId(call->actor.session_role, false);
	ks_text_from_uuid(call->actor.principal, word);
	return word;
}

/* Whether a definition binds verbs, or has done so until now. */
static bool
is_enforced(const KsLimitRow *row)
{
	const KsLimitDef *def = ks_limits_own(row->workspace, row->name);

	return row->enforce_action != NULL || (def != NULL && def->enforce_action != NULL);
}

static void
write_limit(const KsLimitRow *row, const char *by)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.limits (workspace_id, name, windows, algorithm, timezone, class, shadow,"
		" enforce_action, enforce_provider, key_by, near_percent, refundable, created_by, updated_at, dropped_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
		" ON CONFLICT (workspace_id, name) DO UPDATE SET windows = excluded.windows, algorithm = excluded.algorithm,"
		" timezone = excluded.timezone, class = excluded.class, shadow = excluded.shadow,"
		" enforce_action = excluded.enforce_action, enforce_provider = excluded.enforce_provider,"
		" key_by = excluded.key_by, near_percent = excluded.near_percent, refundable = excluded.refundable,"
		" updated_at = excluded.updated_at, dropped_at = excluded.dropped_at, row_mac = excluded.row_mac"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	if (is_enforced(row))
		ks_limits_note_change();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_text(&args, row->name);
	ks_arg_text(&args, row->windows);
	ks_arg_text(&args, row->algorithm);
	ks_arg_text(&args, row->timezone);
	ks_arg_text(&args, row->limit_class);
	ks_arg_bool(&args, true, row->shadow);
	ks_arg_text(&args, row->enforce_action);
	ks_arg_text(&args, row->enforce_provider);
	ks_arg_text(&args, row->key_by);
	ks_arg_int(&args, true, row->near_percent);
	ks_arg_bool(&args, true, row->refundable);
	ks_arg_text(&args, by);
	ks_arg_time(&args, true, row->updated_at);
	ks_arg_time(&args, row->dropped, row->dropped_at);
	ks_limit_add_mac(&args, row);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* What the database limits under a name is not for workspaces to define. */
static void
check_name(const KsLimitRow *row)
{
	static const uint8 database[KS_ID_LEN] = {0};

	if (memcmp(row->workspace, database, KS_ID_LEN) != 0 && ks_limits_own(database, row->name) != NULL)
		ks_error_duplicate("the database has a limit of that name", "It holds for all workspaces.");
}

/* Bounds on what one workspace may define. */
static void
check_room(const KsLimitRow *row, int windows)
{
	if (ks_limits_own(row->workspace, row->name) == NULL &&
		ks_limits_count(row->workspace) >= KS_LIMITS_OF_WORKSPACE_MAX)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("there are %d limits already", KS_LIMITS_OF_WORKSPACE_MAX),
				errhint("Drop some with keystone.limit_drop()."));
	if (row->enforce_action != NULL &&
		ks_limits_enforced_windows(row->workspace, row->enforce_action, row->name) + windows >
		KS_LIMITS_ENFORCED_WINDOWS_MAX)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("the limits with enforce of one action have more than %d windows together",
					   KS_LIMITS_ENFORCED_WINDOWS_MAX),
				errhint("Drop some with keystone.limit_drop()."));
}

static Datum
limit_define(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsWindowSpec specs[KS_WINDOWSPEC_MAX];
	KsLimitRow	row = {0};
	Options		options;
	int			n;

	ks_verb_enter(verb, KS_PROFILE_WORKER | KS_PROFILE_ADMIN);
	row.name = ks_text_name("name", ks_arg_get_text(fcinfo, 0, "name"), KS_NAME_MAX);
	row.windows = text_to_cstring(ks_arg_get_text(fcinfo, 1, "windows"));
	get_options(ks_arg_get_jsonb(fcinfo, 3, "options"), &options);
	n = ks_windowspec_parse("windows", row.windows, ks_windowspec_algorithm(options.algorithm), specs);
	ks_begin_change();
	get_owner(verb, ks_arg_get_text_or_null(fcinfo, 2), row.workspace);
	check_enforce(&options, row.workspace);

	row.algorithm = options.algorithm;
	row.timezone = options.timezone;
	row.limit_class = options.limit_class;
	row.shadow = options.shadow;
	row.enforce_action = options.action;
	row.enforce_provider = options.provider;
	row.key_by = options.key_by;
	row.near_percent = options.near_percent;
	row.refundable = options.refundable;
	row.updated_at = GetCurrentTimestamp();
	check_name(&row);
	check_room(&row, n);
	write_limit(&row, who_defines(&verb->call));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_limit_define);
/* limit_define(name, windows, workspace, options) returns void */
Datum
ks_fn_limit_define(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_DEFINE, limit_define);
}

/* Reads a definition as it is now, also one that was changed by hand: it can be
 * dropped. */
static bool
read_limit(const uint8 *workspace, const char *name, KsLimitRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_LIMIT_COLUMNS " FROM keystone_private.limits l"
		" WHERE l.workspace_id = $1 AND l.name = $2 AND l.dropped_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		(void) ks_limit_read(&spi, 0, 1, row);
	ks_spi_end(&spi);
	return found;
}

static Datum
limit_drop(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint8		workspace[KS_ID_LEN];
	KsLimitRow	row;
	char	   *name;

	ks_verb_enter(verb, KS_PROFILE_WORKER | KS_PROFILE_ADMIN);
	name = ks_text_name("name", ks_arg_get_text(fcinfo, 0, "name"), KS_NAME_MAX);
	ks_begin_change();
	get_owner(verb, ks_arg_get_text_or_null(fcinfo, 1), workspace);
	if (!read_limit(workspace, name, &row))
		ks_error_not_found("There is no limit of that name.");
	row.dropped = true;
	row.dropped_at = row.updated_at = GetCurrentTimestamp();
	write_limit(&row, who_defines(&verb->call));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_limit_drop);
/* limit_drop(name, workspace) returns void */
Datum
ks_fn_limit_drop(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LIMIT_DROP, limit_drop);
}

PG_FUNCTION_INFO_V1(ks_fn_calendar_period);
/* keystone_private.calendar_period(unit, timezone, at) returns (starts, ends) */
Datum
ks_fn_calendar_period(PG_FUNCTION_ARGS)
{
	/* Offsets before 1900 are those of no clock. */
	const TimestampTz first = (date2j(1900, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	const TimestampTz last = (date2j(10000, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	KsWindowSpec spec = {.window.algorithm = KS_WINDOW_CALENDAR};
	KsCall		call;
	pg_tz	   *zone;
	TimestampTz at;
	Datum		values[2];
	bool		nulls[2] = {false};

	ks_enter(&call, KS_PROFILE_MONITOR | KS_PROFILE_ADMIN);
	if (!ks_windowspec_unit(text_to_cstring(ks_arg_get_text(fcinfo, 0, "unit")), &spec))
		ks_error_invalid("unit", "second, minute, hour, day, week or month", NULL);
	zone = ks_windowspec_zone(text_to_cstring(ks_arg_get_text(fcinfo, 1, "timezone")));
	if (zone == NULL)
		ks_error_invalid("timezone", "the name of a time zone", "pg_timezone_names lists them.");
	if (PG_ARGISNULL(2))
		ks_error_null("at");
	at = PG_GETARG_TIMESTAMPTZ(2);
	if (at < first || at >= last)
		ks_error_invalid("at", "a time of the years 1900 to 9999", NULL);
	ks_windowspec_period(&spec.window, spec.unit, zone, at);
	values[0] = TimestampTzGetDatum(spec.window.start);
	values[1] = TimestampTzGetDatum(spec.window.end);
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_limit_stats);
/* limit_stats() returns record */
Datum
ks_fn_limit_stats(PG_FUNCTION_ARGS)
{
	KsLimitStats stats;
	KsCall		call;
	Datum		values[8];
	bool		nulls[8] = {false};

	ks_enter(&call, KS_PROFILE_MONITOR | KS_PROFILE_ADMIN);
	ks_limits_prepare();
	ks_limit_get_stats(&stats);
	values[0] = Int64GetDatum(stats.entries);
	values[1] = Int64GetDatum(stats.capacity);
	values[2] = Int64GetDatum(stats.mine);
	values[3] = Int64GetDatum(stats.blocked);
	values[4] = Int64GetDatum(stats.allowed);
	values[5] = Int64GetDatum(stats.denied);
	values[6] = Int64GetDatum(stats.overflowed);
	values[7] = Int64GetDatum(stats.dirty);
	return ks_row_result(fcinfo, values, nulls);
}
