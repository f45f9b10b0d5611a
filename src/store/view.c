// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files in DIR next to the database: published views, and the removal of everything.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "store/store.h"

static bool is_file_name(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/') && strlen(s) + sizeof("..tmp") <= NAME_MAX;
}

static int check_names(const char *subdir, const char *name, struct err *err)
{
	if (is_file_name(subdir) && is_file_name(name))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "\"%s/%s\" is no name for a file", subdir, name);
}

static int fault(const char *verb, const char *name)
{
	_free_ char *what = xasprintf("%s %s", verb, name);

	return fault_point(what);
}

/* Only the holder of the lock publishes: one temporary name is enough, and what a crash leaves
 * under it the next writer overwrites. */
static char *temporary_name(const char *name)
{
	return xasprintf(".%s.tmp", name);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int open_subdir(const struct store *st, const char *subdir)
{
	_free_ char *path = xasprintf("%s/%s", store_dir(st), subdir);
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int replace(int dir_fd, const char *tmp, const char *name, const char *text, size_t len)
{
	_close_ int fd =
		openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, text, len);

	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, tmp, 0);
	return r;
}

int store_publish(const struct store *st, const char *subdir, const char *name, const char *text,
		  size_t len, struct err *err)
{
	_free_ char *tmp = temporary_name(name);
	_close_ int dir_fd = -1;
	int r;

	r = check_names(subdir, name, err);
	if (r < 0)
		return r;
	r = fault("publish", name);
	if (r == 0)
		r = dir_fd = open_subdir(st, subdir);
	if (r >= 0)
		r = replace(dir_fd, tmp, name, text, len);
	if (r < 0)
		return err_errno(err, r, "cannot write %s/%s/%s", store_dir(st), subdir, name);
	return 0;
}

int store_unpublish(const struct store *st, const char *subdir, const char *name, struct err *err)
{
	_free_ char *tmp = temporary_name(name);
	_free_ char *path = xasprintf("%s/%s/%s", store_dir(st), subdir, name);
	_free_ char *tmp_path = xasprintf("%s/%s/%s", store_dir(st), subdir, tmp);
	int r;

	r = check_names(subdir, name, err);
	if (r < 0)
		return r;
	r = fault("unpublish", name);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0)
		return err_errno(err, r, "cannot remove %s", path);
	unlink(tmp_path);
	return 0;
}

/* A tree being removed: the first failure, and how deep we are. */
struct removal {
	int code;
	char failed[PATH_MAX];
	unsigned int depth;
};

/* byway nests two levels; who put more there may remove it. */
#define DEPTH_MAX 8

static void remove_failed(struct removal *rm, const char *name, int code)
{
	if (rm->code)
		return;
	rm->code = code;
	snprintf(rm->failed, sizeof(rm->failed), "%s", name);
}

static void remove_entries(struct removal *rm, int dir_fd, const char *keep);

static void remove_dir(struct removal *rm, int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		remove_failed(rm, name, -errno);
		return;
	}
	rm->depth++;
	remove_entries(rm, fd, NULL);
	rm->depth--;
	close(fd);
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
		remove_failed(rm, name, -errno);
}

static void remove_entry(struct removal *rm, int dir_fd, const char *name)
{
	int r = fault("remove", name);

	if (r < 0)
		remove_failed(rm, name, r);
	else if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return;
	else if (errno == EISDIR && rm->depth < DEPTH_MAX)
		remove_dir(rm, dir_fd, name);
	else
		remove_failed(rm, name, -errno);
}

/* Everything in the directory but keep. */
static void remove_entries(struct removal *rm, int dir_fd, const char *keep)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!dir) {
		remove_failed(rm, ".", -errno);
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    (!keep || strcmp(e->d_name, keep)))
			remove_entry(rm, dir_fd, e->d_name);
	closedir(dir);
}

int store_unpublish_all(const struct store *st, const char *subdir, struct err *err)
{
	_close_ int fd = open(store_dir(st), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct removal rm = {0};

	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", store_dir(st));
	remove_entry(&rm, fd, subdir);
	return rm.code ? err_errno(err, rm.code, "cannot remove %s in %s", rm.failed, store_dir(st))
		       : 0;
}

int store_destroy(const char *dir, struct err *err)
{
	_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct removal rm = {0};

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot open %s", dir);
	/* The lock last: nobody builds anew while we are still removing. */
	remove_entries(&rm, fd, "lock");
	if (rm.code == 0)
		remove_entries(&rm, fd, NULL);
	if (rm.code)
		return err_errno(err, rm.code, "cannot remove %s in %s", rm.failed, dir);
	if (rmdir(dir) < 0 && errno != ENOENT && errno != EBUSY && errno != ENOTEMPTY)
		return err_errno(err, -errno, "cannot remove %s", dir);
	return 0;
}
