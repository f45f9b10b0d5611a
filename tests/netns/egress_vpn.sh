#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Workloads that go out by a VPN.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

LAB=prod-lab

lay_out() {
	sshd_prepare
	ocserv_prepare
	printf s3cret >"$WORLD/proxy.pass"
	printf '%s\n' "$VPN_PASSWORD" >"$WORLD/vpn.pass"
	ocserv_start vpn "route =" "dpd = 2"
	echo_server internet 443
	echo_server corp 443
	start_observer
	wait_for are_settled
	snapshot "$WORLD/before"
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
}

are_settled() { ! { ip -n internet addr; ip -n corp addr; } | grep -q tentative; }

page() { get "$1" "http://$2/"; }

# ---- one VPN ----

test_vpn() {
	check "an egress over openconnect" by egress add vpn "$(openconnect_spec "$INTERNET4" "")"
	check "the lab goes out by it" by egress use prod/lab vpn
	begin_watch
	spray $LAB
	check "before it runs nothing leaves" nothing_leaked
	check "it starts" start_egress vpn
	check "it is up" wait_for egress_is vpn up
	check "and routed" wait_for routed vpn
	begin_watch
	like "a page: who asked is the VPN's address" "$(page $LAB $CORP4)" "hello from corp to 10\.99\."
	like "of IPv6" "$(page $LAB "[$CORP6]")" "hello from corp to fd99:"
	can $LAB "udp:$CORP4" 443
	can $LAB "ping:$CORP4"
	can $LAB "ping:$CORP6"
	is "a name, whoever is asked: the VPN's resolver" \
		"$(inside $LAB dig +short +tries=1 +time=10 "@$NOBODY" www.corp.test A)" "$CORP4"
	is "by TCP" "$(inside $LAB dig +tcp +short +tries=1 +time=10 "@$NOBODY" www.corp.test A)" "$CORP4"
	check "nothing left beside the VPN" nothing_leaked
	is "the leg's MTU is that of the VPN" "$(mtu_of host "$(egress vpn .leg)")" \
		"$(mtu_of vpn tun0)"
}
mtu_of() { inside "$1" ip -j link show dev "$2" | jq '.[0].mtu'; }

is_blocked() {
	begin_watch
	cannot $LAB "$CORP4" 443 "$1"
	cannot $LAB "$CORP6" 443 "$1"
	spray $LAB
	check "$1: nothing leaves" nothing_leaked
}

test_vpn_states() {
	local pid
	ocserv_kill vpn
	check "the server is gone: no route leads there" wait_for unrouted vpn
	is_blocked reconnecting
	ocserv_start vpn "route =" "dpd = 2"
	check "it is back" wait_for egress_is vpn up
	check "routed" wait_for routed vpn
	check "a page again" page $LAB $CORP4
	pid=$(egress vpn .pid)
	kill -STOP "$pid"
	check "its process is stopped: openconnect goes on" page $LAB $CORP4
	kill -CONT "$pid"
	kill -KILL "$pid"
	check "killed" wait_for egress_is vpn killed
	is_blocked killed
	check "it starts again, over what is left" start_egress vpn
	check "it is up" wait_for egress_is vpn up
	check "routed" wait_for routed vpn
	check "a page again" page $LAB $CORP4
}

test_gone() {
	check "it stops" by egress stop vpn
	is_blocked down
	check "the lab goes nowhere" by egress use prod/lab none
	is_blocked none
	check "the egress goes" by egress delete vpn
	check "the VPC goes" by vpc delete prod
	wait_for is_as_before
	check "nothing is left" is_as_before
}

is_as_before() {
	snapshot "$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now")
}

lay_out
test_vpn
test_vpn_states
test_gone
done_testing
