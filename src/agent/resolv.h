/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server's resolvers, from its resolv.conf(5). */
#ifndef BYWAY_AGENT_RESOLV_H
#define BYWAY_AGENT_RESOLV_H

#include <stddef.h>

#include "agent/proto.h"

/* The addresses of the nameserver lines, in their order, at most PROTO_RESOLVERS_MAX of them;
 * returns how many. One with a zone (fe80::1%eth0) is left out: a frame has no room for the zone.
 */
size_t resolv_parse(const char *text, size_t len, struct proto_addr ret[PROTO_RESOLVERS_MAX]);

#endif
