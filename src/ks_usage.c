/*-------------------------------------------------------------------------
 *
 * ks_usage.c
 *	  Usage of providers and what it costs, budgets, and alerts.
 *
 * What must always hold:
 *
 *	- what a budget has spent in a period is the sum of its workspace's events
 *	  that carry a time in it.  So an event and its charge are made with one
 *	  time, and whoever makes a budget waits for the events that do not know of
 *	  it yet: recording takes the workspace's lock of budgets shared, between
 *	  adding the event and reading the budgets, and setting one takes it alone;
 *	- a hard stop is decided by the statement that adds the cost;
 *	- corrections of an event together give back no more than it was;
 *	- budgets of a workspace are charged in the order of their names, after the
 *	  event: two callers never wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_jsonb.h"
#include "ks_lookup.h"
#include "ks_near.h"
#include "ks_period.h"
#include "ks_plan.h"
#include "ks_quota.h"
#include "ks_text.h"
#include "ks_usage.h"

#define ALERT_BATCH		100		/* alerts in one transaction */
#define BUDGETS_MAX		3		/* of a workspace: day, month, week */


KS_NORETURN static void out_of_range(const char *message) KS_NORETURN_END;

/* message is a constant. */
static void
out_of_range(const char *message)
{
	ereport(ERROR,
			errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			errmsg("%s", message));
}


/*-------------------------------------------------------------------------
 * Cost
 *-------------------------------------------------------------------------
 */

/* The event that a correction is about. */
typedef struct Corrected
{
	TimestampTz at;
	int64		quantity;
	int64		cost;
} Corrected;

/* 22023 when there is none of this workspace and provider. */
static void
read_corrected(const KsUsage *usage, Corrected *event)
{
	static KsPlan plan = {.sql =
		"SELECT created_at, quantity, cost_micros FROM keystone.usage_events"
		" WHERE workspace_id = $1 AND id = $2 AND provider = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, usage->workspace);
	ks_arg_uuid(&args, usage->corrects);
	ks_arg_text(&args, usage->provider);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_time(0, 1, &event->at) &&
		ks_col_bigint(0, 2, &event->quantity) && ks_col_bigint(0, 3, &event->cost);
	ks_spi_end(&spi);
	if (!found)
		ks_error_invalid("context", "an object whose \"corrects\" is an event of this workspace and provider", NULL);
}

/*
 * Adds a correction to those that its event has had.  All together give back no
 * more than it used and cost; the statement that adds decides.
 */
static void
note_correction(const KsUsage *usage, int64 cost, const Corrected *event)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.usage_corrections AS c (workspace_id, event_id, quantity, cost_micros)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT (workspace_id, event_id) DO UPDATE"
		" SET quantity = c.quantity + excluded.quantity, cost_micros = c.cost_micros + excluded.cost_micros"
		" WHERE excluded.quantity <= $5 - c.quantity AND excluded.cost_micros <= $6 - c.cost_micros"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		fits = usage->quantity >= -event->quantity && cost >= -event->cost;

	if (fits)
	{
		ks_spi_begin_write(&spi);
		ks_arg_uuid(&args, usage->workspace);
		ks_arg_uuid(&args, usage->corrects);
		ks_arg_bigint(&args, true, -usage->quantity);
		ks_arg_bigint(&args, true, -cost);
		ks_arg_bigint(&args, true, event->quantity);
		ks_arg_bigint(&args, true, event->cost);
		fits = ks_spi_write(&plan, &args) == 1;
		ks_spi_end(&spi);
	}
	if (!fits)
		ks_error_invalid("quantity", "no more than is left of the corrected event, in quantity and cost",
						 "Say cost_micros when the event had another cost than the provider's price.");
}

/* The catalogue's price of a provider, 0 when it has none; false when there is
 * no such provider, neither there nor among those that were defined. */
static bool
find_provider(Snapshot snapshot, const char *provider, int64 *price)
{
	static KsIndex catalogue = {.schema = "keystone_private", .table = "provider_catalogue", .index = "provider_catalogue_pkey"};
	static KsIndex definitions = {.schema = "keystone_private", .table = "provider_definitions", .index = "provider_definitions_pkey"};
	KsLookup	lookup;
	bool		found;

	*price = 0;
	ks_lookup_begin(&lookup, &catalogue, snapshot);
	ks_lookup_by_text(&lookup, 1, provider);
	found = ks_lookup_next(&lookup);
	if (found)
		(void) ks_lookup_bigint(&lookup, 7, price);
	ks_lookup_end(&lookup);
	if (found)
		return true;

	ks_lookup_begin(&lookup, &definitions, snapshot);
	ks_lookup_by_text(&lookup, 1, provider);
	found = ks_lookup_next(&lookup);
	ks_lookup_end(&lookup);
	return found;
}

/*
 * The last price that was set until a time; leaves *price when none was.
 * Returns until when it holds.
 */
static TimestampTz
find_price(Snapshot snapshot, const char *provider, TimestampTz at, int64 *price)
{
	static KsIndex prices = {.schema = "keystone_private", .table = "provider_prices", .index = "provider_prices_pkey"};
	TimestampTz latest = DT_NOBEGIN;
	TimestampTz next = DT_NOEND;
	TimestampTz valid_from;
	KsLookup	lookup;

	ks_lookup_begin(&lookup, &prices, snapshot);
	ks_lookup_by_text(&lookup, 1, provider);
	while (ks_lookup_next(&lookup))
	{
		(void) ks_lookup_time(&lookup, 2, &valid_from);
		if (valid_from > at)
			next = Min(next, valid_from);
		else if (valid_from >= latest)
		{
			latest = valid_from;
			(void) ks_lookup_bigint(&lookup, 3, price);
		}
	}
	ks_lookup_end(&lookup);
	return next;
}

/*
 * The provider's price at a time.  22023 when there is no such provider.  The
 * last answer is kept; triggers on the tables of providers and prices drop it
 * through the relcache.
 */
static int64
price_at(const char *provider, TimestampTz at)
{
	static struct
	{
		uint64		seen;		/* count of invalidations */
		char		provider[KS_PROVIDER_MAX + 1];
		TimestampTz from;
		TimestampTz until;
		int64		price;
	}			kept;
	uint64		seen;
	Snapshot	snapshot;

	AcceptInvalidationMessages();
	seen = ks_lookup_invalidations();
	if (kept.seen == seen && kept.from <= at && at < kept.until && strcmp(kept.provider, provider) == 0)
		return kept.price;

	kept.seen = 0;
	snapshot = ks_spi_take_snapshot();
	if (!find_provider(snapshot, provider, &kept.price))
		ks_error_invalid("provider", "one of keystone.providers", NULL);
	kept.until = find_price(snapshot, provider, at, &kept.price);
	ks_spi_drop_snapshot(snapshot);
	kept.from = at;
	strlcpy(kept.provider, provider, sizeof(kept.provider));
	kept.seen = seen;
	return kept.price;
}

/* A correction takes back what an operation cost at the time of its event. */
static int64
cost_of(const KsUsage *usage, TimestampTz at)
{
	int64		price = price_at(usage->provider, at);
	int64		cost;

	if (usage->has_cost)
		return usage->cost_micros;
	if (pg_mul_s64_overflow(usage->quantity, price, &cost))
		out_of_range("the cost of the usage is out of range");
	return cost;
}


/*-------------------------------------------------------------------------
 * Events
 *-------------------------------------------------------------------------
 */

char *
ks_usage_context(const Jsonb *context, const char *key)
{
	return ks_jsonb_text(&context->root, key);
}

/* The event that has an idempotency key already. */
static void
find_by_key(const KsUsage *usage, uint8 id[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT id FROM keystone.usage_events WHERE workspace_id = $1 AND provider = $2 AND idempotency_key = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, usage->workspace);
	ks_arg_text(&args, usage->provider);
	ks_arg_text(&args, usage->idempotency_key);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	if (!found)
		elog(ERROR, "the event of an idempotency key is gone");
}

/* Adds the event; false when its key is there already. */
static bool
add_event(const KsUsage *usage, int64 cost, TimestampTz now, const uint8 id[KS_ID_LEN])
{
#define ADD_EVENT \
	"INSERT INTO keystone.usage_events (workspace_id, id, provider, principal_id, quantity, cost_micros," \
	" workflow, context, idempotency_key, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	static KsPlan add = {.sql = ADD_EVENT};
	static KsPlan add_once = {.sql =
		ADD_EVENT " ON CONFLICT (workspace_id, provider, idempotency_key)"
		" WHERE idempotency_key IS NOT NULL DO NOTHING"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		added;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, usage->workspace);
	ks_arg_uuid(&args, id);
	ks_arg_text(&args, usage->provider);
	ks_arg_uuid(&args, usage->principal);
	ks_arg_bigint(&args, true, usage->quantity);
	ks_arg_bigint(&args, true, cost);
	ks_arg_text(&args, ks_usage_context(usage->context, "workflow"));
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(usage->context));
	ks_arg_text(&args, usage->idempotency_key);
	ks_arg_time(&args, true, now);
	added = ks_spi_write(usage->idempotency_key != NULL ? &add_once : &add, &args) == 1;
	ks_spi_end(&spi);
	return added;
}


/*-------------------------------------------------------------------------
 * Budgets
 *-------------------------------------------------------------------------
 */

typedef struct Budget
{
	char	   *name;			/* of its period */
	bool		has_hard;
	int64		hard;
	KsPeriod	period;			/* the present one */
} Budget;

/* Until the transaction ends. */
static void
lock_budgets(const uint8 workspace[KS_ID_LEN], LOCKMODE mode)
{
	Oid			budgets = get_relname_relid("budgets", get_namespace_oid("keystone", false));

	LockDatabaseObject(budgets, hash_bytes(workspace, KS_ID_LEN), 0, mode);
}

/* In the order of their names, which is that of the index. */
static int
read_budgets(const uint8 workspace[KS_ID_LEN], Budget budgets[BUDGETS_MAX])
{
	static KsIndex index = {.schema = "keystone", .table = "budgets", .index = "budgets_pkey"};
	Snapshot	snapshot = ks_spi_take_snapshot();
	KsLookup	lookup;
	int			n = 0;

	ks_lookup_begin(&lookup, &index, snapshot);
	ks_lookup_by_uuid(&lookup, 1, workspace);
	while (n < BUDGETS_MAX && ks_lookup_next(&lookup))
	{
		budgets[n].name = ks_lookup_text(&lookup, 2);
		budgets[n].has_hard = ks_lookup_bigint(&lookup, 4, &budgets[n].hard);
		n++;
	}
	ks_lookup_end(&lookup);
	ks_spi_drop_snapshot(snapshot);
	return n;
}

static void
find_period(const char *name, TimestampTz anchor, TimestampTz at, KsPeriod *period)
{
	KsPeriodKind kind;

	if (!ks_period_kind(name, &kind))
		elog(ERROR, "a budget has an unknown period");
	ks_period_at(kind, anchor, at, period);
}

/* What was spent in a period; false when nothing was counted yet. */
static bool
read_spent(const uint8 workspace[KS_ID_LEN], const char *name, const KsPeriod *period, int64 *spent)
{
	static KsPlan plan = {.sql =
		"SELECT spent_micros FROM keystone.budget_spending WHERE workspace_id = $1 AND period = $2 AND period_start = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	*spent = 0;
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	ks_arg_time(&args, true, period->start);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_bigint(0, 1, spent);
	ks_spi_end(&spi);
	return found;
}

/*
 * Adds a cost to what was spent, unless that was less than low or more than
 * high before.  The row is there but for the first event of a period.
 */
static bool
add_spending(const uint8 workspace[KS_ID_LEN], const Budget *budget, int64 cost, int64 low, int64 high)
{
	static KsPlan update = {.sql =
		"UPDATE keystone.budget_spending SET spent_micros = spent_micros + $4"
		" WHERE workspace_id = $1 AND period = $2 AND period_start = $3 AND spent_micros BETWEEN $5 AND $6"
	};
	static KsPlan begin = {.sql =
		"INSERT INTO keystone.budget_spending AS s (workspace_id, period, period_start, period_end, spent_micros)"
		" SELECT $1, $2, $3, $7, $4 WHERE 0 BETWEEN $5 AND $6"
		" ON CONFLICT (workspace_id, period, period_start) DO UPDATE SET spent_micros = s.spent_micros + excluded.spent_micros"
		" WHERE s.spent_micros BETWEEN $5 AND $6"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		added;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, budget->name);
	ks_arg_time(&args, true, budget->period.start);
	ks_arg_bigint(&args, true, cost);
	ks_arg_bigint(&args, true, low);
	ks_arg_bigint(&args, true, high);
	added = ks_spi_write(&update, &args) == 1;
	if (!added)
	{
		ks_arg_time(&args, true, budget->period.end);
		added = ks_spi_write(&begin, &args) == 1;
	}
	ks_spi_end(&spi);
	return added;
}

KS_NORETURN static void refuse_cost(const uint8 workspace[KS_ID_LEN], const Budget *budget, int64 cost,
									TimestampTz now) KS_NORETURN_END;

static void
refuse_cost(const uint8 workspace[KS_ID_LEN], const Budget *budget, int64 cost, TimestampTz now)
{
	KsLimited	limited = {.kind = KS_LIMITED_BUDGET, .limit = "budget", .window = budget->name};
	int64		spent;

	(void) read_spent(workspace, budget->name, &budget->period, &spent);
	if (!budget->has_hard || cost < 0)
		out_of_range("what the budget has spent would be out of range");

	ks_near_refused(KS_NEAR_BUDGET, workspace, budget->name, budget->period.start, spent, budget->hard);
	limited.limit_value = budget->hard;
	limited.used = spent;
	if (spent >= budget->hard)
		limited.remaining = 0;
	else if (pg_sub_s64_overflow(budget->hard, spent, &limited.remaining))
		limited.remaining = PG_INT64_MAX;
	limited.reset_at = budget->period.end;
	limited.retry_after = cost > budget->hard ? -1 :
		(budget->period.end - now + USECS_PER_SEC - 1) / USECS_PER_SEC;
	ks_error_limited(&limited, ks_identity_over_http());
}

static void
charge_budget(const uint8 workspace[KS_ID_LEN], const Budget *budget, int64 cost, TimestampTz now)
{
	int64		low = PG_INT64_MIN;
	int64		high = PG_INT64_MAX;

	if (cost < 0)
		low -= cost;
	else if (cost > 0)
		high = (budget->has_hard ? budget->hard : PG_INT64_MAX) - cost;
	if (!add_spending(workspace, budget, cost, low, high))
		refuse_cost(workspace, budget, cost, now);
}

static void
charge_budgets(const uint8 workspace[KS_ID_LEN], int64 cost, TimestampTz now)
{
	Budget		budgets[BUDGETS_MAX];
	KsBilling	billing;
	int			n;

	lock_budgets(workspace, ShareLock);
	n = read_budgets(workspace, budgets);
	if (n == 0)
		return;
	ks_plan_billing(workspace, &billing);
	for (int i = 0; i < n; i++)
	{
		find_period(budgets[i].name, billing.anchor, now, &budgets[i].period);
		charge_budget(workspace, &budgets[i], cost, now);
	}
}

void
ks_usage_record(const KsUsage *usage, uint8 id[KS_ID_LEN])
{
	TimestampTz now = GetCurrentTimestamp();
	Corrected	corrected = {.at = now};
	int64		cost;

	if (usage->corrects != NULL)
		read_corrected(usage, &corrected);
	cost = cost_of(usage, corrected.at);
	if (ks_random_uuid(id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	if (!add_event(usage, cost, now, id))
	{
		find_by_key(usage, id);
		return;
	}
	if (usage->corrects != NULL)
		note_correction(usage, cost, &corrected);
	charge_budgets(usage->workspace, cost, now);
}

/* A budget that is cleared before it was set needs no row. */
static void
write_budget(const KsBudget *budget, TimestampTz now)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.budgets AS b (workspace_id, period, soft_micros, hard_micros, updated_by, updated_at)"
		" SELECT $1, $2, $3, $4, $5, $6 WHERE $3 IS NOT NULL OR $4 IS NOT NULL"
		" OR EXISTS (SELECT FROM keystone.budgets e WHERE e.workspace_id = $1 AND e.period = $2)"
		" ON CONFLICT (workspace_id, period) DO UPDATE SET soft_micros = excluded.soft_micros,"
		" hard_micros = excluded.hard_micros, updated_by = excluded.updated_by, updated_at = excluded.updated_at"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, budget->workspace);
	ks_arg_text(&args, budget->period);
	ks_arg_bigint(&args, budget->has_soft, budget->soft_micros);
	ks_arg_bigint(&args, budget->has_hard, budget->hard_micros);
	ks_arg_uuid(&args, budget->by);
	ks_arg_time(&args, true, now);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* Sums up the events of a period that nothing was counted in yet.  A sum that
 * is out of range must not keep anybody from setting a budget. */
static void
begin_spending(const uint8 workspace[KS_ID_LEN], const char *name, const KsPeriod *period)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.budget_spending (workspace_id, period, period_start, period_end, spent_micros)"
		" SELECT b.workspace_id, b.period, $3, $4,"
		" (SELECT least(greatest(coalesce(sum(e.cost_micros), 0), -9223372036854775807), 9223372036854775807)::bigint"
		"  FROM keystone.usage_events e WHERE e.workspace_id = $1 AND e.created_at >= $3 AND e.created_at < $4)"
		" FROM keystone.budgets b WHERE b.workspace_id = $1 AND b.period = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	ks_arg_time(&args, true, period->start);
	ks_arg_time(&args, true, period->end);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_usage_set_budget(const KsBudget *budget)
{
	KsBilling	billing;
	KsPeriod	period;
	TimestampTz now;
	int64		spent;

	lock_budgets(budget->workspace, ExclusiveLock);
	now = GetCurrentTimestamp();
	ks_plan_billing(budget->workspace, &billing);
	find_period(budget->period, billing.anchor, now, &period);
	write_budget(budget, now);
	if (!read_spent(budget->workspace, budget->period, &period, &spent))
		begin_spending(budget->workspace, budget->period, &period);
}


/*-------------------------------------------------------------------------
 * Alerts
 *-------------------------------------------------------------------------
 */

typedef struct Alert
{
	uint8		workspace[KS_ID_LEN];
	char	   *kind;
	char	   *subject;
	TimestampTz period_start;
	int32		threshold;
	int64		used;
	int64		allowed;
} Alert;

/*
 * Columns of alerts that were reached and are not there yet.  A budget is near
 * its end when the soft amount is spent, or without one the same share of the
 * hard one as for everything else.
 */
#define INSERT_ALERTS \
	"INSERT INTO keystone_private.alerts (workspace_id, kind, subject, period_start, threshold, used, allowed, created_at)" \
	" SELECT r.workspace_id, r.kind, r.subject, r.period_start, r.threshold, r.used, r.allowed, $1 FROM ("
#define UNLESS_THERE \
	") r WHERE NOT EXISTS (SELECT FROM keystone_private.alerts a WHERE a.workspace_id = r.workspace_id" \
	" AND a.kind = r.kind AND a.subject = r.subject AND a.period_start = r.period_start AND a.threshold = r.threshold)" \
	" LIMIT $3 ON CONFLICT DO NOTHING" \
	" RETURNING workspace_id, kind, subject, period_start, threshold, used, allowed"

static KsPlan budget_alerts = {.sql =
	INSERT_ALERTS
	"SELECT b.workspace_id, 'budget' AS kind, b.period AS subject, s.period_start, t.threshold,"
	" s.spent_micros AS used, coalesce(b.hard_micros, b.soft_micros) AS allowed"
	" FROM keystone.budgets b CROSS JOIN LATERAL (SELECT s.period_start, s.period_end, s.spent_micros"
	"  FROM keystone.budget_spending s WHERE s.workspace_id = b.workspace_id AND s.period = b.period"
	"  ORDER BY s.period_start DESC LIMIT 1) s"
	" CROSS JOIN LATERAL (VALUES ($2, coalesce(b.soft_micros::numeric, ceil(b.hard_micros::numeric * $2 / 100))),"
	"  (100, b.hard_micros::numeric)) t (threshold, at)"
	" WHERE s.period_end > $1 AND s.spent_micros >= t.at AND s.spent_micros > 0"
	UNLESS_THERE
};

static KsPlan quota_alerts = {.sql =
	INSERT_ALERTS
	"SELECT q.workspace_id, 'quota' AS kind, q.meter AS subject, q.period_start, t.threshold, q.used, p.rotations AS allowed"
	" FROM keystone.workspaces w JOIN keystone.plans p ON p.name = coalesce(w.plan, $4)"
	" CROSS JOIN LATERAL (SELECT * FROM keystone.quotas q WHERE q.workspace_id = w.id AND q.meter = '" KS_METER_ROTATIONS "'"
	"  ORDER BY q.period_start DESC LIMIT 1) q"
	" CROSS JOIN (VALUES ($2), (100)) t (threshold)"
	" WHERE q.period_end > $1 AND q.used > 0 AND q.used::numeric * 100 >= p.rotations::numeric * t.threshold"
	UNLESS_THERE
};

/* Of notes that were left: $2 to $8. */
static KsPlan noted_alert = {.sql =
	"INSERT INTO keystone_private.alerts (workspace_id, kind, subject, period_start, threshold, used, allowed, created_at)"
	" VALUES ($2, $3, $4, $5, $6, $7, $8, $1) ON CONFLICT DO NOTHING"
	" RETURNING workspace_id, kind, subject, period_start, threshold, used, allowed"
};

/* The notes that are being written: given up when that is committed. */
static KsNear notes[KS_NEAR_MAX];
static int	n_notes = 0;

/* Runs one of the plans above; alerts receives what is new.  Returns how many. */
static int
find_alerts(KsPlan *plan, KsArgs *args, Alert **alerts)
{
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	n = (int) ks_spi_write(plan, args);
	*alerts = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(Alert));
	for (int i = 0; i < n; i++)
	{
		Alert	   *alert = &(*alerts)[i];

		(void) ks_col_uuid(i, 1, alert->workspace);
		alert->kind = ks_col_text(&spi, i, 2);
		alert->subject = ks_col_text(&spi, i, 3);
		(void) ks_col_time(i, 4, &alert->period_start);
		(void) ks_col_int(i, 5, &alert->threshold);
		(void) ks_col_bigint(i, 6, &alert->used);
		(void) ks_col_bigint(i, 7, &alert->allowed);
	}
	ks_spi_end(&spi);
	return n;
}

/* Wakes who listens, which any role may: what it is about is for those to see
 * who may read the view. */
static void
notify_alert(const Alert *alert)
{
	Async_Notify("keystone_alerts", psprintf("{\"kind\": \"%s\", \"threshold\": %d}", alert->kind, alert->threshold));
}

/* Nobody in particular has reached it: the entry's actor is the log's own. */
static void
write_alert(const Alert *alert)
{
	static const int utc = 0;
	char		period_start[MAXDATELEN + 1];
	KsDraft		draft;

	ks_draft_begin_own(&draft, KS_ACTION_LIMIT_NEAR);
	memcpy(draft.event.workspace, alert->workspace, KS_ID_LEN);
	JsonEncodeDateTime(period_start, TimestampTzGetDatum(alert->period_start), TIMESTAMPTZOID, &utc);
	ks_detail_add(&draft.detail, "kind", alert->kind);
	ks_detail_add(&draft.detail, "subject", alert->subject);
	ks_detail_add(&draft.detail, "period_start", period_start);
	ks_detail_add(&draft.detail, "threshold", psprintf("%d", alert->threshold));
	ks_detail_add(&draft.detail, "used", psprintf(INT64_FORMAT, alert->used));
	ks_detail_add(&draft.detail, "allowed", psprintf(INT64_FORMAT, alert->allowed));
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
	notify_alert(alert);
}

/* Returns whether the batch was full. */
static bool
note(KsPlan *plan, KsArgs *args)
{
	Alert	   *alerts;
	int			n = find_alerts(plan, args, &alerts);

	for (int i = 0; i < n; i++)
		write_alert(&alerts[i]);
	return n == ALERT_BATCH;
}

/* The same for what has left a note. */
static bool
note_notes(TimestampTz now)
{
	/* by KsNearKind */
	static const char *const kinds[] = {"limit", "quota", "budget"};

	n_notes = ks_near_take(notes);
	for (int i = 0; i < n_notes; i++)
	{
		const KsNear *near = &notes[i];
		KsArgs		args = {0};

		ks_arg_time(&args, true, now);
		ks_arg_uuid(&args, near->workspace);
		ks_arg_text(&args, kinds[near->kind]);
		ks_arg_text(&args, near->kind == KS_NEAR_LIMIT ? psprintf("%s/%s", near->limit, near->window) : near->limit);
		ks_arg_time(&args, true, near->period_start);
		ks_arg_int(&args, true, (int32) near->threshold);
		ks_arg_bigint(&args, true, near->used);
		ks_arg_bigint(&args, true, near->allowed);
		(void) note(&noted_alert, &args);
	}
	return n_notes == KS_NEAR_MAX;
}

void
ks_usage_alerts_noted(void)
{
	ks_near_give_up(notes, n_notes);
	n_notes = 0;
}

bool
ks_usage_note_alerts(void)
{
	TimestampTz now = GetCurrentTimestamp();
	KsArgs		args = {0};
	bool		more = note_notes(now);

	ks_arg_time(&args, true, now);
	ks_arg_int(&args, true, ks_near_soft);
	ks_arg_int(&args, true, ALERT_BATCH);
	more |= note(&budget_alerts, &args);
	ks_arg_text(&args, ks_default_plan);
	return note(&quota_alerts, &args) || more;
}
