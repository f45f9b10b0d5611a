// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "kernel/netns.h"
#include "ops/dns.h"
#include "ops/doctor.h"
#include "ops/ops.h"
#include "ops/tunnel.h"
#include "proc/run.h"

static const char *const severity_names[] = {
	[SEVERITY_NOTE] = "note",
	[SEVERITY_WARNING] = "warning",
	[SEVERITY_PROBLEM] = "problem",
};
_Static_assert(ARRAY_SIZE(severity_names) == SEVERITY_NUM, "a name for each severity");

const char *severity_name(enum severity s)
{
	return severity_names[s];
}

/* ---- What checks report ---- */

struct finding *doctor_found(struct findings *f, enum severity s, const char *fmt, ...)
{
	struct finding *one;
	va_list ap;

	f->v = xrealloc(f->v, f->n + 1, sizeof(*f->v));
	one = &f->v[f->n++];
	*one = (struct finding){.check = f->check, .severity = s};
	va_start(ap, fmt);
	vsnprintf(one->what, sizeof(one->what), fmt, ap);
	va_end(ap);
	return one;
}

void doctor_why(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
}

void doctor_fix(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->fix, sizeof(f->fix), fmt, ap);
	va_end(ap);
}

static int mend_setting(struct ops *o, const struct finding *f, struct err *err)
{
	return ops_setting_change(o, "doctor", f->target, f->value, NULL, err);
}

/* sysctl(8) takes slashes too, which an interface with a dot in its name needs. */
void doctor_fix_setting(struct finding *f, const char *key, const char *value)
{
	doctor_fix(f, "sysctl -w %s=%s", key, value);
	snprintf(f->target, sizeof(f->target), "%s", key);
	snprintf(f->value, sizeof(f->value), "%s", value);
	f->mend = mend_setting;
}

void findings_done(struct findings *f)
{
	free(f->v);
}

/* ---- What checks have in common ---- */

int doctor_output(struct ops *o, const char *const argv[], struct buf *out, struct err *err)
{
	int status = 0, r;

	if (!run_has(argv[0]))
		return 0;
	r = run(o->host, argv, NULL, out, NULL, &status, err);
	if (status)
		buf_reset(out);
	return r;
}

const char *doctor_link_owner(const char *link)
{
	static const struct {
		const char *prefix, *who;
	} known[] = {
		{"docker", "Docker"},       {"br-", "Docker"},         {"virbr", "libvirt"},
		{"tailscale", "Tailscale"}, {"podman", "podman"},      {"cni", "a CNI plugin"},
		{"cali", "Kubernetes"},     {"flannel", "Kubernetes"}, {"cilium", "Kubernetes"},
		{"kube", "Kubernetes"},     {"lxdbr", "LXD"},          {"lxcbr", "LXC"},
		{"wg", "WireGuard"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strncmp(link, known[i].prefix, strlen(known[i].prefix)))
			return known[i].who;
	return NULL;
}

/* ---- What gc would do ---- */

static int mend_leftovers(struct ops *o, const struct finding *f, struct err *err)
{
	struct gc_report report;

	(void)f;
	return ops_gc(o, &report, err);
}

static int doctor_leftovers(struct ops *o, struct findings *f, struct err *err)
{
	struct finding *one;
	size_t n = 0;
	int r = ops_gc_look(o, &n, err);

	if (r || !n)
		return r;
	one = doctor_found(f, SEVERITY_WARNING,
			   "%zu object%s that a crash left, or that somebody "
			   "took away behind byway's back",
			   n, n > 1 ? "s" : "");
	doctor_why(one, "names and networks stay taken, and what is half-made does not work");
	doctor_fix(one, "byway gc");
	one->mend = mend_leftovers;
	return 0;
}

/* ---- Names that should be served ---- */

static int mend_names(struct ops *o, const struct finding *f, struct err *err)
{
	size_t n = 0;

	(void)f;
	return ops_dns_sweep(o, &n, err);
}

static void names_found(struct findings *f, const struct vpc *v)
{
	struct finding *one = doctor_found(f, SEVERITY_PROBLEM,
					   "names for %s are to be served, and nobody does", v->name);
	struct err why;

	doctor_why(one, "everybody there has its gateway as the resolver, and maybe its addresses from it");
	doctor_fix(one, "byway gc");
	if (!ops_dns_check(v, &why))
		one->mend = mend_names;
	else
		doctor_fix(one, "apt install dnsmasq-base && byway gc");
}

static int doctor_names(struct ops *o, struct findings *f, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = vpc_list(o->st, &v, &n, err);

	for (size_t i = 0; !r && i < n; i++)
		if (v[i].dns && v[i].state == ROW_ACTIVE && !ops_dns_is_served(v[i].name))
			names_found(f, &v[i]);
	return r;
}

/* ---- All of them ---- */

static const struct {
	const char *name;
	doctor_check run;
} checks[] = {
	{"capabilities", doctor_capabilities},
	{"kernel", doctor_kernel},
	{"programs", doctor_programs},
	{"iptables", doctor_iptables},
	{"nftables", doctor_nftables},
	{"firewalld", doctor_firewalld},
	{"bridge-netfilter", doctor_bridge_netfilter},
	{"forwarding", doctor_forwarding},
	{"rp-filter", doctor_rp_filter},
	{"overlaps", doctor_overlaps},
	{"routing-rules", doctor_routing_rules},
	{"ways-out", doctor_ways_out},
	{"marks", doctor_marks},
	{"resolvers", doctor_resolvers},
	{"limits", doctor_limits},
	{"names", doctor_names},
	{"leftovers", doctor_leftovers},
};

int ops_doctor(struct ops *o, struct findings *ret, struct err *err)
{
	int64_t users = 0;
	int r = ops_forwarding_users(o, &users, err);

	if (r)
		return r;
	ret->in_use = users > 0;
	ret->tunnel = !access(TUNNEL_DIR "/" TUNNEL_HOST_NAME ".lock", F_OK);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct err why = {0};

		ret->check = checks[i].name;
		if (checks[i].run(o, ret, &why))
			doctor_found(ret, SEVERITY_WARNING, "this could not be looked at: %s",
				     why.msg);
	}
	return 0;
}

int ops_doctor_fix(struct ops *o, const struct findings *f, bool ret_mended[], struct err *err)
{
	struct failures failures = {.err = err};

	for (size_t i = 0; i < f->n; i++) {
		int r = f->v[i].mend ? f->v[i].mend(o, &f->v[i], failures_err(&failures)) : 0;

		ret_mended[i] = f->v[i].mend && !r;
		failures_add(&failures, r);
	}
	return failures_tell(&failures);
}

int ops_doctor_undo(struct ops *o, struct undone *ret, struct err *err)
{
	int r = doctor_rules_undo(o, &ret->rules, err);

	return r || !o->st ? r : ops_setting_restore(o, "doctor", &ret->settings, err);
}
