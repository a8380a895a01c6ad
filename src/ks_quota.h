/*-------------------------------------------------------------------------
 *
 * ks_quota.h
 *	  Quotas: how much of a meter a workspace uses in a period, and the hard
 *	  stop.
 *
 * Quotas are rows, written in the caller's transaction: what is rolled back
 * was not used.  Whether there is room is decided by the statement that
 * counts, never by a count before it.  The lock on the row is held until the
 * transaction ends, so a verb counts last.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_QUOTA_H
#define KS_QUOTA_H

#include "ks_change.h"

#include "datatype/timestamp.h"

/* The meter that plans know. */
#define KS_METER_ROTATIONS	"rotations"

#define KS_QUOTA_QUANTITY_MAX	INT64CONST(1000000000000)

/* What somebody wants to use. */
typedef struct KsQuotaAsk
{
	uint8		workspace[KS_ID_LEN];
	const char *meter;
	int64		quantity;		/* 1 to KS_QUOTA_QUANTITY_MAX */
	bool		reserve;		/* only to hold it, for a day */
	const char *idempotency_key;	/* may be NULL */
	const uint8 *principal;		/* for whom; may be NULL */
} KsQuotaAsk;

typedef struct KsQuotaAnswer
{
	bool		allowed;
	int64		used;			/* in this period, with what is reserved */
	bool		limited;		/* the plan includes a number of it */
	int64		included;		/* when limited */
	int64		overage;		/* how much of the quantity is beyond it */
	int64		cost_micros;	/* what that costs */
	bool		reserved;		/* the answer to a reservation */
	uint8		reservation[KS_ID_LEN]; /* when reserved */
	TimestampTz reset_at;		/* end of the period; when refused */
} KsQuotaAnswer;

/*
 * Counts, or does not: then nothing has changed and allowed is false.  The
 * same idempotency key again gives the first answer and counts nothing.
 */
extern void ks_quota_ask(const KsQuotaAsk *ask, KsQuotaAnswer *answer);

/* A reservation. */
typedef struct KsReservation
{
	uint8		workspace[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	bool		of_rotations;	/* of the meter that plans know */
} KsReservation;

/* Finds one by its id, whatever became of it; false when there is none. */
extern bool ks_quota_find(const uint8 id[KS_ID_LEN], KsReservation *reservation);

/* Count what is reserved, or give it back; again gives the same answer.  False
 * when it is over: expired, or ended in the other way. */
extern bool ks_quota_commit(const KsReservation *reservation, KsQuotaAnswer *answer);
extern bool ks_quota_release(const KsReservation *reservation, KsQuotaAnswer *answer);

/* For a verb: uses so much, or PT429.  To be called last. */
extern void ks_quota_use(KsVerb *verb, const uint8 workspace[KS_ID_LEN], const char *meter, int64 quantity);

/* Gives back at most so many reservations that have expired; returns how many. */
extern int	ks_quota_expire(int limit);

typedef struct KsClosedPeriod
{
	uint8		workspace[KS_ID_LEN];
	const char *meter;
	TimestampTz start;
	TimestampTz end;
	int64		used;
	int64		overage;
	int64		cost_micros;
} KsClosedPeriod;

/*
 * Closes at most so many periods that are over and have no reservation left;
 * *periods is palloc'd.  Returns how many.  The caller writes their entries.
 */
extern int	ks_quota_close(int limit, KsClosedPeriod **periods);

#endif							/* KS_QUOTA_H */
