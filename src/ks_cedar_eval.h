/*-------------------------------------------------------------------------
 *
 * ks_cedar_eval.h
 *	  Compiles expressions and policies of the language Cedar, and evaluates
 *	  them for a request.
 *
 * A program points to the strings of the tree that it was compiled from.  It
 * is not changed by a run, so that any number of runs may use one.  A run
 * allocates in the current memory context.  An expression without a value is a
 * result and raises nothing: what becomes of it is for the caller to decide.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_EVAL_H
#define KS_CEDAR_EVAL_H

#include "ks_cedar_ast.h"
#include "ks_cedar_entity.h"
#include "ks_cedar_value.h"

/* Steps of one request, about as many machine words looked at. */
#define KS_CEDAR_STEPS_MAX	20000000

typedef struct KsCedarProgram KsCedarProgram;

/* A request; made by ks_cedar_request(). */
typedef struct KsCedarRequest
{
	const KsCedarRef *refs[KS_CEDAR_CONTEXT];	/* by KsCedarVar */
	const KsCedarEntity *found[KS_CEDAR_CONTEXT];	/* NULL: there is none */
	const KsCedarRecord *context;
	const KsCedarEntities *entities;
	int64		steps_left;
} KsCedarRequest;

extern void ks_cedar_request(KsCedarRequest *request, const KsCedarEntities *entities,
							 const KsCedarRef *principal, const KsCedarRef *action,
							 const KsCedarRef *resource, const KsCedarRecord *context);

extern KsCedarProgram *ks_cedar_compile(const KsCedarExpr *expr);

/*
 * The value of an expression.  54000 when the steps of the request are used
 * up; ks_cedar_holds() is for those that must be boolean.
 */
extern KsCedarFault ks_cedar_run(const KsCedarProgram *program, KsCedarRequest *request, KsCedarValue *result);
extern KsCedarFault ks_cedar_holds(const KsCedarProgram *program, KsCedarRequest *request, bool *result);

/* Policies that are ready to be asked. */
typedef struct KsCedarPrepared KsCedarPrepared;

extern KsCedarPrepared *ks_cedar_prepare(const KsCedarPolicies *policies);

/* Policies are told by their numbers, in their order. */
typedef struct KsCedarAnswer
{
	bool		allow;
	int			nreasons;
	int		   *reasons;		/* that decided: permits if it is allowed,
								 * forbids if not */
	int			nerrors;
	int		   *errors;			/* that had a fault, and did not count */
} KsCedarAnswer;

/*
 * Cedar's own semantics: denied unless a policy permits it and none forbids
 * it; a policy at fault is skipped.
 */
extern void ks_cedar_authorize(const KsCedarPrepared *prepared, KsCedarRequest *request, KsCedarAnswer *answer);

#endif							/* KS_CEDAR_EVAL_H */
