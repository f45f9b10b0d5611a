/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses and CIDR arithmetic, one shape for IPv4 and IPv6: bytes in network order, the first 4
 * or 16 of them used, the rest zero, so that memcmp() orders addresses of one family.
 */
#ifndef BYWAY_BASE_IP_H
#define BYWAY_BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct err;

struct ip {
	int family; /* AF_INET, AF_INET6, or 0 for none */
	uint8_t bytes[16];
};

struct cidr {
	struct ip addr;
	unsigned int prefix;
};

struct mac {
	uint8_t bytes[6];
};

#define IP_STRLEN 46   /* INET6_ADDRSTRLEN */
#define CIDR_STRLEN 50 /* "address/128" */
#define MAC_STRLEN 18

/* Bytes of an address of this family: 4 or 16. */
size_t ip_len(int family);
unsigned int ip_bits(int family);

/* Textual forms of RFC 4632 and RFC 4291. -EINVAL with a sentence that names the text. */
int ip_parse(const char *text, struct ip *ret, struct err *err);
const char *ip_format(const struct ip *ip, char buf[IP_STRLEN]);
/* Returns the length of what is in *ret. */
socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret);
int ip_cmp(const struct ip *a, const struct ip *b);
bool ip_equal(const struct ip *a, const struct ip *b);
/* ip + n and ip - n; wrapping around is the caller's to exclude. */
struct ip ip_add(struct ip ip, uint64_t n);
struct ip ip_sub(struct ip ip, uint64_t n);

/* "ADDRESS/PREFIX"; the plain form also takes host bits and a bare address (prefix = all bits). */
int cidr_parse(const char *text, struct cidr *ret, struct err *err);
/* A network: refuses host bits that are set, and says which network was probably meant. */
int cidr_parse_network(const char *text, struct cidr *ret, struct err *err);
const char *cidr_format(const struct cidr *c, char buf[CIDR_STRLEN]);
struct ip cidr_first(const struct cidr *c); /* the network address */
struct ip cidr_last(const struct cidr *c);  /* the broadcast address in IPv4 */
bool cidr_has(const struct cidr *c, const struct ip *ip);
bool cidr_contains(const struct cidr *outer, const struct cidr *inner);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
bool cidr_equal(const struct cidr *a, const struct cidr *b);
/* First and last address a host may have: without network and broadcast (RFC 3021 leaves both
 * in a /31; an IPv6 prefix only loses its subnet-router anycast address, RFC 4291 2.6.1). */
struct ip cidr_first_host(const struct cidr *c);
struct ip cidr_last_host(const struct cidr *c);
/* Why nobody should number a private network from c ("multicast (RFC 5771)"), or NULL. */
const char *cidr_reserved(const struct cidr *c);

int mac_parse(const char *text, struct mac *ret, struct err *err);
const char *mac_format(const struct mac *m, char buf[MAC_STRLEN]);
/* A locally administered unicast address that depends on nothing but seed. */
struct mac mac_from_name(const char *seed);
/* The link-local address that a MAC gives by RFC 4291, appendix A. */
struct ip mac_link_local(const struct mac *m);

#endif
