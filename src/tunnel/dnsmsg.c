// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tunnel/dnsmsg.h"

/* RFC 1035 4.1.1: the flags are bytes 2 and 3, four counts follow. */
#define FLAG_QR 0x80u /* of byte 2 */
#define FLAG_OPCODE 0x78u
#define FLAG_TC 0x02u
#define FLAG_RD 0x01u
#define FLAG_RA 0x80u /* of byte 3 */
#define FLAG_CD 0x10u
#define FLAG_RCODE 0x0fu

enum { QDCOUNT = 4, ANCOUNT = 6, NSCOUNT = 8, ARCOUNT = 10 };

#define LABEL_MAX 63
#define LABEL_POINTER 0xc0u
#define RECORD_FIXED 10 /* type, class, TTL, length of the data */
#define OPT_SIZE 11     /* without options */
#define OPT_DO 0x80u    /* RFC 3225 3: of the third byte of the TTL */
#define EDNS_UDP 1232   /* what we say we take: nobody asks us anything that long */

struct cursor {
	const uint8_t *msg;
	size_t len, at;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* ---- Reading ---- */

/* Lengths of labels stay what they are: none is a letter. */
static bool parse_question(struct cursor *c, struct dnsmsg_query *q)
{
	size_t n = 0;
	uint8_t label;

	do {
		if (c->at >= c->len)
			return false;
		label = c->msg[c->at];
		/* No pointers: there is nothing before the first name to point at. */
		if (label > LABEL_MAX || n + label + 1u > DNSMSG_NAME_MAX ||
		    c->len - c->at <= label)
			return false;
		for (size_t i = 0; i <= label; i++)
			q->name[n++] = lower(c->msg[c->at++]);
	} while (label);
	if (c->len - c->at < 4)
		return false;
	q->name_len = (uint16_t)n;
	q->type = get16(c->msg + c->at);
	q->class = get16(c->msg + c->at + 2);
	c->at += 4;
	return true;
}

static bool skip_name(struct cursor *c)
{
	while (c->at < c->len) {
		uint8_t label = c->msg[c->at];

		if ((label & LABEL_POINTER) == LABEL_POINTER) {
			c->at += 2;
			return c->at <= c->len;
		}
		if (label > LABEL_MAX)
			return false;
		c->at += label + 1u;
		if (!label)
			return true;
	}
	return false;
}

/* One record: where it begins, where its fixed part does. */
static bool next_record(struct cursor *c, size_t *ret_start, size_t *ret_fixed)
{
	size_t start = c->at, data;

	if (!skip_name(c) || c->len - c->at < RECORD_FIXED)
		return false;
	data = get16(c->msg + c->at + 8);
	if (c->len - c->at - RECORD_FIXED < data)
		return false;
	*ret_start = start;
	*ret_fixed = c->at;
	c->at += RECORD_FIXED + data;
	return true;
}

/* 1: found, 0: there is none, -1: malformed, or more than one. c stands behind the question. */
static int find_opt(struct cursor *c, size_t *ret_start, size_t *ret_fixed)
{
	size_t before = (size_t)get16(c->msg + ANCOUNT) + get16(c->msg + NSCOUNT);
	size_t n = before + get16(c->msg + ARCOUNT), start, fixed;
	int found = 0;

	for (size_t i = 0; i < n; i++) {
		if (!next_record(c, &start, &fixed))
			return -1;
		if (i < before || get16(c->msg + fixed) != DNSMSG_OPT)
			continue;
		if (found || c->msg[start]) /* its name is the root */
			return -1;
		found = 1;
		*ret_start = start;
		*ret_fixed = fixed;
	}
	return found;
}

enum dnsmsg_rcode dnsmsg_parse_query(const uint8_t *msg, size_t len, struct dnsmsg_query *ret)
{
	struct cursor c = {msg, len, DNSMSG_HEADER};
	size_t start, fixed;
	int opt;

	*ret = (struct dnsmsg_query){.udp_bytes = DNSMSG_UDP_MIN};
	if (len < DNSMSG_HEADER || len > UINT16_MAX || msg[2] & FLAG_QR)
		return DNSMSG_IGNORE;
	ret->id = get16(msg);
	if (msg[2] & FLAG_OPCODE)
		return DNSMSG_NOTIMP;
	if (get16(msg + QDCOUNT) != 1 || !parse_question(&c, ret))
		return DNSMSG_FORMERR;
	ret->end = (uint16_t)c.at;
	opt = find_opt(&c, &start, &fixed);
	if (opt < 0)
		return DNSMSG_FORMERR;
	if (!opt)
		return DNSMSG_NOERROR;
	ret->edns = true;
	ret->udp_bytes = MAX(get16(msg + fixed + 2), DNSMSG_UDP_MIN);
	ret->wants_dnssec = msg[fixed + 6] & OPT_DO;
	return msg[fixed + 5] ? DNSMSG_BADVERS : DNSMSG_NOERROR;
}

static bool is_host_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool dnsmsg_host(const struct dnsmsg_query *q, char ret[DNSMSG_TEXT_MAX])
{
	char text[DNSMSG_TEXT_MAX];
	size_t n = 0;

	for (size_t at = 0; q->name[at]; at += q->name[at] + 1u) {
		if (n)
			text[n++] = '.';
		for (size_t i = 1; i <= q->name[at]; i++) {
			if (!is_host_char(q->name[at + i]))
				return false;
			text[n++] = (char)q->name[at + i];
		}
	}
	if (!n)
		return false;
	text[n] = '\0';
	memcpy(ret, text, n + 1);
	return true;
}

static bool reverse4(const char *text, struct ip *ret)
{
	unsigned int b[4];
	char again[32];

	if (sscanf(text, "%3u.%3u.%3u.%3u", &b[3], &b[2], &b[1], &b[0]) != 4)
		return false;
	/* As it would be written: no signs, blanks, zeros in front. */
	snprintf(again, sizeof(again), "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	if (strcmp(text, again))
		return false;
	*ret = (struct ip){.family = AF_INET};
	for (size_t i = 0; i < 4; i++) {
		if (b[i] > 255)
			return false;
		ret->bytes[i] = (uint8_t)b[i];
	}
	return true;
}

static bool reverse6(const char *text, struct ip *ret)
{
	static const char digits[] = "0123456789abcdef";
	struct ip ip = {.family = AF_INET6};

	if (strlen(text) != 64 + strlen("ip6.arpa") || strcmp(text + 64, "ip6.arpa"))
		return false;
	for (size_t i = 0; i < 32; i++) {
		const char *digit = strchr(digits, text[2 * i]);

		if (!digit || text[2 * i + 1] != '.')
			return false;
		ip.bytes[15 - i / 2] |= (uint8_t)((digit - digits) << (i % 2 * 4));
	}
	*ret = ip;
	return true;
}

bool dnsmsg_reverse(const struct dnsmsg_query *q, struct ip *ret)
{
	char text[DNSMSG_TEXT_MAX];

	return dnsmsg_host(q, text) && (reverse4(text, ret) || reverse6(text, ret));
}

/* ---- Building ---- */

size_t dnsmsg_put_reply(const struct dnsmsg_query *q, const uint8_t *msg, enum dnsmsg_rcode rcode,
			uint8_t *buf)
{
	size_t end = q->end ? q->end : DNSMSG_HEADER;

	assert(end <= DNSMSG_REPLY_MAX);
	memmove(buf, msg, end);
	buf[2] = (uint8_t)(FLAG_QR | (msg[2] & (FLAG_OPCODE | FLAG_RD)));
	buf[3] = (uint8_t)(FLAG_RA | (msg[3] & FLAG_CD) | ((unsigned int)rcode & FLAG_RCODE));
	put16(buf, q->id);
	memset(buf + QDCOUNT, 0, DNSMSG_HEADER - QDCOUNT);
	put16(buf + QDCOUNT, q->end ? 1 : 0);
	return end;
}

/* A record about the name of the question, data_len bytes follow. */
static size_t put_record(uint8_t *buf, size_t len, uint16_t type, uint32_t ttl_s, size_t data_len)
{
	uint8_t *p = buf + len;

	assert(len + 12 + data_len <= DNSMSG_REPLY_MAX - OPT_SIZE);
	put16(p, LABEL_POINTER << 8 | DNSMSG_HEADER);
	put16(p + 2, type);
	put16(p + 4, DNSMSG_CLASS_IN);
	put16(p + 6, (uint16_t)(ttl_s >> 16));
	put16(p + 8, (uint16_t)ttl_s);
	put16(p + 10, (uint16_t)data_len);
	put16(buf + ANCOUNT, (uint16_t)(get16(buf + ANCOUNT) + 1));
	return len + 12;
}

size_t dnsmsg_put_address(uint8_t *buf, size_t len, const struct ip *ip, uint32_t ttl_s)
{
	size_t n = ip_len(ip->family);

	len = put_record(buf, len, ip->family == AF_INET ? DNSMSG_A : DNSMSG_AAAA, ttl_s, n);
	memcpy(buf + len, ip->bytes, n);
	return len + n;
}

/* host, of n characters, has dots between its labels; on the wire they have a length each, the root
 * one, and the dots go. Returns the name's length there. */
static size_t put_name(uint8_t *p, const char *host, size_t n)
{
	size_t label = 0;

	assert(n && n + 2 <= DNSMSG_NAME_MAX);
	memcpy(p + 1, host, n);
	for (size_t i = 0; i <= n; i++) {
		if (i < n && host[i] != '.')
			continue;
		p[label] = (uint8_t)(i - label);
		label = i + 1;
	}
	p[n + 1] = 0;
	return n + 2;
}

size_t dnsmsg_put_pointer(uint8_t *buf, size_t len, const char *host, uint32_t ttl_s)
{
	size_t n = strlen(host);

	len = put_record(buf, len, DNSMSG_PTR, ttl_s, n + 2);
	return len + put_name(buf + len, host, n);
}

size_t dnsmsg_put_query(uint16_t id, uint16_t type, const char *host, uint8_t buf[DNSMSG_QUERY_MAX],
			struct dnsmsg_query *ret)
{
	size_t n = strlen(host), end;

	n -= n && host[n - 1] == '.'; /* the root's */
	if (!n || n + 2 > DNSMSG_NAME_MAX)
		return 0;
	memset(buf, 0, DNSMSG_HEADER);
	put16(buf, id);
	buf[2] = FLAG_RD;
	put16(buf + QDCOUNT, 1);
	end = DNSMSG_HEADER + put_name(buf + DNSMSG_HEADER, host, n);
	put16(buf + end, type);
	put16(buf + end + 2, DNSMSG_CLASS_IN);
	end += 4;
	/* An empty label would end the name there, one that is too long is none. */
	return dnsmsg_parse_query(buf, end, ret) == DNSMSG_NOERROR && ret->end == end ? end : 0;
}

size_t dnsmsg_put_opt(const struct dnsmsg_query *q, enum dnsmsg_rcode rcode, uint8_t *buf,
		      size_t len)
{
	uint8_t *p = buf + len;

	if (!q->edns)
		return len;
	assert(len + OPT_SIZE <= DNSMSG_REPLY_MAX);
	memset(p, 0, OPT_SIZE);
	put16(p + 1, DNSMSG_OPT);
	put16(p + 3, EDNS_UDP);
	p[5] = (uint8_t)((unsigned int)rcode >> 4);
	p[7] = q->wants_dnssec ? OPT_DO : 0;
	put16(buf + ARCOUNT, 1);
	return len + OPT_SIZE;
}

/* ---- Other servers' responses ---- */

bool dnsmsg_answers(const struct dnsmsg_query *q, const uint8_t *msg, size_t len)
{
	struct dnsmsg_query r;
	struct cursor c = {msg, len, DNSMSG_HEADER};

	if (len < DNSMSG_HEADER || !(msg[2] & FLAG_QR) || msg[2] & FLAG_OPCODE)
		return false;
	return get16(msg + QDCOUNT) == 1 && parse_question(&c, &r) && c.at == q->end &&
	       r.type == q->type && r.class == q->class && !memcmp(r.name, q->name, q->name_len);
}

enum dnsmsg_rcode dnsmsg_bare_refusal(const uint8_t *msg, size_t len)
{
	bool bare = len == DNSMSG_HEADER && msg[2] & FLAG_QR && !get16(msg + QDCOUNT);

	return bare ? (enum dnsmsg_rcode)(msg[3] & FLAG_RCODE) : DNSMSG_NOERROR;
}

size_t dnsmsg_truncate(const struct dnsmsg_query *q, uint8_t *msg, size_t len, size_t max)
{
	struct cursor c = {msg, len, q->end};
	size_t start, fixed, opt = 0;
	bool found = find_opt(&c, &start, &fixed) == 1;

	if (found) {
		opt = fixed + RECORD_FIXED + get16(msg + fixed + 8) - start;
		if (q->end + opt > max)
			opt = 0;
		memmove(msg + q->end, msg + start, opt);
	}
	msg[2] |= FLAG_TC;
	memset(msg + ANCOUNT, 0, DNSMSG_HEADER - ANCOUNT);
	put16(msg + ARCOUNT, opt ? 1 : 0);
	return q->end + opt;
}
