/*-------------------------------------------------------------------------
 *
 * ks_value.c
 *	  What can be told about a value.
 *
 * The server's JSON parser is used below the level at which it reports
 * errors, because its reports quote the text.  So is its regular expression
 * matcher, whose SQL functions leave a copy of the value in freed memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_mem.h"
#include "ks_value.h"

#define HINT_MIN_CHARS	24
#define HINT_CHARS		4
#define HOST_MAX		253		/* RFC 1035 */

typedef struct FieldSearch
{
	JsonLexContext *lexer;
	const char *field;
	const char *start;			/* of the field's value, while inside it */
	char	   *string;			/* its text, when it is a string */
	bool		object;			/* the whole is an object */
	KsFieldResult result;
	char	   *found;			/* palloc'd */
	size_t		found_len;
} FieldSearch;

static KS_JSON_ACTION
object_start(void *state)
{
	FieldSearch *search = state;

	if (search->lexer->lex_level == 0)
		search->object = true;
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
field_start(void *state, char *name, bool isnull)
{
	FieldSearch *search = state;

	(void) isnull;
	if (search->lexer->lex_level == 1 && strcmp(name, search->field) == 0)
	{
		search->start = search->lexer->token_start;
		search->string = NULL;
	}
	KS_JSON_CONTINUE;
}

/* The token is this function's: what is not wanted is wiped. */
static KS_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	FieldSearch *search = state;

	if (search->start != NULL && search->lexer->lex_level == 1 && type == JSON_TOKEN_STRING)
		search->string = token;
	else if (token != NULL)
		ks_wipe(token, strlen(token));
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
field_end(void *state, char *name, bool isnull)
{
	FieldSearch *search = state;

	(void) name;
	if (search->start == NULL || search->lexer->lex_level != 1)
		KS_JSON_CONTINUE;
	if (isnull)
		search->result = KS_FIELD_MISSING;
	else
	{
		if (search->found != NULL)
			ks_wipe(search->found, search->found_len);	/* the last of several
														 * counts */
		if (search->string != NULL)
			search->found = search->string;
		else
			search->found = pnstrdup(search->start,
									 search->lexer->prev_token_terminator - search->start);
		search->found_len = strlen(search->found);
		search->result = KS_FIELD_FOUND;
	}
	search->start = NULL;
	KS_JSON_CONTINUE;
}

KsFieldResult
ks_value_field(const char *value, size_t len, const char *field, char **field_value, size_t *field_len)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone value",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	char	   *copy = ks_secret_alloc(work, len + 1);
	FieldSearch search = {.field = field, .result = KS_FIELD_MISSING};
	JsonSemAction actions = {
		.semstate = &search,
		.object_start = object_start,
		.object_field_start = field_start,
		.object_field_end = field_end,
		.scalar = scalar,
	};
	KsFieldResult result;

	memcpy(copy, value, len);
	copy[len] = '\0';
	search.lexer = ks_json_lexer(copy, len);

	/* Room for the longest string, so that no grown buffer leaves a copy. */
	enlargeStringInfo(search.lexer->strval, (int) len);
	if (pg_parse_json(search.lexer, &actions) != JSON_SUCCESS || !search.object)
		result = KS_FIELD_NO_OBJECT;
	else
		result = search.result;
	ks_wipe(search.lexer->strval->data, search.lexer->strval->maxlen);

	MemoryContextSwitchTo(old);
	if (result == KS_FIELD_FOUND)
	{
		*field_value = ks_secret_alloc(CurrentMemoryContext, search.found_len + 1);
		memcpy(*field_value, search.found, search.found_len);
		(*field_value)[search.found_len] = '\0';
		*field_len = search.found_len;
	}
	if (search.found != NULL)
		ks_wipe(search.found, search.found_len);
	MemoryContextDelete(work);
	return result;
}

bool
ks_value_matches(const char *value, size_t len, const char *pattern)
{
	pg_wchar   *wide = ks_secret_alloc(CurrentMemoryContext, (len + 1) * sizeof(pg_wchar));
	regex_t    *regex = RE_compile_and_cache(cstring_to_text(pattern), REG_ADVANCED, C_COLLATION_OID);
	int			n = pg_mb2wchar_with_len(value, wide, (int) len);
	int			result = pg_regexec(regex, wide, n, 0, NULL, 0, NULL, 0);

	ks_secret_wipe(wide);
	if (result != REG_OKAY && result != REG_NOMATCH)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				errmsg("regular expression of the provider could not be applied"));
	return result == REG_OKAY;
}

/* Whether a host is made of what hosts are made of, so that a part of a
 * password that got here by a malformed string is not shown. */
static bool
is_host(const char *host, size_t len)
{
	if (len == 0 || len > HOST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char		c = host[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  c == '.' || c == '-' || c == '_'))
			return false;
	}
	return true;
}

/*
 * The host of scheme://user:password@host:port/...  Given only when the part
 * before the first '/' has the form that it should: where a password holds an
 * unescaped '/', '@' or '?', there is no telling what is host.
 */
static char *
connection_host(const char *value, size_t len)
{
	const char *end = value + len;
	const char *authority = memchr(value, ':', len);
	const char *at;
	const char *host;
	const char *tail;

	if (authority == NULL || end - authority < 4 || memcmp(authority, "://", 3) != 0)
		return NULL;
	authority += 3;
	at = memchr(authority, '@', end - authority);
	if (at == NULL || memchr(at + 1, '@', end - at - 1) != NULL)
		return NULL;
	for (const char *p = authority; p < at; p++)
	{
		if (*p == '/' || *p == '?' || *p == '#')
			return NULL;
	}
	host = at + 1;
	for (tail = host; tail < end && *tail != ':' && *tail != '/' && *tail != '?'; tail++)
		;
	return is_host(host, tail - host) ? pnstrdup(host, tail - host) : NULL;
}

/* Whether a value has the form scheme://..., whatever kind it was stored as. */
static bool
is_url(const char *value, size_t len)
{
	const char *colon = memchr(value, ':', len);

	return colon != NULL && value + len - colon > 3 && memcmp(colon, "://", 3) == 0;
}

static char *
access_key_id(const char *value, size_t len)
{
	static const char *const names[] = {"access_key_id", "aws_access_key_id", "AccessKeyId"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		char	   *id;
		size_t		id_len;

		if (ks_value_field(value, len, names[i], &id, &id_len) == KS_FIELD_FOUND && id_len > 0 &&
			is_host(id, id_len))
			return pnstrdup(id, id_len);
	}
	return NULL;
}

char *
ks_value_hint(const char *kind, const char *value, size_t len)
{
	int			chars = pg_mbstrlen_with_len(value, (int) len);
	const char *tail;

	if (strcmp(kind, "connection_string") == 0 || is_url(value, len))
		return connection_host(value, len);
	if (len > 0 && value[0] == '{')
		return strcmp(kind, "access_key") == 0 ? access_key_id(value, len) : NULL;
	if (chars < HINT_MIN_CHARS || memchr(value, '\n', len) != NULL)
		return NULL;
	tail = value + pg_mbcharcliplen(value, (int) len, chars - HINT_CHARS);
	return psprintf("****%.*s", (int) (value + len - tail), tail);
}
