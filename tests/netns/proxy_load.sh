#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The VPN over an HTTP CONNECT proxy under load: many connections one after the other and at once, large
# transfers, half-closed connections, a proxy that stalls or dies, a process without descriptors.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/transfer.sh"

CONNECT_PROXY=$(realpath "${CONNECT_PROXY:-$WORLD_TREE/build/tests/lib/connect_proxy}")
PROXY=192.0.2.1 PORT=8888 ECHO=7000
SEQUENTIAL=10000 IDLE=1000 BURST=200
export BYTES=1G

start_proxy() { background proxy internet "$CONNECT_PROXY" "$PROXY" "$PORT"; }
# Connections that are over keep their port for a minute, on both legs.
widen_ports() {
	echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
	inside internet sh -c 'echo 7000-7099,8888 >/proc/sys/net/ipv4/ip_local_reserved_ports'
	inside internet sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
}
# signal_proxy SIGNAL
signal_proxy() { kill "-$1" "${PIDS[proxy]}"; }

up() { by proxy up -q --detach --proxy-url "http://$PROXY:$PORT" --allow-dns 192.0.2.1; }
tunnel() { by proxy status --json | jq -r ".tunnels[0].$1"; }
stream() { inside host "$STREAM" "$@"; }

# ---- what the process holds ----

descriptors() { find "/proc/$1/fd" -type l | wc -l; }
resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
# A FIN that is lost is sent again, later and later.
settles() { WAIT_S=60 wait_for has_descriptors "$@"; }
has_descriptors() { [[ $(descriptors "$1") == "$2" ]]; }
at_most() { (($1 <= $2)) || { echo "$1, not at most $2"; return 1; }; }

test_sequential() {
	local pid fds kb
	pid=$(tunnel pid)
	check "a hundred connections, to warm up" stream times "$INTERNET4" "$ECHO" 100
	fds=$(descriptors "$pid") kb=$(resident_kb "$pid")
	check "$SEQUENTIAL connections, one after the other" stream times "$INTERNET4" "$ECHO" "$SEQUENTIAL"
	check "no descriptor is left of them" settles "$pid" "$fds"
	check "nor memory" at_most "$(($(resident_kb "$pid") - kb))" 512
}

# hold NAME N: connections that are held open; what they say is in NAME.out.
hold() {
	mkfifo "$WORLD/$1.in"
	exec {HOLD}<>"$WORLD/$1.in"
	"$STREAM" hold "$INTERNET4" "$ECHO" "$2" <"$WORLD/$1.in" >"$WORLD/$1.out" 2>"$WORLD/$1.err" {HOLD}>&- &
	PIDS[$1]=$!
	HOLDER[$1]=$HOLD
}
declare -A HOLDER=()
held() { grep -qx ready "$WORLD/$1.out"; }
# let_go NAME: the held connections are asked once more, and closed. Its status tells whether all answered.
let_go() {
	local fd=${HOLDER[$1]} pid=${PIDS[$1]}
	exec {fd}>&-
	rm "$WORLD/$1.in"
	unset "PIDS[$1]"
	wait "$pid"
}

test_many() {
	local pid fds kb
	pid=$(tunnel pid) fds=$(descriptors "$(tunnel pid)")
	kb=$(resident_kb "$pid")
	hold idle "$IDLE"
	check "$IDLE connections are opened at once, and stay" wait_for held idle
	kb=$(($(resident_kb "$pid") - kb))
	check "at most 4 kB each ($kb kB in all)" at_most "$kb" $((4 * IDLE))
	hold burst "$BURST"
	check "$BURST requests at once beside them" wait_for held burst
	check "all of those still answer" let_go burst
	check "the idle ones, too" let_go idle
	check "no descriptor is left of them" settles "$pid" "$fds"
}

# ---- ends ----

client() { timeout 150 nc -N "$INTERNET4" "$1"; }

count_then_answer() { wc -c; }
http10() {
	local line
	while read -r line && [[ $line != $'\r' ]]; do :; done
	printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n'
	head -c 3000000 /dev/zero
}

test_half_close() {
	serve 7002 count_then_answer
	is "the client's end, then an answer" "$(head -c 400000 /dev/zero | client 7002)" 400000
	is "the server's end, then what the client sends: received" \
		"$(stream late "$INTERNET4" 7005 200000)" 300000
	check "and sent" wait_for grep -qx "late 200000" "$WORLD/sink.out"
	: >"$WORLD/sink.out"
	serve 7004 http10
	is "a body that ends with the connection" "$(get host "http://$INTERNET4:7004/" | wc -c)" 3000000
	served 7002
	served 7004
}

# ---- a proxy that stalls, and one that dies ----

moved() { (($(tunnel bytes_up) > $1)); }

test_stall() {
	local before
	before=$(tunnel bytes_up)
	"$STREAM" bulk "$INTERNET4" 7005 1500 >"$WORLD/bulk.out" 2>"$WORLD/bulk.err" &
	# shellcheck disable=SC2154 # not a variable, a name
	PIDS[bulk]=$!
	check "bytes flow" wait_for moved "$before"
	signal_proxy STOP
	pause 1
	signal_proxy CONT
	check "a stream survives a proxy that stalls" wait "${PIDS[bulk]}"
	unset "PIDS[bulk]"
}

ended() { ! kill -0 "$1"; }

test_proxy_dies() {
	local pid fds before
	pid=$(tunnel pid) fds=$(descriptors "$(tunnel pid)")
	before=$(tunnel bytes_up)
	"$STREAM" bulk "$INTERNET4" 7005 30000 >"$WORLD/bulk.out" 2>"$WORLD/bulk.err" &
	PIDS[bulk]=$!
	hold dying 50
	wait_for held dying
	check "bytes flow" wait_for moved "$before"
	signal_proxy KILL
	check "the stream ends with the proxy" wait_for ended "${PIDS[bulk]}"
	like "by a reset" "$(cat "$WORLD/bulk.err")" 'reset|Broken pipe'
	fails "so do the idle ones" let_go dying
	stop bulk
	fails "no new one opens" reaches host "$INTERNET4" "$ECHO"
	check "no descriptor is left" settles "$pid" "$fds"
	stop proxy
	start_proxy
	check "with the proxy back they do" stream times "$INTERNET4" "$ECHO" 10
}

# ---- no descriptors ----

test_no_descriptors() {
	local pid
	check "down" by proxy down
	check "up with few descriptors" few_descriptors
	pid=$(tunnel pid)
	flow_open old host "$INTERNET4" "$ECHO"
	check "a flow works" flow_works old
	hold crowd 100
	check "more than there are descriptors for: refused, at once" wait_for ended "${PIDS[crowd]}"
	fails "so that not all opened" let_go crowd
	check "the old flow lives" flow_works old
	check "the process, too" test -e "/proc/$pid"
	check "there is room again for new ones" wait_for reaches host "$INTERNET4" "$ECHO"
	check "and they work" stream times "$INTERNET4" "$ECHO" 200
	flow_close old
	check "down" by proxy down
}
few_descriptors() (
	ulimit -n 48
	up
)

widen_ports
snapshot_host >"$WORLD/before"
background echo internet "$STREAM" echo "$ECHO"
background sink internet "$STREAM" serve 7005
start_proxy
check "without a tunnel the same tools work" stream times "$INTERNET4" "$ECHO" 10
test_half_close
check "the same through the tunnel" up
test_sequential
test_many
transfer "a large transfer" host "$INTERNET4" 7001
test_half_close
test_stall
test_proxy_dies
test_no_descriptors
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
