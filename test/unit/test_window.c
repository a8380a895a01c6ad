/*-------------------------------------------------------------------------
 *
 * test_window.c
 *	  Tests of ks_window against an exact list of what was charged, in random
 *	  traces.
 *
 * A trace's oracle knows the true time, which only goes forward; the clock
 * that ks_window is shown may step back.  Then whatever ks_window allows is
 * held against the true times.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdlib.h>

#include "ks_window.h"

#define SECOND			INT64_C(1000000)
#define DAY				(86400 * SECOND)
#define MONTH			(30 * DAY)

/* 2026, as TimestampTz has it */
#define BEGIN			INT64_C(820454400000000)

#define TRACES			300
#define STEPS			400
#define TRACES_SOAK		20000

__extension__ typedef unsigned __int128 Wide;

static int
traces(void)
{
	return unit_soak ? TRACES_SOAK : TRACES;
}

static uint64
random64(void)
{
	uint64		high = unit_random();

	return high << 32 | unit_random();
}

/* From 0 to below n. */
static int64
below(int64 n)
{
	return (int64) (random64() % (uint64) n);
}

static int64
random_period(void)
{
	static const int64 periods[] = {
		1, 30, 31, 32, 1000, SECOND, 60 * SECOND, 90 * SECOND + 7, 3600 * SECOND, DAY, MONTH,
		365 * DAY
	};

	return periods[below(lengthof(periods))];
}

/* Mostly small against the period, sometimes not. */
static int64
random_step(int64 period, int64 n)
{
	switch (below(8))
	{
		case 0:
			return 0;
		case 1:
			return below(3);
		case 2:
			return below(period / 2 + 1);
		case 3:
			return below(period / 31 + 2);
		case 4:
			return below(20) == 0 ? below(3 * period + 1) : 0;
		default:
			return below(2 * period / n + 2);
	}
}


/*-------------------------------------------------------------------------
 * The oracle
 *-------------------------------------------------------------------------
 */

typedef struct Charge
{
	int64		at;				/* true time */
	int64		cost;
} Charge;

typedef struct Oracle
{
	Charge		charges[STEPS + 1];
	int			n;
} Oracle;

static void
add_charge(Oracle *oracle, int64 at, int64 cost)
{
	oracle->charges[oracle->n].at = at;
	oracle->charges[oracle->n++].cost = cost;
}

/* What was charged after a time. */
static int64
charged_after(const Oracle *oracle, int64 after)
{
	int64		sum = 0;

	for (int i = oracle->n - 1; i >= 0 && oracle->charges[i].at > after; i--)
		sum += oracle->charges[i].cost;
	return sum;
}

static bool
answers_are_same(const KsWindowAnswer *a, const KsWindowAnswer *b)
{
	return a->allowed == b->allowed && a->used == b->used && a->remaining == b->remaining &&
		a->retry_at == b->retry_at && a->reset_at == b->reset_at;
}

/*
 * What every answer has to be true to, whatever the algorithm: a look changes
 * nothing; what is refused is allowed at retry_at and not before; at reset_at
 * nothing counts, and before it something does.
 */
static void
check_answer(const KsWindow *window, const KsWindowState *state, int64 now, int64 cost,
			 const KsWindowAnswer *answer)
{
	KsWindowAnswer then;
	KsWindowState copy = *state;

	ks_window_look(window, state, now, cost, &then);
	CHECK(answers_are_same(answer, &then) && memcmp(&copy, state, sizeof(copy)) == 0,
		  "a look changed something");
	CHECK(answer->remaining >= 0 && answer->used >= 0, "negative");

	if (!answer->allowed && answer->retry_at < INT64_MAX)
	{
		CHECK(answer->retry_at > now, "retry_at is not later");
		ks_window_look(window, state, answer->retry_at, cost, &then);
		CHECK(then.allowed, "algorithm %d: refused at retry_at", window->algorithm);
		ks_window_look(window, state, answer->retry_at - 1, cost, &then);
		CHECK(!then.allowed, "algorithm %d: allowed before retry_at", window->algorithm);
	}
	CHECK((answer->used == 0) == ks_window_is_fresh(window, state, now), "fresh and used");
	if (answer->used > 0)
	{
		CHECK(answer->reset_at > now, "reset_at is not later");
		CHECK(ks_window_is_fresh(window, state, answer->reset_at), "something counts at reset_at");
		CHECK(!ks_window_is_fresh(window, state, answer->reset_at - 1), "nothing counts before reset_at");
	}
}

/*
 * A state that was told of a step back answers as it did before.
 */
static void
check_set_back(const KsWindow *window, KsWindowState *state, int64 now, int64 cost)
{
	KsWindowAnswer before;
	KsWindowAnswer after;
	KsWindowState copy = *state;

	ks_window_look(window, state, now, cost, &before);
	ks_window_set_back(window, state, now);
	ks_window_look(window, state, now, cost, &after);
	CHECK(answers_are_same(&before, &after), "algorithm %d: set back", window->algorithm);
	CHECK(copy.last > now || memcmp(&copy, state, sizeof(copy)) == 0, "set back without need");
}

/*
 * One random trace of a sliding window or a log.  What is charged counts for
 * the period, and up to slack longer.
 */
static void
trace(KsWindowAlgorithm algorithm, bool clock_steps)
{
	KsWindow	window = {.algorithm = algorithm, .period = random_period()};
	KsWindowState state = {0};
	Oracle		oracle = {.n = 0};
	int64		slack = algorithm == KS_WINDOW_LOG ? 0 : window.period / 31 + 32;
	int64		steps_back = 0;
	int64		true_time = BEGIN + below(window.period + 1);
	int64		error = 0;		/* of the clock */

	window.n = 1 + below(algorithm == KS_WINDOW_LOG ? KS_WINDOW_LOG_MAX : 200);
	for (int i = 0; i < STEPS; i++)
	{
		int64		cost = below(4) == 0 ? below(window.n + 2) : 1;
		int64		now;
		KsWindowAnswer answer;

		true_time += random_step(window.period, window.n);
		if (clock_steps && below(10) == 0)
		{
			error -= below(window.period / 2 + 2);
			steps_back++;
		}
		now = true_time + error;
		check_set_back(&window, &state, now, cost);
		ks_window_look(&window, &state, now, cost, &answer);
		check_answer(&window, &state, now, cost, &answer);

		/* safety: in the period that ends now never more than n */
		if (answer.allowed)
			CHECK(charged_after(&oracle, true_time - window.period) + cost <= window.n,
				  "algorithm %d, n %lld, period %lld: too many", algorithm,
				  (long long) window.n, (long long) window.period);

		/* liveness: with room for a little longer than the period, allowed */
		else if (!clock_steps)
			CHECK(charged_after(&oracle, true_time - window.period - slack) + cost > window.n,
				  "algorithm %d, n %lld, period %lld: refused with room", algorithm,
				  (long long) window.n, (long long) window.period);
		if (!clock_steps)
			CHECK(answer.used >= charged_after(&oracle, true_time - window.period) &&
				  answer.used <= charged_after(&oracle, true_time - window.period - slack),
				  "algorithm %d: used", algorithm);

		if (answer.allowed && cost > 0)
		{
			KsWindowAnswer after;

			ks_window_charge(&window, &state, now, cost);
			add_charge(&oracle, true_time, cost);
			ks_window_look(&window, &state, now, 0, &after);
			CHECK(after.used == answer.used + cost && after.remaining == answer.remaining,
				  "algorithm %d: what a charge changes", algorithm);
		}
	}

	/* a clock that was set back freezes nothing for long */
	true_time += window.period + (slack + 1) * (1 + steps_back);
	CHECK(ks_window_is_fresh(&window, &state, true_time + error), "algorithm %d: does not end", algorithm);
}

static void
sliding_traces(void)
{
	for (int i = 0; i < traces(); i++)
		trace(KS_WINDOW_SLIDING, false);
}

static void
log_traces(void)
{
	for (int i = 0; i < traces(); i++)
		trace(KS_WINDOW_LOG, false);
}

static void
clock_goes_back(void)
{
	for (int i = 0; i < traces(); i++)
	{
		trace(KS_WINDOW_SLIDING, true);
		trace(KS_WINDOW_LOG, true);
	}
}

/*
 * A day back with a window of an hour: neither free nor shut for a day.
 */
static void
clock_goes_far_back(void)
{
	static const KsWindowAlgorithm algorithms[] = {KS_WINDOW_SLIDING, KS_WINDOW_LOG, KS_WINDOW_GCRA};
	static const int64 steps[] = {1, SECOND, 3600 * SECOND, DAY, 9000 * DAY};

	for (size_t i = 0; i < lengthof(algorithms); i++)
	{
		for (size_t j = 0; j < lengthof(steps); j++)
		{
			KsWindow	window = {.algorithm = algorithms[i], .n = 10, .period = 3600 * SECOND};
			int64		burst = algorithms[i] == KS_WINDOW_GCRA ? 1 : 10;
			KsWindowState state = {0};
			KsWindowAnswer answer;

			ks_window_charge(&window, &state, BEGIN, burst);
			check_set_back(&window, &state, BEGIN - steps[j], 1);
			ks_window_look(&window, &state, BEGIN - steps[j], 1, &answer);
			CHECK(!answer.allowed && answer.used == burst, "algorithm %d: gave back", algorithms[i]);
			CHECK(answer.retry_at <= BEGIN - steps[j] + window.period * 34 / 31,
				  "algorithm %d: frozen", algorithms[i]);
			check_answer(&window, &state, BEGIN - steps[j], 1, &answer);

			/* forward is just time */
			ks_window_look(&window, &state, BEGIN + 2 * window.period, burst, &answer);
			CHECK(answer.allowed && answer.used == 0, "algorithm %d: forward", algorithms[i]);
		}
	}
}


/*-------------------------------------------------------------------------
 * gcra
 *-------------------------------------------------------------------------
 */

/*
 * The algorithm as it is written, in n-ths of a microsecond: a unit costs
 * period of these.
 */
typedef struct Reference
{
	Wide		arrival;
} Reference;

static bool
reference_allows(const Reference *reference, const KsWindow *window, int64 now, int64 cost, Wide *arrival)
{
	Wide		at = (Wide) now * window->n;
	Wide		burst = window->n / 10 > 0 ? window->n / 10 : 1;

	*arrival = (reference->arrival > at ? reference->arrival : at) + (Wide) cost * window->period;
	return *arrival <= at + burst * window->period;
}

static void
gcra_trace(void)
{
	KsWindow	window = {.algorithm = KS_WINDOW_GCRA, .period = random_period()};
	KsWindowState state = {0};
	Reference	reference = {0};
	int64		now = BEGIN;

	window.n = below(3) == 0 ? 1 + below(KS_WINDOW_N_MAX) : 1 + below(300);
	for (int i = 0; i < STEPS; i++)
	{
		int64		burst = window.n / 10 > 0 ? window.n / 10 : 1;
		int64		cost = below(4) == 0 ? below(burst + 2) : 1;
		KsWindowAnswer answer;
		Wide		arrival;

		now += below(2) == 0 ? below(2 * (window.period / window.n) + 2) : random_step(window.period, window.n);
		ks_window_look(&window, &state, now, cost, &answer);
		check_answer(&window, &state, now, cost, &answer);
		CHECK(answer.allowed == reference_allows(&reference, &window, now, cost, &arrival),
			  "n %lld, period %lld, step %d: not as the reference", (long long) window.n,
			  (long long) window.period, i);
		CHECK(cost <= burst || answer.retry_at == INT64_MAX, "more than the burst");
		if (answer.allowed)
		{
			ks_window_charge(&window, &state, now, cost);
			if (cost > 0)
				reference.arrival = arrival;
		}
	}
}

static void
gcra_traces(void)
{
	for (int i = 0; i < traces(); i++)
		gcra_trace();
}


/*-------------------------------------------------------------------------
 * calendar
 *-------------------------------------------------------------------------
 */

static KsWindow
calendar_at(int64 n, int64 now)
{
	int64		start = now - now % DAY;
	KsWindow	window = {.algorithm = KS_WINDOW_CALENDAR, .n = n, .period = DAY, .start = start, .end = start + DAY};

	return window;
}

/* With clocks that go back over boundaries. */
static void
calendar_trace(void)
{
	KsWindowState state = {0};
	int64		n = 1 + below(50);
	int64		now = BEGIN;
	int64		counted_start = 0;	/* of the period that was charged last */
	int64		used = 0;		/* in there */

	for (int i = 0; i < STEPS; i++)
	{
		int64		cost = below(3);
		KsWindowAnswer answer;
		KsWindow	window;
		int64		start;
		int64		expected;

		now += below(4) == 0 ? below(DAY) : below(DAY / n);
		if (below(10) == 0)
			now -= below(3 * DAY);
		window = calendar_at(n, now);

		/* forward: anew; one day back: the later; farther: the present */
		start = window.start;
		expected = start > counted_start ? 0 : used;
		if (used > 0 && start == counted_start - DAY)
			start = counted_start;

		ks_window_look(&window, &state, now, cost, &answer);
		CHECK(answer.used == expected, "used");
		CHECK(answer.allowed == (expected + cost <= n), "allowed");
		CHECK(answer.remaining == n - expected - (answer.allowed ? cost : 0), "remaining");
		CHECK(answer.allowed || answer.retry_at == (cost > n ? INT64_MAX : start + DAY), "retry_at");
		if (answer.allowed && cost > 0)
		{
			ks_window_charge(&window, &state, now, cost);
			counted_start = start;
			used = expected + cost;
		}
	}
}

static void
calendar_traces(void)
{
	for (int i = 0; i < traces(); i++)
		calendar_trace();
}

static void
calendar_boundaries(void)
{
	KsWindow	window = calendar_at(5, BEGIN);
	KsWindow	next = calendar_at(5, BEGIN + DAY);
	KsWindow	year = calendar_at(5, BEGIN + 365 * DAY);
	KsWindowState state = {0};
	KsWindowAnswer answer;

	ks_window_charge(&window, &state, window.end - 1, 5);
	ks_window_look(&window, &state, window.end - 1, 1, &answer);
	CHECK(!answer.allowed && answer.retry_at == window.end && answer.reset_at == window.end, "the last microsecond");
	CHECK(!ks_window_is_fresh(&window, &state, window.end - 1) && ks_window_is_fresh(&window, &state, window.end),
		  "fresh at the end");

	/* somebody who computed the window a little before the end */
	ks_window_look(&window, &state, window.end + 5, 1, &answer);
	CHECK(!answer.allowed, "late, with the window of before");

	ks_window_look(&next, &state, window.end, 5, &answer);
	CHECK(answer.allowed && answer.used == 0 && answer.remaining == 0, "the next period");
	ks_window_charge(&next, &state, window.end, 5);
	ks_window_look(&window, &state, window.end - 1, 1, &answer);
	CHECK(!answer.allowed && answer.used == 5 && answer.retry_at == next.end, "back over the boundary");

	/* a clock that was a year ahead */
	memset(&state, 0, sizeof(state));
	ks_window_charge(&year, &state, year.start, 5);
	ks_window_look(&window, &state, BEGIN, 1, &answer);
	CHECK(!answer.allowed && answer.used == 5 && answer.retry_at == window.end, "a year back");
	ks_window_charge(&window, &state, BEGIN, 1);
	ks_window_look(&next, &state, next.start, 5, &answer);
	CHECK(answer.allowed, "not frozen for a year");

	/* another period that begins earlier or at the same time */
	memset(&state, 0, sizeof(state));
	ks_window_charge(&window, &state, BEGIN, 3);
	window.end = BEGIN + 7 * DAY;
	ks_window_look(&window, &state, BEGIN + 1, 3, &answer);
	CHECK(!answer.allowed && answer.used == 3 && answer.retry_at == window.end, "a longer period");
}


/*-------------------------------------------------------------------------
 * Giving back
 *-------------------------------------------------------------------------
 */

static KsWindow
random_window(void)
{
	static const KsWindowAlgorithm algorithms[] = {
		KS_WINDOW_SLIDING, KS_WINDOW_LOG, KS_WINDOW_CALENDAR, KS_WINDOW_GCRA
	};
	KsWindow	window = {.algorithm = algorithms[below(4)], .period = random_period()};

	window.n = 1 + below(window.algorithm == KS_WINDOW_LOG ? KS_WINDOW_LOG_MAX : 500);
	if (window.algorithm == KS_WINDOW_CALENDAR)
	{
		window.start = BEGIN;
		window.end = BEGIN + window.period;
	}
	return window;
}

/* Some attempts; returns the time of the last. */
static int64
fill(const KsWindow *window, KsWindowState *state)
{
	int64		now = BEGIN;

	for (int64 i = below(30); i > 0; i--)
	{
		KsWindowAnswer answer;

		ks_window_look(window, state, now, 1, &answer);
		if (answer.allowed)
			ks_window_charge(window, state, now, 1);
		now += below(window->period / 40 + 1);
	}
	return window->algorithm == KS_WINDOW_CALENDAR && now >= window->end ? window->end - 1 : now;
}

static void
consume_and_refund(void)
{
	for (int i = 0; i < 20 * traces(); i++)
	{
		KsWindow	window = random_window();
		KsWindowState state = {0};
		KsWindowAnswer was;
		KsWindowAnswer is;
		int64		now = fill(&window, &state) + 1;
		int64		cost = 1 + below(3);

		if (window.algorithm == KS_WINDOW_CALENDAR)
			now--;
		ks_window_look(&window, &state, now, cost, &is);
		if (!is.allowed)
			continue;
		ks_window_look(&window, &state, now, 0, &was);
		ks_window_charge(&window, &state, now, cost);
		CHECK(ks_window_refund(&window, &state, now, now, cost) == cost, "algorithm %d: refund", window.algorithm);
		ks_window_look(&window, &state, now, 0, &is);
		CHECK(answers_are_same(&was, &is), "algorithm %d: consume and refund is not nothing", window.algorithm);
	}
}

static void
refund_of_nothing(void)
{
	for (int i = 0; i < traces(); i++)
	{
		KsWindow	window = random_window();
		KsWindowState state = {0};
		KsWindowState before;
		int64		later = BEGIN + window.period + window.period / 31 + 33;
		int64		ahead = BEGIN + 32 * ((window.period + 30) / 31);	/* the same piece */

		/* twice */
		ks_window_charge(&window, &state, BEGIN, 1);
		CHECK(ks_window_refund(&window, &state, BEGIN, BEGIN, 1) == 1, "algorithm %d: once", window.algorithm);
		before = state;
		CHECK(ks_window_refund(&window, &state, BEGIN, BEGIN, 1) == 0, "algorithm %d: twice", window.algorithm);
		CHECK(memcmp(&before, &state, sizeof(state)) == 0, "algorithm %d: a refund of nothing", window.algorithm);

		/* ahead of the clock, which went back since */
		ks_window_charge(&window, &state, BEGIN, 1);
		before = state;
		CHECK(ks_window_refund(&window, &state, BEGIN, ahead, 1) == 0 &&
			  memcmp(&before, &state, sizeof(state)) == 0, "algorithm %d: ahead", window.algorithm);

		/* after the window, when others were charged */
		memset(&state, 0, sizeof(state));
		ks_window_charge(&window, &state, BEGIN, 1);
		if (window.algorithm == KS_WINDOW_CALENDAR)
		{
			window.start = window.end;
			window.end += window.period + window.period / 31 + 33;
		}
		ks_window_charge(&window, &state, later, 1);
		before = state;
		CHECK(ks_window_refund(&window, &state, later, BEGIN, 1) == 0 &&
			  memcmp(&before, &state, sizeof(state)) == 0, "algorithm %d: after the window", window.algorithm);
	}
}

/*
 * Random refunds: never more room than what was charged and not given back
 * leaves.
 */
static void
refunds_are_bounded(void)
{
	for (int t = 0; t < traces(); t++)
	{
		KsWindow	window = {.algorithm = below(2) ? KS_WINDOW_SLIDING : KS_WINDOW_LOG, .period = random_period()};
		KsWindowState state = {0};
		Oracle		oracle = {.n = 0};
		int64		now = BEGIN;

		window.n = 1 + below(KS_WINDOW_LOG_MAX);
		for (int i = 0; i < STEPS; i++)
		{
			KsWindowAnswer answer;

			now += 1 + random_step(window.period, window.n);
			ks_window_look(&window, &state, now, 1, &answer);
			CHECK(!answer.allowed || charged_after(&oracle, now - window.period) + 1 <= window.n, "too many");
			if (answer.allowed)
			{
				ks_window_charge(&window, &state, now, 1);
				add_charge(&oracle, now, 1);
			}
			if (oracle.n > 0 && below(3) == 0)
			{
				Charge	   *charge = &oracle.charges[below(oracle.n)];
				int64		given = ks_window_refund(&window, &state, now, charge->at, charge->cost);

				CHECK(given == charge->cost || charge->at <= now - window.period, "refund of what counts");
				charge->cost = 0;
			}
		}
	}
}


/*-------------------------------------------------------------------------
 * Edges
 *-------------------------------------------------------------------------
 */

static void
nothing_is_charged(void)
{
	for (int i = 0; i < 10 * traces(); i++)
	{
		KsWindow	window = random_window();
		KsWindowState state = {0};
		KsWindowState before;
		KsWindowAnswer answer;
		int64		now = fill(&window, &state) + below(1000);

		before = state;
		ks_window_charge(&window, &state, now, 0);
		(void) ks_window_refund(&window, &state, now, now, 0);
		ks_window_look(&window, &state, now, window.n + 1, &answer);
		CHECK(!answer.allowed && answer.retry_at == INT64_MAX, "more than n");
		(void) ks_window_is_fresh(&window, &state, now + window.period);
		CHECK(memcmp(&before, &state, sizeof(state)) == 0, "algorithm %d: changed", window.algorithm);
	}
}

/*
 * No overflow: the sanitizer sees it.  What is in order stays so.
 */
static void
extremes(void)
{
	static const int64 times[] = {
		INT64_MIN, INT64_MIN + 1, -1, 0, 1, BEGIN, INT64_MAX - 1, INT64_MAX
	};
	static const int64 costs[] = {0, 1, 2, KS_WINDOW_N_MAX - 1, KS_WINDOW_N_MAX, KS_WINDOW_N_MAX + 1, INT64_MAX};
	static const int64 numbers[] = {1, 9, 10, 16, 17, KS_WINDOW_N_MAX - 1, KS_WINDOW_N_MAX};
	static const int64 periods[] = {1, 31, SECOND, INT64_MAX - 1, INT64_MAX};

	for (int i = 0; i < 400 * traces(); i++)
	{
		KsWindow	window = {.n = numbers[below(lengthof(numbers))], .period = periods[below(lengthof(periods))]};
		KsWindowState state = {0};

		window.algorithm = (KsWindowAlgorithm) (KS_WINDOW_SLIDING + below(4));
		if (window.algorithm == KS_WINDOW_LOG && window.n > KS_WINDOW_LOG_MAX)
			window.n = KS_WINDOW_LOG_MAX;
		window.start = times[below(lengthof(times) - 1)];
		window.end = window.start + 1;
		for (int j = 0; j < 6; j++)
		{
			int64		now = times[below(lengthof(times))];
			int64		cost = costs[below(lengthof(costs))];
			KsWindowAnswer answer;

			ks_window_look(&window, &state, now, cost, &answer);
			CHECK(answer.used >= 0 && answer.remaining >= 0 && answer.remaining <= window.n, "out of range");
			CHECK(!answer.allowed || cost <= window.n, "more than n allowed");
			CHECK(answer.allowed || cost > 0 || answer.used > 0, "refused for nothing");

			/* a shadow limit charges what is refused, too */
			ks_window_charge(&window, &state, now, cost);
			if (below(3) == 0)
				(void) ks_window_refund(&window, &state, times[below(lengthof(times))],
										times[below(lengthof(times))], costs[below(lengthof(costs))]);
		}
	}
}

/* What is counted beyond n keeps refusing, and ends. */
static void
over_the_limit(void)
{
	for (int i = 0; i < traces(); i++)
	{
		KsWindow	window = random_window();
		KsWindowState state = {0};
		KsWindowAnswer answer;

		for (int j = 0; j < 50; j++)
			ks_window_charge(&window, &state, BEGIN, window.n);
		ks_window_look(&window, &state, BEGIN, 1, &answer);
		CHECK(!answer.allowed && answer.remaining == 0, "algorithm %d: allowed", window.algorithm);
		CHECK(ks_window_is_fresh(&window, &state, BEGIN + window.period + window.period / 31 + 33),
			  "algorithm %d: does not end", window.algorithm);
	}
}

static void
definitions_change(void)
{
	KsWindow	log = {.algorithm = KS_WINDOW_LOG, .n = 10, .period = 3600 * SECOND};
	KsWindow	sliding = {.algorithm = KS_WINDOW_SLIDING, .n = 20, .period = 3600 * SECOND};
	KsWindow	other = {.algorithm = KS_WINDOW_SLIDING, .n = 20, .period = 60 * SECOND};
	KsWindow	gcra = {.algorithm = KS_WINDOW_GCRA, .n = 70, .period = 3600 * SECOND};
	KsWindow	fewer = {.algorithm = KS_WINDOW_GCRA, .n = 30, .period = 3600 * SECOND};
	KsWindowState state = {0};
	KsWindowAnswer answer;
	int64		end = BEGIN + 3600 * SECOND;

	/* a log of 10 becomes a window of 20: all 10 count for an hour, and end */
	for (int i = 0; i < 10; i++)
		ks_window_charge(&log, &state, BEGIN + i * 60 * SECOND, 1);
	ks_window_convert(&log, &sliding, &state);
	ks_window_look(&sliding, &state, BEGIN + 600 * SECOND, 11, &answer);
	CHECK(!answer.allowed && answer.used == 10, "of a log");
	ks_window_look(&sliding, &state, end - 1, 0, &answer);
	CHECK(answer.used == 10, "of a log: an hour");
	CHECK(ks_window_is_fresh(&sliding, &state, end + 660 * SECOND + 120 * SECOND), "of a log: ends");

	/* and a log of 5: nothing until enough have left */
	log.n = 5;
	ks_window_convert(&sliding, &log, &state);
	ks_window_look(&log, &state, BEGIN + 600 * SECOND, 1, &answer);
	CHECK(!answer.allowed && answer.used == 10 && answer.remaining == 0, "of a sliding window");
	CHECK(answer.retry_at >= end + 300 * SECOND && answer.retry_at <= end + 300 * SECOND + 240 * SECOND,
		  "of a sliding window: retry_at");
	check_answer(&log, &state, BEGIN + 600 * SECOND, 1, &answer);

	/* another n */
	memset(&state, 0, sizeof(state));
	ks_window_charge(&gcra, &state, BEGIN, 5);
	ks_window_convert(&gcra, &fewer, &state);
	ks_window_look(&fewer, &state, BEGIN, 1, &answer);
	CHECK(answer.used == 3, "gcra: as far ahead as before");
	check_answer(&fewer, &state, BEGIN, 1, &answer);

	/* a seventh of a microsecond becomes a whole one */
	gcra.n = 7;
	fewer.n = 6;
	memset(&state, 0, sizeof(state));
	ks_window_charge(&gcra, &state, BEGIN, 1);
	ks_window_look(&gcra, &state, BEGIN, 0, &answer);
	ks_window_convert(&gcra, &fewer, &state);
	CHECK(!ks_window_is_fresh(&fewer, &state, answer.reset_at - 1) && ks_window_is_fresh(&fewer, &state, answer.reset_at),
		  "gcra: a part");

	/* another period, another algorithm */
	memset(&state, 0, sizeof(state));
	ks_window_charge(&sliding, &state, BEGIN, 20);
	ks_window_convert(&sliding, &other, &state);
	CHECK(unit_is_zero(&state, sizeof(state)), "another period");
	ks_window_charge(&other, &state, BEGIN, 20);
	ks_window_convert(&other, &gcra, &state);
	CHECK(unit_is_zero(&state, sizeof(state)), "another algorithm");
}

const UnitTest window_tests[] = {
	{"a sliding window never has more than n, and frees what left it within a 31st", sliding_traces},
	{"a log is exact", log_traces},
	{"a clock that goes back gives no more than n", clock_goes_back},
	{"a clock that goes far back neither gives back nor freezes", clock_goes_far_back},
	{"gcra is as the algorithm is written", gcra_traces},
	{"a calendar window counts each period, and the later one when the clock goes back", calendar_traces},
	{"boundaries of calendar windows", calendar_boundaries},
	{"consume and refund is nothing", consume_and_refund},
	{"a refund of nothing changes nothing", refund_of_nothing},
	{"refunds give no more room than there is", refunds_are_bounded},
	{"what charges nothing changes nothing", nothing_is_charged},
	{"extreme numbers, times and costs", extremes},
	{"what is counted beyond n refuses and ends", over_the_limit},
	{"a definition that changes keeps what was consumed", definitions_change},
	{NULL, NULL}
};
