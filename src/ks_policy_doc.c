/*-------------------------------------------------------------------------
 *
 * ks_policy_doc.c
 *	  Policy documents: their reader.
 *
 * Windows and groups are read first, because rules refer to them.  Everything
 * is read to its end whatever is wrong with it, so that one look tells all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "ks_cedar_json.h"
#include "ks_cedar_text.h"
#include "ks_policy_doc.h"
#include "ks_rights.h"
#include "ks_text.h"

#define SCOPE_MAX			256 /* bytes of a scope's id */
#define REASON_MAX			500
#define DESCRIPTION_MAX		1000
#define CHANNEL_MAX			256
#define RULE_MAX			1000	/* of a window's rule */
#define ZONE_MAX			255
#define DAYS(n)				((n) * USECS_PER_DAY)

const char *const ks_policy_actions[] = {
	"add_member", "audit_erase", "decrypt", "delete_credential", "destroy_credential",
	"destroy_version", "encrypt", "export_bundle", "policy_drop", "policy_put", "promote",
	"remove_member", "rename", "restore_credential", "reveal", "rollback_to", "rotate",
	"rotate_workspace_key", "set_active", "set_member_role", "shred_workspace", "store",
	"transfer_ownership", "update_metadata", NULL
};

/* Those that are about a credential, which has an environment, a provider and
 * a name. */
static const char *const credential_actions[] = {
	"delete_credential", "destroy_credential", "destroy_version", "promote", "rename",
	"restore_credential", "reveal", "rollback_to", "rotate", "set_active", "store",
	"update_metadata", NULL
};

static const char *const roles[] = {"owner", "admin", "operator", "viewer", "auditor", "service", NULL};
static const char *const api_versions[] = {KS_POLICY_API_VERSION, NULL};
static const char *const levels[] = {"system", "workspace", "provider", "secret", NULL};
static const char *const enforcements[] = {"enforce", "shadow", NULL};
static const char *const effects[] = {"permit", "forbid", "oblige", NULL};
static const char *const dst_modes[] = {"wall", "elapsed", NULL};
static const char *const timeouts[] = {"expire", NULL};
static const char *const obligation_types[] = {
	"require_approval", "require_preview", "require_reason", "require_mfa", "notify", "wait", NULL
};

/* In the order of the bits KS_SET_xxx. */
static const char *const setting_names[] = {
	"auto_redeploy", "soft_limit", "hard_limit", "max_secret_age", "approvals", NULL
};

typedef struct IdGroup
{
	const char *name;
	int			n;
	uint8		(*members)[KS_ID_LEN];
	bool		used;
} IdGroup;

typedef struct Reader
{
	KsPolicyDoc *doc;
	KsPolicyProblems *problems;
	int			n_groups;
	IdGroup    *groups;
	bool	   *used_windows;	/* by number */
} Reader;

const char *
ks_policy_level_name(KsPolicyLevel level)
{
	return levels[level];
}

const char *
ks_policy_effect_name(KsRuleEffect effect)
{
	return effects[effect];
}

const char *
ks_policy_obligation_name(KsObligationType type)
{
	return obligation_types[type];
}

/* Lists of uuids, in order and each once. */

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, KS_ID_LEN);
}

static int
sort_ids(uint8 (*ids)[KS_ID_LEN], int n)
{
	int			kept = 0;

	if (n > 0)
		qsort(ids, n, KS_ID_LEN, compare_ids);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || memcmp(ids[kept - 1], ids[i], KS_ID_LEN) != 0)
			memmove(ids[kept++], ids[i], KS_ID_LEN);
	}
	return kept;
}

bool
ks_policy_doc_is_about(const KsPolicyDoc *doc, const uint8 *credential, const char *name, const char *provider)
{
	switch (doc->level)
	{
		case KS_LEVEL_PROVIDER:
			return doc->scope_id != NULL && provider != NULL && strcmp(doc->scope_id, provider) == 0;
		case KS_LEVEL_SECRET:
			if (credential == NULL)
				return false;
			if (doc->has_credential)
				return memcmp(credential, doc->scope_credential, KS_ID_LEN) == 0;
			if (doc->scope_id == NULL)
				return true;
			return name != NULL && ks_glob_match(&doc->scope_secret, name, strlen(name));
		default:
			return true;
	}
}

bool
ks_policy_rule_has_principal(const KsPolicyRule *rule, const uint8 principal[KS_ID_LEN])
{
	return rule->all_principals ||
		(rule->n_principals > 0 &&
		 bsearch(principal, rule->principals, rule->n_principals, KS_ID_LEN, compare_ids) != NULL);
}

/* Groups. */

typedef struct IdList
{
	uint8		(*ids)[KS_ID_LEN];
	int			n;
} IdList;

static void
read_member(void *arg, int i, const KsPolicyValue *value)
{
	IdList	   *list = arg;
	char	   *word = ks_policy_string(value, KS_POLICY_ID_MAX);

	(void) i;
	if (word == NULL)
		return;
	if (ks_text_uuid(word, list->ids[list->n]))
		list->n++;
	else
		(void) ks_policy_wrong(value, "must be the uuid of a principal");
}

static bool
check_name(const KsPolicyValue *value)
{
	return ks_policy_is_id(value->place.key, (size_t) value->place.key_len) ||
		ks_policy_wrong(value, "must have a name of 1 to 64 letters, digits, \"_\", \".\" and \"-\"");
}

static void
read_group(void *arg, int i, const KsPolicyValue *value)
{
	Reader	   *reader = arg;
	IdGroup    *group = &reader->groups[i];
	int			n = ks_policy_array(value, 1, KS_POLICY_MEMBERS_MAX);
	IdList		list = {palloc((Max(n, 0) + 1) * KS_ID_LEN), 0};

	(void) check_name(value);
	group->name = pnstrdup(value->place.key, value->place.key_len);
	if (n > 0)
		ks_policy_each(value, read_member, &list);
	group->n = sort_ids(list.ids, list.n);
	group->members = list.ids;
}

static void
read_groups(Reader *reader, const KsPolicyField *field)
{
	int			n = field->found ? ks_policy_members(&field->value, KS_POLICY_GROUPS_MAX) : 0;

	if (n <= 0)
		return;
	reader->groups = palloc0(n * sizeof(IdGroup));
	reader->n_groups = n;
	ks_policy_each(&field->value, read_group, reader);
}

static IdGroup *
find_group(Reader *reader, const KsPolicyValue *at, const char *name)
{
	for (int i = 0; i < reader->n_groups; i++)
	{
		if (strcmp(reader->groups[i].name, name) == 0)
		{
			reader->groups[i].used = true;
			return &reader->groups[i];
		}
	}
	(void) ks_policy_wrong(at, "must be a group that the document defines in \"groups\"");
	return NULL;
}

/* Windows. */

static void
read_exclude(void *arg, int i, const KsPolicyValue *value)
{
	KsTzWindow *window = arg;
	char	   *word = ks_policy_string(value, 21);

	if (word != NULL && !ks_tzwindow_dates(word, &window->excludes[i]))
		(void) ks_policy_wrong(value, "must be a date such as 2026-12-24, or two with a slash between, the earlier first");
}

static void
read_excludes(KsTzWindow *window, const KsPolicyField *field)
{
	int			n = field->found ? ks_policy_array(&field->value, 0, KS_TZWINDOW_EXCLUDES_MAX) : 0;

	if (n <= 0)
		return;
	window->excludes = palloc0(n * sizeof(KsDateRange));
	window->n_excludes = n;
	ks_policy_each(&field->value, read_exclude, window);
}

/* What the calendar needs: the zone, the day from which it counts, the time. */
static void
read_window_times(KsTzWindow *window, const KsPolicyField *tz, const KsPolicyField *from,
				  const KsPolicyField *start)
{
	char	   *word;

	if (tz->found && (word = ks_policy_string(&tz->value, ZONE_MAX)) != NULL)
	{
		window->zone = pg_tzset(word);
		if (window->zone == NULL || !pg_tz_acceptable(window->zone))
			(void) ks_policy_wrong(&tz->value, "must be a time zone such as Europe/Berlin");
	}
	if (from->found && (word = ks_policy_string(&from->value, 10)) != NULL &&
		!ks_tzwindow_date(word, &window->from))
		(void) ks_policy_wrong(&from->value, "must be a date such as 2026-01-05");
	if (start->found && (word = ks_policy_string(&start->value, 8)) != NULL &&
		!ks_tzwindow_time(word, &window->start))
		(void) ks_policy_wrong(&start->value, "must be a time of day such as 22:00");
}

static void
read_window(void *arg, int i, const KsPolicyValue *value)
{
	enum
	{
		TZ, RRULE, START, DURATION, DST, FROM, EXCLUDE
	};
	KsPolicyField fields[] = {
		KS_REQUIRED_FIELD("tz"), KS_REQUIRED_FIELD("rrule"), KS_REQUIRED_FIELD("start"),
		KS_REQUIRED_FIELD("duration"), KS_FIELD("dst"), KS_FIELD("from"), KS_FIELD("exclude")
	};
	Reader	   *reader = arg;
	KsPolicyWindow *result = &reader->doc->windows[i];
	KsTzWindow *window = &result->window;
	int			errors = reader->problems->n_errors;
	TimestampTz opens;
	char	   *rule;

	result->name = pnstrdup(value->place.key, value->place.key_len);
	(void) check_name(value);
	if (!ks_policy_object(value, fields, lengthof(fields)))
		return;
	read_window_times(window, &fields[TZ], &fields[FROM], &fields[START]);
	if (fields[RRULE].found && (rule = ks_policy_string(&fields[RRULE].value, RULE_MAX)) != NULL)
	{
		const char *problem = ks_tzwindow_rule(window, rule);

		if (problem != NULL)
			(void) ks_policy_wrong(&fields[RRULE].value, problem);
	}
	if (fields[DURATION].found)
		(void) ks_policy_duration(&fields[DURATION].value, USECS_PER_MINUTE, KS_TZWINDOW_DURATION_MAX,
								  &window->duration);
	if (fields[DST].found)
		window->elapsed = ks_policy_word(&fields[DST].value, dst_modes) == 1;
	read_excludes(window, &fields[EXCLUDE]);
	if (reader->problems->n_errors == errors &&
		!ks_tzwindow_contains(window, GetCurrentTimestamp(), NULL) &&
		!ks_tzwindow_next(window, GetCurrentTimestamp(), &opens))
		(void) ks_policy_odd(value, "never opens again");
}

static void
read_windows(Reader *reader, const KsPolicyField *field)
{
	int			n = field->found ? ks_policy_members(&field->value, KS_POLICY_WINDOWS_MAX) : 0;

	if (n <= 0)
		return;
	reader->doc->windows = palloc0(n * sizeof(KsPolicyWindow));
	reader->doc->n_windows = n;
	reader->used_windows = palloc0(n * sizeof(bool));
	ks_policy_each(&field->value, read_window, reader);
}

/* What a rule matches. */

typedef struct GlobReader
{
	KsGlobList *list;
	const char *const *words;	/* NULL: any */
	const char *must;			/* when a literal is none of them */
	const char *odd;			/* when a pattern matches none of them */
} GlobReader;

static bool
matches_a_word(const KsGlob *glob, const char *const *words)
{
	for (; *words != NULL; words++)
	{
		if (ks_glob_match(glob, *words, strlen(*words)))
			return true;
	}
	return false;
}

static void
read_glob(void *arg, int i, const KsPolicyValue *value)
{
	GlobReader *reader = arg;
	KsGlob	   *glob = &reader->list->globs[reader->list->n];
	char	   *pattern = ks_policy_string(value, KS_GLOB_MAX);

	(void) i;
	if (pattern == NULL)
		return;
	ks_glob_read(pattern, glob);
	reader->list->n++;
	if (reader->words == NULL || matches_a_word(glob, reader->words))
		return;
	if (glob->literal)
		(void) ks_policy_wrong(value, reader->must);
	else
		(void) ks_policy_odd(value, reader->odd);
}

static void
read_globs(const KsPolicyField *field, KsGlobList *list, const char *const *words,
		   const char *must, const char *odd)
{
	GlobReader	reader = {list, words, must, odd};
	int			n = field->found ? ks_policy_array(&field->value, 1, KS_POLICY_GLOBS_MAX) : 0;

	if (n <= 0)
		return;
	list->globs = palloc0(n * sizeof(KsGlob));
	ks_policy_each(&field->value, read_glob, &reader);
}

typedef struct PrincipalReader
{
	Reader	   *reader;
	KsPolicyRule *rule;
	IdList		list;
} PrincipalReader;

static void
read_principal(void *arg, int i, const KsPolicyValue *value)
{
	PrincipalReader *reader = arg;
	IdList	   *list = &reader->list;
	char	   *word = ks_policy_string(value, KS_GLOB_MAX);
	IdGroup    *group;

	(void) i;
	if (word == NULL)
		return;
	if (strcmp(word, "*") == 0 || strcmp(word, "**") == 0)
		reader->rule->all_principals = true;
	else if (strncmp(word, "group:", 6) == 0)
	{
		group = find_group(reader->reader, value, word + 6);
		if (group == NULL)
			return;
		memcpy(list->ids[list->n], group->members, group->n * KS_ID_LEN);
		list->n += group->n;
	}
	else if (ks_text_uuid(word, list->ids[list->n]))
		list->n++;
	else
		(void) ks_policy_wrong(value, "must be the uuid of a principal, \"group:\" with a group's name, or \"*\"");
}

static void
read_principals(Reader *reader, KsPolicyRule *rule, const KsPolicyField *field)
{
	PrincipalReader principals = {reader, rule, {NULL, 0}};
	int			n = field->found ? ks_policy_array(&field->value, 1, KS_POLICY_GLOBS_MAX) : 0;

	rule->all_principals = !field->found;
	if (n <= 0)
		return;
	principals.list.ids = palloc(n * KS_POLICY_MEMBERS_MAX * KS_ID_LEN);
	ks_policy_each(&field->value, read_principal, &principals);
	rule->n_principals = sort_ids(principals.list.ids, principals.list.n);
	rule->principals = repalloc(principals.list.ids, Max(rule->n_principals, 1) * KS_ID_LEN);
}

static bool
has_any(const KsGlobList *list)
{
	return ks_glob_list_match(list, NULL);
}

static bool
matches_one_of(const KsGlobList *list, const char *const *words)
{
	for (; *words != NULL; words++)
	{
		if (ks_glob_list_match(list, *words))
			return true;
	}
	return false;
}

/* Whether one of its patterns matches none of the words. */
static bool
has_pattern_outside(const KsGlobList *list, const char *const *words)
{
	for (int i = 0; i < list->n; i++)
	{
		KsGlobList	one = {1, &list->globs[i]};

		if (!matches_one_of(&one, words))
			return true;
	}
	return false;
}

static char *
unknown_action(void)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "must be one of the actions");
	for (int i = 0; ks_policy_actions[i] != NULL; i++)
		appendStringInfo(&out, "%s%s", i == 0 ? " " : ", ", ks_policy_actions[i]);
	appendStringInfoString(&out, ", or a pattern");
	return out.data;
}

static void
read_match(Reader *reader, KsPolicyRule *rule, const KsPolicyField *field)
{
	enum
	{
		ACTIONS, ENV, PROVIDER, SECRET, ROLES, PRINCIPALS
	};
	KsPolicyField fields[] = {
		KS_REQUIRED_FIELD("actions"), KS_FIELD("env"), KS_FIELD("provider"), KS_FIELD("secret"),
		KS_FIELD("roles"), KS_FIELD("principals")
	};

	if (!field->found || !ks_policy_object(&field->value, fields, lengthof(fields)))
		return;
	read_globs(&fields[ACTIONS], &rule->actions, ks_policy_actions, unknown_action(), "matches no action");
	read_globs(&fields[ENV], &rule->env, NULL, NULL, NULL);
	read_globs(&fields[PROVIDER], &rule->provider, NULL, NULL, NULL);
	read_globs(&fields[SECRET], &rule->secret, NULL, NULL, NULL);
	read_globs(&fields[ROLES], &rule->roles, roles,
			   "must be owner, admin, operator, viewer, auditor or service, or a pattern", "matches no role");
	read_principals(reader, rule, &fields[PRINCIPALS]);

	if (rule->actions.n == 0 || (has_any(&rule->env) && has_any(&rule->provider) && has_any(&rule->secret)))
		return;
	if (!matches_one_of(&rule->actions, credential_actions))
		(void) ks_policy_odd(&field->value, "never matches: its actions are not about a credential, so they have no environment, provider or secret");
	else if (has_pattern_outside(&rule->actions, credential_actions))
		(void) ks_policy_odd(&field->value, "does not match all of its actions: those that are not about a credential have no environment, provider or secret");
}

/* Conditions. */

static int
count_nodes(const KsCedarExpr *expr)
{
	int			n = 1;

	for (int i = 0; i < expr->noperands; i++)
		n += count_nodes(expr->operands[i]);
	return n;
}

/* Whether it is neither true nor false, whatever the request. */
static bool
is_no_condition(const KsCedarExpr *expr)
{
	switch (expr->kind)
	{
		case KS_CEDAR_LONG:
		case KS_CEDAR_STRING:
		case KS_CEDAR_ENTITY:
		case KS_CEDAR_VAR:
		case KS_CEDAR_NEG:
		case KS_CEDAR_ADD:
		case KS_CEDAR_SUB:
		case KS_CEDAR_MUL:
		case KS_CEDAR_SET:
		case KS_CEDAR_RECORD:
			return true;
		default:
			return false;
	}
}

static const char *
describe_cedar(const KsCedarError *error)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "must be a Cedar expression: %s", error->problem);
	if (error->position >= 0)
		appendStringInfo(&out, ", at byte %d", error->position);
	if (error->where != NULL)
		appendStringInfo(&out, ", at %s", error->where);
	return out.data;
}

/* Cedar's text, or its JSON form. */
static KsCedarExpr *
read_condition(const KsPolicyField *field, KsCedarProgram **program, int *nodes)
{
	KsCedarError error = {.position = -1};
	const JsonbValue *value = &field->value.value;
	KsCedarExpr *expr;

	if (!field->found)
		return NULL;
	if (ks_policy_is_string(&field->value))
		expr = ks_cedar_parse_expr(value->val.string.val, (size_t) value->val.string.len, &error);
	else if (ks_policy_is_object(&field->value))
		expr = ks_cedar_expr_from_value(value, &error);
	else
	{
		(void) ks_policy_wrong(&field->value, "must be a Cedar expression: a string, or an object");
		return NULL;
	}
	if (expr == NULL)
		(void) ks_policy_wrong(&field->value, describe_cedar(&error));
	else if (is_no_condition(expr))
		(void) ks_policy_wrong(&field->value, "must be true or false for a request");
	else if ((*nodes += count_nodes(expr)) > KS_POLICY_NODES_MAX)
		(void) ks_policy_wrong(&field->value, psprintf("must leave a rule with at most %d nodes of expressions",
													   KS_POLICY_NODES_MAX));
	else
		*program = ks_cedar_compile(expr);
	return expr;
}

/* Windows of a rule. */

typedef struct NameReader
{
	Reader	   *reader;
	const KsPolicyWindow **windows;
	int			n;
} NameReader;

static void
read_window_name(void *arg, int i, const KsPolicyValue *value)
{
	NameReader *names = arg;
	Reader	   *reader = names->reader;
	char	   *name = ks_policy_id(value);

	(void) i;
	for (int w = 0; name != NULL && w < reader->doc->n_windows; w++)
	{
		if (strcmp(reader->doc->windows[w].name, name) != 0)
			continue;
		reader->used_windows[w] = true;
		names->windows[names->n++] = &reader->doc->windows[w];
		return;
	}
	if (name != NULL)
		(void) ks_policy_wrong(value, "must be a window that the document defines in \"windows\"");
}

static int
read_window_names(Reader *reader, const KsPolicyField *field, const KsPolicyWindow ***windows)
{
	int			n = field->found ? ks_policy_array(&field->value, 1, KS_POLICY_WINDOWS_MAX) : 0;
	NameReader	names = {reader, NULL, 0};

	if (n <= 0)
		return 0;
	*windows = palloc(n * sizeof(KsPolicyWindow *));
	names.windows = *windows;
	ks_policy_each(&field->value, read_window_name, &names);
	return names.n;
}

static void
read_rule_windows(Reader *reader, KsPolicyRule *rule, const KsPolicyField *field)
{
	KsPolicyField fields[] = {KS_FIELD("allow"), KS_FIELD("deny")};

	if (!field->found || !ks_policy_object(&field->value, fields, lengthof(fields)))
		return;
	if (!fields[0].found && !fields[1].found)
		(void) ks_policy_wrong(&field->value, "must have the member \"allow\" or \"deny\"");
	rule->n_allow = read_window_names(reader, &fields[0], &rule->allow);
	rule->n_deny = read_window_names(reader, &fields[1], &rule->deny);
}

/* Obligations. */

/* One of role, group and permission, and how many unless count is NULL. */
static void
read_factor(Reader *reader, const KsPolicyValue *value, KsFactor *factor, bool counts)
{
	enum
	{
		ROLE, GROUP, PERMISSION, COUNT
	};
	KsPolicyField fields[] = {KS_FIELD("role"), KS_FIELD("group"), KS_FIELD("permission"), KS_FIELD("count")};
	IdGroup    *group;
	char	   *word;

	factor->count = counts ? 1 : 0;
	if (!ks_policy_object(value, fields, counts ? 4 : 3))
		return;
	if (fields[ROLE].found + fields[GROUP].found + fields[PERMISSION].found != 1)
		(void) ks_policy_wrong(value, "must have one of \"role\", \"group\" and \"permission\"");
	if (fields[ROLE].found)
	{
		int			role = ks_policy_word(&fields[ROLE].value, roles);

		factor->role = role >= 0 ? roles[role] : NULL;
	}
	if (fields[PERMISSION].found && (word = ks_policy_string(&fields[PERMISSION].value, KS_POLICY_ID_MAX)) != NULL)
	{
		factor->permission = word;
		if (ks_permission_bit(word) == 0)
			(void) ks_policy_wrong(&fields[PERMISSION].value, "must be a permission such as \"approve\"");
	}
	if (counts && fields[COUNT].found)
		(void) ks_policy_int(&fields[COUNT].value, 1, KS_POLICY_COUNT_MAX, &factor->count);
	if (!fields[GROUP].found || (word = ks_policy_id(&fields[GROUP].value)) == NULL ||
		(group = find_group(reader, &fields[GROUP].value, word)) == NULL)
		return;
	factor->group = group->name;
	factor->n_members = group->n;
	factor->members = (const uint8 (*)[KS_ID_LEN]) group->members;
	if (factor->count > group->n)
		(void) ks_policy_wrong(value, "must have a count that the group has members for");
}

typedef struct DutyReader
{
	Reader	   *reader;
	KsObligation *duty;
} DutyReader;

static void
read_factor_of(void *arg, int i, const KsPolicyValue *value)
{
	DutyReader *duty = arg;

	read_factor(duty->reader, value, &duty->duty->factors[i], true);
}

static void
read_escalation(void *arg, int i, const KsPolicyValue *value)
{
	KsPolicyField fields[] = {KS_REQUIRED_FIELD("after"), KS_REQUIRED_FIELD("to")};
	DutyReader *duty = arg;
	KsEscalation *escalation = &duty->duty->escalations[i];

	if (!ks_policy_object(value, fields, lengthof(fields)))
		return;
	if (fields[0].found)
		(void) ks_policy_duration(&fields[0].value, USECS_PER_MINUTE, DAYS(30), &escalation->after);
	if (fields[1].found)
		read_factor(duty->reader, &fields[1].value, &escalation->to, false);
}

static const KsFactor default_factor = {.permission = "approve", .count = 1};

static void
read_factors(Reader *reader, KsObligation *duty, const KsPolicyField *field)
{
	DutyReader	duties = {reader, duty};
	int			n = field->found ? ks_policy_array(&field->value, 1, KS_POLICY_FACTORS_MAX) : 0;

	duty->n_factors = Max(n, 1);
	duty->factors = palloc0(duty->n_factors * sizeof(KsFactor));
	duty->factors[0] = default_factor;
	if (n <= 0)
		return;
	memset(duty->factors, 0, sizeof(KsFactor));
	ks_policy_each(&field->value, read_factor_of, &duties);
}

static void
read_escalations(Reader *reader, KsObligation *duty, const KsPolicyField *field)
{
	DutyReader	duties = {reader, duty};
	int			n = field->found ? ks_policy_array(&field->value, 0, KS_POLICY_ESCALATIONS_MAX) : 0;
	int64		sum = 0;

	if (n <= 0)
		return;
	duty->n_escalations = n;
	duty->escalations = palloc0(n * sizeof(KsEscalation));
	ks_policy_each(&field->value, read_escalation, &duties);
	for (int i = 0; i < n; i++)
		sum += duty->escalations[i].after;
	if (sum >= duty->timeout)
		(void) ks_policy_odd(&field->value, "has steps that are never taken: the request expires before");
}

static void
read_approval(Reader *reader, const KsPolicyValue *value, KsObligation *duty)
{
	enum
	{
		TYPE, FACTORS, DISTINCT, TIMEOUT, VALID_FOR, ESCALATE, LOOPS, ON_TIMEOUT
	};
	KsPolicyField fields[] = {
		KS_FIELD("type"), KS_FIELD("factors"), KS_FIELD("distinct"), KS_FIELD("timeout"),
		KS_FIELD("valid_for"), KS_FIELD("escalate"), KS_FIELD("loops"), KS_FIELD("on_timeout")
	};
	bool		distinct = true;

	duty->timeout = DAYS(1);
	duty->valid_for = USECS_PER_HOUR;
	duty->loops = 1;
	if (!ks_policy_object(value, fields, lengthof(fields)))
		return;
	read_factors(reader, duty, &fields[FACTORS]);
	if (fields[DISTINCT].found && ks_policy_bool(&fields[DISTINCT].value, &distinct) && !distinct)
		(void) ks_policy_wrong(&fields[DISTINCT].value, "must be true: nobody counts twice");
	if (fields[TIMEOUT].found)
		(void) ks_policy_duration(&fields[TIMEOUT].value, USECS_PER_MINUTE, DAYS(30), &duty->timeout);
	if (fields[VALID_FOR].found)
		(void) ks_policy_duration(&fields[VALID_FOR].value, USECS_PER_MINUTE, DAYS(7), &duty->valid_for);
	read_escalations(reader, duty, &fields[ESCALATE]);
	if (fields[LOOPS].found)
		(void) ks_policy_int(&fields[LOOPS].value, 1, KS_POLICY_LOOPS_MAX, &duty->loops);
	if (fields[ON_TIMEOUT].found)
		(void) ks_policy_word(&fields[ON_TIMEOUT].value, timeouts);
}

/* Obligations that have a duration at most. */
static void
read_simple_duty(const KsPolicyValue *value, KsObligation *duty)
{
	KsPolicyField fields[2] = {KS_FIELD("type"), KS_FIELD("")};
	int			n = 1;

	switch (duty->type)
	{
		case KS_OBLIGE_PREVIEW:
		case KS_OBLIGE_MFA:
			fields[n++].name = "max_age";
			duty->max_age = duty->type == KS_OBLIGE_MFA ? 15 * USECS_PER_MINUTE : DAYS(1);
			break;
		case KS_OBLIGE_NOTIFY:
			fields[n] = (KsPolicyField) KS_REQUIRED_FIELD("channel");
			n++;
			break;
		case KS_OBLIGE_WAIT:
			fields[n] = (KsPolicyField) KS_REQUIRED_FIELD("duration");
			n++;
			break;
		default:
			break;
	}
	if (!ks_policy_object(value, fields, n) || n == 1 || !fields[1].found)
		return;
	if (duty->type == KS_OBLIGE_NOTIFY)
		duty->channel = ks_policy_string(&fields[1].value, CHANNEL_MAX);
	else
		(void) ks_policy_duration(&fields[1].value, USECS_PER_MINUTE, DAYS(30),
								  duty->type == KS_OBLIGE_WAIT ? &duty->duration : &duty->max_age);
}

typedef struct RuleReader
{
	Reader	   *reader;
	KsPolicyRule *rule;
} RuleReader;

/* The type says which other members there may be. */
static void
find_type(void *arg, int i, const KsPolicyValue *value)
{
	KsPolicyValue *type = arg;

	(void) i;
	if (value->place.key_len == 4 && memcmp(value->place.key, "type", 4) == 0)
		*type = *value;
}

static void
read_obligation(void *arg, int i, const KsPolicyValue *value)
{
	RuleReader *reader = arg;
	KsObligation *duty = &reader->rule->obligations[i];
	KsPolicyValue type = {.problems = NULL};
	int			number;

	if (!ks_policy_is_object(value))
	{
		(void) ks_policy_wrong(value, "must be an object");
		return;
	}
	ks_policy_each(value, find_type, &type);
	if (type.problems == NULL)
	{
		(void) ks_policy_wrong(value, "must have the member \"type\"");
		return;
	}
	number = ks_policy_word(&type, obligation_types);
	if (number < 0)
		return;
	duty->type = (KsObligationType) number;
	if (duty->type == KS_OBLIGE_APPROVAL)
		read_approval(reader->reader, value, duty);
	else
		read_simple_duty(value, duty);
}

/* Whether there are some, good or bad. */
static bool
read_obligations(Reader *reader, KsPolicyRule *rule, const KsPolicyField *field)
{
	RuleReader	rules = {reader, rule};
	int			n = field->found ? ks_policy_array(&field->value, 0, KS_POLICY_OBLIGATIONS_MAX) : 0;

	if (n <= 0)
		return n < 0;
	rule->obligations = palloc0(n * sizeof(KsObligation));
	rule->n_obligations = n;
	ks_policy_each(&field->value, read_obligation, &rules);
	return true;
}

/* Rules. */

/* Whether it forbids everybody, always, to change policies. */
static bool
is_final(const KsPolicyRule *rule)
{
	return rule->actions.n > 0 && ks_glob_list_match(&rule->actions, "policy_put") &&
		ks_glob_list_match(&rule->actions, "policy_drop") && rule->when == NULL && rule->unless == NULL &&
		rule->all_principals && rule->roles.n == 0 &&
		has_any(&rule->env) && has_any(&rule->provider) && has_any(&rule->secret);
}

/* What members of a rule have to do with each other; good: it has no errors so
 * far. */
static void
check_rule(const KsPolicyValue *value, const KsPolicyRule *rule, bool has_windows, bool has_duties, bool good)
{
	if (rule->effect == KS_EFFECT_FORBID && has_duties)
		(void) ks_policy_wrong(value, "must have no obligations with the effect \"forbid\"");
	else if (rule->effect == KS_EFFECT_FORBID && !has_windows && good && is_final(rule))
		(void) ks_policy_odd(value, "forbids everybody to change or drop policies, this one too");
	if (rule->effect == KS_EFFECT_FORBID || has_duties || has_windows)
		return;
	if (rule->effect == KS_EFFECT_OBLIGE)
		(void) ks_policy_wrong(value, "must have obligations or windows with the effect \"oblige\"");
	else if (good)
		(void) ks_policy_odd(value, "has no effect: documents permit nothing that the role does not, and it has no obligations or windows");
}

static void
check_rule_id(Reader *reader, const KsPolicyValue *value, const KsPolicyRule *rule)
{
	for (int i = 0; rule->id != NULL && i < rule->index; i++)
	{
		if (reader->doc->rules[i].id != NULL && strcmp(reader->doc->rules[i].id, rule->id) == 0)
		{
			(void) ks_policy_wrong(value, "must be an id that no other rule has");
			return;
		}
	}
}

static void
read_rule(void *arg, int i, const KsPolicyValue *value)
{
	enum
	{
		ID, EFFECT, MATCH, WHEN, UNLESS, WINDOWS, OBLIGATIONS, REASON
	};
	KsPolicyField fields[] = {
		KS_REQUIRED_FIELD("id"), KS_REQUIRED_FIELD("effect"), KS_REQUIRED_FIELD("match"),
		KS_FIELD("when"), KS_FIELD("unless"), KS_FIELD("windows"), KS_FIELD("obligations"),
		KS_FIELD("reason")
	};
	Reader	   *reader = arg;
	KsPolicyRule *rule = &reader->doc->rules[i];
	int			errors = reader->problems->n_errors;
	int			effect = -1;
	int			nodes = 0;
	bool		has_duties;

	rule->index = i;
	if (!ks_policy_object(value, fields, lengthof(fields)))
		return;
	if (fields[ID].found)
		rule->id = ks_policy_id(&fields[ID].value);
	check_rule_id(reader, &fields[ID].value, rule);
	if (fields[EFFECT].found)
		effect = ks_policy_word(&fields[EFFECT].value, effects);
	read_match(reader, rule, &fields[MATCH]);
	rule->when = read_condition(&fields[WHEN], &rule->when_program, &nodes);
	rule->unless = read_condition(&fields[UNLESS], &rule->unless_program, &nodes);
	read_rule_windows(reader, rule, &fields[WINDOWS]);
	has_duties = read_obligations(reader, rule, &fields[OBLIGATIONS]);
	if (fields[REASON].found)
		rule->reason = ks_policy_string(&fields[REASON].value, REASON_MAX);
	if (effect < 0)
		return;
	rule->effect = (KsRuleEffect) effect;
	check_rule(value, rule, fields[WINDOWS].found, has_duties, reader->problems->n_errors == errors);
}

static void
read_rules(Reader *reader, const KsPolicyField *field)
{
	int			n = field->found ? ks_policy_array(&field->value, 0, KS_POLICY_RULES_MAX) : 0;

	if (n <= 0)
		return;
	reader->doc->rules = palloc0(n * sizeof(KsPolicyRule));
	reader->doc->n_rules = n;
	ks_policy_each(&field->value, read_rule, reader);
}

/* Scope, settings, delegates. */

static void
read_scope(KsPolicyDoc *doc, const KsPolicyField *field)
{
	KsPolicyField fields[] = {KS_REQUIRED_FIELD("level"), KS_FIELD("id")};
	const KsPolicyValue *id = &fields[1].value;
	char	   *word = NULL;
	int			level;

	if (!field->found || !ks_policy_object(&field->value, fields, lengthof(fields)) || !fields[0].found ||
		(level = ks_policy_word(&fields[0].value, levels)) < 0)
		return;
	doc->level = (KsPolicyLevel) level;
	if (fields[1].found && (word = ks_policy_string(id, SCOPE_MAX)) == NULL)
		return;
	if (word == NULL && doc->level >= KS_LEVEL_PROVIDER)
		(void) ks_policy_wrong(&field->value, "must have the member \"id\" with this level");
	if (word == NULL)
		return;
	if (doc->level == KS_LEVEL_SYSTEM)
		(void) ks_policy_wrong(id, "must not stand here with the level \"system\"");
	else if (doc->level == KS_LEVEL_PROVIDER && strchr(word, '*') != NULL)
		(void) ks_policy_wrong(id, "must be the name of a provider, without \"*\"");
	else if (doc->level == KS_LEVEL_SECRET && ks_text_uuid(word, doc->scope_credential))
		doc->has_credential = true;
	else
		doc->scope_id = word;
	if (doc->level == KS_LEVEL_SECRET && doc->scope_id != NULL)
		ks_glob_read(doc->scope_id, &doc->scope_secret);
}

static void
read_settings(KsDocSettings *settings, const KsPolicyField *field)
{
	KsPolicyField fields[lengthof(setting_names) - 1];

	memset(fields, 0, sizeof(fields));
	for (size_t i = 0; i < lengthof(fields); i++)
		fields[i].name = setting_names[i];
	if (!field->found || !ks_policy_object(&field->value, fields, lengthof(fields)))
		return;
	for (size_t i = 0; i < lengthof(fields); i++)
		settings->has |= fields[i].found ? (uint32) 1 << i : 0;
	if (settings->has & KS_SET_AUTO_REDEPLOY)
		(void) ks_policy_bool(&fields[0].value, &settings->auto_redeploy);
	if (settings->has & KS_SET_SOFT_LIMIT)
		(void) ks_policy_int(&fields[1].value, 1, 100, &settings->soft_limit);
	if (settings->has & KS_SET_HARD_LIMIT)
		(void) ks_policy_int(&fields[2].value, 1, 100, &settings->hard_limit);
	if (settings->has & KS_SET_MAX_SECRET_AGE)
		(void) ks_policy_duration(&fields[3].value, USECS_PER_HOUR, DAYS(3660), &settings->max_secret_age);
	if (settings->has & KS_SET_APPROVALS)
		(void) ks_policy_int(&fields[4].value, 1, KS_POLICY_COUNT_MAX, &settings->approvals);
	if (settings->soft_limit > 0 && settings->hard_limit > 0 && settings->soft_limit >= settings->hard_limit)
		(void) ks_policy_odd(&field->value, "has a soft limit that is not below the hard one");
}

static void
read_delegate(void *arg, int i, const KsPolicyValue *value)
{
	KsPolicyDoc *doc = arg;
	int			setting = ks_policy_word(value, setting_names);

	(void) i;
	if (setting >= 0)
		doc->delegates |= (uint32) 1 << setting;
}

static void
read_delegates(KsPolicyDoc *doc, const KsPolicyField *field)
{
	if (!field->found || ks_policy_array(&field->value, 0, 64) <= 0)
		return;
	ks_policy_each(&field->value, read_delegate, doc);
	if (doc->level == KS_LEVEL_SECRET)
		(void) ks_policy_odd(&field->value, "has no effect: there is no level below");
}

/* The document. */

/* Whether it is too large, or nests too deep, to be read. */
static bool
is_too_large(const KsPolicyValue *whole, const Jsonb *document)
{
	JsonbIterator *iterator = JsonbIteratorInit(whole->value.val.binary.data);
	JsonbValue	value;
	JsonbIteratorToken token;
	int			depth = 0;

	if (VARSIZE(document) - VARHDRSZ > KS_POLICY_BYTES_MAX)
		return !ks_policy_wrong(whole, "must be at most 256 kB large");
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			depth++;
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
		if (depth > KS_POLICY_DEPTH_MAX)
			return !ks_policy_wrong(whole, psprintf("must nest at most %d levels deep", KS_POLICY_DEPTH_MAX));
	}
	return false;
}

static void
note_member_unused(const KsPolicyField *field, const char *name, const char *message)
{
	KsPolicyValue member = field->value;

	member.place.up = &field->value.place;
	member.place.key = name;
	member.place.key_len = (int) strlen(name);
	(void) ks_policy_odd(&member, message);
}

static void
note_unused(const Reader *reader, const KsPolicyField *windows, const KsPolicyField *groups)
{
	for (int i = 0; i < reader->doc->n_windows; i++)
	{
		if (!reader->used_windows[i])
			note_member_unused(windows, reader->doc->windows[i].name, "is used by no rule");
	}
	for (int i = 0; i < reader->n_groups; i++)
	{
		if (!reader->groups[i].used)
			note_member_unused(groups, reader->groups[i].name, "is used by no rule");
	}
}

static void
read_document(Reader *reader, const KsPolicyValue *whole)
{
	enum
	{
		API_VERSION, ID, SCOPE, RULES, ENFORCEMENT, DESCRIPTION, SETTINGS, DELEGATES, WINDOWS, GROUPS
	};
	KsPolicyField fields[] = {
		KS_REQUIRED_FIELD("apiVersion"), KS_REQUIRED_FIELD("id"), KS_REQUIRED_FIELD("scope"),
		KS_REQUIRED_FIELD("rules"), KS_FIELD("enforcement"), KS_FIELD("description"),
		KS_FIELD("settings"), KS_FIELD("delegates"), KS_FIELD("windows"), KS_FIELD("groups")
	};
	KsPolicyDoc *doc = reader->doc;

	if (!ks_policy_object(whole, fields, lengthof(fields)))
		return;
	if (fields[API_VERSION].found)
		(void) ks_policy_word(&fields[API_VERSION].value, api_versions);
	if (fields[ID].found)
		doc->id = ks_policy_id(&fields[ID].value);
	read_scope(doc, &fields[SCOPE]);
	if (fields[ENFORCEMENT].found)
		doc->shadow = ks_policy_word(&fields[ENFORCEMENT].value, enforcements) == 1;
	if (fields[DESCRIPTION].found)
		(void) ks_policy_string(&fields[DESCRIPTION].value, DESCRIPTION_MAX);
	read_settings(&doc->settings, &fields[SETTINGS]);
	read_delegates(doc, &fields[DELEGATES]);
	read_windows(reader, &fields[WINDOWS]);
	read_groups(reader, &fields[GROUPS]);
	read_rules(reader, &fields[RULES]);
	note_unused(reader, &fields[WINDOWS], &fields[GROUPS]);
	if (reader->problems->n_errors == 0 && doc->n_rules == 0 && doc->settings.has == 0 && doc->delegates == 0)
		(void) ks_policy_odd(whole, "has no effect: it has no rules and no settings");
}

KsPolicyDoc *
ks_policy_doc_read(const Jsonb *document, KsPolicyProblems *problems)
{
	Reader		reader = {.doc = palloc0(sizeof(KsPolicyDoc)), .problems = problems};
	KsPolicyValue whole;

	ks_policy_whole(document, problems, &whole);
	if (!is_too_large(&whole, document))
		read_document(&reader, &whole);
	return problems->n_errors == 0 ? reader.doc : NULL;
}

/* Problems as JSON. */

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, string);
	value.val.string.len = (int) strlen(string);
	pushJsonbValue(state, token, &value);
}

Jsonb *
ks_policy_problems_json(const KsPolicyProblems *problems, bool warnings_only)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < problems->n; i++)
	{
		const KsPolicyProblem *problem = &problems->problems[i];

		if (warnings_only && !problem->warning)
			continue;
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_string(&state, WJB_KEY, "path");
		push_string(&state, WJB_VALUE, problem->path);
		push_string(&state, WJB_KEY, "severity");
		push_string(&state, WJB_VALUE, problem->warning ? "warning" : "error");
		push_string(&state, WJB_KEY, "message");
		push_string(&state, WJB_VALUE, problem->message);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* When windows let through. */

/* As many changes of windows as are looked at for the next time. */
#define LOOKS_MAX	1000

/* Whether one is open; *closes receives when all that are open have closed. */
static bool
is_any_open(const KsPolicyWindow *const *windows, int n, TimestampTz at, TimestampTz *closes)
{
	bool		open = false;
	TimestampTz moment;

	for (int i = 0; i < n; i++)
	{
		if (!ks_tzwindow_contains(&windows[i]->window, at, &moment))
			continue;
		if (!open || moment > *closes)
			*closes = moment;
		open = true;
	}
	return open;
}

/* When one opens next; false when none does. */
static bool
next_opens(const KsPolicyWindow *const *windows, int n, TimestampTz at, TimestampTz *opens)
{
	bool		found = false;
	TimestampTz moment;

	for (int i = 0; i < n; i++)
	{
		if (!ks_tzwindow_next(&windows[i]->window, at, &moment))
			continue;
		if (!found || moment < *opens)
			*opens = moment;
		found = true;
	}
	return found;
}

bool
ks_policy_windows_open(const KsPolicyRule *rule, TimestampTz at, TimestampTz *not_before)
{
	TimestampTz moment = at;

	for (int i = 0; i < LOOKS_MAX; i++)
	{
		TimestampTz change = 0;

		if (is_any_open(rule->deny, rule->n_deny, moment, &change))
			moment = change;
		else if (rule->n_allow == 0 || is_any_open(rule->allow, rule->n_allow, moment, &change))
		{
			*not_before = moment;
			return i == 0;
		}
		else if (next_opens(rule->allow, rule->n_allow, moment, &change))
			moment = change;
		else
			break;
	}
	*not_before = 0;
	return false;
}
