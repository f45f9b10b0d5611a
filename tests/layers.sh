#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The folders of src/ are layers: a file includes its own layer and lower ones only. Every header
# compiles alone, for a person who includes nothing before it.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
TAP_OUTPUT=$(mktemp)

LAYERS=(base kernel proc store ipam firewall vpc vm agent tunnel session egress config ops web cli cni lib) # lowest first
declare -A RANK=()
for i in "${!LAYERS[@]}"; do
	RANK[${LAYERS[i]}]=$i
done

includes_of() { sed -nE 's/^[ \t]*#[ \t]*include[ \t]+"([^"]+)".*/\1/p' "$1"; }

# Prints what is wrong with one file's includes.
upward_includes() {
	local file=$1 layer included to
	layer=$(cut -d/ -f2 <<<"$file")
	while read -r included; do
		to=${included%%/*}
		if [[ $included != */* || -z ${RANK[$to]:-} ]]; then
			echo "$file includes \"$included\", which names no layer"
		elif ((RANK[$to] > RANK[$layer])); then
			echo "$file ($layer) includes \"$included\" ($to), which is higher"
		fi
	done < <(includes_of "$file")
}

check_layers() {
	local layer file wrong
	for layer in "${LAYERS[@]}"; do
		[[ -d src/$layer ]] || continue
		wrong=$(find "src/$layer" -name '*.[ch]' | sort | while read -r file; do
			upward_includes "$file"
		done)
		if [[ -z $wrong ]]; then pass "$layer includes nothing above it"; else
			fail "$layer includes nothing above it" "$wrong"
		fi
	done
}

check_folders() {
	local dir
	for dir in src/*/; do
		dir=$(basename "$dir")
		[[ -n ${RANK[$dir]:-} ]] || fail "src/$dir has a place among the layers"
	done
}

compiles_alone() {
	local flags
	read -ra flags < <(pkg-config --cflags libmnl libnftnl sqlite3 jansson libfyaml)
	"${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -DBYWAY_VERSION='"0"' -Isrc -Wall -Wextra -Werror \
		"${flags[@]}" -fsyntax-only -x c -include "$1" /dev/null
}

check_headers() {
	local header
	while read -r header; do
		check "$header compiles alone" compiles_alone "$header"
	done < <(find src -name '*.h' | sort)
}

check_folders
check_layers
check_headers
rm -f "$TAP_OUTPUT" "$TAP_OUTPUT.err"
done_testing
