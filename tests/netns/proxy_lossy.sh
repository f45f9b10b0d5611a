#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest whose packets reach the tunnel over a wire that loses, repeats and reorders them. Every byte
# arrives, once and in order.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/transfer.sh"

CONNECT_PROXY=$(realpath "${CONNECT_PROXY:-$WORLD_TREE/build/tests/lib/connect_proxy}")
LOSSY=$(realpath "${LOSSY:-$WORLD_TREE/build/tests/lib/lossy}")
PROXY=192.0.2.1 PORT=8888
export BYTES=20M TRANSFER_S=120

# wire DROP DUPLICATE DELAY: of a thousand packets. Its own queues lose none.
wire() {
	background wire host "$LOSSY" guest eth0 guest0 "$@"
	must ip -batch - <<-'END'
		addr add 10.5.0.1/24 dev guest0
		addr add fd05::1/64 dev guest0 nodad
		link set guest0 txqueuelen 20000 up
	END
	must ip -n guest -batch - <<-'END'
		addr add 10.5.0.2/24 dev eth0
		addr add fd05::2/64 dev eth0 nodad
		link set eth0 txqueuelen 20000 up
		route add default dev eth0
		route add ::/0 dev eth0
	END
}
unwire() {
	kill "${PIDS[wire]}"
	wait "${PIDS[wire]}"
	unset "PIDS[wire]"
	tail -n 1 "$WORLD/wire.out"
}

tunnel() { by proxy status --json | jq -r ".tunnels[0].$1"; }

test_wire() {
	local name=$1
	shift
	wire "$@"
	transfer "$name, IPv4" guest "$INTERNET4" 7001
	transfer "$name, IPv6" guest "$INTERNET6" 7002
	run unwire
	like "so it was" "$(out)" "$WIRE_SAYS"
}

ip netns add guest
ip -n guest link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
background proxy internet "$CONNECT_PROXY" "$PROXY" "$PORT"
must by proxy up -q --detach --proxy-url "http://$PROXY:$PORT" --allow-dns 192.0.2.1
WIRE_SAYS='dropped 0 duplicated 0 delayed 0' test_wire "a wire without fault" 0 0 0
is "nothing was sent again" "$(tunnel retransmits)" 0
WIRE_SAYS='dropped [1-9][0-9]* duplicated 0 delayed 0' test_wire "a wire that loses" 10 0 0
check "what was lost was sent again" test "$(tunnel retransmits)" -gt 10
WIRE_SAYS='dropped 0 duplicated [1-9][0-9]* delayed [1-9]' test_wire "that repeats and reorders" 0 20 50
WIRE_SAYS='dropped [1-9][0-9]* duplicated [1-9][0-9]* delayed [1-9]' test_wire "that does all" 10 10 20
check "down" by proxy down
stop_all
done_testing
