/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the server is, found out while the network is free. Later, names may be resolved by a
 * daemon whose own queries are captured by the tunnel that is to be opened: ssh is then told an
 * address beside the name (HostName, with the name as HostKeyAlias).
 */
#ifndef BYWAY_TUNNEL_SSH_WHERE_H
#define BYWAY_TUNNEL_SSH_WHERE_H

#include <stddef.h>

#include "base/ip.h"

struct err;
struct ssh_config;

#define SSH_ADDRS_MAX 8
#define SSH_ALIAS_MAX 300

struct ssh_where {
	struct ip addrs[SSH_ADDRS_MAX];
	size_t n;                  /* 0: ssh is told nothing */
	char alias[SSH_ALIAS_MAX]; /* by which known_hosts has the server's key */
};

/* Asks ssh what its configuration makes of the destination, and the system for its addresses; waits
 * for both. None for a server that is given by its address, is behind a jump host, or has no
 * address now: ssh will say so. */
int ssh_where_find(const struct ssh_config *config, struct ssh_where *ret, struct err *err);

#endif
