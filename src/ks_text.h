/*-------------------------------------------------------------------------
 *
 * ks_text.h
 *	  Names and other text that callers give: what is allowed, and the normal
 *	  forms in which it is stored and compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_TEXT_H
#define KS_TEXT_H

#include "keystone.h"

#include "utils/uuid.h"

/*
 * A name in Unicode normalisation form NFC, palloc'd.  22023 naming the
 * parameter when it is empty, longer than max bytes, begins or ends with
 * white space, or holds a control or format character.
 */
extern char *ks_text_name(const char *parameter, const text *value, int max);

/* The form in which names are compared: NFKC, then ASCII lower case. */
extern char *ks_text_fold(const char *name);

/* Whether it is in Unicode normalisation form NFC. */
extern bool ks_text_is_nfc(const char *word);

/* Free text of at most max bytes; may be empty.  22023 when it is longer. */
extern char *ks_text_free(const char *parameter, const text *value, int max);

/* Whether there is white space in it, of any script. */
extern bool ks_text_has_space(const char *word);

/* Whether there is nothing to see in it: white space, of any script, and
 * control, format and ignorable characters only. */
extern bool ks_text_is_blank(const char *word);

/* Lower-case letters, digits, single hyphens between; not shaped like a uuid. */
extern bool ks_text_is_slug(const char *word);

/* Reads a uuid in its canonical form of 36 characters. */
extern bool ks_text_uuid(const char *word, uint8 uuid[KS_ID_LEN]);

/* Writes the canonical form. */
extern void ks_text_from_uuid(const uint8 uuid[KS_ID_LEN], char word[37]);

#endif							/* KS_TEXT_H */
