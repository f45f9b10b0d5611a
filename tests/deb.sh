#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Debian packages: built from a clean export, judged by lintian, installed on a clean system, used there, removed
# without cutting anybody off, and purged without a trace.
set -u
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/lib/suite.sh"
CLEAN_ROOT=/var/cache/byway-root
# DEBS: a folder where they are already.
if [[ -z ${DEBS:-} ]]; then
	export DEBS=$WORLD_TREE/build-deb
	"$WORLD_TREE/tools/deb.sh" "$DEBS" >/dev/null || bail "the packages cannot be built"
fi
world_enter "$@"
ROOT=$WORLD/root

if [[ ! -e $CLEAN_ROOT/etc/debian_version ]]; then
	skip "the packages on a clean system" "no $CLEAN_ROOT: tools/deps.sh deb-test"
	done_testing
fi

# ---- a clean system, in this world's network ----

lay_out() {
	mkdir -p "$WORLD/upper" "$WORLD/work" "$ROOT"
	must mount -t overlay overlay "$ROOT" \
		-o "lowerdir=$CLEAN_ROOT,upperdir=$WORLD/upper,workdir=$WORLD/work"
	mount -t proc proc "$ROOT/proc"
	mount --rbind /dev "$ROOT/dev"
	mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
	cp "$DEBS"/*.deb "$ROOT/tmp/"
}

on_root() { chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

# All files, but for the package system's own records of what it did, which it never removes.
files() {
	(cd "$ROOT" && find . -xdev \( -path ./tmp -o -path ./var/log -o -path ./var/lib/dpkg \
		-o -path ./var/cache/ldconfig -o -path ./var/cache/debconf \) -prune -o -printf '%p %y %m\n' | sort)
}
has_files() { (cd "$ROOT" && ls -d "$@"); }

# ---- tests ----

test_built() {
	local version
	version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$WORLD_TREE/meson.build")
	is "the version is the program's" "$(dpkg-deb -f "$DEBS"/byway_*.deb Version)" "$version"
	is "and the changelog's" "$(dpkg-parsechangelog -l "$WORLD_TREE/debian/changelog" -S Version)" "$version"
	is "lintian has nothing to say" \
		"$(lintian --allow-root --tag-display-limit 0 "$DEBS"/*.deb 2>&1 | grep -v '^N:')" ""
}

test_installed() {
	files >"$WORLD/before"
	check "they install" on_root bash -c 'dpkg -i /tmp/*.deb'
	check "programs, plugin, units, completion and pages are there" has_files usr/sbin/byway usr/libexec/byway/byway \
		usr/lib/cni/byway lib/systemd/system/byway-block.service \
		usr/share/bash-completion/completions/byway.bash usr/share/zsh/vendor-completions/_byway \
		usr/share/fish/vendor_completions.d/byway.fish usr/share/man/man8/byway.8.gz etc/byway
	like "nothing is enabled" "[$(find "$ROOT/etc/systemd/system" -name '*byway*' 2>/dev/null)]" '^\[\]$'
	like "the program runs" "$(on_root byway --version)" '^byway [0-9.]+'
	like "so does the one that it hands over to" "$(on_root byway serve --help)" '--listen WHERE'
	check "and makes a VPC" on_root byway vpc create shop 10.0.0.0/16
	check "with a subnet" on_root byway subnet add shop web 10.0.1.0/24
	check "that its gateway reaches" ping -q -c 1 -w 15 10.0.1.1
}

test_removed() {
	check "they are removed" on_root dpkg -r byway libbyway-dev libbyway0
	check "nobody is cut off" ping -q -c 1 -w 15 10.0.1.1
	check "they install again" on_root bash -c 'dpkg -i /tmp/*.deb'
	is "and know what there is" "$(on_root byway vpc list --json | jq -r '.vpcs[].name')" shop
	check "they are purged" on_root dpkg -P byway libbyway-dev libbyway0
	check "then the networks are gone" wait_gone ip link show br-shop
	is "and the rules" "$(nft list tables)" ""
	files >"$WORLD/after"
	check "and no file is left" diff "$WORLD/before" "$WORLD/after"
	is "nor in /run" "$(find "$ROOT/run" -name "byway*")" ""
}

lay_out
test_built
test_installed
test_removed
done_testing
