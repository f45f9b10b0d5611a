/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small networks of namespaces, and packets that say whether they came through.
 */
#ifndef BYWAY_TESTS_FW_PROBE_H
#define BYWAY_TESTS_FW_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct netns;

/* Makes this process alone: namespaces of its own, an empty /run. Ends it on failure. */
void world_enter(void);
/* A shell command that must succeed. */
void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What a shell command prints. */
void sh_read(struct buf *ret, const char *cmd);

struct netns *world_netns(const char *name);

/* How long to wait for what must come, and for what must not. The latter makes a test slower, not
 * flaky: within one machine a packet that is let through is there at once. Or lost, while the
 * kernel's table of neighbours, one for all namespaces, is full of others': what must come is sent
 * again. */
#define WAIT_PASS_MS 3000
#define WAIT_DROP_MS 80
#define SEND_AGAIN_MS 500

/* Sends a datagram from one namespace to another and says whether it arrived; also when it was
 * refused on the spot. seen: the source that the receiver saw, of 64 bytes, or NULL. */
bool udp_arrives(struct netns *from, struct netns *to, const char *dst, uint16_t port, char *seen,
		 int wait_ms);
/* As udp_arrives(), and then an answer the other way. */
bool udp_answered(struct netns *from, struct netns *to, const char *dst, uint16_t port);
bool tcp_connects(struct netns *from, struct netns *to, const char *dst, uint16_t port,
		  int wait_ms);
/* Connects to dst, and says whether the server at address `at` accepts. ret_mss: the size of the
 * segments that it is asked to send, or NULL. */
bool tcp_arrives(struct netns *from, const char *dst, uint16_t port, struct netns *to,
		 const char *at, uint16_t at_port, int wait_ms, int *ret_mss);
/* Sends an ICMP or ICMPv6 message of this type; whether it is seen there, or for an echo request,
 * answered. */
bool icmp_arrives(struct netns *from, struct netns *to, const char *dst, uint8_t type, int wait_ms);
bool ping_answered(struct netns *from, const char *dst, int wait_ms);
/* Sends a frame out of a device and says whether it comes in at another. It must be unlike any
 * other frame on the way. */
bool frame_arrives(struct netns *from, const char *out, struct netns *to, const char *in,
		   const void *frame, size_t len, int wait_ms);

/* Datagrams to one place, counted where they arrive, until stopped. */
struct flood;
struct flood *flood_start(struct netns *from, struct netns *to, const char *dst, uint16_t port);
/* Number of datagrams sent so far. */
size_t flood_sent(const struct flood *f);
/* Ends it, and returns how many arrived. */
size_t flood_stop(struct flood *f);

#endif
