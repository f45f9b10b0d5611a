// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "session/file_impl.h"
#include "session/openconnect.h"
#include "session/spec.h"
#include "session/value.h"

#define SHORTEST_MS 100u /* of what is waited for again and again */
#define MINUTE_MS 60000u
#define HOUR_MS (60u * MINUTE_MS)

#define MTU_MIN 576 /* which every host takes (RFC 791) */
#define MTU_MAX 65535
#define IN_A_ROW_MAX 100
#define ARGS_MAX 64
#define PINS_MAX 16
#define DOMAINS_MAX 32

static int take_only_key(struct doc *d, struct fy_node *node, struct reading *rd, const char *key,
			 struct err *err)
{
	if (rd->only_key)
		return doc_error(d, node, err, "\"%s\" and \"%s\" exclude each other", rd->only_key,
				 key);
	rd->only_key = key;
	return 0;
}

int file_read_path(struct doc *d, struct fy_node *node, const char *what, const struct reading *rd,
		   char **ret, struct err *err)
{
	const char *file = rd->f->path;
	int r = value_string(d, node, what, ret, err);

	if (!r && **ret != '/') {
		_free_ char *relative = *ret;

		*ret = xasprintf("%.*s/%s", (int)(strrchr(file, '/') - file), file, relative);
	}
	return r;
}

static int read_addr(struct doc *d, struct fy_node *node, const char *what, struct ip *ret,
		     struct err *err)
{
	char text[IP_STRLEN];
	int r = value_text(d, node, what, text, sizeof(text), err);

	if (!r && ip_parse(text, ret, err))
		r = doc_error_at(d, node, err);
	return r;
}

static int read_domain(struct doc *d, struct fy_node *node, const char *what, char buf[254],
		       struct err *err)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	int r = value_text(d, node, what, buf, 254, err);

	if (!r && (buf[strspn(buf, letters)] || *buf == '.' || strstr(buf, "..")))
		r = doc_error(d, node, err, "%s is a domain name, not \"%s\"", what, buf);
	return r;
}

/* Room for one text more, which the caller fills. */
static char **list_add(char ***list, size_t *n)
{
	*list = xrealloc(*list, *n + 1, sizeof(**list));
	(*list)[*n] = NULL;
	return &(*list)[(*n)++];
}

/* ---- vpn ---- */

static int read_server(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	char host[256];
	int r = value_string(d, node, "a server", &rd->spec->server, err);

	/* It is an argument of its own: with a '-' it would be an option. */
	if (!r && (*rd->spec->server == '-' ||
		   openconnect_host(rd->spec->server, host, sizeof(host)) < 0))
		r = doc_error(d, node, err, "a server is a name, an address or a URL, not \"%s\"",
			      rd->spec->server);
	return r;
}

static int read_username(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_string(d, node, "a user's name", &((struct reading *)into)->spec->username,
			    err);
}

/* openconnect reads a line. */
static int read_password(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct session_secret *s = &rd->spec->password;
	int r = take_only_key(d, node, rd, "password", err);

	if (!r)
		r = value_secret(d, node, "a password", &s->text, &rd->variables, err);
	if (!r && strpbrk(s->text, "\r\n"))
		r = doc_error(d, node, err, "a password is one line, without an end of line");
	s->kind = SECRET_TEXT;
	return r;
}

static int read_password_file(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct session_secret *s = &rd->spec->password;
	int r = take_only_key(d, node, rd, "password_file", err);

	if (!r)
		r = file_read_path(d, node, "a password's file", rd, &s->text, err);
	s->kind = SECRET_FILE;
	return r;
}

/* A secret of its own: who writes a command may have written what it is to print. */
static int read_password_command(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct session_secret *s = &rd->spec->password;
	int r = take_only_key(d, node, rd, "password_command", err);

	if (!r)
		r = value_secret(d, node, "a password's command", &s->text, NULL, err);
	s->kind = SECRET_COMMAND;
	return r;
}

static int read_totp_file(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;

	return file_read_path(d, node, "a TOTP secret's file", rd, &rd->spec->totp_file, err);
}

static int read_protocol(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const protocols[] = {"anyconnect", "nc",       "gp",   "pulse",
						"f5",         "fortinet", "array"};
	struct session_spec *s = ((struct reading *)into)->spec;
	size_t i = 0;
	int r = value_word(d, node, "a protocol", protocols, ARRAY_SIZE(protocols), &i, err);

	if (!r) {
		free(s->protocol);
		s->protocol = xstrdup(protocols[i]);
	}
	return r;
}

static int read_pin(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const prefixes[] = {"pin-sha256:", "sha256:", "sha1:"};
	struct session_spec *s = ((struct reading *)into)->spec;
	char **pin = list_add(&s->servercerts, &s->n_servercerts);
	int r = value_string(d, node, "a pin", pin, err);

	if (r)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(*pin, prefixes[i], strlen(prefixes[i])))
			return 0;
	return doc_error(d, node, err,
			 "a pin begins with \"pin-sha256:\", \"sha256:\" or \"sha1:\", not \"%s\"",
			 *pin);
}

static int read_servercert(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;

	spec_list_done(&s->servercerts, &s->n_servercerts);
	if (doc_is_string(d, node))
		return read_pin(d, node, into, err);
	return doc_read_list(d, node, "\"servercert\"", PINS_MAX, read_pin, into, err);
}

static int read_cafile(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;

	return file_read_path(d, node, "a CA's file", rd, &rd->spec->cafile, err);
}

/* The last one that was read, now that the one behind it is known. Only the option is shown: what
 * is wrong may be that a secret follows it. */
static int check_extra_arg(struct doc *d, const struct reading *rd, const char *next,
			   struct err *err)
{
	const struct session_spec *s = rd->spec;
	const char *arg, *why;

	if (!s->n_extra_args)
		return 0;
	arg = s->extra_args[s->n_extra_args - 1];
	why = openconnect_refuses(arg, next);
	if (!why)
		return 0;
	return doc_error(d, rd->last, err, "\"%.*s\" %s",
			 (int)(strncmp(arg, "--", 2) ? MIN(2, strlen(arg)) : strcspn(arg, "=")),
			 arg, why);
}

static int read_extra_arg(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct session_spec *s = rd->spec;
	_free_ char *arg = NULL;
	int r = value_string(d, node, "an argument of openconnect", &arg, err);

	if (!r)
		r = check_extra_arg(d, rd, arg, err);
	if (r)
		return r;
	*list_add(&s->extra_args, &s->n_extra_args) = TAKE_PTR(arg);
	rd->last = node;
	return 0;
}

static int read_extra_args(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	int r;

	spec_list_done(&rd->spec->extra_args, &rd->spec->n_extra_args);
	r = doc_read_list(d, node, "\"extra_args\"", ARGS_MAX, read_extra_arg, rd, err);
	return r ? r : check_extra_arg(d, rd, NULL, err);
}

static int read_max_auth_attempts(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"max_auth_attempts\"", 0, IN_A_ROW_MAX,
			    &((struct reading *)into)->spec->max_auth_attempts, err);
}

static int read_connect_timeout(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_duration(d, node, "\"connect_timeout\"", 1000, HOUR_MS,
			      &((struct reading *)into)->spec->connect_timeout_ms, err);
}

const struct doc_key file_vpn_keys[FILE_VPN_KEYS] = {
	{"server", read_server},
	{"username", read_username},
	{"password", read_password},
	{"password_file", read_password_file},
	{"password_command", read_password_command},
	{"totp_file", read_totp_file},
	{"protocol", read_protocol},
	{"servercert", read_servercert},
	{"cafile", read_cafile},
	{"extra_args", read_extra_args},
	{"max_auth_attempts", read_max_auth_attempts},
	{"connect_timeout", read_connect_timeout},
};

int file_read_vpn(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	((struct reading *)into)->only_key = NULL;
	return doc_read_map(d, node, "\"vpn\"", file_vpn_keys, FILE_VPN_KEYS, into, err);
}

/* ---- routing and dns ---- */

static int read_mode(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const char *const modes[SESSION_NUM_MODES] = {
		[SESSION_FULL] = "full",
		[SESSION_SPLIT] = "split",
	};
	size_t i = 0;
	int r = value_word(d, node, "a mode", modes, ARRAY_SIZE(modes), &i, err);

	if (!r)
		((struct reading *)into)->spec->mode = (enum session_mode)i;
	return r;
}

static int read_network(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;
	char text[CIDR_STRLEN];
	struct cidr c;
	int r = value_text(d, node, "an address or CIDR", text, sizeof(text), err);

	if (r)
		return r;
	if (strchr(text, '/') ? cidr_parse_network(text, &c, err) : cidr_parse(text, &c, err))
		return doc_error_at(d, node, err);
	s->include = xrealloc(s->include, s->n_include + 1, sizeof(*s->include));
	s->include[s->n_include++] = c;
	return 0;
}

static int read_include(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;

	s->n_include = 0;
	return doc_read_list(d, node, "\"include\"", SESSION_NETS_MAX, read_network, into, err);
}

int file_read_routing(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {{"mode", read_mode}, {"include", read_include}};

	return doc_read_map(d, node, "\"routing\"", keys, ARRAY_SIZE(keys), into, err);
}

static int read_dns_server(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;

	return read_addr(d, node, "a DNS server's address", &s->dns[s->n_dns++], err);
}

static int read_dns_servers(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	((struct reading *)into)->spec->n_dns = 0;
	return doc_read_list(d, node, "\"servers\"", SESSION_DNS_MAX, read_dns_server, into, err);
}

static int read_search_domain(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;
	_free_ char *before = s->search;
	char domain[254] = "";
	int r = read_domain(d, node, "a search domain", domain, err);

	s->search = xasprintf("%s%s%s", before ? before : "", before ? " " : "", domain);
	return r;
}

static int read_search(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct session_spec *s = ((struct reading *)into)->spec;

	free(TAKE_PTR(s->search));
	return doc_read_list(d, node, "\"search\"", DOMAINS_MAX, read_search_domain, into, err);
}

int file_read_dns(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {{"servers", read_dns_servers},
					      {"search", read_search}};

	return doc_read_map(d, node, "\"dns\"", keys, ARRAY_SIZE(keys), into, err);
}

/* ---- health and backoff ---- */

static int read_ping(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct ip target;
	int r = take_only_key(d, node, rd, "ping", err);

	if (!r)
		r = read_addr(d, node, "the address to ping", &target, err);
	if (r)
		return r;
	rd->spec->health.probe = PROBE_PING;
	ip_format(&target, rd->spec->health.host);
	return 0;
}

/* "192.0.2.1:80", "[2001:db8::1]:80". */
static int parse_endpoint(char *text, struct ip *ret_ip, uint16_t *ret_port)
{
	char *colon = strrchr(text, ':'), *end;
	unsigned long port;

	if (!colon || colon == text || !colon[1] || strspn(colon + 1, "0123456789") > 5)
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end || !port || port > UINT16_MAX)
		return -EINVAL;
	*colon = '\0';
	if (*text == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		text++;
	} else if (strchr(text, ':')) {
		return -EINVAL;
	}
	*ret_port = (uint16_t)port;
	return ip_parse(text, ret_ip, NULL);
}

static int read_tcp(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	struct session_health *h = &rd->spec->health;
	char text[64] = "";
	struct ip target;
	int r = take_only_key(d, node, rd, "tcp", err);

	if (!r)
		r = value_text(d, node, "the address to connect to", text, sizeof(text), err);
	if (r)
		return r;
	if (parse_endpoint(text, &target, &h->port))
		return doc_error(d, node, err,
				 "what to connect to is an address with a port, \"192.0.2.1:80\" "
				 "or \"[2001:db8::1]:80\"");
	h->probe = PROBE_TCP;
	ip_format(&target, h->host);
	return 0;
}

static int read_lookup(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	struct reading *rd = into;
	int r = take_only_key(d, node, rd, "dns", err);

	if (!r)
		r = read_domain(d, node, "the name to look up", rd->spec->health.host, err);
	rd->spec->health.probe = PROBE_DNS;
	return r;
}

static int read_interval(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_duration(d, node, "\"interval\"", SHORTEST_MS, HOUR_MS,
			      &((struct reading *)into)->spec->health.interval_ms, err);
}

static int read_timeout(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_duration(d, node, "\"timeout\"", SHORTEST_MS, MINUTE_MS,
			      &((struct reading *)into)->spec->health.timeout_ms, err);
}

static int read_failures(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"failures\"", 1, IN_A_ROW_MAX,
			    &((struct reading *)into)->spec->health.failures, err);
}

static int read_successes(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"successes\"", 1, IN_A_ROW_MAX,
			    &((struct reading *)into)->spec->health.successes, err);
}

int file_read_health(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {
		{"ping", read_ping},           {"tcp", read_tcp},
		{"dns", read_lookup},          {"interval", read_interval},
		{"timeout", read_timeout},     {"failures", read_failures},
		{"successes", read_successes},
	};
	struct reading *rd = into;
	const char *outer = rd->only_key; /* an egress has the keys of "vpn" beside this one */
	int r;

	rd->only_key = NULL;
	r = doc_read_map(d, node, "\"health\"", keys, ARRAY_SIZE(keys), rd, err);
	rd->only_key = outer;
	if (!r && rd->spec->health.probe == PROBE_NONE)
		r = doc_error(d, node, err,
			      "\"health\" needs one of the keys \"ping\", \"tcp\" and \"dns\"");
	return r;
}

static int read_backoff_min(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_duration(d, node, "\"min\"", SHORTEST_MS, HOUR_MS,
			      &((struct reading *)into)->spec->backoff_min_ms, err);
}

static int read_backoff_max(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_duration(d, node, "\"max\"", SHORTEST_MS, HOUR_MS,
			      &((struct reading *)into)->spec->backoff_max_ms, err);
}

int file_read_backoff(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	static const struct doc_key keys[] = {{"min", read_backoff_min}, {"max", read_backoff_max}};
	const struct session_spec *s = ((struct reading *)into)->spec;
	int r = doc_read_map(d, node, "\"backoff\"", keys, ARRAY_SIZE(keys), into, err);

	if (!r && s->backoff_min_ms > s->backoff_max_ms)
		r = doc_error(d, node, err,
			      "\"backoff\" has a min of %u ms, above its max of %u ms",
			      s->backoff_min_ms, s->backoff_max_ms);
	return r;
}

int file_read_mtu(struct doc *d, struct fy_node *node, void *into, struct err *err)
{
	return value_number(d, node, "\"mtu\"", MTU_MIN, MTU_MAX,
			    &((struct reading *)into)->spec->mtu_bytes, err);
}
