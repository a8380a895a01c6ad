/*-------------------------------------------------------------------------
 *
 * ks_window.c
 *	  Arithmetic of rate limits: at most n in a time.
 *
 * A state is first brought to the present time, then looked at or changed.
 * Each algorithm gives how many are used, and when so many of them leave; what
 * is allowed, and when, follows from these two for all.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_window.h"

/* In n-ths of a microsecond: exact for every n and period. */
__extension__ typedef unsigned __int128 Fine;

static inline int64
smaller(int64 a, int64 b)
{
	return a < b ? a : b;
}

static inline int64
larger(int64 a, int64 b)
{
	return a > b ? a : b;
}

/* b is not negative. */
static inline int64
add_saturated(int64 a, int64 b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static inline int64
multiply_saturated(int64 a, int64 b)
{
	return b != 0 && a > INT64_MAX / b ? INT64_MAX : a * b;
}


/*-------------------------------------------------------------------------
 * sliding
 *
 * The piece of a time is its number, time / length, modulo KS_WINDOW_PIECES:
 * the present piece and 31 before it count.  Since the length is rounded up,
 * 31 pieces are never shorter than the period.
 *-------------------------------------------------------------------------
 */

static inline int64
piece_length(const KsWindow *window)
{
	return window->period / (KS_WINDOW_PIECES - 1) + (window->period % (KS_WINDOW_PIECES - 1) != 0);
}

static inline uint32 *
piece(KsWindowState *state, int64 number)
{
	return &state->u.pieces[(uint64) number % KS_WINDOW_PIECES];
}

static void
sliding_forward(const KsWindow *window, KsWindowState *state, int64 now)
{
	int64		length = piece_length(window);
	int64		present = now / length;
	int64		last;

	if (state->last >= present * length)
		return;					/* the usual case, without a second division */

	last = state->last / length;
	if (present - last >= KS_WINDOW_PIECES)
		memset(state->u.pieces, 0, sizeof(state->u.pieces));
	else
	{
		while (last < present)
			*piece(state, ++last) = 0;
	}
}

static void
sliding_add(const KsWindow *window, KsWindowState *state, int64 cost)
{
	uint32	   *present = piece(state, state->last / piece_length(window));

	*present = (uint32) smaller(add_saturated(*present, cost), UINT32_MAX);
}

/*
 * Moves what counts back, to where as much of the window is left of it.  When
 * a step is not of whole pieces, that may be the later of two: then what was
 * in the newest but one joins the newest.
 */
static void
sliding_back(const KsWindow *window, KsWindowState *state, int64 now)
{
	KsWindowState before = *state;
	int64		length = piece_length(window);
	int64		last = state->last / length;
	int64		present = now / length;
	int			shift = now % length > state->last % length ? 1 : 0;

	memset(state->u.pieces, 0, sizeof(state->u.pieces));
	for (int age = 0; age < KS_WINDOW_PIECES; age++)
	{
		uint32	   *to = piece(state, present - (age > 0 ? age - shift : 0));

		*to = (uint32) smaller((int64) *to + *piece(&before, last - age), UINT32_MAX);
	}
}

static int64
sliding_used(const KsWindowState *state)
{
	uint64		used = 0;

	for (int i = 0; i < KS_WINDOW_PIECES; i++)
		used += state->u.pieces[i];
	return (int64) used;
}

static int64
sliding_leave(const KsWindow *window, const KsWindowState *state, int64 used, int64 many)
{
	int64		length = piece_length(window);
	int64		number = state->last / length;

	/* from the newest on, which mostly has the last to leave */
	for (;; number--)
	{
		used -= state->u.pieces[(uint64) number % KS_WINDOW_PIECES];
		if (used < many)
			break;
	}
	return multiply_saturated(add_saturated(number, KS_WINDOW_PIECES), length);
}


/*-------------------------------------------------------------------------
 * log
 *-------------------------------------------------------------------------
 */

static int
log_used(const KsWindowState *state)
{
	int			used = 0;

	while (used < KS_WINDOW_LOG_MAX && state->u.times[used] != 0)
		used++;
	return used;
}

/* Forgets so many attempts from a place on. */
static void
log_remove(KsWindowState *state, int from, int many)
{
	int64	   *times = state->u.times;

	memmove(times + from, times + from + many, (KS_WINDOW_LOG_MAX - from - many) * sizeof(int64));
	memset(times + KS_WINDOW_LOG_MAX - many, 0, many * sizeof(int64));
}

static void
log_forward(const KsWindow *window, KsWindowState *state, int64 now)
{
	int			used = log_used(state);
	int			over = 0;

	while (over < used && add_saturated(state->u.times[over], window->period) <= now)
		over++;
	if (over > 0)
		log_remove(state, 0, over);
}

static void
log_back(KsWindowState *state, int64 now)
{
	for (int i = log_used(state) - 1; i >= 0; i--)
		state->u.times[i] = larger(state->u.times[i] - (state->last - now), 1);
}

/* Keeps the newest when there are more than it holds. */
static void
log_add(KsWindowState *state, int64 at, int64 cost)
{
	int			used = log_used(state);

	for (int64 i = smaller(cost, KS_WINDOW_LOG_MAX); i > 0; i--)
	{
		if (used == KS_WINDOW_LOG_MAX)
		{
			log_remove(state, 0, 1);
			used--;
		}
		state->u.times[used++] = at;
	}
}

static int64
log_refund(KsWindowState *state, int64 charged_at, int64 cost)
{
	int			used = log_used(state);
	int			from = 0;
	int			many = 0;

	while (from < used && state->u.times[from] != charged_at)
		from++;
	while (from + many < used && many < cost && state->u.times[from + many] == charged_at)
		many++;
	if (many > 0)
		log_remove(state, from, many);
	return many;
}


/*-------------------------------------------------------------------------
 * calendar
 *-------------------------------------------------------------------------
 */

/*
 * now may be a little outside of the window, which was computed earlier.
 */
static void
calendar_forward(const KsWindow *window, KsWindowState *state, int64 now)
{
	now = larger(smaller(now, window->end - 1), window->start);

	if (state->u.calendar.used == 0 || state->u.calendar.start < window->start ||
		state->u.calendar.end <= now)
		memset(&state->u, 0, sizeof(state->u));
	else if (state->u.calendar.start > window->start && state->u.calendar.start <= window->end)
		return;					/* the clock went back over its start */

	state->u.calendar.start = window->start;
	state->u.calendar.end = window->end;
}

static int64
calendar_refund(KsWindowState *state, int64 charged_at, int64 cost)
{
	int64		given;

	if (charged_at < state->u.calendar.start || charged_at >= state->u.calendar.end)
		return 0;
	given = smaller(cost, state->u.calendar.used);
	state->u.calendar.used -= given;
	return given;
}


/*-------------------------------------------------------------------------
 * gcra
 *
 * Each unit moves the theoretical arrival time by period/n.  How far that is
 * ahead of now is the debt, of which a burst's worth is allowed.
 *-------------------------------------------------------------------------
 */

static inline int64
gcra_burst(const KsWindow *window)
{
	return larger(window->n / 10, 1);
}

static Fine
gcra_debt(const KsWindow *window, const KsWindowState *state)
{
	if (state->u.gcra.arrival < state->last)
		return 0;
	return (Fine) (state->u.gcra.arrival - state->last) * window->n + state->u.gcra.part;
}

static void
gcra_set_debt(const KsWindow *window, KsWindowState *state, Fine debt)
{
	state->u.gcra.arrival = add_saturated(state->last, (int64) (debt / window->n));
	state->u.gcra.part = (int64) (debt % window->n);
}

/* Units; part of one is a whole one. */
static int64
gcra_used(const KsWindow *window, const KsWindowState *state)
{
	return (int64) ((gcra_debt(window, state) + window->period - 1) / window->period);
}

/* What a limit that refuses nothing has counted is over after one period. */
static void
gcra_add(const KsWindow *window, KsWindowState *state, int64 cost)
{
	Fine		debt = gcra_debt(window, state) + (Fine) smaller(cost, window->n) * window->period;
	Fine		most = (Fine) window->n * window->period;

	gcra_set_debt(window, state, debt < most ? debt : most);
}

static void
gcra_back(KsWindowState *state, int64 now)
{
	if (state->u.gcra.arrival >= state->last)
		state->u.gcra.arrival -= state->last - now;
	else
		memset(&state->u, 0, sizeof(state->u));
}

static int64
gcra_leave(const KsWindow *window, const KsWindowState *state, int64 used, int64 many)
{
	Fine		wait = gcra_debt(window, state) - (Fine) (used - many) * window->period;

	return add_saturated(state->last, (int64) ((wait + window->n - 1) / window->n));
}

static int64
gcra_refund(const KsWindow *window, KsWindowState *state, int64 charged_at, int64 cost)
{
	Fine		debt = gcra_debt(window, state);
	Fine		burst = (Fine) gcra_burst(window) * window->period / window->n + 1;
	int64		given = smaller(cost, gcra_used(window, state));
	Fine		less = (Fine) given * window->period;

	/* by then it has flowed off */
	if ((Fine) (state->last - charged_at) >= burst)
		return 0;
	gcra_set_debt(window, state, less < debt ? debt - less : 0);
	return given;
}


/*-------------------------------------------------------------------------
 * All of them
 *-------------------------------------------------------------------------
 */

void
ks_window_set_back(const KsWindow *window, KsWindowState *state, int64 now)
{
	now = larger(now, 1);
	if (state->last <= now)
		return;
	if (window->algorithm == KS_WINDOW_SLIDING)
		sliding_back(window, state, now);
	else if (window->algorithm == KS_WINDOW_LOG)
		log_back(state, now);
	else if (window->algorithm == KS_WINDOW_GCRA)
		gcra_back(state, now);
	state->last = now;
}

/* Calendars go by their periods, and leave "last" alone. */
static void
bring_to(const KsWindow *window, KsWindowState *state, int64 now)
{
	if (window->algorithm == KS_WINDOW_CALENDAR)
	{
		calendar_forward(window, state, now);
		return;
	}

	ks_window_set_back(window, state, now);
	now = larger(now, 1);
	if (window->algorithm == KS_WINDOW_SLIDING)
		sliding_forward(window, state, now);
	else if (window->algorithm == KS_WINDOW_LOG)
		log_forward(window, state, now);
	state->last = now;
}

static int64
count_used(const KsWindow *window, const KsWindowState *state)
{
	switch (window->algorithm)
	{
		case KS_WINDOW_SLIDING:
			return sliding_used(state);
		case KS_WINDOW_LOG:
			return log_used(state);
		case KS_WINDOW_CALENDAR:
			return state->u.calendar.used;
		default:
			return gcra_used(window, state);
	}
}

/*
 * When so many of those that are used, at least one, no longer count.
 */
static int64
when_leave(const KsWindow *window, const KsWindowState *state, int64 used, int64 many)
{
	switch (window->algorithm)
	{
		case KS_WINDOW_SLIDING:
			return sliding_leave(window, state, used, many);
		case KS_WINDOW_LOG:
			return add_saturated(state->u.times[many - 1], window->period);
		case KS_WINDOW_CALENDAR:
			return state->u.calendar.end;
		default:
			return gcra_leave(window, state, used, many);
	}
}

int64
ks_window_most(const KsWindow *window)
{
	return window->algorithm == KS_WINDOW_GCRA ? gcra_burst(window) : window->n;
}

void
ks_window_look(const KsWindow *window, const KsWindowState *state, int64 now, int64 cost,
			   KsWindowAnswer *answer)
{
	KsWindowState at = *state;
	int64		most = ks_window_most(window);
	int64		used;

	Assert(window->n >= 1 && window->n <= KS_WINDOW_N_MAX && cost >= 0);

	bring_to(window, &at, now);
	used = count_used(window, &at);
	answer->used = used;
	answer->allowed = cost <= most && used <= most - cost;
	answer->remaining = larger(most - used - (answer->allowed ? cost : 0), 0);
	answer->reset_at = used > 0 ? when_leave(window, &at, used, used) : now;
	if (answer->allowed)
		answer->retry_at = now;
	else if (cost > most)
		answer->retry_at = INT64_MAX;
	else
		answer->retry_at = when_leave(window, &at, used, used - (most - cost));
}

void
ks_window_charge(const KsWindow *window, KsWindowState *state, int64 now, int64 cost)
{
	Assert(cost >= 0);

	if (cost == 0)
		return;
	bring_to(window, state, now);
	switch (window->algorithm)
	{
		case KS_WINDOW_SLIDING:
			sliding_add(window, state, cost);
			break;
		case KS_WINDOW_LOG:
			log_add(state, state->last, cost);
			break;
		case KS_WINDOW_CALENDAR:
			state->u.calendar.used = add_saturated(state->u.calendar.used, cost);
			break;
		case KS_WINDOW_GCRA:
			gcra_add(window, state, cost);
			break;
	}
}

static int64
sliding_refund(const KsWindow *window, KsWindowState *state, int64 charged_at, int64 cost)
{
	int64		length = piece_length(window);
	int64		number = charged_at / length;
	int64		given;

	if (state->last / length - number >= KS_WINDOW_PIECES)
		return 0;
	given = smaller(cost, *piece(state, number));
	*piece(state, number) -= (uint32) given;
	return given;
}

int64
ks_window_refund(const KsWindow *window, KsWindowState *state, int64 now, int64 charged_at, int64 cost)
{
	KsWindowState at = *state;
	int64		given = 0;

	Assert(cost >= 0);

	bring_to(window, &at, now);
	if (window->algorithm == KS_WINDOW_CALENDAR)
		given = calendar_refund(&at, charged_at, cost);
	else
	{
		charged_at = larger(charged_at, 1);
		if (charged_at > at.last)
			return 0;			/* the clock went back since */
		if (window->algorithm == KS_WINDOW_SLIDING)
			given = sliding_refund(window, &at, charged_at, cost);
		else if (window->algorithm == KS_WINDOW_LOG)
			given = log_refund(&at, charged_at, cost);
		else
			given = gcra_refund(window, &at, charged_at, cost);
	}
	if (given > 0)
		*state = at;
	return given;
}

bool
ks_window_is_fresh(const KsWindow *window, const KsWindowState *state, int64 now)
{
	KsWindowState at = *state;

	if (window->algorithm == KS_WINDOW_CALENDAR)
		return state->u.calendar.used == 0 || state->u.calendar.end <= now;
	bring_to(window, &at, now);
	return count_used(window, &at) == 0;
}


/*-------------------------------------------------------------------------
 * When a definition changes
 *-------------------------------------------------------------------------
 */

static void
log_of_sliding(const KsWindow *from, KsWindowState *state)
{
	KsWindowState log = {.last = state->last};
	int64		length = piece_length(from);
	int64		last = state->last / length;

	for (int64 number = last - KS_WINDOW_PIECES + 1; number <= last; number++)
	{
		/* as late as they can have been */
		int64		at = larger(smaller(multiply_saturated(add_saturated(number, 1), length) - 1, state->last), 1);

		log_add(&log, at, *piece(state, number));
	}
	*state = log;
}

static void
sliding_of_log(const KsWindow *to, KsWindowState *state)
{
	KsWindowState sliding = {0};
	int			used = log_used(state);

	for (int i = 0; i < used; i++)
		ks_window_charge(to, &sliding, state->u.times[i], 1);
	if (used > 0)
		bring_to(to, &sliding, state->last);
	*state = sliding;
}

void
ks_window_convert(const KsWindow *from, const KsWindow *to, KsWindowState *state)
{
	bool		same = from->algorithm == to->algorithm;

	if (to->algorithm == KS_WINDOW_CALENDAR && same)
		return;					/* it knows its period */
	if (from->period != to->period)
		memset(state, 0, sizeof(KsWindowState));
	else if (from->algorithm == KS_WINDOW_SLIDING && to->algorithm == KS_WINDOW_LOG)
		log_of_sliding(from, state);
	else if (from->algorithm == KS_WINDOW_LOG && to->algorithm == KS_WINDOW_SLIDING)
		sliding_of_log(to, state);
	else if (!same)
		memset(state, 0, sizeof(KsWindowState));
	else if (to->algorithm == KS_WINDOW_GCRA && from->n != to->n)
	{
		/* the part, in other parts, up to a whole one */
		if (state->u.gcra.part > 0)
			state->u.gcra.arrival = add_saturated(state->u.gcra.arrival, 1);
		state->u.gcra.part = 0;
	}
}
