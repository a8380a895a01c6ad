/*-------------------------------------------------------------------------
 *
 * ks_dotenv.h
 *	  Reader and writer of dotenv text, the format of .env files.
 *
 * Pure; values go into a buffer of the caller, which should be a secret one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_DOTENV_H
#define KS_DOTENV_H

#include "ks_compat.h"

typedef struct KsDotenv
{
	const char *text;
	size_t		len;
	size_t		at;				/* next byte to read */
	int			line;			/* of the entry returned last, from 1 */
	const char *problem;		/* constant phrase after KS_DOTENV_ERROR */
} KsDotenv;

typedef struct KsDotenvEntry
{
	const char *name;			/* points into the text */
	size_t		name_len;
	size_t		value_len;		/* bytes written to the caller's buffer */
} KsDotenvEntry;

typedef enum KsDotenvResult
{
	KS_DOTENV_ENTRY,
	KS_DOTENV_END,
	KS_DOTENV_ERROR
} KsDotenvResult;

extern void ks_dotenv_begin(KsDotenv *reader, const char *text, size_t len);

/*
 * Reads the next entry.  value must have room for the whole text's length.
 * Syntax: NAME=value, "export " before it, '#' comments; single quotes are
 * literal, double quotes know \n \r \t \" \\ \$, both may span lines;
 * unquoted values end at " #" or the line's end and are trimmed.
 * No variable is expanded.
 */
extern KsDotenvResult ks_dotenv_next(KsDotenv *reader, KsDotenvEntry *entry, char *value);

/* Bytes that ks_dotenv_write() needs at most for a value of len bytes and a
 * name of name_len bytes. */
extern size_t ks_dotenv_size(size_t name_len, size_t len);

/* Writes NAME="value" and a newline, quoted so that ks_dotenv_next() gives
 * back the same bytes.  Returns the bytes written (no terminator). */
extern size_t ks_dotenv_write(char *out, const char *name, size_t name_len,
							  const char *value, size_t len);

#endif							/* KS_DOTENV_H */
