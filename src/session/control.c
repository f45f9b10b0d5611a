// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "session/control.h"

#define BACKLOG 1024 /* all sessions of a group at once */

static const char *const verbs[] = {
	[CONTROL_HOOK] = "hook",
	[CONTROL_RESTART] = "restart",
	[CONTROL_CHECK] = "check",
	[CONTROL_DOWN] = "down",
};
static_assert(ARRAY_SIZE(verbs) == CONTROL_NUM_VERBS, "verbs[] doesn't match control_verb");

/* What an answer looks like; both ends are the same program. */
struct answer {
	int kind, code;
	char msg[sizeof(((struct err *)0)->msg)];
};

static int make_socket(const char *path, struct sockaddr_un *addr, int flags, struct err *err)
{
	int fd;

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (str_copy(addr->sun_path, sizeof(addr->sun_path), path))
		return err_set(err, ERR_FAILED, -ENAMETOOLONG, "%s is too long for a socket", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	return fd < 0 ? err_errno(err, -errno, "cannot make a socket") : fd;
}

int control_listen(const char *path, int *ret_fd, struct err *err)
{
	struct sockaddr_un addr;
	_close_ int fd = make_socket(path, &addr, SOCK_NONBLOCK, err);
	mode_t mask;
	int r;

	if (fd < 0)
		return fd;
	if (unlink(path) && errno != ENOENT)
		return err_errno(err, -errno, "cannot replace %s", path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, BACKLOG) ? -errno : 0;
	umask(mask);
	if (r)
		return err_errno(err, r, "cannot listen at %s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int find_verb(const char *word, enum control_verb *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(word, verbs[i])) {
			*ret = (enum control_verb)i;
			return 0;
		}
	return -EBADMSG;
}

int control_read(int fd, char *buf, struct control_request *ret)
{
	ssize_t n = recv(fd, buf, CONTROL_MAX, MSG_DONTWAIT | MSG_TRUNC);
	const char *name, *env;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EBADMSG;
	if (n == 0 || n > CONTROL_MAX)
		return -EBADMSG;
	name = memchr(buf, '\0', (size_t)n);
	env = name ? memchr(name + 1, '\0', (size_t)(buf + n - name - 1)) : NULL;
	if (!env || find_verb(buf, &ret->verb) || str_copy(ret->name, sizeof(ret->name), name + 1))
		return -EBADMSG;
	ret->env = env + 1;
	ret->env_len = (size_t)(buf + n - ret->env);
	return 0;
}

void control_answer(int fd, const struct err *result)
{
	struct answer a = {.kind = (int)result->kind, .code = result->code};

	str_copy(a.msg, sizeof(a.msg), result->code ? result->msg : "");
	(void)!send(fd, &a, sizeof(a), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void control_finish(int *fd, const struct err *result)
{
	if (*fd < 0)
		return;
	control_answer(*fd, result);
	close(TAKE_FD(*fd));
}

static int send_request(int fd, enum control_verb verb, const char *name, const char *env,
			size_t env_len)
{
	struct iovec iov[] = {
		{(void *)verbs[verb], strlen(verbs[verb]) + 1},
		{(void *)name, strlen(name) + 1},
		{(void *)env, env_len},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};

	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int control_ask(const char *path, enum control_verb verb, const char *name, const char *env,
		size_t env_len, struct err *err)
{
	struct sockaddr_un addr;
	_close_ int fd = make_socket(path, &addr, 0, err);
	struct answer a;
	int r;

	if (fd < 0)
		return fd;
	r = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	if (!r)
		r = send_request(fd, verb, name, env, env_len);
	if (!r && recv(fd, &a, sizeof(a), 0) != sizeof(a))
		r = -ECONNRESET;
	if (r)
		return err_errno(err, r, "cannot ask the process at %s", path);
	a.msg[sizeof(a.msg) - 1] = '\0';
	return a.code ? err_set(err, (enum err_kind)a.kind, a.code, "%s", a.msg) : 0;
}
