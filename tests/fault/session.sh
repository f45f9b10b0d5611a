#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# session.sh OPERATION: the walk of walk.sh through what is made for sessions on the host, and taken away. Each
# time:
#
#   - a failure is reported: exit status, a message, no complaint of a sanitizer
#   - after a single failure of `prepare` on a free host, the host is as before
#   - the odd times `byway gc`, the even times removing by the rows leads to the host as it was
set -u
SESSION_NET=$(realpath "${SESSION_NET:?}")
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
BYWAY_PREPARE=$(realpath "${BYWAY_PREPARE:-$BYWAY}")
world_enter "$@"
OPERATION=${1:?which operation}
MAX_FAILED=12 # enough to see a pattern

COMMON=(-s 192.0.2.128/28 -r)
session() { "$SESSION_NET" "${COMMON[@]}" "$@"; }
standing() { session prepare one part:split; }
# One that is intact, one that is not, one that is not to be there any more.
damaged() {
	session prepare one part:split gone && ip link del veth-part
}

declare -A GROUND=([prepare]=true [prepare-again]=damaged [remove]=standing)
declare -A COMMAND=(
	[prepare]='prepare one part:split'
	[prepare-again]='prepare one part:split more'
	[remove]='remove'
)

look() { snapshot_host; }
looks_like() {
	look >now
	cmp -s "$1" now
}
soon_like() { WAIT_S=20 wait_for looks_like "$1"; }
difference() { diff -U0 "$1" now | grep -E '^[-+][^-+]' | head -n 12; }

WHY='' # what was wrong in this turn; empty as long as all is well
wrong() { WHY+="$*"$'\n'; }

lay_ground() {
	"${GROUND[$OPERATION]}" >ground.out 2>&1 || bail "the ground cannot be laid: $(cat ground.out)"
}

# operate [FAULT]: status in STATUS, messages in op.err, the points met in trace.
operate() {
	: >trace
	# shellcheck disable=SC2086 # the command is words
	BYWAY_FAULT=${1:-} BYWAY_FAULT_TRACE=$WORLD/trace session ${COMMAND[$OPERATION]} \
		>op.out 2>op.err </dev/null
	STATUS=$?
}

judge() {
	if grep -qE 'Sanitizer|runtime error' op.err; then
		wrong "a sanitizer complains: $(grep -m 3 -E 'ERROR|SUMMARY|runtime error' op.err)"
	fi
	if [[ $1 == kill ]]; then
		((STATUS == 137)) || wrong "exit status $STATUS instead of a kill"
		return
	fi
	((STATUS != 0 && STATUS < 128)) || wrong "exit status $STATUS in spite of the failure"
	[[ -s op.err ]] || wrong "no message"
	[[ $1 == fail && $OPERATION == prepare ]] || return 0
	soon_like before || wrong "not undone: $(difference before)"
}

clean() {
	if (($1 % 2)); then
		"$BYWAY_PREPARE" -q gc >clean.out 2>&1 || wrong "gc fails: $(cat clean.out)"
	else
		session remove >clean.out 2>&1 || wrong "removing fails: $(cat clean.out)"
	fi
	soon_like before || wrong "something is left: $(difference before)"
}

point_name() { sed -n "${1}s/^[0-9]* //p" trace; }

# turn MODE N: 1 when the run met no fault.
turn() {
	local name said
	WHY=''
	lay_ground
	operate "$1:$2"
	(($(wc -l <trace) >= $2)) || return 1
	name="$OPERATION $1:$2 ($(point_name "$2"))"
	said=$(head -n 5 op.err)
	judge "$1"
	clean "$2"
	if [[ -z $WHY ]]; then pass "$name"; else
		fail "$name" "${WHY%$'\n'}" "stderr: $said"
		"$BYWAY_PREPARE" -q reset >/dev/null 2>&1
	fi
}

walk() {
	local n=1
	while turn "$1" "$n"; do
		n=$((n + 1))
		((TAP_FAILED < MAX_FAILED)) || bail "too many failures"
	done
	if ((STATUS == 0 && n > 1)); then pass "$OPERATION $1: $((n - 1)) points"; else
		fail "$OPERATION $1: without a fault it succeeds" "$(cat op.err)"
	fi
	clean 0
}

look >before
lay_ground
operate
((STATUS == 0)) || bail "${COMMAND[$OPERATION]} fails without any fault: $(cat op.err)"
[[ -s trace ]] || bail "this build has no fault points: configure with -Dfaults=true"
clean 0
for mode in fail stay kill; do
	walk $mode
done
done_testing
