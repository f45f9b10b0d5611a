#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Examples without ways out of their own: each applied, tried, changed, applied again and destroyed.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/vm.sh"
world_enter "$@"

# shellcheck source=tests/lib/examples.sh
. "$WORLD_LIB/examples.sh"

test_lab() {
	check "lab.yaml" by apply lab.yaml
	web_server internet 80
	web_server production-web-tier 80
	echo_server production-db-tier 5432
	echo_server production-web-tier 7
	like "web-tier goes out as the host" "$(get production-web-tier "http://$INTERNET4/")" "to $HOST4"
	cannot production-db-tier "$INTERNET4" 80
	cannot staging-dev "$INTERNET4" 80
	can production-web-tier 10.0.2.1 5432 "the database"
	cannot production-db-tier 10.0.1.1 80 "the database begins nothing"
	can staging-dev 10.0.1.1 80 "by the peering"
	cannot staging-dev 10.0.1.1 7 "the policy"
	cannot staging-dev 10.0.2.1 5432 "not among the peers' networks"
	proved production staging
	again lab.yaml
	flow_open kept production-web-tier 10.0.2.1 5432
	sed -i 's/^      dev: .*/&\n      test: {cidr: 10.1.2.0\/24, type: public}/; s/, 10.1.1.0.24/, 10.1.0.0\/16/' lab.yaml
	sed -i 's/^    cidr: 10.1.0.0.16/&\n    nat: true/' lab.yaml
	check "lab.yaml: changed" by apply lab.yaml
	can staging-test "$INTERNET4" 80
	cannot staging-dev "$INTERNET4" 80 "still"
	can staging-test 10.0.1.1 80 "by the peering"
	check "the database kept its connection" flow_works kept
	flow_close kept
	again lab.yaml
	stop_all
	check "lab.yaml: destroyed" by destroy lab.yaml
	check "nothing is left" all_same_as before
}

test_microvm_host() {
	local nobody
	nobody=$(id -u nobody)
	check "microvm-host.yaml" by apply microvm-host.yaml
	for name in build preview service; do
		boot "pods/$name" "$name" "$nobody"
	done
	is "the address that others know" "$(addr4 service)" 10.10.0.80
	is "two queues" "$(vm pods/service queues)" 2
	web_server internet 80
	web_server service 80
	like "all go out as the host" "$(get build "http://$INTERNET4/")" "to $HOST4"
	can build 10.10.0.80 80 "the service"
	like "which a port of the host leads to" "$(get internet "http://$HOST4:8080/")" 'hello from service'
	cannot build "ping:$(addr4 preview)" 0 "isolated"
	like "not too fast" "$(tc qdisc show dev "$(vm pods/build interface)")" 'rate 100Mbit'
	proved pods/build
	again microvm-host.yaml
	flow_open kept service "$INTERNET4" 80
	sed -i '/^  preview:/,/rate:/d; s/100M,20M/50M,0/' microvm-host.yaml
	exits 10 "microvm-host.yaml: a machine less, another rate" by plan microvm-host.yaml
	check "microvm-host.yaml: changed" by apply microvm-host.yaml
	exits 3 "the machine is gone" by vm show pods/preview
	like "the rate is the new one" "$(tc qdisc show dev "$(vm pods/build interface)")" 'rate 50Mbit'
	can build "$INTERNET4" 80 "at that rate"
	again microvm-host.yaml
	flow_close kept
	stop web-internet
	stop web-service
	shut_down build preview service
	check "microvm-host.yaml: destroyed" by destroy microvm-host.yaml
	check "nothing is left" all_same_as before
}

snapshot before
test_lab
test_microvm_host
done_testing
