#!/usr/bin/env bash
# A site from one file: bundled here, loaded into an empty store in a network namespace without routes, and brought up
# there, node and all. Needs root; TBUILD names the program, TBUILD_STORE a store that has built the site.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
site=http://10.210.0.11:30080
registry=http://localhost:5000/v2

if [ "${1:-}" = inside ]; then
    work=$2 source=$3
    export TBUILD_STORE=$work/store
    t() { "$tbuild" -C "$root" --offline --profile demo --source "tator=$source" --progress plain "$@"; }
    finish() { code=$?; t node down >/dev/null 2>&1 || true; exit $code; }
    trap finish EXIT
    ip link set lo up
    same 'the namespace has no route' '' "$(ip route)"
    exits 'what no store has is not built offline' 4 t image tator_online
    exits 'the bundle is loaded' 0 t bundle load "$work/run.tbundle" --digest "$(cat "$work/digest")"
    exits 'the node comes up' 0 t node up
    exits 'the site is deployed' 0 t cluster
    if printf '%s\n' "$output" | grep -E '(source|base|step|image|artifact|chart|tool):.* \| > ' >&2; then fail 'something is built that the bundle should hold'; fi
    ok 'and nothing is built'
    holds 'only pushed, released and run' "$output" 'nodes: 14 run, '
    # kube-proxy learns of a new Service's endpoints a moment after the pods are ready.
    for _ in $(seq 50); do curl -fsS --noproxy '*' --max-time 20 $site/ >/dev/null 2>&1 && break; sleep 0.2; done
    page=$(curl -fsS --noproxy '*' --max-time 20 $site/)
    holds 'it serves' "$page" '<title>Tator</title>'
    style=$(printf '%s' "$page" | grep -oE '/static/[0-9a-f]{64}/[^"]+\.css' | head -1)
    [ -n "$(curl -fsS --noproxy '*' --max-time 20 "$site$style")" ] || fail 'its style sheet is empty'
    ok 'its style sheet, too'
    output=$(t cluster 2>&1); same 'run again, nothing runs' 0 "$(ran "$output")"
    # All but what the cluster runs, and what its node's root lies over.
    exits 'garbage is collected' 0 t gc --keep-for 0
    for repository in $(curl -fsS --noproxy '*' "$registry/_catalog" | jq -r '.repositories[]'); do
        for tag in $(curl -fsS --noproxy '*' "$registry/$repository/tags/list" | jq -r '.tags[]'); do
            manifest=$(curl -fsS --noproxy '*' -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$registry/$repository/manifests/$tag")
            for blob in $(printf '%s' "$manifest" | jq -r '.config.digest, .layers[].digest'); do
                curl -fsS --noproxy '*' -o /dev/null -I "$registry/$repository/blobs/$blob" || fail "$repository:$tag: $blob is gone"
                pulled=$((${pulled:-0} + 1))
            done
        done
    done
    [ "${pulled:-0}" -gt 20 ] || fail "the registry has only ${pulled:-0} blobs"
    ok 'and what is deployed can be pulled'
    exits 'its pods start again' 0 t reset nginx
    holds 'and serve' "$(curl -fsS --noproxy '*' --max-time 20 --retry 20 --retry-all-errors --retry-delay 1 $site/)" '<title>Tator</title>'
    exits 'the node goes' 0 t node down
    exit
fi

export TBUILD_STORE=${TBUILD_STORE:?its store}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
source=$work/source
cp -r "$root/ci/fixtures/tator" "$source"
t() { "$tbuild" -C "$root" --profile demo --source "tator=$source" --progress plain "$@"; }

digest=$(t bundle create -o "$work/site.tbundle" 2>"$work/create.log") || { tail -20 "$work/create.log" >&2; fail 'no bundle is made'; }
ok 'the site is bundled'
same 'its digest is that of the file' "$digest" "sha256:$(sha256sum "$work/site.tbundle" | cut -d' ' -f1)"
same 'the same is the same file' "$digest" "$(t bundle create -o "$work/again.tbundle" 2>/dev/null)"
rm "$work/again.tbundle"
t bundle create --closure run -o "$work/run.tbundle" 2>"$work/create.log" >"$work/digest" || { tail -20 "$work/create.log" >&2; fail 'no bundle to run is made'; }
[ "$(stat -c %s "$work/run.tbundle")" -lt "$(stat -c %s "$work/site.tbundle")" ] || fail 'a bundle to run is no smaller'
ok 'a bundle to run is smaller'
wrong=sha256:$(printf '%064d' 0)
exits 'another digest is refused' 4 t --store "$work/other" bundle load "$work/site.tbundle" --digest "$wrong"
head -c 1000000 "$work/site.tbundle" >"$work/short.tbundle"
exits 'a part of it is refused' 1 t --store "$work/other" bundle load "$work/short.tbundle"
printf 'no bundle' >"$work/none.tbundle"
exits 'so is something else' 1 t --store "$work/other" bundle load "$work/none.tbundle"
exits 'a dry run writes nothing' 0 t -n bundle create -o "$work/dry.tbundle"
[ ! -e "$work/dry.tbundle" ] || fail 'a dry run writes a bundle'
exits 'and what is not there' 2 t --store "$work/other" bundle load "$work/missing.tbundle"
rm -rf "$work/other"
rm "$work/site.tbundle"
unshare -n bash "$here/bundle.sh" inside "$work" "$source"
ok 'in a namespace without a network the site comes up from it'
done_testing
