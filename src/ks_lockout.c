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
 * sink.  Windows are fixed: each begins with its first failure.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ks_guc.h"
#include "ks_lockout.h"

#define ENTRIES			1024	/* a power of two */
#define NEIGHBOURS		8
#define WINDOW			(60 * USECS_PER_SEC)

/* All fields are protected by KS_LOCK_LOCKOUT. */
typedef struct Entry
{
	uint64		subject;		/* hash, 0 while it was never used */
	TimestampTz since;			/* begin of the window */
	int			failures;		/* in the window, does not overflow */
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
 * Who waited for the lock may be a little earlier than the window; a clock that
 * was set back by more than a window ends it.
 */
static bool
is_over(const Entry *entry, TimestampTz now)
{
	return now - entry->since >= WINDOW || entry->since - now >= WINDOW;
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
	free_entry->subject = subject;
	free_entry->failures = 0;
	return free_entry;
}

int
ks_lockout_failed(const char *kind, const char *subject, TimestampTz now)
{
	uint64		hash = hash_of(kind, subject);
	TimestampTz ends;
	int			failures;
	Entry	   *entry;

	LWLockAcquire(ks_lock(KS_LOCK_LOCKOUT), LW_EXCLUSIVE);
	entry = find_entry(hash, now);
	if (entry->failures == 0 || is_over(entry, now))
	{
		entry->since = now;
		entry->failures = 0;
	}
	if (entry->failures < PG_INT32_MAX)
		entry->failures++;
	failures = entry->failures;
	ends = entry->since + WINDOW;
	LWLockRelease(ks_lock(KS_LOCK_LOCKOUT));

	if (failures <= ks_auth_failures_per_minute)
		return 0;
	return (int) ((ends - now + USECS_PER_SEC - 1) / USECS_PER_SEC);
}
