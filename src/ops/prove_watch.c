// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The observer: a packet socket for each interface, which sees what the host sends there after
 * every rule, with what NAT made of it. A socket sees nothing of what it sent itself: the controls
 * have another.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "ops/prove_impl.h"
#include "vpc/names.h"

#define SNAP 2048u
#define RECEIVE_BUFFER (8 << 20)
#define TICK_MS 50
#define AT_ONCE 4096 /* packets of one interface, before others are looked at */
#define DNS_PORT 53

#define IP4_HEADER 20u
#define IP6_HEADER 40u
#define ARP_TARGET 24u /* of ARP for IPv4 over Ethernet (RFC 826) */
#define ND_SOLICIT 135 /* RFC 4861 4.3 */
/* From netinet/ip_icmp.h and netinet/icmp6.h, which have a struct ip of their own. */
#define ICMP_ECHO 8
#define ICMP6_ECHO_REQUEST 128

/* ---- Recognising ---- */

static struct ip read_ip(int family, const uint8_t *at)
{
	struct ip ip = {.family = family};

	memcpy(ip.bytes, at, ip_len(family));
	return ip;
}

static bool has_number(const struct prove_token *t, unsigned int no, const struct ip *to)
{
	struct ip its = prove_address(t, no, to->family);

	return ip_equal(&its, to);
}

/* The probe that is sent there; or from there, which is an answer to it. */
static int by_address(const struct prove_token *t, const struct ip *to)
{
	for (unsigned int no = 0; no < PROVE_NUMBERS; no++)
		if (has_number(t, no, to) ||
		    (no < PROVE_PROBES_MAX && has_number(t, PROVE_NUMBERS + no, to)))
			return (int)no;
	return -1;
}

static int by_mark(const struct prove_token *t, const uint8_t *data, size_t len)
{
	const uint8_t *at = memmem(data, len, t->text, PROVE_TOKEN_LEN);
	const uint8_t *digits;

	if (!at || (size_t)(data + len - at) < PROVE_MARK_LEN)
		return -1;
	digits = at + PROVE_TOKEN_LEN;
	if (digits[0] < '0' || digits[0] > '9' || digits[1] < '0' || digits[1] > '9')
		return -1;
	return (digits[0] - '0') * 10 + digits[1] - '0';
}

/* A tunnel may say in clear to whom it wants a stream, and even which name it asks for: what it is
 * made with is TCP to another port, and no leak. Nor is an error or an answer that quotes a probe.
 */
static bool may_have_mark(uint8_t proto, const uint8_t *payload, size_t len)
{
	switch (proto) {
	case IPPROTO_TCP:
		return len >= 4 && (payload[2] << 8 | payload[3]) == DNS_PORT;
	case IPPROTO_ICMP:
		return len > 0 && payload[0] == ICMP_ECHO;
	case IPPROTO_ICMPV6:
		return len > 0 && payload[0] == ICMP6_ECHO_REQUEST;
	default:
		return true;
	}
}

static int recognise_ip(const struct prove_token *t, int family, const uint8_t *p, size_t len,
			struct ip *ret_source, bool *ret_asked_only)
{
	bool v6 = family == AF_INET6;
	size_t header = v6 ? IP6_HEADER : (p[0] & 15u) * 4u;
	struct ip to, target;
	uint8_t proto;
	int no;

	if (header < IP4_HEADER || len < header)
		return -1;
	to = read_ip(family, p + (v6 ? 24 : 16));
	*ret_source = read_ip(family, p + (v6 ? 8 : 12));
	proto = p[v6 ? 6 : 9];
	no = by_address(t, &to);
	if (no < 0 && v6 && proto == IPPROTO_ICMPV6 && len >= IP6_HEADER + 24 &&
	    p[IP6_HEADER] == ND_SOLICIT) {
		target = read_ip(family, p + IP6_HEADER + 8);
		*ret_asked_only = true;
		return by_address(t, &target);
	}
	if (no >= 0 || !may_have_mark(proto, p + header, len - header))
		return no;
	return by_mark(t, p + header, len - header);
}

int observer_recognise(const struct prove_token *t, uint16_t protocol, const uint8_t *packet,
		       size_t len, struct ip *ret_source, bool *ret_asked_only)
{
	struct ip target;

	*ret_source = (struct ip){0};
	*ret_asked_only = false;
	if (protocol == ETH_P_IP && len >= IP4_HEADER)
		return recognise_ip(t, AF_INET, packet, len, ret_source, ret_asked_only);
	if (protocol == ETH_P_IPV6 && len >= IP6_HEADER)
		return recognise_ip(t, AF_INET6, packet, len, ret_source, ret_asked_only);
	if (protocol == ETH_P_ARP && len >= ARP_TARGET + 4) {
		*ret_asked_only = true;
		target = read_ip(AF_INET, packet + ARP_TARGET);
		return by_address(t, &target);
	}
	return by_mark(t, packet, len);
}

/* ---- Sockets ---- */

/* What comes in is no matter. */
static int filter_outgoing(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SNAP),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* Without link headers: interfaces have all sorts of them, or none. */
static int open_watcher(void *arg)
{
	struct watcher *w = arg;
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = w->index};
	int size = RECEIVE_BUFFER;

	w->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0)
		return -errno;
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (filter_outgoing(w->fd) || bind(w->fd, (struct sockaddr *)&at, sizeof(at)))
		return -errno;
	return 0;
}

struct opening {
	struct observer *o;
	struct netns *ns;
	bool outside;
	bool ours_too;
	int failed;
};

static bool is_ours(const struct link *l)
{
	return (l->group & GROUP_MASK) == GROUP_OURS ||
	       !strncmp(l->alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX));
}

static int add_watcher(const struct link *l, void *arg)
{
	struct opening *a = arg;
	struct observer *o = a->o;
	bool outside = a->outside && !is_ours(l);
	struct watcher *w;

	if (!strcmp(l->name, "lo") || !l->up || !l->carrier || (!outside && !a->ours_too))
		return 0;
	o->watchers = xrealloc(o->watchers, o->n + 1, sizeof(*o->watchers));
	w = &o->watchers[o->n++];
	*w = (struct watcher){.index = l->index, .fd = -1, .outside = outside, .mac = l->mac};
	str_copy(w->name, sizeof(w->name), l->name);
	return 0;
}

static int open_each(struct observer *o, size_t from, struct netns *ns, struct err *err)
{
	for (size_t i = from; i < o->n; i++) {
		int r = netns_call(ns, open_watcher, &o->watchers[i]);

		if (r == -ENODEV) /* it has gone by now, and nothing can leave by it */
			o->watchers[i].outside = false;
		else if (r)
			return err_errno(err, r, "cannot watch %s", o->watchers[i].name);
	}
	return 0;
}

static int open_in(struct opening *a, struct err *err)
{
	size_t from = a->o->n;
	int r = link_each(a->ns, add_watcher, a, err);

	return r ? r : open_each(a->o, from, a->ns, err);
}

int observer_open(struct observer *o, const struct prove_token *token, struct netns *host,
		  struct netns *inside, struct err *err)
{
	struct opening of_host = {.o = o, .ns = host, .outside = true, .ours_too = host == inside};
	struct opening of_inside = {.o = o, .ns = inside, .ours_too = true};
	int r;

	*o = (struct observer){.token = token};
	r = open_in(&of_host, err);
	if (!r && host != inside)
		r = open_in(&of_inside, err);
	return r;
}

void observer_done(struct observer *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->watchers[i].fd >= 0)
			close(o->watchers[i].fd);
	free(o->watchers);
	free(o->sightings);
	*o = (struct observer){0};
}

/* ---- Watching ---- */

static void note(struct observer *o, const struct sighting *new)
{
	struct sighting *s = o->sightings;

	o->watchers[new->watcher].seen[new->no] = true;
	for (size_t i = 0; i < o->n_sightings; i++, s++) {
		if (s->no == new->no && s->watcher == new->watcher &&
		    s->asked_only == new->asked_only &&ip_equal(&s->source, &new->source)) {
			s->packets++;
			return;
		}
	}
	o->sightings = xrealloc(o->sightings, o->n_sightings + 1, sizeof(*o->sightings));
	o->sightings[o->n_sightings] = *new;
	o->sightings[o->n_sightings++].packets = 1;
}

static void drain(struct observer *o, size_t which)
{
	struct watcher *w = &o->watchers[which];
	uint8_t packet[SNAP];

	for (int i = 0; i < AT_ONCE; i++) {
		struct sighting s = {.watcher = which};
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t n =
			recvfrom(w->fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size);
		int no;

		if (n < 0)
			return;
		no = observer_recognise(o->token, ntohs(from.sll_protocol), packet, (size_t)n,
					&s.source, &s.asked_only);
		if (no < 0)
			continue;
		s.no = (unsigned int)no;
		note(o, &s);
	}
}

static void count_lost(struct watcher *w)
{
	struct tpacket_stats stats;
	socklen_t size = sizeof(stats);

	if (!getsockopt(w->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
		w->lost += stats.tp_drops;
}

unsigned int observer_controls_seen(const struct watcher *w, unsigned int controls)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PROVE_CONTROLS; i++)
		n += w->seen[controls + i];
	return n;
}

static bool all_controls_seen(const struct observer *o, unsigned int controls)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->watchers[i].outside &&
		    observer_controls_seen(&o->watchers[i], controls) < PROVE_CONTROLS)
			return false;
	return true;
}

void observer_watch(struct observer *o, unsigned int controls, unsigned int timeout_ms,
		    void (*again)(void *arg), void *arg)
{
	struct pollfd *p = xcalloc(o->n + 1, sizeof(*p));
	uint64_t until = clock_ms() + timeout_ms;

	for (size_t i = 0; i < o->n; i++)
		p[i] = (struct pollfd){.fd = o->watchers[i].fd, .events = POLLIN};
	do {
		poll(p, o->n, TICK_MS);
		for (size_t i = 0; i < o->n; i++)
			drain(o, i);
		if (again)
			again(arg);
	} while (clock_ms() < until && !(controls && all_controls_seen(o, controls)));
	for (size_t i = 0; i < o->n; i++)
		count_lost(&o->watchers[i]);
	free(p);
}

/* ---- Controls ---- */

/* To the interface's own address: nobody else on the wire takes it for his. */
static void send_control(const struct observer *o, const struct watcher *w, int fd,
			 unsigned int kind, unsigned int controls)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = w->index,
				 .sll_halen = sizeof(w->mac.bytes)};
	uint8_t packet[PROVE_PACKET_MAX];
	int family;
	size_t len = control_packet(o->token, kind, controls + kind, packet, &family);

	memcpy(to.sll_addr, w->mac.bytes, sizeof(w->mac.bytes));
	to.sll_protocol = htons(family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	/* What fails is not seen, which counts. */
	(void)!sendto(fd, packet, len, 0, (struct sockaddr *)&to, sizeof(to));
}

/* The calling process's namespace is the host's. */
void observer_control(struct observer *o, unsigned int controls)
{
	_close_ int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; fd >= 0 && i < o->n; i++)
		for (unsigned int kind = 0; o->watchers[i].outside && kind < PROVE_CONTROLS; kind++)
			send_control(o, &o->watchers[i], fd, kind, controls);
}
