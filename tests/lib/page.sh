# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that source this use URL; PIDS is world.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The web page of `byway serve`, and a real browser to look at it: browser.py.

# serve NAME [OPTION...]: its address is in URL, its process in PIDS[NAME].
serve() {
	local name=$1
	shift
	"$BYWAY" serve "$@" >"$WORLD/$name.out" 2>"$WORLD/$name.err" </dev/null &
	PIDS["$name"]=$!
	wait_for grep -q '^serving' "$WORLD/$name.err" || bail "no page: $(cat "$WORLD/$name.err")"
	URL=$(sed -n 's/^serving //p' "$WORLD/$name.err")
}

# browse WORDS...: what browser.py answers.
browse() {
	local answer
	printf '%s\n' "$*" >&"$TO_BROWSER"
	read -r -t 60 -u "$FROM_BROWSER" answer || answer="error: the browser is gone"
	printf '%s\n' "$answer"
}

has() { # SELECTOR: something in the page
	printf 'document.querySelector(%s) !== null' "$(jq -Rn --arg s "$1" '$s')"
}

browser_begin() {
	coproc BROWSER { HOME=$WORLD exec /usr/bin/python3 "$WORLD_LIB/browser.py" "$WORLD/profile" 2>"$WORLD/browser.err"; }
	local answer
	# A coprocess's own descriptors are not for subshells.
	exec {TO_BROWSER}>&"${BROWSER[1]}" {FROM_BROWSER}<&"${BROWSER[0]}"
	read -r -t 60 -u "$FROM_BROWSER" answer || bail "no browser: $(cat "$WORLD/browser.err")"
}

browser_end() {
	local pid=$BROWSER_PID in=${BROWSER[0]} out=${BROWSER[1]}
	exec {TO_BROWSER}>&- {FROM_BROWSER}<&- {in}<&- {out}>&-
	wait "$pid"
}
