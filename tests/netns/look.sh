#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Looking at the machine: one table, numbers, again and again, on a terminal and without.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

lay_out() {
	must by vpc create shop 10.0.0.0/16
	must by subnet add shop web 10.0.1.0/24 --type public
	must by subnet add shop db 10.0.2.0/24
	must by nat enable shop
	must by vpc create lab 10.1.0.0/16
	must by subnet add lab dev 10.1.1.0/24
	must by peer add lab shop
	must by network up
	must by vm add micropod0 api
}

# of KIND NAME MEMBER: in the JSON.
of() { by status --json | jq -r "$1 | select(.name == \"$2\") | .$3"; }
subnet() { of '.vpcs[].subnets[]' "$@"; }
vpc() { of '.vpcs[]' "$@"; }
is_condition() { [[ $("$1" "$2" condition) == "$3" ]]; }
link_is_gone() { ! ip link show "$1"; }

# ---- one look ----

test_table() {
	check "status" by status
	prints "a VPC with its network" 'shop +vpc +up +10\.0\.0\.0/16 '
	prints "a subnet below it" '[├|][─-]+ web +public +up +10\.0\.1\.[0-9]+ '
	prints "its way out" 'way out +nat +up +eth0'
	prints "a peering, in one VPC" '[└`][─-]+ lab +peer +up'
	prints "and in the other" '[└`][─-]+ shop +peer +up'
	prints "a machine that nobody runs yet" 'api +vm +idle +10\.10\.0\.'
	prints "the interface they go out by" 'eth0 +interface +up '
	unlike "no colours in a file" "$(out)" $'\033'
	is "within 80 columns" "$(wc -L <"$TAP_OUTPUT" | awk '{ print $1 <= 80 }')" 1
	LC_ALL=C run by status
	like "in ASCII where the locale has nothing else" "$(out)" '\|- db'
	LC_ALL=C.UTF-8 run by status
	like "with lines where it has" "$(out)" '├─ db'
}

test_numbers() {
	local before
	is "a subnet's condition" "$(subnet web condition)" up
	is "nothing wrong with it" "$(subnet web error)" null
	is "its addresses in use" "$(subnet web addresses_leased)" 1
	is "and free" "$(subnet web addresses_free)" 253
	before=$(subnet web rx_bytes)
	can shop-web "ping:$INTERNET4"
	is "what came to it is counted as it sees it" \
		"$(($(subnet web rx_bytes) - before >= 84 && $(subnet web tx_bytes) >= 84))" 1
	is "the same as by ip(8), inside" "$(subnet web tx_bytes)" \
		"$(ip -n shop-web -s -j link show "$(dev_of shop-web)" | jq '.[0].stats64.tx.bytes')"
}

# ---- what is wrong ----

test_wrong() {
	ip -n shop-db link set "$(dev_of shop-db)" down
	check "a link that is down" wait_for is_condition subnet db down
	ip -n shop-db link set "$(dev_of shop-db)" up
	check "and up again" wait_for is_condition subnet db up
	ip link del br-lab
	is "a bridge that is gone" "$(vpc lab condition)" missing
	check "is in the table" by status
	prints "with what to do" '! interface br-lab is gone: .byway gc.'
	run by vpc delete lab
	by vpc create lab 10.1.0.0/16 >/dev/null
}

# ---- again and again ----

watched() { grep -q "$1" "$WORLD/watched"; }

test_watch_file() {
	"$BYWAY" status --watch >"$WORLD/watched" 2>&1 &
	PIDS["watch"]=$!
	check "the first look has totals, the next rates" wait_for watched 'RX/s'
	kill "${PIDS["watch"]}"
	wait "${PIDS["watch"]}"
	is "SIGTERM ends it well" $? 0
	is "a blank line between two looks" \
		"$(awk '/^NAME/ && NR > 1 && before != "" { bad = 1 } { before = $0 } END { print bad + 0 }' "$WORLD/watched")" 0
	unlike "nothing for terminals" "$(cat "$WORLD/watched")" $'\033'
	"$BYWAY" status --watch --json >"$WORLD/watched" 2>&1 &
	PIDS["watch"]=$!
	check "as JSON, a line each" wait_for watched '"rx_rate"'
	stop watch
	is "each with its schema" "$(jq -r .schema "$WORLD/watched" | sort -u)" byway.status/1
}

# on_terminal ROWS COLUMNS COMMAND...: on a terminal of that size; what it shows is in $WORLD/watched.
on_terminal() {
	local rows=$1 columns=$2
	shift 2
	TERM=xterm LC_ALL=C.UTF-8 script -qfec "stty rows $rows cols $columns; exec $*" "$WORLD/watched" \
		>/dev/null 2>&1 </dev/null &
	PIDS["terminal"]=$!
}

end_watch() {
	wait_for pgrep -fx "$BYWAY status --watch"
	kill "-${1:-TERM}" "$(pgrep -fx "$BYWAY status --watch")"
	wait "${PIDS["terminal"]}"
}

test_watch_terminal() {
	on_terminal 40 100 "$BYWAY" status --watch
	check "on a terminal" wait_for watched 'RX/s'
	end_watch INT
	is "Ctrl-C ends it well" $? 0
	like "it goes to the other screen" "$(cat "$WORLD/watched")" $'\033\\[\\?1049h'
	like "and comes back, with the cursor" "$(tail -c 200 "$WORLD/watched")" $'\033\\[\\?25h\033\\[\\?1049l'
	like "in colours" "$(cat "$WORLD/watched")" $'\033\\[32mup\033\\[0m'
	on_terminal 8 60 env NO_COLOR=1 "$BYWAY" status --watch
	check "on a small one" wait_for watched 'RX/s'
	end_watch
	unlike "NO_COLOR" "$(cat "$WORLD/watched")" $'\033\\[32m'
	is "no line is longer than the terminal" \
		"$(sed 's/\x1b\[[?0-9]*[a-zA-Z]//g' "$WORLD/watched" | grep -E '^(.{0,3} )?(micropod0|shop|way out)' |
			LC_ALL=C.UTF-8 wc -L | awk '{ print $1 <= 61 }')" 1
	like "what there is no room for is left out" "$(cat "$WORLD/watched")" '\.\.\.'
}

test_refusals() {
	exits 2 "an interval of nothing" by status --watch --interval 0
}

# ---- numbers ----

# By the format's own reader, where there is one.
parse_metrics() {
	/usr/bin/python3 - "$1" <<-'END'
		import sys
		from prometheus_client.parser import text_string_to_metric_families as parse
		seen = set()
		for family in parse(open(sys.argv[1]).read()):
		    assert family.documentation and family.type in ("counter", "gauge"), family
		    for s in family.samples:
		        key = (s.name, tuple(sorted(s.labels.items())))
		        assert key not in seen, key
		        seen.add(key)
		print(len(seen))
	END
}

test_metrics() {
	by metrics >"$WORLD/metrics"
	check "metrics" test -s "$WORLD/metrics"
	like "of a subnet" "$(cat "$WORLD/metrics")" 'byway_subnet_up\{subnet="web",vpc="shop"\} 1'
	like "of a machine" "$(cat "$WORLD/metrics")" 'byway_vm_condition\{vm="api",network="micropod0",condition="idle"\} 1'
	like "of addresses" "$(cat "$WORLD/metrics")" 'byway_vpc_addresses_leased\{vpc="micropod0"\} 1'
	if /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null; then
		check "Prometheus' own client reads them" parse_metrics "$WORLD/metrics"
	else
		skip "Prometheus' own client reads them" "python3-prometheus-client is not installed"
	fi
}

check "a machine with nothing on it" by status
prints "says so" 'nothing is set up'
lay_out
test_table
test_numbers
test_watch_file
test_watch_terminal
test_refusals
test_metrics
test_wrong
done_testing
