#!/usr/bin/env bash
# run.sh SECONDS TARGET…: each target for so long, one after the other, beginning with its seeds. New inputs go to
# build/fuzz/corpus, one that broke a property to build/fuzz/findings. Exit 1 when there is one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
seconds=$1
shift
status=0
for target in "$@"; do
    work=build/fuzz/corpus/$target log=build/fuzz/$target.log
    mkdir -p "$work" build/fuzz/findings
    if "build/fuzz/$target" "$work" "test/fuzz/corpus/$target" -max_total_time="$seconds" -max_len=1024 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 "-artifact_prefix=build/fuzz/findings/$target-" >"$log" 2>&1; then
        found=none
    else
        found="see $log" status=1
    fi
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions in $seconds s," \
        "coverage $(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1), findings: $found"
done
exit $status
