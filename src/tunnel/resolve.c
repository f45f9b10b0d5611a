// SPDX-License-Identifier: GPL-2.0-or-later
#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "tunnel/resolve.h"

/* A network that has just come up loses packets, and a resolver's first answer takes its time. */
#define TRY_MS 1000 /* c-ares doubles it with each round */
#define TRIES 3

static_assert(RESOLVER_FDS_MAX == ARES_GETSOCK_MAXNUM, "as many as c-ares tells of");

struct resolver {
	ares_channel channel;
	uint32_t mark;
	unsigned int pending;
};

struct question {
	struct resolver *resolver;
	struct resolve_answer *ret;
};

static void take_address(const struct sockaddr *sa, struct connect_addrs *addrs)
{
	struct ip *ip = &addrs->v[addrs->n];

	if (addrs->n == CONNECT_ADDRS_MAX)
		return;
	*ip = (struct ip){.family = sa->sa_family};
	if (sa->sa_family == AF_INET)
		memcpy(ip->bytes, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	else
		memcpy(ip->bytes, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	addrs->n++;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	_free_ struct question *q = arg;

	(void)timeouts;
	q->resolver->pending--;
	if (status != ARES_EDESTRUCTION) { /* the answer may be gone by then */
		*q->ret = (struct resolve_answer){.why = ares_strerror(status)};
		for (const struct ares_addrinfo_node *n = found ? found->nodes : NULL; n;
		     n = n->ai_next)
			take_address(n->ai_addr, &q->ret->addrs);
	}
	ares_freeaddrinfo(found);
}

void resolver_ask(struct resolver *r, const char *host, struct resolve_answer *ret)
{
	static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
							 .ai_socktype = SOCK_STREAM};
	struct question *q = xcalloc(1, sizeof(*q));

	*q = (struct question){.resolver = r, .ret = ret};
	r->pending++;
	ares_getaddrinfo(r->channel, host, NULL, &hints, on_answer, q);
}

bool resolver_is_done(const struct resolver *r)
{
	return !r->pending;
}

size_t resolver_wants(struct resolver *r, struct pollfd fds[RESOLVER_FDS_MAX], int *timeout_ms)
{
	ares_socket_t sockets[RESOLVER_FDS_MAX];
	unsigned int mask = (unsigned int)ares_getsock(r->channel, sockets, RESOLVER_FDS_MAX);
	struct timeval limit = {.tv_sec = *timeout_ms / 1000, .tv_usec = *timeout_ms % 1000 * 1000};
	struct timeval buf;
	const struct timeval *tv = ares_timeout(r->channel, &limit, &buf); /* one of the two */
	size_t n = 0;

	for (unsigned int i = 0; i < RESOLVER_FDS_MAX; i++) {
		short events = (short)((ARES_GETSOCK_READABLE(mask, i) ? POLLIN : 0) |
				       (ARES_GETSOCK_WRITABLE(mask, i) ? POLLOUT : 0));

		if (events)
			fds[n++] = (struct pollfd){.fd = sockets[i], .events = events};
	}
	*timeout_ms = MIN(*timeout_ms, (int)(tv->tv_sec * 1000 + tv->tv_usec / 1000 + 1));
	return n;
}

void resolver_step(struct resolver *r, const struct pollfd fds[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		ares_socket_t in = fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD;
		ares_socket_t out = fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD;

		ares_process_fd(r->channel, in, out);
	}
	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what ran out of time */
}

void resolver_wait(struct resolver *r)
{
	while (!resolver_is_done(r)) {
		struct pollfd fds[RESOLVER_FDS_MAX];
		int timeout_ms = TRY_MS;
		size_t n = resolver_wants(r, fds, &timeout_ms);

		poll(fds, n, timeout_ms);
		resolver_step(r, fds, n);
	}
}

/* ---- Making one ---- */

/* Before anything is sent. */
static int on_socket(ares_socket_t fd, int type, void *arg)
{
	const struct resolver *r = arg;

	(void)type;
	return r->mark ? setsockopt(fd, SOL_SOCKET, SO_MARK, &r->mark, sizeof(r->mark)) : 0;
}

static int set_servers(struct resolver *r, const struct ip servers[], size_t n)
{
	_free_ struct ares_addr_node *list = xcalloc(n, sizeof(*list));

	for (size_t i = 0; i < n; i++) {
		list[i].family = servers[i].family;
		memcpy(&list[i].addr, servers[i].bytes, ip_len(servers[i].family));
		list[i].next = i + 1 < n ? &list[i + 1] : NULL;
	}
	return ares_set_servers(r->channel, list);
}

int resolver_new(const struct ip servers[], size_t n, uint32_t mark, struct resolver **ret,
		 struct err *err)
{
	struct ares_options options = {.timeout = TRY_MS, .tries = TRIES};
	struct resolver *r = xcalloc(1, sizeof(*r));
	int status = ares_init_options(&r->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);

	r->mark = mark;
	if (status == ARES_SUCCESS && n)
		status = set_servers(r, servers, n);
	if (status != ARES_SUCCESS) {
		resolver_free(r);
		return err_set(err, ERR_FAILED, -EIO, "cannot look up names: %s",
			       ares_strerror(status));
	}
	ares_set_socket_configure_callback(r->channel, on_socket, r);
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (r && r->channel)
		ares_destroy(r->channel);
	free(r);
}
