#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sessions with real VPN servers: the README's chapter as it stands, and what is reached from inside one, by which
# way, under which name.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"
# shellcheck source=tests/lib/observer.sh
. "$WORLD_LIB/observer.sh"

EXAMPLE=vpn.example.com
INTRANET=intranet.example.com

# ---- the world ----

# cover FILE: a copy of the machine's file in its place, which may be written to: in this world only.
cover() {
	local copy=$WORLD/cover${1//\//-}
	cp "$1" "$copy"
	mount --bind "$copy" "$1" || bail "cannot cover $1"
}

# names_in NS ADDRESS LINE...: another resolver of that network.
names_in() {
	local ns=$1 addr=$2
	shift 2
	printf '%s\n' no-resolv no-hosts no-daemon bind-interfaces "listen-address=$addr" "$@" \
		>"$WORLD/names-$addr.conf"
	become "$ns" dnsmasq -C "$WORLD/names-$addr.conf" >"$WORLD/names-$addr.log" 2>&1 </dev/null &
	PIDS["names-$addr"]=$!
	wait_for inside "$ns" "$PROBE" tcp "$addr" 53 500 || bail "dnsmasq did not start: $(cat "$WORLD/names-$addr.log")"
}

# What corp has beside the addresses of ocserv.sh: those of the example's resolvers and of its network, and one that the
# server excludes.
more_of_corp() {
	local net
	for net in 10.0.0.10 10.0.0.11 10.50.0.1 10.98.0.7; do
		ip -n corp addr add "$net/32" dev lo
	done
	for net in 10.0.0.0/24 10.50.0.0/16; do
		ip -n internet route add "$net" via "$CORP4"
	done
	ip -n internet route add 10.98.0.7 via "$CORP4"
}

# The example's server, and behind it the site of the README, at a name that the example's resolvers know.
example_world() {
	cover /etc/hosts
	echo "$INTERNET4 $EXAMPLE" >>/etc/hosts
	cover /etc/ssl/certs/ca-certificates.crt
	cat "$OCSERV_CA" >>/etc/ssl/certs/ca-certificates.crt
	mount -t tmpfs tmpfs /var/log
	ocserv_certificate example 30 "$EXAMPLE"
	ocserv_certificate intranet 30 "$INTRANET"
	names_in corp 10.0.0.10 "host-record=$INTRANET,$CORP4"
	names_in corp 10.0.0.11 "host-record=$INTRANET,$CORP4"
	mkdir "$WORLD/bin"
	ln -s "$BYWAY" "$WORLD/bin/byway"
	intranet_site
}

# nginx_start NS NAME PORT: by $WORLD/web-NAME.conf.
nginx_start() {
	become "$1" nginx -e "$WORLD/web-$2.log" -c "$WORLD/web-$2.conf" >/dev/null 2>&1 </dev/null &
	PIDS["web-$2"]=$!
	wait_for inside "$1" "$PROBE" tcp 127.0.0.1 "$3" 500 ||
		bail "nginx did not start: $(cat "$WORLD/web-$2.log")"
}

intranet_site() {
	web_config corp-tls "443 ssl" | sed "s#^\t*listen \[.*#\
		ssl_certificate $OCSERV_DIR/intranet.pem;\
		ssl_certificate_key $OCSERV_DIR/server.key;#" >"$WORLD/web-corp-tls.conf"
	nginx_start corp corp-tls 443
}

lay_out() {
	ocserv_prepare
	more_of_corp
	lab_network
	example_world
	web_server internet 8080
	start_observer
}

# ---- the README's chapter ----

# Users of the group corp may choose it, and others nothing.
example_server() {
	printf '%s\n%s\n' "$VPN_PASSWORD" "$VPN_PASSWORD" |
		ocpasswd -c "$OCSERV_DIR/grouped" -g corp "$VPN_USER"
	ocserv_start example "auth = \"plain[passwd=$OCSERV_DIR/grouped]\"" "select-group = corp" \
		"auto-select-group = false" "tcp-port = 443" "udp-port = 443" \
		"server-cert = $OCSERV_DIR/example.pem" "route ="
}

# readme COMMAND: a line of it, as its reader enters it.
readme() {
	grep -qxF -- "    # $1" "$WORLD_TREE/README.md" || { echo "the README has no such line"; return 1; }
	(cd "$WORLD_TREE" && PATH=$WORLD/bin:$PATH VPN_PASSWORD=$VPN_PASSWORD bash -c "$1")
}

# The namespace has this device and a loopback, and no other.
devices_of() { ip -n "$1" -j link show | jq -r '[.[].ifname] | sort | join(" ")'; }

test_readme() {
	local i all
	example_server
	check "README: validate" readme "byway session validate examples/octotunnel.yaml"
	check "README: up" readme "byway session up --wait examples/octotunnel.yaml"
	is "which says what the README says" "$(err)" "all sessions of octotunnel are up"
	check "which is there" grep -qxF "    $(err)" "$WORLD_TREE/README.md"
	check "README: list" readme "byway session list"
	is "four are up" "$(out | awk '$2 == "up"' | wc -l)" 4
	all=$(by session list --json | jq -r '.sessions[].addresses[]' | sort -u | grep -vc :)
	is "with four addresses" "$all" 4
	is "the server has them in their group" "$(occ example -j show users 2>/dev/null |
		jq -r '[.[].Groupname] | join(" ")')" "corp corp corp corp"
	for i in 1 2; do
		check "README: exec in octotunnel-$i" \
			readme "byway session exec octotunnel-$i -- curl https://$INTRANET/"
		is "the site is asked by its address" "$(out)" \
			"hello from corp-tls to $(session_inside4 "octotunnel-$i")"
	done
	is "there is nothing but the VPN's device" "$(devices_of octotunnel-1)" "lo tun0"
	is "the resolvers are the file's" "$(in_session octotunnel-1 grep nameserver /etc/resolv.conf)" \
		$'nameserver 10.0.0.10\nnameserver 10.0.0.11'
}

test_readme_ends() {
	local log=/var/log/octotunnel/octotunnel-1.log
	check "README: status" readme "byway session status"
	prints "tells of each" "octotunnel-4 +up .* $EXAMPLE +anyconnect +dtls "
	background follower host setsid bash -c "$(declare -f readme); WORLD_TREE=$WORLD_TREE \
		WORLD=$WORLD VPN_PASSWORD= readme 'byway session logs -f octotunnel-1'"
	check "README: logs" grep -q 'byway: up$' "$WORLD/follower.out"
	echo "a later line" >>$log
	check "go on" wait_for grep -qx "a later line" "$WORLD/follower.out"
	kill -- "-${PIDS[follower]}"
	stop follower
	check "README: down" readme "byway session down examples/octotunnel.yaml"
	check "nothing is left" session_nothing_left
	ocserv_stop example
}


# ---- mode split ----

# What a page says of who asked for it.
asker() { session_get "$@" | awk '{ print $NF }'; }

# asks NAME URL ADDRESS WHY: from inside, the URL is asked for by that address.
asks() { is "$1 asks $2 $4" "$(asker "$1" "$2")" "$3"; }

split_server() { ocserv_start vpn "no-route = 10.98.0.7/32"; }

split_file() {
	session_file corp '.routing = {mode: "split", include: ["10.50.0.0/16"]}'
}

# What is in the VPN, for probes by TCP, UDP and ping: of the file, and of the server.
OF_FILE=(10.50.0.1 udp:10.50.0.1 ping:10.50.0.1)
OF_SERVER=(10.98.0.1 udp:10.98.0.1 ping:10.98.0.1 fd98::1)

# nothing_beside WHY ADDRESS...: none of these is reached, nor does anything leave for them; all the while something
# that is to go beside the VPN does.
nothing_beside() {
	local why=$1 to
	shift
	control
	FROM=$CONTROLS
	for to in "$@"; do cannot corp-1 "$to" 80 "$why"; done
	asks corp-1 "http://$INTERNET4:8080/" "$HOST4" "beside the VPN all the same"
	control
	check "the observer sees that" has_seen "$FROM" "tcp $INTERNET4 8080"
	unlike "and nothing of what is included" "$(seen_since "$FROM")" '10\.98\.0\.1 |10\.50\.|fd98'
}

# Of the server's networks nothing is known before it is there.
test_split_before() {
	split_file
	check "split: begin without a server" env VPN_PASSWORD="$VPN_PASSWORD" "$BYWAY" session up --detach corp.yaml
	nothing_beside "there is no VPN yet" "${OF_FILE[@]}"
}

test_split() {
	local inside4 inside6
	split_server
	check "split: up" wait_for session_is up corp-1
	inside4=$(session_inside4 corp-1) inside6=$(session_inside6 corp-1)
	asks corp-1 http://10.98.0.1/ "$inside4" "through the VPN, as the server includes it"
	asks corp-1 "http://[fd98::1]/" "$inside6" "through the VPN, with IPv6, too"
	asks corp-1 http://10.50.0.1/ "$inside4" "through the VPN, as the file includes it"
	asks corp-1 http://10.98.0.7/ "$HOST4" "beside it, as the server excludes it"
	asks corp-1 "http://$INTERNET4:8080/" "$HOST4" "beside it, as nobody includes it"
	is "there is one namespace" "$(ip netns list | grep -c corp-)" 1
}

test_split_down() {
	local client
	ocserv_kill vpn
	client=$(session_client corp-1)
	[[ $client == 0 ]] || kill -KILL "$client"
	check "split: no VPN" wait_for session_is reconnecting corp-1
	nothing_beside "the VPN is dead" "${OF_FILE[@]}" "${OF_SERVER[@]}"
	asks corp-1 http://10.98.0.7/ "$HOST4" "beside it, as the server excluded it"
	must ip -n corp-1 link del tun0
	nothing_beside "its device is gone" "${OF_FILE[@]}" "${OF_SERVER[@]}"
	split_server
	check "split: up again" wait_for session_is up corp-1
	asks corp-1 http://10.50.0.1/ "$(session_inside4 corp-1)" "through the VPN again"
	is "started once more" "$(($(session_tells .restarts corp-1) > 0))" 1
	session_end corp
	ocserv_stop vpn
}

# ---- names ----

resolv_conf_of() { in_session "$1" grep -v '^#' /etc/resolv.conf; }

test_dns_of_server() {
	ocserv_start vpn
	session_begin corp
	is "the server's resolver and domain" "$(resolv_conf_of corp-1)" \
		$'nameserver 10.98.0.53\nsearch corp.test'
	is "a name is found" "$(session_finds corp-1 www.corp.test)" "$CORP4"
	is "the domain is searched" "$(session_finds corp-1 www)" "$CORP4"
	is "ip netns exec sees the same" "$(ip netns exec corp-1 cat /etc/resolv.conf)" \
		"$(in_session corp-1 cat /etc/resolv.conf)"
	is "and finds the same" "$(ip netns exec corp-1 getent ahostsv4 www | awk 'NR == 1 { print $1 }')" \
		"$CORP4"
	is "the host does not" "$(getent ahostsv4 www.corp.test)" ""
	is "a dry run says what would be run" "$(by --dry-run session exec corp-1 -- getent hosts www)" \
		"ip netns exec corp-1 getent hosts www"
}

# A program that runs already sees the new one: the file is the same.
test_dns_changes() {
	background program host "$BYWAY" session exec corp-1 -- sh -c 'echo; exec sleep infinity'
	ocserv_kill vpn
	check "no server" wait_for session_is reconnecting corp-1
	ocserv_start vpn "dns = 10.0.0.10" "default-domain = example.com" "route = 10.0.0.0/8"
	check "a server that names another resolver" wait_for session_is up corp-1
	is "is what a running program sees" \
		"$(nsenter -t "${PIDS[program]}" --mount grep -v '^#' /etc/resolv.conf)" \
		$'nameserver 10.0.0.10\nsearch example.com'
	is "and asks" "$(nsenter -t "${PIDS[program]}" --mount --net getent ahostsv4 intranet |
		awk 'NR == 1 { print $1 }')" "$CORP4"
	stop program
	session_end corp
	ocserv_stop vpn
}

test_dns_of_file() {
	ocserv_start vpn
	session_begin corp '.dns = {servers: ["10.0.0.11", "10.0.0.10"], search: ["example.com", "corp.test"]}' \
		'.routing.mode = "split"' '.routing.include = ["10.0.0.0/24"]'
	is "the file's resolvers and domains" "$(resolv_conf_of corp-1)" \
		$'nameserver 10.0.0.11\nnameserver 10.0.0.10\nsearch example.com corp.test'
	is "a name is found" "$(session_finds corp-1 intranet)" "$CORP4"
	session_end corp
}

# ---- what would look names up in the host's network ----

DAEMONS=(/run/nscd/socket /run/systemd/resolve/io.systemd.Resolve /run/dbus/system_bus_socket
	/run/avahi-daemon/socket)

# Sockets at which nobody listens: a nscd that says nonsense would take the host's users away.
daemons() {
	local socket
	for socket in "${DAEMONS[@]}"; do mkdir -p "${socket%/*}"; done
	web_config daemons 8053 | sed "s#^\t*listen \[.*#$(printf 'listen unix:%s; ' "${DAEMONS[@]}")#" \
		>"$WORLD/web-daemons.conf"
	nginx_start host daemons 8053
	kill -KILL "${PIDS[web-daemons]}" # which leaves them there
	stop web-daemons
}

# As systemd-resolved has it, and with a nsswitch.conf that asks it.
resolved_etc() {
	daemons
	echo "nameserver 127.0.0.53" >/run/systemd/resolve/stub-resolv.conf
	ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
	printf '%s\n' 'passwd: files systemd' 'hosts: mymachines resolve [!UNAVAIL=return] files dns' \
		'services: db files' >/etc/nsswitch.conf
}

test_masks() {
	local socket
	if [[ $(findmnt -n -o FSTYPE /etc) != overlay ]]; then
		skip "the sockets of daemons that resolve names" "no overlayfs for /etc"
		return
	fi
	resolved_etc
	session_begin corp
	for socket in "${DAEMONS[@]}"; do
		check "$socket is there" test -S "$socket"
		fails "and not inside" in_session corp-1 test -e "$socket"
	done
	is "resolv.conf is the session's where it is a link" "$(resolv_conf_of corp-1)" \
		$'nameserver 10.98.0.53\nsearch corp.test'
	is "for ip netns exec, too" "$(ip netns exec corp-1 cat /etc/resolv.conf)" \
		"$(in_session corp-1 cat /etc/resolv.conf)"
	is "the host's stays" "$(cat /etc/resolv.conf)" "nameserver 127.0.0.53"
	is "hosts are looked up in files and by DNS" "$(in_session corp-1 grep hosts: /etc/nsswitch.conf)" \
		"hosts: files dns"
	is "all else as on the host" "$(in_session corp-1 grep -vE '^(#|hosts:)' /etc/nsswitch.conf)" \
		$'passwd: files systemd\nservices: db files'
	is "a name is found" "$(session_finds corp-1 www)" "$CORP4"
	session_end corp
}

# ---- addresses towards the host ----

# Where the server sees its client.
seen_from() { occ vpn -j show users 2>/dev/null | jq -r '.[0]."Remote IP"'; }

split_begin() { session_begin corp '.routing.mode = "split"' "$@"; }

test_nat() {
	split_begin
	is "with nat the server sees the host" "$(seen_from)" "$HOST4"
	asks corp-1 "http://$INTERNET4:8080/" "$HOST4" "beside the VPN"
	session_end corp

	split_begin '.nat = false'
	is "without nat the server sees the session" "$(seen_from)" 10.20.30.1
	asks corp-1 "http://$INTERNET4:8080/" 10.20.30.1 "beside the VPN"
	is "nobody answers ARP for another network's address" "$(ip neigh show proxy)" ""
	session_end corp
}

# What the sessions have towards the host.
addresses() { by session list --json | jq -r '.sessions[].address' | sort; }

# Of the pool in eth0's network, .1 is the router's and .2 the host's.
test_nat_onlink() {
	split_begin '.nat = false' '.subnet = "192.0.2.0/29"' '.instances = 2'
	is "those that nobody has" "$(addresses)" $'192.0.2.3\n192.0.2.4'
	is "without nat the network finds it" "$(seen_from | grep -c '^192\.0\.2\.[34]$')" 1
	asks corp-1 "http://$INTERNET4:8080/" "$(session_address corp-1)" "beside the VPN"
	asks corp-2 "http://$INTERNET4:8080/" "$(session_address corp-2)" "beside the VPN"
	is "by the host's answer" "$(ip -n internet -j neigh show 192.0.2.3 dev eth0 |
		jq -r '.[0].lladdr')" "$(mac_of host eth0)"
	session_end corp
}

test_arp() {
	ip -n internet addr add 10.20.30.1/32 dev eth0
	ip -n internet addr add 10.20.30.3/32 dev eth0
	session_begin corp '.instances = 2'
	is "addresses that somebody answers for are left alone" "$(addresses)" $'10.20.30.2\n10.20.30.4'
	session_end corp
	ip -n internet addr del 10.20.30.1/32 dev eth0
	ip -n internet addr del 10.20.30.3/32 dev eth0
	session_begin other
	is "one is taken when nobody does" "$(addresses)" 10.20.30.1
	session_end other
	ocserv_stop vpn
}

# ---- the same network twice ----

# Another server at 203.0.113.20, whose network has the addresses of corp.
lab_network() {
	ip netns add lab
	ip link add lab0 netns internet type veth peer name eth0 netns lab
	ip -n lab -batch - <<-END
		link set lo up
		link set eth0 up
		addr add 203.0.113.20/32 dev lo
		addr add $CORP4/32 dev lo
		addr add 169.254.9.2/30 dev eth0
		route add default via 169.254.9.1
	END
	ip -n internet -batch - <<-END
		link set lab0 up
		addr add 169.254.9.1/30 dev lab0
		route add 203.0.113.20/32 via 169.254.9.2
	END
	inside lab sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	web_server lab 80
}

# What both say about who asks is the same kind of address; who answers differs.
test_twins() {
	local mode
	ocserv_start vpn
	OCSERV_NS=lab ocserv_start lab
	for mode in full split; do
		session_begin twins "del(.instances) | .routing.mode = \"$mode\"" '.vpn.servercert = "'"$(ocserv_pin)"'"' \
			'.sessions = [{name: "at-corp"},
				{name: "at-lab", vpn: {server: "https://203.0.113.20:4443"}}]'
		is "$mode: one network is corp's" "$(session_get at-corp "http://$CORP4/")" \
			"hello from corp to $(session_inside4 at-corp)"
		is "$mode: the same of the other is lab's" "$(session_get at-lab "http://$CORP4/")" \
			"hello from lab to $(session_inside4 at-lab)"
		session_end twins
	done
	ocserv_stop vpn
	ocserv_stop lab
}

lay_out
session_remember
test_readme
test_readme_ends
test_split_before
test_split
test_split_down
test_dns_of_server
test_dns_changes
test_dns_of_file
test_nat
test_nat_onlink
test_arp
test_twins
ocserv_start vpn
test_masks
stop_all
done_testing
