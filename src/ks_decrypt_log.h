/*-------------------------------------------------------------------------
 *
 * ks_decrypt_log.h
 *	  The audit of decrypt(): blocks of rows instead of single ones.
 *
 * A call site is one place in one statement, with one workspace and one
 * caller.  Before it decrypts more rows than are reserved, an entry "up to
 * 1, 4, 16, 64 ... rows" is made durable; when it ends, an entry with the exact
 * number follows, which nobody waits for.  So the log never says less than was
 * decrypted, and says it before.  Where the exact number is missing, since the
 * transaction was rolled back or the server stopped, the last bound stands.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_DECRYPT_LOG_H
#define KS_DECRYPT_LOG_H

#include "ks_rights.h"

#include "lib/ilist.h"

/* What a call site has decrypted.  It lives until its transaction ends. */
typedef struct KsDecryptLog
{
	uint64		done;			/* rows; the caller counts them */
	uint64		reserved;		/* rows that the log covers */
	dlist_node	node;
	uint64		number;			/* of the call site, in this session */
	bool		ended;
	KsCall		call;
	uint8		workspace[KS_ID_LEN];
} KsDecryptLog;

extern void ks_decrypt_log_init(void);

/* Begins one, which ends with a memory context at the latest. */
extern KsDecryptLog *ks_decrypt_log_begin(const KsCall *call, const uint8 workspace[KS_ID_LEN],
										  MemoryContext context);

/* No more rows. */
extern void ks_decrypt_log_end(KsDecryptLog *log);

/* Makes a durable entry that covers at least one more row.  PT423, PT424. */
extern void ks_decrypt_log_reserve(KsDecryptLog *log);

/*
 * To be called before each row.  True when it had to wait for the log: what
 * the caller knew before may be over.
 */
static inline bool
ks_decrypt_log_cover(KsDecryptLog *log)
{
	if (log->done < log->reserved)
		return false;
	ks_decrypt_log_reserve(log);
	return true;
}

#endif							/* KS_DECRYPT_LOG_H */
