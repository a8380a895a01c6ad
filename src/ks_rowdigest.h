/*-------------------------------------------------------------------------
 *
 * ks_rowdigest.h
 *	  Rows of Keystone's tables as the audit log remembers them: a key and a
 *	  digest each.
 *
 * What a trigger writes into an entry, and what reconciling compares with the
 * tables.  Nothing of a row can be read from it.
 *
 *	key		first 16 bytes of SHA-256("keystone.row.key.v1\0" | code |
 *			for each column of the primary key: length u32 | bytes)
 *	digest	SHA-256("keystone.row.v1\0" | code | for each column that is not
 *			NULL, in the order of the names' bytes: length u32 | name |
 *			length u32 | bytes)
 *
 * Bytes of a value, integers big-endian: uuid, bytea, text and name as they
 * are; a boolean one byte; an integer its 4 or 8; a time microseconds since
 * 2000-01-01 UTC in 8; jsonb its text; a text array the number of its
 * dimensions and of its elements as u32, then each element with a length u32,
 * 0xffffffff for NULL.  Text is that of the database, UTF-8.
 *
 * A column that is added later and is NULL changes no digest.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ROWDIGEST_H
#define KS_ROWDIGEST_H

#include "keystone.h"

#include "access/htup.h"
#include "access/tupdesc.h"

#define KS_ROW_KEY_LEN		16
#define KS_ROW_BEFORE_LEN	16
#define KS_ROW_KEYS_MAX		3	/* columns of a primary key */

#define KS_ROWS_KEY			"rows"	/* of an entry's detail */

/* Key and value of the detail of an entry audit.reconcile by which its
 * discrepancy is known again. */
#define KS_RECONCILE_FOUND_KEY	"found"

/* A table whose rows the log remembers.  Codes are never used again. */
typedef struct KsRowTable
{
	uint8		code;
	const char *schema;
	const char *name;
	const char *keys[KS_ROW_KEYS_MAX + 1];	/* the primary key; ends in NULL */
	const char *workspace;		/* column with the workspace that all entries
								 * about a row have; NULL: the database's */
	const char *credential;		/* column with the credential, or NULL */
	const char *omitted;		/* column that no digest covers, or NULL */
} KsRowTable;

/* One change of a row. */
typedef struct KsRowItem
{
	uint8		table;
	uint8		key[KS_ROW_KEY_LEN];
	uint8		before[KS_ROW_BEFORE_LEN];	/* beginning of the digest that
											 * the row had; zeros: it was not
											 * there */
	uint8		after[KS_DIGEST_LEN];	/* zeros: it is no more */
} KsRowItem;

#define KS_ROW_ITEM_LEN		(1 + KS_ROW_KEY_LEN + KS_ROW_BEFORE_LEN + KS_DIGEST_LEN)

/* All of them; and by name or code, NULL when there is none. */
extern const KsRowTable *ks_row_tables(int *n);
extern const KsRowTable *ks_row_table(const char *name);
extern const KsRowTable *ks_row_table_of(uint8 code);

/* Number of a column, from 1; 0 when there is none. */
extern int	ks_row_column(TupleDesc desc, const char *name);

extern void ks_row_key(const KsRowTable *table, TupleDesc desc, HeapTuple row, uint8 key[KS_ROW_KEY_LEN]);
extern void ks_row_digest(const KsRowTable *table, TupleDesc desc, HeapTuple row, uint8 digest[KS_DIGEST_LEN]);

/* The change from old to new, one of which may be NULL; both have the same
 * key. */
extern void ks_row_change(const KsRowTable *table, TupleDesc desc, HeapTuple old, HeapTuple new, KsRowItem *item);

/* Items as the detail of an entry has them: base64 of their bytes, palloc'd.
 * And back: how many there are, -1 when it is not that. */
extern char *ks_row_encode(const KsRowItem *items, int n);
extern int	ks_row_decode(const char *encoded, size_t len, KsRowItem *items, int max);

#endif							/* KS_ROWDIGEST_H */
