// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names in a tunnel. The TUN is a socket pair that keeps packet boundaries, resolvers and proxy are a
 * dialer that hands out the other ends of more socket pairs; the clock is ours, but where a whole worker runs.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/tun.h"
#include "tunnel/dialer_impl.h"
#include "tunnel/dns.h"
#include "tunnel/dnsmsg.h"
#include "tunnel/dnspool.h"
#include "tunnel/packet.h"
#include "tunnel/worker.h"

#define UDP4_PAYLOAD (TUN_HEADER + 20 + 8)
#define DIALS 16

struct fake {
	struct dialer dialer;
	unsigned int n, refuse; /* how many there were; how many of the next ones fail */
	struct dial_target targets[DIALS];
	int far[DIALS]; /* the server's ends */
};

struct world {
	struct fake fake;
	struct dns *dns;
	int tun[2]; /* ours, the guest's */
	uint64_t now_ms;
	struct endpoints ends;
	unsigned int failures;
};

static enum dial_status fake_start(struct dial *c, uint64_t now_ms)
{
	struct fake *f = (struct fake *)(uintptr_t)c->dialer;
	int pair[2];

	(void)now_ms;
	assert_true(f->n < DIALS);
	f->targets[f->n] = c->target;
	f->far[f->n] = -1;
	if (f->refuse) {
		f->refuse--;
		f->n++;
		return dial_fail(c, DIAL_REFUSED, "refused by the test");
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	f->far[f->n++] = pair[1];
	dial_set_fd(c, pair[0]);
	return DIAL_CONNECTED;
}

static enum dial_status fake_step(struct dial *c, uint32_t revents, uint64_t now_ms)
{
	(void)revents;
	(void)now_ms;
	return dial_fail(c, DIAL_BROKEN, "never pending");
}

static const struct dialer_ops fake_ops = {.start = fake_start, .step = fake_step};

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, &ip, NULL), 0);
	return ip;
}

static void on_failure(enum dial_status why, const char *reason, void *arg)
{
	assert_int_not_equal(why, DIAL_PENDING);
	assert_non_null(reason);
	((struct world *)arg)->failures++;
}

static int set_up(void **state, enum dns_mode mode)
{
	struct world *w = calloc(1, sizeof(*w));
	struct ip resolvers[] = {ip("192.0.2.53"), ip("192.0.2.54")};
	struct dns_config c = {.mode = mode,
			       .resolvers = resolvers,
			       .n_resolvers = 2,
			       .dialer = &w->fake.dialer,
			       .mtu = 1500,
			       .failed = on_failure,
			       .arg = w};

	assert_non_null(w);
	w->fake.dialer.ops = &fake_ops;
	w->now_ms = 1000;
	w->ends = (struct endpoints){ip("10.0.0.2"), ip("192.0.2.1"), 40000, DNS_PORT};
	assert_int_equal(cidr_parse("198.18.0.1/30", &c.tun_addr4, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, w->tun), 0);
	c.tun = w->tun[0];
	assert_int_equal(dns_new(&c, &w->dns), 0);
	*state = w;
	return 0;
}

static int set_up_tcp(void **state)
{
	return set_up(state, DNS_TCP);
}

static int set_up_virtual(void **state)
{
	return set_up(state, DNS_VIRTUAL);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	dns_free(w->dns);
	for (unsigned int i = 0; i < w->fake.n; i++) {
		if (w->fake.far[i] >= 0)
			close(w->fake.far[i]);
	}
	close(w->tun[0]);
	close(w->tun[1]);
	free(w);
	return 0;
}

/* ---- Messages ---- */

struct message {
	uint8_t data[70000];
	size_t len;
};

static void add(struct message *m, const void *data, size_t len)
{
	memcpy(m->data + m->len, data, len);
	m->len += len;
}

static void add_name(struct message *m, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		uint8_t len = (uint8_t)n;

		add(m, &len, 1);
		add(m, name, n);
		name += n + (name[n] == '.');
	}
	add(m, "", 1);
}

static void query(struct message *m, uint16_t id, const char *name, uint16_t type)
{
	uint8_t header[12] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
	uint8_t tail[4] = {(uint8_t)(type >> 8), (uint8_t)type, 0, 1};

	m->len = 0;
	add(m, header, sizeof(header));
	add_name(m, name);
	add(m, tail, sizeof(tail));
}

static void add_opt(struct message *m, uint16_t size)
{
	uint8_t opt[11] = {0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size};

	add(m, opt, sizeof(opt));
	m->data[11]++;
}

static unsigned int rcode_of(const struct message *m)
{
	return m->data[3] & 0xf;
}

static unsigned int answers_in(const struct message *m)
{
	return m->data[7];
}

static struct message msg; /* what the tests ask, and what they get */

static void a_query_is_read(void **state)
{
	struct dnsmsg_query q;
	char host[DNSMSG_TEXT_MAX];

	(void)state;
	query(&msg, 0x1234, "WWW.Example.com", DNSMSG_A);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNSMSG_A);
	assert_int_equal(q.udp_bytes, 512);
	assert_false(q.edns);
	assert_true(dnsmsg_host(&q, host));
	assert_string_equal(host, "www.example.com");
	add_opt(&msg, 1400);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
	assert_true(q.edns);
	assert_int_equal(q.udp_bytes, 1400);
}

static void a_query_is_written(void **state)
{
	static const char example[] = "\7Example\3org", long_label[] =
		"0123456789012345678901234567890123456789012345678901234567890123.org";
	static const char *const none[] = {"", ".", "a..b", ".a", long_label};
	char many[DNSMSG_TEXT_MAX + 4];
	uint8_t query[DNSMSG_QUERY_MAX];
	struct dnsmsg_query q;

	(void)state;
	assert_int_equal(dnsmsg_put_query(0x1234, DNSMSG_AAAA, "Example.org", query, &q),
			 DNSMSG_HEADER + sizeof(example) + 4);
	assert_memory_equal(query, "\x12\x34\1\0\0\1\0\0\0\0\0\0", DNSMSG_HEADER);
	assert_memory_equal(query + DNSMSG_HEADER, example, sizeof(example));
	assert_memory_equal(query + DNSMSG_HEADER + sizeof(example), "\0\x1c\0\1", 4);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNSMSG_AAAA);
	assert_int_equal(dnsmsg_put_query(1, DNSMSG_A, "example.org.", query, &q),
			 DNSMSG_HEADER + sizeof(example) + 4);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(dnsmsg_put_query(1, DNSMSG_A, none[i], query, &q), 0);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 2 ? '.' : 'a';
	many[DNSMSG_NAME_MAX - 2] = '\0';
	assert_int_equal(dnsmsg_put_query(1, DNSMSG_A, many, query, &q), sizeof(query));
	many[DNSMSG_NAME_MAX - 2] = '.';
	many[DNSMSG_NAME_MAX] = '\0';
	assert_int_equal(dnsmsg_put_query(1, DNSMSG_A, many, query, &q), 0);
}

static void what_is_cut_short_is_an_error(void **state)
{
	struct dnsmsg_query q;

	(void)state;
	query(&msg, 1, "www.example.com", DNSMSG_A);
	add_opt(&msg, 1400);
	for (size_t len = 0; len < msg.len; len++) {
		uint8_t *exact = malloc(len + 1);

		memcpy(exact, msg.data, len);
		assert_int_equal(dnsmsg_parse_query(exact, len, &q),
				 len < DNSMSG_HEADER ? DNSMSG_IGNORE : DNSMSG_FORMERR);
		free(exact);
	}
}

static void other_messages_are_refused(void **state)
{
	struct dnsmsg_query q;

	(void)state;
	query(&msg, 1, "a", DNSMSG_A);
	msg.data[2] |= 0x80; /* a response */
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_IGNORE);
	query(&msg, 1, "a", DNSMSG_A);
	msg.data[2] |= 0x28; /* UPDATE, RFC 2136 */
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOTIMP);
	query(&msg, 1, "a", DNSMSG_A);
	msg.data[5] = 2;
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_FORMERR);
	query(&msg, 1, "a", DNSMSG_A);
	msg.data[12] = 0xc0; /* a name that points at itself */
	msg.data[13] = 12;
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_FORMERR);
	query(&msg, 1, "a", DNSMSG_A);
	add_opt(&msg, 512);
	msg.data[msg.len - 5] = 1; /* EDNS version 1 */
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_BADVERS);
	add_opt(&msg, 512);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_FORMERR);
}

static void names_are_bounded(void **state)
{
	char name[300] = "";
	struct dnsmsg_query q;
	char host[DNSMSG_TEXT_MAX];

	(void)state;
	for (int i = 0; i < 126; i++)
		strcat(name, "a.");
	strcat(name, "a"); /* 127 labels of one letter: 255 bytes with the root */
	query(&msg, 1, name, DNSMSG_A);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
	assert_true(dnsmsg_host(&q, host));
	assert_string_equal(host, name);
	strcat(name, "a");
	query(&msg, 1, name, DNSMSG_A);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_FORMERR);
	query(&msg, 1, "a b.example", DNSMSG_A);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
	assert_false(dnsmsg_host(&q, host));
	query(&msg, 1, "", DNSMSG_A);
	assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
	assert_false(dnsmsg_host(&q, host));
}

static void reverse_names_are_read(void **state)
{
	static const struct {
		const char *name, *address;
	} cases[] = {
		{"4.3.2.1.in-addr.arpa", "1.2.3.4"},
		{"255.255.255.255.IN-ADDR.ARPA", "255.255.255.255"},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.9.7.1.6.7.7.9.7.2.6.d.f.ip6.arpa",
		 "fd62:7977:6179:1::1"},
		{"256.3.2.1.in-addr.arpa", NULL},
		{"04.3.2.1.in-addr.arpa", NULL},
		{"3.2.1.in-addr.arpa", NULL},
		{"4.3.2.1.in-addr.arpa.net", NULL},
		{"1.ip6.arpa", NULL},
		{"www.example.com", NULL},
	};
	char text[IP_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dnsmsg_query q;
		struct ip found;

		query(&msg, 1, cases[i].name, DNSMSG_PTR);
		assert_int_equal(dnsmsg_parse_query(msg.data, msg.len, &q), DNSMSG_NOERROR);
		assert_int_equal(dnsmsg_reverse(&q, &found), cases[i].address != NULL);
		if (cases[i].address)
			assert_string_equal(ip_format(&found, text), cases[i].address);
	}
}

/* ---- The pool ---- */

static void names_keep_their_addresses(void **state)
{
	struct cidr tun;
	struct dnspool *p;
	struct ip a, b, a6;

	(void)state;
	cidr_parse("198.18.0.1/30", &tun, NULL);
	p = dnspool_new(100, &tun);
	assert_int_equal(dnspool_get(p, "a.example", AF_INET, 0, &a), 0);
	assert_int_equal(dnspool_get(p, "a.example", AF_INET6, 0, &a6), 0);
	assert_int_equal(dnspool_get(p, "b.example", AF_INET, 0, &b), 0);
	assert_false(ip_equal(&a, &b));
	assert_int_equal(dnspool_get(p, "a.example", AF_INET, 0, &b), 0);
	assert_true(ip_equal(&a, &b));
	assert_string_equal(dnspool_find(p, &a, 0), "a.example");
	assert_string_equal(dnspool_find(p, &a6, 0), "a.example");
	assert_true(dnspool_has(p, &a) && dnspool_has(p, &a6));
	b = ip("198.18.0.2");
	assert_false(dnspool_has(p, &b)); /* the TUN's own */
	b = ip("198.18.0.4");
	assert_true(dnspool_has(p, &b));
	assert_null(dnspool_find(p, &b, 0));
	b = ip("fd62:7977:6179:1:8000::1");
	assert_null(dnspool_find(p, &b, 0));
	dnspool_free(p);
}

static void the_tun_may_be_anywhere(void **state)
{
	static const char *const nets[] = {"198.18.0.1/30", "198.19.0.1/30", "198.19.255.253/30", "10.0.0.1/30"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		struct cidr tun;
		struct dnspool *p;
		char name[16];
		struct ip a;

		cidr_parse(nets[i], &tun, NULL);
		p = dnspool_new(DNSPOOL_MAX, &tun);
		for (int n = 0; n < DNSPOOL_MAX; n++) {
			snprintf(name, sizeof(name), "n%d", n);
			assert_int_equal(dnspool_get(p, name, AF_INET, 0, &a), 0);
			assert_true(dnspool_has(p, &a));
			assert_string_equal(dnspool_find(p, &a, 0), name);
		}
		dnspool_free(p);
	}
}

static void the_least_used_makes_room(void **state)
{
	struct cidr none = {0};
	struct dnspool *p = dnspool_new(3, &none);
	struct ip a, b, c, d;

	(void)state;
	assert_int_equal(dnspool_get(p, "a", AF_INET, 0, &a), 0);
	assert_int_equal(dnspool_get(p, "b", AF_INET, 1, &b), 0);
	assert_int_equal(dnspool_get(p, "c", AF_INET, 2, &c), 0);
	assert_int_equal(dnspool_get(p, "d", AF_INET, 1000, &d), -ENOSPC); /* all are held */
	assert_string_equal(dnspool_find(p, &a, DNSPOOL_HOLD_MS), "a"); /* use keeps it */
	assert_int_equal(dnspool_get(p, "d", AF_INET, DNSPOOL_HOLD_MS + 1, &d), 0);
	assert_true(ip_equal(&d, &b));
	assert_string_equal(dnspool_find(p, &b, DNSPOOL_HOLD_MS + 1), "d");
	assert_string_equal(dnspool_find(p, &a, DNSPOOL_HOLD_MS + 1), "a");
	assert_int_equal(dnspool_get(p, "b", AF_INET, DNSPOOL_HOLD_MS + 2, &b), 0);
	assert_true(ip_equal(&b, &c));
	dnspool_free(p);
}

/* ---- The guest ---- */

static void guest_asks(struct world *w)
{
	struct packet p = {.ends = w->ends, .data = msg.data, .len = msg.len};

	dns_input(w->dns, &p, w->now_ms);
}

/* False when there is no answer yet. */
static bool guest_hears(int tun)
{
	static uint8_t buf[70000];
	ssize_t n = recv(tun, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0)
		return false;
	assert_true(n > UDP4_PAYLOAD);
	assert_int_equal(buf[TUN_HEADER + 9], 17);
	assert_int_equal(buf[TUN_HEADER + 20] << 8 | buf[TUN_HEADER + 21], DNS_PORT);
	msg.len = 0;
	add(&msg, buf + UDP4_PAYLOAD, (size_t)n - UDP4_PAYLOAD);
	return true;
}

static void ask(struct world *w, uint16_t id, const char *name, uint16_t type)
{
	query(&msg, id, name, type);
	guest_asks(w);
}

/* ---- virtual ---- */

static void addresses_are_made_up(void **state)
{
	struct world *w = *state;
	struct dial_target t = {.port = 80};

	ask(w, 7, "Some.Name", DNSMSG_A);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(msg.data[1], 7);
	assert_int_equal(rcode_of(&msg), 0);
	assert_int_equal(answers_in(&msg), 1);
	assert_memory_equal(msg.data + 12, "\4Some\4Name", 10); /* as it was spelled */
	t.addr.family = AF_INET;
	memcpy(t.addr.bytes, msg.data + msg.len - 4, 4);
	assert_true(dns_translate(w->dns, &t, w->now_ms));
	assert_string_equal(t.host, "some.name");
	ask(w, 8, "some.name", DNSMSG_AAAA);
	assert_true(guest_hears(w->tun[1]));
	t = (struct dial_target){.addr.family = AF_INET6};
	memcpy(t.addr.bytes, msg.data + msg.len - 16, 16);
	assert_true(dns_translate(w->dns, &t, w->now_ms));
	assert_string_equal(t.host, "some.name");
}

static void an_address_without_a_name_is_none(void **state)
{
	struct world *w = *state;
	struct dial_target t = {.addr = ip("198.19.3.3")};

	assert_false(dns_translate(w->dns, &t, w->now_ms));
	t.addr = ip("203.0.113.10");
	assert_true(dns_translate(w->dns, &t, w->now_ms));
	assert_string_equal(t.host, "");
}

static void other_types_are_empty(void **state)
{
	static const uint16_t types[] = {15, 16, 33, 65, 255};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		query(&msg, 9, "some.name", types[i]);
		add_opt(&msg, 4096);
		guest_asks(w);
		assert_true(guest_hears(w->tun[1]));
		assert_int_equal(rcode_of(&msg), 0);
		assert_int_equal(answers_in(&msg), 0);
		assert_int_equal(msg.data[11], 1); /* OPT for OPT */
	}
	query(&msg, 9, "version.bind", 16);
	msg.data[msg.len - 1] = 3; /* CHAOS */
	guest_asks(w);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_REFUSED);
}

static void no_hosts_names_do_not_exist(void **state)
{
	static const char *const names[] = {"localhost", "a.localhost", "with blank.example"};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ask(w, 1, names[i], DNSMSG_A);
		assert_true(guest_hears(w->tun[1]));
		assert_int_equal(rcode_of(&msg), DNSMSG_NXDOMAIN);
	}
	ask(w, 1, "notlocalhost", DNSMSG_A);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_NOERROR);
}

static void pointers_come_from_the_table(void **state)
{
	struct world *w = *state;
	char name[64];

	ask(w, 1, "some.name", DNSMSG_A);
	assert_true(guest_hears(w->tun[1]));
	snprintf(name, sizeof(name), "%u.%u.%u.%u.in-addr.arpa", msg.data[msg.len - 1],
		 msg.data[msg.len - 2], msg.data[msg.len - 3], msg.data[msg.len - 4]);
	ask(w, 2, name, DNSMSG_PTR);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(answers_in(&msg), 1);
	assert_memory_equal(msg.data + msg.len - 11, "\4some\4name\0", 11);
	ask(w, 3, "9.9.19.198.in-addr.arpa", DNSMSG_PTR);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_NXDOMAIN);
	ask(w, 3, "1.0.0.10.in-addr.arpa", DNSMSG_PTR);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_NOERROR);
	assert_int_equal(answers_in(&msg), 0);
}

/* ---- tcp: the resolver ---- */

static bool resolver_hears(struct world *w, unsigned int link, struct message *m)
{
	uint8_t head[2];

	if (recv(w->fake.far[link], head, 2, MSG_DONTWAIT) != 2)
		return false;
	m->len = (size_t)(head[0] << 8 | head[1]);
	assert_int_equal(recv(w->fake.far[link], m->data, m->len, MSG_DONTWAIT), m->len);
	return true;
}

static void resolver_says(struct world *w, unsigned int link, const struct message *m)
{
	uint8_t head[2] = {(uint8_t)(m->len >> 8), (uint8_t)m->len};

	assert_int_equal(write(w->fake.far[link], head, 2), 2);
	assert_int_equal(write(w->fake.far[link], m->data, m->len), m->len);
	dns_step(w->dns, w->now_ms);
}

/* The query, made an answer of so many bytes of text. */
static void make_answer(struct message *m, size_t bytes)
{
	uint8_t record[12] = {0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, (uint8_t)(bytes >> 8), (uint8_t)bytes};

	m->data[2] |= 0x80;
	m->data[7] = 1;
	add(m, record, sizeof(record));
	memset(m->data + m->len, 'x', bytes);
	m->len += bytes;
}

static void later(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now_ms + ms; w->now_ms < end; w->now_ms += 10)
		dns_expire(w->dns, w->now_ms, 1000);
}

static void queries_share_a_connection(void **state)
{
	struct world *w = *state;
	static struct message first, second;

	ask(w, 100, "One.example", DNSMSG_A);
	ask(w, 100 + 1, "two.example", DNSMSG_A);
	ask(w, 100, "One.example", DNSMSG_A); /* asked again: it is under way */
	assert_int_equal(w->fake.n, 1);
	assert_int_equal(w->fake.targets[0].port, DNS_PORT);
	assert_true(ip_equal(&w->fake.targets[0].addr, &(struct ip){AF_INET, {192, 0, 2, 53}}));
	assert_true(resolver_hears(w, 0, &first));
	assert_true(resolver_hears(w, 0, &second));
	assert_memory_not_equal(first.data, second.data, 2);
	make_answer(&second, 4);
	resolver_says(w, 0, &second);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(msg.data[1], 101);
	make_answer(&first, 4);
	first.data[13] = 'o'; /* resolvers spell as they like */
	resolver_says(w, 0, &first);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(msg.data[1], 100);
	assert_int_equal(msg.data[13], 'O');
	assert_false(guest_hears(w->tun[1]));
	assert_int_equal(w->failures, 0);
}

static void answers_may_come_in_pieces(void **state)
{
	struct world *w = *state;
	static struct message m;
	uint8_t head[2];

	ask(w, 1, "a.example", DNSMSG_A);
	assert_true(resolver_hears(w, 0, &m));
	make_answer(&m, 4);
	head[0] = 0;
	head[1] = (uint8_t)m.len;
	for (size_t i = 0; i < 2 + m.len; i++) {
		assert_false(guest_hears(w->tun[1]));
		assert_int_equal(write(w->fake.far[0], i < 2 ? head + i : m.data + i - 2, 1), 1);
		dns_step(w->dns, w->now_ms);
	}
	assert_true(guest_hears(w->tun[1]));
}

static void what_was_not_asked_is_ignored(void **state)
{
	struct world *w = *state;
	static struct message m, other;

	ask(w, 1, "a.example", DNSMSG_A);
	assert_true(resolver_hears(w, 0, &m));
	query(&other, (uint16_t)(m.data[0] << 8 | m.data[1]), "b.example", DNSMSG_A);
	make_answer(&other, 4);
	resolver_says(w, 0, &other); /* another question */
	query(&other, (uint16_t)((m.data[0] << 8 | m.data[1]) ^ 0x100), "a.example", DNSMSG_A);
	make_answer(&other, 4);
	resolver_says(w, 0, &other); /* another id */
	resolver_says(w, 0, &m);     /* the query itself */
	other.len = 3;
	resolver_says(w, 0, &other);
	assert_false(guest_hears(w->tun[1]));
	make_answer(&m, 4);
	resolver_says(w, 0, &m);
	assert_true(guest_hears(w->tun[1]));
	resolver_says(w, 0, &m); /* twice */
	assert_false(guest_hears(w->tun[1]));
}

static size_t ask_for(struct world *w, uint16_t size, size_t bytes)
{
	static struct message m;

	query(&msg, 1, "a.example", 16);
	if (size)
		add_opt(&msg, size);
	guest_asks(w);
	assert_true(resolver_hears(w, 0, &m));
	m.len -= size ? 11 : 0;
	m.data[11] = 0;
	make_answer(&m, bytes);
	if (size)
		add_opt(&m, 1232);
	resolver_says(w, 0, &m);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(msg.data[1], 1);
	return msg.len;
}

static void answers_are_cut_to_what_fits(void **state)
{
	struct world *w = *state;

	assert_int_equal(ask_for(w, 0, 300), 27 + 12 + 300);
	assert_int_equal(msg.data[2] & 2, 0);
	assert_int_equal(ask_for(w, 0, 600), 27); /* the question, and TC */
	assert_int_equal(msg.data[2] & 2, 2);
	assert_int_equal(answers_in(&msg), 0);
	assert_int_equal(ask_for(w, 1400, 600), 27 + 12 + 600 + 11);
	assert_int_equal(msg.data[2] & 2, 0);
	assert_int_equal(ask_for(w, 1400, 1400), 27 + 11); /* with OPT */
	assert_int_equal(msg.data[2] & 2, 2);
	assert_int_equal(msg.data[11], 1);
	assert_int_equal(ask_for(w, 65000, 60000), 27 + 11); /* more than a packet of the TUN */
	assert_int_equal(msg.data[2] & 2, 2);
}

static void another_resolver_stands_in(void **state)
{
	struct world *w = *state;
	static struct message m;

	w->fake.refuse = 1;
	ask(w, 1, "a.example", DNSMSG_A);
	assert_int_equal(w->fake.n, 2);
	assert_int_equal(w->failures, 1);
	assert_int_equal(w->fake.targets[1].addr.bytes[3], 54);
	assert_true(resolver_hears(w, 1, &m));
	make_answer(&m, 4);
	resolver_says(w, 1, &m);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), 0);
}

static void without_any_it_is_said(void **state)
{
	struct world *w = *state;

	w->fake.refuse = 10;
	query(&msg, 1, "a.example", DNSMSG_A);
	add_opt(&msg, 1232);
	guest_asks(w);
	assert_int_equal(w->fake.n, 3); /* each once, and the first again */
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_SERVFAIL);
	assert_int_equal(msg.data[1], 1);
	assert_int_equal(msg.data[11], 1);
}

static void a_closed_link_is_opened_again(void **state)
{
	struct world *w = *state;
	static struct message m;

	ask(w, 1, "a.example", DNSMSG_A);
	assert_true(resolver_hears(w, 0, &m));
	make_answer(&m, 4);
	resolver_says(w, 0, &m);
	assert_true(guest_hears(w->tun[1]));
	ask(w, 2, "b.example", DNSMSG_A);
	close(TAKE_FD(w->fake.far[0]));
	dns_step(w->dns, w->now_ms);
	assert_int_equal(w->fake.n, 2);
	assert_int_equal(w->fake.targets[1].addr.bytes[3], 53); /* it had answered before */
	assert_true(resolver_hears(w, 1, &m));
	make_answer(&m, 4);
	resolver_says(w, 1, &m);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(msg.data[1], 2);
	assert_int_equal(w->failures, 0);
}

static void the_silent_are_left(void **state)
{
	struct world *w = *state;
	static struct message m;

	ask(w, 1, "a.example", DNSMSG_A);
	later(w, 4100);
	assert_int_equal(w->fake.n, 2);
	assert_int_equal(w->fake.targets[1].addr.bytes[3], 54);
	assert_true(resolver_hears(w, 1, &m)); /* asked anew */
	later(w, 6000);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_SERVFAIL);
	assert_false(guest_hears(w->tun[1]));
}

static void an_idle_link_is_closed(void **state)
{
	struct world *w = *state;
	static struct message m;
	char byte;

	ask(w, 1, "a.example", DNSMSG_A);
	assert_true(resolver_hears(w, 0, &m));
	make_answer(&m, 4);
	resolver_says(w, 0, &m);
	later(w, 9000);
	assert_int_equal(recv(w->fake.far[0], &byte, 1, MSG_DONTWAIT), -1);
	later(w, 2000);
	assert_int_equal(recv(w->fake.far[0], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(w->fake.n, 1);
	assert_int_equal(w->failures, 0);
}

static void the_table_is_bounded(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < 256; i++)
		ask(w, i, "a.example", DNSMSG_A);
	assert_false(guest_hears(w->tun[1]));
	ask(w, 256, "a.example", DNSMSG_A);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_SERVFAIL);
	assert_int_equal(msg.data[0], 1);
	later(w, 20000);
	for (int i = 0; i < 256; i++)
		assert_true(guest_hears(w->tun[1])); /* every one has an answer */
	assert_false(guest_hears(w->tun[1]));
}

static void header_only_refusals_are_passed_on(void **state)
{
	struct world *w = *state;
	static struct message m;

	ask(w, 1, "a.example", DNSMSG_A);
	assert_true(resolver_hears(w, 0, &m));
	m.data[2] |= 0x80;
	m.data[3] = DNSMSG_FORMERR;
	m.data[5] = 0;
	m.len = DNSMSG_HEADER;
	resolver_says(w, 0, &m);
	assert_true(guest_hears(w->tun[1]));
	assert_int_equal(rcode_of(&msg), DNSMSG_FORMERR);
}

/* ---- A whole worker ---- */

static void *run_worker(void *w)
{
	worker_run(w);
	return NULL;
}

static void send_packet(int tun, const uint8_t *packet, size_t len)
{
	assert_int_equal(write(tun, packet, len), len);
}

/* packet_put_udp() and packet_put_tcp() build what goes back; seen from the other end, what the guest sends. */
static struct endpoints turned(const char *guest, const struct ip *to, uint16_t sport, uint16_t dport)
{
	return (struct endpoints){.src = *to, .dst = ip(guest), .sport = dport, .dport = sport};
}

static void guest_sends_udp(int tun, const struct ip *to, uint16_t dport)
{
	static uint8_t buf[PACKET_HEADROOM + 2000];
	struct endpoints ends = turned("10.0.0.2", to, 40000, dport);
	const uint8_t *packet;
	size_t len;

	memcpy(buf + PACKET_HEADROOM, msg.data, msg.len);
	packet = packet_put_udp(&ends, buf + PACKET_HEADROOM, msg.len, &len);
	send_packet(tun, packet, len);
}

static void guest_sends_syn(int tun, const struct ip *to)
{
	uint8_t buf[PACKET_HEADROOM];
	struct endpoints ends = turned("10.0.0.2", to, 40000, 80);
	struct tcp_reply r = {.seq = 1, .flags = TCP_SYN, .mss = 1460, .window = 512};
	const uint8_t *packet;
	size_t len;

	packet = packet_put_tcp(&ends, &r, buf + PACKET_HEADROOM, 0, &len);
	send_packet(tun, packet, len);
}

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 5000), 1);
}

static void a_worker_dials_names(void **state)
{
	static struct fake fake = {.dialer.ops = &fake_ops};
	struct worker_config c = {.dialer = &fake.dialer,
				  .mtu = 1500,
				  .max_flows = 16,
				  .max_dials = 16,
				  .chunks = 2};
	struct dns_config dns = {.mode = DNS_VIRTUAL, .dialer = &fake.dialer, .mtu = 1500};
	struct ip to = ip("192.0.2.1");
	struct worker *w;
	uint8_t buf[2000];
	pthread_t thread;
	int tun[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, tun), 0);
	dns.tun = c.tun = tun[0];
	assert_int_equal(dns_new(&dns, &c.dns), 0);
	c.steps_dns = true;
	assert_int_equal(worker_new(&c, &w, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_worker, w), 0);

	query(&msg, 1, "some.name", DNSMSG_A);
	guest_sends_udp(tun[1], &to, DNS_PORT);
	wait_readable(tun[1]);
	assert_true(guest_hears(tun[1]));
	assert_int_equal(answers_in(&msg), 1);
	memcpy(to.bytes, msg.data + msg.len - 4, 4);

	guest_sends_syn(tun[1], &to);
	wait_readable(tun[1]);
	assert_true(recv(tun[1], buf, sizeof(buf), 0) > 0);
	assert_int_equal(buf[TUN_HEADER + 20 + 13], TCP_SYN | TCP_ACK);
	assert_int_equal(fake.n, 1);
	assert_string_equal(fake.targets[0].host, "some.name");
	assert_int_equal(fake.targets[0].port, 80);

	to = ip("198.19.200.200"); /* nobody's: unreachable, and not dialled */
	guest_sends_syn(tun[1], &to);
	wait_readable(tun[1]);
	assert_true(recv(tun[1], buf, sizeof(buf), 0) > 0);
	assert_int_equal(buf[TUN_HEADER + 9], 1);
	assert_int_equal(fake.n, 1);

	guest_sends_udp(tun[1], &to, 443); /* other UDP is refused as ever */
	wait_readable(tun[1]);
	assert_true(recv(tun[1], buf, sizeof(buf), 0) > 0);
	assert_int_equal(buf[TUN_HEADER + 9], 1);

	worker_stop(w);
	pthread_join(thread, NULL);
	worker_free(w);
	dns_free(c.dns);
	close(tun[1]);
	close(fake.far[0]);
}

static void modes_have_names(void **state)
{
	enum dns_mode m;

	(void)state;
	for (enum dns_mode i = 0; i < DNS_NUM_MODES; i++) {
		assert_int_equal(dns_mode_parse(dns_mode_name(i), &m), 0);
		assert_int_equal(m, i);
	}
	assert_int_equal(dns_mode_parse("udp", &m), -EINVAL);
}

#define TCP_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_tcp, tear_down)
#define VIRTUAL_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_virtual, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_read),
		cmocka_unit_test(a_query_is_written),
		cmocka_unit_test(what_is_cut_short_is_an_error),
		cmocka_unit_test(other_messages_are_refused),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(reverse_names_are_read),
		cmocka_unit_test(names_keep_their_addresses),
		cmocka_unit_test(the_tun_may_be_anywhere),
		cmocka_unit_test(the_least_used_makes_room),
		cmocka_unit_test(modes_have_names),
		VIRTUAL_TEST(addresses_are_made_up),
		VIRTUAL_TEST(an_address_without_a_name_is_none),
		VIRTUAL_TEST(other_types_are_empty),
		VIRTUAL_TEST(no_hosts_names_do_not_exist),
		VIRTUAL_TEST(pointers_come_from_the_table),
		TCP_TEST(queries_share_a_connection),
		TCP_TEST(answers_may_come_in_pieces),
		TCP_TEST(what_was_not_asked_is_ignored),
		TCP_TEST(answers_are_cut_to_what_fits),
		TCP_TEST(another_resolver_stands_in),
		TCP_TEST(without_any_it_is_said),
		TCP_TEST(a_closed_link_is_opened_again),
		TCP_TEST(the_silent_are_left),
		TCP_TEST(an_idle_link_is_closed),
		TCP_TEST(the_table_is_bounded),
		TCP_TEST(header_only_refusals_are_passed_on),
		cmocka_unit_test(a_worker_dials_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
