// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

int file_read(const char *path, size_t max, struct buf *ret, struct err *err)
{
	_close_ int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);

	if (fd < 0)
		return err_errno(err, -errno, "cannot read %s", path);
	for (;;) {
		ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot read %s", path);
		if (!n)
			break;
		ret->len += (size_t)n;
		if (ret->len > max)
			return err_set(err, ERR_USAGE, -EFBIG, "%s is larger than %zu bytes", path,
				       max);
	}
	buf_add(ret, "", 0);
	return 0;
}

char *file_absolute(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_free_ char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	char real[PATH_MAX];

	if (realpath(path, real))
		return xstrdup(real);
	if (!realpath(folder, real))
		return xasprintf("%s%s", slash ? "" : "./", path);
	return xasprintf("%s/%s", strcmp(real, "/") ? real : "", name);
}

void file_raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}
