#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lint.sh shell|cppcheck|clang-tidy: one check per file, or per program where it looks at all of them
# together.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
TAP_OUTPUT=$(mktemp)

scripts() {
	{
		find bench demo tests tools -name '*.sh'
		grep -rlE '^#!.*/(ba)?sh' .ci completion 2>/dev/null
	} | sort
}

lint_shell() {
	local script
	while read -r script; do
		check "shellcheck $script" timeout 60 shellcheck -x "$script"
	done < <(scripts)
}

# Of compound literals in a conditional expression cppcheck only knows that it cannot parse them.
lint_cppcheck() {
	check "cppcheck src" cppcheck -q -j 2 --std=c11 --language=c --error-exitcode=1 \
		--enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=internalAstError \
		--library=tools/cppcheck.cfg -D_GNU_SOURCE -D__x86_64__ -DBYWAY_VERSION='"0"' -I src src
}

# clang-tidy needs to know how each file is compiled: from the folder that clang built, else gcc's.
compile_commands() {
	local dir
	for dir in build-clang build; do
		[[ -e $dir/compile_commands.json ]] && echo "$dir" && return
	done
}

# The result of each file stands in a file of its own name; an empty one is a good one.
tidy_one() {
	local result=$3/${2//\//_}
	clang-tidy -p "$1" --quiet --warnings-as-errors='*' "$2" >"$result" 2>/dev/null && : >"$result"
}

lint_clang_tidy() {
	local dir file
	dir=$(compile_commands)
	[[ -n $dir ]] || bail "no compile_commands.json: build first"
	mkdir "$TAP_OUTPUT.d"
	export -f tidy_one
	find src -name '*.c' -print0 |
		xargs -0 -P "$(nproc)" -I '{}' bash -c 'tidy_one "$@"' - "$dir" '{}' "$TAP_OUTPUT.d"
	report_clang_tidy
}

report_clang_tidy() {
	local file result
	while read -r file; do
		result=$TAP_OUTPUT.d/${file//\//_}
		if [[ -e $result && ! -s $result ]]; then
			pass "clang-tidy $file"
		else
			fail "clang-tidy $file" "$(head -n 20 "$result")"
		fi
	done < <(find src -name '*.c' | sort)
}

case ${1:-} in
shell) lint_shell ;;
cppcheck) lint_cppcheck ;;
clang-tidy) lint_clang_tidy ;;
*) bail "usage: lint.sh shell|cppcheck|clang-tidy" ;;
esac
rm -rf "$TAP_OUTPUT" "$TAP_OUTPUT".*
done_testing
