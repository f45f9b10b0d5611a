// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libbyway NETWORK CIDR NAME: a virtual machine monitor, and the smallest of machines in it: one that
 * answers ping. On its standard output is what it was given; at the end of its standard input it takes
 * away the device and the network.
 *
 *	cc -o libbyway libbyway.c $(pkg-config --cflags --libs byway)
 *	sudo ./libbyway micropod0 10.10.0.0/24 web
 *	ping 10.10.0.2
 */
#include <byway.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct frame {
	struct virtio_net_hdr_v1 vnet;
	struct ether_header eth;
	struct iphdr ip;
	struct icmphdr icmp;
	unsigned char rest[1500];
} __attribute__((packed));

/* A question becomes its answer: sender and receiver change places, the checksum follows the type. */
static int answers(struct frame *f, const struct byway_tap *tap)
{
	unsigned int sum = f->icmp.checksum + htons(ICMP_ECHO << 8);
	unsigned int address = f->ip.daddr;

	if (f->eth.ether_type != htons(ETHERTYPE_IP) || f->ip.ihl != 5 ||
	    f->ip.protocol != IPPROTO_ICMP || f->icmp.type != ICMP_ECHO)
		return 0;
	memcpy(f->eth.ether_dhost, f->eth.ether_shost, sizeof(f->eth.ether_dhost));
	memcpy(f->eth.ether_shost, tap->mac, sizeof(f->eth.ether_shost));
	f->ip.daddr = f->ip.saddr;
	f->ip.saddr = address;
	f->icmp.type = ICMP_ECHOREPLY;
	f->icmp.checksum = (unsigned short)(sum + (sum >> 16));
	memset(&f->vnet, 0, sizeof(f->vnet));
	return 1;
}

static void run(const struct byway_tap *tap)
{
	struct pollfd p[] = {{.fd = tap->fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	struct frame frame;
	ssize_t n;

	while (poll(p, 2, -1) > 0 && !p[1].revents) {
		n = read(tap->fd, &frame, sizeof(frame));
		if (n >= (ssize_t)offsetof(struct frame, rest) && answers(&frame, tap) &&
		    write(tap->fd, &frame, (size_t)n) != n)
			perror("write");
	}
}

static int complain(const struct byway_error *err)
{
	fprintf(stderr, "libbyway: %s\n", err->text);
	return err->code;
}

static int machine(struct byway_manager *m, const char *name, struct byway_error *err)
{
	struct byway_tap_spec spec = {.size = sizeof(spec), .flags = BYWAY_TAP_OPEN, .name = name};
	struct byway_tap tap = {.size = sizeof(tap)};

	if (byway_tap_create(m, &spec, &tap, err))
		return complain(err);
	printf("%s: address %s/%u, gateway %s\n", tap.interface, tap.address, tap.prefix,
	       tap.gateway);
	fflush(stdout);
	run(&tap);
	close(tap.fd);
	return byway_tap_delete(m, tap.name, err) ? complain(err) : 0;
}

int main(int argc, char **argv)
{
	struct byway_network_spec network = {.size = sizeof(network)};
	struct byway_manager *m;
	struct byway_error err;
	int status;

	if (argc != 4) {
		fprintf(stderr, "usage: libbyway NETWORK CIDR NAME\n");
		return BYWAY_USAGE;
	}
	network.name = argv[1];
	network.cidr = argv[2];
	if (byway_manager_open(&network, &m, &err))
		return complain(&err);
	status = byway_manager_setup(m, &err) ? complain(&err) : machine(m, argv[3], &err);
	if (byway_manager_teardown(m, &err))
		status = complain(&err);
	byway_manager_close(m);
	return status;
}
