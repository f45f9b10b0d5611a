/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What OpenSSH's client says on stderr, and servers of a channel that was not opened, as what it
 * means for us. Their words are all there is: ssh(1) exits with 255 whatever happened. */
#ifndef BYWAY_TUNNEL_SSH_ERROR_H
#define BYWAY_TUNNEL_SSH_ERROR_H

#include <stdbool.h>

#include "tunnel/dialer.h"

/* The worse ones later: of several lines, the worst is the reason. */
enum ssh_error {
	SSH_ERROR_NONE,
	SSH_ERROR_LOST,        /* a connection that was there broke */
	SSH_ERROR_TIMEOUT,     /* the server does not answer, or not any more */
	SSH_ERROR_UNREACHABLE, /* no way to it, or no such name */
	SSH_ERROR_REFUSED,     /* nobody listens there */
	/* From here on trying again would not help. */
	SSH_ERROR_CONFIG,   /* ssh does not start like this */
	SSH_ERROR_AUTH,     /* the server does not take the user's keys or password */
	SSH_ERROR_HOST_KEY, /* the server's key is unknown, or another than it was */
	SSH_NUM_ERRORS,
};

const char *ssh_error_name(enum ssh_error e);
bool ssh_error_is_final(enum ssh_error e);
/* SSH_ERROR_NONE for a line that tells of no failure. */
enum ssh_error ssh_error_of_line(const char *line);
/* A channel's failure, by enum ssh_open_reason and the server's description. */
enum dial_status ssh_open_status(unsigned int reason, const char *description);

#endif
