/*-------------------------------------------------------------------------
 *
 * ks_cedar_ast.h
 *	  Cedar policies and expressions as a tree.
 *
 * The tree is what Cedar's text and its JSON form are read into, and what the
 * evaluator compiles.  It is made by the functions here only, and is not
 * changed afterwards.  What always holds for one that was made:
 *
 *	- no expression is deeper than KS_CEDAR_DEPTH_MAX, so that whoever walks
 *	  it may recurse;
 *	- strings are UTF-8 with a length, may hold NUL, and are followed by a NUL
 *	  that does not count;
 *	- records have their keys in order of bytes, each once;
 *	- everything lives in the memory context that was current, and points to
 *	  nothing of the source that it was read from.
 *
 * The semantics are those of Cedar's language version 4.5.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_AST_H
#define KS_CEDAR_AST_H

#include "ks_compat.h"

#define KS_CEDAR_DEPTH_MAX	512 /* of an expression, and of its source */
#define KS_CEDAR_TEXT_MAX	4194304 /* bytes of a source */

typedef struct KsCedarString
{
	const char *data;
	size_t		len;
} KsCedarString;

/* Such as App::User::"alice". */
typedef struct KsCedarUid
{
	KsCedarString type;			/* App::User, without white space */
	KsCedarString id;			/* alice */
} KsCedarUid;

typedef enum KsCedarVar
{
	KS_CEDAR_PRINCIPAL,
	KS_CEDAR_ACTION,
	KS_CEDAR_RESOURCE,
	KS_CEDAR_CONTEXT
} KsCedarVar;

/* What is said of each: its operands, and which of KsCedarExpr.of it has. */
typedef enum KsCedarKind
{
	/* none */
	KS_CEDAR_BOOL,				/* boolean */
	KS_CEDAR_LONG,				/* integer */
	KS_CEDAR_STRING,			/* string */
	KS_CEDAR_ENTITY,			/* uid */
	KS_CEDAR_VAR,				/* var */

	/* one */
	KS_CEDAR_NOT,
	KS_CEDAR_NEG,
	KS_CEDAR_IS_EMPTY,
	KS_CEDAR_GET_ATTR,			/* string: the attribute */
	KS_CEDAR_HAS_ATTR,			/* list: an attribute, or a path of attributes
								 * that are all identifiers */
	KS_CEDAR_LIKE,				/* list: what stands between wildcards, so one
								 * more than there are wildcards */
	KS_CEDAR_IS,				/* string: the entity type; a second operand
								 * when "in" follows */

	/* two */
	KS_CEDAR_AND,
	KS_CEDAR_OR,
	KS_CEDAR_EQ,
	KS_CEDAR_NE,
	KS_CEDAR_LT,
	KS_CEDAR_LE,
	KS_CEDAR_GT,
	KS_CEDAR_GE,
	KS_CEDAR_ADD,
	KS_CEDAR_SUB,
	KS_CEDAR_MUL,
	KS_CEDAR_IN,
	KS_CEDAR_CONTAINS,
	KS_CEDAR_CONTAINS_ALL,
	KS_CEDAR_CONTAINS_ANY,
	KS_CEDAR_GET_TAG,
	KS_CEDAR_HAS_TAG,

	/* three: condition, then, else */
	KS_CEDAR_IF,

	/* any number */
	KS_CEDAR_SET,
	KS_CEDAR_RECORD,			/* list: the keys, one for each operand */
	KS_CEDAR_CALL				/* function; of a method, the first operand is
								 * what it is called on.  A wrong number of
								 * operands is an error of evaluation */
} KsCedarKind;

/* Functions and methods of the extension types. */
typedef enum KsCedarFunction
{
	KS_CEDAR_FN_IP,
	KS_CEDAR_FN_DECIMAL,
	KS_CEDAR_FN_DATETIME,
	KS_CEDAR_FN_DURATION,

	KS_CEDAR_FN_IS_IPV4,
	KS_CEDAR_FN_IS_IPV6,
	KS_CEDAR_FN_IS_LOOPBACK,
	KS_CEDAR_FN_IS_MULTICAST,
	KS_CEDAR_FN_IS_IN_RANGE,

	KS_CEDAR_FN_LESS_THAN,
	KS_CEDAR_FN_LESS_THAN_OR_EQUAL,
	KS_CEDAR_FN_GREATER_THAN,
	KS_CEDAR_FN_GREATER_THAN_OR_EQUAL,

	KS_CEDAR_FN_OFFSET,
	KS_CEDAR_FN_DURATION_SINCE,
	KS_CEDAR_FN_TO_DATE,
	KS_CEDAR_FN_TO_TIME,
	KS_CEDAR_FN_TO_MILLISECONDS,
	KS_CEDAR_FN_TO_SECONDS,
	KS_CEDAR_FN_TO_MINUTES,
	KS_CEDAR_FN_TO_HOURS,
	KS_CEDAR_FN_TO_DAYS
} KsCedarFunction;

#define KS_CEDAR_FUNCTIONS	(KS_CEDAR_FN_TO_DAYS + 1)

typedef struct KsCedarFunctionInfo
{
	const char *name;
	bool		method;
	int			operands;		/* that it needs, a method's object counted */
} KsCedarFunctionInfo;

extern const KsCedarFunctionInfo ks_cedar_functions[KS_CEDAR_FUNCTIONS];

/* Operators that have nothing but operands. */
typedef struct KsCedarOperator
{
	KsCedarKind kind;
	const char *name;			/* in JSON, and in text but for KS_CEDAR_NEG */
	bool		method;			/* in text */
	int			noperands;
	const char *members[3];		/* of the JSON form, one for each operand */
} KsCedarOperator;

#define KS_CEDAR_OPERATORS	21

extern const KsCedarOperator ks_cedar_operators[KS_CEDAR_OPERATORS];

/* NULL if there is none. */
extern const KsCedarOperator *ks_cedar_operator_of(KsCedarKind kind);
extern const KsCedarOperator *ks_cedar_find_operator(const char *name, size_t len);

#define KS_CEDAR_VARS		(KS_CEDAR_CONTEXT + 1)

extern const char *const ks_cedar_vars[KS_CEDAR_VARS];

typedef struct KsCedarExpr KsCedarExpr;

struct KsCedarExpr
{
	KsCedarKind kind;
	int			depth;			/* 1: no operands */
	int			position;		/* byte of the text, from 0; -1: not from text */
	int			noperands;
	int			nlist;			/* strings in of.list, else 0 */
	union
	{
		bool		boolean;
		int64		integer;
		KsCedarString string;
		KsCedarUid	uid;
		KsCedarVar	var;
		KsCedarFunction function;
		KsCedarString *list;
	}			of;
	KsCedarExpr **operands;
};

typedef enum KsCedarScopeOp
{
	KS_CEDAR_SCOPE_ALL,
	KS_CEDAR_SCOPE_EQ,			/* one uid */
	KS_CEDAR_SCOPE_IN,			/* one uid */
	KS_CEDAR_SCOPE_IN_SET,		/* any number of uids; of action only */
	KS_CEDAR_SCOPE_IS,			/* type */
	KS_CEDAR_SCOPE_IS_IN		/* type and one uid */
} KsCedarScopeOp;

typedef struct KsCedarScope
{
	KsCedarScopeOp op;
	KsCedarString type;
	int			nuids;
	KsCedarUid *uids;
} KsCedarScope;

typedef struct KsCedarAnnotation
{
	KsCedarString key;
	KsCedarString value;		/* data is NULL when none was given */
} KsCedarAnnotation;

typedef struct KsCedarCondition
{
	bool		unless;
	KsCedarExpr *body;
} KsCedarCondition;

typedef struct KsCedarPolicy
{
	KsCedarString id;			/* "policy" and its number in the source */
	bool		forbid;
	int			position;		/* as that of an expression */
	int			nannotations;
	KsCedarAnnotation *annotations; /* by key, each once */
	KsCedarScope principal;
	KsCedarScope action;
	KsCedarScope resource;
	int			nconditions;
	KsCedarCondition *conditions;
} KsCedarPolicy;

typedef struct KsCedarPolicies
{
	int			npolicies;
	KsCedarPolicy *policies;
} KsCedarPolicies;

/* What is wrong with a source. */
typedef struct KsCedarError
{
	const char *problem;		/* constant phrase; NULL: nothing */
	int			position;		/* byte of the text, from 0; -1: not from text */
	const char *where;			/* path into JSON; NULL: none */
} KsCedarError;

/*
 * n bytes of zeros, in the current memory context.  Without a server they are
 * the program's, and ks_cedar_release() frees all of them.
 */
extern void *ks_cedar_alloc(size_t n);

#ifdef KS_FRONTEND
extern void ks_cedar_release(void);
#endif

/* Raises 54001 when the stack is used up; does nothing without a server. */
extern void ks_cedar_check_stack(void);

/* Notes a problem if it is the first.  Returns NULL. */
extern void *ks_cedar_fail(KsCedarError *error, const char *problem, int position);

#ifndef KS_FRONTEND

/*
 * Raises 22023 for a problem.  parameter has the source, such as "policies";
 * text is what positions count in, or NULL.
 */
KS_NORETURN extern void ks_cedar_raise(const char *parameter, const char *text,
									   const KsCedarError *error) KS_NORETURN_END;

#endif							/* KS_FRONTEND */

/* Makers.  Those that can fail return NULL, and say why in error. */

extern KsCedarString ks_cedar_string(const char *data, size_t len);
extern bool ks_cedar_string_equal(KsCedarString a, KsCedarString b);
extern int	ks_cedar_string_compare(KsCedarString a, KsCedarString b);

/*
 * A node with room for its operands, which are copied from the array.  Fails
 * when it gets too deep; the caller fills in what else its kind has.
 */
extern KsCedarExpr *ks_cedar_node(KsCedarKind kind, int position, int noperands,
								  KsCedarExpr *const *operands, KsCedarError *error);

/* A record of what may stand in any order; fails for a key that comes twice. */
extern KsCedarExpr *ks_cedar_record(int position, int nmembers, const KsCedarString *keys,
									KsCedarExpr *const *values, KsCedarError *error);

/* Copies the array, not the strings, into a node. */
extern void ks_cedar_set_list(KsCedarExpr *node, int nlist, const KsCedarString *list);

/* Sorts annotations; fails for a key that comes twice. */
extern bool ks_cedar_set_annotations(KsCedarPolicy *policy, int nannotations,
									 const KsCedarAnnotation *annotations, KsCedarError *error);

/* The function or method of a name; false if there is none. */
extern bool ks_cedar_find_function(KsCedarString name, KsCedarFunction *function);

/* Whether a name is a word of letters, digits and "_"; a word that means
 * something else; a word that may name attributes and types. */
extern bool ks_cedar_is_word(KsCedarString name);
extern bool ks_cedar_is_reserved(KsCedarString name);
extern bool ks_cedar_is_identifier(KsCedarString name);

/* Whether it is such words with "::" between. */
extern bool ks_cedar_is_path(KsCedarString name);

/* Whether the type of an action's uid is Action, in some namespace. */
extern bool ks_cedar_is_action(KsCedarUid uid);

/* Whether they are the same, positions and ids of policies aside. */
extern bool ks_cedar_expr_equal(const KsCedarExpr *a, const KsCedarExpr *b);
extern bool ks_cedar_policy_equal(const KsCedarPolicy *a, const KsCedarPolicy *b);

#endif							/* KS_CEDAR_AST_H */
