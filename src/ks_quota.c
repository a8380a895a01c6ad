/*-------------------------------------------------------------------------
 *
 * ks_quota.c
 *	  Quotas: how much of a meter a workspace uses in a period, and the hard
 *	  stop.
 *
 * What must always hold:
 *
 *	- used + reserved of a row never exceeds what its plan stops at: the
 *	  condition stands in the UPDATE that counts, which the row's lock makes
 *	  wait for others and which looks at what they have left;
 *	- a row's overage and cost are the sums of what each use of it added when
 *	  it was counted; another plan later changes nothing of that;
 *	- an idempotency key counts once for a workspace and meter; what was released
 *	  counts nothing, and so has no key any more.
 *
 * Locks: a reservation's row before the row of its quota.  Who counts under an
 * idempotency key has looked for it before, and so does not wait for the row
 * of a reservation that is being ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_near.h"
#include "ks_period.h"
#include "ks_plan.h"
#include "ks_quota.h"

#define RESERVED_FOR		USECS_PER_DAY
#define GRACE				"1 hour"	/* until an ended period is closed */

/* No number: what is added to it in SQL must not overflow. */
#define UNLIMITED			KS_PLAN_ANY_NUMBER

/* What a plan says of a meter. */
typedef struct Terms
{
	int64		included;		/* UNLIMITED */
	int64		stop;			/* no more than that; UNLIMITED */
	int64		price;			/* of each one beyond what is included */
} Terms;

/* The row of a quota, and what it is counted by. */
typedef struct Quota
{
	const uint8 *workspace;
	const char *meter;
	KsPeriod	period;			/* only its beginning counts to find the row */
	Terms		terms;
} Quota;

/* A consumption with an idempotency key, or a reservation. */
typedef struct Event
{
	uint8		id[KS_ID_LEN];
	char	   *meter;
	TimestampTz period_start;
	int64		quantity;
	char	   *state;
	bool		reservation;
	TimestampTz expires_at;		/* of a reservation */
	KsQuotaAnswer answer;
} Event;

/* Plans know rotations.  Another meter is counted without a stop. */
static void
get_terms(const KsPlanInfo *plan, const char *meter, Terms *terms)
{
	terms->included = terms->stop = UNLIMITED;
	terms->price = 0;
	if (strcmp(meter, KS_METER_ROTATIONS) != 0)
		return;
	terms->included = plan->rotations;
	if (plan->has_overage)
		terms->price = plan->overage_micros;
	else
		terms->stop = plan->rotations;
}

/* The row that counts now. */
static void
find_quota(const uint8 *workspace, const char *meter, Quota *quota)
{
	KsBilling	billing;

	ks_plan_billing(workspace, &billing);
	quota->workspace = workspace;
	quota->meter = meter;
	ks_period_at(KS_PERIOD_MONTH, billing.anchor, GetCurrentTimestamp(), &quota->period);
	get_terms(billing.plan, meter, &quota->terms);
}

/* The row in which an event was counted, under the terms of now. */
static void
find_quota_of(const uint8 *workspace, const Event *event, Quota *quota)
{
	quota->workspace = workspace;
	quota->meter = event->meter;
	quota->period.start = event->period_start;
	get_terms(ks_plan_of(workspace), event->meter, &quota->terms);
}


/*-------------------------------------------------------------------------
 * Counting
 *-------------------------------------------------------------------------
 */

/* Arguments 1 to 3 of every statement on one row. */
static void
add_row(KsArgs *args, const Quota *quota)
{
	ks_arg_uuid(args, quota->workspace);
	ks_arg_text(args, quota->meter);
	ks_arg_time(args, true, quota->period.start);
}

/*
 * Runs a statement on one row that returns what is used with what is reserved,
 * and how much of the quantity is beyond what is included.  False when there is
 * no such row, or no room in it.
 */
static bool
count(KsPlan *statement, const KsArgs *args, const Quota *quota, KsQuotaAnswer *answer)
{
	KsSpi		spi;
	bool		counted;

	ks_spi_begin_write(&spi);
	counted = ks_spi_write(statement, args) == 1;
	if (counted)
	{
		(void) ks_col_bigint(0, 1, &answer->used);
		(void) ks_col_bigint(0, 2, &answer->overage);
		answer->cost_micros = answer->overage * quota->terms.price;
	}
	ks_spi_end(&spi);
	return counted;
}

/* How much of $4 is beyond what is included, $5: before and after it is added. */
#define BEYOND_BEFORE(number)	"greatest(0, least($4, " number " + $4 - $5))"
#define BEYOND_AFTER(number)	"greatest(0, least($4, " number " - $5))"

/* Uses what ends where it stops: nothing of it is beyond what is included. */
static bool
use_free(const Quota *quota, int64 quantity, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET used = q.used + $4"
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" AND q.used + q.reserved + $4 <= $5"
		" RETURNING q.used + q.reserved, 0::bigint"
	};
	KsArgs		args = {0};

	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	ks_arg_bigint(&args, true, quota->terms.stop);
	return count(&statement, &args, quota, answer);
}

static bool
use(const Quota *quota, int64 quantity, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET used = q.used + $4,"
		" overage = q.overage + " BEYOND_BEFORE("q.used") ","
		" cost_micros = q.cost_micros + $6 * " BEYOND_BEFORE("q.used")
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" AND q.used + q.reserved + $4 <= $7"
		" RETURNING q.used + q.reserved, " BEYOND_AFTER("q.used")
	};
	KsArgs		args = {0};

	if (quota->terms.included == quota->terms.stop)
		return use_free(quota, quantity, answer);
	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	ks_arg_bigint(&args, true, quota->terms.included);
	ks_arg_bigint(&args, true, quota->terms.price);
	ks_arg_bigint(&args, true, quota->terms.stop);
	return count(&statement, &args, quota, answer);
}

/* What a reservation would cost is told as if all others were used before. */
static bool
hold(const Quota *quota, int64 quantity, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET reserved = q.reserved + $4"
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" AND q.used + q.reserved + $4 <= $6"
		" RETURNING q.used + q.reserved, " BEYOND_AFTER("q.used + q.reserved")
	};
	KsArgs		args = {0};

	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	ks_arg_bigint(&args, true, quota->terms.included);
	ks_arg_bigint(&args, true, quota->terms.stop);
	return count(&statement, &args, quota, answer);
}

/* Uses what is reserved: there is room for it under whatever plan. */
static bool
use_held(const Quota *quota, int64 quantity, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET used = q.used + $4, reserved = q.reserved - $4,"
		" overage = q.overage + " BEYOND_BEFORE("q.used") ","
		" cost_micros = q.cost_micros + $6 * " BEYOND_BEFORE("q.used")
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" RETURNING q.used + q.reserved, " BEYOND_AFTER("q.used")
	};
	KsArgs		args = {0};

	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	ks_arg_bigint(&args, true, quota->terms.included);
	ks_arg_bigint(&args, true, quota->terms.price);
	return count(&statement, &args, quota, answer);
}

/* Gives back what is reserved. */
static bool
unhold(const Quota *quota, int64 quantity, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET reserved = q.reserved - $4"
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" RETURNING q.used + q.reserved, 0::bigint"
	};
	KsArgs		args = {0};

	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	return count(&statement, &args, quota, answer);
}

/* Takes back what use() has done in this transaction. */
static void
unuse(const Quota *quota, int64 quantity, const KsQuotaAnswer *done)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone.quotas AS q SET used = q.used - $4, overage = q.overage - $5, cost_micros = q.cost_micros - $6"
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
		" RETURNING q.used + q.reserved, 0::bigint"
	};
	KsQuotaAnswer ignored;
	KsArgs		args = {0};

	add_row(&args, quota);
	ks_arg_bigint(&args, true, quantity);
	ks_arg_bigint(&args, true, done->overage);
	ks_arg_bigint(&args, true, done->cost_micros);
	(void) count(&statement, &args, quota, &ignored);
}

/* Makes the row of a period in which nothing was used yet. */
static void
make_row(const Quota *quota)
{
	static KsPlan statement = {.sql =
		"INSERT INTO keystone.quotas (workspace_id, meter, period_start, period_end, used)"
		" VALUES ($1, $2, $3, $4, 0) ON CONFLICT (workspace_id, meter, period_start) DO NOTHING"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	add_row(&args, quota);
	ks_arg_time(&args, true, quota->period.end);
	(void) ks_spi_write(&statement, &args);
	ks_spi_end(&spi);
}

/* What is used and reserved, for an answer that refuses. */
static int64
read_used(const Quota *quota)
{
	static KsPlan statement = {.sql =
		"SELECT q.used + q.reserved FROM keystone.quotas q"
		" WHERE q.workspace_id = $1 AND q.meter = $2 AND q.period_start = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		used = 0;

	ks_spi_begin(&spi);
	add_row(&args, quota);
	if (ks_spi_read(&statement, &args) == 1)
		(void) ks_col_bigint(0, 1, &used);
	ks_spi_end(&spi);
	return used;
}

/*
 * Counts a quantity.  No row is updated either because there is none yet or
 * because it is full: the second time tells.  What cannot fit into an empty one
 * does not make it.
 */
static void
count_quantity(const Quota *quota, const KsQuotaAsk *ask, KsQuotaAnswer *answer)
{
	bool		(*add) (const Quota *, int64, KsQuotaAnswer *) = ask->reserve ? hold : use;

	memset(answer, 0, sizeof(*answer));
	answer->limited = quota->terms.included != UNLIMITED;
	answer->included = quota->terms.included;
	answer->allowed = add(quota, ask->quantity, answer);
	if (!answer->allowed && ask->quantity <= quota->terms.stop)
	{
		make_row(quota);
		answer->allowed = add(quota, ask->quantity, answer);
	}
	if (!answer->allowed)
	{
		answer->used = read_used(quota);
		answer->reset_at = quota->period.end;
	}
}


/*-------------------------------------------------------------------------
 * Idempotency keys and reservations
 *-------------------------------------------------------------------------
 */

#define EVENT_COLUMNS \
	"id, meter, period_start, quantity, state, expires_at, overage, cost_micros, used, included"

/* The answer that an event stands for. */
static void
read_event(const KsSpi *spi, Event *event)
{
	KsQuotaAnswer *answer = &event->answer;

	memset(event, 0, sizeof(*event));
	(void) ks_col_uuid(0, 1, event->id);
	event->meter = ks_col_text(spi, 0, 2);
	(void) ks_col_time(0, 3, &event->period_start);
	(void) ks_col_bigint(0, 4, &event->quantity);
	event->state = ks_col_text(spi, 0, 5);
	event->reservation = ks_col_time(0, 6, &event->expires_at);
	(void) ks_col_bigint(0, 7, &answer->overage);
	(void) ks_col_bigint(0, 8, &answer->cost_micros);
	(void) ks_col_bigint(0, 9, &answer->used);
	answer->limited = ks_col_bigint(0, 10, &answer->included);
	answer->allowed = true;
	answer->reserved = event->reservation;
	memcpy(answer->reservation, event->id, KS_ID_LEN);
}

static bool
find_event_of_key(const KsQuotaAsk *ask, Event *event)
{
	static KsPlan statement = {.sql =
		"SELECT " EVENT_COLUMNS " FROM keystone_private.quota_events"
		" WHERE workspace_id = $1 AND meter = $2 AND idempotency_key = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, ask->workspace);
	ks_arg_text(&args, ask->meter);
	ks_arg_text(&args, ask->idempotency_key);
	found = ks_spi_read(&statement, &args) == 1;
	if (found)
		read_event(&spi, event);
	ks_spi_end(&spi);
	return found;
}

/*
 * Writes what was counted.  False when somebody has counted under this key
 * meanwhile: in another period, since within one they wait for each other.
 */
static bool
insert_event(const Quota *quota, const KsQuotaAsk *ask, KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"INSERT INTO keystone_private.quota_events (workspace_id, meter, period_start, id, quantity, overage,"
		" cost_micros, used, included, state, principal_id, idempotency_key, created_at, expires_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING"
	};
	TimestampTz now = GetCurrentTimestamp();
	KsArgs		args = {0};
	KsSpi		spi;
	bool		inserted;

	if (ks_random_uuid(answer->reservation) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	answer->reserved = ask->reserve;
	ks_spi_begin_write(&spi);
	add_row(&args, quota);
	ks_arg_uuid(&args, answer->reservation);
	ks_arg_bigint(&args, true, ask->quantity);
	ks_arg_bigint(&args, true, answer->overage);
	ks_arg_bigint(&args, true, answer->cost_micros);
	ks_arg_bigint(&args, true, answer->used);
	ks_arg_bigint(&args, answer->limited, answer->included);
	ks_arg_text(&args, ask->reserve ? "reserved" : "used");
	ks_arg_uuid(&args, ask->principal);
	ks_arg_text(&args, ask->idempotency_key);
	ks_arg_time(&args, true, now);
	ks_arg_time(&args, ask->reserve, now + RESERVED_FOR);
	inserted = ks_spi_write(&statement, &args) == 1;
	ks_spi_end(&spi);
	return inserted;
}

void
ks_quota_ask(const KsQuotaAsk *ask, KsQuotaAnswer *answer)
{
	Quota		quota;
	Event		event;
	bool		has_key = ask->idempotency_key != NULL;

	if (has_key && find_event_of_key(ask, &event))
	{
		*answer = event.answer;
		return;
	}
	find_quota(ask->workspace, ask->meter, &quota);
	count_quantity(&quota, ask, answer);
	if (!answer->allowed)
	{
		/* Who has filled it up may have been this very key. */
		if (has_key && find_event_of_key(ask, &event))
			*answer = event.answer;
		else
			ks_near_refused(KS_NEAR_QUOTA, ask->workspace, ask->meter, quota.period.start, answer->used, answer->included);
		return;
	}
	if ((!has_key && !ask->reserve) || insert_event(&quota, ask, answer))
		return;

	if (ask->reserve)
		(void) unhold(&quota, ask->quantity, answer);
	else
		unuse(&quota, ask->quantity, answer);

	/* It may have been released just now, when it is of another period. */
	if (!find_event_of_key(ask, &event))
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("could not count because of concurrent changes"));
	*answer = event.answer;
}

bool
ks_quota_find(const uint8 id[KS_ID_LEN], KsReservation *reservation)
{
	static KsPlan statement = {.sql =
		"SELECT workspace_id, meter = '" KS_METER_ROTATIONS "' FROM keystone_private.quota_events"
		" WHERE id = $1 AND expires_at IS NOT NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memcpy(reservation->id, id, KS_ID_LEN);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, id);
	found = ks_spi_read(&statement, &args) == 1 && ks_col_uuid(0, 1, reservation->workspace);
	reservation->of_rotations = found && ks_col_bool(0, 2);
	ks_spi_end(&spi);
	return found;
}

static void
lock_event(const KsReservation *reservation, Event *event)
{
	static KsPlan statement = {.sql =
		"SELECT " EVENT_COLUMNS " FROM keystone_private.quota_events"
		" WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, reservation->workspace);
	ks_arg_uuid(&args, reservation->id);
	if (ks_spi_write(&statement, &args) != 1)
		elog(ERROR, "a reservation is gone");
	read_event(&spi, event);
	ks_spi_end(&spi);
}

/* Writes what became of a reservation. */
static void
end_event(const KsReservation *reservation, const char *state, const KsQuotaAnswer *answer)
{
	static KsPlan statement = {.sql =
		"UPDATE keystone_private.quota_events SET state = $3, overage = $4, cost_micros = $5, used = $6, included = $7,"
		" idempotency_key = CASE WHEN $3 = 'used' THEN idempotency_key END"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, reservation->workspace);
	ks_arg_uuid(&args, reservation->id);
	ks_arg_text(&args, state);
	ks_arg_bigint(&args, true, answer->overage);
	ks_arg_bigint(&args, true, answer->cost_micros);
	ks_arg_bigint(&args, true, answer->used);
	ks_arg_bigint(&args, answer->limited, answer->included);
	(void) ks_spi_write(&statement, &args);
	ks_spi_end(&spi);
}

/* Ends a reservation: counts it, or gives it back. */
static bool
end_reservation(const KsReservation *reservation, bool commit, KsQuotaAnswer *answer)
{
	const char *state = commit ? "used" : "released";
	Event		event;
	Quota		quota;

	lock_event(reservation, &event);
	*answer = event.answer;
	if (strcmp(event.state, state) == 0)
		return true;
	if (strcmp(event.state, "reserved") != 0 || event.expires_at <= GetCurrentTimestamp())
		return false;
	find_quota_of(reservation->workspace, &event, &quota);
	answer->limited = quota.terms.included != UNLIMITED;
	answer->included = quota.terms.included;
	if (!(commit ? use_held : unhold) (&quota, event.quantity, answer))
		elog(ERROR, "the quota of a reservation is gone");
	end_event(reservation, state, answer);
	return true;
}

bool
ks_quota_commit(const KsReservation *reservation, KsQuotaAnswer *answer)
{
	return end_reservation(reservation, true, answer);
}

bool
ks_quota_release(const KsReservation *reservation, KsQuotaAnswer *answer)
{
	return end_reservation(reservation, false, answer);
}


/*-------------------------------------------------------------------------
 * For verbs, and for the housekeeper
 *-------------------------------------------------------------------------
 */

void
ks_quota_use(KsVerb *verb, const uint8 workspace[KS_ID_LEN], const char *meter, int64 quantity)
{
	KsQuotaAsk	ask = {.meter = meter, .quantity = quantity};
	KsQuotaAnswer answer;
	KsLimited	limited = {.kind = KS_LIMITED_PLAN, .limit = meter, .window = "month"};

	memcpy(ask.workspace, workspace, KS_ID_LEN);
	ask.principal = verb->call.actor.source != KS_SOURCE_ANONYMOUS ? verb->call.actor.principal : NULL;
	ks_quota_ask(&ask, &answer);
	if (answer.allowed)
		return;
	limited.limit_value = answer.included;
	limited.remaining = Max(answer.included - answer.used, 0);
	limited.retry_after = (answer.reset_at - GetCurrentTimestamp()) / USECS_PER_SEC + 1;
	limited.reset_at = answer.reset_at;
	limited.plan = ks_plan_of(workspace)->name;
	limited.used = answer.used;
	ks_error_limited(&limited, ks_identity_over_http());
}

/* Marks reservations that have expired; the caller gives their quantities back. */
int
ks_quota_expire(int limit)
{
	static KsPlan statement = {.sql =
		"WITH expired AS ("
		"  SELECT e.workspace_id, e.id FROM keystone_private.quota_events e"
		"  JOIN keystone.quotas q ON q.workspace_id = e.workspace_id AND q.meter = e.meter AND q.period_start = e.period_start"
		"  WHERE e.state = 'reserved' AND e.expires_at <= clock_timestamp()"
		"  ORDER BY e.expires_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),"
		" released AS ("
		"  UPDATE keystone_private.quota_events e SET state = 'released', idempotency_key = NULL FROM expired x"
		"  WHERE e.workspace_id = x.workspace_id AND e.id = x.id"
		"  RETURNING e.workspace_id, e.meter, e.period_start, e.quantity),"
		" given AS ("
		"  UPDATE keystone.quotas q SET reserved = q.reserved - r.quantity"
		"  FROM (SELECT workspace_id, meter, period_start, sum(quantity)::bigint AS quantity"
		"        FROM released GROUP BY workspace_id, meter, period_start) r"
		"  WHERE q.workspace_id = r.workspace_id AND q.meter = r.meter AND q.period_start = r.period_start)"
		" SELECT count(*) FROM released"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		expired = 0;

	ks_spi_begin_write(&spi);
	ks_arg_int(&args, true, limit);
	(void) ks_spi_write(&statement, &args);
	(void) ks_col_bigint(0, 1, &expired);
	ks_spi_end(&spi);
	return (int) expired;
}

int
ks_quota_close(int limit, KsClosedPeriod **periods)
{
	static KsPlan statement = {.sql =
		"WITH ended AS ("
		"  SELECT workspace_id, meter, period_start FROM keystone.quotas"
		"  WHERE closed_at IS NULL AND reserved = 0 AND period_end < clock_timestamp() - interval '" GRACE "'"
		"  ORDER BY period_end LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)"
		" UPDATE keystone.quotas q SET closed_at = clock_timestamp() FROM ended o"
		" WHERE q.workspace_id = o.workspace_id AND q.meter = o.meter AND q.period_start = o.period_start"
		" RETURNING q.workspace_id, q.meter, q.period_start, q.period_end, q.used, q.overage, q.cost_micros"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	ks_arg_int(&args, true, limit);
	n = (int) ks_spi_write(&statement, &args);
	*periods = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsClosedPeriod));
	for (int i = 0; i < n; i++)
	{
		KsClosedPeriod *period = &(*periods)[i];

		(void) ks_col_uuid(i, 1, period->workspace);
		period->meter = ks_col_text(&spi, i, 2);
		(void) ks_col_time(i, 3, &period->start);
		(void) ks_col_time(i, 4, &period->end);
		(void) ks_col_bigint(i, 5, &period->used);
		(void) ks_col_bigint(i, 6, &period->overage);
		(void) ks_col_bigint(i, 7, &period->cost_micros);
	}
	ks_spi_end(&spi);
	return n;
}
