// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Other programs' rules.
 *
 * Docker, ufw and firewalld drop or reject what they do not know, on the hook forward. Netfilter
 * asks every base chain on a hook: an accept in ours does not overrule a drop in theirs. The remedy
 * is a rule in their chain for the links of our groups, marked by its comment. Who may be reached
 * by whom is still decided by our own table.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/netns.h"
#include "kernel/oplog.h"
#include "kernel/sysctl.h"
#include "ops/doctor.h"
#include "ops/ops.h"
#include "proc/run.h"
#include "tunnel/capture.h"
#include "vpc/names.h"
#include "vpc/way.h"

#define COMMENT "byway-doctor" /* of every rule that a mend makes */
#define ARGS_MAX 48

/* Runs a command that changes something; none in a dry run. */
static int change(struct ops *o, const char *const argv[], struct err *err)
{
	_buf_ struct buf words = {0}, said = {0};
	int status = 0, r;

	buf_add_words(&words, argv);
	oplog_add(&o->log, NULL, "%s", words.data);
	if (oplog_dry(&o->log))
		return 0;
	r = run(o->host, argv, NULL, NULL, &said, &status, err);
	if (!r && status)
		r = err_set(err, ERR_FAILED, -EIO, "%s: %s", words.data,
			    said.data ? said.data : "failed");
	return r;
}

/* ---- iptables ---- */

/* The variants that there are, each with tables of its own; else whatever goes by the plain name.
 */
static int each_iptables(struct ops *o, int (*fn)(struct ops *, const char *, void *, struct err *),
			 void *arg, struct err *err)
{
	static const char *const programs[][3] = {
		{"iptables-nft", "iptables-legacy", "iptables"},
		{"ip6tables-nft", "ip6tables-legacy", "ip6tables"},
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(programs); i++) {
		bool variants = run_has(programs[i][0]) || run_has(programs[i][1]);

		for (size_t k = variants ? 0 : 2; !r && k < (variants ? 2 : 3); k++)
			r = fn(o, programs[i][k], arg, err);
	}
	return r;
}

static int list_table(struct ops *o, const char *program, const char *table, struct buf *ret,
		      struct err *err)
{
	const char *const argv[] = {program, "-w", "5", "-t", table, "-S", NULL};

	return doctor_output(o, argv, ret, err);
}

/* Who made the chain what it is, by the chains that they leave. */
static const char *who_filters(const char *rules)
{
	static const struct {
		const char *chain, *who;
	} known[] = {
		{"DOCKER", "Docker"},
		{"ufw-", "ufw"},
		{"KUBE-", "Kubernetes"},
		{"NETAVARK", "podman"},
		{"CNI-", "a CNI plugin"},
		{"LIBVIRT_FWI", "libvirt"},
		{"FORWARD_direct", "firewalld"},
		{"ts-forward", "Tailscale"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strstr(rules, known[i].chain))
			return known[i].who;
	}
	return "another program";
}

/* By policy, or by a last rule for everything. */
static bool drops_forwarded(const char *rules)
{
	return strstr(rules, "-P FORWARD DROP") || strstr(rules, "-A FORWARD -j REJECT") ||
	       strstr(rules, "-A FORWARD -j DROP");
}

static const char *const directions[] = {"--src-group", "--dst-group"};

/* Our rule, or somebody's for bridges of VPCs. */
static bool accepts(const char *rules, const char *direction)
{
	char ours[64], bridges[64];

	snprintf(ours, sizeof(ours), "%s 0x%x/", direction, GROUP_OURS);
	snprintf(bridges, sizeof(bridges), "%s 0x%x ", direction, GROUP_VPC);
	return strstr(rules, ours) || strstr(rules, bridges);
}

static bool accepts_group(const char *rules)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++)
		n += accepts(rules, directions[i]);
	return n == ARRAY_SIZE(directions);
}

/* Docker puts its own rules in front of FORWARD again and again; this chain is for others'. */
static const char *chain_for_us(const char *rules)
{
	return strstr(rules, "-A FORWARD -j DOCKER-USER") ? "DOCKER-USER" : "FORWARD";
}

/* One of the two may be there already. */
static int mend_iptables(struct ops *o, const struct finding *f, struct err *err)
{
	_buf_ struct buf rules = {0};
	char group[32];
	int r = list_table(o, f->target, "filter", &rules, err);

	snprintf(group, sizeof(group), "0x%x/0x%x", GROUP_OURS, GROUP_MASK);
	for (size_t i = 0; !r && i < ARRAY_SIZE(directions); i++) {
		const char *const argv[] = {f->target, "-w", "5",        "-I",
					    f->value,  "-m", "devgroup", directions[i],
					    group,     "-m", "comment",  "--comment",
					    COMMENT,   "-j", "ACCEPT",   NULL};

		if (!rules.data || !accepts(rules.data, directions[i]))
			r = change(o, argv, err);
	}
	return r;
}

static int check_forward(struct ops *o, const char *program, void *arg, struct err *err)
{
	struct findings *f = arg;
	struct finding *one;
	_buf_ struct buf out = {0};
	const char *chain;
	int r = list_table(o, program, "filter", &out, err);

	if (r || !out.data || !drops_forwarded(out.data) || accepts_group(out.data))
		return r;
	one = doctor_found(f, f->in_use ? SEVERITY_PROBLEM : SEVERITY_WARNING,
			   "%s's chain FORWARD drops what no rule of it accepts (%s, set by %s)",
			   program,
			   strstr(out.data, "-P FORWARD DROP") ? "policy DROP" : "its last rule",
			   who_filters(out.data));
	doctor_why(one, "VPCs, networks and sessions are forwarded by the host");
	chain = chain_for_us(out.data);
	doctor_fix(one,
		   "%s -I %s -m devgroup %s 0x%x/0x%x -m comment --comment " COMMENT
		   " -j ACCEPT && "
		   "%s -I %s -m devgroup %s 0x%x/0x%x -m comment --comment " COMMENT " -j ACCEPT",
		   program, chain, directions[0], GROUP_OURS, GROUP_MASK, program, chain,
		   directions[1], GROUP_OURS, GROUP_MASK);
	snprintf(one->target, sizeof(one->target), "%s", program);
	snprintf(one->value, sizeof(one->value), "%s", chain);
	one->mend = mend_iptables;
	return 0;
}

int doctor_iptables(struct ops *o, struct findings *f, struct err *err)
{
	return each_iptables(o, check_forward, f, err);
}

/* ---- nftables ---- */

static void insert_command(const char *chain, char *ret, size_t size)
{
	snprintf(ret, size,
		 "insert rule %s meta iifgroup %u-%u accept comment \"" COMMENT "\"; "
		 "insert rule %s meta oifgroup %u-%u accept comment \"" COMMENT "\"",
		 chain, GROUP_OURS, GROUP_OURS | ~GROUP_MASK, chain, GROUP_OURS,
		 GROUP_OURS | ~GROUP_MASK);
}

static int mend_nft(struct ops *o, const struct finding *f, struct err *err)
{
	char command[512];
	const char *const argv[] = {"nft", command, NULL};

	insert_command(f->target, command, sizeof(command));
	return change(o, argv, err);
}

/* chain: family, table and name. Lets our groups through already: nothing. */
static int check_chain(struct ops *o, const char *family, const char *table, const char *chain,
		       const char *how, struct findings *f, struct err *err)
{
	const char *const argv[] = {"nft", "list", "chain", family, table, chain, NULL};
	_buf_ struct buf out = {0};
	char match[32], command[512];
	struct finding *one;
	int r = doctor_output(o, argv, &out, err);

	snprintf(match, sizeof(match), "iifgroup %u", GROUP_VPC);
	if (r || !out.data || !*out.data || strstr(out.data, COMMENT) || strstr(out.data, match))
		return r;
	one = doctor_found(f, f->in_use ? SEVERITY_PROBLEM : SEVERITY_WARNING,
			   "chain %s of table %s %s, on the hook forward, %s", chain, family, table,
			   how);
	doctor_why(one, "VPCs, networks and sessions are forwarded by the host");
	snprintf(one->target, sizeof(one->target), "%s %s %s", family, table, chain);
	insert_command(one->target, command, sizeof(command));
	doctor_fix(one, "nft '%s'", command);
	one->mend = mend_nft;
	return 0;
}

/* iptables' own tables, when nftables carries them, are looked at through iptables; firewalld's and
 * ours are other checks' business, or none. */
static bool is_known(const char *family, const char *table)
{
	return ((!strcmp(family, "ip") || !strcmp(family, "ip6")) && !strcmp(table, "filter")) ||
	       !strcmp(table, "firewalld") || !strncmp(table, "byway", 5);
}

/* Reads `nft list chains`: every base chain on the hook forward whose policy is drop. */
int doctor_nftables(struct ops *o, struct findings *f, struct err *err)
{
	static const char *const argv[] = {"nft", "list", "chains", NULL};
	char family[16] = "", table[64] = "", chain[64] = "";
	_buf_ struct buf out = {0};
	char *rest = NULL;
	int r = doctor_output(o, argv, &out, err);

	for (char *line = out.data ? strtok_r(out.data, "\n", &rest) : NULL; line && !r;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "table %15s %63s", family, table) == 2 ||
		    sscanf(line, " chain %63s", chain) == 1)
			continue;
		if (strstr(line, "hook forward") && strstr(line, "policy drop") &&
		    !is_known(family, table))
			r = check_chain(o, family, table, chain, "has the policy drop", f, err);
	}
	return r;
}

static bool is_trusted(struct ops *o, const char *bridge)
{
	const char *const argv[] = {"firewall-cmd", "--get-zone-of-interface", bridge, NULL};
	_buf_ struct buf zone = {0};

	return !doctor_output(o, argv, &zone, NULL) && zone.data && strstr(zone.data, "trusted");
}

/* firewalld's last word in its forward chain is a reject, whatever the policy: our bridges belong
 * into a zone that forwards, or our groups before that. */
int doctor_firewalld(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0, trusted = 0;
	int r = vpc_list(o->st, &v, &n, err);

	while (!r && trusted < n && is_trusted(o, v[trusted].bridge))
		trusted++;
	if (r || (n && trusted == n))
		return r;
	return check_chain(
		o, "inet", "firewalld", "filter_FORWARD",
		"is firewalld's, which rejects what no zone forwards (until it reloads, the "
		"fix holds; `firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE` "
		"stays)",
		f, err);
}

/* ---- Bridges ---- */

/* Kubernetes' services and Docker's rules between containers depend on it. */
static int note_dependants(struct ops *o, const char *program, void *arg, struct err *err)
{
	_buf_ struct buf out = {0};
	int r = list_table(o, program, "filter", &out, err);

	if (!r && out.data && (strstr(out.data, "KUBE-") || strstr(out.data, "DOCKER")))
		*(bool *)arg = true;
	return r;
}

int doctor_bridge_netfilter(struct ops *o, struct findings *f, struct err *err)
{
	static const char *const keys[] = {"net/bridge/bridge-nf-call-iptables",
					   "net/bridge/bridge-nf-call-ip6tables"};
	bool needed = false;
	int r = f->in_use ? each_iptables(o, note_dependants, &needed, err) : 0;

	for (size_t i = 0; !r && f->in_use && i < ARRAY_SIZE(keys); i++) {
		char value[SYSCTL_VALUE_MAX];
		struct finding *one;

		if (sysctl_get(o->host, keys[i], value, NULL) || strcmp(value, "1"))
			continue;
		one = doctor_found(f, needed ? SEVERITY_NOTE : SEVERITY_WARNING, "%s is 1",
				   keys[i]);
		doctor_why(one,
			   "frames between machines of one network are judged, and tracked, by the "
			   "rules for what is routed%s",
			   needed ? "; Docker or Kubernetes on this host depend on it" : "");
		if (!needed)
			doctor_fix_setting(one, keys[i], "0");
	}
	return r;
}

/* ---- Marks ---- */

#define OUR_MARKS (CAPTURE_MARK_TUNNEL | CAPTURE_MARK_BYPASS | CAPTURE_MARK_INBOUND | WAY_MARK_MASK)

/* "-A CHAIN ... --set-xmark VALUE/MASK": clears the bits of the mask first. */
static void check_mark(struct findings *f, const char *program, const char *line)
{
	const char *set = strstr(line, "--set-xmark ");
	unsigned int value, mask;
	char chain[64];
	struct finding *one;

	if (!set || sscanf(set, "--set-xmark %x/%x", &value, &mask) != 2 || !(mask & OUR_MARKS) ||
	    sscanf(line, "-A %63s", chain) != 1 || !strncmp(chain, "BYWAY-", 6))
		return;
	one = doctor_found(
		f, f->tunnel ? SEVERITY_WARNING : SEVERITY_NOTE,
		"%s's chain %s, of %s, sets marks under the mask 0x%x, which has bits of "
		"byway's (0x%x)",
		program, chain, who_filters(chain), mask, OUR_MARKS);
	doctor_why(one,
		   "what is marked for a tunnel or an egress loses its mark there, and is dropped "
		   "where it would go another way");
}

static int check_marks(struct ops *o, const char *program, void *arg, struct err *err)
{
	static const char *const tables[] = {"mangle", "nat", "filter"};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(tables); i++) {
		_buf_ struct buf out = {0};
		char *rest = NULL;

		r = list_table(o, program, tables[i], &out, err);
		for (char *line = !r && out.data ? strtok_r(out.data, "\n", &rest) : NULL; line;
		     line = strtok_r(NULL, "\n", &rest))
			check_mark(arg, program, line);
	}
	return r;
}

int doctor_marks(struct ops *o, struct findings *f, struct err *err)
{
	return each_iptables(o, check_marks, f, err);
}

/* ---- Undoing ---- */

/* "-A CHAIN SPEC..." as iptables prints it: the same with -D takes the rule away. */
static int delete_iptables(struct ops *o, const char *program, char *line, struct err *err)
{
	const char *argv[ARGS_MAX] = {program, "-w", "5"};
	char *rest = NULL;
	size_t n = 3;

	for (char *w = strtok_r(line, " ", &rest); w && n + 1 < ARGS_MAX;
	     w = strtok_r(NULL, " ", &rest))
		argv[n++] = w;
	argv[3] = "-D";
	return change(o, argv, err);
}

static int undo_iptables(struct ops *o, const char *program, void *arg, struct err *err)
{
	_buf_ struct buf out = {0};
	char *rest = NULL;
	int r = list_table(o, program, "filter", &out, err);

	for (char *line = !r && out.data ? strtok_r(out.data, "\n", &rest) : NULL; line && !r;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (!strstr(line, "--comment " COMMENT " "))
			continue;
		r = delete_iptables(o, program, line, err);
		*(size_t *)arg += !r;
	}
	return r;
}

static int delete_nft(struct ops *o, json_t *rule, size_t *n, struct err *err)
{
	const char *family, *table, *chain, *comment = "";
	json_int_t handle;
	char number[32];
	int r;

	if (json_unpack(rule, "{s:s, s:s, s:s, s:I, s?s}", "family", &family, "table", &table,
			"chain", &chain, "handle", &handle, "comment", &comment) ||
	    strcmp(comment, COMMENT) != 0)
		return 0;
	snprintf(number, sizeof(number), "%lld", (long long)handle);
	r = change(o,
		   (const char *const[]){"nft", "delete", "rule", family, table, chain, "handle",
					 number, NULL},
		   err);
	*n += !r;
	return r;
}

static int undo_nft(struct ops *o, size_t *n, struct err *err)
{
	static const char *const argv[] = {"nft", "-j", "list", "ruleset", NULL};
	_buf_ struct buf out = {0};
	json_t *all, *one;
	size_t i;
	int r = doctor_output(o, argv, &out, err);

	if (r || !out.data)
		return r;
	all = json_loads(out.data, 0, NULL);
	json_array_foreach(json_object_get(all, "nftables"), i, one)
	{
		r = delete_nft(o, json_object_get(one, "rule"), n, err);
		if (r)
			break;
	}
	json_decref(all);
	return r;
}

int doctor_rules_undo(struct ops *o, size_t *ret_n, struct err *err)
{
	int r = each_iptables(o, undo_iptables, ret_n, err);

	return r ? r : undo_nft(o, ret_n, err);
}
