/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual machine's network interface, in the words of the monitor (VMM) that will run it, or of
 * the guest's kernel. Text only: nothing is looked up, and nothing is changed.
 */
#ifndef BYWAY_VM_SNIPPET_H
#define BYWAY_VM_SNIPPET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct buf;
struct err;

enum vm_format {
	VM_FIRECRACKER,        /* body of PUT /network-interfaces/eth0 */
	VM_FIRECRACKER_CONFIG, /* for the file of --config-file */
	VM_QEMU,               /* arguments for a machine with PCI */
	VM_QEMU_MICROVM,       /* for one with virtio-mmio: -M microvm */
	VM_CLOUD_HYPERVISOR,
	VM_KERNEL_ARGS, /* ip=: Linux, admin-guide/nfs/nfsroot */
	VM_N_FORMATS,
};
extern const char *const vm_format_names[VM_N_FORMATS];

/* Names hold letters, digits, '.', '_' and '-' only. */
struct vm_nic {
	const char *name;   /* the guest's */
	const char *ifname; /* of the TAP device */
	struct mac mac;
	struct cidr addr;       /* IPv4, with the prefix that the guest is to use */
	struct ip gateway, dns; /* IPv4; dns: of no family for none */
	bool dhcp;              /* asks for its address itself */
	unsigned int queues;    /* pairs of a receive and a transmit queue */
	uint32_t mtu_bytes;     /* of the network: guests take 1500 for granted */
	uint64_t rx_bits,
		tx_bits; /* what the guest may receive and send in a second; 0: no limit */
};

/* Adds the text, with a newline at its end. ERR_CONFLICT when the monitor cannot open a device with
 * so many queues. */
int vm_snippet(const struct vm_nic *nic, enum vm_format format, struct buf *ret, struct err *err);

#endif
