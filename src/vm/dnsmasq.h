/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What dnsmasq(8) is told of a network whose gateway serves names, and addresses by DHCP. Text
 * only: nothing is looked up, and nothing is changed.
 *
 * Everybody on a network has the name NAME.NETWORK.internal; "internal" is a domain that nobody
 * else has (ICANN, 2024), and no question about it leaves the machine.
 */
#ifndef BYWAY_VM_DNSMASQ_H
#define BYWAY_VM_DNSMASQ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "vpc/vpc.h"

struct buf;
struct err;
struct port;

#define DNSMASQ_DOMAIN_MAX (NAME_MAX_LEN + 16)

/* The domain of a network's names. */
const char *dnsmasq_domain(const struct vpc *v, char ret[DNSMASQ_DOMAIN_MAX]);
/* Whether a name can be part of a domain name: no two dots in a row, none at an end (RFC 1035). */
bool dnsmasq_is_name(const char *name);
/* ERR_USAGE for a network whose name cannot. */
int dnsmasq_check(const struct vpc *v, struct err *err);

/* Names below dir: a file that the configuration has dnsmasq read, and two folders of such with one
 * file each for everybody on the network. */
#define DNSMASQ_UPSTREAM "upstream"
#define DNSMASQ_HOSTS "hosts"
#define DNSMASQ_LEASES "dhcp"

/* The configuration file. */
void dnsmasq_config(const struct vpc *v, const char *dir, struct buf *ret);
/* Of another one for the same network, for those who go out by a way of their own: at another port,
 * with its own DNSMASQ_UPSTREAM in dir, and the names of the first one's folder. */
void dnsmasq_way_config(const struct vpc *v, const char *dir, const char *first, uint16_t port,
			struct buf *ret);

/* Somebody on the network. */
struct dnsmasq_host {
	const char *name, *aliases; /* aliases: with blanks between */
	struct mac mac;
	struct ip addr, addr6;
};
struct dnsmasq_host dnsmasq_port(const struct port *p);
struct dnsmasq_host dnsmasq_subnet(const struct subnet *s);

/* Its file of hosts(5); and its lease, for DHCP. */
void dnsmasq_add_host(const struct vpc *v, const struct dnsmasq_host *h, struct buf *ret);
void dnsmasq_add_lease(const struct dnsmasq_host *h, struct buf *ret);

/* The file DNSMASQ_UPSTREAM: who is asked for what is not known here. */
void dnsmasq_add_server(const struct ip *addr, struct buf *ret);

/* What resolv.conf(5) says inside. */
void dnsmasq_resolv_conf(const struct vpc *v, struct buf *ret);

#endif
