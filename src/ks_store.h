/*-------------------------------------------------------------------------
 *
 * ks_store.h
 *	  The tables of credentials: metadata, versions, ciphertext.  Bytes in,
 *	  bytes out; this room knows no key and no caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_STORE_H
#define KS_STORE_H

#include "ks_keyring.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

/* A row of keystone_private.credentials; pointers are palloc'd. */
typedef struct KsCredential
{
	uint8		workspace[KS_ID_LEN];
	uint8		id[KS_ID_LEN];
	char	   *name;
	char	   *folded_name;
	char	   *environment;
	bool		personal;
	uint8		owner[KS_ID_LEN];	/* when personal */
	char	   *provider;		/* may be NULL */
	char	   *kind;
	int32		current_version;	/* 0 when there is none */
	int32		last_version;
	char	   *hint;			/* may be NULL */
	char	   *description;	/* may be NULL */
	Datum		tags;			/* text[] */
	Jsonb	   *metadata;
	bool		is_active;
	bool		has_expiry;
	TimestampTz expires_at;
	bool		deleted;
	bool		destroyed;
	bool		recoverable;	/* deleted, and its recovery time is not over */
} KsCredential;

/* One version's ciphertext and the wrapped key that opens it. */
typedef struct KsSealed
{
	int32		version;		/* 0: there is no such version */
	char	   *state;			/* current, previous, pending, destroyed */
	uint8	   *envelope;		/* NULL when destroyed */
	size_t		envelope_len;
	int32		key_version;	/* as the row says; the envelope must agree */
	uint8		aad_digest[KS_DIGEST_LEN];
	bool		has_key;		/* false when the workspace key is gone */
	KsWrappedKey key;
} KsSealed;

/* Where a credential is found by name. */
typedef struct KsName
{
	const uint8 *workspace;
	const char *environment;
	const char *folded_name;
	const uint8 *owner;			/* NULL: none */
	bool		own;			/* look among the owner's personal ones */
	bool		shared;			/* look among the shared ones */
} KsName;

/*
 * Looking for a credential in two steps.  The first reads what decides whether
 * the caller may see it, so that what may not be seen costs as much as what is
 * not there, however long its texts are.  The second reads the rest, in the
 * same snapshot: what a ciphertext is bound to lies in the credential's row.
 */
typedef struct KsSeek
{
	Snapshot	snapshot;

	/* of the row that was found, as they lie in the table; 0 for NULL */
	Datum		description;
	Datum		tags;
	Datum		metadata;
} KsSeek;

/*
 * Finds what is not deleted, own before shared; version is the one that is
 * wanted, 0 for the current one.  All of the credential is set but
 * description, tags and metadata.  When there is none, it is an empty personal
 * one at the place that was asked for, and the result is false.  Either way
 * the seek must be ended.
 */
extern bool ks_store_seek(KsSeek *seek, const KsName *name, int32 version, KsCredential *credential);

/* By id, deleted or not. */
extern bool ks_store_seek_id(KsSeek *seek, const uint8 id[KS_ID_LEN], KsCredential *credential);

/* Reads the rest of the credential, and the version asked for, or the current
 * one when version is 0; sealed may be NULL. */
extern void ks_store_load(const KsSeek *seek, int32 version, KsCredential *credential, KsSealed *sealed);

/* Ends a seek.  After an error the transaction does. */
extern void ks_store_end_seek(KsSeek *seek);

/* Both steps, for who may see it anyway. */
extern bool ks_store_find(const KsName *name, int32 version,
						  KsCredential *credential, KsSealed *sealed);
extern bool ks_store_find_id(const uint8 id[KS_ID_LEN], int32 version,
							 KsCredential *credential, KsSealed *sealed);

/* Locks a credential's row and reads it again; false when it is gone. */
extern bool ks_store_lock(KsCredential *credential);

/*
 * Ids of what has a current version in an environment: own before shared of the
 * same name, ordered by name.  *ids is palloc'd, 16 bytes each.  providers:
 * those that alone count, a text[]; 0 for all.
 */
extern int	ks_store_list(const uint8 workspace[KS_ID_LEN], const char *environment,
						  const uint8 *owner, Datum providers, uint8 (**ids)[KS_ID_LEN]);

/*
 * The credential that resolve() gives: own, then shared in the workspace, then
 * one of others, a uuid[] of personal ones that the caller may use.
 */
typedef struct KsResolve
{
	const uint8 *workspace;
	const char *environment;
	const char *provider;
	const char *kind;			/* may be NULL */
	const uint8 *owner;
	Datum		others;
} KsResolve;

extern bool ks_store_resolve(const KsResolve *wanted, KsCredential *credential);

/*
 * Inserts a credential with last_version 0.  False when the name is taken by
 * somebody who was faster.
 */
extern bool ks_store_insert(const KsCredential *credential, const uint8 by[KS_ID_LEN]);

/* Writes what a credential's columns say now; 23505 when the name is taken. */
extern void ks_store_update(const KsCredential *credential);

/* Adds a version with its ciphertext, pending for now; writes last_version. */
typedef struct KsNewVersion
{
	int32		version;
	int32		source_version; /* 0 when it is no roll-back */
	const bytea *envelope;
	int32		key_version;
	const uint8 *aad_digest;
	const uint8 *by;
} KsNewVersion;

extern void ks_store_add_version(const KsCredential *credential, const KsNewVersion *version);

/* Makes one version current and the one that was so previous; writes hint,
 * current_version and last_rotated_at of the credential. */
extern void ks_store_set_current(const KsCredential *credential, int32 version);

/* Replaces a version's ciphertext. */
extern void ks_store_replace(const KsCredential *credential, int32 version,
							 const bytea *envelope, int32 key_version,
							 const uint8 aad_digest[KS_DIGEST_LEN]);

/* Numbers of the versions that have ciphertext; palloc'd. */
extern int	ks_store_versions(const KsCredential *credential, int32 **versions);

/* Removes the ciphertext of one version, or of all when version is 0. */
extern void ks_store_destroy(const KsCredential *credential, int32 version);

extern void ks_store_set_active(const KsCredential *credential, bool active);
extern void ks_store_delete(const KsCredential *credential, TimestampTz destroy_after);
extern bool ks_store_restore(const KsCredential *credential);	/* false: the name is
																 * taken */
extern void ks_store_mark_verified(const KsCredential *credential, int32 version, bool ok,
								   const char *detail);

/* RFC 7396 merge patch. */
extern Jsonb *ks_store_merge(const Jsonb *target, const Jsonb *patch);

/*
 * The next versions that are not destroyed, in key order after (workspace, credential,
 * version) for verify_all(): at most limit.  workspace NULL: in all.
 */
typedef struct KsCursor
{
	uint8		workspace[KS_ID_LEN];
	uint8		credential[KS_ID_LEN];
	int32		version;
} KsCursor;

extern int	ks_store_next(const uint8 *workspace, KsCursor *after, int limit, KsCursor *found);

#endif							/* KS_STORE_H */
