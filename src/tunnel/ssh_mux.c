// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: channels in proxy mode
 *
 *   caller <- socket pair -> channel -> frames -> control socket -> ssh -> server
 *
 * 1. Data is read from a caller's pair into the frame it leaves in, and written to it out of the
 *    buffer it came in. What a caller does not take at once is kept in chunks, and stays within the
 *    channel's window.
 * 2. An SSH server is trusted with our bytes and nothing more, and ssh with its own work: a frame
 *    that breaks the protocol ends the connection.
 * 3. Windows begin small and double as long as a channel uses up more than half of one in a round
 *    trip: so the longest fat path is filled, an idle channel holds little, and where the window is
 *    not what limits, nothing piles up in ssh. All together they stay below GRANTED_MAX: ssh keeps
 *    what we do not read fast enough, up to 128 MiB (SSHBUF_SIZE_MAX), and drops messages beyond
 *    without a word.
 * 4. At most OUT_MAX bytes of data wait here, and SEND_BUFFER in the socket; the rest waits with
 *    the callers. Channels take turns of one frame. One that had been idle comes before those that
 *    still have data after their turn (as new flows in RFC 8290 4.2), so what is interactive passes
 *    by what is bulk.
 * 5. Both ends of a channel say CLOSE; its number is free when the server has said it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "tunnel/ssh_error.h"
#include "tunnel/ssh_mux.h"
#include "tunnel/ssh_wire.h"

#define IN_SIZE (4 * SSH_FRAME_MAX)
#define OUT_MAX (64 * 1024)
#define OUT_BROKEN (16 * 1024 * 1024) /* answers to one who asks and does not read */
#define SEND_BUFFER (64 * 1024)
/* ssh reads no more than 32 KiB of a body at a time (CHAN_RBUF), and once in each of its rounds. */
#define SEND_DATA_MAX (SSH_DATA_MAX - (SSH_DATA_HEADER - 4))
#define TURNS 4 /* of filling and writing, before it is time to read */
#define WINDOW_FIRST (256 * 1024)
#define WINDOW_LEAST (32 * 1024)
#define GRANTED_MAX (96u * 1024 * 1024)
#define RTT_LEAST_US 1000
#define PING_INTERVAL_US 1000000
#define MEASURE_US 20000 /* what comes in shorter bursts says nothing of a rate */
#define NONE UINT32_MAX

/* ---- Towards the server ---- */

static void break_mux(struct ssh_mux *m, const char *fmt, ...) _printf_(2, 3);

static void break_mux(struct ssh_mux *m, const char *fmt, ...)
{
	va_list ap;

	if (ssh_mux_is_over(m))
		return;
	va_start(ap, fmt);
	vsnprintf(m->reason, sizeof(m->reason), fmt, ap);
	va_end(ap);
	m->phase = SSH_MUX_BROKEN;
}

bool ssh_mux_is_over(const struct ssh_mux *m)
{
	return m->phase == SSH_MUX_REFUSED || m->phase == SSH_MUX_BROKEN;
}

static size_t queued(const struct ssh_mux *m)
{
	return m->out.len - m->out_at;
}

static void unlist(struct ssh_channel *c)
{
	struct ssh_channels *list = TAKE_PTR(c->ready_in);

	if (list)
		TAILQ_REMOVE(list, c, entry);
}

/* What has something to send takes its place. */
static void enlist(struct ssh_channel *c, struct ssh_channels *list)
{
	if (c->ready_in || c->state != SSH_CHANNEL_STREAM || c->eof_sent || c->close_sent ||
	    !c->readable)
		return;
	c->ready_in = list;
	TAILQ_INSERT_TAIL(list, c, entry);
}

static void caller_event(struct ssh_source *s, uint32_t events);

static uint32_t take_slot(struct ssh_mux *m, struct ssh_channel *c)
{
	uint32_t id = m->first_free;

	if (id == NONE) {
		id = m->n_slots;
		m->n_slots = m->n_slots * 2 + 16;
		m->slots = xrealloc(m->slots, m->n_slots, sizeof(*m->slots));
		for (uint32_t i = id; i < m->n_slots; i++)
			m->slots[i] =
				(struct ssh_slot){.next_free = i + 1 < m->n_slots ? i + 1 : NONE};
	}
	m->first_free = m->slots[id].next_free;
	m->slots[id].channel = c;
	m->n_channels++;
	return id;
}

/* The channel is not the mux's any more. */
static void detach(struct ssh_channel *c)
{
	struct ssh_mux *m = c->mux;

	unlist(c);
	m->slots[c->id] = (struct ssh_slot){.next_free = m->first_free};
	m->first_free = c->id;
	m->n_channels--;
	m->granted -= c->window_max;
	if (m->pinged == c)
		m->pinged = NULL;
	c->mux = NULL;
}

void ssh_mux_open(struct ssh_mux *m, struct ssh_channel *c)
{
	char host[DIAL_HOST_MAX];

	c->mux = m;
	c->id = take_slot(m, c);
	c->state = SSH_CHANNEL_OPENING;
	c->source.event = caller_event; /* it may have been a passenger's */
	c->window = m->granted + WINDOW_FIRST <= GRANTED_MAX ? WINDOW_FIRST : WINDOW_LEAST;
	c->window = MIN(c->window, m->window_max);
	c->window_max = c->window;
	m->granted += c->window_max;
	ssh_put_open(&m->out, c->id, c->window, ssh_channel_host(c, host), c->opening->target.port);
}

static void send_close(struct ssh_channel *c)
{
	if (c->close_sent)
		return;
	unlist(c);
	ssh_put_plain(&c->mux->out, SSH_CHANNEL_CLOSE, c->peer);
	c->close_sent = true;
}

/* Both directions have ended. */
static void close_if_done(struct ssh_channel *c)
{
	if (c->eof_sent && ((c->eof_received && !c->backlog) || c->gone))
		send_close(c);
}

static void send_eof(struct ssh_channel *c)
{
	ssh_put_plain(&c->mux->out, SSH_CHANNEL_EOF, c->peer);
	c->eof_sent = true;
	close_if_done(c);
}

/* The caller takes nothing any more, nor does it say why. */
static void give_up(struct ssh_channel *c)
{
	send_close(c);
	ssh_channel_drop_caller(c);
}

/* A window that is all that limits lets one through in each round trip: see 3 above. */
static void grow_window(struct ssh_channel *c, uint32_t taken, uint64_t now_us)
{
	struct ssh_mux *m = c->mux;
	uint64_t rtt_us = MAX(m->rtt_us, RTT_LEAST_US), passed_us = now_us - c->measured_us, need;

	c->measured += taken;
	if (passed_us < MAX(rtt_us, MEASURE_US))
		return;
	need = 2 * rtt_us * c->measured / passed_us;
	c->measured = 0;
	c->measured_us = now_us;
	if (need <= c->window_max || c->window_max > m->window_max / 2 ||
	    m->granted + c->window_max > GRANTED_MAX)
		return;
	m->granted += c->window_max;
	c->window_max *= 2;
}

/* Lets the server send again what the caller has taken. */
static void adjust_window(struct ssh_channel *c)
{
	uint32_t taken = c->window_max - c->window - c->backlogged;

	if (c->eof_received || c->close_sent || taken < c->window_max / 2)
		return;
	grow_window(c, taken, clock_us());
	taken = c->window_max - c->window - c->backlogged;
	ssh_put_adjust(&c->mux->out, c->peer, taken);
	c->window += taken;
}

/* One frame of at most `take` bytes, of which there are that many and one more. */
static bool send_data(struct ssh_channel *c, size_t take)
{
	struct ssh_mux *m = c->mux;
	unsigned char *at = (unsigned char *)buf_reserve(&m->out, SSH_DATA_HEADER + take);
	unsigned char *data = at + SSH_DATA_HEADER;
	/* The first byte is the one that was sent before: it falls upon the header, which is
	 * written afterwards. The last one stays where it is. */
	ssize_t n = recv(c->fd, data - 1, take, MSG_DONTWAIT);

	if (n <= 0 || recv(c->fd, data + n - 1, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
		return false;
	ssh_write_data_header(at, c->peer, (uint32_t)n);
	m->out.len += SSH_DATA_HEADER + (size_t)n;
	c->send_window -= (uint32_t)n;
	m->up_bytes += (uint64_t)n;
	return true;
}

/* A turn of one channel. */
static void serve(struct ssh_mux *m, struct ssh_channel *c)
{
	int there = 0;
	size_t n;

	unlist(c);
	if (ioctl(c->fd, FIONREAD, &there) || there < 1) {
		give_up(c); /* there always is the one byte */
		return;
	}
	n = (size_t)there - 1;
	if (!n) {
		c->readable = false;
		if (c->ended)
			send_eof(c);
		return;
	}
	if (!c->send_window) {
		if (c->gone)
			give_up(c);
		return; /* until there is an adjustment */
	}
	if (!send_data(c, MIN(n, MIN(c->send_window, c->max_packet)))) {
		give_up(c);
		return;
	}
	enlist(c, &m->bulk);
}

static void fill(struct ssh_mux *m)
{
	struct ssh_channel *c;

	while (queued(m) < OUT_MAX && ((c = TAILQ_FIRST(&m->fresh)) || (c = TAILQ_FIRST(&m->bulk))))
		serve(m, c);
}

static void wait_to_write(struct ssh_mux *m, bool wait)
{
	if (m->waits_for_room == wait)
		return;
	m->waits_for_room = wait;
	ssh_loop_set(m->loop, m->fd, EPOLLIN | (wait ? EPOLLOUT : 0u), &m->source);
}

/* False when nothing goes for now. */
static bool write_out(struct ssh_mux *m)
{
	ssize_t n = send(m->fd, m->out.data + m->out_at, queued(m), MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		break_mux(m, "the control connection broke: %s", strerror(errno));
	if (n > 0)
		m->out_at += (size_t)n;
	if (m->out_at == m->out.len) {
		buf_reset(&m->out);
		m->out_at = 0;
		return true;
	}
	return false;
}

/* What has been sent makes room for the next; never more than twice what waits is moved. */
static void compact(struct ssh_mux *m)
{
	size_t left = queued(m);

	if (!m->out_at || m->out_at < left)
		return;
	memmove(m->out.data, m->out.data + m->out_at, left);
	m->out.len = left;
	m->out_at = 0;
}

void ssh_mux_flush(struct ssh_mux *m)
{
	unsigned int turns = TURNS;
	bool wait = false;

	while (!ssh_mux_is_over(m) && turns--) {
		fill(m);
		if (!queued(m))
			break;
		wait = !write_out(m);
		if (wait)
			break;
	}
	compact(m);
	if (queued(m) > OUT_BROKEN)
		break_mux(m, "ssh asks without end");
	/* Also when the turns are over. */
	wait_to_write(m, wait || !TAILQ_EMPTY(&m->fresh) || !TAILQ_EMPTY(&m->bulk));
}

/* ---- From the server ---- */

/* A channel that has just been opened has nothing under way that an answer would wait for. */
static void ping(const struct ssh_channel *c, uint64_t now_us)
{
	struct ssh_mux *m = c->mux;

	if (m->rtt_us && now_us - m->pinged_us < PING_INTERVAL_US)
		return;
	ssh_put_ping(&m->out, c->peer);
	m->pinged = c;
	m->pinged_us = now_us;
}

static void on_confirmation(struct ssh_channel *c, const struct ssh_message *msg)
{
	struct ssh_mux *m = c->mux;
	const char ok = DIAL_CONNECTED;

	if (c->state != SSH_CHANNEL_OPENING || !msg->max_packet) {
		break_mux(m, "ssh confirms what was not asked");
		return;
	}
	c->peer = msg->sender;
	c->send_window = msg->window;
	c->max_packet = MIN(msg->max_packet, SEND_DATA_MAX);
	c->state = SSH_CHANNEL_STREAM;
	c->measured_us = clock_us();
	free(TAKE_PTR(c->opening));
	if (c->gone || ssh_channel_give(c, &ok, 1) != 1) {
		give_up(c);
		return;
	}
	ping(c, c->measured_us);
	enlist(c, &m->fresh);
}

static void on_open_failure(struct ssh_channel *c, const struct ssh_message *msg)
{
	static const char *const reasons[] = {
		[SSH_OPEN_PROHIBITED] = "the server does not allow it",
		[SSH_OPEN_CONNECT_FAILED] = "connect failed",
		[SSH_OPEN_UNKNOWN_TYPE] = "the server does not know how to forward",
		[SSH_OPEN_RESOURCE_SHORTAGE] = "the server has no room",
	};
	const char *reason = msg->reason < ARRAY_SIZE(reasons) ? reasons[msg->reason] : NULL;
	char description[80], host[DIAL_HOST_MAX];

	if (c->state != SSH_CHANNEL_OPENING) {
		break_mux(c->mux, "ssh refuses what is open");
		return;
	}
	c->mux->n_failed++;
	detach(c);
	str_printable(description, sizeof(description), msg->data, msg->len);
	ssh_channel_fail(c, ssh_open_status(msg->reason, description) | SSH_CHANNEL_ANSWERED,
			 "cannot connect to %.40s port %u: %s%s%s", ssh_channel_host(c, host),
			 c->opening->target.port, reason ? reason : "refused for an unknown reason",
			 description[0] ? ": " : "", description);
}

static void on_adjust(struct ssh_channel *c, const struct ssh_message *msg)
{
	if (msg->window > UINT32_MAX - c->send_window) {
		break_mux(c->mux, "ssh opens a window too far");
		return;
	}
	c->send_window += msg->window;
	enlist(c, &c->mux->bulk);
}

/* Takes len bytes from the window; false when the server sends more than it may. */
static bool count_data(struct ssh_channel *c, size_t len)
{
	if (c->state != SSH_CHANNEL_STREAM || len > c->window || len > SSH_DATA_MAX ||
	    c->eof_received) {
		break_mux(c->mux, "ssh sends data that was not asked for");
		return false;
	}
	c->window -= (uint32_t)len;
	c->mux->down_bytes += len;
	return true;
}

/* What arrived for one channel in a row goes to its caller in one piece: one wake-up. */
static void pass_on(struct ssh_mux *m)
{
	struct ssh_channel *c = TAKE_PTR(m->arrived.channel);
	struct msghdr msg = {.msg_iov = m->arrived.pieces, .msg_iovlen = m->arrived.n};
	ssize_t n;

	if (!c)
		return;
	m->arrived.n = 0;
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		give_up(c);
		return;
	}
	n = MAX(n, 0);
	for (size_t i = 0; i < msg.msg_iovlen; i++) {
		struct iovec *v = &m->arrived.pieces[i];
		size_t taken = MIN((size_t)n, v->iov_len);

		ssh_channel_keep(c, (unsigned char *)v->iov_base + taken, v->iov_len - taken);
		n -= (ssize_t)taken;
	}
	if (c->backlog)
		ssh_channel_wait_for_room(c, true);
	adjust_window(c);
}

static void on_data(struct ssh_channel *c, const struct ssh_message *msg)
{
	struct ssh_mux *m = c->mux;

	if (!count_data(c, msg->len) || !msg->len)
		return;
	if (m->arrived.n == ARRAY_SIZE(m->arrived.pieces))
		pass_on(m);
	if (c->fd < 0)
		return;
	if (c->backlog) {
		ssh_channel_keep(c, msg->data, msg->len);
		return;
	}
	m->arrived.channel = c;
	m->arrived.pieces[m->arrived.n++] =
		(struct iovec){.iov_base = (void *)msg->data, .iov_len = msg->len};
}

/* Of no use to anybody here. */
static void on_extended_data(struct ssh_channel *c, const struct ssh_message *msg)
{
	if (count_data(c, msg->len))
		adjust_window(c);
}

static void end_down(struct ssh_channel *c)
{
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_WR);
	close_if_done(c);
}

static void on_eof(struct ssh_channel *c, const struct ssh_message *msg)
{
	(void)msg;
	if (c->state != SSH_CHANNEL_STREAM) {
		break_mux(c->mux, "ssh ends what is not open");
		return;
	}
	c->eof_received = true;
	if (!c->backlog)
		end_down(c);
}

static void on_close(struct ssh_channel *c, const struct ssh_message *msg)
{
	(void)msg;
	if (c->state != SSH_CHANNEL_STREAM) {
		break_mux(c->mux, "ssh closes what is not open");
		return;
	}
	send_close(c);
	detach(c);
	ssh_channel_finish(c);
}

/* OpenSSH's keepalive@openssh.com among them: any answer will do. */
static void on_request(struct ssh_channel *c, const struct ssh_message *msg)
{
	if (msg->want_reply && c->state == SSH_CHANNEL_STREAM && !c->close_sent)
		ssh_put_plain(&c->mux->out, SSH_CHANNEL_FAILURE, c->peer);
}

static void on_answer(struct ssh_channel *c, const struct ssh_message *msg)
{
	struct ssh_mux *m = c->mux;
	uint64_t rtt_us = clock_us() - m->pinged_us;

	(void)msg; /* success or failure */
	if (m->pinged != c)
		return;
	m->pinged = NULL;
	/* The least; it may rise slowly. */
	m->rtt_us = m->rtt_us && m->rtt_us < rtt_us ? m->rtt_us + m->rtt_us / 64 : rtt_us;
}

static void (*const channel_handlers[])(struct ssh_channel *, const struct ssh_message *) = {
	[SSH_CHANNEL_OPEN_CONFIRMATION] = on_confirmation,
	[SSH_CHANNEL_OPEN_FAILURE] = on_open_failure,
	[SSH_CHANNEL_WINDOW_ADJUST] = on_adjust,
	[SSH_CHANNEL_DATA] = on_data,
	[SSH_CHANNEL_EXTENDED_DATA] = on_extended_data,
	[SSH_CHANNEL_EOF] = on_eof,
	[SSH_CHANNEL_CLOSE] = on_close,
	[SSH_CHANNEL_REQUEST] = on_request,
	[SSH_CHANNEL_SUCCESS] = on_answer,
	[SSH_CHANNEL_FAILURE] = on_answer,
};

static void on_channel_message(struct ssh_mux *m, const struct ssh_message *msg)
{
	struct ssh_channel *c = msg->channel < m->n_slots ? m->slots[msg->channel].channel : NULL;

	if (!c) {
		break_mux(m, "ssh speaks of a channel that does not exist");
		return;
	}
	if (m->arrived.channel && (m->arrived.channel != c || msg->type != SSH_CHANNEL_DATA))
		pass_on(m); /* what came before */
	channel_handlers[msg->type](c, msg);
}

static void on_message(struct ssh_mux *m, const unsigned char *body, size_t len)
{
	struct ssh_message msg;

	if (ssh_message_parse(body, len, &msg))
		break_mux(m, "ssh sends a broken message");
	else if (msg.type < ARRAY_SIZE(channel_handlers) && channel_handlers[msg.type])
		on_channel_message(m, &msg);
	else if (msg.type == SSH_DISCONNECT)
		break_mux(m, "the server ends the connection");
	else if (msg.type == SSH_GLOBAL_REQUEST && msg.want_reply)
		ssh_put_request_failure(&m->out);
	else if (msg.type == SSH_CHANNEL_OPEN)
		ssh_put_open_failure(&m->out, msg.channel);
}

static void on_greeting(struct ssh_mux *m, const unsigned char *body, size_t len)
{
	struct ssh_mux_message msg;

	if (ssh_mux_message_parse(body, len, &msg)) {
		break_mux(m, "ssh's control socket talks nonsense");
	} else if (m->phase == SSH_MUX_GREETING) {
		if (msg.type != SSH_MUX_HELLO || msg.number != SSH_MUX_VERSION)
			break_mux(m, "ssh's control socket speaks another version");
		else
			m->phase = SSH_MUX_ASKED;
	} else if (msg.type == (uint32_t)SSH_MUX_PROXY_OK) {
		m->phase = SSH_MUX_UP;
	} else {
		m->phase = SSH_MUX_REFUSED;
		snprintf(m->reason, sizeof(m->reason), "ssh refuses proxy mode: ");
		str_printable(m->reason + strlen(m->reason), sizeof(m->reason) - strlen(m->reason),
			      msg.text, msg.len);
	}
}

/* Every whole frame; what is left of another goes to the beginning. */
static void take_frames(struct ssh_mux *m)
{
	const unsigned char *body;
	size_t at = 0, len;
	int r = 0;

	while (!ssh_mux_is_over(m) &&
	       (r = ssh_frame(m->in + at, m->in_len - at, &body, &len)) == 1) {
		if (m->phase == SSH_MUX_UP)
			on_message(m, body, len);
		else
			on_greeting(m, body, len);
		at = (size_t)(body - m->in) + len;
	}
	pass_on(m);
	if (r < 0)
		break_mux(m, "ssh sends a message that is too long");
	m->in_len -= at;
	memmove(m->in, m->in + at, m->in_len);
}

static void mux_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_mux *m = (struct ssh_mux *)s;
	ssize_t n;

	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return; /* there is room to write: see ssh_mux_flush() */
	n = recv(m->fd, m->in + m->in_len, IN_SIZE - m->in_len, MSG_DONTWAIT);
	if (n > 0) {
		m->in_len += (size_t)n;
		take_frames(m);
	} else if (n == 0) {
		break_mux(m, "ssh closed the control connection");
	} else if (errno != EAGAIN && errno != EINTR) {
		break_mux(m, "the control connection broke: %s", strerror(errno));
	}
}

/* ---- The caller's events ---- */

static void caller_takes(struct ssh_channel *c)
{
	if (!ssh_channel_give_kept(c)) {
		if (c->mux)
			give_up(c);
		else
			ssh_channel_reset(c);
		return;
	}
	if (c->state == SSH_CHANNEL_DRAINING) {
		if (!c->backlog)
			ssh_channel_finish(c);
		return;
	}
	adjust_window(c);
	if (!c->backlog && c->eof_received)
		end_down(c);
}

static void caller_event(struct ssh_source *s, uint32_t events)
{
	struct ssh_channel *c = (struct ssh_channel *)s;

	if (c->fd < 0)
		return;
	ssh_channel_note(c, events);
	if (c->gone)
		ssh_channel_drop_kept(c);
	if (c->state == SSH_CHANNEL_DRAINING && c->gone)
		ssh_channel_reset(c);
	else if (events & EPOLLOUT && c->backlog)
		caller_takes(c);
	if (c->mux && c->state == SSH_CHANNEL_OPENING && c->gone)
		ssh_channel_drop_caller(c); /* nobody knows when the server answers */
	if (!c->mux || c->state != SSH_CHANNEL_STREAM)
		return;
	if (c->gone)
		close_if_done(c);
	enlist(c, &c->mux->fresh);
}

/* ---- Beginning and end ---- */

int ssh_connect(const char *path, int *ret_fd)
{
	static const int size = SEND_BUFFER;
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (str_copy(to.sun_path, sizeof(to.sun_path), path))
		return -ENAMETOOLONG;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int ssh_mux_new(struct ssh_loop *l, const char *path, uint32_t window_max, struct ssh_mux **ret)
{
	_close_ int fd = -1;
	struct ssh_mux *m;
	int r = ssh_connect(path, &fd);

	if (r)
		return r;
	m = xcalloc(1, sizeof(*m));
	m->source.event = mux_event;
	r = ssh_loop_add(l, fd, EPOLLIN, &m->source);
	if (r) {
		free(m);
		return r;
	}
	m->loop = l;
	m->fd = TAKE_FD(fd);
	m->in = xcalloc(1, IN_SIZE);
	m->window_max = window_max;
	m->first_free = NONE;
	TAILQ_INIT(&m->fresh);
	TAILQ_INIT(&m->bulk);
	ssh_put_hello(&m->out);
	ssh_put_proxy(&m->out, 0);
	*ret = m;
	return 0;
}

static void orphan(struct ssh_channel *c, struct ssh_channels *waiting)
{
	detach(c);
	if (c->state == SSH_CHANNEL_OPENING && !c->gone) {
		c->state = SSH_CHANNEL_WAITING;
		TAILQ_INSERT_TAIL(waiting, c, entry);
	} else {
		ssh_channel_reset(c);
	}
}

void ssh_mux_free(struct ssh_mux *m, struct ssh_channels *waiting)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->n_slots; i++)
		if (m->slots[i].channel)
			orphan(m->slots[i].channel, waiting);
	free(m->slots);
	free(m->in);
	buf_done(&m->out);
	ssh_loop_close(m->loop, m->fd);
	ssh_loop_bury(m->loop, &m->source);
}
