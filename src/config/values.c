// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "base/err.h"
#include "config/impl.h"
#include "vpc/names.h"
#include "vpc/plan.h"

#define PATH_MAX_LEN 4095

int value_name(struct doc *d, struct fy_node *key, const char *what, const char *name,
	       char ret[NAME_MAX_LEN], struct err *err)
{
	if (name_check(what, name, err))
		return doc_error_at(d, key, err);
	return str_copy(ret, NAME_MAX_LEN, name);
}

int value_vpc_name(struct doc *d, struct fy_node *key, const char *what, const char *name,
		   char ret[NAME_MAX_LEN], struct err *err)
{
	if (name_check_vpc(what, name, err))
		return doc_error_at(d, key, err);
	return str_copy(ret, NAME_MAX_LEN, name);
}

int value_network(struct doc *d, struct fy_node *node, const char *what, int family,
		  struct cidr *ret, struct err *err)
{
	char text[CIDR_STRLEN];
	int r = doc_read_text(d, node, what, text, sizeof(text), err);

	if (!r && plan_vpc_cidr(text, family, ret, err))
		r = doc_error_at(d, node, err);
	return r;
}

int config_block(struct doc *d, struct fy_node *node, enum config_block *ret, struct err *err)
{
	char text[64] = "";
	bool yes = false;
	int r;

	if (!doc_is_string(d, node)) {
		r = doc_read_bool(d, node, "'block'", &yes, err);
		*ret = yes ? CONFIG_BLOCK_UNTIL_APPLIED : CONFIG_BLOCK_NEVER;
		return r;
	}
	r = doc_read_text(d, node, "'block'", text, sizeof(text), err);
	if (!r && strcmp(text, "tunnel") != 0)
		r = doc_error(d, node, err, "'block' is true, false or tunnel, not '%s'", text);
	if (!r)
		*ret = CONFIG_BLOCK_UNTIL_TUNNEL;
	return r;
}

int value_path(const struct config *c, struct fy_node *node, const char *what, char **ret,
	       struct err *err)
{
	char *text = NULL;
	int r = doc_read_string(c->doc, node, what, PATH_MAX_LEN, &text, err);

	if (r)
		return r;
	if (!*text)
		r = doc_error(c->doc, node, err, "%s is empty", what);
	else if (*text == '/')
		*ret = TAKE_PTR(text);
	else
		*ret = xasprintf("%.*s/%s", (int)(strrchr(c->path, '/') - c->path), c->path, text);
	free_p(&text);
	return r;
}
