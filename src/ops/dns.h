/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VPC's gateway serves: names, and in flat networks addresses by DHCP. dnsmasq does that,
 * one for each VPC, supervised by a process of its own (`byway dns run`).
 *
 * The row of the VPC says what is wanted. DNS_DIR/VPC/ has the files that dnsmasq reads: its
 * configuration, and for everybody on the network one file with a name and one with a lease, which
 * come and go with them; and a lock, which the process that serves holds.
 *
 * While somebody in a VPC has a way out of its own, there is another one for each list of egresses
 * that is used in it, and for those who go out by NAT: VPC@NUMBER, with a folder of that name. Who
 * asks which is decided by the host's rules (vpc/host_names.c).
 */
#ifndef BYWAY_OPS_DNS_H
#define BYWAY_OPS_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "store/store.h"

struct err;
struct ops;
struct port;
struct subnet;
struct vpc;

#define DNS_DIR STORE_DIR "/dns"
#define DNS_PATH_MAX 256
#define DNS_WAY_SEPARATOR '@'

/* name: a VPC's, or VPC@NUMBER. below: one of the names here or in vm/dnsmasq.h, or "" for the
 * folder. */
const char *dns_path(const char *name, const char *below, char ret[DNS_PATH_MAX]);
#define DNS_LOCK "lock"
#define DNS_CONFIG "conf"
/* Who is asked for names of elsewhere, in dnsmasq's words; not there: the host's resolvers. */
#define DNS_SERVERS "servers"

/* Who dnsmasq runs as: the user of the Debian package, or the one that has nothing. */
int dns_user(uid_t *ret_uid, gid_t *ret_gid, struct err *err);
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
/* The same, and the host's rules, after workloads have gone: perhaps with ways out of their own. */
int ops_dns_settle(struct ops *o, const struct vpc *v, struct err *err);
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
	const char *name;         /* VPC, or VPC@NUMBER */
	void (*ready)(void *arg); /* called once, when names are served */
	void *arg;
};
/* Serves until SIGTERM or SIGINT. ERR_CONFLICT: another process does, or has the port. */
int ops_dns_run(const struct dns_run *c, struct err *err);

#endif
