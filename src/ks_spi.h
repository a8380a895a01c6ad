/*-------------------------------------------------------------------------
 *
 * ks_spi.h
 *	  Saved plans, run as the extension's owner under a pinned search_path.
 *
 * Between ks_spi_begin() and ks_spi_end() the current user is the owner of
 * the keystone schemas.  Everything about the caller must be settled before.
 * After an error, transaction abort restores user, settings and SPI.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SPI_H
#define KS_SPI_H

#include "keystone.h"

#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#define KS_ARGS_MAX		28

/* A statement that is prepared at its first use and kept.  Declare it static. */
typedef struct KsPlan
{
	const char *sql;
	SPIPlanPtr	plan;
} KsPlan;

/* Arguments of one execution; their types are those of the first one. */
typedef struct KsArgs
{
	int			n;
	Oid			types[KS_ARGS_MAX];
	Datum		values[KS_ARGS_MAX];
	char		nulls[KS_ARGS_MAX];
} KsArgs;

typedef struct KsSpi
{
	MemoryContext caller;		/* where results are to be copied */
	Oid			user;
	int			sec_context;
	int			guc_level;
} KsSpi;

extern void ks_spi_begin(KsSpi *spi);
extern void ks_spi_end(KsSpi *spi);

/* As ks_spi_begin(), for statements that write: 25006 where nothing can. */
extern void ks_spi_begin_write(KsSpi *spi);

/* What somebody else has attached to a table of Keystone and that would run
 * as the owner, palloc'd; NULL when there is nothing. */
extern char *ks_spi_foreign_object(void);

/* For all of them, NULL or a false flag is SQL NULL. */
extern void ks_arg_uuid(KsArgs *args, const uint8 *uuid);
extern void ks_arg_text(KsArgs *args, const char *text);
extern void ks_arg_name(KsArgs *args, const char *name);
extern void ks_arg_bytes(KsArgs *args, const void *data, size_t len);
extern void ks_arg_int(KsArgs *args, bool present, int32 value);
extern void ks_arg_bigint(KsArgs *args, bool present, int64 value);
extern void ks_arg_bool(KsArgs *args, bool present, bool value);
extern void ks_arg_time(KsArgs *args, bool present, TimestampTz value);
extern void ks_arg_datum(KsArgs *args, bool present, Oid type, Datum value);

/*
 * Runs a plan and returns the number of rows; they are in SPI_tuptable.
 * ks_spi_read() sees what is committed at this moment, also under REPEATABLE
 * READ, and this transaction's own changes.  ks_spi_write() also locks and
 * writes; 42501 while there is a foreign object.
 */
extern uint64 ks_spi_read(KsPlan *plan, const KsArgs *args);
extern uint64 ks_spi_write(KsPlan *plan, const KsArgs *args);

/* The same for several reads that must see one state.  After an error the
 * transaction drops the snapshot. */
extern Snapshot ks_spi_take_snapshot(void);
extern void ks_spi_drop_snapshot(Snapshot snapshot);
extern uint64 ks_spi_read_at(KsPlan *plan, const KsArgs *args, Snapshot snapshot);

/* Runs a utility statement such as GRANT. */
extern void ks_spi_utility(const char *sql);

/*
 * For a procedure that commits: between begin and end it may, with no
 * ks_spi_begin() open.  Only where CALL itself may commit.
 */
extern void ks_spi_begin_procedure(void);
extern void ks_spi_commit(void);
extern void ks_spi_end_procedure(void);

/* Columns of a result row, from 1.  Pointers are copied to spi->caller; NULL
 * or false for SQL NULL. */
extern bool ks_col_uuid(uint64 row, int column, uint8 uuid[KS_ID_LEN]);
extern char *ks_col_text(const KsSpi *spi, uint64 row, int column);
extern uint8 *ks_col_bytes(const KsSpi *spi, uint64 row, int column, size_t *len);
extern bool ks_col_int(uint64 row, int column, int32 *value);
extern bool ks_col_bigint(uint64 row, int column, int64 *value);
extern bool ks_col_double(uint64 row, int column, double *value);
extern bool ks_col_bool(uint64 row, int column);
extern bool ks_col_time(uint64 row, int column, TimestampTz *value);
extern Jsonb *ks_col_jsonb(const KsSpi *spi, uint64 row, int column);
extern Datum ks_col_array(const KsSpi *spi, uint64 row, int column);	/* of text */

/* The row itself, and the description of the result; until ks_spi_end(). */
extern HeapTuple ks_spi_row(uint64 row, TupleDesc *desc);

/* Whether the row's xmin, in a column of type xid, is this transaction. */
extern bool ks_col_own_xmin(uint64 row, int column);

#endif							/* KS_SPI_H */
