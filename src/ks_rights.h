/*-------------------------------------------------------------------------
 *
 * ks_rights.h
 *	  Who may do what: the beginning of every call, profiles of database
 *	  roles, memberships of principals.
 *
 * Rights are cached per backend and dropped through relcache invalidation of
 * the tables that hold them, so that a change committed elsewhere holds from
 * the next call on.  A row without a valid HMAC gives nothing.  While sealed
 * nothing can be verified: then what rows name gives "view", and no profile
 * but client and monitor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_RIGHTS_H
#define KS_RIGHTS_H

#include "ks_identity.h"
#include "ks_rows.h"

#include "utils/jsonb.h"

/* Profiles of a database role: bits of KsCall.profiles. */
#define KS_PROFILE_CLIENT	(1 << 0)
#define KS_PROFILE_WORKER	(1 << 1)
#define KS_PROFILE_AUDITOR	(1 << 2)
#define KS_PROFILE_ADMIN	(1 << 3)
#define KS_PROFILE_MONITOR	(1 << 4)

typedef struct KsMembership
{
	uint8		workspace[KS_ID_LEN];
	char		slug[KS_SLUG_MAX + 1];
	uint32		permissions;
	bool		verified;		/* false while sealed: gives no value */
	bool		owner;			/* has the role owner */
	bool		personal;		/* somebody's personal workspace */
	bool		usable;			/* the workspace is active or on trial */
	bool		key;			/* through an API key */
	const char *role;			/* constant */
	const KsNameList *environments; /* what an API key is limited to; NULL: */
	const KsNameList *providers;	/* nothing.  In the memory context of who
									 * asked for the membership. */
} KsMembership;

/* One call of a function: who makes it, with which profiles. */
typedef struct KsCall
{
	KsActor		actor;
	uint32		profiles;
	bool		verified;		/* the rows behind both were verified */
} KsCall;

extern void ks_rights_init(void);

/*
 * Begins a call: 55000 when the library is not preloaded or does not match
 * the installed SQL; 42501 when the current role has none of the profiles
 * (0: any caller).
 */
extern void ks_enter(KsCall *call, uint32 profiles);

/* As ks_enter(), and 42501 with the reason when the caller is anonymous. */
extern void ks_enter_known(KsCall *call, uint32 profiles);

/* Checks the trailing parameters reason and context: 22023. */
extern void ks_check_extra(const text *reason, const Jsonb *context);

/* The same for a function that has approval, reason and context, the first
 * being argument n. */
extern void ks_check_extra_args(FunctionCallInfo fcinfo, int n);

/* The bit of a profile's name, and back; 0 and NULL when there is none. */
extern uint32 ks_profile_bit(const char *name);
extern const char *ks_profile_name(uint32 profile);

/* Permissions of a role; 0 when there is none of that name. */
extern uint32 ks_role_permissions(const char *role);

/*
 * The caller's membership in a workspace (slug or uuid).  PT404 when there is
 * none: "no such", "not yours" and "not visible" are one answer.  22023 when
 * the word is neither a slug nor a uuid; it is never echoed.
 */
extern void ks_membership(const KsCall *call, const text *workspace, KsMembership *member);

/* The same by id; false when there is none. */
extern bool ks_membership_of(const KsCall *call, const uint8 workspace[KS_ID_LEN],
							 KsMembership *member);

/* All memberships of the caller; *members is palloc'd.  Returns how many. */
extern int	ks_memberships(const KsCall *call, KsMembership **members);

/* The caller's permissions in a workspace (slug or uuid), 0 when there are
 * none; raises nothing for any word. */
extern uint32 ks_permissions(const KsCall *call, const char *workspace, size_t len);

/* What another principal may do in a workspace now, verified; 0 for nothing,
 * also for a disabled one.  For what it gave or made. */
extern uint32 ks_permissions_of(const uint8 principal[KS_ID_LEN], const uint8 workspace[KS_ID_LEN]);

/* Whether a member may have to do with an environment and a provider (NULL:
 * none); an API key may be limited. */
extern bool ks_within_limits(const KsMembership *member, const char *environment, const char *provider);

/* A personal credential that its owner lets the caller use. */
typedef struct KsShare
{
	uint8		workspace[KS_ID_LEN];
	uint8		credential[KS_ID_LEN];
	uint8		owner[KS_ID_LEN];
} KsShare;

/* Whether a personal credential is shared with the caller now: the share is
 * valid, not over, and its owner still has view in the workspace. */
extern bool ks_is_shared(const KsCall *call, const KsShare *share);

/* All that are; *shares is palloc'd.  Returns how many. */
extern int	ks_shares(const KsCall *call, KsShare **shares);

typedef enum KsPrincipalState
{
	KS_PRINCIPAL_ABSENT,		/* no row */
	KS_PRINCIPAL_GOOD,
	KS_PRINCIPAL_DISABLED,
	KS_PRINCIPAL_FORGED			/* no valid HMAC */
} KsPrincipalState;

/* kind (may be NULL) receives a constant: user, service, api_key; NULL when absent. */
extern KsPrincipalState ks_principal_state(const uint8 principal[KS_ID_LEN], const char **kind);

/* 42501 when the member lacks a permission (all of several; any of them), or
 * the workspace is suspended. */
extern void ks_require(const KsMembership *member, uint32 permission);
extern void ks_require_any(const KsMembership *member, uint32 permissions);
extern void ks_require_usable(const KsMembership *member);

/*
 * Reads a workspace argument: true and the id, or false and the slug.  22004,
 * 22023.
 */
extern bool ks_parse_workspace(const text *workspace, uint8 id[KS_ID_LEN],
							   char slug[KS_SLUG_MAX + 1]);

/* A membership that this transaction has given its own caller gives nothing
 * before it commits. */
extern void ks_rights_defer(const uint8 workspace[KS_ID_LEN]);

/*
 * Grows whenever what this room knows may have changed, having taken in what
 * others have committed: as long as it is the same, what was found of a caller
 * holds, but for the end of an API key's time.
 */
extern uint64 ks_rights_stamp(void);

/* Makes every backend read a table's rights again. */
extern void ks_rights_changed(Oid relation);

#endif							/* KS_RIGHTS_H */
