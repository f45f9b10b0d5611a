# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Large transfers, checked by their digests: BYTES of noise through one connection, both ways at the same
# time. With tests/lib/world.sh; servers run in the network `internet`.

STREAM=$(realpath "${STREAM:-$WORLD_TREE/build/tests/lib/stream}")
export WORLD

noise() { openssl enc -aes-128-ctr -nosalt -pass "pass:$1" -md md5 </dev/zero 2>/dev/null | head -c "$BYTES"; }
digest() { md5sum | cut -d ' ' -f 1 >"$WORLD/$1.md5"; }
same_digest() { diff "$WORLD/$1.md5" "$WORLD/$2.md5"; }

# serve PORT FUNCTION: one connection is its stdin and stdout.
serve() {
	export -f "${2?}"
	background "serve-$1" internet "$STREAM" inetd "$1" bash -c "$2"
}
served() {
	wait "${PIDS[serve-$1]}"
	unset "PIDS[serve-$1]"
}

exchange() {
	noise down | tee >(digest down.sent) &
	digest up.received
	wait
}
export -f noise digest

# transfer NAME NS ADDR PORT
transfer() {
	rm -f "$WORLD"/{up,down}.{sent,received}.md5
	serve "$4" exchange
	noise up | tee >(digest up.sent) | inside "$2" timeout "${TRANSFER_S:-150}" nc -N "$3" "$4" |
		digest down.received
	served "$4"
	wait_for test -s "$WORLD/up.sent.md5" -a -s "$WORLD/down.sent.md5"
	check "$1: $BYTES up, unchanged" same_digest up.sent up.received
	check "$1: $BYTES down through the same connection, unchanged" same_digest down.sent down.received
}
