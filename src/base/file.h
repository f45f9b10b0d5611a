/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading whole files; descriptors. */
#ifndef BYWAY_BASE_FILE_H
#define BYWAY_BASE_FILE_H

#include <stddef.h>

struct buf;
struct err;

/* path "-" is standard input. -EFBIG when there is more than max bytes. */
int file_read(const char *path, size_t max, struct buf *ret, struct err *err);

/* As many descriptors as this process may have. */
void file_raise_limit(void);

#endif
