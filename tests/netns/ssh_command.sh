#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command `byway ssh`: what it refuses, what it says, and a server that runs no shell.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"

MUTE_PORT=2202

lay_out() {
	sshd_prepare
	sshd_start plain "$SSHD_PORT"
	sshd_start mute $MUTE_PORT "ForceCommand /bin/false"
	web_server internet 8080
	echo_server internet 443
	start_observer
}

# Stricter than the usual one: of what every link has, only router solicitations.
leaked() { seen_since "$FROM" | grep -vE "^(mark [0-9]+|$CARRIER|icmp ff02::2 133)$"; }

test_carries() {
	local family
	check "up" up
	check "the state is up" wait_for state_is up
	check "the agent is there" wait_for agent_is up
	begin_watch
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

# check_server STATUS NAME WORD...: what the command says of a server and a target behind it.
check_server() {
	local status=$1 name=$2
	shift 2
	exits "$status" "check: $name" by ssh check "${WORDS[@]}" "$@"
}

test_check() {
	check_server 0 "a target that is there" "root@$SSH_SERVER" "$SSH_SERVER:8080"
	check_server 5 "a closed port" "root@$SSH_SERVER" "$SSH_SERVER:9"
	check_server 5 "a server that is not there" -p 2299 "root@$SSH_SERVER" "$SSH_SERVER:8080"
	says "says so in ssh's words" '^byway: error: ssh: connect to host .* port 2299: Connection refused$'
	check_server 1 "a port that is none" -p x "root@$SSH_SERVER" "$SSH_SERVER:8080"
	check_server 2 "a target that is none" "root@$SSH_SERVER" nonsense
	exits 4 "check: an unknown host key" by ssh check -F none -i "$SSHD_DIR/user" \
		-o "UserKnownHostsFile=$SSHD_DIR/known-none" "root@$SSH_SERVER" "$SSH_SERVER:8080"
	exits 4 "check: a key that is not let in" by ssh check -F none -i "$SSHD_DIR/stranger" \
		-o IdentitiesOnly=yes -o "UserKnownHostsFile=$SSHD_DIR/known" "root@$SSH_SERVER" "$SSH_SERVER:8080"
	exits 4 "check: by a user without a folder for sockets" env -u XDG_RUNTIME_DIR \
		setpriv --reuid=games --regid=games --clear-groups "$BYWAY" ssh check -F none \
		-o "UserKnownHostsFile=$SSHD_DIR/known" "root@$SSH_SERVER" "$SSH_SERVER:8080"
}

test_refused() {
	exits 4 "up with a key that is not let in" by ssh --detach -F none -i "$SSHD_DIR/stranger" \
		-o IdentitiesOnly=yes -o "UserKnownHostsFile=$SSHD_DIR/known" "root@$SSH_SERVER"
	exits 2 "up with a resolver that nobody would ask" up --allow-dns "$INTERNET4"
	exits 8 "up without the right to give ssh its group" \
		capsh --drop=cap_setgid -- -c 'exec "$@"' - "$BYWAY" ssh --detach "${WORDS[@]}" "root@$SSH_SERVER"
	check "nothing is left" same_as "$WORLD/before"
}

test_listed() {
	is "status has it" "$(json '.tunnels[] | .name + " " + .kind + " " + .state' status)" "host ssh up"
	run by status
	prints "as text, too" 'host +ssh +up '
	exits 7 "proxy down leaves it alone" by proxy down
}

# Of a connection over which nothing has failed yet: one with a failure ends by itself.
test_killed() {
	check "down" by ssh down
	check "up" up
	check "the state is up" wait_for state_is up
	kill -KILL "$(tunnel pid)"
	check "killed" wait_for state_is killed
	check "its ssh ends with it" wait_for no_ssh
	begin_watch
	cannot host "$INTERNET4" 443
	cannot host "udp:$INTERNET4" 443
	check "nothing leaves" nothing_leaked
	check "up goes on from there" up
	check "the state is up" wait_for state_is up
	can host "$INTERNET4" 443
}

# ask PROTOCOL: of a resolver that is not there.
ask() { inside host "$PROBE" "$1" "$INTERNET4" 53 "$RESTRAINT"; }

test_dns_off() {
	begin_watch
	run ask udp
	control
	fails "by default no query leaves" has_seen "$FROM" "udp $INTERNET4 53"
	check "down" by ssh down
	check "up with --dns off" up --dns off --allow-dns "$INTERNET4"
	check "the state is up" wait_for state_is up
	begin_watch
	run ask udp
	run ask tcp
	control
	check "a query leaves beside the tunnel" has_seen "$FROM" "udp $INTERNET4 53"
	check "by TCP, too" has_seen "$FROM" "tcp $INTERNET4 53"
}

# A server that runs no shell: pings and UDP are refused, and said to be.
test_without_agent() {
	check "down" by ssh down
	check "up over a server without a shell" up -p "$MUTE_PORT"
	check "there is no agent" wait_for agent_is unavailable
	run by ssh status
	prints "which the status says" 'host +up +[^ ]+ +unavailable '
	can host "$INTERNET4" 443
	run inside host "$PROBE" udp "$INTERNET4" 443 "$PATIENCE"
	is "UDP is refused at once" "$TAP_STATUS" 2
}

lay_out
snapshot_host >"$WORLD/before"
test_check
test_refused
test_carries
test_listed
test_killed
test_dns_off
test_without_agent
check "down" by ssh down
check "the network is as before" same_as "$WORLD/before"
stop_all
done_testing
