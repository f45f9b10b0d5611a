// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/util.h"
#include "egress/spec.h"
#include "session/file.h"
#include "tunnel/dialer.h"
#include "tunnel/ssh.h"
#include "tunnel/url.h"
#include "vpc/names.h"

#define TEXT_MAX 4096
#define MTU_MIN 1280 /* RFC 8200 5: with less there is no IPv6 */
#define MTU_MAX 65520

static const char *const kind_names[] = {
	[EGRESS_SSH] = "ssh", [EGRESS_CONNECT] = "connect", [EGRESS_OPENCONNECT] = "openconnect"};
static_assert(ARRAY_SIZE(kind_names) == EGRESS_NUM_KINDS, "every kind has a name");

const char *egress_kind_name(enum egress_kind k)
{
	return kind_names[k];
}

/* What is being read. */
struct reading {
	struct egress_spec *s;
	const char *path; /* of the document */
	const char *flag; /* of the list being read */
};

/* ---- Values ---- */

static int read_text(struct doc *d, struct fy_node *node, const char *what, char **ret,
		     struct err *err)
{
	int r = doc_read_string(d, node, what, TEXT_MAX, ret, err);

	if (!r && (!**ret || strpbrk(*ret, "\r\n\t")))
		r = doc_error(d, node, err, "%s is one line that is not empty", what);
	return r;
}

/* Relative ones begin in the document's folder; what ssh(1) replaces by itself stays. */
static char *absolute(const struct reading *rd, const char *file)
{
	if (strchr("/~%", *file) || !strcmp(file, "none"))
		return xstrdup(file);
	return xasprintf("%.*s/%s", (int)(strrchr(rd->path, '/') - rd->path), rd->path, file);
}

static int read_via(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct egress_spec *s = ((struct reading *)into)->s;
	int r = doc_read_text(d, node, "\"via\"", s->via, sizeof(s->via), err);

	if (!r && name_check("egress", s->via, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_mtu(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	int64_t n = 0;
	int r = doc_read_int(d, node, "\"mtu\"", MTU_MIN, MTU_MAX, &n, err);

	((struct reading *)into)->s->mtu_bytes = (uint32_t)n;
	return r;
}

/* The word is the default of the kind, and may be written. */
static int read_dns(struct doc *d, struct fy_node *node, struct egress_spec *s, const char *word,
		    struct err *err)
{
	char text[IP_STRLEN];
	int r = doc_read_text(d, node, "\"dns\"", text, sizeof(text), err);

	if (r || !strcmp(text, word))
		return r;
	if (ip_parse(text, &s->resolver, NULL))
		r = doc_error(d, node, err, "\"dns\" is \"%s\" or a resolver's address, not \"%s\"",
			      word, text);
	return r;
}

/* ---- ssh ---- */

static int read_destination(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct egress_spec *s = ((struct reading *)into)->s;
	int r = read_text(d, node, "a server", &s->destination, err);

	if (!r && (*s->destination == '-' || strpbrk(s->destination, " ")))
		r = doc_error(d, node, err, "a server is [USER@]HOST, not \"%s\"", s->destination);
	return r;
}

static int add_words(struct doc *d, struct fy_node *node, struct egress_spec *s, const char *flag,
		     const char *word, struct err *err)
{
	if (s->n_words + 2 > EGRESS_WORDS_MAX)
		return doc_error(d, node, err, "too many options for ssh");
	s->words[s->n_words++] = xstrdup(flag);
	s->words[s->n_words++] = xstrdup(word);
	return 0;
}

static int read_word(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	_free_ char *text = NULL, *word = NULL;
	int r = read_text(d, node, "an option of ssh", &text, err);

	if (r)
		return r;
	word = strpbrk(rd->flag, "Fi") ? absolute(rd, text) : xstrdup(text);
	return add_words(d, node, rd->s, rd->flag, word, err);
}

static int read_words(struct doc *d, struct fy_node *node, struct reading *rd, const char *flag,
		      struct err *err)
{
	rd->flag = flag;
	if (doc_is_string(d, node))
		return read_word(d, node, rd, err);
	return doc_read_list(d, node, "an option of ssh", EGRESS_WORDS_MAX, read_word, rd, err);
}

static int read_config(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_words(d, node, into, "-F", err);
}

static int read_identity(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_words(d, node, into, "-i", err);
}

static int read_port(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	char text[8];
	int64_t port = 0;
	int r = doc_read_int(d, node, "\"port\"", 1, UINT16_MAX, &port, err);

	snprintf(text, sizeof(text), "%u", (unsigned int)port);
	return r ? r : add_words(d, node, rd->s, "-p", text, err);
}

static int read_jump(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_words(d, node, into, "-J", err);
}

static int read_option(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_words(d, node, into, "-o", err);
}

static int read_connections(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	int64_t n = 0;
	int r = doc_read_int(d, node, "\"connections\"", 1, SSH_CONNECTIONS_MAX, &n, err);

	((struct reading *)into)->s->connections = (unsigned int)n;
	return r;
}

static int read_ssh_dns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_dns(d, node, ((struct reading *)into)->s, "remote", err);
}

static const struct doc_key ssh_keys[] = {
	{"ssh", read_destination, DOC_REQUIRED},
	{"config", read_config},
	{"identity", read_identity},
	{"port", read_port},
	{"jump", read_jump},
	{"option", read_option},
	{"connections", read_connections},
	{"dns", read_ssh_dns},
	{"mtu", read_mtu},
	{"via", read_via},
};

/* ---- connect ---- */

/* Quotes nothing of a URL, as the parser does not: what is wrong may be where a password stands. */
static int check_urls(struct doc *d, struct fy_node *node, const char *urls, struct err *err)
{
	_free_ char *copy = xstrdup(urls);
	struct connect_config k = {0};
	char *rest = NULL;
	int r = 0;

	for (char *u = strtok_r(copy, ", ", &rest); u && !r; u = strtok_r(NULL, ", ", &rest))
		r = proxy_url_add(u, &k, err);
	if (r)
		r = doc_error_at(d, node, err);
	else if (!k.n_upstreams)
		r = doc_error(d, node, err, "which proxy? http://HOST:PORT");
	else if (*k.password)
		r = doc_error(d, node, err,
			      "a password is not written here: password_file names a file that "
			      "has it");
	explicit_bzero(&k, sizeof(k));
	return r;
}

static int read_url(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct egress_spec *s = ((struct reading *)into)->s;
	_free_ char *text = NULL, *before = s->urls;
	int r = read_text(d, node, "a proxy's URL", &text, err);

	s->urls = before ? xasprintf("%s,%s", before, text ? text : "") : TAKE_PTR(text);
	return r;
}

static int read_urls(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct egress_spec *s = ((struct reading *)into)->s;
	int r = doc_is_string(d, node) ? read_url(d, node, into, err)
				       : doc_read_list(d, node, "\"connect\"",
						       CONNECT_UPSTREAMS_MAX, read_url, into, err);

	return r ? r : check_urls(d, node, s->urls ? s->urls : "", err);
}

static int read_username(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_text(d, node, "a user's name", &((struct reading *)into)->s->username, err);
}

static int read_password_file(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	_free_ char *text = NULL;
	int r = read_text(d, node, "a password's file", &text, err);

	if (!r)
		rd->s->password_file = absolute(rd, text);
	return r;
}

static int read_connect_dns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return read_dns(d, node, ((struct reading *)into)->s, "virtual", err);
}

static const struct doc_key connect_keys[] = {
	{"connect", read_urls, DOC_REQUIRED},
	{"username", read_username},
	{"password_file", read_password_file},
	{"dns", read_connect_dns},
	{"mtu", read_mtu},
	{"via", read_via},
};

/* ---- openconnect ---- */

static int read_session(struct doc *d, struct fy_node *node, struct reading *rd, const char *name,
			struct err *err)
{
	const struct session_single c = {.path = rd->path,
					 .name = name,
					 .what = "an egress of openconnect",
					 .server_key = kind_names[EGRESS_OPENCONNECT],
					 .foreign_key = "via"};
	struct fy_node *via = doc_member(node, "via");
	int r = session_file_single(d, node, &c, &rd->s->session, err);

	if (!r && !rd->s->session->sessions[0].server)
		r = doc_error(d, node, err, "an egress of openconnect needs a server");
	if (!r)
		rd->s->mtu_bytes = rd->s->session->sessions[0].mtu_bytes;
	return r || !via ? r : read_via(d, via, rd, err);
}

/* ---- All of it ---- */

static int find_kind(struct doc *d, struct fy_node *node, enum egress_kind *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++) {
		if (!doc_member(node, kind_names[i]))
			continue;
		*ret = (enum egress_kind)i;
		return 0;
	}
	return doc_error(d, node, err,
			 "an egress is a mapping with one of the keys ssh, connect and "
			 "openconnect");
}

int egress_spec_read(struct doc *d, struct fy_node *node, const char *path, const char *name,
		     struct egress_spec *ret, struct err *err)
{
	struct reading rd = {.s = ret, .path = path};
	int r;

	*ret = (struct egress_spec){.connections = 1};
	r = find_kind(d, node, &ret->kind, err);
	if (r)
		return r;
	ret->text = doc_print(node); /* reading wipes what is secret */
	switch (ret->kind) {
	case EGRESS_SSH:
		return doc_read_map(d, node, "an egress of ssh", ssh_keys, ARRAY_SIZE(ssh_keys),
				    &rd, err);
	case EGRESS_CONNECT:
		return doc_read_map(d, node, "an egress of connect", connect_keys,
				    ARRAY_SIZE(connect_keys), &rd, err);
	case EGRESS_OPENCONNECT:
		return read_session(d, node, &rd, name, err);
	case EGRESS_NUM_KINDS:
		break;
	}
	return -EINVAL;
}

bool egress_spec_same(const char *a, const char *b)
{
	_doc_ struct doc *one = NULL, *two = NULL;

	if (!strcmp(a, b))
		return true;
	return !doc_parse("", a, strlen(a), DOC_YAML, &one, NULL) &&
	       !doc_parse("", b, strlen(b), DOC_YAML, &two, NULL) &&
	       doc_same(doc_root(one), doc_root(two));
}

int egress_spec_parse(const char *path, const char *name, const char *text, struct egress_spec *ret,
		      struct err *err)
{
	char *copy = xstrdup(text); /* what is secret is wiped in it */
	_doc_ struct doc *d = NULL;
	int r = doc_parse(path, copy, strlen(text), DOC_YAML, &d, err);

	*ret = (struct egress_spec){0};
	if (!r)
		r = egress_spec_read(d, doc_root(d), path, name, ret, err);
	doc_free(TAKE_PTR(d));
	explicit_bzero(copy, strlen(text));
	free(copy);
	return r;
}

void egress_spec_done(struct egress_spec *s)
{
	for (size_t i = 0; i < s->n_words; i++)
		free(s->words[i]);
	if (s->text)
		explicit_bzero(s->text, strlen(s->text));
	free(s->text);
	free(s->destination);
	free(s->urls);
	free(s->username);
	free(s->password_file);
	session_file_free(s->session);
	*s = (struct egress_spec){0};
}
