#!/usr/bin/env bash
# deb.sh PG_CONFIG FOLDER: Debian packages from what is built: postgresql-NN-once (as postgresql-common names extensions)
# and once-relay with unit, user, man page, completion and example configuration. Needs dpkg-dev; writes FOLDER alone.
set -euo pipefail
pg_config=$1
out=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" extension/pg_once.control)
major=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
architecture=$(dpkg --print-architecture)
maintainer='pg_once authors <dev@pg-once.org>'
rm -rf "$out"
mkdir -p "$out/debian"
printf 'Source: pg-once\n\nPackage: once-relay\nArchitecture: any\n' >"$out/debian/control" # dpkg-shlibdeps wants one

# The libraries that a program is linked with, as a Depends line.
libraries() {
    (cd "$out" && dpkg-shlibdeps -O "${1#"$out"/}" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
}

# documents ROOT PACKAGE: what policy asks of every package.
documents() {
    local doc=$1/usr/share/doc/$2
    mkdir -p "$doc"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: pg_once\n\n'
        printf 'Files: *\nCopyright: pg_once authors\nLicense: PostgreSQL\n'
        sed 's/^$/./; s/^/ /' LICENSE
    } >"$doc/copyright"
    printf 'pg-once (%s) unstable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' "$version" "$version" "$maintainer" \
        "$(date -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")" |
        gzip -9n >"$doc/changelog.gz"
}

# package ROOT NAME DEPENDS SUMMARY TEXT
package() {
    local root=$1
    mkdir -p "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: $2
Source: pg-once
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --exclude=DEBIAN "$root" | cut -f1)
Depends: $3
Section: database
Priority: optional
Description: $4
 $5
CONTROL
    (cd "$root" && find usr -type f -exec md5sum {} +) >"$root/DEBIAN/md5sums"
    find "$root" -type d -exec chmod 755 {} +
    dpkg-deb --root-owner-group -b "$root" "$out/${2}_${version}_$architecture.deb"
}

extension=$out/extension
make -s install-extension PG_CONFIG="$pg_config" DESTDIR="$PWD/$extension"
strip --strip-unneeded "$extension$("$pg_config" --pkglibdir)/pg_once.so"
chmod 644 "$extension$("$pg_config" --pkglibdir)/pg_once.so"
documents "$extension" "postgresql-$major-once"
package "$extension" "postgresql-$major-once" \
    "postgresql-$major, $(libraries "$extension$("$pg_config" --pkglibdir)/pg_once.so")" \
    'exactly-once messaging between PostgreSQL and Kafka (extension)' \
    $'Publish inside a transaction, receive once, idempotent requests,\n state machines and leases that survive retries.'

relay=$out/relay
install -D -s -m 755 build/once-relay "$relay/usr/bin/once-relay"
install -D -m 644 relay/deploy/once-relay.service "$relay/usr/lib/systemd/system/once-relay.service"
install -D -m 644 relay/deploy/once-relay.sysusers "$relay/usr/lib/sysusers.d/once-relay.conf"
for file in once-relay.toml alerts.yml dashboard.json; do
    install -D -m 644 "relay/deploy/$file" "$relay/usr/share/doc/once-relay/examples/$file"
done
mkdir -p "$relay/usr/share/man/man1" "$relay/usr/share/bash-completion/completions" \
    "$relay/usr/share/zsh/vendor-completions" "$relay/usr/share/fish/vendor_completions.d"
build/once-relay help man | gzip -9n >"$relay/usr/share/man/man1/once-relay.1.gz"
build/once-relay completion bash >"$relay/usr/share/bash-completion/completions/once-relay"
build/once-relay completion zsh >"$relay/usr/share/zsh/vendor-completions/_once-relay"
build/once-relay completion fish >"$relay/usr/share/fish/vendor_completions.d/once-relay.fish"
documents "$relay" once-relay
mkdir -p "$relay/DEBIAN"
# Makes the user where systemd is not there to do it; never starts the relay, which has no configuration yet.
cat >"$relay/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ] && command -v systemd-sysusers >/dev/null; then
    systemd-sysusers once-relay.conf
fi
SCRIPT
chmod 755 "$relay/DEBIAN/postinst"
package "$relay" once-relay "$(libraries "$relay/usr/bin/once-relay")" \
    'exactly-once messaging between PostgreSQL and Kafka (relay)' \
    $'Ships what committed to Kafka exactly once and in order per key,\n and applies the messages of Kafka once in a database.'
