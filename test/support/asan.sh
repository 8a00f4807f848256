#!/usr/bin/env bash
# asan.sh STAGE BINDIR PKGLIBDIR LIBRARY LAYERS…: runs layers of tests on the server of STAGE, which loads LIBRARY and,
# before it, the sanitizers' runtime. Its postgres becomes a script around the real one: nothing else is preloaded.
set -euo pipefail
. "$(dirname "$0")/reports.sh"
stage=$(realpath "$1") bin=$(realpath "$1")$2 pkglibdir=$(realpath "$1")$3 library=$4
shift 4
reports=$stage/reports
mkdir -p "$reports" && chmod 1777 "$reports" && rm -f "$reports"/*
install -m 755 "$library" "$pkglibdir/pg_once.so"
gcc -shared -fPIC -w -o "$stage/asan_shim.so" test/support/asan_shim.c
[ -e "$bin/postgres.real" ] || mv "$bin/postgres" "$bin/postgres.real"
cat > "$bin/postgres" <<SCRIPT
#!/bin/sh
export LD_PRELOAD='$(realpath "$(g++ -print-file-name=libasan.so)") $(realpath "$(g++ -print-file-name=libubsan.so)") $stage/asan_shim.so'
export ASAN_OPTIONS='detect_leaks=0 abort_on_error=1 use_sigaltstack=0 detect_stack_use_after_return=0 log_path=$reports/asan'
export UBSAN_OPTIONS='halt_on_error=1 abort_on_error=1 print_stacktrace=1 log_path=$reports/ubsan'
exec '$bin/postgres.real' "\$@"
SCRIPT
chmod 755 "$bin/postgres"
status=0
ONCE_STAGE=$stage test/run "$@" || status=$?
show_reports asan "$reports" || status=1
exit $status
