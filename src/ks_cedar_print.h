/*-------------------------------------------------------------------------
 *
 * ks_cedar_print.h
 *	  Cedar's text: its writer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_PRINT_H
#define KS_CEDAR_PRINT_H

#include "ks_cedar_ast.h"

/*
 * Writes text that ks_cedar_text reads back as the same tree, with no more
 * parentheses than that needs.
 */
extern KsCedarString ks_cedar_print(const KsCedarPolicies *policies);
extern KsCedarString ks_cedar_print_expr(const KsCedarExpr *expr);

#endif							/* KS_CEDAR_PRINT_H */
