#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Addresses and names that a network's gateway serves: who gets which, who is asked for names of
# elsewhere, who is not served, and that it comes back, whoever was killed.
# shellcheck disable=SC2034,SC2154 # PIDS is world.sh's
set -u
TAPGUEST=$(realpath "${TAPGUEST:?}")
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

command -v dnsmasq >/dev/null || bail "dnsmasq is not installed"
command -v dig >/dev/null || bail "dig is not installed"

USER_ID=12345
RESOLVER=203.0.113.10
OTHER_RESOLVER=203.0.113.53

vm() { json ".$2 // empty" vm show "$1"; }

# ---- the internet's names ----

# resolver ADDRESS NAME ANSWER
resolver() {
	cat >"$WORLD/resolver-$1.conf" <<-END
		port=53
		listen-address=$1
		bind-interfaces
		no-resolv
		no-hosts
		keep-in-foreground
		log-queries
		log-facility=-
		pid-file=
		host-record=$2,$3
	END
	become internet dnsmasq -C "$WORLD/resolver-$1.conf" >"$WORLD/resolver-$1.log" 2>&1 </dev/null &
	PIDS[resolver-$1]=$!
	wait_for inside internet "$PROBE" tcp "$1" 53 500 || bail "dnsmasq in internet does not start"
}
asked() { cat "$WORLD"/resolver-*.log | grep -q "query.* $1 "; }

# ---- guests ----

# boot NETWORK/NAME NETNS: not configured.
boot() {
	ip netns add "$2"
	inside "$2" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
	background "$2" host "$TAPGUEST" "$(vm "$1" interface)" "$2" "$(vm "$1" mac)" $USER_ID $USER_ID
	must ip -n "$2" link set lo up
	must ip -n "$2" link set eth0 up
}

dhcp_script() {
	cat >"$WORLD/dhcp.sh" <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip addr flush dev eth0 scope global
		ip addr add "$ip/$mask" dev eth0
		ip route replace default via "$router"
		env >"$LEASE"
	END
	chmod +x "$WORLD/dhcp.sh"
}

# dhcp NETNS [TRIES]: what was offered is in $WORLD/lease-NETNS.
dhcp() {
	rm -f "$WORLD/lease-$1"
	LEASE=$WORLD/lease-$1 inside "$1" busybox udhcpc -i eth0 -f -n -q -t "${2:-15}" -T 1 -A 0 \
		-s "$WORLD/dhcp.sh" -O mtu -O search -O domain -O hostname
	[[ -s $WORLD/lease-$1 ]]
}
lease() { sed -n "s/^$2=//p" "$WORLD/lease-$1"; }

# ask NS SERVER NAME [TYPE]: the answer, in one line.
ask() { inside "$1" dig +short +time=2 +tries=2 "@$2" "$3" "${4:-A}" | sort | tr '\n' ' ' | sed 's/ $//'; }
reverse() { inside "$1" dig +short +time=2 +tries=2 "@$2" -x "$3"; }
answers() { [[ $(ask "$@") != '' && $(ask "$@") != *';;'* ]]; }
code() { inside "$1" dig +time=2 +tries=2 "@$2" "$3" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
# Nobody answers at all.
silent() { ! inside "$1" dig +time=1 +tries=1 "${@:4}" "@$2" "$3" >/dev/null; }

supervisor() { pgrep -x -f "byway dns run $1 --detach"; }
server() { pgrep -f "^dnsmasq --conf-file=/run/byway/dns/$1/conf"; }

# ---- the network ----

lay_out() {
	check "a network with DHCP" by network up net0 10.10.0.0/24 --dhcp
	is "says so" "$(json '"\(.dns) \(.dhcp)"' network show net0)" "true true"
	must by network up plain0 10.11.0.0/24
	must by vm add net0 web --owner $USER_ID
	must by vm add net0 db --owner $USER_ID
	must by vm add plain0 other --owner $USER_ID
	boot net0/web web
	boot net0/db db
	boot plain0/other other
}

test_addresses() {
	check "web asks for its address" dhcp web
	is "and gets the one that is its own" "$(lease web ip)" "$(vm net0/web address)"
	is "with the network's prefix" "$(lease web mask)" 24
	is "its gateway" "$(lease web router)" 10.10.0.1
	is "its resolver" "$(lease web dns)" 10.10.0.1
	is "the domain" "$(lease web domain)" net0.internal
	is "which is searched" "$(lease web search)" net0.internal
	is "the MTU" "$(lease web mtu)" 1500
	is "and its name" "$(lease web hostname)" web
	check "db asks for its own" dhcp db
	is "and gets that" "$(lease db ip)" "$(vm net0/db address)"
	can web "ping:$(vm net0/db address)" 0 "with what it was told"
	can web "ping:$INTERNET4" 0 "with what it was told"
}

test_strangers() {
	local mac
	mac=$(vm net0/web mac)
	must ip -n web link set eth0 address 02:00:00:00:00:99
	fails "another MAC on web's port gets nothing" dhcp web 2
	must ip -n web link set eth0 address "$mac"
	must ip netns add stranger
	must ip link add stranger0 type veth peer name eth0 netns stranger
	must ip link set stranger0 master net0 up
	must ip -n stranger link set eth0 up
	fails "nor does a stranger on the bridge" dhcp stranger 2
	must ip link del stranger0
	ip netns del stranger
	check "web does, again" dhcp web
}

test_names() {
	is "web finds db" "$(ask web 10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	is "whatever the case" "$(ask web 10.10.0.1 DB.Net0.INTERNAL)" "$(vm net0/db address)"
	is "or without the domain" "$(ask web 10.10.0.1 db)" "$(vm net0/db address)"
	is "by TCP, too" "$(inside web dig +short +tcp @10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	is "the other way round" "$(reverse web 10.10.0.1 "$(vm net0/db address)")" db.net0.internal.
	is "nobody has another name" "$(code web 10.10.0.1 nobody.net0.internal)" NXDOMAIN
	is "nor another network" "$(code web 10.10.0.1 web.plain0.internal)" NXDOMAIN
	is "nor another address" "$(inside web dig +time=2 @10.10.0.1 -x 10.10.0.99 |
		sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" NXDOMAIN
	is "the host may ask" "$(ask host 10.10.0.1 web.net0.internal)" "$(vm net0/web address)"
}

test_elsewhere() {
	is "a name of elsewhere" "$(ask web 10.10.0.1 some.name)" 203.0.113.77
	check "the host's resolver was asked" asked some.name
	fails "but for no name of ours" asked nobody.net0.internal
	fails "nor for our addresses" asked 99.0.10.10.in-addr.arpa
	printf 'nameserver 127.0.0.53\nnameserver %s\n' $OTHER_RESOLVER >/etc/resolv.conf
	check "another resolver of the host's is asked next" \
		wait_for eval '[[ $(ask web 10.10.0.1 other.name) == 203.0.113.78 ]]'
	ln -sf "$WORLD/resolv.elsewhere" /etc/resolv.conf.new
	echo "nameserver $RESOLVER" >"$WORLD/resolv.elsewhere"
	mv /etc/resolv.conf.new /etc/resolv.conf
	check "and one behind a link" wait_for eval '[[ $(ask web 10.10.0.1 some.name) == 203.0.113.77 ]]'
	echo "nameserver $OTHER_RESOLVER" >"$WORLD/resolv.elsewhere"
	check "which changes" wait_for eval '[[ $(ask web 10.10.0.1 other.name) == 203.0.113.78 ]]'
	must by nat disable net0
	check "without a way out, nobody is asked" \
		wait_for eval '[[ $(code web 10.10.0.1 third.name) == REFUSED ]]'
	fails "nobody at all" asked third.name
	is "but ours are known" "$(ask web 10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	must by nat enable net0
	check "with one, again" wait_for eval '[[ $(ask web 10.10.0.1 other.name) == 203.0.113.78 ]]'
	must by egress use net0/db none
	is "nor for somebody who has none" "$(code db 10.10.0.1 fourth.name)" REFUSED
	fails "nobody at all" asked fourth.name
	is "but ours are known" "$(ask db 10.10.0.1 web.net0.internal)" "$(vm net0/web address)"
	is "the others are answered" "$(ask web 10.10.0.1 other.name)" 203.0.113.78
	must by egress use net0/db nat
	check "afterwards, again" wait_for eval '[[ $(ask web 10.10.0.1 other.name) == 203.0.113.78 ]]'
}

test_not_served() {
	must ip -n other addr add "$(vm plain0/other address)/24" dev eth0
	must ip -n other route add default via 10.11.0.1
	can other ping:10.11.0.1 0 "it is there"
	check "no names on a network without" silent other 10.11.0.1 some.name
	check "nor from the other's gateway" silent other 10.10.0.1 web.net0.internal
	check "nor by TCP" silent other 10.10.0.1 web.net0.internal +tcp
	must ip -n other addr flush dev eth0
	fails "no address, either" dhcp other 2
	must ip -n other addr add "$(vm plain0/other address)/24" dev eth0
	must ip -n other route add default via 10.11.0.1
	must by peer add net0 plain0
	can other "ping:$(vm net0/web address)" 0 "as a peer"
	check "nor for a peer" silent other 10.10.0.1 web.net0.internal
	must by peer delete net0 plain0
	check "nor from outside" silent internet 10.10.0.1 web.net0.internal
	check "nor by TCP" silent internet 10.10.0.1 web.net0.internal +tcp
	is "while the host is answered" "$(ask host 10.10.0.1 web.net0.internal)" "$(vm net0/web address)"
	is "dnsmasq is no user of power" "$(ps -o user= -p "$(server net0)")" "$(id -un dnsmasq 2>/dev/null || echo nobody)"
}

# ---- coming and going ----

test_changes() {
	must by vm add net0 late --ip 10.10.0.50 --owner $USER_ID
	check "a VM has its name at once" wait_for eval '[[ $(ask web 10.10.0.1 late) == 10.10.0.50 ]]'
	boot net0/late late
	check "and its address" dhcp late
	stop late
	ip netns del late
	must by vm delete net0/late
	check "as long as it is there" wait_for eval '[[ $(code web 10.10.0.1 late.net0.internal) == NXDOMAIN ]]'
	must by vm add net0 later --ip 10.10.0.50 --mac 02:00:00:00:00:50 --owner $USER_ID
	boot net0/later later
	check "another with its address and another MAC gets it" dhcp later
	is "which it was" "$(lease later ip)" 10.10.0.50
	is "by its own name" "$(reverse web 10.10.0.1 10.10.0.50)" later.net0.internal.
	stop later
	ip netns del later
	must by vm delete net0/later
}

# Words that dnsmasq has a use for are names like others.
test_words() {
	local word
	for word in ignore 45m; do
		must by vm add net0 $word --owner $USER_ID
		boot net0/$word $word
		check "a machine called $word gets its address" dhcp $word 5
		is "for the usual time" "$(lease $word lease)" 3600
		is "with its name" "$(lease $word hostname)" $word
		stop $word
		ip netns del $word
		must by vm delete net0/$word
	done
}

dead() { ! kill -0 "$1" 2>/dev/null; }

test_kills() {
	local old
	old=$(server net0)
	kill -KILL "$old"
	check "a killed dnsmasq comes back" wait_for answers web 10.10.0.1 db.net0.internal
	unlike "another" "$(server net0)" "^$old\$"
	check "it gives the same address" dhcp web
	is "the same" "$(lease web ip)" "$(vm net0/web address)"
	old=$(server net0)
	kill -KILL "$(supervisor net0)"
	check "without its supervisor it ends" wait_for dead "$old"
	exits 6 "doctor tells" by doctor
	prints "of whom" 'net0 .*nobody'
	check "network up again" by network up net0
	prints "changes something" 'gateway 10\.10\.0\.1$'
	is "and names are served" "$(ask web 10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	old=$(server net0)
	kill -KILL "$(supervisor net0)"
	wait_for dead "$old"
	check "gc" by gc
	is "does that, too" "$(ask web 10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	exits 7 "a second supervisor is refused" by dns run net0
	says "because there is one" 'already'
}

test_switch() {
	check "disable" by dns disable net0
	fails "ends it" supervisor net0
	fails "and dnsmasq" server net0
	check "nobody answers" silent web 10.10.0.1 db.net0.internal
	check "disable again" by dns disable net0
	check "up with names alone" by network up net0 --dns
	is "which are served" "$(ask web 10.10.0.1 db.net0.internal)" "$(vm net0/db address)"
	fails "but no addresses" dhcp web 2
	check "up with addresses" by network up net0 --dhcp
	check "which are served, too" dhcp web
	check "up with nothing said" by network up net0
	is "leaves it so" "$(json '"\(.dns) \(.dhcp)"' network show net0)" "true true"
	exits 3 "no such VPC" by dns enable nowhere
	exits 3 "nothing to run for one without" by dns run plain0
}

test_refused() {
	snapshot_host >"$WORLD/refused"
	become host dnsmasq -k -C /dev/null -a 10.11.0.1 -z -R -h >/dev/null 2>&1 </dev/null &
	PIDS[taken]=$!
	wait_for inside host "$PROBE" tcp 10.11.0.1 53 500
	exits 7 "the port is somebody's" by dns enable plain0
	says "which is said" '10\.11\.0\.1.*in use'
	is "it stays without" "$(json .dns network show plain0)" false
	stop taken
	must mount --bind /dev/null "$(command -v dnsmasq)"
	exits 9 "no dnsmasq" by network up bad0 10.12.0.0/24 --dns
	says "names the package" dnsmasq-base
	must umount "$(command -v dnsmasq)"
	exits 2 "a name that is no domain" by network up bad..0 10.12.0.0/24 --dns
	check "nothing of it is left" same_as "$WORLD/refused"
	check "a dry run" by network up bad0 10.12.0.0/24 --dhcp --dry-run
	prints "tells of dnsmasq" dnsmasq
	check "and does nothing" same_as "$WORLD/refused"
}

test_snippet() {
	is "the kernel is told of the resolver" "$(by vm snippet net0/web --for kernel-args)" \
		"ip=$(vm net0/web address)::10.10.0.1:255.255.255.0:web:eth0:off:10.10.0.1"
	is "or of DHCP alone" "$(by vm snippet net0/web --for kernel-args --dhcp)" 'ip=:::::eth0:dhcp'
	like "not where there is none" "$(by vm snippet plain0/other --for kernel-args)" ':off$'
	exits 7 "nor of DHCP" by vm snippet plain0/other --for kernel-args --dhcp
	exits 2 "no other format has a place for a resolver" by vm snippet net0/web --for qemu --dns 10.10.0.1
	says "which is said" 'kernel-args'
	exits 2 "nor for DHCP" by vm snippet net0/web --for firecracker --dhcp
	exits 2 "nor has DHCP one for a resolver" \
		by vm snippet net0/web --for kernel-args --dhcp --dns 10.10.0.1
}

# ---- VPCs with subnets ----

test_vpc() {
	check "a VPC with names" by vpc create v 10.20.0.0/16 --dns
	must by subnet add v a 10.20.1.0/24 --type public
	must by subnet add v b 10.20.2.0/24
	must by nat enable v
	must by vm add v/b guest --owner $USER_ID
	is "a subnet's resolver is the gateway" "$(by exec v/a -- grep -v '^#' /etc/resolv.conf | tr '\n' ' ')" \
		"nameserver 10.20.0.1 search v.internal "
	like "it finds the other" "$(by exec v/a -- getent hosts b)" "^$(addr4 v-b) +b\.v\.internal"
	like "and the VM in it" "$(by exec v/a -- getent hosts guest.v.internal)" "^$(vm v/guest address) "
	is "and back" "$(reverse v-b 10.20.0.1 "$(addr4 v-a)")" a.v.internal.
	is "and what is elsewhere" "$(ask v-a 10.20.0.1 other.name)" 203.0.113.78
	check "another network's gateway is silent" silent v-a 10.10.0.1 web.net0.internal
	exits 7 "addresses are set: no DHCP" by network up v --dhcp
	must by subnet delete v/b
	check "a subnet takes its name with it" wait_for eval '[[ $(code v-a 10.20.0.1 b.v.internal) == NXDOMAIN ]]'
	is "the VM's, too" "$(code v-a 10.20.0.1 guest.v.internal)" NXDOMAIN
	fails "and its resolv.conf" test -e /etc/netns/v-b
	check "disable" by dns disable v
	fails "takes the other's" test -e /etc/netns/v-a
	mkdir -p /etc/netns/v-a
	echo "nameserver 192.0.2.99" >/etc/netns/v-a/resolv.conf
	check "enable" by dns enable v
	says "tells of files of somebody else's" '/etc/netns/v-a'
	is "and leaves them" "$(cat /etc/netns/v-a/resolv.conf)" "nameserver 192.0.2.99"
	rm -r /etc/netns/v-a
	is "names are served" "$(ask v-a 10.20.0.1 a.v.internal)" "$(addr4 v-a)"
	check "delete" by vpc delete v
	fails "ends it" server v
}

# ---- IPv6 ----

test_six() {
	must by network up six0 10.13.0.0/24 --cidr6 fd13::/64 --dhcp
	must by vm add six0 six --owner $USER_ID
	boot six0/six six
	check "IPv4 beside IPv6" dhcp six
	is "both addresses have the name" "$(ask six 10.13.0.1 six AAAA)" "$(vm six0/six address6)"
	is "the other way round" "$(reverse six 10.13.0.1 "$(vm six0/six address6)")" six.six0.internal.
	check "the default route is advertised" wait_for eval \
		'[[ $(ip -n six -6 route show default) == *"via fe80:"* ]]'
	unlike "but no prefix to make addresses of" "$(addr6 six)" fd13
	check "DHCPv6" dhcp6 six
	is "gives its own address" "$(addr6 six)" "$(vm six0/six address6)"
	can six "ping:$INTERNET6" 0 "with what it was told"
	is "the gateway answers by IPv6" "$(ask six fd13::1 six)" "$(vm six0/six address)"
	stop dhclient
	stop six
	ip netns del six
	check "down" by network down six0
}

dhcp6_script() {
	cat >"$WORLD/dhcp6.sh" <<-'END'
		#!/bin/sh
		[ "$reason" = BOUND6 ] || exit 0
		ip addr add "$new_ip6_address/128" dev "$interface" nodad
	END
	chmod +x "$WORLD/dhcp6.sh"
}

dhcp6() {
	dhcp6_script
	: >"$WORLD/dhclient.conf"
	become "$1" dhclient -6 -d -cf "$WORLD/dhclient.conf" -lf "$WORLD/dhclient.leases" --no-pid \
		-sf "$WORLD/dhcp6.sh" eth0 >/dev/null 2>&1 </dev/null &
	PIDS[dhclient]=$!
	wait_for eval "[[ \$(addr6 $1) == fd* ]]"
}

# ---- the end ----

test_down() {
	stop web
	stop db
	stop other
	ip netns del web
	ip netns del db
	ip netns del other
	check "down" by network down net0 plain0
	check "leaves nothing" same_as "$WORLD/before"
	must by network up net0 10.10.0.0/24 --dhcp
	must by vpc create v 10.20.0.0/16 --dns
	must by subnet add v a 10.20.1.0/24
	check "reset" by reset
	check "leaves nothing, either" same_as "$WORLD/before"
	must by network up net0 10.10.0.0/24 --dhcp
	rm /run/byway/state.db*
	check "reset without the state" by reset
	check "leaves nothing, too" same_as "$WORLD/before"
}

ip -n internet addr add $OTHER_RESOLVER/32 dev lo
resolver $RESOLVER some.name 203.0.113.77
resolver $OTHER_RESOLVER other.name 203.0.113.78
echo "nameserver $RESOLVER" >/etc/resolv.conf
dhcp_script
snapshot_host >"$WORLD/before"
lay_out
test_addresses
test_strangers
test_names
test_elsewhere
test_not_served
test_changes
test_words
test_kills
test_switch
test_refused
test_snippet
test_vpc
test_six
test_down
done_testing
