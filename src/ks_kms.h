/*-------------------------------------------------------------------------
 *
 * ks_kms.h
 *	  Keys that customers hold in a key management service of their own.
 *
 * Whoever needs a key puts a call into shared memory and waits; the runner
 * executes keystone.kms_command for it.  Keys that were unwrapped are kept in
 * shared memory for keystone.kms_cache_ttl, counted from the moment in which
 * the service was asked, never on disk.
 *
 * Each key URI of a workspace has a circuit: after KS_KMS_FAILURES failures in
 * a row it opens, and calls fail at once; when its time is over one call
 * probes, and closes it or keeps it open for longer.  That the circuit is of a
 * workspace keeps one tenant from closing off the key of another.
 *
 * Lock: KS_LOCK_KMS protects all of it.  Nobody waits under it, nor holds any
 * other lock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KMS_H
#define KS_KMS_H

#include "ks_crypto.h"
#include "ks_shmem.h"

#define KS_KMS_URI_MAX		512
#define KS_KMS_BLOB_MAX		2048	/* bytes that a service may make of a key */
#define KS_KMS_CALLS		8	/* that run at the same time, and have not for
								 * KS_KMS_SLOW_MS */
#define KS_KMS_SERVICE		6	/* of these, those to one service */
#define KS_KMS_SLOW_MS		1000
#define KS_KMS_RUNS			32	/* that run at the same time at all */
#define KS_KMS_SHARE		2	/* of these, those of one workspace */
#define KS_KMS_UNPROVEN		8	/* of these, those for URIs that did not
								 * succeed last */
#define KS_KMS_SERVICE_UNPROVEN	4	/* of these, those to one service */
#define KS_KMS_FAILURES		3	/* in a row open a circuit */
#define KS_KMS_PROBLEM_MAX	128

/* Shared memory (see ks_shmem.h). */
extern Size ks_kms_shmem_size(void);
extern void ks_kms_shmem_init(void *area, bool found);

/*
 * Whether a text may be a key's URI: scheme://rest, at most KS_KMS_URI_MAX
 * printable ASCII characters, none of which means something to a shell; no part
 * between slashes begins with a dash, or is only dots.  The scheme is
 * [a-z][a-z0-9+.-]*.
 */
extern bool ks_kms_is_uri(const char *uri);


/*-------------------------------------------------------------------------
 * For who needs a key
 *-------------------------------------------------------------------------
 */

/* A key of this database that its customer wraps. */
typedef struct KsKmsKey
{
	const uint8 *key_id;		/* uuid */
	const uint8 *workspace;		/* uuid */
	const char *uri;
	const uint8 *check;			/* KS_DIGEST_LEN bytes, see ks_kms_check() */
} KsKmsKey;

/* What tells whether a service gave the right key. */
extern KsCryptoResult ks_kms_check(const uint8 *key_id, const uint8 key[KS_KEY_LEN],
								   uint8 check[KS_DIGEST_LEN]);

/*
 * Wrap and unwrap a key, waiting interruptibly for at most a second more than
 * keystone.kms_timeout.  Return NULL, or why not (palloc'd, for the log); then
 * nothing was written to the output.  Keystone's own background processes do
 * not wait: what is not in the cache is asked for, and the caller is told that
 * it is not there yet.
 *
 * A call raises nothing but a cancel, and nothing once it has written a key.
 * *asked_at is when the service was asked: not earlier than keystone.kms_cache_ttl
 * ago.  fresh: whatever is in the cache, the service is to be asked.
 */
extern const char *ks_kms_wrap(const KsKmsKey *key, const uint8 plain[KS_KEY_LEN],
							   uint8 blob[KS_KMS_BLOB_MAX], size_t *blob_len);
extern const char *ks_kms_unwrap(const KsKmsKey *key, const uint8 *blob, size_t blob_len, bool fresh,
								 uint8 plain[KS_KEY_LEN], TimestampTz *asked_at);

/* Drops keys of a workspace from the cache. */
extern void ks_kms_forget(const uint8 workspace[KS_ID_LEN]);


/*-------------------------------------------------------------------------
 * For views, health() and the housekeeper
 *-------------------------------------------------------------------------
 */

typedef enum KsKmsState
{
	KS_KMS_UNKNOWN = 0,			/* not asked since the server started */
	KS_KMS_CLOSED,
	KS_KMS_OPEN,
	KS_KMS_HALF_OPEN			/* a probe runs, or may */
} KsKmsState;

typedef struct KsKmsStatus
{
	KsKmsState	state;
	int			failures;		/* in a row */
	TimestampTz succeeded_at;	/* 0: not since the server started */
	TimestampTz failed_at;
	TimestampTz retry_at;		/* of an open circuit */
	TimestampTz cached_until;	/* of the longest kept of its keys; 0: none */
	char		problem[KS_KMS_PROBLEM_MAX];	/* of the last failure */
} KsKmsStatus;

/* The circuit of a key URI of a workspace of this database. */
extern void ks_kms_status(const uint8 workspace[KS_ID_LEN], const char *uri, KsKmsStatus *status);

/* How many circuits of this database are open or half-open. */
extern int	ks_kms_count_open(void);

/* A circuit that opened. */
typedef struct KsKmsFailure
{
	uint8		workspace[KS_ID_LEN];
	char		uri[KS_KMS_URI_MAX + 1];
	int			failures;
	TimestampTz opened_at;
	char		problem[KS_KMS_PROBLEM_MAX];
} KsKmsFailure;

/* The next one of this database that is not noted yet; false when there is
 * none.  noted: it stands in the log now. */
extern bool ks_kms_next_failure(KsKmsFailure *failure);
extern void ks_kms_failure_noted(const KsKmsFailure *failure);


/*-------------------------------------------------------------------------
 * For the runner
 *-------------------------------------------------------------------------
 */

/* A call that is to be executed. */
typedef struct KsKmsCall
{
	int			slot;
	bool		wrap;
	uint8		key_id[KS_ID_LEN];
	uint8		workspace[KS_ID_LEN];
	uint8		check[KS_DIGEST_LEN];
	char		uri[KS_KMS_URI_MAX + 1];
	uint8		input[KS_KMS_BLOB_MAX];
	size_t		input_len;
} KsKmsCall;

/* Says that this process is the runner, or not any more; then nothing is kept,
 * as nobody would wipe it.  Calls that ran begin again. */
extern void ks_kms_set_runner(bool running);

/* Takes the next call that is due, false when there is none.  The caller wipes
 * it. */
extern bool ks_kms_next_call(KsKmsCall *call);

/* Wipes keys and ends calls whose time is over.  Returns when there is something
 * to do again if nothing happens before, DT_NOEND for never. */
extern TimestampTz ks_kms_sweep(void);

/* What a call did to its circuit, for the server log. */
typedef enum KsKmsTurn
{
	KS_KMS_SAME = 0,
	KS_KMS_OPENED,
	KS_KMS_CLOSED_AGAIN
} KsKmsTurn;

/*
 * What came of a call: *problem is NULL, or what to say of the command; what it
 * printed is checked here, so that *problem may be set.  may_retry: it makes
 * sense to try it once more while its callers wait.
 */
extern KsKmsTurn ks_kms_call_done(const KsKmsCall *call, const char **problem, bool may_retry,
								  const uint8 *output, size_t output_len);

#endif							/* KS_KMS_H */
