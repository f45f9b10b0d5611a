#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file with ways out: egresses over a real SSH server and a real proxy, one by the other; who uses which; what
# becomes of it when the file changes, and when processes are killed. Nothing leaves beside them meanwhile.
# shellcheck disable=SC2154 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/egress.sh
. "$WORLD_LIB/egress.sh"

LAB=production-lab WEB=production-web

write_file() { # SPEC-OF-BASTION LAB'S-EGRESS
	cat >lab.yaml <<-END
		vpcs:
		  production:
		    cidr: 10.0.0.0/16
		    nat: true
		    subnets:
		      web: {cidr: 10.0.1.0/24, type: public}
		      lab: {cidr: 10.0.3.0/24, type: public, egress: $2}
		networks:
		  box: {cidr: 10.2.0.0/24, egress: none}
		vms:
		  agent: {network: box, egress: dc}
		egress:
		  dc: $(connect_spec "$PROXY" "")
		  bastion: $1
	END
}

lay_out() {
	egress_servers_start
	resolvers_start
	web_server internet 8080
	start_observer
	snapshot_host >before
	write_file "$(ssh_spec "root@$SSH_SERVER" "")" bastion
}

changes() { json '.files[].changes[] | "\(.action) \(.kind) \(.name)"' plan lab.yaml; }
page() { get "$1" "http://$2:8080/"; }
without_processes() { diff <(grep -v ^process before) <(snapshot_host | grep -v ^process); }

test_apply() {
	local tables
	sed 's/egress: bastion/egress: bastoin/' lab.yaml >wrong.yaml
	exits 2 "an egress that is not there" by validate wrong.yaml
	says "is found out" 'wrong\.yaml:7:54: there is no egress "bastoin".*did you mean "bastion"'
	is "ways out before NAT" "$(changes | grep -E 'egress|use|nat|process|vm')" "add egress dc
add egress bastion
add use production/lab
add use box
add nat production
add nat box
add vm box/agent
add vm-use box/agent
change process dc
change process bastion"
	begin_watch
	check "apply" by apply lab.yaml
	wait_for egress_is bastion up
	wait_for egress_is dc up
	like "lab goes out by ssh" "$(page $LAB "$INTERNET4")" 'to (203.0.113.10|127\.0\.0\.1|192\.0\.2\.1)'
	like "web by NAT" "$(page $WEB "$INTERNET4")" "to $HOST4"
	is "the machine by the proxy" "$(json '.egresses[] | select(.name == "dc") | .users | join(" ")' egress list)" box/agent
	check "nothing more to do" by plan lab.yaml
	must ip rule del priority 9810
	is "a rule that is gone is a difference" "$(changes)" "repair rules host"
	check "applied again" by apply lab.yaml
	check "it is there" eval '[[ -n $(ip rule list priority 9810) ]]'
	check "nothing more to do" by plan lab.yaml
	tables=$(nft list tables | sort)
	nft flush ruleset
	is "so are tables" "$(changes)" "repair rules host"
	check "applied again" by apply lab.yaml
	is "they are all there, also those of what carries" "$(nft list tables | sort)" "$tables"
	check "and it goes on" page $LAB "$INTERNET4"
	check "nothing more to do" by plan lab.yaml
	check "applied again" by apply lab.yaml
	prints "it changes nothing" '^[^ ]+: [0-9]+ unchanged$'
}

test_killed() {
	local pids
	read -ra pids < <(egress_pids bastion)
	begin_watch
	kill -9 "${pids[@]}"
	wait_for egress_is bastion down
	spray $LAB
	check "nothing leaks while it is down" nothing_leaked
	is "that it does not run is a difference" "$(changes)" "change process bastion"
	check "apply starts it" by apply lab.yaml
	wait_for egress_is bastion up
	check "and it goes on" page $LAB "$INTERNET4"
}

test_change() {
	local dc
	dc=$(egress dc .pid)
	write_file "$(ssh_spec "root@$SSH_SERVER" ", via: dc")" '[bastion, dc]'
	is "what differs" "$(changes)" "change egress bastion
change use production/lab
change process bastion"
	begin_watch
	check "apply" by apply lab.yaml
	wait_for egress_is bastion up
	check "by ssh, through the proxy" page $LAB "$INTERNET4"
	is "the proxy's process was left alone" "$(egress dc .pid)" "$dc"
	write_file "$(ssh_spec "root@$SSH_SERVER" "")" dc
	sed -i '/^  bastion:/d' lab.yaml
	is "an egress goes last" "$(changes)" "change use production/lab
remove egress bastion"
	check "apply" by apply lab.yaml
	exits 3 "it is gone" by egress show bastion
	check "by the proxy" page $LAB "$INTERNET4"
	sed -i 's/, egress: dc}/}/' lab.yaml
	sed -i '/^vms:/,$d' lab.yaml
	is "nobody uses it, and it goes" "$(changes)" "remove vm box/agent
remove use production/lab
remove egress dc"
	check "apply" by apply lab.yaml
	like "by NAT" "$(page $LAB "$INTERNET4")" "to $HOST4"
	check "nothing more to do" by plan lab.yaml
}

test_new_via() {
	write_file "$(ssh_spec "root@$SSH_SERVER" "")" bastion
	must by apply lab.yaml
	write_file "$(ssh_spec "root@$SSH_SERVER" ", via: front")" bastion
	echo "  front: $(connect_spec "$PROXY" "")" >>lab.yaml
	is "one that is there goes out by one that is new" "$(changes)" "add egress front
change egress bastion
change process front
change process bastion"
	check "apply" by apply lab.yaml
	wait_for egress_is bastion up
	check "by both" page $LAB "$INTERNET4"
}

test_destroy() {
	write_file "$(ssh_spec "root@$SSH_SERVER" ", via: dc")" bastion
	must by apply lab.yaml
	wait_for egress_is bastion up
	check "with operations" by apply --dry-run lab.yaml
	check "destroy" by destroy lab.yaml
	check "again" by destroy lab.yaml
	is "no egress is left" "$(json '.egresses | length' egress list)" 0
	wait_for without_processes
	check "nothing is left" without_processes
	fails "and no process" pgrep -f 'byway.*egress'
}

lay_out
test_apply
test_killed
test_change
test_new_via
test_destroy
stop_all
done_testing
