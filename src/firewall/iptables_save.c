// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "firewall/compare.h"
#include "firewall/iptables.h"
#include "proc/run.h"

static const char *line_end(const char *at)
{
	return at + strcspn(at, "\n");
}

bool save_next(struct save_line *l)
{
	while (l->next && *l->next) {
		const char *at = l->next, *end = line_end(at);

		l->next = *end ? end + 1 : end;
		if (*at == '*') {
			snprintf(l->table, sizeof(l->table), "%.*s", (int)(end - at - 1), at + 1);
			continue;
		}
		if (*at != ':' && strncmp(at, "-A ", 3) != 0)
			continue;
		l->text = at;
		l->len = (size_t)(end - at);
		l->chain = at + (*at == ':' ? 1 : 3);
		l->chain_len = strcspn(l->chain, " \n");
		return true;
	}
	return false;
}

const char *save_target(const struct save_line *l, size_t *ret_len)
{
	bool quoted = false;

	/* A comment, or what is logged, may say anything: both stand in quotes. */
	for (const char *at = l->text; at + 4 < l->text + l->len; at++) {
		if (quoted && *at == '\\') {
			at++;
		} else if (*at == '"') {
			quoted = !quoted;
		} else if (!quoted && (!memcmp(at, " -j ", 4) || !memcmp(at, " -g ", 4))) {
			*ret_len = strcspn(at + 4, " \n");
			return at + 4;
		}
	}
	return NULL;
}

static bool is_word(const char *word, size_t len, const char *wanted)
{
	return strlen(wanted) == len && !memcmp(word, wanted, len);
}

bool save_has_jump(const char *listing, const char *table, const char *from, const char *to)
{
	struct save_line l = {.next = listing};

	while (save_next(&l)) {
		size_t len;
		const char *target = save_target(&l, &len);

		if (target && !strcmp(l.table, table) && *l.text == '-' &&
		    is_word(l.chain, l.chain_len, from) && is_word(target, len, to))
			return true;
	}
	return false;
}

/* A complaint that names what the kernel lacks. */
static bool is_unsupported(const char *text)
{
	static const char *const phrases[] = {"not supported", "missing kernel module",
					      "Table does not exist", "can't initialize"};

	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (strstr(text, phrases[i]))
			return true;
	return false;
}

static int complain(const char *program, int status, const struct buf *errors, struct err *err)
{
	const char *text = errors->len ? errors->data : "no message";
	int len = (int)strcspn(text, "\n");

	if (strstr(text, "ermission denied") || strstr(text, "not permitted"))
		return err_set(err, ERR_PERMISSION, -EPERM, "%s: %.*s; this needs CAP_NET_ADMIN",
			       program, len, text);
	if (is_unsupported(text))
		return err_set(
			err, ERR_UNSUPPORTED, -EOPNOTSUPP,
			"%s: %.*s (CONFIG_NETFILTER_XTABLES, CONFIG_IP_SET or CONFIG_NFT_COMPAT "
			"and the options of the same name as the extension)",
			program, len, text);
	return err_set(err, ERR_FAILED, -EIO, "%s failed with status %d: %.*s", program, status,
		       len, text);
}

int save_run(const struct netns *ns, const char *program, struct buf *ret, struct err *err)
{
	const char *argv[] = {program, NULL};
	_buf_ struct buf errors = {0};
	int status;
	int r = run(ns, argv, NULL, ret, &errors, &status, err);

	return !r && status ? complain(program, status, &errors, err) : r;
}

int save_probe(const struct netns *ns, const char *program, struct err *err)
{
	const char *argv[] = {program, NULL};
	_buf_ struct buf errors = {0};
	int status;
	int r = run(ns, argv, NULL, NULL, &errors, &status, err);

	if (r || !status)
		return r;
	r = complain(program, status, &errors, err);
	if (err && r == -EIO)
		err->kind = ERR_UNSUPPORTED;
	return r;
}

int restore_run(const struct netns *ns, const char *const argv[], const struct buf *text,
		struct err *err)
{
	_buf_ struct buf errors = {0};
	int status;
	int r = run(ns, argv, text, NULL, &errors, &status, err);

	return !r && status ? complain(argv[0], status, &errors, err) : r;
}

/* Without the generation of the ipsets in it: "--match-set byway-reach4.7 src" */
static void copy_without_generation(const char *at, size_t len, struct buf *to)
{
	static const char option[] = "--match-set byway-";
	const char *end = at + len, *set = memmem(at, len, option, sizeof(option) - 1);

	while (set) {
		const char *space =
			memchr(set + sizeof(option), ' ', (size_t)(end - set) - sizeof(option));
		const char *dot = space ? memrchr(set, '.', (size_t)(space - set)) : NULL;

		if (!dot)
			break;
		buf_add(to, at, (size_t)(dot - at));
		at = space;
		set = memmem(at, (size_t)(end - at), option, sizeof(option) - 1);
	}
	buf_add(to, at, (size_t)(end - at));
}

struct grouped {
	struct lines *lines;
	bool (*sort_rules)(const char *chain, size_t len);
};

/* Length of "TABLE :CHAIN" or "TABLE -A CHAIN", and where the chain starts. */
static const char *chain_of(const char *line, size_t *ret_len)
{
	const char *chain = line + strcspn(line, " ") + 1;

	chain += *chain == ':' ? 1 : 3;
	*ret_len = strcspn(chain, " ");
	return chain;
}

/* Declarations come before rules; chains in alphabetical order; rules in theirs. */
static int group_cmp(const struct grouped *g, const char *a, const char *b)
{
	size_t la, lb;
	const char *ca = chain_of(a, &la), *cb = chain_of(b, &lb);
	int order = strncmp(a, b, strcspn(a, " ") + 1);

	if (order)
		return order;
	order = strncmp(ca, cb, MAX(la, lb));
	if (order)
		return order;
	if (ca[-1] != cb[-1])
		return ca[-1] == ':' ? -1 : 1;
	return g->sort_rules && g->sort_rules(ca, la) ? strcmp(a, b) : 0;
}

/* Stable, and linear for what is in groups already. */
static void group(const struct grouped *g)
{
	char **v = g->lines->v;

	for (size_t i = 1; i < g->lines->n; i++) {
		char *line = v[i];
		size_t at = i;

		for (; at > 0 && group_cmp(g, v[at - 1], line) > 0; at--)
			v[at] = v[at - 1];
		v[at] = line;
	}
}

static void add_line(const struct save_line *l, struct lines *to)
{
	_buf_ struct buf text = {0};
	size_t len = l->len;
	const char *counters = *l->text == ':' ? memchr(l->text, '[', len) : NULL;

	if (counters)
		len = (size_t)(counters - l->text) - 1;
	buf_addf(&text, "%s ", l->table);
	copy_without_generation(l->text, len, &text);
	lines_add(to, text.data, text.len);
}

void save_lines_of(const struct fw_table *t, const char *listing,
		   bool (*sort_rules)(const char *chain, size_t len), struct lines *ret)
{
	struct save_line l = {.next = listing};
	struct grouped g = {.lines = ret, .sort_rules = sort_rules};

	while (save_next(&l)) {
		size_t len = 0;
		const char *target = save_target(&l, &len);

		if (ipt_chain_of(t, l.chain, l.chain_len) ||
		    (target && ipt_chain_of(t, target, len)))
			add_line(&l, ret);
	}
	group(&g);
}
