/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said on the control socket of an OpenSSH client: the messages of PROTOCOL.mux (in
 * OpenSSH's source), and in proxy mode, its section 9, those of the SSH connection protocol
 * (RFC 4254). Both are frames: a length and a body. Reading trusts nothing and copies nothing.
 */
#ifndef BYWAY_TUNNEL_SSH_WIRE_H
#define BYWAY_TUNNEL_SSH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* A body may not be longer: several times what we ask for, and the data that we take at once. */
#define SSH_FRAME_MAX 65536
/* The data of one message, both ways: OpenSSH's own limit for a channel of this kind. */
#define SSH_DATA_MAX 32768
/* Of a frame with data: length, padding, type, channel, length of the data. */
#define SSH_DATA_HEADER 14

enum ssh_type {
	SSH_DISCONNECT = 1,
	SSH_GLOBAL_REQUEST = 80,
	SSH_REQUEST_FAILURE = 82,
	SSH_CHANNEL_OPEN = 90,
	SSH_CHANNEL_OPEN_CONFIRMATION = 91,
	SSH_CHANNEL_OPEN_FAILURE = 92,
	SSH_CHANNEL_WINDOW_ADJUST = 93,
	SSH_CHANNEL_DATA = 94,
	SSH_CHANNEL_EXTENDED_DATA = 95,
	SSH_CHANNEL_EOF = 96,
	SSH_CHANNEL_CLOSE = 97,
	SSH_CHANNEL_REQUEST = 98,
	SSH_CHANNEL_SUCCESS = 99,
	SSH_CHANNEL_FAILURE = 100,
};

/* Why a channel was not opened (RFC 4254 5.1). */
enum ssh_open_reason {
	SSH_OPEN_PROHIBITED = 1,
	SSH_OPEN_CONNECT_FAILED = 2,
	SSH_OPEN_UNKNOWN_TYPE = 3,
	SSH_OPEN_RESOURCE_SHORTAGE = 4,
};

enum ssh_mux_type {
	SSH_MUX_HELLO = 0x00000001,
	SSH_MUX_NEW_STDIO_FWD = 0x10000008,
	SSH_MUX_PROXY = 0x1000000f,
	SSH_MUX_PERMISSION_DENIED = (int)0x80000002,
	SSH_MUX_FAILURE = (int)0x80000003,
	SSH_MUX_SESSION_OPENED = (int)0x80000006,
	SSH_MUX_PROXY_OK = (int)0x8000000f,
};

#define SSH_MUX_VERSION 4

/* A frame at the beginning of len bytes: 1 with its body, 0 when there is more to come, -EPROTO
 * when it is longer than any. */
int ssh_frame(const unsigned char *data, size_t len, const unsigned char **ret_body,
	      size_t *ret_len);

/* A message of the connection protocol. Fields that its type has not are 0. */
struct ssh_message {
	unsigned int type; /* enum ssh_type, or another */
	uint32_t channel;  /* the recipient's number; of an open the sender's */
	uint32_t sender;   /* of a confirmation */
	uint32_t window;   /* of a confirmation; what an adjustment adds */
	uint32_t max_packet;
	uint32_t reason;           /* enum ssh_open_reason, or another */
	const unsigned char *data; /* data; a failure's description; a request's name */
	size_t len;
	bool want_reply;
};

/* -EPROTO when it is shorter than it must be, or speaks of more than there is. */
int ssh_message_parse(const unsigned char *body, size_t len, struct ssh_message *ret);

struct ssh_mux_message {
	uint32_t type;
	uint32_t number; /* the version of a hello, the request's number of an answer */
	const unsigned char *text;
	size_t len; /* of a refusal */
};

int ssh_mux_message_parse(const unsigned char *body, size_t len, struct ssh_mux_message *ret);

/* ---- Writing: each appends one frame ---- */

void ssh_put_hello(struct buf *b);
void ssh_put_proxy(struct buf *b, uint32_t request);
void ssh_put_stdio_fwd(struct buf *b, uint32_t request, const char *host, uint16_t port);
/* A direct-tcpip channel (RFC 4254 7.2). */
void ssh_put_open(struct buf *b, uint32_t channel, uint32_t window, const char *host,
		  uint16_t port);
/* A message that has a recipient and nothing else: EOF, CLOSE, CHANNEL_SUCCESS, CHANNEL_FAILURE. */
void ssh_put_plain(struct buf *b, enum ssh_type type, uint32_t channel);
/* A channel request of no meaning, for which the server must answer CHANNEL_FAILURE. */
void ssh_put_ping(struct buf *b, uint32_t channel);
void ssh_put_adjust(struct buf *b, uint32_t channel, uint32_t bytes);
void ssh_put_open_failure(struct buf *b, uint32_t channel);
void ssh_put_request_failure(struct buf *b);
/* The header of a frame whose len bytes of data stand behind it. */
void ssh_write_data_header(unsigned char at[SSH_DATA_HEADER], uint32_t channel, uint32_t len);

#endif
