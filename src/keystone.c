/*-------------------------------------------------------------------------
 *
 * keystone.c
 *	  The order of start.
 *
 *-------------------------------------------------------------------------
 */
#include "keystone.h"

#include "miscadmin.h"

#include "ks_apikey.h"
#include "ks_change.h"
#include "ks_decrypt_log.h"
#include "ks_encrypt_sql.h"
#include "ks_event.h"
#include "ks_guard.h"
#include "ks_guc.h"
#include "ks_hooks.h"
#include "ks_jwks.h"
#include "ks_keycount.h"
#include "ks_keyring.h"
#include "ks_keys.h"
#include "ks_kms.h"
#include "ks_latency.h"
#include "ks_limit.h"
#include "ks_lockout.h"
#include "ks_near.h"
#include "ks_rights.h"
#include "ks_shmem.h"
#include "ks_utility.h"
#include "ks_worker.h"

KS_MODULE_MAGIC;

/* The shared memory of each room. */
static const KsShmemPart shmem_parts[] = {
	{"keystone keyring", ks_keyring_shmem_size, ks_keyring_shmem_init},
	{"keystone events", ks_event_shmem_size, ks_event_shmem_init},
	{"keystone jwks", ks_jwks_shmem_size, ks_jwks_shmem_init},
	{"keystone lockout", ks_lockout_shmem_size, ks_lockout_shmem_init},
	{"keystone limits", ks_limit_shmem_size, ks_limit_shmem_init},
	{"keystone latency", ks_latency_shmem_size, ks_latency_shmem_init},
	{"keystone kms", ks_kms_shmem_size, ks_kms_shmem_init},
	{"keystone near limits", ks_near_shmem_size, ks_near_shmem_init},
	{"keystone key counts", ks_keycount_shmem_size, ks_keycount_shmem_init},
	{NULL, NULL, NULL}
};

void
_PG_init(void)
{
	/*
	 * Loaded later, by the first call of a function, there is no shared
	 * memory and no launcher: the functions say so themselves.  pg_upgrade
	 * needs the functions to exist, and nothing else.
	 */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	ks_guc_init();
	ks_shmem_init(shmem_parts);
	ks_keys_init();
	ks_identity_init();
	ks_rights_init();
	ks_apikey_init();
	ks_change_init();
	ks_verb_init();
	ks_decrypt_log_init();
	ks_encrypt_init();
	ks_worker_init();
	ks_hooks_init();
	ks_guard_init();
	ks_utility_init();
}
