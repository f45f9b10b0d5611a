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
