/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the web page is to be had: on this machine and nowhere else. */
#ifndef BYWAY_WEB_LISTEN_H
#define BYWAY_WEB_LISTEN_H

#include <stdbool.h>
#include <sys/un.h>

#include "base/ip.h"

struct err;

#define LISTEN_DEFAULT "127.0.0.1:8642"

struct listener {
	int fd;
	char url[160];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of a Unix socket; "" */
};

/* "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT", of which port 0 is any free one, or
 * "unix:PATH", which is the caller's alone. ERR_USAGE: it is no such thing, or not of this machine
 * alone. */
int listen_open(const char *where, struct listener *ret, struct err *err);
/* A Unix socket's file goes. */
void listen_close(struct listener *l);

/* 127.0.0.0/8 and ::1 */
bool listen_is_loopback(const struct ip *ip);

#endif
