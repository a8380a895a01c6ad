/*-------------------------------------------------------------------------
 *
 * ks_tenant.h
 *	  The tables of tenancy: principals, workspaces, members, profiles,
 *	  providers.
 *
 * Changes need ks_keys_prepare() first.  Who may make them is the caller's
 * business, except where it is said.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_TENANT_H
#define KS_TENANT_H

#include "ks_rights.h"

/* Slugs of personal workspaces begin with it, and no others. */
#define KS_PERSONAL_PREFIX	"personal-"

/* 22023 unless a slug may be chosen; parameter names it. */
extern void ks_tenant_check_slug(const char *parameter, const char *slug);

/* Finds a workspace without regard to membership, for the admin profile. */
extern bool ks_tenant_find_workspace(const text *workspace, uint8 id[KS_ID_LEN]);

/*
 * Reads a workspace's row as it is now.  False when there is none, or its HMAC
 * is not valid: what it says then must not be written again under a valid one.
 */
extern bool ks_tenant_read_workspace(const uint8 id[KS_ID_LEN], KsWorkspaceRow *row);

/* Whether a workspace of that status gives values. */
extern bool ks_tenant_is_usable(const KsWorkspaceRow *row);

/* What of a workspace is not in its KsWorkspaceRow. */
typedef struct KsWorkspaceTexts
{
	const char *display_name;	/* NULL: as it was */
	bool		set_contact;
	const char *contact;		/* when set_contact; NULL: none */
} KsWorkspaceTexts;

/* Writes slug, status, status_set_by, purge_after, purged_at and plan as the
 * row says them, and texts (may be NULL).  23505 when the slug is taken. */
extern void ks_tenant_write_workspace(KsWorkspaceRow *row, const KsWorkspaceTexts *texts);

/* Display name of a principal, palloc'd; NULL when there is none. */
extern char *ks_tenant_display_name(const uint8 principal[KS_ID_LEN]);

typedef struct KsNewPrincipal
{
	uint8		id[KS_ID_LEN];
	const char *display_name;
	const char *kind;
	const char *db_role;		/* may be NULL */
	const char *external_id;	/* may be NULL */
	const uint8 *registered_by; /* the principal who registers it; NULL: it
								 * comes by itself, or by a role */
} KsNewPrincipal;

/* 23505 when the id, role or external id is taken. */
extern void ks_tenant_add_principal(const KsNewPrincipal *principal);

/*
 * Makes sure that the caller's principal has a row, for what refers to it: one
 * whom a token or trusted claims name gets it under the id that they gave, a
 * login role without a principal gets one.  42501 where there is nobody.
 */
extern void ks_tenant_ensure_principal(KsCall *call);

/* 42501 when the caller is an API key: it stands for whoever made it, and
 * neither joins nor has a workspace of its own. */
extern void ks_tenant_refuse_api_key(const KsCall *call);

/* Disables a principal or enables it again, and returns its state before.  An
 * absent or forged one stays as it is. */
extern KsPrincipalState ks_tenant_set_disabled(const uint8 principal[KS_ID_LEN], bool disabled);

/* Disables one, and makes it if it is absent: then the id is nobody for good. */
extern KsPrincipalState ks_tenant_bury_principal(const uint8 principal[KS_ID_LEN]);

/* The principal that is added to every new workspace; false when none is
 * named, or it is not there, disabled or forged. */
extern bool ks_tenant_platform_service(uint8 principal[KS_ID_LEN]);

/* Adds it to a workspace that was just made, unless it is the owner. */
extern void ks_tenant_add_platform_service(const uint8 workspace[KS_ID_LEN], const uint8 owner[KS_ID_LEN]);

/* Makes the workspace and its owner's membership.  personal: it is the owner's
 * personal one.  False when the slug is taken, or the owner has one already. */
extern bool ks_tenant_add_workspace(const uint8 id[KS_ID_LEN], const char *slug,
									const char *display_name, const uint8 owner[KS_ID_LEN],
									bool personal);

/* The owner's personal workspace, false when there is none yet. */
extern bool ks_tenant_personal(const uint8 owner[KS_ID_LEN], uint8 id[KS_ID_LEN]);

/* Serialises changes of a workspace's members until the transaction ends. */
extern void ks_tenant_lock(const uint8 workspace[KS_ID_LEN]);

/* Locks a member's row: so that it stays as it is, or to leave by it. */
extern void ks_tenant_lock_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN],
								  bool to_leave);

/*
 * The caller's membership after the workspace's lock was taken; errors as
 * ks_membership().  named receives the workspace as soon as it is known.
 */
extern void ks_tenant_lock_membership(const KsCall *call, const text *workspace,
									  uint8 named[KS_ID_LEN], KsMembership *member);

typedef struct KsMember
{
	bool		present;		/* there is a row, and it is no tombstone */
	bool		valid;			/* so is its HMAC, and that of its principal */
	bool		counts;			/* it is valid, and its principal not disabled */
	const char *role;			/* palloc'd; what the row says */
	int			owners;			/* of the workspace, of those that count */
} KsMember;

extern void ks_tenant_get_member(const uint8 workspace[KS_ID_LEN],
								 const uint8 principal[KS_ID_LEN], KsMember *member);

/* Writes a member's row; role NULL makes it a tombstone.  by may be NULL. */
extern void ks_tenant_put_member(const uint8 workspace[KS_ID_LEN],
								 const uint8 principal[KS_ID_LEN], const char *role,
								 uint32 extra_permissions, const uint8 *by);

/* Grants or revokes a profile, with the SQL privileges that belong to it. */
extern void ks_tenant_grant(const char *role, uint32 profile, const char *by);
extern bool ks_tenant_revoke(const char *role, uint32 profile, const char *by);

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

#endif							/* KS_TENANT_H */
