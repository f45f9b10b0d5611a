/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VPC's gateway serves: names, and in flat networks addresses by DHCP. dnsmasq does that,
 * one for each VPC, supervised by a process of its own (`byway dns run`).
 *
 * The row of the VPC says what is wanted. DNS_DIR/VPC/ has the files that dnsmasq reads: its
 * configuration, and for everybody on the network one file with a name and one with a lease, which
 * come and go with them; and a lock, which the process that serves holds.
 */
#ifndef BYWAY_OPS_DNS_H
#define BYWAY_OPS_DNS_H

#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"

struct err;
struct ops;
struct port;
struct subnet;
struct vpc;

#define DNS_DIR STORE_DIR "/dns"
#define DNS_PATH_MAX 256

/* below: one of the names here or in vm/dnsmasq.h, or "" for the folder. */
const char *dns_path(const char *vpc, const char *below, char ret[DNS_PATH_MAX]);
#define DNS_LOCK "lock"
#define DNS_CONFIG "conf"
/* Who is asked for names of elsewhere, in dnsmasq's words; not there: the host's resolvers. */
#define DNS_SERVERS "servers"

/* Can this VPC have it, and is dnsmasq there? ERR_UNSUPPORTED names the package. */
int ops_dns_check(const struct vpc *v, struct err *err);
/* Turns it on, or on again where nobody serves any more. dhcp: addresses, too. */
int ops_dns_enable(struct ops *o, const char *vpc, bool dhcp, bool *ret_changed, struct err *err);
int ops_dns_disable(struct ops *o, const char *vpc, bool *ret_existed, struct err *err);
bool ops_dns_is_served(const char *vpc);

/* ---- For the other use cases; v->dns says whether there is anything to do ---- */

/* The files, and a process that serves; instead of the one that does, if any. */
int ops_dns_up(struct ops *o, const struct vpc *v, struct err *err);
/* Ends the process and removes the files. Not there: done. */
int ops_dns_down(struct ops *o, const char *vpc, struct err *err);
/* The VPC's way out has changed: who is asked for names of elsewhere? */
int ops_dns_refresh(struct ops *o, const char *vpc, struct err *err);
int ops_dns_add_port(struct ops *o, const struct vpc *v, const struct port *p, struct err *err);
int ops_dns_add_subnet(struct ops *o, const struct vpc *v, const struct subnet *s, struct err *err);
void ops_dns_forget_port(struct ops *o, const struct vpc *v, const struct port *p);
int ops_dns_forget_subnet(struct ops *o, const struct subnet *s, struct err *err);
/* After some were forgotten. */
void ops_dns_reload(struct ops *o, const struct vpc *v);
/* gc's part: ends what no row wants, and starts what nobody serves; adds how many. */
int ops_dns_sweep(struct ops *o, size_t *count, struct err *err);
/* Ends all there are, whatever the state says. */
void ops_dns_end_all(void);

/* ---- The process ---- */

struct dns_run {
	const char *vpc;
	void (*ready)(void *arg); /* called once, when names are served */
	void *arg;
};
/* Serves until SIGTERM or SIGINT. ERR_CONFLICT: another process does, or has the port. */
int ops_dns_run(const struct dns_run *c, struct err *err);

#endif
