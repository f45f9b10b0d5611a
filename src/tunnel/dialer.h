/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening one upstream byte stream for the tunnel engine: "to this address, or this host name, and
 * this port; tell me connected, refused, unreachable, denied, timed out; hand me a descriptor".
 *
 * Everything is non-blocking and driven by the caller's event loop. A struct dial is the caller's,
 * of fixed size, and may be reused; nothing is allocated per stream, but for what OpenSSL
 * allocates (TLS and Digest) and, over SSH (ssh.h), some hundred bytes. Dialers may be shared by
 * threads: what they hold is read-only once they are made, but for counters and, under a lock,
 * addresses and the last Digest nonce.
 */
#ifndef BYWAY_TUNNEL_DIALER_H
#define BYWAY_TUNNEL_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct dialer;
struct err;

enum dial_status {
	DIAL_PENDING,     /* wait for dial->events on dial->fd */
	DIAL_CONNECTED,   /* dial->fd is the stream: TAKE_FD it. Bytes may be waiting in it */
	DIAL_REFUSED,     /* the target refuses: RST */
	DIAL_UNREACHABLE, /* the target, or the way to it, cannot be reached: ICMP */
	DIAL_DENIED,      /* by the upstream's policy (403): ICMP administratively prohibited */
	DIAL_AUTH,        /* the upstream wants other credentials (407) */
	DIAL_TIMEOUT,
	DIAL_BROKEN, /* the upstream talks nonsense, or not at all */
	DIAL_NUM_STATUSES,
};

const char *dial_status_name(enum dial_status s);

#define DIAL_HOST_MAX 256

struct dial_target {
	struct ip addr;           /* used when host is "" */
	uint16_t port;            /* host order */
	char host[DIAL_HOST_MAX]; /* a name that the upstream resolves, or "" */
};

#define DIAL_SCRATCH_BYTES 2304

/*
 * While a dial is pending, fd, events and deadline_ms may change with every step. A changed fd
 * never has the number of the one before it, which is closed, and so has left every epoll set.
 */
struct dial {
	int fd;          /* -1 when there is none */
	uint32_t events; /* EPOLLIN, EPOLLOUT: what to wait for; level- or edge-triggered */
	/* CLOCK_MONOTONIC; then step even without an event. Not always the end: the next upstream
	 * may have its turn. */
	uint64_t deadline_ms;
	struct dial_target target;
	bool answered; /* an upstream gave an answer, so that a failure may be the target's */
	/* Of a failure, for a person: "403 Forbidden by proxy.example.com:3128". */
	char reason[160];
	/* The dialer's own. */
	const struct dialer *dialer;
	_Alignas(8) unsigned char scratch[DIAL_SCRATCH_BYTES];
};

/* Begins. DIAL_PENDING, or the failure at once. */
enum dial_status dial_start(const struct dialer *d, struct dial *c, const struct dial_target *t,
			    uint64_t now_ms);
/* Goes on after events, or after the deadline (revents 0). After any other status than
 * DIAL_PENDING the dial is over, and nothing but a connected fd is left of it. */
enum dial_status dial_step(struct dial *c, uint32_t revents, uint64_t now_ms);
/* Begins, and sleeps until it is over: for those who have nothing else to do. Never
 * DIAL_PENDING. */
enum dial_status dial_wait(const struct dialer *d, struct dial *c, const struct dial_target *t);
/* Gives up; legal in any state, and on a struct of zeros. Closes a connected fd that was not
 * taken. */
void dial_abort(struct dial *c);

/* What every dialer begins with, and those who only want to know whether somebody is there: a
 * non-blocking TCP socket whose connection to addr is under way. -errno. */
int dial_socket(const struct ip *addr, uint16_t port, uint32_t mark, int *ret_fd);

/* ---- Dialers ---- */

/* Not before every dial of it is over or aborted. */
void dialer_free(struct dialer *d);
void dialer_free_p(struct dialer **d);
#define _dialer_ _cleanup_(dialer_free_p)

/* Straight to the target, for what shall not be tunnelled and for tests; addresses only, no names.
 * mark: SO_MARK of the sockets, or 0. */
struct dialer *dialer_direct(uint32_t mark);

#define CONNECT_UPSTREAMS_MAX 8
#define CONNECT_ADDRS_MAX 8

struct connect_upstream {
	bool tls;
	char host[DIAL_HOST_MAX]; /* as in the URL: for TLS' server name and for messages */
	struct ip addr;           /* family 0: those of dialer_connect_set_addrs() */
	uint16_t port;
};

/* The addresses of one upstream, in the order in which they are tried. */
struct connect_addrs {
	struct ip v[CONNECT_ADDRS_MAX];
	unsigned int n;
};

struct connect_config {
	/* Tried in order, from the last that worked. */
	struct connect_upstream upstreams[CONNECT_UPSTREAMS_MAX];
	unsigned int n_upstreams;
	/* "" for none. The caller wipes its own, dialer_free() the copy. */
	char username[128], password[128];
	const char *ca_file; /* PEM, or NULL for the system's */
	uint32_t mark;       /* SO_MARK of the sockets: they are not captured */
	uint32_t timeout_ms; /* for the whole of a dial; 0: 30 seconds */
};

/*
 * By HTTP/1.1 CONNECT (RFC 9110 9.3.6) through a proxy, Basic (RFC 7617) or Digest (RFC 7616) as
 * the proxy asks. A TLS upstream's stream is one end of a socket pair; a thread of the dialer's
 * own, started here, encrypts between it and the network.
 */
int dialer_connect(const struct connect_config *config, struct dialer **ret, struct err *err);
/* Where the upstream is from now on, for dials that begin, or begin anew. Any thread. */
void dialer_connect_set_addrs(struct dialer *d, unsigned int upstream,
			      const struct connect_addrs *addrs);
/* The network is another one: a dial that began before and fails begins anew, in the time that is
 * left of it. Any thread. */
void dialer_connect_renew(struct dialer *d);

#endif
