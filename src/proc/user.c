// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/user.h"

#define GROUPS_FIRST 64

void user_done(struct user *u)
{
	free(u->name);
	free(u->home);
	free(u->shell);
	free(u->groups);
	*u = (struct user){0};
}

static void load_groups(struct user *u)
{
	int n = GROUPS_FIRST;

	u->groups = xcalloc((size_t)n, sizeof(gid_t));
	while (getgrouplist(u->name, u->gid, u->groups, &n) < 0)
		u->groups = xrealloc(u->groups, (size_t)n, sizeof(gid_t));
	u->n_groups = (size_t)n;
}

/* Of use to root alone: anybody may set the variable. */
static int invoking_uid(uid_t *ret, struct err *err)
{
	const char *text = getuid() == 0 ? getenv("SUDO_UID") : NULL;
	unsigned long n;
	char *end;

	*ret = getuid();
	if (!text)
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || end == text || n >= UINT32_MAX)
		return err_set(err, ERR_USAGE, -EINVAL, "SUDO_UID is no user: %s", text);
	*ret = (uid_t)n;
	return 0;
}

int user_invoking(struct user *ret, struct err *err)
{
	const struct passwd *pw;
	uid_t uid;
	int r = invoking_uid(&uid, err);

	if (r)
		return r;
	errno = 0;
	pw = getpwuid(uid);
	if (!pw)
		return err_set(err, ERR_NOT_FOUND, -ENOENT, "there is no user with the number %u",
			       (unsigned int)uid);
	*ret = (struct user){
		.uid = uid,
		.gid = pw->pw_gid,
		.name = xstrdup(pw->pw_name),
		.home = xstrdup(pw->pw_dir),
		.shell = xstrdup(pw->pw_shell[0] ? pw->pw_shell : "/bin/sh"),
	};
	load_groups(ret);
	return 0;
}
