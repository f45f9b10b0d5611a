#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Looking at the machine: one table, numbers, again and again, on a terminal and without.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

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
	must ip link add wan0 type bridge
	must by nat enable lab -i wan0
	must ip link del wan0
	run by status
	prints "a way out that is gone" '! interface wan0 is gone: nothing leaves by it'
	must by nat disable lab
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
	rm -f "$WORLD/watched"
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

# ---- pictures ----

test_graph() {
	LC_ALL=C run by graph
	like "graph" "$(out)" '^internet'
	prints "what goes out by an interface" '`-- eth0  interface'
	prints "a VPC below it" '(.-- |[|] +)shop  vpc 10\.0\.0\.0/16'
	prints "its subnets below that" '-- db  private 10\.0\.2\.0/24'
	prints "and its peers" '-- peers with lab'
	prints "a machine, idle" '-- api  vm 10\.10\.0\.2  idle'
	prints "what does not go out stands apart" 'without NAT(.|\n)*-- lab  vpc'
	LC_ALL=C.UTF-8 run by graph
	like "with lines" "$(out)" '└── eth0'
	LC_ALL=C.UTF-8 run by graph --ascii
	unlike "or without" "$(out)" '└'
	check "for Graphviz" by graph --dot
	prints "a box for each VPC" 'subgraph "cluster shop"'
	prints "a way out" '"vpc shop" -> "interface eth0" \[label="NAT"\]'
	exits 2 "one form at a time" by graph --dot --svg
}

test_svg() {
	if ! command -v dot >/dev/null; then
		skip "as SVG" "graphviz is not installed"
		return
	fi
	by graph --dot >"$WORLD/graph.dot"
	check "Graphviz takes it" dot -Tcanon -o /dev/null "$WORLD/graph.dot"
	check "as SVG" by graph --svg
	prints "a picture" '<svg '
	prints "with the names" '>web<'
	mount --bind /dev/null "$(command -v dot)"
	exits 9 "without Graphviz" by graph --svg
	like "it says what is missing" "$(err)" 'apt install graphviz'
	umount "$(command -v dot)"
}

# ---- events ----

# happened FILTER: an event that jq(1) selects.
happened() { jq -es "map(select($1)) | length > 0" "$WORLD/events"; }
# event WHAT KIND ID [CONDITION]
event() {
	happened ".event == \"$1\" and .kind == \"$2\" and .id == \"$3\"${4:+ and .condition == \"$4\"}"
}
sees() { check "$1 $2 $3${4:+ $4}" wait_for event "$@"; }

events_begin() {
	"$BYWAY" events --json "$@" >"$WORLD/events" 2>"$WORLD/events.err" &
	PIDS["events"]=$!
}

# Times that the process of the events was given the processor.
switches() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/${PIDS["events"]}/status"; }
# at_rest [SECONDS]: it does not run at all. What the kernel takes away in its own time is over by then, or soon.
at_rest() {
	local before
	before=$(switches)
	pause "${1:-1}"
	[[ $(switches) == "$before" ]]
}

test_events() {
	events_begin --snapshot
	sees present subnet shop/web up
	sees present vm micropod0/api idle
	must by subnet add shop cache 10.0.3.0/24
	sees added subnet shop/cache
	check "which comes up" wait_for happened '.id == "shop/cache" and .condition == "up"'
	ip link set "$(port_of shop-cache)" down
	check "changed, and what it was" wait_for happened \
		'.event == "changed" and .id == "shop/cache" and .condition == "down" and .was.condition == "up"'
	must by subnet delete shop/cache
	sees removed subnet shop/cache
	must by peer delete lab shop
	sees removed peer lab/shop
	must by peer add lab shop
	sees added peer lab/shop
	must by nat disable shop
	sees removed nat shop
	must by nat enable shop
	sees added nat shop
	is "numbered one by one" "$(jq -s 'map(.seq) == [range(1; length + 1)]' "$WORLD/events")" true
	is "with a schema" "$(jq -r .schema "$WORLD/events" | sort -u)" byway.event/1
	check "while nothing changes, it does not run at all" wait_for at_rest 4
	is "with nothing on standard error" "$(cat "$WORLD/events.err")" ""
	stop events
}

# A proxy that nobody is: the tunnel stands, and says so.
test_events_of_tunnels() {
	events_begin --snapshot
	sees present vpc shop
	must by proxy up --detach --proxy-host "$INTERNET4" --proxy-port 9 --in shop-web --allow-dns "$INTERNET4"
	sees added tunnel shop-web
	kill -KILL "$(by proxy status --json | jq '.tunnels[0].pid')"
	sees changed tunnel shop-web killed
	LC_ALL=C run by status
	prints "status has it" 'shop-web +proxy +killed +'"$INTERNET4"
	must by proxy down --in shop-web
	sees removed tunnel shop-web
	stop events
}

# An egress by a proxy that nobody is.
test_egress() {
	must by egress add out "{connect: 'http://$INTERNET4:9'}"
	must by egress use shop/db out
	must by egress use shop/web none
	must by publish micropod0/api 8080:80/tcp
	events_begin --snapshot
	sees present egress out down
	must by egress run out --detach
	sees changed egress out connecting
	is "it is told once, not with what it is made of" "$(by status --json | jq -c '[(.tunnels, .sessions | length), .egresses[0].name, .egresses[0].interface]')" \
		'[0,0,"out","eth0"]'
	LC_ALL=C run by status
	prints "who goes out by it" 'db +private +up +10\.0\.2\.[0-9]+ > out'
	prints "who does not go out" 'web +public +up +10\.0\.1\.[0-9]+ > none'
	prints "itself" $'\nout +connect +connecting +'"$INTERNET4"
	LC_ALL=C run by graph
	prints "in the tree" '-- out  connect '"$INTERNET4"'  connecting'
	like "for Graphviz" "$(by graph --dot)" '"subnet shop/db" -> "egress out"'
	like "for Prometheus" "$(by metrics)" 'byway_egress_state\{egress="out",kind="connect",state="connecting"\} 1'
	is "ports of the host" "$(by status --json | jq -c '.vpcs[].vms[].published')" '["8080:80/tcp"]'
	must by egress stop out
	sees changed egress out down
	must by egress use host out --exclude 192.0.2.0/24
	is "the host that goes out by it" "$(by status --json | jq -c '.hosts')" \
		'[{"name":"host","egress":"out","exclude":["192.0.2.0/24"],"state":"blocked","by":null,"condition":"blocked","error":null}]'
	sees added host host blocked
	like "in the table" "$(by status)" 'host +host +blocked +out'
	like "in the tree" "$(LC_ALL=C by graph)" 'host  this machine > out  blocked'
	like "for Graphviz" "$(by graph --dot)" '"host host" -> "egress out"'
	like "for Prometheus" "$(by metrics)" 'byway_host_up\{host="host"\} 0'
	must by egress use host nat
	stop events
	must by egress use shop/db nat
	must by egress use shop/web nat
	must by egress delete out
	must by unpublish micropod0/api 8080:80/tcp
}

# From nothing, and to nothing: also the folder of the state goes and comes.
test_events_of_everything() {
	must by reset
	events_begin
	check "at rest without any state" wait_for at_rest
	must by vpc create shop 10.0.0.0/16
	sees added vpc shop
	must by reset
	sees removed vpc shop
	must by vpc create other 10.0.0.0/16
	sees added vpc other
	stop events
	"$BYWAY" events >"$WORLD/events" &
	PIDS["events"]=$!
	check "as text" wait_for at_rest
	must by vpc delete other
	check "a line" wait_for grep -qE '^[0-9T:Z-]+  removed   vpc other' "$WORLD/events"
	stop events
}

check "a machine with nothing on it" by status
prints "says so" 'nothing is set up'
lay_out_shop
test_table
test_numbers
test_watch_file
test_watch_terminal
test_refusals
test_metrics
test_graph
test_svg
test_events
test_events_of_tunnels
test_egress
test_wrong
test_events_of_everything
done_testing
