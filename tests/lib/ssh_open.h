/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dialer over SSH as the environment describes it:
 *
 *   SSH_WORDS        for ssh's command line, separated by blanks
 *   SSH_CONNECTIONS  how many; SSH_MODE proxy|passenger
 *   SSH_WAIT_MS      how long dials wait; SSH_WINDOW bytes
 *   SSH_GID          ssh's primary group
 *   SSH_SUDO         when set, ssh runs as the user who called sudo
 *   SSH_RUN          where control sockets are; /run
 */
#ifndef BYWAY_TESTS_SSH_OPEN_H
#define BYWAY_TESTS_SSH_OPEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proc/user.h"
#include "tunnel/dialer.h"
#include "tunnel/ssh.h"

#define SSH_WORDS_MAX 64

static inline unsigned int ssh_env_number(const char *name)
{
	const char *value = getenv(name);

	return value ? (unsigned int)strtoul(value, NULL, 10) : 0;
}

static inline enum ssh_mode ssh_env_mode(void)
{
	const char *mode = getenv("SSH_MODE") ?: "";

	if (!strcmp(mode, "proxy"))
		return SSH_MODE_PROXY;
	return !strcmp(mode, "passenger") ? SSH_MODE_PASSENGER : SSH_MODE_AUTO;
}

static inline struct dialer *ssh_open(const char *destination)
{
	char *text = strdup(getenv("SSH_WORDS") ?: ""), *rest = text;
	const char *words[SSH_WORDS_MAX + 1] = {0};
	struct user user = {0};
	struct ssh_config config = {
		.destination = destination,
		.options = words,
		.connections = ssh_env_number("SSH_CONNECTIONS"),
		.run_dir = getenv("SSH_RUN") ?: "/run",
		.gid = ssh_env_number("SSH_GID"),
		.mode = ssh_env_mode(),
		.wait_ms = ssh_env_number("SSH_WAIT_MS"),
		.window_bytes = ssh_env_number("SSH_WINDOW"),
		.alive_interval_s = 1,
		.alive_count = 2,
	};
	struct dialer *d = NULL;
	struct err err = {0};
	size_t n = 0;
	int r = 0;

	for (char *word; n < SSH_WORDS_MAX && (word = strtok_r(rest, " ", &rest));)
		words[n++] = word;
	if (getenv("SSH_SUDO")) {
		r = user_invoking(&user, &err);
		config.user = &user;
	}
	if (!r)
		r = dialer_ssh(&config, &d, &err);
	if (r) {
		fprintf(stderr, "%s\n", err.msg);
		exit(2);
	}
	user_done(&user);
	free(text);
	return d;
}

#endif
