// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "ops/apply_impl.h"
#include "ops/egress.h"
#include "vpc/clone.h"

static enum diff worse(enum diff a, enum diff b)
{
	return a > b ? a : b;
}

/* What can be changed where it stands. */
static enum diff in_place(enum diff d)
{
	return d == DIFF_NONE ? DIFF_NONE : DIFF_IN_PLACE;
}

/* ---- one value ---- */

static void add_why(struct buf *why, const char *what, const char *is, const char *want)
{
	buf_addf(why, "%s%s %s → %s", why->len ? ", " : "", what, *is ? is : "none",
		 *want ? want : "none");
}

static enum diff diff_cidr(const char *what, const struct cidr *want, const struct cidr *is,
			   struct buf *why)
{
	char a[CIDR_STRLEN] = "", b[CIDR_STRLEN] = "";

	if (want->addr.family == is->addr.family && cidr_equal(want, is))
		return DIFF_NONE;
	if (is->addr.family)
		cidr_format(is, a);
	if (want->addr.family)
		cidr_format(want, b);
	add_why(why, what, a, b);
	return DIFF_ANEW;
}

static enum diff diff_text(const char *what, const char *want, const char *is, struct buf *why)
{
	if (!strcmp(want, is))
		return DIFF_NONE;
	add_why(why, what, is, want);
	return DIFF_ANEW;
}

static enum diff diff_number(const char *what, uint64_t want, uint64_t is, struct buf *why)
{
	char a[24], b[24];

	snprintf(a, sizeof(a), "%llu", (unsigned long long)is);
	snprintf(b, sizeof(b), "%llu", (unsigned long long)want);
	return diff_text(what, b, a, why);
}

static enum diff diff_flag(const char *what, bool want, bool is, struct buf *why)
{
	return diff_text(what, want ? "yes" : "no", is ? "yes" : "no", why);
}

static enum diff diff_ip(const char *what, const struct ip *want, const struct ip *is,
			 struct buf *why)
{
	char a[IP_STRLEN] = "", b[IP_STRLEN];

	if (!want->family || ip_equal(want, is))
		return DIFF_NONE;
	if (is->family)
		ip_format(is, a);
	add_why(why, what, a, ip_format(want, b));
	return DIFF_ANEW;
}

static enum diff diff_mac(const struct mac *want, const struct mac *is, struct buf *why)
{
	static const struct mac any;
	char a[MAC_STRLEN], b[MAC_STRLEN];

	if (!memcmp(want, &any, sizeof(any)))
		return DIFF_NONE;
	return diff_text("mac", mac_format(want, b), mac_format(is, a), why);
}

/* ---- objects ---- */

enum diff diff_vpc(const struct config_vpc *want, const struct vpc *is, struct buf *why)
{
	enum diff d = diff_text("kind", want->v.flat ? "network" : "VPC",
				is->flat ? "network" : "VPC", why);

	d = worse(d, diff_cidr("cidr", &want->v.cidr, &is->cidr, why));
	d = worse(d, in_place(diff_flag("dns", want->v.dns, is->dns, why)));
	d = worse(d, in_place(diff_flag("dhcp", want->v.dhcp, is->dhcp, why)));
	d = worse(d, diff_cidr("cidr6", &want->v.cidr6, &is->cidr6, why));
	return worse(d, diff_number("mtu", want->v.mtu_bytes, is->mtu_bytes, why));
}

enum diff diff_nat(const char *interface, const struct nat *is, struct buf *why)
{
	if (!*interface) /* the host has no default route: whatever it is */
		return DIFF_NONE;
	return in_place(diff_text("interface", interface, is->interface, why));
}

enum diff diff_subnet(const struct config_subnet *want, const struct subnet *is, struct buf *why)
{
	enum diff type = diff_text("type", want->s.is_public ? "public" : "private",
				   is->is_public ? "public" : "private", why);
	enum diff d = diff_cidr("cidr", &want->s.cidr, &is->cidr, why);

	if (want->s.cidr6.addr.family)
		d = worse(d, diff_cidr("cidr6", &want->s.cidr6, &is->cidr6, why));
	return worse(d, in_place(type));
}

enum diff diff_policy(const char *text, const struct policy_row *is, struct buf *why)
{
	if (!strcmp(text, is->text))
		return DIFF_NONE;
	buf_adds(why, "the rules have changed");
	return DIFF_IN_PLACE;
}

enum diff diff_peer(const struct config_peer *want, const struct peer *is, struct buf *why)
{
	_buf_ struct buf a = {0}, b = {0};

	tell_allowed(is, &a);
	tell_allowed(&want->p, &b);
	return in_place(diff_text("allow", b.data, a.data, why));
}

static enum diff diff_owner(const struct port *want, const struct port *is, struct buf *why)
{
	char a[32], b[32];

	snprintf(a, sizeof(a), "%d:%d", (int)is->owner_uid, (int)is->owner_gid);
	snprintf(b, sizeof(b), "%d:%d", (int)want->owner_uid, (int)want->owner_gid);
	return diff_text("owner", b, a, why);
}

static enum diff diff_clone(const struct clone *want, const struct clone *is, struct buf *why)
{
	const char *tap = *want->tap ? want->tap : CLONE_TAP;
	enum diff d = diff_text("netns", want->netns, is->netns, why);

	d = worse(d, diff_text("tap_name", tap, is->tap, why));
	d = worse(d, diff_ip("ip", &want->addr, &is->addr, why));
	return worse(d, diff_mac(&want->mac, &is->mac, why));
}

enum diff diff_vm(const struct config_vm *want, const struct port *is, struct buf *why)
{
	const struct port *p = &want->p;
	enum diff kind = diff_text("kind", port_kind_name(p->kind), port_kind_name(is->kind), why);
	enum diff rates = worse(diff_number("rate to it", p->rate_rx, is->rate_rx, why),
				diff_number("rate from it", p->rate_tx, is->rate_tx, why));
	enum diff d = worse(kind, diff_text("subnet", p->subnet, is->subnet, why));

	if (!kind && p->kind == PORT_CLONE)
		d = worse(d, diff_clone(&p->clone, &is->clone, why));
	d = worse(d, diff_ip("ip", &p->addr, &is->addr, why));
	d = worse(d, diff_ip("ip", &p->addr6, &is->addr6, why));
	d = worse(d, diff_mac(&p->mac, &is->mac, why));
	d = worse(d, diff_owner(p, is, why));
	d = worse(d, diff_number("queues", p->queues, is->queues, why));
	d = worse(d, diff_flag("isolated", p->isolated, is->isolated, why));
	return worse(d, in_place(rates));
}

enum diff diff_publish(const struct config_publish *want, const struct mapping *is, struct buf *why)
{
	_free_ char *a = xasprintf("%s/%s port %u", is->vpc, is->target, is->port);
	_free_ char *b = xasprintf("%s/%s port %u", want->m.vpc, want->m.target, want->m.port);

	return diff_text("target", b, a, why);
}

enum diff diff_egress(const struct config_egress *want, const struct egress *is, struct buf *why)
{
	if (egress_spec_same(want->spec.text, is->spec))
		return DIFF_NONE;
	return in_place(diff_text("spec", want->spec.text, is->spec, why));
}

enum diff diff_use(const struct config_use *want, const struct use *is, struct buf *why)
{
	enum diff d = diff_text("egress", strcmp(want->ways, EGRESS_NONE) ? want->ways : "",
				is->list, why);

	return in_place(worse(
		d, diff_text("exclude", want->exclude ? want->exclude : "", is->exclude, why)));
}

/* ---- in a few words ---- */

void mapping_name(const struct mapping *m, char ret[OBJECT_MAX])
{
	char addr[IP_STRLEN] = "";

	if (m->host_addr.family)
		ip_format(&m->host_addr, addr);
	snprintf(ret, OBJECT_MAX, "%s%s%u/%s", addr, *addr ? ":" : "", m->host_port,
		 mapping_protocol_name(m->protocol));
}

static void tell_nets(const struct cidr *cidr, const struct cidr *cidr6, struct buf *b)
{
	char text[CIDR_STRLEN];

	buf_adds(b, cidr_format(cidr, text));
	if (cidr6->addr.family)
		buf_addf(b, ", %s", cidr_format(cidr6, text));
}

void tell_vpc(const struct config_vpc *want, struct buf *b)
{
	if (want->v.flat)
		buf_adds(b, "flat, ");
	tell_nets(&want->v.cidr, &want->v.cidr6, b);
}

void tell_subnet(const struct config_subnet *want, struct buf *b)
{
	tell_nets(&want->s.cidr, &want->s.cidr6, b);
	buf_adds(b, want->s.is_public ? ", public" : ", private");
}

void tell_allowed(const struct peer *p, struct buf *b)
{
	char text[CIDR_STRLEN];

	for (size_t i = 0; i < p->n_allow; i++)
		buf_addf(b, "%s%s", i ? "," : "", cidr_format(&p->allow[i], text));
	if (!p->n_allow)
		buf_adds(b, "everything");
}

void tell_peer(const struct config_peer *want, struct buf *b)
{
	buf_adds(b, "allows ");
	tell_allowed(&want->p, b);
}

void tell_vm(const struct config_vm *want, struct buf *b)
{
	char text[IP_STRLEN];

	buf_addf(b, "in %s%s%s", want->p.vpc, *want->p.subnet ? "/" : "", want->p.subnet);
	if (want->p.addr.family)
		buf_addf(b, ", %s", ip_format(&want->p.addr, text));
	if (*want->p.clone.netns)
		buf_addf(b, ", a clone in namespace %s", want->p.clone.netns);
}
