/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How ssh is started: its words, environment and user, made once from the configuration. The same
 * for all connections; nothing changes later but the mode, and words that an old ssh does not know.
 */
#ifndef BYWAY_TUNNEL_SSH_SETUP_H
#define BYWAY_TUNNEL_SSH_SETUP_H

#include <stddef.h>

#include "proc/child.h"
#include "proc/run.h"
#include "tunnel/ssh.h"
#include "tunnel/ssh_where.h"

struct ssh_setup {
	char **argv, **env;
	char program[RUN_PROGRAM_MAX], *run_dir;
	struct child_user user;
	bool as_user, terminal;
	gid_t *groups;
	uint32_t window_bytes;
	enum ssh_mode mode;
	unsigned int proxy_deaths; /* of ssh's own doing, in a row */
	struct ssh_where where;
	size_t next_address;
};

/* Places in argv. */
#define SSH_WORD_HOST 1
#define SSH_WORD_ALIAS 2
#define SSH_WORD_PATH 6 /* of a master's control socket */
#define SSH_WORD_NO_FORK 7

#define SSH_RUN_DIR_MAX 64

enum ssh_purpose {
	SSH_FOR_MASTER,
	SSH_FOR_COMMAND,  /* a connection of its own, for a command there: one line for its shell */
	SSH_FOR_QUESTION, /* says what its configuration is, and ends */
};

/* command: NULL but for SSH_FOR_COMMAND. */
int ssh_setup_init(struct ssh_setup *s, enum ssh_purpose purpose, const struct ssh_config *config,
		   const char *command, struct err *err);
void ssh_setup_done(struct ssh_setup *s);
/* The server is not there, or not any more: another of its addresses, if that is known. */
void ssh_setup_next_address(struct ssh_setup *s);
/* Starts ssh for a connection; it ends with the calling thread. Descriptors as in child_spec. */
int ssh_setup_start(const struct ssh_setup *s, int in, int out, int err_fd, struct child *ret,
		    struct err *err);
void ssh_setup_set_word(struct ssh_setup *s, size_t i, const char *word);

#endif
