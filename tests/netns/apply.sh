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
	is "only what differs" "$(changes lab.yaml)" "remove vm pods/m1
change subnet production/web
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
	check "two files" by apply lab.yaml hand.yaml
	check "destroy one" by destroy hand.yaml
	fails "it is gone" has_netns hand-one
	check "the other's are not" has_netns production-web
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
	is "that nobody serves is a difference" "$(changes names.yaml)" "change vpc names"
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
		networks: {late: {cidr: 10.21.0.0/24, nat: false}}
		vms: {one: {network: late}, two: {network: late, ip: 10.21.0.2}, three: {network: late}}
	END
	exits 7 "a failure half-way" by apply fails.yaml
	says "says what is done" 'fails\.yaml: 5 of 7 changes are done. Not done:'
	says "and what failed" '\+ vm late/two: .*\(failed\)'
	says "and what was not begun" '\+ vm late/three: in late'
	check "what was done is there" has_netns early-a
	is "--json says it, too" "$(by apply fails.yaml --json 2>/dev/null |
		jq -r '.error, (.files[0].changes[] | "\(.name) \(.state)")' | sed 1d)" "late/two failed
late/three pending"
	sed -i 's/, ip: 10.21.0.2//' fails.yaml
	check "the next one goes on from there" by apply fails.yaml
	prints "with what is left" '2 added, 5 unchanged'
	check "destroy" by destroy fails.yaml
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
test_change
test_remove
test_anew
test_owners
test_publish
test_services
test_failure
stop_all
test_destroy
done_testing
