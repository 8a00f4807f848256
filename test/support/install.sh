#!/usr/bin/env bash
# Installs what is missing to build and test pg_once on Debian 12 or 13: packages through apt, the Kafka broker's
# jars (through Maven) and the pooler into a cache outside the tree, the Java test tools into build/java.
# Prints nothing and takes well below a second when everything is there. `install.sh bench` adds what only
# the benchmark needs, `install.sh fuzz` what only libFuzzer needs. Exit 1 names the command that failed and what to do.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kafka_version=4.1.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pg_once
kafka_home=$cache/kafka-$kafka_version
pooler_home=$cache/pgbouncer

# What carries a version in its package's name: Debian 12, then 13.
postgresql=15 libevent=libevent-2.1-7 clang=14
if [ "$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}")" = "debian 13" ]; then
    postgresql=17 libevent=libevent-2.1-7t64 clang=19
fi

packages=(
    build-essential pkg-config clang-format
    "postgresql-$postgresql" "postgresql-server-dev-$postgresql" "postgresql-$postgresql-pgtap"
    libpq-dev libpqxx-dev librdkafka-dev libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev
    libspdlog-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev prometheus-cpp-dev
    libcpp-httplib-dev libjemalloc-dev zlib1g-dev libssl-dev maven default-jdk-headless python3 python3-pytest
    python3-pytest-xdist python3-psycopg2 faketime kcat openssl procps util-linux "$libevent" libc-ares2)
[ "${1:-}" = bench ] && packages+=(redis-server python3-pip)
[ "${1:-}" = fuzz ] && packages+=("clang-$clang" "libclang-rt-$clang-dev")

fail() {
    printf 'install: %s\n  command: %s\n  what to do: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
        sed -n 's/^installed //p') || true
    printf '%s\n' "${packages[@]}" | grep -vxF -f <(printf '%s\n' "$installed") || true
}

# Debian's package makes and starts a cluster of its own on port 5432. Nobody asked for one here, so
# it is told not to, for the time of this installation alone; existing clusters are not touched.
without_main_cluster() {
    local setting=/etc/postgresql-common/createcluster.d/pg_once.conf status=0
    as_root mkdir -p "${setting%/*}"
    printf 'create_main_cluster = false\n' | as_root tee "$setting" >/dev/null
    "$@" || status=$?
    as_root rm -f "$setting"
    as_root rmdir --ignore-fail-on-non-empty "${setting%/*}" 2>/dev/null || true
    return "$status"
}

install_packages() {
    local missing=("$@") apt=(apt-get -y -q --no-install-recommends)
    command -v apt-get >/dev/null || fail "no apt-get: this is not Debian" "apt-get" \
        "install the equivalents of: ${missing[*]}"
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        fail "packages are missing and there is no root" "sudo -n true" \
            "run as root: apt-get install ${missing[*]}"
    fi
    echo "install: Debian packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update </dev/null >/dev/null ||
        fail "could not read the package lists" "apt-get update" \
            "check the network and /etc/apt/sources.list, then run this again"
    without_main_cluster as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install "${missing[@]}" \
        </dev/null >/dev/null ||
        fail "could not install packages" "apt-get install ${missing[*]}" \
            "run it by hand and read what apt says"
}

# Downloads beside the target and renames, so that an interrupted run leaves nothing half done.
install_broker() {
    local work=$kafka_home.$$
    echo "install: Apache Kafka $kafka_version into $kafka_home"
    mkdir -p "$work"
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>pg_once</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version>
  </dependency><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$kafka_version</version>
    <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
  </dependency><dependency>
    <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
  </dependency></dependencies>
</project>
POM
    local plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
    local command=(mvn -q -B -f "$work/pom.xml" "$plugin:copy-dependencies" "-DoutputDirectory=$work/libs")
    if ! "${command[@]}" </dev/null; then
        rm -rf "$work"
        fail "could not fetch the Kafka broker" "${command[*]}" \
            "check the network (Maven Central); behind a mirror set it in ~/.m2/settings.xml"
    fi
    if ! mv -T "$work" "$kafka_home" 2>/dev/null; then
        cp -n "$work/libs/"* "$kafka_home/libs/" # somebody else was faster, or it is from an earlier version of this
        rm -rf "$work"
    fi
}

# Debian's pgbouncer starts a service when it is installed. The tests want the program alone.
install_pooler() {
    local work=$pooler_home.$$
    echo "install: pgbouncer into $pooler_home"
    mkdir -p "$work"
    if ! (cd "$work" &&
        { apt-get -q download pgbouncer || { as_root apt-get -q update && apt-get -q download pgbouncer; }; } &&
        dpkg-deb -x pgbouncer_*.deb .) </dev/null >/dev/null 2>&1; then
        rm -rf "$work"
        fail "could not fetch pgbouncer" "apt-get download pgbouncer" "run it by hand and read what apt says"
    fi
    if ! mv -T "$work" "$pooler_home" 2>/dev/null; then
        rm -rf "$work" # somebody else was faster
    fi
}

compile_java_tools() {
    local out=$top/build/java sources=("$top"/test/support/java/*.java)
    local stamp=$out/.compiled
    if [ -f "$stamp" ] && [ -z "$(find "${sources[@]}" -newer "$stamp" -print -quit)" ]; then return; fi
    mkdir -p "$out"
    local command=(javac -encoding UTF-8 -d "$out" -cp "$kafka_home/libs/*" "${sources[@]}")
    "${command[@]}" || fail "could not compile the Java test tools" "${command[*]}" \
        "check that default-jdk-headless (17 or newer) is what javac is"
    touch "$stamp"
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
[ -f "$kafka_home/libs/kafka-tools-$kafka_version.jar" ] || install_broker
[ -x "$pooler_home/usr/sbin/pgbouncer" ] || install_pooler
compile_java_tools
