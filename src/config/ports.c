// SPDX-License-Identifier: GPL-2.0-or-later
/* Published ports. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "config/impl.h"

struct port_reading {
	struct config *c;
	const char *vpc, *target;
};

static int add_range(struct port_reading *rd, struct fy_node *node,
		     const struct mapping_range *range, struct err *err)
{
	struct config *c = rd->c;
	size_t n = (size_t)(range->last - range->first) + 1;

	if (c->n_ports + n > CONFIG_PORTS_MAX)
		return doc_error(c->doc, node, err, "the file publishes more than %d ports",
				 CONFIG_PORTS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct config_publish *p;

		GROW(c->ports, c->n_ports);
		p = &c->ports[c->n_ports++];
		*p = (struct config_publish){.at = node};
		p->m.host_addr = range->host_addr;
		p->m.protocol = range->protocol ? range->protocol : IPPROTO_TCP;
		p->m.host_port = (uint16_t)(range->first + i);
		p->m.port = (uint16_t)(range->to + i);
		str_copy(p->m.vpc, sizeof(p->m.vpc), rd->vpc);
		str_copy(p->m.target, sizeof(p->m.target), rd->target);
	}
	return 0;
}

static int read_range(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct mapping_range range = {0};
	char text[MAPPING_STRLEN];
	int r = doc_read_text(d, node, "a published port", text, sizeof(text), err);

	if (r)
		return r;
	if (mapping_range_parse(text, &range, err))
		return doc_error_at(d, node, err);
	if (!range.to)
		return doc_error(d, node, err, "\"%s\" does not say to which port: HOSTPORT:PORT",
				 text);
	return add_range(into, node, &range, err);
}

int value_ports(struct config *c, struct fy_node *node, const char *vpc, const char *target,
		struct err *err)
{
	struct port_reading rd = {.c = c, .vpc = vpc, .target = target};

	return doc_read_list(c->doc, node, "\"publish\"", CONFIG_PORTS_MAX, read_range, &rd, err);
}

static bool has_family(const struct config *c, const struct mapping *m)
{
	const struct config_vpc *v = config_find_vpc(c, m->vpc);

	/* That there is none is told elsewhere. */
	return !v || m->host_addr.family != AF_INET6 || v->v.cidr6.addr.family;
}

int config_check_ports(struct config *c, struct err *err)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		if (!has_family(c, &c->ports[i].m))
			return doc_error(c->doc, c->ports[i].at, err,
					 "\"%s\" has no IPv6 address to lead to",
					 c->ports[i].m.target);
		for (size_t k = 0; k < i; k++) {
			char one[MAPPING_STRLEN], two[MAPPING_STRLEN];

			if (mapping_overlaps(&c->ports[i].m, &c->ports[k].m))
				return doc_error(c->doc, c->ports[i].at, err,
						 "%s is published already, as %s in line %u",
						 mapping_format(&c->ports[i].m, one),
						 mapping_format(&c->ports[k].m, two),
						 config_line(c, c->ports[k].at));
		}
	}
	return 0;
}
