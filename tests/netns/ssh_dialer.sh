#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The dialer over SSH against OpenSSH's sshd, in the network `internet`.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
# shellcheck source=tests/lib/world.sh
. tests/lib/world.sh
DIAL=$(realpath "${DIAL:-$WORLD_TREE/build/tests/lib/dial}")
SSH_LOAD=$(realpath "${SSH_LOAD:-$WORLD_TREE/build/tests/lib/ssh_load}")
STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
world_enter "$@"
# shellcheck source=tests/lib/sshd.sh
. "$WORLD_LIB/sshd.sh"

PLAIN=22 FORBID=23 PERMIT=24 ONE=25 JUMP=26
TARGET=$INTERNET4
# Exit statuses of dial: 10 and the number of enum dial_status.
REFUSED=12 UNREACHABLE=13 DENIED=14 AUTH=15 BROKEN=17
export SSH_WORDS SSH_MODE SSH_WAIT_MS SSH_CONNECTIONS SSH_GID SSH_SUDO
unset SSH_MODE SSH_WAIT_MS SSH_CONNECTIONS SSH_GID SSH_SUDO SSH_AUTH_SOCK

# ---- servers ----

servers() {
	sshd_prepare
	sshd_start plain $PLAIN "ClientAliveInterval 1" "ClientAliveCountMax 3"
	sshd_start forbid $FORBID "AllowTcpForwarding no"
	sshd_start permit $PERMIT "PermitOpen $TARGET:8080"
	sshd_start one $ONE "MaxSessions 1"
	sshd_start jump $JUMP
	web_server internet 8080
	echo_server internet 7
	become internet "$STREAM" serve 5001 >/dev/null 2>&1 </dev/null &
	PIDS[serve]=$!
	become internet "$STREAM" echo 5002 >/dev/null 2>&1 </dev/null &
	PIDS[streamecho]=$!
	ip -n internet route add unreachable 198.51.100.0/24
}

# ---- acting ----

# get_by DEST HOST PORT: a web page.
get_by() { printf 'GET / HTTP/1.0\r\n\r\n' | timeout 30 "$DIAL" "$@"; }

gets() { # NAME HOST PORT
	exits 0 "$1" get_by ssh:root@$SSH_SERVER "$2" "$3" && prints "$1: the page" "hello from internet to"
}

refuses_with() { # STATUS REGEX NAME HOST PORT
	exits "$1" "$3" get_by ssh:root@$SSH_SERVER "$4" "$5"
	says "$3: why" "$2"
}

load() { timeout 120 "$SSH_LOAD" "root@$SSH_SERVER" "$@"; }

# forwarder NAME [HOST PORT]: a long-lived dialer; its states are in $WORLD/NAME.err.
forwarder() {
	background "$1" host "$SSH_LOAD" "root@$SSH_SERVER" forward 9000 "${2:-$TARGET}" "${3:-8080}"
}

states() { grep -oE '^0 [a-z]+' "$WORLD/$1.err" | cut -d' ' -f2; }
count_states() { states "$1" | grep -c "^$2\$"; }
is_state() { [[ $(states "$1" | tail -n 1) == "$2" ]]; }
through() { curl -sS --noproxy '*' --max-time 20 http://127.0.0.1:9000/; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
ssh_pids() { pgrep -x ssh; }
no_ssh() { ! ssh_pids; }
no_sockets() { ! compgen -G "/run/ssh-*"; }
diag_each() { while read -r line; do diag "$line"; done; }

nothing_left() { # NAME
	check "$1: no process is left" wait_for no_ssh
	check "$1: no socket is left" no_sockets
}

# ---- tests ----

basic() {
	gets "$1: IPv4" $TARGET 8080
	gets "$1: IPv6" $INTERNET6 8080
	gets "$1: a host's name" localhost 8080
	refuses_with $REFUSED "refused: .*(Connection refused|could not or would not)" "$1: refused" $TARGET 9
	refuses_with $UNREACHABLE "unreachable: " "$1: unreachable" 198.51.100.1 80
	refuses_with $UNREACHABLE "unreachable: " "$1: no such name" nowhere.invalid 80
	SSH_WORDS=$(ssh_words $FORBID) refuses_with $DENIED "denied: " "$1: forwarding forbidden" $TARGET 8080
	SSH_WORDS=$(ssh_words $PERMIT) gets "$1: a target permitted" $TARGET 8080
	SSH_WORDS=$(ssh_words $PERMIT) refuses_with $DENIED "denied: " "$1: another target" $TARGET 7
	SSH_WORDS=$(ssh_words $ONE) gets "$1: MaxSessions 1" $TARGET 8080
}

listens() { [[ -n $(inside internet ss -tlnH sport = ":$1") ]]; }
received() { [[ $(stat -c %s "$WORLD/received") == "$1" ]]; }

# The server ends first and reads on; nc has it all only when our end has come through.
half_close() {
	inside internet nc -l -N -p 6000 <"$SSHD_DIR/host.pub" >"$WORLD/received" &
	local nc=$! half
	wait_for listens 6000 || bail "nc did not start"
	"$SSH_LOAD" root@$SSH_SERVER half $TARGET 6000 1000000 2>/dev/null &
	half=$!
	check "$1: sending after the server's end" wait_for received 1000000
	check "$1: our end comes through" wait_for not kill -0 $nc
	kill $half
	wait $half $nc 2>/dev/null
}

much() {
	local sum
	sum=$(timeout 120 "$DIAL" ssh:root@$SSH_SERVER $TARGET 7 <"$WORLD/random" 2>"$WORLD/echo.err" | sha256sum)
	is "$1: 100 MB and back" "$sum" "$(sha256sum <"$WORLD/random")" || diag "$(cat "$WORLD/echo.err")"
	check "$1: 1,000 streams at once" timeout 120 "$DIAL" -n 1000 -p 500 ssh:root@$SSH_SERVER $TARGET 5002
	is "$1: all connected" "$(out)" "connected 1000"
	check "$1: 1,000 idle streams" load idle $TARGET 5002 1000
	diag_each <"$TAP_OUTPUT"
	check "$1: a reader that sleeps stops nobody" load stall $TARGET 5001 1000
	diag "beside a reader that sleeps: $(out)"
	check "$1: requests beside a bulk stream" load beside $TARGET 5001 2000
	diag_each <"$TAP_OUTPUT"
}

# Without keepalives of ssh's own, which the server would take for a sign of life.
keepalives() {
	SSH_WORDS="-oServerAliveInterval=0 $SSH_WORDS" exits 0 "an idle stream outlives the server's keepalives" slow_echo
	is "and works" "$(out)" "ab"
}
slow_echo() { (printf a; pause 9; printf b) | timeout 30 "$DIAL" "ssh:root@$SSH_SERVER" "$TARGET" 7; }

# recovers NAME: how long until a request goes through again.
recovers() {
	local start
	start=$(now_ms)
	check "$1: recovers" through
	diag "$1: traffic after $(($(now_ms) - start)) ms"
}

deaths() {
	SSH_WAIT_MS=20000 forwarder deaths
	check "a request" through
	kill -9 "$(ssh_pids)"
	recovers "kill -9 of ssh"
	kill -9 "$(pgrep -f 'sshd: root$')"
	recovers "kill -9 of sshd's session"
	ip -n internet link set eth0 down
	pause 5
	check "the loss is noticed" wait_for not is_state deaths up
	ip -n internet link set eth0 up
	kill -USR1 "${PIDS[deaths]}"
	recovers "a link cut for 5 s"
	is "it came up each time" "$(count_states deaths up)" 4 || diag "$(cat "$WORLD/deaths.err")"
	kill -9 "${PIDS[deaths]}"
	wait "${PIDS[deaths]}" 2>/dev/null
	unset "PIDS[deaths]"
	nothing_left "after kill -9"
}

# A stream that is open when ssh dies breaks off; it does not end as if all had been said.
resets() {
	SSH_MODE=$1 background resets host sh -c \
		"sleep 1000 | exec '$DIAL' ssh:root@$SSH_SERVER $TARGET 7 2>&1"
	wait_for grep -q connected "$WORLD/resets.out"
	kill -9 "$(ssh_pids)"
	check "$1: the stream of an ssh that died breaks" wait_for grep -q "the stream broke: Connection reset" \
		"$WORLD/resets.out" || diag "$(cat "$WORLD/resets.out")"
	stop resets
	kill "$(pgrep -x sleep)" # the world has no others
}

# stops NAME STATUS REGEX: nothing is tried again.
stops() {
	refuses_with "$2" "$3" "$1" $TARGET 8080
	forwarder stops
	check "$1: it stops" wait_for is_state stops stopped
	pause 1
	is "$1: for good" "$(count_states stops connecting)" 1
	stop stops
}

mistakes() {
	SSH_WORDS="-i $SSHD_DIR/stranger $(ssh_words $PLAIN)"
	SSH_WORDS=${SSH_WORDS/-i $SSHD_DIR\/user /} stops "wrong key" $AUTH "no connection to .*Permission denied"
	SSH_WORDS="-oUserKnownHostsFile=$SSHD_DIR/known-none $(ssh_words $PLAIN)"
	stops "unknown host" $BROKEN "Host key verification failed"
	SSH_WORDS="-oUserKnownHostsFile=$SSHD_DIR/known-other $(ssh_words $PLAIN)"
	stops "changed host key" $BROKEN "[Hh]ost key.* has changed"
	SSH_WORDS="-oNoSuchOption=1 $(ssh_words $PLAIN)"
	stops "a mistake in the options" $BROKEN "Bad configuration option"
	SSH_WORDS=$(ssh_words 1) SSH_WAIT_MS=5000 refuses_with $UNREACHABLE "Connection refused" "no server" $TARGET 8080
	SSH_WORDS=$(ssh_words $PLAIN)
}

jump() {
	cat >"$SSHD_DIR/config" <<-END
		Host *
		IdentityFile $SSHD_DIR/user
		UserKnownHostsFile $SSHD_DIR/known
	END
	SSH_WORDS="-F $SSHD_DIR/config -J root@$SSH_SERVER:$JUMP -p $PLAIN" gets "$1" $TARGET 8080
}

# Every packet to the servers carries the group, ProxyJump's too; a user's agent and files are in use.
group_and_user() {
	local home=$SSHD_DIR/home
	nft -f - <<-END
		table inet only_ssh {
			chain out {
				type filter hook output priority 0
				ip daddr $SSH_SERVER meta skgid 63000 counter accept
				ip daddr $SSH_SERVER counter reject with tcp reset
			}
		}
	END
	refuses_with $UNREACHABLE "Connection refused" "without the group" $TARGET 8080
	SSH_GID=63000 gets "with the group" $TARGET 8080
	SSH_GID=63000 jump "with the group, by a jump host"
	mkdir -p "$home"
	cp "$SSHD_DIR/user" "$home/key"
	chown -R 65534:65534 "$home"
	setpriv --reuid 65534 --regid 65534 --clear-groups ssh-agent -D -a "$home/agent" >/dev/null 2>&1 &
	PIDS[agent]=$!
	wait_for test -S "$home/agent"
	SSH_AUTH_SOCK=$home/agent setpriv --reuid 65534 --regid 65534 --clear-groups \
		ssh-add -q "$home/key" || bail "no agent"
	export SUDO_UID=65534 SSH_AUTH_SOCK=$home/agent SSH_SUDO=1 SSH_GID=63000
	SSH_WORDS="-F none -p $PLAIN -oUserKnownHostsFile=$home/known -oStrictHostKeyChecking=accept-new"
	forwarder user
	check "as the user, by its agent" through
	is "ssh runs as the user, with the group" "$(ps -o uid=,gid= -C ssh | xargs)" "65534 63000"
	is "what ssh writes is the user's" "$(stat -c %u "$home/known")" 65534
	kill -9 "${PIDS[user]}"
	wait "${PIDS[user]}" 2>/dev/null
	unset "PIDS[user]"
	nothing_left "another user's, after kill -9"
	unset SUDO_UID SSH_AUTH_SOCK SSH_SUDO SSH_GID
	SSH_WORDS=$(ssh_words $PLAIN)
	nft delete table inet only_ssh
}

# ssh dies of too many channels that were not opened; ours is replaced before.
renewal() {
	check "2,500 refusals" load opens $TARGET 9 2500
	is "all refused" "$(grep -v second "$TAP_OUTPUT")" "refused 2500" || diag "$(cat "$TAP_OUTPUT.err")"
	check "by more than one ssh" test "$(grep -oE 'up pid [0-9]+' "$TAP_OUTPUT.err" | sort -u | wc -l)" -gt 1
	nothing_left "after a renewal"
}

several() {
	SSH_CONNECTIONS=3 check "three connections" timeout 60 "$DIAL" -n 300 -p 100 ssh:root@$SSH_SERVER $TARGET 5002
	is "all connected" "$(out)" "connected 300"
}

# Not judged: the machine has other work.
throughput() {
	# shellcheck disable=SC2086 # words
	ssh -f -N $SSH_WORDS -oBatchMode=yes -L 5555:$TARGET:5001 root@$SSH_SERVER || return
	diag "up:   ssh -L $("$STREAM" bulk 127.0.0.1 5555 2000), byway $(load bulk $TARGET 5001 2000 2>/dev/null)"
	diag "down: ssh -L $("$STREAM" down 127.0.0.1 5555 2000), byway $(load down $TARGET 5001 2000 2>/dev/null)"
	kill "$(ssh_pids)"
	wait_for no_ssh
}

SSH_WORDS=$(ssh_words $PLAIN)
servers
head -c 100000000 /dev/urandom >"$WORLD/random"
for mode in proxy passenger; do
	export SSH_MODE=$mode
	basic $mode
	[[ $mode == passenger ]] || half_close $mode # see ssh_passenger.c
	much $mode
	resets $mode
	nothing_left $mode
done
unset SSH_MODE
keepalives
deaths
mistakes
jump "a jump host"
group_and_user
renewal
several
throughput
stop_all
done_testing
