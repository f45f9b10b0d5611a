// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * One pass over the environment: a table says where each value goes, as it stands; the lines of the
 * lists of networks (CISCO_SPLIT_INC_0_ADDR, …) are found by their form and go into slots. Then the
 * values are read, in the order of struct vpn. What the table does not have is not looked at,
 * CISCO_CSTP_OPTIONS for one, which repeats the server's headers.
 *
 * What openconnect says on connect, as seen with ocserv 1.1.6: INTERNAL_IP4_DNS has resolvers of
 * both families; INTERNAL_IP6_NETMASK is an address with a prefix length; lists count from 0, and
 * the name without a number is their length.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/util.h"
#include "session/vpn.h"

#define BANNER_MAX 1024
#define BLANKS " \t\r\n"
#define BLANKS_AND_COMMA BLANKS ","

/* RFC 791 3.2: what every IPv4 link can carry; more than 65535 no packet has. */
#define MTU_MIN 68
#define MTU_MAX 65535

static const char *const reasons[] = {
	[VPN_PRE_INIT] = "pre-init",
	[VPN_CONNECT] = "connect",
	[VPN_ATTEMPT_RECONNECT] = "attempt-reconnect",
	[VPN_RECONNECT] = "reconnect",
	[VPN_DISCONNECT] = "disconnect",
};
_Static_assert(ARRAY_SIZE(reasons) == VPN_NUM_REASONS, "reasons[] is not enum vpn_reason");

const char *vpn_reason_name(enum vpn_reason r)
{
	return reasons[r];
}

/* ---- Which value is where ---- */

enum list { INC4, EXC4, INC6, EXC6, NUM_LISTS };

struct raw_net {
	const char *addr, *mask, *masklen;
};

/* Borrowed from the environment; NULL: not there. */
struct raw {
	const char *reason, *pid, *tun, *gateway;
	const char *addr4, *mask4, *masklen4, *mtu, *dns4;
	const char *addr6, *mask6, *dns6;
	const char *domain, *split_dns, *banner;
	const char *counts[NUM_LISTS];
	struct raw_net nets[NUM_LISTS][SESSION_NETS_MAX];
};

static const struct {
	const char *name;
	size_t offset;
} scalars[] = {
	{"reason", offsetof(struct raw, reason)},
	{"VPNPID", offsetof(struct raw, pid)},
	{"TUNDEV", offsetof(struct raw, tun)},
	{"VPNGATEWAY", offsetof(struct raw, gateway)},
	{"INTERNAL_IP4_ADDRESS", offsetof(struct raw, addr4)},
	{"INTERNAL_IP4_NETMASK", offsetof(struct raw, mask4)},
	{"INTERNAL_IP4_NETMASKLEN", offsetof(struct raw, masklen4)},
	{"INTERNAL_IP4_MTU", offsetof(struct raw, mtu)},
	{"INTERNAL_IP4_DNS", offsetof(struct raw, dns4)},
	{"INTERNAL_IP6_ADDRESS", offsetof(struct raw, addr6)},
	{"INTERNAL_IP6_NETMASK", offsetof(struct raw, mask6)},
	{"INTERNAL_IP6_DNS", offsetof(struct raw, dns6)},
	{"CISCO_DEF_DOMAIN", offsetof(struct raw, domain)},
	{"CISCO_SPLIT_DNS", offsetof(struct raw, split_dns)},
	{"CISCO_BANNER", offsetof(struct raw, banner)},
};

static const struct {
	const char *name;
	int family;
} lists[] = {
	[INC4] = {"CISCO_SPLIT_INC", AF_INET},
	[EXC4] = {"CISCO_SPLIT_EXC", AF_INET},
	[INC6] = {"CISCO_IPV6_SPLIT_INC", AF_INET6},
	[EXC6] = {"CISCO_IPV6_SPLIT_EXC", AF_INET6},
};
_Static_assert(ARRAY_SIZE(lists) == NUM_LISTS, "lists[] is not enum list");

static const struct {
	const char *name;
	size_t offset;
} net_parts[] = {
	{"_ADDR", offsetof(struct raw_net, addr)},
	{"_MASK", offsetof(struct raw_net, mask)},
	{"_MASKLEN", offsetof(struct raw_net, masklen)},
};

/* Whether line is NAME=…; the value. */
static const char *value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(line, name, len) && line[len] == '=' ? line + len + 1 : NULL;
}

static void set(void *base, size_t offset, const char *value)
{
	*(const char **)(void *)((char *)base + offset) = value;
}

static void sort_scalar(struct raw *raw, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
		const char *value = value_of(line, scalars[i].name);

		if (value)
			set(raw, scalars[i].offset, value);
	}
}

/* What stands behind a list's name: "=N", or "_N_ADDR=…" and its like. */
static void sort_list(struct raw *raw, enum list list, const char *rest)
{
	char *end;
	unsigned long nth;

	if (*rest == '=')
		raw->counts[list] = rest + 1;
	if (rest[0] != '_' || rest[1] < '0' || rest[1] > '9')
		return;
	nth = strtoul(rest + 1, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(net_parts) && nth < SESSION_NETS_MAX; i++) {
		const char *value = value_of(end, net_parts[i].name);

		if (value)
			set(&raw->nets[list][nth], net_parts[i].offset, value);
	}
}

static void sort_line(struct raw *raw, const char *line)
{
	sort_scalar(raw, line);
	for (enum list i = 0; i < NUM_LISTS; i++) {
		size_t len = strlen(lists[i].name);

		if (!strncmp(line, lists[i].name, len))
			sort_list(raw, i, line + len);
	}
}

/* ---- Values ---- */

/* A number in decimal and nothing else; -1 when it is not one from 0 to max. */
static long number(const char *text, long max)
{
	char *end;
	long n;

	if (!text || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtol(text, &end, 10);
	return *end || errno || n > max ? -1 : n;
}

/* The prefix length of a contiguous netmask; -1 when it is none. */
static long mask_length(const char *text)
{
	struct ip mask;
	uint32_t bits, gaps;

	if (ip_parse(text, &mask, NULL) || mask.family != AF_INET)
		return -1;
	bits = (uint32_t)mask.bytes[0] << 24 | (uint32_t)mask.bytes[1] << 16 |
	       (uint32_t)mask.bytes[2] << 8 | mask.bytes[3];
	gaps = ~bits;
	return gaps & (gaps + 1) ? -1 : __builtin_popcount(bits);
}

/* Without any length: of the address alone. */
static long prefix_length(const struct raw_net *net, int family)
{
	long bits = (long)ip_bits(family);

	if (net->masklen)
		return number(net->masklen, bits);
	if (net->mask)
		return family == AF_INET ? mask_length(net->mask) : -1;
	return bits;
}

static bool parse_net(const struct raw_net *net, int family, struct cidr *ret)
{
	struct cidr c;
	long prefix = prefix_length(net, family);

	if (!net->addr || ip_parse(net->addr, &c.addr, NULL) || c.addr.family != family ||
	    prefix < 0)
		return false;
	c.prefix = (unsigned int)prefix;
	*ret = c;
	return true;
}

/* For a terminal, a log or JSON, whatever the server has sent. */
static int refuse(struct err *err, const char *name, const char *value)
{
	char text[101];

	if (!value)
		return err_set(err, ERR_FAILED, -EINVAL, "the VPN client says no %s", name);
	str_printable(text, sizeof(text), value, strlen(value));
	return err_set(err, ERR_FAILED, -EINVAL, "the VPN's %s makes no sense: '%s'", name, text);
}

static int read_reason(const char *text, enum vpn_reason *ret, struct err *err)
{
	for (enum vpn_reason i = 0; text && i < VPN_NUM_REASONS; i++) {
		if (!strcmp(text, reasons[i])) {
			*ret = i;
			return 0;
		}
	}
	return refuse(err, "reason", text);
}

static int read_client(const struct raw *raw, struct vpn *v, struct err *err)
{
	long pid = number(raw->pid, INT32_MAX);

	if (pid < 1)
		return refuse(err, "VPNPID", raw->pid);
	v->client = (pid_t)pid;
	if (!raw->tun || !*raw->tun || strpbrk(raw->tun, "/%:" BLANKS) || raw->tun[0] == '.' ||
	    str_copy(v->tun, sizeof(v->tun), raw->tun))
		return refuse(err, "TUNDEV", raw->tun);
	if (!raw->gateway || ip_parse(raw->gateway, &v->gateway, NULL))
		return refuse(err, "VPNGATEWAY", raw->gateway);
	return 0;
}

/* That of one host, of a kind that a private network gives out. */
static bool usable(const struct cidr *c)
{
	struct cidr host = {.addr = c->addr, .prefix = ip_bits(c->addr.family)};

	return !cidr_reserved(&host);
}

/* Without a length that makes sense: the address alone. */
static int read_addr4(const struct raw *raw, struct cidr *ret, struct err *err)
{
	struct raw_net net = {raw->addr4, raw->mask4, raw->masklen4}, host = {.addr = raw->addr4};

	if (!raw->addr4)
		return 0;
	if ((parse_net(&net, AF_INET, ret) && ret->prefix && usable(ret)) ||
	    (parse_net(&host, AF_INET, ret) && usable(ret)))
		return 0;
	return refuse(err, "INTERNAL_IP4_ADDRESS", raw->addr4);
}

static int read_addr6(const struct raw *raw, struct cidr *ret, struct err *err)
{
	const char *text = raw->mask6 && strchr(raw->mask6, '/') ? raw->mask6 : raw->addr6;

	if (!text)
		return 0;
	if (cidr_parse(text, ret, NULL) || ret->addr.family != AF_INET6 || !ret->prefix ||
	    !usable(ret))
		return refuse(err, "INTERNAL_IP6_ADDRESS", text);
	return 0;
}

/* Calls add with each word of text. */
static void each_word(const char *text, const char *between,
		      void (*add)(struct vpn *, const char *), struct vpn *v)
{
	char word[254];

	for (const char *s = text ? text : ""; *s;) {
		size_t len;

		s += strspn(s, between);
		len = strcspn(s, between);
		if (len && len < sizeof(word)) {
			memcpy(word, s, len);
			word[len] = '\0';
			add(v, word);
		}
		s += len;
	}
}

static void add_dns(struct vpn *v, const char *word)
{
	struct cidr c = {0};

	if (v->n_dns == SESSION_DNS_MAX || ip_parse(word, &c.addr, NULL) || !usable(&c))
		return;
	for (size_t i = 0; i < v->n_dns; i++)
		if (ip_equal(&v->dns[i], &c.addr))
			return;
	v->dns[v->n_dns++] = c.addr;
}

/* Letters, digits, hyphens, dots; underscores are seen, too. */
static bool is_domain(const char *s)
{
	static const char chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	return s[strspn(s, chars)] == '\0' && s[0] != '-' && s[0] != '.' && !strstr(s, "..");
}

static void add_domain(struct vpn *v, const char *word)
{
	size_t len = strlen(v->domain), more = strlen(word);

	if (!is_domain(word) || len + 1 + more >= sizeof(v->domain))
		return;
	if (len)
		v->domain[len++] = ' ';
	memcpy(v->domain + len, word, more + 1);
}

static void add_split_dns(struct vpn *v, const char *word)
{
	if (is_domain(word) && v->n_split_dns < VPN_DOMAINS_MAX)
		str_copy(v->split_dns[v->n_split_dns++], sizeof(v->split_dns[0]), word);
}

/* 0.0.0.0/32 stands for "the client's own network" to some servers, and for no network here. */
static bool is_network(const struct cidr *c)
{
	static const struct ip none;

	return c->prefix == 0 || memcmp(c->addr.bytes, none.bytes, sizeof(none.bytes)) != 0;
}

static int read_list(const struct raw *raw, enum list list, struct cidr **nets, size_t *n,
		     struct err *err)
{
	const char *text = raw->counts[list];
	long count = number(text, INT32_MAX);

	if (!text || count < 0)
		return text ? refuse(err, lists[list].name, text) : 0;
	if ((size_t)count + *n > SESSION_NETS_MAX)
		return err_set(err, ERR_FAILED, -E2BIG, "the VPN has more than %d networks in %s",
			       SESSION_NETS_MAX, lists[list].name);
	if (count)
		*nets = xrealloc(*nets, *n + (size_t)count, sizeof(**nets));
	for (long i = 0; i < count; i++) {
		struct cidr c;

		if (!parse_net(&raw->nets[list][i], lists[list].family, &c))
			continue;
		c.addr = cidr_first(&c);
		if (is_network(&c))
			(*nets)[(*n)++] = c;
	}
	return 0;
}

static int read_nets(const struct raw *raw, struct vpn *v, struct err *err)
{
	int r = read_list(raw, INC4, &v->include, &v->n_include, err);

	if (!r)
		r = read_list(raw, INC6, &v->include, &v->n_include, err);
	if (!r)
		r = read_list(raw, EXC4, &v->exclude, &v->n_exclude, err);
	return r ? r : read_list(raw, EXC6, &v->exclude, &v->n_exclude, err);
}

/* For a terminal or a log: control characters but the newline become '?'. */
static char *printable(const char *text)
{
	size_t len = text ? strnlen(text, BANNER_MAX) : 0;
	char *s = len ? xcalloc(len + 1, 1) : NULL;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		s[i] = (c < ' ' && c != '\n') || c == 0x7f ? '?' : text[i];
	}
	return s;
}

static int read_values(const struct raw *raw, struct vpn *v, struct err *err)
{
	long mtu = number(raw->mtu, MTU_MAX);
	int r = read_reason(raw->reason, &v->reason, err);

	if (!r)
		r = read_client(raw, v, err);
	if (!r)
		r = read_addr4(raw, &v->addr4, err);
	if (!r)
		r = read_addr6(raw, &v->addr6, err);
	if (!r)
		r = read_nets(raw, v, err);
	if (r)
		return r;
	if (v->reason != VPN_PRE_INIT && !v->addr4.addr.family && !v->addr6.addr.family)
		return refuse(err, "INTERNAL_IP4_ADDRESS", NULL);
	v->mtu_bytes = mtu < MTU_MIN ? 0 : (uint32_t)mtu;
	each_word(raw->dns4, BLANKS, add_dns, v);
	each_word(raw->dns6, BLANKS, add_dns, v);
	each_word(raw->domain, BLANKS_AND_COMMA, add_domain, v);
	each_word(raw->split_dns, BLANKS_AND_COMMA, add_split_dns, v);
	v->banner = printable(raw->banner);
	return 0;
}

pid_t vpn_client(const char *env, size_t len)
{
	static const char key[] = "VPNPID=";
	long pid = 0;

	if (!len || env[len - 1])
		return 0;
	for (const char *line = env; line < env + len; line += strlen(line) + 1)
		if (!strncmp(line, key, strlen(key)))
			pid = number(line + strlen(key), INT32_MAX);
	return pid < 1 ? 0 : (pid_t)pid;
}

int vpn_parse(const char *env, size_t len, struct vpn *ret, struct err *err)
{
	_free_ struct raw *raw = xcalloc(1, sizeof(*raw));
	_vpn_ struct vpn v = {0};
	int r;

	if (!len || env[len - 1])
		return err_set(err, ERR_FAILED, -EINVAL,
			       "the VPN client's environment is cut short");
	for (const char *line = env; line < env + len; line += strlen(line) + 1)
		sort_line(raw, line);
	r = read_values(raw, &v, err);
	if (r)
		return r;
	*ret = v;
	v = (struct vpn){0};
	return 0;
}

void vpn_done(struct vpn *v)
{
	free(v->include);
	free(v->exclude);
	free(v->banner);
	*v = (struct vpn){0};
}
