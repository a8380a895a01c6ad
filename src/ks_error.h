/*-------------------------------------------------------------------------
 *
 * ks_error.h
 *	  One function per family of errors, so that the same situation always
 *	  has the same SQLSTATE.
 *
 * The SQLSTATEs are API: docs/errors.md lists them.  PostgREST makes the
 * primary message of a PTnnn error the HTTP reason phrase, unfiltered, so
 * these messages are constants and names go into the detail, escaped.  No
 * message carries a secret, a key, a token or the "workspace" argument.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ERROR_H
#define KS_ERROR_H

#include "ks_compat.h"

#ifndef KS_FRONTEND

#include "datatype/timestamp.h"

#define KS_ERRCODE_NOT_FOUND	MAKE_SQLSTATE('P','T','4','0','4')
#define KS_ERRCODE_CONFLICT		MAKE_SQLSTATE('P','T','4','0','9')
#define KS_ERRCODE_PRECONDITION MAKE_SQLSTATE('P','T','4','2','8')
#define KS_ERRCODE_LIMITED		MAKE_SQLSTATE('P','T','4','2','9')
/* What PostgREST takes an answer from, headers included: only PT429 is raised
 * so, over HTTP. */
#define KS_SQLSTATE_PGRST		MAKE_SQLSTATE('P','G','R','S','T')
#define KS_ERRCODE_SEALED		MAKE_SQLSTATE('P','T','4','2','3')
#define KS_ERRCODE_NO_LOG		MAKE_SQLSTATE('P','T','4','2','4')

/* 55000: the library is not in shared_preload_libraries. */
KS_NORETURN extern void ks_error_not_preloaded(void) KS_NORETURN_END;

/* 42501: message is a constant phrase, hint may be NULL. */
KS_NORETURN extern void ks_error_denied(const char *message, const char *hint) KS_NORETURN_END;

/* 42501: the caller has no identity; why says what was missing. */
KS_NORETURN extern void ks_error_anonymous(const char *why) KS_NORETURN_END;

/* PT404: no such object, or none that the caller may see.  detail (may be
 * NULL) names it for somebody who may know; it is escaped here. */
KS_NORETURN extern void ks_error_not_found(const char *detail) KS_NORETURN_END;

/* PT423: log_reason goes to the server log only. */
KS_NORETURN extern void ks_error_sealed(const char *log_reason) KS_NORETURN_END;

/* PT423: the keys of this workspace were destroyed.  log_reason (may be NULL)
 * goes to the server log only. */
KS_NORETURN extern void ks_error_shredded(const char *log_reason) KS_NORETURN_END;

/* PT423: the key that the workspace's customer holds is not available;
 * log_reason goes to the server log only. */
KS_NORETURN extern void ks_error_customer_key(const char *log_reason) KS_NORETURN_END;

/* PT423: a restored copy whose log was not accepted yet. */
KS_NORETURN extern void ks_error_not_accepted(void) KS_NORETURN_END;

/* PT424: the audit log cannot be written; detail is a constant phrase that
 * says why, hint may be NULL. */
KS_NORETURN extern void ks_error_no_log(const char *detail, const char *hint) KS_NORETURN_END;

/* PT409: the caller expected another version. */
KS_NORETURN extern void ks_error_conflict(int expected, int actual) KS_NORETURN_END;

/* PT409: a request for approval is not the one that its voter was shown. */
KS_NORETURN extern void ks_error_other_request(void) KS_NORETURN_END;

/* What kind of bound it is; its message is a constant. */
typedef enum KsLimitedKind
{
	KS_LIMITED_ATTEMPTS,		/* KS_LIMITED_MESSAGE */
	KS_LIMITED_PLAN,			/* the plan does not include more */
	KS_LIMITED_BUDGET,			/* the budget is spent */
	KS_LIMITED_OPEN				/* too many requests for approval are open */
} KsLimitedKind;

#define KS_LIMITED_MESSAGE	"too many attempts"

/* What an attempt ran into: a limit, quota or budget. */
typedef struct KsLimited
{
	KsLimitedKind kind;
	const char *limit;			/* its name; of a caller, so escaped here */
	const char *window;			/* such as hour; NULL: none */
	int64		period;			/* of the window, in seconds; 0: not told */
	int64		limit_value;
	int64		remaining;
	int64		retry_after;	/* seconds; below 0: it never will be allowed */
	TimestampTz reset_at;		/* 0: not told */
	const char *plan;			/* whose quota it is; NULL: of none, or of one
								 * that is not the caller's to know */
	int64		used;			/* of the quota */
} KsLimited;

/*
 * PT429.  DETAIL is JSON: limit, window, limit_value, remaining, retry_after,
 * reset_at; of a plan's quota also quota, plan, used, included; of a budget
 * also budget, spent_micros, hard_micros.  over_http (see
 * ks_identity_over_http()): the error takes PostgREST's own form, SQLSTATE
 * PGRST, which can carry the headers Retry-After, RateLimit and RateLimit-Policy.
 */
KS_NORETURN extern void ks_error_limited(const KsLimited *limited, bool over_http) KS_NORETURN_END;

/* What the last PT429 was about, for its entry in the log; NULL after it was
 * asked for.  Good until the next one. */
extern const KsLimited *ks_error_take_limited(void);

/* What policy says, as primary messages. */
#define KS_POLICY_REQUIRES	"policy requires more first"
#define KS_POLICY_DEFERS	"policy does not allow this at this time"
#define KS_POLICY_DENIES	"denied by policy"

/* 42501: detail, the reasons, is JSON; hint may be NULL. */
KS_NORETURN extern void ks_error_policy(const char *detail, const char *hint) KS_NORETURN_END;

/* PT428: message is one of the first two above, detail is JSON, hint may be
 * NULL. */
KS_NORETURN extern void ks_error_precondition(const char *message, const char *detail,
											  const char *hint) KS_NORETURN_END;

/* 23505: message is a constant phrase; detail (may be NULL) is for the caller. */
KS_NORETURN extern void ks_error_duplicate(const char *what, const char *detail) KS_NORETURN_END;

/* XX001: ciphertext does not open.  log_reason (moved, damaged, unknown key)
 * goes to the server log only. */
KS_NORETURN extern void ks_error_damaged(const char *log_reason) KS_NORETURN_END;

/* 22004: a parameter that needs a value is NULL. */
KS_NORETURN extern void ks_error_null(const char *parameter) KS_NORETURN_END;

/* 22023: a parameter has a wrong value.  expected completes the sentence
 * "must be ..."; hint may be NULL.  The value itself is never shown. */
KS_NORETURN extern void ks_error_invalid(const char *parameter, const char *expected,
										 const char *hint) KS_NORETURN_END;

/* 22023: bytes that encrypt() of this workspace and context has not made.
 * log_reason, what they are, goes to the server log only. */
KS_NORETURN extern void ks_error_no_envelope(const char *log_reason) KS_NORETURN_END;

/* 25006: the call needs to write, or to be recorded, and cannot here. */
KS_NORETURN extern void ks_error_read_only(void) KS_NORETURN_END;

/* XX000: libcrypto failed; operation completes "could not ...".  Its reason
 * goes to the server log only. */
KS_NORETURN extern void ks_error_crypto(const char *operation) KS_NORETURN_END;

/* A copy of text in which control characters are escaped, palloc'd. */
extern char *ks_escape_control(const char *text);

#endif							/* KS_FRONTEND */

#endif							/* KS_ERROR_H */
