/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls without a C library, and the structs for them that the kernel's headers do not
 * export. Results are the kernel's: -errno on failure.
 */
#ifndef BYWAY_AGENT_SYS_H
#define BYWAY_AGENT_SYS_H

#include <asm/poll.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/resource.h>
#include <linux/time.h>
#include <linux/uio.h>
#include <stddef.h>
#include <stdint.h>

/* Of the kernel's interface, and yet in no header of its own. */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOL_SOCKET 1
#define SO_RCVBUF 8
#define SO_RCVBUFFORCE 33
#define SO_RXQ_OVFL 40
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_ERRQUEUE 0x2000
#define MSG_NOSIGNAL 0x4000

/* As recvmsg(2) has them; the padding of 64 bit machines is the compiler's. */
struct sys_msghdr {
	void *name;
	int namelen;
	struct iovec *iov;
	size_t iovlen;
	void *control;
	size_t controllen;
	unsigned int flags;
};

struct sys_mmsghdr {
	struct sys_msghdr hdr;
	unsigned int len;
};

struct sys_cmsghdr {
	size_t len; /* with this header */
	int level, type;
};

/* ---- One instruction, four machines: arguments and result where syscall(2) says ---- */

#if defined(__x86_64__)
#define SYS_AUDIT_ARCH AUDIT_ARCH_X86_64
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
#define SYS_AUDIT_ARCH AUDIT_ARCH_AARCH64
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory");
	return x0;
}
#elif defined(__arm__)
#define SYS_AUDIT_ARCH AUDIT_ARCH_ARM
/* r7 is the frame pointer of Thumb code: the agent is compiled without one. */
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	register long r7 __asm__("r7") = nr;
	register long r0 __asm__("r0") = a;
	register long r1 __asm__("r1") = b;
	register long r2 __asm__("r2") = c;
	register long r3 __asm__("r3") = d;
	register long r4 __asm__("r4") = e;

	__asm__ volatile("svc 0"
			 : "+r"(r0)
			 : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4)
			 : "memory");
	return r0;
}
#elif defined(__riscv) && __riscv_xlen == 64
#define SYS_AUDIT_ARCH AUDIT_ARCH_RISCV64
static inline long sys_call(long nr, long a, long b, long c, long d, long e)
{
	register long a7 __asm__("a7") = nr;
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4)
			 : "memory");
	return a0;
}
#else
#error "the agent does not know this machine's system calls"
#endif

/* ---- Calls ---- */

static inline long sys_read(int fd, void *buf, size_t len)
{
	return sys_call(__NR_read, fd, (long)buf, (long)len, 0, 0);
}

static inline long sys_writev(int fd, const struct iovec *v, size_t n)
{
	return sys_call(__NR_writev, fd, (long)v, (long)n, 0, 0);
}

static inline long sys_open(const char *path, int flags)
{
	return sys_call(__NR_openat, -100 /* AT_FDCWD */, (long)path, flags, 0, 0);
}

static inline void sys_close(int fd)
{
	sys_call(__NR_close, fd, 0, 0, 0, 0);
}

static inline void sys_chdir(const char *path)
{
	sys_call(__NR_chdir, (long)path, 0, 0, 0, 0);
}

static inline long sys_unlink(const char *path, int flags)
{
	return sys_call(__NR_unlinkat, -100, (long)path, flags, 0, 0);
}

static inline long sys_fcntl(int fd, int cmd, long arg)
{
#ifdef __NR_fcntl64
	return sys_call(__NR_fcntl64, fd, cmd, arg, 0, 0);
#else
	return sys_call(__NR_fcntl, fd, cmd, arg, 0, 0);
#endif
}

static inline long sys_prctl(int option, long a, long b)
{
	return sys_call(__NR_prctl, option, a, b, 0, 0);
}

static inline long sys_getrlimit(int what, struct rlimit *ret)
{
	/* On armv7 the kernel calls this ugetrlimit; prlimit64 has a struct of its own. */
#ifdef __NR_ugetrlimit
	return sys_call(__NR_ugetrlimit, what, (long)ret, 0, 0, 0);
#else
	return sys_call(__NR_getrlimit, what, (long)ret, 0, 0, 0);
#endif
}

static inline long sys_setrlimit(int what, const struct rlimit *l)
{
	return sys_call(__NR_setrlimit, what, (long)l, 0, 0, 0);
}

static inline long sys_clock(int clock, struct timespec *ret)
{
	return sys_call(__NR_clock_gettime, clock, (long)ret, 0, 0, 0);
}

static inline long sys_socket(int family, int type, int protocol)
{
	return sys_call(__NR_socket, family, type, protocol, 0, 0);
}

static inline long sys_connect(int fd, const void *addr, int len)
{
	return sys_call(__NR_connect, fd, (long)addr, len, 0, 0);
}

static inline long sys_setsockopt(int fd, int level, int name, const void *value, int len)
{
	return sys_call(__NR_setsockopt, fd, level, name, (long)value, len);
}

static inline long sys_recvmsg(int fd, struct sys_msghdr *m, int flags)
{
	return sys_call(__NR_recvmsg, fd, (long)m, flags, 0, 0);
}

static inline long sys_recvmmsg(int fd, struct sys_mmsghdr *m, size_t n, int flags)
{
	return sys_call(__NR_recvmmsg, fd, (long)m, (long)n, flags, 0);
}

static inline long sys_sendmmsg(int fd, struct sys_mmsghdr *m, size_t n, int flags)
{
	return sys_call(__NR_sendmmsg, fd, (long)m, (long)n, flags, 0);
}

static inline long sys_epoll_create(void)
{
	return sys_call(__NR_epoll_create1, 0, 0, 0, 0, 0);
}

static inline long sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e)
{
	return sys_call(__NR_epoll_ctl, epoll, op, fd, (long)e, 0);
}

/* At once, without a signal mask. */
static inline long sys_epoll_look(int epoll, struct epoll_event *ret, int n)
{
	return sys_call(__NR_epoll_pwait, epoll, (long)ret, n, 0, 0);
}

/* *timeout becomes what is left of it. */
static inline long sys_poll(struct pollfd *p, size_t n, struct timespec *timeout)
{
	return sys_call(__NR_ppoll, (long)p, (long)n, (long)timeout, 0, 0);
}

static inline _Noreturn void sys_exit(int status)
{
	for (;;)
		sys_call(__NR_exit_group, status, 0, 0, 0, 0);
}

#endif
