/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in a tunnel: answers to the queries that were captured on their way to a resolver, whoever
 * that is. There is one for a tunnel: any worker may hand it queries, one of them steps it.
 * Everything is non-blocking, nothing is allocated after dns_new().
 */
#ifndef BYWAY_TUNNEL_DNS_H
#define BYWAY_TUNNEL_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "tunnel/dialer.h"

#define DNS_PORT 53

struct packet;

enum dns_mode {
	DNS_BYPASS,  /* none of our business: queries do not come into the tunnel */
	DNS_TCP,     /* resolvers are asked by TCP (RFC 7766), through the dialer */
	DNS_VIRTUAL, /* names get made-up addresses; the upstream resolves (see dnspool.h) */
	DNS_NUM_MODES,
};

const char *dns_mode_name(enum dns_mode m);
/* -EINVAL for a word that is none. */
int dns_mode_parse(const char *word, enum dns_mode *ret);

#define DNS_RESOLVERS_MAX 16

struct dns_config {
	enum dns_mode mode;
	const struct ip *resolvers; /* copied, the first DNS_RESOLVERS_MAX; DNS_TCP needs one */
	size_t n_resolvers;
	struct cidr tun_addr4; /* of the device: not given to a name */
	/* The engine's own. */
	const struct dialer *dialer;
	int tun; /* borrowed */
	uint16_t mtu;
	/* A resolver could not be reached; in the thread that found out. */
	void (*failed)(enum dial_status why, const char *reason, void *arg);
	void *arg;
};

struct dns;

int dns_new(const struct dns_config *config, struct dns **ret);
void dns_free(struct dns *d);

/* Of one thread: what to wait for (EPOLLIN), and what to call then. */
int dns_fd(const struct dns *d);
void dns_step(struct dns *d, uint64_t now_ms);
/* What is due by time. Returns milliseconds until it should be called again, at most limit_ms. */
int dns_expire(struct dns *d, uint64_t now_ms, int limit_ms);

/* Of any thread. A datagram for port DNS_PORT; the answer goes into the TUN, now or later, or
 * never. */
void dns_input(struct dns *d, const struct packet *p, uint64_t now_ms);
/* Puts into the target the name that its address stands for. False: it is one of the pool, and
 * stands for none. */
bool dns_translate(struct dns *d, struct dial_target *target, uint64_t now_ms);

#endif
