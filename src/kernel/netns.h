/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A handle on one network namespace: an open descriptor and netlink sockets created inside it.
 * Every kernel call takes the namespace it works in; the process itself never switches. What can
 * only be done from inside runs on a private thread that enters the namespace and ends.
 *
 * Named namespaces follow ip-netns(8): a bind mount at /run/netns/NAME.
 */
#ifndef BYWAY_KERNEL_NETNS_H
#define BYWAY_KERNEL_NETNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct mnl_socket;
struct oplog;

#define NETNS_DIR "/run/netns"
#define NETNS_NAME_MAX 128

struct netns {
	char name[NETNS_NAME_MAX]; /* "" for the namespace the process was started in */
	int fd;                    /* -1 in a dry run of something that does not exist yet */
	struct mnl_socket *rt;     /* NETLINK_ROUTE, NETLINK_EXT_ACK on */
	struct mnl_socket *nf;     /* NETLINK_NETFILTER, NETLINK_EXT_ACK on */
	bool nf_deleted;           /* something, so that closing nf has to wait: closing.c */
	uint32_t seq;
	struct oplog *log; /* borrowed; may be NULL */
};

/* name NULL: the namespace of the calling process. -ENOENT when there is no such namespace. */
int netns_open(const char *name, struct oplog *log, struct netns **ret, struct err *err);
/* The same of any file that stands for a namespace, such as /proc/PID/ns/net. */
int netns_open_path(const char *path, struct oplog *log, struct netns **ret, struct err *err);
void netns_free(struct netns *ns);
/* The same, without waiting for the kernel. It costs more than to free a handle that rested for a while. */
void netns_leave(struct netns *ns);
void netns_free_p(struct netns **ns);
#define _netns_ _cleanup_(netns_free_p)

/* For a dry run: one that is not there, and could be used only if log were no dry one. */
struct netns *netns_imagine(const char *name, struct oplog *log);

/* Makes the namespace NAME, marked with `mark` as the alias of its loopback device before it
 * becomes visible under its name, so that nobody ever sees it without an owner. -EEXIST. */
int netns_create(const char *name, const char *mark, struct oplog *log, struct netns **ret,
		 struct err *err);
/* Makes a namespace without a name, for the caller alone: it goes with the handle. */
int netns_create_private(struct oplog *log, struct netns **ret, struct err *err);
/* Unmounts and unlinks NAME; processes still inside keep it alive, nameless. Absent: done. */
int netns_delete(const char *name, struct oplog *log, struct err *err);
bool netns_exists(const char *name);

/* Runs fn(arg) inside ns on a thread of its own and returns what fn returns. For /proc/sys/net
 * and sockets; fn must not touch the process's other state. */
int netns_call(const struct netns *ns, int (*fn)(void *), void *arg);
/* Moves the calling thread (a child about to exec, a helper thread) into ns for good. */
int netns_enter(const struct netns *ns);

#endif
