/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of proxies' names, while the network is captured: from /etc/hosts, or by asking
 * resolvers directly, from sockets with a mark, so that what is captured for everybody else lets
 * them through. Not by getaddrinfo(3), whose sockets nobody can mark, and which blocks.
 */
#ifndef BYWAY_TUNNEL_RESOLVE_H
#define BYWAY_TUNNEL_RESOLVE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/dialer.h"

struct err;
struct resolver;

/* What became of one name. */
struct resolve_answer {
	struct connect_addrs addrs; /* in the order of RFC 6724; none when it failed */
	const char *why;            /* then: a constant */
};

/* For one round of questions. servers: who is asked; none: those of /etc/resolv.conf, from which
 * search domains come in any case. mark: SO_MARK of the sockets, or 0. */
int resolver_new(const struct ip servers[], size_t n, uint32_t mark, struct resolver **ret,
		 struct err *err);
/* Questions without an answer are forgotten. */
void resolver_free(struct resolver *r);
/* ret is written when there is an answer, which may be at once, and lives until then. */
void resolver_ask(struct resolver *r, const char *host, struct resolve_answer *ret);
bool resolver_is_done(const struct resolver *r);

#define RESOLVER_FDS_MAX 16

/* What to wait for, and for no longer than *timeout_ms, which it may shorten; the number of fds. */
size_t resolver_wants(struct resolver *r, struct pollfd fds[RESOLVER_FDS_MAX], int *timeout_ms);
/* Goes on after that. */
void resolver_step(struct resolver *r, const struct pollfd fds[], size_t n);
/* For those who have nothing else to do. */
void resolver_wait(struct resolver *r);

#endif
