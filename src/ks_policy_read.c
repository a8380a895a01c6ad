/*-------------------------------------------------------------------------
 *
 * ks_policy_read.c
 *	  Reading JSON documents strictly.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "ks_cedar_json.h"
#include "ks_policy_read.h"
#include "ks_text.h"

/* Places and problems. */

static void
write_place(StringInfo out, const KsPlace *place)
{
	if (place->up == NULL)
		return;
	write_place(out, place->up);
	appendStringInfoChar(out, '/');
	if (place->key == NULL)
	{
		appendStringInfo(out, "%d", place->index);
		return;
	}
	for (int i = 0; i < place->key_len; i++)
	{
		if (place->key[i] == '~')
			appendStringInfoString(out, "~0");
		else if (place->key[i] == '/')
			appendStringInfoString(out, "~1");
		else
			appendStringInfoChar(out, place->key[i]);
	}
}

static void
note(KsPolicyProblems *problems, const KsPlace *place, bool warning, const char *message)
{
	KsPolicyProblem *problem;
	StringInfoData path;

	problems->n_errors += !warning;
	if (problems->n == KS_POLICY_PROBLEMS_MAX)
		return;
	if (problems->problems == NULL)
		problems->problems = palloc(KS_POLICY_PROBLEMS_MAX * sizeof(KsPolicyProblem));
	initStringInfo(&path);
	write_place(&path, place);
	problem = &problems->problems[problems->n++];
	problem->path = path.data;
	problem->warning = warning;
	problem->message = message;
}

bool
ks_policy_wrong(const KsPolicyValue *at, const char *message)
{
	note(at->problems, &at->place, false, message);
	return false;
}

bool
ks_policy_odd(const KsPolicyValue *at, const char *message)
{
	note(at->problems, &at->place, true, message);
	return false;
}

void
ks_policy_whole(const Jsonb *document, KsPolicyProblems *problems, KsPolicyValue *whole)
{
	memset(problems, 0, sizeof(KsPolicyProblems));
	memset(whole, 0, sizeof(KsPolicyValue));
	whole->problems = problems;
	whole->value.type = jbvBinary;
	whole->value.val.binary.data = unconstify(JsonbContainer *, &document->root);
	whole->value.val.binary.len = VARSIZE(document) - VARHDRSZ;
}

/* Objects and arrays. */

bool
ks_policy_is_object(const KsPolicyValue *value)
{
	return value->value.type == jbvBinary && JsonContainerIsObject(value->value.val.binary.data);
}

static bool
is_array(const KsPolicyValue *value)
{
	return value->value.type == jbvBinary && JsonContainerIsArray(value->value.val.binary.data) &&
		!JsonContainerIsScalar(value->value.val.binary.data);
}

void
ks_policy_each(const KsPolicyValue *container, KsPolicyVisit visit, void *arg)
{
	JsonbIterator *iterator = JsonbIteratorInit(container->value.val.binary.data);
	KsPolicyValue item = {.problems = container->problems, .place = {.up = &container->place}};
	JsonbValue	token;
	JsonbIteratorToken kind;
	int			i = 0;

	(void) JsonbIteratorNext(&iterator, &token, true);
	while ((kind = JsonbIteratorNext(&iterator, &token, true)) == WJB_KEY || kind == WJB_ELEM)
	{
		item.place.index = i;
		if (kind == WJB_KEY)
		{
			item.place.key = token.val.string.val;
			item.place.key_len = token.val.string.len;
			(void) JsonbIteratorNext(&iterator, &token, true);
		}
		item.value = token;
		visit(arg, i++, &item);
	}
}

typedef struct Fields
{
	KsPolicyField *fields;
	int			n;
} Fields;

static void
take_member(void *arg, int i, const KsPolicyValue *value)
{
	Fields	   *fields = arg;

	for (int f = 0; f < fields->n; f++)
	{
		KsPolicyField *field = &fields->fields[f];

		if (strlen(field->name) == (size_t) value->place.key_len &&
			memcmp(field->name, value->place.key, value->place.key_len) == 0)
		{
			field->found = true;
			field->value = *value;
			return;
		}
	}
	(void) i;
	(void) ks_policy_wrong(value, "is not known here");
}

bool
ks_policy_object(const KsPolicyValue *object, KsPolicyField *fields, int n)
{
	Fields		all = {fields, n};

	if (!ks_policy_is_object(object))
		return ks_policy_wrong(object, "must be an object");
	ks_policy_each(object, take_member, &all);
	for (int f = 0; f < n; f++)
	{
		if (fields[f].required && !fields[f].found)
			(void) ks_policy_wrong(object, psprintf("must have the member \"%s\"", fields[f].name));
	}
	return true;
}

int
ks_policy_members(const KsPolicyValue *object, int max)
{
	int			n;

	if (!ks_policy_is_object(object))
	{
		(void) ks_policy_wrong(object, "must be an object");
		return -1;
	}
	n = (int) JsonContainerSize(object->value.val.binary.data);
	if (n <= max)
		return n;
	(void) ks_policy_wrong(object, psprintf("must have at most %d members", max));
	return -1;
}

int
ks_policy_array(const KsPolicyValue *array, int min, int max)
{
	int			n;

	if (!is_array(array))
	{
		(void) ks_policy_wrong(array, "must be an array");
		return -1;
	}
	n = (int) JsonContainerSize(array->value.val.binary.data);
	if (n >= min && n <= max)
		return n;
	(void) ks_policy_wrong(array, n < min ? "must not be empty" : psprintf("must have at most %d elements", max));
	return -1;
}

/* Single values. */

bool
ks_policy_bool(const KsPolicyValue *value, bool *result)
{
	if (value->value.type != jbvBool)
		return ks_policy_wrong(value, "must be true or false");
	*result = value->value.val.boolean;
	return true;
}

bool
ks_policy_int(const KsPolicyValue *value, int min, int max, int32 *result)
{
	int64		n;

	if (value->value.type != jbvNumeric || !ks_cedar_json_integer(&value->value, &n) || n < min || n > max)
		return ks_policy_wrong(value, psprintf("must be an integer between %d and %d", min, max));
	*result = (int32) n;
	return true;
}

bool
ks_policy_is_string(const KsPolicyValue *value)
{
	return value->value.type == jbvString;
}

char *
ks_policy_string(const KsPolicyValue *value, int max)
{
	char	   *copy;

	if (!ks_policy_is_string(value))
		(void) ks_policy_wrong(value, "must be a string");
	else if (value->value.val.string.len < 1 || value->value.val.string.len > max)
		(void) ks_policy_wrong(value, psprintf("must be 1 to %d bytes long", max));
	else
	{
		copy = pnstrdup(value->value.val.string.val, value->value.val.string.len);
		if (ks_text_is_nfc(copy))
			return copy;
		(void) ks_policy_wrong(value, "must be in Unicode normalization form NFC");
	}
	return NULL;
}

bool
ks_policy_is_id(const char *name, size_t len)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	for (size_t i = 0; i < len; i++)
	{
		if (memchr(allowed, name[i], sizeof(allowed) - 1) == NULL)
			return false;
	}
	return len >= 1 && len <= KS_POLICY_ID_MAX;
}

char *
ks_policy_id(const KsPolicyValue *value)
{
	if (ks_policy_is_string(value) &&
		ks_policy_is_id(value->value.val.string.val, (size_t) value->value.val.string.len))
		return pnstrdup(value->value.val.string.val, value->value.val.string.len);
	(void) ks_policy_wrong(value, "must be a name of 1 to 64 letters, digits, \"_\", \".\" and \"-\"");
	return NULL;
}

int
ks_policy_word(const KsPolicyValue *value, const char *const *words)
{
	StringInfoData expected;

	for (int i = 0; ks_policy_is_string(value) && words[i] != NULL; i++)
	{
		if (strlen(words[i]) == (size_t) value->value.val.string.len &&
			memcmp(words[i], value->value.val.string.val, strlen(words[i])) == 0)
			return i;
	}
	initStringInfo(&expected);
	appendStringInfoString(&expected, "must be ");
	for (int i = 0; words[i] != NULL; i++)
		appendStringInfo(&expected, "%s\"%s\"", i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ", words[i]);
	(void) ks_policy_wrong(value, expected.data);
	return -1;
}

/* Durations. */

static const struct
{
	char		letter;
	bool		time;			/* stands behind T */
	int64		unit;
}			duration_parts[] = {
	{'D', false, USECS_PER_DAY},
	{'H', true, USECS_PER_HOUR},
	{'M', true, USECS_PER_MINUTE},
	{'S', true, USECS_PER_SEC},
	{'W', false, 7 * USECS_PER_DAY},
};

#define DURATION_WEEK	4

/* One part, such as 30M; false when it is none that may follow the one before.
 * Weeks follow nothing, and nothing follows them. */
static bool
read_duration_part(const char **word, bool time, int *part, int64 *sum)
{
	int64		number = 0;
	int			digits = 0;

	for (; **word >= '0' && **word <= '9'; (*word)++)
	{
		if (++digits > 7)
			return false;		/* so that weeks do not overflow */
		number = number * 10 + (**word - '0');
	}
	for (int i = *part + 1; digits > 0 && i < (int) lengthof(duration_parts); i++)
	{
		if (duration_parts[i].letter != **word || duration_parts[i].time != time ||
			(i == DURATION_WEEK && *part >= 0))
			continue;
		*part = i;
		(*word)++;
		*sum += number * duration_parts[i].unit;
		return true;
	}
	return false;
}

/* P2W, or P1DT2H3M4S without what is zero. */
static bool
read_duration(const char *word, int64 *result)
{
	bool		time = false;
	int			part = -1;

	*result = 0;
	if (*word++ != 'P' || *word == '\0')
		return false;
	while (*word != '\0')
	{
		if (!time && *word == 'T')
		{
			time = true;
			word++;
		}
		if (!read_duration_part(&word, time, &part, result))
			return false;
	}
	return true;
}

bool
ks_policy_duration(const KsPolicyValue *value, int64 min, int64 max, int64 *result)
{
	char	   *word;

	if (ks_policy_is_string(value))
	{
		word = pnstrdup(value->value.val.string.val, value->value.val.string.len);
		if (read_duration(word, result) && *result >= min && *result <= max)
			return true;
	}
	return ks_policy_wrong(value, psprintf("must be a duration such as PT4H or P90D, between %s and %s",
										   ks_policy_duration_text(min), ks_policy_duration_text(max)));
}

char *
ks_policy_duration_text(int64 duration)
{
	StringInfoData out;
	int64		rest = duration;

	initStringInfo(&out);
	appendStringInfoChar(&out, 'P');
	for (int i = 0; i < DURATION_WEEK; i++)
	{
		int64		number = rest / duration_parts[i].unit;

		rest %= duration_parts[i].unit;
		if (number == 0)
			continue;
		if (duration_parts[i].time && strchr(out.data, 'T') == NULL)
			appendStringInfoChar(&out, 'T');
		appendStringInfo(&out, INT64_FORMAT "%c", number, duration_parts[i].letter);
	}
	if (out.len == 1)
		appendStringInfoString(&out, "T0S");
	return out.data;
}
