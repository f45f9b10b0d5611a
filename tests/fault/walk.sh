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
#   - of files, the odd times the same again is enough, and the even times `byway destroy`
#   - then everything is deleted, and the machine is as it was before byway came
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
with_dns() { with_nat && prepare dns enable v; }
with_dhcp() { prepare network up n 10.2.0.0/24 --cidr6 fd02::/64 --dhcp; }
with_container() { with_network && container ADD; }
with_all() {
	with_peer && prepare nat enable v --interface eth0 && prepare vm add v/a i &&
		prepare subnet add v b 10.0.2.0/24 && prepare policy apply v/a one.json
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
	[dns-enable]=with_nat
	[dns-disable]=with_dns
	[network-up-dhcp]=true
	[vm-add-dhcp]=with_dhcp
	[cni-add]=with_network
	[cni-del]=with_container
	[apply]=true
	[apply-changed]=with_file
	[destroy]=with_little
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
	[dns-enable]='by dns enable v'
	[dns-disable]='by dns disable v'
	[network-up-dhcp]='by network up n 10.2.0.0/24 --cidr6 fd02::/64 --dhcp'
	[vm-add-dhcp]='by vm add n m'
	[cni-add]='container ADD'
	[cni-del]='container DEL'
	[apply]='by apply -q little.yaml'
	[apply-changed]='by apply -q machine.yaml'
	[destroy]='by destroy -q machine.yaml'
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
		      b: {cidr: 10.0.2.0/24}
		    peers: [n]
		networks: {n: {cidr: 10.2.0.0/24}}
		vms:
		  m: {network: n, rate: "9M,8M"}
		  k: {network: v/a, publish: ["80:80"]}
	END
	sed 's/one\.json/two.json/; s/, type: public//; /^ *b: /d; /peers:/d; s/9M,8M/7M,8M/; s/v\/a/v\/a, queues: 2/; s/80:80/81:80/' \
		first.yaml >second.yaml
	sed '/^ *b: /d; /^ *m: /d; s/v\/a/v\/a, rate: "9M,8M"/' first.yaml >little.yaml
}
with_file() { cp first.yaml machine.yaml && prepare apply machine.yaml && cp second.yaml machine.yaml; }
with_little() { cp little.yaml machine.yaml && prepare apply machine.yaml; }

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
}

# ---- looking ----

# The host's end of a veth pair gets a random MAC each time, a process a number. Who waits for a machine's
# process may be missing.
look() {
	snapshot_host | sed -E '/^veth-/s/ether [0-9a-f:]+/ether random/; / byway-watch$/d; s/^process [0-9]+ /process /'
	if has_netns v-a; then snapshot_inside v-a; fi
	# Its TAP device loses its carrier a moment after nobody has it open any more.
	if has_netns clone; then
		snapshot_inside clone | sed -E 's/NO-CARRIER,//; s/ state [A-Z]+//; s/ linkdown//'
	fi
	if [[ $OPERATION == cni-* ]]; then snapshot_inside user; fi
}

looks_like() {
	look >now
	cmp -s "$1" now
}

# What the kernel takes away, it takes away a moment later.
soon_like() { looks_like "$1" || WAIT_S=20 wait_for looks_like "$1"; }
one_of() { looks_like "$1" || looks_like "$2"; }
soon_one_of() { one_of "$1" "$2" || WAIT_S=20 wait_for one_of "$1" "$2"; }

difference() { diff -U0 "$1" now | grep -E '^[-+][^-+]' | head -n 12; }

# ---- one turn ----

WHY='' # what was wrong in this turn; empty as long as all is well
wrong() { WHY+="$*"$'\n'; }

lay_ground() {
	"${GROUND[$OPERATION]}" >ground.out 2>&1 || wrong "the ground cannot be laid: $(cat ground.out)"
}

is_of_file() { [[ $OPERATION == @(apply*|destroy) ]]; }

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
	((STATUS != 0)) || wrong "exit status 0 in spite of the failure"
	((STATUS < 128)) || wrong "ended by a signal: $STATUS"
	[[ -s op.err ]] || wrong "no message"
}

judge_undone() {
	[[ $1 == fail && $OPERATION != @(subnet-delete|vpc-delete|vm-delete|vm-unclone|network-down|egress-delete|cni-del|dns-disable) ]] ||
		return 0
	! is_of_file || return 0
	soon_one_of ground after || wrong "between before and after the operation:
$(difference ground)"
}

# The second attempt may find that the first had been all but done.
by_gc() {
	prepare gc >gc.out 2>&1 || wrong "gc fails: $(cat gc.out)"
	soon_one_of ground after || wrong "gc leaves something between:
$(difference ground)"
	operate
	((STATUS == 0 || STATUS == 7)) || [[ $OPERATION == cni-add ]] || wrong "cannot be done again: $(cat op.err)"
	soon_like after || wrong "done again, it is not as it should be:
$(difference after)"
}

# Of a file: applied, or destroyed, again without anything between.
by_again() {
	operate
	((STATUS == 0)) || wrong "cannot be done again: $(cat op.err)"
	soon_like after || wrong "done again, it is not as it should be:
$(difference after)"
}

by_delete() {
	local vpc
	if is_of_file; then
		prepare destroy little.yaml machine.yaml >delete.out 2>&1 || wrong "destroy fails: $(cat delete.out)"
		soon_like before || wrong "something is left:
$(difference before)"
		return
	fi
	for vpc in v w n; do
		prepare vpc delete $vpc >delete.out 2>&1 || wrong "delete fails: $(cat delete.out)"
	done
	[[ $OPERATION != egress-* ]] || prepare egress delete g f e >delete.out 2>&1 ||
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
	judge_undone "$mode"
	if ((n % 2)); then
		if is_of_file; then by_again; else by_gc; fi
	fi
	by_delete
	if [[ -z $WHY ]]; then pass "$name"; else
		fail "$name" "${WHY%$'\n'}" "stderr: $said"
		start_over
	fi
}

walk() {
	local mode=$1 n=1
	while turn "$mode" "$n"; do
		n=$((n + 1))
		((TAP_FAILED < MAX_FAILED)) || bail "too many failures"
	done
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
	look >after
	[[ -s trace ]] || bail "this build has no fault points: configure with -Dfaults=true"
	by_delete
	[[ -z $WHY ]] || bail "$WHY"
}

policy 'allow tcp 80 10.0.0.0/8' >one.json
policy 'allow tcp 443 -' 'allow tcp 443 10.0.0.0/8' >two.json
files
foreign
learn
for mode in "${MODES[@]}"; do
	walk "$mode"
done
done_testing
