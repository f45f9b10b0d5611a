# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Workloads in VPCs, real servers to go out by, and what of it all leaves the host.

# shellcheck source=tests/lib/ssh_tunnel.sh
. "$WORLD_LIB/ssh_tunnel.sh"

PROXY=192.0.2.1 PROXY_PORT=8888
RESOLVER=203.0.113.53
NOBODY=203.0.113.99 # a resolver that is not there

# ---- servers ----

# proxy_start_with LINE...: of its configuration.
proxy_start_with() {
	printf '%s\n' "Port $PROXY_PORT" "Listen $PROXY" "Timeout 600" "MaxClients 100" \
		"LogFile \"$WORLD/tiny.log\"" "BasicAuth alice ${PROXY_PASSWORD:-s3cret}" "$@" >"$WORLD/tiny.conf"
	become internet tinyproxy -d -c "$WORLD/tiny.conf" >"$WORLD/tiny.out" 2>&1 </dev/null &
	PIDS[proxy]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PROXY_PORT" 500 ||
		bail "tinyproxy does not start: $(cat "$WORLD/tiny.out")"
}

proxy_start() { proxy_start_with ""; }

# What ssh's server asks for names, and what the host would ask.
resolvers_start() {
	local name address
	must ip -n internet addr add "$RESOLVER/32" dev lo
	for name in server:127.0.0.1:203.0.113.10 public:$RESOLVER:203.0.113.77; do
		address=${name#*:}
		printf '%s\n' no-resolv no-hosts no-daemon "pid-file=" bind-interfaces \
			"listen-address=${address%:*}" "host-record=some.name,${address#*:}" \
			"host-record=vpn.test,$INTERNET4" \
			log-queries >"$WORLD/${name%%:*}.conf"
		become internet dnsmasq -C "$WORLD/${name%%:*}.conf" >"$WORLD/${name%%:*}.log" 2>&1 &
		PIDS[resolver-${name%%:*}]=$!
		wait_for inside internet "$PROBE" tcp "${address%:*}" 53 500 || bail "dnsmasq does not start"
	done
}

# ---- egresses ----

ssh_spec() { # DESTINATION [MORE]
	echo "{ssh: $1, config: none, identity: $SSHD_DIR/user, option: [IdentitiesOnly=yes," \
		"UserKnownHostsFile=$SSHD_DIR/known, ServerAliveInterval=1, ServerAliveCountMax=2]$2}"
}
connect_spec() { # HOST [MORE]
	echo "{connect: 'http://$1:$PROXY_PORT', username: alice, password_file: $WORLD/proxy.pass$2}"
}

openconnect_spec() { # SERVER [MORE]
	echo "{openconnect: 'https://$1:$OCSERV_PORT', username: $VPN_USER, cafile: $OCSERV_CA," \
		"password_file: $WORLD/vpn.pass, backoff: {min: 100ms, max: 1s}$2}"
}

egress() { by egress show "$1" --json | jq -r "$2 // \"none\""; }
egress_is() { [[ $(egress "$1" .state) == "$2" ]]; }
start_egress() { by egress run "$1" --detach -q; }
routed() { [[ -n $(ip route show table "$(egress "$1" .table)") ]]; }
unrouted() { ! routed "$1"; }
# All of the tunnel's process: the one that waits, and the child.
egress_pids() {
	local pid
	pid=$(egress "$1" .pid)
	echo "$pid" "$(pgrep -P "$pid" -x byway)"
}

# What ssh_spec() and connect_spec() lead to.
egress_servers_start() {
	sshd_prepare
	printf s3cret >"$WORLD/proxy.pass"
	proxy_start
	sshd_start plain "$SSHD_PORT"
}

# stop_server PIDS-NAME PROGRAM: with those that serve connections.
stop_server() {
	local pids
	pids=$(pgrep -x "$2" | grep -vx "${PIDS[$1]}")
	stop "$1"
	[[ -z $pids ]] || xargs kill <<<"$pids"
}

# ---- what leaves the host ----

# Of workloads nothing may, but by what carries their egress: lines of the observer's.
CARRIERS="tcp $SSH_SERVER $SSHD_PORT
tcp $PROXY $PROXY_PORT
tcp $INTERNET4 4443
udp $INTERNET4 4443"
leaked() {
	seen_since "$FROM" | grep -vxF "$CARRIERS" |
		grep -vE "^(mark [0-9]+|icmp [0-9a-f:]+ (13[3-6]|143)|other ff02::16 0)$"
}

# spray NS: one of each, to nobody's surprise without an answer.
spray() {
	local REACH_MS=$RESTRAINT ns=$1 to
	for to in "$INTERNET4" "$INTERNET6"; do
		reaches "$ns" "$to" 443
		reaches "$ns" "udp:$to" 443
		reaches "$ns" "udp:$to" 53
		reaches "$ns" "ping:$to"
	done >/dev/null 2>&1
	return 0
}

# can_by_nat NS NAME: to the last of its packets, which are seen as they leave.
can_by_nat() {
	can "$1" "$INTERNET4" 443 "$2"
	wait_for nobody_connected "$1" || bail "connections are left"
}

begin_watch() {
	control
	FROM=$CONTROLS
}
nothing_leaked() {
	control
	! leaked
}
