// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names in a tunnel: what the bytes say is sent by a guest and by a resolver. The first byte is the mode, then
 * come operations of one byte each, with a length and that many bytes where they need some.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "tunnel/dialer_impl.h"
#include "tunnel/dns.h"
#include "tunnel/dnsmsg.h"
#include "tunnel/packet.h"

struct world {
	struct dialer dialer; /* first: the dialer that hands out the resolver's ends */
	struct dns *dns;
	int tun, far;
	bool refuse;
	uint64_t now_ms;
	uint8_t asked[2]; /* id of what was asked last, on the link */
	const uint8_t *data;
	size_t len;
};

static enum dial_status on_start(struct dial *c, uint64_t now_ms)
{
	struct world *w = (struct world *)(uintptr_t)c->dialer;
	int pair[2];

	(void)now_ms;
	if (w->refuse)
		return dial_fail(c, DIAL_REFUSED, "refused");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	if (w->far >= 0)
		close(w->far);
	w->far = pair[1];
	dial_set_fd(c, pair[0]);
	return DIAL_CONNECTED;
}

static const struct dialer_ops ops = {.start = on_start};

static uint8_t take(struct world *w)
{
	if (!w->len)
		return 0;
	w->len--;
	return *w->data++;
}

static size_t take_bytes(struct world *w, uint8_t *buf, size_t max)
{
	size_t n = take(w);

	n |= (size_t)take(w) << 8;
	n = MIN(n, MIN(max, w->len));
	memcpy(buf, w->data, n);
	w->data += n;
	w->len -= n;
	return n;
}

static void guest(struct world *w)
{
	uint8_t buf[4096];
	struct packet p = {.ends = {.src = {.family = AF_INET, .bytes = {10, 0, 0, 2}},
				    .dst = {.family = AF_INET, .bytes = {10, 0, 0, 3}},
				    .sport = take(w),
				    .dport = DNS_PORT}};
	_free_ uint8_t *exact = NULL;

	p.len = take_bytes(w, buf, sizeof(buf));
	exact = xcalloc(p.len + 1, 1); /* so that a sanitizer sees a read behind its end */
	memcpy(exact + 1, buf, p.len);
	p.data = exact + 1;
	dns_input(w->dns, &p, w->now_ms);
}

/* What the resolver was asked is thrown away, but for the id, so that it can be answered. */
static void resolver_reads(struct world *w)
{
	uint8_t buf[4096];
	ssize_t n = w->far < 0 ? -1 : recv(w->far, buf, sizeof(buf), MSG_DONTWAIT);

	if (n >= 4)
		memcpy(w->asked, buf + 2, 2);
}

static void resolver_writes(struct world *w, bool with_id)
{
	uint8_t buf[4096];
	size_t n = take_bytes(w, buf, sizeof(buf));

	if (w->far < 0)
		return;
	if (with_id && n >= 4) {
		buf[0] = (uint8_t)((n - 2) >> 8);
		buf[1] = (uint8_t)(n - 2);
		memcpy(buf + 2, w->asked, 2);
	}
	send(w->far, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void translate(struct world *w)
{
	struct dial_target t = {.addr = {.family = AF_INET, .bytes = {198, 19}}};

	t.addr.bytes[2] = take(w);
	t.addr.bytes[3] = take(w);
	if (dns_translate(w->dns, &t, w->now_ms))
		assert(strlen(t.host) < sizeof(t.host));
}

static void step(struct world *w)
{
	uint8_t packet[70000];

	switch (take(w) % 8) {
	case 0:
	case 1:
		guest(w);
		break;
	case 2:
		resolver_writes(w, false);
		break;
	case 3:
		resolver_reads(w);
		resolver_writes(w, true);
		break;
	case 4:
		w->now_ms += (uint64_t)take(w) * 50;
		assert(dns_expire(w->dns, w->now_ms, 1000) <= 1000);
		break;
	case 5:
		if (w->far >= 0)
			close(TAKE_FD(w->far));
		break;
	case 6:
		w->refuse = take(w) & 1;
		break;
	default:
		translate(w);
	}
	dns_step(w->dns, w->now_ms);
	while (recv(w->tun, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ip resolvers[2] = {{AF_INET, {192, 0, 2, 1}}, {AF_INET, {192, 0, 2, 2}}};
	struct world w = {.dialer.ops = &ops, .far = -1, .data = data, .len = len};
	struct dns_config c = {.mode = take(&w) & 1 ? DNS_VIRTUAL : DNS_TCP,
			       .resolvers = resolvers,
			       .n_resolvers = 2,
			       .dialer = &w.dialer,
			       .mtu = 1500};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair))
		abort();
	c.tun = pair[0];
	w.tun = pair[1];
	if (dns_new(&c, &w.dns))
		abort();
	while (w.len)
		step(&w);
	dns_free(w.dns);
	close(pair[0]);
	close(pair[1]);
	if (w.far >= 0)
		close(w.far);
	return 0;
}
