/*-------------------------------------------------------------------------
 *
 * ks_kms.c
 *	  Keys that customers hold in a key management service of their own.
 *
 * What lies in shared memory: calls on their way to the runner and back,
 * circuits, and keys that were unwrapped.  What must always hold:
 *
 *	- a key is used for keystone.kms_cache_ttl after the service was asked, and
 *	  not a moment longer; a clock that was set back ends it, too;
 *	- only a key whose check value is right gets into the cache or to a caller:
 *	  nothing is ever sealed with what a broken command printed;
 *	- a key is found by its id, URI and wrapped form together, so that another
 *	  URI in its row never gets the key of this one;
 *	- a call is freed, and wiped, when nobody waits for it any more.  Whoever
 *	  waits leaves it also after an error and when its process ends;
 *	- without a runner no key is kept.
 *
 * Calls for the same wrapped key are one call.  Services hang, also such as
 * have worked before, and must not hold up the others:
 *
 *	- KS_KMS_CALLS run at a time; one that has run for KS_KMS_SLOW_MS makes room
 *	  for another, up to KS_KMS_RUNS in all;
 *	- of the KS_KMS_CALLS, one service has not more than KS_KMS_SERVICE; the next
 *	  one to run is of the service, then of the workspace, with the fewest that
 *	  run, then the oldest;
 *	- a workspace has not more than KS_KMS_SHARE that run, and none besides one
 *	  that is slow for the same URI;
 *	- not more than KS_KMS_UNPROVEN run for URIs that did not succeed last, and
 *	  of these KS_KMS_SERVICE_UNPROVEN to one service: a URI that begins to hang
 *	  takes two places for the time of one call, and is one of these then.
 *
 * What one service is, is read from the URI: up to the first slash of what
 * follows the scheme.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ks_guc.h"
#include "ks_kms.h"
#include "ks_mem.h"
#include "ks_session.h"

#define LABEL_CHECK			"keystone customer key check v1"

#define SLOTS				64	/* calls */
#define SLOTS_SHARE			16	/* of these, those of one workspace */
#define SLOTS_UNPROVEN		32	/* of these, those for URIs that did not
								 * succeed last */
#define SLOTS_SERVICE_UNPROVEN	16	/* of these, those to one service */
#define ATTEMPTS_MAX		3	/* of one call */
#define RETRY_MS			200 /* before the second; doubles */
#define OPEN_MS				1000	/* of a circuit that opens; doubles */
#define OPEN_DOUBLINGS		6
#define GRACE_MS			1000	/* a caller waits longer than a command */

typedef enum CallState
{
	CALL_FREE = 0,
	CALL_QUEUED,
	CALL_RUNNING,
	CALL_DONE
} CallState;

typedef struct Call
{
	CallState	state;
	uint64		number;			/* calls are taken in this order */
	Oid			database;
	uint8		digest[KS_DIGEST_LEN];	/* of URI and wrapped key */
	uint32		service;		/* hash of its name */
	KsKmsCall	call;
	int			waiters;
	bool		detached;		/* wanted, though nobody waits */
	int			attempts;
	TimestampTz not_before;
	TimestampTz deadline;
	TimestampTz asked_at;		/* of the attempt that runs, or was the last */
	char		problem[KS_KMS_PROBLEM_MAX];	/* empty when it succeeded */
	uint8		output[KS_KMS_BLOB_MAX];
	size_t		output_len;
	ConditionVariable done;		/* protects itself */
} Call;

typedef struct Circuit
{
	Oid			database;		/* InvalidOid: free */
	uint8		workspace[KS_ID_LEN];
	char		uri[KS_KMS_URI_MAX + 1];
	TimestampTz used_at;
	int			failures;		/* in a row; from KS_KMS_FAILURES on it is
								 * open */
	int			openings;		/* in a row */
	bool		unnoted;		/* its opening is not in the audit log yet */
	TimestampTz opened_at;
	TimestampTz retry_at;		/* of an open one */
	TimestampTz succeeded_at;
	TimestampTz failed_at;
	char		problem[KS_KMS_PROBLEM_MAX];
} Circuit;

typedef struct CachedKey
{
	Oid			database;		/* InvalidOid: free */
	uint8		key_id[KS_ID_LEN];
	uint8		workspace[KS_ID_LEN];
	uint8		digest[KS_DIGEST_LEN];
	uint8		key[KS_KEY_LEN];
	TimestampTz asked_at;
} CachedKey;

typedef struct KmsShared
{
	int			runner;			/* its proc number, -1: none */
	uint64		last_number;
	ConditionVariable room;		/* a slot became free; protects itself */
	Call		calls[SLOTS];
} KmsShared;

static KmsShared *shared = NULL;
static Circuit *circuits = NULL;	/* ks_kms_cache_size of each */
static CachedKey *cache = NULL;


/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

Size
ks_kms_shmem_size(void)
{
	Size		size = MAXALIGN(sizeof(KmsShared));

	size = add_size(size, MAXALIGN(mul_size(ks_kms_cache_size, sizeof(Circuit))));
	return add_size(size, mul_size(ks_kms_cache_size, sizeof(CachedKey)));
}

void
ks_kms_shmem_init(void *area, bool found)
{
	char	   *at = area;

	shared = (KmsShared *) at;
	at += MAXALIGN(sizeof(KmsShared));
	circuits = (Circuit *) at;
	at += MAXALIGN(ks_kms_cache_size * sizeof(Circuit));
	cache = (CachedKey *) at;
	if (found)
		return;

	memset(area, 0, ks_kms_shmem_size());
	shared->runner = -1;
	ConditionVariableInit(&shared->room);
	for (int i = 0; i < SLOTS; i++)
		ConditionVariableInit(&shared->calls[i].done);
}

static void
lock_kms(void)
{
	LWLockAcquire(ks_lock(KS_LOCK_KMS), LW_EXCLUSIVE);
}

static void
unlock_kms(void)
{
	LWLockRelease(ks_lock(KS_LOCK_KMS));
}

static void
wake_runner(void)
{
	int			proc = shared->runner;

	if (proc >= 0)
		SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}


/*-------------------------------------------------------------------------
 * Names and check values
 *-------------------------------------------------------------------------
 */

/*
 * Whether a part between slashes could mean something else to a program: an
 * option, or the way up in a path.
 */
static bool
is_plain_part(const char *part, size_t len)
{
	return len == 0 || (part[0] != '-' && strspn(part, ".") != len);
}

bool
ks_kms_is_uri(const char *uri)
{
	static const char scheme[] = "abcdefghijklmnopqrstuvwxyz0123456789+.-";
	static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-_:/@=,%";
	size_t		len = strlen(uri);
	size_t		scheme_len = strspn(uri, scheme);

	for (const char *part = uri; *part != '\0'; part += *part == '/' ? 1 : 0)
	{
		size_t		part_len = strcspn(part, "/");

		if (!is_plain_part(part, part_len))
			return false;
		part += part_len;
	}
	return len <= KS_KMS_URI_MAX && uri[0] >= 'a' && uri[0] <= 'z' &&
		strncmp(uri + scheme_len, "://", 3) == 0 && len > scheme_len + 3 &&
		strspn(uri, all) == len;
}

KsCryptoResult
ks_kms_check(const uint8 *key_id, const uint8 key[KS_KEY_LEN], uint8 check[KS_DIGEST_LEN])
{
	KsBytes		pieces[] = {{LABEL_CHECK, sizeof(LABEL_CHECK)}, {key_id, KS_ID_LEN}};

	return ks_hmac_sha256(key, pieces, lengthof(pieces), check);
}

static bool
digest_of(const char *uri, const uint8 *input, size_t len, uint8 digest[KS_DIGEST_LEN])
{
	KsBytes		pieces[] = {{uri, strlen(uri) + 1}, {input, len}};

	return ks_sha256_pieces(pieces, lengthof(pieces), digest) == KS_CRYPTO_OK;
}


/*-------------------------------------------------------------------------
 * The cache of keys.  All under the lock.
 *-------------------------------------------------------------------------
 */

/* When a key ends; for one from the future it is now. */
static TimestampTz
end_of(const CachedKey *entry, TimestampTz now)
{
	if (entry->asked_at > now)
		return now;
	return entry->asked_at + (TimestampTz) ks_kms_cache_ttl * USECS_PER_SEC;
}

/* Wipes what has expired, and returns when the next key does. */
static TimestampTz
sweep_cache(TimestampTz now)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		if (!OidIsValid(cache[i].database))
			continue;
		if (end_of(&cache[i], now) <= now)
			ks_wipe(&cache[i], sizeof(CachedKey));
		else
			next = Min(next, end_of(&cache[i], now));
	}
	return next;
}

static CachedKey *
find_cached(const uint8 *key_id, const uint8 digest[KS_DIGEST_LEN], TimestampTz now)
{
	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		CachedKey  *entry = &cache[i];

		if (entry->database == MyDatabaseId && memcmp(entry->key_id, key_id, KS_ID_LEN) == 0 &&
			memcmp(entry->digest, digest, KS_DIGEST_LEN) == 0)
			return end_of(entry, now) > now ? entry : NULL;
	}
	return NULL;
}

/* Keeps the key that a call gave, in place of the oldest if need be. */
static void
keep_key(const Call *done)
{
	CachedKey  *place = &cache[0];

	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		CachedKey  *entry = &cache[i];

		if (entry->database == done->database && memcmp(entry->key_id, done->call.key_id, KS_ID_LEN) == 0)
		{
			place = entry;
			break;
		}
		if (entry->asked_at < place->asked_at)
			place = entry;
	}
	place->database = done->database;
	memcpy(place->key_id, done->call.key_id, KS_ID_LEN);
	memcpy(place->workspace, done->call.workspace, KS_ID_LEN);
	memcpy(place->digest, done->digest, KS_DIGEST_LEN);
	memcpy(place->key, done->output, KS_KEY_LEN);
	place->asked_at = done->asked_at;
}

void
ks_kms_forget(const uint8 workspace[KS_ID_LEN])
{
	lock_kms();
	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		if (cache[i].database == MyDatabaseId && memcmp(cache[i].workspace, workspace, KS_ID_LEN) == 0)
			ks_wipe(&cache[i], sizeof(CachedKey));
	}
	unlock_kms();
}


/*-------------------------------------------------------------------------
 * Circuits.  All under the lock.
 *-------------------------------------------------------------------------
 */

static Circuit *
find_circuit(Oid database, const uint8 workspace[KS_ID_LEN], const char *uri)
{
	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		if (circuits[i].database == database && memcmp(circuits[i].workspace, workspace, KS_ID_LEN) == 0 &&
			strcmp(circuits[i].uri, uri) == 0)
			return &circuits[i];
	}
	return NULL;
}

static bool
is_open(const Circuit *circuit)
{
	return circuit->failures >= KS_KMS_FAILURES;
}

/* Whether the last call for a key URI succeeded. */
static bool
is_proven(const Circuit *circuit)
{
	return circuit != NULL && circuit->succeeded_at != 0 && circuit->failures == 0;
}

/* The lower, the less is lost with a circuit. */
static int
rank_of(const Circuit *circuit)
{
	return is_proven(circuit) ? 2 : is_open(circuit) ? 1 : 0;
}

/*
 * The circuit of a key URI, made if there is none: in place of the one of the
 * lowest rank that was not used for the longest time.
 */
static Circuit *
make_circuit(Oid database, const uint8 workspace[KS_ID_LEN], const char *uri, TimestampTz now)
{
	Circuit    *circuit = find_circuit(database, workspace, uri);

	for (int i = 0; circuit == NULL && i < ks_kms_cache_size; i++)
	{
		if (!OidIsValid(circuits[i].database))
			circuit = &circuits[i];
	}
	if (circuit == NULL)
	{
		circuit = &circuits[0];
		for (int i = 1; i < ks_kms_cache_size; i++)
		{
			int			rank = rank_of(&circuits[i]);

			if (rank < rank_of(circuit) || (rank == rank_of(circuit) && circuits[i].used_at < circuit->used_at))
				circuit = &circuits[i];
		}
		circuit->database = InvalidOid;
	}
	if (!OidIsValid(circuit->database))
	{
		memset(circuit, 0, sizeof(*circuit));
		circuit->database = database;
		memcpy(circuit->workspace, workspace, KS_ID_LEN);
		strlcpy(circuit->uri, uri, sizeof(circuit->uri));
	}
	circuit->used_at = now;
	return circuit;
}

static bool
is_of_circuit(const Call *call, const Circuit *circuit)
{
	return call->database == circuit->database &&
		memcmp(call->call.workspace, circuit->workspace, KS_ID_LEN) == 0 &&
		strcmp(call->call.uri, circuit->uri) == 0;
}

/* Counts a failure.  jitter is the factor of how long the circuit opens. */
static KsKmsTurn
count_failure(Circuit *circuit, const char *problem, double jitter, TimestampTz now)
{
	bool		was_open = is_open(circuit);

	circuit->failures++;
	circuit->failed_at = now;
	strlcpy(circuit->problem, problem, sizeof(circuit->problem));
	if (!is_open(circuit) || (was_open && now < circuit->retry_at))
		return KS_KMS_SAME;

	circuit->retry_at = now + (TimestampTz) (jitter * OPEN_MS * 1000.0 *
											 (1 << Min(circuit->openings, OPEN_DOUBLINGS)));
	circuit->openings++;
	if (was_open)
		return KS_KMS_SAME;
	circuit->opened_at = now;
	circuit->unnoted = true;
	return KS_KMS_OPENED;
}

static KsKmsTurn
count_success(Circuit *circuit, TimestampTz now)
{
	bool		was_open = is_open(circuit);

	circuit->failures = circuit->openings = 0;
	circuit->succeeded_at = now;
	return was_open ? KS_KMS_CLOSED_AGAIN : KS_KMS_SAME;
}


/*-------------------------------------------------------------------------
 * Calls.  All under the lock.
 *-------------------------------------------------------------------------
 */

static void
free_call(Call *call)
{
	call->state = CALL_FREE;
	call->waiters = 0;
	call->detached = false;
	ks_wipe(&call->call, sizeof(call->call));
	ks_wipe(call->output, sizeof(call->output));
}

/* The call is over.  Its waiters are to be woken: a bit for each slot. */
static uint64
end_call(Call *call, const char *problem)
{
	strlcpy(call->problem, problem, sizeof(call->problem));
	if (call->waiters == 0)
	{
		free_call(call);
		return 0;
	}
	call->state = CALL_DONE;
	ks_wipe(call->call.input, sizeof(call->call.input));
	return UINT64CONST(1) << (call - shared->calls);
}

StaticAssertDecl(SLOTS <= 64, "a bit for each slot");

static void
wake_waiters(uint64 ended)
{
	for (int i = 0; i < SLOTS; i++)
	{
		if (ended & (UINT64CONST(1) << i))
			ConditionVariableBroadcast(&shared->calls[i].done);
	}
}

static bool
is_slow(const Call *call, TimestampTz now)
{
	return now - call->asked_at >= KS_KMS_SLOW_MS * INT64CONST(1000);
}

static uint32
service_of(const char *uri)
{
	const char *rest = strstr(uri, "://");
	size_t		scheme = rest != NULL ? rest - uri + 3 : 0;

	return hash_bytes((const unsigned char *) uri, (int) (scheme + strcspn(uri + scheme, "/")));
}

static int
count_calls(Oid database, const uint8 workspace[KS_ID_LEN], CallState state)
{
	int			count = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		const Call *call = &shared->calls[i];

		if (call->state != CALL_FREE && (state == CALL_FREE || call->state == state) &&
			call->database == database && memcmp(call->call.workspace, workspace, KS_ID_LEN) == 0)
			count++;
	}
	return count;
}

/* Those that run for one service, in all databases; or only those that are not
 * slow. */
static int
count_of_service(uint32 service, bool with_slow, TimestampTz now)
{
	int			count = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		const Call *call = &shared->calls[i];

		if (call->state == CALL_RUNNING && call->service == service && (with_slow || !is_slow(call, now)))
			count++;
	}
	return count;
}

/* Those for URIs that did not succeed last, in all databases; service: only
 * those for this one. */
static int
count_unproven(CallState state, const uint32 *service)
{
	int			count = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		const Call *call = &shared->calls[i];

		if (call->state != CALL_FREE && (state == CALL_FREE || call->state == state) &&
			(service == NULL || call->service == *service) &&
			!is_proven(find_circuit(call->database, call->call.workspace, call->call.uri)))
			count++;
	}
	return count;
}

/* A call that asks for the same and is not over. */
static Call *
find_same(const KsKmsCall *wanted, const uint8 digest[KS_DIGEST_LEN])
{
	for (int i = 0; i < SLOTS && !wanted->wrap; i++)
	{
		Call	   *call = &shared->calls[i];

		if ((call->state == CALL_QUEUED || call->state == CALL_RUNNING) && !call->call.wrap &&
			call->database == MyDatabaseId && memcmp(call->digest, digest, KS_DIGEST_LEN) == 0 &&
			memcmp(call->call.key_id, wanted->key_id, KS_ID_LEN) == 0)
			return call;
	}
	return NULL;
}

/* Queues a call, NULL when there is no room. */
static Call *
queue_call(const KsKmsCall *wanted, const uint8 digest[KS_DIGEST_LEN])
{
	const uint32 service = service_of(wanted->uri);

	if (count_calls(MyDatabaseId, wanted->workspace, CALL_FREE) >= SLOTS_SHARE)
		return NULL;
	if (!is_proven(find_circuit(MyDatabaseId, wanted->workspace, wanted->uri)) &&
		(count_unproven(CALL_FREE, NULL) >= SLOTS_UNPROVEN ||
		 count_unproven(CALL_FREE, &service) >= SLOTS_SERVICE_UNPROVEN))
		return NULL;
	for (int i = 0; i < SLOTS; i++)
	{
		Call	   *call = &shared->calls[i];

		if (call->state != CALL_FREE)
			continue;
		call->state = CALL_QUEUED;
		call->number = ++shared->last_number;
		call->database = MyDatabaseId;
		memcpy(call->digest, digest, KS_DIGEST_LEN);
		call->service = service;
		call->call = *wanted;
		call->call.slot = i;
		call->attempts = 0;
		call->not_before = call->deadline = call->asked_at = 0;
		call->problem[0] = '\0';
		call->output_len = 0;
		return call;
	}
	return NULL;
}


/*-------------------------------------------------------------------------
 * Waiting for a call
 *-------------------------------------------------------------------------
 */

/* A call that this process waits for; at most one at a time. */
static Call *waiting_for = NULL;

static void
leave_call(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	Call	   *call = waiting_for;
	bool		freed = false;

	waiting_for = NULL;
	if (call == NULL)
		return;
	lock_kms();
	call->waiters--;
	if (call->waiters == 0 && (call->state == CALL_DONE || (call->state == CALL_QUEUED && !call->detached)))
	{
		free_call(call);
		freed = true;
	}
	unlock_kms();
	if (freed)
		ConditionVariableBroadcast(&shared->room);
}

/* False when the time is over. */
static bool
sleep_on(ConditionVariable *variable, TimestampTz deadline)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	if (left <= 0)
		return false;
	ConditionVariableTimedSleep(variable, left, PG_WAIT_EXTENSION);
	return true;
}

static void
sleep_until_done(Call *call, TimestampTz deadline)
{
	bool		done = false;

	ConditionVariablePrepareToSleep(&call->done);
	do
	{
		lock_kms();
		done = call->state == CALL_DONE;
		unlock_kms();
	} while (!done && sleep_on(&call->done, deadline));
	ConditionVariableCancelSleep();
}

/* What a process that waits for a call wants of it. */
typedef struct Answer
{
	uint8	   *output;
	size_t		output_len;		/* 0: there is none */
	TimestampTz asked_at;
	char		problem[KS_KMS_PROBLEM_MAX];
} Answer;

static void
take_answer(const Call *call, Answer *answer)
{
	lock_kms();
	if (call->state != CALL_DONE)
		strlcpy(answer->problem, "was not answered in time", sizeof(answer->problem));
	else if (call->problem[0] != '\0')
		strlcpy(answer->problem, call->problem, sizeof(answer->problem));
	else
	{
		memcpy(answer->output, call->output, call->output_len);
		answer->output_len = call->output_len;
		answer->asked_at = call->asked_at;
	}
	unlock_kms();
}

static void
wait_for_call(TimestampTz deadline, Answer *answer)
{
	PG_ENSURE_ERROR_CLEANUP(leave_call, (Datum) 0);
	{
		sleep_until_done(waiting_for, deadline);
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave_call, (Datum) 0);
	take_answer(waiting_for, answer);
	leave_call(0, (Datum) 0);
}

/* What came of an attempt to get an answer without waiting. */
typedef enum Begun
{
	BEGUN_ANSWERED,				/* from the cache, or there will be none */
	BEGUN_CALL,					/* waiting_for is set, unless it is detached */
	BEGUN_NO_ROOM
} Begun;

static Begun
begin_call(const KsKmsCall *wanted, const uint8 digest[KS_DIGEST_LEN], bool fresh, bool detached,
		   TimestampTz deadline, Answer *answer)
{
	TimestampTz now = GetCurrentTimestamp();
	Begun		begun = BEGUN_ANSWERED;
	CachedKey  *cached = NULL;
	Circuit    *circuit;
	Call	   *call;

	lock_kms();
	if (!fresh && !wanted->wrap)
		cached = find_cached(wanted->key_id, digest, now);
	circuit = cached == NULL ? make_circuit(MyDatabaseId, wanted->workspace, wanted->uri, now) : NULL;
	if (cached != NULL)
	{
		memcpy(answer->output, cached->key, KS_KEY_LEN);
		answer->output_len = KS_KEY_LEN;
		answer->asked_at = cached->asked_at;
	}
	else if (is_open(circuit) && now < circuit->retry_at)
		strlcpy(answer->problem, circuit->problem, sizeof(answer->problem));
	else
	{
		call = find_same(wanted, digest);
		if (call == NULL)
			call = queue_call(wanted, digest);
		begun = call != NULL ? BEGUN_CALL : BEGUN_NO_ROOM;
	}
	if (begun == BEGUN_CALL)
	{
		call->deadline = Max(call->deadline, deadline);
		call->detached |= detached;
		call->waiters += detached ? 0 : 1;
		waiting_for = detached ? NULL : call;
	}
	unlock_kms();
	return begun;
}

/*
 * Asks the runner, or the cache.  answer->output_len is 0 when there is a
 * problem.
 */
static void
ask(const KsKmsCall *wanted, bool fresh, Answer *answer)
{
	bool		may_wait = !ks_session_is_worker();
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   ks_kms_timeout * INT64CONST(1000) + GRACE_MS);
	uint8		digest[KS_DIGEST_LEN];
	Begun		begun;

	answer->output_len = 0;
	if (!digest_of(wanted->uri, wanted->input, wanted->input_len, digest))
	{
		strlcpy(answer->problem, "could not be asked: libcrypto failed", sizeof(answer->problem));
		return;
	}
	if (ks_kms_command[0] == '\0')
	{
		strlcpy(answer->problem, "is not set", sizeof(answer->problem));
		return;
	}

	for (;;)
	{
		begun = begin_call(wanted, digest, fresh, !may_wait, deadline, answer);
		if (begun != BEGUN_NO_ROOM || !may_wait || !sleep_on(&shared->room, deadline))
			break;
	}
	ConditionVariableCancelSleep();
	if (begun == BEGUN_CALL)
		wake_runner();
	if (begun == BEGUN_NO_ROOM)
		strlcpy(answer->problem, "has too many calls to make", sizeof(answer->problem));
	else if (begun == BEGUN_CALL && may_wait)
		wait_for_call(deadline, answer);
	else if (begun == BEGUN_CALL)
		strlcpy(answer->problem, "is being asked", sizeof(answer->problem));
}

static const char *
problem_of(const KsKmsKey *key, const Answer *answer)
{
	if (answer->output_len > 0)
		return NULL;
	return psprintf("key URI \"%s\": keystone.kms_command %s", key->uri, answer->problem);
}

static void
fill_call(const KsKmsKey *key, bool wrap, const uint8 *input, size_t len, KsKmsCall *call)
{
	memset(call, 0, sizeof(*call));
	call->wrap = wrap;
	memcpy(call->key_id, key->key_id, KS_ID_LEN);
	memcpy(call->workspace, key->workspace, KS_ID_LEN);
	memcpy(call->check, key->check, KS_DIGEST_LEN);
	strlcpy(call->uri, key->uri, sizeof(call->uri));
	memcpy(call->input, input, len);
	call->input_len = len;
}

const char *
ks_kms_wrap(const KsKmsKey *key, const uint8 plain[KS_KEY_LEN], uint8 blob[KS_KMS_BLOB_MAX], size_t *blob_len)
{
	KsKmsCall  *call = ks_secret_alloc(CurrentMemoryContext, sizeof(KsKmsCall));
	Answer		answer = {.output = blob};

	fill_call(key, true, plain, KS_KEY_LEN, call);
	ask(call, true, &answer);
	ks_secret_wipe(call);
	*blob_len = answer.output_len;
	return problem_of(key, &answer);
}

const char *
ks_kms_unwrap(const KsKmsKey *key, const uint8 *blob, size_t blob_len, bool fresh,
			  uint8 plain[KS_KEY_LEN], TimestampTz *asked_at)
{
	KsKmsCall	call;
	Answer		answer = {.output = plain};

	fill_call(key, false, blob, blob_len, &call);
	ask(&call, fresh, &answer);
	*asked_at = answer.asked_at;
	return problem_of(key, &answer);
}


/*-------------------------------------------------------------------------
 * For views, health() and the housekeeper
 *-------------------------------------------------------------------------
 */

static KsKmsState
state_of(const Circuit *circuit, TimestampTz now)
{
	if (is_open(circuit))
		return now < circuit->retry_at ? KS_KMS_OPEN : KS_KMS_HALF_OPEN;
	return circuit->succeeded_at != 0 || circuit->failed_at != 0 ? KS_KMS_CLOSED : KS_KMS_UNKNOWN;
}

void
ks_kms_status(const uint8 workspace[KS_ID_LEN], const char *uri, KsKmsStatus *status)
{
	TimestampTz now = GetCurrentTimestamp();
	const Circuit *circuit;

	memset(status, 0, sizeof(*status));
	lock_kms();
	circuit = find_circuit(MyDatabaseId, workspace, uri);
	if (circuit != NULL)
	{
		status->state = state_of(circuit, now);
		status->failures = circuit->failures;
		status->succeeded_at = circuit->succeeded_at;
		status->failed_at = circuit->failed_at;
		status->retry_at = is_open(circuit) ? circuit->retry_at : 0;
		strlcpy(status->problem, circuit->problem, sizeof(status->problem));
	}
	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		if (cache[i].database == MyDatabaseId && memcmp(cache[i].workspace, workspace, KS_ID_LEN) == 0 &&
			end_of(&cache[i], now) > now)
			status->cached_until = Max(status->cached_until, end_of(&cache[i], now));
	}
	unlock_kms();
}

int
ks_kms_count_open(void)
{
	int			count = 0;

	lock_kms();
	for (int i = 0; i < ks_kms_cache_size; i++)
	{
		if (circuits[i].database == MyDatabaseId && is_open(&circuits[i]))
			count++;
	}
	unlock_kms();
	return count;
}

bool
ks_kms_next_failure(KsKmsFailure *failure)
{
	bool		found = false;

	if (shared == NULL)
		return false;
	lock_kms();
	for (int i = 0; i < ks_kms_cache_size && !found; i++)
	{
		const Circuit *circuit = &circuits[i];

		if (circuit->database != MyDatabaseId || !circuit->unnoted)
			continue;
		memcpy(failure->workspace, circuit->workspace, KS_ID_LEN);
		strlcpy(failure->uri, circuit->uri, sizeof(failure->uri));
		failure->failures = circuit->failures;
		failure->opened_at = circuit->opened_at;
		strlcpy(failure->problem, circuit->problem, sizeof(failure->problem));
		found = true;
	}
	unlock_kms();
	return found;
}

void
ks_kms_failure_noted(const KsKmsFailure *failure)
{
	Circuit    *circuit;

	lock_kms();
	circuit = find_circuit(MyDatabaseId, failure->workspace, failure->uri);
	if (circuit != NULL && circuit->opened_at == failure->opened_at)
		circuit->unnoted = false;
	unlock_kms();
}


/*-------------------------------------------------------------------------
 * For the runner
 *-------------------------------------------------------------------------
 */

static void
runner_ended(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	ks_kms_set_runner(false);
}

void
ks_kms_set_runner(bool running)
{
	lock_kms();
	shared->runner = running ? KS_MY_PROC_NUMBER : -1;
	for (int i = 0; i < SLOTS; i++)
	{
		Call	   *call = &shared->calls[i];

		if (call->state == CALL_RUNNING)
		{
			call->state = CALL_QUEUED;
			call->attempts--;
		}
	}
	ks_wipe(cache, ks_kms_cache_size * sizeof(CachedKey));
	unlock_kms();
	if (running)
		before_shmem_exit(runner_ended, (Datum) 0);
}

/* What runs, while the next call is chosen. */
typedef struct Load
{
	TimestampTz now;
	int			running;
	int			young;			/* of these, those that are not slow */
	int			unproven;		/* of these */
} Load;

static Load
look_at_load(void)
{
	Load		load = {.now = GetCurrentTimestamp()};

	for (int i = 0; i < SLOTS; i++)
	{
		if (shared->calls[i].state != CALL_RUNNING)
			continue;
		load.running++;
		if (!is_slow(&shared->calls[i], load.now))
			load.young++;
	}
	load.unproven = count_unproven(CALL_RUNNING, NULL);
	return load;
}

/* Whether a call for the same URI runs and is slow. */
static bool
is_in_doubt(const Call *queued, TimestampTz now)
{
	for (int i = 0; i < SLOTS; i++)
	{
		const Call *call = &shared->calls[i];

		if (call->state == CALL_RUNNING && is_slow(call, now) && call->database == queued->database &&
			memcmp(call->call.workspace, queued->call.workspace, KS_ID_LEN) == 0 &&
			strcmp(call->call.uri, queued->call.uri) == 0)
			return true;
	}
	return false;
}

/* Whether a call that is queued may be executed now. */
static bool
is_due(const Call *call, const Load *load)
{
	const Circuit *circuit = find_circuit(call->database, call->call.workspace, call->call.uri);
	int			running = count_calls(call->database, call->call.workspace, CALL_RUNNING);

	if (call->not_before > load->now || call->deadline <= load->now || running >= KS_KMS_SHARE ||
		count_of_service(call->service, false, load->now) >= KS_KMS_SERVICE || is_in_doubt(call, load->now))
		return false;
	if (!is_proven(circuit) &&
		(load->unproven >= KS_KMS_UNPROVEN || count_unproven(CALL_RUNNING, &call->service) >= KS_KMS_SERVICE_UNPROVEN))
		return false;
	/* Only one probes. */
	return circuit == NULL || !is_open(circuit) || running == 0;
}

/* Whether a call has its turn before another. */
static bool
comes_before(const Call *a, const Call *b, TimestampTz now)
{
	int			difference = count_of_service(a->service, true, now) - count_of_service(b->service, true, now);

	if (difference == 0)
		difference = count_calls(a->database, a->call.workspace, CALL_RUNNING) -
			count_calls(b->database, b->call.workspace, CALL_RUNNING);
	return difference != 0 ? difference < 0 : a->number < b->number;
}

bool
ks_kms_next_call(KsKmsCall *call)
{
	Call	   *first = NULL;
	Load		load;

	lock_kms();
	load = look_at_load();
	for (int i = 0; i < SLOTS && load.running < KS_KMS_RUNS && load.young < KS_KMS_CALLS; i++)
	{
		Call	   *queued = &shared->calls[i];

		if (queued->state == CALL_QUEUED && (first == NULL || comes_before(queued, first, load.now)) &&
			is_due(queued, &load))
			first = queued;
	}
	if (first != NULL)
	{
		first->state = CALL_RUNNING;
		first->attempts++;
		first->asked_at = load.now;
		*call = first->call;
	}
	unlock_kms();
	return first != NULL;
}

TimestampTz
ks_kms_sweep(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	uint64		ended = 0;

	lock_kms();
	next = sweep_cache(now);
	for (int i = 0; i < SLOTS; i++)
	{
		Call	   *call = &shared->calls[i];

		if (call->state == CALL_RUNNING && !is_slow(call, now))
			next = Min(next, TimestampTzPlusMilliseconds(call->asked_at, KS_KMS_SLOW_MS));
		if (call->state != CALL_QUEUED)
			continue;
		if (call->deadline <= now)
			ended |= end_call(call, "was not answered in time");
		else
			next = Min(next, call->not_before > now ? call->not_before : call->deadline);
	}
	unlock_kms();
	wake_waiters(ended);
	return next;
}

/* What is wrong with what a command printed, NULL when it is good. */
static const char *
check_output(const KsKmsCall *call, const uint8 *output, size_t len)
{
	uint8		check[KS_DIGEST_LEN];

	if (len == 0)
		return "printed nothing";
	if (len > KS_KMS_BLOB_MAX)
		return "printed more than a wrapped key can be";
	if (call->wrap)
	{
		for (size_t i = 0; i + KS_KEY_LEN <= len; i++)
		{
			if (ks_equal(output + i, call->input, KS_KEY_LEN))
				return "printed the key as it is";
		}
		return NULL;
	}
	if (len != KS_KEY_LEN)
		return "did not print a key of 32 bytes";
	if (ks_kms_check(call->key_id, output, check) != KS_CRYPTO_OK)
		return "could not be checked: libcrypto failed";
	return ks_equal(check, call->check, KS_DIGEST_LEN) ? NULL : "printed another key than the one that was wrapped";
}

/* Ends all calls that wait for a circuit that is open now. */
static uint64
end_queued(const Circuit *circuit, const char *problem)
{
	uint64		ended = 0;

	for (int i = 0; i < SLOTS; i++)
	{
		Call	   *call = &shared->calls[i];

		if (call->state == CALL_QUEUED && is_of_circuit(call, circuit))
			ended |= end_call(call, problem);
	}
	return ended;
}

/* Under the lock; returns the waiters to wake. */
static uint64
finish_call(Call *call, Circuit *circuit, const char *problem, bool may_retry, double jitter)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz again = now + (TimestampTz) (jitter * RETRY_MS * 1000.0 * (1 << (call->attempts - 1)));

	if (problem == NULL)
	{
		if (!call->call.wrap && ks_kms_cache_ttl > 0)
			keep_key(call);
		return end_call(call, "");
	}
	if (is_open(circuit))
		return end_call(call, problem) | end_queued(circuit, problem);
	if (!may_retry || call->attempts >= ATTEMPTS_MAX || again >= call->deadline ||
		(call->waiters == 0 && !call->detached))
		return end_call(call, problem);
	call->state = CALL_QUEUED;
	call->not_before = again;
	return 0;
}

KsKmsTurn
ks_kms_call_done(const KsKmsCall *executed, const char **problem, bool may_retry,
				 const uint8 *output, size_t output_len)
{
	TimestampTz now = GetCurrentTimestamp();
	double		jitter = 0.75 + 0.5 * pg_prng_double(&pg_global_prng_state);
	Call	   *call = &shared->calls[executed->slot];
	Circuit    *circuit;
	KsKmsTurn	turn;
	uint64		ended;

	if (*problem == NULL)
		*problem = check_output(executed, output, output_len);

	lock_kms();
	circuit = make_circuit(call->database, executed->workspace, executed->uri, now);
	if (*problem == NULL)
	{
		memcpy(call->output, output, output_len);
		call->output_len = output_len;
		turn = count_success(circuit, now);
	}
	else
		turn = count_failure(circuit, *problem, jitter, now);
	ended = finish_call(call, circuit, *problem, may_retry, jitter);
	unlock_kms();

	wake_waiters(ended);
	ConditionVariableBroadcast(&shared->room);
	return turn;
}
