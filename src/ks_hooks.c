/*-------------------------------------------------------------------------
 *
 * ks_hooks.c
 *	  Keeps secrets that stand in a statement out of the server log and of
 *	  pg_stat_activity.
 *
 * The server lets a log hook suppress a record, not change it.  A record that
 * may carry a secret is therefore suppressed, and another one is reported in
 * its place.  A record may carry a secret when
 *
 *	- the current statement's text, or that of a prepared statement which it
 *	  executes, calls a function that takes a secret, holds an API key or a JSON
 *	  Web Token, or sets request.headers, as PostgREST's does,
 *	- such a function was entered during the current statement, or
 *	- the record's own texts do: the query of a context line, of another
 *	  session in a deadlock report, of a session that crashed; the parameters
 *	  that were bound.
 *
 * Text is looked at word by word, not parsed: also inside literals and
 * comments, where a DO block or an EXECUTE has its statements.  When in doubt
 * the record is redacted.  A statement that only calls a user's function,
 * which passes the secret on, is not recognised before it has run.
 *
 * The log hook runs in every process, while errors are reported: it raises
 * nothing, allocates nothing but the record that it reports, and scans each
 * text once.  What goes to the client is left alone.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_hooks.h"

#include <ctype.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/elog.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

/* Longest gap between a function's name and its parenthesis that is searched. */
#define GAP_MAX		1024

#define WITHHELD_WHY	"it calls a Keystone function that takes a secret, or holds a token"

/* Arguments in the text that takes a statement's place in pg_stat_activity. */
#define REDACTED		"(<redacted>)"

/* Functions of schema keystone that take a secret, a key or a token. */
static const char *const secret_functions[] = {
	"store", "rotate", "import_env", "encrypt", "encrypt_text", "blind_index",
	"authenticate", "accept_invitation", "import_bundle", "limit_refund"
};

/* What a statement that holds a token is taken to call. */
#define TOKEN_FUNCTION	"authenticate"

/* An API key begins so, and with KEY_DIGITS hexadecimal digits and "_". */
#define KEY_MARK		"ks_"
#define KEY_DIGITS		12

/* A JSON Web Token begins so: with {" in base64url.  At least JWT_LETTERS more
 * and "." follow. */
#define JWT_MARK		"eyJ"
#define JWT_LETTERS		10

/* The setting in which PostgREST gives the tokens of a request. */
#define TOKEN_SETTING	"request.headers"

static emit_log_hook_type prev_emit_log_hook = NULL;
static post_parse_analyze_hook_type prev_post_parse_analyze_hook = NULL;

/*
 * Start of the statement that was marked.  Its text may be gone when its last
 * record is made, after the transaction, but no later message of the client
 * has the same start.
 */
static TimestampTz marked_at = DT_NOBEGIN;


/*-------------------------------------------------------------------------
 * Looking at text
 *-------------------------------------------------------------------------
 */

static bool
is_word_char(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' || ((unsigned char) c & 0x80) != 0;
}

/*
 * Finds the next word at or after *at.  Returns its length, 0 at the end, and
 * moves *at to its first character.
 */
static size_t
next_word(const char **at)
{
	const char *end;

	while (**at != '\0' && !is_word_char(**at))
		(*at)++;
	for (end = *at; is_word_char(*end); end++)
		;
	return end - *at;
}

/*
 * Skips white space and comments, at most GAP_MAX characters.  Sets *too_long
 * if there is more of it.
 */
static const char *
skip_gap(const char *at, bool *too_long)
{
	const char *limit = at + strnlen(at, GAP_MAX);
	int			depth = 0;		/* of nested comments */

	while (at < limit)
	{
		if (at[0] == '/' && at[1] == '*')
		{
			depth++;
			at += 2;
		}
		else if (depth > 0 && at[0] == '*' && at[1] == '/')
		{
			depth--;
			at += 2;
		}
		else if (depth > 0 || isspace((unsigned char) at[0]))
			at++;
		else if (at[0] == '-' && at[1] == '-')
			at += strcspn(at, "\r\n");
		else
			break;
	}
	*too_long = at >= limit && *limit != '\0';
	return at;
}

static bool
word_is(const char *word, size_t len, const char *expected)
{
	return strlen(expected) == len && pg_strncasecmp(word, expected, len) == 0;
}

/*
 * Whether arguments follow a function's name, other than those that were
 * redacted already.
 */
static bool
has_arguments(const char *after_name)
{
	bool		too_long;
	const char *at = skip_gap(after_name + (*after_name == '"'), &too_long);

	return too_long || (*at == '(' && strncmp(at, REDACTED, strlen(REDACTED)) != 0);
}

/*
 * A function can be called by its name alone when the search path has the
 * schema, or the text itself sets it.
 */
static bool
mentions_keystone(const char *text)
{
	return strcasestr(text, "keystone") != NULL ||
		(namespace_search_path != NULL &&
		 strcasestr(namespace_search_path, "keystone") != NULL);
}

/*
 * Whether an API key, or the beginning of one that was cut, stands anywhere in
 * the text: what comes before it may be an escape, such as \n.
 */
static bool
has_api_key(const char *text)
{
	while ((text = strstr(text, KEY_MARK)) != NULL)
	{
		text += strlen(KEY_MARK);
		if (strspn(text, "0123456789abcdefABCDEF") == KEY_DIGITS && text[KEY_DIGITS] == '_' &&
			isxdigit((unsigned char) text[KEY_DIGITS + 1]))
			return true;
	}
	return false;
}

static bool
has_jwt(const char *text)
{
	while ((text = strstr(text, JWT_MARK)) != NULL)
	{
		size_t		len;

		text += strlen(JWT_MARK);
		for (len = 0; isalnum((unsigned char) text[len]) || text[len] == '_' || text[len] == '-'; len++)
			;
		if (len >= JWT_LETTERS && text[len] == '.')
			return true;
		text += len;
	}
	return false;
}

/*
 * Whether the text sets the setting that has tokens, which may be bound.  Who
 * reads it with current_setting() does not.
 */
static bool
sets_token(const char *text)
{
	const char *word = text;
	size_t		len;

	if (strcasestr(text, TOKEN_SETTING) == NULL)
		return false;
	while ((len = next_word(&word)) > 0)
	{
		if (word_is(word, len, "set_config") || word_is(word, len, "set"))
			return true;
		word += len;
	}
	return false;
}

/*
 * The first function that takes a secret and is called in the text, or NULL.
 * Its qualification is not looked at: a text that mentions the schema rarely
 * calls a function of the same name in another one, and then loses a log line.
 */
static const char *
find_secret_call(const char *text)
{
	const char *word = text;
	size_t		len;

	if (text == NULL)
		return NULL;
	if (has_api_key(text) || has_jwt(text) || sets_token(text))
		return TOKEN_FUNCTION;
	if (!mentions_keystone(text))
		return NULL;

	while ((len = next_word(&word)) > 0)
	{
		const char *after = word + len;

		for (size_t i = 0; i < lengthof(secret_functions); i++)
		{
			if (word_is(word, len, secret_functions[i]) && has_arguments(after))
				return secret_functions[i];
		}
		word = after;
	}
	return NULL;
}

/*
 * The same for what the prepared statements that are executed in the text
 * call.
 */
static const char *
find_secret_execute(const char *text)
{
	const char *word = strcasestr(text, "execute");
	size_t		len;

	if (word == NULL)
		return NULL;

	while ((len = next_word(&word)) > 0)
	{
		bool		is_execute = word_is(word, len, "execute");

		word += len;
		if (is_execute)
		{
			char		name[NAMEDATALEN];
			const char *start;
			bool		too_long;
			bool		quoted;
			PreparedStatement *prepared;
			const char *function;

			start = skip_gap(word, &too_long);
			quoted = (*start == '"');
			start += quoted;
			len = quoted ? strcspn(start, "\"") : next_word(&start);
			if (len == 0 || len >= NAMEDATALEN)
				continue;
			strlcpy(name, start, len + 1);
			for (char *c = name; !quoted && *c != '\0'; c++)
				*c = (char) pg_tolower((unsigned char) *c);

			prepared = FetchPreparedStatement(name, false);
			if (prepared != NULL &&
				(function = find_secret_call(prepared->plansource->query_string)) != NULL)
				return function;
		}
	}
	return NULL;
}

static const char *
find_secret(const char *statement)
{
	const char *function = find_secret_call(statement);

	return function != NULL ? function : find_secret_execute(statement);
}


/*-------------------------------------------------------------------------
 * pg_stat_activity
 *-------------------------------------------------------------------------
 */

void
ks_hooks_mark_secret(const char *function)
{
	char		text[NAMEDATALEN + 64];
	uint64		query_id;

	if (marked_at == GetCurrentStatementStartTimestamp())
		return;
	marked_at = GetCurrentStatementStartTimestamp();

	/* a new text would lose the query's identifier */
	query_id = pgstat_get_my_query_id();
	snprintf(text, sizeof(text), "SELECT keystone.%s" REDACTED, function);
	pgstat_report_activity(STATE_RUNNING, text);
	pgstat_report_query_id(query_id, true);
}

/*
 * Marks a statement once it is parsed: it may run for a while before it calls
 * the function, or never get there.
 */
static void
mark_parsed(ParseState *pstate, Query *query, JumbleState *jstate)
{
	static const char *seen = NULL;
	static TimestampTz seen_at = DT_NOBEGIN;

	if (prev_post_parse_analyze_hook)
		prev_post_parse_analyze_hook(pstate, query, jstate);

	/* once for a text of many statements, and for what they call */
	if (debug_query_string != NULL &&
		(debug_query_string != seen || seen_at != GetCurrentStatementStartTimestamp()))
	{
		seen = debug_query_string;
		seen_at = GetCurrentStatementStartTimestamp();
		if (marked_at != seen_at)
		{
			const char *function = find_secret(debug_query_string);

			if (function != NULL)
				ks_hooks_mark_secret(function);
		}
	}

	/*
	 * pg_stat_statements keeps the text of a utility statement with its
	 * literals, unless the statement has no identifier.
	 */
	if (query->utilityStmt != NULL && marked_at == GetCurrentStatementStartTimestamp())
		query->queryId = 0;
}


/*-------------------------------------------------------------------------
 * The server log
 *-------------------------------------------------------------------------
 */

/*
 * Whether the current statement may hold a secret.  A deferred trigger runs
 * after the statement's text is gone, but in its transaction.
 */
static bool
statement_is_secret(void)
{
	const char *function;

	if (debug_query_string == NULL && !IsTransactionState())
		return false;
	if (marked_at == GetCurrentStatementStartTimestamp())
		return true;
	if (debug_query_string == NULL)
		return false;

	function = find_secret(debug_query_string);
	if (function != NULL)
		ks_hooks_mark_secret(function);
	return function != NULL;
}

/*
 * Whether one of the record's texts but the primary message may.
 */
static bool
details_are_secret(const ErrorData *edata)
{
	return find_secret_call(edata->detail) != NULL ||
		find_secret_call(edata->detail_log) != NULL ||
		find_secret_call(edata->hint) != NULL ||
		find_secret_call(edata->context) != NULL ||
		find_secret_call(edata->internalquery) != NULL;
}

/*
 * Keystone's own messages hold no secret.
 */
static bool
is_from_keystone(const ErrorData *edata)
{
	return edata->filename != NULL && strncmp(edata->filename, "ks_", 3) == 0;
}

/*
 * Nor does a message into which nothing was put ("deadlock detected").
 */
static bool
is_constant(const ErrorData *edata)
{
	return edata->message_id != NULL && strchr(edata->message_id, '%') == NULL;
}

/*
 * A replacement that this file reports.  A flag instead could stay set when
 * memory runs out.
 */
static bool
is_replacement(const ErrorData *edata)
{
	return edata->filename != NULL && strcmp(edata->filename, "ks_hooks.c") == 0;
}

/*
 * "duration: 1.234 ms  " if the record begins with that, else empty.  The
 * record may be translated, its message_id is not.
 */
static void
copy_duration(const ErrorData *edata, char *duration, size_t size)
{
	const char *number;
	size_t		len;

	duration[0] = '\0';
	if (edata->message == NULL || edata->message_id == NULL ||
		strncmp(edata->message_id, "duration: %", strlen("duration: %")) != 0)
		return;

	number = edata->message + strcspn(edata->message, "0123456789");
	len = strspn(number, "0123456789.");
	if (len > 0 && len < 24 && strncmp(number + len, " ms", 3) == 0)
		snprintf(duration, size, "duration: %.*s ms  ", (int) len, number);
}

/*
 * Stands for a record of the server or of auto_explain whose message is the
 * statement's text.
 */
static void
report_statement(const ErrorData *edata)
{
	char		duration[64];

	copy_duration(edata, duration, sizeof(duration));
	ereport(LOG_SERVER_ONLY,
			(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
			 errmsg_internal("%sstatement withheld: " WITHHELD_WHY, duration),
			 errhidestmt(true),
			 errhidecontext(true)));
}

/*
 * Stands for any other record.
 */
static void
report_message(const ErrorData *edata, bool message_is_clean)
{
	bool		own = is_from_keystone(edata);
	const char *detail = edata->detail_log != NULL ? edata->detail_log : edata->detail;
	const char *message = "message withheld";

	if ((own || message_is_clean || is_constant(edata)) && edata->message != NULL)
		message = edata->message;
	if (!own || detail == NULL)
		detail = "The statement is withheld: " WITHHELD_WHY ".";

	ereport(LOG_SERVER_ONLY,
			(errcode(edata->sqlerrcode),
			 errmsg_internal("%s %s: %s", error_severity(edata->elevel),
							 unpack_sql_state(edata->sqlerrcode), message),
			 errdetail_internal("%s", detail),
			 errhidestmt(true),
			 errhidecontext(true)));
}

/*
 * Reports what may be known of a record.  The report adds no context of its
 * own, and nothing may interrupt the one that is under way.
 */
static void
report_replacement(const ErrorData *edata, bool message_is_clean)
{
	ErrorContextCallback *context = error_context_stack;

	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	if (edata->elevel == LOG && edata->hide_stmt && !message_is_clean)
		report_statement(edata);
	else
		report_message(edata, message_is_clean);
	RESUME_INTERRUPTS();
	error_context_stack = context;
}

/*
 * The log hook.  Hooks that were installed before get the replacement only.
 */
static void
redact_record(ErrorData *edata)
{
	if (edata->output_to_server && !is_replacement(edata))
	{
		bool		statement = statement_is_secret();
		bool		message = statement || find_secret_call(edata->message) != NULL;

		if (message || details_are_secret(edata))
		{
			edata->output_to_server = false;

			/*
			 * without a statement in this process, the message is not about
			 * it
			 */
			if (edata->elevel >= LOG)
				report_replacement(edata, !message && debug_query_string == NULL);
			return;
		}
	}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
ks_hooks_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = redact_record;
	prev_post_parse_analyze_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = mark_parsed;
}
