# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ways to bring N subnets up and down. Each way is five functions:
#
#   WAY_begin        what is there once, whatever N is (a bridge)
#   WAY_create N     N namespaces, each joined to the bridge, with address and routes
#   WAY_policy N     ten rules in each of them; a way that has none of it lacks the function
#   WAY_delete N     takes the namespaces away
#   WAY_end          takes the rest away
#
# All of them number subnets alike: subnet I is 10.64.0.0/10's I-th /24. In the results a way has a
# name for people.

# shellcheck disable=SC2034 # control.sh reads it
declare -A WAY_NAMES=(
	[byway]='byway, one command'
	[whole]='byway, deleted as a VPC'
	[each_byway]='byway, a command each'
	[batch]='ip -batch, nft -f'
	[cni]='CNI bridge + host-local'
	[script]='ip and iptables script'
)

BENCH_VPC=10.64.0.0/10
BENCH_GATEWAY=10.64.0.1
slice() { echo "10.$((64 + $1 / 256)).$(($1 % 256))"; }

BENCH_RULES='allow tcp 80 0.0.0.0/0
allow tcp 443 0.0.0.0/0
allow tcp 22 10.0.0.0/8
allow udp 53 10.0.0.0/8
deny tcp 8080 192.168.0.0/16
allow tcp 8000-8100 10.0.0.0/8
allow tcp 5432 10.64.0.0/16
allow icmp - -
deny udp 123 172.16.0.0/12
allow tcp 9100 10.64.0.0/10'

write_policies() {
	policy "$BENCH_RULES" >policy.json
	iptables_rules >policy.iptables
	{
		echo '*filter'
		echo ':INPUT DROP'
		cat policy.iptables
		echo COMMIT
	} >policy.restore
	nft_rules >policy.nft
}

iptables_rules() {
	local action proto port source target
	echo '-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT'
	while read -r action proto port source; do
		[[ $action == allow ]] && target=ACCEPT || target=DROP
		[[ $port == - ]] && port='' || port=" --dport ${port/-/:}"
		[[ $source == - ]] && source='' || source=" -s $source"
		echo "-A INPUT -p $proto$port$source -j $target"
	done <<<"$BENCH_RULES"
}

nft_rules() {
	local action proto port source
	echo 'table ip bench'
	echo 'delete table ip bench'
	echo 'table ip bench { chain input { type filter hook input priority 0; policy drop;'
	echo 'ct state established,related accept'
	while read -r action proto port source; do
		[[ $action == allow ]] && action=accept || action=drop
		[[ $source == - ]] && source='' || source="ip saddr $source"
		[[ $port == - ]] && port="ip protocol $proto" || port="$proto dport $port"
		echo "$source $port $action"
	done <<<"$BENCH_RULES"
	printf '}\n}\n'
}

# ---- byway, one call for all ----

byway_begin() { by -q vpc create bench "$BENCH_VPC"; }
byway_create() { by -q subnet add bench --count "$1" --prefix 24 --name n; }
byway_policy() { by -q policy apply 'bench/*' policy.json; }
byway_delete() {
	local names=()
	mapfile -t names < <(seq -f 'bench/n-%g' 1 "$1")
	by -q subnet delete "${names[@]}"
}
byway_end() { by -q vpc delete bench; }

# The same, taken down as a VPC.
whole_begin() { byway_begin; }
whole_create() { byway_create "$1"; }
whole_delete() { by -q vpc delete bench; }
whole_end() { byway_end; }

# ---- byway, one command for each subnet ----

each_byway_begin() { byway_begin; }
each_byway_create() {
	local i
	for ((i = 1; i <= $1; i++)); do
		by -q subnet add bench "n-$i" "$(slice "$i").0/24"
	done
}
each_byway_policy() {
	local i
	for ((i = 1; i <= $1; i++)); do
		by -q policy apply "bench/n-$i" policy.json
	done
}
each_byway_delete() {
	local i
	for ((i = 1; i <= $1; i++)); do
		by -q subnet delete "bench/n-$i"
	done
}
each_byway_end() { byway_end; }

# ---- a script of ip and iptables commands ----

bridge_begin() {
	ip link add br-bench type bridge
	ip addr add "$BENCH_GATEWAY/10" dev br-bench
	ip link set br-bench up
}
bridge_end() { ip link del br-bench; }

script_begin() { bridge_begin; }
script_one() {
	local ns=n$1 net
	net=$(slice "$1")
	ip netns add "$ns"
	ip link add "v$1" type veth peer name eth0 netns "$ns"
	ip link set "v$1" master br-bench
	ip link set "v$1" up
	ip netns exec "$ns" ip addr add "$net.2/24" dev eth0
	ip netns exec "$ns" ip link set eth0 up
	ip netns exec "$ns" ip link set lo up
	ip netns exec "$ns" ip route add "$BENCH_GATEWAY" dev eth0
	ip netns exec "$ns" ip route add "$BENCH_VPC" via "$BENCH_GATEWAY"
	ip netns exec "$ns" ip route add default via "$BENCH_GATEWAY"
}
script_create() {
	local i
	for ((i = 1; i <= $1; i++)); do script_one "$i"; done
}
script_policy() {
	local i rule
	for ((i = 1; i <= $1; i++)); do
		while read -ra rule; do
			ip netns exec "n$i" iptables "${rule[@]}"
		done <policy.iptables
		ip netns exec "n$i" iptables -P INPUT DROP
	done
}
script_delete() {
	local i
	for ((i = 1; i <= $1; i++)); do ip netns del "n$i"; done
}
script_end() { bridge_end; }

# ---- ip -batch, nft -f ----

batch_begin() { bridge_begin; }
batch_outside() {
	local i
	for ((i = 1; i <= $1; i++)); do
		echo "netns add n$i"
		echo "link add v$i type veth peer name eth0 netns n$i"
		echo "link set v$i master br-bench up"
	done
}
batch_inside() {
	local net
	net=$(slice "$1")
	echo "link set lo up"
	echo "addr add $net.2/24 dev eth0"
	echo "link set eth0 up"
	echo "route add $BENCH_GATEWAY dev eth0"
	echo "route add $BENCH_VPC via $BENCH_GATEWAY"
	echo "route add default via $BENCH_GATEWAY"
}
batch_create() {
	local i
	batch_outside "$1" | ip -batch -
	for ((i = 1; i <= $1; i++)); do
		batch_inside "$i" | ip -n "n$i" -batch -
	done
}
batch_policy() {
	local i
	for ((i = 1; i <= $1; i++)); do
		nsenter --net="/run/netns/n$i" nft -f policy.nft
	done
}
batch_delete() { seq -f 'netns del n%g' 1 "$1" | ip -batch -; }
batch_end() { bridge_end; }

# ---- the stock CNI plugins, as a container runtime calls them ----

CNI_PLUGINS=/usr/lib/cni
CNI_CONFIG='{"cniVersion":"1.0.0","name":"bench","type":"bridge","bridge":"br-bench","isGateway":true,
	"ipam":{"type":"host-local","dataDir":"/run/world/cni","ranges":[[{"subnet":"10.64.0.0/16"}]],
	"routes":[{"dst":"0.0.0.0/0"}]}}'

cni() {
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 \
		CNI_PATH=$CNI_PLUGINS "$CNI_PLUGINS/bridge" <<<"$CNI_CONFIG" >/dev/null
}
cni_begin() { :; }
cni_create() {
	local i
	for ((i = 1; i <= $1; i++)); do
		ip netns add "n$i"
		cni ADD "n$i"
	done
}
cni_delete() {
	local i
	for ((i = 1; i <= $1; i++)); do
		cni DEL "n$i"
		ip netns del "n$i"
	done
}
cni_end() { bridge_end; }
