/*-------------------------------------------------------------------------
 *
 * ks_keyfile.c
 *	  Files that hold keys, as the launcher reads them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"

#include "ks_keyfile.h"

/*
 * What is wrong with the owner or the permissions, or NULL.  The rules are
 * those of ssl_key_file.
 */
static const char *
check_ownership(const struct stat *st)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "belongs neither to the server's user nor to root";
	if (st->st_uid == geteuid() && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return "is accessible by its group or by others";
	if (st->st_uid != geteuid() && (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)
		return "belongs to root, and gives its group more than read access, or others any";
	return NULL;
}

/*
 * What is wrong with the place of the opened file, or NULL.  Links are
 * followed in both names: a base backup takes what lies in the directory.
 */
static const char *
check_place(const char *path, const struct stat *opened)
{
	char		file[PATH_MAX];
	char		data[PATH_MAX];
	struct stat st;

	if (realpath(path, file) == NULL || realpath(DataDir, data) == NULL ||
		stat(file, &st) != 0 ||
		st.st_dev != opened->st_dev || st.st_ino != opened->st_ino)
		return "was replaced while it was being read";
	if (path_is_prefix_of_path(data, file))
		return "lies inside the data directory";
	return NULL;
}

/*
 * Reads up to size bytes.  False when read() fails.
 */
static bool
read_all(int fd, char *buffer, size_t size, size_t *len)
{
	ssize_t		n;

	do
	{
		n = read(fd, buffer + *len, size - *len);
		if (n > 0)
			*len += n;
	} while ((n > 0 && *len < size) || (n < 0 && errno == EINTR));
	return n >= 0;
}

/*
 * Checks an opened file and reads it.  Returns what is wrong, or NULL.
 * Everything is asked of the descriptor, so that a file that was checked is
 * the file that is read.
 */
static const char *
read_checked(const char *path, int fd, char *buffer, size_t size, size_t *len)
{
	struct stat st;
	const char *problem;

	if (fstat(fd, &st) != 0)
		return "could not be examined";
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	problem = check_place(path, &st);
	if (problem == NULL)
		problem = check_ownership(&st);
	if (problem != NULL)
		return problem;

	if (!read_all(fd, buffer, size, len))
		return "could not be read";
	return *len == 0 ? "is empty" : NULL;
}

const char *
ks_keyfile_read(const char *path, char *buffer, size_t size, size_t *len)
{
	const char *problem;
	int			fd;

	*len = 0;
	/* a FIFO in the wrong place must not block the launcher */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
	{
		problem = read_checked(path, fd, buffer, size, len);
		close(fd);
		return problem;
	}
	if (errno == ENOENT || errno == ENOTDIR)
		return "does not exist";
	if (errno == EACCES || errno == EPERM)
		return "is not readable by the server's user";
	return "could not be opened";
}
