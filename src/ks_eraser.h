/*-------------------------------------------------------------------------
 *
 * ks_eraser.h
 *	  Removing details from the audit log.  For the appender alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ERASER_H
#define KS_ERASER_H

#include "ks_entry.h"

/*
 * Removes detail and salt of the entries that an event log.erase names, which
 * is about to become entry seq.  False, and nothing is removed, when one of
 * them is not there, differs from what it commits to, must not be erased, or
 * when the event does not keep what must stay of it.  One that is erased
 * already stays as it is.
 */
extern bool ks_eraser_run(const KsEvent *event, int64 seq);

#endif							/* KS_ERASER_H */
