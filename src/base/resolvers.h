/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom this machine asks for names: resolv.conf(5). */
#ifndef BYWAY_BASE_RESOLVERS_H
#define BYWAY_BASE_RESOLVERS_H

#include <stddef.h>

struct ip;

/* The addresses in /etc/resolv.conf, without those on loopback; when none is left, those that
 * systemd-resolved asks. At most max; returns how many. */
size_t resolvers_read(struct ip *ret, size_t max);
/* For who asks from this machine itself: when there are none of these, those on loopback. */
size_t resolvers_read_own(struct ip *ret, size_t max);

#endif
