#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway prove --states: ways out over real servers are lost one after the other and come back, with probes in each
# state. A leak that is there in one of them alone is found there; what was taken is given back, whatever becomes of
# byway meanwhile.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"
# shellcheck source=tests/lib/prove.sh
. "$WORLD_LIB/prove.sh"

LAB=prod-lab

lay_out() {
	egress_servers_start
	ocserv_prepare
	printf '%s\n' "$VPN_PASSWORD" >"$WORLD/vpn.pass"
	ocserv_start vpn "route =" # whose dead peer detection takes its time
	echo_server internet 443
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24 --type public
	must by subnet add prod db 10.0.2.0/24
	must by nat enable prod
	must by vm add prod/lab box
	must by egress add bastion "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add dc "$(connect_spec $PROXY "")"
	must by egress add office "$(openconnect_spec "$INTERNET4" "")"
	must by egress add idle "$(connect_spec $PROXY "")"
}

carries() { reaches $LAB "$INTERNET4" 443; }
states() { evidence '[.workloads[].state] | join(" | ")'; }
# Two routes into nothing, where its connections begin.
is_cut() { [[ -n $(ip -n "$1.out" route show type unreachable 0.0.0.0/1) ]]; }
is_whole() { [[ -z $(ip -n "$1.out" route show type unreachable) ]]; }

# ---- a list ----

test_list() {
	must start_egress bastion
	must start_egress dc
	must by egress use prod/lab bastion,dc
	check "both are up" wait_for routed bastion
	check "both" wait_for routed dc
	proves $NO_LEAK "a subnet with a list, in all states" prod/lab --states
	is "each was there" "$(states)" \
		"by bastion | without bastion: by dc | without bastion,dc: blocked | back: by bastion"
	is "with who carried, and who was lost" "$(evidence '.workloads[1] | .by + " " + (.lost | join(" "))')" "dc bastion"
	is "with nobody" "$(evidence '.workloads[2].by')" null
	is "and all controls in each" "$(evidence '[.workloads[].watched[] | .seen_before + .seen_after] | unique | join(" ")')" 20
	is "all probes, too" "$(evidence '[.workloads[] | .probes | length] | unique | length')" 1
	like "who is interrupted is told before" "$(err)" 'bastion will be without a network for a while.*prod/lab'
	check "nothing is left of it" is_whole bastion
	check "in none" is_whole dc
	can $LAB "$INTERNET4" 443 "out"
	proves $NO_LEAK "as it is" prod/lab
	is "is told from that" "$(evidence '[.states, .workloads[0].state] | map(tostring) | join(" ")')" "false null"
	proves $NO_LEAK "a machine in it" prod/box --states
	is "has the same states" "$(evidence '.workloads | length')" 4
	proves $NO_LEAK "a private subnet" prod/db --states
	is "has one" "$(states)" "the only one"
}

# Somebody wants things to work, too, when no tunnel does: while one is up, none of that is seen.
fallback() { # add|del
	ip rule "$1" priority 9815 lookup main
	ip -6 rule "$1" priority 9815 lookup main
}
test_leak() {
	fallback add
	must nft insert rule inet byway forward ip saddr 10.0.3.0/24 oifname eth0 accept
	must nft insert rule inet byway forward ip6 saddr fd10::/56 oifname eth0 accept
	masquerade eth0
	proves $NO_LEAK "a way round, while it carries" prod/lab
	proves $LEAK "and in all states" prod/lab --states
	finds "is found" eth0 tcp udp icmp dns dns-tcp
	is "of IPv6, too" "$(leak_of udp ipv6)" eth0
	is "in that state alone" "$(evidence '[.leaks[].state] | unique | join(" ")')" "without bastion,dc: blocked"
	like "in words" "$("$BYWAY" prove prod/lab --states 2>/dev/null)" \
		'LEAK: prod/lab \(without bastion,dc: blocked\): tcp \(ipv4\) left by eth0'
	no_mistake
	fallback del
	must by gc
}

test_not_up() {
	must by egress use prod/lab bastion,idle
	proves $NOT_PROVED "a list with one that does not run" prod/lab --states
	like "is no proof that it takes over" "$(evidence '.obstacles[]')" 'no state in which idle carries could be brought about'
	is "the others are shown" "$(states)" "by bastion | without bastion: blocked | back: by bastion"
	must by egress use prod/lab bastion,dc
	kill -KILL "$(egress bastion .pid)"
	check "one is killed" wait_for egress_is bastion killed
	proves $NOT_PROVED "a list with it" prod/lab --states
	is "does not go on to the next" "$(states)" "blocked | without dc: blocked | back: blocked"
	must start_egress bastion
	check "it is back" wait_for routed bastion
	must by egress use prod/lab bastion
}

# ---- what becomes of it when byway ends ----

# begin_states TARGET COMMAND...: in the background, up to the moment when the command succeeds.
begin_states() {
	local target=$1
	shift
	env --default-signal=INT "$BYWAY" prove "$target" --states >/dev/null 2>&1 &
	PIDS[prove]=$!
	wait_for "$@"
}
# end_states SIGNAL PID...
end_states() {
	kill "-$1" "${@:2}"
	wait "${PIDS[prove]}" 2>/dev/null
	unset "PIDS[prove]"
}
guard() { pgrep -P "${PIDS[prove]}"; }

test_ends() {
	local signal
	for signal in INT TERM KILL; do
		check "it is cut off" begin_states prod/lab is_cut bastion
		end_states $signal "${PIDS[prove]}"
		check "and given back after SIG$signal" wait_for is_whole bastion
	done
	check "cut off once more" begin_states prod/lab is_cut bastion
	end_states KILL "$(guard)" "${PIDS[prove]}"
	check "both are killed: it stays" is_cut bastion
	check "gc" by gc
	check "gives it back" is_whole bastion
	check "it carries" wait_for carries
	check "cut off once more" begin_states prod/lab is_cut bastion
	end_states KILL "$(guard)" "${PIDS[prove]}"
	kill -KILL "$(egress bastion .pid)"
	check "all are killed" wait_for egress_is bastion killed
	check "it is started" start_egress bastion
	check "which gives it back, too" is_whole bastion
	check "it carries" wait_for carries
}

# ---- one by one ----

test_each() {
	local name
	must start_egress office
	check "a VPN is up" wait_for routed office
	for name in bastion dc office; do
		proves $NO_LEAK "$name itself" "$name" --states
		is "in its states" "$(states)" "by $name | without $name: blocked | back: by $name"
	done
	must by egress use prod/lab office,dc
	proves $NO_LEAK "a subnet behind a VPN and a proxy" prod/lab --states
	is "which takes over" "$(states)" "by office | without office: by dc | without office,dc: blocked | back: by office"
	must by egress stop office
	must by egress use prod/lab nat
	session_begin vpn
	proves $NO_LEAK "a session" vpn-1 --states
	is "in its states" "$(states)" "by vpn-1 | without vpn-1: blocked | back: by vpn-1"
	must by session down vpn
}

test_host_way() {
	must by egress use host bastion,dc
	proves $NO_LEAK "the host's way out" host --states
	is "in its states" "$(states)" \
		"by bastion | without bastion: by dc | without bastion,dc: blocked | back: by bastion"
	must by egress use host nat
	must by egress stop bastion
	must by egress stop dc
}

is_stopped() { grep -q '^State:.*T (stopped)' "/proc/$(tunnel pid)/status"; }
is_awake() { ! is_stopped; }
test_tunnel() {
	must up
	check "the host's tunnel" wait_for state_is up
	proves $NO_LEAK "the host's tunnel" host --states
	is "in its states" "$(states)" "by host | host stopped: blocked | back: by host"
	check "it goes on" is_awake
	check "it hangs" begin_states host is_stopped
	end_states KILL "${PIDS[prove]}"
	check "and goes on when byway is killed" wait_for is_awake
	check "it hangs again" begin_states host is_stopped
	end_states KILL "$(guard)" "${PIDS[prove]}"
	check "for good, if all is killed" is_stopped
	check "gc" by gc
	check "lets it go on" is_awake
	can host "$INTERNET4" 443 "by it"
	must by ssh down
}

lay_out
test_list
test_leak
test_not_up
test_ends
test_each
test_host_way
test_tunnel
done_testing
