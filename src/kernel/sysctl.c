// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/util.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/sysctl.h"

struct transfer {
	char path[256];
	char *value;
	const char *new_value; /* NULL: read */
};

static int do_transfer(void *p)
{
	struct transfer *a = p;
	_close_ int fd = open(a->path, (a->new_value ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (a->new_value)
		return write(fd, a->new_value, strlen(a->new_value)) < 0 ? -errno : 0;
	n = read(fd, a->value, SYSCTL_VALUE_MAX - 1);
	if (n < 0)
		return -errno;
	a->value[n] = '\0';
	a->value[strcspn(a->value, "\n")] = '\0';
	return 0;
}

/* /proc/sys/net shows the namespace of whoever opens it. */
static int run_transfer(struct netns *ns, struct transfer *a, const char *key)
{
	snprintf(a->path, sizeof(a->path), "/proc/sys/%s", key);
	return *ns->name ? netns_call(ns, do_transfer, a) : do_transfer(a);
}

int sysctl_get(struct netns *ns, const char *key, char ret[SYSCTL_VALUE_MAX], struct err *err)
{
	char value[SYSCTL_VALUE_MAX] = "";
	struct transfer a = {.value = value};
	int r = run_transfer(ns, &a, key);

	if (r == -ENOENT && !strncmp(key, "net/ipv6/", 9) && access("/proc/net/if_inet6", F_OK))
		return err_set(err, ERR_UNSUPPORTED, r,
			       "the kernel has no IPv6 (CONFIG_IPV6, or ipv6.disable=1 at boot)");
	if (r)
		return err_errno(err, r, "cannot read sysctl %s", key);
	memcpy(ret, value, SYSCTL_VALUE_MAX);
	return 0;
}

int sysctl_set(struct netns *ns, const char *key, const char *value, struct err *err)
{
	struct transfer a = {.new_value = value};
	int r;

	oplog_add(ns->log, ns->name, "sysctl -w %s=%s", key, value);
	if (oplog_dry(ns->log))
		return 0;
	r = fault_point("sysctl write");
	if (!r)
		r = run_transfer(ns, &a, key);
	return r ? err_errno(err, r, "cannot set sysctl %s to %s", key, value) : 0;
}

bool sysctl_has_ipv6(struct netns *ns)
{
	char value[SYSCTL_VALUE_MAX];

	return sysctl_get(ns, "net/ipv6/conf/all/disable_ipv6", value, NULL) != -ENOENT;
}

int sysctl_enable_ipv6(struct netns *ns, const char *ifname, struct err *err)
{
	char key[64], value[SYSCTL_VALUE_MAX];

	if (sysctl_get(ns, "net/ipv6/conf/default/disable_ipv6", value, NULL) || !strcmp(value, "0"))
		return 0;
	snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", ifname);
	return sysctl_set(ns, key, "0", err);
}
