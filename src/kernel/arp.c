// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "kernel/arp.h"
#include "kernel/netns.h"

#define TRIES 2
#define RECEIVE_BUFFER (1 << 20) /* a thousand answers at once do not fit into the default */

struct probe {
	const char *ifname;
	int fd, index;
	struct mac mac;
	const struct ip *addrs;
	size_t n, left; /* left: not answered yet */
	bool *used;
};

/* Whether the link is one that is asked by ARP; notes its address. */
static int look_at_link(struct probe *p, bool *ret_asks)
{
	struct ifreq req = {0};
	bool ready;

	*ret_asks = false;
	if (str_copy(req.ifr_name, sizeof(req.ifr_name), p->ifname))
		return -ENODEV;
	if (ioctl(p->fd, SIOCGIFFLAGS, &req))
		return -errno;
	ready = (req.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING) &&
		!(req.ifr_flags & (IFF_NOARP | IFF_LOOPBACK));
	if (ioctl(p->fd, SIOCGIFINDEX, &req))
		return -errno;
	p->index = req.ifr_ifindex;
	if (ioctl(p->fd, SIOCGIFHWADDR, &req))
		return -errno;
	memcpy(p->mac.bytes, req.ifr_hwaddr.sa_data, sizeof(p->mac.bytes));
	*ret_asks = ready && req.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	return 0;
}

static int open_socket(void *arg)
{
	struct probe *p = arg;
	int size = RECEIVE_BUFFER;

	/* Protocol 0: nothing is received before it is bound. */
	p->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return -errno;
	setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return 0;
}

static int bind_to_link(const struct probe *p)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = p->index};

	return bind(p->fd, (struct sockaddr *)&at, sizeof(at)) ? -errno : 0;
}

/* The sender's address is none, so that nobody's cache learns from the question. */
static int ask(const struct probe *p, const struct ip *addr)
{
	struct sockaddr_ll everybody = {.sll_family = AF_PACKET,
					.sll_protocol = htons(ETH_P_ARP),
					.sll_ifindex = p->index,
					.sll_halen = ETH_ALEN,
					.sll_addr = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	struct ether_arp arp = {.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
					   .ar_pro = htons(ETH_P_IP),
					   .ar_hln = ETH_ALEN,
					   .ar_pln = sizeof(arp.arp_spa),
					   .ar_op = htons(ARPOP_REQUEST)}};

	memcpy(arp.arp_sha, p->mac.bytes, sizeof(arp.arp_sha));
	memcpy(arp.arp_tpa, addr->bytes, sizeof(arp.arp_tpa));
	if (sendto(p->fd, &arp, sizeof(arp), 0, (struct sockaddr *)&everybody, sizeof(everybody)) >=
		    0 ||
	    errno == ENOBUFS || errno == EAGAIN) /* lost on the way: there is another try */
		return 0;
	return -errno;
}

static int ask_all(const struct probe *p)
{
	int r = 0;

	for (size_t i = 0; i < p->n && !r; i++)
		r = p->used[i] || p->addrs[i].family != AF_INET ? 0 : ask(p, &p->addrs[i]);
	return r;
}

static void mark_used(struct probe *p, const uint8_t addr[4])
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->used[i] || p->addrs[i].family != AF_INET ||
		    memcmp(p->addrs[i].bytes, addr, 4))
			continue;
		p->used[i] = true;
		p->left--;
	}
}

static void judge(struct probe *p, const struct ether_arp *arp)
{
	static const uint8_t nobody[4];

	if (arp->ea_hdr.ar_pro != htons(ETH_P_IP) || arp->ea_hdr.ar_pln != sizeof(nobody) ||
	    arp->ea_hdr.ar_hln != ETH_ALEN)
		return;
	if (memcmp(arp->arp_spa, nobody, sizeof(nobody)))
		mark_used(p, arp->arp_spa);
	else if (memcmp(arp->arp_sha, p->mac.bytes, ETH_ALEN)) /* who wants to have it, too */
		mark_used(p, arp->arp_tpa);
}

static void read_answers(struct probe *p)
{
	struct ether_arp arp;

	while (recv(p->fd, &arp, sizeof(arp), 0) == sizeof(arp))
		judge(p, &arp);
}

static void wait_until(struct probe *p, uint64_t deadline_ms)
{
	for (uint64_t now; p->left && (now = clock_ms()) < deadline_ms;) {
		struct pollfd fd = {.fd = p->fd, .events = POLLIN};

		if (poll(&fd, 1, (int)(deadline_ms - now)) > 0)
			read_answers(p);
	}
}

static int probe_link(struct probe *p, unsigned int wait_ms)
{
	uint64_t start_ms = clock_ms();
	bool asks;
	int r = look_at_link(p, &asks);

	if (r || !asks)
		return r;
	r = bind_to_link(p);
	for (unsigned int try = 1; try <= TRIES && p->left && !r; try++) {
		r = ask_all(p);
		if (!r)
			wait_until(p, start_ms + wait_ms * try / TRIES);
	}
	return r;
}

int arp_probe(struct netns *ns, const char *ifname, const struct ip addrs[], size_t n,
	      unsigned int wait_ms, bool ret_used[], struct err *err)
{
	struct probe p = {
		.ifname = ifname, .fd = -1, .addrs = addrs, .n = n, .left = n, .used = ret_used};
	int r;

	memset(ret_used, 0, n * sizeof(*ret_used));
	if (!n)
		return 0;
	r = netns_call(ns, open_socket, &p);
	if (!r)
		r = probe_link(&p, wait_ms);
	close_p(&p.fd);
	return r ? err_errno(err, r, "cannot ask on %s who has an address", ifname) : 0;
}
