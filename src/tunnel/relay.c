// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: the relay
 *
 * A flow is what one socket of a guest sends to one target, or a ping: a slot of a table, found by
 * a hash, in a list by its last use. Its number, the slot and the slot's turn, is all that the
 * agent is told of it, together with the target; so an answer that is still under way when a slot
 * gets another flow is known by its old number, and dropped. When all slots are taken, the flow
 * that was silent for longest goes.
 *
 * Workers put frames into two lanes (src/agent/lanes.h) and never wait. The owner writes the lanes
 * to the channel, and what comes from it to the TUN device, in the buffer that it was read into:
 * the packet's headers go where the frame's was, and before it.
 *
 * Without an agent the flows stay, frames are queued for HOLD_MS, then dropped; an agent that comes
 * in time gets them. An agent needs to know nothing of earlier ones: every datagram says where it
 * goes to.
 *
 * How long a flow lives after its last datagram: ANSWERED_MS when there has been an answer, which
 * is what RFC 4787 (4.3) recommends for NATs; ONE_WAY_MS before, when all that a longer life could
 * save is a source port; DNS_MS for queries, which have been given up by then (4.3, REQ-5a).
 *
 * Invariants:
 *  1. An active flow is in exactly one bucket, and in the list; any other is on the free stack, or
 *     its slot is not below limit.
 *  2. What workers touch (flows, lanes, counters, attached) is touched under the lock. The bytes
 *     between a lane's tail and its head are nobody's to change, so they are written without it.
 *  3. The descriptor is open, and in the epoll set, exactly when attached.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/lanes.h"
#include "base/clock.h"
#include "base/util.h"
#include "tunnel/dns.h"
#include "tunnel/packet.h"
#include "tunnel/relay.h"

#define FLOW_NONE UINT32_MAX
#define ANSWERED_MS 300000
#define ONE_WAY_MS 60000
#define DNS_MS 10000
#define AGENT_IDLE_S (ANSWERED_MS / 1000 + 30) /* the agent's own, for what it was not told */
#define HOLD_MS 3000
#define SWEEP_MS 1000
#define PING_MS 5000
#define TIMEOUT_MS 15000
#define RX_BYTES (256u << 10)
#define READS_AT_ONCE 4 /* before other events have their turn */
#define WRITES_AT_ONCE 16

enum flow_kind { KIND_UDP, KIND_ECHO };

struct relay_flow {
	struct endpoints ends; /* as the guest has them */
	enum flow_kind kind;
	bool active;
	bool answered;
	bool dns;         /* redirected to a resolver */
	uint8_t resolver; /* which, of RELAY_DNS_REMOTE */
	uint16_t turn;
	uint32_t hash_next; /* of a free one: the next on the stack */
	uint32_t older, newer;
	uint64_t last_ms;
	uint64_t order; /* see lanes_choose() */
};

struct relay {
	struct relay_config config;
	int epoll, wake, fd;
	bool wants_out; /* the channel is watched for room */
	pthread_mutex_t lock;
	bool attached;
	atomic_bool refuses;
	uint64_t detached_ms, heard_ms, next_ping_ms, next_sweep_ms;
	struct lanes lanes;
	struct relay_flow *flows;
	uint32_t *buckets;
	uint32_t mask, limit, free, oldest, newest;
	uint64_t key[2];
	struct proto_hello hello; /* the agent's */
	uint8_t resolver;         /* of those, the one that is asked */
	struct relay_stats stats;
	size_t rx_len;
	uint8_t *rx; /* PACKET_HEADROOM, then RX_BYTES */
	uint8_t *small, *bulk;
};

/* ---- Flows ---- */

static uint32_t number_of(const struct relay *r, const struct relay_flow *f)
{
	return (uint32_t)f->turn << 16 | (uint32_t)(f - r->flows);
}

static uint32_t *bucket(struct relay *r, const struct endpoints *ends, enum flow_kind kind)
{
	return &r->buckets[endpoints_hash(ends, (uint16_t)kind, r->key) & r->mask];
}

static void list_remove(struct relay *r, struct relay_flow *f)
{
	*(f->older == FLOW_NONE ? &r->oldest : &r->flows[f->older].newer) = f->newer;
	*(f->newer == FLOW_NONE ? &r->newest : &r->flows[f->newer].older) = f->older;
}

static void list_append(struct relay *r, struct relay_flow *f)
{
	uint32_t i = (uint32_t)(f - r->flows);

	f->older = r->newest;
	f->newer = FLOW_NONE;
	*(r->newest == FLOW_NONE ? &r->oldest : &r->flows[r->newest].newer) = i;
	r->newest = i;
}

static void flow_touch(struct relay *r, struct relay_flow *f, uint64_t now_ms)
{
	f->last_ms = now_ms;
	list_remove(r, f);
	list_append(r, f);
}

static void flow_free(struct relay *r, struct relay_flow *f)
{
	uint32_t i = (uint32_t)(f - r->flows);
	uint32_t *link = bucket(r, &f->ends, f->kind);

	while (*link != i)
		link = &r->flows[*link].hash_next;
	*link = f->hash_next;
	list_remove(r, f);
	f->active = false;
	f->turn++;
	f->hash_next = r->free;
	r->free = i;
	r->stats.flows--;
}

/* A free slot there always is, since there is always an oldest flow when none is. */
static struct relay_flow *flow_new(struct relay *r, const struct endpoints *ends,
				   enum flow_kind kind, uint64_t now_ms)
{
	uint32_t *first = bucket(r, ends, kind);
	struct relay_flow *f;

	if (r->free == FLOW_NONE) {
		flow_free(r, &r->flows[r->oldest]);
		r->stats.evicted++;
	}
	f = &r->flows[r->free];
	r->free = f->hash_next;
	*f = (struct relay_flow){.ends = *ends,
				 .kind = kind,
				 .active = true,
				 .turn = f->turn,
				 .hash_next = *first,
				 .last_ms = now_ms};
	*first = (uint32_t)(f - r->flows);
	list_append(r, f);
	r->stats.flows++;
	return f;
}

static struct relay_flow *flow_for(struct relay *r, const struct endpoints *ends,
				   enum flow_kind kind, uint64_t now_ms)
{
	uint32_t i = *bucket(r, ends, kind);

	while (i != FLOW_NONE &&
	       (r->flows[i].kind != kind || !endpoints_equal(&r->flows[i].ends, ends)))
		i = r->flows[i].hash_next;
	if (i == FLOW_NONE)
		return flow_new(r, ends, kind, now_ms);
	flow_touch(r, &r->flows[i], now_ms);
	return &r->flows[i];
}

/* NULL: a flow of the past. */
static struct relay_flow *flow_by_number(struct relay *r, uint32_t number)
{
	uint32_t slot = flow_slot(number);
	struct relay_flow *f = slot < r->limit ? &r->flows[slot] : NULL;

	return f && f->active && number_of(r, f) == number ? f : NULL;
}

/* Which slots there are, now that an agent has said how many it has. */
static void set_limit(struct relay *r, uint32_t limit)
{
	for (uint32_t i = limit; i < r->limit; i++)
		if (r->flows[i].active)
			flow_free(r, &r->flows[i]);
	r->limit = limit;
	r->free = FLOW_NONE;
	for (uint32_t i = limit; i-- > 0;) {
		if (r->flows[i].active)
			continue;
		r->flows[i].hash_next = r->free;
		r->free = i;
	}
}

/* ---- Frames out ---- */

/* To the agent, under the lock. */
static bool put(struct relay *r, enum lane lane, uint64_t *order, const struct frame *f)
{
	uint8_t head[PROTO_HEAD_MAX];
	struct lane_span parts[2] = {{head, frame_put_head(FROM_BYWAY, f, head)},
				     {f->data, f->len}};

	return lanes_put(&r->lanes, lane, order, parts);
}

static void put_control(struct relay *r, const struct frame *f)
{
	put(r, LANE_SMALL, NULL, f);
}

static struct proto_addr to_proto(const struct ip *ip)
{
	struct proto_addr a = {.family = ip->family == AF_INET ? 4 : 6};

	memcpy(a.bytes, ip->bytes, sizeof(a.bytes));
	return a;
}

static struct ip from_proto(const struct proto_addr *a)
{
	struct ip ip = {.family = a->family == 4 ? AF_INET : AF_INET6};

	memcpy(ip.bytes, a->bytes, sizeof(ip.bytes));
	return ip;
}

/* Where the flow's datagrams go to. */
static struct proto_addr target(const struct relay *r, struct relay_flow *f)
{
	f->dns = f->kind == KIND_UDP && f->ends.dport == DNS_PORT && r->config.dns != RELAY_DNS_OFF;
	if (!f->dns)
		return to_proto(&f->ends.dst);
	if (r->config.dns == RELAY_DNS_ADDR)
		return to_proto(&r->config.resolver);
	f->resolver = r->resolver;
	return r->hello.resolvers[r->resolver];
}

/* Of the addresses that only mean something on a link, or nothing: what programs send there
 * (discovery of printers, and the like) is for a network that the server is not on. */
static bool is_local(const struct ip *ip)
{
	const uint8_t *b = ip->bytes;

	if (ip->family == AF_INET)
		return b[0] == 0 || b[0] == 127 || b[0] >= 224;
	return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

static void put_datagram(struct relay *r, struct relay_flow *f, uint16_t seq, const uint8_t *data,
			 size_t len)
{
	struct frame frame = {.type = f->kind == KIND_UDP ? FRAME_DATAGRAM : FRAME_ECHO,
			      .flow = number_of(r, f),
			      .addr = target(r, f),
			      .port = f->ends.dport,
			      .seq = seq,
			      .data = data,
			      .len = len};
	enum lane lane = lanes_choose(&r->lanes, f->order, len, f->dns);

	/* Before the first agent nobody knows what the server's resolvers are. */
	if (frame.addr.family && put(r, lane, &f->order, &frame)) {
		r->stats.out++;
		r->stats.out_bytes += len;
	} else {
		r->stats.out_dropped++;
	}
}

static void put_packet(struct relay *r, enum flow_kind kind, const struct packet *p,
		       uint64_t now_ms)
{
	struct relay_flow *f = flow_for(r, &p->ends, kind, now_ms);
	size_t step = p->gso_size ? p->gso_size : p->len, at = 0;

	do {
		put_datagram(r, f, p->seq, p->data + at, MIN(step, p->len - at));
		at += step;
	} while (at < p->len);
}

static void wake(struct relay *r)
{
	uint64_t one = 1;

	(void)!write(r->wake, &one, sizeof(one));
}

/* Whether there is a way for it, and an agent, or the hope of one. */
static bool is_welcome(const struct relay *r, enum flow_kind kind, const struct packet *p,
		       uint64_t now_ms)
{
	bool is_dns =
		kind == KIND_UDP && p->ends.dport == DNS_PORT && r->config.dns != RELAY_DNS_OFF;

	if (!is_dns && is_local(&p->ends.dst))
		return false;
	if (kind == KIND_UDP && !p->ends.dport)
		return false;
	return r->attached || now_ms - r->detached_ms <= HOLD_MS;
}

bool relay_input(struct relay *r, enum packet_kind what, const struct packet *p, uint64_t now_ms)
{
	enum flow_kind kind = what == PACKET_UDP ? KIND_UDP : KIND_ECHO;
	bool idle;

	if (atomic_load(&r->refuses))
		return false;
	pthread_mutex_lock(&r->lock);
	idle = !lanes_ready(&r->lanes);
	if (is_welcome(r, kind, p, now_ms))
		put_packet(r, kind, p, now_ms);
	else
		r->stats.out_dropped++;
	idle = idle && r->attached && lanes_ready(&r->lanes);
	pthread_mutex_unlock(&r->lock);
	if (idle)
		wake(r);
	return true;
}

void relay_refuse(struct relay *r, bool refuses)
{
	atomic_store(&r->refuses, refuses);
}

void relay_redirect(struct relay *r, struct ip *addr)
{
	pthread_mutex_lock(&r->lock);
	if (r->config.dns == RELAY_DNS_ADDR)
		*addr = r->config.resolver;
	else if (r->config.dns == RELAY_DNS_REMOTE && r->hello.n_resolvers)
		*addr = from_proto(&r->hello.resolvers[r->resolver]);
	pthread_mutex_unlock(&r->lock);
}

/* ---- The channel ---- */

static void watch_out(struct relay *r, bool wants)
{
	struct epoll_event e = {.events = EPOLLIN | (wants ? EPOLLOUT : 0u), .data.fd = r->fd};

	if (r->wants_out == wants)
		return;
	r->wants_out = wants;
	epoll_ctl(r->epoll, EPOLL_CTL_MOD, r->fd, &e);
}

/* Writes one turn of a lane: 1; 0: nothing there, or no room in the channel; -errno. */
static int write_turn(struct relay *r)
{
	struct lane_span s[2];
	size_t n, len = 0;
	ssize_t sent;

	pthread_mutex_lock(&r->lock);
	n = lanes_next(&r->lanes, s);
	pthread_mutex_unlock(&r->lock);
	if (n) {
		struct iovec v[2] = {{(void *)s[0].data, s[0].len}, {(void *)s[1].data, s[1].len}};
		struct msghdr m = {.msg_iov = v, .msg_iovlen = n};

		len = s[0].len + s[1].len;
		sent = sendmsg(r->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		pthread_mutex_lock(&r->lock);
		lanes_written(&r->lanes, sent < 0 ? 0 : (size_t)sent, clock_us());
		pthread_mutex_unlock(&r->lock);
		watch_out(r, (size_t)MAX(sent, 0) < len);
		return (size_t)MAX(sent, 0) == len;
	}
	watch_out(r, false);
	return 0;
}

/* After so many turns it is others' turn; the descriptor is watched, so that we come back. */
static int flush(struct relay *r)
{
	int n = 1;

	for (int i = 0; i < WRITES_AT_ONCE && n > 0; i++)
		n = write_turn(r);
	if (n > 0)
		watch_out(r, true);
	return MIN(n, 0);
}

static int say_hello(int fd, uint16_t flows)
{
	struct frame f = {
		.type = FRAME_HELLO,
		.hello = {.version = PROTO_VERSION, .flows = flows, .idle_s = AGENT_IDLE_S}};
	uint8_t head[PROTO_HEAD_MAX];
	size_t len = frame_put_head(FROM_BYWAY, &f, head);
	ssize_t n = send(fd, head, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* It is next to nothing, and the channel is empty. */
	return n < 0 ? -errno : (size_t)n < len ? -EPIPE : 0;
}

int relay_attach(struct relay *r, int fd, const struct proto_hello *hello, uint64_t now_ms)
{
	_close_ int channel = fd;
	uint32_t limit = (uint32_t)MIN(r->config.flows, hello->flows);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	int n;

	relay_detach(r, now_ms);
	n = say_hello(channel, (uint16_t)limit);
	if (n)
		return n;
	if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, channel, &e))
		return -errno;
	pthread_mutex_lock(&r->lock);
	r->fd = TAKE_FD(channel);
	r->attached = true;
	r->wants_out = false;
	r->rx_len = 0;
	r->hello = *hello;
	r->resolver = 0;
	r->heard_ms = r->next_ping_ms = now_ms;
	r->stats.rtt_us = 0;
	r->stats.agent = (struct agent_stats){0};
	/* To one with fewer slots, a number that is beyond them is nonsense. */
	if (limit < r->limit || now_ms - r->detached_ms > HOLD_MS)
		lanes_clear(&r->lanes);
	if (limit != r->limit)
		set_limit(r, limit);
	pthread_mutex_unlock(&r->lock);
	wake(r);
	return 0;
}

void relay_detach(struct relay *r, uint64_t now_ms)
{
	if (!r->attached)
		return;
	pthread_mutex_lock(&r->lock);
	r->attached = false;
	r->detached_ms = now_ms;
	lanes_cut(&r->lanes);
	pthread_mutex_unlock(&r->lock);
	close(TAKE_FD(r->fd));
}

/* ---- Frames in ---- */

static void write_tun(struct relay *r, const uint8_t *packet, size_t len, uint64_t *count)
{
	bool written = write(r->config.tun, packet, len) == (ssize_t)len;

	pthread_mutex_lock(&r->lock);
	(*(written ? count : &r->stats.in_dropped))++;
	pthread_mutex_unlock(&r->lock);
}

/* The guest's ends of a flow that an answer has come for. */
static bool answered(struct relay *r, const struct frame *frame, enum flow_kind kind,
		     struct endpoints *ret, uint64_t now_ms)
{
	struct relay_flow *f;

	pthread_mutex_lock(&r->lock);
	f = flow_by_number(r, frame->flow);
	if (f && f->kind == kind) {
		f->answered = true;
		flow_touch(r, f, now_ms);
		*ret = f->ends;
		r->stats.in_bytes += frame->len;
	} else {
		f = NULL;
		r->stats.in_dropped++;
	}
	pthread_mutex_unlock(&r->lock);
	return f;
}

/* payload: of the frame, where it stands in the buffer. */
static void answer_in(struct relay *r, const struct frame *frame, uint8_t *payload, uint64_t now_ms)
{
	enum flow_kind kind = frame->type == FRAME_DATAGRAM ? KIND_UDP : KIND_ECHO;
	struct endpoints ends;
	uint8_t *packet;
	size_t len;

	if (!answered(r, frame, kind, &ends, now_ms))
		return;
	packet = kind == KIND_UDP ? packet_put_udp(&ends, payload, frame->len, &len)
				  : packet_put_echo(&ends, frame->seq, payload, frame->len, &len);
	write_tun(r, packet, len, &r->stats.in);
}

/* A resolver that cannot be reached has its turn again after the others. */
static void next_resolver(struct relay *r, const struct relay_flow *f)
{
	if (f->dns && r->config.dns == RELAY_DNS_REMOTE && f->resolver == r->resolver &&
	    r->hello.n_resolvers > 1)
		r->resolver = (uint8_t)((r->resolver + 1) % r->hello.n_resolvers);
}

static void error_in(struct relay *r, const struct frame *frame)
{
	static const enum packet_error errors[] = {
		[FLOW_ERROR_NET] = PACKET_NET_UNREACHABLE,
		[FLOW_ERROR_HOST] = PACKET_UNREACHABLE,
		[FLOW_ERROR_PORT] = PACKET_PORT_UNREACHABLE,
		[FLOW_ERROR_PROHIBITED] = PACKET_PROHIBITED,
		[FLOW_ERROR_TOO_BIG] = PACKET_MTU_EXCEEDED,
		[FLOW_ERROR_LIMIT] = PACKET_UNREACHABLE,
	};
	static_assert(ARRAY_SIZE(errors) == FLOW_NUM_ERRORS, "every error has its meaning");
	enum packet_error error = errors[frame->error];
	uint8_t buf[PACKET_ERROR_MAX];
	struct relay_flow *f, copy = {0};
	size_t len;

	pthread_mutex_lock(&r->lock);
	f = flow_by_number(r, frame->flow);
	if (f) {
		next_resolver(r, f);
		copy = *f;
	}
	pthread_mutex_unlock(&r->lock);
	if (!f)
		return;
	len = copy.kind == KIND_UDP
		      ? packet_put_udp_error(error, frame->mtu, &copy.ends, buf)
		      : packet_put_echo_error(error, frame->mtu, &copy.ends, frame->seq, buf);
	write_tun(r, buf, len, &r->stats.errors);
}

static void closed_in(struct relay *r, uint32_t number)
{
	struct relay_flow *f;

	pthread_mutex_lock(&r->lock);
	f = flow_by_number(r, number);
	if (f)
		flow_free(r, f);
	pthread_mutex_unlock(&r->lock);
}

static void report_in(struct relay *r, const struct frame *frame)
{
	pthread_mutex_lock(&r->lock);
	if (frame->type == FRAME_STATS)
		r->stats.agent = frame->stats;
	else
		r->stats.rtt_us = (uint32_t)MAX(clock_us() - frame->token, 1);
	pthread_mutex_unlock(&r->lock);
}

static int acked_in(struct relay *r, uint64_t total)
{
	bool ok;

	pthread_mutex_lock(&r->lock);
	ok = lanes_acked(&r->lanes, total, clock_us());
	pthread_mutex_unlock(&r->lock);
	return ok ? 0 : -EPROTO;
}

/* 0 or -EPROTO. */
static int handle(struct relay *r, const struct frame *f, uint64_t now_ms)
{
	switch (f->type) {
	case FRAME_DATAGRAM:
	case FRAME_ECHO:
		answer_in(r, f, r->rx + (f->data - r->rx), now_ms);
		return 0;
	case FRAME_CLOSE:
		closed_in(r, f->flow);
		return 0;
	case FRAME_ERROR:
		error_in(r, f);
		return 0;
	case FRAME_PONG:
	case FRAME_STATS:
		report_in(r, f);
		return 0;
	case FRAME_ACK:
		return acked_in(r, f->token);
	case FRAME_HELLO: /* the one there is was read before */
	case FRAME_PING:
	case FRAME_SHUTDOWN:
	case FRAME_NUM_TYPES:
		break;
	}
	return -EPROTO;
}

static int handle_all(struct relay *r, uint64_t now_ms)
{
	uint8_t *start = r->rx + PACKET_HEADROOM, *at = start;
	size_t left = r->rx_len;

	for (;;) {
		struct frame f;
		size_t used;
		int n = frame_parse(FROM_AGENT, at, left, &f, &used);

		if (n == 0)
			break;
		if (n < 0 || handle(r, &f, now_ms))
			return -EPROTO;
		pthread_mutex_lock(&r->lock);
		lanes_received(&r->lanes, used);
		pthread_mutex_unlock(&r->lock);
		at += used;
		left -= used;
	}
	pthread_mutex_lock(&r->lock);
	lanes_tell(&r->lanes, FROM_BYWAY);
	pthread_mutex_unlock(&r->lock);
	memmove(start, at, left);
	r->rx_len = left;
	return 0;
}

/* 1: there may be more; 0: no; -errno. */
static int read_some(struct relay *r, uint64_t now_ms)
{
	size_t room = RX_BYTES - r->rx_len;
	ssize_t n = read(r->fd, r->rx + PACKET_HEADROOM + r->rx_len, room);
	int e;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
	if (n == 0)
		return -EPIPE;
	r->heard_ms = now_ms;
	r->rx_len += (size_t)n;
	e = handle_all(r, now_ms);
	return e ? e : (size_t)n == room;
}

/* ---- Time ---- */

static uint64_t lifetime_ms(const struct relay_flow *f)
{
	return f->dns ? DNS_MS : f->answered ? ANSWERED_MS : ONE_WAY_MS;
}

static void sweep(struct relay *r, uint64_t now_ms)
{
	for (uint32_t i = 0; i < r->limit; i++) {
		struct relay_flow *f = &r->flows[i];
		struct frame closed = {.type = FRAME_CLOSE};

		if (!f->active || now_ms - f->last_ms < lifetime_ms(f))
			continue;
		closed.flow = number_of(r, f);
		if (r->attached)
			put_control(r, &closed);
		flow_free(r, f);
	}
}

static void ping(struct relay *r)
{
	struct frame stats = {.type = FRAME_STATS};
	struct frame f = {.type = FRAME_PING, .token = clock_us()};

	put_control(r, &f);
	put_control(r, &stats);
}

static int lose(struct relay *r, int why, uint64_t now_ms)
{
	if (why)
		relay_detach(r, now_ms);
	return why;
}

int relay_expire(struct relay *r, uint64_t now_ms, int *ret_wait_ms)
{
	int e = 0;

	*ret_wait_ms = SWEEP_MS;
	if (now_ms < r->next_sweep_ms) {
		*ret_wait_ms = (int)(r->next_sweep_ms - now_ms);
		return 0;
	}
	r->next_sweep_ms = now_ms + SWEEP_MS;
	pthread_mutex_lock(&r->lock);
	sweep(r, now_ms);
	if (r->attached && now_ms >= r->next_ping_ms) {
		r->next_ping_ms = now_ms + PING_MS;
		ping(r);
	}
	pthread_mutex_unlock(&r->lock);
	if (r->attached)
		e = now_ms - r->heard_ms > r->config.timeout_ms ? -ETIMEDOUT : flush(r);
	return lose(r, e, now_ms);
}

int relay_step(struct relay *r, uint64_t now_ms)
{
	uint64_t count;
	int n = 1;

	(void)!read(r->wake, &count, sizeof(count));
	if (!r->attached)
		return 0;
	for (int i = 0; i < READS_AT_ONCE && n > 0; i++)
		n = read_some(r, now_ms);
	if (n >= 0)
		n = flush(r);
	return lose(r, MIN(n, 0), now_ms);
}

int relay_fd(const struct relay *r)
{
	return r->epoll;
}

void relay_get_stats(struct relay *r, struct relay_stats *ret)
{
	pthread_mutex_lock(&r->lock);
	*ret = r->stats;
	ret->attached = r->attached;
	pthread_mutex_unlock(&r->lock);
}

/* ---- Making and freeing ---- */

static void make_table(struct relay *r)
{
	uint32_t buckets = 1;

	while (buckets < r->config.flows)
		buckets *= 2;
	r->mask = buckets - 1;
	r->flows = xcalloc(r->config.flows, sizeof(*r->flows));
	r->buckets = xcalloc(buckets, sizeof(*r->buckets));
	memset(r->buckets, 0xff, buckets * sizeof(*r->buckets));
	r->oldest = r->newest = FLOW_NONE;
	set_limit(r, (uint32_t)r->config.flows);
	while (getrandom(r->key, sizeof(r->key), 0) != sizeof(r->key))
		;
}

int relay_new(const struct relay_config *config, struct relay **ret)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	struct epoll_event e = {.events = EPOLLIN};

	assert(config->flows <= PROTO_FLOWS_MAX);
	r->config = *config;
	r->config.flows = config->flows ? config->flows : RELAY_FLOWS;
	r->config.timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_MS;
	r->fd = -1;
	r->detached_ms = clock_ms();
	pthread_mutex_init(&r->lock, NULL);
	make_table(r);
	r->rx = xcalloc(1, PACKET_HEADROOM + RX_BYTES);
	r->small = xcalloc(1, LANE_SMALL_BYTES);
	r->bulk = xcalloc(1, LANE_BULK_BYTES);
	lanes_init(&r->lanes, r->small, r->bulk);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e.data.fd = r->wake;
	if (r->epoll < 0 || r->wake < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake, &e)) {
		int error = -errno;

		relay_free(r);
		return error;
	}
	*ret = r;
	return 0;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	close_p(&r->fd);
	close_p(&r->epoll);
	close_p(&r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r->flows);
	free(r->buckets);
	free(r->rx);
	free(r->small);
	free(r->bulk);
	free(r);
}
