#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# archive.sh OUTPUT CORE OBJECT... -- COMPILER...: a static library of the objects, and of what they need
# of the archive CORE, as one object whose only names are byway_*: nobody's program can clash with ours.
set -eu

output=$1 core=$2
shift 2
objects=
while [ "$1" != -- ]; do
	objects="$objects $1"
	shift
done
shift
whole=$output.tmp.o
trap 'rm -f "$whole"' EXIT
# shellcheck disable=SC2086 # names without spaces
"$@" -r -nostdlib -o "$whole" $objects "$core"
objcopy --wildcard --keep-global-symbol='byway_*' "$whole"
rm -f "$output"
ar rcs "$output" "$whole"
