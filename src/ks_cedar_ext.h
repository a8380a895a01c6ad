/*-------------------------------------------------------------------------
 *
 * ks_cedar_ext.h
 *	  The extension types of the policy language Cedar: ip, decimal, datetime
 *	  and duration.
 *
 * The texts come from policies and from callers and need no terminator: what
 * is wrong with one is a result, never an error of the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_EXT_H
#define KS_CEDAR_EXT_H

#include "ks_compat.h"

/* An address, or with a prefix shorter than the address a range. */
typedef struct KsCedarIp
{
	bool		v6;
	uint8		prefix;			/* bits, up to 32 or 128 */
	uint8		address[16];	/* of IPv4 the first four; the rest is 0 */
} KsCedarIp;

/*
 * Readers of what the constructors of the types take.  A decimal is in units
 * of 1/10000, a duration in milliseconds, a datetime in milliseconds from
 * 1970-01-01 00:00 UTC.  False for a text that is none, or out of range.
 */
extern bool ks_cedar_read_ip(const char *text, size_t len, KsCedarIp *ip);
extern bool ks_cedar_read_decimal(const char *text, size_t len, int64 *decimal);
extern bool ks_cedar_read_datetime(const char *text, size_t len, int64 *datetime);
extern bool ks_cedar_read_duration(const char *text, size_t len, int64 *duration);

/* Whether all of an address or range is inside: loopback, multicast, another. */
extern bool ks_cedar_ip_is_loopback(const KsCedarIp *ip);
extern bool ks_cedar_ip_is_multicast(const KsCedarIp *ip);
extern bool ks_cedar_ip_is_in_range(const KsCedarIp *ip, const KsCedarIp *range);

/* Below, equal to or above zero, in an order of no meaning. */
extern int	ks_cedar_ip_compare(const KsCedarIp *a, const KsCedarIp *b);

/* The day that a datetime is on; false when that is out of range. */
extern bool ks_cedar_to_date(int64 datetime, int64 *date);

/* The time since the beginning of that day. */
extern int64 ks_cedar_to_time(int64 datetime);

#endif							/* KS_CEDAR_EXT_H */
