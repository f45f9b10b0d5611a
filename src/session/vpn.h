/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VPN client tells its --script: the environment that openconnect(8) documents and
 * vpnc-script reads (https://www.infradead.org/openconnect/vpnc-script.html). Most of it comes from
 * the server: none of it is trusted.
 */
#ifndef BYWAY_SESSION_VPN_H
#define BYWAY_SESSION_VPN_H

#include "session/session.h"

enum vpn_reason {
	VPN_PRE_INIT, /* credentials were accepted; there is no device yet */
	VPN_CONNECT,
	VPN_ATTEMPT_RECONNECT,
	VPN_RECONNECT,
	VPN_DISCONNECT,
	VPN_NUM_REASONS,
};
const char *vpn_reason_name(enum vpn_reason r); /* "pre-init" */

#define VPN_DOMAINS_MAX 32

struct vpn {
	enum vpn_reason reason;
	char tun[IFNAMSIZ];
	pid_t client;             /* VPNPID */
	struct ip gateway;        /* VPNGATEWAY: the server's outer address */
	struct cidr addr4, addr6; /* inside; family 0: none */
	uint32_t mtu_bytes;       /* 0: not said */
	struct ip dns[SESSION_DNS_MAX];
	size_t n_dns;
	char domain[254]; /* CISCO_DEF_DOMAIN: may be several, with blanks */
	char split_dns[VPN_DOMAINS_MAX][254];
	size_t n_split_dns;
	struct cidr *include, *exclude; /* owned; both families */
	size_t n_include, n_exclude;
	char *banner; /* owned; may be NULL */
};

/* env: NAME=VALUE, each ended by a NUL, len bytes in all. Values that make no sense are left out
 * when a tunnel can stand without them (a resolver, a network), else -EINVAL (ERR_FAILED: the
 * server's fault) says which. More than SESSION_NETS_MAX networks of a kind: -E2BIG. */
int vpn_parse(const char *env, size_t len, struct vpn *ret, struct err *err);
/* Who says that: VPNPID, or 0 when it is not said, or no number. */
pid_t vpn_client(const char *env, size_t len);
void vpn_done(struct vpn *v);
#define _vpn_ _cleanup_(vpn_done)

#endif
