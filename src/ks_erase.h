/*-------------------------------------------------------------------------
 *
 * ks_erase.h
 *	  What an entry log.erase says: whose details are removed, and what of
 *	  them stays.
 *
 * Keys of its detail, beside those of every entry:
 *
 *	basis		on what basis
 *	seqs		the entries, ascending: "12,14-20"
 *	rows.12		what stood under the key rows in the detail of entry 12; the
 *				same for the other keys that the log itself needs
 *
 * It is of the workspace of the entries that it names, so that a workspace's
 * part of the log says by itself why a detail is missing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ERASE_H
#define KS_ERASE_H

#include "keystone.h"

#include "ks_entry.h"

#define KS_ERASE_BASIS_KEY		"basis"
#define KS_ERASE_SEQS_KEY		"seqs"
#define KS_ERASE_SEQS_MAX		1000	/* of one call, and so of one entry */

#define KS_KEPT_KEYS			6
#define KS_KEPT_KEY_MAX			48	/* bytes of "rows.12" and the like, with
									 * their NUL */

/* Keys whose values stay. */
extern const char *const ks_kept_keys[KS_KEPT_KEYS];

/* Whether details of entries of this kind may go: those of the log itself may
 * not. */
extern bool ks_erase_may(uint16 kind);

/* The key under which it stays. */
extern void ks_erase_key(char buf[KS_KEPT_KEY_MAX], const char *key, int64 seq);

/*
 * What stays of the value of a key, not terminated; NULL when nothing does.
 * has_actor: the entry is found by its actor, who is a principal.
 */
extern const char *ks_erase_kept(const KsEntry *entry, bool has_actor, const void *detail, size_t len,
								 const char *key, size_t *value_len);

/* The value of seqs, palloc'd; seqs ascend. */
extern char *ks_erase_write_seqs(const int64 *seqs, int n);

/* Reads the seqs that a detail of log.erase names; broken when it names none,
 * not in order, or too many. */
typedef struct KsSeqReader
{
	const char *at;
	const char *end;
	int64		last;			/* that was told */
	int64		to;				/* end of the range at hand */
	int			n;				/* told so far */
	bool		broken;
} KsSeqReader;

extern void ks_erase_read(KsSeqReader *reader, const void *detail, size_t len);
extern bool ks_erase_next(KsSeqReader *reader, int64 *seq);

/* Whether it names one. */
extern bool ks_erase_names(const void *detail, size_t len, int64 seq);

#endif							/* KS_ERASE_H */
