// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cni/args.h"
#include "vm/dnsmasq.h"

int cni_wish_addr(struct cni_wishes *w, enum cni_code code, const char *where, const char *text,
		  struct cni_error *e)
{
	struct cidr c;

	if (cidr_parse(text, &c, &e->err))
		return cni_fail(e, code, "%s: '%.64s' is not an address", where, text);
	for (size_t i = 0; i < w->n_addrs; i++) {
		if (ip_equal(&w->addrs[i], &c.addr))
			return 0; /* said in two places */
		if (w->addrs[i].family == c.addr.family)
			return cni_fail(e, code, "%s: '%s' is a second %s address: one is given",
					where, text, c.addr.family == AF_INET ? "IPv4" : "IPv6");
	}
	w->addrs[w->n_addrs++] = c.addr;
	return 0;
}

int cni_wish_mac(struct cni_wishes *w, enum cni_code code, const char *where, const char *text,
		 struct cni_error *e)
{
	if (mac_parse(text, &w->mac, &e->err))
		return cni_fail(e, code, "%s: '%.64s' is not a MAC address", where, text);
	return 0;
}

void cni_wish_alias(struct cni_wishes *w, const char *name)
{
	size_t len = strlen(w->aliases);

	if (dnsmasq_is_name(name) && len + 1 + strlen(name) < sizeof(w->aliases))
		snprintf(w->aliases + len, sizeof(w->aliases) - len, "%s%s", len ? " " : "", name);
}

static int wish_addrs(struct cni_wishes *w, char *list, struct cni_error *e)
{
	char *save = NULL;

	for (char *s = strtok_r(list, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		int r = cni_wish_addr(w, CNI_ENVIRONMENT, "CNI_ARGS: IP", s, e);

		if (r)
			return r;
	}
	return 0;
}

struct parse {
	struct cni_wishes *w;
	bool ignore_unknown;
	const char *unknown; /* the first one */
};

static bool is_yes(const char *value)
{
	return !strcmp(value, "1") || !strcasecmp(value, "true") || !strcasecmp(value, "t");
}

static int parse_pair(struct parse *p, char *pair, struct cni_error *e)
{
	char *value = strchr(pair, '=');

	if (!value)
		return cni_fail(e, CNI_ENVIRONMENT, "CNI_ARGS: '%.64s' is not KEY=VALUE", pair);
	*value++ = '\0';
	if (!strcasecmp(pair, "IgnoreUnknown"))
		p->ignore_unknown = is_yes(value);
	else if (!strcmp(pair, "IP"))
		return wish_addrs(p->w, value, e);
	else if (!strcmp(pair, "MAC"))
		return cni_wish_mac(p->w, CNI_ENVIRONMENT, "CNI_ARGS: MAC", value, e);
	else if (!strcmp(pair, "K8S_POD_NAME")) /* Kubernetes' word, which podman has taken over */
		cni_wish_alias(p->w, value);
	else if (!p->unknown)
		p->unknown = pair;
	return 0;
}

int cni_args_parse(const char *text, struct cni_wishes *w, struct cni_error *e)
{
	_free_ char *copy = xstrdup(text);
	struct parse p = {.w = w};
	char *save = NULL;

	for (char *s = strtok_r(copy, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
		int r = parse_pair(&p, s, e);

		if (r)
			return r;
	}
	if (p.unknown && !p.ignore_unknown)
		return cni_fail(e, CNI_ENVIRONMENT,
				"CNI_ARGS: '%.64s' is not known here: IP, MAC and K8S_POD_NAME are, "
				"and IgnoreUnknown=1 lets all else pass",
				p.unknown);
	return 0;
}

static bool is_container(const char *s)
{
	for (const char *c = s; *c; c++) {
		if (!isalnum((unsigned char)*c) && (c == s || !strchr("_.-", *c)))
			return false;
	}
	return *s;
}

/* As the kernel's dev_valid_name() has it. */
static bool is_ifname(const char *s)
{
	for (const char *c = s; *c; c++) {
		if (*c == '/' || *c == ':' || isspace((unsigned char)*c))
			return false;
	}
	return *s && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static int read_name(const char *variable, bool needed, bool (*good)(const char *), char *ret,
		     size_t size, struct cni_error *e)
{
	const char *s = getenv(variable);

	if (!s || !*s)
		return needed ? cni_fail(e, CNI_ENVIRONMENT, "%s is not set", variable) : 0;
	if (!good(s) || str_copy(ret, size, s))
		return cni_fail(e, CNI_ENVIRONMENT, "%s: '%.64s' cannot be one", variable, s);
	return 0;
}

int cni_args_read(unsigned int needs, struct cni_args *ret, struct cni_error *e)
{
	bool container = needs & CNI_NEEDS_CONTAINER;
	const char *args = getenv("CNI_ARGS");
	int r = read_name("CNI_CONTAINERID", container, is_container, ret->container,
			  sizeof(ret->container), e);

	if (!r)
		r = read_name("CNI_IFNAME", container, is_ifname, ret->ifname, sizeof(ret->ifname),
			      e);
	if (r)
		return r;
	ret->path = getenv("CNI_PATH");
	ret->netns = getenv("CNI_NETNS");
	if ((needs & CNI_NEEDS_NETNS) && (!ret->netns || !*ret->netns))
		return cni_fail(e, CNI_ENVIRONMENT, "CNI_NETNS is not set");
	return args && (needs & CNI_NEEDS_NETNS) ? cni_args_parse(args, &ret->wishes, e) : 0;
}
