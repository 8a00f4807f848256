#!/usr/bin/env bash
# The rules of the tree, each as a grep that must find nothing (who may touch what: the folders' READMEs).
set -u
cd "$(dirname "$0")/.."
failed=0
# forbid "rule" "pattern" files...: reports every line of the files that matches
forbid() {
    local rule=$1 pattern=$2 hits
    shift 2
    hits=$(git ls-files --cached --others --exclude-standard -- "$@" | xargs -r grep -nE "$pattern" /dev/null)
    if [ -n "$hits" ]; then
        printf 'lint: %s\n%s\n' "$rule" "$hits" >&2
        failed=1
    fi
}

forbid 'extension/pg knows none of our tables and names' '\bonce\.[a-z_]+|namespace once' 'extension/pg/*'
forbid 'PG_TRY jumps over destructors: use pg::call' 'PG_TRY|PG_CATCH|PG_FINALLY' 'extension/*.cpp' 'extension/*.hpp'
forbid 'server versions are compared in extension/pg/compat.hpp alone' 'PG_VERSION_NUM' \
    'extension/*.cpp' 'extension/*.hpp' ':!extension/pg/compat.hpp'
forbid 'no newer snapshot is taken while a query runs in parallel: pg::newest_snapshot()' 'GetLatestSnapshot' \
    'extension/*.cpp' 'extension/*.hpp' ':!extension/pg/newest_snapshot.hpp' ':!extension/outbox/cut.cpp' ':!extension/outbox/wait.cpp'
forbid 'wire/ is std only: it is compiled on both sides' '#include <(postgres|pqxx|librdkafka|chrono|iostream|fstream)|#include "pg/' \
    'extension/wire/*'
forbid 'the source knows no Kafka' 'rdkafka|rd_kafka_' 'relay/outbox/source*' 'relay/database/*'
forbid 'the sink knows no database' 'pqxx|libpq|SELECT ' 'relay/outbox/sink*' 'relay/kafka/*'
forbid 'the pipeline knows neither' 'pqxx|libpq|rd_kafka_|rdkafka\.h|SELECT |sqlstate' 'relay/outbox/pipeline*'
forbid 'the relay reads through functions and views, never the child tables' 'event_%?[0-9a-z{}]*_[{0-9%]' 'relay/*'
forbid 'functions live in sql/api, tables in sql/schema' '^CREATE (UNLOGGED )?TABLE' 'sql/api/*'
forbid 'an upgrade runs sql/api again: OR REPLACE' '^CREATE FUNCTION' 'sql/api/*'
forbid 'rights come from once.grant_*, never to PUBLIC' 'TO PUBLIC' 'sql/*'
forbid 'lines end after 120 characters' '^.{121,}$' 'extension/*.cpp' 'extension/*.hpp' 'relay/*.cpp' 'relay/*.hpp'

long=$(git ls-files 'extension/*.[ch]pp' 'relay/*.[ch]pp' | xargs -r wc -l | awk '$2 != "total" && $1 > 500 {print $2 " has " $1 " lines"}')
[ -z "$long" ] || { printf 'lint: a file is one thought, below 500 lines\n%s\n' "$long" >&2; failed=1; }
# What a README names must be there, and what can be called must be named.
for option in $(sed -n '/^## Options/,/^## Metrics/p' relay/README.md | grep -oE '`(outbox|http|log)\.[a-z_]+`' | tr -d '`' | sort -u); do
    grep -q "\"$option\"" relay/config/table.cpp || { echo "lint: relay/README.md has $option, the relay has not" >&2; failed=1; }
done
for metric in $(grep -ohE '\bonce_(outbox|inbox)_[a-z_]+' README.md relay/README.md | sort -u); do
    grep -q "\"\(once\)\?.*${metric#once_*box}\"" relay/process/prometheus.cpp || { echo "lint: no metric $metric" >&2; failed=1; }
done
for function in $(sed -n '/^## Reference/,$p' sql/README.md | grep -oE '`[a-z_]+\(' | tr -d '`(' | sort -u); do
    grep -rqE "FUNCTION once\.$function\(" sql/api || { echo "lint: no function once.$function" >&2; failed=1; }
done
for function in $(perl -0ne "while (/COMMENT ON FUNCTION once\.(\w+)\([^;]*?\) IS\s+'(?!internal)/g) { print \"\$1\n\" }" sql/api/*.sql | sort -u); do
    grep -qw "$function" sql/README.md || { echo "lint: sql/README.md does not name once.$function" >&2; failed=1; }
done
test/cases --check || failed=1
# Every folder says what it is; wings of SQL, specs, expected output, corpora and the Java tools are told of one folder above.
for folder in $(git ls-files extension sql relay test | xargs -n1 dirname | sort -u); do
    case $folder in sql/*/* | test/isolation/* | test/support/java | test/fuzz/corpus*) continue ;; esac
    [ -f "$folder/README.md" ] || { echo "lint: $folder has no README.md" >&2; failed=1; }
done
exit $failed
