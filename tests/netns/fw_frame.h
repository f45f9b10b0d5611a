/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ethernet frames, honest and forged, each unlike all others.
 */
#ifndef BYWAY_TESTS_FW_FRAME_H
#define BYWAY_TESTS_FW_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct frame {
	uint8_t bytes[128];
	size_t len;
};

extern const uint8_t good_mac[6], bad_mac[6];

/* To UDP port 9000 of everybody. */
struct frame frame_udp4(const uint8_t *mac, const char *src, uint16_t sport);
/* The same behind a VLAN tag. */
struct frame frame_tagged(const uint8_t *mac, const char *src);
struct frame frame_arp(const uint8_t *mac, const uint8_t *sender_mac, const char *sender);
/* ICMPv6 of this type; in messages of neighbour discovery the target comes 8 bytes in. */
struct frame frame_icmp6(const uint8_t *mac, const char *src, uint8_t type, const char *target);
/* Of a protocol that nobody speaks. */
struct frame frame_other(const uint8_t *mac);

#endif
