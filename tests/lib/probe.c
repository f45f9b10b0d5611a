// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the network tests send and look for.
 *
 * Frames made here carry a mark, "byway:WORD;", in their payload. An observer on the far side prints
 * each mark it sees. A test sends the frame in question and then one that is allowed for sure: frames
 * of one path arrive in order, so when the second mark is there and the first is not, the first was
 * dropped. No test has to wait for nothing to happen.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RESEND_MS 1000
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(3);
}

/* ---- connections ---- */

/* 0 for a connected socket in *fd, 1 when nothing answered in time, 2 when somebody said no. */
static int dial(const char *addr, const char *port, int type, int timeout_ms, int *fd)
{
	struct addrinfo hints = {.ai_socktype = type, .ai_flags = AI_NUMERICHOST}, *ai;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getaddrinfo(addr, port, &hints, &ai))
		die(addr);
	*fd = socket(ai->ai_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		die("socket");
	if (connect(*fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS) {
		freeaddrinfo(ai);
		return 2;
	}
	freeaddrinfo(ai);
	struct pollfd p = {.fd = *fd, .events = POLLOUT};
	if (poll(&p, 1, timeout_ms) < 1)
		return 1;
	if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
		return 2;
	return 0;
}

/* Sends the text and waits for any answer. The same results as dial(). */
static int ask(int fd, const char *text, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char answer[512];

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return 2;
	if (poll(&p, 1, timeout_ms) < 1)
		return 1;
	return recv(fd, answer, sizeof(answer), 0) > 0 ? 0 : 2;
}

/* All links of a machine share a queue for each processor, so that a datagram may be lost when others are
 * busy: it is sent again, as TCP does by itself. */
static int ask_again(int fd, const char *text, int timeout_ms)
{
	int r = 1;

	for (; timeout_ms > 0 && r == 1; timeout_ms -= RESEND_MS)
		r = ask(fd, text, timeout_ms < RESEND_MS ? timeout_ms : RESEND_MS);
	return r;
}

static int cmd_tcp(char **argv)
{
	int fd;

	return dial(argv[0], argv[1], SOCK_STREAM, atoi(argv[2]), &fd);
}

static int cmd_udp(char **argv)
{
	int fd, r = dial(argv[0], argv[1], SOCK_DGRAM, atoi(argv[2]), &fd);

	return r ? r : ask_again(fd, "ping", atoi(argv[2]));
}

/* Holds one connection; each line of stdin, how many milliseconds to wait, is sent, and the answer is "ok"
 * or "cut". */
static int flow(const char *addr, const char *port, int type)
{
	char line[256];
	int fd, r = dial(addr, port, type, 15000, &fd);

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts(r ? "unreachable" : "open");
	while (!r && fgets(line, sizeof(line), stdin))
		puts(ask(fd, line, atoi(line)) ? "cut" : "ok");
	return r;
}

static int cmd_flow(char **argv)
{
	return flow(argv[0], argv[1], SOCK_STREAM);
}

static int cmd_udp_flow(char **argv)
{
	return flow(argv[0], argv[1], SOCK_DGRAM);
}

static int listener(const char *port, int type)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int one = 1, fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 128))
		die("listen");
	return fd;
}

static void echo_stream(int fd)
{
	char data[4096];
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), 0)) > 0)
		if (send(fd, data, (size_t)n, MSG_NOSIGNAL) < 0)
			break;
	exit(0);
}

/* The answer comes from the address that was asked: the control message goes back as it came. */
static void echo_datagram(int fd)
{
	struct sockaddr_storage from;
	char data[2048], control[128];
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
			   .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, 0);

	if (n < 0)
		return;
	iov.iov_len = (size_t)n;
	sendmsg(fd, &m, 0);
}

/* Answers on TCP and UDP, IPv4 and IPv6, with what it was sent. */
static int cmd_echo(char **argv)
{
	struct pollfd p[2] = {{.fd = listener(argv[0], SOCK_STREAM), .events = POLLIN},
			      {.fd = listener(argv[0], SOCK_DGRAM), .events = POLLIN}};
	pid_t me = getpid();
	int one = 1;

	if (setsockopt(p[1].fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)))
		die("IPV6_RECVPKTINFO");
	signal(SIGCHLD, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while (poll(p, 2, -1) > 0) {
		if (p[1].revents)
			echo_datagram(p[1].fd);
		if (!p[0].revents)
			continue;
		int fd = accept(p[0].fd, NULL, NULL);
		if (fd >= 0 && !fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != me) /* it died before */
				exit(0);
			echo_stream(fd);
		}
		close(fd);
	}
	return 0;
}

/* Ignores SIGTERM, so that only SIGKILL ends it. */
static int cmd_stubborn(char **argv)
{
	(void)argv;
	signal(SIGTERM, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while (pause())
		;
	return 0;
}

/* ---- frames ---- */

struct frame {
	uint8_t data[512];
	size_t len;
};

static void put(struct frame *f, const void *data, size_t len)
{
	memcpy(f->data + f->len, data, len);
	f->len += len;
}

static void put_be16(struct frame *f, uint16_t v)
{
	uint16_t be = htons(v);

	put(f, &be, sizeof(be));
}

static void parse_mac(const char *text, uint8_t mac[6])
{
	unsigned int b[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
		die(text);
	for (size_t i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
}

static void parse_ip(int family, const char *text, void *ret)
{
	if (inet_pton(family, text, ret) != 1)
		die(text);
}

static uint32_t sum16(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void ethernet(struct frame *f, const char *src, const char *dst, uint16_t type)
{
	uint8_t mac[6];

	parse_mac(dst, mac);
	put(f, mac, 6);
	parse_mac(src, mac);
	put(f, mac, 6);
	put_be16(f, type);
}

static size_t mark(char *buf, size_t size, const char *word)
{
	return (size_t)snprintf(buf, size, "byway:%s;", word);
}

static void send_frame(const char *ifname, struct frame *f)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(ifname), .sll_halen = 6};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	if (f->len < 60)
		f->len = 60;
	memcpy(to.sll_addr, f->data, 6);
	if (fd < 0 || sendto(fd, f->data, f->len, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(ifname);
	close(fd);
}

/* send-udp IF SMAC DMAC SIP DIP WORD: port 9, IPv4 or IPv6 by the address. */
static void udp4(struct frame *f, char **a, uint16_t sport, uint16_t dport, const char *text,
		 size_t len)
{
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
	struct udphdr udp = {.source = htons(sport), .dest = htons(dport)};

	ip.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(udp) + len));
	parse_ip(AF_INET, a[3], &ip.saddr);
	parse_ip(AF_INET, a[4], &ip.daddr);
	ip.check = checksum(sum16(0, &ip, sizeof(ip)));
	udp.len = htons((uint16_t)(sizeof(udp) + len));
	ethernet(f, a[1], a[2], ETH_P_IP);
	put(f, &ip, sizeof(ip));
	put(f, &udp, sizeof(udp));
	put(f, text, len);
}

/* An IPv6 header and an upper layer whose checksum field is at `check`. */
static void ip6(struct frame *f, char **a, uint8_t proto, uint8_t *body, size_t len, size_t check)
{
	struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = proto, .ip6_hlim = 255};
	uint16_t sum;

	ip.ip6_plen = htons((uint16_t)len);
	parse_ip(AF_INET6, a[3], &ip.ip6_src);
	parse_ip(AF_INET6, a[4], &ip.ip6_dst);
	sum = checksum(sum16(sum16((uint32_t)len + proto, &ip.ip6_src, 32), body, len));
	memcpy(body + check, &sum, 2);
	ethernet(f, a[1], a[2], ETH_P_IPV6);
	put(f, &ip, sizeof(ip));
	put(f, body, len);
}

static void udp6(struct frame *f, char **a, const char *text, size_t len)
{
	uint8_t body[256] = {0};
	struct udphdr udp = {.source = htons(9), .dest = htons(9)};

	udp.len = htons((uint16_t)(sizeof(udp) + len));
	memcpy(body, &udp, sizeof(udp));
	memcpy(body + sizeof(udp), text, len);
	ip6(f, a, IPPROTO_UDP, body, sizeof(udp) + len, 6);
}

static int cmd_send_udp(char **a)
{
	struct frame f = {.len = 0};
	char text[128];
	size_t len = mark(text, sizeof(text), a[5]);

	if (strchr(a[3], ':'))
		udp6(&f, a, text, len);
	else
		udp4(&f, a, 9, 9, text, len);
	send_frame(a[0], &f);
	return 0;
}

/* send-dhcp IF SMAC SIP DIP client|server WORD: in a broadcast frame, from that side's port to the
 * other's. */
static int cmd_send_dhcp(char **a)
{
	char all_mac[] = "ff:ff:ff:ff:ff:ff", text[128];
	char *args[] = {a[0], a[1], all_mac, a[2], a[3]};
	bool server = !strcmp(a[4], "server");
	struct frame f = {.len = 0};
	size_t len = mark(text, sizeof(text), a[5]);

	udp4(&f, args, server ? 67 : 68, server ? 68 : 67, text, len);
	send_frame(a[0], &f);
	return 0;
}

/* send-igmp-query IF SMAC SIP: of all groups, at once (RFC 2236 2). */
static int cmd_send_igmp_query(char **a)
{
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 1, .protocol = IPPROTO_IGMP};
	uint8_t body[8] = {0x11, 1};
	uint16_t sum = checksum(sum16(0, body, sizeof(body)));
	struct frame f = {.len = 0};

	memcpy(body + 2, &sum, sizeof(sum));
	ip.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(body)));
	parse_ip(AF_INET, a[2], &ip.saddr);
	parse_ip(AF_INET, "224.0.0.1", &ip.daddr);
	ip.check = checksum(sum16(0, &ip, sizeof(ip)));
	ethernet(&f, a[1], "01:00:5e:00:00:01", ETH_P_IP);
	put(&f, &ip, sizeof(ip));
	put(&f, body, sizeof(body));
	send_frame(a[0], &f);
	return 0;
}

/* send-arp IF ETHER-SMAC ARP-SMAC SIP TIP WORD: a request to all; the mark is in the padding. */
static int cmd_send_arp(char **a)
{
	static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 1};
	struct frame f = {.len = 0};
	uint8_t mac[6] = {0}, ip[4];
	char text[128];

	ethernet(&f, a[1], "ff:ff:ff:ff:ff:ff", ETH_P_ARP);
	put(&f, head, sizeof(head));
	parse_mac(a[2], mac);
	put(&f, mac, 6);
	parse_ip(AF_INET, a[3], ip);
	put(&f, ip, 4);
	memset(mac, 0, 6);
	put(&f, mac, 6);
	parse_ip(AF_INET, a[4], ip);
	put(&f, ip, 4);
	put(&f, text, mark(text, sizeof(text), a[5]));
	send_frame(a[0], &f);
	return 0;
}

static char all_nodes_mac[] = "33:33:00:00:00:01", all_nodes[] = "ff02::1";

static size_t icmp6_body(uint8_t *body, uint8_t type, size_t head, const char *word)
{
	char text[128];
	size_t len = mark(text, sizeof(text), word), option = (len + 2 + 7) / 8 * 8;

	body[0] = type;
	body[head] = 253; /* an experimental option, RFC 4727 */
	body[head + 1] = (uint8_t)(option / 8);
	memcpy(body + head + 2, text, len);
	return head + option;
}

/* send-ra IF SMAC SIP WORD: a router advertisement that offers itself for 1800 s. */
static int cmd_send_ra(char **a)
{
	char *args[] = {a[0], a[1], all_nodes_mac, a[2], all_nodes};
	uint8_t body[256] = {0};
	struct frame f = {.len = 0};
	size_t len = icmp6_body(body, ND_ROUTER_ADVERT, sizeof(struct nd_router_advert), a[3]);

	body[4] = 64;
	body[6] = 1800 >> 8;
	body[7] = 1800 & 0xff;
	ip6(&f, args, IPPROTO_ICMPV6, body, len, 2);
	send_frame(a[0], &f);
	return 0;
}

/* A neighbour solicitation or advertisement: both have the target in the same place. */
static void send_discovery(char **a, uint8_t type, uint8_t flags)
{
	char *args[] = {a[0], a[1], all_nodes_mac, a[2], all_nodes};
	uint8_t body[256] = {0};
	struct frame f = {.len = 0};
	size_t len = icmp6_body(body, type, sizeof(struct nd_neighbor_advert), a[4]);

	body[4] = flags;
	parse_ip(AF_INET6, a[3], body + 8);
	ip6(&f, args, IPPROTO_ICMPV6, body, len, 2);
	send_frame(a[0], &f);
}

/* send-na IF SMAC SIP TARGET WORD: an unsolicited, overriding neighbour advertisement. */
static int cmd_send_na(char **a)
{
	send_discovery(a, ND_NEIGHBOR_ADVERT, 0x20);
	return 0;
}

/* send-ns IF SMAC SIP TARGET WORD: with the SIP ::, as who wants to have TARGET asks for others who do. */
static int cmd_send_ns(char **a)
{
	send_discovery(a, ND_NEIGHBOR_SOLICIT, 0);
	return 0;
}

/* send-solicit IF SMAC DMAC SIP DIP WORD: a neighbour solicitation for DIP, to itself. */
static int cmd_send_solicit(char **a)
{
	uint8_t body[256] = {0};
	struct frame f = {.len = 0};
	size_t len = icmp6_body(body, ND_NEIGHBOR_SOLICIT, sizeof(struct nd_neighbor_solicit), a[5]);

	parse_ip(AF_INET6, a[4], body + 8);
	ip6(&f, a, IPPROTO_ICMPV6, body, len, 2);
	send_frame(a[0], &f);
	return 0;
}

/* One of two fragments, behind whose header options for the destination begin. */
static void send_fragment(char **a, uint16_t offset_and_more, const uint8_t *body, size_t len)
{
	struct ip6_frag head = {.ip6f_nxt = IPPROTO_DSTOPTS, .ip6f_offlg = htons(offset_and_more),
				.ip6f_ident = htonl((uint32_t)getpid())};
	struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = IPPROTO_FRAGMENT,
			     .ip6_hlim = 255};
	struct frame f = {.len = 0};

	ip.ip6_plen = htons((uint16_t)(sizeof(head) + len));
	parse_ip(AF_INET6, a[3], &ip.ip6_src);
	parse_ip(AF_INET6, a[4], &ip.ip6_dst);
	ethernet(&f, a[1], a[2], ETH_P_IPV6);
	put(&f, &ip, sizeof(ip));
	put(&f, &head, sizeof(head));
	put(&f, body, len);
	send_frame(a[0], &f);
}

/* send-split IF SMAC DMAC SIP DIP WORD: as send-udp, IPv6, from the port of DHCP servers, which nobody
 * sees who looks at one fragment alone. */
static int cmd_send_split(char **a)
{
	static const uint8_t options[8] = {IPPROTO_UDP, 0, IP6OPT_PADN, 4};
	struct udphdr udp = {.source = htons(547), .dest = htons(546)};
	uint8_t body[256] = {0};
	struct frame whole = {.len = 0};
	char text[128];
	size_t len = mark(text, sizeof(text), a[5]), all = sizeof(udp) + len;

	udp.len = htons((uint16_t)all);
	memcpy(body, &udp, sizeof(udp));
	memcpy(body + sizeof(udp), text, len);
	ip6(&whole, a, IPPROTO_UDP, body, all, 6); /* for its checksum */
	send_fragment(a, 1, options, sizeof(options)); /* more to come */
	send_fragment(a, sizeof(options), body, all);
	return 0;
}

static void print_marks(const uint8_t *data, size_t len)
{
	const uint8_t *p = data, *end = data + len;

	while ((p = memmem(p, (size_t)(end - p), "byway:", 6))) {
		const uint8_t *stop = memchr(p, ';', (size_t)(end - p));
		if (!stop)
			return;
		printf("%.*s\n", (int)(stop - p - 6), (const char *)p + 6);
		p = stop;
	}
}

/* watch IF: "ready", then each mark that arrives or leaves, one a line, until killed. */
static int cmd_watch(char **argv)
{
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(argv[0])};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint8_t data[65536];
	ssize_t n;

	if (fd < 0 || !on.sll_ifindex || bind(fd, (struct sockaddr *)&on, sizeof(on)))
		die(argv[0]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while ((n = recv(fd, data, sizeof(data), 0)) >= 0)
		print_marks(data, (size_t)n);
	return 0;
}

static const struct {
	const char *name;
	int n_args;
	int (*run)(char **argv);
} commands[] = {
	{"tcp", 3, cmd_tcp},           /* ADDR PORT MS */
	{"udp", 3, cmd_udp},           /* ADDR PORT MS */
	{"flow", 2, cmd_flow},         /* ADDR PORT */
	{"udp-flow", 2, cmd_udp_flow}, /* ADDR PORT */
	{"echo", 1, cmd_echo},         /* PORT */
	{"stubborn", 0, cmd_stubborn},
	{"send-udp", 6, cmd_send_udp},
	{"send-dhcp", 6, cmd_send_dhcp},
	{"send-igmp-query", 3, cmd_send_igmp_query},
	{"send-arp", 6, cmd_send_arp},
	{"send-ra", 4, cmd_send_ra},
	{"send-na", 5, cmd_send_na},
	{"send-ns", 5, cmd_send_ns},
	{"send-solicit", 6, cmd_send_solicit},
	{"send-split", 6, cmd_send_split},
	{"watch", 1, cmd_watch}, /* IF */
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name) &&
		    argc - 2 == commands[i].n_args)
			return commands[i].run(argv + 2);
	fprintf(stderr, "probe: unknown command or wrong number of arguments\n");
	return 3;
}
