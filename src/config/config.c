// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * The file is read by tables of keys: each section by the file of its name, into the lists of
 * struct config. Whether the names in it exist, and its networks fit together, is checked when all
 * of it has been read, so that sections may stand in any order.
 *
 * The document stays with the config: every object knows its place in it, for what is said later.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/file.h"
#include "config/impl.h"

static int read_block(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct config *c = into;

	return config_block(d, node, &c->block, err);
}

static const struct doc_key file_keys[] = {
	{"block", read_block},
	{"vpcs", config_read_vpcs},
	{"networks", config_read_networks},
	{"vms", config_read_vms},
	{"egress", config_read_egress},
	{"host", config_read_host},
};

static int read_doc(struct config *c, const char *name, struct err *err)
{
	int r = doc_parse(name, c->text.data, c->text.len, DOC_YAML, &c->doc, err);

	if (!r && !doc_is_null(c->doc, doc_root(c->doc))) /* an empty file wants nothing */
		r = doc_read_map(c->doc, doc_root(c->doc), "the file", file_keys,
				 ARRAY_SIZE(file_keys), c, err);
	return r ? r : config_check(c, err);
}

static struct config *config_new(const char *name)
{
	struct config *c = xcalloc(1, sizeof(*c));

	c->path = file_absolute(name);
	return c;
}

int config_parse(const char *name, const char *text, size_t len, struct config **ret,
		 struct err *err)
{
	_config_ struct config *c = config_new(name);
	int r;

	buf_add(&c->text, text, len);
	r = read_doc(c, name, err);
	if (!r)
		*ret = TAKE_PTR(c);
	return r;
}

int config_read(const char *path, struct config **ret, struct err *err)
{
	_config_ struct config *c = config_new(path);
	int r = file_read(path, DOC_SIZE_MAX, &c->text, err);

	if (!r)
		r = read_doc(c, path, err);
	if (!r)
		*ret = TAKE_PTR(c);
	return r;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_subnets; i++)
		free(c->subnets[i].policy);
	for (size_t i = 0; i < c->n_egress; i++)
		egress_spec_done(&c->egress[i].spec);
	free(c->egress);
	for (size_t i = 0; i < c->n_uses; i++)
		free(c->uses[i].exclude);
	free(c->uses);
	free(c->ports);
	for (size_t i = 0; i < c->n_vms; i++)
		free(c->vms[i].policy);
	free(c->vpcs);
	free(c->subnets);
	free(c->peers);
	free(c->vms);
	doc_free(c->doc);
	buf_done(&c->text);
	free(c->path);
	free(c);
}

void config_free_p(struct config **c)
{
	config_free(*c);
}

unsigned int config_line(const struct config *c, struct fy_node *at)
{
	return doc_line(c->doc, at);
}
