/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this process may do (capabilities(7)). */
#ifndef BYWAY_KERNEL_CAPS_H
#define BYWAY_KERNEL_CAPS_H

#include <stddef.h>

struct err;

/* ERR_PERMISSION names the first capability (CAP_*) that is not in the effective set. */
int caps_require(const int *caps, size_t n, struct err *err);

#endif
