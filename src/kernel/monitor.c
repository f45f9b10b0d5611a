// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/monitor.h"

struct monitor {
	struct mnl_socket *nl;
	char ignored_link[IFNAMSIZ];
	unsigned int ignored_index; /* of that link; 0 when there is none */
	uint32_t ignored_table;
};

/* ---- What a message says ---- */

/* What is asked of an event's attributes. */
struct event {
	const char *name;
	bool is_wireless;
	struct cidr dst;
	uint32_t table, out;
};

static int parse_link(const struct nlattr *attr, void *arg)
{
	struct event *e = arg;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		if (!mnl_attr_validate(attr, MNL_TYPE_NUL_STRING))
			e->name = mnl_attr_get_str(attr);
		break;
	case IFLA_WIRELESS:
		e->is_wireless = true;
		break;
	}
	return MNL_CB_OK;
}

static bool link_matters(struct monitor *m, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct event e = {0};

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || ifi->ifi_family == AF_BRIDGE)
		return false; /* a port of a bridge learns or forgets */
	mnl_attr_parse(nlh, sizeof(*ifi), parse_link, &e);
	if (*m->ignored_link && e.name && !strcmp(e.name, m->ignored_link)) {
		m->ignored_index = (unsigned int)ifi->ifi_index;
		return false;
	}
	return !e.is_wireless; /* a scan, or the like */
}

static bool addr_matters(const struct monitor *m, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);

	return mnl_nlmsg_get_payload_len(nlh) >= sizeof(*ifa) &&
	       (!m->ignored_index || ifa->ifa_index != m->ignored_index);
}

static int parse_route(const struct nlattr *attr, void *arg)
{
	struct event *e = arg;
	bool is_u32 = !mnl_attr_validate(attr, MNL_TYPE_U32);

	switch (mnl_attr_get_type(attr)) {
	case RTA_DST:
		if (mnl_attr_get_payload_len(attr) == ip_len(e->dst.addr.family))
			memcpy(e->dst.addr.bytes, mnl_attr_get_payload(attr),
			       ip_len(e->dst.addr.family));
		break;
	case RTA_TABLE:
		if (is_u32)
			e->table = mnl_attr_get_u32(attr);
		break;
	case RTA_OIF:
		if (is_u32)
			e->out = mnl_attr_get_u32(attr);
		break;
	}
	return MNL_CB_OK;
}

static bool leads_to_any(const struct cidr *dst, const struct ip peers[], size_t n)
{
	if (!dst->prefix)
		return true;
	for (size_t i = 0; i < n; i++)
		if (peers[i].family == dst->addr.family && cidr_has(dst, &peers[i]))
			return true;
	return false;
}

static bool route_matters(const struct monitor *m, const struct nlmsghdr *nlh,
			  const struct ip peers[], size_t n_peers)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct event e = {0};

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) || rtm->rtm_flags & RTM_F_CLONED ||
	    (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return false;
	e.dst = (struct cidr){.addr.family = rtm->rtm_family, .prefix = rtm->rtm_dst_len};
	e.table = rtm->rtm_table;
	mnl_attr_parse(nlh, sizeof(*rtm), parse_route, &e);
	if (e.table == m->ignored_table || (m->ignored_index && e.out == m->ignored_index))
		return false;
	return leads_to_any(&e.dst, peers, n_peers);
}

static bool matters(struct monitor *m, const struct nlmsghdr *nlh, const struct ip peers[],
		    size_t n_peers)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link_matters(m, nlh);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return addr_matters(m, nlh);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_matters(m, nlh, peers, n_peers);
	}
	return false;
}

/* ---- The socket ---- */

bool monitor_changed(struct monitor *m, const struct ip peers[], size_t n_peers)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	bool changed = false;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(m->nl, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int left = (int)n;

		if (n < 0 && (errno == ENOBUFS || errno == ENOSPC)) /* some are lost, or cut off */
			changed = true;
		else if (n < 0 && errno != EINTR)
			return changed;
		for (; n > 0 && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			changed |= matters(m, nlh, peers, n_peers);
	}
}

static int join_groups(struct mnl_socket *nl)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(nl, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
			return -errno;
	}
	return 0;
}

int monitor_new(const char *ignored_link, uint32_t ignored_table, struct monitor **ret,
		struct err *err)
{
	struct monitor *m = xcalloc(1, sizeof(*m));
	int r = 0;

	m->ignored_table = ignored_table;
	m->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!m->nl || mnl_socket_bind(m->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		r = -errno;
	if (!r)
		r = join_groups(m->nl);
	if (!r && ignored_link)
		r = str_copy(m->ignored_link, sizeof(m->ignored_link), ignored_link);
	if (r) {
		monitor_free(m);
		return err_errno(err, r, "cannot watch the network for changes");
	}
	m->ignored_index = ignored_link ? if_nametoindex(ignored_link) : 0;
	*ret = m;
	return 0;
}

int monitor_fd(const struct monitor *m)
{
	return mnl_socket_get_fd(m->nl);
}

void monitor_free(struct monitor *m)
{
	if (m && m->nl)
		mnl_socket_close(m->nl);
	free(m);
}

/* ---- The end of one link ---- */

#define LOAD(size, offset) BPF_STMT(BPF_LD | (size) | BPF_ABS, (uint32_t)(offset))
/* Goes on, or else skips as many. */
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define IFI(member) (NLMSG_HDRLEN + offsetof(struct ifinfomsg, member))

/* Everybody who waits would otherwise be woken by every link of the host. A bridge tells of a port
 * that leaves by the same message, but of its own family. Loads are in network byte order. */
static int filter_link_end(int fd, int index)
{
	struct sock_filter code[] = {
		LOAD(BPF_H, offsetof(struct nlmsghdr, nlmsg_type)),
		UNLESS(htons(RTM_DELLINK), 5),
		LOAD(BPF_B, IFI(ifi_family)),
		UNLESS(AF_UNSPEC, 3),
		LOAD(BPF_W, IFI(ifi_index)),
		UNLESS(htonl((uint32_t)index), 1),
		BPF_STMT(BPF_RET | BPF_K, ~0u),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

int monitor_link_end(int index, int *ret_fd, struct err *err)
{
	_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int r = fd < 0 ? -errno : filter_link_end(fd, index);

	if (!r && bind(fd, (struct sockaddr *)&links, sizeof(links)))
		r = -errno;
	if (r)
		return err_errno(err, r, "cannot watch interface %d", index);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
