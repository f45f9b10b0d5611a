# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What every demonstration needs: a world, and ways to show commands and check claims. Each command is
# printed as it would be typed, with its real output; each claim is checked, and the last line is the sum of
# the checks.

DEMO=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bail() { echo "demo: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$DEMO/../tests/lib/world.sh"
# shellcheck source=../tests/lib/snapshot.sh
. "$DEMO/../tests/lib/snapshot.sh"

CLAIMS=0
PROVEN=0
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	BOLD=$'\e[1m' GOOD=$'\e[32m' BAD=$'\e[31m' PLAIN=$'\e[0m'
else
	BOLD='' GOOD='' BAD='' PLAIN=''
fi

chapter() { printf '\n%s== %s%s\n' "$BOLD" "$1" "$PLAIN"; }

# typed COMMAND...: shows it, runs it, shows what it says.
typed() {
	local words
	words=$(printf ' %q' "$@")
	printf '%s$%s%s\n' "$BOLD" "${words//\\,/,}" "$PLAIN"
	"$@" 2>&1 | sed 's/^/  /'
	return "${PIPESTATUS[0]}"
}

# proves CLAIM COMMAND...
proves() {
	local claim=$1
	shift
	CLAIMS=$((CLAIMS + 1))
	if "$@" >/dev/null 2>&1; then
		PROVEN=$((PROVEN + 1))
		printf '  %s-> true:%s %s\n' "$GOOD" "$PLAIN" "$claim"
	else
		printf '  %s-> NOT TRUE:%s %s\n' "$BAD" "$PLAIN" "$claim"
	fi
}

# The commands are typed by the name they have in the documents.
byway() { "$BYWAY" "$@"; }

# sum_up WHAT WAS SHOWN
sum_up() {
	printf '\n%s%d of %d claims proven%s: %s\n' "$BOLD" "$PROVEN" "$CLAIMS" "$PLAIN" "$1"
	((PROVEN == CLAIMS))
}
