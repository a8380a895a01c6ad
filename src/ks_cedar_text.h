/*-------------------------------------------------------------------------
 *
 * ks_cedar_text.h
 *	  Cedar's text: its parser.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_TEXT_H
#define KS_CEDAR_TEXT_H

#include "ks_cedar_ast.h"

/*
 * Reads policies, or one expression and nothing else.  The text is len bytes
 * of UTF-8 and needs no terminator.  NULL when it is not Cedar, and error says
 * why.  Policies with slots (templates) are refused.
 */
extern KsCedarPolicies *ks_cedar_parse(const char *text, size_t len, KsCedarError *error);
extern KsCedarExpr *ks_cedar_parse_expr(const char *text, size_t len, KsCedarError *error);

#endif							/* KS_CEDAR_TEXT_H */
