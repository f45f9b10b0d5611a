#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leak matrix of the tunnel over SSH: in every state of it, what the host sends and what it forwards
# for a guest, seen by an observer on the far side, who may see nothing but ssh. The first state is
# `down`: the same probes by the same observer, so that each of them would have been seen. Starting and
# stopping are looked at between any two messages to the kernel (step.c).
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"
# shellcheck source=tests/lib/matrix.sh
. "$WORLD_LIB/matrix.sh"

STEP=$(realpath "${STEP:-$WORLD_TREE/build/tests/leak/step.so}")

start_servers() {
	echo_server internet 53
	echo_server internet 443
	wait_for reaches guest "$INTERNET6" 443 || bail "the guest reaches nobody"
	sshd_prepare
	start_sshd
	start_observer
}
start_sshd() { sshd_start plain "$SSHD_PORT"; }
# shellcheck disable=SC2046 # numbers
end_sessions() { kill -9 $(pgrep -f '^sshd: root'); }

# All of one class: everything belongs into the tunnel. Queries are the server's to answer, whoever is
# asked.
probes() {
	local ns port to4=$INTERNET4 to6=$INTERNET6
	for ns in host guest; do
		for port in 53 443; do
			cat <<-LIST
				$ns|all|tcp $to4 $port|reaches $ns $to4 $port
				$ns|all|tcp $to6 $port|reaches $ns $to6 $port
				$ns|all|udp $to4 $port|reaches $ns udp:$to4 $port
				$ns|all|udp $to6 $port|reaches $ns udp:$to6 $port
			LIST
		done
		cat <<-LIST
			$ns|all|icmp $to4 8|reaches $ns ping:$to4
			$ns|all|icmp $to6 128|reaches $ns ping:$to6
		LIST
		to4=$FOR_GUEST4 to6=$FOR_GUEST6
	done
	cat <<-LIST
		host|all|udp $RESOLVER4 53|reaches host udp:$RESOLVER4 53
		host|all|tcp $RESOLVER6 53|reaches host $RESOLVER6 53
		guest|all|udp $RESOLVER6 53|reaches guest udp:$RESOLVER6 53
		guest|all|tcp $RESOLVER4 53|reaches guest $RESOLVER4 53
	LIST
}

expected() {
	case $1 in
	down) echo leaves ;;
	up) echo tunnelled ;;
	*) echo blocked ;;
	esac
}

# closed STATE NAME [CARRIER]: the matrix, and that the observer has seen nothing at all but that.
closed() {
	FROM=$((CONTROLS + 1))
	matrix "$@"
	check "$2: nothing else left" not leaked
}

carried() { # STATE NAME
	closed "$1" "$2" "tcp $SSH_SERVER $SSHD_PORT"
	check "$2: the state is $1" wait_for state_is "$1"
}

stands() { [[ -e /sys/class/net/byway0 ]]; }
has_agent() { check "$1: the agent is there" wait_for agent_is up; }

# ---- states ----

# unreachable ADDRESS: while byway waits for the first connection, and when it has gone on without.
unreachable() {
	local began up
	control
	began=$CONTROLS
	CARRIER="tcp $1 $SSHD_PORT"
	by ssh -q --detach "${WORDS[@]}" -o ConnectTimeout=8 "root@$1" >"$WORLD/up.out" 2>&1 &
	up=$!
	wait_for stands
	closed connecting "$1, the first connection"
	check "$1: the state is connecting" state_is connecting
	wait "$up"
	is "$1: up" $? 0
	closed connecting "$1, in the background"
	check "$1: the state is connecting" state_is connecting
	check "$1: ssh has tried" has_seen "$began" "$CARRIER"
	check "$1: down" by ssh down
	CARRIER="tcp $SSH_SERVER $SSHD_PORT"
}

# Flows that were there before the tunnel are not to go on beside it, nor answer.
test_old_flows() {
	flow_open old-tcp host "$INTERNET4" 443
	flow_open old-tcp6 guest "$FOR_GUEST6" 443
	check "before: a TCP flow works" flow_works old-tcp
	check "before: a TCP flow of the guest works" flow_works old-tcp6
	check "up" up
	observed use_old_flows
	check "an old TCP flow is cut" not seen "tcp $INTERNET4 443"
	check "an old TCP flow of the guest is cut" not seen "tcp $FOR_GUEST6 443"
	flow_close old-tcp
	flow_close old-tcp6
}
use_old_flows() {
	flow_is_cut old-tcp >/dev/null
	flow_is_cut old-tcp6 >/dev/null
}

test_up() {
	has_agent up
	carried up up
}

test_reconnecting() {
	stop sshd-plain
	end_sessions
	check "reconnecting: the state" wait_for state_is reconnecting
	carried reconnecting reconnecting
	start_sshd
	check "reconnected: the state" wait_for state_is up
	has_agent reconnected
	carried up reconnected
}

# The agent alone is gone, and is not let in again; the streams go on. With the next connection it has
# another try.
test_no_agent() {
	: >"$SSHD_DIR/authorized"
	kill -9 "$(agent_pids)"
	check "without an agent: it is given up" wait_for agent_is unavailable
	FROM=$((CONTROLS + 1))
	observed send_all error
	check "without an agent: nothing else left" not leaked
	check "without an agent: the state is up" state_is up
	cp "$SSHD_DIR/user.pub" "$SSHD_DIR/authorized"
	end_sessions
	has_agent "once it may"
	check "once it may: the state" wait_for state_is up
}

test_error() {
	: >"$SSHD_DIR/authorized"
	end_sessions
	check "error: the state" wait_for state_is error
	closed error error
	check "error: it stays so" state_is error
	cp "$SSHD_DIR/user.pub" "$SSHD_DIR/authorized"
	check "error: down" by ssh down
}

test_killed() {
	local pid
	check "up, to be killed" up
	has_agent killed
	pid=$(tunnel pid)
	kill -KILL "$pid"
	wait_gone test -e "/proc/$pid"
	check "killed: no ssh is left" wait_for no_ssh
	closed killed killed
	check "the state is killed" state_is killed
	check "up again after that" up
	has_agent "up after killed"
	carried up "up after killed"
	check "down" by ssh down
	matrix down "down after killed"
}

# ---- starting and stopping, step by step ----

has_ended() { ! kill -0 "$1" 2>/dev/null; }
# The status is written when all stands.
stands_or_ended() { [[ -e /run/byway/tunnel/host.json ]] || has_ended "$1"; }

# Closed once it is closed, and open only after the last step that was closed.
test_steps() {
	local pid
	mkfifo "$WORLD/step.out" "$WORLD/step.in"
	exec {STEPS}<>"$WORLD/step.out" {LEAVE}<>"$WORLD/step.in"
	LD_PRELOAD=$STEP STEP_OUT=$WORLD/step.out STEP_IN=$WORLD/step.in \
		ASAN_OPTIONS=verify_asan_link_order=0 \
		"$BYWAY" ssh -q "${WORDS[@]}" "root@$SSH_SERVER" >"$WORLD/steps.out" 2>&1 </dev/null &
	pid=$!
	walk stands_or_ended "$pid"
	like "starting: from the first rule on, nothing leaves ($TRACE)" "$TRACE" '^o+c+$'
	has_agent "step by step"
	carried up "up, step by step"
	kill -TERM "$pid"
	walk has_ended "$pid"
	like "stopping: until the last rule, nothing leaves ($TRACE)" "$TRACE" '^c+o*$'
	wait "$pid"
	is "it ended well" $? 0
	exec {STEPS}>&- {LEAVE}>&-
	matrix down "stopped"
}

lay_out_guest
snapshot_host >"$WORLD/before"
start_servers
matrix down "down"
unreachable "$DEAD4"
unreachable "$DEAD6"
test_old_flows
test_up
test_reconnecting
test_no_agent
test_error
test_killed
test_steps
stop_all
check "the network is as before, and no process is left" same_as "$WORLD/before"
done_testing
