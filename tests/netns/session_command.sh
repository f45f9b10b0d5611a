#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The commands of sessions: what they say, as text and as JSON, what they refuse, how credentials get to the server and
# nowhere else, and all the ways to take sessions down.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/session.sh
. "$WORLD_LIB/session.sh"

TOTP_SECRET=3132333435363738393031323334353637383930

lay_out() {
	ocserv_prepare
	ocserv_start vpn
}

# ---- files that are wrong ----

# wrong WHERE WORDS LINE...: of a file with these lines, validate says FILE:WHERE: WORDS.
wrong() {
	local where=$1 words=$2
	shift 2
	printf '%s\n' "$@" >wrong.yaml
	exits 2 "validate refuses: $words" by session validate wrong.yaml
	like "at $where" "$(err)" "^byway: error: wrong\.yaml:$where: .*$words"
}

test_validate() {
	local least=("subnet: 10.20.30.0/24" "instances: 2" "vpn:" "  server: vpn.test")
	wrong 3:1 '"instanses": did you mean "instances"' "interface: eth0" "subnet: 10.20.30.0/24" "instanses: 2"
	wrong 5:3 '"pasword": did you mean "password"' "${least[@]}" "  pasword: x"
	wrong 6:9 'a mode is full or split, not "fully"' "${least[@]}" routing: "  mode: fully"
	wrong 1:9 "host bits" "subnet: 10.20.30.1/24" "${least[@]:1}"
	wrong 5:13 "NOT_THERE" "${least[@]}" "  password: \${NOT_THERE}"
	wrong 5:16 '"--script" is what byway relies on' "${least[@]}" '  extra_args: ["--script", "/bin/true"]'
	wrong 5:3 "did not find expected key" "${least[@]}" "  - x"
	exits 3 "validate: no file" by session validate gone.yaml
	exits 2 "up refuses the same" by session up wrong.yaml
	printf '%s\n' "${least[@]}" >right.yaml
	check "validate: a file that is right" by session validate right.yaml
	prints "says so" '^right\.yaml: 2 sessions of group right$'
	is "as JSON, with another number" "$(by session validate --json --count 7 right.yaml | jq -c .)" \
		'{"schema":"byway.session.validate/1","file":"'"$WORLD"'/right.yaml","group":"right","sessions":7}'
	check "nothing was made" session_nothing_left
}

# ---- credentials ----

comes_up() { # WHAT FILTER...
	local what=$1
	shift
	session_file corp "$@"
	check "up with $what" session_up corp
	must by session down corp
}

test_passwords() {
	local prefix name
	printf '%s\nnot the password\n' "$VPN_PASSWORD" >password
	comes_up "a variable" .
	comes_up "a file" 'del(.vpn.password)' '.vpn.password_file = "password"'
	comes_up "a command" 'del(.vpn.password)' ".vpn.password_command = \"head -n 1 $WORLD/password\""
	comes_up "part of a value" '.vpn.password = "correct ${REST}"' '.instances = 2'
	echo "not the password" >password
	session_file corp 'del(.vpn.password)' '.vpn.password_file = "password"'
	exits 4 "a wrong one" session_up corp
	says "is told" 'corp-1: authentication: Login failed'
	must by session down corp
	# What went wrong is cut at some length: within a character, the one time or the other.
	printf -v name 'é%.0s' {1..100}
	for prefix in "" x; do
		session_file corp 'del(.vpn.password)' ".vpn.password_file = \"/$prefix$name/$name\""
		fails "none" session_up corp --timeout 2
		like "is shown" "$(session_tells .last_error.reason corp-1)" "^cannot read the password from /$prefix$name"
		must by session down corp
	done
}
REST=${VPN_PASSWORD#* }
export REST

# The secret of one-time passwords is openconnect's to read. (This server does not ask for any: of the two passwords that
# ocserv's own oath asks for, openconnect takes the second for the first one again.)
test_totp() {
	local client
	echo "0x$TOTP_SECRET" >totp
	session_begin corp '.vpn.totp_file = "totp"'
	client=$(tr '\0' ' ' <"/proc/$(session_client corp-1)/cmdline")
	like "openconnect is told where the secret is" "$client" " --token-mode=totp --token-secret=@$WORLD/totp "
	unlike "and not told the secret" "$client" "$TOTP_SECRET"
	must by session down corp
	echo "base32:1" >totp
	fails "a secret that is none" session_up corp --timeout 2
	is "is said to be" "$(session_tells '.last_error | .class + ": " + .reason' corp-1)" \
		"authentication: Soft token string is invalid"
	must by session down corp
}

test_servercert() {
	local pin
	pin=$(ocserv_pin)
	session_file corp 'del(.vpn.cafile)'
	exits 1 "a certificate that nobody knows" session_up corp --timeout 2
	says "is told" 'corp-1: certificate: '
	is "and shown" "$(session_tells .last_error.class corp-1)" certificate
	must by session down corp
	comes_up "its pin" 'del(.vpn.cafile)' ".vpn.servercert = \"$pin\""
	comes_up "its pin among others" 'del(.vpn.cafile)' \
		".vpn.servercert = [\"pin-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\", \"$pin\"]"
	session_file corp '.vpn.servercert = "pin-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="'
	exits 1 "another's pin, whoever signed" session_up corp --timeout 2
	is "is a matter of certificates" "$(session_tells .last_error.class corp-1)" certificate
	must by session down corp
}

# ---- where the password must not be ----

# Processes with the password in their arguments or environment: "NAME PID", once each, until it is stopped. byway
# is told it by its environment, and forgets it when it has read the file.
walk_processes() {
	local file name
	echo begun
	while :; do
		grep -lsFf secret /proc/[0-9]*/cmdline /proc/[0-9]*/environ | while read -r file; do
			read -r name <"${file%/*}/comm" && echo "$name ${file##*/}"
		done 2>/dev/null
	done
}
has_shown() { grep -qx "$1" "$WORLD/walk.out"; }

test_secrets() {
	local with_secret
	printf '%s' "$VPN_PASSWORD" >secret
	background walk host bash -c "$(declare -f walk_processes); walk_processes"
	SHOWN=$VPN_PASSWORD background control host bash -c 'echo; read -r <><(:)'
	background control2 host bash -c 'echo; read -r <><(:)' "$VPN_PASSWORD"
	check "a password in an environment is seen" wait_for has_shown "bash environ"
	check "and one among arguments" wait_for has_shown "bash cmdline"
	stop control
	stop control2
	session_begin corp '.logging.level = "trace"' '.instances = 4'
	must by session restart corp-1
	check "up again" wait_for eval '[[ $(session_tells .restarts corp-1) > 0 ]] && session_is up corp-1'
	stop walk
	with_secret=$(sed 1d walk.out | grep -v '^bash ' | sort -u)
	unlike "no other program has seen it" "$with_secret" '(openconnect|sh|ocserv|tail|head)'
	unlike "and none among arguments" "$with_secret" cmdline
	is "byway's environment forgets it" "$(grep -csFf secret "/proc/$(session_supervisor corp)/environ")" 0
	check "the log tells of the login" grep -q "openconnect: POST https://" "$SESSION_LOGS/corp-1.log"
	fails "but no password" grep -rF -e "$VPN_PASSWORD" -e "${VPN_PASSWORD// /%20}" -e "${VPN_PASSWORD// /+}" \
		"$SESSION_LOGS" /run/byway /etc/netns
	must by session down corp
}

# ---- JSON and text ----

# has_form NAME FILTER COMMAND...: what the command prints as JSON passes a filter of jq(1).
has_form() {
	local name=$1 filter=$2
	shift 2
	by "$@" --json >form.json 2>form.err
	check "$name" jq -e "$filter" form.json
}

# Each key that byway(8) lists, with its type; ? may be null.
FORM='{"name": "string", "group": "string", "file": "string", "state": "string", "since": "string",
	"mode": "string", "namespace": "string", "carrier": "?string", "interface": "string",
	"address": "string", "addresses": "array",
	"server": "string", "server_address": "?string", "protocol": "string", "username": "?string",
	"transport": "?string", "dns": "array", "bytes_in": "number", "bytes_out": "number", "restarts": "number",
	"auth_failures": "number", "last_error": "?object", "next_retry": "?string", "log": "string", "pid": "number"}'
IS_FORM="def fits(\$form): . as \$o | (keys == (\$form | keys)) and all(\$form | to_entries[];
	.key as \$k | (.value | ltrimstr(\"?\")) as \$want | (\$o[\$k] | type) as \$is
	| \$is == \$want or (\$is == \"null\" and (.value | startswith(\"?\"))));"

test_json() {
	local kind
	session_begin corp '.instances = 2'
	for kind in list status; do
		has_form "$kind as JSON" "$IS_FORM"' .schema == "byway.session.'$kind'/1" and
			(.sessions | length) == 2 and all(.sessions[]; fits('"$FORM"') and .state == "up" and
			.last_error == null and .transport == "dtls" and .pid > 0 and (.addresses | length) == 2)' \
			session $kind
	done
	has_form "check as JSON" '. == {schema: "byway.session.check/1", name: "corp-1", reached: true}' \
		session check corp-1
	has_form "restart as JSON" '. == {schema: "byway.session.restart/1", name: "corp-2"}' \
		session restart corp-2
	has_form "metrics as JSON, with all that and more" '.schema == "byway.metrics/1" and
		.tunnels == [] and (.sessions | length) == 2 and
		all(.sessions[]; (('"$FORM"' | keys) - keys) == [])' metrics
	has_form "down as JSON" '. == {schema: "byway.session.down/1", sessions: 2}' session down corp
	has_form "no sessions as JSON" '. == {schema: "byway.session.list/1", sessions: []}' session list
}

# Of two groups.
test_names() {
	session_begin corp '.instances = 2'
	session_begin lab 'del(.instances)' '.subnet = "10.20.31.0/28"' '.sessions = [{name: "alone"}]'
	is "list: all" "$(json '.sessions[].name' session list | xargs)" "alone corp-1 corp-2"
	is "a group's" "$(json '.sessions[].name' session list corp | xargs)" "corp-1 corp-2"
	is "a session" "$(json '.sessions[].name' session status corp-2 | xargs)" corp-2
	check "list, as text" by session list
	prints "one line for each" $'^SESSION +STATE +NAMESPACE +ADDRESS +INSIDE\n.*alone +up +alone +10\.20\.31\.[0-9]+ '
	is "and no more" "$(out | wc -l)" 4
	check "status of one" by session status alone
	prints "has more of it" $'\nalone +up +20[-0-9]+T[0-9:]+Z +10\.20\.31\..* https://[^ ]+ +anyconnect +dtls +[0-9]+ +[0-9]+ +0 +- +- +-$'
	check "logs" by session logs -n 1 alone
	is "the last line" "$(out)" "$(session_log alone | tail -n 1)"
	exits 3 "logs of a group" by session logs corp
	says "asks for a name" "'corp' is a group"
}

# ---- what is refused ----

# Groups corp and lab run.
test_refused() {
	local verb
	for verb in list status logs restart check; do
		exits 3 "$verb: no such session" by session $verb none
		says "names it" "there is no session 'none'"
	done
	exits 3 "exec: no such session" by session exec none -- true
	exits 7 "up of a group that runs" session_up corp
	says "tells where to look" 'the sessions of group corp are running already: `byway session status corp`'
	session_file other 'del(.instances)' '.subnet = "10.20.32.0/28"' '.sessions = [{name: "alone"}]'
	exits 7 "up of a session that another group has" session_up other
	says "names that" "session 'alone' is one of lab"
	must by vpc create v 10.21.0.0/16
	session_file other '.subnet = "10.21.7.0/24"'
	exits 7 "up in a VPC's networks" session_up other
	says "names the VPC" "subnet 10\.21\.7\.0/24 overlaps VPC 'v' \(10\.21\.0\.0/16\)"
	must by vpc delete v
	exits 2 "down of nothing" by session down
	exits 2 "down of a session and of all" by session down --all corp
	check "all of that leaves the others alone" session_is up corp-1
	is "and made nothing" "$(json '.sessions | length' session list)" 3
}

nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$BYWAY" "$@"; }
without() {
	local cap=$1
	shift
	setpriv --bounding-set="-$cap" --inh-caps="-$cap" "$BYWAY" "$@"
}

test_unprivileged() {
	local cap
	session_file mine '.subnet = "10.20.32.0/28"' 'del(.vpn.password)'
	chmod 644 mine.yaml
	exits 8 "up by nobody in particular" nobody session up "$WORLD/mine.yaml"
	exits 8 "down" nobody session down corp
	exits 8 "exec" nobody session exec corp-1 -- true
	for cap in net_admin sys_admin sys_ptrace net_raw; do
		exits 8 "up without $cap" without $cap session up "$WORLD/mine.yaml"
		says "is named" "CAP_${cap^^}"
	done
	check "validate by nobody" nobody session validate "$WORLD/mine.yaml"
	check "the sessions are as before" session_is up corp-1
}

# ---- taking down ----

# Groups corp and lab run.
test_down() {
	check "down: a session" by session down corp-2
	is "of its group the others stay" "$(json '.sessions[].name' session list corp)" corp-1
	check "and work" in_session corp-1 curl -s -o /dev/null --max-time 10 "http://$CORP4/"
	check "down: twice" by session down corp-2
	check "down: --dry-run" by --dry-run session down lab
	prints "says what it would do" 'ip netns del alone'
	is "once" "$(out | sort | uniq -d)" ""
	check "down: --dry-run of all" by --dry-run session down --all
	check "and does not" session_is up alone
	check "nor ends any" session_is up corp-1
	check "down: the last of a group" by session down corp-1
	check "ends its process" wait_gone test -e /run/byway/session/corp.lock
	session_begin corp
	check "down: all" by session down --all
	check "nothing is left" session_nothing_left
	check "down: all, once more" by session down --all

	session_begin corp
	check "down: a file" by session down corp.yaml
	check "nothing is left" session_nothing_left
	session_begin corp '.name = "unlike-its-file"'
	rm corp.yaml
	check "down: a file that is gone" by session down "$WORLD/corp.yaml"
	check "nothing is left" session_nothing_left
	check "down: of that once more" by session down corp.yaml
}

test_dry_run() {
	session_file corp '.instances = 2'
	check "up --dry-run" env VPN_PASSWORD=x "$BYWAY" --dry-run session up corp.yaml
	prints "names the pair" 'link add .*veth-corp-2'
	check "makes nothing" session_nothing_left
	session_file corp
	check "up --count" session_up corp --count 3
	is "counts" "$(json '.sessions | map(.state) | join(" ")' session list)" "up up up"
	must by session down corp
}

# ---- without openconnect ----

test_no_openconnect() {
	local program
	program=$(readlink -f "$(type -P openconnect)")
	session_file corp
	mount --bind /dev/null "$program"
	exits 1 "up without openconnect" session_up corp --timeout 1
	says "says what is missing" 'corp-1: crashed: .*openconnect'
	umount "$program"
	check "up as soon as it is there" wait_for session_is up corp-1
	must by session down corp
}

# ---- the other name ----

test_octotunnel() {
	local octotunnel=$WORLD/octotunnel
	ln -sf "$BYWAY" "$octotunnel"
	session_file corp
	check "octotunnel launch" env VPN_PASSWORD="$VPN_PASSWORD" "$octotunnel" launch -c corp.yaml
	check "octotunnel status" "$octotunnel" status
	prints "shows it" 'corp-1 +up '
	exits 2 "octotunnel: an unknown command" "$octotunnel" lunch -c corp.yaml
	says "lists those there are" 'launch, status and destroy'
	check "octotunnel destroy" "$octotunnel" destroy
	check "nothing is left" session_nothing_left
	check "octotunnel launch of two" env VPN_PASSWORD="$VPN_PASSWORD" "$octotunnel" launch --config corp.yaml --count 2
	check "octotunnel destroy of a file" "$octotunnel" destroy -c corp.yaml
	check "nothing is left" session_nothing_left
}

# ---- what else knows sessions ----

# https://prometheus.io/docs/instrumenting/exposition_formats/
METRIC='^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? -?[0-9.]+(e[+-]?[0-9]+)?)$'

test_metrics() {
	session_begin corp '.instances = 2'
	in_session corp-1 curl -s -o /dev/null --max-time 10 "http://$CORP4/"
	check "metrics" by metrics
	is "each line has the form" "$(out | grep -vE "$METRIC")" ""
	is "both are up" "$(out | grep -cE '^byway_session_up\{session="corp-[12]"\} 1$')" 2
	prints "one has received" $'\nbyway_session_received_bytes_total\\{session="corp-1"\\} [1-9]'
	prints "each state has a sample" $'\nbyway_session_state\\{session="corp-1",state="error"\\} 0\n'
	has_form "byway status has them" '[.sessions[] | .name + " " + .state] == ["corp-1 up", "corp-2 up"]' status
}

# Of a group that runs, gc takes nothing; and puts back what somebody took. What a killed process left goes.
test_gc() {
	check "gc" by gc
	check "leaves sessions alone" session_is up corp-1
	nft delete table inet byway_session
	check "gc without the rules" by gc
	check "brings them back" nft list table inet byway_session
	check "and the sessions work" in_session corp-2 curl -s -o /dev/null --max-time 10 "http://$CORP4/"
	kill -KILL "$(session_supervisor corp)"
	check "of a killed process they are down" wait_for session_is down corp-1
	check "gc after that" by gc
	check "takes all away" session_nothing_left
}

test_reset() {
	session_begin corp '.instances = 2'
	check "reset" by reset
	check "takes all away" session_nothing_left
	fails "and the state" test -e /run/byway/state.db
	session_begin corp
	must rm -rf /run/byway/state.db*
	check "reset without the state" by reset
	check "does the same" session_nothing_left
}

test_log_rotation() {
	session_begin corp '.logging += {level: "trace", max_size: "4K", keep: 1}'
	must by session restart corp-1
	check "up again" wait_for session_is up corp-1
	is "a log and one before it" "$(cd "$SESSION_LOGS" && echo corp-1.log*)" "corp-1.log corp-1.log.1"
	is "neither is too big" "$(find "$SESSION_LOGS" -name 'corp-1.log*' -size +4096c)" ""
	check "the older one is not small" test "$(stat -c %s "$SESSION_LOGS/corp-1.log.1")" -gt 2048
	must by session down corp
}

lay_out
session_remember
for step in test_validate test_passwords test_totp test_servercert test_secrets test_json test_names \
	test_refused test_unprivileged test_down test_dry_run test_no_openconnect test_octotunnel test_metrics \
	test_gc test_reset test_log_rotation; do
	session_forget_logs
	$step
done
check "nothing is left" session_nothing_left
stop_all
done_testing
