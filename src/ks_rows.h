/*-------------------------------------------------------------------------
 *
 * ks_rows.h
 *	  Rows that give rights: reading them, and the HMAC that each carries.
 *
 * Whoever reads such a row reads all of the columns that its HMAC covers, in
 * one statement, and asks whether it is valid: two statements may see two
 * versions of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ROWS_H
#define KS_ROWS_H

#include "keystone.h"

#include "ks_spi.h"

/* Permissions of a member: bits. */
#define KS_PERM_VIEW		(1 << 0)
#define KS_PERM_REVEAL		(1 << 1)
#define KS_PERM_STORE		(1 << 2)
#define KS_PERM_ROTATE		(1 << 3)
#define KS_PERM_APPROVE		(1 << 4)
#define KS_PERM_AUDIT		(1 << 5)
#define KS_PERM_POLICY		(1 << 6)
#define KS_PERM_WORKSPACE	(1 << 7)
#define KS_PERM_BILLING		(1 << 8)
#define KS_PERM_MEMBER		(1 << 9)	/* any role at all; never given as an
										 * extra */

/* The bit of a permission's name; 0 when there is none of that name. */
extern uint32 ks_permission_bit(const char *name);

typedef struct KsPrincipalRow
{
	uint8		id[KS_ID_LEN];
	const char *kind;
	const char *db_role;		/* may be NULL */
	bool		disabled;
	TimestampTz disabled_at;
} KsPrincipalRow;

typedef struct KsWorkspaceRow
{
	uint8		id[KS_ID_LEN];
	const char *slug;
	const char *status;
	bool		personal;
	uint8		personal_of[KS_ID_LEN]; /* when personal */
	TimestampTz updated_at;
} KsWorkspaceRow;

typedef struct KsMemberRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		principal[KS_ID_LEN];
	const char *role;
	uint32		extra_permissions;
	TimestampTz updated_at;
	bool		removed;
	TimestampTz removed_at;
} KsMemberRow;

typedef struct KsGrantRow
{
	const char *role;
	const char *profile;
	TimestampTz granted_at;
	bool		revoked;
	TimestampTz revoked_at;
} KsGrantRow;

/* Columns of the tables under the alias p, w, m or g, as the readers want them. */
#define KS_PRINCIPAL_COLUMNS	"p.id, p.kind, p.db_role::text, p.disabled_at, p.row_mac"
#define KS_PRINCIPAL_COLUMNS_N	5
#define KS_WORKSPACE_COLUMNS	"w.id, w.slug, w.status, w.personal_of, w.updated_at, w.row_mac"
#define KS_WORKSPACE_COLUMNS_N	6
#define KS_MEMBER_COLUMNS \
	"m.workspace_id, m.principal_id, m.role, m.extra_permissions, m.updated_at, m.removed_at, m.row_mac"
#define KS_MEMBER_COLUMNS_N		7
#define KS_GRANT_COLUMNS		"g.role_name::text, g.profile, g.granted_at, g.revoked_at, g.row_mac"
#define KS_GRANT_COLUMNS_N		5

/*
 * Read a row whose columns begin at number first.  Each returns whether the
 * row's HMAC is valid: false too when there is no key to tell.
 */
extern bool ks_principal_read(const KsSpi *spi, uint64 row, int first, KsPrincipalRow *principal);
extern bool ks_workspace_read(const KsSpi *spi, uint64 row, int first, KsWorkspaceRow *workspace);
extern bool ks_member_read(const KsSpi *spi, uint64 row, int first, KsMemberRow *member);
extern bool ks_grant_read(const KsSpi *spi, uint64 row, int first, KsGrantRow *grant);

/* Add the HMAC of a row as an argument.  PT423 when sealed. */
extern void ks_principal_add_mac(KsArgs *args, const KsPrincipalRow *principal);
extern void ks_workspace_add_mac(KsArgs *args, const KsWorkspaceRow *workspace);
extern void ks_member_add_mac(KsArgs *args, const KsMemberRow *member);
extern void ks_grant_add_mac(KsArgs *args, const KsGrantRow *grant);

/* Permissions as a text array; adds it as an argument. */
extern void ks_arg_permissions(KsArgs *args, uint32 permissions);

/* How many rows of all four tables have no valid HMAC. */
extern int64 ks_rows_count_forged(void);

#endif							/* KS_ROWS_H */
