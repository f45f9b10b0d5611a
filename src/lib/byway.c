// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library for virtual machine monitors: another front of src/ops, as the commands are.
 *
 * A manager is nothing but what the program said of its network, and never changes. Each call opens
 * the state, does its work, and closes it: between calls nothing is held, neither a lock nor a
 * descriptor, and threads have nothing in common.
 */
#include <assert.h>
#include <byway.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel/tun.h"
#include "ops/ops.h"
#include "proc/identity.h"
#include "vpc/names.h"
#include "vpc/port.h"

#define DEFAULT_NETWORK "micropod0"

#define SAME_CODE(a, b) static_assert((int)(a) == (int)(b), #a " is not " #b)
SAME_CODE(BYWAY_FAILED, ERR_FAILED);
SAME_CODE(BYWAY_USAGE, ERR_USAGE);
SAME_CODE(BYWAY_NOT_FOUND, ERR_NOT_FOUND);
SAME_CODE(BYWAY_CONFLICT, ERR_CONFLICT);
SAME_CODE(BYWAY_PERMISSION, ERR_PERMISSION);
SAME_CODE(BYWAY_UNSUPPORTED, ERR_UNSUPPORTED);
static_assert(sizeof(((struct byway_error *)0)->text) >= sizeof(((struct err *)0)->msg),
	      "a sentence does not fit");
static_assert(BYWAY_NAME_MAX == NAME_MAX_LEN && BYWAY_IFNAME_MAX == IFNAMSIZ &&
		      BYWAY_ADDR_MAX == IP_STRLEN && BYWAY_MAC_LEN == sizeof(struct mac),
	      "byway.h has other lengths");

/* Padding at the end would be a member in a later byway.h, with whatever an older program has
 * there. */
#define NO_PADDING(type, last)                                                                     \
	static_assert(offsetof(type, last) + sizeof(((type *)0)->last) == sizeof(type),            \
		      #last " is not the last of " #type)
NO_PADDING(struct byway_network_spec, flags);
NO_PADDING(struct byway_tap_spec, rate_tx);

struct byway_manager {
	struct network_params params; /* its text is in the members below */
	char *name, *cidr, *cidr6, *interface;
	enum fw_backend_id backend;
};

/* ---- Structs of the program's, which may have another byway.h ---- */

static int check_struct(const void *theirs, const char *type, struct err *err)
{
	if (theirs && *(const size_t *)theirs >= sizeof(size_t))
		return 0;
	return err_set(err, ERR_USAGE, -EINVAL, "struct %s: %s", type,
		       theirs ? "its size is not set" : "there is none");
}

static int read_struct(const void *from, void *to, size_t known, const char *type, struct err *err)
{
	const unsigned char *bytes = from;
	int r = check_struct(from, type, err);
	size_t size = r ? 0 : *(const size_t *)from;

	for (size_t i = known; i < size; i++) {
		if (bytes[i])
			return err_set(err, ERR_USAGE, -E2BIG,
				       "struct %s: the program asks for something that libbyway %s "
				       "does not know",
				       type, BYWAY_VERSION);
	}
	if (!r)
		memcpy(to, from, MIN(size, known));
	return r;
}

/* from's size is the library's; to's is the program's, and stays. */
static void write_struct(const void *from, void *to)
{
	size_t known = *(const size_t *)from, size = *(size_t *)to;

	memset((char *)to + sizeof(size), 0, size - sizeof(size));
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       MIN(size, known) - sizeof(size));
}

/* ---- Calls ---- */

static int tell(int r, const struct err *err, struct byway_error *ret)
{
	int code = r ? (int)err->kind : BYWAY_OK;

	if (r && (code == ERR_NONE || code > BYWAY_UNSUPPORTED))
		code = BYWAY_FAILED;
	if (r && ret) {
		*ret = (struct byway_error){.code = code, .error_number = -r};
		memcpy(ret->text, err->msg, sizeof(err->msg));
	}
	return code;
}

struct call {
	struct ops ops;
	struct err err;
};

static int begin(struct call *c, const struct byway_manager *m, enum store_mode mode)
{
	c->ops.backend = m->backend;
	return ops_open(&c->ops, mode, &c->err);
}

static int end(struct call *c, int r, struct byway_error *ret)
{
	ops_close(&c->ops);
	return tell(r, &c->err, ret);
}

const char *byway_version(void)
{
	return BYWAY_VERSION;
}

/* ---- Managers ---- */

static void be_silent(void)
{
	log_set_level(LOG_LEVEL_NONE);
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static struct byway_manager *manager_new(const struct byway_network_spec *spec)
{
	struct byway_manager *m = xcalloc(1, sizeof(*m));

	m->name = xstrdup(spec->name ? spec->name : DEFAULT_NETWORK);
	m->cidr = copy(spec->cidr);
	m->cidr6 = copy(spec->cidr6);
	m->interface = copy(spec->interface);
	m->params = (struct network_params){.vpc = {.name = m->name,
						    .cidr = m->cidr,
						    .cidr6 = m->cidr6,
						    .mtu_bytes = spec->mtu},
					    .interface = m->interface,
					    .no_nat = spec->flags & BYWAY_NETWORK_NO_NAT};
	return m;
}

static int check_network(const struct byway_network_spec *spec, struct err *err)
{
	struct cidr cidr;
	int r = name_check("network", spec->name ? spec->name : DEFAULT_NETWORK, err);

	if (!r && spec->cidr)
		r = cidr_parse_network(spec->cidr, &cidr, err);
	if (!r && spec->cidr6)
		r = cidr_parse_network(spec->cidr6, &cidr, err);
	if (!r && spec->flags & ~BYWAY_NETWORK_NO_NAT)
		r = err_set(err, ERR_USAGE, -EINVAL, "unknown flags of a network: 0x%x",
			    spec->flags);
	if (!r && spec->flags & BYWAY_NETWORK_NO_NAT && spec->interface)
		r = err_set(err, ERR_USAGE, -EINVAL, "interface does not go with no NAT");
	return r;
}

int byway_manager_open(const struct byway_network_spec *spec, struct byway_manager **ret,
		       struct byway_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct byway_network_spec s = {.size = sizeof(s)};
	enum fw_backend_id backend = FW_AUTO;
	struct err e = {0};
	int r = spec ? read_struct(spec, &s, sizeof(s), "byway_network_spec", &e) : 0;

	pthread_once(&once, be_silent);
	if (!r)
		r = check_network(&s, &e);
	if (!r && s.firewall)
		r = firewall_backend_parse(s.firewall, &backend, &e);
	if (r)
		return tell(r, &e, err);
	*ret = manager_new(&s);
	(*ret)->backend = backend;
	return BYWAY_OK;
}

void byway_manager_close(struct byway_manager *m)
{
	if (!m)
		return;
	free(m->name);
	free(m->cidr);
	free(m->cidr6);
	free(m->interface);
	free(m);
}

int byway_manager_setup(struct byway_manager *m, struct byway_error *err)
{
	struct call c = {0};
	struct vpc v;
	bool changed;
	int r = begin(&c, m, STORE_WRITE);

	if (!r)
		r = ops_network_up(&c.ops, &m->params, &v, &changed, &c.err);
	return end(&c, r, err);
}

int byway_manager_teardown(struct byway_manager *m, struct byway_error *err)
{
	struct call c = {0};
	bool existed;
	int r = begin(&c, m, STORE_WRITE);

	if (!r)
		r = ops_network_down(&c.ops, (const char *const[]){m->name}, 1, &existed, &c.err);
	return end(&c, r, err);
}

/* ---- TAP devices ---- */

static int parse_addr(const char *text, int family, const char *member, struct ip *ret,
		      struct err *err)
{
	int r = text ? ip_parse(text, ret, err) : 0;

	if (!r && text && ret->family != family)
		r = err_set(err, ERR_USAGE, -EINVAL, "'%s' is of the other family", text);
	return r ? err_context(err, "%s", member) : 0;
}

static int parse_addrs(const char *text, const char *text6, struct ip *addr, struct ip *addr6,
		       struct err *err)
{
	int r = parse_addr(text, AF_INET, "address", addr, err);

	return r ? r : parse_addr(text6, AF_INET6, "address6", addr6, err);
}

static int copy_name(char to[NAME_MAX_LEN], const char *name, struct err *err)
{
	int r = name_check("VM", name ? name : "", err);

	return r ? r : str_copy(to, NAME_MAX_LEN, name);
}

static int describe_life(pid_t pid, struct port *p, struct err *err)
{
	_close_ int pidfd = -1;

	return pid ? identity_open(pid, &p->life, &pidfd, err) : 0;
}

static int describe(const struct byway_manager *m, const struct byway_tap_spec *spec,
		    struct port *p, struct err *err)
{
	int r = copy_name(p->name, spec->name, err);

	str_copy(p->vpc, sizeof(p->vpc), m->name);
	p->kind = PORT_TAP;
	p->isolated = spec->flags & BYWAY_TAP_ISOLATED;
	p->owner_uid = spec->owner;
	p->owner_gid = spec->group ? spec->group : PORT_NO_GID;
	p->queues = spec->queues ? spec->queues : 1;
	p->rate_rx = spec->rate_rx;
	p->rate_tx = spec->rate_tx;
	memcpy(p->mac.bytes, spec->mac, sizeof(p->mac.bytes));
	if (!r && spec->flags & ~(BYWAY_TAP_OPEN | BYWAY_TAP_ISOLATED))
		r = err_set(err, ERR_USAGE, -EINVAL, "unknown flags of a TAP: 0x%x", spec->flags);
	if (!r && (p->queues > PORT_QUEUES_MAX || MAX(p->rate_rx, p->rate_tx) > PORT_RATE_MAX))
		r = err_set(err, ERR_USAGE, -ERANGE, "more queues or a higher rate than there is");
	if (!r && spec->owner == PORT_NO_UID &&
	    !spec->group) /* the kernel takes it for everybody */
		r = err_set(err, ERR_USAGE, -EINVAL, "neither owner nor group");
	if (!r && spec->unused)
		r = err_set(err, ERR_USAGE, -EINVAL, "what is unused is not 0");
	if (!r)
		r = describe_life(spec->pid, p, err);
	return r ? r : parse_addrs(spec->address, spec->address6, &p->addr, &p->addr6, err);
}

static void put_addr(char to[BYWAY_ADDR_MAX], struct ip ip)
{
	if (ip.family)
		ip_format(&ip, to);
}

static void put_tap(const struct vpc *v, const struct port *p, int fd, struct byway_tap *ret)
{
	struct byway_tap t = {.size = sizeof(t),
			      .prefix = v->cidr.prefix,
			      .prefix6 = v->cidr6.prefix,
			      .mtu = v->mtu_bytes,
			      .queues = p->queues,
			      .fd = fd};

	memcpy(t.name, p->name, sizeof(t.name));
	memcpy(t.interface, p->ifname, sizeof(t.interface));
	memcpy(t.mac, p->mac.bytes, sizeof(t.mac));
	put_addr(t.address, p->addr);
	put_addr(t.gateway, vpc_gateway(&v->cidr));
	put_addr(t.address6, p->addr6);
	if (v->cidr6.addr.family)
		put_addr(t.gateway6, vpc_gateway(&v->cidr6));
	write_struct(&t, ret);
}

/* A device that cannot be handed over is no device. */
static int hand_over(struct ops *o, const struct port *p, int *ret_fd, struct err *err)
{
	int r = tap_attach(p->ifname, ret_fd, err);

	if (r)
		ops_ports_delete(o, p, 1, NULL);
	return r;
}

int byway_tap_create(struct byway_manager *m, const struct byway_tap_spec *spec,
		     struct byway_tap *ret, struct byway_error *err)
{
	struct byway_tap_spec s = {0};
	struct port p = {0};
	struct call c = {0};
	struct vpc v;
	int fd = -1;
	int r = read_struct(spec, &s, sizeof(s), "byway_tap_spec", &c.err);

	if (!r)
		r = check_struct(ret, "byway_tap", &c.err);
	if (!r)
		r = describe(m, &s, &p, &c.err);
	if (!r)
		r = begin(&c, m, STORE_WRITE);
	if (!r)
		r = ops_port_add(&c.ops, &p, NULL, &c.err);
	if (!r)
		r = vpc_load(c.ops.st, p.vpc, &v, &c.err);
	if (!r && s.flags & BYWAY_TAP_OPEN)
		r = hand_over(&c.ops, &p, &fd, &c.err);
	if (!r)
		put_tap(&v, &p, fd, ret);
	return end(&c, r, err);
}

int byway_tap_get(struct byway_manager *m, const char *name, struct byway_tap *ret,
		  struct byway_error *err)
{
	struct call c = {0};
	struct port p;
	struct vpc v;
	int r = check_struct(ret, "byway_tap", &c.err);

	if (!r)
		r = copy_name(p.name, name, &c.err);
	if (!r)
		r = begin(&c, m, STORE_READ);
	if (!r)
		r = vpc_load(c.ops.st, m->name, &v, &c.err);
	if (!r)
		r = port_load(c.ops.st, m->name, name, &p, &c.err);
	if (!r && p.kind != PORT_TAP)
		r = err_set(&c.err, ERR_CONFLICT, -EEXIST, "'%s' is no VM", name);
	if (!r)
		put_tap(&v, &p, -1, ret);
	return end(&c, r, err);
}

/* What the two have in common that forget a machine by its name. */
static int forget(struct byway_manager *m, const char *name,
		  int (*fn)(struct ops *o, const char *vpc, const char *name, struct err *err),
		  struct byway_error *err)
{
	char checked[NAME_MAX_LEN];
	struct call c = {0};
	int r = copy_name(checked, name, &c.err);

	if (!r)
		r = begin(&c, m, STORE_WRITE);
	if (!r)
		r = fn(&c.ops, m->name, checked, &c.err);
	return end(&c, r, err);
}

static int delete_port(struct ops *o, const char *vpc, const char *name, struct err *err)
{
	bool existed;

	return ops_port_delete(o, vpc, name, &existed, err);
}

int byway_tap_delete(struct byway_manager *m, const char *name, struct byway_error *err)
{
	return forget(m, name, delete_port, err);
}

int byway_tap_open(const char *interface, int *ret_fd, struct byway_error *err)
{
	struct err e = {0};

	return tell(tap_attach(interface ? interface : "", ret_fd, &e), &e, err);
}

/* ---- Addresses ---- */

int byway_address_allocate(struct byway_manager *m, const char *name, const char *address,
			   const char *address6, struct byway_lease *ret, struct byway_error *err)
{
	struct byway_lease lease = {.size = sizeof(lease)};
	struct ip addr = {0}, addr6 = {0};
	char checked[NAME_MAX_LEN];
	struct call c = {0};
	int r = check_struct(ret, "byway_lease", &c.err);

	if (!r)
		r = copy_name(checked, name, &c.err);
	if (!r)
		r = parse_addrs(address, address6, &addr, &addr6, &c.err);
	if (!r)
		r = begin(&c, m, STORE_WRITE);
	if (!r)
		r = ops_address_take(&c.ops, m->name, checked, &addr, &addr6, &c.err);
	if (!r) {
		put_addr(lease.address, addr);
		put_addr(lease.address6, addr6);
		write_struct(&lease, ret);
	}
	return end(&c, r, err);
}

int byway_address_release(struct byway_manager *m, const char *name, struct byway_error *err)
{
	return forget(m, name, ops_address_release, err);
}
