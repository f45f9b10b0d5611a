// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "firewall/iptables.h"

#define CHAIN_PREFIX "BYWAY-"
#define IPSET_PREFIX "byway-"
#define MAIN_TABLE "byway"
#define TAG_MAX 8
#define HASH_LEN 7 /* '~' and 6 hexadecimal digits */
#define GENERATIONS 1000000u
#define GENERATION_LEN 7 /* '.' and 6 digits */

void ipt_fit(char *dst, size_t max, const char *src)
{
	if (strlen(src) <= max)
		memcpy(dst, src, strlen(src) + 1);
	else if (max < HASH_LEN)
		snprintf(dst, max + 1, "%06llx", hash_str(src) & 0xffffff);
	else
		snprintf(dst, max + 1, "%.*s~%06llx", (int)(max - HASH_LEN), src,
			 hash_str(src) & 0xffffff);
}

/* "" for the main table, "TABLE:" for others: at most TAG_MAX + 1 characters. */
static void table_tag(const struct fw_table *t, char *tag)
{
	tag[0] = '\0';
	if (!strcmp(t->name, MAIN_TABLE))
		return;
	ipt_fit(tag, TAG_MAX, t->name);
	strcat(tag, ":");
}

static bool has_tag(const struct fw_table *t, const char *rest, size_t len)
{
	char tag[TAG_MAX + 2];

	table_tag(t, tag);
	if (!*tag)
		return !memchr(rest, ':', len);
	return len > strlen(tag) && !memcmp(rest, tag, strlen(tag));
}

void ipt_chain_name(const struct fw_table *t, const char *chain, char name[IPT_NAME_MAX])
{
	size_t len = strlen(strcpy(name, CHAIN_PREFIX));

	table_tag(t, name + len);
	len = strlen(name);
	ipt_fit(name + len, IPT_NAME_MAX - 1 - len, chain);
}

void ipt_map_name(const struct fw_table *t, const struct fw_set *map, char name[IPT_NAME_MAX])
{
	char chain[FW_NAME_MAX + 4];

	snprintf(chain, sizeof(chain), "to.%s", map->name);
	ipt_chain_name(t, chain, name);
}

bool ipt_is_map(const char *chain, size_t len)
{
	return memmem(chain, len, "to.", 3);
}

bool ipt_chain_of(const struct fw_table *t, const char *name, size_t len)
{
	size_t skip = strlen(CHAIN_PREFIX);

	return len > skip && !memcmp(name, CHAIN_PREFIX, skip) &&
	       has_tag(t, name + skip, len - skip);
}

void ipset_name(const struct fw_table *t, const char *part, unsigned int generation,
		char name[IPSET_NAME_MAX])
{
	size_t len = strlen(strcpy(name, IPSET_PREFIX));

	table_tag(t, name + len);
	len = strlen(name);
	ipt_fit(name + len, IPSET_NAME_MAX - 1 - GENERATION_LEN - len, part);
	len = strlen(name);
	snprintf(name + len, IPSET_NAME_MAX - len, ".%u", generation % GENERATIONS);
}

bool ipset_name_of(const struct fw_table *t, const char *name, size_t len,
		   unsigned int *ret_generation)
{
	size_t skip = strlen(IPSET_PREFIX);
	const char *dot = memrchr(name, '.', len);
	unsigned int generation;

	if (len <= skip || memcmp(name, IPSET_PREFIX, skip) || !dot ||
	    !has_tag(t, name + skip, len - skip) || sscanf(dot, ".%u", &generation) != 1)
		return false;
	*ret_generation = generation;
	return true;
}
