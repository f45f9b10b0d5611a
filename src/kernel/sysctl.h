/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel settings under /proc/sys (sysctl(8)), of the namespace that the handle stands for. */
#ifndef BYWAY_KERNEL_SYSCTL_H
#define BYWAY_KERNEL_SYSCTL_H

#include <stdbool.h>

struct err;
struct netns;

#define SYSCTL_VALUE_MAX 64

/* key in path form, "net/ipv4/ip_forward". Without the newline. -ENOENT: the kernel lacks it. */
int sysctl_get(struct netns *ns, const char *key, char ret[SYSCTL_VALUE_MAX], struct err *err);
int sysctl_set(struct netns *ns, const char *key, const char *value, struct err *err);
/* Whether the kernel has IPv6 at all. */
bool sysctl_has_ipv6(struct netns *ns);
/* For a new link that is to have IPv6 addresses, where the system gives new ones no IPv6. Nothing to do without
 * IPv6 in the kernel. */
int sysctl_enable_ipv6(struct netns *ns, const char *ifname, struct err *err);

#endif
