/*-------------------------------------------------------------------------
 *
 * ks_cedar_lex.h
 *	  Tokens of Cedar's text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_LEX_H
#define KS_CEDAR_LEX_H

#include "ks_cedar_ast.h"

typedef enum KsCedarToken
{
	KS_TOKEN_END,
	KS_TOKEN_WORD,				/* an identifier, reserved or not */
	KS_TOKEN_NUMBER,
	KS_TOKEN_STRING,			/* with its quotes */
	KS_TOKEN_SLOT,				/* ?principal or ?resource */
	KS_TOKEN_SYMBOL				/* one or two characters */
} KsCedarToken;

/* Where reading is.  The token is text[start .. start + len). */
typedef struct KsCedarLexer
{
	const char *text;
	size_t		text_len;
	KsCedarError *error;
	KsCedarToken token;
	size_t		start;
	size_t		len;
} KsCedarLexer;

/*
 * Starts, and reads the first token.  The functions that return bool return
 * false after noting what is wrong.
 */
extern bool ks_cedar_lex_begin(KsCedarLexer *lexer, const char *text, size_t len,
							   KsCedarError *error);

/* Reads the next token. */
extern bool ks_cedar_lex_next(KsCedarLexer *lexer);

/* Whether the token is this symbol, or this word. */
extern bool ks_cedar_lex_is(const KsCedarLexer *lexer, const char *symbol_or_word);

/* The token's text, in the source. */
extern KsCedarString ks_cedar_lex_text(const KsCedarLexer *lexer);

/* Notes a problem at the token.  Returns NULL. */
extern void *ks_cedar_lex_fail(KsCedarLexer *lexer, const char *problem);

/* The value of a number; the sign is not part of it. */
extern bool ks_cedar_lex_number(KsCedarLexer *lexer, uint64 *value);

/* The value of a string. */
extern bool ks_cedar_lex_string(KsCedarLexer *lexer, KsCedarString *value);

/*
 * The value of a string that is a pattern: what stands between its wildcards,
 * nlist of them.
 */
extern bool ks_cedar_lex_pattern(KsCedarLexer *lexer, int *nlist, KsCedarString **list);

#endif							/* KS_CEDAR_LEX_H */
