# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# results.tsv as JSON, and that as tables. --markdown prints the same tables for docs/performance.md:
# aligned markdown reads well on a terminal, so there is only one form.

machine() {
	local model memory
	model=$(sed -nE 's/^(model name|Model)[^:]*: //p' /proc/cpuinfo | head -n 1)
	memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
	jq -n --arg cpu "${model:-unknown}" --arg cores "$(nproc)" --arg kernel "$(uname -sr)" \
		--arg memory "$memory" --arg date "$(date -u +%F)" --arg byway "$(by --version | head -n 1)" \
		'{cpu: $cpu, cores: ($cores | tonumber), kernel: $kernel, memory: $memory, date: $date,
		  byway: $byway}'
}

to_json() {
	jq -Rn --argjson machine "$(machine)" '{
		schema: "byway.bench/1",
		machine: $machine,
		results: [inputs | split("\t")
			| {section: .[0], way: .[1], metric: .[2], value: (.[3] | tonumber? // .)}]
	}' <results.tsv
}

# table JSON SECTION: ways down, metrics across.
table() {
	jq -r --arg section "$2" '
		[.results[] | select(.section == $section)] as $r
		| (reduce $r[] as $x ([]; if index($x.metric) then . else . + [$x.metric] end)) as $metrics
		| (reduce $r[] as $x ([]; if index($x.way) then . else . + [$x.way] end)) as $ways
		| (["", $metrics[]], (["---", ($metrics[] | "---:")]),
		   ($ways[] as $w | [$w, ($metrics[] as $m
			| ([$r[] | select(.way == $w and .metric == $m) | .value | tostring][0] // "-"))]))
		| "| " + join(" | ") + " |"' "$1"
}

# The data plane once more, each figure as a ratio to the bare veth pair's.
ratios() {
	jq -r '[.results[] | select(.section == "data")] as $r
		| def value($w; $m): [$r[] | select(.way == $w and .metric == $m) | .value][0];
		def ratio($w; $m): ((value($w; $m) / value("bare-veth-pair"; $m) * 100 | round) / 100);
		"| | throughput | p50 | p99 |", "| --- | ---: | ---: | ---: |",
		(reduce $r[] as $x ([]; if index($x.way) then . else . + [$x.way] end))[] as $w
		| "| \($w) | \(ratio($w; "Gbit/s")) | \(ratio($w; "p50 us")) | \(ratio($w; "p99 us")) |"' "$1"
}

align() { column -t -s '|' -o '|' | sed -E 's/^ *\|/|/; s/\| *$/|/'; }

section() {
	printf '\n### %s\n\n' "$1"
	shift
	"$@" | align
}

report() {
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	section "Subnets: milliseconds each" table "$1" subnets
	section "A policy of ten rules in one namespace" table "$1" policy
	section "One command" table "$1" lone
	section "NAT" table "$1" nat
	section "One TCP connection" table "$1" data
	section "The same, as ratios to a bare veth pair" ratios "$1"
}
