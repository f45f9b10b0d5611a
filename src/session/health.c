// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A probe is a connected socket, whatever its kind: the kernel queues nothing but what comes from
 * the target, and hands over the ICMP errors that concern it. The socket is made by a thread inside
 * the namespace and used from outside. What the target sends is looked at once more: it may be the
 * answer to somebody else, or to a probe before this one.
 */
#include <assert.h>
#include <errno.h>
#include <net/if.h> /* before Linux's own, which then leave out what it has */
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fault.h"
#include "session/health.h"

#define DNS_PORT 53
#define ANSWER_MAX 1500 /* what comes behind that is of no interest */

static int fail(const struct health *h, int code, struct err *err)
{
	static const char *const verbs[] = {[PROBE_PING] = "ping",
					    [PROBE_TCP] = "connect to",
					    [PROBE_DNS] = "ask the resolver"};
	char addr[IP_STRLEN], port[16] = "";

	if (h->probe == PROBE_TCP)
		snprintf(port, sizeof(port), " port %u", h->port);
	return err_set(err, ERR_UNREACHABLE, code, "cannot %s %s%s: %s", verbs[h->probe],
		       ip_format(&h->target, addr), port, strerror(-code));
}

static int connect_to(const struct health *h)
{
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(&h->target, h->port, &to);

	return connect(h->fd, (struct sockaddr *)&to, len) ? -errno : 0;
}

static uint16_t random_id(void)
{
	uint16_t id = 0;

	(void)!getrandom(&id, sizeof(id), 0);
	return id;
}

/* -EAGAIN: there is nothing. */
static ssize_t receive(const struct health *h, uint8_t buf[ANSWER_MAX])
{
	ssize_t n = recv(h->fd, buf, ANSWER_MAX, 0);

	return n < 0 ? -errno : n;
}

/* ---- ICMP (RFC 792) and ICMPv6 (RFC 4443 4), whose echo messages differ in their types only ----
 */

static bool is_v6(const struct health *h)
{
	return h->target.family == AF_INET6;
}

/* RFC 1071. That of ICMPv6 is the kernel's to fill in (RFC 3542 3.1). */
static uint16_t checksum(const struct icmphdr *m)
{
	uint16_t words[sizeof(*m) / 2];
	uint32_t sum = 0;

	memcpy(words, m, sizeof(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* A raw socket gets every ICMP message, our own requests on loopback included. */
static int take_replies_only(const struct health *h)
{
	struct icmp_filter f4 = {.data = ~(1u << ICMP_ECHOREPLY)};
	struct icmp6_filter f6;
	int r;

	ICMP6_FILTER_SETBLOCKALL(&f6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f6);
	r = is_v6(h) ? setsockopt(h->fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f6, sizeof(f6))
		     : setsockopt(h->fd, SOL_RAW, ICMP_FILTER, &f4, sizeof(f4));
	return r ? -errno : 0;
}

static int ping_begin(struct health *h, const struct session_health *what, struct err *err)
{
	struct icmphdr m = {.type = is_v6(h) ? ICMP6_ECHO_REQUEST : ICMP_ECHO};
	int r = take_replies_only(h);

	(void)what;
	h->id = m.un.echo.id = random_id();
	h->seq = m.un.echo.sequence = random_id();
	if (!is_v6(h))
		m.checksum = checksum(&m);
	if (!r && send(h->fd, &m, sizeof(m), 0) < 0)
		r = -errno;
	return r ? fail(h, r, err) : 0;
}

static int ping_step(const struct health *h, struct err *err)
{
	uint8_t buf[ANSWER_MAX];
	ssize_t n = receive(h, buf);
	size_t head;
	struct icmphdr m;

	if (n < 0)
		return n == -EAGAIN ? 0 : fail(h, (int)n, err);
	head = is_v6(h) || !n ? 0 : (buf[0] & 0xfu) * 4; /* raw(7): IPv4 comes with its header */
	if ((size_t)n < head + sizeof(m))
		return 0;
	memcpy(&m, buf + head, sizeof(m));
	return m.type == (is_v6(h) ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) && m.un.echo.id == h->id &&
	       m.un.echo.sequence == h->seq;
}

/* ---- TCP ---- */

/* To connect once more tells how the first time went: connect(2). */
static int tcp_step(const struct health *h, struct err *err)
{
	int r = connect_to(h);

	if (!r || r == -EISCONN)
		return 1;
	return r == -EALREADY || r == -EINPROGRESS ? 0 : fail(h, r, err);
}

/* ---- DNS ---- */

static int dns_begin(struct health *h, const struct session_health *what, struct err *err)
{
	uint8_t msg[DNSMSG_QUERY_MAX];
	size_t len = dnsmsg_put_query(random_id(), DNSMSG_A, what->host, msg, &h->query);

	if (!len)
		return err_set(err, ERR_USAGE, -EINVAL, "cannot look up '%s': it is no domain name",
			       what->host);
	return send(h->fd, msg, len, 0) < 0 ? fail(h, -errno, err) : 0;
}

/* That the name is unknown is an answer like any other: whoever says so can be reached. */
static int judge(const struct health *h, unsigned int rcode, struct err *err)
{
	static const char *const names[16] = {
		[DNSMSG_FORMERR] = "format error",
		[DNSMSG_SERVFAIL] = "server failure",
		[DNSMSG_NOTIMP] = "not implemented",
		[DNSMSG_REFUSED] = "refused",
	};
	char addr[IP_STRLEN];

	if (rcode == DNSMSG_NOERROR || rcode == DNSMSG_NXDOMAIN)
		return 1;
	return err_set(err, ERR_UNREACHABLE, -EPROTO, "the resolver %s answers with code %u%s%s",
		       ip_format(&h->target, addr), rcode, names[rcode] ? ", " : "",
		       names[rcode] ? names[rcode] : "");
}

static int dns_step(const struct health *h, struct err *err)
{
	uint8_t buf[ANSWER_MAX];
	ssize_t n = receive(h, buf);

	if (n < 0)
		return n == -EAGAIN ? 0 : fail(h, (int)n, err);
	if (!dnsmsg_answers(&h->query, buf, (size_t)n) || (buf[0] << 8 | buf[1]) != h->query.id)
		return 0;
	return judge(h, buf[3] & 0xfu, err);
}

/* ---- All of them ---- */

static const struct kind {
	int type, protocol4, protocol6;
	short events;
	/* Sends what is to be sent; NULL: connecting is all. */
	int (*begin)(struct health *h, const struct session_health *what, struct err *err);
	int (*step)(const struct health *h, struct err *err);
} kinds[] = {
	[PROBE_PING] = {SOCK_RAW, IPPROTO_ICMP, IPPROTO_ICMPV6, POLLIN, ping_begin, ping_step},
	[PROBE_TCP] = {SOCK_STREAM, IPPROTO_TCP, IPPROTO_TCP, POLLOUT, NULL, tcp_step},
	[PROBE_DNS] = {SOCK_DGRAM, IPPROTO_UDP, IPPROTO_UDP, POLLIN, dns_begin, dns_step},
};

struct opening {
	const struct health *h;
	const char *device;
};

static int open_socket(void *p)
{
	const struct opening *o = p;
	const struct kind *k = &kinds[o->h->probe];
	_close_ int fd = socket(o->h->target.family, k->type | SOCK_NONBLOCK | SOCK_CLOEXEC,
				is_v6(o->h) ? k->protocol6 : k->protocol4);

	if (fd < 0)
		return -errno;
	if (o->device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device, (socklen_t)strlen(o->device)))
		return -errno;
	return TAKE_FD(fd);
}

static int set_target(struct health *h, const struct session_health *what, const struct ip *dns,
		      struct err *err)
{
	if (what->probe != PROBE_DNS) {
		h->port = what->port;
		return ip_parse(what->host, &h->target, err);
	}
	if (!dns)
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "there is no resolver to ask for '%s'",
			       what->host);
	h->port = DNS_PORT;
	h->target = *dns;
	return 0;
}

static int open_and_connect(struct health *h, struct netns *ns, const char *device, struct err *err)
{
	struct opening o = {h, device};
	int r = fault_point("open a probe's socket");

	if (!r)
		r = *ns->name ? netns_call(ns, open_socket, &o) : open_socket(&o);
	if (r < 0)
		return fail(h, r, err);
	h->fd = r;
	h->events = kinds[h->probe].events;
	r = connect_to(h);
	return r && r != -EINPROGRESS ? fail(h, r, err) : 0;
}

int health_start(struct health *h, struct netns *ns, const char *device,
		 const struct session_health *what, const struct ip *dns, struct err *err)
{
	int r;

	assert(what->probe != PROBE_NONE);
	*h = (struct health){.probe = what->probe, .fd = -1};
	r = set_target(h, what, dns, err);
	if (!r)
		r = open_and_connect(h, ns, device, err);
	if (!r && kinds[h->probe].begin)
		r = kinds[h->probe].begin(h, what, err);
	if (r)
		health_stop(h);
	return r;
}

int health_step(struct health *h, struct err *err)
{
	return kinds[h->probe].step(h, err);
}

void health_stop(struct health *h)
{
	close_p(&h->fd);
	h->fd = -1;
}
