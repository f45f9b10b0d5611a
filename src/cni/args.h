/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a runtime says in the environment (CNI specification, section 2).
 */
#ifndef BYWAY_CNI_ARGS_H
#define BYWAY_CNI_ARGS_H

#include "base/ip.h"
#include "cni/error.h"
#include "vpc/port.h"

#define CNI_ADDRS_MAX 2 /* one of each family */

/* What may be asked for one attachment, here, in runtimeConfig or in args. */
struct cni_wishes {
	struct ip addrs[CNI_ADDRS_MAX];
	size_t n_addrs;
	struct mac mac; /* all zero: any */
	char aliases[ALIASES_MAX_LEN]; /* names in DNS, blanks between */
};

/* -EINVAL for a second address of a family. where names it in messages. text may have a prefix. */
int cni_wish_addr(struct cni_wishes *w, enum cni_code code, const char *where, const char *text,
		  struct cni_error *e);
int cni_wish_mac(struct cni_wishes *w, enum cni_code code, const char *where, const char *text,
		 struct cni_error *e);
/* What is no name in DNS, or there is no room for, is passed over: a container runs without. */
void cni_wish_alias(struct cni_wishes *w, const char *name);

struct cni_args {
	char container[CONTAINER_MAX_LEN], ifname[IFNAMSIZ];
	const char *netns, *path; /* borrowed from the environment; NULL where not given */
	struct cni_wishes wishes;
};

enum cni_needs {
	CNI_NEEDS_CONTAINER = 1 << 0, /* CNI_CONTAINERID and CNI_IFNAME */
	CNI_NEEDS_NETNS = 1 << 1,
};

/* needs: what has to be there. What is there has to be right. */
int cni_args_read(unsigned int needs, struct cni_args *ret, struct cni_error *e);
/* CNI_ARGS: KEY=VALUE;KEY=VALUE with IP, MAC, K8S_POD_NAME and IgnoreUnknown. */
int cni_args_parse(const char *text, struct cni_wishes *w, struct cni_error *e);

#endif
