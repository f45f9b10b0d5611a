// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "vm/snippet.h"

const char *const vm_format_names[] = {
	[VM_FIRECRACKER] = "firecracker",
	[VM_FIRECRACKER_CONFIG] = "firecracker-config",
	[VM_QEMU] = "qemu",
	[VM_QEMU_MICROVM] = "qemu-microvm",
	[VM_CLOUD_HYPERVISOR] = "cloud-hypervisor",
	[VM_KERNEL_ARGS] = "kernel-args",
};
static_assert(ARRAY_SIZE(vm_format_names) == VM_N_FORMATS, "vm_format_names[] doesn't match");

/* What a monitor calls the interface, and the guest its device. Not the guest's name: an identifier
 * of Firecracker has no '-', and one of QEMU begins with a letter. */
#define NIC_ID "eth0"

#define MTU_OF_ETHERNET 1500u

/* The bucket is full again after this time; it holds what may pass in it. */
#define REFILL_MS 100

static void put_limiter(json_t *nic, const char *key, uint64_t bits)
{
	uint64_t size = MAX(bits / 8 * REFILL_MS / 1000, 1U);

	if (bits)
		json_object_set_new(nic, key,
				    json_pack("{s:{s:I, s:i}}", "bandwidth", "size",
					      (json_int_t)size, "refill_time", REFILL_MS));
}

/* By VIRTIO_NET_F_MTU. Monitors of before that refuse to be told, so it is said only if it has to
 * be. */
static bool has_other_mtu(const struct vm_nic *n)
{
	return n->mtu_bytes != MTU_OF_ETHERNET;
}

static json_t *firecracker(const struct vm_nic *n)
{
	char mac[MAC_STRLEN];
	json_t *nic = json_pack("{s:s, s:s, s:s}", "iface_id", NIC_ID, "host_dev_name", n->ifname,
				"guest_mac", mac_format(&n->mac, mac));

	if (has_other_mtu(n))
		json_object_set_new(nic, "mtu", json_integer(n->mtu_bytes));
	put_limiter(nic, "rx_rate_limiter", n->rx_bits);
	put_limiter(nic, "tx_rate_limiter", n->tx_bits);
	return nic;
}

/* Takes the document. */
static void add_json(struct buf *b, json_t *doc)
{
	_free_ char *text = json_dumps(doc, JSON_INDENT(2));

	json_decref(doc);
	buf_addf(b, "%s\n", text);
}

static void add_firecracker(const struct vm_nic *n, struct buf *b)
{
	add_json(b, firecracker(n));
}

static void add_firecracker_config(const struct vm_nic *n, struct buf *b)
{
	add_json(b, json_pack("{s:[o]}", "network-interfaces", firecracker(n)));
}

static void add_netdev(const struct vm_nic *n, struct buf *b)
{
	buf_addf(b, "-netdev tap,id=" NIC_ID ",ifname=%s,script=no,downscript=no", n->ifname);
	if (n->queues > 1)
		buf_addf(b, ",queues=%u", n->queues);
}

static void add_qemu_device(const struct vm_nic *n, const char *device, struct buf *b)
{
	char mac[MAC_STRLEN];

	buf_addf(b, " -device %s,netdev=" NIC_ID ",mac=%s", device, mac_format(&n->mac, mac));
	if (has_other_mtu(n))
		buf_addf(b, ",host_mtu=%u", n->mtu_bytes);
	if (n->queues > 1)
		buf_adds(b, ",mq=on");
}

static void add_qemu(const struct vm_nic *n, struct buf *b)
{
	add_netdev(n, b);
	add_qemu_device(n, "virtio-net-pci", b);
	/* One interrupt for each queue, for the control queue, and for changes of configuration. */
	if (n->queues > 1)
		buf_addf(b, ",vectors=%u", 2 * n->queues + 2);
	buf_adds(b, "\n");
}

static void add_qemu_microvm(const struct vm_nic *n, struct buf *b)
{
	add_netdev(n, b);
	add_qemu_device(n, "virtio-net-device", b);
	buf_adds(b, "\n");
}

static void add_cloud_hypervisor(const struct vm_nic *n, struct buf *b)
{
	char mac[MAC_STRLEN];

	buf_addf(b, "--net tap=%s,mac=%s", n->ifname, mac_format(&n->mac, mac));
	if (n->queues > 1)
		buf_addf(b, ",num_queues=%u", 2 * n->queues);
	if (has_other_mtu(n))
		buf_addf(b, ",mtu=%u", n->mtu_bytes);
	buf_adds(b, "\n");
}

static struct ip netmask(unsigned int prefix)
{
	struct ip mask = {.family = AF_INET};

	for (unsigned int i = 0; i < prefix; i++)
		mask.bytes[i / 8] |= (uint8_t)(0x80U >> i % 8);
	return mask;
}

static void add_kernel_args(const struct vm_nic *n, struct buf *b)
{
	char addr[IP_STRLEN], gateway[IP_STRLEN], mask[IP_STRLEN], dns[IP_STRLEN];
	struct ip m = netmask(n->addr.prefix);

	if (n->dhcp) {
		buf_adds(b, "ip=:::::" NIC_ID ":dhcp\n");
		return;
	}
	buf_addf(b, "ip=%s::%s:%s:%s:" NIC_ID ":off", ip_format(&n->addr.addr, addr),
		 ip_format(&n->gateway, gateway), ip_format(&m, mask), n->name);
	if (n->dns.family)
		buf_addf(b, ":%s", ip_format(&n->dns, dns));
	buf_adds(b, "\n");
}

static const struct {
	void (*add)(const struct vm_nic *n, struct buf *b);
	const char *one_queue; /* who opens devices with one queue only */
} formats[VM_N_FORMATS] = {
	[VM_FIRECRACKER] = {add_firecracker, "Firecracker"},
	[VM_FIRECRACKER_CONFIG] = {add_firecracker_config, "Firecracker"},
	[VM_QEMU] = {add_qemu, NULL},
	[VM_QEMU_MICROVM] = {add_qemu_microvm, NULL},
	[VM_CLOUD_HYPERVISOR] = {add_cloud_hypervisor, NULL},
	[VM_KERNEL_ARGS] = {add_kernel_args, NULL},
};

int vm_snippet(const struct vm_nic *n, enum vm_format format, struct buf *ret, struct err *err)
{
	if (formats[format].one_queue && n->queues > 1)
		return err_set(err, ERR_CONFLICT, -EINVAL,
			       "%s opens a TAP device with one queue only, and %s has %u: add the "
			       "VM without --queues",
			       formats[format].one_queue, n->ifname, n->queues);
	formats[format].add(n, ret);
	return 0;
}
