/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that runs beside us: started with what it shall have and nothing else, watched and
 * signalled through a pidfd (pidfd_open(2)), so that a PID which is reused is never hit.
 */
#ifndef BYWAY_PROC_CHILD_H
#define BYWAY_PROC_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct netns;

/* Who a program runs as; the caller looks it up (user.h). */
struct child_user {
	uid_t uid;
	gid_t gid; /* the primary group: what nftables' `meta skgid` sees of its sockets */
	const gid_t *groups; /* supplementary */
	size_t n_groups;
	/* CAP_*, below 32, that it keeps though it is not root (ambient, capabilities(7)); then it
	 * can get no others. */
	const int *caps;
	size_t n_caps;
};

struct child_spec {
	const char *path;                     /* run_find() */
	const char *const *argv, *const *env; /* end with NULL; env is all of the environment */
	int in, out, err;                     /* borrowed; -1 for /dev/null */
	const struct netns *ns;               /* NULL: where we are */
	const struct child_user *user;        /* NULL: as we are */
	/* Sent to it when the thread that started it ends (PR_SET_PDEATHSIG); 0 for none. Where the
	 * user is another one, that thread needs CAP_KILL. With root as its user, the child gets
	 * no_new_privs: it has the thread's capabilities, and no others. */
	int death_signal;
	/* In a session of its own, it cannot reach our terminal and no key pressed there ends it.
	 * In ours, it is not ended by keys either: SIGINT and SIGQUIT are ignored. */
	bool own_session, ignore_keys;
};

struct child {
	pid_t pid; /* 0 when there is none */
	int fd;    /* pidfd: readable once it has ended; -1 when there is none */
};

/* Returns when the program has been started, or could not be: then with the reason. No descriptor
 * but the three is inherited, no signal is blocked. */
int child_start(const struct child_spec *spec, struct child *ret, struct err *err);
/* Whether it has ended, without waiting. *ret_status, then: the exit status, or 128 + the signal
 * that ended it; the child is reaped, and the struct one of no child. */
bool child_ended(struct child *c, int *ret_status);
/* As child_ended(), but waits. */
int child_wait(struct child *c);
void child_signal(const struct child *c, int sig);
/* To what it has started, too. Of a child with a session of its own, which it then leads. */
void child_signal_session(const struct child *c, int sig);
/* SIGTERM, and SIGKILL after grace_ms; waits until it has ended. Legal when there is none. */
void child_stop(struct child *c, unsigned int grace_ms);

#endif
