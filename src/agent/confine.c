// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "agent/confine.h"
#include "agent/sys.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define SIGKILL 9
#define NOFILE_WANTED 16384

unsigned long confine_limits(void)
{
	static const int nothing[] = {RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_NPROC};
	struct rlimit l = {0}, files = {0};

	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++)
		sys_setrlimit(nothing[i], &l);
	if (sys_getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 256;
	l = files;
	l.rlim_cur = l.rlim_max < NOFILE_WANTED ? l.rlim_max : NOFILE_WANTED;
	return sys_setrlimit(RLIMIT_NOFILE, &l) < 0 ? files.rlim_cur : l.rlim_cur;
}

static const unsigned int allowed[] = {
	__NR_read,        __NR_writev,          __NR_close,         __NR_ppoll,
	__NR_epoll_pwait, __NR_epoll_ctl,       __NR_connect,       __NR_recvmsg,
	__NR_recvmmsg,    __NR_sendmmsg,        __NR_clock_gettime, __NR_setsockopt,
	__NR_exit_group,  __NR_restart_syscall,
};

#define LOAD(field)                                                                                \
	(struct sock_filter)                                                                       \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, action)
#define IF_EQUAL(value, yes, no)                                                                   \
	(struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

/* Of sockets only those of IPv4 and IPv6. All four machines are little-endian: the lower half of an
 * argument comes first. */
static void filter_calls(void)
{
	struct sock_filter f[ARRAY_SIZE(allowed) + 16];
	struct sock_fprog program = {.filter = f};
	size_t n = 0;

	f[n++] = LOAD(arch);
	f[n++] = IF_EQUAL(SYS_AUDIT_ARCH, 1, 0);
	f[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	f[n++] = LOAD(nr);
	f[n++] = IF_EQUAL(__NR_socket, 0, 4);
	f[n++] = LOAD(args[0]);
	f[n++] = IF_EQUAL(AF_INET, (unsigned char)(ARRAY_SIZE(allowed) + 3), 0);
	f[n++] = IF_EQUAL(AF_INET6, (unsigned char)(ARRAY_SIZE(allowed) + 2), 0);
	f[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		f[n++] = IF_EQUAL(allowed[i], (unsigned char)(ARRAY_SIZE(allowed) - i), 0);
	f[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
	f[n++] = RETURN(SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	sys_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program);
}

void confine(void)
{
	sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	sys_prctl(PR_SET_DUMPABLE, 0, 0);
	if (sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) == 0)
		filter_calls();
}
