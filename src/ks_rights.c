/*-------------------------------------------------------------------------
 *
 * ks_rights.c
 *	  Who may do what: the beginning of every call, profiles of database
 *	  roles, memberships of principals.
 *
 * The cache holds the rights of each principal that this backend has served
 * and the profiles of all roles.  It is valid until an invalidation of one of
 * the tables that they come from, and for one state of the keyring: what was read while
 * nothing could be verified must not be used when it can.  The flag is set
 * before the tables are read, so that an invalidation that arrives while
 * reading makes the next call read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_inval.h"
#include "ks_keyring.h"
#include "ks_rights.h"
#include "ks_shmem.h"
#include "ks_text.h"

#define CACHED_PRINCIPALS	128 /* then the cache starts again */

typedef struct NamedBits
{
	const char *name;
	uint32		bits;
} NamedBits;

static const NamedBits profiles[] = {
	{"client", KS_PROFILE_CLIENT}, {"worker", KS_PROFILE_WORKER},
	{"auditor", KS_PROFILE_AUDITOR}, {"admin", KS_PROFILE_ADMIN},
	{"monitor", KS_PROFILE_MONITOR},
};

#define ADMIN_PERMISSIONS	(KS_PERM_VIEW | KS_PERM_REVEAL | KS_PERM_STORE | KS_PERM_ROTATE | \
							 KS_PERM_APPROVE | KS_PERM_AUDIT | KS_PERM_POLICY | KS_PERM_WORKSPACE)

/* What each role may do: fixed. */
static const NamedBits roles[] = {
	{"owner", ADMIN_PERMISSIONS | KS_PERM_BILLING},
	{"admin", ADMIN_PERMISSIONS},
	{"operator", KS_PERM_VIEW | KS_PERM_ROTATE},
	{"viewer", KS_PERM_VIEW},
	{"auditor", KS_PERM_AUDIT},
	{"service", KS_PERM_VIEW | KS_PERM_REVEAL},
};

/* How far rows are to be believed. */
typedef enum Trust
{
	TRUST_NOTHING,				/* open, but no key to verify with: no row is
								 * valid */
	TRUST_TO_VIEW,				/* sealed: what rows name may view */
	TRUST_VERIFIED				/* what has a valid HMAC */
} Trust;

/* What one principal may do. */
typedef struct Rights
{
	struct Rights *next;
	MemoryContext context;		/* in which it lies with all that it has */
	uint8		principal[KS_ID_LEN];
	KsPrincipalState state;
	const char *kind;			/* constant; NULL when absent */
	bool		key_ends;		/* an API key that expires */
	TimestampTz key_end;
	TimestampTz key_updated;	/* when an API key was changed last */
	int			n;
	KsMembership *members;		/* ordered by workspace id */
	int		   *by_slug;		/* indexes into members, ordered by slug */
	int			n_shares;
	struct Share *shares;		/* with this principal, ordered by credential */
} Rights;

/* A personal credential shared with a principal. */
typedef struct Share
{
	KsShare		is;
	bool		ends;
	TimestampTz until;
} Share;

typedef struct ProfileGrant
{
	NameData	role;
	uint32		profile;
} ProfileGrant;

static MemoryContext cache_context = NULL;
static bool cache_valid = false;
static uint64 cache_generation = 0;
static Trust cache_trust = TRUST_NOTHING;
static Rights *cached_rights = NULL;
static int	cached_principals = 0;
static ProfileGrant *cached_grants = NULL;
static int	cached_grants_n = -1;	/* -1: not loaded */
static Oid	watched[7];			/* the tables whose invalidation drops the
								 * cache */

/* The profiles of the current role, as last asked for. */
static struct
{
	bool		valid;
	Oid			role;
	uint32		profiles;
}			cached_profiles;

/* The principal of the login role, as last looked up. */
static struct
{
	bool		valid;
	bool		found;
	NameData	role;
	uint8		principal[KS_ID_LEN];
}			cached_login;

/* Names and bits. */

static const NamedBits *
find_name(const NamedBits *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
	{
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	}
	return NULL;
}

uint32
ks_profile_bit(const char *name)
{
	const NamedBits *found = find_name(profiles, lengthof(profiles), name);

	return found != NULL ? found->bits : 0;
}

const char *
ks_profile_name(uint32 profile)
{
	for (size_t i = 0; i < lengthof(profiles); i++)
	{
		if (profiles[i].bits == profile)
			return profiles[i].name;
	}
	return NULL;
}

uint32
ks_role_permissions(const char *role)
{
	const NamedBits *found = find_name(roles, lengthof(roles), role);

	return found != NULL ? found->bits : 0;
}

/* The cache. */

static uint64 cache_beginnings = 0; /* how often it began anew */

static void
forget_cache(void)
{
	cache_beginnings++;
	cached_rights = NULL;
	cached_principals = 0;
	cached_grants = NULL;
	cached_grants_n = -1;
	cached_login.valid = false;
	cached_profiles.valid = false;
	if (cache_context != NULL)
		MemoryContextReset(cache_context);
}

/*
 * A callback must not look into the catalog: the oids are those of the last
 * refresh.  InvalidOid stands for all relations.
 */
static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (relid == InvalidOid)
		cache_valid = false;
	for (size_t i = 0; i < lengthof(watched); i++)
	{
		if (watched[i] == relid)
			cache_valid = false;
	}
}

static void
watch_relations(void)
{
	Oid			public = get_namespace_oid("keystone", true);
	Oid			private = get_namespace_oid("keystone_private", true);

	watched[0] = get_relname_relid("principals", public);
	watched[1] = get_relname_relid("workspaces", public);
	watched[2] = get_relname_relid("members", public);
	watched[3] = get_relname_relid("profile_grants", private);
	watched[4] = get_relname_relid("external_ids", private);
	watched[5] = get_relname_relid("api_keys", private);
	watched[6] = get_relname_relid("credential_shares", public);
}

/* Memberships of database roles decide about profiles. */
static void
roles_changed(Datum arg, int cacheid, uint32 hash)
{
	(void) arg;
	(void) cacheid;
	(void) hash;
	cache_valid = false;
}

static Trust
current_trust(const KsSealStatus *status)
{
	if (status->state != KS_SEAL_OPEN)
		return TRUST_TO_VIEW;
	return ks_keyring_has_mac_key() ? TRUST_VERIFIED : TRUST_NOTHING;
}

/* Takes in what others have committed, and drops the cache if it is stale. */
static void
refresh_cache(void)
{
	static bool registered = false;
	KsSealStatus status;
	Trust		trust;

	if (!registered)
	{
		ks_inval_register(relcache_changed);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		cache_context = AllocSetContextCreate(TopMemoryContext, "keystone rights",
											  ALLOCSET_DEFAULT_SIZES);
		registered = true;
	}
	AcceptInvalidationMessages();
	ks_keyring_status(&status);
	trust = current_trust(&status);
	if (!cache_valid || cache_generation != status.generation || cache_trust != trust)
	{
		forget_cache();
		watch_relations();
		cache_valid = true;
		cache_generation = status.generation;
		cache_trust = trust;
	}
}

/* Whether a row counts, given whether its HMAC is valid. */
static bool
believed(bool valid)
{
	return cache_trust == TRUST_TO_VIEW || (cache_trust == TRUST_VERIFIED && valid);
}

/* Loading. */

static const Rights *rights_of(const uint8 *principal);
static const KsMembership *find_by_id(const Rights *rights, const uint8 *workspace);

/* Reads a principal's row. */
static KsPrincipalState
read_principal(const uint8 *principal, const char **kind)
{
	static KsPlan plan = {.sql = "SELECT " KS_PRINCIPAL_COLUMNS " FROM keystone.principals p WHERE p.id = $1"};
	static const char *const kinds[] = {"user", "service", "api_key"};
	KsPrincipalState state = KS_PRINCIPAL_ABSENT;
	KsPrincipalRow row;
	KsArgs		args = {0};
	KsSpi		spi;

	*kind = NULL;
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_read(&plan, &args) == 1)
	{
		bool		good = believed(ks_principal_read(&spi, 0, 1, &row));

		state = !good ? KS_PRINCIPAL_FORGED : row.disabled ? KS_PRINCIPAL_DISABLED : KS_PRINCIPAL_GOOD;
		for (size_t i = 0; i < lengthof(kinds); i++)
		{
			if (strcmp(row.kind, kinds[i]) == 0)
				*kind = kinds[i];
		}
	}
	ks_spi_end(&spi);
	return state;
}

/*
 * Fills a membership from the row of the workspace, whose columns begin at
 * number first; false when that gives nothing.  valid: what else it depends
 * on was.
 */
static bool
read_membership(const KsSpi *spi, uint64 i, int first, bool valid, const char *role_name,
				uint32 extra_permissions, KsMembership *member)
{
	KsWorkspaceRow workspace;
	const NamedBits *role = find_name(roles, lengthof(roles), role_name);

	if (!ks_workspace_read(spi, i, first, &workspace))
		valid = false;
	if (!believed(valid) || role == NULL)
		return false;

	memset(member, 0, sizeof(*member));
	memcpy(member->workspace, workspace.id, KS_ID_LEN);
	if (strlcpy(member->slug, workspace.slug, sizeof(member->slug)) >= sizeof(member->slug))
		return false;
	member->role = role->name;
	member->usable = strcmp(workspace.status, "active") == 0 || strcmp(workspace.status, "trial") == 0;
	member->permissions = role->bits | extra_permissions | KS_PERM_MEMBER;
	member->personal = workspace.personal;
	member->verified = cache_trust == TRUST_VERIFIED;
	member->owner = member->verified && strcmp(role->name, "owner") == 0;
	if (!member->verified)
		member->permissions &= KS_PERM_VIEW | KS_PERM_MEMBER;
	return true;
}

static int
compare_slugs(const void *a, const void *b, void *members)
{
	const KsMembership *list = members;

	return strcmp(list[*(const int *) a].slug, list[*(const int *) b].slug);
}

static void
load_memberships(Rights *rights)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_MEMBER_COLUMNS ", " KS_WORKSPACE_COLUMNS
		" FROM keystone.members m JOIN keystone.workspaces w ON w.id = m.workspace_id"
		" WHERE m.principal_id = $1 AND m.removed_at IS NULL ORDER BY m.workspace_id"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, rights->principal);
	rows = ks_spi_read(&plan, &args);
	rights->members = MemoryContextAllocHuge(rights->context, Max(rows, 1) * sizeof(KsMembership));
	for (uint64 i = 0; i < rows; i++)
	{
		KsMemberRow row;
		bool		valid = ks_member_read(&spi, i, 1, &row);

		if (!row.removed &&
			read_membership(&spi, i, 1 + KS_MEMBER_COLUMNS_N, valid, row.role, row.extra_permissions,
							&rights->members[rights->n]))
			rights->n++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
}

/* A copy of a list of names, NULL when it is not there. */
static const KsNameList *
copy_list(const KsNameList *list, MemoryContext context)
{
	MemoryContext old;
	KsNameList *copy;

	if (!list->present)
		return NULL;
	old = MemoryContextSwitchTo(context);
	copy = palloc(sizeof(*copy));
	*copy = *list;
	copy->names = palloc(Max(list->n, 1) * sizeof(char *));
	for (int i = 0; i < list->n; i++)
		copy->names[i] = pstrdup(list->names[i]);
	MemoryContextSwitchTo(old);
	return copy;
}

/* An API key as its row says, with what its role would give. */
typedef struct LoadedKey
{
	KsApiKeyRow row;
	KsMembership member;
} LoadedKey;

/* Reads it; false when it gives nothing. */
static bool
read_key(const uint8 *principal, LoadedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_API_KEY_COLUMNS ", " KS_WORKSPACE_COLUMNS
		" FROM keystone_private.api_keys k JOIN keystone.workspaces w ON w.id = k.workspace_id"
		" WHERE k.id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		good = false;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_read(&plan, &args) == 1)
	{
		bool		valid = ks_api_key_read(&spi, 0, 1, &key->row);

		good = !key->row.revoked &&
			read_membership(&spi, 0, 1 + KS_API_KEY_COLUMNS_N, valid, key->row.role, 0, &key->member);
	}
	ks_spi_end(&spi);
	return good;
}

/*
 * Cuts a key's rights to what its creator still has: nothing when the creator
 * is no member any more.  One that is limited can have nothing that shows or
 * changes what is outside its limits.
 */
static bool
cut_key(LoadedKey *key)
{
	const KsMembership *creator;
	KsMembership *member = &key->member;
	const char *kind;

	/* Rows that nobody can verify may say that keys made each other. */
	if (read_principal(key->row.creator, &kind) != KS_PRINCIPAL_GOOD || kind == NULL ||
		strcmp(kind, "api_key") == 0)
		return false;
	creator = find_by_id(rights_of(key->row.creator), key->member.workspace);
	if (creator == NULL || creator->key)
		return false;
	member->permissions &= creator->permissions;
	if (key->row.environments.present || key->row.providers.present)
		member->permissions &= KS_PERM_VIEW | KS_PERM_REVEAL | KS_PERM_STORE | KS_PERM_ROTATE | KS_PERM_MEMBER;
	member->key = true;
	member->owner = false;
	return true;
}

static void
add_key(Rights *rights, const LoadedKey *key)
{
	rights->key_ends = key->row.expires;
	rights->key_end = key->row.expires_at;
	rights->key_updated = key->row.updated_at;
	rights->members = MemoryContextAlloc(rights->context, sizeof(KsMembership));
	rights->members[0] = key->member;
	rights->members[0].environments = copy_list(&key->row.environments, rights->context);
	rights->members[0].providers = copy_list(&key->row.providers, rights->context);
	rights->n = 1;
}

static int
compare_shares(const void *a, const void *b)
{
	return memcmp(((const Share *) a)->is.credential, ((const Share *) b)->is.credential, KS_ID_LEN);
}

static void
load_shares(Rights *rights)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_SHARE_COLUMNS " FROM keystone.credential_shares c"
		" WHERE c.grantee = $1 AND c.revoked_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, rights->principal);
	rows = ks_spi_read(&plan, &args);
	rights->shares = MemoryContextAllocHuge(rights->context, Max(rows, 1) * sizeof(Share));
	for (uint64 i = 0; i < rows; i++)
	{
		KsShareRow	row;
		Share	   *share = &rights->shares[rights->n_shares];

		if (!believed(ks_share_read(&spi, i, 1, &row)))
			continue;
		memcpy(share->is.workspace, row.workspace, KS_ID_LEN);
		memcpy(share->is.credential, row.credential, KS_ID_LEN);
		memcpy(share->is.owner, row.owner, KS_ID_LEN);
		share->ends = row.ends;
		share->until = row.until;
		rights->n_shares++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
	qsort(rights->shares, rights->n_shares, sizeof(Share), compare_shares);
}

/*
 * Completes what has been read of a principal, and puts it into the cache; an
 * error leaves nothing behind.
 */
static void
load_rights(const uint8 *principal, KsPrincipalState state, const char *kind, const LoadedKey *key)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "keystone rights of a principal",
												  ALLOCSET_SMALL_SIZES);
	Rights	   *rights = MemoryContextAllocZero(context, sizeof(Rights));

	rights->context = context;
	memcpy(rights->principal, principal, KS_ID_LEN);
	rights->state = state;
	rights->kind = kind;
	if (key != NULL)
		add_key(rights, key);
	else if (state == KS_PRINCIPAL_GOOD && strcmp(kind, "api_key") != 0)
		load_memberships(rights);
	if (rights->n > 0)
		load_shares(rights);

	rights->by_slug = MemoryContextAllocHuge(context, Max(rights->n, 1) * sizeof(int));
	for (int i = 0; i < rights->n; i++)
		rights->by_slug[i] = i;
	qsort_arg(rights->by_slug, rights->n, sizeof(int), compare_slugs, rights->members);
	MemoryContextSetParent(context, cache_context);
	rights->next = cached_rights;
	cached_rights = rights;
	cached_principals++;
}

/*
 * The rights of a principal, good until the next call into this room.  Work
 * memory is freed here; what stays lies in the cache's context.  Those of an
 * API key depend on its creator's, which are read before anything of the
 * key's enters the cache.  Reading them may make the cache begin anew, valid
 * as of then: what was read of the key before may be older, and is read again.
 */
static const Rights *
rights_of(const uint8 *principal)
{
	MemoryContext work;
	MemoryContext old;
	KsPrincipalState state;
	const char *kind;
	LoadedKey	key;
	bool		is_key;
	uint64		beginning;

	refresh_cache();
	for (const Rights *rights = cached_rights; rights != NULL; rights = rights->next)
	{
		if (memcmp(rights->principal, principal, KS_ID_LEN) == 0)
			return rights;
	}

	work = AllocSetContextCreate(CurrentMemoryContext, "keystone rights loading",
								 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(work);
	do
	{
		beginning = cache_beginnings;
		state = read_principal(principal, &kind);
		is_key = state == KS_PRINCIPAL_GOOD && kind != NULL && strcmp(kind, "api_key") == 0 &&
			read_key(principal, &key) && cut_key(&key);
	} while (beginning != cache_beginnings);
	if (kind == NULL && state == KS_PRINCIPAL_GOOD)
		state = KS_PRINCIPAL_FORGED;
	if (cached_principals >= CACHED_PRINCIPALS)
		forget_cache();
	load_rights(principal, state, kind, is_key ? &key : NULL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return cached_rights;
}

/* Whether what rights say holds at this moment: an API key may be over. */
static bool
is_current(const Rights *rights)
{
	return !rights->key_ends || GetCurrentTimestamp() < rights->key_end;
}

/* The workspaces that the caller has joined in this transaction, in its memory. */
typedef struct Joined
{
	struct Joined *next;
	uint8		workspace[KS_ID_LEN];
} Joined;

static Joined *joined;
static LocalTransactionId joined_in = InvalidLocalTransactionId;

void
ks_rights_defer(const uint8 workspace[KS_ID_LEN])
{
	Joined	   *entry = MemoryContextAlloc(TopTransactionContext, sizeof(Joined));

	memcpy(entry->workspace, workspace, KS_ID_LEN);
	entry->next = joined_in == ks_local_transaction() ? joined : NULL;
	joined = entry;
	joined_in = ks_local_transaction();
}

/* What was found for the caller, unless it was given in this transaction. */
static const KsMembership *
unless_deferred(const KsMembership *found)
{
	if (found == NULL || joined_in != ks_local_transaction())
		return found;
	for (const Joined *entry = joined; entry != NULL; entry = entry->next)
	{
		if (memcmp(entry->workspace, found->workspace, KS_ID_LEN) == 0)
			return NULL;
	}
	return found;
}

/*
 * The rights of the caller.  What could not be verified when the call began
 * must not meet rights that can.
 */
static const Rights *
rights_of_caller(const KsCall *call)
{
	const Rights *rights = rights_of(call->actor.principal);

	if (cache_trust == TRUST_VERIFIED && !call->verified)
		ks_error_sealed("the vault was unsealed during the call");
	return rights;
}

/* Loader for ks_identity. */
static bool
principal_of_role(const char *role, uint8 principal[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT " KS_PRINCIPAL_COLUMNS " FROM keystone.principals p WHERE p.db_role = $1"};
	KsPrincipalRow row;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	refresh_cache();
	if (!cached_login.valid || strcmp(NameStr(cached_login.role), role) != 0)
	{
		ks_spi_begin(&spi);
		ks_arg_name(&args, role);
		found = ks_spi_read(&plan, &args) == 1 &&
			believed(ks_principal_read(&spi, 0, 1, &row)) && !row.disabled;
		ks_spi_end(&spi);
		if (found)
			memcpy(cached_login.principal, row.id, KS_ID_LEN);
		namestrcpy(&cached_login.role, role);
		cached_login.found = found;
		cached_login.valid = true;
	}
	if (cached_login.found)
		memcpy(principal, cached_login.principal, KS_ID_LEN);
	return cached_login.found;
}

static void
load_grants(void)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_GRANT_COLUMNS " FROM keystone_private.profile_grants g WHERE g.revoked_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int			n = 0;
	ProfileGrant *grants;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	grants = MemoryContextAlloc(cache_context, Max(rows, 1) * sizeof(ProfileGrant));
	for (uint64 i = 0; i < rows; i++)
	{
		KsGrantRow	row;

		if (!believed(ks_grant_read(&spi, i, 1, &row)))
			continue;
		namestrcpy(&grants[n].role, row.role);
		grants[n].profile = ks_profile_bit(row.profile);
		n++;
	}
	ks_spi_end(&spi);
	cached_grants = grants;
	cached_grants_n = n;
}

/*
 * The profiles of a role, verified or not.  A superuser has all of them:
 * values come through membership only.  "worker" contains "client".
 */
static uint32
profiles_of_role(Oid role)
{
	uint32		result = 0;

	refresh_cache();
	if (cached_profiles.valid && cached_profiles.role == role)
		return cached_profiles.profiles;
	if (superuser_arg(role))
		return KS_PROFILE_CLIENT | KS_PROFILE_WORKER | KS_PROFILE_AUDITOR |
			KS_PROFILE_ADMIN | KS_PROFILE_MONITOR;
	if (cached_grants_n < 0)
		load_grants();
	for (int i = 0; i < cached_grants_n; i++)
	{
		Oid			granted = get_role_oid(NameStr(cached_grants[i].role), true);

		if (OidIsValid(granted) && has_privs_of_role(role, granted))
			result |= cached_grants[i].profile;
	}
	if (result & KS_PROFILE_WORKER)
		result |= KS_PROFILE_CLIENT;
	cached_profiles.role = role;
	cached_profiles.profiles = result;
	cached_profiles.valid = true;
	return result;
}

/* Loader for ks_identity. */
static bool
principal_of_external(const char *external_id, uint8 principal[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT " KS_EXTERNAL_COLUMNS " FROM keystone_private.external_ids e WHERE e.external_id = $1"
	};
	KsExternalRow row;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	refresh_cache();
	ks_spi_begin(&spi);
	ks_arg_text(&args, external_id);
	found = ks_spi_read(&plan, &args) == 1 && believed(ks_external_read(&spi, 0, 1, &row));
	ks_spi_end(&spi);
	if (found)
		memcpy(principal, row.principal, KS_ID_LEN);
	return found;
}

/* Loader for ks_identity. */
static const char *
refuse_principal(KsProof *proof)
{
	const Rights *rights = rights_of(proof->principal);
	bool		is_key = rights->kind != NULL && strcmp(rights->kind, "api_key") == 0;

	switch (rights->state)
	{
		case KS_PRINCIPAL_ABSENT:
			return proof->source == KS_SOURCE_API_KEY ? "the API key is not valid" : NULL;
		case KS_PRINCIPAL_DISABLED:
			return "the principal is disabled";
		case KS_PRINCIPAL_FORGED:
			return "the principal's row is not valid";
		case KS_PRINCIPAL_GOOD:
			break;
	}
	if (proof->source != KS_SOURCE_API_KEY)
		return is_key ? "the token names an API key" : NULL;
	if (!is_key || rights->n == 0 || !is_current(rights) ||
		(proof->ends && proof->ends_at <= GetCurrentTimestamp()))
		return "the API key is not valid";
	if (rights->key_updated != proof->key_updated && !ks_identity_loader.recheck_api_key(proof))
		return "the API key is not valid";
	return NULL;
}

void
ks_rights_init(void)
{
	ks_identity_loader.principal_of_role = principal_of_role;
	ks_identity_loader.principal_of_external = principal_of_external;
	ks_identity_loader.refuse_principal = refuse_principal;
}

uint64
ks_rights_stamp(void)
{
	refresh_cache();
	return cache_beginnings;
}

void
ks_rights_changed(Oid relation)
{
	CacheInvalidateRelcacheByRelid(relation);
}

/* Beginning a call. */

/*
 * The library and the installed SQL must be of one version.  Checked once for
 * each installation that this backend sees; with a new one, what was cached
 * of the former is dropped.
 */
static void
check_version(void)
{
	static Oid	checked = InvalidOid;
	Oid			installation = get_namespace_oid("keystone_private", true);
	static KsPlan plan = {.sql = "SELECT extversion FROM pg_extension WHERE extname = 'keystone'"};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *installed = NULL;

	if (installation == checked && OidIsValid(checked))
		return;
	ks_keyring_forget();
	cache_valid = false;
	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
		installed = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	if (installed == NULL || strcmp(installed, KEYSTONE_VERSION) != 0)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("library keystone has version %s, but version %s of the extension is installed",
					   KEYSTONE_VERSION, installed != NULL ? installed : "none"),
				errhint("Run ALTER EXTENSION keystone UPDATE, or restart the server after installing the library."));
	checked = installation;
}

void
ks_enter(KsCall *call, uint32 needed)
{
	uint32		named;
	uint64		generation;
	Trust		trust;

	if (!ks_shmem_attached())
		ks_error_not_preloaded();
	check_version();

	/*
	 * Identity and profiles under one state of the keyring, which may be
	 * reloaded meanwhile.
	 */
	do
	{
		refresh_cache();
		generation = cache_generation;
		trust = cache_trust;
		ks_identity_actor(&call->actor);
		named = profiles_of_role(call->actor.role);
	} while (cache_generation != generation || cache_trust != trust);
	call->profiles = named;
	call->verified = trust == TRUST_VERIFIED;

	/*
	 * Unverified, a grant gives nothing that changes, or shows more than a
	 * client sees.
	 */
	if (!call->verified && !superuser_arg(call->actor.role))
		call->profiles &= KS_PROFILE_CLIENT | KS_PROFILE_MONITOR;
	if (needed == 0 || (call->profiles & needed) != 0)
		return;
	if ((named & needed) != 0)
		ks_error_sealed("profiles cannot be verified while the vault is sealed");
	ks_error_denied("permission denied for this function",
					"The current role needs a profile: an administrator gives it with keystone.grant_access().");
}

void
ks_enter_known(KsCall *call, uint32 needed)
{
	ks_enter(call, needed);
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		ks_error_anonymous(call->actor.why);
}

void
ks_check_extra(const text *reason, const Jsonb *context)
{
	if (reason != NULL && VARSIZE_ANY_EXHDR(reason) > KS_REASON_MAX)
		ks_error_invalid("reason", psprintf("at most %d bytes long", KS_REASON_MAX), NULL);
	if (context == NULL)
		ks_error_null("context");
	if (!JB_ROOT_IS_OBJECT(context))
		ks_error_invalid("context", "a JSON object", NULL);
	if (VARSIZE_ANY_EXHDR(context) > KS_CONTEXT_MAX)
		ks_error_invalid("context", psprintf("at most %d bytes long", KS_CONTEXT_MAX), NULL);
}

void
ks_check_extra_args(FunctionCallInfo fcinfo, int n)
{
	ks_check_extra(ks_arg_get_text_or_null(fcinfo, n + 1),
				   PG_ARGISNULL(n + 2) ? NULL : PG_GETARG_JSONB_P(n + 2));
}

/* Memberships. */

static const KsMembership *
find_by_id(const Rights *rights, const uint8 *workspace)
{
	int			low = 0;
	int			high = is_current(rights) ? rights->n - 1 : -1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = memcmp(workspace, rights->members[middle].workspace, KS_ID_LEN);

		if (order == 0)
			return &rights->members[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

static const KsMembership *
find_by_slug(const Rights *rights, const char *slug)
{
	int			low = 0;
	int			high = is_current(rights) ? rights->n - 1 : -1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		const KsMembership *member = &rights->members[rights->by_slug[middle]];
		int			order = strcmp(slug, member->slug);

		if (order == 0)
			return member;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

/*
 * Reads a workspace argument.  It is never echoed: who ports
 * create_secret(secret, name) by position puts the secret here.
 */
bool
ks_parse_workspace(const text *workspace, uint8 id[KS_ID_LEN], char slug[KS_SLUG_MAX + 1])
{
	char	   *word;

	if (workspace == NULL)
		ks_error_null("workspace");
	if (VARSIZE_ANY_EXHDR(workspace) > KS_SLUG_MAX)
		ks_error_invalid("workspace", "a workspace slug or uuid", NULL);
	word = text_to_cstring(workspace);
	if (ks_text_uuid(word, id))
		return true;
	if (!ks_text_is_slug(word))
		ks_error_invalid("workspace", "a workspace slug or uuid", NULL);
	strlcpy(slug, word, KS_SLUG_MAX + 1);
	return false;
}

/* A membership for a caller, to whom the cache's memory is of no use. */
static void
hand_out(const KsMembership *found, KsMembership *member)
{
	*member = *found;
	if (found->environments != NULL)
		member->environments = copy_list(found->environments, CurrentMemoryContext);
	if (found->providers != NULL)
		member->providers = copy_list(found->providers, CurrentMemoryContext);
}

void
ks_membership(const KsCall *call, const text *workspace, KsMembership *member)
{
	uint8		id[KS_ID_LEN];
	char		slug[KS_SLUG_MAX + 1];
	bool		is_id = ks_parse_workspace(workspace, id, slug);
	const Rights *rights;
	const KsMembership *found;

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		ks_error_anonymous(call->actor.why);
	rights = rights_of_caller(call);
	found = unless_deferred(is_id ? find_by_id(rights, id) : find_by_slug(rights, slug));
	if (found == NULL)
		ks_error_not_found(NULL);
	hand_out(found, member);
}

bool
ks_membership_of(const KsCall *call, const uint8 workspace[KS_ID_LEN], KsMembership *member)
{
	const KsMembership *found;

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return false;
	found = unless_deferred(find_by_id(rights_of_caller(call), workspace));
	if (found != NULL)
		hand_out(found, member);
	return found != NULL;
}

uint32
ks_permissions(const KsCall *call, const char *workspace, size_t len)
{
	char		word[KS_SLUG_MAX + 1];
	uint8		id[KS_ID_LEN];
	const Rights *rights;
	const KsMembership *found;

	if (call->actor.source == KS_SOURCE_ANONYMOUS || len > KS_SLUG_MAX)
		return 0;
	memcpy(word, workspace, len);
	word[len] = '\0';
	rights = rights_of_caller(call);
	found = unless_deferred(ks_text_uuid(word, id) ? find_by_id(rights, id) : find_by_slug(rights, word));
	return found != NULL ? found->permissions : 0;
}

uint32
ks_permissions_of(const uint8 principal[KS_ID_LEN], const uint8 workspace[KS_ID_LEN])
{
	const KsMembership *found = find_by_id(rights_of(principal), workspace);

	return found != NULL && found->verified ? found->permissions : 0;
}

static bool
is_on_list(const KsNameList *list, const char *name)
{
	if (list == NULL)
		return true;
	for (int i = 0; name != NULL && i < list->n; i++)
	{
		if (strcmp(list->names[i], name) == 0)
			return true;
	}
	return false;
}

bool
ks_within_limits(const KsMembership *member, const char *environment, const char *provider)
{
	return is_on_list(member->environments, environment) && is_on_list(member->providers, provider);
}

/* Shares. */

static bool
is_over(const Share *share)
{
	return share->ends && share->until <= GetCurrentTimestamp();
}

/* Whether the owner of what is shared has its place still.  A call that began
 * with verified rights does not go on with rows that nobody can verify. */
static bool
owner_has_view(const KsCall *call, const KsShare *share)
{
	const KsMembership *owner = find_by_id(rights_of(share->owner), share->workspace);

	return owner != NULL && (owner->verified || !call->verified) &&
		(owner->permissions & KS_PERM_VIEW) != 0;
}

bool
ks_is_shared(const KsCall *call, const KsShare *wanted)
{
	const Rights *rights;
	Share		key = {.is = *wanted};
	const Share *share;

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return false;
	rights = rights_of_caller(call);
	if (rights->n_shares == 0 || !is_current(rights))
		return false;
	share = bsearch(&key, rights->shares, rights->n_shares, sizeof(Share), compare_shares);
	return share != NULL && !is_over(share) &&
		memcmp(share->is.workspace, wanted->workspace, KS_ID_LEN) == 0 &&
		memcmp(share->is.owner, wanted->owner, KS_ID_LEN) == 0 &&
		owner_has_view(call, wanted);
}

int
ks_shares(const KsCall *call, KsShare **shares)
{
	const Rights *rights;
	int			n = 0;

	*shares = NULL;
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return 0;
	rights = rights_of_caller(call);
	if (!is_current(rights))
		return 0;
	*shares = palloc_extended(Max(rights->n_shares, 1) * sizeof(KsShare), MCXT_ALLOC_HUGE);
	for (int i = 0; i < rights->n_shares; i++)
	{
		if (!is_over(&rights->shares[i]))
			(*shares)[n++] = rights->shares[i].is;
	}
	return n;
}

KsPrincipalState
ks_principal_state(const uint8 principal[KS_ID_LEN], const char **kind)
{
	const Rights *rights = rights_of(principal);

	if (kind != NULL)
		*kind = rights->kind;
	return rights->state;
}

KS_NORETURN static void refuse_permission(void) KS_NORETURN_END;

static void
refuse_permission(void)
{
	ks_error_denied("permission denied",
					"The role in the workspace does not have the permission that this needs.");
}

void
ks_require(const KsMembership *member, uint32 permission)
{
	if ((member->permissions & permission) != permission)
		refuse_permission();
}

void
ks_require_any(const KsMembership *member, uint32 permissions)
{
	if ((member->permissions & permissions) == 0)
		refuse_permission();
}

void
ks_require_usable(const KsMembership *member)
{
	if (!member->usable)
		ks_error_denied("the workspace is suspended", NULL);
}

int
ks_memberships(const KsCall *call, KsMembership **members)
{
	const Rights *rights;
	int			n = 0;

	*members = NULL;
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return 0;
	rights = rights_of_caller(call);
	if (!is_current(rights))
		return 0;
	*members = palloc_extended(Max(rights->n, 1) * sizeof(KsMembership), MCXT_ALLOC_HUGE);
	for (int i = 0; i < rights->n; i++)
	{
		if (unless_deferred(&rights->members[i]) != NULL)
			hand_out(&rights->members[i], &(*members)[n++]);
	}
	return n;
}
