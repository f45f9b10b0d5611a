// SPDX-License-Identifier: GPL-2.0-or-later
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "kernel/sandbox.h"

int sandbox_keep_caps(const int caps[], size_t n, struct err *err)
{
	bool had[64] = {false};

	for (size_t i = 0; i < n; i++)
		had[i] = capng_have_capability(CAPNG_EFFECTIVE, (unsigned int)caps[i]) > 0;
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < n; i++) {
		if (had[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
				     (unsigned int)caps[i]);
	}
	if (capng_apply(CAPNG_SELECT_CAPS))
		return err_errno(err, -EPERM, "cannot give up capabilities");
	return 0;
}

#define NOBODY 65534

int sandbox_become_nobody(struct err *err)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	if (!r && geteuid() == 0)
		r = setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		    setresuid(NOBODY, NOBODY, NOBODY);
	if (r)
		return err_errno(err, -errno, "cannot give up being root");
	return sandbox_keep_caps(NULL, 0, err);
}

/* free(3) asks /proc for the overcommit policy before it gives memory back, and gmtime(3) for the
 * time zone; both can do without. */
static const int opening[] = {
#ifdef __NR_open /* newer architectures have openat() only */
	__NR_open,
#endif
	__NR_openat,
};

int sandbox_syscalls(const int calls[], size_t n, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < n; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	for (size_t i = 0; !r && i < ARRAY_SIZE(opening); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), opening[i], 0);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r ? err_errno(err, r, "cannot confine the thread's system calls") : 0;
}
