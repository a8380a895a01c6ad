/*-------------------------------------------------------------------------
 *
 * ks_cedar_ast.c
 *	  Makers of Cedar's trees, and what their names may be.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_cedar_ast.h"

#include <stdlib.h>

#ifndef KS_FRONTEND
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "ks_error.h"
#endif

/* In the order of KsCedarFunction. */
const KsCedarFunctionInfo ks_cedar_functions[KS_CEDAR_FUNCTIONS] = {
	{"ip", false, 1},
	{"decimal", false, 1},
	{"datetime", false, 1},
	{"duration", false, 1},

	{"isIpv4", true, 1},
	{"isIpv6", true, 1},
	{"isLoopback", true, 1},
	{"isMulticast", true, 1},
	{"isInRange", true, 2},

	{"lessThan", true, 2},
	{"lessThanOrEqual", true, 2},
	{"greaterThan", true, 2},
	{"greaterThanOrEqual", true, 2},

	{"offset", true, 2},
	{"durationSince", true, 2},
	{"toDate", true, 1},
	{"toTime", true, 1},
	{"toMilliseconds", true, 1},
	{"toSeconds", true, 1},
	{"toMinutes", true, 1},
	{"toHours", true, 1},
	{"toDays", true, 1},
};

const KsCedarOperator ks_cedar_operators[KS_CEDAR_OPERATORS] = {
	{KS_CEDAR_NOT, "!", false, 1, {"arg"}},
	{KS_CEDAR_NEG, "neg", false, 1, {"arg"}},
	{KS_CEDAR_AND, "&&", false, 2, {"left", "right"}},
	{KS_CEDAR_OR, "||", false, 2, {"left", "right"}},
	{KS_CEDAR_EQ, "==", false, 2, {"left", "right"}},
	{KS_CEDAR_NE, "!=", false, 2, {"left", "right"}},
	{KS_CEDAR_LT, "<", false, 2, {"left", "right"}},
	{KS_CEDAR_LE, "<=", false, 2, {"left", "right"}},
	{KS_CEDAR_GT, ">", false, 2, {"left", "right"}},
	{KS_CEDAR_GE, ">=", false, 2, {"left", "right"}},
	{KS_CEDAR_ADD, "+", false, 2, {"left", "right"}},
	{KS_CEDAR_SUB, "-", false, 2, {"left", "right"}},
	{KS_CEDAR_MUL, "*", false, 2, {"left", "right"}},
	{KS_CEDAR_IN, "in", false, 2, {"left", "right"}},
	{KS_CEDAR_IS_EMPTY, "isEmpty", true, 1, {"arg"}},
	{KS_CEDAR_CONTAINS, "contains", true, 2, {"left", "right"}},
	{KS_CEDAR_CONTAINS_ALL, "containsAll", true, 2, {"left", "right"}},
	{KS_CEDAR_CONTAINS_ANY, "containsAny", true, 2, {"left", "right"}},
	{KS_CEDAR_GET_TAG, "getTag", true, 2, {"left", "right"}},
	{KS_CEDAR_HAS_TAG, "hasTag", true, 2, {"left", "right"}},
	{KS_CEDAR_IF, "if-then-else", false, 3, {"if", "then", "else"}},
};

/* In the order of KsCedarVar. */
const char *const ks_cedar_vars[KS_CEDAR_VARS] = {"principal", "action", "resource", "context"};

/* Identifiers that name no attribute or type. */
static const char *const reserved[] = {
	"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"
};

#ifdef KS_FRONTEND

/* What was allocated last, and through it all before it. */
typedef union Chunk
{
	union Chunk *next;
	max_align_t align;
} Chunk;

static Chunk *chunks = NULL;

void *
ks_cedar_alloc(size_t n)
{
	Chunk	   *chunk = calloc(1, sizeof(Chunk) + n);

	if (chunk == NULL)
		abort();
	chunk->next = chunks;
	chunks = chunk;
	return chunk + 1;
}

void
ks_cedar_release(void)
{
	while (chunks != NULL)
	{
		Chunk	   *next = chunks->next;

		free(chunks);
		chunks = next;
	}
}

void
ks_cedar_check_stack(void)
{
	/* depths are bounded anyway */
}

#else							/* the server */

void *
ks_cedar_alloc(size_t n)
{
	return palloc0(n);
}

void
ks_cedar_check_stack(void)
{
	check_stack_depth();
}

/*
 * Line and column of a position, both from 1; columns count characters.
 */
static char *
describe_position(const char *text, int position)
{
	int			line = 1;
	int			column = 1;

	for (int i = 0; i < position && text[i] != '\0'; i++)
	{
		if (text[i] == '\n')
		{
			line++;
			column = 1;
		}
		else if ((text[i] & 0xC0) != 0x80)
			column++;
	}
	return psprintf("Line %d, column %d", line, column);
}

void
ks_cedar_raise(const char *parameter, const char *text, const KsCedarError *error)
{
	const char *where = "";

	if (error->position >= 0 && text != NULL)
		where = describe_position(text, error->position);
	else if (error->where != NULL)
		where = ks_escape_control(error->where);

	ks_error_invalid(parameter, "valid Cedar",
					 psprintf("%s%s%s.", where, where[0] != '\0' ? ": " : "", error->problem));
}

#endif							/* KS_FRONTEND */

void *
ks_cedar_fail(KsCedarError *error, const char *problem, int position)
{
	if (error->problem == NULL)
	{
		error->problem = problem;
		error->position = position;
	}
	return NULL;
}

/* A copy. */
KsCedarString
ks_cedar_string(const char *data, size_t len)
{
	char	   *copy = ks_cedar_alloc(len + 1);
	KsCedarString string = {copy, len};

	if (len > 0)
		memcpy(copy, data, len);
	return string;
}

bool
ks_cedar_string_equal(KsCedarString a, KsCedarString b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* In order of bytes, as strcmp() says it. */
int
ks_cedar_string_compare(KsCedarString a, KsCedarString b)
{
	size_t		len = a.len < b.len ? a.len : b.len;
	int			order = len > 0 ? memcmp(a.data, b.data, len) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static bool
equals_constant(KsCedarString string, const char *constant)
{
	return strlen(constant) == string.len && memcmp(string.data, constant, string.len) == 0;
}

KsCedarExpr *
ks_cedar_node(KsCedarKind kind, int position, int noperands,
			  KsCedarExpr *const *operands, KsCedarError *error)
{
	KsCedarExpr *node;
	int			depth = 0;

	for (int i = 0; i < noperands; i++)
	{
		if (operands[i]->depth > depth)
			depth = operands[i]->depth;
	}
	if (depth >= KS_CEDAR_DEPTH_MAX)
		return ks_cedar_fail(error, "the expression nests too deep", position);

	node = ks_cedar_alloc(sizeof(KsCedarExpr));
	node->kind = kind;
	node->depth = depth + 1;
	node->position = position;
	node->noperands = noperands;
	if (noperands > 0)
	{
		node->operands = ks_cedar_alloc((size_t) noperands * sizeof(KsCedarExpr *));
		memcpy(node->operands, operands, (size_t) noperands * sizeof(KsCedarExpr *));
	}
	return node;
}

void
ks_cedar_set_list(KsCedarExpr *node, int nlist, const KsCedarString *list)
{
	node->nlist = nlist;
	node->of.list = ks_cedar_alloc((size_t) nlist * sizeof(KsCedarString) + 1);
	if (nlist > 0)
		memcpy(node->of.list, list, (size_t) nlist * sizeof(KsCedarString));
}

/* A member of a record, while it is sorted. */
typedef struct Member
{
	KsCedarString key;
	KsCedarExpr *value;
} Member;

static int
compare_members(const void *a, const void *b)
{
	return ks_cedar_string_compare(((const Member *) a)->key, ((const Member *) b)->key);
}

KsCedarExpr *
ks_cedar_record(int position, int nmembers, const KsCedarString *keys,
				KsCedarExpr *const *values, KsCedarError *error)
{
	Member	   *members = ks_cedar_alloc((size_t) nmembers * sizeof(Member) + 1);
	KsCedarExpr *node = ks_cedar_node(KS_CEDAR_RECORD, position, nmembers, values, error);

	if (node == NULL)
		return NULL;
	for (int i = 0; i < nmembers; i++)
	{
		members[i].key = keys[i];
		members[i].value = values[i];
	}
	if (nmembers > 1)
		qsort(members, (size_t) nmembers, sizeof(Member), compare_members);

	ks_cedar_set_list(node, nmembers, keys);
	for (int i = 0; i < nmembers; i++)
	{
		if (i > 0 && ks_cedar_string_equal(members[i - 1].key, members[i].key))
			return ks_cedar_fail(error, "a key of the record comes twice", members[i].value->position);
		node->of.list[i] = members[i].key;
		node->operands[i] = members[i].value;
	}
	return node;
}

static int
compare_annotations(const void *a, const void *b)
{
	return ks_cedar_string_compare(((const KsCedarAnnotation *) a)->key,
								   ((const KsCedarAnnotation *) b)->key);
}

bool
ks_cedar_set_annotations(KsCedarPolicy *policy, int nannotations,
						 const KsCedarAnnotation *annotations, KsCedarError *error)
{
	size_t		size = (size_t) nannotations * sizeof(KsCedarAnnotation);

	policy->nannotations = nannotations;
	if (nannotations == 0)
		return true;

	policy->annotations = ks_cedar_alloc(size);
	memcpy(policy->annotations, annotations, size);
	qsort(policy->annotations, (size_t) nannotations, sizeof(KsCedarAnnotation), compare_annotations);
	for (int i = 1; i < nannotations; i++)
	{
		if (compare_annotations(&policy->annotations[i - 1], &policy->annotations[i]) == 0)
		{
			ks_cedar_fail(error, "an annotation comes twice", policy->position);
			return false;
		}
	}
	return true;
}

const KsCedarOperator *
ks_cedar_operator_of(KsCedarKind kind)
{
	for (size_t i = 0; i < lengthof(ks_cedar_operators); i++)
	{
		if (ks_cedar_operators[i].kind == kind)
			return &ks_cedar_operators[i];
	}
	return NULL;
}

const KsCedarOperator *
ks_cedar_find_operator(const char *name, size_t len)
{
	for (size_t i = 0; i < lengthof(ks_cedar_operators); i++)
	{
		if (strlen(ks_cedar_operators[i].name) == len && memcmp(ks_cedar_operators[i].name, name, len) == 0)
			return &ks_cedar_operators[i];
	}
	return NULL;
}

bool
ks_cedar_find_function(KsCedarString name, KsCedarFunction *function)
{
	for (size_t i = 0; i < lengthof(ks_cedar_functions); i++)
	{
		if (equals_constant(name, ks_cedar_functions[i].name))
		{
			*function = (KsCedarFunction) i;
			return true;
		}
	}
	return false;
}

bool
ks_cedar_is_reserved(KsCedarString name)
{
	for (size_t i = 0; i < lengthof(reserved); i++)
	{
		if (equals_constant(name, reserved[i]))
			return true;
	}
	return false;
}

/* Whether it has the form of an identifier; it may be reserved. */
bool
ks_cedar_is_word(KsCedarString name)
{
	for (size_t i = 0; i < name.len; i++)
	{
		char		c = name.data[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_')
			continue;
		if (i > 0 && c >= '0' && c <= '9')
			continue;
		return false;
	}
	return name.len > 0;
}

bool
ks_cedar_is_identifier(KsCedarString name)
{
	return ks_cedar_is_word(name) && !ks_cedar_is_reserved(name);
}

bool
ks_cedar_is_path(KsCedarString name)
{
	size_t		start = 0;

	for (size_t i = 0; i <= name.len; i++)
	{
		KsCedarString part = {name.data + start, i - start};

		if (i < name.len && name.data[i] != ':')
			continue;
		if (!ks_cedar_is_identifier(part))
			return false;
		if (i == name.len)
			return true;
		if (i + 1 >= name.len || name.data[++i] != ':')
			return false;
		start = i + 1;
	}
	return false;
}

bool
ks_cedar_is_action(KsCedarUid uid)
{
	size_t		len = strlen("Action");

	if (uid.type.len < len || memcmp(uid.type.data + uid.type.len - len, "Action", len) != 0)
		return false;
	return uid.type.len == len || uid.type.data[uid.type.len - len - 1] == ':';
}

static bool
uid_equal(KsCedarUid a, KsCedarUid b)
{
	return ks_cedar_string_equal(a.type, b.type) && ks_cedar_string_equal(a.id, b.id);
}

/* Whether what a kind has besides operands is the same. */
static bool
content_equal(const KsCedarExpr *a, const KsCedarExpr *b)
{
	switch (a->kind)
	{
		case KS_CEDAR_BOOL:
			return a->of.boolean == b->of.boolean;
		case KS_CEDAR_LONG:
			return a->of.integer == b->of.integer;
		case KS_CEDAR_STRING:
		case KS_CEDAR_GET_ATTR:
		case KS_CEDAR_IS:
			return ks_cedar_string_equal(a->of.string, b->of.string);
		case KS_CEDAR_ENTITY:
			return uid_equal(a->of.uid, b->of.uid);
		case KS_CEDAR_VAR:
			return a->of.var == b->of.var;
		case KS_CEDAR_CALL:
			return a->of.function == b->of.function;
		default:
			break;
	}
	for (int i = 0; i < a->nlist; i++)
	{
		if (!ks_cedar_string_equal(a->of.list[i], b->of.list[i]))
			return false;
	}
	return true;
}

bool
ks_cedar_expr_equal(const KsCedarExpr *a, const KsCedarExpr *b)
{
	if (a->kind != b->kind || a->noperands != b->noperands || a->nlist != b->nlist ||
		!content_equal(a, b))
		return false;
	for (int i = 0; i < a->noperands; i++)
	{
		if (!ks_cedar_expr_equal(a->operands[i], b->operands[i]))
			return false;
	}
	return true;
}

static bool
scope_equal(const KsCedarScope *a, const KsCedarScope *b)
{
	if (a->op != b->op || a->nuids != b->nuids || !ks_cedar_string_equal(a->type, b->type))
		return false;
	for (int i = 0; i < a->nuids; i++)
	{
		if (!uid_equal(a->uids[i], b->uids[i]))
			return false;
	}
	return true;
}

static bool
annotation_equal(const KsCedarAnnotation *a, const KsCedarAnnotation *b)
{
	return ks_cedar_string_equal(a->key, b->key) && ks_cedar_string_equal(a->value, b->value) &&
		(a->value.data == NULL) == (b->value.data == NULL);
}

/* Ids come from the place in a source. */
bool
ks_cedar_policy_equal(const KsCedarPolicy *a, const KsCedarPolicy *b)
{
	if (a->forbid != b->forbid || a->nannotations != b->nannotations ||
		a->nconditions != b->nconditions || !scope_equal(&a->principal, &b->principal) ||
		!scope_equal(&a->action, &b->action) || !scope_equal(&a->resource, &b->resource))
		return false;
	for (int i = 0; i < a->nannotations; i++)
	{
		if (!annotation_equal(&a->annotations[i], &b->annotations[i]))
			return false;
	}
	for (int i = 0; i < a->nconditions; i++)
	{
		if (a->conditions[i].unless != b->conditions[i].unless ||
			!ks_cedar_expr_equal(a->conditions[i].body, b->conditions[i].body))
			return false;
	}
	return true;
}
