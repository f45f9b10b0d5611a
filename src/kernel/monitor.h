/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Noticing that the network has changed: links, addresses and routes, as rtnetlink(7) tells its
 * multicast groups.
 */
#ifndef BYWAY_KERNEL_MONITOR_H
#define BYWAY_KERNEL_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct err;
struct monitor;

/* Of the calling thread's namespace. What happens to the link of that name (NULL: none), with its
 * addresses and routes, and in that routing table is not told. */
int monitor_new(const char *ignored_link, uint32_t ignored_table, struct monitor **ret,
		struct err *err);
void monitor_free(struct monitor *m);
/* Readable when monitor_changed() should be asked. */
int monitor_fd(const struct monitor *m);
/* Takes what has been told by now: whether a link, an address, a default route or a route to one of
 * these peers was among it; and true when the kernel had to leave something out. Never blocks. */
bool monitor_changed(struct monitor *m, const struct ip peers[], size_t n_peers);

/* A descriptor that becomes readable when the link of that index is deleted or moved away, and by
 * nothing else. Of the calling thread's namespace. */
int monitor_link_end(int index, int *ret_fd, struct err *err);

#endif
