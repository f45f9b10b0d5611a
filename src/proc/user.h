/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who started us, and what a program needs to know to run as that user. */
#ifndef BYWAY_PROC_USER_H
#define BYWAY_PROC_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"

struct err;

struct user {
	uid_t uid;
	gid_t gid;
	char *name, *home, *shell;
	gid_t *groups; /* all of them, the primary one included */
	size_t n_groups;
};

void user_done(struct user *u);
#define _user_ _cleanup_(user_done)

/* The user who called sudo(8), by SUDO_UID, or the one we run as. Asks the system's user
 * database. */
int user_invoking(struct user *ret, struct err *err);

#endif
