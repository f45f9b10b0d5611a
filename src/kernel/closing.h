/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Closing what the kernel takes its time to close. */
#ifndef BYWAY_KERNEL_CLOSING_H
#define BYWAY_KERNEL_CLOSING_H

/* Closes fd, and leaves to the kernel what that has to wait for. Never fails: where the kernel does
 * not take it, the caller waits, as with close(2). */
void close_later(int fd);

#endif
