/*-------------------------------------------------------------------------
 *
 * ks_need.h
 *	  Who must approve: how it is kept, whose votes count, and when there are
 *	  enough of them.
 *
 * Nothing here reads a table: what is known of a voter is given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_NEED_H
#define KS_NEED_H

#include "ks_policy.h"

/* A member of the workspace who votes, as it is now. */
typedef struct KsVoter
{
	uint8		principal[KS_ID_LEN];
	const char *role;
	uint32		permissions;
	TimestampTz since;			/* of when its membership is as it is */
} KsVoter;

/* A need as it is frozen with a request, and back; false for other jsonb. */
extern Jsonb *ks_need_to_json(const KsApprovalNeed *need);
extern bool ks_need_from_json(const Jsonb *json, KsApprovalNeed *need);

/*
 * Whether whatever meets one need meets another, too: it has the same factors
 * or more of them, counts as many, waits as long, and wants the same preview.
 */
extern bool ks_need_covers(const KsApprovalNeed *need, const KsApprovalNeed *other);

/* How many steps of escalation are due, from the time when it was asked. */
extern int	ks_need_level(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now);

/*
 * Whether a voter's vote can count: it is one of those whom a factor names, and
 * was when it was asked; or whom a step of escalation names that is taken, and
 * was at that time.
 */
extern bool ks_need_may_vote(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now,
							 const KsVoter *voter);

/* Whether such voters, each once, are enough: so many distinct ones for each
 * factor.  True when nobody is needed. */
extern bool ks_need_is_met(const KsApprovalNeed *need, TimestampTz asked, TimestampTz now,
						   const KsVoter *voters, int n);

#endif							/* KS_NEED_H */
