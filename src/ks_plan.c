/*-------------------------------------------------------------------------
 *
 * ks_plan.c
 *	  Plans: what a workspace may use of what is sold.
 *
 * The cache holds all plans, and the plan and anchor of the workspaces that
 * this backend has served.  It is valid until an invalidation of one of the
 * two tables (their triggers send one for each change), and for one state of
 * the keyring: what was read while nothing could be verified must not be used
 * when it can.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_identity.h"
#include "ks_inval.h"
#include "ks_keyring.h"
#include "ks_plan.h"
#include "ks_tenant.h"

#define CACHED_WORKSPACES	128 /* then the cache starts again */
#define LEAST_PLAN			"free"

/* From the one that gives least to the one that gives most. */
static const char *const ranks[] = {"free", "starter", "pro", "enterprise"};

typedef struct Workspace
{
	struct Workspace *next;
	uint8		id[KS_ID_LEN];
	char	   *plan;			/* NULL: none of its own */
	TimestampTz anchor;
} Workspace;

static MemoryContext cache_context = NULL;
static bool cache_valid = false;
static uint64 cache_generation;
static bool cache_open;
static KsPlanInfo *plans;
static int	n_plans;			/* 0: not loaded */
static Workspace *workspaces;
static int	n_workspaces;
static Oid	watched[2];			/* the tables whose invalidation drops the
								 * cache */

static void
forget_cache(void)
{
	plans = NULL;
	n_plans = 0;
	workspaces = NULL;
	n_workspaces = 0;
	MemoryContextReset(cache_context);
}

/* No relation stands for all of them. */
static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == watched[0] || relid == watched[1])
		cache_valid = false;
}

/* Takes in what others have committed, and drops the cache if it is stale. */
static void
refresh_cache(void)
{
	KsSealStatus status;
	bool		open;

	if (cache_context == NULL)
	{
		ks_inval_register(relcache_changed);
		cache_context = AllocSetContextCreate(TopMemoryContext, "keystone plans", ALLOCSET_SMALL_SIZES);
	}
	AcceptInvalidationMessages();
	ks_keyring_status(&status);
	open = status.state == KS_SEAL_OPEN;
	if (!cache_valid || cache_generation != status.generation || cache_open != open ||
		n_workspaces >= CACHED_WORKSPACES)
	{
		Oid			namespace = get_namespace_oid("keystone", true);

		forget_cache();
		watched[0] = get_relname_relid("plans", namespace);
		watched[1] = get_relname_relid("workspaces", namespace);
		cache_valid = true;
		cache_generation = status.generation;
		cache_open = open;
	}
}

static int
rank_of(const char *name)
{
	for (size_t i = 0; i < lengthof(ranks); i++)
	{
		if (strcmp(ranks[i], name) == 0)
			return (int) i;
	}
	return -1;
}

static int64
number_or_any(uint64 row, int column)
{
	int64		number;

	return ks_col_bigint(row, column, &number) ? number : KS_PLAN_ANY_NUMBER;
}

/* Fills a plan whose memory lies in the cache, as spi.caller does. */
static void
read_plan(const KsSpi *spi, uint64 row, KsPlanInfo *plan)
{
	Datum	   *elements;
	MemoryContext old;

	plan->name = ks_col_text(spi, row, 1);
	plan->rank = rank_of(plan->name);
	plan->rotations = number_or_any(row, 2);
	plan->has_overage = ks_col_bigint(row, 3, &plan->overage_micros);
	plan->members = number_or_any(row, 4);
	plan->workspaces = number_or_any(row, 5);
	plan->hosted_providers = number_or_any(row, 6);
	plan->n_features = ks_arg_get_array(ks_col_array(spi, row, 7), TEXTOID, "features", &elements);
	old = MemoryContextSwitchTo(spi->caller);
	plan->features = palloc0(Max(plan->n_features, 1) * sizeof(char *));
	for (int i = 0; i < plan->n_features; i++)
		plan->features[i] = TextDatumGetCString(elements[i]);
	MemoryContextSwitchTo(old);
}

static void
load_plans(void)
{
	static KsPlan statement = {.sql =
		"SELECT name, rotations, overage_micros, members, workspaces, hosted_providers, features"
		" FROM keystone.plans"
	};
	MemoryContext old = MemoryContextSwitchTo(cache_context);
	KsArgs		args = {0};
	KsSpi		spi;
	KsPlanInfo *list;
	int			n;

	ks_spi_begin(&spi);
	n = (int) ks_spi_read(&statement, &args);
	list = MemoryContextAllocZero(cache_context, Max(n, 1) * sizeof(KsPlanInfo));
	for (int i = 0; i < n; i++)
		read_plan(&spi, i, &list[i]);
	ks_spi_end(&spi);
	MemoryContextSwitchTo(old);
	plans = list;
	n_plans = n;
}

/* In the cache as it is. */
static const KsPlanInfo *
find_plan(const char *name)
{
	if (n_plans == 0)
		load_plans();
	for (int i = 0; i < n_plans; i++)
	{
		if (strcmp(plans[i].name, name) == 0)
			return &plans[i];
	}
	return NULL;
}

/* A plan that there must be. */
static const KsPlanInfo *
get_plan(const char *name)
{
	const KsPlanInfo *plan = find_plan(name != NULL ? name : ks_default_plan);

	if (plan == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("a plan is missing in table keystone.plans"));
	return plan;
}

/*
 * Reads a workspace's row.  While sealed it is believed, so that what only
 * shows numbers shows the right ones; nothing is used then.
 */
static Workspace *
load_workspace(const uint8 id[KS_ID_LEN])
{
	Workspace  *workspace = MemoryContextAllocZero(cache_context, sizeof(Workspace));
	KsWorkspaceRow row = {0};
	bool		valid = ks_tenant_read_workspace(id, &row) || !cache_open;

	memcpy(workspace->id, id, KS_ID_LEN);
	if (!valid)
		workspace->plan = MemoryContextStrdup(cache_context, LEAST_PLAN);
	else if (row.plan != NULL)
		workspace->plan = MemoryContextStrdup(cache_context, row.plan);
	workspace->anchor = row.period_anchor;
	workspace->next = workspaces;
	workspaces = workspace;
	n_workspaces++;
	return workspace;
}

static const Workspace *
find_workspace(const uint8 id[KS_ID_LEN])
{
	for (const Workspace *workspace = workspaces; workspace != NULL; workspace = workspace->next)
	{
		if (memcmp(workspace->id, id, KS_ID_LEN) == 0)
			return workspace;
	}
	return load_workspace(id);
}

const KsPlanInfo *
ks_plan_find(const char *name)
{
	refresh_cache();
	return find_plan(name);
}

const KsPlanInfo *
ks_plan_or_default(const char *name)
{
	refresh_cache();
	return get_plan(name);
}

void
ks_plan_billing(const uint8 workspace[KS_ID_LEN], KsBilling *billing)
{
	const Workspace *found;

	refresh_cache();
	found = find_workspace(workspace);
	billing->anchor = found->anchor;
	billing->plan = get_plan(found->plan);
}

const KsPlanInfo *
ks_plan_of(const uint8 workspace[KS_ID_LEN])
{
	KsBilling	billing;

	ks_plan_billing(workspace, &billing);
	return billing.plan;
}

bool
ks_plan_has(const KsPlanInfo *plan, const char *feature)
{
	for (int i = 0; i < plan->n_features; i++)
	{
		if (strcmp(plan->features[i], feature) == 0)
			return true;
	}
	return false;
}

bool
ks_plan_knows(const char *feature)
{
	refresh_cache();
	if (n_plans == 0)
		load_plans();
	for (int i = 0; i < n_plans; i++)
	{
		if (ks_plan_has(&plans[i], feature))
			return true;
	}
	return false;
}

/* What plans limit besides rotations. */

/* PT429 unless there may be one more of something. */
static void
require_room(const KsPlanInfo *plan, const char *what, int64 number, int64 included)
{
	KsLimited	limited = {.kind = KS_LIMITED_PLAN, .limit = what, .retry_after = -1};

	if (number < included)
		return;
	limited.limit_value = included;
	limited.plan = plan->name;
	limited.used = number;
	ks_error_limited(&limited, ks_identity_over_http());
}

void
ks_plan_check_feature(const uint8 workspace[KS_ID_LEN], const char *feature)
{
	const KsPlanInfo *plan = ks_plan_of(workspace);

	if (!ks_plan_has(plan, feature))
		require_room(plan, feature, 0, 0);
}

static int64
read_count(KsPlan *statement, const KsArgs *args)
{
	KsSpi		spi;
	int64		number = 0;

	ks_spi_begin(&spi);
	(void) ks_spi_read(statement, args);
	(void) ks_col_bigint(0, 1, &number);
	ks_spi_end(&spi);
	return number;
}

/* The platform's own service is in every workspace, on nobody's account. */
void
ks_plan_check_members(const uint8 workspace[KS_ID_LEN], const uint8 newcomer[KS_ID_LEN])
{
	static KsPlan statement = {.sql =
		"SELECT count(*) FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id"
		" WHERE m.workspace_id = $1 AND m.removed_at IS NULL AND p.kind IN ('user', 'service')"
		" AND m.principal_id <> $2 AND m.principal_id IS DISTINCT FROM $3"
	};
	const KsPlanInfo *plan = ks_plan_of(workspace);
	uint8		service[KS_ID_LEN];
	bool		has_service = ks_tenant_platform_service(service);
	KsArgs		args = {0};

	if (plan->members == KS_PLAN_ANY_NUMBER || (has_service && memcmp(service, newcomer, KS_ID_LEN) == 0))
		return;
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, newcomer);
	ks_arg_uuid(&args, has_service ? service : NULL);
	require_room(plan, "members", read_count(&statement, &args), plan->members);
}

void
ks_plan_check_providers(const uint8 workspace[KS_ID_LEN], const char *provider)
{
	static KsPlan statement = {.sql =
		"SELECT count(*) FROM keystone.provider_configs"
		" WHERE workspace_id = $1 AND provider <> $2 AND mode = 'hosted' AND enabled"
	};
	const KsPlanInfo *plan = ks_plan_of(workspace);
	KsArgs		args = {0};

	if (plan->hosted_providers == KS_PLAN_ANY_NUMBER)
		return;
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, provider);
	require_room(plan, "hosted_providers", read_count(&statement, &args), plan->hosted_providers);
}

/* The workspaces that somebody owns; what is purged is none. */
typedef struct Owned
{
	int64		all;
	int64		made;			/* by the owner itself */
	const KsPlanInfo *plan;		/* among theirs the one that includes most;
								 * the default plan when there is none */
} Owned;

static void
count_owned(const uint8 owner[KS_ID_LEN], Owned *result)
{
	static KsPlan statement = {.sql =
		"SELECT " KS_MEMBER_COLUMNS ", " KS_WORKSPACE_COLUMNS ", w.created_by = m.principal_id"
		" FROM keystone.members m JOIN keystone.workspaces w ON w.id = m.workspace_id"
		" WHERE m.principal_id = $1 AND m.removed_at IS NULL AND m.role = 'owner'"
		" AND w.personal_of IS NULL AND w.purged_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	const char **names;

	memset(result, 0, sizeof(*result));
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, owner);
	rows = ks_spi_read(&statement, &args);
	names = MemoryContextAllocZero(spi.caller, Max(rows, 1) * sizeof(char *));
	for (uint64 i = 0; i < rows; i++)
	{
		KsMemberRow member;
		KsWorkspaceRow workspace;

		if (!ks_member_read(&spi, i, 1, &member))
			continue;
		names[result->all++] = ks_workspace_read(&spi, i, 1 + KS_MEMBER_COLUMNS_N, &workspace) ?
			workspace.plan : LEAST_PLAN;
		if (ks_col_bool(i, 1 + KS_MEMBER_COLUMNS_N + KS_WORKSPACE_COLUMNS_N))
			result->made++;
	}
	ks_spi_end(&spi);

	refresh_cache();
	result->plan = get_plan(result->all > 0 ? names[0] : NULL);
	for (int64 i = 1; i < result->all; i++)
	{
		const KsPlanInfo *plan = get_plan(names[i]);

		if (plan->workspaces > result->plan->workspaces)
			result->plan = plan;
	}
}

/* Until the transaction ends nobody else gives this principal a workspace. */
static void
lock_owner(const uint8 owner[KS_ID_LEN])
{
	static KsPlan statement = {.sql = "SELECT 1 FROM keystone.principals WHERE id = $1 FOR NO KEY UPDATE"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, owner);
	(void) ks_spi_write(&statement, &args);
	ks_spi_end(&spi);
}

/*
 * What others have made somebody the owner of does not count here: it would
 * use up the plan of who was not asked.
 */
void
ks_plan_check_workspaces(const uint8 owner[KS_ID_LEN])
{
	Owned		owned;

	count_owned(owner, &owned);
	if (owned.plan->workspaces == KS_PLAN_ANY_NUMBER)
		return;
	lock_owner(owner);
	count_owned(owner, &owned);
	require_room(owned.plan, "workspaces", owned.made, owned.plan->workspaces);
}

/* The refusal does not tell which plan the new owner has, nor what it owns. */
void
ks_plan_check_ownership(const uint8 workspace[KS_ID_LEN], const uint8 owner[KS_ID_LEN])
{
	KsLimited	limited = {.kind = KS_LIMITED_PLAN, .limit = "workspaces", .retry_after = -1};
	int64		included = ks_plan_of(workspace)->workspaces;
	Owned		owned;

	count_owned(owner, &owned);
	if (included == KS_PLAN_ANY_NUMBER || owned.plan->workspaces == KS_PLAN_ANY_NUMBER)
		return;
	lock_owner(owner);
	count_owned(owner, &owned);
	limited.limit_value = Max(included, owned.plan->workspaces);
	if (owned.all >= limited.limit_value)
		ks_error_limited(&limited, ks_identity_over_http());
}
