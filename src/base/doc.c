// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * libfyaml parses; what we add is that a document is read by tables, and that every complaint has a
 * place. libfyaml has no call that tells where a node stands. It has one that reports about a node,
 * and collects such reports with line and column: place_of() files an empty report and reads it.
 *
 * Limits: DOC_SIZE_MAX bytes; a nesting of 64, libfyaml's own. YAML's anchors are parsed, its
 * aliases are not followed.
 */
#include <assert.h>
#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/utf8.h"
#include "base/util.h"

struct doc {
	char *name;
	enum doc_format format;
	struct fy_diag *diag;
	struct fy_parser *parser;
	struct fy_document *document;
	void *last_report;
	struct fy_node
		*before; /* stands before the value being read: the place of one that is empty */
};

struct place {
	int line, column;
};

/* Of foreign text, as much as a sentence can bear. */
#define EXCERPT 64

static int set_error(const struct doc *d, struct place at, struct err *err, const char *text)
{
	if (!err)
		return -EINVAL;
	err_set(err, ERR_USAGE, -EINVAL, "%s:%d:%d: %s", d->name, at.line, at.column, text);
	for (char *c = err->msg; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return -EINVAL;
}

/* For libfyaml, a quoted string or an alias begins behind its first character. */
static bool begins_early(struct fy_node *node)
{
	enum fy_node_style style = fy_node_get_style(node);

	return style == FYNS_SINGLE_QUOTED || style == FYNS_DOUBLE_QUOTED || style == FYNS_ALIAS;
}

/* False for a value that is not written at all. */
static bool find_place(struct doc *d, struct fy_node *node, struct place *ret)
{
	const struct fy_diag_error *e;
	void *iter = d->last_report;

	if (!node)
		return false;
	fy_node_report(node, FYET_ERROR, "%s", "");
	e = fy_diag_errors_iterate(d->diag, &iter);
	if (!e)
		return false;
	d->last_report = iter;
	*ret = (struct place){MAX(1, e->line), MAX(1, e->column - begins_early(node))};
	return true;
}

/* An empty value has no place of its own: it is where its key is, or the item before it. */
static struct place place_of(struct doc *d, struct fy_node *node)
{
	struct place at = {1, 1};

	if (!find_place(d, node, &at))
		find_place(d, d->before, &at);
	return at;
}

/* "? " at a line's beginning, or behind what may stand there. */
static bool begins_complex_key(const char *s, const char *end)
{
	while (s < end && (*s == ' ' || *s == '\t' || *s == '-'))
		s++;
	return s < end && *s == '?' && (s + 1 == end || strchr(" \t\r\n", s[1]));
}

/* What libfyaml 0.7 does not survive: it never comes back from a directive that is not UTF-8, and
 * frees a complex key twice after some errors (https://github.com/pantoniou/libfyaml/issues/57). No
 * document of ours has complex keys, and YAML no NUL. */
static int check_text(const struct doc *d, const char *text, size_t len, struct err *err)
{
	const char *s = text, *end = s + len;
	struct place at = {1, 1};

	for (size_t n; s < end; s += n) {
		n = utf8_len(s, (size_t)(end - s));
		if (!n || !*s)
			return set_error(d, at, err,
					 n ? "there is a NUL character" : "the text is not UTF-8");
		if (at.column == 1 && d->format == DOC_YAML && begins_complex_key(s, end))
			return set_error(d, at, err, "\"?\" begins a key that is no plain text");
		at = *s == '\n' ? (struct place){at.line + 1, 1}
				: (struct place){at.line, at.column + 1};
	}
	return 0;
}

/* The first error that libfyaml has collected, in its words unless better ones are given. */
static int parse_error(const struct doc *d, const char *words, struct err *err)
{
	const struct fy_diag_error *e;
	void *iter = NULL;

	while ((e = fy_diag_errors_iterate(d->diag, &iter)))
		if (e->type == FYET_ERROR)
			return set_error(d, (struct place){MAX(1, e->line), MAX(1, e->column)}, err,
					 words ? words : e->msg);
	return set_error(d, (struct place){1, 1}, err, words ? words : "cannot be parsed");
}

static int refuse_second(struct doc *d, struct err *err)
{
	static const char words[] = "there is more after the end of the document";
	struct fy_document *second = fy_parse_load_document(d->parser);
	int r = 0;

	if (fy_diag_got_error(d->diag))
		r = parse_error(d, words, err);
	else if (second)
		r = set_error(d, place_of(d, fy_document_root(second)), err, words);
	fy_parse_document_destroy(d->parser, second);
	return r;
}

static int load(struct doc *d, const char *text, size_t len, struct err *err)
{
	int r = check_text(d, text, len, err);

	if (r)
		return r;
	if (fy_parser_set_string(d->parser, text, len))
		return parse_error(d, NULL, err);
	d->document = fy_parse_load_document(d->parser);
	if (fy_diag_got_error(d->diag))
		return parse_error(d, NULL, err);
	return d->document ? refuse_second(d, err) : 0;
}

/* Warnings were collected too: place_of() is to start behind them. */
static void skip_reports(struct doc *d)
{
	void *iter = NULL;

	while (fy_diag_errors_iterate(d->diag, &iter))
		d->last_report = iter;
}

int doc_parse(const char *name, const char *text, size_t len, enum doc_format format,
	      struct doc **ret, struct err *err)
{
	_doc_ struct doc *d = xcalloc(1, sizeof(*d));
	struct fy_parse_cfg cfg = {
		/* Looking for duplicates costs libfyaml a walk for each key; doc_read_map() finds
		 * them for nothing. */
		.flags = (format == DOC_JSON ? FYPCF_JSON_FORCE : FYPCF_JSON_NONE) |
			 FYPCF_ALLOW_DUPLICATE_KEYS,
	};
	struct fy_diag_cfg diag;
	int r;

	d->name = xstrdup(name);
	d->format = format;
	if (len > DOC_SIZE_MAX)
		return err_set(err, ERR_USAGE, -EINVAL, "%s: larger than %u MiB", name,
			       DOC_SIZE_MAX >> 20);
	fy_diag_cfg_default(&diag);
	diag.fp = NULL;
	d->diag = cfg.diag = fy_diag_create(&diag);
	if (d->diag)
		fy_diag_set_collect_errors(d->diag, true);
	d->parser = d->diag ? fy_parser_create(&cfg) : NULL;
	if (!d->parser)
		return err_set(err, ERR_FAILED, -ENOMEM, "out of memory");
	r = load(d, text, len, err);
	if (r < 0)
		return r;
	skip_reports(d);
	*ret = TAKE_PTR(d);
	return 0;
}

void doc_free(struct doc *d)
{
	if (!d)
		return;
	if (d->document)
		fy_parse_document_destroy(d->parser, d->document);
	if (d->parser)
		fy_parser_destroy(d->parser);
	if (d->diag)
		fy_diag_destroy(d->diag);
	free(d->name);
	free(d);
}

void doc_free_p(struct doc **d)
{
	doc_free(*d);
}

struct fy_node *doc_root(const struct doc *d)
{
	return d->document ? fy_document_root(d->document) : NULL;
}

unsigned int doc_line(struct doc *d, struct fy_node *node)
{
	return (unsigned int)place_of(d, node).line;
}

unsigned int doc_column(struct doc *d, struct fy_node *node)
{
	return (unsigned int)place_of(d, node).column;
}

int doc_error(struct doc *d, struct fy_node *node, struct err *err, const char *fmt, ...)
{
	struct err sentence;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence.msg, sizeof(sentence.msg), fmt, ap);
	va_end(ap);
	if (node && fy_node_is_alias(node))
		err_append(&sentence, ", and YAML's aliases are not followed");
	return set_error(d, place_of(d, node), err, sentence.msg);
}

int doc_error_at(struct doc *d, struct fy_node *node, struct err *err)
{
	struct err sentence = {0};

	if (err)
		sentence = *err;
	return set_error(d, place_of(d, node), err, sentence.msg);
}

static int unknown_key(struct doc *d, struct fy_node *node, const char *what, const char *name,
		       const struct doc_key keys[], size_t n_keys, struct err *err)
{
	const char *names[DOC_KEYS_MAX];
	_buf_ struct buf list = {0};
	const char *nearest;
	size_t n = 0;

	if (!strcmp(name, "<<"))
		return doc_error(d, node, err, "YAML's merge keys are not followed");
	for (size_t i = 0; i < n_keys; i++) {
		if (keys[i].refusal)
			continue;
		names[n++] = keys[i].name;
		buf_addf(&list, "%s%s", list.len ? ", " : "", keys[i].name);
	}
	nearest = str_nearest(name, names, n);
	if (nearest)
		return doc_error(d, node, err, "%s has no key \"%.*s\": did you mean \"%s\"?", what,
				 EXCERPT, name, nearest);
	return doc_error(d, node, err, "%s has no key \"%.*s\": its keys are %s", what, EXCERPT,
			 name, list.data ? list.data : "none");
}

static int read_pair(struct doc *d, struct fy_node_pair *pair, const char *what,
		     const struct doc_key keys[], size_t n_keys, bool seen[], void *into,
		     struct err *err)
{
	struct fy_node *key = fy_node_pair_key(pair);
	char name[EXCERPT + 1];
	int r;

	r = doc_read_text(d, key, "a key", name, sizeof(name), err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_keys; i++) {
		if (strcmp(keys[i].name, name))
			continue;
		if (keys[i].refusal)
			return doc_error(d, key, err, "%s", keys[i].refusal);
		if (seen[i])
			return doc_error(d, key, err, "\"%s\" is given twice", name);
		seen[i] = true;
		d->before = key;
		return keys[i].read(d, fy_node_pair_value(pair), into, err);
	}
	return unknown_key(d, key, what, name, keys, n_keys, err);
}

int doc_read_map(struct doc *d, struct fy_node *node, const char *what, const struct doc_key keys[],
		 size_t n_keys, void *into, struct err *err)
{
	bool seen[DOC_KEYS_MAX] = {0};
	struct fy_node_pair *pair;
	void *iter = NULL;
	int r;

	assert(n_keys <= DOC_KEYS_MAX);
	if (!node || !fy_node_is_mapping(node))
		return doc_error(d, node, err, "%s is a mapping of keys to values", what);
	while ((pair = fy_node_mapping_iterate(node, &iter))) {
		r = read_pair(d, pair, what, keys, n_keys, seen, into, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n_keys; i++)
		if ((keys[i].flags & DOC_REQUIRED) && !seen[i])
			return doc_error(d, node, err, "%s needs the key \"%s\"", what,
					 keys[i].name);
	return 0;
}

struct name_entry {
	char text[EXCERPT + 1];
	struct fy_node *key, *value;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct name_entry *)a)->text, ((const struct name_entry *)b)->text);
}

/* Of two that are the same, the later one is told. */
static int check_names(struct doc *d, const struct name_entry *entries, size_t n, struct err *err)
{
	_free_ struct name_entry *sorted = xcalloc(n + 1, sizeof(*sorted));

	memcpy(sorted, entries, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t i = 1; i < n; i++) {
		struct place a, b;

		if (strcmp(sorted[i].text, sorted[i - 1].text) != 0)
			continue;
		a = place_of(d, sorted[i - 1].key);
		b = place_of(d, sorted[i].key);
		return set_error(
			d, a.line > b.line || (a.line == b.line && a.column > b.column) ? a : b,
			err, "the name is given twice");
	}
	return 0;
}

static int read_entries(struct doc *d, struct fy_node *node, const char *what, size_t max,
			struct name_entry **ret, size_t *n, struct err *err)
{
	int count = fy_node_mapping_item_count(node);
	struct fy_node_pair *pair;
	void *iter = NULL;

	if (count < 0 || (size_t)count > max)
		return doc_error(d, node, err, "%s has more than %zu entries", what, max);
	*ret = xcalloc((size_t)count + 1, sizeof(**ret));
	for (*n = 0; (pair = fy_node_mapping_iterate(node, &iter)); ++*n) {
		struct name_entry *e = &(*ret)[*n];
		int r;

		e->key = fy_node_pair_key(pair);
		e->value = fy_node_pair_value(pair);
		r = doc_read_text(d, e->key, "a name", e->text, sizeof(e->text), err);
		if (r < 0)
			return r;
	}
	return check_names(d, *ret, *n, err);
}

int doc_read_names(struct doc *d, struct fy_node *node, const char *what, size_t max,
		   doc_entry_fn *read, void *into, struct err *err)
{
	_free_ struct name_entry *entries = NULL;
	size_t n = 0;
	int r;

	if (!doc_is_map(d, node))
		return doc_error(d, node, err, "%s is a mapping of names to what they are", what);
	r = read_entries(d, node, what, max, &entries, &n, err);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		d->before = entries[i].key;
		r = read(d, entries[i].text, entries[i].key, entries[i].value, into, err);
	}
	return r;
}

int doc_read_list(struct doc *d, struct fy_node *node, const char *what, size_t max,
		  doc_read_fn *read, void *into, struct err *err)
{
	struct fy_node *item, *last = node;
	void *iter = NULL;
	size_t n = 0;
	int r;

	if (!node || !fy_node_is_sequence(node))
		return doc_error(d, node, err, "%s is a list", what);
	while ((item = fy_node_sequence_iterate(node, &iter))) {
		if (++n > max)
			return doc_error(d, item, err, "%s has more than %zu entries", what, max);
		d->before = last;
		r = read(d, item, into, err);
		if (r < 0)
			return r;
		last = item;
	}
	return 0;
}

struct fy_node *doc_member(struct fy_node *map, const char *key)
{
	return map && fy_node_is_mapping(map)
		       ? fy_node_mapping_lookup_value_by_simple_key(map, key, FY_NT)
		       : NULL;
}

char *doc_print(struct fy_node *node)
{
	char *text = fy_emit_node_to_string(node, FYECF_MODE_FLOW_ONELINE | FYECF_SORT_KEYS |
							  FYECF_WIDTH_INF);
	size_t len = text ? strlen(text) : 0;

	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	return text ? text : xstrdup("");
}

bool doc_same(struct fy_node *a, struct fy_node *b)
{
	return fy_node_compare(a, b);
}

bool doc_is_map(const struct doc *d, struct fy_node *node)
{
	(void)d;
	return node && fy_node_is_mapping(node);
}

bool doc_is_list(const struct doc *d, struct fy_node *node)
{
	(void)d;
	return node && fy_node_is_sequence(node);
}

static bool is_plain(struct fy_node *node)
{
	return fy_node_get_style(node) == FYNS_PLAIN;
}

static bool is_number(struct fy_node *node)
{
	const char *text;
	size_t len;

	if (!node || !fy_node_is_scalar(node) || !is_plain(node))
		return false;
	text = fy_node_get_scalar(node, &len);
	if (text && len > 1 && *text == '-') {
		text++;
		len--;
	}
	return text && len > 0 && *text >= '0' && *text <= '9';
}

static bool is_word(struct fy_node *node, const char *word)
{
	size_t len;
	const char *text = fy_node_get_scalar(node, &len);

	return text && len == strlen(word) && !memcmp(text, word, len);
}

/* YAML 1.2.2, 10.3.2: what is no string though it is written without quotes. Of JSON, libfyaml lets
 * none pass but the first of each. */
static const char *const null_words[] = {"null", "Null", "NULL", "~", ""};
static const char *const true_words[] = {"true", "True", "TRUE"};
static const char *const false_words[] = {"false", "False", "FALSE"};

static bool is_one_of(struct fy_node *node, const char *const words[], size_t n)
{
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found |= is_word(node, words[i]);
	return found;
}

#define IS_ONE_OF(node, words) is_one_of((node), (words), ARRAY_SIZE(words))

bool doc_is_string(const struct doc *d, struct fy_node *node)
{
	if (!node || !fy_node_is_scalar(node) || fy_node_is_alias(node))
		return false;
	if (!is_plain(node))
		return true;
	return d->format == DOC_YAML && !is_number(node) && !IS_ONE_OF(node, null_words) &&
	       !IS_ONE_OF(node, true_words) && !IS_ONE_OF(node, false_words);
}

bool doc_is_null(const struct doc *d, struct fy_node *node)
{
	(void)d;
	return !node || (fy_node_is_scalar(node) && !fy_node_is_alias(node) && is_plain(node) &&
			 IS_ONE_OF(node, null_words));
}

/* Borrowed, not terminated. */
static int scalar(struct doc *d, struct fy_node *node, const char *what, size_t max,
		  const char **ret, size_t *ret_len, struct err *err)
{
	const char *text;
	size_t len;

	if (!doc_is_string(d, node) && !is_number(node))
		return doc_error(d, node, err, "%s is a string or a number", what);
	text = fy_node_get_scalar(node, &len);
	if (!text)
		return doc_error(d, node, err, "%s cannot be read", what);
	if (len > max)
		return doc_error(d, node, err, "%s is longer than %zu bytes", what, max);
	if (memchr(text, '\0', len))
		return doc_error(d, node, err, "%s contains a NUL character", what);
	*ret = text;
	*ret_len = len;
	return 0;
}

int doc_read_text(struct doc *d, struct fy_node *node, const char *what, char *buf, size_t size,
		  struct err *err)
{
	const char *text = NULL;
	size_t len = 0;
	int r = scalar(d, node, what, size - 1, &text, &len, err);

	if (r < 0)
		return r;
	memcpy(buf, text, len);
	buf[len] = '\0';
	return 0;
}

int doc_read_string(struct doc *d, struct fy_node *node, const char *what, size_t max, char **ret,
		    struct err *err)
{
	const char *text = NULL;
	size_t len = 0;
	int r;

	if (!doc_is_string(d, node))
		return doc_error(d, node, err, "%s is a string", what);
	r = scalar(d, node, what, max, &text, &len, err);
	if (r < 0)
		return r;
	*ret = memcpy(xcalloc(len + 1, 1), text, len);
	return 0;
}

int doc_parse_int(struct doc *d, struct fy_node *node, const char *what, const char *text,
		  int64_t min, int64_t max, int64_t *ret, struct err *err)
{
	long long n;
	char *end;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || *end || errno || n < min || n > max)
		return doc_error(d, node, err, "%s is a number from %lld to %lld, not %s", what,
				 (long long)min, (long long)max, text);
	*ret = n;
	return 0;
}

int doc_read_int(struct doc *d, struct fy_node *node, const char *what, int64_t min, int64_t max,
		 int64_t *ret, struct err *err)
{
	char text[24] = "";

	if (!is_number(node) || doc_read_text(d, node, what, text, sizeof(text), NULL) < 0)
		return doc_error(d, node, err, "%s is a number from %lld to %lld", what,
				 (long long)min, (long long)max);
	return doc_parse_int(d, node, what, text, min, max, ret, err);
}

int doc_read_bool(struct doc *d, struct fy_node *node, const char *what, bool *ret, struct err *err)
{
	bool plain = node && fy_node_is_scalar(node) && is_plain(node);
	bool yes = plain && IS_ONE_OF(node, true_words);

	if (!yes && (!plain || !IS_ONE_OF(node, false_words)))
		return doc_error(d, node, err, "%s is true or false", what);
	*ret = yes;
	return 0;
}

int doc_parse_word(struct doc *d, struct fy_node *node, const char *what, const char *text,
		   const char *const words[], size_t n_words, size_t *ret, struct err *err)
{
	_buf_ struct buf list = {0};

	for (size_t i = 0; i < n_words; i++) {
		if (!strcmp(words[i], text)) {
			*ret = i;
			return 0;
		}
		buf_addf(&list, "%s%s", i == 0 ? "" : i + 1 == n_words ? " or " : ", ", words[i]);
	}
	return doc_error(d, node, err, "%s is %s, not \"%s\"", what,
			 list.data ? list.data : "empty", text);
}

int doc_read_word(struct doc *d, struct fy_node *node, const char *what, const char *const words[],
		  size_t n_words, size_t *ret, struct err *err)
{
	char text[EXCERPT + 1];
	int r = doc_read_text(d, node, what, text, sizeof(text), err);

	return r ? r : doc_parse_word(d, node, what, text, words, n_words, ret, err);
}

void doc_wipe(struct doc *d, struct fy_node *node)
{
	size_t len = 0;
	const char *text = node && fy_node_is_scalar(node) ? fy_node_get_scalar(node, &len) : NULL;

	(void)d;
	if (text)
		explicit_bzero((void *)(uintptr_t)text, len);
}
