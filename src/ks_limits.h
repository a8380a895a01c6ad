/*-------------------------------------------------------------------------
 *
 * ks_limits.h
 *	  Limits as somebody defined them, made ready for their counters.
 *
 * Definitions are cached per backend and dropped through relcache invalidation
 * of keystone_private.limits.  One whose row has no valid HMAC does not exist,
 * and health() names it; while sealed none can be verified, and no verb that
 * they bind gives anything.
 *
 * A counter's place is a keyed hash of database, workspace, limit, key and
 * period; the number is not part of it, so that a limit which is defined anew
 * goes on with what was consumed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LIMITS_H
#define KS_LIMITS_H

#include "ks_limit.h"
#include "ks_windowspec.h"

#define KS_LIMITS_KEY_MAX	1024	/* bytes of a caller's key */
#define KS_LIMITS_OF_WORKSPACE_MAX	1000	/* definitions */

/* Windows that the definitions of a workspace, or the database, may make one
 * verb apply: with those of settings and providers they fit into one call. */
#define KS_LIMITS_ENFORCED_WINDOWS_MAX	20
#define KS_LIMITS_ENFORCED_MAX	(2 * KS_LIMITS_ENFORCED_WINDOWS_MAX)

/* What an enforced limit counts by: bits of KsLimitDef.key_by. */
#define KS_LIMIT_BY_PRINCIPAL	(1 << 0)
#define KS_LIMIT_BY_WORKSPACE	(1 << 1)
#define KS_LIMIT_BY_CREDENTIAL	(1 << 2)
#define KS_LIMIT_BY_PROVIDER	(1 << 3)

/* A limit, compiled. */
typedef struct KsLimitDef
{
	uint8		workspace[KS_ID_LEN];	/* nil: of the database, or ad hoc */
	const char *name;			/* "" when ad hoc */
	int			n;
	KsWindowSpec windows[KS_WINDOWSPEC_MAX];
	pg_tz	   *zone;			/* of calendar windows */
	bool		protect;		/* without room to count: refuse */
	bool		shadow;			/* never refuses */
	bool		refundable;		/* gives tokens */
	int			near_percent;
	const char *enforce_action; /* NULL: applied by callers only */
	const char *enforce_provider;	/* NULL: any */
	uint32		key_by;
	uint32		label;			/* KsLimitAsk.label of its asks */
	uint8		hash_key[KS_LIMIT_HASH_LEN];	/* of keys */
	uint8		sink[KS_LIMIT_HASH_LEN];	/* in place of a key's hash */
	uint8		masks[KS_WINDOWSPEC_MAX][KS_LIMIT_HASH_LEN];	/* for each window:
																 * added to both */
} KsLimitDef;

/* Whom and what an enforced limit counts. */
typedef struct KsLimitSubject
{
	const uint8 *principal;
	const uint8 *workspace;
	const uint8 *credential;
	const char *provider;		/* may be NULL */
} KsLimitSubject;

/* What policy leaves of limits, in per cent; 0: nothing was said. */
typedef struct KsLimitShare
{
	int32		soft;			/* of the hard one: from where on it is near */
	int32		hard;			/* of the limit: so much may be used */
} KsLimitShare;

#define KS_LIMITS_SUBJECT_MAX	(3 * 37 + KS_PROVIDER_MAX + 1)

/*
 * The definition that holds for a workspace: the database's, then the
 * workspace's own (nil: the database's only); NULL when there is none.  So no
 * workspace replaces a limit that the database has.  A definition is good until
 * the next but one call that looks for one or hashes.
 */
extern const KsLimitDef *ks_limits_find(const uint8 workspace[KS_ID_LEN], const char *name);

/* The definition that a workspace (nil: the database) has itself, whether it
 * holds or not. */
extern const KsLimitDef *ks_limits_own(const uint8 workspace[KS_ID_LEN], const char *name);

/*
 * The definitions that bind a verb ("reveal", "rotate") on a credential of a
 * provider (NULL: none): the workspace's and the database's.  Returns how
 * many.
 */
extern int	ks_limits_enforced(const uint8 workspace[KS_ID_LEN], const char *action,
							   const char *provider, const KsLimitDef ***defs);

/*
 * Windows that are no definition: a setting's, a provider's, a caller's.  They
 * slide and are fair (asks may be made to protect).  22023 when they do not
 * parse.  Kinds of counters are told apart by the key alone.
 */
extern const KsLimitDef *ks_limits_adhoc(const char *windows);

/*
 * Fills one ask for each of a limit's windows; returns how many (at most
 * KS_WINDOWSPEC_MAX).  Parts of a key are the caller's business: they should
 * begin with what the key is, and have fixed or given lengths.
 */
extern int	ks_limits_ask(const KsLimitDef *def, const char *key, size_t key_len, int64 cost,
						  TimestampTz now, KsLimitAsk *asks);

/*
 * The key of an enforced definition, as limit_peek() and limit_block() take
 * it, too: what key_by names, as text with slashes between, in the order
 * principal, workspace, credential, provider.  Returns its length.
 */
extern size_t ks_limits_subject_key(const KsLimitDef *def, const KsLimitSubject *subject,
									char key[KS_LIMITS_SUBJECT_MAX]);

/* From what a counter's hash is made: of a key, and of a key and a window.
 * For tokens, which name a key without saying it. */
extern void ks_limits_key_hash(const KsLimitDef *def, const char *key, size_t key_len,
							   uint8 hash[KS_LIMIT_HASH_LEN]);
extern int	ks_limits_ask_hash(const KsLimitDef *def, const uint8 hash[KS_LIMIT_HASH_LEN], int64 cost,
							   TimestampTz now, KsLimitAsk *asks);

/*
 * Lowers asks to their share, as if the limit had that number: rounded down,
 * at least 1.  Counters stay what they are.
 */
extern void ks_limits_lower(const KsLimitShare *share, KsLimitAsk *asks, int n);

/* From which per cent on a limit is near, which a share may make less. */
extern int	ks_limits_near(const KsLimitShare *share, int near_percent);

/* What a verb enforces was changed in the present transaction, which may still
 * be rolled back; and whether that is so. */
extern void ks_limits_note_change(void);
extern bool ks_limits_changed_here(void);

/* A hash of bytes under the database's seed; purpose tells kinds apart. */
extern void ks_limits_hash(const char *purpose, const void *data, size_t len,
						   uint8 hash[KS_LIMIT_HASH_LEN]);

/* How many definitions a workspace has, and how many windows of them bind a
 * verb, not counting one of them. */
extern int	ks_limits_count(const uint8 workspace[KS_ID_LEN]);
extern int	ks_limits_enforced_windows(const uint8 workspace[KS_ID_LEN], const char *action, const char *but);

/*
 * Loads what was saved of this database's counters, unless they are there.
 * Call it before ks_limit_consume(), ks_limit_look() and their like.
 */
extern void ks_limits_prepare(void);

/* Which ask of a limit to show: of the refused ones the one that takes the
 * longest; otherwise the one of which the least is left. */
extern int	ks_limits_tightest(const KsLimitAsk *asks, int n);

/* Whole seconds until a time, rounded up, at least 1 and at most INT_MAX; -1
 * for INT64_MAX, which is never. */
extern int32 ks_limits_seconds_until(TimestampTz until, TimestampTz now);

/*
 * The housekeeper's: saves counters that changed, in a transaction of its own;
 * true: there is more.  ks_limits_flushed() says that it has committed.
 */
extern bool ks_limits_flush(void);
extern void ks_limits_flushed(void);

#endif							/* KS_LIMITS_H */
