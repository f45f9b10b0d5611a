/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tunnel over SSH.
 */
#ifndef BYWAY_OPS_SSH_H
#define BYWAY_OPS_SSH_H

#include "ops/tunnel.h"
#include "tunnel/relay.h"
#include "tunnel/ssh.h"

/* The group of ssh's sockets, by which the rules know them: "byw". No real group has to have it. */
#define SSH_GID 6453623u

struct ssh_tunnel_config {
	struct tunnel_config tunnel; /* capture.datagrams, .exclude_gid and .dns are filled in */
	struct ssh_config ssh;       /* run_dir, user and gid are filled in */
	enum relay_dns dns;
	struct ip resolver; /* of RELAY_DNS_ADDR */
};

/* See ops_tunnel_run(). An authentication that is refused, or a host key that is unknown or
 * another, ends it before it stands: ERR_AUTH. */
int ops_ssh_run(struct ssh_tunnel_config *c, struct err *err);
/* Opens one stream through the server and closes it, with no tunnel. */
int ops_ssh_check(struct ssh_tunnel_config *c, const char *host, uint16_t port, struct err *err);

#endif
