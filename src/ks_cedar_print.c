/*-------------------------------------------------------------------------
 *
 * ks_cedar_print.c
 *	  Cedar's text: its writer.
 *
 * Everything is written twice: once nowhere, to learn how long it is, and once
 * into memory of that size.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_cedar_print.h"

#include <inttypes.h>
#include <stdio.h>

/* How close an operator binds; what binds less close than its place asks for
 * stands in parentheses. */
typedef enum Level
{
	LEVEL_ANY,					/* if */
	LEVEL_OR,
	LEVEL_AND,
	LEVEL_RELATION,
	LEVEL_SUM,
	LEVEL_PRODUCT,
	LEVEL_UNARY,
	LEVEL_MEMBER
} Level;

typedef struct Out
{
	char	   *data;			/* NULL: nothing is written, only counted */
	size_t		len;
} Out;

static void print_expr(Out *out, const KsCedarExpr *expr, Level least);

static void
put(Out *out, const char *data, size_t len)
{
	if (out->data != NULL)
		memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void
put_text(Out *out, const char *text)
{
	put(out, text, strlen(text));
}

static void
put_string(Out *out, KsCedarString string)
{
	put(out, string.data, string.len);
}

/* How a character is written within quotes; NULL: as it is. */
static const char *
find_escape(char c, bool pattern, char buffer[8])
{
	switch (c)
	{
		case '"':
			return "\\\"";
		case '\\':
			return "\\\\";
		case '\n':
			return "\\n";
		case '\r':
			return "\\r";
		case '\t':
			return "\\t";
		case '\0':
			return "\\0";
		case '*':
			return pattern ? "\\*" : NULL;
		default:
			break;
	}
	if ((c >= 0 && c < ' ') || c == 0x7F)
	{
		snprintf(buffer, 8, "\\x%02x", c);
		return buffer;
	}
	return NULL;
}

static void
put_escaped(Out *out, KsCedarString string, bool pattern)
{
	for (size_t i = 0; i < string.len; i++)
	{
		char		buffer[8];
		const char *escape = find_escape(string.data[i], pattern, buffer);

		if (escape != NULL)
			put_text(out, escape);
		else
			put(out, string.data + i, 1);
	}
}

static void
put_quoted(Out *out, KsCedarString string)
{
	put_text(out, "\"");
	put_escaped(out, string, false);
	put_text(out, "\"");
}

static void
put_key(Out *out, KsCedarString key)
{
	if (ks_cedar_is_identifier(key))
		put_string(out, key);
	else
		put_quoted(out, key);
}

static void
put_uid(Out *out, KsCedarUid uid)
{
	put_string(out, uid.type);
	put_text(out, "::");
	put_quoted(out, uid.id);
}

static void
put_integer(Out *out, int64 value)
{
	char		buffer[24];

	snprintf(buffer, sizeof(buffer), "%" PRId64, value);
	put_text(out, buffer);
}

static Level
level_of(const KsCedarExpr *expr)
{
	switch (expr->kind)
	{
		case KS_CEDAR_IF:
			return LEVEL_ANY;
		case KS_CEDAR_OR:
			return LEVEL_OR;
		case KS_CEDAR_AND:
			return LEVEL_AND;
		case KS_CEDAR_EQ:
		case KS_CEDAR_NE:
		case KS_CEDAR_LT:
		case KS_CEDAR_LE:
		case KS_CEDAR_GT:
		case KS_CEDAR_GE:
		case KS_CEDAR_IN:
		case KS_CEDAR_HAS_ATTR:
		case KS_CEDAR_LIKE:
		case KS_CEDAR_IS:
			return LEVEL_RELATION;
		case KS_CEDAR_ADD:
		case KS_CEDAR_SUB:
			return LEVEL_SUM;
		case KS_CEDAR_MUL:
			return LEVEL_PRODUCT;
		case KS_CEDAR_NOT:
		case KS_CEDAR_NEG:
			return LEVEL_UNARY;
		case KS_CEDAR_LONG:
			return expr->of.integer < 0 ? LEVEL_UNARY : LEVEL_MEMBER;
		default:
			return LEVEL_MEMBER;
	}
}

/* Operators associate to the left, relations not at all. */
static void
print_binary(Out *out, const KsCedarExpr *expr)
{
	Level		level = level_of(expr);

	print_expr(out, expr->operands[0], level == LEVEL_RELATION ? LEVEL_SUM : level);
	put_text(out, " ");
	put_text(out, ks_cedar_operator_of(expr->kind)->name);
	put_text(out, " ");
	print_expr(out, expr->operands[1], level + 1);
}

/* A number behind "-" would be read as a negative one. */
static void
print_sign(Out *out, const KsCedarExpr *expr)
{
	const KsCedarExpr *operand = expr->operands[0];
	bool		number = operand->kind == KS_CEDAR_LONG;

	put_text(out, expr->kind == KS_CEDAR_NOT ? "!" : "-");
	put_text(out, number ? "(" : "");
	print_expr(out, operand, number ? LEVEL_ANY : LEVEL_MEMBER);
	put_text(out, number ? ")" : "");
}

static void
print_operands(Out *out, const KsCedarExpr *expr, int first)
{
	for (int i = first; i < expr->noperands; i++)
	{
		put_text(out, i > first ? ", " : "");
		print_expr(out, expr->operands[i], LEVEL_ANY);
	}
}

static void
print_method(Out *out, const KsCedarExpr *expr, const char *name)
{
	print_expr(out, expr->operands[0], LEVEL_MEMBER);
	put_text(out, ".");
	put_text(out, name);
	put_text(out, "(");
	print_operands(out, expr, 1);
	put_text(out, ")");
}

static void
print_call(Out *out, const KsCedarExpr *expr)
{
	const KsCedarFunctionInfo *function = &ks_cedar_functions[expr->of.function];

	if (function->method)
	{
		print_method(out, expr, function->name);
		return;
	}
	put_text(out, function->name);
	put_text(out, "(");
	print_operands(out, expr, 0);
	put_text(out, ")");
}

static void
print_record(Out *out, const KsCedarExpr *expr)
{
	put_text(out, "{");
	for (int i = 0; i < expr->noperands; i++)
	{
		put_text(out, i > 0 ? ", " : "");
		put_key(out, expr->of.list[i]);
		put_text(out, ": ");
		print_expr(out, expr->operands[i], LEVEL_ANY);
	}
	put_text(out, "}");
}

static void
print_attribute(Out *out, const KsCedarExpr *expr)
{
	print_expr(out, expr->operands[0], LEVEL_MEMBER);
	if (ks_cedar_is_identifier(expr->of.string))
	{
		put_text(out, ".");
		put_string(out, expr->of.string);
		return;
	}
	put_text(out, "[");
	put_quoted(out, expr->of.string);
	put_text(out, "]");
}

static void
print_has(Out *out, const KsCedarExpr *expr)
{
	print_expr(out, expr->operands[0], LEVEL_SUM);
	put_text(out, " has ");
	for (int i = 0; i < expr->nlist; i++)
	{
		put_text(out, i > 0 ? "." : "");
		put_key(out, expr->of.list[i]);
	}
}

static void
print_like(Out *out, const KsCedarExpr *expr)
{
	print_expr(out, expr->operands[0], LEVEL_SUM);
	put_text(out, " like \"");
	for (int i = 0; i < expr->nlist; i++)
	{
		put_text(out, i > 0 ? "*" : "");
		put_escaped(out, expr->of.list[i], true);
	}
	put_text(out, "\"");
}

static void
print_is(Out *out, const KsCedarExpr *expr)
{
	print_expr(out, expr->operands[0], LEVEL_SUM);
	put_text(out, " is ");
	put_string(out, expr->of.string);
	if (expr->noperands == 2)
	{
		put_text(out, " in ");
		print_expr(out, expr->operands[1], LEVEL_SUM);
	}
}

static void
print_if(Out *out, const KsCedarExpr *expr)
{
	put_text(out, "if ");
	print_expr(out, expr->operands[0], LEVEL_ANY);
	put_text(out, " then ");
	print_expr(out, expr->operands[1], LEVEL_ANY);
	put_text(out, " else ");
	print_expr(out, expr->operands[2], LEVEL_ANY);
}

/* Without parentheses around it. */
static void
print_bare(Out *out, const KsCedarExpr *expr)
{
	switch (expr->kind)
	{
		case KS_CEDAR_BOOL:
			put_text(out, expr->of.boolean ? "true" : "false");
			break;
		case KS_CEDAR_LONG:
			put_integer(out, expr->of.integer);
			break;
		case KS_CEDAR_STRING:
			put_quoted(out, expr->of.string);
			break;
		case KS_CEDAR_ENTITY:
			put_uid(out, expr->of.uid);
			break;
		case KS_CEDAR_VAR:
			put_text(out, ks_cedar_vars[expr->of.var]);
			break;
		case KS_CEDAR_NOT:
		case KS_CEDAR_NEG:
			print_sign(out, expr);
			break;
		case KS_CEDAR_IS_EMPTY:
		case KS_CEDAR_CONTAINS:
		case KS_CEDAR_CONTAINS_ALL:
		case KS_CEDAR_CONTAINS_ANY:
		case KS_CEDAR_GET_TAG:
		case KS_CEDAR_HAS_TAG:
			print_method(out, expr, ks_cedar_operator_of(expr->kind)->name);
			break;
		case KS_CEDAR_GET_ATTR:
			print_attribute(out, expr);
			break;
		case KS_CEDAR_HAS_ATTR:
			print_has(out, expr);
			break;
		case KS_CEDAR_LIKE:
			print_like(out, expr);
			break;
		case KS_CEDAR_IS:
			print_is(out, expr);
			break;
		case KS_CEDAR_IF:
			print_if(out, expr);
			break;
		case KS_CEDAR_SET:
			put_text(out, "[");
			print_operands(out, expr, 0);
			put_text(out, "]");
			break;
		case KS_CEDAR_RECORD:
			print_record(out, expr);
			break;
		case KS_CEDAR_CALL:
			print_call(out, expr);
			break;
		default:
			print_binary(out, expr);
			break;
	}
}

static void
print_expr(Out *out, const KsCedarExpr *expr, Level least)
{
	bool		parentheses = level_of(expr) < least;

	ks_cedar_check_stack();
	put_text(out, parentheses ? "(" : "");
	print_bare(out, expr);
	put_text(out, parentheses ? ")" : "");
}

static void
print_scope(Out *out, const char *variable, const KsCedarScope *scope)
{
	put_text(out, variable);
	if (scope->op == KS_CEDAR_SCOPE_IS || scope->op == KS_CEDAR_SCOPE_IS_IN)
	{
		put_text(out, " is ");
		put_string(out, scope->type);
	}
	if (scope->op == KS_CEDAR_SCOPE_EQ)
		put_text(out, " == ");
	else if (scope->op != KS_CEDAR_SCOPE_ALL && scope->op != KS_CEDAR_SCOPE_IS)
		put_text(out, " in ");
	put_text(out, scope->op == KS_CEDAR_SCOPE_IN_SET ? "[" : "");
	for (int i = 0; i < scope->nuids; i++)
	{
		put_text(out, i > 0 ? ", " : "");
		put_uid(out, scope->uids[i]);
	}
	put_text(out, scope->op == KS_CEDAR_SCOPE_IN_SET ? "]" : "");
}

static void
print_policy(Out *out, const KsCedarPolicy *policy)
{
	for (int i = 0; i < policy->nannotations; i++)
	{
		put_text(out, "@");
		put_string(out, policy->annotations[i].key);
		if (policy->annotations[i].value.data != NULL)
		{
			put_text(out, "(");
			put_quoted(out, policy->annotations[i].value);
			put_text(out, ")");
		}
		put_text(out, "\n");
	}
	put_text(out, policy->forbid ? "forbid (" : "permit (");
	print_scope(out, "principal", &policy->principal);
	put_text(out, ", ");
	print_scope(out, "action", &policy->action);
	put_text(out, ", ");
	print_scope(out, "resource", &policy->resource);
	put_text(out, ")");
	for (int i = 0; i < policy->nconditions; i++)
	{
		put_text(out, policy->conditions[i].unless ? "\nunless { " : "\nwhen { ");
		print_expr(out, policy->conditions[i].body, LEVEL_ANY);
		put_text(out, " }");
	}
	put_text(out, ";\n");
}

static void
print_policies(Out *out, const KsCedarPolicies *policies)
{
	for (int i = 0; i < policies->npolicies; i++)
	{
		put_text(out, i > 0 ? "\n" : "");
		print_policy(out, &policies->policies[i]);
	}
}

/* Memory for what was counted, to be written now. */
static void
start_again(Out *out)
{
	out->data = ks_cedar_alloc(out->len + 1);
	out->len = 0;
}

static KsCedarString
written(const Out *out)
{
	KsCedarString text = {out->data, out->len};

	return text;
}

KsCedarString
ks_cedar_print(const KsCedarPolicies *policies)
{
	Out			out = {NULL, 0};

	print_policies(&out, policies);
	start_again(&out);
	print_policies(&out, policies);
	return written(&out);
}

KsCedarString
ks_cedar_print_expr(const KsCedarExpr *expr)
{
	Out			out = {NULL, 0};

	print_expr(&out, expr, LEVEL_ANY);
	start_again(&out);
	print_expr(&out, expr, LEVEL_ANY);
	return written(&out);
}
