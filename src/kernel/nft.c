// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The kernel takes a batch from one datagram, and has queued every answer by the time sendto(2)
 * returns: answers are read without waiting. Only the last message asks for an acknowledgement,
 * which the kernel queues after the commit; so a transaction has succeeded when that arrived
 * and no error did. Each message that is refused is reported under its sequence number, and the
 * extended acknowledgement points at the attribute at fault.
 *
 * Invariants:
 *  1. One batch is one datagram, whatever its size: the send buffer grows to hold it.
 *  2. An answer whose sequence number is not of this batch is somebody's past, and is skipped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "kernel/netns.h"
#include "kernel/nft.h"

#define ANSWER_SIZE (32 * 1024)
#define SEND_OVERHEAD 4096 /* what af_netlink.c keeps of the send buffer for itself, and more */
#define SEND_DEFAULT (160 * 1024) /* fits net.core.wmem_default without asking */

static struct nlmsghdr *put_header(void *at, uint16_t type, uint16_t flags, uint8_t family,
				   uint16_t res_id, uint32_t seq)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = seq;
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
	return nlh;
}

static struct nlmsghdr *add_message(struct nft_batch *b, uint16_t type, uint16_t flags,
				    uint8_t family, uint16_t res_id, size_t room)
{
	size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));

	b->last = b->bytes.len;
	return put_header(buf_reserve(&b->bytes, head + room), type, flags, family, res_id,
			  ++b->ns->seq);
}

/* The messages around a transaction, which say nothing else. */
static struct nlmsghdr *add_bracket(struct nft_batch *b, uint16_t type)
{
	return add_message(b, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0);
}

void nft_batch_init(struct nft_batch *b, struct netns *ns)
{
	*b = (struct nft_batch){.ns = ns, .first_seq = ns->seq + 1};
	nft_batch_end(b, add_bracket(b, NFNL_MSG_BATCH_BEGIN));
}

void nft_batch_done(struct nft_batch *b)
{
	buf_done(&b->bytes);
}

struct nlmsghdr *nft_batch_add_room(struct nft_batch *b, int type, uint8_t family, uint16_t flags,
				    size_t room)
{
	b->deletes |= type == NFT_MSG_DELTABLE || type == NFT_MSG_DELSETELEM;
	return add_message(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0, room);
}

struct nlmsghdr *nft_batch_add(struct nft_batch *b, int type, uint8_t family, uint16_t flags)
{
	return nft_batch_add_room(b, type, family, flags, NFT_MSG_ROOM);
}

void nft_batch_end(struct nft_batch *b, const struct nlmsghdr *nlh)
{
	b->bytes.len += NLMSG_ALIGN(nlh->nlmsg_len);
}

static struct nlmsghdr *message_at(const struct nft_batch *b, size_t offset)
{
	return (struct nlmsghdr *)(void *)(b->bytes.data + offset);
}

const struct nlmsghdr *nft_batch_next(const struct nft_batch *b, const struct nlmsghdr *msg)
{
	size_t at = msg ? (size_t)((const char *)msg - b->bytes.data) : 0;

	/* Without a message: what follows BATCH_BEGIN. */
	at += NLMSG_ALIGN(message_at(b, at)->nlmsg_len);
	if (at >= b->bytes.len || message_at(b, at)->nlmsg_type == NFNL_MSG_BATCH_END)
		return NULL;
	return message_at(b, at);
}

int nft_msg_type(const struct nlmsghdr *nlh)
{
	return nlh->nlmsg_type & 0xff;
}

uint8_t nft_msg_family(const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);

	return nfg->nfgen_family;
}

/* libmnl grows no buffers, and the kernel refuses a datagram larger than the send buffer. */
static void grow_send_buffer(int fd, size_t len)
{
	int size = (int)(len + SEND_OVERHEAD);

	if (len < SEND_DEFAULT)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static const struct nlmsghdr *find_seq(const struct nft_batch *b, uint32_t seq)
{
	const struct nlmsghdr *msg = NULL;

	while ((msg = nft_batch_next(b, msg)))
		if (msg->nlmsg_seq == seq)
			return msg;
	return NULL;
}

/* mnl_attr_for_each() without its narrowing conversions */
static bool has_attr(const struct nlattr *attr, const char *end)
{
	return end > (const char *)attr && mnl_attr_ok(attr, (int)(end - (const char *)attr));
}

/* The name of the expression that the attribute at this offset of a rule's message is. */
static const char *expr_at(const struct nlmsghdr *msg, size_t offset)
{
	const struct nlattr *elem = (const void *)((const char *)msg + offset);
	const struct nlattr *attr = mnl_attr_get_payload(elem);

	if (offset + sizeof(*elem) > msg->nlmsg_len || nft_msg_type(msg) != NFT_MSG_NEWRULE ||
	    mnl_attr_get_type(elem) != NFTA_LIST_ELEM)
		return NULL;
	for (; has_attr(attr, (const char *)elem + elem->nla_len); attr = mnl_attr_next(attr))
		if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME)
			return mnl_attr_get_str(attr);
	return NULL;
}

static void read_extack(const struct nlmsghdr *answer, struct nft_failure *f)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(answer);
	size_t skip = sizeof(*e);
	const struct nlattr *attr;

	if (!(answer->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(answer->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - sizeof(e->msg);
	attr = mnl_nlmsg_get_payload_offset(answer, skip);
	for (; has_attr(attr, mnl_nlmsg_get_payload_tail(answer)); attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			snprintf(f->text, sizeof(f->text), "%s", mnl_attr_get_str(attr));
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_OFFS && f->msg &&
		    mnl_attr_get_payload_len(attr) == sizeof(uint32_t))
			f->expr = expr_at(f->msg, mnl_attr_get_u32(attr));
	}
}

struct verdict {
	bool acked;
	bool lost; /* some answers: there were errors beyond the receive buffer */
	struct nft_failure failure;
};

static void read_answer(const struct nft_batch *b, const struct nlmsghdr *nlh, struct verdict *v)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*e) ||
	    nlh->nlmsg_seq - b->first_seq > b->ns->seq - b->first_seq)
		return;
	if (!e->error) {
		v->acked = true;
		return;
	}
	if (v->failure.code)
		return; /* the first one is the cause; the others mostly follow from it */
	v->failure.code = e->error;
	v->failure.msg = find_seq(b, nlh->nlmsg_seq);
	read_extack(nlh, &v->failure);
}

static int read_answers(const struct nft_batch *b, struct verdict *v)
{
	char buf[ANSWER_SIZE] __attribute__((aligned(8)));
	int fd = mnl_socket_get_fd(b->ns->nf);

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		const struct nlmsghdr *nlh = (const void *)buf;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			v->lost = true;
			continue;
		}
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			read_answer(b, nlh, v);
	}
}

static int fail(struct nft_failure *ret_failure, int code, const char *text)
{
	*ret_failure = (struct nft_failure){.code = code};
	snprintf(ret_failure->text, sizeof(ret_failure->text), "%s", text);
	return code;
}

static int send_batch(struct nft_batch *b)
{
	int fd = mnl_socket_get_fd(b->ns->nf);

	grow_send_buffer(fd, b->bytes.len);
	for (;;) {
		if (mnl_socket_sendto(b->ns->nf, b->bytes.data, b->bytes.len) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int nft_batch_commit(struct nft_batch *b, struct nft_failure *ret_failure)
{
	struct verdict v = {0};
	int r;

	if (!nft_batch_next(b, NULL))
		return 0;
	if (!b->ns->nf)
		return fail(ret_failure, -EPROTONOSUPPORT, "");
	message_at(b, b->last)->nlmsg_flags |= NLM_F_ACK;
	nft_batch_end(b, add_bracket(b, NFNL_MSG_BATCH_END));
	b->ns->nf_deleted |= b->deletes;
	r = fault_point("nft commit");
	if (!r)
		r = send_batch(b);
	if (!r)
		r = read_answers(b, &v);
	if (r)
		return fail(ret_failure, r, "");
	if (v.failure.code) {
		*ret_failure = v.failure;
		return v.failure.code;
	}
	if (!v.acked)
		return fail(ret_failure, v.lost ? -ENOBUFS : -EPROTO,
			    "the kernel's answer was lost");
	return 0;
}

struct nlmsghdr *nft_get_init(char *buf, int type, uint8_t family, uint16_t flags)
{
	return put_header(buf, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
			  flags ? flags : NLM_F_ACK, family, 0, 0);
}

/* 1: the answer goes on. */
static int read_dump(const struct nlmsghdr *nlh, uint32_t seq,
		     int (*fn)(const struct nlmsghdr *, void *), void *arg, int *result)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_seq != seq)
		return 1;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR && !*result)
		*result = -EINTR;
	if (nlh->nlmsg_type == NLMSG_DONE)
		return 0;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		if (e->error && !*result)
			*result = e->error;
		return 0;
	}
	if (!*result)
		*result = fn(nlh, arg);
	return 1;
}

int nft_get(struct netns *ns, struct nlmsghdr *req, int (*fn)(const struct nlmsghdr *, void *),
	    void *arg)
{
	char buf[ANSWER_SIZE] __attribute__((aligned(8)));
	int result = 0, more = 1;

	if (!ns->nf)
		return -EPROTONOSUPPORT;
	req->nlmsg_seq = ++ns->seq;
	if (mnl_socket_sendto(ns->nf, req, req->nlmsg_len) < 0)
		return -errno;
	while (more) {
		ssize_t n = recv(mnl_socket_get_fd(ns->nf), buf, sizeof(buf), 0);
		const struct nlmsghdr *nlh = (const void *)buf;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; more && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			more = read_dump(nlh, req->nlmsg_seq, fn, arg, &result);
	}
	return result;
}
