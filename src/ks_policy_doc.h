/*-------------------------------------------------------------------------
 *
 * ks_policy_doc.h
 *	  Policy documents: their reader, which is their validator.
 *
 * A document that was read is complete, points to nothing of the jsonb that it
 * was read from, lives in the memory context that was current, and is not
 * changed.  A key that is not known is an error wherever it stands: a typing
 * mistake must not make a rule wider.  docs/policy.md has the format, and
 * policy_schema() its JSON Schema.
 *
 * What a rule means (what evaluation does with it is in ks_policy):
 *
 *	- it matches when each list of its match has a pattern that matches, when
 *	  is true and unless is false;
 *	- its windows say when the request may be done, whatever the effect: while
 *	  one of allow is open (if there are any) and none of deny is.  At other
 *	  times the request is deferred.  A forbid without windows denies always;
 *	  one with windows holds outside of them only;
 *	- permit and oblige bring duties; documents permit nothing that the role
 *	  does not, so that the two differ in one thing: a permit whose condition
 *	  fails does not match, an oblige or forbid does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_DOC_H
#define KS_POLICY_DOC_H

#include "keystone.h"

#include "utils/jsonb.h"

#include "ks_cedar_eval.h"
#include "ks_glob.h"
#include "ks_policy_read.h"
#include "ks_tzwindow.h"

#define KS_POLICY_API_VERSION	"keystone.policy/v1"

#define KS_POLICY_BYTES_MAX		262144	/* of a document, as jsonb */
#define KS_POLICY_DEPTH_MAX		32
#define KS_POLICY_RULES_MAX		1000
#define KS_POLICY_NODES_MAX		2000	/* of both conditions of a rule */
#define KS_POLICY_GLOBS_MAX		64	/* in one list */
#define KS_POLICY_WINDOWS_MAX	32
#define KS_POLICY_GROUPS_MAX	32
#define KS_POLICY_MEMBERS_MAX	256 /* of a group */
#define KS_POLICY_OBLIGATIONS_MAX 16	/* of a rule */
#define KS_POLICY_FACTORS_MAX	8	/* of an approval */
#define KS_POLICY_ESCALATIONS_MAX 8
#define KS_POLICY_COUNT_MAX		10	/* approvals by one factor */
#define KS_POLICY_LOOPS_MAX		10

typedef enum KsPolicyLevel
{
	KS_LEVEL_SYSTEM = 0,		/* the whole database */
	KS_LEVEL_WORKSPACE,
	KS_LEVEL_PROVIDER,
	KS_LEVEL_SECRET
} KsPolicyLevel;

typedef enum KsRuleEffect
{
	KS_EFFECT_PERMIT,
	KS_EFFECT_FORBID,
	KS_EFFECT_OBLIGE
} KsRuleEffect;

/* Who must approve: so many distinct ones.  One of role, group, permission is
 * not NULL. */
typedef struct KsFactor
{
	const char *role;
	const char *permission;		/* whoever holds it */
	const char *group;			/* its name in the document */
	int			n_members;		/* of the group, as the document lists them */
	const uint8 (*members)[KS_ID_LEN];	/* in order, each once */
	int			count;			/* of an escalation: 0 */
} KsFactor;

/* A step to take when nobody decides: more may approve than before. */
typedef struct KsEscalation
{
	int64		after;			/* microseconds after the step before */
	KsFactor	to;
} KsEscalation;

typedef enum KsObligationType
{
	KS_OBLIGE_APPROVAL,
	KS_OBLIGE_PREVIEW,
	KS_OBLIGE_REASON,
	KS_OBLIGE_MFA,
	KS_OBLIGE_NOTIFY,
	KS_OBLIGE_WAIT
} KsObligationType;

/* Ages and times in microseconds; what was not said has its default. */
typedef struct KsObligation
{
	KsObligationType type;

	/* approval */
	int			n_factors;
	KsFactor   *factors;		/* all are needed; each is another one */
	int64		timeout;
	int64		valid_for;
	int			n_escalations;
	KsEscalation *escalations;
	int			loops;			/* times that the steps are taken */

	int64		max_age;		/* preview, mfa */
	const char *channel;		/* notify */
	int64		duration;		/* wait: so long after approval was asked for */
} KsObligation;

typedef struct KsPolicyWindow
{
	const char *name;
	KsTzWindow	window;
} KsPolicyWindow;

typedef struct KsPolicyRule
{
	int			index;			/* in the document, from 0 */
	const char *id;				/* unique in the document */
	KsRuleEffect effect;
	KsGlobList	actions;		/* never empty */
	KsGlobList	env;
	KsGlobList	provider;
	KsGlobList	secret;			/* name of the credential */
	KsGlobList	roles;
	bool		all_principals; /* else those, groups included; */
	int			n_principals;	/* in order, each once */
	const uint8 (*principals)[KS_ID_LEN];
	KsCedarExpr *when;			/* NULL: true */
	KsCedarProgram *when_program;
	KsCedarExpr *unless;		/* NULL: false */
	KsCedarProgram *unless_program;
	int			n_allow;
	const KsPolicyWindow **allow;
	int			n_deny;
	const KsPolicyWindow **deny;
	int			n_obligations;
	KsObligation *obligations;
	const char *reason;			/* NULL: none */
} KsPolicyRule;

/* Settings, as bits of has and delegates. */
#define KS_SET_AUTO_REDEPLOY	(1 << 0)
#define KS_SET_SOFT_LIMIT		(1 << 1)
#define KS_SET_HARD_LIMIT		(1 << 2)
#define KS_SET_MAX_SECRET_AGE	(1 << 3)
#define KS_SET_APPROVALS		(1 << 4)

typedef struct KsDocSettings
{
	uint32		has;			/* what the document says */
	bool		auto_redeploy;	/* joined by AND */
	int32		soft_limit;		/* per cent, 1 to 100; joined by min */
	int32		hard_limit;
	int64		max_secret_age; /* microseconds; joined by min */
	int32		approvals;		/* at least so many by each factor, wherever
								 * an approval is needed; joined by max */
} KsDocSettings;

typedef struct KsPolicyDoc
{
	const char *id;
	KsPolicyLevel level;
	const char *scope_id;		/* workspace: slug or uuid as given, or NULL;
								 * provider: its name; secret: pattern of
								 * credential names, or NULL; else NULL */
	KsGlob		scope_secret;	/* secret, when scope_id is not NULL */
	bool		has_credential;
	uint8		scope_credential[KS_ID_LEN];	/* secret by id, when
												 * has_credential */
	bool		shadow;			/* evaluated and reported, not obeyed */
	int			n_rules;
	KsPolicyRule *rules;
	KsDocSettings settings;
	uint32		delegates;		/* settings that a lower level may loosen */
	int			n_windows;
	KsPolicyWindow *windows;
} KsPolicyDoc;

/*
 * Reads a document.  problems receives all that is wrong with it, and what is
 * odd; NULL when anything is wrong.  Raises nothing for any document but
 * errors of memory.
 */
extern KsPolicyDoc *ks_policy_doc_read(const Jsonb *document, KsPolicyProblems *problems);

/* [{path, severity, message}], of warnings only if so. */
extern Jsonb *ks_policy_problems_json(const KsPolicyProblems *problems, bool warnings_only);

/* "system", "workspace" ...; "permit" ...; "require_approval" ... */
extern const char *ks_policy_level_name(KsPolicyLevel level);
extern const char *ks_policy_effect_name(KsRuleEffect effect);
extern const char *ks_policy_obligation_name(KsObligationType type);

/* The actions that documents can name: NULL-terminated, in order. */
extern const char *const ks_policy_actions[];

/* Whether the scope of a document has a credential (id and name, NULL: the
 * request is about none) of a provider (NULL: of none). */
extern bool ks_policy_doc_is_about(const KsPolicyDoc *doc, const uint8 *credential, const char *name,
								   const char *provider);

/* Whether a rule is about a principal. */
extern bool ks_policy_rule_has_principal(const KsPolicyRule *rule, const uint8 principal[KS_ID_LEN]);

/*
 * Whether a rule's windows let a request through at a time.  If not,
 * *not_before receives the next time when they do, or 0 when there is none to
 * be found.
 */
extern bool ks_policy_windows_open(const KsPolicyRule *rule, TimestampTz at, TimestampTz *not_before);

#endif							/* KS_POLICY_DOC_H */
