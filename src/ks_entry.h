/*-------------------------------------------------------------------------
 *
 * ks_entry.h
 *	  Byte formats of the audit log: the entry, its detail, and the event
 *	  from which an entry is made.
 *
 * Entry, version 1 (integers big-endian, fields in ascending order of their
 * tags, each exactly once):
 *
 *	"KSAE" 0x01, then fields: tag u8 | length u32 | bytes
 *
 *	01 log id 16			02 epoch u32			03 index u64
 *	04 previous leaf hash 32 (zeros at index 0)
 *	05 time i64, microseconds since 1970-01-01 UTC
 *	06 kind u16				07 workspace 16 (zeros: none)
 *	08 workspace counter u64	09 the workspace's previous leaf hash 32
 *	0a actor				0b current role (both UTF-8)
 *	0c object 16			0d object version u64
 *	0e object digest 32, or empty
 *	0f outcome u8			10 context 44, or empty
 *	11 commitment 32, or empty: SHA-256("keystone.audit.detail.v1\0" | salt 32 | detail)
 *
 * Context: event time i64 (as 05) | xid u64 (0: none) | pid u32 | start of
 * the session i64 | event id 16.
 *
 * Detail: pairs of fields (tag 01, key) (tag 02, value), both UTF-8, sorted by
 * the bytes of their keys, no key twice, no NUL in a key, no value empty.
 *
 * The stored bytes are the truth: what is not written exactly like this is
 * refused.  That texts are UTF-8 is left to those who write and show them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ENTRY_H
#define KS_ENTRY_H

#include "ks_merkle.h"

#define KS_ENTRY_DIGEST_PREFIX	"keystone.cred.v1"	/* with its NUL */
#define KS_ENTRY_DETAIL_PREFIX	"keystone.audit.detail.v1"	/* with its NUL */

#define KS_ENTRY_MAX		4096	/* bytes of an entry with its detail */
#define KS_DETAIL_MAX		3200	/* bytes of a detail */
#define KS_DETAIL_PAIRS_MAX 64
#define KS_ACTOR_MAX		255 /* bytes of an actor or role */
#define KS_SALT_LEN			32
#define KS_CONTEXT_LEN		44

/* Microseconds between 1970-01-01 and 2000-01-01, where PostgreSQL begins. */
#define KS_UNIX_EPOCH_OFFSET	INT64_C(946684800000000)

typedef enum KsOutcome
{
	KS_OUTCOME_OK = 0,
	KS_OUTCOME_DENIED = 1,
	KS_OUTCOME_ERROR = 2
} KsOutcome;

typedef struct KsEntryContext
{
	int64		event_time;		/* microseconds since 1970-01-01 UTC */
	uint64		xid;			/* full transaction id, 0 when there was none */
	uint32		pid;
	int64		session_start;	/* microseconds since 1970-01-01 UTC */
	uint8		event_id[KS_ID_LEN];
} KsEntryContext;

typedef struct KsEntry
{
	uint8		log_id[KS_ID_LEN];
	uint32		epoch;
	uint64		index;
	KsHash		previous;
	int64		time;
	uint16		kind;			/* ks_action.h */
	uint8		workspace[KS_ID_LEN];
	uint64		workspace_seq;
	KsHash		workspace_previous;
	const char *actor;			/* not terminated when decoded */
	size_t		actor_len;
	const char *role;
	size_t		role_len;
	uint8		object[KS_ID_LEN];
	uint64		version;
	bool		has_digest;
	uint8		digest[KS_DIGEST_LEN];
	uint8		outcome;
	bool		has_context;
	KsEntryContext context;
	bool		has_commitment;
	uint8		commitment[KS_DIGEST_LEN];
} KsEntry;

/* Returns the length, 0 when it does not fit, a text is too long, or the
 * outcome is none. */
extern size_t ks_entry_encode(const KsEntry *entry, uint8 *buf, size_t size);

/* Strict; pointers go into data.  False when these are no bytes of an entry. */
extern bool ks_entry_decode(const void *data, size_t len, KsEntry *entry);

typedef struct KsDetailPair
{
	const char *key;
	const char *value;
	size_t		value_len;
} KsDetailPair;

/*
 * Collects the pairs of a detail; all zeros to begin with.  Keys and values
 * are kept by reference.
 */
typedef struct KsDetail
{
	int			n;
	bool		full;			/* something was left out */
	size_t		len;			/* bytes so far */
	KsDetailPair pairs[KS_DETAIL_PAIRS_MAX];
} KsDetail;

/* A value that is NULL or empty is left out; one that does not fit into
 * KS_DETAIL_MAX is left out too, and full is set. */
extern void ks_detail_add(KsDetail *detail, const char *key, const char *value);
extern void ks_detail_add_bytes(KsDetail *detail, const char *key, const char *value, size_t len);

/* Sorts and encodes.  Returns the length; 0 for an empty one, or when a key
 * occurs twice. */
extern size_t ks_detail_encode(KsDetail *detail, uint8 *buf, size_t size);

/* Reads pair after pair: *at begins at 0.  Returns false at the end, and with
 * *broken when the bytes are no detail, or its keys are not in order. */
typedef struct KsDetailReader
{
	const uint8 *data;
	size_t		len;
	size_t		at;
	int			n;				/* pairs so far */
	const char *key;			/* not terminated */
	size_t		key_len;
	const char *value;
	size_t		value_len;
	bool		broken;
} KsDetailReader;

extern void ks_detail_read(KsDetailReader *reader, const void *data, size_t len);
extern bool ks_detail_next(KsDetailReader *reader);

/* Value of a key, not terminated.  NULL when there is none, or the bytes are
 * no detail. */
extern const char *ks_detail_find(const void *data, size_t len, const char *key, size_t *value_len);

extern KsCryptoResult ks_detail_commitment(const uint8 salt[KS_SALT_LEN], const void *detail, size_t len,
										   uint8 commitment[KS_DIGEST_LEN]);

/*
 * What the producer knows of an entry.  It travels through shared memory and
 * lies in the outbox in packed form: 0x01, then the fields in the order of the
 * struct, integers big-endian, has_digest as a byte 0 or 1 and the digest only
 * after 1, texts with a length u16 and a NUL behind, detail last with a length
 * u32.  An internal format, but one that outlives an update.
 */
typedef struct KsEvent
{
	uint16		kind;
	uint8		outcome;
	uint8		flags;			/* KS_EVENT_... */
	uint8		workspace[KS_ID_LEN];
	uint8		object[KS_ID_LEN];
	uint64		version;
	bool		has_digest;
	uint8		digest[KS_DIGEST_LEN];
	uint8		owner[KS_ID_LEN];	/* whose personal credential, or zeros */
	uint8		principal[KS_ID_LEN];	/* the actor, zeros when it is a role */
	uint8		claim[KS_ID_LEN];	/* with KS_EVENT_CLAIM: what is claimed */
	KsEntryContext context;
	const char *actor;			/* uuid of the principal, or a role's name */
	const char *role;
	const char *relation;		/* table under audit_table(), or "" */
	const uint8 *detail;
	size_t		detail_len;
} KsEvent;

#define KS_EVENT_CLAIM		0x01	/* is decided once: gives a verdict */
#define KS_EVENT_CHECKPOINT 0x02	/* asks for a checkpoint over it */
#define KS_EVENT_FLUSH		0x04	/* makes no entry: only waits its turn */
#define KS_EVENT_FLAGS		(KS_EVENT_CLAIM | KS_EVENT_CHECKPOINT | KS_EVENT_FLUSH)

#define KS_EVENT_PACKED_MAX KS_ENTRY_MAX

/*
 * Returns the length, 0 when it does not fit or is nothing for an entry: actor
 * and role have at most KS_ACTOR_MAX bytes, detail KS_DETAIL_MAX.  Within
 * these, a relation of 200 bytes always fits into KS_EVENT_PACKED_MAX.
 */
extern size_t ks_event_pack(const KsEvent *event, uint8 *buf, size_t size);

/* Texts point into data, where they are terminated; an empty one is never
 * NULL.  False for other bytes. */
extern bool ks_event_unpack(const void *data, size_t len, KsEvent *event);

#endif							/* KS_ENTRY_H */
