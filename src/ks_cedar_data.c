/*-------------------------------------------------------------------------
 *
 * ks_cedar_data.c
 *	  Entities and requests of the policy language Cedar, from jsonb.
 *
 * All JSON is read as values first, from the inside out, so that an escape may
 * stand wherever a value may.  What is wrong is noted where it is found; the
 * path to it is put together on the way back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ks_cedar_data.h"
#include "ks_cedar_json.h"
#include "ks_cedar_text.h"

#define PATH_LEN_MAX	200		/* of the path in a message, about */
#define KEY(name)		as_string(name, sizeof(name) - 1)

typedef struct Reader
{
	JsonbIterator *iterator;
	int			depth;
	KsCedarError *error;
} Reader;

static bool read_value(Reader *reader, JsonbIteratorToken token, const JsonbValue *json, KsCedarValue *value);

/* ks_cedar_string() copies; this does not. */
static inline KsCedarString
as_string(const char *data, size_t len)
{
	KsCedarString string;

	string.data = data;
	string.len = len;
	return string;
}

static bool
fail(KsCedarError *error, const char *problem)
{
	ks_cedar_fail(error, problem, -1);
	return false;
}

/* Says that the problem lies in a member, or in an element of an array. */
static bool
fail_in(KsCedarError *error, const KsCedarString *key, int element)
{
	const char *rest = error->where == NULL ? "" : error->where;

	if (strlen(rest) > PATH_LEN_MAX)
		rest = "...";
	if (key != NULL)
		error->where = psprintf(".%.*s%s", (int) key->len, key->data, rest);
	else
		error->where = psprintf("[%d]%s", element, rest);
	return false;
}

/* Values */

static bool
read_scalar(Reader *reader, const JsonbValue *json, KsCedarValue *value)
{
	int64		integer;

	switch (json->type)
	{
		case jbvBool:
			*value = ks_cedar_bool(json->val.boolean);
			return true;
		case jbvString:
			*value = ks_cedar_text_value(as_string(json->val.string.val, json->val.string.len));
			return true;
		case jbvNumeric:
			if (!ks_cedar_json_long(json, &integer))
				return fail(reader->error, KS_CEDAR_NOT_A_LONG);
			*value = ks_cedar_number(KS_CEDAR_TYPE_LONG, integer);
			return true;
		default:
			return fail(reader->error, "null is no value of Cedar");
	}
}

/* Elements in their order. */
static bool
read_elements(Reader *reader, KsCedarValue *elements, int *n)
{
	JsonbIteratorToken token;
	JsonbValue	json;

	*n = 0;
	while ((token = JsonbIteratorNext(&reader->iterator, &json, false)) != WJB_END_ARRAY)
	{
		if (!read_value(reader, token, &json, &elements[*n]))
			return fail_in(reader->error, NULL, *n);
		(*n)++;
	}
	return true;
}

static KsCedarValue *
make_room(int n)
{
	return palloc_extended(sizeof(KsCedarValue) * (n + 1), MCXT_ALLOC_HUGE);
}

/* Escapes */

/* What an object is in, when that has no other member. */
typedef enum Escape
{
	ESCAPE_NONE,
	ESCAPE_ENTITY,
	ESCAPE_EXTN
} Escape;

/* An object while it is read. */
typedef struct Object
{
	Escape		escape;
	KsCedarMember *members;
	int			n;
	KsCedarValue *args;			/* of ESCAPE_EXTN, as a set has lost their
								 * order */
	int			nargs;
	bool		converted;		/* the only member was an escape, and is what
								 * that stands for */
} Object;

static Escape
get_escape(KsCedarString key)
{
	if (ks_cedar_string_equal(key, KEY("__entity")))
		return ESCAPE_ENTITY;
	if (ks_cedar_string_equal(key, KEY("__extn")))
		return ESCAPE_EXTN;
	return ESCAPE_NONE;
}

/* The member of a record if it is a string, else NULL. */
static const KsCedarString *
find_string(const KsCedarRecord *record, KsCedarString key)
{
	const KsCedarValue *value = ks_cedar_find(record, key);

	return value != NULL && value->type == KS_CEDAR_TYPE_STRING ? value->of.string : NULL;
}

/* A record of type and id; one of anything else is left as it is. */
static bool
convert_entity(KsCedarError *error, const KsCedarRecord *record, KsCedarValue *value)
{
	const KsCedarString *type = find_string(record, KEY("type"));
	const KsCedarString *id = find_string(record, KEY("id"));
	KsCedarUid	uid;

	if (type == NULL || id == NULL)
		return true;
	if (!ks_cedar_is_path(*type))
		return fail(error, "the type of an entity is not valid");
	uid.type = *type;
	uid.id = *id;
	*value = ks_cedar_entity_value(ks_cedar_make_ref(uid));
	return true;
}

/* A record of fn and arg, or args; one of anything else is left as it is. */
static bool
convert_extn(KsCedarError *error, const KsCedarRecord *record, const Object *object, KsCedarValue *value)
{
	const KsCedarString *name = find_string(record, KEY("fn"));
	const KsCedarValue *operands = ks_cedar_find(record, KEY("arg"));
	int			n = 1;
	KsCedarFunction function;
	KsCedarFault fault;

	if (operands == NULL)
	{
		operands = object->args;
		n = object->nargs;
	}
	if (name == NULL || operands == NULL)
		return true;
	if (!ks_cedar_find_function(*name, &function))
		return fail(error, "there is no such function");
	fault = ks_cedar_call(function, operands, n, value);
	return fault == KS_CEDAR_NO_FAULT || fail(error, ks_cedar_fault_text(fault));
}

/* Objects */

static bool read_object(Reader *reader, int n, Escape escape, KsCedarValue *value, bool *converted);

/* A member's value; alone: it has no other beside it. */
static bool
read_member(Reader *reader, Object *object, bool alone, KsCedarMember *member)
{
	Escape		escape = alone ? get_escape(member->key) : ESCAPE_NONE;
	JsonbValue	json;
	JsonbIteratorToken token = JsonbIteratorNext(&reader->iterator, &json, false);

	if (alone && token == WJB_VALUE && json.type == jbvString && ks_cedar_string_equal(member->key, KEY("__expr")))
		return fail(reader->error, "\"__expr\" is not supported");
	if (token == WJB_BEGIN_OBJECT)
		return read_object(reader, json.val.object.nPairs, escape, &member->value, &object->converted);
	if (token == WJB_BEGIN_ARRAY && object->escape == ESCAPE_EXTN && ks_cedar_string_equal(member->key, KEY("args")))
	{
		KsCedarValue *copy = make_room(json.val.array.nElems);

		object->args = make_room(json.val.array.nElems);
		if (!read_elements(reader, object->args, &object->nargs))
			return false;
		memcpy(copy, object->args, sizeof(KsCedarValue) * object->nargs);
		member->value = ks_cedar_make_set(copy, object->nargs);
		return true;
	}
	return read_value(reader, token, &json, &member->value);
}

/*
 * An object with n members.  One that is in an escape may be converted to what
 * that stands for; the one around it then gives the same.
 */
static bool
read_object(Reader *reader, int n, Escape escape, KsCedarValue *value, bool *converted)
{
	Object		object = {.escape = escape};
	const KsCedarRecord *record;
	bool		good = true;
	JsonbValue	json;

	if (++reader->depth > KS_CEDAR_DATA_DEPTH_MAX)
		return fail(reader->error, "it nests too deep");
	object.members = palloc_extended(sizeof(KsCedarMember) * (n + 1), MCXT_ALLOC_HUGE);
	while (JsonbIteratorNext(&reader->iterator, &json, false) == WJB_KEY)
	{
		KsCedarMember *member = &object.members[object.n++];

		member->key = as_string(json.val.string.val, json.val.string.len);
		if (!read_member(reader, &object, n == 1, member))
			return fail_in(reader->error, &member->key, 0);
	}
	reader->depth--;

	if (object.converted)
	{
		*value = object.members[0].value;
		return true;
	}
	record = ks_cedar_make_record(object.members, object.n);
	*value = ks_cedar_record_value(record);
	if (escape == ESCAPE_ENTITY)
		good = convert_entity(reader->error, record, value);
	else if (escape == ESCAPE_EXTN)
		good = convert_extn(reader->error, record, &object, value);
	*converted = good && value->type != KS_CEDAR_TYPE_RECORD;
	return good;
}

static bool
read_value(Reader *reader, JsonbIteratorToken token, const JsonbValue *json, KsCedarValue *value)
{
	KsCedarValue *elements;
	bool		converted;
	int			n;

	if (token == WJB_BEGIN_OBJECT)
		return read_object(reader, json->val.object.nPairs, ESCAPE_NONE, value, &converted);
	if (token != WJB_BEGIN_ARRAY)
		return read_scalar(reader, json, value);
	CHECK_FOR_INTERRUPTS();
	if (++reader->depth > KS_CEDAR_DATA_DEPTH_MAX)
		return fail(reader->error, "it nests too deep");
	elements = make_room(json->val.array.nElems);
	if (!read_elements(reader, elements, &n))
		return false;
	reader->depth--;
	*value = ks_cedar_make_set(elements, n);
	pfree(elements);
	return true;
}

/* A whole value; what goes out of the jsonb are pointers into it. */
static bool
read_json(JsonbContainer *container, KsCedarError *error, KsCedarValue *value)
{
	Reader		reader = {.iterator = JsonbIteratorInit(container), .error = error};
	JsonbValue	json;
	JsonbIteratorToken token = JsonbIteratorNext(&reader.iterator, &json, false);

	if (token == WJB_BEGIN_ARRAY && json.val.array.rawScalar)
	{
		token = JsonbIteratorNext(&reader.iterator, &json, false);
		return read_scalar(&reader, &json, value);
	}
	return read_value(&reader, token, &json, value);
}

const KsCedarValue *
ks_cedar_value_from_json(const Jsonb *json, KsCedarError *error)
{
	KsCedarValue *value = palloc(sizeof(KsCedarValue));

	return read_json((JsonbContainer *) &json->root, error, value) ? value : NULL;
}

/* Names of entities */

static bool
parse_ref(KsCedarError *error, KsCedarString text, const KsCedarRef **ref)
{
	KsCedarError unread = {0};
	KsCedarExpr *expr = ks_cedar_parse_expr(text.data, text.len, &unread);

	if (expr == NULL || expr->kind != KS_CEDAR_ENTITY)
		return fail(error, "the text is no name of an entity");
	*ref = ks_cedar_make_ref(expr->of.uid);
	return true;
}

/* An entity, with or without its escape, or a text. */
static bool
get_ref(KsCedarError *error, const KsCedarValue *value, const KsCedarRef **ref)
{
	KsCedarValue converted = *value;

	if (value->type == KS_CEDAR_TYPE_STRING)
		return parse_ref(error, *value->of.string, ref);
	if (value->type == KS_CEDAR_TYPE_RECORD && !convert_entity(error, value->of.record, &converted))
		return false;
	if (converted.type != KS_CEDAR_TYPE_ENTITY)
		return fail(error, "it is no name of an entity");
	*ref = converted.of.entity;
	return true;
}

static bool
get_member_ref(KsCedarError *error, const KsCedarRecord *record, KsCedarString key, const KsCedarRef **ref)
{
	const KsCedarValue *value = ks_cedar_find(record, key);

	if (value == NULL)
		return fail(error, "it is missing") || fail_in(error, &key, 0);
	return get_ref(error, value, ref) || fail_in(error, &key, 0);
}

/* A member that is a record.  optional: an empty one when it is missing. */
static bool
get_member_record(KsCedarError *error, const KsCedarRecord *record, KsCedarString key, bool optional,
				  const KsCedarRecord **member)
{
	const KsCedarValue *value = ks_cedar_find(record, key);

	*member = &ks_cedar_empty_record;
	if (value == NULL)
		return optional || fail(error, "it is missing") || fail_in(error, &key, 0);
	if (value->type != KS_CEDAR_TYPE_RECORD)
		return fail(error, "it is no record") || fail_in(error, &key, 0);
	*member = value->of.record;
	return true;
}

/* Entities */

static bool
get_parents(KsCedarError *error, const KsCedarRecord *record, const KsCedarRef *child,
			const KsCedarRef ***parents, int *n)
{
	const KsCedarString key = KEY("parents");
	const KsCedarValue *value = ks_cedar_find(record, key);
	bool		of_action = ks_cedar_is_action(child->uid);

	if (value == NULL || value->type != KS_CEDAR_TYPE_SET)
		return fail(error, "it is no array") || fail_in(error, &key, 0);
	*n = value->of.set->n;
	*parents = palloc_extended(sizeof(KsCedarRef *) * (*n + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		if (!get_ref(error, &value->of.set->members[i], &(*parents)[i]))
			return fail_in(error, &key, 0);
		if (of_action && !ks_cedar_is_action((*parents)[i]->uid))
			return fail(error, "a parent of an action is none") || fail_in(error, &key, 0);
	}
	return true;
}

/* An entity that comes again just the same is the same. */
static bool
comes_again(KsCedarError *error, const KsCedarEntity *entity, const KsCedarRecord *attrs,
			const KsCedarRecord *tags, const KsCedarRef **parents, int nparents)
{
	const KsCedarValue given_attrs = ks_cedar_record_value(attrs);
	const KsCedarValue given_tags = ks_cedar_record_value(tags);
	const KsCedarValue known_attrs = ks_cedar_record_value(entity->attrs);
	const KsCedarValue known_tags = ks_cedar_record_value(entity->tags);

	if (nparents != entity->nparents || !ks_cedar_equal(&given_attrs, &known_attrs) ||
		!ks_cedar_equal(&given_tags, &known_tags))
		return fail(error, "the entity comes twice and differs");
	for (int i = 0; i < nparents; i++)
	{
		bool		found = false;

		for (int j = 0; j < nparents && !found; j++)
			found = ks_cedar_ref_equal(parents[i], entity->parents[j]);
		if (!found)
			return fail(error, "the entity comes twice and differs");
	}
	return true;
}

static bool
read_entity(KsCedarEntities *entities, const KsCedarValue *value, KsCedarError *error)
{
	const KsCedarRef *ref;
	const KsCedarRecord *attrs;
	const KsCedarRecord *tags;
	const KsCedarRef **parents;
	int			nparents;

	if (value->type != KS_CEDAR_TYPE_RECORD)
		return fail(error, "it is no record");
	if (!get_member_ref(error, value->of.record, KEY("uid"), &ref) ||
		!get_member_record(error, value->of.record, KEY("attrs"), false, &attrs) ||
		!get_member_record(error, value->of.record, KEY("tags"), true, &tags) ||
		!get_parents(error, value->of.record, ref, &parents, &nparents))
		return false;
	return ks_cedar_add_entity(entities, ref, attrs, tags, parents, nparents) != NULL ||
		comes_again(error, ks_cedar_get_entity(entities, ref), attrs, tags, parents, nparents);
}

KsCedarEntities *
ks_cedar_entities_from_json(const Jsonb *json, KsCedarError *error)
{
	KsCedarEntities *entities = ks_cedar_entities();
	Reader		reader = {.iterator = JsonbIteratorInit((JsonbContainer *) &json->root), .error = error};
	JsonbValue	element;
	JsonbIteratorToken token = JsonbIteratorNext(&reader.iterator, &element, false);

	if (token != WJB_BEGIN_ARRAY || element.val.array.rawScalar)
		return ks_cedar_fail(error, "it is no array of entities", -1);
	for (int i = 0; (token = JsonbIteratorNext(&reader.iterator, &element, false)) != WJB_END_ARRAY; i++)
	{
		KsCedarValue value;

		CHECK_FOR_INTERRUPTS();
		if (!read_value(&reader, token, &element, &value) || !read_entity(entities, &value, error))
		{
			fail_in(error, NULL, i);
			return NULL;
		}
	}
	if (!ks_cedar_finish_entities(entities))
		return ks_cedar_fail(error, "an entity is among its own ancestors", -1);
	return entities;
}

/* Requests */

bool
ks_cedar_request_from_json(const Jsonb *json, const KsCedarEntities *entities, KsCedarRequest *request,
						   KsCedarError *error)
{
	KsCedarValue value;
	const KsCedarRef *principal;
	const KsCedarRef *action;
	const KsCedarRef *resource;
	const KsCedarRecord *context;

	if (!read_json((JsonbContainer *) &json->root, error, &value))
		return false;
	if (value.type != KS_CEDAR_TYPE_RECORD)
		return fail(error, "it is no object");
	if (!get_member_ref(error, value.of.record, KEY("principal"), &principal) ||
		!get_member_ref(error, value.of.record, KEY("action"), &action) ||
		!get_member_ref(error, value.of.record, KEY("resource"), &resource) ||
		!get_member_record(error, value.of.record, KEY("context"), false, &context))
		return false;
	ks_cedar_request(request, entities, principal, action, resource, context);
	return true;
}
