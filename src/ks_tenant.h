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

/* Finds a workspace without regard to membership, for the admin profile. */
extern bool ks_tenant_find_workspace(const text *workspace, uint8 id[KS_ID_LEN]);

/* Display name of a principal, palloc'd; NULL when there is none. */
extern char *ks_tenant_display_name(const uint8 principal[KS_ID_LEN]);

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

typedef struct KsMember
{
	bool		present;		/* there is a row, and it is no tombstone */
	bool		counts;			/* it is valid, and so is its principal */
	const char *role;			/* palloc'd; what the row says */
	int			owners;			/* of the workspace, of those that count */
} KsMember;

extern void ks_tenant_get_member(const uint8 workspace[KS_ID_LEN],
								 const uint8 principal[KS_ID_LEN], KsMember *member);

/* False when there is no such principal, or a disabled one. */
extern bool ks_tenant_principal_exists(const uint8 principal[KS_ID_LEN]);

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
