// SPDX-License-Identifier: GPL-2.0-or-later
/* /run/byway/vpc/NAME.json, and /var/run/vpcctl which points at that folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "ops/ops.h"
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

struct gathered {
	struct vpc vpc;
	struct subnet *subnets;
	struct nat nat;
	struct peer *peers;
	struct vpc *others;
	const struct vpc **other_of;
	struct vpc_parts parts;
};

static void gathered_done(struct gathered *g)
{
	free(g->subnets);
	free(g->peers);
	free(g->others);
	free(g->other_of);
}

static int gather_peers(struct ops *o, struct gathered *g, struct err *err)
{
	size_t n = 0;
	int r = peer_list(o->st, g->vpc.name, &g->peers, &n, err);

	if (r)
		return r;
	g->others = xcalloc(n + 1, sizeof(*g->others));
	g->other_of = xcalloc(n + 1, sizeof(*g->other_of));
	for (size_t i = 0; i < n; i++) {
		const struct peer *p = &g->peers[i];

		if (!vpc_load(o->st, strcmp(p->a, g->vpc.name) ? p->a : p->b, &g->others[i], NULL))
			g->other_of[i] = &g->others[i];
	}
	g->parts.peers = g->peers;
	g->parts.n_peers = n;
	g->parts.others = g->other_of;
	return 0;
}

static int gather(struct ops *o, const char *vpc, struct gathered *g, struct err *err)
{
	int r = vpc_load(o->st, vpc, &g->vpc, err);

	if (!r)
		r = subnet_list(o->st, vpc, &g->subnets, &g->parts.n_subnets, err);
	if (!r)
		r = gather_peers(o, g, err);
	if (r)
		return r;
	g->parts.vpc = &g->vpc;
	g->parts.subnets = g->subnets;
	g->parts.nat = nat_load(o->st, vpc, &g->nat, NULL) ? NULL : &g->nat;
	return 0;
}

int ops_publish(struct ops *o, const char *vpc, struct err *err)
{
	_cleanup_(gathered_done) struct gathered g = {0};
	char file[NAME_MAX_LEN + 8];
	json_t *json;
	char *text;
	int r;

	if (o->log.dry_run)
		return 0;
	r = gather(o, vpc, &g, err);
	if (r)
		return r;
	json = view_state_file(&g.parts);
	text = json_dumps(json, JSON_INDENT(2));
	snprintf(file, sizeof(file), "%s.json", vpc);
	r = store_publish(o->st, VIEW_DIR, file, text, strlen(text), err);
	free(text);
	json_decref(json);
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
	_cleanup_(gathered_done) struct gathered g = {0};
	int r = gather(o, vpc, &g, err);

	if (!r)
		*ret = view_vpc(&g.parts);
	return r;
}
