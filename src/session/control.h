/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Talking to the process of a group: one request a connection, one answer (unix(7),
 * SOCK_SEQPACKET).
 *
 * A request is a verb and a session's name, each ended by a NUL, and the environment behind them
 * when the verb is "hook". The answer is a result with its sentence.
 */
#ifndef BYWAY_SESSION_CONTROL_H
#define BYWAY_SESSION_CONTROL_H

#include <stddef.h>

#include "vpc/vpc.h"

struct err;

#define CONTROL_MAX (128 * 1024) /* bytes of a request */

enum control_verb {
	CONTROL_HOOK,    /* openconnect's script was called */
	CONTROL_RESTART, /* start it anew, now, whatever it is waiting for */
	CONTROL_CHECK,   /* ask through the tunnel */
	CONTROL_DOWN,    /* end this session and take it away */
	CONTROL_NUM_VERBS,
};

/* The socket at path, which only root can use. One that is there is replaced: the caller holds the
 * group's lock. */
int control_listen(const char *path, int *ret_fd, struct err *err);

struct control_request {
	enum control_verb verb;
	char name[NAME_MAX_LEN];
	const char *env; /* inside buf */
	size_t env_len;
};
/* Reads the request of an accepted connection into buf of CONTROL_MAX bytes. -EAGAIN: not there
 * yet; -EBADMSG: it makes no sense, or there is none. */
int control_read(int fd, char *buf, struct control_request *ret);
/* result->code 0: it is done. */
void control_answer(int fd, const struct err *result);
/* The same, and closes the connection, which becomes -1. It may be that already: nothing. */
void control_finish(int *fd, const struct err *result);

/* Asks and waits for the answer, which is the result; -ECONNREFUSED or -ENOENT: nobody is there. */
int control_ask(const char *path, enum control_verb verb, const char *name, const char *env,
		size_t env_len, struct err *err);

#endif
