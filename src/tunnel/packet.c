// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <assert.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "base/siphash.h"
#include "base/util.h"
#include "kernel/tun.h"
#include "tunnel/packet.h"

#define OPTIONS_MAX 40 /* of TCP */

static_assert(sizeof(struct virtio_net_hdr_v1) == TUN_HEADER, "TUN_HEADER is the header's size");
static_assert(TUN_HEADER + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) + OPTIONS_MAX <=
		      PACKET_HEADROOM,
	      "PACKET_HEADROOM holds the longest headers");

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK_ALLOWED 4
#define OPT_SACK 5
#define OPT_TIME 8
#define WSCALE_MAX 14 /* RFC 7323 2.3 */
#define HOP_LIMIT 64
#define ICMP_HEADER 8u

/* Linux 6.2; headers may be older than the kernel. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

bool endpoints_equal(const struct endpoints *a, const struct endpoints *b)
{
	return a->sport == b->sport && a->dport == b->dport && ip_equal(&a->src, &b->src) &&
	       ip_equal(&a->dst, &b->dst);
}

uint64_t endpoints_hash(const struct endpoints *ends, uint16_t kind, const uint64_t key[2])
{
	struct {
		uint8_t src[16], dst[16];
		uint16_t sport, dport, family, kind;
	} whole = {.sport = ends->sport,
		   .dport = ends->dport,
		   .family = (uint16_t)ends->src.family,
		   .kind = kind};

	memcpy(whole.src, ends->src.bytes, sizeof(whole.src));
	memcpy(whole.dst, ends->dst.bytes, sizeof(whole.dst));
	return siphash(&whole, sizeof(whole), key);
}

/* RFC 1071, over chunks of even length but for the last. */
static uint64_t sum(uint64_t acc, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len >= 4; p += 4, len -= 4) {
		uint32_t w;

		memcpy(&w, p, 4);
		acc += w;
	}
	if (len >= 2) {
		uint16_t w;

		memcpy(&w, p, 2);
		acc += w;
		p += 2;
		len -= 2;
	}
	if (len) {
		uint8_t last[2] = {p[0], 0};
		uint16_t w;

		memcpy(&w, last, 2);
		acc += w;
	}
	return acc;
}

static uint16_t fold(uint64_t acc)
{
	while (acc >> 16)
		acc = (acc & 0xffff) + (acc >> 16);
	return (uint16_t)acc;
}

static uint64_t pseudo_header(const struct ip *src, const struct ip *dst, uint8_t proto, size_t len)
{
	uint32_t tail[2] = {htonl((uint32_t)len), htonl(proto)};
	uint64_t acc = sum(0, src->bytes, ip_len(src->family));

	acc = sum(acc, dst->bytes, ip_len(dst->family));
	return sum(acc, tail, sizeof(tail));
}

static void get_ip(int family, const void *bytes, struct ip *ret)
{
	*ret = (struct ip){.family = family};
	memcpy(ret->bytes, bytes, ip_len(family));
}

/* ---- Parsing ---- */

struct cursor {
	const uint8_t *p;
	size_t len;
};

static bool parse_ip4(struct cursor *c, struct packet *ret, uint8_t *proto)
{
	struct iphdr h;
	size_t header, total;

	if (c->len < sizeof(h))
		return false;
	memcpy(&h, c->p, sizeof(h));
	header = h.ihl * 4u;
	total = ntohs(h.tot_len);
	if (header < sizeof(h) || header > c->len || total < header || total > c->len)
		return false;
	if (ntohs(h.frag_off) & 0x3fff) /* more fragments, or an offset */
		return false;
	get_ip(AF_INET, &h.saddr, &ret->ends.src);
	get_ip(AF_INET, &h.daddr, &ret->ends.dst);
	*proto = h.protocol;
	*c = (struct cursor){c->p + header, total - header};
	return true;
}

/* Extension headers are not followed: nothing that is tunnelled has them. */
static bool parse_ip6(struct cursor *c, struct packet *ret, uint8_t *proto)
{
	struct ipv6hdr h;
	size_t payload;

	if (c->len < sizeof(h))
		return false;
	memcpy(&h, c->p, sizeof(h));
	payload = ntohs(h.payload_len);
	if (payload > c->len - sizeof(h))
		return false;
	get_ip(AF_INET6, &h.saddr, &ret->ends.src);
	get_ip(AF_INET6, &h.daddr, &ret->ends.dst);
	*proto = h.nexthdr;
	*c = (struct cursor){c->p + sizeof(h), payload};
	return true;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static void parse_sack(const uint8_t *p, size_t n, struct tcp_segment *t)
{
	for (t->n_sack = 0; t->n_sack < MIN(n, TCP_SACK_MAX); t->n_sack++, p += 8)
		t->sack[t->n_sack] = (struct seq_range){get32(p), get32(p + 4)};
}

/* What only a SYN may have. */
static void parse_syn_option(const uint8_t *p, size_t size, struct tcp_segment *t)
{
	if (*p == OPT_MSS && size == 4)
		t->mss = (uint16_t)(p[2] << 8 | p[3]);
	if (*p == OPT_WSCALE && size == 3)
		t->wscale = MIN(p[2], WSCALE_MAX);
	if (*p == OPT_SACK_ALLOWED && size == 2)
		t->sack_allowed = true;
}

static void parse_options(const uint8_t *p, size_t len, struct tcp_segment *t)
{
	while (len > 0 && *p != OPT_END) {
		size_t size = *p == OPT_NOP ? 1 : len > 1 ? p[1] : 0;

		if (size == 0 || size > len || (*p != OPT_NOP && size < 2))
			return;
		if (t->flags & TCP_SYN)
			parse_syn_option(p, size, t);
		if (*p == OPT_SACK)
			parse_sack(p + 2, (size - 2) / 8, t);
		if (*p == OPT_TIME && size == 10) {
			t->has_time = true;
			t->time = get32(p + 2);
			t->time_echo = get32(p + 6);
		}
		p += size;
		len -= size;
	}
}

static enum packet_kind parse_tcp(const struct cursor *c, struct packet *ret)
{
	struct tcp_segment *t = &ret->tcp;
	struct tcphdr h;
	size_t header;

	if (c->len < sizeof(h))
		return PACKET_BAD;
	memcpy(&h, c->p, sizeof(h));
	header = h.doff * 4u;
	if (header < sizeof(h) || header > c->len)
		return PACKET_BAD;
	ret->ends.sport = ntohs(h.source);
	ret->ends.dport = ntohs(h.dest);
	*t = (struct tcp_segment){
		.seq = ntohl(h.seq),
		.ack = ntohl(h.ack_seq),
		.window = ntohs(h.window),
		.flags = c->p[13] & 0x1f,
		.wscale = TCP_NO_WSCALE,
		.data = c->p + header,
		.len = c->len - header,
	};
	parse_options(c->p + sizeof(h), header - sizeof(h), t);
	return PACKET_TCP;
}

/* The kernel leaves cutting to us, too: a program's send with UDP_SEGMENT is one packet (virtio
 * 1.3, VIRTIO_NET_HDR_GSO_UDP_L4). */
static enum packet_kind parse_udp(const struct virtio_net_hdr_v1 *v, const struct cursor *c,
				  struct packet *ret)
{
	struct udphdr h;
	size_t len;

	if (c->len < sizeof(h))
		return PACKET_BAD;
	memcpy(&h, c->p, sizeof(h));
	len = ntohs(h.len);
	if (len < sizeof(h) || len > c->len)
		return PACKET_BAD;
	ret->ends.sport = ntohs(h.source);
	ret->ends.dport = ntohs(h.dest);
	ret->data = c->p + sizeof(h);
	ret->len = len - sizeof(h);
	if ((v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_UDP_L4)
		ret->gso_size = v->gso_size;
	return PACKET_UDP;
}

/* What the kernel has neither left to us nor vouched for came over a wire. */
static bool checksum_ok(const struct virtio_net_hdr_v1 *v, const struct packet *p, uint8_t proto,
			const struct cursor *c)
{
	uint64_t pseudo = 0;
	uint16_t field;

	if (v->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID))
		return true;
	if (proto == IPPROTO_UDP && c->len >= sizeof(struct udphdr)) {
		memcpy(&field, c->p + 6, sizeof(field));
		if (!field && p->ends.src.family == AF_INET)
			return true; /* RFC 768: none */
	}
	if (proto != IPPROTO_ICMP)
		pseudo = pseudo_header(&p->ends.src, &p->ends.dst, proto, c->len);
	return fold(sum(pseudo, c->p, c->len)) == 0xffff;
}

/* ---- ICMP ---- */

#define MTU_UNKNOWN 576u /* RFC 1191 5: what is safe, when an old router does not tell */

/* IPv4 calls it "fragmentation needed" (RFC 1191 4), IPv6 "packet too big" (RFC 4443 3.2). */
static bool parse_mtu(uint8_t proto, const uint8_t *icmp, uint32_t *ret)
{
	uint32_t be;
	uint16_t be16;

	memcpy(&be, icmp + 4, sizeof(be));
	memcpy(&be16, icmp + 6, sizeof(be16));
	if (proto == IPPROTO_ICMPV6 && icmp[0] == ICMPV6_PKT_TOOBIG)
		*ret = ntohl(be);
	else if (proto == IPPROTO_ICMP && icmp[0] == ICMP_DEST_UNREACH &&
		 icmp[1] == ICMP_FRAG_NEEDED)
		*ret = be16 ? ntohs(be16) : MTU_UNKNOWN;
	else
		return false;
	return true;
}

/* The beginning of a packet of ours, of which what follows the header may be cut off. */
static bool parse_quote(struct cursor c, int family, struct packet *ret)
{
	size_t header = family == AF_INET6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	size_t addrs = family == AF_INET6 ? 8 : 12, proto = family == AF_INET6 ? 6 : 9;
	struct tcphdr h;

	/* 8 bytes are all that is promised of what it carries (RFC 792). */
	if (c.len < header + 8 || c.p[proto] != IPPROTO_TCP ||
	    c.p[0] >> 4 != (family == AF_INET6 ? 6 : 4) || (family == AF_INET && c.p[0] != 0x45))
		return false;
	get_ip(family, c.p + addrs, &ret->ends.dst);
	get_ip(family, c.p + addrs + ip_len(family), &ret->ends.src);
	memcpy(&h, c.p + header, 8);
	ret->ends.dport = ntohs(h.source);
	ret->ends.sport = ntohs(h.dest);
	ret->tcp.seq = ntohl(h.seq);
	return true;
}

static bool parse_too_big(uint8_t proto, const struct cursor *c, struct packet *ret)
{
	return c->len >= ICMP_HEADER && parse_mtu(proto, c->p, &ret->mtu) &&
	       parse_quote((struct cursor){c->p + ICMP_HEADER, c->len - ICMP_HEADER},
			   ret->ends.src.family, ret);
}

static bool is_icmp(const struct packet *p, uint8_t proto)
{
	return proto == (p->ends.src.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static enum packet_kind parse_icmp(const struct cursor *c, struct packet *ret)
{
	bool v4 = ret->ends.src.family == AF_INET;

	if (c->len < ICMP_HEADER || c->p[0] != (v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST) || c->p[1])
		return PACKET_ERROR;
	ret->ends.sport = (uint16_t)(c->p[4] << 8 | c->p[5]);
	ret->seq = (uint16_t)(c->p[6] << 8 | c->p[7]);
	ret->data = c->p + ICMP_HEADER;
	ret->len = c->len - ICMP_HEADER;
	return PACKET_ECHO;
}

enum packet_kind packet_parse(const uint8_t *buf, size_t len, struct packet *ret)
{
	struct virtio_net_hdr_v1 v;
	struct cursor c;
	uint8_t proto;
	bool ok;

	*ret = (struct packet){0};
	if (len <= TUN_HEADER)
		return PACKET_BAD;
	memcpy(&v, buf, sizeof(v));
	c = (struct cursor){buf + TUN_HEADER, len - TUN_HEADER};
	ret->ip = c.p;
	ret->ip_len = c.len;
	ok = c.p[0] >> 4 == 4 ? parse_ip4(&c, ret, &proto)
			      : c.p[0] >> 4 == 6 && parse_ip6(&c, ret, &proto);
	if (!ok)
		return PACKET_BAD;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && !is_icmp(ret, proto))
		return PACKET_OTHER;
	if (!checksum_ok(&v, ret, proto, &c))
		return PACKET_BAD;
	if (is_icmp(ret, proto))
		return parse_too_big(proto, &c, ret) ? PACKET_TOO_BIG : parse_icmp(&c, ret);
	return proto == IPPROTO_TCP ? parse_tcp(&c, ret) : parse_udp(&v, &c, ret);
}

/* ---- Building: each header goes in front of what is there ---- */

static uint8_t *put_ip(const struct ip *src, const struct ip *dst, uint8_t proto, uint8_t *payload,
		       size_t len)
{
	if (src->family == AF_INET) {
		struct iphdr h = {.version = 4,
				  .ihl = 5,
				  .tot_len = htons((uint16_t)(sizeof(h) + len)),
				  .frag_off = htons(0x4000), /* don't fragment */
				  .ttl = HOP_LIMIT,
				  .protocol = proto};

		memcpy(&h.saddr, src->bytes, 4);
		memcpy(&h.daddr, dst->bytes, 4);
		h.check = (uint16_t)~fold(sum(0, &h, sizeof(h)));
		return memcpy(payload - sizeof(h), &h, sizeof(h));
	} else {
		struct ipv6hdr h = {.version = 6,
				    .payload_len = htons((uint16_t)len),
				    .nexthdr = proto,
				    .hop_limit = HOP_LIMIT};

		memcpy(&h.saddr, src->bytes, 16);
		memcpy(&h.daddr, dst->bytes, 16);
		return memcpy(payload - sizeof(h), &h, sizeof(h));
	}
}

static uint8_t *put_virtio(const struct virtio_net_hdr_v1 *v, uint8_t *packet)
{
	return memcpy(packet - TUN_HEADER, v, TUN_HEADER);
}

static uint8_t *put32(uint8_t *at, uint32_t v)
{
	v = htonl(v);
	memcpy(at, &v, sizeof(v));
	return at + sizeof(v);
}

static uint8_t *put_syn_options(const struct tcp_reply *r, uint8_t *at)
{
	at = put32(at, OPT_MSS << 24 | 4 << 16 | (uint32_t)r->mss);
	if (r->wscale != TCP_NO_WSCALE)
		at = put32(at, OPT_NOP << 24 | OPT_WSCALE << 16 | 3 << 8 | (uint32_t)r->wscale);
	if (r->sack_allowed)
		at = put32(at, OPT_NOP << 24 | OPT_NOP << 16 | OPT_SACK_ALLOWED << 8 | 2);
	return at;
}

/* Each padded in front to whole words. Returns their length. */
static size_t put_options(const struct tcp_reply *r, uint8_t options[OPTIONS_MAX])
{
	uint8_t *at = options;
	unsigned int n_sack = 0;

	if (r->mss)
		at = put_syn_options(r, at);
	if (r->has_time) {
		at = put32(at, OPT_NOP << 24 | OPT_NOP << 16 | OPT_TIME << 8 | 10);
		at = put32(put32(at, r->time), r->time_echo);
	}
	if (r->sack)
		n_sack = MIN(r->sack->n, r->has_time ? 3u : TCP_SACK_MAX);
	if (n_sack)
		at = put32(at, OPT_NOP << 24 | OPT_NOP << 16 | OPT_SACK << 8 | (2 + 8 * n_sack));
	for (unsigned int i = 0; i < n_sack; i++)
		at = put32(put32(at, r->sack->r[i].start), r->sack->r[i].end);
	return (size_t)(at - options);
}

uint8_t *packet_put_tcp(const struct endpoints *ends, const struct tcp_reply *r, uint8_t *payload,
			size_t len, size_t *ret_len)
{
	uint8_t options[OPTIONS_MAX];
	size_t options_len = put_options(r, options);
	size_t header = sizeof(struct tcphdr) + options_len;
	uint8_t *tcp = payload - header, *ip;
	bool v6 = ends->src.family == AF_INET6;
	struct virtio_net_hdr_v1 v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_offset = offsetof(struct tcphdr, check),
				      .num_buffers = 1};
	struct tcphdr h = {.source = htons(ends->dport),
			   .dest = htons(ends->sport),
			   .seq = htonl(r->seq),
			   .ack_seq = htonl(r->ack),
			   .window = htons(r->window)};

	memcpy(tcp + sizeof(h), options, options_len);
	h.doff = header / 4 & 0xfu;
	h.check = fold(pseudo_header(&ends->dst, &ends->src, IPPROTO_TCP, header + len));
	memcpy(tcp, &h, sizeof(h));
	tcp[13] = r->flags;
	ip = put_ip(&ends->dst, &ends->src, IPPROTO_TCP, tcp, header + len);
	v.csum_start = (uint16_t)(tcp - ip);
	if (r->gso_size && len > r->gso_size) {
		v.gso_type = v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		v.gso_size = r->gso_size;
		v.hdr_len = (uint16_t)(payload - ip);
	}
	ip = put_virtio(&v, ip);
	*ret_len = (size_t)(payload - ip) + len;
	return ip;
}

uint8_t *packet_put_udp(const struct endpoints *ends, uint8_t *payload, size_t len, size_t *ret_len)
{
	struct virtio_net_hdr_v1 v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_offset = offsetof(struct udphdr, check),
				      .num_buffers = 1};
	struct udphdr h = {.source = htons(ends->dport),
			   .dest = htons(ends->sport),
			   .len = htons((uint16_t)(sizeof(h) + len))};
	uint8_t *udp = payload - sizeof(h), *ip;

	h.check = fold(pseudo_header(&ends->dst, &ends->src, IPPROTO_UDP, sizeof(h) + len));
	memcpy(udp, &h, sizeof(h));
	ip = put_ip(&ends->dst, &ends->src, IPPROTO_UDP, udp, sizeof(h) + len);
	v.csum_start = (uint16_t)(udp - ip);
	ip = put_virtio(&v, ip);
	*ret_len = (size_t)(payload - ip) + len;
	return ip;
}

/* The checksum of what stands at icmp, in whose header the field is still 0. */
static void finish_icmp(const struct endpoints *ends, uint8_t *icmp, size_t len)
{
	uint64_t pseudo = ends->src.family == AF_INET6
				  ? pseudo_header(&ends->dst, &ends->src, IPPROTO_ICMPV6, len)
				  : 0;
	uint16_t check = (uint16_t)~fold(sum(pseudo, icmp, len));

	memcpy(icmp + 2, &check, sizeof(check));
}

static void put_echo_header(uint8_t type, uint16_t id, uint16_t seq, uint8_t icmp[ICMP_HEADER])
{
	const uint8_t header[ICMP_HEADER] = {type,	    0,
					     0,		    0,
					     (uint8_t)(id >> 8), (uint8_t)id,
					     (uint8_t)(seq >> 8), (uint8_t)seq};

	memcpy(icmp, header, sizeof(header));
}

uint8_t *packet_put_echo(const struct endpoints *ends, uint16_t seq, uint8_t *payload, size_t len,
			 size_t *ret_len)
{
	bool v6 = ends->src.family == AF_INET6;
	struct virtio_net_hdr_v1 v = {.num_buffers = 1};
	uint8_t *icmp = payload - ICMP_HEADER, *p;

	put_echo_header(v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY, ends->sport, seq, icmp);
	finish_icmp(ends, icmp, ICMP_HEADER + len);
	p = put_ip(&ends->dst, &ends->src, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp,
		   ICMP_HEADER + len);
	p = put_virtio(&v, p);
	*ret_len = (size_t)(payload - p) + len;
	return p;
}

/* Of the packet that the error is about, what there is room for: all stay below the least MTU. */
#define QUOTE_MAX (PACKET_ERROR_MAX - PACKET_HEADROOM - ICMP_HEADER)

static const struct {
	uint8_t type4, code4, type6, code6;
} icmp_errors[] = {
	[PACKET_UNREACHABLE] = {ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, ICMPV6_DEST_UNREACH,
				ICMPV6_ADDR_UNREACH},
	[PACKET_PROHIBITED] = {ICMP_DEST_UNREACH, ICMP_PKT_FILTERED, ICMPV6_DEST_UNREACH,
			       ICMPV6_ADM_PROHIBITED},
	[PACKET_NET_UNREACHABLE] = {ICMP_DEST_UNREACH, ICMP_NET_UNREACH, ICMPV6_DEST_UNREACH,
				    ICMPV6_NOROUTE},
	[PACKET_PORT_UNREACHABLE] = {ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ICMPV6_DEST_UNREACH,
				     ICMPV6_PORT_UNREACH},
	[PACKET_MTU_EXCEEDED] = {ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, ICMPV6_PKT_TOOBIG, 0},
};
static_assert(ARRAY_SIZE(icmp_errors) == PACKET_NUM_ERRORS, "every error has its codes");

/* The MTU has 16 bits in IPv4 (RFC 1191 4), 32 in IPv6 (RFC 4443 3.2), and both end in one
 * place. */
static size_t put_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			const uint8_t *ip, size_t ip_len, uint8_t *buf)
{
	bool v6 = ends->src.family == AF_INET6;
	struct virtio_net_hdr_v1 v = {.num_buffers = 1};
	size_t quote = MIN(ip_len, QUOTE_MAX), len = ICMP_HEADER + quote;
	uint8_t *icmp = buf + PACKET_HEADROOM, *p;

	mtu = htonl(v6 ? mtu : MIN(mtu, 0xffff));
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = v6 ? icmp_errors[error].type6 : icmp_errors[error].type4;
	icmp[1] = v6 ? icmp_errors[error].code6 : icmp_errors[error].code4;
	memcpy(icmp + 4, &mtu, sizeof(mtu));
	memcpy(icmp + ICMP_HEADER, ip, quote);
	finish_icmp(ends, icmp, len);
	p = put_ip(&ends->dst, &ends->src, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp, len);
	p = put_virtio(&v, p);
	len += (size_t)(icmp - p);
	memmove(buf, p, len);
	return len;
}

size_t packet_put_error(enum packet_error error, const struct endpoints *ends, const uint8_t *ip,
			size_t ip_len, uint8_t *buf)
{
	return put_error(error, 0, ends, ip, ip_len, buf);
}

size_t packet_put_syn_error(enum packet_error error, const struct endpoints *ends, uint32_t seq,
			    uint8_t *buf)
{
	uint8_t syn[PACKET_HEADROOM];
	uint8_t *tcp = syn + sizeof(syn) - sizeof(struct tcphdr), *ip;
	struct tcphdr h = {.source = htons(ends->sport),
			   .dest = htons(ends->dport),
			   .seq = htonl(seq),
			   .doff = 5,
			   .syn = 1};

	memcpy(tcp, &h, sizeof(h));
	ip = put_ip(&ends->src, &ends->dst, IPPROTO_TCP, tcp, sizeof(h));
	return packet_put_error(error, ends, ip, (size_t)(syn + sizeof(syn) - ip), buf);
}

/* As a packet with nothing but the header of its protocol would have been. */
static size_t put_header_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			       uint8_t proto, const uint8_t header[8], uint8_t *buf)
{
	uint8_t quoted[PACKET_HEADROOM];
	uint8_t *at = quoted + sizeof(quoted) - 8, *ip;

	memcpy(at, header, 8);
	ip = put_ip(&ends->src, &ends->dst, proto, at, 8);
	return put_error(error, mtu, ends, ip, (size_t)(quoted + sizeof(quoted) - ip), buf);
}

size_t packet_put_udp_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			    uint8_t *buf)
{
	struct udphdr h = {.source = htons(ends->sport),
			   .dest = htons(ends->dport),
			   .len = htons(sizeof(h))};

	return put_header_error(error, mtu, ends, IPPROTO_UDP, (const uint8_t *)&h, buf);
}

size_t packet_put_echo_error(enum packet_error error, uint32_t mtu, const struct endpoints *ends,
			     uint16_t seq, uint8_t *buf)
{
	bool v6 = ends->src.family == AF_INET6;
	uint8_t icmp[ICMP_HEADER];

	put_echo_header(v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO, ends->sport, seq, icmp);
	return put_header_error(error, mtu, ends, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp, buf);
}
