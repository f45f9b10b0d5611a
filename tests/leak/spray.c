// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everything that a namespace may try to send, at once, and what arrives on devices.
 *
 *   spray MS <LIST     sends what each line "KIND SRC DST PORT" says; for MS milliseconds, prints
 *                      the lines that are answered
 *   spray loop MS <LIST   the same again and again, until killed; prints "round" for each
 *   spray watch        prints each frame that arrives on any device, as "DEVICE PROTOCOL SRC DST
 *                      PORT", or "DEVICE frame ETHERTYPE - -"; one with a mark (probe.c) as
 *                      "DEVICE mark WORD"
 *
 * SRC is "-" but for those that lie. KINDs:
 *
 *   tcp, udp, icmp     from a socket, by the routes
 *   each               UDP, from a socket bound to each device in turn
 *   raw                UDP with that source, by the routes (raw(7))
 *   packet             the same, by each device in turn, to every Ethernet address (packet(7))
 *
 * What cannot be sent is no error: whether it left is the observer's to say.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROBES_MAX 128
#define LO 1

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "spray: %s: %s\n", what, strerror(errno));
	exit(3);
}

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct probe {
	char line[160];
	const struct kind *kind;
	union sockaddr_any src, dst;
	uint16_t port;
	int fd; /* on which an answer would come, or -1 */
};

struct kind {
	const char *name;
	void (*send)(struct probe *p);
	bool (*answered)(const struct probe *p);
};

/* ---- by the routes ---- */

static socklen_t size_of(const union sockaddr_any *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

static void connect_it(struct probe *p, int type, int protocol)
{
	p->fd = socket(p->dst.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (p->fd < 0)
		die("socket");
	if (connect(p->fd, &p->dst.sa, size_of(&p->dst)) && errno != EINPROGRESS) {
		close(p->fd);
		p->fd = -1;
	}
}

static void send_tcp(struct probe *p)
{
	connect_it(p, SOCK_STREAM, 0);
}

/* A connection that was refused is writable, too. */
static bool tcp_answered(const struct probe *p)
{
	struct pollfd ready = {.fd = p->fd, .events = POLLOUT};

	return poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT;
}

static void send_udp(struct probe *p)
{
	connect_it(p, SOCK_DGRAM, 0);
	if (p->fd >= 0)
		(void)!send(p->fd, "ping", 4, 0);
}

static bool udp_answered(const struct probe *p)
{
	char data[512];

	return recv(p->fd, data, sizeof(data), 0) > 0;
}

static uint16_t checksum(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *b = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void send_icmp(struct probe *p)
{
	bool v6 = p->dst.sa.sa_family == AF_INET6;
	uint8_t echo[8] = {v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO};
	uint16_t sum;

	p->dst.v4.sin_port = 0; /* at the same place in both */
	connect_it(p, SOCK_RAW, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	echo[4] = 0xb7;
	if (!v6) { /* of ICMPv6 the kernel fills it in */
		sum = checksum(0, echo, sizeof(echo));
		memcpy(echo + 2, &sum, sizeof(sum));
	}
	if (p->fd >= 0)
		(void)!send(p->fd, echo, sizeof(echo), 0);
}

/* Connected, it hears that address alone; from it, errors may come, too. */
static bool icmp_answered(const struct probe *p)
{
	bool v6 = p->dst.sa.sa_family == AF_INET6;
	uint8_t data[512];
	ssize_t n;

	while ((n = recv(p->fd, data, sizeof(data), 0)) > 0)
		if (v6 ? data[0] == ICMP6_ECHO_REPLY : n > 20 && data[20] == ICMP_ECHOREPLY)
			return true;
	return false;
}

/* ---- by each device ---- */

static void for_each_device(struct probe *p,
			    void (*send)(struct probe *p, const char *name, unsigned int index))
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (i->if_index != LO)
			send(p, i->if_name, i->if_index);
	if_freenameindex(all);
}

static void send_bound(struct probe *p, const char *name, unsigned int index)
{
	int one = 1, fd = socket(p->dst.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)))
		die("socket");
	if (p->dst.sa.sa_family == AF_INET6)
		p->dst.v6.sin6_scope_id = index;
	/* The device may be gone by now. */
	if (!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name)))
		(void)!sendto(fd, "ping", 4, MSG_DONTWAIT, &p->dst.sa, size_of(&p->dst));
	close(fd);
}

static void send_each(struct probe *p)
{
	for_each_device(p, send_bound);
}

/* ---- lies ---- */

struct datagram {
	uint8_t data[128];
	size_t len;
};

static struct datagram make4(const struct probe *p, struct udphdr udp)
{
	struct datagram d = {.len = sizeof(struct iphdr) + sizeof(udp)};
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};

	ip.tot_len = htons((uint16_t)d.len);
	ip.saddr = p->src.v4.sin_addr.s_addr;
	ip.daddr = p->dst.v4.sin_addr.s_addr;
	ip.check = checksum(0, &ip, sizeof(ip));
	memcpy(d.data, &ip, sizeof(ip));
	memcpy(d.data + sizeof(ip), &udp, sizeof(udp)); /* 0: no checksum */
	return d;
}

static struct datagram make6(const struct probe *p, struct udphdr udp)
{
	struct datagram d = {.len = sizeof(struct ip6_hdr) + sizeof(udp)};
	struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = IPPROTO_UDP, .ip6_hlim = 64};
	uint8_t pseudo[32 + sizeof(udp)];

	ip.ip6_plen = htons(sizeof(udp));
	ip.ip6_src = p->src.v6.sin6_addr;
	ip.ip6_dst = p->dst.v6.sin6_addr;
	memcpy(pseudo, &ip.ip6_src, 32);
	memcpy(pseudo + 32, &udp, sizeof(udp));
	udp.check = checksum(IPPROTO_UDP + sizeof(udp), pseudo, sizeof(pseudo));
	memcpy(d.data, &ip, sizeof(ip));
	memcpy(d.data + sizeof(ip), &udp, sizeof(udp));
	return d;
}

static struct datagram make(const struct probe *p)
{
	struct udphdr udp = {.source = htons(9), .dest = htons(p->port), .len = htons(sizeof(udp))};

	return p->dst.sa.sa_family == AF_INET6 ? make6(p, udp) : make4(p, udp);
}

static void send_raw(struct probe *p)
{
	struct datagram d = make(p);
	int fd = socket(p->dst.sa.sa_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	if (fd < 0)
		die("socket");
	p->dst.v4.sin_port = 0;
	(void)!sendto(fd, d.data, d.len, MSG_DONTWAIT, &p->dst.sa, size_of(&p->dst));
	close(fd);
}

static void send_frame(struct probe *p, const char *name, unsigned int index)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)index,
				 .sll_halen = ETH_ALEN,
				 .sll_addr = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	struct datagram d = make(p);
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)name;
	if (fd < 0)
		die("socket");
	to.sll_protocol = htons(p->dst.sa.sa_family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	(void)!sendto(fd, d.data, d.len, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	close(fd);
}

static void send_packet(struct probe *p)
{
	for_each_device(p, send_frame);
}

/* ---- all of it ---- */

static const struct kind kinds[] = {
	{"tcp", send_tcp, tcp_answered},
	{"udp", send_udp, udp_answered},
	{"icmp", send_icmp, icmp_answered},
	{"each", send_each, NULL},
	{"raw", send_raw, NULL},
	{"packet", send_packet, NULL},
};

static union sockaddr_any parse_address(const char *text, uint16_t port)
{
	union sockaddr_any a = {.sa.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET};

	a.v4.sin_port = htons(port); /* at the same place in both */
	if (inet_pton(a.sa.sa_family, text,
		      a.sa.sa_family == AF_INET6 ? (void *)&a.v6.sin6_addr
						 : (void *)&a.v4.sin_addr) != 1)
		die(text);
	return a;
}

static void parse_probe(struct probe *p)
{
	char kind[16], src[64], dst[64];

	if (sscanf(p->line, "%15s %63s %63s %hu", kind, src, dst, &p->port) != 4)
		die(p->line);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, kind))
			p->kind = &kinds[i];
	if (!p->kind)
		die(kind);
	p->dst = parse_address(dst, p->port);
	if (*src != '-')
		p->src = parse_address(src, 0);
}

static size_t read_probes(struct probe list[PROBES_MAX])
{
	size_t n = 0;

	for (; n < PROBES_MAX && fgets(list[n].line, sizeof(list[n].line), stdin); n++) {
		list[n].line[strcspn(list[n].line, "\n")] = '\0';
		parse_probe(&list[n]);
	}
	if (n == PROBES_MAX)
		die("too many probes");
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* How many still wait. */
static size_t look_for_answers(struct probe *list, size_t n, bool tell)
{
	size_t waiting = 0;

	for (struct probe *p = list; p < list + n; p++) {
		if (p->fd < 0)
			continue;
		if (!p->kind->answered(p)) {
			waiting++;
			continue;
		}
		if (tell)
			puts(p->line);
		close(p->fd);
		p->fd = -1;
	}
	return waiting;
}

static void spray(struct probe *list, size_t n, uint64_t ms, bool tell)
{
	uint64_t end = now_ms() + ms;

	for (size_t i = 0; i < n; i++) {
		list[i].fd = -1;
		list[i].dst.v4.sin_port = htons(list[i].port);
		list[i].kind->send(&list[i]);
	}
	while (now_ms() < end && (look_for_answers(list, n, tell) || !tell))
		poll(NULL, 0, 5);
	for (size_t i = 0; i < n; i++)
		if (list[i].fd >= 0)
			close(list[i].fd);
}

/* ---- the observer ---- */

struct packet {
	int family;
	uint8_t protocol;
	const uint8_t *src, *dst, *upper;
};

static bool parse_packet(const uint8_t *p, size_t len, struct packet *ret)
{
	bool v6 = len && p[0] >> 4 == 6;
	size_t header = v6 ? 40 : 20;

	if (len < header + 4 || (!v6 && p[0] >> 4 != 4))
		return false;
	*ret = (struct packet){.family = v6 ? AF_INET6 : AF_INET,
			       .protocol = v6 ? p[6] : p[9],
			       .src = p + (v6 ? 8 : 12),
			       .dst = p + (v6 ? 24 : 16),
			       .upper = p + (v6 ? header : (p[0] & 15u) * 4u)};
	return v6 || ret->upper + 4 <= p + len;
}

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return "icmp";
	default:
		return "other";
	}
}

/* ICMP's port is its type; of the rest, the protocol's number. */
static unsigned int port_of(const struct packet *p)
{
	if (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP)
		return (unsigned int)p->upper[2] << 8 | p->upper[3];
	return p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6 ? p->upper[0]
									    : p->protocol;
}

static bool tell_mark(const char *device, const uint8_t *data, size_t len)
{
	const uint8_t *word = memmem(data, len, "byway:", 6), *end;

	end = word ? memchr(word, ';', (size_t)(data + len - word)) : NULL;
	if (end)
		printf("%s mark %.*s\n", device, (int)(end - word - 6), (const char *)word + 6);
	return end;
}

static void tell(const struct sockaddr_ll *from, const uint8_t *data, size_t len)
{
	char device[IF_NAMESIZE] = "gone", src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	struct packet p;

	if_indextoname((unsigned int)from->sll_ifindex, device);
	if (tell_mark(device, data, len))
		return;
	if (!parse_packet(data, len, &p)) {
		printf("%s frame %04x - -\n", device, ntohs(from->sll_protocol));
		return;
	}
	printf("%s %s %s %s %u\n", device, protocol_name(p.protocol),
	       inet_ntop(p.family, p.src, src, sizeof(src)),
	       inet_ntop(p.family, p.dst, dst, sizeof(dst)), port_of(&p));
}

static int watch(void)
{
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int size = 8 << 20, fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static uint8_t data[65536];

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&on, sizeof(on)))
		die("packet(7)");
	puts("ready");
	for (;;) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

		if (n < 0 && errno != ENETDOWN)
			die("recvfrom");
		if (n >= 0 && from.sll_pkttype != PACKET_OUTGOING)
			tell(&from, data, (size_t)n);
	}
}

int main(int argc, char **argv)
{
	static struct probe list[PROBES_MAX];
	size_t n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "watch"))
		return watch();
	if (argc < 2)
		return 3;
	n = read_probes(list);
	if (argc == 2) {
		spray(list, n, strtoul(argv[1], NULL, 10), true);
		return 0;
	}
	for (;;) {
		puts("round");
		spray(list, n, strtoul(argv[2], NULL, 10), false);
	}
}
