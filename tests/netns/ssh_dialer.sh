#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The dialer over SSH against OpenSSH's sshd, in the network `internet`.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
# shellcheck source=tests/lib/world.sh
. tests/lib/world.sh
DIAL=$(realpath "${DIAL:-$WORLD_TREE/build/tests/lib/dial}")
SSH_LOAD=$(realpath "${SSH_LOAD:-$WORLD_TREE/build/tests/lib/ssh_load}")
STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
world_enter "$@"
# shellcheck source=tests/lib/sshd.sh
. "$WORLD_LIB/sshd.sh"

PLAIN=22 FORBID=23 PERMIT=24 ONE=25 JUMP=26
TARGET=$INTERNET4
# Exit statuses of dial: 10 and the number of enum dial_status.
REFUSED=12 UNREACHABLE=13 DENIED=14 AUTH=15 BROKEN=17
export SSH_WORDS SSH_MODE SSH_WAIT_MS SSH_CONNECTIONS SSH_GID SSH_SUDO
unset SSH_MODE SSH_WAIT_MS SSH_CONNECTIONS SSH_GID SSH_SUDO SSH_AUTH_SOCK

# ---- servers ----

servers() {
	sshd_prepare
	sshd_start plain $PLAIN "ClientAliveInterval 1" "ClientAliveCountMax 3"
	sshd_start forbid $FORBID "AllowTcpForwarding no"
	sshd_start permit $PERMIT "PermitOpen $TARGET:8080"
	sshd_start one $ONE "MaxSessions 1"
	sshd_start jump $JUMP
	web_server internet 8080
	echo_server internet 7
	background stream internet "$PROBE" echo 7777
	become internet "$STREAM" serve 5001 >/dev/null 2>&1 </dev/null &
	PIDS[serve]=$!
	become internet "$STREAM" echo 5002 >/dev/null 2>&1 </dev/null &
	PIDS[streamecho]=$!
	ip -n internet route add unreachable 198.51.100.0/24
}

# ---- acting ----

# get_by DEST HOST PORT: a web page.
get_by() { printf 'GET / HTTP/1.0\r\n\r\n' | timeout 30 "$DIAL" "$@"; }

gets() { # NAME HOST PORT
	exits 0 "$1" get_by ssh:root@$SSH_SERVER "$2" "$3" && prints "$1: the page" "hello from internet to"
}

refuses_with() { # STATUS REGEX NAME HOST PORT
	exits "$1" "$3" get_by ssh:root@$SSH_SERVER "$4" "$5"
	says "$3: why" "$2"
}

load() { timeout 120 "$SSH_LOAD" "root@$SSH_SERVER" "$@"; }

SSH_WORDS=$(ssh_words $PLAIN)
servers
basic() {
	gets "$1: IPv4" $TARGET 8080
	gets "$1: IPv6" $INTERNET6 8080
	gets "$1: a host's name" localhost 8080
	refuses_with $REFUSED "refused: .*(Connection refused|could not or would not)" "$1: refused" $TARGET 9
	refuses_with $UNREACHABLE "unreachable: " "$1: unreachable" 198.51.100.1 80
	refuses_with $UNREACHABLE "unreachable: " "$1: no such name" nowhere.invalid 80
}
basic proxy
SSH_MODE=passenger basic passenger
done_testing
