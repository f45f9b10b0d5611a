// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * openconnect's command line, and its words. It exits with 1 for most things that go wrong: what it
 * was, only its words tell. They are those of versions 7 to 9, built with GnuTLS or OpenSSL.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "session/openconnect.h"

static const char *const class_names[] = {
	[END_NONE] = "none",
	[END_AUTH] = "authentication",
	[END_CERTIFICATE] = "certificate",
	[END_UNREACHABLE] = "unreachable",
	[END_REFUSED] = "refused",
	[END_CRASHED] = "crashed",
	[END_STALLED] = "stalled",
};
static_assert(ARRAY_SIZE(class_names) == END_NUM_CLASSES, "every class has a name");

const char *end_class_name(enum end_class c)
{
	return class_names[c];
}

/* ---- options that are refused ---- */

#define RELIES "is what byway relies on and sets itself"
#define SECRET "puts a secret where every user of this machine sees it"
#define LOGGED "writes secrets into the log"
#define USELESS "makes openconnect do something else than connect"
#define KEY(name) "has a key of its own in the file: " name

static const char *bad_token(const char *value)
{
	return strchr("@/", value[0]) ? NULL : SECRET "; write @FILE";
}

/* FORM:OPTION=VALUE */
static const char *bad_form_entry(const char *value)
{
	static const char *const secrets[] = {"pass", "pin", "secret", "token", "code"};
	const char *end = strchr(value, '=');

	for (size_t i = 0; end && i < ARRAY_SIZE(secrets); i++) {
		const char *at = strcasestr(value, secrets[i]);

		if (at && at < end)
			return SECRET "; " KEY("password");
	}
	return NULL;
}

/* SCHEME://USER:PASSWORD@HOST */
static const char *bad_proxy(const char *value)
{
	const char *user = strstr(value, "://");
	const char *at = strrchr(value, '@'), *colon;

	user = user ? user + 3 : value;
	colon = strchr(user, ':');
	return at && colon && colon < at ? SECRET : NULL;
}

/* RFC 7512, 2.3 */
static const char *bad_key(const char *value)
{
	return strstr(value, "pin-value=") ? SECRET : NULL;
}

/* Of options that are not here, all is well. Refused are those with a `why`, and those whose value
 * `bad` does not like. */
static const struct option_rule {
	const char *name;
	char letter;
	bool has_value;
	const char *why;
	const char *(*bad)(const char *value);
} option_rules[] = {
	{"script", 's', true, RELIES},
	{"script-tun", 'S', false, RELIES},
	{"interface", 'i', true, RELIES},
	{"background", 'b', false, RELIES},
	{"pid-file", 0, true, RELIES},
	{"setuid", 'U', true, RELIES},
	{"syslog", 'l', false, RELIES},
	{"passwd-on-stdin", 0, false, RELIES},
	{"non-inter", 0, false, RELIES},
	{"config", 0, true, "hides options from byway"},
	{"quiet", 'q', false, KEY("logging.level")},
	{"verbose", 'v', false, KEY("logging.level")},
	{"server", 0, true, KEY("vpn.server")},
	{"user", 'u', true, KEY("vpn.username")},
	{"protocol", 0, true, KEY("vpn.protocol")},
	{"juniper", 0, false, KEY("vpn.protocol")},
	{"servercert", 0, true, KEY("vpn.servercert")},
	{"cafile", 0, true, KEY("vpn.cafile")},
	{"mtu", 'm', true, KEY("mtu")},
	{"base-mtu", 0, true, KEY("mtu")},
	{"cookie", 'C', true, SECRET},
	{"cookie-on-stdin", 0, false, RELIES},
	{"key-password", 'p', true, SECRET},
	{"mca-key-password", 0, true, SECRET},
	{"authenticate", 0, false, USELESS},
	{"cookieonly", 0, false, USELESS},
	{"help", 'h', false, USELESS},
	{"version", 'V', false, USELESS},
	{"printcookie", 0, false, LOGGED},
	{"dump-http-traffic", 0, false, LOGGED},
	{"gnutls-debug", 0, true, LOGGED},
	{"token-secret", 0, true, NULL, bad_token},
	{"form-entry", 'F', true, NULL, bad_form_entry},
	{"proxy", 'P', true, NULL, bad_proxy},
	{"certificate", 'c', true, NULL, bad_key},
	{"sslkey", 'k', true, NULL, bad_key},
	{"mca-certificate", 0, true, NULL, bad_key},
	{"mca-key", 0, true, NULL, bad_key},
	{"cert-expire-warning", 'e', true},
	{"usergroup", 'g', true},
	{"queue-len", 'Q', true},
	{"xmlconfig", 'x', true},
};

static const char *rule_refuses(const struct option_rule *r, const char *value)
{
	return r->bad && value ? r->bad(value) : r->why;
}

/* getopt_long(3) takes any beginning of a name that is like no other's: one that could be a refused
 * option's is refused, whatever else it could be, unless it is an option's whole name. */
static const char *long_refuses(const char *name, size_t len, const char *value)
{
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(option_rules); i++) {
		const struct option_rule *r = &option_rules[i];

		if (strncmp(r->name, name, len))
			continue;
		if (!r->name[len])
			return rule_refuses(r, value);
		if (!why)
			why = rule_refuses(r, value);
	}
	return why;
}

static const struct option_rule *rule_of_letter(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_rules); i++)
		if (option_rules[i].letter == letter)
			return &option_rules[i];
	return NULL;
}

/* "-vb", "-sSCRIPT", "-s SCRIPT" */
static const char *letters_refuse(const char *letters, const char *next)
{
	for (; *letters; letters++) {
		const struct option_rule *r = rule_of_letter(*letters);
		const char *why = NULL;

		if (r)
			why = rule_refuses(r, letters[1] ? letters + 1 : next);
		if (why || (r && r->has_value))
			return why;
	}
	return NULL;
}

const char *openconnect_refuses(const char *arg, const char *next)
{
	if (arg[0] != '-')
		return NULL;
	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		return long_refuses(arg + 2, len, arg[2 + len] ? arg + 2 + len + 1 : next);
	}
	return letters_refuse(arg + 1, next);
}

/* ---- the command line ---- */

int openconnect_host(const char *server, char *ret, size_t size)
{
	const char *host = strstr(server, "://");
	size_t len;

	host = host ? host + 3 : server;
	if (*host == '[')
		len = strcspn(++host, "]");
	else
		len = strcspn(host, ":/?");
	if (!len || strpbrk(server, " \t\r\n"))
		return -EINVAL;
	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(ret, host, len);
	ret[len] = '\0';
	return 0;
}

struct args {
	char **list;
	size_t n;
};

/* The list stays ended by NULL. Takes arg. */
static void add(struct args *a, char *arg)
{
	a->list = xrealloc(a->list, a->n + 2, sizeof(*a->list));
	a->list[a->n++] = arg;
	a->list[a->n] = NULL;
}

static void add_value(struct args *a, const char *option, const char *value)
{
	if (value)
		add(a, xasprintf("%s=%s", option, value));
}

/* A certificate that an authority has signed is trusted whatever its pin. So where pins are given,
 * they decide alone; --servercert does the same to the system's authorities. */
static void add_trust(struct args *a, const struct session_spec *spec)
{
	for (size_t i = 0; i < spec->n_servercerts; i++)
		add_value(a, "--servercert", spec->servercerts[i]);
	if (!spec->n_servercerts)
		add_value(a, "--cafile", spec->cafile);
}

/* Never to ask anybody: there is nobody. */
static void add_credentials(struct args *a, const struct session_spec *spec)
{
	add_value(a, "--user", spec->username);
	add(a, xstrdup("--non-inter"));
	if (spec->password.kind != SECRET_NONE)
		add(a, xstrdup("--passwd-on-stdin"));
	if (spec->totp_file) {
		add(a, xstrdup("--token-mode=totp"));
		add(a, xasprintf("--token-secret=@%s", spec->totp_file));
	}
}

static void add_resolved(struct args *a, const char *server, const struct ip *addr)
{
	char host[256], text[IP_STRLEN];

	if (addr && openconnect_host(server, host, sizeof(host)) == 0)
		add(a, xasprintf("--resolve=%s:%s", host, ip_format(addr, text)));
}

/* What IPv6, UDP, DTLS 1.2 with AES-GCM and the packet's type put around a packet: 40 + 8 + 37 + 1.
 */
#define OVERHEAD_BYTES 86

/* Servers of today take no word for the MTU inside (--mtu); they work it out from the one outside.
 * It comes out as what was asked for, or up to 58 more with less around it, never as less: below
 * 1280 they would give no IPv6 address. The device's is set to what was asked for, anyway. */
static void add_mtu(struct args *a, uint32_t mtu_bytes)
{
	if (mtu_bytes)
		add(a, xasprintf("--base-mtu=%u", mtu_bytes + OVERHEAD_BYTES));
}

static void add_verbosity(struct args *a, enum session_log_level level)
{
	for (unsigned int i = SESSION_LOG_DEBUG; i <= level; i++)
		add(a, xstrdup("--verbose"));
}

/* Not 300: a server that is back in time would know the session again, but one that was started
 * anew does not, and byway's own attempts ask everything anew. */
#define RECONNECT_TIMEOUT "20"

char **openconnect_args(const struct session_spec *spec, enum session_log_level level,
			const struct ip *addr, const char *hook)
{
	struct args a = {0};

	add(&a, xstrdup("openconnect"));
	add_value(&a, "--server", spec->server);
	add_value(&a, "--protocol", spec->protocol);
	add_credentials(&a, spec);
	add_trust(&a, spec);
	add_resolved(&a, spec->server, addr);
	add_value(&a, "--interface", SESSION_TUN);
	add_value(&a, "--script", hook);
	add_mtu(&a, spec->mtu_bytes);
	add_value(&a, "--reconnect-timeout", RECONNECT_TIMEOUT);
	add_verbosity(&a, level);
	for (size_t i = 0; i < spec->n_extra_args; i++)
		add(&a, xstrdup(spec->extra_args[i]));
	return a.list;
}

void openconnect_args_free(char **args)
{
	for (size_t i = 0; args && args[i]; i++)
		free(args[i]);
	free(args);
}

/* ---- its words ---- */

enum weight {
	VAGUE,  /* says that something went wrong; counts when nothing else is known */
	SURE,   /* says what */
	TELLING /* says why, too */
};

/* The first that a line contains. */
static const struct {
	const char *text;
	enum end_class class;
	enum weight weight;
} phrases[] = {
	/* Whatever was said before, it is well now: another address answered, a pin fits. */
	{"Connected to HTTPS on ", END_NONE, TELLING},
	{"Got CONNECT response: HTTP/1.1 200", END_NONE, TELLING},
	{"Configured as ", END_NONE, TELLING},
	{"Connected as ", END_NONE, TELLING}, /* before 8.20 */

	{"Server certificate verify failed", END_CERTIFICATE, TELLING},
	{"fingerprint(s) specified via --servercert", END_CERTIFICATE, TELLING},
	{"Server SSL certificate didn't match", END_CERTIFICATE, TELLING}, /* before 8.20 */
	{"Server presented no certificate", END_CERTIFICATE, TELLING},
	{"Failed to open CA file", END_CERTIFICATE, TELLING},
	{"Error in the certificate", END_CERTIFICATE, SURE},  /* GnuTLS */
	{"certificate verify failed", END_CERTIFICATE, SURE}, /* OpenSSL */

	{"Login failed", END_AUTH, TELLING}, /* of ocserv, and of Cisco's */
	{"Login denied", END_AUTH, TELLING},
	{"Authentication fail", END_AUTH, TELLING},
	{"authentication failed", END_AUTH, TELLING},
	{"Invalid username or password", END_AUTH, TELLING},
	{"Account locked", END_AUTH, TELLING},
	{"Password expired", END_AUTH, TELLING},
	{"lient certificate is required", END_AUTH, TELLING},
	{"lient certificate missing or incorrect", END_AUTH, TELLING},
	{"Unexpected 401 result from server", END_AUTH, TELLING},
	{"Unexpected 403 result from server", END_AUTH, TELLING},
	{"Soft token string is invalid", END_AUTH, TELLING},
	{"User input required in non-interactive mode", END_AUTH, SURE},

	{"getaddrinfo failed for host", END_UNREACHABLE, TELLING},
	{"Failed to connect to host", END_UNREACHABLE, VAGUE},
	{"Failed to connect to ", END_UNREACHABLE, TELLING},
	{"Failed to reconnect to ", END_UNREACHABLE, TELLING},
	{"CSTP Dead Peer Detection detected", END_UNREACHABLE, TELLING}, /* not DTLS's: TLS stays */
	{"GPST Dead Peer Detection detected", END_UNREACHABLE, TELLING},
	{"TCP Dead Peer Detection detected", END_UNREACHABLE, TELLING},
	{"Error fetching HTTP", END_UNREACHABLE, TELLING},
	{"Error reading HTTP", END_UNREACHABLE, TELLING},

	{"Got inappropriate HTTP CONNECT response", END_REFUSED, TELLING},
	{"VPN service unavailable", END_REFUSED, TELLING},
	{"Server terminated connection", END_REFUSED, TELLING},
	{"VPN session expired", END_REFUSED, TELLING},
	{"Received server disconnect", END_REFUSED, SURE},
	{"eceived server terminate", END_REFUSED, SURE},
	{"Session terminated by server", END_REFUSED, SURE},
	{"Cookie is no longer valid", END_REFUSED, SURE},
	{"Cookie was rejected", END_REFUSED, SURE},
	{" result from server", END_REFUSED, TELLING},
	{"Reconnect gave different ", END_REFUSED, TELLING},
	{"No MTU received", END_REFUSED, TELLING},
	{"No IP address received", END_REFUSED, TELLING},
	{"SSL connection failure", END_REFUSED, VAGUE}, /* it closed the connection */

	{"Failed to bind local tun device", END_CRASHED, TELLING},
	{"Failed to open tun device", END_CRASHED, TELLING},
	{"Set up tun device failed", END_CRASHED, SURE},
	{"Unknown VPN protocol", END_CRASHED, TELLING},
	{"unrecognized option", END_CRASHED, TELLING},
	{"Invalid software token mode", END_CRASHED, TELLING},

	{"Failed to open HTTPS connection to", END_UNREACHABLE, VAGUE},
	{"reconnect failed", END_UNREACHABLE, VAGUE},
	/* After what was not understood: it may have been the credentials. */
	{"Failed to complete authentication", END_AUTH, VAGUE},
	{"Failed to obtain WebVPN cookie", END_AUTH, VAGUE}, /* before 8.20 */
};

static const struct {
	const char *text;
	bool dtls;
} datagrams[] = {
	{"Established DTLS connection", true},
	{"ESP session established", true},
	{"ESP tunnel connected", true},
	{"Got CONNECT response: HTTP/1.1 200", false}, /* a new stream: not yet, or not any more */
	{"DTLS Dead Peer Detection detected dead peer", false},
	{"ESP detected dead peer", false},
	{"DTLS handshake failed", false},
	{"DTLS handshake timed out", false},
	{"DTLS got write error", false},
};

static const char *const acceptances[] = {
	"Got CONNECT response: HTTP/1.1 200",
	"Configured as ",
	"Connected as ",
};

static void set_reason(struct openconnect_said *said, const char *line)
{
	line += strspn(line, " \t");
	snprintf(said->reason, sizeof(said->reason), "%s", line);
}

static void take(struct openconnect_said *said, size_t phrase, const char *line)
{
	enum end_class class = phrases[phrase].class;
	enum weight weight = phrases[phrase].weight;
	bool is_known = said->hint != END_NONE && !said->vague;

	if (weight == VAGUE && said->hint != END_NONE)
		return;
	if (weight == TELLING || !is_known || said->hint != class)
		set_reason(said, class == END_NONE ? "" : line);
	said->hint = class;
	said->vague = weight == VAGUE;
}

void openconnect_line(struct openconnect_said *said, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(datagrams); i++)
		if (strstr(line, datagrams[i].text)) {
			said->dtls = datagrams[i].dtls;
			break;
		}
	for (size_t i = 0; i < ARRAY_SIZE(acceptances); i++)
		if (strstr(line, acceptances[i]))
			said->authenticated = true;
	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (strstr(line, phrases[i].text)) {
			take(said, i, line);
			return;
		}
}

/* 2: "Cookie was rejected by server". */
#define STATUS_COOKIE 2

static enum end_class class_of_status(const struct openconnect_said *said, int status)
{
	if (status == 0)
		return END_NONE;
	if (status > 128)
		return END_CRASHED;
	if (said->hint != END_NONE)
		return said->hint;
	return status == STATUS_COOKIE ? END_REFUSED : END_CRASHED;
}

enum end_class openconnect_ended(struct openconnect_said *said, int status)
{
	enum end_class class = class_of_status(said, status);

	if (class != said->hint)
		said->reason[0] = '\0';
	if (class == END_NONE || said->reason[0])
		return class;
	if (status > 128)
		snprintf(said->reason, sizeof(said->reason), "openconnect was ended by signal %d",
			 status - 128);
	else
		snprintf(said->reason, sizeof(said->reason), "openconnect exited with status %d",
			 status);
	return class;
}
