// SPDX-License-Identifier: GPL-2.0-or-later
#include <signal.h>

#include "base/thread.h"

int thread_start(pthread_t *ret, void *(*main)(void *arg), void *arg)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}
