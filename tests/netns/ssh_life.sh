#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A tunnel over SSH whose parts die, whose wire is cut, whose server goes away and comes back. After each:
# nothing has left beside the tunnel, nothing is left on the server, old flows are reset, new ones
# wait, and how long it took until traffic flowed again.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"

GONE_S=90 # longer than anything may take to be noticed, or to come back

lay_out() {
	inside internet sh -c 'echo 1 >/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down'
	sshd_prepare
	sshd_start plain "$SSHD_PORT"
	echo_server internet 443
	start_observer
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# Listening ones stay.
sessions() { pgrep -f '^sshd: root'; }
connects() { tunnel 'connections[0].connects'; }
came_up_again() { (($(connects) > $1)); }

# ---- before and after ----

# What was open before; where the observer's record begins.
prepare_for() {
	NAME=$1
	begin_watch
	BEFORE=$(connects)
	flow_open "old-$NAME" host "$INTERNET4" 443
	flow_open "udp-$NAME" host "$INTERNET4" 443 udp-flow
	check "$NAME: before: TCP" flow_works "old-$NAME"
	check "$NAME: before: UDP" flow_works "udp-$NAME"
	is "$NAME: before: the flow is seen" "$(open_flows | wc -l)" 1
	START=$(now_ms)
}
open_flows() { ss -tnH state established dst "$INTERNET4" dport = :443; }
no_open_flows() { [[ -z $(open_flows) ]]; }

# A reset takes the socket away; one that hangs stays.
old_flow_is_reset() { check "$NAME: the old flow is reset" wait_for no_open_flows; }
udp_flow_goes_on() { check "$NAME: the old UDP flow goes on" wait_for flow_works "udp-$NAME"; }
close_flows() {
	flow_close "old-$NAME"
	flow_close "udp-$NAME"
}

# What is sent meanwhile: none of it may be seen outside. Opens the connection that is to wait.
send_meanwhile() {
	local to
	REACH_MS=60000 reaches host "$INTERNET6" 443 >/dev/null 2>&1 &
	WAITING=$!
	for to in "$INTERNET4" "udp:$INTERNET4" "udp:$INTERNET6" "ping:$INTERNET4" "ping:$INTERNET6"; do
		refuses host "$to" 443
	done >/dev/null 2>&1
}
waited() {
	wait "$WAITING"
	is "$NAME: a connection made meanwhile waits, and works" $? 0
}

# From START on.
flows_again() {
	local tcp udp
	WAIT_S=$GONE_S check "$NAME: TCP flows again" wait_for reaches host "$INTERNET4" 443
	tcp=$(($(now_ms) - START))
	WAIT_S=$GONE_S REACH_MS=500 check "$NAME: UDP flows again" wait_for reaches host "udp:$INTERNET4" 443
	udp=$(($(now_ms) - START))
	diag "$NAME: TCP after $tcp ms, UDP after $udp ms"
	check "$NAME: the state is up" wait_for state_is up
	check "$NAME: the agent is up" wait_for agent_is up
	WAIT_S=60 check "$NAME: there is one agent" wait_for one_agent
	# Of one that was on its way when the link was cut: until the server notices.
	WAIT_S=60 check "$NAME: and no file of it" wait_for no_agent_files
	check "$NAME: nothing left beside the tunnel" nothing_leaked
}

# ---- what dies ----

test_kill_ssh() {
	prepare_for "kill -9 of ssh"
	kill -9 "$(master_pid)"
	old_flow_is_reset
	flows_again
	udp_flow_goes_on
	check "$NAME: it came up again" came_up_again "$BEFORE"
	close_flows
}

test_kill_all_ssh() {
	prepare_for "kill -9 of every ssh"
	# shellcheck disable=SC2046 # numbers
	kill -9 $(ssh_pids)
	old_flow_is_reset
	flows_again
	udp_flow_goes_on
	close_flows
}

test_kill_sessions() {
	prepare_for "kill -9 of sshd's sessions"
	# shellcheck disable=SC2046 # numbers
	kill -9 $(sessions)
	old_flow_is_reset
	flows_again
	udp_flow_goes_on
	check "$NAME: it came up again" came_up_again "$BEFORE"
	close_flows
}

test_kill_agent() {
	prepare_for "kill -9 of the agent"
	kill -9 "$(agent_pids)"
	flows_again
	udp_flow_goes_on
	is "$NAME: the streams' connection is the same" "$(connects)" "$BEFORE"
	check "$NAME: a TCP flow goes on" flow_works "old-$NAME"
	close_flows
}

# ---- what is cut ----

link_down() { must ip -n internet link set eth0 down; }
link_up() { must ip -n internet link set eth0 up; }
silence() {
	inside internet nft -f - <<-END
		table inet silence {
			chain in { type filter hook prerouting priority -300; tcp dport $SSHD_PORT drop; }
			chain out { type filter hook output priority -300; tcp sport $SSHD_PORT drop; }
		}
	END
}
voice() { must inside internet nft delete table inet silence; }
sshd_down() {
	stop sshd-plain
	# shellcheck disable=SC2046 # numbers
	kill -9 $(sessions)
}
sshd_up() { sshd_start plain "$SSHD_PORT"; }

# broken_for NAME SECONDS BREAK MEND
broken_for() {
	local end=$((SECONDS + $2))
	prepare_for "$1"
	must "$3"
	check "$NAME: it is noticed" wait_for state_is reconnecting
	old_flow_is_reset
	while ((SECONDS < end - 2)); do pause 1; done
	send_meanwhile
	while ((SECONDS < end)); do pause 0.1; done
	must "$4"
	START=$(now_ms)
	flows_again
	udp_flow_goes_on
	check "$NAME: it came up again" came_up_again "$BEFORE"
	waited
	close_flows
}

# ---- what moves ----

move_to() { # NEW OLD
	must ip addr del "$2/24" dev eth0
	must ip addr add "$1/24" dev eth0
	must ip route replace default via 192.0.2.1
}

# Flows from an address that is no more are over, tunnel or not.
test_address() {
	prepare_for "another address"
	move_to 192.0.2.77 "$HOST4"
	check "$NAME: it came up again" wait_for came_up_again "$BEFORE"
	flows_again
	close_flows
	prepare_for "the first address again"
	move_to "$HOST4" 192.0.2.77
	check "$NAME: it came up again" wait_for came_up_again "$BEFORE"
	flows_again
	close_flows
}

# ---- what does not come back ----

still_blocked() {
	local to
	begin_watch
	for to in "$INTERNET4" "$INTERNET6" "udp:$INTERNET4" "udp:$INTERNET6" "ping:$INTERNET4" "ping:$INTERNET6"; do
		cannot host "$to" 443 "$NAME"
	done
	check "$NAME: nothing left" nothing_leaked
}

# Refusals, as the server has noted them.
refusals() { grep -c 'Connection closed by authenticating user' "$SSHD_DIR/plain.log"; }

test_refused() {
	local n
	prepare_for "refused while reconnecting"
	: >"$SSHD_DIR/authorized"
	# shellcheck disable=SC2046 # numbers
	kill -9 $(sessions)
	check "$NAME: the state is error" wait_for state_is error
	like "$NAME: why" "$(tunnel last_reason)" "Permission denied"
	old_flow_is_reset
	check "$NAME: no ssh is left" wait_for no_ssh
	n=$(refusals)
	still_blocked
	pause 3
	is "$NAME: it is not tried again" "$(refusals)" "$n"
	check "$NAME: nothing is left on the server" wait_for server_is_clean
	cp "$SSHD_DIR/user.pub" "$SSHD_DIR/authorized"
	move_to 192.0.2.77 "$HOST4"
	begin_watch
	START=$(now_ms)
	flows_again
	move_to "$HOST4" 192.0.2.77
	close_flows
}

test_kill_byway() {
	local pid
	wait_for state_is up
	prepare_for "kill -9 of byway"
	pid=$(tunnel pid)
	kill -9 "$pid"
	wait_gone test -e "/proc/$pid"
	check "$NAME: the state is killed" wait_for state_is killed
	still_blocked
	check "$NAME: no ssh is left" wait_for no_ssh
	check "$NAME: nothing is left on the server" wait_for server_is_clean
	close_flows
	# Of sshd's own, those that still speak to an address that is no more.
	# shellcheck disable=SC2046 # numbers
	kill -9 $(sessions) 2>/dev/null
	check "$NAME: down" by ssh down
	check "$NAME: no socket is left" no_sockets
}

snapshot_host >"$WORLD/before"
lay_out
check "up" up || bail "there is no tunnel: $(err)"
check "the state is up" wait_for state_is up
check "the agent is up" wait_for agent_is up
test_kill_ssh
test_kill_sessions
test_kill_all_ssh
test_kill_agent
broken_for "a link cut for 5 s" 5 link_down link_up
broken_for "a silent cut of 12 s" 12 silence voice
broken_for "sshd stopped for 5 s" 5 sshd_down sshd_up
test_address
test_refused
broken_for "a link cut for 60 s" 60 link_down link_up
test_kill_byway
stop_all
check "the network is as before, and no process is left" same_as "$WORLD/before"
done_testing
