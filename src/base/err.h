/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An error a person reads: what failed, why, what to do.
 *
 * Functions return 0 or -errno. One whose failure a person must understand also takes a
 * struct err *, owned by the caller, and fills it on failure only. Every caller on the way up may
 * put its own object's name in front with err_context(). A NULL err is legal everywhere.
 */
#ifndef BYWAY_BASE_ERR_H
#define BYWAY_BASE_ERR_H

#include "base/util.h"

/* The program's exit status: byway(8), EXIT STATUS. */
enum err_kind {
	ERR_NONE = 0,
	ERR_FAILED = 1,
	ERR_USAGE = 2,
	ERR_NOT_FOUND = 3,
	ERR_AUTH = 4,
	ERR_UNREACHABLE = 5,
	ERR_BLOCKED = 6,
	ERR_CONFLICT = 7,
	ERR_PERMISSION = 8,
	ERR_UNSUPPORTED = 9,
	ERR_NOT_EXECUTABLE = 126, /* of a command to be run, as the shell has it (POSIX 2.8.2) */
	ERR_NO_COMMAND = 127,
};

struct err {
	enum err_kind kind;
	int code; /* negative errno */
	char msg[1024];
};

/* Sets kind, code and sentence; returns code, so that failing is one statement. Without a
 * better kind, ERR_NONE derives it from the code (EPERM → ERR_PERMISSION, ENOENT →
 * ERR_NOT_FOUND, EEXIST → ERR_CONFLICT, EOPNOTSUPP → ERR_UNSUPPORTED). */
int err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...) _printf_(4, 5);
/* As err_set() with ": strerror(code)" at the end. */
int err_errno(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);
/* Puts "text: " in front of the sentence; returns err's code (or -EIO for a NULL err). */
int err_context(struct err *err, const char *fmt, ...) _printf_(2, 3);
/* Appends to the sentence, for a hint on what to do. */
void err_append(struct err *err, const char *fmt, ...) _printf_(2, 3);

/* Work that goes on after errors: tells the first of them, and how many others there were. */
struct failures {
	struct err *err; /* of the first one */
	int code;
	unsigned int more;
};
/* Where the next step puts its error. */
struct err *failures_err(const struct failures *f);
/* What it returned; 0: nothing went wrong. */
void failures_add(struct failures *f, int code);
/* Returns the first one's code. */
int failures_tell(const struct failures *f);

#endif
