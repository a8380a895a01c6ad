/*-------------------------------------------------------------------------
 *
 * ks_signer.h
 *	  Files of the audit log outside the database: signing keys in
 *	  keystone.audit_key_dir, copies of checkpoints in
 *	  keystone.audit_anchor_dir.
 *
 * For background processes only: these functions read and write files.  None
 * raises an error; a result that is a text says what is wrong, NULL means
 * nothing is.  The texts are constant, and none holds a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SIGNER_H
#define KS_SIGNER_H

#include "ks_note.h"

/* The key's file is not there: it will not come back by itself. */
#define KS_KEY_FILE_MISSING	"the signing key's file is missing"

/*
 * Reads the key that belongs to a public key.  The file holds one line,
 * PRIVATE+KEY+name+key id+base64(0x01 | seed), as other tools for signed
 * notes write it; it must be ours and closed to others, like the directory,
 * which must lie outside the data directory.
 */
extern const char *ks_signer_load(const KsNoteKey *key, KsNoteSigner *signer);

/* Makes a random key and writes its file, durably. */
extern const char *ks_signer_make(const char *name, KsNoteSigner *signer);

/* Destroys a key: wipes the file and removes it. */
extern void ks_signer_remove(const KsNoteKey *key);

/* Destroys all other keys of the same name, which a crash may have left. */
extern void ks_signer_tidy(const KsNoteKey *current);

/*
 * Copies of checkpoints: <16 hex digits of SHA-256(origin)>-<size, 20
 * digits>.note.  Written under another name, fsynced and renamed; one that is
 * there already stays.
 */
extern const char *ks_anchor_publish(const KsCheckpoint *checkpoint, const char *note);

/*
 * The copy with the greatest size of an origin: *found false when there is
 * none.  What is no checkpoint of that origin and size is passed over.
 */
extern const char *ks_anchor_newest(const char *origin, KsCheckpoint *checkpoint, bool *found);

#endif							/* KS_SIGNER_H */
