/*-------------------------------------------------------------------------
 *
 * ks_near.c
 *	  Limits that are nearly used up, and quotas and budgets that have refused,
 *	  on their way to the housekeeper.
 *
 * A note lies in one of the NEIGHBOURS places from its hash on.  A process
 * remembers which ones it left last, since a limit that is used up is asked
 * again and again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ks_near.h"

#define PLACES			512		/* a power of two */
#define NEIGHBOURS		8
#define REMEMBERED		16		/* a power of two */
#define TAKEN_BY_FORCE	(60 * 60 * USECS_PER_SEC)	/* a note that nobody took
													 * for so long */

/* Of shorter windows, too: a row, an entry in the log and a notification each
 * second would be more than anybody reads. */
#define SHORTEST_PERIOD	(60 * 60 * USECS_PER_SEC)

typedef struct Place
{
	Oid			database;		/* InvalidOid: free */
	uint64		hash;
	TimestampTz left_at;
	KsNear		note;
} Place;

/* Protected by KS_LOCK_NEAR. */
static Place *places = NULL;

static uint64 remembered[REMEMBERED];

Size
ks_near_shmem_size(void)
{
	return mul_size(PLACES, sizeof(Place));
}

void
ks_near_shmem_init(void *area, bool found)
{
	places = area;
	if (!found)
		memset(places, 0, PLACES * sizeof(Place));
}

/* Of what makes a note another one; never 0. */
static uint64
hash_of(const KsNear *note)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) &MyDatabaseId, sizeof(MyDatabaseId), 0);

	hash = hash_bytes_extended((const unsigned char *) &note->kind, sizeof(note->kind), hash);
	hash = hash_bytes_extended(note->workspace, KS_ID_LEN, hash);
	hash = hash_bytes_extended((const unsigned char *) note->limit, (int) strlen(note->limit), hash);
	hash = hash_bytes_extended((const unsigned char *) note->window, (int) strlen(note->window), hash);
	hash = hash_bytes_extended((const unsigned char *) &note->period_start, sizeof(note->period_start), hash);
	hash = hash_bytes_extended((const unsigned char *) &note->threshold, sizeof(note->threshold), hash);
	return hash != 0 ? hash : 1;
}

/* A place for it; NULL when it lies there already, or there is no room. */
static Place *
find_place(uint64 hash, TimestampTz now, bool *there)
{
	Place	   *found = NULL;

	*there = false;
	for (int i = 0; i < NEIGHBOURS; i++)
	{
		Place	   *place = &places[(hash + (uint64) i) % PLACES];

		if (place->database == MyDatabaseId && place->hash == hash)
		{
			*there = true;
			return NULL;
		}
		if (found == NULL && (!OidIsValid(place->database) || now - place->left_at > TAKEN_BY_FORCE))
			found = place;
	}
	return found;
}

static void
leave(const KsNear *note, TimestampTz now)
{
	uint64		hash = hash_of(note);
	Place	   *place;
	bool		there;

	if (remembered[hash % REMEMBERED] == hash)
		return;
	LWLockAcquire(ks_lock(KS_LOCK_NEAR), LW_EXCLUSIVE);
	place = find_place(hash, now, &there);
	if (place != NULL)
	{
		place->database = MyDatabaseId;
		place->hash = hash;
		place->left_at = now;
		place->note = *note;
	}
	LWLockRelease(ks_lock(KS_LOCK_NEAR));
	if (place != NULL || there)
		remembered[hash % REMEMBERED] = hash;
}

/* A period that does not slide, so that there is one alert in each. */
static TimestampTz
start_of_period(const KsWindow *window, TimestampTz now)
{
	bool		calendar = window->algorithm == KS_WINDOW_CALENDAR;
	int64		period = calendar ? window->end - window->start : window->period;

	if (calendar && period >= SHORTEST_PERIOD)
		return window->start;
	period = Max(period, SHORTEST_PERIOD);
	return now - now % period - (now < 0 ? period : 0);
}

void
ks_near_check(const uint8 workspace[KS_ID_LEN], const char *limit, const char *window, int percent,
			  const KsLimitAsk *ask, TimestampTz now)
{
	int64		most = ks_window_most(&ask->window);
	int64		used = ask->answer.allowed ? most - Max(ask->answer.remaining, 0) : ask->answer.used;
	KsNear		note;

	/* A cost that never fits, and a block, are refused and use nothing. */
	if (used * 100 < most * percent)
		return;
	memset(&note, 0, sizeof(note));
	note.kind = KS_NEAR_LIMIT;
	memcpy(note.workspace, workspace, KS_ID_LEN);
	strlcpy(note.limit, limit, sizeof(note.limit));
	strlcpy(note.window, window, sizeof(note.window));
	note.period_start = start_of_period(&ask->window, now);
	note.threshold = percent;
	note.used = used;
	note.allowed = most;
	leave(&note, now);
	if (used >= most)
	{
		note.threshold = 100;
		leave(&note, now);
	}
}

void
ks_near_refused(KsNearKind kind, const uint8 workspace[KS_ID_LEN], const char *subject,
				TimestampTz period_start, int64 used, int64 allowed)
{
	KsNear		note;

	memset(&note, 0, sizeof(note));
	note.kind = kind;
	memcpy(note.workspace, workspace, KS_ID_LEN);
	strlcpy(note.limit, subject, sizeof(note.limit));
	note.period_start = period_start;
	note.threshold = 100;
	note.used = used;
	note.allowed = allowed;
	leave(&note, GetCurrentTimestamp());
}

int
ks_near_take(KsNear *notes)
{
	int			n = 0;

	LWLockAcquire(ks_lock(KS_LOCK_NEAR), LW_SHARED);
	for (int i = 0; i < PLACES && n < KS_NEAR_MAX; i++)
	{
		if (places[i].database == MyDatabaseId)
			notes[n++] = places[i].note;
	}
	LWLockRelease(ks_lock(KS_LOCK_NEAR));
	return n;
}

void
ks_near_give_up(const KsNear *notes, int n)
{
	LWLockAcquire(ks_lock(KS_LOCK_NEAR), LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		uint64		hash = hash_of(&notes[i]);

		for (int j = 0; j < NEIGHBOURS; j++)
		{
			Place	   *place = &places[(hash + (uint64) j) % PLACES];

			if (place->database == MyDatabaseId && place->hash == hash)
				place->database = InvalidOid;
		}
	}
	LWLockRelease(ks_lock(KS_LOCK_NEAR));
}
