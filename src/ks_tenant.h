/*-------------------------------------------------------------------------
 *
 * ks_tenant.h
 *	  Principals, workspaces, members and profiles: who may do what.
 *
 * Rights are cached per backend and dropped through relcache invalidation of
 * the tables that hold them, so that a change committed elsewhere holds from
 * the next call on.  Rows that give rights carry an HMAC; one without a valid
 * one gives nothing.  While sealed nothing can be verified: then what rows
 * name gives "view" and no more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_TENANT_H
#define KS_TENANT_H

#include "ks_identity.h"

#include "utils/jsonb.h"

/* Permissions of a member, bits of KsMembership.permissions. */
#define KS_PERM_VIEW		(1 << 0)
#define KS_PERM_REVEAL		(1 << 1)
#define KS_PERM_STORE		(1 << 2)
#define KS_PERM_ROTATE		(1 << 3)
#define KS_PERM_APPROVE		(1 << 4)
#define KS_PERM_AUDIT		(1 << 5)
#define KS_PERM_POLICY		(1 << 6)
#define KS_PERM_WORKSPACE	(1 << 7)
#define KS_PERM_BILLING		(1 << 8)
#define KS_PERM_MEMBER		(1 << 9)	/* any role at all */

/* Profiles of a database role, bits of KsCall.profiles. */
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
	bool		owner;			/* has the role owner */
	bool		usable;			/* the workspace is active or on trial */
	const char *role;			/* constant */
} KsMembership;

/* One call of a function: who makes it, with which profiles. */
typedef struct KsCall
{
	KsActor		actor;
	uint32		profiles;
} KsCall;

extern void ks_tenant_init(void);

/*
 * Begins a call: 55000 when the library is not preloaded or does not match
 * the installed SQL; 42501 when the current role has none of the profiles
 * (0: any caller).
 */
extern void ks_enter(KsCall *call, uint32 profiles);

/* As ks_enter(), and 42501 with the reason when the caller is anonymous. */
extern void ks_enter_known(KsCall *call, uint32 profiles);

/* Checks the trailing parameters approval, reason and context: 22023. */
extern void ks_check_extra(bool has_approval, const text *reason, const Jsonb *context);

/* Reads a permission's or profile's name; 0 when there is none of that name. */
extern uint32 ks_permission_bit(const char *name);
extern uint32 ks_profile_bit(const char *name);

/*
 * The caller's membership in a workspace (slug or uuid).  PT404 when there is
 * none: "no such", "not yours" and "not visible" are one answer.  22023 when
 * the word is neither a slug nor a uuid; it is never echoed.
 */
extern void ks_tenant_membership(const KsCall *call, const text *workspace, KsMembership *member);

/* The same by id; false when there is none. */
extern bool ks_tenant_membership_of(const KsCall *call, const uint8 workspace[KS_ID_LEN],
									KsMembership *member);

/* 42501 when the member lacks a permission. */
extern void ks_tenant_require(const KsMembership *member, uint32 permission);

/* 42501 when the workspace is suspended or cancelled. */
extern void ks_tenant_require_usable(const KsMembership *member);

/* All memberships of the caller; *members is palloc'd.  Returns how many. */
extern int	ks_tenant_memberships(const KsCall *call, KsMembership **members);

/* Finds a workspace without regard to membership, for the admin profile. */
extern bool ks_tenant_find_workspace(const text *workspace, uint8 id[KS_ID_LEN]);

/* Display name of a principal, palloc'd; NULL when there is none. */
extern char *ks_tenant_display_name(const uint8 principal[KS_ID_LEN]);

/*
 * Changes.  Each needs ks_keys_prepare() first.  Who may is the caller's
 * business except where it is said.
 */
typedef struct KsNewPrincipal
{
	uint8		id[KS_ID_LEN];
	const char *display_name;
	const char *kind;
	const char *db_role;		/* may be NULL */
	const char *external_id;	/* may be NULL */
} KsNewPrincipal;

/* 23505 when the id, role or external id is taken. */
extern void ks_tenant_add_principal(const KsNewPrincipal *principal);

/* Makes the workspace and its owner's membership.  personal: it is the owner's
 * personal one.  False when the slug is taken, or the owner has one already. */
extern bool ks_tenant_add_workspace(const uint8 id[KS_ID_LEN], const char *slug,
									const char *display_name, const uint8 owner[KS_ID_LEN],
									bool personal);

/* The owner's personal workspace, false when there is none yet. */
extern bool ks_tenant_personal(const uint8 owner[KS_ID_LEN], uint8 id[KS_ID_LEN]);

/* Serialises changes of a workspace's members until the transaction ends. */
extern void ks_tenant_lock(const uint8 workspace[KS_ID_LEN]);

typedef struct KsMemberRow
{
	bool		present;		/* there is a row, and it is no tombstone */
	const char *role;			/* palloc'd */
	int			owners;			/* of the workspace, verified or not */
} KsMemberRow;

extern void ks_tenant_get_member(const uint8 workspace[KS_ID_LEN],
								 const uint8 principal[KS_ID_LEN], KsMemberRow *row);

/* False when there is no such principal, or a disabled one. */
extern bool ks_tenant_principal_exists(const uint8 principal[KS_ID_LEN]);

/* Writes a member's row; role NULL makes it a tombstone.  by may be NULL. */
extern void ks_tenant_put_member(const uint8 workspace[KS_ID_LEN],
								 const uint8 principal[KS_ID_LEN], const char *role,
								 uint32 extra_permissions, const uint8 *by);

/* Permissions of a role; 0 when there is none of that name. */
extern uint32 ks_role_permissions(const char *role);

/* Grants or revokes a profile, with the SQL privileges that belong to it. */
extern void ks_tenant_grant(const char *role, uint32 profile, const char *by);
extern bool ks_tenant_revoke(const char *role, uint32 profile);

/* Providers. */
typedef struct KsProvider
{
	const char *name;
	const char *category;
	const char *label;
	const char *default_kind;
	const char *value_pattern;	/* may be NULL */
	const char *limits;			/* may be NULL */
	bool		has_cost;
	int64		cost_micros;
	bool		enabled;		/* in the catalogue, and by the workspace */
	const char *mode;			/* of the workspace's configuration */
} KsProvider;

/* A provider as a workspace sees it; false when there is none of that name. */
extern bool ks_tenant_provider(const uint8 workspace[KS_ID_LEN], const char *name,
							   KsProvider *provider);
extern void ks_tenant_define_provider(const KsProvider *provider, const char *by);
extern void ks_tenant_configure_provider(const uint8 workspace[KS_ID_LEN], const char *provider,
										 const char *mode, Datum config, bool enabled,
										 const uint8 by[KS_ID_LEN]);

/* How many rows that give rights have no valid MAC, for health(). */
extern int64 ks_tenant_count_forged(void);

/* Trigger: makes every backend read a table's rights again. */
extern void ks_tenant_changed(Oid relation);

#endif							/* KS_TENANT_H */
