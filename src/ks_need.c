/*-------------------------------------------------------------------------
 *
 * ks_need.c
 *	  Who must approve: how it is kept, whose votes count, and when there are
 *	  enough of them.
 *
 * Each factor wants so many voters, and nobody fills two places: whether there
 * are enough is a matching of voters to places, which are few.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "ks_jsonb.h"
#include "ks_need.h"
#include "ks_text.h"

/* Places that a need can have. */
#define PLACES_MAX	(KS_POLICY_FACTORS_MAX * 4 * KS_POLICY_COUNT_MAX)


/*-------------------------------------------------------------------------
 * As jsonb
 *-------------------------------------------------------------------------
 */

static void
write_factor(StringInfo out, const KsFactor *factor)
{
	char		word[37];

	appendStringInfoChar(out, '{');
	if (factor->role != NULL)
	{
		appendStringInfoString(out, "\"role\":");
		escape_json(out, factor->role);
	}
	else if (factor->group != NULL)
	{
		appendStringInfoString(out, "\"group\":");
		escape_json(out, factor->group);
		appendStringInfoString(out, ",\"members\":[");
		for (int i = 0; i < factor->n_members; i++)
		{
			ks_text_from_uuid(factor->members[i], word);
			appendStringInfo(out, "%s\"%s\"", i > 0 ? "," : "", word);
		}
		appendStringInfoChar(out, ']');
	}
	else
	{
		appendStringInfoString(out, "\"permission\":");
		escape_json(out, factor->permission);
	}
	appendStringInfo(out, ",\"count\":%d}", factor->count);
}

Jsonb *
ks_need_to_json(const KsApprovalNeed *need)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"factors\":[");
	for (int i = 0; i < need->n_factors; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		write_factor(&out, &need->factors[i]);
	}
	appendStringInfoString(&out, "],\"escalations\":[");
	for (int i = 0; i < need->n_escalations; i++)
	{
		appendStringInfo(&out, "%s{\"after\":" INT64_FORMAT ",\"to\":", i > 0 ? "," : "", need->escalations[i].after);
		write_factor(&out, &need->escalations[i].to);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfo(&out, "],\"loops\":%d,\"timeout\":" INT64_FORMAT ",\"valid_for\":" INT64_FORMAT ",\"wait\":" INT64_FORMAT
					 ",\"preview\":%s,\"preview_age\":" INT64_FORMAT "}",
					 need->loops, need->timeout, need->valid_for, need->wait, need->preview ? "true" : "false",
					 need->preview_age);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

static bool
get_number(const JsonbContainer *object, const char *key, int64 *number)
{
	JsonbValue	value;

	if (ks_jsonb_member(object, key, &value) == NULL || value.type != jbvNumeric)
		return false;
	*number = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
	return true;
}

/* NULL when there is none. */
static JsonbContainer *
get_array(const JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (ks_jsonb_member(object, key, &value) == NULL || value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		return NULL;
	return value.val.binary.data;
}

static bool
read_members(const JsonbContainer *object, KsFactor *factor)
{
	JsonbContainer *array = get_array(object, "members");
	uint8		(*members)[KS_ID_LEN];

	if (array == NULL || JsonContainerSize(array) > KS_POLICY_MEMBERS_MAX)
		return false;
	factor->n_members = (int) JsonContainerSize(array);
	members = palloc(Max(factor->n_members, 1) * sizeof(*members));
	for (int i = 0; i < factor->n_members; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, (uint32) i);

		if (value->type != jbvString ||
			!ks_text_uuid(pnstrdup(value->val.string.val, value->val.string.len), members[i]))
			return false;
	}
	factor->members = (const uint8 (*)[KS_ID_LEN]) members;
	return true;
}

static bool
read_factor(const JsonbContainer *object, KsFactor *factor)
{
	int64		count;

	memset(factor, 0, sizeof(*factor));
	if (!get_number(object, "count", &count) || count < 0 || count > PG_INT16_MAX)
		return false;
	factor->count = (int) count;
	factor->role = ks_jsonb_text(object, "role");
	factor->permission = ks_jsonb_text(object, "permission");
	factor->group = ks_jsonb_text(object, "group");
	if (factor->group != NULL)
		return read_members(object, factor);
	return factor->role != NULL || factor->permission != NULL;
}

static bool
read_escalation(const JsonbContainer *object, KsEscalation *escalation)
{
	JsonbValue	to;

	return get_number(object, "after", &escalation->after) && ks_jsonb_member(object, "to", &to) != NULL &&
		to.type == jbvBinary && read_factor(to.val.binary.data, &escalation->to);
}

static bool
read_lists(const JsonbContainer *root, KsApprovalNeed *need)
{
	JsonbContainer *factors = get_array(root, "factors");
	JsonbContainer *escalations = get_array(root, "escalations");

	if (factors == NULL || escalations == NULL)
		return false;
	need->n_factors = (int) JsonContainerSize(factors);
	need->factors = palloc0(Max(need->n_factors, 1) * sizeof(KsFactor));
	for (int i = 0; i < need->n_factors; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(factors, (uint32) i);

		if (value->type != jbvBinary || !read_factor(value->val.binary.data, &need->factors[i]))
			return false;
	}
	need->n_escalations = (int) JsonContainerSize(escalations);
	need->escalations = palloc0(Max(need->n_escalations, 1) * sizeof(KsEscalation));
	for (int i = 0; i < need->n_escalations; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(escalations, (uint32) i);

		if (value->type != jbvBinary || !read_escalation(value->val.binary.data, &need->escalations[i]))
			return false;
	}
	return true;
}

bool
ks_need_from_json(const Jsonb *json, KsApprovalNeed *need)
{
	const JsonbContainer *root = &json->root;
	JsonbValue	preview;
	int64		loops;

	memset(need, 0, sizeof(*need));
	if (!JB_ROOT_IS_OBJECT(json) || !read_lists(root, need) || !get_number(root, "loops", &loops) ||
		!get_number(root, "timeout", &need->timeout) || !get_number(root, "valid_for", &need->valid_for) ||
		!get_number(root, "wait", &need->wait) || !get_number(root, "preview_age", &need->preview_age) ||
		ks_jsonb_member(root, "preview", &preview) == NULL || preview.type != jbvBool)
		return false;
	need->loops = (int) loops;
	need->preview = preview.val.boolean;
	return true;
}


/*-------------------------------------------------------------------------
 * One need and another
 *-------------------------------------------------------------------------
 */

/* Whether whoever a factor names is named by another one, too. */
static bool
is_within(const KsFactor *factor, const KsFactor *other)
{
	if (factor->role != NULL)
		return other->role != NULL && strcmp(factor->role, other->role) == 0;
	if (factor->permission != NULL)
		return other->permission != NULL && strcmp(factor->permission, other->permission) == 0;
	if (other->group == NULL)
		return false;
	for (int i = 0; i < factor->n_members; i++)
	{
		bool		found = false;

		for (int j = 0; j < other->n_members && !found; j++)
			found = memcmp(factor->members[i], other->members[j], KS_ID_LEN) == 0;
		if (!found)
			return false;
	}
	return true;
}

/*
 * Each factor of the other has one of ours of its own.  Escalations count
 * nothing here: they add voters to what was frozen, and the votes are compared
 * with both needs when they are used.
 */
bool
ks_need_covers(const KsApprovalNeed *need, const KsApprovalNeed *other)
{
	bool	   *used = palloc0(Max(need->n_factors, 1) * sizeof(bool));

	if (need->wait < other->wait || (other->preview && !need->preview))
		return false;
	for (int i = 0; i < other->n_factors; i++)
	{
		int			j = 0;

		while (j < need->n_factors &&
			   (used[j] || need->factors[j].count < other->factors[i].count ||
				!is_within(&need->factors[j], &other->factors[i])))
			j++;
		if (j == need->n_factors)
			return false;
		used[j] = true;
	}
	return true;
}


/*-------------------------------------------------------------------------
 * Escalation
 *-------------------------------------------------------------------------
 */

/* The steps are taken once, or as often as loops says. */
static int
steps_of(const KsApprovalNeed *need)
{
	return need->n_escalations * Max(1, Min(need->loops, KS_POLICY_LOOPS_MAX));
}

static TimestampTz
level_at(const KsApprovalNeed *need, TimestampTz asked, int level)
{
	TimestampTz at = asked;

	if (level < 1 || level > steps_of(need))
		return 0;
	for (int i = 0; i < level; i++)
		at += need->escalations[i % need->n_escalations].after;
	return at;
}

int
ks_need_level(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now)
{
	int			level = 0;

	while (level < steps_of(need) && level_at(need, asked, level + 1) <= now)
		level++;
	return level;
}


/*-------------------------------------------------------------------------
 * Votes
 *-------------------------------------------------------------------------
 */

static bool
is_named(const KsFactor *factor, const KsVoter *voter)
{
	if (factor->role != NULL)
		return voter->role != NULL && strcmp(factor->role, voter->role) == 0;
	if (factor->permission != NULL)
		return (voter->permissions & ks_permission_bit(factor->permission)) != 0;
	for (int i = 0; i < factor->n_members; i++)
	{
		if (memcmp(factor->members[i], voter->principal, KS_ID_LEN) == 0)
			return true;
	}
	return false;
}

/* Whether a step that was taken names the voter, who was that already then. */
static bool
is_escalated_to(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now, const KsVoter *voter)
{
	int			level = Min(ks_need_level(need, asked, now), need->n_escalations);

	for (int i = 0; i < level; i++)
	{
		if (is_named(&need->escalations[i].to, voter) && voter->since <= level_at(need, asked, i + 1))
			return true;
	}
	return false;
}

bool
ks_need_may_vote(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now, const KsVoter *voter)
{
	for (int i = 0; i < need->n_factors && voter->since <= asked; i++)
	{
		if (is_named(&need->factors[i], voter))
			return true;
	}
	return is_escalated_to(need, asked, now, voter);
}

/* Places, and who fills them. */
typedef struct Matching
{
	int			n_places;
	const KsFactor *places[PLACES_MAX];
	int			filled_by[PLACES_MAX];	/* a voter, or -1 */
	bool		tried[PLACES_MAX];
	const KsVoter *voters;
	const bool *escalated;		/* for each voter: fits anywhere */
	TimestampTz asked;
} Matching;

/* Finds a place for a voter, having others move if need be. */
static bool
find_place(Matching *matching, int voter)
{
	const KsVoter *who = &matching->voters[voter];

	check_stack_depth();
	for (int i = 0; i < matching->n_places; i++)
	{
		bool		fits = who->since <= matching->asked && is_named(matching->places[i], who);

		fits |= matching->escalated[voter];
		if (!fits || matching->tried[i])
			continue;
		matching->tried[i] = true;
		if (matching->filled_by[i] < 0 || find_place(matching, matching->filled_by[i]))
		{
			matching->filled_by[i] = voter;
			return true;
		}
	}
	return false;
}

bool
ks_need_is_met(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now,
			   const KsVoter *voters, int n)
{
	Matching   *matching = palloc0(sizeof(Matching));
	bool	   *escalated = palloc0(Max(n, 1) * sizeof(bool));
	int			filled = 0;

	for (int i = 0; i < need->n_factors; i++)
	{
		for (int j = 0; j < need->factors[i].count; j++)
		{
			/* So many cannot be had: no. */
			if (matching->n_places == PLACES_MAX)
				return false;
			matching->filled_by[matching->n_places] = -1;
			matching->places[matching->n_places++] = &need->factors[i];
		}
	}
	for (int i = 0; i < n; i++)
		escalated[i] = is_escalated_to(need, asked, now, &voters[i]);
	matching->voters = voters;
	matching->escalated = escalated;
	matching->asked = asked;
	for (int i = 0; i < n && filled < matching->n_places; i++)
	{
		memset(matching->tried, 0, sizeof(matching->tried));
		if (find_place(matching, i))
			filled++;
	}
	return filled == matching->n_places;
}
