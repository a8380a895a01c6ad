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

/* The names of bits as a text[], always in the same order. */
extern Datum ks_permission_names(uint32 bits);

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
	bool		set_by_member;	/* who set the status was a member */
	uint8		status_set_by[KS_ID_LEN];	/* when set_by_member */
	bool		offboarded;
	TimestampTz purge_after;	/* when offboarded */
	bool		purged;
	TimestampTz purged_at;
	const char *plan;			/* may be NULL */
	TimestampTz period_anchor;
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

typedef struct KsExternalRow
{
	uint8		principal[KS_ID_LEN];
	const char *external_id;
} KsExternalRow;

/* What an API key is limited to; a list that is not there limits nothing. */
typedef struct KsNameList
{
	bool		present;
	int			n;
	char	  **names;
} KsNameList;

#define KS_NAME_LIST_MAX	32	/* names in a list */

typedef struct KsApiKeyRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	const char *name;
	const char *prefix;			/* of the newest secret */
	const char *role;
	KsNameList	environments;
	KsNameList	providers;
	uint8		creator[KS_ID_LEN];
	TimestampTz updated_at;
	bool		expires;
	TimestampTz expires_at;
	bool		revoked;
	TimestampTz revoked_at;
} KsApiKeyRow;

/* One secret of an API key. */
typedef struct KsKeySecretRow
{
	uint8		workspace[KS_ID_LEN];
	const char *prefix;
	uint8		key[KS_ID_LEN];
	uint8		secret_mac[KS_DIGEST_LEN];
	TimestampTz created_at;
	bool		ends;
	TimestampTz valid_until;
} KsKeySecretRow;

typedef struct KsInvitationRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	const char *email;
	const char *role;
	uint8		token_mac[KS_DIGEST_LEN];
	uint8		invited_by[KS_ID_LEN];
	TimestampTz expires_at;
	bool		accepted;
	TimestampTz accepted_at;
	uint8		accepted_by[KS_ID_LEN]; /* when accepted */
	bool		cancelled;
	TimestampTz cancelled_at;
} KsInvitationRow;

typedef struct KsShareRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		credential[KS_ID_LEN];
	uint8		grantee[KS_ID_LEN];
	uint8		owner[KS_ID_LEN];
	bool		ends;
	TimestampTz until;
	TimestampTz updated_at;
	bool		revoked;
	TimestampTz revoked_at;
} KsShareRow;

/* A limit that somebody defined. */
typedef struct KsLimitRow
{
	uint8		workspace[KS_ID_LEN];	/* nil: of the whole database */
	const char *name;
	const char *windows;		/* as it was given, such as "10/hour, 100/day" */
	const char *algorithm;
	const char *timezone;
	const char *limit_class;	/* protect or fair */
	bool		shadow;
	const char *enforce_action; /* NULL: applied by callers only */
	const char *enforce_provider;	/* NULL: any */
	const char *key_by;			/* principal, workspace, credential or
								 * provider, with commas */
	int32		near_percent;
	bool		refundable;
	TimestampTz updated_at;
	bool		dropped;
	TimestampTz dropped_at;
} KsLimitRow;

/* A policy: what put the document there, and what dropped it. */
typedef struct KsPolicyRow
{
	uint8		workspace[KS_ID_LEN];	/* nil: of the whole database */
	const char *id;
	int32		version;
	const char *level;			/* system, workspace, provider or secret */
	const char *enforcement;	/* enforce or shadow */
	const Jsonb *document;
	bool		by_principal;	/* false: by a role without one */
	uint8		updated_by[KS_ID_LEN];
	TimestampTz updated_at;
	bool		dropped;
	TimestampTz dropped_at;
} KsPolicyRow;

/* A request for approval. */
typedef struct KsApprovalRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	uint8		requester[KS_ID_LEN];
	const char *action;
	const Jsonb *resource;
	const Jsonb *parameters;
	const char *reason;			/* may be NULL */
	uint8		request_hash[KS_DIGEST_LEN];
	const Jsonb *need;
	bool		break_glass;
	const char *state;
	int32		level;
	TimestampTz created_at;
	TimestampTz expires_at;
	bool		decided;
	TimestampTz decided_at;
	bool		claimed;
	TimestampTz claimed_at;
	bool		completed;
	TimestampTz completed_at;
	bool		reviewed;
	uint8		reviewed_by[KS_ID_LEN];
	TimestampTz reviewed_at;
} KsApprovalRow;

typedef struct KsVoteRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		request[KS_ID_LEN];
	uint8		voter[KS_ID_LEN];
	const char *vote;			/* approve or reject */
	uint8		request_hash[KS_DIGEST_LEN];
	TimestampTz voted_at;
} KsVoteRow;

typedef struct KsPreviewRow
{
	uint8		workspace[KS_ID_LEN];
	uint8		credential[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	int32		version;
	uint8		created_by[KS_ID_LEN];
	TimestampTz created_at;
} KsPreviewRow;

/*
 * Columns of the tables under the alias p, w, m, g, e, k, s, i, c, l, y, a, v or r, as
 * the readers want them.
 */
#define KS_PRINCIPAL_COLUMNS	"p.id, p.kind, p.db_role::text, p.disabled_at, p.row_mac"
#define KS_PRINCIPAL_COLUMNS_N	5
#define KS_WORKSPACE_COLUMNS \
	"w.id, w.slug, w.status, w.status_set_by, w.purge_after, w.purged_at, w.plan, w.period_anchor, w.personal_of," \
	" w.updated_at, w.row_mac"
#define KS_WORKSPACE_COLUMNS_N	11
#define KS_MEMBER_COLUMNS \
	"m.workspace_id, m.principal_id, m.role, m.extra_permissions, m.updated_at, m.removed_at, m.row_mac"
#define KS_MEMBER_COLUMNS_N		7
#define KS_GRANT_COLUMNS		"g.role_name::text, g.profile, g.granted_at, g.revoked_at, g.row_mac"
#define KS_GRANT_COLUMNS_N		5
#define KS_EXTERNAL_COLUMNS		"e.principal_id, e.external_id, e.row_mac"
#define KS_EXTERNAL_COLUMNS_N	3
#define KS_API_KEY_COLUMNS \
	"k.workspace_id, k.id, k.name, k.prefix, k.role, k.environments, k.providers, k.created_by, k.updated_at, k.expires_at, k.revoked_at, k.row_mac"
#define KS_API_KEY_COLUMNS_N	12
#define KS_KEY_SECRET_COLUMNS \
	"s.workspace_id, s.prefix, s.key_id, s.secret_mac, s.created_at, s.valid_until, s.row_mac"
#define KS_KEY_SECRET_COLUMNS_N	7
#define KS_INVITATION_COLUMNS \
	"i.workspace_id, i.id, i.email, i.role, i.token_mac, i.invited_by, i.expires_at, i.accepted_at, i.accepted_by, i.cancelled_at, i.row_mac"
#define KS_INVITATION_COLUMNS_N 11
#define KS_SHARE_COLUMNS \
	"c.workspace_id, c.credential_id, c.grantee, c.owner, c.until, c.updated_at, c.revoked_at, c.row_mac"
#define KS_SHARE_COLUMNS_N		8
#define KS_LIMIT_COLUMNS \
	"l.workspace_id, l.name, l.windows, l.algorithm, l.timezone, l.class, l.shadow, l.enforce_action, l.enforce_provider," \
	" l.key_by, l.near_percent, l.refundable, l.updated_at, l.dropped_at, l.row_mac"
#define KS_LIMIT_COLUMNS_N		15
#define KS_POLICY_COLUMNS \
	"y.workspace_id, y.id, y.version, y.level, y.enforcement, y.document, y.updated_by, y.updated_at, y.dropped_at, y.row_mac"
#define KS_POLICY_COLUMNS_N		10
#define KS_APPROVAL_COLUMNS \
	"a.workspace_id, a.id, a.requester, a.action, a.resource, a.parameters, a.reason, a.request_hash, a.need, a.break_glass," \
	" a.state, a.level, a.created_at, a.expires_at, a.decided_at, a.claimed_at, a.completed_at, a.reviewed_by, a.reviewed_at, a.row_mac"
#define KS_APPROVAL_COLUMNS_N	20
#define KS_VOTE_COLUMNS \
	"v.workspace_id, v.request_id, v.voter, v.vote, v.request_hash, v.voted_at, v.row_mac"
#define KS_VOTE_COLUMNS_N		7
#define KS_PREVIEW_COLUMNS \
	"r.workspace_id, r.credential_id, r.id, r.version, r.created_by, r.created_at, r.row_mac"
#define KS_PREVIEW_COLUMNS_N	7

/*
 * Read a row whose columns begin at number first.  Each returns whether the
 * row's HMAC is valid: false too when there is no key to tell.
 */
extern bool ks_principal_read(const KsSpi *spi, uint64 row, int first, KsPrincipalRow *principal);
extern bool ks_workspace_read(const KsSpi *spi, uint64 row, int first, KsWorkspaceRow *workspace);
extern bool ks_member_read(const KsSpi *spi, uint64 row, int first, KsMemberRow *member);
extern bool ks_grant_read(const KsSpi *spi, uint64 row, int first, KsGrantRow *grant);
extern bool ks_external_read(const KsSpi *spi, uint64 row, int first, KsExternalRow *external);
extern bool ks_api_key_read(const KsSpi *spi, uint64 row, int first, KsApiKeyRow *found);
extern bool ks_key_secret_read(const KsSpi *spi, uint64 row, int first, KsKeySecretRow *found);
extern bool ks_invitation_read(const KsSpi *spi, uint64 row, int first, KsInvitationRow *invitation);
extern bool ks_share_read(const KsSpi *spi, uint64 row, int first, KsShareRow *share);
extern bool ks_limit_read(const KsSpi *spi, uint64 row, int first, KsLimitRow *limit);
extern bool ks_policy_read(const KsSpi *spi, uint64 row, int first, KsPolicyRow *policy);
extern bool ks_approval_read(const KsSpi *spi, uint64 row, int first, KsApprovalRow *approval);
extern bool ks_vote_read(const KsSpi *spi, uint64 row, int first, KsVoteRow *vote);
extern bool ks_preview_read(const KsSpi *spi, uint64 row, int first, KsPreviewRow *preview);

/* Add the HMAC of a row as an argument.  PT423 when sealed. */
extern void ks_principal_add_mac(KsArgs *args, const KsPrincipalRow *principal);
extern void ks_workspace_add_mac(KsArgs *args, const KsWorkspaceRow *workspace);
extern void ks_member_add_mac(KsArgs *args, const KsMemberRow *member);
extern void ks_grant_add_mac(KsArgs *args, const KsGrantRow *grant);
extern void ks_external_add_mac(KsArgs *args, const KsExternalRow *external);
extern void ks_api_key_add_mac(KsArgs *args, const KsApiKeyRow *key);
extern void ks_key_secret_add_mac(KsArgs *args, const KsKeySecretRow *secret);
extern void ks_invitation_add_mac(KsArgs *args, const KsInvitationRow *invitation);
extern void ks_share_add_mac(KsArgs *args, const KsShareRow *share);
extern void ks_limit_add_mac(KsArgs *args, const KsLimitRow *limit);
extern void ks_policy_add_mac(KsArgs *args, const KsPolicyRow *policy);
extern void ks_approval_add_mac(KsArgs *args, const KsApprovalRow *approval);
extern void ks_vote_add_mac(KsArgs *args, const KsVoteRow *vote);
extern void ks_preview_add_mac(KsArgs *args, const KsPreviewRow *preview);

/* SHA-256 of a document's text, by which its row's HMAC covers it. */
extern void ks_document_digest(const Jsonb *document, uint8 digest[KS_DIGEST_LEN]);

/*
 * HMAC of a random secret that a caller presents, under a key of the
 * database: what is kept of API keys and invitations, and what proves that a
 * token is of ours.  purpose tells them apart.  PT423 when sealed.
 */
#define KS_SECRET_API_KEY		"keystone secret api key v1"
#define KS_SECRET_INVITATION	"keystone secret invitation v1"
#define KS_SECRET_REFUND		"keystone secret limit refund v1"

extern void ks_secret_mac(const char *purpose, const void *secret, size_t len, uint8 mac[KS_DIGEST_LEN]);

/* Permissions as a text array; adds it as an argument. */
extern void ks_arg_permissions(KsArgs *args, uint32 permissions);

/* A list of names as a text array. */
extern Datum ks_name_list_datum(const KsNameList *list);

/* Adds a list of names as a text array, NULL when it is not there. */
extern void ks_arg_name_list(KsArgs *args, const KsNameList *list);

/*
 * How many rows of all these tables have no valid HMAC; *named receives the
 * first of them, palloc'd, as health() shows them: table and primary key.
 */
extern int64 ks_rows_count_forged(char **named);

#endif							/* KS_ROWS_H */
