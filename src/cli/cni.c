// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vpc/names.h"

#define NET_DIR "/etc/cni/net.d"
#define NETWORK "micropod0"
#define PATH_LEN 512

/* The network that there is, or the one that the first container is to make. */
static int choose_cidr(struct cli *c, const char *name, char ret[CIDR_STRLEN])
{
	const char *wanted = cli_opt(c, "cidr");
	struct cidr cidr;
	struct vpc v;
	int r = cli_open(c, STORE_READ);

	if (r)
		return r;
	r = vpc_load(c->ops.st, name, &v, NULL);
	if (r && r != -ENOENT)
		return err_errno(&c->err, r, "cannot look up network '%s'", name);
	if (!r && !v.flat)
		return err_set(&c->err, ERR_CONFLICT, -EEXIST,
			       "'%s' is a VPC with subnets, not a flat network", name);
	if (!r && !wanted)
		cidr = v.cidr;
	else if (cidr_parse_network(wanted ? wanted : OPS_NETWORK_CIDR, &cidr, &c->err))
		return err_context(&c->err, "--cidr");
	if (!r && !cidr_equal(&cidr, &v.cidr))
		return err_set(&c->err, ERR_CONFLICT, -EEXIST,
			       "network '%s' exists already with %s", name,
			       cidr_format(&v.cidr, ret));
	cidr_format(&cidr, ret);
	return 0;
}

static json_t *conflist(const char *name, const char *cidr)
{
	return json_pack("{s:s, s:s, s:[{s:s, s:s, s:s, s:{s:b, s:b, s:b, s:b, s:b}}]}", "cniVersion",
			 "1.0.0", "name", name, "plugins", "type", "byway", "network", name, "cidr",
			 cidr, "capabilities", "ips", 1, "mac", 1, "bandwidth", 1, "portMappings", 1,
			 "aliases", 1);
}

static int make_dirs(const char *dir, struct err *err)
{
	char path[PATH_LEN];

	if (str_copy(path, sizeof(path), dir))
		return err_errno(err, -ENAMETOOLONG, "%s", dir);
	for (char *slash = path;;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return err_errno(err, -errno, "cannot create %s", path);
		if (!slash)
			return 0;
		*slash = '/';
	}
}

/* Runtimes watch the folder: they never see half of it. */
static int write_file(const char *path, json_t *text, struct err *err)
{
	char temporary[PATH_LEN + 8];

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	if (json_dump_file(text, temporary, JSON_INDENT(2)) || chmod(temporary, 0644) ||
	    rename(temporary, path)) {
		int r = -errno;

		unlink(temporary);
		return err_errno(err, r, "cannot write %s", path);
	}
	return 0;
}

int cmd_cni_install(struct cli *c)
{
	const char *name = cli_opt(c, "network"), *dir = cli_opt(c, "dir");
	char cidr[CIDR_STRLEN], path[PATH_LEN];
	json_t *text;
	int r;

	name = name ? name : NETWORK;
	dir = dir ? dir : NET_DIR;
	r = name_check("network", name, &c->err);
	if (!r)
		r = choose_cidr(c, name, cidr);
	if (r)
		return r;
	if ((size_t)snprintf(path, sizeof(path), "%s/10-%s.conflist", dir, name) >= sizeof(path))
		return err_errno(&c->err, -ENAMETOOLONG, "%s", dir);
	text = conflist(name, cidr);
	r = c->dry_run ? 0 : make_dirs(dir, &c->err);
	if (!r && !c->dry_run)
		r = write_file(path, text, &c->err);
	json_decref(text);
	if (r)
		return r;
	cli_print_result(c, "byway.cni/1",
			 json_pack("{s:s, s:s, s:s}", "file", path, "network", name, "cidr", cidr),
			 "%s: containers go to network %s, %s", path, name, cidr);
	return 0;
}
