# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All that a network test needs.

SUITE_LIB=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tap.sh
. "$SUITE_LIB/tap.sh"
# shellcheck source=world.sh
. "$SUITE_LIB/world.sh"
# shellcheck source=snapshot.sh
. "$SUITE_LIB/snapshot.sh"
# shellcheck source=vpc.sh
. "$SUITE_LIB/vpc.sh"

EXAMPLES=$WORLD_TREE/examples
export EXAMPLES

# must COMMAND...: the ground a test stands on; there is no test without it.
must() {
	"$@" >"$WORLD/must" 2>&1 && return
	diag "$(cat "$WORLD/must")"
	bail "failed: $*"
}

# json FILTER COMMAND...: what jq makes of a byway command's --json.
json() {
	local filter=$1
	shift
	by "$@" --json | jq -r "$filter"
}

# Something of each kind to look at: two VPCs that are peers, and a network with a machine.
lay_out_shop() {
	must by vpc create shop 10.0.0.0/16
	must by subnet add shop web 10.0.1.0/24 --type public
	must by subnet add shop db 10.0.2.0/24
	must by nat enable shop
	must by vpc create lab 10.1.0.0/16
	must by subnet add lab dev 10.1.1.0/24
	must by peer add lab shop
	must by network up
	must by vm add micropod0 api
}

# kill_later SECONDS COMMAND...: of byway, killed while it works, or when it has done all.
kill_later() {
	local pid
	"$BYWAY" -q "${@:2}" >/dev/null 2>&1 &
	pid=$!
	pause "$1"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
}
