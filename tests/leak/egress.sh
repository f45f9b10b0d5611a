#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leak matrix of ways out: every kind in every state, while a workload sends all that it can all the time: TCP,
# UDP, questions for names and pings, of both families. Whatever changes a state happens under that stream. On the far
# side of the host nothing may be seen but what carries the egress.
#
# The same stream is seen when a subnet that goes out by NAT sends it.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

LAB=prod-lab WEB=prod-web

lay_out() {
	egress_servers_start
	ocserv_prepare
	resolvers_start
	printf '%s\n' "$VPN_PASSWORD" >"$WORLD/vpn.pass"
	ocserv_start vpn "route =" "dpd = 2"
	echo_server internet 443
	start_observer
	must by vpc create prod 10.0.0.0/16 --cidr6 fd10::/56
	must by subnet add prod lab 10.0.3.0/24 --type public
	must by subnet add prod web 10.0.1.0/24 --type public
	must by nat enable prod
	must by egress add ssh "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add connect "$(connect_spec $PROXY "")"
	must by egress add vpn "$(openconnect_spec "$INTERNET4" "")"
}

# ---- the stream ----

stream() { # NS
	while :; do
		for to in "$INTERNET4" "$INTERNET6"; do
			inside "$1" "$PROBE" tcp "$to" 443 50
			inside "$1" "$PROBE" udp "$to" 443 20
			inside "$1" "$PROBE" udp "$to" 53 20
			inside "$1" ping -n -q -c 1 -W 0.02 "$to"
		done
		echo >>"$WORLD/rounds-$1"
	done >/dev/null 2>&1
}
begin_stream() {
	stream "$1" &
	PIDS[stream-$1]=$!
}
rounds() { wc -l <"$WORLD/rounds-$1"; }
went_round() { (($(rounds "$1") > $2)); }
# At least a whole round after now.
a_round() {
	local now
	now=$(rounds "$1" 2>/dev/null || echo 0)
	wait_for went_round "$1" $((now + 1))
}

test_control() {
	local line
	begin_watch
	begin_stream $WEB
	a_round $WEB
	stop stream-$WEB
	control
	for line in "tcp $INTERNET4 443" "udp $INTERNET4 443" "udp $INTERNET4 53" "icmp $INTERNET4 8" \
		"tcp $INTERNET6 443" "udp $INTERNET6 443" "udp $INTERNET6 53" "icmp $INTERNET6 128"; do
		check "the observer sees of the stream by NAT: $line" has_seen "$FROM" "$line"
	done
}

# ---- the states ----

# state KIND NAME: whatever led to it, and a round in it.
state() {
	a_round $LAB
	check "$1, $2: nothing leaves" nothing_leaked
	FROM=$CONTROLS
}

server_goes() {
	case $1 in
	ssh) stop_server sshd-plain sshd ;;
	connect) stop proxy ;;
	vpn) ocserv_kill vpn ;;
	esac
}
server_comes() {
	case $1 in
	ssh) sshd_start plain "$SSHD_PORT" ;;
	connect) proxy_start ;;
	vpn) ocserv_start vpn "route =" "dpd = 2" ;;
	esac
}
carries() { reaches $LAB "$INTERNET4" 443; }
comes_up() {
	check "$1: it starts" start_egress "$1"
	check "$1: it carries" wait_for carries
}

test_kind() {
	local kind=$1 pids
	must by egress use prod/lab none
	begin_stream $LAB
	a_round $LAB
	begin_watch
	must by egress use prod/lab "$kind"
	state "$kind" "before it ever ran"
	comes_up "$kind"
	state "$kind" up
	server_goes "$kind"
	check "$kind: the server is gone, so is the route" wait_for unrouted "$kind"
	state "$kind" reconnecting
	server_comes "$kind"
	check "$kind: it carries again" wait_for carries
	state "$kind" "up again"
	read -ra pids <<<"$(egress_pids "$kind")"
	kill -STOP "${pids[@]}"
	state "$kind" stopped
	kill -CONT "${pids[@]}"
	kill -KILL "${pids[0]}"
	check "$kind: killed" wait_for egress_is "$kind" killed
	state "$kind" killed
	comes_up "$kind"
	state "$kind" "up after that"
	nft delete table inet byway_egress
	state "$kind" "without the table for legs"
	must by gc
	ip link del "$(egress "$kind" .leg)"
	state "$kind" "without its leg"
	check "$kind: it stops" by egress stop "$kind"
	state "$kind" down
	server_goes "$kind"
	"$BYWAY" egress run "$kind" >/dev/null 2>&1 </dev/null &
	PIDS[run]=$!
	a_round $LAB
	state "$kind" "connecting to nobody"
	server_comes "$kind"
	check "$kind: it comes up after all" wait_for carries
	kill "${PIDS[run]}"
	wait "${PIDS[run]}"
	unset "PIDS[run]"
	state "$kind" "ended by itself"
	while read -r rule; do ip rule del priority "$rule"; ip -6 rule del priority "$rule"; done \
		< <(ip rule | sed -n 's/^\(98[0-9]*\):.*/\1/p')
	state "$kind" "without its rules of routing"
	stop stream-$LAB
	must by gc
}

lay_out
test_control
for kind in ssh connect vpn; do
	test_kind "$kind"
done
done_testing
