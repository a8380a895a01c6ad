/*-------------------------------------------------------------------------
 *
 * ks_usage.h
 *	  Usage of providers and what it costs, budgets, and alerts.
 *
 * Events of usage are only added.  Money is in millionths of the currency
 * unit, in integers; no sum is rounded.  What a budget has spent is the sum of
 * its workspace's events in the period, by the time that each event carries.
 *
 * Changes need ks_begin_change() first.  Who may make them is the caller's
 * business.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_USAGE_H
#define KS_USAGE_H

#include "ks_change.h"

/* An event.  Pointers may be NULL but provider and context. */
typedef struct KsUsage
{
	const uint8 *workspace;
	const char *provider;
	const uint8 *principal;
	int64		quantity;		/* negative in a correction, never 0 */
	bool		has_cost;
	int64		cost_micros;	/* when has_cost; else from the price */
	const uint8 *corrects;		/* the event that this one corrects */
	const Jsonb *context;
	const char *idempotency_key;
} KsUsage;

/* A string in a context, palloc'd; NULL when there is none under that key. */
extern char *ks_usage_context(const Jsonb *context, const char *key);

/*
 * Records an event and counts it against the workspace's budgets; id receives
 * it.  An event with the same key is there already: its id, and nothing is
 * recorded.  22023 for an unknown provider, and for a corrected event that is
 * not there, or of which less is left than the correction takes back; 22003 when a sum leaves the range of a bigint, PT429 beyond a hard
 * budget.
 */
extern void ks_usage_record(const KsUsage *usage, uint8 id[KS_ID_LEN]);

typedef struct KsBudget
{
	const uint8 *workspace;
	const char *period;			/* day, week or month */
	bool		has_soft;
	int64		soft_micros;
	bool		has_hard;
	int64		hard_micros;
	const uint8 *by;			/* the principal who sets it */
} KsBudget;

/* Sets a budget; when it is the first of its period, what the running period
 * has spent is summed up from the events. */
extern void ks_usage_set_budget(const KsBudget *budget);

/*
 * The housekeeper's task: writes alerts for thresholds that were reached.
 * Returns whether there is more to do at once.  ks_usage_alerts_noted() says
 * that it has committed.
 */
extern bool ks_usage_note_alerts(void);
extern void ks_usage_alerts_noted(void);

#endif							/* KS_USAGE_H */
