/*-------------------------------------------------------------------------
 *
 * ks_policy_store.c
 *	  The tables of policies: which hold now, and every version that was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "storage/lock.h"
#include "storage/proc.h"

#include "ks_jsonb.h"
#include "ks_policy_store.h"

/* A tombstone that somebody wrote by hand buries nothing. */
static void
read_policy(const KsSpi *spi, uint64 row, KsStoredPolicy *policy)
{
	policy->valid = ks_policy_read(spi, row, 1, &policy->row);
	policy->row.dropped &= policy->valid;
}

int
ks_policy_store_list(const uint8 workspace[KS_ID_LEN], KsStoredPolicy **policies)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_POLICY_COLUMNS " FROM keystone_private.policies y"
		" WHERE y.workspace_id = $1 ORDER BY y.id COLLATE \"C\""
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int			n = 0;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	rows = ks_spi_read(&plan, &args);
	*policies = MemoryContextAllocZero(spi.caller, Max(rows, 1) * sizeof(KsStoredPolicy));
	for (uint64 i = 0; i < rows; i++)
	{
		read_policy(&spi, i, &(*policies)[n]);
		n += !(*policies)[n].row.dropped;
	}
	ks_spi_end(&spi);
	return n;
}

bool
ks_policy_store_get(const uint8 workspace[KS_ID_LEN], const char *id, KsStoredPolicy *policy)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_POLICY_COLUMNS " FROM keystone_private.policies y WHERE y.workspace_id = $1 AND y.id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(policy, 0, sizeof(*policy));
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, id);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		read_policy(&spi, 0, policy);
	ks_spi_end(&spi);
	return found;
}

/* What holds; false when the version before is not the one that was read. */
static bool
put_current(const KsPolicyRow *row)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.policies AS p (workspace_id, id, version, level, enforcement, document,"
		" created_by, updated_by, updated_at, dropped_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10)"
		" ON CONFLICT (workspace_id, id) DO UPDATE SET version = excluded.version, level = excluded.level,"
		" enforcement = excluded.enforcement, document = excluded.document, updated_by = excluded.updated_by,"
		" updated_at = excluded.updated_at, dropped_at = excluded.dropped_at, row_mac = excluded.row_mac"
		" WHERE p.version = excluded.version - 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		written;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_text(&args, row->id);
	ks_arg_int(&args, true, row->version);
	ks_arg_text(&args, row->level);
	ks_arg_text(&args, row->enforcement);
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(row->document));
	ks_arg_uuid(&args, row->by_principal ? row->updated_by : NULL);
	ks_arg_time(&args, true, row->updated_at);
	ks_arg_time(&args, row->dropped, row->dropped_at);
	ks_policy_add_mac(&args, row);
	written = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return written;
}

static void
add_version(const KsPolicyRow *row)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.policy_versions (workspace_id, id, version, document, created_by, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_text(&args, row->id);
	ks_arg_int(&args, true, row->version);
	ks_arg_datum(&args, !row->dropped, JSONBOID, row->dropped ? (Datum) 0 : JsonbPGetDatum(row->document));
	ks_arg_uuid(&args, row->by_principal ? row->updated_by : NULL);
	ks_arg_time(&args, true, row->updated_at);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* The transaction in which policies were loosened here, and where in it. */
static LocalTransactionId loosened_in = InvalidLocalTransactionId;
static SubTransactionId loosened_by = InvalidSubTransactionId;

/* What is rolled back has loosened nothing. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subxact, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (subxact != loosened_by || !ks_policy_store_loosened_here())
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		loosened_by = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		loosened_in = InvalidLocalTransactionId;
}

/* Of several, the first: it is undone with all that follow, or stays. */
static void
note_loosened(void)
{
	static bool registered = false;

	if (!registered)
		RegisterSubXactCallback(at_subtransaction_end, NULL);
	registered = true;
	if (ks_policy_store_loosened_here())
		return;
	loosened_in = ks_local_transaction();
	loosened_by = GetCurrentSubTransactionId();
}

/* A document that is new and sets nothing only tightens. */
static bool
can_loosen(const KsPolicyRow *row)
{
	JsonbValue	room;

	return row->dropped || row->version > 1 ||
		ks_jsonb_member(&row->document->root, "settings", &room) != NULL;
}

bool
ks_policy_store_loosened_here(void)
{
	return LocalTransactionIdIsValid(loosened_in) && loosened_in == ks_local_transaction();
}

bool
ks_policy_store_put(const KsPolicyRow *row)
{
	if (!put_current(row))
		return false;
	if (can_loosen(row))
		note_loosened();
	add_version(row);
	return true;
}
