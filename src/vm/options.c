// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "vm/options.h"
#include "vpc/port.h"

/* A number that a uid or gid can be: -1 is none. */
static bool parse_id(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n >= UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static int parse_user(const char *name, uid_t *ret, struct err *err)
{
	const struct passwd *pw;

	if (parse_id(name, ret))
		return 0;
	pw = getpwnam(name);
	if (!pw)
		return err_set(err, ERR_USAGE, -ENOENT, "there is no user '%s'", name);
	*ret = pw->pw_uid;
	return 0;
}

static int parse_group(const char *name, gid_t *ret, struct err *err)
{
	const struct group *gr;

	if (parse_id(name, ret))
		return 0;
	gr = getgrnam(name);
	if (!gr)
		return err_set(err, ERR_USAGE, -ENOENT, "there is no group '%s'", name);
	*ret = gr->gr_gid;
	return 0;
}

int vm_owner_parse(const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	_free_ char *user = xstrdup(text);
	char *group = strchr(user, ':');
	uid_t uid = PORT_NO_UID;
	gid_t gid = PORT_NO_GID;
	int r = 0;

	if (group)
		*group++ = '\0';
	if (!*user && (!group || !*group))
		return err_set(err, ERR_USAGE, -EINVAL, "names neither user nor group");
	if (*user)
		r = parse_user(user, &uid, err);
	if (!r && group && *group)
		r = parse_group(group, &gid, err);
	if (r)
		return r;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

/* "100M", "1500k", "64000", "0". Returns what follows, or NULL. */
static const char *parse_rate(const char *text, uint64_t *ret)
{
	static const char units[] = "kMG";
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (text[0] < '0' || text[0] > '9' || n > PORT_RATE_MAX)
		return NULL;
	for (const char *u = units; unit && u <= unit && n <= PORT_RATE_MAX; u++)
		n *= 1000;
	*ret = n;
	return n > PORT_RATE_MAX ? NULL : end + (unit != NULL);
}

int vm_rates_parse(const char *text, uint64_t *ret_rx, uint64_t *ret_tx, struct err *err)
{
	uint64_t rx = 0, tx = 0;
	const char *rest = parse_rate(text, &rx);

	if (rest)
		rest = *rest == ',' ? parse_rate(rest + 1, &tx) : NULL;
	if (!rest || *rest)
		return err_set(err, ERR_USAGE, -EINVAL,
			       "'%s' is not RX,TX in bits a second, such as 100M,20M", text);
	*ret_rx = rx;
	*ret_tx = tx;
	return 0;
}
