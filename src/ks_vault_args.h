/*-------------------------------------------------------------------------
 *
 * ks_vault_args.h
 *	  Arguments that several verbs of the vault have, and what they check.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_VAULT_ARGS_H
#define KS_VAULT_ARGS_H

#include "ks_args.h"
#include "ks_change.h"
#include "ks_tenant.h"
#include "ks_vault.h"

/* The environment that is argument n. */
extern char *ks_get_environment(FunctionCallInfo fcinfo, int n);

/* Before anything changes: the vault is open, this database has its log, and
 * its key for row MACs. */
extern void ks_begin_change(void);

/*
 * Before a value is given out: the vault is open, and the reveal can be
 * recorded, which it cannot on a standby, nor in a copy that was not accepted.
 * Nor is a value given to a GET, which a browser sends for any page, and which
 * may be cached and logged on its way.
 */
extern void ks_begin_reveal(void);

/* A value's checks that need no key: its size, and its provider's pattern
 * (provider may be NULL).  22023. */
extern void ks_check_value(const KsSecretArg *value, const KsProvider *provider);

/* Finds a provider that may be stored for.  22023, 42501. */
extern void ks_get_provider(const uint8 workspace[KS_ID_LEN], const char *name, KsProvider *provider);

/*
 * Finds a credential by id, checks access, and locks its row; the verb is
 * about it.  The workspace must be usable: nothing changes in a suspended one.
 */
extern void ks_lock_credential(KsVerb *verb, const uint8 *id, KsAccess access, KsCredential *credential);

/* The same for what must not be deleted. */
extern void ks_lock_live_credential(KsVerb *verb, const uint8 *id, KsAccess access,
									KsCredential *credential);

/* As ks_lock_credential(), also in a workspace that is not usable; member
 * receives the caller's membership. */
extern void ks_lock_any_credential(KsVerb *verb, const uint8 *id, KsAccess access,
								   KsCredential *credential, KsMembership *member);

/* 42501 when an API key that is limited would get something to where it may
 * not: an environment or a provider (NULL: none). */
extern void ks_require_within(const KsMembership *member, const char *environment, const char *provider);

/* PT409 unless an expected version that was given is the current one. */
extern void ks_check_expected(const KsCredential *credential, bool given, int32 expected);

/* 22023. */
extern void ks_check_tags(Datum tags);
extern void ks_check_metadata(const Jsonb *metadata);

/* The kind of a credential when nobody says one, nor its provider. */
#define KS_DEFAULT_KIND		"api_key"

/* An interval in ISO 8601, whatever the session's style is; palloc'd. */
extern char *ks_interval_text(const Interval *interval);

extern Datum ks_empty_text_array(void);
extern Jsonb *ks_empty_object(void);

#endif							/* KS_VAULT_ARGS_H */
