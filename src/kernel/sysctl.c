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

struct access {
	char path[256];
	char *value;
	const char *new_value; /* NULL: read */
};

static int do_access(void *p)
{
	struct access *a = p;
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
static int run_access(struct netns *ns, struct access *a, const char *key)
{
	snprintf(a->path, sizeof(a->path), "/proc/sys/%s", key);
	return *ns->name ? netns_call(ns, do_access, a) : do_access(a);
}

int sysctl_get(struct netns *ns, const char *key, char ret[SYSCTL_VALUE_MAX], struct err *err)
{
	char value[SYSCTL_VALUE_MAX] = "";
	struct access a = {.value = value};
	int r = run_access(ns, &a, key);

	if (r)
		return err_errno(err, r, "cannot read sysctl %s", key);
	memcpy(ret, value, SYSCTL_VALUE_MAX);
	return 0;
}

int sysctl_set(struct netns *ns, const char *key, const char *value, struct err *err)
{
	struct access a = {.new_value = value};
	int r;

	oplog_add(ns->log, ns->name, "sysctl -w %s=%s", key, value);
	if (oplog_dry(ns->log))
		return 0;
	r = fault_point("sysctl write");
	if (!r)
		r = run_access(ns, &a, key);
	return r ? err_errno(err, r, "cannot set sysctl %s to %s", key, value) : 0;
}
