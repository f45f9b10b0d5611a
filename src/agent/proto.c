// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A frame is a length (32 bits, of what follows it), a type (8 bits) and a body. A body is fields
 * in network order, then perhaps a payload that reaches to the end. What is read is what the type's
 * row says, completely: a byte too few or too many is an error, and so is a value that means
 * nothing.
 */
#include <stdbool.h>

#include "agent/proto.h"

#define LENGTH_BYTES 4

/* Bytes yet to be read or to be written. */
struct cursor {
	const uint8_t *p;
	size_t len;
	bool bad; /* more was asked for than there was, or what was there means nothing */
};

struct writer {
	uint8_t *p;
};

static uint64_t get(struct cursor *c, size_t bytes)
{
	uint64_t v = 0;

	if (c->len < bytes) {
		c->bad = true;
		c->len = 0;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | c->p[i];
	c->p += bytes;
	c->len -= bytes;
	return v;
}

static void put(struct writer *w, uint64_t v, size_t bytes)
{
	for (size_t i = bytes; i-- > 0; v >>= 8)
		w->p[i] = (uint8_t)v;
	w->p += bytes;
}

static size_t addr_len(uint8_t family)
{
	return family == 4 ? 4 : 16;
}

static void get_addr(struct cursor *c, struct proto_addr *ret)
{
	ret->family = (uint8_t)get(c, 1);
	if (ret->family != 4 && ret->family != 6) {
		c->bad = true;
		return;
	}
	for (size_t i = 0; i < addr_len(ret->family); i++)
		ret->bytes[i] = (uint8_t)get(c, 1);
}

static void put_addr(struct writer *w, const struct proto_addr *a)
{
	put(w, a->family, 1);
	__builtin_memcpy(w->p, a->bytes, addr_len(a->family));
	w->p += addr_len(a->family);
}

/* ---- Bodies ---- */

static void get_hello(struct cursor *c, enum frame_sender sender, struct frame *f)
{
	struct proto_hello *h = &f->hello;

	if (get(c, 4) != PROTO_MAGIC)
		c->bad = true;
	h->version = (uint16_t)get(c, 2);
	if (h->version != PROTO_VERSION) {
		c->len = 0; /* whatever it has to say: the version is what matters */
		return;
	}
	h->flows = (uint16_t)get(c, 2);
	h->idle_s = (uint16_t)get(c, 2);
	h->n_resolvers = (uint8_t)get(c, 1);
	if (!h->flows || h->n_resolvers > PROTO_RESOLVERS_MAX ||
	    (sender == FROM_BYWAY ? !h->idle_s || h->n_resolvers : h->idle_s)) {
		c->bad = true;
		return;
	}
	for (size_t i = 0; i < h->n_resolvers; i++)
		get_addr(c, &h->resolvers[i]);
}

static void put_hello(struct writer *w, const struct proto_hello *h)
{
	put(w, PROTO_MAGIC, 4);
	put(w, h->version, 2);
	put(w, h->flows, 2);
	put(w, h->idle_s, 2);
	put(w, h->n_resolvers, 1);
	for (size_t i = 0; i < h->n_resolvers; i++)
		put_addr(w, &h->resolvers[i]);
}

static void get_payload(struct cursor *c, struct frame *f)
{
	f->data = c->p;
	f->len = c->len;
	c->len = 0;
	if (f->len > PROTO_DATAGRAM_MAX)
		c->bad = true;
}

static void get_datagram(struct cursor *c, enum frame_sender sender, struct frame *f)
{
	f->flow = (uint32_t)get(c, 4);
	if (sender == FROM_BYWAY) {
		f->port = (uint16_t)get(c, 2);
		c->bad |= !f->port;
		get_addr(c, &f->addr);
	}
	get_payload(c, f);
}

static void get_echo(struct cursor *c, enum frame_sender sender, struct frame *f)
{
	f->flow = (uint32_t)get(c, 4);
	f->seq = (uint16_t)get(c, 2);
	if (sender == FROM_BYWAY)
		get_addr(c, &f->addr);
	get_payload(c, f);
}

static void get_error(struct cursor *c, struct frame *f)
{
	uint64_t error;

	f->flow = (uint32_t)get(c, 4);
	f->seq = (uint16_t)get(c, 2);
	error = get(c, 1);
	f->mtu = (uint32_t)get(c, 4);
	if (error >= FLOW_NUM_ERRORS || (f->mtu && error != FLOW_ERROR_TOO_BIG))
		c->bad = true;
	else
		f->error = (enum flow_error)error;
}

/* byway asks with an empty one. */
static void get_stats(struct cursor *c, enum frame_sender sender, struct agent_stats *s)
{
	if (sender == FROM_BYWAY)
		return;
	s->out = get(c, 8);
	s->in = get(c, 8);
	s->dropped = get(c, 8);
	s->overflowed = get(c, 8);
	s->flows = (uint32_t)get(c, 4);
}

static void put_stats(struct writer *w, const struct agent_stats *s)
{
	put(w, s->out, 8);
	put(w, s->in, 8);
	put(w, s->dropped, 8);
	put(w, s->overflowed, 8);
	put(w, s->flows, 4);
}

/* ---- Frames ---- */

#define BY(sender) (1u << (sender))
#define BY_BOTH (BY(FROM_BYWAY) | BY(FROM_AGENT))

/* Who may send what. A row of zeros: nobody, there is no such type. */
static const uint8_t senders[FRAME_NUM_TYPES] = {
	[FRAME_HELLO] = BY_BOTH,
	[FRAME_DATAGRAM] = BY_BOTH,
	[FRAME_ECHO] = BY_BOTH,
	[FRAME_CLOSE] = BY_BOTH,
	[FRAME_ERROR] = BY(FROM_AGENT),
	[FRAME_PING] = BY(FROM_BYWAY),
	[FRAME_PONG] = BY(FROM_AGENT),
	[FRAME_STATS] = BY_BOTH,
	[FRAME_SHUTDOWN] = BY(FROM_BYWAY),
	[FRAME_ACK] = BY_BOTH,
};

static void get_body(struct cursor *c, enum frame_sender sender, struct frame *f)
{
	switch (f->type) {
	case FRAME_HELLO:
		get_hello(c, sender, f);
		return;
	case FRAME_DATAGRAM:
		get_datagram(c, sender, f);
		return;
	case FRAME_ECHO:
		get_echo(c, sender, f);
		return;
	case FRAME_CLOSE:
		f->flow = (uint32_t)get(c, 4);
		return;
	case FRAME_ERROR:
		get_error(c, f);
		return;
	case FRAME_PING:
	case FRAME_PONG:
	case FRAME_ACK:
		f->token = get(c, 8);
		return;
	case FRAME_STATS:
		get_stats(c, sender, &f->stats);
		return;
	case FRAME_SHUTDOWN:
	case FRAME_NUM_TYPES:
		return;
	}
}

int frame_parse(enum frame_sender sender, const uint8_t *buf, size_t len, struct frame *ret,
		size_t *ret_used)
{
	struct cursor c = {buf, len, false};
	uint64_t body, type;

	*ret_used = LENGTH_BYTES + 1;
	if (len < LENGTH_BYTES + 1)
		return 0;
	body = get(&c, LENGTH_BYTES);
	type = get(&c, 1);
	if (!body || body > PROTO_FRAME_MAX - LENGTH_BYTES || type >= FRAME_NUM_TYPES ||
	    !(senders[type] & BY(sender)))
		return -1;
	*ret_used = LENGTH_BYTES + (size_t)body;
	if (len < *ret_used)
		return 0;
	__builtin_memset(ret, 0, sizeof(*ret));
	ret->type = (enum frame_type)type;
	c.len = (size_t)body - 1;
	get_body(&c, sender, ret);
	return c.bad || c.len ? -1 : 1;
}

size_t frame_put_head(enum frame_sender sender, const struct frame *f, uint8_t head[PROTO_HEAD_MAX])
{
	struct writer w = {head + LENGTH_BYTES}, length = {head};

	put(&w, f->type, 1);
	switch (f->type) {
	case FRAME_HELLO:
		put_hello(&w, &f->hello);
		break;
	case FRAME_DATAGRAM:
		put(&w, f->flow, 4);
		if (sender == FROM_BYWAY) {
			put(&w, f->port, 2);
			put_addr(&w, &f->addr);
		}
		break;
	case FRAME_ECHO:
		put(&w, f->flow, 4);
		put(&w, f->seq, 2);
		if (sender == FROM_BYWAY)
			put_addr(&w, &f->addr);
		break;
	case FRAME_CLOSE:
		put(&w, f->flow, 4);
		break;
	case FRAME_ERROR:
		put(&w, f->flow, 4);
		put(&w, f->seq, 2);
		put(&w, f->error, 1);
		put(&w, f->mtu, 4);
		break;
	case FRAME_PING:
	case FRAME_PONG:
	case FRAME_ACK:
		put(&w, f->token, 8);
		break;
	case FRAME_STATS:
		if (sender == FROM_AGENT)
			put_stats(&w, &f->stats);
		break;
	case FRAME_SHUTDOWN:
	case FRAME_NUM_TYPES:
		break;
	}
	put(&length, (size_t)(w.p - head) - LENGTH_BYTES + f->len, LENGTH_BYTES);
	return (size_t)(w.p - head);
}
