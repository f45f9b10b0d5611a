// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * Keys are read in the order of the file, but `sessions` last: its entries begin as copies of what
 * the file says for all, and change what they say themselves. `instances: N` is N such copies.
 * What concerns several keys is checked when their mapping, or the whole file, has been read.
 *
 * Passwords are in the specs alone afterwards. The file is read into memory that does not move;
 * that, the copy for the document and libfyaml's copies of passwords are wiped, and the environment
 * forgets their variables when every session has them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/file.h"
#include "session/file_impl.h"
#include "session/spec.h"
#include "session/value.h"
#include "vpc/names.h"

#define LOG_BYTES_MIN 4096u
#define LOG_BYTES_MAX (1u << 30)
#define LOGS_MAX 100
#define LOG_DIRECTORY "/var/log/byway"

/* Of the carriers' names (session.h). */
#define CARRIER_END ".out"

/* ---- sessions ---- */

/* clang-format off */
#define SHARED_KEYS                                                                                \
	{"vpn", file_read_vpn},                                                                    \
	{"routing", file_read_routing},                                                            \
	{"dns", file_read_dns},                                                                    \
	{"health", file_read_health},                                                              \
	{"backoff", file_read_backoff},                                                            \
	{"mtu", file_read_mtu}
/* clang-format on */

static int check_name(const struct session_file *f, const char *name, struct err *err)
{
	size_t len = strlen(name), end = strlen(CARRIER_END);
	int r = name_check("session", name, err);

	if (!r && len > end && !strcmp(name + len - end, CARRIER_END))
		r = err_set(err, ERR_USAGE, -EINVAL,
			    "a session's name does not end in \"" CARRIER_END
			    "\": that is how the namespaces of openconnect are called");
	for (size_t i = 0; !r && i + 1 < f->n_sessions; i++)
		if (!strcmp(f->sessions[i].name, name))
			r = err_set(err, ERR_USAGE, -EINVAL, "there are two sessions named \"%s\"",
				    name);
	return r;
}

static int read_session_name(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	char name[NAME_MAX_LEN] = "";
	int r = value_text(d, node, "a session's name", name, sizeof(name), err);

	if (!r && check_name(rd->f, name, err))
		r = doc_error_at(d, node, err);
	memcpy(rd->spec->name, name, sizeof(name));
	return r;
}

static struct session_spec *add_session(struct reading *rd)
{
	struct session_spec *s = &rd->f->sessions[rd->f->n_sessions++];

	spec_copy(s, &rd->defaults);
	return s;
}

static int read_session(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {
		{"name", read_session_name, DOC_REQUIRED},
		SHARED_KEYS,
	};
	struct reading *rd = into;
	int r;

	rd->spec = add_session(rd);
	r = doc_read_map(d, node, "a session", keys, ARRAY_SIZE(keys), rd, err);
	if (!r && !rd->spec->server)
		r = doc_error(d, node, err, "session %s needs the key \"server\" in \"vpn\"",
			      rd->spec->name);
	return r;
}

static int count_session(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	(void)d;
	(void)node;
	(void)err;
	((struct reading *)into)->instances++;
	return 0;
}

static int exclude_each_other(struct doc *d, struct fy_node *node, struct err *err)
{
	return doc_error(d, node, err, "\"instances\" and \"sessions\" exclude each other");
}

/* Counts them: they are read when what the file says for all is known. */
static int read_sessions(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	int r;

	if (rd->instances)
		return exclude_each_other(d, node, err);
	r = doc_read_list(d, node, "\"sessions\"", SESSIONS_MAX, count_session, rd, err);
	if (!r && !rd->instances)
		r = doc_error(d, node, err, "\"sessions\" is empty");
	rd->sessions = node;
	return r;
}

static int read_instances(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;

	if (rd->instances)
		return exclude_each_other(d, node, err);
	return value_number(d, node, "\"instances\"", 1, SESSIONS_MAX, &rd->instances, err);
}

/* ---- the file ---- */

static int read_group(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_file *f = ((struct reading *)into)->f;
	int r = value_text(d, node, "the name", f->group, sizeof(f->group), err);

	if (!r && name_check("group of sessions", f->group, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_interface(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_file *f = ((struct reading *)into)->f;
	int r = value_text(d, node, "an interface's name", f->interface, sizeof(f->interface), err);

	if (!r && strpbrk(f->interface, "/ "))
		r = doc_error(d, node, err, "\"%s\" is not an interface's name", f->interface);
	return r;
}

static int read_subnet(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct cidr *c = &rd->f->subnet;
	char text[CIDR_STRLEN];
	const char *reserved;
	int r = value_text(d, node, "the subnet", text, sizeof(text), err);

	if (r)
		return r;
	rd->subnet = node;
	if (cidr_parse_network(text, c, err))
		return doc_error_at(d, node, err);
	if (c->addr.family != AF_INET)
		return doc_error(d, node, err, "the subnet is an IPv4 network, not %s", text);
	reserved = cidr_reserved(c);
	return reserved ? doc_error(d, node, err, "%s overlaps with %s", text, reserved) : 0;
}

static int read_nat(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_bool(d, node, "\"nat\"", &((struct reading *)into)->f->nat, err);
}

static int read_parallel(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"parallel\"", 1, SESSIONS_MAX,
			    &((struct reading *)into)->f->parallel, err);
}

static int read_level(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const levels[] = {
		[SESSION_LOG_ERROR] = "error",
		[SESSION_LOG_INFO] = "info",
		[SESSION_LOG_DEBUG] = "debug",
		[SESSION_LOG_TRACE] = "trace",
	};
	size_t i = 0;
	int r = value_word(d, node, "a level", levels, ARRAY_SIZE(levels), &i, err);

	if (!r)
		((struct reading *)into)->f->logging.level = (enum session_log_level)i;
	return r;
}

static int read_directory(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;

	return file_read_path(d, node, "the directory", rd, &rd->f->logging.directory, err);
}

static int read_max_size(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_size(d, node, "\"max_size\"", LOG_BYTES_MIN, LOG_BYTES_MAX,
			  &((struct reading *)into)->f->logging.max_bytes, err);
}

static int read_keep(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"keep\"", 0, LOGS_MAX,
			    &((struct reading *)into)->f->logging.keep, err);
}

static int read_logging(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {
		{"level", read_level},
		{"directory", read_directory},
		{"max_size", read_max_size},
		{"keep", read_keep},
	};

	return doc_read_map(d, node, "\"logging\"", keys, ARRAY_SIZE(keys), into, err);
}

static const struct doc_key file_keys[] = {
	{"name", read_group},
	{"interface", read_interface},
	{"subnet", read_subnet, DOC_REQUIRED},
	{"instances", read_instances},
	{"sessions", read_sessions},
	{"nat", read_nat},
	{"parallel", read_parallel},
	{"logging", read_logging},
	SHARED_KEYS,
};

void session_group_of(const char *path, char ret[NAME_MAX_LEN])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');

	snprintf(ret, NAME_MAX_LEN, "%.*s", dot ? (int)(dot - name) : NAME_MAX_LEN, name);
}

static int name_group(struct doc *d, struct session_file *f, const char *path, struct err *err)
{
	if (*f->group)
		return 0;
	session_group_of(path, f->group);
	if (!name_check("group of sessions", f->group, err))
		return 0;
	return doc_error(d, doc_root(d), err,
			 "the file's own name is none for its sessions: give it the key \"name\"");
}

/* GROUP-1, GROUP-2, … */
static int add_instances(struct doc *d, struct reading *rd, struct err *err)
{
	struct session_file *f = rd->f;

	if (!rd->defaults.server)
		return doc_error(d, doc_root(d), err,
				 "the file needs the key \"server\" in \"vpn\"");
	for (unsigned int i = 1; i <= rd->instances; i++) {
		struct session_spec *s = add_session(rd);
		int n = snprintf(s->name, sizeof(s->name), "%s-%u", f->group, i);

		if (n >= (int)sizeof(s->name))
			return doc_error(d, doc_root(d), err,
					 "the name \"%s\" is too long for %u sessions: give the "
					 "file a shorter one with the key \"name\"",
					 f->group, rd->instances);
	}
	return 0;
}

static int check_subnet(struct doc *d, const struct reading *rd, struct err *err)
{
	unsigned int host_bits = 32 - rd->f->subnet.prefix;
	uint64_t hosts = (UINT64_C(1) << host_bits) - (host_bits > 1 ? 2 : 0);
	char text[CIDR_STRLEN];

	if (rd->instances <= hosts)
		return 0;
	return doc_error(d, rd->subnet, err, "%s has %llu addresses, too few for %u sessions",
			 cidr_format(&rd->f->subnet, text), (unsigned long long)hosts,
			 rd->instances);
}

/* What is left to do with all keys read. */
static int finish(struct doc *d, struct reading *rd, const char *path, unsigned int count,
		  struct err *err)
{
	struct session_file *f = rd->f;
	int r = name_group(d, f, path, err);

	if (r)
		return r;
	if (rd->sessions && count)
		return doc_error(d, rd->sessions, err,
				 "the file lists its sessions: their number cannot be another one");
	if (count)
		rd->instances = count;
	if (!rd->instances)
		return doc_error(d, doc_root(d), err,
				 "the file needs the key \"instances\" or \"sessions\"");
	r = check_subnet(d, rd, err);
	if (r)
		return r;
	f->sessions = xcalloc(rd->instances, sizeof(*f->sessions));
	if (!rd->sessions)
		return add_instances(d, rd, err);
	return doc_read_list(d, rd->sessions, "\"sessions\"", SESSIONS_MAX, read_session, rd, err);
}

static int read_file(const char *path, const char *text, size_t len, unsigned int count,
		     struct reading *rd, struct err *err)
{
	_doc_ struct doc *d = NULL;
	int r = doc_parse(path, text, len, DOC_YAML, &d, err);

	if (!r)
		r = doc_read_map(d, doc_root(d), "the file", file_keys, ARRAY_SIZE(file_keys), rd,
				 err);
	if (!r)
		r = finish(d, rd, path, count, err);
	return r;
}

static struct session_file *file_new(const char *path)
{
	struct session_file *f = xcalloc(1, sizeof(*f));

	f->path = file_absolute(path);
	f->nat = true;
	f->parallel = 16;
	f->logging.level = SESSION_LOG_INFO;
	f->logging.directory = xstrdup(LOG_DIRECTORY);
	f->logging.max_bytes = 10 << 20;
	f->logging.keep = 3;
	return f;
}

int session_file_parse(const char *path, const char *text, size_t len, unsigned int count,
		       struct session_file **ret, struct err *err)
{
	_session_file_ struct session_file *f = NULL;
	struct reading rd = {0};
	char *copy;
	int r;

	if (count > SESSIONS_MAX)
		return err_set(err, ERR_USAGE, -EINVAL, "at most %d sessions, not %u", SESSIONS_MAX,
			       count);
	f = rd.f = file_new(path);
	spec_init(&rd.defaults);
	rd.spec = &rd.defaults;
	copy = memcpy(xcalloc(len + 1, 1), text, len); /* doc_wipe() writes to it */
	r = read_file(path, copy, len, count, &rd, err);
	if (!r)
		value_forget(&rd.variables);
	explicit_bzero(copy, len);
	free(copy);
	spec_done(&rd.defaults);
	buf_done(&rd.variables);
	if (!r)
		*ret = TAKE_PTR(f);
	return r;
}

int session_file_read(const char *path, unsigned int count, struct session_file **ret,
		      struct err *err)
{
	_buf_ struct buf text = {0};
	int r;

	/* Room for more than file_read() takes, so that what grows leaves no copies behind. */
	buf_reserve(&text, 2 * DOC_SIZE_MAX);
	r = file_read(path, DOC_SIZE_MAX, &text, err);
	if (!r)
		r = session_file_parse(path, text.data, text.len, count, ret, err);
	explicit_bzero(text.data, text.len);
	return r;
}

static int leave_to_caller(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	(void)d;
	(void)node;
	(void)into;
	(void)err;
	return 0;
}

/* The keys of "vpn" as c has them. */
static size_t single_keys(const struct session_single *c, struct doc_key *keys)
{
	size_t n = FILE_VPN_KEYS;

	memcpy(keys, file_vpn_keys, sizeof(file_vpn_keys));
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(keys[i].name, "server"))
			keys[i].name = c->server_key;
		else if (!strcmp(keys[i].name, "password"))
			keys[i].refusal = "a password is not written here: password_file names a "
					  "file that has it, password_command prints it";
	}
	keys[n++] = (struct doc_key){.name = c->foreign_key, .read = leave_to_caller};
	return n;
}

int session_file_single(struct doc *d, struct fy_node *node, const struct session_single *c,
			struct session_file **ret, struct err *err)
{
	static const struct doc_key shared[] = {{"dns", file_read_dns},
						{"health", file_read_health},
						{"backoff", file_read_backoff},
						{"mtu", file_read_mtu}};
	_session_file_ struct session_file *f = file_new(c->path);
	struct reading rd = {.f = f};
	struct doc_key keys[FILE_VPN_KEYS + 1 + ARRAY_SIZE(shared)];
	size_t n = single_keys(c, keys);
	int r;

	memcpy(&keys[n], shared, sizeof(shared));
	str_copy(f->group, sizeof(f->group), c->name);
	f->sessions = xcalloc(1, sizeof(*f->sessions));
	spec_init(&rd.defaults);
	rd.spec = add_session(&rd);
	str_copy(rd.spec->name, sizeof(rd.spec->name), c->name);
	r = doc_read_map(d, node, c->what, keys, n + ARRAY_SIZE(shared), &rd, err);
	spec_done(&rd.defaults);
	if (!r)
		*ret = TAKE_PTR(f);
	return r;
}

void session_file_free(struct session_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_sessions; i++)
		spec_done(&f->sessions[i]);
	free(f->sessions);
	free(f->logging.directory);
	free(f->path);
	free(f);
}

void session_file_free_p(struct session_file **f)
{
	session_file_free(*f);
}
