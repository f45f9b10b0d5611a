/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which networks a VPC and its subnets may have: checks with a clear message each, and free slices.
 */
#ifndef BYWAY_VPC_PLAN_H
#define BYWAY_VPC_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"
#include "base/util.h"

struct err;
struct vpc;

/* A VPC's network: IPv4 /8 to /30 or IPv6 /16 to /126, no host bits, nothing reserved. family is
 * AF_INET or AF_INET6. */
int plan_vpc_cidr(const char *text, int family, struct cidr *ret, struct err *err);
#define VPC_MTU_DEFAULT 1500u
/* What links of a VPC may have; more is needed for IPv6. */
int plan_mtu(unsigned int mtu_bytes, bool v6, struct err *err);
/* A subnet's network: inside the VPC's, at least a /30 or a /126. */
int plan_subnet_cidr(const struct vpc *v, const char *text, int family, struct cidr *ret,
		     struct err *err);

/* The addresses a subnet may give out: its hosts' range, behind the VPC's gateway if that is inside.
 * ERR_USAGE when nothing is left. */
int plan_pool(const struct vpc *v, const struct cidr *subnet, struct ip *first, struct ip *last,
	      struct err *err);

/* Walks the free slices of `in` with a given prefix length, in order, around what is taken. */
struct slicer {
	struct cidr in;
	unsigned int prefix;
	struct cidr *taken; /* sorted; owned */
	size_t n_taken, pos;
	struct ip at;
	bool done;
};
/* Copies taken. */
void slicer_init(struct slicer *s, const struct cidr *in, unsigned int prefix,
		 const struct cidr taken[], size_t n_taken);
void slicer_done(struct slicer *s);
#define _slicer_ _cleanup_(slicer_done)
/* -ENOSPC when there is none left. */
int slicer_next(struct slicer *s, struct cidr *ret, struct err *err);

#endif
