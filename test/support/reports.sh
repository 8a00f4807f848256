# shellcheck shell=bash
# show_reports NAME FOLDER: what sanitizers wrote into FOLDER, on stderr; false when there is a report, which is a failure
# even where a test went well.
show_reports() {
    local report found=0
    for report in "$2"/*; do
        [ -e "$report" ] || continue
        echo "$1: $report" >&2
        head -80 "$report" >&2
        found=1
    done
    return $found
}
