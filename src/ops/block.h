/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocking the host from early in the boot on, until what is to carry its traffic stands
 * (capture_block_all()). The rules are the kernel's; neither a state nor a process belongs to them.
 */
#ifndef BYWAY_OPS_BLOCK_H
#define BYWAY_OPS_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct ops;

/* Blocks if one of the files says `block: true` or `block: tunnel`, or when there is no file. A
 * file that cannot be read might say so: its error is returned, and the host is blocked, if *ret_blocked. */
int ops_block(struct ops *o, char *const files[], size_t n, bool *ret_blocked, struct err *err);
/* Whichever backend made it. Absent: done. */
int ops_unblock(struct ops *o, struct err *err);
/* As far as this backend can see. */
bool ops_is_blocked(struct ops *o);

#endif
