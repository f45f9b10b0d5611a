#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The CONNECT dialer against squid (Basic, Digest, TLS) and tinyproxy, in the network `internet`.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
# shellcheck source=tests/lib/world.sh
. tests/lib/world.sh
DIAL=$(realpath "${DIAL:-$WORLD_TREE/build/tests/lib/dial}")
export DIAL
world_enter "$@"

PROXY=192.0.2.1
BASIC=3128 TLS=3129 DIGEST=3130 TLS_DIGEST=3131 TINY=8888
# Exit statuses of dial: 10 and the number of enum dial_status.
REFUSED=12 UNREACHABLE=13 DENIED=14 AUTH=15 TIMEOUT=16 BROKEN=17

# ---- servers ----

squid_config() { # NAME AUTH-LINES...
	local name=$1
	shift
	printf '%s\n' "$@"
	cat <<-END
		pid_filename $WORLD/squid/$name.pid
		cache_log $WORLD/squid/$name.log
		access_log stdio:$WORLD/squid/$name-access.log
		visible_hostname $name.example
		hosts_file $WORLD/hosts
		dns_nameservers 127.0.0.1
		dns_timeout 1 seconds
		connect_timeout 1 seconds
		connect_retries 0
		acl authed proxy_auth REQUIRED
		acl smtp port 25
		http_access deny smtp
		http_access allow authed
		http_access deny all
		cache deny all
		cache_mem 8 MB
		memory_cache_shared off
		shutdown_lifetime 0 seconds
		max_filedescriptors 1024
		coredump_dir $WORLD/squid
		pinger_enable off
	END
}

squid_start() { # NAME PORT
	become internet squid -N -n "$1" -f "$WORLD/squid-$1.conf" >"$WORLD/squid/$1.out" 2>&1 </dev/null &
	PIDS[squid-$1]=$!
	WAIT_S=30 wait_for inside internet "$PROBE" tcp 127.0.0.1 "$2" 500 ||
		bail "squid did not start: $(tail -n 5 "$WORLD/squid/$1.out" "$WORLD/squid/$1.log")"
}

# A CA, and certificates that it signed: one for the proxy's name, one for another.
certificates() {
	(
		cd "$WORLD" || exit 1
		new_key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc "$@"; }
		new_key -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
		new_key -x509 -days 2 -subj /CN=stranger -keyout stranger.key -out stranger.pem
		new_key -subj /CN=proxy -addext subjectAltName=DNS:proxy.example,IP:$PROXY \
			-keyout srv.key -out srv.csr
		openssl x509 -req -in srv.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
			-copy_extensions copyall -out srv.pem
	) >"$WORLD/openssl.log" 2>&1 || bail "no certificates: $(cat "$WORLD/openssl.log")"
	chmod 644 "$WORLD"/srv.key
}

squids() {
	local auth=/usr/lib/squid
	mkdir "$WORLD/squid"
	chown proxy: "$WORLD/squid"
	mount -t tmpfs tmpfs /dev/shm # squid's names there are the machine's
	printf '203.0.113.10 www.example\n' >"$WORLD/hosts"
	# shellcheck disable=SC2016 # the hash of s3cret, by openssl passwd -apr1
	echo "alice:$(openssl passwd -apr1 s3cret)" >"$WORLD/htpasswd"
	echo alice:s3cret >"$WORLD/digest"
	squid_config basic "http_port $PROXY:$BASIC" "http_port 127.0.0.1:$BASIC" \
		"https_port $PROXY:$TLS tls-cert=$WORLD/srv.pem tls-key=$WORLD/srv.key" \
		"auth_param basic program $auth/basic_ncsa_auth $WORLD/htpasswd" \
		"auth_param basic realm a realm" "auth_param basic children 2" >"$WORLD/squid-basic.conf"
	squid_config digest "http_port $PROXY:$DIGEST" "http_port 127.0.0.1:$DIGEST" \
		"https_port $PROXY:$TLS_DIGEST tls-cert=$WORLD/srv.pem tls-key=$WORLD/srv.key" \
		"auth_param digest program $auth/digest_file_auth $WORLD/digest" \
		"auth_param digest realm a realm" "auth_param digest children 2" \
		"auth_param digest nonce_max_count 30" >"$WORLD/squid-digest.conf"
	squid_start basic $BASIC
	squid_start digest $DIGEST
}

tinyproxy_start() {
	printf '%s\n' "Port $TINY" "Timeout 600" "MaxClients 100" "LogFile \"$WORLD/tiny.log\"" \
		"BasicAuth alice s3cret" >"$WORLD/tiny.conf"
	become internet tinyproxy -d -c "$WORLD/tiny.conf" >"$WORLD/tiny.out" 2>&1 </dev/null &
	PIDS[tinyproxy]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 $TINY 500 ||
		bail "tinyproxy did not start: $(cat "$WORLD/tiny.out")"
}

# What cannot be reached from there: an address without a host, one that never answers.
unreachables() {
	ip -n internet route add unreachable 198.51.100.0/24
	ip -n internet addr add 203.0.113.66/32 dev lo
	inside internet nft -f - <<-'END'
		table inet silence {
			chain in {
				type filter hook input priority 0
				ip daddr 203.0.113.66 drop
			}
		}
	END
}

# ---- acting ----

dial() { "$DIAL" "$@"; }

# get_by URL HOST PORT: a web page through a proxy.
get_by() {
	printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 "$DIAL" -k 1000000 "${DIAL_ARGS[@]}" "$@"
}
DIAL_ARGS=()

gets() { # NAME URL HOST PORT
	local name=$1
	shift
	exits 0 "$name" get_by "$@" && prints "$name: the page" "hello from internet to"
}

# refuses_with STATUS REGEX NAME URL HOST PORT
refuses_with() {
	local status=$1 regex=$2 name=$3
	shift 3
	exits "$status" "$name" get_by "$@"
	says "$name: why" "$regex"
	unlike "$name: the password is not told" "$(err)" s3cret
}

# ---- tests ----

basic() {
	local url=http://alice:s3cret@$PROXY:$BASIC
	gets "squid, Basic" "$url" $INTERNET4 8080
	gets "squid, to an IPv6 address" "$url" $INTERNET6 8080
	gets "squid, to a name" "$url" www.example 8080
	refuses_with $AUTH "refuses the user name or the password \(407" \
		"squid, wrong password" "http://alice:not-s3cret@$PROXY:$BASIC" $INTERNET4 8080
	refuses_with $AUTH "wants a user name and a password \(407" \
		"squid, no credentials" "http://$PROXY:$BASIC" $INTERNET4 8080
	refuses_with $REFUSED "503 .*ERR_CONNECT_FAIL 111" "squid, refused" "$url" $INTERNET4 9
	refuses_with $UNREACHABLE "503 .*ERR_CONNECT_FAIL 1(13|01)" \
		"squid, unreachable" "$url" 198.51.100.1 80
	refuses_with $TIMEOUT "50[34] .*ERR_CONNECT_FAIL" "squid, timed out" "$url" 203.0.113.66 80
	refuses_with $UNREACHABLE "ERR_(DNS_FAIL|CANNOT_FORWARD)" "squid, no such name" "$url" nowhere.example 80
	refuses_with $DENIED "403 Forbidden" "squid, denied" "$url" $INTERNET4 25
}

digest_challenges() { grep -c 'TCP_DENIED/407' "$WORLD/squid/digest-access.log"; }

digest() {
	local url=http://alice:s3cret@$PROXY:$DIGEST before
	gets "squid, Digest" "$url" $INTERNET4 8080
	gets "squid, Digest, to an IPv6 address" "$url" $INTERNET6 8080
	gets "squid, Digest, to a name" "$url" www.example 8080
	refuses_with $AUTH "refuses the user name or the password" \
		"squid, Digest, wrong password" "http://alice:not-s3cret@$PROXY:$DIGEST" $INTERNET4 8080
	refuses_with $AUTH "wants a user name" "squid, Digest, no credentials" \
		"http://$PROXY:$DIGEST" $INTERNET4 8080
	# Squid gives each nonce 30 uses; a dialer that shares its nonce is asked every 30th time.
	before=$(digest_challenges)
	check "Digest, 90 in a row" dial -n 90 "$url" $INTERNET4 8080
	is "all connected" "$(out)" "connected 90"
	wait_for test "$(digest_challenges)" -gt "$before"
	check "few were challenged" test $(($(digest_challenges) - before)) -le 10
	check "Digest, 200 at once" dial -n 200 -p 50 "$url" $INTERNET4 8080
	is "all connected, in whatever order the counts arrived" "$(out)" "connected 200"
}

tls() {
	local url=https://alice:s3cret@proxy.example:$TLS
	DIAL_ARGS=(-a "$PROXY" -c "$WORLD/ca.pem")
	gets "squid, TLS" "$url" $INTERNET4 8080
	gets "squid, TLS and Digest" "https://alice:s3cret@proxy.example:$TLS_DIGEST" $INTERNET4 8080
	gets "squid, TLS, by address" "https://alice:s3cret@$PROXY:$TLS" $INTERNET4 8080
	refuses_with $REFUSED "ERR_CONNECT_FAIL 111" "squid, TLS, refused" "$url" $INTERNET4 9
	refuses_with $BROKEN "certificate for another name \(proxy.example\)" "TLS, another name" \
		"https://alice:s3cret@other.example:$TLS" $INTERNET4 8080
	refuses_with $BROKEN "does not speak TLS" "TLS to a port without" \
		"https://alice:s3cret@proxy.example:$BASIC" $INTERNET4 8080
	DIAL_ARGS=(-a "$PROXY" -c "$WORLD/stranger.pem")
	refuses_with $BROKEN "unknown issuer" "TLS, another authority" "$url" $INTERNET4 8080
	DIAL_ARGS=(-a "$PROXY")
	refuses_with $BROKEN "unknown issuer" "TLS, the system's authorities" "$url" $INTERNET4 8080
	DIAL_ARGS=()
	refuses_with $BROKEN "does not answer as an HTTP proxy|closed the connection" \
		"no TLS to a port with" "http://alice:s3cret@$PROXY:$TLS" $INTERNET4 8080
	check "TLS, 100 at once" dial -a "$PROXY" -c "$WORLD/ca.pem" -n 100 -p 20 "$url" $INTERNET4 8080
	is "all connected" "$(out)" "connected 100"
}

tinyproxy_() {
	local url=http://alice:s3cret@$PROXY:$TINY
	gets "tinyproxy" "$url" $INTERNET4 8080
	refuses_with $AUTH "refuses the user name or the password \(401" \
		"tinyproxy, wrong password" "http://alice:not-s3cret@$PROXY:$TINY" $INTERNET4 8080
	refuses_with $AUTH "wants a user name and a password \(407" \
		"tinyproxy, no credentials" "http://$PROXY:$TINY" $INTERNET4 8080
	refuses_with $REFUSED "500 Unable to connect" "tinyproxy, refused" "$url" $INTERNET4 9
}

others() {
	local url=http://alice:s3cret@$PROXY
	gets "the next proxy, when one is down" "$url:1,$url:$BASIC" $INTERNET4 8080
	gets "the next proxy, when one is none" "$url:8080,$url:$TINY" $INTERNET4 8080
	refuses_with $UNREACHABLE "cannot connect to $PROXY:1: Connection refused" "no proxy there" \
		"$url:1" $INTERNET4 8080
	refuses_with $BROKEN "40[05] " "a web server is no proxy" "$url:8080" $INTERNET4 8080
	DIAL_ARGS=(-t 500)
	refuses_with $TIMEOUT "no connection to 203.0.113.66:3128 in time" "a proxy that is silent" \
		http://203.0.113.66 $INTERNET4 8080
	DIAL_ARGS=()
	gets "no proxy at all" direct $INTERNET4 8080
}

# Through a proxy and back: the same bytes. Neither squid nor tinyproxy knows a half-close.
echoes() { # NAME [OPTION...] URL
	local name=$1 sum
	shift
	sum=$(timeout 60 "$DIAL" -k 20000000 "$@" $INTERNET4 7 <"$WORLD/random" 2>"$WORLD/echo.err" | sha256sum)
	is "$name" "$sum" "$(sha256sum <"$WORLD/random")" || diag "$(cat "$WORLD/echo.err")"
}

much() {
	head -c 20000000 /dev/urandom >"$WORLD/random"
	echo_server internet 7
	echoes "20 MB and back, squid" http://alice:s3cret@$PROXY:$BASIC
	echoes "20 MB and back, tinyproxy" http://alice:s3cret@$PROXY:$TINY
	echoes "20 MB and back, TLS" -a "$PROXY" -c "$WORLD/ca.pem" \
		https://alice:s3cret@proxy.example:$TLS
}

certificates
squids
tinyproxy_start
unreachables
web_server internet 8080
basic
digest
tls
tinyproxy_
others
much
stop_all
done_testing
