#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway ssh: everything a host sends goes through a server that has nothing but sshd.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/sshd.sh"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/observer.sh"

SSHD_PORT=22
unset SSH_AUTH_SOCK SUDO_UID

WORDS=(-F none -i "$SSHD_DIR/user" -o IdentitiesOnly=yes -o "UserKnownHostsFile=$SSHD_DIR/known"
	-o ServerAliveInterval=1 -o ServerAliveCountMax=2)
up() { by ssh -q --detach "${WORDS[@]}" "$@" "root@$SSH_SERVER"; }
tunnel() { by ssh status --json | jq -r ".tunnels[0].$1"; }
state_is() { [[ $(tunnel state) == "$1" ]]; }
agent_is() { [[ $(tunnel agent.state) == "$1" ]]; }

lay_out() {
	sshd_prepare
	sshd_start plain $SSHD_PORT
	web_server internet 8080
	echo_server internet 443
	start_observer
}

# What left the host since the last control, but for what carries the tunnel.
leaked() { seen_since "$FROM" | grep -vE "^(mark [0-9]+|tcp $SSH_SERVER 22)$"; }
nothing_leaked() {
	control
	! leaked
}

test_carries() {
	local family
	check "up" up
	check "the state is up" wait_for state_is up
	check "the agent is there" wait_for agent_is up
	control
	FROM=$CONTROLS
	for family in "$INTERNET4" "[$INTERNET6]"; do
		is "a page from $family" "$(get host "http://$family:8080/" | cut -d' ' -f1-4)" \
			"hello from internet to"
	done
	can host "$INTERNET4" 443
	can host "$INTERNET6" 443
	can host "udp:$INTERNET4" 443
	can host "udp:$INTERNET6" 443
	can host "ping:$INTERNET4"
	can host "ping:$INTERNET6"
	run inside host "$PROBE" tcp "$INTERNET4" 9 "$PATIENCE"
	is "a closed port is closed" "$TAP_STATUS" 2
	run inside host "$PROBE" udp "$INTERNET4" 9 "$PATIENCE"
	is "of UDP, too" "$TAP_STATUS" 2
	check "nothing left beside the tunnel" nothing_leaked
}

lay_out
snapshot_host >"$WORLD/before"
test_carries
check "down" by ssh down
check "the network is as before" same_as "$WORLD/before"
stop_all
done_testing
