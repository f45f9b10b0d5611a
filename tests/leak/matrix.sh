#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The leak matrix: in every state of a tunnel over a real proxy, what the host sends and what it
# forwards for a guest, seen by an observer on the far side. The first state is `down`: the same probes
# by the same observer, so that each of them would have been seen. Starting and stopping are looked at
# between any two messages to the kernel (step.c).
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/matrix.sh
. "$WORLD_LIB/matrix.sh"

CAPTURE=$(realpath "${CAPTURE:-$WORLD_TREE/build/tests/lib/capture}")
STEP=$(realpath "${STEP:-$WORLD_TREE/build/tests/leak/step.so}")
PROXY4=192.0.2.1 PROXY6=2001:db8:2::1 PORT=8888
# ---- the world ----

start_servers() {
	echo_server internet 53
	echo_server internet 443
	wait_for reaches guest "$INTERNET6" 443 || bail "the guest reaches nobody"
	start_observer
	start_proxy
}

start_proxy() {
	cat >"$WORLD/tinyproxy.conf" <<-CONF
		Port $PORT
		Listen $PROXY4
		Listen $PROXY6
		Timeout 600
		MaxClients 100
		LogFile "$WORLD/tinyproxy.log"
		BasicAuth alice s3cret
	CONF
	become internet tinyproxy -d -c "$WORLD/tinyproxy.conf" >"$WORLD/tinyproxy.out" 2>&1 &
	# shellcheck disable=SC2034,SC2154 # world.sh's
	PIDS[proxy]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY6" "$PORT" 500 || bail "tinyproxy does not start"
}

# ---- probes ----

# Each line: who, class, packet, command. Classes: tcp (belongs into the tunnel), none (nothing that a tunnel
# carries), dns (to an allowed resolver).
probes() {
	local ns to4=$INTERNET4 to6=$INTERNET6
	for ns in host guest; do
		cat <<-LIST
			$ns|tcp|tcp $to4 443|reaches $ns $to4 443
			$ns|tcp|tcp $to6 443|reaches $ns $to6 443
			$ns|tcp|tcp $to4 53|reaches $ns $to4 53
			$ns|none|udp $to4 53|reaches $ns udp:$to4 53
			$ns|none|udp $to6 53|reaches $ns udp:$to6 53
			$ns|none|udp $to4 443|reaches $ns udp:$to4 443
			$ns|none|udp $to6 443|reaches $ns udp:$to6 443
			$ns|none|icmp $to4 8|reaches $ns ping:$to4
			$ns|none|icmp $to6 128|reaches $ns ping:$to6
		LIST
		to4=$FOR_GUEST4 to6=$FOR_GUEST6
	done
	# A resolver is asked by one of the two at a time: the observer sees no sources.
	cat <<-LIST
		host|dns|udp $RESOLVER4 53|reaches host udp:$RESOLVER4 53
		host|dns|tcp $RESOLVER6 53|reaches host $RESOLVER6 53
		guest|dns|udp $RESOLVER6 53|reaches guest udp:$RESOLVER6 53
		guest|dns|tcp $RESOLVER4 53|reaches guest $RESOLVER4 53
	LIST
}

expected() {
	case $1/$2 in
	down/* | */dns) echo leaves ;;
	up/tcp) echo tunnelled ;;
	*) echo blocked ;;
	esac
}

# ---- the tunnel ----

options() { echo "--proxy-url $1 --allow-dns $RESOLVER4,$RESOLVER6"; }
# shellcheck disable=SC2046 # words
up() { by proxy up -q --detach $(options "$1"); }
state() { by proxy status --json | jq -r '.tunnels[0].state // "down"'; }
in_state() { [[ $(state) == "$1" ]]; }
tunnel_pid() { by proxy status --json | jq -r '.tunnels[0].pid'; }
URL4=http://alice:s3cret@$PROXY4:$PORT URL6=http://alice:s3cret@[$PROXY6]:$PORT

# ---- states ----

test_unreachable() {
	check "up, with a proxy that is not there" up "http://$DEAD4:$PORT"
	matrix connecting "connecting" "tcp $DEAD4 $PORT"
	check "the state is connecting" in_state connecting
	check "down" by proxy down
	check "the same with IPv6" up "http://[$DEAD6]:$PORT"
	matrix connecting "connecting, IPv6 proxy" "tcp $DEAD6 $PORT"
	check "down" by proxy down
}

# Flows that were there before the tunnel are not to go on beside it, nor answer.
test_old_flows() {
	flow_open old-tcp host "$INTERNET4" 443
	flow_open old-tcp6 guest "$FOR_GUEST6" 443
	flow_open old-udp host "$INTERNET4" 443 udp-flow
	check "before: a UDP flow works" flow_works old-udp
	check "before: a TCP flow works" flow_works old-tcp
	check "before: a TCP flow of the guest works" flow_works old-tcp6
	check "up" up "$URL4"
	observed use_old_flows
	check "an old TCP flow is cut" not seen "tcp $INTERNET4 443"
	check "an old UDP flow is cut" not seen "udp $INTERNET4 443"
	check "an old TCP flow of the guest is cut" not seen "tcp $FOR_GUEST6 443"
	flow_close old-tcp
	flow_close old-tcp6
	flow_close old-udp
}
use_old_flows() {
	flow_is_cut old-tcp >/dev/null
	flow_is_cut old-udp >/dev/null
	flow_is_cut old-tcp6 >/dev/null
}

test_up() {
	matrix up "up" "tcp $PROXY4 $PORT"
	check "the state is up" wait_for in_state up
}

# The proxy dies with a flow through it, and comes back.
test_reconnecting() {
	flow_open through host "$INTERNET4" 443
	check "a flow through the tunnel works" flow_works through
	stop proxy
	matrix reconnecting "reconnecting" "tcp $PROXY4 $PORT"
	check "the flow through the dead proxy is cut" flow_is_cut through
	flow_close through
	check "the state says that the proxy is away" wait_for not in_state up
	talk_nonsense
	start_proxy
	matrix up "reconnected" "tcp $PROXY4 $PORT"
	check "the state is up again" wait_for in_state up
}

# In the proxy's place, something that is none; it talks to the tunnel's probes, too.
talk_nonsense() {
	yes "SSH-2.0-nonsense" | become internet nc -N -k -l "$PROXY4" "$PORT" >/dev/null 2>&1 &
	# shellcheck disable=SC2034,SC2154 # world.sh's
	PIDS[nonsense]=$!
	wait_for listens
	fails "nonsense in the proxy's place opens no stream" reaches host "$INTERNET4" 443
	check "and is an error" wait_for in_state error
	stop nonsense
}
listens() { inside internet ss -Hltn "sport = $PORT" | grep -q .; }

test_killed() {
	local pid
	pid=$(tunnel_pid)
	flow_open killed host "$INTERNET4" 443
	kill -KILL "$pid"
	wait_gone test -e "/proc/$pid"
	matrix killed "killed"
	check "the state is killed" in_state killed
	check "killed: the flow that was open is cut" flow_is_cut killed
	flow_close killed
	check "up again after that" up "$URL4"
	matrix up "up after killed" "tcp $PROXY4 $PORT"
	check "down" by proxy down
	matrix down "down after killed"
}

test_ipv6_proxy() {
	check "up, IPv6 proxy" up "$URL6"
	matrix up "up, IPv6 proxy" "tcp $PROXY6 $PORT"
	stop proxy
	matrix reconnecting "reconnecting, IPv6 proxy" "tcp $PROXY6 $PORT"
	start_proxy
	matrix up "reconnected, IPv6 proxy" "tcp $PROXY6 $PORT"
	check "down" by proxy down
}

test_error() {
	check "up, with a wrong password" up "http://alice:wrong@$PROXY4:$PORT"
	matrix error "error" "tcp $PROXY4 $PORT"
	check "the state is error" wait_for in_state error
	check "down" by proxy down
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
	# shellcheck disable=SC2046 # words
	LD_PRELOAD=$STEP STEP_OUT=$WORLD/step.out STEP_IN=$WORLD/step.in \
		ASAN_OPTIONS=verify_asan_link_order=0 \
		"$BYWAY" proxy up -q $(options "$URL4") >"$WORLD/steps.out" 2>&1 </dev/null &
	pid=$!
	walk stands_or_ended "$pid"
	like "starting: from the first rule on, nothing leaves ($TRACE)" "$TRACE" '^o+c+$'
	matrix up "up, step by step" "tcp $PROXY4 $PORT"
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
test_unreachable
test_old_flows
test_up
test_reconnecting
test_killed
test_ipv6_proxy
test_error
test_steps
stop_all
check "the network is as before" same_as "$WORLD/before"
done_testing
