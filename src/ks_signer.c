/*-------------------------------------------------------------------------
 *
 * ks_signer.c
 *	  Files of the audit log outside the database: signing keys and copies of
 *	  checkpoints.
 *
 * What must always hold:
 *
 *	- everything is done relative to a descriptor of the directory that was
 *	  checked, so that the directory which was checked is the one that is used;
 *	- neither directory lies inside the data directory, where a base backup
 *	  would take a key along, and a restore the copies back;
 *	- what has its final name is whole and on disk;
 *	- a seed, also as text, is wiped in memory when a function is done with it.
 *
 * Nothing here raises an error, so that descriptors need no other care.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "ks_guc.h"
#include "ks_mem.h"
#include "ks_signer.h"

#define KEY_START			"PRIVATE+KEY+"
#define KEY_TYPE_ED25519	0x01
#define KEY_BYTES			(1 + KS_ED25519_SEED_LEN)	/* type, seed */
#define KEY_LINE_MAX		(KS_ORIGIN_MAX + 96)

#define NAME_HASH_DIGITS	16
#define KEY_FILE_FORMAT		"%s-%s.key" /* hash, key id */
#define ANCHOR_FILE_FORMAT	"%s-%020llu.note"	/* hash, size */
#define FILE_NAME_MAX		64
#define NEW_SUFFIX			".new"

#define OPEN_FLAGS			(O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* A directory that a setting names, with a text for each thing that can be
 * wrong with it. */
typedef struct Place
{
	char	  **setting;
	bool		secret;			/* nobody else may look into it */
	const char *unset;
	const char *missing;
	const char *unreadable;
	const char *no_directory;
	const char *not_ours;
	const char *open_to_others;
	const char *inside;
	const char *unwritable;
} Place;

#define PLACE_TEXTS(name, others) \
	.unset = name " is not set", \
	.missing = name " does not exist", \
	.unreadable = name " could not be opened", \
	.no_directory = name " is not a directory", \
	.not_ours = name " does not belong to the server's user", \
	.open_to_others = name " is " others " by others", \
	.inside = name " lies inside the data directory", \
	.unwritable = name " could not be written to"

static const Place key_place = {
	.setting = &ks_audit_key_dir,
	.secret = true,
	PLACE_TEXTS("keystone.audit_key_dir", "accessible")
};

static const Place anchor_place = {
	.setting = &ks_audit_anchor_dir,
	PLACE_TEXTS("keystone.audit_anchor_dir", "writable")
};


/*-------------------------------------------------------------------------
 * Directories
 *-------------------------------------------------------------------------
 */

/*
 * Whether an opened directory lies outside the data directory.  Links are
 * followed in both names.  False as well when its name does not lead to it any
 * more.
 */
static bool
is_outside(const char *path, const struct stat *opened)
{
	char		dir[PATH_MAX];
	char		data[PATH_MAX];
	struct stat st;

	return realpath(path, dir) != NULL && realpath(DataDir, data) != NULL &&
		stat(dir, &st) == 0 &&
		st.st_dev == opened->st_dev && st.st_ino == opened->st_ino &&
		!path_is_prefix_of_path(data, dir);
}

/*
 * What is wrong with an opened directory, or NULL.  A directory for copies may
 * be root's; one for keys could not be used then.
 */
static const char *
check_directory(const Place *place, const char *path, int fd)
{
	mode_t		forbidden = place->secret ? S_IRWXG | S_IRWXO : S_IWOTH;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return place->unreadable;
	if (st.st_uid != geteuid() && (place->secret || st.st_uid != 0))
		return place->not_ours;
	if ((st.st_mode & forbidden) != 0)
		return place->open_to_others;
	if (!is_outside(path, &st))
		return place->inside;
	return NULL;
}

/*
 * Opens a directory and checks it.  Returns what is wrong, or NULL and the
 * descriptor, which the caller closes.
 */
static const char *
open_directory(const Place *place, int *fd)
{
	const char *path = *place->setting;
	const char *problem;

	if (path == NULL || path[0] == '\0')
		return place->unset;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT)
		return place->missing;
	if (*fd < 0 && errno == ENOTDIR)
		return place->no_directory;
	if (*fd < 0)
		return place->unreadable;

	problem = check_directory(place, path, *fd);
	if (problem != NULL)
		close(*fd);
	return problem;
}

/* Not every file system can do it for a directory. */
static bool
sync_directory(int dir)
{
	return pg_fsync(dir) == 0 || errno == EBADF || errno == EINVAL;
}


/*-------------------------------------------------------------------------
 * Files
 *-------------------------------------------------------------------------
 */

/*
 * Reads a whole file, at most size bytes.  Returns its length; 0 when it is
 * longer, empty, or cannot be read.
 */
static size_t
read_whole(int fd, char *buf, size_t size)
{
	size_t		len = 0;
	ssize_t		n;
	char		more;

	do
	{
		n = len < size ? read(fd, buf + len, size - len) : read(fd, &more, 1);
		if (n > 0 && len == size)
			return 0;
		if (n > 0)
			len += n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n == 0 ? len : 0;
}

static bool
write_whole(int fd, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
		{
			data += n;
			len -= n;
		}
	}
	return true;
}

/*
 * Writes a file under another name, syncs and renames it.  What an earlier
 * attempt has left is overwritten.
 */
static bool
write_durably(int dir, const char *name, const char *data, size_t len, mode_t mode)
{
	char		temporary[FILE_NAME_MAX + sizeof(NEW_SUFFIX)];
	bool		ok;
	int			fd;

	snprintf(temporary, sizeof(temporary), "%s" NEW_SUFFIX, name);
	(void) unlinkat(dir, temporary, 0);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | OPEN_FLAGS, mode);
	if (fd < 0)
		return false;
	ok = write_whole(fd, data, len) && pg_fsync(fd) == 0;
	ok = close(fd) == 0 && ok;
	ok = ok && renameat(dir, temporary, dir, name) == 0 && sync_directory(dir);
	if (!ok)
		(void) unlinkat(dir, temporary, 0);
	return ok;
}

static void
put_hex(char *out, const uint8 *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", data[i]);
}

/* The part of a file's name that stands for a key's name, which is an origin,
 * too. */
static bool
hash_name(const char *name, char digits[NAME_HASH_DIGITS + 1])
{
	uint8		digest[KS_DIGEST_LEN];

	if (ks_sha256(name, strlen(name), digest) != KS_CRYPTO_OK)
		return false;
	put_hex(digits, digest, NAME_HASH_DIGITS / 2);
	return true;
}


/*-------------------------------------------------------------------------
 * Signing keys
 *-------------------------------------------------------------------------
 */

static bool
key_file_name(const KsNoteKey *key, char name[FILE_NAME_MAX])
{
	char		hash[NAME_HASH_DIGITS + 1];
	char		id[2 * KS_NOTE_KEY_ID_LEN + 1];

	put_hex(id, key->key_id, KS_NOTE_KEY_ID_LEN);
	if (!hash_name(key->name, hash))
		return false;
	snprintf(name, FILE_NAME_MAX, KEY_FILE_FORMAT, hash, id);
	return true;
}

/* All of a key's line that stands before its secret part. */
static size_t
key_line_start(const KsNoteKey *key, char line[KEY_LINE_MAX])
{
	char		id[2 * KS_NOTE_KEY_ID_LEN + 1];

	put_hex(id, key->key_id, KS_NOTE_KEY_ID_LEN);
	return snprintf(line, KEY_LINE_MAX, KEY_START "%s+%s+", key->name, id);
}

/* Returns the length, 0 when something fails. */
static size_t
format_key(const KsNoteSigner *signer, char line[KEY_LINE_MAX])
{
	uint8		bytes[KEY_BYTES] = {KEY_TYPE_ED25519};
	size_t		len = key_line_start(&signer->key, line);
	size_t		n;

	memcpy(bytes + 1, signer->seed, KS_ED25519_SEED_LEN);
	n = ks_base64_encode(bytes, sizeof(bytes), line + len, KEY_LINE_MAX - len - 1);
	ks_wipe(bytes, sizeof(bytes));
	if (n == 0)
		return 0;
	line[len + n] = '\n';
	return len + n + 1;
}

/*
 * Reads a key's line; strict, but for the newline, which may be missing.
 * False when it is not the private part of that key.
 */
static bool
parse_key(const char *line, size_t len, const KsNoteKey *key, KsNoteSigner *signer)
{
	char		start[KEY_LINE_MAX];
	size_t		start_len = key_line_start(key, start);
	uint8		bytes[KEY_BYTES];
	bool		ok;

	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len <= start_len || memcmp(line, start, start_len) != 0)
		return false;

	ok = ks_base64_decode(line + start_len, len - start_len, bytes, sizeof(bytes)) == KEY_BYTES &&
		bytes[0] == KEY_TYPE_ED25519 &&
		ks_note_signer_init(signer, key->name, bytes + 1) &&
		memcmp(signer->key.public_key, key->public_key, KS_ED25519_KEY_LEN) == 0;
	ks_wipe(bytes, sizeof(bytes));
	return ok;
}

/* What is wrong with an opened key file, or NULL. */
static const char *
check_key_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return "the signing key's file could not be examined";
	if (!S_ISREG(st.st_mode))
		return "the signing key's file is not a regular file";
	if (st.st_uid != geteuid())
		return "the signing key's file does not belong to the server's user";
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return "the signing key's file is accessible by others";
	return NULL;
}

static const char *
read_key(int dir, const char *name, const KsNoteKey *key, KsNoteSigner *signer)
{
	char		line[KEY_LINE_MAX];
	const char *problem;
	size_t		len;
	int			fd = openat(dir, name, O_RDONLY | OPEN_FLAGS);

	if (fd < 0)
		return errno == ENOENT ? KS_KEY_FILE_MISSING : "the signing key's file could not be opened";
	problem = check_key_file(fd);
	if (problem == NULL)
	{
		len = read_whole(fd, line, sizeof(line));
		if (!parse_key(line, len, key, signer))
			problem = "the signing key's file is damaged";
		ks_wipe(line, sizeof(line));
	}
	close(fd);
	return problem;
}

/*
 * Reads the key that belongs to a public key.  *signer is the caller's to
 * wipe; it is wiped when something is wrong.
 */
const char *
ks_signer_load(const KsNoteKey *key, KsNoteSigner *signer)
{
	char		name[FILE_NAME_MAX];
	const char *problem;
	int			dir;

	ks_wipe(signer, sizeof(*signer));
	problem = open_directory(&key_place, &dir);
	if (problem != NULL)
		return problem;
	if (key_file_name(key, name))
		problem = read_key(dir, name, key, signer);
	else
		problem = "the signing key's file name could not be computed";
	close(dir);
	if (problem != NULL)
		ks_wipe(signer, sizeof(*signer));
	return problem;
}

static bool
draw_key(const char *name, KsNoteSigner *signer)
{
	uint8		seed[KS_ED25519_SEED_LEN];
	bool		ok;

	ok = ks_random(seed, sizeof(seed)) == KS_CRYPTO_OK && ks_note_signer_init(signer, name, seed);
	ks_wipe(seed, sizeof(seed));
	return ok;
}

/*
 * Makes a key and writes its file.  *signer is the caller's to wipe; it is
 * wiped when something is wrong.
 */
const char *
ks_signer_make(const char *name, KsNoteSigner *signer)
{
	char		file[FILE_NAME_MAX];
	char		line[KEY_LINE_MAX];
	const char *problem;
	size_t		len;
	int			dir;

	ks_wipe(signer, sizeof(*signer));
	problem = open_directory(&key_place, &dir);
	if (problem != NULL)
		return problem;
	if (!ks_note_valid_name(name))
		problem = "the log's origin cannot be the name of a key";
	else if (!draw_key(name, signer) || !key_file_name(&signer->key, file) ||
			 (len = format_key(signer, line)) == 0)
		problem = "a signing key could not be made";
	else if (!write_durably(dir, file, line, len, S_IRUSR | S_IWUSR))
		problem = key_place.unwritable;
	close(dir);
	ks_wipe(line, sizeof(line));
	if (problem != NULL)
		ks_wipe(signer, sizeof(*signer));
	return problem;
}

/* Overwrites a key's file: what lies below may keep the old blocks all the
 * same, and this costs nothing. */
static void
overwrite(int fd)
{
	char		zeros[KEY_LINE_MAX] = {0};
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
		write_whole(fd, zeros, Min((size_t) st.st_size, sizeof(zeros))))
		(void) pg_fsync(fd);
}

static void
destroy_file(int dir, const char *name)
{
	int			fd = openat(dir, name, O_WRONLY | OPEN_FLAGS);

	if (fd < 0)
		return;
	overwrite(fd);
	close(fd);
	(void) unlinkat(dir, name, 0);
	(void) sync_directory(dir);
}

/* The directory, whose permissions do not matter any more; -1 without one. */
static int
open_to_destroy(void)
{
	if (ks_audit_key_dir == NULL || ks_audit_key_dir[0] == '\0')
		return -1;
	return open(ks_audit_key_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/*
 * Destroys a key, as far as it can be.
 */
void
ks_signer_remove(const KsNoteKey *key)
{
	char		name[FILE_NAME_MAX];
	int			dir = open_to_destroy();

	if (dir < 0)
		return;
	if (key_file_name(key, name))
		destroy_file(dir, name);
	close(dir);
}

void
ks_signer_tidy(const KsNoteKey *current)
{
	char		name[FILE_NAME_MAX];
	int			dir = open_to_destroy();
	DIR		   *list;
	struct dirent *entry;

	if (dir < 0)
		return;
	list = fdopendir(dir);
	if (list == NULL)
	{
		close(dir);
		return;
	}
	/* All of a name's keys begin with the same digits and a hyphen. */
	while (key_file_name(current, name) && (entry = readdir(list)) != NULL)
	{
		if (strncmp(entry->d_name, name, NAME_HASH_DIGITS + 1) == 0 &&
			strcmp(entry->d_name, name) != 0)
			destroy_file(dir, entry->d_name);
	}
	closedir(list);
}


/*-------------------------------------------------------------------------
 * Copies of checkpoints
 *-------------------------------------------------------------------------
 */

static bool
anchor_file_name(const KsCheckpoint *checkpoint, char name[FILE_NAME_MAX])
{
	char		hash[NAME_HASH_DIGITS + 1];

	if (!hash_name(checkpoint->origin, hash))
		return false;
	snprintf(name, FILE_NAME_MAX, ANCHOR_FILE_FORMAT, hash, (unsigned long long) checkpoint->size);
	return true;
}

/* Reads a copy.  False when it is none. */
static bool
read_anchor(int dir, const char *name, KsCheckpoint *checkpoint)
{
	char		note[KS_NOTE_MAX];
	struct stat st;
	size_t		len = 0;
	int			fd = openat(dir, name, O_RDONLY | OPEN_FLAGS);

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		len = read_whole(fd, note, sizeof(note));
	close(fd);
	return len > 0 && ks_checkpoint_parse(note, len, checkpoint);
}

static bool
same_checkpoint(const KsCheckpoint *a, const KsCheckpoint *b)
{
	return strcmp(a->origin, b->origin) == 0 && a->size == b->size &&
		memcmp(a->root.bytes, b->root.bytes, KS_DIGEST_LEN) == 0;
}

static const char *
publish_in(int dir, const KsCheckpoint *checkpoint, const char *note)
{
	char		name[FILE_NAME_MAX];
	KsCheckpoint there;
	struct stat st;

	if (!anchor_file_name(checkpoint, name))
		return "the checkpoint's file name could not be computed";

	/* What an auditor may have copied already is not touched. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
	{
		if (read_anchor(dir, name, &there) && same_checkpoint(&there, checkpoint))
			return NULL;
		return "keystone.audit_anchor_dir has something else in a checkpoint's place";
	}
	if (!write_durably(dir, name, note, strlen(note), S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH))
		return anchor_place.unwritable;
	return NULL;
}

const char *
ks_anchor_publish(const KsCheckpoint *checkpoint, const char *note)
{
	const char *problem;
	int			dir;

	problem = open_directory(&anchor_place, &dir);
	if (problem != NULL)
		return problem;
	problem = publish_in(dir, checkpoint, note);
	close(dir);
	return problem;
}

/*
 * The size that a file's name says.  False when it is not the name of a copy
 * of this origin.
 */
static bool
size_of_name(const char *name, const char *hash, uint64 *size)
{
	char		again[FILE_NAME_MAX];

	if (strncmp(name, hash, NAME_HASH_DIGITS) != 0 || name[NAME_HASH_DIGITS] != '-')
		return false;
	*size = strtoull(name + NAME_HASH_DIGITS + 1, NULL, 10);
	snprintf(again, sizeof(again), ANCHOR_FILE_FORMAT, hash, (unsigned long long) *size);
	return strcmp(name, again) == 0;
}

/*
 * Looks at all names once; few of them are larger than any before.  False when
 * not all could be seen.
 */
static bool
find_newest(DIR * list, const char *origin, const char *hash, KsCheckpoint *newest, bool *found)
{
	struct dirent *entry;

	while (errno = 0, (entry = readdir(list)) != NULL)
	{
		KsCheckpoint read;
		uint64		size;

		if (!size_of_name(entry->d_name, hash, &size) || (*found && size <= newest->size))
			continue;
		if (!read_anchor(dirfd(list), entry->d_name, &read) ||
			read.size != size || strcmp(read.origin, origin) != 0)
			continue;
		*newest = read;
		*found = true;
	}
	return errno == 0;
}

const char *
ks_anchor_newest(const char *origin, KsCheckpoint *checkpoint, bool *found)
{
	char		hash[NAME_HASH_DIGITS + 1];
	const char *problem;
	DIR		   *list;
	int			dir;

	*found = false;
	problem = open_directory(&anchor_place, &dir);
	if (problem != NULL)
		return problem;
	list = hash_name(origin, hash) ? fdopendir(dir) : NULL;
	if (list == NULL)
	{
		close(dir);
		return anchor_place.unreadable;
	}
	problem = find_newest(list, origin, hash, checkpoint, found) ? NULL : anchor_place.unreadable;
	closedir(list);
	return problem;
}
