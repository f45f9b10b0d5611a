#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The MTU of the TUN device, and those behind it: what goes through arrives unchanged, whatever they are. A guest
# whose own link carries less than it has announced is found out by the ICMP errors of those on the way,
# which stay in the tunnel.
# shellcheck disable=SC2154 # PIDS belongs to world.sh
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/observer.sh"

CAPTURE=$(realpath "${CAPTURE:-$WORLD_TREE/build/tests/lib/capture}")
STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
CONNECT_PROXY=$(realpath "${CONNECT_PROXY:-$WORLD_TREE/build/tests/lib/connect_proxy}")
PROXY=192.0.2.1 PORT=8888
UP=100K DOWN=5M # what MTUs behind the TUN are about goes down
NEXT_PORT=7000 # each transfer has one of its own

# host -- router -- guest; the link to the guest carries LINK_MTU bytes. The router is a guest of the
# host's, too.
LINK_MTU=1280

lay_out() {
	ip netns add router
	ip netns add guest
	ip link add router0 type veth peer name eth0 netns router
	ip -n router link add guest0 type veth peer name eth0 netns guest
	ip -batch - <<-'BATCH'
		addr add 10.5.0.1/24 dev router0
		addr add fd05::1/64 dev router0 nodad
		link set router0 addrgenmode none
		link set router0 up
		route add 10.6.0.0/24 via 10.5.0.2
		route add fd06::/64 via fd05::2
	BATCH
	ip -n router -batch - <<-'BATCH'
		link set lo up
		addr add 10.5.0.2/24 dev eth0
		addr add fd05::2/64 dev eth0 nodad
		link set eth0 up
		addr add 10.6.0.1/24 dev guest0
		addr add fd06::1/64 dev guest0 nodad
		link set guest0 up
		route add default via 10.5.0.1
		route add default via fd05::1
	BATCH
	ip -n guest -batch - <<-'BATCH'
		link set lo up
		addr add 10.6.0.2/24 dev eth0
		addr add fd06::2/64 dev eth0 nodad
		link set eth0 up
		route add default via 10.6.0.1
		route add default via fd06::1
	BATCH
	echo 1 >/proc/sys/net/ipv4/ip_forward
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	inside router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	know_each_other host eth0 192.0.2.1 2001:db8:2::1 internet eth0 "$HOST4" "$HOST6"
	know_each_other host router0 10.5.0.2 fd05::2 router eth0 10.5.0.1 fd05::1
	know_each_other router guest0 10.6.0.2 fd06::2 guest eth0 10.6.0.1 fd06::1
}

# narrow NS IF: that link carries LINK_MTU bytes; and the far side announces segments for 1500.
narrow() { must ip -n "$1" link set "$2" mtu "$LINK_MTU"; }
narrow_host() { must ip link set "$1" mtu "$LINK_MTU"; }
# The kernel announces no more than the link of a route has room for, but with advmss.
announce() {
	must ip -n "$1" route replace default via "$2" advmss 1460
	must ip -n "$1" route replace default via "$3" advmss 1440
}

up() { by proxy up -q --detach --proxy-url "http://$PROXY:$PORT" --allow-dns 192.0.2.1 "$@"; }

# ---- transfers ----

# noise BYTES
noise() { openssl enc -aes-128-ctr -nosalt -pass "pass:$1" -md md5 </dev/zero 2>/dev/null | head -c "$1"; }
digest() { md5sum | cut -d ' ' -f 1 >"$WORLD/$1.md5"; }
exchange() {
	noise "$DOWN" &
	digest up
	wait
}
export -f noise digest exchange
export UP DOWN WORLD

digests_are() {
	diff - <(cat "$WORLD/up.md5" "$WORLD/down.md5") <<<"$(noise "$UP" | md5sum | cut -d ' ' -f 1)
$(noise "$DOWN" | md5sum | cut -d ' ' -f 1)"
}

# transfer NS ADDRESS: both ways of one connection at once.
transfer() {
	local port=$NEXT_PORT
	local -
	set -o pipefail
	NEXT_PORT=$((NEXT_PORT + 1))
	rm -f "$WORLD/up.md5" "$WORLD/down.md5"
	background "serve-$port" internet "$STREAM" inetd "$port" bash -c exchange
	if noise "$UP" | inside "$1" timeout 150 nc -N "$2" "$port" | digest down; then
		wait "${PIDS[serve-$port]}"
		unset "PIDS[serve-$port]"
	else
		stop "serve-$port"
	fi
	digests_are
}

# moves NS NAME
moves() {
	check "$2, IPv4: both ways, unchanged" transfer "$1" "$INTERNET4"
	check "$2, IPv6: both ways, unchanged" transfer "$1" "$INTERNET6"
}

test_mtu() {
	local mtu
	for mtu in 1280 1500 9000 65520; do
		check "up with MTU $mtu" up --mtu "$mtu"
		is "the device has it" "$(ip -j link show byway0 | jq '.[0].mtu')" "$mtu"
		check "and an IPv6 address" grep -q fd62 <(ip -6 addr show byway0)
		moves host "the host, MTU $mtu"
		moves router "a guest, MTU $mtu"
		check "down" by proxy down
	done
}

test_words() {
	local mtu
	for mtu in 1279 65521 big; do
		exits 2 "MTU $mtu is refused" up --mtu "$mtu"
		says "and why is said" "number from 1280 to 65520 \(IPv6 needs 1280\)"
	done
}

# No ICMP error that quotes the guest's connections leaves beside the tunnel.
errors_stay() {
	control
	not grep -E '^icmp (203\.0\.113\.10 3|2001:db8:99::10 [12])$' "$WORLD/observer.out"
}

behind() {
	check "up" up "$@"
	announce guest 10.6.0.1 fd06::1
	narrow guest eth0
	narrow router guest0
	moves guest "a guest behind a narrow link of its router's"
	check "no error about that leaves beside the tunnel" errors_stay
	announce router 10.5.0.1 fd05::1
	narrow_host router0
	narrow router eth0
	moves router "a guest behind a narrow link of the host's"
	check "no error about that leaves beside the tunnel" errors_stay
	check "down" by proxy down
	must ip -n guest link set eth0 mtu 1500
	must ip -n router link set guest0 mtu 1500
	must ip -n router link set eth0 mtu 1500
	must ip link set router0 mtu 1500
}

lay_out
snapshot_host >"$WORLD/before"
background proxy internet "$CONNECT_PROXY" "$PROXY" "$PORT"
start_observer
test_words
test_mtu
behind
behind --no-killswitch
stop_all
check "nothing is left" same_as "$WORLD/before"
done_testing
