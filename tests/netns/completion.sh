#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Names of what there is, as the shells complete them.
set -u
SESSION_NET=$(realpath "${SESSION_NET:?}")
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/shells.sh
. "$WORLD_LIB/shells.sh"
DIR=$WORLD/home
mkdir "$DIR"
shells_prepare
cd "$DIR" || exit 1

lay_out() {
	must by vpc create shop 10.0.0.0/16
	must by subnet add shop web 10.0.1.0/24
	must by network up micropod 10.10.0.0/24
	must by vm add micropod guest
	must by egress add bastion '{ssh: alice@192.0.2.1}'
	must "$SESSION_NET" prepare corp-1
}

live_names() {
	local shell
	for shell in bash zsh fish; do
		offers "$shell" 'byway vpc show ' shop micropod
		offers "$shell" 'byway nat enable ' shop
		offers "$shell" 'byway subnet delete ' shop/web
		offers "$shell" 'byway vm add ' micropod shop/web
		offers "$shell" 'byway vm show ' micropod/guest
		offers "$shell" 'byway session logs ' corp-1
		offers "$shell" 'byway egress run ' bastion
		offers "$shell" 'byway egress use ' shop/web micropod micropod/guest host
		offers "$shell" 'byway session down ' corp-1
		offers "$shell" 'byway proxy up --in ' shop-web shop/web
		omits "$shell" 'byway network down ' shop
		omits "$shell" 'byway vpc create ' shop
	done
}

# Nobody is bothered with errors while typing.
test_quiet() {
	check "a kind that there is not" by completion --names NOTHING VPC
	is "is passed over" "$(out)" $'micropod\nshop'
	check "without the right to read the state" setpriv --reuid=65534 --clear-groups "$DIR/byway" \
		completion --names VPC
	is "nothing is said" "$(out)$(err)" ""
}

lay_out
live_names
test_quiet
done_testing
