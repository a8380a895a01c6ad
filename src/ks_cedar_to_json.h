/*-------------------------------------------------------------------------
 *
 * ks_cedar_to_json.h
 *	  Cedar's JSON form of policies and expressions, as jsonb: its writer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_TO_JSON_H
#define KS_CEDAR_TO_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "ks_cedar_ast.h"

/*
 * Writes what ks_cedar_json reads back as the same tree.  22P05 when a string
 * in it has a NUL character, which jsonb cannot have.
 */
extern Jsonb *ks_cedar_expr_to_json(const KsCedarExpr *expr);
extern Jsonb *ks_cedar_policy_to_json(const KsCedarPolicy *policy);

#endif							/* KS_CEDAR_TO_JSON_H */
