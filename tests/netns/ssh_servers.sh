#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A tunnel over servers that do not allow everything, by way of a jump host; and with a thousand
# connections and flows at once.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"

STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
UDP=$(realpath "${UDP:-$WORLD_TREE/build/tests/lib/udp}")
FORCED=2201 FORBID=2202 ONE=2203 JUMP=2204
ECHO=5002
MANY=1000
EXIT_BLOCKED=6

lay_out() {
	sshd_prepare
	sshd_start plain "$SSHD_PORT"
	sshd_start forced $FORCED "ForceCommand echo no shell for you"
	sshd_start forbid $FORBID "AllowTcpForwarding no"
	sshd_start one $ONE "MaxSessions 1"
	sshd_start jump $JUMP
	echo_server internet 443
	become internet "$STREAM" echo $ECHO >/dev/null 2>&1 </dev/null &
	# shellcheck disable=SC2034,SC2154 # world.sh's
	PIDS[stream]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 $ECHO 500 || bail "no echo"
	start_observer
}

# up_by PORT OPTION...
up_by() {
	SSHD_PORT=$1
	wait_for nobody_connected host || bail "connections are left"
	CARRIER="tcp $SSH_SERVER ${2:-$1}"
	begin_watch
	check "$NAME: up" up -p "$1" "${@:3}"
	check "$NAME: the state is up" wait_for state_is up
}
has_agent() { check "$NAME: the agent is there" wait_for agent_is up; }
carries_tcp() {
	can host "$INTERNET4" 443 "$NAME"
	can host "$INTERNET6" 443 "$NAME"
}
carries_datagrams() {
	can host "udp:$INTERNET4" 443 "$NAME"
	can host "udp:$INTERNET6" 443 "$NAME"
	can host "ping:$INTERNET4" 0 "$NAME"
	can host "ping:$INTERNET6" 0 "$NAME"
}
down() {
	check "$NAME: nothing left beside the tunnel" nothing_leaked
	check "$NAME: down" by ssh down
	check "$NAME: the network is as before" same_as "$WORLD/before"
	check "$NAME: nothing is left on the server" wait_for server_is_clean
	check "$NAME: no socket is left" no_sockets
}

# ---- much at once ----

# hold: that many connections, each of which has had its answer, are there at the same time.
hold() {
	mkfifo "$WORLD/hold.in"
	exec {HOLD}<>"$WORLD/hold.in"
	"$STREAM" hold "$INTERNET4" $ECHO $MANY <"$WORLD/hold.in" >"$WORLD/hold.out" 2>"$WORLD/hold.err" {HOLD}>&- &
	HOLDER=$!
}
held() { grep -qx ready "$WORLD/hold.out"; }
let_go() {
	exec {HOLD}>&-
	wait "$HOLDER"
}
flows_are() { (($(tunnel "$1") >= MANY)); }

test_burst() {
	local start
	NAME=burst
	up_by 22 22 --connections 2
	has_agent
	start=$(now_ms)
	hold
	WAIT_S=60 check "$NAME: $MANY connections at once" wait_for held
	diag "$NAME: $MANY connections after $(($(now_ms) - start)) ms"
	check "$NAME: the status counts them" wait_for flows_are 'connections | map(.channels) | add'
	start=$(now_ms)
	is "$NAME: $MANY UDP flows beside them" "$("$UDP" flows $MANY "$INTERNET4" 443)" $MANY
	diag "$NAME: $MANY UDP flows after $(($(now_ms) - start)) ms"
	check "$NAME: the status counts those" wait_for flows_are agent.flows
	carries_tcp
	carries_datagrams
	check "$NAME: every connection still answers" let_go
	down
}
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# ---- servers ----

test_forced() {
	NAME="forced command"
	up_by $FORCED
	check "$NAME: the agent's state" wait_for agent_is unavailable
	like "$NAME: why" "$(tunnel agent.reason)" "TCP only: .*no shell for you"
	carries_tcp
	is "$NAME: UDP is refused at once" "$("$UDP" refused "$INTERNET4" 443)" EHOSTUNREACH
	is "$NAME: UDP in IPv6, too" "$("$UDP" refused "$INTERNET6" 443)" EACCES
	run ping -n -c 1 -W 15 "$INTERNET4"
	prints "$NAME: a ping, too" "Packet filtered"
	check "$NAME: it is still up" state_is up
	down
}

test_forbid() {
	NAME="AllowTcpForwarding no"
	up_by $FORBID
	has_agent
	run inside host "$PROBE" tcp "$INTERNET4" 443 "$PATIENCE"
	is "$NAME: a connection is refused" "$TAP_STATUS" 2
	carries_datagrams
	down
	exits $EXIT_BLOCKED "$NAME: check" by ssh check "${WORDS[@]}" -p $FORBID "root@$SSH_SERVER" "$INTERNET4:443"
	says "$NAME: why" "denied: .*the server does not allow it"
}

test_one() {
	NAME="MaxSessions 1"
	up_by $ONE
	has_agent
	carries_tcp
	carries_datagrams
	down
}

test_jump() {
	NAME="jump host"
	cat >"$SSHD_DIR/config" <<-END
		Host *
		IdentityFile $SSHD_DIR/user
		UserKnownHostsFile $SSHD_DIR/known
		ServerAliveInterval 1
	END
	WORDS=(-F "$SSHD_DIR/config")
	up_by 22 $JUMP -J "root@$SSH_SERVER:$JUMP"
	has_agent
	carries_tcp
	carries_datagrams
	down
}

lay_out
snapshot_host >"$WORLD/before"
test_burst
test_forced
test_forbid
test_one
test_jump
stop_all
done_testing
