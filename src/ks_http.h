/*-------------------------------------------------------------------------
 *
 * ks_http.h
 *	  What a call made through PostgREST can say to HTTP.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_HTTP_H
#define KS_HTTP_H

#include "keystone.h"

/*
 * Adds "Cache-Control: no-store" to the response of a call made through
 * PostgREST (setting request.method); does nothing for others.
 */
extern void ks_http_no_store(void);

#endif							/* KS_HTTP_H */
