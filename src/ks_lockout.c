/*-------------------------------------------------------------------------
 *
 * ks_lockout.c
 *	  Failed authentications, counted in shared memory.
 *
 * A subject is known by a 64-bit hash with a seed that only this server's
 * memory has, so nobody can choose subjects that meet in one place.  Two
 * subjects with one hash share a count, which refuses a failure early and
 * never a valid token.  A subject's entry lies in one of the NEIGHBOURS
 * places from its hash on; when all are taken by others, it counts in the
 * sink.
 *
 * Failures are counted in windows of a minute, each of which begins with its
 * first one.  The first failure beyond keystone.auth_failures_per_minute locks
 * the subject for a minute.  While it is locked, the first failure in each
 * further minute locks it anew, from then on and for twice as long as before,
 * and so does the next time that it fails too often; at most for LOCK_MAX.
 * MEMORY after the lock, and after the last failure, all is forgotten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ks_guc.h"
#include "ks_lockout.h"

#define ENTRIES			4096	/* a power of two */
#define NEIGHBOURS		8
#define WINDOW			(60 * USECS_PER_SEC)
#define LOCK_MAX		(3600 * USECS_PER_SEC)
#define MEMORY			(600 * USECS_PER_SEC)

/* All fields are protected by KS_LOCK_LOCKOUT.  Times are 0 when there is
 * none. */
typedef struct Entry
{
	uint64		subject;		/* hash, 0 while it was never used */
	TimestampTz since;			/* begin of the window */
	TimestampTz last;			/* the last failure */
	TimestampTz locked_at;		/* when it was locked, or locked anew */
	TimestampTz locked_until;
	int			failures;		/* in the window, does not overflow */
	int			locks;			/* how often it was locked, does not overflow */
} Entry;

typedef struct Lockout
{
	uint64		seed;			/* of the hashes; never changes */
	Entry		sink;
	Entry		entries[ENTRIES];
} Lockout;

static Lockout *lockout = NULL;

Size
ks_lockout_shmem_size(void)
{
	return sizeof(Lockout);
}

void
ks_lockout_shmem_init(void *area, bool found)
{
	lockout = area;
	if (found)
		return;
	memset(lockout, 0, sizeof(Lockout));
	if (!pg_strong_random(&lockout->seed, sizeof(lockout->seed)))
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not draw random bytes"));
}

/* Never 0. */
static uint64
hash_of(const char *kind, const char *subject)
{
	uint64		hash = lockout->seed;

	hash = hash_bytes_extended((const unsigned char *) &MyDatabaseId, sizeof(MyDatabaseId), hash);
	hash = hash_bytes_extended((const unsigned char *) kind, (int) strlen(kind), hash);
	hash = hash_bytes_extended((const unsigned char *) subject, (int) strlen(subject), hash);
	return hash != 0 ? hash : 1;
}

/*
 * Who waited for the lock may be a little earlier than the entry; a clock that
 * was set back by more than a window ends it.
 */
static bool
is_over(const Entry *entry, TimestampTz now)
{
	TimestampTz end = entry->since + WINDOW;

	if (entry->last - now >= WINDOW)
		return true;
	if (entry->locks > 0)
		end = Max(end, Max(entry->locked_until, entry->last) + MEMORY);
	return now >= end;
}

/* The subject's entry: its own, else a free one, else the sink. */
static Entry *
find_entry(uint64 subject, TimestampTz now)
{
	Entry	   *free_entry = NULL;

	for (int i = 0; i < NEIGHBOURS; i++)
	{
		Entry	   *entry = &lockout->entries[(subject + (uint64) i) % ENTRIES];

		if (entry->subject == subject)
			return entry;
		if (free_entry == NULL && (entry->subject == 0 || is_over(entry, now)))
			free_entry = entry;
	}
	if (free_entry == NULL)
		return &lockout->sink;
	memset(free_entry, 0, sizeof(*free_entry));
	free_entry->subject = subject;
	return free_entry;
}

/* Locks for a minute, and twice as long each further time. */
static void
lock_entry(Entry *entry, TimestampTz now)
{
	TimestampTz duration = LOCK_MAX;

	if (entry->locks < 6 && (WINDOW << entry->locks) < LOCK_MAX)
		duration = WINDOW << entry->locks;
	if (entry->locks < PG_INT32_MAX)
		entry->locks++;
	entry->locked_at = now;
	entry->locked_until = Max(entry->locked_until, now + duration);
	entry->since = now;
	entry->failures = 0;
}

/* Counts a failure, and locks when it is one too many. */
static void
count_failure(Entry *entry, TimestampTz now)
{
	if (entry->last != 0 && is_over(entry, now))
	{
		uint64		subject = entry->subject;

		memset(entry, 0, sizeof(*entry));
		entry->subject = subject;
	}
	if (now < entry->locked_until)
	{
		if (now - entry->locked_at >= WINDOW)
			lock_entry(entry, now);
	}
	else
	{
		if (now - entry->since >= WINDOW)
		{
			entry->since = now;
			entry->failures = 0;
		}
		if (entry->failures < PG_INT32_MAX)
			entry->failures++;
		if (entry->failures > ks_auth_failures_per_minute)
			lock_entry(entry, now);
	}
	entry->last = Max(entry->last, now);
}

int
ks_lockout_failed(const char *kind, const char *subject, TimestampTz now)
{
	uint64		hash = hash_of(kind, subject);
	TimestampTz until;
	Entry	   *entry;

	LWLockAcquire(ks_lock(KS_LOCK_LOCKOUT), LW_EXCLUSIVE);
	entry = find_entry(hash, now);
	count_failure(entry, now);
	until = entry->locked_until;
	LWLockRelease(ks_lock(KS_LOCK_LOCKOUT));

	if (until <= now)
		return 0;
	return (int) ((until - now + USECS_PER_SEC - 1) / USECS_PER_SEC);
}
