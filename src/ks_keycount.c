/*-------------------------------------------------------------------------
 *
 * ks_keycount.c
 *	  How often each version of a workspace's key has encrypted, since that
 *	  was saved last.
 *
 * A version's place is one of PROBES that follow from its workspace.  A place
 * is given away again when its count is 0, which it is after each saving, so
 * the table only has to hold the versions that encrypt within one interval of
 * the housekeeper.
 *
 * Lock: KS_LOCK_KEYCOUNT protects all of the shared part.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "ks_keycount.h"

#define PROBES		16

typedef struct Place
{
	Oid			database;		/* InvalidOid: free */
	KsKeyCount	count;
} Place;

typedef struct KeyCountShared
{
	uint64		missed;
	Place		places[KS_KEYCOUNT_MAX];
} KeyCountShared;

static KeyCountShared *shared = NULL;

Size
ks_keycount_shmem_size(void)
{
	return sizeof(KeyCountShared);
}

void
ks_keycount_shmem_init(void *area, bool found)
{
	shared = area;
	if (!found)
		memset(shared, 0, sizeof(*shared));
}

/* The place of a version, or a free one for it, or NULL.  Under the lock. */
static Place *
find_place(const uint8 workspace[KS_ID_LEN], uint32 version)
{
	uint32		first = hash_bytes(workspace, KS_ID_LEN);
	Place	   *free_place = NULL;

	for (uint32 i = 0; i < PROBES; i++)
	{
		Place	   *place = &shared->places[(first + i) % KS_KEYCOUNT_MAX];

		if (place->database == MyDatabaseId && place->count.version == version &&
			memcmp(place->count.workspace, workspace, KS_ID_LEN) == 0)
			return place;
		if (free_place == NULL && !OidIsValid(place->database))
			free_place = place;
	}
	return free_place;
}

void
ks_keycount_add(const uint8 workspace[KS_ID_LEN], uint32 key_version, uint64 n)
{
	Place	   *place;

	LWLockAcquire(ks_lock(KS_LOCK_KEYCOUNT), LW_EXCLUSIVE);
	place = find_place(workspace, key_version);
	if (place != NULL)
	{
		place->database = MyDatabaseId;
		memcpy(place->count.workspace, workspace, KS_ID_LEN);
		place->count.version = key_version;
		place->count.n += n;
	}
	else
		shared->missed += n;
	LWLockRelease(ks_lock(KS_LOCK_KEYCOUNT));
}

int
ks_keycount_read(KsKeyCount *counts)
{
	int			n = 0;

	LWLockAcquire(ks_lock(KS_LOCK_KEYCOUNT), LW_SHARED);
	for (int i = 0; i < KS_KEYCOUNT_MAX; i++)
	{
		if (shared->places[i].database == MyDatabaseId)
			counts[n++] = shared->places[i].count;
	}
	LWLockRelease(ks_lock(KS_LOCK_KEYCOUNT));
	return n;
}

void
ks_keycount_saved(const KsKeyCount *counts, int n)
{
	LWLockAcquire(ks_lock(KS_LOCK_KEYCOUNT), LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		Place	   *place = find_place(counts[i].workspace, counts[i].version);

		if (place == NULL || place->database != MyDatabaseId)
			continue;
		place->count.n -= Min(counts[i].n, place->count.n);
		if (place->count.n == 0)
			place->database = InvalidOid;
	}
	LWLockRelease(ks_lock(KS_LOCK_KEYCOUNT));
}

uint64
ks_keycount_missed(void)
{
	uint64		missed;

	LWLockAcquire(ks_lock(KS_LOCK_KEYCOUNT), LW_SHARED);
	missed = shared->missed;
	LWLockRelease(ks_lock(KS_LOCK_KEYCOUNT));
	return missed;
}
