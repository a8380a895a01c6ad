/*-------------------------------------------------------------------------
 *
 * ks_http.c
 *	  What a call made through PostgREST can say to HTTP.
 *
 * PostgREST tells of the request by settings that are local to the
 * transaction, and reads the setting response.headers before it commits: a
 * JSON array of objects with one key each.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "ks_http.h"

#define NO_STORE	"{\"Cache-Control\": \"no-store\"}"

void
ks_http_no_store(void)
{
	const char *method = GetConfigOption("request.method", true, false);
	const char *headers;
	char	   *added;
	size_t		len;

	if (method == NULL || method[0] == '\0')
		return;
	headers = GetConfigOption("response.headers", true, false);
	if (headers == NULL || headers[0] == '\0')
		headers = "[]";
	if (strstr(headers, NO_STORE) != NULL)
		return;

	len = strlen(headers);
	while (len > 0 && strchr(" \t\r\n", headers[len - 1]) != NULL)
		len--;
	if (len < 2 || headers[0] != '[' || headers[len - 1] != ']')
		return;					/* not ours to repair */
	len--;
	added = psprintf("%.*s%s%s]", (int) len, headers,
					 strspn(headers + 1, " \t\r\n") + 1 == len ? "" : ", ", NO_STORE);
	(void) set_config_option("response.headers", added, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	pfree(added);
}
