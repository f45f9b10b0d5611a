// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

/* Only the last message of a send asks for an ack; errors come unasked. This many of them, each
 * some 700 bytes of socket memory, fit the receive buffer even if every message fails. In a fault
 * test every message is a point of its own. */
#ifdef BYWAY_FAULTS
#define SEND_MAX 1
#else
#define SEND_MAX 256
#endif

void nlbatch_init(struct nlbatch *b, struct netns *ns)
{
	*b = (struct nlbatch){.ns = ns};
}

static void clear(struct nlbatch *b)
{
	for (size_t i = 0; i < b->n_ops; i++)
		free(b->ops[i].what);
	b->n_ops = 0;
	b->open = NULL;
	buf_reset(&b->buf);
}

void nlbatch_done(struct nlbatch *b)
{
	clear(b);
	free(b->ops);
	buf_done(&b->buf);
}

static void seal(struct nlbatch *b)
{
	if (b->open)
		b->buf.len += b->open->nlmsg_len; /* libmnl pads each attribute */
	b->open = NULL;
}

struct nlmsghdr *nlbatch_add(struct nlbatch *b, uint16_t type, uint16_t flags, size_t size,
			     void **extra, int tolerate, const char *what, ...)
{
	va_list ap;
	struct nlbatch_op *op;

	seal(b);
	if (b->n_ops == b->cap_ops) {
		b->cap_ops = b->cap_ops * 2 + 32;
		b->ops = xrealloc(b->ops, b->cap_ops, sizeof(*b->ops));
	}
	op = &b->ops[b->n_ops++];
	*op = (struct nlbatch_op){.offset = b->buf.len, .tolerate = tolerate};
	va_start(ap, what);
	if (vasprintf(&op->what, what, ap) < 0)
		op->what = xstrdup(what);
	va_end(ap);

	b->open = mnl_nlmsg_put_header(memset(buf_reserve(&b->buf, NLBATCH_MSG_MAX), 0, NLBATCH_MSG_MAX));
	b->open->nlmsg_type = type;
	b->open->nlmsg_flags = NLM_F_REQUEST | flags;
	*extra = mnl_nlmsg_put_extra_header(b->open, size);
	return b->open;
}

static int find_text(const struct nlattr *attr, void *arg)
{
	const char **text = arg;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
		*text = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

/* The kernel's own words in an error message, or NULL. */
static const char *extack_of(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t skip = sizeof(*e);
	const char *text = NULL;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(&e->msg);
	mnl_attr_parse(nlh, (unsigned int)skip, find_text, &text);
	return text;
}

struct outcome {
	const struct nlbatch *batch;
	size_t first;       /* op of the first message of this send */
	uint32_t first_seq; /* its sequence number */
	int code;
	unsigned int failures;
	struct err *err;
};

/* What a bare errno means to a person, where the kernel has no words of its own. */
static void explain(struct err *err, int code, const char *what)
{
	static const struct {
		const char *in, *config;
		int code;
	} features[] = {
		{"type bridge", "CONFIG_BRIDGE", -EOPNOTSUPP},
		{"type veth", "CONFIG_VETH", -EOPNOTSUPP},
		{"type ifb", "CONFIG_IFB", -EOPNOTSUPP},
		{"root tbf", "CONFIG_NET_SCH_TBF", -ENOENT},
		{"qdisc add", "CONFIG_NET_SCH_INGRESS", -ENOENT},
		{"u32", "CONFIG_NET_CLS_U32 or CONFIG_NET_ACT_MIRRED", -ENOENT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (!err || code != features[i].code || !strstr(what, features[i].in))
			continue;
		err->kind = ERR_UNSUPPORTED;
		err_append(err, " (the kernel lacks %s)", features[i].config);
	}
}

static void note_failure(struct outcome *o, size_t op, int code, const char *extack)
{
	const char *what = o->batch->ops[op].what;
	const char *netns = o->batch->ns->name;

	if (o->failures++)
		return;
	o->code = code;
	/* "No such device" half-way is a failure, not the answer that there is no such object. */
	err_set(o->err, code == -ENODEV || code == -ENOENT || code == -ESRCH ? ERR_FAILED : ERR_NONE, code,
		"%s%s%s%s: %s", *netns ? "in namespace " : "", netns, *netns ? ": " : "", what,
		strerror(-code));
	if (extack)
		err_append(o->err, " (%s)", extack);
	explain(o->err, code, what);
}

/* Reads acks until that of the last message. */
static int read_acks(struct nlbatch *b, struct outcome *o, uint32_t last_seq)
{
	char buf[16384]; /* an ack with its extack is far smaller */

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(b->ns->rt, buf, sizeof(buf));
		struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
		int len = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(o->err, -errno, "cannot read from rtnetlink");
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
			uint32_t nth = nlh->nlmsg_seq - o->first_seq;
			size_t op = o->first + nth;

			if (nlh->nlmsg_type != NLMSG_ERROR || op >= b->n_ops)
				continue;
			if (e->error && -e->error != b->ops[op].tolerate)
				note_failure(o, op, e->error, extack_of(nlh));
			if (nlh->nlmsg_seq == last_seq)
				return 0;
		}
	}
}

static struct nlmsghdr *message(const struct nlbatch *b, size_t op)
{
	return (struct nlmsghdr *)(b->buf.data + b->ops[op].offset);
}

/* Sends ops first..end-1. */
static int send_some(struct nlbatch *b, size_t first, size_t end, struct outcome *o)
{
	size_t from = b->ops[first].offset;
	size_t to = end < b->n_ops ? b->ops[end].offset : b->buf.len;

	o->first = first;
	o->first_seq = b->ns->seq + 1;
	for (size_t i = first; i < end; i++)
		message(b, i)->nlmsg_seq = ++b->ns->seq;
	message(b, end - 1)->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(b->ns->rt, b->buf.data + from, to - from) < 0)
		return err_errno(o->err, -errno, "cannot send to rtnetlink");
	return read_acks(b, o, b->ns->seq);
}

static int commit(struct nlbatch *b, struct err *err)
{
	struct outcome o = {.batch = b, .err = err};

	for (size_t i = 0; i < b->n_ops; i += SEND_MAX) {
		int r = fault_point(b->ops[i].what);

		if (r) {
			note_failure(&o, i, r, "injected");
			continue;
		}
		r = send_some(b, i, MIN(i + SEND_MAX, b->n_ops), &o);
		if (r)
			return r;
	}
	if (o.failures > 1)
		err_append(err, "; and %u more failed", o.failures - 1);
	return o.code;
}

int nlbatch_commit(struct nlbatch *b, struct err *err)
{
	int r = 0;

	seal(b);
	for (size_t i = 0; i < b->n_ops && oplog_wants(b->ns->log); i++)
		oplog_add(b->ns->log, b->ns->name, "%s", b->ops[i].what);
	if (!oplog_dry(b->ns->log))
		r = commit(b, err);
	clear(b);
	return r;
}

struct answer {
	nl_dump_fn fn;
	void *arg;
	bool interrupted; /* what was listed changed meanwhile */
	int refused;      /* fn's error, which ended it */
};

/* What the message that ends a dump says of how it went. */
static int outcome_of_dump(const struct nlmsghdr *nlh)
{
	int code = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(code))
		memcpy(&code, mnl_nlmsg_get_payload(nlh), sizeof(code));
	return MIN(code, 0);
}

/* 1: the answer goes on. What fn wants no more of is read to its end: a socket has one dump at a
 * time (EBUSY). */
static int take_message(struct answer *a, const struct nlmsghdr *nlh)
{
	int r;

	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		a->interrupted = true;
	if (nlh->nlmsg_type == NLMSG_DONE)
		return outcome_of_dump(nlh);
	if (nlh->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error;
	r = a->refused ? 0 : a->fn(nlh, a->arg);
	if (r < 0)
		a->refused = r;
	return nlh->nlmsg_flags & NLM_F_MULTI ? 1 : 0;
}

static int receive(struct netns *ns, uint32_t seq, struct answer *a)
{
	static const size_t size = 64 * 1024; /* the kernel fills up to 32 KiB a read */
	_free_ char *buf = xcalloc(1, size);

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(ns->rt, buf, size);
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int len = (int)n, r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_seq != seq)
				continue;
			r = take_message(a, nlh);
			if (r <= 0)
				return a->refused ? a->refused : r;
		}
	}
}

/* A get's answer ends by itself; an error or a dump is ended by its own message. */
static int request(struct netns *ns, struct nlmsghdr *nlh, uint16_t flags, struct answer *a)
{
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++ns->seq;
	if (mnl_socket_sendto(ns->rt, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	return receive(ns, ns->seq, a);
}

#define DUMP_TRIES 8

/* *ret_interrupted: it is not all of one moment. */
static int dump(struct netns *ns, struct nlmsghdr *nlh, nl_dump_fn fn, void *arg,
		bool *ret_interrupted, struct err *err)
{
	struct answer a = {.fn = fn, .arg = arg};
	int r = request(ns, nlh, NLM_F_DUMP, &a);

	*ret_interrupted = a.interrupted;
	return r && !a.refused ? err_errno(err, r, "cannot list the kernel's network objects") : r;
}

int nl_dump(struct netns *ns, struct nlmsghdr *nlh, nl_dump_fn fn, void *arg, struct err *err)
{
	for (int i = 0; i < DUMP_TRIES; i++) {
		bool interrupted;
		int r = dump(ns, nlh, fn, arg, &interrupted, err);

		if (r || !interrupted)
			return r;
	}
	return err_errno(err, -EAGAIN, "the kernel's network objects change faster than they are read");
}

int nl_dump_once(struct netns *ns, struct nlmsghdr *nlh, nl_dump_fn fn, void *arg, struct err *err)
{
	bool interrupted;

	return dump(ns, nlh, fn, arg, &interrupted, err);
}

int nl_get(struct netns *ns, struct nlmsghdr *nlh, nl_dump_fn fn, void *arg)
{
	struct answer a = {.fn = fn, .arg = arg};

	return request(ns, nlh, 0, &a);
}
