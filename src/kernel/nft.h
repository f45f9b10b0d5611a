/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nftables over netlink: one batch is one transaction
 * (https://docs.kernel.org/networking/netlink_spec/nftables.html, linux/netfilter/nfnetlink.h).
 *
 * Messages are appended to a batch, which the kernel carries out as a whole or not at all. It
 * works in the namespace that the socket of struct netns was opened in.
 */
#ifndef BYWAY_KERNEL_NFT_H
#define BYWAY_KERNEL_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct err;
struct netns;
struct nlmsghdr;

struct nft_batch {
	struct netns *ns; /* borrowed */
	struct buf bytes;
	size_t last; /* offset of the last message */
	uint32_t first_seq;
	bool deletes; /* something */
};

/* Which message of a batch failed, and how the kernel explains it. */
struct nft_failure {
	int code;                   /* negative errno */
	const struct nlmsghdr *msg; /* in the batch; NULL when the batch as a whole failed */
	const char *expr; /* name of the expression at fault in a rule, in the batch, or NULL */
	char text[256];   /* the kernel's words, or "" */
};

void nft_batch_init(struct nft_batch *b, struct netns *ns);
void nft_batch_done(struct nft_batch *b);
#define _nft_batch_ _cleanup_(nft_batch_done)

/* Starts a message of type NFT_MSG_* for NFPROTO_*; flags beside NLM_F_REQUEST. There is room
 * for NFT_MSG_ROOM bytes of attributes, or for as many as are asked for, until the next message is
 * started. */
struct nlmsghdr *nft_batch_add(struct nft_batch *b, int type, uint8_t family, uint16_t flags);
struct nlmsghdr *nft_batch_add_room(struct nft_batch *b, int type, uint8_t family, uint16_t flags,
				    size_t room);
/* Ends the message, whose nlmsg_len is final. */
void nft_batch_end(struct nft_batch *b, const struct nlmsghdr *nlh);
#define NFT_MSG_ROOM (16 * 1024)

/* The message after msg, or the first one for NULL; NULL after the last. */
const struct nlmsghdr *nft_batch_next(const struct nft_batch *b, const struct nlmsghdr *msg);
/* NFT_MSG_* and NFPROTO_* of a message. */
int nft_msg_type(const struct nlmsghdr *nlh);
uint8_t nft_msg_family(const struct nlmsghdr *nlh);

/* Sends the batch and waits for the verdict. 0, or -errno with *ret_failure filled. Nothing is
 * sent for an empty batch. */
int nft_batch_commit(struct nft_batch *b, struct nft_failure *ret_failure);

/* A request NFT_MSG_GET*. buf is the caller's, of NFT_GET_ROOM bytes. flags: NLM_F_DUMP or 0. */
struct nlmsghdr *nft_get_init(char *buf, int type, uint8_t family, uint16_t flags);
#define NFT_GET_ROOM 512
/* Sends it, and calls fn for each message of the answer until fn returns non-zero, which is then
 * returned. -ENOENT when there is no such object; -EINTR when what was dumped changed meanwhile,
 * so that the caller starts over. */
int nft_get(struct netns *ns, struct nlmsghdr *req, int (*fn)(const struct nlmsghdr *, void *),
	    void *arg);

#endif
