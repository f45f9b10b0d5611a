#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The agent where it is meant to be: on a server that has nothing but sshd, brought there by the
# deployment, with datagrams, pings and queries coming out of a TUN device on the other side.
set -u
# shellcheck source=tests/lib/world.sh
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

SSHD=192.0.2.1
TUN=vpn0
declare -A MACHINES=([x86_64]='' [aarch64]=qemu-aarch64-static [armv7l]=qemu-arm-static
	[riscv64]=qemu-riscv64-static)
STATUS_NO_SHELL=12
STATUS_NO_AGENT=13
STATUS_NO_DIRECTORY=14
STATUS_REFUSED=15
STATUS_TIMEOUT=16

# ---- the server ----

# user NAME SHELL: with a home of its own, and the key.
user() {
	local home=$WORLD/home/$1
	mkdir -p "$home/.ssh"
	cp "$WORLD/key.pub" "$home/.ssh/authorized_keys"
	chown -R 2001:2001 "$home"
	echo "$1:x:2001:2001::$home:$2" >>"$WORLD/passwd"
}

# users: a login shell of each kind that is there.
users() {
	local shell
	mkdir -m 755 "$WORLD/home"
	cp /etc/passwd "$WORLD/passwd"
	user plain /bin/sh
	user stranger /bin/sh
	printf 'command="echo no shell for you" %s\n' "$(cat "$WORLD/key.pub")" \
		>"$WORLD/home/stranger/.ssh/authorized_keys"
	user echoing /bin/sh
	printf 'command="cat" %s\n' "$(cat "$WORLD/key.pub")" >"$WORLD/home/echoing/.ssh/authorized_keys"
	user nobody_home /usr/sbin/nologin
	user restricted /bin/rbash
	user chatty /bin/bash
	echo 'echo welcome; echo; echo to this server' >"$WORLD/home/chatty/.bashrc"
	for shell in dash bash tcsh fish; do
		[[ ! -x $(command -v $shell) ]] || user "with_$shell" "$(command -v $shell)"
	done
}

# What the server's mounts are, from inside them: $1 and $2 are options of /tmp and of the homes.
server_mounts() {
	cat <<-'END'
		mount -t tmpfs -o "mode=1777,$1" tmpfs /tmp
		mount --bind "$3/home" "$3/home"
		mount -o "remount,bind,$2" "$3/home"
		mount --bind "$3/passwd" /etc/passwd
		mount --bind "$3/resolv.server" /etc/resolv.conf
		echo ready
		exec sleep infinity
	END
}

# server_start [TMP-OPTIONS [HOME-OPTIONS]]
server_start() {
	background server internet unshare --mount sh -c "$(server_mounts)" sh "${1:-exec}" "${2:-exec}" "$WORLD"
	become_server /usr/sbin/sshd -D -e -f "$WORLD/sshd_config" >"$WORLD/sshd.log" 2>&1 </dev/null &
	PIDS[sshd]=$!
	wait_for inside host "$PROBE" tcp $SSHD 22 500 || bail "sshd does not start: $(cat "$WORLD/sshd.log")"
}

become_server() { exec nsenter "--net=/run/netns/internet" "--mount=/proc/${PIDS[server]}/ns/mnt" -- "$@"; }
server_stop() {
	stop sshd
	stop server
}

sshd_files() {
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$WORLD/host_key"
	ssh-keygen -q -t ed25519 -N '' -f "$WORLD/key"
	printf 'nameserver 127.0.0.1\n' >"$WORLD/resolv.server"
	cat >"$WORLD/sshd_config" <<-END
		ListenAddress $SSHD
		HostKey $WORLD/host_key
		PidFile none
		StrictModes no
		UsePAM no
		PrintMotd no
		AllowTcpForwarding no
		MaxStartups 50
	END
}

# ---- what is on it ----

dnsmasq_start() {
	printf '%s\n' no-resolv no-hosts no-daemon listen-address=127.0.0.1 bind-interfaces \
		host-record=some.name,203.0.113.10 >"$WORLD/dnsmasq.conf"
	become internet dnsmasq -C "$WORLD/dnsmasq.conf" >"$WORLD/dnsmasq.out" 2>&1 &
	PIDS[dnsmasq]=$!
	wait_for inside internet "$PROBE" tcp 127.0.0.1 53 500 || bail "dnsmasq does not start"
}

# ping_sockets MIN MAX: the groups that may have them there.
ping_sockets() { inside internet sh -c "echo '$1 $2' >/proc/sys/net/ipv4/ping_group_range"; }

# Processes of the agent; what it has left in files.
agents() {
	local dir comm
	for dir in /proc/[0-9]*; do
		read -r comm <"$dir/comm" 2>/dev/null || continue
		[[ $comm != agent && $comm != qemu-* ]] || echo "${dir#/proc/}"
	done 2>/dev/null
}
files() { find "/proc/${PIDS[server]}/root/tmp" "$WORLD/home" -name '.byway-agent*' 2>/dev/null; }
nothing_there() {
	[[ -z $(agents) && -z $(files) ]] && return
	echo "processes: $(agents); files: $(files)"
	return 1
}
leaves_nothing() { check "$1: nothing is left on the server" wait_for nothing_there; }

# ---- the other side ----

SSH=(ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null
	-o LogLevel=ERROR -i "$WORLD/key")
by_ssh() { COMMAND=("${SSH[@]}" "$1@$SSHD"); }
by_shell() { COMMAND=(nsenter --net=/run/netns/internet "--mount=/proc/${PIDS[server]}/ns/mnt" -- "$@"); }

tun_up() {
	ip -batch - <<-END
		addr add 10.99.0.1/24 dev $TUN
		addr add fd99::1/64 dev $TUN nodad
		link set $TUN up
		route add 203.0.113.0/24 dev $TUN
		route add 198.51.100.0/24 dev $TUN
		route add 198.51.101.0/24 dev $TUN
		route add 2001:db8:99::/64 dev $TUN
	END
}

# relay_start [OPTION...]: by COMMAND.
relay_start() {
	rm -f "$WORLD/relay.out"
	"$RELAY" "$@" $TUN "${COMMAND[@]}" >"$WORLD/relay.out" 2>"$WORLD/relay.err" </dev/null &
	PIDS[relay]=$!
	wait_for grep -q ready "$WORLD/relay.out" && tun_up && WAIT_S=30 wait_for is_attached 1
}
attachments() { grep -c '^attached' "$WORLD/relay.out"; }
is_attached() { (($(attachments) >= $1)); }
relay_says() { grep -o "$1=[0-9]*" < <(tail -n 1 "$WORLD/relay.out") | cut -d= -f2; }
stats() {
	local before
	before=$(wc -l <"$WORLD/relay.out")
	kill -USR1 "${PIDS[relay]}"
	wait_for more_lines "$before"
}
more_lines() { (($(wc -l <"$WORLD/relay.out") > $1)); }

# refusal STATUS REGEX NAME [RELAY-OPTION...]: the deployment fails so.
refusal() {
	local status=$1 regex=$2 name=$3
	shift 3
	exits "$status" "$name" timeout 40 "$RELAY" "$@" $TUN "${COMMAND[@]}"
	says "$name: why" "$regex"
	leaves_nothing "$name"
}

# ---- tests ----

datagrams() {
	can host udp:$INTERNET4 7 "$1"
	can host udp:$INTERNET6 7 "$1"
	can host ping:$INTERNET4 0 "$1"
	can host ping:$INTERNET6 0 "$1"
}

errors() {
	is "$1: a port that nobody listens on" "$("$UDP" refused $INTERNET4 9)" ECONNREFUSED
	is "$1: in IPv6" "$("$UDP" refused $INTERNET6 9)" ECONNREFUSED
	is "$1: a host that cannot be reached" "$("$UDP" refused 198.51.100.1 9)" EHOSTUNREACH
	is "$1: one that may not" "$("$UDP" refused 198.51.101.1 9)" EHOSTUNREACH
	run ping -n -c 1 -W 5 198.51.100.1
	prints "$1: and for a ping" "Destination Host Unreachable"
	run ping -n -c 1 -W 5 198.51.101.1
	prints "$1: and for one that is forbidden" "Packet filtered"
}

many() {
	is "$1: 1,000 flows" "$("$UDP" flows 1000 $INTERNET4 7)" 1000
	is "$1: what the kernel was to cut" "$("$UDP" segments $INTERNET4 7)" "1000 1000 500"
}

names() {
	printf 'nameserver 203.0.113.99\noptions attempts:1\n' >/etc/resolv.conf
	is "$1: a name, by the server's resolver" "$(getent ahostsv4 some.name | awk 'NR == 1 { print $1 }')" \
		203.0.113.10
}

# Printed, not judged.
throughput() {
	local direction line
	for direction in up down; do
		line=$(inside host "$UDP" $direction 1400 100000 "${PPS:-50000}" $INTERNET4 4000)
		diag "$1: 1,400 bytes $direction: $line"
		check "$1: some of many arrive, $direction" arrived "$line"
	done
	"$UDP" rtt 1 $INTERNET4 4000 >"$WORLD/rtt"
	diag "$1: idle, a small one and back: $(cat "$WORLD/rtt")"
	"$UDP" down 1400 200000 100000 $INTERNET4 4000 >"$WORLD/down" &
	"$UDP" rtt 1 $INTERNET4 7 >"$WORLD/rtt"
	wait $!
	diag "$1: beside bulk: $(cat "$WORLD/rtt"); bulk: $(cat "$WORLD/down")"
	stats
	diag "$1: $(tail -n 1 "$WORLD/relay.out")"
}
arrived() { [[ $1 =~ arrived\ ([0-9]+) ]] && ((BASH_REMATCH[1] > 1000)); }

# On a path of 20 Mbit/s, with bulk that wants twice that: what a small one waits for is not in the
# buffers of ssh and of the network.
test_slow() {
	local direction ns
	by_ssh plain
	check "slow: up" relay_start
	for ns in host internet; do
		must inside $ns tc qdisc add dev eth0 root tbf rate 20mbit burst 32kb latency 50ms
	done
	for direction in up down; do
		"$UDP" $direction 1400 20000 4000 $INTERNET4 4000 >"$WORLD/bulk" &
		"$UDP" rtt 4 $INTERNET4 7 >"$WORLD/rtt"
		wait $!
		diag "slow: bulk $direction: $(cat "$WORLD/bulk"); beside it: $(cat "$WORLD/rtt")"
		check "slow: a small one does not wait for bulk $direction" is_quick
	done
	for ns in host internet; do
		must inside $ns tc qdisc del dev eth0 root
	done
	stop relay
	leaves_nothing slow
}
is_quick() { [[ $(cat "$WORLD/rtt") =~ ^median\ ([0-9]+) ]] && ((BASH_REMATCH[1] < 150000)); }

test_local() {
	by_shell sh -c
	check "local: up" relay_start -d remote
	datagrams local
	errors local
	many local
	names local
	throughput local
	stop relay
	leaves_nothing "local"
}

test_shells() {
	local shell
	for shell in dash bash "busybox ash"; do
		# shellcheck disable=SC2086 # words
		by_shell $shell -c
		check "$shell: up" relay_start
		can host udp:$INTERNET4 7 "$shell"
		stop relay
		leaves_nothing "$shell"
	done
}

test_ssh() {
	by_ssh plain
	check "ssh: up" relay_start -d remote
	like "ssh: from where" "$(grep attached "$WORLD/relay.out")" "Linux x86_64 in /tmp/.byway-agent-"
	check "ssh: no file is left as soon as it runs" test -z "$(files)"
	check "ssh: it has given up what it does not need" is_confined "$(agents)"
	datagrams ssh
	errors ssh
	many ssh
	names ssh
	throughput ssh
	stop relay
	leaves_nothing ssh
}

is_confined() {
	local status
	status=$(cat "/proc/$1/status")
	[[ $status =~ NoNewPrivs:.1 && $status =~ Seccomp:.2 ]] || { echo "$status"; return 1; }
	[[ $(stat -c %u "/proc/$1/fd") == 0 ]] || { echo "it may be traced"; return 1; }
	is_limited "Max processes" "$1" && is_limited "Max file size" "$1" || return 1
	[[ -z $(find "/proc/$1/fd" -type l ! -lname 'socket:*' ! -lname 'pipe:*' \
		! -lname 'anon_inode:?eventpoll?' ! -lname /dev/null) ]] || { ls -l "/proc/$1/fd"; return 1; }
}
is_limited() { grep -qE "^$1 +0 +0 " "/proc/$2/limits" || { cat "/proc/$2/limits"; return 1; }; }

test_login_shells() {
	local name
	for name in with_dash with_bash with_tcsh with_fish chatty; do
		grep -q "^$name:" "$WORLD/passwd" || continue
		by_ssh $name
		check "ssh, $name: up" relay_start
		can host udp:$INTERNET4 7 "$name"
		stop relay
		leaves_nothing "ssh, $name"
	done
}

# killed NAME PID: a relay that comes back by itself.
killed() {
	local before
	before=$(attachments)
	kill -9 "$2"
	WAIT_S=30 check "kill -9 of $1: back again" wait_for is_attached $((before + 1))
	can host udp:$INTERNET4 7 "after kill -9 of $1"
	is "one agent is there" "$(agents | wc -w)" 1
	is "no file is" "$(files)" ''
}
parent() { awk '/^PPid:/ { print $2 }' "/proc/$1/status"; }
ssh_pid() { awk '/^attached/ { pid = $NF } END { print pid }' "$WORLD/relay.out"; }

test_kills() {
	by_ssh plain
	check "kills: up" relay_start -r
	killed "the agent" "$(agents)"
	killed "ssh" "$(ssh_pid)"
	killed "sshd's session" "$(parent "$(agents)")"
	kill -9 "${PIDS[relay]}"
	wait "${PIDS[relay]}" 2>/dev/null
	leaves_nothing "kill -9 of the relay"
}

# With the upload cut off in the middle, and before it.
test_interrupted() {
	local n
	for n in 0 1 1000; do
		# shellcheck disable=SC2016 # for the shell there
		{ echo 0123456789abcdef; echo 5000 00; head -c $n /dev/zero; } |
			"${SSH[@]}" plain@$SSHD "$("$RELAY" -p)" >"$WORLD/cut" 2>&1
		is "an upload that ends after $n bytes" "$(tail -n 1 "$WORLD/cut")" "byway-agent: short"
		leaves_nothing "an upload that ends after $n bytes"
	done
	: | "${SSH[@]}" plain@$SSHD "$("$RELAY" -p)" >"$WORLD/cut" 2>&1
	leaves_nothing "a client that says nothing"
}

# false_uname MACHINE
false_uname() {
	printf '#!/bin/sh\ncase $1 in -s) echo Linux ;; *) echo %s ;; esac\n' "$1" >"$WORLD/home/plain/uname"
	chmod 755 "$WORLD/home/plain/uname"
}

test_refusals() {
	by_ssh stranger
	refusal $STATUS_NO_SHELL "TCP only: .*no shell for you" "a forced command"
	by_ssh echoing
	refusal $STATUS_NO_SHELL "TCP only: no shell answers" "a forced command that echoes" -t 2000
	by_ssh nobody_home
	refusal $STATUS_NO_SHELL "TCP only: .*not available" "nologin"
	by_ssh restricted
	refusal $STATUS_NO_SHELL "TCP only: the server runs no shell" "rbash"
	by_shell sh -c "exec sleep 60"
	refusal $STATUS_TIMEOUT "no shell has answered" "a shell that is silent" -t 500
	false_uname mips
	by_shell env "PATH=$WORLD/home/plain:$PATH" sh -c
	refusal $STATUS_NO_AGENT "TCP only: there is no agent for Linux mips" "another machine"
	false_uname riscv64
	[[ ! -e $AGENTS/agent-riscv64 ]] ||
		refusal $STATUS_REFUSED "TCP only: the server .Linux riscv64. does not run the agent" \
			"a machine that is not what it says"
	rm "$WORLD/home/plain/uname"
}

test_noexec() {
	server_stop
	server_start noexec exec
	by_ssh plain
	check "noexec /tmp: up" relay_start
	like "from the home" "$(grep attached "$WORLD/relay.out")" "in $WORLD/home/plain/.byway-agent-"
	can host udp:$INTERNET4 7
	stop relay
	leaves_nothing "noexec /tmp"
	server_stop
	server_start noexec noexec
	refusal $STATUS_NO_DIRECTORY "TCP only: .*noexec" "noexec everywhere"
	server_stop
	server_start ro ro
	refusal $STATUS_NO_DIRECTORY "TCP only: .*can be written to" "read-only everywhere"
	server_stop
	server_start size=8k noexec
	refusal $STATUS_NO_DIRECTORY "TCP only: .*no room" "a full /tmp"
	server_stop
	server_start
}

# Pings where there are no ping sockets: by a raw one, if allowed.
test_pings() {
	ping_sockets 1 0
	by_shell sh -c
	check "raw pings: up" relay_start
	can host ping:$INTERNET4 0 "raw"
	can host ping:$INTERNET6 0 "raw"
	stop relay
	by_ssh plain
	check "no pings: up" relay_start
	run ping -n -c 1 -W 5 $INTERNET4
	prints "a ping that the server does not allow" "Packet filtered"
	can host udp:$INTERNET4 7 "no pings"
	stop relay
	leaves_nothing "pings"
	ping_sockets 0 2147483647
}

test_machines() {
	local machine qemu
	for machine in "${!MACHINES[@]}"; do
		qemu=${MACHINES[$machine]}
		if [[ ! -e $AGENTS/agent-$machine || (-n $qemu && ! -x $(command -v "$qemu")) ]]; then
			skip "$machine" "no compiler, or no emulator"
			continue
		fi
		install -D "$AGENTS/agent-$machine" "$WORLD/run-$machine/agent"
		# shellcheck disable=SC2086 # nothing, or a word
		by_shell $qemu "$WORLD/run-$machine/agent" "$WORLD/run-$machine"
		check "$machine: up" relay_start -n
		check "$machine: its file is gone" test ! -e "$WORLD/run-$machine"
		datagrams "$machine"
		is "$machine: a refused port" "$("$UDP" refused $INTERNET4 9)" ECONNREFUSED
		is "$machine: 200 flows" "$("$UDP" flows 200 $INTERNET4 7)" 200
		stop relay
		leaves_nothing "$machine"
	done
}

echo_server internet 7
background udp internet "$UDP" serve 4000
ip -n internet route add unreachable 198.51.100.0/24
ip -n internet route add prohibit 198.51.101.0/24
ping_sockets 0 2147483647
sshd_files
users
dnsmasq_start
server_start
test_local
test_shells
test_ssh
test_slow
test_login_shells
test_kills
test_interrupted
test_refusals
test_noexec
test_pings
test_machines
stop_all
done_testing
