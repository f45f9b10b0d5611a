// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What byway and its agent share: frames, lanes; and how the agent reads resolv.conf.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/lanes.h"
#include "agent/proto.h"
#include "agent/resolv.c"
#include "base/util.h"

/* ---- Frames ---- */

static const uint8_t payload[PROTO_DATAGRAM_MAX + 1] = "payload";

#define ADDR4                                                                                      \
	{                                                                                          \
		.family = 4, .bytes = { 192, 0, 2, 1 }                                             \
	}
#define ADDR6                                                                                      \
	{                                                                                          \
		.family = 6, .bytes = { 0x20, 1, 0xd, 0xb8, [15] = 7 }                             \
	}

static const struct frame from_byway[] = {
	{.type = FRAME_HELLO, .hello = {.version = PROTO_VERSION, .flows = 7, .idle_s = 300}},
	{.type = FRAME_DATAGRAM,
	 .flow = 0x30005,
	 .addr = ADDR4,
	 .port = 53,
	 .data = payload,
	 .len = 7},
	{.type = FRAME_DATAGRAM, .flow = 5, .addr = ADDR6, .port = 65535, .data = payload},
	{.type = FRAME_DATAGRAM,
	 .flow = 5,
	 .addr = ADDR6,
	 .port = 1,
	 .data = payload,
	 .len = PROTO_DATAGRAM_MAX},
	{.type = FRAME_ECHO, .flow = 6, .seq = 0xfffe, .addr = ADDR6, .data = payload, .len = 56},
	{.type = FRAME_CLOSE, .flow = 0xffffffff},
	{.type = FRAME_PING, .token = 0x0102030405060708},
	{.type = FRAME_STATS},
	{.type = FRAME_SHUTDOWN},
	{.type = FRAME_ACK, .token = 1ull << 40},
};

static const struct frame from_agent[] = {
	{.type = FRAME_HELLO,
	 .hello = {.version = PROTO_VERSION,
		   .flows = 65535,
		   .n_resolvers = 3,
		   .resolvers = {ADDR4, ADDR6, ADDR6}}},
	{.type = FRAME_DATAGRAM, .flow = 5, .data = payload, .len = 512},
	{.type = FRAME_ECHO, .flow = 6, .seq = 9, .data = payload, .len = 56},
	{.type = FRAME_CLOSE, .flow = 1},
	{.type = FRAME_ERROR, .flow = 1, .seq = 3, .error = FLOW_ERROR_PORT},
	{.type = FRAME_ERROR, .flow = 1, .error = FLOW_ERROR_TOO_BIG, .mtu = 1400},
	{.type = FRAME_PONG, .token = UINT64_MAX},
	{.type = FRAME_ACK},
	{.type = FRAME_STATS, .stats = {1, 2, 3, 4, 5}},
};

static size_t encode(enum frame_sender s, const struct frame *f, uint8_t *buf)
{
	size_t head = frame_put_head(s, f, buf);

	assert_true(head <= PROTO_HEAD_MAX);
	if (f->len)
		memcpy(buf + head, f->data, f->len);
	return head + f->len;
}

static void check_round(enum frame_sender s, const struct frame *f)
{
	static uint8_t buf[PROTO_FRAME_MAX];
	size_t len = encode(s, f, buf), used;
	struct frame got;

	assert_int_equal(frame_parse(s, buf, len, &got, &used), 1);
	assert_int_equal(used, len);
	if (f->len)
		assert_memory_equal(got.data, f->data, f->len);
	got.data = f->data;
	assert_memory_equal(&got, f, sizeof(got));
	/* However much of it is missing, it is not complete, and known to be. */
	for (size_t n = 0; n < len; n += n < 100 ? 1 : 997) {
		assert_int_equal(frame_parse(s, buf, n, &got, &used), 0);
		assert_int_equal(used, n < 5 ? 5 : len);
	}
}

static void frames_come_through(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(from_byway); i++)
		check_round(FROM_BYWAY, &from_byway[i]);
	for (size_t i = 0; i < ARRAY_SIZE(from_agent); i++)
		check_round(FROM_AGENT, &from_agent[i]);
}

/* The frame, with its length one byte more or less than its fields. */
static void check_length(enum frame_sender s, const struct frame *f, int delta)
{
	static uint8_t buf[PROTO_FRAME_MAX + 2];
	size_t len = encode(s, f, buf), used;
	uint32_t length = htonl((uint32_t)((int)len - 4 + delta));
	struct frame got;

	memcpy(buf, &length, 4);
	assert_int_equal(frame_parse(s, buf, len + 1, &got, &used), -1);
}

static void lengths_are_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(from_byway); i++) {
		if (from_byway[i].data)
			continue;
		check_length(FROM_BYWAY, &from_byway[i], 1);
		check_length(FROM_BYWAY, &from_byway[i], -1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(from_agent); i++) {
		if (from_agent[i].data)
			continue;
		check_length(FROM_AGENT, &from_agent[i], 1);
		check_length(FROM_AGENT, &from_agent[i], -1);
	}
	check_length(FROM_BYWAY, &from_byway[2], -1); /* a byte of the address */
	check_length(FROM_BYWAY, &from_byway[3], 1);  /* a byte too long for UDP */
}

static int parse_changed(enum frame_sender s, const struct frame *f, size_t at, uint8_t value)
{
	static uint8_t buf[PROTO_FRAME_MAX];
	size_t len = encode(s, f, buf), used;
	struct frame got;

	buf[at] = value;
	return frame_parse(s, buf, len, &got, &used);
}

static void what_means_nothing_is_refused(void **state)
{
	struct frame f = from_byway[1];
	uint8_t huge[] = {0, 2, 0, 0, FRAME_DATAGRAM}, empty[] = {0, 0, 0, 0, FRAME_PING};
	struct frame got;
	size_t used;

	(void)state;
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[0], 5, 'x'), -1); /* magic */
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[0], 15, 4), -1);  /* resolvers */
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[0], 16, 5), -1);  /* family */
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[1], 11, 0), -1);  /* family */
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[4], 11, FLOW_NUM_ERRORS), -1);
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[4], 15, 1),
			 -1); /* an MTU of no error */
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[6], 4, 0), -1);
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[6], 4, FRAME_NUM_TYPES), -1);
	f.port = 0;
	assert_int_equal(parse_changed(FROM_BYWAY, &f, 0, 0), -1);
	assert_int_equal(frame_parse(FROM_BYWAY, huge, sizeof(huge), &got, &used), -1);
	assert_int_equal(frame_parse(FROM_BYWAY, empty, sizeof(empty), &got, &used), -1);
}

static void senders_have_their_own(void **state)
{
	(void)state;
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[6], 4, FRAME_PONG), -1);
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[6], 4, FRAME_PING), -1);
	assert_int_equal(parse_changed(FROM_BYWAY, &from_byway[6], 4, FRAME_ERROR), -1);
	assert_int_equal(parse_changed(FROM_AGENT, &from_agent[3], 4, FRAME_SHUTDOWN), -1);
}

static void another_version_is_told(void **state)
{
	static uint8_t buf[PROTO_FRAME_MAX];
	size_t len = encode(FROM_AGENT, &from_agent[0], buf), used;
	struct frame got;

	(void)state;
	buf[9] = 2;
	buf[10] = 99;
	assert_int_equal(frame_parse(FROM_AGENT, buf, len, &got, &used), 1);
	assert_int_equal(got.hello.version, 2 << 8 | 99);
}

/* ---- Lanes ---- */

struct lanes_world {
	struct lanes l;
	uint8_t small[LANE_SMALL_BYTES], bulk[LANE_BULK_BYTES];
	uint8_t out[2 * LANE_BULK_BYTES];
	size_t len;
	bool acks; /* whatever is written is acknowledged at once */
	uint64_t now_us;
};

static int lanes_set_up(void **state)
{
	struct lanes_world *w = calloc(1, sizeof(*w));

	lanes_init(&w->l, w->small, w->bulk);
	w->acks = true;
	*state = w;
	return 0;
}

static int lanes_tear_down(void **state)
{
	free(*state);
	return 0;
}

/* A frame of this length whose first byte after the length is a name. */
static bool put_frame(struct lanes_world *w, enum lane lane, uint64_t *order, uint8_t name,
		      size_t len)
{
	uint8_t head[5] = {(uint8_t)((len - 4) >> 24), (uint8_t)((len - 4) >> 16),
			   (uint8_t)((len - 4) >> 8), (uint8_t)(len - 4), name};
	struct lane_span parts[2] = {{head, 5}, {payload, len - 5}};

	return lanes_put(&w->l, lane, order, parts);
}

/* Writes at most n bytes, in one write. */
static size_t write_out(struct lanes_world *w, size_t n)
{
	struct lane_span s[2] = {{0}};
	size_t spans = lanes_next(&w->l, s), written = 0;

	for (size_t i = 0; i < spans; i++) {
		size_t len = MIN(s[i].len, n - written);

		memcpy(w->out + w->len, s[i].data, len);
		w->len += len;
		written += len;
	}
	lanes_written(&w->l, written, w->now_us);
	if (w->acks)
		assert_true(lanes_acked(&w->l, w->l.sent, w->now_us));
	return written;
}

static void write_all(struct lanes_world *w, size_t piece)
{
	while (write_out(w, piece) > 0)
		;
}

/* The names of the frames that were written, in order; nothing but whole frames was. */
static const char *names(struct lanes_world *w)
{
	static char text[8192];
	size_t n = 0, at = 0;

	while (at < w->len) {
		size_t len = (size_t)w->out[at] << 24 | (size_t)w->out[at + 1] << 16 |
			     (size_t)w->out[at + 2] << 8 | w->out[at + 3];

		assert_true(w->len - at >= len + 4);
		text[n++] = (char)w->out[at + 4];
		at += len + 4;
	}
	text[n] = '\0';
	w->len = 0;
	return text;
}

static void small_goes_first(void **state)
{
	struct lanes_world *w = *state;

	put_frame(w, LANE_BULK, NULL, 'B', 1400);
	put_frame(w, LANE_SMALL, NULL, 's', 100);
	put_frame(w, LANE_BULK, NULL, 'C', 1400);
	put_frame(w, LANE_SMALL, NULL, 't', 5);
	write_all(w, SIZE_MAX);
	assert_string_equal(names(w), "stBC");
}

/* Whatever the pieces are in which the channel takes it. */
static void frames_stay_whole(void **state)
{
	struct lanes_world *w = *state;

	for (size_t piece = 1; piece < 4000; piece += 37) {
		put_frame(w, LANE_BULK, NULL, 'B', 1400);
		write_out(w, piece);
		put_frame(w, LANE_SMALL, NULL, 's', 100);
		put_frame(w, LANE_BULK, NULL, 'C', 1399);
		write_all(w, piece);
		assert_string_equal(names(w), "BsC");
		assert_false(lanes_ready(&w->l));
	}
}

/* What is waiting for its turn is at most one of bulk. */
static void bulk_turns_are_short(void **state)
{
	struct lanes_world *w = *state;

	for (int i = 0; i < 100; i++)
		put_frame(w, LANE_BULK, NULL, 'B', 1400);
	write_out(w, 10);
	put_frame(w, LANE_SMALL, NULL, 's', 100);
	write_all(w, SIZE_MAX);
	assert_true(strcspn(names(w), "s") * 1400 <= 16384);
}

static void small_does_not_starve_bulk(void **state)
{
	struct lanes_world *w = *state;
	size_t small = 0;

	put_frame(w, LANE_BULK, NULL, 'B', 1400);
	for (;;) {
		while (put_frame(w, LANE_SMALL, NULL, 's', 100))
			;
		write_out(w, SIZE_MAX);
		if (names(w)[0] == 'B')
			return;
		small++;
		assert_true(small < 4);
	}
}

static void a_flow_stays_in_order(void **state)
{
	struct lanes_world *w = *state;
	uint64_t a = 0, b = 0;

	assert_int_equal(lanes_choose(&w->l, a, 1400, false), LANE_BULK);
	assert_int_equal(lanes_choose(&w->l, a, 1400, true), LANE_SMALL);
	assert_int_equal(lanes_choose(&w->l, a, 512, false), LANE_SMALL);
	put_frame(w, LANE_BULK, &a, 'B', 1400);
	assert_int_equal(lanes_choose(&w->l, a, 10, true), LANE_BULK);
	assert_int_equal(lanes_choose(&w->l, b, 10, false), LANE_SMALL);
	put_frame(w, lanes_choose(&w->l, a, 10, false), &a, 'a', 10);
	put_frame(w, lanes_choose(&w->l, b, 10, false), &b, 'b', 10);
	write_all(w, 500);
	assert_string_equal(names(w), "bBa");
	assert_int_equal(lanes_choose(&w->l, a, 10, false), LANE_SMALL);
}

static void lanes_are_bounded(void **state)
{
	struct lanes_world *w = *state;
	size_t n = 0;

	while (put_frame(w, LANE_SMALL, NULL, 's', 1000))
		n++;
	assert_int_equal(n, LANE_SMALL_BYTES / 1000);
	assert_int_equal(lanes_room(&w->l, LANE_SMALL), LANE_SMALL_BYTES % 1000);
	write_out(w, 3000);
	assert_true(put_frame(w, LANE_SMALL, NULL, 't', 3000)); /* around the end of the ring */
	write_all(w, 777);
	assert_int_equal(strlen(names(w)), n + 1);
}

static void a_new_channel_begins_with_a_frame(void **state)
{
	struct lanes_world *w = *state;

	put_frame(w, LANE_BULK, NULL, 'B', 1400);
	put_frame(w, LANE_BULK, NULL, 'C', 1400);
	write_out(w, 700);
	w->len = 0;
	lanes_cut(&w->l);
	write_all(w, SIZE_MAX);
	assert_string_equal(names(w), "C");
	put_frame(w, LANE_BULK, NULL, 'D', 1400);
	write_out(w, 700);
	w->len = 0;
	lanes_clear(&w->l);
	assert_false(lanes_ready(&w->l));
	put_frame(w, LANE_BULK, NULL, 'E', 1400);
	write_all(w, SIZE_MAX);
	assert_string_equal(names(w), "E");
}

/* One round trip that takes so long; returns the window after it. */
static size_t round_trip(struct lanes_world *w, uint64_t took_us)
{
	while (put_frame(w, LANE_BULK, NULL, 'B', 1400))
		;
	write_all(w, SIZE_MAX);
	w->len = 0;
	w->now_us += took_us;
	assert_true(lanes_acked(&w->l, w->l.sent, w->now_us));
	return w->l.window;
}

static void bulk_waits_for_acknowledgements(void **state)
{
	struct lanes_world *w = *state;

	w->acks = false;
	while (put_frame(w, LANE_BULK, NULL, 'B', 1400))
		;
	write_all(w, SIZE_MAX);
	assert_in_range(w->len, w->l.window, w->l.window + 16384);
	assert_false(lanes_ready(&w->l));
	w->len = 0;
	put_frame(w, LANE_SMALL, NULL, 's', 100);
	assert_true(lanes_ready(&w->l));
	write_all(w, SIZE_MAX);
	assert_string_equal(names(w), "s");
	assert_false(lanes_acked(&w->l, w->l.sent + 1, 0));
	assert_true(lanes_acked(&w->l, 20000, 0));
	assert_false(lanes_acked(&w->l, 19999, 0));
	write_all(w, SIZE_MAX);
	assert_true(w->len > 0);
}

static void the_window_follows_the_path(void **state)
{
	struct lanes_world *w = *state;
	size_t before;

	w->acks = false;
	for (int i = 0; i < 20; i++)
		round_trip(w, 5000);
	assert_true(w->l.window > 1 << 20);
	/* The more, the longer it takes: a queue has formed. */
	for (int i = 0; i < 40; i++)
		round_trip(w, 50000);
	assert_true(w->l.window < 32 << 10);
	before = w->l.window;
	assert_true(round_trip(w, 6000) > before);
	/* It is a longer path now: by and by that is known. */
	w->now_us += 10000000;
	round_trip(w, 50000);
	w->now_us += 10000000;
	for (int i = 0; i < 20; i++)
		round_trip(w, 50000);
	assert_true(w->l.window > 1 << 20);
}

static void what_is_queued_follows_the_window(void **state)
{
	struct lanes_world *w = *state;

	w->acks = false;
	round_trip(w, 1000);
	for (int i = 0; i < 40; i++)
		round_trip(w, 100000);
	write_all(w, SIZE_MAX);
	lanes_clear(&w->l);
	assert_int_equal(lanes_room(&w->l, LANE_BULK), 512 << 10); /* another channel */
}

static void bulk_is_acknowledged_at_once(void **state)
{
	struct lanes_world *w = *state;
	struct frame f;
	size_t used;

	lanes_received(&w->l, 100);
	lanes_tell(&w->l, FROM_AGENT);
	assert_false(lanes_ready(&w->l));
	lanes_received(&w->l, 1400);
	lanes_tell(&w->l, FROM_AGENT);
	write_all(w, SIZE_MAX);
	assert_int_equal(frame_parse(FROM_AGENT, w->out, w->len, &f, &used), 1);
	assert_int_equal(f.type, FRAME_ACK);
	assert_int_equal(f.token, 1500);
	w->len = 0;
	for (int i = 0; i < 100; i++) {
		lanes_received(&w->l, 100);
		lanes_tell(&w->l, FROM_AGENT);
	}
	write_all(w, SIZE_MAX);
	assert_int_equal(w->len, 2 * used);
}

/* ---- resolv.conf ---- */

static void check_resolvers(const char *text, const char *want)
{
	struct proto_addr got[PROTO_RESOLVERS_MAX] = {{0}};
	size_t n = resolv_parse(text, strlen(text), got);
	char all[512] = "";

	for (size_t i = 0; i < n; i++) {
		char one[INET6_ADDRSTRLEN];

		inet_ntop(got[i].family == 4 ? AF_INET : AF_INET6, got[i].bytes, one, sizeof(one));
		strcat(strcat(all, i ? " " : ""), one);
	}
	assert_string_equal(all, want);
}

static void resolvers_are_read(void **state)
{
	(void)state;
	check_resolvers("", "");
	check_resolvers("nameserver 127.0.0.53", "127.0.0.53");
	check_resolvers("# x\nsearch a.b\nnameserver\t192.0.2.1 \r\nnameserver 2001:db8::1\n",
			"192.0.2.1 2001:db8::1");
	check_resolvers(
		"nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n",
		"1.1.1.1 2.2.2.2 3.3.3.3");
	check_resolvers("nameserver fe80::1%eth0\nnameserver ::1\n", "::1");
	check_resolvers("nameserver256 1.1.1.1\n nameserver 9.9.9.9\nXnameserver 1.1.1.1\n",
			"9.9.9.9");
}

/* The same addresses as inet_pton(3) takes, but for those with too many digits, which it takes,
 * too. */
static void addresses_are_addresses(void **state)
{
	static const char *const texts[] = {
		"1.2.3.4",
		"0.0.0.0",
		"255.255.255.255",
		"256.1.1.1",
		"1.2.3",
		"1.2.3.4.5",
		"1..2.3",
		"1.2.3.4x",
		"",
		".",
		":",
		"::",
		"::1",
		"1::",
		":1",
		"1:",
		"1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1:2:3:4:5:6:7::",
		"::2:3:4:5:6:7:8",
		"1::3:4:5:6:7:8",
		"1::2::3",
		":::",
		"1:::2",
		"12345::",
		"g::",
		"::ffff:1.2.3.4",
		"::1.2.3.4",
		"1.2.3.4::",
		"1:2:3:4:5:6:1.2.3.4",
		"1:2:3:4:5:6:7:1.2.3.4",
		"::1.2.3",
		"::1.2.3.4:5",
		"fe80::1",
		"FE80::aBcD",
		"2001:db8:0:0:1:0:0:1",
		"1:2:3:4:5:6:7:",
		"::1:",
		"::1.2.3.256",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct text t = {texts[i], texts[i] + strlen(texts[i])};
		struct proto_addr got = {0}, want = {0};
		bool is4 = inet_pton(AF_INET, texts[i], want.bytes) == 1;
		bool is6 = !is4 && inet_pton(AF_INET6, texts[i], want.bytes) == 1;

		want.family = is4 ? 4 : is6 ? 6 : 0;
		if (!want.family)
			memset(want.bytes, 0, sizeof(want.bytes));
		if (parse_addr(t, &got) != (is4 || is6) || memcmp(&got, &want, sizeof(got)) != 0)
			fail_msg("%s", texts[i]);
	}
}

#define LANES_TEST(f) cmocka_unit_test_setup_teardown(f, lanes_set_up, lanes_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_through),
		cmocka_unit_test(lengths_are_exact),
		cmocka_unit_test(what_means_nothing_is_refused),
		cmocka_unit_test(senders_have_their_own),
		cmocka_unit_test(another_version_is_told),
		LANES_TEST(small_goes_first),
		LANES_TEST(frames_stay_whole),
		LANES_TEST(bulk_turns_are_short),
		LANES_TEST(small_does_not_starve_bulk),
		LANES_TEST(a_flow_stays_in_order),
		LANES_TEST(lanes_are_bounded),
		LANES_TEST(a_new_channel_begins_with_a_frame),
		LANES_TEST(bulk_waits_for_acknowledgements),
		LANES_TEST(the_window_follows_the_path),
		LANES_TEST(what_is_queued_follows_the_window),
		LANES_TEST(bulk_is_acknowledged_at_once),
		cmocka_unit_test(resolvers_are_read),
		cmocka_unit_test(addresses_are_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
