# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2004 # the scripts that source this use its variables; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real openconnect VPN servers in a world, and the network that they lead to:
#
#   internet:  ocserv at $INTERNET4 and $INTERNET6; its clients are 10.99.0.0/16 and fd99::/64
#   corp:      10.98.0.1 and fd98::1: a web server that says who asks it; 10.98.0.53: dnsmasq, which knows
#              corp.test
#
# `internet` forwards to `corp` whatever comes, also what did not come through the VPN: a leak is answered,
# and the web server says from where it came.

OCSERV_DIR=$WORLD/ocserv
OCSERV_PORT=4443
OCSERV_NAME=vpn.test # in the certificate, beside the addresses
OCSERV_CA=$OCSERV_DIR/ca.pem
CORP4=10.98.0.1
CORP6=fd98::1
CORP_DNS=10.98.0.53
VPN_USER=alice
VPN_PASSWORD='correct horse'

# ---- certificates and users ----

ocserv_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

ocserv_ca() { # NAME
	ocserv_key "$OCSERV_DIR/$1.key"
	openssl req -x509 -new -key "$OCSERV_DIR/$1.key" -subj "/CN=$1" -days 30 -out "$OCSERV_DIR/$1.pem"
}

# ocserv_certificate NAME DAYS DNS-NAME: all with the same key, so that all have the same pin. With -1 day it
# has expired.
ocserv_certificate() {
	openssl req -new -key "$OCSERV_DIR/server.key" -subj "/CN=$3" |
		openssl x509 -req -CA "$OCSERV_CA" -CAkey "$OCSERV_DIR/ca.key" -days "$2" \
			-extfile <(echo "subjectAltName=DNS:$3${4:+,$4}") -out "$OCSERV_DIR/$1.pem" 2>/dev/null
}

# What --servercert takes for all of them: RFC 7469, 2.4.
ocserv_pin() {
	printf 'pin-sha256:'
	openssl pkey -in "$OCSERV_DIR/server.key" -pubout -outform DER |
		openssl dgst -sha256 -binary | base64
}

# ocserv_user NAME PASSWORD: also while servers run.
ocserv_user() {
	printf '%s\n%s\n' "$2" "$2" | ocpasswd -c "$OCSERV_DIR/users" "$1"
}

# ---- the network behind ----

corp_network() {
	ip netns add corp
	ip link add corp0 netns internet type veth peer name eth0 netns corp
	inside internet sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	ip -n corp -batch - <<-END
		link set lo up
		link set eth0 up
		addr add $CORP4/24 dev eth0
		addr add $CORP_DNS/24 dev eth0
		addr add $CORP6/64 dev eth0 nodad
		route add default via 10.98.0.254
		route add default via fd98::fe
	END
	ip -n internet -batch - <<-END
		link set corp0 up
		addr add 10.98.0.254/24 dev corp0
		addr add fd98::fe/64 dev corp0 nodad
		# What is for a client that is gone is for nobody, and not for the host.
		route add unreachable 10.99.0.0/16 metric 4000000
		route add unreachable fd99::/64 metric 4000000
	END
	know_each_other internet corp0 10.98.0.254 fd98::fe corp eth0 "$CORP4" "$CORP6"
}

corp_resolver() {
	cat >"$OCSERV_DIR/dnsmasq.conf" <<-END
		no-resolv
		no-hosts
		no-daemon
		log-queries
		listen-address=$CORP_DNS
		bind-interfaces
		host-record=www.corp.test,$CORP4,$CORP6
	END
	become corp dnsmasq -C "$OCSERV_DIR/dnsmasq.conf" >"$OCSERV_DIR/dnsmasq.log" 2>&1 </dev/null &
	PIDS[dnsmasq-corp]=$!
	wait_for inside corp "$PROBE" tcp "$CORP_DNS" 53 500 ||
		bail "dnsmasq did not start: $(cat "$OCSERV_DIR/dnsmasq.log")"
}

# Certificates: server.pem is good, expired.pem is what its name says, other.pem is another host's; ca.pem
# signed them, and stranger.pem signed none.
ocserv_prepare() {
	mkdir -p "$OCSERV_DIR"
	chmod 755 "$WORLD" "$OCSERV_DIR"
	ocserv_ca ca
	ocserv_ca stranger
	ocserv_key "$OCSERV_DIR/server.key"
	ocserv_certificate server 30 "$OCSERV_NAME" "IP:$INTERNET4,IP:$INTERNET6"
	ocserv_certificate expired -1 "$OCSERV_NAME" "IP:$INTERNET4,IP:$INTERNET6"
	ocserv_certificate other 30 other.test
	ocserv_user "$VPN_USER" "$VPN_PASSWORD"
	ocserv_script
	corp_network
	web_server corp 80
	corp_resolver
}

# ---- servers ----

# One that takes whoever has the password. Points are given for connections, too: with a limit, clients that
# come all at once are banned.
ocserv_defaults() {
	cat <<-END
		auth = "plain[passwd=$OCSERV_DIR/users]"
		tcp-port = $OCSERV_PORT
		udp-port = $OCSERV_PORT
		run-as-user = nobody
		run-as-group = daemon
		socket-file = $OCSERV_DIR/$1.sock
		occtl-socket-file = $OCSERV_DIR/$1.ctl
		use-occtl = true
		pid-file = $OCSERV_DIR/$1.pid
		server-cert = $OCSERV_DIR/server.pem
		server-key = $OCSERV_DIR/server.key
		isolate-workers = true
		max-clients = 1024
		max-same-clients = 0
		rate-limit-ms = 0
		max-ban-score = 0
		keepalive = 30
		dpd = 5
		mobile-dpd = 30
		switch-to-tcp-timeout = 5
		try-mtu-discovery = false
		auth-timeout = 30
		cookie-timeout = 300
		rekey-time = 172800
		device = vpns
		predictable-ips = true
		default-domain = corp.test
		ipv4-network = 10.99.0.0/16
		ipv6-network = fd99::/64
		ipv6-subnet-prefix = 128
		dns = $CORP_DNS
		route = 10.98.0.0/24
		route = fd98::/64
		ping-leases = false
		mtu = 1400
	END
}

# ocserv_config NAME [LINE...]: lines take the place of the defaults with the same key; "KEY =" takes them away:
# "route =" for a server that wants all traffic, "udp-port =" for one without DTLS.
ocserv_config() {
	local name=$1
	shift
	printf '%s\n' "$@" | sed '/=[[:blank:]]*$/d'
	ocserv_defaults "$name" | awk -v lines="$(printf '%s\n' "$@")" '
		BEGIN { n = split(lines, l, "\n"); for (i = 1; i <= n; i++) { split(l[i], w, " "); taken[w[1]] } }
		!($1 in taken)'
}

# ocserv_start NAME [LINE...]: in the network `internet`, or $OCSERV_NS; its process number is in
# PIDS[ocserv-NAME], and so is its process group's.
ocserv_start() {
	local name=$1
	ocserv_config "$@" >"$OCSERV_DIR/$name.conf"
	become "${OCSERV_NS:-internet}" setsid ocserv -f -d 2 -c "$OCSERV_DIR/$name.conf" \
		>>"$OCSERV_DIR/$name.log" 2>&1 </dev/null &
	PIDS[ocserv-$name]=$!
	wait_for ocserv_listens "$name" || bail "ocserv did not start: $(cat "$OCSERV_DIR/$name.log")"
}

ocserv_listens() { # NAME
	kill -0 "${PIDS[ocserv-$1]}" && occ "$1" show status &&
		inside "${OCSERV_NS:-internet}" ss -Hltn "sport = :$(ocserv_port "$1")" | grep -q .
}
ocserv_port() { awk '$1 == "tcp-port" { print $3 }' "$OCSERV_DIR/$1.conf"; }

# With a goodbye to its clients.
ocserv_stop() { stop "ocserv-$1"; }

# All of its processes, at once and with no word to anybody.
ocserv_kill() {
	kill -9 -- "-${PIDS[ocserv-$1]}"
	wait "${PIDS[ocserv-$1]}" 2>/dev/null
	unset "PIDS[ocserv-$1]"
	rm -f "$OCSERV_DIR/$1".{sock*,ctl,pid}
}

# ---- what they know ----

# occ NAME COMMAND...: occtl(8), about that server.
occ() {
	local name=$1
	shift
	occtl -s "$OCSERV_DIR/$name.ctl" "$@"
}
ocserv_clients() { occ "$1" -j show users | jq length; }
ocserv_disconnect() { occ "$1" disconnect user "${2:-$VPN_USER}"; }

# How often somebody tried to log in; since its log began. (Of those that fail it says nothing on this level.)
ocserv_logins() { grep -c "authentication to authenticate user" "$OCSERV_DIR/$1.log"; }
# How often one of them was let in and connected.
ocserv_sessions() { grep -c "user logged in" "$OCSERV_DIR/$1.log"; }

# ---- bare clients, to compare with ----

# The least that a --script has to do.
ocserv_script() {
	cat >"$OCSERV_DIR/script" <<-'END'
		#!/bin/sh
		[ "$reason" = connect ] || exit 0
		ip -batch - <<IP
		addr add $INTERNAL_IP4_ADDRESS/32 dev $TUNDEV
		link set $TUNDEV up mtu $INTERNAL_IP4_MTU
		route add 10.98.0.0/24 dev $TUNDEV
		IP
		[ -z "$INTERNAL_IP6_ADDRESS" ] || ip -batch - <<IP
		addr add $INTERNAL_IP6_ADDRESS/128 dev $TUNDEV nodad
		route add fd98::/64 dev $TUNDEV
		IP
	END
	chmod 755 "$OCSERV_DIR/script"
}

# bare_openconnect NAME NS [ARGUMENT...]: openconnect alone; its pid is in PIDS[openconnect-NAME].
bare_openconnect() {
	local name=$1 ns=$2
	shift 2
	become "$ns" openconnect --user="$VPN_USER" --passwd-on-stdin --non-inter --interface=tun0 \
		--cafile="$OCSERV_CA" --script="$OCSERV_DIR/script" --resolve="$OCSERV_NAME:$INTERNET4" \
		"$@" "https://$OCSERV_NAME:$OCSERV_PORT" \
		<<<"$VPN_PASSWORD" >"$OCSERV_DIR/openconnect-$name.log" 2>&1 &
	PIDS[openconnect-$name]=$!
}
