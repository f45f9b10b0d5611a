/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TUN devices (https://docs.kernel.org/networking/tuntap.html). */
#ifndef BYWAY_KERNEL_TUN_H
#define BYWAY_KERNEL_TUN_H

#include <stddef.h>

struct err;
struct netns;

/* Bytes of struct virtio_net_hdr_v1 in front of each packet (virtio 1.2, 5.1.6). */
#define TUN_HEADER 12

/* Makes the TUN device NAME in ns, with IFF_NO_PI, IFF_VNET_HDR and n_queues queues (IFF_MULTI_QUEUE
 * when more than one), segmentation and checksum offloads on (TUN_F_CSUM, TSO4, TSO6, USO4, USO6 as far as
 * the kernel has them). One non-blocking descriptor a queue into fds. The device goes with the last descriptor.
 * -EEXIST when the name is taken. */
int tun_open(struct netns *ns, const char *name, size_t n_queues, int fds[], struct err *err);

#endif
