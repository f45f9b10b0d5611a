#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run.sh [--quick] [--markdown]: byway against what else there is, in one run on one machine, in a
# private world. Progress on stderr, the tables on stdout, everything in bench/results.json.
# --markdown only prints the tables of the last run.
set -u
BENCH=$(cd "$(dirname "$0")" && pwd)
bail() { echo "bench: $*" >&2; exit 1; }
# shellcheck source=../tests/lib/world.sh
. "$BENCH/../tests/lib/world.sh"
# shellcheck source=../tests/lib/vpc.sh
. "$BENCH/../tests/lib/vpc.sh"
# shellcheck source=measure.sh
. "$BENCH/measure.sh"
# shellcheck source=ways.sh
. "$BENCH/ways.sh"
# shellcheck source=control.sh
. "$BENCH/control.sh"
# shellcheck source=data.sh
. "$BENCH/data.sh"
# shellcheck source=report.sh
. "$BENCH/report.sh"

RESULTS=$BENCH/results.json
SIZES=(100 500 1000)
WAYS=(byway whole each_byway batch cni script)
ROUNDS=5
DURATION_MS=800
VPCS=1000

quick() {
	SIZES=(20)
	ROUNDS=1
	DURATION_MS=300
	VPCS=20
}

measure_control() {
	local n way
	for n in "${SIZES[@]}"; do
		for way in "${WAYS[@]}"; do
			measure_subnets "$way" "$n"
		done
	done
	measure_policy
	measure_lone
}

# The same path through NAT once more when all those VPCs have NAT.
measure_data() {
	prepare_data
	paths >paths.all
	measure_paths "$ROUNDS" "$DURATION_MS" paths.all
	measure_nat "$VPCS"
	grep '^NAT ' paths.all | sed "s/^NAT/NAT-among-$VPCS-VPCs/" >paths.nat
	measure_paths "$ROUNDS" "$DURATION_MS" paths.nat
}

main() {
	case ${1:-} in
	--markdown) report "$RESULTS"; return ;;
	--quick) quick ;;
	esac
	world_enter "$@"
	write_policies
	measure_control
	measure_data
	to_json >"$RESULTS" || bail "no results"
	report "$RESULTS"
}

main "$@"
