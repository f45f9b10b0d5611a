#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leak matrix of the host's own way out: in every state of it, while the host, and a container-like guest behind a
# bridge of nobody's, send all that they can all the time: TCP, UDP, questions for names to public and local resolvers,
# pings, sockets bound to each device, sources that are not theirs, of both families. Whatever changes a state happens
# under that stream. On the far side of the host nothing may be seen but what carries the egresses; and whoever calls the
# host from there is answered.
#
# The same stream is seen while the host goes out as usual.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

SPRAY=$(realpath "${SPRAY:-$WORLD_TREE/build/tests/leak/spray}")
STEP=$(realpath "${STEP:-$WORLD_TREE/build/tests/leak/step.so}")
OFFICE_PORT=2222
CARRIERS+="
tcp $SSH_SERVER $OFFICE_PORT"
LAN4=192.0.2.77 # beside the host, and excluded
EXCLUDED=192.0.2.64/26
NFTABLES=true
[[ ${BYWAY_FIREWALL:-} != iptables ]] || NFTABLES=false

lay_out() {
	sshd_prepare
	printf s3cret >"$WORLD/proxy.pass"
	sshd_start home "$SSHD_PORT"
	sshd_start office "$OFFICE_PORT"
	must ip -n internet addr add $LAN4/24 dev eth0
	echo_server internet 443
	echo_server host 7002
	guest_behind_host
	# Who lies about where he is would be answered there; of IPv6 there is no such filter.
	echo 1 >/proc/sys/net/ipv4/conf/guest0/rp_filter
	start_observer
	must by egress add home "$(ssh_spec "root@$SSH_SERVER" "")"
	must by egress add office "$(ssh_spec "root@$SSH_SERVER" ", port: $OFFICE_PORT")"
}

# ---- the stream ----

everything() {
	local to
	for to in "$INTERNET4" "$INTERNET6"; do
		printf '%s - %s %s\n' tcp "$to" 443 udp "$to" 443 udp "$to" 53 tcp "$to" 53 icmp "$to" 0 \
			each "$to" 444
	done
	# The local network's resolvers, the excluded one among them.
	printf '%s - %s 53\n' udp 192.0.2.1 tcp 192.0.2.1 udp "$LAN4" tcp "$LAN4"
	printf 'raw %s %s 445\n' 198.51.100.9 "$INTERNET4" 192.0.2.99 "$INTERNET4" 10.0.1.2 "$INTERNET4" \
		2001:db8:7::9 "$INTERNET6" fd10::9 "$INTERNET6"
}
stream() { # NS
	everything | if [[ $1 == host ]]; then cat; else grep -v "^raw.*:"; fi >"$WORLD/all-$1"
	become "$1" "$SPRAY" loop 20 <"$WORLD/all-$1" >"$WORLD/stream-$1.out" 2>&1 &
	PIDS[stream-$1]=$!
	wait_for test -s "$WORLD/stream-$1.out"
}
begin_streams() {
	stream host
	stream guest
}
end_streams() {
	stop stream-host
	stop stream-guest
}
rounds() { grep -c round "$WORLD/stream-$1.out"; }
went_round() { (($(rounds host) > $1 && $(rounds guest) > $2)); }
# At least a whole round after now.
a_round() { wait_for went_round $(($(rounds host) + 1)) $(($(rounds guest) + 1)); }

test_control() {
	local line
	begin_watch
	begin_streams
	a_round
	end_streams
	control
	for line in "tcp $INTERNET4 443" "udp $INTERNET4 443" "udp $INTERNET4 53" "tcp $INTERNET4 53" \
		"icmp $INTERNET4 8" "udp $INTERNET4 444" "tcp $INTERNET6 443" "udp $INTERNET6 443" \
		"udp $INTERNET6 53" "icmp $INTERNET6 128" "udp $INTERNET6 444" "udp 192.0.2.1 53" \
		"tcp $LAN4 53" "udp $INTERNET4 445" "udp $INTERNET6 445"; do
		check "the observer sees of the stream as usual: $line" has_seen "$FROM" "$line"
	done
}

# ---- the states ----

# What the host still says to who called it from outside (state()) is no leak: nobody sends to such ports.
nothing_leaked() {
	control
	! leaked | grep -vE "^tcp (192\.0\.2\.1|2001:db8:2::1) [3-6][0-9]{4}$"
}


# state NAME: whatever led to it, and a round in it.
state() {
	a_round
	check "$1: nothing leaves" nothing_leaked
	can internet "$HOST4" 7002 "$1"
	can internet "udp:$HOST6" 7002 "$1"
	begin_watch
}

use() { by egress use host "$@" --exclude "$EXCLUDED"; }
carries() { reaches host "$INTERNET4" 443 && reaches guest "$INTERNET4" 443; }
comes_up() {
	check "$1: it starts" start_egress "$1"
	check "$1: routed" wait_for routed "$1"
}
lose_rules() {
	local family priority
	for family in -4 -6; do
		while read -r priority; do ip $family rule del priority "$priority"; done \
			< <(ip $family rule | sed -n 's/^\(981[0-9]\):.*/\1/p')
	done
}

test_states() {
	local pids
	must use none
	begin_streams
	begin_watch
	state "no way out"
	must use home,office
	state "before any ever ran"
	comes_up home
	comes_up office
	check "it carries" wait_for carries
	state up
	stop_server sshd-home sshd
	check "the server is gone, so are the routes" wait_for unrouted home
	check "of both" wait_for unrouted office
	state reconnecting
	sshd_start office "$OFFICE_PORT"
	check "one is back" wait_for routed office
	check "it carries" wait_for carries
	state "up by the second"
	sshd_start home "$SSHD_PORT"
	check "the other is, too" wait_for routed home
	state "up by the first again"
	read -ra pids <<<"$(egress_pids home)"
	kill -STOP "${pids[@]}"
	state stopped
	kill -CONT "${pids[@]}"
	kill -KILL "${pids[0]}"
	check "killed" wait_for egress_is home killed
	state killed
	must by gc
	state "gc'd: by the second"
	check "it carries" wait_for carries
	comes_up home
	ip link del "$(egress home .leg)"
	state "without the first's leg"
	must by egress stop home
	must by egress stop office
	state "both stopped"
}

# Others' hands.
test_without() {
	comes_up home
	check "it carries" wait_for carries
	lose_rules
	state "without the rules of routing"
	must by gc
	ip route flush table "$(egress home .table)"
	state "without the route into the leg"
	must by egress stop home
	comes_up home
	if $NFTABLES; then
		nft delete table inet byway_egress
		state "without the table for legs"
		must by gc
		nft -f - <<-'END'
			table inet rude {
				chain output { type filter hook output priority -149; meta mark set 0; }
				chain prerouting { type filter hook prerouting priority -149; meta mark set 0; }
			}
		END
		state "with marks overwritten"
		nft delete table inet rude
	fi
	must by gc
	check "it carries" wait_for carries
}

# Lists that come and go, and byway killed in the middle.
test_changes() {
	local list n
	comes_up office
	for list in office home,office none home office,home; do
		must use "$list"
	done
	state "lists come and go"
	for n in {1..12}; do
		((n % 2)) && list=home || list=office,home
		kill_later "$(printf 0.%03d $((3 * n)))" egress use host $list --exclude "$EXCLUDED"
	done
	state "byway was killed in the middle of changes"
	must by gc
	state "gc'd after that"
	must use home,office
	check "it carries" wait_for carries
}

# Each message to the kernel waits for a round of the stream.
has_ended() { ! kill -0 "$1" 2>/dev/null; }
walk() { # PID
	STEPS_TAKEN=0
	until has_ended "$1"; do
		read -r -t 0.1 -u "$STEPS" _ || continue
		a_round
		STEPS_TAKEN=$((STEPS_TAKEN + 1))
		echo >&"$LEAVE"
	done
}
test_steps() {
	local list pid
	mkfifo "$WORLD/step.out" "$WORLD/step.in"
	exec {STEPS}<>"$WORLD/step.out" {LEAVE}<>"$WORLD/step.in"
	for list in none home office,home; do
		LD_PRELOAD=$STEP STEP_OUT=$WORLD/step.out STEP_IN=$WORLD/step.in \
			ASAN_OPTIONS=verify_asan_link_order=0 \
			"$BYWAY" -q egress use host "$list" --exclude "$EXCLUDED" >"$WORLD/steps.out" 2>&1 &
		pid=$!
		walk $pid
		wait $pid
		is "to $list in $STEPS_TAKEN steps" $? 0
		check "there were steps" test "$STEPS_TAKEN" -gt 3
		state "to $list, step by step"
	done
	exec {STEPS}>&- {LEAVE}>&-
}

test_end() {
	end_streams
	check "proved" by prove host
	check "the usual way again" by egress use host nat
	test_control
	must by egress delete home office
	is "nothing is left" "$(ip rule | grep -c '^98')$(ip link show group 25213 | wc -l)" 00
}

lay_out
test_control
test_states
test_without
test_changes
[[ ${BYWAY_FIREWALL:-native} != native ]] || test_steps # others have others ask the kernel
test_end
done_testing
