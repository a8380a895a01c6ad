/*-------------------------------------------------------------------------
 *
 * ks_limits.c
 *	  Limits as somebody defined them, made ready for their counters.
 *
 * The definitions of a workspace are read together, when the first of them is
 * asked for; those of the database are the nil workspace's.  All are dropped
 * when the table or the keyring changes.  Memory that is dropped is freed one
 * drop later, so that a definition in use outlives the invalidation that comes
 * while it is used.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_inval.h"
#include "ks_keyring.h"
#include "ks_limits.h"
#include "ks_rows.h"
#include "ks_siphash.h"
#include "ks_text.h"

#define CACHED_SETS		1024	/* workspaces; then the cache starts again */
#define CACHED_ADHOC	128
#define SEED_LEN		32
#define FLUSH_BATCH		5000	/* counters saved in one transaction */
#define CLEAN_BATCH		2000	/* saved counters looked at in one transaction */
#define CLEAN_EVERY		60		/* flushes */

static const struct
{
	const char *name;
	uint32		bit;
}			subjects[] = {
	{"principal", KS_LIMIT_BY_PRINCIPAL}, {"workspace", KS_LIMIT_BY_WORKSPACE},
	{"credential", KS_LIMIT_BY_CREDENTIAL}, {"provider", KS_LIMIT_BY_PROVIDER},
};

/* The definitions of one workspace. */
typedef struct Set
{
	uint8		workspace[KS_ID_LEN];	/* key of the hash table: first */
	int			n;
	KsLimitDef *defs;			/* ordered by name */
} Set;

typedef struct Adhoc
{
	uint32		hash;			/* of the windows; 0: unused */
	char		windows[KS_WINDOWSPEC_TEXT_MAX + 1];
	KsLimitDef	def;
} Adhoc;

static const uint8 nil[KS_ID_LEN] = {0};

static MemoryContext sets_context = NULL;
static MemoryContext retired_context = NULL;
static HTAB *sets = NULL;
static bool sets_valid = false;
static uint64 sets_generation = 0;
static Oid	limits_table = InvalidOid;
static uint32 next_label = 1;

static uint8 seed[SEED_LEN];
static bool seed_known = false;

static Adhoc *adhoc = NULL;
static int	next_adhoc = 0;


/*-------------------------------------------------------------------------
 * Hashes
 *-------------------------------------------------------------------------
 */

/* Reads the seed.  What was made under another one is forgotten: the extension
 * was installed anew. */
static void
read_seed(void)
{
	static KsPlan plan = {.sql = "SELECT seed FROM keystone_private.limit_seed LIMIT 1"};
	KsArgs		args = {0};
	KsSpi		spi;
	uint8	   *found = NULL;
	size_t		len = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
		found = ks_col_bytes(&spi, 0, 1, &len);
	ks_spi_end(&spi);
	if (found == NULL || len != SEED_LEN)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table keystone_private.limit_seed has no seed of %d bytes", SEED_LEN),
				errhint("Extension keystone is damaged in this database."));
	if (adhoc != NULL && memcmp(seed, found, SEED_LEN) != 0)
		memset(adhoc, 0, CACHED_ADHOC * sizeof(Adhoc));
	memcpy(seed, found, SEED_LEN);
	seed_known = true;
}

/*
 * The purpose and the database make a key of their own, under which the bytes
 * are hashed.
 */
static void
hash_under_seed(const char *purpose, const void *data, size_t len, uint8 hash[KS_LIMIT_HASH_LEN])
{
	uint8		label[64];
	uint8		key[KS_SIPHASH_LEN];
	size_t		purpose_len = strlen(purpose);

	Assert(sizeof(Oid) + purpose_len <= sizeof(label));
	memcpy(label, &MyDatabaseId, sizeof(Oid));
	memcpy(label + sizeof(Oid), purpose, purpose_len);
	ks_siphash(seed, label, sizeof(Oid) + purpose_len, key);
	for (int i = 0; i < KS_SIPHASH_LEN; i++)
		key[i] ^= seed[KS_SIPHASH_LEN + i];
	ks_siphash(key, data, len, hash);
}

/* What tells a definition's counters from others'. */
static void
hash_def(KsLimitDef *def)
{
	char		identity[KS_ID_LEN + KS_NAME_MAX + 1];
	size_t		len = KS_ID_LEN + strlcpy(identity + KS_ID_LEN, def->name, KS_NAME_MAX + 1);

	memcpy(identity, def->workspace, KS_ID_LEN);
	hash_under_seed("limit key", identity, len, def->hash_key);
	hash_under_seed("limit sink", identity, len, def->sink);
}

/*
 * A window is its algorithm and period; a calendar's its unit and time zone.
 * A log is a sliding window of few: a definition that changes from one to the
 * other keeps its counters.
 */
static void
hash_window(const KsLimitDef *def, int i, uint8 mask[KS_LIMIT_HASH_LEN])
{
	const KsWindowSpec *spec = &def->windows[i];
	uint8		identity[2 + sizeof(int64) + TZ_STRLEN_MAX + 1] = {0};
	size_t		len = 2 + sizeof(int64);

	identity[0] = (uint8) (spec->window.algorithm == KS_WINDOW_LOG ? KS_WINDOW_SLIDING : spec->window.algorithm);
	memcpy(identity + 2, &spec->window.period, sizeof(int64));
	if (spec->window.algorithm == KS_WINDOW_CALENDAR)
	{
		identity[1] = (uint8) spec->unit;
		len += strlcpy((char *) identity + len, pg_get_timezone_name(def->zone), TZ_STRLEN_MAX + 1);
	}
	hash_under_seed("limit window", identity, Min(len, sizeof(identity)), mask);
}

static void
hash_all(KsLimitDef *def)
{
	hash_def(def);
	for (int i = 0; i < def->n; i++)
		hash_window(def, i, def->masks[i]);
}


/*-------------------------------------------------------------------------
 * The cache of definitions
 *-------------------------------------------------------------------------
 */

/*
 * A callback must not look into the catalog: the oid is that of the last
 * refresh.  InvalidOid stands for all relations.
 */
static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == limits_table)
		sets_valid = false;
}

static void
start_sets(void)
{
	HASHCTL		ctl = {.keysize = KS_ID_LEN, .entrysize = sizeof(Set)};

	if (retired_context != NULL)
		MemoryContextDelete(retired_context);
	retired_context = sets_context;
	sets = NULL;
	sets_context = AllocSetContextCreate(TopMemoryContext, "keystone limits", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = sets_context;
	sets = hash_create("keystone limits", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Takes in what others have committed, and drops the cache if it is stale. */
static void
refresh_cache(void)
{
	static bool registered = false;
	KsSealStatus status;

	if (!registered)
	{
		ks_inval_register(relcache_changed);
		registered = true;
	}
	AcceptInvalidationMessages();
	ks_keyring_status(&status);
	if (sets_valid && sets != NULL && seed_known && sets_generation == status.generation)
		return;

	/* Noted before anything is read: what changes meanwhile counts. */
	limits_table = get_relname_relid("limits", get_namespace_oid("keystone_private", false));
	sets_valid = true;
	sets_generation = status.generation;
	start_sets();
	read_seed();
}

/* Reads a list such as "principal,provider". */
static uint32
read_key_by(const char *list)
{
	uint32		bits = 0;

	while (*list != '\0')
	{
		size_t		len = strcspn(list, ",");

		for (size_t i = 0; i < lengthof(subjects); i++)
		{
			if (strlen(subjects[i].name) == len && strncmp(subjects[i].name, list, len) == 0)
				bits |= subjects[i].bit;
		}
		list += len;
		list += strspn(list, ",");
	}
	return bits;
}

static char *
copy_text(const char *text)
{
	return text != NULL ? MemoryContextStrdup(sets_context, text) : NULL;
}

/*
 * Compiles a row; false when this server cannot, which needs another version's
 * rows.  A time zone that the server has no more is UTC.
 */
static bool
compile(const KsLimitRow *row, KsLimitDef *def)
{
	memset(def, 0, sizeof(*def));
	if (strlen(row->name) > KS_NAME_MAX ||
		ks_windowspec_read(row->windows, ks_windowspec_algorithm(row->algorithm), def->windows, &def->n) != NULL)
		return false;
	memcpy(def->workspace, row->workspace, KS_ID_LEN);
	def->name = copy_text(row->name);
	def->zone = ks_windowspec_zone(row->timezone);
	if (def->zone == NULL)
		def->zone = pg_tzset("GMT");
	def->protect = strcmp(row->limit_class, "protect") == 0;
	def->shadow = row->shadow;
	def->refundable = row->refundable;
	def->near_percent = row->near_percent;
	def->enforce_action = copy_text(row->enforce_action);
	def->enforce_provider = copy_text(row->enforce_provider);
	def->key_by = read_key_by(row->key_by);
	def->label = next_label++;
	hash_all(def);
	return true;
}

static int
compare_defs(const void *a, const void *b)
{
	return strcmp(((const KsLimitDef *) a)->name, ((const KsLimitDef *) b)->name);
}

static void
load_set(Set *set)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_LIMIT_COLUMNS " FROM keystone_private.limits l"
		" WHERE l.workspace_id = $1 AND l.dropped_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int			n = 0;
	KsLimitDef *defs;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, set->workspace);
	rows = ks_spi_read(&plan, &args);
	defs = MemoryContextAllocHuge(sets_context, Max(rows, 1) * sizeof(KsLimitDef));
	for (uint64 i = 0; i < rows; i++)
	{
		KsLimitRow	row;

		if (ks_limit_read(&spi, i, 1, &row) && compile(&row, &defs[n]))
			n++;
	}
	ks_spi_end(&spi);
	qsort(defs, n, sizeof(KsLimitDef), compare_defs);
	set->defs = defs;
	set->n = n;
}

/* The definitions of a workspace.  Work memory is freed here. */
static const Set *
find_set(const uint8 *workspace)
{
	bool		found;
	Set		   *set = hash_search(sets, workspace, HASH_FIND, NULL);
	Set			loaded;
	MemoryContext work;
	MemoryContext old;

	if (set != NULL)
		return set;
	if (hash_get_num_entries(sets) >= CACHED_SETS)
		start_sets();
	memset(&loaded, 0, sizeof(loaded));
	memcpy(loaded.workspace, workspace, KS_ID_LEN);
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone limits loading", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(work);
	load_set(&loaded);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);

	/* only what was read whole enters the cache */
	set = hash_search(sets, workspace, HASH_ENTER, &found);
	*set = loaded;
	return set;
}

static const KsLimitDef *
find_in_set(const Set *set, const char *name)
{
	int			low = 0;
	int			high = set->n - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(set->defs[middle].name, name);

		if (order == 0)
			return &set->defs[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

const KsLimitDef *
ks_limits_own(const uint8 workspace[KS_ID_LEN], const char *name)
{
	refresh_cache();
	return find_in_set(find_set(workspace), name);
}

const KsLimitDef *
ks_limits_find(const uint8 workspace[KS_ID_LEN], const char *name)
{
	const KsLimitDef *def;

	refresh_cache();
	def = find_in_set(find_set(nil), name);
	if (def == NULL && memcmp(workspace, nil, KS_ID_LEN) != 0)
		def = find_in_set(find_set(workspace), name);
	return def;
}

int
ks_limits_count(const uint8 workspace[KS_ID_LEN])
{
	refresh_cache();
	return find_set(workspace)->n;
}

/* The transaction in which what is enforced was changed here. */
static LocalTransactionId changed_in = InvalidLocalTransactionId;

void
ks_limits_note_change(void)
{
	changed_in = ks_local_transaction();
}

bool
ks_limits_changed_here(void)
{
	return LocalTransactionIdIsValid(changed_in) && changed_in == ks_local_transaction();
}

static int
add_enforced(const Set *set, const char *action, const char *provider, const KsLimitDef **defs, int n)
{
	for (int i = 0; i < set->n && n < KS_LIMITS_ENFORCED_MAX; i++)
	{
		const KsLimitDef *def = &set->defs[i];

		if (def->enforce_action != NULL && strcmp(def->enforce_action, action) == 0 &&
			(def->enforce_provider == NULL ||
			 (provider != NULL && strcmp(def->enforce_provider, provider) == 0)))
			defs[n++] = def;
	}
	return n;
}

int
ks_limits_enforced(const uint8 workspace[KS_ID_LEN], const char *action, const char *provider,
				   const KsLimitDef ***defs)
{
	static const KsLimitDef *found[KS_LIMITS_ENFORCED_MAX];
	const Set  *set;
	int			n;

	refresh_cache();
	set = find_set(nil);
	n = add_enforced(set, action, provider, found, 0);
	if (memcmp(workspace, nil, KS_ID_LEN) != 0)
		n = add_enforced(find_set(workspace), action, provider, found, n);
	*defs = found;
	return n;
}

int
ks_limits_enforced_windows(const uint8 workspace[KS_ID_LEN], const char *action, const char *but)
{
	const Set  *set;
	int			windows = 0;

	refresh_cache();
	set = find_set(workspace);
	for (int i = 0; i < set->n; i++)
	{
		const KsLimitDef *def = &set->defs[i];

		if (def->enforce_action != NULL && strcmp(def->enforce_action, action) == 0 &&
			strcmp(def->name, but) != 0)
			windows += def->n;
	}
	return windows;
}


/*-------------------------------------------------------------------------
 * Windows that are no definition
 *-------------------------------------------------------------------------
 */

static uint32
hash_windows(const char *windows)
{
	uint32		hash = UINT32_C(2166136261);	/* FNV-1a; finds cached texts
												 * only */

	for (; *windows != '\0'; windows++)
		hash = (hash ^ (unsigned char) *windows) * UINT32_C(16777619);
	return hash | 1;
}

static const KsLimitDef *
compile_adhoc(const char *windows, uint32 hash)
{
	KsLimitDef	def;
	Adhoc	   *slot;

	memset(&def, 0, sizeof(def));
	def.name = "";
	def.n = ks_windowspec_parse("windows", windows, KS_WINDOW_SLIDING, def.windows);
	hash_all(&def);
	slot = &adhoc[next_adhoc];
	next_adhoc = (next_adhoc + 1) % CACHED_ADHOC;
	slot->hash = hash;
	strlcpy(slot->windows, windows, sizeof(slot->windows));
	slot->def = def;
	return &slot->def;
}

/* The oldest gives way, so that what was returned lately stays. */
const KsLimitDef *
ks_limits_adhoc(const char *windows)
{
	uint32		hash = hash_windows(windows);
	const KsLimitDef *def = NULL;

	refresh_cache();
	if (adhoc == NULL)
		adhoc = MemoryContextAllocZero(TopMemoryContext, CACHED_ADHOC * sizeof(Adhoc));
	for (int i = 0; i < CACHED_ADHOC && def == NULL; i++)
	{
		if (adhoc[i].hash == hash && strcmp(adhoc[i].windows, windows) == 0)
			def = &adhoc[i].def;
	}
	if (def == NULL)
		def = compile_adhoc(windows, hash);
	unconstify(KsLimitDef *, def)->near_percent = ks_near_soft;
	return def;
}


/*-------------------------------------------------------------------------
 * Asks
 *-------------------------------------------------------------------------
 */

void
ks_limits_hash(const char *purpose, const void *data, size_t len, uint8 hash[KS_LIMIT_HASH_LEN])
{
	refresh_cache();
	hash_under_seed(purpose, data, len, hash);
}

void
ks_limits_key_hash(const KsLimitDef *def, const char *key, size_t key_len, uint8 hash[KS_LIMIT_HASH_LEN])
{
	ks_siphash(def->hash_key, key, key_len, hash);
}

static void
add_mask(uint8 *sum, const uint8 *hash, const uint8 *mask)
{
	for (int i = 0; i < KS_LIMIT_HASH_LEN; i++)
		sum[i] = hash[i] ^ mask[i];
}

/* The present period of a calendar window, which is remembered: time zones are
 * slow. */
static void
set_period(const KsLimitDef *def, int i, TimestampTz now)
{
	KsWindowSpec *spec = unconstify(KsWindowSpec *, &def->windows[i]);

	if (spec->window.algorithm == KS_WINDOW_CALENDAR &&
		(now < spec->window.start || now >= spec->window.end))
		ks_windowspec_period(&spec->window, spec->unit, def->zone, now);
}

int
ks_limits_ask_hash(const KsLimitDef *def, const uint8 hash[KS_LIMIT_HASH_LEN], int64 cost,
				   TimestampTz now, KsLimitAsk *asks)
{
	for (int i = 0; i < def->n; i++)
	{
		KsLimitAsk *ask = &asks[i];

		memset(ask, 0, sizeof(*ask));
		set_period(def, i, now);
		add_mask(ask->hash, hash, def->masks[i]);
		add_mask(ask->sink, def->sink, def->masks[i]);
		memcpy(ask->workspace, def->workspace, KS_ID_LEN);
		ask->window = def->windows[i].window;
		ask->cost = cost;
		ask->protect = def->protect;
		ask->shadow = def->shadow;
		ask->label = def->label;
	}
	return def->n;
}

int
ks_limits_ask(const KsLimitDef *def, const char *key, size_t key_len, int64 cost, TimestampTz now,
			  KsLimitAsk *asks)
{
	uint8		hash[KS_LIMIT_HASH_LEN];

	ks_limits_key_hash(def, key, key_len, hash);
	return ks_limits_ask_hash(def, hash, cost, now, asks);
}

/* The algorithm stays as well: what it has counted would not survive another. */
void
ks_limits_lower(const KsLimitShare *share, KsLimitAsk *asks, int n)
{
	if (share->hard == 0)
		return;
	for (int i = 0; i < n; i++)
		asks[i].window.n = Max(asks[i].window.n * share->hard / 100, 1);
}

int
ks_limits_near(const KsLimitShare *share, int near_percent)
{
	return share->soft > 0 ? Min(share->soft, near_percent) : near_percent;
}

size_t
ks_limits_subject_key(const KsLimitDef *def, const KsLimitSubject *subject, char key[KS_LIMITS_SUBJECT_MAX])
{
	const uint8 *const ids[] = {subject->principal, subject->workspace, subject->credential};
	size_t		len = 0;

	key[0] = '\0';
	for (size_t i = 0; i < lengthof(ids); i++)
	{
		if (!(def->key_by & subjects[i].bit))
			continue;
		if (len > 0)
			key[len++] = '/';
		ks_text_from_uuid(ids[i], key + len);
		len += 36;
	}
	if (def->key_by & KS_LIMIT_BY_PROVIDER)
	{
		if (len > 0)
			key[len++] = '/';
		len += strlcpy(key + len, subject->provider != NULL ? subject->provider : "", KS_PROVIDER_MAX + 1);
	}
	return Min(len, KS_LIMITS_SUBJECT_MAX - 1);
}

/* Until when an ask has to wait; INT64_MAX for ever. */
static int64
retry_at(const KsLimitAsk *ask)
{
	return Max(ask->answer.retry_at, ask->blocked_until);
}

/* Whether a says more than b about why, or how soon, a call is refused. */
static bool
is_tighter(const KsLimitAsk *a, const KsLimitAsk *b)
{
	bool		a_refuses = !a->answer.allowed && !a->shadow;
	bool		b_refuses = !b->answer.allowed && !b->shadow;

	if (a_refuses != b_refuses)
		return a_refuses;
	if (a_refuses)
		return retry_at(a) > retry_at(b);
	if (a->answer.remaining != b->answer.remaining)
		return a->answer.remaining < b->answer.remaining;
	return a->answer.reset_at > b->answer.reset_at;
}

int
ks_limits_tightest(const KsLimitAsk *asks, int n)
{
	int			tightest = 0;

	for (int i = 1; i < n; i++)
	{
		if (is_tighter(&asks[i], &asks[tightest]))
			tightest = i;
	}
	return tightest;
}

int32
ks_limits_seconds_until(TimestampTz until, TimestampTz now)
{
	int64		micros;
	int64		seconds;

	if (until == PG_INT64_MAX)
		return -1;
	if (until <= now)
		return 1;
	micros = until - now;
	seconds = micros / USECS_PER_SEC + (micros % USECS_PER_SEC != 0);
	return (int32) Min(seconds, PG_INT32_MAX);
}


/*-------------------------------------------------------------------------
 * Saved counters
 *-------------------------------------------------------------------------
 */

/* Fills a counter from a result row; false when it has not the right size. */
static bool
read_saved(const KsSpi *spi, uint64 row, KsLimitSaved *saved)
{
	size_t		hash_len = 0;
	size_t		state_len = 0;
	uint8	   *hash = ks_col_bytes(spi, row, 1, &hash_len);
	uint8	   *state = ks_col_bytes(spi, row, 2, &state_len);
	bool		ok = hash != NULL && state != NULL && hash_len == KS_LIMIT_HASH_LEN && state_len == KS_LIMIT_STATE_LEN;

	if (ok)
	{
		memcpy(saved->hash, hash, KS_LIMIT_HASH_LEN);
		memcpy(saved->state, state, KS_LIMIT_STATE_LEN);
	}
	if (hash != NULL)
		pfree(hash);
	if (state != NULL)
		pfree(state);
	return ok;
}

void
ks_limits_prepare(void)
{
	static KsPlan plan = {.sql = "SELECT hash, state FROM keystone_private.limit_state"};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;

	if (ks_limit_is_loaded())
		return;
	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		KsLimitSaved saved;

		CHECK_FOR_INTERRUPTS();

		/* One that is damaged restrains nobody. */
		if (read_saved(&spi, i, &saved))
			(void) ks_limit_restore(&saved);
	}
	ks_spi_end(&spi);
	ks_limit_set_loaded();
}

static Datum
bytes_datum(const void *data, size_t len)
{
	bytea	   *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	return PointerGetDatum(bytes);
}

static void
add_bytes_array(KsArgs *args, Datum *elements, int n)
{
	ks_arg_datum(args, true, BYTEAARRAYOID,
				 PointerGetDatum(construct_array(elements, n, BYTEAOID, -1, false, TYPALIGN_INT)));
}

static void
save(const KsLimitSaved *saved, int n)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.limit_state (hash, state, saved_at)"
		" SELECT DISTINCT ON (c.hash) c.hash, c.state, clock_timestamp() FROM unnest($1, $2) AS c (hash, state)"
		" ON CONFLICT (hash) DO UPDATE SET state = excluded.state, saved_at = excluded.saved_at"
	};
	Datum	   *hashes = palloc(n * sizeof(Datum));
	Datum	   *states = palloc(n * sizeof(Datum));
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	for (int i = 0; i < n; i++)
	{
		hashes[i] = bytes_datum(saved[i].hash, KS_LIMIT_HASH_LEN);
		states[i] = bytes_datum(saved[i].state, KS_LIMIT_STATE_LEN);
	}
	add_bytes_array(&args, hashes, n);
	add_bytes_array(&args, states, n);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

static void
forget_saved(Datum *hashes, int n)
{
	static KsPlan plan = {.sql = "DELETE FROM keystone_private.limit_state WHERE hash = ANY ($1)"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	add_bytes_array(&args, hashes, n);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/*
 * Looks at the next saved counters in the order of their hashes, and deletes
 * those that restrain nobody any more.  One that was used since is saved again.
 */
static void
clean_up(void)
{
	static KsPlan plan = {.sql =
		"SELECT hash, state FROM keystone_private.limit_state WHERE hash > $1 ORDER BY hash LIMIT $2"
	};
	static uint8 last[KS_LIMIT_HASH_LEN];
	Datum	   *over = palloc(CLEAN_BATCH * sizeof(Datum));
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz now = GetCurrentTimestamp();
	KsArgs		args = {0};
	KsSpi		spi;
	int			rows;
	int			n = 0;

	ks_spi_begin(&spi);
	ks_arg_bytes(&args, last, sizeof(last));
	ks_arg_int(&args, true, CLEAN_BATCH);
	rows = (int) ks_spi_read(&plan, &args);
	for (int i = 0; i < rows; i++)
	{
		KsLimitSaved saved;
		MemoryContext old;

		if (!read_saved(&spi, i, &saved))
			continue;
		memcpy(last, saved.hash, KS_LIMIT_HASH_LEN);
		if (!ks_limit_saved_is_over(&saved, now))
			continue;
		old = MemoryContextSwitchTo(caller);
		over[n++] = bytes_datum(saved.hash, KS_LIMIT_HASH_LEN);
		MemoryContextSwitchTo(old);
	}
	ks_spi_end(&spi);
	if (rows < CLEAN_BATCH)
		memset(last, 0, sizeof(last));
	if (n > 0)
		forget_saved(over, n);
}

/* Between a flush and its commit. */
static bool flushing = false;

bool
ks_limits_flush(void)
{
	static int	flushes = 0;
	KsLimitSaved *saved;
	int			n;

	/* The last one did not commit. */
	if (flushing)
		ks_limit_not_saved();
	ks_limits_prepare();

	flushing = true;
	saved = palloc(FLUSH_BATCH * sizeof(KsLimitSaved));
	n = ks_limit_next_dirty(saved, FLUSH_BATCH);
	if (n > 0)
		save(saved, n);
	if (++flushes % CLEAN_EVERY == 0)
		clean_up();
	return n == FLUSH_BATCH;
}

void
ks_limits_flushed(void)
{
	flushing = false;
}
