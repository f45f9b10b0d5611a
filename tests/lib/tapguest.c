// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tapguest TAP NETNS MAC UID [GID]: a virtual machine without the machine.
 *
 * The network namespace is the guest: its eth0, with the guest's MAC, is a TAP device of our own,
 * and what it sends we write to the host's TAP device, as a virtual machine monitor does. So a
 * guest has a whole IP stack, and every other program of the tests can be used, or misused, inside
 * it.
 *
 * The host's TAP is opened as the given user, without any capability. Prints "ready" then; ends
 * with status 4 when it may not be opened, and says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FRAME_MAX 65600 /* with the header of IFF_VNET_HDR, which both devices understand */

_Noreturn static void die(const char *what, int status)
{
	fprintf(stderr, "tapguest: %s: %s\n", what, strerror(errno));
	exit(status);
}

static int open_tap(const char *name, int more)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/net/tun", 4);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr))
		die(name, 4);
	/* As monitors do when the guest's driver can: frames of 64 KiB, checksums left open. */
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6))
		die("TUNSETOFFLOAD", 4);
	return fd;
}

static void set_mac(int fd, const char *text)
{
	struct ifreq ifr = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	unsigned int b[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
		die(text, 3);
	for (size_t i = 0; i < 6; i++)
		ifr.ifr_hwaddr.sa_data[i] = (char)b[i];
	if (ioctl(fd, SIOCSIFHWADDR, &ifr))
		die("SIOCSIFHWADDR", 3);
}

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path, 3);
	close(fd);
}

static int open_inside(const char *netns, const char *mac)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;
	char path[256];

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	enter(path);
	fd = open_tap("eth0", IFF_TUN_EXCL);
	set_mac(fd, mac);
	if (home < 0 || setns(home, CLONE_NEWNET))
		die("setns", 3);
	close(home);
	return fd;
}

/* One queue of how many there may be: who attaches must know which sort it is. */
static int open_outside(const char *name)
{
	char path[128], flags[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", name);
	f = fopen(path, "re");
	if (!f || !fgets(flags, sizeof(flags), f))
		die(path, 4);
	fclose(f);
	return open_tap(name, (int)strtoul(flags, NULL, 16) & IFF_MULTI_QUEUE);
}

/* From root to a user, capabilities go along. */
static void become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("cannot become another user", 3);
}

/* A device that is down refuses frames: the guest has not booted yet, they are lost. */
static void carry(int from, int to)
{
	static uint8_t frame[FRAME_MAX];
	ssize_t n = read(from, frame, sizeof(frame));

	if (n < 0 && errno != EINTR && errno != EAGAIN)
		die("read", 3);
	if (n > 0 && write(to, frame, (size_t)n) < 0 && errno != EIO && errno != EINVAL)
		die("write", 3);
}

int main(int argc, char **argv)
{
	struct pollfd p[2];
	uid_t uid;

	if (argc < 5) {
		fprintf(stderr, "usage: tapguest TAP NETNS MAC UID [GID]\n");
		return 3;
	}
	uid = (uid_t)atoi(argv[4]);
	p[0] = (struct pollfd){.fd = open_inside(argv[2], argv[3]), .events = POLLIN};
	become(uid, argc > 5 ? (gid_t)atoi(argv[5]) : uid);
	p[1] = (struct pollfd){.fd = open_outside(argv[1]), .events = POLLIN};
	puts("ready");
	fflush(stdout);
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[0].revents)
			carry(p[0].fd, p[1].fd);
		if (p[1].revents)
			carry(p[1].fd, p[0].fd);
	}
	die("poll", 3);
}
