/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Going on in the background, once there is something to go on with. */
#ifndef BYWAY_CLI_DETACH_H
#define BYWAY_CLI_DETACH_H

struct cli;

/* Forks. Returns 0 in the child only, which tells by *ret_pipe how the command ends: detach_done().
 * The parent waits for that, or for the child's end, and passes it on. */
int cli_detach(struct cli *c, int *ret_pipe);
/* The command's exit status, while we go on: leaves the terminal. *pipe -1: in the foreground,
 * nothing happens. */
void cli_detach_done(int *pipe, int status);

#endif
