#!/usr/bin/env bash
# script.sh FROM TO PART…: the upgrade script FROM → TO: what begins each, the deltas of schema/ from release to release,
# the parts that every upgrade runs again, what ends each. Writes to standard output.
set -euo pipefail
here=$(dirname "$0") from=$1 to=$2
shift 2
deltas=()
at=$from
while [ "$at" != "$to" ]; do
    delta=("$here/$at--"*.sql)
    if [ ${#delta[@]} != 1 ] || [ ! -f "${delta[0]}" ]; then
        echo "script.sh: not one delta from $at towards $to" >&2
        exit 1
    fi
    deltas+=("${delta[0]}")
    at=${delta[0]##*--} at=${at%.sql}
done
printf '%s\n' "\\echo Use \"ALTER EXTENSION pg_once UPDATE\" to load this file. \\quit"
cat "$here/begin.sql" "${deltas[@]}" "$@" "$here/end.sql" | sed "s/@VERSION@/$to/g"
