#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds three times and runs every suite:
#   build        gcc, release: every suite but those of build-san
#   build-clang  clang: compiled only, for its warnings and for clang-tidy, and so hardly optimized
#   build-san    gcc, address and undefined behaviour sanitizers, fault points: unit, fault, fuzz, sanitized
# Warnings are errors in all of them, but for -Wformat-truncation where sanitizers confuse it. The
# last line is `N passed, N failed`.
set -u
cd "$(dirname "$0")/.." || exit 1

PASSED=0
FAILED=0
SKIPPED=0
BAD=()

build_all() {
	tools/build.sh build --buildtype=release -Dwerror=true -Dtests=enabled &&
		CC=clang tools/build.sh build-clang -Dwerror=true -Dtests=enabled -Doptimization=1 -Ddebug=false &&
		tools/build.sh build-san -Dwerror=true -Dtests=enabled -Dfaults=true -Doptimization=1 \
			-Dc_args=-Wno-format-truncation \
			-Db_sanitize=address,undefined -Db_lundef=false
}

# count FOLDER NAME: adds the checks of a run's log to the sums.
count() {
	local log=$1/meson-logs/testlog-$2.json passed failed skipped bad
	if [[ ! -s $log ]]; then
		FAILED=$((FAILED + 1))
		BAD+=("$1: the run left no log")
		return
	fi
	IFS=$'\t' read -r passed failed skipped bad < <(jq -rs -f tools/count.jq "$log" |
		jq -r '[.passed, .failed, .skipped, (.bad | join(", "))] | @tsv')
	PASSED=$((PASSED + passed))
	FAILED=$((FAILED + failed))
	SKIPPED=$((SKIPPED + skipped))
	[[ -z $bad ]] || BAD+=("$1: $bad")
}

# run_suites FOLDER NAME TESTS MESON OPTION...: so many at a time for each processor.
run_suites() {
	local folder=$1 name=$2 tests=$3
	shift 3
	rm -f "$folder/meson-logs/testlog-$name.json"
	meson test -C "$folder" --no-rebuild --num-processes "$((tests * $(nproc)))" \
		--logbase "testlog-$name" --print-errorlogs "$@"
	count "$folder" "$name"
}

summary() {
	local line
	for line in "${BAD[@]}"; do
		echo "failed: $line"
	done
	((SKIPPED == 0)) || echo "$SKIPPED skipped"
	echo "$PASSED passed, $FAILED failed"
	((FAILED == 0 && PASSED > 0))
}

main() {
	if ! build_all; then
		echo "0 passed, 1 failed"
		return 1
	fi
	# Most of these wait for something most of the time; the walks do not.
	run_suites build all 3 --no-suite fault "$@"
	BYWAY_PREPARE=$PWD/build/byway \
		run_suites build-san san 2 --suite unit --suite fault --suite fuzz --suite sanitized "$@"
	summary
}

main "$@"
