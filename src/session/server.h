/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of VPN servers' names, asked of the host's own resolver (getaddrinfo(3)) by a
 * thread, so that nobody waits. What is resolved here need not be inside a session's namespace,
 * where the host's resolver may not be reached. Those of a session that goes out by another tunnel
 * are asked of a resolver at the end of that, from the session's outer namespace.
 */
#ifndef BYWAY_SESSION_SERVER_H
#define BYWAY_SESSION_SERVER_H

#include <stdint.h>

struct connect_addrs;
struct err;
struct ip;
struct servers;

/* The addresses of a name, asked for from the thread's own namespace; none: it failed. Waits. */
typedef void (*servers_resolve_fn)(const char *name, struct connect_addrs *ret);

int servers_new(struct servers **ret, struct err *err);
/* From now on it is this that asks, from the namespace of that name. */
void servers_ask_from(struct servers *s, const char *netns, servers_resolve_fn resolve);
/* What is being asked for is given up. */
void servers_free(struct servers *s);
/* Readable when an answer came: servers_note() then, and whoever was waiting asks again. */
int servers_fd(const struct servers *s);
void servers_note(struct servers *s);

/* An address of the name, each time the next one of several. 0; -EAGAIN: it is being asked for; or
 * -errno with a sentence. An answer counts for half a minute, a failure for a second: whoever waits
 * for it hears of it. */
int servers_address(struct servers *s, const char *name, uint64_t now_ms, struct ip *ret,
		    struct err *err);

#endif
