#!/usr/bin/env bash
# Installs what is missing to build and test pg_once on Debian (12 and newer): packages through apt, the Kafka
# broker's jars (through Maven) and the pooler into a cache outside the tree, the Java test tools into build/java.
# PostgreSQL is the one of PG_CONFIG where its server headers are installed, else the release's own.
# Prints nothing and takes well below a second when everything is there. `install.sh bench` adds what only the
# benchmark needs, `install.sh fuzz` what only libFuzzer needs, `install.sh lint` what only `make tidy` and `make pgspot`
# need. Exit 1 names the command that failed and what to do.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kafka_version=4.1.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pg_once
kafka_home=$cache/kafka-$kafka_version

packages=(
    build-essential pkg-config clang-format shellcheck
    libpq-dev libpqxx-dev librdkafka-dev libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev
    libspdlog-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev prometheus-cpp-dev
    libjemalloc-dev zlib1g-dev libssl-dev maven default-jdk-headless python3 python3-pytest
    python3-pytest-xdist python3-psycopg2 python3-psycopg faketime kcat openssl procps util-linux)
case ${1:-} in
bench) packages+=(redis-server python3-pip) ;;
fuzz) packages+=(clang libclang-rt-dev) ;;
lint) packages+=(clang-tidy python3-pip) ;;
esac
pgspot=$cache/pgspot

fail() {
    printf 'install: %s\n  command: %s\n  what to do: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The server to build for: the one of PG_CONFIG where its headers are installed (one that is no package of Debian's brings
# what it needs itself), else the release's own, which only apt knows.
server_packages() {
    local config=${PG_CONFIG:-pg_config} bin major=
    if command -v "$config" >/dev/null && [ -f "$("$config" --includedir-server)/postgres.h" ]; then
        bin=$("$config" --bindir)
        if [[ $bin =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]]; then major=${BASH_REMATCH[1]}; fi
    else
        major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -1)
        [ -n "$major" ] || { echo postgresql; return; } # apt has no list yet
    fi
    [ -z "$major" ] || printf '%s\n' "postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-pgtap" \
        "postgresql-$major-plpgsql-check"
}

missing_packages() {
    local wanted installed
    mapfile -t wanted < <(printf '%s\n' "${packages[@]}" && server_packages)
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
        sed -n 's/^installed //p') || true
    printf '%s\n' "${wanted[@]}" | grep -vxF -f <(printf '%s\n' "$installed") || true
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
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update </dev/null >/dev/null ||
        fail "could not read the package lists" "apt-get update" \
            "check the network and /etc/apt/sources.list, then run this again"
    mapfile -t missing < <(missing_packages)
    echo "install: Debian packages: ${missing[*]}"
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

# Debian's packages of pgbouncer and prometheus start services when they are installed. The tests want one program of
# each alone, and the libraries its package asks for.
program_runs() {
    "$cache/$1/$2" --version </dev/null >/dev/null 2>&1
}

install_program() {
    local package=$1 program=$2 libraries
    local home=$cache/$package work=$cache/$package.$$
    echo "install: $package into $home"
    mkdir -p "$work"
    if ! (cd "$work" &&
        { apt-get -q download "$package" || { as_root apt-get -q update && apt-get -q download "$package"; }; } &&
        dpkg-deb -x "$package"_*.deb .) </dev/null >/dev/null 2>&1; then
        rm -rf "$work"
        fail "could not fetch $package" "apt-get download $package" "run it by hand and read what apt says"
    fi
    mapfile -t libraries < <(dpkg-deb -f "$work/$package"_*.deb Depends | tr , '\n' |
        sed -n 's/^ *\(lib[a-z0-9.+-]*\).*/\1/p' | grep -vE '^libjs-' || true)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install "${libraries[@]}" \
        </dev/null >/dev/null || fail "could not install $package's libraries" "apt-get install ${libraries[*]}" \
        "run it by hand and read what apt says"
    rm -rf "$home"
    if ! mv -T "$work" "$home" 2>/dev/null; then
        rm -rf "$work" # somebody else was faster
    fi
    program_runs "$package" "$program" || fail "$package does not run" "$home/$program --version" \
        "run it by hand and read what it says"
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
program_runs pgbouncer usr/sbin/pgbouncer || install_program pgbouncer usr/sbin/pgbouncer
program_runs prometheus usr/bin/promtool || install_program prometheus usr/bin/promtool
compile_java_tools
[ "${1:-}" != lint ] || [ -d "$pgspot" ] || python3 -m pip -q install --no-warn-script-location --root-user-action ignore \
    --target "$pgspot" pgspot </dev/null ||
    fail "could not install pgspot" "pip install --target $pgspot pgspot" "check the network (PyPI)"
