/*-------------------------------------------------------------------------
 *
 * ks_tenant.c
 *	  Principals, workspaces, members and profiles: who may do what.
 *
 * The cache holds the rights of each principal that this backend has served
 * and the profiles of all roles.  It is valid for one generation of the
 * keyring (its MACs were checked, or could not be) and until an invalidation
 * of one of the four tables.  The flag is set before the tables are read, so
 * that an invalidation that arrives while reading makes the next call read
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_keyring.h"
#include "ks_shmem.h"
#include "ks_spi.h"
#include "ks_tenant.h"
#include "ks_text.h"

#define MAC_INPUT_MAX		1024
#define CACHED_PRINCIPALS	128 /* then the cache starts again */

typedef struct NamedBit
{
	const char *name;
	uint32		bit;
} NamedBit;

static const NamedBit permissions[] = {
	{"view", KS_PERM_VIEW}, {"reveal", KS_PERM_REVEAL}, {"store", KS_PERM_STORE},
	{"rotate", KS_PERM_ROTATE}, {"approve", KS_PERM_APPROVE}, {"audit", KS_PERM_AUDIT},
	{"policy", KS_PERM_POLICY}, {"workspace", KS_PERM_WORKSPACE}, {"billing", KS_PERM_BILLING},
	{"member", KS_PERM_MEMBER},
};

static const NamedBit profiles[] = {
	{"client", KS_PROFILE_CLIENT}, {"worker", KS_PROFILE_WORKER}, {"auditor", KS_PROFILE_AUDITOR},
	{"admin", KS_PROFILE_ADMIN}, {"monitor", KS_PROFILE_MONITOR},
};

#define ADMIN_PERMISSIONS	(KS_PERM_VIEW | KS_PERM_REVEAL | KS_PERM_STORE | KS_PERM_ROTATE | \
							 KS_PERM_APPROVE | KS_PERM_AUDIT | KS_PERM_POLICY | KS_PERM_WORKSPACE)

/* What each role may do: fixed. */
static const NamedBit roles[] = {
	{"owner", ADMIN_PERMISSIONS | KS_PERM_BILLING},
	{"admin", ADMIN_PERMISSIONS},
	{"operator", KS_PERM_VIEW | KS_PERM_ROTATE},
	{"viewer", KS_PERM_VIEW},
	{"auditor", KS_PERM_AUDIT},
	{"service", KS_PERM_VIEW | KS_PERM_REVEAL},
};

/* All memberships of one principal. */
typedef struct Rights
{
	struct Rights *next;
	uint8		principal[KS_ID_LEN];
	int			n;
	KsMembership *members;		/* ordered by workspace id */
	int		   *by_slug;		/* indexes into members, ordered by slug */
} Rights;

typedef struct ProfileGrant
{
	NameData	role;
	uint32		profile;
} ProfileGrant;

static MemoryContext cache_context = NULL;
static bool cache_valid = false;
static uint64 cache_generation = 0;
static Rights *cached_rights = NULL;
static int	cached_principals = 0;
static ProfileGrant *cached_grants = NULL;
static int	cached_grants_n = -1;	/* -1: not loaded */
static Oid	watched[4];			/* the tables whose invalidation drops the
								 * cache */

/* The principal of the login role, as last looked up. */
static struct
{
	bool		valid;
	bool		found;
	NameData	role;
	uint8		principal[KS_ID_LEN];
}			cached_login;

/* Names and bits. */

static uint32
find_bit(const NamedBit *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
	{
		if (strcmp(list[i].name, name) == 0)
			return list[i].bit;
	}
	return 0;
}

uint32
ks_permission_bit(const char *name)
{
	return find_bit(permissions, lengthof(permissions), name);
}

uint32
ks_profile_bit(const char *name)
{
	return find_bit(profiles, lengthof(profiles), name);
}

uint32
ks_role_permissions(const char *role)
{
	return find_bit(roles, lengthof(roles), role);
}

static const char *
profile_name(uint32 profile)
{
	for (size_t i = 0; i < lengthof(profiles); i++)
	{
		if (profiles[i].bit == profile)
			return profiles[i].name;
	}
	return NULL;
}

/* The constant of a role's name, so that it need not be copied. */
static const char *
role_constant(const char *role)
{
	for (size_t i = 0; i < lengthof(roles); i++)
	{
		if (strcmp(roles[i].name, role) == 0)
			return roles[i].name;
	}
	return NULL;
}

/* Row MACs. */

static void
workspace_fields(KsFields *f, uint8 *buf, const uint8 *id, const char *slug,
				 const char *status, const uint8 *personal_of)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row workspace v1");
	ks_fields_uuid(f, id);
	ks_fields_text(f, slug);
	ks_fields_text(f, status);
	ks_fields_uuid(f, personal_of);
}

static void
time_field(KsFields *f, bool present, TimestampTz time)
{
	if (present)
		ks_fields_i64(f, time);
	else
		ks_fields_absent(f);
}

static void
principal_fields(KsFields *f, uint8 *buf, const uint8 *id, const char *kind,
				 const char *db_role, bool disabled, TimestampTz disabled_at)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row principal v1");
	ks_fields_uuid(f, id);
	ks_fields_text(f, kind);
	ks_fields_text(f, db_role);
	time_field(f, disabled, disabled_at);
}

/* Extra permissions enter as bits, so their order in the array is free. */
static void
member_fields(KsFields *f, uint8 *buf, const uint8 *workspace, const uint8 *principal,
			  const char *role, uint32 extra, TimestampTz updated_at,
			  bool removed, TimestampTz removed_at)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row member v1");
	ks_fields_uuid(f, workspace);
	ks_fields_uuid(f, principal);
	ks_fields_text(f, role);
	ks_fields_u32(f, extra);
	ks_fields_i64(f, updated_at);
	time_field(f, removed, removed_at);
}

static void
grant_fields(KsFields *f, uint8 *buf, const char *role, const char *profile,
			 TimestampTz granted_at, bool revoked, TimestampTz revoked_at)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row profile grant v1");
	ks_fields_text(f, role);
	ks_fields_text(f, profile);
	ks_fields_i64(f, granted_at);
	time_field(f, revoked, revoked_at);
}

static bool
mac_is_valid(const KsFields *fields, const uint8 *mac, size_t len)
{
	uint8		expected[KS_DIGEST_LEN];

	if (fields->full || mac == NULL || len != KS_DIGEST_LEN)
		return false;
	ks_keyring_row_mac(fields, expected);
	return ks_equal(mac, expected, KS_DIGEST_LEN);
}

static void
add_mac(KsArgs *args, const KsFields *fields)
{
	uint8		mac[KS_DIGEST_LEN];

	if (fields->full)
		elog(ERROR, "row is too long for its MAC");
	ks_keyring_row_mac(fields, mac);
	ks_arg_bytes(args, mac, KS_DIGEST_LEN);
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
	return bits;
}

static Datum
array_of_permissions(uint32 bits)
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

/* The cache. */

static void
forget_cache(void)
{
	cached_rights = NULL;
	cached_principals = 0;
	cached_grants = NULL;
	cached_grants_n = -1;
	cached_login.valid = false;
	if (cache_context != NULL)
		MemoryContextReset(cache_context);
}

/* A callback must not look into the catalog: the oids are those of the last
 * refresh.  InvalidOid stands for all relations. */
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
}

/* Role memberships decide about profiles. */
static void
roles_changed(Datum arg, int cacheid, uint32 hash)
{
	(void) arg;
	(void) cacheid;
	(void) hash;
	cache_valid = false;
}

/* Takes in what others have committed, and drops the cache if it is stale. */
static void
refresh_cache(void)
{
	static bool registered = false;
	KsSealStatus status;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		cache_context = AllocSetContextCreate(TopMemoryContext, "keystone rights",
											  ALLOCSET_DEFAULT_SIZES);
		registered = true;
	}
	AcceptInvalidationMessages();
	ks_keyring_status(&status);
	if (!cache_valid || cache_generation != status.generation)
	{
		forget_cache();
		watch_relations();
		cache_valid = true;
		cache_generation = status.generation;
	}
}

static int
compare_slugs(const void *a, const void *b, void *members)
{
	const KsMembership *list = members;

	return strcmp(list[*(const int *) a].slug, list[*(const int *) b].slug);
}

/* Fills a membership from a row; false when the row gives nothing. */
static bool
read_membership(const KsSpi *spi, uint64 row, const uint8 *principal, bool verifiable,
				KsMembership *member)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	uint8		personal_of[KS_ID_LEN];
	bool		personal;
	char	   *role = ks_col_text(spi, row, 2);
	uint32		extra = permissions_of_array(ks_col_array(spi, row, 3));
	char	   *slug = ks_col_text(spi, row, 6);
	char	   *status = ks_col_text(spi, row, 7);
	TimestampTz updated_at;
	uint8	   *mac;
	size_t		len;

	memset(member, 0, sizeof(*member));
	(void) ks_col_uuid(row, 1, member->workspace);
	(void) ks_col_time(row, 4, &updated_at);
	personal = ks_col_uuid(row, 8, personal_of);
	member->role = role_constant(role);
	if (member->role == NULL || strlcpy(member->slug, slug, sizeof(member->slug)) >= sizeof(member->slug))
		return false;
	member->owner = strcmp(member->role, "owner") == 0;
	member->usable = strcmp(status, "active") == 0 || strcmp(status, "trial") == 0;
	member->permissions = ks_role_permissions(role) | extra | KS_PERM_MEMBER;

	if (!verifiable)
	{
		member->permissions &= KS_PERM_VIEW | KS_PERM_MEMBER;
		member->owner = false;
		return true;
	}
	mac = ks_col_bytes(spi, row, 5, &len);
	member_fields(&fields, buf, member->workspace, principal, role, extra, updated_at, false, 0);
	if (!mac_is_valid(&fields, mac, len))
		return false;
	mac = ks_col_bytes(spi, row, 9, &len);
	workspace_fields(&fields, buf, member->workspace, slug, status, personal ? personal_of : NULL);
	return mac_is_valid(&fields, mac, len);
}

/* Whether a principal's row is there, valid and not disabled. */
static bool
principal_is_good(const uint8 *principal, bool verifiable)
{
	static KsPlan plan = {.sql =
		"SELECT kind, db_role::text, disabled_at, row_mac FROM keystone.principals WHERE id = $1"
	};
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		good = false;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_read(&plan, &args) == 1)
	{
		TimestampTz disabled_at;
		bool		disabled = ks_col_time(0, 3, &disabled_at);
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, 0, 4, &len);

		principal_fields(&fields, buf, principal, ks_col_text(&spi, 0, 1),
						 ks_col_text(&spi, 0, 2), disabled, disabled_at);
		good = !disabled && (!verifiable || mac_is_valid(&fields, mac, len));
	}
	ks_spi_end(&spi);
	return good;
}

static void
load_memberships(Rights *rights, bool verifiable)
{
	static KsPlan plan = {.sql =
		"SELECT m.workspace_id, m.role, m.extra_permissions, m.updated_at, m.row_mac,"
		" w.slug, w.status, w.personal_of, w.row_mac"
		" FROM keystone.members m JOIN keystone.workspaces w ON w.id = m.workspace_id"
		" WHERE m.principal_id = $1 AND m.removed_at IS NULL ORDER BY m.workspace_id"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, rights->principal);
	rows = ks_spi_read(&plan, &args);
	rights->members = MemoryContextAllocHuge(cache_context, Max(rows, 1) * sizeof(KsMembership));
	rights->by_slug = MemoryContextAllocHuge(cache_context, Max(rows, 1) * sizeof(int));
	for (uint64 i = 0; i < rows; i++)
	{
		if (read_membership(&spi, i, rights->principal, verifiable, &rights->members[rights->n]))
		{
			rights->by_slug[rights->n] = rights->n;
			rights->n++;
		}
	}
	ks_spi_end(&spi);
	qsort_arg(rights->by_slug, rights->n, sizeof(int), compare_slugs, rights->members);
}

/*
 * The rights of a principal, good until the next call into this room.  Work
 * memory is freed here; what stays lies in the cache's context.
 */
static const Rights *
rights_of(const uint8 *principal)
{
	MemoryContext work;
	MemoryContext old;
	Rights	   *rights;
	bool		verifiable;

	refresh_cache();
	for (rights = cached_rights; rights != NULL; rights = rights->next)
	{
		if (memcmp(rights->principal, principal, KS_ID_LEN) == 0)
			return rights;
	}

	if (cached_principals >= CACHED_PRINCIPALS)
		forget_cache();
	rights = MemoryContextAllocZero(cache_context, sizeof(Rights));
	memcpy(rights->principal, principal, KS_ID_LEN);

	work = AllocSetContextCreate(CurrentMemoryContext, "keystone rights loading",
								 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(work);
	verifiable = ks_keyring_has_mac_key();
	if (principal_is_good(principal, verifiable))
		load_memberships(rights, verifiable);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);

	rights->next = cached_rights;
	cached_rights = rights;
	cached_principals++;
	return rights;
}

/* Loader for ks_identity. */
static bool
principal_of_role(const char *role, uint8 principal[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT id FROM keystone.principals WHERE db_role = $1"};
	KsArgs		args = {0};
	KsSpi		spi;

	refresh_cache();
	if (!cached_login.valid || strcmp(NameStr(cached_login.role), role) != 0)
	{
		bool		found;

		ks_spi_begin(&spi);
		ks_arg_name(&args, role);
		found = ks_spi_read(&plan, &args) == 1 &&
			ks_col_uuid(0, 1, cached_login.principal);
		ks_spi_end(&spi);
		if (found)
			found = principal_is_good(cached_login.principal, ks_keyring_has_mac_key());
		namestrcpy(&cached_login.role, role);
		cached_login.found = found;
		cached_login.valid = true;
	}
	memcpy(principal, cached_login.principal, KS_ID_LEN);
	return cached_login.found;
}

static void
load_grants(void)
{
	static KsPlan plan = {.sql =
		"SELECT role_name::text, profile, granted_at, row_mac"
		" FROM keystone_private.profile_grants WHERE revoked_at IS NULL"
	};
	bool		verifiable = ks_keyring_has_mac_key();
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
		uint8		buf[MAC_INPUT_MAX];
		KsFields	fields;
		char	   *role = ks_col_text(&spi, i, 1);
		char	   *profile = ks_col_text(&spi, i, 2);
		TimestampTz granted_at;
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, i, 4, &len);

		(void) ks_col_time(i, 3, &granted_at);
		grant_fields(&fields, buf, role, profile, granted_at, false, 0);
		if (verifiable && !mac_is_valid(&fields, mac, len))
			continue;
		namestrcpy(&grants[n].role, role);
		grants[n].profile = ks_profile_bit(profile);
		n++;
	}
	ks_spi_end(&spi);
	cached_grants = grants;
	cached_grants_n = n;
}

/*
 * The profiles of a role.  A superuser has all of them: values come through
 * membership only.  "worker" contains "client".
 */
static uint32
profiles_of_role(Oid role)
{
	uint32		result = 0;

	if (superuser_arg(role))
		return KS_PROFILE_CLIENT | KS_PROFILE_WORKER | KS_PROFILE_AUDITOR |
			KS_PROFILE_ADMIN | KS_PROFILE_MONITOR;
	refresh_cache();
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
	return result;
}

void
ks_tenant_init(void)
{
	ks_identity_set_loader(principal_of_role);
}

void
ks_tenant_changed(Oid relation)
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
	if (!ks_shmem_attached())
		ks_error_not_preloaded();
	check_version();
	ks_identity_actor(&call->actor);
	call->profiles = profiles_of_role(call->actor.role);
	if (needed != 0 && (call->profiles & needed) == 0)
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
ks_check_extra(bool has_approval, const text *reason, const Jsonb *context)
{
	if (has_approval)
		ks_error_invalid("approval", "NULL while there are no policies", NULL);
	if (reason != NULL && VARSIZE_ANY_EXHDR(reason) > KS_REASON_MAX)
		ks_error_invalid("reason", psprintf("at most %d bytes long", KS_REASON_MAX), NULL);
	if (context == NULL)
		ks_error_null("context");
	if (!JB_ROOT_IS_OBJECT(context))
		ks_error_invalid("context", "a JSON object", NULL);
	if (VARSIZE_ANY_EXHDR(context) > KS_CONTEXT_MAX)
		ks_error_invalid("context", psprintf("at most %d bytes long", KS_CONTEXT_MAX), NULL);
}

/* Memberships. */

static const KsMembership *
find_by_id(const Rights *rights, const uint8 *workspace)
{
	int			low = 0;
	int			high = rights->n - 1;

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
	int			high = rights->n - 1;

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
static bool
parse_workspace(const text *workspace, uint8 id[KS_ID_LEN], char slug[KS_SLUG_MAX + 1])
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

void
ks_tenant_membership(const KsCall *call, const text *workspace, KsMembership *member)
{
	uint8		id[KS_ID_LEN];
	char		slug[KS_SLUG_MAX + 1];
	bool		is_id = parse_workspace(workspace, id, slug);
	const Rights *rights;
	const KsMembership *found;

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		ks_error_anonymous(call->actor.why);
	rights = rights_of(call->actor.principal);
	found = is_id ? find_by_id(rights, id) : find_by_slug(rights, slug);
	if (found == NULL)
		ks_error_not_found(NULL);
	*member = *found;
}

bool
ks_tenant_membership_of(const KsCall *call, const uint8 workspace[KS_ID_LEN], KsMembership *member)
{
	const KsMembership *found;

	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return false;
	found = find_by_id(rights_of(call->actor.principal), workspace);
	if (found != NULL)
		*member = *found;
	return found != NULL;
}

void
ks_tenant_require(const KsMembership *member, uint32 permission)
{
	for (size_t i = 0; i < lengthof(permissions); i++)
	{
		if ((permission & permissions[i].bit) && !(member->permissions & permissions[i].bit))
			ks_error_denied("permission denied",
							psprintf("This needs the permission \"%s\" in the workspace.", permissions[i].name));
	}
}

void
ks_tenant_require_usable(const KsMembership *member)
{
	if (!member->usable)
		ks_error_denied("the workspace is suspended", NULL);
}

int
ks_tenant_memberships(const KsCall *call, KsMembership **members)
{
	const Rights *rights;

	*members = NULL;
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		return 0;
	rights = rights_of(call->actor.principal);
	*members = palloc_extended(Max(rights->n, 1) * sizeof(KsMembership), MCXT_ALLOC_HUGE);
	memcpy(*members, rights->members, rights->n * sizeof(KsMembership));
	return rights->n;
}

bool
ks_tenant_find_workspace(const text *workspace, uint8 id[KS_ID_LEN])
{
	static KsPlan by_slug = {.sql = "SELECT id FROM keystone.workspaces WHERE slug = $1"};
	static KsPlan by_id = {.sql = "SELECT id FROM keystone.workspaces WHERE id = $1"};
	char		slug[KS_SLUG_MAX + 1];
	bool		is_id = parse_workspace(workspace, id, slug);
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	if (is_id)
		ks_arg_uuid(&args, id);
	else
		ks_arg_text(&args, slug);
	found = ks_spi_read(is_id ? &by_id : &by_slug, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found;
}

char *
ks_tenant_display_name(const uint8 principal[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT display_name FROM keystone.principals WHERE id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *name = NULL;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_read(&plan, &args) == 1)
		name = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	return name;
}

/* Changes. */

void
ks_tenant_add_principal(const KsNewPrincipal *principal)
{
	static KsPlan insert = {.sql =
		"INSERT INTO keystone.principals (id, display_name, kind, db_role, row_mac)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
	};
	static KsPlan external = {.sql =
		"INSERT INTO keystone_private.external_ids (principal_id, external_id)"
		" VALUES ($1, $2) ON CONFLICT DO NOTHING"
	};
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	KsArgs		args = {0};
	KsArgs		external_args = {0};
	KsSpi		spi;

	principal_fields(&fields, buf, principal->id, principal->kind, principal->db_role, false, 0);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, principal->id);
	ks_arg_text(&args, principal->display_name);
	ks_arg_text(&args, principal->kind);
	ks_arg_name(&args, principal->db_role);
	add_mac(&args, &fields);
	if (ks_spi_write(&insert, &args) != 1)
		ks_error_duplicate("the principal already exists, or its database role is bound to another", NULL);
	if (principal->external_id != NULL)
	{
		ks_arg_uuid(&external_args, principal->id);
		ks_arg_text(&external_args, principal->external_id);
		if (ks_spi_write(&external, &external_args) != 1)
			ks_error_duplicate("the external id belongs to another principal", NULL);
	}
	ks_spi_end(&spi);
}

bool
ks_tenant_add_workspace(const uint8 id[KS_ID_LEN], const char *slug, const char *display_name,
						const uint8 owner[KS_ID_LEN], bool personal)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.workspaces (id, slug, display_name, status, personal_of, created_by, row_mac)"
		" VALUES ($1, $2, $3, 'active', $4, $5, $6) ON CONFLICT DO NOTHING"
	};
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		added;

	workspace_fields(&fields, buf, id, slug, "active", personal ? owner : NULL);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, id);
	ks_arg_text(&args, slug);
	ks_arg_text(&args, display_name);
	ks_arg_uuid(&args, personal ? owner : NULL);
	ks_arg_uuid(&args, owner);
	add_mac(&args, &fields);
	added = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	if (added)
		ks_tenant_put_member(id, owner, "owner", 0, owner);
	return added;
}

bool
ks_tenant_personal(const uint8 owner[KS_ID_LEN], uint8 id[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT id FROM keystone.workspaces WHERE personal_of = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, owner);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found;
}

void
ks_tenant_lock(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT 1 FROM keystone.workspaces WHERE id = $1 FOR NO KEY UPDATE"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_tenant_get_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN],
					 KsMemberRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT (SELECT role FROM keystone.members"
		"  WHERE workspace_id = $1 AND principal_id = $2 AND removed_at IS NULL),"
		" (SELECT count(*)::int FROM keystone.members"
		"  WHERE workspace_id = $1 AND role = 'owner' AND removed_at IS NULL)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	(void) ks_spi_read(&plan, &args);
	row->role = ks_col_text(&spi, 0, 1);
	row->present = row->role != NULL;
	(void) ks_col_int(0, 2, &row->owners);
	ks_spi_end(&spi);
}

bool
ks_tenant_principal_exists(const uint8 principal[KS_ID_LEN])
{
	return principal_is_good(principal, ks_keyring_has_mac_key());
}

void
ks_tenant_put_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN],
					 const char *role, uint32 extra_permissions, const uint8 *by)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone.members (workspace_id, principal_id, role, extra_permissions,"
		" added_by, created_at, updated_at, removed_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)"
		" ON CONFLICT (workspace_id, principal_id) DO UPDATE SET role = excluded.role,"
		" extra_permissions = excluded.extra_permissions, added_by = excluded.added_by,"
		" updated_at = excluded.updated_at, removed_at = excluded.removed_at, row_mac = excluded.row_mac"
	};
	bool		removed = role == NULL;
	TimestampTz now = GetCurrentTimestamp();
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	KsArgs		args = {0};
	KsSpi		spi;

	if (removed)
		role = "viewer";		/* what a tombstone says gives nothing */
	member_fields(&fields, buf, workspace, principal, role, extra_permissions, now, removed, now);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	ks_arg_text(&args, role);
	ks_arg_datum(&args, true, TEXTARRAYOID, array_of_permissions(extra_permissions));
	ks_arg_uuid(&args, by);
	ks_arg_time(&args, true, now);
	ks_arg_time(&args, removed, now);
	add_mac(&args, &fields);
	(void) ks_spi_write(&put, &args);
	ks_spi_end(&spi);
}

/* Profiles. */

static void
put_grant(const char *role, const char *profile, const char *by, bool revoked)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, granted_at, revoked_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (role_name, profile) DO UPDATE"
		" SET granted_by = excluded.granted_by, granted_at = excluded.granted_at,"
		" revoked_at = excluded.revoked_at, row_mac = excluded.row_mac"
	};
	TimestampTz now = GetCurrentTimestamp();
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;
	KsArgs		args = {0};

	grant_fields(&fields, buf, role, profile, now, revoked, now);
	ks_arg_name(&args, role);
	ks_arg_text(&args, profile);
	ks_arg_name(&args, by);
	ks_arg_time(&args, true, now);
	ks_arg_time(&args, revoked, now);
	add_mac(&args, &fields);
	(void) ks_spi_write(&put, &args);
}

/* Runs "<verb> <privilege> ON <object> <TO|FROM> <role>" for each row of a plan. */
static void
change_privileges(const KsSpi *spi, KsPlan *plan, KsArgs *args, const char *verb,
				  const char *preposition, const char *role)
{
	uint64		rows = ks_spi_read(plan, args);
	char	  **statements = palloc(Max(rows, 1) * sizeof(char *));

	for (uint64 i = 0; i < rows; i++)
		statements[i] = psprintf("%s %s ON %s %s %s %s", verb, ks_col_text(spi, i, 3),
								 ks_col_text(spi, i, 1), ks_col_text(spi, i, 2),
								 preposition, quote_identifier(role));
	for (uint64 i = 0; i < rows; i++)
		ks_spi_utility(statements[i]);
}

void
ks_tenant_grant(const char *role, uint32 profile, const char *by)
{
	static KsPlan plan = {.sql =
		"SELECT object_kind, object_name, privilege FROM keystone_private.profile_privileges"
		" WHERE profile = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	put_grant(role, profile_name(profile), by, false);
	ks_arg_text(&args, profile_name(profile));
	change_privileges(&spi, &plan, &args, "GRANT", "TO", role);
	ks_spi_end(&spi);
}

bool
ks_tenant_revoke(const char *role, uint32 profile)
{
	static KsPlan find = {.sql =
		"SELECT granted_by::text FROM keystone_private.profile_grants"
		" WHERE role_name = $1 AND profile = $2 AND revoked_at IS NULL"
	};

	/* What another profile of the same role also gives stays. */
	static KsPlan plan = {.sql =
		"SELECT object_kind, object_name, privilege FROM keystone_private.profile_privileges p"
		" WHERE profile = $2 AND NOT EXISTS (SELECT FROM keystone_private.profile_grants g"
		"  JOIN keystone_private.profile_privileges o ON o.profile = g.profile"
		"  WHERE g.role_name = $1 AND g.profile <> $2 AND g.revoked_at IS NULL"
		"  AND o.object_kind = p.object_kind AND o.object_name = p.object_name AND o.privilege = p.privilege)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin_write(&spi);
	ks_arg_name(&args, role);
	ks_arg_text(&args, profile_name(profile));
	found = ks_spi_read(&find, &args) == 1;
	if (found)
	{
		put_grant(role, profile_name(profile), ks_col_text(&spi, 0, 1), true);
		change_privileges(&spi, &plan, &args, "REVOKE", "FROM", role);
	}
	ks_spi_end(&spi);
	return found;
}

/* Providers. */

bool
ks_tenant_provider(const uint8 workspace[KS_ID_LEN], const char *name, KsProvider *provider)
{
	static KsPlan plan = {.sql =
		"SELECT p.category, p.label, p.default_kind, p.value_pattern, p.limits, p.cost_micros,"
		" p.enabled AND coalesce(c.enabled, true), coalesce(c.mode, 'hosted')"
		" FROM keystone.providers p"
		" LEFT JOIN keystone.provider_configs c ON c.workspace_id = $1 AND c.provider = p.name"
		" WHERE p.name = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(provider, 0, sizeof(*provider));
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
	{
		provider->name = name;
		provider->category = ks_col_text(&spi, 0, 1);
		provider->label = ks_col_text(&spi, 0, 2);
		provider->default_kind = ks_col_text(&spi, 0, 3);
		provider->value_pattern = ks_col_text(&spi, 0, 4);
		provider->limits = ks_col_text(&spi, 0, 5);
		provider->has_cost = ks_col_bigint(0, 6, &provider->cost_micros);
		provider->enabled = ks_col_bool(0, 7);
		provider->mode = ks_col_text(&spi, 0, 8);
	}
	ks_spi_end(&spi);
	return found;
}

void
ks_tenant_define_provider(const KsProvider *provider, const char *by)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.provider_definitions"
		" (name, category, label, default_kind, value_pattern, limits, cost_micros, enabled, updated_by)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
		" ON CONFLICT (name) DO UPDATE SET category = excluded.category, label = excluded.label,"
		" default_kind = excluded.default_kind, value_pattern = excluded.value_pattern,"
		" limits = excluded.limits, cost_micros = excluded.cost_micros, enabled = excluded.enabled,"
		" updated_at = now(), updated_by = excluded.updated_by"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_text(&args, provider->name);
	ks_arg_text(&args, provider->category);
	ks_arg_text(&args, provider->label);
	ks_arg_text(&args, provider->default_kind);
	ks_arg_text(&args, provider->value_pattern);
	ks_arg_text(&args, provider->limits);
	ks_arg_bigint(&args, provider->has_cost, provider->cost_micros);
	ks_arg_bool(&args, true, provider->enabled);
	ks_arg_name(&args, by);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_tenant_configure_provider(const uint8 workspace[KS_ID_LEN], const char *provider,
							 const char *mode, Datum config, bool enabled,
							 const uint8 by[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.provider_configs (workspace_id, provider, mode, config, enabled, updated_by)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (workspace_id, provider) DO UPDATE SET mode = excluded.mode,"
		" config = excluded.config, enabled = excluded.enabled, updated_at = now(),"
		" updated_by = excluded.updated_by"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, provider);
	ks_arg_text(&args, mode);
	ks_arg_datum(&args, true, JSONBOID, config);
	ks_arg_bool(&args, true, enabled);
	ks_arg_uuid(&args, by);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* Health. */

static int64
count_forged_members(void)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, principal_id, role, extra_permissions, updated_at, removed_at, row_mac"
		" FROM keystone.members"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		uint8		buf[MAC_INPUT_MAX];
		uint8		workspace[KS_ID_LEN];
		uint8		principal[KS_ID_LEN];
		TimestampTz updated_at;
		TimestampTz removed_at;
		KsFields	fields;
		bool		removed = ks_col_time(i, 6, &removed_at);
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, i, 7, &len);

		(void) ks_col_uuid(i, 1, workspace);
		(void) ks_col_uuid(i, 2, principal);
		(void) ks_col_time(i, 5, &updated_at);
		member_fields(&fields, buf, workspace, principal, ks_col_text(&spi, i, 3),
					  permissions_of_array(ks_col_array(&spi, i, 4)), updated_at,
					  removed, removed_at);
		if (!mac_is_valid(&fields, mac, len))
			forged++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
	return forged;
}

static int64
count_forged_principals(void)
{
	static KsPlan plan = {.sql =
		"SELECT id, kind, db_role::text, disabled_at, row_mac FROM keystone.principals"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		uint8		buf[MAC_INPUT_MAX];
		uint8		id[KS_ID_LEN];
		TimestampTz disabled_at;
		KsFields	fields;
		bool		disabled = ks_col_time(i, 4, &disabled_at);
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, i, 5, &len);

		(void) ks_col_uuid(i, 1, id);
		principal_fields(&fields, buf, id, ks_col_text(&spi, i, 2), ks_col_text(&spi, i, 3),
						 disabled, disabled_at);
		if (!mac_is_valid(&fields, mac, len))
			forged++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
	return forged;
}

static int64
count_forged_workspaces(void)
{
	static KsPlan plan = {.sql = "SELECT id, slug, status, personal_of, row_mac FROM keystone.workspaces"};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		uint8		buf[MAC_INPUT_MAX];
		uint8		id[KS_ID_LEN];
		uint8		personal_of[KS_ID_LEN];
		KsFields	fields;
		bool		personal = ks_col_uuid(i, 4, personal_of);
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, i, 5, &len);

		(void) ks_col_uuid(i, 1, id);
		workspace_fields(&fields, buf, id, ks_col_text(&spi, i, 2), ks_col_text(&spi, i, 3),
						 personal ? personal_of : NULL);
		if (!mac_is_valid(&fields, mac, len))
			forged++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
	return forged;
}

static int64
count_forged_grants(void)
{
	static KsPlan plan = {.sql =
		"SELECT role_name::text, profile, granted_at, revoked_at, row_mac FROM keystone_private.profile_grants"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		uint8		buf[MAC_INPUT_MAX];
		TimestampTz granted_at;
		TimestampTz revoked_at;
		KsFields	fields;
		bool		revoked = ks_col_time(i, 4, &revoked_at);
		size_t		len;
		uint8	   *mac = ks_col_bytes(&spi, i, 5, &len);

		(void) ks_col_time(i, 3, &granted_at);
		grant_fields(&fields, buf, ks_col_text(&spi, i, 1), ks_col_text(&spi, i, 2), granted_at,
					 revoked, revoked_at);
		if (!mac_is_valid(&fields, mac, len))
			forged++;
	}
	ks_spi_end(&spi);
	return forged;
}

int64
ks_tenant_count_forged(void)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone health",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	int64		forged = count_forged_members() + count_forged_principals() +
	count_forged_workspaces() + count_forged_grants();

	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return forged;
}
