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

struct ssh_setup {
	char **argv, **env;
	char program[RUN_PROGRAM_MAX], *run_dir;
	struct child_user user;
	bool as_user, terminal;
	gid_t *groups;
	uint32_t window_bytes;
	enum ssh_mode mode;
	unsigned int proxy_deaths; /* of ssh's own doing, in a row */
};

/* Places in argv. */
#define SSH_WORD_PATH 4 /* of the control socket */
#define SSH_WORD_NO_FORK 5

#define SSH_RUN_DIR_MAX 64

/* For a master. */
int ssh_setup_init(struct ssh_setup *s, const struct ssh_config *config, struct err *err);
/* For a connection that runs a command there, one line for its shell; there are no places in argv.
 */
int ssh_setup_init_command(struct ssh_setup *s, const struct ssh_config *config,
			   const char *command, struct err *err);
void ssh_setup_done(struct ssh_setup *s);
void ssh_setup_set_word(struct ssh_setup *s, size_t i, const char *word);

#endif
