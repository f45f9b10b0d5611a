/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A password while it is needed. */
#ifndef BYWAY_SESSION_SECRET_H
#define BYWAY_SESSION_SECRET_H

#include "session/session.h"

struct err;

#define SECRET_MAX 1024

struct secret {
	char text[SECRET_MAX]; /* terminated, without the end of a line */
};

void secret_wipe(struct secret *s);

/* A password that is text or in a file; SECRET_NONE: empty. */
int secret_read(const struct session_secret *from, struct secret *ret, struct err *err);
/* What a command wrote: its first line. */
int secret_take_line(struct secret *ret, const char *text, size_t len, struct err *err);
/* A pipe from which openconnect reads the password, as a line. */
int secret_pipe(const struct secret *s, int *ret_fd, struct err *err);

#endif
