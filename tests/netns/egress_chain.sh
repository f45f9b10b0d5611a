#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Egresses that go out by others, and lists, of which the first that is up counts.
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
EXIT_UNREACHABLE=5

lay_out() {
	sshd_prepare
	ocserv_prepare
	resolvers_start
	echo "nameserver $RESOLVER" >/etc/resolv.conf # who may not be asked for what goes out by an egress
	printf s3cret >"$WORLD/proxy.pass"
	printf '%s\n' "$VPN_PASSWORD" >"$WORLD/vpn.pass"
	ocserv_start vpn "route =" "dpd = 2"
	sshd_start plain "$SSHD_PORT"
	proxy_behind_vpn
	# Else what a server still sends to a client of before would come by the host, and be seen.
	must ip -n internet route add unreachable 10.99.0.0/16
	web_server internet 8080
	echo_server internet 443
	start_observer
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24
}

# Its name is known to the VPN's resolver alone.
proxy_behind_vpn() {
	printf '%s\n' "Port $PROXY_PORT" "Listen $CORP4" "Timeout 600" "MaxClients 100" \
		"LogFile \"$WORLD/tiny.log\"" "BasicAuth alice s3cret" >"$WORLD/tiny.conf"
	become corp tinyproxy -d -c "$WORLD/tiny.conf" >"$WORLD/tiny.out" 2>&1 </dev/null &
	PIDS[proxy]=$!
	wait_for inside corp "$PROBE" tcp "$CORP4" "$PROXY_PORT" 500 || bail "tinyproxy does not start"
}

page() { get "$1" "http://$2:8080/"; }
comes_up() {
	check "$1 starts" start_egress "$1"
	check "$1 is routed" wait_for routed "$1"
}
mtu_of() { ip -j link show dev "$1" | jq '.[0].mtu'; }

# ---- chains ----

# The first of a chain alone may be seen.
test_three() {
	CARRIERS="tcp $INTERNET4 $OCSERV_PORT
udp $INTERNET4 $OCSERV_PORT"
	must by egress add vpn "$(openconnect_spec "$INTERNET4" "")"
	must by egress add dc "$(connect_spec www.corp.test ", via: vpn")"
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" ", via: dc")"
	must by egress use prod/lab bastion
	exits $EXIT_UNREACHABLE "what it goes out by has to run" by egress run dc
	begin_watch
	comes_up vpn
	comes_up dc
	comes_up bastion
	is "ssh through a proxy through a VPN: a page" "$(page $LAB "$INTERNET4")" \
		"hello from internet to $INTERNET4"
	is "of IPv6" "$(page $LAB "[$INTERNET6]")" "hello from internet to $INTERNET6"
	can $LAB "udp:$INTERNET4" 443
	is "a name, by the last one's resolver" \
		"$(inside $LAB dig +short +tries=1 +time=10 "@$NOBODY" some.name A)" 203.0.113.10
	check "nothing left but the VPN" nothing_leaked
	is "the chain's MTU is the VPN's" "$(mtu_of veth-dc)" "$(mtu_of leg-vpn)"
	begin_watch
	kill -KILL "$(egress vpn .pid)"
	# openconnect says goodbye before it goes.
	check "with its first link killed nothing gets through" wait_for refuses $LAB "$INTERNET4" 443
	spray $LAB
	pause 3 # the others try again meanwhile
	check "and nothing leaves, by none of them" nothing_leaked
	check "vpn starts again" start_egress vpn
	check "and all the others come back by themselves" wait_for page $LAB "$INTERNET4"
	check "they stop" stop_chain
	is_gone
}
# One after the other: what a connection's end has not passed yet is not taken away before it.
stop_chain() {
	by egress stop bastion && wait_for nobody_connected internet sport = ":$SSHD_PORT" &&
		by egress stop dc && by egress stop vpn
}
is_gone() {
	is "no namespace is left, no leg, no table" \
		"$(ip netns | grep -cE '^(vpn|dc|bastion)') $(ip link show group 25213 | wc -l) $(nft list tables | grep -c byway_egress)" \
		"0 0 0"
}

test_vpn_through_ssh() {
	CARRIERS="tcp $SSH_SERVER $SSHD_PORT"
	must by egress use prod/lab none
	must by egress delete bastion dc vpn
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add vpn "$(openconnect_spec vpn.test ", via: bastion")"
	must by egress use prod/lab vpn
	wait_for nobody_connected internet || bail "a server has connections of before"
	begin_watch
	comes_up bastion
	comes_up vpn
	like "a VPN through ssh: a page" "$(get $LAB "http://$CORP4/")" "hello from corp to 10\.99\."
	check "neither its server nor whom the host would ask for its name was seen" nothing_leaked
	check "they stop" by egress stop vpn
	must by egress stop bastion
	is_gone
}

# ---- lists ----

by_ssh() { [[ $(page $LAB "$INTERNET4") == "hello from internet to $INTERNET4" ]]; }
by_vpn() { [[ $(page $LAB "$INTERNET4") == "hello from internet to 10.99."* ]]; }

test_list() {
	CARRIERS="tcp $SSH_SERVER $SSHD_PORT
tcp $INTERNET4 $OCSERV_PORT
udp $INTERNET4 $OCSERV_PORT"
	must by egress use prod/lab none
	must by egress delete vpn
	must by egress add vpn "$(openconnect_spec "$INTERNET4" "")"
	check "a list" by egress use prod/lab bastion,vpn
	begin_watch
	comes_up bastion
	comes_up vpn
	check "the first counts" by_ssh
	flow_open over $LAB "$INTERNET4" 443
	stop_server sshd-plain sshd
	check "it is gone: the second does" wait_for by_vpn
	check "what was open is cut" flow_is_cut over
	flow_close over
	ocserv_kill vpn
	check "that is gone, too" wait_for unrouted vpn
	cannot $LAB "$INTERNET4" 443 "with no way out"
	spray $LAB
	ocserv_start vpn "route =" "dpd = 2"
	check "the second is back" wait_for by_vpn
	sshd_start plain "$SSHD_PORT"
	check "the first is back, and counts again" wait_for by_ssh
	check "nothing ever left beside them" nothing_leaked
	kill -KILL "$(egress bastion .pid)"
	check "the first is killed: it still counts, and blocks" refuses $LAB "$INTERNET4" 443
	check "stopped, it does not" by egress stop bastion
	check "so the second does" wait_for by_vpn
	check "nothing left beside them" nothing_leaked
}

lay_out
test_three
test_vpn_through_ssh
test_list
done_testing
