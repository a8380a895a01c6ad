/*-------------------------------------------------------------------------
 *
 * ks_gate_args.h
 *	  What a verb would ask policy about, checked for somebody who asks for
 *	  approval of it beforehand.
 *
 * Voters read the resource and the parameters of a request.  Both are what the
 * verb itself would make (ks_gate.h): what it could not make is refused when it
 * is asked for, so that nobody approves one thing and sees another used.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_GATE_ARGS_H
#define KS_GATE_ARGS_H

#include "ks_policy_request.h"

/*
 * Checks a request's resource and parameters against each other and against
 * its action, and fills in what a new credential has by its parameters.  22023;
 * 22007 for times that are none.
 */
extern void ks_gate_args_check(KsPolicyRequest *request);

/*
 * 22023 when a member of parameters, at any depth, has a name that says that it
 * is a secret: voters see all that a request has.  A policy's document is none.
 */
extern void ks_gate_args_refuse_secrets(const char *action, const Jsonb *parameters);

#endif							/* KS_GATE_ARGS_H */
