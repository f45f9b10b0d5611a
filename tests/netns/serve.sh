#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# byway serve: what it answers, what it refuses, what it may do, and the page in a real browser.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"
# shellcheck source=tests/lib/page.sh
. "$WORLD_LIB/page.sh"

SHOT=${SHOT:-$WORLD/page.png}

ask() { curl -sS --noproxy '*' --max-time 20 "$@"; }
code() { ask -o /dev/null -w '%{http_code}' "$@"; }
server_of() { pgrep -P "${PIDS[$1]}"; }

# ---- what it answers ----

test_answers() {
	local text
	is "the page" "$(code "$URL")" 200
	like "is HTML" "$(ask -D - -o /dev/null "$URL")" 'Content-Type: text/html; charset=utf-8'
	like "loads nothing from elsewhere" "$(ask -D - -o /dev/null "$URL")" "Content-Security-Policy: default-src 'none'; script-src 'self'"
	unlike "keeps nothing" "$(ask -D - -o /dev/null "$URL")" 'Set-Cookie'
	is "its parts" "$(code "${URL}byway.js") $(code "${URL}byway.css") $(code "${URL}icon.svg")" "200 200 200"
	is "all as JSON" "$(ask "${URL}api/status" | jq -r '.schema, .vpcs[].name' | xargs)" \
		"byway.status/1 lab micropod0 shop"
	is "the same as by status" "$(ask "${URL}api/status" | jq -S '[.vpcs[].subnets[] | [.name, .condition, .address]]')" \
		"$(by status --json | jq -S '[.vpcs[].subnets[] | [.name, .condition, .address]]')"
	check "with rates, after a while" wait_for has_rates
	like "numbers for Prometheus" "$(ask "${URL}metrics")" 'byway_subnet_up\{subnet="web",vpc="shop"\} 1'
	like "with their type" "$(ask -D - -o /dev/null "${URL}metrics")" 'Content-Type: text/plain; version=0.0.4'
	like "the graph" "$(ask "${URL}api/graph")" '^digraph byway'
	text=$(ask -I "$URL")
	like "HEAD has the length" "$text" 'Content-Length: [1-9]'
	is "many on one connection" "$(ask -w '%{num_connects} ' -o /dev/null "$URL" -o /dev/null "${URL}metrics" | xargs)" "1 0"
}
has_rates() { ask "${URL}api/status" | jq -e '.vpcs[0].rx_rate != null'; }

streamed() { grep -q "$1" "$WORLD/stream"; }

test_events() {
	curl -sSN --noproxy '*' "${URL}api/events" >"$WORLD/stream" &
	PIDS["stream"]=$!
	check "a stream of events begins at once" wait_for streamed '^:'
	must by subnet add shop new 10.0.7.0/24
	check "what changes is told" wait_for streamed '^data: .*"event":"added","kind":"subnet","id":"shop/new"'
	must by subnet delete shop/new
	check "and that it is gone" wait_for streamed '^data: .*"event":"removed","kind":"subnet","id":"shop/new"'
	stop stream
}

# More than may follow; they go, and others come.
test_many_streams() {
	local i
	for i in {1..32}; do
		curl -sSN --noproxy '*' "${URL}api/events" >"$WORLD/stream-$i" &
		PIDS["stream-$i"]=$!
	done
	check "32 can follow" wait_for test -s "$WORLD/stream-32"
	for i in {1..32}; do wait_for test -s "$WORLD/stream-$i"; done
	is "the next is refused" "$(code "${URL}api/events")" 503
	is "who only reads is not" "$(code "${URL}api/status")" 200
	for i in {1..32}; do stop "stream-$i"; done
	must by subnet add shop new 10.0.7.0/24
	check "when they have gone there is room" wait_for may_follow
	must by subnet delete shop/new
}
may_follow() { [[ $(ask -m 1 -o /dev/null -w '%{http_code}' "${URL}api/events" 2>/dev/null) == 200 ]]; }

# ---- what it refuses ----

test_refusals() {
	local method port=${URL##*:}
	port=${port%/}
	for method in POST PUT DELETE PATCH OPTIONS TRACE; do
		is "$method" "$(code -X "$method" "${URL}api/status")" 405
	done
	like "it says what may be" "$(ask -D - -o /dev/null -X POST -d x=y "$URL")" 'Allow: GET, HEAD'
	is "what is not there" "$(code "${URL}nothing") $(code --path-as-is "${URL}../etc/passwd") $(code "${URL}api/status/x")" \
		"404 404 404"
	is "another name that leads here" "$(code -H 'Host: evil.example' "${URL}api/status")" 421
	is "one that begins like ours" "$(code -H 'Host: localhost.evil.example' "${URL}api/status")" 421
	is "an address that is not ours" "$(code -H 'Host: 192.0.2.2' "${URL}api/status")" 421
	is "no name" "$(code --http1.0 -H 'Host:' "${URL}api/status")" 421
	is "localhost is ours" "$(code -H "Host: localhost:$port" "${URL}api/status")" 200
	is "and so is ::1" "$(code -H "Host: [::1]:$port" "${URL}api/status")" 200
	unlike "nobody else's page may read it" "$(ask -D - -o /dev/null -H 'Origin: http://evil.example' "${URL}api/status")" \
		'Access-Control-Allow'
	head -c 100000 /dev/urandom | timeout 5 nc -q 1 127.0.0.1 "$port" >/dev/null
	printf 'GET / HTTP/1.1\r\nHost: localhost\r\nX: %70000d\r\n\r\n' 1 | timeout 5 nc -q 1 127.0.0.1 "$port" >/dev/null
	is "garbage does no harm" "$(code "${URL}api/status")" 200
}

test_where() {
	exits 2 "all addresses" by serve --listen 0.0.0.0:8000
	like "it says why" "$(err)" 'can be reached from other machines'
	exits 2 "one that others reach" by serve --listen "$HOST4:8000"
	exits 2 "in IPv6 too" by serve --listen '[::]:8000'
	exits 2 "a name" by serve --listen example.com:80
	exits 2 "no port" by serve --listen 127.0.0.1
	exits 2 "none that there is" by serve --listen 127.0.0.1:70000
	exits 1 "one that is in use" by serve --listen "${URL:7:-1}"
	touch "$WORLD/file"
	fails "a file that is there already" by serve --listen "unix:$WORLD/file"
	check "which stays" test -e "$WORLD/file"
}

# ---- what it may do ----

test_privileges() {
	local server
	server=$(server_of page)
	is "who talks to browsers is nobody" "$(awk '/^(Uid|Gid)/ { print $2, $3, $4, $5 }' "/proc/$server/status" | sort -u)" \
		"65534 65534 65534 65534"
	is "in no group" "$(awk '/^Groups/ { print NF }' "/proc/$server/status")" 1
	is "without capabilities" "$(awk '/^Cap(Inh|Prm|Eff|Amb)/ { print $2 }' "/proc/$server/status" | sort -u)" 0000000000000000
	is "and few system calls" "$(awk '/^(NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$server/status" | xargs)" "1 2"
	kill -KILL "$server"
	wait "${PIDS[page]}"
	is "when it is killed, all ends" $? 1
	like "and says so" "$(cat "$WORLD/page.err")" 'process ended, by signal 9'
	serve page --listen 127.0.0.1:0
}

# ---- beginning and end ----

test_unix() {
	serve unix --listen "unix:$WORLD/page.sock"
	is "a Unix socket" "$(ask --unix-socket "$WORLD/page.sock" http://any.name/api/status | jq -r .schema)" byway.status/1
	is "for root alone" "$(stat -c '%a %U' "$WORLD/page.sock")" "600 root"
	kill "${PIDS["unix"]}"
	wait "${PIDS["unix"]}"
	is "SIGTERM ends it well" $? 0
	fails "and takes the socket away" test -e "$WORLD/page.sock"
	serve unix --listen "unix:$WORLD/page.sock"
	kill -KILL "${PIDS["unix"]}"
	wait "${PIDS["unix"]}" 2>/dev/null
	check "what a crash left" test -S "$WORLD/page.sock"
	serve unix --listen "unix:$WORLD/page.sock"
	is "is replaced" "$(ask --unix-socket "$WORLD/page.sock" http://localhost/api/status | jq -r .schema)" byway.status/1
	fails "but not what is in use" by serve --listen "unix:$WORLD/page.sock"
	stop unix
}

test_notify() {
	/usr/bin/python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(s.recv(100).decode(), flush=True)' "$WORLD/notify" >"$WORLD/notified" &
	PIDS["notify"]=$!
	wait_for test -S "$WORLD/notify"
	NOTIFY_SOCKET=$WORLD/notify serve noted --listen '[::1]:0'
	check "a service manager is told when it answers" wait_for grep -q READY=1 "$WORLD/notified"
	is "in IPv6" "$(code "$URL")" 200
	stop noted
	stop notify
}

idle_switches() { cat "/proc/${PIDS[page]}/status" "/proc/$(server_of page)/status" | awk '/ctxt_switches/ { n += $2 } END { print n }'; }
at_rest() {
	local before
	before=$(idle_switches)
	pause 1
	[[ $(idle_switches) == "$before" ]]
}

# ---- the page ----

shows() { is "$1" "$(browse wait "$2")" true; }
in_class() { has "svg .node.$2[data-key=\"$1\"]"; }

# A server's name is what the user writes, and a reason what the server does: the file of a session's status is
# the place where anything can stand.
EVIL='<img src=x onerror=alert(1)><script>window.evil=1</script>"&#39;'

test_page() {
	serve page --listen 127.0.0.1:0
	browser_begin
	browse goto "$URL" >/dev/null
	shows "it is live" 'document.getElementById("live").dataset.state === "live"'
	shows "a VPC" "$(in_class 'vpc shop' good)"
	shows "its subnets" "$(in_class 'subnet shop/web' good) && $(in_class 'subnet shop/db' good)"
	shows "a machine that nobody runs yet" "$(in_class 'vm micropod0/api' idle)"
	shows "the way out" "$(in_class 'interface eth0' good)"
	shows "what joins them" "$(has 'g[data-key="nat shop"] .wire') && $(has 'g[data-key="peer lab/shop"] .wire')"
	shows "all in a table" 'document.querySelectorAll("#everything tbody tr").length === 12'
	is "nothing is in the picture twice" "$(browse eval 'new Set([...document.querySelectorAll(".node")].map((n) => n.dataset.key)).size === document.querySelectorAll(".node").length')" true
}

test_page_changes() {
	must by subnet add shop cache 10.0.3.0/24
	shows "a subnet that is added comes" "$(in_class 'subnet shop/cache' good)"
	shows "and is among the changes" '[...document.querySelectorAll("#events li")].some((e) => e.textContent.includes("subnet shop/cache added"))'
	ip link set "$(port_of shop-cache)" down
	shows "its link goes down" "$(in_class 'subnet shop/cache' bad)"
	shows "and the summary says it" 'document.getElementById("summary").textContent.includes("1 not as it should be") && document.title === "(1) byway"'
	must by subnet delete shop/cache
	shows "one that is deleted goes" "!$(has '[data-key="subnet shop/cache"]' | sed 's/ !== null//')"
	become shop-web ping -q -i 0.05 "$INTERNET4" >/dev/null &
	PIDS["ping"]=$!
	shows "traffic is seen" "$(has 'g[data-key="nat shop"] .flow.on')"
	shows "with its rate" '/^[1-9][0-9.]* k?B\/s$/.test([...document.querySelectorAll("#everything tbody tr")].find((r) => r.cells[0].textContent === "web").cells[5].textContent)'
	stop ping
	shows "and when there is none" "!$(has 'g[data-key="nat shop"] .flow.on' | sed 's/ !== null//')"
}

test_page_tunnel() {
	must by proxy up --detach --proxy-host "$INTERNET4" --proxy-port 9 --in shop-db --allow-dns "$INTERNET4"
	shows "a tunnel" "$(has '.node[data-key="tunnel shop-db"]')"
	shows "from its subnet" "$(has 'g[data-key="tunnel shop-db in"] .wire')"
	kill -KILL "$(by proxy status --json | jq '.tunnels[0].pid')"
	shows "that is killed" "$(in_class 'tunnel shop-db' bad)"
	must by proxy down --in shop-db
	shows "and taken down" "document.querySelector('[data-key=\"tunnel shop-db\"]') === null"
}

test_page_egress() {
	must by egress add out "{connect: 'http://$INTERNET4:9'}"
	must by egress use shop/db out
	shows "an egress that does not run" "$(in_class 'egress out' bad)"
	shows "and who goes out by it" "$(has 'g[data-key="subnet shop/db by out"] .wire')"
	must by egress run out --detach
	shows "that connects" "$(in_class 'egress out' busy) && $(has 'g[data-key="egress out"] .wire')"
	must by egress stop out
	shows "and is stopped" "$(in_class 'egress out' bad)"
	must by egress use shop/db nat
	must by egress delete out
	shows "and deleted" "document.querySelector('[data-key=\"egress out\"]') === null"
}

test_page_session() {
	ocserv_prepare
	ocserv_start vpn
	session_begin corp
	shows "a session" "$(in_class 'session corp-1' good)"
	shows "out by its interface" "$(has 'g[data-key="session corp-1"] .wire')"
	stop ocserv-vpn
	shows "that has lost its server" "$(in_class 'session corp-1' busy)"
	ocserv_start vpn
	shows "and comes back" "$(in_class 'session corp-1' good)"
	must by session down corp
	shows "and is ended" "document.querySelector('[data-key=\"session corp-1\"]') === null"
}

# A status file of a tunnel, as a process could write it.
test_page_names() {
	mkdir -p /run/byway/tunnel
	: >"/run/byway/tunnel/evil.lock"
	jq -n --arg e "$EVIL" '{name: $e, kind: $e, state: $e, server: $e, last_reason: $e, since: $e}' >/run/byway/tunnel/.new
	mv /run/byway/tunnel/.new "/run/byway/tunnel/evil.json"
	shows "a name with tags in it is a name" \
		"[...document.querySelectorAll('#everything th')].some((e) => e.textContent === $(jq -Rn --arg e "$EVIL" '$e'))"
	browse eval "document.querySelector('.node[data-key^=\"tunnel <img\"]').dispatchEvent(new MouseEvent('click'))" >/dev/null
	shows "in the details, too" "[...document.querySelectorAll('#detail dd')].some((e) => e.textContent === $(jq -Rn --arg e "$EVIL" '$e'))"
	is "none of it is done" "$(browse eval 'window.evil === undefined && document.querySelectorAll("img[src=x], body script").length === 0')" true
	rm -f /run/byway/tunnel/evil.*
	shows "and it goes" "document.querySelector('[data-key^=\"tunnel <img\"]') === null"
}

test_page_people() {
	browse goto "$URL" >/dev/null
	shows "drawn again" "$(in_class 'subnet shop/web' good)"
	browse eval 'document.querySelector("footer a").focus(), document.querySelector("#topology .node").focus()' >/dev/null
	is "the picture can be walked with the keyboard" "$(browse eval 'document.activeElement.dataset.key')" '"vpc lab"'
	browse key Tab >/dev/null
	browse key Enter >/dev/null
	shows "and chosen from" 'document.getElementById("detail").textContent.length > 20'
	shows "what is chosen keeps the focus" 'document.activeElement.classList.contains("chosen")'
	is "who cannot see it is told" "$(browse eval 'document.querySelector("[data-key=\"subnet shop/web\"]").getAttribute("aria-label").startsWith("public subnet, web, up, 10.0.1.")')" true
	is "each picture has a text" "$(browse eval '[...document.images].every((i) => i.hasAttribute("alt")) && document.querySelector("main h2") !== null && document.documentElement.lang === "en"')" true
	browse theme dark >/dev/null
	is "dark, for who likes that" "$(browse eval 'getComputedStyle(document.body).backgroundColor')" '"rgb(14, 19, 24)"'
	browse theme light >/dev/null
	is "and light" "$(browse eval 'getComputedStyle(document.body).backgroundColor')" '"rgb(244, 246, 248)"'
	browse shot "$SHOT" >/dev/null
	check "a picture of it" test "$(stat -c %s "$SHOT")" -gt 20000
}

test_page_clean() {
	is "no errors" "$(browse complaints)" "[]"
	is "nothing from elsewhere" "$(browse requests | jq -c --arg u "$URL" 'map(select(startswith($u) | not))')" "[]"
	kill "${PIDS[page]}"
	shows "that nobody answers any more is said" 'document.getElementById("live").dataset.state === "lost"'
	browser_end
}

lay_out_shop
serve page --listen 127.0.0.1:0
test_answers
test_events
test_many_streams
test_refusals
test_where
test_privileges
check "while nobody asks, nothing runs" wait_for at_rest
stop page
test_unix
test_notify
if command -v "${CHROMIUM:-chromium}" >/dev/null; then
	test_page
	test_page_changes
	test_page_tunnel
	test_page_egress
	test_page_session
	test_page_names
	test_page_people
	test_page_clean
else
	skip "the page" "chromium is not installed"
fi
done_testing
