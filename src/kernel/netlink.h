/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rtnetlink requests (rtnetlink(7)): a batch of changes sent in one go, and dumps.
 *
 * A batch collects messages for one namespace. Each is numbered and described in ip(8)'s words, so
 * that an error says which operation failed and what the kernel said of it. The kernel carries the
 * messages out in order and goes on after one that fails: the caller undoes what must not stay.
 */
#ifndef BYWAY_KERNEL_NETLINK_H
#define BYWAY_KERNEL_NETLINK_H

#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

#include "base/buf.h"

struct err;
struct netns;
struct nlattr;

struct nlbatch_op {
	size_t offset;
	int tolerate; /* a positive errno which is as good as success, or 0 */
	char *what;
};

struct nlbatch {
	struct netns *ns; /* borrowed */
	struct buf buf;
	struct nlmsghdr *open; /* the message being built, not yet counted in buf.len */
	struct nlbatch_op *ops;
	size_t n_ops, cap_ops;
};

void nlbatch_init(struct nlbatch *b, struct netns *ns);
void nlbatch_done(struct nlbatch *b);
#define _nlbatch_ _cleanup_(nlbatch_done)

#define NLBATCH_MSG_MAX 2048 /* one message with all its attributes */

/* Starts a message; attributes are put into it with libmnl until the next message or the commit.
 * extra is the zeroed fixed header behind nlmsghdr, of size bytes. */
struct nlmsghdr *nlbatch_add(struct nlbatch *b, uint16_t type, uint16_t flags, size_t size,
			     void **extra, int tolerate, const char *what, ...) _printf_(7, 8);

/* Sends what was added and waits for the kernel's word on every message; the batch is empty
 * afterwards. Returns the first error; err also says how many others failed. */
int nlbatch_commit(struct nlbatch *b, struct err *err);

/* Called for each message of a dump; a negative return ends it with that error, about which fn has
 * said what there is to say: the rest is read without it. */
typedef int (*nl_dump_fn)(const struct nlmsghdr *nlh, void *arg);
/* request: a whole message but for flags, sequence number and port. Repeats a dump that the
 * kernel says was inconsistent (NLM_F_DUMP_INTR): fn must cope with objects seen twice. */
int nl_dump(struct netns *ns, struct nlmsghdr *request, nl_dump_fn fn, void *arg, struct err *err);
/* The same, but not repeated: what comes or goes meanwhile may be missing, or there twice. */
int nl_dump_once(struct netns *ns, struct nlmsghdr *request, nl_dump_fn fn, void *arg,
		 struct err *err);
/* One object: fn is called once. Errors are returned without words: the caller knows the object. */
int nl_get(struct netns *ns, struct nlmsghdr *request, nl_dump_fn fn, void *arg);

#endif
