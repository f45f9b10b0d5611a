// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * DNS_VIRTUAL answers at once, from the pool. DNS_TCP keeps queries in a table of fixed size, and
 * one connection, the link, to one resolver at a time:
 *
 *	LINK_DOWN     nobody asks, or the link has just failed
 *	LINK_DIALING  the dialer opens a stream; queries wait
 *	LINK_UP       queries follow each other, answers come in any order (RFC 7766 6.2.1)
 *
 * down → dialing with a query; dialing → up; up → down when idle; both → down on failure. The
 * link goes to the next resolver when it failed without a single answer, or falls silent while
 * answers are due.
 *
 * 1. Every query has one answer: the resolver's, or SERVFAIL once DNS_QUERY_MS have passed, or
 *    after as many links have failed it as there are resolvers, and one more: servers close idle
 *    links at any time (RFC 7766 6.2.3). Only what repeats a query that is under way has none.
 * 2. A query keeps its bytes until it is answered, so that it can be sent again by the next link.
 * 3. Ids on the link are ours: the slot, and a number that its next user will not have. What
 *    answers no query, or another question, is ignored.
 * 4. A message is never cut on the way up: a query whose time ends while half of it is sent takes
 *    the link with it.
 *
 * Not done: caching, DNSSEC, retries by the resolver's word: its SERVFAIL is the client's to judge.
 * TCP to port 53 is TCP like any other, and reaches whom it is for.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "tunnel/dns.h"
#include "tunnel/dnsmsg.h"
#include "tunnel/dnspool.h"
#include "tunnel/packet.h"

#define DNS_QUERY_MS 10000
#define DNS_SILENT_MS 4000 /* clients ask again after 5 s (resolv.conf(5)) */
#define DNS_IDLE_MS 10000  /* RFC 7766 6.2.3: of the order of seconds */
#define QUERIES 256        /* as many as a byte of the id tells apart */
#define QUERY_MAX 1232     /* bytes; real ones have fewer than 512 (RFC 8467 pads to 128) */
#define MESSAGE_MAX 65535
#define UDP_OVERHEAD 48 /* of IPv6 and UDP */
#define POOL_NAMES 32768
#define POOL_TTL_S 60

static const char *const mode_names[] = {
	[DNS_BYPASS] = "bypass",
	[DNS_TCP] = "tcp",
	[DNS_VIRTUAL] = "virtual",
};
static_assert(ARRAY_SIZE(mode_names) == DNS_NUM_MODES, "every mode has a name");

const char *dns_mode_name(enum dns_mode m)
{
	return mode_names[m];
}

int dns_mode_parse(const char *word, enum dns_mode *ret)
{
	for (enum dns_mode m = 0; m < DNS_NUM_MODES; m++) {
		if (strcmp(word, mode_names[m]))
			continue;
		*ret = m;
		return 0;
	}
	return -EINVAL;
}

enum query_state { QUERY_FREE, QUERY_WAITING, QUERY_SENT };

struct query {
	enum query_state state;
	struct endpoints ends;
	struct dnsmsg_query q;
	uint16_t link_id;
	uint8_t generation;
	size_t failures; /* links that broke before the answer came */
	uint64_t deadline_ms;
	size_t len; /* of wire, with the length in front */
	uint8_t wire[2 + QUERY_MAX];
};

enum link_state { LINK_DOWN, LINK_DIALING, LINK_UP };

struct link {
	enum link_state state;
	struct dial dial;
	int fd;         /* of LINK_UP */
	int registered; /* what epoll knows, or -1 */
	uint32_t events;
	size_t resolver;
	bool answered;
	size_t waiting, sent;  /* queries in these states */
	struct query *partial; /* what is sent as far as partial_at */
	size_t partial_at;
	uint64_t heard_ms; /* when it last answered, or was asked after a rest */
	size_t in_len;
	uint8_t in[2 + MESSAGE_MAX];
};

struct dns {
	pthread_mutex_t lock; /* of what changes: pool, link, queries, next_ms, out */
	enum dns_mode mode;
	struct ip resolvers[DNS_RESOLVERS_MAX];
	size_t n_resolvers;
	const struct dialer *dialer;
	int tun, epoll;
	uint16_t mtu;
	void (*failed)(enum dial_status why, const char *reason, void *arg);
	void *arg;
	struct dnspool *pool; /* of DNS_VIRTUAL */
	struct link link;     /* of DNS_TCP, as is queries */
	struct query *queries;
	uint64_t next_ms; /* nothing is due before */
	uint8_t out[PACKET_HEADROOM + MESSAGE_MAX + DNSMSG_REPLY_MAX];
};

/* ---- Answering ---- */

/* A reply lies at d->out + PACKET_HEADROOM. */
static void answer(struct dns *d, const struct endpoints *ends, size_t len)
{
	size_t total;
	const uint8_t *packet = packet_put_udp(ends, d->out + PACKET_HEADROOM, len, &total);

	(void)!write(d->tun, packet, total); /* a full queue loses it, as any network may */
}

static void answer_code(struct dns *d, const struct endpoints *ends, const struct dnsmsg_query *q,
			const uint8_t *msg, enum dnsmsg_rcode rcode)
{
	uint8_t *out = d->out + PACKET_HEADROOM;
	size_t len = dnsmsg_put_reply(q, msg, rcode, out);

	answer(d, ends, dnsmsg_put_opt(q, rcode, out, len));
}

/* ---- Made-up addresses ---- */

/* localhost never leaves the host (RFC 6761 6.3), and what is no host's name cannot be dialled. */
static bool is_public(const char *host)
{
	static const char local[] = "localhost";
	size_t len = strlen(host), n = sizeof(local) - 1;

	return len < n || strcmp(host + len - n, local) || (len > n && host[len - n - 1] != '.');
}

static enum dnsmsg_rcode put_address(struct dns *d, const struct dnsmsg_query *q, uint64_t now_ms,
				     uint8_t *out, size_t *len)
{
	char host[DNSMSG_TEXT_MAX];
	struct ip ip;

	if (!dnsmsg_host(q, host) || !is_public(host))
		return DNSMSG_NXDOMAIN;
	if (dnspool_get(d->pool, host, q->type == DNSMSG_A ? AF_INET : AF_INET6, now_ms, &ip))
		return DNSMSG_SERVFAIL;
	*len = dnsmsg_put_address(out, *len, &ip, POOL_TTL_S);
	return DNSMSG_NOERROR;
}

static enum dnsmsg_rcode put_pointer(struct dns *d, const struct dnsmsg_query *q, uint64_t now_ms,
				     uint8_t *out, size_t *len)
{
	const char *host;
	struct ip ip;

	if (!dnsmsg_reverse(q, &ip) || !dnspool_has(d->pool, &ip))
		return DNSMSG_NOERROR;
	host = dnspool_find(d->pool, &ip, now_ms);
	if (!host)
		return DNSMSG_NXDOMAIN;
	*len = dnsmsg_put_pointer(out, *len, host, POOL_TTL_S);
	return DNSMSG_NOERROR;
}

static void answer_virtual(struct dns *d, const struct endpoints *ends,
			   const struct dnsmsg_query *q, const uint8_t *msg, uint64_t now_ms)
{
	uint8_t *out = d->out + PACKET_HEADROOM;
	size_t bare = dnsmsg_put_reply(q, msg, DNSMSG_NOERROR, out), len = bare;
	enum dnsmsg_rcode rcode = DNSMSG_NOERROR;

	if (q->class != DNSMSG_CLASS_IN)
		rcode = DNSMSG_REFUSED;
	else if (q->type == DNSMSG_A || q->type == DNSMSG_AAAA)
		rcode = put_address(d, q, now_ms, out, &len);
	else if (q->type == DNSMSG_PTR)
		rcode = put_pointer(d, q, now_ms, out, &len);
	if (rcode != DNSMSG_NOERROR)
		answer_code(d, ends, q, msg, rcode);
	else
		answer(d, ends, dnsmsg_put_opt(q, rcode, out, len));
}

bool dns_translate(struct dns *d, struct dial_target *target, uint64_t now_ms)
{
	const char *host;
	bool found;

	if (d->mode != DNS_VIRTUAL || !dnspool_has(d->pool, &target->addr))
		return true;
	pthread_mutex_lock(&d->lock);
	host = dnspool_find(d->pool, &target->addr, now_ms);
	found = host && !str_copy(target->host, sizeof(target->host), host);
	pthread_mutex_unlock(&d->lock);
	return found;
}

/* ---- Queries in flight ---- */

static void query_set(struct dns *d, struct query *q, enum query_state state)
{
	d->link.waiting += (size_t)(state == QUERY_WAITING) - (q->state == QUERY_WAITING);
	d->link.sent += (size_t)(state == QUERY_SENT) - (q->state == QUERY_SENT);
	q->state = state;
}

static void query_fail(struct dns *d, struct query *q)
{
	answer_code(d, &q->ends, &q->q, q->wire + 2, DNSMSG_SERVFAIL);
	query_set(d, q, QUERY_FREE);
}

static bool is_same(const struct query *q, const struct endpoints *ends, uint16_t id)
{
	return q->state != QUERY_FREE && q->q.id == id && q->ends.sport == ends->sport &&
	       ip_equal(&q->ends.src, &ends->src) && ip_equal(&q->ends.dst, &ends->dst);
}

/* A free one, or NULL; *ret_known when the client asks again what is being asked. */
static struct query *query_find_free(struct dns *d, const struct endpoints *ends, uint16_t id,
				     bool *ret_known)
{
	struct query *found = NULL;

	*ret_known = false;
	for (size_t i = 0; i < QUERIES; i++) {
		struct query *q = &d->queries[i];

		if (is_same(q, ends, id))
			*ret_known = true;
		if (!found && q->state == QUERY_FREE)
			found = q;
	}
	return found;
}

static void query_add(struct dns *d, const struct packet *p, const struct dnsmsg_query *parsed,
		      uint64_t now_ms)
{
	bool known;
	struct query *q = query_find_free(d, &p->ends, parsed->id, &known);

	if (known)
		return;
	if (!q || p->len > QUERY_MAX) {
		answer_code(d, &p->ends, parsed, p->data, DNSMSG_SERVFAIL);
		return;
	}
	q->ends = p->ends;
	q->q = *parsed;
	q->failures = 0;
	q->deadline_ms = now_ms + DNS_QUERY_MS;
	q->link_id = (uint16_t)(++q->generation << 8 | (q - d->queries));
	q->len = 2 + p->len;
	memcpy(q->wire + 2, p->data, p->len);
	q->wire[0] = (uint8_t)(p->len >> 8);
	q->wire[1] = (uint8_t)p->len;
	q->wire[2] = (uint8_t)(q->link_id >> 8);
	q->wire[3] = (uint8_t)q->link_id;
	if (!d->link.sent && !d->link.waiting)
		d->link.heard_ms = now_ms;
	d->next_ms = MIN(d->next_ms, now_ms);
	query_set(d, q, QUERY_WAITING);
}

/* ---- The link ---- */

static int link_watch(struct dns *d, int fd, uint32_t events)
{
	struct link *l = &d->link;
	struct epoll_event e = {.events = events};
	int op = l->registered == fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (l->registered == fd && l->events == events)
		return 0;
	if (fd >= 0 && epoll_ctl(d->epoll, op, fd, &e))
		return -errno;
	l->registered = fd;
	l->events = events;
	return 0;
}

static void link_close(struct dns *d)
{
	struct link *l = &d->link;

	if (l->state == LINK_DIALING)
		dial_abort(&l->dial);
	if (l->fd >= 0)
		close(TAKE_FD(l->fd));
	l->state = LINK_DOWN;
	l->registered = -1;
	l->events = 0;
	l->partial = NULL;
	l->in_len = 0;
}

/* Everything that was asked is to be asked again, or has been often enough. */
static void link_fail(struct dns *d, enum dial_status why, const char *reason)
{
	struct link *l = &d->link;

	if (!l->answered) {
		l->resolver = (l->resolver + 1) % d->n_resolvers;
		if (d->failed)
			d->failed(why, reason, d->arg);
	}
	link_close(d);
	for (size_t i = 0; i < QUERIES; i++) {
		struct query *q = &d->queries[i];

		if (q->state == QUERY_FREE)
			continue;
		query_set(d, q, QUERY_WAITING);
		if (++q->failures > d->n_resolvers)
			query_fail(d, q);
	}
}

static void link_flush(struct dns *d);

static void link_went_on(struct dns *d, enum dial_status status, uint64_t now_ms)
{
	struct link *l = &d->link;

	if (status == DIAL_PENDING && link_watch(d, l->dial.fd, l->dial.events)) {
		link_fail(d, DIAL_BROKEN, "cannot watch the stream to a resolver");
		return;
	}
	d->next_ms = MIN(d->next_ms, now_ms);
	if (status == DIAL_PENDING)
		return;
	if (status != DIAL_CONNECTED) {
		l->state = LINK_DOWN; /* the dial is over: nothing to abort */
		link_fail(d, status, l->dial.reason);
		return;
	}
	l->fd = TAKE_FD(l->dial.fd);
	l->state = LINK_UP;
	l->heard_ms = now_ms;
	/* Out of the set under its old meaning, if it was in it. */
	epoll_ctl(d->epoll, EPOLL_CTL_DEL, l->fd, NULL);
	l->registered = -1;
	if (link_watch(d, l->fd, EPOLLIN))
		link_fail(d, DIAL_BROKEN, "cannot watch the stream to a resolver");
}

/* With a query to be sent, the link is brought up; each failure costs every query an attempt. */
static void link_go(struct dns *d, uint64_t now_ms)
{
	struct link *l = &d->link;

	while (l->state == LINK_DOWN && l->waiting) {
		struct dial_target target = {.addr = d->resolvers[l->resolver], .port = DNS_PORT};

		l->state = LINK_DIALING;
		l->answered = false;
		l->registered = -1;
		link_went_on(d, dial_start(d->dialer, &l->dial, &target, now_ms), now_ms);
	}
	if (l->state == LINK_UP && l->waiting)
		link_flush(d);
}

/* False: no more now. */
static bool send_query(struct dns *d, struct query *q)
{
	struct link *l = &d->link;
	ssize_t n;

	if (l->partial != q)
		l->partial_at = 0;
	l->partial = q;
	n = send(l->fd, q->wire + l->partial_at, q->len - l->partial_at,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		l->partial_at += (size_t)n;
	if (l->partial_at == q->len) {
		l->partial = NULL;
		query_set(d, q, QUERY_SENT);
		return true;
	}
	if (!l->partial_at)
		l->partial = NULL;
	return n > 0 || (n < 0 && errno == EINTR);
}

/* A stream that broke says so when it is read. */
static void link_flush(struct dns *d)
{
	struct link *l = &d->link;
	bool more = !l->partial || send_query(d, l->partial);

	for (size_t i = 0; i < QUERIES && more && l->waiting; i++) {
		if (d->queries[i].state == QUERY_WAITING)
			more = send_query(d, &d->queries[i]);
	}
	if (link_watch(d, l->fd, l->waiting ? EPOLLIN | EPOLLOUT : EPOLLIN))
		link_fail(d, DIAL_BROKEN, "cannot watch the stream to a resolver");
}

/* The client gets its own id and spelling back, and no more than it takes. */
static void relay(struct dns *d, struct query *q, const uint8_t *msg, size_t len)
{
	size_t max = MIN(q->q.udp_bytes, (size_t)d->mtu - UDP_OVERHEAD);
	uint8_t *out = d->out + PACKET_HEADROOM;

	memcpy(out, msg, len);
	out[0] = (uint8_t)(q->q.id >> 8);
	out[1] = (uint8_t)q->q.id;
	memcpy(out + DNSMSG_HEADER, q->wire + 2 + DNSMSG_HEADER, q->q.end - DNSMSG_HEADER);
	if (len > max)
		len = dnsmsg_truncate(&q->q, out, len, max);
	answer(d, &q->ends, len);
	query_set(d, q, QUERY_FREE);
}

static void message(struct dns *d, const uint8_t *msg, size_t len, uint64_t now_ms)
{
	enum dnsmsg_rcode rcode;
	struct query *q;

	if (len < DNSMSG_HEADER)
		return;
	q = &d->queries[msg[1]];
	if (q->state != QUERY_SENT || q->link_id != (msg[0] << 8 | msg[1]))
		return;
	rcode = dnsmsg_bare_refusal(msg, len);
	if (!rcode && !dnsmsg_answers(&q->q, msg, len))
		return;
	d->link.answered = true;
	d->link.heard_ms = now_ms;
	if (!rcode) {
		relay(d, q, msg, len);
		return;
	}
	answer_code(d, &q->ends, &q->q, q->wire + 2, rcode);
	query_set(d, q, QUERY_FREE);
}

static void take_messages(struct dns *d, uint64_t now_ms)
{
	struct link *l = &d->link;
	size_t at = 0;

	while (l->in_len - at >= 2) {
		size_t len = (size_t)(l->in[at] << 8 | l->in[at + 1]);

		if (l->in_len - at - 2 < len)
			break;
		message(d, l->in + at + 2, len, now_ms);
		at += 2 + len;
	}
	l->in_len -= at;
	memmove(l->in, l->in + at, l->in_len);
}

static void link_read(struct dns *d, uint64_t now_ms)
{
	struct link *l = &d->link;
	ssize_t n = recv(l->fd, l->in + l->in_len, sizeof(l->in) - l->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		l->in_len += (size_t)n;
		take_messages(d, now_ms);
	} else if (l->waiting || l->sent) {
		link_fail(d, DIAL_BROKEN, "a resolver has closed the connection");
	} else {
		link_close(d);
	}
}

void dns_step(struct dns *d, uint64_t now_ms)
{
	struct link *l = &d->link;
	struct epoll_event e;

	if (epoll_wait(d->epoll, &e, 1, 0) < 1)
		return;
	pthread_mutex_lock(&d->lock);
	if (l->state == LINK_DIALING)
		link_went_on(d, dial_step(&l->dial, e.events, now_ms), now_ms);
	else if (l->state == LINK_UP && e.events & ~(uint32_t)EPOLLOUT)
		link_read(d, now_ms);
	link_go(d, now_ms);
	pthread_mutex_unlock(&d->lock);
}

void dns_input(struct dns *d, const struct packet *p, uint64_t now_ms)
{
	struct dnsmsg_query q;
	enum dnsmsg_rcode rcode = dnsmsg_parse_query(p->data, p->len, &q);

	if (rcode == DNSMSG_IGNORE)
		return;
	pthread_mutex_lock(&d->lock);
	if (rcode != DNSMSG_NOERROR) {
		answer_code(d, &p->ends, &q, p->data, rcode);
	} else if (d->mode == DNS_VIRTUAL) {
		answer_virtual(d, &p->ends, &q, p->data, now_ms);
	} else {
		query_add(d, p, &q, now_ms);
		link_go(d, now_ms);
	}
	pthread_mutex_unlock(&d->lock);
}

/* ---- Time ---- */

static uint64_t expire_queries(struct dns *d, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < QUERIES; i++) {
		struct query *q = &d->queries[i];

		if (q->state == QUERY_FREE)
			continue;
		if (now_ms < q->deadline_ms) {
			next = MIN(next, q->deadline_ms);
			continue;
		}
		query_fail(d, q);
		if (q == d->link.partial)
			link_fail(d, DIAL_TIMEOUT, "a resolver takes no more queries");
	}
	return next;
}

static uint64_t expire_link(struct dns *d, uint64_t now_ms)
{
	struct link *l = &d->link;
	uint64_t end;

	if (l->state == LINK_DIALING && now_ms >= l->dial.deadline_ms)
		link_went_on(d, dial_step(&l->dial, 0, now_ms), now_ms);
	if (l->state == LINK_UP) {
		end = l->heard_ms + (l->waiting || l->sent ? DNS_SILENT_MS : DNS_IDLE_MS);
		if (now_ms < end)
			return end;
		if (l->waiting || l->sent) {
			l->answered = false; /* it may have answered others: not this one */
			link_fail(d, DIAL_TIMEOUT, "a resolver does not answer");
		} else {
			link_close(d);
		}
	}
	link_go(d, now_ms);
	return l->state == LINK_DIALING ? l->dial.deadline_ms
	       : l->state == LINK_UP    ? l->heard_ms + DNS_SILENT_MS
					: UINT64_MAX;
}

int dns_expire(struct dns *d, uint64_t now_ms, int limit_ms)
{
	uint64_t queries, link, next;

	if (d->mode != DNS_TCP)
		return limit_ms;
	pthread_mutex_lock(&d->lock);
	if (now_ms >= d->next_ms) {
		queries = expire_queries(d, now_ms);
		link = expire_link(d, now_ms);
		d->next_ms = MIN(queries, link);
	}
	next = d->next_ms;
	pthread_mutex_unlock(&d->lock);
	if (next <= now_ms)
		return 0;
	return next - now_ms < (uint64_t)limit_ms ? (int)(next - now_ms) : limit_ms;
}

int dns_fd(const struct dns *d)
{
	return d->epoll;
}

/* ---- Making and freeing ---- */

int dns_new(const struct dns_config *c, struct dns **ret)
{
	struct dns *d;
	int fd;

	assert(c->mode != DNS_BYPASS);
	if (c->mode == DNS_TCP && !c->n_resolvers)
		return -EDESTADDRREQ;
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -errno;
	d = xcalloc(1, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
	d->mode = c->mode;
	d->n_resolvers = MIN(c->n_resolvers, DNS_RESOLVERS_MAX);
	for (size_t i = 0; i < d->n_resolvers; i++)
		d->resolvers[i] = c->resolvers[i];
	d->dialer = c->dialer;
	d->tun = c->tun;
	d->epoll = fd;
	d->mtu = c->mtu;
	d->failed = c->failed;
	d->arg = c->arg;
	d->link.fd = d->link.registered = d->link.dial.fd = -1;
	d->next_ms = UINT64_MAX;
	if (c->mode == DNS_VIRTUAL) {
		d->pool = dnspool_new(POOL_NAMES, &c->tun_addr4);
	} else {
		d->queries = xcalloc(QUERIES, sizeof(*d->queries));
		for (size_t i = 0; i < QUERIES; i++)
			(void)!getrandom(&d->queries[i].generation, 1, 0);
	}
	*ret = d;
	return 0;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	link_close(d);
	close_p(&d->epoll);
	dnspool_free(d->pool);
	free(d->queries);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
