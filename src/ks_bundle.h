/*-------------------------------------------------------------------------
 *
 * ks_bundle.h
 *	  A workspace as a bundle for another server: made of it, and made into a
 *	  new workspace.  docs/bundle.md has the format.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_BUNDLE_H
#define KS_BUNDLE_H

#include "ks_bundlewire.h"
#include "ks_vault_args.h"

/* What went into a bundle or came out of it, and what did not. */
typedef struct KsBundleCounts
{
	uint32		providers;
	uint32		credentials;
	uint32		versions;
	int64		others;			/* personal credentials of others: left out */
	int64		deleted;		/* credentials that can be restored: left out */
	int64		damaged;		/* versions that do not open: left out */
} KsBundleCounts;

/*
 * A bundle of a workspace for a recipient, palloc'd.  All that is shared, and
 * the caller's own personal credentials.  It holds every value: who asks has
 * been checked, and it is given out only once that is recorded.  22023 when the
 * recipient's is no usable key, 54000 when the bundle would exceed 1 GB, PT423
 * when a key cannot be had now.
 */
extern bytea *ks_bundle_export(const KsCall *call, const uint8 workspace[KS_ID_LEN],
							   const uint8 recipient[KS_X25519_LEN], KsBundleCounts *counts);

/*
 * Opens a bundle with the key in keystone.import_key_file: 55000 when that
 * cannot be read, 22023 when the bundle is not for it.  The result belongs to
 * the current memory context, and its key is wiped with it.
 */
extern KsBundle *ks_bundle_open(const uint8 *data, size_t len);

/*
 * Makes a workspace of an opened bundle, with new ids and keys; the caller of
 * the verb becomes its owner.  slug NULL: the one of the bundle.  from receives
 * the id that the workspace has where it comes from.  22023 when the bundle is
 * not complete and unchanged, or holds what no workspace can; 23505 when the
 * slug is taken.
 */
extern void ks_bundle_import(KsVerb *verb, KsBundle *bundle, const uint8 *data, size_t len,
							 const char *slug, uint8 from[KS_ID_LEN], KsBundleCounts *counts);

#endif							/* KS_BUNDLE_H */
