/*-------------------------------------------------------------------------
 *
 * ks_change_row.c
 *	  Changed rows of Keystone's own tables as audit entries.
 *
 * A verb on a credential changes rows of three tables and gives one entry:
 * the triggers collect, and ks_change_end() writes.  Every other row that
 * changes gives an entry of its own, but for the secrets of API keys: that of
 * their key has them.
 *
 * Each entry says by digests which rows there were and are: reconciling
 * compares these with the tables.
 *
 * A trigger runs in a memory context that is reset after each row: what a verb
 * collects lies where ks_change_begin() was called.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "ks_change.h"
#include "ks_error.h"
#include "ks_text.h"

/* Digests, and rows, in one entry: with more of them there are more entries. */
#define DIGESTS_OF_ENTRY	10
#define ROWS_OF_ENTRY		10

/* A changed row. */
typedef struct Row
{
	TupleDesc	desc;
	HeapTuple	old;			/* NULL for an insert */
	HeapTuple	new;			/* NULL for a delete */
	HeapTuple	is;				/* as it is now, or was before it was deleted */
} Row;

/* Columns that change with every change, and say nothing. */
static const char *const bookkeeping[] = {
	"updated_at", "updated_by", "row_mac", "added_by", "granted_by", "granted_at", "folded_name",
	"current_version", "last_version", "hint", "secret_mac", "token_mac", "verified_at", "verified_detail", "last_rotated_at", NULL
};

static bool
is_listed(const char *const *list, const char *name)
{
	for (; *list != NULL; list++)
	{
		if (strcmp(*list, name) == 0)
			return true;
	}
	return false;
}

/* A column's value; false when it is NULL. */
static bool
get_column(const Row *row, HeapTuple tuple, const char *name, Datum *value, Oid *type)
{
	bool		isnull = true;

	for (int i = 0; tuple != NULL && i < row->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(row->desc, i);

		if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
			continue;
		*value = heap_getattr(tuple, i + 1, row->desc, &isnull);
		if (type != NULL)
			*type = att->atttypid;
		break;
	}
	return !isnull;
}

static bool
get_uuid(const Row *row, const char *name, uint8 uuid[KS_ID_LEN])
{
	Datum		value;
	Oid			type;

	if (!get_column(row, row->is, name, &value, &type) || type != UUIDOID)
		return false;
	memcpy(uuid, DatumGetUUIDP(value)->data, KS_ID_LEN);
	return true;
}

static int32
get_int(const Row *row, const char *name)
{
	Datum		value;
	Oid			type;

	return get_column(row, row->is, name, &value, &type) && type == INT4OID ? DatumGetInt32(value) : 0;
}

/* As text, palloc'd; NULL for NULL. */
static char *
get_text(const Row *row, const char *name)
{
	Datum		value;
	Oid			type;
	Oid			output;
	bool		is_varlena;

	if (!get_column(row, row->is, name, &value, &type))
		return NULL;
	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

static void
add_text(const Row *row, KsDraft *draft, const char *key, const char *column)
{
	char	   *text = get_text(row, column);

	if (text != NULL)
		ks_detail_add(&draft->detail, key, ks_draft_cut(text, (int) strlen(text)));
}

/* Whether a column's value is another one than before. */
static bool
is_changed(const Row *row, int i)
{
	Form_pg_attribute att = TupleDescAttr(row->desc, i);
	bool		old_null;
	bool		new_null;
	Datum		old_value = heap_getattr(row->old, i + 1, row->desc, &old_null);
	Datum		new_value = heap_getattr(row->new, i + 1, row->desc, &new_null);

	if (old_null || new_null)
		return old_null != new_null;
	return !datum_image_eq(old_value, new_value, att->attbyval, att->attlen);
}

/* Appends names of changed columns that are not there yet. */
static void
add_columns(const Row *row, bool all, StringInfo columns)
{
	if (row->old == NULL || row->new == NULL)
		return;
	for (int i = 0; i < row->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(row->desc, i);
		char	   *name = NameStr(att->attname);
		bool		known = false;

		if (att->attisdropped || (!all && is_listed(bookkeeping, name)) || !is_changed(row, i))
			continue;
		for (char *at = columns->data; (at = strstr(at, name)) != NULL && !known; at++)
			known = (at == columns->data || at[-1] == ',') &&
				(at[strlen(name)] == ',' || at[strlen(name)] == '\0');
		if (!known)
			appendStringInfo(columns, "%s%s", columns->len > 0 ? "," : "", name);
	}
}

/* The digest of a row of ciphertext; its key's id lies in another table. */
static void
digest_of(const Row *row, KsVersionDigest *result)
{
	static KsPlan plan = {.sql =
		"SELECT key_id FROM keystone_private.workspace_keys WHERE workspace_id = $1 AND version = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint8		workspace[KS_ID_LEN] = {0};
	uint8		key_id[KS_ID_LEN] = {0};
	uint8		aad_digest[KS_DIGEST_LEN] = {0};
	Datum		value;
	bytea	   *bytes;

	(void) get_uuid(row, "workspace_id", workspace);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, get_int(row, "key_version"));
	if (ks_spi_read(&plan, &args) == 1)
		(void) ks_col_uuid(0, 1, key_id);
	ks_spi_end(&spi);

	if (get_column(row, row->is, "aad_digest", &value, NULL))
	{
		bytes = DatumGetByteaPP(value);
		if (VARSIZE_ANY_EXHDR(bytes) == KS_DIGEST_LEN)
			memcpy(aad_digest, VARDATA_ANY(bytes), KS_DIGEST_LEN);
	}
	if (!get_column(row, row->is, "envelope", &value, NULL))
		value = PointerGetDatum(cstring_to_text(""));
	bytes = DatumGetByteaPP(value);
	result->version = get_int(row, "version");
	ks_change_digest(aad_digest, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), key_id, result->digest);
}


/*-------------------------------------------------------------------------
 * Entries of single rows
 *-------------------------------------------------------------------------
 */

/* Whether a column is NULL now, and was before. */
static bool
is_null(const Row *row, HeapTuple tuple, const char *column)
{
	Datum		value;

	return !get_column(row, tuple, column, &value, NULL);
}

static void
about_credential(const Row *row, KsDraft *draft)
{
	KsEvent    *event = &draft->event;

	event->kind = row->new == NULL ? KS_ACTION_CREDENTIAL_DESTROY : KS_ACTION_CREDENTIAL_UPDATE;
	(void) get_uuid(row, "workspace_id", event->workspace);
	(void) get_uuid(row, "id", event->object);
	(void) get_uuid(row, "owner", event->owner);
	event->version = get_int(row, "current_version");
	add_text(row, draft, "name", "name");
	add_text(row, draft, "environment", "environment");
	add_text(row, draft, "provider", "provider");
	add_text(row, draft, "owner", "owner");
}

static void
about_version(const Row *row, KsDraft *draft)
{
	KsEvent    *event = &draft->event;

	event->kind = row->new == NULL ? KS_ACTION_CREDENTIAL_DESTROY_VERSION : KS_ACTION_CREDENTIAL_UPDATE;
	(void) get_uuid(row, "workspace_id", event->workspace);
	(void) get_uuid(row, "credential_id", event->object);
	(void) get_uuid(row, "owner", event->owner);
	event->version = get_int(row, "version");
	add_text(row, draft, "state", "state");
	add_text(row, draft, "owner", "owner");
}

static void
about_ciphertext(const Row *row, KsDraft *draft)
{
	KsVersionDigest digest;

	about_version(row, draft);
	if (row->new == NULL)
		return;
	digest_of(row, &digest);
	draft->event.has_digest = true;
	memcpy(draft->event.digest, digest.digest, KS_DIGEST_LEN);
}

static void
about_principal(const Row *row, KsDraft *draft)
{
	bool		was_disabled = !is_null(row, row->old, "disabled_at");
	bool		disabled = !is_null(row, row->new, "disabled_at");

	if (row->old == NULL && !disabled)
		draft->event.kind = KS_ACTION_PRINCIPAL_CREATE;
	else if (row->new == NULL || disabled == was_disabled)
		draft->event.kind = KS_ACTION_PRINCIPAL_UPDATE;
	else
		draft->event.kind = disabled ? KS_ACTION_PRINCIPAL_DISABLE : KS_ACTION_PRINCIPAL_ENABLE;
	(void) get_uuid(row, "id", draft->event.object);
	add_text(row, draft, "kind", "kind");
	add_text(row, draft, "display_name", "display_name");
	add_text(row, draft, "login_role", "db_role");
}

static void
about_external_id(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_PRINCIPAL_UPDATE;
	(void) get_uuid(row, "principal_id", draft->event.object);
	add_text(row, draft, "external_id", "external_id");
}

/* Whether a column is all that has changed, beside bookkeeping. */
static bool
only_changed(const Row *row, const char *column)
{
	StringInfoData columns;

	initStringInfo(&columns);
	add_columns(row, false, &columns);
	return strcmp(columns.data, column) == 0;
}

static void
about_workspace(const Row *row, KsDraft *draft)
{
	bool		other_plan = only_changed(row, "plan");

	if (row->old == NULL)
		draft->event.kind = KS_ACTION_WORKSPACE_CREATE;
	else if (row->new != NULL && is_null(row, row->old, "purged_at") && !is_null(row, row->new, "purged_at"))
		draft->event.kind = KS_ACTION_WORKSPACE_PURGE;
	else if (row->new != NULL && is_null(row, row->old, "purge_after") && !is_null(row, row->new, "purge_after"))
		draft->event.kind = KS_ACTION_WORKSPACE_OFFBOARD;
	else
		draft->event.kind = other_plan ? KS_ACTION_PLAN_CHANGE : KS_ACTION_WORKSPACE_UPDATE;
	(void) get_uuid(row, "id", draft->event.workspace);
	(void) get_uuid(row, "id", draft->event.object);
	add_text(row, draft, "slug", "slug");
	add_text(row, draft, "status", "status");
	add_text(row, draft, "purge_after", "purge_after");
	add_text(row, draft, "plan", "plan");
	if (other_plan)
	{
		Row			before = *row;

		before.is = row->old;
		add_text(&before, draft, "previous_plan", "plan");
	}
}

/* A removal leaves the row as a tombstone. */
static void
about_member(const Row *row, KsDraft *draft)
{
	bool		was_member = row->old != NULL && is_null(row, row->old, "removed_at");
	bool		member = row->new != NULL && is_null(row, row->new, "removed_at");

	if (!member)
		draft->event.kind = KS_ACTION_MEMBER_REMOVE;
	else
		draft->event.kind = was_member ? KS_ACTION_MEMBER_ROLE : KS_ACTION_MEMBER_ADD;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "principal_id", draft->event.object);
	add_text(row, draft, "principal", "principal_id");
	if (member)
	{
		add_text(row, draft, "member_role", "role");
		add_text(row, draft, "extra_permissions", "extra_permissions");
	}
}

static void
about_grant(const Row *row, KsDraft *draft)
{
	draft->event.kind = row->new != NULL && is_null(row, row->new, "revoked_at") ?
		KS_ACTION_GRANT_ADD : KS_ACTION_GRANT_REVOKE;
	add_text(row, draft, "grantee", "role_name");
	add_text(row, draft, "profile", "profile");
}

static void
about_api_key(const Row *row, KsDraft *draft)
{
	bool		was_valid = row->old != NULL && is_null(row, row->old, "revoked_at");
	bool		valid = row->new != NULL && is_null(row, row->new, "revoked_at");

	if (!valid)
		draft->event.kind = KS_ACTION_APIKEY_REVOKE;
	else
		draft->event.kind = was_valid ? KS_ACTION_APIKEY_ROTATE : KS_ACTION_APIKEY_CREATE;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "id", draft->event.object);
	add_text(row, draft, "api_key", "name");
	add_text(row, draft, "key_prefix", "prefix");
	add_text(row, draft, "key_role", "role");
	add_text(row, draft, "environments", "environments");
	add_text(row, draft, "providers", "providers");
	add_text(row, draft, "creator", "created_by");
	add_text(row, draft, "expires_at", "expires_at");
}

static void
about_key_secret(const Row *row, KsDraft *draft)
{
	draft->event.kind = row->new == NULL ? KS_ACTION_APIKEY_REVOKE : KS_ACTION_APIKEY_ROTATE;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "key_id", draft->event.object);
	add_text(row, draft, "key_prefix", "prefix");
	add_text(row, draft, "valid_until", "valid_until");
}

static void
about_invitation(const Row *row, KsDraft *draft)
{
	if (row->new == NULL || !is_null(row, row->new, "cancelled_at"))
		draft->event.kind = KS_ACTION_MEMBER_UNINVITE;
	else
		draft->event.kind = is_null(row, row->new, "accepted_at") ? KS_ACTION_MEMBER_INVITE : KS_ACTION_MEMBER_ACCEPT;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "id", draft->event.object);
	add_text(row, draft, "email", "email");
	add_text(row, draft, "member_role", "role");
	add_text(row, draft, "expires_at", "expires_at");
	add_text(row, draft, "accepted_by", "accepted_by");
}

static void
about_share(const Row *row, KsDraft *draft)
{
	bool		valid = row->new != NULL && is_null(row, row->new, "revoked_at");

	draft->event.kind = valid ? KS_ACTION_CREDENTIAL_SHARE : KS_ACTION_CREDENTIAL_UNSHARE;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "credential_id", draft->event.object);
	(void) get_uuid(row, "owner", draft->event.owner);
	add_text(row, draft, "owner", "owner");
	add_text(row, draft, "grantee", "grantee");
	add_text(row, draft, "until", "until");
}

static void
about_limit(const Row *row, KsDraft *draft)
{
	draft->event.kind = row->new != NULL && is_null(row, row->new, "dropped_at") ?
		KS_ACTION_LIMIT_DEFINE : KS_ACTION_LIMIT_DROP;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	add_text(row, draft, "limit", "name");
	add_text(row, draft, "windows", "windows");
	add_text(row, draft, "algorithm", "algorithm");
	add_text(row, draft, "shadow", "shadow");
	add_text(row, draft, "enforce_action", "enforce_action");
	add_text(row, draft, "enforce_provider", "enforce_provider");
}

/* Dropping one leaves the row as a tombstone. */
static void
about_policy(const Row *row, KsDraft *draft)
{
	draft->event.kind = row->new != NULL && is_null(row, row->new, "dropped_at") ?
		KS_ACTION_POLICY_PUT : KS_ACTION_POLICY_DROP;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	draft->event.version = get_int(row, "version");
	add_text(row, draft, "policy", "id");
	add_text(row, draft, "level", "level");
	add_text(row, draft, "enforcement", "enforcement");
}

/* What became of a request. */
static uint16
kind_of_request(const Row *row, const char *state)
{
	static const struct
	{
		const char *state;
		uint16		kind;
	}			kinds[] = {
		{"pending", KS_ACTION_APPROVAL_ESCALATE}, {"approved", KS_ACTION_APPROVAL_APPROVE},
		{"rejected", KS_ACTION_APPROVAL_REJECT}, {"cancelled", KS_ACTION_APPROVAL_CANCEL},
		{"expired", KS_ACTION_APPROVAL_EXPIRE}, {"superseded", KS_ACTION_APPROVAL_SUPERSEDE},
		{"claimed", KS_ACTION_APPROVAL_CLAIM}
	};

	if (row->new == NULL)
		return KS_ACTION_APPROVAL_CANCEL;
	if (row->old == NULL)
		return strcmp(state, "approved") == 0 ? KS_ACTION_APPROVAL_BREAK_GLASS : KS_ACTION_APPROVAL_REQUEST;
	if (is_null(row, row->old, "reviewed_at") && !is_null(row, row->new, "reviewed_at"))
		return KS_ACTION_APPROVAL_REVIEW;
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].state, state) == 0)
			return kinds[i].kind;
	}
	return KS_ACTION_APPROVAL_COMPLETE;
}

static void
about_request(const Row *row, KsDraft *draft)
{
	char	   *state = get_text(row, "state");

	draft->event.kind = kind_of_request(row, state != NULL ? state : "");
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "id", draft->event.object);
	add_text(row, draft, "approval", "id");
	add_text(row, draft, "approval_action", "action");
	add_text(row, draft, "approval_state", "state");
	add_text(row, draft, "requester", "requester");
	add_text(row, draft, "level", "level");
}

static void
about_vote(const Row *row, KsDraft *draft)
{
	char	   *vote = get_text(row, "vote");

	draft->event.kind = vote != NULL && strcmp(vote, "approve") == 0 ? KS_ACTION_APPROVAL_APPROVE : KS_ACTION_APPROVAL_REJECT;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "request_id", draft->event.object);
	add_text(row, draft, "approval", "request_id");
	add_text(row, draft, "vote", "vote");
	add_text(row, draft, "voter", "voter");
}

static void
about_preview(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_CREDENTIAL_PREVIEW;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	(void) get_uuid(row, "credential_id", draft->event.object);
	draft->event.version = get_int(row, "version");
	add_text(row, draft, "preview", "id");
}

static void
about_budget(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_BUDGET_SET;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	add_text(row, draft, "period", "period");
	add_text(row, draft, "soft_micros", "soft_micros");
	add_text(row, draft, "hard_micros", "hard_micros");
}

static void
about_definition(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_PROVIDER_DEFINE;
	add_text(row, draft, "provider", "name");
	add_text(row, draft, "enabled", "enabled");
}

static void
about_price(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_PROVIDER_DEFINE;
	add_text(row, draft, "provider", "provider");
	add_text(row, draft, "valid_from", "valid_from");
	add_text(row, draft, "cost_micros", "cost_micros");
}

static void
about_configuration(const Row *row, KsDraft *draft)
{
	draft->event.kind = KS_ACTION_PROVIDER_CONFIGURE;
	(void) get_uuid(row, "workspace_id", draft->event.workspace);
	add_text(row, draft, "provider", "provider");
	add_text(row, draft, "mode", "mode");
	add_text(row, draft, "enabled", "enabled");
}

/* The URI of the customer's key in a row of workspace_keys, before or after. */
static char *
customer_of(const Row *row, HeapTuple tuple)
{
	Row			version = {.desc = row->desc, .is = tuple};

	return tuple != NULL ? get_text(&version, "kms_uri") : NULL;
}

/* Whether it is another one now. */
static bool
is_customer_changed(const Row *row)
{
	char	   *old = customer_of(row, row->old);
	char	   *new = customer_of(row, row->new);

	return old == NULL || new == NULL ? old != new : strcmp(old, new) != 0;
}

/* workspace_keys and system_keys; the second has no workspace. */
static void
about_key(const Row *row, KsDraft *draft)
{
	KsEvent    *event = &draft->event;

	event->version = get_int(row, "version");
	if (row->new == NULL)
		event->kind = KS_ACTION_KEY_SHRED;
	else if (row->old != NULL && is_customer_changed(row))
		event->kind = customer_of(row, row->new) != NULL ? KS_ACTION_KMS_SET : KS_ACTION_KMS_CLEAR;
	else if (row->old != NULL)
		event->kind = KS_ACTION_KEY_REWRAP;
	else
		event->kind = event->version > 1 ? KS_ACTION_KEY_ROTATE : KS_ACTION_KEY_CREATE;
	(void) get_uuid(row, "workspace_id", event->workspace);
	(void) get_uuid(row, "key_id", event->object);
	add_text(row, draft, "root_key", "root_key");
	add_text(row, draft, "purpose", "purpose");
	add_text(row, draft, "kms_uri", "kms_uri");
}

static void
about_root_key(const Row *row, KsDraft *draft)
{
	if (row->new == NULL)
		draft->event.kind = KS_ACTION_KEY_SHRED;
	else
		draft->event.kind = row->old == NULL ? KS_ACTION_KEY_CREATE : KS_ACTION_KEY_REWRAP;
	add_text(row, draft, "root_key", "id");
}

typedef struct AuditedTable
{
	const char *name;
	void		(*about) (const Row *row, KsDraft *draft);
	bool		of_credential;	/* a verb on a credential changes it */
} AuditedTable;

static const AuditedTable tables[] = {
	{"credentials", about_credential, true},
	{"credential_versions", about_version, true},
	{"ciphertext", about_ciphertext, true},
	{"principals", about_principal, false},
	{"external_ids", about_external_id, false},
	{"workspaces", about_workspace, false},
	{"members", about_member, false},
	{"profile_grants", about_grant, false},
	{"api_keys", about_api_key, false},
	{"api_key_secrets", about_key_secret, false},
	{"invitations", about_invitation, false},
	{"credential_shares", about_share, false},
	{"limits", about_limit, false},
	{"policies", about_policy, false},
	{"approval_requests", about_request, false},
	{"approval_votes", about_vote, false},
	{"previews", about_preview, false},
	{"budgets", about_budget, false},
	{"provider_definitions", about_definition, false},
	{"provider_prices", about_price, false},
	{"provider_configs", about_configuration, false},
	{"workspace_keys", about_key, false},
	{"system_keys", about_key, false},
	{"root_keys", about_root_key, false},
};

static const AuditedTable *
find_table(const char *name)
{
	for (size_t i = 0; i < lengthof(tables); i++)
	{
		if (strcmp(tables[i].name, name) == 0)
			return &tables[i];
	}
	return NULL;
}

/*
 * Who changes a row by hand: the roles, and no principal, for the row may be
 * one of those that say who is which principal.
 */
static void
get_roles(KsActor *actor)
{
	LOCAL_FCINFO(fcinfo, 0);
	int			sec_context;

	memset(actor, 0, sizeof(*actor));
	GetUserIdAndSecContext(&actor->role, &sec_context);
	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	actor->session_role = get_role_oid(NameStr(*DatumGetName(session_user(fcinfo))), true);
	actor->source = KS_SOURCE_ANONYMOUS;
}

static bool
has_detail(const KsDetail *detail, const char *key)
{
	for (int i = 0; i < detail->n; i++)
	{
		if (strcmp(detail->pairs[i].key, key) == 0)
			return true;
	}
	return false;
}

/* What the verb itself says, unless the row says something under the same
 * key. */
static void
add_detail_of(const KsVerb *verb, KsDraft *draft)
{
	for (int i = 0; i < verb->detail.n; i++)
	{
		const KsDetailPair *pair = &verb->detail.pairs[i];

		if (!has_detail(&draft->detail, pair->key))
			ks_detail_add_bytes(&draft->detail, pair->key, pair->value, pair->value_len);
	}
}

/* The next rows of some; returns how many. */
static int
add_rows(KsDraft *draft, const KsRowItem *rows, int n)
{
	n = Min(n, ROWS_OF_ENTRY);
	if (n > 0)
		ks_detail_add(&draft->detail, KS_ROWS_KEY, ks_row_encode(rows, n));
	return n;
}

/* Rows that a verb has changed, each once: what it was first, and is last. */
static void
collect_item(KsVerb *verb, const AuditedTable *table, const Row *row)
{
	const KsRowTable *rows = ks_row_table(table->name);
	KsRowItem	item;

	if (rows == NULL)
		return;
	ks_row_change(rows, row->desc, row->old, row->new, &item);

	/* Of many keys each is changed once. */
	for (int i = 0; i < verb->n_rows && table->of_credential; i++)
	{
		if (verb->rows[i].table != item.table || memcmp(verb->rows[i].key, item.key, KS_ROW_KEY_LEN) != 0)
			continue;
		memcpy(verb->rows[i].after, item.after, KS_DIGEST_LEN);
		return;
	}
	/* The room is doubled. */
	if (verb->rows == NULL)
		verb->rows = MemoryContextAlloc(TopTransactionContext, sizeof(KsRowItem));
	else if ((verb->n_rows & (verb->n_rows - 1)) == 0)
		verb->rows = repalloc(verb->rows, 2 * verb->n_rows * sizeof(KsRowItem));
	verb->rows[verb->n_rows++] = item;
}

/* What has been collected is written. */
static void
forget_items(KsVerb *verb)
{
	if (verb->rows != NULL)
		pfree(verb->rows);
	verb->rows = NULL;
	verb->n_rows = 0;
}

/* One entry of a row, with the rows from number 0 on.  By hand means: by no
 * function of the API.  Returns how many rows it has. */
static int
write_entry(const AuditedTable *table, const Row *row, const KsRowItem *rows, int n)
{
	KsVerb	   *verb = ks_verb_current();
	KsDraft		draft;
	KsActor		roles;
	StringInfoData columns;

	initStringInfo(&columns);
	get_roles(&roles);
	ks_draft_begin(&draft, 0, verb != NULL && verb->entered ? &verb->call.actor : &roles);
	n = add_rows(&draft, rows, n);
	table->about(row, &draft);
	add_columns(row, verb == NULL, &columns);
	ks_detail_add(&draft.detail, "changed", columns.data);
	if (verb == NULL)
	{
		ks_detail_add(&draft.detail, "source", "direct");
		ks_detail_add(&draft.detail, "table", table->name);
		ks_detail_add(&draft.detail, "operation",
					  row->old == NULL ? "insert" : row->new == NULL ? "delete" : "update");
	}
	else
	{
		add_detail_of(verb, &draft);
		ks_draft_why(&draft, verb->reason, verb->context);
	}
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
	return n;
}

/* Writes the entry of a row, and of what its verb has collected. */
static void
write_row(const AuditedTable *table, const Row *row)
{
	KsVerb		none = {.rows = NULL};
	KsVerb	   *verb = ks_verb_current();
	int			written;

	if (verb == NULL || verb->changing)
		verb = &none;
	collect_item(verb, table, row);
	written = write_entry(table, row, verb->rows, verb->n_rows);
	while (written < verb->n_rows)
		written += write_entry(table, row, verb->rows + written, verb->n_rows - written);
	forget_items(verb);
}

/* A row that gets another key is gone under the old one. */
static bool
is_moved(const AuditedTable *table, const Row *row)
{
	const KsRowTable *rows = ks_row_table(table->name);
	uint8		old_key[KS_ROW_KEY_LEN];
	uint8		new_key[KS_ROW_KEY_LEN];

	if (rows == NULL || row->old == NULL || row->new == NULL)
		return false;
	ks_row_key(rows, row->desc, row->old, old_key);
	ks_row_key(rows, row->desc, row->new, new_key);
	return memcmp(old_key, new_key, KS_ROW_KEY_LEN) != 0;
}

static void
write_moved_row(const AuditedTable *table, const Row *row)
{
	Row			gone = {.desc = row->desc, .old = row->old, .is = row->old};
	Row			come = {.desc = row->desc, .new = row->new, .is = row->new};

	write_row(table, &gone);
	write_row(table, &come);
}


/*-------------------------------------------------------------------------
 * API keys
 *-------------------------------------------------------------------------
 */

/* The row of a new key waits for that of its secret, which refers to it. */
static void
hold_key(KsVerb *verb, const Row *row)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	verb->held_desc = CreateTupleDescCopy(row->desc);
	verb->held = heap_copytuple(row->new);
	MemoryContextSwitchTo(old);
}

/* The entry of its key says it. */
static void
collect_secret(KsVerb *verb, const AuditedTable *table, const Row *row)
{
	Row			key = {.desc = verb->held_desc, .new = verb->held, .is = verb->held};

	collect_item(verb, table, row);
	if (verb->held == NULL)
		return;
	write_row(find_table("api_keys"), &key);
	heap_freetuple(verb->held);
	FreeTupleDesc(verb->held_desc);
	verb->held = NULL;
	verb->held_desc = NULL;
}


/*-------------------------------------------------------------------------
 * Verbs on a credential
 *-------------------------------------------------------------------------
 */

void
ks_change_begin(KsVerb *verb)
{
	verb->changing = true;
	verb->changed = false;
	initStringInfo(&verb->columns);
	verb->n_digests = 0;
	verb->digests = palloc(sizeof(KsVersionDigest));
	forget_items(verb);
}

static void
collect_row(KsVerb *verb, const AuditedTable *table, const Row *row)
{
	verb->changed = true;
	collect_item(verb, table, row);
	if (table->about == about_credential)
		add_columns(row, false, &verb->columns);
	else if (table->about == about_ciphertext && row->new != NULL)
	{
		verb->digests = repalloc(verb->digests, (verb->n_digests + 1) * sizeof(KsVersionDigest));
		digest_of(row, &verb->digests[verb->n_digests++]);
	}
}

void
ks_change_row(TriggerData *data)
{
	const char *name = RelationGetRelationName(data->tg_relation);
	const AuditedTable *table = find_table(name);
	KsVerb	   *verb = ks_verb_current();
	Row			row = {.desc = RelationGetDescr(data->tg_relation)};

	if (!ks_shmem_attached())
		ks_error_not_preloaded();
	if (!ks_change_log_on())
		return;
	if (table == NULL)
		elog(ERROR, "this table is not audited by this trigger");

	row.is = row.old = data->tg_trigtuple;
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		row.new = row.old;
		row.old = NULL;
	}
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		row.is = row.new = data->tg_newtuple;

	if ((table->of_credential || table->about == about_key) && verb != NULL && verb->changing)
		collect_row(verb, table, &row);
	else if (table->about == about_key_secret && verb != NULL)
		collect_secret(verb, table, &row);
	else if (table->about == about_api_key && verb != NULL && row.old == NULL)
		hold_key(verb, &row);
	else if (is_moved(table, &row))
		write_moved_row(table, &row);
	else
		write_row(table, &row);
}

/*
 * One entry of a verb, with the digests from number *next on: that of its
 * version as the entry's digest, others in the detail.  And with the rows from
 * number *next_row on.
 */
static void
write_verb(KsVerb *verb, const KsCredential *credential, int32 version, int *next, int *next_row)
{
	KsDraft		draft;
	int			first = *next;
	bool		further = *next > 0 || *next_row > 0;

	/* Each number of a version is made once: further entries are an update. */
	ks_draft_begin(&draft, further && ks_action_makes_version(verb->action) ?
				   KS_ACTION_CREDENTIAL_UPDATE : verb->action, &verb->call.actor);
	*next_row += add_rows(&draft, verb->rows + *next_row, verb->n_rows - *next_row);
	ks_draft_credential(&draft, credential);
	draft.event.version = version;
	for (; *next < verb->n_digests && *next - first < DIGESTS_OF_ENTRY; (*next)++)
	{
		const KsVersionDigest *one = &verb->digests[*next];
		char	   *hex = palloc(2 * KS_DIGEST_LEN + 1);

		if (one->version == version)
		{
			draft.event.has_digest = true;
			memcpy(draft.event.digest, one->digest, KS_DIGEST_LEN);
			continue;
		}
		(void) hex_encode((const char *) one->digest, KS_DIGEST_LEN, hex);
		hex[2 * KS_DIGEST_LEN] = '\0';
		ks_detail_add(&draft.detail, psprintf("digest.%d", one->version), hex);
	}
	add_detail_of(verb, &draft);
	ks_detail_add(&draft.detail, "changed", verb->columns.data);
	ks_draft_why(&draft, verb->reason, verb->context);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

/* Ends what ks_change_begin() began. */
static void
forget_changes(KsVerb *verb)
{
	verb->detail.n = 0;
	verb->detail.len = 0;
	pfree(verb->columns.data);
	pfree(verb->digests);
}

void
ks_change_end(KsVerb *verb, const KsCredential *credential, int32 version)
{
	int			next = 0;
	int			next_row = 0;

	verb->changing = false;
	if (verb->changed)
	{
		do
			write_verb(verb, credential, version, &next, &next_row);
		while (next < verb->n_digests || next_row < verb->n_rows);
	}
	forget_items(verb);
	forget_changes(verb);
}

void
ks_change_end_summary(KsVerb *verb)
{
	KsDraft		draft;
	int			next_row = 0;

	verb->changing = false;
	while (verb->changed && next_row < verb->n_rows)
	{
		ks_draft_begin(&draft, verb->action, &verb->call.actor);
		memcpy(draft.event.workspace, verb->workspace, KS_ID_LEN);
		next_row += add_rows(&draft, verb->rows + next_row, verb->n_rows - next_row);
		add_detail_of(verb, &draft);
		ks_draft_why(&draft, verb->reason, verb->context);
		ks_draft_finish(&draft);
		ks_change_write(&draft.event, false);
	}
	forget_items(verb);
	forget_changes(verb);
}
