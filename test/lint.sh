#!/usr/bin/env bash
# The rules of the tree. Who may include and contain what stands in the tables of the folders' READMEs (test/rules);
# here is what concerns no single folder. Nothing found: nothing printed.
set -u
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit
failed=0
bad() {
    printf 'lint: %s\n' "$@" >&2
    failed=1
}
# forbid "rule" "pattern" files...: every line of the files that matches is a mistake
forbid() {
    local rule=$1 pattern=$2 hits
    shift 2
    hits=$(git ls-files --cached --others --exclude-standard -- "$@" | xargs -r grep -nE "$pattern" /dev/null)
    [ -z "$hits" ] || bad "$rule" "$hits"
}

test/rules || failed=1
test/links || failed=1
test/cases --check || failed=1
forbid 'C++ lines end after 100 characters (clang-format does not break what it cannot)' '^.{101,}$' '*.cpp' '*.hpp'
forbid 'lines of shell and make end after 140 characters' '^.{141,}$' '*.sh' Makefile '*.mk'
forbid 'a test has one naming style: GoogleTest UpperCamelCase, Python test_ID_words' \
    '^TEST(_[FP])?\([^,]*, *[A-Za-z0-9]*_|def test_[a-z][0-9]+_' 'test/unit/*.cpp' 'test/*/test_*.py'

forbid 'a test waits for a condition; a fixed time says why it is the case' 'time\.sleep\([0-9.]+\)\s*$' 'test/e2e/*.py'
forbid 'the install script is ASCII: EUC_JP and its like can read nothing else' '[^ -~[:space:]]' 'sql/*.sql'
forbid 'without standard_conforming_strings a plain literal ends elsewhere: E before a literal with a backslash' \
    "(^|[^E'])'[^']*\\\\" 'sql/*.sql'

long=$(git ls-files 'extension/*.[ch]pp' 'relay/*.[ch]pp' | xargs -r wc -l | awk '$2 != "total" && $1 > 500 {print $2 " has " $1 " lines"}')
[ -z "$long" ] || bad 'a file is one thought, below 500 lines' "$long"
# The formatting is that of Debian 12's clang-format; another version breaks lines elsewhere.
if [[ $(clang-format --version 2>/dev/null) == *version\ 14* ]]; then
    torn=$(git ls-files '*.cpp' '*.hpp' | xargs -r clang-format --dry-run 2>&1 | grep -F clang-format-violations | cut -d: -f1,2)
    [ -z "$torn" ] || bad 'not as clang-format writes it: make format' "$torn"
fi
if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(git ls-files | while read -r file; do head -c 30 "$file" | grep -aqE '^#!.*(bash|/sh)' && echo "$file"; done)
    shellcheck -x -P SCRIPTDIR "${scripts[@]}" >&2 || failed=1
fi

# shellcheck disable=SC2016 # backquotes of Markdown
# What a README names must be there, and what can be called must be named.
while read -r option; do
    grep -q "\"$option\"" relay/config/table.cpp || bad "relay/README.md has $option, the relay has not"
done < <(sed -n '/^## Options/,/^## Metrics/p' relay/README.md | grep -oE '`(outbox|http|log)\.[a-z_]+`' | tr -d '`' | sort -u)
while read -r metric; do
    grep -q "\"\(once\)\?.*${metric#once_*box}\"" relay/process/prometheus.cpp || bad "no metric $metric"
done < <(grep -ohE '\bonce_(outbox|inbox)_[a-z_]+' README.md relay/*.md | sort -u)
# Generated, and so never by hand; sql/REFERENCE.md needs a server, e2e/test_reference asks for it.
if [ build/once-relay -nt relay/config/table.cpp ] && ! build/once-relay help markdown | cmp -s - relay/OPTIONS.md; then
    bad 'relay/OPTIONS.md is not what the relay says: make reference'
fi
[ "$(wc -c <README.md)" -le 12288 ] || bad 'README.md is at most 12 kB: the rest is in sql/guide, relay/OPERATING.md, relay/SECURITY.md'
# Every folder says what it is; wings of SQL, specs, expected output, corpora, Java tools and drivers' programs are told of above.
while read -r folder; do
    case $folder in sql/*/* | test/isolation/* | test/support/java | test/drivers/* | test/fuzz/corpus*) continue ;; esac
    [ -f "$folder/README.md" ] || bad "$folder has no README.md"
done < <(git ls-files extension sql relay test | xargs -n1 dirname | sort -u)
test/checkver.sh || failed=1
exit $failed
