/*-------------------------------------------------------------------------
 *
 * ks_cedar_eval.c
 *	  Compiles expressions and policies of the language Cedar, and evaluates
 *	  them for a request.
 *
 * A program is a list of operations for a machine with a stack.  Operands come
 * before their operator, and jumps go forward only, so a run takes no more
 * operations than the program has; what single ones cost beyond that is
 * counted as steps.  What consists of constants only is one constant.
 *
 * The compiler recurses, as deep as trees are (KS_CEDAR_DEPTH_MAX); a run does
 * not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"

#include "ks_cedar_eval.h"

#define STACK_USUAL		32		/* values on the stack of most programs */
#define FIRST_OPS		8

/* Operations are kinds of the tree, and what has no kind of its own. */
typedef enum OpCode
{
	OP_CONSTANT = KS_CEDAR_CALL + 1,
	OP_AND,						/* jumps when the left side is false */
	OP_OR,						/* jumps when it is true */
	OP_BOOLEAN,					/* a fault unless the value is one */
	OP_UNLESS,					/* takes a boolean; jumps when it is false */
	OP_JUMP,
	OP_IS_IN					/* jumps when the type is another */
} OpCode;

typedef struct Operation
{
	int			code;			/* KsCedarKind or OpCode */
	int			noperands;		/* that it takes from the stack */
	int			target;			/* of a jump */
	const KsCedarExpr *expr;	/* for what else its kind has */
	KsCedarValue constant;
} Operation;

struct KsCedarProgram
{
	int			n;
	int			size;
	int			stack;			/* values that it needs at most */
	Operation  *ops;
};

/* A program while it is made. */
typedef struct Compiler
{
	KsCedarProgram *program;
	int			depth;			/* values on the stack at this point */
} Compiler;

/* The compiler */

static Operation *
emit(Compiler *compiler, int code, int noperands, const KsCedarExpr *expr)
{
	KsCedarProgram *program = compiler->program;
	Operation  *op;

	if (program->n == program->size)
	{
		program->size *= 2;
		program->ops = repalloc_huge(program->ops, sizeof(Operation) * program->size);
	}
	op = &program->ops[program->n++];
	memset(op, 0, sizeof(*op));
	op->code = code;
	op->noperands = noperands;
	op->expr = expr;
	return op;
}

/* The stack grows, or with a number below zero shrinks. */
static void
push(Compiler *compiler, int n)
{
	compiler->depth += n;
	compiler->program->stack = Max(compiler->program->stack, compiler->depth);
}

static void
emit_constant(Compiler *compiler, const KsCedarExpr *expr, KsCedarValue constant)
{
	emit(compiler, OP_CONSTANT, 0, expr)->constant = constant;
	push(compiler, 1);
}

/* Emits a jump; its target is the operation that comes when land() is called. */
static int
emit_jump(Compiler *compiler, int code, int noperands, const KsCedarExpr *expr)
{
	emit(compiler, code, noperands, expr);
	return compiler->program->n - 1;
}

static void
land(Compiler *compiler, int jump)
{
	compiler->program->ops[jump].target = compiler->program->n;
}

static KsCedarFault make(const KsCedarExpr *expr, KsCedarValue *operands, KsCedarValue *result);
static void compile(Compiler *compiler, const KsCedarExpr *expr);

/*
 * Emits a set, a record or a call: a constant when all of its operands are and
 * it has a value.  One without stays, to be at fault when it is evaluated.
 */
static void
compile_made(Compiler *compiler, const KsCedarExpr *expr)
{
	KsCedarProgram *program = compiler->program;
	int			begin = program->n;
	bool		constant;

	for (int i = 0; i < expr->noperands; i++)
		compile(compiler, expr->operands[i]);
	constant = program->n - begin == expr->noperands;
	for (int i = begin; i < program->n && constant; i++)
		constant = program->ops[i].code == OP_CONSTANT;
	push(compiler, -expr->noperands);
	if (constant)
	{
		KsCedarValue *operands = palloc(sizeof(KsCedarValue) * (expr->noperands + 1));
		KsCedarValue value;

		for (int i = 0; i < expr->noperands; i++)
			operands[i] = program->ops[begin + i].constant;
		if (make(expr, operands, &value) == KS_CEDAR_NO_FAULT)
		{
			program->n = begin;
			emit_constant(compiler, expr, value);
			return;
		}
	}
	emit(compiler, expr->kind, expr->noperands, expr);
	push(compiler, 1);
}

static void
compile_if(Compiler *compiler, const KsCedarExpr *expr)
{
	int			otherwise;
	int			end;

	compile(compiler, expr->operands[0]);
	otherwise = emit_jump(compiler, OP_UNLESS, 1, expr->operands[0]);
	push(compiler, -1);
	compile(compiler, expr->operands[1]);
	end = emit_jump(compiler, OP_JUMP, 0, expr);
	push(compiler, -1);
	land(compiler, otherwise);
	compile(compiler, expr->operands[2]);
	land(compiler, end);
}

/* And, or: the right side is evaluated when the left one does not decide. */
static void
compile_either(Compiler *compiler, const KsCedarExpr *expr)
{
	int			end;

	compile(compiler, expr->operands[0]);
	end = emit_jump(compiler, expr->kind == KS_CEDAR_AND ? OP_AND : OP_OR, 1, expr->operands[0]);
	push(compiler, -1);
	compile(compiler, expr->operands[1]);
	emit(compiler, OP_BOOLEAN, 1, expr->operands[1]);
	land(compiler, end);
}

static void
compile_is(Compiler *compiler, const KsCedarExpr *expr)
{
	int			end;

	compile(compiler, expr->operands[0]);
	if (expr->noperands == 1)
	{
		emit(compiler, KS_CEDAR_IS, 1, expr);
		return;
	}
	end = emit_jump(compiler, OP_IS_IN, 1, expr);
	compile(compiler, expr->operands[1]);
	emit(compiler, KS_CEDAR_IN, 2, expr);
	push(compiler, -1);
	land(compiler, end);
}

static void
compile(Compiler *compiler, const KsCedarExpr *expr)
{
	switch (expr->kind)
	{
		case KS_CEDAR_BOOL:
			emit_constant(compiler, expr, ks_cedar_bool(expr->of.boolean));
			return;
		case KS_CEDAR_LONG:
			emit_constant(compiler, expr, ks_cedar_number(KS_CEDAR_TYPE_LONG, expr->of.integer));
			return;
		case KS_CEDAR_STRING:
			emit_constant(compiler, expr, ks_cedar_text_value(expr->of.string));
			return;
		case KS_CEDAR_ENTITY:
			emit_constant(compiler, expr, ks_cedar_entity_value(ks_cedar_make_ref(expr->of.uid)));
			return;
		case KS_CEDAR_VAR:
			emit(compiler, KS_CEDAR_VAR, 0, expr);
			push(compiler, 1);
			return;
		case KS_CEDAR_AND:
		case KS_CEDAR_OR:
			compile_either(compiler, expr);
			return;
		case KS_CEDAR_IF:
			compile_if(compiler, expr);
			return;
		case KS_CEDAR_IS:
			compile_is(compiler, expr);
			return;
		case KS_CEDAR_SET:
		case KS_CEDAR_RECORD:
		case KS_CEDAR_CALL:
			compile_made(compiler, expr);
			return;
		default:
			for (int i = 0; i < expr->noperands; i++)
				compile(compiler, expr->operands[i]);
			emit(compiler, expr->kind, expr->noperands, expr);
			push(compiler, 1 - expr->noperands);
			return;
	}
}

static void
begin_program(Compiler *compiler)
{
	KsCedarProgram *program = palloc0(sizeof(KsCedarProgram));

	program->size = FIRST_OPS;
	program->ops = palloc(sizeof(Operation) * FIRST_OPS);
	compiler->program = program;
	compiler->depth = 0;
}

KsCedarProgram *
ks_cedar_compile(const KsCedarExpr *expr)
{
	Compiler	compiler;

	begin_program(&compiler);
	compile(&compiler, expr);
	return compiler.program;
}

/* Operators */

/* Sets, records and calls; may change the operands. */
static KsCedarFault
make(const KsCedarExpr *expr, KsCedarValue *operands, KsCedarValue *result)
{
	KsCedarMember *members;

	if (expr->kind == KS_CEDAR_CALL)
		return ks_cedar_call(expr->of.function, operands, expr->noperands, result);
	if (expr->kind == KS_CEDAR_SET)
	{
		*result = ks_cedar_make_set(operands, expr->noperands);
		return KS_CEDAR_NO_FAULT;
	}
	members = palloc(sizeof(KsCedarMember) * (expr->noperands + 1));
	for (int i = 0; i < expr->noperands; i++)
	{
		members[i].key = expr->of.list[i];
		members[i].value = operands[i];
	}
	*result = ks_cedar_record_value(ks_cedar_make_record(members, expr->noperands));
	return KS_CEDAR_NO_FAULT;
}

/* Most are about the request's own. */
static const KsCedarEntity *
find_entity(const KsCedarRequest *request, const KsCedarRef *ref)
{
	for (int i = 0; i < KS_CEDAR_CONTEXT; i++)
	{
		if (ref == request->refs[i])
			return request->found[i];
	}
	return ks_cedar_get_entity(request->entities, ref);
}

static bool
is_in(const KsCedarRequest *request, const KsCedarRef *ref, const KsCedarRef *group)
{
	const KsCedarEntity *entity;

	if (ks_cedar_ref_equal(ref, group))
		return true;
	entity = find_entity(request, ref);
	return entity != NULL && entity->nancestors > 0 && ks_cedar_has_ancestor(entity, group);
}

/*
 * The record of attributes that a value has: itself, or an entity's, which is
 * NULL for an entity that does not exist.
 */
static KsCedarFault
get_attrs(const KsCedarRequest *request, const KsCedarValue *value, const KsCedarRecord **attrs)
{
	const KsCedarEntity *entity;

	if (value->type == KS_CEDAR_TYPE_RECORD)
	{
		*attrs = value->of.record;
		return KS_CEDAR_NO_FAULT;
	}
	if (value->type != KS_CEDAR_TYPE_ENTITY)
		return KS_CEDAR_WRONG_TYPE;
	entity = find_entity(request, value->of.entity);
	*attrs = entity == NULL ? NULL : entity->attrs;
	return KS_CEDAR_NO_FAULT;
}

static KsCedarFault
get_attr(const KsCedarRequest *request, KsCedarString name, KsCedarValue *value)
{
	const KsCedarRecord *attrs;
	const KsCedarValue *attr;
	KsCedarFault fault = get_attrs(request, value, &attrs);

	if (fault != KS_CEDAR_NO_FAULT)
		return fault;
	if (attrs == NULL)
		return KS_CEDAR_NO_ENTITY;
	attr = ks_cedar_find(attrs, name);
	if (attr == NULL)
		return KS_CEDAR_NO_ATTRIBUTE;
	*value = *attr;
	return KS_CEDAR_NO_FAULT;
}

/* Whether there is a path of attributes: each of them in turn. */
static KsCedarFault
has_attr(const KsCedarRequest *request, const KsCedarExpr *expr, KsCedarValue *value)
{
	KsCedarValue at = *value;

	for (int i = 0; i < expr->nlist; i++)
	{
		const KsCedarRecord *attrs;
		const KsCedarValue *attr;
		KsCedarFault fault = get_attrs(request, &at, &attrs);

		if (fault != KS_CEDAR_NO_FAULT)
			return fault;
		attr = attrs == NULL ? NULL : ks_cedar_find(attrs, expr->of.list[i]);
		if (attr == NULL)
		{
			*value = ks_cedar_bool(false);
			return KS_CEDAR_NO_FAULT;
		}
		at = *attr;
	}
	*value = ks_cedar_bool(true);
	return KS_CEDAR_NO_FAULT;
}

static KsCedarFault
ask_tag(const KsCedarRequest *request, int code, KsCedarValue *operands)
{
	const KsCedarEntity *entity;
	const KsCedarValue *tag;

	if (operands[0].type != KS_CEDAR_TYPE_ENTITY || operands[1].type != KS_CEDAR_TYPE_STRING)
		return KS_CEDAR_WRONG_TYPE;
	entity = find_entity(request, operands[0].of.entity);
	tag = entity == NULL ? NULL : ks_cedar_find(entity->tags, *operands[1].of.string);
	if (code == KS_CEDAR_HAS_TAG)
		operands[0] = ks_cedar_bool(tag != NULL);
	else if (tag != NULL)
		operands[0] = *tag;
	else
		return entity == NULL ? KS_CEDAR_NO_ENTITY : KS_CEDAR_NO_TAG;
	return KS_CEDAR_NO_FAULT;
}

/*
 * Whether a string is the pieces with anything between them: the first and the
 * last at the ends, the others each where it comes first.
 */
static bool
is_like(KsCedarString string, const KsCedarString *pieces, int n)
{
	const char *at = string.data;
	const char *end = at + string.len;

	if (n == 1)
		return ks_cedar_key_compare(string, pieces[0]) == 0;
	if (pieces[0].len + pieces[n - 1].len > string.len ||
		memcmp(at, pieces[0].data, pieces[0].len) != 0 ||
		memcmp(end - pieces[n - 1].len, pieces[n - 1].data, pieces[n - 1].len) != 0)
		return false;
	at += pieces[0].len;
	end -= pieces[n - 1].len;
	for (int i = 1; i < n - 1; i++)
	{
		if (pieces[i].len == 0)
			continue;
		at = memmem(at, end - at, pieces[i].data, pieces[i].len);
		if (at == NULL)
			return false;
		at += pieces[i].len;
	}
	return true;
}

static KsCedarFault
apply_unary(const KsCedarRequest *request, const Operation *op, KsCedarValue *value)
{
	switch (op->code)
	{
		case KS_CEDAR_NOT:
			if (value->type != KS_CEDAR_TYPE_BOOL)
				return KS_CEDAR_WRONG_TYPE;
			value->of.boolean = !value->of.boolean;
			return KS_CEDAR_NO_FAULT;
		case KS_CEDAR_NEG:
			if (value->type != KS_CEDAR_TYPE_LONG)
				return KS_CEDAR_WRONG_TYPE;
			return pg_sub_s64_overflow(0, value->of.number, &value->of.number) ? KS_CEDAR_OVERFLOW : KS_CEDAR_NO_FAULT;
		case KS_CEDAR_IS_EMPTY:
			if (value->type != KS_CEDAR_TYPE_SET)
				return KS_CEDAR_WRONG_TYPE;
			*value = ks_cedar_bool(value->of.set->n == 0);
			return KS_CEDAR_NO_FAULT;
		case KS_CEDAR_GET_ATTR:
			return get_attr(request, op->expr->of.string, value);
		case KS_CEDAR_HAS_ATTR:
			return has_attr(request, op->expr, value);
		case KS_CEDAR_LIKE:
			if (value->type != KS_CEDAR_TYPE_STRING)
				return KS_CEDAR_WRONG_TYPE;
			*value = ks_cedar_bool(is_like(*value->of.string, op->expr->of.list, op->expr->nlist));
			return KS_CEDAR_NO_FAULT;
		default:				/* KS_CEDAR_IS */
			if (value->type != KS_CEDAR_TYPE_ENTITY)
				return KS_CEDAR_WRONG_TYPE;
			*value = ks_cedar_bool(ks_cedar_key_compare(value->of.entity->uid.type, op->expr->of.string) == 0);
			return KS_CEDAR_NO_FAULT;
	}
}

static KsCedarFault
apply_arithmetic(int code, KsCedarValue *operands)
{
	int64	   *number = &operands[0].of.number;
	bool		overflow;

	if (operands[0].type != KS_CEDAR_TYPE_LONG || operands[1].type != KS_CEDAR_TYPE_LONG)
		return KS_CEDAR_WRONG_TYPE;
	if (code == KS_CEDAR_ADD)
		overflow = pg_add_s64_overflow(*number, operands[1].of.number, number);
	else if (code == KS_CEDAR_SUB)
		overflow = pg_sub_s64_overflow(*number, operands[1].of.number, number);
	else
		overflow = pg_mul_s64_overflow(*number, operands[1].of.number, number);
	return overflow ? KS_CEDAR_OVERFLOW : KS_CEDAR_NO_FAULT;
}

static KsCedarFault
apply_order(int code, KsCedarValue *operands)
{
	int			order;
	KsCedarFault fault = ks_cedar_order(&operands[0], &operands[1], &order);

	if (fault != KS_CEDAR_NO_FAULT)
		return fault;
	operands[0] = ks_cedar_bool(code == KS_CEDAR_LT ? order < 0 :
								code == KS_CEDAR_LE ? order <= 0 :
								code == KS_CEDAR_GT ? order > 0 : order >= 0);
	return KS_CEDAR_NO_FAULT;
}

static KsCedarFault
apply_sets(int code, KsCedarValue *operands)
{
	const KsCedarSet *set = operands[0].of.set;
	const KsCedarSet *other = operands[1].of.set;
	bool		all = code == KS_CEDAR_CONTAINS_ALL;
	bool		result = all;

	if (operands[0].type != KS_CEDAR_TYPE_SET ||
		(code != KS_CEDAR_CONTAINS && operands[1].type != KS_CEDAR_TYPE_SET))
		return KS_CEDAR_WRONG_TYPE;
	if (code == KS_CEDAR_CONTAINS)
		result = ks_cedar_contains(set, &operands[1]);
	else
	{
		for (int i = 0; i < other->n && result == all; i++)
		{
			CHECK_FOR_INTERRUPTS();
			result = ks_cedar_contains(set, &other->members[i]);
		}
	}
	operands[0] = ks_cedar_bool(result);
	return KS_CEDAR_NO_FAULT;
}

/* In an entity, or in one of a set; all of the set must be entities. */
static KsCedarFault
apply_in(const KsCedarRequest *request, KsCedarValue *operands)
{
	const KsCedarSet *groups = operands[1].of.set;
	bool		result = false;

	if (operands[0].type != KS_CEDAR_TYPE_ENTITY)
		return KS_CEDAR_WRONG_TYPE;
	if (operands[1].type == KS_CEDAR_TYPE_ENTITY)
		result = is_in(request, operands[0].of.entity, operands[1].of.entity);
	else if (operands[1].type != KS_CEDAR_TYPE_SET)
		return KS_CEDAR_WRONG_TYPE;
	else
	{
		for (int i = 0; i < groups->n; i++)
		{
			if (groups->members[i].type != KS_CEDAR_TYPE_ENTITY)
				return KS_CEDAR_WRONG_TYPE;
		}
		for (int i = 0; i < groups->n && !result; i++)
		{
			CHECK_FOR_INTERRUPTS();
			result = is_in(request, operands[0].of.entity, groups->members[i].of.entity);
		}
	}
	operands[0] = ks_cedar_bool(result);
	return KS_CEDAR_NO_FAULT;
}

/* What an operator takes beyond looking at its operands once. */
static int64
cost_of(const Operation *op, const KsCedarValue *operands)
{
	int64		cost = 0;

	switch (op->code)
	{
		case KS_CEDAR_EQ:
		case KS_CEDAR_NE:
			return Min(ks_cedar_weight(&operands[0]), ks_cedar_weight(&operands[1]));
		case KS_CEDAR_CONTAINS:
		case KS_CEDAR_CONTAINS_ALL:
		case KS_CEDAR_CONTAINS_ANY:
		case KS_CEDAR_IN:
			return ks_cedar_weight(&operands[1]);
		case KS_CEDAR_LIKE:
			return ks_cedar_weight(&operands[0]) + op->expr->nlist;
		case KS_CEDAR_SET:
			for (int i = 0; i < op->noperands; i++)
				cost += ks_cedar_weight(&operands[i]);
			return cost;
		case KS_CEDAR_RECORD:
			return op->noperands;
		default:
			return 0;
	}
}

static KsCedarFault
apply(KsCedarRequest *request, const Operation *op, KsCedarValue *operands)
{
	request->steps_left -= cost_of(op, operands);
	switch (op->code)
	{
		case KS_CEDAR_EQ:
			operands[0] = ks_cedar_bool(ks_cedar_equal(&operands[0], &operands[1]));
			return KS_CEDAR_NO_FAULT;
		case KS_CEDAR_NE:
			operands[0] = ks_cedar_bool(!ks_cedar_equal(&operands[0], &operands[1]));
			return KS_CEDAR_NO_FAULT;
		case KS_CEDAR_LT:
		case KS_CEDAR_LE:
		case KS_CEDAR_GT:
		case KS_CEDAR_GE:
			return apply_order(op->code, operands);
		case KS_CEDAR_ADD:
		case KS_CEDAR_SUB:
		case KS_CEDAR_MUL:
			return apply_arithmetic(op->code, operands);
		case KS_CEDAR_IN:
			return apply_in(request, operands);
		case KS_CEDAR_CONTAINS:
		case KS_CEDAR_CONTAINS_ALL:
		case KS_CEDAR_CONTAINS_ANY:
			return apply_sets(op->code, operands);
		case KS_CEDAR_GET_TAG:
		case KS_CEDAR_HAS_TAG:
			return ask_tag(request, op->code, operands);
		case KS_CEDAR_SET:
		case KS_CEDAR_RECORD:
		case KS_CEDAR_CALL:
			return make(op->expr, operands, operands);
		default:
			return apply_unary(request, op, operands);
	}
}

/* The machine */

static KsCedarValue
get_var(const KsCedarRequest *request, KsCedarVar var)
{
	if (var == KS_CEDAR_CONTEXT)
		return ks_cedar_record_value(request->context);
	return ks_cedar_entity_value(request->refs[var]);
}

/*
 * An operation that may jump, on the value before top.  Sets *next when it
 * does, and top to where the stack ends.
 */
static KsCedarFault
branch(const Operation *op, KsCedarValue **top, int *next)
{
	KsCedarValue *value = *top - 1;
	bool		is;

	if (op->code == OP_JUMP)
	{
		*next = op->target;
		return KS_CEDAR_NO_FAULT;
	}
	if (op->code == OP_IS_IN)
	{
		if (value->type != KS_CEDAR_TYPE_ENTITY)
			return KS_CEDAR_WRONG_TYPE;
		is = ks_cedar_key_compare(value->of.entity->uid.type, op->expr->of.string) == 0;
		if (!is)
		{
			*value = ks_cedar_bool(false);
			*next = op->target;
		}
		return KS_CEDAR_NO_FAULT;
	}
	if (value->type != KS_CEDAR_TYPE_BOOL)
		return KS_CEDAR_WRONG_TYPE;
	if (op->code == OP_BOOLEAN)
		return KS_CEDAR_NO_FAULT;
	/* The value stays when it is the result of "and" and "or". */
	if (value->of.boolean == (op->code == OP_OR))
	{
		*next = op->target;
		if (op->code != OP_UNLESS)
			return KS_CEDAR_NO_FAULT;
	}
	*top = value;
	return KS_CEDAR_NO_FAULT;
}

static KsCedarFault
run(const KsCedarProgram *program, KsCedarRequest *request, KsCedarValue *stack, KsCedarValue *result)
{
	KsCedarValue *top = stack;

	for (int next = 0; next < program->n;)
	{
		const Operation *op = &program->ops[next++];
		KsCedarFault fault = KS_CEDAR_NO_FAULT;

		if (--request->steps_left < 0)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("policies take more than %d steps", KS_CEDAR_STEPS_MAX)));
		if (op->code == OP_CONSTANT)
			*top++ = op->constant;
		else if (op->code == KS_CEDAR_VAR)
			*top++ = get_var(request, op->expr->of.var);
		else if (op->code > OP_CONSTANT)
			fault = branch(op, &top, &next);
		else
		{
			top -= op->noperands;
			fault = apply(request, op, top++);
		}
		if (fault != KS_CEDAR_NO_FAULT)
			return fault;
	}
	*result = stack[0];
	return KS_CEDAR_NO_FAULT;
}

KsCedarFault
ks_cedar_run(const KsCedarProgram *program, KsCedarRequest *request, KsCedarValue *result)
{
	KsCedarValue usual[STACK_USUAL];
	KsCedarValue *stack = usual;

	CHECK_FOR_INTERRUPTS();
	if (program->stack > STACK_USUAL)
		stack = palloc_extended(sizeof(KsCedarValue) * program->stack, MCXT_ALLOC_HUGE);
	return run(program, request, stack, result);
}

KsCedarFault
ks_cedar_holds(const KsCedarProgram *program, KsCedarRequest *request, bool *result)
{
	KsCedarValue value;
	KsCedarFault fault = ks_cedar_run(program, request, &value);

	if (fault != KS_CEDAR_NO_FAULT)
		return fault;
	if (value.type != KS_CEDAR_TYPE_BOOL)
		return KS_CEDAR_WRONG_TYPE;
	*result = value.of.boolean;
	return KS_CEDAR_NO_FAULT;
}

void
ks_cedar_request(KsCedarRequest *request, const KsCedarEntities *entities, const KsCedarRef *principal,
				 const KsCedarRef *action, const KsCedarRef *resource, const KsCedarRecord *context)
{
	request->refs[KS_CEDAR_PRINCIPAL] = principal;
	request->refs[KS_CEDAR_ACTION] = action;
	request->refs[KS_CEDAR_RESOURCE] = resource;
	for (int i = 0; i < KS_CEDAR_CONTEXT; i++)
		request->found[i] = ks_cedar_get_entity(entities, request->refs[i]);
	request->context = context;
	request->entities = entities;
	request->steps_left = KS_CEDAR_STEPS_MAX;
}

/* Policies */

typedef struct Scope
{
	KsCedarScopeOp op;
	KsCedarString type;
	int			n;
	KsCedarRef *refs;
} Scope;

typedef struct Condition
{
	bool		unless;
	KsCedarProgram *program;
} Condition;

typedef struct Policy
{
	bool		forbid;
	int			nconditions;
	Scope		scopes[KS_CEDAR_CONTEXT];
	Condition  *conditions;
} Policy;

struct KsCedarPrepared
{
	int			n;
	Policy	   *policies;
};

static void
prepare_scope(const KsCedarScope *from, Scope *scope)
{
	scope->op = from->op;
	scope->type = from->type;
	scope->n = from->nuids;
	scope->refs = palloc(sizeof(KsCedarRef) * (from->nuids + 1));
	for (int i = 0; i < from->nuids; i++)
		ks_cedar_ref(from->uids[i], &scope->refs[i]);
}

static void
prepare_policy(const KsCedarPolicy *from, Policy *policy)
{
	policy->forbid = from->forbid;
	prepare_scope(&from->principal, &policy->scopes[KS_CEDAR_PRINCIPAL]);
	prepare_scope(&from->action, &policy->scopes[KS_CEDAR_ACTION]);
	prepare_scope(&from->resource, &policy->scopes[KS_CEDAR_RESOURCE]);
	policy->nconditions = from->nconditions;
	policy->conditions = palloc(sizeof(Condition) * (from->nconditions + 1));
	for (int i = 0; i < from->nconditions; i++)
	{
		policy->conditions[i].unless = from->conditions[i].unless;
		policy->conditions[i].program = ks_cedar_compile(from->conditions[i].body);
	}
}

KsCedarPrepared *
ks_cedar_prepare(const KsCedarPolicies *policies)
{
	KsCedarPrepared *prepared = palloc(sizeof(KsCedarPrepared));

	prepared->n = policies->npolicies;
	prepared->policies = palloc_extended(sizeof(Policy) * (policies->npolicies + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < policies->npolicies; i++)
	{
		CHECK_FOR_INTERRUPTS();
		prepare_policy(&policies->policies[i], &prepared->policies[i]);
	}
	return prepared;
}

/* The action is what most policies differ in. */
static const KsCedarVar scope_order[] = {KS_CEDAR_ACTION, KS_CEDAR_RESOURCE, KS_CEDAR_PRINCIPAL};

/* No scope is ever at fault, so that their order makes no difference. */
static bool
is_in_scope(const KsCedarRequest *request, const Scope *scope, const KsCedarRef *ref)
{
	switch (scope->op)
	{
		case KS_CEDAR_SCOPE_ALL:
			return true;
		case KS_CEDAR_SCOPE_EQ:
			return ks_cedar_ref_equal(ref, &scope->refs[0]);
		case KS_CEDAR_SCOPE_IS:
			return ks_cedar_key_compare(ref->uid.type, scope->type) == 0;
		case KS_CEDAR_SCOPE_IS_IN:
			if (ks_cedar_key_compare(ref->uid.type, scope->type) != 0)
				return false;
			break;
		case KS_CEDAR_SCOPE_IN:
		case KS_CEDAR_SCOPE_IN_SET:
			break;
	}
	for (int i = 0; i < scope->n; i++)
	{
		if (is_in(request, ref, &scope->refs[i]))
			return true;
	}
	return false;
}

static KsCedarFault
policy_holds(const Policy *policy, KsCedarRequest *request, bool *result)
{
	*result = false;
	for (size_t i = 0; i < lengthof(scope_order); i++)
	{
		KsCedarVar	var = scope_order[i];

		request->steps_left -= policy->scopes[var].n;
		if (!is_in_scope(request, &policy->scopes[var], request->refs[var]))
			return KS_CEDAR_NO_FAULT;
	}
	for (int i = 0; i < policy->nconditions; i++)
	{
		bool		holds;
		KsCedarFault fault = ks_cedar_holds(policy->conditions[i].program, request, &holds);

		if (fault != KS_CEDAR_NO_FAULT)
			return fault;
		if (holds == policy->conditions[i].unless)
			return KS_CEDAR_NO_FAULT;
	}
	*result = true;
	return KS_CEDAR_NO_FAULT;
}

void
ks_cedar_authorize(const KsCedarPrepared *prepared, KsCedarRequest *request, KsCedarAnswer *answer)
{
	int		   *permits = palloc_extended(sizeof(int) * (prepared->n + 1), MCXT_ALLOC_HUGE);
	int		   *forbids = palloc_extended(sizeof(int) * (prepared->n + 1), MCXT_ALLOC_HUGE);
	int			npermits = 0;
	int			nforbids = 0;

	answer->errors = palloc_extended(sizeof(int) * (prepared->n + 1), MCXT_ALLOC_HUGE);
	answer->nerrors = 0;
	for (int i = 0; i < prepared->n; i++)
	{
		const Policy *policy = &prepared->policies[i];
		bool		holds;

		CHECK_FOR_INTERRUPTS();
		if (policy_holds(policy, request, &holds) != KS_CEDAR_NO_FAULT)
			answer->errors[answer->nerrors++] = i;
		else if (holds && policy->forbid)
			forbids[nforbids++] = i;
		else if (holds)
			permits[npermits++] = i;
	}
	answer->allow = npermits > 0 && nforbids == 0;
	answer->reasons = answer->allow ? permits : forbids;
	answer->nreasons = answer->allow ? npermits : nforbids;
}
