// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "vm/options.h"
#include "vm/snippet.h"
#include "vpc/clone.h"
#include "vpc/port.h"
#include "vpc/view.h"

/* ---- Options ---- */

static int parse_addresses(struct cli *c, struct port *p)
{
	_free_ char *list = xstrdup(cli_opt(c, "ip") ? cli_opt(c, "ip") : "");
	char *rest = NULL;

	for (char *t = strtok_r(list, ", ", &rest); t; t = strtok_r(NULL, ", ", &rest)) {
		struct ip ip, *to;
		int r = ip_parse(t, &ip, &c->err);

		if (r)
			return err_context(&c->err, "--ip");
		to = ip.family == AF_INET6 ? &p->addr6 : &p->addr;
		if (to->family)
			return err_set(&c->err, ERR_USAGE, -EINVAL,
				       "--ip: more than one address of a family");
		*to = ip;
	}
	return 0;
}

static int parse_rates(struct cli *c, struct port *p)
{
	const char *text = cli_opt(c, "rate");

	if (text && vm_rates_parse(text, &p->rate_rx, &p->rate_tx, &c->err))
		return err_context(&c->err, "--rate");
	return 0;
}

static int parse_owner(struct cli *c, struct port *p)
{
	const char *text = cli_opt(c, "owner");

	if (vm_owner_parse(text ? text : VM_OWNER, &p->owner_uid, &p->owner_gid, &c->err))
		return err_context(&c->err, "--owner");
	return 0;
}

static int parse_place(struct cli *c, struct port *p)
{
	_free_ char *network = xstrdup(c->args[0]);
	char *subnet = strchr(network, '/');

	if (subnet)
		*subnet++ = '\0';
	if (str_copy(p->vpc, sizeof(p->vpc), network) || (subnet && !*subnet) ||
	    str_copy(p->subnet, sizeof(p->subnet), subnet ? subnet : ""))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "'%s' is not a network: expected NETWORK or NETWORK/SUBNET",
			       c->args[0]);
	if (str_copy(p->name, sizeof(p->name), c->args[1]))
		return err_set(&c->err, ERR_USAGE, -EINVAL, "'%s' is too long a name", c->args[1]);
	return 0;
}

static int parse_port(struct cli *c, struct port *p)
{
	const char *mac = cli_opt(c, "mac");
	int r = parse_place(c, p);

	p->kind = PORT_TAP;
	p->isolated = cli_opt(c, "isolated");
	if (!r)
		r = parse_addresses(c, p);
	if (!r && mac && mac_parse(mac, &p->mac, &c->err))
		r = err_context(&c->err, "--mac");
	if (!r)
		r = parse_owner(c, p);
	if (!r)
		r = parse_rates(c, p);
	return r ? r : cli_number(c, "queues", 1, PORT_QUEUES_MAX, 1, &p->queues);
}

static int parse_clone(struct cli *c, struct port *p)
{
	const char *netns = cli_opt(c, "netns"), *tap = cli_opt(c, "tap-name");

	if (!netns)
		return tap ? err_set(&c->err, ERR_USAGE, -EINVAL, "--tap-name goes with --netns")
			   : 0;
	if (!p->addr.family || p->addr6.family)
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "--netns needs --ip, the machine's IPv4 address inside");
	if (str_copy(p->clone.netns, sizeof(p->clone.netns), netns) ||
	    str_copy(p->clone.tap, sizeof(p->clone.tap), tap ? tap : ""))
		return err_set(&c->err, ERR_USAGE, -EINVAL, "'%s' is too long a name",
			       strlen(netns) < sizeof(p->clone.netns) ? tap : netns);
	clone_make(p);
	return 0;
}

/* *ret_pidfd: -1 when there is nobody to wait for. */
static int parse_life(struct cli *c, struct port *p, int *ret_pidfd)
{
	unsigned int pid;
	int r = cli_number(c, "while-pid", 1, INT_MAX, 0, &pid);

	if (!r && pid)
		r = identity_open((pid_t)pid, &p->life, ret_pidfd, &c->err);
	return r;
}

/* ---- Commands ---- */

/* What a monitor has to do with: of a clone what is inside. */
static struct clone monitors_view(const struct port *p)
{
	struct clone c = {.mac = p->mac, .addr = p->addr};

	memcpy(c.tap, p->ifname, sizeof(c.tap));
	return p->kind == PORT_CLONE ? p->clone : c;
}

int cmd_vm_add(struct cli *c)
{
	char addr[IP_STRLEN], mac[MAC_STRLEN];
	_close_ int pidfd = -1;
	struct port_with with = {.policy = cli_opt(c, "policy")};
	struct port p = {0};
	struct clone told;
	struct vpc v;
	int r = parse_port(c, &p);

	if (!r)
		r = parse_clone(c, &p);
	if (!r)
		r = parse_life(c, &p, &pidfd);
	if (!r)
		r = cli_open(c, STORE_WRITE);
	if (!r)
		r = ops_port_add_with(&c->ops, &p, NULL, &with, &c->err);
	if (!r)
		r = vpc_load(c->ops.st, p.vpc, &v, &c->err);
	if (!r && pidfd >= 0)
		r = ops_port_while(&c->ops, &p, pidfd, &c->err);
	if (r)
		return r;
	told = monitors_view(&p);
	cli_print_result(c, "byway.vm/1", view_port(&v, &p),
			 "VM %s/%s: address %s, MAC %s, TAP %s%s%s", p.vpc, p.name,
			 ip_format(&p.addr, addr), mac_format(&told.mac, mac), told.tap,
			 *told.netns ? " in namespace " : "", told.netns);
	return 0;
}

int cmd_vm_list(struct cli *c)
{
	static const struct cli_column columns[] = {
		{"NETWORK", "network"}, {"VM", "name"},       {"SUBNET", "subnet"},
		{"ADDRESS", "address"}, {"IPV6", "address6"}, {"MAC", "mac"},
		{"TAP", "interface"},   {"CLONE", "clone.namespace"},
		{"STATE", "state"},
	};
	const char *only = c->n_args ? c->args[0] : NULL;
	_free_ struct port *p = NULL;
	json_t *rows = json_array();
	struct vpc v = {0};
	size_t n = 0;
	int r = cli_open(c, STORE_READ);

	if (!r && only)
		r = vpc_load(c->ops.st, only, &v, &c->err);
	if (!r)
		r = port_list(c->ops.st, only, &p, &n, &c->err);
	for (size_t i = 0; !r && i < n; i++) {
		if (p[i].kind == PORT_VETH)
			continue;
		if (strcmp(v.name, p[i].vpc))
			r = vpc_load(c->ops.st, p[i].vpc, &v, &c->err);
		if (!r)
			json_array_append_new(rows, view_port(&v, &p[i]));
	}
	if (r) {
		json_decref(rows);
		return r;
	}
	cli_print_list(c, "byway.vm.list/1", "vms", rows, columns, ARRAY_SIZE(columns));
	return 0;
}

static int load(struct cli *c, struct vpc *v, struct port *p)
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	int r = cli_split(c, c->args[0], vpc, name);

	if (!r)
		r = vpc_load(c->ops.st, vpc, v, &c->err);
	return r ? r : port_load(c->ops.st, vpc, name, p, &c->err);
}

int cmd_vm_show(struct cli *c)
{
	static const struct cli_column fields[] = {
		{"Network", "network"},
		{"Subnet", "subnet"},
		{"VM", "name"},
		{"Address", "address"},
		{"IPv6", "address6"},
		{"Prefix", "prefix"},
		{"IPv6", "prefix6"},
		{"Gateway", "gateway"},
		{"", "gateway6"},
		{"MAC", "mac"},
		{"TAP", "interface"},
		{"Clone in", "clone.namespace"},
		{"TAP there", "clone.tap"},
		{"MAC there", "clone.mac"},
		{"Address there", "clone.address"},
		{"MTU", "mtu"},
		{"Queues", "queues"},
		{"Owner", "owner_uid"},
		{"Group", "owner_gid"},
		{"Isolated", "isolated"},
		{"Policy", "policy"},
		{"Receives", "rate_rx"},
		{"Sends", "rate_tx"},
		{"Published", "published"},
		{"Lives with", "while_pid"},
		{"State", "state"},
		{"Created", "created"},
	};
	struct port p;
	struct vpc v;
	json_t *vm;
	int r = cli_open(c, STORE_READ);

	if (!r)
		r = load(c, &v, &p);
	if (r)
		return r;
	vm = view_port(&v, &p);
	r = cli_add_published(c, p.vpc, p.name, vm);
	if (r) {
		json_decref(vm);
		return r;
	}
	if (c->json) {
		cli_print_json("byway.vm/1", vm);
		return 0;
	}
	cli_print_fields(vm, fields, ARRAY_SIZE(fields));
	json_decref(vm);
	return 0;
}

static int parse_format(struct cli *c, enum vm_format *ret)
{
	const char *name = cli_opt(c, "for");

	for (int f = 0; name && f < VM_N_FORMATS; f++) {
		if (!strcmp(name, vm_format_names[f])) {
			*ret = (enum vm_format)f;
			return 0;
		}
	}
	err_set(&c->err, ERR_USAGE, -EINVAL,
		name ? "--for: '%s' is none of" : "--for is missing:", name);
	for (int f = 0; f < VM_N_FORMATS; f++)
		err_append(&c->err, "%s %s", f ? "," : "", vm_format_names[f]);
	return -EINVAL;
}

/* A field of ip= ends at a colon: no IPv6. */
static int parse_resolver(struct cli *c, enum vm_format format, struct ip *ret)
{
	static const char *const only[] = {"dns", "dhcp"};
	const char *dns = cli_opt(c, "dns");

	for (size_t i = 0; i < ARRAY_SIZE(only); i++)
		if (cli_opt(c, only[i]) && format != VM_KERNEL_ARGS)
			return err_set(&c->err, ERR_USAGE, -EINVAL,
				       "--%s goes with --for kernel-args: %s has no place for it",
				       only[i], vm_format_names[format]);
	if (dns && cli_opt(c, "dhcp"))
		return err_set(&c->err, ERR_USAGE, -EINVAL,
			       "--dns does not go with --dhcp, which tells the resolver");
	if (dns && ip_parse(dns, ret, &c->err))
		return err_context(&c->err, "--dns");
	return ret->family == AF_INET6 ? err_set(&c->err, ERR_USAGE, -EINVAL,
						 "--dns: '%s' is not an IPv4 address", dns)
				       : 0;
}

static int check_dhcp(struct cli *c, const struct vpc *v)
{
	if (!cli_opt(c, "dhcp") || v->dhcp)
		return 0;
	return err_set(&c->err, ERR_CONFLICT, -EINVAL,
		       "'%s' has no DHCP: `byway network up %s --dhcp` turns it on", v->name,
		       v->name);
}

int cmd_vm_snippet(struct cli *c)
{
	_buf_ struct buf text = {0};
	struct vm_nic nic = {0};
	enum vm_format format;
	struct clone told;
	struct port p;
	struct vpc v;
	int r = parse_format(c, &format);

	if (!r)
		r = parse_resolver(c, format, &nic.dns);
	if (!r)
		r = cli_open(c, STORE_READ);
	if (!r)
		r = load(c, &v, &p);
	if (!r)
		r = check_dhcp(c, &v);
	if (r)
		return r;
	if (format == VM_KERNEL_ARGS && p.kind == PORT_CLONE && !cidr_has(&v.cidr, &p.clone.addr))
		return err_set(&c->err, ERR_CONFLICT, -EINVAL,
			       "the clone is not of network '%s' inside: its gateway is not known",
			       v.name);
	nic.name = p.name;
	told = monitors_view(&p);
	nic.ifname = told.tap;
	nic.mac = told.mac;
	nic.addr = (struct cidr){told.addr, v.cidr.prefix};
	nic.gateway = vpc_gateway(&v.cidr);
	nic.dhcp = cli_opt(c, "dhcp");
	if (!nic.dns.family && v.dns)
		nic.dns = nic.gateway;
	nic.queues = p.queues;
	nic.mtu_bytes = v.mtu_bytes;
	nic.rx_bits = p.rate_rx;
	nic.tx_bits = p.rate_tx;
	r = vm_snippet(&nic, format, &text, &c->err);
	if (r)
		return r;
	fputs(text.data, stdout);
	if (p.kind == PORT_CLONE)
		cli_say(c, "the monitor has to run in the namespace %s, as by `ip netns exec %s`",
			told.netns, told.netns);
	return 0;
}

static int delete_vms(struct cli *c, const char *const paths[], size_t n, bool ret_existed[])
{
	char vpc[NAME_MAX_LEN], name[NAME_MAX_LEN];
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		r = cli_split(c, paths[i], vpc, name);
		if (!r)
			r = ops_port_delete(&c->ops, vpc, name, &ret_existed[i], &c->err);
	}
	return r;
}

int cmd_vm_delete(struct cli *c)
{
	return cli_delete_each(c, "VM", "vms", delete_vms);
}
