/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bringing the agent to a server: the conversation with a POSIX shell there, over a descriptor
 * whose other end is the stdin and stdout of `ssh HOST DEPLOY_COMMAND`.
 *
 * Non-blocking, driven by the caller's event loop; nothing is allocated, and the descriptor stays
 * the caller's. Closing it at any time makes the server forget everything.
 */
#ifndef BYWAY_TUNNEL_DEPLOY_H
#define BYWAY_TUNNEL_DEPLOY_H

#include <stddef.h>
#include <stdint.h>

#include "agent/proto.h"

struct agent_binary;

/* One line, for whatever login shell it goes through. */
extern const char deploy_command[];

enum deploy_status {
	DEPLOY_PENDING,      /* wait for deploy->events on the descriptor */
	DEPLOY_DONE,         /* the agent runs, and its HELLO is deploy->hello: relay_attach() */
	DEPLOY_NO_SHELL,     /* something else than a shell answers, or none does */
	DEPLOY_NO_AGENT,     /* none for such a machine */
	DEPLOY_NO_DIRECTORY, /* none that may be written to, or run from */
	DEPLOY_REFUSED,      /* the server cannot, or does not want to run it */
	DEPLOY_TIMEOUT,
	DEPLOY_BROKEN, /* the channel ended, or what came through it was wrong: may be tried again
			*/
	DEPLOY_NUM_STATUSES,
};

const char *deploy_status_name(enum deploy_status s);

#define DEPLOY_TIMEOUT_MS 20000

struct deploy {
	uint32_t events;      /* EPOLLIN, EPOLLOUT: what to wait for */
	uint64_t deadline_ms; /* then step even without an event */
	struct proto_hello hello;
	char reason[256];    /* of a failure, for a person */
	char machine[64];    /* what the server is: "Linux x86_64"; "" until it has said so */
	char directory[128]; /* where the agent has run from */
	/* The conversation's own. */
	int fd;
	int state;
	const struct agent_binary *binaries, *binary; /* all, and the one for the machine */
	size_t out_at, out_len;                       /* of the greeting and then the binary */
	char greeting[128];
	size_t in_len;
	char in[1024];
	char noise[96]; /* the last line that was not ours */
};

/* Begins, with the table of binaries to choose from (agent_binaries, but for tests). */
enum deploy_status deploy_start(struct deploy *d, int fd, const struct agent_binary *binaries,
				uint64_t now_ms);
/* Goes on after events, or after the deadline. After any other status than DEPLOY_PENDING it is
 * over. */
enum deploy_status deploy_step(struct deploy *d, uint64_t now_ms);

#endif
