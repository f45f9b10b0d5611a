#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the doctor finds, mends and puts back: each condition is made for real, traffic says whether it
# hurts and whether the remedy helps, and afterwards everything is as it was before.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	echo 'nameserver 192.0.2.1' >/etc/resolv.conf
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-ip6tables
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24 --type public
	must by nat enable v
	web_server internet 80
}

# findings CHECK: "SEVERITY PROBLEM" of each.
findings() {
	by doctor --json 2>/dev/null |
		jq -r --arg check "$1" '.findings[] | select(.check == $check) | .severity + " " + .problem'
}

# finds NAME CHECK REGEX
finds() { like "$1: the doctor finds it" "$(findings "$2")" "$3"; }
finds_no() { like "$1" "[$(findings "$2")]" '^\[\]$'; }

# mends NAME CHECK: --dry-run changes nothing, --fix helps and does nothing twice, --undo undoes. $WORLD/sick is as
# it was; mended() is asked in between.
mends() {
	snapshot_host >"$WORLD/sick"
	by doctor --fix --dry-run >"$WORLD/dry" 2>&1
	check "$1: a dry run says what would be done" grep -q . "$WORLD/dry"
	check "$1: and does nothing" same_as "$WORLD/sick"
	check "$1: --fix ends well" by doctor --fix
	finds_no "$1: and then finds nothing" "$2"
	snapshot_host >"$WORLD/healed"
	check "$1: --fix again" by doctor --fix
	check "$1: changes nothing" same_as "$WORLD/healed"
	mended "$1"
	check "$1: --undo" by doctor --undo
	check "$1: puts everything back" same_as "$WORLD/sick"
	like "$1: and has nothing more to put back" "$(by doctor --undo)" '^nothing to put back'
}

# A firewall that drops what VPCs send.
is_dropped() {
	cannot v-a "$INTERNET4" 80 "$1"
	finds "$1" "$2" '^problem '
	fails "$1: exit status 6" by doctor
	mended() { can v-a "$INTERNET4" 80 "$1, mended"; }
	mends "$1" "$2"
	cannot v-a "$INTERNET4" 80 "$1, undone"
}

flush() {
	local table
	for table in filter nat mangle; do
		iptables -t $table -F && iptables -t $table -X
		ip6tables -t $table -F && ip6tables -t $table -X
	done
	iptables -P FORWARD ACCEPT && iptables -P INPUT ACCEPT && iptables -P OUTPUT ACCEPT
	ip6tables -P FORWARD ACCEPT && ip6tables -P INPUT ACCEPT && ip6tables -P OUTPUT ACCEPT
	nft delete table inet firewalld 2>/dev/null
	can v-a "$INTERNET4" 80 "flushed"
}

test_healthy() {
	check "on a healthy host the exit status is 0" by doctor
	like "nothing is a problem" "[$(by doctor --json |
		jq -r '.findings[] | select(.severity == "problem").problem')]" '^\[\]$'
	like "the document has a name" "$(json .schema doctor)" '^byway.doctor/1$'
	exits 2 "both at once are refused" by doctor --fix --undo
}

# As dockerd of version 24 leaves them, with one network.
docker_rules() {
	iptables-restore <<-'END'
		*nat
		:DOCKER - [0:0]
		-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
		-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
		-A DOCKER -i docker0 -j RETURN
		COMMIT
		*filter
		:FORWARD DROP [0:0]
		:DOCKER - [0:0]
		:DOCKER-ISOLATION-STAGE-1 - [0:0]
		:DOCKER-ISOLATION-STAGE-2 - [0:0]
		:DOCKER-USER - [0:0]
		-A FORWARD -j DOCKER-USER
		-A FORWARD -j DOCKER-ISOLATION-STAGE-1
		-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A FORWARD -o docker0 -j DOCKER
		-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
		-A FORWARD -i docker0 -o docker0 -j ACCEPT
		-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
		-A DOCKER-ISOLATION-STAGE-1 -j RETURN
		-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
		-A DOCKER-ISOLATION-STAGE-2 -j RETURN
		-A DOCKER-USER -j RETURN
		COMMIT
	END
}

test_docker() {
	must docker_rules
	is_dropped Docker iptables
	must by doctor --fix
	like "Docker: the rule is where Docker leaves rules alone" "$(iptables -S DOCKER-USER)" \
		'src-group 0x6278/0xfffffff8 .*ACCEPT'
	must iptables -D DOCKER-USER -m devgroup --dst-group 0x6278/0xfffffff8 -m comment --comment byway-doctor -j ACCEPT
	finds "Docker: half of the rules are not enough" iptables '^problem '
	must by doctor --undo
	flush
}

# The real one.
test_ufw() {
	must ufw --force enable
	is_dropped ufw iptables
	must by doctor --fix
	must ufw reload
	can v-a "$INTERNET4" 80 "ufw, mended and reloaded"
	must by doctor --undo
	must ufw --force disable
	flush
}

# The real one, with a bus of its own.
firewalld_up() {
	mkdir -p /run/dbus /run/firewalld
	dbus-daemon --system --nofork --nopidfile >"$WORLD/dbus.log" 2>&1 </dev/null &
	PIDS["dbus"]=$!
	wait_for test -S /run/dbus/system_bus_socket || return
	firewalld --nofork --nopid >"$WORLD/firewalld.log" 2>&1 </dev/null &
	# shellcheck disable=SC2034 # of world.sh
	PIDS["firewalld"]=$!
	WAIT_S=60 wait_for firewall-cmd --state
}

test_firewalld() {
	must firewalld_up
	is_dropped firewalld firewalld
	must firewall-cmd --zone=trusted --add-interface=br-v
	can v-a "$INTERNET4" 80 "firewalld, in the trusted zone"
	finds_no "firewalld: a bridge in a trusted zone is well" firewalld
	stop firewalld
	stop dbus
	rm -rf /run/dbus /run/firewalld
	flush
}

test_nft_table() {
	must nft add table inet corp
	must nft add chain inet corp through '{ type filter hook forward priority 10; policy drop; }'
	is_dropped "a table of nftables" nftables
	nft delete table inet corp
	flush
}

# A last rule that rejects, as RHEL's iptables service has it.
test_reject() {
	iptables -A FORWARD -j REJECT --reject-with icmp-host-prohibited
	is_dropped "a last rule that rejects" iptables
	flush
}

# Another program's network that came after the VPC. Its rules are about itself.
test_libvirt() {
	ip link add virbr0 type bridge
	ip addr add 10.0.1.1/24 dev virbr0
	ip link set virbr0 up
	iptables -N LIBVIRT_FWI
	iptables -A FORWARD -j LIBVIRT_FWI
	iptables -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
	finds libvirt overlaps '^problem 10.0.1.0/24 goes to virbr0, a network of libvirt, and VPC v has 10.0.0.0/16'
	finds_no "libvirt: its chains are no finding" iptables
	fails "libvirt: --fix says that it cannot" by doctor --fix
	check "libvirt: and leaves the network alone" ip link show virbr0
	ip link del virbr0
	finds_no "libvirt: without the network there is nothing" overlaps
	flush
}

test_tailscale() {
	ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
	ip rule add pref 5270 lookup 52
	iptables -N ts-forward
	iptables -A FORWARD -j ts-forward
	iptables -A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
	finds_no "Tailscale without an exit node does not come first" routing-rules
	finds "Tailscale's marks" marks "note iptables-nft's chain ts-forward, of Tailscale,"
	ip route add default via 192.0.2.1 table 52
	finds "Tailscale with an exit node" routing-rules 'warning .*priority 5270, of another program'
	ip route flush table 52
	ip rule del pref 5210
	ip rule del pref 5270
	flush
	ip rule add pref 9850 fwmark 0x1 lookup main
	finds "a rule in our range" routing-rules 'warning .*priority 9850.* is in byway.s range'
	ip rule del pref 9850
}

# What byway itself needs is not undone.
test_forwarding() {
	echo 0 >/proc/sys/net/ipv4/ip_forward
	cannot v-a "$INTERNET4" 80 "not forwarding"
	finds "not forwarding" forwarding '^problem net/ipv4/ip_forward is 0'
	check "not forwarding: --fix" by doctor --fix
	can v-a "$INTERNET4" 80 "forwarding again"
	like "nothing is to be undone" "$(by doctor --undo)" '^nothing to put back'
	can v-a "$INTERNET4" 80 "forwarding still"
}

# A second way out, for what is marked; answers carry no mark.
second_uplink() {
	ip netns add second
	ip link add eth1 type veth peer name eth0 netns second
	ip addr add 198.51.100.2/24 dev eth1
	ip link set eth1 up
	ip -n second addr add 198.51.100.1/24 dev eth0
	ip -n second addr add 203.0.113.77/32 dev lo
	ip -n second link set lo up
	ip -n second link set eth0 up
	nft add table inet uplink
	nft add chain inet uplink marks '{ type filter hook prerouting priority mangle; }'
	nft add rule inet uplink marks ip saddr 10.7.0.0/16 meta mark set 0x77
	ip rule add pref 200 fwmark 0x77 lookup 100
	ip route add default via 198.51.100.1 table 100
	echo 1 >/proc/sys/net/ipv4/conf/eth1/rp_filter
}

test_rp_filter() {
	must second_uplink
	must by vpc create w 10.7.0.0/16
	must by subnet add w a 10.7.1.0/24 --type public
	must by nat enable w --interface eth1
	web_server second 80
	cannot w-a 203.0.113.77 80 "strict reverse path filter"
	finds "strict reverse path filter" rp-filter '^warning the reverse path filter of eth1 is strict'
	mended() { can w-a 203.0.113.77 80 "$1, mended"; }
	mends "strict reverse path filter" rp-filter
	cannot w-a 203.0.113.77 80 "strict reverse path filter, undone"
	stop web-second
	must by vpc delete w
	ip rule del pref 200
	nft delete table inet uplink
	ip route flush table 100
	ip link del eth1
	ip netns del second
}

# Marks that count when the way back is looked up, as wg-quick has it.
test_marks_count() {
	local all=/proc/sys/net/ipv4/conf/all/src_valid_mark
	background proxy internet "$CONNECT_PROXY" 192.0.2.1 3128
	must by egress add out "{connect: 'http://192.0.2.1:3128'}"
	must by vpc create w 10.7.0.0/16
	must by subnet add w a 10.7.1.0/24
	must by egress use w/a out
	must by egress run out --detach -q
	echo 1 >/proc/sys/net/ipv4/conf/br-w/rp_filter
	can w-a "$INTERNET4" 80 "by an egress, with a strict filter"
	finds_no "a strict filter alone is well" rp-filter
	echo 1 >$all
	cannot w-a "$INTERNET4" 80 "marks count"
	finds "marks count" rp-filter '^problem the reverse path filter of br-w is strict and looks at marks'
	mended() { can w-a "$INTERNET4" 80 "$1, mended"; }
	mends "marks count" rp-filter
	cannot w-a "$INTERNET4" 80 "marks count, undone"
	echo 0 >$all
	must by egress stop out
	must by vpc delete w
	must by egress delete out
	stop proxy
}

test_bridge_netfilter() {
	echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
	finds "bridge netfilter" bridge-netfilter '^warning net/bridge/bridge-nf-call-iptables is 1'
	mended() { like "$1: is off" "$(</proc/sys/net/bridge/bridge-nf-call-iptables)" '^0$'; }
	mends "bridge netfilter" bridge-netfilter
	must docker_rules
	must by doctor --fix
	like "where Docker needs it, it stays" "$(</proc/sys/net/bridge/bridge-nf-call-iptables)" '^1$'
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
	must by doctor --undo
	flush
}

test_missing() {
	local dnsmasq
	dnsmasq=$(command -v dnsmasq)
	: >"$WORLD/nothing"
	mount --bind "$WORLD/nothing" "$dnsmasq"
	finds "a missing program" programs '^note there is no program dnsmasq'
	like "a missing program: the package" "$(by doctor)" 'apt install dnsmasq-base'
	umount "$dnsmasq"
	mount -t tmpfs tmpfs /dev/net
	finds "a missing device" kernel '^problem the kernel lacks CONFIG_TUN: '
	umount /dev/net
	finds_no "all features are there" kernel
	like "a missing capability" "$(setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$BYWAY" doctor 2>&1)" \
		'problem: this needs the capability CAP_NET_ADMIN'
	like "no inotify instances" "$(unshare --user --map-root-user bash -c \
		"echo 0 >/proc/sys/user/max_inotify_instances; $BYWAY doctor" 2>&1)" \
		'warning: this user has no inotify instance left'
}

test_resolvers() {
	: >/etc/resolv.conf
	finds "no resolver" resolvers '^warning /etc/resolv.conf names no resolver'
	echo 'nameserver 127.0.0.53' >/etc/resolv.conf
	finds "a stub" resolvers '^warning /etc/resolv.conf names a stub'
	mkdir -p /run/systemd/resolve
	echo 'nameserver 192.0.2.1' >/run/systemd/resolve/resolv.conf
	finds "a stub, for a subnet" resolvers '^note programs in v/a ask a resolver on their own'
	rm -r /run/systemd
	ip route add unreachable 198.18.9.9
	echo 'nameserver 198.18.9.9' >/etc/resolv.conf
	finds "an unreachable resolver" resolvers '^warning there is no route to the resolver 198.18.9.9'
	ip route del unreachable 198.18.9.9
	echo 'nameserver 192.0.2.1' >/etc/resolv.conf
	finds_no "a resolver" resolvers
}

test_leftovers() {
	must by vpc create lost 10.9.0.0/16
	ip link del br-lost
	finds "a bridge that is gone" leftovers '^warning 1 object that a crash left'
	check "a bridge that is gone: --fix" by doctor --fix
	fails "is what gc does" by vpc show lost
	finds_no "and nothing is left" leftovers
}

# What was changed is put back by reset, too, and when the state is lost.
test_reset() {
	must by vpc delete v
	snapshot_host >"$WORLD/before"
	must by vpc create v 10.0.0.0/16
	docker_rules
	echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
	iptables -D FORWARD -j DOCKER-USER
	iptables -F && iptables -X && iptables -t nat -F && iptables -t nat -X
	must by doctor --fix
	like "mended" "$(iptables -S)$(</proc/sys/net/bridge/bridge-nf-call-iptables)" 'byway-doctor.*0$'
	must by gc
	must by vpc delete v
	must by gc
	like "it stays without VPCs" "$(</proc/sys/net/bridge/bridge-nf-call-iptables)" '^0$'
	: >/run/byway/state.db
	rm -f /run/byway/state.db-*
	must by reset
	like "put back without a state" "$(</proc/sys/net/bridge/bridge-nf-call-iptables)" '^1$'
	unlike "the rules, too" "$(iptables -S)" byway
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
	iptables -P FORWARD ACCEPT
	check "nothing is left" same_as "$WORLD/before"
}

lay_out
test_healthy
test_docker
test_ufw
test_firewalld
test_nft_table
test_reject
test_libvirt
test_tailscale
test_forwarding
test_rp_filter
test_marks_count
test_bridge_netfilter
test_missing
test_resolvers
test_leftovers
test_reset
done_testing
