// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: the agent
 *
 * One thread, one loop. Frames come from stdin, and go to stdout by two lanes (lanes.h). A flow is
 * a connected socket in the slot that its number names; byway hands out the numbers, bounded by
 * what HELLO promised, so there is nothing to look up and nothing to evict. A datagram that names a
 * slot with another number, or another target, finds it taken over: the socket in it is closed, and
 * a new one opened. Thus losing a CLOSE costs nothing.
 *
 * The sockets are in an epoll set of their own, which is one descriptor of the loop's poll. While
 * the small lane is nearly full nothing is read from any socket. While the bulk lane is, the flows
 * that bring bulk are paused, and the others go on. What then does not fit into a socket's buffer
 * the kernel drops, and tells us how often (SO_RXQ_OVFL).
 *
 * ICMP errors come by the sockets' error queues (IP_RECVERR, ip(7)).
 *
 * Invariants:
 *  1. A flow is in use exactly when fd is not 0, and its socket is then in the epoll set.
 *  2. The first frame sent is HELLO; none but HELLO is sent before byway's HELLO has come.
 *  3. Nothing is allocated: all memory is struct agent.
 *
 * It does not listen, does not read files after its start, and writes none. Its own is deleted
 * before anything else is done; when stdin ends, it ends.
 */
#include "agent/agent.h"
#include "agent/confine.h"
#include "agent/lanes.h"
#include "agent/proto.h"
#include "agent/resolv.h"
#include "agent/sys.h"

#include <linux/errqueue.h> /* after sys.h: it needs struct timespec */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* RFC 792 and RFC 4443; linux/icmp.h wants a C library. */
#define ICMP_ECHOREPLY 0
#define ICMP_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_CODE_NET_PROHIBITED 9
#define ICMP_CODE_HOST_PROHIBITED 10
#define ICMP_CODE_PROHIBITED 13
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMP_HEADER 8

#define SOCK_FLAGS (O_NONBLOCK | O_CLOEXEC)

#define FLOWS 8192u
#define RX_BYTES (256u << 10)
#define BATCH 32  /* datagrams in one system call */
#define EVENTS 64 /* flows looked at before stdin has its turn */
#define ERRORS_AT_ONCE 16
#define RCVBUF_BYTES (1 << 20)
#define DNS_PORT 53
#define SILENCE_S 30 /* byway pings every 5 */
/* A batch of datagrams of 1,500 bytes or less is sure of its place. */
#define SMALL_RESERVE (BATCH * (LANE_SMALL_PAYLOAD + PROTO_HEAD_MAX))
#define BULK_RESERVE (64u << 10)
#define BULK_RESUME (128u << 10) /* less than there is room in an empty lane, however slow */
#define DATAGRAM_ROOM                                                                              \
	(PROTO_DATAGRAM_MAX + 60 + ICMP_HEADER) /* a raw socket gives the IP header                \
						 */

enum kind { KIND_UDP, KIND_PING, KIND_RAW };

struct flow {
	int fd;
	uint32_t number, last_s;
	uint32_t overflow; /* the socket's count of drops, when last seen */
	uint64_t order;    /* see lanes_choose() */
	struct proto_addr addr;
	uint16_t port;
	uint16_t ident; /* of a raw socket's pings: it sees the answers to everybody's */
	uint8_t kind;
	bool bulk;   /* its last datagram was */
	bool paused; /* it is not read from */
};

/* Datagrams for one flow, which are sent by one call. */
struct outbox {
	struct flow *flow;
	size_t n;
	struct iovec iov[BATCH];
	struct sys_mmsghdr msgs[BATCH];
};

struct inbox {
	struct sys_mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	_Alignas(8) uint8_t control[BATCH][32];
	uint8_t data[BATCH][DATAGRAM_ROOM];
};

struct agent {
	int epoll;
	bool greeted;
	uint16_t n_flows; /* promised */
	uint16_t idle_s;
	uint32_t top; /* no slot from here on was ever used */
	uint32_t used;
	uint32_t now_s, swept_s, heard_s;
	uint64_t now_us;
	uint16_t ident; /* the last one given */
	bool any_paused;
	struct agent_stats stats;
	struct lanes lanes;
	struct outbox out;
	struct inbox in;
	struct flow flows[FLOWS];
	size_t rx_len;
	uint8_t rx[RX_BYTES];
	uint8_t small[LANE_SMALL_BYTES], bulk[LANE_BULK_BYTES];
};

/* ---- To byway ---- */

static bool send_frame(struct agent *a, enum lane lane, uint64_t *order, const struct frame *f)
{
	uint8_t head[PROTO_HEAD_MAX];
	struct lane_span parts[2] = {{head, frame_put_head(FROM_AGENT, f, head)},
				     {f->data, f->len}};

	if (lanes_put(&a->lanes, lane, order, parts))
		return true;
	a->stats.dropped++;
	return false;
}

static void send_error(struct agent *a, uint32_t flow, uint16_t seq, enum flow_error error,
		       uint32_t mtu)
{
	struct frame f = {.type = FRAME_ERROR,
			  .flow = flow,
			  .seq = seq,
			  .error = error,
			  .mtu = error == FLOW_ERROR_TOO_BIG ? mtu : 0};

	send_frame(a, LANE_SMALL, NULL, &f);
}

/* False when the other side is gone. */
static bool flush(struct agent *a)
{
	struct lane_span s[2];
	size_t n;

	while ((n = lanes_next(&a->lanes, s)) > 0) {
		struct iovec v[2] = {{(void *)s[0].data, s[0].len}, {(void *)s[1].data, s[1].len}};
		long r = sys_writev(1, v, n);

		if (r < 0)
			return r == -EAGAIN || r == -EINTR;
		lanes_written(&a->lanes, (size_t)r, a->now_us);
	}
	return true;
}

/* ---- Flows ---- */

static uint32_t slot_of(const struct agent *a, const struct flow *f)
{
	return (uint32_t)(f - a->flows);
}

static void watch(struct agent *a, const struct flow *f, int op, uint32_t events)
{
	struct epoll_event e = {.events = events, .data = slot_of(a, f)};

	sys_epoll_ctl(a->epoll, op, f->fd, &e);
}

static void flow_close(struct agent *a, struct flow *f)
{
	sys_close(f->fd);
	f->fd = 0;
	a->used--;
}

union sockaddr_any {
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static uint16_t to_net16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

/* Returns its length. */
static int fill_sockaddr(const struct flow *f, union sockaddr_any *ret)
{
	*ret = (union sockaddr_any){0};
	if (f->addr.family == 4) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = to_net16(f->port);
		__builtin_memcpy(&ret->in.sin_addr, f->addr.bytes, 4);
		return sizeof(ret->in);
	}
	ret->in6.sin6_family = AF_INET6;
	ret->in6.sin6_port = to_net16(f->port);
	__builtin_memcpy(&ret->in6.sin6_addr, f->addr.bytes, 16);
	return sizeof(ret->in6);
}

static enum flow_error errno_error(long err)
{
	switch (err) {
	case ECONNREFUSED:
	case ENOPROTOOPT:
		return FLOW_ERROR_PORT;
	case EACCES:
	case EPERM:
		return FLOW_ERROR_PROHIBITED;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return FLOW_ERROR_HOST;
	case EMSGSIZE:
		return FLOW_ERROR_TOO_BIG;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return FLOW_ERROR_LIMIT;
	default:
		return FLOW_ERROR_NET;
	}
}

/* Pings need no privilege where net.ipv4.ping_group_range has our group; elsewhere the raw socket
 * will do if we may have one. The first one's errno says why, if not. */
static long open_ping(struct flow *f, int family)
{
	int protocol = f->addr.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	long fd = sys_socket(family, SOCK_DGRAM | SOCK_FLAGS, protocol), raw;

	f->kind = KIND_PING;
	if (fd != -EACCES && fd != -EPERM)
		return fd;
	raw = sys_socket(family, SOCK_RAW | SOCK_FLAGS, protocol);
	if (raw < 0)
		return fd;
	f->kind = KIND_RAW;
	return raw;
}

static void set_options(int fd, uint8_t family)
{
	static const int on = 1, size = RCVBUF_BYTES;

	if (family == 4)
		sys_setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	else
		sys_setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	sys_setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	if (sys_setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		sys_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* A connected socket into f->fd, or -errno. */
static long open_socket(struct flow *f)
{
	union sockaddr_any to;
	int len = fill_sockaddr(f, &to), family = to.in.sin_family;
	long fd, r;

	if (f->kind == KIND_UDP)
		fd = sys_socket(family, SOCK_DGRAM | SOCK_FLAGS, IPPROTO_UDP);
	else
		fd = open_ping(f, family);
	if (fd < 0)
		return fd;
	set_options((int)fd, f->addr.family);
	r = sys_connect((int)fd, &to, len);
	if (r < 0) {
		sys_close((int)fd);
		return r;
	}
	f->fd = (int)fd;
	return 0;
}

static bool is_same_target(const struct flow *f, const struct frame *frame)
{
	return (f->kind == KIND_UDP) == (frame->type == FRAME_DATAGRAM) && f->port == frame->port &&
	       !__builtin_memcmp(&f->addr, &frame->addr, sizeof(f->addr));
}

/* The flow that a frame is for, with an open socket. NULL: there is none to be had, which byway has
 * been told. */
static struct flow *flow_for(struct agent *a, const struct frame *frame)
{
	uint32_t slot = flow_slot(frame->flow);
	struct flow *f = &a->flows[slot];
	long r;

	if (f->fd && f->number == frame->flow && is_same_target(f, frame))
		return f;
	if (f->fd)
		flow_close(a, f);
	*f = (struct flow){.number = frame->flow,
			   .last_s = a->now_s,
			   .addr = frame->addr,
			   .port = frame->port,
			   .ident = ++a->ident,
			   .kind = frame->type == FRAME_DATAGRAM ? KIND_UDP : KIND_PING};
	r = open_socket(f);
	if (r < 0) {
		a->stats.dropped++;
		send_error(a, frame->flow, frame->seq, errno_error(-r), 0);
		return NULL;
	}
	a->used++;
	if (slot >= a->top)
		a->top = slot + 1;
	watch(a, f, EPOLL_CTL_ADD, EPOLLIN);
	return f;
}

/* ---- Errors of sockets ---- */

/* A router or host that forbids says so in codes for which the kernel's errno is unreachable. */
static enum flow_error extended_error(const struct sock_extended_err *e)
{
	if (e->ee_origin == SO_EE_ORIGIN_ICMP && e->ee_type == ICMP_UNREACH &&
	    (e->ee_code == ICMP_CODE_NET_PROHIBITED || e->ee_code == ICMP_CODE_HOST_PROHIBITED ||
	     e->ee_code == ICMP_CODE_PROHIBITED))
		return FLOW_ERROR_PROHIBITED;
	return errno_error((long)e->ee_errno);
}

/* The control message of a type that level has; NULL when there is none. */
static const void *find_control(const struct sys_msghdr *m, int level, int type, size_t size)
{
	const uint8_t *p = m->control;
	size_t left = m->controllen;

	while (left >= sizeof(struct sys_cmsghdr)) {
		struct sys_cmsghdr h;
		size_t step;

		__builtin_memcpy(&h, p, sizeof(h));
		if (h.len < sizeof(h) || h.len > left)
			return NULL;
		if (h.level == level && h.type == type && h.len - sizeof(h) >= size)
			return p + sizeof(h);
		step = (h.len + sizeof(size_t) - 1) & ~(sizeof(size_t) - 1);
		if (step > left)
			return NULL;
		p += step;
		left -= step;
	}
	return NULL;
}

/* The sequence number in the quoted echo request. */
static uint16_t quoted_seq(const struct flow *f, const uint8_t *icmp, size_t len)
{
	if (f->kind == KIND_UDP || len < ICMP_HEADER)
		return 0;
	return (uint16_t)(icmp[6] << 8 | icmp[7]);
}

/* Reads the next error of the socket. False: none is left. *ret_local: it is about what we have
 * just tried to send. */
static bool read_error(struct agent *a, struct flow *f, bool *ret_local)
{
	_Alignas(8) uint8_t control[256];
	uint8_t quoted[ICMP_HEADER];
	struct iovec iov = {quoted, sizeof(quoted)};
	struct sys_msghdr m = {
		.iov = &iov, .iovlen = 1, .control = control, .controllen = sizeof(control)};
	bool v4 = f->addr.family == 4;
	long len = sys_recvmsg(f->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
	struct sock_extended_err e;
	const void *found;
	enum flow_error error;

	if (len < 0)
		return false;
	found = find_control(&m, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR,
			     sizeof(e));
	if (!found)
		return true;
	__builtin_memcpy(&e, found, sizeof(e));
	*ret_local = e.ee_origin == SO_EE_ORIGIN_LOCAL;
	error = extended_error(&e);
	/* A router's limit the kernel remembers: from now on it fragments. */
	if (error != FLOW_ERROR_TOO_BIG || *ret_local)
		send_error(a, f->number, quoted_seq(f, quoted, (size_t)len), error, e.ee_info);
	return true;
}

/* True: one was about what we have just tried to send. */
static bool drain_errors(struct agent *a, struct flow *f)
{
	bool any_local = false, local = false;

	for (int i = 0; i < ERRORS_AT_ONCE && read_error(a, f, &local); i++) {
		any_local |= local;
		local = false;
	}
	return any_local;
}

/* ---- Out to the network ---- */

/* One datagram at least was not sent. Returns whether to try it again: an error of an earlier one
 * is reported in place of sending the next. */
static bool send_failed(struct agent *a, struct flow *f, long err, bool again)
{
	bool local = drain_errors(a, f);

	if (!again && !local)
		return true;
	if (!local)
		send_error(a, f->number, 0, errno_error(err), 0);
	a->stats.dropped++;
	return false;
}

static void send_messages(struct agent *a, struct flow *f, struct sys_mmsghdr *m, size_t n)
{
	bool again = false;
	size_t done = 0;

	f->last_s = a->now_s;
	while (done < n) {
		long r = sys_sendmmsg(f->fd, m + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r > 0) {
			done += (size_t)r;
			a->stats.out += (uint64_t)r;
			again = false;
		} else if (r == -EAGAIN || r == -ENOBUFS) {
			a->stats.dropped += n - done;
			return;
		} else {
			again = send_failed(a, f, -r, again);
			done += !again;
		}
	}
}

static void send_outbox(struct agent *a)
{
	struct outbox *o = &a->out;

	if (o->n)
		send_messages(a, o->flow, o->msgs, o->n);
	o->n = 0;
}

static void datagram_out(struct agent *a, const struct frame *frame)
{
	struct outbox *o = &a->out;
	struct flow *f;

	if (o->n == BATCH || (o->n && o->flow->number != frame->flow))
		send_outbox(a);
	if (o->n && !is_same_target(o->flow, frame))
		send_outbox(a);
	f = flow_for(a, frame);
	if (!f)
		return;
	o->flow = f;
	o->iov[o->n] = (struct iovec){(void *)frame->data, frame->len};
	o->msgs[o->n] = (struct sys_mmsghdr){.hdr = {.iov = &o->iov[o->n], .iovlen = 1}};
	o->n++;
}

/* RFC 1071, of what a raw ICMP socket sends; for ICMPv6, and on ping sockets, the kernel does it.
 */
static uint16_t checksum(const struct iovec *v, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = v[i].iov_base;

		for (size_t j = 0; j < v[i].iov_len; j++)
			sum += j & 1 ? p[j] : (uint32_t)p[j] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void echo_out(struct agent *a, const struct frame *frame)
{
	struct flow *f = flow_for(a, frame);
	uint8_t icmp[ICMP_HEADER] = {0};
	struct iovec v[2] = {{icmp, sizeof(icmp)}, {(void *)frame->data, frame->len}};
	struct sys_mmsghdr m = {.hdr = {.iov = v, .iovlen = 2}};

	if (!f)
		return;
	icmp[0] = f->addr.family == 4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
	put16(icmp + 6, frame->seq);
	if (f->kind == KIND_RAW) {
		put16(icmp + 4, f->ident);
		put16(icmp + 2, checksum(v, 2));
	}
	send_messages(a, f, &m, 1);
}

/* ---- In from the network ---- */

static void count_overflow(struct agent *a, struct flow *f, const struct sys_msghdr *m)
{
	const void *found = find_control(m, SOL_SOCKET, SO_RXQ_OVFL, sizeof(uint32_t));
	uint32_t count;

	if (!found)
		return;
	__builtin_memcpy(&count, found, sizeof(count));
	a->stats.overflowed += count - f->overflow;
	f->overflow = count;
}

/* The payload of an echo reply that is the flow's. */
static bool parse_reply(const struct flow *f, const uint8_t *p, size_t len, struct frame *ret)
{
	if (f->kind == KIND_RAW && f->addr.family == 4) {
		size_t header = len ? (p[0] & 0xfu) * 4 : 0;

		if (header > len)
			return false;
		p += header;
		len -= header;
	}
	if (len < ICMP_HEADER || p[0] != (f->addr.family == 4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY))
		return false;
	if (f->kind == KIND_RAW && (p[4] << 8 | p[5]) != f->ident)
		return false;
	ret->seq = (uint16_t)(p[6] << 8 | p[7]);
	ret->data = p + ICMP_HEADER;
	ret->len = len - ICMP_HEADER;
	return true;
}

static void message_in(struct agent *a, struct flow *f, size_t i)
{
	struct frame frame = {.type = FRAME_DATAGRAM, .flow = f->number};
	size_t len = a->in.msgs[i].len;
	enum lane lane;

	count_overflow(a, f, &a->in.msgs[i].hdr);
	frame.data = a->in.data[i];
	frame.len = len;
	if (f->kind != KIND_UDP) {
		frame.type = FRAME_ECHO;
		if (!parse_reply(f, a->in.data[i], len, &frame))
			return;
	}
	if (frame.len > PROTO_DATAGRAM_MAX || a->in.msgs[i].hdr.flags & MSG_TRUNC)
		return;
	lane = lanes_choose(&a->lanes, f->order, frame.len, f->port == DNS_PORT);
	f->bulk = lane == LANE_BULK;
	f->last_s = a->now_s;
	a->stats.in++;
	send_frame(a, lane, &f->order, &frame);
}

static void hold(struct agent *a, struct flow *f)
{
	f->paused = true;
	a->any_paused = true;
	watch(a, f, EPOLL_CTL_MOD, 0);
}

static void resume_all(struct agent *a)
{
	for (uint32_t i = 0; i < a->top; i++) {
		struct flow *f = &a->flows[i];

		if (!f->fd || !f->paused)
			continue;
		f->paused = false;
		watch(a, f, EPOLL_CTL_MOD, EPOLLIN);
	}
	a->any_paused = false;
}

static void prepare_inbox(struct inbox *in)
{
	for (size_t i = 0; i < BATCH; i++) {
		in->iov[i] = (struct iovec){in->data[i], sizeof(in->data[i])};
		in->msgs[i].hdr = (struct sys_msghdr){.iov = &in->iov[i],
						      .iovlen = 1,
						      .control = in->control[i],
						      .controllen = sizeof(in->control[i])};
	}
}

static void flow_event(struct agent *a, struct flow *f, uint32_t events)
{
	long n;

	if (!f->fd)
		return;
	/* An error that found no room in its queue is only cleared by reading. */
	if (events & EPOLLERR) {
		drain_errors(a, f);
	} else if (f->paused) {
		return;
	} else if (f->bulk && lanes_room(&a->lanes, LANE_BULK) < BULK_RESERVE) {
		hold(a, f);
		return;
	}
	prepare_inbox(&a->in);
	n = sys_recvmmsg(f->fd, a->in.msgs, BATCH, MSG_DONTWAIT);
	if (n < 0 && n != -EAGAIN && n != -EINTR && !drain_errors(a, f))
		send_error(a, f->number, 0, errno_error(-n), 0);
	for (long i = 0; i < n; i++)
		message_in(a, f, (size_t)i);
}

static void read_sockets(struct agent *a)
{
	struct epoll_event events[EVENTS];
	long n = sys_epoll_look(a->epoll, events, EVENTS);

	for (long i = 0; i < n; i++) {
		if (lanes_room(&a->lanes, LANE_SMALL) < SMALL_RESERVE)
			return;
		flow_event(a, &a->flows[events[i].data], events[i].events);
	}
}

/* ---- From byway ---- */

static bool is_known_slot(const struct agent *a, uint32_t flow)
{
	return flow_slot(flow) < a->n_flows;
}

static void close_frame(struct agent *a, uint32_t flow)
{
	struct flow *f = &a->flows[flow_slot(flow)];

	if (f->fd && f->number == flow)
		flow_close(a, f);
}

static void reply(struct agent *a, const struct frame *f)
{
	send_frame(a, LANE_SMALL, NULL, f);
}

enum verdict { GO_ON, END, NONSENSE };

static enum verdict handle_hello(struct agent *a, const struct proto_hello *h)
{
	if (a->greeted || h->version != PROTO_VERSION || h->flows > a->n_flows)
		return NONSENSE;
	a->greeted = true;
	a->idle_s = h->idle_s;
	return GO_ON;
}

static void send_stats(struct agent *a)
{
	struct frame f = {.type = FRAME_STATS, .stats = a->stats};

	f.stats.flows = a->used;
	reply(a, &f);
}

static enum verdict handle_flow_frame(struct agent *a, const struct frame *f)
{
	if (!is_known_slot(a, f->flow))
		return NONSENSE;
	if (f->type == FRAME_DATAGRAM)
		datagram_out(a, f);
	else if (f->type == FRAME_ECHO)
		echo_out(a, f);
	else
		close_frame(a, f->flow);
	return GO_ON;
}

static enum verdict handle(struct agent *a, const struct frame *f)
{
	struct frame pong = {.type = FRAME_PONG, .token = f->token};

	if (f->type != FRAME_HELLO && !a->greeted)
		return NONSENSE;
	if (f->type != FRAME_DATAGRAM)
		send_outbox(a);
	switch (f->type) {
	case FRAME_HELLO:
		return handle_hello(a, &f->hello);
	case FRAME_DATAGRAM:
	case FRAME_ECHO:
	case FRAME_CLOSE:
		return handle_flow_frame(a, f);
	case FRAME_PING:
		reply(a, &pong);
		return GO_ON;
	case FRAME_STATS:
		send_stats(a);
		return GO_ON;
	case FRAME_ACK:
		return lanes_acked(&a->lanes, f->token, a->now_us) ? GO_ON : NONSENSE;
	case FRAME_SHUTDOWN:
		return END;
	case FRAME_ERROR:
	case FRAME_PONG:
	case FRAME_NUM_TYPES:
		break;
	}
	return NONSENSE;
}

/* What has been read, as far as it is complete. The outbox points into it. */
static enum verdict handle_all(struct agent *a)
{
	enum verdict v = GO_ON;
	size_t at = 0;

	while (v == GO_ON) {
		struct frame f;
		size_t used;
		int r = frame_parse(FROM_BYWAY, a->rx + at, a->rx_len - at, &f, &used);

		if (r == 0)
			break;
		v = r < 0 ? NONSENSE : handle(a, &f);
		if (f.type != FRAME_HELLO)
			lanes_received(&a->lanes, used);
		at += used;
	}
	send_outbox(a);
	lanes_tell(&a->lanes, FROM_AGENT);
	if (v != GO_ON)
		return v;
	a->rx_len -= at;
	__builtin_memmove(a->rx, a->rx + at, a->rx_len);
	return v;
}

static enum verdict read_stdin(struct agent *a)
{
	long n = sys_read(0, a->rx + a->rx_len, RX_BYTES - a->rx_len);

	if (n == -EAGAIN || n == -EINTR)
		return GO_ON;
	if (n <= 0)
		return END;
	a->rx_len += (size_t)n;
	a->heard_s = a->now_s;
	return handle_all(a);
}

/* ---- The loop ---- */

static void update_clock(struct agent *a)
{
	struct timespec t = {0};

	sys_clock(CLOCK_MONOTONIC, &t);
	a->now_s = (uint32_t)t.tv_sec;
	a->now_us = (uint64_t)t.tv_sec * 1000000u + (uint32_t)t.tv_nsec / 1000u;
}

/* Once a second. byway closes flows in time; this is for what it has lost count of. */
static void sweep(struct agent *a)
{
	if (a->now_s == a->swept_s)
		return;
	a->swept_s = a->now_s;
	for (uint32_t i = 0; i < a->top; i++) {
		struct flow *f = &a->flows[i];
		struct frame closed = {.type = FRAME_CLOSE, .flow = f->number};

		if (!f->fd || a->now_s - f->last_s < a->idle_s)
			continue;
		flow_close(a, f);
		reply(a, &closed);
	}
}

static enum verdict turn(struct agent *a)
{
	struct timespec second = {.tv_sec = 1};
	bool room = lanes_room(&a->lanes, LANE_SMALL) >= SMALL_RESERVE;
	struct pollfd p[] = {{.fd = 0, .events = POLLIN},
			     {.fd = 1, .events = lanes_ready(&a->lanes) ? POLLOUT : 0},
			     {.fd = a->epoll, .events = room ? POLLIN : 0}};
	long n = sys_poll(p, ARRAY_SIZE(p), &second);
	enum verdict v = GO_ON;

	if (n < 0)
		return n == -EINTR ? GO_ON : END;
	update_clock(a);
	if (p[0].revents)
		v = read_stdin(a);
	if (v != GO_ON || p[1].revents & (POLLERR | POLLNVAL))
		return v == GO_ON ? END : v;
	if (p[2].revents)
		read_sockets(a);
	if (!flush(a))
		return END;
	if (a->any_paused && lanes_room(&a->lanes, LANE_BULK) >= BULK_RESUME)
		resume_all(a);
	sweep(a);
	return a->now_s - a->heard_s < SILENCE_S ? GO_ON : END;
}

/* ---- The start ---- */

/* DIRECTORY/agent, and DIRECTORY. */
static void delete_self(const char *dir)
{
	static const char name[] = "/agent";
	char path[4096];
	size_t n = 0;

	while (n < sizeof(path) - sizeof(name) && dir[n]) {
		path[n] = dir[n];
		n++;
	}
	__builtin_memcpy(path + n, name, sizeof(name));
	sys_unlink(path, 0);
	sys_unlink(dir, AT_REMOVEDIR);
}

/* Beside the lanes, which count what comes after it. It is next to nothing, and the channel is
 * empty. */
static bool greet(struct agent *a)
{
	static const struct proto_addr local = {.family = 4, .bytes = {127, 0, 0, 1}};
	struct frame f = {.type = FRAME_HELLO,
			  .hello = {.version = PROTO_VERSION, .flows = a->n_flows}};
	struct proto_hello *h = &f.hello;
	uint8_t bytes[PROTO_HEAD_MAX];
	struct iovec head;
	long fd = sys_open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC), n = 0;

	if (fd >= 0) {
		n = sys_read((int)fd, a->rx, RX_BYTES);
		sys_close((int)fd);
	}
	if (n > 0)
		h->n_resolvers =
			(uint8_t)resolv_parse((const char *)a->rx, (size_t)n, h->resolvers);
	if (!h->n_resolvers) /* resolv.conf(5) */
		h->resolvers[h->n_resolvers++] = local;
	head = (struct iovec){bytes, frame_put_head(FROM_AGENT, &f, bytes)};
	return sys_writev(1, &head, 1) == (long)head.iov_len;
}

static void set_nonblocking(int fd)
{
	sys_fcntl(fd, F_SETFL, sys_fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
}

static int serve(struct agent *a)
{
	enum verdict v = GO_ON;
	unsigned long files = confine_limits();

	a->n_flows = (uint16_t)(files > FLOWS + 16 ? FLOWS : files > 32 ? files - 16 : 16);
	a->epoll = (int)sys_epoll_create();
	if (a->epoll < 0)
		return 2;
	update_clock(a);
	a->heard_s = a->now_s;
	lanes_init(&a->lanes, a->small, a->bulk);
	if (!greet(a))
		return 0;
	set_nonblocking(0);
	set_nonblocking(1);
	confine();
	while (v == GO_ON)
		v = turn(a);
	return v == NONSENSE;
}

int agent_main(int argc, char **argv)
{
	static struct agent agent;

	if (argc != 2)
		return 2;
	if (argv[1][0] == '-' && argv[1][1] == 'V' && !argv[1][2])
		return 0;
	delete_self(argv[1]);
	sys_chdir("/");
	return serve(&agent);
}
