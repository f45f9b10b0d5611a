// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sets and their elements as nftables messages.
 *
 * A range of a single field is two elements: one that opens it, and one flagged
 * NFT_SET_ELEM_INTERVAL_END at the first value beyond, which the highest value of all has not. A
 * range of concatenated fields is one element with a key and an end key, each field inclusive.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <string.h>

#include "firewall/field.h"
#include "firewall/native.h"
#include "kernel/nft.h"

#define TYPE_BITS 6 /* of one field in the number of a concatenated type, in nft(8) */
/* The length of an attribute has 16 bits; the list of elements is one. */
#define LIST_MAX (UINT16_MAX - 512)
#define ELEM_MAX 320 /* of what put_elem() writes: three keys, a verdict and their headers */
#define NAMES_MAX 512 /* of what comes before the elements */

static size_t padded(enum fw_field f)
{
	return (fw_field_len(f) + 3) & ~(size_t)3;
}

static size_t key_len(const struct fw_set *s)
{
	size_t len = 0;

	if (s->n_fields == 1)
		return fw_field_len(s->fields[0]);
	for (size_t i = 0; i < s->n_fields; i++)
		len += padded(s->fields[i]);
	return len;
}

static uint32_t key_type(const struct fw_set *s)
{
	uint32_t type = 0;

	for (size_t i = 0; i < s->n_fields; i++)
		type = type << TYPE_BITS | fw_field_info(s->fields[i])->type_id;
	return type;
}

static void set_concat(struct nftnl_set *nls, const struct fw_set *s)
{
	uint8_t lens[FW_KEY_FIELDS];

	for (size_t i = 0; i < s->n_fields; i++)
		lens[i] = (uint8_t)fw_field_len(s->fields[i]);
	nftnl_set_set_data(nls, NFTNL_SET_DESC_CONCAT, lens, (uint32_t)s->n_fields);
}

/* Names are strings to nft(8), which keeps them in host order: without being told so, it lists a
 * set of them as empty strings, and what it lists could not be loaded again. */
static void set_byteorder(struct nftnl_set *nls, const struct fw_set *s)
{
	static const uint32_t host_order = 1; /* enum byteorder of nftables' include/datatype.h */
	uint8_t tlv[2 + sizeof(host_order)] = {NFTNL_UDATA_SET_KEYBYTEORDER, sizeof(host_order)};

	if (s->n_fields != 1 || fw_field_len(s->fields[0]) != IFNAMSIZ)
		return;
	memcpy(tlv + 2, &host_order, sizeof(host_order));
	nftnl_set_set_data(nls, NFTNL_SET_USERDATA, tlv, sizeof(tlv));
}

static size_t print_target(const struct fw_target *to, uint8_t ret[NATIVE_TARGET_MAX])
{
	size_t len = ip_len(to->addr.family);
	uint16_t be = htons(to->port);

	memset(ret, 0, NATIVE_TARGET_MAX);
	memcpy(ret, to->addr.bytes, len);
	memcpy(ret + len, &be, sizeof(be));
	return len + 4;
}

static void set_target_type(struct nftnl_set *nls, int family)
{
	enum fw_field addr = family == AF_INET6 ? FW_IP6_DADDR : FW_IP4_DADDR;
	uint32_t type = (uint32_t)fw_field_info(addr)->type_id << TYPE_BITS |
			fw_field_info(FW_DPORT)->type_id;

	nftnl_set_set_u32(nls, NFTNL_SET_DATA_TYPE, type);
	nftnl_set_set_u32(nls, NFTNL_SET_DATA_LEN, (uint32_t)(padded(addr) + padded(FW_DPORT)));
}

void native_set_add(struct nft_batch *b, const struct fw_table *t, const struct fw_set *s,
		    uint32_t id)
{
	struct nlmsghdr *nlh =
		nft_batch_add(b, NFT_MSG_NEWSET, native_family(t->family), NLM_F_CREATE);
	struct nftnl_set *nls = nftnl_set_alloc();
	uint32_t flags = (s->interval ? NFT_SET_INTERVAL : 0u) |
			 (s->is_vmap || s->dnat_family ? NFT_SET_MAP : 0u) |
			 (s->n_fields > 1 ? NFT_SET_CONCAT : 0u);

	assert(nls);
	nftnl_set_set_str(nls, NFTNL_SET_TABLE, t->name);
	nftnl_set_set_str(nls, NFTNL_SET_NAME, s->name);
	nftnl_set_set_u32(nls, NFTNL_SET_ID, id);
	nftnl_set_set_u32(nls, NFTNL_SET_FLAGS, flags);
	nftnl_set_set_u32(nls, NFTNL_SET_KEY_TYPE, key_type(s));
	nftnl_set_set_u32(nls, NFTNL_SET_KEY_LEN, (uint32_t)key_len(s));
	if (s->n_fields > 1)
		set_concat(nls, s);
	set_byteorder(nls, s);
	if (s->is_vmap)
		nftnl_set_set_u32(nls, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
	else if (s->dnat_family)
		set_target_type(nls, s->dnat_family);
	nftnl_set_nlmsg_build_payload(nlh, nls);
	nft_batch_end(b, nlh);
	nftnl_set_free(nls);
}

static void put_key(struct nlmsghdr *nlh, uint16_t attr, const struct fw_set *s,
		    const struct fw_value values[])
{
	uint8_t key[NATIVE_KEY_MAX] = {0};
	struct nlattr *nest = mnl_attr_nest_start(nlh, attr);
	size_t at = 0;

	for (size_t i = 0; i < s->n_fields; i++) {
		memcpy(key + at, values[i].bytes, fw_field_len(s->fields[i]));
		at += padded(s->fields[i]);
	}
	mnl_attr_put(nlh, NFTA_DATA_VALUE, key_len(s), key);
	mnl_attr_nest_end(nlh, nest);
}

/* The kernel's word for the verdict of an element. */
static int verdict_code(enum fw_verdict verdict)
{
	return verdict == FW_ACCEPT ? NF_ACCEPT : verdict == FW_DROP ? NF_DROP : NFT_RETURN;
}

static void put_verdict(struct nlmsghdr *nlh, enum fw_verdict verdict)
{
	struct nlattr *data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
	struct nlattr *nest = mnl_attr_nest_start(nlh, NFTA_DATA_VERDICT);

	mnl_attr_put_u32(nlh, NFTA_VERDICT_CODE, htonl((uint32_t)verdict_code(verdict)));
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_nest_end(nlh, data);
}

static void put_target(struct nlmsghdr *nlh, const struct fw_target *to)
{
	uint8_t bytes[NATIVE_TARGET_MAX];
	struct nlattr *data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, print_target(to, bytes), bytes);
	mnl_attr_nest_end(nlh, data);
}

/* The value after v; false when there is none. */
static bool successor(struct fw_value *v, size_t len)
{
	while (len-- > 0)
		if (++v->bytes[len])
			return true;
	return false;
}

static void put_interval_end(struct nlmsghdr *nlh, const struct fw_set *s, const struct fw_elem *e)
{
	struct fw_value after = e->hi[0];
	struct nlattr *elem;

	if (!successor(&after, fw_field_len(s->fields[0])))
		return;
	elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	mnl_attr_put_u32(nlh, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	put_key(nlh, NFTA_SET_ELEM_KEY, s, &after);
	mnl_attr_nest_end(nlh, elem);
}

/* libnftnl's nftnl_set_elem would cost an allocation of 1 KiB for each element. */
static void put_elem(struct nlmsghdr *nlh, const struct fw_set *s, const struct fw_elem *e)
{
	struct nlattr *elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);

	put_key(nlh, NFTA_SET_ELEM_KEY, s, e->lo);
	if (s->interval && s->n_fields > 1)
		put_key(nlh, NFTA_SET_ELEM_KEY_END, s, e->hi);
	if (s->is_vmap)
		put_verdict(nlh, e->verdict);
	else if (s->dnat_family)
		put_target(nlh, &e->to);
	mnl_attr_nest_end(nlh, elem);
	if (s->interval && s->n_fields == 1)
		put_interval_end(nlh, s, e);
}

void native_elems(struct nft_batch *b, int type, const struct fw_table *t, const struct fw_set *s)
{
	for (size_t i = 0; i < s->n_elems;) {
		size_t room = NAMES_MAX + MIN((s->n_elems - i) * ELEM_MAX, (size_t)UINT16_MAX);
		struct nlmsghdr *nlh = nft_batch_add_room(b, type, native_family(t->family),
							  NLM_F_CREATE, room);
		struct nlattr *list;

		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, t->name);
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, s->name);
		list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
		while (i < s->n_elems && nlh->nlmsg_len < LIST_MAX)
			put_elem(nlh, s, &s->elems[i++]);
		mnl_attr_nest_end(nlh, list);
		nft_batch_end(b, nlh);
	}
}
