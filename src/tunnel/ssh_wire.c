// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "tunnel/ssh_wire.h"

/* Who opens a forwarded connection, which servers want to know and nobody uses. */
#define ORIGINATOR "127.0.0.1"

/* ---- Reading ---- */

struct reader {
	const unsigned char *at;
	size_t left;
	bool bad;
};

static const unsigned char *take(struct reader *r, size_t n)
{
	const unsigned char *at = r->at;

	if (n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return at;
}

static uint32_t load_u32(const unsigned char *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	return be32toh(n);
}

static uint32_t take_u32(struct reader *r)
{
	const unsigned char *at = take(r, 4);

	return at ? load_u32(at) : 0;
}

static unsigned int take_byte(struct reader *r)
{
	const unsigned char *at = take(r, 1);

	return at ? *at : 0;
}

static void take_string(struct reader *r, const unsigned char **ret, size_t *ret_len)
{
	uint32_t len = take_u32(r);

	*ret = take(r, len);
	*ret_len = *ret ? len : 0;
}

int ssh_frame(const unsigned char *data, size_t len, const unsigned char **ret_body,
	      size_t *ret_len)
{
	uint32_t body;

	if (len < 4)
		return 0;
	body = load_u32(data);
	if (body > SSH_FRAME_MAX)
		return -EPROTO;
	if (len - 4 < body)
		return 0;
	*ret_body = data + 4;
	*ret_len = body;
	return 1;
}

static void read_open(struct reader *r, struct ssh_message *m)
{
	take_string(r, &m->data, &m->len);
	m->channel = take_u32(r);
}

static void read_confirmation(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	m->sender = take_u32(r);
	m->window = take_u32(r);
	m->max_packet = take_u32(r);
}

static void read_failure(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	m->reason = take_u32(r);
	take_string(r, &m->data, &m->len);
}

static void read_adjust(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	m->window = take_u32(r);
}

static void read_data(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	take_string(r, &m->data, &m->len);
}

static void read_extended_data(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	take_u32(r); /* what kind */
	take_string(r, &m->data, &m->len);
}

static void read_plain(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
}

static void read_request(struct reader *r, struct ssh_message *m)
{
	m->channel = take_u32(r);
	take_string(r, &m->data, &m->len);
	m->want_reply = take_byte(r);
}

static void read_global_request(struct reader *r, struct ssh_message *m)
{
	take_string(r, &m->data, &m->len);
	m->want_reply = take_byte(r);
}

static void (*const readers[])(struct reader *, struct ssh_message *) = {
	[SSH_GLOBAL_REQUEST] = read_global_request,
	[SSH_CHANNEL_OPEN] = read_open,
	[SSH_CHANNEL_OPEN_CONFIRMATION] = read_confirmation,
	[SSH_CHANNEL_OPEN_FAILURE] = read_failure,
	[SSH_CHANNEL_WINDOW_ADJUST] = read_adjust,
	[SSH_CHANNEL_DATA] = read_data,
	[SSH_CHANNEL_EXTENDED_DATA] = read_extended_data,
	[SSH_CHANNEL_EOF] = read_plain,
	[SSH_CHANNEL_CLOSE] = read_plain,
	[SSH_CHANNEL_REQUEST] = read_request,
	[SSH_CHANNEL_SUCCESS] = read_plain,
	[SSH_CHANNEL_FAILURE] = read_plain,
};

int ssh_message_parse(const unsigned char *body, size_t len, struct ssh_message *ret)
{
	struct reader r = {.at = body, .left = len};
	struct ssh_message m = {0};

	take_byte(&r); /* the length of a padding that there is not */
	m.type = take_byte(&r);
	if (m.type < ARRAY_SIZE(readers) && readers[m.type])
		readers[m.type](&r, &m);
	if (r.bad)
		return -EPROTO;
	*ret = m;
	return 0;
}

int ssh_mux_message_parse(const unsigned char *body, size_t len, struct ssh_mux_message *ret)
{
	struct reader r = {.at = body, .left = len};
	struct ssh_mux_message m = {0};

	m.type = take_u32(&r);
	m.number = take_u32(&r);
	if (m.type == (uint32_t)SSH_MUX_FAILURE || m.type == (uint32_t)SSH_MUX_PERMISSION_DENIED)
		take_string(&r, &m.text, &m.len);
	if (r.bad)
		return -EPROTO;
	*ret = m;
	return 0;
}

/* ---- Writing ---- */

static void put_u32(struct buf *b, uint32_t n)
{
	n = htobe32(n);
	buf_add(b, &n, sizeof(n));
}

static void put_string(struct buf *b, const char *s)
{
	put_u32(b, (uint32_t)strlen(s));
	buf_adds(b, s);
}

/* Begins a frame; where, is for end(). */
static size_t begin(struct buf *b)
{
	size_t at = b->len;

	put_u32(b, 0);
	return at;
}

static void end(struct buf *b, size_t at)
{
	uint32_t len = htobe32((uint32_t)(b->len - at - 4));

	memcpy(b->data + at, &len, sizeof(len));
}

static size_t begin_message(struct buf *b, enum ssh_type type)
{
	const char head[] = {0, (char)type};
	size_t at = begin(b);

	buf_add(b, head, sizeof(head));
	return at;
}

void ssh_put_hello(struct buf *b)
{
	size_t at = begin(b);

	put_u32(b, SSH_MUX_HELLO);
	put_u32(b, SSH_MUX_VERSION);
	end(b, at);
}

void ssh_put_proxy(struct buf *b, uint32_t request)
{
	size_t at = begin(b);

	put_u32(b, SSH_MUX_PROXY);
	put_u32(b, request);
	end(b, at);
}

void ssh_put_stdio_fwd(struct buf *b, uint32_t request, const char *host, uint16_t port)
{
	size_t at = begin(b);

	put_u32(b, SSH_MUX_NEW_STDIO_FWD);
	put_u32(b, request);
	put_string(b, "");
	put_string(b, host);
	put_u32(b, port);
	end(b, at);
}

void ssh_put_open(struct buf *b, uint32_t channel, uint32_t window, const char *host, uint16_t port)
{
	size_t at = begin_message(b, SSH_CHANNEL_OPEN);

	put_string(b, "direct-tcpip");
	put_u32(b, channel);
	put_u32(b, window);
	put_u32(b, SSH_DATA_MAX);
	put_string(b, host);
	put_u32(b, port);
	put_string(b, ORIGINATOR);
	put_u32(b, 0);
	end(b, at);
}

void ssh_put_plain(struct buf *b, enum ssh_type type, uint32_t channel)
{
	size_t at = begin_message(b, type);

	put_u32(b, channel);
	end(b, at);
}

void ssh_put_ping(struct buf *b, uint32_t channel)
{
	size_t at = begin_message(b, SSH_CHANNEL_REQUEST);

	put_u32(b, channel);
	put_string(b, "keepalive@openssh.com");
	buf_add(b, "\1", 1);
	end(b, at);
}

void ssh_put_adjust(struct buf *b, uint32_t channel, uint32_t bytes)
{
	size_t at = begin_message(b, SSH_CHANNEL_WINDOW_ADJUST);

	put_u32(b, channel);
	put_u32(b, bytes);
	end(b, at);
}

void ssh_put_open_failure(struct buf *b, uint32_t channel)
{
	size_t at = begin_message(b, SSH_CHANNEL_OPEN_FAILURE);

	put_u32(b, channel);
	put_u32(b, SSH_OPEN_PROHIBITED);
	put_string(b, "");
	put_string(b, "");
	end(b, at);
}

void ssh_put_request_failure(struct buf *b)
{
	end(b, begin_message(b, SSH_REQUEST_FAILURE));
}

void ssh_write_data_header(unsigned char at[SSH_DATA_HEADER], uint32_t channel, uint32_t len)
{
	const uint32_t body = htobe32(SSH_DATA_HEADER - 4 + len);

	channel = htobe32(channel);
	memcpy(at, &body, 4);
	at[4] = 0;
	at[5] = SSH_CHANNEL_DATA;
	memcpy(at + 6, &channel, 4);
	len = htobe32(len);
	memcpy(at + 10, &len, 4);
}
