// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tunnel's capture without its engine, for the network tests:
 *
 *   capture block|up|down [OPTION]...   what src/tunnel/capture.h does, in this namespace
 *   capture hold TUN QUEUES     makes the TUN device; prints each packet that comes out of it, and
 *                               answers a SYN with RST, so that whoever connects is refused at once
 *   capture observe IF          prints each packet that arrives there
 *   capture dial MARK ADDR PORT MS   connects, with this SO_MARK; status as `probe tcp`
 *   capture refusal ADDR PORT   sends a datagram, and prints the error that comes back by ICMP
 *   capture leave ADDR PORT     connects, sends 100 kB and closes at once
 *   capture udp-from PORT ADDR PORT  sends a datagram from this port
 *
 * A packet is a line "tcp DST PORT", "udp DST PORT", "icmp DST TYPE" or "other DST PROTOCOL"; one
 * that carries a mark (see probe.c) is "mark WORD".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "firewall/firewall.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/tun.h"
#include "tunnel/capture.h"

#define QUEUES_MAX 8

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "capture: %s: %s\n", what, strerror(errno));
	exit(3);
}

_Noreturn static void die_of(const struct err *err)
{
	fprintf(stderr, "capture: %s\n", err->msg);
	exit((int)err->kind);
}

/* ---- what came ---- */

struct seen {
	int family;
	uint8_t proto;
	const uint8_t *src, *dst, *l4;
	size_t len; /* of l4 */
};

static bool parse(const uint8_t *p, size_t len, struct seen *ret)
{
	bool v6 = len && p[0] >> 4 == 6;
	size_t header = v6 ? 40 : 20;

	if (len < header + 8 || (!v6 && p[0] != 0x45))
		return false;
	*ret = (struct seen){.family = v6 ? AF_INET6 : AF_INET,
			     .proto = v6 ? p[6] : p[9],
			     .src = p + (v6 ? 8 : 12),
			     .dst = p + (v6 ? 24 : 16),
			     .l4 = p + header,
			     .len = len - header};
	return true;
}

static bool print_mark(const uint8_t *data, size_t len)
{
	const uint8_t *word = memmem(data, len, "byway:", 6), *end;

	end = word ? memchr(word, ';', (size_t)(data + len - word)) : NULL;
	if (end)
		printf("mark %.*s\n", (int)(end - word - 6), (const char *)word + 6);
	return end;
}

static void print_packet(const uint8_t *p, size_t len)
{
	char dst[INET6_ADDRSTRLEN];
	struct seen s;

	if (!parse(p, len, &s) || print_mark(p, len))
		return;
	inet_ntop(s.family, s.dst, dst, sizeof(dst));
	if (s.proto == IPPROTO_TCP || s.proto == IPPROTO_UDP)
		printf("%s %s %u\n", s.proto == IPPROTO_TCP ? "tcp" : "udp", dst,
		       (unsigned int)s.l4[2] << 8 | s.l4[3]);
	else if (s.proto == IPPROTO_ICMP || s.proto == IPPROTO_ICMPV6)
		printf("icmp %s %u\n", dst, s.l4[0]);
	else
		printf("other %s %u\n", dst, s.proto);
}

/* ---- the TUN's holder ---- */

static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return n;
}

static void put_sum(uint8_t *at, uint32_t n)
{
	n = (n & 0xffff) + (n >> 16);
	n = (n & 0xffff) + (n >> 16);
	at[0] = (uint8_t)(~n >> 8);
	at[1] = (uint8_t)~n;
}

/* The SYN becomes an RST, ACK the other way (RFC 9293 3.10.7.1). */
static size_t make_reset(const uint8_t *packet, const struct seen *s, uint8_t *to)
{
	size_t n = ip_len(s->family), header = s->family == AF_INET6 ? 40 : 20;
	uint8_t *tcp = to + header;
	uint32_t ack;

	memcpy(to, packet, header);
	memcpy(to + (s->src - packet), s->dst, n);
	memcpy(to + (s->dst - packet), s->src, n);
	memset(tcp, 0, 20);
	memcpy(tcp, s->l4 + 2, 2);
	memcpy(tcp + 2, s->l4, 2);
	memcpy(&ack, s->l4 + 4, 4);
	ack = htonl(ntohl(ack) + 1);
	memcpy(tcp + 8, &ack, 4);
	tcp[12] = 0x50;
	tcp[13] = 0x14;
	put_sum(tcp + 16, sum(to + (s->src - packet), 2 * n) + IPPROTO_TCP + 20 + sum(tcp, 20));
	to[s->family == AF_INET6 ? 4 : 2] = 0;
	to[s->family == AF_INET6 ? 5 : 3] = s->family == AF_INET6 ? 20 : 40;
	if (s->family == AF_INET) {
		to[10] = to[11] = 0;
		put_sum(to + 10, sum(to, 20));
	}
	return header + 20;
}

static void answer(int fd, const uint8_t *packet, size_t len)
{
	uint8_t reply[TUN_HEADER + 60] = {0};
	struct seen s;
	size_t n;

	if (!parse(packet, len, &s) || s.proto != IPPROTO_TCP || s.len < 20 || s.l4[13] != 0x02)
		return;
	n = make_reset(packet, &s, reply + TUN_HEADER);
	if (write(fd, reply, TUN_HEADER + n) < 0)
		die("write to the TUN");
}

static int cmd_hold(char **argv)
{
	struct pollfd p[QUEUES_MAX];
	int fds[QUEUES_MAX];
	size_t n = (size_t)atoi(argv[1]);
	uint8_t data[TUN_HEADER + 65536];
	_netns_ struct netns *ns = NULL;
	struct err err = {0};

	if (n < 1 || n > QUEUES_MAX)
		return 3;
	if (netns_open(NULL, NULL, &ns, &err) || tun_open(ns, argv[0], n, fds, &err))
		die_of(&err);
	for (size_t i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	puts("ready");
	while (poll(p, n, -1) > 0) {
		for (size_t i = 0; i < n; i++) {
			ssize_t len = p[i].revents ? read(p[i].fd, data, sizeof(data)) : 0;

			if (len < TUN_HEADER)
				continue;
			print_packet(data + TUN_HEADER, (size_t)len - TUN_HEADER);
			answer(p[i].fd, data + TUN_HEADER, (size_t)len - TUN_HEADER);
		}
	}
	return 3;
}

/* ---- the observer ---- */

static int cmd_observe(char **argv)
{
	struct sockaddr_ll on = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(argv[0])};
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t data[65536];

	if (fd < 0 || !on.sll_ifindex || bind(fd, (struct sockaddr *)&on, sizeof(on)))
		die(argv[0]);
	puts("ready");
	for (;;) {
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);

		if (n < 0 && errno == ENETDOWN)
			continue; /* said once; the socket works again when the device does */
		if (n < 0)
			die("recvfrom");
		if (from.sll_pkttype != PACKET_OUTGOING)
			print_packet(data, (size_t)n);
	}
}

static struct sockaddr_storage address(const char *addr, const char *port)
{
	struct sockaddr_storage ss = {.ss_family = strchr(addr, ':') ? AF_INET6 : AF_INET};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;
	bool is_v4 = ss.ss_family == AF_INET;

	*(is_v4 ? &v4->sin_port : &v6->sin6_port) = htons((uint16_t)atoi(port));
	if (inet_pton(ss.ss_family, addr, is_v4 ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr) !=
	    1)
		die(addr);
	return ss;
}

static int cmd_udp_from(char **argv)
{
	struct sockaddr_storage to = address(argv[1], argv[2]);
	struct sockaddr_storage from =
		address(to.ss_family == AF_INET6 ? "::" : "0.0.0.0", argv[0]);
	int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)))
		die("bind");
	return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? 2 : 0;
}

static int cmd_dial(char **argv)
{
	uint32_t mark = (uint32_t)strtoul(argv[0], NULL, 0);
	struct sockaddr_storage to = address(argv[1], argv[2]);
	struct pollfd p = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	int error = 0;

	p.fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p.fd < 0 || setsockopt(p.fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		die("SO_MARK");
	if (connect(p.fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return 2;
	if (poll(&p, 1, atoi(argv[3])) < 1)
		return 1;
	return getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error ? 2 : 0;
}

/* ---- the capture itself ---- */

static const struct option options[] = {
	{"tun", 1, NULL, 't'},      {"address", 1, NULL, 'a'},    {"upstream", 1, NULL, 'u'},
	{"resolver", 1, NULL, 'r'}, {"exclude", 1, NULL, 'x'},    {"include", 1, NULL, 'i'},
	{"uid", 1, NULL, 'U'},      {"gid", 1, NULL, 'G'},        {"datagrams", 0, NULL, 'D'},
	{"cgroup", 1, NULL, 'g'},   {"dns-tunnel", 0, NULL, 'd'}, {"no-kill-switch", 0, NULL, 'k'},
	{"verbose", 0, NULL, 'v'},  {"dry-run", 0, NULL, 'n'},    {0},
};

static void add_ip(struct ip list[], size_t *n, struct err *err)
{
	if (ip_parse(optarg, &list[(*n)++], err))
		die_of(err);
}

static void add_cidr(struct cidr list[], size_t *n, struct err *err)
{
	if (cidr_parse(optarg, &list[(*n)++], err))
		die_of(err);
}

static void add_address(struct capture *c, struct err *err)
{
	struct cidr addr;

	if (cidr_parse(optarg, &addr, err))
		die_of(err);
	*(addr.addr.family == AF_INET6 ? &c->tun_addr6 : &c->tun_addr4) = addr;
}

static void take_option(int opt, struct capture *c, struct oplog *log, struct err *err)
{
	switch (opt) {
	case 't':
		str_copy(c->tun, sizeof(c->tun), optarg);
		break;
	case 'a':
		add_address(c, err);
		break;
	case 'u':
		add_ip(c->upstreams, &c->n_upstreams, err);
		break;
	case 'r':
		add_ip(c->resolvers, &c->n_resolvers, err);
		break;
	case 'x':
		add_cidr(c->exclude, &c->n_exclude, err);
		break;
	case 'i':
		add_cidr(c->include, &c->n_include, err);
		break;
	case 'U':
		c->exclude_uids[c->n_exclude_uids++] = (uint32_t)atoi(optarg);
		break;
	case 'G':
		c->exclude_gid = (uint32_t)atoi(optarg);
		break;
	case 'D':
		c->datagrams = true;
		break;
	case 'g':
		if (cgroup_find(optarg, &c->cgroups[c->n_cgroups++], err))
			die_of(err);
		break;
	case 'd':
		c->dns = CAPTURE_DNS_TUNNEL;
		break;
	case 'k':
		c->kill_switch = false;
		break;
	case 'v':
		log->echo = true;
		break;
	case 'n':
		log->dry_run = log->echo = true;
		break;
	default:
		exit(2);
	}
}

static int act(int argc, char **argv)
{
	struct capture c = {.tun = "byway0", .mtu_bytes = 1500, .kill_switch = true};
	const char *backend = getenv("BYWAY_FIREWALL");
	enum fw_backend_id id = FW_AUTO;
	_firewall_ struct firewall *fw = NULL;
	_netns_ struct netns *ns = NULL;
	struct oplog log = {0};
	struct err err = {0};
	int opt, r;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0)
		take_option(opt, &c, &log, &err);
	r = backend ? firewall_backend_parse(backend, &id, &err) : 0;
	if (!r)
		r = netns_open(NULL, &log, &ns, &err);
	if (!r)
		r = firewall_new(id, ns, &fw, &err);
	if (!r && !strcmp(argv[0], "block"))
		r = capture_block(&c, ns, fw, &err);
	else if (!r && !strcmp(argv[0], "up"))
		r = capture_up(&c, ns, &err);
	else if (!r)
		r = capture_down(ns, fw, &err);
	oplog_done(&log);
	if (r)
		die_of(&err);
	return 0;
}

static int cmd_refusal(char **argv)
{
	struct sockaddr_storage to = address(argv[0], argv[1]);
	struct pollfd p = {.fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	socklen_t len = sizeof(int);
	int error = 0;

	if (p.fd < 0 || connect(p.fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	(void)!send(p.fd, "x", 1,
		    0); /* EPERM says that it was not sent; the reason comes by ICMP */
	if (poll(&p, 1, 15000) < 1 || getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return 1;
	puts(strerror(error));
	return 0;
}

/* The kernel goes on sending what a closed socket has left. */
static int cmd_leave(char **argv)
{
	struct sockaddr_storage to = address(argv[0], argv[1]);
	static const char data[100000];
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 2;
	if (send(fd, data, sizeof(data), MSG_NOSIGNAL) != (ssize_t)sizeof(data))
		return 1;
	close(fd);
	return 0;
}

static const struct {
	const char *name;
	int n_args;
	int (*run)(char **argv);
} commands[] = {
	{"hold", 2, cmd_hold},   {"observe", 1, cmd_observe}, {"dial", 4, cmd_dial},
	{"leave", 2, cmd_leave}, {"refusal", 2, cmd_refusal}, {"udp-from", 3, cmd_udp_from},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name) &&
		    argc - 2 == commands[i].n_args)
			return commands[i].run(argv + 2);
	if (argc > 1 &&
	    (!strcmp(argv[1], "block") || !strcmp(argv[1], "up") || !strcmp(argv[1], "down")))
		return act(argc - 1, argv + 1);
	fprintf(stderr, "capture: unknown command or wrong number of arguments\n");
	return 3;
}
