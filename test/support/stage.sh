#!/usr/bin/env bash
# stage.sh PG_CONFIG DESTINATION: a private copy of the server under DESTINATION, relocated by PostgreSQL itself.
# Programs are copied (the server finds its files relative to its own real path), everything else is linked.
set -euo pipefail
umask 022
pg_config=$1 stage=$2
bin=$("$pg_config" --bindir) lib=$("$pg_config" --pkglibdir) share=$("$pg_config" --sharedir)
mkdir -p "$(dirname "$stage")"
# Below a home that only its owner may enter (a clone in /root) the server's user would not find it: then it stands
# outside, and here is a link.
if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$(realpath "$(dirname "$stage")")"; then
    outside=/var/cache/pg_once/stage-$(realpath "$(dirname "$stage")" | cksum | cut -d' ' -f1)
    mkdir -p "$outside"
    [ -L "$stage" ] || rm -rf "$stage"
    ln -sfn "$outside" "$stage"
fi
stamp="$stage/.server"
version="$("$pg_config" --version) $bin"
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ] && exit 0
rm -rf "${stage:?}"/*
mkdir -p "$stage$bin" "$stage$lib" "$stage$share/extension"
cp "$bin"/* "$stage$bin/"
for entry in "$lib"/*; do ln -s "$entry" "$stage$lib/"; done
for entry in "$share"/*; do [ "$(basename "$entry")" = extension ] || ln -s "$entry" "$stage$share/"; done
for entry in "$share"/extension/*; do ln -s "$entry" "$stage$share/extension/"; done
# An installed pg_once must not be written through its link.
rm -f "$stage$lib"/pg_once* "$stage$share"/extension/pg_once*
ln -s "${bin#/}" "$stage/bin"
echo "$version" > "$stamp"
