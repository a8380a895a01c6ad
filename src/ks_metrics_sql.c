/*-------------------------------------------------------------------------
 *
 * ks_metrics_sql.c
 *	  Metrics, as rows and in the text format of Prometheus.
 *
 * Names and units are those that Prometheus recommends: base units, _total for
 * what only grows, _seconds; money is in millionths (micros).  No label has
 * more values than there are providers, kinds or states: one with workspaces,
 * principals, or the meters that callers name would grow without bound.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "ks_args.h"
#include "ks_audit.h"
#include "ks_event.h"
#include "ks_keyring.h"
#include "ks_latency.h"
#include "ks_limit.h"
#include "ks_quota.h"
#include "ks_rights.h"
#include "ks_spi.h"

#define MANAGERS	(KS_PROFILE_ADMIN | KS_PROFILE_MONITOR)

/* What samples of one name have in common. */
typedef struct Family
{
	const char *name;
	const char *kind;			/* counter, gauge or histogram */
	const char *help;
} Family;

/* Where samples go: rows, or text. */
typedef struct Output
{
	KsSetResult *rows;			/* NULL: text */
	StringInfoData text;
	const Family *family;		/* of the sample before */
} Output;


/*-------------------------------------------------------------------------
 * Samples
 *-------------------------------------------------------------------------
 */

static void
add_row(KsSetResult *set, const Family *family, const char *suffix, const char *label, const char *label_value,
		double value)
{
	StringInfoData json;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	if (label != NULL)
	{
		escape_json(&json, label);
		appendStringInfoString(&json, ": ");
		escape_json(&json, label_value);
	}
	appendStringInfoChar(&json, '}');
	values[0] = CStringGetTextDatum(psprintf("%s%s", family->name, suffix));
	values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	values[2] = Float8GetDatum(value);
	values[3] = CStringGetTextDatum(family->kind);
	values[4] = CStringGetTextDatum(family->help);
	ks_set_add(set, values, nulls);
}

/* In a label's value three characters have a meaning. */
static void
append_label_value(StringInfo text, const char *value)
{
	for (; *value != '\0'; value++)
	{
		if (*value == '\n')
			appendStringInfoString(text, "\\n");
		else if (*value == '\\' || *value == '"')
			appendStringInfo(text, "\\%c", *value);
		else
			appendStringInfoChar(text, *value);
	}
}

static void
append_line(Output *out, const Family *family, const char *suffix, const char *label, const char *label_value,
			double value)
{
	StringInfo	text = &out->text;

	if (out->family != family)
		appendStringInfo(text, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name, family->kind);
	appendStringInfo(text, "%s%s", family->name, suffix);
	if (label != NULL)
	{
		appendStringInfo(text, "{%s=\"", label);
		append_label_value(text, label_value);
		appendStringInfoString(text, "\"}");
	}
	appendStringInfo(text, " %s\n", float8out_internal(value));
}

/* A sample; label NULL: it has none. */
static void
add_sample(Output *out, const Family *family, const char *suffix, const char *label, const char *label_value,
		   double value)
{
	if (out->rows != NULL)
		add_row(out->rows, family, suffix, label, label_value, value);
	else
		append_line(out, family, suffix, label, label_value, value);
	out->family = family;
}

static void
add_value(Output *out, const Family *family, double value)
{
	add_sample(out, family, "", NULL, NULL, value);
}


/*-------------------------------------------------------------------------
 * From shared memory
 *-------------------------------------------------------------------------
 */

static void
add_durations(Output *out, const KsLatencyCounts *counts)
{
	static const Family family = {"keystone_reveal_duration_seconds", "histogram",
	"Time that calls took which give values out."};
	uint64		calls = 0;

	for (int i = 0; i < KS_LATENCY_BUCKETS; i++)
	{
		const char *end = i < KS_LATENCY_BUCKETS - 1 ? float8out_internal(ks_latency_bound(i)) : "+Inf";

		calls += counts->buckets[i];
		add_sample(out, &family, "_bucket", "le", end, (double) calls);
	}
	add_sample(out, &family, "_sum", NULL, NULL, (double) counts->sum_us / USECS_PER_SEC);
	add_sample(out, &family, "_count", NULL, NULL, (double) calls);
}

static void
add_calls(Output *out)
{
	static const Family reveals = {"keystone_reveals_total", "counter", "Values that were given out."};
	static const Family denials = {"keystone_denials_total", "counter", "Calls that were refused, by SQLSTATE."};
	KsLatencyCounts counts;

	ks_latency_get(&counts);
	add_durations(out, &counts);
	add_value(out, &reveals, (double) counts.reveals);
	for (KsDenialKind kind = 0; kind < KS_DENIAL_KINDS; kind++)
		add_sample(out, &denials, "", "sqlstate", ks_latency_sqlstate(kind), (double) counts.denials[kind]);
}

/* The table of counters is the server's, not this database's. */
static void
add_limits(Output *out)
{
	static const Family hits = {"keystone_limit_hits_total", "counter", "Attempts that a rate limit refused, in all databases."};
	static const Family allowed = {"keystone_limit_allowed_total", "counter", "Attempts that rate limits allowed, in all databases."};
	static const Family overflowed = {"keystone_limit_overflowed_total", "counter",
	"Attempts that found no room for a counter of their own, in all databases."};
	static const Family entries = {"keystone_limit_entries", "gauge", "Counters of rate limits in use, in all databases."};
	static const Family capacity = {"keystone_limit_capacity", "gauge", "Counters of rate limits that there is room for."};
	static const Family blocked = {"keystone_limit_blocked", "gauge", "Keys that are blocked."};
	KsLimitStats stats;

	ks_limit_get_stats(&stats);
	add_value(out, &hits, (double) stats.denied);
	add_value(out, &allowed, (double) stats.allowed);
	add_value(out, &overflowed, (double) stats.overflowed);
	add_value(out, &entries, (double) stats.entries);
	add_value(out, &capacity, (double) stats.capacity);
	add_value(out, &blocked, (double) stats.blocked);
}

static void
add_workers(Output *out)
{
	static const Family sealed = {"keystone_sealed", "gauge", "Whether the vault is sealed."};
	static const Family appender = {"keystone_appender_failures", "gauge", "Times in a row that the appender has ended."};
	static const Family housekeeper = {"keystone_housekeeper_failures", "gauge", "Times in a row that the housekeeper has ended."};
	static const Family batches = {"keystone_audit_failed_batches_total", "counter", "Batches of the audit log that could not be written."};
	KsSealStatus seal;
	KsSlotStatus status = {0};
	int			slot = ks_event_slot_of(MyDatabaseId, false);

	ks_keyring_status(&seal);
	if (slot >= 0)
		ks_event_slot_status(slot, &status);
	add_value(out, &sealed, seal.state == KS_SEAL_OPEN ? 0 : 1);
	add_value(out, &appender, status.workers[KS_APPENDER].failures);
	add_value(out, &housekeeper, status.workers[KS_HOUSEKEEPER].failures);
	add_value(out, &batches, (double) status.log.failures);
}


/*-------------------------------------------------------------------------
 * From tables
 *-------------------------------------------------------------------------
 */

/*
 * One sample for each row of a plan: the label's value (NULL: none), then
 * what each of n families has.
 */
static void
add_rows(Output *out, KsPlan *plan, const char *label, const Family *const *families, int n)
{
	KsArgs		args = {0};
	KsSpi		spi;
	int			rows;
	char	  **names;
	double	   *values;

	ks_spi_begin(&spi);
	rows = (int) ks_spi_read(plan, &args);
	names = MemoryContextAllocZero(spi.caller, (rows + 1) * sizeof(char *));
	values = MemoryContextAllocZero(spi.caller, ((Size) rows * n + 1) * sizeof(double));
	for (int i = 0; i < rows; i++)
	{
		names[i] = label != NULL ? ks_col_text(&spi, i, 1) : NULL;
		for (int f = 0; f < n; f++)
			(void) ks_col_double(i, f + 2, &values[i * n + f]);
	}
	ks_spi_end(&spi);

	for (int f = 0; f < n; f++)
	{
		for (int i = 0; i < rows; i++)
			add_sample(out, families[f], "", label, names[i], values[i * n + f]);
	}
}

static void
add_log(Output *out)
{
	static const Family entries = {"keystone_audit_entries_total", "counter", "Entries of the audit log."};
	static const Family waiting = {"keystone_audit_lag", "gauge", "Changes that are committed and not in the audit log yet."};
	static const Family seconds = {"keystone_audit_lag_seconds", "gauge", "Age of the oldest of these changes."};
	int64		age;
	int64		rows = ks_audit_outbox(&age);

	add_value(out, &entries, (double) ks_audit_last_seq());
	add_value(out, &waiting, (double) rows);
	add_value(out, &seconds, (double) age);
}

/*
 * The first entry of this day in UTC.  Times of entries ascend but for a
 * batch's length, and have no index: their numbers are halved.
 */
static int64
first_of_today(void)
{
	static KsPlan plan = {.sql =
		"SELECT at < date_trunc('day', clock_timestamp(), 'UTC') FROM keystone_private.audit_entries"
		" WHERE seq >= $1 ORDER BY seq LIMIT 1"
	};
	int64		low = 1;
	int64		high = ks_audit_last_seq() + 1;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;
		KsArgs		args = {0};
		KsSpi		spi;
		bool		before;

		ks_spi_begin(&spi);
		ks_arg_bigint(&args, true, middle);
		before = ks_spi_read(&plan, &args) == 1 && ks_col_bool(0, 1);
		ks_spi_end(&spi);
		if (before)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Goes from one actor to the next in the index, whatever each has done. */
static void
add_active(Output *out)
{
	static const Family active = {"keystone_active_principals", "gauge", "Principals with an entry in the audit log of this day, UTC."};
	static KsPlan plan = {.sql =
		"WITH RECURSIVE a (id) AS ("
		"  (SELECT actor_id FROM keystone_private.audit_entries WHERE actor_id IS NOT NULL ORDER BY actor_id LIMIT 1)"
		"  UNION ALL SELECT (SELECT e.actor_id FROM keystone_private.audit_entries e"
		"   WHERE e.actor_id > a.id ORDER BY e.actor_id LIMIT 1) FROM a WHERE a.id IS NOT NULL)"
		" SELECT count(*) FROM a WHERE a.id IS NOT NULL"
		" AND EXISTS (SELECT FROM keystone_private.audit_entries e WHERE e.actor_id = a.id AND e.seq >= $1)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		count = 0;

	ks_arg_bigint(&args, true, first_of_today());
	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
		(void) ks_col_bigint(0, 1, &count);
	ks_spi_end(&spi);
	add_value(out, &active, (double) count);
}

static void
add_objects(Output *out)
{
	static const Family workspaces = {"keystone_workspaces", "gauge", "Workspaces, by status."};
	static const Family credentials = {"keystone_credentials", "gauge", "Credentials that are not deleted."};
	static const Family *const of_workspaces[] = {&workspaces};
	static const Family *const of_credentials[] = {&credentials};
	static KsPlan count_workspaces = {.sql =
		"SELECT s.status, count(w.id)::float8 FROM unnest(ARRAY['active', 'trial', 'suspended', 'cancelled']) s (status)"
		" LEFT JOIN keystone.workspaces w ON w.status = s.status GROUP BY s.status ORDER BY s.status"
	};
	static KsPlan count_credentials = {.sql =
		"SELECT NULL::text, count(*)::float8 FROM keystone_private.credentials WHERE deleted_at IS NULL"
	};

	add_rows(out, &count_workspaces, "status", of_workspaces, lengthof(of_workspaces));
	add_rows(out, &count_credentials, NULL, of_credentials, lengthof(of_credentials));
}

/*
 * A counter must not go down, so what corrections give back is another one.
 * Both begin again with each month, which a scraper takes for a restart: the
 * sum of all times would be read again and again.
 */
static void
add_usage(Output *out)
{
	static const Family cost = {"keystone_usage_cost_micros_total", "counter",
	"Cost of usage by provider since the month began, UTC, in millionths of the currency unit."};
	static const Family corrected = {"keystone_usage_corrected_micros_total", "counter",
	"What corrections took back of it."};
	static const Family operations = {"keystone_usage_operations_total", "counter",
	"Operations, or other units of usage, by provider since the month began, UTC."};
	static const Family *const families[] = {&cost, &corrected, &operations};
	static KsPlan plan = {.sql =
		"SELECT e.provider, coalesce(sum(e.cost_micros) FILTER (WHERE e.quantity > 0), 0)::float8,"
		" coalesce(-sum(e.cost_micros) FILTER (WHERE e.quantity < 0), 0)::float8,"
		" coalesce(sum(e.quantity) FILTER (WHERE e.quantity > 0), 0)::float8"
		" FROM keystone.workspaces w JOIN keystone.usage_events e ON e.workspace_id = w.id"
		" AND e.created_at >= (SELECT date_trunc('month', clock_timestamp(), 'UTC'))"
		" GROUP BY e.provider ORDER BY e.provider"
	};

	add_rows(out, &plan, "provider", families, lengthof(families));
}

static void
add_quotas(Output *out)
{
	static const Family used = {"keystone_quota_used", "gauge", "What all workspaces have used of a meter in their running periods."};
	static const Family alerts = {"keystone_alerts_total", "counter", "Alerts, by kind."};
	static const Family *const of_quotas[] = {&used};
	static const Family *const of_alerts[] = {&alerts};
	static KsPlan sum_quotas = {.sql =
		"SELECT CASE WHEN meter = '" KS_METER_ROTATIONS "' THEN meter ELSE 'other' END, sum(used)::float8 FROM keystone.quotas"
		" WHERE closed_at IS NULL AND clock_timestamp() >= period_start AND clock_timestamp() < period_end"
		" GROUP BY 1 ORDER BY 1"
	};
	static KsPlan count_alerts = {.sql =
		"SELECT k.kind, count(a.kind)::float8 FROM unnest(ARRAY['budget', 'limit', 'quota']) k (kind)"
		" LEFT JOIN keystone_private.alerts a ON a.kind = k.kind GROUP BY k.kind ORDER BY k.kind"
	};

	add_rows(out, &sum_quotas, "meter", of_quotas, lengthof(of_quotas));
	add_rows(out, &count_alerts, "kind", of_alerts, lengthof(of_alerts));
}

static void
add_all(Output *out)
{
	add_calls(out);
	add_limits(out);
	add_workers(out);
	add_log(out);
	add_active(out);
	add_objects(out);
	add_usage(out);
	add_quotas(out);
}


/*-------------------------------------------------------------------------
 * SQL
 *-------------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(ks_fn_metric_samples);
/* keystone_private.metric_samples() returns setof (name, labels, value, kind, help) */
Datum
ks_fn_metric_samples(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSetResult set;
	Output		out = {.rows = &set};

	ks_enter(&call, MANAGERS);
	ks_set_begin(fcinfo, false, &set);
	add_all(&out);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_metrics_text);
/* metrics_text() returns "text/plain" */
Datum
ks_fn_metrics_text(PG_FUNCTION_ARGS)
{
	KsCall		call;
	Output		out = {0};

	(void) fcinfo;
	ks_enter(&call, MANAGERS);
	initStringInfo(&out.text);
	add_all(&out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.text.data, out.text.len));
}
