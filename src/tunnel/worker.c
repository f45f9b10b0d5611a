// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * One epoll set holds the TUN queue, the streams being opened and those that are open. What an
 * event is about stands in its 64 bits of data: kind in the upper half, index in the lower. A
 * flow's descriptor is registered once, edge-triggered for both directions, and never touched
 * again but to take it out before it is closed.
 *
 * An event may be about a flow that an earlier event of the same batch has ended: its index may
 * even be a later flow's by now. That does no harm: a flow that is not FLOW_SYN_RCVD or FLOW_OPEN
 * is left alone, and for any other flow a spurious event only means that it looks and finds
 * nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/sandbox.h"
#include "kernel/tun.h"
#include "tunnel/relay.h"
#include "tunnel/worker.h"

#define EVENTS 256
#define TUN_BATCH 64 /* packets read before other events have their turn */
#define PACKET_MAX (TUN_HEADER + 65535 + 64)
#define STATUS_MS 1000
#define LETTERS 16 /* lost when there are more, as ICMP may be */

enum kind { KIND_WAKE, KIND_TUN, KIND_FLOW, KIND_DIAL, KIND_DNS };

struct opening {
	struct dial dial;
	uint32_t flow; /* FLOW_NONE: free, or nobody waits any more */
	uint32_t next_free;
	int registered; /* the descriptor that epoll knows, or -1 */
	uint32_t events;
};

struct worker {
	struct tcp tcp;
	const struct dialer *dialer;
	struct dns *dns; /* NULL with DNS_BYPASS */
	struct relay *relay;
	bool steps_dns;
	int epoll, wake;
	atomic_bool stopped;
	struct worker *const *peers;
	size_t n_peers;
	struct packet letters[LETTERS]; /* PACKET_TOO_BIG, from other workers */
	size_t n_letters;
	struct opening *openings;
	uint32_t free_opening;
	uint8_t *rx;
	uint64_t dials, packets, ignored;
	enum dial_status proxy_failure; /* these three: of worker_status */
	struct dial_target failed_target;
	uint64_t judged_ms;
	uint64_t next_status_ms;
	pthread_mutex_t lock; /* of published and letters */
	struct worker_status published;
};

static uint64_t now_ms(const struct worker *w)
{
	return w->tcp.now_us / 1000;
}

static int watch(struct worker *w, int fd, uint32_t events, enum kind kind, uint32_t index)
{
	struct epoll_event e = {.events = events, .data.u64 = (uint64_t)kind << 32 | index};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

/* ---- Opening streams ---- */

static void opening_free(struct worker *w, struct opening *o)
{
	o->flow = FLOW_NONE;
	o->registered = -1;
	o->next_free = w->free_opening;
	w->free_opening = (uint32_t)(o - w->openings);
	w->dials--;
}

/* The dial may have another descriptor, or wait for something else, after each step. */
static int follow(struct worker *w, struct opening *o)
{
	struct epoll_event e = {.events = o->dial.events,
				.data.u64 =
					(uint64_t)KIND_DIAL << 32 | (uint32_t)(o - w->openings)};

	if (o->registered != o->dial.fd) {
		o->registered = o->dial.fd;
		o->events = o->dial.events;
		return epoll_ctl(w->epoll, EPOLL_CTL_ADD, o->dial.fd, &e) ? -errno : 0;
	}
	if (o->events == o->dial.events)
		return 0;
	o->events = o->dial.events;
	return epoll_ctl(w->epoll, EPOLL_CTL_MOD, o->dial.fd, &e) ? -errno : 0;
}

void worker_note_failure(struct worker *w, enum dial_status why, const char *reason)
{
	pthread_mutex_lock(&w->lock);
	w->published.last_failure = why;
	w->published.failed_ms = clock_ms();
	snprintf(w->published.last_reason, sizeof(w->published.last_reason), "%s", reason);
	pthread_mutex_unlock(&w->lock);
}

/* Whether the way to the proxy, or the proxy itself, is at fault. A change is news. */
static void judge(struct worker *w, enum dial_status proxy_failure)
{
	if (proxy_failure != w->proxy_failure)
		w->next_status_ms = 0;
	w->proxy_failure = proxy_failure;
	w->judged_ms = now_ms(w);
}

static void judge_failure(struct worker *w, const struct dial *d, enum dial_status why)
{
	bool proxy = !d->answered || why == DIAL_AUTH || why == DIAL_BROKEN;

	w->failed_target = d->target;
	judge(w, proxy ? why : DIAL_PENDING);
}

static void fail(struct worker *w, struct flow *f, enum dial_status why, const char *reason)
{
	worker_note_failure(w, why, reason);
	tcp_failed(&w->tcp, f, why);
}

static void connected(struct worker *w, struct opening *o, struct flow *f)
{
	int fd = TAKE_FD(o->dial.fd);

	/* Out of the set under its old meaning: descriptors handed out by a dialer may differ. */
	if (o->registered >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, o->registered, NULL);
	opening_free(w, o);
	if (watch(w, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, KIND_FLOW,
		  flow_index(w->tcp.flows, f))) {
		close(fd);
		fail(w, f, DIAL_BROKEN, "cannot watch the stream");
		return;
	}
	judge(w, DIAL_PENDING);
	tcp_connected(&w->tcp, f, fd);
}

static void go_on(struct worker *w, struct opening *o, enum dial_status status)
{
	struct flow *f = flow_at(w->tcp.flows, o->flow);
	char reason[sizeof(o->dial.reason)];

	if (status == DIAL_PENDING && follow(w, o)) {
		dial_abort(&o->dial);
		status = DIAL_BROKEN;
	}
	switch (status) {
	case DIAL_PENDING:
		flow_set_timer(w->tcp.flows, f, o->dial.deadline_ms);
		return;
	case DIAL_CONNECTED:
		connected(w, o, f);
		return;
	default:
		memcpy(reason, o->dial.reason, sizeof(reason));
		judge_failure(w, &o->dial, status);
		opening_free(w, o);
		f->dial = FLOW_NONE;
		fail(w, f, status, reason);
	}
}

static void dial(struct flow *f, void *arg)
{
	struct worker *w = arg;
	struct dial_target target = {.addr = f->ends.dst, .port = f->ends.dport};
	struct opening *o;

	if (w->dns && !dns_translate(w->dns, &target, now_ms(w))) {
		fail(w, f, DIAL_UNREACHABLE, "an address that no name has, or has any more");
		return;
	}
	if (w->relay && target.port == DNS_PORT)
		relay_redirect(w->relay, &target.addr);
	if (w->free_opening == FLOW_NONE) {
		fail(w, f, DIAL_BROKEN, "too many streams are being opened at once");
		return;
	}
	o = &w->openings[w->free_opening];
	w->free_opening = o->next_free;
	w->dials++;
	*o = (struct opening){.flow = flow_index(w->tcp.flows, f), .registered = -1, .dial.fd = -1};
	f->dial = (uint32_t)(o - w->openings);
	go_on(w, o, dial_start(w->dialer, &o->dial, &target, now_ms(w)));
}

static void cancel(struct flow *f, void *arg)
{
	struct worker *w = arg;
	struct opening *o = &w->openings[f->dial];

	if (o->registered >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, o->registered, NULL);
	dial_abort(&o->dial);
	opening_free(w, o);
	f->dial = FLOW_NONE;
}

/* ---- Events ---- */

static void wake(struct worker *w)
{
	uint64_t one = 1;

	(void)!write(w->wake, &one, sizeof(one));
}

static void write_letter(struct worker *w, const struct packet *p)
{
	pthread_mutex_lock(&w->lock);
	if (w->n_letters < LETTERS)
		w->letters[w->n_letters++] = *p;
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

static void read_letters(struct worker *w)
{
	uint64_t count;

	(void)!read(w->wake, &count, sizeof(count));
	pthread_mutex_lock(&w->lock);
	while (w->n_letters)
		tcp_too_big(&w->tcp, &w->letters[--w->n_letters]);
	pthread_mutex_unlock(&w->lock);
}

static void too_big(struct worker *w, const struct packet *p)
{
	if (tcp_too_big(&w->tcp, p))
		return;
	for (size_t i = 0; i < w->n_peers; i++)
		if (w->peers[i] != w)
			write_letter(w->peers[i], p);
}

static void refuse(struct worker *w, const struct packet *p)
{
	uint8_t error[PACKET_ERROR_MAX];
	size_t len = packet_put_error(PACKET_PROHIBITED, &p->ends, p->ip, p->ip_len, error);

	(void)!write(w->tcp.tun, error, len);
	w->ignored++;
}

static void datagram_in(struct worker *w, enum packet_kind kind, const struct packet *p)
{
	if (w->relay && relay_input(w->relay, kind, p, now_ms(w)))
		return;
	if (w->dns && kind == PACKET_UDP && p->ends.dport == DNS_PORT)
		dns_input(w->dns, p, now_ms(w));
	else
		refuse(w, p);
}

static void packet_in(struct worker *w, size_t len)
{
	enum packet_kind kind;
	struct packet p;

	w->packets++;
	kind = packet_parse(w->rx, len, &p);
	switch (kind) {
	case PACKET_TCP:
		tcp_input(&w->tcp, &p);
		return;
	case PACKET_TOO_BIG:
		too_big(w, &p);
		return;
	case PACKET_UDP:
	case PACKET_ECHO:
		datagram_in(w, kind, &p);
		return;
	case PACKET_OTHER:
		refuse(w, &p);
		return;
	case PACKET_BAD:
	case PACKET_ERROR:
		w->ignored++;
	}
}

/* 0, or -errno when the device is gone. */
static int read_tun(struct worker *w)
{
	int r = 1;

	for (int i = 0; i < TUN_BATCH && r == 1; i++) {
		ssize_t n = read(w->tcp.tun, w->rx, PACKET_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = errno == EAGAIN ? 0 : -errno;
		else
			r = n ? 1 : -ENODEV;
		if (r == 1)
			packet_in(w, (size_t)n);
	}
	tcp_flush(&w->tcp);
	return MIN(r, 0);
}

static void flow_event(struct worker *w, uint32_t index, uint32_t events)
{
	struct flow *f = flow_at(w->tcp.flows, index);

	if (f->state != FLOW_SYN_RCVD && f->state != FLOW_OPEN)
		return;
	if (events & EPOLLRDHUP)
		f->upstream_eof = true;
	if (events & EPOLLOUT)
		tcp_writable(&w->tcp, f);
	if (f->state == FLOW_OPEN && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		tcp_readable(&w->tcp, f);
}

static void dial_event(struct worker *w, uint32_t index, uint32_t events)
{
	struct opening *o = &w->openings[index];

	if (o->flow != FLOW_NONE)
		go_on(w, o, dial_step(&o->dial, events, now_ms(w)));
}

static void timer(struct flow *f, void *arg)
{
	struct worker *w = arg;

	if (f->state == FLOW_DIALING && f->dial != FLOW_NONE)
		go_on(w, &w->openings[f->dial],
		      dial_step(&w->openings[f->dial].dial, 0, now_ms(w)));
	else
		tcp_timer(&w->tcp, f);
}

static void publish(struct worker *w)
{
	if (now_ms(w) < w->next_status_ms)
		return;
	w->next_status_ms = now_ms(w) + STATUS_MS;
	pthread_mutex_lock(&w->lock);
	w->published.tcp = w->tcp.counters;
	w->published.flows = flows_live(w->tcp.flows);
	w->published.dials = w->dials;
	w->published.packets = w->packets;
	w->published.ignored = w->ignored;
	w->published.judged_ms = w->judged_ms;
	w->published.proxy_failure = w->proxy_failure;
	w->published.failed_target = w->failed_target;
	pthread_mutex_unlock(&w->lock);
}

void worker_get_status(struct worker *w, struct worker_status *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->published;
	pthread_mutex_unlock(&w->lock);
}

/* 1: go on; 0: stopped; -errno. */
static int turn(struct worker *w, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(w->epoll, events, EVENTS, timeout_ms), r = 0;

	w->tcp.now_us = clock_us();
	for (int i = 0; i < n && !r; i++) {
		uint32_t index = (uint32_t)events[i].data.u64;

		switch ((enum kind)(events[i].data.u64 >> 32)) {
		case KIND_WAKE:
			read_letters(w);
			break;
		case KIND_TUN:
			r = read_tun(w);
			break;
		case KIND_FLOW:
			flow_event(w, index, events[i].events);
			break;
		case KIND_DIAL:
			dial_event(w, index, events[i].events);
			break;
		case KIND_DNS:
			dns_step(w->dns, now_ms(w));
			break;
		}
	}
	return r ? r : !atomic_load(&w->stopped);
}

int worker_run(struct worker *w)
{
	int r = 1;

	while (r > 0) {
		int timeout;

		w->tcp.now_us = clock_us();
		timeout = flows_expire(w->tcp.flows, now_ms(w), STATUS_MS, timer, w);
		if (w->steps_dns)
			timeout = dns_expire(w->dns, now_ms(w), timeout);
		publish(w);
		r = turn(w, timeout);
	}
	return r;
}

void worker_stop(struct worker *w)
{
	atomic_store(&w->stopped, true);
	wake(w);
}

void worker_set_peers(struct worker *w, struct worker *const *peers, size_t n)
{
	w->peers = peers;
	w->n_peers = n;
}

/* ---- Confinement ---- */

/* What the loop and the dialers ask for, memory management and locks of the C library and of
 * OpenSSL included. No file is opened, no program run, no other process touched. */
static const int system_calls[] = {
#ifdef __NR_epoll_wait /* newer architectures have epoll_pwait() only */
	__NR_epoll_wait,
#endif
	__NR_epoll_pwait,     __NR_epoll_ctl,    __NR_read,        __NR_write,
	__NR_readv,           __NR_writev,       __NR_recvfrom,    __NR_recvmsg,
	__NR_sendto,          __NR_sendmsg,      __NR_socket,      __NR_socketpair,
	__NR_connect,         __NR_bind,         __NR_getsockname, __NR_getpeername,
	__NR_getsockopt,      __NR_setsockopt,   __NR_shutdown,    __NR_ioctl,
	__NR_fcntl,           __NR_close,        __NR_dup,         __NR_clock_gettime,
	__NR_getrandom,       __NR_futex,        __NR_mmap,        __NR_munmap,
	__NR_mremap,          __NR_mprotect,     __NR_madvise,     __NR_brk,
	__NR_sched_yield,     __NR_getpid,       __NR_gettid,      __NR_rt_sigprocmask,
	__NR_rt_sigreturn,    __NR_rt_sigaction, __NR_sigaltstack, /* a sanitizer's, when the thread
								      ends */
	__NR_restart_syscall, __NR_kill,         __NR_tgkill,      __NR_rseq,
	__NR_set_robust_list, __NR_exit,         __NR_exit_group,
};

int worker_confine(struct err *err)
{
	return sandbox_syscalls(system_calls, ARRAY_SIZE(system_calls), err);
}

/* ---- Making and freeing ---- */

int worker_new(const struct worker_config *c, struct worker **ret, struct err *err)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	int r = 0;

	pthread_mutex_init(&w->lock, NULL);
	w->dialer = c->dialer;
	w->dns = c->dns;
	w->relay = c->relay;
	w->steps_dns = c->dns && c->steps_dns;
	w->tcp = (struct tcp){.flows = flows_new(c->max_flows),
			      .tun = c->tun,
			      .mtu = c->mtu,
			      .now_us = clock_us(),
			      .dial = dial,
			      .cancel = cancel,
			      .arg = w};
	tcp_init(&w->tcp, c->chunks);
	w->rx = xcalloc(1, PACKET_MAX);
	w->openings = xcalloc(c->max_dials, sizeof(*w->openings));
	w->free_opening = FLOW_NONE;
	for (size_t i = c->max_dials; i-- > 0;) {
		w->openings[i] = (struct opening){.flow = FLOW_NONE,
						  .registered = -1,
						  .next_free = w->free_opening,
						  .dial.fd = -1};
		w->free_opening = (uint32_t)i;
	}
	w->epoll = w->tcp.epoll = epoll_create1(EPOLL_CLOEXEC);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll < 0 || w->wake < 0)
		r = -errno;
	if (!r)
		r = watch(w, w->wake, EPOLLIN, KIND_WAKE, 0);
	if (!r)
		r = watch(w, c->tun, EPOLLIN, KIND_TUN, 0);
	if (!r)
		r = w->steps_dns ? watch(w, dns_fd(w->dns), EPOLLIN, KIND_DNS, 0) : 0;
	if (r) {
		worker_free(w);
		return err_errno(err, r, "cannot make an event loop");
	}
	*ret = w;
	return 0;
}

static void end_flow(struct flow *f, void *arg)
{
	tcp_abort(arg, f);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	flows_each(w->tcp.flows, end_flow, &w->tcp);
	close_p(&w->tcp.tun);
	close_p(&w->epoll);
	close_p(&w->wake);
	flows_free(w->tcp.flows);
	tcp_done(&w->tcp);
	pthread_mutex_destroy(&w->lock);
	free(w->openings);
	free(w->rx);
	free(w);
}
