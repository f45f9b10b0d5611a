// SPDX-License-Identifier: GPL-2.0-or-later
/* Virtual machines. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "config/impl.h"
#include "vm/options.h"
#include "vpc/clone.h"

struct vm_reading {
	struct config *c;
	struct config_vm *vm;
	struct fy_node *egress, *ports, *netns, *tap;
};

/* NETWORK or VPC/SUBNET. Whether there is one is checked when all are known. */
static int read_place(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct port *p = &((struct vm_reading *)into)->vm->p;
	char text[2 * NAME_MAX_LEN], *slash;
	int r = doc_read_text(d, node, "the network", text, sizeof(text), err);

	if (r)
		return r;
	slash = strchr(text, '/');
	if (slash)
		*slash++ = '\0';
	if (str_copy(p->vpc, sizeof(p->vpc), text) || (slash && !*slash) ||
	    str_copy(p->subnet, sizeof(p->subnet), slash ? slash : ""))
		return doc_error(d, node, err, "the network is NETWORK or VPC/SUBNET");
	return 0;
}

static int read_address(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct port *p = &((struct vm_reading *)into)->vm->p;
	char text[IP_STRLEN];
	struct ip ip, *to;
	int r = doc_read_text(d, node, "an address", text, sizeof(text), err);

	if (r)
		return r;
	if (ip_parse(text, &ip, err))
		return doc_error_at(d, node, err);
	to = ip.family == AF_INET6 ? &p->addr6 : &p->addr;
	if (to->family)
		return doc_error(d, node, err, "there is more than one address of a family");
	*to = ip;
	return 0;
}

static int read_ip(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	if (!doc_is_list(d, node))
		return read_address(d, node, into, err);
	return doc_read_list(d, node, "\"ip\"", 2, read_address, into, err);
}

static int read_mac(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct mac none;
	struct port *p = &((struct vm_reading *)into)->vm->p;
	char text[MAC_STRLEN] = "";
	int r = doc_read_text(d, node, "a MAC address", text, sizeof(text), err);

	if (!r && mac_parse(text, &p->mac, err))
		r = doc_error_at(d, node, err);
	if (!r && p->mac.bytes[0] & 1)
		r = doc_error(d, node, err, "%s is a multicast address", text);
	else if (!r && !memcmp(&p->mac, &none, sizeof(none)))
		r = doc_error(d, node, err, "%s is nobody's address", text);
	return r;
}

static int read_owner(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct port *p = &((struct vm_reading *)into)->vm->p;
	char text[128];
	int r = doc_read_text(d, node, "the owner", text, sizeof(text), err);

	if (!r && vm_owner_parse(text, &p->owner_uid, &p->owner_gid, err)) {
		err_context(err, "\"owner\"");
		r = doc_error_at(d, node, err);
	}
	return r;
}

static int read_rate(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct port *p = &((struct vm_reading *)into)->vm->p;
	char text[64];
	int r = doc_read_text(d, node, "the rate", text, sizeof(text), err);

	if (!r && vm_rates_parse(text, &p->rate_rx, &p->rate_tx, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_queues(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	int64_t n = 0;
	int r = doc_read_int(d, node, "\"queues\"", 1, PORT_QUEUES_MAX, &n, err);

	((struct vm_reading *)into)->vm->p.queues = (unsigned int)n;
	return r;
}

static int read_isolated(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_bool(d, node, "\"isolated\"", &((struct vm_reading *)into)->vm->p.isolated,
			     err);
}

/* Of which network is known when all keys are. */
static int read_vm_egress(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	(void)d;
	(void)err;
	((struct vm_reading *)into)->egress = node;
	return 0;
}

static int read_vm_ports(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	(void)d;
	(void)err;
	((struct vm_reading *)into)->ports = node;
	return 0;
}

static int read_netns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vm_reading *rd = into;

	rd->netns = node;
	return doc_read_text(d, node, "a namespace's name", rd->vm->p.clone.netns, NETNS_NAME_MAX,
			     err);
}

static int read_tap_name(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vm_reading *rd = into;
	char *name = rd->vm->p.clone.tap;
	int r = doc_read_text(d, node, "a TAP device's name", name, IFNAMSIZ, err);

	rd->tap = node;
	return r || *name ? r : doc_error(d, node, err, "a TAP device's name is empty");
}

static int read_vm_policy(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct vm_reading *rd = into;

	(void)d;
	rd->vm->policy_at = node;
	return value_path(rd->c, node, "a policy's file", &rd->vm->policy, err);
}

static const struct doc_key vm_keys[] = {
	{"network", read_place, DOC_REQUIRED},
	{"ip", read_ip},
	{"mac", read_mac},
	{"owner", read_owner},
	{"rate", read_rate},
	{"queues", read_queues},
	{"isolated", read_isolated},
	{"netns", read_netns},
	{"tap_name", read_tap_name},
	{"policy", read_vm_policy},
	{"egress", read_vm_egress},
	{"publish", read_vm_ports},
};

static int make_clone(struct doc *d, struct vm_reading *rd, struct err *err)
{
	struct port *p = &rd->vm->p;

	if (!rd->netns)
		return rd->tap ? doc_error(d, rd->tap, err, "\"tap_name\" goes with \"netns\"") : 0;
	if (!p->addr.family || p->addr6.family)
		return doc_error(d, rd->netns, err,
				 "\"netns\" needs \"ip\", the machine's IPv4 address inside");
	clone_make(p);
	return 0;
}

static int read_vm(struct doc *d, const char *name, struct fy_node *key, struct fy_node *value,
		   void *into, struct err *err)
{
	struct vm_reading rd = {.c = into};
	struct config *c = into;
	struct port *p;
	int r;

	GROW(c->vms, c->n_vms);
	rd.vm = &c->vms[c->n_vms++];
	*rd.vm = (struct config_vm){.at = key};
	p = &rd.vm->p;
	p->kind = PORT_TAP;
	p->queues = 1;
	if (vm_owner_parse(VM_OWNER, &p->owner_uid, &p->owner_gid, err) ||
	    value_name(d, key, "VM", name, p->name, err))
		return -EINVAL;
	r = doc_read_map(d, value, "a VM", vm_keys, ARRAY_SIZE(vm_keys), &rd, err);
	if (!r)
		r = make_clone(d, &rd, err);
	if (!r && rd.egress)
		r = value_ways(c, rd.egress, USE_PORT, p->vpc, p->name, err);
	if (!r && rd.egress)
		rd.vm->use = c->n_uses;
	if (!r && rd.ports)
		r = value_ports(c, rd.ports, p->vpc, p->name, err);
	return r;
}

int config_read_vms(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return doc_read_names(d, node, "\"vms\"", CONFIG_VMS_MAX, read_vm, into, err);
}
