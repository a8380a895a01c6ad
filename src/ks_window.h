/*-------------------------------------------------------------------------
 *
 * ks_window.h
 *	  Arithmetic of rate limits: at most n in a time.
 *
 * Pure: no clock, no lock, no memory.  Times are in microseconds, as
 * TimestampTz has them; one before 2000 counts as its first microsecond.  A
 * state of all zeros is a fresh one.  Nothing overflows, whatever the times
 * and costs.
 *
 *	sliding		the time is cut into pieces of a 31st of the period, rounded up;
 *				the oldest, of which a part only belongs to the window, counts
 *				whole.  Never more than n in any interval of the period's length;
 *				an attempt may be refused up to a 31st of the period (and 32
 *				microseconds) longer than need be.
 *	log			each attempt's time, for n <= 16: exact.
 *	calendar	counts from start to end, such as a billing month, which the
 *				caller computes.
 *	gcra		the generic cell rate algorithm, exact: n in the period, evenly,
 *				with a burst of n/10, at least 1.  A cost above the burst is
 *				never allowed.
 *
 * A time before the state's is a step of the clock: no time has passed then.
 * A step back neither gives back nor freezes, if the state is told once
 * (ks_window_set_back) so that it goes on from there; until then each look
 * stands still.  Who may be late (who read the clock before it waited for a
 * lock) has to read it again first.  A step forward is just time.  A
 * calendar's count stays in its period when the clock goes back over the
 * period's start; one that is a whole period ahead continues in the present.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_WINDOW_H
#define KS_WINDOW_H

#include "keystone.h"

#define KS_WINDOW_PIECES	32
#define KS_WINDOW_LOG_MAX	16
#define KS_WINDOW_N_MAX		INT64_C(4000000000)

typedef enum KsWindowAlgorithm
{
	KS_WINDOW_SLIDING = 1,
	KS_WINDOW_LOG,
	KS_WINDOW_CALENDAR,
	KS_WINDOW_GCRA
} KsWindowAlgorithm;

typedef struct KsWindow
{
	KsWindowAlgorithm algorithm;
	int64		n;				/* 1 to KS_WINDOW_N_MAX */
	int64		period;			/* microseconds */
	int64		start;			/* calendar: the present period */
	int64		end;
} KsWindow;

typedef struct KsWindowState
{
	int64		last;			/* to which the state was brought; 0: fresh */
	union
	{
		uint32		pieces[KS_WINDOW_PIECES];
		int64		times[KS_WINDOW_LOG_MAX];	/* ascending, then 0 */
		struct
		{
			int64		start;
			int64		end;
			int64		used;
		}			calendar;
		struct
		{
			int64		arrival;	/* theoretical arrival time */
			int64		part;	/* and so many n-ths of a microsecond */
		}			gcra;
	}			u;
} KsWindowState;

typedef struct KsWindowAnswer
{
	bool		allowed;
	int64		used;			/* in the window (gcra: of the burst), without
								 * this attempt */
	int64		remaining;		/* after this attempt, or now when refused */
	int64		retry_at;		/* when refused: the earliest time at which it
								 * would be allowed; INT64_MAX: never */
	int64		reset_at;		/* when nothing that was charged before will
								 * count any more */
} KsWindowAnswer;

/* How many can be used at once: n, or the burst of gcra. */
extern int64 ks_window_most(const KsWindow *window);

/* What an attempt of a cost (0 looks) would get at a time. */
extern void ks_window_look(const KsWindow *window, const KsWindowState *state, int64 now, int64 cost,
						   KsWindowAnswer *answer);

/* Moves a state that is ahead of the time back, with all that it counts. */
extern void ks_window_set_back(const KsWindow *window, KsWindowState *state, int64 now);

/* Charges, whether it is allowed or not. */
extern void ks_window_charge(const KsWindow *window, KsWindowState *state, int64 now, int64 cost);

/* Gives back what was charged at a time, as far as it still counts.  Returns
 * how much that was.  That nobody gives back the same twice is the caller's
 * business. */
extern int64 ks_window_refund(const KsWindow *window, KsWindowState *state, int64 now,
							  int64 charged_at, int64 cost);

/* Whether the state restrains nobody any more.  Needs no start and end. */
extern bool ks_window_is_fresh(const KsWindow *window, const KsWindowState *state, int64 now);

/* Makes a state of another window's, when a definition changes.  What sliding
 * and log have counted stays when the period is the same (it may count a 31st
 * of the period longer); so does what the same algorithm has counted in the
 * same period, whatever n.  Else the state is a fresh one. */
extern void ks_window_convert(const KsWindow *from, const KsWindow *to, KsWindowState *state);

#endif							/* KS_WINDOW_H */
