#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# proxy.sh OPERATION: the walk of walk.sh through the life of a tunnel. Each fault point of an operation fails
# once, fails with all that come after it, or is where the program is killed. Each time:
#
#   - a failure is reported: exit status, a message, no complaint of a sanitizer
#   - after a single failure of `up` on a free network, the network is as before
#   - whenever something is left, the network is blocked, for TCP and for UDP (or, when it was asked to be, free
#     for both), and `proxy status` knows of the tunnel
#   - the odd times `byway proxy down`, the even times `byway reset` leads to the network as it was, with
#     no file, process, device or rule left
#
# The ground for each turn is laid, and cleaned up, by $BYWAY_PREPARE.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
BYWAY_PREPARE=$(realpath "${BYWAY_PREPARE:-$BYWAY}")
export BYWAY_PREPARE
world_enter "$@"
OPERATION=${1:?which operation}
MAX_FAILED=12 # enough to see a pattern

prepare() { "$BYWAY_PREPARE" -q "$@"; }

# ---- the operations: what they stand on, and what they are ----

UP=(proxy up -q --proxy-url http://192.0.2.1:8888 --allow-dns 192.0.2.1)
NS=host IN=()
case $OPERATION in *-in) NS=x IN=(--in x) ;; esac

tunnel_pid() { prepare proxy status --json "${IN[@]}" | jq -r '.tunnels[0].pid'; }

running() { prepare "${UP[@]}" "${IN[@]}" --detach; }
killed() {
	local pid
	running || return
	pid=$(tunnel_pid)
	kill -KILL "$pid"
	wait_gone test -e "/proc/$pid"
}

# In the foreground, until it stands or ends; then it is asked to end.
stands_or_ended() { [[ -e /run/byway/tunnel/$NAME.json ]] || ! kill -0 "$1"; }
NAME=$NS
live() {
	local pid
	"$BYWAY" "${UP[@]}" "${IN[@]}" &
	pid=$!
	wait_for stands_or_ended "$pid"
	POINTS_UP=$(wc -l <trace)
	kill -TERM "$pid" 2>/dev/null
	wait "$pid"
}

declare -A GROUND=(
	[up]=true [up-in]=true [up-again]=killed [live]=true [live-in]=true
	[down]=running [down-in]=running [down-killed]=killed [down-killed-in]=killed
)
act() {
	case $OPERATION in
	up*) "$BYWAY" "${UP[@]}" "${IN[@]}" --detach ;;
	live*) live ;;
	down*) "$BYWAY" proxy down "${IN[@]}" ;;
	esac
}

lay_out() {
	ip netns add x
	ip -n x link add eth0 type veth peer name x0 netns internet
	ip -n internet addr add 192.0.3.1/24 dev x0
	ip -n internet link set x0 up
	ip -n x -batch - <<-'END'
		link set lo up
		link set eth0 addrgenmode none
		addr add 192.0.3.2/24 dev eth0
		link set eth0 up
		route add default via 192.0.3.1
	END
	nft add table inet user
	nft 'add chain inet user input { type filter hook input priority 0; }'
	ip rule add priority 9850 fwmark 0x77 lookup 77
	echo_server internet 443
	wait_for reaches x "$INTERNET4" 443 || bail "the namespace reaches nobody"
	wait_gone pgrep -P "${PIDS[echo-internet-443]}" # who answered
}

# ---- looking ----

look() {
	snapshot_host
	snapshot_inside x
}
looks_like() {
	look >now
	cmp -s "$1" now
}
soon_like() { WAIT_S=20 wait_for looks_like "$1"; }
difference() { diff -U0 "$1" now | grep -E '^[-+][^-+]' | head -n 12; }

is_blocked() {
	REACH_MS=100 not reaches "$NS" "$INTERNET4" 443 && REACH_MS=100 not reaches "$NS" "udp:$INTERNET4" 443
}
is_free() { reaches "$NS" "$INTERNET4" 443 && reaches "$NS" "udp:$INTERNET4" 443; }
left_in_kernel() { diff before now | grep -qv -e '^[^<>]' -e '/run/byway/'; }
is_known() { prepare proxy status --json "${IN[@]}" | jq -e '.tunnels[0].state | . and . != "down"'; }

# ---- one turn ----

WHY='' # what was wrong in this turn; empty as long as all is well
wrong() { WHY+="$*"$'\n'; }

operate() {
	: >trace
	BYWAY_FAULT=${1:-} BYWAY_FAULT_TRACE=$WORLD/trace act >op.out 2>op.err </dev/null
	STATUS=$?
}

# The parent of a detached tunnel says itself that its child was killed.
judge_status() {
	if grep -qE 'Sanitizer|runtime error' op.err; then
		wrong "a sanitizer complains: $(grep -m 3 -E 'ERROR|SUMMARY|runtime error' op.err)"
	fi
	if [[ $1 == kill && $OPERATION != up* ]]; then
		((STATUS == 137)) || wrong "exit status $STATUS instead of a kill"
		return
	fi
	((STATUS != 0)) || wrong "exit status 0 in spite of the failure"
	((STATUS < 128)) || wrong "ended by a signal: $STATUS"
	[[ -s op.err ]] || wrong "no message"
}

# A folder or a file alone does no harm.
judge_network() {
	[[ $1/$OPERATION != fail/@(up|up-in) ]] || soon_like before ||
		wrong "a failed start leaves something:
$(difference before)"
	looks_like before || ! left_in_kernel && return
	is_blocked || { [[ $OPERATION != up* ]] && is_free; } ||
		wrong "neither as before nor blocked:
$(difference before)"
	is_known >known || wrong "status knows nothing of it:
$(difference before)"
}

clean_up() {
	if (($1 % 2)); then
		prepare proxy down "${IN[@]}" >down.out 2>&1 || wrong "down fails: $(cat down.out)"
	else
		prepare reset >down.out 2>&1 || wrong "reset fails: $(cat down.out)"
	fi
	soon_like before || wrong "something is left:
$(difference before)"
}

point_name() { sed -n "${1}s/^[0-9]* //p" trace; }

# turn MODE N: 1 when the run met no fault.
turn() {
	local mode=$1 n=$2 name said
	WHY=''
	"${GROUND[$OPERATION]}" >ground.out 2>&1 || wrong "the ground cannot be laid: $(cat ground.out)"
	operate "$mode:$n"
	if (($(wc -l <trace) < n)); then
		clean_up 1
		return 1
	fi
	name="$OPERATION $mode:$n ($(point_name "$n"))"
	said=$(head -n 5 op.err)
	judge_status "$mode"
	judge_network "$mode"
	clean_up "$n"
	if [[ -z $WHY ]]; then pass "$name"; else
		fail "$name" "${WHY%$'\n'}" "stderr: $said"
		prepare proxy down "${IN[@]}" >/dev/null 2>&1
		soon_like before || bail "the world is spoilt: $(difference before)"
	fi
}

# A tunnel that lives is asked to end after its start: what fails before is `up`'s.
first_point() {
	[[ $OPERATION == live* ]] || { echo 1; return; }
	echo $((POINTS_UP + 1))
}

walk() {
	local mode=$1 n first
	first=$(first_point)
	n=$first
	while turn "$mode" "$n"; do
		n=$((n + 1))
		((TAP_FAILED < MAX_FAILED)) || bail "too many failures"
	done
	if ((STATUS == 0 && n > first)); then pass "$OPERATION $mode: $((n - first)) points"; else
		fail "$OPERATION $mode: without a fault it succeeds" "$(cat op.err)"
	fi
}

lay_out
look >before
POINTS_UP=0
"${GROUND[$OPERATION]}" >ground.out 2>&1 || bail "the ground cannot be laid: $(cat ground.out)"
operate
((STATUS == 0)) || bail "$OPERATION fails without any fault: $(cat op.err)"
[[ -s trace ]] || bail "this build has no fault points: configure with -Dfaults=true"
clean_up 1
[[ -z $WHY ]] || bail "$WHY"
for mode in fail stay kill; do
	walk $mode
done
done_testing
