/*-------------------------------------------------------------------------
 *
 * ks_reencrypt.c
 *	  Sealing a workspace's values again under the key that encrypts now.
 *
 * What is left to do stands in the rows themselves: the version of the key in
 * keystone_private.ciphertext.  So it can be ended at any moment and goes on
 * where it was, by whoever calls next.  What must always hold:
 *
 *	- a version is opened and replaced under the lock of its credential's row,
 *	  and read after that lock was taken: no change of the credential is lost;
 *	- the order of locks is the one of the verbs: the credential's row, then the
 *	  key's, and nobody is waited for but for the second;
 *	- what does not open stays as it is.  It is remembered in
 *	  keystone_private.reencrypt_failures, so that it neither stands in the way
 *	  of the others nor is forgotten; a repaired one is found again, since all
 *	  of those are tried when nothing else is left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/uuid.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_keys.h"
#include "ks_reencrypt.h"
#include "ks_text.h"
#include "ks_vault.h"

/*
 * What has not failed before, of workspace $1 under an older key than $2.  Asked
 * row by row: a join would read all of them first.
 */
#define PENDING \
	" x.workspace_id = $1 AND x.key_version < $2" \
	" AND (SELECT f.version FROM keystone_private.reencrypt_failures f WHERE f.workspace_id = x.workspace_id" \
	"  AND f.credential_id = x.credential_id AND f.version = x.version) IS NULL"

/* Locks the credential of a row of p, of workspace $1, if nobody holds it. */
#define LOCKED_CREDENTIAL \
	" CROSS JOIN LATERAL (SELECT 1 FROM keystone_private.credentials c" \
	"  WHERE c.workspace_id = $1 AND c.id = p.credential_id FOR NO KEY UPDATE SKIP LOCKED) c"

static void
read_items(KsReencryptItem *items, int n)
{
	for (int i = 0; i < n; i++)
	{
		(void) ks_col_uuid(i, 1, items[i].credential);
		(void) ks_col_int(i, 2, &items[i].version);
	}
}

/* Locks the credentials of what a plan selects, after one of the items if it
 * asks for that; *items is palloc'd. */
static int
lock_items(KsPlan *plan, const uint8 *workspace, int32 key_version, int limit, const KsReencryptItem *after,
		   KsReencryptItem **items)
{
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, key_version);
	ks_arg_int(&args, true, limit);
	if (after != NULL)
	{
		ks_arg_uuid(&args, after->credential);
		ks_arg_int(&args, true, after->version);
	}
	n = (int) ks_spi_write(plan, &args);
	*items = MemoryContextAlloc(spi.caller, Max(n, 1) * sizeof(KsReencryptItem));
	read_items(*items, n);
	ks_spi_end(&spi);
	return n;
}

/*
 * The order is that of the index whose beginning has what is left: by another
 * one each batch would pass over all that is done.  Credentials are looked up
 * one by one, however few the planner believes there are.
 */
static int
lock_pending(const uint8 *workspace, int32 key_version, int limit, KsReencryptItem **items)
{
	static KsPlan plan = {.sql =
		"SELECT p.credential_id, p.version FROM (SELECT x.credential_id, x.version"
		"  FROM keystone_private.ciphertext x WHERE" PENDING " ORDER BY x.key_version) p" LOCKED_CREDENTIAL " LIMIT $3"
	};

	return lock_items(&plan, workspace, key_version, limit, NULL, items);
}

/* Of those that have failed the next ones after one, which moves on with them. */
static int
lock_failed(const uint8 *workspace, int32 key_version, int limit, KsReencryptItem *after, KsReencryptItem **items)
{
	static KsPlan plan = {.sql =
		"SELECT p.credential_id, p.version FROM (SELECT f.credential_id, f.version"
		"  FROM keystone_private.reencrypt_failures f"
		"  WHERE f.workspace_id = $1 AND (f.credential_id, f.version) > ($4, $5)"
		"  AND (SELECT x.key_version FROM keystone_private.ciphertext x WHERE x.workspace_id = f.workspace_id"
		"   AND x.credential_id = f.credential_id AND x.version = f.version) < $2"
		"  ORDER BY f.credential_id, f.version) p" LOCKED_CREDENTIAL " LIMIT $3"
	};
	int			n = lock_items(&plan, workspace, key_version, limit, after, items);

	if (n > 0)
		*after = (*items)[n - 1];
	return n;
}

/*
 * Looks ahead.  Nothing is locked: what is seen may be done, or destroyed, when
 * its turn comes.
 */
static void
look_ahead(const uint8 *workspace, int32 key_version, KsReencryptAhead *ahead)
{
	static KsPlan plan = {.sql =
		"SELECT x.credential_id, x.version FROM keystone_private.ciphertext x WHERE" PENDING
		" ORDER BY x.key_version LIMIT $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, key_version);
	ks_arg_int(&args, true, ahead->max);
	ahead->n = (int) ks_spi_read(&plan, &args);
	ahead->next = 0;
	if (memcmp(ahead->workspace, workspace, KS_ID_LEN) != 0)
		memset(&ahead->failed, 0, sizeof(ahead->failed));
	memcpy(ahead->workspace, workspace, KS_ID_LEN);
	read_items(ahead->items, ahead->n);
	ks_spi_end(&spi);
}

/* Locks the credentials of the next ones; those that others hold, or that are
 * no more, are left out. */
static int
lock_ahead(const uint8 *workspace, KsReencryptAhead *ahead, int limit, KsReencryptItem **items)
{
	static KsPlan plan = {.sql =
		"SELECT p.credential_id, p.version FROM unnest($2, $3) AS p (credential_id, version)" LOCKED_CREDENTIAL
	};
	int			n = Min(limit, ahead->n - ahead->next);
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum	   *versions = palloc(n * sizeof(Datum));
	KsArgs		args = {0};
	KsSpi		spi;

	for (int i = 0; i < n; i++)
	{
		ids[i] = ks_uuid_datum(ahead->items[ahead->next + i].credential);
		versions[i] = Int32GetDatum(ahead->items[ahead->next + i].version);
	}
	ahead->next += n;
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_datum(&args, true, UUIDARRAYOID,
				 PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	ks_arg_datum(&args, true, INT4ARRAYOID,
				 PointerGetDatum(construct_array(versions, n, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
	n = (int) ks_spi_write(&plan, &args);
	*items = MemoryContextAlloc(spi.caller, Max(n, 1) * sizeof(KsReencryptItem));
	read_items(*items, n);
	ks_spi_end(&spi);
	return n;
}

/* Notes that a version does not open.  False when that was known. */
static bool
add_failure(const uint8 *workspace, const KsReencryptItem *item)
{
	static KsPlan insert = {.sql =
		"INSERT INTO keystone_private.reencrypt_failures (workspace_id, credential_id, version)"
		" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
	};
	static KsPlan again = {.sql =
		"UPDATE keystone_private.reencrypt_failures SET tried_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND credential_id = $2 AND version = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		fresh;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, item->credential);
	ks_arg_int(&args, true, item->version);
	fresh = ks_spi_write(&insert, &args) == 1;
	if (!fresh)
		(void) ks_spi_write(&again, &args);
	ks_spi_end(&spi);
	return fresh;
}

/* Forgets those of a workspace that are sealed under the newest key now, or
 * destroyed. */
static void
forget_failures(const uint8 *workspace, int32 key_version)
{
	static KsPlan plan = {.sql =
		"DELETE FROM keystone_private.reencrypt_failures f WHERE f.workspace_id = $1"
		" AND NOT EXISTS (SELECT FROM keystone_private.ciphertext x WHERE x.workspace_id = f.workspace_id"
		"  AND x.credential_id = f.credential_id AND x.version = f.version AND x.key_version < $2)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, key_version);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* The reason is for the server log; verify_all() shows it to who may know. */
static void
warn_of_failure(const KsReencryptItem *item, const KsProblem *problem)
{
	char		id[37];

	ks_text_from_uuid(item->credential, id);
	ereport(WARNING,
			errcode(problem->sqlstate),
			errmsg("version %d of credential %s could not be encrypted again", item->version, id),
			errdetail_log("%s.", problem->reason != NULL ? problem->reason : problem->message),
			errhint("keystone.verify_all() says what is wrong with it."));
}

/*
 * Seals one version again.  A root key that is missing, or a customer's key
 * management service that does not answer, is no fault of this version: then
 * the whole batch ends with that error.
 */
static bool
reencrypt_one(KsVerb *verb, const uint8 *workspace, int32 key_version, const KsReencryptItem *item,
			  const char *source, KsReencrypted *result)
{
	KsCredential credential;
	KsSealed	sealed;
	KsProblem	problem = {0};
	bool		done;

	if (!ks_store_find_id(item->credential, item->version, &credential, &sealed) ||
		sealed.version == 0 || sealed.envelope == NULL || sealed.key_version >= key_version)
		return false;			/* destroyed, or done, before its row was
								 * locked */

	ks_change_begin(verb);
	done = ks_vault_reseal(&credential, &sealed, &problem);
	if (done && source != NULL)
		ks_detail_add(&verb->detail, "source", source);
	ks_change_end(verb, &credential, item->version);
	if (done)
		return true;
	if (problem.sqlstate == KS_ERRCODE_SEALED && !problem.shredded)
		ks_vault_raise(&problem);
	if (add_failure(workspace, item))
	{
		warn_of_failure(item, &problem);
		result->failed++;
	}
	return false;
}

/* Returns how many of them are done. */
static int64
reencrypt_each(KsVerb *verb, const uint8 *workspace, int32 key_version, const KsReencryptItem *items, int n,
			   const char *source, KsReencrypted *result)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone reencrypt", ALLOCSET_DEFAULT_SIZES);
	int64		done = 0;

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		done += reencrypt_one(verb, workspace, key_version, &items[i], source, result) ? 1 : 0;
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(work);
	return done;
}

static int64
count_pending(const uint8 *workspace, int32 key_version)
{
	static KsPlan plan = {.sql = "SELECT count(*) FROM keystone_private.ciphertext x WHERE" PENDING};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		n = 0;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, key_version);
	(void) ks_spi_read(&plan, &args);
	(void) ks_col_bigint(0, 1, &n);
	ks_spi_end(&spi);
	return n;
}

/* The same of all workspaces. */
static int64
count_all_pending(void)
{
	static KsPlan plan = {.sql =
		"SELECT coalesce(sum(p.n), 0)::bigint FROM (SELECT workspace_id, max(version) AS newest"
		"  FROM keystone_private.workspace_keys GROUP BY workspace_id HAVING max(version) > 1) k"
		" CROSS JOIN LATERAL (SELECT count(*) AS n FROM keystone_private.ciphertext x"
		"  WHERE x.workspace_id = k.workspace_id AND x.key_version < k.newest) p"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		n = 0;

	ks_spi_begin(&spi);
	(void) ks_spi_read(&plan, &args);
	(void) ks_col_bigint(0, 1, &n);
	ks_spi_end(&spi);
	return n;
}

int64
ks_reencrypt_pending(const uint8 *workspace)
{
	return workspace == NULL ? count_all_pending() : count_pending(workspace, ks_keys_current_version(workspace));
}

/* Goes on with what was seen ahead, until something is done. */
static void
batch_ahead(KsVerb *verb, const uint8 *workspace, int32 key_version, int limit, const char *source,
			KsReencryptAhead *ahead, KsReencrypted *result)
{
	if (memcmp(ahead->workspace, workspace, KS_ID_LEN) != 0 || ahead->next == ahead->n)
		look_ahead(workspace, key_version, ahead);
	while (result->done == 0 && ahead->next < ahead->n)
	{
		KsReencryptItem *items;
		int			n = lock_ahead(workspace, ahead, limit, &items);

		result->done = reencrypt_each(verb, workspace, key_version, items, n, source, result);
		pfree(items);
	}
}

/*
 * Tries what has failed before, until one is done: that the first ones are
 * still damaged says nothing about the others.
 */
static void
batch_failed(KsVerb *verb, const uint8 *workspace, int32 key_version, int limit, const char *source,
			 KsReencryptItem *after, KsReencrypted *result)
{
	int64		before = result->done;
	int			n;

	do
	{
		KsReencryptItem *items;

		n = lock_failed(workspace, key_version, limit, after, &items);
		result->done += reencrypt_each(verb, workspace, key_version, items, n, source, result);
		pfree(items);
	} while (n == limit && result->done == before);
	if (n < limit)
		forget_failures(workspace, key_version);
}

/*
 * Passes over what others hold, however much that is.  What it meets beyond the
 * limit is for the batches to come; until this transaction ends it is locked,
 * too.  Returns how many there were for this one.
 */
static int
batch_pending(KsVerb *verb, const uint8 *workspace, int32 key_version, int limit, const char *source,
			  KsReencryptAhead *ahead, KsReencrypted *result)
{
	KsReencryptItem *items;
	int			found = lock_pending(workspace, key_version, ahead != NULL ? Max(limit, ahead->max) : limit, &items);
	int			n = Min(found, limit);

	result->done = reencrypt_each(verb, workspace, key_version, items, n, source, result);
	if (ahead != NULL)
	{
		ahead->n = Min(found - n, KS_REENCRYPT_AHEAD);
		ahead->next = 0;
		memcpy(ahead->items, items + n, ahead->n * sizeof(KsReencryptItem));
	}
	pfree(items);
	return n;
}

void
ks_reencrypt_batch(KsVerb *verb, const uint8 workspace[KS_ID_LEN], int limit, const char *source,
				   KsReencryptAhead *ahead, KsReencrypted *result)
{
	KsReencryptItem first = {0};
	int32		key_version = ks_keys_current_version(workspace);
	int			n;

	memset(result, 0, sizeof(*result));
	if (key_version == 0)
		ks_error_shredded(NULL);
	if (ahead != NULL)
		batch_ahead(verb, workspace, key_version, limit, source, ahead, result);
	if (result->done > 0)
		return;

	/*
	 * A batch in which nothing opens is not the end: those are passed over
	 * now.
	 */
	do
	{
		n = batch_pending(verb, workspace, key_version, limit, source, ahead, result);
	} while (n == limit && result->done == 0);
	if (n == limit)
		return;

	batch_failed(verb, workspace, key_version, limit - n, source, ahead != NULL ? &ahead->failed : &first, result);
	if (result->done == 0)
		result->locked = count_pending(workspace, key_version);
}

bool
ks_reencrypt_try_batch(KsVerb *verb, const uint8 workspace[KS_ID_LEN], int limit, const char *source,
					   KsReencryptAhead *ahead, KsReencrypted *result, char **problem)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		ks_reencrypt_batch(verb, workspace, limit, source, ahead, result);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != KS_ERRCODE_SEALED && error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		verb->changing = verb->has_credential = false;
		verb->detail.n = 0;
		verb->detail.len = 0;
		*problem = error->message;
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

bool
ks_reencrypt_next(uint8 id[KS_ID_LEN], bool customers, bool failed)
{
	/* Whoever has one version of the key only has nothing to do. */
	static KsPlan plan = {.sql =
		"SELECT k.workspace_id FROM (SELECT workspace_id, max(version) AS newest FROM keystone_private.workspace_keys"
		"  WHERE workspace_id > $1 GROUP BY workspace_id"
		"  HAVING max(version) > 1 AND ($2 OR count(kms_uri) = 0)) k"
		" CROSS JOIN LATERAL (SELECT 1 FROM keystone_private.ciphertext x WHERE x.workspace_id = k.workspace_id"
		"  AND x.key_version < k.newest AND ($3 OR (SELECT f.version FROM keystone_private.reencrypt_failures f"
		"   WHERE f.workspace_id = x.workspace_id AND f.credential_id = x.credential_id AND f.version = x.version) IS NULL)"
		"  ORDER BY x.key_version LIMIT 1) p"
		" ORDER BY k.workspace_id LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, id);
	ks_arg_bool(&args, true, customers);
	ks_arg_bool(&args, true, failed);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found;
}
