/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test's set-up and teardown: it leaves as many descriptors open as it found. */
#ifndef BYWAY_TESTS_OPEN_FDS_H
#define BYWAY_TESTS_OPEN_FDS_H

#include <dirent.h>

static inline unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static unsigned int fds_before;

static inline int remember_fds(void **state)
{
	(void)state;
	fds_before = count_fds();
	return 0;
}

static inline int compare_fds(void **state)
{
	(void)state;
	return count_fds() == fds_before ? 0 : -1;
}

#endif
