/*-------------------------------------------------------------------------
 *
 * ks_keycare.c
 *	  What the housekeeper does for keys.
 *
 * Keys that a customer's key wraps are left to the workspace's own people: who
 * makes or opens one may have to wait for somebody else's service, and the
 * housekeeper waits for nobody.  A workspace of which something fails is
 * passed over until the next round.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ks_change.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_keycare.h"
#include "ks_keys.h"
#include "ks_reencrypt.h"
#include "ks_rewrap.h"
#include "ks_text.h"

#define ROTATE_BATCH		100 /* workspaces in one transaction */
#define REENCRYPT_BATCH		20	/* versions of values */
#define REENCRYPT_BATCHES	10	/* of a workspace, before the next one's turn */
#define FORMER_BATCH		1000	/* keys */
#define MILLION				1000000
#define SAID_MAX			64	/* workspaces whose problem was reported */
#define SAY_AGAIN_MS		3600000

#define SOURCE				"housekeeper"

/* What was read of the counters, and is being saved. */
static KsKeyCount counts[KS_KEYCOUNT_MAX];
static int	ncounts = 0;

bool
ks_keycare_save_counts(void)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.key_usage AS u (workspace_id, version, encryptions)"
		" SELECT k.workspace_id, k.version, $3 FROM keystone_private.workspace_keys k"
		" WHERE k.workspace_id = $1 AND k.version = $2"
		" ON CONFLICT (workspace_id, version) DO UPDATE SET encryptions = u.encryptions + excluded.encryptions"
	};
	KsSpi		spi;

	ncounts = ks_keycount_read(counts);
	if (ncounts == 0)
		return false;
	ks_spi_begin_write(&spi);
	for (int i = 0; i < ncounts; i++)
	{
		KsArgs		args = {0};

		ks_arg_uuid(&args, counts[i].workspace);
		ks_arg_int(&args, true, (int32) counts[i].version);
		ks_arg_bigint(&args, true, (int64) Min(counts[i].n, (uint64) PG_INT64_MAX));
		(void) ks_spi_write(&plan, &args);
	}
	ks_spi_end(&spi);
	return false;
}

void
ks_keycare_counts_saved(void)
{
	static uint64 reported = 0;
	uint64		missed = ks_keycount_missed();

	ks_keycount_saved(counts, ncounts);
	ncounts = 0;
	if (missed != reported)
		ereport(LOG,
				errmsg("keystone: " UINT64_FORMAT " encryptions were not counted, since too many keys encrypt at a time",
					   missed - reported),
				errhidestmt(true));
	reported = missed;
}

static bool
is_on(void)
{
	return ks_key_max_age > 0 || ks_key_max_encryptions > 0;
}

/*
 * Workspaces whose newest key has served its time; their rows are locked, as
 * whoever rotates or destroys keys locks them.  *workspaces is palloc'd.
 */
static int
lock_due(uint8 (**workspaces)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT w.id FROM (SELECT DISTINCT ON (workspace_id) workspace_id, version, created_at, kms_uri"
		"  FROM keystone_private.workspace_keys ORDER BY workspace_id, version DESC) k"
		" JOIN keystone.workspaces w ON w.id = k.workspace_id"
		" LEFT JOIN keystone_private.key_usage u ON u.workspace_id = k.workspace_id AND u.version = k.version"
		" WHERE w.purge_after IS NULL AND k.kms_uri IS NULL"
		" AND (($1 > 0 AND k.created_at <= clock_timestamp() - make_interval(days => $1))"
		"  OR ($2 > 0 AND u.encryptions >= $2))"
		" LIMIT $3 FOR NO KEY UPDATE OF w SKIP LOCKED"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	ks_arg_int(&args, true, ks_key_max_age);
	ks_arg_bigint(&args, true, (int64) ks_key_max_encryptions * MILLION);
	ks_arg_int(&args, true, ROTATE_BATCH);
	n = (int) ks_spi_write(&plan, &args);
	*workspaces = MemoryContextAlloc(spi.caller, Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, (*workspaces)[i]);
	ks_spi_end(&spi);
	return n;
}

/* A trigger writes the entry of each new version. */
static Datum
rotate_due(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	uint8		(*workspaces)[KS_ID_LEN];
	int			n;

	ks_verb_enter_own(verb);
	ks_detail_add(&verb->detail, "source", SOURCE);
	n = lock_due(&workspaces);
	for (int i = 0; i < n; i++)
		(void) ks_keys_add_version(workspaces[i]);
	return BoolGetDatum(n == ROTATE_BATCH);
}

bool
ks_keycare_rotate(void)
{
	if (!is_on() || !ks_keyring_has_mac_key())
		return false;
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_KEY_ROTATE, rotate_due));
}

/*
 * What keeps a workspace's values from being encrypted again is said once an
 * hour, and at once when it changes.  problem is the error's, which is the
 * client's: that the key is to blame is looked up.
 */
static void
report_reencrypt(const uint8 *workspace, const char *problem)
{
	static struct
	{
		uint8		workspace[KS_ID_LEN];
		int32		version;
		TimestampTz at;
	}			said[SAID_MAX];
	static int	next = 0;
	TimestampTz now = GetCurrentTimestamp();
	int32		version = ks_keys_current_version(workspace);
	KsDamagedKey *keys;
	char		id[37];
	int			n;

	for (int i = 0; i < SAID_MAX; i++)
	{
		if (memcmp(said[i].workspace, workspace, KS_ID_LEN) == 0 && said[i].version == version &&
			now >= said[i].at && !TimestampDifferenceExceeds(said[i].at, now, SAY_AGAIN_MS))
			return;
	}
	memcpy(said[next].workspace, workspace, KS_ID_LEN);
	said[next].version = version;
	said[next].at = now;
	next = (next + 1) % SAID_MAX;

	n = ks_keys_damaged(workspace, &keys);
	for (int i = 0; i < n; i++)
	{
		if (keys[i].version == version)
			problem = ks_keys_damage_text(&keys[i]);
	}
	ks_text_from_uuid(workspace, id);
	ereport(LOG,
			errcode(KS_ERRCODE_SEALED),
			errmsg("keystone: values of workspace %s could not be encrypted again under version %d of its key: %s",
				   id, version, problem),
			errhidestmt(true));
}

/*
 * One batch of one workspace; the next round begins with the first one.  One
 * with much to do, or whose key is replaced again and again, does not keep the
 * others from their turn.
 */
static Datum
reencrypt_next(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	static uint8 last[KS_ID_LEN];
	static int	batches = 0;	/* of this workspace */
	static bool left = false;	/* one was, with more to do */
	uint8		workspace[KS_ID_LEN];
	KsReencrypted result;
	char	   *problem;
	bool		again = left;

	memcpy(workspace, last, KS_ID_LEN);
	if (!ks_reencrypt_next(workspace, false, false))
	{
		memset(last, 0, KS_ID_LEN);
		left = false;
		return BoolGetDatum(again);
	}
	ks_verb_enter_own(verb);
	if (!ks_reencrypt_try_batch(verb, workspace, REENCRYPT_BATCH, SOURCE, NULL, &result, &problem))
	{
		report_reencrypt(workspace, problem);
		result.done = 0;
	}
	if (result.done == REENCRYPT_BATCH && ++batches < REENCRYPT_BATCHES)
		return BoolGetDatum(true);
	left |= result.done == REENCRYPT_BATCH;
	batches = 0;
	memcpy(last, workspace, KS_ID_LEN);
	return BoolGetDatum(true);
}

bool
ks_keycare_reencrypt(void)
{
	if (!is_on() || !ks_keyring_has_mac_key())
		return false;
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_KEY_REENCRYPT, reencrypt_next));
}

static Datum
drop_former(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	ks_verb_enter_own(verb);
	return BoolGetDatum(ks_rewrap_drop_former(verb, FORMER_BATCH) >= FORMER_BATCH);
}

bool
ks_keycare_drop_former(void)
{
	if (!ks_keyring_has_mac_key())
		return false;
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_KEY_REWRAP, drop_former));
}
