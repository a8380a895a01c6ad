/*-------------------------------------------------------------------------
 *
 * ks_decrypt_log.c
 *	  The audit of decrypt(): blocks of rows instead of single ones.
 *
 * Call sites of a transaction are a list in its memory.  One whose statement
 * is over is marked by the reset callback of a memory context, which must not
 * raise anything and may run in an abort; its last entry is written by the
 * next call site, or before the commit.  The counters are no part of the
 * transaction: ROLLBACK TO takes back nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#include "ks_change.h"
#include "ks_decrypt_log.h"
#include "ks_draft.h"
#include "ks_event.h"

#define GROWTH	4				/* each bound is so many times the last */

/* What marks a call site as ended; lies in the context whose end that is. */
typedef struct EndMark
{
	MemoryContextCallback callback;
	LocalTransactionId transaction;
	uint64		number;
} EndMark;

static dlist_head open_logs = DLIST_STATIC_INIT(open_logs);

/* An entry about a call site; key is what its number of rows is called. */
static void
draft_rows(KsDraft *draft, const KsDecryptLog *log, const char *key, uint64 rows)
{
	ks_draft_begin(draft, KS_ACTION_DECRYPT, &log->call.actor);
	memcpy(draft->event.workspace, log->workspace, KS_ID_LEN);
	ks_detail_add(&draft->detail, "call", psprintf(UINT64_FORMAT, log->number));
	ks_detail_add(&draft->detail, key, psprintf(UINT64_FORMAT, rows));
	ks_detail_add(&draft->detail, KS_UNCOMMITTED_KEY, ks_change_uncommitted());
	ks_draft_finish(draft);
}

/*
 * Writes the exact number, if there is room for it now.  Where it is not, the
 * last bound stands.
 */
static void
close_log(KsDecryptLog *log)
{
	KsDraft		draft;

	if (log->reserved == 0)
		return;
	draft_rows(&draft, log, "decrypted", log->done);
	log->reserved = log->done = 0;
	(void) ks_event_try_put(&draft.event);
}

static void
close_ended(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &open_logs)
	{
		KsDecryptLog *log = dlist_container(KsDecryptLog, node, iter.cur);

		if (!log->ended)
			continue;
		close_log(log);
		dlist_delete(&log->node);
		pfree(log);
	}
}

/* Before a commit: call sites that go on yet would have to reserve again. */
static void
close_all(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &open_logs)
	{
		KsDecryptLog *log = dlist_container(KsDecryptLog, node, iter.cur);

		close_log(log);
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			close_all();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			/* their memory goes with the transaction */
			dlist_init(&open_logs);
			break;
		default:
			break;
	}
}

void
ks_decrypt_log_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

void
ks_decrypt_log_end(KsDecryptLog *log)
{
	log->ended = true;
}

/* The call site may be gone already, with its transaction or by itself. */
static void
context_ends(void *arg)
{
	EndMark    *mark = arg;
	dlist_iter	iter;

	if (mark->transaction != ks_local_transaction())
		return;
	dlist_foreach(iter, &open_logs)
	{
		KsDecryptLog *log = dlist_container(KsDecryptLog, node, iter.cur);

		if (log->number == mark->number)
			log->ended = true;
	}
}

KsDecryptLog *
ks_decrypt_log_begin(const KsCall *call, const uint8 workspace[KS_ID_LEN], MemoryContext context)
{
	static uint64 numbers = 0;
	KsDecryptLog *log;
	EndMark    *mark;

	close_ended();
	mark = MemoryContextAllocZero(context, sizeof(EndMark));
	log = MemoryContextAllocZero(TopTransactionContext, sizeof(KsDecryptLog));
	log->call = *call;
	memcpy(log->workspace, workspace, KS_ID_LEN);
	log->number = ++numbers;
	dlist_push_tail(&open_logs, &log->node);

	mark->transaction = ks_local_transaction();
	mark->number = log->number;
	mark->callback.func = context_ends;
	mark->callback.arg = mark;
	MemoryContextRegisterResetCallback(context, &mark->callback);
	return log;
}

void
ks_decrypt_log_reserve(KsDecryptLog *log)
{
	uint64		up_to = log->reserved == 0 ? 1 : log->reserved * GROWTH;
	KsDraft		draft;
	KsTicket	ticket;

	close_ended();
	draft_rows(&draft, log, "up_to", up_to);
	ks_event_put(&draft.event, &ticket);
	(void) ks_event_wait(&ticket);
	log->reserved = up_to;
}
