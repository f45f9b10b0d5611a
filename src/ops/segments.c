// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ops/ops.h"
#include "ops/segments.h"
#include "vpc/names.h"
#include "vpc/net.h"

static int count_ports(struct segments *s, struct err *err)
{
	_stmt_ struct sqlite3_stmt *q = NULL;
	int r = store_query(s->o->st, &q, err,
			    "SELECT segment, COUNT(*) FROM"
			    " (SELECT segment FROM subnet WHERE vpc = ?1"
			    " UNION ALL SELECT segment FROM port WHERE vpc = ?1) GROUP BY segment",
			    "s", s->vpc->name);

	s->used = xcalloc(s->n + 1, sizeof(*s->used));
	if (r)
		return r;
	while ((r = store_step(s->o->st, q, err)) == 1) {
		size_t no = (size_t)sqlite3_column_int64(q, 0);

		s->used[MIN(no, s->n)] += (unsigned int)sqlite3_column_int(q, 1);
	}
	return r;
}

int segments_init(struct segments *s, struct ops *o, const struct vpc *v, struct err *err)
{
	int r;

	*s = (struct segments){.o = o, .vpc = v};
	r = segment_list(o->st, v->name, &s->list, &s->n, err);
	return r ? r : count_ports(s, err);
}

void segments_done(struct segments *s)
{
	free(s->list);
	free(s->used);
}

static int insert(struct segments *s, unsigned int no, struct err *err)
{
	struct segment seg = {.no = no, .state = ROW_CREATING};
	int r;

	str_copy(seg.vpc, sizeof(seg.vpc), s->vpc->name);
	r = name_segment(s->o->host, seg.vpc, no, "br-", seg.bridge, err);
	if (!r)
		r = name_segment(s->o->host, seg.vpc, no, "tu-", seg.trunk_up, err);
	if (!r)
		r = name_segment(s->o->host, seg.vpc, no, "td-", seg.trunk_down, err);
	if (!r)
		r = segment_insert(s->o->st, &seg, err);
	if (r)
		return r;
	s->list = xrealloc(s->list, s->n + 1, sizeof(*s->list));
	s->list[s->n++] = seg;
	s->used = xrealloc(s->used, s->n + 1, sizeof(*s->used));
	s->used[s->n] = 0;
	return 0;
}

int segments_place(struct segments *s, unsigned int *ret_no, struct err *err)
{
	unsigned int no = 0;
	int r;

	while (no <= s->n && s->used[no] >= SEGMENT_PORTS)
		no++;
	r = no > s->n ? insert(s, no, err) : 0;
	if (r)
		return r;
	s->used[no]++;
	*ret_no = no;
	return 0;
}

int segments_place_first(struct segments *s, struct err *err)
{
	if (s->used[0] >= SEGMENT_PORTS)
		return err_set(err, ERR_CONFLICT, -ENOSPC,
			       "bridge %s is full, and isolated ports must be on the same one",
			       s->vpc->bridge);
	s->used[0]++;
	return 0;
}

const char *segments_bridge(const struct segments *s, unsigned int no)
{
	return no ? s->list[no - 1].bridge : s->vpc->bridge;
}

int segments_up(struct segments *s, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < s->n; i++) {
		if (s->list[i].state == ROW_CREATING)
			r = segment_up(s->o->host, s->vpc, &s->list[i], err);
	}
	return r;
}

int segments_finish(struct segments *s, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < s->n; i++) {
		if (s->list[i].state == ROW_CREATING)
			r = segment_set_state(s->o->st, &s->list[i], ROW_ACTIVE, err);
	}
	return r;
}

void segments_undo(struct segments *s)
{
	_name_list_ struct name_list links = {0};

	for (size_t i = 0; i < s->n; i++) {
		if (s->list[i].state != ROW_CREATING)
			continue;
		name_list_add(&links, s->list[i].bridge);
		name_list_add(&links, s->list[i].trunk_up);
		name_list_add(&links, s->list[i].trunk_down);
	}
	if (!links.n || links_down(s->o->host, &links, NULL) || ops_begin(s->o, NULL))
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (s->list[i].state == ROW_CREATING)
			segment_remove(s->o->st, &s->list[i], NULL);
	}
	ops_end(s->o, 0, NULL);
}
