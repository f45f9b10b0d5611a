/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a backend is. The contracts of its functions are those of firewall.h; ns is never that of
 * a dry run in verify.
 */
#ifndef BYWAY_FIREWALL_BACKEND_H
#define BYWAY_FIREWALL_BACKEND_H

struct err;
struct netns;
struct ruleset;

struct fw_backend {
	const char *name;
	/* 0 when it works here; -errno with ERR_UNSUPPORTED and what is missing. */
	int (*probe)(struct netns *ns, struct err *err);
	int (*apply)(struct netns *ns, const struct ruleset *rs, struct err *err);
	int (*update)(struct netns *ns, const struct ruleset *add, const struct ruleset *del,
		      struct err *err);
	int (*remove)(struct netns *ns, const struct ruleset *rs, struct err *err);
	int (*verify)(struct netns *ns, const struct ruleset *rs, struct err *err);
};

extern const struct fw_backend fw_native, fw_nft, fw_iptables;

#endif
