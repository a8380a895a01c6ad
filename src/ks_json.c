/*-------------------------------------------------------------------------
 *
 * ks_json.c
 *	  A reader of small JSON texts, over the server's own parser.
 *
 * The parser is used below the level at which it reports errors.  Two things
 * it would raise nevertheless are looked for first: nesting that exhausts the
 * stack, and escapes of characters that the database cannot have.
 *
 * What is read may be a secret.  The parser gives each text away as a copy,
 * which is wiped here once it was told; the one that it was about to give away
 * when the JSON broke off is not, and is lost with the memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "ks_json.h"
#include "ks_mem.h"

typedef struct Reader
{
	KsJsonVisit visit;
	void	   *arg;
	MemoryContext caller;
	KsJsonPath	path;			/* depth counts steps that are not kept, too */
} Reader;

/* Where the innermost step is kept, NULL when it is too deep. */
static KsJsonStep *
current_step(Reader *reader)
{
	int			depth = reader->path.depth;

	return depth > 0 && depth <= KS_JSON_PATH_MAX ? &reader->path.steps[depth - 1] : NULL;
}

static void
tell(Reader *reader, KsJsonType type, const char *text)
{
	MemoryContext before;

	if (reader->path.depth > KS_JSON_PATH_MAX)
		return;
	before = MemoryContextSwitchTo(reader->caller);
	reader->visit(reader->arg, &reader->path, type, text);
	MemoryContextSwitchTo(before);
}

/* Begins what steps lead into. */
static void
begin(Reader *reader, KsJsonType type)
{
	KsJsonStep *step;

	tell(reader, type, "");
	reader->path.depth++;
	step = current_step(reader);
	if (step != NULL)
	{
		step->key = NULL;
		step->index = -1;
	}
}

static KS_JSON_ACTION
object_start(void *state)
{
	begin(state, KS_JSON_OBJECT);
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
array_start(void *state)
{
	begin(state, KS_JSON_ARRAY);
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
object_or_array_end(void *state)
{
	((Reader *) state)->path.depth--;
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
field_start(void *state, char *name, bool isnull)
{
	KsJsonStep *step = current_step(state);

	(void) isnull;
	if (step != NULL)
		step->key = name;
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
field_end(void *state, char *name, bool isnull)
{
	KsJsonStep *step = current_step(state);

	(void) isnull;
	if (step != NULL)
		step->key = NULL;
	ks_wipe(name, strlen(name));
	KS_JSON_CONTINUE;
}

static KS_JSON_ACTION
element_start(void *state, bool isnull)
{
	KsJsonStep *step = current_step(state);

	(void) isnull;
	if (step != NULL)
		step->index++;
	KS_JSON_CONTINUE;
}

/* The token is this function's. */
static KS_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	tell(state,
		 type == JSON_TOKEN_STRING ? KS_JSON_STRING :
		 type == JSON_TOKEN_NUMBER ? KS_JSON_NUMBER :
		 type == JSON_TOKEN_NULL ? KS_JSON_NULL : KS_JSON_BOOL, token);
	ks_wipe(token, strlen(token));
	KS_JSON_CONTINUE;
}

/*
 * Whether the escape at the backslash is one of a character beyond ASCII,
 * which the parser converts to the encoding of the database; the launcher has
 * no database.  What is no escape at all is left to the parser.
 */
static bool
escapes_beyond_ascii(const char *at, size_t len)
{
	if (len < 6 || at[1] != 'u')
		return false;
	return at[2] != '0' || at[3] != '0' || at[4] < '0' || at[4] > '7';
}

/*
 * What the parser would raise an error for, or NULL.  Brackets count outside
 * of strings only, and a quotation mark behind a backslash ends no string.
 */
static const char *
find_trap(const char *json, size_t len)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	bool		inside = false; /* a string */
	int			depth = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (inside && json[i] == '\\')
		{
			if (!utf8 && escapes_beyond_ascii(json + i, len - i))
				return "has an escape of a character beyond ASCII; write the character itself";
			i++;
		}
		else if (json[i] == '"')
			inside = !inside;
		else if (!inside && (json[i] == '{' || json[i] == '['))
		{
			if (++depth > KS_JSON_DEPTH_MAX)
				return "nests too deep";
		}
		else if (!inside && (json[i] == '}' || json[i] == ']'))
			depth--;
	}
	return NULL;
}

const char *
ks_json_read(const char *json, size_t len, KsJsonVisit visit, void *arg)
{
	Reader		reader = {.visit = visit, .arg = arg, .caller = CurrentMemoryContext};
	JsonSemAction actions = {
		.semstate = &reader,
		.object_start = object_start,
		.object_end = object_or_array_end,
		.array_start = array_start,
		.array_end = object_or_array_end,
		.object_field_start = field_start,
		.object_field_end = field_end,
		.array_element_start = element_start,
		.scalar = scalar,
	};
	const char *problem = NULL;
	MemoryContext work;
	JsonLexContext *lexer;
	JsonParseErrorType result;
	char	   *copy;

	if (len > MaxAllocSize / 2)
		return "is too long";
	if (!pg_verify_mbstr(PG_UTF8, json, (int) len, true))
		return "is not UTF-8";
	problem = find_trap(json, len);
	if (problem != NULL)
		return problem;

	work = AllocSetContextCreate(CurrentMemoryContext, "keystone json", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(work);
	copy = ks_secret_alloc(work, len + 1);
	memcpy(copy, json, len);
	copy[len] = '\0';
	lexer = ks_json_lexer(copy, len);

	/* Room for the longest string, so that no grown buffer leaves a copy. */
	enlargeStringInfo(lexer->strval, (int) len);
	result = pg_parse_json(lexer, &actions);
	ks_wipe(lexer->strval->data, lexer->strval->maxlen);

	MemoryContextSwitchTo(reader.caller);
	MemoryContextDelete(work);
	if (result == JSON_UNICODE_CODE_POINT_ZERO)
		return "has a NUL character";
	return result == JSON_SUCCESS ? NULL : "is no JSON";
}
