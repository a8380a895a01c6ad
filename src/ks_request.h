/*-------------------------------------------------------------------------
 *
 * ks_request.h
 *	  What PostgREST says of the request that it serves, in settings that are
 *	  local to the transaction: request.headers (a JSON object with names in
 *	  lower case), request.jwt.claims, request.method.
 *
 * Anybody can set them.  Whoever asks has made sure that the session is an
 * authenticator's, or marks what it shows as claimed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_REQUEST_H
#define KS_REQUEST_H

#include "keystone.h"

/* The text of a setting, NULL when it is not set or empty. */
extern const char *ks_request_setting(const char *name);

/* Whether its value lasts to the end of the transaction at most: what is left
 * from before, on a pooled connection, does not. */
extern bool ks_request_is_local(const char *name);

/* The headers that matter; NULL where a header is missing. */
typedef struct KsRequest
{
	const char *authorization;	/* as it came: "Bearer ..." */
	const char *api_key;		/* x-keystone-key */
	const char *user_agent;
	const char *forwarded_for;	/* the first address of x-forwarded-for */
} KsRequest;

/*
 * Reads request.headers.  False when it is not set, not local, or no JSON
 * object of strings.  The result lies here and is good until the next call.
 */
extern bool ks_request_headers(KsRequest *request);

/* Wipes what was read: at the end of a transaction. */
extern void ks_request_forget(void);

/*
 * Where the client of the session is, as the server sees it: its address
 * without the port, or "local"; NULL in a background process.
 */
extern const char *ks_request_client_address(void);

/* Whether the request is a GET or HEAD; false when there is none. */
extern bool ks_request_is_read(void);

#endif							/* KS_REQUEST_H */
