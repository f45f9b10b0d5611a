#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Names in a tunnel, end to end: a real proxy and a real resolver on one side, real programs on the
# other, an observer on the wire between.
set -u
# shellcheck source=tests/lib/world.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

PROXY=192.0.2.1
PORT=8888
RESOLVER=203.0.113.10

# start_resolver ADDRESS. The addresses of many.name do not fit into 512 bytes.
start_resolver() {
	local i
	cat >"$WORLD/dnsmasq.conf" <<-END
		no-resolv
		no-hosts
		no-daemon
		log-queries
		listen-address=$1
		bind-interfaces
		host-record=some.name,203.0.113.10
		host-record=six.name,2001:db8:99::10
	END
	for i in {1..40}; do
		echo "host-record=many.name,203.0.113.$((i + 100))"
	done >>"$WORLD/dnsmasq.conf"
	become internet dnsmasq -C "$WORLD/dnsmasq.conf" >"$WORLD/dnsmasq.out" 2>&1 &
	PIDS[dnsmasq]=$!
	wait_for inside internet "$PROBE" tcp "$1" 53 500 || bail "dnsmasq does not start"
}

# start_proxy RESOLVER: the proxy has a resolv.conf of its own.
start_proxy() {
	echo "nameserver $1" >"$WORLD/resolv.proxy"
	cat >"$WORLD/tinyproxy.conf" <<-END
		Port $PORT
		Listen $PROXY
		Timeout 600
		LogFile "$WORLD/tinyproxy.log"
		LogLevel Info
	END
	become internet unshare --mount sh -c \
		'mount --bind "$1/resolv.proxy" /etc/resolv.conf && exec tinyproxy -d -c "$1/tinyproxy.conf"' \
		sh "$WORLD" >"$WORLD/tinyproxy.out" 2>&1 &
	PIDS[tinyproxy]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PORT" 500 || bail "tinyproxy does not start"
}

up() { by proxy up --proxy-url "http://$PROXY:$PORT" --detach -q "$@"; }
resolv_conf() { printf 'nameserver %s\noptions attempts:1\n' "$1" >/etc/resolv.conf; }

start_observer() {
	become internet tcpdump -n -l -i eth0 "$@" >"$WORLD/wire" 2>"$WORLD/wire.err" &
	PIDS[wire]=$!
	wait_for grep -q 'listening on' "$WORLD/wire.err"
}
# What is on the wire before a frame that passes every firewall, for a port of its own.
nothing_leaked() {
	"$PROBE" send-udp eth0 "$(mac_of host eth0)" "$(mac_of internet eth0)" 192.0.2.2 192.0.2.1 control
	wait_for grep -q '192\.0\.2\.1\.9: ' "$WORLD/wire" || { echo "the observer sees nothing"; return 1; }
	! grep -v '192\.0\.2\.1\.9: ' "$WORLD/wire"
}

# Of UDP anything at all, and DNS by whatever means.
NAMES="src host 192.0.2.2 and (udp or port 53) or ip6 and (udp or port 53)"

resolves() { getent ahostsv4 "$1"; }
address_of() { getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }
six_of() { getent ahostsv6 "$1" | awk 'NR == 1 { print $1 }'; }
page() { get host "http://$1/"; }
is_virtual() { [[ $(address_of "$1") == 198.1[89].* ]]; }

test_positive_control() {
	resolv_conf "$RESOLVER"
	start_observer "$NAMES"
	is "without a tunnel the resolver is asked" "$(address_of some.name)" 203.0.113.10
	check "the observer sees that" wait_for grep -q 'some.name' "$WORLD/wire"
	stop wire
}

test_tcp() {
	check "tcp: up" up --dns tcp
	start_observer "$NAMES"
	is "tcp: a name resolves" "$(address_of some.name)" 203.0.113.10
	is "tcp: to IPv6, too" "$(six_of six.name)" 2001:db8:99::10
	is "tcp: whoever is asked" "$(resolv_conf 203.0.113.99; address_of some.name)" 203.0.113.10
	fails "tcp: what does not exist does not" resolves other.name
	is "tcp: a page by its name" "$(page some.name)" "hello from internet to 203.0.113.10"
	resolv_conf "$RESOLVER"
	is "tcp: what does not fit is asked for by TCP" "$(resolves many.name | grep -c STREAM)" 40
	check "tcp: many at once" many_names
	check "tcp: no such packet was on the wire" nothing_leaked
	stop wire
	stop dnsmasq
	resolv_conf "$RESOLVER"
	fails "tcp: without the resolver nothing resolves" resolves some.name
	start_resolver "$RESOLVER"
	is "tcp: and it does again" "$(address_of some.name)" 203.0.113.10
	check "tcp: down" by proxy down
}

many_names() {
	local i good=0
	for ((i = 0; i < 100; i++)); do
		resolves some.name >"$WORLD/name.$i" &
		LAST+=($!)
	done
	wait "${LAST[@]}"
	for ((i = 0; i < 100; i++)); do
		grep -q '^203\.0\.113\.10 ' "$WORLD/name.$i" && good=$((good + 1))
	done
	((good == 100)) || { echo "$good of 100"; return 1; }
}
LAST=()

# The host's own resolver is nowhere; the proxy has one that the host cannot reach.
test_virtual() {
	stop dnsmasq
	stop tinyproxy
	start_resolver 127.0.0.1
	start_proxy 127.0.0.1
	resolv_conf 203.0.113.99
	fails "virtual: the host knows nothing" resolves some.name
	check "virtual: up" up --dns virtual
	start_observer "$NAMES"
	check "virtual: a name has an address of the pool" is_virtual some.name
	is "virtual: and keeps it" "$(address_of some.name)" "$(address_of some.name)"
	is "virtual: a page by its name" "$(page some.name)" "hello from internet to 203.0.113.10"
	is "virtual: by an IPv6 address of the pool" \
		"$(inside host curl -6 -sS -m 30 http://some.name/)" "hello from internet to 203.0.113.10"
	is "virtual: backwards" "$(getent hosts "$(address_of some.name)" | awk '{ print $2 }')" some.name
	fails "virtual: what the proxy cannot resolve does not open" page other.name
	fails "virtual: an address without a name does not" page 198.19.255.250
	check "virtual: no such packet was on the wire" nothing_leaked
	stop wire
	check "virtual: the proxy has resolved it" grep -q 'query.*some.name' "$WORLD/dnsmasq.out"
	check "virtual: down" by proxy down
	check "virtual: up for some networks only" up --dns virtual --include 10.0.0.0/8
	is "virtual: the pool is captured all the same" "$(page some.name)" \
		"hello from internet to 203.0.113.10"
	check "virtual: down again" by proxy down
}

test_words() {
	fails "a mode that is none" up --dns udp
	: >/etc/resolv.conf
	fails "tcp without a resolver" up --dns tcp
	fails "virtual without room for the pool" up --dns virtual --tun-cidr 198.18.0.1/15
}

snapshot_host >"$WORLD/before"
web_server internet 80
start_resolver "$RESOLVER"
start_proxy "$RESOLVER"
test_positive_control
test_tcp
test_virtual
test_words
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
