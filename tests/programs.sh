#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is loaded to run a command: the program that people call, the plugin and the library are without the libraries
# of tunnels and of the web page, and the first hands over to the one that has them.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
BYWAY=$(realpath "${BYWAY:-build/byway}")
: "${CNI:?}" "${LIBBYWAY:?}"
FULL=$(realpath "${BYWAY%/*}/full/byway")
DIR=$(mktemp -d)
TAP_OUTPUT=$DIR/output

# What a program or library names, but for what a sanitizer needs.
needed() { objdump -p "$1" | awk '/NEEDED/ { print $2 }' | grep -vE '^lib(c|m|pthread|asan|ubsan)\.so'; }
# What networks need but for one, by which it is seen that the list was read.
except_mnl() { grep -vE '^lib(nftnl|sqlite3|jansson|fyaml|cap-ng)\.so'; }

test_loaded() {
	is "byway needs what networks do, and no more" "$(needed "$BYWAY" | except_mnl)" libmnl.so.0
	is "so does byway-cni" "$(needed "$CNI" | except_mnl)" libmnl.so.0
	is "so does libbyway" "$(needed "$LIBBYWAY" | except_mnl)" libmnl.so.0
	for name in crypto ssl cares microhttpd seccomp; do
		like "the full one has lib$name" "$(needed "$FULL")" "lib$name\\.so"
	done
}

handed_over() { sed -nE 's/^\t\{"([a-z]+)", ("([a-z]+)"|NULL), .* FULL\(.*/\1 \3/p' src/cli/commands.c; }

test_handed_over() {
	local words
	while read -ra words; do
		"$DIR/sbin/byway" "${words[@]}" --nothing >"$TAP_OUTPUT" 2>&1
		is "byway ${words[*]} is handed over" "$? $(<"$TAP_OUTPUT")" "2 byway: error: unknown option '--nothing'"
	done < <(handed_over)
	is "with its arguments and its name" "$("$DIR/proxyvpn" up --help)" "$("$FULL" proxy up --help)"
	"$DIR/sbin/byway" proxy check --proxy-url http://user:secret@h >"$TAP_OUTPUT" 2>&1
	is "its errors are the command's own" "$? $(<"$TAP_OUTPUT")" \
		"2 byway: error: too few arguments: byway proxy check HOST:PORT"
}

test_alone() {
	local words
	rm -r "$DIR/libexec"
	while read -ra words; do
		"$DIR/sbin/byway" "${words[@]}" >"$TAP_OUTPUT" 2>&1
		is "byway ${words[*]} without the full one" "$? $(<"$TAP_OUTPUT")" \
			"9 byway: error: the rest of byway is not installed: \`byway ${words[*]}\` needs $DIR/sbin/../libexec/byway/byway"
	done < <(handed_over)
	like "and the others run" "$("$DIR/sbin/byway" --version)" '^byway '
}

install -D "$BYWAY" "$DIR/sbin/byway"
install -D "$FULL" "$DIR/libexec/byway/byway"
ln -s sbin/byway "$DIR/proxyvpn"
test_loaded
test_handed_over
test_alone
rm -rf "$DIR"
done_testing
