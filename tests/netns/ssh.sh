#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway ssh: everything a host sends goes through a server that has nothing but sshd.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"

RESOLVER=203.0.113.53  # reachable without a tunnel
NOBODY=203.0.113.99   # a resolver that is not there
EXIT_USAGE=2 EXIT_AUTH=4 EXIT_UNREACHABLE=5 EXIT_CONFLICT=7

# ---- the world ----

# resolver NAME ADDRESS ANSWER: it knows some.name, and many.name, which does not fit into 512 bytes.
resolver() {
	local i
	printf '%s\n' no-resolv no-hosts no-daemon "pid-file=" "listen-address=$2" bind-interfaces \
		"host-record=some.name,$3" >"$WORLD/$1.conf"
	for i in {1..40}; do
		echo "host-record=many.name,203.0.113.$((i + 100))"
	done >>"$WORLD/$1.conf"
	become internet dnsmasq -C "$WORLD/$1.conf" >"$WORLD/$1.out" 2>&1 &
	PIDS[$1]=$!
	wait_for inside internet "$PROBE" tcp "$2" 53 500 || bail "dnsmasq does not start: $(cat "$WORLD/$1.out")"
}

lay_out() {
	sshd_prepare
	must ip -n internet addr add "$RESOLVER/32" dev lo
	resolver server-resolver 127.0.0.1 203.0.113.10 # the server's own: nobody else can reach it
	resolver public-resolver "$RESOLVER" 203.0.113.77
	sshd_start plain "$SSHD_PORT"
	web_server internet 8080
	echo_server internet 443
	start_observer
}

# ---- all of it ----

page() { get "$1" "http://$2:8080/"; }
# The server, who is the one that asks, has the page's own address.
is_tunnelled() { [[ $(page "$1" "$INTERNET4") == "hello from internet to $INTERNET4" ]]; }

test_carries() {
	local family
	check "up" up
	check "the state is up" wait_for state_is up
	check "the agent is there" wait_for agent_is up
	begin_watch
	for family in "$INTERNET4" "[$INTERNET6]"; do
		is "a page from $family" "$(page host "$family" | cut -d' ' -f1-4)" "hello from internet to"
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

both_ways() { [[ $(tunnel 'agent | .datagrams_up > 0 and .datagrams_down > 0') == true ]]; }

test_status() {
	is "status: who" "$(tunnel 'kind + " " + .server + " " + .name')" "ssh root@$SSH_SERVER host"
	is "status: one connection, up" "$(tunnel 'connections | map(.state) | join(" ")')" up
	is "status: of an ssh that runs" "$(ps -o comm= -p "$(master_pid)")" ssh
	is "status: it came up once" "$(tunnel 'connections[0].connects')" 1
	like "status: the agent's machine" "$(tunnel agent.machine)" "^Linux "
	check "status: datagrams went both ways" wait_for both_ways
	run by ssh status
	prints "status: for a person" "host +up +root@$SSH_SERVER +up +byway0"
}

test_conflict() {
	exits $EXIT_CONFLICT "a second up is a conflict" up
	exits $EXIT_CONFLICT "proxy down refuses an SSH tunnel" by proxy down
	says "and says what to do" "byway ssh down"
	check "which is still up" state_is up
	can host "udp:$INTERNET4" 443 "after that"
}

# ended NAME [DOWN-OPTION...]
ended() {
	local name=$1
	shift
	check "$name: down" by ssh down "$@"
	check "$name: the network is as before" same_as "$WORLD/before"
	check "$name: nothing is left on the server" wait_for server_is_clean
	check "$name: no socket is left" no_sockets
}

# ---- DNS ----

resolv_conf() { printf 'nameserver %s\noptions attempts:1 timeout:%d\n' "$1" "${2:-10}" >/etc/resolv.conf; }
address_of() { getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }
by_tcp() { RES_OPTIONS=use-vc address_of "$1"; }
# asked ADDRESS NAME [DIG-OPTION...]
asked() { dig +short +tries=1 +time="${DIG_S:-10}" "${@:3}" "@$1" "$2" A; }

# up_for NAME OPTION...
up_for() {
	check "$1: up" up "${@:2}"
	wait_for state_is up
	wait_for agent_is up
	begin_watch
}

# answers NAME ANSWER: to whoever the query is addressed, by UDP and by TCP.
answers() {
	resolv_conf "$NOBODY"
	is "$1: a name, over UDP" "$(address_of some.name)" "$2"
	is "$1: over TCP" "$(by_tcp some.name)" "$2"
	is "$1: what does not fit into a datagram" "$(getent ahostsv4 many.name | grep -c STREAM)" 40
	is "$1: a query addressed to another" "$(asked 203.0.113.98 some.name)" "$2"
	is "$1: over TCP" "$(asked 203.0.113.98 some.name +tcp)" "$2"
	is "$1: in IPv6" "$(asked 2001:db8:99::98 some.name)" "$2"
	is "$1: in IPv6 over TCP" "$(asked 2001:db8:99::98 some.name +tcp)" "$2"
	check "$1: no query left beside the tunnel" nothing_leaked
	echo nameserver 127.0.0.1 >/etc/resolv.conf
}

test_dns() {
	cp /etc/resolv.conf "$WORLD/resolv.before"
	up_for "dns remote" --dns remote
	answers "dns remote" 203.0.113.10
	ended "dns remote"
	up_for "dns by address" --dns "$RESOLVER"
	answers "dns by address" 203.0.113.77
	ended "dns by address"
	check "the host's resolv.conf is as before" cmp /etc/resolv.conf "$WORLD/resolv.before"
	test_dns_off
	exits $EXIT_USAGE "another word for --dns" up --dns somehow
}

# Queries for the host's resolver go beside the tunnel; others are datagrams like any.
test_dns_off() {
	resolv_conf "$RESOLVER"
	up_for "dns off" --dns off
	is "dns off: a name" "$(address_of some.name)" 203.0.113.77
	control
	check "dns off: beside the tunnel" has_seen "$FROM" "udp $RESOLVER 53"
	is "dns off: another resolver is not answered for" "$(DIG_S=1 asked "$NOBODY" some.name +tcp | grep -v '^;')" ""
	control
	check "dns off: nor asked beside the tunnel" not has_seen "$FROM" "tcp $NOBODY 53"
	echo nameserver 127.0.0.1 >/etc/resolv.conf
	ended "dns off"
}

# ---- what is captured ----

test_networks() {
	up_for exclude --exclude "$INTERNET4/32" --exclude "$INTERNET6/128"
	is "excluded: straight" "$(page host "$INTERNET4")" "hello from internet to $HOST4"
	is "excluded, IPv6: straight" "$(page host "[$INTERNET6]")" "hello from internet to $HOST6"
	can host "udp:$INTERNET4" 443 excluded
	control
	check "excluded: seen outside" has_seen "$FROM" "udp $INTERNET4 443"
	begin_watch
	can host "udp:$RESOLVER" 443 "not excluded"
	check "the rest does not leave" nothing_leaked
	ended exclude
	up_for include --include 203.0.113.0/28
	check "included: through the tunnel" is_tunnelled host
	can host "udp:$INTERNET4" 443 included
	can host "ping:$INTERNET4" 0 included
	check "included: nothing leaves" nothing_leaked
	is "the rest: straight" "$(page host "[$INTERNET6]")" "hello from internet to $HOST6"
	can host "udp:$RESOLVER" 443 "the rest"
	control
	check "the rest: seen outside" has_seen "$FROM" "udp $RESOLVER 443"
	ended include
}

# through NS: it has no other way out.
through() {
	check "$1: a page" is_tunnelled "$1"
	like "$1: in IPv6" "$(page "$1" "[$INTERNET6]")" "hello from internet"
	can "$1" "udp:$INTERNET4" 443
	can "$1" "udp:$INTERNET6" 443
	can "$1" "ping:$INTERNET4"
	can "$1" "ping:$INTERNET6"
	is "$1: a name" "$(inside "$1" dig +short +tries=1 +time=10 "@$NOBODY" some.name A)" 203.0.113.10
	is "the host goes its own way" "$(page host "$INTERNET4")" "hello from internet to $HOST4"
}

# in_tunnel NS IN
in_tunnel() {
	cannot "$1" "$INTERNET4" 443 before
	check "$1: up" up --in "$2"
	check "$1: the state is up" wait_for state_is up
	check "$1: the agent is there" wait_for agent_is up
	is "$1: ssh is outside" "$(readlink "/proc/$(master_pid)/ns/net")" "$(readlink /proc/self/ns/net)"
	through "$1"
	check "$1: down" by ssh down --in "$2"
	cannot "$1" "$INTERNET4" 443 after
}

test_namespaces() {
	must ip netns add box
	must ip -n box link set lo up
	in_tunnel box box
	ip netns del box
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24
	in_tunnel v-a v/a
	must by vpc delete v
	check "namespaces: the network is as before" same_as "$WORLD/before"
	check "namespaces: nothing is left on the server" wait_for server_is_clean
}

# ---- check, mistakes ----

by_check() { by ssh check "${WORDS[@]}" "root@$SSH_SERVER" "$@"; }

test_check() {
	check "check" by_check "$INTERNET4:8080"
	prints "check: says so" "reaches $INTERNET4 port 8080"
	check "check: of a name that the server knows" by_check some.name:8080
	exits $EXIT_UNREACHABLE "check: nobody listens" by_check "$INTERNET4:9"
	says "check: which is said" "refused"
	check "check: no ssh is left" wait_for no_ssh
}

# refused NAME REGEX WORD...: nothing comes of it.
refused() {
	exits $EXIT_AUTH "$1" by ssh -q --detach "${@:3}" "root@$SSH_SERVER"
	says "$1: why" "$2"
	check "$1: the network is as before" same_as "$WORLD/before"
	check "$1: no socket is left" no_sockets
	exits $EXIT_AUTH "$1: check" by ssh check "${@:3}" "root@$SSH_SERVER" "$INTERNET4:8080"
}

test_mistakes() {
	local key=(-F none -o IdentitiesOnly=yes) known=(-o "UserKnownHostsFile=$SSHD_DIR/known")
	refused "wrong key" "Permission denied" "${key[@]}" -i "$SSHD_DIR/stranger" "${known[@]}"
	refused "unknown host" "Host key verification failed" "${key[@]}" -i "$SSHD_DIR/user" \
		-o "UserKnownHostsFile=$SSHD_DIR/known-none"
	refused "changed host key" "[Hh]ost key.* has changed" "${key[@]}" -i "$SSHD_DIR/user" \
		-o "UserKnownHostsFile=$SSHD_DIR/known-other"
	fails "an unknown option of ssh" up -o NoSuchOption=1
	says "an unknown option of ssh: why" "Bad configuration option"
	check "an unknown option of ssh: the network is as before" same_as "$WORLD/before"
}

# ---- as x2ssh ----

x2ssh() { (exec -a x2ssh "$BYWAY" "$@"); }

test_x2ssh() {
	check "x2ssh: up" x2ssh "${WORDS[@]}" --detach -q --vpn "root@$SSH_SERVER" --vpn-dns "$RESOLVER" \
		--vpn-exclude "$INTERNET6/128" --vpn-exclude 198.51.100.0/24 --vpn-mtu 1400 --vpn-tun-name x2ssh0
	check "x2ssh: the state is up" wait_for state_is up
	check "x2ssh: the agent is there" wait_for agent_is up
	is "x2ssh: the device and its MTU" "$(ip -j link show x2ssh0 | jq '.[0].mtu')" 1400
	is "x2ssh: excluded" "$(page host "[$INTERNET6]")" "hello from internet to $HOST6"
	check "x2ssh: the rest is captured" is_tunnelled host
	is "x2ssh: who answers queries" "$(asked "$NOBODY" some.name)" 203.0.113.77
	ended x2ssh
	exits $EXIT_USAGE "x2ssh: a word that is none, before the server" x2ssh --vpn --vpn-dns nonsense "root@$SSH_SERVER"
	exits $EXIT_USAGE "x2ssh: without --vpn" x2ssh "root@$SSH_SERVER"
	says "x2ssh: what there is" "--vpn USER@HOST"
}

# ---- as the user of sudo ----

# By keys and an agent of nobody's, which root has no part in.
test_sudo() {
	local home=$SSHD_DIR/home as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	mkdir -p "$home"
	cp "$SSHD_DIR/user" "$home/key"
	chown -R 65534:65534 "$home"
	"${as[@]}" ssh-agent -D -a "$home/agent" >/dev/null 2>&1 &
	# shellcheck disable=SC2034,SC2154 # world.sh's
	PIDS[user-keys]=$!
	wait_for test -S "$home/agent"
	SSH_AUTH_SOCK=$home/agent "${as[@]}" ssh-add -q "$home/key" || bail "no agent"
	snapshot_host >"$WORLD/before"
	check "sudo: up" env SUDO_UID=65534 SSH_AUTH_SOCK="$home/agent" "$BYWAY" ssh -q --detach -F none \
		-o "UserKnownHostsFile=$home/known" -o StrictHostKeyChecking=accept-new "root@$SSH_SERVER"
	check "sudo: the state is up" wait_for state_is up
	check "sudo: the agent is there" wait_for agent_is up
	is "sudo: each ssh is the user's" "$(ps -o uid= -C ssh | sort -u | xargs)" 65534
	is "sudo: what ssh writes is the user's" "$(stat -c %u "$home/known")" 65534
	check "sudo: a page" is_tunnelled host
	can host "udp:$INTERNET4" 443 sudo
	ended sudo
	stop user-keys
}

lay_out
snapshot_host >"$WORLD/before"
test_carries
test_status
test_conflict
ended "down"
test_dns
test_networks
test_namespaces
test_check
test_mistakes
test_x2ssh
test_sudo
stop_all
done_testing
