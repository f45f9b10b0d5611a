// SPDX-License-Identifier: GPL-2.0-or-later
/* What probes there are, and how each is sent. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "kernel/link.h"
#include "kernel/netns.h"
#include "ops/prove_impl.h"

/* From netinet/ip_icmp.h and netinet/icmp6.h, which have a struct ip of their own. */
#define ICMP_ECHO 8
#define ICMP6_ECHO_REQUEST 128

#define QUIC_BYTES 1200 /* of a first datagram, at least (RFC 9000 14.1) */
#define BIG_BYTES 2000  /* more than one packet of IPv6's smallest MTU */
#define SMALLEST_MTU 1280
#define HOPS 8
#define DNS_PORT 53
#define DNS_HEADER 12u

#define IP4_HEADER 20u
#define IP6_HEADER 40u
#define UDP_HEADER 8u
#define MORE_FRAGMENTS 0x2000u

/* ---- Tokens and addresses ---- */

int prove_token_make(struct prove_token *ret, struct err *err)
{
	uint8_t random[PROVE_TOKEN_LEN + 1 + sizeof(ret->prefix6)];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_errno(err, -errno, "cannot get random numbers");
	for (size_t i = 0; i < PROVE_TOKEN_LEN; i++)
		ret->text[i] = (char)('0' + random[i] % 10);
	ret->text[PROVE_TOKEN_LEN] = '\0';
	ret->base = random[PROVE_TOKEN_LEN];
	memcpy(ret->prefix6, random + PROVE_TOKEN_LEN + 1, sizeof(ret->prefix6));
	return 0;
}

/* The token and the number, with a NUL. */
static void mark_of(const struct prove_token *t, unsigned int no, char ret[PROVE_MARK_LEN + 1])
{
	snprintf(ret, PROVE_MARK_LEN + 1, "%s%02u", t->text, no % PROVE_NUMBERS);
}

struct ip prove_address(const struct prove_token *t, unsigned int no, int family)
{
	struct ip ip4 = {.family = AF_INET, .bytes = {198, 51, 100}};
	struct ip ip6 = {.family = AF_INET6, .bytes = {0x20, 0x01, 0x0d, 0xb8}};

	ip4.bytes[3] = (uint8_t)(1 + (t->base + no) % 254);
	memcpy(ip6.bytes + 4, t->prefix6, sizeof(t->prefix6));
	ip6.bytes[15] = (uint8_t)(no + 1);
	return family == AF_INET6 ? ip6 : ip4;
}

/* ---- Packets by hand ---- */

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* RFC 1071; sum is what was added up before. */
static uint32_t add_up(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The kernel fills in IPv4's header checksum on raw sockets; of controls nobody looks at it. */
static size_t put_header(uint8_t *p, const struct ip *from, const struct ip *to, uint8_t proto,
			 uint8_t hops, size_t payload)
{
	if (to->family == AF_INET6) {
		memset(p, 0, IP6_HEADER);
		p[0] = 0x60;
		put16(p + 4, (uint16_t)payload);
		p[6] = proto;
		p[7] = hops;
		memcpy(p + 8, from->bytes, 16);
		memcpy(p + 24, to->bytes, 16);
		return IP6_HEADER;
	}
	memset(p, 0, IP4_HEADER);
	p[0] = 0x45;
	put16(p + 2, (uint16_t)(IP4_HEADER + payload));
	put16(p + 4, 1 + to->bytes[3]);
	p[8] = hops;
	p[9] = proto;
	memcpy(p + 12, from->bytes, 4);
	memcpy(p + 16, to->bytes, 4);
	return IP4_HEADER;
}

/* A datagram with the mark; its checksum is needed by IPv6 alone (RFC 8200 8.1). */
static size_t put_udp(uint8_t *p, const struct ip *from, const struct ip *to, uint16_t port,
		      const char *mark)
{
	size_t len = UDP_HEADER + PROVE_MARK_LEN;
	size_t bytes = ip_len(to->family);

	put16(p, 40000);
	put16(p + 2, port);
	put16(p + 4, (uint16_t)len);
	put16(p + 6, 0);
	memcpy(p + UDP_HEADER, mark, PROVE_MARK_LEN);
	if (to->family == AF_INET6)
		put16(p + 6,
		      fold(add_up(add_up(add_up(IPPROTO_UDP + (uint32_t)len, from->bytes, bytes),
					 to->bytes, bytes),
				  p, len)));
	return len;
}

/* An echo request with the mark. Of IPv6, the kernel fills in the checksum. */
static size_t put_echo(uint8_t *p, int family, unsigned int no, const char *mark)
{
	size_t len = 8 + PROVE_MARK_LEN;

	memset(p, 0, 8);
	p[0] = family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	put16(p + 4, (uint16_t)getpid());
	put16(p + 6, (uint16_t)no);
	memcpy(p + 8, mark, PROVE_MARK_LEN);
	if (family == AF_INET)
		put16(p + 2, fold(add_up(0, p, len)));
	return len;
}

/* A question (RFC 1035 4.1) for a name that cannot exist (RFC 6761 6.4). Returns its length. */
static size_t put_question(uint8_t *p, unsigned int no, const char *mark)
{
	static const uint8_t rest[] = {7, 'i', 'n', 'v', 'a', 'l', 'i', 'd', 0, 0, 1, 0, 1};

	memset(p, 0, DNS_HEADER);
	put16(p, (uint16_t)(no + 1));
	p[2] = 1; /* RD */
	p[5] = 1; /* a question */
	p[DNS_HEADER] = PROVE_MARK_LEN;
	memcpy(p + DNS_HEADER + 1, mark, PROVE_MARK_LEN);
	memcpy(p + DNS_HEADER + 1 + PROVE_MARK_LEN, rest, sizeof(rest));
	return DNS_HEADER + 1 + PROVE_MARK_LEN + sizeof(rest);
}

/* ---- Kinds of probes ---- */

struct probe_kind {
	const char *name;
	int type, proto; /* of the socket; IPPROTO_ICMP stands for both families' */
	uint16_t port;
	int (*send)(struct probe *p, const struct prove_token *t);
	bool to_gateway;
	int only; /* this family; 0: both */
};

static int send_bytes(const struct probe *p, const struct ip *to, const void *data, size_t len)
{
	struct sockaddr_storage at;
	socklen_t size = ip_to_sockaddr(to, p->kind->port, &at);

	return sendto(p->fd, data, len, 0, (struct sockaddr *)&at, size) < 0 ? -errno : 0;
}

/* A SYN is on its way when connect(2) is in progress. */
static int send_syn(struct probe *p, const struct prove_token *t)
{
	struct sockaddr_storage at;
	socklen_t size = ip_to_sockaddr(&p->to, p->kind->port, &at);

	(void)t;
	return connect(p->fd, (struct sockaddr *)&at, size) && errno != EINPROGRESS ? -errno : 0;
}

static int send_datagram(struct probe *p, const struct prove_token *t)
{
	char mark[PROVE_MARK_LEN + 1];

	mark_of(t, p->no, mark);
	return send_bytes(p, &p->to, mark, PROVE_MARK_LEN);
}

static int send_echo(struct probe *p, const struct prove_token *t)
{
	char mark[PROVE_MARK_LEN + 1];
	uint8_t bytes[PROVE_PACKET_MAX];

	mark_of(t, p->no, mark);
	return send_bytes(p, &p->to, bytes, put_echo(bytes, p->to.family, p->no, mark));
}

static int send_question(struct probe *p, const struct prove_token *t)
{
	char mark[PROVE_MARK_LEN + 1];
	uint8_t bytes[PROVE_PACKET_MAX];

	mark_of(t, p->no, mark);
	return send_bytes(p, &p->to, bytes, put_question(bytes, p->no, mark));
}

/* The long header of a first datagram, and padding (RFC 9000 17.2). */
static int send_quic(struct probe *p, const struct prove_token *t)
{
	static const uint8_t header[] = {0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0};
	uint8_t bytes[QUIC_BYTES] = {0};

	memcpy(bytes, header, sizeof(header));
	mark_of(t, p->no, (char *)bytes + 32);
	return send_bytes(p, &p->to, bytes, sizeof(bytes));
}

/* Two fragments of a datagram, however large the MTU: the mark is in each. */
static int send_fragments4(struct probe *p, const struct prove_token *t)
{
	struct ip from = {.family = AF_INET}; /* the kernel fills it in */
	uint8_t first[PROVE_PACKET_MAX] = {0}, second[PROVE_PACKET_MAX] = {0};
	char mark[PROVE_MARK_LEN + 1];
	size_t part = 32; /* of the first: a multiple of 8 */
	size_t header = put_header(first, &from, &p->to, IPPROTO_UDP, HOPS, part);
	int r;

	mark_of(t, p->no, mark);
	put_udp(first + header, &from, &p->to, 9999, mark);
	put16(first + header + 4, (uint16_t)(part + PROVE_MARK_LEN));
	put16(first + 6, MORE_FRAGMENTS);
	put_header(second, &from, &p->to, IPPROTO_UDP, HOPS, PROVE_MARK_LEN);
	put16(second + 6, (uint16_t)(part / 8));
	memcpy(second + header, mark, PROVE_MARK_LEN);
	r = send_bytes(p, &p->to, first, header + part);
	return r ? r : send_bytes(p, &p->to, second, header + PROVE_MARK_LEN);
}

static int send_fragments6(struct probe *p, const struct prove_token *t)
{
	uint8_t bytes[BIG_BYTES] = {0};
	int mtu = SMALLEST_MTU;

	mark_of(t, p->no, (char *)bytes);
	if (setsockopt(p->fd, IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof(mtu)))
		return -errno;
	return send_bytes(p, &p->to, bytes, sizeof(bytes));
}

/* Groups for documentation (RFC 5771 9.2, RFC 6676 3). */
static int send_multicast(struct probe *p, const struct prove_token *t)
{
	struct ip group4 = {.family = AF_INET, .bytes = {233, 252, 0, (uint8_t)(1 + p->no)}};
	struct ip group6 = {.family = AF_INET6,
			    .bytes = {0xff, 0x0e, [10] = 0x0d, 0xb8, [15] = (uint8_t)(1 + p->no)}};
	int hops = HOPS;

	setsockopt(p->fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops));
	setsockopt(p->fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
	p->to = p->to.family == AF_INET6 ? group6 : group4;
	return send_datagram(p, t);
}

static int send_broadcast(struct probe *p, const struct prove_token *t)
{
	int on = 1;

	memset(p->to.bytes, 0xff, 4);
	if (setsockopt(p->fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)))
		return -errno;
	return send_datagram(p, t);
}

/* From an address for documentation that is nobody's here. */
static int send_foreign(struct probe *p, const struct prove_token *t)
{
	struct ip from = prove_address(t, PROVE_NUMBERS + p->no, p->to.family);
	uint8_t packet[PROVE_PACKET_MAX];
	char mark[PROVE_MARK_LEN + 1];
	size_t header =
		put_header(packet, &from, &p->to, IPPROTO_UDP, HOPS, UDP_HEADER + PROVE_MARK_LEN);

	mark_of(t, p->no, mark);
	return send_bytes(p, &p->to, packet,
			  header + put_udp(packet + header, &from, &p->to, 9999, mark));
}

/* A raw socket of IPv6 takes no port (EINVAL), and its header says to whom. */
static const struct probe_kind kinds[] = {
	{"tcp", SOCK_STREAM, 0, 443, send_syn, false, 0},
	{"udp", SOCK_DGRAM, 0, 9999, send_datagram, false, 0},
	{"icmp", SOCK_RAW, IPPROTO_ICMP, 0, send_echo, false, 0},
	{"dns", SOCK_DGRAM, 0, DNS_PORT, send_question, false, 0},
	{"dns-tcp", SOCK_STREAM, 0, DNS_PORT, send_syn, false, 0},
	{"quic", SOCK_DGRAM, 0, 443, send_quic, false, 0},
	{"fragments", SOCK_RAW, IPPROTO_RAW, 0, send_fragments4, false, AF_INET},
	{"fragments", SOCK_DGRAM, 0, 9999, send_fragments6, false, AF_INET6},
	{"multicast", SOCK_DGRAM, 0, 9999, send_multicast, false, 0},
	{"broadcast", SOCK_DGRAM, 0, 9999, send_broadcast, false, AF_INET},
	{"foreign-source", SOCK_RAW, IPPROTO_RAW, 0, send_foreign, false, 0},
	{"gateway", SOCK_DGRAM, 0, 9999, send_datagram, true, 0},
};
/* Of each interface: a socket that is bound to it. */
static const struct probe_kind by_device = {
	"device", SOCK_DGRAM, 0, 9999, send_datagram, false, 0,
};

const char *probe_name(const struct probe *p)
{
	return p->kind->name;
}

uint16_t probe_port(const struct probe *p)
{
	return p->kind->port;
}

/* ---- All of them ---- */

static void add_probe(struct probes *p, const struct probe_kind *k, int family, const char *device)
{
	struct probe *new = &p->list[p->n];

	if (p->n == PROVE_PROBES_MAX) {
		p->left_out = true;
		return;
	}
	*new = (struct probe){.kind = k, .no = (unsigned int)p->n, .fd = -1};
	new->to = k->to_gateway ? p->gateways[family == AF_INET6]
				: prove_address(p->token, new->no, family);
	str_copy(new->device, sizeof(new->device), device);
	if (new->to.family)
		p->n++;
}

static void add_kind(struct probes *p, const struct probe_kind *k, const char *device)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (!k->only || k->only == families[i])
			add_probe(p, k, families[i], device);
}

static int add_device(const struct link *l, void *arg)
{
	if (l->up && strcmp(l->name, "lo") != 0)
		add_kind(arg, &by_device, l->name);
	return 0;
}

static int proto_of(const struct probe *p)
{
	return p->kind->proto == IPPROTO_ICMP && p->to.family == AF_INET6 ? IPPROTO_ICMPV6
									  : p->kind->proto;
}

/* A family that this kernel does not have cannot leak; anything else that keeps a probe from being
 * made keeps us from knowing. */
static void send_one(struct probe *p, const struct prove_token *t)
{
	int r;

	p->fd = socket(p->to.family, p->kind->type | SOCK_CLOEXEC | SOCK_NONBLOCK, proto_of(p));
	if (p->fd < 0 || (*p->device && setsockopt(p->fd, SOL_SOCKET, SO_BINDTODEVICE, p->device,
						   (socklen_t)strlen(p->device)))) {
		p->error = -errno;
		p->failed = errno != EAFNOSUPPORT;
		return;
	}
	r = p->kind->send(p, t);
	p->sent = !r;
	p->error = r;
}

static int send_all(void *arg)
{
	struct probes *p = arg;

	for (size_t i = 0; i < p->n; i++)
		send_one(&p->list[i], p->token);
	return 0;
}

int probes_send(struct probes *p, struct netns *ns, struct err *err)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		add_kind(p, &kinds[i], "");
	r = link_each(ns, add_device, p, err);
	return r ? r : netns_call(ns, send_all, p);
}

static void ask_by_tcp(struct probe *p, const struct prove_token *t)
{
	uint8_t bytes[2 + PROVE_PACKET_MAX];
	char mark[PROVE_MARK_LEN + 1];
	size_t len;

	mark_of(t, p->no, mark);
	len = put_question(bytes + 2, p->no, mark);
	put16(bytes, (uint16_t)len);
	p->asked = send(p->fd, bytes, len + 2, MSG_NOSIGNAL) > 0;
}

void probes_continue(struct probes *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct probe *one = &p->list[i];

		if (one->sent && !one->asked && one->kind->type == SOCK_STREAM &&
		    one->kind->port == DNS_PORT)
			ask_by_tcp(one, p->token);
	}
}

void probes_close(struct probes *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].fd >= 0)
			close(p->list[i].fd);
	p->n = 0;
}

/* ---- Controls ---- */

static const struct {
	const char *name;
	uint8_t proto;
	uint16_t port;
	bool fragment;
} controls[] = {
	{"tcp", IPPROTO_TCP, 443, false},      {"udp", IPPROTO_UDP, 9999, false},
	{"icmp", IPPROTO_ICMP, 0, false},      {"dns", IPPROTO_UDP, DNS_PORT, false},
	{"fragment", IPPROTO_UDP, 9999, true},
};
_Static_assert(2 * ARRAY_SIZE(controls) == PROVE_CONTROLS, "one of each in each family");

const char *control_name(unsigned int kind)
{
	return controls[kind / 2].name;
}

static size_t put_control(uint8_t *p, unsigned int kind, const struct ip *from, const struct ip *to,
			  unsigned int no, const char *mark)
{
	uint8_t proto = controls[kind / 2].proto;
	uint16_t port = controls[kind / 2].port;

	if (proto == IPPROTO_ICMP)
		return put_echo(p, to->family, no, mark);
	if (proto == IPPROTO_UDP && port != DNS_PORT)
		return put_udp(p, from, to, port, mark);
	memset(p, 0, 20);
	put16(p, 40000);
	put16(p + 2, port);
	if (proto == IPPROTO_UDP) {
		size_t len = UDP_HEADER + put_question(p + UDP_HEADER, no, mark);

		put16(p + 4, (uint16_t)len);
		return len;
	}
	p[12] = 5 << 4; /* a header of 20 bytes, and SYN (RFC 9293 3.1) */
	p[13] = 2;
	return 20;
}

size_t control_packet(const struct prove_token *t, unsigned int kind, unsigned int no,
		      uint8_t ret[PROVE_PACKET_MAX], int *ret_family)
{
	int family = kind % 2 ? AF_INET6 : AF_INET;
	struct ip from = prove_address(t, PROVE_NUMBERS + no, family);
	struct ip to = prove_address(t, no, family);
	uint8_t proto = controls[kind / 2].proto;
	size_t header = family == AF_INET6 ? IP6_HEADER : IP4_HEADER;
	char mark[PROVE_MARK_LEN + 1];
	size_t len;

	mark_of(t, no, mark);
	len = put_control(ret + header, kind, &from, &to, no, mark);
	if (proto == IPPROTO_ICMP && family == AF_INET6)
		proto = IPPROTO_ICMPV6;
	put_header(ret, &from, &to, proto, 1, len);
	if (family == AF_INET && controls[kind / 2].fragment)
		put16(ret + 6, MORE_FRAGMENTS);
	*ret_family = family;
	return header + len;
}
