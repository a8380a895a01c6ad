/*-------------------------------------------------------------------------
 *
 * ks_policy_index.h
 *	  Finds the rules that may match a request among many.
 *
 * Rules are cut by action, each cut when it is first asked for.  Within a cut
 * a rule lies under the literals of one of its lists, that which the fewest
 * rules of the cut share; a rule without such a list is looked at always.
 * Since a list must match for a rule to match, what is not found does not
 * match; what is found may.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_INDEX_H
#define KS_POLICY_INDEX_H

#include "ks_policy_doc.h"

typedef struct KsIndexedRule
{
	const KsPolicyDoc *doc;
	const KsPolicyRule *rule;
	int32		version;		/* of the policy */
	bool		of_database;	/* it binds all workspaces */
	int			looks;			/* ks_policy_request_looks() of its conditions */
} KsIndexedRule;

/* What a request has; NULL for what it has not. */
typedef struct KsIndexKey
{
	const char *environment;
	const char *provider;
	const char *secret;
	const char *role;
	const uint8 *principal;
} KsIndexKey;

typedef struct KsPolicyIndex KsPolicyIndex;

/* An index over rules, which stay where they are; it grows in context. */
extern KsPolicyIndex *ks_policy_index_make(MemoryContext context, const KsIndexedRule *rules, int n);

/* How many rules name an action; one that is no action has none. */
extern int	ks_policy_index_count(KsPolicyIndex *index, const char *action);

/*
 * Calls a function for each rule that may match, each once, in no order.
 */
typedef void (*KsIndexVisit) (void *arg, const KsIndexedRule *rule);

extern void ks_policy_index_visit(KsPolicyIndex *index, const char *action, const KsIndexKey *key,
								  KsIndexVisit visit, void *arg);

#endif							/* KS_POLICY_INDEX_H */
