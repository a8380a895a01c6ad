/*-------------------------------------------------------------------------
 *
 * ks_logrow.h
 *	  Tables of the audit log read row by row, without SQL, and what a row of
 *	  audit_entries says against its bytes.
 *
 * Nothing here raises an error for what is wrong with the log: it is a
 * finding, and the functions return false.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_LOGROW_H
#define KS_LOGROW_H

#include "ks_audit.h"
#include "ks_erase.h"

#include "access/genam.h"

/* The first thing that is wrong. */
typedef struct KsFinding
{
	int64		seq;			/* the entry that it is about */
	char	   *problem;		/* palloc'd; NULL while nothing was found */
} KsFinding;

/*
 * Notes a finding; always false.  Not pg_attribute_printf(), which is what the
 * server's compiler had.
 */
extern bool ks_finding(KsFinding *finding, int64 seq, const char *format,...) __attribute__((format(printf, 3, 4)));

/* A table of the log, scanned in the order of its primary key. */
typedef struct KsScan
{
	Relation	rel;
	Relation	index;
	SysScanDesc scan;			/* NULL when none runs */
	HeapTuple	tuple;			/* the row at hand */
} KsScan;

/* Opens keystone_private.<table>; false when it has other columns than the
 * comma-separated ones, or has lost its key. */
extern bool ks_scan_open(KsScan *scan, const char *table, const char *columns);
extern void ks_scan_close(KsScan *scan);
extern void ks_scan_begin(KsScan *scan, Snapshot snapshot, ScanKey keys, int nkeys);
extern void ks_scan_end(KsScan *scan);

/* The next row; false at the end.  values and nulls have room for its columns
 * and point into the row, which stays until the next call. */
extern bool ks_scan_next(KsScan *scan, Datum *values, bool *nulls);

/* Columns that must have a value of this length (-1: any); NULL otherwise. */
extern const uint8 *ks_scan_bytes(const Datum *values, const bool *nulls, int column, int len, size_t *got);

/* Columns of audit_entries. */
enum
{
	KS_LOG_SEQ, KS_LOG_EPOCH, KS_LOG_AT, KS_LOG_KIND, KS_LOG_WORKSPACE, KS_LOG_OBJECT, KS_LOG_ACTOR,
	KS_LOG_OWNER, KS_LOG_RELATION, KS_LOG_ENTRY, KS_LOG_SALT, KS_LOG_DETAIL, KS_LOG_ERASED_IN, KS_LOG_COLUMNS
};

#define KS_LOG_COLUMN_NAMES \
	"seq,epoch,at,kind,workspace_id,object_id,actor_id,owner,relation,entry,salt,detail,erased_in"

/* A row of audit_entries; pointers go into it. */
typedef struct KsLogRow
{
	Datum		values[KS_LOG_COLUMNS];
	bool		nulls[KS_LOG_COLUMNS];
	int64		seq;
	const uint8 *bytes;
	size_t		len;
	KsEntry		entry;
	const uint8 *detail;		/* NULL: none */
	size_t		detail_len;
	const uint8 *erasure;		/* detail of the entry that has erased it;
								 * NULL: it was not, or not looked for */
	size_t		erasure_len;
	KsHash		leaf;
} KsLogRow;

/* The next row of a scan of audit_entries; entry and leaf are not filled. */
extern bool ks_logrow_next(KsScan *scan, KsLogRow *row);

/* The row of an entry, which stays until the scan ends; ends the one before. */
extern bool ks_logrow_fetch(KsScan *scan, Snapshot snapshot, int64 seq, KsLogRow *row);

/* Decodes the entry and computes its leaf. */
extern bool ks_logrow_decode(KsFinding *finding, KsLogRow *row);

/* The detail against the commitment to it, and the columns by which entries
 * are searched against entry and detail. */
extern bool ks_logrow_detail(KsFinding *finding, const KsLogRow *row);
extern bool ks_logrow_lookups(KsFinding *finding, const KsLogRow *row);

/* Value of a key of the detail, or what an erasure has left of it; not
 * terminated, NULL when there is none. */
extern const char *ks_logrow_find(const KsLogRow *row, const char *key, size_t *len);

/* Whether the detail has a key with this value. */
extern bool ks_logrow_says(const KsLogRow *row, const char *key, const char *value);
extern bool ks_logrow_says_number(const KsLogRow *row, const char *key, int64 value);

/*
 * Erased details.  Rows name the entry log.erase that has removed theirs: it
 * is looked up, and kept, since what is erased together stands together.
 */
typedef struct KsErasures
{
	Snapshot	snapshot;
	KsScan		scan;
	bool		opened;
	int64		seq;			/* of the entry that was looked up; 0: none */
	bool		found;			/* it erases details, and is whole */
	size_t		len;
	uint8		detail[KS_DETAIL_MAX];
} KsErasures;

extern void ks_erasures_begin(KsErasures *erasures, Snapshot snapshot);
extern void ks_erasures_end(KsErasures *erasures);

/* Looks for the erasure of a decoded row whose detail is missing, and gives it
 * to the row until the next one is looked for.  A finding when there is none. */
extern bool ks_erasures_find(KsErasures *erasures, KsFinding *finding, KsLogRow *row);

/* Whether an entry log.erase has erased details. */
extern bool ks_erasures_is_one(const KsLogRow *row);

/* Whether those are gone. */
extern bool ks_erasures_judge(KsErasures *erasures, KsFinding *finding, const KsLogRow *row);

#endif							/* KS_LOGROW_H */
