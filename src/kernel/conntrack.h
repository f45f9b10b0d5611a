/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tracked connections of a namespace (conntrack(8), nfnetlink_conntrack). */
#ifndef BYWAY_KERNEL_CONNTRACK_H
#define BYWAY_KERNEL_CONNTRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct netns;

struct conntrack_flow {
	struct ip src, dst; /* of the packet that opened it */
	uint8_t proto;
	uint16_t sport, dport; /* 0 for protocols without */
	struct ip from;        /* who answers: dst, unless the connection was sent on to another */
	uint16_t from_port;
	uint32_t mark;
};

/* Calls fn for each connection; when it returns true, the bits of mask in the connection's mark
 * become those of flow->mark, which fn has changed. Costs nothing in a namespace that tracks
 * none. */
typedef bool (*conntrack_fn)(struct conntrack_flow *flow, void *arg);
int conntrack_mark_each(struct netns *ns, uint32_t mask, conntrack_fn fn, void *arg,
			struct err *err);

/* Ends those for which fn returns true: what still comes of them is nobody's. */
int conntrack_end_each(struct netns *ns, conntrack_fn fn, void *arg, struct err *err);

#endif
