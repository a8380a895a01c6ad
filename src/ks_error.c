/*-------------------------------------------------------------------------
 *
 * ks_error.c
 *	  One function per family of errors.
 *
 * What must always hold:
 *
 *	- every report sets its SQLSTATE;
 *	- the primary message of a PTnnn error is a constant, because PostgREST
 *	  makes it the HTTP reason phrase, where a line break would be an
 *	  injected header;
 *	- text that came from a caller or a table is escaped, and stands in the
 *	  detail only;
 *	- reasons that help an attacker more than a caller go to the server log
 *	  (errdetail_log).
 *
 * Without a server there is nothing here.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_error.h"

#ifdef KS_FRONTEND

/* ISO C wants at least one declaration in a file. */
typedef int ks_error_needs_a_server;

#else

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* Only for the reason of its last failure, which no lower room has. */
#include "ks_crypto.h"

/*
 * The library was not in shared_preload_libraries when the server started.
 */
void
ks_error_not_preloaded(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("keystone must be loaded via shared_preload_libraries"),
			 errhint("Add \"keystone\" to the end of shared_preload_libraries and restart the server.")));
}

/*
 * The caller is known, and may not do this.
 */
void
ks_error_denied(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s", message),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * The caller is nobody.  The SQLSTATE is that of a denial; PostgREST answers
 * 401 instead of 403 when the role is its anonymous one.
 */
void
ks_error_anonymous(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the caller is anonymous"),
			 errhint("%s", why)));
}

/*
 * One answer for what does not exist and for what the caller may not see.
 */
void
ks_error_not_found(const char *detail)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_NOT_FOUND),
			 errmsg("no such object"),
			 detail != NULL ? errdetail("%s", ks_escape_control(detail)) : 0));
}

/*
 * No root key, or not the right one.
 */
void
ks_error_sealed(const char *log_reason)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("the vault is sealed"),
			 log_reason != NULL ? errdetail_log("%s", ks_escape_control(log_reason)) : 0,
			 errhint("Ask the administrator to look at keystone.seal_status.")));
}

/*
 * The keys are gone for good, and all that they encrypted with them.
 */
void
ks_error_shredded(const char *log_reason)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("the workspace's keys were destroyed"),
			 log_reason != NULL ? errdetail_log("%s", ks_escape_control(log_reason)) : 0,
			 errhint("Its values cannot be recovered.")));
}

/*
 * Withdrawn, or out of reach: only its customer knows.
 */
void
ks_error_customer_key(const char *log_reason)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("the customer's key is not available"),
			 log_reason != NULL ? errdetail_log("%s", ks_escape_control(log_reason)) : 0,
			 errhint("The owner of the workspace sees the state in keystone.kms_status.")));
}

/*
 * Values of a copy stay closed until somebody has said that it is meant to be.
 */
void
ks_error_not_accepted(void)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("the restored database was not accepted yet"),
			 errhint("An administrator accepts it with keystone.accept_restore(reason).")));
}

/*
 * What cannot be recorded is not done.
 */
void
ks_error_no_log(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_NO_LOG),
			 errmsg("the audit log is not available"),
			 errdetail_internal("%s", detail),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * Somebody else made a version since the caller looked.
 */
void
ks_error_conflict(int expected, int actual)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_CONFLICT),
			 errmsg("version conflict"),
			 errdetail("Expected version %d, but the current version is %d.",
					   expected, actual),
			 errhint("Read the current version and try again.")));
}

/*
 * A voter was shown something else than what the vote would be for.
 */
void
ks_error_other_request(void)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_CONFLICT),
			 errmsg("the request is not the one that was shown"),
			 errhint("Read keystone.approval_requests again: request_hash is of what is asked for.")));
}

/*
 * A rule of a policy is against it, whatever the caller does.
 */
void
ks_error_policy(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(KS_POLICY_DENIES),
			 errdetail_internal("%s", detail),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * Policy lets it through once something else was done, or at another time.
 */
void
ks_error_precondition(const char *message, const char *detail, const char *hint)
{
	if (strcmp(message, KS_POLICY_DEFERS) == 0)
		ereport(ERROR,
				(errcode(KS_ERRCODE_PRECONDITION),
				 errmsg("policy does not allow this at this time"),
				 errdetail_internal("%s", detail),
				 hint != NULL ? errhint("%s", hint) : 0));
	ereport(ERROR,
			(errcode(KS_ERRCODE_PRECONDITION),
			 errmsg("policy requires more first"),
			 errdetail_internal("%s", detail),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/* The last PT429: where an entry of it is made, only the error is known. */
static KsLimited last_limited;
static char last_limit[256];
static char last_window[64];
static bool has_last_limited = false;

static void
keep_limited(const KsLimited *limited)
{
	last_limited = *limited;
	strlcpy(last_limit, limited->limit, sizeof(last_limit));
	last_limited.limit = last_limit;
	last_limited.plan = NULL;
	if (limited->window != NULL)
	{
		strlcpy(last_window, limited->window, sizeof(last_window));
		last_limited.window = last_window;
	}
	has_last_limited = true;
}

const KsLimited *
ks_error_take_limited(void)
{
	bool		has = has_last_limited;

	has_last_limited = false;
	return has ? &last_limited : NULL;
}

static void
add_json(StringInfo json, const char *key, const char *value)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, key);
	appendStringInfoString(json, ": ");
	escape_json(json, value);
}

static void
add_json_number(StringInfo json, const char *key, int64 value)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, key);
	appendStringInfo(json, ": " INT64_FORMAT, value);
}

/* What the DETAIL of PT429 says. */
static char *
limited_detail(const KsLimited *limited)
{
	StringInfoData json;
	char		reset_at[MAXDATELEN + 1];
	const int	utc = 0;

	initStringInfo(&json);
	add_json(&json, "limit", limited->limit);
	if (limited->window != NULL)
		add_json(&json, "window", limited->window);
	add_json_number(&json, "limit_value", limited->limit_value);
	add_json_number(&json, "remaining", limited->remaining);
	if (limited->retry_after >= 0)
		add_json_number(&json, "retry_after", limited->retry_after);
	else
		appendStringInfoString(&json, ", \"retry_after\": null");
	if (limited->reset_at != 0)
	{
		(void) JsonEncodeDateTime(reset_at, TimestampTzGetDatum(limited->reset_at), TIMESTAMPTZOID, &utc);
		add_json(&json, "reset_at", reset_at);
	}
	if (limited->plan != NULL)
	{
		add_json(&json, "quota", limited->limit);
		add_json(&json, "plan", limited->plan);
		add_json_number(&json, "used", limited->used);
		add_json_number(&json, "included", limited->limit_value);
	}
	if (limited->kind == KS_LIMITED_BUDGET)
	{
		add_json(&json, "budget", limited->window);
		add_json_number(&json, "spent_micros", limited->used);
		add_json_number(&json, "hard_micros", limited->limit_value);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* Its primary message: a constant for each kind. */
static const char *
limited_message(KsLimitedKind kind)
{
	switch (kind)
	{
		case KS_LIMITED_PLAN:
			return "the plan does not include more";
		case KS_LIMITED_BUDGET:
			return "the budget is spent";
		case KS_LIMITED_OPEN:
			return "too many requests for approval are open";
		case KS_LIMITED_ATTEMPTS:
			break;
	}
	return KS_LIMITED_MESSAGE;
}

static char *
limited_hint(const KsLimited *limited)
{
	if (limited->plan != NULL)
		return pstrdup(_("Another plan includes more: keystone.set_plan()."));
	if (limited->kind == KS_LIMITED_PLAN)
		return pstrdup(_("The new owner has as many workspaces as its plan includes."));
	if (limited->kind == KS_LIMITED_OPEN)
		return pstrdup(_("Have some decided, or take some back: keystone.cancel_request()."));
	if (limited->retry_after < 0)
		return pstrdup(_("The limit never allows so much at once."));
	return psprintf(_("Try again in %lld seconds."), (long long) limited->retry_after);
}

/* Whether a window's name can be a string in the value of a header. */
static bool
fits_header(const char *name)
{
	return name != NULL && name[0] != '\0' &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-") == strlen(name);
}

/*
 * Status and headers of the answer, as PostgREST reads them from the DETAIL of
 * an error PGRST: Retry-After, and the fields of
 * draft-ietf-httpapi-ratelimit-headers.
 */
static char *
limited_headers(const KsLimited *limited)
{
	StringInfoData headers;
	StringInfoData json;

	initStringInfo(&headers);
	add_json(&headers, "Cache-Control", "no-store");
	if (limited->retry_after >= 0)
		add_json(&headers, "Retry-After", psprintf(INT64_FORMAT, limited->retry_after));
	if (fits_header(limited->window))
	{
		char	   *policy = psprintf("\"%s\";q=" INT64_FORMAT, limited->window, limited->limit_value);
		char	   *left = psprintf("\"%s\";r=" INT64_FORMAT, limited->window, limited->remaining);

		if (limited->period > 0)
			policy = psprintf("%s;w=" INT64_FORMAT, policy, limited->period);
		if (limited->retry_after >= 0)
			left = psprintf("%s;t=" INT64_FORMAT, left, limited->retry_after);
		add_json(&headers, "RateLimit-Policy", policy);
		add_json(&headers, "RateLimit", left);
	}
	initStringInfo(&json);
	appendStringInfo(&json, "{\"status\": 429, \"headers\": %s}}", headers.data);
	return json.data;
}

/* PT429 in PostgREST's form, in which the message is the body of the answer. */
static void
raise_over_http(const KsLimited *limited, const char *message, const char *detail, const char *hint)
{
	StringInfoData body;

	initStringInfo(&body);
	add_json(&body, "code", "PT429");
	add_json(&body, "message", message);
	add_json(&body, "details", detail);
	add_json(&body, "hint", hint);
	appendStringInfoChar(&body, '}');
	ereport(ERROR,
			errcode(KS_SQLSTATE_PGRST),
			errmsg_internal("%s", body.data),
			errdetail_internal("%s", limited_headers(limited)));
}

/*
 * A limit, quota or budget is reached.
 */
void
ks_error_limited(const KsLimited *limited, bool over_http)
{
	char	   *detail = limited_detail(limited);
	char	   *hint = limited_hint(limited);

	keep_limited(limited);
	if (over_http)
		raise_over_http(limited, limited_message(limited->kind), detail, hint);

	/* The messages are those of limited_message(), each a constant. */
	switch (limited->kind)
	{
		case KS_LIMITED_PLAN:
			ereport(ERROR,
					errcode(KS_ERRCODE_LIMITED),
					errmsg("the plan does not include more"),
					errdetail_internal("%s", detail),
					errhint("%s", hint));
			break;
		case KS_LIMITED_BUDGET:
			ereport(ERROR,
					errcode(KS_ERRCODE_LIMITED),
					errmsg("the budget is spent"),
					errdetail_internal("%s", detail),
					errhint("%s", hint));
			break;
		case KS_LIMITED_OPEN:
			ereport(ERROR,
					errcode(KS_ERRCODE_LIMITED),
					errmsg("too many requests for approval are open"),
					errdetail_internal("%s", detail),
					errhint("%s", hint));
			break;
		case KS_LIMITED_ATTEMPTS:
			break;
	}
	ereport(ERROR,
			errcode(KS_ERRCODE_LIMITED),
			errmsg("too many attempts"),
			errdetail_internal("%s", detail),
			errhint("%s", hint));
}

/*
 * A name is taken.
 */
void
ks_error_duplicate(const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("%s", what),
			 detail != NULL ? errdetail("%s", ks_escape_control(detail)) : 0));
}

/*
 * The client learns no more than that: what exactly is wrong would tell
 * somebody who forges ciphertext how far it got.
 */
void
ks_error_damaged(const char *log_reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("ciphertext does not open"),
			 log_reason != NULL ? errdetail_log("%s", ks_escape_control(log_reason)) : 0));
}

/*
 * NULL where a value is needed.
 */
void
ks_error_null(const char *parameter)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("parameter \"%s\" must not be null", parameter)));
}

/*
 * A wrong value, which is not shown: it may be a secret in the wrong place.
 */
void
ks_error_invalid(const char *parameter, const char *expected, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" must be %s", parameter, expected),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * One answer whatever is wrong with them: it must not say what else they are.
 */
void
ks_error_no_envelope(const char *log_reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" must be %s", "ciphertext",
					"what was encrypted for this workspace and context"),
			 errdetail_log("%s", log_reason)));
}

/*
 * The call writes, or must be recorded before it answers.
 */
void
ks_error_read_only(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot do this during recovery"),
				 errhint("Connect to the primary server.")));

	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot do this in a read-only transaction"),
			 errhint("Use a read-write transaction; over HTTP, use POST.")));
}

/*
 * libcrypto refused.  operation completes "could not ...".
 */
void
ks_error_crypto(const char *operation)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not %s", operation),
			 errdetail_log("%s", ks_crypto_reason())));
}

/*
 * A palloc'd copy of text that stays on one line of a log and cannot steer a
 * terminal: control characters (C0, DEL, C1 in UTF-8) become \xNN.
 */
char *
ks_escape_control(const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t		len = strlen(text);
	char	   *copy = palloc(mul_size(len, 4) + 1);
	char	   *out = copy;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];
		unsigned char next = (unsigned char) text[i + 1];

		/* U+0080 to U+009F are 0xC2 and 0x80 to 0x9F */
		if (c == 0xC2 && next >= 0x80 && next <= 0x9F)
		{
			c = next;
			i++;
		}
		else if (c >= 0x20 && c != 0x7F)
		{
			*out++ = (char) c;
			continue;
		}
		*out++ = '\\';
		*out++ = 'x';
		*out++ = digits[c >> 4];
		*out++ = digits[c & 0x0F];
	}
	*out = '\0';
	return copy;
}

#endif							/* KS_FRONTEND */
