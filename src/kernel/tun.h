/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TUN and TAP devices (https://docs.kernel.org/networking/tuntap.html). */
#ifndef BYWAY_KERNEL_TUN_H
#define BYWAY_KERNEL_TUN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct netns;

/* Bytes of struct virtio_net_hdr_v1 in front of each packet (virtio 1.2, 5.1.6). */
#define TUN_HEADER 12

/* Makes the TUN device NAME in ns, with IFF_NO_PI, IFF_VNET_HDR and n_queues queues
 * (IFF_MULTI_QUEUE when more than one), segmentation and checksum offloads on (TUN_F_CSUM, TSO4,
 * TSO6, USO4, USO6 as far as the kernel has them). One non-blocking descriptor a queue into fds.
 * The device goes with the last descriptor. -EEXIST when the name is taken. */
int tun_open(struct netns *ns, const char *name, size_t n_queues, int fds[], struct err *err);

/* Makes the TUN device NAME in ns, which another process has made and holds open, outlive that
 * process (TUNSETPERSIST on its own descriptor, by pidfd_getfd(2): Linux 5.6). Whoever attaches to
 * it next goes on with it. -ENODEV: the process has no such device. -ESRCH: there is no such
 * process. */
int tun_persist(struct netns *ns, const char *name, pid_t pid, struct err *err);

/* A TAP device for somebody else to attach to. Without uid and gid (-1) anybody may, who can open
 * /dev/net/tun; CAP_NET_ADMIN always can. */
struct tap_spec {
	const char *name;
	uid_t uid;
	gid_t gid;
	bool multi_queue;
};
/* Makes it, with IFF_NO_PI and IFF_VNET_HDR; with multi_queue, who attaches must ask for
 * IFF_MULTI_QUEUE. It goes with *ret_fd, unless tap_persist() comes before: so nobody's death in
 * between leaves a device that is not marked yet. -EEXIST when the name is taken. */
int tap_open(struct netns *ns, const struct tap_spec *spec, int *ret_fd, struct err *err);
int tap_persist(struct netns *ns, const char *name, int fd, struct err *err);

/* What the one does for whom it was made: attaches to a TAP device that is there and persistent, by
 * another queue if it has several, in the namespace of this thread. TUN_HEADER bytes are in front
 * of each frame, offloads are off. -ENODEV: there is no such device, and none is made. */
int tap_attach(const char *name, int *ret_fd, struct err *err);

#endif
