#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build.sh FOLDER [MESON OPTION...]: configures the folder, anew or again, and compiles. Quiet as
# long as all is well.
set -u
cd "$(dirname "$0")/.." || exit 1

quietly() {
	local log=$1
	shift
	if ! "$@" >"$log" 2>&1; then
		grep -vE '^\[[0-9]+/[0-9]+\] |^ninja: Entering' "$log" >&2
		return 1
	fi
	grep -E 'warning:' "$log" >&2
	return 0
}

configure() {
	local folder=$1
	shift
	if [[ -e $folder/build.ninja ]]; then
		quietly "$folder/configure.log" meson configure "$folder" "$@"
	else
		mkdir -p "$folder"
		quietly "$folder/configure.log" meson setup "$folder" "$@"
	fi
}

# The programs stand at the top of the folder, wherever meson put them.
expose() {
	[[ -x $1/src/cli/byway ]] || return 0
	ln -sf src/cli/byway "$1/byway"
	echo "built $1/byway"
}

main() {
	local folder=$1
	configure "$@" || return 1
	quietly "$folder/compile.log" ninja -C "$folder" || return 1
	expose "$folder"
}

main "$@"
