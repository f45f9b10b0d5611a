#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who asks a gateway for a name gets the answer by its own way out, and by no other.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/vm.sh
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

NET=micropod0 GATEWAY=10.10.0.1 GATEWAY6=fd10:10::1
VMS=(plain far near shut)
# What the host's resolver says of some.name, the SSH server's, and the engine of a tunnel over a proxy.
BY_HOST=203.0.113.77 BY_SSH=203.0.113.10 BY_PROXY='^198\.1[89]\.'

lay_out() {
	egress_servers_start
	resolvers_start
	echo_server internet 443
	start_observer
	echo "nameserver $RESOLVER" >/etc/resolv.conf
	wait_for are_settled
	snapshot_host >"$WORLD/before"
	must by network up $NET 10.10.0.0/24 --cidr6 fd10:10::/64 --dhcp
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add dc "$(connect_spec $PROXY "")"
	for name in "${VMS[@]}"; do add_vm "$name"; done
	must by vpc create prod 10.0.0.0/16 --dns
	must by subnet add prod lab 10.0.3.0/24
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
}
are_settled() { ! ip -n internet addr | grep -q tentative; }

add_vm() {
	must by vm add $NET "$1" --owner "$USER_ID"
	boot "$NET/$1" "$1"
}

# ask NS NAME [SERVER [OPTION...]]
ask() { inside "$1" dig +short +time=5 +tries=2 "${@:4}" "@${3:-$GATEWAY}" "$2" A | grep -v '^;;'; }
answers() { [[ $(ask "$@") =~ $ANSWER ]]; }
no_answer() { [[ -z $(ask "$@" +time=1 +tries=1) ]]; }
asked() { grep -qF "] $2 from " "$WORLD/$1.log"; }
servers() { pgrep -f -c "^dnsmasq --conf-file=/run/byway/dns/$1@"; }

test_each_by_its_own() {
	is "everybody by NAT: by the host's resolver" "$(ask far some.name)" $BY_HOST
	is "by one server" "$(servers $NET)" 0
	check "two egresses start" start_egress bastion
	check "both" start_egress dc
	check "routed" wait_for routed bastion
	check "both routed" wait_for routed dc
	check "one goes out by ssh" by egress use $NET/far bastion
	check "one by the proxy" by egress use $NET/near dc
	check "one nowhere" by egress use $NET/shut none
	begin_watch
	is "by ssh" "$(ask far some.name)" $BY_SSH
	is "by TCP" "$(ask far some.name $GATEWAY +tcp)" $BY_SSH
	is "of the gateway's other address" "$(ask far some.name $GATEWAY6)" $BY_SSH
	like "by the proxy" "$(ask near some.name)" "$BY_PROXY"
	ask far far.elsewhere >"$WORLD/answers"
	ask near near.elsewhere >>"$WORLD/answers"
	check "nowhere: no answer" no_answer shut some.name
	check "for nothing" no_answer shut shut.elsewhere
	check "nothing left beside" nothing_leaked
	check "the other side of ssh was asked" asked server far.elsewhere
	fails "the host's resolver was not" asked public far.elsewhere
	fails "nor was it for the others" asked public near.elsewhere
	fails "for none" asked public shut.elsewhere
	fails "nor was the wrong one" asked server near.elsewhere
	fails "at all" asked server shut.elsewhere
	is "by NAT, as before" "$(ask plain some.name)" $BY_HOST
	for name in "${VMS[@]}"; do
		is "$name finds a neighbour" "$(ask "$name" plain.$NET.internal)" "$(vm $NET/plain address)"
	done
	is "three more serve" "$(servers $NET)" 3
}

# The same list has the same number in another VPC.
test_subnets() {
	check "a subnet goes out by ssh" by egress use prod/lab bastion
	is "by ssh" "$(ask prod-lab some.name 10.0.0.1)" $BY_SSH
	is "by NAT" "$(ask prod-web some.name 10.0.0.1)" $BY_HOST
	is "by ssh, still" "$(ask far some.name)" $BY_SSH
	check "DNS off" by dns disable prod
	is "nobody serves" "$(servers prod)" 0
	is "there alone" "$(ask far some.name)" $BY_SSH
	check "and on" by dns enable prod
	is "by ssh again" "$(ask prod-lab some.name 10.0.0.1)" $BY_SSH
	must by egress use prod/lab nat
	is "back to NAT, or no way: nobody else serves" "$(servers prod)" 0
}

test_not_anothers() {
	check "nobody chooses another's server" no_answer far some.name $GATEWAY -p 9800
	check "nor by TCP" no_answer far some.name $GATEWAY -p 9800 +tcp
	check "somebody without a way out has none" no_answer shut some.name $GATEWAY -p 9801
	check "nor does one from outside" no_answer internet some.name $GATEWAY -p 9801
}

test_down() {
	must by egress stop bastion
	begin_watch
	check "an egress that is down: no answer" no_answer far some.name
	check "for nothing" no_answer far down.elsewhere
	check "nothing leaves" nothing_leaked
	fails "nobody is asked" asked public down.elsewhere
	is "by NAT, as before" "$(ask plain some.name)" $BY_HOST
	must start_egress bastion
	check "routed" wait_for routed bastion
	ANSWER=$BY_SSH
	check "up again" wait_for answers far some.name
	while read -r rule; do ip rule del priority "$rule"; done < <(ip rule | sed -n 's/^\(98[0-9]*\):.*/\1/p')
	begin_watch
	check "without rules of routing: no answer" no_answer far some.name
	check "for nothing" no_answer far rules.elsewhere
	check "nor for the host, where the gateway asks" no_answer host some.name 169.254.79.1
	check "nothing leaves, either" nothing_leaked
	check "gc" by gc
	is "puts them back" "$(ask far some.name)" $BY_SSH
	pkill -KILL -x -f "byway dns run $NET@1 --detach"
	wait_for no_answer far some.name
	check "a killed server: gc" by gc
	is "starts it again" "$(ask far some.name)" $BY_SSH
}

test_list() {
	check "a list: the proxy, else ssh" by egress use $NET/far dc,bastion
	like "by the first" "$(ask far some.name)" "$BY_PROXY"
	must by egress stop dc
	ANSWER=$BY_SSH
	check "by the second" wait_for answers far some.name
	must start_egress dc
	check "routed" wait_for routed dc
	ANSWER=$BY_PROXY
	check "by the first again" wait_for answers far some.name
}

# Beside what the host goes out by itself: workloads' names go by theirs.
test_host_way() {
	must by egress use $NET/far bastion
	must by egress use $NET/near dc
	must by egress use host dc
	begin_watch
	is "beside a way out of the host's: by ssh" "$(ask far some.name)" $BY_SSH
	is "by TCP" "$(ask far some.name $GATEWAY +tcp)" $BY_SSH
	like "by the proxy" "$(ask near some.name)" "$BY_PROXY"
	like "by NAT: as the host" "$(ask plain some.name)" "$BY_PROXY"
	must by egress use host none
	is "and while it has none" "$(ask far some.name)" $BY_SSH
	check "by NAT: no answer" no_answer plain none.elsewhere
	check "the host itself asks nobody there" no_answer host some.name 169.254.79.1
	must by egress stop bastion
	check "an egress that is down: no answer" no_answer far down.hostway
	check "nothing leaves" nothing_leaked
	fails "nobody is asked" asked public down.hostway
	fails "nor for NAT" asked public none.elsewhere
	must by egress use host nat
	must start_egress bastion
	check "routed" wait_for routed bastion
}

# A tunnel of the host's takes what carries egresses, and blocks the rest.
test_host_tunnel() {
	must up
	check "the host has a tunnel" wait_for state_is up
	begin_watch
	check "who has an egress gets no answer" no_answer far tunnel.elsewhere
	check "by any" no_answer near tunnel.elsewhere
	fails "nor is it asked through the tunnel" asked server tunnel.elsewhere
	is "who has none asks by that" "$(ask plain some.name)" $BY_SSH
	check "nothing leaves" nothing_leaked
	like "doctor says so" "$(json '.findings[] | select(.check == "ways-out") | .severity + " " + .problem' doctor)" \
		"^problem .*beside which nobody goes out by egresses: $NET/far, $NET/near"
	must by ssh down
	is "without it: nothing" "$(json '[.findings[] | select(.check == "ways-out")] | length' doctor)" 0
	ANSWER=$BY_SSH
	check "by ssh again" wait_for answers far some.name
	ANSWER=$BY_PROXY
	check "by the proxy" wait_for answers near some.name
}

test_gone() {
	must by egress use $NET/far nat
	must by egress use $NET/near nat
	stop shut
	ip netns del shut
	check "who goes nowhere is gone" by vm delete $NET/shut
	VMS=(plain far near)
	is "nobody has a way out of its own: one server" "$(servers $NET)" 0
	is "by the host's resolver" "$(ask far some.name)" $BY_HOST
	must by egress use prod/lab bastion
	is "a VPC with two more" "$(servers prod)" 2
	must by vpc delete prod
	is "goes with them" "$(servers prod) $(ls /run/byway/dns)" "0 $NET"
	must by egress use $NET/far bastion
	for name in "${VMS[@]}"; do
		stop "$name"
		ip netns del "$name"
	done
	check "reset" by reset
	wait_for is_as_before
	check "takes all of it away" is_as_before
}
is_as_before() {
	snapshot_host >"$WORLD/now"
	diff <(grep -v ^process "$WORLD/before") <(grep -v ^process "$WORLD/now") && ! pgrep -x dnsmasq -u dnsmasq
}

lay_out
test_each_by_its_own
test_subnets
test_not_anothers
test_down
test_list
test_host_way
test_host_tunnel
test_gone
done_testing
