/*-------------------------------------------------------------------------
 *
 * ks_request.c
 *	  What PostgREST says of the request that it serves.
 *
 * The headers are parsed once for each text of them, since each call of a
 * request asks for them, and forgotten when the transaction ends: they hold
 * tokens.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"

#include "ks_json.h"
#include "ks_request.h"

#define HEADERS_MAX		65536	/* bytes that are parsed */

/* The headers as parsed last; texts lie in its context. */
static MemoryContext context = NULL;
static char *parsed_text = NULL;
static bool parsed_good;
static KsRequest parsed;

#ifdef KS_FIND_SETTING_IN_LIST
/* Compares names as the server's list of settings is ordered: ASCII letters
 * without regard to case. */
static int
compare_names(const char *a, const char *b)
{
	for (;; a++, b++)
	{
		int			one = pg_ascii_tolower((unsigned char) *a);
		int			other = pg_ascii_tolower((unsigned char) *b);

		if (one != other || one == '\0')
			return one - other;
	}
}

static struct config_generic *
ks_find_setting_in_list(const char *name)
{
	struct config_generic **list = get_guc_variables();
	int			low = 0;
	int			high = GetNumConfigOptions() - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_names(name, list[middle]->name);

		if (order == 0)
			return list[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}
#endif

const char *
ks_request_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

bool
ks_request_is_local(const char *name)
{
	struct config_generic *variable = ks_find_setting(name);

	/*
	 * The newest entry of its stack says how the value came about.  A
	 * function's SET clause, and a plain SET in this transaction, are not
	 * local: the latter may outlive it.
	 */
	return variable != NULL && variable->stack != NULL &&
		(variable->stack->state == GUC_LOCAL || variable->stack->state == GUC_SET_LOCAL);
}

static void
wipe(const char *text)
{
	if (text != NULL)
		explicit_bzero(unconstify(char *, text), strlen(text));
}

void
ks_request_forget(void)
{
	if (context == NULL || MemoryContextIsEmpty(context))
		return;
	wipe(parsed_text);
	wipe(parsed.authorization);
	wipe(parsed.api_key);
	parsed_text = NULL;
	memset(&parsed, 0, sizeof(parsed));
	MemoryContextReset(context);
}

static void
visit_header(void *arg, const KsJsonPath *path, KsJsonType type, const char *text)
{
	KsRequest  *request = arg;
	const char *name;

	if (path->depth != 1 || path->steps[0].key == NULL || type != KS_JSON_STRING)
		return;
	name = path->steps[0].key;
	if (strcmp(name, "authorization") == 0)
		request->authorization = pstrdup(text);
	else if (strcmp(name, "x-keystone-key") == 0)
		request->api_key = pstrdup(text);
	else if (strcmp(name, "user-agent") == 0)
		request->user_agent = pstrdup(text);
	else if (strcmp(name, "x-forwarded-for") == 0)
		request->forwarded_for = pnstrdup(text, strcspn(text, ", "));
}

bool
ks_request_headers(KsRequest *request)
{
	const char *headers = ks_request_setting("request.headers");
	MemoryContext old;

	memset(request, 0, sizeof(*request));
	if (headers == NULL || !ks_request_is_local("request.headers"))
		return false;

	if (parsed_text == NULL || strcmp(parsed_text, headers) != 0)
	{
		size_t		len = strlen(headers);

		if (context == NULL)
			context = AllocSetContextCreate(TopMemoryContext, "keystone request", ALLOCSET_SMALL_SIZES);
		ks_request_forget();
		old = MemoryContextSwitchTo(context);
		parsed_good = len <= HEADERS_MAX &&
			ks_json_read(headers, len, visit_header, &parsed) == NULL;
		if (!parsed_good)
			memset(&parsed, 0, sizeof(parsed));
		parsed_text = pstrdup(headers);
		MemoryContextSwitchTo(old);
	}
	*request = parsed;
	return parsed_good;
}

bool
ks_request_is_read(void)
{
	const char *method = ks_request_setting("request.method");

	return method != NULL && (pg_strcasecmp(method, "GET") == 0 || pg_strcasecmp(method, "HEAD") == 0);
}

const char *
ks_request_client_address(void)
{
	static char address[64];

	if (MyProcPort == NULL)
		return NULL;
	if (address[0] == '\0')
	{
		LOCAL_FCINFO(fcinfo, 0);
		Datum		inet;

		InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
		inet = inet_client_addr(fcinfo);
		strlcpy(address, fcinfo->isnull ? "local" : TextDatumGetCString(DirectFunctionCall1(network_host, inet)),
				sizeof(address));
	}
	return address;
}
