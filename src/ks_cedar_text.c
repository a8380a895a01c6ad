/*-------------------------------------------------------------------------
 *
 * ks_cedar_text.c
 *	  Cedar's text: its parser.
 *
 * Recursive descent with one token of lookahead, which the grammar needs at
 * most.  What nests in the source is counted, so the recursion is bounded; the
 * loops of operators are bounded by the depth of the tree that they make.
 * Each function reads what it is named for and stops at the token behind it;
 * it returns NULL or false after it noted a problem.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_cedar_text.h"

#include <stdio.h>

#include "ks_cedar_lex.h"

#define SIGNS_MAX	4			/* of "!" or "-" in a row */

#define RESERVED	"the identifier is reserved"
#define OUT_OF_RANGE "the integer is out of range"
#define NO_TEMPLATES "templates are not supported: a slot cannot stand here"

typedef struct Parser
{
	KsCedarLexer lexer;
	int			nesting;
} Parser;

/* Items that grow in number. */
typedef struct Items
{
	int			count;
	int			room;
	size_t		size;			/* of one */
	char	   *data;
} Items;

static KsCedarExpr *parse_expr(Parser *parser);

static void
add_item(Items *items, const void *item)
{
	if (items->count == items->room)
	{
		char	   *data;

		items->room = items->room > 0 ? 2 * items->room : 4;
		data = ks_cedar_alloc((size_t) items->room * items->size);
		if (items->count > 0)
			memcpy(data, items->data, (size_t) items->count * items->size);
		items->data = data;
	}
	memcpy(items->data + (size_t) items->count++ * items->size, item, items->size);
}

static bool
is(const Parser *parser, const char *symbol_or_word)
{
	return ks_cedar_lex_is(&parser->lexer, symbol_or_word);
}

static bool
is_token(const Parser *parser, KsCedarToken token)
{
	return parser->lexer.token == token;
}

static bool
next(Parser *parser)
{
	return ks_cedar_lex_next(&parser->lexer);
}

static void *
fail(Parser *parser, const char *problem)
{
	return ks_cedar_lex_fail(&parser->lexer, problem);
}

/* What stands here makes no sense. */
static void *
fail_unexpected(Parser *parser)
{
	switch (parser->lexer.token)
	{
		case KS_TOKEN_END:
			return fail(parser, "the text ends too early");
		case KS_TOKEN_SLOT:
			return fail(parser, NO_TEMPLATES);
		default:
			return fail(parser, "this is not expected here");
	}
}

static int
position_of(const Parser *parser)
{
	return (int) parser->lexer.start;
}

/* Reads a symbol or word that must stand here. */
static bool
expect(Parser *parser, const char *symbol_or_word)
{
	if (!is(parser, symbol_or_word))
		return fail_unexpected(parser) != NULL;
	return next(parser);
}

/* Reads a symbol or word if it stands here; *found says so. */
static bool
accept(Parser *parser, const char *symbol_or_word, bool *found)
{
	*found = is(parser, symbol_or_word);
	return !*found || next(parser);
}

static KsCedarExpr *
make_node(Parser *parser, KsCedarKind kind, int position, int noperands,
		  KsCedarExpr *const *operands)
{
	return ks_cedar_node(kind, position, noperands, operands, parser->lexer.error);
}

static KsCedarExpr *
make_unary(Parser *parser, KsCedarKind kind, int position, KsCedarExpr *operand)
{
	return make_node(parser, kind, position, 1, &operand);
}

static KsCedarExpr *
make_binary(Parser *parser, KsCedarKind kind, int position, KsCedarExpr *left, KsCedarExpr *right)
{
	KsCedarExpr *operands[] = {left, right};

	return make_node(parser, kind, position, 2, operands);
}

/* A copy of the identifier that stands here, which must not be reserved. */
static bool
parse_identifier(Parser *parser, KsCedarString *name)
{
	KsCedarString word = ks_cedar_lex_text(&parser->lexer);

	if (!is_token(parser, KS_TOKEN_WORD))
		return fail_unexpected(parser) != NULL;
	if (ks_cedar_is_reserved(word))
		return fail(parser, RESERVED) != NULL;
	*name = ks_cedar_string(word.data, word.len);
	return next(parser);
}

static bool
parse_string(Parser *parser, KsCedarString *value)
{
	if (!is_token(parser, KS_TOKEN_STRING))
		return fail_unexpected(parser) != NULL;
	return ks_cedar_lex_string(&parser->lexer, value) && next(parser);
}

/* An attribute's name as an identifier or a string. */
static bool
parse_key(Parser *parser, KsCedarString *key)
{
	return is_token(parser, KS_TOKEN_STRING) ? parse_string(parser, key) : parse_identifier(parser, key);
}

/* A::B; if id is not NULL, A::B::"id" too, and *is_uid says which. */
static bool
parse_path(Parser *parser, KsCedarString *path, KsCedarString *id, bool *is_uid)
{
	KsCedarString part;
	bool		more;

	if (!parse_identifier(parser, path))
		return false;
	if (id != NULL)
		*is_uid = false;
	for (;;)
	{
		char	   *longer;

		if (!accept(parser, "::", &more))
			return false;
		if (!more)
			return true;
		if (id != NULL && is_token(parser, KS_TOKEN_STRING))
		{
			*is_uid = true;
			return parse_string(parser, id);
		}
		if (!parse_identifier(parser, &part))
			return false;
		longer = ks_cedar_alloc(path->len + 2 + part.len + 1);
		memcpy(longer, path->data, path->len);
		memcpy(longer + path->len, "::", 2);
		memcpy(longer + path->len + 2, part.data, part.len);
		path->data = longer;
		path->len += 2 + part.len;
	}
}

/* Expressions with commas between, up to the closing symbol and it. */
static bool
parse_list(Parser *parser, const char *closing, Items *items)
{
	while (!is(parser, closing))
	{
		KsCedarExpr *item = parse_expr(parser);

		if (item == NULL)
			return false;
		add_item(items, &item);
		if (!is(parser, closing) && !expect(parser, ","))
			return false;
	}
	return next(parser);
}

static KsCedarExpr *
parse_set(Parser *parser)
{
	Items		items = {.size = sizeof(KsCedarExpr *)};
	int			position = position_of(parser);

	if (!next(parser) || !parse_list(parser, "]", &items))
		return NULL;
	return make_node(parser, KS_CEDAR_SET, position, items.count, (KsCedarExpr **) items.data);
}

static KsCedarExpr *
parse_record(Parser *parser)
{
	Items		keys = {.size = sizeof(KsCedarString)};
	Items		values = {.size = sizeof(KsCedarExpr *)};
	int			position = position_of(parser);

	if (!next(parser))
		return NULL;
	while (!is(parser, "}"))
	{
		KsCedarString key;
		KsCedarExpr *value;

		if (!parse_key(parser, &key) || !expect(parser, ":") || (value = parse_expr(parser)) == NULL)
			return NULL;
		add_item(&keys, &key);
		add_item(&values, &value);
		if (!is(parser, "}") && !expect(parser, ","))
			return NULL;
	}
	if (!next(parser))
		return NULL;
	return ks_cedar_record(position, values.count, (KsCedarString *) keys.data,
						   (KsCedarExpr **) values.data, parser->lexer.error);
}

static KsCedarExpr *
parse_parentheses(Parser *parser)
{
	KsCedarExpr *inner;

	if (!next(parser) || (inner = parse_expr(parser)) == NULL || !expect(parser, ")"))
		return NULL;
	return inner;
}

/* The call of a function, whose name was read. */
static KsCedarExpr *
parse_call(Parser *parser, KsCedarString name, int position)
{
	Items		items = {.size = sizeof(KsCedarExpr *)};
	KsCedarFunction function;
	KsCedarExpr *node;

	if (!ks_cedar_find_function(name, &function) || ks_cedar_functions[function].method)
		return ks_cedar_fail(parser->lexer.error, "there is no such function", position);
	if (!next(parser) || !parse_list(parser, ")", &items))
		return NULL;
	node = make_node(parser, KS_CEDAR_CALL, position, items.count, (KsCedarExpr **) items.data);
	if (node != NULL)
		node->of.function = function;
	return node;
}

/* A variable, an entity, or the call of a function. */
static KsCedarExpr *
parse_name(Parser *parser)
{
	int			position = position_of(parser);
	KsCedarString path;
	KsCedarString id;
	bool		is_uid;
	KsCedarExpr *node;

	if (!parse_path(parser, &path, &id, &is_uid))
		return NULL;
	if (is_uid)
	{
		node = make_node(parser, KS_CEDAR_ENTITY, position, 0, NULL);
		node->of.uid.type = path;
		node->of.uid.id = id;
		return node;
	}
	if (is(parser, "("))
		return parse_call(parser, path, position);
	for (int i = 0; i < KS_CEDAR_VARS; i++)
	{
		if (strcmp(path.data, ks_cedar_vars[i]) == 0)
		{
			node = make_node(parser, KS_CEDAR_VAR, position, 0, NULL);
			node->of.var = (KsCedarVar) i;
			return node;
		}
	}
	return ks_cedar_fail(parser->lexer.error, "there is no such variable", position);
}

static KsCedarExpr *
parse_boolean(Parser *parser)
{
	KsCedarExpr *node = make_node(parser, KS_CEDAR_BOOL, position_of(parser), 0, NULL);

	node->of.boolean = is(parser, "true");
	return next(parser) ? node : NULL;
}

static bool
access_follows(const Parser *parser)
{
	return is(parser, ".") || is(parser, "[") || is(parser, "(");
}

/*
 * An integer.  A "-" before it is part of it unless something of it is
 * accessed: *minus says that there is one, and then whether it is left over.
 */
static KsCedarExpr *
parse_integer(Parser *parser, bool *minus)
{
	KsCedarExpr *node = make_node(parser, KS_CEDAR_LONG, position_of(parser), 0, NULL);
	uint64		value;
	bool		negative;

	if (!ks_cedar_lex_number(&parser->lexer, &value) || !next(parser))
		return NULL;
	negative = *minus && !access_follows(parser);
	if (negative)
		*minus = false;
	if (value > (uint64) INT64_MAX + (negative ? 1 : 0))
		return ks_cedar_fail(parser->lexer.error, OUT_OF_RANGE, node->position);
	node->of.integer = negative ? (int64) (0 - value) : (int64) value;
	return node;
}

static KsCedarExpr *
parse_primary(Parser *parser, bool *minus)
{
	if (is(parser, "true") || is(parser, "false"))
		return parse_boolean(parser);
	if (is_token(parser, KS_TOKEN_NUMBER))
		return parse_integer(parser, minus);
	if (is_token(parser, KS_TOKEN_STRING))
	{
		KsCedarExpr *node = make_node(parser, KS_CEDAR_STRING, position_of(parser), 0, NULL);

		return parse_string(parser, &node->of.string) ? node : NULL;
	}
	if (is(parser, "("))
		return parse_parentheses(parser);
	if (is(parser, "["))
		return parse_set(parser);
	if (is(parser, "{"))
		return parse_record(parser);
	if (is_token(parser, KS_TOKEN_WORD))
		return parse_name(parser);
	return fail_unexpected(parser);
}

/* The call of a method, whose object and name were read. */
static KsCedarExpr *
parse_method(Parser *parser, KsCedarExpr *object, KsCedarString name, int position)
{
	Items		items = {.size = sizeof(KsCedarExpr *)};
	const KsCedarOperator *operator = ks_cedar_find_operator(name.data, name.len);
	KsCedarFunction function;
	KsCedarExpr *node;

	add_item(&items, &object);
	if (!next(parser) || !parse_list(parser, ")", &items))
		return NULL;
	if (operator != NULL && operator->method)
	{
		if (items.count != operator->noperands)
			return ks_cedar_fail(parser->lexer.error, "the method has another number of arguments", position);
		return make_node(parser, operator->kind, position, items.count, (KsCedarExpr **) items.data);
	}
	if (!ks_cedar_find_function(name, &function) || !ks_cedar_functions[function].method)
		return ks_cedar_fail(parser->lexer.error, "there is no such method", position);
	node = make_node(parser, KS_CEDAR_CALL, position, items.count, (KsCedarExpr **) items.data);
	if (node != NULL)
		node->of.function = function;
	return node;
}

/* .name, .name(...) or ["name"] of an object. */
static KsCedarExpr *
parse_access(Parser *parser, KsCedarExpr *object)
{
	KsCedarString name;
	KsCedarExpr *node;
	int			position = position_of(parser);

	if (is(parser, "["))
	{
		if (!next(parser) || !parse_string(parser, &name) || !expect(parser, "]"))
			return NULL;
	}
	else
	{
		if (!expect(parser, "."))
			return NULL;
		position = position_of(parser);
		if (!parse_identifier(parser, &name))
			return NULL;
		if (is(parser, "("))
			return parse_method(parser, object, name, position);
	}
	node = make_unary(parser, KS_CEDAR_GET_ATTR, position, object);
	if (node != NULL)
		node->of.string = name;
	return node;
}

static KsCedarExpr *
parse_member(Parser *parser, bool *minus)
{
	KsCedarExpr *node = parse_primary(parser, minus);

	while (node != NULL && access_follows(parser))
		node = parse_access(parser, node);
	return node;
}

/* Up to four "!", or up to four "-". */
static KsCedarExpr *
parse_unary(Parser *parser)
{
	int			position = position_of(parser);
	bool		negate = is(parser, "!");
	const char *sign = negate ? "!" : "-";
	int			signs = 0;
	bool		minus;
	bool		has_minus;
	KsCedarExpr *node;

	while (is(parser, sign))
	{
		if (++signs > SIGNS_MAX)
			return fail(parser, "there are more than four signs in a row");
		if (!next(parser))
			return NULL;
	}
	has_minus = minus = signs > 0 && !negate;
	node = parse_member(parser, &minus);
	if (has_minus && !minus)
		signs--;
	while (node != NULL && signs-- > 0)
		node = make_unary(parser, negate ? KS_CEDAR_NOT : KS_CEDAR_NEG, position, node);
	return node;
}

static KsCedarExpr *
parse_product(Parser *parser)
{
	KsCedarExpr *left = parse_unary(parser);

	while (left != NULL && is(parser, "*"))
	{
		int			position = position_of(parser);
		KsCedarExpr *right;

		if (!next(parser) || (right = parse_unary(parser)) == NULL)
			return NULL;
		left = make_binary(parser, KS_CEDAR_MUL, position, left, right);
	}
	return left;
}

static KsCedarExpr *
parse_sum(Parser *parser)
{
	KsCedarExpr *left = parse_product(parser);

	while (left != NULL && (is(parser, "+") || is(parser, "-")))
	{
		KsCedarKind kind = is(parser, "+") ? KS_CEDAR_ADD : KS_CEDAR_SUB;
		int			position = position_of(parser);
		KsCedarExpr *right;

		if (!next(parser) || (right = parse_product(parser)) == NULL)
			return NULL;
		left = make_binary(parser, kind, position, left, right);
	}
	return left;
}

/* What follows "has": an attribute as a string, or a path of identifiers. */
static KsCedarExpr *
parse_has(Parser *parser, KsCedarExpr *left, int position)
{
	Items		path = {.size = sizeof(KsCedarString)};
	KsCedarString attribute;
	KsCedarExpr *node;
	bool		more = is_token(parser, KS_TOKEN_WORD);

	if (!parse_key(parser, &attribute))
		return NULL;
	add_item(&path, &attribute);
	while (more)
	{
		if (!accept(parser, ".", &more))
			return NULL;
		if (!more)
			break;
		if (!parse_identifier(parser, &attribute))
			return NULL;
		add_item(&path, &attribute);
	}
	node = make_unary(parser, KS_CEDAR_HAS_ATTR, position, left);
	if (node != NULL)
		ks_cedar_set_list(node, path.count, (KsCedarString *) path.data);
	return node;
}

static KsCedarExpr *
parse_like(Parser *parser, KsCedarExpr *left, int position)
{
	KsCedarExpr *node = make_unary(parser, KS_CEDAR_LIKE, position, left);

	if (node == NULL)
		return NULL;
	if (!is_token(parser, KS_TOKEN_STRING))
		return fail_unexpected(parser);
	if (!ks_cedar_lex_pattern(&parser->lexer, &node->nlist, &node->of.list) || !next(parser))
		return NULL;
	return node;
}

static KsCedarExpr *
parse_is(Parser *parser, KsCedarExpr *left, int position)
{
	KsCedarString type;
	KsCedarExpr *right;
	KsCedarExpr *node;
	bool		in;

	if (!parse_path(parser, &type, NULL, NULL) || !accept(parser, "in", &in))
		return NULL;
	if (!in)
		node = make_unary(parser, KS_CEDAR_IS, position, left);
	else if ((right = parse_sum(parser)) == NULL)
		return NULL;
	else
		node = make_binary(parser, KS_CEDAR_IS, position, left, right);
	if (node != NULL)
		node->of.string = type;
	return node;
}

static const struct
{
	const char *name;
	KsCedarKind kind;
}			relations[] = {
	{"==", KS_CEDAR_EQ},
	{"!=", KS_CEDAR_NE},
	{"<", KS_CEDAR_LT},
	{"<=", KS_CEDAR_LE},
	{">", KS_CEDAR_GT},
	{">=", KS_CEDAR_GE},
	{"in", KS_CEDAR_IN},
	{"has", KS_CEDAR_HAS_ATTR},
	{"like", KS_CEDAR_LIKE},
	{"is", KS_CEDAR_IS},
};

static bool
find_relation(const Parser *parser, KsCedarKind *kind)
{
	for (size_t i = 0; i < lengthof(relations); i++)
	{
		if (is(parser, relations[i].name))
		{
			*kind = relations[i].kind;
			return true;
		}
	}
	return false;
}

/* One relation at most: they do not associate. */
static KsCedarExpr *
parse_relation(Parser *parser)
{
	KsCedarExpr *left = parse_sum(parser);
	KsCedarExpr *right;
	int			position = position_of(parser);
	KsCedarKind kind;

	if (left == NULL || !find_relation(parser, &kind))
		return left;
	if (!next(parser))
		return NULL;
	if (kind == KS_CEDAR_HAS_ATTR)
		left = parse_has(parser, left, position);
	else if (kind == KS_CEDAR_LIKE)
		left = parse_like(parser, left, position);
	else if (kind == KS_CEDAR_IS)
		left = parse_is(parser, left, position);
	else
	{
		if ((right = parse_sum(parser)) == NULL)
			return NULL;
		left = make_binary(parser, kind, position, left, right);
	}
	if (left != NULL && find_relation(parser, &kind))
		return fail(parser, "relations in a row need parentheses");
	return left;
}

/* && binds closer than ||. */
static KsCedarExpr *
parse_and(Parser *parser)
{
	KsCedarExpr *left = parse_relation(parser);

	while (left != NULL && is(parser, "&&"))
	{
		int			position = position_of(parser);
		KsCedarExpr *right;

		if (!next(parser) || (right = parse_relation(parser)) == NULL)
			return NULL;
		left = make_binary(parser, KS_CEDAR_AND, position, left, right);
	}
	return left;
}

static KsCedarExpr *
parse_or(Parser *parser)
{
	KsCedarExpr *left = parse_and(parser);

	while (left != NULL && is(parser, "||"))
	{
		int			position = position_of(parser);
		KsCedarExpr *right;

		if (!next(parser) || (right = parse_and(parser)) == NULL)
			return NULL;
		left = make_binary(parser, KS_CEDAR_OR, position, left, right);
	}
	return left;
}

static KsCedarExpr *
parse_if(Parser *parser)
{
	static const char *const words[] = {"if", "then", "else"};
	KsCedarExpr *operands[3];
	int			position = position_of(parser);

	for (int i = 0; i < 3; i++)
	{
		if (!expect(parser, words[i]) || (operands[i] = parse_expr(parser)) == NULL)
			return NULL;
	}
	return make_node(parser, KS_CEDAR_IF, position, 3, operands);
}

static KsCedarExpr *
parse_expr(Parser *parser)
{
	KsCedarExpr *expr;

	ks_cedar_check_stack();
	if (parser->nesting >= KS_CEDAR_DEPTH_MAX)
		return fail(parser, "the expression nests too deep");
	parser->nesting++;
	expr = is(parser, "if") ? parse_if(parser) : parse_or(parser);
	parser->nesting--;
	return expr;
}

static bool
parse_scope_uid(Parser *parser, bool is_action, Items *uids)
{
	KsCedarUid	uid;
	bool		is_uid;
	int			position = position_of(parser);

	if (!parse_path(parser, &uid.type, &uid.id, &is_uid))
		return false;
	if (!is_uid)
		return ks_cedar_fail(parser->lexer.error, "an entity must stand here", position) != NULL;
	if (is_action && !ks_cedar_is_action(uid))
		return ks_cedar_fail(parser->lexer.error, "an entity of type Action must stand here", position) != NULL;
	add_item(uids, &uid);
	return true;
}

/* [A, B], for actions. */
static bool
parse_scope_set(Parser *parser, Items *uids)
{
	if (!next(parser))
		return false;
	while (!is(parser, "]"))
	{
		if (!parse_scope_uid(parser, true, uids) || (!is(parser, "]") && !expect(parser, ",")))
			return false;
	}
	return next(parser);
}

/* An entity, or a set where it may be one, with any parentheses around it. */
static bool
parse_scope_value(Parser *parser, bool is_action, bool set_allowed, Items *uids)
{
	int			open = 0;

	for (; is(parser, "("); open++)
	{
		if (!next(parser))
			return false;
	}
	if (set_allowed && is(parser, "["))
	{
		if (!parse_scope_set(parser, uids))
			return false;
	}
	else if (!parse_scope_uid(parser, is_action, uids))
		return false;
	for (; open > 0; open--)
	{
		if (!expect(parser, ")"))
			return false;
	}
	return true;
}

/* What follows the variable. */
static bool
parse_constraint(Parser *parser, bool is_action, KsCedarScope *scope, Items *uids)
{
	bool		found;

	if (!accept(parser, "==", &found))
		return false;
	if (found)
	{
		scope->op = KS_CEDAR_SCOPE_EQ;
		return parse_scope_value(parser, is_action, false, uids);
	}
	if (!is_action)
	{
		if (!accept(parser, "is", &found))
			return false;
		if (found)
		{
			scope->op = KS_CEDAR_SCOPE_IS;
			if (!parse_path(parser, &scope->type, NULL, NULL))
				return false;
		}
	}
	if (!is(parser, "in"))
		return true;
	if (!next(parser))
		return false;
	scope->op = scope->op == KS_CEDAR_SCOPE_IS ? KS_CEDAR_SCOPE_IS_IN : KS_CEDAR_SCOPE_IN;
	if (!parse_scope_value(parser, is_action, is_action, uids))
		return false;
	/* a set of one is that one, as in the JSON form */
	if (uids->count != 1)
		scope->op = KS_CEDAR_SCOPE_IN_SET;
	return true;
}

static bool
parse_scope(Parser *parser, const char *variable, KsCedarScope *scope)
{
	Items		uids = {.size = sizeof(KsCedarUid)};

	if (!expect(parser, variable) ||
		!parse_constraint(parser, strcmp(variable, "action") == 0, scope, &uids))
		return false;
	scope->nuids = uids.count;
	scope->uids = (KsCedarUid *) uids.data;
	return true;
}

/* @key("value"), or @key; a key may be any word. */
static bool
parse_annotations(Parser *parser, KsCedarPolicy *policy)
{
	Items		items = {.size = sizeof(KsCedarAnnotation)};

	while (is(parser, "@"))
	{
		KsCedarAnnotation annotation = {{NULL, 0}, {NULL, 0}};
		KsCedarString key;
		bool		found;

		if (!next(parser))
			return false;
		if (!is_token(parser, KS_TOKEN_WORD))
			return fail_unexpected(parser) != NULL;
		key = ks_cedar_lex_text(&parser->lexer);
		annotation.key = ks_cedar_string(key.data, key.len);
		if (!next(parser) || !accept(parser, "(", &found))
			return false;
		if (found && (!parse_string(parser, &annotation.value) || !expect(parser, ")")))
			return false;
		add_item(&items, &annotation);
	}
	return ks_cedar_set_annotations(policy, items.count, (KsCedarAnnotation *) items.data,
									parser->lexer.error);
}

/* when {...} and unless {...}, any number. */
static bool
parse_conditions(Parser *parser, KsCedarPolicy *policy)
{
	Items		items = {.size = sizeof(KsCedarCondition)};

	while (is(parser, "when") || is(parser, "unless"))
	{
		KsCedarCondition condition = {.unless = is(parser, "unless")};

		if (!next(parser) || !expect(parser, "{"))
			return false;
		condition.body = parse_expr(parser);
		if (condition.body == NULL || !expect(parser, "}"))
			return false;
		add_item(&items, &condition);
	}
	policy->nconditions = items.count;
	policy->conditions = (KsCedarCondition *) items.data;
	return true;
}

static bool
parse_policy(Parser *parser, KsCedarPolicy *policy)
{
	bool		found;

	policy->position = position_of(parser);
	if (!parse_annotations(parser, policy))
		return false;
	policy->forbid = is(parser, "forbid");
	if (!expect(parser, policy->forbid ? "forbid" : "permit") || !expect(parser, "("))
		return false;
	return parse_scope(parser, "principal", &policy->principal) && expect(parser, ",") &&
		parse_scope(parser, "action", &policy->action) && expect(parser, ",") &&
		parse_scope(parser, "resource", &policy->resource) && accept(parser, ",", &found) &&
		expect(parser, ")") && parse_conditions(parser, policy) && expect(parser, ";");
}

static bool
begin(Parser *parser, const char *text, size_t len, KsCedarError *error)
{
	memset(error, 0, sizeof(*error));
	error->position = -1;
	parser->nesting = 0;
	return ks_cedar_lex_begin(&parser->lexer, text, len, error);
}

KsCedarPolicies *
ks_cedar_parse(const char *text, size_t len, KsCedarError *error)
{
	Items		items = {.size = sizeof(KsCedarPolicy)};
	KsCedarPolicies *policies;
	Parser		parser;

	if (!begin(&parser, text, len, error))
		return NULL;
	while (!is_token(&parser, KS_TOKEN_END))
	{
		KsCedarPolicy policy = {.forbid = false};
		char		id[32];
		int			id_len = snprintf(id, sizeof(id), "policy%d", items.count);

		policy.id = ks_cedar_string(id, (size_t) id_len);
		if (!parse_policy(&parser, &policy))
			return NULL;
		add_item(&items, &policy);
	}
	policies = ks_cedar_alloc(sizeof(KsCedarPolicies));
	policies->npolicies = items.count;
	policies->policies = (KsCedarPolicy *) items.data;
	return policies;
}

KsCedarExpr *
ks_cedar_parse_expr(const char *text, size_t len, KsCedarError *error)
{
	KsCedarExpr *expr;
	Parser		parser;

	if (!begin(&parser, text, len, error))
		return NULL;
	expr = parse_expr(&parser);
	if (expr != NULL && !is_token(&parser, KS_TOKEN_END))
		return fail_unexpected(&parser);
	return expr;
}
