// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/etc.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/util.h"

#define ETC_DIR "/etc/netns"
#define MARK "# Made by byway"
#define MARK_LINE MARK "; changes are lost.\n"
#define NSSWITCH "/etc/nsswitch.conf"
#define NSSWITCH_MAX (64 * 1024)
#define HOSTS_LINE "hosts: files dns\n"

/* Whatever the umask: who is not root looks names up, too. */
#define DIR_MODE 0755
#define FILE_MODE 0644

static const char *const names[] = {"resolv.conf", "nsswitch.conf"};

/* ---- Whose a file is ---- */

enum owner { NOBODY, OURS, FOREIGN };

/* A link is not followed: no file of ours is one. */
static enum owner owner_of(int dir, const char *name)
{
	_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char start[sizeof(MARK) - 1];
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? NOBODY : FOREIGN;
	n = read(fd, start, sizeof(start));
	return n == (ssize_t)sizeof(start) && !memcmp(start, MARK, sizeof(start)) ? OURS : FOREIGN;
}

static bool is_empty(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *e;
	bool empty = d != NULL;

	if (!d) {
		close_p(&copy);
		return false;
	}
	while (empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	closedir(d);
	return empty;
}

/* Of a folder: by its files. */
static enum owner owner_of_dir(int dir)
{
	bool ours = is_empty(dir);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		enum owner o = owner_of(dir, names[i]);

		if (o == FOREIGN)
			return FOREIGN;
		ours |= o == OURS;
	}
	return ours ? OURS : FOREIGN;
}

static int open_dir(const char *netns)
{
	_free_ char *path = xasprintf(ETC_DIR "/%s", netns);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* ---- What they say ---- */

/* The host's, but that names are not looked up by what asks the host's network. */
static void nsswitch(struct buf *b)
{
	_buf_ struct buf host = {0};
	bool done = false;

	if (file_read(NSSWITCH, NSSWITCH_MAX, &host, NULL))
		buf_reset(&host);
	for (const char *line = host.data; line && *line;) {
		size_t len = strcspn(line, "\n");
		size_t blanks = strspn(line, " \t");

		if (!strncmp(line + blanks, "hosts:", 6)) {
			buf_adds(b, HOSTS_LINE);
			done = true;
		} else {
			buf_add(b, line, len);
			buf_adds(b, "\n");
		}
		line += len + (line[len] == '\n');
	}
	if (!done)
		buf_adds(b, HOSTS_LINE);
}

/* ---- Writing and removing ---- */

/* Over what is there; then what is left of that is cut. The mark is there all the while. */
static int overwrite(int fd, const struct buf *text)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return ftruncate(fd, (off_t)text->len) ? -errno : 0;
}

static int write_file(int dir, const char *name, const struct buf *text)
{
	_close_ int fd = -1;
	int r = fault_point("etc write");

	if (r)
		return r;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return -errno;
	r = fchmod(fd, FILE_MODE) ? -errno : overwrite(fd, text);
	/* Without its mark nobody would take it away. */
	if (r && owner_of(dir, name) != OURS)
		unlinkat(dir, name, 0);
	return r;
}

static int make_etc_dir(void)
{
	if (mkdir(ETC_DIR, DIR_MODE))
		return errno == EEXIST ? 0 : -errno;
	return chmod(ETC_DIR, DIR_MODE) ? -errno : 0;
}

/* Opens the folder, made if it is not there. */
static int make_dir(const char *netns, int *ret, struct err *err)
{
	_free_ char *path = xasprintf(ETC_DIR "/%s", netns);
	int fd, r = fault_point("etc mkdir");

	if (!r)
		r = make_etc_dir();
	if (!r && mkdir(path, DIR_MODE) && errno != EEXIST)
		r = -errno;
	if (r)
		return err_errno(err, r, "cannot create %s", path);
	fd = open_dir(netns);
	if (fd < 0)
		return err_errno(err, fd, "cannot open %s", path);
	*ret = fd;
	return 0;
}

int etc_put(const char *netns, const struct buf *resolv, struct err *err)
{
	_buf_ struct buf marked = {0}, nss = {0};
	const struct buf *texts[] = {&marked, &nss};
	_close_ int dir = -1;
	int r = make_dir(netns, &dir, err);

	if (r)
		return r;
	if (owner_of_dir(dir) == FOREIGN)
		return err_set(err, ERR_CONFLICT, -EEXIST,
			       ETC_DIR
			       "/%s has files that are not byway's: take them away, or choose "
			       "another name",
			       netns);
	if (fchmod(dir, DIR_MODE))
		return err_errno(err, -errno, "cannot open " ETC_DIR "/%s to all", netns);
	buf_adds(&marked, MARK_LINE);
	buf_add(&marked, resolv->data, resolv->len);
	buf_adds(&nss, MARK_LINE);
	nsswitch(&nss);
	for (size_t i = 0; !r && i < ARRAY_SIZE(names); i++) {
		r = write_file(dir, names[i], texts[i]);
		if (r)
			err_errno(err, r, "cannot write " ETC_DIR "/%s/%s", netns, names[i]);
	}
	return r;
}

static int remove_file(int dir, const char *name)
{
	int r = fault_point("etc unlink");

	if (!r && unlinkat(dir, name, 0) && errno != ENOENT)
		r = -errno;
	return r;
}

int etc_remove(const char *netns, struct err *err)
{
	_free_ char *path = xasprintf(ETC_DIR "/%s", netns);
	_close_ int dir = open_dir(netns);
	int r = 0;

	if (dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP)
		return 0;
	if (dir < 0)
		return err_errno(err, dir, "cannot open %s", path);
	if (owner_of_dir(dir) == FOREIGN)
		return 0;
	for (size_t i = 0; !r && i < ARRAY_SIZE(names); i++)
		r = remove_file(dir, names[i]);
	if (!r && rmdir(path) && errno != ENOTEMPTY && errno != EEXIST)
		r = -errno;
	return r ? err_errno(err, r, "cannot remove %s", path) : 0;
}

static bool has_files(const char *netns)
{
	_close_ int dir = open_dir(netns);

	return dir >= 0 && owner_of(dir, names[0]) == OURS;
}

int etc_each(int (*fn)(const char *netns, void *arg), void *arg, struct err *err)
{
	DIR *d = opendir(ETC_DIR);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot read " ETC_DIR);
	while (!r && (e = readdir(d)))
		if (e->d_name[0] != '.' && has_files(e->d_name))
			r = fn(e->d_name, arg);
	closedir(d);
	return r;
}
