/*-------------------------------------------------------------------------
 *
 * ks_plan.h
 *	  Plans: what a workspace may use of what is sold.
 *
 * A workspace has the plan that its row names, or keystone.default_plan.  A
 * row without a valid HMAC gives the least, free.
 *
 * (A KsPlan is a prepared statement, see ks_spi.h.)
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_PLAN_H
#define KS_PLAN_H

#include "keystone.h"

#include "datatype/timestamp.h"

/* A number that is not limited; greater than any that is. */
#define KS_PLAN_ANY_NUMBER	PG_INT64_MAX

typedef struct KsPlanInfo
{
	const char *name;
	int			rank;			/* greater: a plan that gives more */
	int64		rotations;		/* included in a month; KS_PLAN_ANY_NUMBER */
	bool		has_overage;	/* further ones have a price */
	int64		overage_micros; /* of each, when has_overage */
	int64		members;		/* of a workspace; KS_PLAN_ANY_NUMBER */
	int64		workspaces;		/* that a principal owns; KS_PLAN_ANY_NUMBER */
	int64		hosted_providers;	/* KS_PLAN_ANY_NUMBER */
	int			n_features;
	char	  **features;
} KsPlanInfo;

/* What of a workspace quotas and budgets go by. */
typedef struct KsBilling
{
	const KsPlanInfo *plan;
	TimestampTz anchor;			/* of its periods, see ks_period.h */
} KsBilling;

/* What these return is good until the next call into the room. */

/* A plan by its name, NULL when there is none. */
extern const KsPlanInfo *ks_plan_find(const char *name);

/* The plan of a workspace, that of its row (may be NULL: none of its own), as
 * its row has it now, and the same with the anchor. */
extern const KsPlanInfo *ks_plan_or_default(const char *name);
extern const KsPlanInfo *ks_plan_of(const uint8 workspace[KS_ID_LEN]);
extern void ks_plan_billing(const uint8 workspace[KS_ID_LEN], KsBilling *billing);

extern bool ks_plan_has(const KsPlanInfo *plan, const char *feature);

/* Whether any plan has a feature of that name. */
extern bool ks_plan_knows(const char *feature);

/*
 * Refuse with PT429 what the workspace's plan does not allow.  The caller
 * holds the lock that keeps the number as it is: the workspace's for the first
 * two, the owner's own row is taken here for the others.  The third is for who
 * makes a workspace, of which those count that the owner has made; the last for
 * one that is to become the owner of a workspace, of which all count.
 */
extern void ks_plan_check_members(const uint8 workspace[KS_ID_LEN], const uint8 newcomer[KS_ID_LEN]);
extern void ks_plan_check_providers(const uint8 workspace[KS_ID_LEN], const char *provider);
extern void ks_plan_check_workspaces(const uint8 owner[KS_ID_LEN]);
extern void ks_plan_check_ownership(const uint8 workspace[KS_ID_LEN], const uint8 owner[KS_ID_LEN]);

/* The same for a feature that the plan does not have; no lock is needed. */
extern void ks_plan_check_feature(const uint8 workspace[KS_ID_LEN], const char *feature);

#endif							/* KS_PLAN_H */
