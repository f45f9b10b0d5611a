// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The messages of an OpenSSH master, and what the words of ssh and sshd mean. The dialer itself
 * runs against the real ones: tests/netns/ssh_dialer.sh.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tunnel/ssh_error.h"
#include "tunnel/ssh_wire.h"

/* The body of the one frame that b holds. */
static const unsigned char *body_of(const struct buf *b, size_t *ret_len)
{
	const unsigned char *body, *data = (const unsigned char *)b->data;

	for (size_t n = 0; n < b->len; n++)
		assert_int_equal(ssh_frame(data, n, &body, ret_len), 0);
	assert_int_equal(ssh_frame(data, b->len, &body, ret_len), 1);
	assert_int_equal(*ret_len, b->len - 4);
	return body;
}

static struct ssh_message message_of(const struct buf *b)
{
	struct ssh_message m = {0};
	size_t len;
	const unsigned char *body = body_of(b, &len);

	assert_int_equal(ssh_message_parse(body, len, &m), 0);
	return m;
}

static void test_frame(void **state)
{
	static const unsigned char longest[] = {0, 1, 0, 0}, longer[] = {0, 1, 0, 1};
	const unsigned char *body;
	size_t len;

	(void)state;
	assert_int_equal(ssh_frame(longest, 4, &body, &len), 0);
	assert_int_equal(ssh_frame(longer, 4, &body, &len), -EPROTO);
}

/* As RFC 4254 7.2 has it, byte for byte. */
static void test_open(void **state)
{
	static const char want[] = "\0\0\0\x3c\0\x5a\0\0\0\x0c"
				   "direct-tcpip\0\0\0\7\0\4\0\0\0\0\x80\0\0\0\0\5"
				   "a.b.c\0\0\0\x50\0\0\0\x09"
				   "127.0.0.1\0\0\0\0";
	_buf_ struct buf b = {0};

	(void)state;
	ssh_put_open(&b, 7, 262144, "a.b.c", 80);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(b.data, want, b.len);
}

static void test_messages(void **state)
{
	_buf_ struct buf plain = {0}, adjust = {0}, ping = {0}, data = {0};
	struct ssh_message m;

	(void)state;
	ssh_put_plain(&plain, SSH_CHANNEL_EOF, 9);
	m = message_of(&plain);
	assert_int_equal(m.type, SSH_CHANNEL_EOF);
	assert_int_equal(m.channel, 9);
	ssh_put_adjust(&adjust, 1, UINT32_MAX);
	m = message_of(&adjust);
	assert_int_equal(m.window, UINT32_MAX);
	ssh_put_ping(&ping, 3);
	m = message_of(&ping);
	assert_int_equal(m.type, SSH_CHANNEL_REQUEST);
	assert_true(m.want_reply);
	buf_add(&data, "..............abc", SSH_DATA_HEADER + 3);
	ssh_write_data_header((unsigned char *)data.data, 5, 3);
	m = message_of(&data);
	assert_int_equal(m.channel, 5);
	assert_int_equal(m.len, 3);
	assert_memory_equal(m.data, "abc", 3);
}

/* Cut anywhere, a message is no message; none is read past its end. */
static void test_short(void **state)
{
	static const unsigned char confirmation[] = {0, 91, 0, 0, 0, 1, 0, 0, 0,
						     2, 0,  0, 0, 3, 0, 0, 0, 4};
	static const unsigned char liar[] = {0, 94, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 'x'};
	static const unsigned char unknown[] = {0, 200};
	struct ssh_message m;

	(void)state;
	for (size_t n = 0; n < sizeof(confirmation); n++)
		assert_int_equal(ssh_message_parse(confirmation, n, &m), -EPROTO);
	assert_int_equal(ssh_message_parse(confirmation, sizeof(confirmation), &m), 0);
	assert_int_equal(m.channel, 1);
	assert_int_equal(m.sender, 2);
	assert_int_equal(m.window, 3);
	assert_int_equal(m.max_packet, 4);
	assert_int_equal(ssh_message_parse(liar, sizeof(liar), &m), -EPROTO);
	assert_int_equal(ssh_message_parse(unknown, sizeof(unknown), &m), 0);
	assert_int_equal(m.type, 200);
}

static void test_mux(void **state)
{
	static const unsigned char refusal[] = {0x80, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 2, 'n', 'o'};
	_buf_ struct buf b = {0};
	struct ssh_mux_message m;
	size_t len;
	const unsigned char *body;

	(void)state;
	ssh_put_hello(&b);
	body = body_of(&b, &len);
	assert_int_equal(ssh_mux_message_parse(body, len, &m), 0);
	assert_int_equal(m.type, SSH_MUX_HELLO);
	assert_int_equal(m.number, SSH_MUX_VERSION);
	assert_int_equal(ssh_mux_message_parse(refusal, sizeof(refusal), &m), 0);
	assert_int_equal(m.number, 7);
	assert_memory_equal(m.text, "no", 2);
	assert_int_equal(ssh_mux_message_parse(refusal, sizeof(refusal) - 1, &m), -EPROTO);
}

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		enum ssh_error error;
	} cases[] = {
		{"root@192.0.2.1: Permission denied (publickey).", SSH_ERROR_AUTH},
		{"Host key verification failed.", SSH_ERROR_HOST_KEY},
		{"ssh: connect to host h port 22: Connection refused", SSH_ERROR_REFUSED},
		{"ssh: connect to host h port 22: No route to host", SSH_ERROR_UNREACHABLE},
		{"ssh: Could not resolve hostname h: Name or service not known",
		 SSH_ERROR_UNREACHABLE},
		{"Timeout, server h not responding.", SSH_ERROR_TIMEOUT},
		{"Connection to h closed by remote host.", SSH_ERROR_LOST},
		{"Warning: Permanently added 'h' (ED25519) to the list of known hosts.",
		 SSH_ERROR_NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(ssh_error_of_line(cases[i].line), cases[i].error);
	assert_true(ssh_error_is_final(SSH_ERROR_AUTH));
	assert_false(ssh_error_is_final(SSH_ERROR_REFUSED));
}

static void test_reasons(void **state)
{
	(void)state;
	assert_int_equal(ssh_open_status(1, "open failed"), DIAL_DENIED);
	assert_int_equal(ssh_open_status(2, "Connection refused"), DIAL_REFUSED);
	assert_int_equal(ssh_open_status(2, "Connection timed out"), DIAL_TIMEOUT);
	assert_int_equal(ssh_open_status(2, "No route to host"), DIAL_UNREACHABLE);
	assert_int_equal(ssh_open_status(2, "Name or service not known"), DIAL_UNREACHABLE);
	assert_int_equal(ssh_open_status(2, ""), DIAL_REFUSED);
	assert_int_equal(ssh_open_status(3, ""), DIAL_BROKEN);
	assert_int_equal(ssh_open_status(4, ""), DIAL_UNREACHABLE);
	assert_int_equal(ssh_open_status(99, ""), DIAL_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),     cmocka_unit_test(test_open),
		cmocka_unit_test(test_messages),  cmocka_unit_test(test_short),
		cmocka_unit_test(test_mux),       cmocka_unit_test(test_lines),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests_name("ssh", tests, NULL, NULL);
}
