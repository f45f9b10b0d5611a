#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libbyway as a monitor has it: programs are compiled with what `make install` installs, against the
# shared library and the static one, and make networks and TAP devices with it.
set -u
BUILD=$(realpath "${BUILD:?}")
# shellcheck source=/dev/null
. "$(dirname "$0")/../lib/suite.sh"
world_enter "$@"

SANITIZE=()
[[ ${SANITIZER:-none} == none ]] || SANITIZE=("-fsanitize=$SANITIZER")
FIREWALL=${BYWAY_FIREWALL:-auto}
ROOT=$WORLD/root

# ---- what is installed ----

install_it() {
	DESTDIR=$ROOT must meson install -C "$BUILD" --no-rebuild --quiet
	PC=$(find "$ROOT" -name byway.pc)
	HEADER=$(find "$ROOT" -name byway.h)
	SO=$(find "$ROOT" -name libbyway.so)
	PREFIX=${HEADER%/include/byway.h}
	export LD_LIBRARY_PATH=${SO%/*}
}

flags() { PKG_CONFIG_PATH=${PC%/*} pkg-config --define-variable=prefix="$PREFIX" "$@" byway; }

# compile OUTPUT SOURCE FLAGS...; what a sanitized library needs is in the program.
compile() { cc -std=gnu17 -Wall -Wextra -Werror "${SANITIZE[@]}" -o "$1" "$2" "${@:3}"; }

shared() { flags --cflags --libs; }
# Without the shared library beside it, -lbyway is the static one.
static() { flags --static --cflags --libs | sed 's/-lbyway/-l:libbyway.a/'; }

functions() { sed -nE 's/^BYWAY_API .*[ *](byway_[a-z_]+)\(.*/\1/p' "$HEADER" | sort; }

# symbols FILE NM-OPTIONS...: without their versions.
symbols() { nm --defined-only "${@:2}" "$1" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort; }
data_of() { nm --defined-only "${@:2}" "$1" | awk 'NF == 3 && $2 !~ /[TA]/'; }

test_installed() {
	is "the shared library's name" "$(objdump -p "$SO" | awk '/SONAME/ { print $2 }')" libbyway.so.0
	is "it exports what the header has" "$(symbols "$SO" -D)" "$(functions)"
	is "the static one, too" "$(symbols "${SO%.so}.a" -g)" "$(functions)"
	is "neither has data for others" "$(data_of "$SO" -D)$(data_of "${SO%.so}.a" -g)" ""
	is "it brings what networks need, and no more" "$(objdump -p "$SO" | awk '/NEEDED/ { print $2 }' |
		grep -vE '^lib(c|mnl|nftnl|sqlite3|jansson|fyaml|cap-ng|pthread|asan|ubsan)\.so')" ""
	is "pkg-config knows its version" "$(flags --modversion)" "$(by --version | cut -d' ' -f2)"
	# shellcheck disable=SC2046 # words
	{
		check "a monitor, shared" compile vmm "$EXAMPLES/libbyway.c" $(shared)
		check "and static" compile vmm-static "$EXAMPLES/libbyway.c" $(static)
		check "calls, shared" compile calls "$WORLD_TREE/tests/lib/libbyway.c" $(shared)
		check "and static" compile calls-static "$WORLD_TREE/tests/lib/libbyway.c" $(static)
		check "the header alone, in C++" c++ -fsyntax-only -Wall -Wextra -Werror -x c++ "$HEADER"
	}
	fails "the static one needs no shared one" eval 'ldd vmm-static | grep byway'
}

# ---- a monitor ----

# start_vmm PROGRAM: its standard input is ours to close.
start_vmm() {
	rm -f vmm.out
	mkfifo vmm.in
	"$1" m 10.30.0.0/24 web <vmm.in >vmm.out 2>vmm.err &
	PIDS['vmm']=$!
	exec {VMM_IN}>vmm.in
	wait_for test -s vmm.out || bail "$1 did not start: $(cat vmm.err)"
}

end_vmm() {
	exec {VMM_IN}>&-
	rm vmm.in
	wait "${PIDS['vmm']}"
}

test_monitor() {
	start_vmm "$1"
	is "$1: what it is given" "$(cat vmm.out)" "tap-web: address 10.30.0.2/24, gateway 10.30.0.1"
	can host ping:10.30.0.2
	is "$1: byway knows the machine" "$(json .interface vm show m/web)" tap-web
	check "gc" env -u BYWAY_FIREWALL "$BYWAY" gc # the monitor has let the library choose
	prints "finds all as it should be" 'nothing to do'
	check "$1 ends" end_vmm
	check "nothing is left" same_as before
}

# ---- calls ----

calls() { "$CALLS" m "$FIREWALL" "$@"; }

test_calls() {
	check "setup" calls setup
	check "setup again" calls setup
	is "byway has the network" "$(json '.cidr + " " + .nat.interface' network show m)" "10.10.0.0/24 eth0"
	check "create" calls create web
	is "tells what the machine needs" "$(out)" \
		"web tap-web 10.10.0.2/24 10.10.0.1 $(json .mac vm show m/web) mtu 1500 queues 1 closed"
	check "get" calls get web
	prints "tells the same" '^web tap-web 10\.10\.0\.2/24 10\.10\.0\.1 '
	exits 7 "create again" calls create web
	says "is a conflict, in words" '^7 File exists: VM .m/web. exists already'
	check "an address and a descriptor" calls create db 10.10.0.77 1
	prints "are given" '^db tap-db 10\.10\.0\.77/24 .* open$'
	exits 7 "a taken address" calls create x 10.10.0.77
	exits 2 "one of another network" calls create x 10.99.0.1
	exits 2 "no address at all" calls create x nonsense
	says "is named" 'address: .*nonsense'
	exits 2 "a name that is none" calls create a/b
	exits 2 "no name" calls create
	exits 2 "flags that there are not" calls create x - 64
	exits 2 "too many queues" calls create x - 0 257
	exits 3 "no such machine" calls get nobody
	check "what was refused left nothing" eval '[[ $(json ".vms | length" vm list m) == 2 ]]'
	check "delete" calls delete web
	fails "takes the device" has_link tap-web
	check "delete again" calls delete web
	check "structs of other times" calls sizes
	check "a machine of a process that has ended since" calls create orphan - 128
	check "gc" by gc
	exits 3 "finds it" calls get orphan
	exits 3 "of a process that cannot be" calls create x - 256
}

test_open() {
	must calls create many - 0 2
	check "two queues" calls open tap-many 2
	is "are two descriptors" "$(out | wc -l)" 2
	check "one queue" calls open tap-db
	exits 7 "is no second one" calls open tap-db 2
	exits 3 "no such device" calls open tap-nobody
	fails "and none is made" has_link tap-nobody
	exits 7 "a bridge is no TAP device" calls open m
	exits 3 "a name that no device has" calls open a-name-longer-than-an-interface
	must ip tuntap add dev other0 mode tun
	exits 7 "nor is a TUN device" calls open other0
	must ip link del other0
	exits 8 "without a privilege, root's device" without_privileges calls open tap-db
	must calls delete many
}

test_addresses() {
	check "an address before there is a machine" calls allocate later
	local addr
	addr=$(out)
	is "again it is the same" "$(calls allocate later)" "$addr"
	check "gc" by gc
	exits 7 "nobody else gets it" calls create x "$addr"
	is "its machine does" "$(calls create later | cut -d' ' -f3)" "$addr/24"
	exits 7 "and keeps it" calls release later
	must calls delete later
	is "with the machine it is free" "$(calls create x "$addr" | cut -d' ' -f3)" "$addr/24"
	must calls delete x
	check "a certain one" calls allocate certain 10.10.0.99
	exits 7 "is one" calls allocate another 10.10.0.99
	check "release" calls release certain
	check "release again" calls release certain
	check "makes it free" calls allocate another 10.10.0.99
	exits 3 "of a network that is not there" "$CALLS" nowhere "$FIREWALL" allocate x
	exits 0 "release there" "$CALLS" nowhere "$FIREWALL" release x
}

test_threads() {
	check "two threads, one manager" calls threads
	is "no address twice" "$(out | wc -l) $(json '[.vms[].address] | length == (unique | length)' vm list m)" "20 true"
	is "what was deleted is gone" "$(json '[.vms[].name | select(test("^[ab][0-9]$"))] | length' vm list m)" 10
}

# Nobody's user, and root without what it takes.
without_privileges() { setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$CALLS" m "$FIREWALL" "${@:2}"; }
without_caps() { setpriv --bounding-set=-net_admin --inh-caps=-net_admin -- "$CALLS" m "$FIREWALL" "$@"; }

test_refused() {
	exits 8 "without a capability" without_caps create x
	says "which is named" CAP_NET_ADMIN
	exits 8 "nor setup" without_caps setup
	exits 2 "a manager for no network" calls manager a/b
	exits 2 "with host bits" calls manager ok 10.0.0.1/24
	exits 2 "with a way out and none" calls manager ok 10.0.0.0/24 1 eth0
	exits 2 "with flags that there are not" calls manager ok 10.0.0.0/24 64
	check "a manager for all by default" calls manager
	exits 3 "a device without a network" "$CALLS" nowhere "$FIREWALL" create x
}

snapshot_host >before
install_it
test_installed
test_monitor ./vmm
test_monitor ./vmm-static
for CALLS in ./calls ./calls-static; do
	test_calls
	test_open
	test_addresses
	test_threads
	test_refused
	check "teardown" calls teardown
	check "teardown again" calls teardown
	check "nothing is left" same_as before
done
done_testing
