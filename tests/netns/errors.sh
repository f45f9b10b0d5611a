#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Bad input and bad luck: each command says what is wrong, with the exit code of its kind, and leaves
# the machine alone.
set -u
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

STATE=/run/byway/state.db

# One firewall for all VPCs of a machine.
test_other_backend() {
	exits 7 "another backend while there are VPCs" by --firewall iptables vpc create x 10.1.0.0/16
	fails "no bridge came of it" has_link br-x
}

# Every command that takes a VPC or a subnet, with one that is not there.
test_unknown() {
	policy "allow tcp 80 -" >p.json
	exits 3 "vpc show" by vpc show no
	exits 3 "subnet add" by subnet add no a 10.0.1.0/24
	exits 3 "subnet list" by subnet list no
	exits 3 "nat enable" by nat enable no
	exits 3 "peer add" by peer add no v
	exits 3 "policy apply" by policy apply no/a p.json
	exits 3 "policy show" by policy show v/no
	exits 3 "policy verify" by policy verify v/no
	exits 3 "exec" by exec v/no -- true
	says "names it" 'no'
	exits 0 "vpc delete" by vpc delete no
	exits 0 "subnet delete" by subnet delete v/no no/a
	exits 0 "nat disable" by nat disable no
	exits 0 "peer delete" by peer delete v no
	exits 0 "policy remove" by policy remove v/no
	exits 3 "a name that is nearly right" by vpc show vv
}

test_usage() {
	exits 2 "no command" by
	exits 2 "an unknown noun" by vcp create x 10.1.0.0/16
	says "suggests" 'vpc'
	exits 2 "an unknown verb" by vpc craete x 10.1.0.0/16
	says "suggests" 'create'
	exits 2 "an unknown option" by vpc create x 10.1.0.0/16 --mut 1400
	says "suggests" 'mtu'
	exits 2 "too many arguments" by vpc create x 10.1.0.0/16 y
	exits 2 "an option without its value" by vpc create x 10.1.0.0/16 --mtu
	exits 2 "an unknown backend" by --firewall pf vpc list
	exits 2 "an unknown backend in the environment" env BYWAY_FIREWALL=pf "$BYWAY" vpc create x 10.1.0.0/16
	run by vpc create x 10.1.0.0/99
	is "a mistake is one line" "$(err | wc -l)" 1
	is "and nothing on stdout" "$(out)" ""
	exits 0 "help" by --help
	prints "lists the commands" 'subnet'
	exits 0 "help of a noun" by vpc --help
	exits 0 "help of a command" by vpc create --help
	prints "with its options" '\-\-cidr6'
	exits 0 "version" by --version
}

# without CAPABILITY COMMAND...
without() {
	local cap=$1
	shift
	setpriv --bounding-set="-$cap" --inh-caps="-$cap" "$@"
}

test_capabilities() {
	exits 8 "no CAP_NET_ADMIN" without net_admin "$BYWAY" vpc create x 10.1.0.0/16
	says "is named" 'CAP_NET_ADMIN'
	exits 8 "no CAP_SYS_ADMIN, for a namespace" without sys_admin "$BYWAY" subnet add v x 10.0.9.0/24
	says "is named" 'CAP_SYS_ADMIN'
	exits 8 "nobody in particular" setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$BYWAY" vpc create x 10.1.0.0/16
	says "is told what is missing" 'CAP_|root'
	local words
	for words in status "vpc list" "session list" "session status" serve; do
		# shellcheck disable=SC2086 # words
		exits 8 "byway $words, by nobody" setpriv --reuid=65534 --regid=65534 --clear-groups "$BYWAY" $words
		is "what is the matter, in one line" "$(err)" \
			"byway: error: cannot read $STATE: Permission denied: run it as root (sudo)"
	done
	check "reading needs no capability" without net_admin "$BYWAY" vpc list
	fails "no bridge came of it" has_link br-x
	fails "no namespace" has_netns v-x
}

# without_program PATTERN COMMAND...: where the programs of that name are not programs.
without_program() {
	unshare --mount bash -c 'for program in /usr/sbin/$0; do
			mount --bind /dev/null "$(readlink -f "$program")" 2>/dev/null
		done
		exec "$@"' "$@"
}

test_missing_program() {
	exits 9 "no nft program" without_program 'nft' "$BYWAY" --firewall nft vpc create x 10.1.0.0/16
	says "is named" 'nft'
	exits 9 "no iptables program" without_program '*tables*' \
		"$BYWAY" --firewall iptables vpc create x 10.1.0.0/16
	says "is named" 'iptables'
	fails "no bridge came of it" has_link br-x
}

# lacks FEATURE OPTION COMMAND...: refused, naming the option, with nothing left of it.
lacks() {
	exits 9 "no $1: $3 $4" env LACKING="$1" LD_PRELOAD="$LACK" "$BYWAY" "${@:3}"
	says "  names the option" "$2\b"
	check "  leaves the machine alone" all_same_as "$WORLD/whole"
}

test_missing_feature() {
	policy "allow tcp 80 -" >p.json
	snapshot "$WORLD/whole"
	lacks bridge CONFIG_BRIDGE vpc create x 10.1.0.0/16
	lacks veth CONFIG_VETH subnet add v x 10.0.9.0/24
	lacks netns CONFIG_NET_NS subnet add v x 10.0.9.0/24
	lacks masq CONFIG_NFT_MASQ nat enable v
	lacks nat CONFIG_NFT_NAT nat enable v
	lacks ct CONFIG_NFT_CT policy apply v/a p.json
	lacks tbf CONFIG_NET_SCH_TBF vm add v/a m --rate 1M,1M
	mount -t tmpfs tmpfs /dev/net
	exits 9 "no TUN devices" by vm add v/a m
	says "  names the option" CONFIG_TUN
	umount /dev/net
	check "  leaves the machine alone" all_same_as "$WORLD/whole"
}

state_sum() { cat $STATE $STATE-wal 2>/dev/null | cksum; }

# damaged NAME REGEX: the database is bad now; the commands must say so, and not touch it.
damaged() {
	local before
	before=$(state_sum)
	fails "$1: list refuses" by vpc list
	says "$1: says why" "$2"
	says "$1: says what to do" 'byway reset|upgrade|newer'
	fails "$1: create refuses" by vpc create x 10.1.0.0/16
	fails "$1: delete refuses" by vpc delete v
	is "$1: the database is as it was" "$(state_sum)" "$before"
	check "$1: the VPC lives on" has_link br-v
	check "$1: and its subnet" has_netns v-a
	fails "$1: nothing new was made" has_link br-x
}

restore_state() {
	rm -f $STATE*
	cp -a saved/* /run/byway
}

test_damaged_state() {
	mkdir saved
	cp -a $STATE* saved
	rm -f $STATE-*
	head -c 4096 /dev/urandom | dd of=$STATE conv=notrunc status=none
	damaged "corrupt database" '[Cc]orrupt|damaged|not a database|malformed'
	restore_state
	check "the good one back: all is well" by vpc show v
	by -q subnet delete v/none # whatever was in the log is in the file now
	rm -f $STATE-*
	printf '\0\0\377\377' | dd of=$STATE bs=1 seek=60 conv=notrunc status=none
	damaged "newer database" 'newer'
	restore_state
	check "the good one back again" by vpc show v
}

fill_disk() { dd if=/dev/zero of=/run/byway/fill bs=1k status=none 2>/dev/null; }

test_full_disk() {
	mount -t tmpfs -o size=16k,mode=700 tmpfs /run/byway
	fill_disk
	fails "no room for a database" by vpc create full 10.2.0.0/16
	says "says so" '[Ff]ull|[Nn]o space'
	fails "no bridge came of it" has_link br-full
	umount /run/byway
	mount -t tmpfs -o size=512k,mode=700 tmpfs /run/byway
	must by vpc create full 10.2.0.0/16
	fill_disk
	fails "no room for one more subnet" by subnet add full --count 200
	says "says so" '[Ff]ull|[Nn]o space'
	fails "no namespace came of it" has_netns full-subnet-1
	check "what was there is still known" by vpc show full
	rm /run/byway/fill
	check "with room again it works" by subnet add full a 10.2.1.0/24
	fill_disk
	run by vpc delete full
	rm -f /run/byway/fill
	check "deleted at the latest with room again" by vpc delete full
	fails "the bridge is gone" has_link br-full
	umount /run/byway
}

# Lines enough that the first are written before the last are there.
test_output() {
	local words
	must by vpc create many 10.30.0.0/16
	must by subnet add many --count 40
	for words in metrics "subnet list" "subnet list --json" "completion bash" --version; do
		# shellcheck disable=SC2086 # words
		exits 1 "byway $words, to a full disk" eval "by $words >/dev/full"
		says "says so" 'cannot write to standard output'
		# shellcheck disable=SC2086 # words
		exits 1 "byway $words, to nowhere" eval "by $words >&-"
	done
	exits 1 "with all streams closed" eval 'by -v vpc create closed 10.9.0.0/16 <&- >&- 2>&-'
	check "what was to be done is done" by vpc show closed
	is "and no file has what was said" "$(tr -d '0-9\n' </run/byway/lock)" ""
	must by vpc delete closed many
}

test_read_only() {
	mount --bind /run/byway /run/byway
	mount -o remount,ro,bind /run/byway
	fails "a read-only state folder" by vpc create x 10.1.0.0/16
	says "says so" '[Rr]ead-only'
	fails "no bridge came of it" has_link br-x
	umount /run/byway
}

# Somebody else took away what byway made.
test_vanished() {
	must ip netns del v-a
	check "status still works" by status
	check "delete succeeds" by subnet delete v/a
	must by subnet add v a 10.0.1.0/24
	must ip link del br-v
	check "delete without its bridge succeeds" by vpc delete v
	must by vpc create v 10.0.0.0/16
	must by subnet add v a 10.0.1.0/24
	nft flush ruleset
	check "delete without its firewall succeeds" by vpc delete v
}

snapshot_host >"$WORLD/before"
must by vpc create v 10.0.0.0/16
must by subnet add v a 10.0.1.0/24
test_unknown
test_usage
test_capabilities
test_missing_feature
test_other_backend
test_damaged_state
test_read_only
test_vanished
test_missing_program
test_full_disk
test_output
check "nothing is left" same_as "$WORLD/before"
done_testing
