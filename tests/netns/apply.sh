#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One file for the machine: validate, plan, apply and destroy.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

cat >lab.yaml <<'END'
vpcs:
  production:
    cidr: 10.0.0.0/16
    cidr6: fd00::/56
    nat: eth0
    subnets:
      web:
        cidr: 10.0.1.0/24
        cidr6: fd00:0:0:1::/64
        type: public
        policy: policies/web.json
      db: {cidr: 10.0.2.0/24}
    peers: [staging]
  staging:
    cidr: 10.1.0.0/16
    subnets:
      dev: {cidr: 10.1.1.0/24}
networks:
  pods: {cidr: 10.2.0.0/24}
vms:
  api: {network: production/web, rate: "10M,5M", policy: policies/api.json}
  m1: {network: pods, ip: 10.2.0.9, owner: 1000}
END
mkdir policies
policy 'allow tcp 80 -' 'allow - - 0.0.0.0/0' >policies/web.json
policy 'allow tcp 443 -' >policies/api.json
cp lab.yaml first.yaml

# changes FILE: "ACTION KIND NAME" of each change that a plan has, in its order.
changes() { json '.files[].changes[] | "\(.action) \(.kind) \(.name)"' plan "$1"; }

# ---- before anything is made ----

test_validate() {
	check "validate" by validate lab.yaml
	is "counts what is in it" "$(json '.files[0] | "\(.vpcs) \(.subnets) \(.peerings) \(.vms)"' \
		validate lab.yaml)" "3 3 1 2"
	check "from standard input" bash -c "$BYWAY validate - <lab.yaml"
	prints "counted" '3 subnets'
	sed 's/peers: .staging./peers: [stagin]/' lab.yaml >wrong.yaml
	exits 2 "a mistake" by validate wrong.yaml
	says "with its place, and what was meant" 'wrong\.yaml:13:13: .*"stagin".*did you mean "staging"'
	exits 2 "in a policy" env -C policies "$BYWAY" validate <(echo '{vpcs: {v: {cidr: 10.0.0.0/16, subnets:
		{s: {cidr: 10.0.1.0/24, policy: /dev/null}}}}}')
	exits 3 "no such file" by validate nowhere.yaml
	check "as somebody without privileges" setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$BYWAY" validate lab.yaml
	check "nothing was touched" same_as before
}

test_plan() {
	exits 10 "plan" by plan lab.yaml
	prints "what will be made" '\+ subnet production/web: 10\.0\.1\.0/24, fd00:0:0:1::/64, public'
	prints "and how many" 'lab\.yaml: 13 to add, 0 unchanged'
	unlike "without colours, in a file" "$(by plan lab.yaml)" $'\033'
	like "with colours, on a terminal" "$(TERM=xterm script -qec "$BYWAY plan lab.yaml" /dev/null)" $'\033\\[32m\\+ vpc'
	unlike "unless they are not wanted" "$(TERM=xterm NO_COLOR=1 script -qec "$BYWAY plan lab.yaml" /dev/null)" $'\033'
	is "--json has a schema" "$(json .schema plan lab.yaml)" byway.plan/1
	is "and lines of the file" "$(json '.files[0].changes[] | select(.name == "production/db") | .line' \
		plan lab.yaml)" 12
	exits 2 "of what has no path" by plan - <lab.yaml
	check "--dry-run of apply" by apply --dry-run lab.yaml
	prints "has the operations" 'ip netns add production-web'
	check "nothing was touched" same_as before
}

# ---- made ----

test_apply() {
	check "apply" by apply lab.yaml
	says "step by step" '\[[0-9]+/13\] adding subnet production/web and 1 more: [0-9.]+ s'
	prints "how much" '13 added, 0 unchanged'
	web_server internet 80
	web_server production-web 80
	echo_server production-db 7
	echo_server production-web 7
	echo_server staging-dev 7
	can production-web "$INTERNET4" 80 "public"
	cannot production-db "$INTERNET4" 80 "private"
	can production-db 10.0.1.1 80 "the policy lets it"
	cannot production-db 10.0.1.1 7 "the policy does not"
	can staging-dev 10.0.2.1 7 "peered"
	is "the address that was asked for" "$(json '.vms[] | select(.name == "m1") | .address' vm list)" 10.2.0.9
	check "the machine's policy is in force" by policy verify production/api
	is "the owner" "$(json '.vms[] | select(.name == "m1") | .owner_uid' vm list)" 1000
}

test_again() {
	snapshot_host >made
	ip monitor link address route rule >events &
	local monitor=$!
	wait_for test -e "/proc/$monitor/exe"
	check "plan: nothing" by plan lab.yaml
	check "apply again" by apply lab.yaml
	prints "changes nothing" 'lab\.yaml: 13 unchanged'
	check "not a thing" same_as made
	kill "$monitor"
	wait "$monitor" 2>/dev/null
	is "nor for a moment" "$(grep -cv '^$' events)" 0
}

# ---- flushed ----

# As a restarted nftables.service does it.
test_flushed() {
	nft flush ruleset
	is "rules that are gone are a difference" "$(changes lab.yaml)" "repair rules host"
	check "with operations" by apply --dry-run lab.yaml
	check "apply" by apply lab.yaml
	check "brings them back" same_as made
	inside production-web nft flush ruleset
	is "a policy's, too" "$(changes lab.yaml)" "repair policy production/web"
	run by plan lab.yaml
	prints "why" '! policy production/web: the kernel has other rules'
	check "apply" by apply lab.yaml
	check "it is in force" by policy verify production/web
	check "nothing more to do" by plan lab.yaml
}

# ---- damaged ----

# damaged WHAT CHANGE WHY COMMAND...: what somebody does is a difference, told and mended.
damaged() {
	local what=$1 change=$2 why=$3
	shift 3
	must "$@"
	is "$what: a difference" "$(changes lab.yaml)" "repair $change"
	run by plan lab.yaml
	prints "$what: told" "^! $change: .*$why"
	prints "$what: counted" 'lab\.yaml: 1 to repair, 1[23] unchanged'
	check "$what: apply" by apply lab.yaml
	prints "$what: as repaired" 'lab\.yaml: 1 repaired, 1[23] unchanged'
	check "$what: all is as it was made" same_as made
	check "$what: nothing more to do" by plan lab.yaml
}

test_damaged() {
	damaged "a bridge set down" "vpc production" 'br-production is down.*fd00::1/56' ip link set br-production down
	can staging-dev 10.0.2.1 7 "whose neighbours came back"
	damaged "an address taken off" "vpc production" 'has no address 10\.0\.0\.1/16' ip addr del 10.0.0.1/16 dev br-production
	damaged "a neighbour forgotten" "vpc production" 'does not know 1 of its neighbours' ip neigh del 10.0.2.1 dev br-production
	damaged "another MAC" "vpc staging" 'another MAC' ip link set br-staging address 02:00:00:00:00:01
	damaged "a bridge that snoops" "vpc staging" 'snoops' ip link set br-staging type bridge mcast_snooping 1
	damaged "a subnet off its bridge" "subnet production/db" 'is not on br-production' ip link set veth-db nomaster
	can staging-dev 10.0.2.1 7 "it is back"
	damaged "its link down" "subnet production/db" 'veth-db is down' ip link set veth-db down
	damaged "its rules flushed" "subnet production/db" 'has other rules' inside production-db nft flush ruleset
	damaged "a machine off its bridge" "vm pods/m1" 'tap-m1 is not on pods' ip link set tap-m1 nomaster
	damaged "another MTU" "vm pods/m1" 'tap-m1 has MTU 1000' ip link set tap-m1 mtu 1000
	damaged "no limit to a machine" "vm production/api" 'not limited' tc qdisc del dev tap-api root
	damaged "none from it" "vm production/api" 'not limited' tc qdisc del dev tap-api ingress
	damaged "no filter" "vm production/api" 'not limited' tc filter del dev tap-api ingress
	damaged "another limit" "vm production/api" 'not limited' tc qdisc replace dev ifb-api root tbf rate 1mbit burst 16k limit 64k
	damaged "no routing" "rules host" 'ip_forward is 0' sysctl -qw net.ipv4.ip_forward=0
	must ip link set br-production down
	must ip link set veth-db nomaster
	check "a dry run" by --dry-run apply lab.yaml
	prints "says how" 'ip link set br-production up'
	check "gc finds the same" by -v gc
	says "and tells it" 'VPC production: br-production is down.*: put right'
	check "all is as it was made" same_as made
	check "as a plan sees" by plan lab.yaml
	must ip link del ifb-api
	is "a limit's device that is gone" "$(changes lab.yaml)" "repair vm production/api"
	check "apply" by apply lab.yaml
	like "makes it anew" "$(tc qdisc show dev ifb-api root)" 'tbf .* rate 5Mbit '
	check "nothing more to do" by plan lab.yaml
	snapshot_host >made # with the device elsewhere in the list
}

# ---- changed ----

# What is not concerned keeps its connections.
test_change() {
	local db_ns
	db_ns=$(stat -c %i /run/netns/production-db)
	flow_open kept staging-dev 10.0.2.1 7
	sed -i '/type: public/d; s/"10M,5M"/"20M,0"/; s/owner: 1000/queues: 2/' lab.yaml
	sed -i 's/peers: .staging./peers: [{vpc: staging, allow: [10.0.2.0\/24, 10.1.1.0\/24]}]/' lab.yaml
	sed -i 's/^    subnets:$/&\n      app: {cidr: 10.0.3.0\/24}/;' lab.yaml
	sed -i '0,/^      app:/!{/^      app:/d}' lab.yaml
	policy 'allow tcp 7 -' 'allow - - 0.0.0.0/0' >policies/web.json
	policy 'allow tcp 444 -' >policies/api.json
	exits 10 "plan of changes" by plan lab.yaml
	is "only what differs" "$(changes lab.yaml)" "change subnet production/web
remove vm pods/m1
add subnet production/app
change policy production/web
change peering production/staging
change vm production/api
add vm pods/m1
change vm-policy production/api"
	prints "why a machine is made anew" '\- vm pods/m1: to be made anew: owner 1000:-1 → 0:-1, queues 1 → 2'
	prints "what differs" '~ subnet production/web: type public → private'
	check "apply" by apply lab.yaml
	cannot production-web "$INTERNET4" 80 "private now"
	can production-db 10.0.1.1 7 "by the policy of now"
	cannot production-db 10.0.1.1 80 "by the policy of before"
	check "the namespaces are the same" test "$(stat -c %i /run/netns/production-db)" = "$db_ns"
	check "a connection between others was kept" flow_works kept
	flow_close kept
	cannot staging-dev 10.0.1.1 7 "not among the peers' networks"
	like "the rate of now" "$(tc qdisc show dev tap-api)" 'rate 20Mbit'
	fails "and no other" eval 'ip link show | grep -q ifb-api'
	check "nothing more to do" by plan lab.yaml
}

test_remove() {
	sed -i '/ db:/d; /^  m1:/d; /peers:/d; /nat: eth0/d; s/, policy: policies.api.json//; /policy:/d' lab.yaml
	is "what is not there any more goes" "$(changes lab.yaml)" "remove vm-policy production/api
remove vm pods/m1
remove nat production
remove peering production/staging
remove policy production/web
remove subnet production/db"
	check "apply" by apply lab.yaml
	fails "the namespace" has_netns production-db
	cannot staging-dev 10.0.3.1 7 "no peering"
	exits 3 "no NAT" eval 'by nat disable production; by policy show production/web'
	check "nothing more to do" by plan lab.yaml
}

# A network that cannot be changed: all of it goes and comes, and nothing else.
test_anew() {
	snapshot_inside production-web >web
	sed -i 's/10\.1\./10.9./g' lab.yaml
	is "anew" "$(changes lab.yaml)" "remove vpc staging
add vpc staging
add subnet staging/dev"
	run by plan lab.yaml
	prints "and why" 'vpc staging: to be made anew: cidr 10\.1\.0\.0/16 → 10\.9\.0\.0/16'
	check "with operations" by apply --dry-run lab.yaml
	check "apply" by apply lab.yaml
	is "with its new address" "$(addr4 staging-dev)" 10.9.1.1
	snapshot_inside production-web >web.now
	check "the others are as they were" cmp web web.now
	sed -i 's/10\.9\./10.1./g' lab.yaml
	must by apply lab.yaml
}

# ---- whose ----

test_owners() {
	must by vpc create hand 10.7.0.0/16
	must by subnet add hand one 10.7.1.0/24
	echo 'vpcs: {hand: {cidr: 10.7.0.0/16, subnets: {one: {cidr: 10.7.1.0/24}}}}' >hand.yaml
	is "what is there, the same, and nobody's, is adopted" "$(changes hand.yaml)" "adopt vpc hand
adopt subnet hand/one"
	echo 'vpcs: {hand: {cidr: 10.8.0.0/16}}' >other.yaml
	exits 7 "what differs is a conflict" by apply other.yaml
	says "told with its place" 'other\.yaml:1:8: .*"hand".*not this file.*10\.7\.0\.0/16 → 10\.8\.0\.0/16'
	must by apply hand.yaml
	cp hand.yaml other.yaml
	exits 7 "what is another file's, too" by apply other.yaml
	says "which is named" 'belongs to /run/world/hand\.yaml'
	must by subnet add hand two 10.7.2.0/24
	must by apply hand.yaml
	check "what was made by hand stays" has_netns hand-two
	exits 7 "and is not taken along" by destroy hand.yaml
	says "named" 'hand/two'
	check "nothing of it went" has_netns hand-one
	must by subnet delete hand/two
	check "deleted by hand it is nobody's" by subnet delete hand/one
	is "and comes again" "$(changes hand.yaml)" "add subnet hand/one"
	must by apply hand.yaml
	must ip netns del hand-one
	is "what was lost comes again" "$(changes hand.yaml)" "remove subnet hand/one
add subnet hand/one"
	check "apply" by apply hand.yaml
	check "it is there" by exec hand/one -- true
	mkdir elsewhere
	mv hand.yaml elsewhere
	check "what was a file's that has moved" by apply elsewhere/hand.yaml
	prints "is adopted from where it is now" 'elsewhere/hand\.yaml: 2 adopted, 0 unchanged'
	check "nothing belongs to where it was" by destroy hand.yaml
	prints "as is said" 'hand\.yaml: nothing belongs to it'
	check "it is there" has_netns hand-one
	mv elsewhere/hand.yaml .
	must by apply hand.yaml
	check "two files" by apply lab.yaml hand.yaml
	check "destroy one" by destroy hand.yaml
	fails "it is gone" has_netns hand-one
	check "the other's are not" has_netns production-web
}

# ---- said by others ----

# would_be_lost COMMAND COMMAND-THAT-TAKES-IT-BACK
would_be_lost() {
	local -a said back
	read -ra said <<<"$1"
	read -ra back <<<"$2"
	must by "${said[@]}"
	exits 7 "$1 would be lost" by plan others.yaml
	says "told" 'is not this file.s, but would be lost'
	must by "${back[@]}"
}

test_others() {
	cat >others.yaml <<-'END'
		vpcs:
		  shop: {cidr: 10.30.0.0/16, subnets: {web: {cidr: 10.30.1.0/24, type: public}}}
		  peer: {cidr: 10.32.0.0/16}
		networks: {box: {cidr: 10.31.0.0/24, nat: false}}
		vms: {one: {network: box}}
	END
	must by apply others.yaml
	cp others.yaml first-others.yaml
	sed -i 's/10.30.1.0/10.30.2.0/' others.yaml
	would_be_lost "egress use shop/web none" "egress use shop/web nat"
	would_be_lost "policy apply shop/web policies/api.json" "policy remove shop/web"
	would_be_lost "publish shop/web 9000:9000" "unpublish shop/web 9000"
	check "with nothing said it is made anew" by apply others.yaml
	sed -i 's/10.30./10.33./g' others.yaml
	must by peer add shop peer
	exits 7 "a peering" by plan others.yaml
	says "is named" 'peering "peer/shop" is not this file'
	sed -i 's/cidr: 10.32.0.0.16/&, peers: [shop]/' others.yaml
	check "the file may say it itself" by apply others.yaml
	check "the VPCs are peers" eval '[[ $(by peer list) == *shop* ]]'
	must by nat enable shop
	must by policy apply box/one policies/api.json
	sed -i 's/, nat: false/, mtu: 1400/' others.yaml
	exits 7 "a machine's policy" by plan others.yaml
	says "is named" 'vm-policy "box/one"'
	sed -i 's/network: box}/&, two: {network: box}/; s/mtu: 1400/nat: false/' others.yaml
	check "what does not concern it is applied" by apply others.yaml
	check "and it stays" by policy verify box/one
	check "what goes for good takes all of it" by destroy others.yaml
}

# ---- names in policies ----

# group NAME: a policy that lets the workload of that name in.
group() { jq -n --arg g "$1" '{ingress: [{action: "allow", protocol: "tcp", port: 80, source: $g}]}'; }

test_names() {
	cat >names.yaml <<-'END'
		vpcs: {shop: {cidr: 10.30.0.0/16, subnets: {web: {cidr: 10.30.1.0/24, policy: policies/names.json}}}}
		networks: {box: {cidr: 10.31.0.0/24, nat: false}}
		vms:
		  one: {network: box, policy: policies/one.json}
		  two: {network: box, policy: policies/two.json}
	END
	group box/two >policies/names.json
	group box/two >policies/one.json
	group box/one >policies/two.json
	check "policies that name what comes later, and each other" by apply names.yaml
	check "a subnet's is in force" by policy verify shop/web
	like "with the address of the machine" "$(inside shop-web nft list ruleset)" \
		"$(json '.vms[] | select(.name == "two") | .address' vm list)"
	check "a machine's is in force" by policy verify box/one
	check "nothing more to do" by plan names.yaml
	sed -i '/^  two:/d' names.yaml
	exits 2 "what is named cannot go" by apply names.yaml
	says "told with the place of the name" 'names\.json:[0-9]+:[0-9]+: there will be no .*"box/two"'
	check "and is there still" by vm show box/two
	group box/oen >policies/names.json
	exits 2 "a wrong name" by plan names.yaml
	says "and the right one" 'did you mean "box/one"'
	check "destroy" by destroy names.yaml
	exits 2 "nothing is made with a wrong name" by apply names.yaml
	fails "nothing" has_netns shop-web
}

# ---- ways out ----

# Whether an operation of those that a dry run has listed comes before another.
comes_before() { awk -v a="$1" -v b="$2" '$0 ~ a {seen = 1} $0 ~ b {exit !seen} END {if (!seen) exit 1}' dry; }

# What goes out by something else, or not at all, never goes out by NAT until then.
test_ways() {
	cat >ways.yaml <<-'END'
		vpcs: {shop: {cidr: 10.30.0.0/16, nat: true, subnets: {web: {cidr: 10.30.1.0/24, type: public}}}}
		networks: {box: {cidr: 10.31.0.0/24}}
		vms: {one: {network: box, egress: none}}
	END
	must by apply ways.yaml
	sed -i 's/vms: {/&two: {network: box, ip: 10.31.0.9, egress: none}, /' ways.yaml
	sed -i 's/type: public}/&, db: {cidr: 10.30.2.0\/24, type: public, egress: none}/' ways.yaml
	by apply --dry-run ways.yaml >dry
	check "a machine has its way out before its device" comes_before 'port_own4 .*10\.31\.0\.9' 'tuntap add'
	unlike "a public subnet with another is never in the set of NAT" "$(grep 'add element inet byway nat4' dry)" '10\.30\.2\.0'
	check "apply" by apply ways.yaml
	cannot shop-db "$INTERNET4" 80 "no way out"
	sed -i 's/, type: public, egress: none//' ways.yaml
	is "it becomes private first" "$(changes ways.yaml)" "change subnet shop/db
remove use shop/db"
	check "apply" by apply ways.yaml
	sed -i 's/10.30.2.0.24/&, egress: none, type: public/' ways.yaml
	is "and public last" "$(changes ways.yaml)" "add use shop/db
change subnet shop/db"
	check "destroy" by destroy ways.yaml
}

# ---- egresses' files ----

# Nobody answers: what counts is that its process is there, and which files it reads.
test_egress_files() {
	mkdir -p one two
	echo secret >one/pass
	echo "egress: {dc: {connect: 'http://$INTERNET4:3128', username: alice, password_file: pass}}" >one/way.yaml
	check "an egress" by apply one/way.yaml
	local pid
	pid=$(json '.egresses[].pid' egress list)
	echo "egress: {dc: {username: 'alice', connect: \"http://$INTERNET4:3128\", password_file: pass}}" >one/way.yaml
	check "written in another way it is the same" by plan one/way.yaml
	mv one/* two
	check "its file moves, with the password's" by apply two/way.yaml
	is "its process goes on" "$(json '.egresses[].pid' egress list)" "$pid"
	must by egress stop dc
	is "when that has ended" "$(changes two/way.yaml)" "change process dc"
	check "the next one reads what is there now" by apply two/way.yaml
	check "destroy" by destroy two/way.yaml
}

# A key that ends apply, at whatever moment, ends it alone: not the egress that it is starting, which the next
# one would take for running while it goes.
test_key() {
	local pid moment
	echo "egress: {a: {ssh: x@$INTERNET4}, b: {ssh: y@$INTERNET4, via: a}}" >key.yaml
	for moment in 0.04 0.08 0.12 0.16 0.2 0.24 0.28 0.32; do
		env --default-signal=INT setsid "$BYWAY" apply key.yaml >/dev/null 2>&1 &
		pid=$!
		pause "$moment"
		kill -INT -- "-$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
		must by apply key.yaml
		check "what ^C after $moment s left is finished by the next" by plan key.yaml
		must by destroy key.yaml
	done
}

# ---- clones ----

test_clones() {
	cat >clones.yaml <<-'END'
		networks: {box: {cidr: 10.31.0.0/24}}
		vms:
		  one: {network: box, netns: c1, tap_name: tap-one, ip: 10.31.0.9, mac: "02:00:00:00:00:09"}
		  two: {network: box, netns: c2, tap_name: tap-one, ip: 10.31.0.9, mac: "02:00:00:00:00:09", egress: none}
	END
	check "clones" by apply clones.yaml
	is "are the same inside" "$(json '[.vms[].clone | values | "\(.tap) \(.address) \(.mac)"] | unique | join(",")' vm list)" \
		"tap-one 10.31.0.9 02:00:00:00:00:09"
	is "each in its namespace" "$(json '[.vms[].clone | values | .namespace] | join(" ")' vm list)" "c1 c2"
	check "with its device" inside c2 ip link show tap-one
	check "nothing more to do" by plan clones.yaml
	sed -i 's/netns: c1, tap_name: tap-one/netns: c1/; s/netns: c2, /netns: c3, /' clones.yaml
	run by plan clones.yaml
	prints "another device is a difference" 'box/one: to be made anew: tap_name tap-one → tap0'
	prints "another namespace, too" 'box/two: to be made anew: netns c2 → c3'
	check "apply" by apply clones.yaml
	fails "the one of before is gone" has_netns c2
	must inside c3 ip link del tap-one
	is "a device that is gone" "$(changes clones.yaml)" "remove vm box/two
add vm box/two
add vm-use box/two"
	sed -i 's/netns: c1, //' clones.yaml
	run by plan clones.yaml
	prints "no clone any more" 'box/one: to be made anew: kind clone → tap'
	check "apply" by apply clones.yaml
	check "nothing more to do" by plan clones.yaml
	check "destroy" by destroy clones.yaml
}

# ---- published ports ----

test_publish() {
	printf '%s\n' 'vpcs:' '  shop:' '    cidr: 10.30.0.0/16' '    subnets:' \
		'      web: {cidr: 10.30.1.0/24, publish: ["8080:80", "8007-8008:7-8/tcp"]}' \
		'      db: {cidr: 10.30.2.0/24}' >shop.yaml
	check "ports of a subnet" by apply shop.yaml
	web_server shop-web 80
	like "lead there" "$(get internet "http://$HOST4:8080/")" 'hello from shop-web'
	check "nothing more to do" by plan shop.yaml
	sed -i 's/, "8007-8008:7-8.tcp"//; s/10.30.2.0.24/&, publish: ["8007:7"]/' shop.yaml
	is "one goes elsewhere, one goes" "$(changes shop.yaml)" "remove publish 8007/tcp
remove publish 8008/tcp
add publish 8007/tcp"
	check "apply" by apply shop.yaml
	says "all that go at once" '\[2/3\] removing publish 8007/tcp and 1 more'
	is "as the file says" "$(json '[.published[] | "\(.host_port) \(.target)"] | sort | join(", ")' publish list)" \
		"8007 db, 8080 web"
	must by publish shop/db 9000:9000
	must by apply shop.yaml
	like "what was published by hand stays" "$(by publish list)" 9000
	exits 7 "and is in the way of a file's" by apply <(sed 's/8007:7/9000:1/' shop.yaml)
	stop web-shop-web
	check "destroy" by destroy shop.yaml
	check "nothing is published" eval '[[ $(by publish list | wc -l) == 1 ]]'
}

# ---- what gateways serve ----

test_services() {
	echo 'networks: {names: {cidr: 10.40.0.0/24, dhcp: true}}' >names.yaml
	check "a network with DHCP" by apply names.yaml
	is "and names" "$(json '"\(.dns) \(.dhcp)"' network show names)" "true true"
	check "nothing more to do" by plan names.yaml
	must kill -9 "$(pgrep -f 'dns run names')"
	wait_for eval '! by plan names.yaml'
	is "that nobody serves is a difference" "$(changes names.yaml)" "repair vpc names"
	check "apply" by apply names.yaml
	check "somebody does" by plan names.yaml
	sed -i 's/dhcp: true/dns: true/' names.yaml
	check "names alone" by apply names.yaml
	is "no addresses any more" "$(json '"\(.dns) \(.dhcp)"' network show names)" "true false"
	sed -i 's/, dns: true//' names.yaml
	check "none" by apply names.yaml
	check "nothing more to do" by plan names.yaml
	check "destroy" by destroy names.yaml
}

# ---- failures ----

test_failure() {
	cat >fails.yaml <<-'END'
		vpcs: {early: {cidr: 10.20.0.0/16, subnets: {a: {cidr: 10.20.1.0/24}, b: {cidr: 10.20.2.0/24}}}}
		networks: {late: {cidr: 10.21.0.0/24, nat: false}, later: {cidr: 10.22.0.0/24, nat: false}}
		vms: {one: {network: late}, two: {network: late, ip: 10.21.0.2}, three: {network: later}}
	END
	exits 7 "a failure half-way" by apply fails.yaml
	says "says what is done" 'fails\.yaml: 5 of 8 changes are done. Not done:'
	says "and what failed" '\+ vm late/two: .*\(failed\)'
	says "for which reason" "VM 'late/two': 10\.21\.0\.2 is leased to vm/one"
	says "and what was not begun" '\+ vm later/three: in later'
	check "what was done is there" has_netns early-a
	exits 3 "a network's machines come together, or none does" by vm show late/one
	is "--json says it, too" "$(by apply fails.yaml --json 2>/dev/null |
		jq -r '.error, (.files[0].changes[] | "\(.name) \(.state)")' | sed 1d)" "late/one failed
late/two failed
later/three pending"
	sed -i 's/, ip: 10.21.0.2//' fails.yaml
	check "the next one goes on from there" by apply fails.yaml
	prints "with what is left" '3 added, 5 unchanged'
	check "destroy" by destroy fails.yaml
}

# ---- together ----

# VPCs that go, go at once: peers of each other and of one that stays, some the only ones of their way out.
test_together() {
	must by vpc create stays 10.60.0.0/16
	must by subnet add stays one 10.60.1.0/24 --type public
	must by nat enable stays
	must by subnet add stays two 10.60.2.0/24
	must by egress use stays/two none
	must ip link add wan type bridge
	snapshot_host >stays
	cat >many.yaml <<-'END'
		vpcs:
		  a: {cidr: 10.61.0.0/16, nat: eth0, peers: [b], subnets: {one: {cidr: 10.61.1.0/24, type: public}}}
		  b: {cidr: 10.62.0.0/16, nat: wan, cidr6: fd62::/48, peers: [c], subnets: {one: {cidr: 10.62.1.0/24, type: public}}}
		  c: {cidr: 10.63.0.0/16, subnets: {one: {cidr: 10.63.1.0/24, egress: none, publish: ["8063:80"]}}}
		networks: {d: {cidr: 10.64.0.0/24, dns: true}}
		vms: {m: {network: d, rate: "1M,1M", policy: policies/api.json}, n: {network: c/one}}
	END
	must by apply many.yaml
	must by peer add a stays
	sed -i 's/^  b: /  e: /; s/\[b\]/[e]/; s/10\.62/10.65/g' many.yaml
	is "one goes and one comes" "$(changes many.yaml | grep ' vpc ')" "remove vpc b
add vpc e"
	must by apply many.yaml
	check "destroy" by destroy many.yaml
	says "all that go at once" 'removing vpc a and 3 more'
	check "the one that stays is as it was" same_as stays
	must by apply many.yaml
	check "by command, too" by vpc delete a nothing e a c d
	says "what is not there is said" "there is no VPC 'nothing'"
	prints "what was, is counted" 'deleted 4 of 6'
	check "the one that stays is as it was" same_as stays
	must by vpc delete stays
	must ip link del wan
}

# ---- gone ----

test_destroy() {
	rm lab.yaml
	check "destroy, with the file gone" by destroy lab.yaml
	check "again" by destroy lab.yaml
	check "nothing is left" same_as before
	cp first.yaml lab.yaml
	policy 'allow tcp 80 -' >policies/web.json
	must by apply lab.yaml
	sed -i '/^vpcs:/,/^networks:/{/^networks:/!d}' lab.yaml
	must by destroy lab.yaml
	check "whatever the file says by then" same_as before
}

snapshot_host >before
test_validate
test_plan
test_apply
test_again
test_flushed
test_damaged
test_change
test_remove
test_anew
test_owners
test_others
test_names
test_ways
test_egress_files
test_key
test_clones
test_publish
test_services
test_failure
test_together
stop_all
test_destroy
done_testing
