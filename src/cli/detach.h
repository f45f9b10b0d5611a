/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Going on in the background, once there is something to go on with. */
#ifndef BYWAY_CLI_DETACH_H
#define BYWAY_CLI_DETACH_H

#include <sys/select.h>

struct cli;

struct detached {
	int pipe;      /* to the command that waits, or -1: in the foreground, or nobody waits any more */
	fd_set others; /* descriptors that whoever started the command had open */
};

#define IN_FOREGROUND ((struct detached){.pipe = -1})

/* Forks. Returns 0 in the child only, which tells by *ret how the command ends: cli_detach_done().
 * The parent waits for that, or for the child's end, and passes it on. */
int cli_detach(struct cli *c, struct detached *ret);
/* The command's exit status, while we go on: leaves the terminal, and what is others' (a lock, or
 * the end of a pipe). In the foreground nothing happens. */
void cli_detach_done(struct detached *d, int status);

#endif
