#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The CNI plugin, driven by its protocol: every command in every version, what it refuses and how,
# who reaches whom, and that nothing is shared or left, however many there are and whoever is killed.
# shellcheck disable=SC2089,SC2090 # configurations are text, with quotes in it
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/cni.sh
. "$WORLD_LIB/cni.sh"

PODS='{"cniVersion":"1.1.0","name":"pods","type":"byway","network":"pods","cidr":"10.30.0.0/24"}'
CONFIG=$PODS

ports() { by network show "${1:-pods}" --json | jq -r '.vms | length'; }
inner() { ip -n "$1" -j addr show "${2:-eth0}" | jq -r "$3"; }
# What stands in the way of saying that nothing is left.
leftovers() {
	by network list --json | jq -r '.networks[].name'
	ip -br link | awk '{ print $1 }' | grep -vE '^(lo|eth0@.*)$'
}
is_clean() { is "$1" "$(leftovers)" ""; }

# ---- one attachment ----

test_add() {
	container c1 c2
	check "ADD" add c1
	is "in the version asked for" "$(result .cniVersion c1)" 1.1.0
	is "the first address behind the gateway" "$(result '.ips[0].address' c1)" 10.30.0.2/24
	is "of the interface in the container" "$(result '.interfaces[.ips[0].interface] | .name' c1)" eth0
	is "which is in its namespace" "$(result '.interfaces[2].sandbox' c1)" /run/netns/c1
	is "with its MTU" "$(result '.interfaces[2].mtu' c1)" 1500
	is "the default route by the gateway" "$(result '.routes | map(.dst + " " + .gw) | join(",")' c1)" \
		"0.0.0.0/0 10.30.0.1"
	is "the container has what was said" "$(inner c1 eth0 \
		'.[0] | .address + " " + (.addr_info | map("\(.local)/\(.prefixlen)") | join(","))')" \
		"$(result '.interfaces[2].mac + " " + .ips[0].address' c1)"
	is "its loopback is up" "$(ip -n c1 -j link show lo | jq -r '.[0].flags | index("UP") != null')" true
	is "the gateway needs no ARP" "$(ip -n c1 -j neigh | jq -r '.[0].state[0]')" PERMANENT
	check "the host's interface is there" has_link "$(result '.interfaces[1].name' c1)"
	check "a second one" add c2
	can c1 ping:"$(address c2)"
	can host ping:"$(address c1)"
	can c1 ping:10.30.0.1
	web_server internet 80
	is "it goes out with the host's address" "$(get c1 "http://$INTERNET4/")" \
		"hello from internet to $HOST4"
	check "CHECK" cni CHECK c1 eth0
	is "says nothing" "$(out)" ""
	must ip -n c1 addr add 10.30.0.200/24 dev eth0
	fails "it does not speak as another" inside c1 ping -c 1 -w 1 -I 10.30.0.200 10.30.0.1
	must ip -n c1 addr del 10.30.0.200/24 dev eth0
	refused 101 "ADD again" add c1
	is "changes nothing" "$(ports)" 2
	check "a VM's list has no containers" by vm list
	unlike "none of them" "$(out)" cni-
}

test_two_networks() {
	local CONFIG='{"cniVersion":"1.0.0","name":"back","type":"byway","cidr":"10.31.0.0/24"}'
	check "a second network in the same container" add c1 net1
	is "its name is the configuration's" "$(json '.name' network show back)" back
	is "an address of it" "$(result '.ips[0].address' c1 net1)" 10.31.0.2/24
	check "a neighbour there" eval 'container c3 && add c3'
	can c1 ping:10.31.0.3
	cannot c2 ping:10.31.0.3
	cannot c3 ping:10.30.0.3
	check "DEL of another configuration's interface" cni DEL c1 eth0
	can c1 ping:10.30.0.3
	check "DEL of its own" del c1 net1
	fails "and only that goes" ip -n c1 link show net1
	check "the other stays" ip -n c1 link show eth0
	must del c3
	must ip netns del c3
	must by network down back
}

test_del() {
	local host
	host=$(result '.interfaces[1].name' c1)
	check "DEL" del c1
	is "says nothing" "$(out)" ""
	fails "the host's interface is gone" has_link "$host"
	fails "and the container's" ip -n c1 link show eth0
	check "DEL again" del c1
	NETNS='' check "DEL without CNI_NETNS" del c1
	check "DEL of what never was" del never
	must ip netns del c2
	check "DEL when the namespace is gone" del c2
	is "nothing is attached" "$(ports)" 0
	must add c1
	check "DEL without the former result" eval 'rm "$RESULTS"/c1-eth0.json; del c1'
	check "DEL with the network gone" eval 'add c1 && by network down pods && del c1'
	check "DEL with a configuration that is no good any more" del c1 eth0 '.cidr = "nonsense"'
	must ip netns del c1
	is_clean "then nothing is left"
}

# ---- versions and errors ----

test_versions() {
	local version
	container v
	for version in 0.3.1 0.4.0 1.0.0 1.1.0; do
		check "ADD in $version" add v eth0 ".cniVersion = \"$version\""
		is "answers in $version" "$(result .cniVersion v)" "$version"
		has_version "$version"
	done
	is "VERSION" "$(bare VERSION | jq -c .supportedVersions)" '["0.3.1","0.4.0","1.0.0","1.1.0"]'
	is "VERSION says the version asked in" "$(bare VERSION '{cniVersion: "0.2.0"}' | jq -r .cniVersion)" 0.2.0
	check "VERSION as podman asks" env CNI_COMMAND=VERSION CNI_NETNS=dummy CNI_IFNAME=dummy \
		CNI_PATH=dummy CNI_CONTAINERID= "$CNI"
	is "knows what it says" "$(jq -r '.cniVersion' "$TAP_OUTPUT")" 1.1.0
	refused 1 "an unknown version" cni ADD v eth0 '.cniVersion = "0.2.0"'
	refused 1 "no version" cni ADD v eth0 'del(.cniVersion)'
	refused 1 "CHECK in 0.3.1" cni CHECK v eth0 '.cniVersion = "0.3.1"'
	refused 1 "GC in 1.0.0" bare GC '.cniVersion = "1.0.0"'
	refused 1 "STATUS in 1.0.0" bare STATUS '.cniVersion = "1.0.0"'
	is "an error is in the version asked for" "$(jq -r .cniVersion "$TAP_OUTPUT")" 1.0.0
	must ip netns del v
}

# has_version VERSION: what the result of container v looks like in it.
has_version() {
	local family=null mtu=null
	[[ $1 == 1.* ]] || family=4
	[[ $1 != 1.1.0 ]] || mtu=1500
	is "$1: the family of an address" "$(result '.ips[0].version' v)" "$family"
	is "$1: the MTU" "$(result '.interfaces[2].mtu' v)" "$mtu"
	[[ $1 == 0.3.1 ]] || check "$1: CHECK" cni CHECK v eth0 ".cniVersion = \"$1\""
	check "$1: DEL" del v eth0 ".cniVersion = \"$1\""
}

with() { CONFIG=$(jq -c "$1" <<<"$PODS"); }

test_environment() {
	local CONFIG=$PODS
	container e
	refused 4 "no command" env -u CNI_COMMAND "$CNI"
	refused 4 "an unknown command" cni JUMP e eth0
	refused 4 "no container" cni ADD "" eth0
	says_variable CNI_CONTAINERID
	refused 4 "a container with a slash" cni ADD a/b eth0
	refused 4 "no interface" cni ADD e ""
	says_variable CNI_IFNAME
	refused 4 "an interface's name that is too long" cni ADD e eth0eth0eth0eth0
	refused 4 "one that the kernel does not take" cni ADD e ..
	NETNS=/proc/self/ns/net refused 4 "the host's own namespace" cni ADD e eth0
	NETNS=/run/netns/none refused 3 "no such namespace" cni ADD e eth0
	NETNS=/etc/passwd refused 3 "what is no namespace" cni ADD e eth0
	CNI_ARGS='IP=10.30.0.9;K8S_POD_UID=x' refused 4 "arguments that are not known" cni ADD e eth0
	CNI_ARGS='IP' refused 4 "what is no argument" cni ADD e eth0
	CNI_ARGS='IP=x' refused 4 "what is no address" cni ADD e eth0
	check "arguments to be ignored" env CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.30.0.77;MAC=02:00:00:00:00:77' \
		bash -c "$(declare -f cni add result); $(declare -p CNI RESULTS CONFIG WORLD); add e"
	is "IP= is taken" "$(result '.ips[0].address' e)" 10.30.0.77/24
	is "MAC= is taken" "$(inner e eth0 '.[0].address')" 02:00:00:00:00:77
	must del e
}

says_variable() { like "which names $1" "$(jq -r .details "$TAP_OUTPUT")" "$1"; }

stdin() { CNI_COMMAND=ADD CNI_CONTAINERID=e CNI_IFNAME=eth0 CNI_NETNS=/run/netns/e "$CNI" <<<"$1"; }

test_configuration() {
	local CONFIG=$PODS
	refused 6 "no configuration" stdin ""
	refused 6 "half a configuration" stdin '{"cniVersion": "1.0.0", '
	refused 6 "a list" stdin '[]'
	refused 5 "standard input that cannot be read" bash -c 'CNI_COMMAND=ADD "$0" <&-' "$CNI"
	refused 7 "no name" cni ADD e eth0 'del(.name)'
	refused 2 "an unknown key" cni ADD e eth0 '.isolate = true'
	like "with key and value" "$(jq -r .details "$TAP_OUTPUT")" '"isolate": true'
	refused 2 "a port mapping of SCTP" cni ADD e eth0 \
		'.runtimeConfig = {portMappings: [{hostPort: 1, containerPort: 1, protocol: "sctp"}]}'
	check "no port mappings are none" add e eth0 '.runtimeConfig = {portMappings: []}'
	must del e
	refused 7 "host bits" cni ADD e eth0 '.cidr = "10.30.0.5/24"'
	refused 7 "IPv6 for IPv4" cni ADD e eth0 '.cidr = "fd00::/64"'
	refused 7 "an MTU that is a text" cni ADD e eth0 '.mtu = "1500"'
	refused 7 "a network's name with a space" cni ADD e eth0 '.network = "a b"'
	refused 7 "a network that is not there, and nothing to make it with" \
		cni ADD e eth0 '.network = "nowhere" | del(.cidr)'
	refused 101 "a network with another CIDR" cni ADD e eth0 '.cidr = "10.33.0.0/24"'
	refused 7 "an address of another network" cni ADD e eth0 '.runtimeConfig = {ips: ["10.99.0.1/24"]}'
	refused 7 "two addresses" cni ADD e eth0 '.runtimeConfig = {ips: ["10.30.0.7", "10.30.0.8"]}'
	refused 7 "a MAC that is none" cni ADD e eth0 '.runtimeConfig = {mac: "x"}'
	refused 2 "an IPAM with settings that are nobody's" cni ADD e eth0 '.ipam = {subnet: "10.30.0.0/24"}'
	refused 4 "an IPAM plugin that is not there" cni ADD e eth0 '.ipam = {type: "nowhere"}'
	is "after all of that nothing is attached" "$(ports)" 0
	fails "and the container has nothing" ip -n e link show eth0
	must ip netns del e
	must by network down pods
}

test_wishes() {
	local CONFIG
	container w x
	# Some runtimes give containers no IPv6; a network that has it does.
	must inside w sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
	with '.cidr6 = "fd30::/64" | .mtu = 1400 | .dns = {nameservers: ["10.30.0.1"], search: ["pods"]}'
	check "ADD with runtimeConfig" add w eth0 \
		'.runtimeConfig = {ips: ["10.30.0.50/24", "fd30::50/64"], mac: "02:00:00:00:00:50"}'
	is "both addresses" "$(result '[.ips[].address] | join(" ")' w)" "10.30.0.50/24 fd30::50/64"
	is "the MAC" "$(inner w eth0 '.[0].address')" 02:00:00:00:00:50
	is "the MTU" "$(inner w eth0 '.[0].mtu')" 1400
	is "dns as configured" "$(result '.dns.nameservers[0] + " " + .dns.search[0]' w)" "10.30.0.1 pods"
	refused 101 "an address that is taken" cni ADD x eth0 '.args = {cni: {ips: ["10.30.0.50"]}}'
	refused 101 "a MAC that is taken" cni ADD x eth0 '.runtimeConfig = {mac: "02:00:00:00:00:50"}'
	check "args" add x eth0 '.args = {cni: {ips: ["10.30.0.60"]}, other: {a: 1}}'
	is "its address" "$(address x)" 10.30.0.60
	can x ping:10.30.0.50
	can x ping:fd30::50
	can x "ping:$INTERNET6"
	check "CHECK with both families" cni CHECK w eth0
	must del w
	must del x
	check "isolated ones" eval 'add w eth0 ".isolated = true" && add x eth0 ".isolated = true"'
	cannot w ping:"$(address x)"
	can w ping:10.30.0.1
	must del x
	policy "allow icmp - $(address w)" >policy.json
	check "one under a policy" add x eth0 ".policy = \"$PWD/policy.json\""
	can w ping:"$(address x)"
	cannot host ping:"$(address x)"
	can x ping:10.30.0.1
	refused 7 "a policy's path that is not whole" cni ADD y eth0 '.policy = "policy.json"'
	must del x
	check "bandwidth" add x eth0 '.runtimeConfig = {bandwidth: {ingressRate: 8000000, ingressBurst: 800000,
		egressRate: 16000000, egressBurst: 1600000}}'
	like "what it receives is limited" \
		"$(tc qdisc show dev "$(result '.interfaces[1].name' x)")" 'tbf .*rate 8Mbit'
	must del x
	must del w
	must by network down pods
	is_clean "the device for what it sends is gone"
	must ip netns del w
	must ip netns del x
}

test_chained() {
	local CONFIG
	container h
	with '.prevResult = {cniVersion: "1.1.0", interfaces: [{name: "other0", sandbox: "/run/netns/h"}],
		ips: [{address: "10.9.9.9/24", interface: 0}], dns: {nameservers: ["10.9.9.1"]}}'
	check "behind another plugin" add h
	is "what that made comes first" "$(result '[.interfaces[].name] | "\(.[0]) \(.[3])"' h)" "other0 eth0"
	is "its addresses, too" "$(result '[.ips[] | "\(.address) \(.interface)"] | join(",")' h)" \
		"10.9.9.9/24 0,10.30.0.2/24 3"
	is "and its resolvers" "$(result '.dns.nameservers[0]' h)" 10.9.9.1
	CONFIG=$PODS
	check "CHECK sees its own in it" cni CHECK h eth0
	must del h
	must ip netns del h
	must by network down pods
}

# ---- other IPAM plugins ----

test_delegated() {
	local CONFIG='{"cniVersion":"1.0.0","name":"far","type":"byway","ipam":{"type":"host-local",
		"dataDir":"/run/world/ipam","subnet":"10.34.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}}'
	[[ -x /usr/lib/cni/host-local ]] || { skip "host-local gives addresses" "not installed"; return; }
	container d f
	check "ADD with addresses of host-local's" add d
	is "the network is what they are from" "$(json .cidr network show far)" 10.34.0.0/24
	check "host-local has it" test -e "/run/world/ipam/far/$(address d)"
	check "a second" add f
	can d ping:"$(address f)"
	check "CHECK asks it, too" cni CHECK d eth0
	rm "/run/world/ipam/far/$(address d)"
	fails "and hears what it says" cni CHECK d eth0
	refused 101 "ADD that fails after it" cni ADD d eth0
	check "DEL" del f
	is "gives the address back" "$(find /run/world/ipam/far -name '10.*')" ""
	refused 7 "another gateway than the network's" cni ADD f eth0 '.ipam.gateway = "10.34.0.9"'
	is "gives it back, too" "$(find /run/world/ipam/far -name '10.*')" ""
	must del d
	must by network down far
	must ip netns del d
	must ip netns del f
}

# ---- CHECK, STATUS and GC ----

# tampered NAME COMMAND...: CHECK notices; then all is made anew.
tampered() {
	local name=$1
	shift
	must add t
	must cni CHECK t eth0
	must "$@"
	refused 105 "$name" cni CHECK t eth0
	must del t
}

del_host_link() { ip link del "$(result '.interfaces[1].name' t)"; }
leave_bridge() { ip link set "$(result '.interfaces[1].name' t)" nomaster; }
flush_guard() { nft flush chain bridge byway "$(nft -j list table bridge byway | jq -r '[.nftables[].chain | select(.) | .name][0]')"; }

test_check() {
	local CONFIG=$PODS
	container t
	tampered "without its address" ip -n t addr flush dev eth0
	tampered "without its route" ip -n t route del default
	tampered "with another MAC" ip -n t link set eth0 address 02:00:00:00:00:01
	tampered "down" ip -n t link set eth0 down
	tampered "without its interface" ip -n t link del eth0
	tampered "without the host's" del_host_link
	tampered "off its bridge" leave_bridge
	tampered "with another name" eval 'ip -n t link set eth0 down && ip -n t link set eth0 name moved0'
	[[ ${BYWAY_FIREWALL:-native} == iptables ]] || tampered "without its guard" flush_guard
	must by gc
	must add t
	refused 7 "CHECK without a result" cni CHECK t eth0 'del(.prevResult)'
	refused 105 "CHECK with another's" cni CHECK t eth0 '.prevResult.ips[0].address = "10.30.0.99/24"'
	check "a route that a later plugin put aside" eval \
		'ip -n t route replace default via 10.30.0.1 metric 5 && cni CHECK t eth0'
	must del t
	refused 3 "CHECK after DEL" cni CHECK t eth0
	must ip netns del t
}

test_status() {
	local CONFIG='{"cniVersion":"1.1.0","name":"tiny","type":"byway","cidr":"10.35.0.0/30"}'
	check "STATUS before the network is made" bare STATUS
	container s
	must add s
	refused 50 "STATUS with no address left" bare STATUS
	container s2
	refused 102 "ADD with no address left" add s2
	must del s
	check "STATUS with one free again" bare STATUS
	refused 50 "STATUS without a network" bare STATUS 'del(.cidr) | .name = "nowhere"'
	must by network down tiny
	must ip netns del s
	must ip netns del s2
}

test_gc() {
	local CONFIG=$PODS
	container g1 g2 g3
	must add g1
	must add g2
	must add g3 eth0 '.name = "others"'
	must ip netns del g2
	check "GC" bare GC '."cni.dev/valid-attachments" = [{containerID: "g1", ifname: "eth0"}]'
	is "takes what is not valid, of its own" "$(json '[.vms[].address] | sort | join(" ")' network show pods)" \
		"$(printf '%s\n' "$(address g1)" "$(address g3)" | sort | xargs)"
	can g1 ping:"$(address g3)"
	check "GC again" bare GC '."cni.dev/valid-attachments" = [{containerID: "g1", ifname: "eth0"}]'
	refused 7 "GC with what is no attachment" bare GC '."cni.dev/valid-attachments" = [{}]'
	check "GC with none" bare GC
	is "the other configuration's is left" "$(ports)" 1
	check "and its GC takes that" bare GC '.name = "others"'
	is "none is left" "$(ports)" 0
	must by network down pods
	must ip netns del g1
	must ip netns del g3
}

# A container whose namespace went away without a DEL comes back.
test_comes_back() {
	local CONFIG=$PODS
	container b
	must add b
	must ip netns del b
	container b
	wait_gone has_link "$(result '.interfaces[1].name' b)"
	check "ADD of a container that came back" add b
	is "with its former address" "$(address b)" 10.30.0.2
	must ip netns del b
	wait_gone has_link "$(result '.interfaces[1].name' b)"
	check "gc" by gc
	is "frees what has no device" "$(ports)" 0
	must by network down pods
}

# ---- killed at any moment ----

# killed MS COMMAND...: with SIGKILL, that long after its start.
killed() {
	(timeout --signal=KILL "0.$(printf %03d "$1")" "${@:2}"; true) >/dev/null 2>&1
}

test_kills() {
	local i left=0 CONFIG=$PODS
	container k
	must add k
	must del k
	export -f cni
	export CONFIG RESULTS CNI
	for ((i = 0; i < 40; i++)); do
		killed $((1 + i)) bash -c 'cni ADD k eth0'
		if ((i % 2)); then
			cni DEL k eth0 >/dev/null || left=$((left + 1))
		else
			bare GC >/dev/null || left=$((left + 1))
		fi
		[[ $(ports) == 0 && $(ip -br link) != *cni-* ]] || left=$((left + 1))
		ip -n k link show eth0 >/dev/null 2>&1 && left=$((left + 1))
	done
	is "ADD killed at 40 moments leaves nothing behind DEL or GC" "$left" 0
	for ((i = 0; i < 20; i++)); do
		add k >/dev/null || left=$((left + 1))
		killed $((1 + i)) bash -c 'cni DEL k eth0'
		cni DEL k eth0 >/dev/null || left=$((left + 1))
		[[ $(ports) == 0 ]] || left=$((left + 1))
	done
	is "DEL killed at 20 moments can be repeated" "$left" 0
	must by network down pods
	must ip netns del k
	is_clean "then nothing is left"
}

# ---- many at once ----

MANY=${MANY:-250}
AT_ONCE=24

one_add() { add "m$1" >/dev/null || echo "m$1"; }
one_del() { del "m$1" >/dev/null || echo "m$1"; }

# many FUNCTION: prints whoever failed.
many() {
	export -f cni add del one_add one_del
	export CONFIG RESULTS CNI WORLD
	seq "$MANY" | xargs -P "$AT_ONCE" -I N bash -c "$1 N"
}

test_many() {
	local CONFIG i started
	with '.cidr = "10.36.0.0/16" | .name = "many" | .network = "many"'
	seq "$MANY" | sed 's/.*/netns add m&/' | ip -batch -
	started=$SECONDS
	is "$MANY containers, $AT_ONCE at once" "$(many one_add)" ""
	diag "$MANY ADDs in $((SECONDS - started)) s"
	is "no two share an address" "$(jq -r '.ips[0].address' "$RESULTS"/m*-eth0.json | sort -u | wc -l)" "$MANY"
	is "no two share a MAC" "$(jq -r '.interfaces[2].mac' "$RESULTS"/m*-eth0.json | sort -u | wc -l)" "$MANY"
	can m1 ping:"$(address "m$MANY")"
	started=$SECONDS
	is "all go" "$(many one_del)" ""
	diag "$MANY DELs in $((SECONDS - started)) s"
	is "no port is left" "$(ports many)" 0
	must by network down many
	for ((i = 1; i <= MANY; i++)); do echo "netns del m$i"; done | ip -batch -
	is_clean "then nothing is left"
}

# ---- published ports ----

MAPPED='.runtimeConfig = {portMappings: [{hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: ""},
	{hostPort: 8007, containerPort: 7, protocol: "udp"}]}'
published() { by publish list --json | jq -r '[.published[].mapping] | join(" ")'; }

test_mappings() {
	container m1 m2
	cannot internet "$HOST4" 8080 "nothing is mapped"
	check "ADD with port mappings" add m1 eth0 "$MAPPED"
	web_server m1 80
	echo_server m1 7
	is "they are published ports" "$(published)" "8080:80/tcp 8007:7/udp"
	can internet "$HOST4" 8080
	can internet "udp:$HOST4" 8007
	can host 127.0.0.1 8080
	cannot internet "$HOST4" 8081
	cannot internet "$(address m1)" 80 "not by the host's address"
	check "CHECK" cni CHECK m1 eth0 "$MAPPED"
	refused 105 "CHECK of one that is not there" cni CHECK m1 eth0 \
		'.runtimeConfig = {portMappings: [{hostPort: 8081, containerPort: 80}]}'
	refused 101 "ADD of a port that leads elsewhere" cni ADD m2 eth0 "$MAPPED"
	fails "leaves no interface" ip -n m2 link show eth0
	is "and the other's ports as they were" "$(published)" "8080:80/tcp 8007:7/udp"
	can internet "$HOST4" 8080
	check "a flow" flow_open f internet "$HOST4" 8080
	check "DEL" del m1
	is "takes the ports back" "$(published)" ""
	cannot internet "$HOST4" 8080
	flow_close f
	check "the next one can have them" add m2 eth0 "$MAPPED"
	must ip netns del m2
	CONFIG=$PODS bare GC '."cni.dev/valid-attachments" = []' >/dev/null
	is "GC takes them back" "$(published)" ""
	stop web-m1
	stop echo-m1-7
	ip netns del m1
	must by network down pods
}

# ---- the configuration that byway writes ----

test_install() {
	local CONFIG
	check "byway cni install" by cni install --network shop --cidr 10.37.0.0/24 --dir "$WORLD/net.d"
	is "a list of configurations" "$(jq -r '.cniVersion + " " + .name + " " + .plugins[0].type' \
		"$WORLD/net.d/10-shop.conflist")" "1.0.0 shop byway"
	CONFIG=$(jq -c '{cniVersion, name} + .plugins[0] | del(.capabilities)' "$WORLD/net.d/10-shop.conflist")
	container i
	check "which works" add i
	is "with what the plugin can do" "$(jq -c '.plugins[0].capabilities' "$WORLD/net.d/10-shop.conflist")" \
		'{"ips":true,"mac":true,"bandwidth":true,"portMappings":true,"aliases":true}'
	is "in that network" "$(address i)" 10.37.0.2
	must del i
	must ip netns del i
	check "again" by cni install --network shop --dir "$WORLD/net.d"
	is "the network's own CIDR" "$(jq -r '.plugins[0].cidr' "$WORLD/net.d/10-shop.conflist")" 10.37.0.0/24
	must by network down shop
}

test_add
test_two_networks
test_del
test_versions
test_environment
test_configuration
test_wishes
test_chained
test_delegated
test_check
test_status
test_gc
test_comes_back
test_kills
test_many
test_mappings
test_install
done_testing
