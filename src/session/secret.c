// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "session/secret.h"

void secret_wipe(struct secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

int secret_take_line(struct secret *ret, const char *text, size_t len, struct err *err)
{
	const char *end = memchr(text, '\n', len);
	size_t n = end ? (size_t)(end - text) : len;

	if (n && text[n - 1] == '\r')
		n--;
	if (!n || n >= sizeof(ret->text) || memchr(text, '\0', n))
		return err_set(err, ERR_FAILED, -EINVAL,
			       n ? "the password is longer than %d bytes, or not text"
				 : "the password is empty",
			       SECRET_MAX - 1);
	memcpy(ret->text, text, n);
	ret->text[n] = '\0';
	return 0;
}

/* O_NONBLOCK: of a pipe, nobody may ever write to it. */
static int read_file(const char *path, struct secret *ret, struct err *err)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[SECRET_MAX + 1];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	int r;

	if (n < 0)
		return err_errno(err, -errno, "cannot read the password from %s", path);
	r = secret_take_line(ret, text, (size_t)n, err);
	explicit_bzero(text, sizeof(text));
	return r ? err_context(err, "%s", path) : 0;
}

int secret_read(const struct session_secret *from, struct secret *ret, struct err *err)
{
	switch (from->kind) {
	case SECRET_TEXT:
		return secret_take_line(ret, from->text, strlen(from->text), err);
	case SECRET_FILE:
		return read_file(from->text, ret, err);
	case SECRET_NONE:
	case SECRET_COMMAND:
		break;
	}
	ret->text[0] = '\0';
	return 0;
}

/* A line is shorter than what a pipe holds: writing it never waits. */
int secret_pipe(const struct secret *s, int *ret_fd, struct err *err)
{
	size_t len = strlen(s->text);
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return err_errno(err, -errno, "cannot make a pipe");
	if (len)
		(void)!(write(fds[1], s->text, len) + write(fds[1], "\n", 1));
	close(fds[1]);
	*ret_fd = fds[0];
	return 0;
}
