// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "vpc/subnet_file.h"

static int read_name(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct subnet_entry *e = into;

	return doc_read_text(d, node, "a subnet's name", e->name, sizeof(e->name), err);
}

static int read_cidr(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct subnet_entry *e = into;
	struct cidr c;
	int r = doc_read_text(d, node, "a CIDR", e->cidr, sizeof(e->cidr), err);

	if (!r && cidr_parse_network(e->cidr, &c, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_cidr6(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct subnet_entry *e = into;
	struct cidr c;
	int r = doc_read_text(d, node, "a CIDR", e->cidr6, sizeof(e->cidr6), err);

	if (!r && cidr_parse_network(e->cidr6, &c, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_type(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const types[] = {"private", "public"};
	struct subnet_entry *e = into;
	size_t type;
	int r = doc_read_word(d, node, "a subnet's type", types, ARRAY_SIZE(types), &type, err);

	if (!r)
		e->is_public = type == 1;
	return r;
}

struct list {
	struct subnet_entry *v;
	size_t n;
};

static int read_entry(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {
		{"name", read_name, DOC_REQUIRED, NULL},
		{"cidr", read_cidr, 0, NULL},
		{"cidr6", read_cidr6, 0, NULL},
		{"type", read_type, 0, NULL},
	};
	struct list *l = into;
	struct subnet_entry e = {0};
	int r = doc_read_map(d, node, "a subnet", keys, ARRAY_SIZE(keys), &e, err);

	if (r)
		return r;
	l->v = xrealloc(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = e;
	return 0;
}

int subnet_file_read(const char *file, struct subnet_entry **ret, size_t *n, struct err *err)
{
	_buf_ struct buf text = {0};
	_doc_ struct doc *d = NULL;
	struct list l = {0};
	int r = file_read(file, DOC_SIZE_MAX, &text, err);

	if (!r)
		r = doc_parse(file, text.data, text.len, DOC_YAML, &d, err);
	if (!r)
		r = doc_read_list(d, doc_root(d), "the list of subnets", SUBNET_FILE_MAX, read_entry, &l, err);
	if (r) {
		free(l.v);
		return r;
	}
	*ret = l.v;
	*n = l.n;
	return 0;
}
