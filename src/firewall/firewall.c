// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "firewall/backend.h"
#include "firewall/firewall.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"

struct firewall {
	const struct fw_backend *backend;
};

static const struct fw_backend *const backends[] = {
	[FW_AUTO] = NULL,
	[FW_NATIVE] = &fw_native,
	[FW_NFT] = &fw_nft,
	[FW_IPTABLES] = &fw_iptables,
};
static_assert(ARRAY_SIZE(backends) == FW_NUM_BACKENDS, "backends[] doesn't match its enum");

static const char *const backend_names[] = {
	[FW_AUTO] = "auto",
	[FW_NATIVE] = "native",
	[FW_NFT] = "nft",
	[FW_IPTABLES] = "iptables",
};
static_assert(ARRAY_SIZE(backend_names) == FW_NUM_BACKENDS, "one name per enum fw_backend_id");

const char *firewall_backend_name(enum fw_backend_id id)
{
	return backend_names[id];
}

int firewall_backend_parse(const char *name, enum fw_backend_id *ret, struct err *err)
{
	const char *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(backend_names); i++) {
		if (!strcmp(name, backend_names[i])) {
			*ret = (enum fw_backend_id)i;
			return 0;
		}
	}
	nearest = str_nearest(name, backend_names, ARRAY_SIZE(backend_names));
	err_set(err, ERR_USAGE, -EINVAL,
		"'%s' is no firewall backend: auto, native, nft or iptables", name);
	if (nearest)
		err_append(err, " (did you mean %s?)", nearest);
	return -EINVAL;
}

/* The first backend that works; the first one's complaint when none does. */
static int choose(struct netns *ns, enum fw_backend_id *id, struct err *err)
{
	struct err first = {0}, next = {0};

	for (enum fw_backend_id i = FW_NATIVE; i < FW_NUM_BACKENDS; i++) {
		int r = backends[i]->probe(ns, i == FW_NATIVE ? &first : &next);

		if (!r || r == -EPERM) { /* not permitted: neither would the others be */
			*id = i;
			if (r && err)
				*err = i == FW_NATIVE ? first : next;
			return r;
		}
	}
	if (err)
		*err = first;
	err_append(err, "; neither nft(8) nor iptables(8) works here");
	return first.code;
}

int firewall_new(enum fw_backend_id want, struct netns *ns, struct firewall **ret, struct err *err)
{
	struct firewall *fw;
	int r = want == FW_AUTO ? choose(ns, &want, err) : backends[want]->probe(ns, err);

	if (r)
		return r;
	fw = xcalloc(1, sizeof(*fw));
	fw->backend = backends[want];
	*ret = fw;
	return 0;
}

void firewall_free(struct firewall *fw)
{
	free(fw);
}

void firewall_free_p(struct firewall **fw)
{
	firewall_free(*fw);
}

const char *firewall_name(const struct firewall *fw)
{
	return fw->backend->name;
}

int firewall_apply(struct firewall *fw, struct netns *ns, const struct ruleset *rs, struct err *err)
{
	return fw->backend->apply(ns, rs, err);
}

int firewall_update(struct firewall *fw, struct netns *ns, const struct ruleset *add,
		    const struct ruleset *del, struct err *err)
{
	static const struct ruleset nothing;

	return fw->backend->update(ns, add ? add : &nothing, del ? del : &nothing, err);
}

int firewall_remove(struct firewall *fw, struct netns *ns, const struct ruleset *rs,
		    struct err *err)
{
	return fw->backend->remove(ns, rs, err);
}

int firewall_verify(struct firewall *fw, struct netns *ns, const struct ruleset *rs,
		    struct err *err)
{
	/* A dry run has changed nothing that could be read back. */
	return oplog_dry(ns->log) ? 0 : fw->backend->verify(ns, rs, err);
}
