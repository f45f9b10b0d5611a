/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which rules of nftables a packet meets: it is marked for tracing by a table of ours, and the
 * kernel tells of each rule (nft(8), "nft monitor trace").
 *
 * What is traced is one flow, known by its protocol and source port, or echo identifier; it works
 * in one namespace, and its table goes when the handle on that is freed, or the process is gone.
 */
#ifndef BYWAY_KERNEL_TRACE_H
#define BYWAY_KERNEL_TRACE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct netns;
struct trace;

struct trace_event {
	char table[32], chain[32];
	const char *family;    /* "inet" */
	uint64_t handle;       /* of the rule; 0: the chain's policy */
	bool verdict, dropped; /* verdict: a last word in its chain, accept or drop */
};

/* -EOPNOTSUPP when the kernel has no nftables, or does not know whose a table is. */
int trace_new(struct netns *ns, uint8_t proto, uint16_t id, struct trace **ret, struct err *err);
void trace_free(struct trace *t);
void trace_free_p(struct trace **t);
#define _trace_ _cleanup_(trace_free_p)

/* Calls fn for those that are there; does not wait. */
void trace_read(struct trace *t, void (*fn)(const struct trace_event *e, void *arg), void *arg);

#endif
