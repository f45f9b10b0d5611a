#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The VPN over an HTTP CONNECT proxy, end to end: real programs on one side, a real proxy and a real
# web server on the other, an observer on the wire between.
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
		Timeout 600
		MaxClients 400
		LogFile "$WORLD/tinyproxy.log"
		LogLevel Info
		BasicAuth alice s3cret
	END
	become internet tinyproxy -d -c "$WORLD/tinyproxy.conf" >"$WORLD/tinyproxy.out" 2>&1 &
	PIDS["proxy"]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PORT" 500 || bail "tinyproxy does not start"
}

up() { by proxy up --proxy-url "http://alice:s3cret@$PROXY:$PORT" --allow-dns 192.0.2.1 --detach -q "$@"; }
state() { by proxy status --json | jq -r '.tunnels[0].state // "down"'; }
in_state() { [[ $(state) == "$1" ]]; }
measures() { by metrics | grep -qxF "$1"; }

# What the observer sees beside the tunnel stands in the file wire.
start_observer() {
	become internet tcpdump -n -l -i eth0 "$@" >"$WORLD/wire" 2>"$WORLD/wire.err" &
	PIDS["wire"]=$!
	wait_for grep -q 'listening on' "$WORLD/wire.err"
}
stop_observer() { stop wire; }
# What is on the wire before a frame that passes every firewall, for a port of its own.
nothing_leaked() {
	"$PROBE" send-udp eth0 "$(mac_of host eth0)" "$(mac_of internet eth0)" 192.0.2.2 192.0.2.1 control
	wait_for grep -q '192\.0\.2\.1\.9: ' "$WORLD/wire" || { echo "the observer sees nothing"; return 1; }
	! grep -v '192\.0\.2\.1\.9: ' "$WORLD/wire"
}

BESIDE="ip and not arp and not (tcp port $PORT) and not icmp6 and src host 192.0.2.2"

probe_all() {
	local REACH_MS=$RESTRAINT
	reaches host 203.0.113.10 80
	reaches host udp:203.0.113.10 443
	reaches host udp:203.0.113.10 53
	reaches host ping:203.0.113.10 >/dev/null
	return 0
}

test_positive_control() {
	start_observer "$BESIDE"
	is "without a tunnel the web server sees the host" "$(get host http://203.0.113.10/)" \
		"hello from internet to 192.0.2.2"
	check "the observer sees that" wait_for test -s "$WORLD/wire"
	stop_observer
}

test_up() {
	check "up" up
	check "the state is connecting: nothing was asked for yet" in_state connecting
	start_observer "$BESIDE"
	is "the web server sees the proxy" "$(get host http://203.0.113.10/)" \
		"hello from internet to 203.0.113.10"
	probe_all
	check "nothing went beside the tunnel" nothing_leaked
	stop_observer
	check "the state is up" wait_for in_state up
	fails "a closed port is refused" inside host curl -sS -m 30 http://203.0.113.10:81/
	fails "up again is refused" up
	run reaches host udp:203.0.113.10 443
	is "UDP is refused by an error" "$TAP_STATUS" 2
}

big_transfer() {
	head -c 30000000 /dev/urandom >"$WORLD/www/big" 2>/dev/null
	[[ $(get host http://203.0.113.10/big | md5sum) == "$(md5sum <"$WORLD/www/big")" ]]
}

many_requests() {
	local i good=0
	for ((i = 0; i < 200; i++)); do
		get host http://203.0.113.10/ >"$WORLD/many.$i" 2>/dev/null &
		LAST+=($!)
	done
	wait "${LAST[@]}"
	for ((i = 0; i < 200; i++)); do
		grep -q 'hello from internet' "$WORLD/many.$i" && good=$((good + 1))
	done
	((good == 200)) || { echo "$good of 200"; return 1; }
}
LAST=()

test_killed() {
	local pid
	pid=$(by proxy status --json | jq -r '.tunnels[0].pid')
	kill -KILL "$pid"
	check "killed: the state says so" wait_for in_state killed
	check "killed: so do the metrics" measures 'byway_tunnel_state{tunnel="host",kind="proxy",state="killed"} 1'
	start_observer "$BESIDE or (tcp port $PORT and src host 192.0.2.2)"
	probe_all
	check "killed: nothing leaves" nothing_leaked
	stop_observer
	check "down" by proxy down
	is "down: the network is free again" "$(get host http://203.0.113.10/)" \
		"hello from internet to 192.0.2.2"
}

# The device is taken away under the tunnel: it ends, and still nothing leaves.
test_broken() {
	exec 9>others.lock && flock 9
	check "up" up
	exec 9>&-
	check "and what whoever started it had open is closed" flock -n others.lock true
	check "gc leaves a running tunnel alone" by gc
	is "it still works" "$(get host http://203.0.113.10/)" "hello from internet to 203.0.113.10"
	must ip link del byway0
	check "without its device the tunnel ends" wait_for in_state killed
	start_observer "$BESIDE or (tcp port $PORT and src host 192.0.2.2)"
	probe_all
	check "and blocks" nothing_leaked
	stop_observer
	fails "up with a bad address fails" by proxy up -q --detach --proxy-url http://192.0.2.1:1 \
		--allow-dns 192.0.2.1 --tun-name lo
	start_observer "$BESIDE or (tcp port $PORT and src host 192.0.2.2)"
	probe_all
	check "and does not open what was blocked" nothing_leaked
	stop_observer
	check "up again takes over" up
	is "and works" "$(get host http://203.0.113.10/)" "hello from internet to 203.0.113.10"
	check "reset takes tunnels down, too" by reset
	is "the network is free" "$(get host http://203.0.113.10/)" "hello from internet to 192.0.2.2"
}

test_secret() {
	local pid
	must by proxy up -q --detach --allow-dns 192.0.2.1 --proxy-url "http://a:hidden@$PROXY:$PORT" \
		--proxy-url "http://a:hidden@$PROXY:9"
	pid=$(by proxy status --json | jq -r '.tunnels[0].pid')
	fails "the password is not among the arguments" grep -q hidden "/proc/$pid/cmdline"
	check "down" by proxy down
}

test_wrong_password() {
	check "up with a wrong password" by proxy up -q --detach --allow-dns 192.0.2.1 \
		--proxy-url "http://alice:wrong@$PROXY:$PORT"
	fails "no stream opens" get host http://203.0.113.10/
	check "the state is error" wait_for in_state error
	check "and says why" wait_for grep -q auth <(by proxy status --json | jq -r '.tunnels[0].last_failure')
	fails "the password is nowhere" grep -rq wrong /run/byway
	check "down" by proxy down
}

test_unreachable_proxy() {
	check "up though the proxy is not there" by proxy up -q --detach --allow-dns 192.0.2.1 \
		--proxy-url http://192.0.2.1:9
	start_observer "$BESIDE and not tcp port 9"
	probe_all
	check "an unreachable proxy: nothing leaves" nothing_leaked
	stop_observer
	check "down" by proxy down
}

test_subnet() {
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24
	cannot v-a 203.0.113.10 80 "before"
	check "up in a private subnet" up --in v/a
	is "it goes out through the proxy" "$(get v-a http://203.0.113.10/)" \
		"hello from internet to 203.0.113.10"
	is "the host does not" "$(get host http://203.0.113.10/)" "hello from internet to 192.0.2.2"
	check "down" by proxy down --in v/a
	cannot v-a 203.0.113.10 80 "after"
	must by vpc delete v
}

snapshot_host >"$WORLD/before"
web_server internet 80
echo_server internet 443
start_proxy
test_positive_control
test_up
check "200 requests at once" many_requests
test_killed
test_broken
test_secret
test_wrong_password
test_unreachable_proxy
test_subnet
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
