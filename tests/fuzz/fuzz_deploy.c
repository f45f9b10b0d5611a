// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a server may say while an agent is brought to it. However the bytes are cut, the conversation
 * comes to the same end.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#include "tunnel/deploy.c"

#define SAY_MAX 8192 /* less than a socket holds */

static const uint8_t program[] = "a program";
static const struct agent_binary binaries[] = {{"x86_64", program, program + 9, "0123"}, {0}};

static enum deploy_status converse(struct deploy *d, const uint8_t *data, size_t size, size_t piece)
{
	enum deploy_status s;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	s = deploy_start(d, pair[0], binaries, 1000);
	for (size_t at = 0; at < size && s == DEPLOY_PENDING; at += piece) {
		if (write(pair[1], data + at, MIN(piece, size - at)) < 0)
			abort();
		s = deploy_step(d, 1000);
	}
	close(pair[1]);
	if (s == DEPLOY_PENDING)
		s = deploy_step(d, 1000);
	close(pair[0]);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct deploy whole, cut;
	enum deploy_status s;

	size = MIN(size, SAY_MAX);
	s = converse(&whole, data, size, size + 1);
	if (s == DEPLOY_PENDING || strnlen(whole.reason, sizeof(whole.reason)) == sizeof(whole.reason))
		abort();
	for (const char *p = whole.reason; *p; p++)
		if (*p < ' ' || *p > '~')
			abort();
	/* Bytes behind the HELLO are only seen when they come with it. */
	if (converse(&cut, data, size, 1) != s && s != DEPLOY_BROKEN)
		abort();
	return 0;
}
