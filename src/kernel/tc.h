/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits on a link (tc(8)).
 *
 * What goes out by the link passes a token bucket (tc-tbf(8)) on it. What comes in is redirected to
 * an intermediate functional block, a device of its own, and passes a token bucket there on its way
 * back to the link. So both directions are shaped: what is too fast waits, and what finds the queue
 * full is dropped.
 */
#ifndef BYWAY_KERNEL_TC_H
#define BYWAY_KERNEL_TC_H

#include <stdint.h>

struct err;
struct netns;

struct tc_limits {
	const char *ifname;
	uint64_t out_bits, in_bits; /* a second, as the host sees it; 0: no limit */
	const char *ifb;            /* name of the device for what comes in */
	const char *ifb_alias;
	uint32_t ifb_group; /* its mark: a device of another group is somebody else's */
};

/* Makes these the limits of the link, whatever they were. The device ifb is there from now on when
 * in_bits is not 0, and gone when it is. It does not go with the link: whoever deletes the link
 * deletes both. -ENODEV (ERR_NOT_FOUND) when there is no such link; -EEXIST when somebody else has
 * a device named ifb; ERR_UNSUPPORTED when the kernel lacks what a limit needs. */
int tc_limit(struct netns *ns, const struct tc_limits *l, struct err *err);

#endif
