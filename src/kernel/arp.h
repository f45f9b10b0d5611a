/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a network whether somebody has an address (ARP probes, RFC 5227 2.1). */
#ifndef BYWAY_KERNEL_ARP_H
#define BYWAY_KERNEL_ARP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"

struct err;
struct netns;

/* Asks for all of addrs (IPv4) at once on an Ethernet link of ns, twice, and waits wait_ms in all;
 * ret_used[i]: somebody answered for, or is probing for, addrs[i]. Returns early when all are
 * answered. A link without Ethernet addresses or not up: nobody is asked, all false. */
int arp_probe(struct netns *ns, const char *ifname, const struct ip addrs[], size_t n,
	      unsigned int wait_ms, bool ret_used[], struct err *err);

#endif
