/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How openconnect(8) is started, and what its words and its end mean.
 *
 * Its words are English only in the C locale (LC_ALL=C). Errors are on stderr, progress on stdout.
 */
#ifndef BYWAY_SESSION_OPENCONNECT_H
#define BYWAY_SESSION_OPENCONNECT_H

#include <stdbool.h>
#include <stddef.h>

#include "session/file.h"

struct ip;
struct session_spec;

enum end_class {
	END_NONE,
	END_AUTH,        /* the server does not accept the credentials */
	END_CERTIFICATE, /* its certificate is not to be trusted */
	END_UNREACHABLE, /* it is not there */
	END_REFUSED,     /* it is there and said no: session expired or ended, too many clients */
	END_CRASHED,     /* openconnect ended in a way that it should not */
	END_STALLED,     /* it runs, and nothing goes through */
	END_NUM_CLASSES,
};
const char *end_class_name(enum end_class c); /* "authentication", "certificate", … */

/* Whether an argument of the file's extra_args would take away what byway relies on (--script,
 * --background, …), stand beside a key of the file (--user), or put a secret where others see it;
 * NULL if not, else why, as a sentence's end: "is what byway relies on". next: the argument behind
 * it, or NULL. */
const char *openconnect_refuses(const char *arg, const char *next);

/* The server's name or address as it stands in `server` ("https://vpn.example.com:4443/group"),
 * without brackets. -EINVAL: there is none. -ENAMETOOLONG. */
int openconnect_host(const char *server, char *ret, size_t size);

/* The arguments, NULL at the end; freed by openconnect_args_free(). addr: that the server's name
 * stands for; NULL when the server is given by address. hook: the command of --script. There is no
 * secret in them: the password is the first line that openconnect reads. It says as much as byway
 * must see on every level; what of it is logged below SESSION_LOG_INFO is the caller's to choose.
 */
char **openconnect_args(const struct session_spec *spec, enum session_log_level level,
			const struct ip *addr, const char *hook);
void openconnect_args_free(char **args);

/* What is known from its lines so far. Zeroed before the first. */
struct openconnect_said {
	enum end_class hint; /* what an end would be about */
	bool vague;          /* that is a guess */
	char reason[256];    /* its words for that */
	bool dtls;           /* datagrams go by DTLS (or ESP), not over the TLS stream */
	bool authenticated;  /* the credentials were accepted */
};
/* One line, without its end; of stdout or stderr, in whatever order they come. */
void openconnect_line(struct openconnect_said *said, const char *line);
/* Its exit status, or 128 + signal. Fills said->reason when there is none. */
enum end_class openconnect_ended(struct openconnect_said *said, int status);

#endif
