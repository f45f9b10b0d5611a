#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sessions whose parts die, whose way is cut, whose server goes away, ends them, or was never there; and what is
# left of them when their own process is killed. All the while another session, with a server of its own, is
# pinged through and loses nothing. How often anybody asked for a password is counted at the servers.
# shellcheck disable=SC2154,SC2004 # PIDS is world.sh's
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"
# shellcheck source=tests/lib/ocserv.sh
. "$WORLD_LIB/ocserv.sh"

NOTICED_S=60 # longer than anything may take to be noticed, or to come back
AWAY_S=30    # the server
ROUNDS=25    # of the process being killed while it starts
CYCLES=100   # of up and down
SECOND_PORT=4444 EXPIRED_PORT=4445 SILENT_PORT=4446 CLOSED_PORT=4447
HEALTH_PING=10.98.0.77 HEALTH_PORT=8081

# The servers come and go.
snapshot_processes() { pgrep -l . | grep -E ' (byway|openconnect|sh|tail)$'; }

# ---- the ground ----

lay_out() {
	local user
	ocserv_prepare
	for user in ann ben cem dan eve fay bob; do ocserv_user $user "$VPN_PASSWORD"; done
	ocserv_start first
	ocserv_start second "tcp-port = $SECOND_PORT" "udp-port = $SECOND_PORT" \
		'ipv4-network = 10.97.0.0/16' 'ipv6-network = fd97::/64'
	ocserv_start expired "tcp-port = $EXPIRED_PORT" 'udp-port =' "server-cert = $OCSERV_DIR/expired.pem"
	silent_server
	echo_server corp "$HEALTH_PORT"
	must ip -n corp addr add "$HEALTH_PING/32" dev eth0
	echo 'hosts: files' >/etc/nsswitch.conf # nobody is there to ask for a name
	printf '%s\n' "$VPN_PASSWORD" >good.pw
	printf 'wrong\n' >wrong.pw
	cp wrong.pw bob.pw
}

# It takes connections, as far as the kernel does that for it.
silent_server() {
	web_server internet "$SILENT_PORT"
	kill -STOP "${PIDS[web-internet]}"
}

url() { echo "https://$INTERNET4:$1"; }

# head_of SUBNET: what all files begin with.
head_of() {
	cat <<-END
		subnet: $1
		vpn:
		  server: $(url $OCSERV_PORT)
		  cafile: $OCSERV_CA
		  password_file: good.pw
		  connect_timeout: 15s
		backoff: {min: 500ms, max: 2s}
		logging: {level: debug, directory: $WORLD/log}
	END
}
life_file() {
	head_of 10.20.1.0/28
	cat <<-END
		sessions:
		  - {name: full, vpn: {username: ann}}
		  - {name: split, vpn: {username: ben}, routing: {mode: split, include: [10.98.0.0/24]}}
	END
}
calm_file() {
	head_of 10.20.2.0/28
	echo "sessions: [{name: calm, vpn: {username: cem, server: \"$(url $SECOND_PORT)\"}}]"
}
locked_file() {
	head_of 10.20.3.0/28 | sed "s/good.pw/bob.pw/; s/:$OCSERV_PORT/:$SECOND_PORT/
		/^vpn:/a\  username: bob"
	echo 'instances: 8'
}
broken_file() {
	head_of 10.20.4.0/28
	cat <<-END
		sessions:
		  - {name: expired, vpn: {username: dan, server: "$(url $EXPIRED_PORT)"}}
		  - {name: pinned, vpn: {username: dan, server: "$(url $SECOND_PORT)", servercert: "pin-sha256:$(printf 'A%.0s' {1..43})="}}
		  - {name: silent, vpn: {server: "$(url $SILENT_PORT)", connect_timeout: 2s}}
		  - {name: closed, vpn: {server: "$(url $CLOSED_PORT)"}}
		  - {name: nameless, vpn: {server: "https://nowhere.test:$OCSERV_PORT"}}
	END
}
health_file() {
	head_of 10.20.5.0/28 | sed "s/:$OCSERV_PORT/:$SECOND_PORT/"
	cat <<-END
		health: {ping: $HEALTH_PING, interval: 500ms, timeout: 450ms, failures: 3}
		sessions:
		  - {name: pings, vpn: {username: dan}}
		  - {name: dials, vpn: {username: eve}, health: {tcp: "$CORP4:$HEALTH_PORT"}}
		  - {name: asks, vpn: {username: fay}, health: {dns: www.corp.test}}
	END
}
# Its sessions are named after the file.
plain_file() { # SESSIONS
	head_of 10.20.6.0/28 | sed '/^vpn:/a\  username: dan'
	echo "instances: $1"
}

# ---- what sessions say ----

field() { by session status "$1" --json | jq -r ".sessions[0].$2"; } # SESSION FIELD
state_is() { [[ $(field "$1" state) == "$2" ]]; }
states_of() { by session status "$1" --json | jq -r '[.sessions[].state] | unique | join(" ")'; } # GROUP
states_are() { [[ $(states_of "$1") == "$2" ]]; }
class_is() { [[ $(field "$1" last_error.class) == "$2" ]]; }
restarted() { (($(field "$1" restarts) > $2)); }
up_again() { restarted "$1" "$2" && state_is "$1" up; } # SESSION RESTARTS-BEFORE
same_client() { [[ $(field "$1" pid) == "$2" ]]; }
all_up() {
	local name
	for name in "$@"; do state_is "$name" up || return 1; done
}

# The process of a group holds a lock: l_pid is what the kernel says of it.
keeper() { # GROUP
	local inode
	inode=$(stat -c %i "/run/byway/session/$1.lock") &&
		awk -v inode=":$inode" '$2 == "POSIX" && substr($6, length($6) - length(inode) + 1) == inode {
			print $5 }' /proc/locks
}
kill_keeper() {
	local pid
	pid=$(keeper "$1")
	[[ $pid ]] || bail "nobody holds the lock of $1"
	kill -9 "$pid"
	wait_gone test -e "/proc/$pid"
}

# What must stay as it is while openconnect comes and goes: namespace, device, address.
identity() {
	stat -Lc %i "/run/netns/$1"
	ip -n "$1" -j addr show tun0 | jq -r '.[0] | .ifname, (.addr_info[] | .local)' | grep -v '^fe80' | sort
}

# Nothing of byway's runs any more, and the host is as it was.
is_clean() { check "$1: nothing is left" same_as before; }

# ---- the session that is never disturbed ----

calm_starts() {
	calm_file >calm.yaml
	check "the calm session is up" by session up --wait calm.yaml
	become calm ping -n -i 0.1 "$CORP4" >calm.ping 2>&1 </dev/null &
	PIDS[calm]=$!
	wait_for grep -q icmp_seq calm.ping
	CALM=$(field calm pid)
}

# Of those that were sent until the last answer came, none is missing.
nothing_lost() {
	local last seen
	last=$(grep -o 'icmp_seq=[0-9]*' "$1" | tail -n 1)
	seen=$(grep -c 'bytes from' "$1")
	diag "$1: ${last#icmp_seq=} sent, $seen answered"
	[[ $seen -gt 0 && ${last#icmp_seq=} == "$seen" ]]
}

calm_ends() {
	stop calm
	check 'the calm session lost nothing' nothing_lost calm.ping
	is 'and its openconnect is the same' "$(field calm pid)" "$CALM"
	check 'down of the calm session' by session down calm
}

# ---- openconnect is killed; the server ends the session ----

device() { ip -n "$1" -j link show tun0 | jq '.[0].ifindex'; }

# before_trouble SESSION: a flow, and what must stay.
before_trouble() {
	IDENTITY=$(identity "$1")
	RESTARTS=$(field "$1" restarts)
	flow_open "$1" "$1" "$CORP4" "$HEALTH_PORT" || fail "$1: a flow"
}
after_trouble() { # SESSION CLASS
	WAIT_S=$NOTICED_S check "$NAME: it is up again" wait_for up_again "$1" "$RESTARTS"
	is "$NAME: the class" "$(field "$1" last_error.class)" "$2"
	is "$NAME: namespace, device and addresses are the same" "$(identity "$1")" "$IDENTITY"
	check "$NAME: a connection inside lives on" wait_for flow_works "$1"
	like "$NAME: a page" "$(get "$1" "http://$CORP4/")" 'hello from corp to 10\.99\.'
	flow_close "$1"
}

test_kill_client() {
	NAME="kill -9 of $1's openconnect"
	before_trouble "$1"
	DEVICE=$(device "$1")
	kill -9 "$(field "$1" pid)"
	after_trouble "$1" crashed
	[[ $1 != split ]] || is "$NAME: it is the same device" "$(device split)" "$DEVICE"
}

test_disconnect() {
	local logins
	NAME="$1 is ended by its server"
	logins=$(ocserv_logins first)
	before_trouble "$1"
	must ocserv_disconnect first "$2"
	after_trouble "$1" refused
	is "$NAME: one more login" "$(ocserv_logins first)" $((logins + 1))
}

# ---- the way is cut ----

# Without a word to anybody: openconnect tries by itself, in vain, until it is ended.
test_dropped() {
	local addr
	addr=$(field split address)
	NAME='a dropping firewall'
	before_trouble split
	must nft add table inet cut
	must nft 'add chain inet cut forward { type filter hook forward priority -10; }'
	must nft "add rule inet cut forward ip saddr $addr drop"
	must nft "add rule inet cut forward ip daddr $addr drop"
	WAIT_S=$NOTICED_S check "$NAME: it is noticed" wait_for state_is split reconnecting
	is "$NAME: the other session is not concerned" "$(field full state)" up
	WAIT_S=$NOTICED_S check "$NAME: openconnect is started anew" wait_for restarted split "$RESTARTS"
	must nft delete table inet cut
	WAIT_S=$NOTICED_S check "$NAME: it is up again" wait_for up_again split "$RESTARTS"
	is "$NAME: the class" "$(field split last_error.class)" stalled
	can split "$CORP4" 80
	flow_close split # the server knows the session of before yet, and gave another address
}

# For as long as it takes to be noticed: openconnect finds back by itself.
test_cut() {
	local name pid restarts
	pid=$(field full pid) restarts=$(field full restarts)
	NAME='a cut wire'
	IDENTITY=$(identity full)
	flow_open full full "$CORP4" "$HEALTH_PORT"
	must ip -n internet link set eth0 down
	for name in full split; do
		WAIT_S=$NOTICED_S check "$NAME: $name is reconnecting" wait_for state_is $name reconnecting
	done
	must ip -n internet link set eth0 up
	for name in full split; do
		WAIT_S=$NOTICED_S check "$NAME: $name is up again" wait_for state_is $name up
	done
	is "$NAME: openconnect is the same" "$(field full pid) $(field full restarts)" "$pid $restarts"
	is "$NAME: namespace, device and addresses are the same" "$(identity full)" "$IDENTITY"
	check "$NAME: a connection inside lives on" wait_for flow_works full
	flow_close full
}

# ---- the server is killed ----

# Meanwhile others have other troubles.
test_kill_server() {
	local at=$SECONDS logins up
	logins=$(ocserv_logins first)
	ocserv_kill first
	check 'kill -9 of ocserv: sessions are reconnecting' wait_for states_are life reconnecting
	cannot full "$CORP4" 80
	cannot split "$CORP4" 80
	"$@"
	while ((SECONDS < at + AWAY_S)); do pause 0.5; done
	is 'kill -9 of ocserv: they still are' "$(states_of life)" reconnecting
	up=$(field full restarts)
	ocserv_start first
	WAIT_S=$NOTICED_S check 'kill -9 of ocserv: all are back' wait_for states_are life up
	diag "ocserv was away for $((SECONDS - at)) s, and $up starts were in vain"
	can full "$CORP4" 80
	can split "$CORP4" 80
	is 'kill -9 of ocserv: each has logged in once more' "$(ocserv_logins first)" $((logins + 2))
}

# ---- what cannot be connected to ----

test_broken() {
	local name class
	broken_file >broken.yaml
	check 'sessions that cannot be' by session up --detach broken.yaml
	while read -r name class; do
		check "$name: $class" wait_for class_is "$name" "$class"
		is "$name: starting" "$(field "$name" state)" starting
		diag "$name: $(field "$name" last_error.reason)"
	done <<-END
		expired certificate
		pinned certificate
		silent stalled
		closed unreachable
		nameless unreachable
	END
	exits 5 'check of one' by session check silent
	check 'a silent server is tried again' wait_for restarted silent 0
	test_down_state expired starting
	check 'down of the rest' by session down broken.yaml
	is 'none is left' "$(by session list --json | jq '[.sessions[] | select(.group == "broken")] | length')" 0
}

# ---- a wrong password ----

test_wrong_password() {
	local logins
	logins=$(ocserv_logins second)
	locked_file >locked.yaml
	exits 4 'a wrong password: --wait says authentication' by session up --wait locked.yaml
	says 'a wrong password: and which' 'authentication'
	is 'a wrong password: all are given up' "$(states_of locked)" error
	is 'a wrong password: the class' \
		"$(by session status locked --json | jq -r '[.sessions[].last_error.class // empty] | unique | join(" ")')" \
		authentication
	is 'a wrong password: attempts of all eight together' "$(ocserv_logins second)" $((logins + 2))
	exits 5 'a wrong password: check' by session check locked-1
	test_failures_are_remembered
	cp good.pw bob.pw
	check 'the right password: restart of one' by session restart locked-5
	check 'the right password: all come back' wait_for states_are locked up
	is 'the right password: each has logged in once' "$(ocserv_logins second)" $((logins + 10))
	check 'down of them' by session down locked
}

test_failures_are_remembered() {
	kill_keeper locked
	is 'its process is killed: down' "$(states_of locked)" down
	exits 4 'started again, the failures are remembered' by session up --wait locked.yaml
	is 'and nobody asked' "$(ocserv_logins second)" $((logins + 2))
}

# ---- health ----

# How many echo requests are lost, from now on.
lose_pings() { # COUNT
	inside corp nft -f - <<-END
		table inet lose {
			chain in {
				type filter hook input priority 0;
				ip daddr $HEALTH_PING icmp type echo-request jump some
			}
			chain some {
				limit rate 1/hour burst $1 packets counter name lost drop
				counter name passed
			}
			counter lost {}
			counter passed {}
		}
	END
}
pings() { # passed|lost MORE-THAN
	(($(inside corp nft -j list counter inet lose "$1" | jq '.nftables[1].counter.packets') > $2))
}
find_pings() { must inside corp nft delete table inet lose; }

# What a session's log complains of, before its openconnect is ended.
complaints() { sed '/ byway: stalled: /,$d' "log/$1.log" | grep -c ' byway: health: '; }

test_health() {
	local name lost=1
	health_file >health.yaml
	check 'health: all pass' by session up --wait health.yaml
	for name in pings dials asks; do exits 0 "health: check of $name" by session check $name; done
	must lose_pings 1
	check 'one is lost' wait_for pings lost 0
	check 'and the next ones not' wait_for pings passed 3
	find_pings
	is 'that does nothing' "$(field pings state) $(field pings restarts)" 'up 0'
	targets_die
	for name in pings dials asks; do
		check "the target of $name dies: stalled" wait_for class_is $name stalled
		check "the target of $name dies: openconnect is started anew" wait_for restarted $name 0
		is "the target of $name dies: after so many failures" "$(complaints $name)" $((lost + 3))
		lost=0
		is "the target of $name dies: reconnecting" "$(field $name state)" reconnecting
		exits 5 "the target of $name dies: check" by session check $name
	done
	targets_return
	for name in pings dials asks; do
		WAIT_S=$NOTICED_S check "the target of $name is back: up" wait_for state_is $name up
		exits 0 "the target of $name is back: check" by session check $name
	done
	exits 3 'check of one that is not there' by session check nobody
	check 'down of them' by session down health
}
targets_die() {
	must ip -n corp addr del "$HEALTH_PING/32" dev eth0
	stop "echo-corp-$HEALTH_PORT"
	stop dnsmasq-corp
}
targets_return() {
	must ip -n corp addr add "$HEALTH_PING/32" dev eth0
	echo_server corp "$HEALTH_PORT"
	corp_resolver
}

# ---- the process is killed, and started again ----

test_adoption() {
	local name before=()
	for name in full split; do
		before+=("$(identity $name)")
		flow_open "$name" "$name" "$CORP4" "$HEALTH_PORT"
	done
	kill_keeper life
	is 'kill -9 of the process: down' "$(states_of life)" down
	check 'kill -9 of the process: no openconnect is left of it' wait_gone pgrep -f "openconnect.*--user=(ann|ben)"
	is 'full has its device' "$(identity full)" "${before[0]}"
	is 'split has its device' "$(identity split)" "${before[1]}"
	cannot full "$CORP4" 80
	cannot split "$CORP4" 80
	exits 3 'nobody is there to check' by session check full
	check 'started again' by session up --wait life.yaml
	is 'full is the same' "$(identity full)" "${before[0]}"
	is 'split is the same' "$(identity split)" "${before[1]}"
	for name in full split; do
		check "a connection inside $name lives on" wait_for flow_works "$name"
		flow_close "$name"
	done
	exits 7 'a second process is refused' by session up life.yaml
}

# A killed process leaves something, and each of these takes it away.
test_killed_and() { # COMMAND...
	plain_file 2 >plain.yaml
	check "killed, then $*: up" by session up --wait plain.yaml
	kill_keeper plain
	check "killed, then $*" by "$@"
	is_clean "killed, then $*"
}

test_killed() {
	local ways=('session down plain-1 plain-2' 'session down plain.yaml' 'session down --all' gc reset) way
	# shellcheck disable=SC2086 # words
	for way in "${ways[@]}"; do test_killed_and $way; done
	plain_file 1 >plain.yaml
	check 'reset of what runs: up' by session up --wait plain.yaml
	check 'reset of what runs' by reset
	is_clean 'reset of what runs'
}

# ---- the file is edited, renamed, gone ----

names() { by session list --json | jq -r '[.sessions[].name] | join(" ")'; }

test_edited() {
	local inode
	plain_file 3 >plain.yaml
	check 'edited: up' by session up --wait plain.yaml
	inode=$(stat -Lc %i /run/netns/plain-1)
	kill_keeper plain
	plain_file 1 >plain.yaml
	check 'edited: fewer' by session up --wait plain.yaml
	is 'edited: the others are gone' "$(names)" plain-1
	is 'edited: the one is the same' "$(stat -Lc %i /run/netns/plain-1)" "$inode"
	fails 'edited: a namespace of theirs' test -e /run/netns/plain-2
	mv plain.yaml renamed.yaml
	check 'renamed: up beside it' by session up --wait renamed.yaml
	is 'renamed: a group of its own' "$(names)" 'plain-1 renamed-1'
	check 'renamed: down by the new name' by session down renamed.yaml
	is 'renamed: leaves the old one' "$(names)" plain-1
	check 'renamed: down by the old name, of a file that is gone' by session down plain.yaml
	is_clean renamed
	{ echo 'name: plain'; plain_file 1; } >plain.yaml
	check 'with a name of its own: up' by session up --wait plain.yaml
	mv plain.yaml other.yaml
	exits 7 'with a name of its own: renamed, it is the same group' by session up other.yaml
	kill_keeper plain
	check 'with a name of its own: taken over' by session up --wait other.yaml
	check 'with a name of its own: down by the new file' by session down other.yaml
	is_clean 'with a name of its own'
	test_conflict
}

# The sessions' names are in the file, and the group's is not.
test_conflict() {
	life_file | sed 's/10.20.1.0/10.20.7.0/; s/full/twice/; /split/d' >one.yaml
	check 'names of its sessions: up' by session up --detach one.yaml
	cp one.yaml two.yaml
	exits 7 'names of its sessions: copied, that is a conflict' by session up two.yaml
	says 'names of its sessions: with the first one' "session 'twice' is one of one"
	check 'names of its sessions: down of the copy' by session down two.yaml
	is 'names of its sessions: does nothing' "$(names)" twice
	mv one.yaml moved.yaml
	check 'names of its sessions: down of the old path' by session down one.yaml
	is_clean 'names of its sessions'
}

# ---- ends at any time ----

# test_down_state SESSION STATE: it is in that state.
test_down_state() {
	is "down of $1, which is $2: it is" "$(field "$1" state)" "$2"
	check "down of $1, which is $2" by session down "$1"
	fails "down of $1, which is $2: it is there" by session status "$1"
	fails "down of $1, which is $2: its namespace" test -e "/run/netns/$1"
}

# The others, of the same process, are not touched.
test_down_states() {
	local rest
	plain_file 2 >plain.yaml
	check 'one of two: up' by session up --wait plain.yaml
	rest=$(field plain-2 pid)
	test_down_state plain-1 up
	is 'one of two: the other one is the same' "$(field plain-2 pid) $(field plain-2 state)" "$rest up"
	kill -STOP "-${PIDS[ocserv-first]}"
	kill -9 "$rest"
	check 'the server hangs: reconnecting' wait_for state_is plain-2 reconnecting
	test_down_state plain-2 reconnecting
	kill -CONT "-${PIDS[ocserv-first]}"
	is_clean 'down of the last one'
	plain_file 1 | sed 's/good.pw/wrong.pw/' >plain.yaml
	exits 4 'given up' by session up --wait plain.yaml
	test_down_state plain-1 error
	is_clean 'down of one that was given up'
}

# A number from 0 to LIMIT - 1, as a fraction of a second.
random_pause() { pause "$(printf '0.%03d' $((SRANDOM % $1)))"; }

# how_long COMMAND...: milliseconds.
how_long() {
	local start=${EPOCHREALTIME/./}
	must "$@"
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

# One round: killed or asked to end at any moment of its start.
ended_at_random() { # SIGNAL MS
	"$BYWAY" session up plain.yaml >round.out 2>&1 </dev/null &
	local pid=$!
	random_pause "$2"
	kill "-$1" "$pid"
	wait "$pid"
	[[ $1 == KILL ]] || same_as before || return
	by session down plain.yaml || return
	[[ $1 != KILL ]] || same_as before
}
test_random() { # SIGNAL ROUNDS
	local i ms
	plain_file 2 >plain.yaml
	ms=$(how_long by session up --wait plain.yaml)
	must by session down plain.yaml
	ms=$((ms + ms / 4))
	((ms < 999)) || ms=999
	diag "$1 within $ms ms"
	for ((i = 1; i <= $2; i++)); do
		run ended_at_random "$1" "$ms"
		((TAP_STATUS == 0)) || break
	done
	is "$1 at any moment of a start, then down: rounds that leave nothing" $((i - 1)) "$2"
	((TAP_STATUS == 0)) || diag "$(out)" "$(err)" "$(cat round.out)"
}

cycle() { by session up --detach plain.yaml && by session down plain.yaml; }
test_cycles() {
	local i start=$SECONDS
	plain_file 2 >plain.yaml
	for ((i = 1; i <= CYCLES; i++)); do
		run cycle
		((TAP_STATUS == 0)) || break
		((i % 20 == 0)) || continue
		run same_as before
		((TAP_STATUS == 0)) || break
	done
	is 'up and down: cycles that leave nothing' $((i - 1)) $CYCLES
	((TAP_STATUS == 0)) || diag "$(out)" "$(err)"
	diag "$CYCLES cycles in $((SECONDS - start)) s"
}

# timed NAME COMMAND...
timed() {
	local start=$SECONDS
	"${@:2}"
	diag "$1: $((SECONDS - start)) s"
}

meanwhile() {
	timed 'what cannot be' test_broken
	timed 'a wrong password' test_wrong_password
	timed health test_health
}

lay_out
snapshot_host >before
calm_starts
life_file >life.yaml
check 'up' by session up --wait life.yaml
timed 'killed clients' test_kill_client full
test_kill_client split
test_disconnect full ann
test_disconnect split ben
timed 'a dropping firewall' test_dropped
timed 'server killed' test_kill_server meanwhile
timed adoption test_adoption
calm_ends
timed 'a cut wire' test_cut
check 'down' by session down life.yaml
is_clean 'after all of this'
timed killed test_killed
timed edited test_edited
timed 'down in every state' test_down_states
timed 'random kills' test_random KILL $ROUNDS
timed 'random ends' test_random TERM 8
timed cycles test_cycles
is_clean 'at the end'
done_testing
