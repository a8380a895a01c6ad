/*-------------------------------------------------------------------------
 *
 * ks_encrypt_sql.h
 *	  encrypt(), decrypt() and blind_index(): columns of an application's own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ENCRYPT_SQL_H
#define KS_ENCRYPT_SQL_H

#include "keystone.h"

/* Notes the rollbacks that take locks on keys with them. */
extern void ks_encrypt_init(void);

#endif							/* KS_ENCRYPT_SQL_H */
