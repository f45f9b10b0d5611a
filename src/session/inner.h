/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is inside a session's namespace once the VPN is there: the TUN device, its addresses and
 * routes. See inner.c.
 */
#ifndef BYWAY_SESSION_INNER_H
#define BYWAY_SESSION_INNER_H

struct err;
struct ip;
struct netns;
struct session;
struct session_spec;
struct vpn;

/* Before the VPN is there: what is to go through it goes nowhere (split mode: unreachable routes;
 * full mode has no route anyway). Done again: no change. */
int inner_prepare(struct netns *ns, const struct session_spec *spec, struct err *err);
/* Before openconnect is started in ns, in split mode: lets it reach server beside the tunnel,
 * though the networks that are included may have that address. In full mode: nothing to do. An
 * address that was allowed before stays so until inner_connect(). */
int inner_allow(struct netns *ns, const struct session *s, const struct ip *server,
		struct err *err);
/* openconnect has made vpn->tun in outer. Makes the device outlive openconnect (TUNSETPERSIST),
 * moves it into ns when that is another namespace, in place of the one that was there, and sets
 * addresses, MTU and routes. With the device of before gone or not, addresses changed or not:
 * afterwards it is as vpn says. outer == ns in split mode. */
int inner_connect(struct netns *outer, struct netns *ns, const struct session *s,
		  const struct session_spec *spec, const struct vpn *vpn, struct err *err);

#endif
