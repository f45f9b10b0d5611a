// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "session/openconnect.h"

/* ---- what openconnect says ---- */

#define HELLO                                                                                      \
	"POST https://vpn.test:4443/\n"                                                            \
	"Connected to 203.0.113.10:4443\n"                                                         \
	"SSL negotiation with vpn.test\n"
#define TRUSTED                                                                                    \
	HELLO "Connected to HTTPS on vpn.test with ciphersuite (TLS1.3)-(ECDHE-SECP256R1)\n"       \
	      "XML POST enabled\n"                                                                 \
	      "POST https://vpn.test:4443/auth\n"                                                  \
	      "Please enter your username.\n"                                                      \
	      "Please enter your password.\n"
#define UP                                                                                         \
	TRUSTED                                                                                    \
	"Got CONNECT response: HTTP/1.1 200 CONNECTED\n"                                           \
	"CSTP connected. DPD 5, Keepalive 30\n"                                                    \
	"Established DTLS connection (using GnuTLS). Ciphersuite (DTLS1.2)-(PSK)-(AES-256-GCM).\n" \
	"Configured as 10.99.63.50 + fd99::1/128, with SSL connected and DTLS connected\n"
#define NO_CONNECTION                                                                              \
	"Failed to open HTTPS connection to vpn.test\n"                                            \
	"Failed to complete authentication\n"

/* openconnect 9.01 with GnuTLS and ocserv 1.1.6, where nothing else is said. */
static const struct transcript {
	const char *name, *text;
	int status;
	enum end_class class;
	const char *reason;
	bool authenticated, dtls;
} transcripts[] = {
	{"wrong password, and wrong user",
	 TRUSTED "Login failed.\nPlease enter your password.\nPassword:\n***\n"
		 "User input required in non-interactive mode\nFailed to complete authentication\n",
	 1, END_AUTH, "Login failed."},
	{"a server with words of its own",
	 TRUSTED "Nein.\nPassword:***\nUser input required in non-interactive mode\n"
		 "Failed to complete authentication\n",
	 1, END_AUTH, "User input required in non-interactive mode"},
	{"nothing that is known",
	 TRUSTED "Failed to parse server response\n"
		 "Failed to complete authentication\n",
	 1, END_AUTH, "Failed to complete authentication"},
	{"unknown authority",
	 HELLO "Server certificate verify failed: signer not found\n\n"
	       "Certificate from VPN server \"vpn.test\" failed verification.\n"
	       "Reason: signer not found\n"
	       "To trust this server in future, perhaps add this to your command line:\n"
	       "    --servercert pin-sha256:YTIgKhdeUlghH1nJIZywbKwlbR/YWiZKT/UkFAvVDlU=\n"
	       "SSL connection failure: Error in the certificate.\n" NO_CONNECTION,
	 1, END_CERTIFICATE, "Server certificate verify failed: signer not found"},
	{"unknown authority, OpenSSL",
	 HELLO "Server certificate verify failed: self signed certificate in certificate chain\n"
	       "SSL connection failure\n"
	       "139877:error:1416F086:SSL routines:certificate verify "
	       "failed:statem_clnt.c:1921:\n" NO_CONNECTION,
	 1, END_CERTIFICATE,
	 "Server certificate verify failed: self signed certificate in certificate chain"},
	{"expired",
	 HELLO "Server certificate verify failed: certificate expired\n"
	       "SSL connection failure: Error in the certificate.\n" NO_CONNECTION,
	 1, END_CERTIFICATE, "Server certificate verify failed: certificate expired"},
	{"another host's",
	 HELLO "Server certificate verify failed: certificate does not match hostname\n"
	       "SSL connection failure: Error in the certificate.\n" NO_CONNECTION,
	 1, END_CERTIFICATE,
	 "Server certificate verify failed: certificate does not match hostname"},
	{"wrong pin",
	 HELLO
	 "Server certificate verify failed: signer not found\n"
	 "None of the 1 fingerprint(s) specified via --servercert match server's certificate: "
	 "pin-sha256:Un9w\n"
	 "SSL connection failure: Error in the certificate.\n" NO_CONNECTION,
	 1, END_CERTIFICATE,
	 "None of the 1 fingerprint(s) specified via --servercert match server's certificate: "
	 "pin-sha256:Un9w"},
	{"wrong pin, before 8.20",
	 HELLO "Server SSL certificate didn't match: pin-sha256:Un9w\n"
	       "SSL connection failure: Error in the certificate.\n"
	       "Failed to open HTTPS connection to vpn.test\nFailed to obtain WebVPN cookie\n",
	 1, END_CERTIFICATE, "Server SSL certificate didn't match: pin-sha256:Un9w"},
	{"right pin of an unknown authority",
	 HELLO "Server certificate verify failed: signer not found\n"
	       "Connected to HTTPS on vpn.test with ciphersuite (TLS1.3)-(ECDHE-SECP256R1)\n",
	 1, END_CRASHED, "openconnect exited with status 1"},
	{"no such file of authorities",
	 "Connected to 203.0.113.10:4443\n"
	 "Failed to open CA file '/nonexistent': Error while reading file.\n" NO_CONNECTION,
	 1, END_CERTIFICATE, "Failed to open CA file '/nonexistent': Error while reading file."},
	{"refused",
	 "Failed to connect to 203.0.113.10:4444: Connection refused\n"
	 "Failed to connect to host vpn.test\n" NO_CONNECTION,
	 1, END_UNREACHABLE, "Failed to connect to 203.0.113.10:4444: Connection refused"},
	{"no route",
	 "Failed to connect to 198.51.100.1:4443: No route to host\n"
	 "Failed to connect to host 198.51.100.1\n" NO_CONNECTION,
	 1, END_UNREACHABLE, "Failed to connect to 198.51.100.1:4443: No route to host"},
	{"no such name",
	 "getaddrinfo failed for host 'vpn.test': Temporary failure in name "
	 "resolution\n" NO_CONNECTION,
	 1, END_UNREACHABLE,
	 "getaddrinfo failed for host 'vpn.test': Temporary failure in name resolution"},
	{"one address of two answers",
	 "Failed to connect to 2001:db8::1:4443: Network is unreachable\n" TRUSTED
	 "Login failed.\nUser input required in non-interactive mode\n",
	 1, END_AUTH, "Login failed."},
	{"closed at once: banned, or too many clients",
	 HELLO
	 "SSL connection failure: The TLS connection was non-properly terminated.\n" NO_CONNECTION,
	 1, END_REFUSED, "SSL connection failure: The TLS connection was non-properly terminated."},
	{"not a server for TLS",
	 HELLO "SSL connection failure: An unexpected TLS packet was received.\n" NO_CONNECTION, 1,
	 END_REFUSED, "SSL connection failure: An unexpected TLS packet was received."},
	{"in maintenance",
	 TRUSTED "Unexpected 503 result from server\n"
		 "Failed to complete authentication\n",
	 1, END_REFUSED, "Unexpected 503 result from server"},
	{"too many clients of the user, or the server's script",
	 TRUSTED "Got inappropriate HTTP CONNECT response: HTTP/1.1 401 Cookie is not acceptable\n"
		 "Creating SSL connection failed\nCookie was rejected by server; exiting.\n",
	 2, END_REFUSED,
	 "Got inappropriate HTTP CONNECT response: HTTP/1.1 401 Cookie is not acceptable"},
	{"disconnected by the server, and session timeout",
	 UP "Received server disconnect\nSend BYE packet: Server request\n"
	    "Session terminated by server; exiting.\n",
	 1, END_REFUSED, "Received server disconnect", true, true},
	{"server killed",
	 UP "Read error on SSL session: The TLS connection was non-properly terminated.\n"
	    "Failed to reconnect to host vpn.test: Connection refused\n"
	    "sleep 10s, remaining timeout 5s\n"
	    "Failed to reconnect to host vpn.test: Connection refused\n"
	    "Reconnect failed\nCSTP reconnect failed; exiting\n",
	 1, END_UNREACHABLE, "Failed to reconnect to host vpn.test: Connection refused", true,
	 true},
	{"server killed and started",
	 UP "Read error on SSL session: The TLS connection was non-properly terminated.\n"
	    "Failed to reconnect to host vpn.test: Connection refused\n"
	    "sleep 10s, remaining timeout 20s\n"
	    "Got inappropriate HTTP CONNECT response: HTTP/1.1 401 Cookie is not acceptable\n"
	    "Cookie is no longer valid, ending session\nReconnect failed\n"
	    "Cookie was rejected by server; exiting.\n",
	 2, END_REFUSED,
	 "Got inappropriate HTTP CONNECT response: HTTP/1.1 401 Cookie is not acceptable", true,
	 true},
	{"reconnected, then killed",
	 UP "Failed to reconnect to host vpn.test: Connection refused\n"
	    "Got CONNECT response: HTTP/1.1 200 CONNECTED\n",
	 137, END_CRASHED, "openconnect was ended by signal 9", true},
	{"SIGTERM",
	 UP "Send BYE packet: Aborted by caller\n"
	    "User cancelled (SIGINT/SIGTERM); exiting.\n",
	 0, END_NONE, "", true, true},
	{"no DTLS",
	 TRUSTED "Got CONNECT response: HTTP/1.1 200 CONNECTED\nNo DTLS address\n"
		 "Set up UDP failed; using SSL instead\n"
		 "Configured as 10.99.63.50, with SSL connected and DTLS disabled\n",
	 0, END_NONE, "", true},
	{"DTLS is lost",
	 UP "DTLS Dead Peer Detection detected dead peer!\n"
	    "DTLS handshake failed: Resource temporarily unavailable, try again.\n",
	 1, END_CRASHED, "openconnect exited with status 1", true},
	{"ESP",
	 "Configured as 172.16.0.9, with SSL connected and ESP in progress\n"
	 "ESP session established with server\n",
	 0, END_NONE, "", true, true},
	{"device taken",
	 UP "Failed to bind local tun device (TUNSETIFF): Device or resource busy\n"
	    "Set up tun device failed\nSend BYE packet: Set up tun device failed\n"
	    "Unrecoverable I/O error; exiting.\n",
	 1, END_CRASHED, "Failed to bind local tun device (TUNSETIFF): Device or resource busy",
	 true, true},
	{"nothing at all", "", 1, END_CRASHED, "openconnect exited with status 1"},
	{"nothing at all, 2", "", 2, END_REFUSED, "openconnect exited with status 2"},
};

static void hear(struct openconnect_said *said, const char *text)
{
	char line[512];

	for (const char *at = text; *at; at += strcspn(at, "\n") + 1) {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		openconnect_line(said, line);
	}
}

static void test_transcripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(transcripts); i++) {
		const struct transcript *t = &transcripts[i];
		struct openconnect_said said = {0};
		enum end_class class;

		hear(&said, t->text);
		class = openconnect_ended(&said, t->status);
		if (class != t->class || strcmp(said.reason, t->reason) != 0)
			fail_msg("%s: %s: %s", t->name, end_class_name(class), said.reason);
		if (said.authenticated != t->authenticated || said.dtls != t->dtls)
			fail_msg("%s: authenticated %d, DTLS %d", t->name, said.authenticated,
				 said.dtls);
	}
}

static void test_long_line(void **state)
{
	struct openconnect_said said = {0};
	char line[1024] = "Login failed.";

	(void)state;
	memset(line + 13, 'x', sizeof(line) - 14);
	openconnect_line(&said, line);
	assert_int_equal(openconnect_ended(&said, 1), END_AUTH);
	assert_int_equal(strlen(said.reason), sizeof(said.reason) - 1);
}

/* ---- what it is started with ---- */

static void join(char **args, char *ret, size_t size)
{
	ret[0] = '\0';
	for (size_t i = 0; args[i]; i++) {
		size_t len = strlen(ret);

		snprintf(ret + len, size - len, "%s%s", i ? " " : "", args[i]);
	}
}

static void assert_args(const struct session_spec *spec, enum session_log_level level,
			const struct ip *addr, const char *want)
{
	char **args = openconnect_args(spec, level, addr, "exec byway session hook");
	char got[1024];

	join(args, got, sizeof(got));
	openconnect_args_free(args);
	assert_string_equal(got, want);
}

static void test_args(void **state)
{
	char server[] = "https://vpn.test:4443/corp", user[] = "alice", cafile[] = "/etc/ca.pem";
	char protocol[] = "anyconnect", totp[] = "/etc/totp", pin[] = "pin-sha256:AAAA";
	char group[] = "--authgroup", corp[] = "corp";
	char *pins[] = {pin, pin}, *extra[] = {group, corp};
	struct session_spec spec = {.server = server, .username = user, .cafile = cafile};
	struct ip addr;

	(void)state;
	assert_int_equal(ip_parse("2001:db8::1", &addr, NULL), 0);
	assert_args(&spec, SESSION_LOG_ERROR, NULL,
		    "openconnect --server=https://vpn.test:4443/corp --user=alice --non-inter "
		    "--cafile=/etc/ca.pem --interface=tun0 --script=exec byway session hook "
		    "--reconnect-timeout=20");
	spec.password.kind = SECRET_COMMAND;
	spec.protocol = protocol;
	spec.totp_file = totp;
	spec.servercerts = pins;
	spec.n_servercerts = ARRAY_SIZE(pins);
	spec.extra_args = extra;
	spec.n_extra_args = ARRAY_SIZE(extra);
	spec.mtu_bytes = 1300;
	assert_args(&spec, SESSION_LOG_TRACE, &addr,
		    "openconnect --server=https://vpn.test:4443/corp --protocol=anyconnect "
		    "--user=alice --non-inter --passwd-on-stdin --token-mode=totp "
		    "--token-secret=@/etc/totp --servercert=pin-sha256:AAAA "
		    "--servercert=pin-sha256:AAAA --resolve=vpn.test:2001:db8::1 --interface=tun0 "
		    "--script=exec byway session hook --base-mtu=1386 --reconnect-timeout=20 "
		    "--verbose --verbose --authgroup corp");
	openconnect_args_free(NULL);
}

static void test_host(void **state)
{
	static const char *const hosts[][2] = {
		{"vpn.test", "vpn.test"},
		{"vpn.test:4443", "vpn.test"},
		{"https://vpn.test/corp", "vpn.test"},
		{"https://vpn.test?group", "vpn.test"},
		{"https://[2001:db8::1]:4443/x", "2001:db8::1"},
		{"203.0.113.10", "203.0.113.10"},
	};
	char got[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		assert_int_equal(openconnect_host(hosts[i][0], got, sizeof(got)), 0);
		assert_string_equal(got, hosts[i][1]);
	}
	assert_int_equal(openconnect_host("https:///corp", got, sizeof(got)), -EINVAL);
	assert_int_equal(openconnect_host("", got, sizeof(got)), -EINVAL);
	assert_int_equal(openconnect_host("vpn.test", got, 8), -ENAMETOOLONG);
	assert_int_equal(openconnect_host("vpn.test", got, 9), 0);
}

/* ---- what may not be added ---- */

static const char *const refused[][2] = {
	{"--script=x"},
	{"--script", "x"},
	{"-sx"},
	{"-s", "x"},
	{"--scr", "x"},
	{"--script-tun"},
	{"--script-t"},
	{"-S"},
	{"-vS"},
	{"-dDS"},
	{"--interface=tun1"},
	{"-itun1"},
	{"--inter", "x"},
	{"--background"},
	{"-b"},
	{"--back"},
	{"-db"},
	{"--pid-file=x"},
	{"--setuid=nobody"},
	{"-Unobody"},
	{"--syslog"},
	{"-l"},
	{"--passwd-on-stdin"},
	{"--pass"},
	{"--non-inter"},
	{"--config=x"},
	{"--con"},
	{"--quiet"},
	{"-q"},
	{"-v"},
	{"-vv"},
	{"--server=x"},
	{"--user=bob"},
	{"-ubob"},
	{"-u", "bob"},
	{"--protocol=nc"},
	{"--proto", "nc"},
	{"--juniper"},
	{"--servercert", "x"},
	{"--cafile=x"},
	{"--ca", "x"},
	{"--mtu=1300"},
	{"-m1300"},
	{"--base-mtu=1300"},
	{"--cookie=x"},
	{"-Cx"},
	{"--cookie-on-stdin"},
	{"--cookieonly"},
	{"--key-password=x"},
	{"-px"},
	{"-dpx"},
	{"--key-pass", "x"},
	{"--mca-key-password=x"},
	{"--authenticate"},
	{"--printcookie"},
	{"--dump-http-traffic"},
	{"--dump"},
	{"--help"},
	{"-h"},
	{"--version"},
	{"-V"},
	{"--token-secret=base32:AAAA"},
	{"--token-secret", "AAAA"},
	{"--token-s", "AAAA"},
	{"--form-entry=main:password=x"},
	{"-Fmain:secondary_password=x"},
	{"-F", "main:PIN=1"},
	{"--proxy=http://bob:x@proxy:3128"},
	{"-P", "http://bob:x@proxy"},
	{"-Pbob:x@proxy"},
	{"--certificate=pkcs11:token=a;pin-value=1"},
	{"-c", "pkcs11:pin-value=1"},
	{"-kpkcs11:pin-value=1"},
	{"--sslkey=pkcs11:x?pin-value=1"},
	{"--"},
	{"--gnutls-debug=9"},
};

static const char *const taken[][2] = {
	{"--authgroup", "corp"},
	{"corp"},
	{"--authgroup=corp"},
	{"--no-dtls"},
	{"-d"},
	{"-D"},
	{"-dD"},
	{"--reconnect-timeout=300"},
	{"--useragent", "AnyConnect"},
	{"--version-string=4.10"},
	{"--os=win"},
	{"--usergroup=x"},
	{"-gS"},
	{"-Q16"},
	{"-cS"},
	{"--proxy=http://proxy:3128"},
	{"-P", "http://bob@proxy:3128"},
	{"--proxy=http://[::1]:3128"},
	{"--no-proxy"},
	{"--token-mode=hotp"},
	{"--token-secret=@/etc/hotp"},
	{"--token-secret", "/etc/hotp"},
	{"--form-entry=main:group=corp-pass"},
	{"-Fmain:group_list=corp"},
	{"--disable-ipv6"},
	{"--key-password-from-fsid"},
	{"--certificate=/etc/me.pem"},
	{"-k", "/etc/me.key"},
	{"--mca-key=/etc/me.key"},
	{"--resolve=gw.test:203.0.113.11"},
	{"--no-system-trust"},
	{"--timestamp"},
	{"--csd-wrapper=/usr/lib/x"},
	{"--force-dpd=5"},
	{"--allow-insecure-crypto"},
	{"--dtls-local-port=1"},
	{"--local-hostname=x"},
	{"-x/etc/profile.xml"},
	{"-"},
	{""},
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (!openconnect_refuses(refused[i][0], refused[i][1]))
			fail_msg("%s is taken", refused[i][0]);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		const char *why = openconnect_refuses(taken[i][0], taken[i][1]);

		if (why)
			fail_msg("%s %s", taken[i][0], why);
	}
	assert_non_null(strstr(openconnect_refuses("-u", "bob"), "vpn.username"));
	assert_non_null(strstr(openconnect_refuses("--token-secret", "x"), "@FILE"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transcripts), cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_args),        cmocka_unit_test(test_host),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
