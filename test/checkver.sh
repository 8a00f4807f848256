#!/usr/bin/env bash
# The version stands once, in the control file; what repeats it must agree.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" extension/pg_once.control)
failed=0
same() { [ "$2" = "$version" ] || { echo "checkver: $1 says '$2', the control file '$version'" >&2; failed=1; }; }
same META.json "$(sed -n 's/^  "version": "\(.*\)",$/\1/p' META.json)"
same 'META.json provides' "$(sed -n 's/.*"docfile".*"version": "\([^"]*\)".*/\1/p' META.json)"
same README.md "$(sed -n 's/^Version \([0-9.]*\)[,.].*/\1/p' README.md | head -1)"
[ -x build/once-relay ] && same 'once-relay --version' "$(build/once-relay --version | sed -n 's/^once-relay \([0-9.]*\).*/\1/p' | head -1)"
range() { sed -n "s/$2/\1 \2/p" "$1"; }
[ "$(range extension/wire/protocol.hpp '.*kProtocol{\([0-9]*\), \([0-9]*\)}.*')" = \
    "$(range sql/api/protocol.sql ".*'SELECT \([0-9]*\), \([0-9]*\)'.*")" ] ||
    { echo "checkver: extension/wire/protocol.hpp and sql/api/protocol.sql speak different protocols" >&2; failed=1; }
exit $failed
