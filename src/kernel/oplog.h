/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What we ask the kernel for, in words: `-v` echoes each operation, `--dry-run` only echoes.
 *
 * Every call that changes the kernel first says so with oplog(), in the form of the ip(8), nft(8)
 * or shell command that would do the same, and does nothing more when oplog_dry() is true.
 */
#ifndef BYWAY_KERNEL_OPLOG_H
#define BYWAY_KERNEL_OPLOG_H

#include <stdbool.h>

#include "base/util.h"

struct oplog {
	bool echo;    /* print each operation to stderr as it happens */
	bool dry_run; /* collect operations, carry none out */
	char **ops;   /* collected in a dry run; owned */
	size_t n_ops;
};

void oplog_done(struct oplog *log);
/* True when somebody wants the words: callers skip building them otherwise. NULL is legal. */
bool oplog_wants(const struct oplog *log);
bool oplog_dry(const struct oplog *log);
/* netns: the namespace's name, or NULL for the host's. */
void oplog_add(struct oplog *log, const char *netns, const char *fmt, ...) _printf_(3, 4);

#endif
