// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded into byway, it takes a feature away from the kernel: the name $LACKING of a kind of
 * link or of an expression of nftables becomes one that no kernel knows, in each message to
 * netlink, and the kernel answers as one that was built without it. "netns" stands for network
 * namespaces.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef ssize_t (*sendto_fn)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
typedef int (*unshare_fn)(int);

/* A name stands behind its attribute's header, whose last byte is 0, and ends with 0. */
static void rename_all(char *data, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 1; i + n < len; i++)
		if (!data[i - 1] && !data[i + n] && !memcmp(data + i, name, n))
			data[i] = 'X';
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
	       socklen_t to_len)
{
	sendto_fn next = (sendto_fn)dlsym(RTLD_NEXT, "sendto");
	const char *lacking = getenv("LACKING");
	char *copy = NULL;
	ssize_t n;

	if (lacking && to && to->sa_family == AF_NETLINK)
		copy = malloc(len);
	if (!copy)
		return next(fd, data, len, flags, to, to_len);
	memcpy(copy, data, len);
	rename_all(copy, len, lacking);
	n = next(fd, copy, len, flags, to, to_len);
	free(copy);
	return n;
}

int unshare(int flags)
{
	unshare_fn next = (unshare_fn)dlsym(RTLD_NEXT, "unshare");
	const char *lacking = getenv("LACKING");

	if ((flags & CLONE_NEWNET) && lacking && !strcmp(lacking, "netns")) {
		errno = EINVAL;
		return -1;
	}
	return next(flags);
}
