/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that talks HTTP: GET and HEAD, of what is told over the channel. It owns nothing: no
 * privileges, no user's files, no system calls but those that reading and writing need.
 */
#ifndef BYWAY_WEB_SERVER_H
#define BYWAY_WEB_SERVER_H

#include <stdbool.h>

struct err;

/* Serves connections of the listening socket until the channel ends. is_tcp: a browser can be made
 * to come here under another name, so that the name is looked at. */
int server_run(int listener, int channel, bool is_tcp, struct err *err);

#endif
