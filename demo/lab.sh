#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One file for the machine, examples/lab.yaml, shown on a private machine with an `internet` of its own; and the
# web page, when chromium is installed. SHOT=FILE keeps the picture of that.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../tests/lib/vpc.sh
. "$DEMO/../tests/lib/vpc.sh"
# shellcheck source=../tests/lib/page.sh
. "$DEMO/../tests/lib/page.sh"

SHOT=$(realpath -m "${SHOT:-/run/page.png}")
WEB=10.0.1.1 DB=10.0.2.1

answers() { [[ $(get "$1" "$2") == "$3" ]]; }
silent() { ! REACH_MS=500 reaches "$@"; }
says() { # STATUS WORDS COMMAND...
	local status=$1 words=$2
	shift 2
	"$@" >"$WORLD/said" 2>&1
	[[ $? == "$status" ]] && grep -q "$words" "$WORLD/said"
}

read_file() {
	chapter "One file: two VPCs, who goes out, who reaches whom"
	typed cat lab.yaml
	typed byway validate lab.yaml
	sed 's/^    peers:/    pears:/' lab.yaml >wrong.yaml
	typed byway validate wrong.yaml
	proves "a mistake is named with its place" says 2 'wrong.yaml:[0-9]*:[0-9]*: .*peers' \
		byway validate wrong.yaml
	typed byway plan lab.yaml
}

make_it_so() {
	chapter "It is made so"
	typed byway apply lab.yaml
	typed byway apply lab.yaml
	proves "applied again, it changes nothing" says 0 ' unchanged' byway plan lab.yaml
}

serve_all() {
	chapter "What runs in it"
	web_server internet 80
	web_server production-web-tier 80
	echo_server production-db-tier 5432
	echo "  (nginx runs in the namespace internet, at $INTERNET4, and in production-web-tier; a server in"
	echo "  production-db-tier, on PostgreSQL's port)"
	typed byway exec production/web-tier -- curl -sS "http://$INTERNET4/"
	proves "web-tier goes out, behind the host's address" answers production-web-tier \
		"http://$INTERNET4/" "hello from internet to $HOST4"
	proves "db-tier does not" silent production-db-tier "$INTERNET4" 80
	proves "web-tier reaches the database" reaches production-web-tier "$DB" 5432
	typed byway exec staging/dev -- curl -sS "http://$WEB/"
	proves "staging reaches web-tier" answers staging-dev "http://$WEB/" \
		"hello from production-web-tier to $(addr4 staging-dev)"
	proves "and not the database" silent staging-dev "$DB" 5432
}

explain() {
	chapter "Why, and whether it is so"
	typed byway why staging/dev production/web-tier tcp/22
	typed byway why --live production/web-tier production/db-tier tcp/5432
	proves "the kernel agrees" says 0 . byway why --live production/web-tier production/db-tier tcp/5432
	typed byway prove production/db-tier
	proves "nothing of what db-tier tries leaves this machine" says 0 . byway prove production/db-tier
}

show() {
	chapter "All of it"
	typed byway status
	typed byway graph
}

# ---- the page, while something changes ----

can_look() { command -v "${CHROMIUM:-chromium}" >/dev/null; }
drawn() { [[ $(browse wait "$(has "$1")") == true ]]; }

# Something to see: pages are fetched as long as the page is looked at.
fetch() { # NAME NS URL
	# shellcheck disable=SC2016 # the other shell's
	become "$2" bash -c 'while curl -sS -o /dev/null "$1"; do :; done' bash "$3" >/dev/null 2>&1 &
	PIDS["fetch-$1"]=$!
}

look() {
	chapter "The same as a page, live"
	serve page --listen 127.0.0.1:0
	echo "  (byway serve, at $URL)"
	can_look || { echo "  (chromium is not installed: docs/page.png is what it would show)"; return; }
	browser_begin
	browse theme light >/dev/null
	browse goto "$URL" >/dev/null
	fetch out production-web-tier "http://$INTERNET4/"
	proves "a browser draws the VPCs" drawn 'svg .node.good[data-key="vpc production"]'
	proves "and what flows just now" drawn 'g[data-key="nat production"] .flow.on'
}

change() {
	chapter "Two lines more: a subnet in the other VPC, that goes out"
	flow_open held production-web-tier "$DB" 5432
	sed -i 's/^      dev: .*/&\n      test: {cidr: 10.1.2.0\/24, type: public}/
		s/^    cidr: 10.1.0.0.16/&\n    nat: true/' lab.yaml
	typed byway plan lab.yaml
	typed byway apply lab.yaml
	proves "it goes out" answers staging-test "http://$INTERNET4/" "hello from internet to $HOST4"
	proves "a connection that was open all the while goes on" flow_works held
	flow_close held
}

see_change() {
	can_look || return
	fetch peer staging-dev "http://$WEB/"
	fetch test staging-test "http://$INTERNET4/"
	proves "the page has it, too" drawn 'svg .node.good[data-key="subnet staging/test"]'
	proves "and what flows there" drawn 'g[data-key="nat staging"] .flow.on'
	browse shot "$SHOT" >/dev/null
	browser_end
}

take_down() {
	chapter "And away"
	stop_all
	typed byway destroy lab.yaml
	proves "links, addresses, routes, rules, nftables, mounts, processes and sysctls are as before" \
		same_as "$WORLD/before"
}

main() {
	world_enter "$@"
	snapshot_host >"$WORLD/before"
	cp "$WORLD_TREE"/examples/{lab.yaml,policy-web.json,policy-database.json} .
	read_file
	make_it_so
	serve_all
	explain
	show
	look
	change
	see_change
	take_down
	sum_up "one file applied, explained, proved, drawn, changed by a line that disturbed nothing, and gone."
}

main "$@"
