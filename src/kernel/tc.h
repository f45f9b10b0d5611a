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

#include <stdbool.h>
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

/* What keeps limits, of any link: what is at its root, or takes what comes in. A negative return of fn
 * ends the walk with it. */
struct tc_qdisc {
	int ifindex;
	bool is_ingress, is_bucket;
	uint64_t bytes_per_s; /* of a bucket */
};
typedef int (*tc_fn)(const struct tc_qdisc *q, void *arg);
int tc_each(struct netns *ns, tc_fn fn, void *arg, struct err *err);
/* q may be NULL: then it is not. */
bool tc_is_bucket_of(const struct tc_qdisc *q, uint64_t bits_per_s);
/* Whether what comes in meets a filter, as that which redirects it. */
bool tc_has_filter(struct netns *ns, int ifindex);

#endif
