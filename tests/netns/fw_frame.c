// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fw_frame.h"

const uint8_t good_mac[6] = {2, 0, 0, 0, 0, 0xa}, bad_mac[6] = {2, 0, 0, 0, 0, 0xb};
static const uint8_t everybody[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void put(struct frame *f, const void *data, size_t len)
{
	memcpy(f->bytes + f->len, data, len);
	f->len += len;
}

static void put_address(struct frame *f, const char *text)
{
	uint8_t bytes[16];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	if (inet_pton(family, text, bytes) != 1)
		abort();
	put(f, bytes, family == AF_INET6 ? 16 : 4);
}

static void put16(struct frame *f, uint16_t v)
{
	v = htons(v);
	put(f, &v, sizeof(v));
}

static void put8(struct frame *f, uint8_t v)
{
	put(f, &v, sizeof(v));
}

static struct frame ether(const uint8_t *src, uint16_t type)
{
	struct frame f = {0};

	put(&f, everybody, sizeof(everybody));
	put(&f, src, 6);
	put16(&f, type);
	return f;
}

/* Ends a frame with a number of its own. No padding: the bridge would take it off. */
static struct frame finish(struct frame f)
{
	static unsigned int n;

	n++;
	put(&f, &n, sizeof(n));
	return f;
}

static uint16_t ip_sum(const uint8_t *p)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < 20; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static struct frame ip4_frame(struct frame f, const char *src, uint16_t sport)
{
	size_t at = f.len;
	uint16_t sum;

	put16(&f, 0x4500);
	put16(&f, 20 + 8 + 4);
	put16(&f, 1);
	put16(&f, 0);
	put8(&f, 64);
	put8(&f, IPPROTO_UDP);
	put16(&f, 0);
	put_address(&f, src);
	put_address(&f, "10.9.0.255");
	sum = htons(ip_sum(f.bytes + at));
	memcpy(f.bytes + at + 10, &sum, sizeof(sum));
	put16(&f, sport);
	put16(&f, 9000);
	put16(&f, 8 + 4);
	put16(&f, 0);
	return finish(f);
}

struct frame frame_udp4(const uint8_t *mac, const char *src, uint16_t sport)
{
	return ip4_frame(ether(mac, ETHERTYPE_IP), src, sport);
}

struct frame frame_tagged(const uint8_t *mac, const char *src)
{
	struct frame f = ether(mac, ETHERTYPE_VLAN);

	put16(&f, 5);
	put16(&f, ETHERTYPE_IP);
	return ip4_frame(f, src, 1000);
}

struct frame frame_arp(const uint8_t *mac, const uint8_t *sender_mac, const char *sender)
{
	struct frame f = ether(mac, ETHERTYPE_ARP);

	put16(&f, 1);
	put16(&f, ETHERTYPE_IP);
	put8(&f, 6);
	put8(&f, 4);
	put16(&f, 1);
	put(&f, sender_mac, 6);
	put_address(&f, sender);
	put(&f, everybody, 6);
	put_address(&f, "10.9.0.77");
	return finish(f);
}

struct frame frame_icmp6(const uint8_t *mac, const char *src, uint8_t type, const char *target)
{
	struct frame f = ether(mac, ETHERTYPE_IPV6);

	put16(&f, 0x6000);
	put16(&f, 0);
	put16(&f, 8 + 16 + 4);
	put8(&f, IPPROTO_ICMPV6);
	put8(&f, 255);
	put_address(&f, src);
	put_address(&f, "ff02::1");
	put8(&f, type);
	put8(&f, 0);
	put16(&f, 0);
	put16(&f, 0);
	put16(&f, 0);
	put_address(&f, target);
	return finish(f);
}

struct frame frame_other(const uint8_t *mac)
{
	return finish(ether(mac, 0x88b5));
}
