#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A server that is known by its name, on a host whose names are resolved by a daemon (as systemd-resolved
# does it): the daemon's own queries are captured by the tunnel, which must come up, and come back,
# without them.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=/dev/null
. "$WORLD_TREE/tests/lib/sshd.sh"

PORT=2222
RESOLVER=203.0.113.53
SERVER=server.example
unset SSH_AUTH_SOCK SUDO_UID

up() {
	by ssh -q --detach -F none -i "$SSHD_DIR/user" -o IdentitiesOnly=yes \
		-o "UserKnownHostsFile=$SSHD_DIR/known" -o ServerAliveInterval=1 -o ServerAliveCountMax=2 \
		-p "$PORT" "$@" "root@$SERVER"
}
tunnel() { by ssh status --json | jq -r ".tunnels[0].$1"; }
has() { [[ $(tunnel "$1") == "$2" ]]; }
reconnected() { (($(tunnel 'connections[0].connects') > $1)) && has state up && has agent.state up; }

# resolver NAME NS ADDRESS LINE...
resolver() {
	local name=$1 ns=$2 address=$3
	shift 3
	printf '%s\n' no-resolv no-hosts keep-in-foreground log-facility=- bind-interfaces \
		"listen-address=$address" "pid-file=$WORLD/$name.pid" "$@" >"$WORLD/$name.conf"
	become "$ns" dnsmasq -C "$WORLD/$name.conf" >"$WORLD/$name.out" 2>&1 &
	# shellcheck disable=SC2034 # it is world.sh's
	PIDS["$name"]=$!
	wait_for inside "$ns" "$PROBE" tcp "$address" 53 500 || bail "dnsmasq does not start"
}

sshd_prepare
sshd_start plain "$PORT"
# Its key is known by the name and the port, and by nothing else.
echo "[$SERVER]:$PORT $(cut -d' ' -f1,2 "$SSHD_DIR/host.pub")" >"$SSHD_DIR/known"
web_server internet 8080
must ip -n internet addr add "$RESOLVER/32" dev lo
resolver real internet "$RESOLVER" "host-record=$SERVER,$SSH_SERVER" cache-size=0
resolver stub host 127.0.0.1 "server=$RESOLVER" cache-size=0
echo nameserver 127.0.0.1 >/etc/resolv.conf
check "the name resolves" getent hosts "$SERVER"
check "up" up --dns "$RESOLVER"
check "the tunnel is up" wait_for has state up
check "and its agent" wait_for has agent.state up
check "names are resolved through it" getent hosts "$SERVER"
check "a page" get host "http://$INTERNET4:8080/"
before=$(tunnel 'connections[0].connects')
check "ssh is ended" kill -9 "$(tunnel 'connections[0].pid')"
WAIT_S=30 check "it comes back" wait_for reconnected "$before"
check "a page again" get host "http://$INTERNET4:8080/"
check "down" by ssh down
stop_all
done_testing
