/*-------------------------------------------------------------------------
 *
 * ks_cedar_to_json.c
 *	  Cedar's JSON form of policies and expressions, as jsonb: its writer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "ks_cedar_to_json.h"

typedef struct Writer
{
	JsonbParseState *state;
	JsonbValue *result;			/* of what was pushed last */
} Writer;

static void write_expr(Writer *writer, const KsCedarExpr *expr);

static void
push(Writer *writer, JsonbIteratorToken token, JsonbValue *value)
{
	writer->result = pushJsonbValue(&writer->state, token, value);
}

/* Within an array, a value is an element; behind a key, it is its value. */
static void
push_value(Writer *writer, JsonbValue *value)
{
	bool		element = writer->state->contVal.type == jbvArray;

	push(writer, element ? WJB_ELEM : WJB_VALUE, value);
}

static JsonbValue
make_string(KsCedarString string)
{
	JsonbValue	value;

	if (string.len > 0 && memchr(string.data, '\0', string.len) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("a string with a NUL character has no JSON form")));
	value.type = jbvString;
	value.val.string.val = unconstify(char *, string.data);
	value.val.string.len = (int) string.len;
	return value;
}

static void
write_key_string(Writer *writer, KsCedarString key)
{
	JsonbValue	value = make_string(key);

	push(writer, WJB_KEY, &value);
}

static void
write_string(Writer *writer, KsCedarString string)
{
	JsonbValue	value = make_string(string);

	push_value(writer, &value);
}

static KsCedarString
constant(const char *text)
{
	KsCedarString string = {text, strlen(text)};

	return string;
}

static void
write_key(Writer *writer, const char *key)
{
	write_key_string(writer, constant(key));
}

static void
write_member(Writer *writer, const char *key, KsCedarString value)
{
	write_key(writer, key);
	write_string(writer, value);
}

static void
begin_object(Writer *writer)
{
	push(writer, WJB_BEGIN_OBJECT, NULL);
}

static void
end_object(Writer *writer)
{
	push(writer, WJB_END_OBJECT, NULL);
}

static void
begin_array(Writer *writer)
{
	push(writer, WJB_BEGIN_ARRAY, NULL);
}

static void
end_array(Writer *writer)
{
	push(writer, WJB_END_ARRAY, NULL);
}

static void
write_uid(Writer *writer, KsCedarUid uid)
{
	begin_object(writer);
	write_member(writer, "type", uid.type);
	write_member(writer, "id", uid.id);
	end_object(writer);
}

/* {"__entity": {"type": ..., "id": ...}} */
static void
write_entity(Writer *writer, KsCedarUid uid)
{
	begin_object(writer);
	write_key(writer, "__entity");
	write_uid(writer, uid);
	end_object(writer);
}

/* The value of "Value". */
static void
write_literal(Writer *writer, const KsCedarExpr *expr)
{
	JsonbValue	value;

	switch (expr->kind)
	{
		case KS_CEDAR_BOOL:
			value.type = jbvBool;
			value.val.boolean = expr->of.boolean;
			push_value(writer, &value);
			break;
		case KS_CEDAR_LONG:
			value.type = jbvNumeric;
			value.val.numeric = int64_to_numeric(expr->of.integer);
			push_value(writer, &value);
			break;
		case KS_CEDAR_STRING:
			write_string(writer, expr->of.string);
			break;
		default:
			write_entity(writer, expr->of.uid);
			break;
	}
}

/* "Wildcard" between texts, and for each character {"Literal": "c"}. */
static void
write_pattern(Writer *writer, const KsCedarExpr *expr)
{
	begin_array(writer);
	for (int i = 0; i < expr->nlist; i++)
	{
		KsCedarString rest = expr->of.list[i];

		if (i > 0)
			write_string(writer, constant("Wildcard"));
		while (rest.len > 0)
		{
			KsCedarString character = {rest.data, (size_t) pg_utf_mblen((const unsigned char *) rest.data)};

			begin_object(writer);
			write_member(writer, "Literal", character);
			end_object(writer);
			rest.data += character.len;
			rest.len -= character.len;
		}
	}
	end_array(writer);
}

/* A path of more than one attribute is an array. */
static void
write_attributes(Writer *writer, const KsCedarExpr *expr)
{
	if (expr->nlist == 1)
	{
		write_string(writer, expr->of.list[0]);
		return;
	}
	begin_array(writer);
	for (int i = 0; i < expr->nlist; i++)
		write_string(writer, expr->of.list[i]);
	end_array(writer);
}

static void
write_array(Writer *writer, const KsCedarExpr *expr)
{
	begin_array(writer);
	for (int i = 0; i < expr->noperands; i++)
		write_expr(writer, expr->operands[i]);
	end_array(writer);
}

static void
write_record(Writer *writer, const KsCedarExpr *expr)
{
	begin_object(writer);
	for (int i = 0; i < expr->noperands; i++)
	{
		write_key_string(writer, expr->of.list[i]);
		write_expr(writer, expr->operands[i]);
	}
	end_object(writer);
}

static void
write_operator(Writer *writer, const KsCedarExpr *expr)
{
	const KsCedarOperator *operator = ks_cedar_operator_of(expr->kind);

	write_key(writer, operator->name);
	begin_object(writer);
	for (int i = 0; i < expr->noperands; i++)
	{
		write_key(writer, operator->members[i]);
		write_expr(writer, expr->operands[i]);
	}
	end_object(writer);
}

/* Operators on a value with names beside it. */
static void
write_named(Writer *writer, const KsCedarExpr *expr)
{
	write_key(writer, expr->kind == KS_CEDAR_GET_ATTR ? "." :
			  expr->kind == KS_CEDAR_HAS_ATTR ? "has" :
			  expr->kind == KS_CEDAR_LIKE ? "like" : "is");
	begin_object(writer);
	write_key(writer, "left");
	write_expr(writer, expr->operands[0]);
	if (expr->kind == KS_CEDAR_GET_ATTR)
		write_member(writer, "attr", expr->of.string);
	else if (expr->kind == KS_CEDAR_HAS_ATTR)
	{
		write_key(writer, "attr");
		write_attributes(writer, expr);
	}
	else if (expr->kind == KS_CEDAR_LIKE)
	{
		write_key(writer, "pattern");
		write_pattern(writer, expr);
	}
	else
	{
		write_member(writer, "entity_type", expr->of.string);
		if (expr->noperands == 2)
		{
			write_key(writer, "in");
			write_expr(writer, expr->operands[1]);
		}
	}
	end_object(writer);
}

static void
write_expr(Writer *writer, const KsCedarExpr *expr)
{
	ks_cedar_check_stack();
	begin_object(writer);
	switch (expr->kind)
	{
		case KS_CEDAR_BOOL:
		case KS_CEDAR_LONG:
		case KS_CEDAR_STRING:
		case KS_CEDAR_ENTITY:
			write_key(writer, "Value");
			write_literal(writer, expr);
			break;
		case KS_CEDAR_VAR:
			write_member(writer, "Var", constant(ks_cedar_vars[expr->of.var]));
			break;
		case KS_CEDAR_GET_ATTR:
		case KS_CEDAR_HAS_ATTR:
		case KS_CEDAR_LIKE:
		case KS_CEDAR_IS:
			write_named(writer, expr);
			break;
		case KS_CEDAR_SET:
			write_key(writer, "Set");
			write_array(writer, expr);
			break;
		case KS_CEDAR_RECORD:
			write_key(writer, "Record");
			write_record(writer, expr);
			break;
		case KS_CEDAR_CALL:
			write_key(writer, ks_cedar_functions[expr->of.function].name);
			write_array(writer, expr);
			break;
		default:
			write_operator(writer, expr);
			break;
	}
	end_object(writer);
}

static void
write_scope(Writer *writer, const char *variable, const KsCedarScope *scope)
{
	static const char *const ops[] = {"All", "==", "in", "in", "is", "is"};

	write_key(writer, variable);
	begin_object(writer);
	write_member(writer, "op", constant(ops[scope->op]));
	if (scope->op == KS_CEDAR_SCOPE_IS || scope->op == KS_CEDAR_SCOPE_IS_IN)
		write_member(writer, "entity_type", scope->type);
	if (scope->op == KS_CEDAR_SCOPE_EQ || scope->op == KS_CEDAR_SCOPE_IN)
	{
		write_key(writer, "entity");
		write_uid(writer, scope->uids[0]);
	}
	else if (scope->op == KS_CEDAR_SCOPE_IS_IN)
	{
		write_key(writer, "in");
		begin_object(writer);
		write_key(writer, "entity");
		write_uid(writer, scope->uids[0]);
		end_object(writer);
	}
	else if (scope->op == KS_CEDAR_SCOPE_IN_SET)
	{
		write_key(writer, "entities");
		begin_array(writer);
		for (int i = 0; i < scope->nuids; i++)
			write_uid(writer, scope->uids[i]);
		end_array(writer);
	}
	end_object(writer);
}

static void
write_conditions(Writer *writer, const KsCedarPolicy *policy)
{
	write_key(writer, "conditions");
	begin_array(writer);
	for (int i = 0; i < policy->nconditions; i++)
	{
		begin_object(writer);
		write_member(writer, "kind", constant(policy->conditions[i].unless ? "unless" : "when"));
		write_key(writer, "body");
		write_expr(writer, policy->conditions[i].body);
		end_object(writer);
	}
	end_array(writer);
}

static void
write_annotations(Writer *writer, const KsCedarPolicy *policy)
{
	write_key(writer, "annotations");
	begin_object(writer);
	for (int i = 0; i < policy->nannotations; i++)
	{
		JsonbValue	null = {.type = jbvNull};

		write_key_string(writer, policy->annotations[i].key);
		if (policy->annotations[i].value.data != NULL)
			write_string(writer, policy->annotations[i].value);
		else
			push_value(writer, &null);
	}
	end_object(writer);
}

Jsonb *
ks_cedar_expr_to_json(const KsCedarExpr *expr)
{
	Writer		writer = {NULL, NULL};

	write_expr(&writer, expr);
	return JsonbValueToJsonb(writer.result);
}

Jsonb *
ks_cedar_policy_to_json(const KsCedarPolicy *policy)
{
	Writer		writer = {NULL, NULL};

	begin_object(&writer);
	write_member(&writer, "effect", constant(policy->forbid ? "forbid" : "permit"));
	write_scope(&writer, "principal", &policy->principal);
	write_scope(&writer, "action", &policy->action);
	write_scope(&writer, "resource", &policy->resource);
	write_conditions(&writer, policy);
	if (policy->nannotations > 0)
		write_annotations(&writer, policy);
	end_object(&writer);
	return JsonbValueToJsonb(writer.result);
}
