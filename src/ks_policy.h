/*-------------------------------------------------------------------------
 *
 * ks_policy.h
 *	  Policies: which documents bind a request, and what they make of it.
 *
 * Documents only tighten what a member's permissions give.  They are compiled
 * once in each backend, kept per workspace, and dropped through relcache
 * invalidation of keystone_private.policies: a change that is committed
 * elsewhere holds from the next call on, whatever the caller's snapshot.
 *
 * Evaluation writes nothing, uses the wall clock, and never ends in an error
 * because of a document: a rule that fails to evaluate denies, or keeps its
 * duties.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_H
#define KS_POLICY_H

#include "ks_policy_doc.h"
#include "ks_policy_index.h"
#include "ks_policy_request.h"
#include "ks_policy_store.h"

/*
 * What decides, from all documents that match, in no order and without an end
 * before the last one:
 *
 *	- the role's permission is the ceiling, asked before (code rbac);
 *	- a forbid that matches denies; one with windows defers outside of them,
 *	  and denies when they never open again;
 *	- so do the windows of a permit or oblige that matches;
 *	- duties of all permits and obliges that match are joined: none takes
 *	  another's away.  Unmet ones require;
 *	- a forbid whose condition fails denies, an oblige's duties hold, a permit
 *	  does not match;
 *	- the outcome is the most closed one: deny, defer, require, permit.
 *
 * Without a document that says otherwise what the role permits is permitted.
 * A row of a policy that has no valid HMAC, or a document that cannot be read,
 * denies all in its workspace but putting and dropping policies.
 */

/* From open to closed. */
typedef enum KsDecisionKind
{
	KS_PERMIT = 0,				/* it may be done now */
	KS_REQUIRE,					/* something is needed first: obligations */
	KS_DEFER,					/* outside its window: not_before */
	KS_DENY
} KsDecisionKind;

/* The join of all duties to get approval that bind a request. */
typedef struct KsApprovalNeed
{
	int			n_factors;		/* 0: none is needed */
	KsFactor   *factors;
	int64		timeout;		/* microseconds until a pending request
								 * expires */
	int64		valid_for;		/* microseconds that an approval lasts */
	int			n_escalations;
	KsEscalation *escalations;
	int			loops;
	int64		wait;			/* microseconds between asking and using;
								 * there is a factor then, too */
	bool		preview;		/* a preview must have been recorded */
	int64		preview_age;	/* at most so old, microseconds */
} KsApprovalNeed;

/* Settings of documents, joined: the strictest of each. */
typedef struct KsPolicySettings
{
	bool		auto_redeploy;	/* false unless all that say something allow */
	int32		soft_limit;		/* per cent, 0: not said; see
								 * ks_policy_thresholds() */
	int32		hard_limit;
	int64		max_secret_age; /* microseconds, 0: not said */
} KsPolicySettings;

typedef struct KsDecision
{
	KsDecisionKind kind;
	Jsonb	   *reasons;		/* array of {policy, version, rule, effect,
								 * reason, code}; codes rbac, default, forbid,
								 * window, obligation, error */
	Jsonb	   *obligations;	/* array: unmet ones, as PT428 shows them */
	Jsonb	   *errors;			/* array of {policy, rule, message} */
	Jsonb	   *notify;			/* array of channels to tell, each once; NULL
								 * when there are none */
	Jsonb	   *shadow;			/* what shadow policies would have said; NULL
								 * when there are none */
	TimestampTz not_before;		/* when kind is KS_DEFER, or wait; else 0 */
	KsApprovalNeed approval;	/* what is still unmet of it, when needed */
	KsPolicySettings settings;
	uint8		request_hash[KS_DIGEST_LEN];	/* SHA-256, what an approval
												 * is bound to */
} KsDecision;

/*
 * What the workspace's documents, and the database's, make of a request.  All
 * in the current memory context.  It does not look for an approval: a need of
 * one stands in obligations and approval, and the gate asks ks_approval.
 */
extern void ks_policy_evaluate(const KsPolicyRequest *request, KsDecision *decision);

/* True when no document can bind such a request: it is permitted as the role
 * permits.  The common case, and cheap. */
extern bool ks_policy_is_silent(const uint8 workspace[KS_ID_LEN], const char *action);

/*
 * What is left of limits in a workspace, in per cent: the settings soft_limit
 * and hard_limit of the documents that are about a credential; NULL: of those
 * of levels workspace and system, which are about all that is done there.  0:
 * none says anything.  False, and no thresholds, when a policy is damaged.
 * Cheap.
 */
extern bool ks_policy_thresholds(const uint8 workspace[KS_ID_LEN], const KsCredential *credential,
								 int32 *soft, int32 *hard);

/* Differs from what it was when a policy has changed since, of which this
 * process has heard.  For who asked once, and goes on with the answer. */
extern uint64 ks_policy_changes(void);

/* Whether a policy's row and document can be believed and read. */
extern bool ks_policy_is_readable(const KsStoredPolicy *stored);

/* The decision that denies for one reason that is no document's; both are
 * constant. */
extern void ks_policy_deny(const KsPolicyRequest *request, const char *code, const char *reason,
						   KsDecision *decision);

/* "permit", "require", "defer", "deny". */
extern const char *ks_decision_name(KsDecisionKind kind);

/* The permission that an action needs, and what it is about. */
typedef struct KsPolicyAction
{
	const char *name;
	uint32		permission;		/* 0: the role owner */
	const char *resource_type;
} KsPolicyAction;

/* NULL when there is no such action. */
extern const KsPolicyAction *ks_policy_action(const char *name);

/* Whether a version is an argument of it; the others are about the current one. */
extern bool ks_policy_names_version(const KsPolicyAction *action);

/*
 * For reports, which look at the rules one by one: those of the database, then
 * those of the workspace.
 */
typedef struct KsPolicyRules
{
	bool		damaged;
	int			n_sets;
	void	   *sets[2];
} KsPolicyRules;

/* Good until the next call into the room that is not about them. */
extern void ks_policy_rules(const uint8 workspace[KS_ID_LEN], KsPolicyRules *rules);

/* The same as they would be with a document, which takes the place of the
 * workspace's policy of the same id. */
extern void ks_policy_rules_with(const uint8 workspace[KS_ID_LEN], const KsPolicyRules *before,
								 KsPolicyDoc *with, KsPolicyRules *after);

/* A set's rules, by level, policy and place; how many. */
extern int	ks_policy_rules_of(const KsPolicyRules *rules, int set, const KsIndexedRule **first);

/* As ks_policy_evaluate(), rule by rule, without an index. */
extern void ks_policy_evaluate_rules(const KsPolicyRequest *request, const KsPolicyRules *rules, KsDecision *decision);

/* Each rule: whether it matches, and if not, which clause does not. */
extern Jsonb *ks_policy_explain_rules(const KsPolicyRequest *request, const KsPolicyRules *rules);

#endif							/* KS_POLICY_H */
