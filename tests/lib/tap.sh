# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Test Anything Protocol: one line per check, what went wrong behind '#', the plan at the end.
# Commands under test write into a file, so that nothing but these lines reaches stdout.

TAP_COUNT=0
TAP_FAILED=0
TAP_OUTPUT=/dev/null # where the last command's stdout and stderr went
TAP_STATUS=0         # what it exited with

diag() {
	local line
	while IFS= read -r line; do
		printf '# %s\n' "$line"
	done <<<"$*"
}

bail() {
	printf 'Bail out! %s\n' "$*"
	exit 1
}

pass() {
	TAP_COUNT=$((TAP_COUNT + 1))
	printf 'ok %d - %s\n' "$TAP_COUNT" "$1"
}

# fail NAME [WHY...]
fail() {
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_FAILED=$((TAP_FAILED + 1))
	printf 'not ok %d - %s\n' "$TAP_COUNT" "$1"
	shift
	[[ $# == 0 ]] || diag "$@"
}

skip() {
	TAP_COUNT=$((TAP_COUNT + 1))
	printf 'ok %d - %s # SKIP %s\n' "$TAP_COUNT" "$1" "$2"
}

# run COMMAND...: its output goes to $TAP_OUTPUT (stdout) and $TAP_OUTPUT.err, its status to TAP_STATUS.
run() {
	"$@" >"$TAP_OUTPUT" 2>"$TAP_OUTPUT.err" </dev/null
	TAP_STATUS=$?
	return 0
}

out() { cat "$TAP_OUTPUT"; }
err() { cat "$TAP_OUTPUT.err"; }

tap_explain() {
	diag "$*"
	diag "exit status $TAP_STATUS"
	tail -n 15 "$TAP_OUTPUT" "$TAP_OUTPUT.err" 2>/dev/null | sed 's/^/#   /'
}

# exits STATUS NAME COMMAND...
exits() {
	local want=$1 name=$2
	shift 2
	run "$@"
	if [[ $TAP_STATUS == "$want" ]]; then
		pass "$name"
		return 0
	fi
	fail "$name" "wanted exit status $want"
	tap_explain "$@"
	return 1
}

# check NAME COMMAND...: the command succeeds.
check() {
	local name=$1
	shift
	exits 0 "$name" "$@"
}

# fails NAME COMMAND...: the command says no, whatever its status.
fails() {
	local name=$1
	shift
	run "$@"
	if ((TAP_STATUS != 0)); then
		pass "$name"
		return 0
	fi
	fail "$name" "it succeeded"
	tap_explain "$@"
	return 1
}

# is NAME GOT WANT
is() {
	if [[ $2 == "$3" ]]; then
		pass "$1"
		return 0
	fi
	fail "$1" "got:    $2" 
	diag "wanted: $3"
	return 1
}

# like NAME GOT REGEX
like() {
	if [[ $2 =~ $3 ]]; then
		pass "$1"
		return 0
	fi
	fail "$1" "got: $2"
	diag "which does not match: $3"
	return 1
}

unlike() {
	if [[ ! $2 =~ $3 ]]; then
		pass "$1"
		return 0
	fi
	fail "$1" "got: $2"
	diag "which matches: $3"
	return 1
}

# says NAME REGEX: what the last command wrote to stderr.
says() { like "$1" "$(err)" "$2"; }
# prints NAME REGEX: what the last command wrote to stdout.
prints() { like "$1" "$(out)" "$2"; }

done_testing() {
	printf '1..%d\n' "$TAP_COUNT"
	TAP_COUNT=-1
	exit $((TAP_FAILED > 0))
}

# A script that ends before its plan has failed, whatever its last command's status was.
tap_at_exit() {
	local status=$?
	((TAP_COUNT >= 0)) || return 0
	printf 'Bail out! the script ended early, with status %d\n' "$status"
	exit 1
}
trap tap_at_exit EXIT
