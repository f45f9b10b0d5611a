#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# walk.sh OPERATION [MODE...]: fails the first call of an operation, then the second, and so on until a run
# meets no fault; in three ways (src/base/fault.h): the call fails once, it and all after it fail, or the
# program is killed before it. Each time:
#
#   - a failure is reported: exit status, one message, no complaint of a sanitizer
#   - after a single failure the machine is as before the operation, or as after it: nothing between
#     (but for the deletion of subnets, VMs and VPCs, which goes on after an error as far as it can)
#   - the odd times, `byway gc` leads to one of the two, and the operation can be done again
#   - the even times, `byway vpc delete` cleans up right away
#   - of files, blocks and the doctor, the odd times the same again is enough, and the even times what undoes
#     it: `byway destroy`, `byway unblock`, `byway doctor --undo`
#   - then everything is deleted, and the machine is as it was before byway came
#   - whoever says that the host is blocked is right; what `byway prove` cannot take away again, it tells of
#
# Somebody else's bridge, nftables table and namespace stand by and must not change. The ground for each turn is
# laid, and cleaned up, by $BYWAY_PREPARE: a release build is a good deal faster.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
BYWAY_PREPARE=$(realpath "${BYWAY_PREPARE:-$BYWAY}")
export BYWAY_PREPARE
[[ -z ${CNI:-} ]] || CNI=$(realpath "$CNI")
world_enter "$@"
OPERATION=${1:?which operation}
MODES=(fail stay kill)
(($# == 1)) || MODES=("${@:2}")
MAX_FAILED=12 # enough to see a pattern

prepare() { "$BYWAY_PREPARE" -q "$@"; }

# ---- the operations: what they stand on, and what they are ----

with_vpc() { prepare vpc create v 10.0.0.0/16 --cidr6 fd00::/56; }
with_subnet() {
	with_vpc && prepare subnet add v a 10.0.1.0/24 --cidr6 fd00:0:0:1::/64 --type public
}
with_nat() { with_subnet && prepare nat enable v --interface eth0; }
with_two() { with_subnet && prepare vpc create w 10.1.0.0/16; }
with_peer() { with_two && prepare peer add v w; }
with_policy() { with_subnet && prepare policy apply v/a one.json; }
with_network() { prepare network up n 10.2.0.0/24 --cidr6 fd02::/64; }
with_vms() {
	with_nat && with_network && prepare vm add n m --owner 1000 --isolated --rate 9M,8M &&
		prepare vm add v/a i && prepare publish n/m 8080:80
}
with_workload() { with_network && prepare vm add n m && prepare vm add n o && prepare publish n/o 8081:80; }
with_published() { with_network && prepare vm add n m && prepare publish n/m 8080:80 8053:53/udp; }
with_vm_policy() { with_vms && prepare policy apply n/m one.json; }
with_clone() { with_network && prepare vm add n m --netns clone --ip 10.2.0.9; }
with_egress() {
	with_nat && prepare egress add e '{"ssh":a@b}' && prepare egress add f '{"ssh":a@b,"via":e}'
}
with_use() { with_egress && prepare egress use v/a e; }
with_host() { with_egress && prepare egress use host e,f --exclude 10.99.0.0/24; }
with_dns() { with_nat && prepare dns enable v; }
with_dhcp() { prepare network up n 10.2.0.0/24 --cidr6 fd02::/64 --dhcp; }
with_container() { with_network && container ADD; }
with_way() { with_network && prepare vm add n m && prepare egress use n/m none; }
with_block() { prepare block; }
# The VPC is what there is to look after.
with_sickness() { with_nat && echo 0 >/proc/sys/net/ipv4/ip_forward; }
with_mended() { with_sickness && prepare doctor --fix; }
with_all() {
	with_peer && prepare nat enable v --interface eth0 && prepare vm add v/a i &&
		prepare subnet add v b 10.0.2.0/24 && prepare policy apply v/a one.json
}

# What somebody has changed behind byway's back.
with_damage() {
	with_little && ip link set br-v down && ip link set dev n down && ip link set tap-k nomaster &&
		tc qdisc del dev tap-k root && ip netns exec v-a nft flush ruleset
}

declare -A GROUND=(
	[vpc-create]=true
	[subnet-add]=with_vpc
	[nat-enable]=with_subnet
	[peer-add]=with_two
	[policy-apply]=with_subnet
	[policy-again]=with_policy
	[nat-disable]=with_nat
	[peer-delete]=with_peer
	[subnet-delete]=with_all
	[vpc-delete]=with_all
	[network-up]=true
	[vm-add]=with_network
	[vm-add-under]=with_network
	[vm-policy]=with_vms
	[vm-policy-again]=with_vm_policy
	[vm-delete]=with_vms
	[vm-while]=with_network
	[vm-clone]=with_network
	[vm-unclone]=with_clone
	[network-down]=with_vms
	[publish]=with_workload
	[unpublish]=with_published
	[egress-add]=with_egress
	[egress-use]=with_egress
	[egress-change]=with_use
	[egress-free]=with_use
	[egress-delete]=with_egress
	[host-use]=with_egress
	[host-change]=with_host
	[host-free]=with_host
	[dns-enable]=with_nat
	[dns-disable]=with_dns
	[network-up-dhcp]=true
	[vm-add-dhcp]=with_dhcp
	[cni-add]=with_network
	[cni-del]=with_container
	[prove]=with_way
	[block]=true
	[unblock]=with_block
	[doctor-fix]=with_sickness
	[doctor-undo]=with_mended
	[apply]=true
	[apply-changed]=with_file
	[apply-repair]=with_damage
	[destroy]=with_little
	[apply-way]=with_plain
	[apply-unway]=with_running
)
declare -A COMMAND=(
	[vpc-create]='by vpc create v 10.0.0.0/16 --cidr6 fd00::/56'
	[subnet-add]='by subnet add v a 10.0.1.0/24 --cidr6 fd00:0:0:1::/64 --type public'
	[nat-enable]='by nat enable v --interface eth0'
	[peer-add]='by peer add v w'
	[policy-apply]='by policy apply v/a one.json'
	[policy-again]='by policy apply v/a two.json'
	[nat-disable]='by nat disable v'
	[peer-delete]='by peer delete v w'
	[subnet-delete]='by subnet delete v/a'
	[vpc-delete]='by vpc delete v'
	[network-up]='by network up n 10.2.0.0/24 --cidr6 fd02::/64'
	[vm-add]='by vm add n m --owner 1000 --isolated --rate 9M,8M'
	[vm-while]='by vm add n m --while-pid 1'
	[vm-add-under]='by vm add n m --policy one.json'
	[vm-policy]='by policy apply n/m one.json'
	[vm-policy-again]='by policy apply n/m two.json'
	[vm-clone]='by vm add n m --netns clone --ip 10.2.0.9 --rate 9M,8M'
	[vm-unclone]='by vm delete n/m'
	[vm-delete]='by vm delete n/m'
	[network-down]='by network down n'
	[publish]='by publish n/m 8080:80 8053:53/udp'
	[unpublish]='by unpublish n/m'
	[egress-add]='by egress add g {"ssh":a@b,"via":f}'
	[egress-use]='by egress use v/a e'
	[egress-change]='by egress use v/a f,e'
	[egress-free]='by egress use v/a nat'
	[egress-delete]='by egress delete f'
	[host-use]='by egress use host e,f --exclude 10.99.0.0/24'
	[host-change]='by egress use host none'
	[host-free]='by egress use host nat'
	[dns-enable]='by dns enable v'
	[dns-disable]='by dns disable v'
	[network-up-dhcp]='by network up n 10.2.0.0/24 --cidr6 fd02::/64 --dhcp'
	[vm-add-dhcp]='by vm add n m'
	[cni-add]='container ADD'
	[cni-del]='container DEL'
	[prove]='by prove n/m'
	[block]='by block machine.yaml'
	[unblock]='by unblock'
	[doctor-fix]='by doctor --fix'
	[doctor-undo]='by doctor --undo'
	[apply]='by apply -q little.yaml'
	[apply-changed]='by apply -q machine.yaml'
	[apply-repair]='by apply -q machine.yaml'
	[destroy]='by destroy -q machine.yaml'
	[apply-way]='by apply -q machine.yaml'
	[apply-unway]='by apply -q machine.yaml'
)

# Files of as few objects as have every kind of step: there is a turn for each of their calls. What is
# different of the second one: a new policy, a type, a rate, a machine made anew; no peering, no second
# subnet. The little one is the first without what only makes that difference.
files() {
	cat >first.yaml <<-'END'
		vpcs:
		  v:
		    cidr: 10.0.0.0/16
		    nat: eth0
		    subnets:
		      a: {cidr: 10.0.1.0/24, type: public, policy: one.json}
		      b: {cidr: 10.0.2.0/24, type: public, egress: none}
		    peers: [n]
		networks: {n: {cidr: 10.2.0.0/24}}
		vms:
		  m: {network: n, rate: "9M,8M"}
		  k: {network: v/a, egress: none, publish: ["80:80"]}
	END
	sed 's/one\.json/two.json/; s/, type: public//; /^ *b: /d; /peers:/d; s/9M,8M/7M,8M/; s/v\/a/v\/a, queues: 2/; s/80:80/81:80/' \
		first.yaml >second.yaml
	sed '/^ *b: /d; /^ *m: /d; s/v\/a/v\/a, rate: "9M,8M"/' first.yaml >little.yaml
	# And one that gets a way out, whose process runs beside.
	cat >plain.yaml <<-'END'
		vpcs: {v: {cidr: 10.0.0.0/16, subnets: {a: {cidr: 10.0.1.0/24}}}}
	END
	sed 's/24}/24, egress: e}/; $ aegress: {e: {connect: "http://192.0.2.1:3128"}}' plain.yaml >way.yaml
}
with_file() { cp first.yaml machine.yaml && prepare apply machine.yaml && cp second.yaml machine.yaml; }
with_little() { cp little.yaml machine.yaml && prepare apply machine.yaml; }
with_plain() { cp plain.yaml machine.yaml && prepare apply machine.yaml && cp way.yaml machine.yaml; }
with_running() {
	cp way.yaml machine.yaml && prepare apply machine.yaml && wait_for way_stands && cp plain.yaml machine.yaml
}
# Nobody sends anything, so there it stays.
way_stands() { prepare egress show e --json | jq -e '.state == "connecting"'; }

# The container's namespace is somebody's own.
container() {
	CNI_COMMAND=$1 CNI_CONTAINERID=c CNI_IFNAME=eth0 CNI_NETNS=/run/netns/user "$CNI" \
		<<<'{"cniVersion": "1.1.0", "name": "n", "type": "byway", "isolated": true,
			"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}'
}

foreign() {
	ip link add br-user type bridge
	ip link set br-user addrgenmode none
	ip addr add 10.99.0.1/24 dev br-user
	ip link set br-user up
	ip netns add user
	ip -n user link set lo up
	nft add table inet user
	nft 'add chain inet user input { type filter hook input priority 0; }'
	[[ ${BYWAY_FIREWALL:-} != iptables ]] || settle_iptables
	[[ $OPERATION != doctor-* ]] || sicken
}

# iptables leaves tables and chains behind, in the order in which they came about.
settle_iptables() {
	local chain
	for chain in INPUT FORWARD OUTPUT; do
		iptables -P $chain ACCEPT
		ip6tables -P $chain ACCEPT
	done
}

# What others have made that is in the way of VPCs: one of each kind of remedy.
sicken() {
	iptables -P FORWARD DROP
	nft add table inet corp
	nft 'add chain inet corp through { type filter hook forward priority 10; policy drop; }'
	echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-ip6tables
}

# ---- looking ----

# The host's end of a veth pair gets a random MAC each time, a process a number, an ipset the number of its
# generation. Who waits for a machine's process may be missing.
look() {
	snapshot_host | sed -E '/^veth-/s/ether [0-9a-f:]+/ether random/; /^process byway-watch /d; s/^(process .*) [0-9]+$/\1/
		s/^((create|add) byway-[^ ]+)\.[0-9]+/\1/'
	if has_netns v-a; then snapshot_inside v-a; fi
	# Its TAP device loses its carrier a moment after nobody has it open any more.
	if has_netns clone; then
		snapshot_inside clone | sed -E 's/NO-CARRIER,//; s/ state [A-Z]+//; s/ linkdown//'
	fi
	if [[ $OPERATION == cni-* ]]; then snapshot_inside user; fi
}

# One of the pictures.
looks_like() {
	local picture
	look >now
	for picture; do
		! cmp -s "$picture" now || return 0
	done
	return 1
}

# What the kernel takes away, it takes away a moment later.
soon_like() { WAIT_S=20 wait_for looks_like "$@"; }

difference() { diff -U0 "$1" now | grep -E '^[-+][^-+]' | head -n 12; }

# ---- one turn ----

WHY='' # what was wrong in this turn; empty as long as all is well
wrong() { WHY+="$*"$'\n'; }

lay_ground() {
	"${GROUND[$OPERATION]}" >ground.out 2>&1 || wrong "the ground cannot be laid: $(cat ground.out)"
}

is_of_file() { [[ $OPERATION == @(apply*|destroy) ]]; }
is_done_again() { is_of_file || [[ $OPERATION == @(block|unblock|doctor-*) ]]; }

# The plugin says what is wrong on standard output.
command_under_test() {
	local words
	read -ra words <<<"${COMMAND[$OPERATION]}"
	"${words[@]}" </dev/null
}

# operate [FAULT]: status in STATUS, messages in op.err, the points met in trace.
operate() {
	rm -f trace
	: >trace
	BYWAY_FAULT=${1:-} BYWAY_FAULT_TRACE=$WORLD/trace command_under_test >op.out 2>op.err
	STATUS=$?
	[[ $OPERATION != cni-* ]] || cat op.out >>op.err
}

judge_status() {
	if grep -qE 'Sanitizer|runtime error' op.err; then
		wrong "a sanitizer complains: $(grep -m 3 -E 'ERROR|SUMMARY|runtime error' op.err)"
	fi
	if [[ $1 == kill ]]; then
		((STATUS == 137)) || wrong "exit status $STATUS instead of a kill"
		return
	fi
	((STATUS < 128)) || wrong "ended by a signal: $STATUS"
	((STATUS != 0)) || wrong "exit status 0 in spite of the failure"
	[[ -s op.err ]] || wrong "no message"
}

judge_block() {
	! grep -q 'the host is blocked' op.err || soon_like after ||
		wrong "it is not blocked: $(difference after)"
}

judge_undone() {
	[[ $1 == fail && $OPERATION != @(subnet-delete|vpc-delete|vm-delete|vm-unclone|network-down|egress-delete|cni-del|dns-disable) ]] ||
		return 0
	! is_done_again || return 0
	[[ $OPERATION != prove ]] || ! grep -q 'byway gc' op.err || return 0
	soon_like ground after || wrong "between before and after the operation:
$(difference ground)"
}

# The second attempt may find that the first had been all but done.
by_gc() {
	prepare gc >gc.out 2>&1 || wrong "gc fails: $(cat gc.out)"
	soon_like ground after || wrong "gc leaves something between:
$(difference ground)"
	operate
	((STATUS == 0 || STATUS == 7)) || [[ $OPERATION == cni-add ]] || wrong "cannot be done again: $(cat op.err)"
	soon_like after || wrong "done again, it is not as it should be:
$(difference after)"
}

# The same again without anything between.
by_again() {
	operate
	((STATUS == 0)) || wrong "cannot be done again: $(cat op.err)"
	soon_like after || wrong "done again, it is not as it should be:
$(difference after)"
}

by_delete() {
	if is_of_file; then
		prepare destroy little.yaml machine.yaml >delete.out 2>&1 || wrong "destroy fails: $(cat delete.out)"
		soon_like before || wrong "something is left:
$(difference before)"
		return
	fi
	[[ $OPERATION != *block ]] || prepare unblock >delete.out 2>&1 || wrong "cannot be lifted: $(cat delete.out)"
	[[ $OPERATION != doctor-* ]] || prepare doctor --undo >delete.out 2>&1 ||
		wrong "cannot be put back: $(cat delete.out)"
	prepare vpc delete v w n >delete.out 2>&1 || wrong "delete fails: $(cat delete.out)"
	[[ $OPERATION != host-* ]] || prepare egress use host nat >delete.out 2>&1 || wrong "cannot be freed: $(cat delete.out)"
	[[ $OPERATION != @(egress|host)-* ]] || prepare egress delete g f e >delete.out 2>&1 ||
		wrong "delete fails: $(cat delete.out)"
	soon_like before || wrong "something is left:
$(difference before)"
}

# After a turn that went wrong the next one starts on a clean machine.
start_over() {
	prepare reset >/dev/null 2>&1
	ip netns del v-a 2>/dev/null
	nft delete table inet byway 2>/dev/null
	nft delete table bridge byway 2>/dev/null
	nft delete table inet byway_port 2>/dev/null
	soon_like before || bail "the world is spoilt: $(difference before)"
}

point_name() { sed -n "${1}s/^[0-9]* //p" trace; }

# turn MODE N: 1 when the run met no fault.
turn() {
	local mode=$1 n=$2 name said
	WHY=''
	lay_ground
	operate "$mode:$n"
	(($(wc -l <trace) >= n)) || return 1
	name="$OPERATION $mode:$n ($(point_name "$n"))"
	said=$(head -n 5 op.err)
	judge_status "$mode"
	judge_block
	judge_undone "$mode"
	if ((n % 2)); then
		if is_done_again; then by_again; else by_gc; fi
	fi
	by_delete
	if [[ -z $WHY ]]; then pass "$name"; else
		fail "$name" "${WHY%$'\n'}" "stderr: $said"
		start_over
	fi
}

# The doctor looks, mends, and looks again: what cannot be looked at is a finding, and changes nothing.
FIRST=1 LAST=
between_looks() {
	local points looked
	points=$(wc -l <trace)
	lay_ground
	: >looks
	BYWAY_FAULT_TRACE=$WORLD/looks by doctor >/dev/null 2>&1
	looked=$(wc -l <looks)
	FIRST=$((looked + 2)) LAST=$((points - looked)) # before the first look is the lock
	((FIRST <= LAST)) || bail "between the doctor's looks are no points: $looked of $points"
	by_delete
}

walk() {
	local mode=$1 n=$FIRST
	while ((n <= ${LAST:-n})) && turn "$mode" "$n"; do
		n=$((n + 1))
		((TAP_FAILED < MAX_FAILED)) || bail "too many failures"
	done
	if [[ -n $LAST ]]; then
		pass "$OPERATION $mode: $((n - FIRST)) points"
		return
	fi
	if ((STATUS == 0 && n > 1)); then pass "$OPERATION $mode: $((n - 1)) points"; else
		fail "$OPERATION $mode: without a fault it succeeds" "$(cat op.err)"
	fi
	by_delete
}

# What the machine looks like before byway, before the operation and after it.
learn() {
	look >before
	lay_ground
	look >ground
	operate
	((STATUS == 0)) || bail "${COMMAND[$OPERATION]} fails without any fault: $(cat op.err)"
	[[ $OPERATION != apply-way ]] || wait_for way_stands || bail "the egress does not stand"
	look >after
	[[ -s trace ]] || bail "this build has no fault points: configure with -Dfaults=true"
	by_delete
	[[ $OPERATION != doctor-fix ]] || between_looks
	[[ -z $WHY ]] || bail "$WHY"
}

[[ $OPERATION != block ]] || echo 'block: true' >machine.yaml
policy 'allow tcp 80 10.0.0.0/8' >one.json
policy 'allow tcp 443 -' 'allow tcp 443 10.0.0.0/8' >two.json
files
foreign
learn
for mode in "${MODES[@]}"; do
	walk "$mode"
done
done_testing
