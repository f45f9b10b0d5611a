// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A probe, and what became of it: the kernel tells of each rule of nftables that it meets, in the
 * sender's namespace, on the host, and in the target's. Whether somebody answers is another
 * question, and asked, too: with rules that nftables does not have (iptables' own), it is the only
 * one.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/trace.h"
#include "ops/ops.h"
#include "ops/why.h"

/* From netinet/ip_icmp.h and netinet/icmp6.h, which have a struct ip of their own. */
#define ICMP_ECHO 8
#define ICMP_ECHOREPLY 0
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129

#define PATIENCE_MS 1500
#define QUIET_MS 150 /* after an answer, for events that are still on their way */
#define STOPS_MAX 3  /* the sender's, the host's, the target's */

struct probe {
	const struct why *w;
	uint16_t id;
	int fd;
};

/* RFC 792, RFC 4443 4.1; network order. */
struct echo {
	uint8_t type, code;
	uint16_t checksum, id, sequence;
};

struct place {
	struct netns *ns;
	struct trace *trace;
	char name[2 * NAME_MAX_LEN];
};

struct live {
	struct probe probe;
	struct place places[STOPS_MAX];
	size_t n;
	const struct place *reading;
	struct why_live *ret;
};

/* ---- The probe ---- */

static bool is_icmp(const struct why *w)
{
	return w->flow.proto == IPPROTO_ICMP;
}

static uint8_t wire_proto(const struct why *w)
{
	return is_icmp(w) && w->flow.family == AF_INET6 ? IPPROTO_ICMPV6 : w->flow.proto;
}

static int socket_type(const struct why *w)
{
	return is_icmp(w) ? SOCK_RAW : w->flow.proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
}

/* A socket with a port, or identifier, by which its packets are known. */
static int open_probe(void *arg)
{
	struct probe *p = arg;
	struct sockaddr_storage at;
	struct ip any = {.family = p->w->flow.family};
	socklen_t len = ip_to_sockaddr(&any, 0, &at);

	p->fd = socket(any.family, socket_type(p->w) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       wire_proto(p->w));
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&at, len) ||
	    getsockname(p->fd, (struct sockaddr *)&at, &len))
		return -errno;
	p->id = ntohs(any.family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
					     : ((struct sockaddr_in *)&at)->sin_port);
	if (is_icmp(p->w))
		p->id = (uint16_t)getpid();
	return 0;
}

/* Of IPv6, the kernel fills in the checksum; of IPv4, there are two words to be summed up. */
static struct echo make_echo(const struct probe *p)
{
	struct echo e = {.type = ICMP6_ECHO_REQUEST, .id = htons(p->id)};
	uint32_t sum;

	if (p->w->flow.family == AF_INET6)
		return e;
	e.type = ICMP_ECHO;
	sum = (ICMP_ECHO << 8) + (uint32_t)p->id;
	e.checksum = htons((uint16_t) ~(sum + (sum >> 16)));
	return e;
}

static int send_probe(const struct probe *p)
{
	struct echo echo = make_echo(p);
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(&p->w->asked, is_icmp(p->w) ? 0 : p->w->asked_port, &to);

	if (connect(p->fd, (struct sockaddr *)&to, len) && errno != EINPROGRESS)
		return -errno;
	if (p->w->flow.proto != IPPROTO_TCP && send(p->fd, &echo, sizeof(echo), 0) < 0)
		return -errno;
	return 0;
}

/* A raw socket of IPv4 gives the IP header, too, and either whatever ICMP there is. */
static bool is_reply(const struct probe *p, const uint8_t *bytes, size_t len)
{
	size_t header = p->w->flow.family == AF_INET6 ? 0 : (bytes[0] & 15u) * 4u;
	uint8_t wanted = header ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	struct echo e;

	if (len < header + sizeof(e))
		return false;
	memcpy(&e, bytes + header, sizeof(e));
	return e.type == wanted && e.id == htons(p->id);
}

/* A refusal is an answer: it came from there. One of ICMP's other errors is not. */
static bool is_answer(const struct probe *p)
{
	uint8_t bytes[1500];
	int error = 0;
	socklen_t size = sizeof(error);
	ssize_t n;

	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error || socket_type(p->w) == SOCK_STREAM)
		return !error || error == ECONNREFUSED;
	n = recv(p->fd, bytes, sizeof(bytes), 0);
	return n > 0 && (!is_icmp(p->w) || is_reply(p, bytes, (size_t)n));
}

/* ---- Following it ---- */

/* The last word counts; after a drop there is none. */
static void note_event(const struct trace_event *e, void *arg)
{
	struct live *l = arg;
	struct why_live *ret = l->ret;

	if (!e->verdict || ret->dropped)
		return;
	ret->traced = true;
	ret->dropped = e->dropped;
	str_copy(ret->where, sizeof(ret->where), l->reading->name);
	if (e->handle)
		snprintf(ret->rule, sizeof(ret->rule), "table %s %s, chain %s, rule %llu",
			 e->family, e->table, e->chain, (unsigned long long)e->handle);
	else
		snprintf(ret->rule, sizeof(ret->rule), "table %s %s, chain %s, its policy",
			 e->family, e->table, e->chain);
}

static void read_all(struct live *l)
{
	for (size_t i = 0; i < l->n; i++) {
		l->reading = &l->places[i];
		if (l->places[i].trace)
			trace_read(l->places[i].trace, note_event, l);
	}
}

static void watch(struct live *l)
{
	uint64_t until = clock_ms() + PATIENCE_MS;
	struct pollfd p = {.fd = l->probe.fd,
			   .events = l->probe.w->flow.proto == IPPROTO_TCP ? POLLOUT : POLLIN};

	for (uint64_t now = clock_ms(); now < until; now = clock_ms()) {
		if (poll(&p, 1, (int)(until - now)) <= 0)
			continue;
		l->ret->answered = is_answer(&l->probe);
		if (l->ret->answered || !is_icmp(l->probe.w))
			break;
	}
	poll(NULL, 0, QUIET_MS);
	read_all(l);
}

/* ---- Places ---- */

static int add_place(struct ops *o, struct live *l, const struct why_end *e, struct err *err)
{
	struct place *p = &l->places[l->n];
	const char *name = e->kind == WHY_SUBNET ? e->subnet.netns : NULL;
	int r = netns_open(name, &o->log, &p->ns, err);

	if (r)
		return r;
	str_copy(p->name, sizeof(p->name), name ? name : WHY_HOST);
	l->n++;
	return 0;
}

static int add_places(struct ops *o, struct live *l, struct err *err)
{
	static const struct why_end host = {.kind = WHY_THIS_HOST};
	const struct why *w = l->probe.w;
	int r = add_place(o, l, &w->from, err);

	if (!r && w->from.kind == WHY_SUBNET)
		r = add_place(o, l, &host, err);
	if (!r && w->to.kind == WHY_SUBNET && strcmp(w->to.subnet.netns, l->places[0].name) != 0)
		r = add_place(o, l, &w->to, err);
	return r;
}

static void free_places(struct live *l)
{
	for (size_t i = 0; i < l->n; i++) {
		trace_free(l->places[i].trace);
		netns_free(l->places[i].ns);
	}
	if (l->probe.fd >= 0)
		close(l->probe.fd);
}

/* Without nftables there is nothing to listen to, and the answer counts. */
static int listen_all(struct live *l, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		int r = trace_new(l->places[i].ns, wire_proto(l->probe.w), l->probe.id,
				  &l->places[i].trace, err);

		if (r && r != -EOPNOTSUPP)
			return r;
	}
	return 0;
}

static int check_ends(const struct why *w, struct err *err)
{
	if (w->from.kind == WHY_SUBNET || w->from.kind == WHY_THIS_HOST)
		return 0;
	return err_set(err, ERR_UNSUPPORTED, -EOPNOTSUPP,
		       "a probe can begin in a subnet or on the host, where byway can send");
}

int ops_why_live(struct ops *o, const struct why *w, struct why_live *ret, struct err *err)
{
	struct live l = {.probe = {.w = w, .fd = -1}, .ret = ret};
	int r = check_ends(w, err);

	*ret = (struct why_live){0};
	if (!r)
		r = add_places(o, &l, err);
	if (!r) {
		r = netns_call(l.places[0].ns, open_probe, &l.probe);
		if (r)
			err_errno(err, r, "cannot make a probe");
	}
	if (!r)
		r = listen_all(&l, err);
	if (!r) {
		int sent = send_probe(&l.probe);

		if (!sent)
			watch(&l);
		else
			read_all(&l);
	}
	free_places(&l);
	return r;
}
