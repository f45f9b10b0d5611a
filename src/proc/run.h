/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running a program to its end inside a namespace, feeding it text and keeping what it says.
 *
 * No shell; the environment is PATH and LC_ALL=C and nothing else; no descriptor but the standard
 * ones is inherited. Blocks until the program has ended.
 */
#ifndef BYWAY_PROC_RUN_H
#define BYWAY_PROC_RUN_H

#include <stdbool.h>

struct buf;
struct child_spec;
struct err;
struct netns;

#define RUN_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define RUN_PROGRAM_MAX 256

/* argv ends with NULL; argv[0] is looked up in RUN_PATH. ns NULL: where we are. input: the
 * program's standard input, NULL for none. What it writes is appended to ret_out and ret_err,
 * either may be NULL to discard. *ret_status: the exit status, or 128 + the signal that ended it.
 * -ENOENT with ERR_UNSUPPORTED when there is no such program. */
int run(const struct netns *ns, const char *const argv[], const struct buf *input,
	struct buf *ret_out, struct buf *ret_err, int *ret_status, struct err *err);
/* The same for a program whose path and environment are in spec, which gets its descriptors
 * here. */
int run_spec(struct child_spec *spec, const struct buf *input, struct buf *ret_out,
	     struct buf *ret_err, int *ret_status, struct err *err);
/* Where in RUN_PATH a program is. As run() when there is none. */
int run_find(const char *program, char ret[RUN_PROGRAM_MAX], struct err *err);
/* Whether RUN_PATH has a program of this name. */
bool run_has(const char *program);

#endif
