/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading whole files; descriptors. */
#ifndef BYWAY_BASE_FILE_H
#define BYWAY_BASE_FILE_H

#include <stddef.h>

struct buf;
struct err;

/* path "-" is standard input. -EFBIG when there is more than max bytes. */
int file_read(const char *path, size_t max, struct buf *ret, struct err *err);

/* Allocated. Without symbolic links where that can be told: of a file that is not there, in its
 * folder; of one whose folder is not there either, as it is written. */
char *file_absolute(const char *path);

/* As many descriptors as this process may have. */
void file_raise_limit(void);

#endif
