// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What on this host is in the way of a VPC's traffic, without changing anything.
 *
 * Docker, ufw and firewalld leave the FORWARD chain of iptables at policy DROP. Netfilter asks every
 * base chain on a hook: an accept in ours does not overrule a drop in theirs. The remedy is a rule in
 * their chain for the links of our group.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/sysctl.h"
#include "ops/ops.h"
#include "proc/run.h"
#include "vpc/names.h"

struct findings {
	struct finding *v;
	size_t n;
};

static void _printf_(3, 4)
	found(struct findings *f, const char *fix, const char *fmt, ...)
{
	struct finding *one;
	va_list ap;

	f->v = xrealloc(f->v, f->n + 1, sizeof(*f->v));
	one = &f->v[f->n++];
	snprintf(one->fix, sizeof(one->fix), "%s", fix);
	va_start(ap, fmt);
	vsnprintf(one->what, sizeof(one->what), fmt, ap);
	va_end(ap);
}

/* Who made the chain policy what it is, by the chains that they leave. */
static const char *who_filters(const char *rules)
{
	static const struct {
		const char *chain, *who;
	} known[] = {
		{"DOCKER-FORWARD", "Docker"}, {"DOCKER-USER", "Docker"},  {"DOCKER", "Docker"},
		{"ufw-", "ufw"},	      {"LIBVIRT_FWI", "libvirt"}, {"FORWARD_direct", "firewalld"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strstr(rules, known[i].chain))
			return known[i].who;
	}
	return "another program";
}

static bool accepts_group(const char *rules)
{
	char match[64];

	snprintf(match, sizeof(match), "--src-group 0x%x", GROUP_VPC);
	return strstr(rules, match) != NULL;
}

/* What a program says, or nothing when it is not installed or fails: a kernel without such a table. */
static int output_of(struct ops *o, const char *const argv[], struct buf *out, struct err *err)
{
	int status = 0, r;

	if (!run_has(argv[0]))
		return 0;
	r = run(o->host, argv, NULL, out, NULL, &status, err);
	if (status)
		buf_reset(out);
	return r;
}

/* Reads `iptables -S FORWARD` and the names of all chains. */
static int check_forward(struct ops *o, const char *program, struct findings *f, struct err *err)
{
	const char *const argv[] = {program, "-w", "5", "-S", NULL};
	_buf_ struct buf out = {0};
	char fix[256];
	int r = output_of(o, argv, &out, err);

	if (r || !out.data || !strstr(out.data, "-P FORWARD DROP") || accepts_group(out.data))
		return r;
	snprintf(fix, sizeof(fix),
		 "%s -I FORWARD -m devgroup --src-group 0x%x -j ACCEPT && "
		 "%s -I FORWARD -m devgroup --dst-group 0x%x -j ACCEPT",
		 program, GROUP_VPC, program, GROUP_VPC);
	found(f, fix, "the policy of %s's chain FORWARD is DROP (\"-P FORWARD DROP\", set by %s): it "
		      "drops what VPCs forward",
	      program, who_filters(out.data));
	return 0;
}

static void insert_command(const char *family, const char *table, const char *chain, char *ret,
			   size_t size)
{
	snprintf(ret, size,
		 "nft 'insert rule %s %s %s meta iifgroup %u accept; insert rule %s %s %s meta oifgroup %u "
		 "accept'",
		 family, table, chain, GROUP_VPC, family, table, chain, GROUP_VPC);
}

/* Does the chain let our group through? */
static int check_chain(struct ops *o, const char *family, const char *table, const char *chain,
		       struct findings *f, struct err *err)
{
	const char *const argv[] = {"nft", "list", "chain", family, table, chain, NULL};
	_buf_ struct buf out = {0};
	char fix[256], match[32];
	int r = output_of(o, argv, &out, err);

	snprintf(match, sizeof(match), "iifgroup %u", GROUP_VPC);
	if (r || !out.data || strstr(out.data, match))
		return r;
	insert_command(family, table, chain, fix, sizeof(fix));
	found(f, fix, "the policy of chain %s in table %s %s is drop, on the hook forward: it drops what "
		      "VPCs forward",
	      chain, family, table);
	return 0;
}

/* iptables' own tables, when nftables carries them, are looked at through iptables. */
static bool is_iptables(const char *family, const char *table)
{
	return (!strcmp(family, "ip") || !strcmp(family, "ip6")) && !strcmp(table, "filter");
}

/* Reads `nft list chains`: every base chain on the hook forward whose policy is drop. */
static int check_nft(struct ops *o, struct findings *f, struct err *err)
{
	static const char *const argv[] = {"nft", "list", "chains", NULL};
	char family[16] = "", table[128] = "", chain[128] = "";
	_buf_ struct buf out = {0};
	char *rest = NULL;
	int r = output_of(o, argv, &out, err);

	for (char *line = out.data ? strtok_r(out.data, "\n", &rest) : NULL; line && !r;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "table %15s %127s", family, table) == 2 ||
		    sscanf(line, " chain %127s", chain) == 1)
			continue;
		if (strstr(line, "hook forward") && strstr(line, "policy drop") &&
		    !is_iptables(family, table))
			r = check_chain(o, family, table, chain, f, err);
	}
	return r;
}

static bool is_trusted(struct ops *o, const char *bridge)
{
	const char *const argv[] = {"firewall-cmd", "--get-zone-of-interface", bridge, NULL};
	_buf_ struct buf zone = {0};

	return !output_of(o, argv, &zone, NULL) && zone.data && strstr(zone.data, "trusted");
}

/* firewalld's last word in its forward chain is a reject, whatever the policy: our bridges belong into
 * a zone that forwards, or our group before that. */
static int check_firewalld(struct ops *o, struct findings *f, struct err *err)
{
	static const char *const argv[] = {"nft", "list", "chain", "inet", "firewalld",
					   "filter_FORWARD", NULL};
	_free_ struct vpc *v = NULL;
	_buf_ struct buf out = {0};
	char fix[256], match[32];
	size_t n = 0;
	int r = output_of(o, argv, &out, err);

	snprintf(match, sizeof(match), "iifgroup %u", GROUP_VPC);
	if (!r && out.data && *out.data && !strstr(out.data, match))
		r = vpc_list(o->st, &v, &n, err);
	insert_command("inet", "firewalld", "filter_FORWARD", fix, sizeof(fix));
	for (size_t i = 0; !r && i < n; i++) {
		if (is_trusted(o, v[i].bridge))
			continue;
		if (run_has("firewall-cmd"))
			snprintf(fix, sizeof(fix), "firewall-cmd --zone=trusted --add-interface=%s", v[i].bridge);
		found(f, fix, "firewalld's chain filter_FORWARD rejects what %s forwards: it is in no "
			      "trusted zone",
		      v[i].bridge);
	}
	return r;
}

/* The variants that there are, each with tables of its own; else whatever goes by the plain name. */
static int check_iptables(struct ops *o, struct findings *f, struct err *err)
{
	static const char *const programs[][3] = {
		{"iptables-nft", "iptables-legacy", "iptables"},
		{"ip6tables-nft", "ip6tables-legacy", "ip6tables"},
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(programs); i++) {
		bool variants = run_has(programs[i][0]) || run_has(programs[i][1]);

		for (size_t k = variants ? 0 : 2; !r && k < (variants ? 2 : 3); k++)
			r = check_forward(o, programs[i][k], f, err);
	}
	return r;
}

static int check_forwarding(struct ops *o, struct findings *f, struct err *err)
{
	char value[SYSCTL_VALUE_MAX];
	int64_t vpcs = 0;
	int r = row_number(o->st, "SELECT COUNT(*) FROM vpc", NULL, &vpcs, err);

	if (r || !vpcs || sysctl_get(o->host, "net/ipv4/ip_forward", value, NULL))
		return r;
	if (!strcmp(value, "0"))
		found(f, "sysctl -w net.ipv4.ip_forward=1",
		      "net.ipv4.ip_forward is 0, though there are VPCs: something switched it off");
	return 0;
}

int ops_doctor(struct ops *o, struct finding **ret, size_t *n, struct err *err)
{
	struct findings f = {0};
	int r = check_iptables(o, &f, err);

	if (!r)
		r = check_nft(o, &f, err);
	if (!r)
		r = check_firewalld(o, &f, err);
	if (!r)
		r = check_forwarding(o, &f, err);
	if (r) {
		free(f.v);
		return r;
	}
	*ret = f.v;
	*n = f.n;
	return 0;
}
