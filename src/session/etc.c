// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A namespace's resolv.conf has a server's resolvers or the file's, and those of the host only in
 * split mode, while no others are known: in full mode the host's would be asked beside the tunnel,
 * if there were a way. Without any, libc asks the namespace's own loopback, where nobody is.
 *
 * resolv.conf(5) cannot ask different resolvers for different domains. The server's are asked for
 * all names; the domains that it wants to be asked for are searched.
 */
#include <string.h>

#include "base/buf.h"
#include "base/etc.h"
#include "base/ip.h"
#include "base/resolvers.h"
#include "session/etc.h"
#include "session/session.h"
#include "session/vpn.h"

static void add_resolvers(struct buf *b, const struct ip *list, size_t n)
{
	char text[IP_STRLEN];

	for (size_t i = 0; i < n; i++)
		buf_addf(b, "nameserver %s\n", ip_format(&list[i], text));
}

static void resolvers(struct buf *b, const struct session_spec *spec, const struct vpn *vpn)
{
	struct ip host[SESSION_DNS_MAX];

	if (spec->n_dns)
		add_resolvers(b, spec->dns, spec->n_dns);
	else if (vpn && vpn->n_dns)
		add_resolvers(b, vpn->dns, vpn->n_dns);
	else if (spec->mode == SESSION_SPLIT)
		add_resolvers(b, host, resolvers_read(host, SESSION_DNS_MAX));
	else
		buf_adds(b, "# No resolver is known.\n");
}

static void search(struct buf *b, const struct session_spec *spec, const struct vpn *vpn)
{
	_buf_ struct buf domains = {0};

	if (spec->search)
		buf_addf(&domains, " %s", spec->search);
	else if (vpn && vpn->domain[0])
		buf_addf(&domains, " %s", vpn->domain);
	for (size_t i = 0; !spec->search && vpn && i < vpn->n_split_dns; i++)
		if (strcmp(vpn->split_dns[i], vpn->domain) != 0)
			buf_addf(&domains, " %s", vpn->split_dns[i]);
	if (domains.len)
		buf_addf(b, "search%s\n", domains.data);
}

int etc_write(const char *netns, const struct session_spec *spec, const struct vpn *vpn,
	      struct err *err)
{
	_buf_ struct buf text = {0};

	resolvers(&text, spec, vpn);
	search(&text, spec, vpn);
	return etc_put(netns, &text, err);
}
