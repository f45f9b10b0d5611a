/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving a lease back in a guest's stead: a server has no other way to hear that the guest is gone,
 * and gives the address to nobody else before the lease is over.
 */
#ifndef BYWAY_VM_DHCP_RELEASE_H
#define BYWAY_VM_DHCP_RELEASE_H

#include <stdint.h>

#include "base/ip.h"

#define DHCP_RELEASE_LEN 300 /* the least that a BOOTP relay passes on (RFC 1542 2.1) */

/* A DHCPRELEASE (RFC 2131 4.4.6) of addr, from its client to its server. */
void dhcp_release_message(const struct mac *mac, const struct ip *addr, const struct ip *server,
			  uint8_t ret[DHCP_RELEASE_LEN]);
/* Sends it to the server, which is on this host and listens on that interface only. No answer
 * comes; 0 or -errno. */
int dhcp_release(const char *interface, const struct mac *mac, const struct ip *addr,
		 const struct ip *server);

#endif
