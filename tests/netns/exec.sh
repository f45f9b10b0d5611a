#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A command inside a subnet: as if it had been started there.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

test_status() {
	exits 0 "success" by exec v/a -- true
	exits 42 "its exit status is ours" by exec v/a -- sh -c 'exit 42'
	exits 143 "ended by a signal" by exec v/a -- sh -c 'kill -TERM $$'
	exits 127 "no such command" by exec v/a -- no-such-command
	exits 3 "no such subnet" by exec v/b -- true
	exits 2 "no command" by exec v/a
	exits 2 "nor after --" by exec v/a --
}

test_network() {
	is "it is in the subnet's namespace" "$(by exec v/a -- readlink /proc/self/ns/net)" \
		"$(inside v-a readlink /proc/self/ns/net)"
	is "/sys shows its devices" "$(by exec v/a -- ls /sys/class/net | xargs)" "$(dev_of v-a | xargs -I@ echo lo @)"
}

test_files() {
	mkdir -p /etc/netns/v-a
	echo "nameserver 10.0.0.53" >/etc/netns/v-a/resolv.conf
	is "/etc/netns/NAME is laid over /etc" "$(by exec v/a -- cat /etc/resolv.conf)" \
		"nameserver 10.0.0.53"
	unlike "but not for others" "$(cat /etc/resolv.conf 2>/dev/null)" '10\.0\.0\.53'
	is "the working directory stays" "$(by exec v/a -- pwd)" "$WORLD"
	is "the environment too" "$(COLOUR=green by exec v/a -- sh -c 'echo $COLOUR')" green
	rm -r /etc/netns/v-a
}

test_streams() {
	is "stdin" "$(echo hello | by exec v/a -- cat)" hello
	is "stdout and stderr stay apart" "$(by exec v/a -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
	like "a terminal" "$(script -qec "$BYWAY exec v/a -- tty" /dev/null </dev/null)" '/dev/pts/'
	is "options after -- are the command's" "$(by exec v/a -- echo --json)" "--json"
}

test_operation() {
	check "a dry run" by --dry-run exec v/a -- touch "$WORLD/made in vain"
	is "says what would be run" "$(out)" "ip netns exec v-a touch '$WORLD/made in vain'"
	fails "and does not" test -e "$WORLD/made in vain"
	is "as JSON" "$(by --dry-run --json exec v/a -- true | jq -c .operations)" '["ip netns exec v-a true"]'
	exits 3 "of no such subnet" by --dry-run exec v/b -- true
	exits 42 "what -v echoes is run" by -v exec v/a -- sh -c 'exit 42'
	says "and echoed" "^\+ ip netns exec v-a sh -c 'exit 42'"
}

test_descriptors() {
	is "no descriptor leaks into the command" \
		"$(by exec v/a -- sh -c 'ls /proc/self/fd | wc -l' </dev/null 2>/dev/null)" \
		"$(sh -c 'ls /proc/self/fd | wc -l' </dev/null 2>/dev/null)"
}

snapshot_host >"$WORLD/before"
must by vpc create v 10.0.0.0/16
must by subnet add v a 10.0.1.0/24
test_status
test_network
test_files
test_streams
test_operation
test_descriptors
must by vpc delete v
check "nothing is left, no mount either" same_as "$WORLD/before"
done_testing
