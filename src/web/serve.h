/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine as a web page, for reading. */
#ifndef BYWAY_WEB_SERVE_H
#define BYWAY_WEB_SERVE_H

struct err;

struct serve_config {
	const char *where; /* listen.h */
	/* Called when it answers. */
	void (*ready)(void *arg, const char *url);
	void *arg;
};

/* Serves until SIGTERM, SIGINT or SIGHUP. */
int web_serve(const struct serve_config *c, struct err *err);

#endif
