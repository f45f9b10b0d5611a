// SPDX-License-Identifier: GPL-2.0-or-later
/* /run/byway/vpc/NAME.json, and /var/run/vpcctl which points at that folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "ops/ops.h"
#include "vpc/mapping.h"
#include "vpc/port.h"
#include "vpc/view.h"

#define VIEW_DIR "vpc"
#define VPCCTL_LINK "/var/run/vpcctl"

/* A folder or link of somebody else's stays as it is. */
static void link_vpcctl(const struct ops *o)
{
	_free_ char *target = xasprintf("%s/" VIEW_DIR, store_dir(o->st));

	if (symlink(target, VPCCTL_LINK) && errno != EEXIST)
		log_debug("cannot make " VPCCTL_LINK ": %s", strerror(errno));
}

static void unlink_vpcctl(const struct ops *o)
{
	_free_ char *target = xasprintf("%s/" VIEW_DIR, store_dir(o->st));
	char now[256] = "";

	if (readlink(VPCCTL_LINK, now, sizeof(now) - 1) > 0 && !strcmp(now, target))
		unlink(VPCCTL_LINK);
}

int ops_publish(struct ops *o, const char *vpc, struct err *err)
{
	char file[NAME_MAX_LEN + 8];
	_buf_ struct buf text = {0};
	int r;

	if (o->log.dry_run)
		return 0;
	r = view_state_file(o->st, vpc, &text, err);
	if (r)
		return r;
	snprintf(file, sizeof(file), "%s.json", vpc);
	r = store_publish(o->st, VIEW_DIR, file, text.data, text.len, err);
	if (!r)
		link_vpcctl(o);
	return r;
}

int ops_unpublish(struct ops *o, const char *vpc, struct err *err)
{
	char file[NAME_MAX_LEN + 8];
	int64_t vpcs = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc", NULL, &vpcs, err);

	if (r || o->log.dry_run)
		return r;
	if (!vpcs)
		return ops_unpublish_all(o, err);
	snprintf(file, sizeof(file), "%s.json", vpc);
	return store_unpublish(o->st, VIEW_DIR, file, err);
}

int ops_unpublish_all(struct ops *o, struct err *err)
{
	if (o->log.dry_run)
		return 0;
	unlink_vpcctl(o);
	return store_unpublish_all(o->st, VIEW_DIR, err);
}

int ops_describe(struct ops *o, const char *vpc, json_t **ret, struct err *err)
{
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	_free_ struct peer *peers = NULL;
	_free_ struct mapping *mappings = NULL;
	struct vpc_parts parts = {0};
	struct nat nat;
	struct vpc v;
	int r = vpc_load(o->st, vpc, &v, err);

	if (!r)
		r = subnet_list(o->st, vpc, &subnets, &parts.n_subnets, err);
	if (!r)
		r = port_list(o->st, vpc, &ports, &parts.n_ports, err);
	if (!r)
		r = peer_list(o->st, vpc, &peers, &parts.n_peers, err);
	if (!r)
		r = mapping_list(o->st, vpc, &mappings, &parts.n_mappings, err);
	if (r)
		return r;
	parts.vpc = &v;
	parts.subnets = subnets;
	parts.ports = ports;
	parts.peers = peers;
	parts.mappings = mappings;
	parts.nat = nat_load(o->st, vpc, &nat, NULL) ? NULL : &nat;
	*ret = view_vpc(&parts);
	return 0;
}
