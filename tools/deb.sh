#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# deb.sh FOLDER: builds the Debian packages from a clean export of what is in the working tree, and leaves them in
# FOLDER. Quiet as long as all is well.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
FOLDER=$(realpath "$1")

# What is committed, with what is changed; new files count once git knows them.
export_tree() {
	local tree
	tree=$(git stash create)
	git archive "${tree:-HEAD}" | tar -x -C "$1"
}

main() {
	rm -rf "$FOLDER/source" "$FOLDER"/*.deb
	mkdir "$FOLDER/source"
	export_tree "$FOLDER/source"
	cd "$FOLDER/source"
	if ! DEB_BUILD_OPTIONS="noautodbgsym ${DEB_BUILD_OPTIONS:-}" dpkg-buildpackage --build=binary \
		--no-sign >"$FOLDER/build.log" 2>&1; then
		tail -n 60 "$FOLDER/build.log" >&2
		return 1
	fi
	rm -rf "$FOLDER/source"
	ls "$FOLDER"/*.deb
}

main
