#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Blocking before there is a tunnel: what leaves, who lifts it, and that nothing leaves in between.
# shellcheck disable=SC2034 # PIDS belongs to world.sh
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

PROXY=192.0.2.1
PORT=8888

start_proxy() {
	cat >"$WORLD/tinyproxy.conf" <<-END
		Port $PORT
		Listen $PROXY
		LogFile "$WORLD/tinyproxy.log"
	END
	become internet tinyproxy -d -c "$WORLD/tinyproxy.conf" >"$WORLD/tinyproxy.out" 2>&1 &
	PIDS["proxy"]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PORT" 500 || bail "tinyproxy does not start"
}

lay_out() {
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24 --type public
	must by nat enable v
	web_server internet 80
	echo_server internet 7
	echo_server host 8
	start_proxy
	printf 'vpcs: {}\nblock: true\n' >"$WORLD/yes.yaml"
	printf 'block: false\n' >"$WORLD/no.yaml"
	printf 'vpcs: {}\n' >"$WORLD/silent.yaml"
	printf 'block: perhaps\n' >"$WORLD/wrong.yaml"
	printf 'block: [\n' >"$WORLD/broken.yaml"
}

is_free() {
	can host "$INTERNET4" 80 "$1"
	can v-a "$INTERNET4" 80 "$1"
}

is_blocked() {
	cannot host "$INTERNET4" 80 "$1"
	cannot host "udp:$INTERNET4" 7 "$1"
	cannot host "ping:$INTERNET4" "" "$1"
	cannot host "$INTERNET6" 80 "$1"
	cannot v-a "$INTERNET4" 80 "$1"
	can internet "$HOST4" 8 "$1: who comes from elsewhere gets an answer"
	can internet "ping:$HOST6" "" "$1: neighbours are found"
}

test_backends() {
	local backend
	for backend in native nft iptables; do
		check "$backend: blocks" by --firewall $backend block "$WORLD/no.yaml" "$WORLD/yes.yaml"
		is_blocked $backend
		check "$backend: again" by --firewall $backend block
		check "$backend: lifts" by unblock
		is_free "$backend: lifted"
	done
	check "lifting what is not there" by unblock
}

test_files() {
	snapshot_host >"$WORLD/free"
	check "a file that does not ask" by block "$WORLD/no.yaml" "$WORLD/silent.yaml"
	like "says so" "$(out)" 'no file asks'
	check "changes nothing" same_as "$WORLD/free"
	like "a dry run says what it would do" "$(by --dry-run block)" 'byway_block'
	check "and does nothing" same_as "$WORLD/free"
	exits 2 "a file that asks for something else" by block "$WORLD/wrong.yaml"
	like "is told its place" "$(err)" 'wrong.yaml:1:8: .*true, false or tunnel, not .perhaps.; the host is blocked'
	is_blocked "a wrong file"
	check "lifted" by unblock
	exits 2 "a file that is broken" by block "$WORLD/no.yaml" "$WORLD/broken.yaml"
	cannot host "$INTERNET4" 80 "a broken file"
	check "and reset lifts it" by reset
	check "nothing is left of it" bash -c '! nft list tables | grep -q byway'
}

# What apply lifts, and what it leaves to a tunnel.
test_apply() {
	printf 'block: tunnel\n' >"$WORLD/tunnel.yaml"
	must by block "$WORLD/yes.yaml"
	check "a file that asks for nothing is applied" by apply "$WORLD/silent.yaml"
	check "and lifts nothing" nft list table inet byway_block
	check "one that waits for a tunnel" by apply "$WORLD/yes.yaml" "$WORLD/tunnel.yaml"
	check "does not lift it either" nft list table inet byway_block
	check "the one that asked" by apply "$WORLD/yes.yaml"
	can host "$INTERNET4" 80 "applied"
	must by block "$WORLD/tunnel.yaml"
	cannot host "$INTERNET4" 80 "until there is a tunnel"
	must by unblock
}

# From the block to the tunnel without a gap: the observer sees what goes to the proxy only.
test_tunnel() {
	local beside="src host $HOST4 and not arp and not (tcp port $PORT) and not (tcp src port 8)"
	must by block "$WORLD/yes.yaml"
	become internet tcpdump -n -l -i eth0 "$beside" >"$WORLD/wire" 2>"$WORLD/wire.err" &
	PIDS["wire"]=$!
	wait_for grep -q 'listening on' "$WORLD/wire.err"
	while :; do "$PROBE" tcp "$INTERNET4" 80 50; done >/dev/null 2>&1 &
	PIDS["impatient"]=$!
	must by proxy up --proxy-url "http://$PROXY:$PORT" --include 203.0.113.0/24 --detach -q
	check "a tunnel for some networks does not lift it" nft list table inet byway_block
	must by proxy down
	must by proxy up --proxy-url "http://$PROXY:$PORT" --allow-dns 192.0.2.1 --detach -q
	fails "the tunnel's own kill switch takes its place" nft list table inet byway_block
	like "and the tunnel works" "$(get host "http://$INTERNET4/")" 'hello from internet to 203.0.113.10'
	stop impatient
	"$PROBE" send-udp eth0 "$(mac_of host eth0)" "$(mac_of internet eth0)" 192.0.2.2 192.0.2.1 control
	check "the observer sees the control frame" wait_for grep -q '192\.0\.2\.1\.9: ' "$WORLD/wire"
	like "and nothing else, from the block on" "[$(grep -v '192\.0\.2\.1\.9: ' "$WORLD/wire")]" '^\[\]$'
	must by proxy down
	can host "$INTERNET4" 80 "the tunnel is down"
}

lay_out
is_free "at first"
test_backends
test_files
test_apply
test_tunnel
done_testing
