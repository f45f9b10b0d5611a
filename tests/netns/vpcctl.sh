#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The same program under the name vpcctl takes that tool's command line.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

ln -s "$BYWAY" "$WORLD/vpcctl"
vpcctl() { "$WORLD/vpcctl" "$@"; }

policy_for() {
	policy "allow tcp 80 -" | jq '. + {subnet: "10.0.1.0/24", namespace: "production-web-tier"}'
}

test_session() {
	check "create" vpcctl create production 10.0.0.0/16
	check "add-subnet --type" vpcctl add-subnet production web-tier 10.0.1.0/24 --type public
	check "add-subnet" vpcctl add-subnet production db-tier 10.0.2.0/24
	check "enable-nat" vpcctl enable-nat production --interface eth0
	must vpcctl create staging 10.1.0.0/16
	check "peer" vpcctl peer production staging
	check "list" vpcctl list
	prints "names both" 'production(.|\n)*staging'
	check "inspect" vpcctl inspect production
	check "exec" vpcctl exec production/web-tier -- true
	echo_server production-web-tier 80
	echo_server production-web-tier 81
	policy_for >web.json
	check "apply-policy" vpcctl apply-policy web.json
	can production-db-tier "$(addr4 production-web-tier)" 80
	cannot production-db-tier "$(addr4 production-web-tier)" 81
}

# What byway takes before its command, vpcctl takes before its own.
test_globals() {
	check "--json" vpcctl --json list
	check "prints JSON" jq -e '.schema == "byway.vpc.list/1"' "$TAP_OUTPUT"
	check "--dry-run" vpcctl --dry-run delete staging
	prints "lists operations" 'br-staging'
	check "and does none" has_link br-staging
	check "of a policy, too" vpcctl --dry-run apply-policy web.json
	prints "the same" 'ingress'
	check "-v" vpcctl -v peer production staging --allow 10.0.1.0/24
	says "echoes operations" 'reach4'
	check "help of a command" vpcctl apply-policy --help
	prints "is byway's" 'policy apply'
}

test_same_state() {
	is "byway sees what vpcctl made" "$(json '[.vpcs[].name] | sort | join(" ")' vpc list)" \
		"production staging"
	check "the state file is where vpcctl had it" jq -e '.name == "production"' \
		/var/run/vpcctl/production.json
}

test_mistakes() {
	exits 2 "an unknown command" vpcctl destroy production
	exits 2 "a missing argument" vpcctl create production
	exits 2 "a missing file" vpcctl apply-policy
	says "says what it takes" 'vpcctl apply-policy FILE'
	exits 2 "an unknown option before the command" vpcctl --jsn list
	says "suggests" 'json'
	exits 7 "a duplicate" vpcctl create production 10.5.0.0/16
	exits 0 "help" vpcctl --help
	prints "describes vpcctl's commands" 'add-subnet'
	policy "allow tcp 80 -" >nameless.json
	fails "a policy that does not say where" vpcctl apply-policy nameless.json
}

snapshot_host >"$WORLD/before"
test_session
test_globals
test_same_state
test_mistakes
stop_all
check "delete" vpcctl delete production
check "delete the other" vpcctl delete staging
check "nothing is left" same_as "$WORLD/before"
done_testing
