/*-------------------------------------------------------------------------
 *
 * ks_compat.h
 *	  Differences between the platforms that Keystone is built for.
 *
 * This is the only file that tests PG_VERSION_NUM or KS_FRONTEND for types.
 * With KS_FRONTEND defined, the rooms of floors 0 and 1 build without a
 * server, for unit tests, fuzzing and stand-alone tools.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_COMPAT_H
#define KS_COMPAT_H

#ifdef KS_FRONTEND

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t uint8;
typedef uint16_t uint16;
typedef uint32_t uint32;
typedef uint64_t uint64;
typedef int32_t int32;
typedef int64_t int64;

#define Assert(condition) assert(condition)
#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

#else							/* the server */

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "Keystone needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PostgreSQL 16 declares it in fmgr.h; 15 leaves it to the module. */
#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

#ifdef PG_MODULE_MAGIC_EXT
#define KS_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "keystone", .version = KEYSTONE_VERSION)
#else
#define KS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* PostgreSQL 18 moved the attribute in front of the declaration. */
#if PG_VERSION_NUM >= 180000
#define KS_NORETURN pg_noreturn
#define KS_NORETURN_END
#else
#define KS_NORETURN
#define KS_NORETURN_END pg_attribute_noreturn()
#endif

/*
 * Before version 17 a search path can be laid over the setting, which costs a
 * fraction of setting it; from then on setting it is cheap.
 */
#if PG_VERSION_NUM < 170000
#define KS_OVERRIDE_SEARCH_PATH 1
#endif

/* PostgreSQL 17 gives each process its number in a variable. */
#if PG_VERSION_NUM >= 170000
#define KS_MY_PROC_NUMBER ((int) MyProcNumber)
#else
#define KS_MY_PROC_NUMBER MyProc->pgprocno
#endif

/* PostgreSQL 16 can update just the indexes that summarise. */
#if PG_VERSION_NUM >= 160000
#define ks_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
#define ks_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

/* PostgreSQL 16 has one function for objects of all classes. */
#if PG_VERSION_NUM >= 160000
#define ks_database_ownercheck(database, role) object_ownercheck(DatabaseRelationId, database, role)
#else
#define ks_database_ownercheck(database, role) pg_database_ownercheck(database, role)
#endif

/* PostgreSQL 18 tells deferrable primary keys apart. */
#if PG_VERSION_NUM >= 180000
#define ks_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define ks_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* PostgreSQL 16 lets a JSON parser's action stop the parser. */
#if PG_VERSION_NUM >= 160000
#define KS_JSON_ACTION JsonParseErrorType
#define KS_JSON_CONTINUE return JSON_SUCCESS
#else
#define KS_JSON_ACTION void
#define KS_JSON_CONTINUE return
#endif

/* PostgreSQL 17 can make the lexer in memory of the caller's. */
#if PG_VERSION_NUM >= 170000
#define ks_json_lexer(json, len) makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, true)
#else
#define ks_json_lexer(json, len) makeJsonLexContextCstringLen(json, (int) (len), PG_UTF8, true)
#endif

/* PostgreSQL 16 looks up a setting by its name for others, too. */
#if PG_VERSION_NUM >= 160000
#define ks_find_setting(name) find_option(name, false, true, 0)
#else
#define ks_find_setting(name) ks_find_setting_in_list(name)
#define KS_FIND_SETTING_IN_LIST 1
#endif

/* PostgreSQL 17 put the number of the transaction into a structure. */
#if PG_VERSION_NUM >= 170000
#define ks_local_transaction() (MyProc->vxid.lxid)
#else
#define ks_local_transaction() (MyProc->lxid)
#endif

/* PostgreSQL 16 asks for the owner of any object in one function. */
#if PG_VERSION_NUM >= 160000
#define ks_table_ownercheck(table, role) object_ownercheck(RelationRelationId, table, role)
#else
#define ks_table_ownercheck(table, role) pg_class_ownercheck(table, role)
#endif

#endif							/* KS_FRONTEND */

#endif							/* KS_COMPAT_H */
