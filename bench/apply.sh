#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# apply.sh [--quick] [--markdown]: how long `byway apply` takes for files of many subnets, beside the command that makes as
# many at once, in one run on one machine, in a private world. Progress on stderr, the table on stdout, everything
# in bench/results-apply.json. --markdown only prints the table of the last run.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=../tests/lib/vpc.sh
. "$BENCH/../tests/lib/vpc.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"

RESULTS=$BENCH/results-apply.json
SIZES=(100 1000)
ROUNDS=3

quick() {
	SIZES=(20)
	ROUNDS=1
}

# file N [SUBNET'S KEYS]: N public subnets of one VPC with NAT.
file() {
	printf '%s\n' 'vpcs:' '  many:' '    cidr: 10.0.0.0/8' '    nat: eth0' '    subnets:'
	seq "$1" | awk -v keys="${2:-}" '{ printf "      s%d: {cidr: 10.%d.%d.0/24, type: public%s}\n",
		$1, $1 / 250, $1 % 250 + 1, keys }'
}

# step N METRIC COMMAND...
step() {
	local n=$1 metric=$2
	shift 2
	took_us "$@" 2>/dev/null
	record round "$n" "$metric" "$(per "$TOOK" 1000)"
}

by_file() {
	file "$1" >many.yaml
	step "$1" "validate" by validate many.yaml
	step "$1" "apply" by -q apply many.yaml
	step "$1" "apply again" by -q apply many.yaml
	sed -i 's/ s7: {\(.*\), type: public}/ s7: {\1}/' many.yaml
	step "$1" "one changed" by -q apply many.yaml
	file "$1" ", policy: policy.json" >many.yaml
	step "$1" "a policy on each" by -q apply many.yaml
	step "$1" "with these again" by -q apply many.yaml
	step "$1" "destroy" by -q destroy many.yaml
	kernel_is_done 1
}

by_command() {
	by -q vpc create many 10.0.0.0/8 || bail "no VPC"
	step "$1, by command" "apply" by -q subnet add many --count "$1" --type public
	step "$1, by command" "destroy" by -q vpc delete many
	kernel_is_done 1
}

# The median of the rounds.
medians() {
	local way metric
	while IFS=$'\t' read -r way metric; do
		record apply "$way" "$metric, s" "$(awk -F '\t' -v w="$way" -v m="$metric" \
			'$2 == w && $3 == m { print $4 }' rounds.tsv | median)"
	done < <(cut -f 2,3 rounds.tsv | awk '!seen[$0]++')
}

report_apply() {
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory), \(.kernel), \(.byway), \(.date)"' "$1"
	section "A file of so many subnets: seconds" table "$1" apply
}

main() {
	local n round
	case ${1:-} in
	--markdown) report_apply "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	policy 'allow tcp 80 -' 'allow tcp 443 10.0.0.0/8' >policy.json
	for ((round = 0; round < ROUNDS; round++)); do
		for n in "${SIZES[@]}"; do
			by_file "$n"
			by_command "$n"
		done
	done
	mv results.tsv rounds.tsv
	medians
	to_json >"$RESULTS" || bail "no results"
	report_apply "$RESULTS"
}

main "$@"
