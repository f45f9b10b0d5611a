#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The units, on a machine that boots with systemd: what leaves before a tunnel stands, what is there after the
# boot, what comes back when it is killed, what stays and what goes when it is stopped; and what systemd says of them.
# shellcheck disable=SC2034 # PIDS belongs to world.sh
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/machine.sh
. "$WORLD_LIB/machine.sh"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"
# shellcheck source=tests/lib/sshd.sh
. "$WORLD_LIB/sshd.sh"
command -v systemd-nspawn >/dev/null || { skip "units" "no systemd-nspawn"; done_testing; }

PROXY=192.0.2.1
PORT=8888

# ---- the world ----

start_proxy() {
	printf 'Port %s\nListen %s\n' $PORT $PROXY >"$WORLD/tinyproxy.conf"
	become internet tinyproxy -d -c "$WORLD/tinyproxy.conf" >"$WORLD/tinyproxy.out" 2>&1 &
	PIDS["proxy"]=$!
	wait_for inside internet "$PROBE" tcp "$PROXY" "$PORT" 500 || bail "tinyproxy does not start"
}

# What the machine sends, apart from its way to the proxy.
start_observer() {
	become internet tcpdump -n -l -i eth0 \
		"src host $HOST4 and not arp and not (tcp port $PORT)" >"$WORLD/wire" 2>"$WORLD/wire.err" &
	PIDS["wire"]=$!
	wait_for grep -q 'listening on' "$WORLD/wire.err"
}

# Whoever configures the network of this machine, after network-pre.target as all of them do; and a service that speaks at
# the first moment.
network_units() {
	unit net.service <<-END
		[Unit]
		DefaultDependencies=no
		Wants=network-pre.target
		After=network-pre.target
		Before=network.target
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/bin/sh -ec 'ip link set eth0 up; ip addr add $HOST4/24 dev eth0; ip route add default via 192.0.2.1'
		[Install]
		WantedBy=multi-user.target
	END
	unit chatty.service <<-END
		[Unit]
		DefaultDependencies=no
		After=net.service
		Before=byway-proxy@office.service
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/bin/bash -c 'for i in 1 2 3; do echo leak >/dev/udp/$INTERNET4/999; sleep 0.1; done; exit 0'
	END
	machine_enable sysinit.target net.service chatty.service
}

lay_out() {
	machine_network
	machine_etc
	machine_install
	must machine_cgroups
	network_units
	web_server internet 80
	start_proxy
	sshd_prepare
	sshd_start plain 22
	ocserv_prepare
	ocserv_start vpn
}

configure() {
	mkdir -p "$MACHINE"/etc/byway/{proxy,ssh,session}
	printf '%s\n' 'block: tunnel' 'vpcs: {shop: {cidr: 10.0.0.0/16, subnets: {web: {cidr: 10.0.1.0/24}}}}' \
		>"$MACHINE/etc/byway/machine.yaml"
	printf 'PROXY=--proxy-url=http://%s:%s\nOPTIONS=--allow-dns=192.0.2.1 --exclude=10.0.0.0/8\n' \
		$PROXY $PORT >"$MACHINE/etc/byway/proxy/office.env"
	: >"$MACHINE/etc/byway/proxy/office.password"
	cp "$SSHD_DIR/user" "$MACHINE/etc/byway/ssh/office.key"
	cp "$SSHD_DIR/known" "$MACHINE/etc/byway/ssh/office.known_hosts"
	printf 'SERVER=root@%s\nOPTIONS=--exclude=10.0.0.0/8\n' "$SSH_SERVER" >"$MACHINE/etc/byway/ssh/office.env"
	echo "VPN_PASSWORD=$VPN_PASSWORD" >"$MACHINE/etc/byway/session/corp.env"
	session_file corp '.routing.mode = "full"' '.vpn.cafile = "/etc/byway/session/ca.pem"'
	cp "$WORLD/corp.yaml" "$OCSERV_CA" "$MACHINE/etc/byway/session/"
}

# Where control groups are of version 1, nobody tells a manager in a container that one is empty: it waits for the whole
# timeout.
impatient_units() {
	local unit
	for unit in byway-session@ byway-ssh@ byway-proxy@ byway-egress@; do
		mkdir -p "$MACHINE_UNITS/$unit.service.d"
		printf '[Service]\nTimeoutStopSec=3\nRestartSec=1\n' >"$MACHINE_UNITS/$unit.service.d/impatient.conf"
	done
}

state_of() { on_machine systemctl show -P "$2" "$1"; }
is_state() { [[ $(state_of "$1" "$2") == "$3" ]]; }
page() { nsenter --net=/run/netns/box curl -sS --noproxy '*' --max-time 10 "http://$INTERNET4/"; }
is_tunnelled() { [[ $(page) == "hello from internet to $INTERNET4" ]]; }
crash() { # UNIT
	local pid
	pid=$(state_of "$1" MainPID)
	((pid > 1)) && on_machine kill -KILL "$pid"
}
on_box() { nsenter --net=/run/netns/box -- "$@"; }
is_refused() { ! on_box "$PROBE" tcp "$INTERNET4" 80 "$RESTRAINT"; }

# ---- tests ----

test_verify() {
	local unit said
	for unit in "$UNITS"/*.service; do
		unit=${unit##*/}
		said=$(on_machine env MANPATH=/nowhere systemd-analyze verify --man=no \
			"/etc/systemd/system/${unit/@./@x.}" 2>&1)
		like "$unit: systemd has nothing to say" "[$said]" '^\[\]$'
	done
}

# How much is left open, by systemd's own judgement: 0 is all shut, 10 all open. A bound that may only fall.
declare -A EXPOSURE=(
	[byway.service]=6.0 [byway-egress@.service]=6.0 [byway-block.service]=1.8
	[byway-proxy@.service]=2.9 [byway-serve.service]=2.7 [byway-session@.service]=5.6 [byway-ssh@.service]=3.3
)
test_security() {
	local unit threshold
	for unit in "$UNITS"/*.service; do
		unit=${unit##*/}
		threshold=$(awk "BEGIN { print ${EXPOSURE[$unit]:-0} * 10 }")
		check "$unit: exposed no more than ${EXPOSURE[$unit]:-0}" on_machine systemd-analyze security \
			--offline=yes --threshold="$threshold" "/etc/systemd/system/$unit"
	done
}

# Without byway-block, what speaks early is seen: the observer sees what there is to see.
test_control() {
	start_observer
	check "the machine boots" machine_boot || bail "no machine: $(cat "$WORLD/console")"
	check "without a block, what speaks early leaves" wait_for grep -q "$INTERNET4.999" "$WORLD/wire"
	test_verify
	test_security
	machine_off
	stop wire
}

test_boot() {
	machine_enable sysinit.target byway-block.service
	machine_enable multi-user.target byway.service byway-proxy@office.service
	start_observer
	check "the machine boots with byway" machine_boot
	is "no unit has failed" "$(on_machine systemctl --failed --plain --no-legend)" ""
	is "who spoke early has spoken" "$(state_of chatty.service ActiveState)" active
	is "and nothing has left" "$(cat "$WORLD/wire")" ""
	is "the block came before the network" "$(state_of byway-block.service ActiveState)" active
	fails "and was lifted by the tunnel" on_box nft list table inet byway_block
	check "which works" is_tunnelled
}

machine_vpcs() { on_machine /usr/local/sbin/byway vpc list --json | jq -r '.vpcs[].name'; }

test_applied() {
	is "what the file says is there after the boot" "$(machine_vpcs)" shop
	check "its subnet answers" on_box ping -q -c 1 -w 15 10.0.1.1
	sed -i 's/shop/mall/' "$MACHINE/etc/byway/machine.yaml"
	check "a reload" on_machine systemctl reload byway
	is "applies the file again" "$(machine_vpcs)" mall
	check "stopping" on_machine systemctl stop byway
	is "takes nothing away" "$(machine_vpcs)" mall
	check "the next start" on_machine systemctl start byway
	is "finds it" "$(machine_vpcs)" mall
}

# A death is noticed, nothing leaves, and it is up again.
test_killed() {
	must crash byway-proxy@office
	check "a killed tunnel blocks" is_refused
	check "is started again" wait_for is_state byway-proxy@office NRestarts 1
	check "and works again" wait_for is_tunnelled
	is "and nothing has left" "$(cat "$WORLD/wire")" ""
}

test_stopped() {
	check "stop" on_machine systemctl stop byway-proxy@office
	fails "takes the rules away" on_box nft list table inet byway_tunnel
	is "and the rules of routing" "$(on_box ip rule | grep -c 9800)" 0
	check "the network is open" on_box "$PROBE" tcp "$INTERNET4" 80 "$PATIENCE"
	stop wire
	check "the block again, by hand" on_machine systemctl restart byway-block
	check "blocks" is_refused
	check "stopping it" on_machine systemctl stop byway-block
	check "opens" on_box "$PROBE" tcp "$INTERNET4" 80 "$PATIENCE"
}

# The same for the other kinds, without a boot: the tunnel over SSH, and sessions.
test_ssh() {
	check "over SSH: start" on_machine systemctl start byway-ssh@office
	check "over SSH: carries" is_tunnelled
	must crash byway-ssh@office
	check "over SSH: is started again" wait_for is_state byway-ssh@office NRestarts 1
	check "over SSH: and carries again" wait_for is_tunnelled
	check "over SSH: stop" on_machine systemctl stop byway-ssh@office
	fails "over SSH: leaves no rules" on_box nft list table inet byway_tunnel
}

machine_session() { on_machine /usr/local/sbin/byway session status --json | jq -r '.sessions[0].state'; }
machine_session_is() { [[ $(machine_session) == "$1" ]]; }
intranet() { on_machine /usr/local/sbin/byway session exec corp-1 -- curl -sS --max-time 10 "http://$CORP4/"; }

test_session() {
	check "sessions: start" on_machine systemctl start byway-session@corp
	is "sessions: up when the start is over" "$(machine_session)" up
	like "sessions: carry" "$(intranet)" 'hello from corp to 10\.99\.'
	must crash byway-session@corp
	check "sessions: are started again" wait_for is_state byway-session@corp NRestarts 1
	check "sessions: and up again" wait_for machine_session_is up
	like "sessions: and carry again" "$(intranet)" 'hello from corp to 10\.99\.'
	check "sessions: stop" on_machine systemctl stop byway-session@corp
	is "sessions: leave no namespace but the VPC's" "$(on_machine ls /run/netns)" mall-web
}

# A way out, for a subnet that has no other.
from_subnet() { on_machine ip netns exec mall-web curl -sS --noproxy '*' --max-time 10 "http://$INTERNET4/"; }
is_out() { [[ $(from_subnet) == "hello from internet to "* ]]; }

test_egress() {
	local keys=/etc/byway/ssh/office
	must on_machine /usr/local/sbin/byway egress add bastion "{ssh: root@$SSH_SERVER, config: none,
		identity: $keys.key, option: [\"UserKnownHostsFile=$keys.known_hosts\"]}"
	must on_machine /usr/local/sbin/byway egress use mall/web bastion
	check "a way out: start" on_machine systemctl start byway-egress@bastion
	check "a way out: carries" wait_for is_out
	must crash byway-egress@bastion
	check "a way out: is started again" wait_for is_state byway-egress@bastion NRestarts 1
	check "a way out: and carries again" wait_for is_out
	check "a way out: stop" on_machine systemctl stop byway-egress@bastion
	fails "a way out: then there is none" is_out
}

# The page, also when the state has become another one.
page_vpcs() { on_box curl -sS --noproxy '*' --max-time 10 http://127.0.0.1:8642/api/status | jq -r '.vpcs[].name'; }
page_shows() { [[ $(page_vpcs) == "$1" ]]; }

test_serve() {
	check "the page: start" on_machine systemctl start byway-serve
	is "the page: shows what there is" "$(page_vpcs)" mall
	check "the page: reset" on_machine /usr/local/sbin/byway reset
	check "the page: shows nothing" wait_for page_shows ""
	check "the page: and applied again" on_machine systemctl restart byway
	check "the page: shows it" wait_for page_shows mall
	must crash byway-serve
	check "the page: is started again" wait_for is_state byway-serve NRestarts 1
	check "the page: and shows it again" wait_for page_shows mall
	check "the page: stop" on_machine systemctl stop byway-serve
}

lay_out
configure
impatient_units
test_control
test_boot
test_applied
test_killed
test_stopped
test_ssh
test_egress
test_session
test_serve
machine_off
done_testing
