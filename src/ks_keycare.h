/*-------------------------------------------------------------------------
 *
 * ks_keycare.h
 *	  What the housekeeper does for keys.
 *
 * Each function is one piece of work in a transaction of the housekeeper's,
 * and returns whether there is more to do at once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KEYCARE_H
#define KS_KEYCARE_H

#include "ks_keycount.h"

/* Saves how often keys have encrypted; the second is called once that is
 * committed. */
extern bool ks_keycare_save_counts(void);
extern void ks_keycare_counts_saved(void);

/* Makes new versions of keys that are older than keystone.key_max_age, or have
 * encrypted more often than keystone.key_max_encryptions. */
extern bool ks_keycare_rotate(void);

/* While one of these settings is on: seals values under the newest version. */
extern bool ks_keycare_reencrypt(void);

/* Drops former wraps under root keys that the keyring has no more. */
extern bool ks_keycare_drop_former(void);

#endif							/* KS_KEYCARE_H */
