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
ks_error_shredded(void)
{
	ereport(ERROR,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("the workspace's keys were destroyed"),
			 errhint("Its values cannot be recovered.")));
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
 * A name is taken.
 */
void
ks_error_limited(const char *limit, int retry_after, bool over_http)
{
	char	   *detail = psprintf("{\"limit\": \"%s\", \"retry_after\": %d}", limit, retry_after);

	if (over_http)
		ereport(ERROR,
				errcode(MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')),
				errmsg_internal("{\"code\": \"PT429\", \"message\": \"too many attempts\", "
								"\"details\": \"{\\\"limit\\\": \\\"%s\\\", \\\"retry_after\\\": %d}\", "
								"\"hint\": \"Try again in %d seconds.\"}", limit, retry_after, retry_after),
				errdetail_internal("{\"status\": 429, \"headers\": {\"Retry-After\": \"%d\", "
								   "\"Cache-Control\": \"no-store\"}}", retry_after));
	ereport(ERROR,
			errcode(KS_ERRCODE_LIMITED),
			errmsg("too many attempts"),
			errdetail_internal("%s", detail),
			errhint("Try again in %d seconds.", retry_after));
}

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
