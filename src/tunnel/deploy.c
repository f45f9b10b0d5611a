// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation: bringing the agent to a server
 *
 *   server                                    byway
 *   runs the script, which reads a line       NONCE (names the directory)
 *   byway-agent: machine Linux x86_64
 *   byway-agent: directory /tmp/.byway-agent-NONCE
 *                                             SIZE SHA256, and SIZE bytes
 *   byway-agent: start
 *   (the agent, in place of the shell) HELLO
 *
 * Each side waits for the other at every turn of the conversation, so neither reads more than is
 * meant for it: what the shell's tools read ahead is lost to the agent, and must be nothing.
 *
 * The script uses what POSIX has, and of that nothing that csh or fish would take for theirs within
 * single quotes: no quote, no backslash, no exclamation mark, no line break. A directory is good
 * when a script in it can be run: on a noexec file system execve(2) fails with EACCES, elsewhere
 * with ENOEXEC, and then the shell runs it itself (POSIX 2.9.1). Whatever goes wrong, and when the
 * connection ends, the trap removes the directory; the agent does so itself, first of all, once it
 * runs.
 *
 * What the login shell or its files print is not ours, and skipped, as are lines beyond what we
 * hold.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "base/util.h"
#include "tunnel/deploy.h"

#define MARK "byway-agent: "
#define NOISE_MAX (64u << 10) /* read in one step, before others have their turn */

/* clang-format off */
const char deploy_command[] =
	"exec sh -c '"
	"say() { echo \"byway-agent: $*\"; }; "
	"no() { say \"$@\"; exit 1; }; "
	"d=; r() { [ -z \"$d\" ] || rm -rf \"$d\"; }; "
	"trap r 0; trap \"exit 1\" 1 2 13 15; umask 077; "
	"read -r i || exit 1; "
	"say machine $(uname -s) $(uname -m); "
	"w=unwritable; "
	"for p in /tmp \"$TMPDIR\" \"$XDG_RUNTIME_DIR\" \"$HOME\"; do "
		"[ -n \"$p\" ] && [ -d \"$p\" ] || continue; "
		"d=$p/.byway-agent-$i; "
		"mkdir -m 700 \"$d\" 2>/dev/null || { d=; continue; }; "
		"w=noexec; "
		"{ echo exit 0 >\"$d/agent\" && chmod 700 \"$d/agent\" && \"$d/agent\"; } 2>/dev/null && break; "
		"r; d=; "
	"done; "
	"[ -n \"$d\" ] || no $w; "
	"say directory \"$d\"; "
	"read -r n h || exit 1; "
	"if head -c 1 </dev/null >/dev/null 2>&1; then head -c \"$n\"; "
		"else dd bs=1 count=\"$n\" 2>/dev/null; fi >\"$d/agent\"; "
	"[ $(wc -c <\"$d/agent\") -eq \"$n\" ] || no short; "
	"if command -v sha256sum >/dev/null 2>&1; then "
		"s=$(sha256sum <\"$d/agent\"); [ \"${s%% *}\" = \"$h\" ] || no corrupt; fi; "
	"\"$d/agent\" -V </dev/null >/dev/null 2>&1 || no refused; "
	"say start; "
	"exec \"$d/agent\" \"$d\"'";
/* clang-format on */

enum state { WAIT_DIRECTORY, WAIT_START, WAIT_HELLO };

static const char *const status_names[] = {
	[DEPLOY_PENDING] = "pending",           [DEPLOY_DONE] = "done",
	[DEPLOY_NO_SHELL] = "no shell",         [DEPLOY_NO_AGENT] = "no agent",
	[DEPLOY_NO_DIRECTORY] = "no directory", [DEPLOY_REFUSED] = "refused",
	[DEPLOY_TIMEOUT] = "timed out",         [DEPLOY_BROKEN] = "broken",
};
static_assert(ARRAY_SIZE(status_names) == DEPLOY_NUM_STATUSES, "every status has a name");

const char *deploy_status_name(enum deploy_status s)
{
	return status_names[s];
}

_printf_(3, 4) static enum deploy_status
	fail(struct deploy *d, enum deploy_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->reason, sizeof(d->reason), fmt, ap);
	va_end(ap);
	d->events = 0;
	return status;
}

/* ---- Out ---- */

/* What is left of the greeting, and of the binary once that is known. */
static enum deploy_status write_on(struct deploy *d)
{
	const struct agent_binary *b = d->state == WAIT_DIRECTORY ? NULL : d->binary;
	size_t head = d->out_len, body = b ? (size_t)(b->end - b->start) : 0;

	while (d->out_at < head + body) {
		bool in_head = d->out_at < head;
		const void *p = in_head ? (const void *)(d->greeting + d->out_at)
					: (const void *)(b->start + (d->out_at - head));
		ssize_t n = send(d->fd, p, (in_head ? head : head + body) - d->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			break; /* reading says why */
		if (n < 0) {
			d->events = EPOLLIN | EPOLLOUT;
			return DEPLOY_PENDING;
		}
		d->out_at += (size_t)n;
	}
	d->events = EPOLLIN;
	return DEPLOY_PENDING;
}

_printf_(2, 3) static void greet(struct deploy *d, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(d->greeting, sizeof(d->greeting), fmt, ap);
	va_end(ap);
	assert(n > 0 && (size_t)n < sizeof(d->greeting));
	d->out_at = 0;
	d->out_len = (size_t)n;
}

/* ---- In ---- */

static enum deploy_status on_machine(struct deploy *d, const char *words)
{
	str_printable(d->machine, sizeof(d->machine), words, strlen(words));
	for (const struct agent_binary *b = d->binaries; b->machine; b++) {
		if (strncmp(words, "Linux ", 6) != 0 || strcmp(words + 6, b->machine) != 0)
			continue;
		d->binary = b;
		return DEPLOY_PENDING;
	}
	return fail(d, DEPLOY_NO_AGENT, "TCP only: there is no agent for %s", d->machine);
}

static enum deploy_status on_directory(struct deploy *d, const char *words)
{
	const struct agent_binary *b = d->binary;

	if (!b)
		return fail(d, DEPLOY_BROKEN, "the server's shell speaks out of turn");
	str_printable(d->directory, sizeof(d->directory), words, strlen(words));
	greet(d, "%td %s\n", b->end - b->start, b->sha256);
	d->state = WAIT_START;
	return DEPLOY_PENDING;
}

static enum deploy_status on_start(struct deploy *d, const char *words)
{
	(void)words;
	d->state = WAIT_HELLO;
	return DEPLOY_PENDING;
}

static enum deploy_status on_unwritable(struct deploy *d, const char *words)
{
	(void)words;
	return fail(
		d, DEPLOY_NO_DIRECTORY,
		"TCP only: on the server, none of /tmp, $TMPDIR, $XDG_RUNTIME_DIR and $HOME can be "
		"written to");
}

static enum deploy_status on_noexec(struct deploy *d, const char *words)
{
	(void)words;
	return fail(d, DEPLOY_NO_DIRECTORY,
		    "TCP only: on the server, no program may be run from /tmp, $TMPDIR, "
		    "$XDG_RUNTIME_DIR or $HOME (noexec)");
}

static enum deploy_status on_short(struct deploy *d, const char *words)
{
	(void)words;
	return fail(d, DEPLOY_NO_DIRECTORY, "TCP only: the server has no room for the agent in %s",
		    d->directory);
}

static enum deploy_status on_corrupt(struct deploy *d, const char *words)
{
	(void)words;
	return fail(d, DEPLOY_BROKEN, "the agent did not arrive on the server as it was sent");
}

static enum deploy_status on_refused(struct deploy *d, const char *words)
{
	(void)words;
	return fail(d, DEPLOY_REFUSED, "TCP only: the server (%s) does not run the agent",
		    d->machine);
}

static const struct {
	const char *word;
	enum state state;
	enum deploy_status (*handle)(struct deploy *d, const char *words);
} lines[] = {
	{"machine", WAIT_DIRECTORY, on_machine},
	{"directory", WAIT_DIRECTORY, on_directory},
	{"unwritable", WAIT_DIRECTORY, on_unwritable},
	{"noexec", WAIT_DIRECTORY, on_noexec},
	{"start", WAIT_START, on_start},
	{"short", WAIT_START, on_short},
	{"corrupt", WAIT_START, on_corrupt},
	{"refused", WAIT_START, on_refused},
};

static enum deploy_status on_line(struct deploy *d, char *line)
{
	char *words;
	size_t len;

	if (strncmp(line, MARK, strlen(MARK)) != 0) {
		if (line[strspn(line, " \t\r")])
			str_printable(d->noise, sizeof(d->noise), line, strlen(line));
		return DEPLOY_PENDING;
	}
	line += strlen(MARK);
	len = strcspn(line, " ");
	words = line[len] ? line + len + 1 : line + len;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if ((int)lines[i].state == d->state && strlen(lines[i].word) == len &&
		    !strncmp(line, lines[i].word, len))
			return lines[i].handle(d, words);
	return fail(d, DEPLOY_BROKEN, "the server's shell speaks out of turn");
}

static void drop_input(struct deploy *d, size_t n)
{
	d->in_len -= n;
	memmove(d->in, d->in + n, d->in_len);
}

/* The lines that are complete, until one changes what is to be done. */
static enum deploy_status take_lines(struct deploy *d)
{
	enum deploy_status s = DEPLOY_PENDING;
	char *end;

	while (s == DEPLOY_PENDING && d->state != WAIT_HELLO &&
	       (end = memchr(d->in, '\n', d->in_len))) {
		*end = '\0';
		s = on_line(d, d->in);
		drop_input(d, (size_t)(end - d->in) + 1);
	}
	/* A line that is longer than any of ours. */
	if (d->state != WAIT_HELLO && d->in_len == sizeof(d->in))
		d->in_len = 0;
	return s;
}

static enum deploy_status take_hello(struct deploy *d)
{
	struct frame f;
	size_t used;
	int r = frame_parse(FROM_AGENT, (const uint8_t *)d->in, d->in_len, &f, &used);

	if (r == 0)
		return DEPLOY_PENDING;
	/* It waits for ours: nothing comes behind it. */
	if (r < 0 || f.type != FRAME_HELLO || used != d->in_len)
		return fail(d, DEPLOY_BROKEN, "what was started on the server is no agent");
	if (f.hello.version != PROTO_VERSION)
		return fail(d, DEPLOY_BROKEN, "the agent speaks version %u, and byway %u",
			    f.hello.version, PROTO_VERSION);
	d->hello = f.hello;
	d->events = 0;
	return DEPLOY_DONE;
}

static enum deploy_status on_end(struct deploy *d)
{
	if (d->state != WAIT_DIRECTORY)
		return fail(d, DEPLOY_BROKEN, "the server ended the session before the agent ran");
	if (d->machine[0])
		return fail(d, DEPLOY_BROKEN, "the server's shell ended too early");
	if (d->noise[0])
		return fail(d, DEPLOY_NO_SHELL,
			    "TCP only: the server runs no shell for this user, "
			    "but says: %s",
			    d->noise);
	return fail(d, DEPLOY_NO_SHELL, "TCP only: the server runs no shell for this user");
}

/* Reads once: 0, -EAGAIN, or -EPIPE at the end. */
static int read_more(struct deploy *d)
{
	ssize_t n;

	do
		n = recv(d->fd, d->in + d->in_len, sizeof(d->in) - d->in_len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return -EPIPE;
	d->in_len += (size_t)n;
	return 0;
}

static enum deploy_status read_on(struct deploy *d)
{
	enum deploy_status s = DEPLOY_PENDING;

	for (size_t total = 0; s == DEPLOY_PENDING && total < NOISE_MAX; total += sizeof(d->in)) {
		int r = read_more(d);

		if (r)
			return r == -EAGAIN ? s : on_end(d);
		s = take_lines(d);
		if (s == DEPLOY_PENDING && d->state == WAIT_HELLO)
			s = take_hello(d);
	}
	return s;
}

/* ---- Steps ---- */

static enum deploy_status time_is_up(struct deploy *d)
{
	if (d->machine[0])
		return fail(d, DEPLOY_TIMEOUT, "the agent was not up on the server in time");
	if (d->noise[0])
		return fail(d, DEPLOY_NO_SHELL,
			    "TCP only: no shell answers on the server, which "
			    "says: %s",
			    d->noise);
	return fail(d, DEPLOY_TIMEOUT, "no shell has answered on the server in time");
}

enum deploy_status deploy_step(struct deploy *d, uint64_t now_ms)
{
	enum deploy_status s = read_on(d);

	if (s == DEPLOY_PENDING)
		s = write_on(d);
	if (s == DEPLOY_PENDING && now_ms >= d->deadline_ms)
		return time_is_up(d);
	return s;
}

enum deploy_status deploy_start(struct deploy *d, int fd, const struct agent_binary *binaries,
				uint64_t now_ms)
{
	unsigned long long nonce;

	while (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		;
	*d = (struct deploy){.fd = fd,
			     .deadline_ms = now_ms + DEPLOY_TIMEOUT_MS,
			     .state = WAIT_DIRECTORY,
			     .binaries = binaries};
	greet(d, "%016llx\n", nonce);
	return write_on(d);
}
