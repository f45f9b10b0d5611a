// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "session/file.h"

static struct session_file *parse_count(const char *text, unsigned int count)
{
	struct session_file *f = NULL;
	struct err err = {0};

	if (session_file_parse("/etc/byway/s.yaml", text, strlen(text), count, &f, &err) < 0)
		fail_msg("%s", err.msg);
	return f;
}

static struct session_file *parse(const char *text)
{
	return parse_count(text, 0);
}

static void assert_bad_count(const char *text, unsigned int count, const char *message)
{
	struct session_file *f = NULL;
	struct err err = {0};

	assert_int_equal(session_file_parse("s.yaml", text, strlen(text), count, &f, &err),
			 -EINVAL);
	assert_null(f);
	assert_int_equal(err.kind, ERR_USAGE);
	assert_string_equal(err.msg, message);
	assert_int_equal(session_file_parse("s.yaml", text, strlen(text), count, &f, NULL),
			 -EINVAL);
}

static void assert_bad(const char *text, const char *message)
{
	assert_bad_count(text, 0, message);
}

/* A file that is good as far as it goes; lines of the tests begin at 4. */
#define HEAD "subnet: 10.0.0.0/24\ninstances: 2\nvpn: {server: vpn.example.com}\n"
#define LIST "subnet: 10.0.0.0/24\nvpn: {server: vpn.example.com}\nsessions:\n"
/* The VPN's keys begin at line 4, column 3. */
#define VPN "subnet: 10.0.0.0/24\ninstances: 2\nvpn:\n  server: vpn.example.com\n"

/* ---- what is read ---- */

static const char full[] =
	"name: work\n"
	"interface: eth1\n"
	"subnet: 192.0.2.0/28\n"
	"nat: false\n"
	"mtu: 1300\n"
	"parallel: 4\n"
	"instances: 3\n"
	"vpn:\n"
	"  server: https://vpn.example.com:4443/staff\n"
	"  username: alice\n"
	"  password: correct horse\n"
	"  totp_file: totp\n"
	"  protocol: gp\n"
	"  servercert: [\"pin-sha256:AAAA\", \"sha256:00ff\"]\n"
	"  cafile: /etc/ssl/ca.pem\n"
	"  extra_args: [--authgroup, corp, \"--os=win\"]\n"
	"  max_auth_attempts: 1\n"
	"  connect_timeout: 2m\n"
	"routing: {mode: split, include: [10.50.0.0/16, 10.60.0.1, \"fd00::/8\"]}\n"
	"dns: {servers: [10.0.0.10, \"fd00::1\"], search: [corp.example, lab.example]}\n"
	"health: {tcp: \"[fd00::7]:8443\", interval: 500ms, timeout: 1, failures: 2, successes: "
	"4}\n"
	"backoff: {min: 2s, max: 1h}\n"
	"logging: {level: trace, directory: logs, max_size: 64K, keep: 0}\n";

static void test_file(void **state)
{
	_session_file_ struct session_file *f = parse(full);
	char text[CIDR_STRLEN];

	(void)state;
	assert_string_equal(f->path, "/etc/byway/s.yaml");
	assert_string_equal(f->group, "work");
	assert_string_equal(f->interface, "eth1");
	assert_string_equal(cidr_format(&f->subnet, text), "192.0.2.0/28");
	assert_false(f->nat);
	assert_int_equal(f->parallel, 4);
	assert_int_equal(f->logging.level, SESSION_LOG_TRACE);
	assert_string_equal(f->logging.directory, "/etc/byway/logs");
	assert_int_equal(f->logging.max_bytes, 65536);
	assert_int_equal(f->logging.keep, 0);
	assert_int_equal(f->n_sessions, 3);
	assert_string_equal(f->sessions[0].name, "work-1");
	assert_string_equal(f->sessions[2].name, "work-3");
}

static void assert_vpn(const struct session_spec *s)
{
	assert_string_equal(s->server, "https://vpn.example.com:4443/staff");
	assert_string_equal(s->username, "alice");
	assert_int_equal(s->password.kind, SECRET_TEXT);
	assert_string_equal(s->password.text, "correct horse");
	assert_string_equal(s->totp_file, "/etc/byway/totp");
	assert_string_equal(s->protocol, "gp");
	assert_int_equal(s->n_servercerts, 2);
	assert_string_equal(s->servercerts[1], "sha256:00ff");
	assert_string_equal(s->cafile, "/etc/ssl/ca.pem");
	assert_int_equal(s->n_extra_args, 3);
	assert_string_equal(s->extra_args[2], "--os=win");
	assert_int_equal(s->max_auth_attempts, 1);
	assert_int_equal(s->connect_timeout_ms, 120000);
}

static void assert_rest(const struct session_spec *s)
{
	char text[CIDR_STRLEN];

	assert_int_equal(s->mode, SESSION_SPLIT);
	assert_int_equal(s->n_include, 3);
	assert_string_equal(cidr_format(&s->include[1], text), "10.60.0.1/32");
	assert_string_equal(cidr_format(&s->include[2], text), "fd00::/8");
	assert_int_equal(s->n_dns, 2);
	assert_string_equal(ip_format(&s->dns[1], text), "fd00::1");
	assert_string_equal(s->search, "corp.example lab.example");
	assert_int_equal(s->health.probe, PROBE_TCP);
	assert_string_equal(s->health.host, "fd00::7");
	assert_int_equal(s->health.port, 8443);
	assert_int_equal(s->health.interval_ms, 500);
	assert_int_equal(s->health.timeout_ms, 1000);
	assert_int_equal(s->health.failures, 2);
	assert_int_equal(s->health.successes, 4);
	assert_int_equal(s->backoff_min_ms, 2000);
	assert_int_equal(s->backoff_max_ms, 3600000);
	assert_int_equal(s->mtu_bytes, 1300);
}

/* Each instance has all of it, and owns it. */
static void test_instances(void **state)
{
	_session_file_ struct session_file *f = parse(full);

	(void)state;
	for (size_t i = 0; i < f->n_sessions; i++) {
		assert_vpn(&f->sessions[i]);
		assert_rest(&f->sessions[i]);
	}
	assert_ptr_not_equal(f->sessions[0].password.text, f->sessions[1].password.text);
}

static void test_defaults(void **state)
{
	_session_file_ struct session_file *f = parse(HEAD);
	const struct session_spec *s = &f->sessions[1];

	(void)state;
	assert_string_equal(f->group, "s");
	assert_string_equal(f->interface, "");
	assert_true(f->nat);
	assert_int_equal(f->parallel, 16);
	assert_int_equal(f->logging.level, SESSION_LOG_INFO);
	assert_string_equal(f->logging.directory, "/var/log/byway");
	assert_int_equal(f->logging.max_bytes, 10 * 1024 * 1024);
	assert_int_equal(f->logging.keep, 3);
	assert_string_equal(s->name, "s-2");
	assert_null(s->username);
	assert_null(s->protocol);
	assert_int_equal(s->password.kind, SECRET_NONE);
	assert_int_equal(s->max_auth_attempts, 2);
	assert_int_equal(s->connect_timeout_ms, 60000);
	assert_int_equal(s->mode, SESSION_FULL);
	assert_int_equal(s->health.probe, PROBE_NONE);
	assert_int_equal(s->health.interval_ms, 30000);
	assert_int_equal(s->health.timeout_ms, 3000);
	assert_int_equal(s->health.failures, 3);
	assert_int_equal(s->health.successes, 1);
	assert_int_equal(s->backoff_min_ms, 1000);
	assert_int_equal(s->backoff_max_ms, 60000);
	assert_int_equal(s->mtu_bytes, 0);
}

static const char list[] =
	"subnet: 10.0.0.0/29\n"
	"sessions:\n"
	"- name: plain\n"
	"- name: other\n"
	"  vpn: {password_command: \"pass show $(hostname)\", extra_args: [], servercert: "
	"sha1:00}\n"
	"  routing: {mode: split}\n"
	"  health: {interval: 1s}\n"
	"  mtu: 1400\n"
	"- name: third.one\n"
	"  vpn: {server: \"[2001:db8::1]\", password_file: /run/pw}\n"
	"  routing: {include: []}\n"
	"  dns: {servers: [], search: [third.example]}\n"
	"  health: {dns: www.example}\n"
	"  backoff: {max: 5s}\n"
	"vpn: {server: vpn.example.com, password: secret, extra_args: [--no-dtls]}\n"
	"routing: {include: [10.0.0.0/8]}\n"
	"dns: {servers: [10.0.0.1], search: [first.example]}\n"
	"health: {ping: 10.0.0.1}\n"
	"mtu: 1300\n";

/* What the file says for all may stand behind them. */
static void test_list(void **state)
{
	_session_file_ struct session_file *f = parse(list);
	const struct session_spec *s = f->sessions;

	(void)state;
	assert_int_equal(f->n_sessions, 3);
	assert_string_equal(s[0].name, "plain");
	assert_string_equal(s[0].password.text, "secret");
	assert_string_equal(s[0].extra_args[0], "--no-dtls");
	assert_int_equal(s[0].health.probe, PROBE_PING);
	assert_int_equal(s[0].health.interval_ms, 30000);
	assert_int_equal(s[0].mtu_bytes, 1300);

	assert_string_equal(s[1].server, "vpn.example.com");
	assert_int_equal(s[1].password.kind, SECRET_COMMAND);
	assert_string_equal(s[1].password.text, "pass show $(hostname)");
	assert_int_equal(s[1].n_extra_args, 0);
	assert_int_equal(s[1].n_servercerts, 1);
	assert_int_equal(s[1].mode, SESSION_SPLIT);
	assert_int_equal(s[1].n_include, 1);
	assert_int_equal(s[1].health.probe, PROBE_PING);
	assert_int_equal(s[1].health.interval_ms, 1000);
	assert_int_equal(s[1].mtu_bytes, 1400);

	assert_string_equal(s[2].server, "[2001:db8::1]");
	assert_int_equal(s[2].password.kind, SECRET_FILE);
	assert_string_equal(s[2].password.text, "/run/pw");
	assert_int_equal(s[2].n_servercerts, 0);
	assert_int_equal(s[2].n_include, 0);
	assert_int_equal(s[2].n_dns, 0);
	assert_string_equal(s[2].search, "third.example");
	assert_int_equal(s[2].health.probe, PROBE_DNS);
	assert_string_equal(s[2].health.host, "www.example");
	assert_int_equal(s[2].backoff_min_ms, 1000);
	assert_int_equal(s[2].backoff_max_ms, 5000);
	assert_int_equal(s[2].mtu_bytes, 1300);
}

static void test_count(void **state)
{
	_session_file_ struct session_file *f = parse_count(HEAD, 5);
	_session_file_ struct session_file *g =
		parse_count("subnet: 10.0.0.0/24\nvpn: {server: a}\n", 1);

	(void)state;
	assert_int_equal(f->n_sessions, 5);
	assert_int_equal(g->n_sessions, 1);
	assert_bad_count(
		LIST "- name: a\n", 1,
		"s.yaml:4:1: the file lists its sessions: their number cannot be another one");
	assert_bad_count(HEAD, 255,
			 "s.yaml:1:9: 10.0.0.0/24 has 254 addresses, too few for 255 sessions");
	assert_bad_count(HEAD, SESSIONS_MAX + 1, "at most 1024 sessions, not 1025");
}

static void assert_group(const char *path, const char *group)
{
	char name[NAME_MAX_LEN];

	session_group_of(path, name);
	assert_string_equal(name, group);
}

static void test_group(void **state)
{
	char longest[PATH_MAX], group[NAME_MAX_LEN];

	(void)state;
	assert_group("/etc/byway/work.yaml", "work");
	assert_group("work.yaml", "work");
	assert_group("a.b/c.d.yml", "c.d");
	assert_group("a.b/work", "work");
	assert_group("-", "-");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	session_group_of(longest, group);
	assert_int_equal(strlen(group), NAME_MAX_LEN - 1);
}

static void test_group_is_no_name(void **state)
{
	struct session_file *f = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(session_file_parse("-", HEAD, strlen(HEAD), 0, &f, &err), -EINVAL);
	assert_string_equal(err.msg, "-:1:1: the file's own name is none for its sessions: give it "
				     "the key \"name\"");
}

/* ---- variables ---- */

static void test_variables(void **state)
{
	_session_file_ struct session_file *f = NULL;

	(void)state;
	setenv("WHO", "bob", 1);
	setenv("N", "3", 1);
	setenv("YES", "true", 1);
	setenv("NET", "10.1", 1);
	f = parse("name: ${WHO}\nsubnet: ${NET}.0.0/24\ninstances: ${N}\nnat: ${YES}\n"
		  "vpn: {server: \"${WHO}.example\", username: \"$$${WHO}$${WHO}$5${WHO}$\",\n"
		  "  extra_args: [\"--user-agent=${WHO}\"], connect_timeout: \"${N}m\"}\n"
		  "routing: {mode: full}\nlogging: {max_size: \"${N}M\", level: info}\n");
	assert_string_equal(f->sessions[2].name, "bob-3");
	assert_string_equal(f->sessions[0].server, "bob.example");
	assert_string_equal(f->sessions[0].username, "$bob${WHO}$5bob$");
	assert_string_equal(f->sessions[0].extra_args[0], "--user-agent=bob");
	assert_int_equal(f->sessions[0].connect_timeout_ms, 180000);
	assert_int_equal(f->logging.max_bytes, 3 << 20);
	assert_string_equal(getenv("WHO"), "bob"); /* no password's */
}

#define NO_VARIABLE                                                                                \
	"has a \"${\" that is not the beginning of a variable, \"${NAME}\": write \"$$\" for a "   \
	"\"$\""

static void test_bad_variables(void **state)
{
	_free_ char *big = xcalloc(1, 5000);

	(void)state;
	unsetenv("NONE");
	setenv("EMPTY", "", 1);
	setenv("LINES", "a\nb", 1);
	setenv("LATIN", "caf\xe9", 1);
	memset(big, 'x', 4999);
	setenv("BIG", big, 1);
	assert_bad(VPN "  password: ${NONE}\n",
		   "s.yaml:5:13: the environment has no variable NONE");
	assert_bad(VPN "  password: \"${EMPTY}\"\n", "s.yaml:5:13: a password is empty");
	assert_bad(VPN "  password: ${LINES}\n",
		   "s.yaml:5:13: a password is one line, without an end of line");
	assert_bad(VPN "  username: ${LINES}\n",
		   "s.yaml:5:13: a user's name has a control character");
	assert_bad(VPN "  username: ${LATIN}\n", "s.yaml:5:13: a user's name is not UTF-8");
	assert_bad(VPN "  password: a${BIG}\n",
		   "s.yaml:5:13: a password is longer than 4096 bytes");
	assert_bad(VPN "  username: a${\n", "s.yaml:5:13: a user's name " NO_VARIABLE);
	assert_bad(VPN "  username: \"${}\"\n", "s.yaml:5:13: a user's name " NO_VARIABLE);
	assert_bad(VPN "  username: \"${A:-b}\"\n", "s.yaml:5:13: a user's name " NO_VARIABLE);
	assert_bad(VPN "  username: \"${1A}\"\n", "s.yaml:5:13: a user's name " NO_VARIABLE);
	assert_bad("subnet: ${BIG}\n", "s.yaml:1:9: the subnet is longer than 4096 bytes");
	setenv("BIG", "1000000", 1);
	assert_bad("instances: ${BIG}\n",
		   "s.yaml:1:12: \"instances\" is a number from 1 to 1024, not 1000000");
}

/* ---- secrets ---- */

/* The secret, whose plain text is nowhere in the program. */
#define SECRET_LEN 24
#define MASK 0x55
static const unsigned char masked[SECRET_LEN] = {
	0x1a, 0x3d, 0x7a, 0x24, 0x62, 0x12, 0x38, 0x1e, 0x65, 0x2f, 0x0c, 0x21,
	0x67, 0x27, 0x1b, 0x23, 0x60, 0x3f, 0x0d, 0x34, 0x66, 0x3e, 0x19, 0x31,
};

static void unmask(char text[SECRET_LEN + 1])
{
	for (size_t i = 0; i < SECRET_LEN; i++)
		text[i] = (char)(masked[i] ^ MASK);
	text[SECRET_LEN] = '\0';
}

/* How often the last third of the secret (allocators write to the beginning of what is freed) is in
 * bytes; compared masked. */
static size_t count_in(const unsigned char *bytes, size_t len)
{
	const size_t skip = SECRET_LEN * 2 / 3;
	size_t n = 0;

	for (size_t i = 0; i + SECRET_LEN <= len + skip; i++) {
		size_t k = skip;

		while (k < SECRET_LEN && i + k - skip < len &&
		       (bytes[i + k - skip] ^ MASK) == masked[k])
			k++;
		n += k == SECRET_LEN;
	}
	return n;
}

/* In what this process can write to, up to regions of a size that only sanitizers have. */
static size_t count_in_memory(void)
{
	enum { REGION_MAX = 64 << 20 };
	_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	_close_ int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned char *bytes = malloc(REGION_MAX);
	char line[512], mode[5];
	size_t n = 0;

	assert_non_null(maps);
	assert_non_null(bytes);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long lo, hi;
		ssize_t got;

		if (sscanf(line, "%lx-%lx %4s", &lo, &hi, mode) != 3 || mode[1] != 'w' ||
		    hi - lo > REGION_MAX ||
		    ((unsigned long)bytes >= lo && (unsigned long)bytes < hi))
			continue;
		got = pread(mem, bytes, hi - lo, (off_t)lo);
		if (got > 0)
			n += count_in(bytes, (size_t)got);
	}
	free(bytes);
	return n;
}

static const char *temporary_file(const char *text)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/test_session_file.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

static struct session_file *read_and_remove(const char *path)
{
	struct session_file *f = NULL;
	struct err err = {0};
	int r = session_file_read(path, 0, &f, &err);

	unlink(path);
	if (r < 0)
		fail_msg("%s", err.msg);
	return f;
}

/* In each way of writing it, one after another. */
static void test_wiped_text(void **state)
{
	static const char *const forms[] = {
		"%s", "'%s'", "\"%s\"", "\"%s\\x21\"", "|-\n    %s", ">-\n    %s",
	};
	char secret[SECRET_LEN + 1], text[256], form[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct session_file *f;
		const char *path;

		unmask(secret);
		snprintf(form, sizeof(form), VPN "  password: %s\n", forms[i]);
		snprintf(text, sizeof(text), form, secret);
		path = temporary_file(text);
		explicit_bzero(text, sizeof(text));
		f = read_and_remove(path);
		assert_memory_equal(f->sessions[1].password.text, secret, SECRET_LEN);
		explicit_bzero(secret, sizeof(secret));
		/* Nowhere but in the two sessions: the search finds what is there. */
		assert_int_equal(count_in_memory(), 2);
		session_file_free(f);
		assert_int_equal(count_in_memory(), 0);
	}
}

/* In memory of our own: setenv() leaves copies. */
static char *set_variable(const char *secret)
{
	static char variable[64];

	snprintf(variable, sizeof(variable), "VPN_PASSWORD=%s", secret);
	assert_int_equal(putenv(variable), 0);
	return getenv("VPN_PASSWORD");
}

static void test_wiped_variable(void **state)
{
	char secret[SECRET_LEN + 1], *value;
	struct session_file *f;

	(void)state;
	unmask(secret);
	value = set_variable(secret);
	f = read_and_remove(
		temporary_file(LIST "- {name: a, vpn: {password: \"${VPN_PASSWORD}\"}}\n"
				    "- {name: b, vpn: {password: \"${VPN_PASSWORD}\"}}\n"
				    "- {name: c, vpn: {password: \"<${VPN_PASSWORD}>\"}}\n"));
	assert_string_equal(f->sessions[0].password.text, secret);
	assert_string_equal(f->sessions[1].password.text, secret);
	assert_int_equal(f->sessions[2].password.text[0], '<');
	explicit_bzero(secret, sizeof(secret));
	assert_null(getenv("VPN_PASSWORD"));
	assert_string_equal(value, "");
	assert_int_equal(count_in_memory(), 3);
	session_file_free(f);
	assert_int_equal(count_in_memory(), 0);
}

/* A file that is wrong takes nothing from who corrects it and reads it again. */
static void test_wiped_bad_file(void **state)
{
	static const char text[] = VPN "  password: ${VPN_PASSWORD}\nmtu: 1\n";
	struct session_file *f = NULL;
	char secret[SECRET_LEN + 1], *value;

	(void)state;
	unmask(secret);
	value = set_variable(secret);
	explicit_bzero(secret, sizeof(secret));
	assert_int_equal(session_file_parse("s.yaml", text, strlen(text), 0, &f, NULL), -EINVAL);
	assert_int_equal(count_in_memory(), 1);
	assert_ptr_equal(getenv("VPN_PASSWORD"), value);
	assert_int_equal(strlen(value), SECRET_LEN);
	unsetenv("VPN_PASSWORD");
	explicit_bzero(value, SECRET_LEN);
}

/* ---- what is refused ---- */

static void test_bad_keys(void **state)
{
	(void)state;
	assert_bad("", "s.yaml:1:1: the file is a mapping of keys to values");
	assert_bad("- a\n", "s.yaml:1:1: the file is a mapping of keys to values");
	assert_bad("# nothing\ninstances: 1\n", "s.yaml:2:1: the file needs the key \"subnet\"");
	assert_bad("subnet: 10.0.0.0/24\nvpn: {server: a}\n",
		   "s.yaml:1:1: the file needs the key \"instances\" or \"sessions\"");
	assert_bad("subnet: 10.0.0.0/24\ninstances: 1\n",
		   "s.yaml:1:1: the file needs the key \"server\" in \"vpn\"");
	assert_bad(HEAD "instance: 1\n",
		   "s.yaml:4:1: the file has no key \"instance\": did you mean \"instances\"?");
	assert_bad(HEAD "server: a\n",
		   "s.yaml:4:1: the file has no key \"server\": its keys are name, interface, "
		   "subnet, instances, sessions, nat, parallel, logging, vpn, routing, dns, "
		   "health, backoff, mtu");
	assert_bad(VPN "  pasword: a\n",
		   "s.yaml:5:3: \"vpn\" has no key \"pasword\": did you mean \"password\"?");
	assert_bad(HEAD "routing: {includes: []}\n",
		   "s.yaml:4:11: \"routing\" has no key \"includes\": did you mean \"include\"?");
	assert_bad(HEAD "dns: {server: []}\n",
		   "s.yaml:4:7: \"dns\" has no key \"server\": did you mean \"servers\"?");
	assert_bad(HEAD "health: {pnig: 10.0.0.1}\n",
		   "s.yaml:4:10: \"health\" has no key \"pnig\": did you mean \"ping\"?");
	assert_bad(HEAD "backoff: {minimum: 1}\n",
		   "s.yaml:4:11: \"backoff\" has no key \"minimum\": its keys are min, max");
	assert_bad(HEAD "logging: {levle: info}\n",
		   "s.yaml:4:11: \"logging\" has no key \"levle\": did you mean \"level\"?");
	assert_bad(LIST "- {name: a, nat: true}\n",
		   "s.yaml:4:13: a session has no key \"nat\": did you mean \"name\"?");
	assert_bad(HEAD "mtu: 1300\nmtu: 1400\n", "s.yaml:5:1: \"mtu\" is given twice");
	assert_bad(HEAD "vpn:\n", "s.yaml:4:1: \"vpn\" is given twice");
	assert_bad("subnet: 10.0.0.0/24\nvpn:\n",
		   "s.yaml:2:1: \"vpn\" is a mapping of keys to values");
	assert_bad("subnet: [\n", "s.yaml:2:1: flow sequence without a closing bracket");
}

static void test_bad_file(void **state)
{
	(void)state;
	assert_bad("name: a b\n",
		   "s.yaml:1:7: 'a b' is not a name for a group of sessions: a letter or digit, "
		   "then letters, digits, '.', '_' or '-', at most 63 characters");
	assert_bad("interface: a/b\n", "s.yaml:1:12: \"a/b\" is not an interface's name");
	assert_bad("interface: abcdefghijklmnop\n",
		   "s.yaml:1:12: an interface's name is longer than 15 bytes");
	assert_bad(
		"subnet: 10.0.0\n",
		"s.yaml:1:9: '10.0.0' is not a CIDR: expected ADDRESS/PREFIX such as 10.0.0.0/16");
	assert_bad("subnet: 10.0.0.1/24\n",
		   "s.yaml:1:9: '10.0.0.1/24' has host bits set; the network is 10.0.0.0/24");
	assert_bad("subnet: fd00::/64\n",
		   "s.yaml:1:9: the subnet is an IPv4 network, not fd00::/64");
	assert_bad("subnet: 127.0.0.0/24\n",
		   "s.yaml:1:9: 127.0.0.0/24 overlaps with loopback (RFC 1122)");
	assert_bad("subnet: 10.0.0.0/30\ninstances: 3\n",
		   "s.yaml:1:9: 10.0.0.0/30 has 2 addresses, too few for 3 sessions");
	assert_bad("subnet: 10.0.0.0/32\nvpn: {server: a}\nsessions: [{name: a}, {name: b}]\n",
		   "s.yaml:1:9: 10.0.0.0/32 has 1 addresses, too few for 2 sessions");
	assert_bad("instances: 0\n",
		   "s.yaml:1:12: \"instances\" is a number from 1 to 1024, not 0");
	assert_bad("instances: four\n",
		   "s.yaml:1:12: \"instances\" is a number from 1 to 1024, not four");
	assert_bad("nat: maybe\n", "s.yaml:1:6: \"nat\" is false or true, not \"maybe\"");
	assert_bad("nat: 1\n", "s.yaml:1:6: \"nat\" is true or false");
	assert_bad("mtu: 500\n", "s.yaml:1:6: \"mtu\" is a number from 576 to 65535, not 500");
	assert_bad("parallel: 0\n", "s.yaml:1:11: \"parallel\" is a number from 1 to 1024, not 0");
	assert_bad("name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg\n" HEAD,
		   "s.yaml:1:1: the name "
		   "\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg\" is too long "
		   "for 2 sessions: give the file a shorter one with the key \"name\"");
}

static void test_bad_logging(void **state)
{
	(void)state;
	assert_bad("logging: {level: warn}\n",
		   "s.yaml:1:18: a level is error, info, debug or trace, not \"warn\"");
	assert_bad("logging: {directory: \"\"}\n", "s.yaml:1:22: the directory is empty");
	assert_bad("logging: {max_size: 1K}\n",
		   "s.yaml:1:21: \"max_size\" is from 4K to 1G, not \"1K\"");
	assert_bad("logging: {max_size: 10MB}\n",
		   "s.yaml:1:21: \"max_size\" is from 4K to 1G, not \"10MB\"");
	assert_bad("logging: {keep: -1}\n",
		   "s.yaml:1:17: \"keep\" is a number from 0 to 100, not -1");
}

static void test_bad_vpn(void **state)
{
	(void)state;
	assert_bad("vpn: {server: \"--script=x\"}\n",
		   "s.yaml:1:15: a server is a name, an address or a URL, not \"--script=x\"");
	assert_bad("vpn: {server: a b}\n",
		   "s.yaml:1:15: a server is a name, an address or a URL, not \"a b\"");
	assert_bad("vpn: {server: }\n", "s.yaml:1:7: a server is a string or a number");
	assert_bad(VPN "  password: {a: b}\n", "s.yaml:5:13: a password is a string or a number");
	assert_bad(VPN "  password: \"a\\nb\"\n",
		   "s.yaml:5:13: a password is one line, without an end of line");
	assert_bad(VPN "  password: a\n  password_file: b\n",
		   "s.yaml:6:18: \"password\" and \"password_file\" exclude each other");
	assert_bad(VPN "  password_file: a\n  password_command: b\n",
		   "s.yaml:6:21: \"password_file\" and \"password_command\" exclude each other");
	assert_bad(VPN "  password_command: a\n  password: b\n",
		   "s.yaml:6:13: \"password_command\" and \"password\" exclude each other");
	assert_bad(VPN "  protocol: pptp\n",
		   "s.yaml:5:13: a protocol is anyconnect, nc, gp, pulse, f5, fortinet or array, "
		   "not \"pptp\"");
	assert_bad(VPN "  servercert: abc\n",
		   "s.yaml:5:15: a pin begins with \"pin-sha256:\", \"sha256:\" or \"sha1:\", not "
		   "\"abc\"");
	assert_bad(VPN "  servercert: [\"sha1:00\", 7]\n",
		   "s.yaml:5:27: a pin begins with \"pin-sha256:\", \"sha256:\" or \"sha1:\", not "
		   "\"7\"");
	assert_bad(VPN "  servercert: 7\n", "s.yaml:5:15: \"servercert\" is a list");
	assert_bad(VPN "  max_auth_attempts: 101\n",
		   "s.yaml:5:22: \"max_auth_attempts\" is a number from 0 to 100, not 101");
	assert_bad(VPN "  connect_timeout: 500ms\n",
		   "s.yaml:5:20: \"connect_timeout\" is from 1s to 1h, not \"500ms\"");
	assert_bad(VPN "  connect_timeout: 1d\n",
		   "s.yaml:5:20: \"connect_timeout\" is from 1s to 1h, not \"1d\"");
	assert_bad(
		VPN "  connect_timeout: 99999999999999999999\n",
		"s.yaml:5:20: \"connect_timeout\" is from 1s to 1h, not \"99999999999999999999\"");
}

/* Which arguments these are is openconnect_refuses()'s; that the message names no more of one than
 * the option, and where, is ours. */
static void test_bad_extra_args(void **state)
{
	struct session_file *f = NULL;
	struct err err = {0};
	static const char text[] = VPN "  extra_args:\n  - --authgroup\n  - corp\n"
				       "  - --script=/bin/hunter2\n  - --no-dtls\n";
	static const char last[] = VPN "  extra_args: [--no-dtls, --script]\n";

	(void)state;
	assert_bad(VPN "  extra_args: --no-dtls\n", "s.yaml:5:15: \"extra_args\" is a list");
	assert_bad(VPN "  extra_args: [\"\"]\n",
		   "s.yaml:5:16: an argument of openconnect is empty");
	assert_int_equal(session_file_parse("s.yaml", text, strlen(text), 0, &f, &err), -EINVAL);
	assert_ptr_equal(strstr(err.msg, "s.yaml:8:5: \"--script\" "), err.msg);
	assert_null(strstr(err.msg, "hunter2"));
	assert_int_equal(session_file_parse("s.yaml", last, strlen(last), 0, &f, &err), -EINVAL);
	assert_ptr_equal(strstr(err.msg, "s.yaml:5:27: \"--script\" "), err.msg);
}

static void test_bad_routing(void **state)
{
	(void)state;
	assert_bad("routing: {mode: half}\n", "s.yaml:1:17: a mode is full or split, not \"half\"");
	assert_bad("routing: {include: 10.0.0.0/8}\n", "s.yaml:1:20: \"include\" is a list");
	assert_bad("routing: {include: [10.0.0.1/8]}\n",
		   "s.yaml:1:21: '10.0.0.1/8' has host bits set; the network is 10.0.0.0/8");
	assert_bad("dns: {servers: [dns.example]}\n",
		   "s.yaml:1:17: 'dns.example' is not an IPv4 or IPv6 address");
	assert_bad("dns: {servers: [::1, ::1, ::1, ::1, ::1, ::1, ::1, ::1, ::1]}\n",
		   "s.yaml:1:57: \"servers\" has more than 8 entries");
	assert_bad("dns: {search: [\"a b\"]}\n",
		   "s.yaml:1:16: a search domain is a domain name, not \"a b\"");
	assert_bad("dns: {search: [ok.example, .a]}\n",
		   "s.yaml:1:28: a search domain is a domain name, not \".a\"");
}

#define ENDPOINT                                                                                   \
	"what to connect to is an address with a port, \"192.0.2.1:80\" or \"[2001:db8::1]:80\""

static void test_bad_health(void **state)
{
	(void)state;
	assert_bad("health: {}\n",
		   "s.yaml:1:9: \"health\" needs one of the keys \"ping\", \"tcp\" and \"dns\"");
	assert_bad("health: {ping: 10.0.0.1, tcp: \"10.0.0.1:80\"}\n",
		   "s.yaml:1:31: \"ping\" and \"tcp\" exclude each other");
	assert_bad("health: {dns: a, ping: 10.0.0.1}\n",
		   "s.yaml:1:24: \"dns\" and \"ping\" exclude each other");
	assert_bad("health: {ping: host}\n", "s.yaml:1:16: 'host' is not an IPv4 or IPv6 address");
	assert_bad("health: {tcp: 10.0.0.1}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \"10.0.0.1:0\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \"10.0.0.1:65536\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \"fd00::1:80\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \"host:80\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \"]:80\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {tcp: \":80\"}\n", "s.yaml:1:15: " ENDPOINT);
	assert_bad("health: {dns: a..b}\n",
		   "s.yaml:1:15: the name to look up is a domain name, not \"a..b\"");
	assert_bad("health: {dns: a, interval: 50ms}\n",
		   "s.yaml:1:28: \"interval\" is from 100ms to 1h, not \"50ms\"");
	assert_bad("health: {dns: a, timeout: 2m}\n",
		   "s.yaml:1:27: \"timeout\" is from 100ms to 1m, not \"2m\"");
	assert_bad("health: {dns: a, failures: 0}\n",
		   "s.yaml:1:28: \"failures\" is a number from 1 to 100, not 0");
	assert_bad("health: {dns: a, successes: 0}\n",
		   "s.yaml:1:29: \"successes\" is a number from 1 to 100, not 0");
	assert_bad("backoff: {min: 2m}\n",
		   "s.yaml:1:10: \"backoff\" has a min of 120000 ms, above its max of 60000 ms");
}

static void test_bad_sessions(void **state)
{
	(void)state;
	assert_bad(HEAD "sessions: [{name: a}]\n",
		   "s.yaml:4:11: \"instances\" and \"sessions\" exclude each other");
	assert_bad(LIST "- name: a\ninstances: 1\n",
		   "s.yaml:5:12: \"instances\" and \"sessions\" exclude each other");
	assert_bad("sessions: []\n", "s.yaml:1:11: \"sessions\" is empty");
	assert_bad("sessions: 4\n", "s.yaml:1:11: \"sessions\" is a list");
	assert_bad("sessions:\nnat: true\n", "s.yaml:1:1: \"sessions\" is a list");
	assert_bad(LIST "- mtu: 1300\n", "s.yaml:4:3: a session needs the key \"name\"");
	assert_bad(LIST "- a\n", "s.yaml:4:3: a session is a mapping of keys to values");
	assert_bad(LIST "- name: a\n- name: b\n- name: a\n",
		   "s.yaml:6:9: there are two sessions named \"a\"");
	assert_bad(LIST "- name: a/b\n",
		   "s.yaml:4:9: 'a/b' is not a name for a session: a letter or digit, then "
		   "letters, digits, '.', '_' or '-', at most 63 characters");
	assert_bad(LIST "- name: a.out\n",
		   "s.yaml:4:9: a session's name does not end in \".out\": that is how the "
		   "namespaces of openconnect are called");
	assert_bad("subnet: 10.0.0.0/24\nsessions:\n- {name: a, vpn: {server: a}}\n- name: b\n",
		   "s.yaml:4:3: session b needs the key \"server\" in \"vpn\"");
	assert_bad(LIST "- {name: a, backoff: {max: 500ms}}\n",
		   "s.yaml:4:22: \"backoff\" has a min of 1000 ms, above its max of 500 ms");
	assert_bad(LIST "- {name: a, health: {interval: 1s}}\n",
		   "s.yaml:4:21: \"health\" needs one of the keys \"ping\", \"tcp\" and \"dns\"");
}

/* ---- files ---- */

static void test_no_file(void **state)
{
	struct session_file *f = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(session_file_read("/nonexistent.yaml", 0, &f, &err), -ENOENT);
	assert_string_equal(err.msg, "cannot read /nonexistent.yaml: No such file or directory");
	session_file_free(NULL);
}

/* A link is followed for paths; the group is named as the file was. */
static void test_path(void **state)
{
	_session_file_ struct session_file *f = NULL;
	const char *path = temporary_file(VPN "  cafile: ca.pem\n");
	char link[80];

	(void)state;
	snprintf(link, sizeof(link), "%s-link.yaml", path);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(session_file_read(link, 0, &f, NULL), 0);
	unlink(link);
	unlink(path);
	assert_string_equal(f->path, path);
	assert_string_equal(f->sessions[0].cafile, "/tmp/ca.pem");
	assert_memory_equal(f->group, "test_session_file.", 18);
}

static struct session_file *read_example(const char *name)
{
	_free_ char *path = xasprintf("%s/%s", EXAMPLES, name);
	struct session_file *f = NULL;
	struct err err = {0};

	setenv("VPN_PASSWORD", "secret", 1);
	if (session_file_read(path, 0, &f, &err) < 0)
		fail_msg("%s", err.msg);
	return f;
}

static void test_octotunnel(void **state)
{
	_session_file_ struct session_file *f = read_example("octotunnel.yaml");
	const struct session_spec *s = &f->sessions[3];
	char text[CIDR_STRLEN];

	(void)state;
	assert_string_equal(f->group, "octotunnel");
	assert_string_equal(f->interface, "eth0");
	assert_string_equal(cidr_format(&f->subnet, text), "10.20.30.0/24");
	assert_string_equal(f->logging.directory, "/var/log/octotunnel");
	assert_int_equal(f->n_sessions, 4);
	assert_string_equal(s->name, "octotunnel-4");
	assert_string_equal(s->server, "vpn.example.com");
	assert_string_equal(s->username, "alice");
	assert_string_equal(s->password.text, "secret");
	assert_string_equal(s->protocol, "anyconnect");
	assert_int_equal(s->n_extra_args, 2);
	assert_string_equal(s->extra_args[1], "corp");
	assert_int_equal(s->mode, SESSION_FULL);
	assert_int_equal(s->n_include, 1);
	assert_int_equal(s->n_dns, 2);
}

static void test_examples(void **state)
{
	_session_file_ struct session_file *f = read_example("sessions.yaml");

	(void)state;
	assert_true(f->n_sessions > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_group_is_no_name),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_bad_variables),
		cmocka_unit_test(test_wiped_text),
		cmocka_unit_test(test_wiped_variable),
		cmocka_unit_test(test_wiped_bad_file),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_bad_file),
		cmocka_unit_test(test_bad_logging),
		cmocka_unit_test(test_bad_vpn),
		cmocka_unit_test(test_bad_extra_args),
		cmocka_unit_test(test_bad_routing),
		cmocka_unit_test(test_bad_health),
		cmocka_unit_test(test_bad_sessions),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_octotunnel),
		cmocka_unit_test(test_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
