// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/etc.h"
#include "base/fault.h"
#include "base/log.h"
#include "ops/dns.h"
#include "ops/ops.h"
#include "proc/child.h"
#include "proc/pidlock.h"
#include "proc/run.h"
#include "vm/dhcp_release.h"
#include "vm/dnsmasq.h"
#include "vpc/host_rules.h"
#include "vpc/port.h"
#include "vpc/way.h"

#define END_MS 5000 /* of the process: dnsmasq has 2 s of it */
#define ENTRY_MAX (NAME_MAX_LEN + 16)
#define WAY_NAME_MAX (NAME_MAX_LEN + 8)

static const char *way_name(const char *vpc, unsigned int no, char ret[WAY_NAME_MAX])
{
	snprintf(ret, WAY_NAME_MAX, "%s%c%u", vpc, DNS_WAY_SEPARATOR, no);
	return ret;
}

const char *dns_path(const char *name, const char *below, char ret[DNS_PATH_MAX])
{
	snprintf(ret, DNS_PATH_MAX, DNS_DIR "/%s%s%s", name, *below ? "/" : "", below);
	return ret;
}

bool ops_dns_is_served(const char *vpc)
{
	char path[DNS_PATH_MAX];

	return pidlock_holder(dns_path(vpc, DNS_LOCK, path)) != 0;
}

int ops_dns_check(const struct vpc *v, struct err *err)
{
	char path[RUN_PROGRAM_MAX];
	int r = dnsmasq_check(v, err);

	if (!r && run_find("dnsmasq", path, err)) {
		err_append(err, ": install the Debian package dnsmasq-base");
		r = -ENOENT;
	}
	return r;
}

int dns_user(uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	const struct passwd *pw = getpwnam("dnsmasq");

	if (!pw)
		pw = getpwnam("nobody");
	if (!pw)
		return err_set(err, ERR_FAILED, -ENOENT, "there is no user dnsmasq, nor nobody");
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

/* ---- Files. dnsmasq is not root: it must be able to read them ---- */

static int make_dir(const char *path, mode_t mode, struct err *err)
{
	int r = fault_point("dns mkdir");

	if (!r && ((mkdir(path, mode) && errno != EEXIST) || chmod(path, mode)))
		r = -errno;
	return r ? err_errno(err, r, "cannot create %s", path) : 0;
}

static int make_dirs(const char *vpc, struct err *err)
{
	static const char *const below[] = {"", DNSMASQ_HOSTS, DNSMASQ_LEASES};
	char path[DNS_PATH_MAX];
	int r = make_dir(STORE_DIR, 0711, err); /* to go through, not to look */

	if (!r)
		r = make_dir(DNS_DIR, 0711, err);
	for (size_t i = 0; !r && i < ARRAY_SIZE(below); i++)
		r = make_dir(dns_path(vpc, below[i], path), 0755, err);
	return r;
}

static int write_text(int fd, const struct buf *text)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return fchmod(fd, 0644) ? -errno : 0;
}

/* dnsmasq passes over names that begin with a dot, and sees the other appear as a whole. */
static int write_file(const char *dir, const char *name, const struct buf *text, struct err *err)
{
	_free_ char *path = xasprintf("%s/%s", dir, name);
	_free_ char *tmp = xasprintf("%s/.%s", dir, name);
	int r = fault_point("dns write");
	_close_ int fd = r ? -1 : open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (!r)
		r = fd < 0 ? -errno : write_text(fd, text);
	if (!r && rename(tmp, path))
		r = -errno;
	if (r)
		unlink(tmp);
	return r ? err_errno(err, r, "cannot write %s", path) : 0;
}

static const char *entry(const char *kind, const char *name, char ret[ENTRY_MAX])
{
	snprintf(ret, ENTRY_MAX, "%s-%s", kind, name);
	return ret;
}

/* A lease before the name: who can be found can be sure of its address. */
static int add_host(const struct vpc *v, const char *name, const struct dnsmasq_host *h, bool lease,
		    struct err *err)
{
	_buf_ struct buf names = {0}, leases = {0};
	char dir[DNS_PATH_MAX];
	int r = 0;

	dnsmasq_add_host(v, h, &names);
	dnsmasq_add_lease(h, &leases);
	if (lease)
		r = write_file(dns_path(v->name, DNSMASQ_LEASES, dir), name, &leases, err);
	return r ? r : write_file(dns_path(v->name, DNSMASQ_HOSTS, dir), name, &names, err);
}

static void forget_host(const char *vpc, const char *name)
{
	static const char *const dirs[] = {DNSMASQ_HOSTS, DNSMASQ_LEASES};
	char dir[DNS_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_free_ char *path = xasprintf("%s/%s", dns_path(vpc, dirs[i], dir), name);

		unlink(path);
	}
}

int ops_dns_add_port(struct ops *o, const struct vpc *v, const struct port *p, struct err *err)
{
	struct dnsmasq_host h = dnsmasq_port(p);
	char name[ENTRY_MAX];

	if (!v->dns || o->log.dry_run)
		return 0;
	return add_host(v, entry("port", p->name, name), &h, v->dhcp, err);
}

void ops_dns_forget_port(struct ops *o, const struct vpc *v, const struct port *p)
{
	struct ip gateway = vpc_gateway(&v->cidr);
	char name[ENTRY_MAX];

	if (o->log.dry_run)
		return;
	forget_host(p->vpc, entry("port", p->name, name));
	if (v->dhcp)
		dhcp_release(v->bridge, &p->mac, &p->addr, &gateway);
}

/* Somebody's own files of /etc are left to say what they say. */
static int add_etc(const struct vpc *v, const struct subnet *s, struct err *err)
{
	_buf_ struct buf resolv = {0};
	struct err why;
	int r;

	dnsmasq_resolv_conf(v, &resolv);
	r = etc_put(s->netns, &resolv, &why);
	if (r == -EEXIST) {
		log_warn("/etc/netns/%s has files that are not byway's: they stay", s->netns);
		return 0;
	}
	if (r && err)
		*err = why;
	return r;
}

int ops_dns_add_subnet(struct ops *o, const struct vpc *v, const struct subnet *s, struct err *err)
{
	struct dnsmasq_host h = dnsmasq_subnet(s);
	char name[ENTRY_MAX];
	int r;

	if (!v->dns)
		return 0;
	oplog_add(&o->log, NULL, "echo nameserver ... >/etc/netns/%s/resolv.conf", s->netns);
	if (oplog_dry(&o->log))
		return 0;
	r = add_host(v, entry("subnet", s->name, name), &h, false, err);
	return r ? r : add_etc(v, s, err);
}

int ops_dns_forget_subnet(struct ops *o, const struct subnet *s, struct err *err)
{
	char name[ENTRY_MAX];

	if (o->log.dry_run)
		return 0;
	forget_host(s->vpc, entry("subnet", s->name, name));
	return etc_remove(s->netns, err);
}

/* Leases are read anew by a signal only; names go with their files. */
void ops_dns_reload(struct ops *o, const struct vpc *v)
{
	char path[DNS_PATH_MAX];

	if (v->dhcp && !o->log.dry_run)
		pidlock_signal(dns_path(v->name, DNS_LOCK, path), SIGHUP);
}

static int add_everybody(struct ops *o, const struct vpc *v, struct err *err)
{
	_free_ struct subnet *subnets = NULL;
	_free_ struct port *ports = NULL;
	size_t n_subnets = 0, n_ports = 0;
	int r = subnet_list(o->st, v->name, &subnets, &n_subnets, err);

	if (!r)
		r = port_list(o->st, v->name, &ports, &n_ports, err);
	for (size_t i = 0; !r && i < n_subnets; i++)
		if (subnets[i].state == ROW_ACTIVE)
			r = ops_dns_add_subnet(o, v, &subnets[i], err);
	for (size_t i = 0; !r && i < n_ports; i++)
		if (ports[i].state == ROW_ACTIVE)
			r = ops_dns_add_port(o, v, &ports[i], err);
	return r;
}

/* ---- Names of elsewhere ---- */

static bool has_nat(struct ops *o, const struct vpc *v)
{
	struct nat nat;

	return !nat_load(o->st, v->name, &nat, NULL) && nat.state != ROW_DELETING;
}

/* Where nothing may go out, no question does. What goes out by the host's own way is asked of the
 * host's resolvers. Where a workload has another one, this dnsmasq, which cannot tell who asks,
 * asks nobody, and others do. */
static bool is_way_of_host(struct ops *o, const struct vpc *v)
{
	int64_t others = 0;

	if (!has_nat(o, v))
		return false;
	return !row_number(o->st, "SELECT COUNT(*) FROM egress_use WHERE vpc = ?1", v->name,
			   &others, NULL) &&
	       !others;
}

static int write_servers(struct ops *o, const struct vpc *v, struct err *err)
{
	_buf_ struct buf none = {0};
	char dir[DNS_PATH_MAX], path[DNS_PATH_MAX];

	if (!is_way_of_host(o, v))
		return write_file(dns_path(v->name, "", dir), DNS_SERVERS, &none, err);
	if (unlink(dns_path(v->name, DNS_SERVERS, path)) && errno != ENOENT)
		return err_errno(err, -errno, "cannot remove %s", path);
	return 0;
}

/* ---- The process ---- */

/* We may be part of another program. */
static int find_byway(char ret[RUN_PROGRAM_MAX], struct err *err)
{
	_free_ char *self = realpath("/proc/self/exe", NULL);
	const char *slash = self ? strrchr(self, '/') : NULL;

	if (slash && !strcmp(slash, "/byway") && !str_copy(ret, RUN_PROGRAM_MAX, self))
		return 0;
	return run_find("byway", ret, err);
}

/* Its one sentence, without our name before it. */
static int tell(struct buf *said, int status, struct err *err)
{
	static const char prefix[] = "byway: error: ";
	char *text = said->data ? strstr(said->data, prefix) : NULL;

	text = text ? text + strlen(prefix) : said->data;
	if (text)
		text[strcspn(text, "\n")] = '\0';
	return err_set(err, status < 10 ? (enum err_kind)status : ERR_FAILED, -ECHILD, "%s",
		       text && *text ? text : "`byway dns run` was ended");
}

static int start(const char *vpc, struct err *err)
{
	static const char *const env[] = {"PATH=" RUN_PATH, "LC_ALL=C", NULL};
	const char *const argv[] = {"byway", "dns", "run", vpc, "--detach", NULL};
	char path[RUN_PROGRAM_MAX];
	struct child_spec spec = {.path = path, .argv = argv, .env = env};
	_buf_ struct buf said = {0};
	int status = 0, r = find_byway(path, err);

	if (!r && (r = fault_point("start byway dns run")))
		err_errno(err, r, "cannot start byway dns run");
	if (!r)
		r = run_spec(&spec, NULL, NULL, &said, &status, err);
	return r || !status ? r : tell(&said, status, err);
}

static int end(const char *vpc, struct err *err)
{
	char path[DNS_PATH_MAX];

	return pidlock_end(dns_path(vpc, DNS_LOCK, path), END_MS, err);
}

static int take_down(struct ops *o, const char *name, struct err *err)
{
	char path[DNS_PATH_MAX], below[WAY_NAME_MAX + 8];
	_close_ int lock = -1;
	int r;

	if (access(dns_path(name, "", path), F_OK))
		return 0;
	oplog_add(&o->log, NULL, "rm -r %s", path);
	if (oplog_dry(&o->log))
		return 0;
	r = end(name, err);
	if (!r)
		r = pidlock_take(dns_path(name, DNS_LOCK, path), &lock, err);
	if (r)
		return r == -EBUSY ? err_errno(err, r,
					       "another process has just begun to serve '%s'", name)
				   : r;
	snprintf(below, sizeof(below), "dns/%s", name);
	return store_unpublish_all(o->st, below, err);
}

/* ---- For those who go out by a way of their own ---- */

static int want_ways(struct ops *o, const struct vpc *v, bool ret[WAY_MAX + 1], struct err *err)
{
	_free_ struct use *uses = NULL;
	struct way way;
	size_t n = 0;
	int r = use_list(o->st, &uses, &n, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (strcmp(uses[i].vpc, v->name) != 0)
			continue;
		ret[0] = has_nat(o, v);
		if (*uses[i].list && !way_load(o->st, uses[i].list, &way, NULL))
			ret[way.no] = true;
	}
	return r;
}

static int write_way(const struct vpc *v, const char *name, unsigned int no, struct err *err)
{
	_buf_ struct buf config = {0}, servers = {0};
	char dir[DNS_PATH_MAX], first[DNS_PATH_MAX];
	struct ip resolver = way_resolver(no);
	int r = make_dir(dns_path(name, "", dir), 0755, err);

	dnsmasq_way_config(v, dir, dns_path(v->name, "", first), (uint16_t)(WAY_DNS_PORT + no),
			   &config);
	if (!r)
		r = write_file(dir, DNS_CONFIG, &config, err);
	dnsmasq_add_server(&resolver, &servers);
	return r || !no ? r : write_file(dir, DNS_SERVERS, &servers, err);
}

static int sync_way(struct ops *o, const struct vpc *v, unsigned int no, bool wanted,
		    struct err *err)
{
	char name[WAY_NAME_MAX], path[DNS_PATH_MAX];
	int r;

	if (!wanted)
		return take_down(o, way_name(v->name, no, name), err);
	if (ops_dns_is_served(way_name(v->name, no, name)))
		return 0;
	oplog_add(&o->log, NULL, "dnsmasq --conf-file=%s", dns_path(name, DNS_CONFIG, path));
	if (oplog_dry(&o->log))
		return 0;
	r = write_way(v, name, no, err);
	return r ? r : start(name, err);
}

static int sync_ways(struct ops *o, const struct vpc *v, struct err *err)
{
	bool wanted[WAY_MAX + 1] = {0};
	int r = want_ways(o, v, wanted, err);

	for (unsigned int no = 0; !r && no <= WAY_MAX; no++)
		r = sync_way(o, v, no, wanted[no], err);
	return r;
}

int ops_dns_refresh(struct ops *o, const char *vpc, struct err *err)
{
	char path[DNS_PATH_MAX];
	struct vpc v;
	int r = vpc_load(o->st, vpc, &v, err);

	if (r || !v.dns || o->log.dry_run)
		return r;
	r = write_servers(o, &v, err);
	if (!r)
		pidlock_signal(dns_path(vpc, DNS_LOCK, path), SIGHUP);
	return r ? r : sync_ways(o, &v, err);
}

int ops_dns_settle(struct ops *o, const struct vpc *v, struct err *err)
{
	bool wanted[WAY_MAX + 1] = {0}, differs = false;
	char name[WAY_NAME_MAX], path[DNS_PATH_MAX];
	int r;

	if (!v->dns || o->log.dry_run)
		return 0;
	r = want_ways(o, v, wanted, err);
	for (unsigned int no = 0; !r && no <= WAY_MAX; no++) {
		dns_path(way_name(v->name, no, name), "", path);
		differs |= wanted[no] != !access(path, F_OK);
	}
	if (!r && differs)
		r = ops_host_sync(o, err);
	return r || !differs ? r : ops_dns_refresh(o, v->name, err);
}

/* ---- Up and down ---- */

static int write_all(struct ops *o, const struct vpc *v, struct err *err)
{
	char dir[DNS_PATH_MAX];
	_buf_ struct buf config = {0};
	int r = make_dirs(v->name, err);

	dnsmasq_config(v, dns_path(v->name, "", dir), &config);
	if (!r)
		r = write_file(dir, DNS_CONFIG, &config, err);
	return r ? r : write_servers(o, v, err);
}

int ops_dns_up(struct ops *o, const struct vpc *v, struct err *err)
{
	char path[DNS_PATH_MAX];
	int r = 0;

	oplog_add(&o->log, NULL, "dnsmasq --conf-file=%s", dns_path(v->name, DNS_CONFIG, path));
	if (oplog_dry(&o->log))
		return add_everybody(o, v, err);
	r = end(v->name, err);
	if (!r)
		r = write_all(o, v, err);
	if (!r)
		r = add_everybody(o, v, err);
	if (!r)
		r = start(v->name, err);
	if (!r)
		r = sync_ways(o, v, err);
	return r ? err_context(err, "names for '%s' are not served", v->name) : 0;
}

/* With nobody's names served, nobody needs to get through. */
static void close_dirs(void)
{
	if (!rmdir(DNS_DIR) || errno == ENOENT)
		chmod(STORE_DIR, 0700);
}

int ops_dns_down(struct ops *o, const char *vpc, struct err *err)
{
	char name[WAY_NAME_MAX];
	int r = 0;

	if (access(DNS_DIR, F_OK)) /* nobody's names are served */
		return 0;
	for (unsigned int no = 0; !r && no <= WAY_MAX; no++)
		r = take_down(o, way_name(vpc, no, name), err);
	if (!r)
		r = take_down(o, vpc, err);
	if (!r && !o->log.dry_run)
		close_dirs();
	return r;
}

/* ---- On and off, for a VPC that is there ---- */

static int save(struct ops *o, const struct vpc *v, struct err *err)
{
	int r = ops_begin(o, err);

	if (!r)
		r = vpc_set_services(o->st, v, err);
	return ops_end(o, r, err);
}

static bool has_users(struct ops *o)
{
	int64_t n = 0;

	return !use_count(o->st, &n, NULL) && n;
}

static int update_rules(struct ops *o, const struct vpc *add, const struct vpc *del,
			struct err *err)
{
	_host_rules_ struct host_rules more = {0}, less = {0};

	host_rules_init(&more);
	host_rules_init(&less);
	if (add)
		host_rules_services(&more, add);
	if (del)
		host_rules_services(&less, del);
	/* Whose names are served by which port is in no rules of a VPC alone. */
	return has_users(o) ? ops_host_sync(o, err) : ops_host_update(o, &more, &less, err);
}

/* The row first, so that a crash leaves what `byway gc` makes whole. */
static int turn_on(struct ops *o, const struct vpc *v, struct err *err)
{
	int r = save(o, v, err);

	if (!r)
		r = update_rules(o, v, NULL, err);
	return r ? r : ops_dns_up(o, v, err);
}

static int turn_off(struct ops *o, const struct vpc *old, const struct vpc *v, struct err *err)
{
	struct failures f = {.err = err};
	_free_ struct subnet *s = NULL;
	size_t n = 0;

	failures_add(&f, save(o, v, failures_err(&f)));
	failures_add(&f, update_rules(o, NULL, old, failures_err(&f)));
	failures_add(&f, subnet_list(o->st, v->name, &s, &n, failures_err(&f)));
	for (size_t i = 0; i < n; i++)
		failures_add(&f, ops_dns_forget_subnet(o, &s[i], failures_err(&f)));
	failures_add(&f, ops_dns_down(o, v->name, failures_err(&f)));
	return failures_tell(&f);
}

/* As it was. */
static void turn_back(struct ops *o, const struct vpc *old, const struct vpc *v)
{
	turn_off(o, v, old, NULL);
	if (old->dns)
		turn_on(o, old, NULL);
}

int ops_dns_enable(struct ops *o, const char *vpc, bool dhcp, bool *ret_changed, struct err *err)
{
	struct vpc old, v;
	int r = ops_vpc_active(o, vpc, &old, err);

	if (!r)
		r = ops_dns_check(&old, err);
	if (!r && dhcp && !old.flat)
		r = err_set(err, ERR_CONFLICT, -EINVAL,
			    "'%s' has subnets, whose addresses are set: DHCP is for flat networks",
			    vpc);
	if (r)
		return r;
	v = old;
	v.dns = true;
	v.dhcp |= dhcp;
	*ret_changed = v.dns != old.dns || v.dhcp != old.dhcp || !ops_dns_is_served(vpc);
	if (!*ret_changed)
		return 0;
	r = turn_on(o, &v, err);
	if (r)
		turn_back(o, &old, &v);
	return r;
}

int ops_dns_disable(struct ops *o, const char *vpc, bool *ret_existed, struct err *err)
{
	struct vpc old, v;
	int r = vpc_load(o->st, vpc, &old, err);

	if (r)
		return r;
	*ret_existed = old.dns;
	v = old;
	v.dns = v.dhcp = false;
	if (!old.dns) /* a former attempt may have got no further than the row */
		old.dns = old.dhcp = true;
	return turn_off(o, &old, &v, err);
}

/* ---- What a crash left ---- */

static int each_dir(int (*fn)(struct ops *o, const char *vpc, size_t *count, struct err *err),
		    struct ops *o, size_t *count, struct err *err)
{
	DIR *d = opendir(DNS_DIR);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot read " DNS_DIR);
	while (!r && (e = readdir(d)))
		if (e->d_name[0] != '.')
			r = fn(o, e->d_name, count, err);
	closedir(d);
	return r;
}

/* Of a VPC that is there, those for a way out are sync_ways()' to judge. */
static int sweep_dir(struct ops *o, const char *name, size_t *count, struct err *err)
{
	char vpc[WAY_NAME_MAX];
	struct vpc v;
	int r;

	snprintf(vpc, sizeof(vpc), "%.*s", (int)strcspn(name, "@"), name);
	r = vpc_load(o->st, vpc, &v, NULL);
	if (r && r != -ENOENT)
		return err_errno(err, r, "cannot look up VPC '%s'", vpc);
	if (!r && v.dns)
		return 0;
	(*count)++;
	return ops_dns_down(o, vpc, err);
}

int ops_dns_sweep(struct ops *o, size_t *count, struct err *err)
{
	_free_ struct vpc *v = NULL;
	size_t n = 0;
	int r = each_dir(sweep_dir, o, count, err);

	if (!r)
		r = vpc_list(o->st, &v, &n, err);
	for (size_t i = 0; !r && i < n; i++) {
		if (v[i].dns && ops_dns_is_served(v[i].name))
			r = sync_ways(o, &v[i], err);
		if (r || !v[i].dns || ops_dns_is_served(v[i].name))
			continue;
		r = ops_dns_up(o, &v[i], err);
		(*count)++;
	}
	return r;
}

static int end_one(struct ops *o, const char *vpc, size_t *count, struct err *err)
{
	(void)o;
	(void)count;
	if (end(vpc, err))
		log_warn("%s", err->msg);
	return 0;
}

void ops_dns_end_all(void)
{
	struct err e;

	if (each_dir(end_one, NULL, NULL, &e))
		log_warn("%s", e.msg);
}
