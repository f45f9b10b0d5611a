/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Documents people write, in JSON or YAML: read by tables of keys, with errors that say
 * FILE:LINE:COLUMN, what is wrong there, and which key was probably meant.
 *
 * All errors are ERR_USAGE with -EINVAL. Nodes are borrowed from their document.
 */
#ifndef BYWAY_BASE_DOC_H
#define BYWAY_BASE_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct doc;
struct err;
struct fy_node;

enum doc_format {
	DOC_JSON, /* RFC 8259 and nothing else */
	DOC_YAML, /* YAML 1.2; JSON too, comments and trailing commas included */
};

#define DOC_SIZE_MAX (4u << 20)

/* One document of at most DOC_SIZE_MAX bytes, in UTF-8. name is the file's in messages, and copied;
 * text is not, and has to stay where it is as long as the document. */
int doc_parse(const char *name, const char *text, size_t len, enum doc_format format,
	      struct doc **ret, struct err *err);
void doc_free(struct doc *d);
void doc_free_p(struct doc **d);
#define _doc_ _cleanup_(doc_free_p)

/* NULL for an empty one, which the readers below take and complain about. */
struct fy_node *doc_root(const struct doc *d);
/* From 1. */
unsigned int doc_line(struct doc *d, struct fy_node *node);
unsigned int doc_column(struct doc *d, struct fy_node *node);
/* "FILE:LINE:COLUMN: " and the sentence; control characters become '?'. Returns -EINVAL. */
int doc_error(struct doc *d, struct fy_node *node, struct err *err, const char *fmt, ...)
	_printf_(4, 5);
/* The same with err's sentence, which some parser of a single value has left there. */
int doc_error_at(struct doc *d, struct fy_node *node, struct err *err);

/* Reads one value into what its caller is filling. */
typedef int doc_read_fn(struct doc *d, struct fy_node *node, void *into, struct err *err);

enum doc_key_flags {
	DOC_REQUIRED = 1 << 0,
};

struct doc_key {
	const char *name;
	doc_read_fn *read;
	unsigned int flags;  /* DOC_REQUIRED */
	const char *refusal; /* the key is known, and wrong here: what to say */
};

#define DOC_KEYS_MAX 64

/* A mapping with no key but these, none of them twice. what names it in messages ("a rule"). The
 * readers are called in the order of the file. */
int doc_read_map(struct doc *d, struct fy_node *node, const char *what, const struct doc_key keys[],
		 size_t n_keys, void *into, struct err *err);
/* One of a mapping whose keys are names that the writer chose. key is where it stands. */
typedef int doc_entry_fn(struct doc *d, const char *name, struct fy_node *key,
			 struct fy_node *value, void *into, struct err *err);
/* A mapping of at most max names, of which none may be there twice. */
int doc_read_names(struct doc *d, struct fy_node *node, const char *what, size_t max,
		   doc_entry_fn *read, void *into, struct err *err);
/* A list of at most max values, each of which read gets. */
int doc_read_list(struct doc *d, struct fy_node *node, const char *what, size_t max,
		  doc_read_fn *read, void *into, struct err *err);

/* What a mapping has under a key; NULL: nothing, or it is no mapping. */
struct fy_node *doc_member(struct fy_node *map, const char *key);
/* The value as one line of YAML without comments, keys in order; freed by the caller. */
char *doc_print(struct fy_node *node);
/* Whether they say the same, however it is quoted, and keys in whatever order. */
bool doc_same(struct fy_node *a, struct fy_node *b);

bool doc_is_map(const struct doc *d, struct fy_node *node);
bool doc_is_list(const struct doc *d, struct fy_node *node);
/* What a scalar looks like. In YAML an unquoted word is a string too. */
bool doc_is_string(const struct doc *d, struct fy_node *node);
/* Also what is not written at all. */
bool doc_is_null(const struct doc *d, struct fy_node *node);

/* The text of a string or number that fits into buf with its NUL, and contains none. */
int doc_read_text(struct doc *d, struct fy_node *node, const char *what, char *buf, size_t size,
		  struct err *err);
/* A string of at most max bytes, allocated. */
int doc_read_string(struct doc *d, struct fy_node *node, const char *what, size_t max, char **ret,
		    struct err *err);
/* A whole number, in decimal. */
int doc_read_int(struct doc *d, struct fy_node *node, const char *what, int64_t min, int64_t max,
		 int64_t *ret, struct err *err);
int doc_read_bool(struct doc *d, struct fy_node *node, const char *what, bool *ret,
		  struct err *err);
/* One of the words; *ret is its index. */
int doc_read_word(struct doc *d, struct fy_node *node, const char *what, const char *const words[],
		  size_t n_words, size_t *ret, struct err *err);

/* What doc_read_int() and doc_read_word() do with the text that they have read: for a caller who
 * has replaced something in it. */
int doc_parse_int(struct doc *d, struct fy_node *node, const char *what, const char *text,
		  int64_t min, int64_t max, int64_t *ret, struct err *err);
int doc_parse_word(struct doc *d, struct fy_node *node, const char *what, const char *text,
		   const char *const words[], size_t n_words, size_t *ret, struct err *err);

/* Overwrites the text of a value that has been read, and may not be read again: where the caller
 * has it, which must be writable, and where libfyaml has. */
void doc_wipe(struct doc *d, struct fy_node *node);

#endif
