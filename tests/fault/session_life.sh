#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# session_life.sh OPERATION [MODE...]: the walk of walk.sh through the life of a session, brought up against a real
# server and asked to end as soon as it is up. Each fault point fails once, fails with all that come after it, or
# is where the program is killed. Each time:
#
#   - no sanitizer complains, and a process that ends by itself says why
#   - what failed once is tried again, or is the end
#   - while anything is left, `session list` knows of it
#   - the odd times `byway session down --all`, the even times `byway reset` leads to the host as it was, with no
#     file, process, device or rule left
#
# The ground for each turn is laid, and cleaned up, by $BYWAY_PREPARE.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
BYWAY_PREPARE=$(realpath "${BYWAY_PREPARE:-$BYWAY}")
export BYWAY_PREPARE
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"
OPERATION=${1:?which operation}
shift
MODES=("$@")
((${#MODES[@]})) || MODES=(fail stay kill)
MAX_FAILED=12 # enough to see a pattern

prepare() { "$BYWAY_PREPARE" -q "$@"; }

# ---- the operations: what they stand on, and what they are ----

one_file() {
	cat <<-END
		subnet: 10.20.1.0/28
		instances: 1
		vpn:
		  server: https://$INTERNET4:$OCSERV_PORT
		  username: $VPN_USER
		  password_file: password
		  cafile: $OCSERV_CA
		  connect_timeout: 5s
		routing: {mode: $MODE, include: [10.98.0.0/24]}
		health: {ping: $CORP4, interval: 1m, timeout: 1s}
		backoff: {min: 100ms, max: 200ms}
		logging: {directory: $WORLD/log}
	END
}
MODE='full'
case $OPERATION in *-split) MODE='split' ;; esac

# The process of the group holds a lock.
keeper() {
	local inode
	inode=$(stat -c %i /run/byway/session/one.lock) &&
		awk -v inode=":$inode" '$2 == "POSIX" && substr($6, length($6) - length(inode) + 1) == inode {
			print $5 }' /proc/locks
}
killed() {
	local pid
	prepare session up --wait one.yaml || return
	pid=$(keeper)
	kill -KILL "$pid"
	wait_gone test -e "/proc/$pid"
}

# Up, or failed at least once, so that what would come next is more of the same; or it ended.
is_decided() { # PID MODE
	kill -0 "$1" 2>/dev/null || return 0
	jq -e --arg mode "$2" '.state == "up" or ($mode == "stay" and .last_error != null)' \
		/run/byway/session/one-1.json
}

# Asked to end when that is so; how it ended, or that it stood, is in ENDED.
up() { # MODE
	local pid
	"$BYWAY" session up one.yaml &
	pid=$!
	wait_for is_decided "$pid" "$1" || echo 'neither up nor ended' >>op.err
	ENDED=''
	kill -TERM "$pid" 2>/dev/null || ENDED=alone
	wait "$pid"
}

declare -A GROUND=([up]=true [up-split]=true [up-again]=killed [down-killed]=killed)
act() {
	case $OPERATION in
	up*) up "$1" ;;
	down*) ENDED=alone && "$BYWAY" session down --all ;;
	esac
}

lay_out() {
	ocserv_prepare
	ocserv_start vpn
	printf '%s\n' "$VPN_PASSWORD" >password
	one_file >one.yaml
	nft add table inet user
	nft 'add chain inet user input { type filter hook input priority 0; }'
	ip netns add user
	ip rule add priority 9850 fwmark 0x77 lookup 77
}

# ---- looking ----

# Not the servers: what runs there comes and goes with the clients.
snapshot_processes() { pgrep -l . | grep -E ' (byway|openconnect|sh)$'; }

# A namespace may go while it is looked at.
look() {
	snapshot_host 2>/dev/null
	snapshot_inside user
}
looks_like() {
	look >now
	cmp -s "$1" now
}
soon_like() { WAIT_S=20 wait_for looks_like "$1"; }
difference() { diff -U0 "$1" now | grep -E '^[-+][^-+]' | head -n 12; }

left_in_kernel() { diff before now | grep -v -e '^[^<>]' -e '/run/byway'; }
# By its row; settings alone, by their file.
is_known() {
	prepare session list --json | jq -e '.sessions | length > 0' ||
		{ [[ -s /run/byway/settings/sysctl.json ]] && ! left_in_kernel | grep -vE '^[<>] ipv[46]/'; }
}

# ---- one turn ----

WHY='' # what was wrong in this turn; empty as long as all is well
wrong() { WHY+="$*"$'\n'; }

operate() { # [FAULT]
	local fault=${1:-}
	: >trace
	: >op.err
	BYWAY_FAULT=$fault BYWAY_FAULT_TRACE=$WORLD/trace act "${fault%%:*}" >op.out 2>>op.err </dev/null
	STATUS=$?
}

judge_status() {
	if grep -qE 'Sanitizer|runtime error' op.err; then
		wrong "a sanitizer complains: $(grep -m 3 -E 'ERROR|SUMMARY|runtime error' op.err)"
	fi
	! grep -q 'neither up nor ended' op.err || wrong 'neither up nor ended'
	if [[ $1 == kill ]]; then
		((STATUS == 137)) || wrong "exit status $STATUS instead of a kill"
		return
	fi
	((STATUS < 128)) || wrong "ended by a signal: $STATUS"
	[[ $ENDED == alone ]] || return
	((STATUS != 0)) || wrong 'exit status 0 in spite of the failure'
	[[ -s op.err ]] || wrong 'no message'
}

# A folder or a file alone does no harm.
judge_rest() {
	looks_like before || ! left_in_kernel >left || is_known >known ||
		wrong "what is left is not known: $(difference before)"
}

clean_up() {
	if (($1 % 2)); then
		prepare session down --all >down.out 2>&1 || wrong "down fails: $(cat down.out)"
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
	judge_rest
	clean_up "$n"
	if [[ -z $WHY ]]; then pass "$name"; else
		fail "$name" "${WHY%$'\n'}" "stderr: $said"
		prepare reset >/dev/null 2>&1
		soon_like before || bail "the world is spoilt: $(difference before)"
	fi
}

walk() {
	local mode=$1 n=1
	while turn "$mode" "$n"; do
		n=$((n + 1))
		((TAP_FAILED < MAX_FAILED)) || bail 'too many failures'
	done
	if ((STATUS == 0 && n > 1)); then pass "$OPERATION $mode: $((n - 1)) points"; else
		fail "$OPERATION $mode: without a fault it succeeds" "$(cat op.err)"
	fi
}

lay_out
look >before
"${GROUND[$OPERATION]}" >ground.out 2>&1 || bail "the ground cannot be laid: $(cat ground.out)"
operate
((STATUS == 0)) || bail "$OPERATION fails without any fault: $(cat op.err)"
[[ -s trace ]] || bail 'this build has no fault points: configure with -Dfaults=true'
clean_up 1
[[ -z $WHY ]] || bail "$WHY"
for mode in "${MODES[@]}"; do
	walk "$mode"
done
done_testing
