/*-------------------------------------------------------------------------
 *
 * ks_cedar_json.c
 *	  Cedar's JSON form of policies and expressions: its reader.
 *
 * A place is a chain from the value that is read up to the document, in the
 * frames of the functions that read it; it becomes text when something is
 * wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "ks_cedar_json.h"

#define NO_TEMPLATES	"templates are not supported: a slot cannot stand here"
#define UNKNOWN_MEMBER	"the member is not known"
#define NOT_AN_OBJECT	"an object must stand here"
#define NOT_AN_ARRAY	"an array must stand here"
#define NOT_A_STRING	"a string must stand here"
#define TOO_DEEP		"the expression nests too deep"

#define FIELDS_MAX		6

typedef struct Reader
{
	KsCedarError *error;
	int			nesting;		/* of expressions and values */
} Reader;

typedef struct Place
{
	const struct Place *up;		/* NULL: the document */
	const char *key;			/* NULL: an element of an array */
	int			key_len;
	int			index;
} Place;

/* Members of an object, which read_fields() finds. */
typedef struct Fields
{
	int			required;		/* as many of the first names */
	int			count;
	const char *names[FIELDS_MAX];
	bool		found[FIELDS_MAX];
	JsonbValue	values[FIELDS_MAX];
	Place		places[FIELDS_MAX];
} Fields;

static KsCedarExpr *read_expr(Reader *reader, const Place *place, const JsonbValue *value);
static KsCedarExpr *read_literal(Reader *reader, const Place *place, const JsonbValue *value);

static Place
member_place(const Place *up, const char *key, int key_len)
{
	Place		place = {up, key, key_len, 0};

	return place;
}

static Place
element_place(const Place *up, int index)
{
	Place		place = {up, NULL, 0, index};

	return place;
}

static void
describe_place(StringInfo out, const Place *place)
{
	if (place == NULL || (place->up == NULL && place->key == NULL))
		return;
	describe_place(out, place->up);
	if (place->key == NULL)
		appendStringInfo(out, "[%d]", place->index);
	else
	{
		if (out->len > 0)
			appendStringInfoChar(out, '.');
		appendBinaryStringInfo(out, place->key, place->key_len);
	}
}

static void *
fail(Reader *reader, const Place *place, const char *problem)
{
	if (reader->error->problem == NULL)
	{
		StringInfoData where;

		initStringInfo(&where);
		describe_place(&where, place);
		reader->error->where = where.len > 0 ? where.data : NULL;
	}
	ks_cedar_fail(reader->error, problem, -1);
	return NULL;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data);
}

static int
size_of(const JsonbValue *container)
{
	return (int) JsonContainerSize(container->val.binary.data);
}

static KsCedarString
string_of(const JsonbValue *value)
{
	return ks_cedar_string(value->val.string.val, (size_t) value->val.string.len);
}

static bool
equals(const JsonbValue *string, const char *constant)
{
	return string->type == jbvString && string->val.string.len == (int) strlen(constant) &&
		memcmp(string->val.string.val, constant, strlen(constant)) == 0;
}

/*
 * Starts to read an object's members or an array's elements; next_item() gives
 * one after the other.
 */
static JsonbIterator *
begin_items(const JsonbValue *container)
{
	JsonbIterator *iterator = JsonbIteratorInit(container->val.binary.data);
	JsonbValue	whole;

	(void) JsonbIteratorNext(&iterator, &whole, true);
	return iterator;
}

/* key may be NULL: an array's. */
static bool
next_item(JsonbIterator **iterator, JsonbValue *key, JsonbValue *value)
{
	JsonbIteratorToken token;

	if (key != NULL && JsonbIteratorNext(iterator, key, true) != WJB_KEY)
		return false;
	token = JsonbIteratorNext(iterator, value, true);
	return token == WJB_VALUE || token == WJB_ELEM;
}

static int
find_field(const Fields *fields, const JsonbValue *key)
{
	for (int i = 0; i < fields->count; i++)
	{
		if (equals(key, fields->names[i]))
			return i;
	}
	return -1;
}

/* Finds the members of an object, which must have the required ones and no
 * others than those named. */
static bool
read_fields(Reader *reader, const Place *place, const JsonbValue *object, Fields *fields)
{
	JsonbIterator *iterator;
	JsonbValue	key;
	JsonbValue	value;

	if (!is_object(object))
		return fail(reader, place, NOT_AN_OBJECT) != NULL;
	for (int i = 0; i < fields->count; i++)
	{
		fields->found[i] = false;
		fields->places[i] = member_place(place, fields->names[i], (int) strlen(fields->names[i]));
	}
	iterator = begin_items(object);
	while (next_item(&iterator, &key, &value))
	{
		int			i = find_field(fields, &key);

		if (i < 0)
		{
			Place		unknown = member_place(place, key.val.string.val, key.val.string.len);

			return fail(reader, &unknown, equals(&key, "slot") ? NO_TEMPLATES : UNKNOWN_MEMBER) != NULL;
		}
		fields->found[i] = true;
		fields->values[i] = value;
	}
	for (int i = 0; i < fields->required; i++)
	{
		if (!fields->found[i])
			return fail(reader, &fields->places[i], "the member is missing") != NULL;
	}
	return true;
}

static bool
read_string(Reader *reader, const Place *place, const JsonbValue *value, KsCedarString *string)
{
	if (value->type != jbvString)
		return fail(reader, place, NOT_A_STRING) != NULL;
	*string = string_of(value);
	return true;
}

static bool
read_type_name(Reader *reader, const Place *place, const JsonbValue *value, KsCedarString *type)
{
	if (!read_string(reader, place, value, type))
		return false;
	if (!ks_cedar_is_path(*type))
		return fail(reader, place, "the name of an entity type must stand here") != NULL;
	return true;
}

/* {"type": ..., "id": ...} */
static bool
read_uid(Reader *reader, const Place *place, const JsonbValue *value, KsCedarUid *uid)
{
	Fields		fields = {.required = 2, .count = 2, .names = {"type", "id"}};

	return read_fields(reader, place, value, &fields) &&
		read_type_name(reader, &fields.places[0], &fields.values[0], &uid->type) &&
		read_string(reader, &fields.places[1], &fields.values[1], &uid->id);
}

/* The one member of an object: false if it has another number of them. */
static bool
only_member(const JsonbValue *object, JsonbValue *key, JsonbValue *value)
{
	JsonbIterator *iterator;

	if (!is_object(object) || size_of(object) != 1)
		return false;
	iterator = begin_items(object);
	return next_item(&iterator, key, value);
}

static KsCedarExpr *
make_node(Reader *reader, const Place *place, KsCedarKind kind, int noperands,
		  KsCedarExpr *const *operands)
{
	KsCedarExpr *node = NULL;

	/* so that the place is noted */
	for (int i = 0; i < noperands; i++)
	{
		if (operands[i]->depth >= KS_CEDAR_DEPTH_MAX)
			return fail(reader, place, TOO_DEEP);
	}
	node = ks_cedar_node(kind, -1, noperands, operands, reader->error);
	return node;
}

static KsCedarExpr *
make_call(Reader *reader, const Place *place, KsCedarFunction function, int noperands,
		  KsCedarExpr *const *operands)
{
	KsCedarExpr *node = make_node(reader, place, KS_CEDAR_CALL, noperands, operands);

	/* a method without its object cannot be written as text */
	if (ks_cedar_functions[function].method && noperands == 0)
		return fail(reader, place, "the method has no object");
	if (node != NULL)
		node->of.function = function;
	return node;
}

typedef KsCedarExpr *(*ReadItem) (Reader *reader, const Place *place, const JsonbValue *value);

/* Reads the elements of an array with a function. */
static KsCedarExpr **
read_array(Reader *reader, const Place *place, const JsonbValue *array, ReadItem read_item, int *count)
{
	KsCedarExpr **items;
	JsonbIterator *iterator;
	JsonbValue	value;

	*count = 0;
	if (!is_array(array))
		return fail(reader, place, NOT_AN_ARRAY);
	items = ks_cedar_alloc((size_t) size_of(array) * sizeof(KsCedarExpr *) + 1);
	iterator = begin_items(array);
	while (next_item(&iterator, NULL, &value))
	{
		Place		element = element_place(place, *count);

		items[*count] = read_item(reader, &element, &value);
		if (items[(*count)++] == NULL)
			return NULL;
	}
	return items;
}

static KsCedarExpr *
read_set(Reader *reader, const Place *place, const JsonbValue *array, ReadItem read_item)
{
	int			count;
	KsCedarExpr **items = read_array(reader, place, array, read_item, &count);

	return items != NULL ? make_node(reader, place, KS_CEDAR_SET, count, items) : NULL;
}

static KsCedarExpr *
read_record(Reader *reader, const Place *place, const JsonbValue *object, ReadItem read_item)
{
	int			count = 0;
	KsCedarString *keys;
	KsCedarExpr **values;
	JsonbIterator *iterator;
	JsonbValue	key;
	JsonbValue	value;

	if (!is_object(object))
		return fail(reader, place, NOT_AN_OBJECT);
	keys = ks_cedar_alloc((size_t) size_of(object) * sizeof(KsCedarString) + 1);
	values = ks_cedar_alloc((size_t) size_of(object) * sizeof(KsCedarExpr *) + 1);
	iterator = begin_items(object);
	while (next_item(&iterator, &key, &value))
	{
		Place		member = member_place(place, key.val.string.val, key.val.string.len);

		keys[count] = string_of(&key);
		values[count] = read_item(reader, &member, &value);
		if (values[count] == NULL)
			return NULL;
		if (values[count++]->depth >= KS_CEDAR_DEPTH_MAX)
			return fail(reader, &member, TOO_DEEP);
	}
	return ks_cedar_record(-1, count, keys, values, reader->error);
}

/* {"fn": "ip", "arg": ...}, or "args" and an array. */
static KsCedarExpr *
read_extension(Reader *reader, const Place *place, const JsonbValue *value)
{
	Fields		fields = {.required = 1, .count = 3, .names = {"fn", "arg", "args"}};
	KsCedarString name;
	KsCedarFunction function;
	KsCedarExpr *operand;
	KsCedarExpr **operands = &operand;
	int			count = 1;

	if (!read_fields(reader, place, value, &fields) ||
		!read_string(reader, &fields.places[0], &fields.values[0], &name))
		return NULL;
	if (!ks_cedar_find_function(name, &function))
		return fail(reader, &fields.places[0], "there is no such function");
	if (fields.found[1] == fields.found[2])
		return fail(reader, place, "one of arg and args must be there");
	if (fields.found[1])
	{
		operand = read_literal(reader, &fields.places[1], &fields.values[1]);
		if (operand == NULL)
			return NULL;
	}
	else
		operands = read_array(reader, &fields.places[2], &fields.values[2], read_literal, &count);
	return operands != NULL ? make_call(reader, place, function, count, operands) : NULL;
}

/* An object: an escape, which is the only member, or a record. */
static KsCedarExpr *
read_literal_object(Reader *reader, const Place *place, const JsonbValue *value)
{
	JsonbValue	key;
	JsonbValue	inner;

	if (only_member(value, &key, &inner))
	{
		Place		member = member_place(place, key.val.string.val, key.val.string.len);

		if (equals(&key, "__extn"))
			return read_extension(reader, &member, &inner);
		if (equals(&key, "__expr"))
			return fail(reader, &member, UNKNOWN_MEMBER);
		if (equals(&key, "__entity"))
		{
			KsCedarExpr *node = make_node(reader, place, KS_CEDAR_ENTITY, 0, NULL);

			return read_uid(reader, &member, &inner, &node->of.uid) ? node : NULL;
		}
	}
	return read_record(reader, place, value, read_literal);
}

/* Frees the text. */
static bool
read_digits(char *text, int64 *integer)
{
	char	   *end;
	bool		good;

	errno = 0;
	*integer = strtoi64(text, &end, 10);
	good = *end == '\0' && errno == 0;
	pfree(text);
	return good;
}

bool
ks_cedar_json_integer(const JsonbValue *number, int64 *integer)
{
	return read_digits(numeric_normalize(number->val.numeric), integer);
}

/* The text has as many zeros behind the point as the document had. */
bool
ks_cedar_json_long(const JsonbValue *number, int64 *integer)
{
	return read_digits(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number->val.numeric))), integer);
}

static KsCedarExpr *
read_scalar(Reader *reader, const Place *place, const JsonbValue *value)
{
	KsCedarExpr *node;

	switch (value->type)
	{
		case jbvBool:
			node = make_node(reader, place, KS_CEDAR_BOOL, 0, NULL);
			node->of.boolean = value->val.boolean;
			return node;
		case jbvString:
			node = make_node(reader, place, KS_CEDAR_STRING, 0, NULL);
			node->of.string = string_of(value);
			return node;
		case jbvNumeric:
			node = make_node(reader, place, KS_CEDAR_LONG, 0, NULL);
			if (!ks_cedar_json_long(value, &node->of.integer))
				return fail(reader, place, KS_CEDAR_NOT_A_LONG);
			return node;
		default:
			return fail(reader, place, "Cedar has no such value");
	}
}

/* Whether there is room for one level more. */
static bool
descend(Reader *reader, const Place *place)
{
	ks_cedar_check_stack();
	if (reader->nesting >= KS_CEDAR_DEPTH_MAX)
		return fail(reader, place, TOO_DEEP) != NULL;
	reader->nesting++;
	return true;
}

/* What "Value" has: plain JSON, with escapes for entities and extensions. */
static KsCedarExpr *
read_literal(Reader *reader, const Place *place, const JsonbValue *value)
{
	KsCedarExpr *node;

	if (!descend(reader, place))
		return NULL;
	if (is_array(value))
		node = read_set(reader, place, value, read_literal);
	else if (is_object(value))
		node = read_literal_object(reader, place, value);
	else
		node = read_scalar(reader, place, value);
	reader->nesting--;
	return node;
}

static KsCedarExpr *
read_var(Reader *reader, const Place *place, const JsonbValue *value)
{
	for (int i = 0; i < KS_CEDAR_VARS; i++)
	{
		if (equals(value, ks_cedar_vars[i]))
		{
			KsCedarExpr *node = make_node(reader, place, KS_CEDAR_VAR, 0, NULL);

			node->of.var = (KsCedarVar) i;
			return node;
		}
	}
	return fail(reader, place, "there is no such variable");
}

/* Operators whose members are expressions, as many as they have names. */
static KsCedarExpr *
read_operator(Reader *reader, const Place *place, const JsonbValue *value,
			  const KsCedarOperator *operator)
{
	Fields		fields = {.required = operator->noperands, .count = operator->noperands};
	KsCedarExpr *operands[3];

	for (int i = 0; i < operator->noperands; i++)
		fields.names[i] = operator->members[i];
	if (!read_fields(reader, place, value, &fields))
		return NULL;
	for (int i = 0; i < operator->noperands; i++)
	{
		operands[i] = read_expr(reader, &fields.places[i], &fields.values[i]);
		if (operands[i] == NULL)
			return NULL;
	}
	return make_node(reader, place, operator->kind, operator->noperands, operands);
}

/* {"left": ..., "attr": "name"} */
static KsCedarExpr *
read_attribute(Reader *reader, const Place *place, const JsonbValue *value)
{
	Fields		fields = {.required = 2, .count = 2, .names = {"left", "attr"}};
	KsCedarString attribute;
	KsCedarExpr *left;
	KsCedarExpr *node;

	if (!read_fields(reader, place, value, &fields) ||
		!read_string(reader, &fields.places[1], &fields.values[1], &attribute))
		return NULL;
	left = read_expr(reader, &fields.places[0], &fields.values[0]);
	if (left == NULL)
		return NULL;
	node = make_node(reader, place, KS_CEDAR_GET_ATTR, 1, &left);
	if (node != NULL)
		node->of.string = attribute;
	return node;
}

/* A path of attributes. */
static bool
read_attribute_path(Reader *reader, const Place *place, const JsonbValue *array, KsCedarExpr *node)
{
	JsonbIterator *iterator = begin_items(array);
	JsonbValue	value;

	if (size_of(array) == 0)
		return fail(reader, place, "an attribute must stand here") != NULL;
	node->of.list = ks_cedar_alloc((size_t) size_of(array) * sizeof(KsCedarString));
	while (next_item(&iterator, NULL, &value))
	{
		Place		element = element_place(place, node->nlist);
		KsCedarString *attribute = &node->of.list[node->nlist++];

		if (!read_string(reader, &element, &value, attribute))
			return false;
		if (size_of(array) > 1 && !ks_cedar_is_identifier(*attribute))
			return fail(reader, &element, "an identifier must stand here") != NULL;
	}
	return true;
}

/* {"left": ..., "attr": "name"}, or an array of names. */
static KsCedarExpr *
read_has(Reader *reader, const Place *place, const JsonbValue *value)
{
	Fields		fields = {.required = 2, .count = 2, .names = {"left", "attr"}};
	KsCedarString attribute;
	KsCedarExpr *left;
	KsCedarExpr *node;

	if (!read_fields(reader, place, value, &fields))
		return NULL;
	left = read_expr(reader, &fields.places[0], &fields.values[0]);
	if (left == NULL)
		return NULL;
	node = make_node(reader, place, KS_CEDAR_HAS_ATTR, 1, &left);
	if (node == NULL)
		return NULL;
	if (is_array(&fields.values[1]))
		return read_attribute_path(reader, &fields.places[1], &fields.values[1], node) ? node : NULL;
	if (!read_string(reader, &fields.places[1], &fields.values[1], &attribute))
		return NULL;
	ks_cedar_set_list(node, 1, &attribute);
	return node;
}

/* Ends the text between two wildcards. */
static void
end_segment(KsCedarExpr *node, StringInfo segment)
{
	node->of.list[node->nlist++] = ks_cedar_string(segment->data, (size_t) segment->len);
	resetStringInfo(segment);
}

/* "Wildcard" and {"Literal": "text"}, any number in any order. */
static bool
read_pattern(Reader *reader, const Place *place, const JsonbValue *array, KsCedarExpr *node)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	StringInfoData segment;
	int			index = 0;

	if (!is_array(array))
		return fail(reader, place, NOT_AN_ARRAY) != NULL;
	initStringInfo(&segment);
	node->of.list = ks_cedar_alloc(((size_t) size_of(array) + 1) * sizeof(KsCedarString));
	iterator = begin_items(array);
	while (next_item(&iterator, NULL, &value))
	{
		Place		element = element_place(place, index++);
		Fields		fields = {.required = 1, .count = 1, .names = {"Literal"}};
		KsCedarString literal;

		if (equals(&value, "Wildcard"))
		{
			end_segment(node, &segment);
			continue;
		}
		if (!read_fields(reader, &element, &value, &fields) ||
			!read_string(reader, &fields.places[0], &fields.values[0], &literal))
			return false;
		appendBinaryStringInfo(&segment, literal.data, (int) literal.len);
	}
	end_segment(node, &segment);
	return true;
}

static KsCedarExpr *
read_like(Reader *reader, const Place *place, const JsonbValue *value)
{
	Fields		fields = {.required = 2, .count = 2, .names = {"left", "pattern"}};
	KsCedarExpr *left;
	KsCedarExpr *node;

	if (!read_fields(reader, place, value, &fields))
		return NULL;
	left = read_expr(reader, &fields.places[0], &fields.values[0]);
	if (left == NULL)
		return NULL;
	node = make_node(reader, place, KS_CEDAR_LIKE, 1, &left);
	if (node == NULL || !read_pattern(reader, &fields.places[1], &fields.values[1], node))
		return NULL;
	return node;
}

static KsCedarExpr *
read_is(Reader *reader, const Place *place, const JsonbValue *value)
{
	Fields		fields = {.required = 2, .count = 3, .names = {"left", "entity_type", "in"}};
	KsCedarString type;
	KsCedarExpr *operands[2];
	KsCedarExpr *node;
	int			noperands = 1;

	if (!read_fields(reader, place, value, &fields) ||
		!read_type_name(reader, &fields.places[1], &fields.values[1], &type))
		return NULL;
	operands[0] = read_expr(reader, &fields.places[0], &fields.values[0]);
	if (operands[0] == NULL)
		return NULL;
	if (fields.found[2])
	{
		operands[noperands++] = read_expr(reader, &fields.places[2], &fields.values[2]);
		if (operands[1] == NULL)
			return NULL;
	}
	node = make_node(reader, place, KS_CEDAR_IS, noperands, operands);
	if (node != NULL)
		node->of.string = type;
	return node;
}

static KsCedarExpr *
read_set_of_exprs(Reader *reader, const Place *place, const JsonbValue *value)
{
	return read_set(reader, place, value, read_expr);
}

static KsCedarExpr *
read_record_of_exprs(Reader *reader, const Place *place, const JsonbValue *value)
{
	return read_record(reader, place, value, read_expr);
}

/* What is read in its own way. */
static const struct
{
	const char *name;
	ReadItem	read;
}			forms[] = {
	{"Value", read_literal},
	{"Var", read_var},
	{".", read_attribute},
	{"has", read_has},
	{"like", read_like},
	{"is", read_is},
	{"Set", read_set_of_exprs},
	{"Record", read_record_of_exprs},
};

/* Reads the member of an expression, by its name. */
static KsCedarExpr *
read_form(Reader *reader, const Place *place, const JsonbValue *key, const JsonbValue *value)
{
	const KsCedarOperator *operator;
	KsCedarFunction function;
	KsCedarExpr **operands;
	int			count;

	for (size_t i = 0; i < lengthof(forms); i++)
	{
		if (equals(key, forms[i].name))
			return forms[i].read(reader, place, value);
	}
	operator = ks_cedar_find_operator(key->val.string.val, (size_t) key->val.string.len);
	if (operator != NULL)
		return read_operator(reader, place, value, operator);
	if (!ks_cedar_find_function(string_of(key), &function))
		return fail(reader, place, equals(key, "Slot") ? NO_TEMPLATES : "there is no such operator");
	operands = read_array(reader, place, value, read_expr, &count);
	return operands != NULL ? make_call(reader, place, function, count, operands) : NULL;
}

static KsCedarExpr *
read_expr(Reader *reader, const Place *place, const JsonbValue *value)
{
	JsonbValue	key;
	JsonbValue	inner;
	KsCedarExpr *node;
	Place		member;

	if (!only_member(value, &key, &inner))
		return fail(reader, place, "an expression, an object of one member, must stand here");
	if (!descend(reader, place))
		return NULL;
	member = member_place(place, key.val.string.val, key.val.string.len);
	node = read_form(reader, &member, &key, &inner);
	reader->nesting--;
	return node;
}

/* What an operator of a scope is called in JSON. */
static const struct
{
	const char *name;
	KsCedarScopeOp op;
}			scope_ops[] = {
	{"All", KS_CEDAR_SCOPE_ALL},
	{"all", KS_CEDAR_SCOPE_ALL},
	{"==", KS_CEDAR_SCOPE_EQ},
	{"in", KS_CEDAR_SCOPE_IN},
	{"is", KS_CEDAR_SCOPE_IS},
};

/* An entity of a scope, which may be in an escape; added to the scope's. */
static bool
read_scope_uid(Reader *reader, const Place *place, const JsonbValue *value, bool is_action,
			   KsCedarScope *scope)
{
	KsCedarUid *uid = &scope->uids[scope->nuids++];
	Place		member = member_place(place, "__entity", (int) strlen("__entity"));
	JsonbValue	key;
	JsonbValue	inner;
	bool		escaped = only_member(value, &key, &inner) && equals(&key, "__entity");

	if (!read_uid(reader, escaped ? &member : place, escaped ? &inner : value, uid))
		return false;
	if (is_action && !ks_cedar_is_action(*uid))
		return fail(reader, place, "an entity of type Action must stand here") != NULL;
	return true;
}

static bool
read_scope_uids(Reader *reader, const Place *place, const JsonbValue *array, KsCedarScope *scope)
{
	JsonbIterator *iterator;
	JsonbValue	value;

	if (!is_array(array))
		return fail(reader, place, NOT_AN_ARRAY) != NULL;
	scope->uids = ks_cedar_alloc((size_t) size_of(array) * sizeof(KsCedarUid) + 1);
	iterator = begin_items(array);
	while (next_item(&iterator, NULL, &value))
	{
		Place		element = element_place(place, scope->nuids);

		if (!read_scope_uid(reader, &element, &value, true, scope))
			return false;
	}
	/* a set of one is that one, as in the text */
	if (scope->nuids != 1)
		scope->op = KS_CEDAR_SCOPE_IN_SET;
	return true;
}

/* What "is" has besides: entity_type, and in. */
static bool
read_scope_is(Reader *reader, const Fields *fields, KsCedarScope *scope)
{
	Fields		in = {.required = 1, .count = 1, .names = {"entity"}};

	if (!read_type_name(reader, &fields->places[3], &fields->values[3], &scope->type))
		return false;
	if (!fields->found[4])
		return true;
	scope->op = KS_CEDAR_SCOPE_IS_IN;
	scope->uids = ks_cedar_alloc(sizeof(KsCedarUid));
	return read_fields(reader, &fields->places[4], &fields->values[4], &in) &&
		read_scope_uid(reader, &in.places[0], &in.values[0], false, scope);
}

/* Which members an operator has, besides op; "in" has one of two. */
static bool
check_scope_fields(Reader *reader, const Place *place, const Fields *fields,
				   KsCedarScopeOp op, bool is_action)
{
	bool		entity = op == KS_CEDAR_SCOPE_EQ || op == KS_CEDAR_SCOPE_IN;
	bool		entities = op == KS_CEDAR_SCOPE_IN && is_action && fields->found[2];
	bool		is = op == KS_CEDAR_SCOPE_IS;

	if (is && is_action)
		return fail(reader, place, "the action has no \"is\"") != NULL;
	if (fields->found[1] != (entity && !entities) || fields->found[2] != entities ||
		fields->found[3] != is || (fields->found[4] && !is))
		return fail(reader, place, "these are not the members of such a constraint") != NULL;
	return true;
}

static bool
read_scope(Reader *reader, const Place *place, const JsonbValue *value, bool is_action,
		   KsCedarScope *scope)
{
	Fields		fields = {.required = 1, .count = 5,
	.names = {"op", "entity", "entities", "entity_type", "in"}};
	size_t		i = 0;

	if (!read_fields(reader, place, value, &fields))
		return false;
	while (i < lengthof(scope_ops) && !equals(&fields.values[0], scope_ops[i].name))
		i++;
	if (i == lengthof(scope_ops))
		return fail(reader, &fields.places[0], "there is no such operator") != NULL;
	scope->op = scope_ops[i].op;
	if (!check_scope_fields(reader, place, &fields, scope->op, is_action))
		return false;
	if (scope->op == KS_CEDAR_SCOPE_IS)
		return read_scope_is(reader, &fields, scope);
	if (fields.found[2])
		return read_scope_uids(reader, &fields.places[2], &fields.values[2], scope);
	if (!fields.found[1])
		return true;
	scope->uids = ks_cedar_alloc(sizeof(KsCedarUid));
	return read_scope_uid(reader, &fields.places[1], &fields.values[1], is_action, scope);
}

/* An object whose values are strings, or null for none. */
static bool
read_annotations(Reader *reader, const Place *place, const JsonbValue *object, KsCedarPolicy *policy)
{
	KsCedarAnnotation *annotations;
	JsonbIterator *iterator;
	JsonbValue	key;
	JsonbValue	value;
	int			count = 0;

	if (!is_object(object))
		return fail(reader, place, NOT_AN_OBJECT) != NULL;
	annotations = ks_cedar_alloc((size_t) size_of(object) * sizeof(KsCedarAnnotation) + 1);
	iterator = begin_items(object);
	while (next_item(&iterator, &key, &value))
	{
		Place		member = member_place(place, key.val.string.val, key.val.string.len);

		annotations[count].key = string_of(&key);
		if (!ks_cedar_is_word(annotations[count].key))
			return fail(reader, &member, "an annotation is not an identifier") != NULL;
		if (value.type != jbvNull &&
			!read_string(reader, &member, &value, &annotations[count].value))
			return false;
		count++;
	}
	return ks_cedar_set_annotations(policy, count, annotations, reader->error);
}

static bool
read_condition(Reader *reader, const Place *place, const JsonbValue *value,
			   KsCedarCondition *condition)
{
	Fields		fields = {.required = 2, .count = 2, .names = {"kind", "body"}};

	if (!read_fields(reader, place, value, &fields))
		return false;
	condition->unless = equals(&fields.values[0], "unless");
	if (!condition->unless && !equals(&fields.values[0], "when"))
		return fail(reader, &fields.places[0], "when or unless must stand here") != NULL;
	condition->body = read_expr(reader, &fields.places[1], &fields.values[1]);
	return condition->body != NULL;
}

static bool
read_conditions(Reader *reader, const Place *place, const JsonbValue *array, KsCedarPolicy *policy)
{
	JsonbIterator *iterator;
	JsonbValue	value;

	if (!is_array(array))
		return fail(reader, place, NOT_AN_ARRAY) != NULL;
	policy->conditions = ks_cedar_alloc((size_t) size_of(array) * sizeof(KsCedarCondition) + 1);
	iterator = begin_items(array);
	while (next_item(&iterator, NULL, &value))
	{
		Place		element = element_place(place, policy->nconditions);

		if (!read_condition(reader, &element, &value, &policy->conditions[policy->nconditions++]))
			return false;
	}
	return true;
}

static bool
read_policy(Reader *reader, const JsonbValue *value, KsCedarPolicy *policy)
{
	Fields		fields = {.required = 5, .count = 6,
	.names = {"effect", "principal", "action", "resource", "conditions", "annotations"}};

	if (!read_fields(reader, NULL, value, &fields))
		return false;
	policy->forbid = equals(&fields.values[0], "forbid");
	if (!policy->forbid && !equals(&fields.values[0], "permit"))
		return fail(reader, &fields.places[0], "permit or forbid must stand here") != NULL;
	return read_scope(reader, &fields.places[1], &fields.values[1], false, &policy->principal) &&
		read_scope(reader, &fields.places[2], &fields.values[2], true, &policy->action) &&
		read_scope(reader, &fields.places[3], &fields.values[3], false, &policy->resource) &&
		read_conditions(reader, &fields.places[4], &fields.values[4], policy) &&
		(!fields.found[5] ||
		 read_annotations(reader, &fields.places[5], &fields.values[5], policy));
}

static void
begin(Reader *reader, KsCedarError *error)
{
	memset(error, 0, sizeof(*error));
	error->position = -1;
	reader->error = error;
	reader->nesting = 0;
}

/* A document as a value. */
static JsonbValue
root_of(const Jsonb *json)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = unconstify(JsonbContainer *, &json->root);
	value.val.binary.len = (int) VARSIZE(json) - VARHDRSZ;
	return value;
}

KsCedarExpr *
ks_cedar_expr_from_value(const JsonbValue *value, KsCedarError *error)
{
	Reader		reader;

	begin(&reader, error);
	return read_expr(&reader, NULL, value);
}

KsCedarExpr *
ks_cedar_expr_from_json(const Jsonb *json, KsCedarError *error)
{
	JsonbValue	value = root_of(json);

	return ks_cedar_expr_from_value(&value, error);
}

KsCedarPolicy *
ks_cedar_policy_from_json(const Jsonb *json, KsCedarError *error)
{
	JsonbValue	value = root_of(json);
	KsCedarPolicy *policy = ks_cedar_alloc(sizeof(KsCedarPolicy));
	Reader		reader;

	begin(&reader, error);
	policy->id = ks_cedar_string("policy0", strlen("policy0"));
	policy->position = -1;
	return read_policy(&reader, &value, policy) ? policy : NULL;
}
