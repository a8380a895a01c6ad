/*-------------------------------------------------------------------------
 *
 * ks_policy_ask.h
 *	  Questions about policy that somebody asks by an SQL function: what would
 *	  be decided for a principal, an action and a resource.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_ASK_H
#define KS_POLICY_ASK_H

#include "ks_policy.h"
#include "ks_vault.h"

/* A question.  It stays where it is: the request points into it. */
typedef struct KsPolicyAsk
{
	KsCall		caller;			/* who asks */
	KsCall		call;			/* about whom */
	KsMembership member;		/* its membership */
	const KsPolicyAction *action;
	KsPolicyRequest request;
	const char *refused;		/* why the role does not permit it, a constant
								 * phrase; NULL: it does */
} KsPolicyAsk;

/*
 * Reads the arguments workspace, action, resource and context, the first ones
 * of a function.  principal: about whom, NULL for the caller; another one
 * needs the permission policy, and so does everything when privileged.
 * 22004, 22023, 42501, PT404 also for what the caller may not see.
 */
extern void ks_policy_ask_args(FunctionCallInfo fcinfo, KsPolicyAsk *ask, const uint8 *principal, bool privileged);

/* Makes it about another member; false when it is none. */
extern bool ks_policy_ask_about(KsPolicyAsk *ask, const uint8 principal[KS_ID_LEN]);

/* Why the role does not permit it, a constant phrase; NULL when it does. */
extern const char *ks_policy_ask_refuses(const KsPolicyAsk *ask);

/* The decision: the role first, then the documents; rule by rule when rules
 * are given. */
extern void ks_policy_ask_decide(const KsPolicyAsk *ask, const KsPolicyRules *rules, KsDecision *decision);

#endif							/* KS_POLICY_ASK_H */
