/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said of a virtual machine's TAP device, as people write it. Errors are ERR_USAGE. */
#ifndef BYWAY_VM_OPTIONS_H
#define BYWAY_VM_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

struct err;

#define VM_OWNER "0" /* when nothing is said */

/* USER, USER:GROUP or :GROUP, by names or numbers. What is not named is PORT_NO_UID or PORT_NO_GID;
 * never both, which the kernel takes for everybody. */
int vm_owner_parse(const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

/* "100M,20M": bits a second to the machine and from it, by powers of 1000; 0 is no limit. */
int vm_rates_parse(const char *text, uint64_t *ret_rx, uint64_t *ret_tx, struct err *err);

#endif
