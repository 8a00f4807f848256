#!/usr/bin/env bash
# sanitize.sh FOLDER: unit tests and end-to-end tests with the instrumented programs of FOLDER (build/asan, build/tsan).
# A finding ends its process by SIGABRT, which no test expects and no code of ours catches, and leaves a report.
# UNIT and E2E choose, as everywhere; SANITIZE_LAYERS=unit (or e2e) takes one.
set -uo pipefail
folder=$1
support=$(realpath "$(dirname "$0")")
. "$support/reports.sh"
reports=$(realpath "$folder")/reports
mkdir -p "$reports" && rm -f "$reports"/*
export ASAN_OPTIONS="abort_on_error=1 detect_leaks=1 strict_string_checks=1 detect_stack_use_after_return=1 log_path=$reports/asan"
export LSAN_OPTIONS="suppressions=$support/lsan.supp print_suppressions=0"
export UBSAN_OPTIONS="halt_on_error=1 abort_on_error=1 print_stacktrace=1 log_path=$reports/ubsan"
export TSAN_OPTIONS="halt_on_error=1 abort_on_error=1 second_deadlock_stack=1 log_path=$reports/tsan"
TSAN_OPTIONS+=" suppressions=$support/tsan.supp print_suppressions=0"
export ONCE_UNIT_TEST=$folder/unit_test ONCE_RELAY=$folder/once-relay
# What a relay does in its life: ship, receive, crash, meet a broken wire, refuse, park, look.
export E2E="${E2E:-test/e2e/test_outbox_sql.py test/e2e/test_inbox_basic.py test/e2e/test_inbox_crash.py
    test/e2e/test_crash.py test/e2e/test_wire.py test/e2e/test_poison.py test/e2e/test_history.py
    test/e2e/test_check_status.py test/e2e/test_lanes.py}"
status=0
read -ra layers <<<"${SANITIZE_LAYERS:-unit e2e}"
test/run "${layers[@]}" || status=$?
show_reports sanitize "$reports" || status=1
exit $status
