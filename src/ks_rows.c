/*-------------------------------------------------------------------------
 *
 * ks_rows.c
 *	  Rows that give rights: reading them, and the HMAC that each carries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_error.h"
#include "ks_keyring.h"
#include "ks_rows.h"

/* An API key's two lists are the longest. */
#define MAC_INPUT_MAX		(1024 + 2 * KS_NAME_LIST_MAX * (KS_ENVIRONMENT_MAX + 8))

StaticAssertDecl(KS_PROVIDER_MAX <= KS_ENVIRONMENT_MAX, "a list of providers may be longer than one of environments");

#define NAMED_ROWS_MAX		10	/* that health() names */

static const struct
{
	const char *name;
	uint32		bit;
}			permissions[] = {
	{"view", KS_PERM_VIEW}, {"reveal", KS_PERM_REVEAL}, {"store", KS_PERM_STORE},
	{"rotate", KS_PERM_ROTATE}, {"approve", KS_PERM_APPROVE}, {"audit", KS_PERM_AUDIT},
	{"policy", KS_PERM_POLICY}, {"workspace", KS_PERM_WORKSPACE}, {"billing", KS_PERM_BILLING},
	{"member", KS_PERM_MEMBER},
};

uint32
ks_permission_bit(const char *name)
{
	for (size_t i = 0; i < lengthof(permissions); i++)
	{
		if (strcmp(permissions[i].name, name) == 0)
			return permissions[i].bit;
	}
	return 0;
}

/* The bits of an array of permission names; unknown names are no bits. */
static uint32
permissions_of_array(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	uint32		bits = 0;

	if (array == (Datum) 0)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			bits |= ks_permission_bit(TextDatumGetCString(elements[i]));
	}
	return bits & ~KS_PERM_MEMBER;
}

Datum
ks_permission_names(uint32 bits)
{
	Datum		elements[lengthof(permissions)];
	int			n = 0;

	for (size_t i = 0; i < lengthof(permissions); i++)
	{
		if (bits & permissions[i].bit)
			elements[n++] = CStringGetTextDatum(permissions[i].name);
	}
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

void
ks_arg_permissions(KsArgs *args, uint32 bits)
{
	ks_arg_datum(args, true, TEXTARRAYOID, ks_permission_names(bits));
}

/* MAC input: the table's purpose, then the columns that matter. */

static void
time_field(KsFields *f, bool present, TimestampTz time)
{
	if (present)
		ks_fields_i64(f, time);
	else
		ks_fields_absent(f);
}

static void
principal_fields(KsFields *f, uint8 *buf, const KsPrincipalRow *p)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row principal v1");
	ks_fields_uuid(f, p->id);
	ks_fields_text(f, p->kind);
	ks_fields_text(f, p->db_role);
	time_field(f, p->disabled, p->disabled_at);
}

static void
workspace_fields(KsFields *f, uint8 *buf, const KsWorkspaceRow *w)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row workspace v1");
	ks_fields_uuid(f, w->id);
	ks_fields_text(f, w->slug);
	ks_fields_text(f, w->status);
	ks_fields_uuid(f, w->set_by_member ? w->status_set_by : NULL);
	time_field(f, w->offboarded, w->purge_after);
	time_field(f, w->purged, w->purged_at);
	ks_fields_text(f, w->plan);
	ks_fields_i64(f, w->period_anchor);
	ks_fields_uuid(f, w->personal ? w->personal_of : NULL);
	ks_fields_i64(f, w->updated_at);
}

/* Extra permissions enter as bits, so their order in the array is free. */
static void
member_fields(KsFields *f, uint8 *buf, const KsMemberRow *m)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row member v1");
	ks_fields_uuid(f, m->workspace);
	ks_fields_uuid(f, m->principal);
	ks_fields_text(f, m->role);
	ks_fields_u32(f, m->extra_permissions);
	ks_fields_i64(f, m->updated_at);
	time_field(f, m->removed, m->removed_at);
}

static void
grant_fields(KsFields *f, uint8 *buf, const KsGrantRow *g)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row profile grant v1");
	ks_fields_text(f, g->role);
	ks_fields_text(f, g->profile);
	ks_fields_i64(f, g->granted_at);
	time_field(f, g->revoked, g->revoked_at);
}

static void
external_fields(KsFields *f, uint8 *buf, const KsExternalRow *e)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row external id v1");
	ks_fields_uuid(f, e->principal);
	ks_fields_text(f, e->external_id);
}

static void
list_fields(KsFields *f, const KsNameList *list)
{
	if (!list->present)
	{
		ks_fields_absent(f);
		return;
	}
	ks_fields_u32(f, (uint32) list->n);
	for (int i = 0; i < list->n; i++)
		ks_fields_text(f, list->names[i]);
}

static void
api_key_fields(KsFields *f, uint8 *buf, const KsApiKeyRow *k)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row api key v1");
	ks_fields_uuid(f, k->workspace);
	ks_fields_uuid(f, k->id);
	ks_fields_text(f, k->name);
	ks_fields_text(f, k->prefix);
	ks_fields_text(f, k->role);
	list_fields(f, &k->environments);
	list_fields(f, &k->providers);
	ks_fields_uuid(f, k->creator);
	ks_fields_i64(f, k->updated_at);
	time_field(f, k->expires, k->expires_at);
	time_field(f, k->revoked, k->revoked_at);
}

static void
key_secret_fields(KsFields *f, uint8 *buf, const KsKeySecretRow *s)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row api key secret v1");
	ks_fields_uuid(f, s->workspace);
	ks_fields_text(f, s->prefix);
	ks_fields_uuid(f, s->key);
	ks_fields_bytes(f, s->secret_mac, KS_DIGEST_LEN);
	ks_fields_i64(f, s->created_at);
	time_field(f, s->ends, s->valid_until);
}

static void
invitation_fields(KsFields *f, uint8 *buf, const KsInvitationRow *i)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row invitation v1");
	ks_fields_uuid(f, i->workspace);
	ks_fields_uuid(f, i->id);
	ks_fields_text(f, i->email);
	ks_fields_text(f, i->role);
	ks_fields_bytes(f, i->token_mac, KS_DIGEST_LEN);
	ks_fields_uuid(f, i->invited_by);
	ks_fields_i64(f, i->expires_at);
	time_field(f, i->accepted, i->accepted_at);
	ks_fields_uuid(f, i->accepted ? i->accepted_by : NULL);
	time_field(f, i->cancelled, i->cancelled_at);
}

static void
share_fields(KsFields *f, uint8 *buf, const KsShareRow *s)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row credential share v1");
	ks_fields_uuid(f, s->workspace);
	ks_fields_uuid(f, s->credential);
	ks_fields_uuid(f, s->grantee);
	ks_fields_uuid(f, s->owner);
	time_field(f, s->ends, s->until);
	ks_fields_i64(f, s->updated_at);
	time_field(f, s->revoked, s->revoked_at);
}

static void
limit_fields(KsFields *f, uint8 *buf, const KsLimitRow *l)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row limit v1");
	ks_fields_uuid(f, l->workspace);
	ks_fields_text(f, l->name);
	ks_fields_text(f, l->windows);
	ks_fields_text(f, l->algorithm);
	ks_fields_text(f, l->timezone);
	ks_fields_text(f, l->limit_class);
	ks_fields_u32(f, l->shadow);
	ks_fields_text(f, l->enforce_action);
	ks_fields_text(f, l->enforce_provider);
	ks_fields_text(f, l->key_by);
	ks_fields_u32(f, (uint32) l->near_percent);
	ks_fields_u32(f, l->refundable);
	ks_fields_i64(f, l->updated_at);
	time_field(f, l->dropped, l->dropped_at);
}

void
ks_document_digest(const Jsonb *document, uint8 digest[KS_DIGEST_LEN])
{
	char	   *text = JsonbToCString(NULL, unconstify(JsonbContainer *, &document->root), (int) VARSIZE(document));

	if (ks_sha256(text, strlen(text), digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	pfree(text);
}

static void
policy_fields(KsFields *f, uint8 *buf, const KsPolicyRow *y)
{
	uint8		digest[KS_DIGEST_LEN];

	ks_document_digest(y->document, digest);
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row policy v1");
	ks_fields_uuid(f, y->workspace);
	ks_fields_text(f, y->id);
	ks_fields_u32(f, (uint32) y->version);
	ks_fields_text(f, y->level);
	ks_fields_text(f, y->enforcement);
	ks_fields_bytes(f, digest, KS_DIGEST_LEN);
	ks_fields_uuid(f, y->by_principal ? y->updated_by : NULL);
	ks_fields_i64(f, y->updated_at);
	time_field(f, y->dropped, y->dropped_at);
}

static void
approval_fields(KsFields *f, uint8 *buf, const KsApprovalRow *a)
{
	uint8		digests[3][KS_DIGEST_LEN];

	ks_document_digest(a->resource, digests[0]);
	ks_document_digest(a->parameters, digests[1]);
	ks_document_digest(a->need, digests[2]);
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row approval request v1");
	ks_fields_uuid(f, a->workspace);
	ks_fields_uuid(f, a->id);
	ks_fields_uuid(f, a->requester);
	ks_fields_text(f, a->action);
	ks_fields_bytes(f, digests, sizeof(digests));
	ks_fields_text(f, a->reason);
	ks_fields_bytes(f, a->request_hash, KS_DIGEST_LEN);
	ks_fields_u32(f, a->break_glass);
	ks_fields_text(f, a->state);
	ks_fields_u32(f, (uint32) a->level);
	ks_fields_i64(f, a->created_at);
	ks_fields_i64(f, a->expires_at);
	time_field(f, a->decided, a->decided_at);
	time_field(f, a->claimed, a->claimed_at);
	time_field(f, a->completed, a->completed_at);
	ks_fields_uuid(f, a->reviewed ? a->reviewed_by : NULL);
	time_field(f, a->reviewed, a->reviewed_at);
}

static void
vote_fields(KsFields *f, uint8 *buf, const KsVoteRow *v)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row approval vote v1");
	ks_fields_uuid(f, v->workspace);
	ks_fields_uuid(f, v->request);
	ks_fields_uuid(f, v->voter);
	ks_fields_text(f, v->vote);
	ks_fields_bytes(f, v->request_hash, KS_DIGEST_LEN);
	ks_fields_i64(f, v->voted_at);
}

static void
preview_fields(KsFields *f, uint8 *buf, const KsPreviewRow *r)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row preview v1");
	ks_fields_uuid(f, r->workspace);
	ks_fields_uuid(f, r->credential);
	ks_fields_uuid(f, r->id);
	ks_fields_u32(f, (uint32) r->version);
	ks_fields_uuid(f, r->created_by);
	ks_fields_i64(f, r->created_at);
}

void
ks_secret_mac(const char *purpose, const void *secret, size_t len, uint8 mac[KS_DIGEST_LEN])
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	ks_fields_begin(&fields, buf, sizeof(buf), purpose);
	ks_fields_bytes(&fields, secret, len);
	if (fields.full)
		elog(ERROR, "a secret is too long");
	ks_keyring_row_mac(&fields, mac);
	explicit_bzero(buf, fields.len);
}

/* Whether the HMAC in a column is that of the fields. */
static bool
mac_is_valid(const KsSpi *spi, uint64 row, int column, const KsFields *fields)
{
	uint8		expected[KS_DIGEST_LEN];
	size_t		len;
	uint8	   *mac = ks_col_bytes(spi, row, column, &len);

	if (fields->full || mac == NULL || len != KS_DIGEST_LEN || !ks_keyring_has_mac_key())
		return false;
	ks_keyring_row_mac(fields, expected);
	return ks_equal(mac, expected, KS_DIGEST_LEN);
}

static void
add_mac(KsArgs *args, const KsFields *fields)
{
	uint8		mac[KS_DIGEST_LEN];

	ks_keyring_row_mac(fields, mac);
	ks_arg_bytes(args, mac, KS_DIGEST_LEN);
}

bool
ks_principal_read(const KsSpi *spi, uint64 row, int first, KsPrincipalRow *principal)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(principal, 0, sizeof(*principal));
	(void) ks_col_uuid(row, first, principal->id);
	principal->kind = ks_col_text(spi, row, first + 1);
	principal->db_role = ks_col_text(spi, row, first + 2);
	principal->disabled = ks_col_time(row, first + 3, &principal->disabled_at);
	principal_fields(&fields, buf, principal);
	return mac_is_valid(spi, row, first + 4, &fields);
}

bool
ks_workspace_read(const KsSpi *spi, uint64 row, int first, KsWorkspaceRow *workspace)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(workspace, 0, sizeof(*workspace));
	(void) ks_col_uuid(row, first, workspace->id);
	workspace->slug = ks_col_text(spi, row, first + 1);
	workspace->status = ks_col_text(spi, row, first + 2);
	workspace->set_by_member = ks_col_uuid(row, first + 3, workspace->status_set_by);
	workspace->offboarded = ks_col_time(row, first + 4, &workspace->purge_after);
	workspace->purged = ks_col_time(row, first + 5, &workspace->purged_at);
	workspace->plan = ks_col_text(spi, row, first + 6);
	(void) ks_col_time(row, first + 7, &workspace->period_anchor);
	workspace->personal = ks_col_uuid(row, first + 8, workspace->personal_of);
	(void) ks_col_time(row, first + 9, &workspace->updated_at);
	workspace_fields(&fields, buf, workspace);
	return mac_is_valid(spi, row, first + 10, &fields);
}

bool
ks_member_read(const KsSpi *spi, uint64 row, int first, KsMemberRow *member)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(member, 0, sizeof(*member));
	(void) ks_col_uuid(row, first, member->workspace);
	(void) ks_col_uuid(row, first + 1, member->principal);
	member->role = ks_col_text(spi, row, first + 2);
	member->extra_permissions = permissions_of_array(ks_col_array(spi, row, first + 3));
	(void) ks_col_time(row, first + 4, &member->updated_at);
	member->removed = ks_col_time(row, first + 5, &member->removed_at);
	member_fields(&fields, buf, member);
	return mac_is_valid(spi, row, first + 6, &fields);
}

bool
ks_grant_read(const KsSpi *spi, uint64 row, int first, KsGrantRow *grant)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(grant, 0, sizeof(*grant));
	grant->role = ks_col_text(spi, row, first);
	grant->profile = ks_col_text(spi, row, first + 1);
	(void) ks_col_time(row, first + 2, &grant->granted_at);
	grant->revoked = ks_col_time(row, first + 3, &grant->revoked_at);
	grant_fields(&fields, buf, grant);
	return mac_is_valid(spi, row, first + 4, &fields);
}

bool
ks_external_read(const KsSpi *spi, uint64 row, int first, KsExternalRow *external)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(external, 0, sizeof(*external));
	(void) ks_col_uuid(row, first, external->principal);
	external->external_id = ks_col_text(spi, row, first + 1);
	external_fields(&fields, buf, external);
	return mac_is_valid(spi, row, first + 2, &fields);
}

/* A list of names; false when it is none that was written here. */
static bool
read_name_list(const KsSpi *spi, uint64 row, int column, KsNameList *list)
{
	Datum		array = ks_col_array(spi, row, column);
	MemoryContext old;
	Datum	   *elements;
	bool	   *nulls;

	if (array == (Datum) 0)
		return true;
	old = MemoryContextSwitchTo(spi->caller);
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &list->n);
	list->present = true;
	list->names = palloc(Max(list->n, 1) * sizeof(char *));
	for (int i = 0; i < list->n; i++)
		list->names[i] = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < list->n; i++)
	{
		if (list->names[i] == NULL)
			return false;
	}
	return list->n <= KS_NAME_LIST_MAX;
}

bool
ks_api_key_read(const KsSpi *spi, uint64 row, int first, KsApiKeyRow *found)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	bool		lists_good;

	memset(found, 0, sizeof(*found));
	(void) ks_col_uuid(row, first, found->workspace);
	(void) ks_col_uuid(row, first + 1, found->id);
	found->name = ks_col_text(spi, row, first + 2);
	found->prefix = ks_col_text(spi, row, first + 3);
	found->role = ks_col_text(spi, row, first + 4);
	lists_good = read_name_list(spi, row, first + 5, &found->environments) &&
		read_name_list(spi, row, first + 6, &found->providers);
	(void) ks_col_uuid(row, first + 7, found->creator);
	(void) ks_col_time(row, first + 8, &found->updated_at);
	found->expires = ks_col_time(row, first + 9, &found->expires_at);
	found->revoked = ks_col_time(row, first + 10, &found->revoked_at);
	if (!lists_good)
		return false;
	api_key_fields(&fields, buf, found);
	return mac_is_valid(spi, row, first + 11, &fields);
}

/* Copies a column of a digest's length; another length leaves zeros. */
static void
read_digest(const KsSpi *spi, uint64 row, int column, uint8 digest[KS_DIGEST_LEN])
{
	size_t		len;
	uint8	   *bytes = ks_col_bytes(spi, row, column, &len);

	if (bytes != NULL && len == KS_DIGEST_LEN)
		memcpy(digest, bytes, KS_DIGEST_LEN);
}

bool
ks_key_secret_read(const KsSpi *spi, uint64 row, int first, KsKeySecretRow *found)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(found, 0, sizeof(*found));
	(void) ks_col_uuid(row, first, found->workspace);
	found->prefix = ks_col_text(spi, row, first + 1);
	(void) ks_col_uuid(row, first + 2, found->key);
	read_digest(spi, row, first + 3, found->secret_mac);
	(void) ks_col_time(row, first + 4, &found->created_at);
	found->ends = ks_col_time(row, first + 5, &found->valid_until);
	key_secret_fields(&fields, buf, found);
	return mac_is_valid(spi, row, first + 6, &fields);
}

bool
ks_invitation_read(const KsSpi *spi, uint64 row, int first, KsInvitationRow *invitation)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(invitation, 0, sizeof(*invitation));
	(void) ks_col_uuid(row, first, invitation->workspace);
	(void) ks_col_uuid(row, first + 1, invitation->id);
	invitation->email = ks_col_text(spi, row, first + 2);
	invitation->role = ks_col_text(spi, row, first + 3);
	read_digest(spi, row, first + 4, invitation->token_mac);
	(void) ks_col_uuid(row, first + 5, invitation->invited_by);
	(void) ks_col_time(row, first + 6, &invitation->expires_at);
	invitation->accepted = ks_col_time(row, first + 7, &invitation->accepted_at);
	(void) ks_col_uuid(row, first + 8, invitation->accepted_by);
	invitation->cancelled = ks_col_time(row, first + 9, &invitation->cancelled_at);
	invitation_fields(&fields, buf, invitation);
	return mac_is_valid(spi, row, first + 10, &fields);
}

bool
ks_share_read(const KsSpi *spi, uint64 row, int first, KsShareRow *share)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(share, 0, sizeof(*share));
	(void) ks_col_uuid(row, first, share->workspace);
	(void) ks_col_uuid(row, first + 1, share->credential);
	(void) ks_col_uuid(row, first + 2, share->grantee);
	(void) ks_col_uuid(row, first + 3, share->owner);
	share->ends = ks_col_time(row, first + 4, &share->until);
	(void) ks_col_time(row, first + 5, &share->updated_at);
	share->revoked = ks_col_time(row, first + 6, &share->revoked_at);
	share_fields(&fields, buf, share);
	return mac_is_valid(spi, row, first + 7, &fields);
}

bool
ks_limit_read(const KsSpi *spi, uint64 row, int first, KsLimitRow *limit)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(limit, 0, sizeof(*limit));
	(void) ks_col_uuid(row, first, limit->workspace);
	limit->name = ks_col_text(spi, row, first + 1);
	limit->windows = ks_col_text(spi, row, first + 2);
	limit->algorithm = ks_col_text(spi, row, first + 3);
	limit->timezone = ks_col_text(spi, row, first + 4);
	limit->limit_class = ks_col_text(spi, row, first + 5);
	limit->shadow = ks_col_bool(row, first + 6);
	limit->enforce_action = ks_col_text(spi, row, first + 7);
	limit->enforce_provider = ks_col_text(spi, row, first + 8);
	limit->key_by = ks_col_text(spi, row, first + 9);
	(void) ks_col_int(row, first + 10, &limit->near_percent);
	limit->refundable = ks_col_bool(row, first + 11);
	(void) ks_col_time(row, first + 12, &limit->updated_at);
	limit->dropped = ks_col_time(row, first + 13, &limit->dropped_at);
	limit_fields(&fields, buf, limit);
	return mac_is_valid(spi, row, first + 14, &fields);
}

bool
ks_policy_read(const KsSpi *spi, uint64 row, int first, KsPolicyRow *policy)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(policy, 0, sizeof(*policy));
	(void) ks_col_uuid(row, first, policy->workspace);
	policy->id = ks_col_text(spi, row, first + 1);
	(void) ks_col_int(row, first + 2, &policy->version);
	policy->level = ks_col_text(spi, row, first + 3);
	policy->enforcement = ks_col_text(spi, row, first + 4);
	policy->document = ks_col_jsonb(spi, row, first + 5);
	policy->by_principal = ks_col_uuid(row, first + 6, policy->updated_by);
	(void) ks_col_time(row, first + 7, &policy->updated_at);
	policy->dropped = ks_col_time(row, first + 8, &policy->dropped_at);
	if (policy->document == NULL)
		return false;
	policy_fields(&fields, buf, policy);
	return mac_is_valid(spi, row, first + 9, &fields);
}

/* False when the column has not the length of a digest. */
static bool
get_digest(const KsSpi *spi, uint64 row, int column, uint8 digest[KS_DIGEST_LEN])
{
	size_t		len = 0;
	uint8	   *bytes = ks_col_bytes(spi, row, column, &len);

	if (bytes == NULL || len != KS_DIGEST_LEN)
		return false;
	memcpy(digest, bytes, KS_DIGEST_LEN);
	return true;
}

bool
ks_approval_read(const KsSpi *spi, uint64 row, int first, KsApprovalRow *approval)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(approval, 0, sizeof(*approval));
	(void) ks_col_uuid(row, first, approval->workspace);
	(void) ks_col_uuid(row, first + 1, approval->id);
	(void) ks_col_uuid(row, first + 2, approval->requester);
	approval->action = ks_col_text(spi, row, first + 3);
	approval->resource = ks_col_jsonb(spi, row, first + 4);
	approval->parameters = ks_col_jsonb(spi, row, first + 5);
	approval->reason = ks_col_text(spi, row, first + 6);
	approval->need = ks_col_jsonb(spi, row, first + 8);
	approval->break_glass = ks_col_bool(row, first + 9);
	approval->state = ks_col_text(spi, row, first + 10);
	(void) ks_col_int(row, first + 11, &approval->level);
	(void) ks_col_time(row, first + 12, &approval->created_at);
	(void) ks_col_time(row, first + 13, &approval->expires_at);
	approval->decided = ks_col_time(row, first + 14, &approval->decided_at);
	approval->claimed = ks_col_time(row, first + 15, &approval->claimed_at);
	approval->completed = ks_col_time(row, first + 16, &approval->completed_at);
	approval->reviewed = ks_col_time(row, first + 18, &approval->reviewed_at);
	if (ks_col_uuid(row, first + 17, approval->reviewed_by) != approval->reviewed ||
		!get_digest(spi, row, first + 7, approval->request_hash))
		return false;
	approval_fields(&fields, buf, approval);
	return mac_is_valid(spi, row, first + 19, &fields);
}

bool
ks_vote_read(const KsSpi *spi, uint64 row, int first, KsVoteRow *vote)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(vote, 0, sizeof(*vote));
	(void) ks_col_uuid(row, first, vote->workspace);
	(void) ks_col_uuid(row, first + 1, vote->request);
	(void) ks_col_uuid(row, first + 2, vote->voter);
	vote->vote = ks_col_text(spi, row, first + 3);
	(void) ks_col_time(row, first + 5, &vote->voted_at);
	if (!get_digest(spi, row, first + 4, vote->request_hash))
		return false;
	vote_fields(&fields, buf, vote);
	return mac_is_valid(spi, row, first + 6, &fields);
}

bool
ks_preview_read(const KsSpi *spi, uint64 row, int first, KsPreviewRow *preview)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(preview, 0, sizeof(*preview));
	(void) ks_col_uuid(row, first, preview->workspace);
	(void) ks_col_uuid(row, first + 1, preview->credential);
	(void) ks_col_uuid(row, first + 2, preview->id);
	(void) ks_col_int(row, first + 3, &preview->version);
	(void) ks_col_uuid(row, first + 4, preview->created_by);
	(void) ks_col_time(row, first + 5, &preview->created_at);
	preview_fields(&fields, buf, preview);
	return mac_is_valid(spi, row, first + 6, &fields);
}

/* The HMAC of each as an argument. */
#define DEFINE_ADD_MAC(function, type, fields_of) \
void \
function(KsArgs *args, const type *row) \
{ \
	uint8		buf[MAC_INPUT_MAX]; \
	KsFields	fields; \
\
	fields_of(&fields, buf, row); \
	add_mac(args, &fields); \
}

DEFINE_ADD_MAC(ks_principal_add_mac, KsPrincipalRow, principal_fields)
DEFINE_ADD_MAC(ks_workspace_add_mac, KsWorkspaceRow, workspace_fields)
DEFINE_ADD_MAC(ks_member_add_mac, KsMemberRow, member_fields)
DEFINE_ADD_MAC(ks_grant_add_mac, KsGrantRow, grant_fields)
DEFINE_ADD_MAC(ks_external_add_mac, KsExternalRow, external_fields)
DEFINE_ADD_MAC(ks_api_key_add_mac, KsApiKeyRow, api_key_fields)
DEFINE_ADD_MAC(ks_key_secret_add_mac, KsKeySecretRow, key_secret_fields)
DEFINE_ADD_MAC(ks_invitation_add_mac, KsInvitationRow, invitation_fields)
DEFINE_ADD_MAC(ks_share_add_mac, KsShareRow, share_fields)
DEFINE_ADD_MAC(ks_limit_add_mac, KsLimitRow, limit_fields)
DEFINE_ADD_MAC(ks_policy_add_mac, KsPolicyRow, policy_fields)
DEFINE_ADD_MAC(ks_approval_add_mac, KsApprovalRow, approval_fields)
DEFINE_ADD_MAC(ks_vote_add_mac, KsVoteRow, vote_fields)
DEFINE_ADD_MAC(ks_preview_add_mac, KsPreviewRow, preview_fields)

Datum
ks_name_list_datum(const KsNameList *list)
{
	Datum		elements[KS_NAME_LIST_MAX];

	Assert(list->n <= KS_NAME_LIST_MAX);
	for (int i = 0; i < list->n; i++)
		elements[i] = CStringGetTextDatum(list->names[i]);
	return PointerGetDatum(construct_array(elements, list->n, TEXTOID, -1, false, TYPALIGN_INT));
}

void
ks_arg_name_list(KsArgs *args, const KsNameList *list)
{
	ks_arg_datum(args, list->present, TEXTARRAYOID, ks_name_list_datum(list));
}

/* Health */

/* Whether a row is valid; each reads into a struct of its own. */
#define DEFINE_IS_VALID(function, type, read) \
static bool \
function(const KsSpi *spi, uint64 row) \
{ \
	type		is; \
\
	return read(spi, row, 1, &is); \
}

DEFINE_IS_VALID(principal_is_valid, KsPrincipalRow, ks_principal_read)
DEFINE_IS_VALID(workspace_is_valid, KsWorkspaceRow, ks_workspace_read)
DEFINE_IS_VALID(member_is_valid, KsMemberRow, ks_member_read)
DEFINE_IS_VALID(grant_is_valid, KsGrantRow, ks_grant_read)
DEFINE_IS_VALID(external_is_valid, KsExternalRow, ks_external_read)
DEFINE_IS_VALID(api_key_is_valid, KsApiKeyRow, ks_api_key_read)
DEFINE_IS_VALID(key_secret_is_valid, KsKeySecretRow, ks_key_secret_read)
DEFINE_IS_VALID(invitation_is_valid, KsInvitationRow, ks_invitation_read)
DEFINE_IS_VALID(share_is_valid, KsShareRow, ks_share_read)
DEFINE_IS_VALID(limit_is_valid, KsLimitRow, ks_limit_read)
DEFINE_IS_VALID(policy_is_valid, KsPolicyRow, ks_policy_read)
DEFINE_IS_VALID(approval_is_valid, KsApprovalRow, ks_approval_read)
DEFINE_IS_VALID(vote_is_valid, KsVoteRow, ks_vote_read)
DEFINE_IS_VALID(preview_is_valid, KsPreviewRow, ks_preview_read)

/* A table whose rows give rights.  Its plan has the row's name as one more column. */
typedef struct MacTable
{
	const char *name;
	KsPlan		plan;
	int			columns;
	bool		(*is_valid) (const KsSpi *spi, uint64 row);
} MacTable;

static MacTable mac_tables[] = {
	{"principals",
		{.sql = "SELECT " KS_PRINCIPAL_COLUMNS ", p.id::text FROM keystone.principals p"},
	KS_PRINCIPAL_COLUMNS_N, principal_is_valid},
	{"workspaces",
		{.sql = "SELECT " KS_WORKSPACE_COLUMNS ", w.id::text FROM keystone.workspaces w"},
	KS_WORKSPACE_COLUMNS_N, workspace_is_valid},
	{"members",
		{.sql = "SELECT " KS_MEMBER_COLUMNS ", m.workspace_id || '/' || m.principal_id FROM keystone.members m"},
	KS_MEMBER_COLUMNS_N, member_is_valid},
	{"profile_grants",
		{.sql = "SELECT " KS_GRANT_COLUMNS ", g.role_name || '/' || g.profile FROM keystone_private.profile_grants g"},
	KS_GRANT_COLUMNS_N, grant_is_valid},
	{"external_ids",
		{.sql = "SELECT " KS_EXTERNAL_COLUMNS ", e.principal_id::text FROM keystone_private.external_ids e"},
	KS_EXTERNAL_COLUMNS_N, external_is_valid},
	{"api_keys",
		{.sql = "SELECT " KS_API_KEY_COLUMNS ", k.workspace_id || '/' || k.id FROM keystone_private.api_keys k"},
	KS_API_KEY_COLUMNS_N, api_key_is_valid},
	{"api_key_secrets",
		{.sql = "SELECT " KS_KEY_SECRET_COLUMNS ", s.workspace_id || '/' || s.prefix FROM keystone_private.api_key_secrets s"},
	KS_KEY_SECRET_COLUMNS_N, key_secret_is_valid},
	{"invitations",
		{.sql = "SELECT " KS_INVITATION_COLUMNS ", i.workspace_id || '/' || i.id FROM keystone.invitations i"},
	KS_INVITATION_COLUMNS_N, invitation_is_valid},
	{"credential_shares",
		{.sql = "SELECT " KS_SHARE_COLUMNS ", c.workspace_id || '/' || c.credential_id || '/' || c.grantee FROM keystone.credential_shares c"},
	KS_SHARE_COLUMNS_N, share_is_valid},
	{"limits",
		{.sql = "SELECT " KS_LIMIT_COLUMNS ", l.workspace_id || '/' || l.name FROM keystone_private.limits l"},
	KS_LIMIT_COLUMNS_N, limit_is_valid},
	{"policies",
		{.sql = "SELECT " KS_POLICY_COLUMNS ", y.workspace_id || '/' || y.id FROM keystone_private.policies y"},
	KS_POLICY_COLUMNS_N, policy_is_valid},
	{"approval_requests",
		{.sql = "SELECT " KS_APPROVAL_COLUMNS ", a.workspace_id || '/' || a.id FROM keystone.approval_requests a"},
	KS_APPROVAL_COLUMNS_N, approval_is_valid},
	{"approval_votes",
		{.sql = "SELECT " KS_VOTE_COLUMNS ", v.workspace_id || '/' || v.request_id || '/' || v.voter FROM keystone.approval_votes v"},
	KS_VOTE_COLUMNS_N, vote_is_valid},
	{"previews",
		{.sql = "SELECT " KS_PREVIEW_COLUMNS ", r.workspace_id || '/' || r.credential_id || '/' || r.id FROM keystone_private.previews r"},
	KS_PREVIEW_COLUMNS_N, preview_is_valid},
};

/* Counts the forged rows of a table; named says how many are named already. */
static int64
count_forged(MacTable *table, int *n_named, StringInfo named)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone health",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&table->plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (table->is_valid(&spi, i))
			continue;
		forged++;
		if ((*n_named)++ < NAMED_ROWS_MAX)
			appendStringInfo(named, "%s%s %s", named->len > 0 ? ", " : "", table->name,
							 ks_escape_control(ks_col_text(&spi, i, table->columns + 1)));
	}
	ks_spi_end(&spi);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return forged;
}

int64
ks_rows_count_forged(char **named)
{
	StringInfoData names;
	int			n_named = 0;
	int64		forged = 0;

	initStringInfo(&names);
	for (size_t i = 0; i < lengthof(mac_tables); i++)
		forged += count_forged(&mac_tables[i], &n_named, &names);
	*named = names.data;
	return forged;
}
