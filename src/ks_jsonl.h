/*-------------------------------------------------------------------------
 *
 * ks_jsonl.h
 *	  JSON lines without backslashes and control characters, so that COPY and
 *	  \copy give them byte by byte.
 *
 * Bytes are base64 or hexadecimal.  In texts each byte of a quotation mark, a
 * backslash, a percent sign or a control character is written as %XX; what is
 * no UTF-8 is null.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JSONL_H
#define KS_JSONL_H

#include "keystone.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/* Each appends one JSON value. */
extern void ks_jsonl_text(StringInfo line, const char *data, size_t len);
extern void ks_jsonl_cstring(StringInfo line, const char *text);
extern void ks_jsonl_base64(StringInfo line, const void *data, size_t len); /* NULL: null */
extern void ks_jsonl_hex(StringInfo line, const void *data, size_t len);
extern void ks_jsonl_id(StringInfo line, const uint8 *id);	/* the nil uuid: null */

/* Microseconds since 2000, in UTC; null for the infinities. */
extern void ks_jsonl_time(StringInfo line, TimestampTz time);

#endif							/* KS_JSONL_H */
