#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Networks and single virtual machines with ways out of their own; what crashes leave; gc and reset.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/vm.sh
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

NET=micropod0
VMS=(plain own shut)

lay_out() {
	egress_servers_start
	web_server internet 8080
	echo_server internet 443
	start_observer
	wait_for are_settled
	snapshot_host >"$WORLD/before"
	must by network up $NET 10.10.0.0/24 --cidr6 fd10:10::/64
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add dc "$(connect_spec $PROXY "")"
	boot_all
}
are_settled() { ! ip -n internet addr | grep -q tentative; }

add_vm() {
	must by vm add $NET "$1" --owner "$USER_ID"
	boot "$NET/$1" "$1"
}
boot_all() {
	local name
	for name in "${VMS[@]}"; do add_vm "$name"; done
}

page() { get "$1" "http://$INTERNET4:8080/"; }
by_nat() { [[ $(page "$1") == "hello from internet to $HOST4" ]]; }
by_other() { [[ $(page "$1") == "hello from internet to $INTERNET4" ]]; }
# A proxy carries no UDP.
by_ssh() { by_other "$1" && reaches "$1" "udp:$INTERNET4" 443; }
by_proxy() { by_other "$1" && refuses "$1" "udp:$INTERNET4" 443; }

test_network() {
	check "a VM goes out by its network's NAT" by_nat plain
	check "two egresses start" start_egress bastion
	check "both" start_egress dc
	check "routed" wait_for routed bastion
	check "both routed" wait_for routed dc
	check "the network goes out by ssh" by egress use $NET bastion
	check "so does the VM" by_ssh plain
	check "of IPv6, too" reaches plain "$INTERNET6" 443
	check "one has its own" by egress use $NET/own dc
	check "the proxy" by_proxy own
	check "one has none" by egress use $NET/shut none
	check "and gets nowhere" refuses shut "$INTERNET4" 443
	check "but to its neighbours" reaches shut "ping:$(vm $NET/plain address)"
	check "the first still goes by ssh" by_ssh plain
}

test_network_nat() {
	check "the network goes out by NAT again" by egress use $NET nat
	check "so does the VM" by_nat plain
	check "the other still by the proxy" by_proxy own
	begin_watch
	spray shut
	spray own
	check "the third nowhere, the second by nothing else" nothing_leaked
	check "NAT off and on" by nat disable $NET
	must by nat enable $NET
	begin_watch
	spray shut
	spray own
	check "changes nothing of that" nothing_leaked
	check "the network goes out by ssh" by egress use $NET bastion
	must by nat disable $NET
	must by nat enable $NET
	stop_server sshd-plain sshd
	wait_for unrouted bastion
	begin_watch
	spray plain
	check "nor of a network with an egress that is not up" nothing_leaked
	sshd_start plain "$SSHD_PORT"
	check "up again" wait_for by_ssh plain
}

test_vm_goes() {
	local address
	address=$(vm $NET/own address)
	shut_down own
	check "a VM goes, with what it goes out by" by vm delete $NET/own
	add_vm own
	is "another of that name, and address" "$(vm $NET/own address)" "$address"
	check "goes out as its network does" by_ssh own
	exits 7 "an egress in use stays" by egress delete bastion
	check "one that is not goes, running as it is" by egress delete dc
	is "with all of it" "$(ip netns | grep -c '^dc') $(ip link show group 25213 | grep -c leg-dc)" "0 0"
}

# ---- what crashes and others leave ----

test_gc() {
	local pid
	nft flush ruleset
	while read -r pid; do ip rule del priority "$pid"; done < <(ip rule | sed -n 's/^\(98[0-9]*\):.*/\1/p')
	check "rules are gone: gc" by gc
	check "puts them back" wait_for by_ssh plain
	pid=$(egress bastion .pid)
	kill -KILL "$pid"
	check "its process is killed: gc" by gc
	is "takes away what it left" "$(egress bastion .state) $(ip netns | grep -c '^bastion')" "down 0"
	begin_watch
	spray plain
	check "and nothing leaves" nothing_leaked
	check "gc once more" by gc
	prints "finds nothing" "nothing|0"
	check "it starts again" start_egress bastion
	check "routed" wait_for by_ssh plain
}

test_reset() {
	local name
	for name in "${VMS[@]}"; do shut_down "$name"; done
	check "reset" by reset
	wait_for is_as_before
	check "takes all of it away" is_as_before
}
is_as_before() {
	snapshot_host >"$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now")
}

lay_out
test_network
test_network_nat
test_vm_goes
test_gc
test_reset
done_testing
