/*-------------------------------------------------------------------------
 *
 * ks_cedar_json.h
 *	  Cedar's JSON form of policies and expressions, as jsonb: its
 *	  reader.
 *
 * The form is documented as "JSON policy format" at docs.cedarpolicy.com.  A
 * policy is an object with effect, principal, action, resource, conditions and
 * annotations; an expression is an object of one member, its operator.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_JSON_H
#define KS_CEDAR_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "ks_cedar_ast.h"

/*
 * Reads an expression or a policy.  NULL when it is none, and error says why
 * and where.  Members that the form does not have are refused, and so are
 * slots.
 */
extern KsCedarExpr *ks_cedar_expr_from_json(const Jsonb *json, KsCedarError *error);
extern KsCedarPolicy *ks_cedar_policy_from_json(const Jsonb *json, KsCedarError *error);

/* The same for a value within a document. */
extern KsCedarExpr *ks_cedar_expr_from_value(const JsonbValue *value, KsCedarError *error);

/* The exact value of a number; false when it is no integer of 64 bits. */
extern bool ks_cedar_json_integer(const JsonbValue *number, int64 *integer);

/* The same of a literal of Cedar, which has no point, not even in 1.0. */
extern bool ks_cedar_json_long(const JsonbValue *number, int64 *integer);

#define KS_CEDAR_NOT_A_LONG	"the number is not an integer of 64 bits"

#endif							/* KS_CEDAR_JSON_H */
