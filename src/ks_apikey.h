/*-------------------------------------------------------------------------
 *
 * ks_apikey.h
 *	  The tables of API keys.
 *
 * A key is "ks_<prefix>_<secret>": 12 hexadecimal digits by which it is found,
 * and 64 that are random.  Of the secret only an HMAC is kept.  A key that is
 * rotated has two secrets until the older one's time is over; the key itself,
 * a principal with a role, stays.
 *
 * Changes need ks_begin_change() first, and the workspace's lock
 * (ks_tenant_lock()).  Who may make them is the caller's business.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_APIKEY_H
#define KS_APIKEY_H

#include "ks_rights.h"

/* The text of a key: mark, prefix, underscore, secret. */
#define KS_API_KEY_LEN \
	(sizeof(KS_API_KEY_MARK) - 1 + KS_API_KEY_PREFIX_LEN + 1 + 2 * KS_API_KEY_SECRET_LEN)

#define KS_API_KEY_OVERLAP_MAX	30	/* days for which an older secret lives on */

/* Gives ks_identity its loader for keys. */
extern void ks_apikey_init(void);

typedef struct KsApiKey
{
	KsApiKeyRow row;
	bool		valid;			/* its HMAC is; set by ks_apikey_find() */
	char		drawn[KS_API_KEY_PREFIX_LEN + 1];	/* a new secret's prefix */
} KsApiKey;

/* The key of that name that is not revoked, forged ones too; false when there
 * is none.  What it points to is palloc'd. */
extern bool ks_apikey_find(const uint8 workspace[KS_ID_LEN], const char *name, KsApiKey *key);

/* Whether it is neither forged, revoked nor expired. */
extern bool ks_apikey_is_good(const KsApiKey *key, TimestampTz now);

/*
 * Makes a key with a first secret.  All of key->row but its times and prefix
 * is set; its principal exists.  Sets the prefix, and writes the text, without a
 * terminator, which is wanted in a secret buffer.  False when the name is
 * taken.
 */
extern bool ks_apikey_add(KsApiKey *key, char text[KS_API_KEY_LEN]);

/*
 * Gives a key a new secret, as ks_apikey_add(); the others end after overlap
 * (microseconds) unless they end before.
 */
extern void ks_apikey_rotate(KsApiKey *key, int64 overlap, char text[KS_API_KEY_LEN]);

/* Makes a key a tombstone, with a valid HMAC; a forged one loses its lists. */
extern void ks_apikey_revoke(KsApiKey *key);

/* Revokes all keys of a workspace, or those that somebody made (NULL:
 * anybody); returns how many. */
extern int64 ks_apikey_revoke_all(const uint8 workspace[KS_ID_LEN], const uint8 *creator);

#endif							/* KS_APIKEY_H */
