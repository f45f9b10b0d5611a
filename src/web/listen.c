// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "web/listen.h"

#define BACKLOG 64
#define UNIX_PREFIX "unix:"

bool listen_is_loopback(const struct ip *ip)
{
	static const uint8_t one[16] = {[15] = 1};

	if (ip->family == AF_INET)
		return ip->bytes[0] == 127;
	return ip->family == AF_INET6 && !memcmp(ip->bytes, one, sizeof(one));
}

/* ---- TCP ---- */

static int refuse(const char *where, struct err *err)
{
	return err_set(err, ERR_USAGE, -EINVAL,
		       "--listen: '%s' is neither ADDRESS:PORT nor unix:PATH", where);
}

static int parse_address(const char *where, struct ip *ret_ip, uint16_t *ret_port, struct err *err)
{
	const char *colon = strrchr(where, ':');
	_free_ char *host = colon ? strndup(where, (size_t)(colon - where)) : NULL;
	size_t len = host ? strlen(host) : 0;
	unsigned long port;
	char *end;

	if (!len || colon[1] < '0' || colon[1] > '9')
		return refuse(where, err);
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return refuse(where, err);
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		memmove(host, host + 1, len - 1);
	}
	if (ip_parse(strcmp(host, "localhost") ? host : "127.0.0.1", ret_ip, NULL))
		return refuse(where, err);
	if (!listen_is_loopback(ret_ip))
		return err_set(err, ERR_USAGE, -EINVAL,
			       "--listen: %s can be reached from other machines, and there are no "
			       "passwords here: 127.0.0.1, [::1], or unix:PATH behind a web server "
			       "that asks for one",
			       host);
	*ret_port = (uint16_t)port;
	return 0;
}

static int open_tcp(const char *where, struct listener *ret, struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len;
	uint16_t port = 0;
	struct ip ip;
	int one = 1, r = parse_address(where, &ip, &port, err);
	char text[IP_STRLEN];

	if (r)
		return r;
	len = ip_to_sockaddr(&ip, port, &sa);
	ret->fd = socket(ip.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ret->fd < 0 || setsockopt(ret->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(ret->fd, (struct sockaddr *)&sa, len) || listen(ret->fd, BACKLOG) ||
	    getsockname(ret->fd, (struct sockaddr *)&sa, &len))
		return err_errno(err, -errno, "cannot listen at %s", where);
	/* In the same place in both families. */
	port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	ip_format(&ip, text);
	snprintf(ret->url, sizeof(ret->url),
		 ip.family == AF_INET6 ? "http://[%s]:%u/" : "http://%s:%u/", text,
		 (unsigned int)port);
	return 0;
}

/* ---- Unix ---- */

/* A socket's file outlives who listened at it. */
static int remove_stale(const struct sockaddr_un *sa)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (lstat(sa->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (fd < 0 || !connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(sa->sun_path) ? -errno : 0;
}

static int open_unix(const char *path, struct listener *ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t before;
	int r;

	if (!*path || str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(err, ERR_USAGE, -EINVAL, "--listen: '%s' is no path of a socket",
			       path);
	r = remove_stale(&sa);
	ret->fd = r ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	before = umask(0177);
	if (!r && (ret->fd < 0 || bind(ret->fd, (struct sockaddr *)&sa, sizeof(sa)) ||
		   listen(ret->fd, BACKLOG)))
		r = -errno;
	umask(before);
	if (r)
		return err_errno(err, r, "cannot listen at %s", path);
	memcpy(ret->path, sa.sun_path, sizeof(ret->path));
	snprintf(ret->url, sizeof(ret->url), "%s%s", UNIX_PREFIX, path);
	return 0;
}

int listen_open(const char *where, struct listener *ret, struct err *err)
{
	struct listener l = {.fd = -1};
	size_t prefix = strlen(UNIX_PREFIX);
	int r = strncmp(where, UNIX_PREFIX, prefix) ? open_tcp(where, &l, err)
						    : open_unix(where + prefix, &l, err);

	if (r)
		close_p(&l.fd);
	else
		*ret = l;
	return r;
}

void listen_close(struct listener *l)
{
	if (*l->path)
		unlink(l->path);
	close_p(&l->fd);
}
