/*-------------------------------------------------------------------------
 *
 * ks_approval.h
 *	  Requests for approval: who must agree before a call is made, and the one
 *	  time that the agreement is used.
 *
 * A request is bound to the hash of one exact call.  What it needs is frozen
 * when it is asked: a policy that is loosened afterwards does not help it, one
 * that is tightened holds as well.  Votes are counted anew whenever they
 * matter: a voter counts who was entitled when it was asked, and is so now.
 *
 * The claim of a request is decided by the appender, durably, before anything
 * is done for it: whatever becomes of the claimer's transaction, it is spent.
 * Whoever holds the lock of the request's row and finds it approved, but
 * claimed in the log, knows that the transaction that claimed it was rolled
 * back: it has failed.
 *
 * Locks: the request's row first, then the lane.  The appender takes no lock
 * of a request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_APPROVAL_H
#define KS_APPROVAL_H

#include "ks_change.h"
#include "ks_need.h"

#define KS_APPROVAL_NOTIFY	"keystone_approvals"	/* channel */

/* Requests that are open at the same time: a member's, and a workspace's. */
#define KS_APPROVAL_OPEN_MAX		100
#define KS_APPROVAL_OPEN_ALL_MAX	1000

typedef enum KsApprovalAnswer
{
	KS_APPROVAL_OK,
	KS_APPROVAL_UNKNOWN,		/* no such request of the caller's */
	KS_APPROVAL_OTHER_CALL,		/* it was asked for another call */
	KS_APPROVAL_PENDING,		/* not enough votes yet */
	KS_APPROVAL_OVER,			/* rejected, cancelled, expired, superseded */
	KS_APPROVAL_SPENT,			/* it was used */
	KS_APPROVAL_SHORT,			/* votes count no longer, or policy wants more
								 * than was asked for */
	KS_APPROVAL_WAIT			/* not before *not_before */
} KsApprovalAnswer;

/* What an answer means, a constant phrase; NULL for KS_APPROVAL_OK. */
extern const char *ks_approval_answer_text(KsApprovalAnswer answer);

/*
 * Whether request->approval lets this request through, whose decision is
 * given (its approval need, and its request_hash).  Changes nothing: for
 * dry_run, and policy_evaluate.
 */
extern KsApprovalAnswer ks_approval_check(const KsPolicyRequest *request, const KsDecision *decision,
										  TimestampTz *not_before);

/*
 * The same, and claims it: durable when this returns KS_APPROVAL_OK, before
 * the verb does anything.  The request is executed when the transaction
 * commits, and failed when it does not.  After ks_begin_change(), or
 * ks_begin_reveal(); not where nothing can be written.
 */
extern KsApprovalAnswer ks_approval_claim(KsVerb *verb, const KsPolicyRequest *request,
										  const KsDecision *decision, TimestampTz *not_before);

/* Whether somebody has recorded a preview for what a credential has now, not
 * longer ago than so many microseconds (0: whenever). */
extern bool ks_approval_has_preview(const KsCredential *credential, int64 max_age, TimestampTz now);

/* What policy makes of open requests, in the order of their ids. */
typedef struct KsApprovalStanding
{
	uint8		id[KS_ID_LEN];
	bool		denied;
	const Jsonb *need;			/* as a request keeps it: not in the memory of
								 * policies, which change */
} KsApprovalStanding;

typedef struct KsApprovalStandings
{
	int			n;
	KsApprovalStanding *all;
} KsApprovalStandings;

/* Before policies of a workspace change (nil: of the database); palloc'd. */
extern void ks_approval_note_standings(const uint8 workspace[KS_ID_LEN], KsApprovalStandings *standings);

/*
 * After they have changed in this transaction: open requests are superseded for
 * which the change asks more than before, and more than their frozen need
 * covers, or which it denies.  Returns how many.  One that is locked is left as
 * it is: nobody's transaction keeps a policy from being changed, and who claims
 * needs what policy wants by then in any case.
 */
extern int	ks_approval_supersede(const uint8 workspace[KS_ID_LEN], const KsApprovalStandings *before);

/*
 * Whether a need can be met at all: so many others, for each factor, are there
 * to vote.  requester may be NULL: anybody's request, so one member more is
 * needed than the factor counts, unless the voters are not all that there is.
 */
extern bool ks_approval_is_satisfiable(const uint8 workspace[KS_ID_LEN], const KsApprovalNeed *need,
									   const uint8 *requester);

/*
 * Housekeeping, in a transaction: notices escalations that are due, marks what
 * has expired and what failed.  Decides nothing that the functions do not
 * decide by themselves.  Returns whether there is more to do at once.
 */
extern bool ks_approval_sweep(void);

/* How many emergencies wait for their review for too long; *named receives
 * the first of them, palloc'd. */
extern int64 ks_approval_overdue(char **named);


/*-------------------------------------------------------------------------
 * For the SQL functions
 *-------------------------------------------------------------------------
 */

/* A request as it was asked, ready to be evaluated again. */
typedef struct KsAsked
{
	KsPolicyRequest request;
	KsCall		call;
	KsMembership member;
	KsCredential credential;
} KsAsked;

/* Reads a request as it is now; false when there is none, or its row is
 * forged. */
extern bool ks_approval_find(const uint8 id[KS_ID_LEN], KsApprovalRow *row);

/*
 * The same, having locked it.  What its time makes of it is written at once:
 * it is expired then, or failed, when the transaction that claimed it is
 * rolled back.
 */
extern bool ks_approval_lock(const uint8 id[KS_ID_LEN], KsApprovalRow *row);

/* PT429 when somebody, or all of a workspace, have as many open requests as may
 * be.  The caller holds ks_tenant_lock() of the workspace. */
extern void ks_approval_require_room(const uint8 workspace[KS_ID_LEN], const uint8 requester[KS_ID_LEN]);

/* Writes a new request. */
extern void ks_approval_insert(const KsApprovalRow *row);

/* Gives a locked request another state; detail may be NULL. */
extern void ks_approval_move(KsApprovalRow *row, const char *state, const char *detail);

/* Writes the review of an emergency. */
extern void ks_approval_set_reviewed(KsApprovalRow *row, const uint8 by[KS_ID_LEN], const char *comment);

/*
 * Why somebody may not vote on a request, a constant phrase for a hint; NULL
 * when it may.  *stranger: it has nothing to do with the request.  The voter's
 * membership stays as it is until the transaction ends.
 */
extern const char *ks_approval_refuses(const KsApprovalRow *row, const uint8 voter[KS_ID_LEN], bool *stranger);

/* Whether somebody is a person and a member, and independent of who made the
 * request. */
extern bool ks_approval_is_other(const KsApprovalRow *row, const uint8 principal[KS_ID_LEN]);

/* The vote of somebody on a request; NULL when there is none. */
extern const char *ks_approval_vote_of(const KsApprovalRow *row, const uint8 voter[KS_ID_LEN]);

/* Writes a vote, and the state that follows from it. */
extern void ks_approval_vote(KsApprovalRow *row, const uint8 voter[KS_ID_LEN], const char *vote, const char *comment);

/* Those who have voted stay members as they are until the transaction ends:
 * before their votes are counted. */
extern void ks_approval_lock_voters(const KsApprovalRow *row);

/* Claims a locked, approved request through the lane: false when somebody else
 * has done so. */
extern bool ks_approval_spend(KsVerb *verb, const KsApprovalRow *row);

/* What a locked request's row and time say about using it. */
extern KsApprovalAnswer ks_approval_judge(const KsApprovalRow *row, const uint8 hash[KS_DIGEST_LEN],
										  const KsApprovalNeed *other, TimestampTz *not_before);

/* As it was asked; false when what it is about, or who asked, is no more. */
extern bool ks_approval_restore(const KsApprovalRow *row, KsAsked *asked);

/* Tells those who listen, when the transaction commits. */
extern void ks_approval_notify(const KsApprovalRow *row, const char *event);

/* Writes the alert of an emergency. */
extern void ks_approval_alert(const KsApprovalRow *row);

extern void ks_approval_insert_preview(const KsPreviewRow *row, const Jsonb *detail);

#endif							/* KS_APPROVAL_H */
