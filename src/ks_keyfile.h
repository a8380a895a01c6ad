/*-------------------------------------------------------------------------
 *
 * ks_keyfile.h
 *	  Files that hold keys, as the launcher reads them.
 *
 * A key file is a regular file outside the data directory, of the server's
 * user without access for others, or of root with at most read access for the
 * group: the rules of ssl_key_file.  Links are followed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KEYFILE_H
#define KS_KEYFILE_H

#include "keystone.h"

/*
 * Reads a key file, up to size bytes of it, into a buffer that is the
 * caller's, and to be wiped in any case; whoever wants to know whether there
 * is more gives one byte more than is allowed.  NULL, or a constant phrase
 * that completes a sentence beginning with the file, such as "is empty".
 * Never blocks for long, and raises no errors.
 */
extern const char *ks_keyfile_read(const char *path, char *buffer, size_t size, size_t *len);

#endif							/* KS_KEYFILE_H */
